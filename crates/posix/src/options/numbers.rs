//! Between the numbers of C and the options of the stack.

use core::time::Duration;
use sockeye_packet::NicId;
use sockeye_stack::{MtuDiscover, OptionName, SocketOption};

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

/// The stack's option for a number that is in range; `None` for options that no number says.
pub(super) fn from_int(name: OptionName, value: i32) -> Option<SocketOption> {
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
        OptionName::BindToNic => SocketOption::BindToNic(interface(value)?),
        // -1 gives the default back.
        OptionName::Ttl => SocketOption::Ttl(u8::try_from(value).ok()),
        OptionName::HopLimit => SocketOption::HopLimit(u8::try_from(value).ok()),
        OptionName::Tos => SocketOption::Tos(value as u8),
        OptionName::TrafficClass => SocketOption::TrafficClass(value as u8),
        OptionName::V6Only => SocketOption::V6Only(on),
        OptionName::MtuDiscover => SocketOption::MtuDiscover(mtu_discover(value)),
        OptionName::MtuDiscoverV6 => SocketOption::MtuDiscoverV6(mtu_discover(value)),
        OptionName::FreeBind => SocketOption::FreeBind(on),
        OptionName::MinTtl => SocketOption::MinTtl(u8::try_from(value).ok()?),
        OptionName::MinHops => SocketOption::MinHops(u8::try_from(value).ok()?),
        OptionName::DontFragment => SocketOption::DontFragment(on),
        OptionName::HeaderIncluded => SocketOption::HeaderIncluded(on),
        OptionName::ChecksumOffset => SocketOption::ChecksumOffset(checksum_offset(value)?),
        OptionName::NoCheck => SocketOption::NoCheck(on),
        OptionName::NoCheck6Tx => SocketOption::NoCheck6Tx(on),
        OptionName::NoCheck6Rx => SocketOption::NoCheck6Rx(on),
        OptionName::UdpSegment => SocketOption::UdpSegment(u16::try_from(value).ok()?),
        OptionName::UdpCork => SocketOption::UdpCork(on),
        OptionName::UdpGro => SocketOption::UdpGro(on),
        OptionName::RecvErr => SocketOption::RecvErr(on),
        OptionName::RecvErrV6 => SocketOption::RecvErrV6(on),
        // -1 gives the default back.
        OptionName::MulticastTtl => SocketOption::MulticastTtl(u8::try_from(value).ok()),
        OptionName::MulticastHops => SocketOption::MulticastHops(u8::try_from(value).ok()),
        OptionName::MulticastLoop => SocketOption::MulticastLoop(on),
        OptionName::MulticastLoopV6 => SocketOption::MulticastLoopV6(on),
        OptionName::MulticastAll => SocketOption::MulticastAll(on),
        OptionName::MulticastAllV6 => SocketOption::MulticastAllV6(on),
        // A number that no interface can have is one that none has.
        OptionName::MulticastNicV6 => SocketOption::MulticastNicV6(
            (value != 0).then(|| crate::address::nic_of_index(value as u32).unwrap_or(NicId(u16::MAX))),
        ),
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

/// An interface's number, 0 for none; the outer none for one that no interface can have.
#[allow(clippy::option_option, reason = "there being no such interface is not being bound to none")]
fn interface(index: i32) -> Option<Option<NicId>> {
    if index == 0 { Some(None) } else { crate::address::nic_of_index(index as u32).map(Some) }
}

/// Where a checksum is, nowhere for what is negative; the outer none for what is out of reach.
#[allow(clippy::option_option, reason = "an offset that can't be is not the lack of one")]
fn checksum_offset(value: i32) -> Option<Option<u16>> {
    if value < 0 { Some(None) } else { u16::try_from(value).ok().map(Some) }
}

/// A mode of `IP_MTU_DISCOVER`.
fn mtu_discover(value: i32) -> MtuDiscover {
    match value {
        libc::IP_PMTUDISC_DONT => MtuDiscover::Dont,
        libc::IP_PMTUDISC_WANT => MtuDiscover::Want,
        libc::IP_PMTUDISC_DO => MtuDiscover::Do,
        libc::IP_PMTUDISC_PROBE => MtuDiscover::Probe,
        libc::IP_PMTUDISC_INTERFACE => MtuDiscover::Interface,
        _ => MtuDiscover::Omit,
    }
}

/// The number of such a mode.
fn mtu_discover_number(mode: MtuDiscover) -> i32 {
    match mode {
        MtuDiscover::Dont => libc::IP_PMTUDISC_DONT,
        MtuDiscover::Want => libc::IP_PMTUDISC_WANT,
        MtuDiscover::Do => libc::IP_PMTUDISC_DO,
        MtuDiscover::Probe => libc::IP_PMTUDISC_PROBE,
        MtuDiscover::Interface => libc::IP_PMTUDISC_INTERFACE,
        MtuDiscover::Omit => libc::IP_PMTUDISC_OMIT,
    }
}

/// The number that says the value of an option, in the units of its C type.
pub(super) fn to_int(option: SocketOption) -> i32 {
    let saturated = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
    let seconds = |time: Duration| i32::try_from(time.as_secs()).unwrap_or(i32::MAX);
    match option {
        SocketOption::ReuseAddr(on)
        | SocketOption::ReusePort(on)
        | SocketOption::KeepAlive(on)
        | SocketOption::Broadcast(on)
        | SocketOption::OobInline(on)
        | SocketOption::AcceptsConnections(on)
        | SocketOption::FreeBind(on)
        | SocketOption::DontFragment(on)
        | SocketOption::HeaderIncluded(on)
        | SocketOption::MulticastLoop(on)
        | SocketOption::MulticastLoopV6(on)
        | SocketOption::MulticastAll(on)
        | SocketOption::MulticastAllV6(on)
        | SocketOption::NoCheck(on)
        | SocketOption::NoCheck6Tx(on)
        | SocketOption::NoCheck6Rx(on)
        | SocketOption::UdpCork(on)
        | SocketOption::UdpGro(on)
        | SocketOption::RecvErr(on)
        | SocketOption::RecvErrV6(on)
        | SocketOption::V6Only(on)
        | SocketOption::NoDelay(on)
        | SocketOption::Cork(on)
        | SocketOption::QuickAck(on) => on.into(),
        SocketOption::RecvBuffer(len) | SocketOption::SendBuffer(len) => saturated(len),
        SocketOption::MulticastTtl(ttl) | SocketOption::MulticastHops(ttl) => ttl.unwrap_or(1).into(),
        SocketOption::BindToNic(nic) | SocketOption::MulticastNicV6(nic) => {
            nic.map_or(0, |nic| crate::address::interface_index(nic) as i32)
        }
        SocketOption::UnicastNic(nic) | SocketOption::UnicastNicV6(nic) => {
            nic.map_or(0, |nic| (crate::address::interface_index(nic) as i32).to_be())
        }
        SocketOption::Ttl(ttl) | SocketOption::HopLimit(ttl) => ttl.unwrap_or(DEFAULT_TTL).into(),
        SocketOption::Tos(tos) | SocketOption::TrafficClass(tos) => tos.into(),
        SocketOption::MinTtl(ttl) | SocketOption::MinHops(ttl) => ttl.into(),
        SocketOption::LocalPorts(first, last) => (u32::from(last) << 16 | u32::from(first)) as i32,
        SocketOption::ChecksumOffset(at) => at.map_or(-1, i32::from),
        SocketOption::MtuDiscover(mode) | SocketOption::MtuDiscoverV6(mode) => mtu_discover_number(mode),
        SocketOption::MaxSegment(len)
        | SocketOption::UdpSegment(len)
        | SocketOption::SendCoverage(len)
        | SocketOption::RecvCoverage(len) => len.into(),
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
pub(super) fn defer_accept(seconds: i32) -> Duration {
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
