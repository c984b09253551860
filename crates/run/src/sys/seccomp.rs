//! Seccomp's user notification: one ioctl each to receive a call, answer it, or hand over a descriptor.

use super::check;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Wakes the other side on the waker's CPU (Linux 6.6); libc doesn't have it.
const SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP: libc::c_ulong = 1;

/// One intercepted call, as the kernel reports it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notification {
    /// Names the call until it is answered.
    pub(crate) id: u64,
    /// The calling thread, as this process's PID namespace numbers it.
    pub(crate) tid: u32,
    /// The number of the call.
    pub(crate) number: i32,
    /// Its arguments, as the registers held them.
    pub(crate) args: [u64; 6],
}

/// What the calling thread is to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Response {
    /// The call returns this value.
    Value(i64),
    /// The call fails with this errno (positive).
    Error(i32),
    /// The kernel runs the call as if it had not been intercepted.
    Continue,
}

/// A descriptor for the calling process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AddFd<'a> {
    /// What the new descriptor refers to.
    pub(crate) fd: BorrowedFd<'a>,
    /// The number to replace; none takes the lowest free one.
    pub(crate) replace: Option<RawFd>,
    /// Whether it closes on exec.
    pub(crate) close_on_exec: bool,
    /// Whether the call returns the new number at once.
    pub(crate) answer: bool,
}

/// Whether the kernel knows user notification (Linux 5.0).
pub(crate) fn user_notification_is_available() -> bool {
    let action: u32 = libc::SECCOMP_RET_USER_NOTIF;
    // SAFETY: the kernel reads four bytes at `action`, which outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, std::ptr::from_ref(&action))
    };
    result == 0
}

/// What a thread takes on for good, and its children inherit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Confinement<'a> {
    /// The seccomp filter.
    pub(crate) filter: &'a [libc::sock_filter],
    /// Whether to give up the right to gain privileges, without which a filter takes `CAP_SYS_ADMIN`.
    pub(crate) no_new_privs: bool,
    /// A Landlock ruleset to enter.
    pub(crate) landlock: Option<BorrowedFd<'a>>,
}

/// Puts this thread, and no other, under a confinement; returns the filter's listener, which closes on exec.
pub(crate) fn confine_this_thread(confinement: &Confinement<'_>) -> io::Result<OwnedFd> {
    let Confinement { filter, no_new_privs, landlock } = *confinement;
    if no_new_privs {
        rustix::thread::set_no_new_privs(true)?;
    }
    if let Some(ruleset) = landlock {
        // Without it the program is only less confined: a refusal is no reason to stop.
        // SAFETY: the call takes a descriptor, which is borrowed, and flags.
        unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u32) };
    }
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the kernel reads `program` and the instructions it points to, which both outlive the call.
    let listener = check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    })?;
    // SAFETY: the kernel has just made this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(listener as RawFd) })
}

/// Takes the next call off a listener. Blocks when there is none: ask only after it polled readable.
pub(crate) fn receive_notification(listener: BorrowedFd<'_>) -> io::Result<Notification> {
    // SAFETY: the structure is plain integers, for which zero is valid (and which the kernel demands).
    let mut raw: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    let request = libc::SECCOMP_IOCTL_NOTIF_RECV;
    // SAFETY: the kernel writes one seccomp_notif at `raw`, whose size is part of the request number.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw mut raw) }.into())?;
    Ok(Notification { id: raw.id, tid: raw.pid, number: raw.data.nr, args: raw.data.args })
}

/// Answers a call. ENOENT when its thread no longer waits (killed, or interrupted by a signal).
pub(crate) fn send_response(listener: BorrowedFd<'_>, id: u64, response: Response) -> io::Result<()> {
    let mut raw = libc::seccomp_notif_resp { id, val: 0, error: 0, flags: 0 };
    match response {
        Response::Value(value) => raw.val = value,
        Response::Error(errno) => raw.error = -errno,
        Response::Continue => raw.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
    }
    let request = libc::SECCOMP_IOCTL_NOTIF_SEND;
    // SAFETY: the kernel reads one seccomp_notif_resp at `raw`.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw mut raw) }.into()).map(drop)
}

/// Gives the calling process a descriptor; returns its number there.
pub(crate) fn add_fd(listener: BorrowedFd<'_>, id: u64, add: &AddFd<'_>) -> io::Result<RawFd> {
    let mut flags = 0;
    if add.answer {
        flags |= libc::SECCOMP_ADDFD_FLAG_SEND;
    }
    if add.replace.is_some() {
        flags |= libc::SECCOMP_ADDFD_FLAG_SETFD;
    }
    let mut raw = libc::seccomp_notif_addfd {
        id,
        flags: flags as u32,
        srcfd: add.fd.as_raw_fd() as u32,
        newfd: add.replace.unwrap_or(0) as u32,
        newfd_flags: if add.close_on_exec { libc::O_CLOEXEC as u32 } else { 0 },
    };
    let request = libc::SECCOMP_IOCTL_NOTIF_ADDFD;
    // SAFETY: the kernel reads one seccomp_notif_addfd at `raw`; the descriptor in it is borrowed.
    let fd = check(unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw mut raw) }.into())?;
    Ok(fd as RawFd)
}

/// Whether the thread still waits for the answer to this call.
pub(crate) fn notification_is_valid(listener: BorrowedFd<'_>, id: u64) -> bool {
    let request = libc::SECCOMP_IOCTL_NOTIF_ID_VALID;
    // SAFETY: the kernel reads the eight bytes of `id`.
    unsafe { libc::ioctl(listener.as_raw_fd(), request, std::ptr::from_ref(&id)) == 0 }
}

/// Makes each answer hand the CPU to the thread that waits for it. Older kernels refuse, and are only slower.
pub(crate) fn set_sync_wake_up(listener: BorrowedFd<'_>) -> io::Result<()> {
    let request = libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS;
    // SAFETY: this request takes its flags by value.
    let set = unsafe { libc::ioctl(listener.as_raw_fd(), request, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP) };
    check(set.into()).map(drop)
}
