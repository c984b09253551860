//! When acknowledgments are sent: RFC 9293 §3.8.6.3, RFC 5681 §4.2, RFC 2018, RFC 2883.

use super::*;

/// In a dialogue: acknowledgments wait.
fn settled() -> Test {
    Test::established_with(|settings| settings.quick_ack = false)
}

#[test]
fn every_second_full_segment_is_acknowledged_at_once() {
    // SHLD-18, SHLD-19
    let mut t = settled();
    t.inject(". 1:1001(1000) ack 1");
    t.expect_nothing();
    t.inject(". 1001:2001(1000) ack 1");
    t.expect(". 1:1(0) ack 2001");
    assert_eq!(t.connection.poll_timeout(), None);
}

#[test]
fn other_data_is_acknowledged_after_a_delay() {
    // MUST-40
    let mut t = settled();
    t.inject("P. 1:11(10) ack 1");
    t.expect_nothing();
    t.fire(40);
    t.expect(". 1:1(0) ack 11");
    // Nothing was there to carry it: it is no dialogue, and the next few are acknowledged at once.
    for i in 1..16 {
        t.inject(&format!("P. {}:{}(10) ack 1", i * 10 + 1, i * 10 + 11));
        t.expect(&format!(". 1:1(0) ack {}", i * 10 + 11));
    }
    t.inject("P. 161:171(10) ack 1");
    t.expect_nothing();
    t.fire(40);
    t.expect(". 1:1(0) ack 171");
}

#[test]
fn the_delay_follows_the_time_between_segments_and_is_at_most_a_round_trip() {
    let mut t = Test::connect_with(Test::config(), |settings| settings.quick_ack = false);
    t.expect("S 0:0(0) <...>");
    t.sleep(90);
    t.inject("S. 0:0(0) ack 1 win 60000 <mss 1000,nop,nop,sackOK>");
    t.expect(". 1:1(0) ack 1");
    let delay = |t: &Test| t.connection.info(t.now).ato.as_millis();
    assert_eq!(delay(&t), 0);
    let mut seq = 1;
    for (pause, ato) in [(0, 40), (30, 20 + 30), (44, 25 + 44), (5, 34 + 20)] {
        t.now += Duration::from_millis(pause);
        t.inject(&format!(". {seq}:{}(10) ack 1", seq + 10));
        seq += 10;
        assert_eq!(delay(&t), ato);
        t.write(1);
        while t.poll().is_some() {}
    }
    t.inject(&format!("P. {seq}:{}(10) ack 1", seq + 10));
    t.fire(47);
}

#[test]
fn data_carries_the_acknowledgment() {
    let mut t = settled();
    t.inject("P. 1:11(10) ack 1");
    t.write(5);
    t.expect("P. 1:6(5) ack 11");
    t.expect_nothing();
    t.sleep(100);
    t.expect_nothing();
}

#[test]
fn a_batch_is_acknowledged_once() {
    // MUST-58, MUST-59
    let mut t = settled();
    for i in 0..8 {
        t.inject(&format!(". {}:{}(1000) ack 1", i * 1000 + 1, i * 1000 + 1001));
    }
    t.expect(". 1:1(0) ack 8001");
    t.expect_nothing();
}

#[test]
fn a_new_connection_acknowledges_at_once() {
    let mut t = Test::established();
    t.inject(". 1:11(10) ack 1");
    t.expect(". 1:1(0) ack 11");
}

#[test]
fn every_segment_out_of_order_has_its_acknowledgment() {
    // MAY-13, RFC 2018 §4: the block of the latest segment comes first.
    let mut t = settled();
    t.inject(". 1001:2001(1000) ack 1");
    t.inject(". 3001:4001(1000) ack 1");
    t.inject(". 4001:5001(1000) ack 1");
    t.expect(". 1:1(0) ack 1 <nop,nop,sack 1001:2001>");
    t.expect(". 1:1(0) ack 1 <nop,nop,sack 3001:4001 1001:2001>");
    t.expect(". 1:1(0) ack 1 <nop,nop,sack 3001:5001 1001:2001>");
    t.expect_nothing();
    // What fills a gap is acknowledged at once.
    t.inject(". 1:1001(1000) ack 1");
    t.expect(". 1:1(0) ack 2001 <nop,nop,sack 3001:5001>");
    t.inject(". 2001:3001(1000) ack 1");
    t.expect(". 1:1(0) ack 5001");
    t.read(5000);
}

#[test]
fn a_duplicate_is_reported_by_dsack() {
    // RFC 2883 §4
    let mut t = settled();
    t.inject(". 1:1001(1000) ack 1");
    t.inject(". 1:1001(1000) ack 1");
    t.expect(". 1:1(0) ack 1001 <nop,nop,sack 1:1001>");
    t.inject(". 501:1501(1000) ack 1");
    t.expect(". 1:1(0) ack 1501 <nop,nop,sack 501:1001>");
    t.inject(". 3001:4001(1000) ack 1");
    t.expect(". 1:1(0) ack 1501 <nop,nop,sack 3001:4001>");
    t.inject(". 3001:4001(1000) ack 1");
    t.expect(". 1:1(0) ack 1501 <nop,nop,sack 3001:4001 3001:4001>");
}

#[test]
fn a_peer_without_sack_gets_plain_duplicates() {
    let mut t = Test::without_sack();
    t.inject(". 1001:2001(1000) ack 1");
    t.inject(". 2001:3001(1000) ack 1");
    t.expect(". 1:1(0) ack 1");
    t.expect(". 1:1(0) ack 1");
    t.expect_nothing();
}

#[test]
fn owed_acknowledgments_are_bounded() {
    let mut t = settled();
    for i in 0..1000 {
        let start = 1001 + i % 50 * 1000;
        t.inject(&format!(". {start}:{}(500) ack 1", start + 500));
    }
    let mut sent = 0;
    while t.poll().is_some() {
        sent += 1;
    }
    assert_eq!(sent, 64);
}
