//! Round-trip time and the retransmission timeout (RFC 6298), with the kernel's estimator.
//!
//! It differs from the RFC's where several samples come in a round trip: RTTVAR follows the largest
//! deviation of each round trip, falls by a quarter of the difference at its end, and is never less than
//! the shortest timeout; a sample that is far below SRTT counts less than one that is as far above.
//! Invariant: after a sample `min ≤ rto() ≤ max`, before the first `initial ≤ rto() ≤ max`. Which samples
//! are valid (Karn's algorithm, timestamps) is the caller's decision: every sample handed in counts.

use super::seq::SeqNumber;
use core::time::Duration;
use sockeye_packet::Instant;

/// RFC 6298 §5.7: the timeout for data when the SYN's own timer expired.
const RTO_AFTER_LOST_SYN: Duration = Duration::from_secs(3);
/// No round trip and no timeout counts for longer: eight of it fit in 32 bits of microseconds.
const LONGEST: u32 = 500_000_000;
/// The least round-trip time is that of so many seconds (`tcp_min_rtt_wlen`).
const MIN_RTT_WINDOW: u32 = 300;

/// The smoothed round-trip time of one connection, and the timeout that follows from it.
///
/// Times are microseconds: every connection has these.
#[derive(Clone, Debug)]
pub(crate) struct RttEstimator {
    /// Eight times SRTT; zero before the first sample.
    srtt: u32,
    /// Four times the smoothed deviation, its largest value in this round trip, and RTTVAR (times four).
    mdev: u32,
    mdev_max: u32,
    rttvar: u32,
    /// SND.NXT when this round trip began.
    round_end: SeqNumber,
    /// The least sample and the second in which it was taken.
    min_rtt: u32,
    min_rtt_at: u32,
    /// The timeout without back-off.
    base: u32,
    /// The limits in milliseconds.
    min_rto: u32,
    max_rto: u32,
    /// How often `base` is doubled now.
    back_off: u8,
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX).min(LONGEST)
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

impl RttEstimator {
    /// An estimator without samples, whose timeout is `initial_rto` (RFC 6298 §2.1).
    pub(crate) fn new(initial_rto: Duration, min_rto: Duration, max_rto: Duration) -> RttEstimator {
        RttEstimator {
            srtt: 0,
            mdev: 0,
            mdev_max: 0,
            rttvar: 0,
            round_end: SeqNumber(0),
            min_rtt: u32::MAX,
            min_rtt_at: 0,
            base: micros(initial_rto.min(max_rto)),
            min_rto: millis(min_rto),
            max_rto: millis(max_rto),
            back_off: 0,
        }
    }

    /// Takes one measurement, which also ends any back-off (RFC 6298 §5.7, last paragraph). Sequence numbers
    /// tell when a round trip is over.
    #[inline]
    pub(crate) fn sample(&mut self, rtt: Duration, snd_una: SeqNumber, snd_nxt: SeqNumber) {
        let rtt = micros(rtt).min(self.max_rto());
        let least = self.min_rto.saturating_mul(1000).min(LONGEST);
        if self.srtt == 0 {
            // RFC 6298 §2.2: RTTVAR is half of the first sample.
            self.srtt = (rtt * 8).max(1);
            self.mdev = rtt * 2;
            self.rttvar = self.mdev.max(least);
            self.mdev_max = self.rttvar;
            self.round_end = snd_nxt;
        } else {
            self.smooth(rtt);
            if snd_una.after(self.round_end) {
                self.rttvar -= self.rttvar.saturating_sub(self.mdev_max) / 4;
                self.round_end = snd_nxt;
                self.mdev_max = least;
            }
        }
        // The lower bound is RTTVAR's and added to SRTT, so that a delayed acknowledgement on a path of any
        // length arrives before the timer (the purpose of RFC 6298 §2.4).
        self.base = (self.srtt / 8).saturating_add(self.rttvar).min(self.max_rto());
        self.back_off = 0;
    }

    /// RFC 6298 §2.3: alpha = 1/8, beta = 1/4.
    fn smooth(&mut self, rtt: u32) {
        let error = i64::from(rtt) - i64::from(self.srtt / 8);
        self.srtt = (i64::from(self.srtt) + error).max(1) as u32;
        let mut change = error.abs() - i64::from(self.mdev / 4);
        if error < 0 && change > 0 {
            // A path that has become shorter is no reason to wait longer.
            change /= 8;
        }
        self.mdev = (i64::from(self.mdev) + change).max(0) as u32;
        if self.mdev > self.mdev_max {
            self.mdev_max = self.mdev;
            self.rttvar = self.rttvar.max(self.mdev_max);
        }
    }

    /// Takes note of a round trip for [`min_rtt`](RttEstimator::min_rtt): the latest that one
    /// acknowledgment measured.
    #[inline]
    pub(crate) fn note_least(&mut self, now: Instant, rtt: Duration) {
        // As the kernel: one that takes no time took less than its clock's tick.
        let rtt = if rtt.is_zero() { 1000 } else { micros(rtt).max(1) };
        let seconds = (now.as_millis() / 1000) as u32;
        if rtt <= self.min_rtt || seconds.wrapping_sub(self.min_rtt_at) > MIN_RTT_WINDOW {
            self.min_rtt = rtt;
            self.min_rtt_at = seconds;
        }
    }

    /// The retransmission timeout now, back-off included.
    pub(crate) fn rto(&self) -> Duration {
        Duration::from_nanos(self.rto_nanos())
    }

    /// The same in nanoseconds.
    #[inline]
    pub(crate) fn rto_nanos(&self) -> u64 {
        let doubled = u64::from(self.base) << self.back_off;
        doubled.min(u64::from(self.max_rto) * 1000) * 1000
    }

    /// Doubles the timeout, up to its limit (RFC 6298 §5.5).
    pub(crate) fn back_off(&mut self) {
        // 31 doublings are beyond any use.
        self.back_off = (self.back_off + 1).min(31);
    }

    /// How often the timeout was doubled since the last measurement.
    pub(crate) fn doublings(&self) -> u8 {
        self.back_off
    }

    /// Ends the back-off without a measurement: the timeouts turned out to be spurious.
    pub(crate) fn reset_back_off(&mut self) {
        self.back_off = 0;
    }

    /// The SYN was retransmitted by timeout: without a sample, data starts at three seconds (RFC 6298 §5.7).
    pub(crate) fn on_syn_timeout(&mut self) {
        if self.srtt == 0 {
            self.base = micros(RTO_AFTER_LOST_SYN).max(self.base).min(self.max_rto());
            self.back_off = 0;
        }
    }

    /// Sets the upper limit anew (`TCP_RTO_MAX_MS`).
    pub(crate) fn set_max_rto(&mut self, max_rto: Duration) {
        self.max_rto = millis(max_rto);
    }

    /// The smoothed round-trip time, if there was a sample.
    #[inline]
    pub(crate) fn srtt(&self) -> Option<Duration> {
        (self.srtt > 0).then_some(Duration::from_micros(u64::from(self.srtt / 8)))
    }

    /// The same in nanoseconds.
    #[inline]
    pub(crate) fn srtt_nanos(&self) -> Option<u64> {
        (self.srtt > 0).then_some(u64::from(self.srtt / 8) * 1000)
    }

    /// The round-trip time's variation, if there was a sample.
    pub(crate) fn rttvar(&self) -> Option<Duration> {
        (self.srtt > 0).then_some(Duration::from_micros(u64::from(self.mdev / 4)))
    }

    /// The least sample of the last minutes, if there was one.
    pub(crate) fn min_rtt(&self) -> Option<Duration> {
        (self.min_rtt < u32::MAX).then_some(Duration::from_micros(self.min_rtt.into()))
    }

    fn max_rto(&self) -> u32 {
        self.max_rto.saturating_mul(1000).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const MIN: Duration = Duration::from_millis(200);
    const MAX: Duration = Duration::from_mins(2);

    fn estimator() -> RttEstimator {
        RttEstimator::new(Duration::from_secs(1), MIN, MAX)
    }

    /// One sample in a round trip of its own.
    fn sample(rtt: &mut RttEstimator, millis: u64) {
        let una = rtt.round_end + 1;
        rtt.sample(Duration::from_millis(millis), una, una);
    }

    #[test]
    fn starts_at_one_second_and_backs_off_to_the_limit() {
        let mut rtt = estimator();
        assert_eq!((rtt.srtt(), rtt.min_rtt()), (None, None));
        let seconds: Vec<u64> = (0..9)
            .map(|_| {
                let now = rtt.rto().as_secs();
                rtt.back_off();
                now
            })
            .collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 120, 120]);
        for _ in 0..300 {
            rtt.back_off();
        }
        assert_eq!(rtt.rto(), MAX);
    }

    #[test]
    fn a_lost_syn_starts_data_at_three_seconds() {
        let mut rtt = estimator();
        rtt.back_off();
        rtt.on_syn_timeout();
        assert_eq!(rtt.rto(), Duration::from_secs(3));
        sample(&mut rtt, 10);
        rtt.on_syn_timeout();
        assert_eq!(rtt.rto(), Duration::from_millis(210));
    }

    #[test]
    fn a_sample_ends_the_back_off() {
        let mut rtt = estimator();
        sample(&mut rtt, 100);
        assert_eq!(rtt.rto(), Duration::from_millis(300));
        rtt.back_off();
        assert_eq!(rtt.rto(), Duration::from_millis(600));
        sample(&mut rtt, 100);
        assert_eq!(rtt.rto(), Duration::from_millis(300));
    }

    #[test]
    fn the_variation_falls_slowly_and_by_round_trips() {
        let mut rtt = estimator();
        sample(&mut rtt, 200);
        assert_eq!((rtt.rto(), rtt.rttvar()), (Duration::from_millis(600), Some(Duration::from_millis(100))));
        // Within the round trip RTTVAR holds; after it it falls by a quarter of the difference.
        rtt.sample(Duration::from_millis(200), rtt.round_end, SeqNumber(50));
        assert_eq!(rtt.rto(), Duration::from_millis(600));
        sample(&mut rtt, 200);
        assert_eq!(rtt.rto(), Duration::from_millis(600));
        sample(&mut rtt, 200);
        assert_eq!(rtt.rto(), Duration::from_millis(550));
    }

    #[test]
    fn a_shorter_path_is_not_taken_for_a_varying_one() {
        let (mut up, mut down) = (estimator(), estimator());
        for _ in 0..60 {
            sample(&mut up, 100);
            sample(&mut down, 100);
        }
        sample(&mut up, 180);
        sample(&mut down, 20);
        assert!(up.rttvar().unwrap() > 4 * down.rttvar().unwrap(), "{up:?} {down:?}");
    }

    #[test]
    fn the_least_sample_is_forgotten() {
        let mut rtt = estimator();
        rtt.note_least(Instant::from_millis(0), Duration::from_millis(10));
        rtt.note_least(Instant::from_millis(300_000), Duration::from_millis(20));
        assert_eq!(rtt.min_rtt(), Some(Duration::from_millis(10)));
        rtt.note_least(Instant::from_millis(302_000), Duration::from_millis(20));
        assert_eq!(rtt.min_rtt(), Some(Duration::from_millis(20)));
    }

    proptest! {
        #[test]
        fn stays_within_its_limits(samples in proptest::collection::vec((0_u64..200_000_000_000, any::<bool>()), 1..60)) {
            let mut rtt = estimator();
            let mut srtt = 0.0_f64;
            for (i, &(nanos, round)) in samples.iter().enumerate() {
                let una = rtt.round_end + u32::from(round);
                rtt.sample(Duration::from_nanos(nanos), una, una);
                let r = Duration::from_nanos(nanos).min(MAX).as_secs_f64();
                srtt = if i == 0 { r } else { 0.875 * srtt + 0.125 * r };
                prop_assert!((rtt.srtt().unwrap().as_secs_f64() - srtt).abs() < 2e-5);
                prop_assert!(rtt.rto() <= MAX && rtt.rto() >= MIN.min(MAX));
            }
        }
    }
}
