//! UDP-Lite (RFC 3828): UDP, but for how much of a datagram its checksum covers.

use super::*;
use crate::{OptionName, SocketOption};
use sockeye_packet::{Checksum, Head, Payload};

fn lite(stack: &mut Stack, local: &str) -> SocketId {
    let id = stack.socket(domain(addr(local)), SocketType::DatagramLite, Owner::default()).unwrap();
    stack.bind(id, addr(local)).unwrap();
    id
}

fn send_to(pair: &mut Pair, id: SocketId, data: &[u8], to: &str) {
    let payload = Payload::from(Chunk::copy_from(data));
    pair.a.send_to(pair.now, id, payload, Some(addr(to)), SendFlags::default()).unwrap();
}

/// The only packet that waits for the link.
fn transmitted(stack: &mut Stack, now: Instant) -> Packet {
    let mut batch = Batch::new();
    stack.poll_transmit(now, LINK, &mut batch);
    assert_eq!(batch.len(), 1);
    batch.pop().unwrap()
}

fn arrive(stack: &mut Stack, now: Instant, packet: Packet) {
    let mut batch = Batch::new();
    batch.push(packet);
    stack.handle_packets(now, LINK, &mut batch);
}

fn link() -> NicConfig {
    NicConfig { checksums: true, ..NicConfig::memory("eth0", 1500) }
}

#[test]
fn datagrams_cross_in_both_families_and_apart_from_udp() {
    for (local, remote) in [("10.0.0.1:1000", "10.0.0.2:2000"), ("[fd77::1]:1000", "[fd77::2]:2000")] {
        for checksums in [false, true] {
            let mut pair = Pair::with(&Config::default(), &NicConfig { checksums, ..link() });
            let (a, b) = (lite(&mut pair.a, local), lite(&mut pair.b, remote));
            let udp = datagram(&mut pair.b, remote);
            // The second is longer than the link's packets.
            for data in [b"hello".to_vec(), [7; 4000].to_vec(), Vec::new()] {
                send_to(&mut pair, a, &data, remote);
                pair.cable();
                assert_eq!(recv(&mut pair.b, pair.now, b).unwrap(), data);
            }
            assert_eq!(recv(&mut pair.b, pair.now, udp), Err(Error::WouldBlock));
            assert_eq!((pair.a.memory_used(), pair.b.memory_used()), (0, 0));
        }
    }
}

#[test]
fn nobody_at_the_port_refuses_a_connected_socket() {
    let mut pair = Pair::new();
    let a = lite(&mut pair.a, "10.0.0.1:1000");
    datagram(&mut pair.b, "10.0.0.2:9");
    pair.a.connect(pair.now, a, addr("10.0.0.2:9")).unwrap();
    send_to(&mut pair, a, b"?", "10.0.0.2:9");
    pair.cable();
    assert_eq!(recv(&mut pair.a, pair.now, a), Err(Error::ConnectionRefused));
}

/// The packet of a datagram of `data`, sent with so much of it covered; `damage` is what a link does to it.
fn through(
    send_coverage: u16,
    recv_coverage: Option<u16>,
    damage: fn(&mut Head, &mut Vec<u8>),
) -> Option<Vec<u8>> {
    let mut pair = Pair::with(&Config::default(), &link());
    let (a, b) = (lite(&mut pair.a, "10.0.0.1:1000"), lite(&mut pair.b, "10.0.0.2:2000"));
    pair.a.set_option(pair.now, a, SocketOption::SendCoverage(send_coverage)).unwrap();
    if let Some(least) = recv_coverage {
        pair.b.set_option(pair.now, b, SocketOption::RecvCoverage(least)).unwrap();
    }
    send_to(&mut pair, a, b"0123456789abcdef", "10.0.0.2:2000");
    let mut packet = transmitted(&mut pair.a, pair.now);
    let mut data = packet.payload.to_vec();
    damage(&mut packet.head, &mut data);
    packet.payload = Payload::from(Chunk::copy_from(&data));
    packet.meta.checksum = Checksum::Unverified;
    arrive(&mut pair.b, pair.now, packet);
    recv(&mut pair.b, pair.now, b).ok()
}

#[test]
fn only_what_is_covered_has_to_arrive_unharmed() {
    let intact = |_: &mut Head, _: &mut Vec<u8>| {};
    let last = |_: &mut Head, data: &mut Vec<u8>| data[15] ^= 1;
    let first = |_: &mut Head, data: &mut Vec<u8>| data[0] ^= 1;
    let port = |head: &mut Head, _: &mut Vec<u8>| head[20] ^= 1;
    let without = |head: &mut Head, _: &mut Vec<u8>| head[26..28].fill(0);
    assert!(through(0, None, intact).is_some());
    assert!(through(0, None, last).is_none(), "all of it is covered");
    assert_eq!(through(12, None, last).unwrap(), b"0123456789abcdeg");
    assert!(through(12, None, first).is_none());
    assert!(through(8, None, first).is_some(), "the header alone");
    assert!(through(1, None, port).is_none(), "never less than the header");
    assert!(through(100, None, last).is_none(), "more than there is means all");
    assert!(through(0, None, without).is_none(), "RFC 3828 §3.1: a checksum is a must");
}

#[test]
fn a_receiver_says_how_much_must_be_covered() {
    let intact = |_: &mut Head, _: &mut Vec<u8>| {};
    assert!(through(12, Some(12), intact).is_some());
    assert!(through(12, Some(13), intact).is_none());
    assert!(through(12, Some(0), intact).is_none(), "0 stands for all");
    assert!(through(0, Some(1000), intact).is_some(), "all is always enough");
}

#[test]
fn headers_may_not_cover_less_than_themselves_or_more_than_there_is() {
    for stated in [1, 7, 25, u16::MAX] {
        let mut pair = Pair::with(&Config::default(), &link());
        let (a, b) = (lite(&mut pair.a, "10.0.0.1:1000"), lite(&mut pair.b, "10.0.0.2:2000"));
        send_to(&mut pair, a, b"0123456789abcdef", "10.0.0.2:2000");
        let mut packet = transmitted(&mut pair.a, pair.now);
        packet.head[24..26].copy_from_slice(&stated.to_be_bytes());
        // Whoever wrote this vouches for the checksum: what is stated counts alone.
        packet.meta.checksum = Checksum::Verified;
        arrive(&mut pair.b, pair.now, packet);
        assert_eq!(recv(&mut pair.b, pair.now, b), Err(Error::WouldBlock), "{stated}");
        assert_eq!(pair.b.counters()[Counter::UdpInErrors], 1);
    }
}

#[test]
fn coverage_is_an_option_of_udp_lite_alone() {
    let mut pair = Pair::new();
    let udp = datagram(&mut pair.a, "10.0.0.1:1000");
    let a = lite(&mut pair.a, "10.0.0.1:1000");
    let error = Err(Error::ProtocolOption);
    assert_eq!(pair.a.set_option(pair.now, udp, SocketOption::SendCoverage(8)), error);
    assert_eq!(pair.a.get_option(udp, OptionName::SendCoverage), Err(Error::ProtocolOption));
    for (set, get) in [(0, 0), (1, 8), (8, 8), (u16::MAX, u16::MAX)] {
        pair.a.set_option(pair.now, a, SocketOption::SendCoverage(set)).unwrap();
        pair.a.set_option(pair.now, a, SocketOption::RecvCoverage(set)).unwrap();
        assert_eq!(pair.a.get_option(a, OptionName::SendCoverage), Ok(SocketOption::SendCoverage(get)));
        assert_eq!(pair.a.get_option(a, OptionName::RecvCoverage), Ok(SocketOption::RecvCoverage(get)));
    }
}
