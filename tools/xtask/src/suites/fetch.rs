//! Sources and packages of Debian, fetched once.

use super::stage::{Stage, check};
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const SOURCES: &str = "\
deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main
deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian-security bookworm-security main
";

/// The unpacked source of a package, whose folder's name starts with `prefix`.
///
/// Lists of sources are a set of their own, so that nothing of the machine's changes.
pub(super) fn source(stage: &Stage, package: &str, prefix: &str) -> Result<PathBuf, Box<dyn Error>> {
    let folder = stage.kept.join("src");
    if let Some(found) = unpacked(&folder, prefix)? {
        return Ok(found);
    }
    let apt = stage.kept.join("apt");
    for part in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(apt.join(part))?;
    }
    let list = apt.join("sources.list");
    fs::write(&list, SOURCES)?;
    let apt_get = || {
        let mut command = Command::new("apt-get");
        let options = [
            ("Etc::sourcelist", list.clone()),
            ("Etc::sourceparts", "/nonexistent".into()),
            ("State::lists", apt.join("lists")),
            ("Cache", apt.join("cache")),
        ];
        for (name, value) in options {
            command.arg("-o").arg(format!("Dir::{name}={}", value.display()));
        }
        command.arg("-q").current_dir(&folder).stdout(Stdio::null());
        command
    };
    fs::create_dir_all(&folder)?;
    check(apt_get().arg("update"))?;
    check(apt_get().args(["source", package]))?;
    unpacked(&folder, prefix)?.ok_or_else(|| format!("apt-get source {package} made no {prefix}*").into())
}

fn unpacked(folder: &PathBuf, prefix: &str) -> Result<Option<PathBuf>, Box<dyn Error>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) && entry.file_type()?.is_dir() {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// Packages of the machine's own archive, unpacked beside each other; nothing is installed.
pub(super) fn packages(stage: &Stage, name: &str, packages: &[&str]) -> Result<PathBuf, Box<dyn Error>> {
    let folder = stage.kept.join(name);
    let root = folder.join("root");
    if root.is_dir() {
        return Ok(root);
    }
    fs::create_dir_all(&folder)?;
    check(
        Command::new("apt-get")
            .args(["-q", "download"])
            .args(packages)
            .current_dir(&folder)
            .stdout(Stdio::null()),
    )?;
    let unpacking = folder.join("unpacking");
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            check(Command::new("dpkg").arg("-x").arg(&path).arg(&unpacking))?;
        }
    }
    fs::rename(unpacking, &root)?;
    Ok(root)
}
