//! The time of a network, and what the machine's calendar clock says of it.

use sockeye_packet::Instant;
use std::time::{Duration, SystemTime};

/// Counts from when the network began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// A clock that begins now.
    pub(crate) fn start() -> Clock {
        Clock { origin: std::time::Instant::now() }
    }

    pub(crate) fn now(self) -> Instant {
        Instant::from_nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// When that was, since 1970, as the calendar clock has it now: it may have been set since the network began.
    pub(crate) fn since_1970(self, at: Instant) -> Duration {
        let age = self.now().saturating_since(at);
        SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().saturating_sub(age)
    }
}
