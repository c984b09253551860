//! Listening sockets and `accept`.
//!
//! The program's end of a listener's plug is readable exactly while a connection waits: the supervisor
//! writes one byte when connections arrive and takes them back, through the program's own descriptor, when
//! accept has emptied the queue. So poll, select and epoll work in any number of processes.

use super::connect::revive;
use super::{Phase, Plug, Stream, carrying, close, errno_of, new_plug, stuff};
use crate::calls::{Answer, Caller};
use crate::core::Core;
use crate::end::ProgramEnd;
use crate::poller::Token;
use crate::proto::{Class, MemberId, Outcome, Reply, Seen, Ticket};
use crate::sockets::{Dead, PlugNames, Record, Socket, SocketKey};
use rustix::event::epoll::EventFlags;
use rustix::net::sockopt::{Timeout, set_socket_oobinline};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use sockeye::HostId;
use sockeye_posix::Errno;
use sockeye_posix::address::AddressBytes;
use sockeye_stack::{Domain, Error, OptionName, Readiness, Shutdown, SockAddr, SocketId, SocketOption};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;

/// The most bytes written ahead: one wakes one process that waits.
const TOKENS_MAX: usize = 64;

/// The supervisor's side of a listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    /// The supervisor's end of the plug.
    pub(crate) plug: OwnedFd,
    /// Bytes in the program's end.
    tokens: usize,
    /// Connections taken from the stack that no accept call could be given.
    returned: VecDeque<(SocketId, SockAddr)>,
    /// Whether the program shut it down.
    pub(crate) shut: bool,
}

impl Listener {
    /// Takes all bytes back: nothing waits.
    fn quiet(&mut self, end: &ProgramEnd) {
        if self.tokens > 0
            && let Some(theirs) = end.fd()
        {
            let mut bytes = [0_u8; TOKENS_MAX];
            recv(theirs, &mut bytes[..], RecvFlags::DONTWAIT).ok();
            self.tokens = 0;
        }
    }

    /// Takes one byte back, as long as another one says that more waits.
    fn consume(&mut self, end: &ProgramEnd) {
        if self.tokens > 1
            && let Some(theirs) = end.fd()
        {
            let mut byte = [0_u8; 1];
            recv(theirs, &mut byte[..], RecvFlags::DONTWAIT).ok();
            self.tokens -= 1;
        }
    }

    /// Wakes one process that waits for readiness.
    fn signal(&mut self) {
        if self.tokens < TOKENS_MAX
            && send(&self.plug, &[1], SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_ok()
        {
            self.tokens += 1;
        }
    }
}

/// `listen`.
pub(crate) fn listen(
    core: &mut Core,
    caller: Caller,
    end: &ProgramEnd,
    key: SocketKey,
    backlog: i32,
) -> Reply {
    match listen_in_stack(core, key, backlog) {
        // The call comes again, on a new plug.
        Ok(()) if core.sockets.get(key).is_some_and(Record::is_unplugged) => revive(core, caller, end, key),
        Ok(()) => show_listening(core, end, key).into(),
        Err(errno) => Err(errno).into(),
    }
}

fn listen_in_stack(core: &mut Core, key: SocketKey, backlog: i32) -> Result<(), Errno> {
    let backlog = usize::try_from(backlog).unwrap_or(usize::MAX);
    let record = core.sockets.get(key).ok_or(Errno::EBADF)?;
    match &record.socket {
        Socket::Stream(Stream { phase: Phase::Fresh, .. })
        | Socket::Listener(_)
        | Socket::Dead(Dead { stays: true, .. }) => {}
        Socket::Stream(_) | Socket::Dead(_) => return Err(Errno::EINVAL),
        Socket::Datagram(_) | Socket::Netlink(_) => return Err(Errno::EOPNOTSUPP),
    }
    let (host, id, now) = (record.host, record.id, core.now);
    Ok(core.world.with(host, |stack| stack.listen(now, id, backlog))?)
}

fn show_listening(core: &mut Core, end: &ProgramEnd, key: SocketKey) -> Answer {
    let Some(Record { socket, .. }) = core.sockets.get_mut(key) else { return Err(Errno::EBADF) };
    if matches!(socket, Socket::Stream(_)) {
        // A listening TCP socket is never writable.
        stuff(end.fd().ok_or(Errno::EBADF)?).map_err(|error| errno_of(&error))?;
        let old = std::mem::replace(socket, Socket::Dead(Dead { error: None, local: None, stays: false }));
        if let Socket::Stream(Stream { plug, .. }) = old {
            *socket = Socket::Listener(Listener { plug, tokens: 0, returned: VecDeque::new(), shut: false });
        }
    }
    Ok(Outcome::Value(0))
}

/// A connection that was handed over and that the program may not have got.
#[derive(Debug)]
pub(crate) struct Offer {
    /// Whose program it was handed to.
    pub(crate) member: MemberId,
    listener: SocketKey,
    host: HostId,
    domain: Domain,
    connection: SocketId,
    peer: SockAddr,
    plug: OwnedFd,
    pub(crate) names: PlugNames,
}

/// `accept` and `accept4`.
pub(crate) fn accept(core: &mut Core, caller: Caller, end: &ProgramEnd, key: SocketKey, flags: i32) -> Reply {
    match accept_one(core, caller, end, key, flags) {
        Ok(reply) => reply,
        Err(errno) => Err(errno).into(),
    }
}

fn accept_one(
    core: &mut Core,
    caller: Caller,
    end: &ProgramEnd,
    key: SocketKey,
    flags: i32,
) -> Result<Reply, Errno> {
    if flags & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    let record = core.sockets.get_mut(key).ok_or(Errno::EBADF)?;
    let (host, id, domain, now) = (record.host, record.id, record.domain, core.now);
    let listener = match &mut record.socket {
        Socket::Listener(listener) if !listener.shut => listener,
        Socket::Datagram(_) | Socket::Netlink(_) => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EINVAL),
    };
    let next = match listener.returned.pop_front() {
        Some(connection) => Ok(connection),
        None => core.world.with(host, |stack| stack.accept(now, id)),
    };
    match next {
        Ok((connection, peer)) => {
            let reply = offer(core, caller, key, (host, domain), (connection, peer), flags);
            if reply.is_err() {
                // The program keeps what it was not given.
                with_listener(core, key, |listener| listener.returned.push_front((connection, peer)));
                return reply;
            }
            let more = core.world.with(host, |stack| stack.readiness(id)).contains(Readiness::ACCEPT);
            with_listener(core, key, |listener| {
                if more || !listener.returned.is_empty() {
                    listener.consume(end);
                } else {
                    listener.quiet(end);
                }
            });
            reply
        }
        Err(Error::WouldBlock) => {
            with_listener(core, key, |listener| listener.quiet(end));
            if end.is_nonblocking() {
                return Err(Errno::EAGAIN);
            }
            let limit = end.timeout(Timeout::Recv);
            Ok(Outcome::Wait { key, limit, expired: libc::EAGAIN }.into())
        }
        Err(error) => Err(error.into()),
    }
}

fn with_listener(core: &mut Core, key: SocketKey, change: impl FnOnce(&mut Listener)) {
    if let Some(Record { socket: Socket::Listener(listener), .. }) = core.sockets.get_mut(key) {
        change(listener);
    }
}

/// Makes a plug for a connection, for the supervisor to hand over.
fn offer(
    core: &mut Core,
    caller: Caller,
    listener: SocketKey,
    (host, domain): (HostId, Domain),
    (connection, peer): (SocketId, SockAddr),
    flags: i32,
) -> Result<Reply, Errno> {
    let plug = new_plug(flags & libc::SOCK_NONBLOCK != 0);
    let named = plug.and_then(|plug| PlugNames::of(&plug.theirs).map(|names| (plug, names)));
    let (Plug { ours, theirs }, names) = named.map_err(|error| core.plug_errno(caller.member, &error))?;
    let inline = core.world.with(host, |stack| stack.get_option(connection, OptionName::OobInline));
    if inline == Ok(SocketOption::OobInline(true)) {
        // As the listener, from which the connection has it.
        set_socket_oobinline(&theirs, true).map_err(|error| Errno(error.raw_os_error()))?;
    }
    let member = caller.member;
    let offer = Offer { member, listener, host, domain, connection, peer, plug: ours, names };
    let number = core.add_offer(offer);
    let address = AddressBytes::new(peer, domain).as_slice().to_vec();
    Ok(Reply {
        outcome: Outcome::Descriptor {
            class: Class::Stream,
            close_on_exec: flags & libc::SOCK_CLOEXEC != 0,
            address,
        },
        ticket: Some(Ticket::Accepted(number)),
        fd: Some(theirs),
    })
}

/// The program has got its connection, which is pumped from now on; or not, then it waits again.
pub(crate) fn accept_seen(core: &mut Core, offer: Offer, seen: Seen) {
    let Offer { member, listener, host, domain, connection, peer, plug, names } = offer;
    let Some(fd) = seen.value else { return take_back(core, listener, host, connection, peer) };
    let owner = Caller { member, host, tid: seen.tid, fd };
    let stream = Stream::new(plug, Phase::Connected { told: true }, Some(owner));
    // As the kernel: it begins as a copy of its listener.
    let stored = core.sockets.get(listener).map(|record| record.stored.clone()).unwrap_or_default();
    let key = core.sockets.insert(Record {
        member,
        names,
        host,
        id: connection,
        domain,
        stored,
        socket: Socket::Stream(stream),
        waiters: VecDeque::new(),
        kept: None,
    });
    if let Some(Record { socket: Socket::Stream(stream), .. }) = core.sockets.get(key)
        && core.poller.watch(&stream.plug, Token::Plug(key), carrying()).is_err()
    {
        super::bury(core, key, Some(Error::NoBufs));
    }
    super::pump(core, key);
}

/// Whoever was to get the connection is gone: it waits again.
pub(crate) fn withdraw(core: &mut Core, offer: &Offer) {
    let &Offer { listener, host, connection, peer, .. } = offer;
    take_back(core, listener, host, connection, peer);
}

/// Puts a connection back to the head of its listener's queue, or ends it when that is gone.
fn take_back(core: &mut Core, key: SocketKey, host: HostId, connection: SocketId, peer: SockAddr) {
    if let Some(Record { socket: Socket::Listener(listener), .. }) = core.sockets.get_mut(key) {
        listener.returned.push_front((connection, peer));
        listener.signal();
        core.wake(key);
    } else {
        let now = core.now;
        core.world.with(host, |stack| stack.abort(now, connection)).ok();
    }
}

/// Connections arrived, or the listener failed.
pub(crate) fn announce(core: &mut Core, key: SocketKey) {
    let Some(record) = core.sockets.get_mut(key) else { return };
    let (host, id) = (record.host, record.id);
    if core.world.with(host, |stack| stack.readiness(id)).contains(Readiness::ACCEPT) {
        with_listener(core, key, Listener::signal);
        core.wake(key);
    }
}

/// An event of the listener's plug: only the program's close matters.
pub(crate) fn on_plug(core: &mut Core, key: SocketKey, events: EventFlags) {
    if !events.contains(EventFlags::HUP) {
        return;
    }
    end_returned(core, key);
    close(core, key);
}

/// Ends the connections that no accept call could be given, before their listener goes.
pub(crate) fn end_returned(core: &mut Core, key: SocketKey) {
    let Some(record) = core.sockets.get_mut(key) else { return };
    let (host, now) = (record.host, core.now);
    let Socket::Listener(listener) = &mut record.socket else { return };
    let returned = std::mem::take(&mut listener.returned);
    core.world.with(host, |stack| {
        for (connection, _) in returned {
            stack.abort(now, connection).ok();
        }
    });
}

/// The program shut its listener down: nobody is let in any more, and those who wait are told EINVAL.
/// The kernel's shutdown of the plug would look like a close, so there is none.
pub(crate) fn shut(core: &mut Core, key: SocketKey) {
    let Some(record) = core.sockets.get_mut(key) else { return };
    let (host, id, now) = (record.host, record.id, core.now);
    core.world.with(host, |stack| stack.shutdown(now, id, Shutdown::Both)).ok();
    with_listener(core, key, |listener| {
        listener.shut = true;
        listener.signal();
    });
    core.wake(key);
}
