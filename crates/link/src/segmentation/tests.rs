use super::*;
use crate::testing::{ip, is_valid, packet, tcp, udp};
use proptest::prelude::*;
use sockeye_packet::{Chunk, Payload};
use sockeye_wire::{TcpHeader, TcpOptions, TcpTimestamps, UdpHeader};

const V4: (&str, &str) = ("10.77.0.2", "10.77.0.3");
const V6: (&str, &str) = ("fd77::2", "fd77::3");

/// A super-segment, and the segments that its sender would have written one by one.
#[derive(Debug)]
struct Case {
    whole: Packet,
    expected: Vec<Packet>,
}

fn case(v6: bool, header: TcpHeader, payload: &[u8], size: usize) -> Case {
    let (src, dst) = if v6 { V6 } else { V4 };
    let make = |id: usize, header: TcpHeader, payload: &[u8]| {
        packet((ip(src), ip(dst)), id as u16, Protocol::TCP, payload, |buffer| header.emit(buffer))
    };
    let mut whole = make(0xfffe, header, payload);
    whole.meta.gso_size = size as u16;
    let count = payload.len().div_ceil(size);
    let expected = payload.chunks(size).enumerate().map(|(index, part)| {
        let mut segment = TcpHeader { seq: header.seq.wrapping_add((index * size) as u32), ..header };
        if index + 1 < count {
            segment.flags = segment.flags & !(TcpFlags::FIN | TcpFlags::PSH);
        }
        if index > 0 {
            segment.flags = segment.flags & !TcpFlags::CWR;
        }
        make(0xfffe + index, segment, part)
    });
    Case { expected: expected.collect(), whole }
}

fn cases() -> impl Strategy<Value = Case> {
    let flags = prop::sample::subsequence(
        vec![TcpFlags::FIN, TcpFlags::PSH, TcpFlags::CWR, TcpFlags::ECE, TcpFlags::ACK],
        0..=5,
    );
    (any::<bool>(), flags, any::<u32>(), any::<bool>(), 1_usize..20_000, 100_usize..3_000).prop_map(
        |(v6, flags, seq, with_options, len, size)| {
            let timestamps = with_options.then_some(TcpTimestamps { value: 1, echo: 2 });
            let header = TcpHeader {
                src_port: 1,
                dst_port: 2,
                seq,
                flags: flags.into_iter().fold(TcpFlags::default(), |all, flag| all | flag),
                options: TcpOptions { timestamps, ..TcpOptions::default() },
                ..TcpHeader::default()
            };
            let payload: Vec<u8> = (0..len).map(|at| (at * 7 + at / 256) as u8).collect();
            case(v6, header, &payload, size)
        },
    )
}

fn filled_bytes(mut packet: Packet) -> Vec<u8> {
    fill_checksums(&mut packet);
    assert!(is_valid(&packet));
    packet.to_vec()
}

proptest! {
    #[test]
    fn segments_are_what_the_sender_would_have_written(case in cases()) {
        let segments = Segments::of(&case.whole);
        prop_assert_eq!(segments.count(), case.expected.len());
        for (index, (segment, expected)) in segments.iter().zip(&case.expected).enumerate() {
            prop_assert_eq!(segment.len(), segments.wire_len(index));
            prop_assert_eq!(segment.meta.checksum, Checksum::Unfilled);
            prop_assert_eq!(filled_bytes(segment), filled_bytes(expected.clone()));
        }
    }

    #[test]
    fn cutting_in_two_steps_is_cutting_in_one(case in cases(), at in any::<prop::sample::Index>()) {
        let segments = Segments::of(&case.whole);
        let at = at.index(segments.count());
        let parts = [0..at, at..segments.count()].into_iter().filter(|range| !range.is_empty());
        let in_two: Vec<_> = parts
            .flat_map(|range| Segments::of(&segments.slice(range)).iter().collect::<Vec<_>>())
            .map(filled_bytes)
            .collect();
        prop_assert_eq!(in_two, segments.iter().map(filled_bytes).collect::<Vec<_>>());
    }
}

#[test]
fn runs_hold_what_fits() {
    for (from, to) in [V4, V6] {
        let mut whole = tcp(from, to, &[], 1000);
        whole.payload = Payload::from(Chunk::from(vec![7; 130_500]));
        whole.head.state_len(whole.len());
        assert!(whole.is_beyond_stating());
        let segments = Segments::of(&whole);
        let head = whole.head.len();
        // A segment, two, as much as a header can state, all but one, all; and less than a segment.
        let mosts = [head + 1000, head + 2999, Packet::LONGEST_STATED, head + 130_499, head + 131_000, 0];
        let counts = [131, 66, 3, 2, 1, 131];
        for (most, count) in mosts.into_iter().zip(counts) {
            let runs: Vec<_> = segments.runs(most).collect();
            assert_eq!(runs.len(), count, "in {most} bytes");
            assert!(runs.iter().all(|run| run.states_len() && run.len() <= most.max(head + 1000)));
            let again: Vec<_> =
                runs.iter().flat_map(|run| Segments::of(run).iter().collect::<Vec<_>>()).collect();
            let bytes = |packets: Vec<Packet>| packets.into_iter().map(filled_bytes).collect::<Vec<_>>();
            assert_eq!(bytes(again), bytes(segments.iter().collect()));
        }
    }
}

#[test]
fn payload_is_shared_not_copied() {
    let mut whole = tcp(V4.0, V4.1, &[], 4);
    whole.payload = [&b"abcdef"[..], b"ghij"].into_iter().map(Chunk::copy_from).collect::<Payload>();
    let blocks: Vec<_> = whole.payload.chunks().map(|chunk| chunk.as_ptr_range()).collect();
    let segments: Vec<_> = Segments::of(&whole).iter().collect();
    assert_eq!(
        segments.iter().map(|s| s.payload.to_vec()).collect::<Vec<_>>(),
        [&b"abcd"[..], b"efgh", b"ij"]
    );
    for chunk in segments.iter().flat_map(|segment| segment.payload.chunks()) {
        assert!(blocks.iter().any(|block| block.contains(&chunk.as_ptr())));
    }
}

#[test]
fn urgent_data_keeps_its_place() {
    let header = TcpHeader { flags: TcpFlags::ACK | TcpFlags::URG, urgent: 150, ..TcpHeader::default() };
    let Case { whole, .. } = case(false, header, &[0; 300], 100);
    let urgent: Vec<_> = Segments::of(&whole)
        .iter()
        .map(|segment| TcpHeader::parse(&segment.head[20..]).unwrap().0)
        .map(|header| (header.flags.contains(TcpFlags::URG), header.urgent))
        .collect();
    assert_eq!(urgent, [(true, 150), (true, 50), (false, 0)]);
}

#[test]
fn a_udp_super_segment_becomes_datagrams() {
    let mut whole = udp(V6.0, V6.1, &[9; 250]);
    whole.meta.gso_size = 100;
    let lens: Vec<_> = Segments::of(&whole)
        .iter()
        .map(|mut segment| {
            fill_checksums(&mut segment);
            assert!(is_valid(&segment));
            UdpHeader::parse(&segment.head[40..]).unwrap().0.len
        })
        .collect();
    assert_eq!(lens, [108, 108, 58]);
}

#[test]
fn what_cannot_be_cut_goes_as_it_is() {
    let plain = tcp(V4.0, V4.1, &[1; 3000], 0);
    let short = tcp(V4.0, V4.1, &[1; 100], 100);
    let mut unverified = tcp(V4.0, V4.1, &[1; 3000], 1000);
    unverified.meta.checksum = Checksum::Unverified;
    let mut garbage = Packet { payload: Payload::from(Chunk::copy_from(&[1; 3000])), ..Packet::default() };
    garbage.meta.gso_size = 1000;
    garbage.meta.checksum = Checksum::Unfilled;
    for packet in [plain, short, unverified, garbage] {
        let segments = Segments::of(&packet);
        assert_eq!((segments.count(), segments.wire_len(0)), (1, packet.len()));
        assert_eq!(segments.slice(0..1).to_vec(), packet.to_vec());
    }
}

#[test]
fn checksums_are_filled_once() {
    let mut packet = tcp(V4.0, V4.1, b"data", 0);
    assert!(!is_valid(&packet));
    fill_checksums(&mut packet);
    assert!(is_valid(&packet));
    packet.head[30] ^= 1;
    packet.meta.checksum = Checksum::Unverified;
    fill_checksums(&mut packet);
    assert!(!is_valid(&packet), "a packet from outside must not be made valid");
}
