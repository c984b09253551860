//! Sockets for asynchronous programs: what `tokio::net` has, over the stack (feature `tokio`).
//!
//! The methods are those of `tokio::net`, with the host as the first argument of what makes a socket;
//! [`TcpStream`] and its halves are tokio's `AsyncRead` and `AsyncWrite`, so that what is written for those (hyper,
//! for one) works with them. With the feature `futures` they are those of `futures-io` too, and with the feature
//! `axum` a [`TcpListener`] can be given to `axum::serve`. `examples/hyper.rs` and `examples/axum.rs` show both. The feature
//! `hyper-util` has `HttpConnector`, for the pooled client of that crate.
//! Whoever awaits anything of tokio's needs `tokio` as a dependency too: this crate passes none of it on.
//!
//! ```
//! use sockeye::{HostConfig, Network};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let network = Network::builder()
//!     .host("server", HostConfig::default())
//!     .host("client", HostConfig::default())
//!     .build()?;
//! let (server, client) = (network.host("server")?, network.host("client")?);
//!
//! let listener = sockeye::tokio::TcpListener::bind(&server, "server:7").await?;
//! let serving = tokio::spawn(async move {
//!     let (mut stream, _) = listener.accept().await?;
//!     let (mut from, mut to) = stream.split();
//!     tokio::io::copy(&mut from, &mut to).await
//! });
//!
//! let mut stream = sockeye::tokio::TcpStream::connect(&client, "server:7").await?;
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
//! # Runtimes
//!
//! Nothing here needs tokio's runtime: the futures can be awaited on any executor, and a socket can move from one to
//! another. Who wakes them is the network: its own thread or a socket call on another in real time; in a
//! [manual](crate::NetworkBuilder::build_manual) one whoever [turns](crate::Network::turn) it, so that all can
//! run under virtual time.
//!
//! What is ready is ready at once: these sockets don't count against tokio's budget for cooperative tasks. A task that
//! might read or write without ever having to wait, and has a runtime's thread for itself, should
//! yield now and then, or be wrapped in `tokio::task::coop::cooperative`.
//!
//! # What differs from tokio
//!
//! - `ready`, `readable` and `writable` look at the socket itself each time; what they say doesn't have to be unsaid by a
//!   call that fails with `WouldBlock`.
//! - [`Interest`] and [`Ready`] are types of this module: tokio's need its feature `net`.
//! - Options have the names of `std` and socket2, besides tokio's, and sizes of buffers are not doubled.
//! - There are no descriptors, and so no `from_std`; [`TcpSocket`] and [`UdpSocket`] can be made [from](From)
//!   those of the blocking door, before they are connected.
//! - Dropping a stream never waits, whatever its linger time.
//! - axum knows `ConnectInfo<SocketAddr>` of tokio's listener alone; with `axum::serve::ListenerExt` it is
//!   `axum::serve(listener.tap_io(|_| ()), router.into_make_service_with_connect_info::<SocketAddr>())` here.
//! - `send_bytes` and `recv_bytes` move data without a copy.
//!
//! # Cancellation
//!
//! A future of this module can be dropped before it is done (as the branches of `select!` are), and its waker is dropped with it:
//!
//! - `accept`, `readable`, `writable`, `ready`, `peek*`, `recv*`: when dropped, no connection, byte or datagram was
//!   taken off its queue.
//! - `send*`: when dropped, nothing was sent.
//! - `connect` of a stream: when dropped, the attempt is given up.
//!
//! Of tokio's `AsyncReadExt` and `AsyncWriteExt`, `read`, `read_buf`, `write`, `write_vectored` and `write_buf` are
//! safe in the same way. `read_exact`, `read_to_end`, `read_to_string`, `write_all` and `write_all_buf` are not: when dropped, a
//! part may have been read or written already, and only `write_all_buf`, and `read_to_end` in its vector, say how much.
//!
//! Methods named `poll_…` keep the waker of one task for each direction, of the one that polled last, as
//! tokio's do. Any number of tasks can wait with the asynchronous ones.

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "futures")]
mod futures;
#[cfg(feature = "hyper-util")]
mod http;
mod listener;
mod place;
mod ready;
mod socket;
mod split;
mod stream;
mod udp;

#[cfg(feature = "hyper-util")]
pub use http::HttpConnector;
pub use listener::TcpListener;
pub use ready::{Interest, Ready};
pub use socket::TcpSocket;
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use stream::TcpStream;
pub use udp::UdpSocket;

use sockeye_packet::Payload;

/// Hands the front of a payload over, chunk by chunk, so that the buffer that it goes to need not be zeroed first;
/// says how many bytes that were.
fn put(payload: &Payload, room: usize, mut put_slice: impl FnMut(&[u8])) -> usize {
    let mut left = room;
    for chunk in payload.chunks() {
        let len = chunk.len().min(left);
        put_slice(&chunk[..len]);
        left -= len;
    }
    room - left
}

#[cfg(test)]
mod tests;
