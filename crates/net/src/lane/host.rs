//! The lanes of one host: those that its sockets send by, and those that lead to them. What [lanes](crate::lane) are is said
//! there.

use super::{Counted, Lane, Offer, Receiver};
use crate::Host;
use crate::host::HostState;
use crate::sync::{BEFORE_LANE, Mutex};
use sockeye_packet::{Batch, Instant, NicId, Packet};
use sockeye_stack::{SocketId, Stack};
use sockeye_wire::Protocol;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::task::Waker;

/// A lane that was closed before it had carried so many datagrams was not worth opening.
const WORTH: u64 = 64;
/// The most lanes that begin at a host, or lead there: who looks for datagrams in them looks at all.
const MOST: usize = 16;
/// The most datagrams that go the long way before a lane is tried again.
const MOST_BEFORE_LANE: u32 = 4096;

/// What a call may see or change of a host's datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touch {
    /// Anything.
    All,
    /// One datagram is sent: what goes by lanes must not overtake it, nor it what comes by them to this host itself.
    Sending,
    /// A datagram is received.
    Receiving,
}

/// The lanes of a host. Guarded by its lock.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    outgoing: Vec<Arc<Lane>>,
    incoming: Vec<Arc<Lane>>,
}

impl Lanes {
    /// Tells the senders of what comes what waits in the stack.
    pub(crate) fn note(&self, stack: &Stack) {
        self.incoming.iter().for_each(|lane| lane.note(stack));
    }
}

impl HostState {
    /// Has lanes not get in the way of a call.
    #[inline]
    pub(crate) fn prepare_lanes(&mut self, touch: Touch) {
        if touch != Touch::Receiving && !(self.lanes.outgoing.is_empty() && self.lanes.incoming.is_empty()) {
            self.close_outgoing();
            self.settle_incoming(|_| touch == Touch::All);
        }
    }

    /// Has lanes not get in the way of packets that are taken in, or of what is due; says whether what they lead to may have
    /// changed. TCP and datagrams don't see each other.
    #[inline]
    pub(crate) fn lanes_meet(&mut self, now: Instant, batch: &Batch) -> bool {
        if self.lanes.outgoing.is_empty() && self.lanes.incoming.is_empty() {
            return false;
        }
        let any = |known: &[Protocol]| batch.iter().any(|packet| !known.contains(&protocol_of(packet)));
        if any(&[Protocol::TCP, Protocol::UDP]) {
            // It may be an error for who sends.
            self.close_outgoing();
        }
        let is_due = self.stack.poll_timeout().is_some_and(|wake| wake.at <= now);
        let brings_datagrams = is_due || any(&[Protocol::TCP]);
        if brings_datagrams {
            self.settle_incoming(|_| false);
        }
        brings_datagrams
    }

    fn close_outgoing(&mut self) {
        for lane in self.lanes.outgoing.drain(..) {
            lane.close();
            self.stack.count_plain_sent(lane.count(Counted::Sender));
        }
    }

    /// Moves what has come by lanes to the stack. Those that `closes` says, and those that are closed already, end.
    fn settle_incoming(&mut self, closes: impl Fn(&Receiver) -> bool) {
        let HostState { lanes, stack, latest, .. } = self;
        lanes.incoming.retain(|lane| {
            let Some(receiver) = lane.receiver() else { return false };
            let is_over = lane.settle(latest, stack, closes(receiver));
            if is_over {
                receiver.seen.set_lane(None);
            }
            !is_over
        });
    }

    /// Notes a lane that begins here. Where there are too many all others end: those that are busy are soon opened again.
    pub(crate) fn begin_lane(&mut self, lane: &Arc<Lane>) {
        if self.lanes.outgoing.len() >= MOST {
            self.close_outgoing();
        }
        let HostState { lanes, stack, .. } = self;
        lanes.outgoing.retain(|lane| {
            let is_open = !lane.is_closed();
            stack.count_plain_sent(lane.count(Counted::Sender));
            is_open
        });
        lanes.outgoing.push(Arc::clone(lane));
    }

    /// Opens a lane that leads here by an interface, if its datagrams may come that way.
    pub(crate) fn open_lane(&mut self, lane: &Arc<Lane>, (host, nic): (u32, NicId)) -> bool {
        let Some(id) = self.stack.plain_receiver(nic, lane.way()).filter(|_| !self.is_down) else {
            return false;
        };
        let Some((seen, is_awaited)) = self.waiters.unwatched(id) else { return false };
        // One for each receiver: its reader looks at one.
        let are_too_many = self.lanes.incoming.len() >= MOST;
        self.settle_incoming(|receiver| receiver.id == id || are_too_many);
        let (queued, limit) = self.stack.recv_charge(id);
        let memory = limit + Stack::PLAIN_COST + lane.way().max_len;
        if !self.stack.set_aside(memory) {
            return false;
        }
        seen.set_lane(Some(Arc::clone(lane)));
        self.lanes.incoming.push(Arc::clone(lane));
        lane.open(Receiver { id, host, nic, seen, limit, memory }, queued, is_awaited)
    }

    /// Tells who waits for the receiver of a lane that something has come.
    pub(crate) fn announce(&mut self, lane: &Lane, wakers: &mut Vec<Waker>) {
        let Some(receiver) = lane.receiver() else { return };
        // An event wakes one of those who wait for their turn: what comes from now on concerns the others.
        loop {
            self.settle_incoming(|_| false);
            self.collect_events(false, wakers);
            let is_awaited = self.waiters.unwatched(receiver.id).is_some_and(|(_, is_awaited)| is_awaited);
            if lane.is_closed() || lane.set_awaited(is_awaited) {
                return;
            }
        }
    }
}

/// What follows the IP header: of IPv6 that may be an extension.
fn protocol_of(packet: &Packet) -> Protocol {
    let at = if packet.head.first().is_some_and(|first| first >> 4 == 4) { 9 } else { 6 };
    Protocol(packet.head.get(at).copied().unwrap_or(u8::MAX))
}

/// Why there is no lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoLane {
    /// Another thread moves the packets of one of the hosts now.
    Busy,
    /// There can't be one.
    Unfit,
}

/// What a socket that sends datagrams knows of its lane.
#[derive(Debug)]
pub(crate) struct LaneSender {
    lane: Option<Arc<Lane>>,
    /// Whom the lane leads to, or the latest datagram went to.
    to: Option<SocketAddr>,
    /// How many went there in a row, by the long way.
    repeats: u32,
    /// After how many a lane is tried.
    wanted: u32,
}

impl Default for LaneSender {
    fn default() -> LaneSender {
        LaneSender { lane: None, to: None, repeats: 0, wanted: BEFORE_LANE }
    }
}

impl LaneSender {
    /// Sends a datagram of a socket by a lane, perhaps a new one; false when it is to go the long way.
    pub(crate) fn send(
        place: &Mutex<LaneSender>,
        (host, id): (&Host, SocketId),
        data: &[u8],
        to: Option<SocketAddr>,
    ) -> bool {
        let lock = || place.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sender = lock();
        if let Some(lane) = sender.lane.as_ref().filter(|_| sender.to == to) {
            match lane.offer(data) {
                Offer::Taken => return true,
                Offer::Awaited => {
                    let lane = Arc::clone(lane);
                    // Who is woken may send by this socket.
                    drop(sender);
                    host.shared.core.announce(&lane);
                    return true;
                }
                Offer::Refused => return false,
                Offer::Over(count) => sender.end(count),
            }
        }
        if !sender.wants_lane(to) {
            return false;
        }
        // The hosts' locks come first.
        drop(sender);
        let opened = host.shared.core.open_lane(&host.core, id, to);
        let mut sender = lock();
        let lane = match opened {
            Ok(lane) => lane,
            Err(NoLane::Busy) => {
                sender.repeats = 0;
                return false;
            }
            Err(NoLane::Unfit) => {
                sender.end(0);
                return false;
            }
        };
        (sender.lane, sender.to) = (Some(lane), to);
        drop(sender);
        LaneSender::send(place, (host, id), data, to)
    }

    /// A datagram is to be sent there, without a lane.
    fn wants_lane(&mut self, to: Option<SocketAddr>) -> bool {
        if self.to != to {
            (self.to, self.lane, self.repeats) = (to, None, 0);
        }
        self.repeats += 1;
        self.repeats > self.wanted
    }

    /// The lane is closed, after it has carried so many.
    fn end(&mut self, count: u64) {
        (self.lane, self.repeats) = (None, 0);
        self.wanted = if count >= WORTH { BEFORE_LANE } else { (2 * self.wanted).min(MOST_BEFORE_LANE) };
    }
}
