//! Loss detection by time (RFC 8985, RACK): what was sent before something that has arrived, and should
//! have arrived since, is lost.
//!
//! Time is that of the latest (re)transmission of each segment. How long a segment may be late is the
//! reordering window: nothing while no reordering was ever seen and three segments above have arrived,
//! else a quarter of the least round-trip time, more after every round trip in which the peer reported
//! copies that were sent without need (RFC 8985 §6.2 step 4).

use super::connection::Connection;
use super::info::CaState;
use super::recovery::XmitTimer;
use super::sent::{Record, SentQueue};
use super::seq::SeqNumber;
use super::timers::Timer;
use crate::config::TcpConfig;
use crate::counters::Counter;
use core::time::Duration;
use sockeye_packet::Instant;

/// Rounds of recovery for which a wider reordering window is kept (RFC 8985 §6.2 step 4).
pub(super) const REO_WND_PERSIST: u8 = 16;
/// As the kernel: a timer for less would fire before what it waits for.
pub(super) const TIMEOUT_MIN: Duration = Duration::from_millis(2);
/// `tcp_recovery`: the reordering window does not follow DSACK.
const STATIC_REO_WND: u32 = 2;
/// `tcp_recovery`: three segments above are no reason not to wait.
const NO_DUPTHRESH: u32 = 4;
/// So many waiting records are looked at for the time when the last of them is lost: an acknowledgment
/// must not cost as much as there are holes.
const MAX_WAITING: usize = 256;

/// What RACK knows of a connection (RFC 8985 §5.2).
#[derive(Clone, Copy, Debug)]
pub(super) struct Rack {
    /// `RACK.xmit_ts`, `RACK.end_seq`: the segment sent last of those that have arrived.
    sent_at: Instant,
    end: SeqNumber,
    /// `RACK.rtt`: the round-trip time of the latest.
    rtt: Duration,
    /// Something has arrived since losses were looked for.
    pub(super) advanced: bool,
    /// A copy was reported since the window was adapted.
    pub(super) dsack_seen: bool,
    /// `RACK.reo_wnd_mult`: the reordering window in quarters of the least round-trip time.
    pub(super) steps: u8,
    /// `RACK.reo_wnd_persist`.
    pub(super) persist: u8,
    /// Segments delivered when the window was adapted: once per round trip.
    last_delivered: u32,
}

impl Rack {
    pub(super) const fn new() -> Rack {
        Rack {
            sent_at: Instant::ZERO,
            end: SeqNumber(0),
            rtt: Duration::ZERO,
            advanced: false,
            dsack_seen: false,
            steps: 1,
            persist: 0,
            last_delivered: 0,
        }
    }

    /// A record has arrived for the first time (RFC 8985 §6.2 steps 1 and 2).
    pub(super) fn advance(&mut self, now: Instant, record: &Record, min_rtt: Option<Duration>) {
        let rtt = now.saturating_since(record.sent_at);
        // Sooner than any answer ever came: this one is to an earlier copy.
        if record.retransmitted && min_rtt.is_some_and(|least| rtt < least) {
            return;
        }
        self.advanced = true;
        self.rtt = rtt;
        if record.sent_at > self.sent_at || (record.sent_at == self.sent_at && record.end.after(self.end)) {
            self.sent_at = record.sent_at;
            self.end = record.end;
        }
    }

    /// Whether `record` was sent before the latest that has arrived.
    fn is_behind(&self, record: &Record) -> bool {
        self.sent_at > record.sent_at || (self.sent_at == record.sent_at && self.end.after(record.end))
    }

    /// How long `record` may still be on its way.
    fn patience(&self, now: Instant, record: &Record, reo_wnd: Duration) -> Duration {
        (self.rtt + reo_wnd).saturating_sub(now.saturating_since(record.sent_at))
    }

    /// Whether `record`, after a retransmission timeout, was sent too recently to be lost.
    pub(super) fn is_recent(&self, now: Instant, record: &Record) -> bool {
        !self.patience(now, record, Duration::ZERO).is_zero()
    }

    /// The window follows what the peer reports (RFC 8985 §6.2 step 4). `prior_delivered` is how many
    /// segments were delivered when the latest of those now acknowledged was sent.
    pub(super) fn update_reo_wnd(&mut self, prior_delivered: u32, delivered: u32, config: &TcpConfig) {
        if config.recovery & STATIC_REO_WND != 0 || prior_delivered == 0 {
            return;
        }
        if (prior_delivered.wrapping_sub(self.last_delivered) as i32) < 0 {
            self.dsack_seen = false;
        }
        if self.dsack_seen {
            self.steps = self.steps.saturating_add(1);
            self.dsack_seen = false;
            self.last_delivered = delivered;
            self.persist = REO_WND_PERSIST;
        } else if self.persist == 0 {
            self.steps = 1;
        }
    }
}

/// What the search for losses found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// Segments newly lost.
    pub(super) lost: u32,
    /// Of these, those whose retransmission is lost.
    pub(super) lost_again: u32,
    /// When the last of those that wait would be lost.
    pub(super) wait: Option<Duration>,
}

impl Found {
    fn note(&mut self, (packets, again): (u32, bool)) {
        self.lost += packets;
        if again {
            self.lost_again += packets;
        }
    }

    fn note_wait(&mut self, wait: Duration) {
        self.wait = Some(self.wait.map_or(wait, |other| other.max(wait)));
    }
}

impl SentQueue {
    /// RFC 8985 §6.2 step 5: marks what is lost.
    fn detect_lost(&mut self, now: Instant, rack: &Rack, reo_wnd: Duration) -> Found {
        let mut found = Found::default();
        // What was sent only once: in order of time, as it lies.
        while let Some(index) = self.first_unjudged() {
            let Some(&record) = self.get(index) else { break };
            if !rack.is_behind(&record) {
                break;
            }
            if rack.patience(now, &record, reo_wnd).is_zero() {
                found.note(self.mark_lost(index));
                continue;
            }
            for record in (index..).map_while(|index| self.get(index)).take(MAX_WAITING) {
                if !record.sacked && !record.lost && !record.retransmitted {
                    if !rack.is_behind(record) {
                        break;
                    }
                    found.note_wait(rack.patience(now, record, reo_wnd));
                }
            }
            break;
        }
        // What was sent again, in the order in which that happened.
        let mut waiting = 0;
        while let Some(index) = self.nth_resent(waiting) {
            let Some(&record) = self.get(index) else { break };
            if !rack.is_behind(&record) || waiting >= MAX_WAITING {
                break;
            }
            let patience = rack.patience(now, &record, reo_wnd);
            if patience.is_zero() {
                found.note(self.mark_lost(index));
            } else {
                found.note_wait(patience);
                waiting += 1;
            }
        }
        found
    }
}

impl Connection {
    /// RFC 8985 §6.2 step 4.
    fn reo_wnd(&self, config: &TcpConfig) -> Duration {
        let recovery = &self.recovery;
        if self.totals.reord_seen == 0 {
            // As the kernel: without a sign of reordering loss is assumed at once in recovery, and where
            // enough has arrived above to begin it.
            let enough = self.sent.sacked_out() >= recovery.reordering.into();
            if recovery.state >= CaState::Recovery || (enough && config.recovery & NO_DUPTHRESH == 0) {
                return Duration::ZERO;
            }
        }
        let quarter = self.rtt.min_rtt().unwrap_or_default() / 4;
        (quarter * u32::from(recovery.rack.steps)).min(self.rtt.srtt().unwrap_or_default())
    }

    /// Marks what is lost. Answers how many retransmissions are, and whether the timer waits for more.
    pub(super) fn detect_lost(&mut self, now: Instant, config: &TcpConfig) -> (u32, bool) {
        let reo_wnd = self.reo_wnd(config);
        let rack = self.recovery.rack;
        let found = self.sent.detect_lost(now, &rack, reo_wnd);
        if found.lost > 0 {
            self.recovery.lost = self.recovery.lost.wrapping_add(found.lost);
            self.recovery.next = self.snd_una;
        }
        if found.lost_again > 0 {
            self.recovery.events.note(Counter::TcpLostRetransmit);
        }
        if let Some(wait) = found.wait {
            self.flags.xmit_timer = XmitTimer::Reorder;
            self.timers.set(Timer::Retransmit, now + wait + TIMEOUT_MIN);
        }
        (found.lost_again, found.wait.is_some())
    }

    /// The reordering timer expired (RFC 8985 §6.3).
    pub(super) fn on_reorder_timeout(&mut self, now: Instant, config: &TcpConfig) {
        let (in_flight, lost) = (self.sent.packets_in_flight(), self.recovery.lost);
        self.detect_lost(now, config);
        if self.sent.packets_in_flight() != in_flight {
            if self.recovery.state != CaState::Recovery {
                self.enter_recovery(now, false);
                self.reduce_cwnd(1, self.recovery.lost.wrapping_sub(lost), false);
            }
            self.recovery.owe_retransmissions();
        }
        if self.flags.xmit_timer != XmitTimer::Rto && !self.timers.is_set(Timer::Retransmit) {
            self.rearm_rto(now);
        }
    }
}
