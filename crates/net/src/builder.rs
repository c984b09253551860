//! A network's description, checked before anything of it exists.

use crate::capture::Target;
use crate::clock::Clock;
use crate::driver::{Core, DriverGuard};
use crate::registry::{Book, Registry};
use crate::subnet::AddressPlan;
use crate::wire::Wire;
use crate::{Error, LinkInterface, Network, Simulation, Subnet};
use sockeye_link::Link;
use sockeye_link::fabric::FabricConfig;
use sockeye_link::netem::NetemConfig;
use sockeye_packet::Rng;
use sockeye_stack::{Config, NicConfig};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// What a host is made with.
///
/// ```
/// use sockeye::stack::Config;
/// use sockeye::{HostConfig, Network};
///
/// let slow = HostConfig {
///     ip: Some("10.77.0.80".parse().unwrap()),
///     link: "delay 40ms loss 1%".parse().unwrap(),
///     stack: Config { memory: 1 << 20, ..Config::default() },
///     ..HostConfig::default()
/// };
/// let network = Network::builder().host("slow", slow).host("other", HostConfig::default()).build()?;
/// assert_eq!(network.host("slow")?.ipv4().to_string(), "10.77.0.80");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct HostConfig {
    /// Its address in either subnet; the other family's has the same number. None for the next free one.
    pub ip: Option<IpAddr>,
    /// The conditions of its link.
    pub link: LinkConfig,
    /// The subnet it is in, by name, of a network that has several; none for the first.
    pub subnet: Option<String>,
    /// Further interfaces, each to another subnet. Such a host passes nothing on between them unless
    /// [`Config::forwarding`] says so.
    pub interfaces: Vec<InterfaceConfig>,
    /// The settings of its stack, among them its limits: see [`NetworkBuilder`].
    pub stack: Config,
    /// A file for what the host sends and receives, in pcapng; what it sends to itself is there too, once,
    /// under the interface name `NAME:lo`. A host with several interfaces has each there as `NAME:SUBNET`.
    pub capture: Option<PathBuf>,
}

/// The conditions of a host's link, each way.
///
/// ```
/// use sockeye::{LinkConfig, NetemConfig};
///
/// let both: LinkConfig = "delay 20ms".parse()?;
/// assert_eq!(both.outgoing, both.incoming);
/// // A home's: much in, little out.
/// let home = LinkConfig { outgoing: "rate 10mbit".parse()?, incoming: "rate 100mbit".parse()? };
/// # assert_ne!(home.outgoing, home.incoming);
/// # Ok::<(), <NetemConfig as std::str::FromStr>::Err>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LinkConfig {
    /// For what the host sends.
    pub outgoing: NetemConfig,
    /// For what it receives.
    pub incoming: NetemConfig,
}

impl From<NetemConfig> for LinkConfig {
    /// The same conditions each way.
    fn from(both: NetemConfig) -> LinkConfig {
        LinkConfig { outgoing: both, incoming: both }
    }
}

impl FromStr for LinkConfig {
    type Err = <NetemConfig as FromStr>::Err;

    /// The same conditions each way, as [`NetemConfig`] writes them: `"delay 40ms loss 1%"`.
    fn from_str(text: &str) -> Result<LinkConfig, Self::Err> {
        text.parse::<NetemConfig>().map(LinkConfig::from)
    }
}

/// A subnet of a network that has several. What isn't stated is as in a network that names none: the first has
/// `10.77.0.0/16` and `fd77::/64`, the second `10.78.0.0/16` and `fd77:0:0:1::/64`, and so on.
///
/// ```
/// use sockeye::{HostConfig, Network, SubnetConfig};
///
/// let lab = SubnetConfig { v4: Some("192.0.2.0/24".parse()?), mtu: Some(1280), ..SubnetConfig::default() };
/// let network = Network::builder().named_subnet("lab", lab).host("bench", HostConfig::default()).build()?;
/// assert_eq!(network.host("bench")?.ipv4().to_string(), "192.0.2.2");
/// # Ok::<(), sockeye::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SubnetConfig {
    /// Its IPv4 addresses.
    pub v4: Option<Subnet>,
    /// Its IPv6 addresses.
    pub v6: Option<Subnet>,
    /// The MTU of its links, in bytes: 1280 to 65,535. The network's unless stated.
    pub mtu: Option<u32>,
    /// The conditions of the links of hosts that state none.
    pub link: LinkConfig,
}

/// A further interface of a host: it is in several subnets.
///
/// ```
/// use sockeye::{HostConfig, InterfaceConfig, Network, SubnetConfig};
///
/// let second = InterfaceConfig { subnet: Some("back".into()), link: "delay 1ms".parse().unwrap(), ip: None };
/// let server = HostConfig { interfaces: vec![second], ..HostConfig::in_subnet("front") };
/// let network = Network::builder()
///     .named_subnet("front", SubnetConfig::default())
///     .named_subnet("back", SubnetConfig::default())
///     .host("server", server)
///     .build()?;
/// assert_eq!(network.interfaces(&network.host("server")?).len(), 2);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InterfaceConfig {
    /// The name of the subnet; none for the network's first.
    pub subnet: Option<String>,
    /// Its address there, of either family; the other family's has the same number. None for the next free one.
    pub ip: Option<IpAddr>,
    /// The conditions of its link.
    pub link: LinkConfig,
}

impl HostConfig {
    /// A host in the subnet of this name, of a network that has several.
    pub fn in_subnet(name: impl Into<String>) -> HostConfig {
        HostConfig { subnet: Some(name.into()), ..HostConfig::default() }
    }

    /// Gives it an interface to one more subnet.
    pub fn and_subnet(mut self, name: impl Into<String>) -> HostConfig {
        let interface = InterfaceConfig { subnet: Some(name.into()), ..InterfaceConfig::default() };
        self.interfaces.push(interface);
        self
    }

    /// A router: a host in these subnets that passes packets on between them.
    pub fn router<S: Into<String>>(subnets: impl IntoIterator<Item = S>) -> HostConfig {
        let mut subnets = subnets.into_iter();
        let mut router = HostConfig { subnet: subnets.next().map(Into::into), ..HostConfig::default() };
        router.stack.forwarding = true;
        subnets.fold(router, HostConfig::and_subnet)
    }

    /// Whether it says where in the network the host is.
    pub(crate) fn has_place(&self) -> bool {
        self.ip.is_some() || self.subnet.is_some() || !self.interfaces.is_empty()
    }

    /// All its interfaces to subnets.
    pub(crate) fn places(&self) -> Vec<InterfaceConfig> {
        let first = InterfaceConfig { subnet: self.subnet.clone(), ip: self.ip, link: self.link };
        std::iter::once(first).chain(self.interfaces.iter().cloned()).collect()
    }
}

/// Describes a [`Network`]: its subnets, its seed, its capture, its hosts.
///
/// What is wrong with the description is said when the network is built.
///
/// # Limits
///
/// What hosts can make a network hold is bounded. A host's bounds are in its [`HostConfig::stack`]:
///
/// | what | field | unless stated |
/// |---|---|---|
/// | bytes of payload and state in all queues of the host | [`Config::memory`] | 256 MiB |
/// | sockets | [`Config::max_sockets`] | 1,048,576 |
/// | connections that wait at a listener | [`Config::somaxconn`], and the listener's backlog | 4096 |
/// | half-open connections of a listener, beyond which SYN cookies are sent | [`TcpConfig::max_half_open`](sockeye_stack::TcpConfig::max_half_open) | 4096 |
/// | connections that live on without a socket | [`TcpConfig::max_orphans`](sockeye_stack::TcpConfig::max_orphans) | 65,536 |
/// | connections in TIME-WAIT | [`TcpConfig::max_time_wait`](sockeye_stack::TcpConfig::max_time_wait) | 65,536 |
/// | bytes of a TCP socket's buffers | [`TcpConfig::send_buffer`](sockeye_stack::TcpConfig::send_buffer), [`recv_buffer`](sockeye_stack::TcpConfig::recv_buffer) | up to 4 and 6 MiB |
/// | bytes of a UDP socket's buffers | [`Config::udp_send_buffer`], [`Config::udp_recv_buffer`] | 208 KiB each |
/// | ICMP errors sent per second, and at once | [`Config::icmp_rate`], [`Config::icmp_burst`] | 1000, 50 |
/// | time between ICMP errors to one destination, after the first six | [`Config::icmp_interval`] | 1 s |
///
/// Fixed are the 1024 packets that a host holds for each link without belonging to a socket (forwarded ones among
/// them), and the 16,384 that wait at a switch for a host that doesn't fetch them. Links bound what is under way
/// by their [`NetemConfig`]'s `limit`.
///
/// ```
/// use sockeye::{HostConfig, Network};
///
/// let mut wires = Vec::new();
/// for number in 1..=3 {
///     let builder = Network::builder().seed(number).subnet("192.168.0.0/24".parse()?).mtu(9000);
///     wires.push(builder.host("lonely", HostConfig::default()).build()?);
/// }
/// assert!(wires.iter().all(|network| network.host("lonely").unwrap().ipv4().to_string() == "192.168.0.2"));
/// # Ok::<(), sockeye::Error>(())
/// ```
#[derive(Default)]
pub struct NetworkBuilder {
    /// Of a network that names no subnets.
    plan: AddressPlan,
    subnets: Vec<(String, SubnetConfig)>,
    seed: Option<u64>,
    mtu: Option<u32>,
    cuts_segments: bool,
    wall_offset: Duration,
    capture: Option<Target>,
    gateway: HostConfig,
    uplinks: Vec<(Box<dyn Link>, LinkInterface)>,
    hosts: Vec<(String, HostConfig)>,
}

impl fmt::Debug for NetworkBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.hosts.iter().map(|(name, _)| name);
        f.debug_struct("NetworkBuilder")
            .field("plan", &self.plan)
            .field("subnets", &self.subnets)
            .field("seed", &self.seed)
            .field("capture", &self.capture)
            .field("hosts", &names.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl NetworkBuilder {
    /// The gateway's name.
    pub const GATEWAY: &str = "gateway";
    /// The name of the subnet of a network that names none.
    pub const SUBNET: &str = "net";
    /// The MTU of links unless stated.
    pub const DEFAULT_MTU: u32 = 1500;

    /// Adds a subnet, of a network that shall have several: hosts state by [name](HostConfig::subnet) in which of
    /// them they are, and [routers](NetworkBuilder::router) pass packets on between them. The first has the
    /// gateway, and is that of hosts that state none. [`NetworkBuilder::subnet`] can't be stated beside it.
    ///
    /// ```
    /// use sockeye::{HostConfig, Network, SubnetConfig};
    ///
    /// let network = Network::builder()
    ///     .named_subnet("office", SubnetConfig::default())
    ///     .named_subnet("lab", SubnetConfig { mtu: Some(1280), ..SubnetConfig::default() })
    ///     .router("core", ["office", "lab"])
    ///     .host("desk", HostConfig::in_subnet("office"))
    ///     .host("bench", HostConfig::in_subnet("lab"))
    ///     .build()?;
    /// let (desk, bench) = (network.host("desk")?, network.host("bench")?);
    /// let listener = bench.tcp_listen((bench.ipv4(), 80))?;
    /// let stream = desk.tcp_connect((bench.ipv4(), 80))?;
    /// assert_eq!(listener.accept()?.1, stream.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn named_subnet(mut self, name: impl Into<String>, config: SubnetConfig) -> NetworkBuilder {
        self.subnets.push((name.into(), config));
        self
    }

    /// Adds a router between subnets, which are named: [`HostConfig::router`], for who has nothing else to say.
    pub fn router<S: Into<String>>(
        self,
        name: impl Into<String>,
        subnets: impl IntoIterator<Item = S>,
    ) -> NetworkBuilder {
        self.host(name, HostConfig::router(subnets))
    }

    /// Gives the gateway a link to the outside, and has it pass packets on: what leaves the network goes there,
    /// and what comes from there for one of the network's addresses comes in. Whoever is at the link's other end
    /// needs a route to the network's subnets by it.
    pub fn uplink(mut self, link: impl Link + 'static, interface: LinkInterface) -> NetworkBuilder {
        self.gateway.stack.forwarding = true;
        self.uplinks.push((Box::new(link), interface));
        self
    }

    /// Sets the subnet of its address's family. Hosts have an address in both: `10.77.0.0/16` and
    /// `fd77::/64` unless stated.
    pub fn subnet(mut self, subnet: Subnet) -> NetworkBuilder {
        let place = if subnet.address().is_ipv4() { &mut self.plan.v4 } else { &mut self.plan.v6 };
        *place = subnet;
        self
    }

    /// Makes everything random depend on `seed` alone: loss, sequence numbers, ports. Without, a network is
    /// unpredictable.
    pub fn seed(mut self, seed: u64) -> NetworkBuilder {
        self.seed = Some(seed);
        self
    }

    /// Sets the MTU of all links, in bytes: 1280 to 65,535. Another is [`Error::BadMtu`] when the network is built.
    pub fn mtu(mut self, mtu: u32) -> NetworkBuilder {
        self.mtu = Some(mtu);
        self
    }

    /// Whether links take TCP super-segments whole, as they do unless this says otherwise: packets of up to 128 KiB that
    /// count as many, as a card does that cuts them itself. Without, every packet is as long as on a wire.
    ///
    /// ```
    /// use sockeye::{HostConfig, Network};
    ///
    /// let network = Network::builder().super_segments(false).host("web", HostConfig::default()).build()?;
    /// let nic = network.interfaces(&network.host("web")?)[0].nic;
    /// assert_eq!(network.host("web")?.with_stack(|stack, _| stack.nic(nic).unwrap().max_segment), 0);
    /// # Ok::<(), sockeye::Error>(())
    /// ```
    pub fn super_segments(mut self, whole: bool) -> NetworkBuilder {
        self.cuts_segments = !whole;
        self
    }

    /// Captures every packet once, as its host sends it, to a file in pcapng; packets to the host itself under
    /// the interface name `NAME:lo`. What single hosts see is captured with [`HostConfig::capture`].
    pub fn capture(mut self, path: impl AsRef<Path>) -> NetworkBuilder {
        self.capture = Some(Target::File(path.as_ref().to_owned()));
        self
    }

    /// As [`NetworkBuilder::capture`], to any writer.
    pub fn capture_to(mut self, writer: impl Write + Send + 'static) -> NetworkBuilder {
        self.capture = Some(Target::Writer(Box::new(writer)));
        self
    }

    /// The time since the Unix epoch at the network's time zero, for captures. A threaded network takes it
    /// from the system when it is built, unless it is stated.
    pub fn wall_offset(mut self, offset: Duration) -> NetworkBuilder {
        self.wall_offset = offset;
        self
    }

    /// Sets the gateway's stack, link and capture; it has the (first) subnet's first address, so `config` must state no
    /// address, subnet or interface.
    pub fn gateway(mut self, config: HostConfig) -> NetworkBuilder {
        self.gateway = config;
        self.gateway.stack.forwarding |= !self.uplinks.is_empty();
        self
    }

    /// Adds a host. Those that state an address get it, the others the next free ones, in order.
    pub fn host(mut self, name: impl Into<String>, config: HostConfig) -> NetworkBuilder {
        self.hosts.push((name.into(), config));
        self
    }

    /// Makes the network, with a thread of its own that drives it by the machine's clock.
    pub fn build(mut self) -> Result<Network, Error> {
        if self.wall_offset.is_zero() {
            self.wall_offset = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        }
        let mut rng = self.rng();
        let books = self.books()?;
        let core = self.core(Clock::real(), &mut rng, &books)?;
        let driver = DriverGuard::start(&core).map_err(|error| Error::Thread { error })?;
        self.populate(core, Some(driver), Registry::new(books, rng))
    }

    /// Makes the network for somebody who [turns](Network::turn) it.
    pub fn build_manual(mut self) -> Result<Network, Error> {
        let mut rng = self.rng();
        let books = self.books()?;
        let core = self.core(Clock::manual(), &mut rng, &books)?;
        self.populate(core, None, Registry::new(books, rng))
    }

    /// Makes the network, with a clock of its own that jumps from one event to the next.
    pub fn simulate(self) -> Result<Simulation, Error> {
        Ok(Simulation::new(self.build_manual()?))
    }

    fn core(&mut self, clock: Clock, rng: &mut Rng, books: &[Book]) -> Result<Arc<Core>, Error> {
        let mut fabrics = Vec::new();
        for AddressPlan { v4, v6 } in books.iter().map(|book| book.plan) {
            let gateways = AddressPlan { v4, v6 }.addresses(AddressPlan::GATEWAY);
            let (IpAddr::V4(v4_address), IpAddr::V6(v6_address), Some((gateway_v4, gateway_v6))) =
                (v4.address(), v6.address(), gateways)
            else {
                // Each subnet has room for a gateway.
                let reason = "one is of IPv4, the other of IPv6";
                return Err(Error::BadSubnet { subnet: format!("{v4} {v6}"), reason });
            };
            fabrics.push(FabricConfig {
                subnet_v4: (v4_address, v4.prefix()),
                subnet_v6: (v6_address, v6.prefix()),
                gateway_v4,
                gateway_v6,
                seed: rng.next_seed(),
            });
        }
        let capture = self.capture.take().map(|capture| capture.open(self.wall_offset)).transpose()?;
        Ok(Arc::new(Core::new(clock, Wire::new(fabrics, capture))))
    }

    /// The subnets, checked.
    fn books(&mut self) -> Result<Vec<Book>, Error> {
        let mtu = check_mtu(None, self.mtu.unwrap_or(Self::DEFAULT_MTU))?;
        if self.gateway.has_place() {
            let reason = "the gateway has the first address of the (first) subnet and no other interface: \
                leave `ip`, `subnet` and `interfaces` out of its HostConfig";
            return Err(Error::Contradiction { reason });
        }
        if self.subnets.is_empty() {
            return Ok(vec![Book::new(
                Self::SUBNET.into(),
                self.plan,
                self.medium(mtu),
                LinkConfig::default(),
                true,
            )]);
        }
        if self.plan != AddressPlan::default() {
            let reason = "a network with named subnets has no other: state addresses in the SubnetConfig of one, \
                instead of NetworkBuilder::subnet";
            return Err(Error::Contradiction { reason });
        }
        let mut books: Vec<Book> = Vec::new();
        for (place, (name, config)) in std::mem::take(&mut self.subnets).into_iter().enumerate() {
            let plan = AddressPlan::of_place(place, config.v4, config.v6);
            let bad = |subnet: String, reason| Err(Error::BadSubnet { subnet, reason });
            if name.is_empty() || books.iter().any(|book| book.name.eq_ignore_ascii_case(&name)) {
                return bad(name, "each needs a name of its own (case doesn't count)");
            }
            if let Some(subnet) = books.iter().find_map(|book| plan.overlap(&book.plan)) {
                return bad(subnet.to_string(), "another of the network's has addresses of it");
            }
            let mtu = config.mtu.map_or(Ok(mtu), |mtu| check_mtu(Some(&name), mtu))?;
            books.push(Book::new(name, plan, self.medium(mtu), config.link, place == 0));
        }
        Ok(books)
    }

    /// What interfaces have in common in a subnet with this MTU.
    fn medium(&self, mtu: u32) -> NicConfig {
        let memory = NicConfig::memory("", mtu);
        let max_segment = if self.cuts_segments { 0 } else { memory.max_segment };
        NicConfig { max_segment, ..memory }
    }

    /// Adds the hosts in order. The addresses that some of them state are set aside first.
    fn populate(
        self,
        core: Arc<Core>,
        driver: Option<DriverGuard>,
        registry: Registry,
    ) -> Result<Network, Error> {
        let NetworkBuilder { wall_offset, gateway, uplinks, hosts, .. } = self;
        let network = Network::new(core, driver, registry);
        let with_offset = |mut config: HostConfig| {
            if config.stack.wall_offset.is_zero() {
                config.stack.wall_offset = wall_offset;
            }
            config
        };
        network.add_gateway(with_offset(gateway), uplinks)?;
        for (name, config) in &hosts {
            network.reserve(name, config)?;
        }
        for (name, config) in hosts {
            network.add_host(&name, with_offset(config))?;
        }
        Ok(network)
    }

    fn rng(&self) -> Rng {
        match self.seed {
            Some(seed) => Rng::from_u64(seed),
            None => Rng::new(entropy()),
        }
    }
}

/// Checks that links in memory can have an MTU: hosts speak IPv6 over them (RFC 8200 §5), and IPv4 packets have no
/// more bytes.
fn check_mtu(name: Option<&str>, mtu: u32) -> Result<u32, Error> {
    let bounds = 1280..=65_535;
    if bounds.contains(&mtu) {
        return Ok(mtu);
    }
    Err(Error::BadMtu { name: name.map(str::to_owned), mtu, bounds })
}

/// Bytes that nobody can guess: a keyed hash whose key the system drew.
fn entropy() -> [u8; 32] {
    let state = RandomState::new();
    let mut seed = [0; 32];
    for (index, part) in seed.chunks_exact_mut(8).enumerate() {
        part.copy_from_slice(&state.hash_one((index, "sockeye")).to_le_bytes());
    }
    seed
}

/// Checks that a name can be a host's: one DNS label (RFC 1123 §2.1) that nothing else is called.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let bad = |reason| Err(Error::BadName { name: name.to_owned(), reason });
    if name.is_empty() {
        return bad("it is empty");
    }
    if name.len() > 63 {
        return bad("it is longer than 63 characters");
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return bad("it has other characters than letters, digits and hyphens");
    }
    if name.starts_with('-') || name.ends_with('-') {
        return bad("it starts or ends with a hyphen");
    }
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return bad("it is a number, which programs take for an address");
    }
    if [NetworkBuilder::GATEWAY, "localhost", "host"].iter().any(|taken| name.eq_ignore_ascii_case(taken)) {
        return bad("it is taken by the network itself");
    }
    Ok(())
}
