//! What peers and strangers may try: each costs them more than the host, in memory, time and packets.

use super::super::solo::Solo;
use super::super::*;
use crate::{Counter, SocketOption};
use alloc::format;
use alloc::string::String;
use core::net::Ipv4Addr;
use sockeye_wire::{TcpFlags, TcpHeader, TcpOptions};

fn count(lines: &[String], start: &str) -> usize {
    lines.iter().filter(|line| line.starts_with(start)).count()
}

/// SYNs of hosts that don't exist: a bounded number of records, no memory, and it all goes away.
#[test]
fn a_syn_flood_from_spoofed_sources() {
    let (mut solo, listener) = Solo::listening(64, |_| {});
    for i in 0..20_000_u32 {
        solo.peer = Ipv4Addr::new(10, 0, 0, 3 + (i % 250) as u8);
        solo.peer_port = 1024 + (i / 250) as u16;
        solo.inject(&format!("S {i}:{i}(0) win 1000 <mss 1460,sackOK,TS val {} ecr 0>", i + 1));
        assert!(solo.stack.io.half_open.len() <= 65);
    }
    assert_eq!((solo.stack.memory_used(), solo.stack.connections.len()), (0, 0));
    assert!(solo.stack.counters()[Counter::SyncookiesSent] > 19_000);
    // A stranger's guess at a cookie opens nothing.
    solo.iss = None;
    for guess in 0..2000_u32 {
        let ack = guess.wrapping_mul(2_654_435_761);
        solo.inject(&format!(". 1:1(0) ack {ack} win 1000"));
    }
    assert_eq!(solo.stack.accept(solo.now, listener), Err(Error::WouldBlock));
    solo.pass(Duration::from_secs(200));
    assert_eq!((solo.stack.io.half_open.len(), solo.stack.poll_timeout()), (0, None));
}

/// A listener whose queue is full keeps what is half-open bounded too, and answers no new SYN.
#[test]
fn a_listener_whose_queue_is_full() {
    let (mut solo, listener) = Solo::listening(1, |_| {});
    for port in 1000..1200 {
        (solo.peer_port, solo.iss) = (port, None);
        solo.inject("S 0:0(0) win 1000 <mss 1000>");
        solo.inject(". 1:1(0) ack 1 win 1000");
    }
    assert_eq!(solo.stack.connections.len(), 2);
    assert!(solo.stack.io.half_open.len() <= 2);
    assert!(solo.stack.counters()[Counter::ListenOverflows] > 0);
    let accepted = (0..10).take_while(|_| solo.stack.accept(solo.now, listener).is_ok()).count();
    assert_eq!(accepted, 2);
}

/// Resets, SYNs and acknowledgments with guessed numbers: two answers a second, whatever comes.
#[test]
fn guesses_are_answered_twice_a_second() {
    let (mut solo, server) = Solo::accepted(|_| {});
    let mut answers = 0;
    for i in 0..4000_u32 {
        let line = match i % 4 {
            0 => format!("R {0}:{0}(0) win 0", 2 + i),
            1 => format!("S {i}:{i}(0) win 1000"),
            2 => format!(". 1:1(0) ack {} win 1000", 5000 + i),
            _ => String::from(". 900000:900000(0) ack 1 win 1000"),
        };
        answers += solo.inject(&line).len();
        solo.pass(Duration::from_millis(1));
    }
    assert_eq!(state(&solo.stack, server), TcpState::Established);
    assert_eq!(answers, 8);
}

/// What is acknowledged before it was sent grows no window (optimistic acknowledgments).
#[test]
fn optimistic_acknowledgments_gain_nothing() {
    let (mut solo, server) = Solo::accepted(|_| {});
    let sent = solo.send(server, &[1; 5000]);
    assert!(!sent.is_empty());
    let before = solo.stack.tcp_info(solo.now, server).unwrap();
    for ack in (6000..60_000_u32).step_by(1000) {
        solo.inject(&format!(". 1:1(0) ack {ack} win 50000"));
    }
    let after = solo.stack.tcp_info(solo.now, server).unwrap();
    assert_eq!((after.snd_cwnd, after.unacked), (before.snd_cwnd, before.unacked));
}

/// A million islands of one octet each: what they may pin is bounded, and the connection still works.
#[test]
fn islands_are_capped() {
    let (mut solo, server) = Solo::accepted(|config| config.memory = 4 << 20);
    for i in 0..30_000_u32 {
        let seq = 3 + 2 * i;
        solo.inject(&format!(". {seq}:{}(1) ack 1 win 50000", seq + 1));
        assert!(solo.stack.memory_used() <= 4 << 20);
    }
    solo.inject(". 1:1001(1000) ack 1 win 50000");
    assert!(!recv(&mut solo.stack, solo.now, server).unwrap().is_empty());
}

/// Segments may be no smaller than the headers make sense of, whatever the peer's option or ICMP says.
#[test]
fn tiny_segments_are_refused() {
    let (mut solo, listener) = Solo::listening(5, |_| {});
    solo.inject("S 0:0(0) win 50000 <mss 1>");
    solo.inject(". 1:1(0) ack 1 win 50000");
    let (server, _) = solo.stack.accept(solo.now, listener).unwrap();
    assert_eq!(solo.stack.tcp_info(solo.now, server).unwrap().snd_mss, 48);
    let sent = solo.send(server, &[1; 10_000]);
    assert!(sent.len() <= 10, "{}", sent.len());
}

/// A peer that closes its window for good can't keep a connection that nobody owns any more.
#[test]
fn a_closed_window_holds_no_orphan_for_ever() {
    let (mut solo, server) = Solo::accepted(|_| {});
    solo.inject(". 1:1(0) ack 1 win 0");
    solo.send(server, &[1; 5000]);
    solo.close(server);
    let mut probes = 0;
    for _ in 0..4000 {
        let sent = solo.pass(Duration::from_secs(1));
        probes += sent.len();
        if !sent.is_empty() {
            solo.inject(". 1:1(0) ack 1 win 0");
        }
    }
    assert!((2..=20).contains(&probes), "{probes}");
    assert_eq!((solo.stack.connections.len(), solo.stack.memory_used()), (0, 0));
}

/// Acknowledgments of nothing new: no answer, nothing sent, nothing kept.
#[test]
fn a_flood_of_acknowledgments_changes_nothing() {
    let (mut solo, server) = Solo::accepted(|_| {});
    let mut sent = 0;
    for i in 0..10_000_u32 {
        sent += solo.inject(&format!(". 1:1(0) ack 1 win {}", 1 + i % 50_000)).len();
    }
    assert_eq!((sent, state(&solo.stack, server)), (0, TcpState::Established));
    assert_eq!(solo.stack.memory_used(), 0);
}

/// Old data over and over: one answer each at most, and never more memory.
#[test]
fn a_flood_of_duplicates_is_answered_one_for_one() {
    let (mut solo, server) = Solo::accepted(|_| {});
    solo.inject(". 1:1001(1000) ack 1 win 50000");
    recv(&mut solo.stack, solo.now, server).unwrap();
    solo.sent();
    for _ in 0..2000 {
        assert!(solo.inject(". 1:1001(1000) ack 1 win 50000").len() <= 1);
    }
    assert_eq!(solo.stack.memory_used(), 0);
}

/// In TIME-WAIT too an attacker's segments are answered twice a second, and a reset doesn't end it (RFC 1337).
#[test]
fn time_wait_is_not_talked_out_of_waiting() {
    let (mut solo, server) = Solo::accepted(|_| {});
    solo.close(server);
    solo.inject("F. 1:1(0) ack 2 win 50000");
    assert_eq!(solo.stack.io.time_wait.len(), 1);
    let mut answers = 0;
    for _ in 0..1000 {
        answers += solo.inject(". 90000:90000(0) ack 2 win 1000").len();
        answers += solo.inject("R 2:2(0) win 0").len();
        solo.pass(Duration::from_millis(1));
    }
    assert_eq!((answers, solo.stack.io.time_wait.len()), (2, 1));
}

/// A connection to a port whose last connection is in TIME-WAIT: RFC 6191, for whoever may.
#[test]
fn an_outgoing_connection_may_end_time_wait() {
    for (reuse, bound, allowed) in [
        (crate::TimeWaitReuse::Never, false, false),
        (crate::TimeWaitReuse::Loopback, false, false),
        (crate::TimeWaitReuse::Always, false, true),
        (crate::TimeWaitReuse::Never, true, true),
    ] {
        let mut config = Config { local_ports: 40_000..=40_000, ..Config::default() };
        config.tcp.tw_reuse = reuse;
        let mut pair = Pair::with(&config, &NicConfig::memory("eth0", 1500));
        let (client, listener, server) = pair.connected("10.0.0.2:80");
        let local = pair.a.local_addr(client).unwrap();
        pair.a.close(pair.now, client).unwrap();
        pair.cable();
        pair.b.close(pair.now, server).unwrap();
        pair.cable();
        assert_eq!(pair.a.io.time_wait.len(), 1);
        pair.pass(Duration::from_millis(1500));
        let again = stream(&mut pair.a, local);
        if bound {
            pair.a.set_option(pair.now, again, SocketOption::ReuseAddr(true)).unwrap();
            assert_eq!(pair.a.bind(again, local), Err(Error::AddrInUse), "the first had not allowed it");
            continue;
        }
        let result = pair.a.connect(pair.now, again, addr("10.0.0.2:80"));
        let expected = if allowed { Error::InProgress } else { Error::AddrNotAvailable };
        assert_eq!(result, Err(expected), "{reuse:?}");
        if allowed {
            pair.cable();
            assert_eq!(state(&pair.a, again), TcpState::Established);
            assert!(pair.b.accept(pair.now, listener).is_ok());
        }
    }
}

fn icmp(solo: &Solo, code: u8, mtu: u16, seq: u32, quoted_len: u16) -> Vec<u8> {
    let mut bytes = alloc::vec![0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 99, 10, 0, 0, 2];
    bytes.extend([3, code, 0, 0, 0, 0, (mtu >> 8) as u8, mtu as u8]);
    bytes.extend([0x45, 0, (quoted_len >> 8) as u8, quoted_len as u8, 0, 0, 0x40, 0, 64, 6, 0, 0]);
    bytes.extend([10, 0, 0, 2]);
    bytes.extend(solo.peer.octets());
    bytes.extend(solo.port.to_be_bytes());
    bytes.extend(solo.peer_port.to_be_bytes());
    bytes.extend(solo.iss.unwrap_or(0).wrapping_add(seq).to_be_bytes());
    bytes
}

/// RFC 5927: only who knows what is in flight is believed; no MTU falls below the least, and each message
/// brings about one retransmission at most.
#[test]
fn icmp_is_believed_of_what_is_in_flight_only() {
    let (mut solo, server) = Solo::accepted(|_| {});
    solo.send(server, &[1; 900]);
    for seq in [0, 901, 70_000] {
        let message = icmp(&solo, 4, 600, seq, 940);
        assert_eq!(solo.deliver(message), Vec::<String>::new());
        assert_eq!(solo.stack.tcp_info(solo.now, server).unwrap().snd_mss, 1000);
    }
    let message = icmp(&solo, 4, 68, 1, 940);
    let again = solo.deliver(message);
    assert!(again.len() <= 2, "{again:?}");
    assert_eq!(solo.stack.tcp_info(solo.now, server).unwrap().snd_mss, 512);
    for _ in 0..1000 {
        let message = icmp(&solo, 4, 68, 1, 940);
        assert_eq!(solo.deliver(message), Vec::<String>::new());
    }
}

/// A router of before RFC 1191 says no MTU: the next plateau below what was too long is tried.
#[test]
fn an_mtu_of_zero_means_the_next_plateau() {
    let (mut solo, server) = Solo::accepted(|_| {});
    solo.send(server, &[1; 3000]);
    let message = icmp(&solo, 4, 0, 1, 1040);
    solo.deliver(message);
    assert_eq!(solo.stack.tcp_info(solo.now, server).unwrap().snd_mss, 1006 - 40);
}

/// An error of the network ends a half-open connection, but no open one: its socket only hears of it.
#[test]
fn unreachable_peers() {
    let (mut solo, _) = Solo::listening(5, |_| {});
    solo.inject("S 0:0(0) win 50000 <mss 1000>");
    for (code, seq, left) in [(1, 1, 1), (3, 0, 1), (1, 0, 0)] {
        let message = icmp(&solo, code, 0, seq, 44);
        solo.deliver(message);
        assert_eq!(solo.stack.io.half_open.len(), left, "{code} {seq}");
    }
    let (mut solo, server) = Solo::accepted(|_| {});
    solo.send(server, b"hello");
    let message = icmp(&solo, 1, 0, 1, 45);
    solo.deliver(message);
    assert_eq!(state(&solo.stack, server), TcpState::Established);
    assert_eq!(solo.stack.take_error(server), Some(Error::HostUnreachable));
    assert_eq!(solo.stack.take_error(server), None);
}

/// Nobody's segments: each is answered as RFC 9293 §3.10.7.1 says, and no reset by a reset.
#[test]
fn a_closed_port_answers_with_resets_only() {
    let mut solo = Solo::new(|_| {});
    for flags in 0..64_u16 {
        let header = TcpHeader {
            src_port: 1000,
            dst_port: 81,
            seq: 17,
            ack: 34,
            flags: TcpFlags::from_bits(flags),
            window: 100,
            options: TcpOptions::default(),
            ..TcpHeader::default()
        };
        solo.iss = None;
        let sent = solo.send_segment(&header, 0);
        let rst = flags & TcpFlags::RST.bits() != 0;
        assert_eq!(sent.len(), usize::from(!rst), "{flags}");
        assert_eq!(count(&sent, "R"), sent.len());
    }
}

/// Orphans are counted: beyond the limit a close is a reset.
#[test]
fn too_many_orphans_are_reset() {
    let (mut solo, listener) = Solo::listening(50, |config| config.tcp.max_orphans = 3);
    let mut resets = 0;
    for port in 1000..1010 {
        (solo.peer_port, solo.iss) = (port, None);
        solo.inject("S 0:0(0) win 50000 <mss 1000>");
        solo.inject(". 1:1(0) ack 1 win 50000");
        let (server, _) = solo.stack.accept(solo.now, listener).unwrap();
        resets += count(&solo.close(server), "R");
    }
    assert_eq!((resets, solo.stack.io.orphans), (7, 3));
}
