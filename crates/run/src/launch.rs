//! Starting a program: where it is found, what it is given, and what went wrong if it did.

mod start;

use crate::filter::{self, Machine, Reach};
use crate::reach;
use crate::sys::{self, ChildPlan, Confinement, SignalMask};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use rustix::thread::CapabilitySet;
use sockeye::HostId;
pub(crate) use start::Child;
use start::{Started, start};
use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where a program is looked for when there is no PATH.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What becomes of one of a program's standard streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stdio {
    /// The supervisor's own.
    #[default]
    Inherit,
    /// Nothing to read, and what is written is lost.
    Null,
    /// What the program writes comes as [`SupervisorEvent::Output`](crate::SupervisorEvent::Output).
    /// For standard input it means [`Stdio::Null`].
    Pipe,
}

/// A program to run.
#[derive(Clone, Debug)]
pub struct ProgramSpec {
    /// The host it runs on; none for the one on which the supervisor has joined a network.
    pub host: Option<HostId>,
    /// Its name, looked up in PATH if it has no slash, and its arguments.
    pub argv: Vec<OsString>,
    /// Variables set beside those of the supervisor's environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where it starts; none for the supervisor's own working directory.
    pub cwd: Option<PathBuf>,
    /// Its standard input. Unless inherited, the program leads a process group of its own.
    pub stdin: Stdio,
    /// Its standard output.
    pub stdout: Stdio,
    /// Its standard error.
    pub stderr: Stdio,
}

impl ProgramSpec {
    /// Whether there is such a program to execute: what can be said before anything is done for its sake.
    pub fn check(&self) -> Result<(), LaunchError> {
        find(self.argv.first().ok_or(LaunchError::BadArgument)?, self).map(drop)
    }
}

/// Why a program could not be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum LaunchError {
    /// There is no such program.
    NotFound(OsString),
    /// It is there but can't be executed.
    NotExecutable(OsString, io::Error),
    /// Its working directory can't be entered.
    Directory(PathBuf, io::Error),
    /// An argument or variable holds a NUL byte, or there is no argument at all.
    BadArgument,
    /// The kernel can't tell a supervisor about a program's calls.
    NoUserNotification,
    /// This process is supervised itself.
    Nested,
    /// The kernel refused the filter.
    Filter(io::Error),
    /// The supervisor may not read the program's memory, where its calls' arguments lie.
    NotPermitted {
        /// What the kernel said.
        error: io::Error,
        /// The setting of Yama, the security module that is the usual cause; none on a kernel without it.
        ptrace_scope: Option<u8>,
    },
    /// Something else failed.
    System(io::Error),
}

impl LaunchError {
    /// The exit status by which a shell tells this: 127 when the program is missing, 126 when it can't be
    /// executed, 125 when it isn't the program's fault.
    pub fn exit_status(&self) -> u8 {
        match self {
            LaunchError::NotFound(_) => 127,
            LaunchError::NotExecutable(..) => 126,
            _ => 125,
        }
    }
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LaunchError::NotFound(program) => {
                write!(f, "{}: program not found; check its name and PATH", program.display())?;
                if program.as_bytes().iter().any(u8::is_ascii_whitespace) {
                    f.write_str(
                        " (it holds a blank: a program's arguments are words of their own; \
                         for a shell's command line use sh -c 'LINE')",
                    )?;
                }
                Ok(())
            }
            LaunchError::NotExecutable(program, error) if error.kind() == io::ErrorKind::IsADirectory => {
                write!(f, "{}: can't be executed: it is a folder; name a program", program.display())
            }
            LaunchError::NotExecutable(program, error) => {
                write!(f, "{}: can't be executed: {}", program.display(), plain(error))
            }
            LaunchError::Directory(path, error) => {
                write!(f, "can't enter the working directory {}: {}", path.display(), plain(error))
            }
            LaunchError::BadArgument => f.write_str("no program is named, or an argument holds a NUL byte"),
            LaunchError::NoUserNotification => f.write_str(
                "there is no seccomp user notification here, by which a program's socket calls are answered; \
                 use Linux 5.14 or later with CONFIG_SECCOMP_FILTER, and a container that allows seccomp",
            ),
            LaunchError::Nested => f.write_str(
                "this process runs inside `sockeye run` already, and one supervisor can't hold another; start it outside",
            ),
            LaunchError::Filter(error) => write!(f, "the kernel refused the seccomp filter: {}", plain(error)),
            LaunchError::NotPermitted { error, ptrace_scope } => write!(
                f,
                "may not read the memory of the program it started ({}): {}",
                plain(error),
                reach::why_not(*ptrace_scope)
            ),
            LaunchError::System(error) => write!(f, "can't start the program: {}", plain(error)),
        }
    }
}

impl std::error::Error for LaunchError {}

impl From<io::Error> for LaunchError {
    fn from(error: io::Error) -> LaunchError {
        LaunchError::System(error)
    }
}

impl From<rustix::io::Errno> for LaunchError {
    fn from(error: rustix::io::Errno) -> LaunchError {
        LaunchError::System(error.into())
    }
}

/// The error's words without its number.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// A program that has just been started.
#[derive(Debug)]
pub(crate) struct Launched {
    /// Its process.
    pub(crate) pid: Pid,
    /// A descriptor of its process.
    pub(crate) pidfd: OwnedFd,
    /// Where its calls arrive.
    pub(crate) listener: OwnedFd,
    /// What it prints: standard output and error, where they are pipes.
    pub(crate) output: [Option<File>; 2],
    /// Whether it leads a process group.
    pub(crate) leads_group: bool,
}

/// What every program gets that isn't its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings {
    /// The signals it starts with blocked.
    pub(crate) signal_mask: SignalMask,
    /// Its soft limit on open files.
    pub(crate) open_files: Option<u64>,
}

/// Starts a program under a filter.
pub(crate) fn launch(spec: &ProgramSpec, surroundings: Surroundings) -> Result<Launched, LaunchError> {
    if !sys::user_notification_is_available() {
        return Err(LaunchError::NoUserNotification);
    }
    let name = spec.argv.first().ok_or(LaunchError::BadArgument)?;
    let path = find(name, spec)?;
    let argv = spec.argv.iter().map(c_string).collect::<Result<Vec<_>, _>>()?;
    let path = c_string(&path)?;
    let shell_argv: Vec<_> =
        [c"/bin/sh".to_owned(), path.clone()].into_iter().chain(argv[1..].iter().cloned()).collect();
    let env = environment(spec)?;
    let cwd = spec.cwd.as_deref().map(|cwd| c_string(cwd.as_os_str())).transpose()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let (stdout, stdout_end) = output(spec.stdout)?;
    let (stderr, stderr_end) = output(spec.stderr)?;
    let reaches_all = reach::has_capability(CapabilitySet::SYS_PTRACE);
    let reach = if reaches_all { Reach::Everything } else { Reach::Dumpable };
    let filter = filter::build(Machine::CURRENT, reach);
    let landlock = sys::landlock_scope();
    let confinement = Confinement {
        filter: &filter,
        no_new_privs: !reach::has_capability(CapabilitySet::SYS_ADMIN),
        landlock: landlock.as_ref().map(AsFd::as_fd),
    };
    let leads_group = spec.stdin != Stdio::Inherit;
    let plan = ChildPlan {
        path: &path,
        argv: &argv,
        shell_argv: &shell_argv,
        env: &env,
        cwd: cwd.as_deref(),
        stdio: [
            leads_group.then(|| null.as_fd()),
            if spec.stdout == Stdio::Null {
                Some(null.as_fd())
            } else {
                stdout_end.as_ref().map(AsFd::as_fd)
            },
            if spec.stderr == Stdio::Null {
                Some(null.as_fd())
            } else {
                stderr_end.as_ref().map(AsFd::as_fd)
            },
        ],
        new_group: leads_group,
        death_signal: libc::SIGKILL,
        signal_mask: surroundings.signal_mask,
        open_files: surroundings.open_files,
    };
    let Started { pid, pidfd, listener } =
        start(&plan, &confinement).map_err(|failure| failure.explain(name.clone(), spec.cwd.clone()))?;
    sys::set_sync_wake_up(listener.as_fd()).ok();
    Ok(Launched { pid, pidfd, listener, output: [stdout, stderr], leads_group })
}

/// The file that a name stands for, as a shell finds it: the first in PATH that can be executed.
fn find(name: &OsStr, spec: &ProgramSpec) -> Result<OsString, LaunchError> {
    if name.is_empty() {
        return Err(LaunchError::NotFound(name.to_owned()));
    }
    let base = spec.cwd.clone().unwrap_or_default();
    if name.as_bytes().contains(&b'/') {
        return match executable(&base.join(name)) {
            Ok(()) => Ok(name.to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(LaunchError::NotFound(name.to_owned()))
            }
            Err(error) => Err(LaunchError::NotExecutable(name.to_owned(), error)),
        };
    }
    let own = spec.env.iter().rev().find(|(key, _)| key == "PATH").map(|(_, value)| value.clone());
    let path = own.or_else(|| std::env::var_os("PATH")).unwrap_or_else(|| DEFAULT_PATH.into());
    let mut refused = None;
    for folder in std::env::split_paths(&path) {
        let candidate =
            if folder.as_os_str().is_empty() { Path::new(".").join(name) } else { folder.join(name) };
        match executable(&base.join(&candidate)) {
            Ok(()) => return Ok(candidate.into_os_string()),
            // A folder of that name hides nothing, as in a shell.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => refused = Some(error),
            Err(_) => {}
        }
    }
    Err(match refused {
        Some(error) => LaunchError::NotExecutable(name.to_owned(), error),
        None => LaunchError::NotFound(name.to_owned()),
    })
}

/// Whether a file is there to be executed, by anybody: exec itself decides about us.
fn executable(path: &Path) -> io::Result<()> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    let runs = metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
    if runs { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EACCES)) }
}

fn environment(spec: &ProgramSpec) -> Result<Vec<CString>, LaunchError> {
    let inherited = std::env::vars_os().filter(|(key, _)| !spec.env.iter().any(|(own, _)| own == key));
    inherited
        .chain(spec.env.iter().cloned())
        .map(|(key, value)| {
            let mut entry = key.into_vec();
            entry.push(b'=');
            entry.extend_from_slice(value.as_bytes());
            CString::new(entry).map_err(|_| LaunchError::BadArgument)
        })
        .collect()
}

fn c_string(text: impl AsRef<OsStr>) -> Result<CString, LaunchError> {
    CString::new(text.as_ref().as_bytes()).map_err(|_| LaunchError::BadArgument)
}

/// A pipe for what a program prints: our end, and the program's.
fn output(stdio: Stdio) -> io::Result<(Option<File>, Option<OwnedFd>)> {
    if stdio != Stdio::Pipe {
        return Ok((None, None));
    }
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((Some(File::from(ours)), Some(theirs)))
}
