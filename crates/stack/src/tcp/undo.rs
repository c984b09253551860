//! What was taken for lost but was only late, or whose acknowledgment was lost: the reduction is undone.
//!
//! It shows by a timestamp from before the first retransmission (Eifel, RFC 3522), by DSACKs of
//! everything that was sent again (RFC 3708), or after a timeout by F-RTO (RFC 5682). The answer is that
//! of RFC 4015: windows go back to what they were.

use super::acknowledge::AckInfo;
use super::congestion::Controller as _;
use super::connection::Connection;
use super::info::CaState;
use super::rack::REO_WND_PERSIST;
use super::seq::SeqNumber;
use crate::config::TcpConfig;
use crate::counters::Counter;

impl Connection {
    /// From here on what is sent again is counted: if all of it proves needless, so was the reduction.
    pub(super) fn begin_undo(&mut self) {
        let probe = self.recovery.tlp_high_seq.is_some() && self.recovery.tlp_retrans;
        // Copies in flight already may be reported later.
        let copies = self.sent.retrans_out() + u32::from(probe);
        self.recovery.undo_marker = Some(self.snd_una);
        self.recovery.undo_retrans = (copies > 0).then_some(copies);
    }

    /// So many segments were sent again.
    pub(super) fn note_retransmitted(&mut self, segments: u32) {
        let before = self.recovery.undo_retrans.unwrap_or(0);
        self.recovery.undo_retrans = Some(before + segments);
    }

    /// A DSACK says that the peer has the `segments` that end with `end` twice.
    pub(super) fn note_duplicated(&mut self, segments: u32, end: SeqNumber) {
        if let (Some(marker), Some(before)) = (self.recovery.undo_marker, self.recovery.undo_retrans)
            && end.after(marker)
        {
            self.recovery.undo_retrans = Some(before.saturating_sub(segments));
        }
    }

    /// Whether the peer answers something that was sent before the first retransmission (RFC 3522).
    fn was_only_late(&self) -> bool {
        match self.recovery.retrans_stamp {
            Some(first) => self.options.echoes_before(first),
            // Nothing was sent again yet, so what arrived was not lost. Without SACK, reaching the
            // recovery point clears the stamp too.
            None => self.options.sack || self.snd_una.before(self.recovery.high_seq),
        }
    }

    fn may_undo(&self) -> bool {
        self.recovery.undo_marker.is_some() && (self.recovery.undo_retrans == Some(0) || self.was_only_late())
    }

    /// RFC 4015: the windows before the reduction are in force again.
    fn undo_reduction(&mut self, nothing_is_lost: bool) {
        if nothing_is_lost {
            self.sent.unmark_lost();
            self.recovery.next = self.snd_una;
        }
        if self.recovery.may_restore {
            self.congestion.undo();
            self.recovery.may_restore = false;
        }
        self.recovery.undo_marker = None;
        // Losses are looked for anew.
        self.recovery.rack.advanced = true;
    }

    /// Recovery has reached its point. Answers whether its state is to be kept nevertheless.
    pub(super) fn try_undo_recovery(&mut self) -> bool {
        if self.may_undo() {
            self.undo_reduction(false);
            let timeout = self.recovery.state == CaState::Loss;
            self.recovery.events.note(if timeout { Counter::TcpLossUndo } else { Counter::TcpFullUndo });
        } else if self.recovery.rack.persist > 0 {
            self.recovery.rack.persist -= 1;
        }
        if self.must_stay() {
            return true;
        }
        self.recovery.state = CaState::Open;
        false
    }

    /// RFC 6582 §3.2 step 1: without SACK recovery ends only when something above its point is
    /// acknowledged, lest duplicates that it caused begin another.
    fn must_stay(&mut self) -> bool {
        let stays = !self.options.sack && self.snd_una == self.recovery.high_seq;
        if stays && !self.any_retransmitted() {
            self.recovery.retrans_stamp = None;
        }
        stays
    }

    /// A partial acknowledgment in recovery: if it answers what was only late, so may be the rest. Answers
    /// whether nothing else is to be done.
    pub(super) fn try_undo_partial(&mut self, info: &AckInfo, config: &TcpConfig) -> bool {
        if self.recovery.undo_marker.is_none() || !self.was_only_late() {
            return false;
        }
        self.note_reordering(info.prior_una, Counter::TcpTsReorder, config);
        if self.sent.retrans_out() > 0 {
            // Before it is known what became of the copies nothing more is sent again.
            return true;
        }
        if !self.any_retransmitted() {
            self.recovery.retrans_stamp = None;
        }
        self.undo_reduction(true);
        self.recovery.events.note(Counter::TcpPartialUndo);
        self.try_keep_open();
        false
    }

    /// RFC 3708: every copy was needless.
    pub(super) fn try_undo_dsack(&mut self) -> bool {
        if self.recovery.undo_marker.is_none() || self.recovery.undo_retrans != Some(0) {
            return false;
        }
        self.recovery.rack.persist = (self.recovery.rack.persist + 1).min(REO_WND_PERSIST);
        self.undo_reduction(false);
        self.recovery.events.note(Counter::TcpDsackUndo);
        true
    }

    /// After a timeout: whether it was spurious (RFC 5682 §3.1 if `frto`, else RFC 3522, RFC 3708).
    pub(super) fn try_undo_loss(&mut self, frto: bool) -> bool {
        if !frto && !self.may_undo() {
            return false;
        }
        self.undo_reduction(true);
        self.recovery.events.note(Counter::TcpLossUndo);
        if frto {
            self.recovery.events.note(Counter::TcpSpuriousRtos);
        }
        self.retransmits = 0;
        if !self.must_stay() && (frto || self.options.sack) {
            self.recovery.state = CaState::Open;
        }
        true
    }
}
