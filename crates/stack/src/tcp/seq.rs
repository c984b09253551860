//! Sequence numbers: 32 bits, compared modulo 2^32 (RFC 9293 §3.4).
//!
//! Two numbers are only comparable when they are less than 2^31 apart, which windows of at most 1 GiB
//! (RFC 7323 §2.2) guarantee. There is no `Ord`: the comparison is not transitive.

use core::fmt;
use core::ops::{Add, AddAssign, Sub};

/// A position in one direction's stream of sequence numbers.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct SeqNumber(pub u32);

impl SeqNumber {
    /// Whether this number comes before `other`.
    pub(crate) const fn before(self, other: SeqNumber) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// Whether this number comes after `other`.
    pub(crate) const fn after(self, other: SeqNumber) -> bool {
        other.before(self)
    }

    /// The later of the two.
    #[must_use]
    pub(crate) const fn max(self, other: SeqNumber) -> SeqNumber {
        if self.before(other) { other } else { self }
    }

    /// The earlier of the two.
    #[must_use]
    pub(crate) const fn min(self, other: SeqNumber) -> SeqNumber {
        if other.before(self) { other } else { self }
    }

    /// Whether this number is one of the `len` numbers from `start` on.
    pub(crate) const fn in_window(self, start: SeqNumber, len: u32) -> bool {
        self.0.wrapping_sub(start.0) < len
    }

    /// How many numbers lie from `start` up to this one, which must not come before it.
    pub(crate) const fn since(self, start: SeqNumber) -> u32 {
        self.0.wrapping_sub(start.0)
    }
}

impl Add<u32> for SeqNumber {
    type Output = SeqNumber;

    fn add(self, count: u32) -> SeqNumber {
        SeqNumber(self.0.wrapping_add(count))
    }
}

impl AddAssign<u32> for SeqNumber {
    fn add_assign(&mut self, count: u32) {
        *self = *self + count;
    }
}

impl Sub<u32> for SeqNumber {
    type Output = SeqNumber;

    fn sub(self, count: u32) -> SeqNumber {
        SeqNumber(self.0.wrapping_sub(count))
    }
}

impl Sub for SeqNumber {
    type Output = i32;

    /// The signed distance from `other` to this number.
    fn sub(self, other: SeqNumber) -> i32 {
        self.0.wrapping_sub(other.0) as i32
    }
}

impl fmt::Debug for SeqNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparison_wraps() {
        let (low, high) = (SeqNumber(u32::MAX - 5), SeqNumber(10));
        assert!(low.before(high) && high.after(low));
        assert!(!low.before(low) && !low.after(low));
        assert_eq!((low.max(high), low.min(high)), (high, low));
        assert_eq!((high - low, low - high, high.since(low)), (16, -16, 16));
        assert!(SeqNumber(2).in_window(low, 20));
        assert!(!high.in_window(low, 16));
    }
}
