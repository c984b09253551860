//! Opening: RFC 9293 §3.5, §3.10.7.3, and what is negotiated.

use super::*;

#[test]
fn a_syn_offers_everything_and_agrees_on_what_both_know() {
    let mut t = Test::connect_with(TcpConfig::default(), |_| {});
    assert_eq!(t.ready(), Readiness::EMPTY);
    t.expect("S 0:0(0) win 64240 <mss 1460,sackOK,TS val 1000 ecr 0,nop,wscale 7>");
    t.inject("S. 0:0(0) ack 1 win 5000 <mss 1000,sackOK,TS val 7 ecr 1000,nop,wscale 3>");
    t.expect(". 1:1(0) ack 1 <nop,nop,TS val 1000 ecr 7>");
    t.expect_nothing();
    assert!(t.ready().contains(Readiness::WRITABLE));
    let info = t.connection.info(t.now);
    assert_eq!((info.sack, info.timestamps, info.snd_wscale, info.rcv_wscale), (true, true, 3, 7));
    // RFC 7323 §2.2: the window of a SYN is never scaled.
    assert_eq!(info.snd_wnd, 5000);
    // MUST-16: options that every segment carries count.
    assert_eq!(info.snd_mss, 988);
}

#[test]
fn what_one_side_does_not_know_is_not_used() {
    let mut t = Test::connect_with(TcpConfig::default(), |_| {});
    t.handshake("S. 0:0(0) ack 1 win 500 <mss 1000>");
    let info = t.connection.info(t.now);
    assert_eq!((info.sack, info.timestamps, info.snd_wscale, info.rcv_wscale), (false, false, 0, 0));
    t.write(10);
    t.expect("P. 1:11(10) ack 1");
}

#[test]
fn without_an_mss_option_536_is_assumed() {
    // MUST-15
    let mut t = Test::connect();
    t.handshake("S. 0:0(0) ack 1 win 60000");
    t.write(600);
    t.expect(". 1:537(536) ack 1");
    t.expect("P. 537:601(64) ack 1");
}

#[test]
fn a_tiny_mss_is_not_believed() {
    let mut t = Test::connect();
    t.handshake("S. 0:0(0) ack 1 win 60000 <mss 1>");
    assert_eq!(t.connection.max_segment(), 48);
}

#[test]
fn simultaneous_open() {
    // MUST-10
    let mut t = Test::connect();
    t.expect("S 0:0(0) <...>");
    t.inject("S 0:0(0) win 60000 <mss 1000>");
    assert_eq!(t.state(), State::SynReceived);
    t.expect("S. 0:0(0) ack 1 win 64240 <mss 1460,nop,nop,sackOK,nop,wscale 7>");
    t.expect_nothing();
    t.inject(". 1:1(0) ack 1");
    assert_eq!(t.state(), State::Established);
    t.write(5);
    t.expect("P. 1:6(5) ack 1");
}

#[test]
fn simultaneous_open_completed_by_the_peers_syn_ack() {
    let mut t = Test::connect();
    t.expect("S 0:0(0) <...>");
    t.inject("S 0:0(0) win 60000 <mss 1000>");
    t.expect("S. 0:0(0) ack 1 <...>");
    t.inject("S. 0:0(0) ack 1 win 60000 <mss 1000>");
    assert_eq!(t.state(), State::Established);
    t.expect(". 1:1(0) ack 1");
}

#[test]
fn a_reset_refuses_the_connection_if_it_acknowledges_the_syn() {
    let mut t = Test::connect();
    t.expect("S 0:0(0) <...>");
    t.inject("R 0:0(0)");
    assert_eq!(t.state(), State::SynSent);
    t.inject("R. 0:0(0) ack 1");
    assert_eq!(t.state(), State::Closed);
    let all = Readiness::READABLE | Readiness::WRITABLE | Readiness::ERROR;
    assert!(t.ready().contains(all | Readiness::READ_CLOSED | Readiness::WRITE_CLOSED));
    assert_eq!(t.error(), Some(Error::ConnectionRefused));
    // As the kernel: whoever has been told why finds the end of a stream.
    assert_eq!(t.try_read(1), Ok(Vec::new()));
}

#[test]
fn an_acknowledgment_of_what_was_never_sent_is_reset() {
    let mut t = Test::connect();
    t.expect("S 0:0(0) <...>");
    t.inject(". 0:0(0) ack 500");
    t.expect_answer("R 500:500(0) win 0");
    assert_eq!(t.state(), State::SynSent);
}

#[test]
fn a_syn_is_repeated_and_given_up() {
    // MUST-22
    let mut t = Test::connect();
    t.settings.syn_retries = Some(3);
    t.expect("S 0:0(0) <...>");
    for millis in [1000, 2000, 4000] {
        t.fire(millis);
        t.expect("S 0:0(0) <...>");
        t.expect_nothing();
    }
    t.fire(8000);
    assert_eq!((t.state(), t.error()), (State::Closed, Some(Error::TimedOut)));
}

/// `TCP_RTO_MAX_MS` also limits how far apart SYNs are.
#[test]
fn the_longest_timeout_holds_for_syns() {
    let mut config = Test::config();
    config.syn_linear_timeouts = 0;
    let mut t = Test::connect_with(config, |settings| settings.max_rto = Some(Duration::from_secs(3)));
    assert!(t.poll().is_some());
    for millis in [1000, 2000, 3000, 3000] {
        t.fire(millis);
        assert!(t.poll().is_some());
    }
}

/// An answer to an earlier connection's SYN: its sender is reset, and ours is sent again at once.
#[test]
fn an_acknowledgment_of_an_earlier_connection_is_reset_and_the_syn_repeated() {
    let mut t = Test::connect();
    assert!(t.poll().is_some());
    t.inject(". 500:500(0) ack 9");
    t.expect_answer("R 9:9(0) win 0");
    t.fire(2);
    assert_eq!(t.poll().map(|segment| segment.header.flags.syn()), Some(true));
    t.inject("S. 0:0(0) ack 1 win 60000 <mss 1000>");
    assert_eq!(t.state(), State::Established);
}

/// A timestamp that was not in our SYN comes from an earlier connection as well (RFC 7323 §3.2).
#[test]
fn an_echo_of_what_we_never_sent_is_reset() {
    let mut t = Test::connect_with(TcpConfig::default(), |_| {});
    assert!(t.poll().is_some());
    for echo in [998, 1001] {
        t.inject(&format!("S. 0:0(0) ack 1 win 60000 <mss 1000,sackOK,TS val 500 ecr {echo}>"));
        t.expect_answer("R 1:1(0) win 0");
        assert_eq!(t.state(), State::SynSent);
    }
    t.inject("S. 0:0(0) ack 1 win 60000 <mss 1000,sackOK,TS val 500 ecr 1000>");
    assert_eq!(t.state(), State::Established);
}

#[test]
fn what_icmp_said_is_reported_at_the_timeout() {
    // MUST-47
    let mut t = Test::connect();
    (t.settings.syn_retries, t.config.syn_linear_timeouts) = (Some(0), 0);
    t.expect("S 0:0(0) <...>");
    t.connection.on_unreachable(false, Error::HostUnreachable, &mut t.budget);
    assert_eq!(t.state(), State::SynSent);
    t.fire(1000);
    assert_eq!(t.error(), Some(Error::HostUnreachable));
}

#[test]
fn a_soft_icmp_error_is_told_to_who_asks_and_ends_nothing() {
    // SHLD-25, MUST-47, MUST-56
    let mut t = Test::established();
    t.connection.on_unreachable(false, Error::HostUnreachable, &mut t.budget);
    assert_eq!(t.state(), State::Established);
    assert_eq!(t.error(), Some(Error::HostUnreachable));
    assert_eq!((t.try_read(1), t.error()), (Err(Error::WouldBlock), None));
    t.write(10);
    t.expect("P. 1:11(10) ack 1");
}

#[test]
fn a_hard_icmp_error_ends_an_opening_connection_only() {
    // SHLD-26
    let mut t = Test::connect();
    t.expect("S 0:0(0) <...>");
    t.connection.on_unreachable(true, Error::ConnectionRefused, &mut t.budget);
    assert_eq!((t.state(), t.error()), (State::Closed, Some(Error::ConnectionRefused)));
    let mut t = Test::established();
    t.connection.on_unreachable(true, Error::ConnectionRefused, &mut t.budget);
    // SO_ERROR tells, as the kernel's does; reading and writing go on.
    assert_eq!((t.state(), t.error()), (State::Established, Some(Error::ConnectionRefused)));
    assert_eq!((t.try_read(1), t.error()), (Err(Error::WouldBlock), None));
}

#[test]
fn after_a_lost_syn_the_initial_window_is_one_segment() {
    // RFC 5681 §3.1, RFC 6298 §5.7
    let mut t = Test::connect();
    t.expect("S 0:0(0) <...>");
    t.fire(1000);
    t.expect("S 0:0(0) <...>");
    t.fire(2000);
    t.expect("S 0:0(0) <...>");
    t.inject("S. 0:0(0) ack 1 win 60000 <mss 1000>");
    t.expect(". 1:1(0) ack 1");
    t.write(3000);
    t.expect(". 1:1001(1000) ack 1");
    t.expect_nothing();
    assert_eq!(t.connection.info(t.now).rto, Duration::from_secs(3));
}

/// As the kernel: the first timeout is short, and says little.
#[test]
fn one_lost_syn_costs_no_window() {
    let mut t = Test::connect();
    t.expect("S 0:0(0) <...>");
    t.fire(1000);
    t.expect("S 0:0(0) <...>");
    t.inject("S. 0:0(0) ack 1 win 60000 <mss 1000>");
    t.expect(". 1:1(0) ack 1");
    assert_eq!(
        (t.connection.info(t.now).snd_cwnd, t.connection.info(t.now).rto),
        (10_000, Duration::from_secs(3))
    );
}

/// The peer's timestamps tell that it answers the first SYN: all were only late (RFC 3522).
#[test]
fn late_syns_cost_no_window() {
    for (echo, cwnd) in [(1000, 10), (2000, 1)] {
        let config = TcpConfig { timestamps: true, ..Test::config() };
        let mut t = Test::connect_with(config, |_| {});
        t.expect("S 0:0(0) <...>");
        for millis in [1000, 2000] {
            t.fire(millis);
            t.expect("S 0:0(0) <...>");
        }
        t.inject(&format!("S. 0:0(0) ack 1 win 60000 <mss 1012,TS val 500 ecr {echo}>"));
        t.expect(". 1:1(0) ack 1 <...>");
        assert_eq!(t.connection.info(t.now).snd_cwnd, cwnd * 1000, "{echo}");
    }
}

/// As the kernel: a few SYNs follow each other at the first timeout, which `syn_retries` doesn't count.
#[test]
fn the_first_syns_come_a_second_apart() {
    let config = TcpConfig { syn_linear_timeouts: 4, ..Test::config() };
    let mut t = Test::connect_with(config, |settings| settings.syn_retries = Some(6));
    t.expect("S 0:0(0) <...>");
    for millis in [1000, 1000, 1000, 1000, 1000, 2000, 4000, 8000, 16_000, 32_000] {
        t.fire(millis);
        t.expect("S 0:0(0) <...>");
    }
    t.fire(64_000);
    assert_eq!(t.error(), Some(Error::TimedOut));
}

#[test]
fn the_initial_window_is_ten_segments() {
    let mut t = Test::established();
    t.write(20_000);
    for i in 0..10 {
        t.expect(&format!(". {}:{}(1000) ack 1", i * 1000 + 1, i * 1000 + 1001));
    }
    t.expect_nothing();
}

#[test]
fn data_of_a_syn_ack_counts() {
    let mut t = Test::connect();
    t.expect("S 0:0(0) <...>");
    t.inject("S. 0:10(10) ack 1 win 60000 <mss 1000>");
    t.expect(". 1:1(0) ack 11");
    t.read(10);
}

#[test]
fn data_and_fin_that_arrive_before_the_handshake_is_complete_wait() {
    let mut t = Test::connect();
    t.expect("S 0:0(0) <...>");
    t.inject("S 0:10(10) win 60000 <mss 1000>");
    assert_eq!((t.state(), t.try_read(10)), (State::SynReceived, Err(Error::WouldBlock)));
    t.expect("S. 0:0(0) ack 11 <...>");
    t.inject("F. 11:16(5) ack 1");
    assert_eq!(t.state(), State::CloseWait);
    t.read(15);
    assert_eq!(t.try_read(1), Ok(Vec::new()));
    t.expect(". 1:1(0) ack 17");
}

#[test]
fn the_third_segment_of_a_passive_open_may_carry_data() {
    let mut t = Test::accepted();
    t.inject("P. 1:11(10) ack 1");
    t.read(10);
    assert_eq!(t.connection.info(t.now).snd_wnd, 60_000);
    t.expect(". 1:1(0) ack 11");
}

#[test]
fn closing_while_opening() {
    let mut t = Test::connect();
    t.expect("S 0:0(0) <...>");
    t.close();
    assert_eq!(t.state(), State::Closed);
    t.expect_nothing();

    let mut t = Test::connect();
    t.expect("S 0:0(0) <...>");
    t.inject("S 0:0(0) win 60000 <mss 1000>");
    t.expect("S. 0:0(0) ack 1 <...>");
    t.close();
    t.inject(". 1:1(0) ack 1");
    assert_eq!(t.state(), State::FinWait1);
    t.expect("F. 1:1(0) ack 1");
}

#[test]
fn an_idle_connection_is_small() {
    let size = core::mem::size_of::<Connection>();
    assert!(size <= 688, "{size} bytes");
}
