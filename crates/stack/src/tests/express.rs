//! The short way in takes what it is for, and does what the long way does.

use super::*;
use alloc::string::String;
use sockeye_packet::Checksum;

/// A message on its way to host b, after another on the same connection; what is done to its packet.
fn message(change: impl Fn(&mut Packet)) -> (Pair, SocketId, Batch) {
    let link = NicConfig { checksums: true, ..NicConfig::memory("eth0", 1500) };
    let mut pair = Pair::with(&Config::default(), &link);
    let (client, _, server) = pair.connected("10.0.0.2:80");
    for text in [b"first", b"again"] {
        send(&mut pair.a, pair.now, client, text).unwrap();
        pair.cable();
        assert_eq!(recv(&mut pair.b, pair.now, server).unwrap(), text);
        pair.cable();
    }
    send(&mut pair.a, pair.now, client, b"message").unwrap();
    let mut batch = Batch::new();
    pair.a.poll_transmit(pair.now, LINK, &mut batch);
    assert_eq!(batch.len(), 1);
    for packet in batch.iter_mut() {
        packet.meta.checksum = Checksum::Unverified;
        change(packet);
    }
    (pair, server, batch)
}

/// Everything that can be seen after it was taken in.
fn outcome(mut pair: Pair, server: SocketId, mut batch: Batch) -> String {
    pair.b.handle_packets(pair.now, LINK, &mut batch);
    let heard = recv(&mut pair.b, pair.now, server);
    pair.b.poll_transmit(pair.now, LINK, &mut batch);
    let answers: Vec<_> = batch.drain().map(|packet| packet.to_vec()).collect();
    let info = pair.b.tcp_info(pair.now, server);
    std::format!("{heard:?} {answers:?} {:?} {info:?}", pair.b.counters())
}

#[test]
fn what_is_odd_goes_the_long_way_and_the_rest_ends_up_the_same() {
    type Change = (&'static str, bool, fn(&mut Packet));
    let changes: &[Change] = &[
        ("nothing", true, |_| {}),
        ("known to be right", true, |packet| packet.meta.checksum = Checksum::Verified),
        ("a damaged byte", false, |packet| packet.head[40] ^= 1),
        ("an odd flag, which TCP looks at", true, |packet| {
            packet.head[33] |= 0x04;
            packet.meta.checksum = Checksum::Verified;
        }),
        ("a header that ends early", false, |packet| {
            packet.head[32] = 0x40;
            packet.meta.checksum = Checksum::Verified;
        }),
        ("a first fragment", false, |packet| packet.head[6] |= 0x20),
        ("a later fragment", false, |packet| packet.head[7] = 1),
        ("bytes behind the packet", false, |packet| {
            packet.payload.push(Chunk::copy_from(b"behind"));
        }),
        ("a packet cut short", false, |packet| packet.payload.trim(0, 3)),
        ("another source", false, |packet| packet.head[15] = 9),
        ("another destination", false, |packet| packet.head[19] = 9),
        ("another source port", false, |packet| packet.head[21] ^= 1),
        ("another destination port", false, |packet| packet.head[23] ^= 1),
        ("another protocol", false, |packet| packet.head[9] = 17),
        ("no version", false, |packet| packet.head[0] = 0x55),
    ];
    for (what, short, change) in changes {
        let (mut pair, _, mut batch) = message(change);
        assert_eq!(pair.b.express(pair.now, LINK, &mut batch), *short, "{what}");
        let (pair, server, batch) = message(change);
        let (mut other, other_server, other_batch) = message(change);
        // A new address: nothing is known of the latest packet any more.
        other.b.add_address(LINK, [10, 9, 9, 9].into(), 24).unwrap();
        let long = outcome(other, other_server, other_batch);
        assert_eq!(outcome(pair, server, batch), long, "{what}");
    }
}

/// RFC 5082: who isn't as near as they must be is not heard, on either way.
#[test]
fn who_is_too_far_goes_the_long_way() {
    let (mut pair, server, mut batch) = message(|packet| packet.meta.checksum = Checksum::Verified);
    pair.b.set_option(pair.now, server, crate::SocketOption::MinTtl(255)).unwrap();
    assert!(!pair.b.express(pair.now, LINK, &mut batch));
    pair.b.handle_packets(pair.now, LINK, &mut batch);
    assert_eq!(recv(&mut pair.b, pair.now, server), Err(Error::WouldBlock));
}
