//! Groups of UDP sockets, once for both doors: the macro gives a type with a field `socket` the methods of `std`, and
//! socket2's where `std` has none.

use crate::options::narrow;
use crate::socket::Socket;
use sockeye_packet::NicId;
use sockeye_stack::Membership;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A group on the interface that has an address.
pub(crate) fn at_address(group: Ipv4Addr, interface: Ipv4Addr) -> Membership {
    Membership { address: Some(interface.into()), ..Membership::of(group.into()) }
}

/// A group on the interface with this number.
pub(crate) fn at_number(group: Ipv6Addr, interface: u32) -> io::Result<Membership> {
    Ok(Membership { nic: number(interface)?, ..Membership::of(group.into()) })
}

/// The interface with this number; none for 0.
pub(crate) fn number(interface: u32) -> io::Result<Option<NicId>> {
    Ok(Some(NicId(narrow(interface)?)).filter(|nic| *nic != NicId::LOOPBACK))
}

pub(crate) fn join(socket: &Socket, membership: &Membership) -> io::Result<()> {
    socket.call(|stack, id, now| stack.join_group(now, id, membership))
}

pub(crate) fn leave(socket: &Socket, membership: &Membership) -> io::Result<()> {
    socket.call(|stack, id, now| stack.leave_group(now, id, membership))
}

pub(crate) fn join_source(socket: &Socket, membership: &Membership, source: IpAddr) -> io::Result<()> {
    socket.call(|stack, id, now| stack.join_source(now, id, membership, source))
}

pub(crate) fn leave_source(socket: &Socket, membership: &Membership, source: IpAddr) -> io::Result<()> {
    socket.call(|stack, id, now| stack.leave_source(now, id, membership, source))
}

/// What has to do with groups. `$group` is the type by which the door of this type takes IPv4 addresses.
macro_rules! multicast_options {
    ($type:ty, $socket:ident, $group:ty) => {
        /// Groups, under the names of `std` and socket2. Datagrams to them reach the hosts of the subnet that are in
        /// the group; routers don't pass them on.
        impl $type {
            /// Joins a group on the interface that has this address, unspecified for the one that the routes say: from
            /// now on what is sent there, to the port of this socket, is received (`IP_ADD_MEMBERSHIP`).
            ///
            /// Fails with [`InvalidInput`](std::io::ErrorKind::InvalidInput) when the address is no group's, and with
            /// [`AddrInUse`](std::io::ErrorKind::AddrInUse) when the socket is in it already.
            pub fn join_multicast_v4(&self, group: $group, interface: $group) -> std::io::Result<()> {
                let membership = crate::multicast::at_address(group.to_owned(), interface.to_owned());
                crate::multicast::join(&self.$socket, &membership)
            }

            /// Joins a group on the interface with this number (that of its [`Interface::nic`](crate::Interface)), 0
            /// for the one that the routes say (`IPV6_JOIN_GROUP`); as
            /// [`join_multicast_v4`](Self::join_multicast_v4).
            pub fn join_multicast_v6(
                &self,
                group: &std::net::Ipv6Addr,
                interface: u32,
            ) -> std::io::Result<()> {
                crate::multicast::join(&self.$socket, &crate::multicast::at_number(*group, interface)?)
            }

            /// Leaves a group (`IP_DROP_MEMBERSHIP`). One that the socket isn't in is
            /// [`AddrNotAvailable`](std::io::ErrorKind::AddrNotAvailable).
            pub fn leave_multicast_v4(&self, group: $group, interface: $group) -> std::io::Result<()> {
                let membership = crate::multicast::at_address(group.to_owned(), interface.to_owned());
                crate::multicast::leave(&self.$socket, &membership)
            }

            /// Leaves a group (`IPV6_LEAVE_GROUP`); as [`leave_multicast_v4`](Self::leave_multicast_v4).
            pub fn leave_multicast_v6(
                &self,
                group: &std::net::Ipv6Addr,
                interface: u32,
            ) -> std::io::Result<()> {
                crate::multicast::leave(&self.$socket, &crate::multicast::at_number(*group, interface)?)
            }

            /// Hears one source of a group, and joins it for that if need be (`IP_ADD_SOURCE_MEMBERSHIP`, RFC 3678).
            pub fn join_ssm_v4(
                &self,
                source: $group,
                group: $group,
                interface: $group,
            ) -> std::io::Result<()> {
                let membership = crate::multicast::at_address(group.to_owned(), interface.to_owned());
                crate::multicast::join_source(&self.$socket, &membership, source.to_owned().into())
            }

            /// Hears one source of a group no more; with the last one it leaves the group
            /// (`IP_DROP_SOURCE_MEMBERSHIP`).
            pub fn leave_ssm_v4(
                &self,
                source: $group,
                group: $group,
                interface: $group,
            ) -> std::io::Result<()> {
                let membership = crate::multicast::at_address(group.to_owned(), interface.to_owned());
                crate::multicast::leave_source(&self.$socket, &membership, source.to_owned().into())
            }

            /// Whether this host's own sockets hear what the socket sends to groups; see
            /// [`set_multicast_loop_v4`](Self::set_multicast_loop_v4).
            pub fn multicast_loop_v4(&self) -> std::io::Result<bool> {
                crate::options::get!(self.$socket, MulticastLoop)
            }

            /// Whether this host's own sockets, if they are in the group, hear what the socket sends there
            /// (`IP_MULTICAST_LOOP`). They do unless this is off.
            pub fn set_multicast_loop_v4(&self, own: bool) -> std::io::Result<()> {
                crate::options::set!(self.$socket, MulticastLoop, own)
            }

            /// As [`multicast_loop_v4`](Self::multicast_loop_v4), of IPv6.
            pub fn multicast_loop_v6(&self) -> std::io::Result<bool> {
                crate::options::get!(self.$socket, MulticastLoopV6)
            }

            /// As [`set_multicast_loop_v4`](Self::set_multicast_loop_v4), of IPv6 (`IPV6_MULTICAST_LOOP`).
            pub fn set_multicast_loop_v6(&self, own: bool) -> std::io::Result<()> {
                crate::options::set!(self.$socket, MulticastLoopV6, own)
            }

            /// The time to live of what is sent to groups: 1 unless set.
            pub fn multicast_ttl_v4(&self) -> std::io::Result<u32> {
                crate::options::get!(self.$socket, MulticastTtl)
                    .map(|ttl: Option<u8>| ttl.unwrap_or(1).into())
            }

            /// Sets the time to live of what is sent to groups (`IP_MULTICAST_TTL`): 0, for this host alone, to 255.
            /// Anything else is [`InvalidInput`](std::io::ErrorKind::InvalidInput).
            pub fn set_multicast_ttl_v4(&self, ttl: u32) -> std::io::Result<()> {
                crate::options::set!(self.$socket, MulticastTtl, Some(crate::options::narrow(ttl)?))
            }

            /// The hop limit of what is sent to groups of IPv6: 1 unless set.
            pub fn multicast_hops_v6(&self) -> std::io::Result<u32> {
                crate::options::get!(self.$socket, MulticastHops)
                    .map(|ttl: Option<u8>| ttl.unwrap_or(1).into())
            }

            /// As [`set_multicast_ttl_v4`](Self::set_multicast_ttl_v4), of IPv6 (`IPV6_MULTICAST_HOPS`).
            pub fn set_multicast_hops_v6(&self, hops: u32) -> std::io::Result<()> {
                crate::options::set!(self.$socket, MulticastHops, Some(crate::options::narrow(hops)?))
            }

            /// Sets the interface by which the socket sends to groups, by its address; unspecified for the one that
            /// the routes say (`IP_MULTICAST_IF`).
            pub fn set_multicast_if_v4(&self, interface: $group) -> std::io::Result<()> {
                let address = interface.to_owned();
                self.$socket.set_option(sockeye_stack::SocketOption::MulticastNic { nic: None, address })
            }

            /// Sets the interface by which the socket sends to groups of IPv6, by its number, 0 for the one that the
            /// routes say (`IPV6_MULTICAST_IF`).
            pub fn set_multicast_if_v6(&self, interface: u32) -> std::io::Result<()> {
                crate::options::set!(self.$socket, MulticastNicV6, crate::multicast::number(interface)?)
            }
        }
    };
}

pub(crate) use multicast_options;
