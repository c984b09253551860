//! Packets cut to the MTU (RFC 791 §3.2, RFC 8200 §4.5).
//!
//! The transport's checksum is filled before the cut, also for links that skip checksums: no fragment
//! alone could tell it afterwards.

use crate::io::Io;
use crate::ip::output::fill;
use crate::ip::sent_options::keep_copied;
use arrayvec::ArrayVec;
use sockeye_packet::{Checksum, Head, Meta, Packet, Payload};
use sockeye_wire::{Ipv4Header, Ipv6Header, Protocol};

/// Length of the IPv6 fragment header.
const FRAGMENT_HEADER: usize = 8;

/// The fragments of one packet, in order; the packet itself when it fits.
pub(crate) struct Fragments {
    packet: Packet,
    mtu: usize,
    id: u32,
    /// Where what is behind the IP header lies in the whole packet, if it is a fragment already.
    base: usize,
    /// Whether more follows after the last fragment.
    more: bool,
    /// How much of what is behind the IP header has been handed out; `None` at the end.
    offset: Option<usize>,
}

impl Io {
    /// Cuts a packet without IPv6 extensions for a link of this MTU.
    pub(crate) fn fragment(&mut self, mut packet: Packet, mtu: usize) -> Fragments {
        let whole = packet.len() <= mtu;
        if !whole && packet.meta.checksum == Checksum::Unfilled {
            fill(&mut packet);
            // Right by definition still: this flow may be going through memory.
            packet.meta.checksum = Checksum::Unfilled;
        }
        let id = if whole { 0 } else { self.rng.next_u32() };
        let mtu = if whole { usize::MAX } else { mtu };
        Fragments { packet, mtu, id, base: 0, more: false, offset: Some(0) }
    }

    /// Cuts an IPv4 packet without options that may be a fragment already, on its way (RFC 791 §3.2).
    pub(crate) fn fragment_again(mut packet: Packet, mtu: usize) -> Fragments {
        let header =
            Ipv4Header::parse(&packet.head).map_or_else(|_| Ipv4Header::default(), |(header, _)| header);
        let (base, more) = (usize::from(header.fragment_offset), header.more_fragments);
        if packet.meta.checksum == Checksum::Unfilled && base == 0 && !more {
            fill(&mut packet);
        }
        Fragments { packet, mtu, id: header.id.into(), base, more, offset: Some(0) }
    }
}

impl Iterator for Fragments {
    type Item = Packet;

    fn next(&mut self) -> Option<Packet> {
        let offset = self.offset?;
        if self.mtu == usize::MAX {
            self.offset = None;
            return Some(core::mem::take(&mut self.packet));
        }
        let v4 = self.packet.head[0] >> 4 == 4;
        let header_len = if v4 { usize::from(self.packet.head[0] & 0xf) * 4 } else { Ipv6Header::LEN };
        let overhead = header_len + if v4 { 0 } else { FRAGMENT_HEADER };
        let room = self.mtu.saturating_sub(overhead).max(8) & !7;
        let total = self.packet.len() - header_len;
        let end = total.min(offset + room);
        self.offset = (end < total).then_some(end);
        Some(self.piece(v4, header_len, offset, end))
    }
}

impl Fragments {
    /// The fragment that carries the bytes `start..end` behind the IP header.
    fn piece(&self, v4: bool, header_len: usize, start: usize, end: usize) -> Packet {
        let Packet { head, payload, meta } = &self.packet;
        let more = self.offset.is_some() || self.more;
        let transport = head.len() - header_len;
        let mut bytes = ArrayVec::<u8, { Head::CAPACITY }>::new();
        bytes.extend(head[..header_len].iter().copied());
        if v4 {
            let mut header =
                Ipv4Header::parse(head).map_or_else(|_| Ipv4Header::default(), |(header, _)| header);
            if start > 0 {
                keep_copied(&mut header.options);
            }
            let header = Ipv4Header {
                total_len: (header_len + end - start) as u16,
                id: self.id as u16,
                dont_fragment: false,
                more_fragments: more,
                fragment_offset: (self.base + start) as u16,
                ..header
            };
            header.emit(&mut bytes);
        } else {
            let len = (FRAGMENT_HEADER + end - start) as u16;
            bytes[4..6].copy_from_slice(&len.to_be_bytes());
            let protocol = core::mem::replace(&mut bytes[6], Protocol::FRAGMENT.0);
            let [o1, o2] = (start as u16 | u16::from(more)).to_be_bytes();
            let [a, b, c, d] = self.id.to_be_bytes();
            bytes.extend([protocol, 0, o1, o2, a, b, c, d]);
        }
        // The transport header lies in the first fragment, which has room for it at any legal MTU.
        let in_head = transport.saturating_sub(start).min(end - start);
        bytes.extend(head[header_len + start.min(transport)..][..in_head].iter().copied());
        let from = start.saturating_sub(transport);
        let data = if end > transport { payload.slice(from, end - transport) } else { Payload::EMPTY };
        Packet { head: Head::from_slice(&bytes), payload: data, meta: Meta { gso_size: 0, ..*meta } }
    }
}
