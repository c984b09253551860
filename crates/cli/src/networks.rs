//! Named networks: the process of one, and the commands about them (`ps`, `down`, `publish`, `unpublish`).

use std::io::{Read, Write};
use std::process::{Command, ExitCode, Stdio};

use sockeye_run::{Control, Folder, NetworkServer, Outside, Place, ServerOptions};

use crate::args::{NetworkArgs, PublishArgs};
use crate::error::CliError;
use crate::table;

/// What a network's process prints once it can be joined.
const READY: &[u8] = b"ready\n";

/// What `--offline` says.
pub(crate) fn outside(offline: bool) -> Outside {
    if offline { Outside::Closed } else { Outside::Open }
}

fn place(name: &str) -> Result<Place, CliError> {
    Ok(Folder::of_this_user()?.place(name)?)
}

/// Starts the process of a network, and waits until it can be joined. Where another one has the name
/// already, that one can be.
pub(crate) fn start(name: &str, offline: bool, seed: Option<u64>) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("can't start the network's process: {error}");
    let mut command = Command::new("/proc/self/exe");
    command.arg("network").arg(name);
    command.args(offline.then_some("--offline"));
    command.args(seed.map(|seed| format!("--seed={seed}")));
    let mut child = command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut said = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_end(&mut said).map_err(failed)?;
    }
    if said == READY {
        return Ok(());
    }
    let mut why = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut why).map_err(failed)?;
    }
    child.wait().map_err(failed)?;
    let why = why.trim().trim_start_matches("sockeye: ");
    if why.is_empty() { Ok(()) } else { Err(why.to_owned()) }
}

/// `sockeye network`: the process of a network.
pub(crate) fn serve(args: &NetworkArgs) -> Result<ExitCode, CliError> {
    sockeye_run::close_inherited();
    let options = ServerOptions { outside: outside(args.offline), seed: args.seed };
    let server = NetworkServer::open(&place(&args.name)?, options);
    let Some(mut server) = server.map_err(|error| CliError::failed(error.to_string()))? else {
        return Ok(ExitCode::SUCCESS);
    };
    std::io::stdout().write_all(READY).and_then(|()| std::io::stdout().flush())?;
    sockeye_run::leave_terminal()?;
    server.run()?;
    Ok(ExitCode::SUCCESS)
}

fn connect(name: &str) -> Result<Control, CliError> {
    let place = place(name)?;
    Control::connect(&place)?
        .ok_or_else(|| CliError::failed(format!("there is no network {name}; sockeye ps lists them")))
}

/// `sockeye ps`.
pub(crate) fn list(name: Option<&str>) -> Result<ExitCode, CliError> {
    let (mut tables, mut errors) = (Vec::new(), Vec::new());
    if let Some(name) = name {
        tables.push(table::render(&connect(name)?.status()?));
    } else {
        let folder = Folder::of_this_user()?;
        for name in folder.names() {
            // Of one whose process was killed the socket is left.
            let Some(mut control) = Control::connect(&folder.place(&name)?)? else { continue };
            match control.status() {
                Ok(status) => tables.push(table::render(&status)),
                Err(error) => errors.push((name, error)),
            }
        }
    }
    if tables.is_empty()
        && let Some((_, first)) = errors.first()
        && errors.iter().all(|(_, error)| error.to_string() == first.to_string())
    {
        // None speaks to a program of sockeye's.
        return Err(CliError::failed(first.to_string()));
    }
    for (name, error) in &errors {
        eprintln!("sockeye: network {name}: {error}");
    }
    if tables.is_empty() && errors.is_empty() {
        eprintln!("sockeye: there is no named network; sockeye run --net NAME -- PROGRAM starts one");
    }
    // A closed standard output wants no more.
    write!(std::io::stdout(), "{}", tables.join("\n")).ok();
    Ok(ExitCode::SUCCESS)
}

/// `sockeye down`.
pub(crate) fn down(name: &str) -> Result<ExitCode, CliError> {
    connect(name)?.down()?;
    Ok(ExitCode::SUCCESS)
}

/// `sockeye publish` and `sockeye unpublish`.
pub(crate) fn publish(args: &PublishArgs, on: bool) -> Result<ExitCode, CliError> {
    let text = connect(&args.name)?.publish(args.host.as_deref(), &args.ports, on)?;
    if !text.is_empty() {
        println!("{text}");
    }
    Ok(ExitCode::SUCCESS)
}
