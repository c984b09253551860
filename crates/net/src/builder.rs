//! A network's description, checked before anything of it exists.

use crate::clock::Clock;
use crate::driver::{Core, DriverGuard};
use crate::subnet::AddressPlan;
use crate::wire::{Sink, Wire};
use crate::{Error, Network, Simulation, Subnet};
use sockeye_link::fabric::FabricConfig;
use sockeye_link::netem::NetemConfig;
use sockeye_link::pcapng::PcapngConfig;
use sockeye_packet::Rng;
use sockeye_stack::Config;
use std::fmt;
use std::fs::{File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What a host is made with.
#[derive(Clone, Debug, Default)]
pub struct HostConfig {
    /// Its address in either subnet; the other family's has the same number. None for the next free one.
    pub ip: Option<IpAddr>,
    /// The conditions of its link.
    pub link: LinkConfig,
    /// The settings of its stack.
    pub stack: Config,
    /// A file for what the host sends and receives, in pcapng; what it sends to itself is there too, once,
    /// under the interface name `NAME:lo`.
    pub capture: Option<PathBuf>,
}

/// The conditions of a host's link, each way.
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

/// Describes a [`Network`]: its subnets, its seed, its capture, its hosts.
///
/// What is wrong with the description is said when the network is built.
#[derive(Debug, Default)]
pub struct NetworkBuilder {
    plan: AddressPlan,
    seed: Option<u64>,
    mtu: Option<u32>,
    wall_offset: Duration,
    capture: Option<Capture>,
    gateway: HostConfig,
    hosts: Vec<(String, HostConfig)>,
}

/// Where a capture goes.
pub(crate) enum Capture {
    File(PathBuf),
    Writer(Sink),
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Capture::File(path) => write!(f, "File({})", path.display()),
            Capture::Writer(_) => f.write_str("Writer"),
        }
    }
}

impl Capture {
    /// Opens the file, if it is to be one, for itself alone.
    pub(crate) fn open(self, wall_offset: Duration) -> Result<(Sink, PcapngConfig), Error> {
        let sink: Sink = match self {
            Capture::Writer(sink) => sink,
            Capture::File(path) => match open_alone(&path) {
                Ok(file) => Box::new(file),
                Err(error) => return Err(Error::Capture { path: Some(path), error }),
            },
        };
        Ok((sink, PcapngConfig { gso: false, wall_offset }))
    }
}

/// Opens a file to write it anew, unless another capture is being written to it: then nothing is lost. Pipes and
/// terminals are written to as they are.
fn open_alone(path: &Path) -> io::Result<File> {
    let file = File::options().write(true).create(true).truncate(false).open(path)?;
    if file.metadata()?.is_file() {
        // Where a file system has no locks, nothing is known of others.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            let why = "another capture is being written to it; choose another file";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
        }
        file.set_len(0)?;
    }
    Ok(file)
}

impl NetworkBuilder {
    /// The gateway's name.
    pub const GATEWAY: &str = "gateway";
    /// The MTU of links unless stated.
    pub const DEFAULT_MTU: u32 = 1500;

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

    /// Sets the MTU of all links, in bytes: 1280 to 65,535.
    pub fn mtu(mut self, mtu: u32) -> NetworkBuilder {
        self.mtu = Some(mtu.clamp(1280, 65_535));
        self
    }

    /// Captures every packet once, as its host sends it, to a file in pcapng; packets to the host itself under
    /// the interface name `NAME:lo`. What single hosts see is captured with [`HostConfig::capture`].
    pub fn capture(mut self, path: impl AsRef<Path>) -> NetworkBuilder {
        self.capture = Some(Capture::File(path.as_ref().to_owned()));
        self
    }

    /// As [`NetworkBuilder::capture`], to any writer.
    pub fn capture_to(mut self, writer: impl Write + Send + 'static) -> NetworkBuilder {
        self.capture = Some(Capture::Writer(Box::new(writer)));
        self
    }

    /// The time since the Unix epoch at the network's time zero, for captures. A threaded network takes it
    /// from the system when it is built, unless it is stated.
    pub fn wall_offset(mut self, offset: Duration) -> NetworkBuilder {
        self.wall_offset = offset;
        self
    }

    /// Sets the gateway's stack and link; it has the subnet's first address.
    pub fn gateway(mut self, config: HostConfig) -> NetworkBuilder {
        self.gateway = config;
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
        let core = self.core(Clock::real(), &mut rng)?;
        let driver = DriverGuard::start(&core).map_err(|error| Error::Thread { error })?;
        self.populate(core, Some(driver), rng)
    }

    /// Makes the network for somebody who [turns](Network::turn) it.
    pub fn build_manual(mut self) -> Result<Network, Error> {
        let mut rng = self.rng();
        let core = self.core(Clock::manual(), &mut rng)?;
        self.populate(core, None, rng)
    }

    /// Makes the network, with a clock of its own that jumps from one event to the next.
    pub fn simulate(self) -> Result<Simulation, Error> {
        Ok(Simulation::new(self.build_manual()?))
    }

    fn core(&mut self, clock: Clock, rng: &mut Rng) -> Result<Arc<Core>, Error> {
        let AddressPlan { v4, v6 } = self.plan;
        let gateways = self.plan.addresses(AddressPlan::GATEWAY);
        let (IpAddr::V4(v4_address), IpAddr::V6(v6_address), Some((gateway_v4, gateway_v6))) =
            (v4.address(), v6.address(), gateways)
        else {
            // `subnet` files subnets by family, and each has room for a gateway.
            return Err(Error::BadSubnet { subnet: format!("{v4} {v6}"), reason: "families are mixed up" });
        };
        let config = FabricConfig {
            subnet_v4: (v4_address, v4.prefix()),
            subnet_v6: (v6_address, v6.prefix()),
            gateway_v4,
            gateway_v6,
            seed: rng.next_seed(),
        };
        let capture = self.capture.take().map(|capture| capture.open(self.wall_offset)).transpose()?;
        Ok(Arc::new(Core::new(clock, Wire::new(config, capture))))
    }

    /// Adds the hosts in order. The addresses that some of them state are set aside first.
    fn populate(self, core: Arc<Core>, driver: Option<DriverGuard>, rng: Rng) -> Result<Network, Error> {
        let NetworkBuilder { plan, seed: _, mtu, wall_offset, capture: _, gateway, hosts } = self;
        let network = Network::new(core, driver, plan, rng, mtu.unwrap_or(Self::DEFAULT_MTU));
        let with_offset = |mut config: HostConfig| {
            if config.stack.wall_offset.is_zero() {
                config.stack.wall_offset = wall_offset;
            }
            config
        };
        network.add_gateway(with_offset(gateway))?;
        for (name, config) in &hosts {
            if let Some(ip) = config.ip {
                network.reserve(name, ip)?;
            }
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
