//! The table at the end of a lab.

use super::expect::exit_number;
use super::program::{Phase, Program};

/// Characters of a command line that are shown.
const COMMAND_WIDTH: usize = 48;

pub(super) fn print(programs: &[Program]) {
    let width = programs.iter().map(|program| program.section.host.len()).max().unwrap_or(0).max(4);
    println!(
        "\n{:<8} {:<width$} {:<COMMAND_WIDTH$} {:>6} {:>8}",
        "result", "host", "program", "exit", "time"
    );
    for program in programs {
        let (exit, took, shortfalls) = match &program.phase {
            Phase::Ended { status, took, shortfalls, .. } => {
                (exit_number(*status).to_string(), format!("{:.2} s", took.as_secs_f64()), shortfalls.clone())
            }
            Phase::Failed(why) => ("-".into(), "-".into(), vec![why.clone()]),
            Phase::Waiting { .. } | Phase::Running { .. } => ("-".into(), "-".into(), Vec::new()),
        };
        let command = command_line(&program.section.run.0);
        println!(
            "{:<8} {:<width$} {command:<COMMAND_WIDTH$} {exit:>6} {took:>8}",
            result(program),
            program.section.host
        );
        for shortfall in shortfalls {
            println!("{:<8} {:<width$} {shortfall}", "", "");
        }
    }
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
