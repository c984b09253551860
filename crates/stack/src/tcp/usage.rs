//! Whether `cwnd` is what limits a connection: it must not grow unused (RFC 7661, RFC 9438 §4.2).

use super::congestion::Controller as _;
use super::connection::Connection;
use super::seq::SeqNumber;

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
    pub(super) fn note_flight(&mut self, cwnd_limited: bool) {
        let in_flight = self.sent.packets_out().saturating_mul(u32::from(self.snd_mss));
        let usage = &mut self.usage;
        let new_round = !self.snd_una.before(usage.round_end);
        if new_round || cwnd_limited || (!usage.limited && in_flight > usage.flight_high) {
            usage.flight_high = in_flight;
            usage.limited = cwnd_limited;
            usage.round_end = self.snd_nxt;
        }
    }

    pub(super) fn is_cwnd_limited(&self) -> bool {
        // In slow start using half of `cwnd` is enough: it doubles in a round trip.
        let slow_start = self.congestion.cwnd() < self.congestion.ssthresh();
        self.usage.limited || (slow_start && self.congestion.cwnd() < 2 * self.usage.flight_high as usize)
    }
}
