//! What the table of four-tuples holds: 8 bytes, whatever the address family.
//!
//! An entry has as much of the four-tuple's hash as is left beside its owner's place, so that the table grows without
//! looking at the owners, and others than the one that is looked for are hardly ever looked at.

use super::Target;

/// Bits of an owner's place: its kind, and its number in the slab.
const PLACE_BITS: u32 = KIND_BITS + 32;
const KIND_BITS: u32 = 3;

/// Where an owner of a four-tuple is: the number of its slot in the slab of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Connection(u32),
    HalfOpen(u32),
    TimeWait(u32),
    Datagram(u32),
    Flow(u32),
}

/// 29 bits of a hash above 3 of a kind above 32 of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry(u64);

impl Entry {
    pub(super) fn new(hash: u64, target: Target) -> Entry {
        let (kind, index) = match target {
            Target::Connection(key) => (0, key.index()),
            Target::HalfOpen(key) => (1, key.index()),
            Target::TimeWait(key) => (2, key.index()),
            Target::Datagram(id) => (3, id.0.index()),
            Target::Flow(key) => (4, key.index()),
        };
        Entry(hash << PLACE_BITS | kind << 32 | u64::from(index))
    }

    /// One that stands for no owner, to look for a hash.
    #[inline]
    pub(super) fn of(hash: u64) -> Entry {
        Entry(hash << PLACE_BITS)
    }

    /// Whether it may have the four-tuple whose hash `other` has.
    #[inline]
    pub(super) fn may_be(self, other: Entry) -> bool {
        (self.0 ^ other.0) >> PLACE_BITS == 0
    }

    /// The hash by which it lies in the table. The table takes the lowest bits and the highest, and so each of
    /// them is made of all that is kept (a multiplication by an odd number, the golden ratio's).
    #[inline]
    pub(super) fn hash(self) -> u64 {
        (self.0 >> PLACE_BITS).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[inline]
    pub(super) fn place(self) -> Place {
        let index = self.0 as u32;
        match self.0 >> 32 & ((1 << KIND_BITS) - 1) {
            0 => Place::Connection(index),
            1 => Place::HalfOpen(index),
            2 => Place::TimeWait(index),
            3 => Place::Datagram(index),
            _ => Place::Flow(index),
        }
    }
}
