//! A limit on memory that peers and programs can make a stack hold.

/// A count of bytes held, against a limit.
///
/// Every queue charges what it holds before it holds it, and releases it when it lets go.
#[derive(Debug)]
pub struct Budget {
    used: usize,
    limit: usize,
}

impl Budget {
    /// A budget of `limit` bytes, none of them used.
    pub const fn new(limit: usize) -> Budget {
        Budget { used: 0, limit }
    }

    /// Charges `bytes` if they fit under the limit; says whether they did.
    #[must_use]
    #[inline]
    pub fn try_charge(&mut self, bytes: usize) -> bool {
        match self.used.checked_add(bytes) {
            Some(used) if used <= self.limit => {
                self.used = used;
                true
            }
            _ => false,
        }
    }

    /// Gives back `bytes` charged before.
    #[inline]
    pub fn release(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.used, "released {bytes} of {}", self.used);
        self.used = self.used.saturating_sub(bytes);
    }

    /// Bytes charged now.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Bytes that can still be charged.
    #[inline]
    pub fn available(&self) -> usize {
        self.limit - self.used
    }

    /// Whether more than three quarters are used: buffers should stop growing.
    #[inline]
    pub fn is_under_pressure(&self) -> bool {
        self.used > self.limit / 4 * 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_up_to_the_limit() {
        let mut budget = Budget::new(100);
        assert!(budget.try_charge(60));
        assert!(!budget.try_charge(41));
        assert!(budget.try_charge(40));
        assert!(budget.is_under_pressure());
        budget.release(100);
        assert_eq!((budget.used(), budget.available()), (0, 100));
        assert!(!budget.try_charge(usize::MAX));
    }
}
