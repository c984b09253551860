//! The UDP header (RFC 768).

use crate::{Error, Format};
use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The UDP header as it lies in the packet, for changes in place.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct UdpFixed {
    /// Source port.
    pub src_port: U16,
    /// Destination port.
    pub dst_port: U16,
    /// Length in bytes of header and data.
    pub len: U16,
    /// Checksum; 0 means none was computed (IPv4 only).
    pub checksum: U16,
}

impl UdpFixed {
    /// The view onto the header at the start of `bytes`, if there are enough. Nothing is checked.
    pub fn at_mut(bytes: &mut [u8]) -> Option<&mut UdpFixed> {
        UdpFixed::mut_from_prefix(bytes).ok().map(|(fixed, _)| fixed)
    }
}

/// A UDP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpHeader {
    /// Source port; 0 when no answer is wanted.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Length in bytes of header and data.
    pub len: u16,
}

impl UdpHeader {
    /// Length of the header.
    pub const LEN: usize = 8;

    /// Reads the header at the start of `bytes`; answers it with its length.
    ///
    /// Whether as many bytes came as `len` says is left to the caller.
    pub fn parse(bytes: &[u8]) -> Result<(UdpHeader, usize), Error> {
        let (fixed, _) = UdpFixed::ref_from_prefix(bytes).map_err(|_| Error::Truncated(Format::Udp))?;
        let header = UdpHeader {
            src_port: fixed.src_port.get(),
            dst_port: fixed.dst_port.get(),
            len: fixed.len.get(),
        };
        if usize::from(header.len) < Self::LEN {
            return Err(Error::Length(Format::Udp));
        }
        Ok((header, Self::LEN))
    }

    /// Writes the header to the start of `buffer`, its checksum zero; answers its length.
    /// Panics when `buffer` is shorter than that.
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let UdpHeader { src_port, dst_port, len } = *self;
        let fixed = UdpFixed {
            src_port: src_port.into(),
            dst_port: dst_port.into(),
            len: len.into(),
            checksum: 0.into(),
        };
        buffer[..Self::LEN].copy_from_slice(fixed.as_bytes());
        Self::LEN
    }
}

#[cfg(test)]
mod tests;
