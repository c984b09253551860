//! `sockeye`: runs unmodified programs on sockets of its own.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use args::{Args, Command};
use error::CliError;

mod args;
mod doctor;
mod error;
mod lab;
mod network;
mod run;

fn main() -> ExitCode {
    start_log();
    match Args::from_command_line().and_then(|args| dispatch(&args)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sockeye: {error}");
            ExitCode::from(error.exit())
        }
    }
}

fn dispatch(args: &Args) -> Result<ExitCode, CliError> {
    match &args.command {
        Command::Run(args) => run::run(args),
        Command::Lab(args) => lab::run(args),
        Command::Doctor => Ok(doctor::run()),
    }
}

/// Prints what sockeye does, where `SOCKEYE_LOG` asks for it.
fn start_log() {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("SOCKEYE_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
}
