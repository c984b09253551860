//! The ports of a fabric: the conditions of each direction, and what waits for the host.

use super::Direction;
use super::unreachable::TokenBucket;
use crate::netem::Netem;
use sockeye_packet::{Batch, Instant, Packet};
use std::collections::VecDeque;
use std::fmt;

/// How many packets may wait for a host that doesn't fetch them; more are dropped.
const INBOX_LIMIT: usize = 16_384;

/// Names a port of a fabric. A removed port's name is not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId {
    index: u32,
    generation: u32,
}

impl PortId {
    /// Its place among the fabric's ports, for tables by port: they count up from 0, and a removed port's
    /// place is used again.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {}", self.index)
    }
}

/// What became of the packets of a port. Super-segments count as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Packets that the host sent.
    pub sent: u64,
    /// Packets that the host fetched.
    pub received: u64,
    /// Packets for the host that found too many waiting.
    pub overflowed: u64,
    /// Packets from the host to one that it is parted from, or held apart from when too many wait already.
    pub partitioned: u64,
    /// Packets from the host to an address that nobody has.
    pub unreachable: u64,
    /// Packets from the host that go nowhere in silence, for they have no IP header.
    pub unroutable: u64,
}

/// One host's attachment.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) up: Netem,
    pub(super) down: Netem,
    /// What the host can fetch.
    pub(super) inbox: VecDeque<Packet>,
    /// The port is in the fabric's list of ready ports.
    pub(super) is_ready: bool,
    /// Its host is gone; it is there until what the host sent has left.
    pub(super) is_retired: bool,
    /// Bounds the ICMP errors that the host is sent.
    pub(super) errors: TokenBucket,
    pub(super) counters: PortCounters,
    /// The deadlines in the schedule, by direction.
    deadlines: [Option<Instant>; 2],
}

impl Port {
    pub(super) fn new(up: Netem, down: Netem) -> Port {
        Port {
            up,
            down,
            inbox: VecDeque::new(),
            is_ready: false,
            is_retired: false,
            errors: TokenBucket::default(),
            counters: PortCounters::default(),
            deadlines: [None; 2],
        }
    }

    /// Lets nothing more in or down.
    pub(super) fn retire(&mut self) {
        self.is_retired = true;
        self.inbox = VecDeque::new();
    }

    pub(super) fn netem(&self, way: Direction) -> &Netem {
        match way {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    pub(super) fn netem_mut(&mut self, way: Direction) -> &mut Netem {
        match way {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }

    /// Takes in a packet that arrived at `at`.
    pub(super) fn accept(&mut self, at: Instant, mut packet: Packet) {
        if self.inbox.len() >= INBOX_LIMIT {
            self.counters.overflowed += 1;
            return;
        }
        packet.meta.received_at = at;
        self.inbox.push_back(packet);
    }

    /// Hands out packets until the batch is full.
    pub(super) fn receive(&mut self, batch: &mut Batch) {
        while !batch.is_full() {
            let Some(packet) = self.inbox.pop_front() else { break };
            self.counters.received += 1;
            batch.push(packet);
        }
        if self.inbox.is_empty() {
            // As in a batch, the memory at the front is used again, not all of it in turn.
            self.inbox.clear();
        }
    }

    /// The deadline in the schedule that stands for a direction.
    pub(super) fn deadline(&self, way: Direction) -> Option<Instant> {
        self.deadlines[way as usize]
    }

    /// The deadline to add to the schedule, if a direction has an earlier one than the schedule knows.
    pub(super) fn new_deadline(&mut self, way: Direction) -> Option<Instant> {
        let due = self.netem(way).poll_timeout()?;
        let known = &mut self.deadlines[way as usize];
        let is_new = known.is_none_or(|known| due < known);
        is_new.then(|| *known.insert(due))
    }

    /// Takes back the deadline of a direction if it is this one; says whether it was.
    pub(super) fn take_deadline(&mut self, way: Direction, due: Instant) -> bool {
        self.deadlines[way as usize].take_if(|known| *known == due).is_some()
    }
}

/// All ports, by index; freed places are used again under another generation.
#[derive(Debug, Default)]
pub(super) struct Ports {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    port: Option<Box<Port>>,
}

impl Ports {
    pub(super) fn insert(&mut self, port: Port) -> PortId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        slot.port = Some(Box::new(port));
        PortId { index, generation: slot.generation }
    }

    pub(super) fn remove(&mut self, id: PortId) -> Option<Box<Port>> {
        let slot = self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)?;
        let port = slot.port.take()?;
        slot.generation += 1;
        self.free.push(id.index);
        Some(port)
    }

    /// All of them, in the order of their places.
    pub(super) fn ids(&self) -> impl Iterator<Item = PortId> {
        let used = self.slots.iter().enumerate().filter(|(_, slot)| slot.port.is_some());
        used.map(|(index, slot)| PortId { index: index as u32, generation: slot.generation })
    }

    pub(super) fn get(&self, id: PortId) -> Option<&Port> {
        let slot = self.slots.get(id.index as usize).filter(|slot| slot.generation == id.generation)?;
        slot.port.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: PortId) -> Option<&mut Port> {
        let slot = self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)?;
        slot.port.as_deref_mut()
    }
}
