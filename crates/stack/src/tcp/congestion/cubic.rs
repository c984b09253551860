//! CUBIC (RFC 9438), with an early end of slow start ([`SlowStartExit`]).
//!
//! After a congestion event the window follows `W_cubic(t) = C (t − K)³ + W_max`: fast towards the window
//! where congestion happened, slowly around it, fast beyond it, and never slower than Reno would
//! (`W_est`). Windows are counted in whole segments, as the RFC and the kernel do. Where the RFC leaves
//! room, the kernel's ways are taken, because they can be seen in `TCP_INFO`:
//!
//! - the window shrinks from `cwnd`, not from the flight (§4.6 allows both; windows are validated);
//! - growth goes in steps: a segment for so many acknowledged ones, the way to the curve rounded up to
//!   whole segments;
//! - where no congestion is known (`W_max` is not set), growth is a twentieth per round trip at least.
//!
//! Real arithmetic is `f64` with the operations of `core` only: the same on every machine.

use super::hystart::HyStart;
use super::window::Window;
use super::{AckEvent, Controller};
use crate::config::SlowStartExit;
use alloc::boxed::Box;
use core::time::Duration;
use sockeye_packet::Instant;

/// RFC 9438 §4.6: the window shrinks to this part of itself, in 1024ths (0.7).
const BETA: u64 = 717;
/// RFC 9438 §5: growth in segments per second cubed.
const C: f64 = 0.4;
/// RFC 9438 §4.3: the additive increase that is as fast, with BETA, as Reno with one half.
const ALPHA: f64 = 3.0 * (1.0 - 0.7) / (1.0 + 0.7);
/// Without a known `W_max`: at most so many acknowledged segments for one of growth.
const SLOWEST_SEARCH: u32 = 20;
/// No faster than half a window per round trip: `target` is at most 1.5 `cwnd` (RFC 9438 §4.2).
const FASTEST: u32 = 2;

/// CUBIC's state for one connection.
#[derive(Clone, Debug)]
pub struct Cubic {
    state: State,
    hystart: HyStart,
    /// A timeout happened and nothing was acknowledged since.
    timed_out: bool,
    /// What [`Controller::undo`] goes back to (RFC 9438 §4.9); boxed, for most connections never need it.
    prior: Option<Box<State>>,
}

/// All that a congestion event changes.
#[derive(Clone, Debug)]
struct State {
    window: Window,
    /// `W_max`: the window at the latest congestion event, less when it converges; 0 when there was none.
    w_max: u32,
    /// `cwnd_prior`: the window just before the latest reduction.
    cwnd_prior: u32,
    /// The congestion avoidance stage, from its first acknowledgement to the next congestion event;
    /// boxed, for most connections never leave slow start.
    epoch: Option<Box<Epoch>>,
}

/// The curve of one congestion avoidance stage, in segments and seconds.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    /// `t_epoch`, moved on by the time in which the application limited the window.
    start: Instant,
    /// When the latest acknowledgement arrived.
    last_ack: Instant,
    k: f64,
    /// The window at `start + K`.
    plateau: f64,
    /// `W_est`: the window that Reno would have.
    w_est: f64,
}

impl Cubic {
    /// A controller that starts with a window of `initial_segments` (RFC 6928).
    pub fn new(mss: usize, initial_segments: u32, exit: SlowStartExit) -> Cubic {
        let window = Window::new(mss, initial_segments);
        Cubic {
            state: State { window, w_max: 0, cwnd_prior: 0, epoch: None },
            hystart: HyStart::new(exit),
            timed_out: false,
            prior: None,
        }
    }

    /// Takes over `window` from another algorithm, with no congestion known. `timed_out` says that nothing was
    /// acknowledged since the latest timeout.
    pub(super) fn taking_over(window: Window, timed_out: bool, exit: SlowStartExit) -> Cubic {
        let state = State { window, w_max: 0, cwnd_prior: 0, epoch: None };
        Cubic { state, hystart: HyStart::new(exit), timed_out, prior: None }
    }

    /// What another algorithm takes over.
    pub(super) fn handed_over(&self) -> (Window, bool) {
        (self.state.window, self.timed_out)
    }

    /// RFC 9438 §4.6 and §4.7: the new threshold and plateau.
    fn reduce(&mut self) {
        self.prior = Some(Box::new(self.state.clone()));
        let State { window, w_max, cwnd_prior, epoch } = &mut self.state;
        let segments = window.segments();
        // A flow that is stopped below its former W_max leaves room for a newer one (fast convergence).
        *w_max = if segments < *w_max { share(segments, u64::midpoint(1024, BETA)) } else { segments };
        *cwnd_prior = segments;
        *epoch = None;
        window.reduce(share(segments, BETA));
    }

    /// RFC 9438 §5.8: time in which the window was not the limit doesn't count.
    #[inline]
    fn skip_time(&mut self, until: Instant) {
        if let Some(epoch) = &mut self.state.epoch {
            epoch.start += until.saturating_since(epoch.last_ack);
            epoch.last_ack = until;
        }
    }
}

/// So many 1024ths of a window.
fn share(segments: u32, parts: u64) -> u32 {
    (u64::from(segments) * parts / 1024) as u32
}

impl State {
    /// RFC 9438 §4.2–§4.5: an acknowledgement of `acked` segments in congestion avoidance.
    fn avoid_congestion(&mut self, acked: u32, now: Instant, srtt: Duration) {
        let cwnd = self.window.segments();
        let mut epoch = match self.epoch.take() {
            Some(epoch) => epoch,
            None => Box::new(self.start_epoch(now)),
        };
        epoch.last_ack = now;
        // What a peer acknowledges beyond one window was not sent in this round trip.
        let share = f64::from(acked.min(cwnd)) / f64::from(cwnd);
        let alpha = if epoch.w_est < f64::from(self.cwnd_prior) { ALPHA } else { 1.0 };
        epoch.w_est += alpha * share;

        // §4.4 and §4.5, the concave and the convex region: `target` in a round trip.
        let elapsed = now.saturating_since(epoch.start) + srtt;
        let mut per = pace(cwnd, epoch.w_cubic(elapsed.as_secs_f64())).unwrap_or(cwnd.saturating_mul(100));
        if self.w_max == 0 {
            per = per.min(SLOWEST_SEARCH);
        }
        // §4.3, the Reno-friendly region.
        if let Some(friendly) = pace(cwnd, epoch.w_est as u32) {
            per = per.min(friendly);
        }
        self.window.grow(per.max(FASTEST), acked);
        self.epoch = Some(epoch);
    }

    fn start_epoch(&self, now: Instant) -> Epoch {
        let cwnd = f64::from(self.window.segments());
        let w_max = f64::from(self.w_max);
        // Without a W_max above: after a timeout (§4.8), or slow start that ended without a loss (§4.10).
        let k = cube_root((w_max - cwnd).max(0.0) / C);
        Epoch { start: now, last_ack: now, k, plateau: w_max.max(cwnd), w_est: cwnd }
    }
}

/// So many acknowledged segments for one of growth make `cwnd` reach `target` in a round trip.
fn pace(cwnd: u32, target: u32) -> Option<u32> {
    let gap = target.checked_sub(cwnd).filter(|gap| *gap > 0)?;
    Some(cwnd / gap)
}

impl Epoch {
    /// `W_cubic`, `elapsed` seconds after the start, its distance from the plateau in whole segments.
    fn w_cubic(&self, elapsed: f64) -> u32 {
        let t = elapsed - self.k;
        let distance = (C * t * t * t) as i64;
        (self.plateau as i64).saturating_add(distance).clamp(0, u32::MAX.into()) as u32
    }
}

impl Controller for Cubic {
    #[inline]
    fn cwnd(&self) -> usize {
        self.state.window.bytes()
    }

    #[inline]
    fn ssthresh(&self) -> usize {
        self.state.window.ssthresh_bytes()
    }

    #[inline]
    fn on_ack(&mut self, event: &AckEvent) {
        let AckEvent { now, srtt, app_limited, .. } = *event;
        self.timed_out = false;
        let window = &mut self.state.window;
        let mut acked = window.acked_segments(event);
        self.hystart.on_ack(event, window);
        if app_limited {
            self.skip_time(now);
            return;
        }
        if window.in_slow_start() {
            // RFC 9406 §4.3: only the first slow start is to be left early.
            let growth = if window.is_initial() { self.hystart.growth(acked) } else { acked };
            acked = window.slow_start(growth);
        }
        if acked > 0 {
            self.state.avoid_congestion(acked, now, srtt);
        }
    }

    fn on_congestion(&mut self, _now: Instant, _in_flight: usize) {
        self.reduce();
        self.state.window.fall();
    }

    fn on_timeout(&mut self, _now: Instant, _in_flight: usize) {
        // RFC 5681 §3.1: ssthresh is held when the same data times out again.
        if !self.timed_out {
            self.reduce();
        }
        self.timed_out = true;
        self.state.window.collapse();
        // RFC 9438 §4.8: the next stage starts with K = 0 from the window it finds.
        self.state.w_max = 0;
        self.state.epoch = None;
        self.hystart.reset();
    }

    #[inline]
    fn on_idle(&mut self, idle: Duration, rto: Duration, restart: bool) {
        if let Some(epoch) = &mut self.state.epoch {
            epoch.start += idle;
            epoch.last_ack += idle;
        }
        self.hystart.forget_round();
        if restart {
            self.state.window.restart(idle, rto);
        }
    }

    fn undo(&mut self) {
        // RFC 9438 §4.9: unless the window has outgrown what was saved.
        if let Some(prior) = self.prior.take() {
            if self.state.window.segments() < prior.window.segments() {
                let mss = self.state.window.mss();
                self.state = *prior;
                // The segment size may have changed since.
                self.state.window.set_mss(mss);
            } else {
                self.state.window.undo(&prior.window);
            }
            self.timed_out = false;
        }
    }

    fn set_cwnd(&mut self, cwnd: usize) {
        self.state.window.set_cwnd(cwnd);
    }

    fn set_ssthresh(&mut self, ssthresh: usize) {
        self.state.window.set_ssthresh(ssthresh);
    }

    fn set_mss(&mut self, mss: usize) {
        self.state.window.set_mss(mss);
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
