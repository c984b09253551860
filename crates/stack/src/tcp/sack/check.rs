//! The invariants of the scoreboard.

use super::{Scoreboard, SeqNumber};

impl Scoreboard {
    /// Panics unless the ranges are disjoint, in order and within `una..nxt`.
    pub(in crate::tcp) fn check_invariants(&self, una: SeqNumber, nxt: SeqNumber) {
        let mut at = una;
        for (index, range) in self.ranges().iter().enumerate() {
            let behind = if index == 0 { !range.left.before(at) } else { range.left.after(at) };
            assert!(behind, "ranges out of order, or touching: {self:?}");
            assert!(range.left.before(range.right), "an empty range: {self:?}");
            at = range.right;
        }
        assert!(!at.after(nxt), "{self:?} reports what was not sent");
    }
}
