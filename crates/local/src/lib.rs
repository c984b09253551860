//! Local sockets: named by a file, carried by shared memory (Linux only).
//!
//! ```
//! use sockeye_local::{LocalListener, LocalStream};
//! use std::io::{Read, Write};
//!
//! let folder = tempfile::tempdir()?;
//! let listener = LocalListener::bind(folder.path().join("echo"))?;
//! let serving = std::thread::spawn(move || {
//!     let (mut stream, _) = listener.accept()?;
//!     std::io::copy(&mut stream.try_clone()?, &mut stream)
//! });
//! let mut stream = LocalStream::connect(folder.path().join("echo"))?;
//! stream.write_all(b"anybody?")?;
//! stream.shutdown(std::net::Shutdown::Write)?;
//! let mut answer = String::new();
//! stream.read_to_string(&mut answer)?;
//! assert_eq!(answer, "anybody?");
//! # assert_eq!(serving.join().unwrap()?, 8);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! The types have the methods of `std::os::unix::net`. Either end may also be an ordinary program with an ordinary
//! socket: then the kernel carries the bytes, and nothing else is different. Programs under `sockeye run` have the kernel's
//! `AF_UNIX` sockets, not these.
//!
//! # How it works
//!
//! ```text
//!            client                        the file's path                         server
//!   Young::connect ── socket named by a nonce ────▶ path ──────▶ accept: Young
//!    │  after some calls: nonce, memfd ──▶ companion (abstract name) ──────▶ Host::claim
//!   End ═══════════════ Lane + ring ═══▶ one sealed memfd ◀═══ Lane + ring ═══════════════ End
//!    └ Outside ──────── bells, and the end of either process ──────────────── Outside ┘
//! ```
//!
//! - **Rendezvous** (`rendezvous`): a listener is a kernel socket at the path, and a companion whose abstract name is
//!   made of the file's device, inode and time of birth. A client that finds a companion connects to the path from a
//!   socket that is named by a nonce, and leaves an offer with the companion, the nonce and a sealed memfd, if the same process
//!   listens at both (`SO_PEERCRED`). Everything else is plain, and a plain peer sees no byte of this.
//! - **When** (`young`): memory costs more than a short connection. So a stream begins at the kernel's socket, and each of its
//!   directions goes over to its ring after some calls; each side says in the lane how many bytes went by the socket, and in
//!   the stream nothing is said. With [`connect_with`](LocalStream::connect_with), of packets and of pairs the memory is there
//!   from the start.
//! - **Permissions** (`companion`): every connection is one to the path, for which the path's permissions count. The
//!   companion's name has none. Who may not connect to the path can leave offers all the same, which take at most an
//!   eighth of the descriptors that the listener's process may have; and while it floods the companion's queue, clients get
//!   the kernel's carrier.
//! - **Ring** (`ring`): for each direction a single-producer, single-consumer ring of bytes. Each side publishes one position on
//!   a line of the cache of its own and remembers the other's, so that a write touches what the reader
//!   touches only when the ring seems full.
//! - **Long copies** (`ways`): a line of the processor's cache that is written while the other core has it costs more than
//!   the copy. So a stream of long writes tries, from time to time, to walk over 4 MiB instead of the ring, or to write
//!   past the caches, and goes the way that is fastest. There are never more bytes under way than the ring holds. At most
//!   16 ends of a process have such memory at once, until they end or find another way faster.
//! - **Waiting** (`wait`, `half`): no system call while the peer is awake. Who has nothing to do spins for up to 2 µs if that
//!   has paid lately, or lets the peer have the core where both last waited on one, says in the lane that it waits, looks again, and sleeps on a futex; or wants a byte (a bell) on the
//!   kernel socket, if it is non-blocking or has been idle for 40 ms. Who publishes wakes only those who said so.
//! - **Descriptors** (`inbox`) go through the kernel socket, together with the position of the bytes that they are attached
//!   to; the lane counts them, so that a reader stops there.
//! - **Datagrams** (`datagram`): a pair's two ends have two such rings, and a kernel's pair of datagram sockets beside
//!   them for bells, which also knows whether the peer is there. Those of sockets with names go by the kernel: a receiver
//!   takes from any number of senders, in the order in which they sent.
//! - **End** (`end`, `outside`): a close is said in the lane. A process that dies says nothing, but its kernel socket
//!   ends: a sleeper looks at that every 40 ms, an idle one waits there.
//! - **Trust** (`sys`, `ring`): the other process may write anything into the memory at any time. It is sealed
//!   against shrinking, nobody has a reference to its bytes, each index is read once and checked before it is used, and
//!   what breaks the rules gets the connection reset: calls fail with `ConnectionReset`.
//!
//! # Processes
//!
//! - A process that is killed closes its end: the other reads what was written, then the end of file, or fails with
//!   `ConnectionReset` where something it wrote was never read. It learns that within 100 ms.
//! - After a `fork` both processes have the end, as with any descriptor, but only one of them may go on using it:
//!   its positions are in the process's own memory. The other end sees this end close when both have, within 100 ms (at once,
//!   where nothing has forked); a shutdown is one for both. After `exec` it is gone.
//! - A stream that hasn't gone over to memory before a `fork` stays with the kernel in the process that didn't connect or accept.
//! - A listener accepts in the process that made it; `accept` in one forked from that fails with `Unsupported`, as the offers
//!   for the connections in the queue may be in the other's memory. So fork first: each worker
//!   has a listener of its own, or one process accepts for all.
//! - A signal ends no call that waits over shared memory.
//! - The kernel socket of a stream over shared memory ([`AsFd`](LocalStream#impl-AsFd-for-LocalStream)) is not the
//!   stream: passing it to another process, or reading and writing it there, doesn't pass the stream.
//! - A connection takes one descriptor at each end, and one more once a blocking thread has waited for 40 ms;
//!   memory is taken as the rings are first used. Of addresses it takes 8 MiB at each end, or twice a ring that is
//!   larger than 4 MiB; with rings under 64 KiB only theirs.

#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

mod ancillary;
mod carrier;
mod companion;
mod credentials;
mod datagram;
mod end;
mod half;
mod in_place;
mod inbox;
mod lane;
mod listener;
mod listening;
mod outside;
mod pace;
mod packets;
mod rendezvous;
mod ring;
mod stream;
mod sync;
#[allow(unsafe_code, reason = "shared memory; each block says why it is sound")]
mod sys;
#[cfg(feature = "tokio")]
pub mod tokio;
mod wait;
#[doc(hidden)]
pub mod watch;
mod ways;
mod young;

pub use ancillary::{Ancillary, Attached};
pub use credentials::Credentials;
pub use datagram::LocalDatagram;
pub use in_place::{SharedSlice, SharedSliceMut};
pub use listener::{Incoming, ListenerConfig, LocalListener};
pub use packets::{LocalPacketListener, LocalPackets};
pub use stream::LocalStream;

/// Bytes of a ring, unless others are asked for.
pub const DEFAULT_RING: usize = 256 << 10;
/// Bytes of the smallest ring.
pub const SMALLEST_RING: usize = 4 << 10;
/// Bytes of the largest ring.
pub const LARGEST_RING: usize = 16 << 20;

#[cfg(test)]
mod tests;
