//! Answers to suspicious segments, at a limited rate (RFC 5961).

use super::connection::Connection;
use core::time::Duration;
use sockeye_packet::Instant;

/// Challenge ACKs and answers to empty segments outside the window, per second (RFC 5961 §7).
const CHALLENGES_PER_SECOND: u8 = 10;

/// How many such answers were sent lately.
#[derive(Clone, Debug)]
pub(super) struct Challenges {
    sent: u8,
    /// When `sent` was zero.
    since: Instant,
}

impl Challenges {
    pub(super) fn new(now: Instant) -> Challenges {
        Challenges { sent: 0, since: now }
    }
}

impl Connection {
    /// Answers something suspicious with an acknowledgment, at a limited rate (RFC 5961).
    pub(super) fn challenge(&mut self, now: Instant) {
        if self.may_challenge(now) {
            self.acks.now = true;
        }
    }

    /// Whether one more answer to a suspicious segment may be sent now (RFC 5961 §7).
    pub(super) fn may_challenge(&mut self, now: Instant) -> bool {
        if now.saturating_since(self.challenges.since) >= Duration::from_secs(1) {
            self.challenges.since = now;
            self.challenges.sent = 0;
        }
        self.challenges.sent = self.challenges.sent.saturating_add(1);
        self.challenges.sent <= CHALLENGES_PER_SECOND
    }
}
