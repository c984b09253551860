//! The table of options: one row each. A new option is a new row.

use super::{Direction, Fact, GroupCall, GroupForm, OfKind};
use crate::Errno;
use Treatment::{
    Device, Fact as Of, Forbidden, Groups, Honoured, IpOptions, OfKind as Kind, ReadOnly, Refused, Timeout,
};
use Type::{Field, Flag, Int};
use libc::{
    IPPROTO_IP as IP, IPPROTO_IPV6 as V6, IPPROTO_TCP as TCP, IPPROTO_UDP as UDP, IPPROTO_UDPLITE as UDPLITE,
    SOL_SOCKET as SOCKET,
};
use sockeye_stack::{OptionName, SocketType};

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// `SOL_SOCKET`, `IPPROTO_TCP`, …
    pub level: i32,
    /// Its number at that level.
    pub name: i32,
    /// Its name in C.
    pub label: &'static str,
    /// Which sockets have it.
    pub on: On,
    /// Its C type.
    pub value: Type,
    /// What is done about it.
    pub treatment: Treatment,
}

/// Which types of socket have an option. (Those of `IPPROTO_IPV6` only exist on INET6 sockets.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// All.
    All,
    /// Stream sockets.
    Stream,
    /// Datagram sockets, also ping sockets.
    Datagram,
    /// UDP sockets.
    Udp,
    /// UDP-Lite sockets.
    UdpLite,
}

impl On {
    /// Whether sockets of this type are among them.
    pub fn includes(self, kind: SocketType) -> bool {
        match self {
            On::All => true,
            On::Stream => kind == SocketType::Stream,
            On::Datagram => {
                matches!(kind, SocketType::Datagram | SocketType::DatagramLite | SocketType::Ping)
            }
            On::Udp => kind == SocketType::Datagram,
            On::UdpLite => kind == SocketType::DatagramLite,
        }
    }
}

/// The C type of an option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// An `int` that is on or off: anything but 0 reads back as 1.
    Flag,
    /// An `int` in a range; EINVAL outside.
    Int(i32, i32),
    /// A structure or text, read by its treatment.
    Field,
}

impl Type {
    /// The number in `value`. Too short a value is EINVAL, except that `IPPROTO_IP` takes one byte for a
    /// number, and no bytes for 0.
    pub(super) fn read_int(self, level: i32, value: &[u8]) -> Result<i32, Errno> {
        let number = match (value.first_chunk(), value) {
            (Some(bytes), _) => i32::from_ne_bytes(*bytes),
            (None, [byte, ..]) if level == IP => (*byte).into(),
            (None, []) if level == IP => 0,
            (None, _) => return Err(Errno::EINVAL),
        };
        match self {
            Type::Flag => Ok((number != 0).into()),
            Type::Int(min, max) if !(min..=max).contains(&number) => Err(Errno::EINVAL),
            Type::Int(..) | Type::Field => Ok(number),
        }
    }
}

/// What is done about an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// The stack acts on it.
    Honoured(OptionName),
    /// Kept and given back; where it asks for control messages, `cmsg` reads it.
    Stored {
        /// What it reads as before it is set.
        default: i32,
    },
    /// Always this; setting is ENOPROTOOPT.
    ReadOnly(i32),
    /// Follows from the kind of socket; setting is ENOPROTOOPT.
    OfKind(OfKind),
    /// Asked of the socket; setting is ENOPROTOOPT.
    Fact(Fact),
    /// `SO_RCVTIMEO`, `SO_SNDTIMEO`.
    Timeout(Direction),
    /// `SO_BINDTODEVICE`.
    Device,
    /// `SO_PRIORITY`: kept; above 6 needs a capability (EPERM).
    Priority,
    /// `IP_OPTIONS`: none, and only none can be set.
    IpOptions,
    /// Needs a capability that nobody has here: this errno unless it switches off what is off.
    Forbidden(Errno),
    /// A change of groups, said in this form; getting ENOPROTOOPT.
    Groups(GroupCall, GroupForm),
    /// Setting answers this errno; getting ENOPROTOOPT.
    Refused(Errno),
}

/// An `int` of any value.
const ANY: Type = Int(i32::MIN, i32::MAX);
const OFF: Treatment = Treatment::Stored { default: 0 };
const ON: Treatment = Treatment::Stored { default: 1 };

macro_rules! table {
    ($($level:ident $name:ident $(= $number:literal)? on $on:ident: $value:expr => $treatment:expr;)*) => {
        /// All options.
        pub const TABLE: &[Row] = &[$(Row {
            level: $level,
            name: table!(@number $name $($number)?),
            label: stringify!($name),
            on: On::$on,
            value: $value,
            treatment: $treatment,
        },)*];
    };
    (@number $name:ident) => { libc::$name };
    (@number $name:ident $number:literal) => { $number };
}

table! {
    SOCKET SO_DEBUG on All: Flag => Forbidden(Errno::EACCES);
    SOCKET SO_REUSEADDR on All: Flag => Honoured(OptionName::ReuseAddr);
    SOCKET SO_TYPE on All: ANY => Kind(OfKind::Type);
    SOCKET SO_ERROR on All: ANY => Of(Fact::Error);
    SOCKET SO_DONTROUTE on All: Flag => OFF;
    SOCKET SO_BROADCAST on All: Flag => Honoured(OptionName::Broadcast);
    SOCKET SO_SNDBUF on All: ANY => Honoured(OptionName::SendBuffer);
    SOCKET SO_RCVBUF on All: ANY => Honoured(OptionName::RecvBuffer);
    SOCKET SO_SNDBUFFORCE on All: ANY => Refused(Errno::EPERM);
    SOCKET SO_RCVBUFFORCE on All: ANY => Refused(Errno::EPERM);
    SOCKET SO_KEEPALIVE on All: Flag => Honoured(OptionName::KeepAlive);
    SOCKET SO_OOBINLINE on All: Flag => Honoured(OptionName::OobInline);
    SOCKET SO_NO_CHECK on All: Flag => OFF;
    SOCKET SO_PRIORITY on All: ANY => Treatment::Priority;
    SOCKET SO_LINGER on All: Field => Honoured(OptionName::Linger);
    SOCKET SO_REUSEPORT on All: Flag => Honoured(OptionName::ReusePort);
    SOCKET SO_PASSCRED on All: Flag => OFF;
    SOCKET SO_PEERCRED on All: Field => Of(Fact::PeerCredentials);
    SOCKET SO_RCVLOWAT on All: ANY => Honoured(OptionName::RecvLowWater);
    SOCKET SO_SNDLOWAT on All: ANY => ReadOnly(1);
    SOCKET SO_RCVTIMEO on All: Field => Timeout(Direction::Receive);
    SOCKET SO_SNDTIMEO on All: Field => Timeout(Direction::Send);
    SOCKET SO_RCVTIMEO_NEW = 66 on All: Field => Timeout(Direction::Receive);
    SOCKET SO_SNDTIMEO_NEW = 67 on All: Field => Timeout(Direction::Send);
    SOCKET SO_BINDTODEVICE on All: Field => Device;
    SOCKET SO_BINDTOIFINDEX on All: Int(0, i32::MAX) => Honoured(OptionName::BindToNic);
    SOCKET SO_TIMESTAMP on All: Flag => OFF;
    SOCKET SO_TIMESTAMPNS on All: Flag => OFF;
    SOCKET SO_TIMESTAMP_NEW = 63 on All: Flag => OFF;
    SOCKET SO_TIMESTAMPNS_NEW = 64 on All: Flag => OFF;
    SOCKET SO_ACCEPTCONN on All: ANY => Honoured(OptionName::AcceptsConnections);
    SOCKET SO_PROTOCOL on All: ANY => Kind(OfKind::Protocol);
    SOCKET SO_DOMAIN on All: ANY => Kind(OfKind::Domain);
    SOCKET SO_MARK on All: ANY => Forbidden(Errno::EPERM);
    SOCKET SO_RXQ_OVFL on All: Flag => OFF;
    SOCKET SO_SELECT_ERR_QUEUE on All: Flag => OFF;
    SOCKET SO_BUSY_POLL on All: Int(0, i32::MAX) => OFF;
    SOCKET SO_BPF_EXTENSIONS on All: ANY => ReadOnly(64);
    SOCKET SO_COOKIE on All: Field => Of(Fact::Cookie);
    SOCKET SO_MAX_PACING_RATE on Stream: ANY => Honoured(OptionName::MaxPacingRate);
    SOCKET SO_ZEROCOPY on All: ANY => Refused(Errno::EOPNOTSUPP);

    TCP TCP_NODELAY on Stream: Flag => Honoured(OptionName::NoDelay);
    TCP TCP_MAXSEG on Stream: Int(0, 32767) => Honoured(OptionName::MaxSegment);
    TCP TCP_CORK on Stream: Flag => Honoured(OptionName::Cork);
    TCP TCP_KEEPIDLE on Stream: Int(1, 32767) => Honoured(OptionName::KeepIdle);
    TCP TCP_KEEPINTVL on Stream: Int(1, 32767) => Honoured(OptionName::KeepInterval);
    TCP TCP_KEEPCNT on Stream: Int(1, 127) => Honoured(OptionName::KeepCount);
    TCP TCP_SYNCNT on Stream: Int(1, 127) => Honoured(OptionName::SynCount);
    TCP TCP_LINGER2 on Stream: ANY => Honoured(OptionName::FinTimeout);
    TCP TCP_DEFER_ACCEPT on Stream: ANY => Honoured(OptionName::DeferAccept);
    TCP TCP_WINDOW_CLAMP on Stream: Int(0, i32::MAX) => Honoured(OptionName::WindowClamp);
    TCP TCP_INFO on Stream: Field => Of(Fact::TcpInfo);
    TCP TCP_QUICKACK on Stream: Flag => Honoured(OptionName::QuickAck);
    TCP TCP_CONGESTION on Stream: Field => Honoured(OptionName::Congestion);
    TCP TCP_USER_TIMEOUT on Stream: Int(0, i32::MAX) => Honoured(OptionName::UserTimeout);
    TCP TCP_FASTOPEN on Stream: Int(0, i32::MAX) => OFF;
    TCP TCP_FASTOPEN_CONNECT on Stream: Int(0, 1) => Refused(Errno::EOPNOTSUPP);
    TCP TCP_NOTSENT_LOWAT on Stream: ANY => Honoured(OptionName::NotSentLowWater);
    TCP TCP_RTO_MAX_MS = 44 on Stream: Int(1000, 120000) => Honoured(OptionName::MaxRto);
    TCP TCP_THIN_LINEAR_TIMEOUTS on Stream: Int(0, 1) => OFF;
    TCP TCP_THIN_DUPACK on Stream: Int(0, 1) => OFF;

    IP IP_TOS on All: ANY => Honoured(OptionName::Tos);
    IP IP_TTL on All: Int(-1, 255) => Honoured(OptionName::Ttl);
    IP IP_OPTIONS on All: Field => IpOptions;
    IP IP_RECVOPTS on All: Flag => OFF;
    IP IP_RETOPTS on All: Flag => OFF;
    IP IP_PKTINFO on All: Flag => OFF;
    IP IP_MTU_DISCOVER on All: Int(0, 5) => Honoured(OptionName::MtuDiscover);
    IP IP_MTU on All: ANY => Of(Fact::PathMtu);
    IP IP_RECVERR on All: Flag => Honoured(OptionName::RecvErr);
    IP IP_RECVTTL on All: Flag => OFF;
    IP IP_RECVTOS on All: Flag => OFF;
    IP IP_FREEBIND on All: Flag => OFF;
    IP IP_TRANSPARENT on All: Flag => Forbidden(Errno::EPERM);
    IP IP_MINTTL on All: Int(0, 255) => OFF;
    IP IP_BIND_ADDRESS_NO_PORT on All: Flag => OFF;
    IP IP_MULTICAST_TTL on All: Int(-1, 255) => Honoured(OptionName::MulticastTtl);
    IP IP_MULTICAST_LOOP on All: Flag => Honoured(OptionName::MulticastLoop);
    IP IP_MULTICAST_ALL on All: Int(0, 1) => Honoured(OptionName::MulticastAll);
    IP IP_MULTICAST_IF on All: Field => Honoured(OptionName::MulticastNic);
    IP IP_ADD_MEMBERSHIP on All: Field => Groups(GroupCall::Join, GroupForm::Ip);
    IP IP_DROP_MEMBERSHIP on All: Field => Groups(GroupCall::Leave, GroupForm::Ip);
    IP IP_ADD_SOURCE_MEMBERSHIP = 39 on All: Field => Groups(GroupCall::JoinSource, GroupForm::Ip);
    IP IP_DROP_SOURCE_MEMBERSHIP = 40 on All: Field => Groups(GroupCall::LeaveSource, GroupForm::Ip);
    IP IP_BLOCK_SOURCE = 38 on All: Field => Groups(GroupCall::Block, GroupForm::Ip);
    IP IP_UNBLOCK_SOURCE = 37 on All: Field => Groups(GroupCall::Unblock, GroupForm::Ip);
    IP IP_MSFILTER = 41 on All: Field => Groups(GroupCall::Filter, GroupForm::Ip);
    IP MCAST_JOIN_GROUP = 42 on All: Field => Groups(GroupCall::Join, GroupForm::Any);
    IP MCAST_LEAVE_GROUP = 45 on All: Field => Groups(GroupCall::Leave, GroupForm::Any);
    IP MCAST_JOIN_SOURCE_GROUP = 46 on All: Field => Groups(GroupCall::JoinSource, GroupForm::Any);
    IP MCAST_LEAVE_SOURCE_GROUP = 47 on All: Field => Groups(GroupCall::LeaveSource, GroupForm::Any);
    IP MCAST_BLOCK_SOURCE = 43 on All: Field => Groups(GroupCall::Block, GroupForm::Any);
    IP MCAST_UNBLOCK_SOURCE = 44 on All: Field => Groups(GroupCall::Unblock, GroupForm::Any);
    IP MCAST_MSFILTER = 48 on All: Field => Groups(GroupCall::Filter, GroupForm::Any);

    V6 IPV6_V6ONLY on All: Flag => Honoured(OptionName::V6Only);
    V6 IPV6_UNICAST_HOPS on All: Int(-1, 255) => Honoured(OptionName::Ttl);
    V6 IPV6_TCLASS on All: Int(-1, 255) => Honoured(OptionName::Tos);
    V6 IPV6_MTU_DISCOVER on All: Int(0, 5) => Honoured(OptionName::MtuDiscover);
    V6 IPV6_MTU on All: ANY => Of(Fact::PathMtu);
    V6 IPV6_RECVERR on All: Flag => Honoured(OptionName::RecvErrV6);
    V6 IPV6_RECVPKTINFO on All: Flag => OFF;
    V6 IPV6_RECVHOPLIMIT on All: Flag => OFF;
    V6 IPV6_RECVTCLASS on All: Flag => OFF;
    V6 IPV6_DONTFRAG on All: Flag => OFF;
    V6 IPV6_FREEBIND on All: Flag => OFF;
    V6 IPV6_AUTOFLOWLABEL = 70 on All: Flag => ON;
    V6 IPV6_MULTICAST_HOPS on Datagram: Int(-1, 255) => Honoured(OptionName::MulticastHops);
    V6 IPV6_MULTICAST_LOOP on All: Int(0, 1) => Honoured(OptionName::MulticastLoopV6);
    V6 IPV6_MULTICAST_ALL = 29 on All: Int(0, 1) => Honoured(OptionName::MulticastAllV6);
    V6 IPV6_MULTICAST_IF on Datagram: ANY => Honoured(OptionName::MulticastNicV6);
    V6 IPV6_JOIN_GROUP = 20 on All: Field => Groups(GroupCall::Join, GroupForm::Ipv6);
    V6 IPV6_LEAVE_GROUP = 21 on All: Field => Groups(GroupCall::Leave, GroupForm::Ipv6);
    V6 MCAST_JOIN_GROUP = 42 on All: Field => Groups(GroupCall::Join, GroupForm::Any);
    V6 MCAST_LEAVE_GROUP = 45 on All: Field => Groups(GroupCall::Leave, GroupForm::Any);
    V6 MCAST_JOIN_SOURCE_GROUP = 46 on All: Field => Groups(GroupCall::JoinSource, GroupForm::Any);
    V6 MCAST_LEAVE_SOURCE_GROUP = 47 on All: Field => Groups(GroupCall::LeaveSource, GroupForm::Any);
    V6 MCAST_BLOCK_SOURCE = 43 on All: Field => Groups(GroupCall::Block, GroupForm::Any);
    V6 MCAST_UNBLOCK_SOURCE = 44 on All: Field => Groups(GroupCall::Unblock, GroupForm::Any);
    V6 MCAST_MSFILTER = 48 on All: Field => Groups(GroupCall::Filter, GroupForm::Any);

    UDPLITE UDPLITE_SEND_CSCOV = 10 on UdpLite: ANY => Honoured(OptionName::SendCoverage);
    UDPLITE UDPLITE_RECV_CSCOV = 11 on UdpLite: ANY => Honoured(OptionName::RecvCoverage);

    UDP UDP_CORK on Udp: Flag => Refused(Errno::ENOPROTOOPT);
    UDP UDP_SEGMENT on Udp: Int(0, 65535) => Refused(Errno::ENOPROTOOPT);
    UDP UDP_GRO on Udp: Flag => Refused(Errno::ENOPROTOOPT);
}
