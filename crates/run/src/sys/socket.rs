//! Single calls on sockets, tasks and Landlock rulesets.

use super::check;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// `PIDFD_THREAD` (Linux 6.9): a descriptor of one thread; the kernel gives it the value of `O_EXCL`.
const PIDFD_THREAD: u32 = libc::O_EXCL as u32;
/// `SO_PEERPIDFD` of `asm-generic/socket.h`.
const SO_PEERPIDFD: libc::c_int = 77;
/// `SIOCATMARK` of `asm-generic/sockios.h`.
const SIOCATMARK: libc::Ioctl = 0x8905;
/// `LANDLOCK_SCOPE_SIGNAL` (Linux 6.12). Abstract local sockets stay in reach, as those with a path do: programs of
/// one network meet there, each under a `sockeye run` of its own.
const LANDLOCK_SCOPES: u64 = 2;

/// `LANDLOCK_CREATE_RULESET_VERSION`: asks for the version instead.
const LANDLOCK_VERSION: u32 = 1;

/// A descriptor of a thread, through which its files can be reached.
pub(crate) fn open_task(tid: u32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(tid as i32).ok_or(io::ErrorKind::NotFound)?;
    match pidfd_open(pid, PidfdFlags::from_bits_retain(PIDFD_THREAD)) {
        // Before 6.9 only a process has a descriptor; its threads nearly always share its files.
        Err(rustix::io::Errno::INVAL) => {
            let process = process_of_thread(tid)?;
            Ok(pidfd_open(process, PidfdFlags::empty())?)
        }
        result => Ok(result?),
    }
}

/// Whether a thread can have a descriptor of its own.
pub(crate) fn threads_have_descriptors() -> bool {
    pidfd_open(rustix::thread::gettid(), PidfdFlags::from_bits_retain(PIDFD_THREAD)).is_ok()
}

/// The process that a thread belongs to.
pub(crate) fn process_of_thread(tid: u32) -> io::Result<Pid> {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    let pid = line.and_then(|value| value.trim().parse().ok()).and_then(Pid::from_raw);
    pid.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// What was written to a socket and is still on its way (`SIOCOUTQ`): of a local socket what its peer has not
/// read, in bytes of kernel memory, of a TCP socket what its peer has not acknowledged, in bytes. Zero exactly
/// when there is none.
pub(crate) fn unread_by_peer(fd: impl AsFd) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: the kernel writes one int at `count`.
    check(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut count) }.into())?;
    Ok(count.max(0) as usize)
}

/// Whether the next byte of a stream socket is an urgent one (`SIOCATMARK`).
pub(crate) fn is_at_mark(fd: impl AsFd) -> bool {
    let mut mark: libc::c_int = 0;
    // SAFETY: the kernel writes one int at `mark`.
    let told = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), SIOCATMARK, &raw mut mark) };
    told == 0 && mark != 0
}

/// A descriptor of the process that a local socket was connected to (`SO_PEERPIDFD`, Linux 6.5).
pub(crate) fn peer_process(socket: impl AsFd) -> io::Result<Option<OwnedFd>> {
    let (mut fd, mut len): (libc::c_int, libc::socklen_t) = (-1, 4);
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes one int at `fd`, and its size at `len`.
    let got = unsafe {
        libc::getsockopt(socket, libc::SOL_SOCKET, SO_PEERPIDFD, (&raw mut fd).cast(), &raw mut len)
    };
    match check(got.into()) {
        // SAFETY: the kernel has just made this descriptor (close-on-exec), and nobody else has it.
        Ok(_) => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) })),
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The version of Landlock that the kernel has.
pub(crate) fn landlock_abi() -> io::Result<u32> {
    let none = std::ptr::null::<u64>();
    // SAFETY: with this flag the kernel reads no ruleset and only answers its version.
    check(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, LANDLOCK_VERSION) })
        .map(|abi| abi as u32)
}

/// A Landlock ruleset that keeps a program from signalling processes outside its domain, or
/// none where the kernel has no such scopes.
pub(crate) fn landlock_scope() -> Option<OwnedFd> {
    let attributes: [u64; 3] = [0, 0, LANDLOCK_SCOPES];
    // SAFETY: the kernel reads the size given at `attributes`, a struct landlock_ruleset_attr: the handled
    // filesystem and network accesses (none) and the scopes. A shorter structure in older kernels is E2BIG.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            attributes.as_ptr(),
            std::mem::size_of_val(&attributes),
            0_u32,
        )
    };
    // SAFETY: the kernel has just made this descriptor (close-on-exec), and nobody else has it.
    check(fd).ok().map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
