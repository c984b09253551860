//! The interfaces of a host: what they are made of, and how a stack gets them.

use crate::over::LinkPort;
use sockeye_packet::NicId;
use sockeye_stack::{NicConfig, Route, Stack};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One interface of a host.
#[derive(Debug)]
pub(crate) struct HostNic {
    pub(crate) id: NicId,
    pub(crate) config: NicConfig,
    /// The subnet it is in; none when it has a link of its own.
    pub(crate) subnet: Option<usize>,
    /// With the lengths of their prefixes.
    pub(crate) addresses: Vec<(IpAddr, u8)>,
    /// Routes by it that its description states.
    pub(crate) routes: Vec<Route>,
    pub(crate) link: Option<LinkPort>,
}

/// An interface of a host, as it was set up.
///
/// ```
/// use sockeye::{HostConfig, Network};
///
/// let network = Network::builder().host("web", HostConfig::default()).build()?;
/// let interface = &network.interfaces(&network.host("web")?)[0];
/// assert_eq!((interface.name.as_str(), interface.mtu), ("eth0", 1500));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, as programs see it: `eth0` and on, or what [`LinkInterface`](crate::LinkInterface) says.
    pub name: String,
    /// Its number in the host's stack.
    pub nic: NicId,
    /// The name of the subnet it is in; none when it has a link of its own.
    pub subnet: Option<String>,
    /// Its addresses, with the lengths of their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The longest IP packet that it carries, in bytes.
    pub mtu: u32,
}

/// The number in its stack of a host's interface at this place.
pub(crate) fn nic_id(place: usize) -> NicId {
    // The loopback is number 0.
    NicId(place as u16 + 1)
}

/// The destination of a default route, of the family of `like`.
pub(crate) fn everything(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Gives a new stack its interfaces, and `routes`.
pub(crate) fn set_up(stack: &mut Stack, nics: &[HostNic], routes: &[Route]) -> sockeye_stack::Result<()> {
    for nic in nics {
        let id = stack.add_nic(nic.config.clone())?;
        debug_assert_eq!(id, nic.id);
        for &(address, prefix) in &nic.addresses {
            stack.add_address(id, address, prefix)?;
        }
    }
    routes.iter().try_for_each(|&route| stack.add_route(route))
}

/// The first address of each family; unspecified where there is none.
pub(crate) fn first_addresses(nics: &[HostNic]) -> (Ipv4Addr, Ipv6Addr) {
    let mut all = nics.iter().flat_map(|nic| &nic.addresses).map(|(address, _)| *address);
    let mut first = (None, None);
    for address in &mut all {
        match address {
            IpAddr::V4(v4) => first.0 = first.0.or(Some(v4)),
            IpAddr::V6(v6) => first.1 = first.1.or(Some(v6)),
        }
    }
    (first.0.unwrap_or(Ipv4Addr::UNSPECIFIED), first.1.unwrap_or(Ipv6Addr::UNSPECIFIED))
}
