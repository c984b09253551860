//! Whether `cwnd` is what limits a connection: it must not grow unused (RFC 7661, RFC 9438 §4.2).

use super::congestion::Controller as _;
use super::connection::Connection;
use super::seq::SeqNumber;
use crate::config::TcpConfig;
use sockeye_packet::Instant;

/// How much of `cwnd` is used in a round trip.
#[derive(Clone, Debug)]
pub(super) struct CwndUsage {
    /// The most that was in flight in this round trip, its end, and whether `cwnd` was the limit.
    flight_high: u32,
    round_end: SeqNumber,
    limited: bool,
}

impl CwndUsage {
    pub(super) fn new(iss: SeqNumber) -> CwndUsage {
        CwndUsage { flight_high: 0, round_end: iss, limited: false }
    }
}

impl Connection {
    /// Something was sent, or nothing could be because of `cwnd`.
    #[inline]
    pub(super) fn note_flight(&mut self, cwnd_limited: bool) {
        let in_flight = self.sent.packets_out().saturating_mul(u32::from(self.snd_mss));
        // As the kernel: also when `cwnd` is just used up.
        let cwnd_limited = cwnd_limited || self.in_flight() as usize >= self.congestion.cwnd();
        let usage = &mut self.usage;
        let new_round = !self.snd_una.before(usage.round_end);
        if new_round || cwnd_limited || (!usage.limited && in_flight > usage.flight_high) {
            usage.flight_high = in_flight;
            usage.limited = cwnd_limited;
            usage.round_end = self.snd_nxt;
        }
    }

    /// `len` bytes are about to be sent: after an idle time, fewer at once (RFC 5681 §4.1, RFC 9438 §5.8). As the
    /// kernel: from the last data sent on, be it acknowledged or not until the end of it. Nothing but sending
    /// ends an idle time: what was tried and held back does not.
    #[inline]
    pub(super) fn restart_after_idle(&mut self, now: Instant, len: u32, config: &TcpConfig) -> u32 {
        if !self.sent.is_empty() {
            return len;
        }
        let idle = now.saturating_since(self.last_sent_at);
        self.congestion.on_idle(idle, self.rtt.rto(), config.slow_start_after_idle);
        len.min((self.congestion.cwnd() as u32).max(self.snd_mss.into()))
    }

    #[inline]
    pub(super) fn is_cwnd_limited(&self) -> bool {
        // In slow start using half of `cwnd` is enough: it doubles in a round trip.
        let slow_start = self.congestion.cwnd() < self.congestion.ssthresh();
        self.usage.limited || (slow_start && self.congestion.cwnd() < 2 * self.usage.flight_high as usize)
    }
}
