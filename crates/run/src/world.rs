//! The network as the supervisor sees it: hosts with a stack each, turned from the supervisor's own loop.

use sockeye::{Host, HostId, Network};
use sockeye_packet::Instant;
use sockeye_stack::{Event, Stack};

/// A network that nobody else turns.
#[derive(Debug)]
pub(crate) struct World {
    network: Network,
    /// By number.
    hosts: Vec<Host>,
}

impl World {
    /// Takes a network over.
    pub(crate) fn new(network: Network) -> World {
        let mut hosts = network.hosts();
        hosts.push(network.gateway());
        hosts.sort_by_key(|host| host.id().index());
        World { network, hosts }
    }

    /// Takes note of a host that was added to the network.
    pub(crate) fn add(&mut self, host: Host) {
        debug_assert_eq!(host.id().index(), self.hosts.len());
        self.hosts.push(host);
    }

    /// Whether there is such a host.
    pub(crate) fn has(&self, host: HostId) -> bool {
        host.index() < self.hosts.len()
    }

    /// The network.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// A call on a host's stack. What it starts is carried out by the next [`World::turn`].
    pub(crate) fn with<R>(&self, host: HostId, call: impl FnOnce(&mut Stack) -> R) -> R {
        self.hosts[host.index()].with_stack(|stack, _| call(stack))
    }

    /// Lets packets and time move on; returns when to come back.
    pub(crate) fn turn(&self, now: Instant) -> Option<Instant> {
        self.network.turn(now)
    }

    /// The next change of a socket.
    pub(crate) fn poll_event(&self) -> Option<(HostId, Event)> {
        self.network.poll_event()
    }
}
