//! Giving up, keep-alive, probes: RFC 9293 §3.8.

use super::*;

#[test]
fn a_silent_peer_is_given_up_after_r2() {
    // MUST-20
    let mut t = Test::established();
    t.config.retries2 = 4;
    t.write(10);
    t.expect("P. 1:11(10) ack 1");
    // As the kernel: for as long after the first retransmission as R2 timeouts take, 6.2 seconds.
    for millis in [200, 400, 800, 1600, 3200] {
        t.fire(millis);
        t.expect("P. 1:11(10) ack 1");
    }
    t.fire(6400);
    assert_eq!((t.state(), t.error()), (State::Closed, Some(Error::TimedOut)));
    assert_eq!(t.budget.used(), 0);
}

#[test]
fn by_default_r2_is_more_than_100_seconds() {
    // SHLD-11
    let mut t = Test::established();
    t.write(10);
    t.expect("P. 1:11(10) ack 1");
    let end = t.now + Duration::from_secs(100);
    while let Some((at, _)) = t.connection.poll_timeout()
        && at < end
    {
        t.now = at;
        t.call(Connection::on_timeout);
        while t.poll().is_some() {}
    }
    assert_eq!(t.state(), State::Established);
}

#[test]
fn the_user_may_set_the_timeout() {
    // MUST-21
    let mut t = Test::established_with(|settings| settings.user_timeout = Duration::from_secs(3));
    t.write(10);
    t.expect("P. 1:11(10) ack 1");
    let start = t.now;
    while t.state() == State::Established {
        let (at, _) = t.connection.poll_timeout().unwrap();
        t.now = at;
        t.call(Connection::on_timeout);
        t.poll();
    }
    // As the kernel: from the first retransmission on.
    assert_eq!(t.now - start, Duration::from_millis(3200));
    assert_eq!(t.error(), Some(Error::TimedOut));
}

#[test]
fn progress_resets_the_count() {
    let mut t = Test::established();
    // 3 seconds; without progress it would be over after five timeouts.
    t.config.retries2 = 3;
    t.write(20_000);
    while t.poll().is_some() {}
    for ack in [1001, 2001] {
        for _ in 0..2 {
            let (at, _) = t.connection.poll_timeout().unwrap();
            t.now = at;
            t.call(Connection::on_timeout);
            while t.poll().is_some() {}
        }
        t.inject(&format!(". 1:1(0) ack {ack}"));
        while t.poll().is_some() {}
    }
    assert_eq!(t.state(), State::Established);
}

#[test]
fn keep_alive_is_off_unless_asked_for() {
    // MUST-25
    let t = Test::established();
    assert_eq!(t.connection.poll_timeout(), None);
}

fn kept_alive() -> Test {
    Test::established_with(|settings| {
        settings.keep_alive = true;
        settings.keep_idle = Duration::from_secs(10);
        settings.keep_interval = Duration::from_secs(2);
        settings.keep_count = 3;
    })
}

#[test]
fn an_idle_peer_is_probed_and_given_up() {
    // MUST-27, MUST-29, SHLD-12
    let mut t = kept_alive();
    t.fire(10_000);
    t.expect(". 0:0(0) ack 1");
    for _ in 0..2 {
        t.fire(2000);
        t.expect(". 0:0(0) ack 1");
    }
    t.fire(2000);
    assert_eq!((t.state(), t.error()), (State::Closed, Some(Error::TimedOut)));
    t.expect_answer("R. 1:1(0) ack 1 win 0");
}

#[test]
fn an_answer_postpones_the_next_probe() {
    // MUST-26
    let mut t = kept_alive();
    t.fire(10_000);
    t.expect(". 0:0(0) ack 1");
    t.sleep(100);
    t.inject(". 1:1(0) ack 1");
    t.fire(1900);
    t.expect_nothing();
    t.fire(8100);
    t.expect(". 0:0(0) ack 1");
}

#[test]
fn nothing_is_probed_while_data_is_in_flight() {
    // MUST-26: retransmissions ask already.
    let mut t = kept_alive();
    t.sleep(9000);
    t.write(10);
    t.expect("P. 1:11(10) ack 1");
    let end = t.now + Duration::from_secs(20);
    while let Some((at, _)) = t.connection.poll_timeout()
        && at < end
    {
        t.now = at;
        t.call(Connection::on_timeout);
        while let Some(segment) = t.poll() {
            assert_eq!(segment.payload.len(), 10, "a probe");
        }
    }
    assert_eq!(t.state(), State::Established);
    t.inject(". 1:1(0) ack 11");
    t.sleep(11_000);
    t.expect(". 10:10(0) ack 1");
}

#[test]
fn the_peers_probe_is_answered() {
    let mut t = Test::established();
    t.inject(". 0:0(0) ack 1");
    t.expect(". 1:1(0) ack 1");
}

#[test]
fn keep_alive_is_switched_on_and_off_on_the_way() {
    // MUST-24
    let mut t = Test::established();
    t.settings.keep_alive = true;
    t.call(crate::tcp::connection::Connection::apply_settings);
    t.fire(7_200_000);
    t.expect(". 0:0(0) ack 1");
    t.inject(". 1:1(0) ack 1");
    t.settings.keep_alive = false;
    t.call(crate::tcp::connection::Connection::apply_settings);
    assert_eq!(t.connection.poll_timeout(), None);
    // Also while an answer is awaited.
    t.settings.keep_alive = true;
    t.call(crate::tcp::connection::Connection::apply_settings);
    t.fire(7_200_000);
    t.expect(". 0:0(0) ack 1");
    t.settings.keep_alive = false;
    t.call(crate::tcp::connection::Connection::apply_settings);
    assert_eq!(t.connection.poll_timeout(), None);
}
