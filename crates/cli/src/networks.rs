//! Named networks: the process of one, and the commands about them (`ps`, `down`, `publish`, `unpublish`).

use std::io::{Read, Write};
use std::process::{Command, ExitCode, Stdio};

use sockeye_run::{Control, ControlError, Folder, NetworkServer, Outside, Place, PlaceError, ServerOptions};

use crate::args::{NetworkArgs, PublishArgs};
use crate::error::CliError;
use crate::table;

/// What a network's process prints once it can be joined.
const READY: &[u8] = b"ready\n";

/// An error of a network's name or files.
#[allow(clippy::needless_pass_by_value, reason = "it stands in map_err")]
pub(crate) fn misplaced(error: PlaceError) -> CliError {
    match error {
        PlaceError::BadName(_) => CliError::usage(error.to_string()),
        _ => CliError::failed(error.to_string()),
    }
}

/// What a network, or the way to it, said against it; `what` stands before that.
#[allow(clippy::needless_pass_by_value, reason = "it stands in map_err")]
pub(crate) fn refused(what: &str, error: ControlError) -> CliError {
    match error {
        ControlError::Misused(why) => CliError::usage(format!("{what}{why}")),
        error => CliError::failed(format!("{what}{error}")),
    }
}

/// What `--offline` says.
pub(crate) fn outside(offline: bool) -> Outside {
    if offline { Outside::Closed } else { Outside::Open }
}

fn place(name: &str) -> Result<Place, CliError> {
    Folder::of_this_user().and_then(|folder| folder.place(name)).map_err(misplaced)
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
    let failed = |error: std::io::Error| CliError::failed(error.to_string());
    let options = ServerOptions { outside: outside(args.offline), seed: args.seed };
    let server = NetworkServer::open(&place(&args.name)?, options);
    let Some(mut server) = server.map_err(|error| CliError::failed(error.to_string()))? else {
        return Ok(ExitCode::SUCCESS);
    };
    std::io::stdout().write_all(READY).and_then(|()| std::io::stdout().flush()).map_err(failed)?;
    sockeye_run::leave_terminal().map_err(failed)?;
    server.run().map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}

fn connect(name: &str) -> Result<Control, CliError> {
    let place = place(name)?;
    let control = Control::connect(&place).map_err(|error| refused("", error))?;
    control.ok_or_else(|| CliError::failed(format!("there is no network {name}; sockeye ps lists them")))
}

/// `sockeye ps`.
pub(crate) fn list(name: Option<&str>) -> Result<ExitCode, CliError> {
    let folder = Folder::of_this_user().map_err(misplaced)?;
    let names = name.map_or_else(|| folder.names(), |name| vec![name.to_owned()]);
    let mut shown = 0;
    for each in &names {
        let control = match (connect(each), name) {
            (Ok(control), _) => control,
            // Its process was killed.
            (Err(_), None) => continue,
            (Err(error), Some(_)) => return Err(error),
        };
        let mut control = control;
        match control.status() {
            Ok(status) => {
                let separator = if shown > 0 { "\n" } else { "" };
                // A closed standard output wants no more.
                if write!(std::io::stdout(), "{separator}{}", table::render(&status)).is_err() {
                    return Ok(ExitCode::SUCCESS);
                }
                shown += 1;
            }
            Err(error) if name.is_some() => return Err(refused("", error)),
            Err(error) => eprintln!("sockeye: network {each}: {error}"),
        }
    }
    if shown == 0 {
        eprintln!("sockeye: there is no named network; sockeye run --net NAME -- PROGRAM starts one");
    }
    Ok(ExitCode::SUCCESS)
}

/// `sockeye down`.
pub(crate) fn down(name: &str) -> Result<ExitCode, CliError> {
    connect(name)?.down().map_err(|error| refused("", error))?;
    Ok(ExitCode::SUCCESS)
}

/// `sockeye publish` and `sockeye unpublish`.
pub(crate) fn publish(args: &PublishArgs, on: bool) -> Result<ExitCode, CliError> {
    for ports in &args.ports {
        let done = connect(&args.name)?.publish(args.host.as_deref(), ports, on);
        let text = done.map_err(|error| refused("", error))?;
        if !text.is_empty() {
            println!("{text}");
        }
    }
    Ok(ExitCode::SUCCESS)
}
