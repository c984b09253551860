//! Interfaces and routes as their owner describes them, and the way to a destination: the longest prefix
//! wins, what is ours goes by the loopback.

use crate::address::{ip_bytes, is_link_local_v6, is_v4, map_v4};
use crate::error::{Error, Result};
use crate::io::Io;
use crate::ip::address::{full_prefix, is_loopback, is_multicast, mask};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use sockeye_packet::{NicId, Packet};

/// What a stack must know of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NicConfig {
    /// Its name, as programs see it.
    pub name: String,
    /// The longest IP packet its link carries, in bytes: 68 to 65,535 (1280 at least for IPv6).
    pub mtu: u32,
    /// Whether packets leave memory: then checksums are filled and verified. Without, they are marked
    /// [`Unfilled`](sockeye_packet::Checksum::Unfilled).
    pub checksums: bool,
    /// The most payload of a TCP super-segment that the link takes; 0 when it takes none.
    pub max_segment: usize,
    /// The largest MSS of TCP connections through it, as offered to peers and as used; 0 when only MTUs limit it.
    /// For links behind which tunnels carry less than they say, where ICMP is lost (RFC 2923 §2.1). Connections
    /// take it for what the path carries.
    pub mss_clamp: u16,
    /// Whether packets that leave by it state their router, in [`Meta::next_hop`](sockeye_packet::Meta): for
    /// links on which there are several.
    pub states_next_hop: bool,
}

impl NicConfig {
    /// An interface in memory: checksums are skipped, super-segments are as long as can be.
    pub fn memory(name: impl Into<String>, mtu: u32) -> NicConfig {
        let max_segment = NicConfig::LARGEST_SEGMENT;
        NicConfig {
            name: name.into(),
            mtu,
            checksums: false,
            max_segment,
            mss_clamp: 0,
            states_next_hop: false,
        }
    }

    /// The least MTU that IPv4 works with (RFC 791).
    pub const LEAST_MTU: u32 = 68;

    /// The most payload of a super-segment: twice 64 KiB, so that a write of as much goes in one.
    pub const LARGEST_SEGMENT: usize = 128 * 1024;

    /// The most payload of a super-segment whose IP header states its length, with all headers at their longest: what
    /// links take that hand packets on to others, and captures.
    pub const LARGEST_STATED_SEGMENT: usize = Packet::LONGEST_STATED - 120;
}

/// A way to a range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The range: addresses whose first `prefix` bits are these.
    pub dest: IpAddr,
    /// How many bits count.
    pub prefix: u8,
    /// The router, or none when the addresses are on the link.
    pub gateway: Option<IpAddr>,
    /// The interface.
    pub nic: NicId,
    /// Among routes to the same range the lowest is taken.
    pub metric: u32,
}

/// What a route says that leads nowhere, as `ip route add` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// `blackhole`: dropped in silence; the host's own sockets have [`Error::InvalidArgument`].
    Blackhole,
    /// `unreachable`: the sender is told that the host can't be reached ([`Error::HostUnreachable`]).
    Unreachable,
    /// `prohibit`: the sender is told that it isn't permitted ([`Error::PermissionDenied`]).
    Prohibit,
}

impl Refusal {
    /// What a socket of this host is told.
    pub(crate) const fn error(self) -> Error {
        match self {
            Refusal::Blackhole => Error::InvalidArgument,
            Refusal::Unreachable => Error::HostUnreachable,
            Refusal::Prohibit => Error::PermissionDenied,
        }
    }
}

/// The routes of a host, the one to try first first: longest prefix, then lowest metric, then oldest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes {
    entries: Vec<Entry>,
    /// Changes with every change of routes or addresses: what was looked up before counts no more.
    pub(crate) generation: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    v4: bool,
    network: u128,
    mask: u128,
    route: Route,
    /// It leads nowhere: the route's interface and gateway mean nothing.
    refusal: Option<Refusal>,
}

impl Routes {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.entries.iter().filter(|entry| entry.refusal.is_none()).map(|entry| &entry.route)
    }

    /// The routes that lead nowhere: range, metric, and what they say.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = ((IpAddr, u8), u32, Refusal)> {
        let refused = |entry: &Entry| {
            let Route { dest, prefix, metric, .. } = entry.route;
            Some(((dest, prefix), metric, entry.refusal?))
        };
        self.entries.iter().filter_map(refused)
    }

    /// Adds a route; an address prefix that is too long is an error.
    pub(crate) fn add(&mut self, route: Route) -> Result<()> {
        self.insert(route, None)
    }

    /// Adds a route that leads nowhere.
    pub(crate) fn refuse(&mut self, (dest, prefix): (IpAddr, u8), metric: u32, what: Refusal) -> Result<()> {
        let route = Route { dest, prefix, gateway: None, nic: NicId::LOOPBACK, metric };
        self.insert(route, Some(what))
    }

    /// Removes the route to a range that leads nowhere; says whether there was one.
    pub(crate) fn allow(&mut self, (dest, prefix): (IpAddr, u8), metric: u32, what: Refusal) -> bool {
        let route = Route { dest, prefix, gateway: None, nic: NicId::LOOPBACK, metric };
        self.take_out(&route, Some(what))
    }

    fn insert(&mut self, route: Route, refusal: Option<Refusal>) -> Result<()> {
        let prefix = full_prefix(route.dest, route.prefix).ok_or(Error::InvalidArgument)?;
        let network = u128::from_be_bytes(ip_bytes(route.dest)) & mask(prefix);
        let entry = Entry { v4: route.dest.is_ipv4(), network, mask: mask(prefix), route, refusal };
        let rank = |entry: &Entry| (!entry.mask, entry.route.metric);
        let at = self.entries.partition_point(|other| rank(other) <= rank(&entry));
        self.entries.insert(at, entry);
        self.generation = self.generation.wrapping_add(1);
        Ok(())
    }

    /// Removes the route that equals `route`; says whether there was one.
    pub(crate) fn remove(&mut self, route: &Route) -> bool {
        self.take_out(route, None)
    }

    fn take_out(&mut self, route: &Route, refusal: Option<Refusal>) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| (entry.route, entry.refusal) != (*route, refusal));
        self.generation = self.generation.wrapping_add(1);
        self.entries.len() < before
    }

    /// The route to `dst`, by `nic` if one is given; none also where one leads nowhere.
    pub(crate) fn find(&self, dst: &[u8; 16], nic: Option<NicId>) -> Option<&Route> {
        self.look_up(dst, nic).ok().flatten()
    }

    /// The route to `dst`, by `nic` if one is given, or what one says that leads nowhere.
    pub(crate) fn look_up(
        &self,
        dst: &[u8; 16],
        nic: Option<NicId>,
    ) -> core::result::Result<Option<&Route>, Refusal> {
        let (v4, dst) = (is_v4(dst), u128::from_be_bytes(*dst));
        let fits = |entry: &&Entry| {
            entry.v4 == v4
                && dst & entry.mask == entry.network
                && nic.is_none_or(|nic| nic == entry.route.nic || entry.refusal.is_some())
        };
        match self.entries.iter().find(fits) {
            Some(Entry { refusal: Some(refusal), .. }) => Err(*refusal),
            found => Ok(found.map(|entry| &entry.route)),
        }
    }
}

/// How packets get to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) nic: NicId,
    /// Source address to use when the socket has none.
    pub(crate) src: [u8; 16],
    /// Longest IP packet, of the interface and as far as known of the path.
    pub(crate) mtu: u32,
}

/// The address that the loopback interface sends from.
fn loopback_of(v4: bool) -> [u8; 16] {
    if v4 { map_v4([127, 0, 0, 1]) } else { 1_u128.to_be_bytes() }
}

impl Io {
    /// The way to `dst`, for a socket bound to address `src` or interface `nic` or neither.
    pub(crate) fn path(&self, dst: &[u8; 16], src: Option<[u8; 16]>, nic: Option<NicId>) -> Result<Path> {
        if self.addresses.is_local(dst) {
            // Whatever the interface, a host reaches itself through the loopback.
            let own = if is_v4(dst) && is_loopback(dst) { map_v4([127, 0, 0, 1]) } else { *dst };
            return Ok(Path { nic: NicId::LOOPBACK, src: src.unwrap_or(own), mtu: self.nics[0].config.mtu });
        }
        // As the kernel: IPv4 groups and everybody are asked where the source address is, before any route.
        let everywhere = is_v4(dst) && (is_multicast(dst) || dst[12..] == [255; 4]);
        let nic = nic.or_else(|| self.nic_of(&src.filter(|_| everywhere)?));
        let nic = match self.routes.look_up(dst, nic).map_err(Refusal::error)? {
            Some(route) => route.nic,
            None if is_multicast(dst) || self.addresses.is_broadcast(dst) || is_link_local_v6(dst) => {
                self.link_for(src, nic).ok_or(Error::NetworkUnreachable)?
            }
            // As the kernel: what no route leads to is on the link that was asked for.
            None if is_v4(dst) => nic.ok_or(Error::NetworkUnreachable)?,
            None => return Err(Error::NetworkUnreachable),
        };
        let src = match src {
            Some(src) if is_loopback(&src) && nic != NicId::LOOPBACK => return Err(Error::InvalidArgument),
            Some(src) => src,
            // A group, by the loopback interface.
            None if nic == NicId::LOOPBACK => loopback_of(is_v4(dst)),
            None => self.addresses.source(dst, nic).ok_or(Error::AddrNotAvailable)?,
        };
        let mtu = self.nic(nic).config.mtu;
        Ok(Path { nic, src, mtu: self.pmtu.get(dst).map_or(mtu, |path| path.min(mtu)) })
    }

    /// The interface for destinations that every link has: the one asked for, else that of the source
    /// address, else the default route's, else the first.
    fn link_for(&self, src: Option<[u8; 16]>, nic: Option<NicId>) -> Option<NicId> {
        let first = || (self.nics.len() > 1).then_some(NicId(1));
        nic.or_else(|| self.nic_of(&src?)).or_else(first)
    }

    /// The interface that has an address.
    fn nic_of(&self, ip: &[u8; 16]) -> Option<NicId> {
        if is_v4(ip) && is_loopback(ip) {
            return Some(NicId::LOOPBACK);
        }
        self.addresses.iter().find(|address| address.ip == *ip).map(|address| address.nic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(dest: &str, prefix: u8, nic: u16, metric: u32) -> Route {
        Route { dest: dest.parse().unwrap(), prefix, gateway: None, nic: NicId(nic), metric }
    }

    #[test]
    fn routes_that_lead_nowhere_are_routes() {
        let mut routes = Routes::default();
        let range = |text: &str, prefix| (text.parse::<IpAddr>().unwrap(), prefix);
        routes.add(route("0.0.0.0", 0, 1, 0)).unwrap();
        routes.add(route("10.1.2.0", 24, 1, 0)).unwrap();
        routes.refuse(range("10.0.0.0", 8), 0, Refusal::Blackhole).unwrap();
        routes.refuse(range("10.1.2.0", 24), 5, Refusal::Prohibit).unwrap();
        routes.refuse(range("fd00::", 8), 0, Refusal::Unreachable).unwrap();
        let look_up = |routes: &Routes, text: &str, nic| {
            routes.look_up(&ip_bytes(text.parse().unwrap()), nic).map(|route| route.map(|route| route.prefix))
        };
        assert_eq!(look_up(&routes, "8.8.8.8", None), Ok(Some(0)));
        assert_eq!(look_up(&routes, "10.9.9.9", None), Err(Refusal::Blackhole));
        assert_eq!(look_up(&routes, "10.9.9.9", Some(NicId(1))), Err(Refusal::Blackhole));
        assert_eq!(look_up(&routes, "10.1.2.9", None), Ok(Some(24)), "the lower metric");
        assert_eq!(look_up(&routes, "fd77::1", None), Err(Refusal::Unreachable));
        assert_eq!(look_up(&routes, "2001:db8::1", None), Ok(None));
        assert_eq!((routes.iter().count(), routes.refusals().count()), (2, 3));
        assert!(!routes.allow(range("10.0.0.0", 8), 0, Refusal::Prohibit));
        assert!(routes.allow(range("10.0.0.0", 8), 0, Refusal::Blackhole));
        assert_eq!(look_up(&routes, "10.9.9.9", None), Ok(Some(0)));
    }

    #[test]
    fn the_longest_prefix_wins_then_the_lowest_metric_then_the_oldest() {
        let mut routes = Routes::default();
        for route in [
            route("0.0.0.0", 0, 1, 5),
            route("0.0.0.0", 0, 2, 1),
            route("0.0.0.0", 0, 3, 1),
            route("10.0.0.0", 8, 4, 9),
            route("10.1.2.3", 16, 5, 9),
            route("::", 0, 6, 0),
        ] {
            routes.add(route).unwrap();
        }
        let nic = |text: &str, by| {
            routes.find(&ip_bytes(text.parse().unwrap()), by).map(|route: &Route| route.nic.0)
        };
        assert_eq!(nic("8.8.8.8", None), Some(2));
        assert_eq!(nic("8.8.8.8", Some(NicId(1))), Some(1));
        assert_eq!(nic("10.200.0.1", None), Some(4));
        assert_eq!(nic("10.1.0.1", None), Some(5));
        assert_eq!(nic("2001:db8::1", None), Some(6));
        assert_eq!(nic("8.8.8.8", Some(NicId(6))), None);
        assert!(routes.remove(&route("10.0.0.0", 8, 4, 9)));
        assert!(!routes.remove(&route("10.0.0.0", 8, 4, 9)));
        assert_eq!(routes.add(route("10.0.0.0", 33, 1, 0)), Err(Error::InvalidArgument));
    }
}
