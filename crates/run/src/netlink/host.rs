//! What a host has to tell of its interfaces, and which way it sends what.

use sockeye_packet::{Instant, NicId};
use sockeye_posix::Errno;
use sockeye_posix::address::{interface_index, nic_of_index};
use sockeye_stack::{Domain, Error, Owner, Route, SockAddr, SocketOption, SocketType, Stack};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// MTU of the loopback interface as Linux tells it; the stack's is one byte less, the longest IP packet.
const LOOPBACK_MTU: u32 = 65_536;
/// What a route lookup pretends to send to; any port does.
const DISCARD_PORT: u16 = 9;

/// An interface as programs are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) nic: NicId,
    pub(crate) name: String,
    pub(crate) mtu: u32,
    /// The hardware address: zero on the loopback.
    pub(crate) hardware: [u8; 6],
    /// Addresses with their prefixes, IPv4 first.
    pub(crate) addresses: Vec<(IpAddr, u8)>,
}

/// All interfaces of a host, the loopback first.
pub(crate) fn interfaces(stack: &Stack) -> Vec<Interface> {
    let nics = (0..=u16::MAX).map(NicId).map_while(|nic| stack.nic(nic).map(|config| (nic, config)));
    nics.map(|(nic, config)| {
        let mut addresses = stack.addresses(nic);
        let mut mtu = config.mtu;
        if nic == NicId::LOOPBACK {
            // The stack has them without being told.
            addresses.extend([(Ipv4Addr::LOCALHOST.into(), 8), (Ipv6Addr::LOCALHOST.into(), 128)]);
            mtu = LOOPBACK_MTU;
        }
        addresses.sort_by_key(|(ip, _)| ip.is_ipv6());
        let hardware = if nic == NicId::LOOPBACK { [0; 6] } else { hardware_address(nic, &addresses) };
        Interface { nic, name: config.name.clone(), mtu, hardware, addresses }
    })
    .collect()
}

/// A locally administered address that stays the same as long as the interface's IP address does.
fn hardware_address(nic: NicId, addresses: &[(IpAddr, u8)]) -> [u8; 6] {
    addresses.first().map_or_else(|| of_last(u32::from(nic.0).to_be_bytes()), |&(ip, _)| hardware_of(ip))
}

/// The hardware address that stands for whoever has an IP address.
pub(crate) fn hardware_of(ip: IpAddr) -> [u8; 6] {
    of_last(match ip {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(ip) => ip.octets().last_chunk().copied().unwrap_or_default(),
    })
}

fn of_last([a, b, c, d]: [u8; 4]) -> [u8; 6] {
    [0x02, 0x42, a, b, c, d]
}

impl Interface {
    pub(crate) fn index(&self) -> u32 {
        interface_index(self.nic)
    }

    pub(super) fn is_loopback(&self) -> bool {
        self.nic == NicId::LOOPBACK
    }

    /// Its IPv4 addresses with their prefixes.
    pub(super) fn v4_addresses(&self) -> impl Iterator<Item = (Ipv4Addr, u8)> {
        self.addresses.iter().filter_map(|&(ip, prefix)| match ip {
            IpAddr::V4(ip) => Some((ip, prefix)),
            IpAddr::V6(_) => None,
        })
    }

    /// The broadcast address that goes with an address of it, where there is one.
    pub(super) fn broadcast(&self, ip: Ipv4Addr, prefix: u8) -> Option<Ipv4Addr> {
        let has_one = !self.is_loopback() && prefix < 31;
        has_one.then(|| Ipv4Addr::from_bits(ip.to_bits() | !v4_mask(prefix).to_bits()))
    }
}

/// The mask of so many bits.
pub(super) fn v4_mask(prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0))
}

/// The first address of the range that an address lies in.
pub(super) fn network(ip: IpAddr, prefix: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => (ip & v4_mask(prefix)).into(),
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    }
}

/// What kind of destination an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Local,
    Broadcast,
    Multicast,
    Unicast,
}

/// The way to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) destination: IpAddr,
    pub(super) kind: Kind,
    pub(super) source: IpAddr,
    pub(super) nic: NicId,
    pub(super) gateway: Option<IpAddr>,
}

/// The way to `destination`, as a datagram socket takes it that is bound to address `source` or the interface
/// of number `index` or neither.
pub(super) fn path(
    stack: &mut Stack,
    destination: IpAddr,
    source: Option<IpAddr>,
    index: Option<u32>,
) -> Result<Path, Errno> {
    let by = match index {
        None => None,
        Some(index) => {
            Some(nic_of_index(index).filter(|&nic| stack.nic(nic).is_some()).ok_or(Errno::ENODEV)?)
        }
    };
    let destination = match destination {
        // The unspecified address is the host itself.
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        destination => destination,
    };
    let interfaces = interfaces(stack);
    let kind = kind(&interfaces, destination);
    let source = source_for(stack, destination, source, by)?;
    let route = stack
        .routes()
        .into_iter()
        .find(|route| covers(route, destination) && by.is_none_or(|nic| nic == route.nic));
    let (nic, gateway) = match (kind, route) {
        (Kind::Local, _) => (NicId::LOOPBACK, None),
        (Kind::Unicast, Some(route)) if !is_link_local(destination) => (route.nic, route.gateway),
        // Every link has these destinations.
        (_, route) => {
            let of_source = || interfaces.iter().find(|interface| interface.has(source));
            let nic = by.or_else(|| of_source().map(|interface| interface.nic));
            (nic.or(route.map(|route| route.nic)).unwrap_or(NicId(1)), None)
        }
    };
    Ok(Path { destination, kind, source, nic, gateway })
}

impl Interface {
    pub(crate) fn has(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|&(own, _)| own == ip)
    }
}

fn covers(route: &Route, ip: IpAddr) -> bool {
    route.dest.is_ipv4() == ip.is_ipv4() && network(ip, route.prefix) == network(route.dest, route.prefix)
}

/// Whether no router passes on what goes to the address (RFC 4291 §2.5.6).
fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

fn kind(interfaces: &[Interface], ip: IpAddr) -> Kind {
    if ip.is_loopback() || interfaces.iter().any(|interface| interface.has(ip)) {
        return Kind::Local;
    }
    let is_broadcast = |ip: Ipv4Addr| {
        let own = |interface: &Interface| {
            interface.v4_addresses().any(|(own, prefix)| interface.broadcast(own, prefix) == Some(ip))
        };
        ip.is_broadcast() || interfaces.iter().any(own)
    };
    match ip {
        ip if ip.is_multicast() => Kind::Multicast,
        IpAddr::V4(ip) if is_broadcast(ip) => Kind::Broadcast,
        _ => Kind::Unicast,
    }
}

/// The source address that a socket gets by connecting, which sends nothing.
fn source_for(
    stack: &mut Stack,
    destination: IpAddr,
    source: Option<IpAddr>,
    by: Option<NicId>,
) -> Result<IpAddr, Errno> {
    let now = Instant::default();
    let domain = if destination.is_ipv4() { Domain::Inet } else { Domain::Inet6 };
    let probe = stack.socket(domain, SocketType::Datagram, Owner::default())?;
    let mut connect = || {
        stack.set_option(now, probe, SocketOption::Broadcast(true))?;
        stack.set_option(now, probe, SocketOption::BindToNic(by))?;
        if let Some(source) = source {
            stack.bind(probe, SockAddr { scope: by, ..SockAddr::new(source, 0) })?;
        }
        stack.connect(now, probe, SockAddr { scope: by, ..SockAddr::new(destination, DISCARD_PORT) })?;
        stack.local_addr(probe)
    };
    let local = connect();
    stack.close(now, probe).ok();
    match local {
        Ok(local) => Ok(local.ip_addr()),
        // The source is not one of the host's.
        Err(Error::AddrNotAvailable) => Err(Errno::EINVAL),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use sockeye_stack::{Config, NicConfig};

    /// A host as those of a network are.
    pub(in crate::netlink) fn stack() -> Stack {
        let mut stack = Stack::new(Config::default(), [7; 32]);
        let nic = stack.add_nic(NicConfig::memory("eth0", 1500)).unwrap();
        for (address, prefix, gateway) in [("10.77.0.2", 16, "10.77.0.1"), ("fd77::2", 64, "fd77::1")] {
            let address: IpAddr = address.parse().unwrap();
            stack.add_address(nic, address, prefix).unwrap();
            let dest = network(address, 0);
            let gateway = Some(gateway.parse().unwrap());
            stack.add_route(Route { dest, prefix: 0, gateway, nic, metric: 0 }).unwrap();
        }
        stack
    }

    #[test]
    fn interfaces_are_numbered_as_the_rest_of_the_api_numbers_them() {
        let all = interfaces(&stack());
        let told: Vec<_> = all.iter().map(|i| (i.index(), i.name.as_str(), i.mtu, i.hardware)).collect();
        let hardware = [0x02, 0x42, 10, 77, 0, 2];
        assert_eq!(told, [(1, "lo", 65_536, [0; 6]), (2, "eth0", 1500, hardware)]);
        assert_eq!(all[0].broadcast(Ipv4Addr::LOCALHOST, 8), None);
        assert_eq!(all[1].broadcast("10.77.0.2".parse().unwrap(), 16).unwrap().to_string(), "10.77.255.255");
    }

    #[test]
    fn ways_are_those_of_a_socket() {
        let mut stack = stack();
        let mut way = |destination: &str, source: Option<&str>, index| {
            let source = source.map(|source| source.parse().unwrap());
            path(&mut stack, destination.parse().unwrap(), source, index).map(|path| {
                let gateway = path.gateway.map_or_else(|| "-".to_owned(), |gateway| gateway.to_string());
                format!("{:?} {} {} {gateway}", path.kind, path.source, path.nic.0)
            })
        };
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(way("10.77.0.9", None, None), ok("Unicast 10.77.0.2 1 -"));
        assert_eq!(way("192.0.2.1", None, None), ok("Unicast 10.77.0.2 1 10.77.0.1"));
        assert_eq!(way("2001:db8::1", None, None), ok("Unicast fd77::2 1 fd77::1"));
        assert_eq!(way("fe80::1", None, None), ok("Unicast fd77::2 1 -"));
        assert_eq!(way("fe80::1", None, Some(2)), ok("Unicast fd77::2 1 -"));
        assert_eq!(way("10.77.0.2", None, None), ok("Local 10.77.0.2 0 -"));
        assert_eq!(way("127.3.2.1", None, None), ok("Local 127.0.0.1 0 -"));
        assert_eq!(way("0.0.0.0", None, None), ok("Local 127.0.0.1 0 -"));
        assert_eq!(way("10.77.255.255", None, None), ok("Broadcast 10.77.0.2 1 -"));
        assert_eq!(way("224.0.0.1", None, Some(2)), ok("Multicast 10.77.0.2 1 -"));
        assert_eq!(way("10.77.0.9", Some("10.77.0.2"), Some(2)), ok("Unicast 10.77.0.2 1 -"));
        assert_eq!(way("10.77.0.9", Some("10.77.0.3"), None), Err(Errno::EINVAL));
        assert_eq!(way("10.77.0.9", None, Some(3)), Err(Errno::ENODEV));
        assert_eq!(way("10.77.0.9", None, Some(0)), Err(Errno::ENODEV));
    }

    #[test]
    fn where_no_route_leads_there_is_no_way() {
        let mut stack = Stack::new(Config::default(), [7; 32]);
        let destination = Ipv4Addr::new(192, 0, 2, 1).into();
        assert_eq!(path(&mut stack, destination, None, None), Err(Errno::ENETUNREACH));
    }
}
