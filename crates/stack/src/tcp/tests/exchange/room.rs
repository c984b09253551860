//! How much a program may write.

use super::*;

const EOR: SendFlags = SendFlags { more: false, oob: false, eor: true, dont_route: false };

impl Test {
    fn space(&self) -> usize {
        self.connection.send_space(&self.settings, &self.config)
    }
}

#[test]
fn a_write_ends_where_a_segment_does() {
    // Half of the window is gathered; ten segments of it leave, and what stays is filled up again.
    let mut t = Test::established_with(|settings| settings.send_buffer = Some(5000));
    assert_eq!(t.space(), 40_000);
    assert_eq!(t.try_write(59_000, SendFlags::default()), Ok(40_000));
    assert_eq!(t.try_write(1, SendFlags::default()), Err(Error::WouldBlock));
    assert!(!t.ready().contains(Readiness::WRITABLE));
}

#[test]
fn what_waits_unsent_is_limited_alike() {
    let mut t = Test::established_with(|settings| settings.not_sent_low_water = 4000);
    assert_eq!(t.try_write(59_000, SendFlags::default()), Ok(40_000));
    while t.poll().is_some() {}
    assert!(!t.ready().contains(Readiness::WRITABLE));
    for ack in (1..36).map(|segments| segments * 1000 + 1) {
        t.inject(&format!(". 1:1(0) ack {ack}"));
        while t.poll().is_some() {}
        // Who was woken finds half of the limit free.
        let unsent = t.connection.unsent();
        assert_eq!(t.ready().contains(Readiness::WRITABLE), unsent < 2000, "{unsent}");
    }
}

#[test]
fn segments_count_for_more_than_their_bytes() {
    let mut t = Test::established_with(|settings| settings.send_buffer = Some(5000));
    let taken = (0..100).map_while(|_| t.try_write(10, EOR).ok()).count();
    assert_eq!(taken, 6);
    while t.poll().is_some() {}
    t.inject(". 1:1(0) ack 11");
    t.inject(". 1:1(0) ack 21");
    assert!(!t.ready().contains(Readiness::WRITABLE));
    t.inject(". 1:1(0) ack 31");
    assert!(t.ready().contains(Readiness::WRITABLE));
}

#[test]
fn a_write_of_nothing_succeeds_without_room() {
    let mut t = Test::established_with(|settings| settings.send_buffer = Some(5000));
    t.try_write(59_000, SendFlags::default()).unwrap();
    assert_eq!(t.try_write(0, SendFlags::default()), Ok(0));
}

#[test]
fn space_is_what_a_write_takes() {
    for (limit, low_water) in [(5000, 0), (60_000, 7000), (300_000, 50_000), (1, 1)] {
        let mut t = Test::established_with(|settings| {
            settings.send_buffer = Some(limit);
            settings.not_sent_low_water = low_water;
        });
        let mut ack = 1;
        for step in 0..200_u32 {
            let space = t.space();
            let part = space.min(1 + (step * 7919 % 9000) as usize);
            if space > 0 {
                assert_eq!(t.try_write(part, SendFlags::default()), Ok(part));
                let rest = t.space();
                let all = t.try_write(1 << 20, SendFlags::default());
                assert_eq!(all, if rest == 0 { Err(Error::WouldBlock) } else { Ok(rest) });
            } else {
                assert_eq!(t.try_write(1, SendFlags::default()), Err(Error::WouldBlock));
                assert!(!t.ready().contains(Readiness::WRITABLE), "nobody would be woken");
            }
            while t.poll().is_some() {}
            ack = (ack + step * 977 % 5000).min(t.connection.snd_nxt.0);
            t.sleep(10);
            t.inject(&format!(". 1:1(0) ack {ack}"));
        }
        assert!(ack > 100_000, "{ack}");
    }
}

#[test]
fn the_limit_grows_for_two_congestion_windows_of_whole_segments() {
    let mut t = Test::established();
    t.connection.send_limit = 5000;
    for (acked, segments) in [(2, 12), (10, 22)] {
        t.write(10_000);
        while t.poll().is_some() {}
        let ack = t.connection.snd_una + acked * 1000;
        t.inject(&format!(". 1:1(0) ack {}", ack.0));
        // 1,000 octets and headers are rounded up to 2,048.
        assert_eq!(t.connection.send_limit, 2 * segments * (2048 + 256));
    }
}

#[test]
fn a_program_may_fix_the_limit() {
    let mut t = Test::established_with(|settings| settings.send_buffer = Some(5000));
    t.write(10_000);
    while t.poll().is_some() {}
    t.inject(". 1:1(0) ack 10001");
    assert_eq!(t.connection.send_limit, 5000);
}
