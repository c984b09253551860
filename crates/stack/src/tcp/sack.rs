//! Which octets in flight the peer has reported by SACK (RFC 2018, RFC 6675's scoreboard).
//!
//! Ranges are disjoint, don't touch, lie in order behind SND.UNA, and each is found by binary search. An
//! acknowledgment that repeats what is known costs no more than the search.

use super::seq::SeqNumber;
use alloc::boxed::Box;
use alloc::collections::VecDeque;

/// `DupThresh` of RFC 6675 §2.
pub(crate) const DUP_THRESH: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    left: SeqNumber,
    right: SeqNumber,
}

/// The sender's view of what has arrived out of order. Boxed, for most connections have none.
#[derive(Clone, Debug, Default)]
#[allow(clippy::box_collection, reason = "8 bytes in line instead of 32")]
pub(super) struct Scoreboard(Option<Box<VecDeque<Range>>>);

static NONE: VecDeque<Range> = VecDeque::new();

impl Scoreboard {
    fn ranges(&self) -> &VecDeque<Range> {
        self.0.as_deref().unwrap_or(&NONE)
    }

    /// The first part of `left..right` that is not known yet.
    pub(super) fn gap(&self, left: SeqNumber, right: SeqNumber) -> Option<(SeqNumber, SeqNumber)> {
        let ranges = self.ranges();
        let index = ranges.partition_point(|range| !range.right.after(left));
        let (from, next) = match ranges.get(index) {
            Some(range) if !range.left.after(left) => (range.right, ranges.get(index + 1)),
            next => (left, next),
        };
        let to = next.map_or(right, |range| range.left.min(right));
        from.before(to).then_some((from, to))
    }

    /// Adds `left..right`, merged with what it touches.
    pub(super) fn insert(&mut self, mut left: SeqNumber, mut right: SeqNumber) {
        let ranges = self.0.get_or_insert_default();
        let first = ranges.partition_point(|range| range.right.before(left));
        let mut last = first;
        while let Some(range) = ranges.get(last) {
            if range.left.after(right) {
                break;
            }
            left = left.min(range.left);
            right = right.max(range.right);
            last += 1;
        }
        if first == last {
            ranges.insert(first, Range { left, right });
        } else {
            ranges[first] = Range { left, right };
            if last > first + 1 {
                ranges.drain(first + 1..last);
            }
        }
    }

    /// Drops what lies before `una`.
    pub(super) fn acknowledge(&mut self, una: SeqNumber) {
        let Some(ranges) = &mut self.0 else { return };
        while let Some(first) = ranges.front_mut() {
            if !first.left.before(una) {
                break;
            }
            first.left = una;
            if !first.left.before(first.right) {
                ranges.pop_front();
            }
        }
        if ranges.is_empty() {
            self.clear();
        }
    }

    /// Whether it takes no memory.
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Forgets everything, and the memory.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }

    /// The end of the highest range.
    pub(super) fn highest(&self) -> Option<SeqNumber> {
        self.ranges().back().map(|range| range.right)
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

    fn s(n: u32) -> SeqNumber {
        SeqNumber(n)
    }

    #[test]
    fn gaps_lie_between_what_is_known() {
        let mut board = Scoreboard::default();
        board.insert(s(10), s(20));
        board.insert(s(30), s(40));
        assert_eq!(board.gap(s(0), s(50)), Some((s(0), s(10))));
        assert_eq!(board.gap(s(10), s(50)), Some((s(20), s(30))));
        assert_eq!(board.gap(s(30), s(50)), Some((s(40), s(50))));
        assert_eq!(board.gap(s(12), s(20)), None);
    }

    #[test]
    fn the_highest_range_ends_last() {
        let mut board = Scoreboard::default();
        assert_eq!(board.highest(), None);
        for (left, right) in [(30, 40), (10, 20), (40, 50)] {
            board.insert(s(left), s(right));
        }
        assert_eq!(board.highest(), Some(s(50)));
        board.acknowledge(s(50));
        assert_eq!(board.highest(), None);
    }

    proptest! {
        #[test]
        fn equals_a_set_of_octets(ranges in proptest::collection::vec((0_u32..200, 1_u32..30), 1..40), una in 0_u32..100) {
            let base = u32::MAX - 100;
            let mut board = Scoreboard::default();
            let mut set = vec![false; 240];
            for (left, len) in ranges {
                let (from, to) = (s(base) + left, s(base) + left + len);
                let mut at = from;
                let mut gaps = Vec::new();
                while let Some((a, b)) = board.gap(at, to) {
                    gaps.extend(a.since(s(base))..b.since(s(base)));
                    at = b;
                }
                let expected: Vec<u32> = (left..left + len).filter(|i| !set[*i as usize]).collect();
                prop_assert_eq!(gaps, expected);
                board.insert(from, to);
                (left..left + len).for_each(|i| set[i as usize] = true);
            }
            board.acknowledge(s(base) + una);
            let known: Vec<u32> = board.ranges().iter().flat_map(|r| r.left.since(s(base))..r.right.since(s(base))).collect();
            let expected: Vec<u32> = (una..240).filter(|i| set[*i as usize]).collect();
            prop_assert_eq!(known, expected);
            prop_assert!(board.ranges().iter().zip(board.ranges().iter().skip(1)).all(|(a, b)| a.right.before(b.left)));
        }
    }
}
