//! How two ends find out that both are Sockeye's, without a byte that a plain peer would see.
//!
//! A listener has a companion: a kernel socket with an abstract name made of its file's device, inode and time of
//! birth. A client dials the companion first and leaves an offer there: a nonce and a descriptor of shared memory.
//! Then it connects to the path itself, from a socket whose own name is that nonce, and requires that both sockets have
//! the same peer by `SO_PEERCRED`: a name is anybody's, but only the listener's process has both. The listener finds the
//! offer by the name of the socket it accepted, and requires the same of it. An offer alone opens nothing: that takes
//! a connection to the path, for which the path's permissions are needed.

use crate::Credentials;
use crate::half::Kind;
use crate::sys::{Mapping, peer_credentials};
use rustix::fs::{AtFlags, CWD, FileType, StatxFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;

const MAGIC: [u8; 8] = *b"sockeye1";
const CLIENT_PREFIX: &[u8] = b"sockeye-local-client/";

type Nonce = [u8; 16];

/// What a client leaves with the companion.
const OFFER_LEN: usize = MAGIC.len() + size_of::<Nonce>() + size_of::<u64>();

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

    /// An abstract name made of it.
    pub(crate) fn name(&self, purpose: &str) -> io::Result<SocketAddrUnix> {
        let ((major, minor), (seconds, nanos)) = (self.device, self.born);
        let name =
            format!("sockeye-local-{purpose}/{major:x}:{minor:x}/{:x}/{seconds:x}.{nanos:x}", self.inode);
        Ok(SocketAddrUnix::new_abstract_name(name.as_bytes())?)
    }
}

/// An offer that was left with a companion.
#[derive(Debug)]
pub(crate) struct Offer {
    nonce: Nonce,
    listener: Credentials,
    mapping: Mapping,
    /// Open until the connection is made, which tells the listener that it may still come.
    _companion: OwnedFd,
}

impl Offer {
    /// Leaves an offer with the companion of the listener at this path; none if there is no companion to take it.
    pub(crate) fn leave(path: &Path, ring: usize) -> Option<Offer> {
        let name = File::at(path)?.name("listener").ok()?;
        let companion = socket(SocketType::SEQPACKET, SocketFlags::NONBLOCK).ok()?;
        rustix::net::connect(&companion, &name).ok()?;
        let listener = peer_credentials(companion.as_fd()).ok()?;
        listener.pid?;
        let (mapping, memory) = Mapping::create(ring).ok()?;
        let mut nonce = Nonce::default();
        rustix::rand::getrandom(&mut nonce, rustix::rand::GetRandomFlags::empty()).ok()?;
        let offer = [&MAGIC[..], &nonce, &(ring as u64).to_le_bytes()].concat();
        let memory = [memory.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&memory));
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        rustix::net::sendmsg(&companion, &[IoSlice::new(&offer)], &mut control, flags).ok()?;
        Some(Offer { nonce, listener, mapping, _companion: companion })
    }

    /// Connects to the path; none if another than the companion's process listens there.
    pub(crate) fn connect(
        self,
        path: &Path,
        kind: Kind,
        may_wait: bool,
    ) -> io::Result<Option<(UnixStream, Mapping)>> {
        let name = [CLIENT_PREFIX, &self.nonce].concat();
        let stream = connect(path, kind, Some(&SocketAddrUnix::new_abstract_name(&name)?), may_wait)?;
        let is_same = peer_credentials(stream.as_fd())? == self.listener;
        Ok(is_same.then_some((stream, self.mapping)))
    }
}

/// The kernel's address of a path.
pub(crate) fn address(path: &Path) -> io::Result<SocketAddrUnix> {
    SocketAddrUnix::new(path).map_err(|error| match error {
        Errno::NAMETOOLONG => {
            io::Error::new(io::ErrorKind::InvalidInput, "the path is longer than 107 bytes")
        }
        error => error.into(),
    })
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

/// The nonce in the name of a client's socket.
pub(crate) fn nonce_of(client: &SocketAddr) -> Option<Nonce> {
    client.as_abstract_name()?.strip_prefix(CLIENT_PREFIX)?.try_into().ok()
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

/// A listener's companion, and the offers that were left with it.
#[derive(Debug)]
pub(crate) struct Companion {
    socket: OwnedFd,
    backlog: usize,
    /// Dialled, but no offer has come yet.
    silent: Vec<Caller>,
    offers: HashMap<Nonce, Left>,
    /// With this many callers, those that are over are looked for.
    full: usize,
    /// Connections that were accepted so far.
    accepted: u64,
}

/// Who dialled the companion.
#[derive(Debug)]
struct Caller {
    socket: OwnedFd,
    credentials: Credentials,
}

/// What a caller left.
#[derive(Debug)]
struct Left {
    caller: Caller,
    memory: OwnedFd,
    ring: u64,
    /// Once the caller has hung up: its connection is in the listener's queue by then, or never comes.
    until: Option<u64>,
}

impl Companion {
    /// Callers that are kept at once, besides as many again as the backlog.
    const FEW: usize = 64;

    /// The companion of the listener whose file this is; none if its name is taken.
    pub(crate) fn new(file: &File, backlog: u32) -> Option<Companion> {
        let socket = socket(SocketType::SEQPACKET, SocketFlags::NONBLOCK).ok()?;
        rustix::net::bind(&socket, &file.name("listener").ok()?).ok()?;
        rustix::net::listen(&socket, backlog as i32).ok()?;
        Some(Companion {
            socket,
            backlog: backlog as usize,
            silent: Vec::new(),
            offers: HashMap::new(),
            full: Companion::FEW,
            accepted: 0,
        })
    }

    /// The memory that was offered under this nonce by the one who has now connected, if its rings are no larger than
    /// allowed.
    pub(crate) fn claim(&mut self, nonce: &Nonce, client: &Credentials, largest: usize) -> Option<Mapping> {
        self.accepted += 1;
        self.hear_out(nonce);
        let left = self.offers.remove(nonce)?;
        let ring = usize::try_from(left.ring).ok()?;
        let is_good = ring.is_power_of_two() && (crate::SMALLEST_RING..=largest).contains(&ring);
        if !is_good || left.caller.credentials != *client {
            return None;
        }
        Mapping::adopt(left.memory.as_fd(), ring).ok()
    }

    /// Takes what callers have left, up to this offer. It was left before its connection was made, so that it is among as
    /// many as the queue holds.
    fn hear_out(&mut self, nonce: &Nonce) {
        for caller in std::mem::take(&mut self.silent) {
            self.hear(caller);
        }
        for _ in 0..=self.backlog {
            if self.offers.contains_key(nonce) {
                break;
            }
            let Ok(socket) = rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC) else { break };
            if let Ok(credentials) = peer_credentials(socket.as_fd()) {
                self.hear(Caller { socket, credentials });
            }
        }
        if self.silent.len() + self.offers.len() > self.full {
            self.forget();
        }
    }

    fn hear(&mut self, caller: Caller) {
        match receive_offer(&caller.socket) {
            Ok((nonce, ring, memory)) => {
                self.offers.entry(nonce).or_insert(Left { caller, memory, ring, until: None });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.silent.push(caller),
            Err(_) => {}
        }
    }

    /// Drops the offers whose connections won't come any more; and if too many are left, those of the user who has
    /// most.
    fn forget(&mut self) {
        let (accepted, last) = (self.accepted, self.accepted + self.backlog as u64 + 1);
        for left in self.offers.values_mut().filter(|left| left.until.is_none()) {
            let is_over = rustix::net::recv(&left.caller.socket, &mut [0; 1], RecvFlags::DONTWAIT)
                .is_ok_and(|(count, _)| count == 0);
            left.until = is_over.then_some(last);
        }
        self.offers.retain(|_, left| left.until.is_none_or(|until| accepted <= until));
        let most = 2 * (self.backlog + Companion::FEW);
        while self.silent.len() + self.offers.len() > most {
            self.forget_greediest();
        }
        self.full = (2 * (self.silent.len() + self.offers.len())).clamp(Companion::FEW, most);
    }

    /// Drops all that is left by the user who has left most.
    fn forget_greediest(&mut self) {
        let callers = self.offers.values().map(|left| &left.caller).chain(&self.silent);
        let mut users = HashMap::<u32, usize>::new();
        callers.for_each(|caller| *users.entry(caller.credentials.uid).or_default() += 1);
        let Some((&user, _)) = users.iter().max_by_key(|(_, count)| **count) else { return };
        self.silent.retain(|caller| caller.credentials.uid != user);
        self.offers.retain(|_, left| left.caller.credentials.uid != user);
    }
}

/// The offer that a caller has sent.
fn receive_offer(socket: &OwnedFd) -> io::Result<(Nonce, u64, OwnedFd)> {
    let mut offer = [0; OFFER_LEN + 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut offer)], &mut control, flags)?;
    let mut descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let memory = descriptors.next().and_then(|mut descriptors| descriptors.next());
    let (magic, rest) = offer[..OFFER_LEN].split_at(MAGIC.len());
    let (nonce, ring) = rest.split_at(size_of::<Nonce>());
    match (memory, nonce.try_into(), ring.try_into()) {
        (Some(memory), Ok(nonce), Ok(ring)) if received.bytes == OFFER_LEN && magic == MAGIC => {
            Ok((nonce, u64::from_le_bytes(ring), memory))
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
