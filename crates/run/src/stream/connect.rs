//! `connect` on a stream socket, and what becomes of it: established, refused, timed out.

use super::{Phase, Stream, bury, carry, close, errno_of, mark, new_plug, stuff, unplug, unstuff};
use crate::calls::{Caller, done};
use crate::core::Core;
use crate::end::ProgramEnd;
use crate::poller::Token;
use crate::proto::{Outcome, Reply, Ticket};
use crate::sockets::{Dead, PlugNames, Record, Socket, SocketKey};
use crate::stream::idle;
use rustix::event::epoll::EventFlags;
use rustix::net::sockopt::{Timeout, socket_error};
use sockeye_posix::Errno;
use sockeye_stack::{Error, Readiness, SockAddr, SocketType};
use std::os::fd::OwnedFd;

/// What a handshake comes to.
const ANSWERED: Readiness = Readiness::WRITABLE.union(Readiness::READ_CLOSED).union(Readiness::ERROR);

/// `connect` to `peer`, or the dissolution of a connection. Handles a restarted call the same way.
pub(crate) fn connect(
    core: &mut Core,
    caller: Caller,
    end: &ProgramEnd,
    key: SocketKey,
    peer: Option<SockAddr>,
) -> Reply {
    let Some(record) = core.sockets.get_mut(key) else { return Err(Errno::EBADF).into() };
    let Some(peer) = peer else { return done(dissolve(core, caller, key)).into() };
    match &mut record.socket {
        Socket::Listener(_) => Err(Errno::EISCONN).into(),
        Socket::Dead(dead) => match dead.error.take() {
            // The attempt before failed; like SO_ERROR, this call tells so, once.
            Some(error) => Err(error.into()).into(),
            // Of a connection that was lost.
            None if !dead.stays => Err(Errno::EISCONN).into(),
            None => match connect_again(core, end, key) {
                Some(result) => done(result).into(),
                None => revive(core, caller, end, key),
            },
        },
        Socket::Stream(stream) => match stream.phase {
            Phase::Fresh => begin(core, caller, end, key, peer),
            Phase::Connecting if end.is_nonblocking() => Err(Errno::EALREADY).into(),
            Phase::Connecting => wait(end, key).into(),
            // Only an answer that was seen counts: an interrupted call comes again.
            Phase::Failed(error) => {
                Reply { ticket: Some(Ticket::Failed(key)), ..Outcome::from(Errno::from(error)).into() }
            }
            Phase::Connected { told: false } => {
                Reply { ticket: Some(Ticket::Connected(key)), ..Outcome::Value(0).into() }
            }
            Phase::Connected { told: true } => Err(Errno::EISCONN).into(),
        },
        Socket::Datagram(_) | Socket::Netlink(_) => Err(Errno::EINVAL).into(),
    }
}

/// What a connect call on a socket without a plug has to say of the attempt before.
fn connect_again(core: &mut Core, end: &ProgramEnd, key: SocketKey) -> Option<Result<(), Error>> {
    let record = core.sockets.get(key)?;
    let (host, id, now) = (record.host, record.id, core.now);
    // The plug's error stands for the stack's: a read may have met it already.
    let was_met = end.fd().is_some_and(|theirs| matches!(socket_error(theirs), Ok(Ok(()))));
    core.world.with(host, |stack| {
        if was_met {
            stack.take_error(id);
        }
        stack.connect_again(now, id)
    })
}

/// Whether connect on a stream socket tells how it is rather than beginning anything.
pub(crate) fn has_begun(core: &Core, key: SocketKey) -> bool {
    match core.sockets.get(key).map(|record| &record.socket) {
        Some(Socket::Listener(_)) => true,
        Some(Socket::Dead(dead)) => dead.error.is_some() || dead.stays,
        Some(Socket::Stream(stream)) => stream.phase != Phase::Fresh,
        _ => false,
    }
}

/// A connect call was told that the connection is open, or was gone by then.
pub(crate) fn connect_seen(core: &mut Core, key: SocketKey, told: bool) {
    if let Some(stream) = stream_of(core, key)
        && stream.phase == (Phase::Connected { told: false })
    {
        stream.phase = Phase::Connected { told };
    }
}

/// A connect call was told that the connection failed: the socket can try again. If it was gone by then
/// (interrupted), the restarted call must learn of it, or whoever polls the socket.
pub(crate) fn failure_seen(core: &mut Core, key: SocketKey, told: bool) {
    let Some(stream) = stream_of(core, key) else { return };
    let Phase::Failed(error) = stream.phase else { return };
    if told && unstuff(&stream.plug, stream.junk).is_ok() {
        stream.phase = Phase::Fresh;
    } else {
        unplug(core, key, (!told).then_some(error));
    }
}

fn stream_of(core: &mut Core, key: SocketKey) -> Option<&mut Stream> {
    match core.sockets.get_mut(key) {
        Some(Record { socket: Socket::Stream(stream), .. }) => Some(stream),
        _ => None,
    }
}

/// Starts the handshake.
fn begin(core: &mut Core, caller: Caller, end: &ProgramEnd, key: SocketKey, peer: SockAddr) -> Reply {
    let blocking = !end.is_nonblocking();
    if let Err(errno) = start(core, caller, end, key, peer) {
        return Err(errno).into();
    }
    progress(core, key, blocking);
    match stream_of(core, key).map(|stream| stream.phase) {
        // As the kernel, also when the answer is there already, as one's own host's is.
        _ if !blocking => Err(Errno::EINPROGRESS).into(),
        Some(Phase::Connecting) => wait(end, key).into(),
        _ => connect(core, caller, end, key, Some(peer)),
    }
}

fn start(
    core: &mut Core,
    caller: Caller,
    end: &ProgramEnd,
    key: SocketKey,
    peer: SockAddr,
) -> Result<(), Errno> {
    let record = core.sockets.get(key).ok_or(Errno::EBADF)?;
    let (host, id, now) = (record.host, record.id, core.now);
    let early = if let Socket::Stream(stream) = &record.socket { stream.unread() } else { 0 };
    match core.world.with(host, |stack| stack.connect(now, id, peer)) {
        Ok(()) | Err(Error::InProgress) => {}
        Err(error) => return Err(error.into()),
    }
    // A host of this network has answered by then, unless its link delays it.
    core.world.turn(now);
    let is_answered = core.world.with(host, |stack| stack.readiness(id)).intersects(ANSWERED);
    let theirs = end.fd().ok_or(Errno::EBADF)?;
    let junk = if is_answered { mark(theirs) } else { stuff(theirs) };
    let junk = junk.map_err(|error| errno_of(&error))?;
    if let Some(stream) = stream_of(core, key) {
        // What the program wrote before it connected, which TCP would have refused, lies before the junk.
        stream.junk = junk + early;
        stream.phase = Phase::Connecting;
        stream.owner = Some(caller);
    }
    Ok(())
}

/// Has a blocking call wait until the handshake is done; `SO_SNDTIMEO` bounds it.
fn wait(end: &ProgramEnd, key: SocketKey) -> Outcome {
    Outcome::Wait { key, limit: end.timeout(Timeout::Send), expired: libc::EINPROGRESS }
}

/// Looks whether a handshake has ended, well or not; `blocking` if a blocking call will hear of it.
pub(crate) fn progress(core: &mut Core, key: SocketKey, blocking: bool) {
    let Some(record) = core.sockets.get_mut(key) else { return };
    let (host, id, now) = (record.host, record.id, core.now);
    let blocking = blocking || !record.waiters.is_empty();
    let Socket::Stream(Stream { phase: phase @ Phase::Connecting, plug, junk, .. }) = &mut record.socket
    else {
        return;
    };
    let readiness = core.world.with(host, |stack| stack.readiness(id));
    if readiness.contains(Readiness::ERROR) {
        if !blocking {
            // The plug is closed with its junk unread, which a poll shows as TCP would: IN, OUT, ERR, HUP
            // and RDHUP. The error is the stack's to tell.
            return unplug(core, key, None);
        }
        // This tells what became of the attempt, and leaves a socket that can try anew.
        let result = core.world.with(host, |stack| stack.connect_again(now, id));
        let error = result.and_then(Result::err).unwrap_or(Error::ConnectionRefused);
        *phase = Phase::Failed(error);
        core.wake(key);
    } else if readiness.intersects(ANSWERED) {
        if unstuff(plug, *junk).is_err() || carry(&core.poller, key, plug).is_err() {
            return bury(core, key, Some(Error::NoBufs));
        }
        *phase = Phase::Connected { told: false };
        record.kept = None;
        core.wake(key);
        super::pump(core, key);
    }
}

/// Gives a socket that stayed a new plug; the supervisor puts the program's end, which goes with the reply, in the
/// place of the old one, and the call comes again.
pub(super) fn revive(core: &mut Core, caller: Caller, end: &ProgramEnd, key: SocketKey) -> Reply {
    match replug(core, caller, end, key) {
        Ok(theirs) => Reply { outcome: Outcome::Replace, ticket: None, fd: Some(theirs) },
        Err(errno) => Err(errno).into(),
    }
}

fn replug(core: &mut Core, caller: Caller, end: &ProgramEnd, key: SocketKey) -> Result<OwnedFd, Errno> {
    let record = core.sockets.get(key).ok_or(Errno::EBADF)?;
    let (id, member) = (record.id, record.member);
    let made = new_plug(end.is_nonblocking()).and_then(|plug| {
        end.copy_settings(&plug.theirs)?;
        core.poller.watch(&plug.ours, Token::Plug(key), idle())?;
        Ok((PlugNames::of(&plug.theirs)?, core.keeping(member, &plug.theirs)?, plug))
    });
    let (names, kept, plug) = made.map_err(|error| core.plug_errno(caller.member, &error))?;
    core.sockets.rename(key, names, id);
    if let Some(record) = core.sockets.get_mut(key) {
        record.socket = Socket::Stream(Stream::new(plug.ours, Phase::Fresh, None));
        record.kept = kept;
    }
    Ok(plug.theirs)
}

/// `connect` to `AF_UNSPEC`.
fn dissolve(core: &mut Core, caller: Caller, key: SocketKey) -> Result<(), Errno> {
    let Some(record) = core.sockets.get(key) else { return Err(Errno::EBADF) };
    let (host, id, now) = (record.host, record.id, core.now);
    match &record.socket {
        Socket::Stream(Stream { phase: Phase::Fresh, .. }) => Ok(()),
        Socket::Stream(_) => {
            core.world.with(host, |stack| stack.disconnect(now, id)).ok();
            unplug(core, key, None);
            Ok(())
        }
        Socket::Dead(dead) if dead.stays => Ok(core.world.with(host, |stack| stack.disconnect(now, id))?),
        Socket::Dead(_) => begin_anew(core, caller, key),
        Socket::Listener(_) | Socket::Datagram(_) | Socket::Netlink(_) => Err(Errno::EINVAL),
    }
}

/// A socket that was lost with its connection gets another of the stack's.
fn begin_anew(core: &mut Core, caller: Caller, key: SocketKey) -> Result<(), Errno> {
    let Some(record) = core.sockets.get(key) else { return Err(Errno::EBADF) };
    let (host, domain, names) = (record.host, record.domain, record.names);
    let id = core.stack_socket(Caller { host, ..caller }, domain, SocketType::Stream)?;
    core.sockets.rename(key, names, id);
    if let Some(Record { socket: Socket::Dead(dead), .. }) = core.sockets.get_mut(key) {
        *dead = Dead { error: None, local: None, stays: true };
    }
    Ok(())
}

/// An event of a plug that isn't connected: only the program's close matters.
pub(crate) fn on_plug(core: &mut Core, key: SocketKey, events: EventFlags) {
    if events.contains(EventFlags::HUP) {
        close(core, key);
    }
}
