//! Kinds of sockets: what the three numbers of a socket(2) call make, or why they make nothing.

use crate::Errno;
use sockeye_stack::{Domain, Protocol, SocketType};

/// Family and type of a socket: they decide which options it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketKind {
    /// INET, INET6 or PACKET.
    pub domain: Domain,
    /// Stream, datagram, ping, raw or packet.
    pub kind: SocketType,
}

/// What a program may open beside what everybody may (capabilities(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// An ordinary program.
    None,
    /// One that has `CAP_NET_RAW`: raw and packet sockets, too.
    NetRaw,
}

/// What `SO_DOMAIN`, `SO_TYPE` and `SO_PROTOCOL` ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfKind {
    /// The address family.
    Domain,
    /// The socket's type.
    Type,
    /// The protocol number.
    Protocol,
}

/// `SOCK_PACKET`, which the libc crate calls deprecated.
const SOCK_PACKET: i32 = 10;
/// Families from here on the kernel doesn't know (`AF_MAX`); types (`SOCK_MAX`); protocols (`IPPROTO_MAX`).
const FAMILIES: i32 = 46;
const TYPES: i32 = 11;
const PROTOCOLS: i32 = 263;

impl SocketKind {
    /// What `socket(domain, kind, protocol)` makes; `SOCK_NONBLOCK` and `SOCK_CLOEXEC` in `kind` are read over.
    ///
    /// As the kernel, in this order: EINVAL for other flags, EAFNOSUPPORT for a number that is no family, EINVAL for
    /// one that is no type, EAFNOSUPPORT for a family there is nothing of here, EINVAL for a number that is no protocol,
    /// ESOCKTNOSUPPORT or EPROTONOSUPPORT for what the family doesn't have, EPERM for what the privilege doesn't allow.
    /// Everybody may open a ping socket.
    ///
    /// ```
    /// use sockeye_posix::{Errno, Privilege, SocketKind};
    ///
    /// let open = |privilege| SocketKind::of_call(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_UDP, privilege);
    /// assert_eq!(open(Privilege::None), Err(Errno::EPERM));
    /// assert!(open(Privilege::NetRaw).is_ok());
    /// ```
    pub fn of_call(domain: i32, kind: i32, protocol: i32, privilege: Privilege) -> Result<SocketKind, Errno> {
        if kind & !(0xf | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) != 0 {
            return Err(Errno::EINVAL);
        }
        let kind = kind & 0xf;
        if (0..FAMILIES).contains(&domain) && kind >= TYPES {
            return Err(Errno::EINVAL);
        }
        let kind = match (domain, kind) {
            (libc::AF_PACKET, _) | (libc::AF_INET, SOCK_PACKET) => {
                return Self::of_packets(kind, protocol, privilege);
            }
            (libc::AF_INET, _) => Self { domain: Domain::Inet, kind: of_inet(false, kind, protocol)? },
            (libc::AF_INET6, _) => Self { domain: Domain::Inet6, kind: of_inet(true, kind, protocol)? },
            _ => return Err(Errno::EAFNOSUPPORT),
        };
        if matches!(kind.kind, SocketType::Raw(_)) && privilege == Privilege::None {
            return Err(Errno::EPERM);
        }
        Ok(kind)
    }

    /// A packet socket, which asks for its privilege before anything else; the protocol is an Ethernet type in network
    /// order, as far as 16 bits go.
    fn of_packets(kind: i32, protocol: i32, privilege: Privilege) -> Result<SocketKind, Errno> {
        let cooked = match (privilege, kind) {
            (Privilege::None, _) => return Err(Errno::EPERM),
            (_, libc::SOCK_RAW) => false,
            (_, libc::SOCK_DGRAM) => true,
            _ => return Err(Errno::ESOCKTNOSUPPORT),
        };
        let ethertype = u16::from_be(protocol as u16);
        Ok(SocketKind { domain: Domain::Packet, kind: SocketType::Packet { cooked, ethertype } })
    }

    /// `SO_PROTOCOL`.
    pub fn protocol(self) -> i32 {
        match (self.kind, self.domain) {
            (SocketType::Stream, _) => libc::IPPROTO_TCP,
            (SocketType::Datagram, _) => libc::IPPROTO_UDP,
            (SocketType::DatagramLite, _) => libc::IPPROTO_UDPLITE,
            (SocketType::Ping, Domain::Inet6) => libc::IPPROTO_ICMPV6,
            (SocketType::Ping, _) => libc::IPPROTO_ICMP,
            (SocketType::Raw(protocol), _) => protocol.0.into(),
            // In network order, as socket(2) takes it.
            (SocketType::Packet { ethertype, .. }, _) => ethertype.to_be().into(),
        }
    }

    pub(crate) fn number(self, what: OfKind) -> i32 {
        match (what, self.domain, self.kind) {
            (OfKind::Domain, Domain::Inet, _) => libc::AF_INET,
            (OfKind::Domain, Domain::Inet6, _) => libc::AF_INET6,
            (OfKind::Domain, Domain::Packet, _) => libc::AF_PACKET,
            (OfKind::Type, _, SocketType::Raw(_) | SocketType::Packet { cooked: false, .. }) => {
                libc::SOCK_RAW
            }
            (OfKind::Type, _, SocketType::Stream) => libc::SOCK_STREAM,
            (OfKind::Type, ..) => libc::SOCK_DGRAM,
            (OfKind::Protocol, ..) => self.protocol(),
        }
    }
}

/// The types of one version of IP.
fn of_inet(v6: bool, kind: i32, protocol: i32) -> Result<SocketType, Errno> {
    let echo = if v6 { libc::IPPROTO_ICMPV6 } else { libc::IPPROTO_ICMP };
    match (kind, protocol) {
        (_, ..=-1 | PROTOCOLS..) => Err(Errno::EINVAL),
        (libc::SOCK_STREAM, 0 | libc::IPPROTO_TCP) => Ok(SocketType::Stream),
        (libc::SOCK_DGRAM, 0 | libc::IPPROTO_UDP) => Ok(SocketType::Datagram),
        (libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE) => Ok(SocketType::DatagramLite),
        (libc::SOCK_DGRAM, protocol) if protocol == echo => Ok(SocketType::Ping),
        // No packet has a protocol beyond these.
        (libc::SOCK_RAW, 1..=255) => Ok(SocketType::Raw(Protocol(protocol as u8))),
        (libc::SOCK_STREAM | libc::SOCK_DGRAM | libc::SOCK_RAW, _) => Err(Errno::EPROTONOSUPPORT),
        _ => Err(Errno::ESOCKTNOSUPPORT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Privilege::{NetRaw, None};
    use libc::{AF_INET, AF_INET6, AF_PACKET, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM};

    fn errno(domain: i32, kind: i32, protocol: i32, privilege: Privilege) -> Result<SocketType, Errno> {
        SocketKind::of_call(domain, kind, protocol, privilege).map(|kind| kind.kind)
    }

    /// Tried on Linux 6.18.
    #[test]
    fn what_is_wrong_is_told_in_the_kernels_order() {
        for ((domain, kind, protocol), told) in [
            ((99, SOCK_DGRAM | 64, 0), Errno::EINVAL),
            ((99, 12, 0), Errno::EAFNOSUPPORT),
            ((0, 12, 0), Errno::EINVAL),
            ((0, SOCK_DGRAM, 0), Errno::EAFNOSUPPORT),
            ((AF_INET, 11, -1), Errno::EINVAL),
            ((AF_INET, 0, -1), Errno::EINVAL),
            ((AF_INET, 0, 0), Errno::ESOCKTNOSUPPORT),
            ((AF_INET, libc::SOCK_RDM, libc::IPPROTO_TCP), Errno::ESOCKTNOSUPPORT),
            ((AF_INET, SOCK_STREAM, 300), Errno::EINVAL),
            ((AF_INET, SOCK_STREAM, libc::IPPROTO_UDP), Errno::EPROTONOSUPPORT),
            ((AF_INET, SOCK_DGRAM, libc::IPPROTO_ICMPV6), Errno::EPROTONOSUPPORT),
            ((AF_INET6, SOCK_DGRAM, libc::IPPROTO_ICMP), Errno::EPROTONOSUPPORT),
            ((AF_INET, SOCK_RAW, 263), Errno::EINVAL),
            ((AF_INET6, SOCK_RAW, 0), Errno::EPROTONOSUPPORT),
        ] {
            for privilege in [None, NetRaw] {
                assert_eq!(errno(domain, kind, protocol, privilege), Err(told), "{domain} {kind} {protocol}");
            }
        }
    }

    #[test]
    fn what_needs_a_privilege_is_refused_without() {
        assert_eq!(errno(AF_INET6, SOCK_RAW, libc::IPPROTO_ICMPV6, None), Err(Errno::EPERM));
        assert_eq!(
            errno(AF_INET6, SOCK_RAW, libc::IPPROTO_ICMPV6, NetRaw),
            Ok(SocketType::Raw(Protocol::ICMPV6))
        );
        for (domain, kind) in [(AF_PACKET, SOCK_STREAM), (AF_PACKET, SOCK_RAW), (AF_INET, SOCK_PACKET)] {
            assert_eq!(errno(domain, kind, 0, None), Err(Errno::EPERM));
        }
        assert_eq!(errno(AF_PACKET, SOCK_STREAM, 0, NetRaw), Err(Errno::ESOCKTNOSUPPORT));
        let all = i32::from(3_u16.to_be());
        let cooked = SocketType::Packet { cooked: true, ethertype: 3 };
        assert_eq!(errno(AF_PACKET, SOCK_DGRAM | libc::SOCK_CLOEXEC, all, NetRaw), Ok(cooked));
        assert_eq!(errno(AF_INET, SOCK_DGRAM, libc::IPPROTO_ICMP, None), Ok(SocketType::Ping));
    }
}
