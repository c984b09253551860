//! `sockeye`: runs unmodified programs on sockets of its own.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use args::{Args, Command};
use error::CliError;
use tracing_subscriber::filter::LevelFilter;

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
    let Some(asked) = std::env::var_os("SOCKEYE_LOG").filter(|asked| !asked.is_empty()) else { return };
    let asked = asked.to_string_lossy();
    match asked.parse::<tracing_subscriber::EnvFilter>() {
        Ok(filter) if asks_for_something(&asked) => {
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
        }
        _ => eprintln!(
            "sockeye: SOCKEYE_LOG={asked} asks for nothing: write error, warn, info, debug or trace, \
             or a crate's own, as in sockeye_run=trace"
        ),
    }
}

/// Whether each word of a filter is a level or speaks of a part of sockeye; another word would be the name of a part
/// that says nothing.
fn asks_for_something(filter: &str) -> bool {
    filter.split(',').map(str::trim).all(|word| {
        word.contains(['=', '[']) || word.starts_with("sockeye") || word.parse::<LevelFilter>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_without_a_level_asks_for_nothing() {
        for filter in ["trace", "INFO", "off", "sockeye_run=trace", "warn, sockeye_net=debug", "sockeye_run"]
        {
            assert!(asks_for_something(filter), "{filter}");
        }
        for filter in ["bogus", "warn,tarce"] {
            assert!(!asks_for_something(filter), "{filter}");
        }
    }
}
