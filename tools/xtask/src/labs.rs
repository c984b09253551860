//! Real programs under `sockeye lab`: every lab file of `labs/`, one after the other.
//!
//! What the labs use beside the machine's programs (the command itself, two static clients) is built
//! and laid out in a folder that every user can read, so that another user can run them too. A lab names
//! the programs it needs in a line `# needs: …`, and `namespaces` among them if its user must be let have those;
//! where one is missing the lab is skipped by name.

use crate::tool;
use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The word of a lab that needs namespaces.
const NAMESPACES: &str = "namespaces";
/// Longest output of a failed lab that is shown.
const SHOWN: usize = 6_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run the labs as this user (needs root)
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Write the names of skipped labs to this file
    #[arg(long, value_name = "FILE")]
    skips: Option<PathBuf>,
    /// Only labs whose name contains one of these
    names: Vec<String>,
}

/// Runs the labs; true when none failed.
pub(crate) fn run(root: &Path, args: &Args) -> Result<bool, Box<dyn Error>> {
    let stage = tempfile::Builder::new().prefix("sockeye-labs-").tempdir()?;
    lay_out(root, stage.path())?;
    let (mut passed, mut failed, mut skipped) = (0, 0, Vec::new());
    for lab in lab_files(&root.join("labs"))? {
        let name = lab.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !args.names.is_empty() && !args.names.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let user = args.user.as_deref();
        if let Some(missing) = missing_need(&fs::read_to_string(&lab)?, stage.path(), user) {
            println!("SKIP {name}: {missing} is not here");
            skipped.push(name);
            continue;
        }
        let start = Instant::now();
        let output = lab_command(stage.path(), &lab, user).output()?;
        let seconds = start.elapsed().as_secs_f64();
        if output.status.success() {
            passed += 1;
            println!("PASS {name} ({seconds:.1} s)");
        } else {
            failed += 1;
            println!("FAIL {name} ({seconds:.1} s): {}", output.status);
            let text = [output.stdout, output.stderr].concat();
            println!("{}", String::from_utf8_lossy(&text[text.len().saturating_sub(SHOWN)..]));
        }
    }
    if let Some(file) = &args.skips {
        fs::write(file, skipped.iter().flat_map(|name| [name.as_str(), "\n"]).collect::<String>())?;
    }
    println!("{passed} passed, {failed} failed, {} skipped", skipped.len());
    Ok(failed == 0 && passed > 0)
}

/// Puts the command, the labs and the clients that the labs use into `stage`.
fn lay_out(root: &Path, stage: &Path) -> Result<(), Box<dyn Error>> {
    fs::set_permissions(stage, fs::Permissions::from_mode(0o755))?;
    let (bin, labs) = (stage.join("bin"), stage.join("labs"));
    fs::create_dir(&bin)?;
    fs::create_dir(&labs)?;
    fs::copy(tool::release(root, "sockeye-cli")?.join("sockeye"), bin.join("sockeye"))?;
    for lab in lab_files(&root.join("labs"))? {
        fs::copy(&lab, labs.join(lab.file_name().unwrap_or_default()))?;
    }
    let clients = root.join("labs/clients");
    for (name, source) in [("rust-client", "client.rs"), ("pattern", "pattern.rs")] {
        let mut rustc = Command::new("rustc");
        rustc.args(["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "-o"]);
        check(rustc.arg(bin.join(name)).arg(clients.join(source)))?;
    }
    if find_program("go", stage).is_some() {
        let mut go = Command::new("go");
        go.env("CGO_ENABLED", "0").env("GOCACHE", stage.join("go-cache")).env("GO111MODULE", "off");
        check(go.args(["build", "-o"]).arg(bin.join("go-client")).arg(clients.join("client.go")))?;
    }
    Ok(())
}

fn lab_command(stage: &Path, lab: &Path, user: Option<&str>) -> Command {
    let mut command = match user {
        Some(user) => {
            let mut command = Command::new("runuser");
            command.args(["-u", user, "--"]).arg(stage.join("bin/sockeye"));
            command
        }
        None => Command::new(stage.join("bin/sockeye")),
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = vec![stage.join("bin"), PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")];
    folders.extend(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(folders).unwrap_or(path));
    command.arg("lab").arg(stage.join("labs").join(lab.file_name().unwrap_or_default()));
    command.current_dir("/");
    command
}

/// The first of the lab's `# needs:` line that is nowhere to be found.
fn missing_need(lab: &str, stage: &Path, user: Option<&str>) -> Option<String> {
    let needs = lab.lines().find_map(|line| line.strip_prefix("# needs:"))?;
    let is_there = |name: &str| match name {
        NAMESPACES => may_have_namespaces(user),
        name => find_program(name, stage).is_some(),
    };
    needs.split_whitespace().find(|name| !is_there(name)).map(str::to_string)
}

/// Whether this machine lets the user who runs the labs have namespaces.
fn may_have_namespaces(user: Option<&str>) -> bool {
    let unshare = ["unshare", "--user", "--map-root-user", "--net", "true"];
    let line = user.map_or_else(Vec::new, |user| vec!["runuser", "-u", user, "--"]);
    let mut words = line.into_iter().chain(unshare);
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command.current_dir("/").output().is_ok_and(|output| output.status.success())
}

fn find_program(name: &str, stage: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = vec![stage.join("bin"), PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")];
    folders.extend(std::env::split_paths(&path));
    folders.into_iter().map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn lab_files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn check(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}
