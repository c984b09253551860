//! Which of RFC 9293's labelled requirements the code cites, and which test shows each.
//!
//! A citation is a label in a comment, as in `RFC 9293 §3.8.1, MUST-20`. `MUST-58/59` cites two. It counts for
//! the tests where it stands in a test function or in the comment on it, or in a packet script, and for the
//! code elsewhere. Every MUST and SHLD must be cited by a test or be listed in [`absent`] with a reason.

mod absent;
mod cited;
mod labels;

use absent::ABSENT;
use cited::Citation;
use labels::SUBJECTS;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Where the whole team's copy of the list is; it needn't be there.
const SHARED_LIST: &str = "../shared/rfc9293.md";
/// What `--markdown` writes.
const DOCUMENT: &str = "docs/rfc9293.md";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also write docs/rfc9293.md
    #[arg(long)]
    markdown: bool,
}

/// Prints the table; true when nothing is missing and nothing contradicts.
pub(crate) fn run(root: &Path, args: &Args) -> Result<bool, Box<dyn Error>> {
    let table = Table::new(&cited::collect(root)?);
    print!("{}", table.print());
    let mut problems = table.problems();
    match fs::read_to_string(root.join(SHARED_LIST)) {
        Ok(list) => problems.extend(compare(&list)),
        Err(_) => println!("rfc: {SHARED_LIST} is not there: the labels are those of labels.rs alone"),
    }
    if args.markdown {
        fs::write(root.join(DOCUMENT), table.markdown())?;
    }
    for problem in &problems {
        println!("rfc: {problem}");
    }
    println!("{}", table.summary());
    Ok(problems.is_empty())
}

/// All labels with what is known of each.
struct Table {
    rows: Vec<Row>,
    /// Citations of labels that there are not.
    unknown: Vec<Citation>,
}

struct Row {
    subject: &'static str,
    id: &'static str,
    asks: &'static str,
    code: Vec<Citation>,
    tests: Vec<Citation>,
    absent: Option<&'static str>,
}

impl Row {
    /// Whether a test has to cite it.
    fn is_required(&self) -> bool {
        self.id.starts_with("MUST") || self.id.starts_with("SHLD")
    }

    fn problem(&self) -> Option<String> {
        let Row { subject: _, id, asks, code, tests, absent } = self;
        match (absent, code.iter().chain(tests).next()) {
            (Some(_), Some(citation)) => {
                Some(format!("{id} is listed as not implemented, but {} cites it", citation.shown()))
            }
            (None, _) if tests.is_empty() && self.is_required() => {
                Some(format!("{id} ({asks}) is cited by no test and not listed as not implemented"))
            }
            _ => None,
        }
    }
}

impl Table {
    fn new(citations: &[Citation]) -> Table {
        let mut by_label: BTreeMap<&str, Vec<&Citation>> = BTreeMap::new();
        for citation in citations {
            by_label.entry(&citation.label).or_default().push(citation);
        }
        let mut rows = Vec::new();
        for (subject, label) in
            SUBJECTS.iter().flat_map(|subject| subject.labels.iter().map(|label| (subject.name, *label)))
        {
            let all = by_label.remove(label.id).unwrap_or_default();
            let of = |test: bool| {
                all.iter()
                    .filter(move |citation| citation.is_test() == test)
                    .map(|&citation| citation.clone())
            };
            rows.push(Row {
                subject,
                id: label.id,
                asks: label.asks,
                code: of(false).collect(),
                tests: of(true).collect(),
                absent: ABSENT.iter().find(|(id, _)| *id == label.id).map(|(_, reason)| *reason),
            });
        }
        Table { rows, unknown: by_label.into_values().flatten().cloned().collect() }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = self.rows.iter().filter_map(Row::problem).collect();
        for citation in &self.unknown {
            problems.push(format!(
                "{} cites {}, which RFC 9293 doesn't have",
                citation.shown(),
                citation.label
            ));
        }
        for (id, _) in ABSENT {
            if !self.rows.iter().any(|row| row.id == *id) {
                problems.push(format!("absent.rs lists {id}, which RFC 9293 doesn't have"));
            }
        }
        problems
    }

    fn print(&self) -> String {
        let mut text = String::new();
        let mut subject = "";
        for row in &self.rows {
            if row.subject != subject {
                subject = row.subject;
                let _ = writeln!(text, "\n{subject}");
            }
            let _ = writeln!(text, "  {:8} {}", row.id, row.asks);
            if let Some(reason) = row.absent {
                let _ = writeln!(text, "           not implemented: {reason}");
            }
            for (what, citations) in [("code", &row.code), ("test", &row.tests)] {
                for citation in citations {
                    let _ = writeln!(text, "           {what} {}", citation.shown());
                }
            }
        }
        text.push('\n');
        text
    }

    /// The same as a document; without line numbers, which every edit would move.
    fn markdown(&self) -> String {
        let mut text = String::from(
            "# RFC 9293, requirement by requirement\n\n\
             Written by `cargo xtask rfc --markdown`; `cargo xtask rfc` also shows the lines, and fails when a MUST\n\
             or a SHLD has neither a test nor a reason.\n",
        );
        let mut subject = "";
        for row in &self.rows {
            if row.subject != subject {
                subject = row.subject;
                let _ = write!(
                    text,
                    "\n## {subject}\n\n| label | what it asks for | code | tests |\n|---|---|---|---|\n"
                );
            }
            let files = names(row.code.iter().map(|citation| short(&citation.file)));
            let tests = match row.absent {
                Some(reason) => format!("not implemented: {reason}"),
                None => names(row.tests.iter().map(Citation::name)),
            };
            let _ = writeln!(text, "| {} | {} | {files} | {tests} |", row.id, row.asks);
        }
        let _ = write!(text, "\n{}\n", self.summary());
        text
    }

    fn summary(&self) -> String {
        let count = |test: &dyn Fn(&Row) -> bool| self.rows.iter().filter(|row| test(row)).count();
        let kinds = ["MUST", "SHLD", "MAY", "REC"]
            .map(|kind| format!("{} {kind}", count(&|row| row.id.starts_with(kind))))
            .join(", ");
        format!(
            "rfc: {} labels ({kinds}): {} cited by tests, {} cited by code, {} not implemented, {} missing",
            self.rows.len(),
            count(&|row| !row.tests.is_empty()),
            count(&|row| !row.code.is_empty()),
            count(&|row| row.absent.is_some()),
            count(&|row| row.problem().is_some()),
        )
    }
}

/// A file without what all have in front.
fn short(file: &str) -> String {
    file.trim_start_matches("crates/").replace("/src/", "/")
}

/// Different names in code type, in the order of the alphabet.
fn names(names: impl Iterator<Item = String>) -> String {
    let names: std::collections::BTreeSet<String> = names.map(|name| format!("`{name}`")).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// Whether the shared list has the same labels as ours.
fn compare(list: &str) -> Vec<String> {
    let theirs: Vec<&str> = list
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next())
        .filter(|id| cited::labels(id).len() == 1)
        .collect();
    let ours: Vec<&str> = SUBJECTS.iter().flat_map(|subject| subject.labels).map(|label| label.id).collect();
    let only = |these: &[&str], those: &[&str], whose: &str| {
        let missing = these.iter().filter(|id| !those.contains(id));
        missing.map(|id| format!("{id} is only in {whose}")).collect::<Vec<String>>()
    };
    let mut problems = only(&theirs, &ours, SHARED_LIST);
    problems.extend(only(&ours, &theirs, "labels.rs"));
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use cited::Place;

    fn citation(label: &str, test: Option<&str>) -> Citation {
        let place = test.map_or(Place::Code, |name| Place::Test(name.to_owned()));
        Citation { label: label.to_owned(), file: "crates/stack/src/tcp/input.rs".to_owned(), line: 7, place }
    }

    fn problem(id: &str, citations: &[Citation]) -> Option<String> {
        Table::new(citations).rows.iter().find(|row| row.id == id).expect("a label").problem()
    }

    #[test]
    fn there_are_as_many_labels_as_in_the_rfc() {
        let summary = Table::new(&[]).summary();
        assert!(
            summary.starts_with("rfc: 119 labels (69 MUST, 31 SHLD, 18 MAY, 1 REC): 0 cited"),
            "{summary}"
        );
        let mut ids: Vec<&str> = SUBJECTS.iter().flat_map(|s| s.labels).map(|label| label.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 119);
    }

    #[test]
    fn a_must_needs_a_test_and_a_may_does_not() {
        assert!(problem("MUST-1", &[]).is_some());
        assert!(problem("MUST-1", &[citation("MUST-1", None)]).is_some());
        assert!(problem("SHLD-7", &[citation("MUST-1", Some("nagle"))]).is_some());
        assert_eq!(problem("SHLD-7", &[citation("SHLD-7", Some("nagle"))]), None);
        assert_eq!(problem("MAY-2", &[]), None);
    }

    #[test]
    fn what_is_not_implemented_must_not_be_cited() {
        let (id, _) = ABSENT[0];
        assert_eq!(problem(id, &[]), None);
        assert!(problem(id, &[citation(id, None)]).is_some());
        assert!(problem(id, &[citation(id, Some("of_it"))]).is_some());
    }

    #[test]
    fn labels_that_there_are_not_are_found() {
        let problems = Table::new(&[citation("MUST-70", None)]).problems();
        assert!(problems.iter().any(|problem| problem.contains("cites MUST-70")), "{problems:?}");
    }

    #[test]
    fn lists_are_compared_both_ways() {
        let problems = compare("| ID | what |\n|---|---|\n| MUST-1 | the window |\n| MUST-99 | more |\n");
        assert!(problems.contains(&format!("MUST-99 is only in {SHARED_LIST}")));
        assert!(problems.contains(&"SHLD-1 is only in labels.rs".to_owned()));
        assert!(!problems.iter().any(|problem| problem.starts_with("MUST-1 ")));
    }
}
