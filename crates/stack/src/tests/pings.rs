//! Ping sockets: echo requests out, replies and errors in.

use super::*;
use crate::{Datagram, Intercept, OptionName, SocketOption, Unreachability};
use alloc::vec;
use core::net::IpAddr;
use sockeye_packet::{Checksum, Meta};
use sockeye_wire::{IpLayout, Ipv4Header, Ipv6Header, Protocol, verify_checksums};

/// This host and the other one, in both families.
const FAMILIES: [(&str, &str); 2] = [("10.0.0.1:0", "10.0.0.2:0"), ("[fd77::1]:0", "[fd77::2]:0")];

fn pinger(stack: &mut Stack, like: &str) -> SocketId {
    stack.socket(domain(addr(like)), SocketType::Ping, Owner::default()).unwrap()
}

/// An echo request as a program writes it: identifier and checksum are not its business.
fn request(like: &str, seq: u16, data: &[u8]) -> Vec<u8> {
    let kind = if addr(like).is_v4() { 8 } else { 128 };
    let [high, low] = seq.to_be_bytes();
    [&[kind, 0, 0xde, 0xad, 0xbe, 0xef, high, low], data].concat()
}

fn send_to(stack: &mut Stack, id: SocketId, message: &[u8], to: Option<&str>) -> Result<usize, Error> {
    // In two pieces, for a header may lie in several chunks.
    let (a, b) = message.split_at(message.len().min(5));
    let payload = [Chunk::copy_from(a), Chunk::copy_from(b)].into_iter().collect();
    stack.send_to(Instant::from_millis(1), id, payload, to.map(addr), SendFlags::default())
}

fn recv_from(stack: &mut Stack, id: SocketId) -> Result<Datagram, Error> {
    stack.recv_from(Instant::from_millis(1), id, RecvFlags::default())
}

/// What a reply says: identifier, sequence number, data.
fn reply(datagram: &Datagram) -> (u16, u16, Vec<u8>) {
    let message = datagram.payload.to_vec();
    assert_eq!(message[..2], [if datagram.from.is_v4() { 0 } else { 129 }, 0]);
    let number = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    (number(4), number(6), message[8..].to_vec())
}

/// Asserts that the message has the checksum that its addresses ask for.
fn assert_checksum(datagram: &Datagram) {
    let message = datagram.payload.to_vec();
    let len = message.len() as u16;
    let mut head = vec![0; if datagram.from.is_v4() { 20 } else { 40 }];
    match (datagram.from.ip_addr(), datagram.to.ip_addr()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let protocol = Protocol::ICMP;
            Ipv4Header { total_len: 20 + len, protocol, src, dst, ..Ipv4Header::default() }.emit(&mut head);
            let mut sum: u32 = message
                .chunks(2)
                .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
                .sum();
            sum = (sum & 0xffff) + (sum >> 16);
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let next_header = Protocol::ICMPV6;
            Ipv6Header { payload_len: len, next_header, src, dst, ..Ipv6Header::default() }.emit(&mut head);
            head.extend(&message);
            assert_eq!(verify_checksums(&head[..48], core::iter::once(&head[48..])), Ok(()));
        }
        mixed => panic!("{mixed:?}"),
    }
}

/// Packets that `stack` has for the link.
fn transmitted(stack: &mut Stack) -> Vec<Packet> {
    let mut batch = Batch::new();
    stack.poll_transmit(Instant::from_millis(1), LINK, &mut batch);
    batch.drain().collect()
}

#[test]
fn echoes_come_back_with_their_identifier() {
    for (local, remote) in FAMILIES {
        for checksums in [false, true] {
            let nic = NicConfig { checksums, ..NicConfig::memory("eth0", 1500) };
            let mut pair = Pair::with(&Config::default(), &nic);
            let id = pinger(&mut pair.a, local);
            assert_eq!(send_to(&mut pair.a, id, &request(local, 7, b"abc"), Some(remote)), Ok(11));
            let ident = pair.a.local_addr(id).unwrap().port;
            assert_ne!(ident, 0, "sending picks one");
            events(&mut pair.a);
            pair.cable();
            assert_eq!(events(&mut pair.a), [id]);
            let got = recv_from(&mut pair.a, id).unwrap();
            assert_eq!(reply(&got), (ident, 7, b"abc".to_vec()));
            assert_eq!((got.from, got.to.ip, got.nic, got.ttl), (addr(remote), addr(local).ip, LINK, 64));
            assert_checksum(&got);
            assert_eq!(recv_from(&mut pair.a, id), Err(Error::WouldBlock));
            assert_eq!((pair.a.memory_used(), pair.b.memory_used()), (0, 0));
        }
    }
}

#[test]
fn a_request_has_the_sockets_identifier_a_checksum_and_its_ttl() {
    for (local, remote) in FAMILIES {
        let nic = NicConfig { checksums: true, ..NicConfig::memory("eth0", 1500) };
        let mut pair = Pair::with(&Config::default(), &nic);
        let id = pinger(&mut pair.a, local);
        pair.a.bind(id, addr(local).with_port(0x1234)).unwrap();
        let v4 = addr(local).ip_addr().is_ipv4();
        let ttl = if v4 { SocketOption::Ttl(Some(3)) } else { SocketOption::HopLimit(Some(3)) };
        pair.a.set_option(pair.now, id, ttl).unwrap();
        send_to(&mut pair.a, id, &request(local, 9, b"odd"), Some(remote)).unwrap();
        let packets = transmitted(&mut pair.a);
        let [packet] = &packets[..] else { panic!("{packets:?}") };
        let layout = IpLayout::parse(&packet.head).unwrap();
        let header = &packet.head[layout.transport..];
        assert_eq!(header[..2], [if layout.src.is_ipv4() { 8 } else { 128 }, 0]);
        assert_eq!(header[4..], [0x12, 0x34, 0, 9]);
        assert_eq!((packet.payload.to_vec(), packet.meta.ttl), (b"odd".to_vec(), 3));
        assert_eq!(verify_checksums(&packet.head, packet.payload.chunks().map(AsRef::as_ref)), Ok(()));
    }
}

#[test]
fn a_host_pings_itself() {
    for to in ["127.0.0.1:0", "127.3.2.1:0", "10.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[fd77::1]:0", "[::]:0"] {
        let mut pair = Pair::new();
        let id = pinger(&mut pair.a, to);
        send_to(&mut pair.a, id, &request(to, 1, &vec![5; 60_000]), Some(to)).unwrap();
        let got = recv_from(&mut pair.a, id).expect(to);
        assert_eq!((reply(&got).2.len(), got.nic), (60_000, NicId::LOOPBACK));
        assert_checksum(&got);
        assert!(!pair.a.wants_transmit(LINK));
    }
}

#[test]
fn only_whole_echo_requests_are_sent() {
    for (local, remote) in FAMILIES {
        let mut pair = Pair::new();
        let id = pinger(&mut pair.a, local);
        let good = request(local, 1, b"");
        let mut send = |message: &[u8]| send_to(&mut pair.a, id, message, Some(remote));
        for len in 0..8 {
            assert_eq!(send(&good[..len]), Err(Error::InvalidArgument));
        }
        for (at, value) in [(0, 0), (0, 129), (0, 13), (0, if good[0] == 8 { 128 } else { 8 }), (1, 1)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(send(&bad), Err(Error::InvalidArgument), "{bad:?}");
        }
        let longest = if good[0] == 8 { 65_515 } else { 65_535 };
        assert_eq!(send(&request(local, 1, &vec![0; longest - 7])), Err(Error::MessageSize));
        assert_eq!(send(&good), Ok(8));
        assert_eq!(send_to(&mut pair.a, id, &good, None), Err(Error::DestinationRequired));
        assert_eq!(send_to(&mut pair.a, id, &good[..3], None), Err(Error::InvalidArgument));
        assert_eq!(pair.b.counters()[Counter::IpInReceives], 0);
    }
}

#[test]
fn long_echoes_are_fragmented_both_ways() {
    for (local, remote) in FAMILIES {
        let mut pair = Pair::new();
        let id = pinger(&mut pair.a, local);
        let data: Vec<u8> = (0..5000_usize).map(|i| (i * 7) as u8).collect();
        send_to(&mut pair.a, id, &request(local, 2, &data), Some(remote)).unwrap();
        pair.cable();
        let got = recv_from(&mut pair.a, id).unwrap();
        assert_eq!(reply(&got).2, data);
        assert_checksum(&got);
    }
}

#[test]
fn each_socket_gets_the_replies_to_its_identifier_only() {
    for (local, remote) in FAMILIES {
        let mut pair = Pair::new();
        let [one, two] = [1, 2].map(|ident| {
            let id = pinger(&mut pair.a, local);
            pair.a.bind(id, addr(local).with_port(ident)).unwrap();
            id
        });
        // UDP's port 1 is something else than identifier 1.
        let udp = datagram(&mut pair.a, &addr_text(local, 1));
        send_to(&mut pair.a, two, &request(local, 1, b"2"), Some(remote)).unwrap();
        pair.cable();
        assert_eq!(recv_from(&mut pair.a, one), Err(Error::WouldBlock));
        assert_eq!(recv_from(&mut pair.a, udp), Err(Error::WouldBlock));
        assert_eq!(reply(&recv_from(&mut pair.a, two).unwrap()).0, 2);
        send_to(&mut pair.a, two, &request(local, 2, b"2"), Some(remote)).unwrap();
        pair.a.close(pair.now, two).unwrap();
        let before = pair.a.counters()[Counter::NoSocket];
        pair.cable();
        assert_eq!(pair.a.counters()[Counter::NoSocket], before + 1, "a late reply is dropped");
        assert_eq!(recv_from(&mut pair.a, one), Err(Error::WouldBlock));
    }
}

/// `like`'s address with a port, as text.
fn addr_text(like: &str, port: u16) -> alloc::string::String {
    alloc::format!("{}:{port}", like.rsplit_once(':').unwrap().0)
}

#[test]
fn identifiers_are_bound_as_ports_are() {
    let mut stack = Pair::new().a;
    let bind = |stack: &mut Stack, like: &str, at: &str| {
        let id = pinger(stack, like);
        stack.bind(id, addr(at)).map(|()| id)
    };
    let first = bind(&mut stack, "0.0.0.0:0", "0.0.0.0:77").unwrap();
    assert_eq!(stack.local_addr(first), Ok(addr("0.0.0.0:77")));
    let alone = pinger(&mut stack, "0.0.0.0:0");
    stack.set_option(Instant::ZERO, alone, SocketOption::ReuseAddr(false)).unwrap();
    assert_eq!(stack.bind(alone, addr("10.0.0.1:77")), Err(Error::AddrInUse));
    bind(&mut stack, "0.0.0.0:0", "127.0.0.1:78").unwrap();
    assert_eq!(stack.bind(alone, addr("10.0.0.1:78")), Err(Error::AddrInUse), "one for all addresses");
    assert!(bind(&mut stack, "[::]:0", "[::]:77").is_ok());
    assert!(stack.socket(Domain::Inet, SocketType::Datagram, Owner::default()).is_ok());
    datagram(&mut stack, "0.0.0.0:77");
    assert_eq!(bind(&mut stack, "0.0.0.0:0", "10.0.0.9:1"), Err(Error::AddrNotAvailable));
    assert_eq!(bind(&mut stack, "0.0.0.0:0", "10.0.0.255:1"), Err(Error::AddrNotAvailable));
    assert_eq!(bind(&mut stack, "0.0.0.0:0", "224.0.0.1:1"), Err(Error::AddrNotAvailable));
    assert_eq!(bind(&mut stack, "[::]:0", "10.0.0.1:1"), Err(Error::InvalidArgument));
    assert_eq!(bind(&mut stack, "0.0.0.0:0", "[::1]:1"), Err(Error::AddressFamily));
    let picked = bind(&mut stack, "0.0.0.0:0", "0.0.0.0:0").unwrap();
    assert_ne!(stack.local_addr(picked).unwrap().port, 0);
    let v6 = pinger(&mut stack, "[::]:0");
    assert_eq!(stack.get_option(v6, OptionName::V6Only), Ok(SocketOption::V6Only(false)), "as Linux says");
    let message = request("[::]:0", 1, b"");
    assert_eq!(send_to(&mut stack, v6, &message, Some("10.0.0.2:0")), Err(Error::NetworkUnreachable));
}

#[test]
fn a_connected_socket_hears_only_its_peer() {
    for (local, remote) in FAMILIES {
        let mut pair = Pair::new();
        let id = pinger(&mut pair.a, local);
        pair.a.connect(pair.now, id, addr(remote).with_port(5)).unwrap();
        assert_eq!(pair.a.peer_addr(id), Ok(addr(remote).with_port(5)));
        let ident = pair.a.local_addr(id).unwrap().port;
        assert_eq!(pair.a.local_addr(id), Ok(addr(local).with_port(ident)));
        // The address in a call counts more than the peer; the reply of somebody else is not heard.
        send_to(&mut pair.a, id, &request(local, 1, b"me"), Some(local)).unwrap();
        assert_eq!(recv_from(&mut pair.a, id), Err(Error::WouldBlock));
        send_to(&mut pair.a, id, &request(local, 2, b"peer"), None).unwrap();
        pair.cable();
        assert_eq!(reply(&recv_from(&mut pair.a, id).unwrap()), (ident, 2, b"peer".to_vec()));
        pair.a.disconnect(pair.now, id).unwrap();
        send_to(&mut pair.a, id, &request(local, 3, b"me"), Some(local)).unwrap();
        assert_eq!(reply(&recv_from(&mut pair.a, id).unwrap()).1, 3);
    }
}

#[test]
fn hard_errors_are_told_to_connected_sockets() {
    for (local, remote) in [("10.0.0.1:0", "10.0.0.77:0"), ("[fd77::1]:0", "[fd77::77]:0")] {
        for (why, error) in [
            (Unreachability::Port, Some(Error::ConnectionRefused)),
            // Whoever sends these may be wrong (RFC 1122 §3.2.2.1).
            (Unreachability::Host, None),
        ] {
            let mut pair = Pair::new();
            pair.b.intercept(Some(Intercept::default()));
            let [connected, other] = [(); 2].map(|()| pinger(&mut pair.a, local));
            pair.a.connect(pair.now, connected, addr(remote)).unwrap();
            for id in [connected, other] {
                send_to(&mut pair.a, id, &request(local, 1, b""), Some(remote)).unwrap();
            }
            events(&mut pair.a);
            pair.cable();
            while let Some(asked) = pair.b.poll_echo() {
                pair.b.refuse_echo(pair.now, &asked, why);
            }
            pair.cable();
            assert_eq!(events(&mut pair.a), Vec::from_iter(error.map(|_| connected)));
            assert_eq!(pair.a.readiness(connected).contains(Readiness::ERROR), error.is_some());
            assert_eq!(recv_from(&mut pair.a, connected), Err(error.unwrap_or(Error::WouldBlock)));
            assert_eq!(recv_from(&mut pair.a, other), Err(Error::WouldBlock));
        }
    }
}

/// An `ICMPv4` error about a packet of host a to host b with such a transport header.
fn error_about(protocol: u8, transport: [u8; 8]) -> Packet {
    let mut bytes = vec![0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1];
    bytes.extend([3, 2, 0, 0, 0, 0, 0, 0]);
    bytes.extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    bytes.extend(transport);
    Packet::from_bytes(&Chunk::from(bytes), Meta { checksum: Checksum::Unfilled, ..Meta::default() })
}

#[test]
fn errors_count_only_about_echo_requests_of_the_socket() {
    let mut pair = Pair::new();
    let id = pinger(&mut pair.a, "10.0.0.1:0");
    pair.a.bind(id, addr("10.0.0.1:9")).unwrap();
    pair.a.connect(pair.now, id, addr("10.0.0.2:0")).unwrap();
    let mut told = |protocol, transport| {
        let mut batch = Batch::new();
        batch.push(error_about(protocol, transport));
        pair.a.handle_packets(pair.now, LINK, &mut batch);
        pair.a.take_error(id)
    };
    assert_eq!(told(1, [0, 0, 0, 0, 0, 9, 0, 1]), None, "a reply");
    assert_eq!(told(1, [8, 1, 0, 0, 0, 9, 0, 1]), None, "no echo");
    assert_eq!(told(1, [8, 0, 0, 0, 0, 8, 0, 1]), None, "another's");
    assert_eq!(told(17, [0, 9, 0, 0, 0, 8, 0, 0]), None, "a datagram");
    assert_eq!(told(58, [128, 0, 0, 0, 0, 9, 0, 1]), None, "the other version's");
    assert_eq!(told(1, [8, 0, 0, 0, 0, 9, 0, 1]), Some(Error::ProtocolOption));
}

#[test]
fn queues_are_bounded() {
    let config = Config { udp_recv_buffer: 4096, udp_send_buffer: 4096, ..Config::default() };
    let mut pair = Pair::with(&config, &NicConfig::memory("eth0", 1500));
    let id = pinger(&mut pair.a, "10.0.0.1:0");
    let message = request("10.0.0.1:0", 1, &[0; 1000]);
    for _ in 0..3 {
        let sent =
            (0..100).take_while(|_| send_to(&mut pair.a, id, &message, Some("10.0.0.2:0")).is_ok()).count();
        assert!((2..10).contains(&sent), "{sent}");
        assert!(!pair.a.readiness(id).contains(Readiness::WRITABLE));
        pair.cable();
    }
    assert!(pair.a.counters()[Counter::UdpRcvbufErrors] > 0);
    assert!((1..10).contains(&core::iter::from_fn(|| recv_from(&mut pair.a, id).ok()).count()));
    send_to(&mut pair.a, id, &message, Some("10.0.0.2:0")).unwrap();
    pair.cable();
    assert!(pair.a.memory_used() > 0);
    pair.a.close(pair.now, id).unwrap();
    assert_eq!((pair.a.memory_used(), pair.b.memory_used()), (0, 0));
}

#[test]
fn broadcasts_need_permission() {
    let mut pair = Pair::new();
    let id = pinger(&mut pair.a, "10.0.0.1:0");
    let message = request("10.0.0.1:0", 1, b"all");
    assert_eq!(send_to(&mut pair.a, id, &message, Some("10.0.0.255:0")), Err(Error::PermissionDenied));
    pair.a.set_option(pair.now, id, SocketOption::Broadcast(true)).unwrap();
    assert_eq!(send_to(&mut pair.a, id, &message, Some("10.0.0.255:0")), Ok(11));
    pair.cable();
    assert_eq!(recv_from(&mut pair.a, id), Err(Error::WouldBlock), "nobody answers a broadcast");
}

#[test]
fn an_identifier_may_be_shared_from_the_beginning() {
    let mut stack = Stack::new(Config::default(), [5; 32]);
    for domain in [Domain::Inet, Domain::Inet6] {
        let [first, second] =
            [0; 2].map(|_| stack.socket(domain, SocketType::Ping, Owner::default()).unwrap());
        let here = if domain == Domain::Inet { "127.0.0.1:7" } else { "[::1]:7" };
        stack.bind(first, addr(here)).unwrap();
        stack.bind(second, addr(here)).unwrap();
        // What is wrong with the address is told first.
        let nowhere = if domain == Domain::Inet { "192.0.2.1:7" } else { "[2001:db8::1]:7" };
        assert_eq!(stack.bind(second, addr(nowhere)), Err(Error::AddrNotAvailable));
        assert_eq!(stack.bind(second, addr(here)), Err(Error::InvalidArgument));
    }
}
