//! The IPv6 header and the walk over its extension headers (RFC 8200).
//!
//! The walk is bounded: a chain of more than [`Extensions::MAX_HEADERS`] headers is an error.

use crate::{Error, Format, Fragment, Protocol};
use core::net::Ipv6Addr;
use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The IPv6 header as it lies in the packet, for changes in place.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ipv6Fixed {
    /// Version (4 bits), traffic class (8), flow label (20).
    pub version_class_flow: U32,
    /// Length in bytes of all that follows this header.
    pub payload_len: U16,
    /// Type of the header that follows.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub src: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
}

impl Ipv6Fixed {
    /// The view onto the header at the start of `packet`, if there are enough bytes. Nothing is checked.
    pub fn at_mut(packet: &mut [u8]) -> Option<&mut Ipv6Fixed> {
        Ipv6Fixed::mut_from_prefix(packet).ok().map(|(fixed, _)| fixed)
    }
}

/// An IPv6 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Header {
    /// Traffic class (DSCP), with the ECN bits.
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// Length in bytes of all that follows this header, extension headers included.
    pub payload_len: u16,
    /// Type of the header that follows.
    pub next_header: Protocol,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub src: Ipv6Addr,
    /// Destination address.
    pub dst: Ipv6Addr,
}

impl Default for Ipv6Header {
    /// A header with hop limit 64 and everything else zero: for filling in with `..`.
    fn default() -> Ipv6Header {
        Ipv6Header {
            traffic_class: 0,
            flow_label: 0,
            payload_len: 0,
            next_header: Protocol::NO_NEXT_HEADER,
            hop_limit: 64,
            src: Ipv6Addr::UNSPECIFIED,
            dst: Ipv6Addr::UNSPECIFIED,
        }
    }
}

impl Ipv6Header {
    /// Length of the header, without extensions.
    pub const LEN: usize = 40;

    /// Reads the header at the start of `packet`; answers it with its length.
    ///
    /// Whether as many bytes came as `payload_len` says is left to the caller.
    #[inline]
    pub fn parse(packet: &[u8]) -> Result<(Ipv6Header, usize), Error> {
        let (fixed, _) = Ipv6Fixed::ref_from_prefix(packet).map_err(|_| Error::Truncated(Format::Ipv6))?;
        let first = fixed.version_class_flow.get();
        if first >> 28 != 6 {
            return Err(Error::Version(Format::Ipv6));
        }
        let header = Ipv6Header {
            traffic_class: (first >> 20) as u8,
            flow_label: first & 0xf_ffff,
            payload_len: fixed.payload_len.get(),
            next_header: Protocol(fixed.next_header),
            hop_limit: fixed.hop_limit,
            src: Ipv6Addr::from(fixed.src),
            dst: Ipv6Addr::from(fixed.dst),
        };
        Ok((header, Self::LEN))
    }

    /// Writes the header to the start of `buffer`; answers its length.
    /// Panics when `buffer` is shorter than that.
    #[inline]
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let Ipv6Header { traffic_class, flow_label, payload_len, next_header, hop_limit, src, dst } = *self;
        let class_flow = u32::from(traffic_class) << 20 | flow_label & 0xf_ffff;
        let fixed = Ipv6Fixed {
            version_class_flow: (6 << 28 | class_flow).into(),
            payload_len: payload_len.into(),
            next_header: next_header.0,
            hop_limit,
            src: src.octets(),
            dst: dst.octets(),
        };
        buffer[..Self::LEN].copy_from_slice(fixed.as_bytes());
        Self::LEN
    }
}

/// A routing header that the packet carries (RFC 8200 §4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routing {
    /// Routing type.
    pub kind: u8,
    /// Nodes still to be visited: a host that doesn't know the type must reject the packet unless it is 0.
    pub segments_left: u8,
    /// Where the header starts, in bytes behind the IPv6 header.
    pub offset: usize,
}

/// An option that isn't known here, in a hop-by-hop or destination options header, whose type demands
/// that the packet be discarded (RFC 8200 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownOption {
    /// The option type. Its upper 2 bits: 1 discards in silence, 2 answers with a parameter problem,
    /// 3 does so unless the packet went to a multicast address.
    pub kind: u8,
    /// Where the option starts, in bytes behind the IPv6 header.
    pub offset: usize,
}

/// The extension headers between an IPv6 header and what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions {
    /// What follows the extension headers. For a fragment other than the first: what the whole packet
    /// carries behind its fragment header.
    pub protocol: Protocol,
    /// Length of the extension headers in bytes.
    pub len: usize,
    /// Set when there is a fragment header.
    pub fragment: Option<Fragment>,
    /// Where the fragment header starts, in bytes behind the IPv6 header; `len` when there is none.
    pub unfragmentable: usize,
    /// The routing header, if there is one.
    pub routing: Option<Routing>,
    /// The first option that demands that the packet be discarded.
    pub unknown_option: Option<UnknownOption>,
}

impl Extensions {
    /// The most extension headers that are walked over.
    pub const MAX_HEADERS: usize = 8;

    /// Walks over the extension headers in `bytes`, which start behind the IPv6 header.
    pub fn parse(next_header: Protocol, bytes: &[u8]) -> Result<Extensions, Error> {
        let mut found = Extensions {
            protocol: next_header,
            len: 0,
            fragment: None,
            unfragmentable: usize::MAX,
            routing: None,
            unknown_option: None,
        };
        for _ in 0..=Self::MAX_HEADERS {
            // RFC 8200 §4.1: hop-by-hop options stand right behind the IPv6 header or nowhere.
            let hop_by_hop = found.protocol == Protocol::HOP_BY_HOP && found.len == 0;
            if !hop_by_hop && !is_extension(found.protocol) {
                found.unfragmentable = found.unfragmentable.min(found.len);
                return Ok(found);
            }
            if !found.step(bytes)? {
                return Ok(found);
            }
        }
        Err(Error::TooManyExtensions)
    }

    /// Takes in the header at `len`. Answers false when nothing can be read behind it.
    fn step(&mut self, bytes: &[u8]) -> Result<bool, Error> {
        const TRUNCATED: Error = Error::Truncated(Format::Ipv6Extension);
        let start = self.len;
        let rest = bytes.get(start..).ok_or(TRUNCATED)?;
        let fixed = rest.first_chunk::<8>().ok_or(TRUNCATED)?;
        let kind = self.protocol;
        self.protocol = Protocol(fixed[0]);
        if kind == Protocol::FRAGMENT {
            let offset_more = u16::from_be_bytes([fixed[2], fixed[3]]);
            let id = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
            let fragment = Fragment { id, offset: offset_more & !7, more: offset_more & 1 != 0 };
            self.fragment = Some(fragment);
            self.unfragmentable = self.unfragmentable.min(start);
            self.len += 8;
            // The headers behind a fragment header belong to the packet's first fragment only.
            if fragment.offset != 0 {
                return Ok(false);
            }
            return Ok(true);
        }
        let header = rest.get(..8 * (1 + usize::from(fixed[1]))).ok_or(TRUNCATED)?;
        self.len += header.len();
        if kind == Protocol::ROUTING {
            self.routing = Some(Routing { kind: fixed[2], segments_left: fixed[3], offset: start });
        } else if self.unknown_option.is_none() {
            self.unknown_option = unknown_option(header, start)?;
        }
        Ok(true)
    }
}

fn is_extension(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::ROUTING | Protocol::FRAGMENT | Protocol::DESTINATION_OPTIONS)
}

/// The first option in an options header, itself `start` bytes behind the IPv6 header, that must not be
/// skipped.
fn unknown_option(header: &[u8], start: usize) -> Result<Option<UnknownOption>, Error> {
    let mut at = 2;
    while let Some(&kind) = header.get(at) {
        if kind == 0 {
            at += 1; // Pad1
            continue;
        }
        let len = *header.get(at + 1).ok_or(Error::Length(Format::Ipv6Extension))?;
        if kind >> 6 != 0 {
            return Ok(Some(UnknownOption { kind, offset: start + at }));
        }
        at += 2 + usize::from(len);
        if at > header.len() {
            return Err(Error::Length(Format::Ipv6Extension));
        }
    }
    Ok(None)
}

#[cfg(test)]
pub(crate) mod tests;
