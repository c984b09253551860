//! The same for asynchronous programs (feature `tokio`).
//!
//! The types have the methods of `tokio::net::UnixStream`, `UnixListener` and `UnixDatagram`, and the same for packets;
//! [`LocalStream`] is tokio's `AsyncRead` and `AsyncWrite`. They need tokio's runtime, with I/O enabled, as it waits at their
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
//!     let (mut stream, _) = listener.accept().await?;
//!     let (mut from, mut to) = stream.split();
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
//! All methods here, and of tokio's traits `read`, `write` and their vectored kin, can be dropped before they are done:
//! nothing was taken or sent then.
//!
//! # Tasks
//!
//! Any number of tasks may wait for one socket by the methods here; by tokio's traits one to read and one to write, which is the
//! last that tried.

mod datagram;
mod listener;
mod packets;
mod socket;
mod split;
mod stream;

pub use datagram::LocalDatagram;
pub use listener::{LocalListener, LocalPacketListener};
pub use packets::LocalPackets;
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use stream::LocalStream;
