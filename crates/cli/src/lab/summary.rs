//! The table at the end of a lab.

use std::io::Write;

use super::expect::exit_number;
use super::program::{Phase, Program};

/// Characters of a command line that are shown.
const COMMAND_WIDTH: usize = 48;

/// Prints the table and the seed. A closed standard output ends the printing, not the lab.
pub(super) fn print(programs: &[Program], seed: u64) {
    let _ = write(&mut std::io::stdout().lock(), programs, seed);
}

fn write(out: &mut impl Write, programs: &[Program], seed: u64) -> std::io::Result<()> {
    let width = programs.iter().map(|program| program.section.host.len()).max().unwrap_or(0).max(4);
    writeln!(
        out,
        "\n{:<8} {:<width$} {:<COMMAND_WIDTH$} {:>6} {:>8}",
        "result", "host", "program", "exit", "time"
    )?;
    for program in programs {
        let (exit, took, shortfalls) = match &program.phase {
            Phase::Ended { status, took, shortfalls, .. } => {
                (exit_number(*status).to_string(), format!("{:.2} s", took.as_secs_f64()), shortfalls.clone())
            }
            Phase::Failed(why) => ("-".into(), "-".into(), vec![why.clone()]),
            Phase::Waiting { .. } | Phase::Running { .. } => ("-".into(), "-".into(), Vec::new()),
        };
        let command = command_line(&program.section.run.0);
        writeln!(
            out,
            "{:<8} {:<width$} {command:<COMMAND_WIDTH$} {exit:>6} {took:>8}",
            result(program),
            program.section.host
        )?;
        for shortfall in shortfalls {
            writeln!(out, "{:<8} {:<width$} {shortfall}", "", "")?;
        }
    }
    writeln!(out, "seed {seed}")
}

fn result(program: &Program) -> &'static str {
    match (&program.phase, program.section.expect.is_some()) {
        (Phase::Ended { .. } | Phase::Failed(_), _) if !program.held() => "FAILED",
        (Phase::Ended { .. }, true) => "ok",
        (Phase::Waiting { .. } | Phase::Running { .. }, true) => "stopped",
        (_, false) => "-",
        (Phase::Failed(_), true) => "FAILED",
    }
}

/// The command on one line, cut where it is too long for the table.
fn command_line(words: &[String]) -> String {
    let line = words.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(COMMAND_WIDTH - 1) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
