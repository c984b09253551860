//! An IP-level switch in memory, to which hosts are attached by ports.
//!
//! Sans-IO, with the five words of every layer: packets enter by [`Fabric::send`], leave by
//! [`Fabric::receive`], and [`Fabric::poll_timeout`] says when [`Fabric::handle_timeout`] has something to do.
//! [`Fabric::poll_ready`] names the ports with something to receive, so that nobody looks at all of them.
//!
//! Each port has conditions in each direction. Where none are set, a super-segment passes whole, at once,
//! in order and without an allocation. Packets to groups and broadcasts go to all hosts. The switch is not a router: it leaves TTL and hop limit alone. Where
//! routers are attached to it, packets name theirs in [`Meta::next_hop`](sockeye_packet::Meta), and go there
//! whatever their destination is. For addresses that nobody has, it answers in the name of the gateway (RFC 1812 §4.3.3.1, RFC 4443 §3.1).

use crate::netem::{Netem, NetemConfig, NetemCounters};
use held::{Held, Way};
use partitions::Partitions;
use port::{Port, Ports};
use route::{Route, Routes};
use schedule::Schedule;
use sockeye_packet::{Batch, Instant, Packet, Rng};
use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

mod held;
mod partitions;
mod port;
mod route;
mod schedule;
mod unreachable;

pub use port::{PortCounters, PortId};

/// What a fabric is made with.
#[derive(Clone, Debug)]
pub struct FabricConfig {
    /// The IPv4 subnet: an address in it and the length of its prefix.
    pub subnet_v4: (Ipv4Addr, u8),
    /// The IPv6 subnet: an address in it and the length of its prefix.
    pub subnet_v6: (Ipv6Addr, u8),
    /// In whose name the fabric reports unreachable IPv4 addresses.
    pub gateway_v4: Ipv4Addr,
    /// In whose name the fabric reports unreachable IPv6 addresses.
    pub gateway_v6: Ipv6Addr,
    /// What all verdicts depend on.
    pub seed: [u8; 32],
}

impl Default for FabricConfig {
    /// 10.77.0.0/16 and `fd77::/64` with the gateway at .1 and `::1`, and a seed of zeros.
    fn default() -> FabricConfig {
        FabricConfig {
            subnet_v4: (Ipv4Addr::new(10, 77, 0, 0), 16),
            subnet_v6: (Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0), 64),
            gateway_v4: Ipv4Addr::new(10, 77, 0, 1),
            gateway_v6: Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1),
            seed: [0; 32],
        }
    }
}

/// One of the two ways through a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From the host to the switch.
    Up,
    /// From the switch to the host.
    Down,
}

/// Why a fabric refused a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FabricError {
    /// Another port, or this one, has the address already.
    AddressTaken(IpAddr),
    /// A port can't have this address: it is unspecified, multicast or broadcast.
    NotUnicast(IpAddr),
    /// The port was removed.
    NoPort(PortId),
}

impl fmt::Display for FabricError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FabricError::AddressTaken(address) => {
                write!(f, "address {address} is in use on this network; choose another")
            }
            FabricError::NotUnicast(address) => {
                write!(f, "{address} can't be a host's address; choose a unicast address of the subnet")
            }
            FabricError::NoPort(port) => write!(f, "{port} of the network is gone"),
        }
    }
}

impl std::error::Error for FabricError {}

/// The switch.
///
/// ```
/// use sockeye_link::{Fabric, FabricConfig};
/// use sockeye_packet::{Batch, Chunk, Instant, Meta, Packet};
///
/// let mut fabric = Fabric::new(FabricConfig::default());
/// let client = fabric.add_port(&["10.77.0.2".parse()?], "delay 40ms".parse()?)?;
/// let server = fabric.add_port(&["10.77.0.3".parse()?], "delay 40ms".parse()?)?;
///
/// let mut batch = Batch::new();
/// let header = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 253, 0, 0, 10, 77, 0, 2, 10, 77, 0, 3];
/// batch.push(Packet::from_bytes(&Chunk::copy_from(&header), Meta::default()));
/// fabric.send(Instant::ZERO, client, &mut batch);
///
/// while let Some(due) = fabric.poll_timeout() {
///     fabric.handle_timeout(due);
/// }
/// assert_eq!(fabric.poll_ready(), Some(server));
/// fabric.receive(server, &mut batch);
/// assert_eq!(batch.pop().unwrap().meta.received_at, Instant::from_millis(80));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Fabric {
    config: FabricConfig,
    rng: Rng,
    ports: Ports,
    routes: Routes,
    schedule: Schedule,
    partitions: Partitions,
    held: Held,
    /// Ports with packets to receive, each once.
    ready: VecDeque<PortId>,
}

impl Fabric {
    /// A switch without ports.
    pub fn new(config: FabricConfig) -> Fabric {
        let mut rng = Rng::new(config.seed);
        Fabric {
            routes: Routes::new(&config, [rng.next_u64(), rng.next_u64()]),
            rng,
            config,
            ports: Ports::default(),
            schedule: Schedule::default(),
            partitions: Partitions::default(),
            held: Held::default(),
            ready: VecDeque::new(),
        }
    }

    /// What the fabric was made with.
    pub fn config(&self) -> &FabricConfig {
        &self.config
    }

    /// Attaches a host with these addresses, under the same conditions in each direction.
    pub fn add_port(&mut self, addresses: &[IpAddr], link: NetemConfig) -> Result<PortId, FabricError> {
        for (index, &address) in addresses.iter().enumerate() {
            self.routes.check(address)?;
            if addresses[..index].contains(&address) {
                return Err(FabricError::AddressTaken(address));
            }
        }
        let mut netem = || Netem::new(link, Rng::new(self.rng.next_seed()));
        let (up, down) = (netem(), netem());
        let id = self.ports.insert(Port::new(up, down));
        for &address in addresses {
            self.routes.add(address, id);
        }
        Ok(id)
    }

    /// Detaches a host. What is under way to or from it is lost.
    pub fn remove_port(&mut self, id: PortId) {
        if self.ports.remove(id).is_some() {
            self.routes.remove_port(id);
            self.partitions.forget(id);
            self.held.forget(id);
            self.ready.retain(|&port| port != id);
            self.purge_schedule();
        }
    }

    /// Detaches a host in good order: its addresses are free and nothing reaches it any more, but what it has
    /// sent goes on. The port is removed once that has left it.
    pub fn retire_port(&mut self, id: PortId) {
        let Some(port) = self.ports.get_mut(id) else { return };
        port.retire();
        let is_quiet = port.up.poll_timeout().is_none();
        self.routes.remove_port(id);
        if is_quiet {
            self.remove_port(id);
        }
    }

    /// Gives a port one more address, which may lie outside the subnet.
    pub fn add_address(&mut self, id: PortId, address: IpAddr) -> Result<(), FabricError> {
        self.ports.get(id).ok_or(FabricError::NoPort(id))?;
        self.routes.check(address)?;
        self.routes.add(address, id);
        Ok(())
    }

    /// Takes an address away from whichever port has it.
    pub fn remove_address(&mut self, address: IpAddr) {
        self.routes.remove(address);
    }

    /// The port that has an address.
    pub fn port_of(&self, address: IpAddr) -> Option<PortId> {
        self.routes.owner(address)
    }

    /// Which port gets what leaves the subnet; with none, such packets are unreachable.
    pub fn set_gateway(&mut self, gateway: Option<PortId>) {
        self.routes.set_gateway(gateway);
    }

    /// Changes a port's conditions in one direction, for packets sent from now on.
    pub fn set_link(&mut self, id: PortId, way: Direction, link: NetemConfig) -> Result<(), FabricError> {
        let port = self.ports.get_mut(id).ok_or(FabricError::NoPort(id))?;
        port.netem_mut(way).set_config(link);
        Ok(())
    }

    /// A port's conditions in one direction.
    pub fn link(&self, id: PortId, way: Direction) -> Option<&NetemConfig> {
        Some(self.ports.get(id)?.netem(way).config())
    }

    /// Parts two ports: nothing passes between them, in silence, until [`Fabric::heal`].
    pub fn partition(&mut self, a: PortId, b: PortId) {
        if self.ports.get(a).is_some() && self.ports.get(b).is_some() {
            self.partitions.part(a, b);
        }
    }

    /// Ends a partition.
    pub fn heal(&mut self, a: PortId, b: PortId) {
        self.partitions.heal(a, b);
    }

    /// Has nothing pass from a port to an address, in silence, until [`Fabric::unblock`]: a partition from a host
    /// that is behind a router.
    pub fn block(&mut self, id: PortId, address: IpAddr) {
        if self.ports.get(id).is_some() {
            self.partitions.block(id, address);
        }
    }

    /// Takes back [`Fabric::block`].
    pub fn unblock(&mut self, id: PortId, address: IpAddr) {
        self.partitions.unblock(id, address);
    }

    /// Has what passes between two ports wait, as if the way were very long, until [`Fabric::release`].
    pub fn hold(&mut self, a: PortId, b: PortId) {
        if self.ports.get(a).is_some() && self.ports.get(b).is_some() {
            self.held.hold(Way::between(a, b));
        }
    }

    /// Sends on what has waited between two ports, in order; nothing waits from now on.
    pub fn release(&mut self, now: Instant, a: PortId, b: PortId) {
        self.send_on(now, Way::between(a, b));
    }

    /// Has what a port sends to an address wait until [`Fabric::release_to`]: what is held back from a host that is
    /// behind a router.
    pub fn hold_to(&mut self, id: PortId, address: IpAddr) {
        if self.ports.get(id).is_some() {
            self.held.hold(Way::To(id, address));
        }
    }

    /// Sends on what has waited for [`Fabric::hold_to`], in order.
    pub fn release_to(&mut self, now: Instant, id: PortId, address: IpAddr) {
        self.send_on(now, Way::To(id, address));
    }

    fn send_on(&mut self, now: Instant, way: Way) {
        for (to, packet) in self.held.release(way) {
            self.deliver(now, to, packet);
        }
    }

    /// What became of the packets of a port.
    pub fn counters(&self, id: PortId) -> Option<PortCounters> {
        self.ports.get(id).map(|port| port.counters)
    }

    /// What became of the segments in one direction of a port, while it had conditions.
    pub fn netem_counters(&self, id: PortId, way: Direction) -> Option<NetemCounters> {
        Some(self.ports.get(id)?.netem(way).counters())
    }

    /// The port that gets at once what the host at `from` sends to an address: there are no conditions on the way, nothing is
    /// parted or held, and nothing that was sent there before waits.
    pub fn clear_way(&self, from: PortId, to: IpAddr) -> Option<PortId> {
        let Route::Port(id) = self.routes.look_up(to) else { return None };
        let (port, far) = (self.ports.get(from)?, self.ports.get(id)?);
        let is_free = self.partitions.is_empty() && self.held.is_empty() && id != from;
        let is_clear = port.up.is_clear() && far.down.is_clear() && !far.is_retired && far.inbox.is_empty();
        (is_free && is_clear).then_some(id)
    }

    /// Counts packets that went along a [clear way](Fabric::clear_way) without passing here.
    pub fn count_passed(&mut self, from: PortId, to: PortId, count: u64) {
        self.count(from, |counters| counters.sent += count);
        self.count(to, |counters| counters.received += count);
    }

    /// Takes all packets of the batch, sent by the host at a port.
    pub fn send(&mut self, now: Instant, id: PortId, batch: &mut Batch) {
        while let Some(packet) = batch.pop() {
            let Some(port) = self.ports.get_mut(id) else { continue };
            port.counters.sent += 1;
            if port.up.is_clear() {
                self.forward(now, id, packet);
            } else {
                port.up.enqueue(now, packet);
                self.reschedule(id, Direction::Up);
            }
        }
    }

    /// Appends what has arrived at a port, oldest first, until the batch is full or nothing is left.
    ///
    /// What is left makes the port ready again.
    pub fn receive(&mut self, id: PortId, batch: &mut Batch) {
        let Some(port) = self.ports.get_mut(id) else { return };
        port.receive(batch);
        if !port.inbox.is_empty() && !port.is_ready {
            port.is_ready = true;
            self.ready.push_back(id);
        }
    }

    /// Takes the next port that has something to receive.
    ///
    /// A port is named once until it is asked for its packets, in the order in which ports became ready.
    pub fn poll_ready(&mut self) -> Option<PortId> {
        let id = self.ready.pop_front()?;
        if let Some(port) = self.ports.get_mut(id) {
            port.is_ready = false;
        }
        Some(id)
    }

    /// When the next packet under way is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.schedule.next()
    }

    /// Moves on what is due at `now`, in the order in which it is due.
    ///
    /// A packet goes on at the time at which it was due, not at `now`: a late call adds no delay to the
    /// conditions further on its way.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((due, id, way)) = self.schedule.pop_due(now) {
            let Some(port) = self.ports.get_mut(id) else { continue };
            if !port.take_deadline(way, due) {
                continue;
            }
            while let Some((at, packet)) = self.ports.get_mut(id).and_then(|p| p.netem_mut(way).dequeue(due))
            {
                match way {
                    Direction::Up => self.forward(at, id, packet),
                    Direction::Down => self.arrive(at, id, packet),
                }
            }
            self.reschedule(id, way);
            if self.ports.get(id).is_some_and(|port| port.is_retired && port.up.poll_timeout().is_none()) {
                self.remove_port(id);
            }
        }
        self.purge_schedule();
    }

    /// Sends a packet that came from a port to where its destination address points.
    fn forward(&mut self, at: Instant, from: PortId, packet: Packet) {
        let route = match packet.meta.next_hop {
            Some(router) => self.routes.via(router),
            None => self.routes.find(&packet.head),
        };
        match route {
            Route::Port(to) => self.pass(at, from, to, packet),
            Route::All => {
                let others: Vec<PortId> = self.ports.ids().filter(|&to| to != from).collect();
                for to in others {
                    self.pass(at, from, to, packet.clone());
                }
            }
            Route::Unreachable(why) => {
                self.count(from, |c| c.unreachable += 1);
                let Some(port) = self.ports.get_mut(from) else { return };
                let Some(sender) = unreachable::may_be_told(&packet) else { return };
                // The bound comes before the work: a flood must not be answered by copying it.
                if port.errors.try_take(at) {
                    let error = unreachable::report(&self.config, sender, &packet, why);
                    self.deliver(at, from, error);
                }
            }
            Route::Nowhere => self.count(from, |c| c.unroutable += 1),
        }
    }

    /// Sends a packet from one port to another, unless something is between them.
    fn pass(&mut self, at: Instant, from: PortId, to: PortId, packet: Packet) {
        if self.partitions.stop(from, to, &packet.head) {
            return self.count(from, |c| c.partitioned += 1);
        }
        match self.held.find(from, to, &packet.head) {
            None => self.deliver(at, to, packet),
            Some(way) => {
                if !self.held.push(way, to, packet) {
                    self.count(from, |c| c.partitioned += 1);
                }
            }
        }
    }

    /// Sends a packet down to a port's host.
    fn deliver(&mut self, at: Instant, to: PortId, packet: Packet) {
        let Some(port) = self.ports.get_mut(to).filter(|port| !port.is_retired) else { return };
        if port.down.is_clear() {
            self.arrive(at, to, packet);
        } else {
            port.down.enqueue(at, packet);
            self.reschedule(to, Direction::Down);
        }
    }

    /// Puts a packet where the host at a port will fetch it.
    fn arrive(&mut self, at: Instant, to: PortId, packet: Packet) {
        let Some(port) = self.ports.get_mut(to).filter(|port| !port.is_retired) else { return };
        port.accept(at, packet);
        if !port.is_ready {
            port.is_ready = true;
            self.ready.push_back(to);
        }
    }

    fn count(&mut self, id: PortId, change: impl FnOnce(&mut PortCounters)) {
        if let Some(port) = self.ports.get_mut(id) {
            change(&mut port.counters);
        }
    }

    /// Makes sure that the schedule holds the first deadline of a direction.
    fn reschedule(&mut self, id: PortId, way: Direction) {
        if let Some(due) = self.ports.get_mut(id).and_then(|port| port.new_deadline(way)) {
            self.schedule.push(due, id, way);
        }
    }

    /// Drops entries at the front of the schedule that no longer stand for anything.
    fn purge_schedule(&mut self) {
        let ports = &self.ports;
        self.schedule.purge(|due, id, way| ports.get(id).is_some_and(|port| port.deadline(way) == Some(due)));
    }
}

#[cfg(test)]
mod tests;
