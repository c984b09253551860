//! Sending: sizes of segments, PSH, Nagle, corks, super-segments, idle restart.

use super::*;

const MORE: SendFlags = SendFlags { more: true, oob: false, eor: false, dont_route: false };
const EOR: SendFlags = SendFlags { more: false, oob: false, eor: true, dont_route: false };

#[test]
fn the_last_segment_of_the_buffered_data_is_pushed() {
    // MUST-61, SHLD-28
    let mut t = Test::established();
    t.write(2500);
    t.expect(". 1:1001(1000) ack 1");
    t.expect(". 1001:2001(1000) ack 1");
    t.expect("P. 2001:2501(500) ack 1");
}

#[test]
fn nagle_lets_one_small_segment_out_at_a_time() {
    // SHLD-7
    let mut t = Test::established();
    t.write(10);
    t.expect("P. 1:11(10) ack 1");
    t.write(10);
    t.write(10);
    t.expect_nothing();
    t.inject(". 1:1(0) ack 11");
    t.expect("P. 11:31(20) ack 1");
}

#[test]
fn sends_in_a_row_share_a_segment_and_its_push() {
    // SHLD-27
    let mut t = Test::established();
    t.write(1);
    t.expect("P. 1:2(1) ack 1");
    t.write(300);
    t.write(300);
    t.inject(". 1:1(0) ack 2");
    t.expect("P. 2:602(600) ack 1");
    t.expect_nothing();
}

#[test]
fn records_are_in_segments_of_their_own() {
    let mut t = Test::established();
    t.write(10);
    t.expect("P. 1:11(10) ack 1");
    assert_eq!(t.try_write(300, EOR), Ok(300));
    assert_eq!(t.try_write(200, EOR), Ok(200));
    t.write(1500);
    // As the kernel: Nagle's algorithm holds back the last segment of all only.
    t.expect("P. 11:311(300) ack 1");
    t.expect("P. 311:511(200) ack 1");
    t.expect(". 511:1511(1000) ack 1");
    t.expect_nothing();
    t.inject(". 1:1(0) ack 1511");
    t.expect("P. 1511:2011(500) ack 1");
}

#[test]
fn nagle_can_be_switched_off() {
    // MUST-17
    let mut t = Test::established_with(|settings| settings.no_delay = true);
    t.write(10);
    t.expect("P. 1:11(10) ack 1");
    t.write(10);
    t.expect("P. 11:21(10) ack 1");
}

/// As the kernel: the window is so many segments, however small.
#[test]
fn small_segments_fill_the_window_too() {
    let mut t = Test::established_with(|settings| settings.no_delay = true);
    let mut sent = 0;
    for _ in 0..1000 {
        t.write(1);
        sent += usize::from(t.poll().is_some());
    }
    assert_eq!(sent, 10);
    t.inject(". 1:1(0) ack 11");
    t.expect("P. 11:1001(990) ack 1");
}

#[test]
fn a_cork_holds_small_segments_for_a_while() {
    // MUST-60
    let mut t = Test::established_with(|settings| settings.cork = true);
    t.write(1500);
    t.expect(". 1:1001(1000) ack 1");
    t.expect_nothing();
    t.inject(". 1:1(0) ack 1001");
    t.expect_nothing();
    t.fire(200);
    t.expect("P. 1001:1501(500) ack 1");
    t.settings.cork = false;
    t.write(10);
    t.expect_nothing();
    t.inject(". 1:1(0) ack 1501");
    t.expect("P. 1501:1511(10) ack 1");
}

#[test]
fn msg_more_holds_until_the_next_send() {
    let mut t = Test::established();
    assert_eq!(t.try_write(100, MORE), Ok(100));
    t.expect_nothing();
    t.write(100);
    t.expect("P. 1:201(200) ack 1");
}

#[test]
fn a_record_ends_its_segment() {
    let mut t = Test::established();
    t.max_segment = 65_000;
    t.config.min_tso_segments = 10;
    t.write(10_400);
    t.expect("P. 1:5001(5000) ack 1");
    t.expect("P. 5001:10001(5000) ack 1");
    // What was written before without an end goes with the record; what comes later doesn't.
    assert_eq!(t.try_write(400, EOR), Ok(400));
    assert_eq!(t.try_write(400, EOR), Ok(400));
    t.write(2500);
    t.expect_nothing();
    t.inject(". 1:1(0) ack 10001");
    t.expect("P. 10001:10801(800) ack 1");
    t.expect("P. 10801:11201(400) ack 1");
    t.expect("P. 11201:13201(2000) ack 1");
    t.expect_nothing();
    t.inject(". 1:1(0) ack 13201");
    t.expect("P. 13201:13701(500) ack 1");
}

#[test]
fn records_are_not_joined_when_they_are_sent_again() {
    let mut t = Test::established();
    for eor in [true, false, false] {
        t.settings.no_delay = true;
        assert_eq!(t.try_write(100, SendFlags { eor, ..SendFlags::default() }), Ok(100));
        t.poll().unwrap();
    }
    t.sleep(3000);
    t.expect("P. 1:101(100) ack 1");
    t.inject(". 1:1(0) ack 101");
    t.expect("P. 101:301(200) ack 1");
}

#[test]
fn super_segments_carry_whole_segments() {
    let mut t = Test::established();
    t.max_segment = 4500;
    t.config.min_tso_segments = 10;
    t.write(9300);
    let first = t.poll().unwrap();
    assert_eq!((first.payload.len(), first.gso_size), (4000, 1000));
    let second = t.poll().unwrap();
    assert_eq!((second.payload.len(), second.header.seq), (4000, 4001));
    let third = t.poll().unwrap();
    assert_eq!((third.payload.len(), third.gso_size), (1300, 1000));
    t.expect_nothing();
}

#[test]
fn the_send_buffer_is_bounded_and_says_so() {
    let mut t = Test::established();
    assert_eq!(t.try_write(200_000, SendFlags::default()), Ok(70_000));
    assert_eq!(t.try_write(1, SendFlags::default()), Err(Error::WouldBlock));
    assert!(!t.ready().contains(Readiness::WRITABLE));
    while t.poll().is_some() {}
    t.inject(". 1:1(0) ack 10001");
    assert!(!t.ready().contains(Readiness::WRITABLE));
}

#[test]
fn the_send_buffer_grows_with_the_congestion_window() {
    let mut t = Test::established();
    let before = t.connection.send_limit;
    for _ in 0..8 {
        while t.try_write(100_000, SendFlags::default()).is_ok() {}
        while t.poll().is_some() {}
        let ack = t.connection.snd_nxt.0;
        t.sleep(10);
        t.inject(&format!(". 1:1(0) ack {ack} win 60000"));
    }
    assert!(t.connection.send_limit > before, "{before}");
}

#[test]
fn without_budget_nothing_is_taken() {
    let mut t = Test::established();
    t.budget = Budget::new(0);
    assert_eq!(t.try_write(10, SendFlags::default()), Err(Error::NoBufs));
}

#[test]
fn after_an_idle_time_the_window_restarts() {
    // RFC 5681 §4.1
    let mut t = Test::established();
    for _ in 0..2 {
        t.write(20_000);
        while t.poll().is_some() {}
        let ack = t.connection.snd_nxt.0;
        t.inject(&format!(". 1:1(0) ack {ack} win 60000"));
    }
    while t.poll().is_some() {}
    let ack = t.connection.snd_nxt.0;
    t.inject(&format!(". 1:1(0) ack {ack} win 60000"));
    assert!(t.connection.info(t.now).snd_cwnd > 10_000);
    t.sleep(5_000);
    t.write(1);
    t.poll().unwrap();
    assert_eq!(t.connection.info(t.now).snd_cwnd, 10_000);
}

#[test]
fn an_unused_window_does_not_grow() {
    let mut t = Test::established();
    for i in 0..50 {
        t.write(10);
        t.poll().unwrap();
        t.sleep(10);
        t.inject(&format!(". 1:1(0) ack {}", i * 10 + 11));
    }
    assert_eq!(t.connection.info(t.now).snd_cwnd, 10_000);
}

#[test]
fn a_smaller_path_cuts_what_is_sent_again() {
    let mut t = Test::established();
    t.write(1000);
    t.expect("P. 1:1001(1000) ack 1");
    t.connection.on_path_mss(500, &t.settings);
    t.expect(". 1:501(500) ack 1");
    t.expect("P. 501:1001(500) ack 1");
    assert_eq!(t.connection.info(t.now).snd_ssthresh, usize::MAX);
}
