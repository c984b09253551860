//! The same random calls on the Linux kernel's sockets and on Sockeye's: `cargo xtask differ`.
//!
//! A sequence of calls follows from its seed. Each call is made on a Sockeye host with a loopback interface, under
//! virtual time, and on the kernel, in a network namespace of our own; results, errors, addresses, data and what
//! poll says of every socket must be the same. What differs is tried again, cut down to the calls that matter, and
//! shown once for each kind of difference.

#![deny(unsafe_code)]

mod answer;
mod call;
mod generate;
mod kernel;
mod known;
mod names;
mod namespace;
mod ours;
mod run;
mod sys;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use answer::{Answer, Masks};
use call::Call;
use clap::Parser;
use generate::Scope;
use run::Judge;

/// What poll is asked for, and told without being asked.
const BITS: i16 =
    libc::POLLIN | libc::POLLPRI | libc::POLLOUT | libc::POLLRDHUP | libc::POLLERR | libc::POLLHUP;

/// One of the two that are compared.
trait Side {
    /// Makes a call.
    fn answer(&mut self, call: &Call) -> Answer;

    /// What poll says now.
    fn masks(&mut self) -> Masks;
}

/// Data to send: bytes that tell their place, but for the first.
fn pattern(len: usize, first: u8) -> Vec<u8> {
    (0..len).map(|at| if at == 0 { first } else { at as u8 }).collect()
}

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask differ",
    about = "The same random calls on the kernel's sockets and on Sockeye's"
)]
struct Args {
    /// Sequences of calls
    #[arg(long, default_value_t = 1000)]
    sequences: u64,
    /// Seed of the first sequence; the others follow
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Kinds of difference after which to stop
    #[arg(long, default_value_t = 20)]
    differences: usize,
    /// Also sequences of options of all kinds, with all kinds of values
    #[arg(long)]
    options: bool,
    /// Ping, raw and UDP-Lite sockets instead of streams
    #[arg(long)]
    packets: bool,
    /// Show the calls of the first sequence, and their answers
    #[arg(long)]
    show: bool,
    /// Write the name of this check to this file where it can't be run
    #[arg(long, value_name = "FILE")]
    skips: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("differ: {error}");
            ExitCode::from(2)
        }
    }
}

/// Compares; true when there is no difference.
fn run(args: &Args) -> Result<bool, Box<dyn Error>> {
    if let Err(reason) = namespace::enter() {
        println!("SKIP differ: {reason}");
        if let Some(file) = &args.skips {
            std::fs::write(file, "differ\n")?;
        }
        return Ok(true);
    }
    let started = Instant::now();
    let mut judge = Judge::new(Scope { options: args.options, packets: args.packets });
    if args.show {
        judge.show(args.seed)?;
        return Ok(true);
    }
    for seed in args.seed..args.seed.saturating_add(args.sequences) {
        judge.sequence(seed)?;
        if judge.kinds() >= args.differences {
            break;
        }
    }
    judge.print(started.elapsed());
    Ok(judge.kinds() == 0)
}
