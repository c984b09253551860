//! 10,000 local connections of one process: what each has resident while it is idle, and what the next one costs.

use std::cell::OnceCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;

use rustix::process::{Resource, Rlimit};
use sockeye_local::{DEFAULT_RING, LocalListener, LocalStream};

use super::connects::connects_per_second;
use crate::row::{Figure, Row, median};

const MANY: usize = 10_000;
/// How often connections are counted beside them, and without them.
const TIMES: usize = 5;

/// What was found.
struct Many {
    /// Resident bytes of a connection, both ends together.
    bytes: f64,
    /// Connections a second beside the others, and alone, in turns.
    connects: Vec<(f64, f64)>,
}

pub(super) fn rows() -> [Row; 2] {
    let found = Rc::new(OnceCell::new());
    let figure = move |of: fn(&Many) -> f64| {
        let found: Rc<OnceCell<Result<Many, String>>> = Rc::clone(&found);
        Box::new(move || found.get_or_init(find).as_ref().map(of).map_err(Clone::clone))
    };
    [
        Row {
            name: "local, memory of an idle one",
            unit: "KiB",
            peer: "8 KiB",
            goal: 1.0,
            smaller: true,
            ours: figure(|many| many.bytes / 1024.0),
            theirs: Box::new(|| Ok(8.0)),
        },
        Row {
            name: "local, connect beside 10,000",
            unit: "/s",
            peer: "ours alone",
            goal: 0.8,
            smaller: false,
            ours: figure(|many| many.median(|(beside, _)| *beside)),
            theirs: figure(|many| many.median(|(_, alone)| *alone)),
        },
    ]
}

impl Many {
    fn median(&self, which: fn(&(f64, f64)) -> f64) -> f64 {
        median(&self.connects.iter().map(which).collect::<Vec<_>>())
    }
}

/// This process has the accepted ends, another one those that connected: both in one would take 20,000 descriptors.
fn find() -> Result<Many, String> {
    allow_descriptors()?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = folder.path().join("many");
    let listener = LocalListener::bind(&path).map_err(|error| error.to_string())?;
    let mut clients = Clients::start(&path).map_err(|error| error.to_string())?;
    let before = resident()?;
    let mut all = Vec::with_capacity(MANY);
    for _ in 0..MANY {
        let accepted = || {
            let (mut server, _) = listener.accept()?;
            assert!(server.is_shared_memory());
            server.read_exact(&mut [0])?;
            server.write_all(&[1])?;
            Ok(server)
        };
        all.push(accepted().map_err(|error: std::io::Error| error.to_string())?);
    }
    let theirs = clients.say()?;
    let bytes = (resident()? - before + theirs) / MANY as f64;
    let other_path = folder.path().join("alone");
    let other = LocalListener::bind(&other_path).map_err(|error| error.to_string())?;
    let connects = (0..TIMES).map(|_| {
        Ok((connects_per_second(&listener, &path, 0)?, connects_per_second(&other, &other_path, 0)?))
    });
    let connects = connects.collect::<Result<_, String>>()?;
    Ok(Many { bytes, connects })
}

/// The process that connects.
struct Clients {
    process: Child,
    /// It ends with this.
    _input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Clients {
    fn start(path: &Path) -> std::io::Result<Clients> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--local-clients").arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        };
        Ok(Clients { process, _input: input, output: BufReader::new(output) })
    }

    /// The bytes that all its ends have resident.
    fn say(&mut self) -> Figure {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|error| error.to_string())?;
        line.trim().parse().map_err(|_| "the process with the clients failed".to_string())
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What that process does.
pub(crate) fn hold_clients(path: &Path) -> Result<(), String> {
    allow_descriptors()?;
    let before = resident()?;
    let connect = |_| {
        let mut client = LocalStream::connect_with(path, DEFAULT_RING)?;
        client.write_all(&[1])?;
        client.read_exact(&mut [0])?;
        Ok(client)
    };
    let all: std::io::Result<Vec<LocalStream>> = (0..MANY).map(connect).collect();
    let all = all.map_err(|error| error.to_string())?;
    println!("{}", resident()? - before);
    let _ = std::io::stdin().read(&mut [0]);
    drop(all);
    Ok(())
}

/// A descriptor for each end, and some more.
fn allow_descriptors() -> Result<(), String> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let wanted = MANY as u64 + 1000;
    if limit.current.is_some_and(|current| current < wanted) {
        let maximum = limit.maximum.map(|maximum| maximum.max(wanted));
        let raised = Rlimit { current: Some(wanted), maximum };
        let allowed = rustix::process::setrlimit(Resource::Nofile, raised);
        allowed.map_err(|error| format!("{wanted} descriptors: {error}"))?;
    }
    Ok(())
}

/// Bytes of this process that are resident, shared ones by their share: a page that both ends have counts once.
fn resident() -> Figure {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").map_err(|error| error.to_string())?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).ok_or("no Pss")?;
    let kib = line.trim().trim_end_matches(" kB").trim().parse::<f64>();
    kib.map(|kib| kib * 1024.0).map_err(|error| error.to_string())
}
