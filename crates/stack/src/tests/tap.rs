use super::*;
use crate::tap::Tap;
use alloc::string::{String, ToString};
use alloc::vec;
use sockeye_wire::PacketLine;

/// One connection of a host to itself that carries `len` bytes and is closed.
fn talk_to_itself(stack: &mut Stack, now: Instant, len: usize) {
    let to = addr("127.0.0.1:80");
    let listener = stream(stack, to);
    stack.bind(listener, to).unwrap();
    stack.listen(now, listener, 1).unwrap();
    let client = stream(stack, to);
    assert_eq!(stack.connect(now, client, to), Err(Error::InProgress));
    let (server, _) = stack.accept(now, listener).unwrap();
    let (data, mut sent) = (vec![9; len], 0);
    while sent < len {
        sent += send(stack, now, client, &data[sent..]).unwrap();
        while recv(stack, now, server).is_ok_and(|data| !data.is_empty()) {}
    }
    for id in [client, server, listener] {
        stack.close(now, id).unwrap();
    }
}

fn tapped(stack: &mut Stack) -> Vec<Packet> {
    core::iter::from_fn(|| stack.poll_tap()).collect()
}

/// The control bits of a packet, as packet scripts write them.
fn flags(packet: &Packet) -> String {
    let line = PacketLine::from_head(&packet.head, packet.payload.len()).unwrap();
    line.without_endpoints().to_string().split(' ').next().unwrap().to_string()
}

#[test]
fn a_tap_shows_a_connection_from_its_first_packet_to_its_last() {
    let (mut stack, now) = (lonely(), Instant::from_millis(5));
    stack.set_loopback_tap(true);
    let sent_before = stack.counters()[Counter::IpOutRequests];
    talk_to_itself(&mut stack, now, 100_000);
    let packets = tapped(&mut stack);
    assert_eq!(packets.len() as u64, stack.counters()[Counter::IpOutRequests] - sent_before, "each once");
    let shown: Vec<String> = packets.iter().map(flags).collect();
    assert_eq!(shown[..3], ["S", "S.", "."]);
    assert_eq!(shown.iter().filter(|flags| flags.contains('F')).count(), 2);
    assert_eq!(packets.iter().map(|packet| packet.payload.len()).sum::<usize>(), 100_000);
    assert!(packets.iter().all(|packet| packet.meta.received_at == now && packet.len() <= 65_535));
    assert_eq!((stack.poll_tap().is_none(), stack.counters()[Counter::CaptureMissed]), (true, 0));
}

#[test]
fn without_a_tap_nothing_is_kept() {
    let mut stack = lonely();
    talk_to_itself(&mut stack, Instant::from_millis(5), 1000);
    assert!(stack.io.tap.is_none() && stack.poll_tap().is_none());
    stack.set_loopback_tap(true);
    assert!(stack.poll_tap().is_none(), "what passed before is gone");
    let out = datagram(&mut stack, "127.0.0.1:9");
    stack
        .send_to(
            Instant::ZERO,
            out,
            Chunk::from_static(b"x").into(),
            Some(addr("127.0.0.1:9")),
            SendFlags::default(),
        )
        .unwrap();
    stack.set_loopback_tap(true);
    assert_eq!(tapped(&mut stack).len(), 1, "on twice is on");
    stack.set_loopback_tap(false);
    assert!(stack.io.tap.is_none() && stack.poll_tap().is_none());
}

#[test]
fn a_tap_that_nobody_reads_stays_bounded() {
    let (mut stack, now) = (lonely(), Instant::from_millis(5));
    stack.set_loopback_tap(true);
    talk_to_itself(&mut stack, now, Tap::LIMIT + (1 << 20));
    let missed = stack.counters()[Counter::CaptureMissed];
    assert!(missed > 0);
    let (packets, sent) = (tapped(&mut stack), stack.counters()[Counter::IpOutRequests]);
    assert_eq!(packets.len() as u64 + missed, sent);
    let cost: usize = packets.iter().map(|packet| size_of::<Packet>() + packet.payload.len()).sum();
    assert!(cost <= Tap::LIMIT && cost > Tap::LIMIT - (1 << 17), "{cost}");
    // Room again.
    let out = datagram(&mut stack, "127.0.0.1:9");
    stack
        .send_to(now, out, Chunk::from_static(b"x").into(), Some(addr("127.0.0.1:9")), SendFlags::default())
        .unwrap();
    assert_eq!((tapped(&mut stack).len(), stack.counters()[Counter::CaptureMissed]), (1, missed));
}
