//! The two halves of a stream, for who reads and who writes.

use super::{Interest, Ready, TcpStream};
use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use bytes::{BufMut, Bytes};
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The reading half of a [`TcpStream`], which it borrows; see [`TcpStream::split`].
///
/// ```
/// # use sockeye::{HostConfig, Network};
/// # use sockeye::tokio::{TcpListener, TcpStream};
/// use tokio::io::AsyncWriteExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// # let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// # let (web, me) = (network.host("web")?, network.host("me")?);
/// # let listener = TcpListener::bind(&web, "web:80").await?;
/// # let mut stream = TcpStream::connect(&me, "web:80").await?;
/// # let (mut peer, _) = listener.accept().await?;
/// let (mut from, mut to) = stream.split();
/// peer.write_all(b"to be repeated").await?;
/// peer.shutdown().await?;
/// assert_eq!(tokio::io::copy(&mut from, &mut to).await?, 14);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ReadHalf<'a> {
    stream: &'a TcpStream,
}

/// The writing half of a [`TcpStream`], which it borrows; see [`TcpStream::split`]. Dropping it ends nothing.
///
/// ```
/// # use sockeye::{HostConfig, Network};
/// # use sockeye::tokio::{TcpListener, TcpStream};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// # let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// # let (web, me) = (network.host("web")?, network.host("me")?);
/// # let listener = TcpListener::bind(&web, "web:80").await?;
/// # let mut stream = TcpStream::connect(&me, "web:80").await?;
/// # let (mut peer, _) = listener.accept().await?;
/// let (mut from, mut to) = stream.split();
/// // More than fits in the buffers: it is read while it is written.
/// let repeat = async { tokio::io::copy(&mut (&mut peer).take(1 << 20), &mut tokio::io::sink()).await };
/// let data = vec![7; 1 << 20];
/// let (written, read) = tokio::join!(to.write_all(&data), repeat);
/// written?;
/// assert_eq!(read?, 1 << 20);
/// peer.write_all(b"thanks").await?;
/// assert_eq!(from.read(&mut [0; 16]).await?, 6);
/// stream.write_all(b"whole again").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WriteHalf<'a> {
    stream: &'a TcpStream,
}

/// The reading half of a [`TcpStream`]; see [`TcpStream::into_split`].
///
/// ```
/// # use sockeye::{HostConfig, Network};
/// # use sockeye::tokio::{TcpListener, TcpStream};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// # let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// # let (web, me) = (network.host("web")?, network.host("me")?);
/// # let listener = TcpListener::bind(&web, "web:80").await?;
/// # let stream = TcpStream::connect(&me, "web:80").await?;
/// # let (mut peer, _) = listener.accept().await?;
/// let (mut reader, mut writer) = stream.into_split();
/// let reading = tokio::spawn(async move { reader.read_u8().await.map(|byte| (byte, reader)) });
/// writer.write_all(b"question").await?;
/// peer.write_u8(42).await?;
/// let (answer, reader) = reading.await.unwrap()?;
/// assert_eq!(answer, 42);
/// let stream = reader.reunite(writer).unwrap();
/// # drop(stream);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct OwnedReadHalf {
    stream: Arc<TcpStream>,
}

/// The writing half of a [`TcpStream`]; see [`TcpStream::into_split`]. Dropping it ends writing.
///
/// ```
/// # use sockeye::{HostConfig, Network};
/// # use sockeye::tokio::{TcpListener, TcpStream};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// # let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// # let (web, me) = (network.host("web")?, network.host("me")?);
/// # let listener = TcpListener::bind(&web, "web:80").await?;
/// # let stream = TcpStream::connect(&me, "web:80").await?;
/// # let (mut peer, _) = listener.accept().await?;
/// let (mut reader, mut writer) = stream.into_split();
/// let writing = tokio::spawn(async move { writer.write_all(b"that is all").await });
/// let mut text = String::new();
/// peer.read_to_string(&mut text).await?; // To the end, which came when the task dropped its half.
/// assert_eq!(text, "that is all");
/// writing.await.unwrap()?;
/// peer.write_u8(42).await?;
/// assert_eq!(reader.read_u8().await?, 42); // The other direction is open still.
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct OwnedWriteHalf {
    stream: Arc<TcpStream>,
    ends_writing: bool,
}

/// Two halves that are not of one stream, given back.
///
/// ```
/// # use sockeye::{HostConfig, Network};
/// # use sockeye::tokio::{TcpListener, TcpStream};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// # let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// # let (web, me) = (network.host("web")?, network.host("me")?);
/// # let listener = TcpListener::bind(&web, "web:80").await?;
/// # let (stream, other) = (TcpStream::connect(&me, "web:80").await?, TcpStream::connect(&me, "web:80").await?);
/// # drop(listener);
/// let address = stream.local_addr()?;
/// let (reader, writer) = stream.into_split();
/// let (other_reader, other_writer) = other.into_split();
/// let error = reader.reunite(other_writer).unwrap_err();
/// assert_eq!(error.to_string(), "the two halves are not of the same stream");
/// let stream = error.0.reunite(writer).unwrap();
/// assert_eq!(stream.local_addr()?, address);
/// let other = error.1.reunite(other_reader).unwrap();
/// assert_ne!(other.local_addr()?, address);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two halves are not of the same stream")
    }
}

impl std::error::Error for ReuniteError {}

pub(super) fn split(stream: &mut TcpStream) -> (ReadHalf<'_>, WriteHalf<'_>) {
    (ReadHalf { stream }, WriteHalf { stream })
}

pub(super) fn into_split(stream: TcpStream) -> (OwnedReadHalf, OwnedWriteHalf) {
    let stream = Arc::new(stream);
    (OwnedReadHalf { stream: Arc::clone(&stream) }, OwnedWriteHalf { stream, ends_writing: true })
}

/// What both sorts of reading halves have.
macro_rules! reading {
    ($half:ty) => {
        impl $half {
            /// As [`TcpStream::poll_peek`].
            pub fn poll_peek(
                &mut self,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<usize>> {
                self.stream.poll_peek(cx, buf)
            }

            /// As [`TcpStream::peek`].
            pub async fn peek(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.stream.peek(buf).await
            }

            /// As [`TcpStream::ready`].
            pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
                self.stream.ready(interest).await
            }

            /// As [`TcpStream::readable`].
            pub async fn readable(&self) -> io::Result<()> {
                self.stream.readable().await
            }

            /// As [`TcpStream::try_read`].
            pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.stream.try_read(buf)
            }

            /// As [`TcpStream::try_read_buf`].
            pub fn try_read_buf(&self, buf: &mut impl BufMut) -> io::Result<usize> {
                self.stream.try_read_buf(buf)
            }

            /// As [`TcpStream::recv_bytes`].
            pub async fn recv_bytes(&mut self, max: usize) -> io::Result<Bytes> {
                self.stream.recv_bytes(max).await
            }

            /// As [`TcpStream::try_read_vectored`].
            pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.stream.try_read_vectored(bufs)
            }

            /// The peer's address.
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.stream.peer_addr()
            }

            /// The address of this end.
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                self.stream.local_addr()
            }
        }

        impl AsyncRead for $half {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                self.stream.poll_read_shared(cx, buf)
            }
        }
    };
}

/// What both sorts of writing halves have, and how they end.
macro_rules! writing {
    ($half:ty) => {
        impl $half {
            /// As [`TcpStream::ready`].
            pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
                self.stream.ready(interest).await
            }

            /// As [`TcpStream::writable`].
            pub async fn writable(&self) -> io::Result<()> {
                self.stream.writable().await
            }

            /// As [`TcpStream::try_write`].
            pub fn try_write(&self, data: &[u8]) -> io::Result<usize> {
                self.stream.try_write(data)
            }

            /// As [`TcpStream::send_bytes`].
            pub async fn send_bytes(&mut self, data: &mut Bytes) -> io::Result<usize> {
                self.stream.send_bytes(data).await
            }

            /// As [`TcpStream::try_write_vectored`].
            pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.stream.try_write_vectored(bufs)
            }

            /// The peer's address.
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.stream.peer_addr()
            }

            /// The address of this end.
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                self.stream.local_addr()
            }
        }

        impl AsyncWrite for $half {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                data: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.stream.poll_write_shared(cx, data)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.stream.poll_write_vectored_shared(cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            /// Ends writing, as `TcpStream`'s.
            fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.stream.end_writing())
            }
        }
    };
}

reading!(ReadHalf<'_>);
reading!(OwnedReadHalf);
writing!(WriteHalf<'_>);
writing!(OwnedWriteHalf);

impl AsRef<TcpStream> for TcpStream {
    fn as_ref(&self) -> &TcpStream {
        self
    }
}

impl AsRef<TcpStream> for ReadHalf<'_> {
    fn as_ref(&self) -> &TcpStream {
        self.stream
    }
}

impl AsRef<TcpStream> for WriteHalf<'_> {
    fn as_ref(&self) -> &TcpStream {
        self.stream
    }
}

impl AsRef<TcpStream> for OwnedReadHalf {
    fn as_ref(&self) -> &TcpStream {
        &self.stream
    }
}

impl AsRef<TcpStream> for OwnedWriteHalf {
    fn as_ref(&self) -> &TcpStream {
        &self.stream
    }
}

impl OwnedReadHalf {
    /// Puts the halves of one stream together again; halves of two are given back.
    pub fn reunite(self, other: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        if !Arc::ptr_eq(&self.stream, &other.stream) {
            return Err(ReuniteError(self, other));
        }
        other.forget();
        // The halves were the only handles.
        Ok(Arc::into_inner(self.stream).expect("a stream has two halves"))
    }
}

impl OwnedWriteHalf {
    /// Puts the halves of one stream together again; halves of two are given back.
    pub fn reunite(self, other: OwnedReadHalf) -> Result<TcpStream, ReuniteError> {
        other.reunite(self)
    }

    /// Drops the half without ending writing: that is done when the reading half is dropped.
    ///
    /// ```
    /// # use sockeye::{HostConfig, Network};
    /// # use sockeye::tokio::{TcpListener, TcpStream};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
    /// # let (web, me) = (network.host("web")?, network.host("me")?);
    /// # let listener = TcpListener::bind(&web, "web:80").await?;
    /// # let stream = TcpStream::connect(&me, "web:80").await?;
    /// # let (peer, _) = listener.accept().await?;
    /// let (reader, writer) = stream.into_split();
    /// writer.forget();
    /// assert_eq!(peer.try_read(&mut [0; 16]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    /// drop(reader);
    /// peer.readable().await?;
    /// assert_eq!(peer.try_read(&mut [0; 16])?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn forget(mut self) {
        self.ends_writing = false;
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if self.ends_writing {
            // There is nobody to tell; a connection that is over already has ended writing too.
            let _ = self.stream.end_writing();
        }
    }
}
