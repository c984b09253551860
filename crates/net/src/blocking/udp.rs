//! UDP sockets for threads.

use super::Waiting;
use crate::Host;
use crate::options::{get, set, socket_options};
use crate::resolve::{ToSocketAddrs, try_each};
use crate::socket::Socket;
use sockeye_stack::RecvFlags;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Sends and receives datagrams, as [`std::net::UdpSocket`].
#[derive(Debug)]
pub struct UdpSocket {
    socket: Arc<Socket>,
    waiting: Arc<Waiting>,
}

socket_options!(UdpSocket, socket);

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

    /// Connects to a peer: [`UdpSocket::send`] sends to it, and only its datagrams are received.
    pub fn connect(&self, addr: impl ToSocketAddrs) -> io::Result<()> {
        try_each(self.socket.host(), addr, |addr| self.socket.start_connect(addr))
    }

    /// Sends a datagram to an address, the first of several.
    pub fn send_to(&self, data: &[u8], addr: impl ToSocketAddrs) -> io::Result<usize> {
        let addr = addr.to_socket_addr(self.socket.host())?;
        self.waiting.write(|waker| self.socket.poll_send_to(waker, data, Some(addr)))
    }

    /// Sends a datagram to the peer.
    pub fn send(&self, data: &[u8]) -> io::Result<usize> {
        self.waiting.write(|waker| self.socket.poll_send_to(waker, data, None))
    }

    /// Receives a datagram and says whose it is. What doesn't fit in `buf` is lost.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.waiting.read(|waker| self.socket.poll_recv_from(waker, buf, RecvFlags::default()))
    }

    /// Receives a datagram. What doesn't fit in `buf` is lost.
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.recv_from(buf).map(|(len, _)| len)
    }

    /// As [`UdpSocket::recv_from`], but leaves the datagram in the queue.
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let flags = RecvFlags { peek: true, ..RecvFlags::default() };
        self.waiting.read(|waker| self.socket.poll_recv_from(waker, buf, flags))
    }

    /// The peer it is connected to.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }

    /// Another handle to the same socket.
    pub fn try_clone(&self) -> io::Result<UdpSocket> {
        Ok(UdpSocket { socket: Arc::clone(&self.socket), waiting: Arc::clone(&self.waiting) })
    }

    /// Limits how long receiving waits; it then fails with [`io::ErrorKind::WouldBlock`].
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.waiting.read_timeout.set(timeout)
    }

    /// Limits how long sending waits; it then fails with [`io::ErrorKind::WouldBlock`].
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.waiting.write_timeout.set(timeout)
    }

    /// Whether calls fail with [`io::ErrorKind::WouldBlock`] rather than wait.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.waiting.set_nonblocking(nonblocking);
        Ok(())
    }

    /// Whether datagrams may be sent to broadcast addresses.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        set!(self.socket, Broadcast, broadcast)
    }

    /// Whether datagrams may be sent to broadcast addresses.
    pub fn broadcast(&self) -> io::Result<bool> {
        get!(self.socket, Broadcast)
    }
}
