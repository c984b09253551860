//! `docs/conformance.md`: the outcome for each set of scripts, the same for the same code.

use super::collect::Scripts;
use super::play::Outcome;
use super::{report, skipped};

pub(super) const OWN_TITLE: &str = "The project's own scripts";
pub(super) const SHARED_TITLE: &str = "Other people's scripts";

const HEAD: &str = "\
# Conformance

What packet scripts say of the stack: `cargo xtask conform` plays them under virtual time and writes this
file. A script passes if it passes in every IP version that it is meant for; the columns of the versions
count those that passed among those that played.
";

/// What stands below the title of a set.
pub(super) fn section(scripts: &Scripts, outcomes: &[Outcome], table: &str) -> String {
    let mut text = format!("{table}\n");
    let left_out = skipped(scripts);
    if !left_out.is_empty() {
        text.extend([&left_out, "\n"]);
    }
    let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.passed()).collect();
    if failed.is_empty() {
        return text + "None fails.\n";
    }
    text += "What fails:\n\n";
    text.extend(failed.into_iter().map(|outcome| {
        let place =
            outcome.failures().next().and_then(|(_, failure)| failure.lines().next()).unwrap_or_default();
        format!("- `{}` in {}: {}\n", outcome.name, report::failed_versions(outcome), code(place))
    }));
    text
}

/// A line of a script as code in Markdown.
fn code(line: &str) -> String {
    let text = line.trim_end().replace('`', "'");
    format!("`{text}`")
}

/// `document` with `section` below `title`, in place of what stood there.
pub(super) fn with_section(document: &str, title: &str, section: &str) -> String {
    let mut text = HEAD.to_owned();
    for known in [OWN_TITLE, SHARED_TITLE] {
        let body = if known == title { Some(section) } else { section_of(document, known) };
        if let Some(body) = body {
            text.extend(["\n## ", known, "\n\n", body.trim(), "\n"]);
        }
    }
    text
}

/// What stands below a title.
fn section_of<'a>(document: &'a str, title: &str) -> Option<&'a str> {
    let (_, body) = document.split_once(&format!("\n## {title}\n"))?;
    Some(body.split("\n## ").next().unwrap_or(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_replaces_its_own_kind() {
        let first = with_section("", SHARED_TITLE, "table\n");
        assert_eq!(first, format!("{HEAD}\n## {SHARED_TITLE}\n\ntable\n"));
        let second = with_section(&first, OWN_TITLE, "other\n");
        assert_eq!(second, format!("{HEAD}\n## {OWN_TITLE}\n\nother\n\n## {SHARED_TITLE}\n\ntable\n"));
        let third = with_section(&second, OWN_TITLE, "new");
        assert_eq!(third, format!("{HEAD}\n## {OWN_TITLE}\n\nnew\n\n## {SHARED_TITLE}\n\ntable\n"));
        assert_eq!(with_section(&third, SHARED_TITLE, "table\n"), third);
    }
}
