//! Which scripts there are, and in which IP versions they are meant to play.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use sockeye_drill::IpVersion;
use sockeye_drill::script::{Script, parse};

/// The classes that are left out unless all are asked for: they need what a later stage brings.
const LATER: [&str; 2] = ["A", "F"];

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    /// The scripts to play, in order of their paths.
    pub(super) jobs: Vec<Job>,
    /// How many were left out, by class.
    pub(super) skipped: BTreeMap<String, usize>,
}

/// A script to play.
#[derive(Debug)]
pub(super) struct Job {
    /// Its path below the folder asked for.
    pub(super) name: String,
    pub(super) category: String,
    pub(super) versions: Vec<IpVersion>,
    /// The script, or why it cannot be read.
    pub(super) script: Result<Script, String>,
}

/// The scripts below `folder`, which may be a script itself.
pub(super) fn scripts(folder: &Path, all: bool) -> Result<Scripts, Box<dyn Error>> {
    let mut files = Vec::new();
    find(folder, &mut files)?;
    files.sort();
    let index = Index::above(folder)?;
    let base = if folder.is_dir() { folder } else { folder.parent().unwrap_or(folder) };
    let mut scripts = Scripts::default();
    for file in files {
        let entry = index.entry(&file);
        if let Some(entry) = entry
            && !all
            && LATER.contains(&entry.class.as_str())
        {
            *scripts.skipped.entry(entry.class.clone()).or_default() += 1;
            continue;
        }
        let name = file.strip_prefix(base).unwrap_or(&file).display().to_string();
        let script = parse(&name, &fs::read_to_string(&file)?).map_err(|error| error.to_string());
        scripts.jobs.push(Job {
            category: entry.map_or_else(|| category(&name), |entry| entry.category.clone()),
            versions: versions(script.as_ref().ok(), entry),
            name,
            script,
        });
    }
    Ok(scripts)
}

/// All scripts at `path` or below.
fn find(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            find(&entry?.path(), files)?;
        }
    } else if path.extension().is_some_and(|extension| extension == "pkt") {
        files.push(path.to_path_buf());
    }
    Ok(())
}

/// The folder a script is in, or the first part of its name.
fn category(name: &str) -> String {
    let path = Path::new(name);
    let folder = path.parent().and_then(Path::file_name);
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    folder.map_or_else(
        || stem.split(['-', '_']).next().unwrap_or_default().to_owned(),
        |folder| folder.to_string_lossy().into_owned(),
    )
}

/// Where a script plays: in the version it names, else where the index says, else in all.
fn versions(script: Option<&Script>, entry: Option<&Entry>) -> Vec<IpVersion> {
    let named = script.and_then(|script| script.option("ip_version"));
    let wanted = |version: &IpVersion| match (named, entry) {
        (Some(only), _) => version.name() == only,
        (None, Some(entry)) if !entry.versions.is_empty() => {
            entry.versions.iter().any(|known| known == version.name())
        }
        _ => true,
    };
    IpVersion::ALL.into_iter().filter(wanted).collect()
}

/// What `index.tsv` says of scripts: path, category, class, outcome on Linux, versions, needs.
#[derive(Debug, Default)]
struct Index {
    folder: PathBuf,
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    category: String,
    class: String,
    versions: Vec<String>,
}

impl Index {
    /// The index in `folder` or in the nearest folder above it; an empty one if there is none.
    fn above(folder: &Path) -> Result<Index, Box<dyn Error>> {
        for folder in folder.ancestors() {
            let file = folder.join("index.tsv");
            if file.is_file() {
                let entries = entries(&fs::read_to_string(file)?);
                return Ok(Index { folder: folder.to_path_buf(), entries });
            }
        }
        Ok(Index::default())
    }

    fn entry(&self, file: &Path) -> Option<&Entry> {
        self.entries.get(&file.strip_prefix(&self.folder).ok()?.display().to_string())
    }
}

fn entries(text: &str) -> BTreeMap<String, Entry> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut columns = line.split('\t');
            let path = columns.next()?.to_owned();
            let (category, class) = (columns.next()?.to_owned(), columns.next()?.to_owned());
            let listed =
                columns.nth(1).and_then(|column| column.strip_prefix("variants=")).unwrap_or_default();
            // The index writes the third version shorter than scripts do.
            let versions = listed.split(',').filter(|version| !version.is_empty());
            let versions = versions.map(|version| version.replace("mapped-v6", "mapped-ipv6")).collect();
            Some((path, Entry { category, class, versions }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "# path\tcategory\tclass\n\
        a/x.pkt\tsack\tP\tref=pass\tvariants=ipv4,ipv4-mapped-v6\tneed=sack\n\
        a/tfo.pkt\tfastopen\tF\tref=pass\tvariants=ipv4\tneed=tfo\n\
        b/y.pkt\tother\tB\tref=pass\tvariants=\tneed=\n";

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("index.tsv"), INDEX).unwrap();
        for (file, text) in [
            ("a/x.pkt", "0 close(3) = 0"),
            ("a/tfo.pkt", "0 close(3) = 0"),
            ("a/unlisted.pkt", "--ip_version=ipv6\n0 close(3) = 0"),
            ("b/y.pkt", "0 close"),
            ("b/none.txt", ""),
        ] {
            let file = folder.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        folder
    }

    fn seen(scripts: &Scripts) -> Vec<(&str, &str, usize)> {
        scripts
            .jobs
            .iter()
            .map(|job| (job.name.as_str(), job.category.as_str(), job.versions.len()))
            .collect()
    }

    #[test]
    fn the_index_says_category_versions_and_class() {
        let folder = folder();
        let scripts = scripts(folder.path(), false).unwrap();
        assert_eq!(
            seen(&scripts),
            [("a/unlisted.pkt", "a", 1), ("a/x.pkt", "sack", 2), ("b/y.pkt", "other", 3)]
        );
        assert_eq!(scripts.skipped, BTreeMap::from([("F".to_owned(), 1)]));
        assert_eq!(scripts.jobs[1].versions, [IpVersion::V4, IpVersion::V4MappedV6]);
        assert!(scripts.jobs[2].script.is_err());
    }

    #[test]
    fn the_index_may_be_above() {
        let folder = folder();
        let part = scripts(&folder.path().join("a"), true).unwrap();
        assert_eq!(
            seen(&part),
            [("tfo.pkt", "fastopen", 1), ("unlisted.pkt", "unlisted", 1), ("x.pkt", "sack", 2)]
        );
        let one = scripts(&folder.path().join("b/y.pkt"), false).unwrap();
        assert_eq!(seen(&one), [("y.pkt", "other", 3)]);
    }
}
