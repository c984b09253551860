//! The project's own scripts pass, each in all the IP versions it is meant for.

use std::fs;
use std::path::{Path, PathBuf};

use sockeye_drill::script::parse;
use sockeye_drill::{IpVersion, PlayOptions, play};

/// All scripts below `folder`.
fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of scripts") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "pkt") {
            files.push(path);
        }
    }
}

/// What fails in the script, in the first version in which anything does.
fn failure(name: &str, text: &str) -> Option<String> {
    let script = match parse(name, text) {
        Ok(script) => script,
        Err(error) => return Some(error.to_string()),
    };
    let named = script.option("ip_version");
    let versions =
        IpVersion::ALL.into_iter().filter(|version| named.is_none_or(|only| only == version.name()));
    versions.into_iter().find_map(|ip_version| {
        let failure = play(&script, &PlayOptions { ip_version }).err()?;
        Some(format!("{name} in {}: {failure}", ip_version.name()))
    })
}

#[test]
fn own_scripts_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut files = Vec::new();
    find(&root, &mut files);
    assert!(files.len() >= 100, "only {} scripts", files.len());
    files.sort();
    let pending = fs::read_to_string(root.join("pending.txt")).unwrap_or_default();
    let failures: Vec<String> = files
        .iter()
        .filter_map(|file| {
            let name = file.strip_prefix(&root).expect("below the root").display().to_string();
            let text = fs::read_to_string(file).expect("a script");
            assert!(text.starts_with("// "), "{name} does not say what it shows");
            failure(&name, &text).filter(|_| !pending.lines().any(|line| line == name))
        })
        .collect();
    assert!(failures.is_empty(), "{} scripts fail:\n{}", failures.len(), failures.join("\n\n"));
}
