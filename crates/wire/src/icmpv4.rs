//! `ICMPv4` messages (RFC 792, RFC 1191): the 8 bytes in front of the data or the quoted packet.

use crate::{Error, Format};

/// The header of an `ICMPv4` message. What follows it is the data of an echo, or the packet an error quotes
/// (read with [`Quoted::parse`](crate::Quoted::parse)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icmpv4 {
    /// Type 8.
    EchoRequest {
        /// Identifier.
        id: u16,
        /// Sequence number.
        seq: u16,
    },
    /// Type 0.
    EchoReply {
        /// Identifier.
        id: u16,
        /// Sequence number.
        seq: u16,
    },
    /// Type 3.
    Unreachable {
        /// Why: one of the `*_UNREACHABLE` codes and their kin.
        code: u8,
        /// The next hop's MTU, with code [`Icmpv4::FRAGMENTATION_NEEDED`] (RFC 1191); else 0.
        mtu: u16,
    },
    /// Type 11.
    TimeExceeded {
        /// 0 in transit, 1 during reassembly.
        code: u8,
    },
    /// Type 12.
    ParameterProblem {
        /// 0 when the pointer names the error.
        code: u8,
        /// Which byte of the quoted packet is at fault.
        pointer: u8,
    },
    /// Any other type, source quench (4) and redirect (5) among them.
    Other {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// The 4 bytes behind the checksum.
        rest: [u8; 4],
    },
}

impl Icmpv4 {
    /// Length of the header.
    pub const LEN: usize = 8;

    /// Unreachable: no route to the network.
    pub const NET_UNREACHABLE: u8 = 0;
    /// Unreachable: the host doesn't answer.
    pub const HOST_UNREACHABLE: u8 = 1;
    /// Unreachable: the protocol is not spoken there.
    pub const PROTOCOL_UNREACHABLE: u8 = 2;
    /// Unreachable: nobody listens on the port.
    pub const PORT_UNREACHABLE: u8 = 3;
    /// Unreachable: too long for the next hop, and DF is set.
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// Unreachable: the source route failed.
    pub const SOURCE_ROUTE_FAILED: u8 = 5;
    /// Unreachable: communication administratively prohibited (RFC 1812 §5.2.7.1).
    pub const ADMIN_PROHIBITED: u8 = 13;

    /// Reads the header at the start of `bytes`; answers it with its length. The checksum is not verified.
    pub fn parse(bytes: &[u8]) -> Result<(Icmpv4, usize), Error> {
        let header = bytes.first_chunk::<8>().ok_or(Error::Truncated(Format::Icmpv4))?;
        let [kind, code, _, _, a, b, c, d] = *header;
        let (first, second) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let message = match kind {
            8 => Icmpv4::EchoRequest { id: first, seq: second },
            0 => Icmpv4::EchoReply { id: first, seq: second },
            3 => {
                Icmpv4::Unreachable { code, mtu: if code == Self::FRAGMENTATION_NEEDED { second } else { 0 } }
            }
            11 => Icmpv4::TimeExceeded { code },
            12 => Icmpv4::ParameterProblem { code, pointer: a },
            _ => Icmpv4::Other { kind, code, rest: [a, b, c, d] },
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
    /// with another error (RFC 1122 §3.2.2). Source quench and redirect count.
    pub fn is_error(&self) -> bool {
        matches!(
            self,
            Icmpv4::Unreachable { .. }
                | Icmpv4::TimeExceeded { .. }
                | Icmpv4::ParameterProblem { .. }
                | Icmpv4::Other { kind: 4 | 5, .. }
        )
    }

    /// Type, code and the 4 bytes behind the checksum.
    pub fn parts(&self) -> (u8, u8, [u8; 4]) {
        match *self {
            Icmpv4::EchoRequest { id, seq } => (8, 0, pair(id, seq)),
            Icmpv4::EchoReply { id, seq } => (0, 0, pair(id, seq)),
            Icmpv4::Unreachable { code, mtu } => (3, code, pair(0, mtu)),
            Icmpv4::TimeExceeded { code } => (11, code, [0; 4]),
            Icmpv4::ParameterProblem { code, pointer } => (12, code, [pointer, 0, 0, 0]),
            Icmpv4::Other { kind, code, rest } => (kind, code, rest),
        }
    }
}

/// Two 16-bit fields as bytes.
pub(crate) fn pair(first: u16, second: u16) -> [u8; 4] {
    (u32::from(first) << 16 | u32::from(second)).to_be_bytes()
}

#[cfg(test)]
mod tests;
