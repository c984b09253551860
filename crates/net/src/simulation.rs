//! Virtual time: a network whose clock jumps from one event to the next.

use crate::{Error, Network};
use sockeye_packet::Instant;
use std::time::Duration;

/// A manual network and its clock.
///
/// When nothing is left to do at one moment, time jumps to the next, in nanoseconds: an hour of delays
/// costs no more than the packets in it. With a [seed](crate::NetworkBuilder::seed), the same calls give the
/// same packets at the same times.
///
/// ```
/// use sockeye::{HostConfig, Network, Simulation};
/// use std::time::Duration;
///
/// let network = Network::builder().seed(1).host("lonely", HostConfig::default()).build_manual()?;
/// let mut simulation = Simulation::new(network)?;
/// let deadline = simulation.now() + Duration::from_secs(3600);
/// assert!(!simulation.run_until(deadline, |_| false));
/// assert_eq!(simulation.now(), deadline);
/// # Ok::<(), sockeye::Error>(())
/// ```
#[derive(Debug)]
pub struct Simulation {
    network: Network,
    now: Instant,
}

impl Simulation {
    /// Takes over the clock of a network made by
    /// [`NetworkBuilder::build_manual`](crate::NetworkBuilder::build_manual); others are refused.
    pub fn new(network: Network) -> Result<Simulation, Error> {
        if !network.is_manual() {
            return Err(Error::NotManual);
        }
        let now = network.now();
        Ok(Simulation { network, now })
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The time in the simulation.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Does what is due now, or, when that is nothing, moves time to the next event and does that. False
    /// when nothing will ever happen again without a socket call.
    pub fn step(&mut self) -> bool {
        self.step_until(Instant::FAR_FUTURE)
    }

    /// Steps until `condition` holds, which is asked after each step, or time reaches `limit`. Says
    /// whether it held.
    pub fn run_until(&mut self, limit: Instant, mut condition: impl FnMut(&mut Simulation) -> bool) -> bool {
        loop {
            if condition(self) {
                return true;
            }
            if !self.step_until(limit) {
                // What was waiting to be done now may have been enough.
                if condition(self) {
                    return true;
                }
                self.now = self.now.max(limit);
                self.network.turn(self.now);
                return condition(self);
            }
        }
    }

    /// Steps for a span of virtual time.
    pub fn run_for(&mut self, span: Duration) {
        self.run_until(self.now + span, |_| false);
    }

    /// One step that doesn't go beyond `limit`; false when there is none.
    fn step_until(&mut self, limit: Instant) -> bool {
        // Calls since the last turn come first: time doesn't pass while they wait.
        match self.network.turn(self.now) {
            Some(at) if at <= self.now => true,
            Some(at) if at < limit => {
                self.now = at;
                self.network.turn(at);
                true
            }
            _ => false,
        }
    }
}
