//! How two ends find out that both are Sockeye's, without a byte that a plain peer would see.
//!
//! A listener has a companion: a kernel socket with an abstract name made of its file's device, inode and time of
//! birth. A client connects to the path from a socket whose own name is a nonce, and leaves an offer with the companion: the
//! nonce and a descriptor of shared memory. It requires that both sockets have the same peer by `SO_PEERCRED`: a name is
//! anybody's, but only the listener's process has both. The listener finds the offer by the name of the socket it
//! accepted, and requires the same of it. An offer alone opens nothing: that takes a connection to the path, for which the
//! path's permissions are needed. What the listener keeps of offers is bounded, see [`crate::companion`].
//!
//! The offer is left before the connection is made, where shared memory is wanted from the first byte on, and otherwise once
//! the connection has carried enough, see [`crate::young`]: the name says which.

use crate::Credentials;
use crate::half::Kind;
use crate::sync::lock;
use crate::sys::{Mapping, peer_credentials};
use rustix::fs::{AtFlags, CWD, FileType, StatxFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

pub(crate) const MAGIC: [u8; 8] = *b"sockeye2";
pub(crate) type Nonce = [u8; 16];

/// When a client offers memory to its listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Before it connects.
    AtOnce,
    /// Once it pays.
    Later,
}

impl When {
    const ALL: [When; 2] = [When::AtOnce, When::Later];

    fn prefix(self) -> &'static [u8] {
        match self {
            When::AtOnce => b"sockeye-local-client/",
            When::Later => b"sockeye-local-young/",
        }
    }
}

/// The name of a client's socket.
pub(crate) fn client_name(when: When, nonce: &Nonce) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new_abstract_name(&[when.prefix(), nonce].concat())?)
}

/// What a client's socket says by its name.
pub(crate) fn client_of(name: &SocketAddr) -> Option<(When, Nonce)> {
    let name = name.as_abstract_name()?;
    When::ALL.into_iter().find_map(|when| Some((when, name.strip_prefix(when.prefix())?.try_into().ok()?)))
}

pub(crate) fn new_nonce() -> io::Result<Nonce> {
    let mut nonce = Nonce::default();
    rustix::rand::getrandom(&mut nonce, rustix::rand::GetRandomFlags::empty())?;
    Ok(nonce)
}

/// What a client leaves with the companion.
pub(crate) const OFFER_LEN: usize = MAGIC.len() + size_of::<Nonce>() + size_of::<u64>();

/// The file of a socket, told apart from one that has its inode after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct File {
    device: (u32, u32),
    inode: u64,
    born: (i64, u32),
}

impl File {
    /// The file at a path, if it is a socket.
    pub(crate) fn at(path: &Path) -> Option<File> {
        let wanted = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::BTIME;
        let found = rustix::fs::statx(CWD, path, AtFlags::empty(), wanted).ok()?;
        (FileType::from_raw_mode(found.stx_mode.into()) == FileType::Socket).then_some(File {
            device: (found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            born: (found.stx_btime.tv_sec, found.stx_btime.tv_nsec),
        })
    }

    /// The abstract name of the companion of the listener there.
    pub(crate) fn companion_name(&self) -> io::Result<SocketAddrUnix> {
        Ok(SocketAddrUnix::new_abstract_name(self.name("sockeye-local-listener", '/').as_bytes())?)
    }

    /// A connection to the companion, if there is one.
    fn dial_companion(&self) -> Option<OwnedFd> {
        let companion = socket(SocketType::SEQPACKET, SocketFlags::NONBLOCK).ok()?;
        rustix::net::connect(&companion, &self.companion_name().ok()?).ok()?;
        Some(companion)
    }

    /// The name of a file beside it that is locked while it is removed.
    pub(crate) fn lock_name(&self) -> String {
        self.name(".sockeye-local-stale", '-')
    }

    fn name(&self, purpose: &str, between: char) -> String {
        let ((major, minor), (seconds, nanos)) = (self.device, self.born);
        format!(
            "{purpose}{between}{major:x}:{minor:x}{between}{:x}{between}{seconds:x}.{nanos:x}",
            self.inode
        )
    }
}

/// How often a client leaves its offer again, where the companion had no patience.
const ATTEMPTS: usize = 8;

/// An offer that was left with a companion.
#[derive(Debug)]
pub(crate) struct Offer {
    nonce: Nonce,
    listener: Credentials,
    mapping: Arc<Mapping>,
    /// Open until the offer is taken, which tells the listener that somebody still wants it.
    pub(crate) companion: OwnedFd,
}

impl Offer {
    /// Leaves an offer with the companion of the listener at this path; none if there is no companion to take it.
    pub(crate) fn leave(path: &Path, ring: usize) -> Option<Offer> {
        Offer::leave_as(new_nonce().ok()?, &File::at(path)?, None, ring, |_| {})
    }

    /// The same under this nonce, with the companion of the listener whose file this is, if that is this one's: a companion's
    /// name is anybody's. `prepare` sees the memory first, as it may be taken the moment that it is there.
    pub(crate) fn leave_as(
        nonce: Nonce,
        listener: &File,
        expected: Option<Credentials>,
        ring: usize,
        prepare: impl Fn(&Arc<Mapping>),
    ) -> Option<Offer> {
        let mut made = None;
        for _ in 0..ATTEMPTS {
            let companion = listener.dial_companion()?;
            let listener = peer_credentials(companion.as_fd()).ok()?;
            if listener.pid.is_none() || expected.is_some_and(|expected| expected != listener) {
                return None;
            }
            let (mapping, memory) = match made.take() {
                Some(made) => made,
                None => Mapping::create(ring).map(|(mapping, memory)| (Arc::new(mapping), memory)).ok()?,
            };
            prepare(&mapping);
            match send_offer(&companion, &nonce, ring, &memory) {
                Ok(()) => return Some(Offer { nonce, listener, mapping, companion }),
                // It was heard before it said anything, and hung up on.
                Err(Errno::PIPE | Errno::CONNRESET) => made = Some((mapping, memory)),
                Err(_) => return None,
            }
        }
        None
    }

    /// Whether the listener has dropped it, and said so: a hang-up alone may be that it has taken it.
    pub(crate) fn is_dropped(&self) -> bool {
        let hear = || rustix::net::recv(&self.companion, &mut [0; 1], RecvFlags::DONTWAIT);
        // A hang-up before it has read the offer out is an error, told before all else.
        matches!(hear().or_else(|_| hear()), Ok((1, _)))
    }

    /// Connects to the path; none if another than the companion's process listens there, or the offer was dropped.
    pub(crate) fn connect(
        self,
        path: &Path,
        kind: Kind,
        may_wait: bool,
    ) -> io::Result<Option<(UnixStream, Arc<Mapping>)>> {
        let stream = connect(path, kind, Some(&client_name(When::AtOnce, &self.nonce)?), may_wait)?;
        let is_same = peer_credentials(stream.as_fd())? == self.listener && !self.is_dropped();
        Ok(is_same.then_some((stream, self.mapping)))
    }
}

/// Whether the listener whose file this is has a companion. Those that had one are remembered, the last of them: a file is
/// one listener's for ever.
pub(crate) fn has_companion(listener: &File) -> bool {
    const MOST: usize = 64;
    static KNOWN: Mutex<VecDeque<File>> = Mutex::new(VecDeque::new());
    let is_known = |known: &VecDeque<File>| known.contains(listener);
    if is_known(&lock(&KNOWN)) {
        return true;
    }
    let has = listener.dial_companion().is_some();
    let mut known = lock(&KNOWN);
    if has && !is_known(&known) {
        known.truncate(MOST - 1);
        known.push_front(*listener);
    }
    has
}

fn send_offer(companion: &OwnedFd, nonce: &Nonce, ring: usize, memory: &OwnedFd) -> Result<(), Errno> {
    let offer = [&MAGIC[..], nonce, &(ring as u64).to_le_bytes()].concat();
    let memory = [memory.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&memory));
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    rustix::net::sendmsg(companion, &[IoSlice::new(&offer)], &mut control, flags).map(|_| ())
}

/// The kernel's address of a path.
pub(crate) fn address(path: &Path) -> io::Result<SocketAddrUnix> {
    // The kernel takes one more, without an end: many a program then can't.
    if path.as_os_str().len() > 107 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path is longer than 107 bytes"));
    }
    Ok(SocketAddrUnix::new(path)?)
}

/// Connects to a path, from a socket that has this name.
pub(crate) fn connect(
    path: &Path,
    kind: Kind,
    from: Option<&SocketAddrUnix>,
    may_wait: bool,
) -> io::Result<UnixStream> {
    let address = address(path)?;
    let flags = if may_wait { SocketFlags::empty() } else { SocketFlags::NONBLOCK };
    let stream = socket(socket_type(kind), flags)?;
    if let Some(name) = from {
        rustix::net::bind(&stream, name)?;
    }
    loop {
        match rustix::net::connect(&stream, &address) {
            Ok(()) => return Ok(UnixStream::from(stream)),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The kernel's kind of socket for what goes through a ring.
pub(crate) fn socket_type(kind: Kind) -> SocketType {
    match kind {
        Kind::Bytes => SocketType::STREAM,
        Kind::Records => SocketType::SEQPACKET,
    }
}

/// A kernel socket, closed on exec.
pub(crate) fn socket(kind: SocketType, flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(AddressFamily::UNIX, kind, flags | SocketFlags::CLOEXEC, None)?)
}
