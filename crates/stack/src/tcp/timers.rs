//! The timers of one connection: which there are, and when each is due.
//!
//! Setting a timer writes one word; the owner asks for the earliest deadline after a call and
//! schedules that. A timer that fires early or late does no harm: every handler looks at the clock.

use sockeye_packet::Instant;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The retransmission timeout (RFC 6298).
    Retransmit,
    /// An acknowledgment that was held back (RFC 9293 §3.8.6.3).
    DelayedAck,
    /// A closed or too small window to be probed, or data held back too long (RFC 9293 §3.8.6.1).
    Persist,
    /// What is paced to go on (see `pacing`).
    Pacing,
    /// A silent peer to be probed (RFC 9293 §3.8.4).
    KeepAlive,
    /// An orphan in FIN-WAIT-2, or the 2 MSL of TIME-WAIT.
    Close,
}

impl Timer {
    /// Every timer, in the order in which those that are due are handled.
    pub(crate) const ALL: [Timer; 6] =
        [Timer::Retransmit, Timer::DelayedAck, Timer::Persist, Timer::Pacing, Timer::KeepAlive, Timer::Close];
}

/// When each timer is due; [`Instant::FAR_FUTURE`] when it is not set.
#[derive(Clone, Debug)]
pub(crate) struct Timers([Instant; Timer::ALL.len()]);

impl Timers {
    pub(crate) const fn new() -> Timers {
        Timers([Instant::FAR_FUTURE; Timer::ALL.len()])
    }

    #[inline]
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.0[timer as usize] = at;
    }

    #[inline]
    pub(crate) fn stop(&mut self, timer: Timer) {
        self.0[timer as usize] = Instant::FAR_FUTURE;
    }

    pub(crate) fn stop_all(&mut self) {
        *self = Timers::new();
    }

    #[inline]
    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.0[timer as usize] != Instant::FAR_FUTURE
    }

    #[inline]
    pub(crate) fn deadline(&self, timer: Timer) -> Instant {
        self.0[timer as usize]
    }

    /// Stops `timer` if it is due, and says whether it was.
    pub(crate) fn take_due(&mut self, timer: Timer, now: Instant) -> bool {
        let due = self.is_set(timer) && self.0[timer as usize] <= now;
        if due {
            self.stop(timer);
        }
        due
    }

    /// When the earliest is due; [`Instant::FAR_FUTURE`] when none is set.
    #[inline]
    pub(crate) fn earliest(&self) -> Instant {
        self.0.iter().copied().fold(Instant::FAR_FUTURE, Instant::min)
    }

    /// The earliest timer that is set.
    pub(crate) fn next(&self) -> Option<(Instant, Timer)> {
        let at = self.earliest();
        let which = || Timer::ALL.into_iter().find(|timer| self.deadline(*timer) == at);
        (at != Instant::FAR_FUTURE).then(|| (at, which().unwrap_or(Timer::Close)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_timer_is_next() {
        let mut timers = Timers::new();
        assert_eq!(timers.next(), None);
        timers.set(Timer::KeepAlive, Instant::from_millis(50));
        timers.set(Timer::DelayedAck, Instant::from_millis(40));
        assert_eq!(timers.next(), Some((Instant::from_millis(40), Timer::DelayedAck)));
        assert!(!timers.take_due(Timer::DelayedAck, Instant::from_millis(39)));
        assert!(timers.take_due(Timer::DelayedAck, Instant::from_millis(40)));
        assert_eq!(timers.next(), Some((Instant::from_millis(50), Timer::KeepAlive)));
    }
}
