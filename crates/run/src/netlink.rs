//! Route sockets (`AF_NETLINK`): how programs learn of their host's interfaces, addresses and routes.
//!
//! A plug is a pair of SEQPACKET sockets, as a datagram socket's. What the program asks is answered at once,
//! from the stack as it is, and the answers wait in the program's own queue: nothing comes unasked, so the
//! groups that a program joins are only remembered. A program that doesn't read loses answers and is told
//! ENOBUFS, as by Linux. Invariant: what the program wrote natively is answered before any other call on
//! the socket.

mod answer;
mod calls;
mod describe;
mod host;
mod ioctl;
mod options;
mod request;
mod routes;

pub(crate) use calls::handle;
pub(crate) use ioctl::interface_request;

use crate::core::Core;
use crate::sockets::{Record, Socket, SocketKey};
use crate::sys;
use answer::{Asker, respond};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno as SysErrno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType as SysType, recv, send, socketpair,
};
use sockeye::HostId;
use sockeye_posix::Errno;
use sockeye_posix::interface::NetlinkAddress;
use sockeye_stack::{SocketId, SocketOption};
use std::collections::HashSet;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The longest request; a plug takes no longer ones than the calls do.
const REQUEST_MAX: usize = 65_536;
/// How many requests are answered before others have their turn.
const SHARE: usize = 64;
/// Where ports start that are no process's number, downwards.
const FIRST_FREE_PORT: u32 = 0xffff_efff;

/// The network's side of a route socket.
#[derive(Debug)]
pub(crate) struct Netlink {
    plug: OwnedFd,
    /// `SOCK_RAW` or `SOCK_DGRAM`, which are the same here.
    kind: i32,
    /// The process that made it, whose number is its first choice of a port.
    process: u32,
    /// Its port, once it is bound.
    port: Option<u32>,
    /// Where it is connected to; the kernel unless it says otherwise.
    peer: NetlinkAddress,
    /// Groups that it joined, a bit each.
    groups: u64,
    /// Options of `SOL_NETLINK` that are on, a bit each.
    flags: u32,
    /// Options that other sockets have in the stack, by their numbers.
    generic: Vec<(i32, SocketOption)>,
    /// An answer found no room, and the program was not told yet.
    overrun: bool,
    /// All descriptors of the program's end are closed.
    closed: bool,
    /// Whether it waits in [`Core::unfinished`].
    unfinished: bool,
}

/// The family and type of a route socket, or the errno for what there is none of.
pub(crate) fn check(kind: i32, protocol: i32) -> Result<i32, Errno> {
    if kind & !(0xf | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    match (kind & 0xf, protocol) {
        (kind @ (libc::SOCK_RAW | libc::SOCK_DGRAM), libc::NETLINK_ROUTE) => Ok(kind),
        (libc::SOCK_RAW | libc::SOCK_DGRAM, _) => Err(Errno::EPROTONOSUPPORT),
        _ => Err(Errno::ESOCKTNOSUPPORT),
    }
}

/// A new route socket for a thread, and the program's end of its plug, non-blocking if asked for.
pub(crate) fn open(kind: i32, tid: u32, nonblocking: bool) -> io::Result<(Netlink, OwnedFd)> {
    let (plug, theirs) = socketpair(AddressFamily::UNIX, SysType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&plug, true)?;
    if nonblocking {
        rustix::io::ioctl_fionbio(&theirs, true)?;
    }
    let process = sys::process_of_thread(tid).map_or(tid, |pid| pid.as_raw_nonzero().get() as u32);
    Ok((Netlink::new(plug, kind, process), theirs))
}

impl Netlink {
    /// The id in the stack of a route socket: of no socket there.
    pub(crate) fn stack_id() -> SocketId {
        SocketId::from_u64(u64::MAX)
    }

    fn new(plug: OwnedFd, kind: i32, process: u32) -> Netlink {
        Netlink {
            plug,
            kind,
            process,
            port: None,
            peer: NetlinkAddress::default(),
            groups: 0,
            flags: 0,
            generic: Vec::new(),
            overrun: false,
            closed: false,
            unfinished: false,
        }
    }

    /// The network's end of the plug.
    pub(crate) fn plug(&self) -> BorrowedFd<'_> {
        self.plug.as_fd()
    }

    /// It has left [`Core::unfinished`].
    pub(crate) fn dequeue(&mut self) {
        self.unfinished = false;
    }
}

/// The program wrote into the plug or closed it (hang-up). Also: work was left over.
pub(crate) fn on_plug(core: &mut Core, key: SocketKey, events: EventFlags) {
    if let Some(netlink) = of(core, key) {
        netlink.closed |= events.contains(EventFlags::HUP);
        if netlink.closed {
            // Nobody is left to read an answer.
            core.wake(key);
            core.sockets.remove(key);
            return;
        }
    }
    serve(core, key);
}

/// The route socket of a record.
fn of(core: &mut Core, key: SocketKey) -> Option<&mut Netlink> {
    match core.sockets.get_mut(key) {
        Some(Record { socket: Socket::Netlink(netlink), .. }) => Some(netlink),
        _ => None,
    }
}

/// Answers what the program wrote natively, a share of it.
#[allow(clippy::large_stack_arrays, reason = "64 KiB of a stack of megabytes, never cleared")]
fn serve(core: &mut Core, key: SocketKey) {
    let mut buffer = [MaybeUninit::uninit(); REQUEST_MAX];
    for _ in 0..SHARE {
        let Some(netlink) = of(core, key) else { return };
        match recv(&netlink.plug, &mut buffer, RecvFlags::DONTWAIT) {
            Err(SysErrno::AGAIN) => return,
            // An empty message asks nothing and may have others behind it; the end looks the same, and the
            // plug's event tells of it.
            Ok((_, 0)) | Err(_) => {}
            Ok(((bytes, _), _)) => answer(core, key, bytes),
        }
    }
    if let Some(netlink) = of(core, key)
        && !std::mem::replace(&mut netlink.unfinished, true)
    {
        core.unfinished.push_back(key);
    }
}

/// Answers what the program asks into its queue.
fn answer(core: &mut Core, key: SocketKey, bytes: &[u8]) {
    bind_anywhere(core, key);
    let Some(record) = core.sockets.get_mut(key) else { return };
    let host = record.host;
    let Socket::Netlink(netlink) = &mut record.socket else { return };
    let asker = Asker {
        port: netlink.port.unwrap_or_default(),
        capped: netlink.has(options::CAP_ACK),
        strict: netlink.has(options::STRICT_CHECK),
    };
    let (plug, overrun) = (&netlink.plug, &mut netlink.overrun);
    let mut put = |message: &[u8]| {
        let sent = send(plug, message, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        *overrun |= sent.is_err();
        sent.is_ok()
    };
    core.world.with(host, |stack| respond(stack, asker, bytes, &mut put));
    core.wake(key);
}

/// Gives a socket a port, unless it has one: its process's number, or one that no other socket has.
fn bind_anywhere(core: &mut Core, key: SocketKey) -> u32 {
    let Some(Record { host, socket: Socket::Netlink(netlink), .. }) = core.sockets.get(key) else { return 0 };
    if let Some(port) = netlink.port {
        return port;
    }
    let taken = ports(core, *host);
    let candidates = std::iter::once(netlink.process).chain((1..=FIRST_FREE_PORT).rev());
    let port = candidates.into_iter().find(|port| !taken.contains(port)).unwrap_or(FIRST_FREE_PORT);
    if let Some(netlink) = of(core, key) {
        netlink.port = Some(port);
    }
    port
}

/// The ports of a host's route sockets.
fn ports(core: &Core, host: HostId) -> HashSet<u32> {
    let of_host = core.sockets.records().filter(|record| record.host == host);
    of_host
        .filter_map(|record| match &record.socket {
            Socket::Netlink(netlink) => netlink.port,
            _ => None,
        })
        .collect()
}
