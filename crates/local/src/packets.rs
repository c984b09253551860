//! Sequenced packets: connections that keep the boundaries of what is sent (`SOCK_SEQPACKET`).

use crate::carrier::Carrier;
use crate::half::Kind;
use crate::in_place::{self, SharedSlice, SharedSliceMut};
use crate::ring::record_len;
use crate::{Ancillary, Attached, Credentials, DEFAULT_RING, ListenerConfig, LocalListener, LocalStream};
use rustix::net::{RecvFlags, SendFlags};
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;
use std::time::Duration;

/// A connection on which each `recv` gets what one `send` sent: the kernel's `SOCK_SEQPACKET`, over shared memory where
/// both ends are this library's.
///
/// A packet longer than the buffer it is received in loses the rest; one longer than the ring holds is
/// refused with `EMSGSIZE`. The end of the connection is received as a packet of no bytes, which can be sent too.
///
/// ```
/// use sockeye_local::LocalPackets;
///
/// let (ours, theirs) = LocalPackets::pair()?;
/// ours.send(b"one")?;
/// ours.send(b"another")?;
/// let mut packet = [0; 16];
/// assert_eq!(theirs.recv(&mut packet)?, 3);
/// assert_eq!(theirs.recv(&mut packet[..4])?, 4);
/// drop(ours);
/// assert_eq!(theirs.recv(&mut packet)?, 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct LocalPackets {
    /// Not one of bytes, but all else is the same.
    end: LocalStream,
}

impl LocalPackets {
    pub(crate) fn of(end: LocalStream) -> LocalPackets {
        LocalPackets { end }
    }

    /// Connects to the listener at a path, a [`LocalPacketListener`] or any other of packets. Waits while its queue is full.
    pub fn connect(path: impl AsRef<Path>) -> io::Result<LocalPackets> {
        LocalPackets::connect_with(path, DEFAULT_RING)
    }

    /// The same with rings of so many bytes for each direction, as [`LocalStream::connect_with`].
    pub fn connect_with(path: impl AsRef<Path>, ring: usize) -> io::Result<LocalPackets> {
        LocalPackets::dial(path.as_ref(), ring, true)
    }

    /// The same, which fails with `WouldBlock` where it would wait and may not.
    pub(crate) fn dial(path: &Path, ring: usize, may_wait: bool) -> io::Result<LocalPackets> {
        LocalStream::dial_at_once(path, Kind::Records, ring, may_wait).map(LocalPackets::of)
    }

    /// Two ends that are connected to each other.
    pub fn pair() -> io::Result<(LocalPackets, LocalPackets)> {
        LocalPackets::pair_with(DEFAULT_RING)
    }

    /// The same with rings of so many bytes for each direction.
    pub fn pair_with(ring: usize) -> io::Result<(LocalPackets, LocalPackets)> {
        let (one, other) = LocalStream::pair_of(Kind::Records, ring)?;
        Ok((LocalPackets::of(one), LocalPackets::of(other)))
    }

    /// Sends a packet, whole. Waits for room.
    pub fn send(&self, packet: &[u8]) -> io::Result<usize> {
        self.check_fits(packet.len())?;
        match self.end.carrier() {
            Carrier::Ring(end) => end.write(packet),
            other => Ok(rustix::net::send(other.socket(), packet, SendFlags::NOSIGNAL)?),
        }
    }

    fn check_fits(&self, len: usize) -> io::Result<()> {
        match self.end.carrier() {
            Carrier::Ring(end) if len > end.ring() || record_len(len) > end.ring() => {
                Err(io::Error::from_raw_os_error(libc::EMSGSIZE))
            }
            _ => Ok(()),
        }
    }

    /// Sends a packet, which may be empty, with descriptors of open files or credentials attached to it, as
    /// [`LocalStream::send_with`].
    ///
    /// ```
    /// use sockeye_local::LocalPackets;
    /// use std::os::fd::AsFd;
    ///
    /// let (ours, theirs) = LocalPackets::pair()?;
    /// theirs.set_passrights(true)?;
    /// ours.send(b"listen here")?;
    /// ours.send_with(b"", &[std::io::stdin().as_fd(), std::io::stdout().as_fd()])?;
    /// let mut packet = [0; 64];
    /// assert!(theirs.recv_with(&mut packet)?.1.descriptors.is_empty());
    /// assert_eq!(theirs.recv_with(&mut packet)?.1.descriptors.len(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send_with<'a>(&self, packet: &[u8], attached: impl Into<Attached<'a>>) -> io::Result<usize> {
        self.check_fits(packet.len())?;
        self.end.carrier().send_with(packet, attached.into())
    }

    /// Receives a packet as [`recv`](LocalPackets::recv) does, with what is attached to it, as [`LocalStream::recv_with`].
    pub fn recv_with(&self, packet: &mut [u8]) -> io::Result<(usize, Ancillary)> {
        self.end.recv_with(packet)
    }

    /// Has descriptors come with packets, or come no more, as [`LocalStream::set_passrights`].
    pub fn set_passrights(&self, passrights: bool) -> io::Result<()> {
        self.end.set_passrights(passrights)
    }

    /// Whether descriptors come.
    pub fn passrights(&self) -> io::Result<bool> {
        self.end.passrights()
    }

    /// Has the sender's credentials come with packets, or come no more, as [`LocalStream::set_passcred`].
    pub fn set_passcred(&self, passcred: bool) -> io::Result<()> {
        self.end.set_passcred(passcred)
    }

    /// Whether credentials come.
    pub fn passcred(&self) -> io::Result<bool> {
        self.end.passcred()
    }

    /// Receives a packet, or as much of it as fits: how many bytes that are. Waits for one.
    pub fn recv(&self, packet: &mut [u8]) -> io::Result<usize> {
        match self.end.carrier() {
            Carrier::Ring(end) => end.read(packet),
            other => Ok(rustix::net::recv(other.socket(), packet, RecvFlags::empty())?.0),
        }
    }

    /// Receives a packet where it is: calls `with` with it, whole, and returns how long it is. Waits for one; at the end of
    /// the connection it is empty. What is said of [`LocalStream::read_in_place`] holds here too.
    ///
    /// ```
    /// use sockeye_local::LocalPackets;
    ///
    /// let (ours, theirs) = LocalPackets::pair()?;
    /// ours.send_in_place(6, |packet| packet.copy_from(0, b"abcdef"))?;
    /// let mut middle = [0; 2];
    /// assert_eq!(theirs.recv_in_place(|packet| packet.copy_to(2, &mut middle))?, 6);
    /// assert_eq!(&middle, b"cd");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recv_in_place(&self, with: impl FnOnce(&SharedSlice<'_>)) -> io::Result<usize> {
        let all = |packet: &SharedSlice<'_>| {
            with(packet);
            packet.len()
        };
        match self.end.carrier() {
            Carrier::Ring(end) => end.read_in_place(all),
            other => in_place::receive(other.socket(), all),
        }
    }

    /// Sends a packet of so many bytes that `with` writes where it will be read. Waits for room first; by the kernel's carrier
    /// `with` is called in any case, so keep what it wrote until the call succeeds. What `with` doesn't
    /// write is something that was in the memory before, between these two processes.
    pub fn send_in_place(&self, len: usize, with: impl FnOnce(&mut SharedSliceMut<'_>)) -> io::Result<usize> {
        self.check_fits(len)?;
        match self.end.carrier() {
            Carrier::Ring(end) => end.write_record_in_place(len, with),
            Carrier::Kernel(_) | Carrier::Young(_) => {
                let mut packet = vec![0; len];
                with(&mut SharedSliceMut::of_bytes(&mut packet));
                self.send(&packet)
            }
        }
    }

    /// Receives what the next `recv` will, and leaves it there.
    pub fn peek(&self, packet: &mut [u8]) -> io::Result<usize> {
        self.end.peek(packet)
    }

    /// Whether a `recv` would do something now, as [`LocalStream::is_readable`].
    pub fn is_readable(&self) -> io::Result<bool> {
        self.end.is_readable()
    }

    /// Whether a `send` is worth a try now, as [`LocalStream::is_writable`]: there is some room, and since one found too little
    /// for its packet there is more.
    pub fn is_writable(&self) -> io::Result<bool> {
        self.end.is_writable()
    }

    /// The connection with bytes instead of packets, for what both have in common.
    pub(crate) fn as_stream(&self) -> &LocalStream {
        &self.end
    }

    /// Whether it is carried by shared memory, and not by the kernel's socket.
    pub fn is_shared_memory(&self) -> bool {
        self.end.is_shared_memory()
    }

    /// Another handle to the same end: it is closed with the last.
    pub fn try_clone(&self) -> io::Result<LocalPackets> {
        self.end.try_clone().map(LocalPackets::of)
    }

    /// The name of this end: a connecting one has none.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.end.local_addr()
    }

    /// The name of the other end.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.end.peer_addr()
    }

    /// Who was at the other end when the connection was made.
    pub fn peer_cred(&self) -> io::Result<Credentials> {
        self.end.peer_cred()
    }

    /// Has calls fail with `WouldBlock` where they would wait, or wait again.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.end.set_nonblocking(nonblocking)
    }

    /// How long `recv` waits before it fails with `WouldBlock`; for ever if none. Zero is refused.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.end.set_read_timeout(timeout)
    }

    /// How long `send` waits before it fails with `WouldBlock`; for ever if none. Zero is refused.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.end.set_write_timeout(timeout)
    }

    /// Closes one half, or both, as [`LocalStream::shutdown`].
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.end.shutdown(how)
    }
}

/// The kernel's carrier, for a socket of packets that is connected already.
impl From<UnixStream> for LocalPackets {
    fn from(socket: UnixStream) -> LocalPackets {
        LocalPackets::of(LocalStream::from(socket))
    }
}

/// The connection's kernel socket, for waiting only: as that of a [`LocalStream`](LocalStream#impl-AsFd-for-LocalStream).
impl AsFd for LocalPackets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}

impl AsRawFd for LocalPackets {
    fn as_raw_fd(&self) -> RawFd {
        self.end.as_raw_fd()
    }
}

/// A socket that listens at a path for connections of packets, those of plain clients too.
///
/// ```
/// use sockeye_local::{LocalPacketListener, LocalPackets};
///
/// let folder = tempfile::tempdir()?;
/// let listener = LocalPacketListener::bind(folder.path().join("orders"))?;
/// let client = LocalPackets::connect(folder.path().join("orders"))?;
/// client.send(b"two teas")?;
/// let (server, _) = listener.accept()?;
/// assert_eq!(server.recv(&mut [0; 64])?, 8);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct LocalPacketListener {
    listener: LocalListener,
}

impl LocalPacketListener {
    /// Listens at a path, as [`LocalListener::bind`].
    pub fn bind(path: impl AsRef<Path>) -> io::Result<LocalPacketListener> {
        LocalPacketListener::bind_with(path, &ListenerConfig::default())
    }

    /// The same with bounds of one's own.
    pub fn bind_with(path: impl AsRef<Path>, config: &ListenerConfig) -> io::Result<LocalPacketListener> {
        let listener = LocalListener::bind_for(path.as_ref(), Kind::Records, config)?;
        Ok(LocalPacketListener { listener })
    }

    /// The next connection, and the name of its other end, which rarely has one.
    pub fn accept(&self) -> io::Result<(LocalPackets, SocketAddr)> {
        let (end, address) = self.listener.accept()?;
        Ok((LocalPackets::of(end), address))
    }

    /// The listener, for what it has in common with one of streams.
    pub(crate) fn as_listener(&self) -> &LocalListener {
        &self.listener
    }

    /// Another handle to the same listener.
    pub fn try_clone(&self) -> io::Result<LocalPacketListener> {
        Ok(LocalPacketListener { listener: self.listener.try_clone()? })
    }

    /// Its name.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Has `accept` fail with `WouldBlock` where it would wait, or wait again.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.listener.set_nonblocking(nonblocking)
    }
}

/// It becomes readable when there is a connection to accept.
impl AsFd for LocalPacketListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl AsRawFd for LocalPacketListener {
    fn as_raw_fd(&self) -> RawFd {
        self.listener.as_raw_fd()
    }
}
