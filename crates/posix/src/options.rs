//! Socket options as setsockopt(2) and getsockopt(2) know them.
//!
//! [`TABLE`] has one row an option: level, name, C type with bounds, and how it is treated. [`set`] and
//! [`get`] read the bytes by Linux's rules for lengths and ranges and say what is to be done; options that
//! the stack does not act on are kept in the socket's [`Stored`].

mod groups;
mod stored;
mod table;
mod value;

pub use groups::{GroupCall, GroupChange, GroupForm};
pub use stored::{Direction, Stored};
pub use table::{On, Row, TABLE, Treatment, Type};
pub use value::OptionValue;

use crate::Errno;
use core::time::Duration;
use sockeye_packet::NicId;
use sockeye_stack::{Domain, MtuDiscover, OptionName, SocketOption, SocketType};

/// Family and type of a socket: they decide which options it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketKind {
    /// INET, INET6 or PACKET.
    pub domain: Domain,
    /// Stream, datagram, ping, raw or packet.
    pub kind: SocketType,
}

impl SocketKind {
    /// `SO_PROTOCOL`.
    pub fn protocol(self) -> i32 {
        match (self.kind, self.domain) {
            (SocketType::Stream, _) => libc::IPPROTO_TCP,
            (SocketType::Datagram, _) => libc::IPPROTO_UDP,
            (SocketType::DatagramLite, _) => libc::IPPROTO_UDPLITE,
            (SocketType::Ping, Domain::Inet6) => libc::IPPROTO_ICMPV6,
            (SocketType::Ping, _) => libc::IPPROTO_ICMP,
            (SocketType::Raw(protocol), _) => protocol.0.into(),
            // In network order, as socket(2) takes it.
            (SocketType::Packet { ethertype, .. }, _) => ethertype.to_be().into(),
        }
    }

    fn of_kind(self, what: OfKind) -> i32 {
        match (what, self.domain, self.kind) {
            (OfKind::Domain, Domain::Inet, _) => libc::AF_INET,
            (OfKind::Domain, Domain::Inet6, _) => libc::AF_INET6,
            (OfKind::Domain, Domain::Packet, _) => libc::AF_PACKET,
            (OfKind::Type, _, SocketType::Raw(_) | SocketType::Packet { cooked: false, .. }) => {
                libc::SOCK_RAW
            }
            (OfKind::Type, _, SocketType::Stream) => libc::SOCK_STREAM,
            (OfKind::Type, ..) => libc::SOCK_DGRAM,
            (OfKind::Protocol, ..) => self.protocol(),
        }
    }
}

/// What `SO_DOMAIN`, `SO_TYPE` and `SO_PROTOCOL` ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfKind {
    /// The address family.
    Domain,
    /// The socket's type.
    Type,
    /// The protocol number.
    Protocol,
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
    /// `SO_ERROR`: the pending error, taken from the socket.
    Error,
    /// `TCP_INFO`, through [`OptionValue::tcp_info`].
    TcpInfo,
    /// `IP_MTU`, `IPV6_MTU`: the MTU towards the peer; ENOTCONN without one.
    PathMtu,
    /// `SO_BINDTODEVICE`: the name of the interface bound to, empty for none.
    Device,
    /// `SO_COOKIE`: a number that no other socket has.
    Cookie,
}

/// The row of an option, if this kind of socket knows it.
pub fn find(kind: SocketKind, level: i32, name: i32) -> Option<&'static Row> {
    let row = TABLE.iter().find(|row| (row.level, row.name) == (level, name))?;
    let of_family = level != libc::IPPROTO_IPV6 || kind.domain == Domain::Inet6;
    (of_family && row.on.includes(kind.kind)).then_some(row)
}

/// Whether the option also means something to the local socket that stands in for ours: reads and writes
/// happen on that one, so their timeouts and thresholds must be set there.
pub fn is_native_too(level: i32, name: i32) -> bool {
    const NATIVE: [i32; 6] = [
        libc::SO_RCVTIMEO,
        libc::SO_SNDTIMEO,
        SO_RCVTIMEO_NEW,
        SO_SNDTIMEO_NEW,
        libc::SO_RCVLOWAT,
        libc::SO_OOBINLINE,
    ];
    level == libc::SOL_SOCKET && NATIVE.contains(&name)
}

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
    let row = find(kind, level, name).ok_or(Errno::ENOPROTOOPT)?;
    match row.treatment {
        Treatment::ReadOnly(_) | Treatment::OfKind(_) | Treatment::Fact(_) => Err(Errno::ENOPROTOOPT),
        Treatment::Refused(errno) => Err(errno),
        Treatment::Forbidden(errno) => match row.value.read_int(level, value)? {
            0 => Ok(Set::Done),
            _ => Err(errno),
        },
        Treatment::Priority => match row.value.read_int(level, value)? {
            priority @ 0..=6 => {
                stored.set(level, name, priority);
                Ok(Set::Done)
            }
            _ => Err(Errno::EPERM),
        },
        Treatment::Timeout(direction) => {
            stored.set_timeout(direction, value::read_timeval(value)?);
            Ok(Set::Done)
        }
        Treatment::Groups(call, form) => GroupChange::parse(call, form, level, value).map(Set::Groups),
        Treatment::Honoured(OptionName::MulticastTtl | OptionName::MulticastNic)
            if kind.kind == SocketType::Stream =>
        {
            Err(Errno::EINVAL)
        }
        Treatment::Honoured(OptionName::MulticastNic) => groups::multicast_interface(value).map(Set::Stack),
        Treatment::Device => Ok(Set::Device(value::until_nul(value, libc::IFNAMSIZ - 1))),
        Treatment::IpOptions if value.is_empty() => Ok(Set::Done),
        Treatment::IpOptions => Err(Errno::EINVAL),
        Treatment::Stored { .. } => {
            stored.set(level, name, row.value.read_int(level, value)?);
            Ok(Set::Done)
        }
        Treatment::Honoured(OptionName::Linger) => value::read_linger(value).map(Set::Stack),
        Treatment::Honoured(OptionName::MaxPacingRate) => value::read_rate(value).map(Set::Stack),
        Treatment::Honoured(OptionName::Congestion) => value::read_congestion(value).map(Set::Stack),
        Treatment::Honoured(option) => {
            let value = row.value.read_int(level, value)?;
            from_int(option, value).map(Set::Stack).ok_or(Errno::EINVAL)
        }
    }
}

/// Says where the answer to a `getsockopt` comes from; ENOPROTOOPT for an option this socket doesn't have.
pub fn get(kind: SocketKind, stored: &Stored, level: i32, name: i32) -> Result<Get, Errno> {
    let row = find(kind, level, name).ok_or(Errno::ENOPROTOOPT)?;
    let int = |value| Ok(Get::Ready(OptionValue::int_at(level, value)));
    match row.treatment {
        Treatment::Honoured(option) => Ok(Get::Stack(option)),
        Treatment::Stored { default } => int(stored.get(level, name).unwrap_or(default)),
        Treatment::Priority => int(stored.get(level, name).unwrap_or(0)),
        Treatment::ReadOnly(value) => int(value),
        Treatment::OfKind(what) => int(kind.of_kind(what)),
        Treatment::Fact(Fact::Error) => Ok(Get::Error),
        Treatment::Fact(Fact::TcpInfo) => Ok(Get::TcpInfo),
        Treatment::Fact(Fact::PathMtu) => Ok(Get::PathMtu),
        Treatment::Fact(Fact::Cookie) => Ok(Get::Cookie),
        Treatment::Fact(Fact::PeerCredentials) => Ok(Get::Ready(OptionValue::no_credentials())),
        Treatment::Device => Ok(Get::Device),
        Treatment::IpOptions => Ok(Get::Ready(OptionValue::default())),
        Treatment::Timeout(direction) => {
            Ok(Get::Ready(OptionValue::timeval(stored.timeout(direction).unwrap_or_default())))
        }
        Treatment::Forbidden(_) => int(0),
        Treatment::Refused(_) | Treatment::Groups(..) => Err(Errno::ENOPROTOOPT),
    }
}

/// What a `getsockopt` reads beyond the values of options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// `SO_ERROR`.
    Error,
    /// `TCP_INFO`.
    TcpInfo,
    /// `IP_MTU`, `IPV6_MTU`.
    PathMtu,
    /// `SO_COOKIE`.
    Cookie,
    /// `SO_PEERCRED`: nobody, on a socket of the internet.
    PeerCredentials,
}

/// The stack's answer as the program reads it at `level`.
pub fn answer(level: i32, option: SocketOption) -> OptionValue {
    match option {
        SocketOption::Linger(linger) => OptionValue::linger(linger),
        SocketOption::MaxPacingRate(rate) => OptionValue::rate(rate),
        SocketOption::MulticastNic { address, nic: _ } => OptionValue::address(address),
        SocketOption::Congestion(congestion) => OptionValue::text(congestion.name()),
        option => OptionValue::int_at(level, to_int(option)),
    }
}

/// The limit to which `SO_RCVBUF` and `SO_SNDBUF` are cut before doubling (`net.core.rmem_max`).
const BUFFER_MAX: u32 = 212_992;
/// The least receive buffer (`SOCK_MIN_RCVBUF`).
const RECV_BUFFER_MIN: usize = 2304;
/// The least send buffer (`SOCK_MIN_SNDBUF`).
const SEND_BUFFER_MIN: usize = 4608;
/// How long a user may let an orphan wait in FIN-WAIT-2 (`TCP_FIN_TIMEOUT_MAX`), and the default, in seconds.
const FIN_TIMEOUT_MAX: i32 = 120;
const FIN_TIMEOUT: i32 = 60;
/// Time to live of a socket that has none set.
const DEFAULT_TTL: u8 = 64;
const SO_RCVTIMEO_NEW: i32 = 66;
const SO_SNDTIMEO_NEW: i32 = 67;

/// The stack's option for a number that is in range; `None` for options that no number says.
fn from_int(name: OptionName, value: i32) -> Option<SocketOption> {
    let on = value != 0;
    let seconds = Duration::from_secs(value.max(0) as u64);
    // Negative sizes are large unsigned ones, which are cut to the limit.
    let doubled = 2 * (value as u32).min(BUFFER_MAX) as usize;
    Some(match name {
        OptionName::ReuseAddr => SocketOption::ReuseAddr(on),
        OptionName::ReusePort => SocketOption::ReusePort(on),
        OptionName::KeepAlive => SocketOption::KeepAlive(on),
        OptionName::Broadcast => SocketOption::Broadcast(on),
        OptionName::OobInline => SocketOption::OobInline(on),
        OptionName::RecvBuffer => SocketOption::RecvBuffer(doubled.max(RECV_BUFFER_MIN)),
        OptionName::SendBuffer => SocketOption::SendBuffer(doubled.max(SEND_BUFFER_MIN)),
        OptionName::RecvLowWater => SocketOption::RecvLowWater(match value {
            ..0 => i32::MAX as u32,
            0 => 1,
            _ => value as u32,
        }),
        OptionName::BindToNic => match value {
            0 => SocketOption::BindToNic(None),
            _ => SocketOption::BindToNic(Some(crate::address::nic_of_index(value as u32)?)),
        },
        // -1 gives the default back.
        OptionName::Ttl => SocketOption::Ttl(u8::try_from(value).ok()),
        OptionName::Tos => SocketOption::Tos(if value < 0 { 0 } else { value as u8 }),
        OptionName::V6Only => SocketOption::V6Only(on),
        OptionName::MtuDiscover => SocketOption::MtuDiscover(match value {
            libc::IP_PMTUDISC_DONT | libc::IP_PMTUDISC_OMIT => MtuDiscover::Dont,
            libc::IP_PMTUDISC_WANT => MtuDiscover::Want,
            libc::IP_PMTUDISC_DO => MtuDiscover::Do,
            _ => MtuDiscover::Probe,
        }),
        OptionName::RecvErr => SocketOption::RecvErr(on),
        OptionName::RecvErrV6 => SocketOption::RecvErrV6(on),
        // -1 gives the default back.
        OptionName::MulticastTtl => SocketOption::MulticastTtl(u8::try_from(value).ok()),
        OptionName::MulticastHops => SocketOption::MulticastHops(u8::try_from(value).ok()),
        OptionName::MulticastLoop => SocketOption::MulticastLoop(on),
        OptionName::MulticastLoopV6 => SocketOption::MulticastLoopV6(on),
        OptionName::MulticastAll => SocketOption::MulticastAll(on),
        OptionName::MulticastAllV6 => SocketOption::MulticastAllV6(on),
        OptionName::MulticastNicV6 => match value {
            0 => SocketOption::MulticastNicV6(None),
            // A number that no interface can have is one that none has.
            _ => {
                let nic = crate::address::nic_of_index(value as u32).unwrap_or(NicId(u16::MAX));
                SocketOption::MulticastNicV6(Some(nic))
            }
        },
        OptionName::SendCoverage => SocketOption::SendCoverage(coverage(value)),
        OptionName::RecvCoverage => SocketOption::RecvCoverage(coverage(value)),
        OptionName::NoDelay => SocketOption::NoDelay(on),
        OptionName::Cork => SocketOption::Cork(on),
        OptionName::QuickAck => SocketOption::QuickAck(on),
        OptionName::MaxSegment => SocketOption::MaxSegment(u16::try_from(value).ok()?),
        OptionName::UserTimeout => SocketOption::UserTimeout(Duration::from_millis(value.max(0) as u64)),
        OptionName::KeepIdle => SocketOption::KeepIdle(seconds),
        OptionName::KeepInterval => SocketOption::KeepInterval(seconds),
        OptionName::KeepCount => SocketOption::KeepCount(value as u32),
        OptionName::SynCount => SocketOption::SynCount(u8::try_from(value).ok()?),
        OptionName::MaxRto => SocketOption::MaxRto(Duration::from_millis(u64::try_from(value).ok()?)),
        OptionName::DeferAccept => SocketOption::DeferAccept(defer_accept(value)),
        OptionName::FinTimeout => SocketOption::FinTimeout(match value {
            ..0 => None,
            0 => Some(Duration::from_secs(FIN_TIMEOUT as u64)),
            _ => Some(Duration::from_secs(value.min(FIN_TIMEOUT_MAX) as u64)),
        }),
        OptionName::WindowClamp => SocketOption::WindowClamp(match value {
            0 => 0,
            _ => value.max(RECV_BUFFER_MIN as i32 / 2) as u32,
        }),
        OptionName::NotSentLowWater => SocketOption::NotSentLowWater(value as u32),
        _ => return None,
    })
}

/// The number that says the value of an option, in the units of its C type.
fn to_int(option: SocketOption) -> i32 {
    let saturated = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
    let seconds = |time: Duration| i32::try_from(time.as_secs()).unwrap_or(i32::MAX);
    match option {
        SocketOption::ReuseAddr(on)
        | SocketOption::ReusePort(on)
        | SocketOption::KeepAlive(on)
        | SocketOption::Broadcast(on)
        | SocketOption::OobInline(on)
        | SocketOption::AcceptsConnections(on)
        | SocketOption::V6Only(on)
        | SocketOption::MulticastLoop(on)
        | SocketOption::MulticastLoopV6(on)
        | SocketOption::MulticastAll(on)
        | SocketOption::MulticastAllV6(on)
        | SocketOption::RecvErr(on)
        | SocketOption::RecvErrV6(on)
        | SocketOption::NoDelay(on)
        | SocketOption::Cork(on)
        | SocketOption::QuickAck(on) => on.into(),
        SocketOption::RecvBuffer(len) | SocketOption::SendBuffer(len) => saturated(len),
        SocketOption::MulticastTtl(ttl) | SocketOption::MulticastHops(ttl) => ttl.unwrap_or(1).into(),
        SocketOption::BindToNic(nic) | SocketOption::MulticastNicV6(nic) => {
            nic.map_or(0, |nic| crate::address::interface_index(nic) as i32)
        }
        SocketOption::Ttl(ttl) => ttl.unwrap_or(DEFAULT_TTL).into(),
        SocketOption::Tos(tos) => tos.into(),
        SocketOption::MtuDiscover(MtuDiscover::Dont) => libc::IP_PMTUDISC_DONT,
        SocketOption::MtuDiscover(MtuDiscover::Want) => libc::IP_PMTUDISC_WANT,
        SocketOption::MtuDiscover(MtuDiscover::Do) => libc::IP_PMTUDISC_DO,
        SocketOption::MtuDiscover(MtuDiscover::Probe) => libc::IP_PMTUDISC_PROBE,
        SocketOption::MaxSegment(len) | SocketOption::SendCoverage(len) | SocketOption::RecvCoverage(len) => {
            len.into()
        }
        SocketOption::UserTimeout(time) | SocketOption::MaxRto(time) => {
            i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
        }
        SocketOption::KeepIdle(time) | SocketOption::KeepInterval(time) | SocketOption::DeferAccept(time) => {
            seconds(time)
        }
        SocketOption::KeepCount(count)
        | SocketOption::RecvLowWater(count)
        | SocketOption::WindowClamp(count) => saturated(count as usize),
        // Unlimited is spelled -1 here, as an unsigned int.
        SocketOption::NotSentLowWater(len) => len as i32,
        SocketOption::SynCount(count) => count.into(),
        SocketOption::FinTimeout(time) => time.map_or(-1, seconds),
        _ => 0,
    }
}

/// A checksum's coverage (`UDPLITE_*_CSCOV`): negative is less than the header, which is the least.
fn coverage(value: i32) -> u16 {
    if value < 0 { 8 } else { u16::try_from(value).unwrap_or(u16::MAX) }
}

/// `TCP_DEFER_ACCEPT` counts in retransmissions of the SYN-ACK, after 1, 3, 7, … seconds: the time asked
/// for is rounded up to one of those.
fn defer_accept(seconds: i32) -> Duration {
    const RTO_MAX: u64 = 120;
    let seconds = seconds.max(0) as u64;
    if seconds == 0 {
        return Duration::ZERO;
    }
    let (mut period, mut timeout, mut count) = (1, 1, 1);
    while period < seconds && count < 255 {
        timeout = (timeout * 2).min(RTO_MAX);
        period += timeout;
        count += 1;
    }
    Duration::from_secs(period)
}

#[cfg(test)]
mod tests;
