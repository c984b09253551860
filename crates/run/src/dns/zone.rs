//! What the name server answers from: the hosts' names, and the search domains of the machine.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The names of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Zone {
    /// Addresses by name in lower case, without a dot at the end.
    hosts: BTreeMap<String, Vec<IpAddr>>,
    names: BTreeMap<IpAddr, String>,
    /// Domains that resolvers append to a short name, in lower case.
    search: Vec<String>,
}

impl Zone {
    /// A zone without hosts. A name followed by one of the `search` domains is taken for the name alone.
    pub(crate) fn new(search: &[String]) -> Zone {
        let search =
            search.iter().map(|domain| canonical(domain)).filter(|domain| !domain.is_empty()).collect();
        let mut zone = Zone { search, ..Zone::default() };
        // RFC 6761 §6.3: the answer for localhost is always this host.
        zone.add("localhost", &[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        zone
    }

    /// Adds a host, or more addresses of one. An address belongs to the first name that has it.
    pub(crate) fn add(&mut self, name: &str, addresses: &[IpAddr]) {
        let name = canonical(name);
        for &address in addresses {
            self.names.entry(address).or_insert_with(|| name.clone());
        }
        self.hosts.entry(name).or_default().extend_from_slice(addresses);
    }

    /// The addresses of a name, in any case, with or without a search domain and a dot at the end.
    pub(crate) fn lookup(&self, name: &str) -> Option<&[IpAddr]> {
        let name = canonical(name);
        let short =
            self.search.iter().filter_map(|domain| name.strip_suffix(domain.as_str())?.strip_suffix('.'));
        std::iter::once(name.as_str()).chain(short).find_map(|name| self.hosts.get(name)).map(Vec::as_slice)
    }

    /// The name of the host with this address.
    pub(crate) fn reverse(&self, address: IpAddr) -> Option<&str> {
        self.names.get(&address).map(String::as_str)
    }
}

fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// What the C library reads from /etc/resolv.conf, as far as it concerns us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResolvConf {
    /// The name servers, in order.
    pub(crate) servers: Vec<IpAddr>,
    /// The domains appended to short names.
    pub(crate) search: Vec<String>,
}

impl ResolvConf {
    /// How much of the file is looked at, and how many entries of a kind are kept.
    const BYTES_MAX: usize = 64 * 1024;
    const ENTRIES_MAX: usize = 16;

    /// The machine's; one that can't be read counts as empty, as for the C library.
    pub(crate) fn of_this_machine() -> ResolvConf {
        ResolvConf::parse(&std::fs::read("/etc/resolv.conf").unwrap_or_default())
    }

    /// Reads the file's text. Lines that mean nothing are read over; without a server it is this machine.
    pub(crate) fn parse(text: &[u8]) -> ResolvConf {
        let text = String::from_utf8_lossy(&text[..text.len().min(Self::BYTES_MAX)]);
        let mut parsed = ResolvConf::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // A link-local server is written with its interface: fe80::1%eth0.
                    let address = words.next().and_then(|word| word.split('%').next()?.parse().ok());
                    let room = parsed.servers.len() < Self::ENTRIES_MAX;
                    parsed.servers.extend(address.filter(|a| room && !parsed.servers.contains(a)));
                }
                // The last of these lines counts.
                Some("search" | "domain") => {
                    parsed.search = words.take(Self::ENTRIES_MAX).map(str::to_owned).collect();
                }
                _ => {}
            }
        }
        if parsed.servers.is_empty() {
            parsed.servers.push(Ipv4Addr::LOCALHOST.into());
        }
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    #[test]
    fn resolv_conf_is_read_as_the_c_library_does() {
        let text = b"# nameserver 1.1.1.1\n\nsearch a b\nnameserver 127.0.0.53\noptions edns0\n\
            nameserver fe80::1%eth0\nnameserver nonsense\nnameserver 127.0.0.53\nsearch corp example\n\xff\xfe\n";
        let parsed = ResolvConf::parse(text);
        assert_eq!(parsed.servers, [ip("127.0.0.53"), ip("fe80::1")]);
        assert_eq!(parsed.search, ["corp", "example"]);
        assert_eq!(ResolvConf::parse(b"").servers, [ip("127.0.0.1")]);
    }

    proptest! {
        #[test]
        fn any_file_is_read_within_bounds(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let parsed = ResolvConf::parse(&text);
            prop_assert!((1..=ResolvConf::ENTRIES_MAX).contains(&parsed.servers.len()));
        }
    }
}
