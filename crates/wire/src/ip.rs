//! What IPv4 and IPv6 share: protocol numbers, fragments, and where the parts of a packet lie.

use crate::ipv4::Ipv4Fixed;
use crate::ipv6::{Extensions, Ipv6Fixed, Ipv6Header};
use crate::{Error, Format, Ipv4Header};
use core::fmt;
use core::net::IpAddr;
use zerocopy::FromBytes;

/// An IP protocol number: IPv4's protocol field, IPv6's next header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u8);

impl Protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: Protocol = Protocol(0);
    /// `ICMPv4`.
    pub const ICMP: Protocol = Protocol(1);
    /// IGMP.
    pub const IGMP: Protocol = Protocol(2);
    /// TCP.
    pub const TCP: Protocol = Protocol(6);
    /// UDP.
    pub const UDP: Protocol = Protocol(17);
    /// IPv6 routing header.
    pub const ROUTING: Protocol = Protocol(43);
    /// IPv6 fragment header.
    pub const FRAGMENT: Protocol = Protocol(44);
    /// `ICMPv6`.
    pub const ICMPV6: Protocol = Protocol(58);
    /// UDP-Lite (RFC 3828).
    pub const UDP_LITE: Protocol = Protocol(136);
    /// Nothing follows (IPv6).
    pub const NO_NEXT_HEADER: Protocol = Protocol(59);
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: Protocol = Protocol(60);
    /// No protocol: raw sockets of it bring IP headers of their own.
    pub const RAW: Protocol = Protocol(255);
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which part of a fragmented packet a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The identification that all fragments of a packet share; 16 bits in IPv4.
    pub id: u32,
    /// Where this fragment's data lies in the whole packet, in bytes: a multiple of 8.
    pub offset: u16,
    /// Whether more fragments follow.
    pub more: bool,
}

/// The length of all headers of a packet that starts with an IP header: IP, IPv6 extensions, and TCP,
/// UDP or ICMP behind them.
///
/// Only the IP headers count where no transport header can follow: in fragments other than the first, and
/// before a protocol that isn't known here. It is 0 for bytes that aren't an IP packet, and never more than
/// there are bytes. Nothing is verified: this only says where to cut.
pub fn header_len(packet: &[u8]) -> usize {
    let (offset, protocol, fragment_offset) = match packet.first().map(|first| first >> 4) {
        Some(4) => {
            let Ok((ip, _)) = Ipv4Fixed::ref_from_prefix(packet) else { return 0 };
            (ip.header_len().max(Ipv4Header::MIN_LEN), ip.protocol, ip.fragment_offset())
        }
        Some(6) => {
            let Ok((ip, rest)) = Ipv6Fixed::ref_from_prefix(packet) else { return 0 };
            let Ok(extensions) = Extensions::parse(Protocol(ip.next_header), rest) else {
                return Ipv6Header::LEN;
            };
            let fragment_offset = extensions.fragment.map_or(0, |fragment| fragment.offset);
            (Ipv6Header::LEN + extensions.len, extensions.protocol.0, fragment_offset)
        }
        _ => return 0,
    };
    let transport = if fragment_offset == 0 { transport_len(Protocol(protocol), packet, offset) } else { 0 };
    packet.len().min(offset + transport)
}

/// The length of the transport header that starts at `offset`, as it states it.
fn transport_len(protocol: Protocol, packet: &[u8], offset: usize) -> usize {
    match protocol {
        Protocol::TCP => packet.get(offset + 12).map_or(20, |byte| usize::from(byte >> 4) * 4).max(20),
        Protocol::UDP | Protocol::UDP_LITE | Protocol::ICMP | Protocol::ICMPV6 => 8,
        _ => 0,
    }
}

/// Where the parts of an IP packet lie, for code that treats both versions alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpLayout {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// What follows the IP header and its extensions.
    pub protocol: Protocol,
    /// Where it starts, in bytes from the IP header.
    pub transport: usize,
    /// The packet's length as the IP header states it: there may be more bytes (padding) or fewer. A field that
    /// is 0 states no more than IPv6's own header.
    pub total_len: usize,
    /// Set when the packet is a fragment.
    pub fragment: Option<Fragment>,
}

impl IpLayout {
    /// Reads the IP header and its extensions at the start of `packet`.
    pub fn parse(packet: &[u8]) -> Result<IpLayout, Error> {
        match packet.first().map(|first| first >> 4) {
            Some(4) => {
                let (ip, transport) = Ipv4Header::parse(packet)?;
                Ok(IpLayout {
                    src: ip.src.into(),
                    dst: ip.dst.into(),
                    protocol: ip.protocol,
                    transport,
                    total_len: usize::from(ip.total_len),
                    fragment: ip.fragment(),
                })
            }
            Some(6) => {
                let (ip, len) = Ipv6Header::parse(packet)?;
                let extensions = Extensions::parse(ip.next_header, &packet[len..])?;
                Ok(IpLayout {
                    src: ip.src.into(),
                    dst: ip.dst.into(),
                    protocol: extensions.protocol,
                    transport: len + extensions.len,
                    total_len: len + usize::from(ip.payload_len),
                    fragment: extensions.fragment,
                })
            }
            Some(_) => Err(Error::Version(Format::Ip)),
            None => Err(Error::Truncated(Format::Ip)),
        }
    }
}

/// What an ICMP error quotes of the packet that caused it (RFC 792, RFC 4443 §2.4): its addresses and the
/// first 8 bytes of its transport header, which is all that must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Source address of the quoted packet.
    pub src: IpAddr,
    /// Destination address of the quoted packet.
    pub dst: IpAddr,
    /// Its transport protocol.
    pub protocol: Protocol,
    /// The first 8 bytes of its transport header.
    pub transport: [u8; 8],
    /// The length of the whole packet, as its header states it.
    pub total_len: usize,
}

impl Quoted {
    /// Reads a quoted packet, which may be cut off anywhere behind those 8 bytes.
    ///
    /// A fragment other than the first quotes no transport header and is an error.
    pub fn parse(bytes: &[u8]) -> Result<Quoted, Error> {
        let IpLayout { src, dst, protocol, transport, total_len, fragment } = IpLayout::parse(bytes)?;
        if fragment.is_some_and(|fragment| fragment.offset != 0) {
            return Err(Error::Truncated(Format::Ip));
        }
        let transport = bytes.get(transport..).and_then(|rest| rest.first_chunk::<8>());
        Ok(Quoted {
            src,
            dst,
            protocol,
            transport: *transport.ok_or(Error::Truncated(Format::Ip))?,
            total_len,
        })
    }

    /// Source port of a quoted TCP or UDP packet.
    pub fn src_port(&self) -> u16 {
        u16::from_be_bytes([self.transport[0], self.transport[1]])
    }

    /// Destination port of a quoted TCP or UDP packet.
    pub fn dst_port(&self) -> u16 {
        u16::from_be_bytes([self.transport[2], self.transport[3]])
    }

    /// Sequence number of a quoted TCP segment.
    pub fn tcp_seq(&self) -> u32 {
        let [_, _, _, _, seq @ ..] = self.transport;
        u32::from_be_bytes(seq)
    }

    /// Identifier of a quoted ICMP echo request.
    pub fn echo_id(&self) -> u16 {
        u16::from_be_bytes([self.transport[4], self.transport[5]])
    }

    /// Sequence number of a quoted ICMP echo request.
    pub fn echo_seq(&self) -> u16 {
        u16::from_be_bytes([self.transport[6], self.transport[7]])
    }
}

#[cfg(test)]
mod tests;
