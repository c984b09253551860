//! Who can't reach whom.

use super::PortId;
use super::route::destination;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Pairs that nothing passes between.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    /// Ports, the lower one first.
    ports: BTreeSet<(PortId, PortId)>,
    /// A port, and an address that is behind a router.
    addresses: BTreeSet<(PortId, IpAddr)>,
}

impl Partitions {
    /// Whether nobody is parted from anybody.
    pub(super) fn is_empty(&self) -> bool {
        self.ports.is_empty() && self.addresses.is_empty()
    }

    pub(super) fn part(&mut self, a: PortId, b: PortId) {
        self.ports.insert((a.min(b), a.max(b)));
    }

    pub(super) fn heal(&mut self, a: PortId, b: PortId) {
        self.ports.remove(&(a.min(b), a.max(b)));
    }

    pub(super) fn block(&mut self, port: PortId, address: IpAddr) {
        self.addresses.insert((port, address));
    }

    pub(super) fn unblock(&mut self, port: PortId, address: IpAddr) {
        self.addresses.remove(&(port, address));
    }

    /// Whether a packet from one port to another is stopped.
    pub(super) fn stop(&self, from: PortId, to: PortId, head: &[u8]) -> bool {
        if self.is_empty() {
            return false;
        }
        self.ports.contains(&(from.min(to), from.max(to)))
            || destination(head).is_some_and(|address| self.addresses.contains(&(from, address)))
    }

    /// Forgets a port.
    pub(super) fn forget(&mut self, port: PortId) {
        self.ports.retain(|&(a, b)| a != port && b != port);
        self.addresses.retain(|&(from, _)| from != port);
    }
}
