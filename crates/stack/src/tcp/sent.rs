//! What is in flight: one record per segment or super-segment, split on demand.
//!
//! Records are contiguous and in order of sequence numbers, from SND.UNA to SND.NXT. Cumulative
//! acknowledgments take them off the front; everything else finds its place by binary search. The sums
//! `sacked` and `lost` always equal those over the records, so that `in_flight` is O(1).

use super::seq::SeqNumber;
use alloc::collections::VecDeque;
use sockeye_packet::Instant;

/// An empty queue keeps room for so many records, for whoever needs it next.
const SPARE_CAPACITY: usize = 64;

/// One (super-)segment in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// First sequence number.
    pub(super) start: SeqNumber,
    /// First sequence number behind it; SYN and FIN are counted.
    pub(super) end: SeqNumber,
    /// When it was last sent.
    pub(super) sent_at: Instant,
    /// The peer has reported it by SACK.
    pub(super) sacked: bool,
    /// It is believed lost, and was not sent again since.
    pub(super) lost: bool,
    /// It has been sent more than once.
    pub(super) retransmitted: bool,
}

impl Record {
    fn len(&self) -> u32 {
        self.end.since(self.start)
    }
}

/// What a cumulative acknowledgment took off the queue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Acked {
    /// Octets that no SACK had reported before.
    pub(super) delivered: u32,
    /// When the first of them was sent, if each of them was sent only once: what waited for a
    /// retransmission before it measures that wait (RFC 6298 §3, Karn).
    pub(super) sent_at: Option<Instant>,
    /// When the first of those that were sent more than once was sent last.
    pub(super) resent_at: Option<Instant>,
}

/// What is in flight, in segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FlightCounts {
    pub(super) segments: u32,
    pub(super) sacked: u32,
    /// Believed lost, also those that were sent again.
    pub(super) lost: u32,
    /// Sent again since they were believed lost.
    pub(super) retransmitted: u32,
}

/// The records in flight.
#[derive(Clone, Debug, Default)]
pub(crate) struct SentQueue {
    records: VecDeque<Record>,
    sacked: u32,
    lost: u32,
}

impl SentQueue {
    pub(super) const EMPTY: SentQueue = SentQueue { records: VecDeque::new(), sacked: 0, lost: 0 };

    /// Gives back memory that an empty queue does without.
    pub(super) fn shrink(&mut self) {
        debug_assert!(self.is_empty() && self.sacked == 0 && self.lost == 0);
        if self.records.capacity() > SPARE_CAPACITY {
            self.records = VecDeque::new();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// How many records there are.
    pub(super) fn count(&self) -> usize {
        self.records.len()
    }

    /// How many segments of `mss` octets there are.
    pub(super) fn counts(&self, mss: u32) -> FlightCounts {
        let mut counts = FlightCounts::default();
        for record in &self.records {
            let segments = record.len().div_ceil(mss.max(1));
            counts.segments += segments;
            counts.sacked += if record.sacked { segments } else { 0 };
            let lost = !record.sacked && (record.lost || record.retransmitted);
            counts.lost += if lost { segments } else { 0 };
            counts.retransmitted += if lost && !record.lost { segments } else { 0 };
        }
        counts
    }

    /// Octets reported by SACK.
    pub(super) fn sacked(&self) -> u32 {
        self.sacked
    }

    /// Octets believed lost and not sent again yet.
    pub(super) fn lost(&self) -> u32 {
        self.lost
    }

    pub(super) fn front(&self) -> Option<&Record> {
        self.records.front()
    }

    /// Appends what was just sent: it starts where the last record ends.
    pub(super) fn push(&mut self, start: SeqNumber, end: SeqNumber, now: Instant) {
        debug_assert!(self.records.back().is_none_or(|last| last.end == start));
        let sent_at = now;
        self.records.push_back(Record {
            start,
            end,
            sent_at,
            sacked: false,
            lost: false,
            retransmitted: false,
        });
    }

    /// Takes off what lies before `ack`.
    pub(super) fn acknowledge(&mut self, ack: SeqNumber) -> Acked {
        let mut acked = Acked::default();
        let mut retransmitted = false;
        while let Some(front) = self.records.front_mut() {
            if !front.start.before(ack) {
                break;
            }
            let covered = front.end.min(ack).since(front.start);
            let record = *front;
            front.start += covered;
            if !front.start.before(front.end) {
                self.records.pop_front();
            }
            retransmitted |= record.retransmitted;
            if record.retransmitted {
                acked.resent_at = acked.resent_at.or(Some(record.sent_at));
            }
            if record.sacked {
                self.sacked -= covered;
                continue;
            }
            if record.lost {
                self.lost -= covered;
            }
            acked.delivered += covered;
            acked.sent_at = acked.sent_at.or(Some(record.sent_at));
        }
        acked.sent_at = acked.sent_at.filter(|_| !retransmitted);
        acked
    }

    /// Index of the record that holds `seq`, or of the first one behind it.
    fn index_of(&self, seq: SeqNumber) -> usize {
        self.records.partition_point(|record| !record.end.after(seq))
    }

    /// Cuts record `index` in two, `len` octets from its start.
    fn split(&mut self, index: usize, len: u32) {
        let record = &mut self.records[index];
        let mut tail = *record;
        record.end = record.start + len;
        tail.start = record.end;
        self.records.insert(index + 1, tail);
    }

    /// Marks what lies from `from` to `to`, none of it sacked yet, as sacked, and answers how many octets
    /// that were.
    ///
    /// Records are cut at multiples of `mss` only: a receiver has whole segments, and a hostile one can't
    /// make a record per octet. What is left over at the edges stays unmarked.
    pub(super) fn mark_sacked(&mut self, from: SeqNumber, to: SeqNumber, mss: u32) -> u32 {
        let mut index = self.index_of(from);
        let mut newly = 0;
        while let Some(&record) = self.records.get(index) {
            if !record.start.before(to) {
                break;
            }
            if record.start.before(from) {
                let keep = from.since(record.start).next_multiple_of(mss);
                if keep < record.len() {
                    self.split(index, keep);
                }
                index += 1;
                continue;
            }
            if record.end.after(to) {
                let keep = to.since(record.start) / mss * mss;
                if keep == 0 {
                    break;
                }
                self.split(index, keep);
            }
            let record = &mut self.records[index];
            if !record.sacked {
                record.sacked = true;
                newly += record.len();
                if record.lost {
                    record.lost = false;
                    self.lost -= record.len();
                }
            }
            index += 1;
        }
        self.sacked += newly;
        newly
    }

    /// Marks what lies from `from` to `to` as lost unless it is sacked; answers whether anything was new.
    pub(super) fn mark_lost(&mut self, from: SeqNumber, to: SeqNumber) -> bool {
        let before = self.lost;
        let mut index = self.index_of(from);
        while let Some(record) = self.records.get_mut(index) {
            if !record.start.before(to) {
                break;
            }
            if !record.sacked && !record.lost {
                record.lost = true;
                self.lost += record.len();
            }
            index += 1;
        }
        self.lost != before
    }

    /// Marks the first segment as lost; answers whether that was new.
    pub(super) fn mark_first_lost(&mut self, mss: u32) -> bool {
        let Some(&first) = self.records.front() else { return false };
        if first.sacked || first.lost {
            return false;
        }
        if first.len() > mss {
            self.split(0, mss);
        }
        self.mark_lost(first.start, first.start + 1)
    }

    /// Forgets what SACK has reported: the peer may have dropped it (RFC 2018 §8).
    pub(super) fn forget_sacked(&mut self) {
        self.records.iter_mut().for_each(|record| record.sacked = false);
        self.sacked = 0;
    }

    /// The first lost record at or behind `from`, cut to `len` octets if it is longer.
    pub(super) fn next_lost(&mut self, from: SeqNumber, len: u32) -> Option<Record> {
        let start = self.index_of(from);
        let index = start + self.records.range(start..).position(|record| record.lost)?;
        if self.records[index].len() > len {
            self.split(index, len);
        }
        Some(self.records[index])
    }

    /// The first octet was just sent again, to probe a closed window.
    pub(super) fn on_probe(&mut self, now: Instant) {
        if let Some(first) = self.records.front_mut() {
            first.sent_at = now;
            first.retransmitted = true;
        }
    }

    /// Record `start` was just sent again.
    pub(super) fn on_retransmit(&mut self, start: SeqNumber, now: Instant) {
        let index = self.index_of(start);
        let Some(record) = self.records.get_mut(index) else { return };
        record.sent_at = now;
        record.retransmitted = true;
        if record.lost {
            record.lost = false;
            self.lost -= record.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 100;

    fn queue(records: u32, len: u32) -> SentQueue {
        let mut queue = SentQueue::default();
        for i in 0..records {
            queue.push(SeqNumber(i * len), SeqNumber((i + 1) * len), Instant::from_millis(u64::from(i)));
        }
        queue
    }

    #[test]
    fn a_cumulative_acknowledgment_may_end_inside_a_record() {
        let mut sent = queue(2, 1000);
        assert_eq!(sent.acknowledge(SeqNumber(300)).delivered, 300);
        assert_eq!(sent.front().unwrap().start, SeqNumber(300));
        let acked = sent.acknowledge(SeqNumber(2000));
        assert_eq!((acked.delivered, acked.sent_at), (1700, Some(Instant::ZERO)));
        assert!(sent.is_empty());
    }

    #[test]
    fn sacks_split_records_at_segments_only() {
        let mut sent = queue(1, 1000);
        assert_eq!(sent.mark_sacked(SeqNumber(250), SeqNumber(570), MSS), 200);
        assert_eq!((sent.count(), sent.sacked()), (3, 200));
        assert_eq!(sent.mark_sacked(SeqNumber(301), SeqNumber(399), MSS), 0);
        assert!(sent.mark_lost(SeqNumber(0), SeqNumber(300)));
        assert_eq!(sent.lost(), 300);
        assert_eq!(sent.acknowledge(SeqNumber(400)).delivered, 300);
        assert_eq!((sent.lost(), sent.sacked()), (0, 100));
    }

    #[test]
    fn lost_records_are_found_in_order_and_cut_to_fit() {
        let mut sent = queue(3, 300);
        sent.mark_lost(SeqNumber(300), SeqNumber(900));
        let first = sent.next_lost(SeqNumber(0), 100).unwrap();
        assert_eq!((first.start, first.end), (SeqNumber(300), SeqNumber(400)));
        sent.on_retransmit(first.start, Instant::from_millis(9));
        assert_eq!(sent.lost(), 500);
        let next = sent.next_lost(first.end, 1000).unwrap();
        assert_eq!((next.start, next.end), (SeqNumber(400), SeqNumber(600)));
        assert_eq!(sent.acknowledge(SeqNumber(300)).sent_at, Some(Instant::ZERO));
        // What was sent more than once gives no round-trip time, nor does what was acknowledged with it.
        assert_eq!(sent.acknowledge(SeqNumber(500)).sent_at, None);
    }
}
