use super::*;
use crate::testing::{is_valid, tcp, udp};
use sockeye_wire::TcpHeader;

const MS: Duration = Duration::from_millis(1);

fn netem(conditions: &str) -> Netem {
    Netem::new(conditions.parse().unwrap(), Rng::from_u64(1))
}

/// A packet of 1500 bytes on the wire, told from others by its number.
fn numbered(number: u32) -> Packet {
    let mut payload = vec![0; 1472];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    udp("10.77.0.2", "10.77.0.3", &payload)
}

fn number(packet: &Packet) -> u32 {
    u32::from_be_bytes(*packet.payload.to_vec().first_chunk().unwrap())
}

/// All that comes out, with its times.
fn drain(netem: &mut Netem) -> Vec<(Instant, Packet)> {
    let mut all = Vec::new();
    while let Some(due) = netem.poll_timeout() {
        let before = due - Duration::from_nanos(1);
        assert!(before == due || netem.dequeue(before).is_none());
        all.extend(netem.dequeue(due));
    }
    all
}

fn numbers(netem: &mut Netem) -> Vec<u32> {
    drain(netem).iter().map(|(_, packet)| number(packet)).collect()
}

/// Sends `count` numbered packets, one each `interval`, and says what came out in which order.
fn run(netem: &mut Netem, count: u32, interval: Duration) -> Vec<(Instant, u32)> {
    let mut now = Instant::ZERO;
    let mut out = Vec::new();
    for index in 0..count {
        netem.enqueue(now, numbered(index));
        now += interval;
        while let Some((due, packet)) = netem.dequeue(now) {
            out.push((due, number(&packet)));
        }
    }
    out.extend(drain(netem).iter().map(|(due, packet)| (*due, number(packet))));
    out
}

fn is_sorted(out: &[(Instant, u32)]) -> bool {
    out.is_sorted_by_key(|(_, number)| *number)
}

#[test]
fn a_clear_link_passes_packets_as_they_are() {
    let mut netem = netem("");
    assert!(netem.is_clear());
    let now = Instant::from_millis(3);
    netem.enqueue(now, tcp("10.77.0.2", "10.77.0.3", &[1; 5000], 1460));
    let (due, packet) = netem.dequeue(now).unwrap();
    assert_eq!((due, packet.payload.len(), packet.meta.gso_size), (now, 5000, 1460));
    assert_eq!((netem.poll_timeout(), netem.counters().passed), (None, 4));
}

#[test]
fn delay_keeps_super_segments_whole() {
    let mut netem = netem("delay 40ms");
    netem.enqueue(Instant::from_millis(2), tcp("fd77::2", "fd77::3", &[1; 5000], 1440));
    let out = drain(&mut netem);
    assert_eq!(out.len(), 1);
    assert_eq!((out[0].0, out[0].1.payload.len()), (Instant::from_millis(42), 5000));
}

#[test]
fn loss_is_drawn_for_each_wire_segment() {
    let mut netem = netem("loss 10% limit 1000000");
    let payload = vec![1; 14_600];
    for _ in 0..2_000 {
        netem.enqueue(Instant::ZERO, tcp("10.77.0.2", "10.77.0.3", &payload, 1460));
    }
    let counters = netem.counters();
    // 20,000 draws: the standard deviation is 42.
    assert!((1_800..2_200).contains(&counters.lost), "{counters:?}");
    let out = drain(&mut netem);
    let bytes: usize = out.iter().map(|(_, packet)| packet.payload.len()).sum();
    assert_eq!(bytes as u64, (20_000 - counters.lost) * 1460);
    assert!(out.len() < 6_000, "{} pieces: runs between losses must stay together", out.len());
}

#[test]
fn a_lost_segment_leaves_a_gap_of_its_own_size() {
    let mut netem = netem("loss 20% delay 1ms");
    let payload: Vec<u8> = (0..60_000_u32).map(|at| (at / 1000) as u8).collect();
    netem.enqueue(Instant::ZERO, tcp("10.77.0.2", "10.77.0.3", &payload, 1000));
    for (_, packet) in drain(&mut netem) {
        let (header, _) = TcpHeader::parse(&packet.head[20..]).unwrap();
        let seq = header.seq as usize;
        assert_eq!(packet.payload.to_vec(), payload[seq..seq + packet.payload.len()]);
    }
    assert!(netem.counters().lost > 0);
}

#[test]
fn jitter_keeps_order() {
    let mut netem = netem("delay 10ms 8ms");
    let out = run(&mut netem, 500, Duration::from_micros(100));
    assert_eq!(out.len(), 500);
    assert!(is_sorted(&out));
    let delays: Vec<u64> = out.iter().map(|&(due, n)| due.as_micros() - u64::from(n) * 100).collect();
    assert!(delays.iter().all(|delay| (2_000..=18_000).contains(delay)), "{delays:?}");
    assert!(delays.iter().max() > Some(&15_000));
}

#[test]
fn jitter_without_queueing_spreads_evenly() {
    let mut netem = netem("delay 10ms 5ms");
    let out = run(&mut netem, 1_000, 20 * MS);
    let delays: Vec<u64> = out.iter().map(|&(due, n)| due.as_micros() - u64::from(n) * 20_000).collect();
    assert!(delays.iter().all(|delay| (5_000..=15_000).contains(delay)));
    let mean = delays.iter().sum::<u64>() / 1_000;
    assert!((9_700..10_300).contains(&mean), "{mean}");
}

#[test]
fn reorder_lets_segments_overtake() {
    let mut netem = netem("delay 10ms reorder 5%");
    let out = run(&mut netem, 4_000, Duration::from_micros(100));
    assert!(!is_sorted(&out));
    let ahead = out.iter().filter(|(due, n)| due.as_micros() == u64::from(*n) * 100).count();
    assert_eq!(ahead as u64, netem.counters().reordered);
    assert!((150..250).contains(&ahead), "{ahead}");
    assert_eq!(out.len(), 4_000);
}

#[test]
fn reorder_without_delay_holds_segments_back() {
    let mut netem = netem("reorder 5%");
    let out = run(&mut netem, 1_000, Duration::from_micros(100));
    assert_eq!(out.len(), 1_000);
    assert!(!is_sorted(&out));
}

#[test]
fn a_rate_spaces_segments_exactly() {
    let mut netem = netem("rate 12mbit delay 5ms");
    for index in 0..3 {
        netem.enqueue(Instant::from_millis(1), numbered(index));
    }
    let times: Vec<_> = drain(&mut netem).iter().map(|(due, _)| due.as_nanos()).collect();
    assert_eq!(times, [7_000_000, 8_000_000, 9_000_000]);
}

#[test]
fn each_segment_of_a_super_segment_takes_its_time() {
    let mut netem = netem("rate 12mbit");
    // Three segments of 1500 bytes on the wire and one of 540.
    netem.enqueue(Instant::ZERO, tcp("10.77.0.2", "10.77.0.3", &[1; 3 * 1460 + 500], 1460));
    let out: Vec<_> = drain(&mut netem).iter().map(|(due, p)| (due.as_nanos(), p.len())).collect();
    assert_eq!(out, [(1_000_000, 1500), (2_000_000, 1500), (3_000_000, 1500), (3_360_000, 540)]);
}

#[test]
fn fractions_of_nanoseconds_add_up() {
    // 12,000 bits at 7 Mbit/s take 1,714,285.714… ns.
    let mut netem = netem("rate 7mbit");
    for index in 0..700 {
        netem.enqueue(Instant::ZERO, numbered(index));
    }
    let out = drain(&mut netem);
    assert_eq!(out[0].0.as_nanos(), 1_714_285);
    assert_eq!(out[699].0, Instant::from_millis(1_200));
}

#[test]
fn an_idle_line_starts_afresh() {
    let mut netem = netem("rate 12mbit");
    netem.enqueue(Instant::ZERO, numbered(0));
    netem.enqueue(Instant::from_millis(50), numbered(1));
    let times: Vec<_> = drain(&mut netem).iter().map(|(due, _)| due.as_millis()).collect();
    assert_eq!(times, [1, 51]);
}

#[test]
fn the_tail_is_dropped_beyond_the_limit() {
    let mut netem = netem("rate 12mbit limit 10");
    for index in 0..25 {
        netem.enqueue(Instant::ZERO, numbered(index));
    }
    assert_eq!(netem.counters().overlimit, 15);
    assert_eq!(numbers(&mut netem), (0..10).collect::<Vec<_>>());
    // There is room again.
    netem.enqueue(Instant::from_millis(20), numbered(30));
    assert_eq!(numbers(&mut netem), [30]);
}

#[test]
fn the_limit_counts_wire_segments() {
    let mut netem = netem("delay 1ms limit 10");
    netem.enqueue(Instant::ZERO, tcp("10.77.0.2", "10.77.0.3", &vec![1; 20 * 1460], 1460));
    let out = drain(&mut netem);
    assert_eq!((out.len(), out[0].1.payload.len(), netem.counters().overlimit), (1, 10 * 1460, 10));
}

/// The packet with these ECN bits, its checksums filled.
fn with_ecn(mut packet: Packet, ecn: u8) -> Packet {
    let at = if packet.head[0] >> 4 == 4 { (1, ecn) } else { (1, ecn << 4) };
    packet.head[at.0] |= at.1;
    segmentation::fill_checksums(&mut packet);
    packet
}

fn ecn_of(packet: &Packet) -> u8 {
    let byte = packet.head[1];
    if packet.head[0] >> 4 == 4 { byte & 3 } else { byte >> 4 & 3 }
}

#[test]
fn what_can_be_marked_is_not_lost() {
    for (src, dst) in [("10.77.0.2", "10.77.0.3"), ("fd77::2", "fd77::3")] {
        let mut netem = netem("loss 100% ecn");
        for ecn in 0..4 {
            netem.enqueue(Instant::ZERO, with_ecn(tcp(src, dst, b"some data", 0), ecn));
        }
        let out = drain(&mut netem);
        assert_eq!(out.iter().map(|(_, packet)| ecn_of(packet)).collect::<Vec<_>>(), [3, 3, 3]);
        assert!(out.iter().all(|(_, packet)| is_valid(packet)));
        let NetemCounters { lost, marked, passed, .. } = netem.counters();
        assert_eq!((lost, marked, passed), (1, 3, 3));
    }
}

#[test]
fn beyond_the_limit_segments_are_marked_up_to_twice_as_many() {
    let mut netem = netem("delay 1ms limit 10 ecn");
    let sent = tcp("10.77.0.2", "10.77.0.3", &vec![1; 25 * 1000], 1000);
    netem.enqueue(Instant::ZERO, sent.clone());
    let NetemCounters { overlimit, marked, .. } = netem.counters();
    assert_eq!((overlimit, marked), (15, 0), "it can't be marked");
    drain(&mut netem);
    let mut sent = sent;
    sent.head[1] |= 2;
    netem.enqueue(Instant::ZERO, sent);
    let out: Vec<_> = drain(&mut netem).iter().map(|(_, p)| (ecn_of(p), p.payload.len())).collect();
    assert_eq!(out, [(2, 10_000), (3, 10_000)]);
    let NetemCounters { overlimit, marked, .. } = netem.counters();
    assert_eq!((overlimit, marked), (20, 10));
}

#[test]
fn duplicates_follow_their_originals() {
    let mut netem = netem("duplicate 100% delay 1ms");
    (0..3).for_each(|index| netem.enqueue(Instant::ZERO, numbered(index)));
    assert_eq!(numbers(&mut netem), [0, 0, 1, 1, 2, 2]);
    assert_eq!((netem.counters().duplicated, netem.counters().passed), (3, 6));
}

#[test]
fn a_duplicate_that_finds_no_room_counts_as_dropped_only() {
    let mut netem = netem("duplicate 100% delay 1ms limit 3");
    (0..2).for_each(|index| netem.enqueue(Instant::ZERO, numbered(index)));
    assert_eq!(numbers(&mut netem), [0, 0, 1]);
    let NetemCounters { passed, overlimit, duplicated, .. } = netem.counters();
    assert_eq!((passed, overlimit, duplicated), (3, 1, 1));
}

#[test]
fn what_leaves_as_it_came_is_moved() {
    let mut netem = netem("delay 1ms");
    let mut sent = tcp("10.77.0.2", "10.77.0.3", &[1; 3000], 1460);
    sent.payload.push(Chunk::copy_from(&[2; 1000]));
    let last: *const Chunk = sent.payload.chunks().last().unwrap();
    netem.enqueue(Instant::ZERO, sent);
    let (_, packet) = netem.dequeue(Instant::from_millis(1)).unwrap();
    assert!(std::ptr::eq(last, packet.payload.chunks().last().unwrap()), "the list of chunks was copied");
}

#[test]
fn corruption_is_seen_by_the_receiver() {
    let mut netem = netem("corrupt 100%");
    for _ in 0..500 {
        for sent in [tcp("10.77.0.2", "10.77.0.3", b"some data", 0), udp("10.77.0.2", "10.77.0.3", b"more")] {
            netem.enqueue(Instant::ZERO, sent.clone());
            let (_, mut damaged) = netem.dequeue(Instant::ZERO).unwrap();
            assert_eq!((damaged.len(), damaged.meta.checksum), (sent.len(), Checksum::Unverified));
            segmentation::fill_checksums(&mut damaged);
            assert!(!is_valid(&damaged), "{:x?}", damaged.to_vec());
        }
    }
    assert_eq!(netem.counters().corrupted, 1_000);
}

#[test]
fn corruption_of_ipv6_beyond_its_header_is_seen() {
    let mut netem = netem("corrupt 100%");
    let mut sent = tcp("fd77::2", "fd77::3", b"some data", 0);
    let mut seen = 0;
    for _ in 0..500 {
        netem.enqueue(Instant::ZERO, sent.clone());
        let (_, damaged) = netem.dequeue(Instant::ZERO).unwrap();
        // No checksum covers traffic class, flow label and hop limit.
        if damaged.to_vec()[..40] == sent.head[..40] {
            assert!(!is_valid(&damaged));
            seen += 1;
        }
    }
    assert!(seen > 100);
    segmentation::fill_checksums(&mut sent);
    assert!(is_valid(&sent), "the sender's packet is not touched");
}

#[test]
fn only_the_corrupt_segment_of_a_super_segment_leaves_alone() {
    let mut netem = netem("corrupt 10% delay 1ms");
    netem.enqueue(Instant::ZERO, tcp("10.77.0.2", "10.77.0.3", &vec![1; 44 * 1000], 1000));
    let corrupted = netem.counters().corrupted;
    assert!(corrupted > 0);
    let out = drain(&mut netem);
    let alone = out.iter().filter(|(_, p)| p.meta.checksum == Checksum::Unverified).count();
    assert_eq!(alone as u64, corrupted);
    assert_eq!(out.iter().map(|(_, p)| p.payload.len()).sum::<usize>(), 44_000);
    assert!(out.len() as u64 <= 2 * corrupted + 1);
}

#[test]
fn one_seed_gives_one_run() {
    let conditions = "delay 10ms 3ms loss 5% duplicate 3% reorder 2% corrupt 1% rate 50mbit";
    let outcome = |seed| {
        let mut netem = Netem::new(conditions.parse().unwrap(), Rng::from_u64(seed));
        for index in 0..300 {
            netem.enqueue(Instant::from_micros(index * 200), numbered(index as u32));
        }
        drain(&mut netem).iter().map(|(due, p)| (*due, p.to_vec())).collect::<Vec<_>>()
    };
    assert_eq!(outcome(5), outcome(5));
    assert_ne!(outcome(5), outcome(6));
}

#[test]
fn a_change_of_conditions_lets_nothing_overtake() {
    let mut netem = netem("delay 10ms");
    netem.enqueue(Instant::ZERO, numbered(0));
    netem.set_config(NetemConfig::default());
    assert!(!netem.is_clear(), "a packet is under way");
    netem.enqueue(Instant::from_millis(1), numbered(1));
    assert_eq!(numbers(&mut netem), [0, 1]);
    assert!(netem.is_clear());
}

#[test]
fn extreme_conditions_do_no_harm() {
    let config = NetemConfig {
        delay: Duration::MAX,
        jitter: Duration::MAX,
        loss: -1.0,
        duplicate: f64::NAN,
        reorder: f64::INFINITY,
        corrupt: f64::NEG_INFINITY,
        rate: 1,
        limit: 3,
        ecn: true,
    };
    let mut netem = Netem::new(config, Rng::from_u64(1));
    (0..5).for_each(|index| netem.enqueue(Instant::FAR_FUTURE, numbered(index)));
    let reorder_off = NetemConfig { reorder: 0.0, limit: 10, ..config };
    netem.set_config(reorder_off);
    (0..5).for_each(|index| netem.enqueue(Instant::FAR_FUTURE, numbered(index)));
    netem.enqueue(Instant::ZERO, Packet::default());
    assert!(netem.poll_timeout().is_some());
}
