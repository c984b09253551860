//! Benchmarks against peers: both sides in one run, interleaved, as ratios of medians.
//!
//! Machines are shared and noisy, so an absolute figure says little; the ratio of two figures taken in
//! turns in one run says what matters. `--json` keeps every single figure.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

#[cfg(target_os = "linux")]
mod cores;
mod kernel;
mod peers;
mod report;
mod row;
mod rows;
#[cfg(target_os = "linux")]
mod streams;

/// Measure Sockeye beside its peers.
#[derive(Debug, Parser)]
#[command(name = "sockeye-bench")]
struct Args {
    /// Print the table (what happens anyway: the word keeps command lines readable)
    #[arg(long)]
    table: bool,
    /// Only rows whose name contains this
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Runs of each side, interleaved
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=99))]
    runs: u32,
    /// Write a line of JSON for each row
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the table as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// The `sockeye` command that the rows about `run` measure [default: the one built beside this program]
    #[arg(long, value_name = "FILE")]
    sockeye: Option<PathBuf>,
    /// Hold as many idle connections' ends, and say what they cost
    #[arg(long, hide = true, value_name = "N")]
    idle_ends: Option<usize>,
    /// What `cargo bench` passes
    #[arg(long, hide = true)]
    bench: bool,
}

/// Runs the table as the command line says.
pub fn main() -> ExitCode {
    let args = Args::parse();
    match measure(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sockeye-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    if let Some(ends) = args.idle_ends {
        println!("{}", rows::hold_idle(ends)?);
        return Ok(());
    }
    let _control = kernel::CongestionControl::comparable();
    let mut results = Vec::new();
    let sockeye = args.sockeye.clone().unwrap_or_else(built_command);
    for mut row in rows::all(&sockeye, row::Size::Full) {
        if args.only.as_ref().is_some_and(|only| !row.name.contains(only.as_str())) {
            continue;
        }
        match row.measure(args.runs) {
            Ok(result) => {
                println!("{}", report::line(&result));
                results.push(result);
            }
            Err(reason) => println!("{:<34} skipped: {reason}", row.name),
        }
    }
    if let Some(file) = &args.json {
        std::fs::write(file, report::json(&results)?)?;
    }
    if let Some(file) = &args.markdown {
        std::fs::write(file, report::markdown(&results, args.runs))?;
    }
    Ok(())
}

/// The command in the folder of this program, or in the one above (cargo puts benchmarks in `deps`).
fn built_command() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let mut places = program.ancestors().skip(1).take(2).map(|folder| folder.join("sockeye"));
    places.find(|place| place.is_file()).unwrap_or_else(|| PathBuf::from("target/release/sockeye"))
}
