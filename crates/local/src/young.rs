//! A stream that begins at the kernel's socket, and goes over to shared memory once it has carried enough to pay for that.
//!
//! Memory takes longer to set up than a short connection lasts. So a client connects as a plain one would, but for its
//! socket's name, and both ends count what they carry. When that is [`EARNED`], the client's end leaves an offer with the
//! listener's companion ([`crate::rendezvous`]) and goes on as before; the other end, about as far by then, looks for it
//! there, and says in the memory that it has taken it, unless the client has withdrawn it meanwhile:
//!
//! ```text
//!   client                          memory                         server
//!   Offer::leave ──────────────▶ offered = NEW
//!                                offered = TAKEN ◀──────────── Host::claim
//!   begun = bytes sent + 1 ────▶ lane 0 │ lane 1 ◀──── begun = bytes sent + 1
//! ```
//!
//! Each end that knows it says in the lane how many bytes it has sent by the socket, and writes to the ring from then
//! on. A reader reads so many from the socket, and then from the ring. So nothing of this is said in the stream itself,
//! and at every moment both ends agree on which way a byte goes. Bells and packets ([`crate::inbox`]) come after
//! `begun` was said, and so behind the last byte: until all of those are received, nobody else takes anything from the
//! socket, and what is found behind them is passed on. A writer, who needs the bells, receives them itself if no reader has
//! ([`Came`] keeps them). Who waits at the socket for bytes is woken by a bell, for which the lanes of memory that is
//! offered ask from the start; meanwhile waits are short, as another thread may take that bell.
//!
//! What is shut before it has gone over stays with the kernel.

mod came;
mod reading;

use crate::companion::Host;
use crate::end::{End, Half, Limits, Role};
use crate::half::{Kind, UNREAD};
use crate::in_place::{self, SharedSliceMut};
use crate::outside::Kernel;
use crate::rendezvous::{File, Nonce, Offer, When, client_name, connect, has_companion, new_nonce};
use crate::sync::lock;
use crate::sys::{Mapping, forks, peer_credentials};
use crate::wait::BELL;
use crate::watch::{Ready, look_at_socket};
use crate::{Ancillary, Attached, ancillary};
use came::Came;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SendFlags;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock};

/// What memory is worth, which is set up in some 45 µs: calls of the kernel's, each with 4 KiB.
const EARNED: u32 = 16;
const PER_CALL: usize = 4096;
/// An offer that nobody has taken when so much more was carried is withdrawn.
const PATIENCE: u32 = 16 * EARNED;

/// Nobody has taken the memory.
const NEW: u32 = 0;
const TAKEN: u32 = 1;
/// Nobody is to take it any more.
const WITHDRAWN: u32 = 2;

/// One end.
#[derive(Debug)]
pub(crate) struct Young {
    kernel: Arc<Kernel>,
    limits: Limits,
    carried: AtomicU32,
    came: Mutex<Came>,
    /// Bytes that were sent by the socket.
    sent: Mutex<u64>,
    meeting: Mutex<Meeting>,
    /// What the client has offered.
    memory: OnceLock<Arc<Mapping>>,
    /// There once both ends have the memory: what is written from then on goes by the ring.
    end: OnceLock<Box<End>>,
    /// All bytes of the socket were received.
    is_received: AtomicBool,
    /// And read.
    is_read_out: AtomicBool,
    /// Has who waits for long look again, once the end over shared memory is there: it stays so.
    over_bell: OnceLock<OwnedFd>,
    /// Of this process, when it was made.
    forks: u32,
}

/// How the ends find each other.
#[derive(Debug)]
enum Meeting {
    /// The client will offer rings of so many bytes.
    Client { process: u32, listener: File, nonce: Nonce, ring: usize },
    /// It has, and is connected to the companion until somebody has taken them.
    Offered { at: u32, _companion: OwnedFd },
    /// The server will look for an offer.
    Server { host: Arc<Host>, nonce: Nonce },
    /// They have, or won't.
    Over,
}

impl Young {
    /// Connects to a path; none if there is no companion to be met later.
    pub(crate) fn connect(path: &Path, ring: usize, may_wait: bool) -> io::Result<Option<Young>> {
        let Some(listener) = File::at(path).filter(has_companion) else { return Ok(None) };
        let nonce = new_nonce()?;
        let socket = connect(path, Kind::Bytes, Some(&client_name(When::Later, &nonce)?), may_wait)?;
        Ok(Some(Young::new(socket, Meeting::Client { process: std::process::id(), listener, nonce, ring })))
    }

    /// The end of a server that has accepted a client by this name.
    pub(crate) fn accepted(socket: UnixStream, nonce: Nonce, host: Arc<Host>) -> Young {
        Young::new(socket, Meeting::Server { host, nonce })
    }

    fn new(socket: UnixStream, meeting: Meeting) -> Young {
        Young {
            kernel: Arc::new(Kernel::new(socket)),
            limits: Limits::default(),
            carried: AtomicU32::new(0),
            came: Mutex::default(),
            sent: Mutex::new(0),
            meeting: Mutex::new(meeting),
            memory: OnceLock::new(),
            end: OnceLock::new(),
            is_received: AtomicBool::new(false),
            is_read_out: AtomicBool::new(false),
            over_bell: OnceLock::new(),
            forks: forks(),
        }
    }

    pub(crate) fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// An end that has taken this memory.
    #[cfg(test)]
    pub(crate) fn with(socket: UnixStream, mapping: Arc<Mapping>) -> Young {
        let young = Young::new(socket, Meeting::Over);
        young.go_over(End::new(Arc::clone(&young.kernel), mapping, Role::Acceptor, Kind::Bytes, None));
        young
    }

    /// Whether nobody can take what this end has offered any more.
    #[cfg(test)]
    pub(crate) fn has_withdrawn(&self) -> bool {
        matches!(*lock(&self.meeting), Meeting::Over) && self.end().is_none()
    }

    /// What this end has offered.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> Option<&Arc<Mapping>> {
        self.memory.get()
    }

    /// The end over shared memory, where there is one.
    pub(crate) fn end(&self) -> Option<&End> {
        self.end.get().map(|end| &**end)
    }

    /// The same where it also reads from there.
    pub(crate) fn reading_end(&self) -> Option<&End> {
        if self.is_read_out.load(Ordering::Acquire) { self.end() } else { None }
    }

    // Going over.

    /// Notes that a call has carried so many bytes. No lock is held.
    fn carry(&self, bytes: usize) {
        let more = u32::try_from(1 + bytes / PER_CALL).unwrap_or(u32::MAX);
        let before = self.carried.fetch_add(more, Ordering::Relaxed);
        if before / EARNED != before.wrapping_add(more) / EARNED && self.end().is_none() {
            self.meet();
        }
    }

    /// Offers memory, or looks for what was offered.
    #[cold]
    fn meet(&self) {
        let Ok(mut meeting) = self.meeting.try_lock() else { return };
        match &*meeting {
            Meeting::Client { process, listener, nonce, ring } => {
                // A forked process isn't the one that the listener knows.
                let is_here = *process == std::process::id();
                let offered = is_here.then(|| self.offer(listener, nonce, *ring)).flatten();
                *meeting = offered.unwrap_or(Meeting::Over);
            }
            Meeting::Server { host, nonce } => {
                let client = peer_credentials(self.kernel.socket.as_fd()).ok();
                let Some((mapping, place)) = client.and_then(|client| host.claim_later(nonce, &client))
                else {
                    return;
                };
                // Its first bell finds the end here, also if another thread reads.
                let came = lock(&self.came);
                let offered = &mapping.lane(0).writer.offered;
                if offered.compare_exchange(NEW, TAKEN, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                    let (kernel, mapping) = (Arc::clone(&self.kernel), Arc::new(mapping));
                    self.go_over(End::new(kernel, mapping, Role::Acceptor, Kind::Bytes, Some(place)));
                }
                drop(came);
                *meeting = Meeting::Over;
            }
            Meeting::Offered { at, .. } => {
                let is_late = self.carried.load(Ordering::Relaxed).wrapping_sub(*at) > PATIENCE;
                if is_late && self.withdraw() {
                    *meeting = Meeting::Over;
                }
            }
            Meeting::Over => {}
        }
    }

    fn offer(&self, listener: &File, nonce: &Nonce, ring: usize) -> Option<Meeting> {
        let server = peer_credentials(self.kernel.socket.as_fd()).ok()?;
        let offer = Offer::leave_as(*nonce, listener, Some(server), ring, |mapping| {
            for lane in 0..2 {
                mapping.lane(lane).reader.waits.store(BELL, Ordering::Relaxed);
            }
            // The same one again, if it is offered again.
            let _ = self.memory.set(Arc::clone(mapping));
        })?;
        let at = self.carried.load(Ordering::Relaxed);
        Some(Meeting::Offered { at, _companion: offer.companion })
    }

    /// Goes over where the offer was taken. Comes before each call, and after each that may have found a bell; no lock is
    /// held but the reader's.
    fn advance(&self) {
        if self.end().is_some() {
            return;
        }
        let taken = |memory: &&Arc<Mapping>| memory.lane(0).writer.offered.load(Ordering::Acquire) == TAKEN;
        let Some(memory) = self.memory.get().filter(taken) else { return };
        let mut meeting = lock(&self.meeting);
        if self.end().is_none() {
            let (kernel, memory) = (Arc::clone(&self.kernel), Arc::clone(memory));
            self.go_over(End::new(kernel, memory, Role::Connector, Kind::Bytes, None));
            *meeting = Meeting::Over;
        }
    }

    /// Has all that is written from now on go by the ring. The meeting's lock is held, so that no limit is set meanwhile.
    fn go_over(&self, mut end: End) {
        end.set_forks(self.forks);
        let sent = lock(&self.sent);
        end.limits().copy(&self.limits);
        end.outside.expect_bytes(true);
        end.begin(*sent);
        // Nobody else does, with that lock.
        let _ = self.end.set(Box::new(end));
        // After that the look, as who makes the bell looks for the end after that.
        fence(Ordering::SeqCst);
        if let Some(bell) = self.over_bell.get() {
            let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
        }
    }

    /// Sees to it that nobody takes the offer; says whether nobody has.
    fn withdraw(&self) -> bool {
        self.memory.get().is_none_or(|memory| {
            let offered = &memory.lane(0).writer.offered;
            offered.compare_exchange(NEW, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire) != Err(TAKEN)
        })
    }

    /// Bytes that are still to come by the socket, where that was said: it counts what was said first.
    fn left(&self, came: &mut Came) -> Option<u64> {
        let end = self.end()?;
        came.all = came.all.or_else(|| end.peers_begin());
        came.all.map(|all| all.checked_sub(came.count).unwrap_or_else(|| end.give_up()))
    }

    /// The end over shared memory, if it is its turn to be read. The lock is held.
    fn read_out(&self, came: &mut Came) -> Option<&End> {
        let end = self.end()?;
        if !self.is_received.load(Ordering::Acquire) && self.left(came) == Some(0) {
            self.set_received(end);
        }
        if came.has_kept() || !self.is_received.load(Ordering::Acquire) {
            return None;
        }
        self.is_read_out.store(true, Ordering::Release);
        Some(end)
    }

    fn set_received(&self, end: &End) {
        end.outside.expect_bytes(false);
        self.is_received.store(true, Ordering::Release);
    }

    /// Receives what is left of the stream's bytes at the socket, for who needs the bells behind them: a writer that waits
    /// for an event.
    fn make_way(&self) {
        if self.is_received.load(Ordering::Acquire) {
            return;
        }
        let (mut came, mut bytes) = (lock(&self.came), [0; 16 << 10]);
        while self.read_out(&mut came).is_none() && came.may_keep() {
            let mut attached = Ancillary::default();
            let Some(Ok(count @ 1..)) = self.pull(&mut came, &mut bytes, &mut attached) else { return };
            came.keep(&bytes[..count], attached);
            if let Some(end) = self.end() {
                // A reader that waits for the socket has no event any more.
                end.outside.note_heard();
            }
        }
    }

    // Writing.

    /// Writes to the ring. Who may not wait there wants a bell, and so what is before it at the socket.
    fn write_to<T>(&self, end: &End, write: impl Fn(&End) -> io::Result<T>) -> io::Result<T> {
        match write(end) {
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && !self.is_received.load(Ordering::Acquire) =>
            {
                self.make_way();
                write(end)
            }
            result => result,
        }
    }

    /// Writes all, or what there is room for where it may not wait or its time is over.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(end) = self.end() {
            return self.write_to(end, |end| end.write(bytes));
        }
        self.write_from(bytes, 0)
    }

    fn write_from(&self, bytes: &[u8], mut done: usize) -> io::Result<usize> {
        loop {
            let rest = &bytes[done..];
            let result = match self.by_socket(Half::Writes, || self.send(rest, Attached::default())) {
                Ok(Some(count)) => Ok(count),
                Ok(None) => self.end().map_or(Ok(0), |end| self.write_to(end, |end| end.write(rest))),
                Err(error) => Err(error),
            };
            match result {
                Ok(0) => return Ok(done),
                Ok(count) => done += count,
                Err(_) if done > 0 => return Ok(done),
                Err(error) => return Err(error),
            }
            if done == bytes.len() || self.limits.of(Half::Writes).nonblocking {
                return Ok(done);
            }
        }
    }

    pub(crate) fn write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut done = 0;
        for part in parts.iter().filter(|part| !part.is_empty()) {
            match self.write(part) {
                Ok(count) if count == part.len() => done += count,
                Ok(count) => return Ok(done + count),
                Err(error) => return if done > 0 { Ok(done) } else { Err(error) },
            }
        }
        Ok(done)
    }

    /// The same with something attached to the first of them.
    pub(crate) fn write_with(&self, bytes: &[u8], attached: Attached<'_>) -> io::Result<usize> {
        match self.by_socket(Half::Writes, || self.send(bytes, attached))? {
            Some(count) if count == bytes.len() || self.limits.of(Half::Writes).nonblocking => Ok(count),
            Some(count) => self.write_from(bytes, count),
            None => self.end().map_or(Ok(0), |end| self.write_to(end, |end| end.write_with(bytes, attached))),
        }
    }

    pub(crate) fn write_in_place(
        &self,
        with: impl FnOnce(&mut SharedSliceMut<'_>) -> usize,
    ) -> io::Result<usize> {
        self.advance();
        let Some(end) = self.end() else {
            return in_place::write(with, |bytes| self.write(bytes));
        };
        // `with` can be called once only.
        self.is_ready(Half::Writes)?;
        end.write_in_place(with)
    }

    /// Sends once, without waiting; none if it is the ring's turn.
    fn send(&self, bytes: &[u8], attached: Attached<'_>) -> Option<io::Result<usize>> {
        let result = {
            let mut sent = lock(&self.sent);
            if self.end().is_some() {
                return None;
            }
            let socket = self.kernel.socket.as_fd();
            let result = ancillary::send_message(socket, bytes, SendFlags::DONTWAIT, attached);
            if let Ok(count) = result {
                *sent += count as u64;
            }
            result
        };
        if let Ok(count) = result {
            self.carry(count);
        }
        Some(result)
    }

    // All else.

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.advance();
        {
            let mut meeting = lock(&self.meeting);
            if self.end().is_none() && self.withdraw() {
                *meeting = Meeting::Over;
                return self.kernel.socket.shutdown(how);
            }
        }
        // It may have been taken just now.
        self.advance();
        if let Some(end) = self.end() {
            end.shutdown(how);
        }
        Ok(())
    }

    pub(crate) fn is_ready(&self, half: Half) -> io::Result<bool> {
        self.advance();
        if half == Half::Writes
            && let Some(end) = self.end()
        {
            return Ok(end.is_ready(half) || {
                self.make_way();
                end.is_ready(half)
            });
        }
        let reading_end = || self.read_out(&mut lock(&self.came)).filter(|_| half == Half::Reads);
        if let Some(end) = reading_end() {
            return Ok(end.is_ready(half));
        }
        if half == Half::Reads && (lock(&self.came).has_kept() || self.is_shut_for_reading()) {
            return Ok(true);
        }
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let is_ready = poll(&mut [PollFd::new(&self.kernel.socket, wanted(half))], Some(&now))? > 0;
        // That may have been a bell.
        Ok(reading_end().map_or(is_ready, |end| end.is_ready(half)))
    }

    pub(crate) fn look(&self, wanted: Ready) -> Ready {
        self.advance();
        // In a statement of its own: the lock is not held while the end is looked at.
        let end = self.read_out(&mut lock(&self.came));
        if let Some(end) = end {
            return end.look(wanted);
        }
        let found = look_at_socket(self.kernel.socket.as_fd());
        if self.end().is_none() {
            return found;
        }
        // An error may be that the peer has left a bell unread.
        let is_ready = |ready, half| wanted.has(ready) && self.is_ready(half).unwrap_or(true);
        // The reader's after that, as it may take what is there for that.
        let writable = Ready::WRITABLE.only_if(is_ready(Ready::WRITABLE, Half::Writes));
        let readable = Ready::READABLE.only_if(is_ready(Ready::READABLE, Half::Reads));
        found.only(Ready::READ_CLOSED | Ready::WRITE_CLOSED) | readable | writable
    }

    /// Sets limits of this end, wherever it goes.
    pub(crate) fn set_limits<T>(&self, set: impl Fn(&Limits) -> T) -> T {
        let _meeting = lock(&self.meeting);
        if let Some(end) = self.end() {
            set(end.limits());
        }
        set(&self.limits)
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.advance();
        match self.end() {
            Some(end) => Ok(end.take_error()),
            None => self.kernel.socket.take_error(),
        }
    }
}

/// Nobody takes up the offer of an end that is gone. One that was taken says farewell, see [`End`].
impl Drop for Young {
    fn drop(&mut self) {
        if self.forks != forks() {
            return;
        }
        if !self.withdraw() {
            self.advance();
        }
        if self.end().is_some() {
            self.make_way();
        }
        if let Some(end) = self.end().filter(|_| lock(&self.came).has_kept()) {
            end.outside.state.note(UNREAD);
        }
    }
}

fn wanted(half: Half) -> PollFlags {
    match half {
        Half::Reads => PollFlags::IN | PollFlags::RDHUP,
        Half::Writes => PollFlags::OUT,
    }
}

/// So many, or what is left if that is less.
fn up_to(left: Option<u64>, count: usize) -> usize {
    left.map_or(count, |left| usize::try_from(left).map_or(count, |left| left.min(count)))
}
