//! Packets by the time at which they are due; those due at the same time leave as they came.

use sockeye_packet::{Instant, Packet};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A priority queue of packets: O(log n), and the heap moves small keys, not packets.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<Key>>,
    /// The packets, at the slots that the keys name.
    slots: Vec<Option<Packet>>,
    free: Vec<u32>,
    next_sequence: u64,
    segments: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    due: Instant,
    /// Position in the order of entry. No two are equal, so the fields below never decide.
    sequence: u64,
    slot: u32,
    segments: u32,
}

impl Queue {
    /// Adds a packet that stands for `segments` segments on the wire.
    pub(super) fn push(&mut self, due: Instant, segments: usize, packet: Packet) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize] = Some(packet);
        self.heap.push(Reverse(Key { due, sequence: self.next_sequence, slot, segments: segments as u32 }));
        self.next_sequence += 1;
        self.segments += segments;
    }

    /// Takes the first packet if it is due at `now`: its time, its segments, itself.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Instant, usize, Packet)> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse(Key { due, slot, segments, .. }) = self.heap.pop()?;
        self.free.push(slot);
        self.segments -= segments as usize;
        let packet = self.slots[slot as usize].take()?;
        Some((due, segments as usize, packet))
    }

    /// When the first packet is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(key)| key.due)
    }

    /// How many segments are in the queue.
    pub(super) fn segments(&self) -> usize {
        self.segments
    }

    pub(super) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}
