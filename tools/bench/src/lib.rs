//! Benchmarks against peers: both sides in one run, interleaved, as ratios of medians.
//!
//! Machines are shared and noisy, so an absolute figure says little; the ratio of two figures taken in
//! turns in one run says what matters. `--json` keeps every single figure. What can be counted instead of timed is
//! counted: see `--instructions`.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;

mod chart;
#[cfg(target_os = "linux")]
mod cores;
mod kernel;
mod peers;
mod recorded;
mod report;
mod row;
mod rows;
#[cfg(target_os = "linux")]
mod streams;
mod work;

use recorded::Recorded;
use row::{Measured, Row, Size};

/// The ratios and counts that are kept in the repository.
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recorded.json");
const INSTRUCTIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.json");

/// Runs of each side.
const RUNS: u32 = 7;
const SHORT_RUNS: u32 = 3;
/// How long a row takes at most in the short mode, but for one run.
const SHORT_TIME: Duration = Duration::from_millis(1500);
/// How often a row that has halved is measured again before it counts.
const AGAIN: u32 = 3;

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
    /// Runs of each side, interleaved [default: 7, or 3 in the short mode]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=99))]
    runs: Option<u32>,
    /// Less of everything, and fail where a ratio is less than half of the recorded one
    #[arg(long, conflicts_with = "record")]
    short: bool,
    /// Keep the ratios, or the counts of instructions, as those to compare with from now on
    #[arg(long)]
    record: bool,
    /// Count the instructions of the hot paths by valgrind instead, and fail where there are more than recorded
    #[arg(long)]
    instructions: bool,
    /// Write a line of JSON for each row
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the table as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write the ratios as a bar chart
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// The `sockeye` command that the rows about `run` measure [default: the one built beside this program]
    #[arg(long, value_name = "FILE")]
    sockeye: Option<PathBuf>,
    /// Hold as many idle connections' ends, and say what they cost
    #[arg(long, hide = true, value_name = "N")]
    idle_ends: Option<usize>,
    /// Do a work that is counted
    #[arg(long, hide = true, value_name = "NAME", requires = "times")]
    work: Option<String>,
    /// How often
    #[arg(long, hide = true, value_name = "N")]
    times: Option<usize>,
    /// Connect to the local socket there very often, and say what that costs
    #[arg(long, hide = true, value_name = "PATH")]
    local_clients: Option<PathBuf>,
    /// What `cargo bench` passes
    #[arg(long, hide = true)]
    bench: bool,
}

/// Runs the table, or what else the command line says.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let done = match (&args.work, args.idle_ends) {
        (Some(name), _) => work::run(name, args.times.unwrap_or_default()).map_err(Into::into),
        (None, Some(ends)) => rows::hold_idle(ends).map(|said| println!("{said}")).map_err(Into::into),
        (None, None) if args.instructions => {
            let only = args.only.as_deref().unwrap_or_default();
            work::count(only, Path::new(INSTRUCTIONS), args.record).map_err(Into::into)
        }
        (None, None) => measure(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sockeye-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let (start, load) = (Instant::now(), report::load());
    #[cfg(target_os = "linux")]
    if let Some(path) = &args.local_clients {
        return Ok(rows::hold_clients(path)?);
    }
    let _control = kernel::CongestionControl::comparable();
    let (size, runs) = if args.short { (Size::Short, SHORT_RUNS) } else { (Size::Full, RUNS) };
    let runs = args.runs.unwrap_or(runs);
    let mut recorded = Recorded::read(Path::new(RECORDED))?;
    let (mut results, mut failed) = (Vec::new(), Vec::new());
    let sockeye = args.sockeye.clone().unwrap_or_else(built_command);
    for mut row in rows::all(&sockeye, size) {
        if args.only.as_ref().is_some_and(|only| !row.name.contains(only.as_str())) {
            continue;
        }
        let measured = match size {
            Size::Full => row.measure(runs, Duration::MAX),
            Size::Short => measure_short(&mut row, runs, &recorded),
        };
        match measured {
            Ok(result) => {
                println!("{}", report::line(&result));
                if args.short && recorded.has_halved(&result) {
                    failed.push(recorded.complaint(&result));
                }
                results.push(result);
            }
            Err(reason) if args.short && !row.needs_others() => {
                failed.push(format!("{} beside {} failed: {reason}", row.name, row.peer));
            }
            Err(reason) => println!("{:<38} skipped: {reason}", row.name),
        }
    }
    let short = results.iter().filter(|row| row.is_short()).count();
    println!(
        "{} rows, {short} of them short of their goals, in {:.0} s",
        results.len(),
        start.elapsed().as_secs_f64()
    );
    if let Some(file) = &args.json {
        std::fs::write(file, report::json(&results)?)?;
    }
    if let Some(file) = &args.svg {
        std::fs::write(file, chart::svg(&results))?;
    }
    if let Some(file) = &args.markdown {
        std::fs::write(file, report::markdown(&results, runs, &load, args.svg.as_deref()))?;
    }
    if args.record {
        recorded.record(&results);
        recorded.write(Path::new(RECORDED))?;
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

/// Measures a row in little time, and again where it seems to have become much slower: the machine may be at something
/// else. The best counts.
fn measure_short(row: &mut Row, runs: u32, recorded: &Recorded) -> Result<Measured, String> {
    let mut best = row.measure(runs, SHORT_TIME)?;
    for _ in 0..AGAIN {
        if !recorded.has_halved(&best) {
            break;
        }
        let Ok(again) = row.measure(runs, SHORT_TIME) else { break };
        if again.ratio() > best.ratio() {
            best = again;
        }
    }
    Ok(best)
}

/// The command in the folder of this program, or in the one above (cargo puts benchmarks in `deps`).
fn built_command() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let mut places = program.ancestors().skip(1).take(2).map(|folder| folder.join("sockeye"));
    places.find(|place| place.is_file()).unwrap_or_else(|| PathBuf::from("target/release/sockeye"))
}
