//! What is sent again, and when it is counted.

use super::congestion::Controller as _;
use super::connection::{Connection, Resources};
use super::recovery::{Owed, XmitTimer};
use super::segment::Segment;
use super::sent::Sending;
use crate::config::TcpConfig;
use crate::counters::Counter;
use sockeye_packet::Instant;

impl Connection {
    /// What a record remembers of the moment it is sent.
    #[inline]
    pub(super) fn sending(&self, now: Instant) -> Sending {
        let app_limited = self.rate.is_app_limited();
        Sending { now, mss: self.snd_mss.into(), delivered: self.totals.delivered, app_limited }
    }

    /// The next segment of what recovery owes.
    pub(super) fn next_owed(&mut self, now: Instant, resources: &mut Resources<'_>) -> Option<Segment> {
        let mss = u32::from(self.snd_mss);
        match self.recovery.owed {
            Owed::Nothing => None,
            Owed::Lost => self.next_lost(now, resources),
            Owed::Head => {
                self.recovery.owed = Owed::Nothing;
                self.resend(now, 0, mss, false, resources)
            }
            Owed::NewData => {
                let segment = self.next_new(now, resources);
                if segment.is_some() {
                    return segment;
                }
                if self.snd_nxt.after(self.recovery.high_seq) {
                    self.recovery.owed = Owed::Nothing;
                    return None;
                }
                // RFC 5682 §3.1 step 2b: nothing new could be sent, so the timeout is taken for genuine.
                self.recovery.frto = false;
                self.recovery.owe_retransmissions();
                self.next_lost(now, resources)
            }
            Owed::ProbeNew => {
                let segment = self.next_new(now, resources);
                self.recovery.owed = Owed::Nothing;
                if segment.is_some() {
                    self.on_probe_sent(now, false);
                }
                segment
            }
            Owed::ProbeLast => {
                self.recovery.owed = Owed::Nothing;
                let (last, record) = self.sent.last()?;
                // The segment size may have changed since it was sent.
                let whole = record.payload_len().saturating_sub(1) / mss * mss;
                let last = if whole > 0 {
                    self.sent.split(last, whole, mss);
                    last + 1
                } else {
                    last
                };
                let segment = self.resend(now, last, mss, true, resources)?;
                self.on_probe_sent(now, true);
                Some(segment)
            }
        }
    }

    /// What is lost goes out again, as far as `cwnd` allows (SHLD-16, MAY-7).
    fn next_lost(&mut self, now: Instant, resources: &mut Resources<'_>) -> Option<Segment> {
        let mss = u32::from(self.snd_mss);
        if self.is_too_early(now) {
            return None;
        }
        let room = (self.congestion.cwnd() as u32).saturating_sub(self.in_flight());
        let limit = room.min(self.segment_limit(resources)) / mss * mss;
        let segment = if limit == 0 {
            None
        } else {
            let index = self.sent.next_lost(self.recovery.next);
            index.and_then(|index| self.resend(now, index, limit, false, resources).map(|s| (index, s)))
        };
        let Some((index, segment)) = segment else {
            // The next acknowledgment may allow more.
            self.recovery.owed = Owed::Nothing;
            return None;
        };
        if index == 0 && self.flags.xmit_timer != XmitTimer::Reorder {
            self.flags.xmit_timer = XmitTimer::Rto;
            self.rearm_rto(now);
        }
        Some(segment)
    }

    /// Record `index` again, at most `limit` octets of it (whole segments). A `probe` is no retransmission
    /// of something lost.
    fn resend(
        &mut self,
        now: Instant,
        index: usize,
        limit: u32,
        probe: bool,
        resources: &mut Resources<'_>,
    ) -> Option<Segment> {
        let mss = u32::from(self.snd_mss);
        let record = *self.sent.get(index)?;
        // SHLD-17, as the kernel: what lies behind a window that has shrunk waits, but for the first octet.
        let inside = (self.snd_una + self.snd_wnd) - record.start;
        let inside = if inside > 0 {
            inside as u32
        } else if record.start == self.snd_una && self.snd_wnd > 0 {
            mss
        } else {
            return None;
        };
        let whole = inside / mss * mss;
        let limit = limit.min(if whole > 0 { whole } else { inside });
        if record.end.since(record.start) < mss.min(inside) {
            while self.sent.get(index).is_some_and(|record| !self.ends_record(record.end))
                && self.sent.merge_next(index, mss.min(inside), mss)
            {}
        }
        let sending = self.sending(now);
        let record = self.sent.on_retransmit(index, limit, probe, sending);
        self.trim_duplicates();
        let segments = u32::from(record.packets);
        self.totals.retransmits += segments;
        resources.counters.add(Counter::TcpRetransSegs, segments.into());
        let payload = record.end.min(self.send_end()).since(record.start);
        self.totals.bytes_retrans += u64::from(payload);
        if !probe {
            self.count_retransmission(segments, resources.counters);
            self.recovery.next = record.end;
            if self.recovery.is_reducing() {
                self.recovery.prr.on_sent(segments);
            }
            self.recovery.retrans_stamp.get_or_insert(now);
            self.note_retransmitted(segments);
        }
        let segment = self.transmit(now, record.start, record.end);
        self.pace(now, payload, self.totals.data_segs_out, resources);
        Some(segment)
    }

    /// New data was sent: the timer begins, or a probe follows later.
    #[inline]
    pub(super) fn on_new_data_sent(&mut self, now: Instant, first: bool, config: &TcpConfig) {
        let probes = self.recovery.owed != Owed::ProbeNew && self.schedule_probe(now, false, config);
        if !probes && (first || self.flags.xmit_timer == XmitTimer::Probe) {
            self.rearm_rto(now);
        }
    }
}
