//! CUBIC (RFC 9438).
//!
//! After a congestion event the window follows `W_cubic(t) = C (t − K)³ + W_max`: fast towards the window
//! where congestion happened, slowly around it, fast beyond it, and never slower than Reno would
//! (`W_est`). The RFC counts in segments and seconds; here windows are bytes, so C is multiplied by the
//! segment size. Real arithmetic is `f64` with the operations of `core` only: the same on every machine.

use super::{AckEvent, Controller, MAX_CWND, initial_window, slow_start};
use alloc::boxed::Box;
use core::time::Duration;
use sockeye_packet::Instant;

/// RFC 9438 §4.6: the window shrinks to this part of itself.
const BETA: f64 = 0.7;
/// RFC 9438 §5: growth in segments per second cubed.
const C: f64 = 0.4;
/// RFC 9438 §4.3: the additive increase that is as fast, with BETA, as Reno with one half.
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

/// CUBIC's state for one connection.
#[derive(Clone, Debug)]
pub struct Cubic {
    mss: u32,
    initial_segments: u16,
    windows: Windows,
    /// A timeout happened and nothing was acknowledged since.
    timed_out: bool,
    /// When the latest acknowledgement arrived.
    last_ack: Instant,
    /// What [`Controller::undo`] goes back to (RFC 9438 §4.9); boxed, for most connections never need it.
    prior: Option<Box<Windows>>,
}

/// All that a congestion event changes.
#[derive(Clone, Debug)]
struct Windows {
    cwnd: usize,
    /// Growth of less than a byte.
    fraction: f64,
    ssthresh: usize,
    /// `W_max`: the window at the latest congestion event, less when it converges; 0 when there was none.
    w_max: f64,
    /// `cwnd_prior`: the window just before the latest reduction.
    cwnd_prior: f64,
    /// The congestion avoidance stage, from its first acknowledgement to the next congestion event;
    /// boxed, for most connections never leave slow start.
    epoch: Option<Box<Epoch>>,
}

/// The curve of one congestion avoidance stage.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    /// `t_epoch`, moved on by the time in which the application limited the window.
    start: Instant,
    /// K in seconds.
    k: f64,
    /// The window at `start + K`.
    plateau: f64,
    /// `W_est`: the window that Reno would have.
    w_est: f64,
}

impl Cubic {
    /// A controller that starts with a window of `initial_segments` (RFC 6928).
    pub fn new(mss: usize, initial_segments: u32) -> Cubic {
        let mss = mss.max(1);
        Cubic {
            mss: mss as u32,
            initial_segments: initial_segments.min(u16::MAX.into()) as u16,
            windows: Windows {
                cwnd: initial_window(mss, initial_segments),
                fraction: 0.0,
                ssthresh: usize::MAX,
                w_max: 0.0,
                cwnd_prior: 0.0,
                epoch: None,
            },
            timed_out: false,
            last_ack: Instant::ZERO,
            prior: None,
        }
    }

    /// RFC 9438 §4.6 and §4.7: the new threshold and plateau.
    fn reduce(&mut self, in_flight: usize) {
        self.prior = Some(Box::new(self.windows.clone()));
        let Windows { cwnd, fraction, ssthresh, w_max, cwnd_prior, epoch } = &mut self.windows;
        let window = *cwnd as f64;
        // A flow that is stopped below its former W_max leaves room for a newer one (fast convergence).
        *w_max = if window < *w_max { window * (1.0 + BETA) / 2.0 } else { window };
        *cwnd_prior = window;
        *ssthresh = ((in_flight.min(*cwnd) as f64 * BETA) as usize).max(2 * self.mss as usize);
        *fraction = 0.0;
        *epoch = None;
    }

    /// RFC 9438 §4.2–§4.5: one acknowledgement of `acked` bytes in congestion avoidance.
    fn avoid_congestion(&mut self, acked: usize, now: Instant, srtt: Duration) {
        let scale = C * self.mss as f64;
        let window = self.windows.cwnd as f64 + self.windows.fraction;
        let epoch = self.windows.epoch.take();
        let mut epoch = epoch.unwrap_or_else(|| Box::new(self.windows.start_epoch(now, scale)));
        // What a peer acknowledges beyond one window was not sent in this round trip.
        let share = (acked as f64 / window).min(1.0);

        let alpha = if epoch.w_est < self.windows.cwnd_prior { ALPHA } else { 1.0 };
        epoch.w_est += alpha * self.mss as f64 * share;

        let elapsed = now.saturating_since(epoch.start).as_secs_f64();
        let grown = if epoch.w_cubic(elapsed, scale) < epoch.w_est {
            // §4.3, the Reno-friendly region.
            window.max(epoch.w_est)
        } else {
            // §4.4 and §4.5, the concave and the convex region.
            let target = epoch.w_cubic(elapsed + srtt.as_secs_f64(), scale).clamp(window, 1.5 * window);
            window + (target - window) * share
        };
        let grown = grown.min(MAX_CWND as f64);
        self.windows.cwnd = grown as usize;
        self.windows.fraction = grown - self.windows.cwnd as f64;
        self.windows.epoch = Some(epoch);
    }

    fn initial_window(&self) -> usize {
        initial_window(self.mss as usize, self.initial_segments.into())
    }

    /// RFC 9438 §5.8: time in which the window was not the limit doesn't count.
    fn skip_time(&mut self, idle: Duration) {
        if let Some(epoch) = &mut self.windows.epoch {
            epoch.start += idle;
        }
    }
}

impl Windows {
    fn start_epoch(&mut self, now: Instant, scale: f64) -> Epoch {
        let cwnd = self.cwnd as f64;
        if self.w_max > cwnd {
            let k = cube_root((self.w_max - cwnd) / scale);
            Epoch { start: now, k, plateau: self.w_max, w_est: cwnd }
        } else {
            // After a timeout (§4.8), or slow start that ended without a loss (§4.10).
            self.w_max = cwnd;
            Epoch { start: now, k: 0.0, plateau: cwnd, w_est: cwnd }
        }
    }
}

impl Epoch {
    /// `W_cubic`, `elapsed` seconds after the start; `scale` is C in bytes.
    fn w_cubic(&self, elapsed: f64, scale: f64) -> f64 {
        let t = elapsed - self.k;
        scale * t * t * t + self.plateau
    }
}

impl Controller for Cubic {
    fn cwnd(&self) -> usize {
        self.windows.cwnd
    }

    fn ssthresh(&self) -> usize {
        self.windows.ssthresh
    }

    fn on_ack(&mut self, event: &AckEvent) {
        let AckEvent { now, acked, in_flight: _, rtt: _, srtt, app_limited } = *event;
        self.timed_out = false;
        let since_last = now.saturating_since(self.last_ack);
        self.last_ack = now;
        if app_limited {
            self.skip_time(since_last);
            return;
        }
        let left = slow_start(&mut self.windows.cwnd, self.windows.ssthresh, acked);
        if left > 0 {
            self.avoid_congestion(left, now, srtt);
        }
    }

    fn on_congestion(&mut self, _now: Instant, in_flight: usize) {
        self.reduce(in_flight);
        self.windows.cwnd = self.windows.ssthresh;
    }

    fn on_timeout(&mut self, _now: Instant, in_flight: usize) {
        // RFC 5681 §3.1: ssthresh is held when the same data times out again.
        if !self.timed_out {
            self.reduce(in_flight);
        }
        self.timed_out = true;
        self.windows.cwnd = self.mss as usize;
        self.windows.fraction = 0.0;
        // RFC 9438 §4.8: the next stage starts with K = 0 from the window it finds.
        self.windows.w_max = 0.0;
    }

    fn on_idle(&mut self, idle: Duration, rto: Duration) {
        self.skip_time(idle);
        self.last_ack += idle;
        // RFC 5681 §4.1: the restart window.
        let restart = self.initial_window();
        if idle > rto && self.windows.cwnd > restart {
            self.windows.cwnd = restart;
            self.windows.fraction = 0.0;
            self.windows.epoch = None;
        }
    }

    fn undo(&mut self) {
        // RFC 9438 §4.9: unless the window has outgrown what was saved.
        if let Some(prior) = self.prior.take()
            && self.windows.cwnd < prior.cwnd
        {
            self.windows = *prior;
            self.timed_out = false;
        }
    }

    fn set_mss(&mut self, mss: usize) {
        let untouched = self.windows.ssthresh == usize::MAX && self.windows.cwnd == self.initial_window();
        self.mss = mss.max(1) as u32;
        if untouched {
            self.windows.cwnd = self.initial_window();
        }
        self.windows.cwnd = self.windows.cwnd.max(self.mss as usize);
    }

    fn name(&self) -> &'static str {
        "cubic"
    }
}

/// The cube root of a number ≥ 0, to the last few bits: a guess from the exponent, then Newton's steps.
fn cube_root(x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    // A third of the exponent (and, as a line, of the mantissa) is within 6 % of the root.
    let mut root = f64::from_bits(x.to_bits() / 3 + 0x2A9F_7893_0000_0000);
    for _ in 0..5 {
        root -= (root - x / (root * root)) / 3.0;
    }
    root
}

#[cfg(test)]
mod tests;
