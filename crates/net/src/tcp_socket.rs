//! A TCP socket that neither listens nor is connected yet: for options that count before that.

use crate::blocking::stream::deadline;
use crate::options::{set, socket_options, tcp_options, tokio_names};
use crate::resolve::ToSocketAddrs;
use crate::socket::Socket;
use crate::{Host, TcpListener, TcpStream};
use sockeye_stack::{Domain, SocketType};
use std::io;
use std::time::Duration;

/// A TCP socket before it listens or connects, as tokio's type of this name: to set options first, to connect
/// from an address or port of one's choice, to listen with a backlog.
///
/// Made by [`Host::tcp_socket_v4`] and [`Host::tcp_socket_v6`]. Options are named as in `std`, or else as in
/// socket2; those that tokio calls otherwise have that name too.
///
/// ```
/// use sockeye::{HostConfig, Network};
///
/// let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// let (web, me) = (network.host("web")?, network.host("me")?);
///
/// let socket = web.tcp_socket_v4()?;
/// socket.set_recv_buffer_size(64 * 1024)?;
/// socket.bind("0.0.0.0:80")?;
/// let listener = socket.listen(128)?;
///
/// let socket = me.tcp_socket_v4()?;
/// socket.bind((me.ipv4(), 7000))?;
/// let stream = socket.connect("web:80")?;
/// let (accepted, peer) = listener.accept()?;
/// assert_eq!(peer.port(), 7000);
/// assert_eq!(accepted.recv_buffer_size()?, 64 * 1024);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct TcpSocket {
    pub(crate) socket: Socket,
}

impl Host {
    /// A TCP socket of IPv4, to be set up before it [listens](TcpSocket::listen) or
    /// [connects](TcpSocket::connect).
    pub fn tcp_socket_v4(&self) -> io::Result<TcpSocket> {
        TcpSocket::new(self, Domain::Inet)
    }

    /// A TCP socket of IPv6, which speaks IPv4 too unless that is [ruled out](TcpSocket::set_only_v6).
    pub fn tcp_socket_v6(&self) -> io::Result<TcpSocket> {
        TcpSocket::new(self, Domain::Inet6)
    }
}

impl TcpSocket {
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    fn new(host: &Host, domain: Domain) -> io::Result<TcpSocket> {
        Socket::of_family(host, domain, SocketType::Stream).map(|socket| TcpSocket { socket })
    }

    /// A socket of IPv4 on `host`: as [`Host::tcp_socket_v4`].
    pub fn new_v4(host: &Host) -> io::Result<TcpSocket> {
        host.tcp_socket_v4()
    }

    /// A socket of IPv6 on `host`: as [`Host::tcp_socket_v6`].
    pub fn new_v6(host: &Host) -> io::Result<TcpSocket> {
        host.tcp_socket_v6()
    }

    /// Binds the socket to a local address; port 0 picks one. Of several addresses the first of the socket's
    /// family counts.
    ///
    /// Fails with [`AddrInUse`](io::ErrorKind::AddrInUse) when another socket has it, with
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) when it is not the host's, and with
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when the socket is bound already.
    pub fn bind(&self, addr: impl ToSocketAddrs) -> io::Result<()> {
        self.socket.bind(self.socket.pick(addr)?)
    }

    /// Listens, with at most `backlog` connections that wait to be accepted (the host's limit is
    /// [`somaxconn`](sockeye_stack::Config::somaxconn)). A socket that isn't bound listens at all addresses,
    /// at a port that is picked.
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        self.socket.listen(backlog as usize)?;
        Ok(TcpListener::from_socket(self.into_socket()))
    }

    /// Opens a connection to `addr` and waits until that is done or has failed, as [`Host::tcp_connect`]
    /// does. Of several addresses only the first of the socket's family is tried: a socket connects once.
    pub fn connect(self, addr: impl ToSocketAddrs) -> io::Result<TcpStream> {
        let addr = self.socket.pick(addr)?;
        TcpStream::open(self.into_socket(), addr, None)
    }

    /// As [`TcpSocket::connect`], but fails with [`TimedOut`](io::ErrorKind::TimedOut) after `timeout`, and
    /// with [`InvalidInput`](io::ErrorKind::InvalidInput) if that is zero.
    pub fn connect_timeout(self, addr: impl ToSocketAddrs, timeout: Duration) -> io::Result<TcpStream> {
        let addr = self.socket.pick(addr)?;
        TcpStream::open(self.into_socket(), addr, deadline(timeout)?)
    }

    /// Whether the socket, of IPv6, does without IPv4 (`IPV6_V6ONLY`); to be set before it is bound.
    pub fn set_only_v6(&self, only: bool) -> io::Result<()> {
        set!(self.socket, V6Only, only)
    }

    /// The socket, for another door to wait with.
    pub(crate) fn into_socket(self) -> Socket {
        self.socket
    }
}

socket_options!(TcpSocket, socket);
tcp_options!(TcpSocket, socket);
tokio_names!(TcpSocket);
