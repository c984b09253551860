//! Packet scripts, played against the stack and counted.
//!
//! A set of scripts is a folder: the project's own, or the one shared beside the project. Scripts play side
//! by side, each in the IP versions that it is meant for. What passes and what fails is printed, and kept
//! in `docs/conformance.md`.

mod collect;
mod document;
mod play;
mod report;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use collect::Scripts;

/// The project's own scripts, from the root.
const OWN: &str = "tools/drill/scripts";
/// Other people's, from the root.
const SHARED: &str = "../shared/packetdrill";
/// Where the outcome is kept, from the root.
const DOCUMENT: &str = "docs/conformance.md";

/// Plays packet scripts and counts those that pass. A script passes if it passes in all IP versions that it
/// is meant for: the one in its `--ip_version=` line, else those that `index.tsv` lists, else all three.
///
/// The outcome is written to docs/conformance.md when PATH is left out, and when it is one of the two
/// folders that are played then, as a whole: a part of them, or another folder, leaves it as it is, and so
/// does `--all`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A folder with `*.pkt` files in it, or one such file [default: tools/drill/scripts, and
    /// ../shared/packetdrill where it is there]
    path: Option<PathBuf>,
    /// Play the scripts of classes F (Fast Open) and A (accurate ECN) too
    #[arg(long)]
    all: bool,
    /// Of a failure, print one line only
    #[arg(short, long, conflicts_with = "verbose")]
    brief: bool,
    /// Print each IP version's failure, and what passes
    #[arg(short, long)]
    verbose: bool,
}

/// Plays the scripts; true when none failed.
pub(crate) fn run(root: &Path, args: &Args) -> Result<bool, Box<dyn Error>> {
    let root = root.canonicalize()?;
    let sets = match &args.path {
        Some(path) => vec![path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?],
        None => [OWN, SHARED].iter().filter_map(|set| root.join(set).canonicalize().ok()).collect(),
    };
    let (mut passed, mut failed) = (0, 0);
    for set in sets {
        let scripts = collect::scripts(&set, args.all)?;
        let outcomes = play::all(&scripts.jobs);
        report::failures(&outcomes, args);
        let title = title(&root, &set);
        println!("{}:\n", title.unwrap_or(&set.display().to_string()));
        let table = report::table(&outcomes);
        println!("{table}{}", skipped(&scripts));
        if let Some(title) = title.filter(|_| !args.all) {
            keep(&root.join(DOCUMENT), title, &document::section(&scripts, &outcomes, &table))?;
        }
        let good = outcomes.iter().filter(|outcome| outcome.passed()).count();
        passed += good;
        failed += outcomes.len() - good;
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0 && passed > 0)
}

/// The title of a set that is kept in the document.
fn title(root: &Path, set: &Path) -> Option<&'static str> {
    let titles = [(OWN, document::OWN_TITLE), (SHARED, document::SHARED_TITLE)];
    titles
        .iter()
        .find(|(path, _)| root.join(path).canonicalize().is_ok_and(|path| path == set))
        .map(|(_, title)| *title)
}

/// What was left out.
fn skipped(scripts: &Scripts) -> String {
    let counts: Vec<String> =
        scripts.skipped.iter().map(|(class, count)| format!("{count} of class {class}")).collect();
    if counts.is_empty() { String::new() } else { format!("Left out: {}.\n", counts.join(", ")) }
}

/// Puts a section in the document in place of the one with its title.
fn keep(file: &Path, title: &str, section: &str) -> Result<(), Box<dyn Error>> {
    let before = fs::read_to_string(file).unwrap_or_default();
    let after = document::with_section(&before, title, section);
    if after != before {
        fs::write(file, after)?;
    }
    Ok(())
}
