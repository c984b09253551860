//! Socket options as setsockopt(2) and getsockopt(2) know them.
//!
//! [`TABLE`] has one row an option: level, name, C type with bounds, and how it is treated. [`set`] and
//! [`get`] read the bytes by Linux's rules for lengths and ranges and say what is to be done; options that
//! the stack does not act on are kept in the socket's [`Stored`]. [`Target`] does all of it for a socket of a stack.

mod groups;
mod numbers;
mod rows;
mod stored;
mod table;
mod target;
mod value;

pub use groups::{GroupCall, GroupChange, GroupForm};
pub use rows::TABLE;
pub use stored::{Direction, PacketInfo, Stored};
pub use table::{On, Reads, Row, Treatment, Type};
pub use target::Target;
pub use value::OptionValue;

use crate::{Errno, SocketKind};
use core::num::NonZeroU16;
use numbers::{from_int, to_int};
use sockeye_stack::{Domain, OptionName, SocketOption, SocketType};

/// What is said about a socket's filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterCall {
    /// `SO_ATTACH_FILTER`.
    Attach,
    /// `SO_DETACH_FILTER`.
    Detach,
    /// `SO_LOCK_FILTER`.
    Lock,
}

/// What is left to do for a `setsockopt` that is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Set<'a> {
    /// Nothing: the value is stored, or needs no keeping.
    Done,
    /// The stack must be told.
    Stack(SocketOption),
    /// `SO_BINDTODEVICE`: look up the interface of this name (none when empty) and tell the stack.
    Device(&'a [u8]),
    /// The stack must be told of a filter, a row of `struct sock_filter`, or that there is none or no other.
    Filter(FilterCall, &'a [u8]),
    /// The stack must be told of groups.
    Groups(GroupChange),
}

/// Where the answer to a `getsockopt` comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Get {
    /// It is known.
    Ready(OptionValue),
    /// The stack's value of this option, through [`answer`].
    Stack(OptionName),
    /// The socket must be asked.
    Fact(Fact),
    /// `SO_BINDTODEVICE`: the name of the interface bound to, empty for none.
    Device,
}

/// The row of an option, if this kind of socket knows it.
pub fn find(kind: SocketKind, level: i32, name: i32) -> Option<&'static Row> {
    let of_family = match level {
        libc::IPPROTO_IPV6 | libc::IPPROTO_ICMPV6 => kind.domain == Domain::Inet6,
        // That of IPv4 has its filter there, that of IPv6 what is at its own level, too.
        libc::SOL_RAW => (kind.domain == Domain::Inet) == (name == ICMP_FILTER),
        libc::SOL_SOCKET => true,
        // As the kernel: raw sockets of IPv6 have nothing of IPv4's.
        libc::IPPROTO_IP if matches!(kind.kind, SocketType::Raw(_)) => kind.domain == Domain::Inet,
        _ => kind.domain != Domain::Packet,
    };
    TABLE.iter().find(|row| (row.level, row.name) == (level, name) && of_family && row.on.includes(kind.kind))
}

/// Whether the option also means something to the local socket that stands in for ours: reads and writes
/// happen on that one, so their timeouts and thresholds must be set there.
pub fn is_native_too(level: i32, name: i32) -> bool {
    const NATIVE: [i32; 7] = [
        libc::SO_RCVTIMEO,
        libc::SO_SNDTIMEO,
        SO_RCVTIMEO_NEW,
        SO_SNDTIMEO_NEW,
        libc::SO_RCVLOWAT,
        libc::SO_OOBINLINE,
        libc::SO_PEEK_OFF,
    ];
    level == libc::SOL_SOCKET && NATIVE.contains(&name)
}

/// The least MTU that IPv6 works with (RFC 8200 §5).
const LEAST_MTU: i32 = 1280;
/// The longest queue of connections (`net.core.somaxconn`).
const BACKLOG_MAX: i32 = 4096;
const ICMP_FILTER: i32 = 1;
const SO_RCVTIMEO_NEW: i32 = 66;
const SO_SNDTIMEO_NEW: i32 = 67;

/// Checks a `setsockopt` and stores what the stack does not act on.
///
/// ENOPROTOOPT for an option this socket doesn't have or that is read only, EINVAL for a short or
/// out-of-range value, EDOM for a time that is none, ENOENT for an unknown congestion control.
pub fn set<'a>(
    kind: SocketKind,
    stored: &mut Stored,
    level: i32,
    name: i32,
    value: &'a [u8],
) -> Result<Set<'a>, Errno> {
    let Some(row) = find(kind, level, name) else { return Err(unknown(kind, level, value.len())) };
    if value.len() < row.least {
        return Err(Errno::EINVAL);
    }
    match row.treatment {
        Treatment::Honoured(option) => honoured(row, option, kind, value).map(Set::Stack),
        // A connection has one peer.
        Treatment::Groups(GroupCall::Join | GroupCall::Leave, GroupForm::Ip | GroupForm::Ipv6)
            if kind.kind == SocketType::Stream =>
        {
            Err(Errno::EPROTO)
        }
        Treatment::Groups(call, form) => GroupChange::parse(call, form, level, value).map(Set::Groups),
        Treatment::Filter(call) => Ok(Set::Filter(call, value)),
        Treatment::Device => Ok(Set::Device(value::until_nul(value, libc::IFNAMSIZ - 1))),
        Treatment::ReadOnly(_) | Treatment::OfKind(_) | Treatment::Fact(_) => Err(Errno::ENOPROTOOPT),
        Treatment::Refused(errno, _) => Err(row.read_int(value).err().unwrap_or(errno)),
        Treatment::Mtu => match row.read_int(value)? {
            // Longer than any packet: no limit.
            Some(mtu @ (0 | LEAST_MTU..)) => {
                Ok(Set::Stack(SocketOption::Mtu(u16::try_from(mtu).ok().and_then(NonZeroU16::new))))
            }
            _ => Err(Errno::EINVAL),
        },
        _ => keep(row, stored, value).map(|()| Set::Done),
    }
}

/// What the stack is told of an option that it acts on.
fn honoured(row: &Row, option: OptionName, kind: SocketKind, value: &[u8]) -> Result<SocketOption, Errno> {
    match option {
        OptionName::AcceptsConnections => Err(Errno::ENOPROTOOPT),
        OptionName::MulticastTtl | OptionName::MulticastNic if kind.kind == SocketType::Stream => {
            Err(Errno::EINVAL)
        }
        OptionName::Linger => value::read_linger(value),
        OptionName::MaxPacingRate => value::read_rate(value),
        OptionName::Congestion => value::read_congestion(value),
        OptionName::MulticastNic => groups::multicast_interface(value),
        OptionName::IpOptions => value::read_ip_options(value),
        OptionName::IcmpFilter => Ok(value::read_icmp_filter(value)),
        OptionName::Icmp6Filter => Ok(value::read_icmp6_filter(value)),
        OptionName::LocalPorts => value::read_port_range(value),
        OptionName::UnicastNic => Ok(SocketOption::UnicastNic(value::read_nic(value)?)),
        OptionName::UnicastNicV6 => Ok(SocketOption::UnicastNicV6(value::read_nic(value)?)),
        option => {
            let is_class = matches!(option, OptionName::Tos | OptionName::TrafficClass);
            let default = if is_class { 0 } else { -1 };
            let value = row.read_int(value)?.unwrap_or(default);
            from_int(option, value).ok_or(Errno::EINVAL)
        }
    }
}

/// Keeps what nobody else must be told, or refuses it.
fn keep(row: &Row, stored: &mut Stored, value: &[u8]) -> Result<(), Errno> {
    let (level, name) = (row.level, row.name);
    match row.treatment {
        Treatment::OnlyNone(errno) if !value.is_empty() => return Err(errno),
        Treatment::Forbidden(errno, _) if row.read_int(value)? != Some(0) => return Err(errno),
        Treatment::Ignored(_) => drop(row.read_int(value)?),
        Treatment::Priority => match row.read_int(value)? {
            Some(priority @ 0..=6) => stored.set(level, name, priority),
            _ => return Err(Errno::EPERM),
        },
        Treatment::Timeout(direction) => stored.set_timeout(direction, value::read_timeval(value)?),
        Treatment::Timestamp => stored.set_timestamp(name, row.read_int(value)? != Some(0)),
        Treatment::Timestamping => {
            stored.set_timestamping(value::read_timestamping(value)?, name != libc::SO_TIMESTAMPING);
        }
        Treatment::Linger => {
            stored.set_wide(level, name, value.first_chunk().map_or(0, |both| i64::from_ne_bytes(*both)));
        }
        Treatment::LowWater => {
            let bytes = row.read_int(value)?.unwrap_or(1);
            stored.set(level, name, if bytes < 0 { i32::MAX } else { bytes.max(1) });
        }
        Treatment::Backlog => stored.set(level, name, row.read_int(value)?.unwrap_or(0).min(BACKLOG_MAX)),
        Treatment::AddressPreferences => {
            stored.set(level, name, value::prefer(row.read_int(value)?.unwrap_or(0))?);
        }
        Treatment::Rate => stored.set_wide(level, name, value::rate_of(value)? as i64),
        Treatment::TransmitTime => stored.set_wide(level, name, value::read_transmit_time(value)?),
        Treatment::StickyPacketInfo => stored.set_packet_info(value)?,
        Treatment::Asks | Treatment::Stored { .. } => match row.read_int(value)? {
            Some(value) => stored.set(level, name, value),
            None => stored.unset(level, name),
        },
        _ => {}
    }
    Ok(())
}

/// What setting an option that isn't there fails with: the length is looked at first, but not at `IPPROTO_IP`
/// and `IPPROTO_IPV6`.
fn unknown(kind: SocketKind, level: i32, len: usize) -> Errno {
    let looks = match level {
        libc::SOL_SOCKET => true,
        libc::IPPROTO_TCP => kind.kind == SocketType::Stream,
        libc::IPPROTO_UDP => kind.kind == SocketType::Datagram,
        libc::IPPROTO_UDPLITE => kind.kind == SocketType::DatagramLite,
        _ => false,
    };
    if looks && len < size_of::<i32>() { Errno::EINVAL } else { Errno::ENOPROTOOPT }
}

/// What reading an option that isn't there fails with: IPv4 says so otherwise when it doesn't know the level.
fn unreadable(kind: SocketKind, level: i32) -> Errno {
    let known = [libc::SOL_SOCKET, libc::IPPROTO_IP, kind.protocol()].contains(&level);
    if known || kind.domain == Domain::Inet6 { Errno::ENOPROTOOPT } else { Errno::EOPNOTSUPP }
}

/// Says where the answer to a `getsockopt` comes from; ENOPROTOOPT for an option this socket doesn't have.
pub fn get(kind: SocketKind, stored: &Stored, level: i32, name: i32) -> Result<Get, Errno> {
    let row = find(kind, level, name).ok_or(unreadable(kind, level))?;
    let int = |value| Ok(Get::Ready(OptionValue::int_at(level, value)));
    let wide = |default| stored.wide(level, name).unwrap_or(default) as u64;
    match row.treatment {
        Treatment::Honoured(option) => Ok(Get::Stack(option)),
        Treatment::Fact(fact) => Ok(Get::Fact(fact)),
        Treatment::Device => Ok(Get::Device),
        Treatment::Stored { default } => int(stored.get(level, name).unwrap_or(default)),
        Treatment::Priority | Treatment::Asks | Treatment::Backlog => {
            int(stored.get(level, name).unwrap_or(0))
        }
        Treatment::LowWater => int(stored.get(level, name).unwrap_or(1)),
        Treatment::Mtu => Ok(Get::Fact(Fact::PathMtu)),
        Treatment::AddressPreferences => int(stored.get(level, name).unwrap_or(value::NO_PREFERENCE)),
        Treatment::Linger => Ok(Get::Ready(OptionValue::linger_of(wide(0) as i64))),
        Treatment::Timestamp => int((stored.timestamp() == Some(name)).into()),
        Treatment::Timestamping => {
            Ok(Get::Ready(OptionValue::timestamping(stored.timestamping_at(name == libc::SO_TIMESTAMPING))))
        }
        Treatment::OfKind(what) => int(kind.number(what)),
        Treatment::Rate => Ok(Get::Ready(OptionValue::rate(wide(-1)))),
        Treatment::TransmitTime => Ok(Get::Ready(OptionValue::wide(wide(0)))),
        Treatment::OnlyNone(_) => Ok(Get::Ready(OptionValue::default())),
        Treatment::Timeout(direction) => {
            Ok(Get::Ready(OptionValue::timeval(stored.timeout(direction).unwrap_or_default())))
        }
        Treatment::Filter(FilterCall::Attach) => Ok(Get::Fact(Fact::Filter)),
        Treatment::Filter(FilterCall::Lock) => Ok(Get::Fact(Fact::FilterLocked)),
        Treatment::StickyPacketInfo | Treatment::Groups(..) | Treatment::Filter(_) => Err(Errno::ENOPROTOOPT),
        Treatment::Ignored(reads)
        | Treatment::ReadOnly(reads)
        | Treatment::Forbidden(_, reads)
        | Treatment::Refused(_, reads) => match reads {
            Reads::Int(value) => int(value),
            Reads::Nothing => Ok(Get::Ready(OptionValue::default())),
            Reads::Errno(errno) => Err(errno),
        },
    }
}

/// What a `getsockopt` reads beyond the values of options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// `SO_ERROR`: the pending error, taken from the socket.
    Error,
    /// `TCP_INFO`.
    TcpInfo,
    /// `IP_MTU`, `IPV6_MTU`: the MTU towards the peer; ENOTCONN without one.
    PathMtu,
    /// `IPV6_PATHMTU`: the same, in a `struct ip6_mtuinfo`.
    PathMtuInfo,
    /// `SO_COOKIE`: a number that no other socket has.
    Cookie,
    /// `SO_NETNS_COOKIE`: a number that all sockets of a host have.
    NetnsCookie,
    /// `SO_PEERCRED`: nobody, on a socket of the internet.
    PeerCredentials,
    /// `IP_PROTOCOL`: the number that the socket is found by, its local port.
    Number,
    /// `SO_PEERNAME`: what getpeername(2) gives.
    PeerName,
    /// `SO_GET_FILTER`: nothing without a filter; which one it is isn't told.
    Filter,
    /// `SO_LOCK_FILTER`: whether the filter is locked.
    FilterLocked,
    /// `SO_MEMINFO`: what the socket's queues hold.
    MemoryInfo,
}

/// The stack's answer as the program reads it at `level`.
pub fn answer(level: i32, option: SocketOption) -> OptionValue {
    match option {
        SocketOption::Linger(linger) => OptionValue::linger(linger),
        SocketOption::MaxPacingRate(rate) => OptionValue::rate(rate),
        SocketOption::IpOptions(options) => OptionValue::ip_options(&options),
        SocketOption::MulticastNic { address, nic: _ } => OptionValue::address(address),
        SocketOption::IcmpFilter(filter) => OptionValue::words(&[filter]),
        SocketOption::Icmp6Filter(filter) => OptionValue::words(&filter),
        SocketOption::Congestion(congestion) => OptionValue::text(congestion.name()),
        option => OptionValue::int_at(level, to_int(option)),
    }
}

#[cfg(test)]
mod tests;
