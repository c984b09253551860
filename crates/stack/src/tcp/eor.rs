//! Ends of records (`MSG_EOR`): no segment carries bytes from both sides of one.
//!
//! TCP has no records; who marks their ends asks that a record's bytes be in segments of its own, so that
//! their acknowledgment says something about it.

use super::seq::SeqNumber;
use alloc::boxed::Box;
use alloc::collections::VecDeque;

/// The ends of records that were not acknowledged, oldest first: none until the first is marked.
#[derive(Debug, Default)]
pub(super) struct RecordEnds(
    #[allow(clippy::box_collection, reason = "8 bytes in line instead of 32")]
    Option<Box<VecDeque<SeqNumber>>>,
);

impl RecordEnds {
    /// A record ends before `end`.
    pub(super) fn mark(&mut self, end: SeqNumber) {
        let ends = self.0.get_or_insert_default();
        if ends.back() != Some(&end) {
            ends.push_back(end);
        }
    }

    /// Forgets the ends up to `snd_una`, which matter no more.
    pub(super) fn forget(&mut self, snd_una: SeqNumber) {
        let Some(ends) = &mut self.0 else { return };
        while ends.pop_front_if(|end| !end.after(snd_una)).is_some() {}
        if ends.is_empty() {
            self.0 = None;
        }
    }

    /// The first end behind `seq`.
    pub(super) fn after(&self, seq: SeqNumber) -> Option<SeqNumber> {
        self.0.as_deref()?.iter().copied().find(|end| end.after(seq))
    }

    /// Whether none is known.
    #[cfg(test)]
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a record ends before `seq`.
    pub(super) fn is_end(&self, seq: SeqNumber) -> bool {
        self.0.as_deref().is_some_and(|ends| ends.contains(&seq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_found_and_forgotten() {
        let mut ends = RecordEnds::default();
        assert_eq!(ends.after(SeqNumber(0)), None);
        for end in [10, 20, 20, 30] {
            ends.mark(SeqNumber(end));
        }
        assert_eq!(ends.after(SeqNumber(10)), Some(SeqNumber(20)));
        assert!(ends.is_end(SeqNumber(10)) && !ends.is_end(SeqNumber(11)));
        ends.forget(SeqNumber(20));
        assert_eq!(ends.after(SeqNumber(0)), Some(SeqNumber(30)));
        ends.forget(SeqNumber(30));
        assert!(ends.is_none());
    }
}
