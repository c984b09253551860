//! Datagrams for asynchronous programs.

use super::socket::Socket;
use super::stream::half;
use crate::end::Half;
use crate::sys::watch;
use crate::{Ancillary, Attached};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::task::{Context, Poll};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};

/// A socket of datagrams, as [`crate::LocalDatagram`], for asynchronous programs.
///
/// ```
/// use sockeye_local::tokio::LocalDatagram;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("log");
/// let receiver = LocalDatagram::bind(&path)?;
/// let sender = LocalDatagram::unbound()?;
/// sender.send_to(b"noon", &path).await?;
/// let mut datagram = [0; 64];
/// let (len, from) = receiver.recv_from(&mut datagram).await?;
/// assert_eq!(&datagram[..len], b"noon");
/// assert!(from.is_unnamed());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LocalDatagram {
    socket: Socket<crate::LocalDatagram>,
}

impl LocalDatagram {
    /// A socket that is named by a path, as [`crate::LocalDatagram::bind`].
    pub fn bind(path: impl AsRef<Path>) -> io::Result<LocalDatagram> {
        crate::LocalDatagram::bind(path).and_then(LocalDatagram::new)
    }

    /// The same for any name.
    pub fn bind_addr(name: &SocketAddr) -> io::Result<LocalDatagram> {
        crate::LocalDatagram::bind_addr(name).and_then(LocalDatagram::new)
    }

    /// A socket without a name.
    pub fn unbound() -> io::Result<LocalDatagram> {
        crate::LocalDatagram::unbound().and_then(LocalDatagram::new)
    }

    /// Two sockets that are connected to each other, by shared memory.
    pub fn pair() -> io::Result<(LocalDatagram, LocalDatagram)> {
        let (one, other) = crate::LocalDatagram::pair()?;
        Ok((LocalDatagram::new(one)?, LocalDatagram::new(other)?))
    }

    /// The asynchronous handle to a socket, of which there are no others. Needs a runtime of tokio's around it.
    pub fn new(socket: crate::LocalDatagram) -> io::Result<LocalDatagram> {
        Ok(LocalDatagram { socket: Socket::new(socket)? })
    }

    /// The socket for threads: it is non-blocking still.
    pub fn into_inner(self) -> crate::LocalDatagram {
        self.socket.into_inner()
    }

    /// The socket for threads, for what isn't input or output, as [`LocalStream::get_ref`](super::LocalStream::get_ref).
    pub fn get_ref(&self) -> &crate::LocalDatagram {
        self.socket.get_ref()
    }

    /// Has `send` send to the socket at a path, as [`crate::LocalDatagram::connect`].
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.get_ref().connect(path)
    }

    /// The same for any name.
    pub fn connect_addr(&self, name: &SocketAddr) -> io::Result<()> {
        self.get_ref().connect_addr(name)
    }

    /// Sends a datagram to the socket's peer, whole, as [`crate::LocalDatagram::send`].
    pub async fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        self.socket.call(Half::Writes, |socket| socket.send(datagram)).await
    }

    /// The same with descriptors or credentials attached, as [`crate::LocalDatagram::send_with`].
    pub async fn send_with<'a>(
        &self,
        datagram: &[u8],
        attached: impl Into<Attached<'a>>,
    ) -> io::Result<usize> {
        let attached = attached.into();
        self.socket.call(Half::Writes, |socket| socket.send_with(datagram, attached)).await
    }

    /// Sends a datagram to the socket at a path, as [`crate::LocalDatagram::send_to`].
    pub async fn send_to(&self, datagram: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.send_to_addr(datagram, &SocketAddr::from_pathname(path)?).await
    }

    /// The same for any name.
    pub async fn send_to_addr(&self, datagram: &[u8], name: &SocketAddr) -> io::Result<usize> {
        let send = |socket: &crate::LocalDatagram| socket.send_to_addr(datagram, name);
        let would_block = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        loop {
            let sent = send(self.get_ref());
            if !sent.as_ref().is_err_and(would_block) {
                return sent;
            }
            // This socket isn't told of room with the other: one that is connected to it is.
            if let Some(other) = Room::at(name)?.filter(Room::is_full) {
                other.wait().await?;
            } else if let Some(sent) = self.socket.write_once(send).await? {
                // All that this one has sent and wasn't received was too much.
                return Ok(sent);
            }
        }
    }

    /// Receives a datagram, or as much of it as fits, as [`crate::LocalDatagram::recv`].
    pub async fn recv(&self, datagram: &mut [u8]) -> io::Result<usize> {
        self.socket.call(Half::Reads, |socket| socket.recv(datagram)).await
    }

    /// The same with the name of its sender, which may have none.
    pub async fn recv_from(&self, datagram: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.call(Half::Reads, |socket| socket.recv_from(datagram)).await
    }

    /// The same with what is attached to it, as [`crate::LocalDatagram::recv_with`].
    pub async fn recv_with(&self, datagram: &mut [u8]) -> io::Result<(usize, Ancillary)> {
        self.socket.call(Half::Reads, |socket| socket.recv_with(datagram)).await
    }

    /// Receives what the next `recv` will, and leaves it there.
    pub async fn peek(&self, datagram: &mut [u8]) -> io::Result<usize> {
        self.socket.call(Half::Reads, |socket| socket.peek(datagram)).await
    }

    /// The same with the name of its sender.
    pub async fn peek_from(&self, datagram: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.call(Half::Reads, |socket| socket.peek_from(datagram)).await
    }

    /// Has descriptors come, or come no more, as [`crate::LocalDatagram::set_passrights`].
    pub fn set_passrights(&self, passrights: bool) -> io::Result<()> {
        self.get_ref().set_passrights(passrights)
    }

    /// Has credentials come, or come no more, as [`crate::LocalDatagram::set_passcred`].
    pub fn set_passcred(&self, passcred: bool) -> io::Result<()> {
        self.get_ref().set_passcred(passcred)
    }

    /// Sends a datagram; fails with `WouldBlock` where there is no room for it.
    pub fn try_send(&self, datagram: &[u8]) -> io::Result<usize> {
        self.socket.try_call(Half::Writes, |socket| socket.send(datagram))
    }

    /// Sends a datagram to the socket at a path; fails with `WouldBlock` where there is no room for it.
    pub fn try_send_to(&self, datagram: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.socket.try_call(Half::Writes, |socket| socket.send_to(datagram, path))
    }

    /// Receives a datagram; fails with `WouldBlock` where there is none.
    pub fn try_recv(&self, datagram: &mut [u8]) -> io::Result<usize> {
        self.socket.try_call(Half::Reads, |socket| socket.recv(datagram))
    }

    /// The same with the name of its sender.
    pub fn try_recv_from(&self, datagram: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.try_call(Half::Reads, |socket| socket.recv_from(datagram))
    }

    /// Waits until a `recv` would do something.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.ready_half(Half::Reads).await
    }

    /// Waits until a `send` is worth a try: there is some room, and since one found too little for its datagram there is
    /// more. The kernel knows nothing here of whom [`send_to`](LocalDatagram::send_to) sends to.
    pub async fn writable(&self) -> io::Result<()> {
        self.socket.ready_half(Half::Writes).await
    }

    /// Waits for one of both, and says which it is, as [`LocalStream::ready`](super::LocalStream::ready).
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.socket.ready(interest).await
    }

    /// As [`readable`](LocalDatagram::readable), for one task.
    pub fn poll_recv_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready_half(context, Half::Reads)
    }

    /// As [`writable`](LocalDatagram::writable), for one task.
    pub fn poll_send_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready_half(context, Half::Writes)
    }

    /// Makes one call of the socket for threads, as [`LocalStream::try_io`](super::LocalStream::try_io).
    pub fn try_io<R>(
        &self,
        interest: Interest,
        call: impl FnOnce(&crate::LocalDatagram) -> io::Result<R>,
    ) -> io::Result<R> {
        self.socket.try_call(half(interest), call)
    }

    /// Makes a call of the socket for threads until it doesn't fail with `WouldBlock`, as
    /// [`LocalStream::async_io`](super::LocalStream::async_io).
    pub async fn async_io<R>(
        &self,
        interest: Interest,
        call: impl FnMut(&crate::LocalDatagram) -> io::Result<R>,
    ) -> io::Result<R> {
        self.socket.call(half(interest), call).await
    }

    /// Whether what `send` sends is carried by shared memory, and not by the kernel's socket.
    pub fn is_shared_memory(&self) -> bool {
        self.get_ref().is_shared_memory()
    }

    /// The name of this socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.get_ref().local_addr()
    }

    /// The name of the socket that this one is connected to.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.get_ref().peer_addr()
    }

    /// The error that waits to be told, if there is one.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.get_ref().take_error()
    }

    /// Shuts the socket for sending, receiving or both, as [`crate::LocalDatagram::shutdown`]; calls that wait go on
    /// waiting, as tokio's do.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.get_ref().shutdown(how)
    }
}

/// The kernel's socket, as [`crate::LocalDatagram`]'s.
impl AsFd for LocalDatagram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

impl AsRawFd for LocalDatagram {
    fn as_raw_fd(&self) -> RawFd {
        self.get_ref().as_raw_fd()
    }
}

/// A socket of its own that is told when there is room with another.
struct Room(AsyncFd<UnixDatagram>);

impl Room {
    /// None where nobody else may send to it.
    fn at(name: &SocketAddr) -> io::Result<Option<Room>> {
        let socket = UnixDatagram::unbound()?;
        match socket.connect_addr(name) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::PERM) => Ok(None),
            connected => connected.and_then(|()| watch(socket)).map(|socket| Some(Room(socket))),
        }
    }

    fn is_full(&self) -> bool {
        let mut sources = [PollFd::new(self.0.get_ref(), PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut sources, Some(&now)).is_ok_and(|count| count == 0)
    }

    async fn wait(&self) -> io::Result<()> {
        self.0.writable().await.map(|_| ())
    }
}
