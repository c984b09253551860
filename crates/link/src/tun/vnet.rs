//! The header in front of a packet on a TUN device with offloads: `struct virtio_net_hdr` of
//! `linux/virtio_net.h`, in the machine's byte order.

use crate::segmentation;
use sockeye_packet::{Checksum, Head, Meta, Packet};
use sockeye_wire::{IpLayout, Ipv4Fixed, Protocol};

/// The checksum field holds the sum of the pseudo header only.
const NEEDS_CSUM: u8 = 1;
/// Somebody verified the checksum.
const DATA_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
/// Beside the type: the first segment has CWR set, the others must not.
const GSO_ECN: u8 = 0x80;

const TCP_CWR: u8 = 0x80;

/// What the header says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct VnetHeader {
    flags: u8,
    gso_type: u8,
    /// Bytes of all headers of a super-segment.
    head_len: u16,
    /// Payload bytes of each segment.
    gso_size: u16,
    /// Where the checksummed bytes begin.
    csum_start: u16,
    /// Where, from there, the checksum stands.
    csum_offset: u16,
}

/// Whether the kernel takes `packet` without cutting: all but super-segments of UDP, which came later (6.2).
pub(super) fn carries(packet: &Packet) -> bool {
    !packet.is_super_segment()
        || (packet.meta.checksum != Checksum::Unverified
            && IpLayout::parse(&packet.head)
                .is_ok_and(|ip| ip.protocol == Protocol::TCP && ip.fragment.is_none()))
}

impl VnetHeader {
    pub(super) const LEN: usize = 10;

    /// The header for `packet`, whose checksum fields are filled as the header says.
    pub(super) fn prepare(packet: &mut Packet) -> VnetHeader {
        let size = packet.meta.gso_size;
        let ip = match IpLayout::parse(&packet.head) {
            Ok(ip) if packet.is_super_segment() && ip.protocol == Protocol::TCP => ip,
            _ => {
                // One checksum costs as much here as in the kernel.
                segmentation::fill_checksums(packet);
                return VnetHeader::default();
            }
        };
        let cwr = packet.head.get(ip.transport + 13).is_some_and(|flags| flags & TCP_CWR != 0);
        let gso_type = if ip.src.is_ipv4() { GSO_TCPV4 } else { GSO_TCPV6 };
        fill_partially(&mut packet.head, packet.payload.len(), &ip);
        VnetHeader {
            flags: NEEDS_CSUM,
            gso_type: gso_type | if cwr { GSO_ECN } else { 0 },
            head_len: packet.head.len() as u16,
            gso_size: size,
            csum_start: ip.transport as u16,
            csum_offset: 16,
        }
    }

    /// Notes in `meta` what the header says of the packet behind it.
    pub(super) fn apply(&self, meta: &mut Meta) {
        if self.flags & NEEDS_CSUM != 0 {
            // It comes from this machine's memory.
            meta.checksum = Checksum::Unfilled;
        } else if self.flags & DATA_VALID != 0 {
            meta.checksum = Checksum::Verified;
        }
        if self.gso_type != GSO_NONE {
            meta.gso_size = self.gso_size;
        }
    }

    pub(super) fn to_bytes(self) -> [u8; VnetHeader::LEN] {
        let VnetHeader { flags, gso_type, head_len, gso_size, csum_start, csum_offset } = self;
        let mut bytes = [0; VnetHeader::LEN];
        (bytes[0], bytes[1]) = (flags, gso_type);
        for (field, value) in
            bytes[2..].chunks_exact_mut(2).zip([head_len, gso_size, csum_start, csum_offset])
        {
            field.copy_from_slice(&value.to_ne_bytes());
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; VnetHeader::LEN]) -> VnetHeader {
        let field = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        VnetHeader {
            flags: bytes[0],
            gso_type: bytes[1],
            head_len: field(2),
            gso_size: field(4),
            csum_start: field(6),
            csum_offset: field(8),
        }
    }
}

/// Fills the IPv4 header's checksum, and TCP's with the sum of the pseudo header, to which whoever cuts the
/// segments adds theirs.
fn fill_partially(head: &mut Head, payload_len: usize, ip: &IpLayout) {
    let len = head.len() - ip.transport + payload_len;
    let sum = !sockeye_wire::Checksum::pseudo_header(ip.src, ip.dst, ip.protocol, len).finish();
    let field = ip.transport + 16;
    head[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    if ip.src.is_ipv4() {
        if let Some(fixed) = Ipv4Fixed::at_mut(head) {
            fixed.checksum = 0.into();
        }
        let sum = sockeye_wire::Checksum::new().with(&head[..ip.transport]).finish();
        if let Some(fixed) = Ipv4Fixed::at_mut(head) {
            fixed.checksum = sum.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;

    #[test]
    fn bytes_are_the_kernels_layout() {
        let header = VnetHeader {
            flags: 1,
            gso_type: 4,
            head_len: 0x0102,
            gso_size: 0x0304,
            csum_start: 0x0506,
            csum_offset: 0x0708,
        };
        let expected = [0x0102_u16, 0x0304, 0x0506, 0x0708].map(u16::to_ne_bytes).concat();
        assert_eq!(header.to_bytes()[..2], [1, 4]);
        assert_eq!(header.to_bytes()[2..], expected);
        assert_eq!(VnetHeader::from_bytes(&header.to_bytes()), header);
    }

    /// What a card does behind the header: adds the segment's bytes to the partial sum.
    fn complete(packet: &mut Packet, header: VnetHeader) {
        let (start, field) =
            (usize::from(header.csum_start), usize::from(header.csum_start + header.csum_offset));
        let mut sum = sockeye_wire::Checksum::new();
        sum.add(&packet.head[start..]);
        packet.payload.chunks().for_each(|chunk| sum.add(chunk));
        packet.head[field..field + 2].copy_from_slice(&sum.finish().to_be_bytes());
    }

    #[test]
    fn super_segments_carry_a_partial_checksum() {
        for (src, dst, gso_type, start) in
            [("10.77.0.2", "10.77.0.3", GSO_TCPV4, 20), ("fd77::2", "fd77::3", GSO_TCPV6, 40)]
        {
            let mut long = tcp(src, dst, &[7; 5000], 1400);
            assert!(carries(&long));
            let header = VnetHeader::prepare(&mut long);
            assert_eq!((header.flags, header.gso_type, header.gso_size), (NEEDS_CSUM, gso_type, 1400));
            assert_eq!((header.csum_start, usize::from(header.head_len)), (start, long.head.len()));
            assert!(!is_valid(&long));
            complete(&mut long, header);
            assert!(is_valid(&long));
            let mut meta = Meta::default();
            header.apply(&mut meta);
            assert_eq!((meta.gso_size, meta.checksum), (1400, Checksum::Unfilled));
        }
    }

    #[test]
    fn a_window_reduction_is_told_once() {
        let mut long = tcp("fd77::2", "fd77::3", &[7; 5000], 1400);
        long.head[40 + 13] |= TCP_CWR;
        assert_eq!(VnetHeader::prepare(&mut long).gso_type, GSO_TCPV6 | GSO_ECN);
    }

    #[test]
    fn what_is_not_long_goes_with_its_checksum() {
        for mut packet in [tcp("10.77.0.2", "10.77.0.3", &[7; 100], 1400), udp("fd77::2", "fd77::3", b"data")]
        {
            assert_eq!(VnetHeader::prepare(&mut packet), VnetHeader::default());
            assert!(is_valid(&packet));
        }
        let mut datagrams = udp("fd77::2", "fd77::3", &[7; 5000]);
        datagrams.meta.gso_size = 1400;
        assert!(!carries(&datagrams));
    }
}
