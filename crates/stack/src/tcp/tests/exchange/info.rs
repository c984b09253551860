//! What a connection tells of itself.

use super::*;
use crate::counters::Counter;
use crate::tcp::CaState;

#[test]
fn totals_count_segments_and_octets_both_ways() {
    let mut t = Test::established();
    t.max_segment = 3000;
    t.write(2500);
    t.expect("P. 1:2501(2500) ack 1");
    t.inject(". 1:1(0) ack 2501");
    t.inject("P. 1:1001(1000) ack 2501");
    t.expect(". 2501:2501(0) ack 1001");
    t.inject("F. 1001:1001(0) ack 2501");
    let info = t.connection.info(t.now);
    // Our SYN is counted, and the peer's FIN.
    assert_eq!((info.bytes_acked, info.bytes_received), (2501, 1001));
    assert_eq!((info.bytes_sent, info.bytes_retrans), (2500, 0));
    assert_eq!((info.segs_out, info.data_segs_out), (1 + 1 + 3 + 1, 3));
    assert_eq!((info.segs_in, info.data_segs_in), (4, 1));
    assert_eq!((info.unacked, info.notsent_bytes, info.ca_state), (0, 0, CaState::Open));
}

#[test]
fn what_is_in_flight_is_counted_in_segments() {
    let mut t = Test::established();
    t.max_segment = 60_000;
    t.write(4500);
    t.expect("P. 1:4501(4500) ack 1");
    assert_eq!(t.connection.info(t.now).unacked, 5);
    t.inject(". 1:1(0) ack 1 <nop,nop,sack 1001:3001>");
    let info = t.connection.info(t.now);
    assert_eq!((info.unacked, info.sacked, info.retrans, info.total_retrans), (5, 2, 0, 0));
}

#[test]
fn timeouts_are_counted() {
    let mut t = Test::connect();
    t.expect("S 0:0(0) <mss 1460,nop,nop,sackOK,nop,wscale 7>");
    t.fire(1000);
    t.expect("S 0:0(0) <mss 1460,nop,nop,sackOK,nop,wscale 7>");
    let info = t.connection.info(t.now);
    assert_eq!((info.total_rto, info.retransmits, info.backoff, info.total_retrans), (1, 1, 1, 1));
    assert_eq!((t.counters[Counter::TcpTimeouts], t.counters[Counter::TcpSynRetrans]), (1, 1));
}

#[test]
fn times_since_the_last_segment_each_way() {
    let mut t = Test::established();
    t.sleep(1000);
    assert_eq!(t.connection.info(t.now).last_data_recv, Duration::from_secs(1));
    t.inject("P. 1:101(100) ack 1");
    t.sleep(30);
    t.write(10);
    t.expect("P. 1:11(10) ack 101");
    t.sleep(5);
    let info = t.connection.info(t.now);
    assert_eq!(info.last_data_recv, Duration::from_millis(35));
    assert_eq!(
        (info.last_data_sent, info.last_ack_recv),
        (Duration::from_millis(5), Duration::from_millis(35))
    );
}

#[test]
fn time_is_charged_to_what_limits() {
    let mut t = Test::connect_with(Test::config(), |_| {});
    t.handshake("S. 0:0(0) ack 1 win 0 <mss 1000,nop,nop,sackOK>");
    t.write(1000);
    t.expect_nothing();
    t.sleep(100);
    let info = t.connection.info(t.now);
    assert_eq!((info.rwnd_limited, info.busy_time), (Duration::from_millis(100), Duration::from_millis(100)));
    t.inject(". 1:1(0) ack 1 win 2000");
    t.expect("P. 1:1001(1000) ack 1");
    t.sleep(30);
    t.inject(". 1:1(0) ack 1001 win 2000");
    t.sleep(50);
    let info = t.connection.info(t.now);
    assert_eq!((info.rwnd_limited, info.busy_time), (Duration::from_millis(100), Duration::from_millis(130)));
}

#[test]
fn a_full_send_buffer_is_a_limit_while_all_of_it_is_in_flight() {
    let mut t = Test::established_with(|settings| {
        settings.send_buffer = Some(4608);
        settings.no_delay = true;
    });
    let record = SendFlags { eor: true, ..SendFlags::default() };
    for _ in 0..5 {
        assert_eq!(t.try_write(300, record), Ok(300));
    }
    assert_eq!(t.try_write(300, record), Err(Error::WouldBlock));
    while t.poll().is_some() {}
    t.sleep(40);
    t.inject(". 1:1(0) ack 901");
    t.sleep(10);
    t.inject(". 1:1(0) ack 1501");
    t.sleep(10);
    let info = t.connection.info(t.now);
    assert_eq!((info.sndbuf_limited, info.busy_time), (Duration::from_millis(40), Duration::from_millis(50)));
}
