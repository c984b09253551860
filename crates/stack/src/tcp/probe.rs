//! Tail loss probes (RFC 8985 §7), and the timer that they share with the retransmission timeout.
//!
//! Where nothing follows the last segment, its loss would show by the timeout only. A probe elicits an
//! acknowledgment after two round trips: its SACK shows what is lost, and if the probe itself repaired
//! that, the congestion that caused it is answered all the same.

use super::acknowledge::AckInfo;
use super::connection::Connection;
use super::info::CaState;
use super::rack::TIMEOUT_MIN;
use super::recovery::{Owed, XmitTimer};
use super::seq::SeqNumber;
use super::timers::Timer;
use crate::config::TcpConfig;
use crate::counters::Counter;
use core::time::Duration;
use sockeye_packet::Instant;

/// Values of `tcp_early_retrans` with which probes are sent.
const PROBES: core::ops::RangeInclusive<u8> = 3..=4;

impl Connection {
    /// Sets the timer anew: for a probe, if one may be sent, else for the timeout.
    pub(super) fn set_xmit_timer(&mut self, now: Instant, config: &TcpConfig) {
        if !self.schedule_probe(now, true, config) {
            self.rearm_rto(now);
        }
    }

    /// RFC 6298 §5.1–5.3. Where the timer waited for something else meanwhile, the timeout counts from when
    /// the first segment was sent, lest it move on for ever.
    #[inline]
    pub(super) fn rearm_rto(&mut self, now: Instant) {
        let rto = self.rtt.rto_nanos();
        let other = self.flags.xmit_timer != XmitTimer::Rto;
        self.flags.xmit_timer = XmitTimer::Rto;
        let Some(first) = self.sent.front() else {
            self.timers.stop(Timer::Retransmit);
            return;
        };
        let at = now.plus_nanos(rto);
        let at = if other { first.sent_at.plus_nanos(rto).max(now + Duration::from_millis(1)) } else { at };
        self.timers.set(Timer::Retransmit, at);
    }

    /// RFC 8985 §7.2: the probe timeout, if a probe makes sense now. `advancing` when the retransmission
    /// timeout would begin now as well.
    #[inline]
    pub(super) fn schedule_probe(&mut self, now: Instant, advancing: bool, config: &TcpConfig) -> bool {
        let calm = matches!(self.recovery.state, CaState::Open | CaState::Cwr);
        if !PROBES.contains(&config.early_retrans) || !self.options.sack || !calm {
            return false;
        }
        let Some(first) = self.sent.front() else { return false };
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mut timeout = match self.rtt.srtt_nanos() {
            // One segment alone may wait for a delayed acknowledgment.
            Some(srtt) if self.sent.packets_out() == 1 => (2 * srtt).saturating_add(nanos(config.min_rto)),
            Some(srtt) => 2 * srtt + nanos(TIMEOUT_MIN),
            None => nanos(config.initial_rto),
        };
        let rto = self.rtt.rto_nanos();
        let until_rto = if advancing { rto } else { rto.saturating_sub(now.nanos_since(first.sent_at)) };
        if until_rto > 0 {
            timeout = timeout.min(until_rto);
        }
        self.flags.xmit_timer = XmitTimer::Probe;
        self.timers.set(Timer::Retransmit, now.plus_nanos(timeout));
        true
    }

    /// RFC 8985 §7.3: new data if there is any, else the last segment again; one probe at a time.
    pub(super) fn on_probe_timeout(&mut self, now: Instant) {
        if self.sent.is_empty() {
            return;
        }
        if self.recovery.tlp_high_seq.is_some() {
            self.rearm_rto(now);
            return;
        }
        let next = self.unsent().min(u32::from(self.snd_mss));
        let fits = !(self.snd_nxt + next).after(self.snd_una + self.snd_wnd);
        self.recovery.owed = if next > 0 && fits { Owed::ProbeNew } else { Owed::ProbeLast };
        // Until the probe has gone out; it sets the timer anew.
        self.rearm_rto(now);
    }

    /// A probe was sent.
    pub(super) fn on_probe_sent(&mut self, now: Instant, old_data: bool) {
        self.recovery.owed = Owed::Nothing;
        self.recovery.events.note(Counter::TcpLossProbes);
        self.recovery.tlp_retrans = old_data;
        self.recovery.tlp_high_seq = Some(self.snd_nxt);
        // The timeout begins now.
        self.flags.xmit_timer = XmitTimer::Rto;
        self.rearm_rto(now);
    }

    /// RFC 8985 §7.4: what an acknowledgment says of the probe.
    pub(super) fn process_probe_ack(&mut self, now: Instant, ack: SeqNumber, info: &AckInfo) {
        let Some(end) = self.recovery.tlp_high_seq else { return };
        if ack.before(end) {
            return;
        }
        if !self.recovery.tlp_retrans || info.dsack_probe {
            // New data, or both copies arrived.
            self.recovery.tlp_high_seq = None;
        } else if ack.after(end) {
            // The probe repaired a loss.
            self.recovery.events.note(Counter::TcpLossProbeRecovery);
            self.init_cwnd_reduction(now);
            self.recovery.state = CaState::Cwr;
            self.end_cwnd_reduction();
            self.try_keep_open();
        } else if info.is_pure_duplicate() && !info.sacked {
            // Both arrived.
            self.recovery.tlp_high_seq = None;
        }
    }
}
