//! One intercepted call: its arguments, the calling process's memory, and what it is answered.
//!
//! Invariant: a program's memory is read once, checked, then used. A handler that changes something only
//! when the program has seen the answer sends it itself ([`Core::answer`]) and looks at the result.

use crate::core::{Core, TreeId};
use crate::filter::Syscall;
use crate::sockets::SocketKey;
use crate::sys::{self, Response};
use sockeye::HostId;
use sockeye_packet::Instant;
use sockeye_posix::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// An intercepted call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// The program it comes from, with all its descendants.
    pub(crate) tree: TreeId,
    /// The host that program runs on.
    pub(crate) host: HostId,
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

/// What becomes of a call.
#[derive(Debug)]
pub(crate) enum Reply {
    /// It returns this value.
    Value(i64),
    /// It fails.
    Error(Errno),
    /// The kernel runs it.
    Continue,
    /// It waits: the handler runs again, with the same call, when the socket's state changes
    /// ([`Core::wake`]), and at the deadline the call is answered with `expired`.
    Park {
        /// The socket it waits for.
        key: SocketKey,
        /// When it gives up.
        deadline: Option<Instant>,
        /// What it fails with then.
        expired: Errno,
    },
    /// The handler has answered it.
    Done,
}

impl Reply {
    /// Zero or the error.
    pub(crate) fn from_result(result: Result<(), Errno>) -> Reply {
        result.map_or_else(Reply::Error, |()| Reply::Value(0))
    }
}

impl From<Result<Reply, Errno>> for Reply {
    fn from(result: Result<Reply, Errno>) -> Reply {
        result.unwrap_or_else(Reply::Error)
    }
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

    /// Fills `buffer` from the calling process's memory, or EFAULT.
    pub(crate) fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        if buffer.is_empty() {
            return Ok(());
        }
        match sys::read_memory(self.tid, address, buffer) {
            Ok(read) if read == buffer.len() => Ok(()),
            Ok(_) => Err(Errno::EFAULT),
            Err(error) => Err(memory_errno(&error)),
        }
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
        match sys::read_memory_vectored(self.tid, ranges, buffer) {
            Ok(read) if read == buffer.len() => Ok(()),
            Ok(_) => Err(Errno::EFAULT),
            Err(error) => Err(memory_errno(&error)),
        }
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

/// What a failed access to a process's memory means for its call.
fn memory_errno(error: &io::Error) -> Errno {
    match error.raw_os_error() {
        Some(libc::ESRCH) => Errno(libc::EINTR),
        Some(libc::EPERM) => Errno(libc::EPERM),
        _ => Errno::EFAULT,
    }
}

impl Core {
    /// Writes into the calling process's memory, if it still waits for this call.
    pub(crate) fn write(&self, call: &Call, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.write_ranges(call, &[(address, bytes.len())], bytes)
    }

    /// Writes `bytes` over the given (address, length) ranges, one behind the other.
    pub(crate) fn write_ranges(
        &self,
        call: &Call,
        ranges: &[(u64, usize)],
        bytes: &[u8],
    ) -> Result<(), Errno> {
        if bytes.is_empty() {
            return Ok(());
        }
        if !self.is_waiting(call) {
            return Err(Errno(libc::EINTR));
        }
        match sys::write_memory_vectored(call.tid, ranges, bytes) {
            Ok(written) if written == bytes.len() => Ok(()),
            Ok(_) => Err(Errno::EFAULT),
            Err(error) => Err(memory_errno(&error)),
        }
    }

    /// Writes an address where getsockname and its kin want it: cut to the room given, its true length told.
    pub(crate) fn write_address(
        &self,
        call: &Call,
        address: u64,
        length: u64,
        bytes: &[u8],
    ) -> Result<(), Errno> {
        let room = usize::try_from(call.read_int(length)?).map_err(|_| Errno::EINVAL)?;
        self.write(call, address, &bytes[..bytes.len().min(room)])?;
        self.write(call, length, &(bytes.len() as i32).to_ne_bytes())
    }

    /// Whether the calling thread still waits for this call's answer.
    pub(crate) fn is_waiting(&self, call: &Call) -> bool {
        self.listener(call.tree).is_some_and(|listener| sys::notification_is_valid(listener.as_fd(), call.id))
    }

    /// Answers a call now; says whether the calling thread was still there to see it.
    pub(crate) fn answer(&self, call: &Call, response: Response) -> bool {
        self.listener(call.tree)
            .is_some_and(|listener| sys::send_response(listener.as_fd(), call.id, response).is_ok())
    }

    /// Gives the calling process a descriptor, which the call returns. EMFILE and the like are the
    /// program's errors; ENOENT means that the calling thread is gone. Returns its number there.
    pub(crate) fn answer_descriptor(
        &self,
        call: &Call,
        fd: &OwnedFd,
        close_on_exec: bool,
    ) -> io::Result<i32> {
        let listener = self.listener(call.tree).ok_or(io::ErrorKind::NotFound)?;
        let add = sys::AddFd { fd: fd.as_fd(), replace: None, close_on_exec, answer: true };
        sys::add_fd(listener.as_fd(), call.id, &add)
    }
}
