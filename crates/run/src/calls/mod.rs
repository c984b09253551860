//! The network's side of the intercepted calls: whose socket a call is about, and which handler takes it.

mod address;
mod options;
pub(crate) mod socket;

pub(crate) use address::reader as address_reader;
pub(crate) use socket::pass;

use crate::core::Core;
use crate::end::ProgramEnd;
use crate::proto::{MemberId, Op, Outcome, Reply, Request};
use crate::sockets::{Socket, SocketKey};
use crate::{datagram, netlink, stream};
use rustix::net::Shutdown as SysShutdown;
use sockeye::HostId;
use sockeye_posix::berkeley::shutdown_of;
use sockeye_posix::{Errno, interface};
use sockeye_stack::{Shutdown, SocketType};
use std::os::fd::OwnedFd;

/// Where a call comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// The supervisor that watches the program.
    pub(crate) member: MemberId,
    /// The host that the program runs on.
    pub(crate) host: HostId,
    /// The calling thread.
    pub(crate) tid: u32,
    /// The number of the descriptor that the call is about.
    pub(crate) fd: i32,
}

/// What most handlers come to; an error is the program's.
pub(crate) type Answer = Result<Outcome, Errno>;

impl From<Errno> for Outcome {
    fn from(errno: Errno) -> Outcome {
        Outcome::Error(errno.0)
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Reply {
        answer.unwrap_or_else(Outcome::from).into()
    }
}

/// The outcome zero, for a call that has been carried out.
pub(crate) fn done<E>(result: Result<(), E>) -> Answer
where
    Errno: From<E>,
{
    Ok(result.map(|()| Outcome::Value(0))?)
}

/// Handles a call; it may have been handled before and have waited since.
pub(crate) fn handle(
    core: &mut Core,
    member: MemberId,
    host: HostId,
    request: &Request,
    theirs: Option<OwnedFd>,
) -> Reply {
    let caller = Caller { member, host, tid: request.tid, fd: request.fd };
    if let Op::Socket { domain, kind, protocol } = request.op {
        return socket::socket(core, caller, [domain, kind, protocol]);
    }
    if let Op::Table { table } = request.op {
        return netlink::open_table(core, host, table);
    }
    if let Op::Ioctl { request, argument } = &request.op
        && interface::is_about_interfaces(*request)
    {
        return netlink::interface_request(core, host, *request, argument).into();
    }
    if matches!(request.op, Op::Bind { .. } | Op::Listen { .. } | Op::Connect { .. }) {
        core.hear_plugs();
    }
    let key = request.identity.and_then(|identity| core.sockets.by_identity(identity));
    match (key, request.waited_for) {
        // Another thread closed what this one waits for; the number may be another socket's now.
        (key, Some(waited_for)) if key != Some(waited_for) => {
            core.missed(waited_for);
            Err(Errno::EBADF).into()
        }
        (Some(key), _) => {
            let kept = core.sockets.get(key).and_then(|record| record.kept.as_ref());
            let end = ProgramEnd::new(theirs, kept);
            on_socket(core, caller, &end, key, &request.op)
        }
        (None, _) => Outcome::Continue.into(),
    }
}

fn on_socket(core: &mut Core, caller: Caller, end: &ProgramEnd, key: SocketKey, op: &Op) -> Reply {
    let Some(record) = core.sockets.get(key) else { return Outcome::Continue.into() };
    if let Socket::Netlink(_) = record.socket {
        return netlink::handle(core, caller, end, key, op).into();
    }
    let is_stream = record.kind() == SocketType::Stream;
    if let Socket::Datagram(_) = record.socket {
        datagram::note_user(core, key, caller);
        if let Op::SetOption { level, name, value } = op
            && options::asks_for_errors((*level, *name), value)
            && let Some(reply) = datagram::replacement(core, caller, end, key)
        {
            return reply;
        }
    }
    match op {
        Op::Bind { address } => address::bind(core, key, address).into(),
        Op::Listen { backlog } => stream::listen(core, caller, end, key, *backlog),
        Op::Accept { flags } => stream::accept(core, caller, end, key, *flags),
        Op::Connect { address } => address::connect(core, caller, end, key, address),
        Op::LocalName => address::local(core, key).into(),
        Op::PeerName => address::peer(core, key).into(),
        Op::Shutdown { how } if is_stream => shutdown(core, end, key, *how).into(),
        Op::Shutdown { how } => datagram::shutdown(core, end, key, *how).into(),
        Op::SetOption { level, name, value } => options::set(core, key, (*level, *name), value).into(),
        Op::GetOption { level, name, room } => {
            options::get(core, end, key, (*level, *name), *room as usize).into()
        }
        Op::Send { flags, name: _, control: _, data } if is_stream => {
            socket::send_piece(core, end, key, *flags, data).into()
        }
        Op::Send { flags, name, control, data } => {
            let outgoing = datagram::Outgoing { name, control, data };
            datagram::send_one(core, end, key, *flags, &outgoing).into()
        }
        Op::Receive { flags, room, control_room } if is_stream => {
            let room = [*room as usize, *control_room as usize];
            stream::inquire::receive(core, end, key, *flags, room).into()
        }
        Op::Receive { flags, room, control_room } => {
            let room = [*room as usize, *control_room as usize];
            datagram::receive(core, end, key, *flags, room).into()
        }
        Op::Pass { send } => socket::pass(core, key, *send).into(),
        Op::Ioctl { request, argument: _ } => options::request(core, key, *request).into(),
        Op::Socket { .. } | Op::Table { .. } => Outcome::Continue.into(),
    }
}

/// `shutdown` of a stream socket: of the plug, whose other end then tells the pump.
fn shutdown(core: &mut Core, end: &ProgramEnd, key: SocketKey, how: i32) -> Answer {
    let Some(record) = core.sockets.get_mut(key) else { return Ok(Outcome::Continue) };
    let how = shutdown_of(how)?;
    let (host, id, now) = (record.host, record.id, core.now);
    match &mut record.socket {
        Socket::Listener(_) if how == Shutdown::Write => Err(Errno::ENOTCONN),
        Socket::Listener(_) => {
            stream::shut_listener(core, key);
            Ok(Outcome::Value(0))
        }
        Socket::Stream(stream) if matches!(stream.phase, stream::Phase::Connected { .. }) => {
            let how = match how {
                Shutdown::Read => return Ok(Outcome::Continue),
                Shutdown::Write => SysShutdown::Write,
                Shutdown::Both => SysShutdown::Both,
            };
            done(stream.shut(end, how))
        }
        Socket::Dead(dead) if dead.stays => done(core.world.with(host, |stack| stack.shutdown(now, id, how))),
        Socket::Stream(_) | Socket::Dead(_) | Socket::Datagram(_) | Socket::Netlink(_) => {
            Err(Errno::ENOTCONN)
        }
    }
}
