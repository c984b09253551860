//! The table of options: one row each. A new option is a new row.
//!
//! `LEVEL NAME on SOCKETS: TYPE => TREATMENT, "note";` with `= NUMBER` after a name that the crate libc doesn't
//! have, and `least BYTES` after the sockets where the level's usual length is not the shortest.

use super::table::least;
use super::{Direction, Fact, FilterCall, GroupCall, GroupForm, On, Reads, Row, Treatment, Type};
use crate::Errno;
use crate::kind::OfKind;
use Fact::{
    Cookie, Error, MemoryInfo, NetnsCookie, PathMtu, PathMtuInfo, PeerCredentials, PeerName, TcpInfo,
};
use Treatment::{
    Asks, Device, Fact as Of, Forbidden, Groups, Honoured, Ignored, OfKind as Kind, OnlyNone, Priority, Rate,
    ReadOnly, Refused, StickyPacketInfo, Stored, Timeout, Timestamp, Timestamping, TransmitTime,
};
use Type::{Field, Flag, Int, OrDefault};
use libc::{
    IPPROTO_ICMPV6 as ICMP6, IPPROTO_IP as IP, IPPROTO_IPV6 as V6, IPPROTO_TCP as TCP, IPPROTO_UDP as UDP,
    IPPROTO_UDPLITE as UDPLITE, SOL_RAW as RAW, SOL_SOCKET as SOCKET,
};
use sockeye_stack::OptionName;

/// An `int` of any value.
const ANY: Type = Int(i32::MIN, i32::MAX);
/// An `int` that isn't negative.
const SIZE: Type = Int(0, i32::MAX);
const OFF: Treatment = Stored { default: 0 };
const ON: Treatment = Stored { default: 1 };
const READS_ZERO: Reads = Reads::Int(0);
const UNREADABLE: Reads = Reads::Errno(Errno::ENOPROTOOPT);

/// Refused, and can't be read.
const fn refused(errno: Errno) -> Treatment {
    Refused(errno, UNREADABLE)
}

/// No socket of the internet has it; neither set nor read.
const LOCAL_ONLY: Treatment = Refused(Errno::EOPNOTSUPP, Reads::Errno(Errno::EOPNOTSUPP));
/// Extension headers of what is sent need a capability.
const NO_EXTENSION: Treatment = Refused(Errno::EPERM, Reads::Nothing);

macro_rules! table {
    ($($level:ident $name:ident $(= $number:literal)? on $on:ident $(least $least:literal)?: $value:expr
        => $treatment:expr $(, $note:literal)?;)*) => {
        /// All options.
        pub const TABLE: &[Row] = &[$(Row {
            level: $level,
            name: table!(@number $name $($number)?),
            label: stringify!($name),
            on: On::$on,
            least: table!(@least $level $($least)?),
            value: $value,
            treatment: $treatment,
            note: concat!($($note)?),
        },)*];
    };
    (@number $name:ident) => { libc::$name };
    (@number $name:ident $number:literal) => { $number };
    (@least $level:ident) => { least($level) };
    (@least $level:ident $least:literal) => { $least };
}

table! {
    SOCKET SO_DEBUG on All: Flag => Forbidden(Errno::EACCES, READS_ZERO);
    SOCKET SO_REUSEADDR on All: Flag => Honoured(OptionName::ReuseAddr);
    SOCKET SO_TYPE on All: ANY => Kind(OfKind::Type);
    SOCKET SO_ERROR on All: ANY => Of(Error), "reading it takes the pending error";
    SOCKET SO_DONTROUTE on All: Flag => OFF, "a host has one link, and a router on it";
    SOCKET SO_BROADCAST on All: Flag => Honoured(OptionName::Broadcast);
    SOCKET SO_SNDBUF on All: ANY => Honoured(OptionName::SendBuffer), "doubled, within 4,608 and 425,984";
    SOCKET SO_RCVBUF on All: ANY => Honoured(OptionName::RecvBuffer), "doubled, within 2,304 and 425,984";
    SOCKET SO_SNDBUFFORCE on All: ANY => refused(Errno::EPERM);
    SOCKET SO_RCVBUFFORCE on All: ANY => refused(Errno::EPERM);
    SOCKET SO_KEEPALIVE on Stream: Flag => Honoured(OptionName::KeepAlive);
    SOCKET SO_KEEPALIVE on NotStream: Flag => OFF;
    SOCKET SO_OOBINLINE on Stream: Flag => Honoured(OptionName::OobInline);
    SOCKET SO_OOBINLINE on NotStream: Flag => OFF;
    SOCKET SO_NO_CHECK on All: Flag => Honoured(OptionName::NoCheck);
    SOCKET SO_PRIORITY on All: ANY => Priority, "links have one queue";
    SOCKET SO_LINGER on Stream least 8: Field => Honoured(OptionName::Linger);
    SOCKET SO_LINGER on NotStream least 8: Field => Treatment::Linger;
    SOCKET SO_BSDCOMPAT = 14 on All: ANY => Ignored(READS_ZERO);
    SOCKET SO_REUSEPORT on All: Flag => Honoured(OptionName::ReusePort);
    SOCKET SO_PASSCRED on All: ANY => LOCAL_ONLY;
    SOCKET SO_PEERCRED on All: Field => Of(PeerCredentials);
    SOCKET SO_RCVLOWAT on Stream: ANY => Honoured(OptionName::RecvLowWater);
    SOCKET SO_RCVLOWAT on NotStream: ANY => Treatment::LowWater;
    SOCKET SO_SNDLOWAT on All: ANY => ReadOnly(Reads::Int(1));
    SOCKET SO_RCVTIMEO on All least 16: Field => Timeout(Direction::Receive);
    SOCKET SO_SNDTIMEO on All least 16: Field => Timeout(Direction::Send);
    SOCKET SO_RCVTIMEO_NEW = 66 on All least 16: Field => Timeout(Direction::Receive);
    SOCKET SO_SNDTIMEO_NEW = 67 on All least 16: Field => Timeout(Direction::Send);
    SOCKET SO_BINDTODEVICE on All least 0: Field => Device;
    SOCKET SO_BINDTOIFINDEX on All: Int(0, i32::MAX) => Honoured(OptionName::BindToNic);
    SOCKET SO_PEERNAME = 28 on All: Field => Of(PeerName);
    SOCKET SO_TIMESTAMP on All: Flag => Timestamp, "one of the four at a time";
    SOCKET SO_TIMESTAMPNS on All: Flag => Timestamp;
    SOCKET SO_TIMESTAMP_NEW = 63 on All: Flag => Timestamp;
    SOCKET SO_TIMESTAMPNS_NEW = 64 on All: Flag => Timestamp;
    SOCKET SO_TIMESTAMPING on All: Field => Timestamping, "software times of what is received";
    SOCKET SO_TIMESTAMPING_NEW = 65 on All: Field => Timestamping;
    SOCKET SO_ACCEPTCONN on All: ANY => Honoured(OptionName::AcceptsConnections);
    SOCKET SO_PEERSEC = 31 on All: Field => refused(Errno::ENOPROTOOPT);
    SOCKET SO_PASSSEC = 34 on All: ANY => LOCAL_ONLY;
    SOCKET SO_PROTOCOL on All: ANY => Kind(OfKind::Protocol);
    SOCKET SO_DOMAIN on All: ANY => Kind(OfKind::Domain);
    SOCKET SO_MARK on All: ANY => Refused(Errno::EPERM, READS_ZERO);
    SOCKET SO_RCVMARK = 75 on All: Flag => Asks, "the mark is always 0";
    SOCKET SO_RCVPRIORITY = 82 on All: Flag => Asks, "the priority is always 0";
    SOCKET SO_ATTACH_FILTER on NotStream least 0: Field => Treatment::Filter(FilterCall::Attach), "classic BPF; streams have none";
    SOCKET SO_DETACH_FILTER on NotStream: ANY => Treatment::Filter(FilterCall::Detach);
    SOCKET SO_LOCK_FILTER on NotStream: Flag => Treatment::Filter(FilterCall::Lock);
    SOCKET SO_RXQ_OVFL on All: Flag => OFF;
    SOCKET SO_WIFI_STATUS = 41 on All: Flag => OFF;
    SOCKET SO_PEEK_OFF = 42 on All: ANY => Stored { default: -1 }, "acts on reads: set on the plug";
    SOCKET SO_NOFCS = 43 on All: Flag => OFF;
    SOCKET SO_SELECT_ERR_QUEUE on All: Flag => OFF;
    SOCKET SO_BUSY_POLL on All: SIZE => OFF, "nothing is polled";
    SOCKET SO_PREFER_BUSY_POLL = 69 on All: Flag => Forbidden(Errno::EPERM, READS_ZERO);
    SOCKET SO_BUSY_POLL_BUDGET = 70 on All: SIZE => Forbidden(Errno::EPERM, UNREADABLE);
    SOCKET SO_INCOMING_CPU = 49 on All: ANY => Stored { default: -1 };
    SOCKET SO_ATTACH_BPF = 50 on All: Field => refused(Errno::EINVAL), "no eBPF";
    SOCKET SO_ATTACH_REUSEPORT_CBPF = 51 on All: Field => refused(Errno::EINVAL);
    SOCKET SO_ATTACH_REUSEPORT_EBPF = 52 on All: Field => refused(Errno::EINVAL);
    SOCKET SO_DETACH_REUSEPORT_BPF = 68 on All: ANY => refused(Errno::EINVAL);
    SOCKET SO_DEVMEM_DONTNEED = 80 on Stream: Field => refused(Errno::EINVAL);
    SOCKET SO_DEVMEM_DONTNEED = 80 on NotStream: Field => refused(Errno::EBADF);
    SOCKET SO_CNX_ADVICE = 53 on All: ANY => Ignored(UNREADABLE), "routes are not cached";
    SOCKET SO_BPF_EXTENSIONS on All: ANY => ReadOnly(Reads::Int(64));
    SOCKET SO_MEMINFO = 55 on All: Field => Of(MemoryInfo);
    SOCKET SO_INCOMING_NAPI_ID = 56 on All: ANY => ReadOnly(READS_ZERO);
    SOCKET SO_COOKIE on All: Field => Of(Cookie);
    SOCKET SO_PEERGROUPS = 59 on All: Field => ReadOnly(Reads::Errno(Errno::ENODATA));
    SOCKET SO_MAX_PACING_RATE on Stream: Field => Honoured(OptionName::MaxPacingRate);
    SOCKET SO_MAX_PACING_RATE on NotStream: Field => Rate;
    SOCKET SO_ZEROCOPY on All: Int(0, 1) => Forbidden(Errno::EOPNOTSUPP, READS_ZERO), "so programs copy";
    SOCKET SO_TXTIME = 61 on All least 8: Field => TransmitTime, "links send at once";
    SOCKET SO_NETNS_COOKIE = 71 on All: Field => Of(NetnsCookie);
    SOCKET SO_BUF_LOCK = 72 on All: Int(0, 3) => OFF;
    SOCKET SO_RESERVE_MEM = 73 on All: SIZE => Refused(Errno::EOPNOTSUPP, READS_ZERO);
    SOCKET SO_TXREHASH = 74 on Stream: OrDefault(0, 1) => ON;
    SOCKET SO_TXREHASH = 74 on NotStream: ANY => LOCAL_ONLY;
    SOCKET SO_PASSPIDFD = 76 on All: ANY => LOCAL_ONLY;
    SOCKET SO_PEERPIDFD = 77 on All: ANY => ReadOnly(Reads::Errno(Errno::ENODATA));
    SOCKET SO_PASSRIGHTS = 83 on All: ANY => LOCAL_ONLY;

    TCP TCP_NODELAY on Stream: Flag => Honoured(OptionName::NoDelay);
    TCP TCP_MAXSEG on Stream: Int(0, 32767) => Honoured(OptionName::MaxSegment);
    TCP TCP_CORK on Stream: Flag => Honoured(OptionName::Cork);
    TCP TCP_KEEPIDLE on Stream: Int(1, 32767) => Honoured(OptionName::KeepIdle);
    TCP TCP_KEEPINTVL on Stream: Int(1, 32767) => Honoured(OptionName::KeepInterval);
    TCP TCP_KEEPCNT on Stream: Int(1, 127) => Honoured(OptionName::KeepCount);
    TCP TCP_SYNCNT on Stream: Int(1, 127) => Honoured(OptionName::SynCount);
    TCP TCP_LINGER2 on Stream: ANY => Honoured(OptionName::FinTimeout);
    TCP TCP_DEFER_ACCEPT on Stream: ANY => Honoured(OptionName::DeferAccept), "rounded up to retransmissions";
    TCP TCP_WINDOW_CLAMP on Stream: ANY => Honoured(OptionName::WindowClamp);
    TCP TCP_INFO on Stream: Field => Of(TcpInfo);
    TCP TCP_QUICKACK on Stream: ANY => Honoured(OptionName::QuickAck);
    TCP TCP_CONGESTION on Stream least 1: Field => Honoured(OptionName::Congestion);
    TCP TCP_MD5SIG = 14 on Stream: Field => refused(Errno::ENOPROTOOPT), "as a kernel built without it";
    TCP TCP_THIN_LINEAR_TIMEOUTS on Stream: Int(0, 1) => OFF;
    TCP TCP_THIN_DUPACK on Stream: Int(0, 1) => Ignored(READS_ZERO);
    TCP TCP_USER_TIMEOUT on Stream: SIZE => Honoured(OptionName::UserTimeout);
    TCP TCP_REPAIR = 19 on Stream: ANY => Refused(Errno::EPERM, READS_ZERO);
    TCP TCP_REPAIR_QUEUE = 20 on Stream: ANY => Refused(Errno::EPERM, Reads::Errno(Errno::EINVAL));
    TCP TCP_QUEUE_SEQ = 21 on Stream: ANY => Refused(Errno::EINVAL, Reads::Errno(Errno::EINVAL));
    TCP TCP_REPAIR_OPTIONS = 22 on Stream: Field => refused(Errno::EINVAL);
    TCP TCP_FASTOPEN on Stream: SIZE => Treatment::Backlog, "a SYN's data is not accepted early";
    TCP TCP_TIMESTAMP = 24 on Stream: ANY => Refused(Errno::EPERM, READS_ZERO);
    TCP TCP_NOTSENT_LOWAT on Stream: ANY => Honoured(OptionName::NotSentLowWater);
    TCP TCP_CC_INFO = 26 on Stream: Field => ReadOnly(Reads::Nothing);
    TCP TCP_SAVE_SYN = 27 on Stream: Int(0, 2) => OFF, "no SYN is kept: as where SYN cookies were sent";
    TCP TCP_SAVED_SYN = 28 on Stream: Field => ReadOnly(Reads::Nothing);
    TCP TCP_REPAIR_WINDOW = 29 on Stream: Field => Refused(Errno::EPERM, Reads::Errno(Errno::EINVAL));
    TCP TCP_FASTOPEN_CONNECT on Stream: Int(0, 1) => Forbidden(Errno::EOPNOTSUPP, READS_ZERO), "as where Fast Open is switched off";
    TCP TCP_ULP = 31 on Stream least 1: Field => Refused(Errno::ENOENT, Reads::Nothing), "no protocol above TCP, not even `tls`";
    TCP TCP_MD5SIG_EXT = 32 on Stream: Field => refused(Errno::ENOPROTOOPT);
    TCP TCP_FASTOPEN_KEY = 33 on Stream: Field => Refused(Errno::EINVAL, Reads::Nothing);
    TCP TCP_FASTOPEN_NO_COOKIE = 34 on Stream: Int(0, 1) => OFF;
    TCP TCP_ZEROCOPY_RECEIVE = 35 on Stream: Field => ReadOnly(Reads::Errno(Errno::EINVAL));
    TCP TCP_INQ = 36 on Stream: Int(0, 1) => Asks, "`TCP_CM_INQ`";
    TCP TCP_TX_DELAY = 37 on Stream: SIZE => Forbidden(Errno::ENOPROTOOPT, READS_ZERO);
    TCP TCP_AO_REPAIR = 42 on Stream: Field => Refused(Errno::EPERM, Reads::Errno(Errno::EPERM));
    TCP TCP_IS_MPTCP = 43 on Stream: ANY => ReadOnly(READS_ZERO);
    TCP TCP_RTO_MAX_MS = 44 on Stream: Int(1000, 120000) => Honoured(OptionName::MaxRto);
    TCP TCP_RTO_MIN_US = 45 on Stream: Int(4000, 200000) => Stored { default: 200_000 };
    TCP TCP_DELACK_MAX_US = 46 on Stream: Int(4000, 200000) => Stored { default: 200_000 };

    IP IP_TOS on All: ANY => Honoured(OptionName::Tos);
    IP IP_TTL on All least 1: OrDefault(1, 255) => Honoured(OptionName::Ttl);
    IP IP_OPTIONS on All: Field => Honoured(OptionName::IpOptions), "no operation, end of list, record route, router alert; others, also timestamps and source routes, are EINVAL; not inherited";
    IP IP_ROUTER_ALERT = 5 on All: ANY => Refused(Errno::EINVAL, READS_ZERO);
    IP IP_RECVOPTS on All: Flag => OFF, "packets with options reach no program";
    IP IP_RETOPTS on All: Flag => OFF;
    IP IP_PKTINFO on All: Flag => Asks;
    IP IP_PKTOPTIONS = 9 on Stream: Field => ReadOnly(Reads::Nothing);
    IP IP_MTU_DISCOVER on All: Int(0, 5) => Honoured(OptionName::MtuDiscover);
    IP IP_RECVERR on All: Flag => Honoured(OptionName::RecvErr);
    IP IP_RECVTTL on All: Flag => Asks;
    IP IP_RECVTOS on All: Flag => Asks;
    IP IP_MTU on All: ANY => Of(PathMtu), "ENOTCONN without a peer";
    IP IP_FREEBIND on All least 1: Flag => Honoured(OptionName::FreeBind);
    IP IP_IPSEC_POLICY = 16 on All: Field => refused(Errno::EPERM);
    IP IP_XFRM_POLICY = 17 on All: Field => refused(Errno::EPERM);
    IP IP_PASSSEC = 18 on All: Flag => OFF;
    IP IP_TRANSPARENT on All least 1: Flag => Forbidden(Errno::EPERM, READS_ZERO);
    IP IP_RECVORIGDSTADDR = 20 on All: Flag => Asks;
    IP IP_MINTTL on All least 1: Int(0, 255) => Honoured(OptionName::MinTtl), "of TCP, as in Linux";
    IP IP_NODEFRAG = 22 on All: Flag => ReadOnly(READS_ZERO);
    IP IP_CHECKSUM = 23 on All: Flag => OFF;
    IP IP_BIND_ADDRESS_NO_PORT on All: Flag => OFF;
    IP IP_RECVFRAGSIZE = 25 on NotStream: Flag => OFF;
    IP IP_RECVFRAGSIZE = 25 on Stream: ANY => Refused(Errno::EINVAL, READS_ZERO);
    IP IP_RECVERR_RFC4884 = 26 on All: Int(0, 1) => OFF;
    IP IP_UNICAST_IF = 50 on All least 4: Field => Honoured(OptionName::UnicastNic), "of datagrams, as in Linux";
    IP IP_LOCAL_PORT_RANGE = 51 on All least 4: ANY => Honoured(OptionName::LocalPorts);
    IP IP_PROTOCOL = 52 on All: ANY => Of(Fact::Number), "the local port, as in Linux";
    IP IP_MULTICAST_TTL on All least 1: OrDefault(0, 255) => Honoured(OptionName::MulticastTtl);
    IP IP_MULTICAST_LOOP on All least 1: Flag => Honoured(OptionName::MulticastLoop);
    IP IP_MULTICAST_ALL on All least 1: Int(0, 1) => Honoured(OptionName::MulticastAll);
    IP IP_MULTICAST_IF on All: Field => Honoured(OptionName::MulticastNic);
    IP IP_ADD_MEMBERSHIP on All least 0: Field => Groups(GroupCall::Join, GroupForm::Ip);
    IP IP_DROP_MEMBERSHIP on All least 0: Field => Groups(GroupCall::Leave, GroupForm::Ip);
    IP IP_ADD_SOURCE_MEMBERSHIP = 39 on All least 0: Field => Groups(GroupCall::JoinSource, GroupForm::Ip);
    IP IP_DROP_SOURCE_MEMBERSHIP = 40 on All least 0: Field => Groups(GroupCall::LeaveSource, GroupForm::Ip);
    IP IP_BLOCK_SOURCE = 38 on All least 0: Field => Groups(GroupCall::Block, GroupForm::Ip);
    IP IP_UNBLOCK_SOURCE = 37 on All least 0: Field => Groups(GroupCall::Unblock, GroupForm::Ip);
    IP IP_MSFILTER = 41 on All least 0: Field => Groups(GroupCall::Filter, GroupForm::Ip);
    IP MCAST_JOIN_GROUP = 42 on All least 0: Field => Groups(GroupCall::Join, GroupForm::Any);
    IP MCAST_LEAVE_GROUP = 45 on All least 0: Field => Groups(GroupCall::Leave, GroupForm::Any);
    IP MCAST_JOIN_SOURCE_GROUP = 46 on All least 0: Field => Groups(GroupCall::JoinSource, GroupForm::Any);
    IP MCAST_LEAVE_SOURCE_GROUP = 47 on All least 0: Field => Groups(GroupCall::LeaveSource, GroupForm::Any);
    IP MCAST_BLOCK_SOURCE = 43 on All least 0: Field => Groups(GroupCall::Block, GroupForm::Any);
    IP MCAST_UNBLOCK_SOURCE = 44 on All least 0: Field => Groups(GroupCall::Unblock, GroupForm::Any);
    IP MCAST_MSFILTER = 48 on All least 0: Field => Groups(GroupCall::Filter, GroupForm::Any);
    IP SO_ORIGINAL_DST = 80 on Stream: Field => ReadOnly(Reads::Errno(Errno::ENOENT)), "nothing is redirected";

    V6 IPV6_ADDRFORM = 1 on All: Int(2, 2) => Refused(Errno::ENOTCONN, Reads::Errno(Errno::ENOTCONN));
    V6 IPV6_2292PKTINFO = 2 on All: Flag => Asks;
    V6 IPV6_2292HOPOPTS = 3 on All: Flag => OFF;
    V6 IPV6_2292DSTOPTS = 4 on All: Flag => OFF;
    V6 IPV6_2292RTHDR = 5 on All: Flag => OFF;
    V6 IPV6_2292PKTOPTIONS = 6 on Stream least 0: Field => Ignored(Reads::Nothing);
    V6 IPV6_2292PKTOPTIONS = 6 on NotStream least 0: Field => Ignored(UNREADABLE);
    V6 IPV6_2292HOPLIMIT = 8 on All: Flag => Asks;
    V6 IPV6_FLOWINFO = 11 on All: Flag => OFF;
    V6 IPV6_UNICAST_HOPS on All: OrDefault(0, 255) => Honoured(OptionName::HopLimit);
    V6 IPV6_ROUTER_ALERT = 22 on All: ANY => Refused(Errno::ENOPROTOOPT, READS_ZERO);
    V6 IPV6_MTU_DISCOVER on All: Int(0, 5) => Honoured(OptionName::MtuDiscoverV6);
    V6 IPV6_MTU on All: ANY => Treatment::Mtu, "reads the MTU towards the peer; ENOTCONN without one";
    V6 IPV6_RECVERR on All: Flag => Honoured(OptionName::RecvErrV6);
    V6 IPV6_V6ONLY on All: Flag => Honoured(OptionName::V6Only), "EINVAL once bound";
    V6 IPV6_JOIN_ANYCAST = 27 on All least 20: Field => refused(Errno::EPERM);
    V6 IPV6_LEAVE_ANYCAST = 28 on All least 20: Field => refused(Errno::ENOENT);
    V6 IPV6_ROUTER_ALERT_ISOLATE = 30 on All: Flag => OFF;
    V6 IPV6_RECVERR_RFC4884 = 31 on All: Int(0, 1) => OFF;
    V6 IPV6_FLOWLABEL_MGR = 32 on All least 32: Field => Refused(Errno::EPERM, Reads::Errno(Errno::EINVAL));
    V6 IPV6_FLOWINFO_SEND = 33 on All: Flag => OFF;
    V6 IPV6_IPSEC_POLICY = 34 on All least 0: Field => refused(Errno::EPERM);
    V6 IPV6_XFRM_POLICY = 35 on All least 0: Field => refused(Errno::EPERM);
    V6 IPV6_RECVPKTINFO on All: Flag => Asks;
    V6 IPV6_PKTINFO = 50 on All least 20: Field => StickyPacketInfo;
    V6 IPV6_RECVHOPLIMIT on All: Flag => Asks;
    V6 IPV6_RECVHOPOPTS = 53 on All: Flag => OFF;
    V6 IPV6_HOPOPTS = 54 on All least 0: Field => NO_EXTENSION;
    V6 IPV6_RTHDRDSTOPTS = 55 on All least 0: Field => NO_EXTENSION;
    V6 IPV6_RECVRTHDR = 56 on All: Flag => OFF;
    V6 IPV6_RTHDR = 57 on All least 0: Field => OnlyNone(Errno::EINVAL);
    V6 IPV6_RECVDSTOPTS = 58 on All: Flag => OFF;
    V6 IPV6_DSTOPTS = 59 on All least 0: Field => NO_EXTENSION;
    V6 IPV6_RECVPATHMTU = 60 on All: Flag => OFF;
    V6 IPV6_PATHMTU = 61 on All: Field => Of(PathMtuInfo), "ENOTCONN without a peer";
    V6 IPV6_DONTFRAG on All least 0: Flag => Honoured(OptionName::DontFragment);
    V6 IPV6_RECVTCLASS on All: Flag => Asks;
    V6 IPV6_TCLASS on All: OrDefault(0, 255) => Honoured(OptionName::TrafficClass);
    V6 IPV6_AUTOFLOWLABEL = 70 on All least 0: Flag => ON, "every flow has a label";
    V6 IPV6_ADDR_PREFERENCES = 72 on All: ANY => Treatment::AddressPreferences, "hosts have one kind of address";
    V6 IPV6_MINHOPCOUNT = 73 on All: Int(0, 255) => Honoured(OptionName::MinHops);
    V6 IPV6_RECVORIGDSTADDR = 74 on All: Flag => Asks;
    V6 IPV6_TRANSPARENT = 75 on All: Flag => Forbidden(Errno::EPERM, READS_ZERO);
    V6 IPV6_UNICAST_IF = 76 on All: Field => Honoured(OptionName::UnicastNicV6);
    V6 IPV6_RECVFRAGSIZE = 77 on All least 0: Flag => OFF;
    V6 IPV6_FREEBIND on All: Flag => Honoured(OptionName::FreeBind);
    V6 IPV6_MULTICAST_HOPS on Datagram: OrDefault(0, 255) => Honoured(OptionName::MulticastHops);
    V6 IPV6_MULTICAST_HOPS on Stream least 0: ANY => ReadOnly(Reads::Int(1));
    V6 IPV6_MULTICAST_IF on Stream least 0: ANY => ReadOnly(READS_ZERO);
    V6 IPV6_MULTICAST_LOOP on All: Int(0, 1) => Honoured(OptionName::MulticastLoopV6);
    V6 IPV6_MULTICAST_ALL = 29 on All: Flag => Honoured(OptionName::MulticastAllV6);
    V6 IPV6_MULTICAST_IF on Datagram: ANY => Honoured(OptionName::MulticastNicV6);
    V6 IPV6_JOIN_GROUP = 20 on All least 20: Field => Groups(GroupCall::Join, GroupForm::Ipv6);
    V6 IPV6_LEAVE_GROUP = 21 on All least 20: Field => Groups(GroupCall::Leave, GroupForm::Ipv6);
    V6 MCAST_JOIN_GROUP = 42 on All least 0: Field => Groups(GroupCall::Join, GroupForm::Any);
    V6 MCAST_LEAVE_GROUP = 45 on All least 0: Field => Groups(GroupCall::Leave, GroupForm::Any);
    V6 MCAST_JOIN_SOURCE_GROUP = 46 on All least 0: Field => Groups(GroupCall::JoinSource, GroupForm::Any);
    V6 MCAST_LEAVE_SOURCE_GROUP = 47 on All least 0: Field => Groups(GroupCall::LeaveSource, GroupForm::Any);
    V6 MCAST_BLOCK_SOURCE = 43 on All least 0: Field => Groups(GroupCall::Block, GroupForm::Any);
    V6 MCAST_UNBLOCK_SOURCE = 44 on All least 0: Field => Groups(GroupCall::Unblock, GroupForm::Any);
    V6 MCAST_MSFILTER = 48 on All least 0: Field => Groups(GroupCall::Filter, GroupForm::Any);
    V6 IP6T_SO_ORIGINAL_DST = 80 on Stream: Field => ReadOnly(Reads::Errno(Errno::ENOENT));

    IP IP_HDRINCL on Raw: Flag => Honoured(OptionName::HeaderIncluded);
    V6 IPV6_HDRINCL = 36 on Raw: Flag => Honoured(OptionName::HeaderIncluded);
    V6 IPV6_CHECKSUM = 7 on Raw: ANY => Honoured(OptionName::ChecksumOffset);
    RAW ICMP_FILTER = 1 on Raw least 0: Field => Honoured(OptionName::IcmpFilter);
    RAW IPV6_HDRINCL = 36 on Raw: Flag => Honoured(OptionName::HeaderIncluded);
    RAW IPV6_CHECKSUM = 7 on Raw: ANY => Honoured(OptionName::ChecksumOffset);
    ICMP6 ICMP6_FILTER = 1 on Raw least 0: Field => Honoured(OptionName::Icmp6Filter);

    UDPLITE UDP_CORK on UdpLite: Flag => Honoured(OptionName::UdpCork);
    UDPLITE UDPLITE_SEND_CSCOV = 10 on UdpLite: ANY => Honoured(OptionName::SendCoverage);
    UDPLITE UDPLITE_RECV_CSCOV = 11 on UdpLite: ANY => Honoured(OptionName::RecvCoverage);

    UDP UDP_CORK on Udp: Flag => Honoured(OptionName::UdpCork);
    UDP UDPLITE_SEND_CSCOV = 10 on Udp: ANY => ReadOnly(READS_ZERO);
    UDP UDPLITE_RECV_CSCOV = 11 on Udp: ANY => ReadOnly(READS_ZERO);
    UDP UDP_ENCAP = 100 on Udp: ANY => Forbidden(Errno::ENOPROTOOPT, READS_ZERO), "datagrams are not decapsulated";
    UDP UDP_NO_CHECK6_TX = 101 on Udp: Flag => Honoured(OptionName::NoCheck6Tx);
    UDP UDP_NO_CHECK6_RX = 102 on Udp: Flag => Honoured(OptionName::NoCheck6Rx);
    UDP UDP_SEGMENT on Udp: Int(0, 65535) => Honoured(OptionName::UdpSegment);
    UDP UDP_GRO on Udp: Flag => Honoured(OptionName::UdpGro);
}
