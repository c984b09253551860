//! TCP sockets before they listen or connect, for tasks.

use super::{TcpListener, TcpStream};
use crate::options::{socket_options, tcp_options, tokio_names};
use crate::{Host, ToSocketAddrs};
use std::io;

/// A TCP socket before it listens or connects, as `tokio::net::TcpSocket`: to set options first, to connect from an
/// address or port of one's choice, to listen with a backlog.
///
/// ```
/// use sockeye::tokio::TcpSocket;
/// use sockeye::{HostConfig, Network};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// let (web, me) = (network.host("web")?, network.host("me")?);
///
/// let socket = TcpSocket::new_v4(&web)?;
/// socket.set_recv_buffer_size(64 * 1024)?;
/// socket.bind("0.0.0.0:80")?;
/// let listener = socket.listen(128)?;
///
/// let socket = TcpSocket::new_v4(&me)?;
/// socket.bind((me.ipv4(), 7000))?;
/// let stream = socket.connect("web:80").await?;
/// let (accepted, peer) = listener.accept().await?;
/// assert_eq!(peer, stream.local_addr()?);
/// assert_eq!(peer.port(), 7000);
/// assert_eq!(accepted.recv_buffer_size()?, 64 * 1024);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TcpSocket {
    inner: crate::TcpSocket,
}

impl TcpSocket {
    /// A socket of IPv4 on `host`.
    pub fn new_v4(host: &Host) -> io::Result<TcpSocket> {
        host.tcp_socket_v4().map(TcpSocket::from)
    }

    /// A socket of IPv6 on `host`, which speaks IPv4 too unless that is [ruled out](TcpSocket::set_only_v6).
    pub fn new_v6(host: &Host) -> io::Result<TcpSocket> {
        host.tcp_socket_v6().map(TcpSocket::from)
    }

    /// Binds the socket to a local address, as [`crate::TcpSocket::bind`].
    pub fn bind(&self, addr: impl ToSocketAddrs) -> io::Result<()> {
        self.inner.bind(addr)
    }

    /// Listens, with at most `backlog` connections that wait to be accepted, as [`crate::TcpSocket::listen`].
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        self.inner.socket.listen(backlog as usize)?;
        Ok(TcpListener::from_socket(self.inner.into_socket()))
    }

    /// Opens a connection. Of several addresses only the first of the socket's family is tried: a socket connects
    /// once. Dropping the future gives up.
    pub async fn connect(self, addr: impl ToSocketAddrs) -> io::Result<TcpStream> {
        let addr = self.inner.socket.pick(addr)?;
        TcpStream::open(self.inner.into_socket(), addr).await
    }

    /// Whether the socket, of IPv6, does without IPv4 (`IPV6_V6ONLY`); to be set before it is bound.
    pub fn set_only_v6(&self, only: bool) -> io::Result<()> {
        self.inner.set_only_v6(only)
    }
}

/// For the socket that [`Host::tcp_socket_v4`] makes.
impl From<crate::TcpSocket> for TcpSocket {
    fn from(inner: crate::TcpSocket) -> TcpSocket {
        TcpSocket { inner }
    }
}

socket_options!(TcpSocket, inner.socket);
tcp_options!(TcpSocket, inner.socket);
tokio_names!(TcpSocket);
