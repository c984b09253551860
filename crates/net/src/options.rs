//! The options of sockets, once for all types that have them: the macros below give a type with a field
//! `socket` its methods. Where `std` has a name it is that, elsewhere it is socket2's.

use std::time::Duration;

/// Reads an option of `$socket`.
macro_rules! get {
    ($socket:expr, $name:ident) => {
        match $socket.option(sockeye_stack::OptionName::$name)? {
            sockeye_stack::SocketOption::$name(value) => Ok(value),
            // The stack answers with the option that it was asked for.
            _ => Err(std::io::Error::from(std::io::ErrorKind::Other)),
        }
    };
}

/// Sets an option of `$socket`.
macro_rules! set {
    ($socket:expr, $name:ident, $value:expr) => {
        $socket.set_option(sockeye_stack::SocketOption::$name($value))
    };
}

/// A number as narrow as the stack holds it, or [`std::io::ErrorKind::InvalidInput`].
pub(crate) fn narrow<T>(value: impl TryInto<T>) -> std::io::Result<T> {
    value.try_into().map_err(|_| std::io::ErrorKind::InvalidInput.into())
}

/// tokio's names for options of sockets that aren't bound yet.
macro_rules! tokio_names {
    ($type:ty) => {
        /// Options as tokio calls them.
        impl $type {
            /// [`reuse_address`](Self::reuse_address), as tokio calls it.
            pub fn reuseaddr(&self) -> std::io::Result<bool> {
                self.reuse_address()
            }

            /// [`set_reuse_address`](Self::set_reuse_address), as tokio calls it.
            pub fn set_reuseaddr(&self, reuse: bool) -> std::io::Result<()> {
                self.set_reuse_address(reuse)
            }

            /// [`reuse_port`](Self::reuse_port), as tokio calls it.
            pub fn reuseport(&self) -> std::io::Result<bool> {
                self.reuse_port()
            }

            /// [`set_reuse_port`](Self::set_reuse_port), as tokio calls it.
            pub fn set_reuseport(&self, reuse: bool) -> std::io::Result<()> {
                self.set_reuse_port(reuse)
            }
        }
    };
}

/// The options of every socket.
macro_rules! socket_options {
    ($type:ty, $($socket:ident).+) => {
        /// What every socket has: its address, its pending error, and options, under the names of `std` and
        /// socket2.
        impl $type {
            /// The time to live of packets sent: over how many routers they may go. 64 unless set, or as
            /// the host's stack is configured.
            pub fn ttl(&self) -> std::io::Result<u32> {
                crate::options::get!(self.$($socket).+, Ttl).map(|ttl: Option<u8>| ttl.unwrap_or_default().into())
            }

            /// Sets the time to live of packets sent (`IP_TTL`, `IPV6_UNICAST_HOPS`): 1 to 255, anything
            /// else is [`InvalidInput`](std::io::ErrorKind::InvalidInput). A socket of IPv6 gets both, also for the
            /// packets that it sends over IPv4.
            pub fn set_ttl(&self, ttl: u32) -> std::io::Result<()> {
                let ttl = crate::options::narrow(ttl)?;
                crate::options::set!(self.$($socket).+, Ttl, Some(ttl))?;
                // Sockets of IPv4 have no hop limit.
                if self.option(sockeye_stack::OptionName::HopLimit).is_ok() {
                    crate::options::set!(self.$($socket).+, HopLimit, Some(ttl))?;
                }
                Ok(())
            }

            /// The type of service of packets sent; see [`set_tos_v4`](Self::set_tos_v4).
            pub fn tos_v4(&self) -> std::io::Result<u32> {
                crate::options::get!(self.$($socket).+, Tos).map(|tos: u8| tos.into())
            }

            /// Sets the type of service of packets sent (`IP_TOS`): 0 to 255, of which TCP has the lowest two
            /// bits, those of ECN, for itself. On a socket of IPv6 it is that of the packets over IPv4.
            pub fn set_tos_v4(&self, tos: u32) -> std::io::Result<()> {
                crate::options::set!(self.$($socket).+, Tos, crate::options::narrow(tos)?)
            }

            /// The traffic class of packets sent over IPv6; see [`set_tclass_v6`](Self::set_tclass_v6).
            pub fn tclass_v6(&self) -> std::io::Result<u32> {
                crate::options::get!(self.$($socket).+, TrafficClass).map(|class: u8| class.into())
            }

            /// Sets the traffic class of packets sent over IPv6 (`IPV6_TCLASS`), as
            /// [`set_tos_v4`](Self::set_tos_v4) does over IPv4. Sockets of IPv4 don't know this option.
            pub fn set_tclass_v6(&self, tclass: u32) -> std::io::Result<()> {
                crate::options::set!(self.$($socket).+, TrafficClass, crate::options::narrow(tclass)?)
            }

            /// Whether the address may be shared with sockets that don't listen; see
            /// [`set_reuse_address`](Self::set_reuse_address).
            pub fn reuse_address(&self) -> std::io::Result<bool> {
                crate::options::get!(self.$($socket).+, ReuseAddr)
            }

            /// Whether the address may be shared with sockets that allow it too and don't listen
            /// (`SO_REUSEADDR`), such as connections of a server that has been stopped. It is asked when an
            /// address is bound.
            pub fn set_reuse_address(&self, reuse: bool) -> std::io::Result<()> {
                crate::options::set!(self.$($socket).+, ReuseAddr, reuse)
            }

            /// Whether the address may be shared; see [`set_reuse_port`](Self::set_reuse_port).
            pub fn reuse_port(&self) -> std::io::Result<bool> {
                crate::options::get!(self.$($socket).+, ReusePort)
            }

            /// Whether several sockets that all set this may be bound to one address (`SO_REUSEPORT`); new
            /// connections, or datagrams, are spread over them. It is asked when an address is bound.
            pub fn set_reuse_port(&self, reuse: bool) -> std::io::Result<()> {
                crate::options::set!(self.$($socket).+, ReusePort, reuse)
            }

            /// The size of the receive buffer in bytes.
            pub fn recv_buffer_size(&self) -> std::io::Result<usize> {
                crate::options::get!(self.$($socket).+, RecvBuffer)
            }

            /// Sets the size of the receive buffer in bytes (`SO_RCVBUF`), within the limits of the host's
            /// stack. A TCP socket's buffer then no longer grows by itself. Unlike Linux, nothing is doubled:
            /// what is set is what is read.
            pub fn set_recv_buffer_size(&self, bytes: usize) -> std::io::Result<()> {
                crate::options::set!(self.$($socket).+, RecvBuffer, bytes)
            }

            /// The size of the send buffer in bytes.
            pub fn send_buffer_size(&self) -> std::io::Result<usize> {
                crate::options::get!(self.$($socket).+, SendBuffer)
            }

            /// Sets the size of the send buffer in bytes (`SO_SNDBUF`), within the limits of the host's
            /// stack. A TCP socket's buffer then no longer grows by itself. Unlike Linux, nothing is doubled:
            /// what is set is what is read.
            pub fn set_send_buffer_size(&self, bytes: usize) -> std::io::Result<()> {
                crate::options::set!(self.$($socket).+, SendBuffer, bytes)
            }

            /// Whether the socket, of IPv6, does without IPv4 (`IPV6_V6ONLY`). Sockets of IPv4 don't know
            /// this option.
            pub fn only_v6(&self) -> std::io::Result<bool> {
                crate::options::get!(self.$($socket).+, V6Only)
            }

            /// Reads an option that has no method of its own.
            pub fn option(
                &self,
                name: sockeye_stack::OptionName,
            ) -> std::io::Result<sockeye_stack::SocketOption> {
                self.$($socket).+.option(name)
            }

            /// Sets an option that has no method of its own.
            pub fn set_option(&self, option: sockeye_stack::SocketOption) -> std::io::Result<()> {
                self.$($socket).+.set_option(option)
            }

            /// Takes the pending error (`SO_ERROR`): what a peer or the network said that no call has
            /// reported yet.
            pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
                Ok(self.$($socket).+.take_error())
            }

            /// The address of this end: unspecified, with port 0, while it is not bound.
            pub fn local_addr(&self) -> std::io::Result<std::net::SocketAddr> {
                self.$($socket).+.local_addr()
            }
        }
    };
}

/// The options of TCP sockets. Connections begin with those of the listener that accepts them.
macro_rules! tcp_options {
    ($type:ty, $($socket:ident).+) => {
        /// The options of TCP, under the names of `std` and socket2.
        impl $type {
            /// Whether small segments are sent at once; see [`set_nodelay`](Self::set_nodelay).
            pub fn nodelay(&self) -> std::io::Result<bool> {
                crate::options::get!(self.$($socket).+, NoDelay)
            }

            /// Whether small segments are sent at once (`TCP_NODELAY`), rather than held back while earlier
            /// data is not acknowledged (Nagle's algorithm, RFC 9293 §3.7.4). Off unless set.
            pub fn set_nodelay(&self, nodelay: bool) -> std::io::Result<()> {
                crate::options::set!(self.$($socket).+, NoDelay, nodelay)
            }

            /// What a close does about data that is not acknowledged yet; see
            /// [`set_linger`](Self::set_linger).
            pub fn linger(&self) -> std::io::Result<Option<std::time::Duration>> {
                crate::options::get!(self.$($socket).+, Linger)
            }

            /// What closing does about data that is not acknowledged yet (`SO_LINGER`): with none, which is the
            /// default, it is sent while nobody waits; with [`Duration::ZERO`](std::time::Duration::ZERO) it is
            /// thrown away and the peer gets a reset; otherwise dropping the last handle of a stream blocks until
            /// all of it has arrived, at most so long. It doesn't on a stream that is not blocking, nor in a
            /// manual network, where only [`turn`](crate::Network::turn) moves anything.
            pub fn set_linger(&self, linger: Option<std::time::Duration>) -> std::io::Result<()> {
                crate::options::set!(self.$($socket).+, Linger, linger)
            }

            /// Has closing throw away what the peer has not acknowledged, and reset the connection: as
            /// [`set_linger`](Self::set_linger) with zero.
            pub fn set_zero_linger(&self) -> std::io::Result<()> {
                self.set_linger(Some(std::time::Duration::ZERO))
            }

            /// Whether an idle peer is probed.
            pub fn keepalive(&self) -> std::io::Result<bool> {
                crate::options::get!(self.$($socket).+, KeepAlive)
            }

            /// Whether an idle peer is probed (`SO_KEEPALIVE`), so that one that is gone is noticed: reads
            /// then fail with [`TimedOut`](std::io::ErrorKind::TimedOut). See
            /// [`TcpKeepalive`](crate::TcpKeepalive) for how often.
            pub fn set_keepalive(&self, keepalive: bool) -> std::io::Result<()> {
                crate::options::set!(self.$($socket).+, KeepAlive, keepalive)
            }

            /// Has an idle peer probed as `keepalive` says; what it doesn't say stays as it is.
            pub fn set_tcp_keepalive(&self, keepalive: &crate::TcpKeepalive) -> std::io::Result<()> {
                keepalive.apply(&self.$($socket).+)
            }

            /// How long the connection is idle before the first probe (`TCP_KEEPIDLE`).
            pub fn tcp_keepalive_time(&self) -> std::io::Result<std::time::Duration> {
                crate::options::get!(self.$($socket).+, KeepIdle)
            }

            /// The time between probes (`TCP_KEEPINTVL`).
            pub fn tcp_keepalive_interval(&self) -> std::io::Result<std::time::Duration> {
                crate::options::get!(self.$($socket).+, KeepInterval)
            }

            /// How many probes without an answer end the connection (`TCP_KEEPCNT`).
            pub fn tcp_keepalive_retries(&self) -> std::io::Result<u32> {
                crate::options::get!(self.$($socket).+, KeepCount)
            }

            /// How long data may stay unacknowledged; none for the stack's own limit.
            pub fn tcp_user_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
                crate::options::get!(self.$($socket).+, UserTimeout)
                    .map(|time: std::time::Duration| Some(time).filter(|time| !time.is_zero()))
            }

            /// Sets how long data may stay unacknowledged before the connection is given up
            /// (`TCP_USER_TIMEOUT`, RFC 5482): reads and writes then fail with
            /// [`TimedOut`](std::io::ErrorKind::TimedOut). None, or zero, is the stack's own limit.
            pub fn set_tcp_user_timeout(&self, timeout: Option<std::time::Duration>) -> std::io::Result<()> {
                crate::options::set!(self.$($socket).+, UserTimeout, timeout.unwrap_or_default())
            }

            /// Whether only full segments are sent; see [`set_tcp_cork`](Self::set_tcp_cork).
            pub fn tcp_cork(&self) -> std::io::Result<bool> {
                crate::options::get!(self.$($socket).+, Cork)
            }

            /// Whether only full segments are sent (`TCP_CORK`): what is less waits for more, for 200 ms at
            /// most, or until this is off again. For headers that a file's data follows.
            pub fn set_tcp_cork(&self, cork: bool) -> std::io::Result<()> {
                crate::options::set!(self.$($socket).+, Cork, cork)
            }

            /// Whether data is acknowledged at once; see [`set_tcp_quickack`](Self::set_tcp_quickack).
            pub fn tcp_quickack(&self) -> std::io::Result<bool> {
                crate::options::get!(self.$($socket).+, QuickAck)
            }

            /// Whether data is acknowledged at once rather than with what is sent soon (`TCP_QUICKACK`). The
            /// stack changes its mind as the connection goes on.
            pub fn set_tcp_quickack(&self, quickack: bool) -> std::io::Result<()> {
                crate::options::set!(self.$($socket).+, QuickAck, quickack)
            }

            /// The most bytes of data in a segment: of a connection, what is in use.
            pub fn tcp_mss(&self) -> std::io::Result<u32> {
                crate::options::get!(self.$($socket).+, MaxSegment).map(|mss: u16| mss.into())
            }

            /// Limits the bytes of data in a segment (`TCP_MAXSEG`): 88 to 32,767, or 0 for no limit but the
            /// link's. The peer is told when the connection is opened.
            pub fn set_tcp_mss(&self, mss: u32) -> std::io::Result<()> {
                crate::options::set!(self.$($socket).+, MaxSegment, crate::options::narrow(mss)?)
            }

            /// The congestion control in use.
            pub fn tcp_congestion(&self) -> std::io::Result<sockeye_stack::CongestionControl> {
                crate::options::get!(self.$($socket).+, Congestion)
            }

            /// Sets the congestion control (`TCP_CONGESTION`), also of an open connection.
            pub fn set_tcp_congestion(
                &self,
                control: sockeye_stack::CongestionControl,
            ) -> std::io::Result<()> {
                crate::options::set!(self.$($socket).+, Congestion, control)
            }

            /// How many bytes may wait unsent while the socket still counts as writable.
            pub fn tcp_notsent_lowat(&self) -> std::io::Result<u32> {
                crate::options::get!(self.$($socket).+, NotSentLowWater)
            }

            /// Sets how many bytes may wait unsent while the socket still counts as writable
            /// (`TCP_NOTSENT_LOWAT`): little, for programs that decide late what to send. Zero is the
            /// stack's own limit.
            pub fn set_tcp_notsent_lowat(&self, bytes: u32) -> std::io::Result<()> {
                crate::options::set!(self.$($socket).+, NotSentLowWater, bytes)
            }

            /// Whether urgent bytes stay among the others.
            pub fn out_of_band_inline(&self) -> std::io::Result<bool> {
                crate::options::get!(self.$($socket).+, OobInline)
            }

            /// Whether urgent bytes stay among the others (`SO_OOBINLINE`), as RFC 6093 §6 has programs do,
            /// rather than being read on their own. Reads stop before them either way.
            pub fn set_out_of_band_inline(&self, inline: bool) -> std::io::Result<()> {
                crate::options::set!(self.$($socket).+, OobInline, inline)
            }
        }
    };
}

pub(crate) use {get, set, socket_options, tcp_options, tokio_names};

/// When an idle peer is probed and when it counts as gone, for `set_tcp_keepalive`.
///
/// ```
/// use sockeye::{HostConfig, Network, TcpKeepalive};
/// use std::time::Duration;
///
/// let network = Network::builder().host("web", HostConfig::default()).build()?;
/// let web = network.host("web")?;
/// let listener = web.tcp_listen("web:80")?;
/// let stream = web.tcp_connect("web:80")?;
/// // A peer that is gone is noticed after 30 s: 15 s without a word, and three probes 5 s apart.
/// let keepalive = TcpKeepalive::new()
///     .with_time(Duration::from_secs(15))
///     .with_interval(Duration::from_secs(5))
///     .with_retries(3);
/// stream.set_tcp_keepalive(&keepalive)?;
/// assert!(stream.keepalive()?);
/// assert_eq!(stream.tcp_keepalive_time()?, Duration::from_secs(15));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpKeepalive {
    time: Option<Duration>,
    interval: Option<Duration>,
    retries: Option<u32>,
}

impl TcpKeepalive {
    /// Says nothing yet: with the stack's settings, two hours, 75 seconds and nine probes unless configured.
    pub const fn new() -> TcpKeepalive {
        TcpKeepalive { time: None, interval: None, retries: None }
    }

    /// How long the connection is idle before the first probe (`TCP_KEEPIDLE`): 1 to 32,767 seconds.
    #[must_use]
    pub const fn with_time(self, time: Duration) -> TcpKeepalive {
        TcpKeepalive { time: Some(time), ..self }
    }

    /// The time between probes (`TCP_KEEPINTVL`): 1 to 32,767 seconds.
    #[must_use]
    pub const fn with_interval(self, interval: Duration) -> TcpKeepalive {
        TcpKeepalive { interval: Some(interval), ..self }
    }

    /// How many probes without an answer end the connection (`TCP_KEEPCNT`): 1 to 127.
    #[must_use]
    pub const fn with_retries(self, retries: u32) -> TcpKeepalive {
        TcpKeepalive { retries: Some(retries), ..self }
    }

    /// Sets what it says, and the probing on.
    pub(crate) fn apply(&self, socket: &crate::socket::Socket) -> std::io::Result<()> {
        if let Some(time) = self.time {
            set!(socket, KeepIdle, time)?;
        }
        if let Some(interval) = self.interval {
            set!(socket, KeepInterval, interval)?;
        }
        if let Some(retries) = self.retries {
            set!(socket, KeepCount, retries)?;
        }
        set!(socket, KeepAlive, true)
    }
}
