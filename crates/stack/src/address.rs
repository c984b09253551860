//! Socket addresses as the whole stack above `ip/` holds them: sixteen bytes, v4 as v4-mapped.
//!
//! Being IPv4 is a property of the socket or packet, not of the type of its address, so one table and
//! one key serve both families. A v4-mapped address never appears on the wire.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use sockeye_packet::NicId;

/// An address with a port and, where the address means something on one link only, that link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SockAddr {
    /// The address: IPv6, or IPv4 as `::ffff:a.b.c.d`.
    pub ip: [u8; 16],
    /// The port, in host order.
    pub port: u16,
    /// The interface that a link-local address belongs to.
    pub scope: Option<NicId>,
}

impl SockAddr {
    /// `0.0.0.0`, port 0.
    pub const UNSPECIFIED_V4: SockAddr = SockAddr { ip: map_v4([0; 4]), port: 0, scope: None };
    /// `::`, port 0.
    pub const UNSPECIFIED_V6: SockAddr = SockAddr { ip: [0; 16], port: 0, scope: None };

    /// An address without a scope.
    pub const fn new(ip: IpAddr, port: u16) -> SockAddr {
        SockAddr { ip: ip_bytes(ip), port, scope: None }
    }

    /// The address; v4-mapped ones come back as IPv4.
    pub fn ip_addr(&self) -> IpAddr {
        ip_from_bytes(self.ip)
    }

    /// Whether this is an IPv4 address.
    pub fn is_v4(&self) -> bool {
        is_v4(&self.ip)
    }

    /// Whether this is `0.0.0.0` or `::`.
    pub fn is_unspecified(&self) -> bool {
        is_unspecified(&self.ip)
    }

    /// Whether this is in 127.0.0.0/8 or `::1`.
    pub fn is_loopback(&self) -> bool {
        self.ip_addr().is_loopback()
    }

    /// Whether this is a multicast group.
    pub fn is_multicast(&self) -> bool {
        self.ip_addr().is_multicast()
    }

    /// The same address with another port.
    #[must_use]
    pub fn with_port(self, port: u16) -> SockAddr {
        SockAddr { port, ..self }
    }
}

/// The sixteen bytes of `a.b.c.d` as `::ffff:a.b.c.d`.
pub(crate) const fn map_v4(v4: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, v4[0], v4[1], v4[2], v4[3]]
}

/// The sixteen bytes of an address.
pub(crate) const fn ip_bytes(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => map_v4(v4.octets()),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The address of sixteen bytes; v4-mapped ones as IPv4.
pub(crate) fn ip_from_bytes(ip: [u8; 16]) -> IpAddr {
    match v4_bytes(&ip) {
        Some(v4) => IpAddr::V4(Ipv4Addr::from(v4)),
        None => IpAddr::V6(Ipv6Addr::from(ip)),
    }
}

/// Whether the bytes are a v4-mapped address.
pub(crate) fn is_v4(ip: &[u8; 16]) -> bool {
    ip[..12] == map_v4([0; 4])[..12]
}

/// The four bytes of a v4-mapped address.
pub(crate) fn v4_bytes(ip: &[u8; 16]) -> Option<[u8; 4]> {
    is_v4(ip).then(|| [ip[12], ip[13], ip[14], ip[15]])
}

/// Whether the bytes are `0.0.0.0` or `::`.
pub(crate) fn is_unspecified(ip: &[u8; 16]) -> bool {
    *ip == [0; 16] || *ip == map_v4([0; 4])
}

/// Whether the bytes are an IPv6 link-local address, which means nothing without an interface.
pub(crate) fn is_link_local_v6(ip: &[u8; 16]) -> bool {
    ip[0] == 0xfe && ip[1] & 0xc0 == 0x80
}

/// Whether the bytes are an IPv6 address, of a host or a group, that means something on one link only (RFC 4007 §4).
pub(crate) fn is_of_link_v6(ip: &[u8; 16]) -> bool {
    is_link_local_v6(ip) || ip[0] == 0xff && matches!(ip[1] & 0xf, 1 | 2)
}

impl From<SocketAddr> for SockAddr {
    fn from(addr: SocketAddr) -> SockAddr {
        let scope = match addr {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => {
                // Interface indices count from 1 in the Berkeley API, and from 0 here.
                u16::try_from(v6.scope_id() - 1).ok().map(NicId)
            }
            _ => None,
        };
        SockAddr { scope, ..SockAddr::new(addr.ip(), addr.port()) }
    }
}

impl From<SockAddr> for SocketAddr {
    fn from(addr: SockAddr) -> SocketAddr {
        match addr.ip_addr() {
            IpAddr::V4(v4) => SocketAddr::from((v4, addr.port)),
            IpAddr::V6(v6) => {
                let scope = addr.scope.map_or(0, |nic| u32::from(nic.0) + 1);
                SocketAddr::V6(SocketAddrV6::new(v6, addr.port, 0, scope))
            }
        }
    }
}

impl fmt::Display for SockAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn both_families_come_back_as_they_went_in() {
        for text in ["10.0.0.1:80", "[fd77::2]:443", "0.0.0.0:0", "[::]:1", "[fe80::1%3]:9"] {
            let addr: SocketAddr = text.parse().unwrap();
            let ours = SockAddr::from(addr);
            assert_eq!(SocketAddr::from(ours), addr);
            assert_eq!(ours.to_string(), text);
            assert_eq!(ours.is_v4(), addr.is_ipv4());
        }
        assert!(SockAddr::UNSPECIFIED_V4.is_unspecified() && SockAddr::UNSPECIFIED_V6.is_unspecified());
    }
}
