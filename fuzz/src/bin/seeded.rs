//! Feeds the fuzz targets on the stable toolchain: `seeded [--seconds N] [--seed S] [--run N] [TARGET]`.
//!
//! The same seed gives the same inputs; how many of them depends on the time. A failure prints the seed, the
//! run and the input, and the command that repeats it.

use sockeye_fuzz::{TARGETS, Target, input};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: seeded [--seconds N] [--seed S] [--run N] [TARGET]";

/// An input that takes longer is as bad as one that panics.
const SLOW: Duration = Duration::from_secs(1);

struct Options {
    /// Time for each target.
    seconds: u64,
    seed: u64,
    /// Only this run.
    run: Option<u64>,
    targets: Vec<&'static Target>,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("seeded: {message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    for target in &options.targets {
        let started = Instant::now();
        match drive(target, &options) {
            Ok(runs) => {
                let seconds = started.elapsed().as_secs_f64();
                println!("{:10} {runs} inputs in {seconds:.1} s", target.name);
            }
            Err(failure) => {
                eprintln!("{failure}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { seconds: 10, seed: 1, run: None, targets: TARGETS.iter().collect() };
    while let Some(arg) = args.next() {
        let mut number = || {
            let value = args.next().ok_or_else(|| format!("{arg} wants a number"))?;
            value.parse::<u64>().map_err(|_| format!("{arg} wants a number, not '{value}'"))
        };
        match arg.as_str() {
            "--seconds" => options.seconds = number()?,
            "--seed" => options.seed = number()?,
            "--run" => options.run = Some(number()?),
            name => {
                let target = TARGETS.iter().find(|target| target.name == name).ok_or_else(|| {
                    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
                    format!("no target is called '{name}': there are {}", names.join(", "))
                })?;
                options.targets = vec![target];
            }
        }
    }
    Ok(options)
}

/// Runs one target; answers how many inputs it got.
fn drive(target: &Target, options: &Options) -> Result<u64, String> {
    let Options { seconds, seed, run, targets: _ } = *options;
    if let Some(run) = run {
        return attempt(target, seed, run).map(|()| 1);
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut runs = 0;
    while Instant::now() < end {
        for _ in 0..256 {
            attempt(target, seed, runs)?;
            runs += 1;
        }
    }
    Ok(runs)
}

/// Feeds one input.
fn attempt(target: &Target, seed: u64, run: u64) -> Result<(), String> {
    let bytes = input(target, seed, run);
    let started = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes)));
    let what = match outcome {
        Err(_) => "panicked",
        Ok(()) if started.elapsed() > SLOW => "took longer than a second",
        Ok(()) => return Ok(()),
    };
    let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let name = target.name;
    Err(format!("{name} {what} on {hex}\nrepeat it with: seeded --seed {seed} --run {run} {name}"))
}
