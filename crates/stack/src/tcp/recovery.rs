//! Loss recovery: SACK-based (RFC 6675), `NewReno` without SACK (RFC 6582), and after a timeout.
//!
//! What is lost is marked in the records; `output` sends it again as `in_flight` (the RFC's pipe) allows.
//! Which acknowledgment means loss is decided here and nowhere else, so that time-based detection
//! (RFC 8985) can take this file's place rule by rule. How far `cwnd` falls is the controller's business.

use super::congestion::{AckEvent, Controller as _};
use super::connection::Connection;
use super::sack::DUP_THRESH;
use super::sent::Acked;
use super::seq::SeqNumber;
use core::time::Duration;
use sockeye_packet::Instant;
use sockeye_wire::SackBlock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing is believed lost.
    Open,
    /// Fast retransmit has begun; `cwnd` is held until everything sent before is acknowledged.
    Fast,
    /// The retransmission timer expired: all that was in flight is sent again, in slow start.
    Timeout,
}

/// The state of loss recovery.
#[derive(Clone, Debug)]
pub(super) struct Recovery {
    pub(super) phase: Phase,
    /// `RecoveryPoint`: SND.NXT when the phase began.
    point: SeqNumber,
    /// What lies before this was judged by the SACK rule already.
    judged: SeqNumber,
    /// No lost record lies before this.
    pub(super) next: SeqNumber,
    /// Duplicate acknowledgments since SND.UNA last moved.
    duplicates: u32,
    /// The first retransmission of fast recovery goes out whatever `cwnd` says (RFC 6675 §5 (4.3)).
    pub(super) retransmit_now: bool,
    /// The most that was in flight in this round trip, its end, and whether `cwnd` was the limit.
    flight_high: u32,
    round_end: SeqNumber,
    cwnd_limited: bool,
}

impl Recovery {
    pub(super) fn new(iss: SeqNumber) -> Recovery {
        Recovery {
            phase: Phase::Open,
            point: iss,
            judged: iss,
            next: iss,
            duplicates: 0,
            retransmit_now: false,
            flight_high: 0,
            round_end: iss,
            cwnd_limited: false,
        }
    }
}

/// What one acknowledgment said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AckInfo {
    /// How far SND.UNA moved.
    pub(super) advanced: u32,
    /// What that took off the queue.
    pub(super) acked: Acked,
    /// Octets newly reported by SACK.
    pub(super) newly_sacked: u32,
    /// In flight before it.
    pub(super) prior_in_flight: u32,
    /// It is a duplicate in the sense of RFC 5681 §2, or brought new SACK information without moving on.
    pub(super) duplicate: bool,
    /// The round-trip time it measured.
    pub(super) rtt: Option<Duration>,
}

impl Connection {
    /// Octets believed to be on the way (the pipe of RFC 6675 §4).
    pub(super) fn in_flight(&self) -> u32 {
        let outstanding = self.snd_nxt.since(self.snd_una);
        // Without SACK every duplicate acknowledgment stands for a segment that has left the network
        // (RFC 5681 §3.2 inflates `cwnd` instead).
        let left = if self.options.sack {
            self.sent.sacked()
        } else {
            self.recovery.duplicates.saturating_mul(u32::from(self.snd_mss))
        };
        outstanding.saturating_sub(left).saturating_sub(self.sent.lost())
    }

    /// Takes in the SACK blocks of a segment; answers how many octets are new.
    pub(super) fn on_sack_blocks(&mut self, blocks: &[SackBlock]) -> u32 {
        let mut newly = 0;
        for block in blocks {
            let (left, right) = (SeqNumber(block.left), SeqNumber(block.right));
            // Blocks outside what is in flight are duplicates (RFC 2883) or forged.
            let valid = left.before(right) && !left.before(self.snd_una) && !right.after(self.snd_nxt);
            if !valid || left == self.snd_una {
                continue;
            }
            let mut at = left;
            while let Some((from, to)) = self.scoreboard.gap(at, right) {
                newly += self.sent.mark_sacked(from, to, u32::from(self.snd_mss));
                at = to;
            }
            self.scoreboard.insert(left, right);
        }
        newly
    }

    /// What an acknowledgment means for loss recovery and for `cwnd`.
    pub(super) fn on_ack_info(&mut self, now: Instant, info: &AckInfo) {
        self.recovery.next = self.recovery.next.max(self.snd_una);
        self.recovery.judged = self.recovery.judged.max(self.snd_una);
        let recovering = self.recovery.phase == Phase::Fast;
        let mut relapse = false;
        if info.advanced > 0 {
            relapse = self.on_progress(info);
        } else if info.duplicate {
            self.recovery.duplicates = self.recovery.duplicates.saturating_add(1);
        }
        if (self.detect_loss() || relapse) && self.recovery.phase == Phase::Open {
            self.enter_recovery(now);
        }
        // RFC 5681 §3.1: the window grows on cumulative acknowledgments only; limited transmit (RFC 3042)
        // must not grow it. The one that ends fast recovery was counted when it was sacked.
        let delivered = info.acked.delivered + info.newly_sacked;
        if info.advanced > 0 && !recovering && self.recovery.phase != Phase::Fast {
            let event = AckEvent {
                now,
                acked: delivered as usize,
                in_flight: info.prior_in_flight as usize,
                rtt: info.rtt,
                srtt: self.rtt.srtt().unwrap_or_default(),
                app_limited: !self.is_cwnd_limited(),
                una: self.snd_una.0,
                nxt: self.snd_nxt.0,
                paced: false,
            };
            self.congestion.on_ack(&event);
        }
    }

    /// SND.UNA moved. Answers whether that ends recovery while something sent after its begin is lost.
    fn on_progress(&mut self, info: &AckInfo) -> bool {
        let mss = u32::from(self.snd_mss);
        let mut relapse = false;
        if !self.snd_una.before(self.recovery.point) {
            relapse = self.recovery.phase == Phase::Fast && self.sent.lost() > 0;
            self.recovery.phase = Phase::Open;
            self.recovery.retransmit_now = false;
            self.recovery.duplicates = 0;
        } else if self.recovery.phase == Phase::Fast && !self.options.sack {
            // RFC 6582 §3.2 step 3, a partial acknowledgment: the next segment is lost too. Of what was
            // acknowledged one segment was the retransmission, the others had been counted as left.
            let segments = info.advanced.div_ceil(mss);
            self.recovery.duplicates = self.recovery.duplicates.saturating_sub(segments.saturating_sub(1));
            self.recovery.retransmit_now |= self.sent.mark_first_lost(mss);
            self.recovery.next = self.snd_una;
        } else {
            self.recovery.duplicates = 0;
        }
        relapse
    }

    /// Marks what the acknowledgments so far show to be lost; answers whether anything was new.
    fn detect_loss(&mut self) -> bool {
        let mss = u32::from(self.snd_mss);
        let mut found = false;
        // RFC 6675 §4, IsLost. What was judged before is not looked at again: a lost retransmission is
        // the timer's business.
        if let Some(edge) = self.scoreboard.lost_edge(mss)
            && edge.after(self.recovery.judged)
        {
            found = self.sent.mark_lost(self.recovery.judged, edge);
            self.recovery.judged = edge;
        }
        let enough_duplicates = self.recovery.duplicates >= DUP_THRESH && self.recovery.phase == Phase::Open;
        // RFC 6582 §3.2 step 1: duplicates that the last recovery caused don't begin another.
        if enough_duplicates && (self.options.sack || self.snd_una.after(self.recovery.point)) {
            found |= self.sent.mark_first_lost(mss);
            self.recovery.next = self.snd_una;
        }
        found
    }

    /// Fast recovery begins (RFC 6675 §5 (4), RFC 6582 §3.2 step 2).
    fn enter_recovery(&mut self, now: Instant) {
        let flight = self.snd_nxt.since(self.snd_una) as usize;
        self.congestion.on_congestion(now, flight);
        self.recovery.phase = Phase::Fast;
        self.recovery.point = self.snd_nxt;
        self.recovery.retransmit_now = true;
    }

    /// The retransmission timer expired (RFC 6298 §5.4–5.6, RFC 5681 §3.1, RFC 6675 §5.1): everything that
    /// is not sacked is taken for lost and sent again as `cwnd` opens.
    pub(super) fn on_loss_timeout(&mut self, now: Instant) {
        // RFC 2018 §8: a peer that does not acknowledge what it has reported has dropped it.
        if self.sent.front().is_some_and(|first| first.sacked) {
            self.sent.forget_sacked();
            self.scoreboard.clear();
        }
        self.congestion.on_timeout(now, self.snd_nxt.since(self.snd_una) as usize);
        self.recovery.phase = Phase::Timeout;
        self.recovery.point = self.snd_nxt;
        self.recovery.retransmit_now = false;
        self.retransmit_all();
    }

    /// Everything in flight is to be sent again.
    pub(super) fn retransmit_all(&mut self) {
        if self.sent.is_empty() {
            return;
        }
        self.sent.mark_lost(self.snd_una, self.snd_nxt);
        self.recovery.duplicates = 0;
        self.recovery.next = self.snd_una;
        self.recovery.judged = self.snd_nxt;
    }

    /// Something was sent, or nothing could be because of `cwnd`: remembers whether `cwnd` is what limits
    /// this round trip, for it must not grow unused (RFC 7661, RFC 9438 §4.2).
    pub(super) fn note_flight(&mut self, cwnd_limited: bool) {
        let in_flight = self.in_flight();
        let recovery = &mut self.recovery;
        let new_round = !self.snd_una.before(recovery.round_end);
        if new_round || cwnd_limited || (!recovery.cwnd_limited && in_flight > recovery.flight_high) {
            recovery.flight_high = if new_round { in_flight } else { in_flight.max(recovery.flight_high) };
            recovery.cwnd_limited = cwnd_limited;
            recovery.round_end = self.snd_nxt;
        }
    }

    fn is_cwnd_limited(&self) -> bool {
        // In slow start using half of `cwnd` is enough: it doubles in a round trip.
        let slow_start = self.congestion.cwnd() < self.congestion.ssthresh();
        self.recovery.cwnd_limited
            || (slow_start && self.congestion.cwnd() < 2 * self.recovery.flight_high as usize)
    }
}
