//! Between fork and exec: streams, working directory, signals and limits, then the program.
//!
//! The child of a process with threads may call nothing that allocates or locks, so all it needs is laid
//! ready in a [`ChildPlan`], and it makes system calls only: such that the filter doesn't take, as the child
//! is born under it.

use super::check;
use super::signals::SignalMask;
use std::ffi::{CStr, CString, c_char};
use std::io;
use std::mem::MaybeUninit;
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
    /// Whether the program leads a process group of its own.
    pub(crate) new_group: bool,
    /// The signal that the program gets when its parent ends.
    pub(crate) death_signal: i32,
    /// The signals that the program starts with blocked.
    pub(crate) signal_mask: SignalMask,
    /// The soft limit on open files that the program starts with.
    pub(crate) open_files: Option<u64>,
}

/// Tells the child that the thread which forked it has ended. Ignored by default, and blocked until then.
const ORPHANED: i32 = libc::SIGURG;
/// How long the child waits for that. It comes at once unless a security module keeps it back.
const PATIENCE: libc::timespec = libc::timespec { tv_sec: 10, tv_nsec: 0 };

/// How far the child came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Going to the working directory.
    Directory = 1,
    /// Nothing failed: the child waits for the end of the thread that forked it, and for the word to go on.
    Prepared,
    /// Executing the program.
    Execute,
    /// Anything else.
    Setup,
}

/// What the child tells: a stage, and the errno it failed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChildReport {
    /// How far it came.
    pub(crate) stage: Stage,
    /// The errno, where it failed.
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
            2 => Stage::Prepared,
            3 => Stage::Execute,
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

/// The child's ends of its pipes. The parent closes its own copies after the fork.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChildEnds<'a> {
    /// Where the child writes its reports.
    pub(crate) report: BorrowedFd<'a>,
    /// Where it reads the word to go on from.
    pub(crate) go: BorrowedFd<'a>,
}

/// Forks a child that follows `plan`; returns its process id. The calling thread must live on until the child's
/// first report, and then end: the child waits for that.
pub(crate) fn spawn_child(plan: &ChildPlan<'_>, ends: ChildEnds<'_>) -> io::Result<i32> {
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
        unsafe { run_child(plan, ends, parent, [&argv, &shell_argv, &env]) }
    }
    check(pid.into()).map(|pid| pid as i32)
}

/// Forks a child that does nothing until it is killed, or the calling thread ends.
pub(crate) fn spawn_idle_child() -> io::Result<i32> {
    // SAFETY: getpid has no conditions.
    let parent = unsafe { libc::getpid() };
    // SAFETY: the child only makes system calls, and ends in _exit or by a signal.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: system calls without memory.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            while libc::getppid() == parent {
                libc::pause();
            }
            libc::_exit(0)
        }
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

/// Closes every descriptor of this process but the standard ones and these, also those that other code here
/// owns: only for a process that never returns to such code.
pub(crate) fn close_all_but(kept: &[BorrowedFd<'_>]) {
    let mut numbers: Vec<u32> = kept.iter().map(|fd| fd.as_raw_fd() as u32).collect();
    numbers.extend([0, 1, 2, u32::MAX]);
    numbers.sort_unstable();
    for pair in numbers.windows(2) {
        let (first, last) = (pair[0] + 1, pair[1] - 1);
        if first <= last {
            // SAFETY: the caller says that nobody uses these descriptors any more.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    }
}

/// Pointers to the strings, with the null that ends the array.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// # Safety
/// Only for the child of a fork; the arrays must be null-terminated.
unsafe fn run_child(
    plan: &ChildPlan<'_>,
    ends: ChildEnds<'_>,
    parent: i32,
    arrays: [&[*const c_char]; 3],
) -> ! {
    let report = ends.report.as_raw_fd();
    // SAFETY: system calls on the plan's memory, which outlives them; no lock is taken, nothing allocated.
    unsafe {
        let prepared = prepare(plan, parent).and_then(|()| {
            tell(report, ChildReport { stage: Stage::Prepared, value: 0 });
            leave_thread(plan, parent)
        });
        let failed = prepared.map_or_else(|failed| failed, |()| execute(plan, ends.go.as_raw_fd(), arrays));
        tell(report, failed);
        libc::_exit(127)
    }
}

/// Becomes the program when told to; returns why not.
///
/// # Safety
/// As for [`run_child`].
unsafe fn execute(plan: &ChildPlan<'_>, go: RawFd, arrays: [&[*const c_char]; 3]) -> ChildReport {
    let [argv, shell_argv, env] = arrays.map(<[_]>::as_ptr);
    let mut word = 0_u8;
    // SAFETY: as in `run_child`.
    unsafe {
        if libc::read(go, (&raw mut word).cast(), 1) == 1 {
            libc::execve(plan.path.as_ptr(), argv, env);
            if errno() == libc::ENOEXEC {
                libc::execve(c"/bin/sh".as_ptr(), shell_argv, env);
            }
        }
    }
    ChildReport { stage: Stage::Execute, value: errno() }
}

/// What was done, or the report that it was not.
fn ensure(ok: bool, stage: Stage) -> Result<(), ChildReport> {
    if ok { Ok(()) } else { Err(ChildReport { stage, value: errno() }) }
}

/// Asks for a signal when the parent thread ends; fails when the parent process has ended already.
///
/// # Safety
/// Only for the child of a fork.
unsafe fn die_with(parent: i32, signal: i32) -> Result<(), ChildReport> {
    // SAFETY: system calls without memory.
    unsafe {
        ensure(libc::prctl(libc::PR_SET_PDEATHSIG, signal) == 0, Stage::Setup)?;
        // A parent that died before the line above sends nothing any more.
        let orphan = libc::getppid() != parent;
        if orphan { Err(ChildReport { stage: Stage::Setup, value: libc::ESRCH }) } else { Ok(()) }
    }
}

/// The set that holds [`ORPHANED`].
fn orphaned() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset fills the set before it is used.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), ORPHANED);
        set.assume_init()
    }
}

/// Everything before exec that doesn't depend on the parent thread's end, and the demand to be told of that.
///
/// # Safety
/// Only for the child of a fork.
unsafe fn prepare(plan: &ChildPlan<'_>, parent: i32) -> Result<(), ChildReport> {
    // SAFETY: as in `run_child`.
    unsafe {
        let set = orphaned();
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        die_with(parent, ORPHANED)?;
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
        Ok(())
    }
}

/// Waits for the end of the thread that forked this child, and ties the child's life to the thread that is its
/// parent from then on. The kernel sends the death signal when the parent *thread* ends, and that thread may
/// still be ending after it was joined: only its signal tells that another parent has been found.
///
/// # Safety
/// Only for the child of a fork.
unsafe fn leave_thread(plan: &ChildPlan<'_>, parent: i32) -> Result<(), ChildReport> {
    // SAFETY: as in `run_child`.
    unsafe {
        let (set, patience) = (orphaned(), PATIENCE);
        while libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const patience) < 0 {
            ensure(errno() == libc::EINTR, Stage::Setup)?;
        }
        die_with(parent, plan.death_signal)?;
        libc::sigprocmask(libc::SIG_SETMASK, &raw const plan.signal_mask.0, std::ptr::null_mut());
        Ok(())
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
