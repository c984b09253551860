//! An acknowledgment (RFC 9293 §3.10.7.4, fifth): what it takes off the queue, what it measures, what it
//! reports by SACK (RFC 2018) and DSACK (RFC 2883), and that recovery and congestion control hear of it.

use super::connection::{Connection, Resources};
use super::info::CaState;
use super::rate::Sample;
use super::recovery::Owed;
use super::sent::Record;
use super::seq::SeqNumber;
use super::state::{State, Transition};
use super::timers::Timer;
use crate::config::TcpConfig;
use crate::counters::Counter;
use core::time::Duration;
use sockeye_packet::Instant;
use sockeye_wire::{SackBlock, TcpFlags, TcpHeader};

/// What one acknowledgment said.
#[derive(Clone, Copy, Debug)]
pub(super) struct AckInfo {
    /// SND.UNA before it.
    pub(super) prior_una: SeqNumber,
    /// What lay before this was acknowledged or sacked, or had a sacked segment above it.
    prior_fack: SeqNumber,
    /// Segments in flight, delivered and lost before it.
    pub(super) prior_in_flight: u32,
    pub(super) prior_delivered: u32,
    /// The same of those that carried news of congestion.
    pub(super) prior_delivered_ce: u32,
    pub(super) prior_lost: u32,
    /// It moved SND.UNA on.
    pub(super) advanced: bool,
    /// Whole segments that this took off the queue.
    pub(super) acked: u32,
    /// It brought data or a FIN.
    pub(super) data: bool,
    /// It may have changed SND.WND.
    window_update: bool,
    /// It reported something by SACK for the first time.
    pub(super) sacked: bool,
    /// Something that was sent only once, before the recovery point, has arrived.
    pub(super) orig_acked: bool,
    /// When the first of what was sent more than once, and is acknowledged, was sent last.
    resent_at: Option<Instant>,
    /// It reported a segment that arrived twice, and that segment was a probe.
    dsack: bool,
    pub(super) dsack_probe: bool,
    /// SND.UNA is at a record that had been reported by SACK.
    pub(super) reneged: bool,
    /// The network reports congestion (RFC 3168).
    pub(super) ece: bool,
    /// A retransmission was found lost.
    pub(super) lost_retrans: bool,
    /// The retransmission timer begins anew.
    pub(super) set_timer: bool,
    /// Duplicate acknowledgments in the sense of RFC 5681 §2 that it stands for.
    pub(super) duplicates: u32,
    /// When the first and the last of what arrived, and was sent only once, were sent: acknowledged, and
    /// reported by SACK.
    acked_at: Option<(Instant, Instant)>,
    sacked_at: Option<(Instant, Instant)>,
    /// The least sequence number that arrived late without having been sent again.
    late: Option<SeqNumber>,
    /// Of what arrived, the segment that was sent last, and how many had been delivered then.
    latest: Option<(Instant, SeqNumber, u32)>,
    /// Of what it is the first to report, the segment that was sent last.
    pub(super) sample: Option<Sample>,
    /// The round-trip time it measured.
    pub(super) rtt: Option<Duration>,
}

impl AckInfo {
    /// Neither moves anything on nor says anything new.
    pub(super) fn is_pure_duplicate(&self) -> bool {
        !self.advanced && !self.is_not_duplicate()
    }

    fn is_not_duplicate(&self) -> bool {
        self.data || self.window_update || self.acked > 0
    }

    /// A record arrived.
    fn note_arrival(&mut self, record: &Record) {
        let newer = self.latest.is_none_or(|(at, end, _)| {
            record.sent_at > at || (record.sent_at == at && record.end.after(end))
        });
        if newer {
            self.latest = Some((record.sent_at, record.end, record.delivered));
        }
    }

    /// A record is delivered.
    fn note_delivered(&mut self, record: &Record) {
        let Record { sent_at, end, .. } = *record;
        let newer =
            |sample: Sample| sent_at > sample.sent_at || (sent_at == sample.sent_at && end.after(sample.end));
        if self.sample.is_none_or(newer) {
            self.sample = Some(record.sample());
        }
    }

    /// A record arrived late, which starts here and was sent only once.
    fn note_late(&mut self, start: SeqNumber) {
        self.late = Some(self.late.map_or(start, |late| late.min(start)));
    }
}

fn extend(span: &mut Option<(Instant, Instant)>, at: Instant) {
    *span = Some((span.map_or(at, |(first, _)| first), at));
}

impl Connection {
    /// What is known of an acknowledgment before it is looked into.
    fn ack_info(&self, header: &TcpHeader, payload_len: usize) -> AckInfo {
        AckInfo {
            prior_una: self.snd_una,
            prior_fack: self.highest_sacked(),
            prior_in_flight: self.sent.packets_in_flight(),
            prior_delivered: self.totals.delivered,
            prior_delivered_ce: self.totals.delivered_ce,
            prior_lost: self.recovery.lost,
            advanced: SeqNumber(header.ack).after(self.snd_una),
            acked: 0,
            data: payload_len > 0 || header.flags.intersects(TcpFlags::SYN | TcpFlags::FIN),
            window_update: self.is_window_update(header),
            sacked: false,
            orig_acked: false,
            resent_at: None,
            dsack: false,
            dsack_probe: false,
            reneged: false,
            ece: self.ecn.is_echo(header.flags),
            lost_retrans: false,
            set_timer: false,
            duplicates: 0,
            acked_at: None,
            sacked_at: None,
            late: None,
            latest: None,
            sample: None,
            rtt: None,
        }
    }

    /// The end of the highest segment reported by SACK, or SND.UNA.
    fn highest_sacked(&self) -> SeqNumber {
        self.scoreboard.highest().unwrap_or(self.snd_una)
    }

    /// An acknowledgment of SND.UNA or later.
    pub(super) fn acknowledge(
        &mut self,
        now: Instant,
        header: &TcpHeader,
        payload_len: usize,
        resources: &mut Resources<'_>,
    ) {
        let ack = SeqNumber(header.ack);
        let config = resources.config;
        let outstanding = !self.sent.is_empty();
        let mut info = self.ack_info(header, payload_len);
        if outstanding && ack != self.snd_nxt {
            self.recovery.wake(resources.spares);
        }
        self.options.note_echo(header.options.timestamps);
        if self.options.sack && !header.options.sack.is_empty() {
            self.on_sack_blocks(now, ack, &header.options.sack, &mut info, config);
        }
        if info.advanced {
            self.advance_una(now, ack, &mut info);
        }
        if info.window_update {
            self.update_window(now, header, resources.settings);
        }
        if outstanding {
            self.measure(now, header, &mut info);
            self.note_acknowledged(&mut info, config);
            if self.recovery.tlp_high_seq.is_some() {
                self.process_probe_ack(now, ack, &info);
            }
            if self.is_dubious(&info) {
                let duplicate = info.is_pure_duplicate() && !info.dsack;
                info.duplicates = u32::from(duplicate);
                self.on_dubious_ack(now, &mut info, config);
            }
            if info.set_timer {
                self.set_xmit_timer(now, config);
            }
            self.measure_rate(now, info.prior_delivered, info.sample, info.reneged);
            self.control_congestion(now, &info, config);
        } else {
            if info.dsack {
                self.on_dubious_ack(now, &mut info, config);
            }
            if self.recovery.tlp_high_seq.is_some() {
                self.process_probe_ack(now, ack, &info);
            }
        }
        if info.advanced {
            self.trim_duplicates();
            self.note_limits(now);
        }
        self.count_events(resources.counters);
        self.count_acknowledgment(&info, resources.counters);
        if self.sent.is_empty() {
            self.settle_recovery();
            self.recovery.rest(resources.spares);
        }
    }

    /// An acknowledgment from before SND.UNA: late, but its SACK blocks may say something new.
    pub(super) fn acknowledge_late(&mut self, now: Instant, header: &TcpHeader, config: &TcpConfig) {
        if !self.options.sack || header.options.sack.is_empty() {
            return;
        }
        let mut info = self.ack_info(header, 1);
        // As the kernel: what a late one says of congestion was said by others.
        info.ece = false;
        self.on_sack_blocks(now, SeqNumber(header.ack), &header.options.sack, &mut info, config);
        self.on_dubious_ack(now, &mut info, config);
    }

    /// With nothing in flight nothing is to be sent again.
    fn settle_recovery(&mut self) {
        if self.recovery.owed != Owed::Nothing {
            self.recovery.owed = Owed::Nothing;
        }
        self.scoreboard.clear();
    }

    /// Whether recovery has to look at an acknowledgment.
    fn is_dubious(&self, info: &AckInfo) -> bool {
        let alert = info.sacked || info.dsack || info.ece;
        !info.is_not_duplicate() && !info.advanced || alert || self.recovery.state != CaState::Open
    }

    /// The acknowledgment of our SYN.
    pub(super) fn acknowledge_syn(&mut self, now: Instant, header: &TcpHeader) {
        let mut info = self.ack_info(header, 0);
        self.options.note_echo(header.options.timestamps);
        if self.options.echoes(self.stalled_since) {
            // It answers the first SYN: nothing was lost (RFC 3522).
            self.flags.syn_timed_out = false;
        }
        self.advance_una(now, SeqNumber(header.ack), &mut info);
        self.measure(now, header, &mut info);
        self.totals.delivered = 1;
        self.measure_rate(now, info.prior_delivered, info.sample, info.reneged);
    }

    /// SND.UNA moves to `ack`.
    fn advance_una(&mut self, now: Instant, ack: SeqNumber, info: &mut AckInfo) {
        let advanced = ack.since(self.snd_una);
        let syn = u32::from(matches!(self.state, State::SynSent | State::SynReceived));
        let bytes = (advanced - syn).min(self.send.len() as u32);
        let fin = self.fin_unacked() && ack.after(self.send_end());
        self.take_off(now, ack, info);
        self.scoreboard.acknowledge(ack);
        self.move_una(now, ack, bytes);
        if fin {
            self.state = self.state.next(Transition::FinAcked);
        }
    }

    /// SND.UNA moves to `ack`, and `bytes` of data are taken off the send buffer.
    #[inline]
    pub(super) fn move_una(&mut self, now: Instant, ack: SeqNumber, bytes: u32) {
        self.totals.bytes_acked += u64::from(ack.since(self.snd_una));
        if bytes > 0 {
            self.send.advance(bytes as usize);
        }
        self.snd_una = ack;
        self.urgent.on_acknowledged(ack);
        // Nagle's mark must not fall behind by more than sequence numbers can tell.
        self.snd_sml = self.snd_sml.max(ack);
        self.retransmits = 0;
        self.stalled_since = now;
        self.soft_error = None;
        if self.sent.is_empty() {
            self.timers.stop(Timer::Retransmit);
        }
    }

    /// Takes what lies before `ack` off the queue of what is in flight.
    fn take_off(&mut self, now: Instant, ack: SeqNumber, info: &mut AckInfo) {
        let (sack, more) = (self.options.sack, ack != self.snd_nxt);
        let (high_seq, min_rtt) = (self.recovery.high_seq, self.rtt.min_rtt());
        let (recovery, options) = (&mut self.recovery, &self.options);
        let mut delivered = 0;
        self.sent.acknowledge(ack, self.snd_mss.into(), |record, packets| {
            info.acked += packets;
            info.note_arrival(record);
            if !record.sacked {
                info.note_delivered(record);
            }
            if record.retransmitted {
                info.resent_at = info.resent_at.or(Some(record.sent_at));
            } else if !record.sacked {
                extend(&mut info.acked_at, record.sent_at);
                info.note_late(record.start);
                info.orig_acked |= !record.end.after(high_seq);
            }
            if !record.sacked && sack {
                delivered += packets;
                // An answer to an earlier copy says nothing about when the last was due.
                let spurious = record.retransmitted && options.echoes_before(record.sent_at);
                if more && !spurious {
                    recovery.rack.advance(now, record, min_rtt);
                }
            }
        });
        self.totals.delivered = self.totals.delivered.wrapping_add(delivered);
        info.reneged = self.sent.front().is_some_and(|first| first.sacked);
    }

    /// What was taken off the queue: timer, duplicates, reordering.
    fn note_acknowledged(&mut self, info: &mut AckInfo, config: &TcpConfig) {
        if info.acked > 0 {
            info.set_timer = true;
            if !self.options.sack {
                self.remove_duplicates(info.acked, config);
                // Nobody can say which copy it was.
                info.orig_acked &= info.resent_at.is_none();
            } else if let Some(late) = info.late.filter(|late| late.before(info.prior_fack)) {
                // A hole was filled by what was sent only once.
                self.note_reordering(late, Counter::TcpSackReorder, config);
            }
        } else if let (Some((first, _)), Some(front)) = (info.sacked_at, self.sent.front()) {
            // RFC 6298 §5.3: progress. Not when it is of something sent after the first segment, for then
            // the timeout might move on for ever.
            info.set_timer = info.rtt.is_some() && first < front.sent_at;
        }
        let adapts = self.recovery.rack.dsack_seen || self.recovery.rack.steps > 1;
        if let Some((_, _, prior)) = info.latest.filter(|_| adapts) {
            let delivered = self.totals.delivered;
            self.recovery.rack.update_reo_wnd(prior, delivered, config);
        }
    }

    /// RFC 6298 §3, §4: the round-trip time.
    fn measure(&mut self, now: Instant, header: &TcpHeader, info: &mut AckInfo) {
        let ack = SeqNumber(header.ack);
        let since = |at: Instant| now.saturating_since(at);
        // MUST-18, Karn: only what was sent once is measured, or what a timestamp identifies.
        let acked = info.acked_at.filter(|_| info.resent_at.is_none());
        let measured = acked.or(info.sacked_at).map(|(first, last)| (since(first), since(last)));
        let (rtt, least) = if let Some((rtt, least)) = measured {
            (Some(rtt), info.sacked_at.map_or(least, |(_, last)| since(last)))
        } else {
            let echoed = self.echoed(now, header, info);
            (echoed, echoed.unwrap_or_default())
        };
        // When a second copy is reported, the acknowledgment of the first was lost: the time is that of our
        // timer, also for what else is reported only now.
        let second_copy = acked.is_none() && reports_duplicate(ack, &header.options.sack);
        if second_copy {
            // RFC 3708: data had got through before the timer said so; only its acknowledgment was lost.
            self.rtt.reset_back_off();
        }
        info.rtt = rtt.filter(|_| !second_copy);
        if let Some(rtt) = info.rtt {
            self.rtt.sample(rtt, self.snd_una, self.snd_nxt);
            self.rtt.note_least(now, least);
        }
    }

    /// The round-trip time by the timestamp that the peer echoes, when segments were acknowledged.
    fn echoed(&self, now: Instant, header: &TcpHeader, info: &AckInfo) -> Option<Duration> {
        let stamps = header.options.timestamps.filter(|_| info.acked > 0)?;
        let echoed = self.options.echoed_rtt(now, stamps)?;
        // Without DSACK: an echo from before the last copy was sent, that comes when an answer to that
        // copy may come, is either late or answers a copy that the peer already had. Nobody can say.
        let since_resent = now.saturating_since(info.resent_at?);
        let may_answer_copy = self.rtt.min_rtt().is_some_and(|least| since_resent >= least);
        let before_copy = echoed > since_resent + Duration::from_millis(1);
        (!may_answer_copy || !before_copy).then_some(echoed)
    }

    /// The network has delivered `low` after what lies above.
    pub(super) fn note_reordering(&mut self, low: SeqNumber, counter: Counter, config: &TcpConfig) {
        let highest = self.highest_sacked();
        if !low.before(highest) {
            return;
        }
        let segments = highest.since(low).div_ceil(u32::from(self.snd_mss));
        if segments > u32::from(self.recovery.reordering) {
            self.recovery.reordering = segments.min(config.max_reordering).min(u16::MAX.into()) as u16;
        }
        self.totals.reord_seen = self.totals.reord_seen.saturating_add(1);
        self.recovery.events.note(counter);
    }
}

/// Selective acknowledgments.
impl Connection {
    /// Takes in the SACK blocks of a segment. What it costs is bounded by what is new.
    fn on_sack_blocks(
        &mut self,
        now: Instant,
        ack: SeqNumber,
        blocks: &[SackBlock],
        info: &mut AckInfo,
        config: &TcpConfig,
    ) {
        let duplicate = self.check_dsack(ack, blocks, info);
        if self.sent.is_empty() {
            return;
        }
        if duplicate && let Some(first) = blocks.first() {
            self.mark_duplicate(SeqNumber(first.left), SeqNumber(first.right), info);
        }
        let una = ack.max(self.snd_una);
        // Forged, reversed, or in front of what is in flight (RFC 2018 §4, RFC 2883).
        let valid = |block: &SackBlock| {
            let (left, right) = (SeqNumber(block.left), SeqNumber(block.right));
            left.before(right) && left.after(una) && !right.after(self.snd_nxt)
        };
        let mut sorted = [SackBlock { left: 0, right: 0 }; 4];
        let mut count = 0;
        for block in blocks.iter().filter(|block| valid(block)).take(sorted.len()) {
            sorted[count] = *block;
            count += 1;
        }
        sorted[..count].sort_unstable_by_key(|block| SeqNumber(block.left).since(una));
        let highest = self.highest_sacked();
        for block in &sorted[..count] {
            self.mark_sacked(now, SeqNumber(block.left), SeqNumber(block.right), highest, info);
        }
        // What was reported now is not what the cumulative acknowledgment finds.
        if let Some(late) = info.late.take()
            && (self.recovery.state != CaState::Loss || self.recovery.undo_marker.is_some())
        {
            self.note_reordering(late, Counter::TcpSackReorder, config);
        }
    }

    /// One SACK block of what is in flight.
    fn mark_sacked(
        &mut self,
        now: Instant,
        left: SeqNumber,
        right: SeqNumber,
        highest: SeqNumber,
        info: &mut AckInfo,
    ) {
        let mss = u32::from(self.snd_mss);
        let (high_seq, min_rtt) = (self.recovery.high_seq, self.rtt.min_rtt());
        let mut at = left;
        while let Some((from, to)) = self.scoreboard.gap(at, right) {
            let recovery = &mut self.recovery;
            let mut delivered = 0;
            let marked = self.sent.mark_sacked(from, to, mss, |record| {
                recovery.rack.advance(now, record, min_rtt);
                info.note_arrival(record);
                info.note_delivered(record);
                info.sacked = true;
                delivered += u32::from(record.packets);
                if !record.retransmitted {
                    if record.start.before(highest) {
                        info.note_late(record.start);
                    }
                    info.orig_acked |= !record.end.after(high_seq);
                    extend(&mut info.sacked_at, record.sent_at);
                }
            });
            self.totals.delivered = self.totals.delivered.wrapping_add(delivered);
            if let Some((start, end)) = marked {
                self.scoreboard.insert(start, end);
            }
            at = to;
        }
    }

    /// RFC 2883 §4: whether the first block says that something arrived twice. Reports of more than was
    /// ever sent again are not believed.
    fn check_dsack(&mut self, ack: SeqNumber, blocks: &[SackBlock], info: &mut AckInfo) -> bool {
        let Some(first) = blocks.first().filter(|_| reports_duplicate(ack, blocks)) else { return false };
        let (left, right) = (SeqNumber(first.left), SeqNumber(first.right));
        let len = right.since(left);
        if !left.before(right) || len > self.max_snd_wnd {
            return false;
        }
        let segments = len.div_ceil(u32::from(self.snd_mss));
        let probe = segments == 1 && self.recovery.tlp_high_seq == Some(right);
        self.totals.dsack_dups = self.totals.dsack_dups.saturating_add(segments);
        if self.totals.dsack_dups > self.totals.retransmits {
            return false;
        }
        // RFC 8985 §6.2 step 4: copies that a probe or no reordering explains widen no window.
        if self.totals.reord_seen > 0 && !probe {
            self.recovery.rack.dsack_seen = true;
        }
        let above = !left.before(ack);
        self.recovery.events.note(if above { Counter::TcpDsackOfoRecv } else { Counter::TcpDsackRecv });
        info.dsack = true;
        info.dsack_probe |= probe;
        self.totals.delivered = self.totals.delivered.wrapping_add(segments);
        if !right.after(self.snd_una) {
            self.note_duplicated(segments, right);
        }
        true
    }

    /// What the first block says arrived twice, as far as it is still in the queue.
    fn mark_duplicate(&mut self, left: SeqNumber, right: SeqNumber, info: &mut AckInfo) {
        if right.after(self.snd_nxt) || !right.after(self.snd_una) {
            return;
        }
        let (marker, mut undo) = (self.recovery.undo_marker, self.recovery.undo_retrans);
        self.sent.mark_duplicate(left.max(self.snd_una), right, |record| {
            if marker.is_some_and(|marker| record.end.after(marker)) {
                undo = undo.map(|copies| copies.saturating_sub(record.packets.into()));
            }
            if record.sacked {
                info.note_late(record.start);
            }
        });
        if undo != self.recovery.undo_retrans {
            self.recovery.undo_retrans = undo;
        }
    }
}

/// Whether an acknowledgment answers a segment that had arrived before (DSACK, RFC 2883 §4): its first
/// block lies below the acknowledgment number, or within the second.
fn reports_duplicate(ack: SeqNumber, blocks: &[SackBlock]) -> bool {
    let Some((first, others)) = blocks.split_first() else { return false };
    let (left, right) = (SeqNumber(first.left), SeqNumber(first.right));
    let within =
        |outer: &SackBlock| !left.before(SeqNumber(outer.left)) && !right.after(SeqNumber(outer.right));
    left.before(ack) || others.first().is_some_and(within)
}
