//! Raw sockets: what raw(7) says, between two hosts.

use super::*;
use crate::{Message, OptionName, Protocol, SocketOption};
use sockeye_packet::Payload;
use sockeye_wire::Checksum;

/// A protocol that nobody speaks (RFC 3692).
const TEST: Protocol = Protocol(253);

fn raw(stack: &mut Stack, domain: Domain, protocol: Protocol) -> SocketId {
    stack.socket(domain, SocketType::Raw(protocol), Owner::default()).unwrap()
}

fn send_to(stack: &mut Stack, now: Instant, id: SocketId, to: &str, data: &[u8]) -> Result<usize, Error> {
    let payload = Payload::from(Chunk::copy_from(data));
    stack.send_to(now, id, payload, Some(addr(to)), SendFlags::default())
}

fn receive(stack: &mut Stack, now: Instant, id: SocketId) -> Result<(Vec<u8>, SockAddr), Error> {
    let datagram = stack.recv_from(now, id, RecvFlags::default())?;
    Ok((datagram.payload.to_vec(), datagram.from))
}

/// An ICMP echo request with its checksum.
fn echo_request() -> Vec<u8> {
    let mut message = [8, 0, 0, 0, 0x12, 0x34, 0, 1, b'h', b'i'].to_vec();
    let sum = Checksum::new().with(&message).finish();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

#[test]
fn a_raw_icmp_socket_hears_what_the_host_hears_with_its_header() {
    let mut pair = Pair::new();
    let a = raw(&mut pair.a, Domain::Inet, Protocol::ICMP);
    let b = raw(&mut pair.b, Domain::Inet, Protocol::ICMP);
    assert_eq!(send_to(&mut pair.a, pair.now, a, "10.0.0.2:0", &echo_request()), Ok(10));
    pair.cable();
    let (request, from) = receive(&mut pair.b, pair.now, b).unwrap();
    assert_eq!(from, addr("10.0.0.1:0"));
    assert_eq!(request[..2], [0x45, 0]);
    assert_eq!(request[2..4], 30_u16.to_be_bytes());
    assert_eq!(Checksum::new().with(&request[..20]).finish(), 0);
    assert_eq!(request[20..], echo_request());
    // The host has answered all the same, and the answer's checksum is there although memory needs none.
    let (reply, _) = receive(&mut pair.a, pair.now, a).unwrap();
    assert_eq!(reply[20..22], [0, 0]);
    assert_eq!(Checksum::new().with(&reply[20..]).finish(), 0);
    assert_eq!(receive(&mut pair.b, pair.now, b), Err(Error::WouldBlock));
}

#[test]
fn filters_keep_away_the_types_that_they_name() {
    let mut pair = Pair::new();
    let a = raw(&mut pair.a, Domain::Inet, Protocol::ICMP);
    let filter = SocketOption::IcmpFilter(!(1 << 8));
    pair.a.set_option(pair.now, a, filter).unwrap();
    assert_eq!(pair.a.get_option(a, OptionName::IcmpFilter), Ok(filter));
    send_to(&mut pair.a, pair.now, a, "10.0.0.2:0", &echo_request()).unwrap();
    pair.cable();
    assert_eq!(receive(&mut pair.a, pair.now, a), Err(Error::WouldBlock), "the reply, type 0");
    let six = raw(&mut pair.b, Domain::Inet6, Protocol::ICMPV6);
    let mut all_but_128 = [u32::MAX; 8];
    all_but_128[4] = !1;
    pair.b.set_option(pair.now, six, SocketOption::Icmp6Filter(all_but_128)).unwrap();
    let sender = raw(&mut pair.a, Domain::Inet6, Protocol::ICMPV6);
    for kind in [128, 129, 200] {
        send_to(&mut pair.a, pair.now, sender, "[fd77::2]:0", &[kind, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    }
    pair.cable();
    assert_eq!(receive(&mut pair.b, pair.now, six).unwrap().0[0], 128);
    assert_eq!(receive(&mut pair.b, pair.now, six), Err(Error::WouldBlock));
    let other = raw(&mut pair.a, Domain::Inet, TEST);
    assert_eq!(pair.a.set_option(pair.now, other, filter), Err(Error::NotSupported));
}

#[test]
fn of_a_programs_header_length_id_source_and_checksum_are_filled_in() {
    let mut pair = Pair::new();
    let a = raw(&mut pair.a, Domain::Inet, Protocol::RAW);
    let b = raw(&mut pair.b, Domain::Inet, TEST);
    let mut packet = [0_u8; 24];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&[9, 9]);
    packet[8..12].copy_from_slice(&[77, TEST.0, 1, 2]);
    packet[16..20].copy_from_slice(&[10, 0, 0, 2]);
    packet[20..].copy_from_slice(b"body");
    assert_eq!(send_to(&mut pair.a, pair.now, a, "10.0.0.2:0", &packet), Ok(24));
    pair.cable();
    let (got, from) = receive(&mut pair.b, pair.now, b).unwrap();
    assert_eq!(from, addr("10.0.0.1:0"));
    assert_eq!((got[0], &got[2..4], got[8], &got[20..]), (0x45, &[0, 24][..], 77, &b"body"[..]));
    assert_ne!(got[4..6], [0, 0]);
    assert_eq!(Checksum::new().with(&got[..20]).finish(), 0);
    // A header longer than the packet, a packet shorter than a header, one longer than the link.
    packet[0] = 0x4f;
    let refused = send_to(&mut pair.a, pair.now, a, "10.0.0.2:0", &packet);
    assert_eq!(refused, Err(Error::InvalidArgument));
    assert_eq!(send_to(&mut pair.a, pair.now, a, "10.0.0.2:0", &[0x45; 19]), Err(Error::InvalidArgument));
    assert_eq!(send_to(&mut pair.a, pair.now, a, "10.0.0.2:0", &[0x45; 1501]), Err(Error::MessageSize));
    // What isn't IP at all is the receiver's to drop.
    assert_eq!(send_to(&mut pair.a, pair.now, a, "10.0.0.2:0", &[0; 40]), Ok(40));
    pair.cable();
    assert_eq!(receive(&mut pair.b, pair.now, b), Err(Error::WouldBlock));
}

#[test]
fn every_segment_is_heard_also_where_a_batch_continues_it() {
    let mut pair =
        Pair::with(&Config::default(), &NicConfig { max_segment: 0, ..NicConfig::memory("eth0", 1500) });
    let heard = raw(&mut pair.b, Domain::Inet, Protocol::TCP);
    let (client, _, server) = pair.connected("10.0.0.2:80");
    while receive(&mut pair.b, pair.now, heard).is_ok() {}
    assert_eq!(send(&mut pair.a, pair.now, client, &[7; 5000]), Ok(5000));
    pair.cable();
    assert_eq!(recv(&mut pair.b, pair.now, server).unwrap().len(), 5000);
    let mut data = 0;
    let mut segments = 0;
    while let Ok((packet, _)) = receive(&mut pair.b, pair.now, heard) {
        assert!(packet.len() <= 1500);
        segments += 1;
        data += packet.len() - 20 - usize::from(packet[32] >> 4) * 4;
    }
    assert_eq!((segments, data), (4, 5000));
}

#[test]
fn a_packet_that_only_a_raw_socket_hears_is_no_reason_to_complain() {
    let mut pair = Pair::new();
    let a = raw(&mut pair.a, Domain::Inet, TEST);
    pair.a.connect(pair.now, a, addr("10.0.0.2:0")).unwrap();
    assert_eq!(send(&mut pair.a, pair.now, a, b"one long"), Ok(8));
    pair.cable();
    // RFC 1122 §3.2.2.1: protocol unreachable is a hard error, and Linux's ENOPROTOOPT.
    assert_eq!(pair.a.take_error(a), Some(Error::ProtocolOption));
    let b = raw(&mut pair.b, Domain::Inet, TEST);
    assert_eq!(send(&mut pair.a, pair.now, a, b"two"), Ok(3));
    pair.cable();
    assert_eq!(pair.a.take_error(a), None);
    assert_eq!(receive(&mut pair.b, pair.now, b).unwrap().0[20..], *b"two");
}

#[test]
fn ipv6_packets_have_no_header_and_a_checksum_where_it_was_said() {
    let mut pair = Pair::new();
    let (now, a) = (pair.now, raw(&mut pair.a, Domain::Inet6, TEST));
    let b = raw(&mut pair.b, Domain::Inet6, TEST);
    let set = |stack: &mut Stack, id, at| stack.set_option(now, id, SocketOption::ChecksumOffset(at));
    assert_eq!(pair.a.get_option(a, OptionName::ChecksumOffset), Ok(SocketOption::ChecksumOffset(None)));
    assert_eq!(set(&mut pair.a, a, Some(3)), Err(Error::InvalidArgument));
    assert_eq!(set(&mut pair.b, b, Some(4)), Ok(()));
    // Without a checksum it is dropped, with one it arrives.
    send_to(&mut pair.a, now, a, "[fd77::2]:0", b"abcdxxef").unwrap();
    assert_eq!(set(&mut pair.a, a, Some(4)), Ok(()));
    send_to(&mut pair.a, now, a, "[fd77::2]:0", b"abcdxxef").unwrap();
    assert_eq!(send_to(&mut pair.a, now, a, "[fd77::2]:0", b"abcde"), Err(Error::InvalidArgument));
    pair.cable();
    let (got, from) = receive(&mut pair.b, now, b).unwrap();
    assert_eq!((from, &got[..4], &got[6..]), (addr("[fd77::1]:0"), &b"abcd"[..], &b"ef"[..]));
    assert_ne!(got[4..6], *b"xx");
    assert_eq!(receive(&mut pair.b, now, b), Err(Error::WouldBlock));
    let icmp = raw(&mut pair.a, Domain::Inet6, Protocol::ICMPV6);
    assert_eq!(set(&mut pair.a, icmp, None), Err(Error::InvalidArgument));
    assert_eq!(
        pair.a.get_option(icmp, OptionName::ChecksumOffset),
        Ok(SocketOption::ChecksumOffset(Some(2)))
    );
}

#[test]
fn names_are_raw_ones() {
    let mut pair = Pair::new();
    let now = pair.now;
    let a = raw(&mut pair.a, Domain::Inet, TEST);
    assert_eq!(pair.a.local_addr(a), Ok(addr("0.0.0.0:253")));
    assert_eq!(pair.a.bind(a, addr("10.0.0.9:5")), Err(Error::AddrNotAvailable));
    assert_eq!(pair.a.bind(a, addr("10.0.0.1:5")), Ok(()));
    assert_eq!(pair.a.bind(a, addr("127.0.0.1:0")), Ok(()), "again");
    assert_eq!(pair.a.bind(a, addr("0.0.0.0:0")), Ok(()));
    assert_eq!(send(&mut pair.a, now, a, b"x"), Err(Error::DestinationRequired));
    assert_eq!(pair.a.connect(now, a, addr("10.0.0.2:0")), Ok(()));
    assert_eq!(pair.a.local_addr(a), Ok(addr("10.0.0.1:253")));
    assert_eq!(pair.a.peer_addr(a), Err(Error::NotConnected), "no port, no name");
    assert_eq!(pair.a.connect(now, a, addr("10.0.0.2:7")), Ok(()));
    assert_eq!(pair.a.peer_addr(a), Ok(addr("10.0.0.2:7")));
    assert_eq!(pair.a.disconnect(now, a), Ok(()));
    assert_eq!(pair.a.local_addr(a), Ok(addr("0.0.0.0:0")));
    assert_eq!(pair.a.listen(now, a, 1), Err(Error::NotSupported));
    let none = pair.a.socket(Domain::Inet, SocketType::Raw(Protocol(0)), Owner::default());
    assert_eq!(none, Err(Error::ProtocolNotSupported));
}

#[test]
fn a_bound_or_connected_socket_hears_its_own_only() {
    let mut pair = Pair::new();
    let now = pair.now;
    let [other, own] = [(); 2].map(|()| raw(&mut pair.b, Domain::Inet, TEST));
    pair.b.connect(now, other, addr("10.0.0.9:0")).unwrap();
    pair.b.bind(own, addr("10.0.0.2:0")).unwrap();
    let six = raw(&mut pair.b, Domain::Inet6, TEST);
    let a = raw(&mut pair.a, Domain::Inet, TEST);
    send_to(&mut pair.a, now, a, "10.0.0.2:0", b"x").unwrap();
    pair.cable();
    assert_eq!(receive(&mut pair.b, now, other), Err(Error::WouldBlock));
    assert_eq!(receive(&mut pair.b, now, six), Err(Error::WouldBlock));
    assert!(receive(&mut pair.b, now, own).is_ok());
    // Closed, it hears nothing, and nobody does.
    pair.b.close(now, own).unwrap();
    send_to(&mut pair.a, now, a, "10.0.0.2:0", b"x").unwrap();
    pair.cable();
    pair.b.check_invariants();
}

#[test]
fn long_packets_are_cut_and_arrive_whole_and_time_to_live_is_the_messages() {
    let mut pair = Pair::new();
    let (now, a) = (pair.now, raw(&mut pair.a, Domain::Inet, TEST));
    let b = raw(&mut pair.b, Domain::Inet, TEST);
    let message =
        Message { to: Some(addr("10.0.0.2:0")), ttl: Some(3), tos: Some(0x10), ..Message::default() };
    let data = Chunk::from((0..4000_u32).map(|i| i as u8).collect::<Vec<u8>>());
    assert_eq!(pair.a.send_msg(now, a, Payload::from(data.clone()), &message), Ok(4000));
    pair.cable();
    let got = pair.b.recv_from(now, b, RecvFlags::default()).unwrap();
    assert_eq!((got.ttl, got.tos, got.payload.len()), (3, 0x10, 4020));
    assert_eq!(got.payload.to_vec()[20..], data[..]);
    // A host hears itself, too.
    assert_eq!(send_to(&mut pair.a, now, a, "10.0.0.1:0", b"self"), Ok(4));
    assert_eq!(receive(&mut pair.a, now, a).unwrap().0[20..], *b"self");
}

#[test]
fn a_disconnect_takes_its_address_and_its_hearing() {
    let mut stack = Stack::new(Config::default(), [5; 32]);
    let protocol = SocketType::Raw(Protocol(253));
    let id = stack.socket(Domain::Inet6, protocol, Owner::default()).unwrap();
    let now = Instant::ZERO;
    stack.bind(id, addr("[::1]:0")).unwrap();
    stack.disconnect(now, id).unwrap();
    assert_eq!(stack.local_addr(id), Ok(addr("[::]:0")));
    let only = stack.set_option(now, id, SocketOption::V6Only(true));
    assert_eq!(only, Err(Error::InvalidArgument));
    let payload = Payload::from(Chunk::copy_from(b"anybody?"));
    assert_eq!(stack.send_to(now, id, payload, Some(addr("[::1]:0")), SendFlags::default()), Ok(8));
    assert!(!stack.readiness(id).contains(crate::Readiness::READABLE));
}

#[test]
fn only_with_a_header_of_its_own_a_send_is_refused_when_the_socket_is_shut_down() {
    let mut stack = Stack::new(Config::default(), [5; 32]);
    let now = Instant::ZERO;
    let payload = || Payload::from(Chunk::copy_from(&[0x45; 40]));
    for (protocol, told) in [(Protocol(253), Ok(40)), (Protocol::RAW, Err(Error::BrokenPipe))] {
        let id = stack.socket(Domain::Inet, SocketType::Raw(protocol), Owner::default()).unwrap();
        assert_eq!(stack.get_option(id, OptionName::ReuseAddr), Ok(SocketOption::ReuseAddr(true)));
        assert_eq!(stack.shutdown(now, id, crate::Shutdown::Write), Err(Error::NotConnected));
        let nobody = stack.send_to(now, id, payload(), None, SendFlags::default());
        assert_eq!(nobody, Err(Error::DestinationRequired));
        let sent = stack.send_to(now, id, payload(), Some(addr("127.0.0.1:0")), SendFlags::default());
        assert_eq!(sent, told);
    }
}
