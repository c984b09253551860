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
//! `begun` was said, and so behind the last byte: until the reader is there, the socket is its own, and what it finds
//! behind its bytes it passes on. Who waits at the socket for bytes is woken by a bell, for which the lanes of memory that
//! is offered ask from the start.
//!
//! What is shut before it has gone over stays with the kernel.

use crate::companion::Host;
use crate::end::{End, Half, Limits, Role};
use crate::half::{CUT_OFF, DEAD, Kind};
use crate::in_place::{self, SharedSlice, SharedSliceMut};
use crate::outside::Kernel;
use crate::rendezvous::{File, Nonce, Offer, When, client_name, connect, has_companion, new_nonce};
use crate::sync::lock;
use crate::sys::messages::receive;
use crate::sys::{Mapping, forks, peer_credentials};
use crate::wait::{BELL, Wait};
use crate::watch::{Ready, look_at_socket};
use crate::{Ancillary, Attached, ancillary};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// What memory is worth, which is set up in some 45 µs: calls of the kernel's, each with 4 KiB.
const EARNED: u32 = 16;
const PER_CALL: usize = 4096;

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
    /// All bytes of the socket were read.
    is_read_out: AtomicBool,
    /// Of this process, when it was made.
    forks: u32,
}

/// Bytes that came by the socket, and how many it will be in all, once the peer has said so.
#[derive(Debug, Default)]
struct Came {
    count: u64,
    all: Option<u64>,
}

/// How the ends find each other.
#[derive(Debug)]
enum Meeting {
    /// The client will offer rings of so many bytes.
    Client { process: u32, listener: File, nonce: Nonce, ring: usize },
    /// It has, and is connected to the companion until somebody has taken them.
    Offered { _companion: std::os::fd::OwnedFd },
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
            is_read_out: AtomicBool::new(false),
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
                let Some((mapping, place)) = client.and_then(|client| host.claim(nonce, &client)) else {
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
            Meeting::Offered { .. } | Meeting::Over => {}
        }
    }

    fn offer(&self, listener: &File, nonce: &Nonce, ring: usize) -> Option<Meeting> {
        let offer = Offer::leave_as(*nonce, listener, ring, |mapping| {
            for lane in 0..2 {
                mapping.lane(lane).reader.waits.store(BELL, Ordering::Relaxed);
            }
            // The same one again, if it is offered again.
            let _ = self.memory.set(Arc::clone(mapping));
        })?;
        if offer.listener != peer_credentials(self.kernel.socket.as_fd()).ok()? {
            return None;
        }
        Some(Meeting::Offered { _companion: offer.companion })
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
    fn go_over(&self, end: End) {
        let sent = lock(&self.sent);
        end.limits().copy(&self.limits);
        end.outside.expect_bytes(true);
        end.begin(*sent);
        // Nobody else does, with that lock.
        let _ = self.end.set(Box::new(end));
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
        let is_over = self.is_read_out.load(Ordering::Acquire) || self.left(came) == Some(0);
        let end = self.end().filter(|_| is_over)?;
        self.set_read_out(end);
        Some(end)
    }

    fn set_read_out(&self, end: &End) {
        end.outside.expect_bytes(false);
        self.is_read_out.store(true, Ordering::Release);
    }

    // Reading.

    pub(crate) fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        if let Some(end) = self.reading_end() {
            return end.read(bytes);
        }
        let mut unwanted = Ancillary::default();
        match self.by_socket(Half::Reads, || self.receive(bytes, &mut unwanted))? {
            Some(count) => Ok(count),
            None => self.reading_end().map_or(Ok(0), |end| end.read(bytes)),
        }
    }

    /// Waits for the first bytes only.
    pub(crate) fn read_vectored(&self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if let Some(end) = self.reading_end() {
            return end.read_vectored(parts);
        }
        let mut done = 0;
        for part in parts.iter_mut().filter(|part| !part.is_empty()) {
            let count = match done {
                0 => self.read(part)?,
                _ => self.receive(part, &mut Ancillary::default()).and_then(Result::ok).unwrap_or(0),
            };
            done += count;
            // What is attached to bytes ends a read.
            if count < part.len() || self.kernel.wants.any() {
                break;
            }
        }
        Ok(done)
    }

    /// Reads what is attached to the bytes too.
    pub(crate) fn read_with(&self, bytes: &mut [u8]) -> io::Result<(usize, Ancillary)> {
        let mut attached = Ancillary::default();
        match self.by_socket(Half::Reads, || self.receive(bytes, &mut attached))? {
            Some(count) => Ok((count, attached.without_nobody(count == 0 && !bytes.is_empty()))),
            None => self.reading_end().map_or(Ok((0, attached)), |end| end.read_with(bytes)),
        }
    }

    pub(crate) fn peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match self.by_socket(Half::Reads, || self.peek_at_socket(bytes))? {
            Some(count) => Ok(count),
            None => self.reading_end().map_or(Ok(0), |end| end.peek(bytes)),
        }
    }

    pub(crate) fn read_in_place(&self, with: impl FnOnce(&SharedSlice<'_>) -> usize) -> io::Result<usize> {
        let mut bytes = in_place::room_to_read();
        match self.by_socket(Half::Reads, || self.peek_at_socket(&mut bytes))? {
            Some(count) => in_place::take_copied(&mut bytes[..count], with, |bytes| {
                let again = Err(Errno::AGAIN.into());
                self.receive(bytes, &mut Ancillary::default()).unwrap_or(again)
            }),
            None => self.reading_end().map_or(Ok(0), |end| end.read_in_place(with)),
        }
    }

    /// Tries what is to be done at the socket until it is done; none once that is the ring's.
    fn by_socket<T>(
        &self,
        half: Half,
        mut attempt: impl FnMut() -> Option<io::Result<T>>,
    ) -> io::Result<Option<T>> {
        let mut wait = Wait::new(self.limits.of(half));
        loop {
            self.advance();
            match attempt() {
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(half, &mut wait)?;
                }
                result => return result.transpose(),
            }
        }
    }

    /// Waits at the socket.
    fn wait(&self, half: Half, wait: &mut Wait) -> io::Result<()> {
        if !wait.may_wait() {
            return Err(Errno::AGAIN.into());
        }
        let left = wait.left()?.and_then(|left| Timespec::try_from(left).ok());
        match rustix::event::poll(&mut [PollFd::new(&self.kernel.socket, wanted(half))], left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Receives once, without waiting; none if it is the ring's turn.
    pub(crate) fn receive(&self, bytes: &mut [u8], attached: &mut Ancillary) -> Option<io::Result<usize>> {
        let result = {
            let mut came = lock(&self.came);
            loop {
                if self.read_out(&mut came).is_some() {
                    return None;
                }
                let most = up_to(self.left(&mut came), bytes.len());
                let (socket, wants) = (self.kernel.socket.as_fd(), &self.kernel.wants);
                match receive(socket, &mut bytes[..most], RecvFlags::DONTWAIT, wants, attached) {
                    Ok(0) if most > 0 => break self.at_end(Ok(0)),
                    Err(Errno::CONNRESET) => break self.at_end(Err(Errno::CONNRESET)),
                    Err(error) => break Some(Err(error.into())),
                    Ok(count) => {
                        // How many are the stream's may have been said since.
                        self.advance();
                        let own = up_to(self.left(&mut came), count);
                        came.count += own as u64;
                        if let (Some(end), true) = (self.end(), own < count) {
                            end.outside.take_late(&bytes[own..count], std::mem::take(attached));
                        }
                        if own > 0 || count == 0 {
                            break Some(Ok(own));
                        }
                    }
                }
            }
        };
        if let Some(Ok(count)) = result {
            self.carry(count);
        }
        result
    }

    /// Where nothing comes any more: the end over shared memory knows more of it, if the peer is gone and isn't only shut.
    fn at_end(&self, result: Result<usize, Errno>) -> Option<io::Result<usize>> {
        self.advance();
        if let Some(end) = self.end() {
            match result {
                Err(_) => drop(end.outside.state.note(DEAD | CUT_OFF)),
                Ok(_) => end.outside.look_for_peer(),
            }
            if end.outside.state.has(DEAD) {
                self.set_read_out(end);
                return None;
            }
        }
        Some(result.map_err(io::Error::from))
    }

    pub(crate) fn peek_at_socket(&self, bytes: &mut [u8]) -> Option<io::Result<usize>> {
        let mut came = lock(&self.came);
        loop {
            if self.read_out(&mut came).is_some() {
                return None;
            }
            match rustix::net::recv(&self.kernel.socket, &mut *bytes, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
                Ok((0, _)) if !bytes.is_empty() => return self.at_end(Ok(0)),
                Err(Errno::CONNRESET) => return self.at_end(Err(Errno::CONNRESET)),
                Err(error) => return Some(Err(error.into())),
                Ok((count, _)) => {
                    self.advance();
                    let own = up_to(self.left(&mut came), count);
                    if own > 0 || count == 0 {
                        return Some(Ok(own));
                    }
                }
            }
        }
    }

    // Writing.

    /// Writes all, or what there is room for where it may not wait or its time is over.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(end) = self.end() {
            return end.write(bytes);
        }
        self.write_from(bytes, 0)
    }

    fn write_from(&self, bytes: &[u8], mut done: usize) -> io::Result<usize> {
        loop {
            let rest = &bytes[done..];
            let result = match self.by_socket(Half::Writes, || self.send(rest, Attached::default())) {
                Ok(Some(count)) => Ok(count),
                Ok(None) => self.end().map_or(Ok(0), |end| end.write(rest)),
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
            None => self.end().map_or(Ok(0), |end| end.write_with(bytes, attached)),
        }
    }

    pub(crate) fn write_in_place(
        &self,
        with: impl FnOnce(&mut SharedSliceMut<'_>) -> usize,
    ) -> io::Result<usize> {
        self.advance();
        match self.end() {
            Some(end) => end.write_in_place(with),
            None => in_place::write(with, |bytes| self.write(bytes)),
        }
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
        if how != Shutdown::Write && self.reading_end().is_none() {
            let _ = self.kernel.socket.shutdown(Shutdown::Read);
        }
        if let Some(end) = self.end() {
            end.shutdown(how);
        }
        Ok(())
    }

    pub(crate) fn is_ready(&self, half: Half) -> io::Result<bool> {
        self.advance();
        let ring = || match half {
            Half::Reads => self.read_out(&mut lock(&self.came)),
            Half::Writes => self.end(),
        };
        if let Some(end) = ring() {
            return Ok(end.is_ready(half));
        }
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let is_ready =
            rustix::event::poll(&mut [PollFd::new(&self.kernel.socket, wanted(half))], Some(&now))? > 0;
        // That may have been a bell.
        Ok(ring().map_or(is_ready, |end| end.is_ready(half)))
    }

    pub(crate) fn look(&self, wanted: Ready) -> Ready {
        self.advance();
        if let Some(end) = self.read_out(&mut lock(&self.came)) {
            return end.look(wanted);
        }
        let found = look_at_socket(self.kernel.socket.as_fd());
        if self.end().is_none() {
            return found;
        }
        let is_ready = |ready, half| wanted.has(ready) && self.is_ready(half).unwrap_or(true);
        found.only(Ready::READ_CLOSED | Ready::WRITE_CLOSED | Ready::ERROR)
            | Ready::READABLE.only_if(is_ready(Ready::READABLE, Half::Reads))
            | Ready::WRITABLE.only_if(is_ready(Ready::WRITABLE, Half::Writes))
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
        match self.reading_end() {
            Some(end) => Ok(end.take_error()),
            None => self.kernel.socket.take_error(),
        }
    }
}

/// Nobody takes up the offer of an end that is gone. One that was taken says farewell, see [`End`].
impl Drop for Young {
    fn drop(&mut self) {
        if self.forks == forks() && !self.withdraw() {
            self.advance();
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
