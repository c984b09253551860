//! Options that a socket has once for each version of IP that it speaks: a socket of IPv6 has those of its IPv4
//! packets beside its own.

use crate::demux::Proto;
use crate::error::{Error, Result};
use crate::socket::discover::MtuDiscover;
use crate::socket::{Domain, Socket, SocketId};
use crate::{OptionName, SocketOption, Stack};
use sockeye_packet::NicId;

/// What a socket's packets over one version of IP are like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VersionSettings {
    /// Time to live or hop limit; none is the stack's default.
    pub(crate) ttl: Option<u8>,
    /// What has come further than this leaves is dropped.
    pub(crate) min_ttl: u8,
    /// Type of service or traffic class.
    pub(crate) tos: u8,
    pub(crate) mtu_discover: MtuDiscover,
    /// Where datagrams to single hosts leave, when nothing else says it.
    pub(crate) unicast_nic: Option<NicId>,
}

impl super::IpSettings {
    /// The settings of packets over IPv4, or over IPv6.
    pub(crate) fn of(&self, v4: bool) -> &VersionSettings {
        if v4 { &self.v4 } else { &self.v6 }
    }
}

impl Stack {
    pub(super) fn set_version_option(&mut self, id: SocketId, option: SocketOption) -> Result<()> {
        if let SocketOption::UnicastNic(Some(nic)) | SocketOption::UnicastNicV6(Some(nic)) = option {
            if self.nic(nic).is_none() {
                return Err(Error::AddrNotAvailable);
            }
            if self.socket_ref(id)?.settings.nic.is_some_and(|bound| bound != nic) {
                return Err(Error::InvalidArgument);
            }
        }
        let socket = self.socket_mut(id)?;
        // As the kernel: of a stream the ECN bits are TCP's, of datagrams their program's.
        let programs = if socket.proto() == Proto::Tcp { 0xfc } else { 0xff };
        let (v4, v6) = (&mut socket.settings.v4, &mut socket.settings.v6);
        let of_v6 = matches!(
            option,
            SocketOption::HopLimit(_)
                | SocketOption::TrafficClass(_)
                | SocketOption::MtuDiscoverV6(_)
                | SocketOption::MinHops(_)
                | SocketOption::UnicastNicV6(_)
        );
        if of_v6 && socket.domain == Domain::Inet {
            return Err(Error::ProtocolOption);
        }
        match option {
            SocketOption::Ttl(Some(0)) => return Err(Error::InvalidArgument),
            SocketOption::Ttl(ttl) => v4.ttl = ttl,
            SocketOption::HopLimit(ttl) => v6.ttl = ttl,
            SocketOption::Tos(tos) => v4.tos = tos & programs,
            SocketOption::TrafficClass(class) => v6.tos = class & programs,
            SocketOption::MtuDiscover(mode) => v4.mtu_discover = mode,
            SocketOption::MtuDiscoverV6(mode) => v6.mtu_discover = mode,
            SocketOption::MinTtl(ttl) => v4.min_ttl = ttl,
            SocketOption::MinHops(ttl) => v6.min_ttl = ttl,
            SocketOption::UnicastNic(nic) => v4.unicast_nic = nic,
            SocketOption::UnicastNicV6(nic) => v6.unicast_nic = nic,
            _ => return Err(Error::ProtocolOption),
        }
        Ok(())
    }
}

impl Socket {
    /// One of these options, if it is one.
    pub(super) fn version_option(&self, name: OptionName, default_ttl: u8) -> Option<Result<SocketOption>> {
        let (v4, v6) = (&self.settings.v4, &self.settings.v6);
        let of_v6 = match name {
            OptionName::Ttl => return Some(Ok(SocketOption::Ttl(Some(v4.ttl.unwrap_or(default_ttl))))),
            OptionName::Tos => return Some(Ok(SocketOption::Tos(v4.tos))),
            OptionName::MtuDiscover => return Some(Ok(SocketOption::MtuDiscover(v4.mtu_discover))),
            OptionName::MinTtl => return Some(Ok(SocketOption::MinTtl(v4.min_ttl))),
            OptionName::UnicastNic => return Some(Ok(SocketOption::UnicastNic(v4.unicast_nic))),
            OptionName::HopLimit => SocketOption::HopLimit(Some(v6.ttl.unwrap_or(default_ttl))),
            OptionName::TrafficClass => SocketOption::TrafficClass(v6.tos),
            OptionName::MtuDiscoverV6 => SocketOption::MtuDiscoverV6(v6.mtu_discover),
            OptionName::UnicastNicV6 => SocketOption::UnicastNicV6(v6.unicast_nic),
            OptionName::MinHops => SocketOption::MinHops(v6.min_ttl),
            _ => return None,
        };
        Some(if self.domain == Domain::Inet { Err(Error::ProtocolOption) } else { Ok(of_v6) })
    }
}
