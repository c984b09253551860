//! Interfaces, addresses and rules as messages.

use super::host::Interface;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo,
};
use netlink_packet_route::link::{
    LinkAttribute, LinkFlags, LinkLayerType, LinkMessage, LinkMode, Map, State, Stats, Stats64,
};
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::net::IpAddr;

/// The numbers of the routing tables that every host has.
pub(super) const TABLE_LOCAL: u8 = 255;
pub(super) const TABLE_MAIN: u8 = 254;
pub(super) const TABLE_DEFAULT: u8 = 253;

/// The length of the queue that Linux gives an interface.
const QUEUE_LEN: u32 = 1000;
/// How long an address that nobody leased is good.
const FOR_EVER: u32 = u32::MAX;

/// What an interface is and does.
pub(super) fn flags_of(interface: &Interface) -> LinkFlags {
    let common = LinkFlags::Up | LinkFlags::Running | LinkFlags::LowerUp;
    if interface.is_loopback() {
        common | LinkFlags::Loopback
    } else {
        common | LinkFlags::Broadcast | LinkFlags::Multicast
    }
}

/// An interface. Its counters are zero: a stack counts for all of its interfaces together.
pub(super) fn link(interface: &Interface) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = interface.index();
    message.header.flags = flags_of(interface);
    let (layer, state, broadcast) = if interface.is_loopback() {
        (LinkLayerType::Loopback, State::Unknown, [0; 6])
    } else {
        (LinkLayerType::Ether, State::Up, [0xff; 6])
    };
    message.header.link_layer_type = layer;
    message.attributes = vec![
        LinkAttribute::IfName(interface.name.clone()),
        LinkAttribute::TxQueueLen(QUEUE_LEN),
        LinkAttribute::OperState(state),
        LinkAttribute::Mode(LinkMode::Default),
        LinkAttribute::Mtu(interface.mtu),
        LinkAttribute::Group(0),
        LinkAttribute::Promiscuity(0),
        LinkAttribute::NumTxQueues(1),
        LinkAttribute::NumRxQueues(1),
        LinkAttribute::Carrier(1),
        LinkAttribute::Qdisc("noqueue".to_owned()),
        LinkAttribute::Map(Map::default()),
        LinkAttribute::Address(interface.hardware.to_vec()),
        LinkAttribute::Broadcast(broadcast.to_vec()),
        LinkAttribute::Stats64(Stats64::default()),
        LinkAttribute::Stats(Stats::default()),
    ];
    RouteNetlinkMessage::NewLink(message)
}

/// One address of an interface.
pub(super) fn address(interface: &Interface, ip: IpAddr, prefix: u8) -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.family = family_of(ip);
    message.header.prefix_len = prefix;
    message.header.flags = AddressHeaderFlags::Permanent;
    message.header.scope = match ip {
        ip if ip.is_loopback() => AddressScope::Host,
        IpAddr::V6(ip) if ip.is_unicast_link_local() => AddressScope::Link,
        _ => AddressScope::Universe,
    };
    message.header.index = interface.index();
    let attributes = &mut message.attributes;
    attributes.push(AddressAttribute::Address(ip));
    if let IpAddr::V4(v4) = ip {
        attributes.push(AddressAttribute::Local(ip));
        attributes.extend(interface.broadcast(v4, prefix).map(AddressAttribute::Broadcast));
        attributes.push(AddressAttribute::Label(interface.name.clone()));
    }
    attributes.push(AddressAttribute::Flags(AddressFlags::Permanent));
    let mut life = CacheInfo::default();
    (life.ifa_preferred, life.ifa_valid) = (FOR_EVER, FOR_EVER);
    attributes.push(AddressAttribute::CacheInfo(life));
    RouteNetlinkMessage::NewAddress(message)
}

/// The rules that every host has: which table is looked at first. IPv6 has no default table.
pub(super) fn rules(v4: bool) -> Vec<RouteNetlinkMessage> {
    let all = [(0, TABLE_LOCAL), (32_766, TABLE_MAIN), (32_767, TABLE_DEFAULT)];
    let rule = |&(priority, table): &(u32, u8)| {
        let mut message = RuleMessage::default();
        message.header.family = if v4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message.header.table = table;
        message.header.action = RuleAction::ToTable;
        message.attributes =
            vec![RuleAttribute::Table(table.into()), RuleAttribute::SuppressPrefixLen(u32::MAX)];
        if priority > 0 {
            message.attributes.push(RuleAttribute::Priority(priority));
        }
        message.attributes.push(RuleAttribute::Protocol(RouteProtocol::Kernel));
        RouteNetlinkMessage::NewRule(message)
    };
    all[..if v4 { 3 } else { 2 }].iter().map(rule).collect()
}

/// The family of an address.
pub(super) fn family_of(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
