//! Marks of congestion in IP headers (RFC 3168 §5).

use sockeye_packet::Packet;
use sockeye_wire::{Ipv4Fixed, Ipv6Fixed, incremental_update};

/// The ECN bits: congestion experienced.
const CE: u8 = 3;

/// The version that the header states.
fn version(packet: &Packet) -> u8 {
    packet.head.first().map_or(0, |byte| byte >> 4)
}

/// Whether the sender said that routers may mark the packet; also if one has done so.
pub(super) fn can_be_marked(packet: &Packet) -> bool {
    let tos = match (version(packet), &packet.head[..]) {
        (4, [_, tos, ..]) => *tos,
        (6, [_, low, ..]) => low >> 4,
        _ => 0,
    };
    tos & CE != 0
}

/// Marks the packet with congestion experienced; the checksum of an IPv4 header follows (RFC 1624).
pub(super) fn mark(packet: &mut Packet) {
    if version(packet) == 4 {
        let Some(ip) = Ipv4Fixed::at_mut(&mut packet.head) else { return };
        let word = |tos: u8| u16::from_be_bytes([ip.version_ihl, tos]);
        let (old, new) = (word(ip.tos_ecn), word(ip.tos_ecn | CE));
        ip.checksum = incremental_update(ip.checksum.get(), old, new).into();
        ip.tos_ecn |= CE;
    } else if let Some(ip) = Ipv6Fixed::at_mut(&mut packet.head) {
        ip.version_class_flow = (ip.version_class_flow.get() | u32::from(CE) << 20).into();
    }
}
