//! TCP listeners for threads.

use super::Waiting;
use crate::options::{socket_options, tcp_options};
use crate::resolve::{ToSocketAddrs, try_each};
use crate::socket::Socket;
use crate::{Host, TcpStream};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Waits for TCP connections at an address of a host, as [`std::net::TcpListener`].
///
/// Made by [`Host::tcp_listen`], or by [`TcpSocket::listen`](crate::TcpSocket::listen) with options set before
/// that. Connections are opened by the host's stack, also while nobody accepts: they wait in a queue. Dropping
/// the last handle frees the port and resets what waits.
///
/// ```
/// use sockeye::{HostConfig, Network};
/// use std::io::{Read, Write};
///
/// let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// let (web, me) = (network.host("web")?, network.host("me")?);
/// let listener = web.tcp_listen("web:80")?;
/// let server = std::thread::spawn(move || -> std::io::Result<()> {
///     for stream in listener.incoming().take(2) {
///         stream?.write_all(b"hello")?;
///     }
///     Ok(())
/// });
/// for _ in 0..2 {
///     let mut greeting = String::new();
///     me.tcp_connect("web:80")?.read_to_string(&mut greeting)?;
///     assert_eq!(greeting, "hello");
/// }
/// server.join().unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct TcpListener {
    socket: Arc<Socket>,
    waiting: Arc<Waiting>,
}

impl TcpListener {
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// A listener on `host`: as [`Host::tcp_listen`].
    pub fn bind(host: &Host, addr: impl ToSocketAddrs) -> io::Result<TcpListener> {
        try_each(host, addr, |addr| Socket::listen_at(host, addr).map(TcpListener::from_socket))
    }

    pub(crate) fn from_socket(socket: Socket) -> TcpListener {
        TcpListener { socket: Arc::new(socket), waiting: Waiting::new() }
    }

    /// Waits for a connection and returns it with its peer's address.
    ///
    /// Fails with [`WouldBlock`](io::ErrorKind::WouldBlock) when the listener is
    /// [nonblocking](TcpListener::set_nonblocking) and nobody waits.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, peer) = self.waiting.read(&self.socket, |waker| self.socket.poll_accept(waker))?;
        Ok((TcpStream::from_socket(socket), peer))
    }

    /// Accepts one connection after the other, without end.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// As [`TcpListener::incoming`], with the listener in it: for iterators that are returned or sent away.
    ///
    /// ```
    /// use sockeye::{Host, HostConfig, Network, TcpStream};
    ///
    /// /// The connections that are made to a host's port.
    /// fn clients(host: &Host, port: u16) -> std::io::Result<impl Iterator<Item = TcpStream>> {
    ///     Ok(host.tcp_listen((host, port))?.into_incoming().flatten())
    /// }
    ///
    /// let network = Network::builder().host("web", HostConfig::default()).build()?;
    /// let web = network.host("web")?;
    /// let mut clients = clients(&web, 80)?;
    /// let client = web.tcp_connect("web:80")?;
    /// assert_eq!(clients.next().unwrap().peer_addr()?, client.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_incoming(self) -> IntoIncoming {
        IntoIncoming { listener: self }
    }

    /// Another handle to the same listener. Connections go to whoever accepts first.
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        Ok(TcpListener { socket: Arc::clone(&self.socket), waiting: Arc::clone(&self.waiting) })
    }

    /// Whether [`TcpListener::accept`] fails with [`WouldBlock`](io::ErrorKind::WouldBlock) rather than wait.
    /// It counts for all handles of the listener, not for the connections.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.waiting.set_nonblocking(nonblocking);
        Ok(())
    }
}

socket_options!(TcpListener, socket);
tcp_options!(TcpListener, socket);

/// The connections of a [`TcpListener`], without end; see [`TcpListener::incoming`].
///
/// ```
/// use sockeye::{HostConfig, Network};
/// use std::io::Write;
///
/// let network = Network::builder().host("web", HostConfig::default()).build()?;
/// let web = network.host("web")?;
/// let listener = web.tcp_listen("web:80")?;
/// let clients = [web.tcp_connect("web:80")?, web.tcp_connect("web:80")?];
/// for (client, stream) in clients.iter().zip(listener.incoming()) {
///     let mut stream = stream?;
///     stream.write_all(b"welcome")?;
///     assert_eq!(stream.peer_addr()?, client.local_addr()?);
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl std::iter::FusedIterator for Incoming<'_> {}

/// The connections of a [`TcpListener`] that it owns, without end; see [`TcpListener::into_incoming`]. Dropping it
/// closes the listener.
///
/// ```
/// use sockeye::{HostConfig, Network};
/// use std::io::{ErrorKind, Read};
///
/// let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// let (web, me) = (network.host("web")?, network.host("me")?);
/// let mut incoming = web.tcp_listen("web:80")?.into_incoming();
/// // The thread serves one client, then the port is closed.
/// let server = std::thread::spawn(move || incoming.next());
/// let mut client = me.tcp_connect("web:80")?;
/// drop(server.join().unwrap().unwrap()?);
/// assert_eq!(client.read(&mut [0; 16])?, 0);
/// assert_eq!(me.tcp_connect("web:80").unwrap_err().kind(), ErrorKind::ConnectionRefused);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct IntoIncoming {
    listener: TcpListener,
}

impl Iterator for IntoIncoming {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl std::iter::FusedIterator for IntoIncoming {}
