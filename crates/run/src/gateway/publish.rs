//! Publications: ports of the machine that lead to a host, how they are written, opened and closed.

use super::datagrams::Door;
use super::entry::Listener;
use super::{Gateway, Task, machine};
use crate::world::World;
use sockeye_packet::Instant;
use sockeye_stack::SockAddr;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

/// What a published port carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PublishProtocol {
    /// TCP connections.
    Tcp,
    /// UDP datagrams.
    Udp,
}

impl fmt::Display for PublishProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PublishProtocol::Tcp => "tcp",
            PublishProtocol::Udp => "udp",
        })
    }
}

/// One port of the machine that leads to one port of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Publication {
    /// What it carries.
    pub protocol: PublishProtocol,
    /// The machine's address and port.
    pub machine: SocketAddr,
    /// The host's addresses: the IPv4 one, then the IPv6 one. That of the machine address's family is tried
    /// first, the other where nobody answers there.
    pub host: [IpAddr; 2],
    /// The host's port.
    pub port: u16,
}

impl Publication {
    /// Where to connect to, in the order to be tried.
    pub(super) fn targets(&self) -> [SockAddr; 2] {
        let [v4, v6] = self.host.map(|ip| SockAddr::new(ip, self.port));
        if self.machine.is_ipv4() { [v4, v6] } else { [v6, v4] }
    }
}

impl fmt::Display for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.machine, self.protocol)
    }
}

/// Why a port can't be published.
#[derive(Debug)]
pub struct PublishError {
    publication: Publication,
    error: io::Error,
    /// The host of this network that the port leads to already.
    leads_to: Option<String>,
}

impl PublishError {
    /// The same, when this network itself has published the port, for the host of this name.
    pub(crate) fn published_for(self, host: Option<String>) -> PublishError {
        PublishError { leads_to: host, ..self }
    }

    /// Whether somebody has the port.
    pub(crate) fn is_in_use(&self) -> bool {
        self.error.kind() == io::ErrorKind::AddrInUse
    }

    /// Whether it is this network that has the port.
    pub(crate) fn is_published_already(&self) -> bool {
        self.leads_to.is_some()
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PublishError { publication, error, leads_to } = self;
        write!(f, "can't publish {publication}: ")?;
        if let Some(host) = leads_to {
            let port = publication.machine.port();
            return write!(f, "port {port} is published already, for host {host} of this network");
        }
        match error.kind() {
            io::ErrorKind::AddrInUse => f.write_str("the port is in use; choose another, or end who uses it"),
            io::ErrorKind::PermissionDenied => {
                f.write_str("ports below 1024 are root's; choose a higher one")
            }
            io::ErrorKind::AddrNotAvailable => {
                f.write_str("the machine has no such address; leave it out for 127.0.0.1")
            }
            _ => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for PublishError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Ports to publish, as they are written: `[ADDR:]HOSTPORT[-HOSTPORT]:PORT[-PORT][/udp]`, where `HOSTPORT` is
/// the machine's and `PORT` the host's. Without `ADDR` it is 127.0.0.1; an IPv6 address stands in brackets.
///
/// ```
/// use sockeye_run::PublishSpec;
///
/// let spec: PublishSpec = "[::1]:8080-8081:80-81/udp".parse()?;
/// let all = spec.publications(["10.77.0.2".parse()?, "fd77::2".parse()?]);
/// let all: Vec<String> = all.map(|one| format!("{} to {}", one, one.port)).collect();
/// assert_eq!(all, ["[::1]:8080/udp to 80", "[::1]:8081/udp to 81"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublishSpec {
    protocol: PublishProtocol,
    address: IpAddr,
    machine: Ports,
    host: Ports,
}

impl PublishSpec {
    /// What it names, for a host with these addresses (the IPv4 one, then the IPv6 one).
    pub fn publications(self, host: [IpAddr; 2]) -> impl Iterator<Item = Publication> {
        let PublishSpec { protocol, address, machine, host: ports } = self;
        let pairs = (machine.first..=machine.last).zip(ports.first..=ports.last);
        pairs.map(move |(outside, port)| Publication {
            protocol,
            machine: SocketAddr::new(address, outside),
            host,
            port,
        })
    }
}

/// A port, or several in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ports {
    pub(super) first: u16,
    pub(super) last: u16,
}

impl Ports {
    pub(super) fn len(self) -> u32 {
        u32::from(self.last - self.first) + 1
    }
}

/// Why a text names no ports to publish, or to unpublish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishSpecError {
    verb: &'static str,
    text: String,
    reason: String,
}

impl PublishSpecError {
    pub(super) fn new(verb: &'static str, text: &str, reason: String) -> PublishSpecError {
        PublishSpecError { verb, text: text.to_owned(), reason }
    }
}

impl fmt::Display for PublishSpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't {} {:?}: {}", self.verb, self.text, self.reason)
    }
}

impl std::error::Error for PublishSpecError {}

impl FromStr for PublishSpec {
    type Err = PublishSpecError;

    fn from_str(text: &str) -> Result<PublishSpec, PublishSpecError> {
        parse(text).map_err(|reason| PublishSpecError::new("publish", text, reason))
    }
}

fn parse(text: &str) -> Result<PublishSpec, String> {
    let (ports, protocol) = split_protocol(text)?;
    let (address, ports) = split_address(ports)?;
    let (machine, host) = ports
        .split_once(':')
        .ok_or("write HOSTPORT:PORT, the machine's port and the host's, for example 8080:80")?;
    let (machine, host) = (parse_ports(machine)?, parse_ports(host)?);
    let (outside, inside) = (machine.len(), host.len());
    if outside != inside {
        return Err(format!("{outside} ports can't lead to {inside}; write ranges of equal length"));
    }
    let address = address.unwrap_or(Ipv4Addr::LOCALHOST.into());
    Ok(PublishSpec { protocol, address, machine, host })
}

/// What is in front of the protocol, and the protocol.
pub(super) fn split_protocol(text: &str) -> Result<(&str, PublishProtocol), String> {
    match text.rsplit_once('/') {
        None => Ok((text, PublishProtocol::Tcp)),
        Some((ports, "tcp")) => Ok((ports, PublishProtocol::Tcp)),
        Some((ports, "udp")) => Ok((ports, PublishProtocol::Udp)),
        Some((_, other)) => Err(format!("{other:?} is no protocol; write /tcp or /udp")),
    }
}

/// The address in front, if there is one, and what follows it.
pub(super) fn split_address(text: &str) -> Result<(Option<IpAddr>, &str), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, ports) =
            rest.split_once("]:").ok_or("write an IPv6 address as [ADDR]:HOSTPORT:PORT")?;
        let address: std::net::Ipv6Addr =
            address.parse().map_err(|_| format!("{address:?} is no IPv6 address"))?;
        return Ok((Some(address.into()), ports));
    }
    match text.matches(':').count() {
        0 | 1 => Ok((None, text)),
        2 => {
            let (address, ports) = text.split_once(':').unwrap_or_default();
            let wrong = || format!("{address:?} is no IPv4 address; write ADDR:HOSTPORT:PORT");
            let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
            Ok((Some(address.into()), ports))
        }
        _ => Err("there are too many colons; put an IPv6 address in brackets".to_owned()),
    }
}

pub(super) fn parse_ports(text: &str) -> Result<Ports, String> {
    let port = |text: &str| match text.parse::<u16>() {
        // A sign is no part of a port.
        Ok(port) if port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ => Err(format!("{text:?} is no port; write a number from 1 to 65535")),
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(format!("the range {text:?} runs backwards; write {last}-{first}"));
    }
    Ok(Ports { first, last })
}

impl Gateway {
    /// Opens a port of the machine that leads to a host.
    pub(crate) fn publish(&mut self, publication: &Publication) -> Result<(), PublishError> {
        let publication = *publication;
        let failed = |error: io::Error| PublishError { publication, error, leads_to: None };
        let opened = match publication.protocol {
            PublishProtocol::Tcp => machine::listen_at(&publication.machine),
            PublishProtocol::Udp => machine::receive_at(&publication.machine),
        };
        let fd = opened.map_err(|error| failed(error.into()))?;
        let watched = match publication.protocol {
            PublishProtocol::Tcp => {
                self.watch(fd, |fd| Task::Listener(Listener { fd, publication, readable: true }))
            }
            PublishProtocol::Udp => self.watch(Arc::new(fd), |fd| Task::Door(Door::new(fd, publication))),
        };
        self.ports.insert(publication, watched.map_err(failed)?);
        Ok(())
    }

    /// The published port that this one is in conflict with.
    pub(crate) fn in_the_way_of(&self, wanted: &Publication) -> Option<Publication> {
        let overlap = |one: IpAddr, other: IpAddr| {
            one == other
                || (one.is_unspecified() || other.is_unspecified()) && one.is_ipv4() == other.is_ipv4()
        };
        self.publications().find(|one| {
            one.protocol == wanted.protocol
                && one.machine.port() == wanted.machine.port()
                && overlap(one.machine.ip(), wanted.machine.ip())
        })
    }

    /// Closes a published port. Connections through it go on, datagrams don't. False when it wasn't open.
    pub(crate) fn unpublish(&mut self, world: &World, now: Instant, publication: &Publication) -> bool {
        let Some(&token) = self.ports.get(publication) else { return false };
        if let Some(Task::Door(door)) = self.tasks.get(token) {
            for guest in door.guests() {
                self.end(world, now, guest);
            }
        }
        self.end(world, now, token);
        true
    }

    /// The ports that are open, in order.
    pub(crate) fn publications(&self) -> impl Iterator<Item = Publication> {
        self.ports.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Vec<String> {
        let host = ["10.77.0.2".parse().unwrap(), "fd77::2".parse().unwrap()];
        let spec: PublishSpec = text.parse().unwrap_or_else(|error| panic!("{error}"));
        spec.publications(host).map(|one| format!("{one}>{}", one.port)).collect()
    }

    #[test]
    fn what_is_written_is_published() {
        let cases: [(&str, &[&str]); 7] = [
            ("8080:80", &["127.0.0.1:8080/tcp>80"]),
            ("8080:80/tcp", &["127.0.0.1:8080/tcp>80"]),
            ("5353:53/udp", &["127.0.0.1:5353/udp>53"]),
            ("0.0.0.0:8080:80", &["0.0.0.0:8080/tcp>80"]),
            ("[::]:8080:80/udp", &["[::]:8080/udp>80"]),
            ("1-3:7-9", &["127.0.0.1:1/tcp>7", "127.0.0.1:2/tcp>8", "127.0.0.1:3/tcp>9"]),
            ("65535:65535", &["127.0.0.1:65535/tcp>65535"]),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text), expected, "{text}");
        }
        assert_eq!(expand("1-65535:1-65535").len(), 65_535);
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line_with_a_remedy() {
        let cases = [
            ("", "HOSTPORT:PORT"),
            ("80", "HOSTPORT:PORT"),
            ("0:80", "from 1 to 65535"),
            ("80:0", "from 1 to 65535"),
            ("80:65536", "from 1 to 65535"),
            ("+80:80", "from 1 to 65535"),
            (":80", "from 1 to 65535"),
            ("80:80/sctp", "/tcp or /udp"),
            ("1-3:1-2", "equal length"),
            ("3-1:1-3", "write 1-3"),
            ("::1:80:80", "brackets"),
            ("[::1]80:80", "[ADDR]:HOSTPORT:PORT"),
            ("[127.0.0.1]:80:80", "no IPv6 address"),
            ("localhost:80:80", "no IPv4 address"),
            ("1-2-3:1-3", "from 1 to 65535"),
        ];
        for (text, remedy) in cases {
            let error = text.parse::<PublishSpec>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")) && error.contains(remedy), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
