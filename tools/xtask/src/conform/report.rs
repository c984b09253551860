//! What is printed: failures as they are, and a table by category.

use std::collections::BTreeMap;

use sockeye_drill::IpVersion;

use super::Args;
use super::play::Outcome;

/// The versions in which a script failed, unless those are all it was played in.
pub(super) fn failed_versions(outcome: &Outcome) -> String {
    let failed: Vec<_> = outcome.failures().map(|(version, _)| version.name()).collect();
    if failed.len() == outcome.versions.len() && failed.len() > 1 {
        return "all versions".to_owned();
    }
    failed.join(", ")
}

/// Prints what failed, and with `--verbose` what passed.
pub(super) fn failures(outcomes: &[Outcome], args: &Args) {
    for outcome in outcomes {
        let shown = if args.verbose { outcome.versions.len() } else { 1 };
        if args.verbose && outcome.passed() {
            println!("PASS {}", outcome.name);
        }
        if args.brief {
            if let Some((_, failure)) = outcome.failures().next() {
                let line = failure.lines().next().unwrap_or_default();
                println!("FAIL {} ({}): {line}", outcome.name, failed_versions(outcome));
            }
            continue;
        }
        for (version, failure) in outcome.failures().take(shown) {
            let versions = if args.verbose { version.name().to_owned() } else { failed_versions(outcome) };
            println!("FAIL {} ({versions}): {failure}\n", outcome.name);
        }
    }
}

/// What a line of the table counts.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    passed: usize,
    failed: usize,
    /// Passed and played, by version.
    versions: [(usize, usize); IpVersion::ALL.len()],
}

impl Count {
    fn add(&mut self, outcome: &Outcome) {
        self.passed += usize::from(outcome.passed());
        self.failed += usize::from(!outcome.passed());
        for (version, failure) in &outcome.versions {
            if let Some(place) = IpVersion::ALL.iter().position(|known| known == version) {
                self.versions[place].0 += usize::from(failure.is_none());
                self.versions[place].1 += 1;
            }
        }
    }

    fn cells(&self, category: &str) -> Vec<String> {
        let mut cells = vec![category.to_owned(), self.passed.to_string(), self.failed.to_string()];
        for (passed, played) in self.versions {
            cells.push(if played == 0 { "–".to_owned() } else { format!("{passed}/{played}") });
        }
        cells
    }
}

/// A table in Markdown: scripts by category, and in each version how many passed of those that played.
pub(super) fn table(outcomes: &[Outcome]) -> String {
    let mut categories: BTreeMap<&str, Count> = BTreeMap::new();
    let mut total = Count::default();
    for outcome in outcomes {
        categories.entry(&outcome.category).or_default().add(outcome);
        total.add(outcome);
    }
    let mut rows = vec![vec!["category".to_owned(), "passed".to_owned(), "failed".to_owned()]];
    rows[0].extend(IpVersion::ALL.iter().map(|version| version.name().to_owned()));
    rows.extend(categories.iter().map(|(category, count)| count.cells(category)));
    rows.push(total.cells("all"));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut table = String::new();
    for (place, row) in rows.iter().enumerate() {
        table.extend(row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 => format!("| {cell:<width$} "),
            _ => format!("| {cell:>width$} "),
        }));
        table += "|\n";
        if place == 0 {
            table.extend(widths.iter().enumerate().map(|(column, &width)| {
                let end = if column == 0 { "-" } else { ":" };
                format!("|{}{end}", "-".repeat(width + 1))
            }));
            table += "|\n";
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(category: &str, versions: &[(IpVersion, bool)]) -> Outcome {
        let versions =
            versions.iter().map(|&(version, good)| (version, (!good).then(|| "line 1: x".to_owned())));
        Outcome { name: "x.pkt".into(), category: category.into(), versions: versions.collect() }
    }

    #[test]
    fn a_script_passes_in_all_its_versions_or_fails() {
        let outcomes = [
            outcome("sack", &[(IpVersion::V4, true), (IpVersion::V6, false)]),
            outcome("sack", &[(IpVersion::V4, true)]),
            outcome("rack", &[(IpVersion::V4MappedV6, true)]),
        ];
        let expected = "\
| category | passed | failed | ipv4 | ipv6 | ipv4-mapped-ipv6 |
|----------|-------:|-------:|-----:|-----:|-----------------:|
| rack     |      1 |      0 |    – |    – |              1/1 |
| sack     |      1 |      1 |  2/2 |  0/1 |                – |
| all      |      2 |      1 |  2/2 |  0/1 |              1/1 |
";
        assert_eq!(table(&outcomes), expected);
        assert_eq!(failed_versions(&outcomes[0]), "ipv6");
        assert_eq!(
            failed_versions(&outcome("a", &[(IpVersion::V4, false), (IpVersion::V6, false)])),
            "all versions"
        );
    }
}
