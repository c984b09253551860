//! Which acknowledgments are owed, and when (RFC 9293 §3.8.6.3, RFC 5681 §4.2).
//!
//! In-order data is acknowledged for every second full segment, or after a delay; what signals loss or
//! repairs it, at once. Each segment that must be acknowledged at once for itself leaves a snapshot in a
//! short list, so that a batch of out-of-order segments yields as many duplicate acknowledgments, each
//! with the SACK blocks of its moment (RFC 2018 §4, RFC 2883).

use super::connection::Connection;
use super::recv::RecvBuffer;
use super::seq::SeqNumber;
use super::timers::Timer;
use crate::config::TcpConfig;
use crate::socket::options::TcpSettings;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::time::Duration;
use sockeye_packet::Instant;
use sockeye_wire::{SackBlock, SackBlocks};

/// The most duplicate acknowledgments owed at once: further ones replace the last.
const MAX_DUPLICATES: usize = 64;
/// Segments acknowledged at once when a connection is new, so that the peer's window opens fast.
const QUICK_ACKS: u8 = 16;

/// An acknowledgment as it was due when its segment arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Duplicate {
    pub(super) ack: SeqNumber,
    pub(super) sack: SackBlocks,
}

/// The acknowledgments that a connection owes.
#[derive(Debug)]
pub(super) struct Acks {
    /// Last.ACK.sent (RFC 7323 §4.3).
    pub(super) last_sent: SeqNumber,
    /// An acknowledgment (or window update) is due now.
    pub(super) now: bool,
    /// When data arrived last.
    pub(super) last_data_at: Instant,
    /// Bytes that arrived in order since the last acknowledgment.
    unacked: u32,
    /// So many more segments are acknowledged without delay.
    quick: u8,
    /// The delay in milliseconds: longer when nothing was there to carry the last acknowledgment.
    delay: u16,
    /// Boxed, for most connections never owe any.
    #[allow(clippy::box_collection, reason = "8 bytes in line instead of 32")]
    duplicates: Option<Box<VecDeque<Duplicate>>>,
}

impl Acks {
    pub(super) fn new(now: Instant, config: &TcpConfig, settings: &TcpSettings) -> Acks {
        Acks {
            last_sent: SeqNumber(0),
            now: false,
            last_data_at: now,
            unacked: 0,
            quick: if settings.quick_ack { QUICK_ACKS } else { 0 },
            delay: config.delayed_ack_min.as_millis() as u16,
            duplicates: None,
        }
    }

    /// Owes nothing any more.
    pub(super) fn clear(&mut self) {
        self.now = false;
        self.unacked = 0;
        self.duplicates = None;
    }

    /// The next two segments are acknowledged at once: the sender had better know.
    pub(super) fn hurry(&mut self) {
        self.quick = self.quick.max(2);
    }

    /// `TCP_QUICKACK` was set or cleared.
    pub(super) fn set_quick(&mut self, quick: bool) {
        self.quick = if quick { QUICK_ACKS } else { 0 };
        self.now |= quick && self.unacked > 0;
    }

    /// How long the next acknowledgment may be held back.
    pub(super) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay.into())
    }

    /// Owes none for single segments any more.
    pub(super) fn forget_duplicates(&mut self) {
        self.duplicates = None;
    }

    /// The oldest acknowledgment that was due for one segment.
    pub(super) fn next_duplicate(&mut self) -> Option<Duplicate> {
        let duplicate = self.duplicates.as_mut()?.pop_front();
        if duplicate.is_none() {
            self.duplicates = None;
        }
        duplicate
    }
}

impl Connection {
    /// In-order data arrived. `repaired` when it filled a gap, or a gap remains behind it.
    pub(super) fn owe_ack(&mut self, now: Instant, bytes: u32, repaired: bool, config: &TcpConfig) {
        self.acks.unacked = self.acks.unacked.saturating_add(bytes);
        // SHLD-19, RFC 5681 §4.2: every second full segment, and at once around gaps.
        let due = repaired || self.acks.unacked >= 2 * u32::from(self.rcv_mss) || self.acks.quick > 0;
        if due {
            self.acks.now = true;
        } else if !self.timers.is_set(Timer::DelayedAck) {
            // MUST-40: well below half a second.
            let delay = Duration::from_millis(u64::from(self.acks.delay)).min(config.delayed_ack_max);
            self.timers.set(Timer::DelayedAck, now + delay);
        }
    }

    /// A segment arrived that moved nothing on: out of order, or a duplicate, whose octets `duplicate`
    /// names for DSACK.
    pub(super) fn owe_duplicate_ack(&mut self, duplicate: Option<SackBlock>) {
        let sack = self.sack_blocks(duplicate);
        let duplicates = self.acks.duplicates.get_or_insert_default();
        if duplicates.len() >= MAX_DUPLICATES {
            duplicates.pop_back();
        }
        duplicates.push_back(Duplicate { ack: self.rcv_nxt, sack });
        self.acks.quick = self.acks.quick.max(2);
    }

    /// The blocks that an acknowledgment sent now reports.
    pub(super) fn sack_blocks(&self, duplicate: Option<SackBlock>) -> SackBlocks {
        if !self.options.sack {
            return SackBlocks::default();
        }
        let mut blocks = SackBlocks::default();
        if let Some(block) = duplicate.filter(|_| self.options.dsack) {
            blocks.push(block);
        }
        push_ranges(&mut blocks, &self.recv, self.rcv_nxt);
        blocks
    }

    /// An acknowledgment of RCV.NXT is being sent: nothing is owed any more.
    pub(super) fn on_ack_sent(&mut self) {
        self.acks.now = false;
        self.acks.unacked = 0;
        self.acks.quick = self.acks.quick.saturating_sub(1);
        self.acks.last_sent = self.rcv_nxt;
        self.timers.stop(Timer::DelayedAck);
    }

    /// Data is being sent: it carries acknowledgments, so they may wait for it (as in a dialogue).
    pub(super) fn on_dialogue(&mut self, now: Instant) {
        if self.acks.unacked > 0
            && now.saturating_since(self.last_received_at) < Duration::from_millis(u64::from(self.acks.delay))
        {
            self.acks.quick = 0;
        }
    }

    /// The delay is over and nothing was sent meanwhile: the next may be longer.
    pub(super) fn on_ack_timeout(&mut self, config: &TcpConfig) {
        self.acks.now = true;
        let longest = config.delayed_ack_max.as_millis() as u16;
        self.acks.delay = self.acks.delay.saturating_mul(2).min(longest);
    }
}

fn push_ranges(blocks: &mut SackBlocks, recv: &RecvBuffer, rcv_nxt: SeqNumber) {
    for range in recv.sack_ranges() {
        if !blocks.push(SackBlock { left: (rcv_nxt + range.start).0, right: (rcv_nxt + range.end).0 }) {
            break;
        }
    }
}
