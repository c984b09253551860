//! The wire between the hosts of a network: one fabric for each subnet, which switches packets, and the
//! captures that see them pass.
//!
//! One lock, held for one batch. Hosts are known here by their number, as everywhere in the driver, and their
//! interfaces by their place among the host's, from 0. A host that was removed has no place here any more:
//! what is asked of it does nothing.

use crate::Error;
use crate::capture::{Capture, Interfaces, Sink};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};
use sockeye_link::fabric::{Direction, Fabric, FabricConfig, PortCounters, PortId};
use sockeye_link::netem::{NetemConfig, NetemCounters};
use sockeye_link::pcapng::{PacketDirection, PcapngConfig};
use sockeye_packet::{Batch, Instant, Packet};
use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::PoisonError;

mod lanes;

/// The fabrics and the captures.
#[derive(Debug)]
pub(crate) struct Wire {
    inner: Mutex<Inner>,
    /// When there is something to do next, readable without the lock; [`Instant::FAR_FUTURE`] for never.
    deadline: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    subnets: Vec<WireSubnet>,
    /// By number; none for those that were removed.
    hosts: Vec<Option<Box<WireHost>>>,
    /// Hosts that can't reach each other, the lower number first.
    parted: BTreeSet<(u32, u32)>,
    /// Hosts between which packets wait, the lower number first.
    held: BTreeSet<(u32, u32)>,
    /// What all hosts send.
    capture: Option<Capture>,
    has_captures: bool,
    /// Datagrams that pass beside it.
    lanes: Vec<lanes::WireLane>,
}

#[derive(Debug)]
struct WireSubnet {
    fabric: Fabric,
    /// The hosts at the fabric's ports.
    owners: Vec<u32>,
}

#[derive(Debug)]
struct WireHost {
    name: String,
    ports: Vec<WirePort>,
    /// What this host sends and receives.
    capture: Option<Capture>,
    loopback: Interfaces,
}

#[derive(Debug)]
struct WirePort {
    /// How captures call it.
    name: String,
    /// None for an interface over a link of its own.
    place: Option<(usize, PortId)>,
    addresses: Vec<IpAddr>,
    captured: Interfaces,
}

/// A way that packets take between two hosts, within a subnet.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Between two ports.
    Between(PortId, PortId),
    /// From a port to an address that is behind a router.
    To(PortId, IpAddr),
}

/// An interface to attach.
#[derive(Debug)]
pub(crate) struct Attachment {
    /// How captures call it.
    pub(crate) name: String,
    /// None for an interface over a link of its own.
    pub(crate) subnet: Option<usize>,
    pub(crate) addresses: Vec<IpAddr>,
    /// Up, then down.
    pub(crate) link: [NetemConfig; 2],
}

impl Wire {
    /// A wire with one fabric for each of `subnets`.
    pub(crate) fn new(
        subnets: impl IntoIterator<Item = FabricConfig>,
        capture: Option<(Sink, PcapngConfig)>,
    ) -> Wire {
        let capture = capture.map(|(sink, config)| Capture::new(sink, config));
        let subnet = |config| WireSubnet { fabric: Fabric::new(config), owners: Vec::new() };
        let inner = Inner {
            subnets: subnets.into_iter().map(subnet).collect(),
            hosts: Vec::new(),
            parted: BTreeSet::new(),
            held: BTreeSet::new(),
            has_captures: capture.is_some(),
            capture,
            lanes: Vec::new(),
        };
        Wire { inner: Mutex::new(inner), deadline: AtomicU64::new(u64::MAX) }
    }

    /// Attaches the host whose number comes next.
    pub(crate) fn attach(
        &self,
        name: &str,
        attachments: Vec<Attachment>,
        capture: Option<(Sink, PcapngConfig)>,
    ) -> Result<(), Error> {
        let mut inner = self.lock_to_change();
        let host = inner.hosts.len() as u32;
        let mut ports = Vec::new();
        for attachment in attachments {
            match inner.add_port(host, attachment) {
                Ok(port) => ports.push(port),
                Err(error) => {
                    inner.remove_ports(ports, Fabric::remove_port);
                    return Err(Error::Fabric { name: name.to_owned(), error });
                }
            }
        }
        let capture = capture.map(|(sink, config)| Capture::new(sink, config));
        let (name, loopback) = (name.to_owned(), Interfaces::default());
        let mut attached = WireHost { name, ports, capture, loopback };
        inner.has_captures |= attached.capture.is_some();
        for port in &mut attached.ports {
            port.captured.of_network = inner.capture.as_mut().map(|capture| capture.add(&port.name));
            port.captured.of_host = attached.capture.as_mut().map(|capture| capture.add(&port.name));
        }
        inner.hosts.push(Some(Box::new(attached)));
        Ok(())
    }

    /// Detaches a host. What it has sent goes on, and its capture ends.
    pub(crate) fn detach(&self, now: Instant, host: u32, arrived: &mut VecDeque<u32>) {
        let mut inner = self.lock_to_change();
        // Whoever gets its addresses next has no part in its partitions, and what is held for it can't be released
        // any more.
        for (a, b) in pairs_of(&inner.parted, host) {
            inner.parted.remove(&(a, b));
            inner.apply_partition(a, b, false);
        }
        for (a, b) in pairs_of(&inner.held, host) {
            inner.release(now, a, b);
        }
        let Some(removed) = inner.hosts.get_mut(host as usize).and_then(Option::take) else { return };
        let WireHost { ports, capture, .. } = *removed;
        inner.remove_ports(ports, Fabric::retire_port);
        let left = inner.captures().next().is_some();
        inner.has_captures = left;
        self.update(&mut inner, arrived);
        drop(inner);
        if let Some(mut capture) = capture {
            // There is nobody left to tell.
            drop(capture.finish());
        }
    }

    /// Captures what a host sends and receives from now on.
    pub(crate) fn capture_host(
        &self,
        host: u32,
        name: &str,
        (sink, config): (Sink, PcapngConfig),
    ) -> Result<(), Error> {
        let mut inner = self.lock_to_change();
        let Some(captured) = inner.host(host) else {
            return Err(Error::UnknownHost { name: name.to_owned() });
        };
        if captured.capture.is_some() {
            return Err(Error::CapturedAlready { name: name.to_owned() });
        }
        let mut capture = Capture::new(sink, config);
        for port in &mut captured.ports {
            port.captured.of_host = Some(capture.add(&port.name));
        }
        captured.loopback.of_host = None;
        captured.capture = Some(capture);
        inner.has_captures = true;
        self.update_deadline(&mut inner);
        Ok(())
    }

    /// Ends the capture of what a host sends and receives, if there is one.
    pub(crate) fn end_capture(&self, host: u32) -> std::io::Result<()> {
        let mut inner = self.lock();
        let Some(mut capture) = inner.host(host).and_then(|host| host.capture.take()) else { return Ok(()) };
        let left = inner.captures().next().is_some();
        inner.has_captures = left;
        self.update_deadline(&mut inner);
        drop(inner);
        capture.finish()
    }

    /// Takes the packets that a host sends by an interface to a subnet, and puts the hosts that can receive
    /// something in `arrived`.
    pub(crate) fn send(
        &self,
        now: Instant,
        host: u32,
        nic: usize,
        batch: &mut Batch,
        arrived: &mut VecDeque<u32>,
    ) {
        let mut inner = self.lock();
        inner.record(now, host, nic, PacketDirection::Outbound, batch, 0);
        let Some((subnet, id)) = inner.place(host, nic) else {
            batch.drain().for_each(drop);
            return;
        };
        inner.subnets[subnet].fabric.send(now, id, batch);
        self.update(&mut inner, arrived);
    }

    /// Fetches the packets that have arrived at an interface, until the batch is full.
    pub(crate) fn receive(&self, now: Instant, host: u32, nic: usize, batch: &mut Batch) {
        let mut inner = self.lock();
        let before = batch.len();
        let Some((subnet, id)) = inner.place(host, nic) else { return };
        inner.subnets[subnet].fabric.receive(id, batch);
        inner.record(now, host, nic, PacketDirection::Inbound, batch, before);
    }

    /// Captures what passes an interface over a link of its own.
    pub(crate) fn record(&self, now: Instant, host: u32, nic: usize, way: PacketDirection, batch: &Batch) {
        let mut inner = self.lock();
        inner.record(now, host, nic, way, batch, 0);
        self.update_deadline(&mut inner);
    }

    /// Whether a capture wants what a host sends to itself.
    pub(crate) fn wants_loopback(&self, host: u32) -> bool {
        let mut inner = self.lock();
        inner.capture.is_some() || inner.host(host).is_some_and(|host| host.capture.is_some())
    }

    /// Whether a host has a capture of its own.
    pub(crate) fn is_captured(&self, host: u32) -> bool {
        self.lock().host(host).is_some_and(|host| host.capture.is_some())
    }

    /// Captures packets that a host sent to itself, and drops them.
    pub(crate) fn capture_loopback(&self, host: u32, packets: &mut Vec<Packet>) {
        let mut inner = self.lock();
        let Inner { hosts, capture, .. } = &mut *inner;
        if let Some(host) = hosts.get_mut(host as usize).and_then(Option::as_deref_mut) {
            let both = [
                (capture.as_mut(), &mut host.loopback.of_network),
                (host.capture.as_mut(), &mut host.loopback.of_host),
            ];
            for (capture, interface) in both {
                let Some(capture) = capture else { continue };
                let interface = *interface.get_or_insert_with(|| capture.add(&format!("{}:lo", host.name)));
                for packet in &*packets {
                    capture.write(packet.meta.received_at, interface, PacketDirection::Outbound, packet);
                }
            }
        }
        self.update_deadline(&mut inner);
        drop(inner);
        packets.clear();
        packets.shrink_to(Batch::CAPACITY);
    }

    /// Moves on what is due, and puts the hosts that can receive something in `arrived`.
    pub(crate) fn handle_timeout(&self, now: Instant, arrived: &mut VecDeque<u32>) {
        let mut inner = self.lock();
        for subnet in &mut inner.subnets {
            if subnet.fabric.poll_timeout().is_some_and(|due| due <= now) {
                subnet.fabric.handle_timeout(now);
            }
        }
        inner.captures().for_each(|capture| capture.handle_timeout(now));
        self.update(&mut inner, arrived);
    }

    /// When to call [`Wire::handle_timeout`].
    pub(crate) fn next_deadline(&self) -> Instant {
        Instant::from_nanos(self.deadline.load(Ordering::SeqCst))
    }

    /// Changes the conditions of one direction of an interface's link.
    pub(crate) fn set_link(&self, host: u32, nic: usize, way: Direction, link: NetemConfig) {
        let mut inner = self.lock_to_change();
        let Some((subnet, id)) = inner.place(host, nic) else { return };
        // The port is there as long as the host is, so this can't fail.
        let _ = inner.subnets[subnet].fabric.set_link(id, way, link);
    }

    /// The conditions of one direction of an interface's link, and what became of the segments there.
    pub(crate) fn link(&self, host: u32, nic: usize, way: Direction) -> (NetemConfig, NetemCounters) {
        let inner = self.lock();
        let Some((subnet, id)) = inner.place(host, nic) else { return Default::default() };
        let fabric = &inner.subnets[subnet].fabric;
        let config = fabric.link(id, way).copied().unwrap_or_default();
        (config, fabric.netem_counters(id, way).unwrap_or_default())
    }

    /// What became of the packets of a host's interfaces in subnets.
    pub(crate) fn counters(&self, host: u32) -> PortCounters {
        let mut inner = self.lock();
        inner.count_lanes();
        let places = inner.places(host);
        let each = places.iter().filter_map(|&(subnet, id)| inner.subnets[subnet].fabric.counters(id));
        each.fold(PortCounters::default(), |sum, port| PortCounters {
            sent: sum.sent + port.sent,
            received: sum.received + port.received,
            overflowed: sum.overflowed + port.overflowed,
            partitioned: sum.partitioned + port.partitioned,
            unreachable: sum.unreachable + port.unreachable,
            unroutable: sum.unroutable + port.unroutable,
        })
    }

    /// Parts two hosts, wherever they are attached, or ends that.
    pub(crate) fn set_parted(&self, a: u32, b: u32, parted: bool) {
        let mut inner = self.lock_to_change();
        if inner.host(a).is_none() || inner.host(b).is_none() {
            return;
        }
        let pair = (a.min(b), a.max(b));
        if parted {
            inner.parted.insert(pair)
        } else {
            inner.parted.remove(&pair)
        };
        inner.apply_partition(a, b, parted);
    }

    /// Has what passes between two hosts wait.
    pub(crate) fn hold(&self, a: u32, b: u32) {
        let mut inner = self.lock_to_change();
        if inner.host(a).is_some() && inner.host(b).is_some() {
            inner.held.insert((a.min(b), a.max(b)));
            inner.hold(a, b);
        }
    }

    /// Ends that, and puts the hosts that can receive something in `arrived`.
    pub(crate) fn release(&self, now: Instant, a: u32, b: u32, arrived: &mut VecDeque<u32>) {
        let mut inner = self.lock();
        inner.release(now, a, b);
        self.update(&mut inner, arrived);
    }

    /// Gives a host one more address, at an interface to a subnet.
    pub(crate) fn add_address(
        &self,
        host: u32,
        nic: usize,
        name: &str,
        address: IpAddr,
    ) -> Result<(), Error> {
        let mut inner = self.lock_to_change();
        let Some((subnet, id)) = inner.place(host, nic) else {
            return Err(Error::UnknownHost { name: name.to_owned() });
        };
        let refused = |error| Error::Fabric { name: name.to_owned(), error };
        inner.subnets[subnet].fabric.add_address(id, address).map_err(refused)?;
        if let Some(host) = inner.host(host) {
            host.ports[nic].addresses.push(address);
        }
        for (a, b) in pairs_of(&inner.parted, host) {
            inner.apply_partition(a, b, true);
        }
        for (a, b) in pairs_of(&inner.held, host) {
            inner.hold(a, b);
        }
        Ok(())
    }

    /// Takes an address away from whoever has it.
    pub(crate) fn remove_address(&self, address: IpAddr) {
        let mut inner = self.lock_to_change();
        inner.subnets.iter_mut().for_each(|subnet| subnet.fabric.remove_address(address));
        if !inner.parted.is_empty() {
            inner.unblock_all(address);
        }
        for port in inner.hosts.iter_mut().flatten().flat_map(|host| &mut host.ports) {
            port.addresses.retain(|other| *other != address);
        }
    }

    /// Has packets that leave a subnet without naming a router go to a host there, or nowhere.
    pub(crate) fn set_gateway(&self, subnet: usize, host: Option<u32>) {
        let mut inner = self.lock_to_change();
        let of_subnet = |host| inner.places(host).into_iter().find(|(at, _)| *at == subnet);
        let id = host.and_then(of_subnet).map(|(_, id)| id);
        inner.subnets[subnet].fabric.set_gateway(id);
    }

    /// Writes out what the captures hold back; the first error that one of them met.
    pub(crate) fn flush_captures(&self) -> std::io::Result<()> {
        let mut inner = self.lock();
        let results: Vec<_> = inner.captures().map(Capture::finish).collect();
        results.into_iter().collect()
    }

    fn update(&self, inner: &mut Inner, arrived: &mut VecDeque<u32>) {
        for WireSubnet { fabric, owners } in &mut inner.subnets {
            while let Some(id) = fabric.poll_ready() {
                arrived.push_back(owners[id.index()]);
            }
        }
        self.update_deadline(inner);
    }

    fn update_deadline(&self, inner: &mut Inner) {
        let of_fabrics = inner.subnets.iter().filter_map(|subnet| subnet.fabric.poll_timeout());
        let mut deadline = of_fabrics.fold(Instant::FAR_FUTURE, Instant::min);
        if inner.has_captures {
            deadline =
                inner.captures().filter_map(|capture| capture.poll_timeout()).fold(deadline, Instant::min);
        }
        // Only who has the lock writes it, and everybody looks at it.
        if self.next_deadline() != deadline {
            self.deadline.store(deadline.as_nanos(), Ordering::SeqCst);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn host(&mut self, host: u32) -> Option<&mut WireHost> {
        self.hosts.get_mut(host as usize)?.as_deref_mut()
    }

    /// The fabric and the port of an interface.
    fn place(&self, host: u32, nic: usize) -> Option<(usize, PortId)> {
        self.hosts.get(host as usize)?.as_ref()?.ports.get(nic)?.place
    }

    /// The fabrics and ports of a host.
    fn places(&self, host: u32) -> Vec<(usize, PortId)> {
        let host = self.hosts.get(host as usize).and_then(Option::as_ref);
        host.into_iter().flat_map(|host| &host.ports).filter_map(|port| port.place).collect()
    }

    fn add_port(
        &mut self,
        host: u32,
        attachment: Attachment,
    ) -> Result<WirePort, sockeye_link::fabric::FabricError> {
        let Attachment { name, subnet, addresses, link: [up, down] } = attachment;
        let place = match subnet {
            None => None,
            Some(subnet) => {
                let WireSubnet { fabric, owners } = &mut self.subnets[subnet];
                let id = fabric.add_port(&addresses, up)?;
                fabric.set_link(id, Direction::Down, down)?;
                owners.resize(owners.len().max(id.index() + 1), 0);
                owners[id.index()] = host;
                Some((subnet, id))
            }
        };
        Ok(WirePort { name, place, addresses, captured: Interfaces::default() })
    }

    fn remove_ports(&mut self, ports: Vec<WirePort>, remove: fn(&mut Fabric, PortId)) {
        for (subnet, id) in ports.into_iter().filter_map(|port| port.place) {
            remove(&mut self.subnets[subnet].fabric, id);
        }
    }

    /// The ways between two hosts: between their ports in a common subnet, and from each to the other's
    /// addresses behind routers; each with its subnet.
    fn ways(&self, a: u32, b: u32) -> Vec<(usize, Way)> {
        let ports = |host: u32| {
            let host = self.hosts.get(host as usize).and_then(Option::as_ref);
            host.into_iter().flat_map(|host| &host.ports)
        };
        let mut ways = Vec::new();
        for (from, to) in [(a, b), (b, a)] {
            for (subnet, id) in ports(from).filter_map(|port| port.place) {
                for far in ports(to) {
                    match far.place.filter(|(other, _)| *other == subnet) {
                        Some((_, peer)) => ways.push((subnet, Way::Between(id, peer))),
                        None => ways.extend(far.addresses.iter().map(|&ip| (subnet, Way::To(id, ip)))),
                    }
                }
            }
        }
        ways
    }

    /// Parts two hosts, or ends that.
    fn apply_partition(&mut self, a: u32, b: u32, parted: bool) {
        for (subnet, way) in self.ways(a, b) {
            let fabric = &mut self.subnets[subnet].fabric;
            match way {
                Way::Between(id, peer) if parted => fabric.partition(id, peer),
                Way::Between(id, peer) => fabric.heal(id, peer),
                Way::To(id, address) if parted => fabric.block(id, address),
                Way::To(id, address) => fabric.unblock(id, address),
            }
        }
    }

    /// Has what passes between two hosts wait.
    fn hold(&mut self, a: u32, b: u32) {
        for (subnet, way) in self.ways(a, b) {
            let fabric = &mut self.subnets[subnet].fabric;
            match way {
                Way::Between(id, peer) => fabric.hold(id, peer),
                Way::To(id, address) => fabric.hold_to(id, address),
            }
        }
    }

    /// Ends that.
    fn release(&mut self, now: Instant, a: u32, b: u32) {
        self.held.remove(&(a.min(b), a.max(b)));
        for (subnet, way) in self.ways(a, b) {
            let fabric = &mut self.subnets[subnet].fabric;
            match way {
                Way::Between(id, peer) => fabric.release(now, id, peer),
                Way::To(id, address) => fabric.release_to(now, id, address),
            }
        }
    }

    /// Lets everybody reach an address again.
    fn unblock_all(&mut self, address: IpAddr) {
        let places: Vec<_> = (0..self.hosts.len() as u32).flat_map(|host| self.places(host)).collect();
        for (subnet, id) in places {
            self.subnets[subnet].fabric.unblock(id, address);
        }
    }

    fn record(
        &mut self,
        now: Instant,
        host: u32,
        nic: usize,
        way: PacketDirection,
        batch: &Batch,
        from: usize,
    ) {
        if !self.has_captures {
            return;
        }
        let Some(host) = self.hosts.get_mut(host as usize).and_then(Option::as_deref_mut) else { return };
        let Some(port) = host.ports.get(nic) else { return };
        // The network's capture has each packet once, as its host sends it; of a link of its own, both ways.
        let of_network = way == PacketDirection::Outbound || port.place.is_none();
        if let (true, Some(capture), Some(interface)) =
            (of_network, &mut self.capture, port.captured.of_network)
        {
            capture.record(now, interface, way, batch, from);
        }
        if let (Some(capture), Some(interface)) = (&mut host.capture, port.captured.of_host) {
            capture.record(now, interface, way, batch, from);
        }
    }

    fn captures(&mut self) -> impl Iterator<Item = &mut Capture> {
        let of_hosts = self.hosts.iter_mut().flatten().filter_map(|host| host.capture.as_mut());
        self.capture.iter_mut().chain(of_hosts)
    }
}

/// The pairs that a host is one of.
fn pairs_of(pairs: &BTreeSet<(u32, u32)>, host: u32) -> Vec<(u32, u32)> {
    pairs.iter().copied().filter(|&(a, b)| a == host || b == host).collect()
}
