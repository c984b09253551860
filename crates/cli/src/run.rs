//! `sockeye run`: one program, and its children, on a network of their own.

use std::process::{ExitCode, ExitStatus};

use sockeye_run::{
    Behind, LaunchError, ProgramId, ProgramSpec, PublishSpec, PublishSpecError, Stdio, Supervisor,
};

use crate::args::RunArgs;
use crate::error::CliError;
use crate::{joined, network, networks};

/// Runs the program and ends as it ended.
pub(crate) fn run(args: &RunArgs) -> Result<ExitCode, CliError> {
    if let Some(name) = &args.net {
        return joined::run(name, args);
    }
    joined::split((), |(), behind| supervise(args, behind))
}

fn supervise(args: &RunArgs, behind: Behind) -> Result<(), CliError> {
    match follow(args, &behind) {
        Ok(status) => {
            behind.ended(status);
            Ok(())
        }
        Err(error) => {
            eprintln!("sockeye: {error}");
            behind.failed(error.exit());
            Err(error)
        }
    }
}

/// Runs the program to its end, and its network.
fn follow(args: &RunArgs, behind: &Behind) -> Result<ExitStatus, CliError> {
    let published = published(&args.publish)?;
    let (network, host) = network::for_run(args)?;
    let program = ProgramSpec { host: Some(host), ..spec(args) };
    check(&program)?;
    let mut supervisor = Supervisor::new(network, networks::outside(args.offline))?;
    joined::surround(&mut supervisor, behind)?;
    for ports in published {
        supervisor.publish(host, ports).map_err(|error| CliError::failed(error.to_string()))?;
    }
    if let (Some(path), Some(network)) = (&args.pcap, supervisor.network()) {
        network::capture(network, host, path)?;
    }
    let program = start(&mut supervisor, &program)?;
    let status = joined::follow(&mut supervisor, program)?;
    supervisor.end_descendants()?;
    supervisor.drain(args.linger)?;
    supervisor.network().inspect(|network| network::finish_capture(network, args.pcap.as_deref()));
    Ok(status)
}

/// What `-p` names.
pub(crate) fn published(specs: &[String]) -> Result<Vec<PublishSpec>, CliError> {
    let parse =
        |spec: &String| spec.parse().map_err(|error: PublishSpecError| CliError::usage(error.to_string()));
    specs.iter().map(parse).collect()
}

/// The program as it was named, in the terminal as it is.
pub(crate) fn spec(args: &RunArgs) -> ProgramSpec {
    ProgramSpec {
        host: None,
        argv: args.program.clone(),
        env: Vec::new(),
        cwd: None,
        stdin: Stdio::Inherit,
        stdout: Stdio::Inherit,
        stderr: Stdio::Inherit,
    }
}

/// Whether the program is there, as [`start`] tells it: asked before a capture's file is emptied for it.
pub(crate) fn check(spec: &ProgramSpec) -> Result<(), CliError> {
    spec.check().map_err(|error| cannot_start(&error))
}

/// Starts the program; the error has the exit status by which a shell tells it.
pub(crate) fn start(supervisor: &mut Supervisor, spec: &ProgramSpec) -> Result<ProgramId, CliError> {
    supervisor.spawn(spec).map_err(|error| cannot_start(&error))
}

fn cannot_start(error: &LaunchError) -> CliError {
    CliError::with_exit(error.to_string(), error.exit_status())
}
