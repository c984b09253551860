//! `sockeye run`: one program, and its children, on a network of their own.

use std::process::{ExitCode, ExitStatus};

use sockeye_run::{ProgramId, ProgramSpec, Stdio, Supervisor, SupervisorEvent};

use crate::args::RunArgs;
use crate::error::CliError;
use crate::network;

/// Runs the program and ends as it ended.
pub(crate) fn run(args: &RunArgs) -> Result<ExitCode, CliError> {
    let (network, host) = network::for_run(args)?;
    let mut supervisor = Supervisor::new(network).map_err(|error| CliError::failed(error.to_string()))?;
    supervisor.reap_orphans();
    supervisor
        .forward_names(None)
        .map_err(|error| CliError::failed(format!("can't ask the machine's name servers: {error}")))?;
    let spec = ProgramSpec {
        host,
        argv: args.program.clone(),
        env: Vec::new(),
        cwd: None,
        stdin: Stdio::Inherit,
        stdout: Stdio::Inherit,
        stderr: Stdio::Inherit,
    };
    let program = supervisor
        .spawn(&spec)
        .map_err(|error| CliError::with_exit(error.to_string(), error.exit_status()))?;
    let status = wait(&mut supervisor, program)?;
    supervisor.end_descendants().map_err(|error| CliError::failed(error.to_string()))?;
    network::finish_capture(supervisor.network(), args.pcap.as_deref());
    drop(supervisor);
    Ok(sockeye_run::end_as(status))
}

fn wait(supervisor: &mut Supervisor, awaited: ProgramId) -> Result<ExitStatus, CliError> {
    loop {
        supervisor.turn(None).map_err(|error| CliError::failed(error.to_string()))?;
        while let Some(event) = supervisor.poll_event() {
            match event {
                SupervisorEvent::Exited { program, status } if program == awaited => return Ok(status),
                // The program decides what the signal means. A terminal's it has got already.
                SupervisorEvent::Signal { signal, from_process: true } => supervisor.kill(awaited, signal),
                _ => {}
            }
        }
    }
}
