//! Packets for the tests of this crate.

use sockeye_packet::{Batch, Checksum, Chunk, Head, Meta, Packet, Payload};
use sockeye_wire::{Icmpv4, Icmpv6, Ipv4Header, Ipv6Header, Protocol, TcpFlags, TcpHeader, UdpHeader};
use std::net::IpAddr;

pub(crate) fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

/// A packet whose transport header is written by `emit`, checksums unfilled.
pub(crate) fn packet(
    (src, dst): (IpAddr, IpAddr),
    id: u16,
    protocol: Protocol,
    payload: &[u8],
    emit: impl FnOnce(&mut [u8]) -> usize,
) -> Packet {
    let mut transport = [0; 60];
    let transport_len = emit(&mut transport);
    let len = transport_len + payload.len();
    let mut bytes = [0; 60];
    let ip_len = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let total_len = (Ipv4Header::MIN_LEN + len) as u16;
            Ipv4Header { src, dst, id, protocol, total_len, ..Ipv4Header::default() }.emit(&mut bytes)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let header = Ipv6Header { src, dst, next_header: protocol, ..Ipv6Header::default() };
            Ipv6Header { payload_len: len as u16, ..header }.emit(&mut bytes)
        }
        _ => panic!("{src} and {dst} are of two families"),
    };
    let mut head = Head::zeroed(ip_len + transport_len);
    head[..ip_len].copy_from_slice(&bytes[..ip_len]);
    head[ip_len..].copy_from_slice(&transport[..transport_len]);
    let meta = Meta { checksum: Checksum::Unfilled, ..Meta::default() };
    Packet { head, payload: Payload::from(Chunk::copy_from(payload)), meta }
}

/// A TCP packet with an ACK; a super-segment when `gso_size` isn't 0.
pub(crate) fn tcp(src: &str, dst: &str, payload: &[u8], gso_size: u16) -> Packet {
    let header = TcpHeader { src_port: 40_000, dst_port: 80, flags: TcpFlags::ACK, ..TcpHeader::default() };
    let mut tcp = packet((ip(src), ip(dst)), 7, Protocol::TCP, payload, |buffer| header.emit(buffer));
    tcp.meta.gso_size = gso_size;
    tcp
}

pub(crate) fn udp(src: &str, dst: &str, payload: &[u8]) -> Packet {
    let header = UdpHeader { src_port: 5000, dst_port: 53, len: (UdpHeader::LEN + payload.len()) as u16 };
    packet((ip(src), ip(dst)), 0, Protocol::UDP, payload, |buffer| header.emit(buffer))
}

/// An echo request.
pub(crate) fn echo(src: &str, dst: &str) -> Packet {
    let (src, dst) = (ip(src), ip(dst));
    if src.is_ipv4() {
        let request = Icmpv4::EchoRequest { id: 1, seq: 2 };
        packet((src, dst), 0, Protocol::ICMP, b"ping", |buffer| request.emit(buffer))
    } else {
        let request = Icmpv6::EchoRequest { id: 1, seq: 2 };
        packet((src, dst), 0, Protocol::ICMPV6, b"ping", |buffer| request.emit(buffer))
    }
}

/// Whether the checksums in the packet are right.
pub(crate) fn is_valid(packet: &Packet) -> bool {
    sockeye_wire::verify_checksums(&packet.head, packet.payload.chunks().map(|chunk| &**chunk)).is_ok()
}

pub(crate) fn batch(packets: impl IntoIterator<Item = Packet>) -> Batch {
    let mut batch = Batch::new();
    packets.into_iter().for_each(|packet| batch.push(packet));
    batch
}
