//! Datagrams without checksums: who may send them, who gets them (RFC 768, RFC 6935, RFC 6936).

use super::*;
use crate::{Protocol, SocketOption};
use sockeye_packet::{Checksum, Payload};

const ENDS: [(&str, &str); 2] = [("10.0.0.1:1000", "10.0.0.2:2000"), ("[fd77::1]:1000", "[fd77::2]:2000")];

fn pair() -> Pair {
    Pair::with(&Config::default(), &NicConfig { checksums: true, ..NicConfig::memory("eth0", 1500) })
}

/// What a sends, as its link gets it.
fn sent(pair: &mut Pair, id: SocketId, data: &[u8], to: &str) -> Vec<Packet> {
    let payload = Payload::from(Chunk::copy_from(data));
    pair.a.send_to(pair.now, id, payload, Some(addr(to)), SendFlags::default()).unwrap();
    let mut batch = Batch::new();
    pair.a.poll_transmit(pair.now, LINK, &mut batch);
    batch.drain().collect()
}

/// Packets as b's link reads them: nothing is known of them but their bytes.
fn arrive(pair: &mut Pair, packets: Vec<Packet>) {
    let mut batch = Batch::new();
    for mut packet in packets {
        packet.meta.checksum = Checksum::Unverified;
        batch.push(packet);
    }
    pair.b.handle_packets(pair.now, LINK, &mut batch);
}

fn checksum_of(packet: &Packet) -> u16 {
    let at = packet.head.len() - 2;
    u16::from_be_bytes([packet.head[at], packet.head[at + 1]])
}

#[test]
fn each_version_has_its_option() {
    for (v4, (local, remote)) in [true, false].into_iter().zip(ENDS) {
        for (option, of_v4) in [(SocketOption::NoCheck(true), true), (SocketOption::NoCheck6Tx(true), false)]
        {
            let mut pair = pair();
            let id = datagram(&mut pair.a, local);
            let [packet] = &sent(&mut pair, id, b"x", remote)[..] else { panic!() };
            assert_ne!(checksum_of(packet), 0);
            pair.a.set_option(pair.now, id, option).unwrap();
            let packets = sent(&mut pair, id, b"x", remote);
            assert_eq!(checksum_of(&packets[0]) == 0, v4 == of_v4, "{option:?}");
        }
    }
}

#[test]
fn over_ipv4_anybody_gets_them_over_ipv6_who_says_so() {
    for (v4, (local, remote)) in [true, false].into_iter().zip(ENDS) {
        // Whole, and in fragments.
        for len in [10, 5000] {
            let mut pair = pair();
            let (a, b) = (datagram(&mut pair.a, local), datagram(&mut pair.b, remote));
            for option in [SocketOption::NoCheck(true), SocketOption::NoCheck6Tx(true)] {
                pair.a.set_option(pair.now, a, option).unwrap();
            }
            let data = alloc::vec![7; len];
            let packets = sent(&mut pair, a, &data, remote);
            arrive(&mut pair, packets);
            let got = recv(&mut pair.b, pair.now, b);
            assert_eq!(got, if v4 { Ok(data.clone()) } else { Err(Error::WouldBlock) });
            assert_eq!(pair.b.counters()[Counter::UdpInCsumErrors], u64::from(!v4));
            pair.b.set_option(pair.now, b, SocketOption::NoCheck6Rx(true)).unwrap();
            let packets = sent(&mut pair, a, &data, remote);
            arrive(&mut pair, packets);
            assert_eq!(recv(&mut pair.b, pair.now, b), Ok(data));
            // A wrong one is wrong all the same.
            let mut packets = sent(&mut pair, a, b"x", remote);
            let at = packets[0].head.len() - 1;
            packets[0].head[at] = 1;
            arrive(&mut pair, packets);
            assert_eq!(recv(&mut pair.b, pair.now, b), Err(Error::WouldBlock));
        }
    }
}

#[test]
fn nobody_is_told_of_a_port_that_may_not_have_been_meant() {
    let mut pair = pair();
    let a = datagram(&mut pair.a, ENDS[1].0);
    pair.a.set_option(pair.now, a, SocketOption::NoCheck6Tx(true)).unwrap();
    let packets = sent(&mut pair, a, b"x", ENDS[1].1);
    arrive(&mut pair, packets);
    assert!(!pair.b.wants_transmit(LINK));
    assert_eq!(pair.b.counters()[Counter::UdpInCsumErrors], 1);
}

#[test]
fn raw_sockets_hear_what_has_a_wrong_checksum() {
    let protocols = [(Protocol::UDP, Domain::Inet), (Protocol::UDP, Domain::Inet6)];
    for ((protocol, family), (local, remote)) in protocols.into_iter().zip(ENDS) {
        let mut pair = pair();
        let (a, b) = (datagram(&mut pair.a, local), datagram(&mut pair.b, remote));
        let damaged = |pair: &mut Pair| {
            let mut packets = sent(pair, a, b"x", remote);
            let at = packets[0].head.len() - 1;
            packets[0].head[at] ^= 1;
            arrive(pair, packets);
        };
        let raw = pair.b.socket(family, SocketType::Raw(protocol), Owner::default()).unwrap();
        damaged(&mut pair);
        assert_eq!(recv(&mut pair.b, pair.now, b), Err(Error::WouldBlock));
        assert!(recv(&mut pair.b, pair.now, raw).unwrap().ends_with(b"x"));
        assert_eq!(pair.b.counters()[Counter::UdpInCsumErrors], 1);
        // RFC 3542 §3.1: who wants checksums looked at gets none that is wrong.
        if family == Domain::Inet6 {
            pair.b.set_option(pair.now, raw, SocketOption::ChecksumOffset(Some(6))).unwrap();
            damaged(&mut pair);
            assert_eq!(recv(&mut pair.b, pair.now, raw), Err(Error::WouldBlock));
            let counters = pair.b.counters();
            let counted = (counters[Counter::UdpInCsumErrors], counters[Counter::IpInCsumErrors]);
            assert_eq!(counted, (2, 0), "each packet once");
        }
        // An IPv4 header that is wrong is nobody's.
        if family == Domain::Inet {
            let mut packets = sent(&mut pair, a, b"x", remote);
            packets[0].head[11] ^= 1;
            arrive(&mut pair, packets);
            assert_eq!(recv(&mut pair.b, pair.now, raw), Err(Error::WouldBlock));
        }
    }
}
