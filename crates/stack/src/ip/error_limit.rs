//! How many ICMP errors leave a host (RFC 1122 §3.2.2, RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)), as Linux limits
//! them: each destination gets one in [`icmp_interval`](crate::Config::icmp_interval) after a burst of six, all
//! together [`icmp_rate`](crate::Config::icmp_rate) a second. Answers that are no errors are not limited, nor is
//! what path MTU discovery waits for.

use crate::counters::Counter;
use crate::io::Io;
use crate::sip::sip;
use alloc::vec::Vec;
use core::time::Duration;
use sockeye_packet::{Instant, NicId};

/// How many errors a destination may get at once.
const BURST: u32 = 6;
/// Destinations that are remembered at once. Who is forgotten gets a burst again; the limit on all errors bounds
/// what that can come to.
const PEERS: usize = 1024;
/// A destination may be in this many places of the table.
const WAYS: usize = 4;

/// The limits of one host.
#[derive(Debug)]
pub(crate) struct ErrorLimit {
    key: [u64; 2],
    all: RateLimit,
    /// Empty until the first error is sent.
    peers: Vec<Peer>,
}

/// A token bucket of at most `burst` tokens.
#[derive(Debug)]
struct RateLimit {
    /// Nanoseconds that a token is earned in; none when there are no tokens at all.
    cost: Option<u64>,
    burst: u32,
    /// Nanoseconds of credit.
    credit: u64,
    last: Instant,
}

impl RateLimit {
    fn with_burst(per_second: u32, burst: u32) -> RateLimit {
        let cost = 1_000_000_000_u64.checked_div(per_second.into());
        let credit = cost.unwrap_or(0) * u64::from(burst);
        RateLimit { cost, burst, credit, last: Instant::ZERO }
    }

    /// Whether there is a token.
    fn has_credit(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_since(self.last);
        self.last = self.last.max(now);
        let Some(cost) = self.cost else { return false };
        let elapsed = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.credit = self.credit.saturating_add(elapsed).min(cost * u64::from(self.burst));
        self.credit >= cost
    }

    /// Takes so many tokens, or what is left of them, if there is one.
    fn take(&mut self, now: Instant, tokens: u64) -> bool {
        let allowed = self.has_credit(now);
        if allowed {
            self.credit = self.credit.saturating_sub(self.cost.unwrap_or(0).saturating_mul(tokens));
        }
        allowed
    }
}

/// What a destination may still get.
#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    ip: [u8; 16],
    credit: Duration,
    last: Instant,
}

impl Peer {
    /// Takes one if there is one.
    fn take(&mut self, now: Instant, interval: Duration) -> bool {
        let earned = now.saturating_since(self.last);
        self.last = self.last.max(now);
        self.credit = self.credit.saturating_add(earned).min(interval * BURST);
        let rest = self.credit.checked_sub(interval);
        self.credit = rest.unwrap_or(self.credit);
        rest.is_some()
    }
}

impl ErrorLimit {
    pub(crate) fn new(key: [u64; 2], rate: u32, burst: u32) -> ErrorLimit {
        ErrorLimit { key, all: RateLimit::with_burst(rate, burst), peers: Vec::new() }
    }

    /// The record of a destination, in place of another one if need be.
    fn peer(&mut self, now: Instant, ip: [u8; 16], interval: Duration) -> &mut Peer {
        if self.peers.is_empty() {
            self.peers.resize(PEERS, Peer::default());
        }
        let set = sip(self.key, &ip) as usize % (PEERS / WAYS) * WAYS;
        let ways = &mut self.peers[set..set + WAYS];
        let at = ways.iter().position(|peer| peer.ip == ip).unwrap_or_else(|| {
            let oldest = (0..WAYS).min_by_key(|way| ways[*way].last).unwrap_or(0);
            ways[oldest] = Peer { ip, credit: interval * BURST, last: now };
            oldest
        });
        &mut ways[at]
    }
}

impl Io {
    /// Whether an error of this type and code may be sent to `dst` by `nic` now; counts it if not.
    pub(crate) fn may_send_error(
        &mut self,
        now: Instant,
        nic: NicId,
        dst: &[u8; 16],
        v4: bool,
        (kind, code): (u8, u8),
    ) -> bool {
        let finds_mtu = if v4 { (kind, code) == (3, 4) } else { kind == 2 };
        if finds_mtu {
            return true;
        }
        if !self.error_limit.all.has_credit(now) {
            self.counters.bump(Counter::IcmpOutRateLimitGlobal);
            return false;
        }
        // As the kernel: a host may complain to itself as it likes.
        if nic != NicId::LOOPBACK {
            let interval = self.error_interval(dst, v4);
            if !self.error_limit.peer(now, *dst, interval).take(now, interval) {
                self.counters.bump(Counter::IcmpOutRateLimitHost);
                return false;
            }
        }
        self.may_send_any_error(now)
    }

    /// Whether the limit on all errors together lets one pass; counts it if not.
    pub(crate) fn may_send_any_error(&mut self, now: Instant) -> bool {
        // A few more are charged than are sent, so that nobody can count what is left (as the kernel, against
        // "SAD DNS").
        let cost = 1 + self.rng.below(3).saturating_sub(1);
        let allowed = self.error_limit.all.take(now, cost);
        if !allowed {
            self.counters.bump(Counter::IcmpOutRateLimitGlobal);
        }
        allowed
    }

    /// Time between two errors to a destination. As the kernel: shorter over IPv6 where many are behind one route.
    fn error_interval(&self, dst: &[u8; 16], v4: bool) -> Duration {
        let interval = self.config.icmp_interval;
        if v4 {
            return interval;
        }
        let prefix = self.routes.find(dst, None).map_or(128, |route| route.prefix.min(128));
        interval / (1 << ((128 - prefix) >> 5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_errors_together_have_a_burst_and_then_their_rate() {
        let mut limit = RateLimit::with_burst(10, 4);
        let count = |limit: &mut RateLimit, now| (0..100).filter(|_| limit.take(now, 1)).count();
        assert_eq!(count(&mut limit, Instant::from_millis(5)), 4);
        assert_eq!(count(&mut limit, Instant::from_millis(305)), 3);
        assert_eq!(count(&mut limit, Instant::from_millis(9000)), 4);
        assert!(limit.take(Instant::from_millis(9100), 9), "the last one may cost more than there is");
        assert!(!RateLimit::with_burst(0, 4).take(Instant::ZERO, 1));
    }

    #[test]
    fn a_destination_gets_six_at_once_and_then_one_in_an_interval() {
        let interval = Duration::from_secs(1);
        let mut limit = ErrorLimit::new([1, 2], 1000, 50);
        let mut count = |ip: u8, millis| {
            let now = Instant::from_millis(millis);
            (0..100).filter(|_| limit.peer(now, [ip; 16], interval).take(now, interval)).count()
        };
        assert_eq!((count(1, 10), count(2, 20)), (6, 6));
        assert_eq!((count(1, 900), count(1, 1010), count(1, 3500)), (0, 1, 2));
        assert_eq!(count(1, 60_000), 6);
    }

    #[test]
    fn the_table_of_destinations_is_bounded() {
        let mut limit = ErrorLimit::new([1, 2], 1000, 50);
        assert_eq!(limit.peers.len(), 0);
        for number in 1..100_000_u128 {
            let now = Instant::from_millis(number as u64);
            assert!(
                limit
                    .peer(now, number.to_be_bytes(), Duration::from_secs(1))
                    .take(now, Duration::from_secs(1))
            );
        }
        assert_eq!(limit.peers.len(), PEERS);
    }
}
