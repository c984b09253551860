//! A set of hosts on one fabric, and who drives them.

use crate::builder::{HostConfig, InterfaceConfig, LinkConfig, NetworkBuilder, check_name};
use crate::capture::Target;
use crate::driver::{Core, DriverGuard, wake_all};
use crate::host::{Host, HostCore, HostId};
use crate::nic::{HostNic, Interface, nic_id, set_up};
use crate::over::{LinkInterface, LinkPort};
use crate::registry::Registry;
use crate::routing::Router;
use crate::subnet::AddressPlan;
use crate::sync::atomic::Ordering;
use crate::sync::{Mutex, MutexGuard};
use crate::wire::Attachment;
use crate::{Error, Subnet};
use sockeye_link::fabric::{Direction, PortCounters};
use sockeye_link::netem::{NetemConfig, NetemCounters};
use sockeye_link::{Link, fastest_sum};
use sockeye_packet::Instant;
use sockeye_stack::{Config, Event, NicConfig, Stack};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError};

/// A set of hosts on one switch in memory, or on several with routers between them: a cheap handle, for any
/// thread.
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

    /// A network without hosts.
    pub(crate) fn new(core: Arc<Core>, driver: Option<DriverGuard>, registry: Registry) -> Network {
        Network { shared: Arc::new(Shared { _driver: driver, core, registry: Mutex::new(registry) }) }
    }

    /// Adds a host.
    pub fn add_host(&self, name: &str, config: HostConfig) -> Result<Host, Error> {
        check_name(name)?;
        let mut registry = self.registry();
        registry.check_is_free(name)?;
        let host = Self::plan(&mut registry, name, &config).and_then(|nics| {
            let plan = HostPlan { name, nics, config };
            self.attach(&mut registry, plan)
        });
        host.inspect_err(|_| registry.release(name))
    }

    /// Sets the addresses aside that the host of this name states, which is added later.
    pub(crate) fn reserve(&self, name: &str, config: &HostConfig) -> Result<(), Error> {
        let mut registry = self.registry();
        for InterfaceConfig { subnet, ip, .. } in config.places() {
            if let Some(ip) = ip {
                let subnet = registry.subnet(name, subnet.as_deref())?;
                registry.subnets[subnet].reserve(name, ip)?;
            }
        }
        Ok(())
    }

    /// Adds the gateway, which is the first host, with these links of its own.
    pub(crate) fn add_gateway(
        &self,
        config: HostConfig,
        links: Vec<(Box<dyn Link>, LinkInterface)>,
    ) -> Result<Host, Error> {
        let mut registry = self.registry();
        let name = NetworkBuilder::GATEWAY;
        let mut nics = vec![registry.nic(name, 0, 0, AddressPlan::GATEWAY, config.link)?];
        let is_uplink = !links.is_empty();
        for (link, interface) in links {
            nics.push(link_nic(name, nics.len(), link, &interface)?);
        }
        let host = self.attach(&mut registry, HostPlan { name, nics, config })?;
        if is_uplink {
            self.shared.core.wire.set_gateway(0, Some(host.core.index));
        }
        Ok(host)
    }

    /// Adds a host that is in no subnet.
    pub(crate) fn add_standalone(
        &self,
        name: &str,
        link: Box<dyn Link>,
        interface: &LinkInterface,
        config: HostConfig,
    ) -> Result<Host, Error> {
        check_name(name)?;
        if config.has_place() || config.link != LinkConfig::default() {
            let reason = "a host over a link of its own is in no subnet, and no switch makes conditions for it: state \
                addresses in its LinkInterface, and nothing but `stack` and `capture` in its HostConfig";
            return Err(Error::Contradiction { reason });
        }
        let nics = vec![link_nic(name, 0, link, interface)?];
        self.attach(&mut self.registry(), HostPlan { name, nics, config })
    }

    /// The interfaces of a host to its subnets. Its numbers there are taken.
    fn plan(
        registry: &mut Registry,
        name: &str,
        config: &HostConfig,
    ) -> Result<Vec<(HostNic, LinkConfig)>, Error> {
        let mut nics: Vec<(HostNic, LinkConfig)> = Vec::new();
        for InterfaceConfig { subnet, ip, link } in config.places() {
            let at = registry.subnet(name, subnet.as_deref())?;
            if nics.iter().any(|(nic, _)| nic.subnet == Some(at)) {
                let subnet = registry.subnets[at].name.clone();
                return Err(Error::UnknownSubnet { name: name.to_owned(), subnet });
            }
            let number = registry.subnets[at].take(name, ip)?;
            nics.push(registry.nic(name, nics.len(), at, number, link)?);
        }
        Ok(nics)
    }

    fn attach(&self, registry: &mut Registry, plan: HostPlan<'_>) -> Result<Host, Error> {
        let HostPlan { name, nics, config } = plan;
        let HostConfig { stack, capture, .. } = config;
        let forwards = stack.forwarding;
        let sink = capture.map(|path| Target::File(path).open(stack.wall_offset)).transpose()?;
        let stack = Config { sum_words: fastest_sum(), ..stack };
        let mut stack = Stack::new(stack, registry.rng.next_seed());
        let core = &self.shared.core;
        let (nics, links): (Vec<HostNic>, Vec<LinkConfig>) = nics.into_iter().unzip();
        let index = core.hosts().len() as u32;
        if forwards {
            registry.routers.push(Router::new(index, &nics));
        }
        let routes = registry.topology().routes(index, &nics);
        let refused = |error| Error::Stack { name: name.to_owned(), error };
        let attached = set_up(&mut stack, &nics, &routes)
            .map_err(refused)
            .and_then(|()| core.wire.attach(name, attachments(registry, name, &nics, &links), sink));
        if attached.is_err() {
            registry.routers.retain(|router| router.host != index);
        }
        attached?;
        let is_captured = core.wire.wants_loopback(index);
        let host = Arc::new(HostCore::new(index, name, nics, routes, is_captured, stack));
        core.add_host(Arc::clone(&host));
        registry.enter(name, index, &host.nics);
        if forwards {
            self.reroute(registry);
            for nic in host.nics.iter().filter(|nic| registry.is_at_gateway(nic)) {
                core.wire.set_gateway(nic.subnet.unwrap_or(0), Some(index));
            }
        }
        let unwatched = |error| Error::Descriptor { name: name.to_owned(), error };
        core.connect_links(&host).map_err(unwatched)?;
        Ok(Host { shared: Arc::clone(&self.shared), core: host })
    }

    /// Gives all hosts the routes that hold now.
    fn reroute(&self, registry: &Registry) {
        let topology = registry.topology();
        for host in self.shared.core.hosts().iter().flatten() {
            let mut old = host.routes.lock().unwrap_or_else(PoisonError::into_inner);
            let new = topology.routes(host.index, &host.nics);
            if *old == new {
                continue;
            }
            let mut state = host.lock();
            for route in old.iter().filter(|route| !new.contains(route)) {
                // Somebody may have removed it.
                let _ = state.stack.remove_route(route);
            }
            for route in new.iter().filter(|route| !old.contains(route)) {
                // Its interface is the host's, and its families agree.
                let _ = state.stack.add_route(*route);
            }
            *old = new;
        }
    }

    /// Takes a host out of the network. Its connections are reset, which their peers are told over the links
    /// as they are; its name and its addresses are free, its number is not used again. Handles to it and its
    /// sockets that live on fail with [`ConnectionReset`](io::ErrorKind::ConnectionReset), and whoever waits for
    /// one of them is woken; new sockets can't be made. Its programs in a simulation end. Taps on it are removed and links of its own are
    /// dropped. The gateway stays.
    ///
    /// What is sent to its addresses from now on is answered with "host unreachable", as for any address that nobody has.
    /// So a peer that missed the reset because the link lost it, and has something to send, fails with
    /// [`HostUnreachable`](io::ErrorKind::HostUnreachable) when its retransmissions are over: such an answer ends no
    /// connection that is open (RFC 9293 §3.9.2.2). One that only waits learns nothing, unless it has keep-alive on.
    pub fn remove_host(&self, host: &Host) {
        let (core, index) = (&self.shared.core, host.core.index);
        if index == 0 || !self.is_of(host) || !core.retire(&host.core) {
            return;
        }
        let mut registry = self.registry();
        registry.strike(host.name());
        if registry.routers.iter().any(|router| router.host == index) {
            registry.routers.retain(|router| router.host != index);
            self.reroute(&registry);
        }
        drop(registry);
        host.core.taps.clear();
    }

    /// The host with this name; case doesn't count. The gateway is none: [`Network::gateway`].
    pub fn host(&self, name: &str) -> Result<Host, Error> {
        let index = self.registry().find(name).filter(|&index| index != 0);
        let unknown = || Error::UnknownHost { name: name.to_owned() };
        index.and_then(|index| self.host_by_id(HostId(index))).ok_or_else(unknown)
    }

    /// The host with this number.
    pub fn host_by_id(&self, id: HostId) -> Option<Host> {
        let core = self.shared.core.host(id.0)?;
        Some(Host { shared: Arc::clone(&self.shared), core })
    }

    /// The host that was given this address when it was added.
    pub fn host_by_address(&self, address: IpAddr) -> Option<Host> {
        let index = self.registry().find_address(address)?;
        self.host_by_id(HostId(index))
    }

    /// All hosts but the gateway, in the order they were added.
    pub fn hosts(&self) -> Vec<Host> {
        let hosts = self.shared.core.hosts();
        let handle = |core: &Arc<HostCore>| Host { shared: Arc::clone(&self.shared), core: Arc::clone(core) };
        hosts.iter().skip(1).flatten().map(handle).collect()
    }

    /// The host at the first subnet's first address, from which names are served.
    pub fn gateway(&self) -> Host {
        let core = self.shared.core.host(0).expect("it is the first host, and stays");
        Host { shared: Arc::clone(&self.shared), core }
    }

    /// The IPv4 and the IPv6 subnet; of several, the first's.
    pub fn subnets(&self) -> [Subnet; 2] {
        let plan = self.registry().plan();
        [plan.v4, plan.v6]
    }

    /// The IPv4 and the IPv6 subnet of this name.
    pub fn subnet(&self, name: &str) -> Option<[Subnet; 2]> {
        let registry = self.registry();
        let book = registry.subnets.iter().find(|book| book.name.eq_ignore_ascii_case(name))?;
        Some([book.plan.v4, book.plan.v6])
    }

    /// The names of the subnets, in their order.
    pub fn subnet_names(&self) -> Vec<String> {
        self.registry().subnets.iter().map(|book| book.name.clone()).collect()
    }

    /// The interfaces of a host, but the loopback.
    pub fn interfaces(&self, host: &Host) -> Vec<Interface> {
        // The names of its own network's subnets, whichever this is.
        let registry = Network { shared: Arc::clone(&host.shared) };
        let registry = registry.registry();
        let interface = |nic: &HostNic| Interface {
            name: nic.config.name.clone(),
            nic: nic.id,
            subnet: nic.subnet.map(|subnet| registry.subnets[subnet].name.clone()),
            addresses: nic.addresses.clone(),
            mtu: nic.config.mtu,
        };
        host.core.nics.iter().map(interface).collect()
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
            wake_all(wakers);
            if let Some(event) = event {
                core.mark_eventful(&host);
                return Some((HostId(host.index), event));
            }
        }
        None
    }

    /// Changes the conditions of one direction of a host's links, for what is sent from now on.
    pub fn set_link(&self, host: &Host, way: Direction, link: NetemConfig) {
        for place in 0..host.core.nics.len() {
            self.shared.core.wire.set_link(self.number(host), place, way, link);
        }
    }

    /// As [`Network::set_link`], for the host's link to one subnet. A subnet that it isn't in is an error.
    pub fn set_link_to(
        &self,
        host: &Host,
        subnet: &str,
        way: Direction,
        link: NetemConfig,
    ) -> Result<(), Error> {
        let place = self.place(host, subnet)?;
        self.shared.core.wire.set_link(self.number(host), place, way, link);
        Ok(())
    }

    /// The conditions of one direction of a host's first link, and what became of the segments there.
    pub fn link(&self, host: &Host, way: Direction) -> (NetemConfig, NetemCounters) {
        self.shared.core.wire.link(self.number(host), 0, way)
    }

    /// As [`Network::link`], for the host's link to one subnet. A subnet that it isn't in is an error.
    pub fn link_to(
        &self,
        host: &Host,
        subnet: &str,
        way: Direction,
    ) -> Result<(NetemConfig, NetemCounters), Error> {
        let place = self.place(host, subnet)?;
        Ok(self.shared.core.wire.link(self.number(host), place, way))
    }

    /// The place of a host's interface in a subnet.
    fn place(&self, host: &Host, subnet: &str) -> Result<usize, Error> {
        let at = self.registry().subnet(host.name(), Some(subnet))?;
        let absent = || Error::UnknownSubnet { name: host.name().to_owned(), subnet: subnet.to_owned() };
        host.core.place_in(at).ok_or_else(absent)
    }

    /// What became of the packets of a host.
    pub fn counters(&self, host: &Host) -> PortCounters {
        self.shared.core.wire.counters(self.number(host))
    }

    /// Gives a host one more address, in its subnets or outside; it is at the interface to the subnet that it
    /// belongs to, else at the first.
    pub fn add_address(&self, host: &Host, address: IpAddr) -> Result<(), Error> {
        self.check_is_of(host)?;
        let place = {
            let registry = self.registry();
            let owns = |nic: &HostNic| {
                nic.subnet.is_some_and(|at| registry.subnets[at].plan.subnet_of(address).contains(address))
            };
            host.core.nics.iter().position(owns).unwrap_or(0)
        };
        let wire = &self.shared.core.wire;
        wire.add_address(host.core.index, place, host.name(), address)?;
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        let added = host.with_stack(|stack, _| stack.add_address(nic_id(place), address, prefix));
        added.map_err(|error| {
            wire.remove_address(address);
            Error::Stack { name: host.name().to_owned(), error }
        })
    }

    /// Takes away an address that [`Network::add_address`] gave.
    pub fn remove_address(&self, host: &Host, address: IpAddr) -> Result<(), Error> {
        self.check_is_of(host)?;
        let removed = host.with_stack(|stack, _| {
            let mut removed = Err(sockeye_stack::Error::AddrNotAvailable);
            for place in 0..host.core.nics.len() {
                removed = removed.or_else(|_| stack.remove_address(nic_id(place), address));
            }
            removed
        });
        removed.map_err(|error| Error::Stack { name: host.name().to_owned(), error })?;
        self.shared.core.wire.remove_address(address);
        Ok(())
    }

    /// Has packets to an address of the subnet go to the gateway, although it does not have the address: it
    /// gets what its stack [intercepts](Stack::intercept). For
    /// [the machine's addresses](Network::machine_addresses), for example.
    pub fn add_gateway_address(&self, address: IpAddr) -> Result<(), Error> {
        self.shared.core.wire.add_address(0, 0, NetworkBuilder::GATEWAY, address)
    }

    /// Takes back what [`Network::add_gateway_address`] gave.
    pub fn remove_gateway_address(&self, address: IpAddr) {
        self.shared.core.wire.remove_address(address);
    }

    /// The addresses set aside for the machine outside, `host.sockeye`: the IPv4 one, then the IPv6 one.
    /// Nobody has them, unless a gateway does ([`Network::add_gateway_address`]).
    pub fn machine_addresses(&self) -> [IpAddr; 2] {
        let plan = self.registry().plan();
        // Every subnet has room for them.
        plan.machine().map_or([plan.v4.address(), plan.v6.address()], |(v4, v6)| [v4.into(), v6.into()])
    }

    /// Has packets to addresses outside the (first) subnet go to a host; with none, they are unreachable.
    pub fn set_gateway(&self, host: Option<&Host>) {
        self.shared.core.wire.set_gateway(0, host.map(|host| self.number(host)));
    }

    /// Captures what a host sends and receives from now on, to a file in pcapng, as
    /// [`HostConfig::capture`](crate::HostConfig::capture) does from the start.
    pub fn capture_host(&self, host: &Host, path: impl AsRef<Path>) -> Result<(), Error> {
        self.check_is_of(host)?;
        let offset = host.with_stack(|stack, _| stack.config().wall_offset);
        if self.shared.core.wire.is_captured(host.core.index) {
            // Before the file is emptied, which may be that of the capture that goes on.
            return Err(Error::CapturedAlready { name: host.name().to_owned() });
        }
        let sink = Target::File(path.as_ref().to_owned()).open(offset)?;
        self.shared.core.wire.capture_host(host.core.index, host.name(), sink)?;
        host.core.is_captured.store(true, Ordering::Relaxed);
        host.with_stack(|stack, _| stack.set_loopback_tap(true));
        Ok(())
    }

    /// Ends the capture of a host's packets, and reports the first error that it met.
    pub fn end_capture(&self, host: &Host) -> io::Result<()> {
        self.check_is_of(host)?;
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

/// A host to attach.
struct HostPlan<'a> {
    name: &'a str,
    /// With the conditions of their links.
    nics: Vec<(HostNic, LinkConfig)>,
    config: HostConfig,
}

impl Registry {
    /// The interface of a host in a subnet, at this place among its interfaces.
    fn nic(
        &self,
        name: &str,
        place: usize,
        subnet: usize,
        number: u32,
        link: LinkConfig,
    ) -> Result<(HostNic, LinkConfig), Error> {
        let book = &self.subnets[subnet];
        let plan = book.plan;
        let full = || Error::SubnetFull { name: name.to_owned(), subnet: plan.v4 };
        let (v4, v6) = plan.addresses(number).ok_or_else(full)?;
        let config = NicConfig {
            name: format!("eth{place}"),
            states_next_hop: self.subnets.len() > 1,
            ..book.medium.clone()
        };
        let nic = HostNic {
            id: nic_id(place),
            config,
            subnet: Some(subnet),
            addresses: vec![(v4.into(), plan.v4.prefix()), (v6.into(), plan.v6.prefix())],
            routes: Vec::new(),
            link: None,
        };
        Ok((nic, if link == LinkConfig::default() { book.link } else { link }))
    }
}

/// The interface of a host over a link of its own.
fn link_nic(
    name: &str,
    place: usize,
    link: Box<dyn Link>,
    interface: &LinkInterface,
) -> Result<(HostNic, LinkConfig), Error> {
    let id = nic_id(place);
    let nic = HostNic {
        id,
        config: interface.nic_config(name, &*link)?,
        subnet: None,
        addresses: interface.addresses.clone(),
        routes: interface.stack_routes(id),
        link: Some(LinkPort::new(link)),
    };
    Ok((nic, LinkConfig::default()))
}

/// What the wire is told of a host's interfaces. Of several, captures name each by its subnet or link.
fn attachments(registry: &Registry, name: &str, nics: &[HostNic], links: &[LinkConfig]) -> Vec<Attachment> {
    let attachment = |(nic, link): (&HostNic, &LinkConfig)| {
        let of = nic.subnet.map_or(&nic.config.name, |subnet| &registry.subnets[subnet].name);
        Attachment {
            name: if nics.len() == 1 { name.to_owned() } else { format!("{name}:{of}") },
            subnet: nic.subnet,
            addresses: nic.addresses.iter().map(|(address, _)| *address).collect(),
            link: [link.outgoing, link.incoming],
        }
    };
    nics.iter().zip(links).map(attachment).collect()
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [v4, v6] = self.subnets();
        write!(f, "Network({v4} {v6} {:?})", self.hosts())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verdict;
    use std::io::Write;
    use std::sync::Weak;

    fn with_two_hosts() -> NetworkBuilder {
        Network::builder().host("a", HostConfig::default()).host("b", HostConfig::default())
    }

    #[test]
    fn the_last_handle_ends_the_thread_and_frees_everything() {
        let network = with_two_hosts().build().unwrap();
        let core = Arc::downgrade(&network.shared.core);
        let (a, b) = (network.host("a").unwrap(), network.host("b").unwrap());
        let hosts: Vec<Weak<HostCore>> = [&a, &b].map(|host| Arc::downgrade(&host.core)).into();
        let seen = Arc::new(());
        let held = Arc::clone(&seen);
        network.tap(&a, Direction::Up, move |_, _| {
            let _ = &held;
            Verdict::Pass
        });
        let listener = a.tcp_listen((a.ipv4(), 80)).unwrap();
        let mut near = b.tcp_connect((a.ipv4(), 80)).unwrap();
        let (far, _) = listener.accept().unwrap();
        near.write_all(b"never read").unwrap();
        drop((network, a, b, listener, near));
        assert!(core.strong_count() > 0 && Arc::strong_count(&seen) == 2, "a socket keeps its network");
        drop(far);
        // The thread has a count of its own, so it has ended too.
        assert_eq!(core.strong_count(), 0);
        assert!(hosts.iter().all(|host| host.strong_count() == 0));
        assert_eq!(Arc::strong_count(&seen), 1);
    }

    #[test]
    fn a_removed_host_is_freed_with_its_last_handle() {
        let network = with_two_hosts().build_manual().unwrap();
        let (a, b) = (network.host("a").unwrap(), network.host("b").unwrap());
        let core = Arc::downgrade(&a.core);
        let socket = a.udp_bind((a.ipv4(), 9)).unwrap();
        b.udp_bind((b.ipv4(), 9)).unwrap().send_to(b"x", (a.ipv4(), 9)).unwrap();
        network.remove_host(&a);
        network.turn(Instant::from_millis(1));
        drop(a);
        assert_eq!(core.strong_count(), 1);
        drop(socket);
        assert_eq!(core.strong_count(), 0);
        for millis in 2..100 {
            network.turn(Instant::from_millis(millis));
        }
    }
}
