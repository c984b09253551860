//! Programs that reach a server of the machine: through Sockeye's gateway, and through what containers use.

use std::cell::{Cell, OnceCell};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::nginx::Server;
use crate::row::{Figure, Row, median};

/// The client's number is what it prints. The server is at `$HOST:$PORT`.
const DOWNLOAD: &str = "exec curl -s -o /dev/null -w '%{speed_download}\\n' http://$HOST:$PORT/large";
const REQUESTS: &str =
    "wrk -t1 -c32 -d3s http://$HOST:$PORT/small > wrk.log && awk '/Requests\\/sec/ { print $2 }' wrk.log";

/// The client `$1` in a network namespace, whose packets slirp4netns takes. It waits until it is told that they
/// are: nothing may be configured before there is a namespace of its own.
const SLIRP4NETNS: &str = r#"
mkfifo there ready
unshare --user --map-root-user --net sh -c 'echo yes > there; [ "$(head -c1 < ready)" = 1 ] && HOST=10.0.2.2 && export HOST && exec sh -c "$1"' sh "$1" & client=$!
(wait $client; :) 2>/dev/null
if [ "$(timeout 5 cat there)" != yes ]; then echo "no network namespace" >&2; exit 1; fi
slirp4netns --configure --mtu=65520 --ready-fd=3 $client tap0 3> ready > slirp.log 2>&1 & slirp=$!
wait $client; status=$?
kill $slirp; wait $slirp 2>/dev/null
[ $status = 0 ] || tail -n 1 slirp.log >&2
exit $status
"#;

/// The same with pasta, which makes the namespace itself. Started as root it would become another user, who
/// may not make one here; local ports are not forwarded, so that all goes through its stack.
const PASTA: &str = r#"
[ "$(id -u)" = 0 ] && user="--runas 0" || user=
export HOST=10.9.0.1
exec pasta $user --quiet --config-net --mtu 65520 --ipv4-only --address 10.9.0.2 --netmask 255.255.255.0 --gateway $HOST \
  --tcp-ports none --udp-ports none --tcp-ns none --udp-ns none -- sh -c "$1"
"#;

/// Pairs of starts in one figure of the rows about starts.
const STARTS: usize = 20;

/// How a client reaches the machine's server.
#[derive(Clone, Debug)]
enum Way {
    Sockeye(PathBuf),
    /// A program that must be there, and the script that takes it.
    Peer(&'static str, &'static str),
}

pub(super) fn rows(sockeye: &Path) -> Vec<Row> {
    let slirp4netns = Way::Peer("slirp4netns", SLIRP4NETNS);
    let pasta = Way::Peer("pasta", PASTA);
    let server = Rc::new(OnceCell::new());
    let row = |name, unit, client: &'static str, scale: f64, (peer, goal): (&Way, f64)| {
        let (ours, theirs, checked) = (Way::Sockeye(sockeye.to_path_buf()), peer.clone(), peer.clone());
        let (server, same) = (Rc::clone(&server), Rc::clone(&server));
        Row {
            name,
            unit,
            peer: peer.name(),
            goal,
            smaller: false,
            ours: Box::new(move || {
                // What the peer lacks is known before anything is measured.
                checked.can_run()?;
                Ok(ours.measure(started(&server)?, client)? * scale)
            }),
            theirs: Box::new(move || Ok(theirs.measure(started(&same)?, client)? * scale)),
        }
    };
    vec![
        row("gateway: 1 GiB download", "Gbit/s", DOWNLOAD, 8e-9, (&slirp4netns, 2.0)),
        row("gateway: 1 GiB download", "Gbit/s", DOWNLOAD, 8e-9, (&pasta, 0.5)),
        row("gateway: requests", "1/s", REQUESTS, 1.0, (&slirp4netns, 1.0)),
        row("gateway: requests", "1/s", REQUESTS, 1.0, (&pasta, 0.6)),
        CURL.row(sockeye.to_path_buf()),
        TRUE.row(sockeye.to_path_buf()),
    ]
}

/// The server of all rows, started by the first that needs it.
fn started(server: &OnceCell<Result<Server, String>>) -> Result<&Server, String> {
    server.get_or_init(Server::start).as_ref().map_err(Clone::clone)
}

impl Way {
    fn name(&self) -> &'static str {
        match self {
            Way::Sockeye(_) => "sockeye",
            Way::Peer(name, _) => name,
        }
    }

    /// Why it can't be measured on this machine, if it can't.
    fn can_run(&self) -> Result<(), String> {
        match self {
            Way::Sockeye(sockeye) if !sockeye.is_file() => {
                Err(format!("{} is missing: cargo build --release", sockeye.display()))
            }
            Way::Sockeye(_) => Ok(()),
            Way::Peer(name, _) => {
                let mut found = Command::new(name);
                found.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
                found.status().map_err(|_| format!("{name} is not installed"))?;
                let tun = File::options().read(true).write(true).open("/dev/net/tun");
                tun.map_err(|error| format!("{name} needs /dev/net/tun: {error}"))?;
                Ok(())
            }
        }
    }

    /// Runs a client this way and returns the number that it prints.
    fn measure(&self, server: &Server, client: &str) -> Figure {
        self.can_run()?;
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", "60"]);
        match self {
            Way::Sockeye(sockeye) => command.arg(sockeye).args(["run", "--", "sh", "-c", client]),
            Way::Peer(_, script) => command.args(["sh", "-c", script, "sh", client]),
        };
        command.env("HOST", "host.sockeye").env("PORT", server.port().to_string());
        let failed = |error: std::io::Error| format!("can't run a client: {error}");
        // Files, not pipes: what a peer leaves behind may not hold this process up.
        let folder = tempfile::tempdir().map_err(failed)?;
        let (said, told) = (folder.path().join("said"), folder.path().join("told"));
        command.stdin(Stdio::null()).stdout(File::create(&said).map_err(failed)?);
        command.stderr(File::create(&told).map_err(failed)?);
        let status = command.current_dir(folder.path()).status().map_err(failed)?;
        let text = std::fs::read_to_string(said).map_err(failed)?;
        let errors = std::fs::read_to_string(told).map_err(failed)?;
        let figure = text.trim().parse().ok().filter(|figure| status.success() && *figure > 0.0);
        figure.ok_or_else(|| {
            let why = errors.lines().map(str::trim).rfind(|line| !line.is_empty());
            format!("{} can't be measured here: {}", self.name(), why.unwrap_or("it printed no figure"))
        })
    }
}

/// What a program's start costs.
#[derive(Clone, Copy, Debug)]
struct Start {
    name: &'static str,
    /// The program by itself.
    alone: &'static str,
    command: &'static [&'static str],
    /// How it ends: curl says 7 when it can't connect.
    status: i32,
    /// What it takes alone, to that and what may come on top of it, about.
    goal: f64,
}

/// A curl that is refused at once: at most 20 ms more.
const CURL: Start = Start {
    name: "run: curl start-up",
    alone: "curl alone",
    command: &["curl", "--silent", "http://127.0.0.1:9/"],
    status: 7,
    goal: 0.26,
};

/// A program that does nothing: at most 10 ms more.
const TRUE: Start =
    Start { name: "run: start of true", alone: "true alone", command: &["true"], status: 0, goal: 0.09 };

impl Start {
    /// How long the program takes, beside the same without Sockeye. Their starts take turns: the peer's figure is
    /// measured along with ours.
    fn row(self, sockeye: PathBuf) -> Row {
        let native = Rc::new(Cell::new(f64::NAN));
        let last = Rc::clone(&native);
        let ours = move || {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for _ in 0..STARTS {
                let mut under = Command::new(&sockeye);
                under.args(["run", "--"]).args(self.command);
                ours.push(self.time(under)?);
                let mut alone = Command::new(self.command[0]);
                alone.args(&self.command[1..]);
                theirs.push(self.time(alone)?);
            }
            native.set(median(&theirs));
            Ok(median(&ours))
        };
        Row {
            name: self.name,
            unit: "ms",
            peer: self.alone,
            goal: self.goal,
            smaller: true,
            ours: Box::new(ours),
            theirs: Box::new(move || Ok(last.get())),
        }
    }

    /// Milliseconds until it has ended.
    fn time(self, mut command: Command) -> Figure {
        command.stdin(Stdio::null());
        let begin = Instant::now();
        let ended = command.status().map_err(|error| format!("can't start {:?}: {error}", self.command))?;
        let time: Duration = begin.elapsed();
        if ended.code() != Some(self.status) {
            return Err(format!("{:?} ended otherwise than expected: {ended}", self.command));
        }
        Ok(time.as_secs_f64() * 1e3)
    }
}
