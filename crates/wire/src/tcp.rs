//! The TCP header (RFC 9293 §3.1). Options are in [`options`].

mod options;

pub use options::{SackBlock, SackBlocks, TcpOptions, TcpTimestamps};

use crate::{Error, Format};
use core::fmt;
use core::ops::{BitAnd, BitOr, BitOrAssign, Not};
use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The control bits of a TCP header: a set.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TcpFlags(u16);

impl TcpFlags {
    /// The empty set.
    pub const NONE: TcpFlags = TcpFlags(0);
    /// No more data from the sender.
    pub const FIN: TcpFlags = TcpFlags(0x001);
    /// Synchronise sequence numbers.
    pub const SYN: TcpFlags = TcpFlags(0x002);
    /// Reset the connection.
    pub const RST: TcpFlags = TcpFlags(0x004);
    /// Push.
    pub const PSH: TcpFlags = TcpFlags(0x008);
    /// The acknowledgment field counts.
    pub const ACK: TcpFlags = TcpFlags(0x010);
    /// The urgent pointer counts.
    pub const URG: TcpFlags = TcpFlags(0x020);
    /// ECN echo (RFC 3168).
    pub const ECE: TcpFlags = TcpFlags(0x040);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: TcpFlags = TcpFlags(0x080);
    /// Accurate ECN (RFC 9768).
    pub const AE: TcpFlags = TcpFlags(0x100);
    /// All that are known; the three bits above them are reserved.
    pub const ALL: TcpFlags = TcpFlags(0x1ff);

    /// The set whose members are the bits of `bits`; reserved ones are dropped.
    pub const fn from_bits(bits: u16) -> TcpFlags {
        TcpFlags(bits & Self::ALL.0)
    }

    /// The set as the header's bits.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// What is in either set.
    pub const fn union(self, other: TcpFlags) -> TcpFlags {
        TcpFlags(self.0 | other.0)
    }

    /// Whether all of `other` are in the set.
    pub const fn contains(self, other: TcpFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is in the set.
    pub const fn intersects(self, other: TcpFlags) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether SYN is set.
    pub const fn syn(self) -> bool {
        self.contains(Self::SYN)
    }

    /// Whether ACK is set.
    pub const fn ack(self) -> bool {
        self.contains(Self::ACK)
    }

    /// Whether FIN is set.
    pub const fn fin(self) -> bool {
        self.contains(Self::FIN)
    }

    /// Whether RST is set.
    pub const fn rst(self) -> bool {
        self.contains(Self::RST)
    }
}

impl BitOr for TcpFlags {
    type Output = TcpFlags;

    fn bitor(self, other: TcpFlags) -> TcpFlags {
        TcpFlags(self.0 | other.0)
    }
}

impl BitOrAssign for TcpFlags {
    fn bitor_assign(&mut self, other: TcpFlags) {
        self.0 |= other.0;
    }
}

impl BitAnd for TcpFlags {
    type Output = TcpFlags;

    fn bitand(self, other: TcpFlags) -> TcpFlags {
        TcpFlags(self.0 & other.0)
    }
}

impl Not for TcpFlags {
    type Output = TcpFlags;

    fn not(self) -> TcpFlags {
        TcpFlags(!self.0 & Self::ALL.0)
    }
}

impl TcpFlags {
    /// The letters of the packet-line notation, in the order they are printed.
    pub(crate) const LETTERS: [(char, TcpFlags); 9] = [
        ('F', Self::FIN),
        ('S', Self::SYN),
        ('R', Self::RST),
        ('P', Self::PSH),
        ('.', Self::ACK),
        ('U', Self::URG),
        ('E', Self::ECE),
        ('W', Self::CWR),
        ('A', Self::AE),
    ];
}

/// As in packet lines: `S.` is SYN with ACK, `-` the empty set.
impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        if self.is_empty() {
            return f.write_char('-');
        }
        Self::LETTERS.iter().filter(|(_, flag)| self.contains(*flag)).try_for_each(|(c, _)| f.write_char(*c))
    }
}

impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpFlags({self})")
    }
}

/// The fixed part of a TCP header as it lies in the packet, for changes in place.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TcpFixed {
    /// Source port.
    pub src_port: U16,
    /// Destination port.
    pub dst_port: U16,
    /// Sequence number.
    pub seq: U32,
    /// Acknowledgment number.
    pub ack: U32,
    /// Data offset in words of 4 bytes (4 bits), reserved (3), control bits (9).
    pub offset_flags: U16,
    /// Window, not scaled.
    pub window: U16,
    /// Checksum over pseudo header, header and data.
    pub checksum: U16,
    /// Urgent pointer.
    pub urgent: U16,
}

impl TcpFixed {
    /// The view onto the header at the start of `bytes`, if there are enough. Nothing is checked.
    pub fn at_mut(bytes: &mut [u8]) -> Option<&mut TcpFixed> {
        TcpFixed::mut_from_prefix(bytes).ok().map(|(fixed, _)| fixed)
    }

    /// Header length in bytes, as the header states it.
    pub fn header_len(&self) -> usize {
        usize::from(self.offset_flags.get() >> 12) * 4
    }

    /// The control bits.
    pub fn flags(&self) -> TcpFlags {
        TcpFlags::from_bits(self.offset_flags.get())
    }

    /// Replaces the control bits.
    pub fn set_flags(&mut self, flags: TcpFlags) {
        self.offset_flags = (self.offset_flags.get() & !TcpFlags::ALL.bits() | flags.bits()).into();
    }
}

/// A TCP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpHeader {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number of the first byte of data, or of the SYN.
    pub seq: u32,
    /// Next sequence number expected from the other side; counts with [`TcpFlags::ACK`] only.
    pub ack: u32,
    /// Control bits.
    pub flags: TcpFlags,
    /// Window as it is in the header, not scaled.
    pub window: u16,
    /// Urgent pointer; counts with [`TcpFlags::URG`] only.
    pub urgent: u16,
    /// The options that are known here.
    pub options: TcpOptions,
}

impl TcpHeader {
    /// Length of a header without options.
    pub const MIN_LEN: usize = 20;
    /// Length of the longest header.
    pub const MAX_LEN: usize = 60;

    /// Reads the header at the start of `bytes`; answers it with its length. The checksum is not verified.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<(TcpHeader, usize), Error> {
        let mut header = TcpHeader::default();
        let len = header.read(bytes)?;
        Ok((header, len))
    }

    /// [`TcpHeader::parse`] in place, for hot paths: moving a header that was just written costs several
    /// times what parsing does. After an error the header is as it was.
    #[inline]
    pub fn read(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let (fixed, rest) = TcpFixed::ref_from_prefix(bytes).map_err(|_| Error::Truncated(Format::Tcp))?;
        let header_len = fixed.header_len();
        if header_len < Self::MIN_LEN {
            return Err(Error::Length(Format::Tcp));
        }
        let options = rest.get(..header_len - Self::MIN_LEN).ok_or(Error::Truncated(Format::Tcp))?;
        self.src_port = fixed.src_port.get();
        self.dst_port = fixed.dst_port.get();
        self.seq = fixed.seq.get();
        self.ack = fixed.ack.get();
        self.flags = fixed.flags();
        self.window = fixed.window.get();
        self.urgent = fixed.urgent.get();
        self.options.clear();
        self.options.read(options);
        Ok(header_len)
    }

    /// Length of the header when emitted: what the packet's head must have room for.
    #[inline]
    pub fn len(&self) -> usize {
        Self::MIN_LEN + self.options.len()
    }

    /// Always false: a header has bytes.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Writes the header to the start of `buffer`, its checksum zero; answers its length.
    /// Panics when `buffer` is shorter than that.
    #[inline]
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let TcpHeader { src_port, dst_port, seq, ack, flags, window, urgent, ref options } = *self;
        let (head, rest) = buffer.split_at_mut(Self::MIN_LEN);
        let len = Self::MIN_LEN + options.emit(rest);
        let fixed = TcpFixed {
            src_port: src_port.into(),
            dst_port: dst_port.into(),
            seq: seq.into(),
            ack: ack.into(),
            offset_flags: ((len as u16 / 4) << 12 | flags.bits()).into(),
            window: window.into(),
            checksum: 0.into(),
            urgent: urgent.into(),
        };
        head.copy_from_slice(fixed.as_bytes());
        len
    }
}

#[cfg(test)]
pub(crate) mod tests;
