//! `ICMPv6` messages (RFC 4443): the 8 bytes in front of the data or the quoted packet.

use crate::icmpv4::pair;
use crate::{Error, Format};

/// The header of an `ICMPv6` message. What follows it is the data of an echo, or the packet an error quotes
/// (read with [`Quoted::parse`](crate::Quoted::parse)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icmpv6 {
    /// Type 1.
    Unreachable {
        /// Why: one of the `*_UNREACHABLE` codes and their kin.
        code: u8,
    },
    /// Type 2.
    PacketTooBig {
        /// The next hop's MTU.
        mtu: u32,
    },
    /// Type 3.
    TimeExceeded {
        /// 0 in transit, 1 during reassembly.
        code: u8,
    },
    /// Type 4.
    ParameterProblem {
        /// 0 bad field, 1 unknown next header, 2 unknown option.
        code: u8,
        /// Which byte of the quoted packet is at fault.
        pointer: u32,
    },
    /// Type 128.
    EchoRequest {
        /// Identifier.
        id: u16,
        /// Sequence number.
        seq: u16,
    },
    /// Type 129.
    EchoReply {
        /// Identifier.
        id: u16,
        /// Sequence number.
        seq: u16,
    },
    /// Any other type.
    Other {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// The 4 bytes behind the checksum.
        rest: [u8; 4],
    },
}

impl Icmpv6 {
    /// Length of the header.
    pub const LEN: usize = 8;

    /// Unreachable: no route.
    pub const NO_ROUTE: u8 = 0;
    /// Unreachable: communication administratively prohibited.
    pub const ADMIN_PROHIBITED: u8 = 1;
    /// Unreachable: beyond the scope of the source address.
    pub const BEYOND_SCOPE: u8 = 2;
    /// Unreachable: the address doesn't answer.
    pub const ADDRESS_UNREACHABLE: u8 = 3;
    /// Unreachable: nobody listens on the port.
    pub const PORT_UNREACHABLE: u8 = 4;

    /// Reads the header at the start of `bytes`; answers it with its length. The checksum is not verified.
    pub fn parse(bytes: &[u8]) -> Result<(Icmpv6, usize), Error> {
        let header = bytes.first_chunk::<8>().ok_or(Error::Truncated(Format::Icmpv6))?;
        let [kind, code, _, _, a, b, c, d] = *header;
        let (first, second) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let both = u32::from_be_bytes([a, b, c, d]);
        let message = match kind {
            1 => Icmpv6::Unreachable { code },
            2 => Icmpv6::PacketTooBig { mtu: both },
            3 => Icmpv6::TimeExceeded { code },
            4 => Icmpv6::ParameterProblem { code, pointer: both },
            128 => Icmpv6::EchoRequest { id: first, seq: second },
            129 => Icmpv6::EchoReply { id: first, seq: second },
            _ => Icmpv6::Other { kind, code, rest: [a, b, c, d] },
        };
        Ok((message, Self::LEN))
    }

    /// Writes the header to the start of `buffer`, its checksum zero; answers its length.
    /// Panics when `buffer` is shorter than that.
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let (kind, code, rest) = self.parts();
        let [a, b, c, d] = rest;
        buffer[..Self::LEN].copy_from_slice(&[kind, code, 0, 0, a, b, c, d]);
        Self::LEN
    }

    /// Whether the message reports an error, about a packet it quotes: such a message is never answered
    /// with another error (RFC 4443 §2.4 (e)). Redirect (137) counts.
    pub fn is_error(&self) -> bool {
        let (kind, ..) = self.parts();
        kind < 128 || kind == 137
    }

    /// Type, code and the 4 bytes behind the checksum.
    pub fn parts(&self) -> (u8, u8, [u8; 4]) {
        match *self {
            Icmpv6::Unreachable { code } => (1, code, [0; 4]),
            Icmpv6::PacketTooBig { mtu } => (2, 0, mtu.to_be_bytes()),
            Icmpv6::TimeExceeded { code } => (3, code, [0; 4]),
            Icmpv6::ParameterProblem { code, pointer } => (4, code, pointer.to_be_bytes()),
            Icmpv6::EchoRequest { id, seq } => (128, 0, pair(id, seq)),
            Icmpv6::EchoReply { id, seq } => (129, 0, pair(id, seq)),
            Icmpv6::Other { kind, code, rest } => (kind, code, rest),
        }
    }
}

#[cfg(test)]
mod tests;
