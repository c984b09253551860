//! Whether a segment may be what it says: the first four steps of RFC 9293 §3.10.7.4 with PAWS (RFC 7323
//! §5.3), as RFC 5961 asks of them against attackers who guess.
//!
//! Details that a peer can see are the kernel's: the left edge of what is acceptable is the last
//! acknowledgment sent, a segment may end beyond the window (what becomes of its data is decided later), and
//! what is suspicious is answered at most every [`invalid_ratelimit`](crate::TcpConfig::invalid_ratelimit).

use super::connection::{Connection, Resources};
use super::input::Step;
use super::segment::{reset_for, seq_len};
use super::seq::SeqNumber;
use super::state::State;
use super::timers::Timer;
use crate::Error;
use crate::counters::Counter;
use core::ops::ControlFlow::{Break, Continue};
use core::time::Duration;
use sockeye_packet::Instant;
use sockeye_wire::{SackBlock, TcpHeader, TcpTimestamps};

/// How soon our SYN goes out again when it was answered by an earlier connection's acknowledgment.
const SYN_AGAIN: Duration = Duration::from_millis(2);

/// When an answer to something suspicious was sent last. Each connection counts for itself, so that nobody
/// learns from one connection's answers what another received (RFC 5961 §7).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AnswerLimit(u32);

impl AnswerLimit {
    /// Whether one more may be sent now; then it counts.
    pub(crate) fn take(&mut self, now: Instant, interval: Duration) -> bool {
        // Milliseconds; zero stands for never.
        let millis = (now.as_millis() as u32).max(1);
        let elapsed = u128::from(millis.wrapping_sub(self.0));
        if self.0 != 0 && elapsed < interval.as_millis() {
            return false;
        }
        self.0 = millis;
        true
    }
}

impl Connection {
    /// First: sequence number, with PAWS before (RFC 7323 §5.3).
    pub(super) fn check_sequence(
        &mut self,
        now: Instant,
        header: &TcpHeader,
        payload_len: usize,
        resources: &mut Resources<'_>,
    ) -> Step {
        if !header.flags.ack() && !header.flags.rst() && !header.flags.syn() {
            return Break(None);
        }
        // RFC 7323 §3.2 would have segments without the option dropped; as the kernel, they are taken.
        let stamps = header.options.timestamps.filter(|_| self.options.timestamps && !header.flags.rst());
        if let Some(stamps) = stamps.filter(|stamps| self.options.is_old(now, *stamps)) {
            if header.flags.syn() {
                resources.counters.bump(Counter::TcpSynChallenge);
                self.challenge(now, resources);
                return Break(None);
            }
            if !self.is_reordered_ack(header, payload_len, stamps) {
                self.answer_old(now, header, payload_len, resources);
                return Break(None);
            }
        }
        let (seq, len) = (SeqNumber(header.seq), seq_len(header, payload_len));
        let right = self.rcv_nxt + self.rcv_wnd();
        if !(seq + len).before(self.acks.last_sent) && !seq.after(right) {
            return Continue(());
        }
        if header.flags.rst() {
            return if self.is_reset_before_fin(seq) { self.reset_by_peer(resources) } else { Break(None) };
        }
        if header.flags.syn() {
            resources.counters.bump(Counter::TcpSynChallenge);
            self.challenge(now, resources);
        } else {
            let again = seq.before(self.rcv_nxt) && payload_len > 0;
            resources.counters.add(Counter::DelayedAckLost, again.into());
            resources.counters.add(Counter::TcpDsackOldSent, (again && self.options.sack).into());
            resources.counters.add(Counter::TcpBeyondWindow, seq.after(right).into());
            // A probe of the window that was closed for want of memory may find some.
            self.feed(resources.budget);
            self.answer_unacceptable(now, header, payload_len, Counter::TcpAckSkippedSeq, resources);
        }
        Break(None)
    }

    /// Whether a segment with an old timestamp is one of several acknowledgments that overtook each other:
    /// it moves nothing, and is as old as a retransmission timeout at most.
    fn is_reordered_ack(&self, header: &TcpHeader, payload_len: usize, stamps: TcpTimestamps) -> bool {
        let (seq, ack) = (SeqNumber(header.seq), SeqNumber(header.ack));
        let window = u32::from(header.window) << self.options.snd_wscale;
        header.flags.ack()
            && seq_len(header, payload_len) == 0
            && seq == self.rcv_nxt
            && ack == self.snd_una
            && (self.snd_wl1 != seq || window <= self.snd_wnd)
            && u128::from(self.options.age(stamps)) <= self.rtt.rto().as_millis() * 6 / 5
    }

    /// PAWS: an old segment is acknowledged. Acknowledgments before RCV.NXT are just late: as the kernel,
    /// they are not worth an answer.
    fn answer_old(
        &mut self,
        now: Instant,
        header: &TcpHeader,
        payload_len: usize,
        resources: &mut Resources<'_>,
    ) {
        let late_ack = header.flags.ack()
            && seq_len(header, payload_len) == 0
            && SeqNumber(header.seq).before(self.rcv_nxt);
        if !late_ack {
            resources.counters.bump(Counter::PawsEstab);
            self.answer_unacceptable(now, header, payload_len, Counter::TcpAckSkippedPaws, resources);
        }
    }

    /// An acknowledgment for a segment outside the window: of old data with a DSACK block (RFC 2883 §4), of
    /// an empty one at a limited rate, lest two ends answer each other for ever. `skipped` counts those that are
    /// not answered.
    fn answer_unacceptable(
        &mut self,
        now: Instant,
        header: &TcpHeader,
        payload_len: usize,
        skipped: Counter,
        resources: &mut Resources<'_>,
    ) {
        let (start, len) = (SeqNumber(header.seq), seq_len(header, payload_len));
        if len == 0 {
            if self.answer_limit.take(now, resources.config.invalid_ratelimit) {
                self.acks.now = true;
            } else {
                resources.counters.bump(skipped);
            }
            return;
        }
        let end = (start + len).min(self.rcv_nxt);
        let duplicate = start.before(end).then_some(SackBlock { left: start.0, right: end.0 });
        self.owe_duplicate_ack(duplicate);
    }

    /// Answers something suspicious with an acknowledgment, at a limited rate (RFC 5961 §7).
    pub(super) fn challenge(&mut self, now: Instant, resources: &mut Resources<'_>) {
        if self.answer_limit.take(now, resources.config.invalid_ratelimit) {
            resources.counters.bump(Counter::TcpChallengeAck);
            self.acks.now = true;
        } else {
            resources.counters.bump(Counter::TcpAckSkippedChallenge);
        }
    }

    /// A peer that closed and then aborted may place its reset where its FIN was.
    fn is_reset_before_fin(&self, seq: SeqNumber) -> bool {
        seq == self.rcv_nxt - 1 && matches!(self.state, State::CloseWait | State::LastAck | State::Closing)
    }

    /// Second: reset. Only the exact sequence number ends the connection, or the end of the last data that
    /// arrived: a peer may not know of the gaps before it (RFC 5961 §3.2).
    pub(super) fn check_reset(
        &mut self,
        now: Instant,
        header: &TcpHeader,
        resources: &mut Resources<'_>,
    ) -> Step {
        if !header.flags.rst() {
            return Continue(());
        }
        let seq = SeqNumber(header.seq);
        let at_sack = || {
            let last = self.recv.sack_ranges().into_iter().map(|range| range.end).max();
            self.options.sack && last.is_some_and(|end| seq == self.rcv_nxt + end)
        };
        if seq == self.rcv_nxt || self.is_reset_before_fin(seq) || at_sack() {
            return self.reset_by_peer(resources);
        }
        self.challenge(now, resources);
        Break(None)
    }

    /// The peer has reset the connection. As the kernel, what its user is told is ECONNRESET, unless the peer
    /// had closed already: then nothing more was to be read, and it is writing that fails.
    fn reset_by_peer(&mut self, resources: &mut Resources<'_>) -> Step {
        match self.state {
            State::CloseWait => self.fail(Error::BrokenPipe, resources.budget),
            State::TimeWait => self.end(resources.budget),
            _ => {
                resources.counters.bump(Counter::TcpEstabResets);
                self.fail(Error::ConnectionReset, resources.budget);
            }
        }
        Break(None)
    }

    /// Fourth: SYN in the window, from a restarted peer or an attacker (RFC 5961 §4.2).
    pub(super) fn check_syn(
        &mut self,
        now: Instant,
        header: &TcpHeader,
        resources: &mut Resources<'_>,
    ) -> Step {
        if !header.flags.syn() {
            return Continue(());
        }
        // Simultaneous open: the peer's SYN again, now with the acknowledgment of ours.
        let expected = self.state == State::SynReceived
            && SeqNumber(header.seq) == self.irs
            && header.flags.ack()
            && [self.iss + 1, self.snd_nxt].contains(&SeqNumber(header.ack));
        if expected {
            return Continue(());
        }
        resources.counters.bump(Counter::TcpSynChallenge);
        self.challenge(now, resources);
        Break(None)
    }

    /// In SYN-SENT, an acknowledgment of something else, or a timestamp that we never sent: from an earlier
    /// connection with the same addresses. The reset that answers it lets its sender forget that one, and our
    /// SYN goes out again at once, for it may have been answered by this segment (as the kernel).
    pub(super) fn check_syn_sent_ack(
        &mut self,
        now: Instant,
        header: &TcpHeader,
        payload_len: usize,
    ) -> Step {
        if !header.flags.ack() {
            return Continue(());
        }
        let ack = SeqNumber(header.ack);
        if !ack.after(self.iss) || ack.after(self.snd_nxt) {
            if self.retransmits == 0 {
                self.timers.set(Timer::Retransmit, now + SYN_AGAIN);
            }
            return Break(reset_for(header, payload_len));
        }
        let foreign = |stamps: &TcpTimestamps| {
            stamps.echo != 0 && !self.options.may_echo(now, *stamps, now.saturating_since(self.stalled_since))
        };
        if self.options.timestamps && header.options.timestamps.as_ref().is_some_and(foreign) {
            return Break(reset_for(header, payload_len));
        }
        Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_per_interval() {
        let mut limit = AnswerLimit::default();
        let mut take = |millis| limit.take(Instant::from_millis(millis), Duration::from_millis(500));
        assert!(take(0));
        assert!(!take(300) && !take(499));
        assert!(take(501) && !take(1000) && take(1001));
        assert!(AnswerLimit(7).take(Instant::from_millis(8), Duration::ZERO), "a limit of zero is none");
    }
}
