//! Packet sockets and filters: what packet(7) and socket(7) say, between two hosts.

use super::*;
use crate::bpf::{Filter, Instruction};
use crate::{Datagram, Direction, Hardware, Protocol};
use sockeye_packet::Payload;

/// A packet socket.
fn packets(stack: &mut Stack, cooked: bool, ethertype: u16) -> SocketId {
    stack.socket(Domain::Packet, SocketType::Packet { cooked, ethertype }, Owner::default()).unwrap()
}

fn frame(stack: &mut Stack, now: Instant, id: SocketId) -> Option<Datagram> {
    stack.recv_from(now, id, RecvFlags::default()).ok()
}

fn say(stack: &mut Stack, now: Instant, id: SocketId, to: &str, data: &[u8]) {
    let payload = Payload::from(Chunk::copy_from(data));
    stack.send_to(now, id, payload, Some(addr(to)), SendFlags::default()).unwrap();
}

/// A filter that keeps so many bytes of what starts with `first`.
fn filter(first: u8, keep: u32) -> Filter {
    let load = Instruction::new(0x30, 0);
    let compare = Instruction::jump(0x15, first.into(), 0, 1);
    Filter::new(&[load, compare, Instruction::new(0x06, keep), Instruction::new(0x06, 0)]).unwrap()
}

#[test]
fn frames_are_seen_in_both_directions_with_a_header_and_facts_of_the_link() {
    let mut pair = Pair::new();
    let now = pair.now;
    let (a, b) = (packets(&mut pair.a, false, SocketType::ALL), packets(&mut pair.b, false, 0x800));
    let from = datagram(&mut pair.a, "10.0.0.1:1000");
    datagram(&mut pair.b, "10.0.0.2:2000");
    say(&mut pair.a, now, from, "10.0.0.2:2000", b"hello");
    pair.cable();
    let link = [0x02, 0x42, 10, 0, 0, 2, 0x02, 0x42, 10, 0, 0, 1, 8, 0];
    let sent = frame(&mut pair.a, now, a).unwrap();
    let bytes = sent.payload.to_vec();
    assert_eq!((&bytes[..14], bytes[14], &bytes[42..]), (&link[..], 0x45, &b"hello"[..]));
    let info = sent.link.unwrap();
    assert_eq!(
        (info.direction, info.hardware, info.ethertype),
        (Direction::Outgoing, Hardware::Ethernet, 0x800)
    );
    assert_eq!((info.len, info.network, info.source, sent.nic), (47, 14, [2, 0x42, 10, 0, 0, 1], LINK));
    let got = frame(&mut pair.b, now, b).unwrap();
    assert_eq!((got.payload.to_vec(), got.link.unwrap().direction), (bytes, Direction::Host));
    assert_eq!((frame(&mut pair.a, now, a), frame(&mut pair.b, now, b)), (None, None));
    // Whoever asked for one protocol doesn't see what the host itself sends.
    let back = datagram(&mut pair.b, "10.0.0.2:3000");
    say(&mut pair.b, now, back, "10.0.0.1:1000", b"back");
    pair.cable();
    assert_eq!(frame(&mut pair.b, now, b), None);
    assert_eq!(frame(&mut pair.a, now, a).unwrap().link.unwrap().direction, Direction::Host);
}

#[test]
fn the_loopback_shows_each_packet_on_its_way_out_and_in() {
    let mut stack = lonely();
    let now = Instant::from_millis(1);
    let (seen, cooked) =
        (packets(&mut stack, false, SocketType::ALL), packets(&mut stack, true, SocketType::ALL));
    let id = datagram(&mut stack, "127.0.0.1:5000");
    say(&mut stack, now, id, "127.0.0.1:5000", b"x");
    let directions = [(); 2].map(|()| frame(&mut stack, now, seen).unwrap());
    let [out, into] = directions.map(|got| (got.payload.to_vec(), got.link.unwrap()));
    assert_eq!((out.1.direction, into.1.direction), (Direction::Outgoing, Direction::Host));
    assert_eq!(
        (out.1.hardware.number(), out.0[..14].to_vec()),
        (772, [[0; 12].as_slice(), &[8, 0]].concat())
    );
    assert_eq!(out.0, into.0);
    assert_eq!(frame(&mut stack, now, cooked).unwrap().payload.to_vec(), out.0[14..]);
    // The checksums are there, although the loopback does without.
    assert!(sockeye_wire::verify_checksums(&out.0[14..], core::iter::empty()).is_ok());
}

#[test]
fn what_a_packet_socket_sends_is_seen_by_all_others_in_its_place() {
    let mut pair = Pair::new();
    let now = pair.now;
    let [sender, other] = [(); 2].map(|()| packets(&mut pair.a, true, SocketType::ALL));
    let from = datagram(&mut pair.a, "10.0.0.1:1000");
    datagram(&mut pair.b, "10.0.0.2:9");
    say(&mut pair.a, now, from, "10.0.0.2:9", b"first");
    pair.cable();
    let copy = frame(&mut pair.a, now, sender).unwrap().payload;
    frame(&mut pair.a, now, other).unwrap();
    say(&mut pair.a, now, from, "10.0.0.2:9", b"second");
    pair.a.send_packet(now, sender, Some(LINK), copy.clone()).unwrap();
    say(&mut pair.a, now, from, "10.0.0.2:9", b"third!");
    let mut sizes = |id| -> Vec<usize> {
        core::iter::from_fn(|| frame(&mut pair.a, now, id)).map(|seen| seen.payload.len()).collect()
    };
    assert_eq!((sizes(sender), sizes(other)), (Vec::new(), Vec::new()), "nothing has left yet");
    let mut batch = Batch::new();
    pair.a.poll_transmit(now, LINK, &mut batch);
    let mut sizes = |id| -> Vec<usize> {
        core::iter::from_fn(|| frame(&mut pair.a, now, id)).map(|seen| seen.payload.len()).collect()
    };
    let left: Vec<usize> = batch.iter().map(sockeye_packet::Packet::len).collect();
    assert_eq!(sizes(other), left);
    let mut rest = left;
    rest.retain(|&len| len != copy.len());
    assert_eq!((rest.len(), sizes(sender)), (2, rest));
}

#[test]
fn a_socket_is_bound_to_an_interface_and_a_protocol() {
    let mut pair = Pair::new();
    let now = pair.now;
    let id = packets(&mut pair.a, true, 0);
    let six = datagram(&mut pair.a, "[fd77::1]:1");
    say(&mut pair.a, now, six, "[::1]:9", b"");
    assert_eq!(frame(&mut pair.a, now, id), None, "no protocol yet");
    assert_eq!(pair.a.bind_packet(id, Some(NicId(9)), None), Err(Error::NoDevice));
    pair.a.bind_packet(id, Some(LINK), Some(SocketType::ALL)).unwrap();
    assert_eq!(pair.a.packet_name(id), Ok((Some(LINK), SocketType::ALL)));
    say(&mut pair.a, now, six, "[fd77::1]:9", b"");
    assert_eq!(frame(&mut pair.a, now, id), None, "on the loopback");
    say(&mut pair.a, now, six, "[fd77::2]:9", b"");
    pair.cable();
    let seen = frame(&mut pair.a, now, id).unwrap();
    assert_eq!((seen.link.unwrap().ethertype, seen.payload.to_vec()[0] >> 4), (0x86dd, 6));
    pair.a.close(now, id).unwrap();
    pair.a.check_invariants();
}

#[test]
fn filters_drop_and_cut_and_statistics_count() {
    let mut pair = Pair::new();
    let now = pair.now;
    let id = packets(&mut pair.b, true, SocketType::ALL);
    pair.b.attach_filter(id, filter(0x45, 24)).unwrap();
    let (four, six) = (datagram(&mut pair.a, "10.0.0.1:1"), datagram(&mut pair.a, "[fd77::1]:1"));
    datagram(&mut pair.b, "10.0.0.2:9");
    say(&mut pair.a, now, four, "10.0.0.2:9", b"some data");
    say(&mut pair.a, now, six, "[fd77::2]:9", b"some data");
    pair.cable();
    let seen = frame(&mut pair.b, now, id).unwrap();
    assert_eq!((seen.payload.len(), seen.link.unwrap().len), (24, 37));
    assert_eq!(frame(&mut pair.b, now, id), None);
    assert_eq!(pair.b.take_packet_statistics(id), Ok((1, 0)));
    pair.b.set_option(now, id, crate::SocketOption::RecvBuffer(0)).unwrap();
    for _ in 0..20 {
        say(&mut pair.a, now, four, "10.0.0.2:9", &[1; 400]);
    }
    pair.cable();
    let (passed, dropped) = pair.b.take_packet_statistics(id).unwrap();
    assert!(passed == 20 && (1..20).contains(&dropped), "{dropped} of {passed}");
    assert_eq!(pair.b.detach_filter(id), Ok(true));
    assert_eq!(pair.b.detach_filter(id), Ok(false));
    pair.b.lock_filter(id).unwrap();
    assert_eq!(pair.b.attach_filter(id, filter(0, 0)), Err(Error::NotPermitted));
    assert_eq!(pair.b.detach_filter(id), Err(Error::NotPermitted));
}

#[test]
fn filters_of_datagrams_see_the_transports_header_and_those_of_raw_sockets_the_networks() {
    let mut pair = Pair::new();
    let now = pair.now;
    let udp = datagram(&mut pair.b, "10.0.0.2:9");
    let raw = pair.b.socket(Domain::Inet, SocketType::Raw(Protocol::UDP), Owner::default()).unwrap();
    let [high, low] =
        [0x1234_u16, 0x0034].map(|port| datagram(&mut pair.a, &alloc::format!("10.0.0.1:{port}")));
    pair.b.attach_filter(udp, filter(0x12, 10)).unwrap();
    pair.b.attach_filter(raw, filter(0x45, 20)).unwrap();
    say(&mut pair.a, now, low, "10.0.0.2:9", b"dropped");
    say(&mut pair.a, now, high, "10.0.0.2:9", b"cut");
    pair.cable();
    assert_eq!(recv(&mut pair.b, now, udp).unwrap(), b"cu");
    assert_eq!(recv(&mut pair.b, now, udp), Err(Error::WouldBlock));
    assert_eq!([(); 2].map(|()| recv(&mut pair.b, now, raw).unwrap().len()), [20, 20]);
}

#[test]
fn frames_are_sent_as_they_are() {
    let mut pair = Pair::new();
    let now = pair.now;
    let (raw, cooked) = (packets(&mut pair.a, false, 0), packets(&mut pair.a, true, 0));
    let seen = packets(&mut pair.b, true, SocketType::ALL);
    let send = |stack: &mut Stack, id, nic, data: &[u8]| {
        stack.send_packet(now, id, nic, Payload::from(Chunk::copy_from(data)))
    };
    let mut packet = [0_u8; 34];
    packet[14] = 0x45;
    packet[17] = 20;
    packet[22] = 9;
    packet[23] = 253;
    packet[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    let sum = sockeye_wire::Checksum::new().with(&packet[14..]).finish();
    packet[24..26].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(send(&mut pair.a, raw, None, &packet), Err(Error::NoDevice));
    assert_eq!(send(&mut pair.a, raw, Some(LINK), &packet[..13]), Err(Error::InvalidArgument));
    assert_eq!(send(&mut pair.a, cooked, Some(LINK), &[0x45; 1501]), Err(Error::MessageSize));
    assert_eq!(send(&mut pair.a, raw, Some(LINK), &packet), Ok(34));
    pair.a.bind_packet(cooked, Some(LINK), None).unwrap();
    assert_eq!(send(&mut pair.a, cooked, None, &packet[14..]), Ok(20));
    assert_eq!(send(&mut pair.a, cooked, None, b"no packet"), Ok(9));
    pair.cable();
    for _ in 0..2 {
        assert_eq!(frame(&mut pair.b, now, seen).unwrap().payload.to_vec(), packet[14..]);
    }
    assert_eq!(pair.a.connect(now, raw, addr("10.0.0.2:1")), Err(Error::NotSupported));
    assert_eq!(pair.a.shutdown(now, raw, crate::Shutdown::Both), Err(Error::NotSupported));
    assert_eq!(
        pair.a.socket(Domain::Inet, SocketType::Packet { cooked: true, ethertype: 3 }, Owner::default()),
        Err(Error::AddressFamily)
    );
}
