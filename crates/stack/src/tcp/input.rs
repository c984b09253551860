//! A segment arrives (RFC 9293 §3.10.7): the steps of §3.10.7.4 by name and in order.
//!
//! Each step either lets the segment through to the next or ends it, with or without an answer. What is
//! owed in the usual way (acknowledgments) is noted and sent by `output`.

use super::chrono::Limit;
use super::connection::{Connection, Resources};
use super::info::CaState;
use super::recovery::XmitTimer;
use super::recv::Inserted;
use super::segment::{Segment, reset_for};
use super::seq::SeqNumber;
use super::state::{State, Transition};
use super::timers::Timer;
use crate::Error;
use crate::counters::{Counter, Counters};
use crate::socket::options::TcpSettings;
use core::ops::ControlFlow::{self, Break, Continue};
use sockeye_packet::{Instant, Payload};
use sockeye_wire::{SackBlock, TcpHeader};

/// Whether the segment goes on to the next step; if not, what is answered outside the usual way.
pub(super) type Step = ControlFlow<Option<TcpHeader>>;

impl Connection {
    /// Takes in a segment, whose payload it takes away. What is answered is a reset to be sent at once; its
    /// ports are not filled.
    #[inline]
    pub(crate) fn on_segment(
        &mut self,
        now: Instant,
        segment: &mut Segment,
        resources: &mut Resources<'_>,
    ) -> Option<TcpHeader> {
        let predicted = self.is_predicted(&segment.header, segment.payload.len());
        self.take_in(now, segment, predicted, resources)
    }

    /// Takes in a segment the short way, if it was `predicted`, or the long one.
    #[inline]
    pub(super) fn take_in(
        &mut self,
        now: Instant,
        segment: &mut Segment,
        predicted: bool,
        resources: &mut Resources<'_>,
    ) -> Option<TcpHeader> {
        let Segment { ref header, ref mut payload, ecn, gso_size } = *segment;
        let segments = if gso_size > 0 { payload.len().div_ceil(gso_size.into()) as u32 } else { 1 };
        self.totals.on_received(segments, payload.len());
        let step = if predicted {
            self.take_predicted(now, header, payload, (gso_size, ecn), resources);
            Continue(())
        } else {
            match self.state {
                State::Closed => Break(reset_for(header, payload.len())),
                State::SynSent => self.input_syn_sent(now, header, core::mem::take(payload), resources),
                _ => self.input(now, header, core::mem::take(payload), (gso_size, ecn), resources),
            }
        };
        self.send.rest(resources.spares);
        self.sent.rest(resources.spares);
        self.settle_charge(resources.budget);
        match step {
            Break(answer) => answer,
            Continue(()) => None,
        }
    }

    /// RFC 9293 §3.10.7.4, for every state behind SYN-SENT.
    fn input(
        &mut self,
        now: Instant,
        header: &TcpHeader,
        payload: Payload,
        (gso_size, ecn): (u16, u8),
        resources: &mut Resources<'_>,
    ) -> Step {
        if self.state == State::TimeWait {
            self.input_time_wait(now, header, payload.len(), resources);
            return Break(None);
        }
        self.check_sequence(now, header, payload.len(), resources)?;
        self.check_reset(now, header, resources)?;
        self.check_syn(now, header, resources)?;
        self.process_ack(now, header, payload.len(), resources)?;
        self.process_urgent(header, &payload, resources);
        self.note_mark(header, payload.len(), ecn);
        self.process_text(now, header, payload, gso_size, resources)?;
        self.process_fin(now, resources);
        Continue(())
    }

    /// Data has come in a packet with these ECN bits (RFC 3168 §6.1.3).
    fn note_mark(&mut self, header: &TcpHeader, payload_len: usize, ecn: u8) {
        if payload_len > 0 {
            let new = (SeqNumber(header.seq) + payload_len as u32).after(self.rcv_nxt);
            self.ecn.on_data(header.flags, ecn, new, &mut self.acks);
        }
    }

    /// RFC 9293 §3.10.7.3.
    fn input_syn_sent(
        &mut self,
        now: Instant,
        header: &TcpHeader,
        payload: Payload,
        resources: &mut Resources<'_>,
    ) -> Step {
        self.check_syn_sent_ack(now, header, payload.len())?;
        let ack = SeqNumber(header.ack);
        if header.flags.rst() {
            // A reset that doesn't acknowledge our SYN may be anybody's.
            if header.flags.ack() {
                self.fail(Error::ConnectionRefused, resources.budget);
            }
            return Break(None);
        }
        if !header.flags.syn() {
            return Break(None);
        }
        self.ecn.agree(header.flags);
        self.options.agree(&header.options, now);
        self.peer_mss = header.options.mss.unwrap_or(self.peer_mss);
        self.set_peer_isn(SeqNumber(header.seq));
        // RFC 7323 §2.2: the window of a segment with SYN is never scaled.
        self.snd_wnd = u32::from(header.window);
        self.max_snd_wnd = self.snd_wnd;
        self.last_received_at = now;
        if header.flags.ack() {
            self.snd_wl2 = ack;
            self.acknowledge_syn(now, header);
            self.establish(now, resources.config, resources.settings);
            self.acks.now = true;
        } else {
            // Simultaneous open (MUST-10): our SYN goes out again, with an acknowledgment.
            self.state = self.state.next(Transition::SynReceived);
            self.retransmit_all();
        }
        self.process_urgent(header, &payload, resources);
        self.process_text(now, header, payload, 0, resources)?;
        self.process_fin(now, resources);
        Continue(())
    }

    /// Fifth: the acknowledgment.
    fn process_ack(
        &mut self,
        now: Instant,
        header: &TcpHeader,
        payload_len: usize,
        resources: &mut Resources<'_>,
    ) -> Step {
        if !header.flags.ack() {
            return Break(None);
        }
        let ack = SeqNumber(header.ack);
        if self.state == State::SynReceived {
            if !ack.after(self.snd_una) || ack.after(self.snd_nxt) {
                return Break(reset_for(header, payload_len));
            }
            self.acknowledge_syn(now, header);
            self.snd_wl1 = SeqNumber(header.seq) - 1;
            self.establish(now, resources.config, resources.settings);
            self.acks.now |= header.flags.syn();
        } else if ack.after(self.snd_nxt) || ack.before(self.oldest_ack()) {
            // RFC 5961 §5.2 (MAY-12): neither what was sent nor recently in flight.
            self.challenge(now, resources);
            return Break(None);
        }
        self.last_received_at = now;
        self.keep_probes = 0;
        self.window_probes = 0;
        if let Some(timestamps) = header.options.timestamps {
            self.options.note_timestamp(now, timestamps, SeqNumber(header.seq), self.acks.last_sent);
        }
        if ack.before(self.snd_una) {
            self.acknowledge_late(now, header, resources.config);
            return Continue(());
        }
        self.acknowledge(now, header, payload_len, resources);
        self.after_ack(now, header, payload_len, resources)
    }

    /// The oldest acknowledgment that may just be late: of what was within the largest window before SND.UNA.
    /// As the kernel: but of nothing before the first byte that was acknowledged.
    fn oldest_ack(&self) -> SeqNumber {
        self.snd_una - self.totals.bytes_acked.min(self.max_snd_wnd.into()) as u32
    }

    /// What was acknowledged no longer limits anything.
    #[inline]
    pub(super) fn note_limits(&mut self, now: Instant) {
        let idle = self.send.is_empty() && self.sent.is_empty();
        if self.flags.no_space && self.has_send_room() {
            self.flags.no_space = false;
            self.chrono.stop(now, Limit::Sndbuf, idle);
        } else if idle {
            self.chrono.stop(now, Limit::Busy, true);
        }
    }

    /// Whether a segment says something newer about SND.WND (RFC 9293 §3.10.7.4; MUST-1: unsigned, MUST-34:
    /// it may shrink). As the kernel: of two that are as new, the one that offers more, or closes it.
    #[inline]
    pub(super) fn is_window_update(&self, header: &TcpHeader) -> bool {
        let (seq, wnd) = (SeqNumber(header.seq), self.window_of(header));
        SeqNumber(header.ack).after(self.snd_una)
            || seq.after(self.snd_wl1)
            || (seq == self.snd_wl1 && (wnd > self.snd_wnd || wnd == 0))
    }

    /// The window that a segment offers.
    #[inline]
    fn window_of(&self, header: &TcpHeader) -> u32 {
        let shift = if header.flags.syn() { 0 } else { self.options.snd_wscale };
        u32::from(header.window) << shift
    }

    /// SND.WND, from a segment that says something newer.
    #[inline]
    pub(super) fn update_window(&mut self, now: Instant, header: &TcpHeader, settings: &TcpSettings) {
        let (seq, ack) = (SeqNumber(header.seq), SeqNumber(header.ack));
        let was_closed = self.snd_wnd == 0;
        self.offer_window(self.window_of(header), settings);
        self.snd_wl1 = seq;
        self.snd_wl2 = ack;
        if was_closed && self.snd_wnd > 0 {
            self.timers.stop(Timer::Persist);
            self.stalled_since = now;
            if !self.sent.is_empty() {
                // What was sent into the closed window was refused: it goes out again at once. So does what the
                // timer has found lost, for the peer may have closed its window for want of memory: the next timeout
                // may be two minutes off, and no round trip can be measured that would shorten it.
                let timed_out = self.retransmits > 0 || self.recovery.state == CaState::Loss;
                if self.window_backoff > 0 || timed_out {
                    self.retransmit_all();
                }
                self.flags.xmit_timer = XmitTimer::Rto;
                self.rearm_rto(now);
            }
            self.window_backoff = 0;
        }
    }

    /// What follows when our FIN was acknowledged, and the buffers' growth.
    fn after_ack(
        &mut self,
        now: Instant,
        header: &TcpHeader,
        payload_len: usize,
        resources: &mut Resources<'_>,
    ) -> Step {
        match self.state {
            State::FinWait2 if self.flags.orphaned && !self.timers.is_set(Timer::Close) => {
                let Some(wait) = self.fin_timeout(resources) else {
                    // TCP_LINGER2 says not to wait.
                    self.end(resources.budget);
                    return Break(reset_for(header, payload_len));
                };
                self.timers.set(Timer::Close, now + wait);
            }
            State::TimeWait => self.enter_time_wait(now, resources),
            State::Closed => self.end(resources.budget),
            _ => self.grow_send_buffer(resources),
        }
        Continue(())
    }

    pub(super) fn enter_time_wait(&mut self, now: Instant, resources: &Resources<'_>) {
        self.timers.stop_all();
        // MUST-13.
        self.timers.set(Timer::Close, now + resources.config.time_wait);
    }

    /// Seventh: the data.
    fn process_text(
        &mut self,
        now: Instant,
        header: &TcpHeader,
        mut payload: Payload,
        gso_size: u16,
        resources: &mut Resources<'_>,
    ) -> Step {
        let (syn, fin) = (u32::from(header.flags.syn()), u32::from(header.flags.fin()));
        if payload.is_empty() && fin == 0 {
            return Continue(());
        }
        let mut start = SeqNumber(header.seq) + syn;
        let end = start + payload.len() as u32;
        if !(end + fin).after(self.rcv_nxt) {
            // All of it has arrived before: its acknowledgment was lost, or it came twice.
            self.enter_quick();
            self.owe_duplicate_ack(Some(SackBlock { left: start.0, right: (end + fin).0 }));
            return Continue(());
        }
        if !self.state.can_receive() {
            return Continue(());
        }
        let deaf = self.flags.orphaned || (self.flags.read_shut && self.fin_was_queued());
        if deaf && end.after(self.rcv_nxt) {
            // SHLD-3: nobody will read it, and the peer should know.
            resources.counters.bump(Counter::TcpAbortOnData);
            self.fail(Error::ConnectionReset, resources.budget);
            return Break(reset_for(header, payload.len()));
        }
        self.measure_receive(now, header, payload.len());
        self.note_segment_size(payload.len(), gso_size, header.flags);
        self.take_urgent_byte(start, &payload);
        self.feed(resources.budget);
        if !payload.is_empty() && self.is_beyond_window(start, end) {
            self.owe_duplicate_ack(None);
            return Continue(());
        }
        let duplicate =
            start.before(self.rcv_nxt).then_some(SackBlock { left: start.0, right: self.rcv_nxt.0 });
        // A FIN that data has run over since was none.
        if fin > 0 && self.rcv_fin.is_none_or(|at| at.before(self.rcv_nxt)) {
            self.rcv_fin = Some(end);
        }
        if payload.is_empty() {
            if end != self.rcv_nxt {
                self.owe_duplicate_ack(None);
            }
            return Continue(());
        }
        let seen = self.rcv_nxt.max(start).min(end).since(start);
        payload.trim(seen as usize, payload.len());
        start += seen;
        self.insert_text(now, start, &mut payload, duplicate, resources);
        Continue(())
    }

    /// Whether data is refused because of where it lies. As the kernel: what begins in the window is taken
    /// whole while nothing else waits to be read (a sender may have seen the window before it shrank).
    fn is_beyond_window(&self, start: SeqNumber, end: SeqNumber) -> bool {
        let edge = self.rcv_nxt + self.rcv_wnd();
        !start.before(edge) || (end.after(edge) && !self.recv.is_empty())
    }

    /// Puts data that lies in the window into the receive buffer and settles how it is acknowledged. What it takes
    /// of `payload` it moves once: moving what was just written stalls the processor.
    #[inline]
    pub(super) fn insert_text(
        &mut self,
        now: Instant,
        start: SeqNumber,
        payload: &mut Payload,
        duplicate: Option<SackBlock>,
        resources: &mut Resources<'_>,
    ) {
        let gap_before = self.recv.out_of_order_len() > 0;
        let (len, queued) = (payload.len(), self.recv_queued_all());
        let limit = (2 * self.recv_window.buffer as usize + 65_536)
            .min(self.recv.charged() + resources.budget.available());
        let rcv_nxt = self.rcv_nxt;
        self.recv.wake(resources.spares);
        let inserted = self.recv.insert(start.since(rcv_nxt), payload, limit);
        self.rcv_nxt += inserted.advanced;
        self.totals.bytes_received += u64::from(inserted.advanced);
        let duplicate = duplicate.or_else(|| {
            let range = inserted.duplicate.as_ref()?;
            Some(SackBlock { left: (rcv_nxt + range.start).0, right: (rcv_nxt + range.end).0 })
        });
        self.count_text(&inserted, duplicate.is_some(), resources.counters);
        self.flags.starved |= inserted.dropped && inserted.advanced == 0 && start == rcv_nxt;
        if inserted.advanced == 0 || duplicate.is_some() {
            // MAY-13, RFC 5681 §4.2: out of order or seen before: at once, one for each segment.
            self.grow_window(len, queued, resources.config);
            if duplicate.is_some() {
                self.enter_quick();
            }
            self.owe_duplicate_ack(duplicate);
        } else {
            self.note_data(now);
            if len >= 128 {
                self.grow_window(len, queued, resources.config);
            }
            self.owe_ack(now, gap_before || inserted.dropped, resources.config);
        }
    }

    /// What became of a segment's data.
    #[inline]
    fn count_text(&mut self, inserted: &Inserted, duplicate: bool, counters: &mut Counters) {
        if inserted.advanced == 0 && inserted.dropped {
            counters.bump(if self.recv.is_empty() { Counter::TcpOfoDrop } else { Counter::TcpRcvQDrop });
        } else if inserted.advanced == 0 {
            self.totals.rcv_ooopack = self.totals.rcv_ooopack.wrapping_add(1);
            counters.bump(Counter::TcpOfoQueue);
            counters.add(Counter::TcpOfoMerge, duplicate.into());
        }
        counters.add(Counter::TcpDsackOfoSent, (duplicate && self.options.sack).into());
    }

    /// Eighth: the FIN, once everything before it has arrived.
    fn process_fin(&mut self, now: Instant, resources: &mut Resources<'_>) {
        if self.rcv_fin != Some(self.rcv_nxt) || !self.state.can_receive() || self.state == State::SynReceived
        {
            return;
        }
        self.flags.fin_received = true;
        self.rcv_nxt += 1;
        self.totals.bytes_received += 1;
        self.rcv_adv = self.rcv_adv.max(self.rcv_nxt);
        // As the kernel: one acknowledgment says all, behind the end nothing can be missing.
        self.acks.forget_duplicates();
        let established = matches!(self.state, State::Established | State::SynReceived);
        self.state = self.state.next(Transition::FinReceived);
        self.acks.on_fin();
        if established {
            self.owe_ack(now, false, resources.config);
        } else {
            self.acks.now = true;
        }
        if self.state == State::TimeWait {
            self.enter_time_wait(now, resources);
        }
    }
}
