//! Resets and other things an attacker may send: RFC 9293 §3.10.7.4, RFC 5961, PAWS.

use super::*;
use crate::counters::Counter;

#[test]
fn a_reset_with_the_exact_sequence_number_ends_the_connection() {
    let mut t = Test::established();
    t.inject("P. 1:11(10) ack 1");
    t.inject("R 11:11(0)");
    assert_eq!(t.state(), State::Closed);
    // What had arrived can still be read, then the error.
    t.read(10);
    assert_eq!(t.try_read(1), Err(Error::ConnectionReset));
    assert_eq!(t.try_read(1), Ok(Vec::new()));
    assert_eq!(t.try_write(1, SendFlags::default()), Err(Error::BrokenPipe));
}

#[test]
fn a_reset_behind_the_fin_does_not_hide_the_end_of_the_stream() {
    for closes in [false, true] {
        let mut t = Test::established();
        t.inject("FP. 1:11(10) ack 1");
        if closes {
            t.shutdown_write();
        }
        t.inject("R 12:12(0)");
        assert_eq!(t.state(), State::Closed);
        t.read(10);
        assert_eq!(t.try_read(1), Ok(Vec::new()));
        assert!(t.error().is_some(), "the writer's error stays");
    }
}

#[test]
fn a_reset_elsewhere_in_the_window_is_challenged() {
    let mut t = Test::established();
    t.inject("R 2:2(0)");
    assert_eq!(t.state(), State::Established);
    t.expect(". 1:1(0) ack 1");
    // Outside the window it is dropped.
    t.inject("R 100000:100000(0)");
    t.expect_nothing();
}

#[test]
fn a_reset_with_data_is_accepted() {
    // SHLD-2
    let mut t = Test::established();
    t.inject("R. 1:11(10) ack 1");
    assert_eq!((t.state(), t.error()), (State::Closed, Some(Error::ConnectionReset)));
}

#[test]
fn a_syn_in_the_window_is_challenged() {
    let mut t = Test::established();
    for seq in ["S 1:1(0)", "S 500:500(0)", "S. 0:0(0) ack 1"] {
        t.inject(seq);
        t.expect(". 1:1(0) ack 1");
        t.expect_nothing();
        t.sleep(500);
    }
    assert_eq!(t.state(), State::Established);
}

#[test]
fn challenges_are_limited() {
    let mut t = Test::established();
    let mut answers = 0;
    for _ in 0..100 {
        t.inject("R 2:2(0)");
        answers += usize::from(t.poll().is_some());
    }
    assert_eq!(answers, 1);
    t.sleep(500);
    t.inject("R 2:2(0)");
    t.expect(". 1:1(0) ack 1");
}

/// RFC 5961 §3.2, as the kernel: the end of the last data that arrived is as good as RCV.NXT, for what is
/// missing before it may never come.
#[test]
fn a_reset_behind_data_out_of_order_is_believed() {
    let mut t = Test::established();
    t.inject(". 11:21(10) ack 1");
    t.inject(". 31:41(10) ack 1");
    t.inject("R 21:21(0)");
    assert_eq!(t.state(), State::Established);
    t.inject("R 41:41(0)");
    assert_eq!(t.error(), Some(Error::ConnectionReset));
}

/// A peer that sent its FIN and then gave up may not count the FIN in its reset.
#[test]
fn a_reset_where_the_fin_was_is_believed() {
    let mut t = Test::established();
    t.inject("F. 1:1(0) ack 1");
    t.inject("R 1:1(0)");
    assert_eq!(t.error(), Some(Error::BrokenPipe));
}

/// As the kernel: ECONNRESET also from LAST-ACK, and in SYN-RECEIVED after a simultaneous open.
#[test]
fn other_states_report_a_reset_as_such() {
    let mut t = Test::established();
    t.inject("F. 1:1(0) ack 1");
    t.shutdown_write();
    t.expect("F. 1:1(0) ack 2");
    t.inject("R 2:2(0)");
    assert_eq!((t.state(), t.error()), (State::Closed, Some(Error::ConnectionReset)));
    let mut t = Test::connect();
    assert!(t.poll().is_some());
    t.inject("S 0:0(0) win 1000 <mss 1000>");
    assert_eq!((t.poll().is_some(), t.state()), (true, State::SynReceived));
    t.inject("R 1:1(0)");
    assert_eq!((t.state(), t.error()), (State::Closed, Some(Error::ConnectionReset)));
}

/// Two ends that find each other's segments old must not answer each other for ever.
#[test]
fn answers_to_empty_segments_outside_the_window_are_limited() {
    let mut t = with_timestamps();
    let mut answers = 0;
    for i in 0..1000 {
        // Of the peer's timestamps none is ever new enough.
        t.inject(if i % 2 == 0 {
            ". 1:1(0) ack 1 win 7 <nop,nop,TS val 4 ecr 1000>"
        } else {
            ". 90001:90001(0) ack 1"
        });
        answers += usize::from(t.poll().is_some());
        t.sleep(5);
    }
    assert_eq!(answers, 10, "two a second");
}

/// As the kernel: acknowledgments that overtook each other are not taken for old duplicates.
#[test]
fn a_reordered_acknowledgment_with_an_old_timestamp_is_no_reason_to_answer() {
    let mut t = with_timestamps();
    t.inject("P. 1:11(10) ack 1 <nop,nop,TS val 600 ecr 1000>");
    t.expect(". 1:1(0) ack 11 <nop,nop,TS val 1000 ecr 600>");
    t.inject(". 11:11(0) ack 1 win 60000 <nop,nop,TS val 590 ecr 1000>");
    t.inject(". 1:1(0) ack 1 win 60000 <nop,nop,TS val 590 ecr 1000>");
    t.expect_nothing();
}

/// One octet before the last acknowledgment sent is old, from there on it is current.
#[test]
fn what_arrived_since_the_last_acknowledgment_counts_as_acceptable() {
    let mut t = Test::established_with(|settings| settings.quick_ack = false);
    t.try_write(100, SendFlags::default()).unwrap();
    t.expect("P. 1:101(100) ack 1");
    t.inject("P. 1:11(10) ack 1");
    // Sent before that data, it arrives behind it.
    t.inject(". 1:1(0) ack 101");
    assert_eq!(t.connection.info(t.now).unacked, 0);
}

#[test]
fn acknowledgments_out_of_range_are_challenged_and_dropped() {
    // MAY-12
    let mut t = Test::established();
    t.inject("P. 1:11(10) ack 2");
    t.expect(". 1:1(0) ack 1");
    t.sleep(500);
    t.inject("P. 1:11(10) ack 4294900000");
    t.expect(". 1:1(0) ack 1");
    assert_eq!(t.try_read(10), Err(Error::WouldBlock));
}

#[test]
fn a_segment_without_ack_is_dropped() {
    let mut t = Test::established();
    t.inject("P 1:11(10)");
    t.expect_nothing();
    assert_eq!(t.try_read(10), Err(Error::WouldBlock));
}

#[test]
fn data_outside_the_window_is_answered_and_dropped() {
    let mut t = Test::established();
    t.inject("P. 100001:100011(10) ack 1");
    t.expect(". 1:1(0) ack 1");
    t.expect_nothing();
}

#[test]
fn after_the_peers_close_a_reset_is_a_broken_pipe() {
    let mut t = Test::established();
    t.inject("F. 1:1(0) ack 1");
    t.inject("R 2:2(0)");
    assert_eq!(t.error(), Some(Error::BrokenPipe));
}

#[test]
fn a_closed_connection_answers_with_a_reset() {
    let mut t = Test::established();
    t.inject("R 1:1(0)");
    t.inject("P. 1:11(10) ack 1");
    t.expect_answer("R 1:1(0) win 0");
    t.inject("R 1:1(0)");
    assert!(t.answers.is_empty());
}

fn with_timestamps() -> Test {
    let mut t = Test::connect_with(TcpConfig::default(), |_| {});
    t.handshake("S. 0:0(0) ack 1 win 60000 <mss 1000,sackOK,TS val 500 ecr 1000>");
    t
}

#[test]
fn paws_drops_old_duplicates() {
    let mut t = with_timestamps();
    t.inject("P. 1:11(10) ack 1 <nop,nop,TS val 498 ecr 1000>");
    t.expect(". 1:1(0) ack 1 <nop,nop,TS val 1000 ecr 500>");
    assert_eq!(t.try_read(10), Err(Error::WouldBlock));
    // One tick of the clock is no age.
    t.inject("P. 1:11(10) ack 1 <nop,nop,TS val 499 ecr 1000>");
    t.read(10);
}

#[test]
fn a_segment_without_a_timestamp_is_taken_as_the_kernel_does() {
    // RFC 7323 §3.2 (SHOULD) would have it dropped.
    let mut t = with_timestamps();
    t.inject("P. 1:11(10) ack 1");
    t.read(10);
    t.inject("R 11:11(0)");
    assert_eq!(t.state(), State::Closed);
}

#[test]
fn a_reset_needs_no_timestamp() {
    let mut t = with_timestamps();
    t.inject("R 1:1(0)");
    assert_eq!(t.state(), State::Closed);
}

#[test]
fn ts_recent_follows_only_segments_at_the_last_acknowledgment() {
    // RFC 7323 §4.3
    let mut t = with_timestamps();
    t.inject("P. 11:21(10) ack 1 <nop,nop,TS val 600 ecr 1000>");
    t.expect(". 1:1(0) ack 1 <nop,nop,TS val 1000 ecr 500,nop,nop,sack 11:21>");
    t.inject("P. 1:11(10) ack 1 <nop,nop,TS val 550 ecr 1000>");
    t.expect(". 1:1(0) ack 21 <nop,nop,TS val 1000 ecr 550>");
}

/// RFC 5961 §5.2, as the kernel: what was never acknowledged is nothing that comes late, however large the
/// window was.
#[test]
fn an_acknowledgment_from_before_the_first_byte_is_challenged() {
    let mut t = Test::established();
    t.write(100);
    t.expect("P. 1:101(100) ack 1");
    t.inject(". 1:1(0) ack 101");
    let before = t.counters[Counter::TcpChallengeAck];
    let data = |ack: u32| format!("P. 1:11(10) ack {ack}");
    // 101 sequence numbers have been acknowledged, the SYN among them: 4,294,967,295 lies before it.
    t.inject(&data(u32::MAX));
    t.expect(". 101:101(0) ack 1");
    assert_eq!(t.counters[Counter::TcpChallengeAck], before + 1);
    t.inject(&data(0));
    assert_eq!(t.counters[Counter::TcpChallengeAck], before + 1);
    t.read(10);
}
