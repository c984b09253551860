//! The wire between the hosts of a network: the fabric that switches packets, and the captures that
//! see them pass.
//!
//! One lock, held for one batch. Hosts are known here by their number, as everywhere in the driver.

use crate::Error;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};
use sockeye_link::fabric::{Direction, Fabric, FabricConfig, PortCounters, PortId};
use sockeye_link::netem::{NetemConfig, NetemCounters};
use sockeye_link::pcapng::{InterfaceId, PacketDirection, PcapngConfig, PcapngWriter};
use sockeye_packet::{Batch, Instant, Packet};
use std::collections::VecDeque;
use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::sync::PoisonError;

/// Where a capture goes.
pub(crate) type Sink = Box<dyn Write + Send>;

/// The fabric and the captures.
#[derive(Debug)]
pub(crate) struct Wire {
    inner: Mutex<Inner>,
    /// When there is something to do next, readable without the lock; [`Instant::FAR_FUTURE`] for never.
    deadline: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    fabric: Fabric,
    /// By host number, which is the port's place in the fabric too: no port is ever removed.
    ports: Vec<WirePort>,
    /// What all hosts send.
    capture: Option<Capture>,
    has_captures: bool,
}

#[derive(Debug)]
struct WirePort {
    id: PortId,
    /// The host's interfaces in the network's capture.
    interfaces: Option<Interfaces>,
    /// What this host sends and receives.
    capture: Option<(Capture, Interfaces)>,
}

/// A host in a capture.
#[derive(Clone, Copy, Debug)]
struct Interfaces {
    link: InterfaceId,
    /// There once something passed it.
    loopback: Option<InterfaceId>,
}

/// One capture file.
struct Capture(PcapngWriter<Sink>);

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Capture")
    }
}

impl Capture {
    fn new(sink: Sink, config: PcapngConfig) -> Capture {
        Capture(PcapngWriter::new(sink, config))
    }

    fn record(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        way: PacketDirection,
        batch: &Batch,
        from: usize,
    ) {
        batch.iter().skip(from).for_each(|packet| self.0.write(now, interface, way, packet));
    }

    fn add_host(&mut self, name: &str) -> Interfaces {
        Interfaces { link: self.0.add_interface(name), loopback: None }
    }

    /// Records packets that a host sent to itself, each once, with the time it passed.
    fn record_loopback(&mut self, name: &str, interfaces: &mut Interfaces, packets: &[Packet]) {
        let new = || self.0.add_interface(&format!("{name}:lo"));
        let interface = *interfaces.loopback.get_or_insert_with(new);
        for packet in packets {
            self.0.write(packet.meta.received_at, interface, PacketDirection::Outbound, packet);
        }
    }
}

impl Wire {
    pub(crate) fn new(config: FabricConfig, capture: Option<(Sink, PcapngConfig)>) -> Wire {
        let capture = capture.map(|(sink, config)| Capture::new(sink, config));
        let inner = Inner {
            fabric: Fabric::new(config),
            ports: Vec::new(),
            has_captures: capture.is_some(),
            capture,
        };
        Wire { inner: Mutex::new(inner), deadline: AtomicU64::new(u64::MAX) }
    }

    /// Attaches the host whose number comes next.
    pub(crate) fn attach(
        &self,
        name: &str,
        addresses: &[IpAddr],
        [up, down]: [NetemConfig; 2],
        capture: Option<(Sink, PcapngConfig)>,
    ) -> Result<(), Error> {
        let mut inner = self.lock();
        let refused = |error| Error::Fabric { name: name.to_owned(), error };
        let id = inner.fabric.add_port(addresses, up).map_err(refused)?;
        inner.fabric.set_link(id, Direction::Down, down).map_err(refused)?;
        let interfaces = inner.capture.as_mut().map(|capture| capture.add_host(name));
        let capture = capture.map(|(sink, config)| {
            let mut capture = Capture::new(sink, config);
            let interfaces = capture.add_host(name);
            (capture, interfaces)
        });
        inner.has_captures |= capture.is_some();
        debug_assert_eq!(id.index(), inner.ports.len());
        inner.ports.push(WirePort { id, interfaces, capture });
        Ok(())
    }

    /// Captures what a host sends and receives from now on.
    pub(crate) fn capture_host(
        &self,
        host: u32,
        name: &str,
        (sink, config): (Sink, PcapngConfig),
    ) -> Result<(), Error> {
        let mut inner = self.lock();
        let port = &mut inner.ports[host as usize];
        if port.capture.is_some() {
            return Err(Error::CapturedAlready { name: name.to_owned() });
        }
        let mut capture = Capture::new(sink, config);
        let interfaces = capture.add_host(name);
        port.capture = Some((capture, interfaces));
        inner.has_captures = true;
        self.update_deadline(&mut inner);
        Ok(())
    }

    /// Ends the capture of what a host sends and receives, if there is one.
    pub(crate) fn end_capture(&self, host: u32) -> std::io::Result<()> {
        let mut inner = self.lock();
        let Some((mut capture, _)) = inner.ports[host as usize].capture.take() else { return Ok(()) };
        let left = inner.captures().next().is_some();
        inner.has_captures = left;
        self.update_deadline(&mut inner);
        drop(inner);
        capture.0.flush();
        capture.0.take_error().map_or(Ok(()), Err)
    }

    /// Takes the packets that a host sends, and puts the hosts that can receive something in `arrived`.
    pub(crate) fn send(&self, now: Instant, host: u32, batch: &mut Batch, arrived: &mut VecDeque<u32>) {
        let mut inner = self.lock();
        inner.capture_outgoing(now, host, batch);
        let id = inner.ports[host as usize].id;
        inner.fabric.send(now, id, batch);
        self.update(&mut inner, arrived);
    }

    /// Fetches the packets that have arrived at a host, until the batch is full.
    pub(crate) fn receive(&self, now: Instant, host: u32, batch: &mut Batch) {
        let mut inner = self.lock();
        let before = batch.len();
        let Inner { fabric, ports, .. } = &mut *inner;
        let WirePort { id, capture, .. } = &mut ports[host as usize];
        fabric.receive(*id, batch);
        if let Some((capture, interfaces)) = capture {
            capture.record(now, interfaces.link, PacketDirection::Inbound, batch, before);
        }
    }

    /// Whether a capture wants what a host sends to itself.
    pub(crate) fn wants_loopback(&self, host: u32) -> bool {
        let inner = self.lock();
        inner.capture.is_some() || inner.ports[host as usize].capture.is_some()
    }

    /// Whether a host has a capture of its own.
    pub(crate) fn is_captured(&self, host: u32) -> bool {
        self.lock().ports[host as usize].capture.is_some()
    }

    /// Captures packets that a host of this name sent to itself, and drops them.
    pub(crate) fn capture_loopback(&self, host: u32, name: &str, packets: &mut Vec<Packet>) {
        let mut inner = self.lock();
        let Inner { ports, capture, .. } = &mut *inner;
        let port = &mut ports[host as usize];
        if let (Some(capture), Some(interfaces)) = (capture, &mut port.interfaces) {
            capture.record_loopback(name, interfaces, packets);
        }
        if let Some((capture, interfaces)) = &mut port.capture {
            capture.record_loopback(name, interfaces, packets);
        }
        self.update_deadline(&mut inner);
        drop(inner);
        packets.clear();
        packets.shrink_to(Batch::CAPACITY);
    }

    /// Moves on what is due, and puts the hosts that can receive something in `arrived`.
    pub(crate) fn handle_timeout(&self, now: Instant, arrived: &mut VecDeque<u32>) {
        let mut inner = self.lock();
        inner.fabric.handle_timeout(now);
        inner.captures().for_each(|capture| capture.0.handle_timeout(now));
        self.update(&mut inner, arrived);
    }

    /// When to call [`Wire::handle_timeout`].
    pub(crate) fn next_deadline(&self) -> Instant {
        Instant::from_nanos(self.deadline.load(Ordering::SeqCst))
    }

    /// Changes the conditions of one direction of a host's link.
    pub(crate) fn set_link(&self, host: u32, way: Direction, link: NetemConfig) {
        let mut inner = self.lock();
        let id = inner.ports[host as usize].id;
        // Ports are never removed, so this can't fail.
        let _ = inner.fabric.set_link(id, way, link);
    }

    /// The conditions of one direction of a host's link, and what became of the segments there.
    pub(crate) fn link(&self, host: u32, way: Direction) -> (NetemConfig, NetemCounters) {
        let inner = self.lock();
        let id = inner.ports[host as usize].id;
        let config = inner.fabric.link(id, way).copied().unwrap_or_default();
        (config, inner.fabric.netem_counters(id, way).unwrap_or_default())
    }

    /// What became of a host's packets.
    pub(crate) fn counters(&self, host: u32) -> PortCounters {
        let inner = self.lock();
        inner.fabric.counters(inner.ports[host as usize].id).unwrap_or_default()
    }

    /// Parts two hosts, or ends that.
    pub(crate) fn set_parted(&self, a: u32, b: u32, parted: bool) {
        let mut inner = self.lock();
        let (a, b) = (inner.ports[a as usize].id, inner.ports[b as usize].id);
        if parted { inner.fabric.partition(a, b) } else { inner.fabric.heal(a, b) }
    }

    /// Has what passes between two hosts wait.
    pub(crate) fn hold(&self, a: u32, b: u32) {
        let mut inner = self.lock();
        let (a, b) = (inner.ports[a as usize].id, inner.ports[b as usize].id);
        inner.fabric.hold(a, b);
    }

    /// Ends that, and puts the hosts that can receive something in `arrived`.
    pub(crate) fn release(&self, now: Instant, a: u32, b: u32, arrived: &mut VecDeque<u32>) {
        let mut inner = self.lock();
        let (a, b) = (inner.ports[a as usize].id, inner.ports[b as usize].id);
        inner.fabric.release(now, a, b);
        self.update(&mut inner, arrived);
    }

    /// Gives a host one more address.
    pub(crate) fn add_address(&self, host: u32, name: &str, address: IpAddr) -> Result<(), Error> {
        let mut inner = self.lock();
        let id = inner.ports[host as usize].id;
        let refused = |error| Error::Fabric { name: name.to_owned(), error };
        inner.fabric.add_address(id, address).map_err(refused)
    }

    /// Takes an address away.
    pub(crate) fn remove_address(&self, address: IpAddr) {
        self.lock().fabric.remove_address(address);
    }

    /// Has packets that leave the subnet go to a host, or nowhere.
    pub(crate) fn set_gateway(&self, host: Option<u32>) {
        let mut inner = self.lock();
        let id = host.map(|host| inner.ports[host as usize].id);
        inner.fabric.set_gateway(id);
    }

    /// Writes out what the captures hold back; the first error that one of them met.
    pub(crate) fn flush_captures(&self) -> std::io::Result<()> {
        let mut inner = self.lock();
        let mut result = Ok(());
        for capture in inner.captures() {
            capture.0.flush();
            if let Some(error) = capture.0.take_error() {
                result = Err(error);
            }
        }
        result
    }

    fn update(&self, inner: &mut Inner, arrived: &mut VecDeque<u32>) {
        while let Some(id) = inner.fabric.poll_ready() {
            arrived.push_back(id.index() as u32);
        }
        self.update_deadline(inner);
    }

    fn update_deadline(&self, inner: &mut Inner) {
        let mut deadline = inner.fabric.poll_timeout().unwrap_or(Instant::FAR_FUTURE);
        if inner.has_captures {
            deadline =
                inner.captures().filter_map(|capture| capture.0.poll_timeout()).fold(deadline, Instant::min);
        }
        self.deadline.store(deadline.as_nanos(), Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn capture_outgoing(&mut self, now: Instant, host: u32, batch: &Batch) {
        if !self.has_captures {
            return;
        }
        let port = &mut self.ports[host as usize];
        if let (Some(capture), Some(interfaces)) = (&mut self.capture, port.interfaces) {
            capture.record(now, interfaces.link, PacketDirection::Outbound, batch, 0);
        }
        if let Some((capture, interfaces)) = &mut port.capture {
            capture.record(now, interfaces.link, PacketDirection::Outbound, batch, 0);
        }
    }

    fn captures(&mut self) -> impl Iterator<Item = &mut Capture> {
        let of_hosts =
            self.ports.iter_mut().filter_map(|port| port.capture.as_mut().map(|(capture, _)| capture));
        self.capture.iter_mut().chain(of_hosts)
    }
}
