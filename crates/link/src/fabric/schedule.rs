//! Which direction of which port has something due first.
//!
//! One entry stands for the first deadline of a direction. When a direction gets an earlier one, a new entry
//! is pushed and the old one is left to be recognised as void.

use super::{Direction, PortId};
use sockeye_packet::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Debug, Default)]
pub(super) struct Schedule(BinaryHeap<Reverse<(Instant, PortId, Direction)>>);

impl Schedule {
    pub(super) fn push(&mut self, due: Instant, id: PortId, way: Direction) {
        self.0.push(Reverse((due, id, way)));
    }

    /// The first deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((due, ..))| *due)
    }

    /// Takes the first entry if it is due at `now`.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Instant, PortId, Direction)> {
        let Reverse((due, ..)) = self.0.peek()?;
        if *due > now {
            return None;
        }
        self.0.pop().map(|Reverse(entry)| entry)
    }

    /// Drops entries from the front until one is valid.
    pub(super) fn purge(&mut self, is_valid: impl Fn(Instant, PortId, Direction) -> bool) {
        while let Some(&Reverse((due, id, way))) = self.0.peek() {
            if is_valid(due, id, way) {
                break;
            }
            self.0.pop();
        }
    }
}
