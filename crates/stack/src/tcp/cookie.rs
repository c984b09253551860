//! SYN cookies (RFC 4987 §3.6): a listener that is out of room keeps nothing and hides in its initial
//! sequence number what it needs to know.
//!
//! The cookie is `H1 + SEG.SEQ + (counter << 24) + (H2(counter, SEG.SEQ) + mss index) mod 2^24`, with `SipHash`
//! for both. The counter counts minutes; a cookie is good for two of them. When the peer uses timestamps, the
//! lowest bits of ours hold what else its SYN offered: it echoes them. Without, window scale and SACK are lost,
//! which only costs speed.

use crate::address::is_v4;
use crate::demux::Tuple;
use crate::sip::sip;
use crate::tcp::SeqNumber;
use crate::tcp::isn::tuple_bytes;
use core::time::Duration;
use sockeye_packet::Instant;

/// Segment sizes a cookie can tell apart, lowest first, for each version of IP, as the kernel has them: few, for
/// each makes guessing easier.
const SIZES_V4: [u16; 4] = [536, 1300, 1440, 1460];
const SIZES_V6: [u16; 4] = [1220, 1420, 1440, 8940];
/// How many periods a cookie is good for.
const PERIODS: u32 = 2;
const LOW: u32 = 0xff_ffff;
/// How long after the last cookie an ACK may still answer one.
pub(crate) const LIFETIME: Duration = Duration::from_secs(60 * PERIODS as u64);

/// The cookie for a SYN with sequence number `irs` and this MSS option.
pub(crate) fn make(key: [u64; 2], now: Instant, tuple: &Tuple, irs: SeqNumber, mss: u16) -> SeqNumber {
    let index = sizes(tuple).iter().rposition(|size| *size <= mss).unwrap_or(0) as u32;
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
    sizes(tuple).get(index as usize).copied()
}

/// The bits of a timestamp that hold a shift; all set, there is none.
const SHIFT_BITS: u32 = 0xf;
/// The bit of a timestamp that says SACK.
const SACK_BIT: u32 = 0x10;
/// The bit of a timestamp that says ECN.
const ECN_BIT: u32 = 0x20;
/// All bits that options take.
const OPTION_BITS: u32 = 0x3f;

/// What a SYN offered, beside its MSS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// The peer's window scale option.
    pub(crate) window_scale: Option<u8>,
    /// SACK-permitted.
    pub(crate) sack: bool,
    /// ECN.
    pub(crate) ecn: bool,
}

impl Options {
    /// The latest timestamp up to `clock` that holds the options: a later one would go back.
    pub(crate) fn hide(self, clock: u32) -> u32 {
        let shift = self.window_scale.map_or(SHIFT_BITS, |shift| u32::from(shift.min(14)));
        let bits = shift | (u32::from(self.sack) * SACK_BIT) | (u32::from(self.ecn) * ECN_BIT);
        let stamp = clock & !OPTION_BITS | bits;
        if stamp > clock { stamp.wrapping_sub(OPTION_BITS + 1) } else { stamp }
    }

    /// What a timestamp holds.
    pub(crate) fn found(stamp: u32) -> Options {
        let shift = stamp & SHIFT_BITS;
        Options {
            window_scale: (shift != SHIFT_BITS).then_some(shift as u8),
            sack: stamp & SACK_BIT != 0,
            ecn: stamp & ECN_BIT != 0,
        }
    }
}

fn sizes(tuple: &Tuple) -> [u16; 4] {
    if is_v4(&tuple.local) { SIZES_V4 } else { SIZES_V6 }
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
            for (mss, kept) in
                [(100, 1220), (1219, 1220), (1220, 1220), (1439, 1420), (1440, 1440), (65_495, 8940)]
            {
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
    fn a_timestamp_holds_the_options_and_is_never_late() {
        for clock in [0, 1, 63, 64, 1_000_000, u32::MAX] {
            for window_scale in [None, Some(0), Some(7), Some(14)] {
                for (sack, ecn) in [(false, false), (true, false), (false, true), (true, true)] {
                    let options = Options { window_scale, sack, ecn };
                    let stamp = options.hide(clock);
                    assert_eq!(Options::found(stamp), options);
                    assert!(clock.wrapping_sub(stamp) <= OPTION_BITS);
                }
            }
        }
    }

    #[test]
    fn a_cookie_one_off_is_none_of_a_full_segment() {
        let v4 = Tuple { local: crate::address::map_v4([10, 0, 0, 1]), ..TUPLE };
        let now = Instant::from_millis(7);
        let cookie = make(KEY, now, &v4, SeqNumber(3), 1460);
        assert_eq!(check(KEY, now, &v4, SeqNumber(3), cookie), Some(1460));
        assert_eq!(check(KEY, now, &v4, SeqNumber(3), cookie + 1), None);
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
