//! What a socket's user says of groups: which it is in, whom it hears there, and how it sends to them (ip(7),
//! ipv6(7), RFC 3678).

use crate::address::{ip_bytes, is_v4, map_v4, v4_bytes};
use crate::demux::Proto;
use crate::error::{Error, Result};
use crate::io::Io;
use crate::ip::address::is_multicast;
use crate::ip::input::Ingress;
use crate::ip::multicast::filter::{FilterMode, SourceFilter};
use crate::ip::multicast::{GroupKey, Groups};
use crate::socket::options::{OptionName, SocketOption};
use crate::socket::{Domain, Socket, SocketId};
use crate::{SockAddr, Stack};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use sockeye_packet::{Instant, NicId};

/// Most sources that a socket tells apart in one IPv4 group (`igmp_max_msf`), as Linux has it.
const MAX_SOURCES_V4: usize = 10;
/// In one IPv6 group (`mld_max_msf`).
const MAX_SOURCES_V6: usize = 64;

/// A group on one interface, as `struct ip_mreqn`, `struct ipv6_mreq` and `struct group_req` say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Membership {
    /// The group's address.
    pub group: IpAddr,
    /// The interface.
    pub nic: Option<NicId>,
    /// The interface by its address, where `nic` doesn't say it. With neither it is that to which the routes send
    /// the group's packets.
    pub address: Option<IpAddr>,
}

impl Membership {
    /// A group on the interface that the routes say.
    pub const fn of(group: IpAddr) -> Membership {
        Membership { group, nic: None, address: None }
    }
}

/// How datagrams to groups are sent, in one version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupSending {
    pub(crate) ttl: u8,
    /// Whether this host hears them, too.
    pub(crate) loops: bool,
    pub(crate) nic: Option<NicId>,
    /// `IP_MULTICAST_IF` by address: also the source address of who isn't bound.
    pub(crate) source: Option<[u8; 16]>,
    /// Whether the socket hears also groups that only others are in.
    pub(crate) all: bool,
}

impl Default for GroupSending {
    fn default() -> GroupSending {
        GroupSending { ttl: 1, loops: true, nic: None, source: None, all: true }
    }
}

/// What one socket has to do with groups. Most have nothing, and cost nothing.
#[derive(Debug, Default)]
pub(crate) struct GroupSettings {
    v4: GroupSending,
    v6: GroupSending,
    /// In the order in which they were joined.
    joined: Vec<GroupKey>,
}

impl GroupSettings {
    pub(crate) fn of_version(&self, v4: bool) -> &GroupSending {
        if v4 { &self.v4 } else { &self.v6 }
    }
}

/// A change of one source of a group's filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SourceChange {
    /// What the filter lists: who is heard, or who isn't.
    mode: FilterMode,
    adds: bool,
    source: [u8; 16],
}

impl Io {
    /// How a socket sends to groups.
    pub(crate) fn group_sending(&self, id: SocketId, v4: bool) -> GroupSending {
        self.group_settings.get(&id).map_or_else(GroupSending::default, |settings| *settings.of_version(v4))
    }

    /// Whether a socket hears a datagram: always, unless it went to a group that the socket is not in, or in which
    /// it hears others (ip(7), `IP_MULTICAST_ALL`).
    pub(crate) fn socket_hears(&self, id: SocketId, ingress: &Ingress) -> bool {
        if !is_multicast(&ingress.dst) {
            return true;
        }
        let key = GroupKey { nic: ingress.nic, group: ingress.dst };
        match self.multicast.filter(&key, id) {
            Some(filter) => filter.hears(&ingress.src),
            None => self.group_sending(id, ingress.v4).all,
        }
    }

    /// The interface that a membership names, or ENODEV.
    fn group_nic(&self, membership: &Membership) -> Result<NicId> {
        if let Some(nic) = membership.nic {
            let known = usize::from(nic.0) < self.nics.len();
            return if known { Ok(nic) } else { Err(Error::NoDevice) };
        }
        let given = membership.address.map(ip_bytes).filter(|ip| !crate::address::is_unspecified(ip));
        if let Some(ip) = given {
            let of_loopback = crate::ip::address::is_loopback(&ip).then_some(NicId::LOOPBACK);
            let found = self.addresses.iter().find(|address| address.ip == ip).map(|address| address.nic);
            return found.or(of_loopback).ok_or(Error::NoDevice);
        }
        let group = ip_bytes(membership.group);
        self.path(&group, None, None).map(|path| path.nic).map_err(|_| Error::NoDevice)
    }

    /// A socket is closed: it leaves all its groups.
    pub(crate) fn leave_all_groups(&mut self, now: Instant, id: SocketId) {
        let Some(settings) = self.group_settings.remove(&id) else { return };
        for key in settings.joined {
            // Leaving needs no room.
            let _ = self.set_membership(now, key, id, None);
        }
    }
}

/// The calls.
impl Stack {
    /// Joins a group (`IP_ADD_MEMBERSHIP`, `IPV6_JOIN_GROUP`, `MCAST_JOIN_GROUP`): all of its sources are heard.
    ///
    /// [`Error::AddrInUse`] when the socket is in it already, [`Error::NoDevice`] when there is no such interface,
    /// [`Error::NoBufs`] when it is in too many.
    pub fn join_group(&mut self, now: Instant, id: SocketId, membership: &Membership) -> Result<()> {
        self.join(now, id, membership, SourceFilter::any())?;
        self.run_loopback(now);
        Ok(())
    }

    /// Leaves a group (`IP_DROP_MEMBERSHIP` and the like); [`Error::AddrNotAvailable`] when the socket isn't in it.
    pub fn leave_group(&mut self, now: Instant, id: SocketId, membership: &Membership) -> Result<()> {
        self.check_group(id, membership)?;
        let group = ip_bytes(membership.group);
        let address = membership.address.map(ip_bytes).filter(|ip| !crate::address::is_unspecified(ip));
        // As the kernel: without an interface it is the first membership of the group.
        let nic = match (membership.nic, address) {
            (Some(nic), _) => Some(nic),
            (None, Some(_)) => Some(self.io.group_nic(membership)?),
            (None, None) => None,
        };
        let settings = self.io.group_settings.get_mut(&id).ok_or(Error::AddrNotAvailable)?;
        let is_it = |key: &GroupKey| key.group == group && nic.is_none_or(|nic| nic == key.nic);
        let at = settings.joined.iter().position(is_it).ok_or(Error::AddrNotAvailable)?;
        let key = settings.joined.remove(at);
        self.io.set_membership(now, key, id, None)?;
        self.run_loopback(now);
        Ok(())
    }

    /// Hears a source of a group (`IP_ADD_SOURCE_MEMBERSHIP`, `MCAST_JOIN_SOURCE_GROUP`), for which it joins the
    /// group if need be.
    pub fn join_source(
        &mut self,
        now: Instant,
        id: SocketId,
        membership: &Membership,
        source: IpAddr,
    ) -> Result<()> {
        Self::check_source(membership, source)?;
        match self.join(now, id, membership, SourceFilter::default()) {
            Ok(()) | Err(Error::AddrInUse) => {}
            Err(error) => return Err(error),
        }
        self.change_source(now, id, membership, FilterMode::Include, true, source)
    }

    /// Hears a source of a group no more (`IP_DROP_SOURCE_MEMBERSHIP`, `MCAST_LEAVE_SOURCE_GROUP`); with the last
    /// one it leaves the group.
    pub fn leave_source(
        &mut self,
        now: Instant,
        id: SocketId,
        membership: &Membership,
        source: IpAddr,
    ) -> Result<()> {
        Self::check_source(membership, source)?;
        self.change_source(now, id, membership, FilterMode::Include, false, source)
    }

    /// Hears all sources of a group but this one (`IP_BLOCK_SOURCE`, `MCAST_BLOCK_SOURCE`).
    pub fn block_source(
        &mut self,
        now: Instant,
        id: SocketId,
        membership: &Membership,
        source: IpAddr,
    ) -> Result<()> {
        Self::check_source(membership, source)?;
        self.change_source(now, id, membership, FilterMode::Exclude, true, source)
    }

    /// Takes [`Stack::block_source`] back (`IP_UNBLOCK_SOURCE`, `MCAST_UNBLOCK_SOURCE`).
    pub fn unblock_source(
        &mut self,
        now: Instant,
        id: SocketId,
        membership: &Membership,
        source: IpAddr,
    ) -> Result<()> {
        Self::check_source(membership, source)?;
        self.change_source(now, id, membership, FilterMode::Exclude, false, source)
    }

    /// Sets whom the socket hears of a group (`IP_MSFILTER`, `MCAST_MSFILTER`). To hear nobody is to leave it.
    pub fn set_source_filter(
        &mut self,
        now: Instant,
        id: SocketId,
        membership: &Membership,
        mode: FilterMode,
        sources: &[IpAddr],
    ) -> Result<()> {
        self.check_group(id, membership)?;
        if sources.len() > Self::most_sources(membership) {
            return Err(Error::NoBufs);
        }
        if sources.iter().any(|source| source.is_ipv4() != membership.group.is_ipv4()) {
            return Err(Error::InvalidArgument);
        }
        let key = self.group_key(membership)?;
        let filter = SourceFilter { mode, sources: sources.iter().map(|source| ip_bytes(*source)).collect() };
        if filter.is_none() {
            return self.leave_group(now, id, &Membership { nic: Some(key.nic), ..*membership });
        }
        if !self.is_joined(id, &key) {
            return Err(Error::InvalidArgument);
        }
        self.io.set_membership(now, key, id, Some(filter))?;
        self.run_loopback(now);
        Ok(())
    }

    /// Whom the socket hears of a group; [`Error::AddrNotAvailable`] when it isn't in it.
    pub fn source_filter(&self, id: SocketId, membership: &Membership) -> Result<(FilterMode, Vec<IpAddr>)> {
        self.check_group(id, membership)?;
        let key = self.group_key(membership)?;
        if !self.is_joined(id, &key) {
            return Err(Error::AddrNotAvailable);
        }
        let filter = self.io.multicast.filter(&key, id).cloned().unwrap_or_default();
        let sources = filter.sources.into_iter().map(crate::address::ip_from_bytes);
        Ok((filter.mode, sources.collect()))
    }

    /// The groups that sockets of this host are in, with their interfaces and how many sockets are in each: what
    /// `/proc/net/igmp` tells, but for those that every host is in.
    pub fn groups(&self) -> impl Iterator<Item = (NicId, IpAddr, usize)> {
        self.io
            .multicast
            .memberships()
            .map(|(nic, ip, count)| (nic, crate::address::ip_from_bytes(ip), count))
    }

    /// Whether the socket can be in the group at all.
    fn check_group(&self, id: SocketId, membership: &Membership) -> Result<()> {
        let socket = self.socket_ref(id)?;
        if socket.proto() == Proto::Tcp {
            return Err(Error::Protocol); // As the kernel.
        }
        let v4 = membership.group.is_ipv4();
        if !membership.group.is_multicast() || !v4 && socket.domain == Domain::Inet {
            return Err(Error::InvalidArgument);
        }
        Ok(())
    }

    fn check_source(membership: &Membership, source: IpAddr) -> Result<()> {
        let same = source.is_ipv4() == membership.group.is_ipv4();
        if same && !source.is_multicast() { Ok(()) } else { Err(Error::InvalidArgument) }
    }

    fn group_key(&self, membership: &Membership) -> Result<GroupKey> {
        let group = ip_bytes(membership.group);
        Ok(GroupKey { nic: self.io.group_nic(membership)?, group })
    }

    fn is_joined(&self, id: SocketId, key: &GroupKey) -> bool {
        let settings = self.io.group_settings.get(&id);
        settings.is_some_and(|settings| settings.joined.contains(key))
    }

    fn most_sources(membership: &Membership) -> usize {
        if membership.group.is_ipv4() { MAX_SOURCES_V4 } else { MAX_SOURCES_V6 }
    }

    fn join(
        &mut self,
        now: Instant,
        id: SocketId,
        membership: &Membership,
        filter: SourceFilter,
    ) -> Result<()> {
        self.check_group(id, membership)?;
        let key = self.group_key(membership)?;
        if self.is_joined(id, &key) {
            return Err(Error::AddrInUse);
        }
        let v4 = is_v4(&key.group);
        let of_version = |key: &&GroupKey| is_v4(&key.group) == v4;
        let joined = self.io.group_settings.get(&id).map_or(&[][..], |settings| &settings.joined);
        if joined.iter().filter(of_version).count() >= Groups::most_memberships(v4) {
            return Err(Error::NoBufs);
        }
        self.io.set_membership(now, key, id, Some(filter))?;
        self.io.group_settings.entry(id).or_default().joined.push(key);
        Ok(())
    }

    /// Changes one source of a filter (RFC 3678 §3), with the errors that Linux has.
    fn change_source(
        &mut self,
        now: Instant,
        id: SocketId,
        membership: &Membership,
        mode: FilterMode,
        adds: bool,
        source: IpAddr,
    ) -> Result<()> {
        self.check_group(id, membership)?;
        let key = self.group_key(membership)?;
        if !self.is_joined(id, &key) {
            return Err(Error::InvalidArgument);
        }
        let mut filter = self.io.multicast.filter(&key, id).cloned().unwrap_or_default();
        let change = SourceChange { mode, adds, source: ip_bytes(source) };
        if filter.mode != mode && filter.sources.is_empty() {
            // An empty filter has no mode yet that it would have to keep.
            filter.mode = mode;
        }
        change.apply(&mut filter, Self::most_sources(membership))?;
        if filter.is_none() {
            return self.leave_group(now, id, &Membership { nic: Some(key.nic), ..*membership });
        }
        self.io.set_membership(now, key, id, Some(filter))?;
        self.run_loopback(now);
        Ok(())
    }
}

impl SourceChange {
    fn apply(self, filter: &mut SourceFilter, most: usize) -> Result<()> {
        let SourceChange { mode, adds, source } = self;
        if filter.mode != mode {
            return Err(Error::InvalidArgument);
        }
        if !adds {
            return if filter.sources.remove(&source) { Ok(()) } else { Err(Error::AddrNotAvailable) };
        }
        if filter.sources.len() >= most {
            return Err(Error::NoBufs);
        }
        if filter.sources.insert(source) { Ok(()) } else { Err(Error::AddrNotAvailable) }
    }
}

/// The options.
impl Stack {
    /// Sets an option of how datagrams to groups are sent and heard.
    pub(crate) fn set_group_option(&mut self, id: SocketId, option: SocketOption) -> Result<()> {
        let socket = self.socket_ref(id)?;
        let of_v6 = matches!(
            option,
            SocketOption::MulticastHops(_)
                | SocketOption::MulticastLoopV6(_)
                | SocketOption::MulticastNicV6(_)
                | SocketOption::MulticastAllV6(_)
        );
        if of_v6 && socket.domain != Domain::Inet6 {
            return Err(Error::ProtocolOption);
        }
        let change = match option {
            SocketOption::MulticastNic { nic, address } => self.check_group_nic(socket, nic, address)?,
            SocketOption::MulticastNicV6(nic) => {
                if nic.is_some() && socket.settings.nic.is_some_and(|bound| Some(bound) != nic) {
                    return Err(Error::InvalidArgument);
                }
                if nic.is_some_and(|nic| self.nic(nic).is_none()) {
                    return Err(Error::NoDevice);
                }
                option
            }
            option => option,
        };
        let settings = self.io.group_settings.entry(id).or_default();
        match change {
            SocketOption::MulticastTtl(ttl) => settings.v4.ttl = ttl.unwrap_or(1),
            SocketOption::MulticastHops(ttl) => settings.v6.ttl = ttl.unwrap_or(1),
            SocketOption::MulticastLoop(on) => settings.v4.loops = on,
            SocketOption::MulticastLoopV6(on) => settings.v6.loops = on,
            SocketOption::MulticastAll(on) => settings.v4.all = on,
            SocketOption::MulticastAllV6(on) => settings.v6.all = on,
            SocketOption::MulticastNic { nic, address } => {
                settings.v4.nic = nic;
                let address = Some(address).filter(|address| !address.is_unspecified());
                settings.v4.source = address.map(|address| map_v4(address.octets()));
            }
            SocketOption::MulticastNicV6(nic) => settings.v6.nic = nic,
            _ => return Err(Error::ProtocolOption),
        }
        Ok(())
    }

    /// `IP_MULTICAST_IF`: the interface by its number, else by its address (ip(7)).
    fn check_group_nic(
        &self,
        socket: &Socket,
        nic: Option<NicId>,
        address: Ipv4Addr,
    ) -> Result<SocketOption> {
        let nic = match nic {
            Some(nic) if self.nic(nic).is_none() => return Err(Error::AddrNotAvailable),
            Some(nic) => Some(nic),
            None if address.is_unspecified() => None,
            None if address.is_loopback() => Some(NicId::LOOPBACK),
            None => {
                let ip = map_v4(address.octets());
                let found = self.io.addresses.iter().find(|other| other.ip == ip);
                Some(found.ok_or(Error::AddrNotAvailable)?.nic)
            }
        };
        if nic.is_some() && socket.settings.nic.is_some_and(|bound| Some(bound) != nic) {
            return Err(Error::InvalidArgument);
        }
        Ok(SocketOption::MulticastNic { nic, address })
    }

    /// Reads such an option.
    pub(crate) fn group_option(&self, id: SocketId, name: OptionName) -> Option<SocketOption> {
        let (v4, v6) = (self.io.group_sending(id, true), self.io.group_sending(id, false));
        Some(match name {
            OptionName::MulticastTtl => SocketOption::MulticastTtl(Some(v4.ttl)),
            OptionName::MulticastHops => SocketOption::MulticastHops(Some(v6.ttl)),
            OptionName::MulticastLoop => SocketOption::MulticastLoop(v4.loops),
            OptionName::MulticastLoopV6 => SocketOption::MulticastLoopV6(v6.loops),
            OptionName::MulticastAll => SocketOption::MulticastAll(v4.all),
            OptionName::MulticastAllV6 => SocketOption::MulticastAllV6(v6.all),
            OptionName::MulticastNic => SocketOption::MulticastNic {
                nic: v4.nic,
                address: v4.source.and_then(|ip| v4_bytes(&ip)).map_or(Ipv4Addr::UNSPECIFIED, Ipv4Addr::from),
            },
            OptionName::MulticastNicV6 => SocketOption::MulticastNicV6(v6.nic),
            _ => return None,
        })
    }

    /// The interface and the source address of a datagram to a group, where neither the socket nor the message
    /// says them.
    pub(crate) fn group_way(&self, id: SocketId, to: &SockAddr) -> (Option<NicId>, Option<[u8; 16]>) {
        let GroupSending { nic, source, .. } = self.io.group_sending(id, to.is_v4());
        (nic, source)
    }
}
