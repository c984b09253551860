//! IP packets around transport headers, with right checksums.

use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;
use sockeye_packet::{Checksum, Chunk, Head, Meta, Packet, Payload};
use sockeye_wire::{Icmpv4, Icmpv6, Ipv4Header, Ipv6Header, Protocol, TcpHeader, fill_checksums};

/// A packet; its data stays apart from the headers, as a stack makes them.
pub(crate) fn packet(
    ends: [IpAddr; 2],
    protocol: Protocol,
    transport: &[u8],
    payload: Payload,
    ecn: u8,
) -> Packet {
    let carried = transport.len() + payload.len();
    let mut head = vec![0; 60];
    let len = match ends {
        [IpAddr::V4(src), IpAddr::V4(dst)] => {
            let header = Ipv4Header { protocol, src, dst, tos_ecn: ecn, ttl: 64, ..Ipv4Header::default() };
            let total_len = (header.len() + carried).min(65_535) as u16;
            Ipv4Header { total_len, ..header }.emit(&mut head)
        }
        [IpAddr::V6(src), IpAddr::V6(dst)] => {
            let payload_len = carried.min(65_535) as u16;
            let traffic_class = ecn;
            let header = Ipv6Header {
                payload_len,
                next_header: protocol,
                src,
                dst,
                traffic_class,
                hop_limit: 64,
                ..Ipv6Header::default()
            };
            header.emit(&mut head)
        }
        _ => 0,
    };
    head.truncate(len);
    head.extend_from_slice(transport);
    fill_checksums(&mut head, payload.chunks().map(|chunk| &chunk[..]));
    let cut = head.len().min(Head::CAPACITY);
    let mut rest = Payload::EMPTY;
    if cut < head.len() {
        rest.push(Chunk::copy_from(&head[cut..]));
    }
    rest.extend(payload);
    let meta = Meta { checksum: Checksum::Unverified, ..Meta::default() };
    Packet { head: Head::from_slice(&head[..cut]), payload: rest, meta }
}

/// A TCP segment.
pub(crate) fn tcp(ends: [IpAddr; 2], header: &TcpHeader, payload: Payload, ecn: u8) -> Packet {
    let mut transport = [0; TcpHeader::MAX_LEN];
    let len = header.emit(&mut transport);
    packet(ends, Protocol::TCP, &transport[..len], payload, ecn)
}

/// A packet's bytes, its checksums filled.
pub(crate) fn bytes(packet: &Packet) -> Vec<u8> {
    let mut packet = packet.clone();
    if packet.meta.checksum == Checksum::Unfilled {
        fill_checksums(&mut packet.head, packet.payload.chunks().map(|chunk| &chunk[..]));
    }
    packet.to_vec()
}

/// The packet of some bytes, as a link that leaves memory receives it.
pub(crate) fn received(bytes: Vec<u8>) -> Packet {
    Packet::from_bytes(&Chunk::from(bytes), Meta { checksum: Checksum::Unverified, ..Meta::default() })
}

/// The bytes as two or more fragments, cut every `size` bytes; alone, if it is an IPv6 packet's with headers
/// between.
pub(crate) fn fragments(bytes: &[u8], size: usize, id: u32) -> Vec<Vec<u8>> {
    let v4 = bytes.first().is_some_and(|first| first >> 4 == 4);
    let size = size.max(8) / 8 * 8;
    let header = if v4 { 20 } else { 40 };
    let Some((head, data)) = bytes.split_at_checked(header) else { return vec![bytes.to_vec()] };
    let mut all = Vec::new();
    for start in (0..data.len().max(1)).step_by(size) {
        let end = (start + size).min(data.len());
        let more = end < data.len();
        let mut part = head.to_vec();
        if v4 {
            let total = (20 + end - start) as u16;
            part[2..4].copy_from_slice(&total.to_be_bytes());
            part[4..6].copy_from_slice(&(id as u16).to_be_bytes());
            let offset = (start / 8) as u16 | u16::from(more) << 13;
            part[6..8].copy_from_slice(&offset.to_be_bytes());
            part.extend_from_slice(&data[start..end]);
            fill_checksums(&mut part[..20], core::iter::empty());
        } else {
            let total = (8 + end - start) as u16;
            part[4..6].copy_from_slice(&total.to_be_bytes());
            let next = core::mem::replace(&mut part[6], 44);
            let offset = (start as u16 & 0xfff8) | u16::from(more);
            part.extend([next, 0, (offset >> 8) as u8, offset as u8]);
            part.extend(id.to_be_bytes());
            part.extend_from_slice(&data[start..end]);
        }
        all.push(part);
    }
    all
}

/// What a router says of a packet that doesn't fit.
pub(crate) fn too_big(quoted: &[u8], mtu: usize) -> Packet {
    let v4 = quoted.first().is_some_and(|first| first >> 4 == 4);
    let mut buffer = [0; 16];
    let quote = |most: usize| Payload::from(Chunk::copy_from(&quoted[..quoted.len().min(most)]));
    if v4 {
        let to: [u8; 4] = [quoted[12], quoted[13], quoted[14], quoted[15]];
        let message = Icmpv4::Unreachable { code: Icmpv4::FRAGMENTATION_NEEDED, mtu: mtu as u16 };
        let len = message.emit(&mut buffer);
        packet([[10, 0, 0, 99].into(), to.into()], Protocol::ICMP, &buffer[..len], quote(60), 0)
    } else {
        let mut to = [0; 16];
        to.copy_from_slice(&quoted[8..24]);
        let router: IpAddr = [0xfd77, 0, 0, 0, 0, 0, 0, 0x99].into();
        let len = Icmpv6::PacketTooBig { mtu: mtu as u32 }.emit(&mut buffer);
        packet([router, to.into()], Protocol::ICMPV6, &buffer[..len], quote(100), 0)
    }
}
