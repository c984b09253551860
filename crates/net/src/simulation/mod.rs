//! Virtual time: a network whose clock jumps from one event to the next, and the programs on its hosts.
#![cfg_attr(feature = "simulation", doc = "")]
#![cfg_attr(feature = "simulation", doc = include_str!("guide.md"))]

#[cfg(feature = "simulation")]
mod clockwork;
#[cfg(feature = "simulation")]
mod programs;
mod seeds;
#[cfg(feature = "simulation")]
mod task;

pub use seeds::{Outcome, simulate};

#[cfg(feature = "simulation")]
pub use programs::Stalled;
#[cfg(feature = "simulation")]
pub(crate) use task::HostTasks;
#[cfg(feature = "simulation")]
pub use task::{current_host, spawn};

use crate::{Error, Host, HostConfig, Network};
use sockeye_packet::{Instant, Rng};
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

/// A network under virtual time, made by [`NetworkBuilder::simulate`](crate::NetworkBuilder::simulate).
///
/// When nothing is left to do at one moment, time jumps to the next, in nanoseconds: an hour of delays
/// costs no more than the packets in it. With a [seed](crate::NetworkBuilder::seed), the same calls give the
/// same packets at the same times.
///
/// ```
/// use sockeye::{HostConfig, Network};
/// use std::time::Duration;
///
/// let mut simulation = Network::builder().seed(1).host("lonely", HostConfig::default()).simulate()?;
/// let deadline = simulation.now() + Duration::from_secs(3600);
/// assert!(!simulation.run_until(deadline, |_| false));
/// assert_eq!(simulation.now(), deadline);
/// # Ok::<(), sockeye::Error>(())
/// ```
pub struct Simulation {
    network: Network,
    #[cfg(feature = "simulation")]
    programs: Option<Box<programs::Programs>>,
    /// It belongs to its thread, with or without programs.
    _not_send: PhantomData<Rc<()>>,
}

impl Simulation {
    /// Takes over the clock of a manual network.
    pub(crate) fn new(network: Network) -> Simulation {
        network.shared.core.is_simulated_here();
        Simulation {
            network,
            #[cfg(feature = "simulation")]
            programs: None,
            _not_send: PhantomData,
        }
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Adds a host, as [`Network::add_host`].
    pub fn add_host(&self, name: &str, config: HostConfig) -> Result<Host, Error> {
        self.network.add_host(name, config)
    }

    /// The host with this name, as [`Network::host`].
    pub fn host(&self, name: &str) -> Result<Host, Error> {
        self.network.host(name)
    }

    /// Takes a host down without a word to anybody, as when its power fails: its programs end, its sockets are
    /// gone, what is sent to it vanishes. Its peers find out by their timers, or by a reset once it is up again.
    ///
    /// Handles to its sockets that live on, in tasks that a library has spawned by itself and that aren't
    /// known to be the host's, fail with [`ConnectionReset`](std::io::ErrorKind::ConnectionReset); new
    /// sockets can't be made while it is down ([`NetworkUnreachable`](std::io::ErrorKind::NetworkUnreachable)).
    pub fn crash(&mut self, host: &Host) {
        #[cfg(feature = "simulation")]
        host.core.tasks.abort();
        self.network.replace_stack(host, true);
    }

    /// Brings a host up again that has [crashed](Simulation::crash), with its name, addresses and settings and
    /// nothing else; its programs begin anew. One that is up crashes first.
    pub fn restart(&mut self, host: &Host) {
        #[cfg(feature = "simulation")]
        host.core.tasks.abort();
        self.network.replace_stack(host, false);
        #[cfg(feature = "simulation")]
        self.begin_programs(host);
    }

    /// Parts two hosts, as [`Network::partition`]: what one sends to the other is lost, in silence.
    pub fn partition(&self, a: &Host, b: &Host) {
        self.network.partition(a, b);
    }

    /// Ends a partition.
    pub fn heal(&self, a: &Host, b: &Host) {
        self.network.heal(a, b);
    }

    /// Has what passes between two hosts wait, as [`Network::hold`], until it is released.
    pub fn hold(&self, a: &Host, b: &Host) {
        self.network.hold(a, b);
    }

    /// Sends on what was held between two hosts, in order.
    pub fn release(&self, a: &Host, b: &Host) {
        self.network.release(a, b);
    }

    /// Random numbers for programs and tests, which depend on the seed alone: each call gives a generator of its own.
    pub fn rng(&self) -> Rng {
        Rng::new(self.network.next_seed())
    }

    /// The time in the simulation.
    pub fn now(&self) -> Instant {
        self.network.now()
    }

    /// Does what is due now, or, when that is nothing, moves time to the next event and does that; programs
    /// run until all of them wait again. False when nothing will ever happen again without a socket call.
    pub fn step(&mut self) -> bool {
        self.step_until(Instant::FAR_FUTURE)
    }

    /// Steps until `condition` holds, which is asked after each step, or time reaches `limit`. Says
    /// whether it held.
    ///
    /// With the limit [`Instant::FAR_FUTURE`] it ends when nothing will ever happen again, and time stays where
    /// everything came to rest.
    ///
    /// ```
    /// use sockeye::{HostConfig, Instant, Network};
    ///
    /// let link = "delay 20ms".parse().unwrap();
    /// let near = HostConfig { link, ..HostConfig::default() };
    /// let mut sim = Network::builder().seed(1).host("a", near).host("b", HostConfig::default()).simulate()?;
    /// let (a, b) = (sim.host("a")?, sim.host("b")?);
    /// let inbox = b.udp_bind((&b, 7))?;
    /// a.udp_bind((&a, 7))?.send_to(b"hello", (&b, 7))?;
    /// sim.run_until(Instant::FAR_FUTURE, |_| false);
    /// assert_eq!(sim.now(), Instant::from_millis(20));
    /// assert_eq!(inbox.recv(&mut [0; 8])?, 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
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
                self.finish_at(limit);
                return condition(self);
            }
        }
    }

    /// Runs for a span of virtual time; for one without an end, until nothing will ever happen again.
    pub fn run_for(&mut self, span: Duration) {
        let limit = self.now() + span;
        #[cfg(feature = "simulation")]
        if let Some(programs) = &self.programs {
            return programs.run_until(limit);
        }
        while self.step_until(limit) {}
        self.finish_at(limit);
    }

    /// One step that doesn't go beyond `limit`; false when there is none.
    fn step_until(&mut self, limit: Instant) -> bool {
        #[cfg(feature = "simulation")]
        if let Some(programs) = &self.programs {
            return programs.step_until(limit);
        }
        // Calls since the last turn come first: time doesn't pass while they wait.
        let now = self.now();
        match self.network.turn(now) {
            Some(at) if at <= now => true,
            Some(at) if at < limit => {
                self.network.turn(at);
                true
            }
            _ => false,
        }
    }

    /// Does what is due until `limit`, where time stops.
    fn finish_at(&mut self, limit: Instant) {
        #[cfg(feature = "simulation")]
        if let Some(programs) = &self.programs {
            return programs.run_until(limit);
        }
        // As with programs: at the end of time nothing is due that wasn't before.
        if limit < Instant::FAR_FUTURE {
            self.network.turn(self.now().max(limit));
        }
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Simulation({} {:?})", self.now(), self.network)
    }
}
