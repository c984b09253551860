//! Loss recovery: which state an acknowledgment leads to, what is sent again, and how `cwnd` follows.
//!
//! The states are the kernel's, for programs see them (`tcpi_ca_state`), and so are the rules between
//! them: loss is found by time (`rack`) or, without SACK, by duplicate acknowledgments (RFC 6582,
//! `duplicates`), fast recovery shrinks `cwnd` in proportion (`prr`), and what turns out to have been
//! needless is undone (`undo`). How far `cwnd` falls in the end is the controller's business. Windows are
//! counted in segments here, as every record is at least one.

use super::acknowledge::AckInfo;
use super::congestion::{AckEvent, Controller as _};
use super::connection::Connection;
use super::events::Events;
use super::info::CaState;
use super::prr::{Prr, PrrAck};
use super::rack::Rack;
use super::sack::DUP_THRESH;
use super::seq::SeqNumber;
use super::spare::{OnDemand, Part, Spares};
use super::timers::Timer;
use crate::config::TcpConfig;
use crate::counters::Counter;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;
use sockeye_packet::Instant;

/// How long a peer that seems to have dropped what it reported may say otherwise.
const RENEGE_WAIT: Duration = Duration::from_millis(10);

/// What the timer for retransmissions waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum XmitTimer {
    /// The retransmission timeout (RFC 6298).
    #[default]
    Rto,
    /// The probe timeout (RFC 8985 §7).
    Probe,
    /// The reordering window's end (RFC 8985 §6.3).
    Reorder,
}

/// What is to be sent whatever else waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Owed {
    /// Nothing but new data.
    #[default]
    Nothing,
    /// What is lost, as far as `cwnd` allows.
    Lost,
    /// The first record, whatever `cwnd` says: the timer expired.
    Head,
    /// New data first, to learn whether the timeout was spurious (RFC 5682 §3.1 step 2b).
    NewData,
    /// A segment of new data, to elicit an acknowledgment (RFC 8985 §7.3).
    ProbeNew,
    /// The last segment again, for the same.
    ProbeLast,
}

/// The state of loss recovery. Most connections do without it most of the time.
#[derive(Clone, Debug)]
pub(crate) struct Recovery {
    pub(super) state: CaState,
    pub(super) owed: Owed,
    /// SND.NXT when the state was entered (RFC 6675's `RecoveryPoint`).
    pub(super) high_seq: SeqNumber,
    /// No lost record lies before this.
    pub(super) next: SeqNumber,
    /// Segments ever found lost.
    pub(super) lost: u32,
    pub(super) rack: Rack,
    /// What is to be counted.
    pub(super) events: Events,
    pub(super) prr: Prr,
    /// Segments by which the network has been seen to reorder, at least `tcp_reordering`.
    pub(super) reordering: u16,
    /// SND.UNA when `cwnd` was reduced, while that may be undone.
    pub(super) undo_marker: Option<SeqNumber>,
    /// Retransmissions since then that no DSACK has reported yet.
    pub(super) undo_retrans: Option<u32>,
    /// The controller may take its reduction back: nothing but loss was the reason.
    pub(super) may_restore: bool,
    /// When the first retransmission of this recovery was sent.
    pub(super) retrans_stamp: Option<Instant>,
    /// Whether the timeout was spurious is being found out (RFC 5682).
    pub(super) frto: bool,
    /// `TLP.end_seq`: SND.NXT behind the probe, while one is out.
    pub(super) tlp_high_seq: Option<SeqNumber>,
    /// `TLP.is_retrans`: it was old data.
    pub(super) tlp_retrans: bool,
}

impl Recovery {
    pub(super) const fn new() -> Recovery {
        Recovery {
            state: CaState::Open,
            owed: Owed::Nothing,
            high_seq: SeqNumber(0),
            next: SeqNumber(0),
            lost: 0,
            rack: Rack::new(),
            events: Events::NONE,
            prr: Prr::new(0),
            reordering: DUP_THRESH as u16,
            undo_marker: None,
            undo_retrans: None,
            may_restore: false,
            retrans_stamp: None,
            frto: false,
            tlp_high_seq: None,
            tlp_retrans: false,
        }
    }

    /// Whether `cwnd` is being reduced.
    #[inline]
    pub(super) fn is_reducing(&self) -> bool {
        matches!(self.state, CaState::Cwr | CaState::Recovery)
    }

    /// What is lost may go out.
    pub(super) fn owe_retransmissions(&mut self) {
        self.owed = Owed::Lost;
    }
}

impl Default for Recovery {
    fn default() -> Recovery {
        Recovery::new()
    }
}

impl Part for Recovery {
    fn none() -> &'static Recovery {
        static NONE: Recovery = Recovery::new();
        &NONE
    }

    fn is_at_rest(&self) -> bool {
        self.state == CaState::Open
            && self.owed == Owed::Nothing
            && self.events == Events::NONE
            && self.undo_marker.is_none()
            && self.tlp_high_seq.is_none()
            && self.reordering == DUP_THRESH as u16
            && self.rack.persist == 0
    }

    fn spares(spares: &mut Spares) -> &mut Vec<Box<Recovery>> {
        &mut spares.recovery
    }
}

impl OnDemand<Recovery> {
    /// The recovery of a connection that begins.
    pub(super) fn begin(config: &TcpConfig) -> OnDemand<Recovery> {
        let mut recovery: OnDemand<Recovery> = OnDemand::default();
        if config.reordering != DUP_THRESH {
            recovery.reordering = config.reordering.clamp(1, u16::MAX.into()) as u16;
        }
        recovery
    }
}

/// Windows in segments.
impl Connection {
    /// Octets that whole segments in flight would have: what is to be compared with `cwnd`.
    pub(super) fn in_flight(&self) -> u32 {
        self.sent.packets_in_flight().saturating_mul(u32::from(self.snd_mss))
    }

    fn cwnd_segments(&self) -> u32 {
        (self.congestion.cwnd() / usize::from(self.snd_mss)) as u32
    }

    fn ssthresh_segments(&self) -> u32 {
        u32::try_from(self.congestion.ssthresh() / usize::from(self.snd_mss)).unwrap_or(u32::MAX)
    }

    fn set_cwnd_segments(&mut self, segments: u32) {
        self.congestion.set_cwnd(segments.max(1) as usize * usize::from(self.snd_mss));
    }
}

/// The machine.
impl Connection {
    /// What an acknowledgment that was no ordinary one means (RFC 5681 §3.2, RFC 6675 §5, RFC 8985 §6).
    pub(super) fn on_dubious_ack(&mut self, now: Instant, info: &mut AckInfo, config: &TcpConfig) {
        if info.ece {
            // What the network has asked for isn't taken back.
            self.recovery.may_restore = false;
        }
        if info.reneged {
            self.expect_renege(now, info);
            return;
        }
        if self.recovery.state == CaState::Open {
            if self.recovery.retrans_stamp.is_some() {
                self.recovery.retrans_stamp = None;
            }
        } else if !self.snd_una.before(self.recovery.high_seq) && self.on_recovered() {
            return;
        }
        match self.recovery.state {
            CaState::Recovery => {
                if !info.advanced {
                    self.add_duplicates(info, config);
                } else if self.try_undo_partial(info, config) {
                    return;
                }
                if self.try_undo_dsack() {
                    self.try_to_open(now, info);
                }
                self.identify_loss(now, info, config);
                if self.recovery.state != CaState::Recovery {
                    if self.sent.lost_out() == 0 {
                        return;
                    }
                    // What was undone was needless; this loss is another one.
                    self.enter_recovery(now, info.ece);
                }
            }
            CaState::Loss => {
                let owed = self.process_loss(info, config);
                self.identify_loss(now, info, config);
                if self.recovery.state != CaState::Open && !info.lost_retrans {
                    self.recovery.owed = owed;
                    return;
                }
                if !self.look_for_recovery(now, info, config) {
                    self.recovery.owed = owed;
                    return;
                }
            }
            CaState::Open | CaState::Disorder | CaState::Cwr => {
                if !self.look_for_recovery(now, info, config) {
                    return;
                }
            }
        }
        self.recovery.owe_retransmissions();
    }

    /// Outside recovery: whether it begins now.
    fn look_for_recovery(&mut self, now: Instant, info: &mut AckInfo, config: &TcpConfig) -> bool {
        if !self.options.sack {
            if info.advanced {
                self.sent.set_reno_sacked(0);
            }
            self.add_duplicates(info, config);
        }
        if self.recovery.state <= CaState::Disorder {
            self.try_undo_dsack();
        }
        self.identify_loss(now, info, config);
        if self.sent.lost_out() == 0 {
            self.try_to_open(now, info);
            return false;
        }
        self.enter_recovery(now, info.ece);
        true
    }

    /// SND.UNA has reached the recovery point. Answers whether that was all.
    fn on_recovered(&mut self) -> bool {
        match self.recovery.state {
            // As the kernel: something above must be acknowledged, for that answers a segment with CWR.
            CaState::Cwr if self.snd_una != self.recovery.high_seq => {
                self.end_cwnd_reduction();
                self.recovery.state = CaState::Open;
            }
            CaState::Recovery => {
                if !self.options.sack {
                    self.sent.set_reno_sacked(0);
                }
                if self.try_undo_recovery() {
                    return true;
                }
                self.end_cwnd_reduction();
                self.recovery.state = CaState::Open;
            }
            _ => {}
        }
        false
    }

    /// After a timeout (RFC 5682 §3.1, with SACK as the kernel does it). Answers what to send.
    fn process_loss(&mut self, info: &AckInfo, config: &TcpConfig) -> Owed {
        let recovered = !self.snd_una.before(self.recovery.high_seq);
        if info.advanced && self.try_undo_loss(false) {
            return Owed::Nothing;
        }
        if self.recovery.frto {
            // Step 3b: something that was sent only once arrived: not all was lost.
            if info.orig_acked && self.try_undo_loss(true) {
                return Owed::Nothing;
            }
            if self.snd_nxt.after(self.recovery.high_seq) {
                if info.sacked || info.duplicates > 0 {
                    // Step 3a.
                    self.recovery.frto = false;
                }
            } else if info.advanced && !recovered {
                self.recovery.high_seq = self.snd_nxt;
                // Step 2b.
                if self.is_waiting() && (self.snd_una + self.snd_wnd).after(self.snd_nxt) {
                    return Owed::NewData;
                }
                self.recovery.frto = false;
            }
        }
        if recovered {
            // Step 2a.
            if !self.try_undo_recovery() {
                self.recovery.state = CaState::Open;
            }
            return Owed::Nothing;
        }
        if !self.options.sack {
            if self.snd_nxt.after(self.recovery.high_seq) && info.duplicates > 0 {
                self.add_duplicates(info, config);
            } else if info.advanced {
                self.sent.set_reno_sacked(0);
            }
        }
        Owed::Lost
    }

    /// Marks what is lost by now.
    fn identify_loss(&mut self, now: Instant, info: &mut AckInfo, config: &TcpConfig) {
        if self.sent.is_empty() {
            return;
        }
        if !self.options.sack {
            self.mark_new_reno_loss(info.advanced);
        } else if self.recovery.rack.advanced {
            self.recovery.rack.advanced = false;
            let (lost_again, waits) = self.detect_lost(now, config);
            info.lost_retrans |= lost_again > 0;
            info.set_timer &= !waits;
        }
    }

    /// Nothing is lost: ordinary operation, unless there are signs of disorder.
    fn try_to_open(&mut self, now: Instant, info: &AckInfo) {
        if !self.any_retransmitted() && self.recovery.retrans_stamp.is_some() {
            self.recovery.retrans_stamp = None;
        }
        if info.ece {
            self.enter_cwr(now);
        }
        if self.recovery.state != CaState::Cwr {
            self.try_keep_open();
        }
    }

    pub(super) fn try_keep_open(&mut self) {
        let disorder = self.sent.left_out() > 0 || self.any_retransmitted();
        let state = if disorder { CaState::Disorder } else { CaState::Open };
        if self.recovery.state != state {
            self.recovery.state = state;
            self.recovery.high_seq = self.snd_nxt;
        }
    }

    /// Whether something that was sent again is neither acknowledged nor known to have been needless.
    pub(super) fn any_retransmitted(&self) -> bool {
        self.sent.retrans_out() > 0 || self.sent.front().is_some_and(|first| first.retransmitted)
    }

    /// Fast recovery begins (RFC 6675 §5 (4), RFC 6937 §3).
    pub(super) fn enter_recovery(&mut self, now: Instant, ece: bool) {
        if !self.any_retransmitted() {
            self.recovery.retrans_stamp = None;
        }
        self.recovery.may_restore = false;
        self.begin_undo();
        if !self.recovery.is_reducing() {
            self.init_cwnd_reduction(now);
            self.recovery.may_restore = !ece;
        }
        self.recovery.state = CaState::Recovery;
        let sack = self.options.sack;
        self.recovery.events.note(if sack { Counter::TcpSackRecovery } else { Counter::TcpRenoRecovery });
    }

    /// Congestion without loss (RFC 3168 §6.1.2): `cwnd` is reduced over the next round trip.
    pub(super) fn enter_cwr(&mut self, now: Instant) {
        self.recovery.may_restore = false;
        if self.recovery.state < CaState::Cwr {
            self.recovery.undo_marker = None;
            self.init_cwnd_reduction(now);
            self.recovery.state = CaState::Cwr;
        }
    }

    pub(super) fn init_cwnd_reduction(&mut self, now: Instant) {
        let cwnd = self.congestion.cwnd();
        self.recovery.high_seq = self.snd_nxt;
        self.recovery.tlp_high_seq = None;
        self.recovery.prr = Prr::new(self.cwnd_segments());
        self.ecn.on_reduction();
        // As the kernel: it is `cwnd` that is reduced, which validation keeps near what was used.
        self.congestion.on_congestion(now, cwnd);
        self.congestion.set_cwnd(cwnd);
    }

    /// The reduction is complete (RFC 6937 §3: `cwnd` is `ssthresh`), unless it was undone.
    pub(super) fn end_cwnd_reduction(&mut self) {
        let undone = self.recovery.state != CaState::Cwr && self.recovery.undo_marker.is_none();
        if self.congestion.ssthresh() < usize::MAX && !undone {
            self.set_cwnd_segments(self.ssthresh_segments());
        }
    }

    /// `cwnd` during a reduction.
    pub(super) fn reduce_cwnd(&mut self, delivered: u32, newly_lost: u32, advanced: bool) {
        if delivered == 0 {
            return;
        }
        let in_flight = self.sent.packets_in_flight();
        let ssthresh = self.ssthresh_segments();
        let ack = PrrAck { delivered, newly_lost, advanced, in_flight, ssthresh };
        let allowed = self.recovery.prr.on_ack(&ack);
        self.set_cwnd_segments(in_flight + allowed);
    }

    /// How many segments might have gone out in answer to acknowledgments of the same batch: in slow start two
    /// for each that they delivered.
    fn unanswered(&self, info: &AckInfo) -> u32 {
        let earned = info.prior_delivered.wrapping_sub(self.totals.answered).saturating_mul(2);
        let usable = ((self.snd_una + self.snd_wnd) - self.snd_nxt).max(0) as u32;
        earned.min(self.unsent().min(usable) / u32::from(self.snd_mss))
    }

    /// `cwnd` after an acknowledgment.
    pub(super) fn control_congestion(&mut self, now: Instant, info: &AckInfo, config: &TcpConfig) {
        let delivered = self.totals.delivered.wrapping_sub(info.prior_delivered);
        if info.ece {
            self.totals.delivered_ce = self.totals.delivered_ce.wrapping_add(delivered);
        }
        if self.offer_sample(now, info) {
            return;
        }
        if self.recovery.is_reducing() {
            let newly_lost = self.recovery.lost.wrapping_sub(info.prior_lost);
            if self.recovery.prr.is_fresh() {
                let unanswered = self.unanswered(info);
                self.recovery.prr.defer(info.prior_in_flight, unanswered);
            }
            self.reduce_cwnd(delivered, newly_lost, info.advanced);
            return;
        }
        // RFC 5681 §3.1: the window grows on cumulative acknowledgments only; limited transmit (RFC 3042)
        // must not grow it. As the kernel: where reordering is the rule, on SACK too.
        let reorders = u32::from(self.recovery.reordering) > config.reordering;
        if info.acked > 0 || (reorders && info.sacked) {
            self.grow_cwnd(now, delivered, info.prior_in_flight, info.rtt);
        }
    }

    /// `delivered` segments were acknowledged outside recovery; `prior_in_flight` were in flight before.
    #[inline]
    pub(super) fn grow_cwnd(
        &mut self,
        now: Instant,
        delivered: u32,
        prior_in_flight: u32,
        rtt: Option<Duration>,
    ) {
        let mss = usize::from(self.snd_mss);
        let event = AckEvent {
            now,
            acked: delivered as usize * mss,
            in_flight: prior_in_flight as usize * mss,
            rtt,
            srtt: self.rtt.srtt().unwrap_or_default(),
            app_limited: !self.is_cwnd_limited(),
            una: self.snd_una.0,
            nxt: self.snd_nxt.0,
            paced: false,
        };
        self.congestion.on_ack(&event);
    }
}

/// Timeouts.
impl Connection {
    /// The retransmission timer expired (RFC 6298 §5.4–5.6, RFC 5681 §3.1, RFC 6675 §5.1): everything that
    /// is not sacked is taken for lost and sent again as `cwnd` opens.
    pub(super) fn enter_loss(&mut self, now: Instant, config: &TcpConfig) {
        let state = self.recovery.state;
        let sacked = self.sent.sacked_out();
        self.mark_timed_out(now);
        // RFC 5681 §3.1: once per window of data.
        let held = state > CaState::Disorder
            && self.recovery.high_seq.after(self.snd_una)
            && (state != CaState::Loss || self.retransmits > 0);
        if !held {
            self.congestion.on_timeout(now, self.congestion.cwnd());
            self.recovery.may_restore = true;
            self.begin_undo();
        }
        self.set_cwnd_segments(self.sent.packets_in_flight() + 1);
        // As the kernel: it was waited too long for what was no reordering.
        let usual = config.reordering.min(u16::MAX.into()) as u16;
        if state <= CaState::Disorder && sacked >= config.reordering {
            self.recovery.reordering = self.recovery.reordering.min(usual);
        }
        self.ecn.on_reduction();
        self.recovery.state = CaState::Loss;
        self.recovery.high_seq = self.snd_nxt;
        self.recovery.tlp_high_seq = None;
        // RFC 5682 §3.1 step 1, §3.2: not when another recovery was under way.
        self.recovery.frto = config.frto > 0 && (state < CaState::Recovery || self.retransmits > 0);
        self.recovery.owed = Owed::Head;
    }

    fn mark_timed_out(&mut self, now: Instant) {
        // RFC 2018 §8: a peer that does not acknowledge what it has reported has dropped it.
        let reneged = self.sent.front().is_some_and(|first| first.sacked);
        if reneged {
            self.recovery.events.note(Counter::TcpSackReneging);
            self.sent.forget_sacked();
            self.scoreboard.clear();
        } else if !self.options.sack {
            self.sent.set_reno_sacked(0);
        }
        let rack = self.recovery.rack;
        let mut index = 0;
        while let Some(record) = self.sent.get(index) {
            // As the kernel: what was sent a moment ago may well arrive.
            if index == 0 || reneged || !rack.is_recent(now, record) {
                let (packets, _) = self.sent.mark_lost(index);
                self.recovery.lost = self.recovery.lost.wrapping_add(packets);
            }
            index += 1;
        }
        self.recovery.next = self.snd_una;
    }

    /// The peer has reported by SACK what it now wants: perhaps it has dropped it (RFC 2018 §8). As the
    /// kernel: it gets a little time to say otherwise, then the timeout finds out.
    fn expect_renege(&mut self, now: Instant, info: &mut AckInfo) {
        let wait = (self.rtt.srtt().unwrap_or_default() / 2).max(RENEGE_WAIT);
        self.flags.xmit_timer = XmitTimer::Rto;
        self.timers.set(Timer::Retransmit, now + wait);
        info.set_timer = false;
    }

    /// Everything in flight is to be sent again, which is no sign of congestion: the peer or the path could
    /// not take it.
    pub(super) fn retransmit_all(&mut self) {
        if self.sent.is_empty() {
            return;
        }
        if !self.state.is_synchronized() {
            self.recovery.owed = Owed::Head;
            return;
        }
        let mut index = 0;
        while self.sent.get(index).is_some() {
            self.sent.mark_lost(index);
            index += 1;
        }
        self.trim_duplicates();
        self.recovery.next = self.snd_una;
        if self.recovery.state != CaState::Loss {
            self.recovery.high_seq = self.snd_nxt;
            self.recovery.may_restore = false;
            self.recovery.undo_marker = None;
            self.recovery.frto = false;
            self.recovery.state = CaState::Loss;
        }
        self.recovery.owe_retransmissions();
    }
}
