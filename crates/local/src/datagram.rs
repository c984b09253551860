//! Datagrams.
//!
//! Those of sockets with names are carried by the kernel: anybody may send to a name, and one receiver takes from all of
//! them in the order in which they came. Those of a pair go through shared memory, see [`pair`].

mod bells;
mod pair;
#[cfg(test)]
mod tests;

use crate::ancillary::{Wants, send_message};
use crate::end::{Half, Role};
use crate::half::Take;
use crate::listener;
use crate::stream::whole;
use crate::sys::Mapping;
use crate::sys::messages::receive;
use crate::watch::{Look, Ready};
use crate::{Ancillary, Attached, DEFAULT_RING};
use pair::Pair;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{RecvFlags, SendFlags, SocketAddrAny, SocketAddrUnix, SocketType};
use std::ffi::OsStr;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A socket of datagrams: what `std::os::unix::net::UnixDatagram` is. A [`pair`](LocalDatagram::pair)'s are carried by shared
/// memory; those of sockets with names by the kernel's socket, so that the others may be plain programs.
///
/// Each `recv` gets what one `send` sent, or as much of it as fits into the buffer; the rest is lost. Datagrams may be empty. They
/// arrive in the order in which they were sent, none is lost or doubled, and a sender waits while the receiver's queue is
/// full, or is told `WouldBlock`.
///
/// ```
/// use sockeye_local::LocalDatagram;
///
/// let folder = tempfile::tempdir()?;
/// let (log, clock) = (folder.path().join("log"), folder.path().join("clock"));
/// let receiver = LocalDatagram::bind(&log)?;
/// let sender = LocalDatagram::bind(&clock)?;
/// sender.send_to(b"noon", &log)?;
/// let mut datagram = [0; 64];
/// let (len, from) = receiver.recv_from(&mut datagram)?;
/// assert_eq!((&datagram[..len], from.as_pathname()), (&b"noon"[..], Some(&*clock)));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct LocalDatagram {
    end: Arc<End>,
}

/// What carries a socket's datagrams.
#[derive(Debug)]
enum End {
    /// The rings, as long as it is connected to the other end of its pair.
    Pair(Box<Pair>),
    Kernel(UnixDatagram, Wants),
}

impl End {
    fn socket(&self) -> &UnixDatagram {
        match self {
            End::Pair(pair) => pair.socket(),
            End::Kernel(socket, _) => socket,
        }
    }

    fn is_ready(&self, half: Half) -> io::Result<bool> {
        if let End::Pair(pair) = self
            && let Some(is_ready) = pair.is_ready(half)
        {
            return Ok(is_ready);
        }
        let wanted = match half {
            Half::Reads => PollFlags::IN | PollFlags::RDHUP,
            Half::Writes => PollFlags::OUT,
        };
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        Ok(rustix::event::poll(&mut [PollFd::new(self.socket(), wanted)], Some(&now))? > 0)
    }
}

/// Of ends it tells nothing but that a call would do something: peers of datagrams come and go.
impl Look for End {
    fn look(&self, wanted: Ready) -> Ready {
        let look = |what: Ready, half| what.only_if(wanted.has(what) && self.is_ready(half).unwrap_or(true));
        look(Ready::READABLE, Half::Reads) | look(Ready::WRITABLE, Half::Writes)
    }
}

impl LocalDatagram {
    /// A socket that is named by a path. Fails with `AddrInUse` where another socket is, or where a file stands that is no
    /// socket; a socket's file that nobody has open is replaced, which the standard library's doesn't do.
    ///
    /// The file appears with the permissions that the umask leaves of 0777: those who may write to it may send. It stays
    /// when the socket is dropped.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<LocalDatagram> {
        LocalDatagram::bind_addr(&SocketAddr::from_pathname(path)?)
    }

    /// The same for any name; an abstract one has no file. With no name the kernel gives the socket an abstract one.
    pub fn bind_addr(name: &SocketAddr) -> io::Result<LocalDatagram> {
        match name.as_pathname() {
            Some(path) => {
                Ok(LocalDatagram::from(UnixDatagram::from(listener::bind(path, SocketType::DGRAM)?)))
            }
            None => UnixDatagram::bind_addr(name).map(LocalDatagram::from),
        }
    }

    /// A socket without a name, to which only those can answer that are connected to it.
    pub fn unbound() -> io::Result<LocalDatagram> {
        UnixDatagram::unbound().map(LocalDatagram::from)
    }

    /// Two sockets that are connected to each other, by shared memory. Either may go with a forked process.
    ///
    /// The one that sends learns within 100 ms that the other's process was killed: until then its datagrams are lost. What it sends
    /// to others, with [`send_to`](LocalDatagram::send_to), the kernel carries; once it is connected to
    /// another, everything.
    ///
    /// ```
    /// use sockeye_local::LocalDatagram;
    ///
    /// let (ours, theirs) = LocalDatagram::pair()?;
    /// ours.send(b"two")?;
    /// ours.send(b"words")?;
    /// let mut datagram = [0; 64];
    /// assert_eq!(theirs.recv(&mut datagram)?, 3);
    /// assert_eq!(theirs.recv(&mut datagram)?, 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn pair() -> io::Result<(LocalDatagram, LocalDatagram)> {
        LocalDatagram::pair_with(DEFAULT_RING)
    }

    /// The same with queues of so many bytes for each direction: rounded up to a power of two, from 4 KiB to 16 MiB. Each
    /// datagram takes 8 bytes more than it has, rounded up to a multiple of 8.
    pub fn pair_with(ring: usize) -> io::Result<(LocalDatagram, LocalDatagram)> {
        let (one, other) = UnixDatagram::pair()?;
        let mapping = Arc::new(Mapping::create(whole(ring))?.0);
        let end = |socket, role| {
            let pair = Pair::new(socket, Arc::clone(&mapping), role);
            LocalDatagram { end: Arc::new(End::Pair(Box::new(pair))) }
        };
        Ok((end(one, Role::Connector), end(other, Role::Acceptor)))
    }

    /// Has `send` send to the socket at a path from now on, and takes datagrams from that socket only. If it was connected
    /// before, what it hasn't received is lost. Fails with `PermissionDenied` where the path may not be written to, or where the
    /// socket there is connected to another; with `ConnectionRefused` where nobody has it open.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.connect_addr(&SocketAddr::from_pathname(path)?)
    }

    /// The same for any name.
    pub fn connect_addr(&self, name: &SocketAddr) -> io::Result<()> {
        match &*self.end {
            End::Pair(pair) => pair.connect(name),
            End::Kernel(socket, _) => socket.connect_addr(name),
        }
    }

    /// Sends a datagram to the socket's peer, whole. Waits while the queue is full.
    ///
    /// Fails with `NotConnected` where there is no peer, and with `ConnectionRefused` where it is gone: once, after which
    /// the socket isn't connected. With `EMSGSIZE` if the datagram is longer than the queue, with `BrokenPipe` if either
    /// socket is shut for that, and with `PermissionDenied` where the peer is connected to another.
    pub fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        if let End::Pair(pair) = &*self.end
            && let Some(len) = pair.send(datagram, None)?
        {
            return Ok(len);
        }
        self.socket().send(datagram)
    }

    /// Sends a datagram to the socket at a path. Fails as [`connect`](LocalDatagram::connect) and
    /// [`send`](LocalDatagram::send) do.
    pub fn send_to(&self, datagram: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.send_to_addr(datagram, &SocketAddr::from_pathname(path)?)
    }

    /// The same for any name.
    pub fn send_to_addr(&self, datagram: &[u8], name: &SocketAddr) -> io::Result<usize> {
        match &*self.end {
            End::Pair(pair) => pair.send_to(datagram, name),
            End::Kernel(socket, _) => socket.send_to_addr(datagram, name),
        }
    }

    /// Receives a datagram, or as much of it as fits: how many bytes that are. Waits for one, also where the peer is gone: who
    /// sends datagrams comes and goes. Gets 0 bytes once the socket is shut for reading.
    pub fn recv(&self, datagram: &mut [u8]) -> io::Result<usize> {
        match self.recv_in_pair(datagram, false)? {
            Some(len) => Ok(len),
            None => self.socket().recv(datagram),
        }
    }

    /// The same with the name of its sender, which may have none.
    pub fn recv_from(&self, datagram: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match self.recv_in_pair(datagram, false)? {
            Some(len) => Ok((len, unnamed()?)),
            None => self.socket().recv_from(datagram),
        }
    }

    /// Receives what the next `recv` will, and leaves it there.
    pub fn peek(&self, datagram: &mut [u8]) -> io::Result<usize> {
        self.peek_from(datagram).map(|(len, _)| len)
    }

    /// The same with the name of its sender.
    pub fn peek_from(&self, datagram: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        if let Some(len) = self.recv_in_pair(datagram, true)? {
            return Ok((len, unnamed()?));
        }
        let (len, _, sender) = rustix::net::recvfrom(self.socket(), datagram, RecvFlags::PEEK)?;
        Ok((len, name(sender)?))
    }

    /// None if that is for the kernel.
    fn recv_in_pair(&self, datagram: &mut [u8], keep: bool) -> io::Result<Option<usize>> {
        match &*self.end {
            End::Pair(pair) => pair.recv(datagram, if keep { Take::Nothing } else { Take::Bytes }),
            End::Kernel(..) => Ok(None),
        }
    }

    /// How often a call has taken bells from the socket, which may have been for a call of the other half.
    #[cfg(feature = "tokio")]
    pub(crate) fn heard(&self) -> u32 {
        match &*self.end {
            End::Pair(pair) => pair.heard(),
            End::Kernel(..) => 0,
        }
    }

    fn socket(&self) -> &UnixDatagram {
        self.end.socket()
    }

    /// Whether what `send` sends is carried by shared memory, and not by the kernel's socket.
    pub fn is_shared_memory(&self) -> bool {
        matches!(&*self.end, End::Pair(pair) if !pair.has_moved())
    }

    /// Sends a datagram, which may be empty, to the socket's peer, with descriptors of open files or credentials attached to
    /// it, as [`LocalStream::send_with`](crate::LocalStream::send_with).
    ///
    /// ```
    /// use sockeye_local::LocalDatagram;
    /// use std::os::fd::AsFd;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let receiver = LocalDatagram::bind(folder.path().join("files"))?;
    /// receiver.set_passrights(true)?;
    /// let sender = LocalDatagram::unbound()?;
    /// sender.connect(folder.path().join("files"))?;
    /// sender.send_with(b"two", &[std::io::stdin().as_fd(), std::io::stdout().as_fd()])?;
    /// assert_eq!(receiver.recv_with(&mut [0; 64])?.1.descriptors.len(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send_with<'a>(&self, datagram: &[u8], attached: impl Into<Attached<'a>>) -> io::Result<usize> {
        let attached = attached.into();
        if let End::Pair(pair) = &*self.end
            && let Some(len) = pair.send(datagram, Some(attached))?
        {
            return Ok(len);
        }
        send_message(self.socket().as_fd(), datagram, SendFlags::empty(), attached)
    }

    /// Receives a datagram as [`recv`](LocalDatagram::recv) does, with what is attached to it, as
    /// [`LocalStream::recv_with`](crate::LocalStream::recv_with).
    pub fn recv_with(&self, datagram: &mut [u8]) -> io::Result<(usize, Ancillary)> {
        if let End::Pair(pair) = &*self.end
            && let Some(received) = pair.recv_with(datagram)?
        {
            return Ok(received);
        }
        let mut attached = Ancillary::default();
        let socket = self.socket().as_fd();
        let len = receive(socket, datagram, RecvFlags::empty(), self.wants(), &mut attached)?;
        Ok((len, attached))
    }

    /// Has descriptors come with datagrams, or come no more, as
    /// [`LocalStream::set_passrights`](crate::LocalStream::set_passrights): of anybody who may send to the socket.
    pub fn set_passrights(&self, passrights: bool) -> io::Result<()> {
        self.wants().descriptors.store(passrights, Ordering::Relaxed);
        Ok(())
    }

    /// Whether descriptors come.
    pub fn passrights(&self) -> io::Result<bool> {
        Ok(self.wants().descriptors.load(Ordering::Relaxed))
    }

    /// Has the sender's credentials come with datagrams, or come no more, as
    /// [`LocalStream::set_passcred`](crate::LocalStream::set_passcred). Of what the other end of a
    /// [`pair`](LocalDatagram::pair) sends without anything attached they are those of the process that made the pair.
    ///
    /// ```
    /// use sockeye_local::LocalDatagram;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let receiver = LocalDatagram::bind(folder.path().join("log"))?;
    /// receiver.set_passcred(true)?;
    /// LocalDatagram::unbound()?.send_to(b"who is this?", folder.path().join("log"))?;
    /// let credentials = receiver.recv_with(&mut [0; 64])?.1.credentials;
    /// assert_eq!(credentials.unwrap().pid, Some(std::process::id()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_passcred(&self, passcred: bool) -> io::Result<()> {
        self.wants().set_credentials(self.as_fd(), passcred)
    }

    /// Whether credentials come.
    pub fn passcred(&self) -> io::Result<bool> {
        Ok(self.wants().credentials.load(Ordering::Acquire))
    }

    fn wants(&self) -> &Wants {
        match &*self.end {
            End::Pair(pair) => pair.wants(),
            End::Kernel(_, wants) => wants,
        }
    }

    /// Whether a call that receives would do something now, without waiting: get a datagram, or fail. If not, the descriptor has
    /// an event once it would, as [`LocalStream::is_readable`](crate::LocalStream::is_readable) says.
    pub fn is_readable(&self) -> io::Result<bool> {
        self.is_ready(Half::Reads)
    }

    /// Whether `send` is worth a try now: there is some room, and since one found too little for its datagram there is
    /// more; or it fails. If not, the descriptor has an event once it is.
    pub fn is_writable(&self) -> io::Result<bool> {
        self.is_ready(Half::Writes)
    }

    pub(crate) fn is_ready(&self, half: Half) -> io::Result<bool> {
        self.end.is_ready(half)
    }

    pub(crate) fn look(&self) -> Weak<dyn Look> {
        let end: Weak<End> = Arc::downgrade(&self.end);
        end
    }

    /// Another handle to the same socket: it is closed with the last.
    pub fn try_clone(&self) -> io::Result<LocalDatagram> {
        Ok(LocalDatagram { end: Arc::clone(&self.end) })
    }

    /// The name of this socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().local_addr()
    }

    /// The name of the socket that this one is connected to; fails with `NotConnected` if there is none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        if self.is_shared_memory() {
            return unnamed();
        }
        self.socket().peer_addr()
    }

    /// Has calls fail with `WouldBlock` where they would wait, or wait again. See [`AsFd`] for how to wait for several.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        if let End::Pair(pair) = &*self.end {
            pair.set_nonblocking(nonblocking);
        }
        self.socket().set_nonblocking(nonblocking)
    }

    /// How long a call that receives waits before it fails with `WouldBlock`; for ever if none. Zero is refused.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket().set_read_timeout(timeout)?;
        self.timeouts_are_set()
    }

    /// How long a call that sends waits before it fails with `WouldBlock`; for ever if none. Zero is refused.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket().set_write_timeout(timeout)?;
        self.timeouts_are_set()
    }

    fn timeouts_are_set(&self) -> io::Result<()> {
        match &*self.end {
            End::Pair(pair) => pair.set_timeouts(),
            End::Kernel(..) => Ok(()),
        }
    }

    /// What [`set_read_timeout`](LocalDatagram::set_read_timeout) has set.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.socket().read_timeout()
    }

    /// What [`set_write_timeout`](LocalDatagram::set_write_timeout) has set.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        self.socket().write_timeout()
    }

    /// The error that waits to be told, if there is one.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        match &*self.end {
            End::Pair(pair) => pair.take_error(),
            End::Kernel(socket, _) => socket.take_error(),
        }
    }

    /// Has calls that send fail with `BrokenPipe`, or calls that receive get 0 bytes once nothing is left, and those who send to the
    /// socket fail with `BrokenPipe`. Calls of other threads that wait return.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match &*self.end {
            End::Pair(pair) => {
                pair.shutdown(how);
                Ok(())
            }
            End::Kernel(socket, _) => socket.shutdown(how),
        }
    }
}

/// The kernel's name of a sender; one without a name has none at all.
fn name(sender: Option<SocketAddrAny>) -> io::Result<SocketAddr> {
    let sender = sender.map(SocketAddrUnix::try_from).transpose()?;
    let path = sender.as_ref().and_then(SocketAddrUnix::path_bytes);
    match sender.as_ref().and_then(SocketAddrUnix::abstract_name) {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(OsStr::from_bytes(path.unwrap_or_default())),
    }
}

fn unnamed() -> io::Result<SocketAddr> {
    SocketAddr::from_pathname("")
}

/// The kernel's socket, for waiting. Where that carries the datagrams, it tells what can be received and sent.
///
/// Of a pair it tells no more than this: after a call has failed with `WouldBlock`, there is an event once the call is worth another
/// try. Wait for reading and writing, edge-triggered (`EPOLLIN | EPOLLOUT | EPOLLET`), whatever the call was, and try both
/// then where both are wanted, as with a [`LocalStream`](crate::LocalStream#impl-AsFd-for-LocalStream). Who only
/// receives may as well poll it level-triggered: it is readable until a call that receives fails with `WouldBlock`.
impl AsFd for LocalDatagram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}

impl AsRawFd for LocalDatagram {
    fn as_raw_fd(&self) -> RawFd {
        self.socket().as_raw_fd()
    }
}

/// A socket of the standard library's.
impl From<UnixDatagram> for LocalDatagram {
    fn from(socket: UnixDatagram) -> LocalDatagram {
        LocalDatagram { end: Arc::new(End::Kernel(socket, Wants::default())) }
    }
}
