//! The IPv4 header (RFC 791), with the meaning of its bits as of RFC 2474, RFC 3168 and RFC 6864.

use crate::{Bounded, Checksum, Error, Format, Fragment, Protocol};
use core::net::Ipv4Addr;
use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

/// The fixed part of an IPv4 header as it lies in the packet, for changes in place.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ipv4Fixed {
    /// Version in the upper half, header length in words of 4 bytes in the lower.
    pub version_ihl: u8,
    /// Type of service with the ECN bits.
    pub tos_ecn: u8,
    /// Length of the packet in bytes, headers included.
    pub total_len: U16,
    /// Identification.
    pub id: U16,
    /// Flags in the upper 3 bits, fragment offset in units of 8 bytes below.
    pub flags_offset: U16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol number.
    pub protocol: u8,
    /// Checksum over the header.
    pub checksum: U16,
    /// Source address.
    pub src: [u8; 4],
    /// Destination address.
    pub dst: [u8; 4],
}

impl Ipv4Fixed {
    /// The view onto the header at the start of `packet`, if there are enough bytes. Nothing is checked.
    pub fn at_mut(packet: &mut [u8]) -> Option<&mut Ipv4Fixed> {
        Ipv4Fixed::mut_from_prefix(packet).ok().map(|(fixed, _)| fixed)
    }

    /// Header length in bytes, as the header states it.
    pub fn header_len(&self) -> usize {
        usize::from(self.version_ihl & 0xf) * 4
    }

    /// Fragment offset in bytes.
    pub fn fragment_offset(&self) -> u16 {
        (self.flags_offset.get() & OFFSET_MASK) * 8
    }
}

/// The option bytes of an IPv4 header, padded to a multiple of 4 when emitted.
pub type Ipv4Options = Bounded<u8, 40>;

/// An IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Header {
    /// Type of service (DSCP), with the ECN bits.
    pub tos_ecn: u8,
    /// Length of the packet in bytes, this header included.
    pub total_len: u16,
    /// Identification; has a meaning in fragments only (RFC 6864).
    pub id: u16,
    /// The packet may not be fragmented.
    pub dont_fragment: bool,
    /// More fragments follow this one.
    pub more_fragments: bool,
    /// Where this fragment's data lies in the whole packet, in bytes: a multiple of 8.
    pub fragment_offset: u16,
    /// Time to live.
    pub ttl: u8,
    /// What follows the header.
    pub protocol: Protocol,
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// The options as they are.
    pub options: Ipv4Options,
}

impl Default for Ipv4Header {
    /// A header with TTL 64 and everything else zero: for filling in with `..`.
    fn default() -> Ipv4Header {
        Ipv4Header {
            tos_ecn: 0,
            total_len: 0,
            id: 0,
            dont_fragment: false,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            protocol: Protocol(0),
            src: Ipv4Addr::UNSPECIFIED,
            dst: Ipv4Addr::UNSPECIFIED,
            options: Ipv4Options::new(),
        }
    }
}

impl Ipv4Header {
    /// Length of a header without options.
    pub const MIN_LEN: usize = 20;
    /// Length of the longest header.
    pub const MAX_LEN: usize = 60;

    /// Reads the header at the start of `packet`; answers it with its length.
    ///
    /// Checked are the version and that the lengths agree with the header's size. Left to the caller: the
    /// checksum ([`Ipv4Header::verify`]) and whether as many bytes came as `total_len` says. A `total_len` of 0
    /// is read as it is: packets that never leave memory may be too long for the field.
    #[inline]
    pub fn parse(packet: &[u8]) -> Result<(Ipv4Header, usize), Error> {
        let (fixed, rest) = Ipv4Fixed::ref_from_prefix(packet).map_err(|_| Error::Truncated(Format::Ipv4))?;
        if fixed.version_ihl >> 4 != 4 {
            return Err(Error::Version(Format::Ipv4));
        }
        let header_len = fixed.header_len();
        let total_len = usize::from(fixed.total_len.get());
        if header_len < Self::MIN_LEN || (1..header_len).contains(&total_len) {
            return Err(Error::Length(Format::Ipv4));
        }
        let options = rest.get(..header_len - Self::MIN_LEN).ok_or(Error::Truncated(Format::Ipv4))?;
        let flags_offset = fixed.flags_offset.get();
        let header = Ipv4Header {
            tos_ecn: fixed.tos_ecn,
            total_len: fixed.total_len.get(),
            id: fixed.id.get(),
            dont_fragment: flags_offset & DONT_FRAGMENT != 0,
            more_fragments: flags_offset & MORE_FRAGMENTS != 0,
            fragment_offset: fixed.fragment_offset(),
            ttl: fixed.ttl,
            protocol: Protocol(fixed.protocol),
            src: Ipv4Addr::from(fixed.src),
            dst: Ipv4Addr::from(fixed.dst),
            options: if options.is_empty() { Ipv4Options::new() } else { Ipv4Options::from_slice(options) },
        };
        Ok((header, header_len))
    }

    /// Whether the checksum of the header at the start of `packet` is right.
    #[inline]
    pub fn verify(packet: &[u8]) -> bool {
        let len = packet.first().map_or(0, |first| usize::from(first & 0xf) * 4);
        len >= Self::MIN_LEN
            && packet.get(..len).is_some_and(|header| Checksum::new().with(header).finish() == 0)
    }

    /// Length of the header when emitted.
    #[inline]
    pub fn len(&self) -> usize {
        Self::MIN_LEN + self.options.len().next_multiple_of(4)
    }

    /// Always false: a header has bytes.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Writes the header with its checksum to the start of `buffer`; answers its length.
    /// Panics when `buffer` is shorter than that.
    // Always: most callers know what most of it is, options above all.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "what callers know makes it a fraction of itself")]
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let len = self.len();
        let Ipv4Header { dont_fragment, more_fragments, fragment_offset, .. } = *self;
        let dont_fragment = if dont_fragment { DONT_FRAGMENT } else { 0 };
        let more_fragments = if more_fragments { MORE_FRAGMENTS } else { 0 };
        let mut fixed = Ipv4Fixed {
            version_ihl: 0x40 | (len / 4) as u8,
            tos_ecn: self.tos_ecn,
            total_len: self.total_len.into(),
            id: self.id.into(),
            flags_offset: (dont_fragment | more_fragments | (fragment_offset / 8)).into(),
            ttl: self.ttl,
            protocol: self.protocol.0,
            checksum: 0.into(),
            src: self.src.octets(),
            dst: self.dst.octets(),
        };
        if self.options.is_empty() {
            fixed.checksum = Checksum::of_words(fixed.as_bytes().as_chunks().0).finish().into();
            buffer[..Self::MIN_LEN].copy_from_slice(fixed.as_bytes());
            return len;
        }
        self.emit_with_options(&fixed, buffer)
    }

    fn emit_with_options(&self, fixed: &Ipv4Fixed, buffer: &mut [u8]) -> usize {
        let len = self.len();
        let (head, options) = buffer[..len].split_at_mut(Self::MIN_LEN);
        head.copy_from_slice(fixed.as_bytes());
        let (given, padding) = options.split_at_mut(self.options.len());
        given.copy_from_slice(&self.options);
        padding.fill(0);
        let checksum = Checksum::new().with(&buffer[..len]).finish();
        buffer[10..12].copy_from_slice(&checksum.to_be_bytes());
        len
    }

    /// What part of a fragmented packet this is; `None` for a whole packet.
    pub fn fragment(&self) -> Option<Fragment> {
        (self.more_fragments || self.fragment_offset != 0).then_some(Fragment {
            id: self.id.into(),
            offset: self.fragment_offset,
            more: self.more_fragments,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
