//! How fast data is sent, and when it is worth waiting to send more at once.
//!
//! All as the kernel does it. A connection is paced only if somebody asks: the host
//! ([`TcpConfig::pacing`]), the program (`SO_MAX_PACING_RATE`) or the controller. The sizes of
//! super-segments follow from the rate always (see `autosize`).

use super::congestion::Controller as _;
use super::connection::{Connection, Resources};
use super::info::CaState;
use super::timers::Timer;
use crate::config::TcpConfig;
use crate::socket::options::TcpSettings;
use core::time::Duration;
use sockeye_packet::Instant;

/// So many segments are sent before pacing begins.
const UNPACED: u32 = 10;
/// Only a sender that wrote just now waits to send more at once.
const RECENT: Duration = Duration::from_millis(1);
/// Without `tso_win_divisor`, this many segments are worth sending.
const WORTHY: u32 = 3;

/// Why nothing is sent although something could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deferred {
    /// `cwnd` allows for less than there is.
    Cwnd,
    /// The peer's window, or nothing else to send, does.
    Other,
}

impl Connection {
    /// The rate at which a window leaves spread over a round trip, and some more, so that it can grow; in
    /// bytes per second, [`u64::MAX`] while the round trip is not known.
    pub(crate) fn pacing_rate(&self, config: &TcpConfig, settings: &TcpSettings) -> u64 {
        let asked = self.congestion.pacing_rate();
        asked.unwrap_or_else(|| self.window_rate(config)).min(settings.max_pacing_rate)
    }

    fn window_rate(&self, config: &TcpConfig) -> u64 {
        let Some(srtt) = self.rtt.srtt().map(|srtt| srtt.as_nanos() as u64).filter(|srtt| *srtt > 0) else {
            return u64::MAX;
        };
        let (cwnd, ssthresh) = (self.congestion.cwnd(), self.congestion.ssthresh());
        let percent = if cwnd < ssthresh / 2 { config.pacing_slow_start } else { config.pacing_avoidance };
        let out = self.sent.packets_out() as usize * usize::from(self.snd_mss);
        let window = cwnd.max(out) as u64;
        window.saturating_mul(u64::from(percent) * 10_000_000) / srtt
    }

    /// Whether to wait for the next acknowledgment, which will allow for more in one super-segment. `unsent`
    /// bytes wait that one may hold, of `all` that wait; `window` and `room` bytes fit into the peer's window and `cwnd`, `most` into one
    /// super-segment.
    #[inline]
    pub(super) fn defers(
        &self,
        now: Instant,
        (unsent, all): (u32, u32),
        (window, room): (u32, u32),
        most: u32,
        config: &TcpConfig,
    ) -> Option<Deferred> {
        let mss = u32::from(self.snd_mss);
        let limit = window.min(room);
        if unsent <= mss || limit >= most || self.recovery.state >= CaState::Recovery {
            return None;
        }
        // Data behind this super-segment will not make it larger.
        let next = unsent.min(most);
        if all > next && limit >= next {
            return None;
        }
        let cwnd = self.congestion.cwnd() as u32;
        let worthy = match config.tso_win_divisor {
            0 => WORTHY * mss + 1,
            parts => self.snd_wnd.min(cwnd) / u32::from(parts),
        };
        // Who writes now and then, or waits for long already, had better send.
        let idle = now.saturating_since(self.last_sent_at) > RECENT;
        let head = self.sent.front()?;
        let age = now.saturating_since(head.sent_at);
        let soon = !age.is_zero() && age >= self.rtt.srtt().unwrap_or_default() / 2;
        if limit >= worthy || idle || !soon {
            return None;
        }
        if room < window && room <= next {
            return Some(Deferred::Cwnd);
        }
        let fills_window = window <= room && window <= next;
        (fills_window || !self.fin_unacked()).then_some(Deferred::Other)
    }

    #[inline]
    fn is_paced(&self, resources: &Resources<'_>) -> bool {
        resources.config.pacing
            || resources.settings.max_pacing_rate != u64::MAX
            || self.congestion.pacing_rate().is_some()
    }

    /// Whether it is too early to send more; then a timer says when it is time.
    #[inline]
    pub(super) fn is_too_early(&mut self, now: Instant) -> bool {
        let early = now < self.pacing_due;
        if early {
            self.timers.set(Timer::Pacing, self.pacing_due);
        }
        early
    }

    /// `bytes` of data are sent, with which there were `segments` in all: when the next may follow.
    #[inline]
    pub(super) fn pace(&mut self, now: Instant, bytes: u32, segments: u32, resources: &Resources<'_>) {
        if self.is_paced(resources) && segments >= UNPACED {
            self.set_pace(now, bytes, resources);
        }
    }

    fn set_pace(&mut self, now: Instant, bytes: u32, resources: &Resources<'_>) {
        let rate = self.pacing_rate(resources.config, resources.settings);
        if rate == u64::MAX {
            return;
        }
        let span = Duration::from_nanos(u64::from(bytes) * 1_000_000_000 / rate.max(1));
        // What a late timer has cost is made up for, half of a span at most: there is no burst after a
        // clock has jumped.
        let late = now.saturating_since(self.pacing_due).min(span / 2);
        let late = if self.pacing_due == Instant::ZERO { Duration::ZERO } else { late };
        self.pacing_due = now.max(self.pacing_due) + span.saturating_sub(late);
    }
}
