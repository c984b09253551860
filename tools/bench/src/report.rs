//! The figures for people (a line, a Markdown table) and for programs (JSON).

use std::fmt::Write as _;
use std::path::Path;

use crate::kernel::CongestionControl;
use crate::row::{Measured, median};

/// One row as a line of text.
pub(crate) fn line(row: &Measured) -> String {
    format!(
        "{:<38} {:>7.2}×  (goal {:.2})   ours {:>12}   {} {:>12}",
        row.row,
        row.ratio(),
        row.goal,
        ours(row),
        row.peer,
        figure(median(&row.theirs), row.unit),
    )
}

/// One line of JSON for each row, with every single figure.
pub(crate) fn json(rows: &[Measured]) -> serde_json::Result<String> {
    rows.iter().map(|row| serde_json::to_string(row).map(|line| line + "\n")).collect()
}

/// The table in Markdown, with what it was measured on: the text of BENCHMARKS.md. `chart` is where it says the chart is.
///
/// `load` is what else the machine was at before: two processors with a load of 1 are free to measure.
pub(crate) fn markdown(rows: &[Measured], runs: u32, load: &str, chart: Option<&Path>) -> String {
    let mut text = format!(
        "# Benchmarks\n\n\
         Ratios to a peer in the same run: over 1 is ahead. Both sides are measured in turns, {runs} times each, and \
         the\nmedians compared. Absolute figures of a shared machine say little. To measure again:\n\n\
         ```sh\n{AGAIN}\n```\n\n\
         Measured on {} at commit {} on {}, whose load was {load}; the kernel's congestion control was {}.\n\n",
        output_of("date", &["-u", "+%F"]),
        output_of("git", &["rev-parse", "--short", "HEAD"]),
        machine(),
        CongestionControl::name(),
    );
    if let Some(chart) = chart {
        let _ = writeln!(text, "![The ratios on a logarithmic scale, with the goals]({})\n", chart.display());
    }
    text.push_str(
        "| row | peer | ratio | goal | ours (median) | peer (median) |\n|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let (ours, theirs) = (ours(row), figure(median(&row.theirs), row.unit));
        let (ratio, goal, peer) = (row.ratio(), row.goal, row.peer);
        let short = if row.is_short() { " (short)" } else { "" };
        let _ =
            writeln!(text, "| {} | {peer} | {ratio:.2}{short} | {goal:.2} | {ours} | {theirs} |", row.row);
    }
    text.push_str(NOTES);
    text
}

/// The command that measures again.
const AGAIN: &str = "cargo build --release && cargo run --release -p sockeye-bench -- --table \\\n  \
                     --markdown BENCHMARKS.md --svg docs/benchmarks.svg --record";

/// What the rows are.
const NOTES: &str = "
Where the cycles go, and what holds up the rows that are short of their goals: docs/performance.md.

The bulk and round-trip rows are two stacks in one thread, each end copying its data as an application does, unless they
say zero-copy. smoltcp's device hands buffers round without copying or allocating, and its sockets are used again for each
connection. smoltcp's round trips are those of a lone connection, whatever ours has beside it. The active flows have a
request and an answer of 1 KiB each, ten at a time. Idle ends are counted by the resident memory of a process that has
nothing else, each end having carried a byte each way.

The rows about the library are blocking sockets in two threads, each on a processor of its own, on two hosts in memory and
on the kernel's loopback by the same program. Parked means that the answering thread sleeps when the byte comes; awake,
that the kernel's threads try to read again and again, and ours are awake by themselves. In the busy round trips of local
sockets all threads read as programs do, and the kernel puts its own to sleep. Rows about memory and about 10,000 or
1,000,000 idle connections are measured once.
\"Doubled\" rows are twice the work beside twice the time of the single one: 0.95 is 2.1 times as much.

The goodput is that of nine transfers of 24 MiB from each sender at a time, through Sockeye's network in between with the
same seeds for both: it loses 1 % and takes 20 ms each way. The receivers are Linux's.

The rows about `run` are the same script under `sockeye run` (one host, its loopback) and on the kernel's loopback. Of the
rows about the gateway, each client reaches an nginx of the machine: under `sockeye run`, and in a network namespace with
slirp4netns or pasta (MTU 65520). The rows about starts are a curl that is refused at once and `true`, and what
`sockeye run` adds to them: at most 20 and 10 ms are wanted.
";

/// How many threads wanted to run on the machine in the last minute.
pub(crate) fn load() -> String {
    let said = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    said.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("unknown").to_string()
}

/// Processor, cores and kernel.
pub(crate) fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = output_of("uname", &["-r"]);
    let version = kernel.split('-').next().unwrap_or_default();
    format!("{cores} cores of {}, Linux {version}", model.unwrap_or("an unknown processor"))
}

/// What a program prints, in one line.
pub(crate) fn output_of(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).output();
    output
        .map_or_else(|_| "?".to_string(), |output| String::from_utf8_lossy(&output.stdout).trim().to_string())
}

/// Our figure; of a time that a program takes, also what it has more than the peer's.
fn ours(row: &Measured) -> String {
    let (ours, theirs) = (median(&row.ours), median(&row.theirs));
    let added = if row.unit == "ms" { format!(" ({:+.2})", ours - theirs) } else { String::new() };
    figure(ours, row.unit) + &added
}

fn figure(value: f64, unit: &str) -> String {
    if value >= 1000.0 { format!("{value:.0} {unit}") } else { format!("{value:.2} {unit}") }
}
