//! Streams of bytes.

use super::socket::Socket;
use super::split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf, split, split_owned};
use crate::end::Half;
use crate::half::Kind;
use crate::{Ancillary, Attached, Credentials};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};

/// A connection, as [`crate::LocalStream`], for asynchronous programs.
///
/// ```
/// use sockeye_local::tokio::LocalStream;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let (mut ours, mut theirs) = LocalStream::pair()?;
/// ours.write_all(b"hello").await?;
/// let mut word = [0; 5];
/// assert_eq!(theirs.peek(&mut word).await?, 5);
/// theirs.read_exact(&mut word).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LocalStream {
    socket: Socket<crate::LocalStream>,
}

impl LocalStream {
    /// Connects to the listener at a path, of whatever kind. Fails with `WouldBlock` while its queue is full, as tokio's
    /// does.
    // It has no wait in it today, as tokio's hasn't; a kernel that could tell when a queue has room would bring one.
    #[expect(clippy::unused_async, reason = "as tokio's")]
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<LocalStream> {
        crate::LocalStream::dial(path.as_ref(), false).and_then(LocalStream::new)
    }

    /// The same with rings of so many bytes, as [`crate::LocalStream::connect_with`].
    #[expect(clippy::unused_async, reason = "as tokio's")]
    pub async fn connect_with(path: impl AsRef<Path>, ring: usize) -> io::Result<LocalStream> {
        crate::LocalStream::dial_at_once(path.as_ref(), Kind::Bytes, ring, false).and_then(LocalStream::new)
    }

    /// Two ends that are connected to each other.
    pub fn pair() -> io::Result<(LocalStream, LocalStream)> {
        let (one, other) = crate::LocalStream::pair()?;
        Ok((LocalStream::new(one)?, LocalStream::new(other)?))
    }

    /// The asynchronous handle to a connection, of which there are no others. Needs a runtime of tokio's around it.
    pub fn new(stream: crate::LocalStream) -> io::Result<LocalStream> {
        Ok(LocalStream { socket: Socket::new(stream)? })
    }

    /// The connection for threads: it is non-blocking still.
    pub fn into_inner(self) -> crate::LocalStream {
        self.socket.into_inner()
    }

    /// The connection for threads, for what isn't input or output. It is non-blocking; what reads or writes with it may
    /// take the wake-up of a task that waits, so use [`try_io`](LocalStream::try_io) for that.
    pub fn get_ref(&self) -> &crate::LocalStream {
        self.socket.get_ref()
    }

    /// Whether it is carried by shared memory, and not by the kernel's socket.
    pub fn is_shared_memory(&self) -> bool {
        self.get_ref().is_shared_memory()
    }

    /// The name of this end: a connecting one has none.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.get_ref().local_addr()
    }

    /// The name of the other end.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.get_ref().peer_addr()
    }

    /// Who was at the other end when the connection was made.
    pub fn peer_cred(&self) -> io::Result<Credentials> {
        self.get_ref().peer_cred()
    }

    /// The error that waits to be told, if there is one.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.get_ref().take_error()
    }

    /// Waits until a read would do something: get bytes or the end, or fail.
    ///
    /// ```
    /// use sockeye_local::tokio::LocalStream;
    /// use std::io::ErrorKind;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = LocalStream::pair()?;
    /// assert_eq!(theirs.try_read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    /// assert_eq!(ours.try_write(b"hello")?, 5);
    /// theirs.readable().await?;
    /// assert_eq!(theirs.try_read(&mut [0; 8])?, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.ready_half(Half::Reads).await
    }

    /// Waits until a write would do something: send some bytes, or fail.
    pub async fn writable(&self) -> io::Result<()> {
        self.socket.ready_half(Half::Writes).await
    }

    /// Waits for one of both, and says which it is: `READABLE`, `WRITABLE` or the two. Other interests are never met.
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.socket.ready(interest).await
    }

    /// As [`readable`](LocalStream::readable), for one task.
    pub fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready_half(context, Half::Reads)
    }

    /// As [`writable`](LocalStream::writable), for one task.
    pub fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready_half(context, Half::Writes)
    }

    /// Reads what there is; fails with `WouldBlock` where there is nothing.
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.try_call(Half::Reads, |mut stream| stream.read(buf))
    }

    /// The same into several buffers.
    pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.socket.try_call(Half::Reads, |mut stream| stream.read_vectored(bufs))
    }

    /// Writes what there is room for; fails with `WouldBlock` where there is none.
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.try_call(Half::Writes, |mut stream| stream.write(buf))
    }

    /// The same from several buffers.
    pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.try_call(Half::Writes, |mut stream| stream.write_vectored(bufs))
    }

    /// Makes one call of the connection for threads, which is non-blocking; the interest says whether it reads or writes.
    pub fn try_io<R>(
        &self,
        interest: Interest,
        call: impl FnOnce(&crate::LocalStream) -> io::Result<R>,
    ) -> io::Result<R> {
        self.socket.try_call(half(interest), call)
    }

    /// Makes a call of the connection for threads until it doesn't fail with `WouldBlock`; the interest says whether it
    /// reads or writes.
    ///
    /// ```
    /// use sockeye_local::tokio::LocalStream;
    /// use tokio::io::{AsyncWriteExt, Interest};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let (mut ours, theirs) = LocalStream::pair()?;
    /// ours.write_all(b"hello").await?;
    /// let mut copy = Vec::new();
    /// theirs.async_io(Interest::READABLE, |stream| {
    ///     stream.read_in_place(|bytes| {
    ///         copy = bytes.to_vec();
    ///         bytes.len()
    ///     })
    /// })
    /// .await?;
    /// assert_eq!(copy, b"hello");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn async_io<R>(
        &self,
        interest: Interest,
        call: impl FnMut(&crate::LocalStream) -> io::Result<R>,
    ) -> io::Result<R> {
        self.socket.call(half(interest), call).await
    }

    /// Reads what the next read will, and leaves it there.
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.call(Half::Reads, |stream| stream.peek(buf)).await
    }

    /// Writes some bytes, with what is attached to the first of them, as [`crate::LocalStream::send_with`].
    ///
    /// ```
    /// use sockeye_local::tokio::LocalStream;
    /// use std::os::fd::AsFd;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = LocalStream::pair()?;
    /// theirs.set_passrights(true)?;
    /// ours.send_with(b"input", &[std::io::stdin().as_fd()]).await?;
    /// let (count, with) = theirs.recv_with(&mut [0; 8]).await?;
    /// assert_eq!((count, with.descriptors.len()), (5, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send_with<'a>(&self, bytes: &[u8], attached: impl Into<Attached<'a>>) -> io::Result<usize> {
        let attached = attached.into();
        self.socket.call(Half::Writes, |stream| stream.send_with(bytes, attached)).await
    }

    /// Reads some bytes, with what is attached to them, as [`crate::LocalStream::recv_with`].
    pub async fn recv_with(&self, bytes: &mut [u8]) -> io::Result<(usize, Ancillary)> {
        self.socket.call(Half::Reads, |stream| stream.recv_with(bytes)).await
    }

    /// Has descriptors come, or come no more, as [`crate::LocalStream::set_passrights`].
    pub fn set_passrights(&self, passrights: bool) -> io::Result<()> {
        self.get_ref().set_passrights(passrights)
    }

    /// Has credentials come, or come no more, as [`crate::LocalStream::set_passcred`].
    pub fn set_passcred(&self, passcred: bool) -> io::Result<()> {
        self.get_ref().set_passcred(passcred)
    }

    /// Two halves, for as long as the stream is borrowed.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        split(self)
    }

    /// Two halves, for two tasks. Dropping the writing one closes that direction.
    ///
    /// ```
    /// use sockeye_local::tokio::LocalStream;
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = LocalStream::pair()?;
    /// let (mut from, mut to) = theirs.into_split();
    /// let echo = tokio::spawn(async move { tokio::io::copy(&mut from, &mut to).await });
    /// let (mut from, mut to) = ours.into_split();
    /// to.write_all(b"anybody?").await?;
    /// drop(to);
    /// let mut answer = String::new();
    /// from.read_to_string(&mut answer).await?;
    /// assert_eq!(answer, "anybody?");
    /// # echo.await??;
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        split_owned(self)
    }

    pub(super) fn shut(&self) -> io::Result<()> {
        self.get_ref().shutdown(Shutdown::Write)
    }

    pub(super) fn poll_reading(
        &self,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = |mut stream: &crate::LocalStream| stream.read(buf.initialize_unfilled());
        let count = ready!(self.socket.poll_call(context, Half::Reads, read))?;
        buf.advance(count);
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_writing(&self, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_call(context, Half::Writes, |mut stream| stream.write(buf))
    }

    pub(super) fn poll_writing_vectored(
        &self,
        context: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_call(context, Half::Writes, |mut stream| stream.write_vectored(bufs))
    }
}

pub(super) fn half(interest: Interest) -> Half {
    if interest.is_writable() { Half::Writes } else { Half::Reads }
}

impl AsyncRead for LocalStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_reading(context, buf)
    }
}

impl AsyncWrite for LocalStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_writing(context, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_writing_vectored(context, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shut())
    }
}

/// The connection's kernel socket, as [`crate::LocalStream`]'s.
impl AsFd for LocalStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

impl AsRawFd for LocalStream {
    fn as_raw_fd(&self) -> RawFd {
        self.get_ref().as_raw_fd()
    }
}
