//! A set of hosts on one fabric, and who drives them.

use crate::builder::{Capture, HostConfig, NetworkBuilder, check_name};
use crate::driver::{Core, DriverGuard};
use crate::host::{Host, HostCore, HostId};
use crate::subnet::AddressPlan;
use crate::sync::atomic::Ordering;
use crate::sync::{Mutex, MutexGuard};
use crate::{Error, Subnet};
use sockeye_link::fabric::{Direction, PortCounters};
use sockeye_link::netem::{NetemConfig, NetemCounters};
use sockeye_packet::{Instant, NicId, Rng};
use sockeye_stack::{Event, NicConfig, Route, Stack};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::{Arc, PoisonError};

/// A set of hosts on one switch in memory: a cheap handle, for any thread.
///
/// A network made by [`NetworkBuilder::build`] runs by the machine's clock: socket calls do the protocol
/// work in the calling thread, and one thread of the network's own does what time brings. One made by
/// [`NetworkBuilder::build_manual`] does nothing by itself: whoever made it calls [`Network::turn`] with
/// the time of its choice.
///
/// ```
/// use sockeye::{HostConfig, Network};
/// use std::io::{Read, Write};
///
/// let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// let (web, me) = (network.host("web")?, network.host("me")?);
/// let listener = web.tcp_listen((web.ipv4(), 80))?;
/// let mut client = me.tcp_connect((web.ipv4(), 80))?;
/// let (mut server, peer) = listener.accept()?;
/// assert_eq!(peer.ip(), me.ipv4());
/// server.write_all(b"hello")?;
/// let mut greeting = [0; 5];
/// client.read_exact(&mut greeting)?;
/// assert_eq!(&greeting, b"hello");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Network {
    pub(crate) shared: Arc<Shared>,
}

/// What all handles of a network share.
pub(crate) struct Shared {
    /// Stops the driver thread when the last handle is gone.
    _driver: Option<DriverGuard>,
    pub(crate) core: Arc<Core>,
    registry: Mutex<Registry>,
    /// The MTU of every link.
    mtu: u32,
}

/// Who has which name and number.
struct Registry {
    plan: AddressPlan,
    rng: Rng,
    /// Host indices by name in lower case.
    names: HashMap<String, u32>,
    /// The numbers in the subnets that are taken or set aside, and the names of their hosts.
    numbers: BTreeMap<u32, String>,
    /// No number below this one is free.
    next_number: u32,
    /// Addresses of names that are no host's, in lower case.
    added: HashMap<String, Vec<IpAddr>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // There is nobody left to tell.
        drop(self.core.wire.flush_captures());
    }
}

impl Network {
    /// Describes a network.
    pub fn builder() -> NetworkBuilder {
        NetworkBuilder::default()
    }

    /// A network without hosts but the gateway; `rng` gives the hosts their seeds.
    pub(crate) fn new(
        core: Arc<Core>,
        driver: Option<DriverGuard>,
        plan: AddressPlan,
        rng: Rng,
        mtu: u32,
    ) -> Network {
        let registry = Registry {
            plan,
            rng,
            names: HashMap::new(),
            numbers: BTreeMap::new(),
            next_number: AddressPlan::FIRST,
            added: HashMap::new(),
        };
        Network { shared: Arc::new(Shared { _driver: driver, core, registry: Mutex::new(registry), mtu }) }
    }

    /// Adds a host.
    pub fn add_host(&self, name: &str, config: HostConfig) -> Result<Host, Error> {
        check_name(name)?;
        let mut registry = self.registry();
        registry.check_is_free(name)?;
        let number = match config.ip {
            Some(ip) => registry.reserve(name, ip)?,
            None => registry.reserve_free(name)?,
        };
        self.attach(&mut registry, name, number, config)
    }

    /// Sets an address aside for the host of this name, which is added later.
    pub(crate) fn reserve(&self, name: &str, ip: IpAddr) -> Result<(), Error> {
        self.registry().reserve(name, ip).map(drop)
    }

    /// Adds the gateway, which is the first host.
    pub(crate) fn add_gateway(&self, config: HostConfig) -> Result<Host, Error> {
        let mut registry = self.registry();
        self.attach(&mut registry, NetworkBuilder::GATEWAY, AddressPlan::GATEWAY, config)
    }

    fn attach(
        &self,
        registry: &mut Registry,
        name: &str,
        number: u32,
        config: HostConfig,
    ) -> Result<Host, Error> {
        let HostConfig { ip: _, link, stack, capture } = config;
        let plan = registry.plan;
        let full = || Error::SubnetFull { name: name.to_owned(), subnet: plan.v4 };
        let addresses = plan.addresses(number).ok_or_else(full)?;
        let gateways = plan.addresses(AddressPlan::GATEWAY).ok_or_else(full)?;
        let sink = capture.map(|path| Capture::File(path).open(stack.wall_offset)).transpose()?;
        let mut stack = Stack::new(stack, registry.rng.next_seed());
        let both = [addresses.0.into(), addresses.1.into()];
        let nic = interface(&mut stack, self.shared.mtu, plan, both, [gateways.0.into(), gateways.1.into()])
            .map_err(|error| Error::Stack { name: name.to_owned(), error })?;
        let core = &self.shared.core;
        core.wire.attach(name, &both, [link.outgoing, link.incoming], sink)?;
        let mut hosts = core.hosts.write().unwrap_or_else(PoisonError::into_inner);
        let index = hosts.len() as u32;
        let is_captured = core.wire.wants_loopback(index);
        let host = Arc::new(HostCore::new(index, name, addresses, nic, is_captured, stack));
        hosts.push(Arc::clone(&host));
        registry.names.insert(name.to_ascii_lowercase(), index);
        Ok(Host { shared: Arc::clone(&self.shared), core: host })
    }

    /// The host with this name; case doesn't count. The gateway is none: [`Network::gateway`].
    pub fn host(&self, name: &str) -> Result<Host, Error> {
        let index = self.registry().names.get(&name.to_ascii_lowercase()).copied();
        let index = index.filter(|&index| index != 0);
        let unknown = || Error::UnknownHost { name: name.to_owned() };
        index.and_then(|index| self.host_by_id(HostId(index))).ok_or_else(unknown)
    }

    /// The host with this number.
    pub fn host_by_id(&self, id: HostId) -> Option<Host> {
        let core = Arc::clone(self.shared.core.hosts().get(id.index())?);
        Some(Host { shared: Arc::clone(&self.shared), core })
    }

    /// The host that was given this address when it was added.
    pub fn host_by_address(&self, address: IpAddr) -> Option<Host> {
        let index = {
            let registry = self.registry();
            match registry.plan.subnet_of(address).number_of(address)? {
                AddressPlan::GATEWAY => 0,
                number => *registry.names.get(&registry.numbers.get(&number)?.to_ascii_lowercase())?,
            }
        };
        self.host_by_id(HostId(index))
    }

    /// All hosts but the gateway, in the order they were added.
    pub fn hosts(&self) -> Vec<Host> {
        let hosts = self.shared.core.hosts();
        let handle = |core: &Arc<HostCore>| Host { shared: Arc::clone(&self.shared), core: Arc::clone(core) };
        hosts.iter().skip(1).map(handle).collect()
    }

    /// The host at the subnet's first address, from which names are served.
    pub fn gateway(&self) -> Host {
        let core = Arc::clone(&self.shared.core.hosts()[0]);
        Host { shared: Arc::clone(&self.shared), core }
    }

    /// The IPv4 and the IPv6 subnet.
    pub fn subnets(&self) -> [Subnet; 2] {
        let plan = self.registry().plan;
        [plan.v4, plan.v6]
    }

    /// Whether somebody has to [turn](Network::turn) it.
    pub fn is_manual(&self) -> bool {
        self.shared.core.clock.is_manual()
    }

    /// The time that holds now: of a manual network, that of the latest turn.
    pub fn now(&self) -> Instant {
        self.shared.core.clock.now()
    }

    /// Does everything that is due at `now`: moves packets between hosts until nothing moves, runs timers,
    /// wakes who waits. Returns when it wants to be called next: `now` itself when it stopped because there
    /// was too much to do for one call, none when nothing will happen without a socket call.
    ///
    /// Only hosts that were touched, or for which it is time, are looked at. Time never runs backwards:
    /// an earlier `now` counts as the latest. A threaded network goes by its own clock.
    pub fn turn(&self, now: Instant) -> Option<Instant> {
        self.shared.core.turn(now)
    }

    /// Sets the time that holds for socket calls from now on, in a manual network, without doing anything
    /// yet: for a loop that slept and now makes calls before its next turn.
    pub fn set_now(&self, now: Instant) {
        self.shared.core.clock.advance(now);
    }

    /// The next event of a flow, or of a socket made by [`Host::with_stack`] or by a flow, in a manual
    /// network, after a turn.
    pub fn poll_event(&self) -> Option<(HostId, Event)> {
        let core = &self.shared.core;
        while let Some(host) = core.next_eventful() {
            let mut wakers = Vec::new();
            let event = host.lock().poll_event(&mut wakers);
            wakers.into_iter().for_each(std::task::Waker::wake);
            if let Some(event) = event {
                core.mark_eventful(&host);
                return Some((HostId(host.index), event));
            }
        }
        None
    }

    /// Changes the conditions of one direction of a host's link, for what is sent from now on.
    pub fn set_link(&self, host: &Host, way: Direction, link: NetemConfig) {
        self.shared.core.wire.set_link(host.core.index, way, link);
    }

    /// The conditions of one direction of a host's link, and what became of the segments there.
    pub fn link(&self, host: &Host, way: Direction) -> (NetemConfig, NetemCounters) {
        self.shared.core.wire.link(host.core.index, way)
    }

    /// What became of the packets of a host.
    pub fn counters(&self, host: &Host) -> PortCounters {
        self.shared.core.wire.counters(host.core.index)
    }

    /// Parts two hosts: nothing passes between them, in silence, until [`Network::heal`].
    pub fn partition(&self, a: &Host, b: &Host) {
        self.shared.core.wire.set_parted(a.core.index, b.core.index, true);
    }

    /// Ends a partition.
    pub fn heal(&self, a: &Host, b: &Host) {
        self.shared.core.wire.set_parted(a.core.index, b.core.index, false);
    }

    /// Has what passes between two hosts wait, as if the way were very long, until [`Network::release`]: nothing
    /// is lost by it, unless more than 65,536 packets wait.
    pub fn hold(&self, a: &Host, b: &Host) {
        self.shared.core.wire.hold(a.core.index, b.core.index);
    }

    /// Sends on what was [held](Network::hold) between two hosts, in order; nothing waits from now on.
    pub fn release(&self, a: &Host, b: &Host) {
        self.shared.core.release(&a.core, &b.core);
    }

    /// Gives a host one more address, in the subnet or outside.
    pub fn add_address(&self, host: &Host, address: IpAddr) -> Result<(), Error> {
        let wire = &self.shared.core.wire;
        wire.add_address(host.core.index, host.name(), address)?;
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        let added = host.with_stack(|stack, _| stack.add_address(host.nic(), address, prefix));
        added.map_err(|error| {
            wire.remove_address(address);
            Error::Stack { name: host.name().to_owned(), error }
        })
    }

    /// Takes away an address that [`Network::add_address`] gave.
    pub fn remove_address(&self, host: &Host, address: IpAddr) -> Result<(), Error> {
        let removed = host.with_stack(|stack, _| stack.remove_address(host.nic(), address));
        removed.map_err(|error| Error::Stack { name: host.name().to_owned(), error })?;
        self.shared.core.wire.remove_address(address);
        Ok(())
    }

    /// Has packets to an address of the subnet go to the gateway, although it does not have the address: it
    /// gets what its stack [intercepts](Stack::intercept). For
    /// [the machine's addresses](Network::machine_addresses), for example.
    pub fn add_gateway_address(&self, address: IpAddr) -> Result<(), Error> {
        self.shared.core.wire.add_address(0, NetworkBuilder::GATEWAY, address)
    }

    /// Takes back what [`Network::add_gateway_address`] gave.
    pub fn remove_gateway_address(&self, address: IpAddr) {
        self.shared.core.wire.remove_address(address);
    }

    /// The addresses set aside for the machine outside, `host.sockeye`: the IPv4 one, then the IPv6 one.
    /// Nobody has them, unless a gateway does ([`Network::add_gateway_address`]).
    pub fn machine_addresses(&self) -> [IpAddr; 2] {
        let plan = self.registry().plan;
        // Every subnet has room for them.
        plan.machine().map_or([plan.v4.address(), plan.v6.address()], |(v4, v6)| [v4.into(), v6.into()])
    }

    /// Has packets to addresses outside the subnet go to a host; with none, they are unreachable.
    pub fn set_gateway(&self, host: Option<&Host>) {
        self.shared.core.wire.set_gateway(host.map(|host| host.core.index));
    }

    /// Captures what a host sends and receives from now on, to a file in pcapng, as
    /// [`HostConfig::capture`](crate::HostConfig::capture) does from the start.
    pub fn capture_host(&self, host: &Host, path: impl AsRef<Path>) -> Result<(), Error> {
        let offset = host.with_stack(|stack, _| stack.config().wall_offset);
        if self.shared.core.wire.is_captured(host.core.index) {
            // Before the file is emptied, which may be that of the capture that goes on.
            return Err(Error::CapturedAlready { name: host.name().to_owned() });
        }
        let sink = Capture::File(path.as_ref().to_owned()).open(offset)?;
        self.shared.core.wire.capture_host(host.core.index, host.name(), sink)?;
        host.core.is_captured.store(true, Ordering::Relaxed);
        host.with_stack(|stack, _| stack.set_loopback_tap(true));
        Ok(())
    }

    /// Ends the capture of a host's packets, and reports the first error that it met.
    pub fn end_capture(&self, host: &Host) -> io::Result<()> {
        let wire = &self.shared.core.wire;
        let result = wire.end_capture(host.core.index);
        let still = wire.wants_loopback(host.core.index);
        host.core.is_captured.store(still, Ordering::Relaxed);
        host.with_stack(|stack, _| stack.set_loopback_tap(still));
        result
    }

    /// A seed that depends on the network's alone, and on how many were drawn before.
    pub(crate) fn next_seed(&self) -> [u8; 32] {
        self.registry().rng.next_seed()
    }

    /// Takes a host down, or up again: it loses all its sockets, in silence.
    pub(crate) fn replace_stack(&self, host: &Host, is_down: bool) {
        let seed = self.next_seed();
        self.shared.core.with(&host.core, |state, _, wakers| {
            state.is_down = is_down;
            state.replace_stack(seed, wakers);
        });
    }

    /// Writes out what captures hold back, and reports the first error they met.
    pub fn flush_captures(&self) -> io::Result<()> {
        self.shared.core.wire.flush_captures()
    }

    /// The addresses that [`Network::add_name`] gave to a name, in lower case.
    pub(crate) fn added_name(&self, name: &str) -> Option<Vec<IpAddr>> {
        self.registry().added.get(name).cloned()
    }

    /// Gives addresses to a name, in lower case, that must be no host's; none take it away.
    pub(crate) fn set_added_name(&self, name: String, addresses: Vec<IpAddr>) -> Result<(), Error> {
        let mut registry = self.registry();
        registry.added.remove(&name);
        registry.check_is_free(&name)?;
        if !addresses.is_empty() {
            registry.added.insert(name, addresses);
        }
        Ok(())
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.shared.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    fn check_is_free(&self, name: &str) -> Result<(), Error> {
        let lower = name.to_ascii_lowercase();
        if self.names.contains_key(&lower) || self.added.contains_key(&lower) {
            return Err(Error::DuplicateName { name: name.to_owned() });
        }
        Ok(())
    }

    /// The number of an address that a host states.
    fn reserve(&mut self, name: &str, address: IpAddr) -> Result<u32, Error> {
        let number = self.plan.number_of(name, address)?;
        match self.numbers.get(&number) {
            Some(owner) if owner != name => {
                let owner = owner.clone();
                Err(Error::DuplicateAddress { name: name.to_owned(), address, owner })
            }
            _ => {
                self.numbers.insert(number, name.to_owned());
                Ok(number)
            }
        }
    }

    /// The lowest number that no host has.
    fn reserve_free(&mut self, name: &str) -> Result<u32, Error> {
        while self.numbers.contains_key(&self.next_number) {
            self.next_number += 1;
        }
        if self.next_number > self.plan.last_host() {
            return Err(Error::SubnetFull { name: name.to_owned(), subnet: self.plan.v4 });
        }
        self.numbers.insert(self.next_number, name.to_owned());
        Ok(self.next_number)
    }
}

/// Gives a stack its interface to the network, with both addresses and the way out.
fn interface(
    stack: &mut Stack,
    mtu: u32,
    plan: AddressPlan,
    addresses: [IpAddr; 2],
    gateways: [IpAddr; 2],
) -> sockeye_stack::Result<NicId> {
    let nic = stack.add_nic(NicConfig::memory("eth0", mtu))?;
    let everything = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    for ((address, gateway), dest) in addresses.into_iter().zip(gateways).zip(everything) {
        stack.add_address(nic, address, plan.subnet_of(address).prefix())?;
        let gateway = Some(gateway).filter(|&gateway| gateway != address);
        stack.add_route(Route { dest, prefix: 0, gateway, nic, metric: 0 })?;
    }
    Ok(nic)
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [v4, v6] = self.subnets();
        write!(f, "Network({v4} {v6} {:?})", self.hosts())
    }
}
