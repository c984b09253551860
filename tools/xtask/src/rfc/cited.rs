//! Finds citations of RFC 9293's labels in Rust files and packet scripts.

use crate::loc::is_test;
use std::error::Error;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Where code and its tests are. The chores are left out: they name all labels.
const FOLDERS: &[&str] = &["crates", "tools/drill"];
const KINDS: [&str; 4] = ["MUST", "SHLD", "MAY", "REC"];

/// One label in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Citation {
    pub(super) label: String,
    /// From the project's root.
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) place: Place,
}

/// What a citation stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Code,
    /// A test function of this name.
    Test(String),
    /// A packet script.
    Script,
}

impl Citation {
    pub(super) fn is_test(&self) -> bool {
        self.place != Place::Code
    }

    /// The file and the line, and the test.
    pub(super) fn shown(&self) -> String {
        let Citation { label: _, file, line, place } = self;
        match place {
            Place::Test(name) => format!("{file}:{line} {name}"),
            Place::Code | Place::Script => format!("{file}:{line}"),
        }
    }

    /// The test by its name alone, or the script by its file's.
    pub(super) fn name(&self) -> String {
        match &self.place {
            Place::Test(name) => name.clone(),
            Place::Code | Place::Script => {
                Path::new(&self.file).file_name().unwrap_or_default().to_string_lossy().into_owned()
            }
        }
    }
}

/// All citations, in the order of files and lines.
pub(super) fn collect(root: &Path) -> Result<Vec<Citation>, Box<dyn Error>> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        find_files(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut citations = Vec::new();
    for path in files {
        let source = fs::read_to_string(&path)?;
        let file = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        let found = if path.extension().is_some_and(|extension| extension == "pkt") {
            in_script(&file, &source)
        } else {
            in_rust(&file, &source).map_err(|error| format!("{file}: {error}"))?
        };
        citations.extend(found);
    }
    Ok(citations)
}

fn find_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                find_files(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "pkt") {
            files.push(path);
        }
    }
    Ok(())
}

/// The labels that a line names: `MUST-58/59` is two.
pub(super) fn labels(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for kind in KINDS {
        for (at, _) in line.match_indices(kind) {
            let before = line[..at].chars().next_back();
            let Some(rest) = line[at + kind.len()..].strip_prefix('-') else { continue };
            if before.is_some_and(|before| before.is_alphanumeric() || before == '-') {
                continue;
            }
            let numbers = rest.split(|c: char| !c.is_ascii_digit() && c != '/').next().unwrap_or_default();
            found.extend(
                numbers.split('/').filter(|number| !number.is_empty()).map(|n| format!("{kind}-{n}")),
            );
        }
    }
    found
}

/// In a packet script, comments cite.
fn in_script(file: &str, source: &str) -> Vec<Citation> {
    numbered(source).flat_map(|(line, text)| at(file, line, text, &Place::Script)).collect()
}

fn in_rust(file: &str, source: &str) -> syn::Result<Vec<Citation>> {
    let whole = file.ends_with("tests.rs") || file.split('/').any(|part| part == "tests");
    let lines: Vec<&str> = source.lines().collect();
    let mut finder = Finder { lines: &lines, tests: Vec::new(), functions: Vec::new() };
    finder.visit_file(&syn::parse_file(source)?);
    let mut citations = Vec::new();
    for (line, text) in numbered(source) {
        let function = finder.functions.iter().find(|(lines, _)| lines.contains(&line));
        let place = match function {
            Some((_, name)) => Place::Test(name.clone()),
            // What stands in tests but in no test function proves nothing.
            None if whole || finder.tests.iter().any(|lines| lines.contains(&line)) => continue,
            None => Place::Code,
        };
        citations.extend(at(file, line, text, &place));
    }
    Ok(citations)
}

fn numbered(source: &str) -> impl Iterator<Item = (usize, &str)> {
    source.lines().enumerate().map(|(index, text)| (index + 1, text))
}

fn at(file: &str, line: usize, text: &str, place: &Place) -> Vec<Citation> {
    let cite = |label| Citation { label, file: file.to_owned(), line, place: place.clone() };
    labels(text).into_iter().map(cite).collect()
}

/// Finds the lines of test modules and of test functions.
struct Finder<'a> {
    lines: &'a [&'a str],
    tests: Vec<Range<usize>>,
    functions: Vec<(Range<usize>, String)>,
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if is_test(&module.attrs) {
            self.tests.push(module.span().start().line..module.span().end().line + 1);
        }
        visit::visit_item_mod(self, module);
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if function.attrs.iter().any(|attribute| attribute.path().is_ident("test")) {
            let mut start = function.span().start().line;
            // Line numbers count from one: this is the line above.
            while start >= 2 && self.lines[start - 2].trim_start().starts_with("//") {
                start -= 1;
            }
            self.functions.push((start..function.span().end().line + 1, function.sig.ident.to_string()));
        }
        visit::visit_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_found_alone_and_in_rows() {
        assert_eq!(labels("// RFC 9293 §3.8.1, MUST-20."), ["MUST-20"]);
        assert_eq!(labels("(SHLD-16, MAY-7)"), ["SHLD-16", "MAY-7"]);
        assert_eq!(labels("MUST-58/59: both"), ["MUST-58", "MUST-59"]);
        assert!(labels("MUST be, MUST-, XMUST-2, it-MUST-3").is_empty());
    }

    #[test]
    fn only_test_functions_and_comments_on_them_are_tests() {
        let source = "
            // MUST-1
            fn code() {}
            #[cfg(test)]
            mod tests {
                //! MUST-2
                fn helper() {} // MUST-3

                // MUST-4
                /// MUST-5
                #[test]
                fn first() { /* MUST-6 */ }

                #[test]
                fn second() {
                    // MUST-7
                }
            }";
        let found: Vec<(String, Place)> =
            in_rust("a.rs", source).unwrap().into_iter().map(|found| (found.label, found.place)).collect();
        let test = |name: &str| Place::Test(name.to_owned());
        assert_eq!(
            found,
            [
                ("MUST-1".to_owned(), Place::Code),
                ("MUST-4".to_owned(), test("first")),
                ("MUST-5".to_owned(), test("first")),
                ("MUST-6".to_owned(), test("first")),
                ("MUST-7".to_owned(), test("second")),
            ]
        );
        assert_eq!(in_rust("a/tests/b.rs", "// MUST-1\nfn helper() {}\n").unwrap(), []);
    }

    #[test]
    fn scripts_are_tests() {
        let found = in_script("a/b.pkt", "// MUST-1: the window\n+0 > . 1:1(0) ack 1\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].is_test());
        assert_eq!((found[0].name().as_str(), found[0].shown().as_str()), ("b.pkt", "a/b.pkt:1"));
    }
}
