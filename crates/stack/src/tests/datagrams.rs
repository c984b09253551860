use super::*;
use crate::{Datagram, MtuDiscover, OptionName, Shutdown, SocketOption};
use alloc::vec;
use core::num::NonZeroU16;
use sockeye_packet::{Checksum, Head, Payload};

fn send_to(stack: &mut Stack, id: SocketId, data: &[u8], to: Option<&str>) -> Result<usize, Error> {
    let payload = Payload::from(Chunk::copy_from(data));
    stack.send_to(Instant::from_millis(1), id, payload, to.map(addr), SendFlags::default())
}

fn recv_from(stack: &mut Stack, id: SocketId) -> Result<Datagram, Error> {
    stack.recv_from(Instant::from_millis(1), id, RecvFlags::default())
}

/// Sets how a socket finds the path's MTU, over both versions of IP.
pub(super) fn discover(stack: &mut Stack, id: SocketId, mode: MtuDiscover) {
    stack.set_option(Instant::from_millis(1), id, SocketOption::MtuDiscover(mode)).unwrap();
    let _ = stack.set_option(Instant::from_millis(1), id, SocketOption::MtuDiscoverV6(mode));
}

#[test]
fn datagrams_cross_in_both_families() {
    for (local, remote) in [("10.0.0.1:1000", "10.0.0.2:2000"), ("[fd77::1]:1000", "[fd77::2]:2000")] {
        for checksums in [false, true] {
            let nic = NicConfig { checksums, ..NicConfig::memory("eth0", 1500) };
            let mut pair = Pair::with(&Config::default(), &nic);
            let (a, b) = (datagram(&mut pair.a, local), datagram(&mut pair.b, remote));
            assert_eq!(send_to(&mut pair.a, a, b"hello", Some(remote)), Ok(5));
            pair.cable();
            assert_eq!(events(&mut pair.b), [b]);
            assert!(pair.b.readiness(b).contains(Readiness::READABLE));
            let got = recv_from(&mut pair.b, b).unwrap();
            assert_eq!(
                (got.payload.to_vec(), got.from, got.to),
                (b"hello".to_vec(), addr(local), addr(remote))
            );
            assert_eq!(recv_from(&mut pair.b, b), Err(Error::WouldBlock));
            assert!(!pair.b.readiness(b).contains(Readiness::READABLE));
            assert_eq!((pair.a.memory_used(), pair.b.memory_used()), (0, 0));
        }
    }
}

#[test]
fn the_ecn_bits_of_datagrams_are_the_programs() {
    for (local, remote) in [("10.0.0.1:1000", "10.0.0.2:2000"), ("[fd77::1]:1000", "[fd77::2]:2000")] {
        let mut pair = Pair::new();
        let (a, b) = (datagram(&mut pair.a, local), datagram(&mut pair.b, remote));
        let (option, name) = match domain(addr(local)) {
            Domain::Inet6 => (SocketOption::TrafficClass(0xb9), OptionName::TrafficClass),
            _ => (SocketOption::Tos(0xb9), OptionName::Tos),
        };
        pair.a.set_option(pair.now, a, option).unwrap();
        assert_eq!(pair.a.get_option(a, name), Ok(option));
        send_to(&mut pair.a, a, b"marked", Some(remote)).unwrap();
        pair.cable();
        assert_eq!(recv_from(&mut pair.b, b).unwrap().tos, 0xb9);
    }
}

#[test]
fn a_connected_socket_hears_only_its_peer() {
    let mut pair = Pair::new();
    let (a, other) = (datagram(&mut pair.a, "10.0.0.1:1000"), datagram(&mut pair.a, "10.0.0.1:1001"));
    let b = datagram(&mut pair.b, "0.0.0.0:2000");
    pair.b.connect(pair.now, b, addr("10.0.0.1:1000")).unwrap();
    assert_eq!(pair.b.local_addr(b), Ok(addr("10.0.0.2:2000")));
    assert_eq!(pair.b.peer_addr(b), Ok(addr("10.0.0.1:1000")));
    send_to(&mut pair.a, a, b"peer", Some("10.0.0.2:2000")).unwrap();
    send_to(&mut pair.a, other, b"stranger", Some("10.0.0.2:2000")).unwrap();
    pair.cable();
    assert_eq!(recv_from(&mut pair.b, b).unwrap().payload.to_vec(), b"peer");
    assert_eq!(recv_from(&mut pair.b, b), Err(Error::WouldBlock));
    assert_eq!(send_to(&mut pair.b, b, b"back", None), Ok(4));
    pair.cable();
    assert_eq!(recv(&mut pair.a, pair.now, a).unwrap(), b"back");
    pair.b.disconnect(pair.now, b).unwrap();
    assert_eq!(pair.b.local_addr(b), Ok(addr("0.0.0.0:2000")));
    assert_eq!(send_to(&mut pair.b, b, b"whereto", None), Err(Error::DestinationRequired));
    send_to(&mut pair.a, other, b"again", Some("10.0.0.2:2000")).unwrap();
    pair.cable();
    assert_eq!(recv_from(&mut pair.b, b).unwrap().payload.to_vec(), b"again");
}

#[test]
fn port_unreachable_refuses_connected_sockets_only() {
    for (local, remote) in [("10.0.0.1:1000", "10.0.0.2:9"), ("[fd77::1]:1000", "[fd77::2]:9")] {
        for checksums in [false, true] {
            let nic = NicConfig { checksums, ..NicConfig::memory("eth0", 1500) };
            let mut pair = Pair::with(&Config::default(), &nic);
            let a = datagram(&mut pair.a, local);
            send_to(&mut pair.a, a, b"?", Some(remote)).unwrap();
            pair.cable();
            assert_eq!(pair.a.take_error(a), None);
            pair.a.connect(pair.now, a, addr(remote)).unwrap();
            send_to(&mut pair.a, a, b"?", None).unwrap();
            events(&mut pair.a);
            pair.cable();
            assert_eq!(events(&mut pair.a), [a]);
            assert!(pair.a.readiness(a).contains(Readiness::ERROR));
            assert_eq!(recv_from(&mut pair.a, a), Err(Error::ConnectionRefused));
            assert_eq!(recv_from(&mut pair.a, a), Err(Error::WouldBlock), "an error is told once");
        }
    }
}

#[test]
fn the_loopback_delivers_in_the_same_call() {
    for text in ["127.0.0.1:53", "127.9.9.9:53", "[::1]:53"] {
        let mut stack = lonely();
        let server = datagram(&mut stack, text);
        let client = stack.socket(domain(addr(text)), SocketType::Datagram, Owner::default()).unwrap();
        stack.connect(Instant::ZERO, client, addr(text)).unwrap();
        send_to(&mut stack, client, &vec![7; 60_000], None).unwrap();
        let got = recv_from(&mut stack, server).unwrap();
        assert_eq!((got.payload.len(), got.nic), (60_000, NicId::LOOPBACK));
        assert_eq!(Ok(got.from), stack.local_addr(client));
        stack.close(Instant::ZERO, server).unwrap();
        send_to(&mut stack, client, b"?", None).unwrap();
        assert_eq!(stack.take_error(client), Some(Error::ConnectionRefused));
        assert_eq!(stack.poll_timeout(), None);
    }
}

#[test]
fn a_host_reaches_its_own_addresses_without_its_link() {
    let mut pair = Pair::new();
    let (a, b) = (datagram(&mut pair.a, "10.0.0.1:1"), datagram(&mut pair.a, "0.0.0.0:2"));
    send_to(&mut pair.a, a, b"self", Some("10.0.0.1:2")).unwrap();
    assert_eq!(recv_from(&mut pair.a, b).unwrap().from, addr("10.0.0.1:1"));
    assert!(!pair.a.wants_transmit(LINK));
}

#[test]
fn long_datagrams_are_fragmented_and_put_together() {
    for (local, remote, longest) in
        [("10.0.0.1:1000", "10.0.0.2:2000", 65_507), ("[fd77::1]:1000", "[fd77::2]:2000", 65_527)]
    {
        for checksums in [false, true] {
            let nic = NicConfig { checksums, ..NicConfig::memory("eth0", 1500) };
            let mut pair = Pair::with(&Config::default(), &nic);
            let (a, b) = (datagram(&mut pair.a, local), datagram(&mut pair.b, remote));
            for len in [1472, 1473, 1480, 3000, longest - 20] {
                let data: Vec<u8> = (0..len).map(|i: usize| (i * 7) as u8).collect();
                assert_eq!(send_to(&mut pair.a, a, &data, Some(remote)), Ok(len));
                pair.cable();
                assert_eq!(recv_from(&mut pair.b, b).expect(remote).payload.to_vec(), data);
            }
            assert_eq!(send_to(&mut pair.a, a, &vec![0; longest + 1], Some(remote)), Err(Error::MessageSize));
            // One fragment lost: the rest is dropped in time.
            pair.loses = |number, _| number % 3 == 0;
            send_to(&mut pair.a, a, &[1; 5000], Some(remote)).unwrap();
            pair.cable();
            assert!(pair.b.memory_used() > 0);
            pair.pass(Duration::from_secs(31));
            assert_eq!(pair.b.memory_used(), 0);
            assert_eq!(recv_from(&mut pair.b, b), Err(Error::WouldBlock));
            discover(&mut pair.a, a, MtuDiscover::Do);
            assert_eq!(send_to(&mut pair.a, a, &[0; 1473], Some(remote)), Err(Error::MessageSize));
        }
    }
}

#[test]
fn overlapping_fragments_drop_the_packet() {
    let mut pair = Pair::new();
    let (a, b) = (datagram(&mut pair.a, "10.0.0.1:1"), datagram(&mut pair.b, "10.0.0.2:2"));
    send_to(&mut pair.a, a, &[1; 4000], Some("10.0.0.2:2")).unwrap();
    let mut batch = Batch::new();
    pair.a.poll_transmit(pair.now, LINK, &mut batch);
    let packets: Vec<Packet> = batch.drain().collect();
    assert_eq!(packets.len(), 3);
    // The second fragment, moved eight bytes down over the first.
    let mut forged = packets[1].clone();
    let offset = u16::from_be_bytes([forged.head[6], forged.head[7]]) - 1;
    forged.head[6..8].copy_from_slice(&offset.to_be_bytes());
    for packet in [packets[0].clone(), forged, packets[1].clone(), packets[2].clone()] {
        batch.push(packet);
    }
    pair.b.handle_packets(pair.now, LINK, &mut batch);
    assert_eq!(recv_from(&mut pair.b, b), Err(Error::WouldBlock));
    assert_eq!(pair.b.counters()[Counter::IpReasmFails], 1);
    assert_eq!(pair.b.counters()[Counter::IpReasmOverlaps], 1);
    assert_eq!(pair.a.counters()[Counter::UdpOutDatagrams], 1);
    // In any order, without the forgery, also with duplicates, it arrives.
    for packet in [&packets[2], &packets[0], &packets[0], &packets[1]] {
        batch.push(packet.clone());
    }
    pair.b.handle_packets(pair.now, LINK, &mut batch);
    assert_eq!(recv_from(&mut pair.b, b).map(|got| got.payload.len()), Ok(4000));
}

#[test]
fn an_atomic_fragment_shares_nothing_with_others_of_its_id() {
    // RFC 6946 §4
    let nic = NicConfig { checksums: true, ..NicConfig::memory("eth0", 1500) };
    let mut pair = Pair::with(&Config::default(), &nic);
    let (a, b) = (datagram(&mut pair.a, "[fd77::1]:1"), datagram(&mut pair.b, "[fd77::2]:2"));
    let mut made = |len: usize| -> Vec<Packet> {
        let mut batch = Batch::new();
        send_to(&mut pair.a, a, &vec![len as u8; len], Some("[fd77::2]:2")).unwrap();
        pair.a.poll_transmit(pair.now, LINK, &mut batch);
        batch.drain().collect()
    };
    let (set, mut atomic) = (made(3000), made(100).remove(0));
    // A fragment header that says offset 0 and nothing more, with the set's id.
    let mut head = atomic.head.to_vec();
    let (next, len) = (head[6], u16::from_be_bytes([head[4], head[5]]) + 8);
    head[4..6].copy_from_slice(&len.to_be_bytes());
    head[6] = sockeye_wire::Protocol::FRAGMENT.0;
    let id = [next, 0, 0, 0].into_iter().chain(set[0].head[44..48].iter().copied());
    head.splice(40..40, id);
    atomic.head = Head::from_slice(&head);
    let mut spoilt = atomic.clone();
    spoilt.payload = Chunk::from(vec![0; spoilt.payload.len()]).into();
    let mut batch = Batch::new();
    for packet in [&set[0], &atomic, &spoilt, &atomic, &set[1], &set[2]] {
        batch.push(packet.clone());
    }
    pair.b.handle_packets(pair.now, LINK, &mut batch);
    let lens = [0; 3].map(|_| recv_from(&mut pair.b, b).map(|got| got.payload.len()));
    assert_eq!(lens, [Ok(100), Ok(100), Ok(3000)]);
    assert_eq!(recv_from(&mut pair.b, b), Err(Error::WouldBlock), "a checksum was not verified");
    assert_eq!((pair.b.counters()[Counter::IpReasmFails], pair.b.memory_used()), (0, 0));
}

#[test]
fn binds_conflict_as_on_linux() {
    let mut stack = Pair::new().a;
    let now = Instant::ZERO;
    let first = datagram(&mut stack, "0.0.0.0:53");
    let mut bind = |text: &str, options: &[SocketOption]| {
        let id = stack.socket(domain(addr(text)), SocketType::Datagram, Owner::default()).unwrap();
        for option in options {
            stack.set_option(now, id, *option).unwrap();
        }
        let result = stack.bind(id, addr(text));
        stack.close(now, id).unwrap();
        result
    };
    assert_eq!(bind("10.0.0.1:53", &[]), Err(Error::AddrInUse));
    assert_eq!(bind("10.0.0.1:53", &[SocketOption::ReuseAddr(true)]), Err(Error::AddrInUse));
    assert_eq!(bind("[::]:53", &[]), Err(Error::AddrInUse));
    assert_eq!(bind("[::]:53", &[SocketOption::V6Only(true)]), Ok(()));
    assert_eq!(bind("[fd77::1]:53", &[]), Ok(()));
    assert_eq!(bind("10.0.0.9:54", &[]), Err(Error::AddrNotAvailable));
    assert_eq!(bind("10.0.0.255:54", &[]), Ok(()));
    assert_eq!(bind("127.0.0.5:54", &[]), Ok(()));
    stack.set_option(now, first, SocketOption::ReuseAddr(true)).unwrap();
    let second = stack.socket(Domain::Inet, SocketType::Datagram, Owner::default()).unwrap();
    stack.set_option(now, second, SocketOption::ReuseAddr(true)).unwrap();
    assert_eq!(stack.bind(second, addr("10.0.0.1:53")), Ok(()));
    assert_eq!(stack.bind(second, addr("10.0.0.1:54")), Err(Error::InvalidArgument), "bound already");
    let v4 = stack.socket(Domain::Inet, SocketType::Datagram, Owner::default()).unwrap();
    assert_eq!(stack.bind(v4, addr("[::1]:54")), Err(Error::AddressFamily));
    assert_eq!(stack.get_option(v4, OptionName::V6Only), Err(Error::ProtocolOption));
}

#[test]
fn ports_are_picked_from_the_range_and_run_out() {
    let config = Config { local_ports: 40_000..=40_003, ..Config::default() };
    let mut stack = Stack::new(config, [1; 32]);
    let mut ports = Vec::new();
    for _ in 0..4 {
        let id = datagram(&mut stack, "127.0.0.1:0");
        ports.push(stack.local_addr(id).unwrap().port);
    }
    ports.sort_unstable();
    assert_eq!(ports, [40_000, 40_001, 40_002, 40_003]);
    let id = stack.socket(Domain::Inet, SocketType::Datagram, Owner::default()).unwrap();
    assert_eq!(stack.bind(id, addr("127.0.0.1:0")), Err(Error::AddrInUse));
}

#[test]
fn broadcasts_need_permission_and_reach_all() {
    let mut pair = Pair::new();
    let a = datagram(&mut pair.a, "10.0.0.1:1");
    let share = |pair: &mut Pair| {
        let id = pair.b.socket(Domain::Inet, SocketType::Datagram, Owner::default()).unwrap();
        pair.b.set_option(pair.now, id, SocketOption::ReuseAddr(true)).unwrap();
        pair.b.bind(id, addr("0.0.0.0:2")).unwrap();
        id
    };
    let members = [share(&mut pair), share(&mut pair)];
    assert_eq!(send_to(&mut pair.a, a, b"all", Some("10.0.0.255:2")), Err(Error::PermissionDenied));
    pair.a.set_option(pair.now, a, SocketOption::Broadcast(true)).unwrap();
    for to in ["10.0.0.255:2", "255.255.255.255:2"] {
        send_to(&mut pair.a, a, b"all", Some(to)).unwrap();
        pair.cable();
        for id in members {
            assert_eq!(recv_from(&mut pair.b, id).unwrap().to, addr(to));
        }
    }
    send_to(&mut pair.a, a, b"nobody", Some("10.0.0.255:3")).unwrap();
    let before = pair.crossed;
    pair.cable();
    assert_eq!(pair.crossed, before + 1, "a broadcast is never answered with an error");
}

#[test]
fn full_queues_block_the_sender_and_drop_at_the_receiver() {
    let config = Config { udp_recv_buffer: 4096, udp_send_buffer: 4096, ..Config::default() };
    let mut pair = Pair::with(&config, &NicConfig::memory("eth0", 1500));
    let (a, b) = (datagram(&mut pair.a, "10.0.0.1:1"), datagram(&mut pair.b, "10.0.0.2:2"));
    let sent =
        (0..100).take_while(|_| send_to(&mut pair.a, a, &[0; 1000], Some("10.0.0.2:2")).is_ok()).count();
    assert!((2..10).contains(&sent), "{sent}");
    assert_eq!(send_to(&mut pair.a, a, b"", Some("10.0.0.2:2")), Err(Error::WouldBlock));
    assert!(!pair.a.readiness(a).contains(Readiness::WRITABLE));
    events(&mut pair.a);
    pair.cable();
    assert_eq!(events(&mut pair.a), [a], "room again");
    for _ in 0..3 {
        send_to(&mut pair.a, a, &[0; 1000], Some("10.0.0.2:2")).unwrap();
    }
    pair.cable();
    let received = (0..100).take_while(|_| recv_from(&mut pair.b, b).is_ok()).count();
    assert!(received < sent + 3 && pair.b.counters()[Counter::UdpRcvbufErrors] > 0);
    assert_eq!((pair.a.memory_used(), pair.b.memory_used()), (0, 0));
}

#[test]
fn dual_stack_sockets_speak_both_families() {
    let mut pair = Pair::new();
    let b = datagram(&mut pair.b, "[::]:2");
    let (v4, v6) = (datagram(&mut pair.a, "10.0.0.1:1"), datagram(&mut pair.a, "[fd77::1]:1"));
    send_to(&mut pair.a, v4, b"4", Some("10.0.0.2:2")).unwrap();
    send_to(&mut pair.a, v6, b"6", Some("[fd77::2]:2")).unwrap();
    pair.cable();
    assert_eq!(recv_from(&mut pair.b, b).unwrap().from, addr("10.0.0.1:1"));
    assert_eq!(recv_from(&mut pair.b, b).unwrap().from, addr("[fd77::1]:1"));
    send_to(&mut pair.b, b, b"back", Some("10.0.0.1:1")).unwrap();
    pair.cable();
    assert_eq!(recv_from(&mut pair.a, v4).unwrap().from, addr("10.0.0.2:2"));
    assert_eq!(send_to(&mut pair.a, v4, b"x", Some("[fd77::2]:2")), Err(Error::AddressFamily));
}

#[test]
fn shutdown_and_destinations_are_checked_in_order() {
    let mut pair = Pair::new();
    let a = datagram(&mut pair.a, "10.0.0.1:1");
    assert_eq!(send_to(&mut pair.a, a, b"x", None), Err(Error::DestinationRequired));
    assert_eq!(send_to(&mut pair.a, a, b"x", Some("10.0.0.2:0")), Err(Error::InvalidArgument));
    assert_eq!(send_to(&mut pair.a, a, b"x", Some("192.168.0.1:1")), Err(Error::NetworkUnreachable));
    assert_eq!(pair.a.shutdown(pair.now, a, Shutdown::Write), Err(Error::NotConnected));
    assert_eq!(send_to(&mut pair.a, a, b"x", Some("10.0.0.2:1")), Err(Error::BrokenPipe));
    assert_eq!(pair.a.shutdown(pair.now, a, Shutdown::Read), Err(Error::NotConnected));
    assert!(pair.a.readiness(a).contains(Readiness::READABLE | HANGUP));
    assert_eq!(recv(&mut pair.a, pair.now, a), Ok(Vec::new()));
    pair.a.close(pair.now, a).unwrap();
    assert_eq!(pair.a.close(pair.now, a), Err(Error::BadSocket));
    assert_eq!(pair.a.readiness(a), Readiness::EMPTY);
}

#[test]
fn echo_requests_are_answered_whole() {
    use sockeye_wire::{Ipv4Header, Protocol};
    let mut pair = Pair::new();
    let data: Vec<u8> = (0..3000_usize).map(|i| i as u8).collect();
    let mut bytes = vec![0; 28];
    let ip = Ipv4Header {
        total_len: (28 + data.len()) as u16,
        protocol: Protocol::ICMP,
        src: [10, 0, 0, 1].into(),
        dst: [10, 0, 0, 2].into(),
        ..Ipv4Header::default()
    };
    ip.emit(&mut bytes);
    bytes[20..28].copy_from_slice(&[8, 0, 0, 0, 1, 2, 3, 4]);
    bytes.extend(&data);
    let meta = sockeye_packet::Meta { checksum: Checksum::Unfilled, ..sockeye_packet::Meta::default() };
    let mut batch = Batch::new();
    batch.push(Packet::from_bytes(&Chunk::from(bytes), meta));
    pair.b.handle_packets(pair.now, LINK, &mut batch);
    pair.b.poll_transmit(pair.now, LINK, &mut batch);
    let replies: Vec<Packet> = batch.drain().collect();
    assert_eq!(replies.len(), 3);
    assert_eq!(replies[0].head[20..28], [0, 0, replies[0].head[22], replies[0].head[23], 1, 2, 3, 4]);
    assert_eq!(replies.iter().map(|reply| reply.payload.len()).sum::<usize>(), 3000);
}

#[test]
fn bad_packets_are_counted_and_dropped() {
    let mut pair = Pair::new();
    let (a, b) = (datagram(&mut pair.a, "10.0.0.1:1"), datagram(&mut pair.b, "10.0.0.2:2"));
    send_to(&mut pair.a, a, b"data", Some("10.0.0.2:2")).unwrap();
    let mut batch = Batch::new();
    pair.a.poll_transmit(pair.now, LINK, &mut batch);
    let good = batch.pop().unwrap().to_vec();
    let mut inject = |bytes: &[u8], checksum| {
        let meta = sockeye_packet::Meta { checksum, ..sockeye_packet::Meta::default() };
        batch.push(Packet::from_bytes(&Chunk::copy_from(bytes), meta));
        pair.b.handle_packets(Instant::ZERO, LINK, &mut batch);
        let counters = pair.b.counters();
        (
            counters[Counter::IpInHdrErrors],
            counters[Counter::UdpInCsumErrors],
            counters[Counter::Martians],
            counters[Counter::IpInAddrErrors],
        )
    };
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    assert_eq!(inject(&[], Checksum::Unfilled), (1, 0, 0, 0));
    assert_eq!(inject(&good[..30], Checksum::Unfilled), (2, 0, 0, 0));
    assert_eq!(inject(&changed(0, 0x75), Checksum::Unfilled), (3, 0, 0, 0));
    assert_eq!(inject(&changed(27, 1), Checksum::Unverified), (3, 1, 0, 0));
    assert_eq!(inject(&changed(12, 127), Checksum::Unfilled), (3, 1, 1, 0));
    assert_eq!(inject(&changed(12, 224), Checksum::Unfilled), (3, 1, 2, 0));
    assert_eq!(inject(&changed(15, 2), Checksum::Unfilled), (3, 1, 3, 0));
    assert_eq!(inject(&changed(19, 3), Checksum::Unfilled), (3, 1, 3, 1));
    let mut padded = good.clone();
    padded.extend([0; 18]);
    assert_eq!(inject(&padded, Checksum::Unfilled), (3, 1, 3, 1));
    assert_eq!(recv(&mut pair.b, Instant::ZERO, b).unwrap(), b"data");
    assert_eq!(recv(&mut pair.b, Instant::ZERO, b), Err(Error::WouldBlock));
}

#[test]
fn a_port_that_connect_picked_goes_with_its_peer() {
    let mut pair = Pair::new();
    let id = pair.a.socket(Domain::Inet, SocketType::Datagram, Owner::default()).unwrap();
    for _ in 0..2 {
        pair.a.connect(pair.now, id, addr("10.0.0.2:7")).unwrap();
        let local = pair.a.local_addr(id);
        pair.a.connect(pair.now, id, addr("10.0.0.2:8")).unwrap();
        assert_eq!(pair.a.local_addr(id), local, "another peer, the same port");
        pair.a.disconnect(pair.now, id).unwrap();
        assert_eq!(pair.a.local_addr(id), Ok(SockAddr::UNSPECIFIED_V4));
    }
}

#[test]
fn a_datagram_whose_fragments_find_no_memory_leaves_nothing_behind() {
    let config = Config { memory: 200_000, ..Config::default() };
    let mut pair = Pair::with(&config, &NicConfig::memory("eth0", 68));
    let id = datagram(&mut pair.a, "10.0.0.1:1000");
    let payload = || sockeye_packet::Payload::from(Chunk::from(alloc::vec![7; 60_000]));
    let to = Some(addr("10.0.0.2:53"));
    assert_eq!(pair.a.send_to(pair.now, id, payload(), to, SendFlags::default()), Err(Error::NoBufs));
    assert_eq!((pair.a.memory_used(), pair.a.send_queued(id)), (0, 0));
}

/// `IPV6_DONTFRAG`, `IPV6_MTU`, and the modes of `IP_MTU_DISCOVER` that know the interface only.
#[test]
fn options_say_who_cuts_datagrams_and_how() {
    let mut pair = Pair::new();
    let (v4, v6) = ("10.0.0.2:9", "[fd77::2]:9");
    // The lengths of the packets that a datagram becomes, and whether routers may cut the first.
    let mut packets = |to: &str, options: &[SocketOption], len: usize| {
        let id = datagram(&mut pair.a, if to == v4 { "10.0.0.1:0" } else { "[fd77::1]:0" });
        for option in options {
            pair.a.set_option(pair.now, id, *option).unwrap();
        }
        send_to(&mut pair.a, id, &vec![0; len], Some(to))?;
        let mut batch = Batch::new();
        pair.a.poll_transmit(pair.now, LINK, &mut batch);
        let sent: Vec<Vec<u8>> = batch.drain().map(|packet| packet.to_vec()).collect();
        let dont_fragment = to == v4 && sent[0][6] & 0x40 != 0;
        Ok((sent.iter().map(Vec::len).collect::<Vec<_>>(), dont_fragment))
    };
    let mtu = |mtu| SocketOption::Mtu(NonZeroU16::new(mtu));
    assert_eq!(packets(v6, &[], 1500), Ok((vec![1496, 108], false)));
    assert_eq!(packets(v6, &[SocketOption::DontFragment(true)], 1453), Err(Error::MessageSize));
    assert_eq!(packets(v6, &[SocketOption::DontFragment(true)], 1452), Ok((vec![1500], false)));
    assert_eq!(packets(v6, &[mtu(1280)], 1452).map(|sent| sent.0[0]), Ok(1280));
    assert_eq!(packets(v4, &[mtu(1280)], 1452).map(|sent| sent.0), Ok(vec![1480]), "IPv4 doesn't know it");
    let mode = |mode| [SocketOption::MtuDiscover(mode)];
    assert_eq!(packets(v4, &mode(MtuDiscover::Interface), 1473), Err(Error::MessageSize));
    assert_eq!(packets(v4, &mode(MtuDiscover::Interface), 1472), Ok((vec![1500], false)));
    assert_eq!(
        packets(v4, &mode(MtuDiscover::Omit), 1473).map(|sent| (sent.0.len(), sent.1)),
        Ok((2, false))
    );
    assert_eq!(packets(v4, &mode(MtuDiscover::Probe), 1472), Ok((vec![1500], true)));
    let id = datagram(&mut pair.a, "[fd77::1]:0");
    assert_eq!(pair.a.set_option(pair.now, id, mtu(1279)), Err(Error::InvalidArgument));
}

#[test]
fn a_socket_of_ipv6_has_settings_of_its_own_for_ipv4() {
    let mut pair = Pair::new();
    let id = pair.a.socket(Domain::Inet6, SocketType::Datagram, Owner::default()).unwrap();
    for option in [
        SocketOption::Ttl(Some(9)),
        SocketOption::HopLimit(Some(17)),
        SocketOption::Tos(0x48),
        SocketOption::TrafficClass(0x20),
        SocketOption::MtuDiscover(MtuDiscover::Dont),
        SocketOption::MtuDiscoverV6(MtuDiscover::Do),
        SocketOption::MinTtl(3),
        SocketOption::MinHops(4),
    ] {
        pair.a.set_option(pair.now, id, option).unwrap();
    }
    assert_eq!(pair.a.get_option(id, OptionName::Ttl), Ok(SocketOption::Ttl(Some(9))));
    assert_eq!(pair.a.get_option(id, OptionName::HopLimit), Ok(SocketOption::HopLimit(Some(17))));
    assert_eq!(pair.a.get_option(id, OptionName::MinTtl), Ok(SocketOption::MinTtl(3)));
    assert_eq!(pair.a.get_option(id, OptionName::MinHops), Ok(SocketOption::MinHops(4)));
    // Over IPv4 it is cut, with the other time to live; over IPv6 it is too long.
    assert_eq!(send_to(&mut pair.a, id, &[0; 1480], Some("[::ffff:10.0.0.2]:9")), Ok(1480));
    assert_eq!(send_to(&mut pair.a, id, &[0; 1480], Some("[fd77::2]:9")), Err(Error::MessageSize));
    send_to(&mut pair.a, id, b"short", Some("[fd77::2]:9")).unwrap();
    let mut batch = Batch::new();
    pair.a.poll_transmit(pair.now, LINK, &mut batch);
    let sent: Vec<_> = batch.drain().map(|packet| (packet.meta.ttl, packet.meta.tos_ecn)).collect();
    assert_eq!(sent, [(9, 0x48), (9, 0x48), (17, 0x20)]);
    let v4 = pair.a.socket(Domain::Inet, SocketType::Datagram, Owner::default()).unwrap();
    assert_eq!(pair.a.set_option(pair.now, v4, SocketOption::HopLimit(None)), Err(Error::ProtocolOption));
    assert_eq!(pair.a.get_option(v4, OptionName::TrafficClass), Err(Error::ProtocolOption));
}

#[test]
fn the_interface_of_single_hosts_is_the_last_word() {
    let mut stack = Pair::new().a;
    let eth1 = stack.add_nic(NicConfig::memory("eth1", 1500)).unwrap();
    stack.add_address(eth1, "10.0.1.1".parse().unwrap(), 24).unwrap();
    let id = datagram(&mut stack, "0.0.0.0:1000");
    let now = Instant::ZERO;
    let leaves_by = |stack: &mut Stack, to: &str| {
        let sent = send_to(stack, id, b"x", Some(to));
        let mut batch = Batch::new();
        let mut sends = |nic: &NicId| {
            stack.poll_transmit(now, *nic, &mut batch);
            !batch.is_empty()
        };
        sent.map(|_| [LINK, eth1].into_iter().find(&mut sends))
    };
    assert_eq!(leaves_by(&mut stack, "10.0.0.9:9"), Ok(Some(LINK)));
    stack.set_option(now, id, SocketOption::UnicastNic(Some(eth1))).unwrap();
    assert_eq!(stack.get_option(id, OptionName::UnicastNic), Ok(SocketOption::UnicastNic(Some(eth1))));
    assert_eq!(leaves_by(&mut stack, "10.0.0.9:9"), Ok(Some(eth1)), "on its link, for want of a route");
    assert_eq!(leaves_by(&mut stack, "10.0.1.9:9"), Ok(Some(eth1)));
    stack.set_option(now, id, SocketOption::BindToNic(Some(LINK))).unwrap();
    assert_eq!(leaves_by(&mut stack, "10.0.1.9:9"), Ok(Some(LINK)), "the socket's interface goes first");
    assert_eq!(leaves_by(&mut stack, "192.0.2.9:9"), Ok(Some(LINK)));
    let other = SocketOption::UnicastNic(Some(eth1));
    assert_eq!(stack.set_option(now, id, other), Err(Error::InvalidArgument));
    let none = SocketOption::UnicastNic(Some(NicId(77)));
    assert_eq!(stack.set_option(now, id, none), Err(Error::AddrNotAvailable));
    stack.set_option(now, id, SocketOption::UnicastNic(None)).unwrap();
}
