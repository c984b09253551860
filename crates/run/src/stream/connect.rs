//! `connect` on a stream socket, and what becomes of it: established, refused, timed out.

use super::{Phase, Stream, bury, carry, close, errno_of, new_plug, stuff, unstuff};
use crate::call::{Call, Reply};
use crate::core::{Core, Token};
use crate::sockets::{Record, Socket, SocketKey};
use crate::stream::idle;
use crate::sys::{self, Response};
use rustix::event::epoll::EventFlags;
use rustix::net::sockopt::{Timeout, socket_timeout};
use sockeye_packet::Instant;
use sockeye_posix::Errno;
use sockeye_stack::{Error, Owner, Readiness, SockAddr, SocketType};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// `connect` to `peer`, or the dissolution of a connection. Handles a restarted call the same way.
pub(crate) fn connect(
    core: &mut Core,
    call: &Call,
    theirs: &OwnedFd,
    key: SocketKey,
    peer: Option<SockAddr>,
) -> Reply {
    let Some(record) = core.sockets.get_mut(key) else { return Reply::Error(Errno::EBADF) };
    let Some(peer) = peer else { return Reply::from_result(dissolve(core, key)) };
    match &mut record.socket {
        Socket::Listener(_) => Reply::Error(Errno::EISCONN),
        Socket::Dead(dead) => match dead.error.take() {
            // The attempt before failed; like SO_ERROR, this call tells so, once.
            Some(error) => Reply::Error(error.into()),
            None => match revive(core, call, theirs, key) {
                Ok(theirs) => begin(core, call, &theirs, key, peer),
                Err(error) => Reply::Error(errno_of(&error)),
            },
        },
        Socket::Stream(stream) => match stream.phase {
            Phase::Fresh => begin(core, call, theirs, key, peer),
            Phase::Connecting if is_nonblocking(theirs) => Reply::Error(Errno::EALREADY),
            Phase::Connecting => wait(core, theirs, key),
            Phase::Connected { told: true } => Reply::Error(Errno::EISCONN),
            Phase::Connected { told: false } => {
                // Only an answer that was seen counts: an interrupted call comes again.
                let told = core.answer(call, Response::Value(0));
                set_phase(core, key, Phase::Connected { told });
                Reply::Done
            }
        },
        Socket::Datagram(_) => Reply::Error(Errno::EINVAL),
    }
}

/// Starts the handshake.
fn begin(core: &mut Core, call: &Call, theirs: &OwnedFd, key: SocketKey, peer: SockAddr) -> Reply {
    let Some(record) = core.sockets.get(key) else { return Reply::Error(Errno::EBADF) };
    let (host, id, now) = (record.host, record.id, core.now);
    let early = if let Socket::Stream(stream) = &record.socket { stream.unread() } else { 0 };
    match core.world.with(host, |stack| stack.connect(now, id, peer)) {
        Ok(()) | Err(Error::InProgress) => {}
        Err(error) => return Reply::Error(error.into()),
    }
    let junk = match stuff(theirs) {
        Ok(junk) => junk,
        Err(error) => return Reply::Error(errno_of(&error)),
    };
    if let Some(Record { socket: Socket::Stream(stream), .. }) = core.sockets.get_mut(key) {
        // What the program wrote before it connected, which TCP would have refused, lies before the junk.
        stream.junk = junk + early;
        stream.phase = Phase::Connecting;
        stream.owner = Some((call.tid, call.int(0)));
    }
    progress(core, key);
    match core.sockets.get(key).map(|record| &record.socket) {
        Some(Socket::Stream(Stream { phase: Phase::Connecting, .. })) if is_nonblocking(theirs) => {
            Reply::Error(Errno::EINPROGRESS)
        }
        Some(Socket::Stream(Stream { phase: Phase::Connecting, .. })) => wait(core, theirs, key),
        _ => connect(core, call, theirs, key, Some(peer)),
    }
}

/// Parks a blocking call until the handshake is done; `SO_SNDTIMEO` bounds it.
fn wait(core: &Core, theirs: &OwnedFd, key: SocketKey) -> Reply {
    let deadline = deadline(core.now, theirs, Timeout::Send);
    Reply::Park { key, deadline, expired: Errno::EINPROGRESS }
}

/// When a blocking call on a socket gives up.
pub(crate) fn deadline(now: Instant, theirs: &OwnedFd, which: Timeout) -> Option<Instant> {
    socket_timeout(theirs, which).ok().flatten().map(|timeout| now + timeout)
}

/// Whether the descriptor's description is non-blocking.
pub(crate) fn is_nonblocking(fd: impl AsFd) -> bool {
    rustix::fs::fcntl_getfl(fd).is_ok_and(|flags| flags.contains(rustix::fs::OFlags::NONBLOCK))
}

fn set_phase(core: &mut Core, key: SocketKey, phase: Phase) {
    if let Some(Record { socket: Socket::Stream(stream), .. }) = core.sockets.get_mut(key) {
        stream.phase = phase;
    }
}

/// Looks whether a handshake has ended, well or not.
pub(crate) fn progress(core: &mut Core, key: SocketKey) {
    let Some(record) = core.sockets.get(key) else { return };
    let (host, id, now) = (record.host, record.id, core.now);
    let blocking_waits = !record.waiters.is_empty();
    let Socket::Stream(Stream { phase: Phase::Connecting, plug, junk, .. }) = &record.socket else { return };
    let readiness = core.world.with(host, |stack| stack.readiness(id));
    if readiness.contains(Readiness::ERROR) {
        // Connecting again tells what became of the attempt, and leaves a socket that can try anew.
        let result = core.world.with(host, |stack| stack.connect(now, id, SockAddr::UNSPECIFIED_V4));
        let error = result.err().unwrap_or(Error::ConnectionRefused);
        failed(core, key, error, blocking_waits);
    } else if readiness.intersects(Readiness::WRITABLE | Readiness::READ_CLOSED) {
        if unstuff(plug, *junk).is_err() || carry(core, key, plug).is_err() {
            return bury(core, key, Some(Error::NoBufs));
        }
        set_phase(core, key, Phase::Connected { told: false });
        core.wake(key);
        super::pump(core, key);
    }
}

/// A failed attempt. A blocking call tells it and leaves a socket that can be connected again; otherwise
/// the plug is closed with its junk unread, which a poll shows as TCP would: IN, OUT, ERR, HUP and RDHUP.
fn failed(core: &mut Core, key: SocketKey, error: Error, blocking_waits: bool) {
    if !blocking_waits {
        return bury(core, key, Some(error));
    }
    let Some(record) = core.sockets.get_mut(key) else { return };
    let waiters = std::mem::take(&mut record.waiters);
    let Socket::Stream(stream) = &mut record.socket else { return };
    stream.phase = Phase::Fresh;
    let usable = unstuff(&stream.plug, stream.junk).is_ok();
    let mut seen = false;
    for tid in waiters {
        // An interrupted thread may wait for something else by now.
        if let Some(call) = core.unpark_from(tid, key) {
            seen |= core.answer(&call, Response::Error(Errno::from(error).0));
        }
    }
    // Nobody saw it (an interrupted call): the restarted call must.
    if !seen || !usable {
        bury(core, key, (!seen).then_some(error));
    }
}

/// Gives a dead socket a new plug, under the same number in the calling process.
fn revive(core: &mut Core, call: &Call, theirs: &OwnedFd, key: SocketKey) -> io::Result<OwnedFd> {
    let plug = new_plug(is_nonblocking(theirs))?;
    let record = core.sockets.get(key).ok_or(io::ErrorKind::NotFound)?;
    let owner = Owner { pid: call.tid, ..Owner::default() };
    let (host, domain) = (record.host, record.domain);
    let id = core
        .world
        .with(host, |stack| stack.socket(domain, SocketType::Stream, owner))
        .map_err(|error| io::Error::from_raw_os_error(Errno::from(error).0))?;
    let listener = core.listener(call.tree).ok_or(io::ErrorKind::NotFound)?;
    let add = sys::AddFd {
        fd: plug.theirs.as_fd(),
        replace: Some(call.int(0)),
        close_on_exec: closes_on_exec(call.tid, call.int(0)),
        answer: false,
    };
    sys::add_fd(listener.as_fd(), call.id, &add)?;
    let cookie = rustix::net::sockopt::socket_cookie(&plug.theirs)?;
    core.watch(&plug.ours, Token::Plug(key), idle())?;
    core.sockets.rename(key, cookie, id);
    if let Some(record) = core.sockets.get_mut(key) {
        record.socket = Socket::Stream(Stream::new(plug.ours, Phase::Fresh, None));
    }
    Ok(plug.theirs)
}

fn closes_on_exec(tid: u32, fd: i32) -> bool {
    let info = std::fs::read_to_string(format!("/proc/{tid}/fdinfo/{fd}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    flags
        .and_then(|value| i32::from_str_radix(value.trim(), 8).ok())
        .is_some_and(|bits| bits & libc::O_CLOEXEC != 0)
}

/// `connect` to `AF_UNSPEC`.
fn dissolve(core: &mut Core, key: SocketKey) -> Result<(), Errno> {
    let Some(record) = core.sockets.get(key) else { return Err(Errno::EBADF) };
    let (host, id, now) = (record.host, record.id, core.now);
    match &record.socket {
        Socket::Stream(Stream { phase: Phase::Fresh, .. }) => Ok(()),
        Socket::Stream(_) => {
            core.world.with(host, |stack| stack.abort(now, id)).ok();
            bury(core, key, None);
            Ok(())
        }
        Socket::Listener(_) | Socket::Datagram(_) | Socket::Dead(_) => Err(Errno::EINVAL),
    }
}

/// An event of a plug that isn't connected: only the program's close matters.
pub(crate) fn on_plug(core: &mut Core, key: SocketKey, events: EventFlags) {
    if events.contains(EventFlags::HUP) {
        close(core, key);
    }
}
