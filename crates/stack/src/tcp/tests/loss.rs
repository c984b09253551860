//! Retransmission: fast, selective, and by timeout.

use super::*;

/// Lines of `count` segments of 1000 bytes from `first` on.
fn segments(first: u32, count: u32) -> Vec<String> {
    (0..count)
        .map(|i| {
            let start = first + i * 1000;
            alloc::format!(". {start}:{}(1000) ack 1", start + 1000)
        })
        .collect()
}

#[track_caller]
fn expect_segments(script: &mut Script, first: u32, count: u32) {
    let lines = segments(first, count);
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    script.expect(&lines);
}

/// RFC 6675: the third SACK sends the hole again, further ones let new data follow as the pipe drains.
#[test]
fn a_hole_is_sent_again_after_three_sacks() {
    let mut script = Script::with_sack();
    script.send(20_000);
    expect_segments(&mut script, 1, 10);
    script.advance(100);
    script.inject(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:2001>");
    script.inject(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:3001>");
    // RFC 3042, limited transmit.
    expect_segments(&mut script, 10_001, 2);
    script.inject(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:4001>");
    script.expect(&[". 1:1001(1000) ack 1"]);
    let info = script.connection.info(script.now);
    assert_eq!((info.snd_cwnd, info.snd_ssthresh, info.ca_state), (9_000, 7_000, CaState::Recovery));
    // RFC 6937: of ten segments that arrive, seven are replaced, none beyond `ssthresh`.
    for (sacked, sent) in [(5001, true), (6001, true), (7001, false), (8001, false), (9001, true)] {
        script.inject(&alloc::format!(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:{sacked}>"));
        assert_eq!(script.transmit().len(), usize::from(sent), "{sacked}");
    }
    script.inject(". 1:1(0) ack 10001 win 65535");
    assert_eq!(script.connection.info(script.now).snd_cwnd, 7_000);
}

#[test]
fn several_holes_are_sent_again_in_one_round_trip() {
    let mut script = Script::with_sack();
    script.send(10_000);
    expect_segments(&mut script, 1, 10);
    script.advance(100);
    script.inject(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:2001>");
    script.inject(". 1:1(0) ack 1 win 65535 <nop,nop,sack 3001:4001 1001:2001>");
    script.inject(". 1:1(0) ack 1 win 65535 <nop,nop,sack 5001:10001 3001:4001 1001:2001>");
    script.expect(&[". 1:1001(1000) ack 1", ". 2001:3001(1000) ack 1", ". 4001:5001(1000) ack 1"]);
    assert_eq!(script.connection.info(script.now).total_retrans, 3);
    script.inject(". 1:1(0) ack 10001 win 65535");
    script.expect(&[]);
    assert_eq!(script.connection.poll_timeout(), None);
}

/// RFC 6582: a partial acknowledgment sends the next hole again without waiting for duplicates.
#[test]
fn new_reno_repairs_a_hole_per_round_trip() {
    let mut script = Script::without_sack();
    script.send(10_000);
    expect_segments(&mut script, 1, 10);
    script.advance(100);
    // The first is taken for a window update: nothing had come since the handshake.
    for _ in 0..3 {
        script.inject(". 1:1(0) ack 1 win 65535");
        script.expect(&[]);
    }
    script.inject(". 1:1(0) ack 1 win 65535");
    script.expect(&[". 1:1001(1000) ack 1"]);
    for _ in 0..5 {
        script.inject(". 1:1(0) ack 1 win 65535");
    }
    script.expect(&[]);
    script.advance(100);
    script.inject(". 1:1(0) ack 3001 win 65535");
    script.expect(&[". 3001:4001(1000) ack 1"]);
    script.inject(". 1:1(0) ack 10001 win 65535");
    script.expect(&[]);
    assert_eq!(script.connection.info(script.now).snd_cwnd, 7_000);
    assert_eq!(script.connection.poll_timeout(), None);
}

/// RFC 6298 §5.5 and Karn: the timeout doubles until new data is acknowledged, and a retransmission's
/// acknowledgment measures nothing.
#[test]
fn the_timeout_backs_off() {
    // MUST-19
    let mut script = Script::with_sack();
    script.send(1000);
    script.expect(&[". 1:1001(1000) ack 1"]);
    let info = script.connection.info(script.now);
    assert_eq!(info.srtt, Some(Duration::from_millis(100)));
    // SRTT + 4 * RTTVAR = 100 + 4 * 50.
    let mut timeout = 300;
    for _ in 0..4 {
        script.silent(timeout);
        script.expect(&[". 1:1001(1000) ack 1"]);
        timeout *= 2;
    }
    script.advance(3000);
    script.inject(". 1:1(0) ack 1001 win 65535");
    assert_eq!(script.connection.info(script.now).srtt, Some(Duration::from_millis(100)));
    // RFC 6298 §5.7: only a measurement ends the back-off.
    let info = script.connection.info(script.now);
    assert_eq!((info.retransmits, info.backoff), (0, 4));
    script.send(1000);
    script.expect(&["P. 1001:2001(1000) ack 1"]);
    script.advance(100);
    script.inject(". 1:1(0) ack 2001 win 65535");
    assert_eq!(script.connection.info(script.now).backoff, 0);
}

/// RFC 9293 §3.8.3, MUST-20: after R2 the connection is given up.
#[test]
fn a_silent_peer_is_given_up() {
    let mut script = Script::established(100, "S. 0:0(0) ack 1 win 65535 <mss 1000>", |config| {
        config.retries2 = 3;
    });
    script.send(1);
    script.expect(&[". 1:2(1) ack 1"]);
    for timeout in [300, 600, 1200] {
        script.silent(timeout);
        script.expect(&[". 1:2(1) ack 1"]);
    }
    script.advance(100_000);
    assert_eq!(script.state(), State::Closed);
    assert_eq!(script.connection.take_error(), Some(Error::TimedOut));
}

/// RFC 5681 §3.1: after a timeout one segment goes out, then slow start.
#[test]
fn a_timeout_starts_slowly() {
    // MUST-19
    let mut script = Script::with_sack();
    script.send(6000);
    expect_segments(&mut script, 1, 6);
    script.silent(300);
    script.expect(&[". 1:1001(1000) ack 1"]);
    assert_eq!(script.connection.info(script.now).snd_cwnd, 1000);
    script.inject(". 1:1(0) ack 1001 win 65535");
    expect_segments(&mut script, 1001, 2);
    script.inject(". 1:1(0) ack 3001 win 65535");
    expect_segments(&mut script, 3001, 3);
    script.inject(". 1:1(0) ack 6001 win 65535");
    script.expect(&[]);
    assert_eq!(script.connection.poll_timeout(), None);
}

/// RFC 5681 §3.1: behind `ssthresh` a window of acknowledgments is worth a segment at most.
#[test]
fn behind_the_threshold_the_window_grows_slowly() {
    // MUST-19: congestion avoidance.
    let mut script = Script::with_sack();
    script.send(10_000);
    expect_segments(&mut script, 1, 10);
    script.advance(100);
    for sacked in [2001, 3001, 4001] {
        script.inject(&alloc::format!(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:{sacked}>"));
    }
    script.expect(&[". 1:1001(1000) ack 1"]);
    script.inject(". 1:1(0) ack 10001 win 65535");
    let window = |script: &Script| script.connection.info(script.now).snd_cwnd;
    let first = window(&script);
    assert!(first >= script.connection.info(script.now).snd_ssthresh);
    let mut end = 10_001;
    for _ in 0..3 {
        let before = window(&script);
        script.send(before);
        while !script.transmit().is_empty() {}
        script.advance(100);
        while end < script.connection.snd_nxt.0 {
            end += 1000;
            script.inject(&alloc::format!(". 1:1(0) ack {end} win 65535"));
        }
        assert!((before..=before + 1000).contains(&window(&script)), "{before}, then {}", window(&script));
    }
    assert!(window(&script) > first);
}

/// What the peer has sacked is not sent again after a timeout (RFC 6675 §5.1).
#[test]
fn a_timeout_spares_what_is_sacked() {
    let mut script = Script::with_sack();
    script.send(4000);
    expect_segments(&mut script, 1, 4);
    script.inject(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:2001>");
    script.advance(400);
    script.expect(&[". 1:1001(1000) ack 1"]);
    script.inject(". 1:1(0) ack 2001 win 65535");
    expect_segments(&mut script, 2001, 2);
}

#[test]
fn data_out_of_order_is_reported() {
    // SHLD-31
    let mut script = Script::with_sack();
    script.inject(". 2001:3001(1000) ack 1 win 65535");
    script.expect(&[". 1:1(0) ack 1 <nop,nop,sack 2001:3001>"]);
    script.inject(". 4001:5001(1000) ack 1 win 65535");
    script.expect(&[". 1:1(0) ack 1 <nop,nop,sack 4001:5001 2001:3001>"]);
    // RFC 5681 §4.2: filling a hole is acknowledged at once.
    script.inject(". 1:1001(1000) ack 1 win 65535");
    script.expect(&[". 1:1(0) ack 1001 <nop,nop,sack 4001:5001 2001:3001>"]);
    script.inject(". 1001:2001(1000) ack 1 win 65535");
    script.expect(&[". 1:1(0) ack 3001 <nop,nop,sack 4001:5001>"]);
    script.inject(". 3001:4001(1000) ack 1 win 65535");
    script.expect(&[". 1:1(0) ack 5001 <>"]);
    assert_eq!(script.read(9999).unwrap().to_vec(), stream(1, 5000));
}

/// RFC 2883.
#[test]
fn duplicates_are_reported() {
    let mut script = Script::with_sack();
    script.inject(". 1:1001(1000) ack 1 win 65535");
    script.inject(". 1:1001(1000) ack 1 win 65535");
    script.expect(&[". 1:1(0) ack 1001 <nop,nop,sack 1:1001>"]);
    script.inject(". 3001:5001(2000) ack 1 win 65535");
    script.inject(". 3001:4001(1000) ack 1 win 65535");
    script.expect(&[
        ". 1:1(0) ack 1001 <nop,nop,sack 3001:5001>",
        ". 1:1(0) ack 1001 <nop,nop,sack 3001:4001 3001:5001>",
    ]);
}

/// Blocks for data that was never sent, or the wrong way round, change nothing.
#[test]
fn forged_sack_blocks_are_ignored() {
    let mut script = Script::with_sack();
    script.send(3000);
    expect_segments(&mut script, 1, 3);
    for block in ["5001:9001", "2001:1001", "1:99999", "4294967000:500"] {
        script.inject(&alloc::format!(". 1:1(0) ack 1 win 65535 <nop,nop,sack {block}>"));
    }
    script.expect(&[]);
    assert_eq!(script.connection.info(script.now).sacked, 0);
}
