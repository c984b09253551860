//! Sockets of the kernel, by their numbers.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

fn check(result: i32) -> Result<i32, i32> {
    if result < 0 { Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(result) }
}

/// `socket`.
pub(crate) fn socket(domain: i32, kind: i32, protocol: i32) -> Result<OwnedFd, i32> {
    // SAFETY: no pointers are passed.
    let number = check(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) })?;
    // SAFETY: the number is a descriptor that was made just now, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// `setsockopt`.
pub(crate) fn set(fd: &OwnedFd, level: i32, name: i32, value: &[u8]) -> Result<(), i32> {
    let len = value.len() as libc::socklen_t;
    // SAFETY: the pointer and the length are those of one slice.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value.as_ptr().cast(), len) }).map(drop)
}

/// `getsockopt` into so many bytes.
pub(crate) fn get(fd: &OwnedFd, level: i32, name: i32, room: usize) -> Result<Vec<u8>, i32> {
    let mut value = vec![0; room];
    let mut len = room as libc::socklen_t;
    // SAFETY: the pointer and the length are those of one vector; both are exclusively borrowed.
    let result =
        unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut len) };
    check(result)?;
    value.truncate(len as usize);
    Ok(value)
}

/// `bind`.
pub(crate) fn bind(fd: &OwnedFd, address: &[u8]) -> Result<(), i32> {
    let len = address.len() as libc::socklen_t;
    // SAFETY: the pointer and the length are those of one slice.
    check(unsafe { libc::bind(fd.as_raw_fd(), address.as_ptr().cast(), len) }).map(drop)
}

/// `connect`.
pub(crate) fn connect(fd: &OwnedFd, address: &[u8]) -> Result<(), i32> {
    let len = address.len() as libc::socklen_t;
    // SAFETY: the pointer and the length are those of one slice.
    check(unsafe { libc::connect(fd.as_raw_fd(), address.as_ptr().cast(), len) }).map(drop)
}

/// `getsockname`.
pub(crate) fn local(fd: &OwnedFd) -> Result<Vec<u8>, i32> {
    let mut address = vec![0_u8; 128];
    let mut len = address.len() as libc::socklen_t;
    // SAFETY: the pointer and the length are those of one vector; both are exclusively borrowed.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), address.as_mut_ptr().cast(), &raw mut len) })?;
    address.truncate(len as usize);
    Ok(address)
}

/// `listen`.
pub(crate) fn listen(fd: &OwnedFd) -> Result<(), i32> {
    // SAFETY: no pointers are passed.
    check(unsafe { libc::listen(fd.as_raw_fd(), 5) }).map(drop)
}

/// `accept`.
pub(crate) fn accept(fd: &OwnedFd) -> Result<OwnedFd, i32> {
    // SAFETY: both pointers may be null.
    let number = check(unsafe { libc::accept(fd.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut()) })?;
    // SAFETY: the number is a descriptor that was made just now, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Gives the calling thread, and no other, the rights of an ordinary user.
pub(crate) fn become_ordinary() {
    const NOBODY: libc::uid_t = 65534;
    // SAFETY: no pointers are passed; the call that only changes one thread is meant.
    unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
}
