//! Which published ports are to be closed: as that is written, and what is meant by it.

use super::publish::{Ports, parse_ports, split_address, split_protocol};
use super::{Publication, PublishProtocol, PublishSpecError};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// Published ports, as they are written: `[ADDR:]HOSTPORT[-HOSTPORT][:PORT[-PORT]][/udp]`. The machine's ports
/// tell which are meant; where the host's are written too, they have to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnpublishSpec {
    text: String,
    protocol: PublishProtocol,
    address: Option<IpAddr>,
    machine: Ports,
    host: Option<Ports>,
}

impl FromStr for UnpublishSpec {
    type Err = PublishSpecError;

    fn from_str(text: &str) -> Result<UnpublishSpec, PublishSpecError> {
        parse(text).map_err(|reason| PublishSpecError::new("unpublish", text, reason))
    }
}

fn parse(text: &str) -> Result<UnpublishSpec, String> {
    let (ports, protocol) = split_protocol(text)?;
    let (address, ports) = match ports.split_once(':') {
        // An address, and the machine's ports alone.
        Some((address, ports)) if !ports.contains(':') && address.parse::<Ipv4Addr>().is_ok() => {
            (address.parse().ok(), ports)
        }
        _ => split_address(ports)?,
    };
    let (machine, host) = match ports.split_once(':') {
        Some((machine, host)) => (parse_ports(machine)?, Some(parse_ports(host)?)),
        None => (parse_ports(ports)?, None),
    };
    if host.is_some_and(|host| host.len() != machine.len()) {
        return Err("the ranges have different lengths; leave the host's ports out".to_owned());
    }
    Ok(UnpublishSpec { text: text.to_owned(), protocol, address, machine, host })
}

impl UnpublishSpec {
    /// What it means among the ports that are open: all of it, or why not.
    pub(crate) fn find(
        &self,
        open: impl Iterator<Item = Publication>,
    ) -> Result<Vec<Publication>, PublishSpecError> {
        let mut by_port: HashMap<u16, Vec<Publication>> = HashMap::new();
        for publication in open {
            by_port.entry(publication.machine.port()).or_default().push(publication);
        }
        let mut expected = self.host.map(|host| host.first..=host.last);
        let found = (self.machine.first..=self.machine.last).map(|port| {
            let publication = self.pick(port, by_port.get(&port).map_or(&[], Vec::as_slice))?;
            match expected.as_mut().and_then(Iterator::next) {
                Some(inside) if inside != publication.port => Err(format!(
                    "{publication} leads to port {}, not to {inside}; the machine's port is enough",
                    publication.port
                )),
                _ => Ok(publication),
            }
        });
        let found: Result<_, String> = found.collect();
        found.map_err(|reason| PublishSpecError::new("unpublish", &self.text, reason))
    }

    /// The one that is meant of all that are open at a port of some address: without an address that at
    /// 127.0.0.1, where it is published unless something else is said, or else the only one.
    fn pick(&self, port: u16, open: &[Publication]) -> Result<Publication, String> {
        let at = |address| {
            let machine = SocketAddr::new(address, port);
            move |one: &&Publication| one.machine == machine
        };
        let (fits, others): (Vec<_>, Vec<_>) = open.iter().partition(|one| one.protocol == self.protocol);
        let found = match (self.address, &fits[..]) {
            (None, &[only]) => Some(only),
            (address, several) => {
                let default = IpAddr::from(Ipv4Addr::LOCALHOST);
                several.iter().copied().find(at(address.unwrap_or(default)))
            }
        };
        if let Some(found) = found {
            return Ok(*found);
        }
        let list =
            |all: &[&Publication]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        Err(match (&fits[..], &others[..]) {
            ([], []) => format!("port {port}/{} is not published; sockeye ps lists what is", self.protocol),
            ([], others) => {
                format!("port {port}/{} is not published, but {} is", self.protocol, list(others))
            }
            (fits, _) if self.address.is_none() => {
                format!("port {port} is published as {}; write the address", list(fits))
            }
            (fits, _) => format!("port {port} is published as {}", list(fits)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::PublishSpec;
    use super::*;

    fn find(text: &str, published: &[&str]) -> Result<String, String> {
        let host = ["10.77.0.2".parse().unwrap(), "fd77::2".parse().unwrap()];
        let open = published.iter().flat_map(|text| text.parse::<PublishSpec>().unwrap().publications(host));
        let spec: UnpublishSpec = text.parse().map_err(|error: PublishSpecError| error.to_string())?;
        let found = spec.find(open).map_err(|error| error.to_string())?;
        Ok(found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn the_machines_port_tells_which_is_meant() {
        let published =
            ["8080-8082:80-82", "0.0.0.0:9090:90", "[::1]:8080:80", "5353:53/udp", "[::1]:7070:70"];
        let cases = [
            ("8080", "127.0.0.1:8080/tcp"),
            ("8080/tcp", "127.0.0.1:8080/tcp"),
            ("8080:80", "127.0.0.1:8080/tcp"),
            ("127.0.0.1:8080", "127.0.0.1:8080/tcp"),
            ("127.0.0.1:8080:80", "127.0.0.1:8080/tcp"),
            ("[::1]:8080", "[::1]:8080/tcp"),
            ("[::1]:8080:80", "[::1]:8080/tcp"),
            ("8081-8082", "127.0.0.1:8081/tcp 127.0.0.1:8082/tcp"),
            ("8081-8082:81-82", "127.0.0.1:8081/tcp 127.0.0.1:8082/tcp"),
            ("9090", "0.0.0.0:9090/tcp"),
            ("7070", "[::1]:7070/tcp"),
            ("5353/udp", "127.0.0.1:5353/udp"),
        ];
        for (text, expected) in cases {
            assert_eq!(find(text, &published).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_of_unpublish_in_one_line() {
        let published = ["8080:80", "0.0.0.0:9090:90", "[::1]:7070:70", "127.0.0.2:7070:70", "5353:53/udp"];
        let cases = [
            ("", "from 1 to 65535"),
            ("web", "from 1 to 65535"),
            ("8080/sctp", "/tcp or /udp"),
            ("8082-8080", "write 8080-8082"),
            ("::1:8080", "brackets"),
            ("8080-8081:80", "leave the host's ports out"),
            ("8081", "8081/tcp is not published; sockeye ps"),
            ("8080-8081", "8081/tcp is not published; sockeye ps"),
            ("8080:81", "leads to port 80, not to 81"),
            ("5353", "but 127.0.0.1:5353/udp is"),
            ("7070", "write the address"),
            ("127.0.0.1:9090", "published as 0.0.0.0:9090/tcp"),
        ];
        for (text, remedy) in cases {
            let error = find(text, &published).unwrap_err();
            assert!(error.starts_with(&format!("can't unpublish {text:?}: ")), "{error}");
            assert!(error.contains(remedy) && !error.contains('\n'), "{error}");
        }
    }
}
