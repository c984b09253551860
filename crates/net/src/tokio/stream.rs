//! TCP connections for tasks.

use super::{Interest, OwnedReadHalf, OwnedWriteHalf, ReadHalf, Ready, WriteHalf, place, put, split};
use crate::Host;
use crate::options::{socket_options, tcp_options};
use crate::resolve::{Candidates, ToSocketAddrs};
use crate::socket::Socket;
use crate::waiters::{Interest as Direction, Waiter};
use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use bytes::{BufMut, Bytes};
use sockeye_stack::{RecvFlags, SocketType, TcpInfo};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

const PEEK: RecvFlags = RecvFlags { peek: true, oob: false };
const TAKE: RecvFlags = RecvFlags { peek: false, oob: false };

/// One end of a TCP connection, as `tokio::net::TcpStream`.
///
/// Dropping it closes the connection; the stack sees to it that what was written still arrives, as long as the
/// network lives.
///
/// ```
/// # use sockeye::{HostConfig, Network};
/// use sockeye::tokio::{TcpListener, TcpStream};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// # let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// # let (web, me) = (network.host("web")?, network.host("me")?);
/// # let listener = TcpListener::bind(&web, "web:80").await?;
/// let mut stream = TcpStream::connect(&me, "web:80").await?;
/// stream.write_all(b"hello").await?;
/// let (mut server, _) = listener.accept().await?;
/// let mut greeting = [0; 5];
/// server.read_exact(&mut greeting).await?;
/// assert_eq!(&greeting, b"hello");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TcpStream {
    socket: Arc<Socket>,
}

impl TcpStream {
    pub(super) fn from_socket(socket: Socket) -> TcpStream {
        TcpStream { socket: Arc::new(socket) }
    }

    /// Opens a connection from `host`; of several addresses one after the other is tried. Dropping the future
    /// gives up.
    pub async fn connect(host: &Host, addr: impl ToSocketAddrs) -> io::Result<TcpStream> {
        let mut candidates = Candidates::new(host, &addr)?;
        loop {
            match TcpStream::connect_one(host, candidates.next()?).await {
                Ok(stream) => return Ok(stream),
                Err(error) => candidates.failed(error),
            }
        }
    }

    async fn connect_one(host: &Host, addr: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::open(Socket::new(host, addr, SocketType::Stream)?, addr).await
    }

    /// Connects a socket.
    pub(super) async fn open(socket: Socket, addr: SocketAddr) -> io::Result<TcpStream> {
        socket.start_connect(addr)?;
        place::wait(&socket, Direction::Write, |waiter| socket.poll_connected(waiter)).await?;
        Ok(TcpStream::from_socket(socket))
    }

    /// The peer's address.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }

    /// How the connection is doing (`TCP_INFO`).
    pub fn info(&self) -> io::Result<TcpInfo> {
        self.socket.call(|stack, id, now| stack.tcp_info(now, id))
    }

    /// Waits until the stream is ready for something of `interest`. Cancellation-safe.
    ///
    /// Unlike tokio's, this looks at the socket itself each time: what it says holds until somebody reads or writes.
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        place::ready(&self.socket, interest).await
    }

    /// Waits until a read would not have to wait. Cancellation-safe.
    pub async fn readable(&self) -> io::Result<()> {
        self.ready(Interest::READABLE).await.map(drop)
    }

    /// Waits until a write would not have to wait. Cancellation-safe.
    pub async fn writable(&self) -> io::Result<()> {
        self.ready(Interest::WRITABLE).await.map(drop)
    }

    /// Polls whether a read would have to wait. Only the task that polled reading last is woken.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        place::poll_ready(&self.socket, cx.waker(), Interest::READABLE, Direction::Read)
    }

    /// Polls whether a write would have to wait. Only the task that polled writing last is woken.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        place::poll_ready(&self.socket, cx.waker(), Interest::WRITABLE, Direction::Write)
    }

    /// Reads what there is, or fails with [`io::ErrorKind::WouldBlock`]; zero at end of file.
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        place::now(self.socket.poll_recv(None, buf, TAKE))
    }

    /// As [`TcpStream::try_read`], into several buffers, one after the other.
    pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Ok(0);
        }
        place::now(self.socket.poll_recv_slices(None, bufs, TAKE))
    }

    /// As [`TcpStream::try_read`], into what `buf` has room for as it is.
    pub fn try_read_buf(&self, buf: &mut impl BufMut) -> io::Result<usize> {
        let room = buf.chunk_mut().len();
        if room == 0 {
            return Ok(0);
        }
        let payload = place::now(self.socket.poll_recv_payload(None, room, TAKE))?;
        Ok(put(&payload, room, |part| buf.put_slice(part)))
    }

    /// Writes the front of `data`, as much as there is room for, or fails with [`io::ErrorKind::WouldBlock`].
    pub fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        place::now(self.socket.poll_send(None, data))
    }

    /// As [`TcpStream::try_write`], from several buffers, one after the other.
    pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        place::now(self.socket.poll_send_slices(None, bufs))
    }

    /// Calls `call` if the stream is ready for something of `interest`, or fails with [`io::ErrorKind::WouldBlock`].
    pub fn try_io<R>(&self, interest: Interest, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        place::try_io(&self.socket, interest, call)
    }

    /// Calls `call` when the stream is ready for something of `interest`, again and again until that doesn't
    /// fail with [`io::ErrorKind::WouldBlock`]. Cancellation-safe.
    pub async fn async_io<R>(
        &self,
        interest: Interest,
        call: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        place::async_io(&self.socket, interest, call).await
    }

    /// Receives without taking the data off the queue. Cancellation-safe.
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        place::wait(&self.socket, Direction::Read, |waiter| self.socket.poll_recv(waiter, buf, PEEK)).await
    }

    /// Polls for data without taking it off the queue, and says how much there was. Only the task that polled
    /// reading last is woken.
    pub fn poll_peek(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        self.poll_fill(cx, buf, PEEK)
    }

    /// Sends the front of `data` without copying it, as much as there is room for, and takes it off `data`; returns
    /// how many bytes that were. What is sent stays in memory until the peer has acknowledged it, and over a link
    /// in memory while the peer holds any part of it. Cancellation-safe.
    ///
    /// ```
    /// use sockeye::tokio::{TcpListener, TcpStream};
    /// use sockeye::{Bytes, HostConfig, Network};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let network = Network::builder().host("web", HostConfig::default()).build()?;
    /// # let web = network.host("web")?;
    /// let listener = TcpListener::bind(&web, "web:80").await?;
    /// let (client, (server, _)) = (TcpStream::connect(&web, "web:80").await?, listener.accept().await?);
    /// let picture = Bytes::from(vec![7; 10_000]);
    /// let mut left = picture.clone();
    /// while !left.is_empty() {
    ///     client.send_bytes(&mut left).await?;
    /// }
    /// let part = server.recv_bytes(5000).await?;
    /// assert_eq!(part.as_ptr(), picture.as_ptr(), "it is the very same memory");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send_bytes(&self, data: &mut Bytes) -> io::Result<usize> {
        let send = |waiter: Option<Waiter<'_>>| self.socket.poll_send_bytes(waiter, data);
        place::wait(&self.socket, Direction::Write, send).await
    }

    /// As [`TcpStream::send_bytes`], or fails with [`WouldBlock`](io::ErrorKind::WouldBlock).
    pub fn try_send_bytes(&self, data: &mut Bytes) -> io::Result<usize> {
        place::now(self.socket.poll_send_bytes(None, data))
    }

    /// Receives at most `max` bytes without copying them; none at end of file. What is returned ends where the
    /// memory does in which it lies, and keeps that memory alive: to keep a little for long, copy it.
    /// Cancellation-safe.
    pub async fn recv_bytes(&self, max: usize) -> io::Result<Bytes> {
        if max == 0 {
            return Ok(Bytes::new());
        }
        let recv = |waiter: Option<Waiter<'_>>| self.socket.poll_recv_bytes(waiter, max);
        place::wait(&self.socket, Direction::Read, recv).await
    }

    /// As [`TcpStream::recv_bytes`], or fails with [`WouldBlock`](io::ErrorKind::WouldBlock).
    pub fn try_recv_bytes(&self, max: usize) -> io::Result<Bytes> {
        if max == 0 {
            return Ok(Bytes::new());
        }
        place::now(self.socket.poll_recv_bytes(None, max))
    }

    /// [`TcpStream::tcp_quickack`], as tokio calls it.
    pub fn quickack(&self) -> io::Result<bool> {
        self.tcp_quickack()
    }

    /// [`TcpStream::set_tcp_quickack`], as tokio calls it.
    pub fn set_quickack(&self, quickack: bool) -> io::Result<()> {
        self.set_tcp_quickack(quickack)
    }

    /// Two halves that borrow the stream: they cost nothing, and are used in the same task.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        split::split(self)
    }

    /// Two halves that own the stream, for two tasks. Dropping the write half ends writing.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        split::into_split(self)
    }

    /// Reads into what is left of `buf`.
    pub(super) fn poll_fill(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        flags: RecvFlags,
    ) -> Poll<io::Result<usize>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(0));
        }
        let waiter = Some(Waiter::latest(cx.waker()));
        let room = buf.remaining();
        let received = self.socket.poll_recv_payload(waiter, room, flags);
        received.map_ok(|payload| put(&payload, room, |part| buf.put_slice(part)))
    }

    pub(super) fn poll_read_shared(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_fill(cx, buf, TAKE).map_ok(drop)
    }

    #[cfg(feature = "futures")]
    pub(super) fn poll_read_vectored_shared(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        self.socket.poll_recv_slices(Some(Waiter::latest(cx.waker())), bufs, TAKE)
    }

    pub(super) fn poll_write_shared(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_send(Some(Waiter::latest(cx.waker())), data)
    }

    pub(super) fn poll_write_vectored_shared(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_send_slices(Some(Waiter::latest(cx.waker())), bufs)
    }

    /// Ends writing; again doesn't matter.
    pub(super) fn end_writing(&self) -> io::Result<()> {
        match self.socket.shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }
}

socket_options!(TcpStream, socket);
tcp_options!(TcpStream, socket);

impl AsyncRead for TcpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_read_shared(cx, buf)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_shared(cx, data)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored_shared(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing is kept here: what was written is the stack's.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends writing: the peer reads what was written, and then end of file. This doesn't wait for it.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.end_writing())
    }
}
