//! UDP sockets for threads.

use super::Waiting;
use crate::Host;
use crate::multicast::multicast_options;
use crate::options::{get, set, socket_options};
use crate::resolve::{ToSocketAddrs, try_each};
use crate::socket::Socket;
use bytes::Bytes;
use sockeye_stack::{Domain, RecvFlags, SocketType};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Sends and receives datagrams, as [`std::net::UdpSocket`].
///
/// Made by [`Host::udp_bind`], or by [`Host::udp_socket_v4`] with options set before it is bound. Handles to one
/// socket ([`UdpSocket::try_clone`]) share its timeouts, its mode and its options.
///
/// Sending waits only while the link's queue is full, receiving until a datagram comes. Datagrams may be lost, for
/// example when the receiver's buffer is full, as on any network.
///
/// ```
/// use sockeye::{HostConfig, Network};
///
/// let network = Network::builder().host("dns", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// let (dns, me) = (network.host("dns")?, network.host("me")?);
/// let server = dns.udp_bind("0.0.0.0:53")?;
/// let client = me.udp_bind("0.0.0.0:0")?;
/// client.send_to(b"who is web?", "dns:53")?;
///
/// let mut buffer = [0; 512];
/// let (len, from) = server.recv_from(&mut buffer)?;
/// assert_eq!((&buffer[..len], from.ip()), (&b"who is web?"[..], me.ipv4().into()));
/// server.send_to(b"10.77.0.9", from)?;
/// assert_eq!(client.recv(&mut buffer)?, 9);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Whoever has joined a group hears what is sent there.
///
/// ```
/// use sockeye::{HostConfig, Network};
/// use std::net::Ipv4Addr;
///
/// let network = Network::builder().host("printer", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// let (printer, me) = (network.host("printer")?, network.host("me")?);
/// let mdns = Ipv4Addr::new(224, 0, 0, 251);
/// let socket = printer.udp_bind("0.0.0.0:5353")?;
/// socket.join_multicast_v4(&mdns, &Ipv4Addr::UNSPECIFIED)?;
/// me.udp_bind("0.0.0.0:0")?.send_to(b"who prints?", (mdns, 5353))?;
/// assert_eq!(socket.recv(&mut [0; 512])?, 11);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct UdpSocket {
    socket: Arc<Socket>,
    waiting: Arc<Waiting>,
}

impl Host {
    /// A UDP socket of IPv4 that is not [bound](UdpSocket::bind_to) yet, for options that count before that.
    ///
    /// ```
    /// use sockeye::{HostConfig, Network};
    ///
    /// let network = Network::builder().host("me", HostConfig::default()).build()?;
    /// let me = network.host("me")?;
    /// // Two workers at one port: each gets the datagrams of its share of clients.
    /// let workers = [me.udp_socket_v4()?, me.udp_socket_v4()?];
    /// for worker in &workers {
    ///     worker.set_reuse_port(true)?;
    ///     worker.bind_to("0.0.0.0:443")?;
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn udp_socket_v4(&self) -> io::Result<UdpSocket> {
        Socket::of_family(self, Domain::Inet, SocketType::Datagram).map(UdpSocket::from_socket)
    }

    /// A UDP socket of IPv6 that is not [bound](UdpSocket::bind_to) yet; it speaks IPv4 too unless that is
    /// [ruled out](UdpSocket::set_only_v6).
    pub fn udp_socket_v6(&self) -> io::Result<UdpSocket> {
        Socket::of_family(self, Domain::Inet6, SocketType::Datagram).map(UdpSocket::from_socket)
    }
}

/// Addresses and options.
impl UdpSocket {
    /// A socket on `host`: as [`Host::udp_bind`].
    pub fn bind(host: &Host, addr: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        try_each(host, addr, |addr| Socket::bound_at(host, addr).map(UdpSocket::from_socket))
    }

    pub(crate) fn from_socket(socket: Socket) -> UdpSocket {
        UdpSocket { socket: Arc::new(socket), waiting: Waiting::new() }
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn into_shared(self) -> Arc<Socket> {
        self.socket
    }

    /// Binds a socket that isn't bound yet, of several addresses to the first of its family; sending binds it,
    /// too. Fails as [`Host::udp_bind`] does, and with
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when the socket is bound already.
    pub fn bind_to(&self, addr: impl ToSocketAddrs) -> io::Result<()> {
        self.socket.bind(self.socket.pick(addr)?)
    }

    /// Connects to a peer: [`UdpSocket::send`] sends to it, only its datagrams are received, and what the network
    /// says of it is reported, such as [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) by the next call
    /// after a datagram to a port where nobody listens. Again, to change the peer. It never waits.
    ///
    /// ```
    /// # use sockeye::{HostConfig, Network};
    /// # let network = Network::builder().host("dns", HostConfig::default()).build()?;
    /// # let dns = network.host("dns")?;
    /// let socket = dns.udp_bind("0.0.0.0:0")?;
    /// socket.connect("dns:53")?;
    /// socket.send(b"anybody there?")?;
    /// let nobody = socket.recv(&mut [0; 8]).unwrap_err();
    /// assert_eq!(nobody.kind(), std::io::ErrorKind::ConnectionRefused);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect(&self, addr: impl ToSocketAddrs) -> io::Result<()> {
        self.socket.start_connect(self.socket.pick(addr)?)
    }

    /// The peer it is connected to, or [`NotConnected`](io::ErrorKind::NotConnected).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }

    /// Another handle to the same socket.
    pub fn try_clone(&self) -> io::Result<UdpSocket> {
        Ok(UdpSocket { socket: Arc::clone(&self.socket), waiting: Arc::clone(&self.waiting) })
    }

    /// Whether datagrams may be sent to broadcast addresses (`SO_BROADCAST`). Off unless set: they then fail with
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied).
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        set!(self.socket, Broadcast, broadcast)
    }

    /// Whether datagrams may be sent to broadcast addresses.
    pub fn broadcast(&self) -> io::Result<bool> {
        get!(self.socket, Broadcast)
    }

    /// Whether the socket, of IPv6, does without IPv4 (`IPV6_V6ONLY`); to be set before it is bound.
    pub fn set_only_v6(&self, only: bool) -> io::Result<()> {
        set!(self.socket, V6Only, only)
    }
}

/// How its calls wait.
impl UdpSocket {
    /// Limits how long receiving waits; it then fails with [`WouldBlock`](io::ErrorKind::WouldBlock). None is no
    /// limit; zero is [`InvalidInput`](io::ErrorKind::InvalidInput).
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.waiting.read_timeout.set(timeout)
    }

    /// Limits how long sending waits; it then fails with [`WouldBlock`](io::ErrorKind::WouldBlock). None is no
    /// limit; zero is [`InvalidInput`](io::ErrorKind::InvalidInput).
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.waiting.write_timeout.set(timeout)
    }

    /// How long receiving waits at most; none for no limit.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.waiting.read_timeout.get())
    }

    /// How long sending waits at most; none for no limit.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.waiting.write_timeout.get())
    }

    /// Whether calls fail with [`WouldBlock`](io::ErrorKind::WouldBlock) rather than wait, on all handles of the
    /// socket.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.waiting.set_nonblocking(nonblocking);
        Ok(())
    }
}

/// Sending: all of a datagram is taken or nothing. What is too long for a datagram is refused, what is longer than
/// the path's MTU goes in fragments.
impl UdpSocket {
    /// Sends a datagram to an address, of several the first of the socket's family; returns its length.
    pub fn send_to(&self, data: &[u8], addr: impl ToSocketAddrs) -> io::Result<usize> {
        self.send_one(data, Some(self.socket.pick(addr)?))
    }

    /// Sends a datagram to the [peer](UdpSocket::connect); returns its length.
    pub fn send(&self, data: &[u8]) -> io::Result<usize> {
        self.send_one(data, None)
    }

    fn send_one(&self, data: &[u8], to: Option<SocketAddr>) -> io::Result<usize> {
        if self.socket.send_by_lane(data, to) {
            return Ok(data.len());
        }
        self.waiting.write(&self.socket, |waker| self.socket.poll_send_to(waker, data, to))
    }

    /// As [`UdpSocket::send_to`], without a copy.
    pub fn send_bytes_to(&self, data: &Bytes, addr: impl ToSocketAddrs) -> io::Result<usize> {
        let addr = self.socket.pick(addr)?;
        self.waiting.write(&self.socket, |waker| self.socket.poll_send_bytes_to(waker, data, Some(addr)))
    }

    /// As [`UdpSocket::send`], without a copy.
    pub fn send_bytes(&self, data: &Bytes) -> io::Result<usize> {
        self.waiting.write(&self.socket, |waker| self.socket.poll_send_bytes_to(waker, data, None))
    }
}

/// Receiving, one datagram after the other.
impl UdpSocket {
    /// Receives a datagram; returns its length and whose it is. What doesn't fit in `buf` is lost.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        if let Some(received) = self.socket.recv_by_lane(buf) {
            return Ok(received);
        }
        self.waiting.read(&self.socket, |waker| self.socket.poll_recv_from(waker, buf, RecvFlags::default()))
    }

    /// Receives a datagram; returns its length. What doesn't fit in `buf` is lost.
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.recv_from(buf).map(|(len, _)| len)
    }

    /// As [`UdpSocket::recv_from`], but leaves the datagram in the queue.
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let flags = RecvFlags { peek: true, ..RecvFlags::default() };
        self.waiting.read(&self.socket, |waker| self.socket.poll_recv_from(waker, buf, flags))
    }

    /// As [`UdpSocket::recv`], but leaves the datagram in the queue.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.peek_from(buf).map(|(len, _)| len)
    }

    /// Receives a datagram whole, without a copy, and says whose it is.
    ///
    /// ```
    /// # use sockeye::{Bytes, HostConfig, Network};
    /// # let network = Network::builder().host("me", HostConfig::default()).build()?;
    /// # let me = network.host("me")?;
    /// let (near, far) = (me.udp_bind("me:0")?, me.udp_bind("me:9")?);
    /// near.send_bytes_to(&Bytes::from_static(b"however long it is"), "me:9")?;
    /// let (data, from) = far.recv_bytes_from()?;
    /// assert_eq!((data, from), (Bytes::from_static(b"however long it is"), near.local_addr()?));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recv_bytes_from(&self) -> io::Result<(Bytes, SocketAddr)> {
        self.waiting.read(&self.socket, |waker| self.socket.poll_recv_bytes_from(waker))
    }

    /// Receives a datagram whole, without a copy.
    pub fn recv_bytes(&self) -> io::Result<Bytes> {
        self.recv_bytes_from().map(|(data, _)| data)
    }
}

socket_options!(UdpSocket, socket);
multicast_options!(UdpSocket, socket, &std::net::Ipv4Addr);
