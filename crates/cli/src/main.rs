//! `sockeye`: runs unmodified programs on sockets of its own.

#![forbid(unsafe_code)]

use std::process::ExitCode;

mod args;
mod error;
mod lab;

fn main() -> ExitCode {
    match args::Args::from_command_line() {
        Ok(args) => {
            let _ = args;
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("sockeye: {error}");
            ExitCode::from(error.exit())
        }
    }
}
