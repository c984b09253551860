//! The two halves of an end: a ring's side with its lock, its waiting and its end.
//!
//! Generic over memory and machine, so that `tools/model` can run them under a scheduler.

use crate::lane::{CUT, OPEN};
use crate::pace::Pace;
use crate::ring::{Broken, Consumer, LONG, Mark, Memory, Producer, record_len};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{Mutex, lock};
use crate::wait::{Limit, SocketRoom, Spin, TURN, Wait, World, wake};
use crate::ways::{Way, Ways};
use std::io;
use std::time::{Duration, Instant};

/// Facts about an end that end its calls.
#[derive(Debug, Default)]
pub(crate) struct State {
    facts: AtomicU32,
    /// Writes of this end so far.
    writes: AtomicU32,
}

/// This end is shut for reading.
pub(crate) const READ_SHUT: u32 = 1;
/// This end is shut for writing.
pub(crate) const WRITE_SHUT: u32 = 2;
/// The peer is gone.
pub(crate) const DEAD: u32 = 4;
/// The peer broke the rules.
pub(crate) const BROKEN: u32 = 8;
/// Its socket says that it went with something unread there, or never accepted the connection.
pub(crate) const CUT_OFF: u32 = 16;
/// A reset was told: once, as the kernel does.
const TOLD: u32 = 32;
/// The peer was sent a bell: it may leave that in its socket, which the kernel takes for a loss.
pub(crate) const RUNG: u32 = 64;
/// Bytes that came by the socket were never read here.
pub(crate) const UNREAD: u32 = 128;
/// What was to be attached found no room at the kernel socket, which hasn't had any since.
const NO_SOCKET_ROOM: u32 = 256;

impl State {
    pub(crate) fn has(&self, facts: u32) -> bool {
        self.facts.load(Ordering::Acquire) & facts != 0
    }

    /// Notes facts; says which of them are news.
    pub(crate) fn note(&self, facts: u32) -> u32 {
        facts & !self.facts.fetch_or(facts, Ordering::AcqRel)
    }

    fn forget(&self, facts: u32) {
        self.facts.fetch_and(!facts, Ordering::AcqRel);
    }
}

/// The largest part of a write, or of a read, that the other side doesn't learn of before it is done: so that both
/// copy at the same time, and neither has to spin for longer than it may for the other's next.
pub(crate) const PIECE: usize = 16 * 1024;

/// What goes through a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bytes,
    /// Packets, each read as it was written.
    Records,
}

/// What a read takes of what it finds; `A` is what may be attached to it.
#[derive(Debug)]
pub(crate) enum Take<'a, A> {
    /// Nothing: the next read finds the same.
    Nothing,
    /// What is attached to the bytes is dropped.
    Bytes,
    All(&'a mut A),
}

/// The side that reads.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct ReadHalf<M> {
    memory: M,
    kind: Kind,
    pub(crate) side: Mutex<(Consumer, Spin, Pace)>,
}

impl<M: Memory> ReadHalf<M> {
    pub(crate) fn new(memory: M, kind: Kind) -> ReadHalf<M> {
        ReadHalf { memory, kind, side: Mutex::default() }
    }

    pub(crate) fn memory(&self) -> &M {
        &self.memory
    }

    /// Whether nothing waits to be read.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.side).0.is_empty(&self.memory).unwrap_or(true)
    }

    /// Reads some bytes, or none at the end. `was_unread` says whether the peer left without having read everything.
    pub(crate) fn read<W: World>(
        &self,
        world: &W,
        state: &State,
        limit: Limit,
        bytes: &mut [u8],
        mut what: Take<'_, W::Attached>,
        was_unread: impl Fn() -> bool,
    ) -> io::Result<usize> {
        if bytes.is_empty() && self.kind == Kind::Bytes {
            return Ok(0);
        }
        self.read_by(world, state, limit, was_unread, |consumer| self.take(world, consumer, bytes, &mut what))
    }

    /// Calls `take` until it has something, which is how much, or nothing comes any more.
    pub(crate) fn read_by(
        &self,
        world: &impl World,
        state: &State,
        limit: Limit,
        was_unread: impl Fn() -> bool,
        mut take: impl FnMut(&mut Consumer) -> Result<Option<usize>, Broken>,
    ) -> io::Result<usize> {
        let lane = self.memory.lane();
        let mut wait = Wait::new(limit);
        let is_ready = |seen| {
            lane.produced.position.load(Ordering::Acquire) != seen
                || lane.produced.end.load(Ordering::Acquire) != OPEN
                || self.is_shut(state)
                || state.has(DEAD | BROKEN)
        };
        loop {
            let mut side = lock(&self.side);
            let (consumer, spin, pace) = &mut *side;
            let seen = loop {
                let mut spent = Duration::ZERO;
                if wait.may_wait() && consumer.is_to_look() {
                    let writes = state.writes.load(Ordering::Relaxed);
                    spent = pace.keep(writes, consumer.seen(), &lane.produced.position);
                }
                if let Some(count) = self.try_read(world, state, consumer, &mut take, &was_unread)? {
                    return Ok(count);
                }
                let (seen, next) = (consumer.seen(), consumer.place(&self.memory));
                let has_come = || {
                    let is_ready = is_ready(seen);
                    if is_ready {
                        self.memory.fetch(next);
                    }
                    is_ready
                };
                let cores = (&self.memory.opposite().produced.core, &lane.produced.core);
                if !wait.may_wait() || !spin.spin(cores.0, cores.1, spent, has_come) {
                    break seen;
                }
            };
            drop(side);
            wait.pause(world, &lane.reader.waits, || is_ready(seen))?;
        }
    }

    /// Whether this end is shut for reading, perhaps by a process that was forked from this one.
    fn is_shut(&self, state: &State) -> bool {
        state.has(READ_SHUT) || self.memory.lane().reader.gone.load(Ordering::Acquire) != 0
    }

    /// Whether a read is worth a try now; if not, the peer is asked for a bell.
    pub(crate) fn is_ready(&self, world: &impl World, state: &State) -> bool {
        let lane = self.memory.lane();
        let is_ready = || {
            lane.produced.end.load(Ordering::Acquire) != OPEN
                || self.is_shut(state)
                || state.has(DEAD | BROKEN)
                || !lock(&self.side).0.is_empty(&self.memory).unwrap_or(false)
        };
        is_ready() || Wait::new(Limit::NONE).pause(world, &lane.reader.waits, is_ready).is_ok()
    }

    /// After so many bytes taken a writer that waits for room is looked for: a record needs room for all of it, of which
    /// only its writer knows how much that is.
    fn much(&self) -> usize {
        match self.kind {
            Kind::Records => 1,
            Kind::Bytes => self.memory.capacity() / 4,
        }
    }

    /// Reads what there is, after a read that got something.
    pub(crate) fn read_more(&self, world: &impl World, bytes: &mut [u8]) -> usize {
        let consumer = &mut lock(&self.side).0;
        // That ended where something was attached. A broken peer is for the next read to tell.
        let count = if consumer.has_passed() {
            0
        } else {
            self.take(world, consumer, bytes, &mut Take::Bytes).ok().flatten().unwrap_or(0)
        };
        if consumer.is_to_look_for_writer(self.much()) {
            wake(world, &self.memory.lane().writer.waits);
        }
        count
    }

    /// Reads what there is, if there is something: bytes in pieces.
    pub(crate) fn take<W: World>(
        &self,
        world: &W,
        consumer: &mut Consumer,
        bytes: &mut [u8],
        what: &mut Take<'_, W::Attached>,
    ) -> Result<Option<usize>, Broken> {
        let is_taken = !matches!(what, Take::Nothing);
        let mut done = 0;
        if self.kind == Kind::Records {
            if let Some(count) = consumer.read_record(&self.memory, bytes, !is_taken)? {
                return Ok(Some(count));
            }
        } else if is_taken {
            for piece in bytes.chunks_mut(PIECE) {
                let count = consumer.read(&self.memory, piece)?;
                done += count;
                if count < piece.len() {
                    break;
                }
            }
        } else {
            done = consumer.peek(&self.memory, bytes)?;
        }
        if consumer.is_held() && (done < bytes.len() || self.kind == Kind::Records) {
            return self.take_held(world, consumer, bytes, done, what);
        }
        Ok((done > 0).then_some(done))
    }

    /// Reads on where something is attached to bytes, as far as to the end of the first such.
    #[cold]
    fn take_held<W: World>(
        &self,
        world: &W,
        consumer: &mut Consumer,
        bytes: &mut [u8],
        mut done: usize,
        what: &mut Take<'_, W::Attached>,
    ) -> Result<Option<usize>, Broken> {
        let read = loop {
            let is_there = consumer.approach(|| world.next_mark())?;
            if matches!(what, Take::Nothing) {
                consumer.look_beyond();
                break match self.kind {
                    Kind::Records => consumer.read_record(&self.memory, bytes, true)?,
                    Kind::Bytes => Some(consumer.peek_known(&self.memory, bytes)).filter(|count| *count > 0),
                };
            }
            if is_there && (done < bytes.len() || self.kind == Kind::Records) {
                let mark = consumer.pass().ok_or(Broken)?;
                let into = if let Take::All(attached) = what { Some(&mut **attached) } else { None };
                if !world.take_mark(mark, into) {
                    return Err(Broken);
                }
            }
            if self.kind == Kind::Records {
                break consumer.read_record(&self.memory, bytes, false)?;
            }
            let count = consumer.read_known(&self.memory, &mut bytes[done..]);
            done += count;
            if count == 0 || is_there {
                break Some(done).filter(|done| *done > 0);
            }
        };
        consumer.halt();
        Ok(read)
    }

    /// What there is to say without waiting.
    fn try_read(
        &self,
        world: &impl World,
        state: &State,
        consumer: &mut Consumer,
        take: &mut impl FnMut(&mut Consumer) -> Result<Option<usize>, Broken>,
        was_unread: &impl Fn() -> bool,
    ) -> io::Result<Option<usize>> {
        if state.has(BROKEN) {
            return Err(reset());
        }
        let lane = self.memory.lane();
        // Looked at before the bytes: what comes before the end is there once the end is seen.
        let end = lane.produced.end.load(Ordering::Acquire);
        let is_dead = state.has(DEAD);
        consumer.begin();
        let Ok(count) = take(consumer) else {
            state.note(BROKEN);
            return Err(reset());
        };
        if count.is_some() {
            if consumer.is_to_look_for_writer(self.much()) {
                wake(world, &lane.writer.waits);
            }
            return Ok(count);
        }
        if end == OPEN && self.is_shut(state) {
            return Ok(Some(0));
        }
        if end == OPEN && !is_dead {
            return Ok(None);
        }
        if is_reset(end, state, was_unread) && state.note(TOLD) != 0 { Err(reset()) } else { Ok(Some(0)) }
    }

    /// The reset that a read would tell once it has read everything, if none has told it.
    pub(crate) fn take_error(
        &self,
        world: &impl World,
        state: &State,
        was_unread: impl Fn() -> bool,
    ) -> Option<io::Error> {
        world.glance();
        let end = self.memory.lane().produced.end.load(Ordering::Acquire);
        let is_news = || is_reset(end, state, was_unread) && state.note(TOLD) != 0;
        (state.has(BROKEN) || is_news()).then(reset)
    }
}

/// Whether the peer has left without having read everything. One that never accepted the connection has asked for no bell.
fn is_reset(end: u32, state: &State, was_unread: impl Fn() -> bool) -> bool {
    let is_cut_off = || state.has(CUT_OFF) && !state.has(RUNG);
    end == CUT || (end == OPEN && state.has(DEAD) && (is_cut_off() || was_unread()))
}

/// The side that writes.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct WriteHalf<M> {
    memory: M,
    kind: Kind,
    side: Mutex<Writing>,
}

type Writing = (Producer, Spin, Ways);

/// What became of a try to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    All,
    /// There was room for less in the ring.
    NoRoom,
    /// There was no room for what is attached at the kernel socket, and nothing in the ring by which the peer comes to it.
    NoSocketRoom,
}

impl Pushed {
    pub(crate) fn of(is_all: bool) -> Pushed {
        if is_all { Pushed::All } else { Pushed::NoRoom }
    }
}

impl<M: Memory> WriteHalf<M> {
    pub(crate) fn new(memory: M, kind: Kind) -> WriteHalf<M> {
        WriteHalf { memory, kind, side: Mutex::default() }
    }

    pub(crate) fn memory(&self) -> &M {
        &self.memory
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the peer has read everything, as the shared memory says. Without the lock: who writes in place may read
    /// meanwhile.
    pub(crate) fn is_drained(&self) -> bool {
        let lane = self.memory.lane();
        lane.consumed.position.load(Ordering::Acquire) == lane.produced.position.load(Ordering::Acquire)
    }

    /// Whether a write is worth a try now; if not, the peer is asked for a bell.
    pub(crate) fn is_ready(&self, world: &impl SocketRoom, state: &State) -> bool {
        let has_room =
            || has_socket_room(world, state) && lock(&self.side).0.has_room(&self.memory).unwrap_or(true);
        let is_ready = || self.check(state).is_err() || has_room();
        is_ready() || Wait::new(Limit::NONE).pause(world, &self.memory.lane().writer.waits, is_ready).is_ok()
    }

    /// Writes all bytes, or as many as there is room for where it may not wait or its time is over.
    pub(crate) fn write(
        &self,
        world: &impl SocketRoom,
        state: &State,
        limit: Limit,
        bytes: &[u8],
    ) -> io::Result<usize> {
        self.write_by(world, state, limit, |side, done| {
            self.push(world, state, side, &bytes[*done..], done).map(Pushed::of)
        })
    }

    /// The same with a mark of the first of them: `attach` sends what is attached to them, so many descriptors among it, if
    /// there is room for that.
    pub(crate) fn write_marked(
        &self,
        world: &impl SocketRoom,
        state: &State,
        limit: Limit,
        bytes: &[u8],
        descriptors: usize,
        attach: impl Fn(Mark) -> io::Result<bool>,
    ) -> io::Result<usize> {
        self.write_by(world, state, limit, |side, done| {
            if *done > 0 {
                return self.push(world, state, side, &bytes[*done..], done).map(Pushed::of);
            }
            let producer = &mut side.0;
            self.check(state)?;
            let whole = match self.kind {
                Kind::Bytes => bytes.len(),
                Kind::Records => record_len(bytes.len()),
            };
            let planned = producer.plan_mark(&self.memory, whole, descriptors);
            let planned = planned.map_err(|Broken| broken(state))?;
            let Some(mark) = planned else { return Ok(Pushed::NoRoom) };
            let len = (mark.end - mark.start) as usize;
            if len < whole && self.kind == Kind::Records {
                return Ok(Pushed::NoRoom);
            }
            if !attach(mark)? {
                if producer.has_marks() {
                    return Ok(Pushed::NoRoom);
                }
                // What lies there is nothing that the ring leads a consumer to, and the ring won't say when it is gone.
                state.note(NO_SOCKET_ROOM);
                return Ok(Pushed::NoSocketRoom);
            }
            state.forget(NO_SOCKET_ROOM);
            producer.announce_mark(&self.memory, mark, descriptors);
            self.push(world, state, side, &bytes[..len.min(bytes.len())], done)?;
            Ok(Pushed::of(*done == bytes.len()))
        })
    }

    /// Calls `push` until it has done all.
    pub(crate) fn write_by(
        &self,
        world: &impl SocketRoom,
        state: &State,
        limit: Limit,
        mut push: impl FnMut(&mut Writing, &mut usize) -> io::Result<Pushed>,
    ) -> io::Result<usize> {
        let lane = self.memory.lane();
        let mut wait = Wait::new(limit);
        let mut done = 0;
        world.glance();
        // Two threads that write at once may count one write together.
        state.writes.store(state.writes.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        loop {
            let mut side = lock(&self.side);
            let pushed = push(&mut side, &mut done);
            let (producer, spin, _) = &mut *side;
            match pushed {
                Ok(Pushed::All) => return Ok(done),
                Ok(_) if done > 0 && limit.nonblocking => return Ok(done),
                Err(_) if done > 0 => return Ok(done),
                Ok(Pushed::NoSocketRoom) => {
                    drop(side);
                    self.pause_for_socket(world, state, &mut wait)?;
                    continue;
                }
                Ok(Pushed::NoRoom) => {}
                Err(error) => return Err(error),
            }
            let seen = producer.seen();
            producer.note_full();
            let is_ready = || {
                lane.consumed.position.load(Ordering::Acquire) != seen
                    || lane.reader.gone.load(Ordering::Acquire) != 0
                    || state.has(WRITE_SHUT | DEAD | BROKEN)
            };
            if wait.may_wait()
                && spin.spin(
                    &lane.produced.core,
                    &self.memory.opposite().produced.core,
                    Duration::ZERO,
                    is_ready,
                )
            {
                continue;
            }
            drop(side);
            if let Err(error) = wait.pause(world, &lane.writer.waits, is_ready) {
                return if done > 0 { Ok(done) } else { Err(error) };
            }
        }
    }

    /// Waits for room at the kernel socket, in turns, as there nobody is woken when this half is shut.
    fn pause_for_socket(&self, world: &impl SocketRoom, state: &State, wait: &mut Wait) -> io::Result<()> {
        if !wait.may_wait() {
            // The descriptor has an event for that as well, the kernel's own; of a half that is shut a bell tells.
            return wait.pause(world, &self.memory.lane().writer.waits, || self.check(state).is_err());
        }
        let left = wait.left()?;
        world.await_socket_room(left.map_or(TURN, |left| left.min(TURN)));
        world.glance();
        Ok(())
    }

    /// Writes what there is room for, bytes in pieces, and counts it; says whether that was all.
    fn push(
        &self,
        world: &impl World,
        state: &State,
        (producer, spin, ways): &mut Writing,
        bytes: &[u8],
        done: &mut usize,
    ) -> io::Result<bool> {
        let lane = self.memory.lane();
        self.check(state)?;
        let broken = |Broken| broken(state);
        if self.kind == Kind::Records {
            let is_written = producer.write_record(&self.memory, bytes).map_err(broken)?;
            if is_written {
                *done += bytes.len();
                wake(world, &lane.reader.waits);
                if bytes.len() < LONG && !spin.is_core_shared() {
                    producer.claim(&self.memory);
                }
            }
            return Ok(is_written);
        }
        // A peer on the same core does nothing meanwhile, and has the same caches.
        let is_shared = spin.is_core_shared();
        let most = if is_shared { usize::MAX } else { PIECE.min(self.memory.capacity() / 4) };
        for piece in bytes.chunks(most) {
            if is_shared {
                producer.turn_to(&self.memory, Way::Usual, true);
            } else if piece.len() >= LONG {
                self.choose_way(producer, ways);
            }
            let count = producer.write(&self.memory, piece).map_err(broken)?;
            *done += count;
            if count > 0 {
                wake(world, &lane.reader.waits);
            }
            if count >= LONG && !is_shared {
                ways.count(count, Instant::now);
            } else if !is_shared {
                producer.claim(&self.memory);
            }
            if count < piece.len() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How the next long copy goes.
    fn choose_way(&self, producer: &mut Producer, ways: &mut Ways) {
        if ways.way() == Way::Wide && !self.memory.widen() {
            ways.skip();
        }
        producer.turn_to(&self.memory, ways.way(), ways.is_trial());
    }

    /// Whether anybody may write here, and anybody reads it.
    pub(crate) fn check(&self, state: &State) -> io::Result<()> {
        if state.has(BROKEN) {
            return Err(reset());
        }
        let lane = self.memory.lane();
        let is_gone = lane.reader.gone.load(Ordering::Acquire) != 0;
        // A process that was forked may have shut it.
        let is_shut = state.has(WRITE_SHUT) || lane.produced.end.load(Ordering::Acquire) != OPEN;
        if is_gone || is_shut || state.has(DEAD) {
            Err(io::Error::from_raw_os_error(libc::EPIPE))
        } else {
            Ok(())
        }
    }
}

/// Whether nothing that is to be attached waits for room at the kernel socket. Of that the descriptor tells until it is there.
fn has_socket_room(world: &impl SocketRoom, state: &State) -> bool {
    if state.has(NO_SOCKET_ROOM) && world.await_socket_room(Duration::ZERO) {
        state.forget(NO_SOCKET_ROOM);
    }
    !state.has(NO_SOCKET_ROOM)
}

/// Notes that the peer broke the rules.
pub(crate) fn broken(state: &State) -> io::Error {
    state.note(BROKEN);
    reset()
}

pub(crate) fn reset() -> io::Error {
    io::Error::from_raw_os_error(libc::ECONNRESET)
}
