//! One intercepted call: its arguments, and the calling process's memory.
//!
//! Invariant: a program's memory is read once, checked, then used.

use super::TreeId;
use crate::filter::Syscall;
use crate::sockets::SocketKey;
use crate::sys;
use sockeye_posix::Errno;
use std::io;

/// An intercepted call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// The program it comes from, with all its descendants.
    pub(crate) tree: TreeId,
    /// Names the call until it is answered.
    pub(crate) id: u64,
    /// The calling thread.
    pub(crate) tid: u32,
    /// Which call.
    pub(crate) syscall: Syscall,
    /// Its arguments as the registers held them.
    pub(crate) args: [u64; 6],
    /// The socket it has waited for, if it has. Its descriptor may name another one by now.
    pub(crate) waited_for: Option<SocketKey>,
}

impl Call {
    /// An argument that is an `int`.
    pub(crate) fn int(&self, index: usize) -> i32 {
        self.args[index] as i32
    }

    /// An argument that is a pointer or a `size_t`.
    pub(crate) fn word(&self, index: usize) -> u64 {
        self.args[index]
    }

    /// An argument that is a `size_t`.
    pub(crate) fn size(&self, index: usize) -> usize {
        usize::try_from(self.args[index]).unwrap_or(usize::MAX)
    }

    /// Fills `buffer` from the calling process's memory, or EFAULT.
    pub(crate) fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        let len = buffer.len();
        self.read_ranges(&[(address, len)], buffer)
    }

    /// Reads a vector of `len` bytes, which the caller has bounded.
    pub(crate) fn read_vec(&self, address: u64, len: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; len];
        self.read(address, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads the given (address, length) ranges, one behind the other, until `buffer` is full.
    pub(crate) fn read_ranges(&self, ranges: &[(u64, usize)], buffer: &mut [u8]) -> Result<(), Errno> {
        if buffer.is_empty() {
            return Ok(());
        }
        whole(sys::read_memory(self.tid, ranges, buffer), buffer.len())
    }

    /// Writes `bytes` over the given (address, length) ranges, one behind the other. The caller has made
    /// sure that the thread still waits for this call.
    pub(crate) fn write_ranges(&self, ranges: &[(u64, usize)], bytes: &[u8]) -> Result<(), Errno> {
        if bytes.is_empty() {
            return Ok(());
        }
        whole(sys::write_memory(self.tid, ranges, bytes), bytes.len())
    }

    /// An `int` (or `socklen_t`) in the calling process's memory.
    pub(crate) fn read_int(&self, address: u64) -> Result<i32, Errno> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Ok(i32::from_ne_bytes(bytes))
    }

    /// The bytes of a socket address given by pointer and length.
    pub(crate) fn read_address(&self, address: u64, len: i32) -> Result<Vec<u8>, Errno> {
        match usize::try_from(len) {
            Ok(len) if len <= sockeye_posix::message::ADDRESS_MAX => self.read_vec(address, len),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// What an access to a process's memory, of `len` bytes, means for its call.
fn whole(moved: io::Result<usize>, len: usize) -> Result<(), Errno> {
    match moved.map_err(|error| error.raw_os_error()) {
        Ok(moved) if moved == len => Ok(()),
        Err(Some(libc::ESRCH)) => Err(Errno::EINTR),
        Err(Some(libc::EPERM)) => Err(Errno::EPERM),
        Ok(_) | Err(_) => Err(Errno::EFAULT),
    }
}
