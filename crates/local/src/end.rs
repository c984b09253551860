//! One end of a connection over shared memory: its halves, and how it ends.

use crate::half::{
    BROKEN, DEAD, Kind, Pushed, READ_SHUT, ReadHalf, Take, UNREAD, WRITE_SHUT, WriteHalf, broken,
};
use crate::in_place::{self, SharedSlice, SharedSliceMut};
use crate::inbox;
use crate::lane::{CUT, OPEN, SHUT};
use crate::outside::{Kernel, Outside};
use crate::ring::{Broken, Memory, Producer, record_len};
use crate::sys::{Mapping, Side, forks, peer_credentials};
use crate::wait::{Limit, World, wake};
use crate::watch::Ready;
use crate::{Ancillary, Attached};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Connector,
    Acceptor,
}

/// The half of an end that a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Reads,
    Writes,
}

/// How long the calls of an end may wait.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    is_nonblocking: AtomicBool,
    /// Of reads and writes, in nanoseconds; none is 0.
    timeouts: [AtomicU64; 2],
}

impl Limits {
    pub(crate) fn of(&self, half: Half) -> Limit {
        Limit { nonblocking: self.is_nonblocking.load(Ordering::Relaxed), timeout: self.timeout(half) }
    }

    pub(crate) fn timeout(&self, half: Half) -> Option<Duration> {
        let nanos = self.timeouts[half as usize].load(Ordering::Relaxed);
        (nanos != 0).then_some(Duration::from_nanos(nanos))
    }

    pub(crate) fn set_timeout(&self, half: Half, timeout: Option<Duration>) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "cannot set a 0 duration timeout"));
        }
        let nanos = timeout.map_or(0, |timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        self.timeouts[half as usize].store(nanos, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn set_nonblocking(&self, is_nonblocking: bool) {
        self.is_nonblocking.store(is_nonblocking, Ordering::Relaxed);
    }

    /// Takes another's.
    pub(crate) fn copy(&self, other: &Limits) {
        self.set_nonblocking(other.is_nonblocking.load(Ordering::Relaxed));
        for (own, others) in self.timeouts.iter().zip(&other.timeouts) {
            own.store(others.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// One end.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) outside: Outside,
    reader: ReadHalf<Side>,
    writer: WriteHalf<Side>,
    limits: Limits,
    /// Of this process, when the end was made.
    forks: u32,
    /// A place among its listener's connections.
    _place: Option<Place>,
}

impl End {
    pub(crate) fn new(
        kernel: Arc<Kernel>,
        mapping: Arc<Mapping>,
        role: Role,
        kind: Kind,
        place: Option<Place>,
    ) -> End {
        let (reads, writes) = match role {
            Role::Connector => (1, 0),
            Role::Acceptor => (0, 1),
        };
        End {
            outside: Outside::new(kernel),
            reader: ReadHalf::new(Side::new(Arc::clone(&mapping), reads), kind),
            writer: WriteHalf::new(Side::new(mapping, writes), kind),
            limits: Limits::default(),
            forks: forks(),
            _place: place,
        }
    }

    pub(crate) fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        self.take(bytes, Take::Bytes)
    }

    pub(crate) fn peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        self.take(bytes, Take::Nothing)
    }

    /// Reads what is attached to the bytes too.
    pub(crate) fn read_with(&self, bytes: &mut [u8]) -> io::Result<(usize, Ancillary)> {
        let mut attached = Ancillary::default();
        let count = self.take(bytes, Take::All(&mut attached))?;
        if !self.outside.kernel.wants.credentials.load(Ordering::Relaxed) {
            attached.credentials = None;
        } else if attached.credentials.is_none() && count > 0 {
            attached.credentials = Some(peer_credentials(self.outside.kernel.socket.as_fd())?);
        }
        Ok((count, attached))
    }

    fn take(&self, bytes: &mut [u8], what: Take<'_, Ancillary>) -> io::Result<usize> {
        let was_unread = || !self.writer.is_drained();
        let limit = self.limits.of(Half::Reads);
        let read = self.reader.read(&self.outside, &self.outside.state, limit, bytes, what, was_unread);
        self.give_up_if_broken(read)
    }

    pub(crate) fn take_error(&self) -> Option<io::Error> {
        self.reader.take_error(&self.outside, &self.outside.state, || !self.writer.is_drained())
    }

    /// Writes bytes, or a record that was found to fit.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let limit = self.limits.of(Half::Writes);
        let written = self.writer.write(&self.outside, &self.outside.state, limit, bytes);
        self.give_up_if_broken(written)
    }

    /// The same with something attached to the first of them.
    pub(crate) fn write_with(&self, bytes: &[u8], attached: Attached<'_>) -> io::Result<usize> {
        let limit = self.limits.of(Half::Writes);
        let (outside, descriptors) = (&self.outside, attached.descriptors.len());
        let attach = |mark| inbox::send(outside.kernel.socket.as_fd(), mark, attached);
        let written = self.writer.write_marked(outside, &outside.state, limit, bytes, descriptors, attach);
        self.give_up_if_broken(written)
    }

    /// Reads in place: `with` gets what there is, nothing at the end, and says how much of it is taken; of a record all is.
    pub(crate) fn read_in_place(&self, with: impl FnOnce(&SharedSlice<'_>) -> usize) -> io::Result<usize> {
        let mut with = Some(with);
        let was_unread = || !self.writer.is_drained();
        let (limit, outside, memory) = (self.limits.of(Half::Reads), &self.outside, self.reader.memory());
        let kind = self.writer.kind();
        let read = self.reader.read_by(outside, &outside.state, limit, was_unread, |consumer| {
            let found = in_place::find(outside, consumer, memory, kind)?;
            let Some((found, with)) = found.and_then(|found| Some((found, with.take()?))) else {
                return Ok(None);
            };
            let taken = with(&SharedSlice::of_ring(memory, found)).min(found.len);
            in_place::take(outside, consumer, memory, kind, found, taken)?;
            Ok(Some(taken))
        });
        if let (Some(with), Ok(_)) = (with, &read) {
            with(&SharedSlice::of_bytes(&[]));
        }
        self.give_up_if_broken(read)
    }

    /// Writes in place: `with` gets the room there is, and says how much of it is written.
    pub(crate) fn write_in_place(
        &self,
        with: impl FnOnce(&mut SharedSliceMut<'_>) -> usize,
    ) -> io::Result<usize> {
        let mut with = Some(with);
        self.write_by(|producer, memory| {
            let (start, len) = producer.open(memory)?;
            let Some(with) = with.take_if(|_| len > 0) else { return Ok(None) };
            let count = with(&mut SharedSliceMut::of_ring(memory, start, len)).min(len);
            Ok(Some((count, count)))
        })
    }

    /// Writes a record of so many bytes in place, for which there is room at some time.
    pub(crate) fn write_record_in_place(
        &self,
        len: usize,
        with: impl FnOnce(&mut SharedSliceMut<'_>),
    ) -> io::Result<usize> {
        let mut with = Some(with);
        self.write_by(|producer, memory| {
            let start = producer.open_record(memory, len)?;
            let Some((start, with)) = start.and_then(|start| Some((start, with.take()?))) else {
                return Ok(None);
            };
            with(&mut SharedSliceMut::of_ring(memory, start, len));
            Ok(Some((len, record_len(len))))
        })
    }

    /// Calls `put` until it says how many bytes it has put, and how many are to be published.
    fn write_by(
        &self,
        mut put: impl FnMut(&mut Producer, &Side) -> Result<Option<(usize, usize)>, Broken>,
    ) -> io::Result<usize> {
        let (limit, outside, memory) = (self.limits.of(Half::Writes), &self.outside, self.writer.memory());
        let written = self.writer.write_by(outside, &outside.state, limit, |(producer, ..), done| {
            self.writer.check(&outside.state)?;
            let Some((count, whole)) = put(producer, memory).map_err(|Broken| broken(&outside.state))? else {
                return Ok(Pushed::NoRoom);
            };
            producer.publish(memory, whole);
            wake(outside, &memory.lane().reader.waits);
            *done = count;
            Ok(Pushed::All)
        });
        self.give_up_if_broken(written)
    }

    /// Whether a call of this half is worth a try now; if not, the descriptor has an event once it is.
    pub(crate) fn is_ready(&self, half: Half) -> bool {
        match half {
            Half::Reads => self.reader.is_ready(&self.outside, &self.outside.state),
            Half::Writes => self.writer.is_ready(&self.outside, &self.outside.state),
        }
    }

    /// What it is ready for, of what is wanted, and which directions have ended.
    pub(crate) fn look(&self, wanted: Ready) -> Ready {
        let is_readable = wanted.has(Ready::READABLE) && self.is_ready(Half::Reads);
        let is_writable = wanted.has(Ready::WRITABLE) && self.is_ready(Half::Writes);
        if !wanted.has(Ready::READABLE | Ready::WRITABLE) {
            // The others see themselves whether the peer is gone.
            self.outside.drain();
        }
        let (state, is_over) = (&self.outside.state, self.outside.state.has(DEAD | BROKEN));
        let is_ended = self.reader.memory().lane().produced.end.load(Ordering::Acquire) != OPEN;
        let is_unread = self.writer.memory().lane().reader.gone.load(Ordering::Acquire) != 0;
        Ready::READABLE.only_if(is_readable)
            | Ready::WRITABLE.only_if(is_writable)
            | Ready::READ_CLOSED.only_if(is_over || is_ended || state.has(READ_SHUT))
            | Ready::WRITE_CLOSED.only_if(is_over || is_unread || state.has(WRITE_SHUT))
    }

    /// Waits for the first bytes only.
    pub(crate) fn read_vectored(&self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut done = 0;
        for part in parts.iter_mut().filter(|part| !part.is_empty()) {
            let count = match done {
                0 => self.read(part)?,
                _ => self.reader.read_more(&self.outside, part),
            };
            done += count;
            if count < part.len() {
                break;
            }
        }
        Ok(done)
    }

    pub(crate) fn write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut done = 0;
        for part in parts {
            match self.write(part) {
                Ok(count) if count == part.len() => done += count,
                Ok(count) => return Ok(done + count),
                Err(error) => return if done > 0 { Ok(done) } else { Err(error) },
            }
        }
        Ok(done)
    }

    /// A peer that breaks the rules is left: its socket ends, as do this end's other calls.
    fn give_up_if_broken(&self, result: io::Result<usize>) -> io::Result<usize> {
        if result.is_err() && self.outside.state.has(BROKEN) {
            let _ = self.outside.kernel.socket.shutdown(Shutdown::Both);
            self.wake_own();
        }
        result
    }

    pub(crate) fn shutdown(&self, how: Shutdown) {
        let (reads, writes) = (self.reader.memory().lane(), self.writer.memory().lane());
        if how != Shutdown::Write {
            self.outside.state.note(READ_SHUT);
            reads.reader.gone.store(1, Ordering::Release);
            wake(&self.outside, &reads.writer.waits);
        }
        if how != Shutdown::Read {
            self.outside.state.note(WRITE_SHUT);
            writes.produced.end.store(SHUT, Ordering::Release);
            wake(&self.outside, &writes.reader.waits);
        }
        if self.outside.state.has(READ_SHUT) && self.outside.state.has(WRITE_SHUT) {
            // Neither end needs bells any more, and whoever polls the descriptor here has an event.
            let _ = self.outside.kernel.socket.shutdown(Shutdown::Both);
        }
        self.wake_own();
    }

    fn wake_own(&self) {
        self.outside.wake_own(&self.reader.memory().lane().reader.waits);
        self.outside.wake_own(&self.writer.memory().lane().writer.waits);
    }

    /// Has it be as old as an end that was made when this process had forked so often.
    pub(crate) fn set_forks(&mut self, forks: u32) {
        self.forks = forks;
    }

    /// Says how many bytes went by the kernel's socket before the first in the ring.
    pub(crate) fn begin(&self, sent: u64) {
        self.writer.memory().lane().writer.begun.store(sent + 1, Ordering::Release);
    }

    /// How many the peer has sent by there, once it has said so.
    pub(crate) fn peers_begin(&self) -> Option<u64> {
        self.reader.memory().lane().writer.begun.load(Ordering::Acquire).checked_sub(1)
    }

    /// Leaves a peer that has said nonsense: nothing is left to read.
    pub(crate) fn give_up(&self) -> u64 {
        self.outside.state.note(BROKEN);
        0
    }

    /// Bytes of each ring.
    pub(crate) fn ring(&self) -> usize {
        self.writer.memory().capacity()
    }

    /// How long its calls may wait.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }
}

/// Says farewell in the shared memory. A process that is killed doesn't, nor one that has forked since: it may not be the last
/// that has this end, which only the kernel knows. The socket's end says it then.
impl Drop for End {
    fn drop(&mut self) {
        if self.forks != forks() {
            return;
        }
        let (reads, writes) = (self.reader.memory().lane(), self.writer.memory().lane());
        let is_read = self.reader.is_empty() && !self.outside.state.has(UNREAD);
        let end = if is_read { SHUT } else { CUT };
        reads.reader.gone.store(1, Ordering::Release);
        writes.produced.end.store(end, Ordering::Release);
        wake(&self.outside, &reads.writer.waits);
        wake(&self.outside, &writes.reader.waits);
    }
}

/// A place among the connections that a listener may have at once.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Place {
    /// Takes one of `all`, if fewer are taken.
    pub(crate) fn take(taken: &Arc<AtomicUsize>, all: usize) -> Option<Place> {
        let more = |taken: usize| (taken < all).then_some(taken + 1);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Place(Arc::clone(taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
