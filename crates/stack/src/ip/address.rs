//! The addresses of a host, and which of them a packet starts from (RFC 6724 §5, as far as it applies).

use crate::address::{is_link_local_v6, is_v4};
use alloc::vec::Vec;
use core::net::IpAddr;
use sockeye_packet::NicId;

/// One address of one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) nic: NicId,
    pub(crate) ip: [u8; 16],
    /// Length of the network's prefix in bits of `ip`: an IPv4 /24 has 120.
    pub(crate) prefix: u8,
}

impl Address {
    /// The broadcast address of an IPv4 network, if it is large enough to have one (RFC 3021).
    fn broadcast(&self) -> Option<[u8; 16]> {
        (is_v4(&self.ip) && self.prefix < 127)
            .then(|| (u128::from_be_bytes(self.ip) | !mask(self.prefix)).to_be_bytes())
    }
}

/// What kind of address a packet went to, seen from this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cast {
    /// One of ours.
    Unicast,
    /// Everybody on the network, us too.
    Broadcast,
    /// A group.
    Multicast,
    /// Somebody else.
    Other,
}

/// All addresses, in the order they were given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses {
    given: Vec<Address>,
    /// Where the latest packet for this host came from and went to, while both are still right.
    latest: Option<Ends>,
}

/// Where a packet came from and went to, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) src: [u8; 16],
    pub(crate) dst: [u8; 16],
    pub(crate) nic: NicId,
    pub(crate) v4: bool,
}

impl Addresses {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Address> {
        self.given.iter()
    }

    pub(crate) fn push(&mut self, address: Address) {
        self.latest = None;
        self.given.push(address);
    }

    pub(crate) fn remove(&mut self, nic: NicId, ip: &[u8; 16]) -> Option<Address> {
        self.latest = None;
        let at = self.given.iter().position(|address| address.nic == nic && address.ip == *ip)?;
        Some(self.given.remove(at))
    }

    /// Whether a packet went the way of the latest that was found to be valid and for this host alone.
    pub(crate) fn is_latest(&self, ends: &Ends) -> bool {
        self.latest.as_ref() == Some(ends)
    }

    /// A packet was found to be valid and for this host alone.
    pub(crate) fn set_latest(&mut self, ends: Ends) {
        self.latest = Some(ends);
    }

    /// Whether the address is this host's: one given to an interface, or of the loopback network.
    pub(crate) fn is_local(&self, ip: &[u8; 16]) -> bool {
        is_loopback(ip) || self.given.iter().any(|address| address.ip == *ip)
    }

    /// Whether this is the broadcast address of some attached network, or the limited one.
    pub(crate) fn is_broadcast(&self, ip: &[u8; 16]) -> bool {
        is_v4(ip)
            && (ip[12..] == [255; 4] || self.given.iter().any(|address| address.broadcast() == Some(*ip)))
    }

    /// What an address means to this host.
    pub(crate) fn cast(&self, ip: &[u8; 16]) -> Cast {
        if self.is_local(ip) {
            Cast::Unicast
        } else if is_multicast(ip) {
            Cast::Multicast
        } else if self.is_broadcast(ip) {
            Cast::Broadcast
        } else {
            Cast::Other
        }
    }

    /// The source address for packets to `dst` by `nic`.
    pub(crate) fn source(&self, dst: &[u8; 16], nic: NicId) -> Option<[u8; 16]> {
        let v4 = is_v4(dst);
        let usable =
            self.given.iter().filter(|address| is_v4(&address.ip) == v4 && !is_loopback(&address.ip));
        let usable = usable.filter(|address| {
            // A link-local address means nothing on another link.
            address.nic == nic || !is_link_local_v6(&address.ip)
        });
        // Rule 2: the least scope that reaches as far as the destination's, else the greatest; rule 5: the outgoing
        // interface; rule 6: the same label; rule 8: the longest common prefix. The first given wins otherwise.
        let wanted = scope(dst);
        let rank = |address: &Address| {
            let common = (u128::from_be_bytes(address.ip) ^ u128::from_be_bytes(*dst)).leading_zeros();
            let reach = i16::from(scope(&address.ip));
            let fits = reach >= i16::from(wanted);
            let in_scope = (fits, if fits { -reach } else { reach });
            let same_label = label(&address.ip) == label(dst);
            (in_scope, address.nic == nic, same_label, common.min(u32::from(address.prefix)))
        };
        usable.reduce(|best, other| if rank(other) > rank(best) { other } else { best }).map(|best| best.ip)
    }
}

/// How far an address means something (RFC 6724 §3.1, RFC 4291 §2.7); all of IPv4 but its loopback and link-local
/// addresses is global.
fn scope(ip: &[u8; 16]) -> u8 {
    const LINK: u8 = 2;
    const SITE: u8 = 5;
    const GLOBAL: u8 = 14;
    match *ip {
        _ if is_loopback(ip) || is_link_local_v6(ip) => LINK,
        [0xff, second, ..] => second & 0xf,
        [0xfe, second, ..] if second & 0xc0 == 0xc0 => SITE,
        _ if is_v4(ip) && ip[12..14] == [169, 254] => LINK,
        _ => GLOBAL,
    }
}

/// The label of an address (RFC 6724 §2.1).
fn label(ip: &[u8; 16]) -> u8 {
    match *ip {
        _ if *ip == 1_u128.to_be_bytes() => 0,
        _ if is_v4(ip) => 4,
        [0x20, 0x02, ..] => 2,
        [0x20, 0x01, 0, 0, ..] => 5,
        [0xfc | 0xfd, ..] => 13,
        [0xfe, second, ..] if second & 0xc0 == 0xc0 => 11,
        [0x3f, 0xfe, ..] => 12,
        _ if ip[..12] == [0; 12] => 3,
        _ => 1,
    }
}

/// The bits of a prefix.
pub(crate) fn mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0)
}

/// Whether this is in 127.0.0.0/8 or `::1`.
pub(crate) fn is_loopback(ip: &[u8; 16]) -> bool {
    *ip == 1_u128.to_be_bytes() || is_v4(ip) && ip[12] == 127
}

/// Whether this is a multicast group.
pub(crate) fn is_multicast(ip: &[u8; 16]) -> bool {
    ip[0] == 0xff || is_v4(ip) && ip[12] & 0xf0 == 0xe0
}

/// The prefix length in bits of the sixteen-byte form; none when it is too long for the family.
pub(crate) fn full_prefix(ip: IpAddr, prefix: u8) -> Option<u8> {
    match ip {
        IpAddr::V4(_) if prefix <= 32 => Some(prefix + 96),
        IpAddr::V6(_) if prefix <= 128 => Some(prefix),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{ip_bytes, ip_from_bytes};
    use alloc::string::ToString;

    fn ip(text: &str) -> [u8; 16] {
        ip_bytes(text.parse().unwrap())
    }

    fn host() -> Addresses {
        let mut addresses = Addresses::default();
        let given = [
            (1, "10.0.0.2", 120),
            (1, "fe80::2", 64),
            (1, "fd77::2", 64),
            (2, "192.168.1.2", 120),
            (2, "2001:db8::2", 64),
            (2, "fe80::3", 64),
        ];
        for (nic, text, prefix) in given {
            addresses.push(Address { nic: NicId(nic), ip: ip(text), prefix });
        }
        addresses
    }

    #[test]
    fn sources_fit_the_destination() {
        let cases = [
            ("10.0.0.9", 1, Some("10.0.0.2")),
            ("8.8.8.8", 2, Some("192.168.1.2")),
            ("fe80::9", 2, Some("fe80::3")),
            ("fd77::9", 1, Some("fd77::2")),
            ("2001:db8::9", 2, Some("2001:db8::2")),
            ("8.8.8.8", 7, Some("10.0.0.2")),
            // A group of the link is spoken to with an address of the link, one of a site with one that gets there.
            ("ff02::7", 1, Some("fe80::2")),
            ("ff05::7", 1, Some("fd77::2")),
            // Rule 6: a global address from a global one, though the interface is rule 5's, which comes first.
            ("2600::1", 2, Some("2001:db8::2")),
            ("2600::1", 1, Some("fd77::2")),
            ("fdff::1", 7, Some("fd77::2")),
            ("2600::1", 7, Some("2001:db8::2")),
        ];
        for (dst, nic, src) in cases {
            let found = host().source(&ip(dst), NicId(nic)).map(|ip| ip_from_bytes(ip).to_string());
            assert_eq!(found.as_deref(), src, "to {dst} by {nic}");
        }
        assert_eq!(Addresses::default().source(&ip("10.0.0.1"), NicId(1)), None);
    }

    #[test]
    fn addresses_are_told_apart() {
        let cases = [
            ("10.0.0.2", Cast::Unicast),
            ("127.3.4.5", Cast::Unicast),
            ("::1", Cast::Unicast),
            ("10.0.0.255", Cast::Broadcast),
            ("255.255.255.255", Cast::Broadcast),
            ("224.0.0.1", Cast::Multicast),
            ("ff02::1", Cast::Multicast),
            ("10.0.0.3", Cast::Other),
            ("fd77::3", Cast::Other),
        ];
        for (text, cast) in cases {
            assert_eq!(host().cast(&ip(text)), cast, "{text}");
        }
    }
}
