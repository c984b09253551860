//! What no safe wrapper tells of a kernel's connection. All `unsafe` of this tool stands here.

#![allow(unsafe_code, reason = "one getsockopt")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// `TCP_INFO` of a TCP socket.
pub(crate) fn tcp_info(socket: impl AsFd) -> io::Result<libc::tcp_info> {
    // SAFETY: zero is a value of each of its fields, which are integers.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `len` bytes at `info`, and their number at `len`.
    let result = unsafe {
        libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &raw mut len)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(info) }
}
