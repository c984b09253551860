//! One packet on its way between a stack and a link.

use crate::{Chunk, Instant, Payload};
use core::fmt;
use core::net::IpAddr;
use core::ops::{Deref, DerefMut};
use sockeye_wire::Ipv6Header;

/// An IP packet: its headers in line, its payload shared.
///
/// The head holds the IP header with its extensions and the transport header; everything behind them
/// is payload. What a link received as one run of bytes is cut there by [`Packet::from_bytes`]. A TCP
/// packet may be a *super-segment*: longer than the link's MTU, to be cut into segments of
/// [`Meta::gso_size`] bytes of payload wherever the path can't carry it whole.
#[derive(Clone, Debug, Default)]
pub struct Packet {
    /// IP header, extension headers and transport header.
    pub head: Head,
    /// What follows the head.
    pub payload: Payload,
    /// What is known about the packet beside its bytes.
    pub meta: Meta,
}

impl Packet {
    /// The longest packet whose length stands in its IP header, in bytes; over IPv6 it is 40 more. Super-segments in
    /// memory may be longer, and have 0 there.
    pub const LONGEST_STATED: usize = 65_535;

    /// A packet from the bytes of a link, which must start with an IP header.
    ///
    /// Never fails: what doesn't parse is left for the stack to count and drop. The length that the
    /// IP header states is not applied here either.
    pub fn from_bytes(bytes: &Chunk, meta: Meta) -> Packet {
        let cut = sockeye_wire::header_len(bytes).min(Head::CAPACITY).min(bytes.len());
        let head = Head::from_slice(&bytes[..cut]);
        Packet { head, payload: Payload::from(bytes.slice(cut..)), meta }
    }

    /// Length in bytes from the IP header on.
    #[inline]
    pub fn len(&self) -> usize {
        self.head.len() + self.payload.len()
    }

    /// Whether it is several segments in one.
    #[inline]
    pub fn is_super_segment(&self) -> bool {
        let size = usize::from(self.meta.gso_size);
        size > 0 && self.payload.len() > size
    }

    /// What the length field states of a packet of `len` bytes, the first `own` of which it doesn't count.
    #[inline]
    pub const fn stated_len(len: usize, own: usize) -> u16 {
        let counted = len.saturating_sub(own);
        if counted > u16::MAX as usize { 0 } else { counted as u16 }
    }

    /// Whether this is a super-segment that is too long for the length field of its IP header, which is 0 then, as
    /// Linux has it ("BIG TCP").
    #[inline]
    pub fn is_beyond_stating(&self) -> bool {
        self.len() > Packet::LONGEST_STATED && self.meta.gso_size > 0 && self.head.len_field() == 0
    }

    /// Whether the IP header says how long the packet is, as far as it can.
    #[inline]
    pub fn states_len(&self) -> bool {
        let own = if self.head.is_v6() { Ipv6Header::LEN } else { 0 };
        own + usize::from(self.head.len_field()) == self.len() || self.is_beyond_stating()
    }

    /// Whether the packet has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The whole packet in one run of bytes, as it is: checksums are not filled here.
    pub fn to_vec(&self) -> alloc::vec::Vec<u8> {
        let mut all = alloc::vec::Vec::with_capacity(self.len());
        all.extend_from_slice(&self.head);
        self.payload.chunks().for_each(|chunk| all.extend_from_slice(chunk));
        all
    }
}

/// The headers of a packet, in line: up to [`Head::CAPACITY`] bytes without an allocation.
#[derive(Clone)]
pub struct Head {
    len: u8,
    bytes: [u8; Head::CAPACITY],
}

impl Head {
    /// The most header bytes of a packet: IPv4 with options and TCP with options take 120.
    pub const CAPACITY: usize = 128;

    /// A head of `len` zero bytes. Panics when that is more than [`Head::CAPACITY`].
    #[inline]
    pub fn zeroed(len: usize) -> Head {
        assert!(len <= Head::CAPACITY, "a packet head of {len} bytes");
        Head { len: len as u8, bytes: [0; Head::CAPACITY] }
    }

    /// Appends zero bytes until there are `len`, if there are fewer. Panics when that is more than
    /// [`Head::CAPACITY`].
    #[inline]
    pub fn lengthen(&mut self, len: usize) {
        assert!(len <= Head::CAPACITY, "a packet head of {len} bytes");
        // What lies behind the length is zero, always.
        self.len = self.len.max(len as u8);
    }

    /// A head of all these bytes.
    pub const fn from_array(bytes: [u8; Head::CAPACITY]) -> Head {
        Head { len: Head::CAPACITY as u8, bytes }
    }

    /// A head with these bytes. Panics when there are more than [`Head::CAPACITY`].
    pub fn from_slice(bytes: &[u8]) -> Head {
        let mut head = Head::zeroed(bytes.len());
        head.copy_from_slice(bytes);
        head
    }

    /// Writes the length of a packet into its IP header, or 0 where the field can't state it.
    #[inline]
    pub fn state_len(&mut self, len: usize) {
        let (at, own) = if self.is_v6() { (4, Ipv6Header::LEN) } else { (2, 0) };
        self.bytes[at..at + 2].copy_from_slice(&Packet::stated_len(len, own).to_be_bytes());
    }

    /// What stands in the IP header's length field; 0 where there is none.
    #[inline]
    fn len_field(&self) -> u16 {
        let at = if self.is_v6() { 4 } else { 2 };
        u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    #[inline]
    fn is_v6(&self) -> bool {
        self.bytes[0] >> 4 == 6
    }

    /// Whether `other` is as long and has the same bits wherever `mask`, however long, has ones. It looks at all bits
    /// at once, without a branch.
    #[inline]
    #[must_use]
    pub fn is_same_under(&self, other: &Head, mask: &Head) -> bool {
        let mut differing = 0;
        for ((own, other), mask) in self.bytes.iter().zip(&other.bytes).zip(&mask.bytes) {
            differing |= (own ^ other) & mask;
        }
        self.len == other.len && differing == 0
    }
}

impl Default for Head {
    fn default() -> Head {
        Head::zeroed(0)
    }
}

impl Deref for Head {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

impl DerefMut for Head {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len as usize]
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({} bytes)", self.len)
    }
}

/// Which network interface of a stack. Number 0 is the loopback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NicId(pub u16);

impl NicId {
    /// The loopback interface, which every stack has.
    pub const LOOPBACK: NicId = NicId(0);
}

/// What is known about a packet beside its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meta {
    /// The interface it came in by.
    pub nic: NicId,
    /// When it came in.
    pub received_at: Instant,
    /// Payload bytes of each segment of a super-segment; 0 when the packet is to be sent as it is.
    pub gso_size: u16,
    /// What is known of the transport checksum.
    pub checksum: Checksum,
    /// The IP header's type of service or traffic class, with the ECN bits.
    pub tos_ecn: u8,
    /// The IP header's time to live or hop limit.
    pub ttl: u8,
    /// The IPv6 flow label; 0 for IPv4.
    pub flow_label: u32,
    /// A hash of the flow, for links with several queues; 0 when not computed.
    pub flow_hash: u32,
    /// The router that it is handed to, on a link with several; none when its destination is on the link, and
    /// on links whose interface doesn't ask for it.
    pub next_hop: Option<IpAddr>,
}

/// What is known of a packet's transport checksum (and IPv4 header checksum).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// In the packet, not verified: whoever consumes the packet must verify it.
    #[default]
    Unverified,
    /// Known to be right, whatever the field holds: the packet never left memory.
    /// A link that writes the packet out must fill the fields first.
    Unfilled,
    /// In the packet and verified.
    Verified,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_lengthened_with_zeros() {
        let mut head = Head::from_slice(&[1, 2, 3]);
        head.lengthen(5);
        head.lengthen(4);
        assert_eq!(*head, [1, 2, 3, 0, 0]);
    }

    #[test]
    fn lengths_are_stated_as_far_as_they_can_be() {
        let long = |first: u8, len: usize, gso_size: u16| {
            let mut head = Head::zeroed(40);
            head[0] = first;
            head.state_len(len);
            let payload = Payload::from(Chunk::from(alloc::vec![0; len - 40]));
            Packet { head, payload, meta: Meta { gso_size, ..Meta::default() } }
        };
        // The first byte of a header, the longest packet that it states, and the field of that.
        for (first, most, at) in [(0x45, 65_535, 2), (0x60, 65_575, 4)] {
            let stated = long(first, most, 0);
            assert_eq!(&stated.head[at..at + 2], [0xff, 0xff]);
            assert!(stated.states_len() && !stated.is_beyond_stating());
            let beyond = long(first, most + 1, 1000);
            assert_eq!(&beyond.head[at..at + 2], [0, 0]);
            assert!(beyond.states_len() && beyond.is_beyond_stating());
            assert!(!long(first, most + 1, 0).states_len(), "only super-segments are longer");
            let mut other = long(first, 1000, 1000);
            other.payload.trim(0, 900);
            assert!(!other.states_len());
        }
    }

    #[test]
    fn heads_are_compared_where_the_mask_has_ones() {
        let (head, mask) = (Head::from_slice(&[1, 2, 3]), Head::from_slice(&[0xff, 0xf0, 0]));
        assert!(head.is_same_under(&Head::from_slice(&[1, 3, 9]), &mask));
        assert!(!head.is_same_under(&Head::from_slice(&[1, 0x12, 3]), &mask));
        assert!(!head.is_same_under(&Head::from_slice(&[1, 2, 3, 0]), &mask));
    }
}
