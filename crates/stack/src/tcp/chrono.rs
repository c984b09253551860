//! What limits a connection, and for how long (`tcpi_busy_time`, `tcpi_rwnd_limited`, `tcpi_sndbuf_limited`).
//!
//! At any time at most one limit is charged: of several that hold, the last in the order of [`Limit`].

use core::time::Duration;
use sockeye_packet::Instant;

/// What keeps data from being delivered faster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Limit {
    /// Nothing is to be delivered.
    #[default]
    Idle,
    /// The network: data is in flight or waits for `cwnd`.
    Busy,
    /// The peer's window.
    Rwnd,
    /// The send buffer: it is full, and all that it holds is in flight.
    Sndbuf,
}

/// The time charged to each limit.
#[derive(Clone, Debug, Default)]
pub(super) struct Chrono {
    limit: Limit,
    since: Instant,
    /// Nanoseconds, from [`Limit::Busy`] on.
    spent: [u64; 3],
}

impl Chrono {
    /// This limit holds.
    #[inline]
    pub(super) fn start(&mut self, now: Instant, limit: Limit) {
        if limit > self.limit {
            self.set(now, limit);
        }
    }

    /// This limit holds no more; `idle`: nor is anything left to be delivered.
    #[inline]
    pub(super) fn stop(&mut self, now: Instant, limit: Limit, idle: bool) {
        if idle {
            self.set(now, Limit::Idle);
        } else if limit == self.limit {
            self.set(now, Limit::Busy);
        }
    }

    fn set(&mut self, now: Instant, limit: Limit) {
        if limit == self.limit {
            return;
        }
        if let Some(spent) = (self.limit as usize).checked_sub(1).and_then(|at| self.spent.get_mut(at)) {
            *spent += now.saturating_since(self.since).as_nanos() as u64;
        }
        self.limit = limit;
        self.since = now;
    }
}

/// What a [`Chrono`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// All of them together.
    pub(super) busy: Duration,
    pub(super) rwnd: Duration,
    pub(super) sndbuf: Duration,
}

impl Limits {
    pub(super) fn of(chrono: &Chrono, now: Instant) -> Limits {
        let mut chrono = chrono.clone();
        chrono.set(now, Limit::Idle);
        let [busy, rwnd, sndbuf] = chrono.spent.map(Duration::from_nanos);
        Limits { busy: busy + rwnd + sndbuf, rwnd, sndbuf }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn millis(chrono: &Chrono, now: u64) -> [u128; 3] {
        let Limits { busy, rwnd, sndbuf } = Limits::of(chrono, at(now));
        [busy, rwnd, sndbuf].map(|time| time.as_millis())
    }

    #[test]
    fn the_last_limit_in_order_is_charged() {
        let mut chrono = Chrono::default();
        chrono.start(at(100), Limit::Busy);
        chrono.start(at(110), Limit::Rwnd);
        chrono.start(at(120), Limit::Busy);
        assert_eq!(millis(&chrono, 130), [30, 20, 0]);
        chrono.stop(at(140), Limit::Sndbuf, false);
        chrono.stop(at(150), Limit::Rwnd, false);
        chrono.start(at(170), Limit::Sndbuf);
        assert_eq!(millis(&chrono, 175), [75, 40, 5]);
        chrono.stop(at(180), Limit::Busy, true);
        assert_eq!(millis(&chrono, 999), [80, 40, 10]);
    }
}
