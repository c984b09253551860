//! Urgent data: RFC 9293 §3.8.5, RFC 6093.

use super::*;

const OOB: SendFlags = SendFlags { more: false, oob: true, eor: false, dont_route: false };

impl Test {
    fn read_oob(&mut self) -> Result<Vec<u8>> {
        let flags = RecvFlags { oob: true, peek: false };
        self.call(|c, now, r| c.recv(now, 1, flags, r)).map(|payload| payload.to_vec())
    }
}

#[test]
fn the_pointer_is_behind_the_urgent_octet() {
    // MUST-30, MUST-62
    let mut t = Test::established();
    assert_eq!(t.try_write(10, OOB), Ok(10));
    t.expect("P.U 1:11(10) ack 1 urg 10");
    t.inject(". 1:1(0) ack 11");
    t.write(5);
    t.expect("P. 11:16(5) ack 1");
}

#[test]
fn urgent_data_may_be_long_and_goes_in_single_segments() {
    // MUST-31
    let mut t = Test::established();
    t.max_segment = 60_000;
    assert_eq!(t.try_write(2500, OOB), Ok(2500));
    t.expect(".U 1:1001(1000) ack 1 urg 2500");
    t.expect(".U 1001:2001(1000) ack 1 urg 1500");
    t.expect("P.U 2001:2501(500) ack 1 urg 500");
}

#[test]
fn the_urgent_byte_is_read_out_of_band_and_the_stream_stops_there() {
    // MUST-32, MUST-33
    let mut t = Test::established();
    assert_eq!(t.read_oob(), Err(Error::InvalidArgument));
    t.inject("P.U 1:11(10) ack 1 urg 6");
    assert!(t.ready().contains(Readiness::PRIORITY));
    assert!(!t.connection.at_mark());
    assert_eq!(t.try_read(100), Ok(stream(0, 5).to_vec()));
    assert!(t.connection.at_mark());
    assert_eq!(t.read_oob(), Ok(vec_of(5)));
    assert_eq!(t.read_oob(), Err(Error::InvalidArgument));
    assert!(!t.ready().contains(Readiness::PRIORITY));
    // The byte itself is not in the stream.
    assert_eq!(t.try_read(100), Ok(stream(6, 4).to_vec()));
}

#[test]
fn a_pointer_that_advances_is_told_again() {
    // MUST-32: of two urgent octets in a row the later counts, also while the first was not read.
    let mut t = Test::established();
    t.inject("P.U 1:11(10) ack 1 urg 3");
    assert!(t.ready().contains(Readiness::PRIORITY));
    t.inject("P.U 11:21(10) ack 1 urg 4");
    assert!(t.ready().contains(Readiness::PRIORITY));
    assert_eq!(t.read_oob(), Ok(vec_of(13)));
    assert!(!t.ready().contains(Readiness::PRIORITY));
    // And of one that comes after the last was read.
    t.inject("P.U 21:31(10) ack 1 urg 1");
    assert!(t.ready().contains(Readiness::PRIORITY));
    assert_eq!(t.read_oob(), Ok(vec_of(20)));
}

#[test]
fn an_urgent_byte_alone_is_nothing_to_read() {
    let mut t = Test::established();
    t.inject("P.U 1:2(1) ack 1 urg 1");
    assert!(t.ready().contains(Readiness::PRIORITY));
    assert!(!t.ready().contains(Readiness::READABLE));
    assert_eq!(t.try_read(100), Err(Error::WouldBlock));
    t.connection.check_invariants();
    assert_eq!(t.budget.used(), 0, "the byte was passed over");
    t.inject("P. 2:12(10) ack 1");
    assert!(t.ready().contains(Readiness::READABLE));
    assert_eq!(t.try_read(100), Ok(stream(1, 10).to_vec()));
}

#[test]
fn an_urgent_byte_that_nobody_took_is_passed_over_for_the_next() {
    let mut t = Test::established();
    t.inject("P.U 1:2(1) ack 1 urg 1");
    t.inject("P.U 2:3(1) ack 1 urg 1");
    assert!(t.ready().contains(Readiness::PRIORITY));
    assert!(!t.ready().contains(Readiness::READABLE));
    assert_eq!(t.read_oob(), Ok(vec_of(1)));
    assert_eq!(t.try_read(100), Err(Error::WouldBlock));
    t.connection.check_invariants();
    // One that isn't next to be read becomes ordinary data.
    t.inject("P.U 3:13(10) ack 1 urg 5");
    t.inject("P.U 13:14(1) ack 1 urg 1");
    assert_eq!(t.try_read(100), Ok(stream(2, 10).to_vec()));
}

#[test]
fn in_line_the_byte_stays_in_the_stream() {
    let mut t = Test::established_with(|settings| settings.oob_inline = true);
    t.inject("P.U 1:11(10) ack 1 urg 6");
    assert_eq!(t.read_oob(), Err(Error::InvalidArgument));
    assert_eq!(t.try_read(100), Ok(stream(0, 5).to_vec()));
    assert!(t.connection.at_mark());
    assert_eq!(t.try_read(100), Ok(stream(5, 5).to_vec()));
    assert!(!t.connection.at_mark());
}

#[test]
fn the_pointer_may_be_ahead_of_the_data() {
    let mut t = Test::established();
    t.inject("P.U 1:11(10) ack 1 urg 15");
    assert_eq!(t.read_oob(), Err(Error::WouldBlock));
    assert_eq!(t.try_read(100), Ok(stream(0, 10).to_vec()));
    t.inject("P. 11:21(10) ack 1");
    assert_eq!(t.read_oob(), Ok(vec_of(14)));
    assert_eq!(t.try_read(100), Ok(stream(10, 4).to_vec()));
    assert_eq!(t.try_read(100), Ok(stream(15, 5).to_vec()));
}

#[test]
fn peeking_leaves_the_byte() {
    let mut t = Test::established();
    t.inject("P.U 1:11(10) ack 1 urg 1");
    let flags = RecvFlags { oob: true, peek: true };
    for _ in 0..2 {
        let byte = t.call(|c, now, r| c.recv(now, 1, flags, r)).unwrap();
        assert_eq!(byte.to_vec(), vec_of(0));
    }
    let flags = RecvFlags { oob: false, peek: true };
    let peeked = t.call(|c, now, r| c.recv(now, 4, flags, r)).unwrap();
    assert_eq!(peeked.to_vec(), *stream(1, 4));
}

fn vec_of(byte: u8) -> Vec<u8> {
    [byte].to_vec()
}
