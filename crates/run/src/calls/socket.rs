//! `socket`, and the calls on stream sockets that name an address for nothing.

use super::{Answer, Caller};
use crate::core::Core;
use crate::end::ProgramEnd;
use crate::netlink::Netlink;
use crate::poller::Token;
use crate::proto::{Class, MemberId, Outcome, Reply};
use crate::sockets::{PlugNames, Record, Socket, SocketKey};
use crate::stream::{self, Phase, Stream};
use crate::{datagram, mirror, netlink};
use rustix::event::epoll::EventFlags;
use rustix::net::SendFlags;
use rustix::net::sockopt::Timeout;
use sockeye_posix::{Errno, Privilege, SocketKind, Stored};
use sockeye_stack::{Domain, Owner, SocketId, SocketType};

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// `socket` of a domain, type and protocol.
pub(crate) fn socket(core: &mut Core, caller: Caller, what: [i32; 3]) -> Reply {
    let close_on_exec = what[1] & libc::SOCK_CLOEXEC != 0;
    match open(core, caller, what) {
        Ok((class, theirs)) => Reply {
            outcome: Outcome::Descriptor { class, close_on_exec, address: Vec::new() },
            ticket: None,
            fd: Some(theirs),
        },
        Err(errno) => Err(errno).into(),
    }
}

/// Makes a socket and its plug; returns the program's end. If that gets nowhere, its hang-up ends the socket.
fn open(
    core: &mut Core,
    caller: Caller,
    [domain, kind, protocol]: [i32; 3],
) -> Result<(Class, OwnedFd), Errno> {
    let nonblocking = kind & libc::SOCK_NONBLOCK != 0;
    if domain == libc::AF_NETLINK {
        let kind = netlink::check(kind, protocol)?;
        let opened = netlink::open(kind, caller.tid, nonblocking);
        let plug = name(core, caller, opened.map(|(netlink, theirs)| (Socket::Netlink(netlink), theirs)))?;
        return Ok(enter(core, caller, (Domain::Inet, Netlink::stack_id()), plug));
    }
    if domain == libc::AF_PACKET {
        // The kernel's from then on.
        return Ok((Class::Other, mirror::open(core, caller, kind, protocol)?));
    }
    // Everybody may have raw sockets: the network is the program's own.
    let SocketKind { domain, kind } = SocketKind::of_call(domain, kind, protocol, Privilege::NetRaw)?;
    let opened = match kind {
        SocketType::Stream => stream::new_plug(nonblocking)
            .map(|plug| (Socket::Stream(Stream::new(plug.ours, Phase::Fresh, None)), plug.theirs)),
        SocketType::Datagram
        | SocketType::DatagramLite
        | SocketType::Ping
        | SocketType::Raw(_)
        | SocketType::Packet { .. } => {
            datagram::open(kind, nonblocking).map(|(datagram, theirs)| (Socket::Datagram(datagram), theirs))
        }
    };
    let plug = name(core, caller, opened)?;
    let id = core.stack_socket(caller, domain, kind)?;
    Ok(enter(core, caller, (domain, id), plug))
}

/// A new plug: the network's side of it, how the program's end is recognized, that end, and what is kept of it.
struct NewPlug {
    socket: Socket,
    names: PlugNames,
    theirs: OwnedFd,
    kept: Option<Arc<OwnedFd>>,
}

fn name(core: &mut Core, caller: Caller, opened: io::Result<(Socket, OwnedFd)>) -> Result<NewPlug, Errno> {
    let named = opened.and_then(|(socket, theirs)| {
        let kept = core.keeping(caller.member, &theirs)?;
        Ok(NewPlug { socket, names: PlugNames::of(&theirs)?, theirs, kept })
    });
    named.map_err(|error| core.plug_errno(caller.member, &error))
}

/// Takes note of a new socket.
fn enter(
    core: &mut Core,
    caller: Caller,
    (domain, id): (Domain, SocketId),
    plug: NewPlug,
) -> (Class, OwnedFd) {
    let NewPlug { socket, names, theirs, kept } = plug;
    let key = core.sockets.insert(Record {
        member: caller.member,
        names,
        host: caller.host,
        id,
        domain,
        stored: Stored::default(),
        socket,
        waiters: VecDeque::new(),
        kept,
    });
    let watched = match core.sockets.get(key).map(|record| &record.socket) {
        Some(Socket::Stream(stream)) => core.poller.watch(&stream.plug, Token::Plug(key), stream::idle()),
        Some(Socket::Datagram(datagram)) => {
            core.poller.watch(datagram.plug(), Token::Plug(key), datagram::carrying())
        }
        Some(Socket::Netlink(netlink)) => {
            core.poller.watch(netlink.plug(), Token::Plug(key), EventFlags::IN | stream::idle())
        }
        _ => Ok(()),
    };
    // Only for want of memory: the socket works, but its close is not seen before the program's end.
    watched.map_err(|error| tracing::warn!(%error, "can't watch a socket")).ok();
    let class = core.sockets.get(key).map_or(Class::Other, Record::class);
    (class, theirs)
}

impl Core {
    /// A new socket of a host's stack, for a program of this caller.
    pub(crate) fn stack_socket(
        &mut self,
        caller: Caller,
        domain: Domain,
        kind: SocketType,
    ) -> Result<SocketId, Errno> {
        let uid = rustix::process::getuid().as_raw();
        let owner = Owner { uid, pid: caller.tid, ..Owner::default() };
        Ok(self.world.with(caller.host, |stack| stack.socket(domain, kind, owner))?)
    }

    /// A duplicate of a new plug's program end, if this member's calls can't bring one along.
    pub(crate) fn keeping(&mut self, member: MemberId, theirs: &OwnedFd) -> io::Result<Option<Arc<OwnedFd>>> {
        if !self.keeps_ends(member) {
            return Ok(None);
        }
        let kept = rustix::io::fcntl_dupfd_cloexec(theirs, 0)?;
        self.expect_close();
        Ok(Some(Arc::new(kept)))
    }
}

/// A send on a stream socket that names an address, which TCP reads over and a plug would refuse: the bytes
/// go in from here.
pub(crate) fn send_piece(
    core: &mut Core,
    end: &ProgramEnd,
    key: SocketKey,
    flags: i32,
    data: &[u8],
) -> Answer {
    if is_fresh(core, key) {
        return broken_pipe(flags);
    }
    // Without the program's end at hand the bytes can't keep their place behind those in the plug.
    let theirs = end.fd().ok_or(Errno::EISCONN)?;
    let out_of_band = if flags & libc::MSG_OOB != 0 { SendFlags::OOB } else { SendFlags::empty() };
    match rustix::net::send(theirs, data, SendFlags::DONTWAIT | SendFlags::NOSIGNAL | out_of_band) {
        Ok(sent) => Ok(Outcome::Value(sent as i64)),
        Err(rustix::io::Errno::PIPE) => broken_pipe(flags),
        Err(rustix::io::Errno::AGAIN) if flags & libc::MSG_DONTWAIT == 0 && !end.is_nonblocking() => {
            Ok(Outcome::Wait { key, limit: end.timeout(Timeout::Send), expired: libc::EAGAIN })
        }
        Err(error) => Err(Errno(error.raw_os_error())),
    }
}

/// A send (with its flags) or receive that the kernel may do on the plug. On one without a peer it would
/// work or wait; datagram sockets have handlers of their own.
pub(crate) fn pass(core: &mut Core, key: SocketKey, send: Option<i32>) -> Answer {
    match (is_fresh(core, key), send) {
        (false, _) => Ok(Outcome::Continue),
        (true, Some(flags)) => broken_pipe(flags),
        (true, None) => Err(Errno::ENOTCONN),
    }
}

fn is_fresh(core: &Core, key: SocketKey) -> bool {
    match core.sockets.get(key).map(|record| &record.socket) {
        Some(Socket::Stream(stream)) => stream.phase == Phase::Fresh,
        Some(Socket::Listener(_)) => true,
        Some(Socket::Datagram(_) | Socket::Netlink(_) | Socket::Dead(_)) | None => false,
    }
}

/// A send on a stream socket that isn't connected.
fn broken_pipe(flags: i32) -> Answer {
    if flags & libc::MSG_FASTOPEN != 0 {
        // As where the sysctl doesn't allow it: programs connect first, then.
        return Err(Errno::EOPNOTSUPP);
    }
    Ok(Outcome::BrokenPipe { signal: flags & libc::MSG_NOSIGNAL == 0 })
}
