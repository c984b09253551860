//! Listening at a path.

use crate::carrier::Carrier;
use crate::companion::{Companion, Host};
use crate::end::{End, Role};
use crate::half::Kind;
use crate::outside::Kernel;
use crate::rendezvous::{File, When, address, client_of, socket, socket_type};
use crate::stream::{LocalStream, unnamed_if_client};
use crate::sys::peer_credentials;
use crate::watch::{Look, Ready, look_at_socket};
use crate::young::Young;
use crate::{LARGEST_RING, SMALLEST_RING};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Weak};

/// The bounds that a [`LocalListener`] sets to what others may have it keep.
///
/// ```
/// use sockeye_local::{ListenerConfig, LocalListener};
///
/// let folder = tempfile::tempdir()?;
/// let config = ListenerConfig { connections: 100, largest_ring: 1 << 20, ..ListenerConfig::default() };
/// let listener = LocalListener::bind_with(folder.path().join("socket"), &config)?;
/// # drop(listener);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Connections that wait to be accepted, at most; more wait to be made. The kernel has a bound of its own
    /// (`net.core.somaxconn`). 4,096 by default.
    pub backlog: u32,
    /// Connections over shared memory that were accepted and are open, at most: further ones are closed at once. 16,384 by
    /// default. Each is one mapping of the process and at least one descriptor: for more than some 60,000 raise the
    /// kernel's bound of mappings (`vm.max_map_count`, 65,530 mostly), and the process's of descriptors (`RLIMIT_NOFILE`).
    pub connections: usize,
    /// The largest rings that a client may ask for, in bytes for each direction: connections with larger ones are closed
    /// at once. 1 MiB by default; whatever is said here, no more than [`LARGEST_RING`].
    pub largest_ring: usize,
}

impl Default for ListenerConfig {
    fn default() -> ListenerConfig {
        ListenerConfig { backlog: 4096, connections: 16_384, largest_ring: 1 << 20 }
    }
}

/// A socket that listens at a path: what `std::os::unix::net::UnixListener` is, for plain clients too.
///
/// The file appears with `bind`, with the permissions that the umask leaves of 0777, and stays when the listener is
/// dropped, as the kernel's do; one that nobody listens at any more is replaced by the next `bind`.
///
/// ```
/// use sockeye_local::{LocalListener, LocalStream};
/// use std::io::{Read, Write};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("echo");
/// let listener = LocalListener::bind(&path)?;
/// let mut client = LocalStream::connect(&path)?;
/// let mut plain = std::os::unix::net::UnixStream::connect(&path)?;
/// client.write_all(b"hello")?;
/// plain.write_all(b"hello")?;
/// for _ in 0..2 {
///     let (mut stream, _) = listener.accept()?;
///     let mut word = [0; 5];
///     stream.read_exact(&mut word)?;
///     assert_eq!(&word, b"hello");
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct LocalListener {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    socket: UnixListener,
    kind: Kind,
    /// None where its companion's name was taken: all connections are the kernel's then.
    host: Option<Arc<Host>>,
}

impl Shared {
    /// What carries a connection from a socket of this name; none if it is to be closed: a client without the offer that its
    /// name speaks of, with a bad one, or one too many finds its connection closed.
    fn carrier(&self, socket: UnixStream, name: &SocketAddr) -> io::Result<Option<Carrier>> {
        let Some(host) = &self.host else { return Ok(Some(Carrier::plain(socket))) };
        let client = client_of(name);
        host.note_accepted(client.map(|(when, _)| when));
        Ok(match client {
            Some((When::AtOnce, nonce)) => {
                let claimed = host.claim(&nonce, &peer_credentials(socket.as_fd())?);
                claimed.map(|(mapping, place)| {
                    let (kernel, mapping) = (Arc::new(Kernel::new(socket)), Arc::new(mapping));
                    Carrier::Ring(Box::new(End::new(kernel, mapping, Role::Acceptor, self.kind, Some(place))))
                })
            }
            Some((When::Later, nonce)) if self.kind == Kind::Bytes => {
                Some(Carrier::Young(Box::new(Young::accepted(socket, nonce, Arc::clone(host)))))
            }
            _ => Some(Carrier::plain(socket)),
        })
    }
}

impl Look for Shared {
    fn look(&self, _: Ready) -> Ready {
        look_at_socket(self.socket.as_fd())
    }
}

impl LocalListener {
    pub(crate) fn look(&self) -> Weak<dyn Look> {
        let shared: Weak<Shared> = Arc::downgrade(&self.shared);
        shared
    }

    /// Listens at a path. Fails with `AddrInUse` where something else does, or where a file stands that is no socket;
    /// a socket's file that nobody listens at is replaced.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<LocalListener> {
        LocalListener::bind_with(path, &ListenerConfig::default())
    }

    /// The same with bounds of one's own.
    pub fn bind_with(path: impl AsRef<Path>, config: &ListenerConfig) -> io::Result<LocalListener> {
        LocalListener::bind_for(path.as_ref(), Kind::Bytes, config)
    }

    pub(crate) fn bind_for(path: &Path, kind: Kind, config: &ListenerConfig) -> io::Result<LocalListener> {
        let stream = bind(path, socket_type(kind))?;
        // Before anybody can connect: whoever does finds the companion.
        let companion = File::at(path).and_then(|file| Companion::new(&file, config.backlog));
        rustix::net::listen(&stream, config.backlog as i32)?;
        let largest = config.largest_ring.clamp(SMALLEST_RING, LARGEST_RING);
        let shared = Shared {
            socket: UnixListener::from(stream),
            kind,
            host: companion.map(|companion| Arc::new(Host::new(companion, config.connections, largest))),
        };
        Ok(LocalListener { shared: Arc::new(shared) })
    }

    /// The next connection, and the name of its other end, which rarely has one. Waits for one, unless the listener is
    /// non-blocking. Fails with `Unsupported` in another process than the one that made the listener.
    pub fn accept(&self) -> io::Result<(LocalStream, SocketAddr)> {
        if self.shared.host.as_ref().is_some_and(|host| !host.is_here()) {
            let reason = "a local listener accepts in the process that made it, not in one forked from that";
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
        loop {
            let (socket, name) = self.shared.socket.accept()?;
            if let Some(carrier) = self.shared.carrier(socket, &name)? {
                return Ok((LocalStream::new(carrier), unnamed_if_client(name)?));
            }
        }
    }

    /// Another handle to the same listener.
    pub fn try_clone(&self) -> io::Result<LocalListener> {
        Ok(LocalListener { shared: Arc::clone(&self.shared) })
    }

    /// Its name.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket.local_addr()
    }

    /// Has `accept` fail with `WouldBlock` where it would wait, or wait again.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.shared.socket.set_nonblocking(nonblocking)
    }

    /// The error that waits to be told, if there is one.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.shared.socket.take_error()
    }

    /// The connections as they come, without end.
    ///
    /// ```
    /// use sockeye_local::{LocalListener, LocalStream};
    /// use std::io::Write;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let listener = LocalListener::bind(folder.path().join("time"))?;
    /// let client = LocalStream::connect(folder.path().join("time"))?;
    /// for stream in listener.incoming().take(1) {
    ///     stream?.write_all(b"noon")?;
    /// }
    /// # drop(client);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }
}

/// It becomes readable when there is a connection to accept.
impl AsFd for LocalListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.socket.as_fd()
    }
}

impl AsRawFd for LocalListener {
    fn as_raw_fd(&self) -> RawFd {
        self.shared.socket.as_raw_fd()
    }
}

/// The connections of a [`LocalListener`], as they come.
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a LocalListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<LocalStream>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

#[expect(clippy::into_iter_without_iter, reason = "the standard library's has `incoming`")]
impl<'a> IntoIterator for &'a LocalListener {
    type Item = io::Result<LocalStream>;
    type IntoIter = Incoming<'a>;

    fn into_iter(self) -> Incoming<'a> {
        self.incoming()
    }
}

/// A kernel socket with a name in the file system, in place of a stale one.
pub(crate) fn bind(path: &Path, kind: SocketType) -> io::Result<OwnedFd> {
    let address = address(path)?;
    let socket = socket(kind, SocketFlags::empty())?;
    for _ in 0..16 {
        match rustix::net::bind(&socket, &address) {
            Err(Errno::ADDRINUSE) if remove_if_stale(path, &address) => {}
            result => return result.map(|()| socket).map_err(io::Error::from),
        }
    }
    Err(Errno::ADDRINUSE.into())
}

/// Removes the file of a socket that nobody has any more; says whether that was tried, or somebody else does it.
fn remove_if_stale(path: &Path, address: &SocketAddrUnix) -> bool {
    // A symbolic link isn't followed by bind either.
    let is_link = path.symlink_metadata().is_ok_and(|file| file.is_symlink());
    let Some(file) = File::at(path).filter(|_| !is_link) else { return false };
    // A datagram socket can't connect to a stream's, which says that there is one; a datagram socket's owner doesn't
    // notice. Refused is who dials a file that no socket has.
    let Ok(probe) = socket(SocketType::DGRAM, SocketFlags::NONBLOCK) else { return false };
    if rustix::net::connect(&probe, address) != Err(Errno::CONNREFUSED) {
        return false;
    }
    lock(path, &file, || {
        if File::at(path) == Some(file) {
            let _ = std::fs::remove_file(path);
        }
    })
}

/// Acts while nobody else does with this very file, so that nobody removes the one that took its place; says whether
/// that was done, or somebody else is at it. The lock is a file beside it: who can have that may remove the other too.
fn lock(path: &Path, file: &File, act: impl FnOnce()) -> bool {
    let name = path.with_file_name(file.lock_name());
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(held) = rustix::fs::open(&name, flags, Mode::RUSR | Mode::WUSR) else { return false };
    if rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive).is_err() {
        return true;
    }
    // Its last owner may have removed it since it was opened.
    let is_current = rustix::fs::fstat(&held).is_ok_and(|held| {
        rustix::fs::lstat(&name).is_ok_and(|named| (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino))
    });
    if is_current {
        act();
        let _ = std::fs::remove_file(&name);
    }
    true
}
