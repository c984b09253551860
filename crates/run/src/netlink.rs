//! Netlink sockets (`AF_NETLINK`): how programs learn of their host's interfaces, addresses and routes
//! (`NETLINK_ROUTE`), and of its sockets (`NETLINK_SOCK_DIAG`).
//!
//! A plug is a pair of SEQPACKET sockets, as a datagram socket's. What the program asks is answered at once,
//! from the stack as it is, and the answers wait in the program's own queue: nothing comes unasked, so the
//! groups that a program joins are only remembered. A program that doesn't read loses answers and is told
//! ENOBUFS, as by Linux; only a list of sockets, which may be long, waits until there is room. Invariant: what the
//! program wrote natively is answered before any other call on the socket.

mod answer;
mod calls;
mod describe;
mod diag;
mod ethtool;
mod fuzz;
mod host;
mod ioctl;
mod neighbours;
mod options;
mod refusal;
mod request;
mod routes;
mod tables;
mod work;

pub(crate) use calls::handle;
pub use fuzz::{fuzz_netlink, fuzz_netlink_example};
pub(crate) use host::{Interface, hardware_of, interfaces};
pub(crate) use ioctl::interface_request;
pub(crate) use tables::open as open_table;

use crate::core::Core;
use crate::poller::Token;
use crate::sockets::{Record, Socket, SocketKey};
use crate::{stream, sys};
use answer::{Asker, Reply, respond};
use netlink_packet_core::NLM_F_DUMP;
use request::Request;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno as SysErrno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType as SysType, recv, send, socketpair,
};
use sockeye::HostId;
use sockeye_posix::Errno;
use sockeye_posix::interface::NetlinkAddress;
use sockeye_stack::{SocketId, SocketOption};
use std::collections::{HashSet, VecDeque};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use work::Work;

/// The longest request; a plug takes no longer ones than the calls do.
const REQUEST_MAX: usize = 65_536;
/// How much may wait to be answered, as much as a send buffer of Linux holds (`net.core.wmem_default`).
const ASKED_MAX: usize = 212_992;
/// Where ports start that are no process's number, downwards.
const FIRST_FREE_PORT: u32 = 0xffff_efff;

/// The network's side of a netlink socket.
#[derive(Debug)]
pub(crate) struct Netlink {
    plug: OwnedFd,
    /// `SOCK_RAW` or `SOCK_DGRAM`, which are the same here.
    kind: i32,
    /// `NETLINK_ROUTE` or `NETLINK_SOCK_DIAG`.
    protocol: i32,
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
    /// What the program asked and was not answered yet, in order.
    asked: VecDeque<Asked>,
    /// The list of sockets that is being told.
    dump: Option<Box<diag::Dump>>,
    /// Room in the program's queue is an event: a list waits for it.
    hears_of_room: bool,
    /// An answer found no room, and the program was not told yet.
    overrun: bool,
    /// All descriptors of the program's end are closed.
    closed: bool,
    /// Whether it waits in [`Core::unfinished`].
    unfinished: bool,
}

/// What a program wrote, of which so much was answered.
#[derive(Debug)]
struct Asked {
    bytes: Vec<u8>,
    answered: usize,
}

/// The type and protocol of a netlink socket, or the errno for what there is none of.
pub(crate) fn check(kind: i32, protocol: i32) -> Result<[i32; 2], Errno> {
    if kind & !(0xf | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    match (kind & 0xf, protocol) {
        (kind @ (libc::SOCK_RAW | libc::SOCK_DGRAM), libc::NETLINK_ROUTE | libc::NETLINK_SOCK_DIAG) => {
            Ok([kind, protocol])
        }
        (libc::SOCK_RAW | libc::SOCK_DGRAM, _) => Err(Errno::EPROTONOSUPPORT),
        _ => Err(Errno::ESOCKTNOSUPPORT),
    }
}

/// A new netlink socket for a thread, and the program's end of its plug, non-blocking if asked for.
pub(crate) fn open(kind: [i32; 2], tid: u32, nonblocking: bool) -> io::Result<(Netlink, OwnedFd)> {
    let (plug, theirs) = socketpair(AddressFamily::UNIX, SysType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&plug, true)?;
    if nonblocking {
        rustix::io::ioctl_fionbio(&theirs, true)?;
    }
    let process = sys::process_of_thread(tid).map_or(tid, |pid| pid.as_raw_nonzero().get() as u32);
    Ok((Netlink::new(plug, kind, process), theirs))
}

impl Netlink {
    /// The id in the stack of a netlink socket: of no socket there.
    pub(crate) fn stack_id() -> SocketId {
        SocketId::from_u64(u64::MAX)
    }

    fn new(plug: OwnedFd, [kind, protocol]: [i32; 2], process: u32) -> Netlink {
        Netlink {
            plug,
            kind,
            protocol,
            process,
            port: None,
            peer: NetlinkAddress::default(),
            groups: 0,
            flags: 0,
            generic: Vec::new(),
            asked: VecDeque::new(),
            dump: None,
            hears_of_room: false,
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

/// The netlink socket of a record.
fn of(core: &mut Core, key: SocketKey) -> Option<&mut Netlink> {
    match core.sockets.get_mut(key) {
        Some(Record { socket: Socket::Netlink(netlink), .. }) => Some(netlink),
        _ => None,
    }
}

/// Answers what the program wrote, as much as one turn may take.
fn serve(core: &mut Core, key: SocketKey) {
    let mut work = Work::default();
    turn(core, key, &mut work);
    if work.is_over() {
        come_back(core, key);
    }
}

/// Answers what was left over, then what the program wrote natively, until nothing is left or it is time for others.
#[allow(clippy::large_stack_arrays, reason = "64 KiB of a stack of megabytes, never cleared")]
fn turn(core: &mut Core, key: SocketKey, work: &mut Work) {
    go_on(core, key, work);
    let mut buffer = [MaybeUninit::uninit(); REQUEST_MAX];
    while !work.is_over() {
        let Some(netlink) = of(core, key) else { return };
        if let Some(mut asked) = netlink.asked.pop_front() {
            asked.answered += answer(core, key, &asked.bytes[asked.answered..], work);
            if let Some(netlink) = of(core, key).filter(|_| asked.answered < asked.bytes.len()) {
                netlink.asked.push_front(asked);
            }
            continue;
        }
        match recv(&netlink.plug, &mut buffer, RecvFlags::DONTWAIT) {
            Err(SysErrno::AGAIN) => return,
            // An empty message asks nothing and may have others behind it; the end looks the same, and the
            // plug's event tells of it.
            Ok((_, 0)) | Err(_) => work.read(0),
            Ok(((bytes, _), _)) => ask(core, key, bytes, work),
        }
    }
}

/// Answers a message of the program, and keeps what there is no time for.
fn ask(core: &mut Core, key: SocketKey, bytes: &[u8], work: &mut Work) {
    let answered = answer(core, key, bytes, work);
    if answered < bytes.len()
        && let Some(netlink) = of(core, key)
    {
        netlink.asked.push_back(Asked { bytes: bytes[answered..].to_vec(), answered: 0 });
    }
}

/// There is more to do, when others have had their turn.
fn come_back(core: &mut Core, key: SocketKey) {
    if let Some(netlink) = of(core, key)
        && !std::mem::replace(&mut netlink.unfinished, true)
    {
        core.unfinished.push_back(key);
    }
}

/// Answers requests of the program into its queue, until it is time for others; returns how many bytes they are.
fn answer(core: &mut Core, key: SocketKey, bytes: &[u8], work: &mut Work) -> usize {
    bind_anywhere(core, key);
    let Some(record) = core.sockets.get(key) else { return bytes.len() };
    let Socket::Netlink(netlink) = &record.socket else { return bytes.len() };
    let asker = Asker {
        port: netlink.port.unwrap_or_default(),
        capped: netlink.has(options::CAP_ACK),
        strict: netlink.has(options::STRICT_CHECK),
        explained: netlink.has(options::EXT_ACK),
    };
    let is_diag = netlink.protocol == libc::NETLINK_SOCK_DIAG;
    let mut answered = 0;
    let mut requests = request::requests(bytes);
    let answered = loop {
        // What is behind the last whole message asks nothing.
        let Some(request) = requests.next() else { break bytes.len() };
        if work.is_over() {
            break answered;
        }
        work.read(request.whole.len());
        if is_diag {
            list(core, key, asker, &request, work);
        } else if !route(core, key, asker, request.whole, work) {
            // No room: what else the message asks is lost.
            break bytes.len();
        }
        answered = (answered + request.whole.len().next_multiple_of(4)).min(bytes.len());
    };
    core.wake(key);
    answered
}

/// Answers a request about interfaces, addresses or routes; says whether there was room.
fn route(core: &mut Core, key: SocketKey, asker: Asker, request: &[u8], work: &mut Work) -> bool {
    let Some(record) = core.sockets.get_mut(key) else { return false };
    let (host, Socket::Netlink(netlink)) = (record.host, &mut record.socket) else { return false };
    let mut fits = true;
    let mut put = |message: &[u8]| {
        work.send();
        fits = put(&netlink.plug, message);
        fits
    };
    core.world.with(host, |stack| respond(stack, asker, request, &mut put));
    netlink.overrun |= !fits;
    fits
}

/// Puts a message into the program's queue; says whether there was room.
fn put(plug: &OwnedFd, message: &[u8]) -> bool {
    send(plug, message, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).is_ok()
}

/// Answers a request for sockets.
fn list(core: &mut Core, key: SocketKey, asker: Asker, request: &Request<'_>, work: &mut Work) {
    let Some(Record { host, socket: Socket::Netlink(netlink), .. }) = core.sockets.get(key) else { return };
    let wants_all = request.flags & NLM_F_DUMP != 0;
    let answer = if !request.asks() {
        Ok(None)
    } else if wants_all && netlink.dump.is_some() {
        // As by the kernel, which tells one list at a time.
        Err(Errno::EBUSY)
    } else {
        core.world.with(*host, |stack| {
            let host = diag::Host { stack, now: core.now, plugs: Some((*host, &core.sockets)) };
            diag::answer(&host, asker.port, request, work).map(Some)
        })
    };
    let reply = Reply::new(asker, *request);
    let mut put = |message: &[u8]| put(&netlink.plug, message);
    let fits = match answer {
        Ok(Some(diag::Answer::Dump(dump))) => {
            if let Some(netlink) = of(core, key) {
                netlink.dump = Some(dump);
            }
            return go_on(core, key, work);
        }
        // As the kernel: the answer is the acknowledgment.
        Ok(Some(diag::Answer::One(body))) => {
            put(&diag::message([request.kind, 0], [request.sequence, asker.port], &body))
        }
        Ok(None) => reply.acknowledge(Ok(()), &mut put),
        Err(errno) => reply.acknowledge(Err(errno.into()), &mut put),
    };
    if let Some(netlink) = of(core, key) {
        netlink.overrun |= !fits;
    }
}

/// Goes on with a list of sockets, as far as there is room in the program's queue.
fn go_on(core: &mut Core, key: SocketKey, work: &mut Work) {
    let Some(Record { host, socket: Socket::Netlink(netlink), .. }) = core.sockets.get_mut(key) else {
        return;
    };
    let (host, Some(mut dump)) = (*host, netlink.dump.take()) else { return };
    let Some(Record { socket: Socket::Netlink(netlink), .. }) = core.sockets.get(key) else { return };
    let progress = core.world.with(host, |stack| {
        let host = diag::Host { stack, now: core.now, plugs: Some((host, &core.sockets)) };
        dump.go_on(&host, work, &mut |message| put(&netlink.plug, message))
    });
    let is_full = progress == diag::Progress::Full;
    if is_full != netlink.hears_of_room {
        let room = if is_full { EventFlags::OUT } else { EventFlags::empty() };
        let events = EventFlags::IN | stream::idle() | room;
        core.poller.rewatch(&netlink.plug, Token::Plug(key), events).ok();
    }
    if let Some(netlink) = of(core, key) {
        netlink.hears_of_room = is_full;
        netlink.dump = Some(dump).filter(|_| progress != diag::Progress::Ended);
    }
    core.wake(key);
}

/// Gives a socket a port, unless it has one: its process's number, or one that no other socket has.
fn bind_anywhere(core: &mut Core, key: SocketKey) -> u32 {
    let Some(Record { host, socket: Socket::Netlink(netlink), .. }) = core.sockets.get(key) else { return 0 };
    if let Some(port) = netlink.port {
        return port;
    }
    let taken = ports(core, *host, netlink.protocol);
    let candidates = std::iter::once(netlink.process).chain((1..=FIRST_FREE_PORT).rev());
    let port = candidates.into_iter().find(|port| !taken.contains(port)).unwrap_or(FIRST_FREE_PORT);
    if let Some(netlink) = of(core, key) {
        netlink.port = Some(port);
    }
    port
}

/// The ports of a host's sockets of a protocol.
fn ports(core: &Core, host: HostId, protocol: i32) -> HashSet<u32> {
    let of_host = core.sockets.records().filter(|record| record.host == host);
    of_host
        .filter_map(|record| match &record.socket {
            Socket::Netlink(netlink) if netlink.protocol == protocol => netlink.port,
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests;
