//! Reno (RFC 5681): slow start, additive increase, halving.
//!
//! Congestion avoidance counts acknowledged bytes (RFC 3465), so delayed and stretched acknowledgements
//! grow the window by one segment per window all the same.

use super::{AckEvent, Controller, MAX_CWND, initial_window, slow_start};
use core::time::Duration;
use sockeye_packet::Instant;

/// Reno's state for one connection.
#[derive(Clone, Debug)]
pub struct Reno {
    mss: usize,
    initial_segments: u32,
    cwnd: usize,
    ssthresh: usize,
    /// Bytes acknowledged towards the next segment of growth.
    acked: usize,
    /// A timeout happened and nothing was acknowledged since.
    timed_out: bool,
    /// `cwnd` and `ssthresh` before the latest reduction.
    prior: Option<(usize, usize)>,
}

impl Reno {
    /// A controller that starts with a window of `initial_segments` (RFC 6928).
    pub fn new(mss: usize, initial_segments: u32) -> Reno {
        let mss = mss.max(1);
        Reno {
            mss,
            initial_segments,
            cwnd: initial_window(mss, initial_segments),
            ssthresh: usize::MAX,
            acked: 0,
            timed_out: false,
            prior: None,
        }
    }

    fn reduce(&mut self, in_flight: usize) {
        self.prior = Some((self.cwnd, self.ssthresh));
        // RFC 5681 §3.1 (4): half the flight, not half a window that may never have been used.
        self.ssthresh = (in_flight.min(self.cwnd) / 2).max(2 * self.mss);
        self.acked = 0;
    }
}

impl Controller for Reno {
    fn cwnd(&self) -> usize {
        self.cwnd
    }

    fn ssthresh(&self) -> usize {
        self.ssthresh
    }

    fn on_ack(&mut self, event: &AckEvent) {
        self.timed_out = false;
        if event.app_limited {
            return;
        }
        self.acked += slow_start(&mut self.cwnd, self.ssthresh, event.acked).min(self.cwnd);
        if self.acked >= self.cwnd {
            self.acked -= self.cwnd;
            self.cwnd = (self.cwnd + self.mss).min(MAX_CWND);
        }
    }

    fn on_congestion(&mut self, _now: Instant, in_flight: usize) {
        self.reduce(in_flight);
        self.cwnd = self.ssthresh;
    }

    fn on_timeout(&mut self, _now: Instant, in_flight: usize) {
        // RFC 5681 §3.1: ssthresh is held when the same data times out again.
        if !self.timed_out {
            self.reduce(in_flight);
        }
        self.timed_out = true;
        self.cwnd = self.mss;
    }

    fn on_idle(&mut self, idle: Duration, rto: Duration) {
        // RFC 5681 §4.1: the restart window.
        if idle > rto {
            self.cwnd = self.cwnd.min(initial_window(self.mss, self.initial_segments));
            self.acked = 0;
        }
    }

    fn undo(&mut self) {
        if let Some((cwnd, ssthresh)) = self.prior.take() {
            self.cwnd = self.cwnd.max(cwnd);
            self.ssthresh = self.ssthresh.max(ssthresh);
            self.timed_out = false;
        }
    }

    fn set_mss(&mut self, mss: usize) {
        let untouched =
            self.ssthresh == usize::MAX && self.cwnd == initial_window(self.mss, self.initial_segments);
        self.mss = mss.max(1);
        if untouched {
            self.cwnd = initial_window(self.mss, self.initial_segments);
        }
        self.cwnd = self.cwnd.max(self.mss);
    }

    fn name(&self) -> &'static str {
        "reno"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MSS: usize = 1000;

    fn ack(acked: usize) -> AckEvent {
        AckEvent {
            now: Instant::ZERO,
            acked,
            in_flight: acked,
            rtt: None,
            srtt: Duration::from_millis(10),
            app_limited: false,
        }
    }

    #[test]
    fn doubles_then_adds_a_segment_per_window() {
        let mut reno = Reno::new(MSS, 10);
        reno.on_ack(&ack(10_000));
        assert_eq!(reno.cwnd(), 20_000);
        reno.on_congestion(Instant::ZERO, 20_000);
        assert_eq!((reno.cwnd(), reno.ssthresh()), (10_000, 10_000));
        for _ in 0..9 {
            reno.on_ack(&ack(MSS));
        }
        assert_eq!(reno.cwnd(), 10_000);
        reno.on_ack(&ack(MSS));
        assert_eq!(reno.cwnd(), 11_000);
        reno.on_ack(&AckEvent { app_limited: true, ..ack(11_000) });
        assert_eq!(reno.cwnd(), 11_000);
    }

    #[test]
    fn repeated_timeouts_hold_the_threshold() {
        let mut reno = Reno::new(MSS, 10);
        reno.on_timeout(Instant::ZERO, 10_000);
        reno.on_timeout(Instant::ZERO, 1_000);
        assert_eq!((reno.cwnd(), reno.ssthresh()), (MSS, 5_000));
        reno.undo();
        assert_eq!((reno.cwnd(), reno.ssthresh()), (10_000, usize::MAX));
    }

    #[test]
    fn restarts_from_the_initial_window_after_idling() {
        let mut reno = Reno::new(MSS, 10);
        reno.on_ack(&ack(10_000));
        reno.on_idle(Duration::from_secs(1), Duration::from_secs(1));
        assert_eq!(reno.cwnd(), 20_000);
        reno.on_idle(Duration::from_secs(2), Duration::from_secs(1));
        assert_eq!(reno.cwnd(), 10_000);
    }

    #[test]
    fn the_initial_window_follows_the_negotiated_segment_size() {
        let mut reno = Reno::new(536, 10);
        reno.set_mss(1460);
        assert_eq!(reno.cwnd(), 14_600);
        reno.on_ack(&ack(1460));
        reno.set_mss(536);
        assert_eq!(reno.cwnd(), 16_060);
    }

    proptest! {
        #[test]
        fn the_window_stays_in_bounds(events in proptest::collection::vec((0_u8..6, any::<usize>()), 0..200)) {
            let mut reno = Reno::new(MSS, 10);
            for (kind, n) in events {
                match kind {
                    0 | 1 => reno.on_ack(&ack(n)),
                    2 => reno.on_congestion(Instant::ZERO, n),
                    3 => reno.on_timeout(Instant::ZERO, n),
                    4 => reno.undo(),
                    _ => reno.set_mss(n % 70_000),
                }
                prop_assert!(reno.cwnd() >= 1 && reno.cwnd() <= MAX_CWND + 70_000);
                prop_assert!(reno.ssthresh() >= 2);
            }
        }
    }
}
