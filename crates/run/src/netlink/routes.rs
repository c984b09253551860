//! Routes as messages: the tables of a host, and the way to one destination.

use super::describe::{TABLE_LOCAL, TABLE_MAIN, family_of};
use super::host::{Interface, Kind, Path, interfaces, network, path};
use super::request::Request;
use netlink_packet_core::DefaultNla;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RoutePreference, RouteProtocol, RouteScope,
    RouteType,
};
use sockeye_packet::NicId;
use sockeye_posix::Errno;
use sockeye_posix::address::interface_index;
use sockeye_stack::{Route, Stack};
use std::net::{IpAddr, Ipv6Addr};

/// Length of `struct rtmsg`.
const HEADER: usize = 12;
/// Attributes of requests.
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_IIF: u16 = 3;
const RTA_OIF: u16 = 4;
const RTA_CACHEINFO: u16 = 12;
const RTA_TABLE: u16 = 15;

/// The metric that IPv6 gives routes of addresses, and others that have none.
const OF_ADDRESSES: u32 = 256;
const OF_USERS: u32 = 1024;

/// Which routes a dump is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    table: Option<u32>,
    index: Option<u32>,
    protocol: Option<u8>,
    kind: Option<u8>,
}

impl Filter {
    /// What a request asks for, of a program that has asked for strict checking; others are told of all
    /// and choose themselves.
    pub(super) fn of(request: &Request<'_>) -> Result<Filter, Errno> {
        let header = RouteHeader::parse(request.body).map_err(|_| Errno::EINVAL)?;
        let given = |number: u8| (number != 0).then_some(number);
        let table = request.number(HEADER, RTA_TABLE).filter(|&table| table != 0);
        Ok(Filter {
            table: table.or(given(header.table).map(Into::into)),
            index: request.number(HEADER, RTA_OIF),
            protocol: given(header.protocol.into()),
            kind: given(header.kind.into()),
        })
    }

    /// Whether it leaves anything out.
    pub(super) fn is_some(&self) -> bool {
        *self != Filter::default()
    }

    fn lets(&self, message: &RouteMessage) -> bool {
        let header = &message.header;
        let oif = |index| message.attributes.contains(&RouteAttribute::Oif(index));
        self.table.is_none_or(|table| table == header.table.into())
            && self.index.is_none_or(oif)
            && self.protocol.is_none_or(|protocol| protocol == header.protocol.into())
            && self.kind.is_none_or(|kind| kind == header.kind.into())
    }
}

/// Whether a dump asks for what a host never has: routes that were cloned for a destination.
pub(super) fn asks_for_clones(request: &Request<'_>) -> bool {
    RouteHeader::parse(request.body)
        .is_ok_and(|header| header.flags.intersects(RouteFlags::Cloned | RouteFlags::Prefix))
}

/// The routes of a family that pass, the main table's first.
pub(super) fn table(stack: &Stack, v4: bool, filter: Filter) -> Vec<RouteNetlinkMessage> {
    let interfaces = interfaces(stack);
    let mut main: Vec<_> = stack.routes().into_iter().filter(|route| route.dest.is_ipv4() == v4).collect();
    if v4 {
        // As the kernel: in the order of the addresses, of which the default route's is the first.
        main.sort_by_key(|route| (network(route.dest, route.prefix), u8::MAX - route.prefix));
    }
    let main = main.iter().map(|route| main_route(route, &interfaces));
    let local = interfaces.iter().flat_map(|interface| local_routes(interface, v4));
    main.chain(local).filter(|route| filter.lets(route)).map(RouteNetlinkMessage::NewRoute).collect()
}

/// A route to a range of addresses, unfinished.
fn route(range: (IpAddr, u8), table: u8, kind: RouteType, nic: NicId) -> RouteMessage {
    let (dest, prefix) = (network(range.0, range.1), range.1);
    let mut message = RouteMessage::default();
    message.header.address_family = family_of(dest);
    message.header.destination_prefix_length = prefix;
    message.header.table = table;
    message.header.protocol = RouteProtocol::Kernel;
    message.header.kind = kind;
    message.attributes.push(RouteAttribute::Table(table.into()));
    if prefix > 0 {
        message.attributes.push(RouteAttribute::Destination(dest.into()));
    }
    message.attributes.push(RouteAttribute::Oif(interface_index(nic)));
    message
}

/// `struct rta_cacheinfo` of a route that was never used.
fn no_cache_info() -> RouteAttribute {
    RouteAttribute::Other(DefaultNla::new(RTA_CACHEINFO, vec![0; 32]))
}

/// What only IPv6 tells.
fn finish_v6(message: &mut RouteMessage, metric: u32) {
    message.attributes.push(RouteAttribute::Priority(metric));
    message.attributes.push(no_cache_info());
    message.attributes.push(RouteAttribute::Preference(RoutePreference::Medium));
}

/// A route of the stack: one that came with an address, or one that was added.
fn main_route(of_stack: &Route, interfaces: &[Interface]) -> RouteMessage {
    let &Route { dest, prefix, gateway, nic, metric } = of_stack;
    let mut message = route((dest, prefix), TABLE_MAIN, RouteType::Unicast, nic);
    let interface = interfaces.iter().find(|interface| interface.nic == nic);
    let came_with_address = gateway.is_none()
        && metric == 0
        && interface.is_some_and(|interface| interface.addresses.contains(&(dest, prefix)));
    if !came_with_address {
        message.header.protocol = RouteProtocol::Boot;
    }
    if dest.is_ipv4() {
        message.header.scope = if gateway.is_some() { RouteScope::Universe } else { RouteScope::Link };
        if came_with_address {
            message.attributes.push(RouteAttribute::PrefSource(dest.into()));
        }
    }
    message.attributes.extend(gateway.map(|gateway| RouteAttribute::Gateway(gateway.into())));
    if dest.is_ipv6() {
        let usual = if came_with_address { OF_ADDRESSES } else { OF_USERS };
        finish_v6(&mut message, if metric == 0 { usual } else { metric });
    } else if metric != 0 {
        message.attributes.push(RouteAttribute::Priority(metric));
    }
    message
}

/// The routes of the local table that belong to an interface.
fn local_routes(interface: &Interface, v4: bool) -> Vec<RouteMessage> {
    let nic = interface.nic;
    let mut routes = Vec::new();
    for &(ip, prefix) in interface.addresses.iter().filter(|(ip, _)| ip.is_ipv4() == v4) {
        let IpAddr::V4(own) = ip else {
            let mut local = route((ip, 128), TABLE_LOCAL, RouteType::Local, nic);
            finish_v6(&mut local, 0);
            routes.push(local);
            continue;
        };
        let mut of_address = |range, kind, scope| {
            let mut message = route(range, TABLE_LOCAL, kind, nic);
            message.header.scope = scope;
            message.attributes.push(RouteAttribute::PrefSource(ip.into()));
            routes.push(message);
        };
        if interface.is_loopback() {
            of_address((ip, prefix), RouteType::Local, RouteScope::Host);
        }
        of_address((ip, 32), RouteType::Local, RouteScope::Host);
        if let Some(broadcast) = interface.broadcast(own, prefix) {
            of_address((broadcast.into(), 32), RouteType::Broadcast, RouteScope::Link);
        }
    }
    if !v4 && !interface.is_loopback() {
        let everybody = Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0);
        let mut multicast = route((everybody.into(), 8), TABLE_LOCAL, RouteType::Multicast, nic);
        finish_v6(&mut multicast, OF_ADDRESSES);
        routes.push(multicast);
    }
    routes
}

/// The way to the destination that a request names.
pub(super) fn lookup(
    stack: &mut Stack,
    request: &Request<'_>,
    v4: bool,
) -> Result<RouteNetlinkMessage, Errno> {
    let header = RouteHeader::parse(request.body).map_err(|_| Errno::EINVAL)?;
    let address = |kind| request.address(HEADER, kind, v4).map_err(|_| Errno::EINVAL);
    if request.attribute(HEADER, RTA_IIF).is_some() {
        // How a packet that came in would go on: hosts forward nothing.
        return Err(Errno::EHOSTUNREACH);
    }
    let unspecified = if v4 { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    let destination = address(RTA_DST)?.unwrap_or(unspecified);
    let source = address(RTA_SRC)?.filter(|source| !source.is_unspecified());
    let index = request.number(HEADER, RTA_OIF).filter(|&index| index != 0);
    let found = path(stack, destination, source, index)?;
    let wants_table = header.flags.contains(RouteFlags::LookupTable);
    Ok(RouteNetlinkMessage::NewRoute(way(&found, source, wants_table)))
}

fn way(found: &Path, asked_source: Option<IpAddr>, wants_table: bool) -> RouteMessage {
    let v4 = found.destination.is_ipv4();
    let kind = match found.kind {
        Kind::Local => RouteType::Local,
        Kind::Broadcast => RouteType::Broadcast,
        Kind::Multicast => RouteType::Multicast,
        Kind::Unicast => RouteType::Unicast,
    };
    let is_main = found.kind == Kind::Unicast || (v4 && !wants_table);
    let table = if is_main { TABLE_MAIN } else { TABLE_LOCAL };
    let whole = (found.destination, if v4 { 32 } else { 128 });
    let mut message = route(whole, table, kind, found.nic);
    message.header.flags = RouteFlags::Cloned;
    let attributes = &mut message.attributes;
    if let (Some(source), true) = (asked_source, v4) {
        attributes.push(RouteAttribute::Source(source.into()));
    }
    attributes.push(RouteAttribute::PrefSource(found.source.into()));
    attributes.extend(found.gateway.map(|gateway| RouteAttribute::Gateway(gateway.into())));
    if v4 {
        message.header.protocol = RouteProtocol::Unspec;
        message.attributes.push(no_cache_info());
        return message;
    }
    message.header.flags = RouteFlags::empty();
    let metric = match (found.kind, found.gateway) {
        (Kind::Local, _) => 0,
        (_, None) => OF_ADDRESSES,
        (_, Some(_)) => {
            message.header.protocol = RouteProtocol::Boot;
            OF_USERS
        }
    };
    finish_v6(&mut message, metric);
    message
}
