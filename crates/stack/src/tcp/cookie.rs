//! SYN cookies (RFC 4987 §3.6): a listener that is out of room keeps nothing and hides in its initial
//! sequence number what it needs to know.
//!
//! The cookie is `H1 + SEG.SEQ + (counter << 24) + (H2(counter, SEG.SEQ) + mss index) mod 2^24`, with `SipHash`
//! for both. The counter counts minutes; a cookie is good for two of them. Window scale, SACK and timestamps
//! are lost, which only costs speed.

use crate::demux::{Tuple, sip};
use crate::tcp::SeqNumber;
use crate::tcp::isn::tuple_bytes;
use core::time::Duration;
use sockeye_packet::Instant;

/// Segment sizes a cookie can tell apart, lowest first.
const SIZES: [u16; 8] = [216, 536, 1220, 1300, 1400, 1440, 1460, 8960];
/// How many periods a cookie is good for.
const PERIODS: u32 = 2;
const LOW: u32 = 0xff_ffff;
/// How long after the last cookie an ACK may still answer one.
pub(crate) const LIFETIME: Duration = Duration::from_secs(60 * PERIODS as u64);

/// The cookie for a SYN with sequence number `irs` and this MSS option.
pub(crate) fn make(key: [u64; 2], now: Instant, tuple: &Tuple, irs: SeqNumber, mss: u16) -> SeqNumber {
    let index = SIZES.iter().rposition(|size| *size <= mss).unwrap_or(0) as u32;
    let counter = period(now);
    let low = hash(key, tuple, counter, irs.0).wrapping_add(index) & LOW;
    let base = hash(key, tuple, u32::MAX, 0).wrapping_add(irs.0);
    SeqNumber(base.wrapping_add(counter << 24).wrapping_add(low))
}

/// The MSS that a cookie holds, if we can have made it for that tuple and `irs` lately.
pub(crate) fn check(
    key: [u64; 2],
    now: Instant,
    tuple: &Tuple,
    irs: SeqNumber,
    cookie: SeqNumber,
) -> Option<u16> {
    let base = hash(key, tuple, u32::MAX, 0).wrapping_add(irs.0);
    let rest = cookie.0.wrapping_sub(base);
    let age = period(now).wrapping_sub(rest >> 24) & 0xff;
    if age >= PERIODS {
        return None;
    }
    let counter = period(now).wrapping_sub(age);
    let index = rest.wrapping_sub(hash(key, tuple, counter, irs.0)) & LOW;
    SIZES.get(index as usize).copied()
}

fn period(now: Instant) -> u32 {
    (now.as_millis() / 60_000) as u32
}

fn hash(key: [u64; 2], tuple: &Tuple, counter: u32, seq: u32) -> u32 {
    let mut bytes = [0; 46];
    bytes[..38].copy_from_slice(&tuple_bytes(tuple));
    bytes[38..42].copy_from_slice(&counter.to_be_bytes());
    bytes[42..].copy_from_slice(&seq.to_be_bytes());
    sip(key, &bytes) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demux::Proto;

    const KEY: [u64; 2] = [1, 2];
    const TUPLE: Tuple = Tuple {
        local: [1; 16],
        remote: [2; 16],
        local_port: 80,
        remote_port: 4,
        scope: 0,
        proto: Proto::Tcp,
    };

    #[test]
    fn a_cookie_holds_the_mss_for_a_while() {
        for start in [0, 59_999, 60_000 * 255, 60_000 * 256] {
            for (mss, kept) in [(100, 216), (536, 536), (1459, 1440), (1460, 1460), (65_495, 8960)] {
                let irs = SeqNumber(u32::MAX - 3);
                let cookie = make(KEY, Instant::from_millis(start), &TUPLE, irs, mss);
                let at = |millis| check(KEY, Instant::from_millis(start + millis), &TUPLE, irs, cookie);
                assert_eq!(at(0), Some(kept));
                assert_eq!(at(60_000), Some(kept));
                assert_eq!(at(120_000), None);
            }
        }
    }

    #[test]
    fn a_guess_is_refused() {
        let now = Instant::from_millis(1);
        let cookie = make(KEY, now, &TUPLE, SeqNumber(7), 1460);
        let other = Tuple { remote_port: 5, ..TUPLE };
        assert_eq!(check(KEY, now, &other, SeqNumber(7), cookie), None);
        assert_eq!(check(KEY, now, &TUPLE, SeqNumber(9), cookie), None);
        let hits = (0..100_000_u32).filter(|guess| {
            check(KEY, now, &TUPLE, SeqNumber(7), SeqNumber(guess.wrapping_mul(2_654_435_761))).is_some()
        });
        assert!(hits.count() <= 1);
    }
}
