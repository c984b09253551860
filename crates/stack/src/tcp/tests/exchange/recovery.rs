//! Loss recovery: RFC 6675, RFC 6582, RFC 6298, RFC 3042.

use super::*;
use crate::counters::Counter;
use crate::tcp::congestion::Congestion;

/// Ten segments of 1000 are in flight.
fn in_flight(mut t: Test) -> Test {
    t.write(10_000);
    let sent = core::iter::from_fn(|| t.poll()).count();
    assert_eq!(sent, 10);
    t.sleep(40);
    t
}

/// The peer is 40 ms away.
fn distant(syn_ack_options: &str) -> Test {
    let mut t = Test::connect();
    assert!(t.poll().is_some());
    t.sleep(40);
    t.inject(&format!("S. 0:0(0) ack 1 win 60000 <{syn_ack_options}>"));
    assert!(t.poll().is_some());
    // As the kernel: what answers the handshake first is taken for a window update.
    t.inject(". 1:1(0) ack 1");
    t
}

fn with_sack() -> Test {
    distant("mss 1000,nop,nop,sackOK")
}

fn without_sack() -> Test {
    distant("mss 1000")
}

fn reno(mut t: Test) -> Test {
    t.connection.congestion =
        Congestion::new(crate::CongestionControl::Reno, 1000, 10, t.config.slow_start_exit);
    t
}

/// A burst's acknowledgments in one batch, the fifth segment lost: as much goes out as if each had been answered.
/// Four in slow start let two go each, two reports of disorder one each; then PRR lets one go for every two.
#[test]
fn a_batch_that_begins_recovery_is_answered_whole() {
    let mut t = in_flight(reno(with_sack()));
    t.write(20_000);
    t.expect_nothing();
    for acked in 1..=4 {
        t.inject(&format!(". 1:1(0) ack {acked}001"));
    }
    for sacked in 6..=10 {
        t.inject(&format!(". 1:1(0) ack 4001 <nop,nop,sack 5001:{sacked}001>"));
    }
    t.expect(". 4001:5001(1000) ack 1");
    assert_eq!(t.connection.info(t.now).snd_ssthresh, 7000);
    assert_eq!(core::iter::from_fn(|| t.poll()).count(), 8 + 2 + 1);
}

#[test]
fn more_than_two_segments_sacked_mean_loss() {
    let mut t = in_flight(reno(with_sack()));
    t.inject(". 1:1(0) ack 1 <nop,nop,sack 1001:2001>");
    t.inject(". 1:1(0) ack 1 <nop,nop,sack 1001:3001>");
    t.expect_nothing();
    t.inject(". 1:1(0) ack 1 <nop,nop,sack 1001:4001>");
    t.expect(". 1:1001(1000) ack 1");
    t.expect_nothing();
    // RFC 6937: the window falls with what arrives.
    assert_eq!((t.connection.info(t.now).snd_cwnd, t.connection.info(t.now).snd_ssthresh), (7000, 5000));
    // The next ones free the pipe: 10 − 5 sacked = 5 are still in flight, one of them sent again.
    t.inject(". 1:1(0) ack 1 <nop,nop,sack 1001:6001>");
    t.write(5000);
    t.expect_nothing();
    t.inject(". 1:1(0) ack 1 <nop,nop,sack 1001:7001>");
    t.expect(". 10001:11001(1000) ack 1");
    t.expect_nothing();
    // Everything sent before is acknowledged: recovery is over.
    t.inject(". 1:1(0) ack 10001");
    assert_eq!(t.connection.info(t.now).snd_cwnd, 5000);
}

#[test]
fn several_holes_are_filled_in_one_recovery() {
    let mut t = in_flight(reno(with_sack()));
    t.inject(". 1:1(0) ack 1 <nop,nop,sack 1001:2001 3001:4001 5001:6001>");
    t.expect(". 1:1001(1000) ack 1");
    t.inject(". 1:1(0) ack 1 <nop,nop,sack 7001:10001 5001:6001 3001:4001>");
    t.expect(". 2001:3001(1000) ack 1");
    t.expect(". 4001:5001(1000) ack 1");
    t.expect(". 6001:7001(1000) ack 1");
    t.expect_nothing();
    assert_eq!(t.connection.info(t.now).snd_ssthresh, 5000);
}

#[test]
fn a_super_segment_is_split_where_it_was_lost() {
    let mut t = reno(with_sack());
    t.max_segment = 60_000;
    t.config.min_tso_segments = 60;
    t.write(10_000);
    // Half of the window at most.
    t.expect("P. 1:5001(5000) ack 1");
    t.expect("P. 5001:10001(5000) ack 1");
    t.sleep(40);
    t.inject(". 1:1(0) ack 1 <nop,nop,sack 1001:4001 5001:10001>");
    t.expect(". 1:1001(1000) ack 1");
    t.expect(". 4001:5001(1000) ack 1");
    t.expect_nothing();
}

/// As the kernel: a super-segment is what leaves within a millisecond, at least two segments.
#[test]
fn super_segments_are_small_where_the_rate_is_low() {
    for (millis, first) in [(40, 2000), (6, 3000), (1, 5000)] {
        let mut t = Test::connect();
        t.max_segment = 60_000;
        assert!(t.poll().is_some());
        t.sleep(millis);
        t.inject("S. 0:0(0) ack 1 win 60000 <mss 1000>");
        assert!(t.poll().is_some());
        t.write(10_000);
        assert_eq!(t.poll().unwrap().payload.len(), first, "{millis}");
    }
}

#[test]
fn limited_transmit_sends_new_data_on_the_first_duplicates() {
    // RFC 3042
    let mut t = in_flight(reno(without_sack()));
    t.write(3000);
    t.inject(". 1:1(0) ack 1");
    t.expect(". 10001:11001(1000) ack 1");
    t.inject(". 1:1(0) ack 1");
    t.expect(". 11001:12001(1000) ack 1");
    t.expect_nothing();
}

#[test]
fn three_duplicates_mean_loss_without_sack() {
    let mut t = in_flight(reno(without_sack()));
    for _ in 0..2 {
        t.inject(". 1:1(0) ack 1");
    }
    t.expect_nothing();
    t.inject(". 1:1(0) ack 1");
    t.expect(". 1:1001(1000) ack 1");
    t.expect_nothing();
    assert_eq!((t.connection.info(t.now).snd_cwnd, t.connection.info(t.now).snd_ssthresh), (7000, 5000));
    // A partial acknowledgment: the next hole is filled at once (RFC 6582 §3.2 step 3).
    t.inject(". 1:1(0) ack 3001");
    // As the kernel: once `cwnd` allows it.
    t.expect_nothing();
    t.inject(". 1:1(0) ack 3001");
    t.expect(". 3001:4001(1000) ack 1");
    t.inject(". 1:1(0) ack 10001");
    assert_eq!(t.connection.info(t.now).unacked, 0);
}

#[test]
fn what_is_no_duplicate_does_not_count_as_one() {
    // RFC 5681 §2
    let mut t = in_flight(without_sack());
    for i in 0..6 {
        t.inject(&format!(". {0}:{0}(0) ack 1 win {1}", i * 10 + 1, 50_000 + i));
        t.inject(&format!(". {}:{}(10) ack 1 win {}", i * 10 + 1, i * 10 + 11, 50_000 + i));
    }
    while let Some(segment) = t.poll() {
        assert!(segment.payload.is_empty());
    }
}

#[test]
fn the_timer_sends_everything_again_slowly() {
    let mut t = in_flight(reno(with_sack()));
    t.fire(200);
    t.expect(". 1:1001(1000) ack 1");
    t.expect_nothing();
    let info = t.connection.info(t.now);
    assert_eq!((info.snd_cwnd, info.snd_ssthresh), (1000, 5000));
    // Exponential back-off (RFC 6298 §5.5); ssthresh is held (RFC 5681 §3.1).
    t.fire(480);
    t.expect(". 1:1001(1000) ack 1");
    t.fire(960);
    t.expect(". 1:1001(1000) ack 1");
    assert_eq!(t.connection.info(t.now).snd_ssthresh, 5000);
    t.inject(". 1:1(0) ack 1001");
    t.expect(". 1001:2001(1000) ack 1");
    t.expect(". 2001:3001(1000) ack 1");
    t.expect_nothing();
    // What has arrived after all is not sent again.
    t.inject(". 1:1(0) ack 9001");
    t.expect("P. 9001:10001(1000) ack 1");
    t.expect_nothing();
}

#[test]
fn the_timer_spares_what_is_sacked_unless_the_peer_reneged() {
    let mut t = in_flight(with_sack());
    t.inject(". 1:1(0) ack 1 <nop,nop,sack 1001:2001>");
    // RFC 8985 §6.3: a quarter of the round trip is over. The copy is lost as well.
    t.fire(12);
    t.expect(". 1:1001(1000) ack 1");
    t.fire(240);
    t.expect(". 1:1001(1000) ack 1");
    t.inject(". 1:1(0) ack 1001 <nop,nop,sack 1001:2001>");
    t.inject(". 1:1(0) ack 2001");
    t.expect(". 2001:3001(1000) ack 1");

    // RFC 2018 §8: SND.UNA reaches a sacked segment and stays there. As the kernel: half a round trip later
    // it is taken for dropped.
    let mut t = in_flight(with_sack());
    t.inject(". 1:1(0) ack 1 <nop,nop,sack 1001:2001>");
    t.inject(". 1:1(0) ack 1001");
    t.sleep(20);
    t.expect(". 1001:2001(1000) ack 1");
}

#[test]
fn karn_measures_nothing_that_was_sent_twice() {
    // MUST-18
    let mut t = Test::established();
    t.write(1000);
    t.expect("P. 1:1001(1000) ack 1");
    let srtt = t.connection.info(t.now).srtt;
    t.fire(200);
    t.expect("P. 1:1001(1000) ack 1");
    t.sleep(50);
    t.inject(". 1:1(0) ack 1001");
    assert_eq!(t.connection.info(t.now).srtt, srtt);
    // The back-off stays until something was measured (RFC 6298 §5.7).
    assert_eq!(t.connection.info(t.now).rto, Duration::from_millis(400));
}

#[test]
fn an_acknowledgment_of_what_was_sent_once_and_twice_measures_nothing() {
    // MUST-18: the second segment was sent once, but waited for the first.
    let mut t = Test::without_sack();
    t.write(2000);
    t.expect(". 1:1001(1000) ack 1");
    t.expect("P. 1001:2001(1000) ack 1");
    let srtt = t.connection.info(t.now).srtt;
    t.fire(200);
    t.expect(". 1:1001(1000) ack 1");
    t.sleep(50);
    t.inject(". 1:1(0) ack 2001");
    assert_eq!(t.connection.info(t.now).srtt, srtt);
    assert_eq!(t.connection.info(t.now).rto, Duration::from_millis(400));
}

#[test]
fn a_timestamp_tells_which_transmission_was_acknowledged() {
    let mut t = Test::connect_with(TcpConfig { early_retrans: 0, ..TcpConfig::default() }, |_| {});
    t.handshake("S. 0:0(0) ack 1 win 60000 <mss 1012,sackOK,TS val 500 ecr 1000>");
    t.write(1000);
    t.expect("P. 1:1001(1000) ack 1 <nop,nop,TS val 1000 ecr 500>");
    t.fire(200);
    t.expect("P. 1:1001(1000) ack 1 <nop,nop,TS val 1200 ecr 500>");
    t.sleep(40);
    t.inject(". 1:1(0) ack 1001 <nop,nop,TS val 540 ecr 1200>");
    let srtt = t.connection.info(t.now).srtt.unwrap();
    assert!(srtt > Duration::from_millis(1) && srtt < Duration::from_millis(40), "{srtt:?}");
}

#[test]
fn the_answer_to_a_second_copy_measures_nothing() {
    // The first copy's acknowledgment was lost, and the peer echoes that copy's timestamp (RFC 7323 §5.3 R2).
    let mut t = Test::connect_with(TcpConfig { early_retrans: 0, ..TcpConfig::default() }, |_| {});
    t.handshake("S. 0:0(0) ack 1 win 60000 <mss 1012,sackOK,TS val 500 ecr 1000>");
    t.write(1000);
    t.expect("P. 1:1001(1000) ack 1 <nop,nop,TS val 1000 ecr 500>");
    let srtt = t.connection.info(t.now).srtt;
    t.fire(200);
    t.expect("P. 1:1001(1000) ack 1 <nop,nop,TS val 1200 ecr 500>");
    let doubled = t.connection.info(t.now).rto;
    t.inject(". 1:1(0) ack 1001 <nop,nop,TS val 700 ecr 1000,nop,nop,sack 1:1001>");
    assert_eq!(t.connection.info(t.now).srtt, srtt);
    // RFC 3708: nor is the path taken to be worse than it is.
    assert_eq!(t.connection.info(t.now).rto, doubled / 2);
}

#[test]
fn an_echo_from_before_the_second_copy_measures_nothing() {
    // As above, of a peer that can't report a second copy.
    let mut t = Test::connect_with(TcpConfig { early_retrans: 0, ..TcpConfig::default() }, |_| {});
    t.sleep(10);
    assert!(t.poll().is_some());
    t.sleep(10);
    t.inject("S. 0:0(0) ack 1 win 60000 <mss 1012,TS val 500 ecr 1010>");
    t.expect(". 1:1(0) ack 1 <nop,nop,TS val 1020 ecr 500>");
    t.write(1000);
    t.expect("P. 1:1001(1000) ack 1 <nop,nop,TS val 1020 ecr 500>");
    let srtt = t.connection.info(t.now).srtt;
    t.fire(210);
    t.expect("P. 1:1001(1000) ack 1 <nop,nop,TS val 1230 ecr 500>");
    t.sleep(10);
    let doubled = t.connection.info(t.now).rto;
    t.inject(". 1:1(0) ack 1001 <nop,nop,TS val 700 ecr 1020>");
    assert_eq!((t.connection.info(t.now).srtt, t.connection.info(t.now).rto), (srtt, doubled));
}

#[test]
fn an_echo_that_comes_too_soon_for_the_second_copy_measures_a_long_path() {
    let mut t = Test::connect_with(TcpConfig { early_retrans: 0, ..TcpConfig::default() }, |_| {});
    assert!(t.poll().is_some());
    t.sleep(10);
    t.inject("S. 0:0(0) ack 1 win 60000 <mss 1012,TS val 500 ecr 1000>");
    t.expect(". 1:1(0) ack 1 <nop,nop,TS val 1010 ecr 500>");
    t.write(1000);
    t.expect("P. 1:1001(1000) ack 1 <nop,nop,TS val 1010 ecr 500>");
    t.fire(210);
    t.expect("P. 1:1001(1000) ack 1 <nop,nop,TS val 1220 ecr 500>");
    t.sleep(1);
    t.inject(". 1:1(0) ack 1001 <nop,nop,TS val 700 ecr 1010>");
    assert!(t.connection.info(t.now).srtt > Some(Duration::from_millis(30)));
}

/// The acknowledgments of what the blocks report were lost, and a copy elicits them at last.
#[test]
fn what_is_reported_late_with_a_second_copy_measures_nothing() {
    let mut t = with_sack();
    t.write(2000);
    while t.poll().is_some() {}
    let srtt = t.connection.info(t.now).srtt;
    t.fire(240);
    t.expect(". 1:1001(1000) ack 1");
    t.sleep(40);
    // With one that says nothing of a copy this is 280 ms.
    t.inject(". 1:1(0) ack 1 <nop,nop,sack 4294967000:1 1001:2001>");
    assert_eq!(t.connection.info(t.now).srtt, srtt);
}

#[test]
fn sack_blocks_of_what_was_never_sent_are_ignored() {
    let mut t = in_flight(with_sack());
    for blocks in ["50001:60001", "1:1", "5001:4001", "4294960000:4294967000", "9001:20001"] {
        t.inject(&format!(". 1:1(0) ack 1 <nop,nop,sack {blocks}>"));
    }
    assert_eq!(t.connection.info(t.now).sacked, 0);
    t.expect_nothing();
}

#[test]
fn hostile_sacks_make_few_records() {
    let mut t = in_flight(with_sack());
    for i in 0..3000 {
        let left = 1003 + i * 3;
        t.inject(&format!(". 1:1(0) ack 1 <nop,nop,sack {left}:{}>", left + 1));
    }
    assert!(t.connection.sent.count() <= 10);
}

#[test]
fn a_large_window_of_sacks_is_cheap() {
    // 3,000 segments in flight, every other one lost: each acknowledgment touches its ends only. This
    // takes minutes where anything walks the queue for each.
    let mut t = Test::connect_with(Test::config(), |_| {});
    t.handshake("S. 0:0(0) ack 1 win 60000 <mss 1000,nop,nop,sackOK,nop,wscale 7>");
    t.connection.congestion =
        Congestion::new(crate::CongestionControl::Reno, 1000, 3000, t.config.slow_start_exit);
    t.connection.send_limit = 4 << 20;
    t.inject(". 1:1(0) ack 1 win 60000");
    t.write(3_000_000);
    while t.poll().is_some() {}
    assert_eq!(t.connection.sent.count(), 3000);
    for i in (1..3000).step_by(2) {
        let left = i * 1000 + 1;
        t.inject(&format!(". 1:1(0) ack 1 win 60000 <nop,nop,sack {left}:{}>", left + 1000));
    }
    assert_eq!(t.connection.info(t.now).sacked, 1500);
    let mut ack = 1;
    for _ in 0..1500 {
        while t.poll().is_some() {}
        ack += 2000;
        t.inject(&format!(". 1:1(0) ack {ack} win 60000"));
    }
    assert_eq!(t.connection.info(t.now).unacked, 0);
    assert_eq!(t.connection.info(t.now).total_retrans, 1500);
}

#[test]
fn a_loss_after_the_recovery_point_begins_another_recovery() {
    let mut t = in_flight(reno(with_sack()));
    t.inject(". 1:1(0) ack 1 <nop,nop,sack 1001:10001>");
    t.expect(". 1:1001(1000) ack 1");
    t.write(8000);
    while t.poll().is_some() {}
    let sent = t.connection.snd_nxt.0;
    assert!(sent >= 14_001);
    t.inject(&format!(". 1:1(0) ack 1 <nop,nop,sack 11001:{sent} 1001:10001>"));
    // The hole at 10001 was sent after recovery began; its end finds it lost.
    t.inject(&format!(". 1:1(0) ack 10001 <nop,nop,sack 11001:{sent}>"));
    t.expect(". 10001:11001(1000) ack 1");
}

#[test]
fn what_recovery_does_is_counted_by_linux_names() {
    let mut t = in_flight(with_sack());
    t.inject(". 1:1(0) ack 1 <nop,nop,sack 1001:4001>");
    t.expect(". 1:1001(1000) ack 1");
    assert_eq!((t.counters[Counter::TcpSackRecovery], t.counters[Counter::TcpFastRetrans]), (1, 1));
    // The copy was needless.
    t.inject(". 1:1(0) ack 10001 <nop,nop,sack 1:1001>");
    let counted = [Counter::TcpDsackRecv, Counter::TcpFullUndo, Counter::TcpSackRecovery];
    assert_eq!(counted.map(|counter| t.counters[counter]), [1, 1, 1]);
    t.write(1000);
    t.expect("P. 10001:11001(1000) ack 1");
    t.fire(240);
    t.expect("P. 10001:11001(1000) ack 1");
    assert_eq!((t.counters[Counter::TcpTimeouts], t.counters[Counter::TcpLossFailures]), (1, 0));
}
