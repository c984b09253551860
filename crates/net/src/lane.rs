//! Lanes: a short way for plain datagrams from one socket to another, beside both stacks and the wire.
//!
//! A sender that sends datagram after datagram to one receiver, over links without conditions, would do the same work for
//! each. A lane is opened when that work was done and the two stacks and the wire have nothing on the way; from then on the
//! sender puts the bytes in a queue, and the receiver's reader takes all that is there in one go. Nobody is told of it: a reader
//! that is about to wait says so here, and the next datagram then goes to the receiver's stack, which wakes who waits.
//!
//! What keeps it the same as the long way: whoever might see or change anything of it finds no lane. A host's lock, taken by
//! [`HostCore::lock`](crate::host::HostCore::lock), closes all lanes of the host, after which what was in them is in the receiver's
//! stack, and is counted there; so does whoever changes the wire. Only sending and receiving datagrams, and moving packets, take the
//! lock [beside lanes](crate::host::HostCore::lock_beside_lanes), and each says what it does to them. The receiver's limit holds:
//! what finds it reached is dropped and counted.
//!
//! What one host sends is read in the order in which it was sent. Of what two hosts send to a socket, one by a lane and one by the
//! wire, either may come first while another thread moves the packets of one of them or of the receiver, even when one thread
//! sends both: as between any two hosts whose packets wait at different places.
//!
//! Locks are taken in this order: the host's or the wire's, [`Seen`]'s, the outlet, the inlet.

mod host;

pub(crate) use host::{LaneSender, Lanes, NoLane, Touch};

use crate::clock::Clock;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, OnceLock};
use crate::waiters::Seen;
use sockeye_packet::{Chunk, Instant, NicId};
use sockeye_stack::{Datagram, PlainWay, SocketId, Stack};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};

/// A lane.
#[derive(Debug)]
pub(crate) struct Lane {
    way: PlainWay,
    /// The network's, for when what came by it comes to the stack.
    clock: Clock,
    /// Where it leads; none until it is opened.
    receiver: OnceLock<Receiver>,
    inlet: Apart<Mutex<Inlet>>,
    outlet: Apart<Mutex<Outlet>>,
    /// Something waits in the inlet.
    is_filled: Apart<AtomicBool>,
    /// What was charged of what has left the lane; who holds the outlet writes it.
    released: Apart<AtomicU64>,
    /// What waits for the reader in the stack costs.
    queued: AtomicUsize,
    /// Something may wait in the receiver's stack that came before: then the outlet is empty. The receiver's host writes it,
    /// with the outlet held.
    is_behind: AtomicBool,
    /// Its stage is [`Stage::Closed`].
    is_closed: AtomicBool,
}

/// Most bytes that the queue of a lane keeps room for when its reader has found nothing for long.
const KEPT_BYTES: usize = 4096;

/// Something on cache lines of its own: the sender's and the receiver's processors don't take them from each other.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) id: SocketId,
    /// Its host's number.
    pub(crate) host: u32,
    /// The interface that it comes in by.
    pub(crate) nic: NicId,
    pub(crate) seen: Arc<Seen>,
    /// What may be charged.
    pub(crate) limit: usize,
    /// What is set aside of the host's memory: as the last datagram may go over the limit, so much more.
    pub(crate) memory: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    New,
    Open,
    Closed,
}

/// The sender's end.
#[derive(Debug, Default)]
struct Inlet {
    stage: Stage,
    /// Somebody waits for the receiver.
    is_awaited: bool,
    queue: Queue,
    /// The receiver's limit.
    limit: usize,
    /// What was charged, of all that has come.
    charged: u64,
    /// As last seen: what was charged of what has left, and what waits in the stack.
    released: u64,
    queued: usize,
    /// Datagrams that came, and those of them that there was no room for.
    sent: u64,
    dropped: u64,
    /// Of those that came: how many the sender's stack, the receiver's, and the wire know of.
    known: [u64; 3],
    /// Drops that the receiver's stack knows of.
    dropped_known: u64,
}

/// Who counts datagrams.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Counted {
    Sender,
    Receiver,
    Wire,
}

/// The reader's end.
#[derive(Debug, Default)]
struct Outlet {
    queue: Queue,
    /// The next of it to be read.
    next: usize,
    /// Where that begins.
    at: usize,
    /// What was charged of what has left.
    released: u64,
    /// Datagrams that were read here, and that the stack doesn't know of.
    read: u64,
}

/// Datagrams one after the other.
#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    lens: Vec<u32>,
}

impl Queue {
    fn clear(&mut self) {
        self.bytes.clear();
        self.lens.clear();
    }

    /// An empty queue gives most of its memory back, or half of it when its reader doesn't wait and soon asks again: a steady
    /// flow never comes here.
    fn shrink(&mut self, waits: bool) {
        let left = |capacity: usize, kept: usize| if waits { kept } else { kept.max(capacity / 2) };
        self.bytes.shrink_to(left(self.bytes.capacity(), KEPT_BYTES));
        self.lens.shrink_to(left(self.lens.capacity(), KEPT_BYTES / 64));
    }
}

/// What became of a datagram that was offered to a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    Taken,
    /// It is taken, and somebody [is to be told](crate::driver::Core::announce).
    Awaited,
    /// It is to go the long way.
    Refused,
    /// As all that come after it: the lane is closed, after it has taken so many.
    Over(u64),
}

fn cost(len: usize) -> u64 {
    (len + Stack::PLAIN_COST) as u64
}

/// The sender.
impl Lane {
    /// A lane that isn't open yet.
    pub(crate) fn new(way: PlainWay, clock: Clock) -> Lane {
        Lane {
            way,
            clock,
            receiver: OnceLock::new(),
            inlet: Apart::default(),
            outlet: Apart::default(),
            is_filled: Apart::default(),
            released: Apart::default(),
            queued: AtomicUsize::new(0),
            is_behind: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn way(&self) -> &PlainWay {
        &self.way
    }

    /// Sends a datagram.
    pub(crate) fn offer(&self, data: &[u8]) -> Offer {
        let mut inlet = self.lock_inlet();
        if inlet.stage != Stage::Open {
            return Offer::Over(inlet.sent);
        }
        if data.len() > self.way.max_len {
            return Offer::Refused;
        }
        inlet.sent += 1;
        if !inlet.has_room() {
            inlet.released = self.released.0.load(Ordering::Acquire);
            inlet.queued = self.queued.load(Ordering::Acquire);
            if !inlet.has_room() {
                inlet.dropped += 1;
                return Offer::Taken;
            }
        }
        inlet.charged += cost(data.len());
        inlet.queue.bytes.extend_from_slice(data);
        inlet.queue.lens.push(data.len() as u32);
        if !self.is_filled.0.load(Ordering::Relaxed) {
            self.is_filled.0.store(true, Ordering::Release);
        }
        if std::mem::take(&mut inlet.is_awaited) { Offer::Awaited } else { Offer::Taken }
    }

    /// Notes whether somebody still waits for the receiver; false when something has come meanwhile that they are to be told
    /// of.
    pub(crate) fn set_awaited(&self, is_awaited: bool) -> bool {
        let mut inlet = self.lock_inlet();
        if is_awaited && !inlet.queue.lens.is_empty() {
            return false;
        }
        inlet.is_awaited = is_awaited;
        true
    }

    /// Ends it: nothing more comes in. What is in it stays until the receiver's side takes it.
    pub(crate) fn close(&self) {
        self.end(&mut self.lock_inlet());
    }

    fn end(&self, inlet: &mut Inlet) {
        inlet.stage = Stage::Closed;
        self.is_closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// The bytes that its queues have memory for.
    #[cfg(all(test, not(sockeye_model)))]
    pub(crate) fn memory(&self) -> usize {
        let (outlet, inlet) = (self.lock_outlet(), self.lock_inlet());
        [&outlet.queue, &inlet.queue]
            .iter()
            .map(|queue| queue.bytes.capacity() + 4 * queue.lens.capacity())
            .sum()
    }

    /// How many more datagrams came since the last time that this one asked.
    pub(crate) fn count(&self, who: Counted) -> u64 {
        let mut inlet = self.lock_inlet();
        let sent = inlet.sent;
        sent - std::mem::replace(&mut inlet.known[who as usize], sent)
    }

    fn lock_inlet(&self) -> MutexGuard<'_, Inlet> {
        self.inlet.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_outlet(&self) -> MutexGuard<'_, Outlet> {
        self.outlet.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inlet {
    /// As in the stack: the last datagram may go over the limit.
    fn has_room(&self) -> bool {
        self.queued as u64 + (self.charged - self.released) < self.limit as u64
    }
}

/// The reader, without its host's lock.
impl Lane {
    /// Takes the oldest datagram, if it is here: `read` gets it, with its sender's address.
    pub(crate) fn take<R>(&self, read: impl FnOnce(&[u8], SocketAddr) -> R) -> Option<R> {
        let mut outlet = self.lock_outlet();
        if self.is_behind.load(Ordering::Relaxed) { None } else { self.take_from(&mut outlet, read) }
    }

    fn take_from<R>(&self, outlet: &mut Outlet, read: impl FnOnce(&[u8], SocketAddr) -> R) -> Option<R> {
        if outlet.next == outlet.queue.lens.len() {
            if !self.is_filled.0.load(Ordering::Acquire) {
                return None;
            }
            self.refill(outlet);
        }
        let len = *outlet.queue.lens.get(outlet.next)? as usize;
        let end = outlet.at + len;
        let result = read(&outlet.queue.bytes[outlet.at..end], self.way.from.into());
        outlet.next += 1;
        outlet.at = end;
        outlet.read += 1;
        outlet.released += cost(len);
        // The sender looks only when it finds no room.
        self.released.0.store(outlet.released, Ordering::Release);
        Some(result)
    }

    /// Takes all that waits in the inlet, which gets the memory of what was read.
    fn refill(&self, outlet: &mut Outlet) {
        outlet.queue.clear();
        (outlet.next, outlet.at) = (0, 0);
        let mut inlet = self.lock_inlet();
        std::mem::swap(&mut outlet.queue, &mut inlet.queue);
        self.is_filled.0.store(false, Ordering::Relaxed);
    }

    /// Whether there is nothing to take.
    pub(crate) fn is_drained(&self) -> bool {
        let outlet = self.lock_outlet();
        outlet.next == outlet.queue.lens.len() && !self.is_filled.0.load(Ordering::Acquire)
    }
}

/// The receiver's host, under its lock.
impl Lane {
    /// Opens it, unless somebody has closed it since it was made.
    pub(crate) fn open(&self, receiver: Receiver, queued: usize, is_awaited: bool) -> bool {
        let limit = receiver.limit;
        if self.receiver.set(receiver).is_err() {
            return false;
        }
        self.is_behind.store(true, Ordering::Relaxed);
        self.queued.store(queued, Ordering::Release);
        let mut inlet = self.lock_inlet();
        (inlet.limit, inlet.queued, inlet.is_awaited) = (limit, queued, is_awaited);
        let is_new = inlet.stage == Stage::New;
        if is_new {
            inlet.stage = Stage::Open;
        }
        is_new
    }

    /// Where it leads, once it was opened.
    pub(crate) fn receiver(&self) -> Option<&Receiver> {
        self.receiver.get()
    }

    /// The stack has nothing left for the reader: takes the oldest datagram from here, where nothing is behind any more. Where
    /// there is none, the reader may `wait`: then the next one is announced.
    pub(crate) fn take_after<R>(&self, waits: bool, read: impl FnOnce(&[u8], SocketAddr) -> R) -> Option<R> {
        let mut outlet = self.lock_outlet();
        self.is_behind.store(false, Ordering::Relaxed);
        self.queued.store(0, Ordering::Release);
        if outlet.next == outlet.queue.lens.len() {
            self.refill(&mut outlet);
        }
        if outlet.queue.lens.is_empty() {
            let mut inlet = self.lock_inlet();
            // Something may have come in between.
            if inlet.queue.lens.is_empty() {
                inlet.is_awaited |= waits;
                inlet.queue.shrink(waits);
                drop(inlet);
                outlet.queue.clear();
                outlet.queue.shrink(waits);
                (outlet.next, outlet.at) = (0, 0);
                return None;
            }
        }
        self.take_from(&mut outlet, read)
    }

    /// Notes what waits for the reader in the stack now. Of less than before the sender hears when it finds no room.
    pub(crate) fn note(&self, stack: &Stack) {
        let Some(receiver) = self.receiver() else { return };
        let (queued, _) = stack.recv_charge(receiver.id);
        if self.queued.swap(queued, Ordering::AcqRel) < queued {
            self.lock_inlet().queued = queued;
        }
    }

    /// Whether all is in the stack already, and the reader will look there first.
    fn is_settled(&self) -> bool {
        let is_behind = self.is_behind.load(Ordering::Relaxed);
        is_behind && !self.is_filled.0.load(Ordering::Acquire) && !self.is_closed()
    }

    /// Moves all that waits here to the receiver's stack, as if it had come the long way, and counts it there: the reader looks
    /// there first from now on. `closes` it, too, perhaps; says whether it is closed. `latest` is the latest time that the
    /// stack was told.
    pub(crate) fn settle(&self, latest: &mut Instant, stack: &mut Stack, closes: bool) -> bool {
        if !closes && self.is_settled() {
            return false;
        }
        let Some(receiver) = self.receiver.get() else { return true };
        let mut outlet = self.lock_outlet();
        let mut inlet = self.lock_inlet();
        self.is_behind.store(true, Ordering::Relaxed);
        // What was accepted has the memory that was set aside for it.
        stack.give_back(receiver.memory);
        self.move_to_stack(receiver, &mut outlet, &mut inlet, (latest, stack));
        let ends = closes || inlet.stage == Stage::Closed || !stack.set_aside(receiver.memory);
        if ends {
            self.end(&mut inlet);
            (outlet.queue, inlet.queue) = (Queue::default(), Queue::default());
        }
        self.count_received(receiver, &mut outlet, &mut inlet, stack);
        ends
    }

    fn move_to_stack(
        &self,
        receiver: &Receiver,
        outlet: &mut Outlet,
        inlet: &mut Inlet,
        (latest, stack): (&mut Instant, &mut Stack),
    ) {
        let (next, at) = (outlet.next, outlet.at);
        let rest = (&outlet.queue.lens[next..], &outlet.queue.bytes[at..]);
        if !(rest.0.is_empty() && inlet.queue.lens.is_empty()) {
            *latest = self.clock.now().max(*latest);
        }
        for (lens, mut bytes) in [rest, (&inlet.queue.lens[..], &inlet.queue.bytes[..])] {
            for &len in lens {
                let (data, others) = bytes.split_at(len as usize);
                bytes = others;
                stack.queue_plain(receiver.id, self.datagram(*latest, receiver.nic, data));
                receiver.seen.is_filled();
            }
        }
        (outlet.released, inlet.released) = (inlet.charged, inlet.charged);
        self.released.0.store(inlet.charged, Ordering::Release);
        (outlet.next, outlet.at) = (0, 0);
        outlet.queue.clear();
        inlet.queue.clear();
        self.is_filled.0.store(false, Ordering::Relaxed);
        let (queued, _) = stack.recv_charge(receiver.id);
        inlet.queued = queued;
        self.queued.store(queued, Ordering::Release);
    }

    fn count_received(&self, receiver: &Receiver, outlet: &mut Outlet, inlet: &mut Inlet, stack: &mut Stack) {
        let all = inlet.sent - inlet.known[Counted::Receiver as usize];
        let dropped = inlet.dropped - inlet.dropped_known;
        inlet.known[Counted::Receiver as usize] = inlet.sent;
        inlet.dropped_known = inlet.dropped;
        let read = std::mem::take(&mut outlet.read);
        stack.count_plain_received(receiver.id, &self.way, [all, read, dropped]);
    }

    fn datagram(&self, now: Instant, nic: NicId, data: &[u8]) -> Datagram {
        Datagram {
            payload: Chunk::copy_from(data).into(),
            from: self.way.from,
            to: self.way.to,
            nic,
            ttl: self.way.ttl,
            tos: self.way.tos,
            received_at: now,
            dropped: 0,
            segment_size: 0,
            link: None,
        }
    }
}
