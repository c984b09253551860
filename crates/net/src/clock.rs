//! Where `now` comes from: the machine's monotonic clock, or whoever turns the network.

use crate::sync::atomic::{AtomicU64, Ordering};
use sockeye_packet::Instant;
use std::time::Duration;

/// The clock of one network; it never runs backwards.
#[derive(Debug)]
pub(crate) enum Clock {
    /// Nanoseconds since the network was made.
    Real(crate::sync::Instant),
    /// The time of the latest turn.
    Manual(AtomicU64),
}

impl Clock {
    pub(crate) fn real() -> Clock {
        Clock::Real(crate::sync::Instant::now())
    }

    pub(crate) const fn manual() -> Clock {
        Clock::Manual(AtomicU64::new(0))
    }

    pub(crate) fn is_manual(&self) -> bool {
        matches!(self, Clock::Manual(_))
    }

    /// The same clock once more, unless it is a manual one.
    pub(crate) fn real_copy(&self) -> Option<Clock> {
        match self {
            Clock::Real(origin) => Some(Clock::Real(*origin)),
            Clock::Manual(_) => None,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::from_nanos(match self {
            Clock::Real(origin) => u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX),
            Clock::Manual(now) => now.load(Ordering::Acquire),
        })
    }

    /// Sets a manual clock to `now` unless it is later already; returns the time that holds.
    pub(crate) fn advance(&self, now: Instant) -> Instant {
        match self {
            Clock::Real(_) => self.now(),
            Clock::Manual(nanos) => {
                // At the end of time even what never happens would be due.
                let now = now.as_nanos().min(Instant::FAR_FUTURE.as_nanos() - 1);
                let before = nanos.fetch_max(now, Ordering::AcqRel);
                Instant::from_nanos(before.max(now))
            }
        }
    }

    /// Sets a manual clock back to `now`, when nobody was told a later time.
    #[cfg(feature = "simulation")]
    pub(crate) fn set_back(&self, now: Instant) {
        if let Clock::Manual(nanos) = self {
            nanos.fetch_min(now.as_nanos(), Ordering::AcqRel);
        }
    }

    /// How long a thread may sleep until `deadline`.
    pub(crate) fn until(&self, deadline: Instant) -> Duration {
        deadline.saturating_since(self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_never_runs_backwards() {
        let clock = Clock::manual();
        assert_eq!(clock.advance(Instant::from_millis(5)), Instant::from_millis(5));
        assert_eq!(clock.advance(Instant::from_millis(3)), Instant::from_millis(5));
        assert_eq!(clock.now(), Instant::from_millis(5));
        assert_eq!(clock.until(Instant::from_millis(6)), Duration::from_millis(1));
    }
}
