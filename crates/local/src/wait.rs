//! Sleeping and waking across processes without a lost wake-up.
//!
//! Who waits says how in a word of the lane ([`SLEEP`], [`BELL`], or both where several threads wait), then looks
//! once more, then sleeps, if the word is what it was. Who has published something looks at the word, and wakes only those who said so:
//! nothing goes to a peer that is awake. Between one's store and one's look at what the other stores stands a
//! sequentially consistent fence on both sides, so at least one of the two sees the other's.
//!
//! A thread spins for up to 2 µs first, where that has paid lately, or lets its peer have the core that they share; then it
//! sleeps on the word as a futex, in turns of [`TURN`], between which it looks whether the peer is alive; a connection on which nothing came for a turn is
//! idle, and its thread waits at the connection's kernel socket, which brings bells and the peer's end alike.

use crate::ring::Mark;
use crate::sync::atomic::{AtomicU32, Ordering, fence};
use crate::sync::{SPINS, core};
use std::io;
use std::time::{Duration, Instant};

/// Somebody sleeps on the word.
pub(crate) const SLEEP: u32 = 1;
/// Somebody wants a byte on the kernel socket.
pub(crate) const BELL: u32 = 2;
/// Added to the word whenever those who wait are to look again: nobody who saw the word before falls asleep on it, also
/// where somebody else has said since that he waits.
pub(crate) const NUDGE: u32 = 4;

/// The longest sleep without a look whether the peer lives.
pub(crate) const TURN: Duration = Duration::from_millis(40);

/// How long a thread spins, at most.
const SPIN: Duration = Duration::from_micros(2);

/// How often somebody who spins looks before the clock is asked.
const LOOKS: u32 = 16;

/// What waiting needs of the machine.
pub(crate) trait World {
    /// What can be attached to bytes.
    type Attached;
    /// Where the next mark of the peer's is, which stays the next.
    fn next_mark(&self) -> Option<Mark>;
    /// Takes what is attached to this mark's bytes, the next, or drops it; says whether it was there.
    fn take_mark(&self, mark: Mark, into: Option<&mut Self::Attached>) -> bool;
    /// Sleeps while the word has this value, at most so long; says whether the time ran out.
    fn sleep(&self, word: &AtomicU32, value: u32, limit: Duration) -> bool;
    /// Ends the sleep of all who sleep on the word.
    fn wake(&self, word: &AtomicU32);
    /// Sends the peer a byte on the kernel socket.
    fn ring(&self);
    /// Takes the bytes that came, and sees whether the peer is gone.
    fn drain(&self);
    /// Waits at the kernel socket, if no other thread of this end does; says whether it did.
    fn listen(&self, limit: Option<Duration>, is_ready: &dyn Fn() -> bool, word: &AtomicU32) -> bool;
    /// Sees whether the peer is gone, and takes nothing.
    fn glance(&self);
}

/// The same for who announces what is attached to bytes, which goes by the kernel socket.
pub(crate) trait SocketRoom: World {
    /// Waits at most so long until the kernel socket has room, or nothing can be sent there any more; says whether that is so.
    ///
    /// The kernel says so itself, also to who polls the socket: room comes when the peer receives what lies there.
    fn await_socket_room(&self, within: Duration) -> bool;
}

/// Says in the word that somebody waits in this way, before a last look; the word's value now.
pub(crate) fn announce(word: &AtomicU32, how: u32) -> u32 {
    let value = word.fetch_or(how, Ordering::SeqCst) | how;
    fence(Ordering::SeqCst);
    value
}

/// Wakes who waits at the word, after something was published.
pub(crate) fn wake(world: &impl World, word: &AtomicU32) {
    fence(Ordering::SeqCst);
    if word.load(Ordering::Relaxed) & (SLEEP | BELL) == 0 {
        return;
    }
    let how = word.fetch_and(!(SLEEP | BELL), Ordering::SeqCst);
    word.fetch_add(NUDGE, Ordering::SeqCst);
    if how & SLEEP != 0 {
        world.wake(word);
    }
    if how & BELL != 0 {
        world.ring();
    }
}

/// How long a call may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) nonblocking: bool,
    pub(crate) timeout: Option<Duration>,
}

impl Limit {
    /// Not at all.
    pub(crate) const NONE: Limit = Limit { nonblocking: true, timeout: None };
}

/// The waiting of one call.
#[derive(Debug)]
pub(crate) struct Wait {
    limit: Limit,
    deadline: Option<Instant>,
    is_idle: bool,
}

impl Wait {
    pub(crate) fn new(limit: Limit) -> Wait {
        Wait { limit, deadline: None, is_idle: false }
    }

    /// Whether the call may wait at all.
    pub(crate) fn may_wait(&self) -> bool {
        !self.limit.nonblocking
    }

    /// Waits until `is_ready`, or for a while: the caller looks again. Fails with `WouldBlock` when the time is
    /// over, as the kernel's sockets do.
    pub(crate) fn pause(
        &mut self,
        world: &impl World,
        word: &AtomicU32,
        is_ready: impl Fn() -> bool,
    ) -> io::Result<()> {
        if self.limit.nonblocking {
            // A bell that rings from here on is for whoever polls the socket.
            world.drain();
            announce(word, BELL);
            return if is_ready() { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EAGAIN)) };
        }
        let left = self.left()?;
        if self.is_idle && world.listen(left, &is_ready, word) {
            return Ok(());
        }
        let value = announce(word, SLEEP);
        if !is_ready() && world.sleep(word, value, left.map_or(TURN, |left| left.min(TURN))) {
            world.glance();
            self.is_idle = true;
        }
        Ok(())
    }

    /// What is left of the time.
    pub(crate) fn left(&mut self) -> io::Result<Option<Duration>> {
        let Some(timeout) = self.limit.timeout else { return Ok(None) };
        let now = Instant::now();
        let deadline = *self.deadline.get_or_insert_with(|| now.checked_add(timeout).unwrap_or(now + YEAR));
        let left = deadline.saturating_duration_since(now);
        if left.is_zero() { Err(io::Error::from_raw_os_error(libc::EAGAIN)) } else { Ok(Some(left)) }
    }
}

const YEAR: Duration = Duration::from_hours(24 * 365);

/// What a thread does for a while before it sleeps, where it has paid lately: it spins, as its peer may be awake on
/// another core; or, where the peer was last seen on this core, it gives way once, as going to sleep and being woken cost more
/// than that.
#[derive(Debug, Default)]
pub(crate) struct Spin {
    spinning: Luck,
    yielding: Luck,
    is_core_shared: bool,
    /// Waits until it is looked again whether both are on one core.
    until_look: u32,
    /// Times in a row that giving way was to somebody else than the peer.
    lates: u32,
}

impl Spin {
    /// Who gave way for so long did so to somebody else than the peer: for this long in any case, and for that if the peer
    /// has done nothing.
    const LATE: (Duration, Duration) = (Duration::from_micros(500), Duration::from_micros(20));
    /// Waits between two looks at the cores.
    const LOOK: u32 = 8;
    /// So often it isn't tried after that, and twice as often each time it happens again: a sleeper that is woken comes
    /// before whoever only computes, one that gave way comes after.
    const REST: u32 = 1024;

    /// Whether the peer is on the same core, as far as is known.
    pub(crate) fn is_core_shared(&self) -> bool {
        self.is_core_shared
    }

    /// Waits for a while, of which so much is over; says whether `is_ready` came true. Both ends say in their words on
    /// which core they wait.
    pub(crate) fn spin(
        &mut self,
        own: &AtomicU32,
        peers: &AtomicU32,
        spent: Duration,
        is_ready: impl Fn() -> bool,
    ) -> bool {
        if !SPINS {
            return false;
        }
        if self.is_core_shared || self.until_look == 0 {
            self.look(own, peers);
        }
        self.until_look = self.until_look.saturating_sub(1);
        if !self.is_core_shared {
            return self.spinning.is_to_try()
                && self.spinning.note(spin(SPIN.saturating_sub(spent), is_ready));
        }
        if !self.yielding.is_to_try() {
            return false;
        }
        let start = Instant::now();
        std::thread::yield_now();
        let (spent, is_hit) = (start.elapsed(), self.yielding.note(is_ready()));
        if spent > Spin::LATE.0 || (!is_hit && spent > Spin::LATE.1) {
            self.lates = (self.lates + 1).min(16);
            self.yielding.rest = Spin::REST << self.lates;
        } else if is_hit {
            self.lates = 0;
        }
        is_hit
    }

    /// Says on which core this thread is, and looks where the peer was.
    fn look(&mut self, own: &AtomicU32, peers: &AtomicU32) {
        let core = core();
        if own.load(Ordering::Relaxed) != core {
            own.store(core, Ordering::Relaxed);
        }
        self.is_core_shared = core != 0 && peers.load(Ordering::Relaxed) == core;
        self.until_look = Spin::LOOK;
    }
}

/// Spins for so long at most.
fn spin(limit: Duration, is_ready: impl Fn() -> bool) -> bool {
    let mut start = None;
    loop {
        for _ in 0..LOOKS {
            if is_ready() {
                return true;
            }
            std::hint::spin_loop();
        }
        let now = Instant::now();
        if now.duration_since(*start.get_or_insert(now)) >= limit {
            return false;
        }
    }
}

/// Whether something pays, as learnt from the last times.
#[derive(Debug, Default)]
struct Luck {
    /// Times in a row that it was for nothing.
    misses: u32,
    /// So often it isn't tried.
    rest: u32,
}

impl Luck {
    /// After so many misses it is tried once in [`Luck::RETRY`] times only.
    const PATIENCE: u32 = 8;
    const RETRY: u32 = 8;

    fn is_to_try(&mut self) -> bool {
        let is_resting = self.rest > 0;
        self.rest = self.rest.saturating_sub(1);
        !is_resting
    }

    fn note(&mut self, is_hit: bool) -> bool {
        self.misses = if is_hit { 0 } else { self.misses.saturating_add(1) };
        if self.misses >= Luck::PATIENCE {
            self.rest = Luck::RETRY - 1;
        }
        is_hit
    }
}
