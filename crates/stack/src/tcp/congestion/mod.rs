//! Congestion control: how many bytes may be in flight (RFC 5681, RFC 9438).
//!
//! A controller only does arithmetic on the events that the machine reports: what counts as a loss, which
//! segments are sent and how recovery proceeds is decided elsewhere. Invariant: `cwnd()` is at least one and
//! at most [`MAX_CWND`] bytes, whatever the peer acknowledges; it grows only on acknowledgements that arrive
//! while the window, not the application, was the limit.

mod cubic;
mod custom;
mod hystart;
mod reno;
mod window;

pub use cubic::Cubic;
pub use custom::CustomControl;
pub use reno::Reno;

use crate::config::{CongestionControl, SlowStartExit};
use alloc::boxed::Box;
use core::fmt::Debug;
use core::time::Duration;
use sockeye_packet::Instant;
use window::Window;

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
    /// SND.UNA behind it.
    pub una: u32,
    /// SND.NXT. An acknowledgement of what was SND.NXT when a round trip began begins the next.
    pub nxt: u32,
    /// Whether sending is paced.
    pub paced: bool,
}

/// What one acknowledgment, or SACK, says of the rate at which the path delivers
/// (draft-cheng-iccrg-delivery-rate-estimation §3), for models of the path (BBR). All amounts are in bytes, those
/// since the connection began wrap around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateSample {
    /// When it arrived.
    pub now: Instant,
    /// Delivered since the connection began (`C.delivered`).
    pub total_delivered: u32,
    /// The same when the newest segment that it reports was sent (`P.delivered`): round trips are counted by it.
    pub prior_delivered: u32,
    /// Delivered in between (`RS.delivered`).
    pub delivered: u32,
    /// How long that took (`RS.interval`). None where the peer can't be right: it is less than the least round-trip
    /// time.
    pub interval: Option<Duration>,
    /// The program, not the path, was the limit when that segment was sent (`RS.is_app_limited`).
    pub app_limited: bool,
    /// Delivered according to this acknowledgment alone, cumulatively or selectively.
    pub newly_delivered: u32,
    /// Found lost because of it.
    pub newly_lost: u32,
    /// In flight before it.
    pub prior_in_flight: u32,
    /// In flight after it.
    pub in_flight: u32,
    /// The round-trip time that it measured.
    pub rtt: Option<Duration>,
    /// It reports congestion by ECN (RFC 3168).
    pub ece: bool,
}

/// A congestion control algorithm, called by one connection. All windows are in bytes.
pub trait Controller: Send + Debug {
    /// The congestion window.
    fn cwnd(&self) -> usize;
    /// The slow start threshold; `usize::MAX` before the first congestion.
    fn ssthresh(&self) -> usize;
    /// Something arrived, in recovery or not; before anything else is done about it. Who answers true has decided on
    /// [`cwnd`](Controller::cwnd) himself: neither recovery nor [`on_ack`](Controller::on_ack) changes it then.
    fn on_sample(&mut self, sample: &RateSample) -> bool {
        let _ = sample;
        false
    }
    /// New data was acknowledged while not in recovery.
    fn on_ack(&mut self, event: &AckEvent);
    /// A loss was found by acknowledgements, or ECN reported congestion; at most once per round trip.
    /// `in_flight` is the RFC's `FlightSize` (SND.NXT − SND.UNA) at that moment. Both windows shrink.
    fn on_congestion(&mut self, now: Instant, in_flight: usize);
    /// The retransmission timer expired. Repeated expiries for the same data are reported too.
    fn on_timeout(&mut self, now: Instant, in_flight: usize);
    /// Sending starts again after `idle` without anything in flight. `restart` says whether the window is
    /// to shrink when that was longer than `rto` (RFC 5681 §4.1).
    fn on_idle(&mut self, idle: Duration, rto: Duration, restart: bool);
    /// The latest congestion event or timeout was spurious: windows go back to what they were.
    fn undo(&mut self);
    /// Who runs recovery (PRR, RFC 6937) or validates the window (RFC 7661) has decided on its size.
    fn set_cwnd(&mut self, cwnd: usize);
    /// The window was not used for a round trip: `ssthresh` remembers three quarters of it (RFC 7661 §4.4).
    fn set_ssthresh(&mut self, ssthresh: usize);
    /// The segment size changed.
    fn set_mss(&mut self, mss: usize);
    /// The rate at which it wants segments to leave, in bytes per second; none where the window is enough.
    fn pacing_rate(&self) -> Option<u64> {
        None
    }
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

impl Congestion {
    /// A new controller for segments of `mss` bytes.
    pub(super) fn new(
        control: CongestionControl,
        mss: u16,
        initial_segments: u32,
        exit: SlowStartExit,
    ) -> Congestion {
        let mss = usize::from(mss);
        match control {
            CongestionControl::Cubic => Congestion::Cubic(Cubic::new(mss, initial_segments, exit)),
            CongestionControl::Reno => Congestion::Reno(Reno::new(mss, initial_segments)),
            CongestionControl::Custom(custom) => {
                Congestion::Custom(custom.controller(mss, Window::new(mss, initial_segments).bytes()))
            }
        }
    }

    /// Another algorithm goes on with the window and the threshold as they are, and with nothing to undo. As
    /// the kernel: if it is the one in use, nothing changes.
    pub(super) fn switch(&mut self, to: CongestionControl, mss: u16, exit: SlowStartExit) {
        *self = match (&*self, to) {
            (Congestion::Cubic(cubic), CongestionControl::Reno) => {
                let (window, timed_out) = cubic.handed_over();
                Congestion::Reno(Reno::taking_over(window, timed_out))
            }
            (Congestion::Reno(reno), CongestionControl::Cubic) => {
                let (window, timed_out) = reno.handed_over();
                Congestion::Cubic(Cubic::taking_over(window, timed_out, exit))
            }
            (now, to) if now.name() == to.name() => return,
            (now, to) => {
                let mut next = Congestion::new(to, mss, 0, exit);
                next.set_ssthresh(now.ssthresh());
                next.set_cwnd(now.cwnd());
                next
            }
        };
    }
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
    #[inline]
    fn cwnd(&self) -> usize {
        dispatch!(self, c => c.cwnd())
    }

    #[inline]
    fn ssthresh(&self) -> usize {
        dispatch!(self, c => c.ssthresh())
    }

    fn on_sample(&mut self, sample: &RateSample) -> bool {
        dispatch!(self, c => c.on_sample(sample))
    }

    #[inline]
    fn on_ack(&mut self, event: &AckEvent) {
        dispatch!(self, c => c.on_ack(event));
    }

    fn on_congestion(&mut self, now: Instant, in_flight: usize) {
        dispatch!(self, c => c.on_congestion(now, in_flight));
    }

    fn on_timeout(&mut self, now: Instant, in_flight: usize) {
        dispatch!(self, c => c.on_timeout(now, in_flight));
    }

    #[inline]
    fn on_idle(&mut self, idle: Duration, rto: Duration, restart: bool) {
        dispatch!(self, c => c.on_idle(idle, rto, restart));
    }

    fn undo(&mut self) {
        dispatch!(self, c => c.undo());
    }

    fn set_cwnd(&mut self, cwnd: usize) {
        dispatch!(self, c => c.set_cwnd(cwnd));
    }

    fn set_ssthresh(&mut self, ssthresh: usize) {
        dispatch!(self, c => c.set_ssthresh(ssthresh));
    }

    fn set_mss(&mut self, mss: usize) {
        dispatch!(self, c => c.set_mss(mss));
    }

    fn pacing_rate(&self) -> Option<u64> {
        dispatch!(self, c => c.pacing_rate())
    }

    fn name(&self) -> &'static str {
        dispatch!(self, c => c.name())
    }
}
