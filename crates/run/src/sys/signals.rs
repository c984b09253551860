//! Signals of this process as a descriptor.

use super::check;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The signals it was made for, blocked in this thread and readable here instead; the old mask comes back
/// when it is dropped.
#[derive(Debug)]
pub(crate) struct SignalFd {
    fd: OwnedFd,
    previous: SignalMask,
}

/// A signal that arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignalInfo {
    /// Its number.
    pub(crate) signal: i32,
    /// Whether a process sent it, rather than the kernel (a terminal signals the whole group itself).
    pub(crate) from_process: bool,
}

/// A set of blocked signals.
#[derive(Clone, Copy)]
pub(crate) struct SignalMask(pub(super) libc::sigset_t);

impl std::fmt::Debug for SignalMask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignalMask")
    }
}

impl SignalMask {
    /// What this thread blocks now.
    pub(crate) fn current() -> SignalMask {
        let mut mask = MaybeUninit::uninit();
        // SAFETY: a null set asks for the present mask, which the call writes at `mask`.
        unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), mask.as_mut_ptr());
            SignalMask(mask.assume_init())
        }
    }
}

impl SignalFd {
    /// Blocks `signals` in this thread and makes them readable.
    ///
    /// Children are this process's to wait for from now on, also where it was started with SIGCHLD ignored.
    pub(crate) fn new(signals: &[i32]) -> io::Result<SignalFd> {
        // SAFETY: the default disposition runs no code of ours.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        let previous = SignalMask::current();
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset fills the set before it is used; the calls read and write only the sets given.
        let fd = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for &signal in signals {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
            libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        check(fd.into())?;
        // SAFETY: signalfd has just made this descriptor.
        Ok(SignalFd { fd: unsafe { OwnedFd::from_raw_fd(fd) }, previous })
    }

    /// What this thread blocked before.
    pub(crate) fn previous_mask(&self) -> SignalMask {
        self.previous
    }

    /// The next signal that arrived.
    pub(crate) fn read(&self) -> Option<SignalInfo> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = std::mem::size_of::<libc::signalfd_siginfo>();
        // SAFETY: the kernel writes whole structures of `size` bytes at `info`, or nothing.
        let read = unsafe { libc::read(self.fd.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        if read != size as isize {
            return None;
        }
        // SAFETY: the kernel has just filled it.
        let info = unsafe { info.assume_init() };
        Some(SignalInfo { signal: info.ssi_signo as i32, from_process: info.ssi_code <= 0 })
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for SignalFd {
    fn drop(&mut self) {
        // SAFETY: restores a mask that the call itself gave us.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.previous.0, std::ptr::null_mut()) };
    }
}

/// Blocks signals in this thread.
pub(crate) fn block_signals(signals: &[i32]) {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset fills the set before it is used.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for &signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
    }
}

/// Sends a signal to a thread, as the kernel does for a failed write.
pub(crate) fn send_signal(tid: u32, signal: i32) {
    // SAFETY: kill has no memory conditions.
    unsafe { libc::kill(tid as i32, signal) };
}

/// Ends this process by `signal`, as a program that it ran has ended. Returns if the signal doesn't end it.
pub(crate) fn die_of(signal: i32) {
    // The program may have left a memory image; this process has nothing to show.
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(rustix::process::Resource::Core, none).ok();
    let mut set = MaybeUninit::uninit();
    // SAFETY: the set is filled before it is used, and the default disposition runs no code of ours.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal);
        libc::signal(signal, libc::SIG_DFL);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), std::ptr::null_mut());
        libc::raise(signal);
    }
}

/// A child of this process that has ended and waits to be reaped, which this doesn't do.
pub(crate) fn ended_child() -> Option<i32> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the kernel fills `info`, or leaves it zeroed when there is no such child; both are valid, and
    // of a child's siginfo the pid may be read.
    unsafe {
        let found = libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options) == 0;
        Some(info.assume_init().si_pid()).filter(|&pid| found && pid != 0)
    }
}
