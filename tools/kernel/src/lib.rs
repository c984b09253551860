//! The Linux kernel as the other end: `cargo xtask kernel`, as root. The benchmarks have a row of such transfers, too:
//! [`goodputs`].
//!
//! Two hosts of the kernel's, network namespaces of this process, have a TUN device each. What they send passes
//! Sockeye's netem in real time. For each transfer between the two there is one with a Sockeye stack in the place of
//! the left one, through the same netem with the same seed; both are connections of one loop, many at a time.

#![deny(unsafe_code)]

mod duo;
mod goodput;
mod kernel_end;
mod matrix;
mod namespace;
mod program;
mod record;
mod report;
mod run;
mod scenarios;
mod silence;
mod sockeye_end;
mod sys;
mod world;

use std::error::Error;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
pub use goodput::{Goodputs, goodputs};
use matrix::{Cell, Conditions, complaint};
use report::Report;
use run::{Spec, Subject};
use world::World;

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask kernel",
    about = "Transfers between Sockeye and the Linux kernel, beside kernel to kernel"
)]
struct Args {
    /// `all`, `six`, `none`, or words that a cell's name has: "5% 20ms reorder sends v6"
    #[arg(long, default_value = "all")]
    cells: String,
    /// Runs in each cell
    #[arg(long, default_value_t = 9)]
    seeds: u64,
    /// Don't run cells that fall short again, with twice as many other seeds
    #[arg(long)]
    once: bool,
    /// The number of the first run: others see other losses
    #[arg(long, default_value_t = 0)]
    first_seed: u64,
    /// Only the scenarios whose name has this in it; `none` for no scenarios
    #[arg(long, default_value = "")]
    scenarios: String,
    /// Connections at a time
    #[arg(long, default_value_t = 48)]
    parallel: usize,
    /// Longest time of a run, in seconds; the slowest of the kernel's own take a quarter of this
    #[arg(long, default_value_t = 120)]
    limit: u64,
    /// Leave out the resets and half-closes
    #[arg(long)]
    no_endings: bool,
    /// Write a capture and a packet list of every run into this folder
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Write the name of this check to this file where it can't be run
    #[arg(long, value_name = "FILE")]
    skips: Option<PathBuf>,
}

/// Runs what the command line says.
pub fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("kernel: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs the cells; true when all is well.
fn run(args: &Args) -> Result<bool, Box<dyn Error>> {
    if let Some(reason) = namespace::missing() {
        println!("SKIP kernel: {reason}");
        if let Some(file) = &args.skips {
            std::fs::write(file, "kernel\n")?;
        }
        return Ok(true);
    }
    let (passed, failed) = scenarios::run(&args.scenarios);
    println!("{passed} scenarios passed, {failed} failed");
    if args.cells == "none" {
        return Ok(failed == 0 && passed > 0);
    }
    let cells = chosen(&args.cells);
    if cells.is_empty() {
        return Err(format!("no cell has all the words of `{}`", args.cells).into());
    }
    let mut report = Report::new(cells);
    let mut world = World::new(args.record.clone())?;
    let numbers = args.first_seed..args.first_seed + args.seeds;
    measure(args, &mut world, &mut report, numbers.clone(), |_| true)?;
    if !args.once {
        // Nine are few where a lost packet may cost a second.
        let more = numbers.end..numbers.end + 2 * args.seeds;
        let short = report.short_cells();
        measure(args, &mut world, &mut report, more, |cell| short.contains(&cell))?;
    }
    Ok(report.print(world.lateness) && failed == 0)
}

/// Carries out the runs of these numbers in some of the cells. Those that are compared stand next to each other,
/// and the cells take turns.
fn measure(
    args: &Args,
    world: &mut World,
    report: &mut Report,
    numbers: Range<u64>,
    is_chosen: impl Fn(usize) -> bool,
) -> Result<(), Box<dyn Error>> {
    let limit = Duration::from_secs(args.limit);
    let (mut cells, mut specs) = (Vec::new(), Vec::new());
    for number in numbers {
        for (index, &cell) in report.cells().iter().enumerate().filter(|(index, _)| is_chosen(*index)) {
            let transfers = [Subject::Kernel, Subject::Sockeye].map(|subject| cell.transfer(subject, number));
            let ending = (!args.no_endings).then(|| cell.ending(number));
            for spec in transfers.into_iter().chain(ending) {
                cells.push(index);
                specs.push(Spec { limit, ..spec });
            }
        }
    }
    let outcomes = world.run(specs.clone(), args.parallel.max(1), |spec, outcome| {
        if spec.subject == Subject::Sockeye
            && let Some(complaint) = complaint(outcome)
        {
            println!("FAIL {}: {complaint}", spec.name);
        }
    })?;
    for ((cell, spec), outcome) in cells.into_iter().zip(&specs).zip(&outcomes) {
        report.add(cell, spec, outcome);
    }
    Ok(())
}

/// The cells that the option names.
fn chosen(option: &str) -> Vec<Cell> {
    let six = option == "six";
    let conditions = if six { Conditions::six() } else { Conditions::all() };
    let words: Vec<&str> =
        if six || option == "all" { Vec::new() } else { option.split_whitespace().collect() };
    let mut cells: Vec<Cell> = conditions.into_iter().flat_map(Cell::of).collect();
    cells.retain(|cell| {
        let name = cell.to_string();
        words.iter().all(|word| name.split(' ').any(|part| part == *word))
    });
    cells
}
