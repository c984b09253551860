use super::*;
use sockeye_packet::Checksum;
use sockeye_wire::{IpLayout, TcpFlags, TcpHeader, verify_checksums};

/// What fits in ten segments, the last of which is short.
const DATA: usize = 9 * 1400 + 100;

fn link() -> NicConfig {
    NicConfig { checksums: true, max_segment: 0, ..NicConfig::memory("eth0", 1500) }
}

fn header(packet: &Packet) -> TcpHeader {
    let layout = IpLayout::parse(&packet.head).unwrap();
    TcpHeader::parse(&packet.head[layout.transport..]).unwrap().0
}

/// Sends `DATA` bytes to `to` and returns the packets, as a link hands them over, with their connection.
fn burst(to: &str) -> (Pair, SocketId, SocketId, Vec<u8>, Vec<Packet>) {
    let mut pair = Pair::with(&Config::default(), &link());
    let (client, _, server) = pair.connected(to);
    let data: Vec<u8> = (0..DATA).map(|i| (i * 7 % 251) as u8).collect();
    assert_eq!(send(&mut pair.a, pair.now, client, &data), Ok(DATA));
    let mut batch = Batch::new();
    pair.a.poll_transmit(pair.now, LINK, &mut batch);
    let packets = batch.drain().map(|mut packet| {
        packet.meta.checksum = Checksum::Unverified;
        packet
    });
    let packets = packets.collect();
    (pair, client, server, data, packets)
}

fn deliver(pair: &mut Pair, packets: Vec<Packet>) -> Vec<Packet> {
    let mut batch = Batch::new();
    for packet in packets {
        batch.push(packet);
    }
    pair.b.handle_packets(pair.now, LINK, &mut batch);
    pair.b.poll_transmit(pair.now, LINK, &mut batch);
    batch.drain().collect()
}

#[test]
fn a_train_leaves_as_plain_segments_with_right_checksums() {
    for to in ["10.0.0.2:80", "[fd77::2]:80"] {
        let (mut pair, _, server, data, packets) = burst(to);
        assert!(packets.len() >= 9);
        let mut seq = header(&packets[0]).seq;
        for (i, packet) in packets.iter().enumerate() {
            assert_eq!(verify_checksums(&packet.head, packet.payload.chunks().map(AsRef::as_ref)), Ok(()));
            assert!(packet.len() <= 1500 && packet.meta.gso_size == 0);
            let header = header(packet);
            assert_eq!(header.seq, seq);
            // PSH ends each super-segment, of which half of the window is the most.
            let ends = i + 1 == packets.len() || i + 1 == packets.len().div_ceil(2);
            assert_eq!(header.flags.contains(TcpFlags::PSH), ends, "{i}");
            seq += packet.payload.len() as u32;
        }
        let count = packets.len() as u64;
        let before = pair.b.counters()[Counter::IpInReceives];
        assert_eq!(deliver(&mut pair, packets).len(), 1);
        assert_eq!(pair.b.counters()[Counter::IpInReceives], before + count);
        assert_eq!(recv(&mut pair.b, pair.now, server), Ok(data));
    }
}

#[test]
fn a_damaged_segment_stays_behind_and_those_after_it_are_acknowledged_each() {
    let (mut pair, _, server, data, mut packets) = burst("10.0.0.2:80");
    let mut bytes = packets[3].payload.to_vec();
    bytes[5] ^= 1;
    packets[3].payload = Chunk::from(bytes).into();
    let start = header(&packets[0]).seq;
    let good: usize = packets[..3].iter().map(|packet| packet.payload.len()).sum();
    let after = packets.len() - 4;
    let answers = deliver(&mut pair, packets);
    assert_eq!(pair.b.counters()[Counter::TcpInCsumErrors], 1);
    let duplicates = answers.iter().filter(|packet| header(packet).ack == start + good as u32);
    assert_eq!(duplicates.count(), after);
    assert_eq!(recv(&mut pair.b, pair.now, server).unwrap(), data[..good]);
}

#[test]
fn only_whole_segments_with_equal_headers_are_coupled() {
    let (mut pair, _, server, data, mut packets) = burst("10.0.0.2:80");
    // A header that says something else, a length that lies, a segment that is no continuation.
    packets[1].head[1] ^= 0x10;
    packets[4].head[3] ^= 1;
    packets.swap(6, 7);
    for packet in &mut packets {
        packet.meta.checksum = Checksum::Verified;
    }
    let good: usize = packets[..4].iter().map(|packet| packet.payload.len()).sum();
    deliver(&mut pair, packets);
    assert_eq!(recv(&mut pair.b, pair.now, server).unwrap(), data[..good]);
}

/// Whatever bit of a head is wrong on the way, the segment doesn't get through with those before it.
#[test]
fn a_train_ends_before_a_damaged_head() {
    let mut seed = 0;
    loop {
        let (mut pair, _, server, data, mut packets) = burst("10.0.0.2:80");
        let good: usize = packets[..2].iter().map(|packet| packet.payload.len()).sum();
        packets.truncate(4);
        let head = &mut packets[2].head;
        if seed == 8 * head.len() {
            break;
        }
        head[seed / 8] ^= 1 << (seed % 8);
        deliver(&mut pair, packets);
        assert_eq!(recv(&mut pair.b, pair.now, server).unwrap(), data[..good], "bit {seed}");
        seed += 1;
    }
}
