use super::*;
use crate::testing::{batch, echo, ip, is_valid, tcp, udp};
use proptest::prelude::*;
use sockeye_packet::{Checksum, Chunk, Meta, Payload};
use sockeye_wire::{Icmpv4, Icmpv6, IpLayout, Quoted};
use std::time::Duration;

const A4: &str = "10.77.0.2";
const A6: &str = "fd77::2";
const B4: &str = "10.77.0.3";
const B6: &str = "fd77::3";

/// A fabric with two hosts, A and B, under the same conditions.
fn two_hosts(link: &str) -> (Fabric, PortId, PortId) {
    let mut fabric = Fabric::new(FabricConfig::default());
    let link = link.parse().unwrap();
    let a = fabric.add_port(&[ip(A4), ip(A6)], link).unwrap();
    let b = fabric.add_port(&[ip(B4), ip(B6)], link).unwrap();
    (fabric, a, b)
}

fn send(fabric: &mut Fabric, now: Instant, port: PortId, packets: impl IntoIterator<Item = Packet>) {
    let mut batch = batch(packets);
    fabric.send(now, port, &mut batch);
    assert!(batch.is_empty());
}

fn receive(fabric: &mut Fabric, port: PortId) -> Vec<Packet> {
    let mut batch = Batch::new();
    fabric.receive(port, &mut batch);
    batch.drain().collect()
}

/// The ICMP error in a packet: its source, type, code, and what it quotes.
fn icmp_error(packet: &Packet) -> (IpAddr, u8, u8, Quoted) {
    let mut filled = packet.clone();
    crate::segmentation::fill_checksums(&mut filled);
    assert!(is_valid(&filled));
    let ip = IpLayout::parse(&packet.head).unwrap();
    assert_eq!(ip.total_len, packet.len());
    let message = &packet.head[ip.transport..];
    let quoted = Quoted::parse(&packet.payload.to_vec()).unwrap();
    let (kind, code, _) = if ip.src.is_ipv4() {
        Icmpv4::parse(message).unwrap().0.parts()
    } else {
        Icmpv6::parse(message).unwrap().0.parts()
    };
    (ip.src, kind, code, quoted)
}

#[test]
fn super_segments_pass_a_clear_fabric_whole_and_in_order() {
    let (mut fabric, a, b) = two_hosts("");
    let sent = [tcp(A4, B4, &vec![1; 60_000], 1460), tcp(A6, B6, &vec![2; 50_000], 1440), udp(A4, B4, b"x")];
    let pointers: Vec<_> = sent.iter().map(|p| p.payload.chunks().next().unwrap().as_ptr()).collect();
    send(&mut fabric, Instant::from_millis(1), a, sent);
    assert_eq!((fabric.poll_ready(), fabric.poll_ready(), fabric.poll_timeout()), (Some(b), None, None));
    let got = receive(&mut fabric, b);
    assert_eq!(got.iter().map(|p| p.meta.gso_size).collect::<Vec<_>>(), [1460, 1440, 0]);
    assert_eq!(got.iter().map(|p| p.payload.chunks().next().unwrap().as_ptr()).collect::<Vec<_>>(), pointers);
    assert!(got.iter().all(|p| p.meta.received_at == Instant::from_millis(1)));
    assert!(got.iter().all(|p| p.meta.checksum == Checksum::Unfilled));
    assert!(receive(&mut fabric, a).is_empty());
}

#[test]
fn a_host_reaches_itself() {
    let (mut fabric, a, _) = two_hosts("");
    send(&mut fabric, Instant::ZERO, a, [udp(A4, A4, b"me")]);
    assert_eq!(receive(&mut fabric, a).len(), 1);
}

#[test]
fn groups_and_broadcasts_go_to_all_other_hosts() {
    let (mut fabric, a, b) = two_hosts("");
    let c = fabric.add_port(&[ip("10.77.0.4")], "delay 5ms".parse().unwrap()).unwrap();
    let parted = fabric.add_port(&[ip("10.77.0.5")], NetemConfig::default()).unwrap();
    let gone = fabric.add_port(&[ip("10.77.0.6")], NetemConfig::default()).unwrap();
    fabric.partition(a, parted);
    fabric.remove_port(gone);
    let to = ["239.1.2.3", "224.0.0.22", "255.255.255.255", "10.77.255.255"];
    let sent = to.into_iter().map(|to| udp(A4, to, b"x")).chain([udp(A6, "ff02::1", b"x")]);
    send(&mut fabric, Instant::ZERO, a, sent);
    assert_eq!(receive(&mut fabric, b).len(), 5);
    assert!(receive(&mut fabric, a).is_empty() && receive(&mut fabric, c).is_empty());
    fabric.handle_timeout(Instant::from_millis(5));
    assert_eq!(receive(&mut fabric, c).len(), 5);
    assert!(receive(&mut fabric, parted).is_empty());
    let counters = fabric.counters(a).unwrap();
    assert_eq!((counters.sent, counters.partitioned, counters.unroutable), (5, 5, 0));
}

#[test]
fn a_port_is_ready_until_it_is_empty() {
    let (mut fabric, a, b) = two_hosts("");
    send(&mut fabric, Instant::ZERO, a, (0..100).map(|_| udp(A4, B4, b"x")));
    assert_eq!(fabric.poll_ready(), Some(b));
    assert_eq!(receive(&mut fabric, b).len(), Batch::CAPACITY);
    assert_eq!(fabric.poll_ready(), Some(b));
    assert_eq!(receive(&mut fabric, b).len(), 100 - Batch::CAPACITY);
    assert_eq!(fabric.poll_ready(), None);
}

#[test]
fn a_host_that_fetches_nothing_holds_a_bounded_queue() {
    let (mut fabric, a, b) = two_hosts("");
    send(&mut fabric, Instant::ZERO, a, (0..20_000).map(|_| udp(A4, B4, b"x")));
    assert_eq!(fabric.counters(b).unwrap().overflowed, 20_000 - 16_384);
}

#[test]
fn an_address_that_nobody_has_is_unreachable() {
    let (mut fabric, a, _) = two_hosts("");
    send(
        &mut fabric,
        Instant::ZERO,
        a,
        [udp(A4, "10.77.9.9", &[0; 2000]), tcp(A6, "fd77::99", &[0; 9000], 1440)],
    );
    let errors = receive(&mut fabric, a);
    let (src, kind, code, quoted) = icmp_error(&errors[0]);
    assert_eq!((src, kind, code, quoted.dst), (ip("10.77.0.1"), 3, 1, ip("10.77.9.9")));
    assert_eq!((quoted.dst_port(), errors[0].len()), (53, 576));
    let (src, kind, code, quoted) = icmp_error(&errors[1]);
    assert_eq!((src, kind, code, quoted.dst), (ip("fd77::1"), 1, 3, ip("fd77::99")));
    assert_eq!((quoted.dst_port(), errors[1].len()), (80, 1280));
    assert_eq!(fabric.counters(a).unwrap().unreachable, 2);
}

#[test]
fn what_leaves_the_subnet_needs_a_gateway() {
    let (mut fabric, a, _) = two_hosts("");
    let outside = || [echo(A4, "192.0.2.1"), echo(A6, "2001:db8::1")];
    send(&mut fabric, Instant::ZERO, a, outside());
    let errors = receive(&mut fabric, a);
    assert_eq!(
        errors.iter().map(|e| (icmp_error(e).1, icmp_error(e).2)).collect::<Vec<_>>(),
        [(3, 0), (1, 0)]
    );

    let gateway = fabric.add_port(&[ip("10.77.0.1"), ip("fd77::1")], NetemConfig::default()).unwrap();
    fabric.set_gateway(Some(gateway));
    send(&mut fabric, Instant::ZERO, a, outside());
    assert_eq!(receive(&mut fabric, gateway).len(), 2);
    // The gateway answers in the name of any address.
    send(&mut fabric, Instant::ZERO, gateway, [udp("192.0.2.1", A4, b"answer")]);
    assert_eq!(receive(&mut fabric, a).len(), 1);
    // Inside the subnet it changes nothing.
    send(&mut fabric, Instant::ZERO, a, [echo(A4, "10.77.9.9")]);
    assert_eq!(icmp_error(&receive(&mut fabric, a)[0]).2, 1);

    fabric.remove_port(gateway);
    send(&mut fabric, Instant::ZERO, a, outside());
    assert_eq!(receive(&mut fabric, a).len(), 2);
}

#[test]
fn no_errors_about_errors_groups_or_strangers() {
    let (mut fabric, a, _) = two_hosts("");
    send(&mut fabric, Instant::ZERO, a, [udp(A4, "10.77.9.9", b"x"), udp(A6, "fd77::99", b"x")]);
    let errors = receive(&mut fabric, a);
    assert_eq!(errors.len(), 2);
    // The same errors, sent on to addresses that nobody has.
    let redirected = errors.into_iter().map(|mut error| {
        let last = if error.head[0] >> 4 == 4 { 19 } else { 39 };
        error.head[last] = 0xee;
        error
    });
    let mut fragment = udp(A4, "10.77.9.9", b"x");
    fragment.head[7] = 9;
    let silent = [
        fragment,
        udp(A4, "224.0.0.1", b"x"),
        udp(A4, "255.255.255.255", b"x"),
        udp(A4, "10.77.255.255", b"x"),
        udp(A6, "ff02::1", b"x"),
        udp("0.0.0.0", "10.77.9.9", b"x"),
        udp("::", "fd77::99", b"x"),
        udp("127.0.0.1", "10.77.9.9", b"x"),
        Packet::default(),
    ];
    send(&mut fabric, Instant::ZERO, a, redirected.chain(silent));
    assert!(receive(&mut fabric, a).is_empty());
    assert_eq!(fabric.counters(a).unwrap().unroutable, 1);
}

#[test]
fn errors_are_bounded() {
    let (mut fabric, a, _) = two_hosts("");
    let flood = |fabric: &mut Fabric, now| {
        send(fabric, now, a, (0..1000).map(|_| udp(A4, "10.77.9.9", b"x")));
        std::iter::from_fn(|| Some(receive(fabric, a).len()).filter(|&n| n > 0)).sum::<usize>()
    };
    assert_eq!(flood(&mut fabric, Instant::ZERO), 64);
    assert_eq!(flood(&mut fabric, Instant::from_millis(10)), 10);
    assert_eq!(flood(&mut fabric, Instant::from_millis(60_000)), 64);
}

#[test]
fn parted_hosts_hear_nothing_of_each_other() {
    let (mut fabric, a, b) = two_hosts("");
    fabric.partition(b, a);
    send(&mut fabric, Instant::ZERO, a, [udp(A4, B4, b"x")]);
    send(&mut fabric, Instant::ZERO, b, [udp(B6, A6, b"x")]);
    assert!(receive(&mut fabric, a).is_empty() && receive(&mut fabric, b).is_empty());
    assert_eq!(fabric.counters(a).unwrap().partitioned, 1);
    fabric.heal(a, b);
    send(&mut fabric, Instant::ZERO, a, [udp(A4, B4, b"x")]);
    assert_eq!(receive(&mut fabric, b).len(), 1);
}

#[test]
fn what_is_held_waits_for_its_release_in_order() {
    let (mut fabric, a, b) = two_hosts("delay 10ms");
    fabric.hold(b, a);
    send(&mut fabric, Instant::ZERO, a, [udp(A4, B4, b"1"), udp(A6, B6, b"2")]);
    send(&mut fabric, Instant::ZERO, b, [udp(B4, A4, b"3")]);
    fabric.handle_timeout(Instant::from_secs(1));
    assert_eq!((fabric.poll_ready(), fabric.poll_timeout()), (None, None));
    fabric.release(Instant::from_secs(5), a, b);
    fabric.handle_timeout(Instant::from_millis(5010));
    assert_eq!((fabric.poll_ready(), fabric.poll_ready()), (Some(a), Some(b)));
    let lengths = [b, a].map(|port| receive(&mut fabric, port).iter().map(Packet::len).collect::<Vec<_>>());
    assert_eq!(lengths, [vec![29, 49], vec![29]]);
    // Nothing waits any more, and a port that is removed takes what waits for it along.
    send(&mut fabric, Instant::from_secs(6), a, [udp(A4, B4, b"4")]);
    fabric.hold(a, b);
    fabric.remove_port(b);
    fabric.release(Instant::from_secs(7), a, b);
    assert_eq!(fabric.poll_ready(), None);
}

#[test]
fn no_more_than_a_bounded_queue_is_held() {
    let (mut fabric, a, b) = two_hosts("");
    fabric.hold(a, b);
    for _ in 0..65_537 {
        send(&mut fabric, Instant::ZERO, a, [udp(A4, B4, b"")]);
    }
    assert_eq!(fabric.counters(a).unwrap().partitioned, 1);
}

#[test]
fn addresses_come_and_go() {
    let (mut fabric, a, b) = two_hosts("");
    let extra = ip("192.0.2.7");
    send(&mut fabric, Instant::ZERO, a, [udp(A4, "192.0.2.7", b"x")]);
    assert_eq!(receive(&mut fabric, a).len(), 1, "unreachable");
    fabric.add_address(b, extra).unwrap();
    assert_eq!(fabric.port_of(extra), Some(b));
    send(&mut fabric, Instant::ZERO, a, [udp(A4, "192.0.2.7", b"x")]);
    assert_eq!(receive(&mut fabric, b).len(), 1);
    assert_eq!(fabric.add_address(a, extra), Err(FabricError::AddressTaken(extra)));
    fabric.remove_address(extra);
    fabric.add_address(a, extra).unwrap();
    for group in ["10.77.255.255", "224.0.0.1", "ff02::1", "0.0.0.0", "::"] {
        assert_eq!(fabric.add_address(a, ip(group)), Err(FabricError::NotUnicast(ip(group))));
    }
    let twice = [ip("10.77.0.9"), ip("10.77.0.9")];
    assert!(fabric.add_port(&twice, NetemConfig::default()).is_err());
    assert_eq!(fabric.port_of(twice[0]), None);
}

#[test]
fn delays_of_both_sides_add_up_exactly() {
    let (mut fabric, a, b) = two_hosts("delay 10ms");
    send(&mut fabric, Instant::ZERO, a, [udp(A4, B4, b"x")]);
    assert_eq!(fabric.poll_timeout(), Some(Instant::from_millis(10)));
    // Called late: the way down still starts when the way up ended.
    fabric.handle_timeout(Instant::from_millis(13));
    assert_eq!((fabric.poll_ready(), fabric.poll_timeout()), (None, Some(Instant::from_millis(20))));
    fabric.handle_timeout(Instant::from_millis(20));
    assert_eq!((fabric.poll_ready(), fabric.poll_timeout()), (Some(b), None));
    assert_eq!(receive(&mut fabric, b)[0].meta.received_at, Instant::from_millis(20));
}

#[test]
fn each_direction_has_its_conditions() {
    let (mut fabric, a, b) = two_hosts("");
    fabric.set_link(b, Direction::Down, "delay 5ms".parse().unwrap()).unwrap();
    send(&mut fabric, Instant::ZERO, b, [udp(B4, A4, b"x")]);
    assert_eq!(fabric.poll_ready(), Some(a));
    send(&mut fabric, Instant::ZERO, a, [udp(A4, B4, b"x")]);
    assert_eq!(fabric.poll_timeout(), Some(Instant::from_millis(5)));
    assert_eq!(fabric.link(b, Direction::Up), Some(&NetemConfig::default()));
    assert!(!fabric.link(b, Direction::Down).unwrap().is_clear());
    fabric.handle_timeout(Instant::from_millis(5));
    assert_eq!(fabric.netem_counters(b, Direction::Down).unwrap().passed, 1);
}

#[test]
fn an_earlier_deadline_comes_first() {
    let (mut fabric, a, b) = two_hosts("delay 10ms");
    send(&mut fabric, Instant::ZERO, a, [udp(A4, B4, b"late")]);
    fabric.set_link(a, Direction::Up, "reorder 100% delay 1ms".parse().unwrap()).unwrap();
    send(&mut fabric, Instant::from_millis(2), a, [udp(A4, B4, b"early")]);
    assert_eq!(fabric.poll_timeout(), Some(Instant::from_millis(2)));
    fabric.handle_timeout(Instant::from_millis(100));
    let got: Vec<_> = receive(&mut fabric, b).iter().map(|p| p.payload.to_vec()).collect();
    assert_eq!(got, [&b"early"[..], b"late"]);
    assert_eq!(fabric.poll_timeout(), None);
}

#[test]
fn a_removed_port_leaves_nothing_behind() {
    let (mut fabric, a, b) = two_hosts("delay 10ms");
    fabric.partition(a, b);
    fabric.heal(a, b);
    send(&mut fabric, Instant::ZERO, a, [udp(A4, B4, b"x")]);
    fabric.handle_timeout(Instant::from_millis(10));
    send(&mut fabric, Instant::from_millis(11), b, [udp(B4, A4, b"x")]);
    fabric.remove_port(b);
    assert_eq!((fabric.poll_timeout(), fabric.counters(b)), (None, None));
    let c = fabric.add_port(&[ip(B4)], NetemConfig::default()).unwrap();
    assert_ne!(b, c);
    fabric.handle_timeout(Instant::from_millis(100));
    assert!(receive(&mut fabric, c).is_empty() && receive(&mut fabric, a).is_empty());
    // What is asked of the removed port does nothing.
    send(&mut fabric, Instant::ZERO, b, [udp(B4, A4, b"x")]);
    fabric.partition(a, b);
    fabric.remove_port(b);
    assert_eq!(fabric.add_address(b, ip("10.77.0.9")), Err(FabricError::NoPort(b)));
    assert_eq!(fabric.set_link(b, Direction::Up, NetemConfig::default()), Err(FabricError::NoPort(b)));
}

#[test]
fn what_a_retired_port_sent_still_arrives() {
    let (mut fabric, a, b) = two_hosts("delay 10ms");
    send(&mut fabric, Instant::ZERO, b, [udp(B4, A4, b"last words")]);
    send(&mut fabric, Instant::ZERO, a, [udp(A4, B4, b"too late")]);
    fabric.retire_port(b);
    assert_eq!(fabric.port_of(ip(B4)), None);
    let c = fabric.add_port(&[ip(B4)], NetemConfig::default()).unwrap();
    assert_ne!(b, c);
    for millis in [10, 20] {
        fabric.handle_timeout(Instant::from_millis(millis));
    }
    assert_eq!(receive(&mut fabric, a)[0].payload.to_vec(), b"last words");
    assert_eq!(receive(&mut fabric, c)[0].payload.to_vec(), b"too late", "the address is the new port's");
    assert_eq!((fabric.counters(b), fabric.poll_timeout()), (None, None), "then the port is gone");
    fabric.retire_port(c);
    assert_eq!(fabric.counters(c), None, "at once when nothing is under way");
}

#[test]
fn packets_go_to_the_router_that_they_name() {
    let (mut fabric, a, b) = two_hosts("");
    let via = |router: &str, to: &str| {
        let mut packet = udp(A4, to, b"x");
        packet.meta.next_hop = Some(ip(router));
        packet
    };
    let far = "10.78.0.9";
    send(&mut fabric, Instant::ZERO, a, [via(B4, far), via("10.77.0.9", far), via("10.77.0.1", far)]);
    assert_eq!(receive(&mut fabric, b).len(), 1);
    let codes: Vec<_> = receive(&mut fabric, a).iter().map(|packet| icmp_error(packet).2).collect();
    assert_eq!(
        codes,
        [Icmpv4::HOST_UNREACHABLE, Icmpv4::NET_UNREACHABLE],
        "nobody, and a gateway that is none"
    );
    fabric.set_gateway(Some(b));
    send(&mut fabric, Instant::ZERO, a, [via("10.77.0.1", far)]);
    assert_eq!(receive(&mut fabric, b).len(), 1);
    // A partition from who is behind the router leaves others there alone.
    fabric.block(a, ip(far));
    send(&mut fabric, Instant::ZERO, a, [via(B4, far), via(B4, "10.78.0.10")]);
    assert_eq!(receive(&mut fabric, b).len(), 1);
    assert_eq!(fabric.counters(a).unwrap().partitioned, 1);
    fabric.unblock(a, ip(far));
    send(&mut fabric, Instant::ZERO, a, [via(B4, far)]);
    assert_eq!(receive(&mut fabric, b).len(), 1);
}

#[test]
fn one_seed_gives_one_run() {
    let outcome = |seed: u8| {
        let mut fabric = Fabric::new(FabricConfig { seed: [seed; 32], ..FabricConfig::default() });
        let link: NetemConfig = "delay 5ms 2ms loss 10% duplicate 5% reorder 5%".parse().unwrap();
        let a = fabric.add_port(&[ip(A4)], link).unwrap();
        let b = fabric.add_port(&[ip(B4)], link).unwrap();
        for index in 0..200_u64 {
            let now = Instant::from_micros(index * 100);
            fabric.handle_timeout(now);
            send(&mut fabric, now, a, [udp(A4, B4, &index.to_be_bytes())]);
            send(&mut fabric, now, b, [tcp(B4, A4, &[index as u8; 4000], 1460)]);
        }
        let mut out = Vec::new();
        while let Some(due) = fabric.poll_timeout() {
            fabric.handle_timeout(due);
            while let Some(port) = fabric.poll_ready() {
                out.extend(receive(&mut fabric, port).iter().map(|p| (due, port, p.to_vec())));
            }
        }
        out
    };
    assert_eq!(outcome(1), outcome(1));
    assert_ne!(outcome(1), outcome(2));
}

#[test]
fn a_token_bucket_survives_clocks_that_stand_or_jump() {
    let mut bucket = unreachable::TokenBucket::default();
    assert!(bucket.try_take(Instant::FAR_FUTURE));
    assert!(bucket.try_take(Instant::ZERO));
    assert!(bucket.try_take(Instant::ZERO + Duration::from_secs(1)));
}

/// Anything a host with raw sockets could send, often to B.
fn any_packet() -> impl Strategy<Value = Packet> {
    let head = proptest::collection::vec(any::<u8>(), 0..=100);
    let payload = proptest::collection::vec(any::<u8>(), 0..3000);
    let checksum = prop::sample::select(vec![Checksum::Unverified, Checksum::Unfilled, Checksum::Verified]);
    let base = prop::sample::select(vec![
        Packet::default(),
        tcp(A4, B4, b"", 0),
        tcp(A6, B6, b"", 0),
        udp(A4, "10.77.9.9", b""),
        udp(A6, "fd77::99", b""),
        echo(A6, "2001:db8::1"),
    ]);
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (base, head, payload, any::<u16>(), checksum, changes).prop_map(
        |(base, rest, payload, gso_size, checksum, changes)| {
            let mut bytes = base.to_vec();
            bytes.extend_from_slice(&rest);
            for (at, value) in changes {
                let at = at.index(bytes.len().max(1));
                bytes.get_mut(at).into_iter().for_each(|byte| *byte = value);
            }
            let meta = Meta { gso_size, checksum, ..Meta::default() };
            let mut packet = Packet::from_bytes(&Chunk::from(bytes), meta);
            packet.payload.extend(Payload::from(Chunk::from(payload)));
            packet
        },
    )
}

proptest! {
    #[test]
    fn no_packet_does_harm(packets in proptest::collection::vec(any_packet(), 1..20)) {
        let (mut fabric, a, b) =
            two_hosts("delay 1ms 1ms loss 5% duplicate 10% reorder 10% corrupt 20% rate 1gbit");
        send(&mut fabric, Instant::ZERO, a, packets);
        for _ in 0..100_000 {
            let Some(due) = fabric.poll_timeout() else { break };
            fabric.handle_timeout(due);
        }
        prop_assert_eq!(fabric.poll_timeout(), None);
        prop_assert!(receive(&mut fabric, a).len() + receive(&mut fabric, b).len() <= 2 * Batch::CAPACITY);
    }
}
