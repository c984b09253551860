//! What the table of four-tuples holds: 8 bytes, whatever the address family.
//!
//! An entry has as much of what stands for the four-tuple as is left beside its owner's place, so that the table grows
//! without looking at the owners, and others than the one that is looked for are hardly ever looked at.

use super::{Target, Tuple, hash_tuple};

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

/// What stands for a four-tuple: a hash of all of it but the lowest bits of the higher port, above these bits.
///
/// So the four-tuples of connections from consecutive ports of a host to one service lie side by side in the table,
/// eight of them in a cache line: they were made one after the other, and are often used so, too. Whose hashes meet
/// nobody can know, as if all were hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Short(u64);

impl Short {
    const PORT_BITS: u32 = 3;
    const PORT_MASK: u16 = (1 << Short::PORT_BITS) - 1;

    #[inline]
    pub(super) fn new(key: [u64; 2], tuple: &Tuple) -> Short {
        let mut rest = *tuple;
        let higher =
            if rest.local_port > rest.remote_port { &mut rest.local_port } else { &mut rest.remote_port };
        let low = *higher & Short::PORT_MASK;
        *higher -= low;
        Short(hash_tuple(key, &rest) << Short::PORT_BITS | u64::from(low))
    }
}

/// 29 bits of what stands for the four-tuple above 3 of a kind above 32 of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry(u64);

impl Entry {
    pub(super) fn new(short: Short, target: Target) -> Entry {
        let (kind, index) = match target {
            Target::Connection(key) => (0, key.index()),
            Target::HalfOpen(key) => (1, key.index()),
            Target::TimeWait(key) => (2, key.index()),
            Target::Datagram(id) => (3, id.0.index()),
            Target::Flow(key) => (4, key.index()),
        };
        Entry(short.0 << PLACE_BITS | kind << 32 | u64::from(index))
    }

    /// One that stands for no owner, to look for a four-tuple.
    #[inline]
    pub(super) fn of(short: Short) -> Entry {
        Entry(short.0 << PLACE_BITS)
    }

    /// Whether it may have the four-tuple that `other` stands for.
    #[inline]
    pub(super) fn may_be(self, other: Entry) -> bool {
        (self.0 ^ other.0) >> PLACE_BITS == 0
    }

    /// The hash by which it lies in the table. The table takes the place from the lowest bits and seven bits to tell
    /// neighbours apart from the highest. What is hashed is in both (a multiplication by an odd number, the golden
    /// ratio's), and so are the ports' lowest bits.
    #[inline]
    pub(super) fn hash(self) -> u64 {
        let short = self.0 >> PLACE_BITS;
        let ports = short & u64::from(Short::PORT_MASK);
        let rest = (short >> Short::PORT_BITS).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        rest << Short::PORT_BITS ^ ports ^ ports << 57
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
