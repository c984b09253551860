//! Packets that wait because what passes between two hosts is held.

use super::PortId;
use super::route::destination;
use sockeye_packet::Packet;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

/// Most packets that wait for one release; more are lost, as in any queue.
const CAPACITY: usize = 65_536;

/// What is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// What passes between two ports, the lower one first.
    Between(PortId, PortId),
    /// What a port sends to an address, which is behind a router.
    To(PortId, IpAddr),
}

impl Way {
    pub(super) fn between(a: PortId, b: PortId) -> Way {
        Way::Between(a.min(b), a.max(b))
    }

    fn concerns(self, port: PortId) -> bool {
        match self {
            Way::Between(a, b) => a == port || b == port,
            Way::To(from, _) => from == port,
        }
    }
}

/// What waits, each packet with the port it goes to.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<Way, VecDeque<(PortId, Packet)>>);

impl Held {
    /// Whether nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Begins to hold.
    pub(super) fn hold(&mut self, way: Way) {
        self.0.entry(way).or_default();
    }

    /// Ends that; what has waited is returned, in order.
    pub(super) fn release(&mut self, way: Way) -> VecDeque<(PortId, Packet)> {
        self.0.remove(&way).unwrap_or_default()
    }

    /// On which way a packet has to wait, if it has to.
    pub(super) fn find(&self, from: PortId, to: PortId, head: &[u8]) -> Option<Way> {
        if self.0.is_empty() {
            return None;
        }
        let behind = destination(head).map(|address| Way::To(from, address));
        [Some(Way::between(from, to)), behind].into_iter().flatten().find(|way| self.0.contains_key(way))
    }

    /// Has a packet wait; false when there are too many.
    pub(super) fn push(&mut self, way: Way, to: PortId, packet: Packet) -> bool {
        let Some(queue) = self.0.get_mut(&way) else { return false };
        let has_room = queue.len() < CAPACITY;
        if has_room {
            queue.push_back((to, packet));
        }
        has_room
    }

    /// Forgets a port, and what waits on its ways.
    pub(super) fn forget(&mut self, port: PortId) {
        self.0.retain(|way, _| !way.concerns(port));
    }
}
