//! What the name server answers from: the hosts' names, and the search domains of the machine. It also says
//! which names are nobody else's business.

use hickory_proto::rr::Name;
use sockeye::Subnet;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The domain that all hosts are in.
const DOMAIN: &str = "sockeye";
/// Domains that no name server outside is asked about: RFC 6761 §6.3 and 6.4 (localhost, invalid), RFC 6762 §22.1
/// (local), RFC 7686 §2 (onion), RFC 9462 §6.4 (`resolver.arpa`, which would tell of other name servers), and
/// the network's own.
const NEVER_OUTSIDE: [&str; 6] = [DOMAIN, "localhost", "invalid", "local", "onion", "resolver.arpa"];

/// The names of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Zone {
    /// Addresses by name in lower case, without a dot at the end.
    hosts: BTreeMap<String, Vec<IpAddr>>,
    names: BTreeMap<IpAddr, String>,
    /// Domains that resolvers append to a short name, in lower case.
    search: Vec<String>,
    /// Addresses whose names nobody outside knows: first address, and length of the prefix.
    own: Vec<(IpAddr, u8)>,
}

/// Whose a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// A host's, with these addresses.
    Host(&'a [IpAddr]),
    /// That of an address, whose host has this name.
    Address(&'a str),
    /// Nobody's, and nobody else may be asked.
    Nobody,
    /// Somebody's outside, perhaps.
    Outside,
}

impl Zone {
    /// A zone without hosts. A name followed by one of the `search` domains is taken for the name alone.
    pub(crate) fn new(search: &[String]) -> Zone {
        let own = vec![(Ipv4Addr::new(127, 0, 0, 0).into(), 8), (Ipv6Addr::LOCALHOST.into(), 128)];
        let mut zone = Zone { own, ..Zone::default() };
        zone.set_search(search);
        // RFC 6761 §6.3: the answer for localhost is always this host.
        zone.add("localhost", &[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        zone
    }

    /// Takes other search domains from now on.
    pub(crate) fn set_search(&mut self, search: &[String]) {
        self.search =
            search.iter().map(|domain| canonical(domain)).filter(|domain| !domain.is_empty()).collect();
    }

    /// Takes a subnet for the network's own: what an address of it is called is never asked outside.
    pub(crate) fn add_subnet(&mut self, subnet: Subnet) {
        self.own.push((subnet.address(), subnet.prefix()));
    }

    /// The network's own subnets: first address, and length of the prefix.
    pub(crate) fn subnets(&self) -> Vec<(IpAddr, u8)> {
        self.own.iter().copied().filter(|(address, _)| !address.is_loopback()).collect()
    }

    /// Adds a host, or more addresses of one. An address belongs to the first name that has it.
    pub(crate) fn add(&mut self, name: &str, addresses: &[IpAddr]) {
        let name = canonical(name);
        for &address in addresses {
            self.names.entry(address).or_insert_with(|| name.clone());
        }
        self.hosts.entry(name).or_default().extend_from_slice(addresses);
    }

    /// Looks a name up.
    pub(crate) fn find(&self, name: &Name) -> Found<'_> {
        if let Some(reverse) = Reverse::parse(name) {
            return match self.reverse(reverse.address).filter(|_| reverse.whole) {
                Some(host) => Found::Address(host),
                None if self.own.iter().any(|&own| reverse.is_in(own)) => Found::Nobody,
                None => Found::Outside,
            };
        }
        let text = name.to_ascii();
        match self.lookup(&text) {
            Some(addresses) => Found::Host(addresses),
            None if is_never_outside(&canonical(&text)) => Found::Nobody,
            None => Found::Outside,
        }
    }

    /// The addresses of a name, in any case, with or without a search domain, the domain of all hosts, and a dot
    /// at the end.
    fn lookup(&self, name: &str) -> Option<&[IpAddr]> {
        let name = canonical(name);
        // RFC 6761 §6.3: all names below localhost are this host too.
        let name = if name.ends_with(".localhost") { "localhost" } else { &name };
        let short =
            self.search.iter().filter_map(|domain| name.strip_suffix(domain.as_str())?.strip_suffix('.'));
        std::iter::once(name)
            .chain(short)
            .flat_map(|name| {
                let alone = name.strip_suffix(DOMAIN).and_then(|name| name.strip_suffix('.'));
                std::iter::once(name).chain(alone)
            })
            .find_map(|name| self.hosts.get(name))
            .map(Vec::as_slice)
    }

    /// The name of the host with this address.
    fn reverse(&self, address: IpAddr) -> Option<&str> {
        self.names.get(&address).map(String::as_str)
    }
}

fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Whether a canonical name is, or is below, one that is never asked about outside.
fn is_never_outside(name: &str) -> bool {
    NEVER_OUTSIDE
        .iter()
        .any(|domain| name.strip_suffix(domain).is_some_and(|above| above.is_empty() || above.ends_with('.')))
}

/// What a name under in-addr.arpa or ip6.arpa says of an address.
#[derive(Debug)]
struct Reverse {
    /// The address, with zeros where nothing is said.
    address: IpAddr,
    /// How many leading bits are said.
    bits: u8,
    /// Whether that is all of the address and all of the name.
    whole: bool,
}

impl Reverse {
    fn parse(name: &Name) -> Option<Reverse> {
        let mut labels = name.iter().rev();
        if !labels.next()?.eq_ignore_ascii_case(b"arpa") {
            return None;
        }
        let family = labels.next()?;
        let (step, max) = match () {
            () if family.eq_ignore_ascii_case(b"in-addr") => (8, 32),
            () if family.eq_ignore_ascii_case(b"ip6") => (4, 128),
            () => return None,
        };
        let number = |label: &[u8]| {
            let text =
                str::from_utf8(label).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
            if step == 8 {
                text.parse().ok()
            } else {
                u8::from_str_radix(text, 16).ok().filter(|_| text.len() == 1)
            }
        };
        let (mut address, mut bits) = (0_u128, 0_u8);
        let mut labels = labels.peekable();
        while bits < max
            && let Some(value) = labels.peek().and_then(|label| number(label))
        {
            bits += step;
            address |= u128::from(value) << (max - bits);
            labels.next();
        }
        let whole = bits == max && labels.next().is_none();
        let address =
            if max == 32 { IpAddr::V4((address as u32).into()) } else { IpAddr::V6(address.into()) };
        Some(Reverse { address, bits, whole })
    }

    /// Whether all addresses that this may be about are in a block.
    fn is_in(&self, (first, prefix): (IpAddr, u8)) -> bool {
        if self.bits < prefix {
            return false;
        }
        match (self.address, first) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= prefix.into(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= prefix.into(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_found_in_any_case_and_with_search_domains() {
        let mut zone = Zone::new(&["Example.org.".into(), "lan".into()]);
        zone.add("Web", &[ip("10.77.0.2"), ip("fd77::2")]);
        for name in ["web", "WEB.", "web.lan", "web.EXAMPLE.org."] {
            assert_eq!(zone.lookup(name), Some(&[ip("10.77.0.2"), ip("fd77::2")][..]), "{name}");
        }
        for name in ["", ".", "lan", "webb", "web.lan.lan", "weblan", "x.web"] {
            assert_eq!(zone.lookup(name), None, "{name}");
        }
        assert_eq!(zone.reverse(ip("fd77::2")), Some("web"));
        assert_eq!(zone.reverse(ip("10.77.0.3")), None);
    }

    fn zone() -> Zone {
        let mut zone = Zone::new(&["lan".into()]);
        zone.add_subnet(Subnet::DEFAULT_V4);
        zone.add_subnet(Subnet::DEFAULT_V6);
        zone.add("web", &[ip("10.77.0.2"), ip("fd77::2")]);
        zone.add("host.sockeye", &[ip("10.77.255.254")]);
        zone
    }

    fn find<'a>(zone: &'a Zone, name: &str) -> Found<'a> {
        zone.find(&Name::from_ascii(name).unwrap())
    }

    #[test]
    fn hosts_are_in_the_domain_of_the_network() {
        let zone = zone();
        let web = [ip("10.77.0.2"), ip("fd77::2")];
        for name in ["web.", "Web.Sockeye.", "web.sockeye.lan."] {
            assert_eq!(find(&zone, name), Found::Host(&web), "{name}");
        }
        assert_eq!(find(&zone, "host.sockeye."), Found::Host(&[ip("10.77.255.254")]));
        assert_eq!(find(&zone, "254.255.77.10.in-addr.arpa."), Found::Address("host.sockeye"));
        assert_eq!(find(&zone, "a.b.localhost."), Found::Host(&[ip("127.0.0.1"), ip("::1")]));
        assert_eq!(find(&zone, "host."), Found::Outside);
    }

    #[test]
    fn a_host_that_joins_is_known_from_then_on() {
        let mut zone = zone();
        assert_eq!(find(&zone, "late.sockeye."), Found::Nobody);
        assert_eq!(find(&zone, "late."), Found::Outside);
        zone.add("late", &[ip("10.77.0.9")]);
        assert_eq!(find(&zone, "late.sockeye."), Found::Host(&[ip("10.77.0.9")]));
        assert_eq!(find(&zone, "late."), Found::Host(&[ip("10.77.0.9")]));
        assert_eq!(find(&zone, "9.0.77.10.in-addr.arpa."), Found::Address("late"));
    }

    #[test]
    fn special_names_stay_inside() {
        let zone = zone();
        let names =
            "x.sockeye. sockeye. printer.LOCAL. a.invalid. x.onion. _dns.resolver.arpa. resolver.arpa.";
        for name in names.split(' ') {
            assert_eq!(find(&zone, name), Found::Nobody, "{name}");
        }
        for name in
            [".", "mylocal.", "local.example.", "sockeye.example.", "www.web.", "example.org.", "arpa."]
        {
            assert_eq!(find(&zone, name), Found::Outside, "{name}");
        }
    }

    #[test]
    fn names_of_own_addresses_stay_inside() {
        let zone = zone();
        let own6 = "0.0.0.0.0.0.0.0.0.0.0.0.7.7.d.f.ip6.arpa.";
        let nobodys6 = format!("9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.{own6}");
        let service6 = format!("b._dns-sd._udp.0.{own6}");
        let own = "9.0.77.10.in-addr.arpa. 77.10.in-addr.arpa. 5.77.10.IN-ADDR.arpa. b._dns-sd._udp.0.0.77.10.in-addr.arpa. \
            0-25.3.77.10.in-addr.arpa. 1.2.3.9.0.77.10.in-addr.arpa. 53.0.0.127.in-addr.arpa.";
        for name in own.split(' ').chain([own6, &nobodys6, &service6]) {
            assert_eq!(find(&zone, name), Found::Nobody, "{name}");
        }
        let others = "9.0.78.10.in-addr.arpa. 10.in-addr.arpa. in-addr.arpa. ip6.arpa. 777.10.in-addr.arpa. \
            77.d.f.ip6.arpa. 7.7.d.f.ip6.arpa. 1.0.0.0.0.0.0.0.0.0.0.0.7.7.d.f.ip6.arpa.";
        for name in others.split(' ') {
            assert_eq!(find(&zone, name), Found::Outside, "{name}");
        }
    }
}
