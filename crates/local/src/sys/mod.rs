//! Memory that two processes share, and what of the kernel no safe wrapper offers.
//!
//! All `unsafe` of this crate stands here. Two things make it sound whatever the peer does. The memory stays: it is a
//! memfd sealed against shrinking, of the kernel's shared memory (a file of huge pages could fail to be paged in).
//! And nobody ever has a reference to its bytes: indices and flags are atomics, everything else is copied in or out by
//! volatile accesses or by an instruction that the compiler doesn't look into, at places that are checked here.

mod copy;
mod fork;
pub(crate) mod messages;

pub(crate) use fork::forks;

use crate::lane::Lane;
use crate::ring::Memory;
use crate::{Credentials, SMALLEST_RING};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::ffi::c_int;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The lanes stand in the middle of a page, between the end of the second ring and the start of the first. The second
/// begins so far before its end: a connection on which little was said has one page.
const LANES: usize = size_of::<[Lane; 2]>();
const MARGIN: usize = (PAGE - LANES) / 2;
const PAGE: usize = 4096;

const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

const _: () =
    assert!(LANES < PAGE && MARGIN.is_multiple_of(align_of::<Lane>()) && SMALLEST_RING.is_multiple_of(PAGE));

/// Bytes of a wide ring: more than what two cores have in their own caches. Its memory is taken when it is used.
const WIDE: usize = 4 << 20;
/// Rings from this size on have a wide one.
const SMALLEST_WITH_WIDE: usize = 64 << 10;
/// Wide rings that are in use in this process: there is no room for many in the cache that the cores share, and each
/// is memory.
static WIDE_RINGS: AtomicUsize = AtomicUsize::new(0);
const MOST_WIDE_RINGS: usize = 16;

/// The shared memory of one connection: the second wide ring, two lanes, then the first. The rings that are used by and by
/// are the parts of them next to the lanes.
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
        // Other files have no seals, but those of huge pages, which are of another file system.
        let is_memory = rustix::fs::fstatfs(memory)?.f_type == libc::TMPFS_MAGIC;
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

    pub(crate) fn lane(&self, index: usize) -> &Lane {
        assert!(index < 2);
        let place = MARGIN + wide(self.ring) + index * size_of::<Lane>();
        // SAFETY: both lanes are inside the mapping and aligned, as margin and wide rings are, and they consist of atomics, for
        // which any bytes are values and any change by others is a change of an atomic. They live as long as the
        // mapping, which `self` borrows.
        unsafe { self.start.add(place).cast::<Lane>().as_ref() }
    }

    /// The address of a place in a wide ring from which so many bytes are inside it.
    fn place(&self, index: usize, place: usize, len: usize) -> *mut u8 {
        let wide = wide(self.ring);
        assert!(index < 2 && place <= wide && len <= wide - place);
        let ring = [MARGIN + wide + LANES, MARGIN][index];
        // SAFETY: that is inside the mapping, as was just checked: before it are the margin, the second ring and the lanes
        // at most, and behind it the rest of the ring.
        unsafe { self.start.as_ptr().add(ring + place) }
    }

    /// Tells the kernel something about the pages that lie in a part of a wide ring whole.
    fn advise(&self, index: usize, places: Range<usize>, advice: Advice) -> io::Result<()> {
        let (start, end) = (self.place(index, places.start, places.len()), self.place(index, places.end, 0));
        let skipped = start.align_offset(PAGE);
        let len = (end.addr() - start.addr()).saturating_sub(skipped) / PAGE * PAGE;
        // SAFETY: of these pages, which are inside the mapping, nobody has a reference; losing their content is what the
        // caller may ask for.
        unsafe { rustix::mm::madvise(start.wrapping_add(skipped).cast(), len, advice)? };
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: whoever borrowed from it is gone. It fails for no mapping that is one.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), size(self.ring)) };
    }
}

fn size(ring: usize) -> usize {
    PAGE + 2 * wide(ring)
}

/// Bytes of the wide ring: as many as the ring's, where there is none.
fn wide(ring: usize) -> usize {
    if ring < SMALLEST_WITH_WIDE { ring } else { ring.max(WIDE) }
}

/// One direction of a mapping.
#[derive(Debug)]
pub(crate) struct Side {
    mapping: Arc<Mapping>,
    index: usize,
    /// It is one of [`WIDE_RINGS`].
    is_wide: AtomicBool,
}

impl Side {
    pub(crate) fn new(mapping: Arc<Mapping>, index: usize) -> Side {
        Side { mapping, index, is_wide: AtomicBool::new(false) }
    }

    /// The places of a wide ring that are the ring's.
    fn usual(&self) -> Range<usize> {
        let (ring, wide) = (self.mapping.ring, wide(self.mapping.ring));
        [0..ring, wide - ring..wide][self.index].clone()
    }
}

impl Memory for Side {
    fn lane(&self) -> &Lane {
        self.mapping.lane(self.index)
    }

    fn opposite(&self) -> &Lane {
        self.mapping.lane(1 - self.index)
    }

    fn capacity(&self) -> usize {
        self.mapping.ring
    }

    fn place(&self, position: u64, is_wide: bool) -> usize {
        // The second ring ends, and the first begins, at the lanes: the page that has those has position 0 of both.
        let position = (position as usize).wrapping_sub([0, MARGIN][self.index]);
        if is_wide {
            position & (wide(self.mapping.ring) - 1)
        } else {
            self.usual().start + (position & (self.mapping.ring - 1))
        }
    }

    fn end(&self, is_wide: bool) -> usize {
        if is_wide { wide(self.mapping.ring) } else { self.usual().end }
    }

    fn copy_in(&self, place: usize, bytes: &[u8]) {
        let to = self.mapping.place(self.index, place, bytes.len());
        // SAFETY: `place` has checked the range in the mapping; `bytes` is outside it, as nobody has a slice of it.
        unsafe { copy::copy_in(to, bytes.as_ptr(), bytes.len()) };
    }

    fn copy_past_caches(&self, place: usize, bytes: &[u8]) {
        let to = self.mapping.place(self.index, place, bytes.len());
        // SAFETY: as above.
        unsafe { copy::copy_past_caches(to, bytes.as_ptr(), bytes.len()) };
    }

    fn copy_out(&self, place: usize, bytes: &mut [u8]) {
        let from = self.mapping.place(self.index, place, bytes.len());
        // SAFETY: as above, the other way round.
        unsafe { copy::copy_out(bytes.as_mut_ptr(), from, bytes.len()) };
    }

    fn claim(&self, place: usize, len: usize) {
        let to = self.mapping.place(self.index, place, len);
        // SAFETY: `place` has checked the range in the mapping.
        unsafe { copy::claim(to, len) };
    }

    fn fetch(&self, place: usize) {
        copy::fetch_line(self.mapping.place(self.index, place, 0));
    }

    fn widen(&self) -> bool {
        let all = 0..wide(self.mapping.ring);
        if self.is_wide.load(Ordering::Relaxed) {
            return true;
        }
        let more = |rings: usize| (rings < MOST_WIDE_RINGS).then_some(rings + 1);
        if all == self.usual() || WIDE_RINGS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err()
        {
            return false;
        }
        self.is_wide.store(true, Ordering::Relaxed);
        // All at once, which is much faster than page by page; where the kernel can't, it is page by page.
        let _ = self.mapping.advise(self.index, all, Advice::LinuxPopulateWrite);
        true
    }

    fn narrow(&self) {
        if self.is_wide.load(Ordering::Relaxed) {
            self.is_wide.store(false, Ordering::Relaxed);
            let (wide, usual) = (wide(self.mapping.ring), self.usual());
            for rest in [0..usual.start, usual.end..wide].into_iter().filter(|rest| !rest.is_empty()) {
                let _ = self.mapping.advise(self.index, rest, Advice::LinuxRemove);
            }
            WIDE_RINGS.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        if *self.is_wide.get_mut() {
            WIDE_RINGS.fetch_sub(1, Ordering::Relaxed);
        }
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

#[cfg(feature = "tokio")]
impl Steady for crate::LocalDatagram {}

#[cfg(feature = "tokio")]
impl Steady for std::os::unix::net::UnixDatagram {}

/// Has tokio's runtime watch a socket.
#[cfg(feature = "tokio")]
pub(crate) fn watch<T: Steady>(socket: T) -> io::Result<tokio::io::unix::AsyncFd<T>> {
    // SAFETY: `Steady` says what is asked of the descriptor.
    Ok(unsafe { tokio::io::unix::AsyncFd::register(socket) }?)
}
