//! What is in flight: one record per segment or super-segment, split on demand.
//!
//! Records are contiguous and in order of sequence numbers, from SND.UNA to SND.NXT. Cumulative
//! acknowledgments take them off the front; everything else finds its place by binary search. Counts are
//! in segments, as in the kernel (a record of n segments counts n), and always equal the sums over the
//! records, so that what is in flight is known at once. Without SACK, `sacked` counts duplicate
//! acknowledgments instead.

use super::rate::{Flight, Sample, Stamp};
use super::seq::SeqNumber;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use sockeye_packet::Instant;

/// With so many records a peer's SACK blocks split no more of them (CVE-2019-11478): what it reports of
/// a larger record is taken note of when it is acknowledged.
const MAX_SPLIT_RECORDS: usize = 16_384;

/// An empty queue keeps room for so many records, for whoever needs it next.
const SPARE_CAPACITY: usize = 64;

/// What is known of a segment when it is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending {
    pub(super) now: Instant,
    /// The size of a full segment.
    pub(super) mss: u32,
    /// Segments delivered so far.
    pub(super) delivered: u32,
    /// The program has too little to send.
    pub(super) app_limited: bool,
}

/// One (super-)segment in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// First sequence number.
    pub(super) start: SeqNumber,
    /// First sequence number behind it; SYN and FIN are counted.
    pub(super) end: SeqNumber,
    /// When it was last sent.
    pub(super) sent_at: Instant,
    /// How many segments had been delivered then.
    pub(super) delivered: u32,
    pub(super) stamp: Stamp,
    /// How many segments it is.
    pub(super) packets: u16,
    /// It holds a SYN or FIN, which is no payload.
    control: bool,
    /// The peer has reported it by SACK.
    pub(super) sacked: bool,
    /// It is believed lost.
    pub(super) lost: bool,
    /// It is believed lost and was sent again since: that copy is in flight.
    pub(super) resent: bool,
    /// It has been sent more than once.
    pub(super) retransmitted: bool,
}

impl Record {
    fn len(&self) -> u32 {
        self.end.since(self.start)
    }

    /// Octets of payload.
    pub(super) fn payload_len(&self) -> u32 {
        self.len() - u32::from(self.control)
    }

    /// What its arrival says about the rate of delivery.
    pub(super) fn sample(&self) -> Sample {
        let Record { sent_at, end, delivered: prior, stamp, .. } = *self;
        Sample { sent_at, end, prior, stamp }
    }

    /// How many segments of `mss` hold it.
    fn segments(&self, mss: u32) -> u16 {
        let len = self.payload_len();
        if len <= mss { 1 } else { len.div_ceil(mss.max(1)).min(u32::from(u16::MAX)) as u16 }
    }
}

/// A retransmission: the record that begins here was sent then.
#[derive(Clone, Copy, Debug)]
struct Resent {
    start: SeqNumber,
    sent_at: Instant,
}

/// The records in flight.
#[derive(Clone, Debug, Default)]
pub(crate) struct SentQueue {
    records: VecDeque<Record>,
    /// Retransmissions in the order of time, for most connections none. Entries that no record bears out
    /// any more are stale.
    #[allow(clippy::box_collection, reason = "8 bytes in line instead of 32")]
    resent: Option<Box<VecDeque<Resent>>>,
    packets_out: u32,
    sacked_out: u32,
    lost_out: u32,
    retrans_out: u32,
    flight: Flight,
    /// Records before this that were sent only once are sacked or lost already.
    judged: SeqNumber,
}

/// Counts.
impl SentQueue {
    pub(super) const EMPTY: SentQueue = SentQueue {
        records: VecDeque::new(),
        resent: None,
        packets_out: 0,
        sacked_out: 0,
        lost_out: 0,
        retrans_out: 0,
        flight: Flight::NONE,
        judged: SeqNumber(0),
    };

    /// Gives back memory that an empty queue does without.
    pub(super) fn shrink(&mut self) {
        debug_assert!(self.is_empty() && self.packets_out + self.left_out() + self.retrans_out == 0);
        if self.records.capacity() > SPARE_CAPACITY {
            self.records = VecDeque::new();
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// How many records there are.
    pub(super) fn count(&self) -> usize {
        self.records.len()
    }

    /// Segments sent and not acknowledged.
    #[inline]
    pub(super) fn packets_out(&self) -> u32 {
        self.packets_out
    }

    /// Segments reported by SACK.
    pub(super) fn sacked_out(&self) -> u32 {
        self.sacked_out
    }

    /// Segments believed lost.
    pub(super) fn lost_out(&self) -> u32 {
        self.lost_out
    }

    /// Segments sent again that are neither acknowledged nor lost again.
    pub(super) fn retrans_out(&self) -> u32 {
        self.retrans_out
    }

    /// Segments that have left the network: arrived or lost.
    pub(super) fn left_out(&self) -> u32 {
        self.sacked_out + self.lost_out
    }

    /// Segments believed to be on the way (the pipe of RFC 6675 §4).
    #[inline]
    pub(super) fn packets_in_flight(&self) -> u32 {
        (self.packets_out + self.retrans_out).saturating_sub(self.left_out())
    }

    /// Without SACK: how many duplicate acknowledgments stand for segments that have arrived.
    pub(super) fn set_reno_sacked(&mut self, segments: u32) {
        self.sacked_out = segments;
    }
}

/// Records.
impl SentQueue {
    #[inline]
    pub(super) fn front(&self) -> Option<&Record> {
        self.records.front()
    }

    /// Where what is in flight begins.
    pub(super) fn flight_mut(&mut self) -> &mut Flight {
        &mut self.flight
    }

    /// The last record and its index.
    pub(super) fn last(&self) -> Option<(usize, Record)> {
        self.records.back().map(|last| (self.records.len() - 1, *last))
    }

    pub(super) fn get(&self, index: usize) -> Option<&Record> {
        self.records.get(index)
    }

    /// Appends what was just sent: it starts where the last record ends. `control` says that a SYN or FIN
    /// is in it.
    #[inline]
    pub(super) fn push(&mut self, start: SeqNumber, end: SeqNumber, control: bool, sending: Sending) {
        debug_assert!(self.records.back().is_none_or(|last| last.end == start));
        if self.records.is_empty() {
            self.judged = start;
            self.flight = Flight { delivered_at: sending.now, first_sent_at: sending.now };
        }
        let mut record = Record {
            start,
            end,
            sent_at: sending.now,
            delivered: sending.delivered,
            stamp: self.flight.stamp(sending.now, sending.app_limited),
            packets: 0,
            control,
            sacked: false,
            lost: false,
            resent: false,
            retransmitted: false,
        };
        record.packets = record.segments(sending.mss);
        self.packets_out += u32::from(record.packets);
        self.records.push_back(record);
    }

    /// Takes off what lies before `ack`. `each` is told of every record, as it was, and of how many of its
    /// segments are acknowledged.
    pub(super) fn acknowledge(&mut self, ack: SeqNumber, mss: u32, mut each: impl FnMut(&Record, u32)) {
        while let Some(front) = self.records.front_mut() {
            if !front.start.before(ack) {
                break;
            }
            let record = *front;
            let packets = if front.end.after(ack) {
                front.start = ack;
                let left = front.segments(mss).min(record.packets);
                front.packets = left;
                u32::from(record.packets - left)
            } else {
                self.records.pop_front();
                u32::from(record.packets)
            };
            self.packets_out -= packets;
            if record.sacked {
                self.sacked_out -= packets;
            }
            if record.lost {
                self.lost_out -= packets;
            }
            if record.resent {
                self.retrans_out -= packets;
            }
            if packets > 0 {
                each(&record, packets);
            }
        }
        self.judged = self.judged.max(ack);
        // Without SACK nobody else looks through the retransmissions.
        if let Some(resent) = &mut self.resent {
            while resent.front().is_some_and(|oldest| oldest.start.before(ack)) {
                resent.pop_front();
            }
        }
        if self.records.is_empty() {
            self.resent = None;
            self.sacked_out = 0;
        }
    }

    /// Whether one record is all that is in flight, it ends at `ack`, and it was sent once.
    #[inline]
    pub(super) fn is_all_one(&self, ack: SeqNumber) -> bool {
        self.records.len() == 1
            && self.records.front().is_some_and(|only| {
                only.end == ack && !(only.control || only.sacked || only.lost || only.retransmitted)
            })
    }

    /// Takes that record.
    #[inline]
    pub(super) fn take_all_one(&mut self) -> Option<Record> {
        let only = self.records.pop_front()?;
        self.packets_out = 0;
        self.judged = only.end;
        self.resent = None;
        Some(only)
    }

    /// Index of the record that holds `seq`, or of the first one behind it.
    pub(super) fn index_of(&self, seq: SeqNumber) -> usize {
        self.records.partition_point(|record| !record.end.after(seq))
    }

    /// Cuts record `index` in two, `len` octets from its start.
    pub(super) fn split(&mut self, index: usize, len: u32, mss: u32) {
        let record = &mut self.records[index];
        let mut tail = *record;
        let before = u32::from(record.packets);
        record.end = record.start + len;
        record.control = false;
        record.packets = record.segments(mss);
        tail.start = record.end;
        tail.packets = tail.segments(mss);
        let after = u32::from(record.packets) + u32::from(tail.packets);
        self.recount(&tail, before, after);
        self.records.insert(index + 1, tail);
        if tail.retransmitted {
            self.note_resent(tail.start, tail.sent_at);
        }
    }

    /// A record with these marks counts `after` segments instead of `before`.
    fn recount(&mut self, record: &Record, before: u32, after: u32) {
        self.packets_out = self.packets_out + after - before;
        if record.sacked {
            self.sacked_out = self.sacked_out + after - before;
        }
        if record.lost {
            self.lost_out = self.lost_out + after - before;
        }
        if record.resent {
            self.retrans_out = self.retrans_out + after - before;
        }
    }

    /// Adds to the retransmissions, in order of time; the newest goes last at once.
    fn note_resent(&mut self, start: SeqNumber, sent_at: Instant) {
        let list = self.resent.get_or_insert_default();
        let at = if list.back().is_some_and(|last| last.sent_at > sent_at) {
            list.partition_point(|other| other.sent_at <= sent_at)
        } else {
            list.len()
        };
        list.insert(at, Resent { start, sent_at });
    }
}

/// Marks.
impl SentQueue {
    /// Marks what lies from `from` to `to`, none of it sacked yet, as sacked. `each` is told of every
    /// record, as it was. Answers which range has been marked.
    ///
    /// Records are cut at multiples of `mss` only: a receiver has whole segments, and a hostile one can't
    /// make a record per octet. What is left over at the edges stays unmarked.
    pub(super) fn mark_sacked(
        &mut self,
        from: SeqNumber,
        to: SeqNumber,
        mss: u32,
        mut each: impl FnMut(&Record),
    ) -> Option<(SeqNumber, SeqNumber)> {
        let mut index = self.index_of(from);
        let mut marked: Option<(SeqNumber, SeqNumber)> = None;
        while let Some(&record) = self.records.get(index) {
            if !record.start.before(to) {
                break;
            }
            let may_split = self.records.len() < MAX_SPLIT_RECORDS;
            if record.start.before(from) {
                let keep = from.since(record.start).next_multiple_of(mss);
                if keep < record.len() - u32::from(record.control) && may_split {
                    self.split(index, keep, mss);
                }
                index += 1;
                continue;
            }
            if record.end.after(to) {
                let keep = to.since(record.start) / mss * mss;
                if keep == 0 || !may_split {
                    break;
                }
                self.split(index, keep, mss);
            }
            let record = self.records[index];
            if !record.sacked {
                each(&record);
                self.set_sacked(index);
            }
            marked = Some((marked.map_or(record.start, |(start, _)| start), record.end));
            index += 1;
        }
        marked
    }

    fn set_sacked(&mut self, index: usize) {
        let record = &mut self.records[index];
        let packets = u32::from(record.packets);
        record.sacked = true;
        self.sacked_out += packets;
        // A copy that was sent without need (a probe's, or one before an undo) is still on the way.
        if record.resent && record.lost {
            record.resent = false;
            self.retrans_out -= packets;
        }
        if record.lost {
            record.lost = false;
            self.lost_out -= packets;
        }
    }

    /// The peer has received what lies from `from` to `to` twice: no copies of it are in flight. `each` is
    /// told of every record that was sent more than once.
    pub(super) fn mark_duplicate(&mut self, from: SeqNumber, to: SeqNumber, mut each: impl FnMut(&Record)) {
        let mut index = self.index_of(from);
        while let Some(record) = self.records.get_mut(index) {
            if record.end.after(to) {
                break;
            }
            if !record.start.before(from) && record.retransmitted {
                each(record);
                if record.resent {
                    record.resent = false;
                    self.retrans_out -= u32::from(record.packets);
                }
            }
            index += 1;
        }
    }

    /// Marks record `index` as lost, or its retransmission as lost too. Answers how many segments are newly
    /// lost, and whether they had been sent again.
    pub(super) fn mark_lost(&mut self, index: usize) -> (u32, bool) {
        let record = &mut self.records[index];
        let packets = u32::from(record.packets);
        if record.sacked || (record.lost && !record.resent) {
            return (0, false);
        }
        let again = record.lost;
        if record.resent {
            record.resent = false;
            self.retrans_out -= packets;
        }
        if !record.lost {
            record.lost = true;
            self.lost_out += packets;
        }
        (packets, again)
    }

    /// Nothing was lost after all (RFC 4015): what is not acknowledged is in flight again.
    pub(super) fn unmark_lost(&mut self) {
        self.records.iter_mut().for_each(|record| record.lost = false);
        self.lost_out = 0;
        self.judged = self.records.front().map_or(self.judged, |first| first.start);
    }

    /// Forgets what SACK has reported: the peer may have dropped it (RFC 2018 §8).
    pub(super) fn forget_sacked(&mut self) {
        self.records.iter_mut().for_each(|record| record.sacked = false);
        self.sacked_out = 0;
        self.judged = self.records.front().map_or(self.judged, |first| first.start);
    }

    /// The first record at or behind `from` that is lost and was not sent again since.
    pub(super) fn next_lost(&self, from: SeqNumber) -> Option<usize> {
        if self.retrans_out >= self.lost_out {
            return None;
        }
        let start = self.index_of(from);
        let found = self.records.range(start..).position(|record| record.lost && !record.resent)?;
        Some(start + found)
    }

    /// Record `index` is being sent again, and cut to `len` octets if it is
    /// longer. A `probe` is sent although nothing is believed lost, and is not counted. Answers the record.
    pub(super) fn on_retransmit(&mut self, index: usize, len: u32, probe: bool, sending: Sending) -> Record {
        let Sending { now, mss, delivered, app_limited } = sending;
        if self.records[index].len() > len + u32::from(self.records[index].control) {
            self.split(index, len, mss);
        }
        let record = self.records[index];
        self.recount(&record, u32::from(record.packets), u32::from(record.segments(mss)));
        let record = &mut self.records[index];
        record.packets = record.segments(mss);
        record.sent_at = now;
        record.delivered = delivered;
        record.stamp = self.flight.stamp(now, app_limited);
        record.retransmitted = true;
        if !probe && !record.resent {
            record.resent = true;
            self.retrans_out += u32::from(record.packets);
        }
        let record = *record;
        self.note_resent(record.start, now);
        record
    }

    /// The first octet was just sent again, to probe a closed window.
    pub(super) fn on_probe(&mut self, now: Instant) {
        if let Some(first) = self.records.front_mut() {
            first.stamp = first.stamp.moved(now.saturating_since(first.sent_at));
            first.sent_at = now;
            first.retransmitted = true;
            let start = first.start;
            self.note_resent(start, now);
        }
    }

    /// Merges the record behind `index` into it, if both together have at most `room` octets of payload:
    /// small segments are sent again as one (RFC 9293 §3.8.6.2.1 asks for large ones).
    pub(super) fn merge_next(&mut self, index: usize, room: u32, mss: u32) -> bool {
        let (Some(&record), Some(&next)) = (self.records.get(index), self.records.get(index + 1)) else {
            return false;
        };
        let payload = next.end.since(record.start) - u32::from(next.control);
        if record.packets != 1 || next.packets != 1 || next.sacked || record.control || payload > room {
            return false;
        }
        self.records.remove(index + 1);
        // The second leaves with its marks; the first grows and keeps its own.
        self.recount(&next, 1, 0);
        let merged = &mut self.records[index];
        merged.end = next.end;
        merged.control = next.control;
        merged.retransmitted |= next.retransmitted;
        debug_assert_eq!(merged.segments(mss), 1);
        true
    }
}

/// The order of transmission, for detection by time (RFC 8985).
impl SentQueue {
    /// Indices of records that were sent only once and are neither sacked nor lost, oldest first, until
    /// `visit` answers that it has seen enough.
    pub(super) fn first_unjudged(&mut self) -> Option<usize> {
        let start = self.index_of(self.judged);
        let waits = |record: &Record| !record.sacked && !record.lost && !record.retransmitted;
        let found = self.records.range(start..).position(waits);
        let index = found.map(|found| start + found);
        // What was passed over is never looked at again.
        self.judged = match index {
            Some(index) => self.records[index].start,
            None => self.records.back().map_or(self.judged, |last| last.end),
        };
        index
    }

    /// The index of the record that the `nth` oldest retransmission is of; entries that are stale are
    /// dropped.
    pub(super) fn nth_resent(&mut self, nth: usize) -> Option<usize> {
        let first = self.records.front()?.start;
        loop {
            let Resent { start, sent_at } = *self.resent.as_ref()?.get(nth)?;
            let index = self.index_of(start.max(first));
            let current = self.records.get(index).is_some_and(|record| {
                let waits = !record.sacked && (!record.lost || record.resent);
                record.retransmitted && record.sent_at == sent_at && waits
            });
            if current {
                return Some(index);
            }
            self.resent.as_mut()?.remove(nth);
        }
    }
}

#[cfg(any(test, feature = "fuzzing"))]
mod check;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const MSS: u32 = 100;

    fn sending(millis: u64) -> Sending {
        Sending { now: Instant::from_millis(millis), mss: MSS, delivered: 0, app_limited: false }
    }

    fn queue(records: u32, len: u32) -> SentQueue {
        let mut queue = SentQueue::default();
        for i in 0..records {
            queue.push(SeqNumber(i * len), SeqNumber((i + 1) * len), false, sending(i.into()));
        }
        queue
    }

    fn acked(sent: &mut SentQueue, ack: u32) -> Vec<u32> {
        let mut acked = Vec::new();
        sent.acknowledge(SeqNumber(ack), MSS, |_, packets| acked.push(packets));
        acked
    }

    fn counts(sent: &SentQueue) -> (u32, u32, u32, u32) {
        (sent.packets_out(), sent.sacked_out(), sent.lost_out(), sent.retrans_out())
    }

    #[test]
    fn a_cumulative_acknowledgment_may_end_inside_a_record() {
        let mut sent = queue(2, 1000);
        assert_eq!(acked(&mut sent, 350), [3]);
        assert_eq!(sent.front().unwrap().start, SeqNumber(350));
        assert_eq!(acked(&mut sent, 360), []);
        assert_eq!(acked(&mut sent, 2000), [7, 10]);
        assert!(sent.is_empty());
        assert_eq!(counts(&sent), (0, 0, 0, 0));
    }

    #[test]
    fn a_fin_is_no_segment_of_its_own() {
        let mut sent = SentQueue::default();
        sent.push(SeqNumber(0), SeqNumber(201), true, sending(0));
        assert_eq!(sent.packets_out(), 2);
        sent.push(SeqNumber(201), SeqNumber(202), true, sending(0));
        assert_eq!(sent.packets_out(), 3);
        assert_eq!(acked(&mut sent, 200), [1]);
        assert_eq!(acked(&mut sent, 202), [1, 1]);
    }

    #[test]
    fn sacks_split_records_at_segments_only() {
        let mut sent = queue(1, 1000);
        let marked = sent.mark_sacked(SeqNumber(250), SeqNumber(570), MSS, |_| ());
        assert_eq!(marked, Some((SeqNumber(300), SeqNumber(500))));
        assert_eq!((sent.count(), counts(&sent)), (3, (10, 2, 0, 0)));
        assert_eq!(sent.mark_sacked(SeqNumber(501), SeqNumber(599), MSS, |_| ()), None);
        assert_eq!(sent.mark_lost(0), (3, false));
        assert_eq!(acked(&mut sent, 400), [3, 1]);
        assert_eq!(counts(&sent), (6, 1, 0, 0));
    }

    #[test]
    fn lost_records_are_found_in_order_and_cut_to_fit() {
        let mut sent = queue(3, 300);
        sent.mark_lost(1);
        sent.mark_lost(2);
        let first = sent.next_lost(SeqNumber(0)).unwrap();
        let first = sent.on_retransmit(first, 100, false, sending(9));
        assert_eq!((first.start, first.end), (SeqNumber(300), SeqNumber(400)));
        assert_eq!(counts(&sent), (9, 0, 6, 1));
        assert_eq!(sent.packets_in_flight(), 4);
        let next = sent.next_lost(first.end).unwrap();
        assert_eq!(sent.get(next).unwrap().end, SeqNumber(600));
        // The copy is lost as well.
        assert_eq!(sent.mark_lost(1), (1, true));
        assert_eq!(counts(&sent), (9, 0, 6, 0));
    }

    #[test]
    fn small_records_are_sent_again_as_one() {
        let mut sent = queue(3, 30);
        sent.mark_lost(0);
        sent.mark_lost(1);
        assert!(sent.merge_next(0, 100, MSS));
        assert_eq!((sent.count(), counts(&sent)), (2, (2, 0, 1, 0)));
        assert!(sent.merge_next(0, 100, MSS));
        assert!(!sent.merge_next(0, 100, MSS));
        assert_eq!(counts(&sent), (1, 0, 1, 0));
    }

    #[test]
    fn retransmissions_are_kept_in_the_order_of_time() {
        let mut sent = queue(3, 300);
        sent.mark_lost(2);
        sent.mark_lost(0);
        sent.on_retransmit(2, 300, false, sending(8));
        sent.on_retransmit(0, 300, false, sending(9));
        assert_eq!((sent.nth_resent(0), sent.nth_resent(1)), (Some(2), Some(0)));
        // A part of one that is reported leaves the others where they are.
        sent.mark_sacked(SeqNumber(700), SeqNumber(800), MSS, |_| ());
        let order: Vec<u32> =
            (0..3).map_while(|n| sent.nth_resent(n).map(|index| sent.get(index).unwrap().start.0)).collect();
        assert_eq!(order, [600, 800, 0]);
        acked(&mut sent, 700);
        assert_eq!(sent.nth_resent(0).map(|index| sent.get(index).unwrap().start), Some(SeqNumber(800)));
        assert_eq!(sent.nth_resent(1), None);
    }

    proptest! {
        #[test]
        fn counts_are_sums(events in proptest::collection::vec((0_u8..8, 0_u32..2000, 1_u32..700), 1..80)) {
            let mut sent = queue(6, 250);
            let (mut end, mut una) = (1500, 0);
            for (kind, at, len) in events {
                let at = una + at % (end - una + 1);
                let index = sent.index_of(SeqNumber(at));
                let here = sent.get(index).copied();
                match kind {
                    0 => {
                        sent.push(SeqNumber(end), SeqNumber(end + len), false, sending(1));
                        end += len;
                    }
                    1 => {
                        acked(&mut sent, at);
                        una = at;
                    }
                    2 | 3 => {
                        sent.mark_sacked(SeqNumber(at), SeqNumber(end.min(at + len)), MSS, |_| ());
                    }
                    4 if here.is_some() => {
                        sent.mark_lost(index);
                    }
                    5 if here.is_some_and(|record| record.lost && !record.resent) => {
                        sent.on_retransmit(index, len, false, sending(2));
                    }
                    6 => sent.unmark_lost(),
                    7 if here.is_some_and(|record| record.lost && !record.resent) => {
                        sent.merge_next(index, MSS, MSS);
                    }
                    _ => {}
                }
                let mut sums = vec![0_u32; 4];
                let mut next = SeqNumber(una);
                for record in (0..).map_while(|index| sent.get(index)) {
                    prop_assert_eq!(record.start, next);
                    next = record.end;
                    let packets = u32::from(record.packets);
                    sums[0] += packets;
                    sums[1] += if record.sacked { packets } else { 0 };
                    sums[2] += if record.lost { packets } else { 0 };
                    sums[3] += if record.resent { packets } else { 0 };
                    prop_assert!(!(record.sacked && record.lost));
                }
                prop_assert_eq!(next, SeqNumber(end));
                let (out, sacked, lost, retrans) = counts(&sent);
                prop_assert_eq!(sums, [out, sacked, lost, retrans]);
            }
        }
    }
}
