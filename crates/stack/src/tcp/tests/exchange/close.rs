//! Closing: RFC 9293 §3.6.

use super::*;

#[test]
fn active_close() {
    let mut t = Test::established();
    t.shutdown_write();
    assert_eq!(t.state(), State::FinWait1);
    t.expect("F. 1:1(0) ack 1");
    t.expect_nothing();
    t.inject(". 1:1(0) ack 2");
    assert_eq!(t.state(), State::FinWait2);
    // Half-closed: the peer still sends.
    t.inject("P. 1:101(100) ack 2");
    t.read(100);
    t.expect(". 2:2(0) ack 101");
    t.inject("F. 101:101(0) ack 2");
    assert_eq!(t.state(), State::TimeWait);
    t.expect(". 2:2(0) ack 102");
    assert_eq!(t.try_read(1), Ok(Vec::new()));
    let seed = t.connection.time_wait().unwrap();
    assert_eq!((seed.snd_nxt, seed.rcv_nxt), (SeqNumber(2), SeqNumber(102)));
    // MUST-13: 2 MSL.
    t.fire(60_000);
    assert_eq!(t.state(), State::Closed);
}

#[test]
fn passive_close() {
    let mut t = Test::established();
    t.inject("F. 1:1(0) ack 1");
    assert_eq!(t.state(), State::CloseWait);
    assert!(t.ready().contains(Readiness::READABLE | Readiness::READ_CLOSED | Readiness::WRITABLE));
    t.expect(". 1:1(0) ack 2");
    t.write(100);
    t.expect("P. 1:101(100) ack 2");
    t.shutdown_write();
    assert_eq!(t.state(), State::LastAck);
    t.expect("F. 101:101(0) ack 2");
    t.inject(". 2:2(0) ack 102");
    assert_eq!((t.state(), t.error()), (State::Closed, None));
    assert_eq!(t.connection.poll_timeout(), None);
}

#[test]
fn the_user_learns_whether_the_peer_closed_or_aborted() {
    // MUST-12
    let mut t = Test::established();
    t.inject("F. 1:1(0) ack 1");
    assert_eq!((t.try_read(1), t.error()), (Ok(Vec::new()), None));
    assert!(!t.ready().contains(Readiness::ERROR));
    let mut t = Test::established();
    t.inject("R 1:1(0)");
    assert!(t.ready().contains(Readiness::ERROR));
    assert_eq!(t.try_read(1), Err(Error::ConnectionReset));
}

#[test]
fn simultaneous_close() {
    let mut t = Test::established();
    t.shutdown_write();
    t.expect("F. 1:1(0) ack 1");
    t.inject("F. 1:1(0) ack 1");
    assert_eq!(t.state(), State::Closing);
    t.expect(". 2:2(0) ack 2");
    t.inject(". 2:2(0) ack 2");
    assert_eq!(t.state(), State::TimeWait);
}

#[test]
fn a_fin_waits_for_the_data_before_it() {
    let mut t = Test::established();
    t.inject("F. 11:21(10) ack 1");
    assert_eq!(t.state(), State::Established);
    t.expect(". 1:1(0) ack 1 <nop,nop,sack 11:21>");
    t.inject(". 1:11(10) ack 1");
    assert_eq!(t.state(), State::CloseWait);
    t.expect(". 1:1(0) ack 22");
    t.read(20);
}

#[test]
fn a_fin_goes_with_the_last_data_whatever_nagle_says() {
    let mut t = Test::established();
    t.write(10);
    t.expect("P. 1:11(10) ack 1");
    t.write(10);
    t.expect_nothing();
    t.shutdown_write();
    t.expect("FP. 11:21(10) ack 1");
    assert_eq!(t.try_write(1, SendFlags::default()), Err(Error::BrokenPipe));
    assert!(t.ready().contains(Readiness::WRITE_CLOSED));
}

#[test]
fn a_lost_fin_is_sent_again() {
    let mut t = Test::established();
    t.shutdown_write();
    t.expect("F. 1:1(0) ack 1");
    t.fire(200);
    t.expect("F. 1:1(0) ack 1");
    t.inject(". 1:1(0) ack 2");
    assert_eq!(t.state(), State::FinWait2);
    assert_eq!(t.connection.poll_timeout(), None);
}

#[test]
fn the_peers_fin_again_restarts_time_wait() {
    let mut t = Test::established();
    t.shutdown_write();
    t.expect("F. 1:1(0) ack 1");
    t.inject("F. 1:1(0) ack 2");
    t.expect(". 2:2(0) ack 2");
    t.sleep(30_000);
    t.inject("F. 1:1(0) ack 2");
    t.expect(". 2:2(0) ack 2");
    t.fire(60_000);
    assert_eq!(t.state(), State::Closed);
}

#[test]
fn closing_with_unread_data_resets() {
    // SHLD-3
    let mut t = Test::established();
    t.inject("P. 1:11(10) ack 1");
    t.close();
    assert_eq!(t.state(), State::Closed);
    t.expect_answer("R. 1:1(0) ack 11 win 0");
    t.connection.release(&mut t.budget);
    assert_eq!(t.budget.used(), 0);
}

#[test]
fn data_after_close_is_reset() {
    // SHLD-3
    let mut t = Test::established();
    t.close();
    t.expect("F. 1:1(0) ack 1");
    t.inject(". 1:1(0) ack 2");
    t.inject("P. 1:11(10) ack 2");
    t.expect_answer("R 2:2(0) win 0");
    assert_eq!(t.state(), State::Closed);
}

/// As the kernel: a FIN that comes with data that had arrived already is acknowledged without a DSACK block.
#[test]
fn a_fin_behind_old_data_is_acknowledged_plainly() {
    let mut t = Test::established();
    t.inject(". 1:1001(1000) ack 1");
    t.expect(". 1:1(0) ack 1001");
    t.inject("F. 1:1001(1000) ack 1");
    // As the kernel: once the program has had time to close as well.
    t.sleep(40);
    t.expect(". 1:1(0) ack 1002");
    t.expect_nothing();
}

/// As the kernel: who has shut down both directions is as deaf as who has closed.
#[test]
fn data_after_both_directions_are_shut_down_is_reset() {
    let mut t = Test::established();
    t.call(|c, _, r| c.shutdown(crate::Shutdown::Read, r));
    t.inject("P. 1:11(10) ack 1");
    t.expect(". 1:1(0) ack 11");
    t.shutdown_write();
    t.expect("F. 1:1(0) ack 11");
    t.inject("P. 11:21(10) ack 2");
    t.expect_answer("R 2:2(0) win 0");
    assert_eq!((t.state(), t.error()), (State::Closed, Some(Error::ConnectionReset)));
}

#[test]
fn an_orphan_does_not_wait_for_the_peers_fin_for_ever() {
    let mut t = Test::established();
    t.close();
    t.expect("F. 1:1(0) ack 1");
    t.inject(". 1:1(0) ack 2");
    t.fire(60_000);
    assert_eq!(t.state(), State::Closed);
}

#[test]
fn a_zero_linger_time_resets() {
    let mut t = Test::established_with(|settings| settings.linger = Some(Duration::ZERO));
    t.close();
    t.expect_answer("R. 1:1(0) ack 1 win 0");
    assert_eq!(t.state(), State::Closed);
}

#[test]
fn shutting_down_reading_leaves_what_has_arrived() {
    let mut t = Test::established();
    t.inject("P. 1:11(10) ack 1");
    t.call(|c, _, r| c.shutdown(crate::Shutdown::Read, r));
    t.read(10);
    assert_eq!(t.try_read(1), Ok(Vec::new()));
    assert_eq!(t.state(), State::Established);
}

/// RFC 9293 §3.10.4, CLOSE in SYN-RECEIVED. As the kernel: the FIN follows our SYN at once, and one
/// acknowledgment may be of both.
#[test]
fn a_close_in_syn_received_sends_the_fin_at_once() {
    let crossed = || {
        let mut t = Test::connect();
        t.expect("S 0:0(0) <...>");
        t.inject("S 0:0(0) win 60000 <mss 1000>");
        t.expect("S. 0:0(0) ack 1 <...>");
        t
    };
    let mut t = crossed();
    t.close();
    t.expect("F. 1:1(0) ack 1");
    t.expect_nothing();
    t.inject("F. 1:1(0) ack 2");
    t.expect(". 2:2(0) ack 2");
    assert_eq!(t.state(), State::TimeWait);
    // Acknowledged one after the other.
    let mut t = crossed();
    t.close();
    t.expect("F. 1:1(0) ack 1");
    t.inject("S. 0:0(0) ack 1 win 60000 <mss 1000>");
    assert_eq!(t.state(), State::FinWait1);
    t.inject(". 1:1(0) ack 2");
    assert_eq!(t.state(), State::FinWait2);
    // Lost, both are sent again.
    let mut t = crossed();
    t.close();
    t.expect("F. 1:1(0) ack 1");
    t.fire(1000);
    t.expect("S. 0:0(0) ack 1 <...>");
    t.inject(". 1:1(0) ack 1");
    assert_eq!(t.state(), State::FinWait1);
    t.fire(2000);
    t.expect("F. 1:1(0) ack 1");
    // A user who only says no more is heard when the connection is open.
    let mut t = crossed();
    t.shutdown_write();
    t.expect_nothing();
    t.inject(". 1:1(0) ack 1");
    t.expect("F. 1:1(0) ack 1");
}
