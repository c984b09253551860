//! Listening sockets and `accept`.
//!
//! The program's end of a listener's plug is readable exactly while a connection waits: the supervisor
//! writes one byte when connections arrive and takes them back, through the program's own descriptor, when
//! accept has emptied the queue. So poll, select and epoll work in any number of processes.

use super::connect::{deadline, is_nonblocking};
use super::{Phase, Plug, Stream, carrying, close, errno_of, new_plug, stuff};
use crate::call::{Call, Reply};
use crate::core::{Core, Token};
use crate::filter::Syscall;
use crate::sockets::{Dead, Record, Socket, SocketKey};
use rustix::event::epoll::EventFlags;
use rustix::net::sockopt::Timeout;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use sockeye::HostId;
use sockeye_posix::Errno;
use sockeye_posix::address::AddressBytes;
use sockeye_stack::{Domain, Error, Readiness, Shutdown, SockAddr, SocketId};
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
    fn quiet(&mut self, theirs: &OwnedFd) {
        if self.tokens > 0 {
            let mut bytes = [0_u8; TOKENS_MAX];
            recv(theirs, &mut bytes[..], RecvFlags::DONTWAIT).ok();
            self.tokens = 0;
        }
    }

    /// Takes one byte back, as long as another one says that more waits.
    fn consume(&mut self, theirs: &OwnedFd) {
        if self.tokens > 1 {
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
pub(crate) fn listen(core: &mut Core, call: &Call, theirs: &OwnedFd, key: SocketKey) -> Reply {
    let backlog = usize::try_from(call.int(1)).unwrap_or(usize::MAX);
    let Some(record) = core.sockets.get_mut(key) else { return Reply::Error(Errno::EBADF) };
    match &record.socket {
        Socket::Stream(Stream { phase: Phase::Fresh, .. }) | Socket::Listener(_) => {}
        Socket::Stream(_) | Socket::Dead(_) => return Reply::Error(Errno::EINVAL),
        Socket::Datagram(_) => return Reply::Error(Errno::EOPNOTSUPP),
    }
    let (host, id, now) = (record.host, record.id, core.now);
    if let Err(error) = core.world.with(host, |stack| stack.listen(now, id, backlog)) {
        return Reply::Error(error.into());
    }
    let Some(Record { socket, .. }) = core.sockets.get_mut(key) else { return Reply::Error(Errno::EBADF) };
    if matches!(socket, Socket::Stream(_)) {
        // A listening TCP socket is never writable.
        if let Err(error) = stuff(theirs) {
            return Reply::Error(errno_of(&error));
        }
        let old = std::mem::replace(socket, Socket::Dead(Dead { error: None, local: None }));
        if let Socket::Stream(Stream { plug, .. }) = old {
            *socket = Socket::Listener(Listener { plug, tokens: 0, returned: VecDeque::new(), shut: false });
        }
    }
    Reply::Value(0)
}

/// `accept` and `accept4`.
pub(crate) fn accept(core: &mut Core, call: &Call, theirs: &OwnedFd, key: SocketKey) -> Reply {
    accept_one(core, call, theirs, key).into()
}

fn accept_one(core: &mut Core, call: &Call, theirs: &OwnedFd, key: SocketKey) -> Result<Reply, Errno> {
    let flags = if call.syscall == Syscall::Accept4 { call.int(3) } else { 0 };
    if flags & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    let record = core.sockets.get_mut(key).ok_or(Errno::EBADF)?;
    let (host, id, domain, now) = (record.host, record.id, record.domain, core.now);
    let listener = match &mut record.socket {
        Socket::Listener(listener) if !listener.shut => listener,
        Socket::Datagram(_) => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EINVAL),
    };
    let next = match listener.returned.pop_front() {
        Some(connection) => Ok(connection),
        None => core.world.with(host, |stack| stack.accept(now, id)),
    };
    match next {
        Ok((connection, peer)) => {
            if let Err(errno) = hand_over(core, call, host, domain, connection, peer, flags) {
                // The program keeps what it was not given.
                with_listener(core, key, |listener| listener.returned.push_front((connection, peer)));
                return Err(errno);
            }
            let more = core.world.with(host, |stack| stack.readiness(id)).contains(Readiness::ACCEPT);
            with_listener(core, key, |listener| {
                if more || !listener.returned.is_empty() {
                    listener.consume(theirs);
                } else {
                    listener.quiet(theirs);
                }
            });
            Ok(Reply::Done)
        }
        Err(Error::WouldBlock) => {
            with_listener(core, key, |listener| listener.quiet(theirs));
            if is_nonblocking(theirs) {
                return Err(Errno::EAGAIN);
            }
            let deadline = deadline(now, theirs, Timeout::Recv);
            Ok(Reply::Park { key, deadline, expired: Errno::EAGAIN })
        }
        Err(error) => Err(error.into()),
    }
}

fn with_listener(core: &mut Core, key: SocketKey, change: impl FnOnce(&mut Listener)) {
    if let Some(Record { socket: Socket::Listener(listener), .. }) = core.sockets.get_mut(key) {
        change(listener);
    }
}

/// Gives the calling process a connected plug, and begins to pump it.
fn hand_over(
    core: &mut Core,
    call: &Call,
    host: HostId,
    domain: Domain,
    connection: SocketId,
    peer: SockAddr,
    flags: i32,
) -> Result<(), Errno> {
    let failed = |error: std::io::Error| errno_of(&error);
    let Plug { ours, theirs } = new_plug(flags & libc::SOCK_NONBLOCK != 0).map_err(failed)?;
    let cookie = rustix::net::sockopt::socket_cookie(&theirs).map_err(|e| Errno(e.raw_os_error()))?;
    if call.word(1) != 0 {
        core.write_address(call, call.word(1), call.word(2), AddressBytes::new(peer, domain).as_slice())?;
    }
    let fd = core.answer_descriptor(call, &theirs, flags & libc::SOCK_CLOEXEC != 0).map_err(failed)?;
    drop(theirs);
    let stream = Stream::new(ours, Phase::Connected { told: true }, Some((call.tid, fd)));
    let key = core.sockets.insert(Record {
        cookie,
        host,
        id: connection,
        domain,
        stored: sockeye_posix::Stored::default(),
        socket: Socket::Stream(stream),
        waiters: VecDeque::new(),
    });
    if let Some(Record { socket: Socket::Stream(stream), .. }) = core.sockets.get(key)
        && core.watch(&stream.plug, Token::Plug(key), carrying()).is_err()
    {
        super::bury(core, key, Some(Error::NoBufs));
    }
    super::pump(core, key);
    Ok(())
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
    let Some(record) = core.sockets.get_mut(key) else { return };
    let (host, now) = (record.host, core.now);
    let Socket::Listener(listener) = &mut record.socket else { return };
    let returned = std::mem::take(&mut listener.returned);
    core.world.with(host, |stack| {
        for (connection, _) in returned {
            stack.abort(now, connection).ok();
        }
    });
    close(core, key);
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
