//! Where the suites run: a folder that every user can read, with the command under test in it.

use super::Args;
use crate::tool;
use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Longest end of an output that is shown.
const SHOWN: usize = 1500;

/// The folders, the command and the users.
pub(super) struct Stage {
    /// What is removed in the end.
    folder: tempfile::TempDir,
    /// What is fetched and built, kept for the next run.
    pub(super) kept: PathBuf,
    /// The application scripts.
    pub(super) apps: PathBuf,
    /// Who runs what needs no root; none when that is whoever started this.
    pub(super) user: Option<String>,
    pub(super) is_root: bool,
    verbose: bool,
}

/// What a program left.
pub(super) struct Output {
    /// Its standard output and error, in that order.
    pub(super) text: String,
    /// Whether it exited with 0.
    pub(super) success: bool,
}

impl Stage {
    pub(super) fn new(root: &Path, args: &Args) -> Result<Stage, Box<dyn Error>> {
        let folder = tempfile::Builder::new().prefix("sockeye-suites-").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let built = match &args.sockeye {
            Some(file) => file.clone(),
            None => tool::release(root, "sockeye-cli")?.join("sockeye"),
        };
        fs::copy(built, folder.path().join("sockeye"))?;
        let kept = tool::target()?.join("suites");
        fs::create_dir_all(&kept)?;
        let is_root = said(Command::new("id").arg("-u"))? == "0";
        let exists =
            Command::new("id").arg(&args.user).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        if is_root && !exists.success() {
            return Err(format!("there is no user {}: make one, or name one with --user", args.user).into());
        }
        let apps = args.apps.clone().unwrap_or_else(|| root.join("../shared/suites/apps"));
        let stage = Stage {
            folder,
            kept: fs::canonicalize(kept)?,
            apps: PathBuf::new(),
            user: is_root.then(|| args.user.clone()),
            is_root,
            verbose: args.verbose,
        };
        let mut stage = Stage { apps: stage.path("apps"), ..stage };
        if apps.is_dir() {
            copy_all(&apps, &stage.apps)?;
        } else {
            println!("the application scripts are not here: {}", apps.display());
            stage.apps = PathBuf::new();
        }
        Ok(stage)
    }

    /// A path in the folder.
    pub(super) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command under test.
    pub(super) fn sockeye(&self) -> PathBuf {
        self.path("sockeye")
    }

    /// A command line of a suite, under Sockeye or not, as the ordinary user or as whoever started this.
    pub(super) fn command(&self, here: bool, ordinary: bool, line: &[&OsStr]) -> Command {
        let user = self.user.as_ref().filter(|_| ordinary);
        let mut words: Vec<&OsStr> = Vec::new();
        if let Some(user) = user {
            words.extend(["setpriv", "--reuid", user, "--regid", user, "--init-groups"].map(OsStr::new));
        }
        let sockeye = self.sockeye();
        if here {
            words.extend([sockeye.as_os_str(), OsStr::new("run"), OsStr::new("--")]);
        }
        words.extend(line);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir("/tmp").stdin(Stdio::null());
        if user.is_some() {
            command.env("HOME", "/tmp").env_remove("XDG_RUNTIME_DIR");
        }
        command
    }

    /// Runs a command for at most so many seconds.
    pub(super) fn output(&self, command: &Command, seconds: u32) -> Result<Output, Box<dyn Error>> {
        let mut bounded = Command::new("timeout");
        bounded.args(["-k", "5", &seconds.to_string()]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => bounded.env(name, value),
                None => bounded.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            bounded.current_dir(folder);
        }
        // What a suite leaves running must not hold the pipes open: its output goes to a file.
        let file = tempfile::tempfile_in(&self.kept)?;
        bounded.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file.try_clone()?);
        let mut child = bounded.spawn().map_err(|error| format!("{bounded:?}: {error}"))?;
        let status = child.wait()?;
        // `timeout` makes a group of its own of what it runs; some tests leave servers running.
        let group = format!("-{}", child.id());
        Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status()?;
        let text = read_from_start(file)?;
        Ok(Output { text, success: status.success() })
    }

    /// Gives a folder with all in it to the ordinary user, whose tests write there.
    pub(super) fn give(&self, folder: &Path) -> Result<(), Box<dyn Error>> {
        let Some(user) = &self.user else { return Ok(()) };
        check(Command::new("chown").args(["-R", user]).arg(folder))
    }

    /// Shows the end of what failed, if that is asked for.
    pub(super) fn show(&self, name: &str, text: &str) {
        if self.verbose {
            let mut start = text.len().saturating_sub(SHOWN);
            while !text.is_char_boundary(start) {
                start += 1;
            }
            println!("--- {name}\n{}\n---", &text[start..]);
        }
    }
}

fn read_from_start(mut file: fs::File) -> Result<String, Box<dyn Error>> {
    use std::io::{Read, Seek};
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Runs a command that must succeed.
pub(super) fn check(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}

/// What a command that must succeed says, in one line.
pub(super) fn said(command: &mut Command) -> Result<String, Box<dyn Error>> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Copies a folder so that everybody can read it.
pub(super) fn copy_all(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    if to.is_dir() {
        // Left by a run before this one.
        fs::remove_dir_all(to)?;
    }
    check(Command::new("cp").arg("-rH").arg(from).arg(to))?;
    check(Command::new("chmod").args(["-R", "u+w,a+rX"]).arg(to))
}
