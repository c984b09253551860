//! Tests: whole packets, built by `etherparse` and read here, and the other way round.
use super::*;
use crate::{TcpHeader, UdpHeader, fill_checksums, verify_checksums};
use alloc::vec;
use alloc::vec::Vec;
use core::iter::once;
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use proptest::prelude::*;

/// An IPv4 or IPv6 header in front of `carried` bytes.
fn ip_header(v4: bool, protocol: Protocol, carried: usize) -> Vec<u8> {
    if v4 {
        let (src, dst) = ([10, 77, 0, 2].into(), [10, 77, 0, 3].into());
        let mut bytes = vec![0; 20];
        let total_len = 20 + carried as u16;
        Ipv4Header { total_len, protocol, src, dst, ..Ipv4Header::default() }.emit(&mut bytes);
        bytes
    } else {
        let (src, dst) = ("fd77::2".parse().unwrap(), "fd77::3".parse().unwrap());
        let mut bytes = vec![0; 40];
        let payload_len = carried as u16;
        Ipv6Header { payload_len, next_header: protocol, src, dst, ..Ipv6Header::default() }.emit(&mut bytes);
        bytes
    }
}

fn tcp_packet(v4: bool, tcp: &TcpHeader, data: &[u8]) -> Vec<u8> {
    let mut head = ip_header(v4, Protocol::TCP, tcp.len() + data.len());
    let at = head.len();
    head.resize(at + tcp.len(), 0);
    tcp.emit(&mut head[at..]);
    fill_checksums(&mut head, once(data));
    [&head[..], data].concat()
}

/// How `etherparse` finds the transport checksum of a packet.
fn their_checksum(packet: &[u8]) -> (u16, u16) {
    let sliced = SlicedPacket::from_ip(packet).unwrap();
    let transport = sliced.transport.unwrap();
    match (&sliced.net.unwrap(), &transport) {
        (NetSlice::Ipv4(ip), TransportSlice::Tcp(tcp)) => {
            let (src, dst) = (ip.header().source(), ip.header().destination());
            (tcp.checksum(), tcp.calc_checksum_ipv4(src, dst).unwrap())
        }
        (NetSlice::Ipv6(ip), TransportSlice::Tcp(tcp)) => {
            let (src, dst) = (ip.header().source(), ip.header().destination());
            (tcp.checksum(), tcp.calc_checksum_ipv6(src, dst).unwrap())
        }
        (NetSlice::Ipv4(ip), TransportSlice::Udp(udp)) => {
            let (src, dst) = (ip.header().source(), ip.header().destination());
            let header = udp.to_header();
            (header.checksum, header.calc_checksum_ipv4_raw(src, dst, udp.payload()).unwrap())
        }
        (NetSlice::Ipv6(ip), TransportSlice::Udp(udp)) => {
            let (src, dst) = (ip.header().source(), ip.header().destination());
            let header = udp.to_header();
            (header.checksum, header.calc_checksum_ipv6_raw(src, dst, udp.payload()).unwrap())
        }
        (_, TransportSlice::Icmpv4(icmp)) => {
            (icmp.checksum(), icmp.icmp_type().calc_checksum(icmp.payload()))
        }
        (NetSlice::Ipv6(ip), TransportSlice::Icmpv6(icmp)) => {
            let (src, dst) = (ip.header().source(), ip.header().destination());
            (icmp.checksum(), icmp.icmp_type().calc_checksum(src, dst, icmp.payload()).unwrap())
        }
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn etherparse_finds_our_checksums_right(v4: bool, tcp in crate::tcp::tests::header(), data in prop::collection::vec(any::<u8>(), 0..100)) {
        let packet = tcp_packet(v4, &tcp, &data);
        let (found, right) = their_checksum(&packet);
        prop_assert_eq!(found, right);
        let udp = UdpHeader { src_port: tcp.src_port, dst_port: tcp.dst_port, len: 8 + data.len() as u16 };
        let mut head = ip_header(v4, Protocol::UDP, 8 + data.len());
        let at = head.len();
        head.resize(at + 8, 0);
        udp.emit(&mut head[at..]);
        fill_checksums(&mut head, once(&data[..]));
        let (found, right) = their_checksum(&[&head[..], &data].concat());
        prop_assert_eq!(found, if right == 0 { 0xffff } else { right });
        let mut head = ip_header(v4, if v4 { Protocol::ICMP } else { Protocol::ICMPV6 }, 8 + data.len());
        head.resize(at + 8, 0);
        head[at] = if v4 { 8 } else { 128 };
        fill_checksums(&mut head, once(&data[..]));
        let (found, right) = their_checksum(&[&head[..], &data].concat());
        prop_assert_eq!(found, right);
    }

    #[test]
    fn we_read_what_etherparse_builds(v4: bool, kind in 0..3, id: u16, seq: u16, data in prop::collection::vec(any::<u8>(), 0..100)) {
        let (src, dst) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        let (src6, dst6) = ([0xfd; 16], [0xfe; 16]);
        let mut packet = Vec::new();
        let ip = PacketBuilder::ipv4(src, dst, 9);
        let at = if v4 { 20 } else { 40 };
        // The builder's steps are of different types, so each kind is written out.
        match (v4, kind) {
            (true, 0) => ip.tcp(id, seq, 7, 8).ack(9).options_raw(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]).unwrap().write(&mut packet, &data).unwrap(),
            (true, 1) => ip.udp(id, seq).write(&mut packet, &data).unwrap(),
            (true, _) => ip.icmpv4_echo_request(id, seq).write(&mut packet, &data).unwrap(),
            (false, 0) => PacketBuilder::ipv6(src6, dst6, 9).tcp(id, seq, 7, 8).ack(9).options_raw(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]).unwrap().write(&mut packet, &data).unwrap(),
            (false, 1) => PacketBuilder::ipv6(src6, dst6, 9).udp(id, seq).write(&mut packet, &data).unwrap(),
            (false, _) => PacketBuilder::ipv6(src6, dst6, 9).icmpv6_echo_request(id, seq).write(&mut packet, &data).unwrap(),
        }
        let layout = IpLayout::parse(&packet).unwrap();
        prop_assert_eq!(layout.transport, at);
        prop_assert_eq!(layout.total_len, packet.len());
        prop_assert_eq!(header_len(&packet), packet.len() - data.len());
        let (head, payload) = packet.split_at(header_len(&packet));
        prop_assert_eq!(verify_checksums(head, once(payload)), Ok(()));
        let quoted = Quoted::parse(&packet[..at + 8]).unwrap();
        prop_assert_eq!((quoted.src, quoted.protocol), (layout.src, layout.protocol));
        match kind {
            0 => {
                let (tcp, len) = TcpHeader::parse(&packet[at..]).unwrap();
                prop_assert_eq!((tcp.src_port, tcp.dst_port, tcp.seq, tcp.ack, len), (id, seq, 7, 9, 32));
                prop_assert_eq!(tcp.options.timestamps.map(|timestamps| timestamps.echo), Some(2));
                prop_assert_eq!((quoted.src_port(), quoted.dst_port(), quoted.tcp_seq()), (id, seq, 7));
            }
            1 => {
                let (udp, _) = UdpHeader::parse(&packet[at..]).unwrap();
                prop_assert_eq!((udp.src_port, udp.dst_port, usize::from(udp.len)), (id, seq, 8 + data.len()));
            }
            _ => prop_assert_eq!((quoted.echo_id(), quoted.echo_seq()), (id, seq)),
        }
    }

    #[test]
    fn header_len_never_exceeds_the_packet(mut bytes in prop::collection::vec(any::<u8>(), 0..150), first in prop::sample::select(vec![0x45u8, 0x4f, 0x40, 0x60, 0x00]), protocol in prop::sample::select(vec![6u8, 17, 1, 58, 0, 43, 44, 60])) {
        for (at, value) in [(0, first), (6, protocol), (9, protocol), (40, protocol)] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        prop_assert!(header_len(&bytes) <= bytes.len());
        if let Ok(layout) = IpLayout::parse(&bytes) {
            prop_assert!(layout.transport <= bytes.len());
            prop_assert!(header_len(&bytes) >= layout.transport);
        }
        let _ = Quoted::parse(&bytes);
    }
}

#[test]
fn header_len_of_what_has_no_transport_header() {
    assert_eq!(header_len(&[]), 0);
    assert_eq!(header_len(&[0x45; 19]), 0);
    assert_eq!(header_len(&[0x00; 60]), 0);
    let mut gre = ip_header(true, Protocol(47), 30);
    gre.resize(50, 0);
    assert_eq!(header_len(&gre), 20);
    let mut udp = ip_header(true, Protocol::UDP, 30);
    udp.resize(50, 0);
    assert_eq!(header_len(&udp), 28);
    udp[7] = 1; // a later fragment
    assert_eq!(header_len(&udp), 20);
    let mut fragment = ip_header(false, Protocol::FRAGMENT, 38);
    fragment.extend([17, 0, 0, 1, 0, 0, 0, 1]);
    fragment.resize(78, 0);
    assert_eq!(header_len(&fragment), 56, "the first fragment has the UDP header");
    fragment[43] = 9;
    assert_eq!(header_len(&fragment), 48);
}

#[test]
fn a_later_fragment_quotes_no_ports() {
    let mut packet = ip_header(true, Protocol::UDP, 30);
    packet.resize(50, 0);
    packet[7] = 1;
    assert!(Quoted::parse(&packet).is_err());
}
