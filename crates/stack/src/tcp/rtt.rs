//! Round-trip time and the retransmission timeout (RFC 6298).
//!
//! Invariant: after a sample `min ≤ rto() ≤ max`, before the first `initial ≤ rto() ≤ max`. Which samples
//! are valid (Karn's algorithm, timestamps) is the caller's decision: every sample handed in counts.

use core::time::Duration;

/// RFC 6298 §5.7: the timeout for data when the SYN's own timer expired.
const RTO_AFTER_LOST_SYN: Duration = Duration::from_secs(3);
const NANOS_PER_MILLI: u64 = 1_000_000;

/// The smoothed round-trip time of one connection, and the timeout that follows from it.
///
/// Times are nanoseconds: half the size of a `Duration`, and every connection has four of them.
#[derive(Clone, Debug)]
pub(crate) struct RttEstimator {
    /// SRTT, RTTVAR and the least sample; they count once `sampled`.
    srtt: u64,
    rttvar: u64,
    min_rtt: u64,
    /// The timeout without back-off.
    base: u64,
    /// The limits in milliseconds.
    min_rto: u32,
    max_rto: u32,
    sampled: bool,
    /// How often `base` is doubled now.
    back_off: u8,
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl RttEstimator {
    /// An estimator without samples, whose timeout is `initial_rto` (RFC 6298 §2.1).
    pub(crate) fn new(initial_rto: Duration, min_rto: Duration, max_rto: Duration) -> RttEstimator {
        RttEstimator {
            srtt: 0,
            rttvar: 0,
            min_rtt: u64::MAX,
            base: nanos(initial_rto.min(max_rto)),
            min_rto: millis(min_rto),
            max_rto: millis(max_rto),
            sampled: false,
            back_off: 0,
        }
    }

    /// Takes one measurement, which also ends any back-off (RFC 6298 §5.7, last paragraph).
    pub(crate) fn sample(&mut self, rtt: Duration) {
        // A sample beyond the longest timeout says no more than that timeout; an eighth of the range keeps
        // sums finite whatever that timeout is.
        let rtt = nanos(rtt).min(self.max_rto()).min(u64::MAX / 8);
        if self.sampled {
            // §2.3: alpha = 1/8, beta = 1/4, RTTVAR first.
            self.rttvar = (self.rttvar * 3 + self.srtt.abs_diff(rtt)) / 4;
            self.srtt = (self.srtt * 7 + rtt) / 8;
        } else {
            // §2.2
            self.rttvar = rtt / 2;
            self.srtt = rtt;
            self.sampled = true;
        }
        self.min_rtt = self.min_rtt.min(rtt);
        // The lower bound takes the place of the clock's granularity G, as in Linux: it is added to SRTT, so
        // that a delayed acknowledgement on a path of any length arrives before the timer (§2.4's purpose).
        let margin = self.rttvar.saturating_mul(4).max(u64::from(self.min_rto) * NANOS_PER_MILLI);
        self.base = self.srtt.saturating_add(margin).min(self.max_rto());
        self.back_off = 0;
    }

    /// The retransmission timeout now, back-off included.
    pub(crate) fn rto(&self) -> Duration {
        Duration::from_nanos(self.base.saturating_mul(1 << self.back_off).min(self.max_rto()))
    }

    /// Doubles the timeout, up to its limit (RFC 6298 §5.5).
    pub(crate) fn back_off(&mut self) {
        if nanos(self.rto()) < self.max_rto() {
            // `base` is at least a nanosecond and the limit 64 bits of them: 31 doublings are beyond any use.
            self.back_off = (self.back_off + 1).min(31);
        }
    }

    /// Ends the back-off without a measurement: the timeouts turned out to be spurious.
    pub(crate) fn reset_back_off(&mut self) {
        self.back_off = 0;
    }

    /// The SYN was retransmitted by timeout: without a sample, data starts at three seconds (RFC 6298 §5.7).
    pub(crate) fn on_syn_timeout(&mut self) {
        if !self.sampled {
            self.base = self.base.max(nanos(RTO_AFTER_LOST_SYN)).min(self.max_rto());
            self.back_off = 0;
        }
    }

    /// The smoothed round-trip time, if there was a sample.
    pub(crate) fn srtt(&self) -> Option<Duration> {
        self.sampled.then_some(Duration::from_nanos(self.srtt))
    }

    /// The round-trip time's variation, if there was a sample.
    pub(crate) fn rttvar(&self) -> Option<Duration> {
        self.sampled.then_some(Duration::from_nanos(self.rttvar))
    }

    /// The least sample of the connection's life, if there was one.
    pub(crate) fn min_rtt(&self) -> Option<Duration> {
        self.sampled.then_some(Duration::from_nanos(self.min_rtt))
    }

    fn max_rto(&self) -> u64 {
        u64::from(self.max_rto) * NANOS_PER_MILLI
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
        rtt.sample(Duration::from_millis(10));
        rtt.on_syn_timeout();
        assert_eq!(rtt.rto(), Duration::from_millis(210));
    }

    #[test]
    fn a_sample_ends_the_back_off() {
        let mut rtt = estimator();
        rtt.sample(Duration::from_millis(100));
        assert_eq!(rtt.rto(), Duration::from_millis(300));
        rtt.back_off();
        assert_eq!(rtt.rto(), Duration::from_millis(600));
        rtt.sample(Duration::from_millis(100));
        assert!(rtt.rto() < Duration::from_millis(301));
    }

    proptest! {
        #[test]
        fn follows_the_formulas(samples in proptest::collection::vec(0_u64..200_000_000_000, 1..60)) {
            let mut rtt = estimator();
            let (mut srtt, mut rttvar, mut least) = (0.0_f64, 0.0_f64, f64::MAX);
            for (i, &nanos) in samples.iter().enumerate() {
                let sample = Duration::from_nanos(nanos);
                rtt.sample(sample);
                let r = sample.min(MAX).as_secs_f64();
                if i == 0 {
                    (srtt, rttvar) = (r, r / 2.0);
                } else {
                    rttvar = 0.75 * rttvar + 0.25 * (srtt - r).abs();
                    srtt = 0.875 * srtt + 0.125 * r;
                }
                least = least.min(r);
                let rto = (srtt + (4.0 * rttvar).max(0.2)).min(120.0);
                prop_assert!((rtt.srtt().unwrap().as_secs_f64() - srtt).abs() < 1e-6);
                prop_assert!((rtt.rttvar().unwrap().as_secs_f64() - rttvar).abs() < 1e-6);
                prop_assert!((rtt.rto().as_secs_f64() - rto).abs() < 1e-5);
                prop_assert!((rtt.min_rtt().unwrap().as_secs_f64() - least).abs() < 1e-8);
                prop_assert!(rtt.rto() <= MAX && rtt.rto() >= MIN);
            }
        }
    }
}
