//! The interfaces of a mirror: made and raised by route sockets, as `ip link` does it.

use crate::netlink::Interface;
use crate::sys::{Namespace, Namespaces};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

/// The loopback's number in every namespace.
const LOOPBACK: u32 = 1;
/// Longest MTU of an interface that isn't the loopback (`ETH_MAX_MTU`).
const MTU_MAX: u32 = 65_535;
/// The length of `struct nlmsghdr`, and the type of an acknowledgment.
const HEADER: usize = 16;
const ERROR: u16 = 2;

/// Raises the loopback, and takes its addresses away: nobody is to answer there but the host.
pub(super) fn quiet_loopback(namespaces: &Namespaces) -> io::Result<()> {
    let near = &namespaces.near;
    raise(near, LOOPBACK)?;
    for (address, prefix) in [(IpAddr::V4(Ipv4Addr::LOCALHOST), 8), (IpAddr::V6(Ipv6Addr::LOCALHOST), 128)] {
        let mut message = AddressMessage::default();
        let is_v4 = address.is_ipv4();
        message.header.family = if is_v4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message.header.prefix_len = prefix;
        message.header.index = LOOPBACK;
        message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
        // A kernel without IPv6 has none.
        request(&near.routes, RouteNetlinkMessage::DelAddress(message), 0).ok();
    }
    Ok(())
}

/// Adds an interface of the host, and its far end.
pub(super) fn add(namespaces: &Namespaces, interface: &Interface) -> io::Result<()> {
    let Namespaces { near, far, .. } = namespaces;
    let index = interface.index();
    let mtu = LinkAttribute::Mtu(interface.mtu.min(MTU_MAX));
    let mut other = LinkMessage::default();
    other.header.index = index;
    other.attributes = vec![
        LinkAttribute::IfName(format!("far{index}")),
        LinkAttribute::NetNsFd(far.net.as_raw_fd()),
        mtu.clone(),
    ];
    let pair = LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other)));
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.attributes = vec![
        LinkAttribute::IfName(interface.name.clone()),
        LinkAttribute::Address(interface.hardware.to_vec()),
        mtu,
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), pair]),
    ];
    request(&near.routes, RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)?;
    raise(far, index)?;
    raise(near, index)
}

/// Raises an interface that gets no addresses by that, so that the kernel has nothing to say on it.
fn raise(namespace: &Namespace, index: u32) -> io::Result<()> {
    let mut link = LinkMessage::default();
    link.header.index = index;
    let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    link.attributes = vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![none])])];
    // A kernel without IPv6 knows no such thing, and needs none.
    request(&namespace.routes, RouteNetlinkMessage::SetLink(link), 0).ok();
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    request(&namespace.routes, RouteNetlinkMessage::SetLink(link), 0)
}

/// Has the kernel do something; it has when this returns.
fn request(routes: &OwnedFd, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    send(routes, &bytes, SendFlags::empty())?;
    let mut answer = vec![0; bytes.len() + 4096];
    let (_, len) = recv(routes, &mut answer[..], RecvFlags::empty())?;
    let answer = &answer[..len.min(answer.len())];
    let kind = answer.get(4..6).and_then(<[u8]>::first_chunk).map(|bytes| u16::from_ne_bytes(*bytes));
    let errno = answer.get(HEADER..).and_then(<[u8]>::first_chunk).map(|bytes| i32::from_ne_bytes(*bytes));
    match (kind, errno) {
        (Some(ERROR), Some(0)) => Ok(()),
        (Some(ERROR), Some(errno)) => Err(io::Error::from_raw_os_error(-errno)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
