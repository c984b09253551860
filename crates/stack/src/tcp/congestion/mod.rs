//! Congestion control: how many bytes may be in flight (RFC 5681, RFC 9438).
//!
//! A controller only does arithmetic on the events that the machine reports: what counts as a loss, which
//! segments are sent and how recovery proceeds is decided elsewhere. Invariant: `cwnd()` is at least one and
//! at most [`MAX_CWND`] bytes, whatever the peer acknowledges; it grows only on acknowledgements that arrive
//! while the window, not the application, was the limit.

mod cubic;
mod reno;

pub use cubic::Cubic;
pub use reno::Reno;

use alloc::boxed::Box;
use core::fmt::Debug;
use core::time::Duration;
use sockeye_packet::Instant;

/// The largest window: no peer can offer more (RFC 7323 §2.2).
pub const MAX_CWND: usize = 1 << 30;

/// An acknowledgement of new data outside recovery.
#[derive(Clone, Copy, Debug)]
pub struct AckEvent {
    /// When it arrived.
    pub now: Instant,
    /// Bytes newly acknowledged, cumulatively or selectively.
    pub acked: usize,
    /// Bytes in flight before this acknowledgement.
    pub in_flight: usize,
    /// The round-trip time that this acknowledgement measured.
    pub rtt: Option<Duration>,
    /// The smoothed round-trip time.
    pub srtt: Duration,
    /// The application or the peer's window, not `cwnd`, limited what was in flight: no growth (RFC 7661).
    pub app_limited: bool,
}

/// A congestion control algorithm, called by one connection. All windows are in bytes.
pub trait Controller: Send + Debug {
    /// The congestion window.
    fn cwnd(&self) -> usize;
    /// The slow start threshold; `usize::MAX` before the first congestion.
    fn ssthresh(&self) -> usize;
    /// New data was acknowledged while not in recovery.
    fn on_ack(&mut self, event: &AckEvent);
    /// A loss was found by acknowledgements, or ECN reported congestion; at most once per round trip.
    /// `in_flight` is the RFC's `FlightSize` (SND.NXT − SND.UNA) at that moment.
    fn on_congestion(&mut self, now: Instant, in_flight: usize);
    /// The retransmission timer expired. Repeated expiries for the same data are reported too.
    fn on_timeout(&mut self, now: Instant, in_flight: usize);
    /// Sending starts again after `idle` without anything in flight.
    fn on_idle(&mut self, idle: Duration, rto: Duration);
    /// The latest congestion event or timeout was spurious: windows go back to what they were.
    fn undo(&mut self);
    /// The segment size changed.
    fn set_mss(&mut self, mss: usize);
    /// The name by which `TCP_CONGESTION` knows it.
    fn name(&self) -> &'static str;
}

/// The algorithm of one connection: an enum, so that the common ones inline.
#[derive(Debug)]
pub enum Congestion {
    /// RFC 9438.
    Cubic(Cubic),
    /// RFC 5681.
    Reno(Reno),
    /// One that the embedder brings.
    Custom(Box<dyn Controller>),
}

macro_rules! dispatch {
    ($self:ident, $controller:ident => $call:expr) => {
        match $self {
            Congestion::Cubic($controller) => $call,
            Congestion::Reno($controller) => $call,
            Congestion::Custom($controller) => $call,
        }
    };
}

impl Controller for Congestion {
    fn cwnd(&self) -> usize {
        dispatch!(self, c => c.cwnd())
    }

    fn ssthresh(&self) -> usize {
        dispatch!(self, c => c.ssthresh())
    }

    fn on_ack(&mut self, event: &AckEvent) {
        dispatch!(self, c => c.on_ack(event));
    }

    fn on_congestion(&mut self, now: Instant, in_flight: usize) {
        dispatch!(self, c => c.on_congestion(now, in_flight));
    }

    fn on_timeout(&mut self, now: Instant, in_flight: usize) {
        dispatch!(self, c => c.on_timeout(now, in_flight));
    }

    fn on_idle(&mut self, idle: Duration, rto: Duration) {
        dispatch!(self, c => c.on_idle(idle, rto));
    }

    fn undo(&mut self) {
        dispatch!(self, c => c.undo());
    }

    fn set_mss(&mut self, mss: usize) {
        dispatch!(self, c => c.set_mss(mss));
    }

    fn name(&self) -> &'static str {
        dispatch!(self, c => c.name())
    }
}

/// The initial window for `segments` segments (RFC 6928 §2, where `segments` is 10).
pub(crate) fn initial_window(mss: usize, segments: u32) -> usize {
    let segments = segments.max(1) as usize;
    (segments * mss).min((2 * mss).max(segments * 1460))
}

/// Grows `cwnd` in slow start and returns how many of the `acked` bytes are left for congestion avoidance.
///
/// Counts bytes without RFC 3465's limit per acknowledgement: super-segments make acknowledgements of
/// dozens of segments normal, and the peer can only acknowledge what was sent.
fn slow_start(cwnd: &mut usize, ssthresh: usize, acked: usize) -> usize {
    let room = ssthresh.min(MAX_CWND).saturating_sub(*cwnd);
    let used = acked.min(room);
    *cwnd += used;
    acked - used
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initial_windows_of_rfc_6928() {
        assert_eq!(initial_window(1460, 10), 14_600);
        assert_eq!(initial_window(536, 10), 5_360);
        assert_eq!(initial_window(8_960, 10), 17_920);
        assert_eq!(initial_window(65_000, 10), 130_000);
    }

    #[test]
    fn slow_start_stops_at_the_threshold() {
        let mut cwnd = 10_000;
        assert_eq!(slow_start(&mut cwnd, 12_000, 1_500), 0);
        assert_eq!(slow_start(&mut cwnd, 12_000, 1_500), 1_000);
        assert_eq!((cwnd, slow_start(&mut cwnd, 12_000, 7)), (12_000, 7));
        assert_eq!(slow_start(&mut cwnd, usize::MAX, usize::MAX), usize::MAX - (MAX_CWND - 12_000));
        assert_eq!(cwnd, MAX_CWND);
    }
}
