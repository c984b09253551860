//! Who waits for which socket: the one waiting mechanism, under async tasks and parked threads alike.
//!
//! A waiter stores its waker in the same critical section in which the stack answered
//! [`WouldBlock`](sockeye_stack::Error::WouldBlock), so no event can pass between the two. Wakers are
//! collected under the host's lock and called without it.

use crate::lane::Lane;
use crate::poller::Watched;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};
use sockeye_stack::{Readiness, SocketId, Stack};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, PoisonError};
use std::task::Waker;

/// What a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Data, urgent data, end of file, a connection to accept, or an error.
    Read,
    /// Room, an opened connection, or an error.
    Write,
}

impl Interest {
    /// The readiness that ends the wait.
    const fn wakes_on(self) -> Readiness {
        match self {
            Interest::Read => Readiness::READABLE
                .union(Readiness::PRIORITY)
                .union(Readiness::READ_CLOSED)
                .union(Readiness::ERROR),
            Interest::Write => Readiness::WRITABLE.union(Readiness::WRITE_CLOSED).union(Readiness::ERROR),
        }
    }

    fn is_met_by(self, readiness: Readiness) -> bool {
        readiness.intersects(self.wakes_on())
    }
}

/// What was last seen of a socket, for who looks without its host's lock. It may be out of date: only a call can tell.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Free bytes of the send buffer.
    send_space: AtomicUsize,
    /// There was nothing left to read, and nothing has come since.
    is_drained: AtomicBool,
    /// The lane that leads here.
    lane: Mutex<Option<Arc<Lane>>>,
    /// There is one.
    has_lane: AtomicBool,
}

impl Seen {
    /// Free bytes of the send buffer. Acknowledgements free more without telling anybody.
    pub(crate) fn send_space(&self) -> usize {
        self.send_space.load(Ordering::Relaxed)
    }

    /// Whether who reads would find nothing.
    pub(crate) fn is_drained(&self) -> bool {
        self.is_drained.load(Ordering::Acquire)
            && self.with_lane(|lane| Some(lane.is_drained())).unwrap_or(true)
    }

    /// Something has come.
    pub(crate) fn is_filled(&self) {
        self.is_drained.store(false, Ordering::Release);
    }

    /// Takes something from the lane that leads here, if there is one.
    #[inline]
    pub(crate) fn with_lane<R>(&self, take: impl FnOnce(&Arc<Lane>) -> Option<R>) -> Option<R> {
        if !self.has_lane.load(Ordering::Acquire) {
            return None;
        }
        self.lock_lane().as_ref().and_then(take)
    }

    /// Notes the lane that leads here from now on.
    pub(crate) fn set_lane(&self, lane: Option<Arc<Lane>>) {
        self.has_lane.store(lane.is_some(), Ordering::Release);
        *self.lock_lane() = lane;
    }

    fn lock_lane(&self) -> MutexGuard<'_, Option<Arc<Lane>>> {
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a call in this direction has left. To be called in its critical section.
    pub(crate) fn note(&self, stack: &Stack, id: SocketId, interest: Interest) {
        match interest {
            Interest::Read => {
                let is_drained = stack.recv_queued(id) == 0 && !interest.is_met_by(stack.readiness(id));
                self.is_drained.store(is_drained, Ordering::Release);
            }
            Interest::Write => self.send_space.store(stack.send_space(id), Ordering::Relaxed),
        }
    }
}

/// Whom to wake, and where that is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter<'a> {
    waker: &'a Waker,
    key: Key,
    /// It has waited long enough: this is its last try.
    leaves: bool,
    /// Nothing can be stored of it yet.
    is_new: bool,
}

/// Whose waker it is. A later waker of the same key takes the place of the one before, so what is kept
/// for a socket is bounded by who waits for it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "for what doesn't wait with a thread"))]
enum Key {
    /// A thread, known by its waker, which it has for life.
    Thread,
    /// A thread that waits for its turn: of these an event wakes one, whose next call either takes something, and
    /// [passes on](Waiters::pass_on) what is left, or finds nothing. That is safe since a thread that is woken always
    /// makes that call. A future might not be polled for long, and those who wait behind it would wait for that.
    InTurn,
    /// Whoever polled this direction last without a future of its own, as tokio's `poll_` methods.
    Latest,
    /// A [`Place`], by its address. Is the waker known to be stored already?
    Place(usize, bool),
}

impl<'a> Waiter<'a> {
    /// A thread.
    pub(crate) const fn thread(waker: &'a Waker) -> Waiter<'a> {
        Waiter { waker, key: Key::Thread, leaves: false, is_new: false }
    }

    /// If it is a thread, it waits for its turn, to take one of what comes one by one: a connection, a datagram.
    pub(crate) fn in_turn(self) -> Waiter<'a> {
        let key = if self.key == Key::Thread { Key::InTurn } else { self.key };
        Waiter { key, ..self }
    }

    /// It is its first try.
    pub(crate) const fn beginning(self) -> Waiter<'a> {
        Waiter { is_new: true, ..self }
    }

    /// It doesn't wait any longer if there is nothing.
    pub(crate) const fn leaving(self) -> Waiter<'a> {
        Waiter { leaves: true, ..self }
    }

    /// Whether it stays if there is nothing.
    pub(crate) const fn stays(&self) -> bool {
        !self.leaves
    }

    /// The task that polls one direction of a socket; an earlier one is no longer woken.
    #[cfg(feature = "tokio")]
    pub(crate) const fn latest(waker: &'a Waker) -> Waiter<'a> {
        Waiter { waker, key: Key::Latest, leaves: false, is_new: false }
    }

    /// A future, which has pinned its place at `address` and takes its waker back when it is dropped.
    #[cfg(feature = "tokio")]
    pub(crate) const fn place(waker: &'a Waker, address: usize, is_stored: bool) -> Waiter<'a> {
        Waiter { waker, key: Key::Place(address, is_stored), leaves: false, is_new: false }
    }

    /// Whether it has to be [taken back](Waiters::take_back) when there is nothing to wait for any more.
    pub(crate) const fn is_stored(&self) -> bool {
        // A thread may have been woken for something else and still be stored: nobody must think that it has its turn
        // when it is gone.
        !self.is_new && (self.leaves || matches!(self.key, Key::InTurn | Key::Place(_, true)))
    }

    /// The waker itself.
    pub(crate) const fn waker(&self) -> &'a Waker {
        self.waker
    }

    fn is_that_of(&self, (key, waker): &(Key, Waker)) -> bool {
        match (self.key, *key) {
            (Key::Thread, Key::Thread) | (Key::InTurn, Key::InTurn) => self.waker.will_wake(waker),
            (Key::Place(this, _), Key::Place(that, _)) => this == that,
            (this, that) => this == that,
        }
    }
}

/// The sockets of one host that have a handle, and who waits for them. Guarded by the host's lock.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    sockets: HashMap<SocketId, Waiting, BuildHasherDefault<IdHasher>>,
}

/// Spreads the ids of sockets over a table. They are the stack's own choice, and nobody's who wants them to collide.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, part: u32) {
        self.write_u64(u64::from(part));
    }

    fn write_u64(&mut self, part: u64) {
        // Fibonacci hashing, with the upper bits, which depend on all, brought down.
        let product = (self.0 ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product.rotate_left(26);
    }
}

#[derive(Debug)]
struct Waiting {
    readers: Vec<(Key, Waker)>,
    writers: Vec<(Key, Waker)>,
    seen: Arc<Seen>,
    watches: Vec<Watched>,
}

impl Waiting {
    fn list(&mut self, interest: Interest) -> &mut Vec<(Key, Waker)> {
        match interest {
            Interest::Read => &mut self.readers,
            Interest::Write => &mut self.writers,
        }
    }
}

impl Waiting {
    /// Moves whom an event wakes to `wakers`: of those who wait for their turn the first, and all others.
    fn wake(&mut self, interest: Interest, wakers: &mut Vec<Waker>) {
        if interest == Interest::Read {
            self.wake_next(wakers);
        }
        let list = self.list(interest);
        wakers.extend(list.extract_if(.., |(key, _)| *key != Key::InTurn).map(|(_, waker)| waker));
    }

    fn wake_next(&mut self, wakers: &mut Vec<Waker>) {
        if let Some(next) = self.readers.iter().position(|(key, _)| *key == Key::InTurn) {
            wakers.push(self.readers.remove(next).1);
        }
    }
}

impl Waiters {
    /// Whether no socket has a handle.
    pub(crate) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// How many wakers are kept.
    #[cfg(test)]
    pub(crate) fn wakers(&self) -> usize {
        self.sockets.values().map(|waiting| waiting.readers.len() + waiting.writers.len()).sum()
    }

    /// Takes a socket in.
    pub(crate) fn register(&mut self, id: SocketId) -> Arc<Seen> {
        let seen = Arc::new(Seen::default());
        let waiting = Waiting {
            readers: Vec::new(),
            writers: Vec::new(),
            seen: Arc::clone(&seen),
            watches: Vec::new(),
        };
        self.sockets.insert(id, waiting);
        seen
    }

    /// Forgets a socket; whoever waited for it is to be woken.
    pub(crate) fn forget(&mut self, id: SocketId, wakers: &mut Vec<Waker>) {
        if let Some(Waiting { readers, writers, seen: _, watches: _ }) = self.sockets.remove(&id) {
            wakers.extend(readers.into_iter().chain(writers).map(|(_, waker)| waker));
        }
    }

    /// Moves all who wait to `wakers`, in the order of their sockets.
    pub(crate) fn wake_all(&mut self, wakers: &mut Vec<Waker>) {
        let mut sockets: Vec<_> = self.sockets.iter_mut().collect();
        sockets.sort_unstable_by_key(|(id, _)| id.as_u64());
        for (_, Waiting { readers, writers, seen, watches }) in sockets {
            seen.is_drained.store(false, Ordering::Release);
            wakers.extend(readers.drain(..).chain(writers.drain(..)).map(|(_, waker)| waker));
            wakers.extend(watches.iter().filter_map(|watched| watched.on_event(Watched::GONE)));
        }
    }

    /// Stores whom to wake when the socket gains what `interest` says. What is given back is a waker whose place
    /// this one takes: as it may be the last handle to a task with sockets, it is to be dropped without the lock.
    #[must_use]
    pub(crate) fn wait(&mut self, id: SocketId, interest: Interest, waiter: Waiter<'_>) -> Option<Waker> {
        let list = self.sockets.get_mut(&id)?.list(interest);
        match list.iter_mut().find(|stored| waiter.is_that_of(stored)) {
            Some((_, waker)) if waker.will_wake(waiter.waker) => None,
            Some((_, waker)) => Some(std::mem::replace(waker, waiter.waker.clone())),
            None => {
                // Nearly always there is one: a vector would begin with room for four.
                list.reserve_exact(usize::from(list.is_empty()));
                list.push((waiter.key, waiter.waker.clone()));
                None
            }
        }
    }

    /// Forgets who waited for a socket and doesn't any more. As above, the waker is to be dropped without the lock.
    #[must_use]
    pub(crate) fn take_back(
        &mut self,
        id: SocketId,
        interest: Interest,
        waiter: Waiter<'_>,
    ) -> Option<Waker> {
        let list = self.sockets.get_mut(&id)?.list(interest);
        let index = list.iter().position(|stored| waiter.is_that_of(stored))?;
        Some(list.remove(index).1)
    }

    /// Moves those whom an event of the socket concerns to `wakers`. False when the socket has no handle.
    pub(crate) fn on_event(
        &mut self,
        id: SocketId,
        readiness: Readiness,
        send_space: usize,
        wakers: &mut Vec<Waker>,
    ) -> bool {
        let Some(waiting) = self.sockets.get_mut(&id) else { return false };
        waiting.seen.send_space.store(send_space, Ordering::Relaxed);
        for interest in [Interest::Read, Interest::Write] {
            if interest.is_met_by(readiness) {
                waiting.wake(interest, wakers);
            }
        }
        if Interest::Read.is_met_by(readiness) {
            waiting.seen.is_drained.store(false, Ordering::Release);
        }
        wakers.extend(waiting.watches.iter().filter_map(|watched| watched.on_event(readiness)));
        true
    }

    /// Wakes the next who waits for its turn, if the socket is still ready after somebody had one.
    pub(crate) fn pass_on(&mut self, id: SocketId, readiness: Readiness, wakers: &mut Vec<Waker>) {
        if let Some(waiting) = self.sockets.get_mut(&id)
            && readiness.intersects(Interest::Read.wakes_on())
        {
            waiting.wake_next(wakers);
        }
    }

    /// What was seen of a socket that no poller watches, and whether somebody waits to read from it.
    pub(crate) fn unwatched(&self, id: SocketId) -> Option<(Arc<Seen>, bool)> {
        let waiting = self.sockets.get(&id)?;
        let is_watched = waiting.watches.iter().any(Watched::has_poller);
        (!is_watched).then(|| (Arc::clone(&waiting.seen), !waiting.readers.is_empty()))
    }

    /// Who watches a socket; none when it has no handle.
    pub(crate) fn watches(&mut self, id: SocketId) -> Option<&mut Vec<Watched>> {
        Some(&mut self.sockets.get_mut(&id)?.watches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn events_wake_whom_they_concern_once() {
        let (id, other) = (SocketId::from_u64(1), SocketId::from_u64(2));
        let (mut waiters, mut woken) = (Waiters::default(), Vec::new());
        let seen = waiters.register(id);
        let reader = Waker::from(Arc::new(Count::default()));
        let writer = Waker::from(Arc::new(Count::default()));
        assert!(waiters.wait(id, Interest::Read, Waiter::thread(&reader)).is_none());
        assert!(waiters.wait(id, Interest::Read, Waiter::thread(&reader)).is_none());
        assert!(waiters.wait(id, Interest::Write, Waiter::thread(&writer)).is_none());
        assert!(!waiters.on_event(other, Readiness::READABLE, 0, &mut woken));
        assert!(waiters.on_event(id, Readiness::READABLE, 7, &mut woken));
        assert_eq!(seen.send_space(), 7);
        assert!(woken.len() == 1 && woken[0].will_wake(&reader));
        assert!(waiters.on_event(id, Readiness::READABLE, 7, &mut woken));
        assert_eq!(woken.len(), 1, "a waker is stored for one event");
        waiters.on_event(id, Readiness::ERROR, 0, &mut woken);
        assert!(woken.len() == 2 && woken[1].will_wake(&writer), "an error concerns all");
    }

    #[test]
    fn of_those_who_wait_for_their_turn_an_event_wakes_one() {
        let id = SocketId::from_u64(1);
        let (mut waiters, mut woken) = (Waiters::default(), Vec::new());
        waiters.register(id);
        let [first, second, third] = [(); 3].map(|()| Waker::from(Arc::new(Count::default())));
        for waker in [&first, &second, &third] {
            assert!(waiters.wait(id, Interest::Read, Waiter::thread(waker).in_turn()).is_none());
        }
        assert!(waiters.wait(id, Interest::Read, Waiter::thread(&first)).is_none(), "for something else");
        waiters.on_event(id, Readiness::READABLE, 0, &mut woken);
        assert!(woken.len() == 2 && woken.iter().all(|waker| waker.will_wake(&first)));
        waiters.pass_on(id, Readiness::EMPTY, &mut woken);
        assert_eq!(woken.len(), 2, "there is nothing left");
        let leaving = Waiter::thread(&second).in_turn().leaving();
        assert!(leaving.is_stored() && !leaving.stays());
        assert!(waiters.take_back(id, Interest::Read, leaving).is_some_and(|waker| waker.will_wake(&second)));
        waiters.pass_on(id, Readiness::READABLE, &mut woken);
        assert!(woken.len() == 3 && woken[2].will_wake(&third), "who has left has no turn");
        assert_eq!(waiters.wakers(), 0);
    }

    #[test]
    fn a_forgotten_socket_wakes_its_waiters() {
        let id = SocketId::from_u64(1);
        let (mut waiters, mut woken) = (Waiters::default(), Vec::new());
        waiters.register(id);
        assert!(waiters.wait(id, Interest::Write, Waiter::thread(Waker::noop())).is_none());
        waiters.forget(id, &mut woken);
        assert_eq!(woken.len(), 1);
        assert!(waiters.is_empty());
        assert!(waiters.wait(id, Interest::Write, Waiter::thread(Waker::noop())).is_none());
        waiters.forget(id, &mut woken);
        assert_eq!(woken.len(), 1);
    }
}
