//! The figures for people (a line, a Markdown table) and for programs (JSON).

use std::fmt::Write as _;

use crate::kernel::CongestionControl;
use crate::row::{Measured, median};

/// One row as a line of text.
pub(crate) fn line(row: &Measured) -> String {
    format!(
        "{:<34} {:>9.2}×  (goal {:.2})   ours {:>12}   {} {:>12}",
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

/// The table in Markdown, with what it was measured on: the text of BENCHMARKS.md.
pub(crate) fn markdown(rows: &[Measured], runs: u32) -> String {
    let mut text = format!(
        "# Benchmarks\n\n\
         Ratios to a peer in the same run: over 1 is ahead. Both sides are measured in turns, {runs} times each, and \
         the\nmedians compared. Absolute figures of a shared machine say little. To measure again:\n\n\
         ```sh\ncargo build --release && cargo run --release -p sockeye-bench -- --runs {runs} --markdown BENCHMARKS.md\n```\n\n\
         Measured at commit {} on {}; the kernel's congestion control was {}.\n\n\
         | row | peer | ratio | goal | ours (median) | peer (median) |\n|---|---|---|---|---|---|\n",
        output_of("git", &["rev-parse", "--short", "HEAD"]),
        machine(),
        CongestionControl::name(),
    );
    for row in rows {
        let (ours, theirs) = (ours(row), figure(median(&row.theirs), row.unit));
        let (ratio, goal) = (row.ratio(), row.goal);
        let _ = writeln!(text, "| {} | {} | {ratio:.2} | {goal:.2} | {ours} | {theirs} |", row.row, row.peer);
    }
    text.push_str(
        "\nThe bulk and round-trip rows are two stacks in one thread, each end copying its data as an application does. The\n\
         rows about `run` are the same script under `sockeye run` (one host, its loopback) and on the kernel's loopback.\n\
         Of the rows about the gateway, each client reaches an nginx of the machine: under `sockeye run`, and in a network\n\
         namespace with slirp4netns or pasta (MTU 65520). The rows about starts are a curl that is refused at once and\n\
         `true`, and what `sockeye run` adds to them: at most 20 and 10 ms are wanted.\n",
    );
    text
}

/// Processor, cores and kernel.
fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = output_of("uname", &["-r"]);
    let version = kernel.split('-').next().unwrap_or_default();
    format!("{cores} cores of {}, Linux {version}", model.unwrap_or("an unknown processor"))
}

fn output_of(program: &str, arguments: &[&str]) -> String {
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
