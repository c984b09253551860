//! Windows: RFC 9293 §3.8.6, RFC 7323 §2.

use super::*;

#[test]
fn nothing_is_sent_beyond_the_window() {
    let mut t = Test::established();
    t.inject(". 1:1(0) ack 1 win 2500");
    t.write(4000);
    t.expect(". 1:1001(1000) ack 1");
    t.expect(". 1001:2001(1000) ack 1");
    // MUST-38: not the 500 octets that are left.
    t.expect_nothing();
    t.inject(". 1:1(0) ack 2001 win 2500");
    t.expect(". 2001:3001(1000) ack 1");
    t.expect("P. 3001:4001(1000) ack 1");
}

#[test]
fn a_super_segment_fills_the_window_to_its_end() {
    let mut t = Test::established();
    t.max_segment = 60_000;
    t.inject(". 1:1(0) ack 1 win 2500");
    t.write(9000);
    let first = t.poll().unwrap();
    assert_eq!((first.payload.len(), first.gso_size), (2500, 1000));
    // As long as that short segment is in flight no other one follows it.
    t.inject(". 1:1(0) ack 2001 win 2300");
    let second = t.poll().unwrap();
    assert_eq!((second.header.seq, second.payload.len()), (2501, 1000));
    t.expect_nothing();
    t.inject(". 1:1(0) ack 3501 win 2300");
    let third = t.poll().unwrap();
    assert_eq!((third.header.seq, third.payload.len()), (3501, 2300));
}

#[test]
fn a_small_window_is_used_after_the_override_timeout() {
    let mut t = Test::established();
    t.inject(". 1:1(0) ack 1 win 500");
    t.write(4000);
    t.expect_nothing();
    t.fire(200);
    t.expect("P. 1:501(500) ack 1");
}

#[test]
fn half_of_the_largest_window_is_enough() {
    let mut t = Test::connect();
    t.handshake("S. 0:0(0) ack 1 win 800 <mss 1000>");
    t.write(4000);
    t.expect(". 1:401(400) ack 1");
    t.expect(". 401:801(400) ack 1");
    t.expect_nothing();
    // A window that was never large enough for that is used by half, too.
    let mut t = Test::connect();
    t.handshake("S. 0:0(0) ack 1 win 500 <mss 1000>");
    t.write(4000);
    t.expect(". 1:501(500) ack 1");
    t.inject(". 1:1(0) ack 501 win 249");
    t.expect_nothing();
    t.inject(". 1:1(0) ack 501 win 250");
    t.expect(". 501:751(250) ack 1");
}

#[test]
fn a_closed_window_is_probed_for_ever() {
    // MUST-36, MUST-37, SHLD-29, SHLD-30
    let mut t = Test::established();
    t.config.retries2 = 3;
    t.inject(". 1:1(0) ack 1 win 0");
    t.write(3000);
    t.expect_nothing();
    for millis in [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 102_400, 120_000, 120_000] {
        t.fire(millis);
        t.expect(". 0:0(0) ack 1");
        t.inject(". 1:1(0) ack 1 win 0");
        t.expect_nothing();
    }
    t.inject(". 1:1(0) ack 1 win 5000");
    t.expect(". 1:1001(1000) ack 1");
    t.expect(". 1001:2001(1000) ack 1");
    t.expect("P. 2001:3001(1000) ack 1");
    assert_eq!(t.connection.info(t.now).snd_cwnd, 10_000);
}

#[test]
fn unanswered_probes_end_the_connection() {
    let mut t = Test::established();
    t.config.retries2 = 2;
    t.inject(". 1:1(0) ack 1 win 0");
    t.write(10);
    t.expect_nothing();
    for millis in [200, 400] {
        t.fire(millis);
        t.poll().expect("a probe");
        t.expect_nothing();
    }
    t.fire(800);
    assert_eq!(t.error(), Some(Error::TimedOut));
}

#[test]
fn an_answered_probe_opens_the_window() {
    let mut t = Test::established();
    t.inject(". 1:1(0) ack 1 win 0");
    t.write(3000);
    t.expect_nothing();
    t.fire(200);
    t.expect(". 0:0(0) ack 1");
    t.inject(". 1:1(0) ack 1 win 5000");
    t.expect(". 1:1001(1000) ack 1");
}

#[test]
fn a_shrunk_window_is_survived() {
    // MUST-34, SHLD-15, SHLD-16
    let mut t = Test::established();
    t.write(5000);
    while t.poll().is_some() {}
    t.inject(". 1:1(0) ack 1001 win 1000");
    t.write(1000);
    t.expect_nothing();
    t.fire(200);
    t.expect(". 1001:2001(1000) ack 1");
    t.inject(". 1:1(0) ack 5001 win 60000");
    t.expect("P. 5001:6001(1000) ack 1");
}

#[test]
fn a_window_closed_over_data_in_flight_is_probed_with_it() {
    // SHLD-17
    let mut t = Test::established();
    t.config.retries2 = 1;
    t.write(3000);
    while t.poll().is_some() {}
    t.inject(". 1:1(0) ack 1 win 0");
    t.expect_nothing();
    for _ in 0..5 {
        let (at, _) = t.connection.poll_timeout().unwrap();
        t.now = at;
        t.call(Connection::on_timeout);
        t.expect(". 1:2(1) ack 1");
        t.inject(". 1:1(0) ack 1 win 0");
        t.expect_nothing();
    }
    t.inject(". 1:1(0) ack 3001 win 5000");
    assert_eq!(t.connection.info(t.now).unacked, 0);
}

#[test]
fn a_fin_behind_a_closed_window_gets_through() {
    let mut t = Test::established();
    t.inject(". 1:1(0) ack 1 win 0");
    t.shutdown_write();
    t.expect_nothing();
    t.fire(200);
    t.expect(". 0:0(0) ack 1");
    t.inject(". 1:1(0) ack 1 win 1000");
    t.expect("F. 1:1(0) ack 1");
    t.inject(". 1:1(0) ack 2 win 0");
    assert_eq!(t.state(), State::FinWait2);
}

/// A receive buffer of 20,000 octets of memory and no scaling.
fn small_receiver() -> Test {
    Test::established_with(|settings| settings.recv_buffer = Some(20_000))
}

impl Test {
    /// Full segments arrive until the window is closed; answers where that is.
    fn fill_window(&mut self) -> u32 {
        let (mut seq, mut edge) = (1, 0);
        loop {
            self.inject(&format!(". {seq}:{}(1000) ack 1", seq + 1000));
            seq += 1000;
            self.sleep(40);
            let ack = self.poll().expect("an acknowledgment");
            let window = u32::from(ack.header.window);
            assert_eq!(ack.header.ack, seq);
            assert!(seq + window >= edge && window % 1000 == 0, "{edge} > {seq} + {window}");
            edge = seq + window;
            if window == 0 {
                return seq;
            }
        }
    }
}

#[test]
fn the_offered_window_closes_and_opens_in_steps() {
    // MUST-39: in whole segments, and not before it is worth one.
    let mut t = small_receiver();
    let end = t.fill_window();
    assert!((8000..=12_001).contains(&end), "{end}");
    t.read(100);
    t.expect_nothing();
    t.read(end as usize - 101 - 3000);
    let update = t.poll().expect("a window update");
    assert!(update.header.window >= 4000);
    t.read(3000);
    t.expect_nothing();
}

#[test]
fn an_offered_window_is_not_taken_back() {
    // SHLD-14: also where what is left of the buffer is less than a segment, and would be no window by itself.
    let mut t = small_receiver();
    t.inject(". 1:1001(1000) ack 1");
    let ack = t.poll().expect("an acknowledgment").header;
    let edge = ack.ack + u32::from(ack.window);
    let mut seq = 1001;
    while seq < edge {
        let end = edge.min(seq + 300);
        t.inject(&format!(". {seq}:{end}({}) ack 1", end - seq));
        seq = end;
        t.sleep(40);
        while let Some(ack) = t.poll() {
            let right = ack.header.ack + u32::from(ack.header.window);
            assert!(right >= edge, "{right} < {edge}");
        }
    }
    assert_eq!(t.connection.rcv_nxt, SeqNumber(edge));
}

#[test]
fn a_closed_window_still_takes_acknowledgments() {
    // MUST-66
    let mut t = small_receiver();
    let end = t.fill_window();
    t.write(10);
    t.expect(&format!("P. 1:11(10) ack {end} win 0"));
    t.inject(&format!(". {end}:{}(1) ack 11", end + 1));
    assert_eq!(t.connection.info(t.now).unacked, 0);
    t.expect(&format!(". 11:11(0) ack {end} win 0"));
    assert_eq!(t.connection.urgent.mark(), None);
    t.inject(&format!(".U {end}:{end}(0) ack 11 urg 5"));
    assert_eq!(t.connection.urgent.mark(), Some(SeqNumber(end + 4)));
    t.inject(&format!("R {end}:{end}(0)"));
    assert_eq!(t.error(), Some(Error::ConnectionReset));
}

#[test]
fn data_that_ends_beyond_the_window_is_taken_only_while_nothing_waits() {
    // As the kernel: all of it or nothing.
    let mut t = small_receiver();
    t.inject(". 1:1001(1000) ack 1");
    let window = u32::from(t.poll().unwrap().header.window);
    let beyond = window + 1000;
    t.inject(&format!("F. 1001:{}({beyond}) ack 1", 1001 + beyond));
    t.expect(". 1:1(0) ack 1001");
    assert_eq!(t.state(), State::Established);
    t.read(1000);
    while t.poll().is_some() {}
    let beyond = t.connection.rcv_wnd() + 1000;
    t.inject(&format!("F. 1001:{}({beyond}) ack 1", 1001 + beyond));
    t.sleep(40);
    t.expect(&format!(". 1:1(0) ack {}", 1002 + beyond));
    t.read(beyond as usize);
    assert_eq!(t.state(), State::CloseWait);
}

#[test]
fn a_scaled_window_never_moves_its_right_edge_back() {
    // RFC 7323 §2.4
    let mut t = Test::connect_with(Test::config(), |_| {});
    t.handshake("S. 0:0(0) ack 1 win 60000 <mss 1000,nop,nop,sackOK,nop,wscale 7>");
    let (mut seq, mut edge) = (1_u32, 0);
    for i in 0..2000_u32 {
        let len = 1 + i * 7 % 300;
        t.inject(&format!(". {seq}:{}({len}) ack 1", seq + len));
        seq += len;
        while let Some(segment) = t.poll() {
            let right = segment.header.ack + (u32::from(segment.header.window) << 7);
            assert!(right >= edge || edge - right < 128, "{edge} > {right}");
            edge = edge.max(right);
        }
        if i % 3 == 0 {
            let ready = t.connection.recv_queued();
            t.read(ready);
        }
    }
    // And it never offers what isn't there: beyond the buffer by less than one unit.
    let unread = t.connection.recv_queued() as u32;
    assert!(edge - (seq - unread) < t.connection.recv_window.buffer + 128);
}

#[test]
fn without_a_reader_the_window_closes() {
    let mut t = Test::connect_with(Test::config(), |_| {});
    t.handshake("S. 0:0(0) ack 1 win 60000 <mss 1000,nop,nop,sackOK,nop,wscale 7>");
    let limit = t.connection.recv_window.buffer;
    let mut seq = 1_u32;
    for _ in 0..10_000 {
        t.inject(&format!(". {seq}:{}(50) ack 1", seq + 50));
        while t.poll().is_some() {}
        seq = t.connection.rcv_nxt.0;
    }
    assert!(seq <= limit + 200, "{seq}");
    assert!(t.budget.used() < 4 * limit as usize);
}

#[test]
fn the_buffer_grows_when_the_reader_keeps_up() {
    let mut t = Test::connect_with(Test::config(), |_| {});
    t.expect("S 0:0(0) <...>");
    t.sleep(50);
    t.inject("S. 0:0(0) ack 1 win 60000 <mss 1000,nop,nop,sackOK,nop,wscale 7>");
    let before = t.connection.recv_window.buffer;
    let mut seq = 1_u32;
    for _ in 0..4 {
        for _ in 0..10 {
            let len = t.connection.rcv_wnd().min(10_000);
            t.inject(&format!(". {seq}:{}({len}) ack 1", seq + len));
            seq += len;
            let ready = t.connection.recv_queued();
            t.read(ready);
            while t.poll().is_some() {}
        }
        t.sleep(60);
    }
    assert!(t.connection.recv_window.buffer > before);
    // A slow reader's doesn't.
    let grown = t.connection.recv_window.buffer;
    for _ in 0..20 {
        t.inject(&format!(". {seq}:{}(1000) ack 1", seq + 1000));
        seq += 1000;
        t.read(1000);
        while t.poll().is_some() {}
        t.sleep(60);
    }
    assert_eq!(t.connection.recv_window.buffer, grown);
}

#[test]
fn a_window_that_opens_just_when_a_probe_is_due_is_used() {
    let mut t = Test::established();
    t.inject(". 1:1(0) ack 1 win 0");
    t.write(1);
    t.expect_nothing();
    t.fire(200);
    t.expect(". 0:0(0) ack 1");
    t.expect_nothing();
    t.fire(400);
    t.inject(". 1:1(0) ack 1 win 5000");
    t.expect("P. 1:2(1) ack 1");
    assert!(t.connection.poll_timeout().is_some());
}

#[test]
fn a_window_that_closes_and_opens_without_a_probe_repeats_nothing() {
    let mut t = Test::established();
    t.write(3000);
    while t.poll().is_some() {}
    t.inject(". 1:1(0) ack 1 win 0");
    t.expect_nothing();
    t.inject(". 1:1(0) ack 1 win 5000");
    t.expect_nothing();
    t.fire(200);
    t.expect(". 1:1001(1000) ack 1");
}

#[test]
fn a_buffer_is_never_too_small_for_a_window() {
    // A shift of 7, and a buffer of 100 bytes: the least is more.
    let mut t = Test::connect_with(Test::config(), |settings| settings.recv_buffer = Some(100));
    assert!(t.poll().is_some());
    t.inject("S. 0:0(0) ack 1 win 60000 <mss 1000,nop,wscale 7>");
    t.expect(". 1:1(0) ack 1 win 1152");
    t.inject("P. 1:1001(1000) ack 1");
    t.sleep(40);
    while t.poll().is_some() {}
    t.read(1000);
    assert!(t.connection.rcv_wnd() >= 1000 || t.poll().is_some_and(|update| update.header.window >= 1000));
}

#[test]
fn acknowledgments_stay_within_the_peers_window() {
    // The peer has closed its window and been probed. What lies behind every window it ever had it would not look
    // at, so its own data would seem unacknowledged (RFC 9293 §3.10.7.4).
    let mut t = Test::established();
    t.write(10);
    t.expect("P. 1:11(10) ack 1");
    t.inject(". 1:1(0) ack 11 win 0");
    t.write(100);
    t.expect_nothing();
    t.fire(200);
    t.expect(". 10:10(0) ack 1");
    t.inject("P. 1:2001(2000) ack 11 win 0");
    t.expect(". 11:11(0) ack 2001");
    t.inject("P. 1:2001(2000) ack 11 win 0");
    t.expect(". 11:11(0) ack 2001 <nop,nop,sack 1:2001>");
}

#[test]
fn an_orphan_does_not_probe_a_closed_window_for_ever() {
    // Only who has a user is kept for ever: a peer could hold the memory of closed sockets as long as it likes.
    let mut t = Test::established();
    t.inject(". 1:1(0) ack 1 win 0");
    t.write(100);
    t.expect_nothing();
    t.close();
    for _ in 0..100 {
        let Some((at, _)) = t.connection.poll_timeout() else { break };
        t.now = at;
        t.call(Connection::on_timeout);
        while t.poll().is_some() {}
        t.inject(". 1:1(0) ack 1 win 0");
    }
    assert_eq!((t.state(), t.budget.used()), (State::Closed, 0));
}

#[test]
fn a_probe_finds_the_window_open_once_there_is_memory_again() {
    let mut t = Test::established();
    t.budget = Budget::new(20_000);
    assert!(t.budget.try_charge(17_000));
    t.inject("P. 1:1001(1000) ack 1");
    t.expect(". 1:1(0) ack 1001");
    t.inject(". 1001:3001(2000) ack 1");
    t.expect(". 1:1(0) ack 1001 win 0");
    t.sleep(1000);
    t.inject(". 1000:1000(0) ack 1");
    t.expect(". 1:1(0) ack 1001 win 0");
    // Somebody else gives it back.
    t.budget.release(17_000);
    t.sleep(1000);
    t.inject(". 1000:1000(0) ack 1");
    let answer = t.poll().unwrap();
    assert!(answer.header.window > 0, "still closed");
    t.inject(". 1001:3001(2000) ack 1");
    t.read(3000);
}
