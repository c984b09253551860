//! Memory that two processes share, and what of the kernel no safe wrapper offers.
//!
//! All `unsafe` of this crate stands here. Two things make it sound whatever the peer does. The memory stays: it is a
//! memfd sealed against shrinking, of the kernel's shared memory (a file of huge pages could fail to be paged in).
//! And nobody ever has a reference to its bytes: indices and flags are atomics, everything else is copied in or out by
//! volatile accesses or by an instruction that the compiler doesn't look into, at places that are checked here.

mod copy;
pub(crate) mod messages;

use crate::ring::{Lane, Memory};
use crate::{Credentials, SMALLEST_RING};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

/// The lanes stand in the middle of a page, between the end of the second ring and the start of the first. The second
/// begins so far before its end: a connection on which little was said has one page.
const LANES: usize = size_of::<[Lane; 2]>();
const MARGIN: usize = (PAGE - LANES) / 2;
const PAGE: usize = 4096;

const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

const _: () =
    assert!(LANES < PAGE && MARGIN.is_multiple_of(align_of::<Lane>()) && SMALLEST_RING.is_multiple_of(PAGE));

/// The shared memory of one connection: two lanes, then two rings.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    ring: usize,
}

// SAFETY: it owns a range of addresses, which belongs to no thread, and hands out atomics and copies only.
unsafe impl Send for Mapping {}
// SAFETY: as above; all accesses are atomic or volatile.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// New memory with rings of so many bytes (a power of two, at least a page), and a descriptor of it for the peer.
    pub(crate) fn create(ring: usize) -> io::Result<(Mapping, OwnedFd)> {
        let memory = rustix::fs::memfd_create(
            c"sockeye-local",
            MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::NOEXEC_SEAL,
        )
        .or_else(|error| match error {
            // Before Linux 6.3.
            Errno::INVAL => {
                let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
                rustix::fs::memfd_create(c"sockeye-local", flags)
            }
            error => Err(error),
        })?;
        rustix::fs::ftruncate(&memory, size(ring) as u64)?;
        rustix::fs::fcntl_add_seals(&memory, SEALS)?;
        Ok((Mapping::map(memory.as_fd(), ring)?, memory))
    }

    /// The memory that a peer offers, if it is as [`Mapping::create`] makes it.
    pub(crate) fn adopt(memory: BorrowedFd<'_>, ring: usize) -> io::Result<Mapping> {
        let stat = rustix::fs::fstat(memory)?;
        // Other files have no seals, but those of huge pages.
        let is_memory = stat.st_blksize as usize == rustix::param::page_size();
        let is_sealed = rustix::fs::fcntl_get_seals(memory)?.contains(SealFlags::SHRINK | SealFlags::SEAL);
        if !is_memory || !is_sealed || stat.st_size as u64 != size(ring) as u64 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Mapping::map(memory, ring)
    }

    fn map(memory: BorrowedFd<'_>, ring: usize) -> io::Result<Mapping> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses addresses that nobody uses.
        let start = unsafe {
            rustix::mm::mmap(ptr::null_mut(), size(ring), protection, MapFlags::SHARED, memory, 0)?
        };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { start, ring })
    }

    fn lane(&self, index: usize) -> &Lane {
        assert!(index < 2);
        let place = MARGIN + self.ring + index * size_of::<Lane>();
        // SAFETY: both lanes are inside the mapping and aligned, as margin and rings are, and they consist of atomics, for
        // which any bytes are values and any change by others is a change of an atomic. They live as long as the
        // mapping, which `self` borrows.
        unsafe { self.start.add(place).cast::<Lane>().as_ref() }
    }

    /// The address of a place in a ring from which so many bytes are inside it.
    fn place(&self, index: usize, place: usize, len: usize) -> *mut u8 {
        assert!(index < 2 && place <= self.ring && len <= self.ring - place);
        let ring = [MARGIN + self.ring + LANES, MARGIN][index];
        // SAFETY: that is inside the mapping, as was just checked: before it are the margin, the second ring and the lanes
        // at most, and behind it the rest of the ring.
        unsafe { self.start.as_ptr().add(ring + place) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: whoever borrowed from it is gone. It fails for no mapping that is one.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), size(self.ring)) };
    }
}

fn size(ring: usize) -> usize {
    PAGE + 2 * ring
}

/// One direction of a mapping.
#[derive(Debug)]
pub(crate) struct Side {
    mapping: Arc<Mapping>,
    index: usize,
    /// So many of the next long copies go past the caches.
    past_caches: AtomicU32,
    was_slow: AtomicBool,
}

impl Side {
    pub(crate) fn new(mapping: Arc<Mapping>, index: usize) -> Side {
        Side { mapping, index, past_caches: AtomicU32::new(0), was_slow: AtomicBool::new(false) }
    }

    /// A long copy that took a nanosecond for fewer bytes than this had to fetch its lines from another core.
    const SLOW: u128 = 16;
    const LONG: usize = 2048;
    /// After so many copies past the caches it is tried again whether another way is faster: both threads may be on one
    /// core now.
    const TURNS: u32 = 256;
}

impl Memory for Side {
    fn lane(&self) -> &Lane {
        self.mapping.lane(self.index)
    }

    fn capacity(&self) -> usize {
        self.mapping.ring
    }

    fn origin(&self) -> usize {
        [0, self.mapping.ring - MARGIN][self.index]
    }

    fn copy_in(&self, place: usize, bytes: &[u8]) {
        let to = self.mapping.place(self.index, place, bytes.len());
        let turns = self.past_caches.load(Ordering::Relaxed);
        // SAFETY, all three: `place` has checked the range in the mapping; `bytes` is outside it, as nobody has a slice of it.
        if bytes.len() < Side::LONG {
            // SAFETY: see above.
            unsafe { copy::copy_in(to, bytes.as_ptr(), bytes.len()) };
        } else if turns > 0 {
            self.past_caches.store(turns - 1, Ordering::Relaxed);
            // SAFETY: see above.
            unsafe { copy::copy_past_caches(to, bytes.as_ptr(), bytes.len()) };
        } else {
            let start = Instant::now();
            // SAFETY: see above.
            unsafe { copy::copy_in(to, bytes.as_ptr(), bytes.len()) };
            let is_slow = start.elapsed().as_nanos() * Side::SLOW > bytes.len() as u128;
            // One alone may have been interrupted.
            if self.was_slow.swap(is_slow, Ordering::Relaxed) && is_slow {
                self.past_caches.store(Side::TURNS, Ordering::Relaxed);
            }
        }
    }

    fn copy_out(&self, place: usize, bytes: &mut [u8]) {
        let from = self.mapping.place(self.index, place, bytes.len());
        // SAFETY: as above, the other way round.
        unsafe { copy::copy_out(bytes.as_mut_ptr(), from, bytes.len()) };
    }
}

/// Who was at the other end of a socket when it was connected, or began to listen. (rustix's type has no place for a
/// process that this one can't see, whose number is 0.)
pub(crate) fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<Credentials> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, which are there, and any bytes are a `ucred`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut len,
        )
    };
    if result as c_int != 0 {
        return Err(io::Error::last_os_error());
    }
    let pid = u32::try_from(credentials.pid).ok().filter(|&pid| pid != 0);
    Ok(Credentials { pid, uid: credentials.uid, gid: credentials.gid })
}

/// Whether everything was read that was sent from this socket, by sockets that are there.
pub(crate) fn is_heard(socket: BorrowedFd<'_>) -> bool {
    let mut unread: c_int = 0;
    // SAFETY: the kernel writes one number, which is there.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut unread) };
    result != 0 || unread == 0
}

/// A socket whose descriptor is one and the same, and open, for as long as there is a handle to it.
#[cfg(feature = "tokio")]
pub(crate) trait Steady: AsRawFd {}

#[cfg(feature = "tokio")]
impl Steady for crate::LocalStream {}

#[cfg(feature = "tokio")]
impl Steady for crate::LocalPackets {}

#[cfg(feature = "tokio")]
impl Steady for crate::LocalListener {}

#[cfg(feature = "tokio")]
impl Steady for crate::LocalPacketListener {}

/// Has tokio's runtime watch a socket.
#[cfg(feature = "tokio")]
pub(crate) fn watch<T: Steady>(socket: T) -> io::Result<tokio::io::unix::AsyncFd<T>> {
    // SAFETY: `Steady` says what is asked of the descriptor.
    Ok(unsafe { tokio::io::unix::AsyncFd::register(socket) }?)
}
