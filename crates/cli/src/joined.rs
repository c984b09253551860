//! `sockeye run --net NAME`: one program, and its children, on a host of a named network.
//!
//! Three processes: the shell waits for one, another supervises, and a guard stands between them (see
//! `sockeye_run::split`).

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use sockeye_run::{
    Behind, Ended, Folder, Front, Join, Membership, ProgramId, Split, Supervisor, SupervisorEvent,
};

use crate::args::RunArgs;
use crate::error::CliError;
use crate::networks;
use crate::run::{check, published, spec, start};

/// How long what a program leaves behind may take to end before it counts as a daemon.
const UNASKED: Duration = Duration::from_millis(100);

/// Runs the program on the network of this name and ends as it ended.
pub(crate) fn run(name: &str, args: &RunArgs) -> Result<ExitCode, CliError> {
    let membership = join(name, args)?;
    split(membership, |membership, behind| supervise(args, membership, behind))
}

/// Supervises in a process of its own, which has `state`; this one ends as the program ended.
pub(crate) fn split<T>(
    state: T,
    supervise: impl FnOnce(T, Behind) -> Result<(), CliError>,
) -> Result<ExitCode, CliError> {
    match sockeye_run::split()? {
        Split::Front(front) => {
            drop(state);
            wait_in_front(front)
        }
        Split::Guard(guard) => guard.watch(),
        Split::Behind(behind) => {
            let supervised = supervise(state, behind);
            // The process in front has the program's status; this one only has errors to show.
            std::process::exit(i32::from(supervised.is_err()));
        }
    }
}

/// Has a supervisor know the processes around it.
pub(crate) fn surround(supervisor: &mut Supervisor, behind: &Behind) -> std::io::Result<()> {
    supervisor.reap_orphans();
    supervisor.set_front(behind.front()?);
    supervisor.set_guard(behind.guard()?)
}

fn join(name: &str, args: &RunArgs) -> Result<Membership, CliError> {
    let place = Folder::of_this_user()?.place(name)?;
    published(&args.publish)?;
    check(&spec(args))?;
    let capture: Option<OwnedFd> = match &args.pcap {
        Some(path) => Some(OwnedFd::from(open_capture(path).map_err(|error| {
            CliError::failed(format!("can't write the capture {}: {error}", path.display()))
        })?)),
        None => None,
    };
    let join = Join {
        host: args.host.clone(),
        ip: args.ip,
        link: args.link.map(|link| link.to_string()),
        offline: args.offline,
        seed: args.seed,
        publish: args.publish.clone(),
        linger: args.linger,
        program: args.program.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
    };
    let start = || networks::start(name, args.offline, args.seed);
    Membership::join(&place, &join, capture.as_ref(), start)
        .map_err(|error| CliError::from(error).about(&format!("network {name}")))
}

/// Opens a file for a capture. Only the network empties it, when it has nothing against the capture.
fn open_capture(path: &Path) -> std::io::Result<File> {
    File::options().write(true).create(true).truncate(false).open(path)
}

fn wait_in_front(front: Front) -> Result<ExitCode, CliError> {
    match front.wait()? {
        Ended::Program(status) => Ok(sockeye_run::end_as(status)),
        Ended::Failed(exit) => Ok(ExitCode::from(exit)),
        Ended::Lost => Err(CliError::failed("the supervisor was killed, and the program with it")),
    }
}

/// Supervises until nothing runs any more.
fn supervise(args: &RunArgs, membership: Membership, mut behind: Behind) -> Result<(), CliError> {
    let (mut supervisor, program) = match begin(args, membership, &behind) {
        Ok(started) => started,
        Err(error) => {
            eprintln!("sockeye: {error}");
            behind.failed(error.exit());
            return Err(error);
        }
    };
    let status = follow(&mut supervisor, program)?;
    let deadline = Instant::now() + UNASKED;
    while supervisor.has_programs() && Instant::now() < deadline {
        supervisor.turn(Some(UNASKED))?;
    }
    if !supervisor.has_programs() {
        supervisor.drain(args.linger)?;
        behind.ended(status);
        return Ok(());
    }
    // A daemon: it goes on, and is answered from here, while the shell goes on too.
    supervisor.program_ended();
    behind.detach()?;
    behind.ended(status);
    if supervisor.is_without_network() {
        supervisor.end_descendants()?;
    }
    while supervisor.has_programs() {
        supervisor.turn(None)?;
        while let Some(event) = supervisor.poll_event() {
            match event {
                SupervisorEvent::NetworkEnding
                | SupervisorEvent::NetworkGone
                | SupervisorEvent::Signal { signal: libc::SIGTERM, .. } => {
                    supervisor.end_descendants()?;
                }
                SupervisorEvent::GuardGone => return Err(kill_all(&mut supervisor)),
                _ => {}
            }
        }
    }
    Ok(supervisor.drain(args.linger)?)
}

fn begin(
    args: &RunArgs,
    membership: Membership,
    behind: &Behind,
) -> Result<(Supervisor, ProgramId), CliError> {
    let mut supervisor = Supervisor::join(membership)?;
    surround(&mut supervisor, behind)?;
    let program = start(&mut supervisor, &spec(args))?;
    Ok((supervisor, program))
}

/// Turns until the program has ended. What only named networks do never happens on a private one.
pub(crate) fn follow(supervisor: &mut Supervisor, awaited: ProgramId) -> Result<ExitStatus, CliError> {
    loop {
        supervisor.turn(None)?;
        while let Some(event) = supervisor.poll_event() {
            match event {
                SupervisorEvent::Exited { program, status } if program == awaited => return Ok(status),
                // The program decides what the signal means. A terminal's it has got already.
                SupervisorEvent::Signal { signal, from_process: true } => supervisor.kill(awaited, signal),
                SupervisorEvent::NetworkEnding => {
                    eprintln!("sockeye: the network was told to end, and its programs with it");
                    return end_of_all(supervisor, awaited);
                }
                SupervisorEvent::NetworkGone => {
                    eprintln!("sockeye: the network has ended: socket calls fail from now on");
                }
                SupervisorEvent::GuardGone => return Err(kill_all(supervisor)),
                _ => {}
            }
        }
    }
}

/// Ends the program and all its descendants; answers how the program ended.
fn end_of_all(supervisor: &mut Supervisor, awaited: ProgramId) -> Result<ExitStatus, CliError> {
    supervisor.end_descendants()?;
    loop {
        while let Some(event) = supervisor.poll_event() {
            if let SupervisorEvent::Exited { program, status } = event
                && program == awaited
            {
                return Ok(status);
            }
        }
        supervisor.turn(None)?;
    }
}

/// Kills the program and all its descendants, which nobody would end if this process were killed too.
fn kill_all(supervisor: &mut Supervisor) -> CliError {
    let killed = supervisor.kill_descendants();
    killed.err().map_or_else(|| CliError::failed("the guard was killed"), CliError::from)
}
