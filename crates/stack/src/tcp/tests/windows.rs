//! Windows, small segments and delayed acknowledgments.

use super::*;

/// RFC 9293 §3.8.6.1, MUST-36: a closed window is probed, ever more slowly, and never given up (MUST-37)
/// while the peer answers.
#[test]
fn a_closed_window_is_probed() {
    let mut script = Script::without_sack();
    script.inject(". 1:1(0) ack 1 win 0");
    script.send(500);
    script.expect(&[]);
    let mut timeout = 300;
    for _ in 0..6 {
        script.silent(timeout);
        let probes = script.transmit();
        assert_eq!(probes.len(), 1, "{probes:?}");
        assert!(probes[0].len <= 1);
        script.inject(". 1:1(0) ack 1 win 0");
        timeout *= 2;
    }
    script.inject(". 1:1(0) ack 1 win 2000");
    // The probe may have had a byte of its own, which goes first.
    let sent = script.transmit();
    assert_eq!(sent.last().map(|line| line.seq + line.len), Some(501), "{sent:?}");
}

/// RFC 9293 §3.8.6.2.1, MUST-38: no small segment only because the window is small.
#[test]
fn a_small_window_is_not_filled() {
    let mut script = Script::without_sack();
    script.inject(". 1:1(0) ack 1 win 10000");
    script.send(3000);
    script.expect(&[". 1:1001(1000) ack 1", ". 1001:2001(1000) ack 1", ". 2001:3001(1000) ack 1"]);
    script.send(3000);
    script.inject(". 1:1(0) ack 3001 win 300");
    script.expect(&[]);
    script.inject(". 1:1(0) ack 3001 win 1300");
    script.expect(&[". 3001:4001(1000) ack 1"]);
}

/// The override timer: what the window lets through goes out in the end.
#[test]
fn a_small_window_is_used_after_a_while() {
    let mut script = Script::without_sack();
    script.send(1500);
    script.inject(". 1:1(0) ack 1 win 300");
    script.expect(&[]);
    script.advance(10_000);
    assert!(!script.transmit().is_empty());
}

/// A window that shrinks below what is in flight (RFC 9293 §3.8.6, MUST-34).
#[test]
fn a_shrunk_window_is_survived() {
    let mut script = Script::without_sack();
    script.send(4000);
    assert_eq!(script.transmit().len(), 4);
    script.inject(". 1:1(0) ack 1001 win 1000");
    script.send(1000);
    script.expect(&[]);
    script.inject(". 1:1(0) ack 4001 win 1000");
    script.expect(&[". 4001:5001(1000) ack 1"]);
}

/// RFC 9293 §3.10.7.4: acknowledgments have the sequence number SND.NXT, also where the peer has taken back the window
/// for what is in flight. It may have got that all the same, and would then take them for old ones: when both ends have
/// taken their windows back, neither would learn what the other has received.
#[test]
fn a_shrunk_window_moves_no_acknowledgment_back() {
    let mut script = Script::without_sack();
    script.send(4000);
    assert_eq!(script.transmit().len(), 4);
    script.inject(". 1:1(0) ack 1001 win 0");
    script.inject("P. 1:2001(2000) ack 1001 win 0");
    script.expect(&[". 4001:4001(0) ack 2001"]);
}

/// A peer that is short of memory takes one segment after each timeout, refuses the next ones, and opens its window
/// again: that brings them again, not the timeout after the next.
#[test]
fn a_window_that_opens_again_brings_what_was_lost() {
    let mut script = Script::without_sack();
    script.send(6000);
    assert_eq!(script.transmit().len(), 6);
    script.advance(1100);
    script.expect(&[". 1:1001(1000) ack 1"]);
    script.inject(". 1:1(0) ack 1001 win 6000");
    script.expect(&[". 1001:2001(1000) ack 1", ". 2001:3001(1000) ack 1"]);
    script.inject(". 1:1(0) ack 1001 win 0");
    script.expect(&[]);
    script.inject(". 1:1(0) ack 1001 win 6000");
    script.expect(&[". 1001:2001(1000) ack 1", ". 2001:3001(1000) ack 1"]);
}

/// RFC 9293 §3.8.6.2.2, MUST-39: the window opens in large steps only.
#[test]
fn the_receiver_does_not_open_a_silly_window() {
    let mut script = Script::established(100, "S. 0:0(0) ack 1 win 65535 <mss 1000>", |config| {
        config.recv_buffer.default = 16_000;
        config.recv_buffer.max = 16_000;
    });
    let mut seq = 1;
    let mut last = None;
    while last != Some(0) {
        script.inject(&alloc::format!(". {seq}:{}(1000) ack 1 win 65535", seq + 1000));
        seq += 1000;
        assert!(seq < 10_000);
        script.advance(40);
        last = script.transmit().pop().map_or(last, |ack| ack.window);
    }
    script.read(100).unwrap();
    script.expect(&[]);
    script.read(400).unwrap();
    script.expect(&[]);
    script.read(9000).unwrap();
    let update = script.transmit();
    assert_eq!(update.len(), 1);
    assert!(update[0].window.unwrap() >= 7000);
}

/// Data that ends beyond the window is refused while other data waits to be read; with nothing in its way
/// it is taken, as the kernel does.
#[test]
fn data_beyond_the_window_is_refused() {
    let mut script = Script::established(100, "S. 0:0(0) ack 1 win 65535 <mss 1000>", |config| {
        config.recv_buffer.default = 8000;
        config.recv_buffer.max = 8000;
    });
    script.inject(". 1:1001(1000) ack 1 win 65535");
    script.transmit();
    script.inject(". 1001:6001(5000) ack 1 win 65535");
    script.expect(&[". 1:1(0) ack 1001"]);
    let mut seq = 1001;
    while script.connection.rcv_wnd() > 0 {
        script.inject(&alloc::format!(". {seq}:{}(500) ack 1 win 65535", seq + 500));
        seq += 500;
        assert!(seq < 6000);
        script.advance(40);
        script.transmit();
    }
    script.inject(&alloc::format!(". {seq}:{}(500) ack 1 win 65535", seq + 500));
    script.expect(&[alloc::format!(". 1:1(0) ack {seq} win 0").as_str()]);
    assert_eq!(script.read(9999).unwrap().to_vec(), stream(1, seq as usize - 1));
}

/// RFC 9293 §3.7.4, SHLD-7: one small segment in flight.
#[test]
fn nagle_holds_small_segments_back() {
    let mut script = Script::without_sack();
    script.send(10);
    script.expect(&[". 1:11(10) ack 1"]);
    script.send(20);
    script.send(30);
    script.expect(&[]);
    script.inject(". 1:1(0) ack 11 win 65535");
    script.expect(&[". 11:61(50) ack 1"]);
    script.send(1000);
    script.expect(&[". 61:1061(1000) ack 1"]);
}

/// MUST-17: it can be turned off.
#[test]
fn no_delay_sends_at_once() {
    let mut script = Script::without_sack();
    script.settings.no_delay = true;
    script.send(10);
    script.expect(&[". 1:11(10) ack 1"]);
    script.send(20);
    script.expect(&[". 11:31(20) ack 1"]);
}

/// RFC 9293 §3.8.6.3: every second segment at once (SHLD-19), a single one within half a second (MUST-40).
#[test]
fn acknowledgments_are_delayed() {
    let mut script = Script::without_sack();
    script.inject(". 1:1001(1000) ack 1 win 65535");
    script.expect(&[]);
    script.silent(40);
    script.expect(&[". 1:1(0) ack 1001"]);
    // Nothing was there to carry it, so the next are acknowledged at once, until the program answers.
    script.inject(". 1001:2001(1000) ack 1 win 65535");
    script.expect(&[". 1:1(0) ack 2001"]);
    script.send(7);
    script.expect(&[". 1:8(7) ack 2001"]);
    script.inject(". 2001:3001(1000) ack 8 win 65535");
    script.expect(&[]);
    script.inject(". 3001:4001(1000) ack 8 win 65535");
    script.expect(&[". 8:8(0) ack 4001"]);
    // Data carries the acknowledgment.
    script.inject(". 4001:4101(100) ack 8 win 65535");
    script.send(7);
    script.expect(&[". 8:15(7) ack 4101"]);
    script.inject(". 4101:4101(0) ack 15 win 65535");
    script.silent(10_000);
    script.expect(&[]);
}

/// RFC 7323 §5: a segment with an old timestamp is dropped and answered.
#[test]
fn old_timestamps_are_refused() {
    let syn_ack = "S. 0:0(0) ack 1 win 65535 <mss 1000,TS val 500 ecr 1000>";
    let mut script = Script::established(100, syn_ack, |config| config.timestamps = true);
    script.inject(". 1:101(100) ack 1 win 65535 <nop,nop,TS val 600 ecr 1100>");
    script.advance(40);
    script.expect(&[". 1:1(0) ack 101 <nop,nop,TS val 1140 ecr 600>"]);
    script.inject(". 101:201(100) ack 1 win 65535 <nop,nop,TS val 598 ecr 1100>");
    script.expect(&[". 1:1(0) ack 101 <nop,nop,TS val 1140 ecr 600>"]);
    assert_eq!(script.connection.recv_queued(), 100);
    // Out of order: TS.Recent stays that of the last in-order segment.
    script.inject(". 201:301(100) ack 1 win 65535 <nop,nop,TS val 700 ecr 1100>");
    script.expect(&[". 1:1(0) ack 101 <nop,nop,TS val 1140 ecr 600>"]);
    script.inject(". 101:201(100) ack 1 win 65535 <nop,nop,TS val 650 ecr 1100>");
    script.expect(&[". 1:1(0) ack 301 <nop,nop,TS val 1140 ecr 650>"]);
}

/// RFC 7323 §2: windows of a SYN are not scaled, all others are.
#[test]
fn windows_are_scaled() {
    let syn_ack = "S. 0:0(0) ack 1 win 1000 <mss 1000,nop,wscale 3>";
    let mut script = Script::established(100, syn_ack, |config| config.window_scaling = true);
    assert_eq!(script.connection.info(script.now).snd_wnd, 1000);
    script.inject(". 1:1(0) ack 1 win 1000");
    assert_eq!(script.connection.info(script.now).snd_wnd, 8000);
}
