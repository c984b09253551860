//! Listening at a path.

use super::{LocalPackets, LocalStream};
use crate::ListenerConfig;
use crate::sys::watch;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;

/// A socket that listens at a path, as [`crate::LocalListener`], for asynchronous programs.
///
/// ```
/// use sockeye_local::tokio::{LocalListener, LocalStream};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let folder = tempfile::tempdir()?;
/// let listener = LocalListener::bind(folder.path().join("time"))?;
/// let mut client = LocalStream::connect(folder.path().join("time")).await?;
/// let (mut stream, _) = listener.accept().await?;
/// stream.write_all(b"noon").await?;
/// drop(stream);
/// let mut time = String::new();
/// client.read_to_string(&mut time).await?;
/// assert_eq!(time, "noon");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LocalListener {
    socket: AsyncFd<crate::LocalListener>,
}

/// A socket that listens at a path for connections of packets, as [`crate::LocalPacketListener`], for asynchronous
/// programs. See [`LocalPackets`] for an example.
#[derive(Debug)]
pub struct LocalPacketListener {
    socket: AsyncFd<crate::LocalPacketListener>,
}

macro_rules! listener {
    ($listener:ident, $connection:ident) => {
        impl $listener {
            /// Listens at a path.
            pub fn bind(path: impl AsRef<Path>) -> io::Result<$listener> {
                $listener::bind_with(path, &ListenerConfig::default())
            }

            /// The same with bounds of one's own.
            pub fn bind_with(path: impl AsRef<Path>, config: &ListenerConfig) -> io::Result<$listener> {
                $listener::new(crate::$listener::bind_with(path, config)?)
            }

            /// The asynchronous handle to a listener. Needs a runtime of tokio's around it.
            pub fn new(listener: crate::$listener) -> io::Result<$listener> {
                listener.set_nonblocking(true)?;
                Ok($listener { socket: watch(listener)? })
            }

            /// The listener for threads: it is non-blocking still.
            pub fn into_inner(self) -> crate::$listener {
                self.socket.into_inner()
            }

            /// The next connection, and the name of its other end, which rarely has one.
            pub async fn accept(&self) -> io::Result<($connection, SocketAddr)> {
                loop {
                    let mut guard = self.socket.readable().await?;
                    if let Ok(accepted) = guard.try_io(|listener| listener.get_ref().accept()) {
                        let (connection, address) = accepted?;
                        return Ok(($connection::new(connection)?, address));
                    }
                }
            }

            /// As `accept`, for one task.
            pub fn poll_accept(
                &self,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<($connection, SocketAddr)>> {
                loop {
                    let mut guard = ready!(self.socket.poll_read_ready(context))?;
                    match self.socket.get_ref().accept() {
                        Err(error) if error.kind() == ErrorKind::WouldBlock => guard.clear_ready(),
                        Err(error) => return Poll::Ready(Err(error)),
                        Ok((connection, address)) => {
                            return Poll::Ready($connection::new(connection).map(|made| (made, address)));
                        }
                    }
                }
            }

            /// Its name.
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                self.socket.get_ref().local_addr()
            }
        }

        /// It becomes readable when there is a connection to accept.
        impl AsFd for $listener {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.socket.get_ref().as_fd()
            }
        }

        impl AsRawFd for $listener {
            fn as_raw_fd(&self) -> RawFd {
                self.socket.get_ref().as_raw_fd()
            }
        }
    };
}

listener!(LocalListener, LocalStream);
listener!(LocalPacketListener, LocalPackets);

impl LocalListener {
    /// The error that waits to be told, if there is one.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.get_ref().take_error()
    }
}
