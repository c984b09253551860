//! Socket addresses: `struct sockaddr_in`, `struct sockaddr_in6` and `AF_UNSPEC` as bytes.
//!
//! Each call reads its address by slightly different rules, and programs depend on the errno: the functions
//! here are named after the call. Addresses go back cut to the room the program gave, with their true
//! length told. Flow labels are read over and written as zero, as by a socket without
//! `IPV6_FLOWINFO_SEND`.

use crate::message::ADDRESS_MAX;
use crate::{Errno, SocketKind};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use sockeye_packet::NicId;
use sockeye_stack::{Domain, OptionName, Protocol, SockAddr, SocketId, SocketOption, SocketType, Stack};

/// Length of `struct sockaddr_in`.
pub(crate) const INET_LEN: usize = 16;
/// Length of `struct sockaddr_in6`.
pub(crate) const INET6_LEN: usize = 28;
/// Length of `struct sockaddr_in6` before it had a scope (RFC 2133): still enough for the kernel.
const INET6_LEN_MIN: usize = 24;
/// Length of an echo request without data.
const ECHO_HEADER_LEN: usize = 8;
/// Length of `sa_family`, all that dissolving an association needs.
const FAMILY_LEN: usize = 2;

/// What of a socket decides how an address is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The socket's family.
    pub domain: Domain,
    /// The socket's type.
    pub kind: SocketType,
    /// `IPV6_V6ONLY`: refuses IPv4 addresses in IPv6 form.
    pub v6_only: bool,
    /// Whether it is bound to an IPv4 address.
    pub local_is_v4: bool,
    /// Whom it is connected to.
    pub peer: Option<SockAddr>,
}

impl Reader {
    /// What a socket of a stack, which is of this kind, is now.
    pub fn of(stack: &Stack, id: SocketId, SocketKind { domain, kind }: SocketKind) -> Reader {
        let v6_only = stack.get_option(id, OptionName::V6Only) == Ok(SocketOption::V6Only(true));
        Reader {
            domain,
            kind,
            // A ping socket's protocol is that of one version of IP.
            v6_only: v6_only || kind == SocketType::Ping,
            local_is_v4: stack.local_addr(id).is_ok_and(|addr| addr.is_v4()),
            peer: stack.connected_to(id),
        }
    }

    /// The address of a `bind`.
    ///
    /// EINVAL when short, or a v4-mapped address on an IPv6-only socket, or a link-local one without scope;
    /// EAFNOSUPPORT for another family, which raw sockets don't look at (IPv4) or say EINVAL to (IPv6).
    pub fn bind(self, bytes: &[u8]) -> Result<SockAddr, Errno> {
        check_length(bytes)?;
        match self.domain {
            Domain::Inet => {
                let inet = Inet::parse(bytes)?;
                // Old programs leave the family of the wildcard address unset.
                let wildcard = inet.family == libc::AF_UNSPEC && inet.addr.ip_addr().is_unspecified();
                if inet.family == libc::AF_INET || wildcard || self.is_raw() {
                    Ok(inet.addr)
                } else {
                    Err(Errno::EAFNOSUPPORT)
                }
            }
            Domain::Inet6 if self.is_raw() => {
                if bytes.len() < INET6_LEN_MIN || family(bytes) != Some(libc::AF_INET6) {
                    return Err(Errno::EINVAL);
                }
                let addr = parse_inet6(bytes)?;
                if addr.is_v4() { Err(Errno::EADDRNOTAVAIL) } else { scoped(addr) }
            }
            Domain::Inet6 if self.kind == SocketType::Ping && bytes.len() < INET6_LEN => Err(Errno::EINVAL),
            Domain::Inet6 => {
                let addr = parse_inet6(bytes)?;
                if self.v6_only && addr.ip_addr().is_ipv4() { Err(Errno::EINVAL) } else { scoped(addr) }
            }
            Domain::Packet => Err(Errno::EINVAL),
        }
    }

    /// The address of a `connect`; `None` dissolves the association (`AF_UNSPEC`).
    ///
    /// EINVAL when short, EAFNOSUPPORT for another family, ENETUNREACH for a v4-mapped address on an
    /// IPv6-only socket. Datagram sockets of IPv6 take an IPv4 address in its own form, as Linux does.
    pub fn connect(self, bytes: &[u8]) -> Result<Option<SockAddr>, Errno> {
        check_length(bytes)?;
        let family = family(bytes).ok_or(Errno::EINVAL)?;
        if family == libc::AF_UNSPEC {
            return Ok(None);
        }
        match self.domain {
            Domain::Inet => {
                let inet = Inet::parse(bytes)?;
                if family == libc::AF_INET { Ok(Some(inet.addr)) } else { Err(Errno::EAFNOSUPPORT) }
            }
            Domain::Inet6
                if family == libc::AF_INET
                    && matches!(self.kind, SocketType::Datagram | SocketType::DatagramLite) =>
            {
                if self.v6_only {
                    return Err(Errno::EAFNOSUPPORT);
                }
                Ok(Some(Inet::parse(bytes)?.addr))
            }
            Domain::Inet6 if self.kind != SocketType::Stream && family != libc::AF_INET6 => {
                Err(Errno::EAFNOSUPPORT)
            }
            Domain::Inet6 => {
                let addr = parse_inet6(bytes)?;
                if self.v6_only && addr.ip_addr().is_ipv4() {
                    return Err(Errno::ENETUNREACH);
                }
                scoped(addr).map(Some)
            }
            Domain::Packet => Err(Errno::EOPNOTSUPP),
        }
    }

    /// Whether a `connect` to this address gives a socket without a port one, whatever becomes of it: the kernel does so
    /// before it reads on.
    pub fn connect_binds(self, bytes: &[u8]) -> bool {
        let named = family(bytes).is_some_and(|family| family != libc::AF_UNSPEC);
        self.kind != SocketType::Stream && named && check_length(bytes).is_ok()
    }

    /// The destination of a message of `len` bytes that begins with `head`, as [`Reader::destination`]; what is sent by
    /// ping and raw sockets is looked at first, or then.
    ///
    /// EINVAL for what is no echo request from a ping socket; EFAULT for less than a type and a code from a raw one of
    /// ICMP.
    pub fn message(
        self,
        to: &[u8],
        head: &[u8],
        len: usize,
        urgent: bool,
    ) -> Result<Option<SockAddr>, Errno> {
        if self.kind == SocketType::Ping {
            let request = if self.domain == Domain::Inet { 8 } else { 128 };
            if len < ECHO_HEADER_LEN || !urgent && head.first_chunk() != Some(&[request, 0]) {
                return Err(Errno::EINVAL);
            }
        }
        let to = self.destination(to, urgent)?;
        let icmp = if self.domain == Domain::Inet { Protocol::ICMP } else { Protocol::ICMPV6 };
        let short = self.kind == SocketType::Raw(icmp) && len < 2;
        if short && to.or(self.peer).is_some() { Err(Errno::EFAULT) } else { Ok(to) }
    }

    fn is_raw(self) -> bool {
        matches!(self.kind, SocketType::Raw(_))
    }

    /// The destination of a `sendto` or `sendmsg`; `None` is the connected peer.
    ///
    /// EINVAL when short or without a port, EAFNOSUPPORT (IPv4) or EINVAL (IPv6) for another family,
    /// ENETUNREACH for an IPv4 destination on an IPv6-only socket. Of a ping socket the port means nothing, and
    /// EAFNOSUPPORT is the answer to another family, and to none. EOPNOTSUPP for what is `urgent` (`MSG_OOB`), which
    /// only UDP over IPv6 reads over.
    pub fn destination(self, bytes: &[u8], urgent: bool) -> Result<Option<SockAddr>, Errno> {
        check_length(bytes)?;
        let is_udp = matches!(self.kind, SocketType::Datagram | SocketType::DatagramLite);
        if self.domain == Domain::Inet6 && is_udp {
            return self.destination6(bytes, urgent);
        }
        if urgent {
            return Err(Errno::EOPNOTSUPP);
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let is_ping = self.kind == SocketType::Ping;
        let least = match self.domain {
            Domain::Inet6 if is_ping => INET6_LEN,
            Domain::Inet6 => INET6_LEN_MIN,
            _ => INET_LEN,
        };
        if bytes.len() < least {
            return Err(Errno::EINVAL);
        }
        let addr = match self.domain {
            Domain::Packet => return Err(Errno::EINVAL),
            _ if (is_ping || self.domain == Domain::Inet6) && !self.is_own_family(bytes) => {
                return Err(Errno::EAFNOSUPPORT);
            }
            Domain::Inet => {
                let inet = Inet::parse(bytes)?;
                // The kernel reads a destination without a family as an IPv4 one.
                if !matches!(inet.family, libc::AF_INET | libc::AF_UNSPEC) {
                    return Err(Errno::EAFNOSUPPORT);
                }
                inet.addr
            }
            Domain::Inet6 => parse_inet6(bytes)?,
        };
        if self.v6_only && addr.is_v4() && self.domain == Domain::Inet6 {
            return Err(if is_ping { Errno::EINVAL } else { Errno::ENETUNREACH });
        }
        let right = match (self.kind, self.domain) {
            // raw(7): the port may repeat the protocol, and may not be another.
            (SocketType::Raw(protocol), Domain::Inet6) => [0, protocol.0.into()].contains(&addr.port),
            (SocketType::Raw(_) | SocketType::Ping, _) => true,
            _ => addr.port != 0,
        };
        if right { scoped(addr).map(Some) } else { Err(Errno::EINVAL) }
    }

    /// That of UDP over IPv6, which hands what goes to IPv4 on to IPv4's before it has looked at all of it.
    fn destination6(self, bytes: &[u8], urgent: bool) -> Result<Option<SockAddr>, Errno> {
        let refused = if urgent { Err(Errno::EOPNOTSUPP) } else { Ok(()) };
        let addr = match family(bytes) {
            None if !bytes.is_empty() => return Err(Errno::EINVAL),
            None | Some(libc::AF_UNSPEC) => {
                return if self.peer.is_some_and(|peer| peer.is_v4()) {
                    refused.map(|()| None)
                } else {
                    Ok(None)
                };
            }
            Some(libc::AF_INET) if self.v6_only => return Err(Errno::ENETUNREACH),
            Some(libc::AF_INET) => {
                refused?;
                Inet::parse(bytes)?.addr
            }
            Some(libc::AF_INET6) => {
                let addr = parse_inet6(bytes)?;
                if addr.is_v4() && self.v6_only {
                    return Err(Errno::ENETUNREACH);
                }
                // From an IPv4 address `::` is the IPv4 host.
                if addr.is_v4() || addr.is_unspecified() && self.local_is_v4 {
                    refused?;
                }
                addr
            }
            Some(_) => return Err(Errno::EINVAL),
        };
        if addr.port == 0 { Err(Errno::EINVAL) } else { scoped(addr).map(Some) }
    }

    /// Whether an address that is long enough to have a family has the socket's.
    fn is_own_family(self, bytes: &[u8]) -> bool {
        let own = match self.domain {
            Domain::Inet => libc::AF_INET,
            Domain::Inet6 => libc::AF_INET6,
            Domain::Packet => libc::AF_PACKET,
        };
        family(bytes).is_none_or(|family| family == own)
    }
}

/// The family an address names, when it is long enough to name one.
pub fn family(bytes: &[u8]) -> Option<i32> {
    bytes.first_chunk::<FAMILY_LEN>().map(|b| u16::from_ne_bytes(*b).into())
}

/// An address as the program reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressBytes {
    bytes: [u8; INET6_LEN],
    len: usize,
}

impl AddressBytes {
    /// `addr` in the form of the socket's family: v4-mapped on an IPv6 socket.
    pub fn new(addr: SockAddr, domain: Domain) -> AddressBytes {
        let mut bytes = [0; INET6_LEN];
        bytes[2..4].copy_from_slice(&addr.port.to_be_bytes());
        let len = match domain {
            // Those of packet sockets are written elsewhere.
            Domain::Inet | Domain::Packet => {
                bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                // An IPv6 address can't be said here; only the unspecified one occurs, and it reads as zeros.
                let v4 = if let IpAddr::V4(v4) = addr.ip_addr() { v4 } else { Ipv4Addr::UNSPECIFIED };
                bytes[4..8].copy_from_slice(&v4.octets());
                INET_LEN
            }
            Domain::Inet6 => {
                bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                bytes[8..24].copy_from_slice(&addr.ip);
                bytes[24..].copy_from_slice(&addr.scope.map_or(0, interface_index).to_ne_bytes());
                INET6_LEN
            }
        };
        AddressBytes { bytes, len }
    }

    /// The whole address; its length is what the program is told, whatever room it gave.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// As much of the address as `room` holds.
    pub fn cut_to(&self, room: usize) -> &[u8] {
        &self.bytes[..self.len.min(room)]
    }
}

/// The number a program knows an interface by: the loopback interface is 1, as on Linux.
pub fn interface_index(nic: NicId) -> u32 {
    u32::from(nic.0) + 1
}

/// The interface of a number; `None` for 0 and for numbers that can't be one.
pub fn nic_of_index(index: u32) -> Option<NicId> {
    u16::try_from(index.checked_sub(1)?).ok().map(NicId)
}

struct Inet {
    family: i32,
    addr: SockAddr,
}

impl Inet {
    fn parse(bytes: &[u8]) -> Result<Inet, Errno> {
        let bytes: &[u8; INET_LEN] = bytes.first_chunk().ok_or(Errno::EINVAL)?;
        let ip = Ipv4Addr::new(bytes[4], bytes[5], bytes[6], bytes[7]);
        let family = u16::from_ne_bytes([bytes[0], bytes[1]]).into();
        Ok(Inet { family, addr: SockAddr::new(ip.into(), u16::from_be_bytes([bytes[2], bytes[3]])) })
    }
}

fn parse_inet6(bytes: &[u8]) -> Result<SockAddr, Errno> {
    let fixed: &[u8; INET6_LEN_MIN] = bytes.first_chunk().ok_or(Errno::EINVAL)?;
    if family(fixed) != Some(libc::AF_INET6) {
        return Err(Errno::EAFNOSUPPORT);
    }
    let ip = fixed.last_chunk::<16>().map_or(Ipv6Addr::UNSPECIFIED, |ip| Ipv6Addr::from(*ip));
    let mut addr = SockAddr::new(ip.into(), u16::from_be_bytes([fixed[2], fixed[3]]));
    let scope =
        bytes.get(INET6_LEN_MIN..).and_then(<[u8]>::first_chunk).map_or(0, |b| u32::from_ne_bytes(*b));
    // Only link-local addresses have a scope; the kernel reads over it elsewhere.
    if is_link_local(ip) && scope != 0 {
        addr.scope = Some(nic_of_index(scope).ok_or(Errno::ENODEV)?);
    }
    Ok(addr)
}

/// Refuses a link-local address that doesn't say which link.
fn scoped(addr: SockAddr) -> Result<SockAddr, Errno> {
    let missing = addr.scope.is_none() && is_link_local(Ipv6Addr::from(addr.ip));
    if missing { Err(Errno::EINVAL) } else { Ok(addr) }
}

/// `fe80::/10`, and multicast that doesn't leave the link.
fn is_link_local(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.octets();
    ip.is_unicast_link_local() || (first == 0xff && matches!(second & 0xf, 1 | 2))
}

fn check_length(bytes: &[u8]) -> Result<(), Errno> {
    if bytes.len() > ADDRESS_MAX { Err(Errno::EINVAL) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
