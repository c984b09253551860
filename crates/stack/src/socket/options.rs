//! Socket options: the ones every socket has, and those of TCP.

use crate::config::{CongestionControl, TcpConfig};
use core::time::Duration;
use sockeye_packet::NicId;

/// An option with its value, as setsockopt(2) takes and getsockopt(2) gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketOption {
    /// SO_REUSEADDR.
    ReuseAddr(bool),
    /// SO_REUSEPORT.
    ReusePort(bool),
    /// SO_KEEPALIVE.
    KeepAlive(bool),
    /// SO_LINGER: how long close waits; zero means reset.
    Linger(Option<Duration>),
    /// SO_BROADCAST.
    Broadcast(bool),
    /// SO_OOBINLINE.
    OobInline(bool),
    /// SO_RCVBUF in bytes, as getsockopt gives it (the doubling is the API's).
    RecvBuffer(usize),
    /// SO_SNDBUF in bytes, as getsockopt gives it.
    SendBuffer(usize),
    /// SO_RCVLOWAT in bytes.
    RecvLowWater(u32),
    /// SO_BINDTODEVICE.
    BindToNic(Option<NicId>),
    /// SO_ACCEPTCONN; read only.
    AcceptsConnections(bool),
    /// IP_TTL or IPV6_UNICAST_HOPS; none is the stack's default.
    Ttl(Option<u8>),
    /// IP_TOS or IPV6_TCLASS.
    Tos(u8),
    /// IPV6_V6ONLY.
    V6Only(bool),
    /// IP_MTU_DISCOVER or IPV6_MTU_DISCOVER.
    MtuDiscover(MtuDiscover),
    /// TCP_NODELAY.
    NoDelay(bool),
    /// TCP_CORK.
    Cork(bool),
    /// TCP_QUICKACK.
    QuickAck(bool),
    /// TCP_MAXSEG; read, it is the segment size in use.
    MaxSegment(u16),
    /// TCP_USER_TIMEOUT; zero means the default.
    UserTimeout(Duration),
    /// TCP_KEEPIDLE.
    KeepIdle(Duration),
    /// TCP_KEEPINTVL.
    KeepInterval(Duration),
    /// TCP_KEEPCNT.
    KeepCount(u32),
    /// TCP_SYNCNT.
    SynCount(u8),
    /// TCP_DEFER_ACCEPT.
    DeferAccept(Duration),
    /// TCP_LINGER2: how long an orphan waits in FIN-WAIT-2; none means not at all.
    FinTimeout(Option<Duration>),
    /// TCP_WINDOW_CLAMP in bytes; zero means no limit.
    WindowClamp(u32),
    /// TCP_NOTSENT_LOWAT in bytes.
    NotSentLowWater(u32),
    /// TCP_CONGESTION.
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
    Tos,
    V6Only,
    MtuDiscover,
    NoDelay,
    Cork,
    QuickAck,
    MaxSegment,
    UserTimeout,
    KeepIdle,
    KeepInterval,
    KeepCount,
    SynCount,
    DeferAccept,
    FinTimeout,
    WindowClamp,
    NotSentLowWater,
    Congestion,
}

/// Whether packets may be fragmented, and whether the path's MTU is believed (ip(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MtuDiscover {
    /// Fragments here and on the way.
    Dont,
    /// Fragments here by the path's MTU, never on the way.
    #[default]
    Want,
    /// No fragments: longer datagrams are refused with EMSGSIZE.
    Do,
    /// No fragments, and the path's MTU is not believed.
    Probe,
}

/// The options of a stream socket that its connection acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpSettings {
    /// TCP_NODELAY.
    pub no_delay: bool,
    /// TCP_CORK.
    pub cork: bool,
    /// TCP_QUICKACK.
    pub quick_ack: bool,
    /// SO_KEEPALIVE.
    pub keep_alive: bool,
    /// SO_OOBINLINE.
    pub oob_inline: bool,
    /// TCP_SYNCNT.
    pub syn_retries: u8,
    /// TCP_CONGESTION.
    pub congestion: CongestionControl,
    /// TCP_MAXSEG, when set.
    pub max_segment: Option<u16>,
    /// TCP_KEEPCNT.
    pub keep_count: u32,
    /// TCP_KEEPIDLE.
    pub keep_idle: Duration,
    /// TCP_KEEPINTVL.
    pub keep_interval: Duration,
    /// SO_LINGER: how long close waits; zero means reset.
    pub linger: Option<Duration>,
    /// TCP_USER_TIMEOUT; zero means the default.
    pub user_timeout: Duration,
    /// TCP_LINGER2; none means that an orphan doesn't wait in FIN-WAIT-2 at all.
    pub fin_timeout: Option<Duration>,
    /// SO_RCVBUF, when set: the buffer then doesn't grow by itself.
    pub recv_buffer: Option<u32>,
    /// SO_SNDBUF, when set: the buffer then doesn't grow by itself.
    pub send_buffer: Option<u32>,
    /// SO_RCVLOWAT.
    pub recv_low_water: u32,
    /// TCP_WINDOW_CLAMP; zero means no limit.
    pub window_clamp: u32,
    /// TCP_NOTSENT_LOWAT; [`u32::MAX`] means no limit.
    pub not_sent_low_water: u32,
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
            syn_retries: config.syn_retries,
            congestion: config.congestion,
            max_segment: None,
            keep_count: config.keep_count,
            keep_idle: config.keep_idle,
            keep_interval: config.keep_interval,
            linger: None,
            user_timeout: Duration::ZERO,
            fin_timeout: Some(config.fin_timeout),
            recv_buffer: None,
            send_buffer: None,
            recv_low_water: 1,
            window_clamp: 0,
            not_sent_low_water: u32::MAX,
        }
    }
}
