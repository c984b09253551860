//! From a plan to a running program: a thread that confines itself, its child, and the handshake up to exec.
//!
//! Seccomp filters, `no_new_privs` and Landlock domains belong to a thread, and a child inherits those of the
//! thread that forks it. So a short-lived thread takes them on and forks: the filter's listener is then a
//! descriptor of this process from the beginning, and nothing need be fetched from the child (containers may
//! refuse `pidfd_getfd`). The thread makes no call that the filter takes, since nobody would answer it, and it
//! must end: while it lives the listener never tells that the program's last process is gone.

use super::LaunchError;
use crate::reach;
use crate::sys::{self, ChildEnds, ChildPlan, ChildReport, Confinement, Stage};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, pidfd_open, waitid};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::thread;

/// A program that runs.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
    pub(super) listener: OwnedFd,
}

/// Starts what `plan` says under `confinement`. On failure nothing of it stays.
pub(super) fn start(plan: &ChildPlan<'_>, confinement: &Confinement<'_>) -> Result<Started, Failure> {
    let Forked { child, listener, mut reports, go } = thread::scope(|scope| {
        let thread = thread::Builder::new().name("sockeye-launch".into());
        let thread = thread.spawn_scoped(scope, || fork_confined(plan, confinement))?;
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that starts programs failed").into()))
    })?;
    reach::read_child(child.pid).map_err(Failure::Unreadable)?;
    let pidfd = pidfd_open(child.pid, PidfdFlags::empty())?;
    File::from(go).write_all(&[1])?;
    // The pipe closes on exec: its end is the good news.
    match read_report(&mut reports) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Ok(Started { pid: child.release(), pidfd, listener })
        }
        Err(error) => Err(error.into()),
        Ok(report) => Err(Failure::Child(report)),
    }
}

/// What the thread leaves behind: a child that waits for the thread's end and then for `go`.
#[derive(Debug)]
struct Forked {
    child: Child,
    listener: OwnedFd,
    reports: File,
    go: OwnedFd,
}

/// The thread's life.
fn fork_confined(plan: &ChildPlan<'_>, confinement: &Confinement<'_>) -> Result<Forked, Failure> {
    let (report, report_end) = pipe_with(PipeFlags::CLOEXEC)?;
    let (go_end, go) = pipe_with(PipeFlags::CLOEXEC)?;
    let listener = sys::confine_this_thread(confinement).map_err(Failure::Filter)?;
    let pid = sys::spawn_child(plan, ChildEnds { report: report_end.as_fd(), go: go_end.as_fd() })?;
    drop((report_end, go_end));
    let child = Child::new(Pid::from_raw(pid).ok_or_else(|| io::Error::other("fork gave no process"))?);
    let mut reports = File::from(report);
    // This thread has to outlive the child's preparations: its end is their last step.
    match read_report(&mut reports)? {
        ChildReport { stage: Stage::Prepared, .. } => Ok(Forked { child, listener, reports, go }),
        report => Err(Failure::Child(report)),
    }
}

fn read_report(reports: &mut File) -> io::Result<ChildReport> {
    let mut message = [0; ChildReport::SIZE];
    reports.read_exact(&mut message)?;
    Ok(ChildReport::parse(message))
}

/// A child that has not become a program yet: killed and reaped unless it does.
#[derive(Debug)]
pub(crate) struct Child {
    pid: Pid,
}

impl Child {
    /// A child that nobody has reaped.
    pub(crate) fn new(pid: Pid) -> Child {
        Child { pid }
    }

    /// Its number.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// From now on it is somebody else's to end.
    fn release(self) -> Pid {
        let pid = self.pid;
        mem::forget(self);
        pid
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It is not reaped yet, so the number is its own.
        kill_process(self.pid, Signal::KILL).ok();
        waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED).ok();
    }
}

/// What went wrong.
#[derive(Debug)]
pub(super) enum Failure {
    /// The thread could not confine itself.
    Filter(io::Error),
    /// The child's memory can't be read.
    Unreadable(io::Error),
    /// The child says so.
    Child(ChildReport),
    /// Anything else.
    System(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::System(error)
    }
}

impl From<rustix::io::Errno> for Failure {
    fn from(error: rustix::io::Errno) -> Failure {
        Failure::System(error.into())
    }
}

impl Failure {
    /// What it means for the program of this name and working directory.
    pub(super) fn explain(self, name: OsString, cwd: Option<PathBuf>) -> LaunchError {
        let ChildReport { stage, value } = match self {
            Failure::Filter(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                return LaunchError::Nested;
            }
            Failure::Filter(error) => return LaunchError::Filter(error),
            Failure::Unreadable(error) => {
                return LaunchError::NotPermitted { error, ptrace_scope: reach::ptrace_scope() };
            }
            Failure::System(error) => return LaunchError::System(error),
            Failure::Child(report) => report,
        };
        let error = io::Error::from_raw_os_error(value);
        match (stage, value) {
            (Stage::Directory, _) => LaunchError::Directory(cwd.unwrap_or_default(), error),
            (Stage::Execute, libc::ENOENT) => LaunchError::NotFound(name),
            (Stage::Execute, _) => LaunchError::NotExecutable(name, error),
            (Stage::Prepared | Stage::Setup, _) => LaunchError::System(error),
        }
    }
}
