//! Cutting super-segments into the packets that cross a wire.
//!
//! A super-segment is a TCP or UDP packet with more payload than its `gso_size`. Its segments share its
//! payload; their headers are what the sender would have written for each: IPv4 identifiers count up,
//! sequence numbers advance, FIN and PSH stand on the last segment and CWR on the first (RFC 3168 §6.1.2:
//! once per window reduction), and UDP segments (as of Linux's `UDP_SEGMENT`) are datagrams of their own.
//! Any run of whole segments can be cut out, as a smaller super-segment.

use sockeye_packet::{Checksum, Head, Packet};
use sockeye_wire::{IpLayout, Ipv4Fixed, Protocol, TcpFixed, TcpFlags, UdpFixed};
use std::net::IpAddr;
use std::ops::Range;

/// The segments of one packet; a packet that isn't a super-segment is its own only segment.
#[derive(Debug)]
pub struct Segments<'a> {
    packet: &'a Packet,
    cut: Option<Cut>,
}

/// What is needed to cut a super-segment.
#[derive(Debug)]
struct Cut {
    /// Payload bytes of each segment but the last.
    size: usize,
    count: usize,
    layout: IpLayout,
}

impl<'a> Segments<'a> {
    /// Looks at `packet`.
    pub fn of(packet: &'a Packet) -> Segments<'a> {
        Segments { packet, cut: Cut::plan(packet) }
    }

    /// How many segments there are: at least one.
    pub fn count(&self) -> usize {
        self.cut.as_ref().map_or(1, |cut| cut.count)
    }

    /// Length in bytes of a segment on the wire, from its IP header on.
    pub fn wire_len(&self, index: usize) -> usize {
        let Some(cut) = &self.cut else { return self.packet.len() };
        let start = (index * cut.size).min(self.packet.payload.len());
        self.packet.head.len() + (self.packet.payload.len() - start).min(cut.size)
    }

    /// A run of segments as one packet, which is a super-segment if there are several.
    ///
    /// Checksums are left unfilled when something is cut. Panics when the range is empty or out of bounds.
    pub fn slice(&self, segments: Range<usize>) -> Packet {
        assert!(
            segments.start < segments.end && segments.end <= self.count(),
            "segments {segments:?} of {}",
            self.count()
        );
        match &self.cut {
            Some(cut) if segments.len() < cut.count => cut.slice(self.packet, segments),
            _ => self.packet.clone(),
        }
    }

    /// All segments, as many in a packet as it holds in `most` bytes: at least one, even if it is longer.
    pub fn runs(&self, most: usize) -> impl Iterator<Item = Packet> + '_ {
        let data = most.saturating_sub(self.packet.head.len());
        let run = self.cut.as_ref().map_or(1, |cut| (data / cut.size).max(1));
        (0..self.count()).step_by(run).map(move |start| self.slice(start..self.count().min(start + run)))
    }

    /// Every segment as a packet of its own, checksums unfilled unless nothing had to be cut.
    pub fn iter(&self) -> impl Iterator<Item = Packet> + '_ {
        self.runs(0)
    }
}

impl Cut {
    /// How to cut `packet`; `None` when it goes as it is.
    ///
    /// A super-segment whose checksum nobody verified is not cut, which would vouch for it: whole, it fails
    /// the receiver's verification.
    fn plan(packet: &Packet) -> Option<Cut> {
        if !packet.is_super_segment() || packet.meta.checksum == Checksum::Unverified {
            return None;
        }
        let size = usize::from(packet.meta.gso_size);
        let layout = IpLayout::parse(&packet.head).ok()?;
        let transport = packet.head.get(layout.transport..)?;
        let whole = match layout.protocol {
            // A SYN takes a sequence number, a reset carries no stream: neither is ever a super-segment.
            Protocol::TCP => transport.len() >= 20 && transport[13] & SYN_RST == 0,
            Protocol::UDP => transport.len() == 8,
            _ => false,
        };
        let count = packet.payload.len().div_ceil(size);
        (whole && layout.fragment.is_none()).then_some(Cut { size, count, layout })
    }

    fn slice(&self, packet: &Packet, segments: Range<usize>) -> Packet {
        let (start, end) = (segments.start * self.size, (segments.end * self.size).min(packet.payload.len()));
        let mut part = Packet {
            head: packet.head.clone(),
            payload: packet.payload.slice(start, end),
            meta: packet.meta,
        };
        part.meta.gso_size = if segments.len() > 1 { packet.meta.gso_size } else { 0 };
        part.meta.checksum = Checksum::Unfilled;
        self.patch_ip(&mut part.head, end - start, segments.start);
        let transport = &mut part.head[self.layout.transport..];
        if self.layout.protocol == Protocol::TCP {
            patch_tcp(transport, start, segments.end == self.count);
        } else {
            patch_udp(transport, end - start);
        }
        part
    }

    fn patch_ip(&self, head: &mut Head, payload_len: usize, index: usize) {
        head.state_len(head.len() + payload_len);
        if let (IpAddr::V4(_), Some(ip)) = (self.layout.src, Ipv4Fixed::at_mut(head)) {
            ip.id = ip.id.get().wrapping_add(index as u16).into();
        }
    }
}

/// The control bits SYN and RST in a TCP header's byte 13.
const SYN_RST: u8 = 0x06;

/// Makes the header that of the segments from byte `start` of the payload on.
fn patch_tcp(header: &mut [u8], start: usize, last: bool) {
    let Some(tcp) = TcpFixed::at_mut(header) else { return };
    let (seq, urgent) = (tcp.seq.get(), usize::from(tcp.urgent.get()));
    let mut flags = tcp.flags();
    if !last {
        flags = flags & !(TcpFlags::FIN | TcpFlags::PSH);
    }
    if start > 0 {
        flags = flags & !TcpFlags::CWR;
    }
    if flags.contains(TcpFlags::URG) {
        // The urgent pointer counts from the segment's own sequence number.
        if urgent < start {
            flags = flags & !TcpFlags::URG;
        }
        tcp.urgent = (urgent.saturating_sub(start) as u16).into();
    }
    tcp.seq = seq.wrapping_add(start as u32).into();
    tcp.set_flags(flags);
}

/// Makes the header that of datagrams of `len` bytes.
fn patch_udp(header: &mut [u8], len: usize) {
    let header_len = header.len();
    if let Some(udp) = UdpFixed::at_mut(header) {
        udp.len = ((header_len + len) as u16).into();
    }
}

/// Writes the checksums into a packet that was left without, and says so in its meta.
///
/// To be called for each packet that leaves memory, after cutting.
pub fn fill_checksums(packet: &mut Packet) {
    if packet.meta.checksum == Checksum::Unfilled {
        sockeye_wire::fill_checksums(&mut packet.head, packet.payload.chunks().map(|chunk| &**chunk));
        packet.meta.checksum = Checksum::Verified;
    }
}

#[cfg(test)]
mod tests;
