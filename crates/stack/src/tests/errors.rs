//! The error queue: who is told what, in which order, and what it costs.

use super::*;
use crate::{ErrorOrigin, ErrorReport, MtuDiscover, SocketOption};
use alloc::vec;
use sockeye_packet::{Head, Meta, Payload};
use sockeye_wire::{Icmpv4, Icmpv6, IpLayout, Ipv4Header, Ipv6Header, Protocol};

/// This host and the other one, in both families.
const FAMILIES: [(&str, &str); 2] = [("10.0.0.1:1000", "10.0.0.2:9"), ("[fd77::1]:1000", "[fd77::2]:9")];

fn send_to(pair: &mut Pair, id: SocketId, data: &[u8], to: Option<&str>) -> Result<usize, Error> {
    let payload = Payload::from(Chunk::copy_from(data));
    pair.a.send_to(pair.now, id, payload, to.map(addr), SendFlags::default())
}

fn wanting(pair: &mut Pair, local: &str) -> SocketId {
    let id = datagram(&mut pair.a, local);
    want(pair, id, local);
    id
}

fn want(pair: &mut Pair, id: SocketId, local: &str) {
    let v4 = addr(local).is_v4();
    let option = if v4 { SocketOption::RecvErr(true) } else { SocketOption::RecvErrV6(true) };
    pair.a.set_option(pair.now, id, option).unwrap();
}

fn report(pair: &mut Pair, id: SocketId) -> Result<ErrorReport, Error> {
    pair.a.recv_error(pair.now, id)
}

/// What `stack` has for the link, lost.
fn transmitted(pair: &mut Pair) -> Vec<Packet> {
    let mut batch = Batch::new();
    pair.a.poll_transmit(pair.now, LINK, &mut batch);
    batch.drain().collect()
}

/// A packet of a router at `router` to host a: an ICMP message with this header, which quotes `packet`.
fn icmp_from(router: &str, header: [u8; 8], packet: &Packet) -> Packet {
    let (src, quoted) = (addr(router).ip_addr(), packet.to_vec());
    let dst = IpLayout::parse(&quoted).unwrap().src;
    let (mut head, behind) = (vec![0; 48], header.len() + quoted.len());
    let len = match (src, dst) {
        (core::net::IpAddr::V4(src), core::net::IpAddr::V4(dst)) => {
            let (total_len, protocol) = ((20 + behind) as u16, Protocol::ICMP);
            Ipv4Header { total_len, protocol, src, dst, ttl: 61, ..Ipv4Header::default() }.emit(&mut head)
        }
        (core::net::IpAddr::V6(src), core::net::IpAddr::V6(dst)) => {
            let (payload_len, next_header) = (behind as u16, Protocol::ICMPV6);
            Ipv6Header { payload_len, next_header, src, dst, hop_limit: 61, ..Ipv6Header::default() }
                .emit(&mut head)
        }
        mixed => panic!("{mixed:?}"),
    };
    head.truncate(len);
    head.extend(header);
    let mut packet =
        Packet { head: Head::from_slice(&head), payload: Chunk::from(quoted).into(), meta: Meta::default() };
    sockeye_wire::fill_checksums(&mut packet.head, packet.payload.chunks().map(AsRef::as_ref));
    packet
}

fn arrives(pair: &mut Pair, packet: Packet) {
    let mut batch = Batch::new();
    batch.push(packet);
    pair.a.handle_packets(pair.now, LINK, &mut batch);
}

fn header_v4(message: Icmpv4) -> [u8; 8] {
    let mut header = [0; 8];
    message.emit(&mut header);
    header
}

fn header_v6(message: Icmpv6) -> [u8; 8] {
    let mut header = [0; 8];
    message.emit(&mut header);
    header
}

#[test]
fn a_refused_datagram_is_reported_whether_or_not_its_socket_is_connected() {
    for (local, remote) in FAMILIES {
        for connected in [false, true] {
            let mut pair = Pair::new();
            let a = wanting(&mut pair, local);
            let to = if connected { None } else { Some(remote) };
            if connected {
                pair.a.connect(pair.now, a, addr(remote)).unwrap();
            }
            send_to(&mut pair, a, b"anybody?", to).unwrap();
            events(&mut pair.a);
            pair.cable();
            assert_eq!(events(&mut pair.a), [a]);
            assert!(pair.a.readiness(a).contains(Readiness::ERROR));
            assert!(pair.a.memory_used() > 0);
            let v4 = addr(local).is_v4();
            let expected = ErrorReport {
                error: Error::ConnectionRefused,
                origin: if v4 { ErrorOrigin::Icmp } else { ErrorOrigin::Icmp6 },
                kind: if v4 { 3 } else { 1 },
                code: if v4 { 3 } else { 4 },
                info: 0,
                offender: Some(addr(remote).with_port(0)),
                to: addr(remote),
                local: addr(local).with_port(0),
                payload: Chunk::from_static(b"anybody?").into(),
                nic: LINK,
                ttl: 64,
                tos: if v4 { 0xc0 } else { 0 },
                received_at: pair.now,
            };
            let told = report(&mut pair, a).unwrap();
            assert_eq!(ErrorReport { tos: expected.tos, ..told }, expected);
            // The pending error was the report's.
            assert_eq!(pair.a.take_error(a), None);
            assert!(!pair.a.readiness(a).contains(Readiness::ERROR));
            assert_eq!(report(&mut pair, a), Err(Error::WouldBlock));
            assert_eq!(pair.a.memory_used(), 0);
        }
    }
}

#[test]
fn the_pending_error_is_that_of_the_oldest_report() {
    let mut pair = Pair::new();
    let a = wanting(&mut pair, "10.0.0.1:1000");
    send_to(&mut pair, a, b"refused", Some("10.0.0.2:9")).unwrap();
    pair.cable();
    assert_eq!(pair.a.take_error(a), Some(Error::ConnectionRefused));
    assert!(pair.a.readiness(a).contains(Readiness::ERROR), "a report waits");
    send_to(&mut pair, a, b"lost", Some("10.0.0.2:10")).unwrap();
    let [packet] = &transmitted(&mut pair)[..] else { panic!() };
    let header = header_v4(Icmpv4::TimeExceeded { code: 0 });
    arrives(&mut pair, icmp_from("10.0.0.9:0", header, packet));
    events(&mut pair.a);
    assert_eq!(report(&mut pair, a).unwrap().to, addr("10.0.0.2:9"));
    assert_eq!(events(&mut pair.a), [a], "the next one is news");
    assert_eq!(pair.a.take_error(a), Some(Error::HostUnreachable));
    let told = report(&mut pair, a).unwrap();
    assert_eq!((told.error, told.kind, told.code), (Error::HostUnreachable, 11, 0));
    assert_eq!((told.to, told.offender, told.ttl), (addr("10.0.0.2:10"), Some(addr("10.0.0.9:0")), 61));
    assert_eq!(told.payload.to_vec(), b"lost");
}

#[test]
fn soft_errors_are_for_those_who_want_reports() {
    for (local, remote) in FAMILIES {
        let mut pair = Pair::new();
        let (a, other) = (wanting(&mut pair, local), datagram(&mut pair.a, &local.replace("1000", "1001")));
        pair.a.connect(pair.now, other, addr(remote)).unwrap();
        let (header, router) = if addr(local).is_v4() {
            (header_v4(Icmpv4::Unreachable { code: Icmpv4::HOST_UNREACHABLE, mtu: 0 }), "10.0.0.9:0")
        } else {
            (header_v6(Icmpv6::Unreachable { code: Icmpv6::ADDRESS_UNREACHABLE }), "[fd77::9]:0")
        };
        for (id, to) in [(a, Some(remote)), (other, None)] {
            send_to(&mut pair, id, b"x", to).unwrap();
            let [packet] = &transmitted(&mut pair)[..] else { panic!() };
            arrives(&mut pair, icmp_from(router, header, packet));
        }
        assert_eq!(report(&mut pair, a).map(|told| told.error), Ok(Error::HostUnreachable));
        assert_eq!(report(&mut pair, other), Err(Error::WouldBlock));
        assert_eq!(pair.a.take_error(other), None);
    }
}

#[test]
fn a_datagram_that_is_too_long_is_reported_with_the_mtu() {
    for (local, remote) in FAMILIES {
        let mut pair = Pair::new();
        let a = wanting(&mut pair, local);
        super::datagrams::discover(&mut pair.a, a, MtuDiscover::Do);
        assert_eq!(send_to(&mut pair, a, &[0; 1480], Some(remote)), Err(Error::MessageSize));
        assert!(pair.a.readiness(a).contains(Readiness::ERROR));
        assert_eq!(pair.a.take_error(a), None, "the call has said it");
        let told = report(&mut pair, a).unwrap();
        assert_eq!((told.error, told.origin, told.info), (Error::MessageSize, ErrorOrigin::Local, 1500));
        assert_eq!((told.kind, told.code, told.offender, told.payload.len()), (0, 0, None, 0));
        // As on Linux: over IPv4 the port is the peer's, and there is none.
        assert_eq!(told.to, if addr(local).is_v4() { addr("10.0.0.2:0") } else { addr(remote) });

        // A router says the same, with its MTU.
        send_to(&mut pair, a, &[0; 1440], Some(remote)).unwrap();
        let [packet] = &transmitted(&mut pair)[..] else { panic!() };
        let (header, router) = if addr(local).is_v4() {
            let message = Icmpv4::Unreachable { code: Icmpv4::FRAGMENTATION_NEEDED, mtu: 1400 };
            (header_v4(message), "10.0.0.9:0")
        } else {
            (header_v6(Icmpv6::PacketTooBig { mtu: 1400 }), "[fd77::9]:0")
        };
        arrives(&mut pair, icmp_from(router, header, packet));
        assert_eq!(pair.a.take_error(a), Some(Error::MessageSize));
        let told = report(&mut pair, a).unwrap();
        assert_eq!((told.error, told.info, told.offender), (Error::MessageSize, 1400, Some(addr(router))));
        assert_eq!(send_to(&mut pair, a, &[0; 1440], Some(remote)), Err(Error::MessageSize));
        assert_eq!(report(&mut pair, a).map(|told| told.info), Ok(1400));
    }
}

#[test]
fn a_ping_sockets_report_quotes_its_request() {
    for (local, remote) in [("10.0.0.1:7", "10.0.0.2:0"), ("[fd77::1]:7", "[fd77::2]:0")] {
        let mut pair = Pair::new();
        let v4 = addr(local).is_v4();
        let id = pair.a.socket(domain(addr(local)), SocketType::Ping, Owner::default()).unwrap();
        pair.a.bind(id, addr(local)).unwrap();
        want(&mut pair, id, local);
        let kind = if v4 { 8 } else { 128 };
        send_to(&mut pair, id, &[kind, 0, 0, 0, 0, 0, 0, 3, 42], Some(remote)).unwrap();
        let [packet] = &transmitted(&mut pair)[..] else { panic!() };
        let (header, router) = if v4 {
            (header_v4(Icmpv4::TimeExceeded { code: 0 }), "10.0.0.9:0")
        } else {
            (header_v6(Icmpv6::TimeExceeded { code: 0 }), "[fd77::9]:0")
        };
        arrives(&mut pair, icmp_from(router, header, packet));
        let told = report(&mut pair, id).unwrap();
        assert_eq!(
            (told.error, told.to, told.offender),
            (Error::HostUnreachable, addr(remote), Some(addr(router)))
        );
        let quoted = told.payload.to_vec();
        assert_eq!((quoted.len(), quoted[0], &quoted[4..]), (9, kind, &[0, 7, 0, 3, 42][..]));
    }
}

#[test]
fn a_connection_that_is_not_opened_is_reported_with_its_segment() {
    let mut pair = Pair::new();
    let client = stream(&mut pair.a, addr("10.0.0.2:80"));
    want(&mut pair, client, "10.0.0.1:0");
    assert_eq!(pair.a.connect(pair.now, client, addr("10.0.0.2:80")), Err(Error::InProgress));
    let [packet] = &transmitted(&mut pair)[..] else { panic!() };
    let header = header_v4(Icmpv4::TimeExceeded { code: 0 });
    arrives(&mut pair, icmp_from("10.0.0.9:0", header, packet));
    let told = report(&mut pair, client).unwrap();
    assert_eq!((told.error, told.to), (Error::HostUnreachable, addr("10.0.0.2:80")));
    assert_eq!(told.offender, Some(addr("10.0.0.9:0")));
    assert_eq!(told.payload.to_vec()[2..4], [0, 80]);
    assert_eq!(pair.a.take_error(client), None);
    assert_eq!(pair.a.memory_used(), 0);
}

#[test]
fn the_queue_is_bounded_and_empties_when_nobody_wants_it() {
    let mut pair = Pair::with(
        &Config { icmp_interval: Duration::ZERO, ..Config::default() },
        &NicConfig::memory("eth0", 1500),
    );
    let a = wanting(&mut pair, "10.0.0.1:1000");
    pair.a.set_option(pair.now, a, SocketOption::RecvBuffer(4096)).unwrap();
    for _ in 0..50 {
        send_to(&mut pair, a, &[7; 400], Some("10.0.0.2:9")).unwrap_or_default();
        pair.cable();
    }
    assert!((2048..=4096).contains(&pair.a.memory_used()), "{}", pair.a.memory_used());
    pair.a.set_option(pair.now, a, SocketOption::RecvErr(false)).unwrap();
    assert_eq!(pair.a.memory_used(), 0);
    assert_eq!(report(&mut pair, a), Err(Error::WouldBlock));

    // A socket that is closed gives back what it holds.
    want(&mut pair, a, "10.0.0.1:1000");
    pair.a.take_error(a);
    send_to(&mut pair, a, b"?", Some("10.0.0.2:9")).unwrap();
    pair.cable();
    assert!(pair.a.memory_used() > 0);
    pair.a.close(pair.now, a).unwrap();
    assert_eq!(pair.a.memory_used(), 0);
}

#[test]
fn each_family_has_its_option() {
    let mut pair = Pair::new();
    let v4 = datagram(&mut pair.a, "10.0.0.1:1");
    let option = SocketOption::RecvErrV6(true);
    assert_eq!(pair.a.set_option(pair.now, v4, option), Err(Error::ProtocolOption));
    // Of what an IPv6 socket sends over IPv4, IPv4's option decides.
    let dual = datagram(&mut pair.a, "[::]:1000");
    want(&mut pair, dual, "[::]:0");
    send_to(&mut pair, dual, b"?", Some("10.0.0.2:9")).unwrap();
    pair.cable();
    assert_eq!(report(&mut pair, dual), Err(Error::WouldBlock));
    want(&mut pair, dual, "10.0.0.1:0");
    send_to(&mut pair, dual, b"?", Some("10.0.0.2:9")).unwrap();
    pair.cable();
    assert_eq!(report(&mut pair, dual).map(|told| told.to), Ok(addr("10.0.0.2:9")));
}
