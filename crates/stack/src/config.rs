//! What the owner of a stack chooses once, when it is made.

use crate::tcp::congestion::CustomControl;
use core::ops::RangeInclusive;
use core::time::Duration;
use sockeye_wire::{SumWords, sum_words};

/// Settings of one host.
#[derive(Clone, Debug)]
pub struct Config {
    /// Settings of TCP.
    pub tcp: TcpConfig,
    /// Time to live (hop limit) of packets unless a socket sets its own.
    pub default_ttl: u8,
    /// Ports for sockets that don't name one.
    pub local_ports: RangeInclusive<u16>,
    /// Bytes of payload and state that all queues together may hold.
    pub memory: usize,
    /// Upper limit of every backlog.
    pub somaxconn: usize,
    /// Bytes a datagram socket holds for its reader.
    pub udp_recv_buffer: usize,
    /// Bytes a datagram socket holds for its link.
    pub udp_send_buffer: usize,
    /// Most sockets at once.
    pub max_sockets: usize,
    /// Most ICMP errors sent per second (`icmp_msgs_per_sec`).
    pub icmp_rate: u32,
    /// Most ICMP errors sent at once (`icmp_msgs_burst`).
    pub icmp_burst: u32,
    /// Time between two ICMP errors to one destination, after a burst of six (`icmp_ratelimit`). Over IPv6 it is
    /// shorter where the route is for more than one host. The host itself, and what path MTU discovery waits for,
    /// are not limited by it.
    pub icmp_interval: Duration,
    /// Whether echo requests are answered.
    pub answer_echo: bool,
    /// Whether packets for other hosts are passed on by the routes, as a router does (RFC 1812 §5). What is
    /// [intercepted](crate::Stack::intercept) is not passed on.
    pub forwarding: bool,
    /// What to add to an [`Instant`](sockeye_packet::Instant) for the time since the Unix epoch.
    pub wall_offset: Duration,
    /// What sums up the data of segments for checksums. The default is portable; there may be faster code for the
    /// processor (`sockeye_link::fastest_sum`).
    pub sum_words: SumWords,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            tcp: TcpConfig::default(),
            default_ttl: 64,
            local_ports: 32_768..=60_999,
            memory: 256 << 20,
            somaxconn: 4096,
            udp_recv_buffer: 212_992,
            udp_send_buffer: 212_992,
            max_sockets: 1 << 20,
            icmp_rate: 1000,
            icmp_burst: 50,
            icmp_interval: Duration::from_secs(1),
            answer_echo: true,
            forwarding: false,
            wall_offset: Duration::ZERO,
            sum_words,
        }
    }
}

/// Sizes of one direction's buffer, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferSizes {
    /// The least a socket can be set to (as on Linux by default, where no sysctl sets it).
    pub min: usize,
    /// What a socket starts with. A send buffer grows as soon as its connection is open, for twice the initial
    /// congestion window.
    pub default: usize,
    /// What it may grow to, and the most a socket can be set to.
    pub max: usize,
}

/// Settings of TCP; sockets start from them. The defaults are Linux's.
#[derive(Clone, Debug)]
pub struct TcpConfig {
    /// Offer and accept timestamps (RFC 7323).
    pub timestamps: bool,
    /// Offer and accept selective acknowledgements (RFC 2018).
    pub sack: bool,
    /// Offer and accept window scaling (RFC 7323).
    pub window_scaling: bool,
    /// Receive buffer.
    pub recv_buffer: BufferSizes,
    /// Send buffer.
    pub send_buffer: BufferSizes,
    /// Times a SYN is sent again before connecting fails, beyond those of `syn_linear_timeouts`.
    pub syn_retries: u8,
    /// Times a SYN is sent again at the first timeout before the timeout doubles
    /// (`tcp_syn_linear_timeouts`); they are not counted in `syn_retries`.
    pub syn_linear_timeouts: u8,
    /// Times a SYN-ACK is sent again before the half-open connection is dropped.
    pub synack_retries: u8,
    /// Retransmissions after which the path is doubted, and looked up again (RFC 9293's R1, SHLD-10: at least 3).
    pub retries1: u8,
    /// Retransmissions after which the connection is given up (RFC 9293's R2).
    pub retries2: u8,
    /// The same for a connection whose socket is closed.
    pub orphan_retries: u8,
    /// Retransmission timeout before the first measurement.
    pub initial_rto: Duration,
    /// Lower bound of the retransmission timeout.
    pub min_rto: Duration,
    /// Upper bound of the retransmission timeout.
    pub max_rto: Duration,
    /// How losses are detected by time (`tcp_recovery`, RFC 8985), bits: 2 keeps the reordering window as
    /// it is whatever DSACKs say, 4 waits for it even when `reordering` segments have arrived above. 1
    /// has no effect, for nothing else is there.
    pub recovery: u32,
    /// 3 and 4 send tail loss probes (`tcp_early_retrans`, RFC 8985 §7), all else doesn't.
    pub early_retrans: u8,
    /// Whether a timeout is checked for having been spurious (`tcp_frto`, RFC 5682); 0 turns it off.
    pub frto: u8,
    /// Report segments that arrive twice (`tcp_dsack`, RFC 2883).
    pub dsack: bool,
    /// Segments by which a network is expected to reorder, at first (`tcp_reordering`).
    pub reordering: u32,
    /// The most segments by which it can be seen to (`tcp_max_reordering`).
    pub max_reordering: u32,
    /// Shortest delay of an acknowledgement that nothing hurries.
    pub delayed_ack_min: Duration,
    /// Longest delay of an acknowledgement.
    pub delayed_ack_max: Duration,
    /// How long TIME-WAIT lasts.
    pub time_wait: Duration,
    /// How long an orphan waits in FIN-WAIT-2.
    pub fin_timeout: Duration,
    /// Initial congestion window, in segments (RFC 6928).
    pub initial_window: u32,
    /// Congestion control of new sockets.
    pub congestion: CongestionControl,
    /// How CUBIC ends slow start before packets are lost.
    pub slow_start_exit: SlowStartExit,
    /// Whether the congestion window shrinks while nothing is sent (RFC 5681 §4.1).
    pub slow_start_after_idle: bool,
    /// Whether segments leave at the pacing rate, spread over the round trip. Off, as the kernel without
    /// its packet scheduler `fq`: sockets with `SO_MAX_PACING_RATE` are paced all the same.
    pub pacing: bool,
    /// The pacing rate in slow start, in percent of a window per round trip.
    pub pacing_slow_start: u16,
    /// The pacing rate in congestion avoidance, likewise.
    pub pacing_avoidance: u16,
    /// Explicit congestion notification (RFC 3168).
    pub ecn: Ecn,
    /// Whether a SYN that was lost is sent again without asking for ECN (RFC 3168 §6.1.1.1).
    pub ecn_fallback: bool,
    /// The least segments of a super-segment, however low the rate.
    pub min_tso_segments: u8,
    /// A super-segment is put off until it would fill this part of the window; 0 sends at once.
    pub tso_win_divisor: u8,
    /// Bytes that may wait unsent while a socket still counts as writable, unless `TCP_NOTSENT_LOWAT` sets it.
    pub not_sent_low_water: u32,
    /// Idle time before the first keep-alive probe.
    pub keep_idle: Duration,
    /// Time between keep-alive probes.
    pub keep_interval: Duration,
    /// Unanswered keep-alive probes after which the connection is dropped.
    pub keep_count: u32,
    /// Most TIME-WAIT records at once.
    pub max_time_wait: usize,
    /// Most half-open records of one listener; beyond them SYN cookies are sent.
    pub max_half_open: usize,
    /// When SYN cookies are sent.
    pub syn_cookies: SynCookies,
    /// Whether connecting may take a four-tuple that is in TIME-WAIT (RFC 6191).
    pub tw_reuse: TimeWaitReuse,
    /// Whether a reset leaves TIME-WAIT as it is (RFC 1337 §3, fix 1).
    pub rfc1337: bool,
    /// Least time between two answers of a connection to segments that are suspicious: challenge
    /// acknowledgments (RFC 5961) and acknowledgments of empty segments outside the window. Zero: no limit.
    pub invalid_ratelimit: Duration,
    /// Most connections that live on without a socket. Those whose peers are silent count more than once, and are
    /// ended as well where [memory](Config::memory) is short and they hold much of it. [`usize::MAX`]: neither.
    pub max_orphans: usize,
}

impl Default for TcpConfig {
    fn default() -> TcpConfig {
        TcpConfig {
            timestamps: true,
            sack: true,
            window_scaling: true,
            recv_buffer: BufferSizes { min: 2304, default: 131_072, max: 6 << 20 },
            send_buffer: BufferSizes { min: 4608, default: 16_384, max: 4 << 20 },
            syn_retries: 6,
            syn_linear_timeouts: 4,
            synack_retries: 5,
            retries1: 3,
            retries2: 15,
            orphan_retries: 8,
            initial_rto: Duration::from_secs(1),
            min_rto: Duration::from_millis(200),
            max_rto: Duration::from_mins(2),
            recovery: 1,
            early_retrans: 3,
            frto: 2,
            dsack: true,
            reordering: 3,
            max_reordering: 300,
            delayed_ack_min: Duration::from_millis(40),
            delayed_ack_max: Duration::from_millis(200),
            time_wait: Duration::from_mins(1),
            fin_timeout: Duration::from_mins(1),
            initial_window: 10,
            congestion: CongestionControl::Cubic,
            slow_start_exit: SlowStartExit::HyStartPlusPlus,
            slow_start_after_idle: true,
            pacing: false,
            pacing_slow_start: 200,
            pacing_avoidance: 120,
            ecn: Ecn::Accept,
            ecn_fallback: true,
            min_tso_segments: 2,
            tso_win_divisor: 3,
            not_sent_low_water: u32::MAX,
            keep_idle: Duration::from_hours(2),
            keep_interval: Duration::from_secs(75),
            keep_count: 9,
            max_time_wait: 65_536,
            max_half_open: 4096,
            syn_cookies: SynCookies::OnOverflow,
            tw_reuse: TimeWaitReuse::Loopback,
            rfc1337: true,
            invalid_ratelimit: Duration::from_millis(500),
            max_orphans: 65_536,
        }
    }
}

/// Whose port of a connection in TIME-WAIT an outgoing connection may take, a second after it has closed, when
/// both used timestamps. A socket bound to that port may in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimeWaitReuse {
    /// Nobody's.
    Never,
    /// Those of connections of the host with itself.
    #[default]
    Loopback,
    /// Everybody's.
    Always,
}

/// When a listener answers SYNs with cookies, of which it keeps nothing (RFC 4987 §3.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SynCookies {
    /// Never: SYNs that there is no room for are dropped.
    Never,
    /// When there are too many half-open connections.
    #[default]
    OnOverflow,
    /// Always.
    Always,
}

/// A congestion control algorithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CongestionControl {
    /// CUBIC (RFC 9438).
    #[default]
    Cubic,
    /// Reno (RFC 5681).
    Reno,
    /// One that the embedder brings.
    Custom(CustomControl),
}

/// How slow start ends before packets are lost. Reno always goes on until they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SlowStartExit {
    /// Not at all.
    None,
    /// `HyStart` as Linux's CUBIC has it: for good, on a rise of the round-trip time or a long train of
    /// acknowledgements.
    HyStart,
    /// `HyStart++` (RFC 9406): by a slower growth first, on the same signs.
    #[default]
    HyStartPlusPlus,
}

/// Use of explicit congestion notification (RFC 3168), as Linux's `tcp_ecn`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ecn {
    /// Neither asked for nor accepted (0).
    Off,
    /// Asked for in every SYN, and accepted (1).
    Request,
    /// Accepted when the peer asks for it (2).
    #[default]
    Accept,
}

impl CongestionControl {
    /// The name that `TCP_CONGESTION` uses.
    pub const fn name(self) -> &'static str {
        match self {
            CongestionControl::Cubic => "cubic",
            CongestionControl::Reno => "reno",
            CongestionControl::Custom(custom) => custom.name(),
        }
    }

    /// The stack's own algorithm of that name.
    pub fn from_name(name: &str) -> Option<CongestionControl> {
        [CongestionControl::Cubic, CongestionControl::Reno].into_iter().find(|control| control.name() == name)
    }
}
