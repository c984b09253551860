//! Scores, the reasons of what fails, and the table of docs/suites.md.

use super::results::{Results, Verdict};
use super::stage::said;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

/// `SUITE | start of a test's name | why it fails`, a line each.
const REASONS: &str = include_str!("reasons.txt");

/// What one suite came to.
#[derive(Clone)]
pub(super) struct Score {
    /// Its name.
    pub(super) suite: String,
    /// How many tests pass natively.
    native: usize,
    /// Those of them that don't pass under Sockeye.
    failed: Vec<String>,
}

impl Score {
    pub(super) fn new(suite: &str, native: &Results, here: &Results) -> Score {
        let passing: Vec<_> = native.iter().filter(|(_, verdict)| **verdict == Verdict::Pass).collect();
        let failed = passing.iter().filter(|(name, _)| here.get(*name) != Some(&Verdict::Pass));
        let failed = failed.map(|(name, _)| (*name).clone()).collect();
        Score { suite: suite.to_owned(), native: passing.len(), failed }
    }

    /// The tests that pass natively only.
    pub(super) fn failed(&self) -> impl Iterator<Item = &str> {
        self.failed.iter().map(String::as_str)
    }

    /// The score in a line, of what goes by this name.
    pub(super) fn line(&self, name: &str) -> String {
        let passed = self.native - self.failed.len();
        let mut line = format!("{name}: {passed} of {}", self.native);
        if !self.failed.is_empty() {
            let _ = write!(line, "; not {}", self.failed.join(", "));
        }
        line
    }
}

/// Why tests fail.
pub(super) struct Reasons(Vec<[&'static str; 3]>);

impl Reasons {
    pub(super) fn read() -> Reasons {
        let lines = REASONS.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let fields = lines.filter_map(|line| {
            let mut fields = line.splitn(3, '|').map(str::trim);
            Some([fields.next()?, fields.next()?, fields.next()?])
        });
        Reasons(fields.collect())
    }

    /// The reason of a test's failure, if there is one.
    pub(super) fn of(&self, suite: &str, test: &str) -> Option<&'static str> {
        let fits = |[of_suite, start, _]: &&[&'static str; 3]| {
            suite.starts_with(of_suite) && test.starts_with(start)
        };
        self.0.iter().find(fits).map(|[_, _, reason]| *reason)
    }
}

/// One row a suite, then one line a failing test.
pub(super) fn table(scores: &[Score], reasons: &Reasons) -> String {
    let mut sums: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut order = Vec::new();
    for score in scores {
        let sum = sums.entry(&score.suite).or_insert_with(|| {
            order.push(score.suite.as_str());
            (0, 0)
        });
        sum.0 += score.native;
        sum.1 += score.native - score.failed.len();
    }
    let mut text = String::from("| suite | natively | under Sockeye |\n|---|---:|---:|\n");
    for suite in order {
        let (native, here) = sums[suite];
        let _ = writeln!(text, "| {suite} | {native} | {here} |");
    }
    let failures: Vec<_> =
        scores.iter().flat_map(|score| score.failed().map(|test| (&score.suite, test))).collect();
    if !failures.is_empty() {
        text.push_str("\n| what fails | why |\n|---|---|\n");
        for (suite, test) in failures {
            let _ = writeln!(
                text,
                "| {suite}: {test} | {} |",
                reasons.of(suite, test).unwrap_or("not known yet")
            );
        }
    }
    text
}

/// Writes docs/suites.md; `missing` are parts without a score.
pub(super) fn write(
    root: &Path,
    scores: &[Score],
    missing: &[String],
    reasons: &Reasons,
) -> Result<(), Box<dyn Error>> {
    let git = |args: &[&str]| said(Command::new("git").args(args).current_dir(root));
    let commit = git(&["rev-parse", "HEAD"])?;
    // This file changes with each part that has run.
    let changes = ["status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs/suites.md"];
    let changed = if git(&changes)?.is_empty() { "" } else { ", with changes" };
    let text = format!(
        "# Applications and API suites\n\n\
         Written by `cargo xtask suites --write` at commit {commit}{changed}. Each suite runs twice on one machine in the\n\
         same way, on the kernel's sockets and under `sockeye run`, and counts the tests that pass natively. The scripts\n\
         of real servers and clients run with both on two hosts, on one host, and on two hosts whose link loses 1 % and\n\
         delays by 10 ms each way; two of them demand that nothing is lost, and don't run there. Applications and suites\n\
         run beside each other; what fails then and needn't runs once more, alone, and that counts.\n\n{}{}",
        table(scores, reasons),
        if missing.is_empty() { String::new() } else { format!("\nNot run: {}.\n", missing.join(", ")) }
    );
    fs::write(root.join("docs/suites.md"), text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_natively_counts() {
        let of =
            |verdicts: [Verdict; 3]| ["a", "b", "c"].map(str::to_owned).into_iter().zip(verdicts).collect();
        let native = of([Verdict::Pass, Verdict::Pass, Verdict::Fail]);
        let mut here: Results = of([Verdict::Pass, Verdict::Skip, Verdict::Pass]);
        assert_eq!(Score::new("suite", &native, &here).line("name"), "name: 1 of 2; not b");
        here.remove("a");
        assert_eq!(Score::new("suite", &native, &here).failed, ["a", "b"]);
    }

    #[test]
    fn reasons_have_three_fields() {
        let lines = REASONS.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        assert_eq!(Reasons::read().0.len(), lines.count());
    }
}
