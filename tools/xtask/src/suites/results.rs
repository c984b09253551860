//! What the tests of one run came to, by name.

use std::collections::BTreeMap;

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It passed.
    Pass,
    /// It failed, or never ended.
    Fail,
    /// It was skipped, or expected to fail.
    Skip,
}

/// The tests of one run.
pub(super) type Results = BTreeMap<String, Verdict>;

/// Reads what `CPython`'s `python -m test -v` prints.
pub(super) fn of_python(output: &str) -> Results {
    let mut results = Results::new();
    let mut current: Option<String> = None;
    for line in output.lines() {
        if let Some(name) =
            line.strip_prefix("ERROR: ").or_else(|| line.strip_prefix("FAIL: ")).and_then(python_name)
        {
            results.insert(name, Verdict::Fail);
            continue;
        }
        if let Some(name) = python_name(line) {
            // What is never told is a failure: the run ended in it.
            results.entry(name.clone()).or_insert(Verdict::Fail);
            current = Some(name);
        }
        // The verdict follows the name or the line with the test's description; a test's own output may lie between.
        let said = line.rsplit_once("... ").map_or(line, |(_, said)| said).trim();
        let verdict = match said {
            "ok" => Verdict::Pass,
            "FAIL" | "ERROR" => Verdict::Fail,
            said if said.starts_with("skipped") || said == "expected failure" => Verdict::Skip,
            _ => continue,
        };
        if let Some(name) = current.take() {
            results.insert(name, verdict);
        }
    }
    results
}

/// The full name in `test_x (test.test_y.Class.test_x)`, perhaps with more behind it.
fn python_name(line: &str) -> Option<String> {
    let (method, rest) = line.split_once(" (")?;
    let (path, rest) = rest.split_once(')')?;
    let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte));
    let is_test = method.starts_with("test") && is_name(method) && path.contains('.') && is_name(path);
    let ends = rest.is_empty() || rest.starts_with(" ...");
    if !is_test || !ends {
        return None;
    }
    Some(if path.ends_with(method) { path.to_owned() } else { format!("{path}.{method}") })
}

/// Reads lines that a function takes for a name and a verdict. A name that comes again passes only if it always does.
pub(super) fn of_lines(output: &str, read: impl Fn(&str) -> Option<(String, Verdict)>) -> Results {
    let mut results = Results::new();
    for (name, verdict) in output.lines().filter_map(read) {
        let entry = results.entry(name).or_insert(verdict);
        if verdict == Verdict::Fail {
            *entry = verdict;
        }
    }
    results
}

/// A line without the escape sequences of colours.
pub(super) fn without_colours(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').map_or(part, |(_, text)| text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pythons_verdicts_are_found() {
        let output = "\
test_a (test.test_x.C.test_a) ... ok
test_b (test.test_x.C.test_b)
What it is for. ... FAIL
test_c (test.test_x.C.test_c) ... some output
ok
test_d (test.test_x.C.test_d) ... skipped 'no such thing'
test_e (test.test_x.C.test_e) ... ok
FAIL: test_e (test.test_x.C.test_e) (i=1)
FAIL: test_a (test.test_x.C.test_a)
test_f (test.test_x.C.test_f) ... ";
        let expected =
            [("a", Verdict::Fail), ("b", Verdict::Fail), ("c", Verdict::Pass), ("d", Verdict::Skip)];
        let results = of_python(output);
        for (name, verdict) in expected.into_iter().chain([("e", Verdict::Pass), ("f", Verdict::Fail)]) {
            assert_eq!(results.get(&format!("test.test_x.C.test_{name}")), Some(&verdict), "{name}");
        }
        assert_eq!(results.len(), 6);
    }

    #[test]
    fn colours_are_taken_away() {
        assert_eq!(without_colours("[\u{1b}[0;32mok\u{1b}[0m]: a name (3 ms)"), "[ok]: a name (3 ms)");
    }

    #[test]
    fn a_name_that_failed_once_failed() {
        let read = |line: &str| {
            let (name, word) = line.split_once(' ')?;
            Some((name.to_owned(), if word == "OK" { Verdict::Pass } else { Verdict::Fail }))
        };
        let results = of_lines("a OK\na BAD\nb BAD\nb OK\nc OK\nnothing", read);
        assert_eq!(
            results.values().copied().collect::<Vec<_>>(),
            [Verdict::Fail, Verdict::Fail, Verdict::Pass]
        );
    }
}
