//! What passes beside the wire, by [lanes](crate::lane): over which ways it may, and how it is counted.

use super::{Inner, Wire, WireSubnet};
use crate::lane::{Counted, Lane};
use crate::sync::MutexGuard;
use sockeye_link::fabric::PortId;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The most lanes of a network.
const MOST: usize = 128;

/// A host, and the place of one of its interfaces.
type FarEnd = (u32, usize);

/// A lane whose datagrams would pass here.
#[derive(Debug)]
pub(super) struct WireLane {
    lane: Arc<Lane>,
    passage: Passage,
}

/// From one port of a subnet to another.
#[derive(Debug)]
struct Passage {
    subnet: usize,
    from: PortId,
    to: PortId,
}

impl Wire {
    /// The host, and its interface, that gets what a host sends by an interface to an address, at once and unseen, where nothing
    /// is on the way to it.
    pub(crate) fn clear_way(&self, host: u32, nic: usize, to: IpAddr) -> Option<FarEnd> {
        self.lock().clear_way(host, nic, to).map(|(far, _)| far)
    }

    /// As [`Wire::clear_way`], and the lane is closed by whoever changes something here.
    pub(crate) fn lay_lane(&self, host: u32, nic: usize, lane: &Arc<Lane>) -> Option<FarEnd> {
        let mut inner = self.lock();
        let (far, passage) = inner.clear_way(host, nic, SocketAddr::from(lane.way().to).ip())?;
        if inner.lanes.len() >= MOST {
            inner.lanes.iter().for_each(|lane| lane.lane.close());
        }
        inner.count_lanes();
        inner.lanes.push(WireLane { lane: Arc::clone(lane), passage });
        Some(far)
    }

    /// The same for who changes where packets go, or who sees them: nothing passes beside the wire any more.
    pub(super) fn lock_to_change(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.lock();
        inner.lanes.iter().for_each(|lane| lane.lane.close());
        inner.count_lanes();
        inner
    }
}

impl Inner {
    /// See [`Wire::clear_way`].
    fn clear_way(&self, host: u32, nic: usize, to: IpAddr) -> Option<(FarEnd, Passage)> {
        let (subnet, from) = self.place(host, nic).filter(|_| !self.has_captures)?;
        let WireSubnet { fabric, owners } = &self.subnets[subnet];
        let to = fabric.clear_way(from, to)?;
        let far = owners[to.index()];
        let ports = &self.hosts.get(far as usize)?.as_ref()?.ports;
        let place = ports.iter().position(|port| port.place == Some((subnet, to)))?;
        Some(((far, place), Passage { subnet, from, to }))
    }

    /// Counts what has passed by lanes, and forgets those that are closed.
    pub(super) fn count_lanes(&mut self) {
        let Inner { lanes, subnets, .. } = self;
        lanes.retain(|WireLane { lane, passage: Passage { subnet, from, to } }| {
            let is_open = !lane.is_closed();
            subnets[*subnet].fabric.count_passed(*from, *to, lane.count(Counted::Wire));
            is_open
        });
    }
}
