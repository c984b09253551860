//! How long the wire is silent while programs wait.
//!
//! Both programs of a run always have something to send, to read or to end, so somebody must always be about to
//! send: at the latest when a retransmission timeout is over. A silence is measured in timeouts: the longer one of
//! those that the two ends had in force when the silence began (`TCP_INFO`). An end that is closed tells its timeout
//! no more, and a timeout without progress doubles: after a silence without progress the measure is at least twice
//! that silence.

use std::time::Duration;

use sockeye_packet::Instant;

/// The timeout of an end that says none: the least one of the kernel.
const LEAST_TIMEOUT: Duration = Duration::from_millis(200);
/// The timeout before the first measurement (RFC 6298 §2.1).
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Silence {
    last_packet: Instant,
    progress: u64,
    /// The longest silence since there was progress.
    episode: Duration,
    /// The timeout in force since the last packet.
    timeout: Duration,
    longest: f64,
}

impl Silence {
    pub(crate) fn new(now: Instant) -> Silence {
        let (episode, timeout) = (Duration::ZERO, FIRST_TIMEOUT);
        Silence { last_packet: now, progress: 0, episode, timeout, longest: 0.0 }
    }

    /// A packet was sent. `timeout` is now in force; `progress` grows with what is received.
    pub(crate) fn packet(&mut self, now: Instant, timeout: Duration, progress: u64) {
        let silence = self.since(now);
        self.longest = self.longest.max(silence.as_secs_f64() / self.timeout.as_secs_f64());
        self.episode = if progress > self.progress { Duration::ZERO } else { self.episode.max(silence) };
        // Until data flows, the segment that is missing may be a SYN.
        let least = if progress > 0 { LEAST_TIMEOUT } else { FIRST_TIMEOUT };
        self.timeout = timeout.max(least).max(self.episode * 2);
        (self.last_packet, self.progress) = (now, progress);
    }

    /// The longest silence so far, in timeouts.
    pub(crate) fn longest(&self) -> f64 {
        self.longest
    }

    /// How long it has been silent.
    pub(crate) fn since(&self, now: Instant) -> Duration {
        now - self.last_packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silences_are_measured_in_the_timeouts_in_force() {
        let mut silence = Silence::new(Instant::ZERO);
        silence.packet(Instant::from_millis(10), Duration::from_millis(400), 1);
        silence.packet(Instant::from_millis(610), Duration::from_millis(400), 1);
        assert!((silence.longest() - 1.5).abs() < 1e-9);
    }

    #[test]
    fn a_timer_that_backs_off_is_no_stall() {
        let mut silence = Silence::new(Instant::ZERO);
        let mut now = 1;
        silence.packet(Instant::from_millis(now), Duration::from_millis(200), 1);
        for pause in [200, 400, 800, 1600, 3200] {
            now += pause;
            silence.packet(Instant::from_millis(now), Duration::from_millis(200), 1);
        }
        assert!(silence.longest() < 1.01, "{}", silence.longest());
        // Progress ends that.
        silence.packet(Instant::from_millis(now), Duration::from_millis(200), 2);
        silence.packet(Instant::from_millis(now + 800), Duration::from_millis(200), 2);
        assert!(silence.longest() > 3.9, "{}", silence.longest());
    }
}
