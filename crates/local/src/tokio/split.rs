//! The two halves of a stream, borrowed or owned.

use super::LocalStream;
use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};

/// The half of a stream that reads, from [`LocalStream::split`].
///
/// ```
/// use sockeye_local::tokio::LocalStream;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let (mut ours, mut theirs) = LocalStream::pair()?;
/// ours.write_all(b"hello").await?;
/// let (mut from, mut to) = theirs.split();
/// let mut word = [0; 5];
/// from.read_exact(&mut word).await?;
/// to.write_all(&word).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ReadHalf<'a>(&'a LocalStream);

/// The half of a stream that writes, from [`LocalStream::split`]. See [`ReadHalf`] for an example.
#[derive(Debug)]
pub struct WriteHalf<'a>(&'a LocalStream);

/// The half of a stream that reads, from [`LocalStream::into_split`], where an example is.
#[derive(Debug)]
pub struct OwnedReadHalf(Arc<LocalStream>);

/// The half of a stream that writes, from [`LocalStream::into_split`], where an example is. Dropped, it closes its direction.
#[derive(Debug)]
pub struct OwnedWriteHalf {
    stream: Arc<LocalStream>,
    is_to_shut: bool,
}

/// Two halves that aren't those of one stream, handed back.
///
/// ```
/// use sockeye_local::tokio::{LocalStream, ReuniteError};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let (ours, theirs) = LocalStream::pair()?;
/// let ((from, to), (other_from, other_to)) = (ours.into_split(), theirs.into_split());
/// let ReuniteError(from, other_to) = from.reunite(other_to).unwrap_err();
/// from.reunite(to).unwrap();
/// other_from.reunite(other_to).unwrap();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

impl fmt::Display for ReuniteError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the halves are those of different streams")
    }
}

impl Error for ReuniteError {}

pub(super) fn split(stream: &LocalStream) -> (ReadHalf<'_>, WriteHalf<'_>) {
    (ReadHalf(stream), WriteHalf(stream))
}

pub(super) fn split_owned(stream: LocalStream) -> (OwnedReadHalf, OwnedWriteHalf) {
    let stream = Arc::new(stream);
    (OwnedReadHalf(Arc::clone(&stream)), OwnedWriteHalf { stream, is_to_shut: true })
}

impl OwnedReadHalf {
    /// The stream again, of both its halves.
    ///
    /// # Panics
    ///
    /// Never.
    pub fn reunite(self, mut other: OwnedWriteHalf) -> Result<LocalStream, ReuniteError> {
        if !Arc::ptr_eq(&self.0, &other.stream) {
            return Err(ReuniteError(self, other));
        }
        other.is_to_shut = false;
        drop(other);
        // Nobody else has one.
        Ok(Arc::into_inner(self.0).expect("there are two halves"))
    }

    fn stream(&self) -> &LocalStream {
        &self.0
    }
}

impl OwnedWriteHalf {
    /// The stream again, of both its halves.
    pub fn reunite(self, other: OwnedReadHalf) -> Result<LocalStream, ReuniteError> {
        other.reunite(self)
    }

    /// Drops the half without closing its direction.
    pub fn forget(mut self) {
        self.is_to_shut = false;
    }

    fn stream(&self) -> &LocalStream {
        &self.stream
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if self.is_to_shut {
            let _ = self.stream.shut();
        }
    }
}

impl ReadHalf<'_> {
    fn stream(&self) -> &LocalStream {
        self.0
    }
}

impl WriteHalf<'_> {
    fn stream(&self) -> &LocalStream {
        self.0
    }
}

macro_rules! halves {
    ($reads:ty, $writes:ty) => {
        impl $reads {
            /// Waits until a read would do something, as [`LocalStream::readable`].
            pub async fn readable(&self) -> io::Result<()> {
                self.stream().readable().await
            }

            /// Waits until one of the halves would, as [`LocalStream::ready`].
            pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
                self.stream().ready(interest).await
            }

            /// Reads what there is, as [`LocalStream::try_read`].
            pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.stream().try_read(buf)
            }

            /// The same into several buffers.
            pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.stream().try_read_vectored(bufs)
            }

            /// Reads what the next read will, and leaves it there.
            pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.stream().peek(buf).await
            }

            /// The name of the other end.
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.stream().peer_addr()
            }

            /// The name of this end.
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                self.stream().local_addr()
            }
        }

        impl AsRef<LocalStream> for $reads {
            fn as_ref(&self) -> &LocalStream {
                self.stream()
            }
        }

        impl AsyncRead for $reads {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                self.stream().poll_reading(context, buf)
            }
        }

        impl $writes {
            /// Waits until a write would do something, as [`LocalStream::writable`].
            pub async fn writable(&self) -> io::Result<()> {
                self.stream().writable().await
            }

            /// Waits until one of the halves would, as [`LocalStream::ready`].
            pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
                self.stream().ready(interest).await
            }

            /// Writes what there is room for, as [`LocalStream::try_write`].
            pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
                self.stream().try_write(buf)
            }

            /// The same from several buffers.
            pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.stream().try_write_vectored(bufs)
            }

            /// The name of the other end.
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.stream().peer_addr()
            }

            /// The name of this end.
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                self.stream().local_addr()
            }
        }

        impl AsRef<LocalStream> for $writes {
            fn as_ref(&self) -> &LocalStream {
                self.stream()
            }
        }

        impl AsyncWrite for $writes {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.stream().poll_writing(context, buf)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.stream().poll_writing_vectored(context, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.stream().shut())
            }
        }
    };
}

halves!(ReadHalf<'_>, WriteHalf<'_>);
halves!(OwnedReadHalf, OwnedWriteHalf);
