//! Nothing that comes from a link may panic, hang or stay in memory.

mod classes;
mod peers;

use super::*;
use alloc::vec;
use proptest::prelude::*;
use sockeye_packet::{Checksum, Meta};

/// A host with one of everything.
fn busy() -> (Pair, Vec<SocketId>) {
    let config = Config { memory: 1 << 20, ..Config::default() };
    let mut pair = Pair::with(&config, &NicConfig::memory("eth0", 1500));
    pair.b.intercept(Some(crate::Intercept::default()));
    let (client, listener, server) = pair.connected("10.0.0.2:80");
    let datagrams = datagram(&mut pair.b, "[::]:53");
    let mut sockets = vec![listener, server, datagrams];
    for at in ["10.0.0.2:7", "[fd77::2]:7"] {
        let ping = pair.b.socket(domain(addr(at)), SocketType::Ping, Owner::default()).unwrap();
        pair.b.bind(ping, addr(at)).unwrap();
        sockets.push(ping);
    }
    let _ = client;
    (pair, sockets)
}

/// Real packets of every kind, to be changed.
fn samples(pair: &mut Pair) -> Vec<Vec<u8>> {
    let mut batch = Batch::new();
    let mut samples = Vec::new();
    let one = stream(&mut pair.a, addr("10.0.0.2:80"));
    let _ = pair.a.connect(pair.now, one, addr("10.0.0.2:80"));
    for to in ["10.0.0.2:53", "[fd77::2]:53", "10.0.0.2:9"] {
        let id = pair.a.socket(domain(addr(to)), SocketType::Datagram, Owner::default()).unwrap();
        let data = sockeye_packet::Payload::from(Chunk::copy_from(&[7; 3000]));
        pair.a.send_to(pair.now, id, data, Some(addr(to)), SendFlags::default()).unwrap();
    }
    for (to, kind) in [("10.0.0.2:7", 8), ("[fd77::2]:7", 128)] {
        let id = pair.a.socket(domain(addr(to)), SocketType::Ping, Owner::default()).unwrap();
        pair.a.bind(id, SockAddr { port: 7, ..pair.a.local_addr(id).unwrap() }).unwrap();
        let data = sockeye_packet::Payload::from(Chunk::from([&[kind], &[0; 2000][..]].concat()));
        pair.a.send_to(pair.now, id, data, Some(addr(to)), SendFlags::default()).unwrap();
    }
    pair.a.poll_transmit(pair.now, LINK, &mut batch);
    for packet in batch.drain() {
        samples.push(packet.to_vec());
        // What is an echo request becomes a reply, too.
        let mut reply = packet;
        let at = if reply.head[0] >> 4 == 4 { 20 } else { 40 };
        if let Some(kind) = reply.head.get_mut(at).filter(|kind| matches!(**kind, 8 | 128)) {
            *kind = if *kind == 8 { 0 } else { 129 };
            samples.push(reply.to_vec());
        }
    }
    samples
}

fn meta() -> Meta {
    Meta { checksum: Checksum::Unfilled, ..Meta::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_bytes_are_survived(packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 0..20)) {
        let (mut pair, _) = busy();
        let mut batch = Batch::new();
        for (number, mut bytes) in packets.into_iter().enumerate() {
            if let Some(first) = bytes.first_mut() {
                *first = if number % 2 == 0 { 0x45 } else { 0x60 };
            }
            batch.push(Packet::from_bytes(&Chunk::from(bytes), meta()));
        }
        pair.b.handle_packets(pair.now, LINK, &mut batch);
        pair.cable();
    }

    #[test]
    fn changed_packets_are_survived_and_forgotten(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..60),
    ) {
        let (mut pair, sockets) = busy();
        let samples = samples(&mut pair);
        let mut batch = Batch::new();
        for (which, at, value) in changes {
            let mut bytes = which.get(&samples).clone();
            let reach = bytes.len().min(80);
            bytes[at.index(reach)] = value;
            batch.push(Packet::from_bytes(&Chunk::from(bytes), meta()));
            pair.b.handle_packets(pair.now, LINK, &mut batch);
            prop_assert!(pair.b.memory_used() <= 1 << 20);
        }
        pair.cable();
        for id in sockets {
            pair.b.close(pair.now, id).unwrap();
        }
        pair.loses = |_, _| true;
        pair.pass(Duration::from_secs(1000));
        prop_assert_eq!(pair.b.memory_used(), 0);
        prop_assert_eq!((pair.b.connections.len(), pair.b.io.half_open.len(), pair.b.io.time_wait.len()), (0, 0, 0));
        prop_assert_eq!(pair.b.poll_timeout(), None);
    }
}
