//! What to send next (RFC 9293 §3.8, RFC 5681, RFC 6675).
//!
//! Nothing is queued for sending: every call looks at the state and makes the most urgent segment, so any
//! order of calls is legal. Super-segments carry whole segments and at most one short one, at their end.

use super::ack::Duplicate;
use super::chrono::Limit;
use super::congestion::Controller as _;
use super::connection::{Connection, Resources};
use super::pacing::Deferred;
use super::recovery::{Owed, XmitTimer};
use super::segment::Segment;
use super::seq::SeqNumber;
use super::state::State;
use super::timers::Timer;
use crate::counters::Counter;
use core::time::Duration;
use sockeye_packet::{Instant, Payload};
use sockeye_wire::{SackBlocks, TcpFlags, TcpHeader, TcpOptions};

/// The override timeout of RFC 9293 §3.8.6.2.1 for what is held back as too small; also `TCP_CORK`'s.
const OVERRIDE: Duration = Duration::from_millis(200);
impl Connection {
    /// The next segment to send; to be called until there is none.
    #[inline]
    pub(crate) fn poll_transmit(&mut self, now: Instant, resources: &mut Resources<'_>) -> Option<Segment> {
        match self.state {
            State::Closed => return None,
            State::SynSent | State::SynReceived => return self.next_syn(now),
            _ => {}
        }
        // Acknowledgments that stand for one segment each go first: they are older than what follows.
        if let Some(duplicate) = self.acks.next_duplicate() {
            return Some(self.duplicate_ack(now, duplicate));
        }
        // Segments are large: each is returned as it was made, for moving what was just written stalls.
        if self.recovery.owed != Owed::Nothing
            && let Some(segment) = self.next_owed(now, resources)
        {
            return Some(segment);
        }
        if (self.flags.window_probe_owed || self.flags.keep_probe_owed)
            && let Some(segment) = self.next_window_probe(now).or_else(|| self.next_keep_probe(now))
        {
            return Some(segment);
        }
        let waiting = self.is_waiting();
        if waiting && let Some(segment) = self.new_segment(now, resources) {
            return Some(segment);
        }
        if self.acks.now {
            return Some(self.pure_ack(now, self.snd_nxt));
        }
        self.totals.answered = self.totals.delivered;
        if self.recovery.is_reducing() {
            self.recovery.prr.on_answered();
        }
        if waiting || self.snd_wnd == 0 {
            self.arm_persist(now, waiting, resources);
        }
        None
    }

    /// Our SYN, first or again; in SYN-RECEIVED with an acknowledgment.
    fn next_syn(&mut self, now: Instant) -> Option<Segment> {
        let end = self.iss + 1;
        if self.snd_nxt == self.iss {
            let sending = self.sending(now);
            self.sent.push(self.iss, end, true, sending);
            self.snd_nxt = end;
            self.stalled_since = now;
        } else if self.recovery.owed == Owed::Head {
            self.recovery.owed = Owed::Nothing;
            let sending = self.sending(now);
            self.sent.on_retransmit(0, 1, true, sending);
            self.totals.retransmits += u32::from(self.retransmits > 0);
        } else if self.is_closed_early() && self.snd_nxt == end && self.snd_wnd > 1 {
            let sending = self.sending(now);
            self.sent.push(end, end + 1, true, sending);
            self.snd_nxt = end + 1;
            return Some(self.transmit(now, end, end + 1));
        } else if self.acks.now {
            return Some(self.pure_ack(now, self.snd_nxt));
        } else {
            return self.acks.next_duplicate().map(|duplicate| self.duplicate_ack(now, duplicate));
        }
        Some(self.transmit(now, self.iss, end))
    }

    /// A probe of a closed window (MUST-36). As the kernel: what is in flight is said again in part, otherwise a
    /// segment without data before the window asks, and nothing new is sent.
    fn next_window_probe(&mut self, now: Instant) -> Option<Segment> {
        if !core::mem::take(&mut self.flags.window_probe_owed) || self.snd_wnd > 0 {
            return None;
        }
        if self.sent.is_empty() {
            return self.is_waiting().then(|| self.pure_ack(now, self.snd_una - 1));
        }
        self.sent.on_probe(now);
        Some(self.transmit(now, self.snd_una, self.snd_una + 1))
    }

    /// A segment without data before the window, which the peer must answer (RFC 9293 §3.8.4, SHLD-12).
    fn next_keep_probe(&mut self, now: Instant) -> Option<Segment> {
        core::mem::take(&mut self.flags.keep_probe_owed).then(|| self.pure_ack(now, self.snd_nxt - 1))
    }

    /// New data within both windows, and the FIN behind the last of it.
    pub(super) fn next_new(&mut self, now: Instant, resources: &mut Resources<'_>) -> Option<Segment> {
        if self.is_waiting() { self.new_segment(now, resources) } else { None }
    }

    /// The same where it is known that something waits.
    #[inline]
    fn new_segment(&mut self, now: Instant, resources: &mut Resources<'_>) -> Option<Segment> {
        let unsent = self.unsent();
        // SHLD-15: nothing new when the usable window is zero or negative.
        let usable = ((self.snd_una + self.snd_wnd) - self.snd_nxt).max(0) as u32;
        if usable < unsent.min(self.snd_mss.into()) || usable == 0 {
            self.chrono.start(now, Limit::Rwnd);
        } else {
            self.chrono.stop(now, Limit::Rwnd, false);
        }
        if usable == 0 || self.is_too_early(now) {
            return None;
        }
        let len = if unsent == 0 { 0 } else { self.sendable(now, unsent, usable, resources)? };
        let len = self.restart_after_idle(now, len, resources.config);
        let fin = self.fin_unacked() && len == unsent && usable > len;
        if len == 0 && !fin {
            return None;
        }
        let (start, end) = (self.snd_nxt, self.snd_nxt + len + u32::from(fin));
        let first = self.sent.is_empty();
        if first {
            self.stalled_since = now;
        }
        self.sent.wake(resources.spares);
        let sending = self.sending(now);
        self.sent.push(start, end, fin, sending);
        self.snd_nxt = end;
        // What was held back is gone: its override timer must not hurry what comes later.
        self.timers.stop(Timer::Persist);
        let mss = u32::from(self.snd_mss);
        let segments = if len <= mss { 1 } else { len.div_ceil(mss) };
        if self.recovery.is_reducing() {
            self.recovery.prr.on_sent(segments);
        }
        let mut is_probe = false;
        if len < mss && len > 0 || !len.is_multiple_of(mss) {
            self.snd_sml = end;
            is_probe = core::mem::take(&mut self.flags.small_is_probe) && self.flags.send_small;
            self.flags.send_small = false;
        }
        self.on_dialogue(now);
        // As the kernel: a window that is only partly used keeps its size, it just doesn't grow (RFC 7661 §4.3),
        // until nothing is sent at all.
        self.note_flight(false);
        if self.flags.no_space && self.unsent() == 0 {
            self.chrono.start(now, Limit::Sndbuf);
        }
        resources.counters.add(Counter::TcpOrigDataSent, segments.into());
        self.on_new_data_sent(now, first, resources.config);
        let (ecn, flags) = self.ecn.mark_new(len > 0);
        let flags = if is_probe { flags | TcpFlags::PSH } else { flags };
        self.pace(now, len, self.totals.data_segs_out.wrapping_add(segments), resources);
        Some(self.make_segment(now, (start, end), flags, ecn))
    }

    /// How many of the `unsent` bytes may go out now.
    #[inline]
    fn sendable(&mut self, now: Instant, unsent: u32, usable: u32, resources: &Resources<'_>) -> Option<u32> {
        // No segment goes beyond the end of a record (MSG_EOR).
        let all = unsent;
        let unsent = self.left_of_record().map_or(all, |left| left.min(all));
        let mss = u32::from(self.snd_mss);
        let in_flight = self.in_flight();
        let mut room = (self.congestion.cwnd() as u32).saturating_sub(in_flight);
        let probe = self.recovery.owed == Owed::ProbeNew;
        if in_flight == 0 || probe {
            room = room.max(mss);
        }
        if room < mss.min(unsent) {
            self.note_flight(true);
            return None;
        }
        // One segment is never too large, so what fits in one needs no limit.
        let limit = if probe || unsent <= mss { mss } else { self.new_segment_limit(resources) };
        if let Some(why) = self.defers(now, (unsent, all), (usable, room), limit, resources.config) {
            self.note_flight(why == Deferred::Cwnd);
            return None;
        }
        let len = unsent.min(usable).min(room).min(limit);
        let short = len % mss;
        let whole = len - short;
        // Sender's silly window avoidance (MUST-38): full segments; the last one of the data; half of the
        // largest window; or after the override timeout. As the kernel: a window of at least a segment is
        // also filled to its end, unless another short segment is in flight.
        let is_last = len == unsent || (len == usable && whole > 0);
        // As the kernel: a short segment that nothing can be added to waits for nothing.
        let is_complete = unsent < all && len == unsent && whole == 0;
        let may_be_short = self.flags.send_small
            || is_complete
            || matches!(self.recovery.owed, Owed::ProbeNew | Owed::NewData)
            || if is_last { self.may_send_tail(resources) } else { len >= self.max_snd_wnd / 2 };
        if short == 0 || (may_be_short && (is_last || whole == 0)) {
            Some(len)
        } else if whole > 0 {
            Some(whole)
        } else {
            // With something in flight an acknowledgment will ask again.
            if self.sent.is_empty() && !self.timers.is_set(Timer::Persist) {
                self.timers.set(Timer::Persist, now + self.rtt.rto().max(OVERRIDE));
            }
            None
        }
    }

    /// Whether a last segment that is not full may go out: Nagle's algorithm (SHLD-7, MUST-17), as the
    /// kernel has it: only a short segment in flight holds back another.
    #[inline]
    fn may_send_tail(&self, resources: &Resources<'_>) -> bool {
        if self.fin_unacked() || self.urgent.snd_up().is_some() {
            return true;
        }
        let held = resources.settings.cork || self.flags.more;
        let nagle = !resources.settings.no_delay && self.snd_sml.after(self.snd_una);
        !held && !nagle
    }

    /// Bytes from SND.NXT to the end of its record, if that has one yet.
    #[inline]
    fn left_of_record(&self) -> Option<u32> {
        let offset = self.snd_nxt.since(self.snd_una) as usize;
        self.send.left_of_record(offset).map(|left| left as u32)
    }

    /// Whether the byte before `seq` ends a record.
    #[inline]
    pub(super) fn ends_record(&self, seq: SeqNumber) -> bool {
        self.send.is_record_end(seq.since(self.snd_una) as usize)
    }

    /// Whether there is anything that was never sent.
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        self.unsent() > 0 || (self.fin_unacked() && !self.snd_nxt.after(self.send_end()))
    }

    /// Nothing can be sent now: with a closed window, or data held back and nothing in flight, only a
    /// timer gets things moving again (SHLD-29: the first probe after one RTO; SHLD-30: then ever later).
    fn arm_persist(&mut self, now: Instant, waiting: bool, resources: &Resources<'_>) {
        if self.snd_wnd == 0 && (waiting || !self.sent.is_empty()) {
            self.timers.stop(Timer::Retransmit);
            if !self.timers.is_set(Timer::Persist) {
                let interval = self.rtt.rto().saturating_mul(1 << self.window_backoff.min(16));
                self.timers.set(Timer::Persist, now + interval.min(resources.config.max_rto));
            }
        } else if waiting
            && self.sent.is_empty()
            && !self.timers.is_set(Timer::Persist)
            && !self.timers.is_set(Timer::Pacing)
        {
            self.timers.set(Timer::Persist, now + self.rtt.rto().max(OVERRIDE));
        }
    }
}

/// How segments are made.
impl Connection {
    /// The segment of `start..end`, which the records already show as sent now.
    #[inline]
    pub(super) fn transmit(&mut self, now: Instant, start: SeqNumber, end: SeqNumber) -> Segment {
        self.make_segment(now, (start, end), TcpFlags::NONE, 0)
    }

    /// The same with more `flags`, and ECN bits. It is large, so nobody changes it where it was made: moving what was
    /// just written stalls the processor.
    #[inline]
    fn make_segment(
        &mut self,
        now: Instant,
        (start, end): (SeqNumber, SeqNumber),
        mut flags: TcpFlags,
        ecn: u8,
    ) -> Segment {
        let opening = matches!(self.state, State::SynSent | State::SynReceived);
        let syn = u32::from(opening && start == self.iss);
        let fin = u32::from(self.fin_unacked() && end.after(self.send_end()));
        let (first, last) = (start + syn, end - fin);
        let payload = if last.after(first) {
            let offset = first.since(self.snd_una + u32::from(opening)) as usize;
            self.send.slice(offset, last.since(first) as usize)
        } else {
            Payload::EMPTY
        };
        if syn > 0 {
            flags |= TcpFlags::SYN | self.ecn.syn_flags(self.state == State::SynReceived);
        }
        if fin > 0 {
            flags |= TcpFlags::FIN;
        }
        // MUST-61: PSH on the last segment of the buffered data, unless the program says that more follows. As
        // the kernel: also on every super-segment, lest the receiver waits to join more to it.
        let last_of_all = last == self.send_end() && !self.flags.more;
        let several = payload.len() > usize::from(self.snd_mss);
        if !payload.is_empty() && (last_of_all || several || self.ends_record(last)) {
            flags |= TcpFlags::PSH;
        }
        let mut header = self.header(now, start, flags);
        if let Some(up) = self.urgent.snd_up().filter(|up| up.after(start)) {
            header.flags |= TcpFlags::URG;
            header.urgent = up.since(start).min(u32::from(u16::MAX)) as u16;
        }
        if syn > 0 {
            header.options = self.options.syn_options(self.local_mss, now);
        }
        let segments =
            if several { payload.len().div_ceil(usize::from(self.snd_mss).max(1)) as u32 } else { 1 };
        self.totals.on_sent(segments, payload.len());
        if !payload.is_empty() {
            self.last_sent_at = now;
        }
        if !self.timers.is_set(Timer::Retransmit) && (opening || self.snd_wnd > 0) {
            self.flags.xmit_timer = XmitTimer::Rto;
            self.rearm_rto(now);
        }
        let gso_size = if several { self.snd_mss } else { 0 };
        Segment { header, payload, ecn, gso_size }
    }

    fn pure_ack(&mut self, now: Instant, seq: SeqNumber) -> Segment {
        self.totals.on_sent(1, 0);
        let mut header = self.header(now, seq, TcpFlags::NONE);
        header.options.sack = self.sack_blocks(None);
        Segment { header, payload: Payload::EMPTY, ecn: 0, gso_size: 0 }
    }

    /// An acknowledgment as it was due when its segment arrived.
    fn duplicate_ack(&mut self, now: Instant, duplicate: Duplicate) -> Segment {
        self.totals.on_sent(1, 0);
        let Duplicate { ack, sack } = duplicate;
        let current = ack == self.rcv_nxt;
        let header = if current {
            TcpHeader {
                options: TcpOptions {
                    sack,
                    timestamps: self.options.timestamp(now),
                    ..TcpOptions::default()
                },
                ..self.header(now, self.snd_nxt, TcpFlags::NONE)
            }
        } else {
            // Older than what has arrived since: nothing that is owed is settled by it.
            let window = (self.rcv_adv - ack).max(0) as u32 >> self.options.rcv_wscale;
            TcpHeader {
                seq: self.snd_nxt.0,
                ack: ack.0,
                flags: TcpFlags::ACK | self.ecn.ack_flags(),
                window: window.min(u32::from(u16::MAX)) as u16,
                options: TcpOptions {
                    sack,
                    timestamps: self.options.timestamp(now),
                    ..TcpOptions::default()
                },
                ..TcpHeader::default()
            }
        };
        Segment::control(header)
    }

    /// A header that acknowledges what has arrived (in every state but SYN-SENT).
    #[inline]
    fn header(&mut self, now: Instant, seq: SeqNumber, flags: TcpFlags) -> TcpHeader {
        let mut header = TcpHeader {
            seq: seq.0,
            flags,
            window: self.advertise(flags.syn()),
            options: TcpOptions {
                timestamps: self.options.timestamp(now),
                sack: SackBlocks::default(),
                ..TcpOptions::default()
            },
            ..TcpHeader::default()
        };
        if self.state != State::SynSent {
            header.ack = self.rcv_nxt.0;
            header.flags |= TcpFlags::ACK;
            if !flags.syn() {
                header.flags |= self.ecn.ack_flags();
            }
            self.on_ack_sent();
        }
        header
    }
}
