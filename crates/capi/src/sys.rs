//! Memory that C points to, and `errno`.
//!
//! What is checked is what can be: a null pointer with a length is EFAULT, a negative length EINVAL. That other pointers
//! point to as much memory as is said beside them, and that nobody else writes there during the call, is the promise
//! of whoever calls from C; the `unsafe` functions here pass it on.

pub(crate) mod names;

use sockeye_posix::Errno;
use sockeye_posix::message::{ADDRESS_MAX, IOV_MAX, IoVec, MessageHeader, TRANSFER_MAX};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::marker::PhantomData;
use std::mem::offset_of;
use std::sync::Arc;

/// Sets the thread's `errno`.
pub(crate) fn set_errno(errno: Errno) {
    // SAFETY: the C library gives a valid pointer, to memory that is the thread's own.
    unsafe { *libc::__errno_location() = errno.0 }
}

/// The thread's `errno`.
pub(crate) fn errno() -> Errno {
    // SAFETY: as above.
    Errno(unsafe { *libc::__errno_location() })
}

/// A pointer for C that counts as a handle.
pub(crate) fn into_handle<T>(value: Arc<T>) -> *mut T {
    Arc::into_raw(value).cast_mut()
}

/// Another handle to what a pointer of [`into_handle`] points to, for as long as a call takes. EFAULT for none.
///
/// # Safety
///
/// The pointer is null, or was not given back yet.
pub(crate) unsafe fn handle<T>(pointer: *const T) -> Result<Arc<T>, Errno> {
    if pointer.is_null() {
        return Err(Errno::EFAULT);
    }
    // SAFETY: it comes from `Arc::into_raw`, and its count is at least that of the pointer itself.
    unsafe {
        Arc::increment_strong_count(pointer);
        Ok(Arc::from_raw(pointer))
    }
}

/// Takes a pointer of [`into_handle`] back; none for a null pointer.
///
/// # Safety
///
/// The pointer is null, or was not given back yet, and isn't used again.
pub(crate) unsafe fn take_handle<T>(pointer: *mut T) -> Option<Arc<T>> {
    // SAFETY: it comes from `Arc::into_raw`, and this is the count that it stands for.
    (!pointer.is_null()).then(|| unsafe { Arc::from_raw(pointer) })
}

/// A string; none for a null pointer.
///
/// # Safety
///
/// The pointer is null, or points to bytes that end with a zero and stay as they are for `'a`.
pub(crate) unsafe fn text<'a>(pointer: *const c_char) -> Option<&'a CStr> {
    // SAFETY: as promised.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) })
}

/// Bytes to read.
///
/// # Safety
///
/// The pointer is null, or points to so many bytes, which stay as they are for `'a`.
pub(crate) unsafe fn bytes<'a>(pointer: *const c_void, len: usize) -> Result<&'a [u8], Errno> {
    match (pointer.is_null(), len.min(TRANSFER_MAX)) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(Errno::EFAULT),
        // SAFETY: as promised, and not more than a slice may have.
        (false, len) => Ok(unsafe { std::slice::from_raw_parts(pointer.cast(), len) }),
    }
}

/// Bytes to read whose length is an `int` or a `socklen_t`, which the kernel reads as an `int`.
///
/// # Safety
///
/// As [`bytes`].
pub(crate) unsafe fn option_value<'a>(pointer: *const c_void, len: c_uint) -> Result<&'a [u8], Errno> {
    let len = usize::try_from(len as c_int).map_err(|_| Errno::EINVAL)?;
    // SAFETY: passed on.
    unsafe { bytes(pointer, len) }
}

/// A socket address to read.
///
/// # Safety
///
/// As [`bytes`].
pub(crate) unsafe fn address<'a>(pointer: *const libc::sockaddr, len: c_uint) -> Result<&'a [u8], Errno> {
    if len as usize > ADDRESS_MAX {
        return Err(Errno::EINVAL);
    }
    // SAFETY: passed on.
    unsafe { bytes(pointer.cast(), len as usize) }
}

/// One value to read.
///
/// # Safety
///
/// The pointer is null, or points to a value of its type.
pub(crate) unsafe fn value<T: Copy>(pointer: *const T) -> Result<T, Errno> {
    // SAFETY: as promised; C's alignment is not relied upon.
    if pointer.is_null() { Err(Errno::EFAULT) } else { Ok(unsafe { pointer.read_unaligned() }) }
}

/// Memory to write to, which may hold nothing yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room<'a> {
    start: *mut u8,
    len: usize,
    memory: PhantomData<&'a mut [u8]>,
}

impl Room<'_> {
    /// # Safety
    ///
    /// The pointer is null, or points to so many bytes that nobody else uses for as long as this is used.
    pub(crate) unsafe fn new(pointer: *mut c_void, len: usize) -> Result<Self, Errno> {
        if pointer.is_null() && len > 0 {
            return Err(Errno::EFAULT);
        }
        Ok(Room { start: pointer.cast(), len: len.min(TRANSFER_MAX), memory: PhantomData })
    }

    /// Its bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Writes what fits, from a byte on; returns how much that was.
    pub(crate) fn write(&self, at: usize, data: &[u8]) -> usize {
        let count = data.len().min(self.len.saturating_sub(at));
        if count > 0 {
            // SAFETY: whoever made it promised these bytes, and `data` is Rust's own memory, which lies elsewhere.
            unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), self.start.add(at), count) };
        }
        count
    }
}

/// One value to write, or nowhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a, T> {
    pointer: *mut T,
    memory: PhantomData<&'a mut T>,
}

impl<T: Copy> Place<'_, T> {
    /// EFAULT for a null pointer.
    ///
    /// # Safety
    ///
    /// The pointer is null, or points to a value of its type that nobody else uses for as long as this is used.
    pub(crate) unsafe fn new(pointer: *mut T) -> Result<Self, Errno> {
        if pointer.is_null() { Err(Errno::EFAULT) } else { Ok(Place { pointer, memory: PhantomData }) }
    }

    pub(crate) fn read(&self) -> T {
        // SAFETY: whoever made it promised a value there.
        unsafe { self.pointer.read_unaligned() }
    }

    pub(crate) fn write(&self, value: T) {
        // SAFETY: as above.
        unsafe { self.pointer.write_unaligned(value) }
    }
}

/// Room for a value whose length goes in and out, as that of a socket address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SizedRoom<'a> {
    room: Room<'a>,
    len: Place<'a, c_uint>,
}

impl SizedRoom<'_> {
    /// EFAULT without a place for the length, EINVAL when that is negative.
    ///
    /// # Safety
    ///
    /// As [`Place::new`], and [`Room::new`] with the length that stands there.
    pub(crate) unsafe fn new(pointer: *mut c_void, len: *mut c_uint) -> Result<Self, Errno> {
        // SAFETY: passed on.
        let len = unsafe { Place::new(len) }?;
        let size = usize::try_from(len.read() as c_int).map_err(|_| Errno::EINVAL)?;
        // SAFETY: passed on.
        Ok(SizedRoom { room: unsafe { Room::new(pointer, size) }?, len })
    }

    /// As [`SizedRoom::new`], for a call that can do without: none for a null pointer.
    ///
    /// # Safety
    ///
    /// As there.
    pub(crate) unsafe fn maybe(
        pointer: *mut libc::sockaddr,
        len: *mut c_uint,
    ) -> Result<Option<Self>, Errno> {
        // SAFETY: passed on.
        (!pointer.is_null()).then(|| unsafe { SizedRoom::new(pointer.cast(), len) }).transpose()
    }

    /// The bytes there is room for.
    pub(crate) fn len(&self) -> usize {
        self.room.len()
    }

    /// Writes what fits, and how long the whole is.
    pub(crate) fn write(&self, data: &[u8]) {
        self.room.write(0, data);
        self.len.write(data.len() as c_uint);
    }
}

/// The buffers of a `readv` or `writev`. EINVAL for more than [`IOV_MAX`] or less than none.
///
/// # Safety
///
/// The pointer is null, or points to so many structures.
pub(crate) unsafe fn vector(pointer: *const libc::iovec, count: c_int) -> Result<Vec<IoVec>, Errno> {
    let count = usize::try_from(count).ok().filter(|&count| count <= IOV_MAX).ok_or(Errno::EINVAL)?;
    // SAFETY: passed on.
    IoVec::parse_all(unsafe { bytes(pointer.cast(), count * IoVec::SIZE) }?)
}

/// What the buffers of a vector hold.
///
/// # Safety
///
/// Each points to as many bytes as it says, as for [`bytes`].
pub(crate) unsafe fn gather<'a>(vector: &[IoVec]) -> Result<Vec<&'a [u8]>, Errno> {
    // SAFETY: passed on.
    vector.iter().map(|part| unsafe { bytes(pointer(part.base), part.len) }).collect()
}

/// The buffers of a vector, to be written to.
///
/// # Safety
///
/// Each points to as many bytes as it says, as for [`Room::new`].
pub(crate) unsafe fn rooms<'a>(vector: &[IoVec]) -> Result<Vec<Room<'a>>, Errno> {
    // SAFETY: passed on.
    vector.iter().map(|part| unsafe { Room::new(pointer(part.base).cast_mut(), part.len) }).collect()
}

/// A `struct msghdr` taken apart: what it points to is not read yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) header: MessageHeader,
    place: Place<'a, libc::msghdr>,
}

impl<'a> Message<'a> {
    /// With the errors of [`MessageHeader::parse`].
    ///
    /// # Safety
    ///
    /// As [`Place::new`].
    pub(crate) unsafe fn new(pointer: *mut libc::msghdr) -> Result<Message<'a>, Errno> {
        // SAFETY: passed on.
        let place = unsafe { Place::new(pointer) }?;
        Ok(Message { header: MessageHeader::parse(&layout(&place.read()))?, place })
    }

    /// Its buffers.
    ///
    /// # Safety
    ///
    /// It points to as many structures as it says.
    pub(crate) unsafe fn vector(&self) -> Result<Vec<IoVec>, Errno> {
        // SAFETY: passed on; the count was bounded.
        unsafe { vector(pointer(self.header.iov).cast(), self.header.iov_len as c_int) }
    }

    /// Writes back what came: the name's and the control messages' lengths, and the flags.
    pub(crate) fn write_back(&self, name_len: usize, control_len: usize, flags: c_int) {
        let mut header = self.place.read();
        header.msg_namelen = name_len as c_uint;
        header.msg_controllen = control_len;
        header.msg_flags = flags;
        self.place.write(header);
    }
}

/// The bytes of a message as they lie in memory, with zeros between the fields, where C may have written nothing.
fn layout(message: &libc::msghdr) -> [u8; MessageHeader::SIZE] {
    let mut bytes = [0; MessageHeader::SIZE];
    let mut put = |at: usize, value: &[u8]| bytes[at..][..value.len()].copy_from_slice(value);
    put(offset_of!(libc::msghdr, msg_name), &message.msg_name.expose_provenance().to_ne_bytes());
    put(offset_of!(libc::msghdr, msg_namelen), &message.msg_namelen.to_ne_bytes());
    put(offset_of!(libc::msghdr, msg_iov), &message.msg_iov.expose_provenance().to_ne_bytes());
    put(offset_of!(libc::msghdr, msg_iovlen), &message.msg_iovlen.to_ne_bytes());
    put(offset_of!(libc::msghdr, msg_control), &message.msg_control.expose_provenance().to_ne_bytes());
    put(offset_of!(libc::msghdr, msg_controllen), &message.msg_controllen.to_ne_bytes());
    put(offset_of!(libc::msghdr, msg_flags), &message.msg_flags.to_ne_bytes());
    bytes
}

/// The steps of the filter that a `struct sock_fprog` points to, for `SO_ATTACH_FILTER`.
///
/// # Safety
///
/// The value, if it is long enough to be one, points to as many steps as it says.
pub(crate) unsafe fn filter<'a>(value: &[u8]) -> Result<&'a [u8], Errno> {
    let program: &[u8; 16] = value.first_chunk().ok_or(Errno::EINVAL)?;
    let count = usize::from(u16::from_ne_bytes([program[0], program[1]]));
    let start = program.last_chunk().map_or(0, |start| u64::from_ne_bytes(*start));
    // SAFETY: passed on.
    unsafe { bytes(pointer(start), count * size_of::<libc::sock_filter>()) }
}

/// `poll` of the kernel's descriptors, for so many milliseconds, for ever if negative.
pub(crate) fn poll_kernel(fds: &mut [libc::pollfd], timeout: c_int) -> Result<usize, Errno> {
    // SAFETY: there are so many, and nobody else has them.
    let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) };
    usize::try_from(ready).map_err(|_| errno())
}

/// The pointer that a structure of C holds.
pub(crate) fn pointer(address: u64) -> *const c_void {
    std::ptr::with_exposed_provenance(address as usize)
}
