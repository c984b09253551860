//! Length limits: a file is one subject, a function one screen.
//!
//! A file may have [`FILE_LINES`] lines without its tests and a function [`FUNCTION_LINES`]. Test
//! modules, and files that are tests as a whole, are not counted.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 80;

/// Prints every file and function over its limit; true when there is none.
pub(crate) fn run(root: &Path) -> Result<bool, Box<dyn Error>> {
    let mut files = Vec::new();
    for folder in ["crates", "tools", "fuzz"] {
        collect(&root.join(folder), &mut files)?;
    }
    files.sort();
    let (mut over, mut lines) = (0, 0);
    for file in &files {
        let source = fs::read_to_string(file)?;
        let shown = file.strip_prefix(root).unwrap_or(file).display();
        let report = measure(&source).map_err(|error| format!("{shown}: {error}"))?;
        lines += report.lines;
        if report.lines > FILE_LINES {
            over += 1;
            println!("{shown}: {} lines without its tests, the limit is {FILE_LINES}", report.lines);
        }
        for function in report.long_functions {
            over += 1;
            println!(
                "{shown}:{}: `{}` has {} lines, the limit is {FUNCTION_LINES}",
                function.line, function.name, function.lines
            );
        }
    }
    println!("loc: {} files, {lines} lines without tests, {over} over the limit", files.len());
    Ok(over == 0)
}

/// Every Rust file below `folder` that is not all tests.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "target" | "tests") {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests.rs" {
            files.push(path);
        }
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Report {
    lines: usize,
    long_functions: Vec<Function>,
}

#[derive(Debug)]
struct Function {
    name: String,
    line: usize,
    lines: usize,
}

fn measure(source: &str) -> syn::Result<Report> {
    let mut counter = Counter::default();
    counter.visit_file(&syn::parse_file(source)?);
    let lines = source.lines().count() - counter.test_lines;
    Ok(Report { lines, long_functions: counter.long_functions })
}

#[derive(Default)]
struct Counter {
    test_lines: usize,
    long_functions: Vec<Function>,
}

impl Counter {
    fn function(&mut self, name: &syn::Ident, span: proc_macro2::Span) {
        let lines = span_lines(span);
        if lines > FUNCTION_LINES {
            self.long_functions.push(Function { name: name.to_string(), line: span.start().line, lines });
        }
    }
}

impl<'ast> Visit<'ast> for Counter {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if is_test(&module.attrs) {
            self.test_lines += span_lines(module.span());
        } else {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.function(
            &function.sig.ident,
            function.sig.span().join(function.block.span()).unwrap_or_else(|| function.block.span()),
        );
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.function(
            &function.sig.ident,
            function.sig.span().join(function.block.span()).unwrap_or_else(|| function.block.span()),
        );
        visit::visit_impl_item_fn(self, function);
    }
}

fn span_lines(span: proc_macro2::Span) -> usize {
    span.end().line - span.start().line + 1
}

/// Whether one of the attributes is `#[cfg(test)]`, alone or within `all(…)`.
pub(crate) fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .meta
                .require_list()
                .is_ok_and(|list| list.tokens.clone().into_iter().any(|token| token.to_string() == "test"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_not_counted() {
        let report = measure("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n").unwrap();
        assert_eq!(report.lines, 1);
    }

    #[test]
    fn long_functions_are_found_also_in_impls() {
        let body = "    let _ = 1;\n".repeat(FUNCTION_LINES);
        let source = format!("struct S;\nimpl S {{\nfn long(&self) {{\n{body}}}\nfn short() {{}}\n}}\n");
        let report = measure(&source).unwrap();
        assert_eq!(report.long_functions.len(), 1);
        assert_eq!((report.long_functions[0].name.as_str(), report.long_functions[0].line), ("long", 3));
        assert_eq!(report.long_functions[0].lines, FUNCTION_LINES + 2);
    }
}
