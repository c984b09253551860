//! Between fork and exec: the filter goes in, the listener is handed over, the program starts.
//!
//! The child of a process with threads may call nothing that allocates or locks, so all it needs is laid
//! ready in a [`ChildPlan`], and it makes system calls only. `write` and `read` are never intercepted: the
//! child tells its listener's number through a pipe, the parent fetches it, and acknowledges before exec.

use super::check;
use super::signals::SignalMask;
use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// All that the child needs.
#[derive(Debug)]
pub(crate) struct ChildPlan<'a> {
    /// The file to execute.
    pub(crate) path: &'a CStr,
    /// The program's arguments, its name first.
    pub(crate) argv: &'a [CString],
    /// The arguments of a shell that reads the file, should it be a script without an interpreter line.
    pub(crate) shell_argv: &'a [CString],
    /// The program's environment.
    pub(crate) env: &'a [CString],
    /// Where it starts.
    pub(crate) cwd: Option<&'a CStr>,
    /// What becomes of descriptors 0, 1 and 2; none keeps the parent's.
    pub(crate) stdio: [Option<BorrowedFd<'a>>; 3],
    /// The seccomp filter.
    pub(crate) filter: &'a [libc::sock_filter],
    /// Whether to give up the right to gain privileges, without which only root may set a filter.
    pub(crate) no_new_privs: bool,
    /// A Landlock ruleset to enter.
    pub(crate) landlock: Option<BorrowedFd<'a>>,
    /// Whether the program leads a process group of its own.
    pub(crate) new_group: bool,
    /// The signal that the program gets when the thread that started it ends.
    pub(crate) death_signal: i32,
    /// The signals that the program starts with blocked.
    pub(crate) signal_mask: SignalMask,
    /// The soft limit on open files that the program starts with.
    pub(crate) open_files: Option<u64>,
    /// Where reports go.
    pub(crate) report: BorrowedFd<'a>,
    /// Where the acknowledgement comes from.
    pub(crate) go: BorrowedFd<'a>,
}

/// How far the child came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Going to the working directory.
    Directory = 1,
    /// Setting the filter.
    Filter,
    /// The filter is in; the value is the listener's number.
    Listener,
    /// Executing the program.
    Execute,
    /// Anything else.
    Setup,
}

/// What the child tells: a stage, and the errno it failed with (or the listener's number).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChildReport {
    /// How far it came.
    pub(crate) stage: Stage,
    /// See [`Stage`].
    pub(crate) value: i32,
}

impl ChildReport {
    /// Size of a report on the pipe.
    pub(crate) const SIZE: usize = 8;

    /// Reads a report; one that no child of ours writes is a failed setup.
    pub(crate) fn parse(bytes: [u8; Self::SIZE]) -> ChildReport {
        let word = |at: usize| bytes[at..].first_chunk().map_or(0, |word| i32::from_ne_bytes(*word));
        let stage = match word(0) {
            1 => Stage::Directory,
            2 => Stage::Filter,
            3 => Stage::Listener,
            4 => Stage::Execute,
            _ => Stage::Setup,
        };
        ChildReport { stage, value: word(4) }
    }

    fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&(self.stage as i32).to_ne_bytes());
        bytes[4..].copy_from_slice(&self.value.to_ne_bytes());
        bytes
    }
}

/// Forks a child that follows `plan`; returns its process id.
pub(crate) fn spawn_child(plan: &ChildPlan<'_>) -> io::Result<i32> {
    let argv = pointers(plan.argv);
    let shell_argv = pointers(plan.shell_argv);
    let env = pointers(plan.env);
    // SAFETY: getpid has no conditions.
    let parent = unsafe { libc::getpid() };
    // SAFETY: the child only runs `run_child`, which makes system calls on memory prepared above, and ends
    // in exec or _exit; it never returns into code of this process.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: we are the only thread of the fresh child; the arrays end in null and outlive the call.
        unsafe { run_child(plan, parent, &argv, &shell_argv, &env) }
    }
    check(pid.into()).map(|pid| pid as i32)
}

/// Makes a child of this process, which must have one thread; answers the child's id in the parent and none
/// in the child.
pub(crate) fn fork() -> io::Result<Option<rustix::process::Pid>> {
    // SAFETY: with one thread, the child is in the state in which this process is.
    let pid = unsafe { libc::fork() };
    check(pid.into()).map(|pid| rustix::process::Pid::from_raw(pid as i32))
}

/// Pointers to the strings, with the null that ends the array.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// # Safety
/// Only for the child of a fork; the arrays must be null-terminated.
unsafe fn run_child(
    plan: &ChildPlan<'_>,
    parent: i32,
    argv: &[*const c_char],
    shell_argv: &[*const c_char],
    env: &[*const c_char],
) -> ! {
    // SAFETY: system calls on the plan's memory, which outlives them; no lock is taken, nothing allocated.
    unsafe {
        let failed = match prepare(plan, parent) {
            Err(report) => report,
            Ok(listener) => {
                tell(plan.report.as_raw_fd(), ChildReport { stage: Stage::Listener, value: listener });
                let mut acknowledged = 0_u8;
                let read = libc::read(plan.go.as_raw_fd(), (&raw mut acknowledged).cast(), 1);
                if read == 1 {
                    libc::execve(plan.path.as_ptr(), argv.as_ptr(), env.as_ptr());
                    if errno() == libc::ENOEXEC {
                        libc::execve(c"/bin/sh".as_ptr(), shell_argv.as_ptr(), env.as_ptr());
                    }
                }
                ChildReport { stage: Stage::Execute, value: errno() }
            }
        };
        tell(plan.report.as_raw_fd(), failed);
        libc::_exit(127)
    }
}

/// Everything before exec; returns the number of the seccomp listener.
///
/// # Safety
/// Only for the child of a fork.
unsafe fn prepare(plan: &ChildPlan<'_>, parent: i32) -> Result<RawFd, ChildReport> {
    let ensure = |ok: bool, stage| if ok { Ok(()) } else { Err(ChildReport { stage, value: errno() }) };
    // SAFETY: as in `run_child`.
    unsafe {
        ensure(libc::prctl(libc::PR_SET_PDEATHSIG, plan.death_signal) == 0, Stage::Setup)?;
        // A parent that died before the line above sends nothing any more.
        ensure(libc::getppid() == parent, Stage::Setup)?;
        if plan.new_group {
            ensure(libc::setpgid(0, 0) == 0, Stage::Setup)?;
        }
        for (target, source) in plan.stdio.iter().enumerate() {
            if let Some(source) = source {
                ensure(libc::dup2(source.as_raw_fd(), target as i32) >= 0, Stage::Setup)?;
            }
        }
        if let Some(cwd) = plan.cwd {
            ensure(libc::chdir(cwd.as_ptr()) == 0, Stage::Directory)?;
        }
        // Rust's runtime ignores SIGPIPE, which a program would inherit.
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        if let Some(soft) = plan.open_files {
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
                limit.rlim_cur = soft.min(limit.rlim_max);
                libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
            }
        }
        if plan.no_new_privs {
            ensure(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, Stage::Filter)?;
        }
        if let Some(ruleset) = plan.landlock {
            // Without it the program is only less confined: a refusal is no reason to stop.
            libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u32);
        }
        let program =
            libc::sock_fprog { len: plan.filter.len() as u16, filter: plan.filter.as_ptr().cast_mut() };
        let listener = libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        );
        ensure(listener >= 0, Stage::Filter)?;
        libc::sigprocmask(libc::SIG_SETMASK, &raw const plan.signal_mask.0, std::ptr::null_mut());
        Ok(listener as RawFd)
    }
}

/// # Safety
/// Only for the child of a fork.
unsafe fn tell(report: RawFd, message: ChildReport) {
    let bytes = message.to_bytes();
    // SAFETY: eight bytes of a local array; a pipe takes them whole.
    unsafe { libc::write(report, bytes.as_ptr().cast(), bytes.len()) };
}

fn errno() -> i32 {
    // SAFETY: the location is this thread's own.
    unsafe { *libc::__errno_location() }
}
