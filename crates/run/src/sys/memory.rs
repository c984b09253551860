//! Another process's memory, for the arguments of its calls.

use super::check;
use std::io;

/// Reads the given (address, length) ranges, one behind the other, into `buffer`; fewer bytes where a mapping
/// ends. EFAULT when there is nothing.
pub(crate) fn read_memory(tid: u32, ranges: &[(u64, usize)], buffer: &mut [u8]) -> io::Result<usize> {
    let remote = remote_ranges(ranges);
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: `local` describes `buffer`, borrowed mutably for the call; the kernel checks every remote address
    // against the other process and writes nowhere else.
    let read = unsafe {
        libc::process_vm_readv(
            tid as libc::pid_t,
            &raw const local,
            1,
            remote.as_ptr(),
            remote.len() as u64,
            0,
        )
    };
    check(read as libc::c_long).map(|n| n as usize)
}

/// Writes `bytes` over the given (address, length) ranges, one behind the other.
pub(crate) fn write_memory(tid: u32, ranges: &[(u64, usize)], bytes: &[u8]) -> io::Result<usize> {
    let remote = remote_ranges(ranges);
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: the kernel only reads from `local`, which describes `bytes`, and checks every remote address.
    let written = unsafe {
        libc::process_vm_writev(
            tid as libc::pid_t,
            &raw const local,
            1,
            remote.as_ptr(),
            remote.len() as u64,
            0,
        )
    };
    check(written as libc::c_long).map(|n| n as usize)
}

fn remote_ranges(ranges: &[(u64, usize)]) -> Vec<libc::iovec> {
    ranges
        .iter()
        .map(|&(address, len)| libc::iovec { iov_base: address as usize as *mut libc::c_void, iov_len: len })
        .collect()
}
