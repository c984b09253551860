//! UDP sockets for tasks.

use super::{Interest, Ready, place, put};
use crate::Host;
use crate::multicast::multicast_options;
use crate::options::{get, set, socket_options};
use crate::resolve::{ToSocketAddrs, try_each};
use crate::socket::Socket;
use crate::waiters::{Interest as Direction, Waiter};
use ::tokio::io::ReadBuf;
use bytes::{BufMut, Bytes};
use sockeye_packet::Payload;
use sockeye_stack::RecvFlags;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

const PEEK: RecvFlags = RecvFlags { peek: true, oob: false };
const TAKE: RecvFlags = RecvFlags { peek: false, oob: false };

/// Sends and receives datagrams, as `tokio::net::UdpSocket`.
///
/// What doesn't fit in the buffer that a datagram is received into is lost. All futures are cancellation-safe.
///
/// ```
/// # use sockeye::{HostConfig, Network};
/// use sockeye::tokio::UdpSocket;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// # let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// # let (web, me) = (network.host("web")?, network.host("me")?);
/// let server = UdpSocket::bind(&web, "web:53").await?;
/// let client = UdpSocket::bind(&me, "me:0").await?;
/// client.send_to(b"who is there?", "web:53").await?;
/// let (len, from) = server.recv_from(&mut [0; 512]).await?;
/// assert_eq!((len, from), (13, client.local_addr()?));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct UdpSocket {
    socket: Arc<Socket>,
}

impl UdpSocket {
    /// A socket at an address of `host`, the first of several that can be used; port 0 picks one.
    #[expect(clippy::unused_async, reason = "as tokio has it")]
    pub async fn bind(host: &Host, addr: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        try_each(host, addr, |addr| Ok(UdpSocket { socket: Arc::new(Socket::bound_at(host, addr)?) }))
    }

    /// Connects to a peer: [`UdpSocket::send`] sends to it, and only its datagrams are received.
    #[expect(clippy::unused_async, reason = "as tokio has it")]
    pub async fn connect(&self, addr: impl ToSocketAddrs) -> io::Result<()> {
        self.socket.start_connect(self.socket.pick(addr)?)
    }

    /// The peer it is connected to.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }

    /// Waits until the socket is ready for something of `interest`.
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        place::ready(&self.socket, interest).await
    }

    /// Waits until there is something to receive.
    pub async fn readable(&self) -> io::Result<()> {
        self.ready(Interest::READABLE).await.map(drop)
    }

    /// Waits until there is room to send.
    pub async fn writable(&self) -> io::Result<()> {
        self.ready(Interest::WRITABLE).await.map(drop)
    }

    /// Polls whether there is something to receive. Only the task that polled receiving last is woken.
    pub fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        place::poll_ready(&self.socket, cx.waker(), Interest::READABLE, Direction::Read)
    }

    /// Polls whether there is room to send. Only the task that polled sending last is woken.
    pub fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        place::poll_ready(&self.socket, cx.waker(), Interest::WRITABLE, Direction::Write)
    }

    /// Calls `call` if the socket is ready for something of `interest`, or fails with [`io::ErrorKind::WouldBlock`].
    pub fn try_io<R>(&self, interest: Interest, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        place::try_io(&self.socket, interest, call)
    }

    /// Calls `call` when the socket is ready for something of `interest`, again and again until that doesn't
    /// fail with [`io::ErrorKind::WouldBlock`].
    pub async fn async_io<R>(
        &self,
        interest: Interest,
        call: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        place::async_io(&self.socket, interest, call).await
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

/// Sending.
impl UdpSocket {
    /// Sends a datagram to the peer.
    pub async fn send(&self, data: &[u8]) -> io::Result<usize> {
        let send = |waiter: Option<Waiter<'_>>| self.socket.poll_send_to(waiter, data, None);
        place::wait(&self.socket, Direction::Write, send).await
    }

    /// Polls sending to the peer. Only the task that polled sending last is woken.
    pub fn poll_send(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_send_to(Some(Waiter::latest(cx.waker())), data, None)
    }

    /// Sends to the peer, or fails with [`io::ErrorKind::WouldBlock`].
    pub fn try_send(&self, data: &[u8]) -> io::Result<usize> {
        place::now(self.socket.poll_send_to(None, data, None))
    }

    /// Sends a datagram to an address, of several to the first of the socket's family.
    pub async fn send_to(&self, data: &[u8], addr: impl ToSocketAddrs) -> io::Result<usize> {
        let addr = self.socket.pick(addr)?;
        let send = |waiter: Option<Waiter<'_>>| self.socket.poll_send_to(waiter, data, Some(addr));
        place::wait(&self.socket, Direction::Write, send).await
    }

    /// Polls sending to an address. Only the task that polled sending last is woken.
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        data: &[u8],
        addr: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_send_to(Some(Waiter::latest(cx.waker())), data, Some(addr))
    }

    /// Sends to an address, or fails with [`io::ErrorKind::WouldBlock`].
    pub fn try_send_to(&self, data: &[u8], addr: SocketAddr) -> io::Result<usize> {
        place::now(self.socket.poll_send_to(None, data, Some(addr)))
    }

    /// As [`UdpSocket::send`], without a copy.
    pub async fn send_bytes(&self, data: &Bytes) -> io::Result<usize> {
        let send = |waiter: Option<Waiter<'_>>| self.socket.poll_send_bytes_to(waiter, data, None);
        place::wait(&self.socket, Direction::Write, send).await
    }

    /// As [`UdpSocket::send_to`], without a copy.
    pub async fn send_bytes_to(&self, data: &Bytes, addr: impl ToSocketAddrs) -> io::Result<usize> {
        let addr = self.socket.pick(addr)?;
        let send = |waiter: Option<Waiter<'_>>| self.socket.poll_send_bytes_to(waiter, data, Some(addr));
        place::wait(&self.socket, Direction::Write, send).await
    }
}

/// Receiving.
impl UdpSocket {
    /// Receives a datagram.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.recv_from(buf).await.map(|(len, _)| len)
    }

    /// Polls for a datagram. Only the task that polled receiving last is woken.
    pub fn poll_recv(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_recv_from(cx, buf).map_ok(drop)
    }

    /// Receives a datagram, or fails with [`io::ErrorKind::WouldBlock`].
    pub fn try_recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.try_recv_from(buf).map(|(len, _)| len)
    }

    /// Receives a datagram and says whose it is.
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let recv = |waiter: Option<Waiter<'_>>| self.socket.poll_recv_from(waiter, buf, TAKE);
        place::wait(&self.socket, Direction::Read, recv).await
    }

    /// Polls for a datagram, and says whose it is. Only the task that polled receiving last is woken.
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        let received = self.socket.poll_recv_datagram(Some(Waiter::latest(cx.waker())), TAKE);
        received.map_ok(|datagram| fill(&datagram, buf))
    }

    /// Receives a datagram and says whose it is, or fails with [`io::ErrorKind::WouldBlock`].
    pub fn try_recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        place::now(self.socket.poll_recv_from(None, buf, TAKE))
    }

    /// As [`UdpSocket::recv`], into what `buf` has room for as it is.
    pub async fn recv_buf(&self, buf: &mut impl BufMut) -> io::Result<usize> {
        self.recv_buf_from(buf).await.map(|(len, _)| len)
    }

    /// As [`UdpSocket::recv_from`], into what `buf` has room for as it is.
    pub async fn recv_buf_from(&self, buf: &mut impl BufMut) -> io::Result<(usize, SocketAddr)> {
        let recv = |waiter: Option<Waiter<'_>>| self.socket.poll_recv_datagram(waiter, TAKE);
        place::wait(&self.socket, Direction::Read, recv).await.map(|datagram| fill_buf(&datagram, buf))
    }

    /// As [`UdpSocket::try_recv`], into what `buf` has room for as it is.
    pub fn try_recv_buf(&self, buf: &mut impl BufMut) -> io::Result<usize> {
        self.try_recv_buf_from(buf).map(|(len, _)| len)
    }

    /// As [`UdpSocket::try_recv_from`], into what `buf` has room for as it is.
    pub fn try_recv_buf_from(&self, buf: &mut impl BufMut) -> io::Result<(usize, SocketAddr)> {
        place::now(self.socket.poll_recv_datagram(None, TAKE)).map(|datagram| fill_buf(&datagram, buf))
    }

    /// Receives a datagram whole, without a copy.
    pub async fn recv_bytes(&self) -> io::Result<Bytes> {
        self.recv_bytes_from().await.map(|(data, _)| data)
    }

    /// Receives a datagram whole, without a copy, and says whose it is.
    pub async fn recv_bytes_from(&self) -> io::Result<(Bytes, SocketAddr)> {
        let recv = |waiter: Option<Waiter<'_>>| self.socket.poll_recv_bytes_from(waiter);
        place::wait(&self.socket, Direction::Read, recv).await
    }

    /// As [`UdpSocket::recv`], but leaves the datagram in the queue.
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.peek_from(buf).await.map(|(len, _)| len)
    }

    /// As [`UdpSocket::poll_recv`], but leaves the datagram in the queue.
    pub fn poll_peek(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_peek_from(cx, buf).map_ok(drop)
    }

    /// As [`UdpSocket::try_recv`], but leaves the datagram in the queue.
    pub fn try_peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.try_peek_from(buf).map(|(len, _)| len)
    }

    /// As [`UdpSocket::recv_from`], but leaves the datagram in the queue.
    pub async fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let peek = |waiter: Option<Waiter<'_>>| self.socket.poll_recv_from(waiter, buf, PEEK);
        place::wait(&self.socket, Direction::Read, peek).await
    }

    /// As [`UdpSocket::poll_recv_from`], but leaves the datagram in the queue.
    pub fn poll_peek_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        let peeked = self.socket.poll_recv_datagram(Some(Waiter::latest(cx.waker())), PEEK);
        peeked.map_ok(|datagram| fill(&datagram, buf))
    }

    /// As [`UdpSocket::try_recv_from`], but leaves the datagram in the queue.
    pub fn try_peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        place::now(self.socket.poll_recv_from(None, buf, PEEK))
    }

    /// Waits for a datagram and says whose it is; it stays in the queue.
    pub async fn peek_sender(&self) -> io::Result<SocketAddr> {
        self.peek_from(&mut []).await.map(|(_, from)| from)
    }

    /// As [`UdpSocket::peek_sender`]. Only the task that polled receiving last is woken.
    pub fn poll_peek_sender(&self, cx: &mut Context<'_>) -> Poll<io::Result<SocketAddr>> {
        self.poll_peek_from(cx, &mut ReadBuf::new(&mut []))
    }

    /// As [`UdpSocket::peek_sender`], or fails with [`io::ErrorKind::WouldBlock`].
    pub fn try_peek_sender(&self) -> io::Result<SocketAddr> {
        self.try_peek_from(&mut []).map(|(_, from)| from)
    }
}

/// Puts what fits of a datagram into a buffer of tokio's.
fn fill((payload, from): &(Payload, SocketAddr), buf: &mut ReadBuf<'_>) -> SocketAddr {
    put(payload, buf.remaining(), |part| buf.put_slice(part));
    *from
}

/// Puts what fits of a datagram into the room that `buf` has.
fn fill_buf((payload, from): &(Payload, SocketAddr), buf: &mut impl BufMut) -> (usize, SocketAddr) {
    let room = buf.chunk_mut().len();
    (put(payload, room, |part| buf.put_slice(part)), *from)
}

/// For the socket that [`Host::udp_socket_v4`] makes.
impl From<crate::UdpSocket> for UdpSocket {
    fn from(socket: crate::UdpSocket) -> UdpSocket {
        UdpSocket { socket: socket.into_shared() }
    }
}

socket_options!(UdpSocket, socket);
multicast_options!(UdpSocket, socket, std::net::Ipv4Addr);
