//! Without SACK: duplicate acknowledgments stand for segments that have arrived (RFC 5681, RFC 6582).
//!
//! As the kernel: each counts as a segment that SACK would have reported, so that what is in flight
//! shrinks instead of `cwnd` being inflated.

use super::acknowledge::AckInfo;
use super::connection::Connection;
use super::info::CaState;
use crate::config::TcpConfig;
use crate::counters::Counter;

impl Connection {
    /// Takes in the duplicates that an acknowledgment is.
    pub(super) fn add_duplicates(&mut self, info: &AckInfo, config: &TcpConfig) {
        if self.options.sack || info.duplicates == 0 {
            return;
        }
        let before = self.sent.sacked_out();
        self.sent.set_reno_sacked(before + info.duplicates);
        self.limit_duplicates(0, config);
        self.totals.delivered =
            self.totals.delivered.wrapping_add(self.sent.sacked_out().saturating_sub(before));
    }

    /// A cumulative acknowledgment of `acked` segments: one of them filled the hole, the others had been
    /// announced by duplicates.
    pub(super) fn remove_duplicates(&mut self, acked: u32, config: &TcpConfig) {
        let sacked = self.sent.sacked_out();
        if acked > 0 {
            self.totals.delivered = self.totals.delivered.wrapping_add(acked.saturating_sub(sacked).max(1));
            self.sent.set_reno_sacked(sacked.saturating_sub(acked - 1));
        }
        self.limit_duplicates(acked, config);
    }

    /// More duplicates than segments that can have arrived: the network reorders.
    fn limit_duplicates(&mut self, acked: u32, config: &TcpConfig) {
        let out = self.sent.packets_out();
        let holes = self.sent.lost_out().max(1).min(out);
        if self.sent.sacked_out() + holes <= out {
            return;
        }
        self.sent.set_reno_sacked(out - holes);
        let most = config.max_reordering.min(u16::MAX.into());
        self.recovery.reordering = (out + acked).min(most) as u16;
        self.totals.reord_seen = self.totals.reord_seen.saturating_add(1);
        self.recovery.events.note(Counter::TcpRenoReorder);
    }

    /// What is out counts fewer segments than before: no more of them can have arrived than are not lost.
    pub(super) fn trim_duplicates(&mut self) {
        if !self.options.sack {
            let most = self.sent.packets_out() - self.sent.lost_out();
            let sacked = self.sent.sacked_out().min(most);
            self.sent.set_reno_sacked(sacked);
        }
    }

    /// RFC 6582 §3.2: the first segment is lost when enough duplicates have come, and in recovery at every
    /// partial acknowledgment.
    pub(super) fn mark_new_reno_loss(&mut self, advanced: bool) {
        let state = self.recovery.state;
        let enough = self.sent.sacked_out() >= self.recovery.reordering.into();
        let lost = if state < CaState::Recovery { enough } else { state == CaState::Recovery && advanced };
        let Some(first) = self.sent.front().filter(|first| lost && !first.lost) else { return };
        let mss = u32::from(self.snd_mss);
        if first.payload_len() > mss {
            self.sent.split(0, mss, mss);
        }
        let (packets, _) = self.sent.mark_lost(0);
        self.recovery.lost = self.recovery.lost.wrapping_add(packets);
        self.recovery.next = self.snd_una;
        self.trim_duplicates();
    }
}
