//! One end of a pair over shared memory.
//!
//! ```text
//!   send ══ record ══▶ Lane + ring ══▶ recv
//!    └──── bell: one byte ──▶ the kernel's pair ──▶ a poller, or who has waited for long
//! ```
//!
//! The rings carry what the two ends send each other; the kernel's sockets stay connected and know everything else. A bell
//! tells who asked for it that there is a datagram, or room for one; and the kernel tells who rings that the peer is
//! gone, so that a sender does so now and then without being asked. What it sends to others by name goes by the kernel's
//! socket. Once the socket is connected to another, or found that its peer is gone, it has left the pair, and all is the
//! kernel's: the rings are looked at no more, as the kernel drops what was unread then.
//!
//! The lanes' flags: who receives says in [`Lane`](crate::ring::Lane)'s `gone` why nothing is taken any more, and in
//! `end` of the lane that it writes whether it left with something unread ([`CUT`]), which the peer is told once.

use super::bells::{Bells, MOVED};
use crate::Ancillary;
use crate::ancillary::{Attached, Wants};
use crate::end::{Half, Limits, Role};
use crate::half::{BROKEN, DEAD, Kind, READ_SHUT, ReadHalf, Take, WRITE_SHUT, reset};
use crate::lane::CUT;
use crate::listening;
use crate::ring::{Broken, Consumer, LONG, Mark, Memory, Producer, record_len};
use crate::sync::lock;
use crate::sys::{Mapping, Side, peer_credentials};
use crate::wait::{BELL, Limit, Spin, Wait, World, announce, wake};
use rustix::io::Errno;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Who receives is there.
const HERE: u32 = 0;
/// It has shut that half.
const SHUT_OFF: u32 = 1;
/// A process that had its socket has closed it: the kernel knows whether all have that had it, after a fork.
const CLOSED: u32 = 2;
/// It has connected its socket to another.
const LEFT: u32 = 3;
/// And a process has closed it since.
const LEFT_AND_CLOSED: u32 = 4;

/// The peer's leaving with something unread was told.
const TOLD: u32 = 1 << 9;

/// One end of a pair.
#[derive(Debug)]
pub(super) struct Pair {
    bells: Bells,
    reader: ReadHalf<Side>,
    writes: Side,
    sender: Mutex<Sender>,
    sent: AtomicU32,
    /// Bells that calls asked for which send, and didn't take, since they last were taken.
    unheard: AtomicU32,
    limits: Limits,
    /// Dropped last, after the kernel's socket.
    _last: LastCall,
}

#[derive(Debug, Default)]
struct Sender {
    producer: Producer,
    spin: Spin,
    /// What the receiver was last seen to say of itself.
    gone: u32,
}

/// What came of an attempt to send.
#[derive(PartialEq)]
enum Sent {
    Whole,
    /// The socket has left the pair: it is for the kernel.
    Moved,
    NoRoom,
}

impl Pair {
    pub(super) fn new(socket: UnixDatagram, mapping: Arc<Mapping>, role: Role) -> Pair {
        let (to_read, to_write) = match role {
            Role::Connector => (1, 0),
            Role::Acceptor => (0, 1),
        };
        let [reads, again] = [0; 2].map(|_| Side::new(Arc::clone(&mapping), to_read));
        // For a program that waits at the descriptor before it has received anything.
        announce(&reads.lane().reader.waits, BELL);
        Pair {
            bells: Bells::new(socket),
            reader: ReadHalf::new(reads, Kind::Records),
            writes: Side::new(mapping, to_write),
            sender: Mutex::default(),
            sent: AtomicU32::new(0),
            unheard: AtomicU32::new(0),
            limits: Limits::default(),
            _last: LastCall(again),
        }
    }

    pub(super) fn socket(&self) -> &UnixDatagram {
        &self.bells.socket
    }

    fn reads(&self) -> &Side {
        self.reader.memory()
    }

    #[cfg(feature = "tokio")]
    pub(super) fn heard(&self) -> u32 {
        self.bells.heard()
    }

    pub(super) fn wants(&self) -> &Wants {
        &self.bells.wants
    }

    /// Whether the socket has left the pair.
    pub(super) fn has_moved(&self) -> bool {
        self.bells.state.has(MOVED)
    }

    /// Receives a datagram, or looks at it; none if that is for the kernel.
    pub(super) fn recv(
        &self,
        datagram: &mut [u8],
        mut what: Take<'_, Ancillary>,
    ) -> io::Result<Option<usize>> {
        let (lane, state) = (self.reads().lane(), &self.bells.state);
        let mut wait = Wait::new(self.limits.of(Half::Reads));
        loop {
            let mut receiver = lock(&self.reader.side);
            let (consumer, spin, pace) = &mut *receiver;
            if self.has_moved() {
                return Ok(None);
            }
            self.be_there();
            let mut spent = Duration::ZERO;
            if wait.may_wait() && consumer.is_to_look() {
                let sent = self.sent.load(Ordering::Relaxed);
                spent = pace.keep(sent, consumer.seen(), &lane.produced.position);
            }
            if let Some(len) = self.try_recv(consumer, datagram, &mut what)? {
                return Ok(Some(len));
            }
            if state.has(READ_SHUT) {
                // As the kernel does.
                return if wait.may_wait() { Ok(Some(0)) } else { Err(Errno::AGAIN.into()) };
            }
            let seen = consumer.seen();
            let is_ready = || {
                lane.produced.position.load(Ordering::Acquire) != seen
                    || self.is_cut()
                    || state.has(READ_SHUT | MOVED | BROKEN)
            };
            if wait.may_wait()
                && spin.spin(&self.writes.lane().produced.core, &lane.produced.core, spent, is_ready)
            {
                continue;
            }
            drop(receiver);
            wait.pause(&self.bells, &lane.reader.waits, is_ready)?;
        }
    }

    fn try_recv(
        &self,
        consumer: &mut Consumer,
        datagram: &mut [u8],
        what: &mut Take<'_, Ancillary>,
    ) -> io::Result<Option<usize>> {
        if self.bells.state.has(BROKEN) || (consumer.is_to_look() && self.is_told_of_cut()) {
            return Err(reset());
        }
        consumer.begin();
        let len = self.reader.take(&self.bells, consumer, datagram, what).map_err(|Broken| self.give_up())?;
        // A sender may wait for less room than there is now: only it knows.
        if len.is_some() && consumer.is_to_look_for_writer(1) {
            wake(&self.bells, &self.reads().lane().writer.waits);
        }
        Ok(len)
    }

    /// The same with what is attached to it.
    pub(super) fn recv_with(&self, datagram: &mut [u8]) -> io::Result<Option<(usize, Ancillary)>> {
        let mut attached = Ancillary::default();
        let Some(len) = self.recv(datagram, Take::All(&mut attached))? else { return Ok(None) };
        if !self.wants().credentials.load(Ordering::Relaxed) {
            attached.credentials = None;
        } else if attached.credentials.is_none() {
            attached.credentials = Some(peer_credentials(self.socket().as_fd())?);
        }
        Ok(Some((len, attached)))
    }

    /// Sends a datagram; none if that is for the kernel.
    pub(super) fn send(&self, datagram: &[u8], attached: Option<Attached<'_>>) -> io::Result<Option<usize>> {
        let (lane, state) = (self.writes.lane(), &self.bells.state);
        let mut wait = Wait::new(self.limits.of(Half::Writes));
        // Two threads that send at once may count one together.
        self.sent.store(self.sent.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        loop {
            let mut sender = lock(&self.sender);
            match self.try_send(&mut sender, datagram, attached, wait.may_wait())? {
                Sent::Whole => return Ok(Some(datagram.len())),
                Sent::Moved => return Ok(None),
                Sent::NoRoom => {}
            }
            let (seen, gone) = (sender.producer.seen(), sender.gone);
            sender.producer.note_full();
            let is_ready = || {
                lane.consumed.position.load(Ordering::Acquire) != seen
                    || lane.reader.gone.load(Ordering::Acquire) != gone
                    || state.has(WRITE_SHUT | MOVED | DEAD | BROKEN)
            };
            if wait.may_wait()
                && sender.spin.spin(
                    &lane.produced.core,
                    &self.reads().lane().produced.core,
                    Duration::ZERO,
                    is_ready,
                )
            {
                continue;
            }
            drop(sender);
            wait.pause(&Sending(self), &lane.writer.waits, is_ready)?;
        }
    }

    fn try_send(
        &self,
        sender: &mut Sender,
        datagram: &[u8],
        attached: Option<Attached<'_>>,
        may_wait: bool,
    ) -> io::Result<Sent> {
        let (lane, state) = (self.writes.lane(), &self.bells.state);
        if self.has_moved() {
            return Ok(Sent::Moved);
        }
        if record_len(datagram.len()) > self.writes.capacity() {
            return Err(Errno::MSGSIZE.into());
        }
        self.be_there();
        let gone = lane.reader.gone.load(Ordering::Acquire);
        sender.gone = gone;
        // The kernel knows whether the last process has closed it.
        if matches!(gone, CLOSED | LEFT_AND_CLOSED) {
            self.bells.ring();
        }
        if state.has(BROKEN) || (gone != HERE && self.is_told_of_cut()) {
            return Err(reset());
        }
        if state.has(WRITE_SHUT) {
            return Err(Errno::PIPE.into());
        }
        match gone {
            _ if state.has(DEAD) => return Err(self.refuse()),
            HERE | CLOSED => {}
            SHUT_OFF => return Err(Errno::PIPE.into()),
            LEFT | LEFT_AND_CLOSED => return Err(Errno::PERM.into()),
            _ => return Err(self.give_up()),
        }
        let is_sent = match attached {
            None => sender.producer.write_record(&self.writes, datagram).map_err(|Broken| self.give_up())?,
            Some(attached) => self.write_with(&mut sender.producer, datagram, attached)?,
        };
        if is_sent {
            wake(&self.bells, &lane.reader.waits);
            if datagram.len() < LONG && !sender.spin.is_core_shared() {
                sender.producer.claim(&self.writes);
            }
        }
        if is_sent || may_wait {
            self.bells.look();
        } else {
            self.bells.leave_one();
        }
        match is_sent {
            _ if state.has(DEAD) => Err(self.refuse()),
            true => Ok(Sent::Whole),
            false => Ok(Sent::NoRoom),
        }
    }

    /// Writes a record with something attached to it, if there is room for both; says whether there was.
    fn write_with(
        &self,
        producer: &mut Producer,
        datagram: &[u8],
        attached: Attached<'_>,
    ) -> io::Result<bool> {
        let (whole, descriptors) = (record_len(datagram.len()), attached.descriptors.len());
        let planned = producer.plan_mark(&self.writes, whole, descriptors);
        let planned = planned.map_err(|Broken| self.give_up())?;
        let Some(mark) = planned.filter(|mark| mark.end - mark.start == whole as u64) else {
            return Ok(false);
        };
        match self.bells.announce(mark, attached) {
            Ok(true) => {}
            Err(_) if self.bells.state.has(DEAD) => return Err(self.refuse()),
            // Where nothing is under way that the peer could take, nobody would ever make room.
            Ok(false) if !producer.has_marks() && !self.has_moved() => return Err(Errno::NOBUFS.into()),
            Ok(false) => return Ok(false),
            Err(error) => return Err(error),
        }
        producer.announce_mark(&self.writes, mark, descriptors);
        producer.write_record(&self.writes, datagram).map_err(|Broken| self.give_up())
    }

    /// Whether a call of this half is worth a try now; if not, the descriptor has an event once it is. None if that is the
    /// kernel's to say.
    pub(super) fn is_ready(&self, half: Half) -> Option<bool> {
        let (reads, writes, state) = (self.reads().lane(), self.writes.lane(), &self.bells.state);
        let can_receive =
            || self.is_cut() || state.has(READ_SHUT | MOVED | BROKEN) || !self.reader.is_empty();
        let can_send = || {
            let is_refused = !matches!(writes.reader.gone.load(Ordering::Acquire), HERE | CLOSED);
            is_refused
                || state.has(WRITE_SHUT | MOVED | DEAD | BROKEN)
                || lock(&self.sender).producer.has_room(&self.writes).unwrap_or(true)
        };
        let mut wait = Wait::new(Limit::NONE);
        let is_ready = match half {
            Half::Reads => can_receive() || wait.pause(&self.bells, &reads.reader.waits, can_receive).is_ok(),
            Half::Writes => {
                can_send() || {
                    self.bells.leave_one();
                    wait.pause(&Sending(self), &writes.writer.waits, can_send).is_ok()
                }
            }
        };
        (!self.has_moved()).then_some(is_ready)
    }

    /// Takes it back where a process that was forked from this one, or from which this one was, has said that the socket is
    /// closed.
    fn be_there(&self) {
        let gone = &self.reads().lane().reader.gone;
        if gone.load(Ordering::Relaxed) == CLOSED {
            let now = if self.bells.state.has(READ_SHUT) { SHUT_OFF } else { HERE };
            let _ = gone.compare_exchange(CLOSED, now, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// The peer is gone: this socket isn't connected any more.
    fn refuse(&self) -> io::Error {
        let _ = self.leave(|socket| Ok(rustix::net::connect_unspec(socket)?));
        Errno::CONNREFUSED.into()
    }

    /// Has the kernel's socket leave the pair, and what else was decided of this one be its own.
    fn leave(&self, call: impl FnOnce(&UnixDatagram) -> io::Result<()>) -> io::Result<()> {
        let result = self.bells.leave(call);
        for (fact, how) in [(READ_SHUT, Shutdown::Read), (WRITE_SHUT, Shutdown::Write)] {
            if self.bells.state.has(fact) {
                let _ = self.socket().shutdown(how);
            }
        }
        self.wake_own();
        result
    }

    /// Connects the socket to another, and leaves the pair by that.
    pub(super) fn connect(&self, name: &SocketAddr) -> io::Result<()> {
        if self.has_moved() {
            return self.socket().connect_addr(name);
        }
        // The peer is to be told before the kernel's socket is another's, and not if that can't be.
        UnixDatagram::unbound()?.connect_addr(name)?;
        let is_unread = !self.reader.is_empty();
        let (reads, writes) = (self.reads().lane(), self.writes.lane());
        if is_unread {
            writes.produced.end.store(CUT, Ordering::Release);
        }
        reads.reader.gone.store(LEFT, Ordering::Release);
        wake(&self.bells, &reads.writer.waits);
        wake(&self.bells, &writes.reader.waits);
        self.leave(|socket| {
            // Who was there a moment ago may be gone, but the peer is left.
            socket.connect_addr(name).inspect_err(|_| {
                let _ = rustix::net::connect_unspec(socket);
            })
        })
    }

    /// Whether the peer left with something unread, which wasn't told yet.
    fn is_cut(&self) -> bool {
        self.reads().lane().produced.end.load(Ordering::Acquire) == CUT && !self.bells.state.has(TOLD)
    }

    /// The same, and tells it.
    fn is_told_of_cut(&self) -> bool {
        self.is_cut() && self.bells.state.note(TOLD) != 0
    }

    /// A peer that breaks the rules is left: its socket is refused bells, and this one's calls fail.
    fn give_up(&self) -> io::Error {
        self.bells.state.note(BROKEN);
        let _ = self.socket().shutdown(Shutdown::Both);
        self.wake_own();
        reset()
    }

    pub(super) fn shutdown(&self, how: Shutdown) {
        if how != Shutdown::Write {
            self.bells.state.note(READ_SHUT);
            let reads = self.reads().lane();
            let _ = reads.reader.gone.compare_exchange(HERE, SHUT_OFF, Ordering::AcqRel, Ordering::Relaxed);
            wake(&self.bells, &reads.writer.waits);
        }
        if how != Shutdown::Read {
            self.bells.state.note(WRITE_SHUT);
        }
        if self.bells.state.has(READ_SHUT) && self.bells.state.has(WRITE_SHUT) {
            // Neither end needs bells any more, and whoever polls the descriptor here has an event.
            let _ = self.socket().shutdown(Shutdown::Both);
        }
        if self.has_moved() {
            let _ = self.socket().shutdown(how);
        }
        self.wake_own();
    }

    /// Sends a datagram to another than the peer.
    pub(super) fn send_to(&self, datagram: &[u8], name: &SocketAddr) -> io::Result<usize> {
        // That is not the kernel's to know while the socket is one of a pair.
        if self.bells.state.has(WRITE_SHUT) {
            return Err(Errno::PIPE.into());
        }
        self.bells.has_others.store(true, Ordering::Relaxed);
        self.socket().send_to_addr(datagram, name)
    }

    pub(super) fn take_error(&self) -> io::Result<Option<io::Error>> {
        let of_kernel = self.socket().take_error()?;
        if self.has_moved() {
            return Ok(of_kernel);
        }
        Ok(self.is_told_of_cut().then(reset))
    }

    fn wake_own(&self) {
        self.bells.wake_own(&self.reads().lane().reader.waits);
        self.bells.wake_own(&self.writes.lane().writer.waits);
    }

    pub(super) fn set_nonblocking(&self, is_nonblocking: bool) {
        self.limits.set_nonblocking(is_nonblocking);
    }

    /// Sets what the kernel's socket has taken already.
    pub(super) fn set_timeouts(&self) -> io::Result<()> {
        let socket = self.socket();
        self.limits.set_timeout(Half::Reads, socket.read_timeout()?)?;
        self.limits.set_timeout(Half::Writes, socket.write_timeout()?)
    }
}

/// Says farewell in the shared memory; of a process that is killed the kernel tells.
impl Drop for Pair {
    fn drop(&mut self) {
        self.bells.free();
        let reads = self.reads().lane();
        // One that was connected to another is so in the other processes that have it.
        let close =
            |gone| Some(if matches!(gone, LEFT | LEFT_AND_CLOSED) { LEFT_AND_CLOSED } else { CLOSED });
        let _ = reads.reader.gone.fetch_update(Ordering::AcqRel, Ordering::Relaxed, close);
        wake(&self.bells, &reads.writer.waits);
    }
}

/// The world as who sends sees it.
struct Sending<'a>(&'a Pair);

impl World for Sending<'_> {
    type Attached = Ancillary;

    fn next_mark(&self) -> Option<Mark> {
        self.0.bells.next_mark()
    }

    fn take_mark(&self, mark: Mark, into: Option<&mut Ancillary>) -> bool {
        self.0.bells.take_mark(mark, into)
    }

    fn sleep(&self, word: &AtomicU32, value: u32, limit: Duration) -> bool {
        self.0.bells.sleep(word, value, limit)
    }

    fn wake(&self, word: &AtomicU32) {
        self.0.bells.wake(word);
    }

    fn ring(&self) {
        self.0.bells.ring();
    }

    /// Seldom, while there are datagrams to receive: the descriptor is to tell of them, and the peer to keep a bell of its
    /// own here while it has no room, or two ends that have none would ring for each other without end.
    fn drain(&self) {
        const MANY: u32 = 64;
        let pair = self.0;
        let has_some = !pair.reader.is_empty();
        if !has_some || pair.unheard.fetch_add(1, Ordering::Relaxed) >= MANY {
            pair.unheard.store(0, Ordering::Relaxed);
            pair.bells.drain();
        }
    }

    /// The socket doesn't tell who waits there that the peer is gone, so nobody does.
    fn listen(&self, _: Option<Duration>, _: &dyn Fn() -> bool, _: &AtomicU32) -> bool {
        false
    }

    fn glance(&self) {}
}

/// Has a sender look at the kernel's socket once more, when this process has closed it.
#[derive(Debug)]
struct LastCall(Side);

impl Drop for LastCall {
    fn drop(&mut self) {
        listening::rouse(&self.0.lane().writer.waits);
    }
}
