//! Address plan of a network: which subnets it has, which addresses in them are set aside, and how a
//! host's number gives its address in both families.

use crate::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A block of addresses, such as `10.77.0.0/16` or `fd77::/64`.
///
/// ```
/// use sockeye::Subnet;
///
/// let subnet: Subnet = "10.77.0.0/16".parse()?;
/// assert_eq!(subnet.prefix(), 16);
/// assert!(subnet.contains("10.77.3.4".parse().unwrap()));
/// # Ok::<(), sockeye::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subnet {
    address: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// The IPv4 subnet of a network that names none.
    pub const DEFAULT_V4: Subnet = Subnet { address: IpAddr::V4(Ipv4Addr::new(10, 77, 0, 0)), prefix: 16 };
    /// The IPv6 subnet of a network that names none.
    pub const DEFAULT_V6: Subnet =
        Subnet { address: IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0)), prefix: 64 };

    /// The subnet of `address` and the `prefix` that all its addresses share. The bits behind the prefix
    /// must be zero, and there must be room for a gateway and a host: at most 28 bits of IPv4 or
    /// 112 of IPv6.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Subnet, Error> {
        let longest = if address.is_ipv4() { 28 } else { 112 };
        let bad = |reason| Err(Error::BadSubnet { subnet: format!("{address}/{prefix}"), reason });
        if prefix == 0 || prefix > longest {
            return bad("the prefix must be 1 to 28 bits long for IPv4, 1 to 112 for IPv6");
        }
        let subnet = Subnet { address, prefix };
        if bits(address) & subnet.host_mask() != 0 {
            return bad("bits behind the prefix are set");
        }
        let unicast = match address {
            IpAddr::V4(v4) => {
                !(v4.is_multicast() || v4.is_loopback() || v4.octets()[0] == 0 || v4.octets()[0] >= 240)
            }
            IpAddr::V6(v6) => !(v6.is_multicast() || v6.is_unspecified() || v6.to_ipv4_mapped().is_some()),
        };
        if unicast { Ok(subnet) } else { bad("its addresses can't be given to hosts") }
    }

    /// The first address, which names the subnet.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many leading bits all its addresses share.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether `address` is in the subnet.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && bits(address) & !self.host_mask() == bits(self.address)
    }

    /// The address of the host with this number, if the subnet is large enough.
    pub(crate) fn nth(&self, number: u32) -> Option<IpAddr> {
        let number = u128::from(number);
        (number <= self.host_mask()).then(|| match self.address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from((bits(self.address) + number) as u32)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(bits(self.address) + number)),
        })
    }

    /// The number of the host that has `address`, which must be in the subnet and its number small.
    pub(crate) fn number_of(&self, address: IpAddr) -> Option<u32> {
        u32::try_from(bits(address) & self.host_mask()).ok().filter(|_| self.contains(address))
    }

    /// The number of the subnet's last address: IPv4's broadcast. IPv6 has no such thing, but hosts are
    /// numbered in 16 bits there.
    pub(crate) fn last(&self) -> u32 {
        if self.address.is_ipv4() { self.host_mask() as u32 } else { 0xffff }
    }

    fn host_mask(&self) -> u128 {
        let width = if self.address.is_ipv4() { 32 } else { 128 };
        (1_u128 << (width - u32::from(self.prefix))) - 1
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Subnet, Error> {
        let bad = |reason| Error::BadSubnet { subnet: text.to_owned(), reason };
        let (address, prefix) = text.split_once('/').ok_or_else(|| bad("there is no prefix length"))?;
        let address = address.parse().map_err(|_| bad("the address doesn't parse"))?;
        let prefix = prefix.parse().map_err(|_| bad("the prefix length doesn't parse"))?;
        Subnet::new(address, prefix)
    }
}

/// The two subnets of a network, and the numbers set aside in them: the gateway's (1), that of the
/// machine outside (the last but one of IPv4, `ffff` of IPv6) and IPv4's broadcast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AddressPlan {
    pub(crate) v4: Subnet,
    pub(crate) v6: Subnet,
}

impl Default for AddressPlan {
    fn default() -> AddressPlan {
        AddressPlan { v4: Subnet::DEFAULT_V4, v6: Subnet::DEFAULT_V6 }
    }
}

impl AddressPlan {
    /// The gateway's number.
    pub(crate) const GATEWAY: u32 = 1;
    /// The number of the first host that names no address.
    pub(crate) const FIRST: u32 = 2;

    pub(crate) fn subnet_of(&self, address: IpAddr) -> Subnet {
        if address.is_ipv4() { self.v4 } else { self.v6 }
    }

    /// Highest number that a host can have and get an address of both families.
    pub(crate) fn last_host(&self) -> u32 {
        (self.v4.last() - 2).min(self.v6.last() - 1)
    }

    /// The addresses of the host with this number.
    pub(crate) fn addresses(&self, number: u32) -> Option<(Ipv4Addr, Ipv6Addr)> {
        match (self.v4.nth(number)?, self.v6.nth(number)?) {
            (IpAddr::V4(v4), IpAddr::V6(v6)) => Some((v4, v6)),
            _ => None,
        }
    }

    /// The addresses that stand for the machine outside, `host.sockeye`.
    pub(crate) fn machine(&self) -> Option<(Ipv4Addr, Ipv6Addr)> {
        match (self.v4.nth(self.v4.last() - 1)?, self.v6.nth(self.v6.last())?) {
            (IpAddr::V4(v4), IpAddr::V6(v6)) => Some((v4, v6)),
            _ => None,
        }
    }

    /// The number of the host that shall have `address`. That of the gateway can be had where there is none.
    pub(crate) fn number_of(&self, name: &str, address: IpAddr, has_gateway: bool) -> Result<u32, Error> {
        let subnet = self.subnet_of(address);
        let last = subnet.nth(self.last_host()).unwrap_or(subnet.address);
        let bad = |reason| Error::BadAddress { name: name.to_owned(), address, subnet, last, reason };
        if !subnet.contains(address) {
            return Err(bad("is not in the network's subnet"));
        }
        match subnet.number_of(address) {
            Some(Self::GATEWAY) if has_gateway => Err(bad("is the gateway's")),
            Some(0) => Err(bad("names the subnet itself")),
            Some(number) if number <= self.last_host() => Ok(number),
            _ => Err(bad("is beyond the last that a host can have")),
        }
    }

    /// The plan of the subnet with this place among those that are named, where it states none: the first
    /// has the addresses of a network that names none.
    pub(crate) fn of_place(place: usize, v4: Option<Subnet>, v6: Option<Subnet>) -> AddressPlan {
        let place = place.min(178) as u8;
        let default_v4 = Ipv4Addr::new(10, 77 + place, 0, 0);
        let default_v6 = Ipv6Addr::new(0xfd77, 0, 0, place.into(), 0, 0, 0, 0);
        AddressPlan {
            v4: v4.unwrap_or(Subnet { address: default_v4.into(), ..Subnet::DEFAULT_V4 }),
            v6: v6.unwrap_or(Subnet { address: default_v6.into(), ..Subnet::DEFAULT_V6 }),
        }
    }

    /// A subnet of this plan that has addresses in common with one of the other.
    pub(crate) fn overlap(&self, other: &AddressPlan) -> Option<Subnet> {
        let overlaps = |a: Subnet, b: Subnet| a.contains(b.address) || b.contains(a.address);
        [(self.v4, other.v4), (self.v6, other.v6)].into_iter().find(|&(a, b)| overlaps(a, b)).map(|(a, _)| a)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_parse_and_say_what_is_wrong() {
        let subnet: Subnet = "192.168.4.0/24".parse().unwrap();
        assert_eq!(subnet.to_string(), "192.168.4.0/24");
        assert!(subnet.contains("192.168.4.255".parse().unwrap()));
        assert!(!subnet.contains("192.168.5.0".parse().unwrap()));
        assert!(!subnet.contains("::ffff:192.168.4.1".parse().unwrap()));
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0.0/0",
            "10.0.0.0/29",
            "10.0.0.1/8",
            "224.0.0.0/8",
            "fd00::/113",
            "x/8",
            "127.0.0.0/8",
            "10.0.0.0/-1",
            "10.0.0.0/300",
            "::/64",
            "ff02::/64",
        ] {
            let error = bad.parse::<Subnet>().unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
    }

    #[test]
    fn one_number_gives_both_addresses() {
        let plan = AddressPlan::default();
        let (v4, v6) = plan.addresses(261).unwrap();
        assert_eq!((v4.to_string(), v6.to_string()), ("10.77.1.5".into(), "fd77::105".into()));
        assert_eq!(plan.number_of("a", v4.into(), true).unwrap(), 261);
        assert_eq!(plan.number_of("a", v6.into(), true).unwrap(), 261);
    }

    #[test]
    fn the_machine_outside_has_the_last_numbers() {
        let small = ("192.168.7.0/28".parse().unwrap(), "2001:db8::/112".parse().unwrap());
        for (plan, expected) in [
            (AddressPlan::default(), ["10.77.255.254", "fd77::ffff"]),
            (AddressPlan { v4: small.0, v6: small.1 }, ["192.168.7.14", "2001:db8::ffff"]),
        ] {
            let (v4, v6) = plan.machine().unwrap();
            assert_eq!([v4.to_string(), v6.to_string()], expected);
        }
    }

    #[test]
    fn addresses_set_aside_are_refused() {
        let plan = AddressPlan::default();
        for bad in [
            "10.77.0.0",
            "10.77.0.1",
            "10.77.255.254",
            "10.77.255.255",
            "10.78.0.1",
            "fd77::1",
            "fd77::ffff",
            "fd77::1:0:0",
            "fd78::2",
            "::ffff:10.77.0.9",
        ] {
            let error = plan.number_of("web", bad.parse().unwrap(), true).unwrap_err().to_string();
            assert!(error.contains("\"web\"") && error.contains(bad), "{error}");
        }
    }
}
