//! Closing (RFC 9293 §3.6).

use super::*;

#[test]
fn closing_first_ends_in_time_wait() {
    let mut script = Script::without_sack();
    script.close();
    script.expect(&["F. 1:1(0) ack 1"]);
    assert_eq!(script.state(), State::FinWait1);
    script.inject(". 1:1(0) ack 2 win 65535");
    assert_eq!(script.state(), State::FinWait2);
    script.inject("F. 1:1(0) ack 2 win 65535");
    script.expect(&[". 2:2(0) ack 2"]);
    assert_eq!(script.state(), State::TimeWait);
    let seed = script.connection.time_wait().unwrap();
    assert_eq!((seed.snd_nxt, seed.rcv_nxt), (SeqNumber(2), SeqNumber(2)));
}

#[test]
fn closing_second_ends_at_once() {
    let mut script = Script::without_sack();
    script.inject("F. 1:1(0) ack 1 win 65535");
    script.expect(&[". 1:1(0) ack 2"]);
    assert_eq!(script.state(), State::CloseWait);
    assert!(script.read(10).unwrap().is_empty());
    script.close();
    script.expect(&["F. 1:1(0) ack 2"]);
    assert_eq!(script.state(), State::LastAck);
    script.inject(". 2:2(0) ack 2 win 65535");
    assert_eq!(script.state(), State::Closed);
    assert_eq!(script.connection.poll_timeout(), None);
}

#[test]
fn both_close() {
    let mut script = Script::without_sack();
    script.close();
    script.expect(&["F. 1:1(0) ack 1"]);
    script.inject("F. 1:1(0) ack 1 win 65535");
    script.expect(&[". 2:2(0) ack 2"]);
    assert_eq!(script.state(), State::Closing);
    script.inject(". 2:2(0) ack 2 win 65535");
    assert_eq!(script.state(), State::TimeWait);
}

/// Data and FIN in one segment, both ways, acknowledged together.
#[test]
fn the_last_data_carries_the_fin() {
    let mut script = Script::without_sack();
    script.send(10);
    script.shutdown();
    script.expect(&["F. 1:11(10) ack 1"]);
    script.inject("F. 1:21(20) ack 12 win 65535");
    script.expect(&[". 12:12(0) ack 22"]);
    assert_eq!(script.state(), State::TimeWait);
    assert_eq!(script.read(99).unwrap().to_vec(), stream(1, 20));
    assert!(script.read(99).unwrap().is_empty());
}

/// A half-closed connection still receives.
#[test]
fn half_close() {
    let mut script = Script::without_sack();
    script.shutdown();
    script.expect(&["F. 1:1(0) ack 1"]);
    script.inject(". 1:1(0) ack 2 win 65535");
    for i in 0..10 {
        script.inject(&alloc::format!(". {}:{}(100) ack 2 win 65535", 1 + i * 100, 101 + i * 100));
    }
    script.transmit();
    script.advance(300_000);
    script.transmit();
    assert_eq!(script.state(), State::FinWait2);
    assert_eq!(script.read(9999).unwrap().to_vec(), stream(1, 1000));
}

/// A FIN that arrives before the data it follows waits for it.
#[test]
fn a_fin_out_of_order_waits() {
    let mut script = Script::with_sack();
    script.inject("F. 101:201(100) ack 1 win 65535");
    script.expect(&[". 1:1(0) ack 1 <nop,nop,sack 101:201>"]);
    assert_eq!(script.state(), State::Established);
    script.inject(". 1:101(100) ack 1 win 65535");
    script.expect(&[". 1:1(0) ack 202 <>"]);
    assert_eq!(script.state(), State::CloseWait);
    assert_eq!(script.read(999).unwrap().to_vec(), stream(1, 200));
}

/// A lost FIN is sent again.
#[test]
fn a_fin_is_retransmitted() {
    let mut script = Script::without_sack();
    script.send(10);
    script.expect(&[". 1:11(10) ack 1"]);
    script.shutdown();
    script.expect(&["F. 11:11(0) ack 1"]);
    script.inject(". 1:1(0) ack 11 win 65535");
    script.advance(400);
    script.expect(&["F. 11:11(0) ack 1"]);
    script.inject(". 1:1(0) ack 12 win 65535");
    assert_eq!(script.state(), State::FinWait2);
}

/// SHLD-3: closing with unread data resets, and so does data that comes after close.
#[test]
fn what_nobody_reads_is_answered_with_a_reset() {
    let mut script = Script::without_sack();
    script.inject(". 1:11(10) ack 1 win 65535");
    script.close();
    script.expect(&["R. 1:1(0) ack 11"]);
    assert_eq!(script.state(), State::Closed);

    let mut script = Script::without_sack();
    script.close();
    script.expect(&["F. 1:1(0) ack 1"]);
    script.inject(". 1:11(10) ack 2 win 65535");
    assert_eq!(script.transmit().iter().filter(|line| line.flags.rst()).count(), 1);
    assert_eq!(script.state(), State::Closed);
}

/// The peer's FIN again in TIME-WAIT is acknowledged again.
#[test]
fn time_wait_answers_a_repeated_fin() {
    let mut script = Script::without_sack();
    script.shutdown();
    script.expect(&["F. 1:1(0) ack 1"]);
    script.inject("F. 1:1(0) ack 2 win 65535");
    script.expect(&[". 2:2(0) ack 2"]);
    script.advance(30_000);
    script.inject("F. 1:1(0) ack 2 win 65535");
    script.expect(&[". 2:2(0) ack 2"]);
    script.advance(59_999);
    assert_eq!(script.state(), State::TimeWait);
    script.advance(1);
    assert_eq!(script.state(), State::Closed);
}
