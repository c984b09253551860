//! `sockeye`: runs unmodified programs on sockets of its own.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use args::{Args, Command};
use error::CliError;

mod args;
mod doctor;
mod error;
mod joined;
mod lab;
mod local;
mod network;
mod networks;
mod run;
mod table;

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
        Command::Ps(args) => networks::list(args.name.as_deref()),
        Command::Down { name } => networks::down(name),
        Command::Publish(args) => networks::publish(args, true),
        Command::Unpublish(args) => networks::publish(args, false),
        Command::Local { command } => local::run(command),
        Command::Doctor => Ok(doctor::run()),
        Command::Network(args) => networks::serve(args),
    }
}

/// Prints what sockeye does, where `SOCKEYE_LOG` asks for it.
fn start_log() {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("SOCKEYE_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
}
