//! ICMP as a host speaks it: which packets are complained about, how, and how often; what is asked and answered.

use super::*;
use alloc::vec;
use sockeye_packet::{Head, Meta, Payload};
use sockeye_wire::{Icmpv4, Icmpv6, Ipv4Header, Ipv6Header, Protocol, fill_checksums};

const A: [&str; 2] = ["10.0.0.1", "fd77::1"];
const B: [&str; 2] = ["10.0.0.2", "fd77::2"];

/// A packet with right checksums, whose payload begins behind `header` bytes of `rest`.
fn packet(src: &str, dst: &str, protocol: Protocol, rest: &[u8], header: usize) -> Packet {
    let mut head = vec![0; 40];
    let len = if let (Ok(src), Ok(dst)) = (src.parse(), dst.parse()) {
        let total_len = (20 + rest.len()) as u16;
        let fields =
            Ipv4Header { total_len, protocol, src, dst, ttl: 64, tos_ecn: 0x1f, ..Ipv4Header::default() };
        fields.emit(&mut head)
    } else {
        let (payload_len, src, dst) = (rest.len() as u16, src.parse().unwrap(), dst.parse().unwrap());
        Ipv6Header { payload_len, next_header: protocol, src, dst, hop_limit: 64, ..Ipv6Header::default() }
            .emit(&mut head)
    };
    head.truncate(len);
    head.extend(&rest[..header.min(rest.len())]);
    let mut packet = Packet {
        head: Head::from_slice(&head),
        payload: Payload::from(Chunk::copy_from(&rest[header.min(rest.len())..])),
        meta: Meta::default(),
    };
    fill_checksums(&mut packet.head, packet.payload.chunks().map(AsRef::as_ref));
    packet
}

/// A datagram to a port that nobody has.
fn udp(src: &str, dst: &str, data: usize) -> Packet {
    let len = (8 + data) as u16;
    let mut rest = vec![0, 7, 0, 9, (len >> 8) as u8, len as u8, 0, 0];
    rest.resize(8 + data, 5);
    packet(src, dst, Protocol::UDP, &rest, 8)
}

/// What host b answers to a packet.
fn answers(pair: &mut Pair, packet: &Packet) -> Vec<Packet> {
    let mut batch = Batch::new();
    batch.push(packet.clone());
    pair.b.handle_packets(pair.now, LINK, &mut batch);
    pair.b.poll_transmit(pair.now, LINK, &mut batch);
    batch.drain().collect()
}

fn pair() -> Pair {
    Pair::with(&Config::default(), &NicConfig { checksums: true, ..NicConfig::memory("eth0", 1500) })
}

#[test]
fn an_error_quotes_as_much_as_it_may_and_is_about_the_network() {
    for family in [0, 1] {
        for (data, v4, v6) in [(0, 28, 48), (500, 528, 548), (1400, 548, 1232)] {
            let mut pair = pair();
            let sent = udp(A[family], B[family], data);
            let [error] = &answers(&mut pair, &sent)[..] else { panic!() };
            let quoted = [v4, v6][family];
            assert_eq!(error.payload.to_vec(), sent.to_vec()[..quoted]);
            if family == 0 {
                let (ip, len) = Ipv4Header::parse(&error.head).unwrap();
                let (message, _) = Icmpv4::parse(&error.head[len..]).unwrap();
                assert_eq!(message, Icmpv4::Unreachable { code: Icmpv4::PORT_UNREACHABLE, mtu: 0 });
                // RFC 1812 §4.3.2.5; the ECN bits are not taken over.
                assert_eq!(
                    (ip.tos_ecn, ip.ttl, ip.dont_fragment, error.len()),
                    (0xdc, 64, false, 28 + quoted)
                );
            } else {
                let (message, _) = Icmpv6::parse(&error.head[40..]).unwrap();
                assert_eq!(message, Icmpv6::Unreachable { code: Icmpv6::PORT_UNREACHABLE });
                assert_eq!(error.len(), 48 + quoted);
            }
        }
    }
}

#[test]
fn a_protocol_that_nobody_speaks_is_complained_about() {
    let mut pair = pair();
    let [error] = &answers(&mut pair, &packet(A[0], B[0], Protocol(200), &[1; 30], 0))[..] else { panic!() };
    let (message, _) = Icmpv4::parse(&error.head[20..]).unwrap();
    assert_eq!(message, Icmpv4::Unreachable { code: Icmpv4::PROTOCOL_UNREACHABLE, mtu: 0 });
    let [error] = &answers(&mut pair, &packet(A[1], B[1], Protocol(200), &[1; 30], 0))[..] else { panic!() };
    let (message, _) = Icmpv6::parse(&error.head[40..]).unwrap();
    assert_eq!(message, Icmpv6::ParameterProblem { code: 1, pointer: 6 });
    let counters = pair.b.counters();
    assert_eq!((counters[Counter::IcmpOutDestUnreachs], counters[Counter::IcmpOutParmProbs]), (1, 1));
}

/// RFC 1122 §3.2.2, RFC 4443 §2.4 (e).
#[test]
fn some_packets_are_never_complained_about() {
    let mut pair = pair();
    let error_v4 = |kind: u8| packet(A[0], B[0], Protocol::ICMP, &[kind, 0, 0, 0, 0, 0, 0, 0, 1], 8);
    let mut fragment = udp(A[0], B[0], 100);
    fragment.head[7] = 3;
    fill_checksums(&mut fragment.head, core::iter::empty());
    let silent = [
        udp(A[0], "10.0.0.255", 3),
        udp(A[0], "255.255.255.255", 3),
        udp(A[0], "224.0.0.1", 3),
        udp(A[1], "ff02::1", 3),
        udp("240.1.2.3", B[0], 3),
        udp("0.0.0.5", B[0], 3),
        udp("224.0.0.5", B[0], 3),
        udp("10.0.0.255", B[0], 3),
        udp("127.0.0.1", B[0], 3),
        udp("::", B[1], 3),
        udp("ff02::1", B[1], 3),
        error_v4(3),
        error_v4(4),
        error_v4(5),
        error_v4(11),
        error_v4(12),
        error_v4(99),
        packet(A[1], B[1], Protocol::ICMPV6, &[1, 4, 0, 0, 0, 0, 0, 0, 1], 8),
        packet(A[1], B[1], Protocol::ICMPV6, &[200, 0, 0, 0, 0, 0, 0, 0, 1], 8),
        fragment,
    ];
    for packet in &silent {
        assert_eq!(answers(&mut pair, packet).len(), 0, "{:?}", packet.to_vec());
    }
    assert_eq!(answers(&mut pair, &udp(A[0], B[0], 3)).len(), 1);
}

#[test]
fn errors_to_one_destination_are_limited_in_rate() {
    for (family, interval) in [(0, 1000), (1, 250)] {
        let mut pair = pair();
        let sent = udp(A[family], B[family], 3);
        let mut count = |millis: u64| {
            pair.now = Instant::from_millis(millis);
            (0..20).map(|_| answers(&mut pair, &sent).len()).sum::<usize>()
        };
        assert_eq!(count(1), 6);
        assert_eq!((count(1 + interval / 2), count(2 + interval), count(3 + 4 * interval)), (0, 1, 3));
        assert_eq!(count(3 + 100 * interval), 6);
        assert!(pair.b.counters()[Counter::IcmpOutRateLimitHost] > 0);
        // Another one has its own.
        let other = udp(["10.0.0.3", "fd77::3"][family], B[family], 3);
        assert_eq!(answers(&mut pair, &other).len(), 1);
    }
}

#[test]
fn all_errors_together_are_limited_in_rate() {
    let config = Config { icmp_rate: 1000, icmp_burst: 30, ..Config::default() };
    let mut pair = Pair::with(&config, &NicConfig::memory("eth0", 1500));
    let count = |pair: &mut Pair, range: core::ops::Range<u32>| {
        range.map(|host| answers(pair, &udp(&alloc::format!("10.0.1.{host}"), B[0], 3)).len()).sum::<usize>()
    };
    let first = count(&mut pair, 1..100);
    // How many exactly is nobody's business.
    assert!((15..=30).contains(&first), "{first}");
    assert_eq!(pair.b.counters()[Counter::IcmpOutRateLimitGlobal], 99 - first as u64);
    pair.now += Duration::from_millis(10);
    let next = count(&mut pair, 100..200);
    assert!((5..=10).contains(&next), "{next}");
    let mut silent =
        Pair::with(&Config { icmp_rate: 0, ..Config::default() }, &NicConfig::memory("eth0", 1500));
    assert_eq!(count(&mut silent, 1..9), 0);
}

#[test]
fn a_host_complains_to_itself_as_it_likes() {
    let mut stack = lonely();
    let id = datagram(&mut stack, "127.0.0.1:1000");
    stack.connect(Instant::ZERO, id, addr("127.0.0.1:9")).unwrap();
    for _ in 0..20 {
        send(&mut stack, Instant::ZERO, id, b"?").unwrap();
        assert_eq!(stack.take_error(id), Some(Error::ConnectionRefused));
    }
}

#[test]
fn the_time_is_told() {
    let config = Config { wall_offset: Duration::from_hours(24 * 20_000 + 1), ..Config::default() };
    let mut pair = Pair::with(&config, &NicConfig { checksums: true, ..NicConfig::memory("eth0", 1500) });
    pair.now = Instant::from_millis(1234);
    let request = [&[13, 0, 0, 0, 0, 7, 0, 9][..], &[1, 2, 3, 4], &[0; 8]].concat();
    let [reply] = &answers(&mut pair, &packet(A[0], B[0], Protocol::ICMP, &request, 8))[..] else { panic!() };
    let now = (3_600_000_u32 + 1234).to_be_bytes();
    assert_eq!(reply.head[20..22], [14, 0]);
    assert_eq!(reply.head[24..], [0, 7, 0, 9]);
    assert_eq!(reply.payload.to_vec(), [&[1, 2, 3, 4], &now[..], &now[..]].concat());
    assert_eq!(answers(&mut pair, &packet(A[0], "10.0.0.255", Protocol::ICMP, &request, 8)).len(), 0);
    assert_eq!(answers(&mut pair, &packet(A[0], B[0], Protocol::ICMP, &request[..11], 8)).len(), 0);
}

/// RFC 4443 §2.4 (a), (b): an error of a type that isn't known is told, anything else is not.
#[test]
fn unknown_types_of_icmpv6_are_told_to_who_wants_reports() {
    for (kind, told) in [(100, Some(Error::Protocol)), (200, None)] {
        let mut pair = pair();
        let id = datagram(&mut pair.b, "[fd77::2]:7");
        pair.b.set_option(pair.now, id, crate::SocketOption::RecvErrV6(true)).unwrap();
        let message = [&[kind, 3, 0, 0, 0, 0, 0, 9][..], &udp(B[1], A[1], 3).to_vec()].concat();
        answers(&mut pair, &packet(A[1], B[1], Protocol::ICMPV6, &message, 8));
        let report = pair.b.recv_error(pair.now, id).ok();
        assert_eq!(report.as_ref().map(|report| report.error), told);
        assert!(report.is_none_or(|report| (report.kind, report.code, report.info) == (100, 3, 9)));
    }
}
