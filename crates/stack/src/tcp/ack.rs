//! Which acknowledgments are owed, and when (RFC 9293 §3.8.6.3, RFC 5681 §4.2).
//!
//! In-order data is acknowledged for every second full segment, or after a delay; what signals loss or
//! repairs it, at once. As the kernel, a connection begins with a number of segments acknowledged one by one
//! (quick mode) until its program answers what it receives (a dialogue): then acknowledgments wait for the
//! answers. The delay follows the time between segments. Each segment that must be acknowledged at once for
//! itself leaves a snapshot in a short list, so that a batch of out-of-order segments yields as many duplicate
//! acknowledgments, each with the SACK blocks of its moment (RFC 2018 §4, RFC 2883).

use super::connection::Connection;
use super::recv::RecvBuffer;
use super::seq::SeqNumber;
use super::state::State;
use super::timers::Timer;
use crate::config::TcpConfig;
use crate::socket::options::TcpSettings;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::time::Duration;
use sockeye_packet::Instant;
use sockeye_wire::{SackBlock, SackBlocks, TcpFlags};

/// The most duplicate acknowledgments owed at once: further ones replace the last.
const MAX_DUPLICATES: usize = 64;
/// Most segments acknowledged at once in quick mode.
const QUICK_ACKS: u32 = 16;
/// The least delay that grows with the time between segments, in milliseconds.
const LEAST_DELAY: u16 = 40;

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
    /// Something arrived since the last acknowledgment.
    scheduled: bool,
    /// Since then, a segment that was not full (1), or several (2): the peer has said all for now.
    pushed: u8,
    /// So many more segments are acknowledged without delay.
    quick: u8,
    /// The program answers what it receives.
    dialogue: bool,
    /// When data arrived last.
    pub(super) last_data_at: Instant,
    /// The delay in milliseconds (the kernel's ATO); 0 until data arrives.
    delay: u16,
    /// Length of the last segment, if it was shorter than what seems to be a full one.
    last_len: u16,
    /// Boxed, for most connections never owe any.
    #[allow(clippy::box_collection, reason = "8 bytes in line instead of 32")]
    duplicates: Option<Box<VecDeque<Duplicate>>>,
}

impl Acks {
    pub(super) fn new(now: Instant, settings: &TcpSettings) -> Acks {
        Acks {
            last_sent: SeqNumber(0),
            now: false,
            scheduled: false,
            pushed: 0,
            quick: 0,
            dialogue: !settings.quick_ack,
            last_data_at: now,
            delay: 0,
            last_len: 0,
            duplicates: None,
        }
    }

    /// Owes nothing any more.
    pub(super) fn clear(&mut self) {
        self.now = false;
        self.scheduled = false;
        self.duplicates = None;
    }

    /// The next two segments are acknowledged at once: the sender had better know.
    pub(super) fn hurry(&mut self) {
        self.quick = self.quick.max(2);
        self.dialogue = false;
    }

    /// How long the next acknowledgment may be held back.
    pub(super) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay.into())
    }

    /// Owes none for single segments any more.
    pub(super) fn forget_duplicates(&mut self) {
        self.duplicates = None;
    }

    /// The window is small: its updates say more than single acknowledgments.
    pub(super) fn forgo_quick(&mut self) {
        self.quick = 0;
    }

    /// At least one more segment is acknowledged at once.
    pub(super) fn keep_quick(&mut self) {
        self.quick |= 1;
    }

    /// The peer closed: our program is expected to do so as well.
    pub(super) fn on_fin(&mut self) {
        self.scheduled = true;
        self.dialogue = true;
    }

    fn is_quick(&self) -> bool {
        self.quick > 0 && !self.dialogue
    }

    /// The oldest acknowledgment that was due for one segment.
    #[inline]
    pub(super) fn next_duplicate(&mut self) -> Option<Duplicate> {
        let duplicate = self.duplicates.as_mut()?.pop_front();
        if duplicate.is_none() {
            self.duplicates = None;
        }
        duplicate
    }
}

impl Connection {
    /// Data arrived in order: the time since the last is what acknowledgments may wait.
    #[inline]
    pub(super) fn note_data(&mut self, now: Instant) {
        let gap = now.nanos_since(self.acks.last_data_at) / 1_000_000;
        let rto = (self.rtt.rto_nanos() / 1_000_000).min(u16::MAX.into());
        let acks = &mut self.acks;
        acks.scheduled = true;
        acks.last_data_at = now;
        if acks.delay == 0 {
            acks.delay = LEAST_DELAY;
            self.add_quick();
        } else if gap <= u64::from(LEAST_DELAY / 2) {
            acks.delay = acks.delay / 2 + LEAST_DELAY / 2;
        } else if gap < u64::from(acks.delay) {
            acks.delay = (acks.delay / 2 + gap as u16).min(rto as u16);
        } else if gap > rto {
            // The sender starts anew, in slow start: it needs acknowledgments.
            self.add_quick();
        }
    }

    /// Quick mode for what fits in half the window.
    fn add_quick(&mut self) {
        let segments = self.rcv_wnd() / (2 * u32::from(self.rcv_mss).max(1));
        let segments = if segments == 0 { 2 } else { segments.min(QUICK_ACKS) };
        self.acks.quick = self.acks.quick.max(segments as u8);
    }

    /// Quick mode also in a dialogue: something is wrong on the path.
    pub(super) fn enter_quick(&mut self) {
        self.add_quick();
        self.acks.dialogue = false;
        self.acks.delay = LEAST_DELAY;
    }

    /// `TCP_QUICKACK` was set or cleared.
    pub(crate) fn set_quick(&mut self, quick: bool) {
        self.acks.dialogue = !quick;
        if quick && matches!(self.state, State::Established | State::CloseWait) && self.acks.scheduled {
            self.acks.pushed = self.acks.pushed.max(1);
            self.acks.now |= self.is_ack_worth_it(true);
        }
    }

    /// What the segment's size says of the peer's (its `snd_mss`, and whether it has more to say).
    #[inline]
    pub(super) fn note_segment_size(&mut self, payload: usize, gso_size: u16, flags: TcpFlags) {
        let len = if gso_size > 0 { usize::from(gso_size).min(payload) } else { payload };
        let len = u16::try_from(len).unwrap_or(u16::MAX);
        let last_len = core::mem::take(&mut self.acks.last_len);
        if len >= self.rcv_mss {
            if len != self.rcv_mss {
                let offered = (self.rcv_adv - self.acks.last_sent).max(0) as u32;
                self.recv_window.learn_ratio(payload, offered);
            }
            self.rcv_mss = len.min(self.local_mss);
            if flags.contains(TcpFlags::PSH) {
                self.acks.pushed = self.acks.pushed.max(1);
            }
            return;
        }
        // Two of the same size are full, if they are large, or nothing else says that they end there.
        let ends = flags.intersects(TcpFlags::FIN | TcpFlags::URG | TcpFlags::SYN | TcpFlags::PSH);
        if len >= 536 || (len >= 88 && !ends) {
            self.acks.last_len = len;
            if len == last_len {
                self.rcv_mss = len;
                return;
            }
        }
        self.acks.pushed = (self.acks.pushed + 1).min(2);
    }

    /// Something arrived in order. `around_gap` when it filled a gap, or a gap remains behind it.
    #[inline]
    pub(super) fn owe_ack(&mut self, now: Instant, around_gap: bool, config: &TcpConfig) {
        // SHLD-19, RFC 5681 §4.2: every second full segment, if the window moves on with it (or else the
        // reader will make it), and at once around gaps.
        let unacked = self.rcv_nxt.since(self.acks.last_sent);
        let full = unacked > u32::from(self.rcv_mss) && self.select_window() >= self.window_offered();
        if around_gap || full || self.acks.is_quick() {
            self.acks.now = true;
        } else {
            self.delay_ack(now, config);
        }
    }

    /// An acknowledgment may wait (MUST-40: well below half a second).
    #[inline]
    fn delay_ack(&mut self, now: Instant, config: &TcpConfig) {
        let millis = |time: Duration| time.as_millis().min(u16::MAX.into()) as u16;
        let mut delay = self.acks.delay;
        if delay == 0 {
            // As the kernel: before any data there is nothing to wait for.
            self.acks.now = true;
            return;
        }
        if delay > LEAST_DELAY {
            let mut most = if self.acks.dialogue || self.acks.pushed > 0 { 200 } else { 500 };
            if let Some(srtt) = self.rtt.srtt() {
                most = millis(srtt).max(LEAST_DELAY).min(most);
            }
            delay = delay.min(most);
        }
        let least = millis(config.delayed_ack_min).min(LEAST_DELAY);
        let delay = if delay == LEAST_DELAY { least } else { delay.min(millis(config.delayed_ack_max)) };
        let at = now + Duration::from_millis(delay.into());
        if self.timers.is_set(Timer::DelayedAck) {
            let due = self.timers.deadline(Timer::DelayedAck);
            if due <= now + Duration::from_millis((delay / 4).into()) {
                self.acks.now = true;
                return;
            }
            if due <= at {
                return;
            }
        }
        self.timers.set(Timer::DelayedAck, at);
    }

    /// Bytes were read, `bytes` of them: whether the peer should know at once.
    #[inline]
    pub(super) fn is_ack_worth_it(&mut self, read: bool) -> bool {
        if self.acks.scheduled {
            let unacked = self.rcv_nxt.since(self.acks.last_sent);
            let all_said = self.acks.pushed == 2 || (self.acks.pushed == 1 && !self.acks.dialogue);
            let drained = self.recv.is_empty() && self.recv.out_of_order_len() == 0;
            if unacked > u32::from(self.rcv_mss) || (read && all_said && drained) {
                return true;
            }
        }
        if !read || !self.state.can_receive() || self.flags.read_shut {
            return false;
        }
        // A window update is worth a packet when it doubles the window.
        let current = self.rcv_wnd();
        let window = if 2 * u64::from(current) <= u64::from(self.recv_window.clamp()) {
            self.select_window()
        } else {
            0
        };
        window > 0 && window >= 2 * current
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
        self.acks.scheduled = true;
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
    #[inline]
    pub(super) fn on_ack_sent(&mut self) {
        let acks = &mut self.acks;
        if acks.quick > 0 && acks.scheduled {
            acks.quick -= 1;
            if acks.quick == 0 {
                acks.delay = LEAST_DELAY;
            }
        }
        acks.now = false;
        acks.scheduled = false;
        acks.pushed = 0;
        acks.last_sent = self.rcv_nxt;
        self.timers.stop(Timer::DelayedAck);
    }

    /// Data is being sent. When it may be the answer to what arrived, later acknowledgments wait for answers.
    #[inline]
    pub(super) fn on_dialogue(&mut self, now: Instant) {
        let since = now.nanos_since(self.acks.last_data_at) / 1_000_000;
        self.acks.dialogue |= since < u64::from(self.acks.delay);
    }

    /// The delay is over and nothing was sent meanwhile: the next may be longer, unless answers were expected.
    pub(super) fn on_ack_timeout(&mut self) {
        let rto = self.rtt.rto().as_millis().min(u16::MAX.into()) as u16;
        let acks = &mut self.acks;
        if !acks.scheduled {
            return;
        }
        if acks.dialogue {
            acks.dialogue = false;
            acks.delay = LEAST_DELAY;
        } else {
            acks.delay = acks.delay.saturating_mul(2).min(rto);
        }
        acks.now = true;
    }
}

fn push_ranges(blocks: &mut SackBlocks, recv: &RecvBuffer, rcv_nxt: SeqNumber) {
    for range in recv.sack_ranges() {
        if !blocks.push(SackBlock { left: (rcv_nxt + range.start).0, right: (rcv_nxt + range.end).0 }) {
            break;
        }
    }
}
