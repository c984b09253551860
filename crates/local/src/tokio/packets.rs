//! Sequenced packets.

use super::socket::Socket;
use super::stream::half;
use crate::end::Half;
use crate::{Ancillary, Attached, Credentials, DEFAULT_RING};
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::task::{Context, Poll};
use tokio::io::{Interest, Ready};

/// A connection on which each `recv` gets what one `send` sent, as [`crate::LocalPackets`], for asynchronous programs.
///
/// ```
/// use sockeye_local::tokio::{LocalPacketListener, LocalPackets};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let folder = tempfile::tempdir()?;
/// let listener = LocalPacketListener::bind(folder.path().join("orders"))?;
/// let client = LocalPackets::connect(folder.path().join("orders")).await?;
/// let (server, _) = listener.accept().await?;
/// client.send(b"two teas").await?;
/// client.send(b"one cake").await?;
/// let mut order = [0; 64];
/// assert_eq!(server.recv(&mut order).await?, 8);
/// assert_eq!(&order[..8], b"two teas");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LocalPackets {
    socket: Socket<crate::LocalPackets>,
}

impl LocalPackets {
    /// Connects to the listener at a path, of whatever kind. Fails with `WouldBlock` while its queue is full.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<LocalPackets> {
        LocalPackets::connect_with(path, DEFAULT_RING).await
    }

    /// The same with rings of so many bytes for each direction.
    #[expect(clippy::unused_async, reason = "as LocalStream's")]
    pub async fn connect_with(path: impl AsRef<Path>, ring: usize) -> io::Result<LocalPackets> {
        crate::LocalPackets::dial(path.as_ref(), ring, false).and_then(LocalPackets::new)
    }

    /// Two ends that are connected to each other.
    pub fn pair() -> io::Result<(LocalPackets, LocalPackets)> {
        let (one, other) = crate::LocalPackets::pair()?;
        Ok((LocalPackets::new(one)?, LocalPackets::new(other)?))
    }

    /// The asynchronous handle to a connection, of which there are no others. Needs a runtime of tokio's around it.
    pub fn new(packets: crate::LocalPackets) -> io::Result<LocalPackets> {
        Ok(LocalPackets { socket: Socket::new(packets)? })
    }

    /// The connection for threads: it is non-blocking still.
    pub fn into_inner(self) -> crate::LocalPackets {
        self.socket.into_inner()
    }

    /// The connection for threads, for what isn't input or output, as
    /// [`LocalStream::get_ref`](super::LocalStream::get_ref).
    pub fn get_ref(&self) -> &crate::LocalPackets {
        self.socket.get_ref()
    }

    /// Sends a packet, whole, once there is room.
    pub async fn send(&self, packet: &[u8]) -> io::Result<usize> {
        self.socket.call(Half::Writes, |packets| packets.send(packet)).await
    }

    /// Receives a packet, or as much of it as fits.
    pub async fn recv(&self, packet: &mut [u8]) -> io::Result<usize> {
        self.socket.call(Half::Reads, |packets| packets.recv(packet)).await
    }

    /// Receives what the next `recv` will, and leaves it there.
    pub async fn peek(&self, packet: &mut [u8]) -> io::Result<usize> {
        self.socket.call(Half::Reads, |packets| packets.peek(packet)).await
    }

    /// Sends a packet with what is attached to it, as [`crate::LocalPackets::send_with`].
    pub async fn send_with<'a>(&self, packet: &[u8], attached: impl Into<Attached<'a>>) -> io::Result<usize> {
        let attached = attached.into();
        self.socket.call(Half::Writes, |packets| packets.send_with(packet, attached)).await
    }

    /// Receives a packet with what is attached to it, as [`crate::LocalPackets::recv_with`].
    pub async fn recv_with(&self, packet: &mut [u8]) -> io::Result<(usize, Ancillary)> {
        self.socket.call(Half::Reads, |packets| packets.recv_with(packet)).await
    }

    /// Has descriptors come, or come no more, as [`crate::LocalStream::set_passrights`].
    pub fn set_passrights(&self, passrights: bool) -> io::Result<()> {
        self.get_ref().set_passrights(passrights)
    }

    /// Has credentials come, or come no more, as [`crate::LocalStream::set_passcred`].
    pub fn set_passcred(&self, passcred: bool) -> io::Result<()> {
        self.get_ref().set_passcred(passcred)
    }

    /// Sends a packet; fails with `WouldBlock` where there is no room for it.
    pub fn try_send(&self, packet: &[u8]) -> io::Result<usize> {
        self.socket.try_call(Half::Writes, |packets| packets.send(packet))
    }

    /// Receives a packet; fails with `WouldBlock` where there is none.
    pub fn try_recv(&self, packet: &mut [u8]) -> io::Result<usize> {
        self.socket.try_call(Half::Reads, |packets| packets.recv(packet))
    }

    /// Waits until a `recv` would do something.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.ready_half(Half::Reads).await
    }

    /// Waits until a `send` is worth a try: there is some room, and since one found too little for its packet there is
    /// more.
    pub async fn writable(&self) -> io::Result<()> {
        self.socket.ready_half(Half::Writes).await
    }

    /// Waits for one of both, and says which it is, as [`LocalStream::ready`](super::LocalStream::ready).
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.socket.ready(interest).await
    }

    /// As [`readable`](LocalPackets::readable), for one task.
    pub fn poll_recv_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready_half(context, Half::Reads)
    }

    /// As [`writable`](LocalPackets::writable), for one task.
    pub fn poll_send_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready_half(context, Half::Writes)
    }

    /// Makes one call of the connection for threads, as [`LocalStream::try_io`](super::LocalStream::try_io).
    pub fn try_io<R>(
        &self,
        interest: Interest,
        call: impl FnOnce(&crate::LocalPackets) -> io::Result<R>,
    ) -> io::Result<R> {
        self.socket.try_call(half(interest), call)
    }

    /// Makes a call of the connection for threads until it doesn't fail with `WouldBlock`, as
    /// [`LocalStream::async_io`](super::LocalStream::async_io).
    pub async fn async_io<R>(
        &self,
        interest: Interest,
        call: impl FnMut(&crate::LocalPackets) -> io::Result<R>,
    ) -> io::Result<R> {
        self.socket.call(half(interest), call).await
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

    /// Closes one half, or both, as [`crate::LocalStream::shutdown`].
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.get_ref().shutdown(how)
    }
}

/// The connection's kernel socket, as [`crate::LocalStream`]'s.
impl AsFd for LocalPackets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

impl AsRawFd for LocalPackets {
    fn as_raw_fd(&self) -> RawFd {
        self.get_ref().as_raw_fd()
    }
}
