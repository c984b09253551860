//! `sockeye doctor`: what this machine offers for running programs, as a table.

use std::fmt::Write;
use std::process::ExitCode;

use sockeye_run::doctor::{Finding, Mark, examine};

/// The longest line.
const WIDTH: usize = 100;
/// Spaces between columns.
const GAP: usize = 2;

/// Prints what was found; fails when something is missing that programs need.
pub(crate) fn run() -> ExitCode {
    let findings = examine();
    print!("{}", render(&findings));
    ExitCode::from(u8::from(findings.iter().any(|finding| finding.mark == Mark::Missing)))
}

fn word(mark: Mark) -> &'static str {
    match mark {
        Mark::Ok => "ok",
        Mark::Limited => "limited",
        Mark::Missing => "missing",
    }
}

/// A row for each finding: mark, what it is, what was found, and below that the advice.
fn render(findings: &[Finding]) -> String {
    let widest = |length: fn(&Finding) -> usize| findings.iter().map(length).max().unwrap_or(0) + GAP;
    let marks = widest(|finding| word(finding.mark).len());
    let names = widest(|finding| finding.what.len());
    let mut text = String::new();
    for finding in findings {
        let Finding { mark, what, found, advice, .. } = finding;
        let room = WIDTH.saturating_sub(marks + names);
        let mut lines = wrapped(found, room);
        lines.extend(wrapped(advice, room));
        for (index, line) in lines.iter().enumerate() {
            let (mark, what) = if index == 0 { (word(*mark), *what) } else { ("", "") };
            // Writing to a String can't fail.
            writeln!(text, "{mark:marks$}{what:names$}{line}").ok();
        }
    }
    text
}

/// The text in lines of at most `room` characters, broken between words; a longer word has a line of its own.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(mark: Mark, what: &'static str, found: &str, advice: &str) -> Finding {
        Finding { mark, what, found: found.into(), advice: advice.into() }
    }

    #[test]
    fn columns_are_aligned_and_advice_stands_below() {
        let long = "word ".repeat(30);
        let text = render(&[
            finding(Mark::Ok, "kernel", "Linux 6.18.0", ""),
            finding(Mark::Limited, "open files", "few", &long),
            finding(Mark::Missing, "memory", "can't be read", "do this"),
        ]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "ok       kernel      Linux 6.18.0");
        assert_eq!(lines[1], "limited  open files  few");
        assert!(lines[2].starts_with("                     word word"), "{text}");
        assert_eq!(lines[lines.len() - 2], "missing  memory      can't be read");
        assert_eq!(lines[lines.len() - 1], "                     do this");
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH && line.trim_end() == *line), "{text}");
        assert_eq!(text.matches("word").count(), 30);
    }

    #[test]
    fn a_long_word_stays_whole() {
        assert_eq!(wrapped("a verylongword b", 5), ["a", "verylongword", "b"]);
        assert!(wrapped("", 5).is_empty());
    }
}
