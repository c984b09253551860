//! Round-trip time and the retransmission timeout (RFC 6298).
//!
//! Invariant: after a sample `min ≤ rto() ≤ max`, before the first `initial ≤ rto() ≤ max`. Which samples
//! are valid (Karn's algorithm, timestamps) is the caller's decision: every sample handed in counts.

use core::time::Duration;

/// RFC 6298 §5.7: the timeout for data when the SYN's own timer expired.
const RTO_AFTER_LOST_SYN: Duration = Duration::from_secs(3);

/// The smoothed round-trip time of one connection, and the timeout that follows from it.
#[derive(Clone, Debug)]
pub(crate) struct RttEstimator {
    /// SRTT and RTTVAR; `None` before the first sample.
    smoothed: Option<Smoothed>,
    min_rtt: Duration,
    /// The timeout without back-off.
    base: Duration,
    /// How often `base` is doubled now.
    back_off: u8,
    min_rto: Duration,
    max_rto: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Smoothed {
    srtt: Duration,
    rttvar: Duration,
}

impl RttEstimator {
    /// An estimator without samples, whose timeout is `initial_rto` (RFC 6298 §2.1).
    pub(crate) fn new(initial_rto: Duration, min_rto: Duration, max_rto: Duration) -> RttEstimator {
        RttEstimator {
            smoothed: None,
            min_rtt: Duration::MAX,
            base: initial_rto.min(max_rto),
            back_off: 0,
            min_rto,
            max_rto,
        }
    }

    /// Takes one measurement, which also ends any back-off (RFC 6298 §5.7, last paragraph).
    pub(crate) fn sample(&mut self, rtt: Duration) {
        // A sample beyond the longest timeout says no more than that timeout; it also keeps sums finite.
        let rtt = rtt.min(self.max_rto);
        let next = match self.smoothed {
            // §2.2
            None => Smoothed { srtt: rtt, rttvar: rtt / 2 },
            // §2.3: alpha = 1/8, beta = 1/4, RTTVAR first.
            Some(Smoothed { srtt, rttvar }) => {
                Smoothed { rttvar: (rttvar * 3 + srtt.abs_diff(rtt)) / 4, srtt: (srtt * 7 + rtt) / 8 }
            }
        };
        self.smoothed = Some(next);
        self.min_rtt = self.min_rtt.min(rtt);
        // The lower bound takes the place of the clock's granularity G, as in Linux: it is added to SRTT, so
        // that a delayed acknowledgement on a path of any length arrives before the timer (§2.4's purpose).
        self.base = (next.srtt + (next.rttvar * 4).max(self.min_rto)).min(self.max_rto);
        self.back_off = 0;
    }

    /// The retransmission timeout now, back-off included.
    pub(crate) fn rto(&self) -> Duration {
        self.base.saturating_mul(1 << self.back_off).min(self.max_rto)
    }

    /// Doubles the timeout, up to its limit (RFC 6298 §5.5).
    pub(crate) fn back_off(&mut self) {
        if self.rto() < self.max_rto {
            // `base` is at least a nanosecond and the limit a Duration: 31 doublings are beyond any use.
            self.back_off = (self.back_off + 1).min(31);
        }
    }

    /// Ends the back-off: new data was acknowledged.
    pub(crate) fn reset_back_off(&mut self) {
        self.back_off = 0;
    }

    /// How often the timeout is doubled now.
    pub(crate) fn back_offs(&self) -> u8 {
        self.back_off
    }

    /// The SYN was retransmitted by timeout: without a sample, data starts at three seconds (RFC 6298 §5.7).
    pub(crate) fn on_syn_timeout(&mut self) {
        if self.smoothed.is_none() {
            self.base = self.base.max(RTO_AFTER_LOST_SYN).min(self.max_rto);
            self.back_off = 0;
        }
    }

    /// The smoothed round-trip time, if there was a sample.
    pub(crate) fn srtt(&self) -> Option<Duration> {
        self.smoothed.map(|s| s.srtt)
    }

    /// The round-trip time's variation, if there was a sample.
    pub(crate) fn rttvar(&self) -> Option<Duration> {
        self.smoothed.map(|s| s.rttvar)
    }

    /// The least sample of the connection's life, if there was one.
    pub(crate) fn min_rtt(&self) -> Option<Duration> {
        self.smoothed.map(|_| self.min_rtt)
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
        rtt.reset_back_off();
        assert_eq!(rtt.rto(), Duration::from_secs(1));
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
        assert_eq!((rtt.rto(), rtt.back_offs()), (Duration::from_millis(600), 1));
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
