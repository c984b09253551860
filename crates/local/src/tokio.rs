//! The same for asynchronous programs (feature `tokio`).
//!
//! The types have what programs use of `tokio::net::UnixStream` and `UnixListener`; [`LocalStream`] is tokio's `AsyncRead`
//! and `AsyncWrite`, and `tokio::io::split` halves it. They need tokio's runtime, with I/O enabled, as it waits at their
//! descriptors. What is ready is ready at once and doesn't count against tokio's budget for cooperative tasks.
//!
//! ```
//! use sockeye_local::tokio::{LocalListener, LocalStream};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("echo");
//! let listener = LocalListener::bind(&path)?;
//! let serving = tokio::spawn(async move {
//!     let (stream, _) = listener.accept().await?;
//!     let (mut from, mut to) = tokio::io::split(stream);
//!     tokio::io::copy(&mut from, &mut to).await
//! });
//! let mut stream = LocalStream::connect(&path).await?;
//! stream.write_all(b"anybody?").await?;
//! stream.shutdown().await?;
//! let mut answer = String::new();
//! stream.read_to_string(&mut answer).await?;
//! assert_eq!(answer, "anybody?");
//! assert_eq!(serving.await.unwrap()?, 8);
//! # Ok(())
//! # }
//! ```
//!
//! # Cancellation
//!
//! `accept`, `peek`, and of tokio's traits `read`, `write` and their vectored kin can be dropped before they are done:
//! nothing was taken or sent then.

use crate::half::Kind;
use crate::sys::watch;
use crate::{Credentials, ListenerConfig};
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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
    socket: AsyncFd<crate::LocalStream>,
    /// Who waits to read, and who to write.
    waiting: [Mutex<Waiting>; 2],
}

impl LocalStream {
    /// Connects to the listener at a path, of whatever kind. Fails with `WouldBlock` while its queue is full, as tokio's
    /// does.
    // It has no wait in it today, as tokio's hasn't; a kernel that could tell when a queue has room would bring one.
    #[expect(clippy::unused_async, reason = "as tokio's")]
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<LocalStream> {
        crate::LocalStream::dial(path.as_ref(), Kind::Bytes, crate::DEFAULT_RING, false)
            .and_then(LocalStream::new)
    }

    /// Two ends that are connected to each other.
    pub fn pair() -> io::Result<(LocalStream, LocalStream)> {
        let (one, other) = crate::LocalStream::pair()?;
        Ok((LocalStream::new(one)?, LocalStream::new(other)?))
    }

    /// The asynchronous handle to a connection, of which there are no others. Needs a runtime of tokio's around it.
    pub fn new(stream: crate::LocalStream) -> io::Result<LocalStream> {
        stream.set_nonblocking(true)?;
        Ok(LocalStream { socket: watch(stream)?, waiting: Default::default() })
    }

    /// The connection for threads: it is non-blocking still.
    pub fn into_inner(self) -> crate::LocalStream {
        self.socket.into_inner()
    }

    /// Whether it is carried by shared memory, and not by the kernel's socket.
    pub fn is_shared_memory(&self) -> bool {
        self.socket.get_ref().is_shared_memory()
    }

    /// The name of this end: a connecting one has none.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }

    /// The name of the other end.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().peer_addr()
    }

    /// Who was at the other end when the connection was made.
    pub fn peer_cred(&self) -> io::Result<Credentials> {
        self.socket.get_ref().peer_cred()
    }

    /// Reads what the next read will, and leaves it there.
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        std::future::poll_fn(|context| self.poll_reading(context, |stream| stream.peek(buf))).await
    }

    /// Calls until it doesn't fail with `WouldBlock`: first, so that the connection knows that somebody waits.
    fn poll_reading<R>(
        &self,
        context: &mut Context<'_>,
        mut call: impl FnMut(&crate::LocalStream) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            if let Some(result) = self.call(context, Half::Reads, &mut call) {
                return Poll::Ready(result);
            }
            ready!(self.socket.poll_read_ready(context))?.clear_ready();
        }
    }

    /// The same for calls that write. What the socket says of itself is not about the ring, but every event is one of both
    /// kinds: a kernel socket that has a byte to read has room to write.
    fn poll_writing<R>(
        &self,
        context: &mut Context<'_>,
        mut call: impl FnMut(&crate::LocalStream) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            if let Some(result) = self.call(context, Half::Writes, &mut call) {
                return Poll::Ready(result);
            }
            ready!(self.socket.poll_write_ready(context))?.clear_ready();
        }
    }

    /// Calls once; none if it would block, after which the task is woken if the other half takes a bell that may be for
    /// this one: the runtime sees no event then.
    fn call<R>(
        &self,
        context: &mut Context<'_>,
        half: Half,
        call: &mut impl FnMut(&crate::LocalStream) -> io::Result<R>,
    ) -> Option<io::Result<R>> {
        let stream = self.socket.get_ref();
        let heard = stream.heard();
        let result = call(stream);
        let would_block = matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        if would_block && stream.is_shared_memory() {
            let mut waiting = lock(&self.waiting[half as usize]);
            if std::mem::take(&mut waiting.is_robbed) {
                context.waker().wake_by_ref();
            }
            match &mut waiting.waker {
                Some(waker) => waker.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
        }
        // Only a byte that came has the halves wake each other, so that they don't go on with it.
        if stream.heard() != heard {
            let mut other = lock(&self.waiting[1 - half as usize]);
            other.is_robbed = other.waker.is_none();
            let waker = other.waker.take();
            drop(other);
            waker.into_iter().for_each(Waker::wake);
        }
        (!would_block).then_some(result)
    }
}

/// A half of a stream, each with a task of its own.
#[derive(Clone, Copy, Debug)]
enum Half {
    Reads,
    Writes,
}

/// How a half waits.
#[derive(Debug, Default)]
struct Waiting {
    waker: Option<Waker>,
    /// The other half took a bell while there was no waker: it may have been for a call that was about to leave one.
    is_robbed: bool,
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AsyncRead for LocalStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = ready!(self.poll_reading(context, |mut stream| stream.read(buf.initialize_unfilled())))?;
        buf.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LocalStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_writing(context, |mut stream| stream.write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_writing(context, |mut stream| stream.write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.get_ref().shutdown(Shutdown::Write))
    }
}

/// A socket that listens at a path, as [`crate::LocalListener`], for asynchronous programs.
#[derive(Debug)]
pub struct LocalListener {
    socket: AsyncFd<crate::LocalListener>,
}

impl LocalListener {
    /// Listens at a path.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<LocalListener> {
        LocalListener::bind_with(path, &ListenerConfig::default())
    }

    /// The same with bounds of one's own.
    pub fn bind_with(path: impl AsRef<Path>, config: &ListenerConfig) -> io::Result<LocalListener> {
        let listener = crate::LocalListener::bind_with(path, config)?;
        listener.set_nonblocking(true)?;
        Ok(LocalListener { socket: watch(listener)? })
    }

    /// The next connection, and the name of its other end, which rarely has one.
    pub async fn accept(&self) -> io::Result<(LocalStream, SocketAddr)> {
        loop {
            let mut guard = self.socket.readable().await?;
            if let Ok(accepted) = guard.try_io(|listener| listener.get_ref().accept()) {
                let (stream, address) = accepted?;
                return Ok((LocalStream::new(stream)?, address));
            }
        }
    }

    /// Its name.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }
}
