//! Options of IPv4 that a user asks for (`IP_OPTIONS`), from one host to the other.

use super::*;
use crate::{Ipv4Options, MtuDiscover, OptionName, Protocol, SocketOption};
use alloc::vec;
use sockeye_packet::Payload;
use sockeye_wire::Ipv4Header;

/// Room for one address of a route, and a word to routers.
const ASKED: [u8; 12] = [7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0, 0];
/// The same as host a sends it.
const SENT: [u8; 12] = [7, 7, 8, 10, 0, 0, 1, 148, 4, 0, 0, 0];

fn set(pair: &mut Pair, id: SocketId, options: &[u8]) -> Result<(), Error> {
    pair.a.set_option(pair.now, id, SocketOption::IpOptions(Ipv4Options::from_slice(options)))
}

/// The packets that host a has for the link, each right as to its header.
fn packets(pair: &mut Pair) -> Vec<Packet> {
    let mut batch = Batch::new();
    pair.a.poll_transmit(pair.now, LINK, &mut batch);
    let packets: Vec<_> = batch.drain().collect();
    for packet in &packets {
        let (header, _) = Ipv4Header::parse(&packet.head).unwrap();
        assert!(Ipv4Header::verify(&packet.head));
        assert_eq!(usize::from(header.total_len), packet.len());
    }
    packets
}

fn deliver(pair: &mut Pair, packets: Vec<Packet>) {
    let mut batch = Batch::new();
    for packet in packets {
        batch.push(packet);
    }
    pair.b.handle_packets(pair.now, LINK, &mut batch);
}

fn options(packet: &Packet) -> Ipv4Options {
    Ipv4Header::parse(&packet.head).unwrap().0.options
}

fn send_to(pair: &mut Pair, id: SocketId, to: &str, data: &[u8]) -> Result<usize, Error> {
    let payload = Payload::from(Chunk::copy_from(data));
    pair.a.send_to(pair.now, id, payload, Some(addr(to)), SendFlags::default())
}

fn received(pair: &mut Pair, id: SocketId) -> Vec<u8> {
    pair.b.recv_from(pair.now, id, RecvFlags::default()).unwrap().payload.to_vec()
}

#[test]
fn datagrams_carry_what_was_asked_for_until_it_is_taken_back() {
    let mut pair = Pair::new();
    let (a, b) = (datagram(&mut pair.a, "10.0.0.1:1000"), datagram(&mut pair.b, "10.0.0.2:2000"));
    let read = |pair: &Pair| match pair.a.get_option(a, OptionName::IpOptions) {
        Ok(SocketOption::IpOptions(options)) => options.to_vec(),
        other => panic!("{other:?}"),
    };
    assert!(read(&pair).is_empty());
    assert_eq!(set(&mut pair, a, &[131, 7, 4, 10, 0, 0, 2]), Err(Error::InvalidArgument));
    set(&mut pair, a, &ASKED[..11]).unwrap();
    assert_eq!(read(&pair), ASKED);
    for expected in [&SENT[..], &[]] {
        assert_eq!(send_to(&mut pair, a, "10.0.0.2:2000", b"hello"), Ok(5));
        let sent = packets(&mut pair);
        assert_eq!(options(&sent[0])[..], *expected);
        deliver(&mut pair, sent);
        assert_eq!(received(&mut pair, b), b"hello");
        set(&mut pair, a, &[]).unwrap();
    }
    assert!(read(&pair).is_empty());
}

#[test]
fn what_is_wrong_leaves_what_was_right() {
    let mut pair = Pair::new();
    let a = datagram(&mut pair.a, "10.0.0.1:1000");
    set(&mut pair, a, &ASKED).unwrap();
    assert_eq!(set(&mut pair, a, &[7]), Err(Error::InvalidArgument));
    send_to(&mut pair, a, "10.0.0.2:2000", b"hello").unwrap();
    assert_eq!(options(&packets(&mut pair)[0])[..], SENT);
}

#[test]
fn of_fragments_the_first_has_all_and_the_rest_what_is_copied() {
    let mut pair = Pair::new();
    let (a, b) = (datagram(&mut pair.a, "10.0.0.1:1000"), datagram(&mut pair.b, "10.0.0.2:2000"));
    pair.a.set_option(pair.now, a, SocketOption::MtuDiscover(MtuDiscover::Dont)).unwrap();
    set(&mut pair, a, &ASKED).unwrap();
    let data: Vec<u8> = (0..4000_u32).map(|number| number as u8).collect();
    assert_eq!(send_to(&mut pair, a, "10.0.0.2:2000", &data), Ok(data.len()));
    let sent = packets(&mut pair);
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|packet| packet.len() <= 1500));
    assert_eq!(options(&sent[0])[..], SENT);
    for packet in &sent[1..] {
        assert_eq!(options(packet)[..], [1, 1, 1, 1, 1, 1, 1, 148, 4, 0, 0, 0]);
    }
    deliver(&mut pair, sent);
    assert_eq!(received(&mut pair, b), data);
}

#[test]
fn whole_datagrams_leave_room_for_options() {
    let mut pair = Pair::new();
    let a = datagram(&mut pair.a, "10.0.0.1:1000");
    pair.a.set_option(pair.now, a, SocketOption::MtuDiscover(MtuDiscover::Do)).unwrap();
    set(&mut pair, a, &ASKED).unwrap();
    assert_eq!(send_to(&mut pair, a, "10.0.0.2:2000", &[0; 1461]), Err(Error::MessageSize));
    assert_eq!(send_to(&mut pair, a, "10.0.0.2:2000", &[0; 1460]), Ok(1460));
    assert_eq!(packets(&mut pair)[0].len(), 1500);
    pair.a.set_option(pair.now, a, SocketOption::MtuDiscover(MtuDiscover::Dont)).unwrap();
    assert_eq!(send_to(&mut pair, a, "10.0.0.2:2000", &vec![0; 65_496]), Err(Error::MessageSize));
    assert_eq!(send_to(&mut pair, a, "10.0.0.2:2000", &vec![0; 65_495]), Ok(65_495));
}

#[test]
fn raw_and_ping_sockets_have_them_but_not_in_a_programs_own_header() {
    let mut pair = Pair::new();
    let mut echo = vec![8, 0, 0, 0, 0, 0, 0, 1, b'h', b'i'];
    for kind in [SocketType::Ping, SocketType::Raw(Protocol::ICMP)] {
        let a = pair.a.socket(Domain::Inet, kind, Owner::default()).unwrap();
        set(&mut pair, a, &ASKED).unwrap();
        assert_eq!(send_to(&mut pair, a, "10.0.0.2:0", &echo), Ok(10));
        let sent = packets(&mut pair);
        assert_eq!(options(&sent[0])[..], SENT);
        assert_eq!(sent[0].head[32], 8);
    }
    let own = pair.a.socket(Domain::Inet, SocketType::Raw(Protocol::RAW), Owner::default()).unwrap();
    set(&mut pair, own, &ASKED).unwrap();
    echo.resize(40, 0x45);
    assert_eq!(send_to(&mut pair, own, "10.0.0.2:0", &echo), Err(Error::InvalidArgument));
}

/// Whether it is a packet of host a's without its options, or one that is too long.
fn is_wrong(packet: &Packet) -> bool {
    packet.len() > 1500 || packet.head[15] == 1 && (packet.head[0] != 0x48 || options(packet)[..] != SENT)
}

#[test]
fn segments_are_shorter_by_their_options() {
    for max_segment in [0, 60_000] {
        let nic = NicConfig { max_segment, ..NicConfig::memory("eth0", 1500) };
        let mut pair = Pair::with(&Config::default(), &nic);
        pair.loses = |_, packet| {
            assert!(!is_wrong(packet), "{:?}", &packet.head[..]);
            false
        };
        let listener = pair.listener("10.0.0.2:80", 5);
        let client = stream(&mut pair.a, addr("10.0.0.2:80"));
        set(&mut pair, client, &ASKED).unwrap();
        let _ = pair.a.connect(pair.now, client, addr("10.0.0.2:80"));
        pair.cable();
        let (server, _) = pair.b.accept(pair.now, listener).unwrap();
        let data: Vec<u8> = (0..20_000_u32).map(|number| (number % 251) as u8).collect();
        assert_eq!(send(&mut pair.a, pair.now, client, &data), Ok(data.len()));
        let mut got = Vec::new();
        while got.len() < data.len() {
            pair.pass(Duration::from_millis(50));
            got.extend(recv(&mut pair.b, pair.now, server).unwrap());
        }
        assert_eq!(got, data);
        assert_eq!(pair.a.path_mtu(client), Ok(1500));
    }
}

#[test]
fn a_connection_takes_options_on_its_way_and_who_is_accepted_has_none() {
    let mut pair = Pair::new();
    let (client, _, server) = pair.connected("10.0.0.2:80");
    let max_segment = |pair: &Pair| pair.a.get_option(client, OptionName::MaxSegment).unwrap();
    let before = max_segment(&pair);
    set(&mut pair, client, &ASKED).unwrap();
    pair.loses = |_, packet| {
        assert!(!is_wrong(packet), "{:?}", &packet.head[..]);
        false
    };
    send(&mut pair.a, pair.now, client, &[7; 3000]).unwrap();
    pair.pass(Duration::from_millis(500));
    assert_eq!(recv(&mut pair.b, pair.now, server).unwrap().len(), 3000);
    let (SocketOption::MaxSegment(before), SocketOption::MaxSegment(after)) = (before, max_segment(&pair))
    else {
        panic!("not a segment size")
    };
    assert_eq!(before - after, 12);
    // Those of a listener are its own.
    let mut pair = Pair::new();
    let listener = pair.listener("10.0.0.2:80", 5);
    let options = SocketOption::IpOptions(Ipv4Options::from_slice(&ASKED));
    pair.b.set_option(pair.now, listener, options).unwrap();
    let client = stream(&mut pair.a, addr("10.0.0.2:80"));
    let _ = pair.a.connect(pair.now, client, addr("10.0.0.2:80"));
    pair.cable();
    let (server, _) = pair.b.accept(pair.now, listener).unwrap();
    let none = SocketOption::IpOptions(Ipv4Options::new());
    assert_eq!(pair.b.get_option(server, OptionName::IpOptions), Ok(none));
}

#[test]
fn packets_over_ipv6_have_none() {
    let mut pair = Pair::new();
    let (a, b) = (datagram(&mut pair.a, "[fd77::1]:1000"), datagram(&mut pair.b, "[fd77::2]:2000"));
    set(&mut pair, a, &ASKED).unwrap();
    send_to(&mut pair, a, "[fd77::2]:2000", b"hello").unwrap();
    pair.cable();
    assert_eq!(received(&mut pair, b), b"hello");
}
