//! TCP connections for tasks.

use super::{Interest, OwnedReadHalf, OwnedWriteHalf, ReadHalf, Ready, WriteHalf, place, split};
use crate::Host;
use crate::socket::Socket;
use crate::waiters::{Interest as Direction, Waiter};
use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use sockeye_stack::{OptionName, RecvFlags, SocketOption, SocketType};
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
#[derive(Debug)]
pub struct TcpStream {
    socket: Arc<Socket>,
}

impl TcpStream {
    pub(super) fn new(socket: Socket) -> TcpStream {
        TcpStream { socket: Arc::new(socket) }
    }

    /// Opens a connection from `host`. Dropping the future gives up.
    pub async fn connect(host: &Host, addr: impl Into<SocketAddr>) -> io::Result<TcpStream> {
        let addr = addr.into();
        let socket = Socket::new(host, addr, SocketType::Stream)?;
        socket.start_connect(addr)?;
        place::wait(&socket, Direction::Write, |waiter| socket.poll_connected(waiter)).await?;
        Ok(TcpStream::new(socket))
    }

    /// The address of this end.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The peer's address.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }

    /// Takes the pending error.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(self.socket.take_error())
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
        let max = bufs.iter().map(|buf| buf.len()).sum();
        if max == 0 {
            return Ok(0);
        }
        let payload = place::now(self.socket.poll_recv_payload(None, max, TAKE))?;
        let mut at = 0;
        for buf in bufs {
            let end = payload.len().min(at + buf.len());
            at += payload.slice(at, end).copy_to(buf);
        }
        Ok(at)
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

    /// Whether small segments are sent at once (`TCP_NODELAY`).
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.socket.set_option(SocketOption::NoDelay(nodelay))
    }

    /// Whether small segments are sent at once.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(self.socket.option(OptionName::NoDelay)? == SocketOption::NoDelay(true))
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
        self.socket.poll_recv_payload(waiter, buf.remaining(), flags).map_ok(|payload| {
            // Chunk by chunk, so that the buffer need not be zeroed first.
            payload.chunks().for_each(|chunk| buf.put_slice(chunk));
            payload.len()
        })
    }

    pub(super) fn poll_read_shared(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_fill(cx, buf, TAKE).map_ok(drop)
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
