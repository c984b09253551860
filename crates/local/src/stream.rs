//! Streams of bytes.

use crate::ancillary::Wants;
use crate::carrier::Carrier;
use crate::end::{End, Half, Role};
use crate::half::Kind;
use crate::in_place::{self, SharedSlice, SharedSliceMut};
use crate::outside::Kernel;
use crate::rendezvous::{Offer, client_of, connect, socket_type};
use crate::sys::{Mapping, peer_credentials};
use crate::watch::Look;
use crate::young::Young;
use crate::{Ancillary, Attached, Credentials, DEFAULT_RING, LARGEST_RING, SMALLEST_RING};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A connection: what `std::os::unix::net::UnixStream` is, over shared memory where both ends are this library's, and
/// over the kernel's socket otherwise.
///
/// ```
/// use sockeye_local::LocalStream;
/// use std::io::{Read, Write};
/// use std::net::Shutdown;
///
/// let (mut ours, mut theirs) = LocalStream::pair()?;
/// ours.write_all(b"hello")?;
/// ours.shutdown(Shutdown::Write)?;
/// let mut heard = String::new();
/// theirs.read_to_string(&mut heard)?;
/// assert_eq!(heard, "hello");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct LocalStream {
    carrier: Arc<Carrier>,
}

impl LocalStream {
    pub(crate) fn look(&self) -> Weak<dyn Look> {
        let carrier: Weak<Carrier> = Arc::downgrade(&self.carrier);
        carrier
    }

    pub(crate) fn new(carrier: Carrier) -> LocalStream {
        LocalStream { carrier: Arc::new(carrier) }
    }

    /// Connects to the listener at a path, a [`LocalListener`](crate::LocalListener) or any other. Waits while its
    /// queue is full.
    ///
    /// Shared memory takes longer to set up than a short connection lasts: the kernel's socket carries the first few calls, and
    /// the rest goes by shared memory, where the other end is a `LocalListener`'s. What was shut by then, if only one way, or
    /// belongs to a process that was forked from the one that connected or accepted, stays with the kernel.
    pub fn connect(path: impl AsRef<Path>) -> io::Result<LocalStream> {
        LocalStream::dial(path.as_ref(), true)
    }

    /// The same over shared memory from the first byte on, with rings of so many bytes for each direction: rounded up to a
    /// power of two, from 4 KiB to 16 MiB. A listener closes the connection if it doesn't allow as much
    /// ([`largest_ring`](crate::ListenerConfig::largest_ring), 1 MiB by default).
    ///
    /// ```
    /// use sockeye_local::{ListenerConfig, LocalListener, LocalStream};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let config = ListenerConfig { largest_ring: 4 << 20, ..ListenerConfig::default() };
    /// let listener = LocalListener::bind_with(folder.path().join("films"), &config)?;
    /// let stream = LocalStream::connect_with(folder.path().join("films"), 4 << 20)?;
    /// assert!(stream.is_shared_memory());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect_with(path: impl AsRef<Path>, ring: usize) -> io::Result<LocalStream> {
        LocalStream::dial_at_once(path.as_ref(), Kind::Bytes, ring, true)
    }

    /// As [`connect`](LocalStream::connect); fails with `WouldBlock` where it would wait and may not.
    pub(crate) fn dial(path: &Path, may_wait: bool) -> io::Result<LocalStream> {
        let carrier = match Young::connect(path, DEFAULT_RING, may_wait)? {
            Some(young) => Carrier::Young(Box::new(young)),
            None => Carrier::plain(connect(path, Kind::Bytes, None, may_wait)?),
        };
        Ok(LocalStream::new(carrier))
    }

    /// As [`connect_with`](LocalStream::connect_with), likewise.
    pub(crate) fn dial_at_once(
        path: &Path,
        kind: Kind,
        ring: usize,
        may_wait: bool,
    ) -> io::Result<LocalStream> {
        if let Some(offer) = Offer::leave(path, whole(ring))
            && let Some((socket, mapping)) = offer.connect(path, kind, may_wait)?
        {
            let end = End::new(Arc::new(Kernel::new(socket)), mapping, Role::Connector, kind, None);
            return Ok(LocalStream::new(Carrier::Ring(Box::new(end))));
        }
        connect(path, kind, None, may_wait).map(|socket| LocalStream::new(Carrier::plain(socket)))
    }

    /// Two ends that are connected to each other.
    pub fn pair() -> io::Result<(LocalStream, LocalStream)> {
        LocalStream::pair_with(DEFAULT_RING)
    }

    /// The same with rings of so many bytes, as [`connect_with`](LocalStream::connect_with).
    pub fn pair_with(ring: usize) -> io::Result<(LocalStream, LocalStream)> {
        LocalStream::pair_of(Kind::Bytes, ring)
    }

    pub(crate) fn pair_of(kind: Kind, ring: usize) -> io::Result<(LocalStream, LocalStream)> {
        let (one, other) =
            rustix::net::socketpair(AddressFamily::UNIX, socket_type(kind), SocketFlags::CLOEXEC, None)?;
        let (mapping, _) = Mapping::create(whole(ring))?;
        let mapping = Arc::new(mapping);
        let kernel = |socket| Arc::new(Kernel::new(UnixStream::from(socket)));
        let end = |socket, role| {
            let end = End::new(kernel(socket), Arc::clone(&mapping), role, kind, None);
            LocalStream::new(Carrier::Ring(Box::new(end)))
        };
        Ok((end(one, Role::Connector), end(other, Role::Acceptor)))
    }

    /// Whether it is carried by shared memory, and not by the kernel's socket: by now, as that may still come, see
    /// [`connect`](LocalStream::connect).
    pub fn is_shared_memory(&self) -> bool {
        self.carrier.end().is_some()
    }

    /// Whether bells may come at its descriptor, now or later.
    #[cfg(feature = "tokio")]
    pub(crate) fn may_have_bells(&self) -> bool {
        !matches!(*self.carrier, Carrier::Kernel(_))
    }

    /// Another handle to the same end: it is closed with the last.
    pub fn try_clone(&self) -> io::Result<LocalStream> {
        Ok(LocalStream { carrier: Arc::clone(&self.carrier) })
    }

    /// The name of this end: a connecting one has none.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        unnamed_if_client(self.socket().local_addr()?)
    }

    /// The name of the other end: the listener's for who connected, mostly none for who accepted.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        unnamed_if_client(self.socket().peer_addr()?)
    }

    /// Who was at the other end when the connection was made, as the kernel knows it.
    pub fn peer_cred(&self) -> io::Result<Credentials> {
        peer_credentials(self.socket().as_fd())
    }

    /// Has calls fail with `WouldBlock` where they would wait, or wait again. See [`AsFd`] for how to wait for several.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match &*self.carrier {
            Carrier::Ring(end) => {
                end.limits().set_nonblocking(nonblocking);
                Ok(())
            }
            Carrier::Young(young) => {
                young.set_limits(|limits| limits.set_nonblocking(nonblocking));
                Ok(())
            }
            Carrier::Kernel(Kernel { socket, .. }) => socket.set_nonblocking(nonblocking),
        }
    }

    /// How long a read waits before it fails with `WouldBlock`; for ever if none. Zero is refused.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match &*self.carrier {
            Carrier::Ring(end) => end.limits().set_timeout(Half::Reads, timeout),
            Carrier::Young(young) => young.set_limits(|limits| limits.set_timeout(Half::Reads, timeout)),
            Carrier::Kernel(Kernel { socket, .. }) => socket.set_read_timeout(timeout),
        }
    }

    /// How long a write waits before it fails with `WouldBlock`, or ends with what was written; for ever if none. Zero is
    /// refused.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match &*self.carrier {
            Carrier::Ring(end) => end.limits().set_timeout(Half::Writes, timeout),
            Carrier::Young(young) => young.set_limits(|limits| limits.set_timeout(Half::Writes, timeout)),
            Carrier::Kernel(Kernel { socket, .. }) => socket.set_write_timeout(timeout),
        }
    }

    /// What [`set_read_timeout`](LocalStream::set_read_timeout) has set.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        match &*self.carrier {
            Carrier::Ring(end) => Ok(end.limits().timeout(Half::Reads)),
            Carrier::Young(young) => Ok(young.limits().timeout(Half::Reads)),
            Carrier::Kernel(Kernel { socket, .. }) => socket.read_timeout(),
        }
    }

    /// What [`set_write_timeout`](LocalStream::set_write_timeout) has set.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        match &*self.carrier {
            Carrier::Ring(end) => Ok(end.limits().timeout(Half::Writes)),
            Carrier::Young(young) => Ok(young.limits().timeout(Half::Writes)),
            Carrier::Kernel(Kernel { socket, .. }) => socket.write_timeout(),
        }
    }

    /// The error that waits to be told, if there is one.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        match &*self.carrier {
            Carrier::Ring(end) => Ok(end.take_error()),
            Carrier::Young(young) => young.take_error(),
            Carrier::Kernel(Kernel { socket, .. }) => socket.take_error(),
        }
    }

    /// Closes one half, or both: the other end reads what was written and then the end of file; what it writes to a half
    /// that isn't read any more fails with `BrokenPipe`.
    ///
    /// Calls of other threads that wait return. Who polls the descriptor gets an event once both halves are
    /// closed, but none, over shared memory, of one that is closed here.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match &*self.carrier {
            Carrier::Ring(end) => {
                end.shutdown(how);
                Ok(())
            }
            Carrier::Young(young) => young.shutdown(how),
            Carrier::Kernel(Kernel { socket, .. }) => socket.shutdown(how),
        }
    }

    /// Reads what the next read will, and leaves it there. Waits as that would.
    ///
    /// ```
    /// use sockeye_local::LocalStream;
    /// use std::io::{Read, Write};
    ///
    /// let (mut ours, mut theirs) = LocalStream::pair()?;
    /// ours.write_all(b"GET /")?;
    /// let mut word = [0; 3];
    /// assert_eq!(theirs.peek(&mut word)?, 3);
    /// assert_eq!(theirs.read(&mut [0; 8])?, 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        match &*self.carrier {
            Carrier::Ring(end) => end.peek(buf),
            Carrier::Young(young) => young.peek(buf),
            Carrier::Kernel(Kernel { socket, .. }) => Ok(rustix::net::recv(socket, buf, RecvFlags::PEEK)?.0),
        }
    }

    /// Reads bytes where they are: calls `with` with those that there are, and takes as many from the first on as that
    /// returns, which is the result too. Waits for some as [`read`](Read::read) does; at the end of the stream there are
    /// none. Where it fails, `with` isn't called.
    ///
    /// So a program can look for the end of a message before it decides where to copy it, with one copy in all. Meanwhile
    /// other threads' reads of this end wait: `with` may not read from this end itself, which would wait for ever. By
    /// the kernel's carrier the bytes are copied first, 64 KiB at most, and another read at the same time may take them.
    ///
    /// ```
    /// use sockeye_local::LocalStream;
    /// use std::io::Write;
    ///
    /// let (mut ours, theirs) = LocalStream::pair()?;
    /// ours.write_all(b"first line\nsecond")?;
    /// let mut line = Vec::new();
    /// theirs.read_in_place(|bytes| {
    ///     let end = bytes.position(b'\n').map_or(bytes.len(), |end| end + 1);
    ///     line.resize(end, 0);
    ///     bytes.copy_to(0, &mut line);
    ///     end
    /// })?;
    /// assert_eq!(line, b"first line\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn read_in_place(&self, with: impl FnOnce(&SharedSlice<'_>) -> usize) -> io::Result<usize> {
        match &*self.carrier {
            Carrier::Ring(end) => end.read_in_place(with),
            Carrier::Young(young) => young.read_in_place(with),
            Carrier::Kernel(Kernel { socket, .. }) => in_place::read(socket, with),
        }
    }

    /// Writes bytes where they will be read: calls `with` with the room there is, one byte at least, and sends as many
    /// from the first on as that returns. Waits for room as [`write`](Write::write) does. Where it fails before there is
    /// room, `with` isn't called; by the kernel's carrier it is called in any case, so keep what it wrote until the call
    /// succeeds.
    ///
    /// Returns how many were sent: what `with` has returned, or less by the kernel's carrier, where there are 16 KiB of
    /// room at any time. Meanwhile other threads' writes to this end wait: `with` may not write to this end itself.
    ///
    /// ```
    /// use sockeye_local::LocalStream;
    /// use std::io::Read;
    ///
    /// let (ours, mut theirs) = LocalStream::pair()?;
    /// let sent = ours.write_in_place(|room| {
    ///     room.copy_from(0, &5_u16.to_be_bytes());
    ///     room.copy_from(2, b"hello");
    ///     7
    /// })?;
    /// let mut bytes = [0; 16];
    /// assert_eq!((sent, theirs.read(&mut bytes)?), (7, 7));
    /// assert_eq!(&bytes[..7], b"\0\x05hello");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_in_place(&self, with: impl FnOnce(&mut SharedSliceMut<'_>) -> usize) -> io::Result<usize> {
        match &*self.carrier {
            Carrier::Ring(end) => end.write_in_place(with),
            Carrier::Young(young) => young.write_in_place(with),
            Carrier::Kernel(Kernel { socket, .. }) => {
                in_place::write(with, |bytes| (&mut &*socket).write(bytes))
            }
        }
    }

    /// Writes bytes as [`write`](Write::write) does, with descriptors of open files or credentials attached to the
    /// first of them: an array of descriptors, or [`Attached`].
    ///
    /// As with the kernel's sockets (`SCM_RIGHTS`, `SCM_CREDENTIALS`): the peer gets them with
    /// [`recv_with`](LocalStream::recv_with) when it reads the first of the bytes, of which there must be one. Where fewer
    /// bytes were written than are given, as may be if the stream is non-blocking, the descriptors went with them. Until the
    /// peer has read that far, they are under way: 253 descriptors of 64 calls at most over shared memory, beyond which a
    /// call waits as it does for room; and where the kernel's socket, which they go by, is full of what came before the stream went
    /// over to memory, until the peer has read that.
    ///
    /// Fails with `InvalidInput` without bytes, or with more than 253 descriptors; with `EPERM` where the credentials
    /// aren't this process's; with `ETOOMANYREFS` where this user has more descriptors under way, all in all, than
    /// the process may have open.
    ///
    /// ```
    /// use sockeye_local::LocalStream;
    /// use std::fs::File;
    /// use std::io::{Read, Seek, Write};
    /// use std::os::fd::AsFd;
    ///
    /// let (ours, theirs) = LocalStream::pair()?;
    /// theirs.set_passrights(true)?;
    /// let mut page = tempfile::tempfile()?;
    /// page.write_all(b"written elsewhere")?;
    /// page.rewind()?;
    /// ours.send_with(b"read this", &[page.as_fd()])?;
    ///
    /// let mut bytes = [0; 64];
    /// let (count, mut with) = theirs.recv_with(&mut bytes)?;
    /// assert_eq!(&bytes[..count], b"read this");
    /// let mut text = String::new();
    /// File::from(with.descriptors.remove(0)).read_to_string(&mut text)?;
    /// assert_eq!(text, "written elsewhere");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send_with<'a>(&self, bytes: &[u8], attached: impl Into<Attached<'a>>) -> io::Result<usize> {
        if bytes.is_empty() {
            let reason = "on a stream something is attached to a byte, of which there is none";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        self.carrier.send_with(bytes, attached.into())
    }

    /// Reads bytes as [`read`](Read::read) does, and takes what is attached to them.
    ///
    /// What comes are the descriptors that [`set_passrights`](LocalStream::set_passrights) has asked for, and the
    /// credentials that [`set_passcred`](LocalStream::set_passcred) has. A read of any kind goes no further than to the end
    /// of the first message with something attached; descriptors are closed whose bytes are read by another call than this.
    pub fn recv_with(&self, bytes: &mut [u8]) -> io::Result<(usize, Ancillary)> {
        self.carrier.recv_with(bytes)
    }

    /// Has descriptors come with [`recv_with`](LocalStream::recv_with), or come no more. Before this is called all are
    /// dropped that the peer sends, which says so ([`is_truncated`](Ancillary::is_truncated)): so ask for them
    /// before anything is read or written here. (The kernel's `SO_PASSRIGHTS`, which is on from the start.)
    ///
    /// From then on the peer can have this process open 253 files at any time, and a call may take as long as it takes to
    /// close one of the peer's choice.
    pub fn set_passrights(&self, passrights: bool) -> io::Result<()> {
        self.wants().descriptors.store(passrights, Ordering::Relaxed);
        Ok(())
    }

    /// Whether descriptors come.
    pub fn passrights(&self) -> io::Result<bool> {
        Ok(self.wants().descriptors.load(Ordering::Relaxed))
    }

    /// Has the sender's credentials come with [`recv_with`](LocalStream::recv_with), or come no more: the kernel's
    /// `SO_PASSCRED`.
    ///
    /// It is always the kernel that says who the sender is. Of a message that was sent by
    /// [`send_with`](LocalStream::send_with) since this was called: the process and its real user and group at that
    /// time, or what the sender says if it may. Of others over shared memory, where the kernel sees nothing of them: the
    /// process that the connection was made with ([`peer_cred`](LocalStream::peer_cred)).
    pub fn set_passcred(&self, passcred: bool) -> io::Result<()> {
        self.wants().set_credentials(self.as_fd(), passcred)
    }

    /// Whether credentials come.
    pub fn passcred(&self) -> io::Result<bool> {
        Ok(self.wants().credentials.load(Ordering::Acquire))
    }

    fn wants(&self) -> &Wants {
        &self.carrier.kernel().wants
    }

    pub(crate) fn carrier(&self) -> &Carrier {
        &self.carrier
    }

    /// How often a call has taken bells from the socket, which may have been for a call of the other half.
    #[cfg(feature = "tokio")]
    pub(crate) fn heard(&self) -> u32 {
        match &*self.carrier {
            Carrier::Ring(end) => end.outside.heard(),
            Carrier::Young(young) => young.end().map_or(0, |end| end.outside.heard()),
            Carrier::Kernel(_) => 0,
        }
    }

    /// Whether a read would do something now: get bytes, or the end of the stream, or fail.
    ///
    /// If not, the descriptor has an event once it would, as after a read that failed with `WouldBlock` ([`AsFd`]): so a
    /// program that waits at descriptors asks this first, whether the stream is non-blocking or not.
    ///
    /// ```
    /// use rustix::event::{PollFd, PollFlags, poll};
    /// use sockeye_local::LocalStream;
    /// use std::io::Write;
    ///
    /// let (mut ours, theirs) = LocalStream::pair()?;
    /// let writing = std::thread::spawn(move || ours.write_all(b"hello"));
    /// while !theirs.is_readable()? {
    ///     poll(&mut [PollFd::new(&theirs, PollFlags::IN)], None)?;
    /// }
    /// # writing.join().unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn is_readable(&self) -> io::Result<bool> {
        self.is_ready(Half::Reads)
    }

    /// Whether a write would do something now: send some bytes, or fail. If not, the descriptor has an event once it would, as
    /// [`is_readable`](LocalStream::is_readable) says.
    pub fn is_writable(&self) -> io::Result<bool> {
        self.is_ready(Half::Writes)
    }

    pub(crate) fn is_ready(&self, half: Half) -> io::Result<bool> {
        match &*self.carrier {
            Carrier::Ring(end) => Ok(end.is_ready(half)),
            Carrier::Young(young) => young.is_ready(half),
            Carrier::Kernel(Kernel { socket, .. }) => {
                let wanted = match half {
                    Half::Reads => PollFlags::IN | PollFlags::RDHUP,
                    Half::Writes => PollFlags::OUT,
                };
                let now = Timespec { tv_sec: 0, tv_nsec: 0 };
                Ok(rustix::event::poll(&mut [PollFd::new(socket, wanted)], Some(&now))? > 0)
            }
        }
    }

    fn socket(&self) -> &UnixStream {
        self.carrier.socket()
    }
}

impl Read for &LocalStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &*self.carrier {
            Carrier::Ring(end) => end.read(buf),
            Carrier::Young(young) => young.read(buf),
            Carrier::Kernel(Kernel { socket, .. }) => (&mut &*socket).read(buf),
        }
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match &*self.carrier {
            Carrier::Ring(end) => end.read_vectored(bufs),
            Carrier::Young(young) => young.read_vectored(bufs),
            Carrier::Kernel(Kernel { socket, .. }) => (&mut &*socket).read_vectored(bufs),
        }
    }
}

impl Write for &LocalStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &*self.carrier {
            Carrier::Ring(end) => end.write(buf),
            Carrier::Young(young) => young.write(buf),
            Carrier::Kernel(Kernel { socket, .. }) => (&mut &*socket).write(buf),
        }
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match &*self.carrier {
            Carrier::Ring(end) => end.write_vectored(bufs),
            Carrier::Young(young) => young.write_vectored(bufs),
            Carrier::Kernel(Kernel { socket, .. }) => (&mut &*socket).write_vectored(bufs),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for LocalStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl Write for LocalStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The connection's kernel socket, for waiting only: what is read from it or written to it is not the stream's where
/// that is carried by shared memory.
///
/// After a call has failed with `WouldBlock`, or [`is_readable`](LocalStream::is_readable) or
/// [`is_writable`](LocalStream::is_writable) has said no, the descriptor has an event once it is worth another try. Wait for
/// reading and writing, edge-triggered (`EPOLLIN | EPOLLOUT | EPOLLET`), whatever the call was: over shared memory
/// every news comes as a byte to read, and what the kernel has to say of room is not about the ring. After an event try
/// both reading and writing, where both are wanted: a call that fails with `WouldBlock` takes all bytes that came, those
/// for the other direction too, and there is no further event for them. So let one thread wait and try for both directions;
/// of two threads that poll the descriptor, one for each direction, one may take the other's event
/// ([`tokio`](crate::tokio)'s halves tell each other).
impl AsFd for LocalStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}

impl AsRawFd for LocalStream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket().as_raw_fd()
    }
}

/// The kernel's carrier, for a socket that is connected already.
impl From<UnixStream> for LocalStream {
    fn from(socket: UnixStream) -> LocalStream {
        LocalStream::new(Carrier::plain(socket))
    }
}

/// A ring's size that can be had.
pub(crate) fn whole(ring: usize) -> usize {
    ring.clamp(SMALLEST_RING, LARGEST_RING).next_power_of_two()
}

/// The names of clients' sockets are between the two libraries.
pub(crate) fn unnamed_if_client(address: SocketAddr) -> io::Result<SocketAddr> {
    if client_of(&address).is_some() { SocketAddr::from_pathname("") } else { Ok(address) }
}
