//! Reno (RFC 5681): slow start, additive increase, halving.

use super::window::Window;
use super::{AckEvent, Controller};
use alloc::boxed::Box;
use core::time::Duration;
use sockeye_packet::Instant;

/// Reno's state for one connection.
#[derive(Clone, Debug)]
pub struct Reno {
    window: Window,
    /// A timeout happened and nothing was acknowledged since.
    timed_out: bool,
    /// The window before the latest reduction.
    prior: Option<Box<Window>>,
}

impl Reno {
    /// A controller that starts with a window of `initial_segments` (RFC 6928).
    pub fn new(mss: usize, initial_segments: u32) -> Reno {
        Reno { window: Window::new(mss, initial_segments), timed_out: false, prior: None }
    }

    /// Takes over `window` from another algorithm. `timed_out` says that nothing was acknowledged since the
    /// latest timeout.
    pub(super) fn taking_over(window: Window, timed_out: bool) -> Reno {
        Reno { window, timed_out, prior: None }
    }

    /// What another algorithm takes over.
    pub(super) fn handed_over(&self) -> (Window, bool) {
        (self.window, self.timed_out)
    }

    /// Half the window. RFC 5681 §3.1 (4) halves the flight, for a window may never have been used; as the
    /// kernel, windows are validated instead (RFC 7661), which also shrinks those that are not used.
    fn reduce(&mut self) {
        self.prior = Some(Box::new(self.window));
        self.window.reduce(self.window.segments() / 2);
    }
}

impl Controller for Reno {
    fn cwnd(&self) -> usize {
        self.window.bytes()
    }

    fn ssthresh(&self) -> usize {
        self.window.ssthresh_bytes()
    }

    fn on_ack(&mut self, event: &AckEvent) {
        self.timed_out = false;
        let mut acked = self.window.acked_segments(event);
        if event.app_limited {
            return;
        }
        if self.window.in_slow_start() {
            acked = self.window.slow_start(acked);
        }
        if acked > 0 {
            self.window.grow(self.window.segments(), acked);
        }
    }

    fn on_congestion(&mut self, _now: Instant, _in_flight: usize) {
        self.reduce();
        self.window.fall();
    }

    fn on_timeout(&mut self, _now: Instant, _in_flight: usize) {
        // RFC 5681 §3.1: ssthresh is held when the same data times out again.
        if !self.timed_out {
            self.reduce();
        }
        self.timed_out = true;
        self.window.collapse();
    }

    fn on_idle(&mut self, idle: Duration, rto: Duration, restart: bool) {
        if restart {
            self.window.restart(idle, rto);
        }
    }

    fn undo(&mut self) {
        if let Some(prior) = self.prior.take() {
            self.window.undo(&prior);
            self.timed_out = false;
        }
    }

    fn set_cwnd(&mut self, cwnd: usize) {
        self.window.set_cwnd(cwnd);
    }

    fn set_ssthresh(&mut self, ssthresh: usize) {
        self.window.set_ssthresh(ssthresh);
    }

    fn set_mss(&mut self, mss: usize) {
        self.window.set_mss(mss);
    }

    fn name(&self) -> &'static str {
        "reno"
    }
}

#[cfg(test)]
mod tests {
    use super::super::MAX_CWND;
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
            una: 0,
            nxt: 1,
            paced: false,
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
        reno.on_idle(Duration::from_secs(1), Duration::from_secs(1), true);
        assert_eq!(reno.cwnd(), 20_000);
        reno.on_idle(Duration::from_secs(2), Duration::from_secs(1), false);
        assert_eq!(reno.cwnd(), 20_000);
        reno.on_idle(Duration::from_secs(2), Duration::from_secs(1), true);
        assert_eq!(reno.cwnd(), 10_000);
    }

    #[test]
    fn the_initial_window_follows_the_negotiated_segment_size() {
        let mut reno = Reno::new(536, 10);
        reno.set_mss(1460);
        assert_eq!(reno.cwnd(), 14_600);
        reno.on_ack(&ack(1460));
        assert_eq!(reno.cwnd(), 16_060);
        // As the kernel: a window is so many segments, whatever their size.
        reno.set_mss(536);
        assert_eq!(reno.cwnd(), 11 * 536);
    }

    proptest! {
        #[test]
        fn the_window_stays_in_bounds(events in proptest::collection::vec((0_u8..8, any::<usize>()), 0..200)) {
            let mut reno = Reno::new(MSS, 10);
            for (kind, n) in events {
                match kind {
                    0 | 1 => reno.on_ack(&ack(n)),
                    2 => reno.on_congestion(Instant::ZERO, n),
                    3 => reno.on_timeout(Instant::ZERO, n),
                    4 => reno.undo(),
                    5 => reno.set_cwnd(n),
                    6 => reno.set_ssthresh(n),
                    _ => reno.set_mss(n % 70_000),
                }
                prop_assert!(reno.cwnd() >= 1 && reno.cwnd() <= MAX_CWND);
                prop_assert!(reno.ssthresh() >= 2);
            }
        }
    }
}
