//! Socket options: the ones every socket has, and those of TCP.

pub(crate) mod shared;
mod tcp;
mod version;

use crate::Stack;
use crate::address::{is_unspecified, is_v4};
use crate::config::{CongestionControl, TcpConfig};
use crate::demux::Hold;
use crate::error::{Error, Result};
use crate::event::Readiness;
use crate::ip::sent_options::compile;
use crate::socket::discover::MtuDiscover;
use crate::socket::{Domain, Kind, Socket, SocketId};
use alloc::boxed::Box;
use core::net::Ipv4Addr;
use core::num::NonZeroU16;
use core::time::Duration;
use sockeye_packet::{Instant, NicId};
use sockeye_wire::Ipv4Options;
pub(crate) use version::VersionSettings;

/// An option with its value, as setsockopt(2) takes and getsockopt(2) gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketOption {
    /// `SO_REUSEADDR`.
    ReuseAddr(bool),
    /// `SO_REUSEPORT`.
    ReusePort(bool),
    /// `SO_KEEPALIVE`.
    KeepAlive(bool),
    /// `SO_LINGER`: how long close waits; zero means reset.
    Linger(Option<Duration>),
    /// `SO_BROADCAST`.
    Broadcast(bool),
    /// `SO_OOBINLINE`.
    OobInline(bool),
    /// `SO_RCVBUF` in bytes, as getsockopt gives it (the doubling is the API's).
    RecvBuffer(usize),
    /// `SO_SNDBUF` in bytes, as getsockopt gives it.
    SendBuffer(usize),
    /// `SO_RCVLOWAT` in bytes.
    RecvLowWater(u32),
    /// `SO_BINDTODEVICE`.
    BindToNic(Option<NicId>),
    /// `SO_ACCEPTCONN`; read only.
    AcceptsConnections(bool),
    /// `IP_TTL`: of packets over IPv4, also those of an IPv6 socket; none is the stack's default.
    Ttl(Option<u8>),
    /// `IPV6_UNICAST_HOPS`: the same over IPv6.
    HopLimit(Option<u8>),
    /// `IP_TOS`: the type of service over IPv4, also of an IPv6 socket's packets.
    Tos(u8),
    /// `IPV6_TCLASS`: the traffic class over IPv6.
    TrafficClass(u8),
    /// `IPV6_V6ONLY`.
    V6Only(bool),
    /// `IP_HDRINCL`, `IPV6_HDRINCL`: a raw socket's program writes IP headers of its own.
    HeaderIncluded(bool),
    /// `ICMP_FILTER`: the ICMP types up to 31 that a raw socket doesn't want, a bit each.
    IcmpFilter(u32),
    /// `ICMP6_FILTER`: the `ICMPv6` types that a raw socket doesn't want, a bit each, the lowest first.
    Icmp6Filter([u32; 8]),
    /// `IPV6_CHECKSUM`: where the checksum of a raw socket's packets is, in bytes from what follows the IP header;
    /// none when they have none.
    ChecksumOffset(Option<u16>),
    /// `IP_MTU_DISCOVER`, for IPv4.
    MtuDiscover(MtuDiscover),
    /// `IPV6_MTU_DISCOVER`, for IPv6.
    MtuDiscoverV6(MtuDiscover),
    /// `SO_NO_CHECK`: UDP over IPv4 is sent without checksums.
    NoCheck(bool),
    /// `UDP_NO_CHECK6_TX`: UDP over IPv6 is sent without checksums.
    NoCheck6Tx(bool),
    /// `UDP_NO_CHECK6_RX`: UDP over IPv6 is taken without checksums.
    NoCheck6Rx(bool),
    /// `UDP_SEGMENT`: bytes of each datagram that a message is cut into; 0 for one whole.
    UdpSegment(u16),
    /// `UDP_CORK`: messages are gathered into one datagram, which is sent when this is switched off.
    UdpCork(bool),
    /// `UDP_GRO`: datagrams that follow each other may be read as one, with
    /// [`segment_size`](crate::Datagram::segment_size).
    UdpGro(bool),
    /// `IP_RECVERR`: errors of IPv4 packets are queued for [`recv_error`](crate::Stack::recv_error). Switching it
    /// off empties the queue.
    RecvErr(bool),
    /// `IPV6_RECVERR`: the same for IPv6.
    RecvErrV6(bool),
    /// `IP_MULTICAST_TTL`; none is 1.
    MulticastTtl(Option<u8>),
    /// `IPV6_MULTICAST_HOPS`; none is 1.
    MulticastHops(Option<u8>),
    /// `IP_MULTICAST_LOOP`: this host hears what the socket sends to groups that the host is in.
    MulticastLoop(bool),
    /// `IPV6_MULTICAST_LOOP`.
    MulticastLoopV6(bool),
    /// `IP_MULTICAST_IF`: where datagrams to groups leave.
    MulticastNic {
        /// The interface, if its number says it.
        nic: Option<NicId>,
        /// The interface by its address, and where the datagrams come from; unspecified for neither.
        address: Ipv4Addr,
    },
    /// `IPV6_MULTICAST_IF`.
    MulticastNicV6(Option<NicId>),
    /// `IP_MULTICAST_ALL`: the socket hears also groups that only other sockets of its port are in.
    MulticastAll(bool),
    /// `IPV6_MULTICAST_ALL`.
    MulticastAllV6(bool),
    /// `UDPLITE_SEND_CSCOV`: how many bytes of a datagram its checksum covers; 0 for all (RFC 3828).
    SendCoverage(u16),
    /// `UDPLITE_RECV_CSCOV`: the least that is to be covered of a datagram that is received; 0 for all.
    RecvCoverage(u16),
    /// `IP_MINTTL`: segments over IPv4 that have come further than this leaves are dropped (RFC 5082).
    MinTtl(u8),
    /// `IPV6_MINHOPCOUNT`: the same over IPv6.
    MinHops(u8),
    /// `IP_UNICAST_IF`: where datagrams to single hosts over IPv4 leave, when the message and the socket don't say it.
    UnicastNic(Option<NicId>),
    /// `IPV6_UNICAST_IF`: the same over IPv6.
    UnicastNicV6(Option<NicId>),
    /// `IP_OPTIONS`: what the header of every IPv4 packet has (RFC 791 §3.1): no operation, end of list, record route
    /// and router alert, anything else is [`Error::InvalidArgument`]. Whom a listener accepts starts without.
    IpOptions(Ipv4Options),
    /// `IP_FREEBIND` or `IPV6_FREEBIND`: an address that isn't the host's can be bound to.
    FreeBind(bool),
    /// `IP_LOCAL_PORT_RANGE`: the first and the last port that is picked, within the host's; 0 for its bounds.
    LocalPorts(u16, u16),
    /// `IPV6_DONTFRAG`: no fragments of IPv6; longer datagrams are refused with EMSGSIZE.
    DontFragment(bool),
    /// `IPV6_MTU`: datagrams over IPv6 are cut to this many bytes, at least 1,280; none for the path's MTU.
    Mtu(Option<NonZeroU16>),
    /// `TCP_NODELAY`.
    NoDelay(bool),
    /// `TCP_CORK`.
    Cork(bool),
    /// `TCP_QUICKACK`.
    QuickAck(bool),
    /// `TCP_MAXSEG`; read, it is the segment size in use.
    MaxSegment(u16),
    /// `TCP_USER_TIMEOUT`; zero means the default.
    UserTimeout(Duration),
    /// `TCP_KEEPIDLE`.
    KeepIdle(Duration),
    /// `TCP_KEEPINTVL`.
    KeepInterval(Duration),
    /// `TCP_KEEPCNT`.
    KeepCount(u32),
    /// `TCP_SYNCNT`.
    SynCount(u8),
    /// `TCP_RTO_MAX_MS`: the longest retransmission timeout, 1 to 120 seconds.
    MaxRto(Duration),
    /// `TCP_DEFER_ACCEPT`.
    DeferAccept(Duration),
    /// `TCP_LINGER2`: how long an orphan waits in FIN-WAIT-2; none means not at all.
    FinTimeout(Option<Duration>),
    /// `TCP_WINDOW_CLAMP` in bytes; zero means no limit.
    WindowClamp(u32),
    /// `TCP_NOTSENT_LOWAT` in bytes; zero means the stack's.
    NotSentLowWater(u32),
    /// `SO_MAX_PACING_RATE` in bytes per second; [`u64::MAX`] means no limit, any other that it is paced.
    MaxPacingRate(u64),
    /// `TCP_CONGESTION`.
    Congestion(CongestionControl),
}

/// An option without its value: what to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is documented at the SocketOption of its name")]
pub enum OptionName {
    ReuseAddr,
    ReusePort,
    KeepAlive,
    Linger,
    Broadcast,
    OobInline,
    RecvBuffer,
    SendBuffer,
    RecvLowWater,
    BindToNic,
    AcceptsConnections,
    Ttl,
    HopLimit,
    Tos,
    TrafficClass,
    V6Only,
    HeaderIncluded,
    IcmpFilter,
    Icmp6Filter,
    ChecksumOffset,
    MtuDiscover,
    MtuDiscoverV6,
    MinTtl,
    IpOptions,
    MinHops,
    UnicastNic,
    UnicastNicV6,
    FreeBind,
    LocalPorts,
    DontFragment,
    Mtu,
    NoCheck,
    NoCheck6Tx,
    NoCheck6Rx,
    UdpSegment,
    UdpCork,
    UdpGro,
    RecvErr,
    RecvErrV6,
    MulticastTtl,
    MulticastHops,
    MulticastLoop,
    MulticastLoopV6,
    MulticastNic,
    MulticastNicV6,
    MulticastAll,
    MulticastAllV6,
    SendCoverage,
    RecvCoverage,
    NoDelay,
    Cork,
    QuickAck,
    MaxSegment,
    UserTimeout,
    KeepIdle,
    KeepInterval,
    KeepCount,
    SynCount,
    MaxRto,
    DeferAccept,
    FinTimeout,
    WindowClamp,
    NotSentLowWater,
    MaxPacingRate,
    Congestion,
}

/// The options of every socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IpSettings {
    pub(crate) reuse_addr: bool,
    pub(crate) reuse_port: bool,
    pub(crate) v6_only: bool,
    pub(crate) broadcast: bool,
    pub(crate) no_check: bool,
    pub(crate) recv_err: bool,
    pub(crate) recv_err_v6: bool,
    pub(crate) v4: VersionSettings,
    pub(crate) v6: VersionSettings,
    pub(crate) nic: Option<NicId>,
    pub(crate) dont_fragment: bool,
    pub(crate) free_bind: bool,
    pub(crate) mtu: Option<NonZeroU16>,
    pub(crate) local_ports: (u16, u16),
}

/// The options of a stream socket that its connection acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpSettings {
    /// `TCP_NODELAY`.
    pub no_delay: bool,
    /// `TCP_CORK`.
    pub cork: bool,
    /// `TCP_QUICKACK`.
    pub quick_ack: bool,
    /// `SO_KEEPALIVE`.
    pub keep_alive: bool,
    /// `SO_OOBINLINE`.
    pub oob_inline: bool,
    /// `TCP_SYNCNT`, when set: of a listener, how often a SYN-ACK is sent again.
    pub syn_retries: Option<u8>,
    /// `TCP_RTO_MAX_MS`, when set.
    pub max_rto: Option<Duration>,
    /// `TCP_CONGESTION`.
    pub congestion: CongestionControl,
    /// `TCP_MAXSEG`, when set.
    pub max_segment: Option<u16>,
    /// `TCP_KEEPCNT`.
    pub keep_count: u32,
    /// `TCP_KEEPIDLE`.
    pub keep_idle: Duration,
    /// `TCP_KEEPINTVL`.
    pub keep_interval: Duration,
    /// `SO_LINGER`: how long close waits; zero means reset.
    pub linger: Option<Duration>,
    /// `TCP_USER_TIMEOUT`; zero means the default.
    pub user_timeout: Duration,
    /// `TCP_DEFER_ACCEPT`: how long a listener waits for data before it offers a connection.
    pub defer_accept: Duration,
    /// `TCP_LINGER2`; none means that an orphan doesn't wait in FIN-WAIT-2 at all.
    pub fin_timeout: Option<Duration>,
    /// `SO_RCVBUF`, when set: the buffer then doesn't grow by itself.
    pub recv_buffer: Option<u32>,
    /// `SO_SNDBUF`, when set: the buffer then doesn't grow by itself.
    pub send_buffer: Option<u32>,
    /// `SO_RCVLOWAT`.
    pub recv_low_water: u32,
    /// `TCP_WINDOW_CLAMP`; zero means no limit.
    pub window_clamp: u32,
    /// `TCP_NOTSENT_LOWAT`; zero means the stack's.
    pub not_sent_low_water: u32,
    /// `SO_MAX_PACING_RATE` in bytes per second; [`u64::MAX`] means no limit.
    pub max_pacing_rate: u64,
    /// `IP_OPTIONS`.
    pub ip_options: Option<Box<Ipv4Options>>,
}

impl TcpSettings {
    /// What a new socket starts with.
    pub fn new(config: &TcpConfig) -> TcpSettings {
        TcpSettings {
            no_delay: false,
            cork: false,
            quick_ack: true,
            keep_alive: false,
            oob_inline: false,
            syn_retries: None,
            max_rto: None,
            congestion: config.congestion,
            max_segment: None,
            keep_count: config.keep_count,
            keep_idle: config.keep_idle,
            keep_interval: config.keep_interval,
            linger: None,
            user_timeout: Duration::ZERO,
            defer_accept: Duration::ZERO,
            fin_timeout: Some(config.fin_timeout),
            recv_buffer: None,
            send_buffer: None,
            recv_low_water: 1,
            window_clamp: 0,
            not_sent_low_water: 0,
            max_pacing_rate: u64::MAX,
            ip_options: None,
        }
    }
}

/// RFC 8200 §5.
const LEAST_V6_MTU: u16 = 1280;

impl Stack {
    pub(crate) fn set_socket_option(
        &mut self,
        now: Instant,
        id: SocketId,
        option: SocketOption,
    ) -> Result<()> {
        match option {
            SocketOption::ReuseAddr(_) | SocketOption::ReusePort(_) => self.set_sharing(id, option),
            SocketOption::Broadcast(on) => self.change(id, |settings| settings.broadcast = on),
            SocketOption::BindToNic(nic) => {
                if nic.is_some_and(|nic| self.nic(nic).is_none()) {
                    return Err(Error::NoDevice);
                }
                self.change(id, |settings| settings.nic = nic)
            }
            SocketOption::AcceptsConnections(_) => Err(Error::InvalidArgument),
            SocketOption::Ttl(_)
            | SocketOption::Tos(_)
            | SocketOption::MtuDiscover(_)
            | SocketOption::MinTtl(_)
            | SocketOption::HopLimit(_)
            | SocketOption::TrafficClass(_)
            | SocketOption::MtuDiscoverV6(_)
            | SocketOption::MinHops(_)
            | SocketOption::UnicastNic(_)
            | SocketOption::UnicastNicV6(_) => self.set_version_option(id, option),
            SocketOption::FreeBind(on) => self.change(id, |settings| settings.free_bind = on),
            SocketOption::LocalPorts(first, last) if first > last && last != 0 => Err(Error::InvalidArgument),
            SocketOption::LocalPorts(first, last) => {
                self.change(id, |settings| settings.local_ports = (first, last))
            }
            SocketOption::DontFragment(on) => self.change(id, |settings| settings.dont_fragment = on),
            SocketOption::Mtu(Some(mtu)) if mtu.get() < LEAST_V6_MTU => Err(Error::InvalidArgument),
            SocketOption::Mtu(mtu) => self.change(id, |settings| settings.mtu = mtu),
            SocketOption::NoCheck(on) => self.change(id, |settings| settings.no_check = on),
            SocketOption::UdpCork(on) => self.set_cork(id, on),
            SocketOption::UdpSegment(_)
            | SocketOption::UdpGro(_)
            | SocketOption::NoCheck6Tx(_)
            | SocketOption::NoCheck6Rx(_) => self.set_udp_option(id, option),
            SocketOption::RecvErr(on) => self.set_reporting(id, true, on),
            SocketOption::RecvErrV6(on) => self.set_reporting(id, false, on),
            SocketOption::SendCoverage(_) | SocketOption::RecvCoverage(_) => self.set_coverage(id, option),
            SocketOption::V6Only(on) => {
                let socket = self.socket_ref(id)?;
                if socket.domain != Domain::Inet6 {
                    return Err(Error::ProtocolOption);
                }
                // As the kernel: a raw socket has its number for life.
                if self.is_named(socket) || matches!(socket.kind, Kind::Raw(_)) {
                    return Err(Error::InvalidArgument);
                }
                self.change(id, |settings| settings.v6_only = on)
            }
            SocketOption::MulticastTtl(_)
            | SocketOption::MulticastHops(_)
            | SocketOption::MulticastLoop(_)
            | SocketOption::MulticastLoopV6(_)
            | SocketOption::MulticastNic { .. }
            | SocketOption::MulticastNicV6(_)
            | SocketOption::MulticastAll(_)
            | SocketOption::MulticastAllV6(_) => self.set_group_option(id, option),
            _ => self.set_stream_option(id, option),
        }?;
        self.settings_changed(now, id, option);
        self.touch(id, Readiness::EMPTY);
        Ok(())
    }

    fn change(&mut self, id: SocketId, set: impl FnOnce(&mut IpSettings)) -> Result<()> {
        set(&mut self.socket_mut(id)?.settings);
        Ok(())
    }

    /// `SO_REUSEADDR` and `SO_REUSEPORT` count from now on also for a socket that is bound already.
    fn set_sharing(&mut self, id: SocketId, option: SocketOption) -> Result<()> {
        let Stack { sockets, connections, io } = self;
        let socket = sockets.get_mut(id.0).ok_or(Error::BadSocket)?;
        match option {
            SocketOption::ReuseAddr(on) => socket.settings.reuse_addr = on,
            SocketOption::ReusePort(on) => socket.settings.reuse_port = on,
            _ => {}
        }
        if let Some((binding, hold)) = socket.held() {
            let changed = Hold { listening: hold.listening, named: hold.named, ..socket.hold(hold.explicit) };
            io.demux.change(binding, hold, changed);
            if let Some(bound) = socket.bound.as_deref_mut() {
                bound.1 = changed;
            }
        }
        if let Kind::Connection(key) = socket.kind
            && let Some(tcb) = connections.get_mut(key)
            && let Some(hold) = tcb.hold
        {
            let Hold { named, yields, .. } = hold;
            let changed = Hold { named, yields, ..socket.hold(hold.explicit) };
            io.demux.change(tcb.binding(), hold, changed);
            tcb.hold = Some(changed);
        }
        Ok(())
    }

    /// Options that a stream's connection acts on. Datagram sockets know the first few, too.
    fn set_stream_option(&mut self, id: SocketId, option: SocketOption) -> Result<()> {
        let (recv, send) = (self.io.config.tcp.recv_buffer, self.io.config.tcp.send_buffer);
        let defaults = self.io.tcp_defaults.clone();
        let socket = self.sockets.get_mut(id.0).ok_or(Error::BadSocket)?;
        let is_packet = matches!(socket.kind, Kind::Packet(_));
        if let Some(queues) = socket.kind.queues_mut() {
            match option {
                SocketOption::IpOptions(_) if is_packet => return Err(Error::ProtocolOption),
                SocketOption::IpOptions(options) => queues.ip_options = compile(&options)?,
                SocketOption::RecvBuffer(bytes) => queues.recv_limit = bytes.min(recv.max).max(LEAST_BUFFER),
                SocketOption::SendBuffer(bytes) => {
                    queues.send_limit = bytes.min(send.max).max(2 * LEAST_BUFFER);
                }
                // Kept by the kernel, of no effect on datagrams.
                SocketOption::KeepAlive(_)
                | SocketOption::Linger(_)
                | SocketOption::OobInline(_)
                | SocketOption::RecvLowWater(_) => {}
                _ => return self.set_raw_option(id, option),
            }
            return Ok(());
        }
        let settings = match &mut socket.kind {
            Kind::Udp(_) | Kind::Raw(_) | Kind::Packet(_) => return Err(Error::ProtocolOption),
            Kind::Idle(settings) => settings,
            Kind::Listener(listener) => &mut listener.settings,
            Kind::Connection(key) => &mut self.connections.get_mut(*key).ok_or(Error::BadSocket)?.settings,
        };
        let mut changed = TcpSettings::clone(settings);
        changed.set(option, &defaults, recv.min..=recv.max, send.min..=send.max)?;
        if changed != **settings {
            *settings = self.io.shared_settings.share(changed);
        }
        Ok(())
    }

    pub(crate) fn socket_option(&self, id: SocketId, name: OptionName) -> Result<SocketOption> {
        let socket = self.socket_ref(id)?;
        if let Some(option) = self.group_option(id, name) {
            return Ok(option);
        }
        if let Some(option) = socket.version_option(name, self.io.config.default_ttl) {
            return option;
        }
        let settings = &socket.settings;
        Ok(match name {
            OptionName::ReuseAddr => SocketOption::ReuseAddr(settings.reuse_addr),
            OptionName::ReusePort => SocketOption::ReusePort(settings.reuse_port),
            OptionName::Broadcast => SocketOption::Broadcast(settings.broadcast),
            OptionName::BindToNic => SocketOption::BindToNic(settings.nic),
            OptionName::FreeBind => SocketOption::FreeBind(settings.free_bind),
            OptionName::LocalPorts => {
                SocketOption::LocalPorts(settings.local_ports.0, settings.local_ports.1)
            }
            OptionName::DontFragment => SocketOption::DontFragment(settings.dont_fragment),
            OptionName::Mtu => SocketOption::Mtu(settings.mtu),
            OptionName::NoCheck => SocketOption::NoCheck(settings.no_check),
            OptionName::UdpCork
            | OptionName::UdpSegment
            | OptionName::UdpGro
            | OptionName::NoCheck6Tx
            | OptionName::NoCheck6Rx => {
                return socket.udp_option(name);
            }
            OptionName::RecvErr => SocketOption::RecvErr(settings.recv_err),
            OptionName::RecvErrV6 if socket.domain == Domain::Inet6 => {
                SocketOption::RecvErrV6(settings.recv_err_v6)
            }
            OptionName::V6Only if socket.domain == Domain::Inet6 => {
                // As the kernel: an address of IPv6 that was bound to leaves nothing for IPv4.
                let bound = socket.bound.as_deref().is_some_and(|(binding, _)| is_v6_address(&binding.ip));
                SocketOption::V6Only(settings.v6_only || bound)
            }
            OptionName::V6Only | OptionName::RecvErrV6 => return Err(Error::ProtocolOption),
            OptionName::AcceptsConnections => {
                SocketOption::AcceptsConnections(matches!(socket.kind, Kind::Listener(_)))
            }
            _ => return self.stream_option(socket, name),
        })
    }

    fn stream_option(&self, socket: &Socket, name: OptionName) -> Result<SocketOption> {
        let config = &self.io.config.tcp;
        if let Some(queues) = socket.kind.queues() {
            return Ok(match name {
                OptionName::RecvBuffer => SocketOption::RecvBuffer(queues.recv_limit),
                OptionName::SendBuffer => SocketOption::SendBuffer(queues.send_limit),
                OptionName::IpOptions => SocketOption::IpOptions(asked(queues.ip_options.as_deref())),
                OptionName::KeepAlive => SocketOption::KeepAlive(false),
                OptionName::Linger => SocketOption::Linger(None),
                OptionName::OobInline => SocketOption::OobInline(false),
                OptionName::RecvLowWater => SocketOption::RecvLowWater(1),
                OptionName::SendCoverage | OptionName::RecvCoverage => return socket.coverage_option(name),
                _ => return socket.raw_option(name),
            });
        }
        let (settings, connection) = match &socket.kind {
            Kind::Udp(_) | Kind::Raw(_) | Kind::Packet(_) => return Err(Error::ProtocolOption),
            Kind::Idle(settings) => (settings, None),
            Kind::Listener(listener) => (&listener.settings, None),
            Kind::Connection(key) => {
                let tcb = self.connections.get(*key).ok_or(Error::BadSocket)?;
                (&tcb.settings, Some(&tcb.connection))
            }
        };
        let Some(connection) = connection else {
            let max_segment = settings.max_segment.unwrap_or(536);
            return settings.get(name, max_segment, config).ok_or(Error::ProtocolOption);
        };
        let (send, recv) = connection.buffer_sizes();
        match name {
            OptionName::SendBuffer => return Ok(SocketOption::SendBuffer(send as usize)),
            OptionName::RecvBuffer => return Ok(SocketOption::RecvBuffer(recv as usize)),
            _ => {}
        }
        settings.get(name, connection.max_segment(), config).ok_or(Error::ProtocolOption)
    }
}

/// The least that `SO_RCVBUF` of a datagram socket can be, and half of the least `SO_SNDBUF`, as Linux has it.
const LEAST_BUFFER: usize = 2304;

/// The options of IPv4 headers as they are read.
fn asked(options: Option<&Ipv4Options>) -> Ipv4Options {
    options.copied().unwrap_or_default()
}

/// Whether it is an address, and of IPv6.
fn is_v6_address(ip: &[u8; 16]) -> bool {
    !is_v4(ip) && !is_unspecified(ip)
}
