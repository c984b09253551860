//! The invariants of the records in flight, counted again.

use super::{SentQueue, SeqNumber};

impl SentQueue {
    /// Panics unless the records cover exactly `una..nxt` and the counts are the sums over them. Without SACK,
    /// nothing can be said of those reported.
    pub(in crate::tcp) fn check_invariants(&self, una: SeqNumber, nxt: SeqNumber, sack: bool) {
        let SentQueue {
            records,
            resent: _,
            packets_out,
            sacked_out,
            lost_out,
            retrans_out,
            judged: _,
            flight: _,
        } = self;
        let (mut at, mut counts) = (una, [0; 4]);
        for record in records {
            assert_eq!(record.start, at, "a hole or an overlap between records: {self:?}");
            assert!(record.start.before(record.end), "an empty record: {self:?}");
            assert!(record.packets > 0, "a record of no segments: {self:?}");
            assert!(!(record.sacked && record.lost), "sacked and lost: {self:?}");
            at = record.end;
            let flags = [true, record.sacked, record.lost, record.resent];
            for (count, set) in counts.iter_mut().zip(flags) {
                *count += if set { u32::from(record.packets) } else { 0 };
            }
        }
        assert_eq!(at, nxt, "the records don't end at SND.NXT: {self:?}");
        let [packets, sacked, lost, retrans] = counts;
        let reported = if sack { sacked } else { *sacked_out };
        assert_eq!(
            [*packets_out, *sacked_out, *lost_out, *retrans_out],
            [packets, reported, lost, retrans],
            "counts of {self:?}"
        );
        assert!(sacked_out + lost_out <= *packets_out, "more left than was sent: {self:?}");
    }
}
