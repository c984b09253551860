//! Super-segments that are too long for the length field of their IP header.

use super::*;
use crate::Protocol;
use crate::ip::train::stated_parts;
use sockeye_packet::Meta;
use sockeye_wire::TcpHeader;

/// What crosses in all.
const DATA: usize = 8 << 20;
/// What is sent at a time.
const WRITE: usize = 100_000;

/// Sends [`DATA`] bytes from a to b, to this address; what the packets were that crossed.
fn transfer(pair: &mut Pair, to: &str) -> Vec<Packet> {
    transfer_watched(pair, to, |_| {})
}

/// The same, with something done at b after each round.
fn transfer_watched(pair: &mut Pair, to: &str, mut watch: impl FnMut(&mut Pair)) -> Vec<Packet> {
    let (client, _, server) = pair.connected(to);
    let data = data();
    let (mut rest, mut crossed, mut heard) = (&data[..], Vec::new(), Vec::new());
    let mut batch = Batch::new();
    for _ in 0..1_000 {
        let next = &rest[..rest.len().min(WRITE)];
        rest = &rest[send(&mut pair.a, pair.now, client, next).unwrap_or(0)..];
        // Soon enough for the path to be a short one.
        pair.now += Duration::from_micros(100);
        pair.a.poll_transmit(pair.now, LINK, &mut batch);
        crossed.extend(batch.iter().cloned());
        pair.b.handle_packets(pair.now, LINK, &mut batch);
        heard.extend(recv(&mut pair.b, pair.now, server).unwrap_or_default());
        pair.b.poll_transmit(pair.now, LINK, &mut batch);
        pair.a.handle_packets(pair.now, LINK, &mut batch);
        watch(pair);
    }
    assert!(heard == data, "{} of {DATA} bytes", heard.len());
    crossed
}

fn data() -> Vec<u8> {
    (0..DATA).map(|at| (at % 251) as u8).collect()
}

fn longest(packets: &[Packet]) -> &Packet {
    packets.iter().max_by_key(|packet| packet.len()).unwrap()
}

#[test]
fn links_in_memory_carry_them_in_both_families() {
    for (to, field) in [("10.0.0.2:80", 2), ("[fd77::2]:80", 4)] {
        let mut pair = Pair::new();
        let crossed = transfer(&mut pair, to);
        let longest = longest(&crossed);
        let len = longest.len();
        assert!(len > WRITE && longest.payload.len() <= NicConfig::LARGEST_SEGMENT, "{len}");
        assert_eq!(&longest.head[field..field + 2], [0, 0]);
        assert!(crossed.iter().all(Packet::states_len));
    }
}

#[test]
fn a_link_that_states_lengths_gets_none() {
    let max_segment = NicConfig::LARGEST_STATED_SEGMENT;
    let link = NicConfig { max_segment, ..NicConfig::memory("eth0", 1500) };
    let mut pair = Pair::with(&Config::default(), &link);
    let crossed = transfer(&mut pair, "10.0.0.2:80");
    let len = longest(&crossed).len();
    assert!((60_000..=Packet::LONGEST_STATED).contains(&len), "{len}");
}

/// Who puts a 0 where the length belongs is not heard: only what says that it is a super-segment, and is so long.
#[test]
fn a_length_of_zero_is_an_error_elsewhere() {
    let changes: [fn(&mut Packet); 2] =
        [|packet| packet.meta.gso_size = 0, |packet| packet.payload.trim(0, 60_000)];
    for change in changes {
        let mut pair = Pair::new();
        let crossed = transfer(&mut pair, "10.0.0.2:80");
        let mut packet = longest(&crossed).clone();
        change(&mut packet);
        let (errors, segments) = (Counter::IpInHdrErrors, Counter::TcpInSegs);
        let before = [errors, segments].map(|counter| pair.b.counters()[counter]);
        let mut batch = Batch::new();
        batch.push(packet);
        pair.b.handle_packets(pair.now, LINK, &mut batch);
        let after = [errors, segments].map(|counter| pair.b.counters()[counter]);
        assert_eq!(after, [before[0] + 1, before[1]]);
    }
}

#[test]
fn a_part_of_one_segment_is_no_super_segment() {
    let crossed = transfer(&mut Pair::new(), "10.0.0.2:80");
    let mut packet = longest(&crossed).clone();
    let size = usize::from(packet.meta.gso_size);
    let most = (Packet::LONGEST_STATED - packet.head.len()) / size;
    packet.payload.trim(0, (most + 1) * size);
    let parts = stated_parts(&packet).map(|part| (part.payload.len() / size, part.meta.gso_size));
    assert_eq!(parts.collect::<Vec<_>>(), [(most, size as u16), (1, 0)]);
}

/// Programs don't know such packets: they are shown several, each with its length.
#[test]
fn sockets_that_show_packets_show_them_in_parts() {
    let mut pair = Pair::new();
    let raw = SocketType::Raw(Protocol::TCP);
    let raw = pair.b.socket(Domain::Inet, raw, Owner::default()).unwrap();
    let kind = SocketType::Packet { cooked: true, ethertype: 0x800 };
    let frames = pair.b.socket(Domain::Packet, kind, Owner::default()).unwrap();
    let mut seen = [Vec::new(), Vec::new()];
    let crossed = transfer_watched(&mut pair, "10.0.0.2:80", |pair| {
        for (id, seen) in [raw, frames].into_iter().zip(&mut seen) {
            while let Ok(datagram) = pair.b.recv_from(pair.now, id, RecvFlags::default()) {
                let packet = Packet::from_bytes(&Chunk::from(datagram.payload.to_vec()), Meta::default());
                assert!(packet.len() <= Packet::LONGEST_STATED && packet.states_len(), "{}", packet.len());
                let header = TcpHeader::parse(&packet.head[20..]).unwrap().0;
                seen.push((header, packet.payload.to_vec()));
            }
        }
    });
    assert!(longest(&crossed).len() > Packet::LONGEST_STATED);
    for seen in seen {
        let mut heard = Vec::new();
        let client = seen[0].0.src_port;
        for (header, part) in seen.iter().filter(|(header, _)| header.src_port == client) {
            assert_eq!(
                header.seq,
                seen[0].0.seq.wrapping_add(u32::from(!header.flags.syn()) + heard.len() as u32)
            );
            heard.extend_from_slice(part);
        }
        assert!(heard == data(), "{} bytes", heard.len());
    }
}
