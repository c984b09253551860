//! `setsockopt`, `getsockopt`, and the few requests of `ioctl` that concern sockets.

use super::{Answer, done};
use crate::core::Core;
use crate::datagram;
use crate::end::ProgramEnd;
use crate::proto::Outcome;
use crate::sockets::{Record, Socket, SocketKey};
use sockeye_posix::interface::{STAMP_REQUESTS, UNSENT_REQUEST};
use sockeye_posix::options::{self, Fact, Get, OptionValue, Target};
use sockeye_posix::{Errno, SocketKind};
use sockeye_stack::{Error, Owner, SocketType};

fn kind(record: &Record) -> SocketKind {
    SocketKind { domain: record.domain, kind: record.kind() }
}

/// `setsockopt` of an option, by level and name.
pub(crate) fn set(core: &mut Core, key: SocketKey, (level, name): (i32, i32), value: &[u8]) -> Answer {
    let result = apply(core, key, level, name, value);
    // The plug needs it as well, then: the kernel sets it there.
    let native = result.is_ok() && options::is_native_too(level, name);
    if native { Ok(Outcome::Continue) } else { done(result) }
}

/// Whether `setsockopt` of this option and value has errors queued.
pub(crate) fn asks_for_errors(option: (i32, i32), value: &[u8]) -> bool {
    let queues =
        matches!(option, (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR));
    queues && value.len() >= 4 && value[..4] != [0; 4]
}

fn apply(core: &mut Core, key: SocketKey, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
    datagram::take_written(core, key);
    let now = core.now;
    let record = core.sockets.get_mut(key).ok_or(Errno::EBADF)?;
    let (host, id, kind) = (record.host, record.id, kind(record));
    if record.is_lost() {
        // As on a connection that was reset: it succeeds, and changes nothing any more.
        return options::set(kind, &mut record.stored, level, name, value).map(drop);
    }
    let stored = &mut record.stored;
    core.world.with(host, |stack| Target { stack, now, id, kind, stored }.set(level, name, value))
}

/// `getsockopt` of an option, by level and name, into `room` bytes.
pub(crate) fn get(
    core: &mut Core,
    end: &ProgramEnd,
    key: SocketKey,
    option: (i32, i32),
    room: usize,
) -> Answer {
    let value = value(core, end, key, option)?;
    Ok(Outcome::Bytes(value.cut_to(room)?.to_vec()))
}

fn value(
    core: &mut Core,
    end: &ProgramEnd,
    key: SocketKey,
    (level, name): (i32, i32),
) -> Result<OptionValue, Errno> {
    let now = core.now;
    let record = core.sockets.get_mut(key).ok_or(Errno::EBADF)?;
    let (host, id, kind, cookie) = (record.host, record.id, kind(record), record.names.cookie);
    match options::get(kind, &record.stored, level, name)? {
        Get::Fact(Fact::Error) => Ok(OptionValue::int(take_error(core, end, key).map_or(0, |errno| errno.0))),
        Get::Fact(Fact::Cookie) => Ok(OptionValue::cookie(cookie)),
        Get::Stack(option) if record.is_lost() => {
            let option = core.world.with(host, |stack| {
                let fresh = stack.socket(kind.domain, SocketType::Stream, Owner::default())?;
                let option = stack.get_option(fresh, option);
                stack.close(now, fresh).ok();
                option
            })?;
            Ok(options::answer(level, option))
        }
        _ => {
            let dead = record.is_lost();
            let stored = &mut record.stored;
            let value =
                core.world.with(host, |stack| Target { stack, now, id, kind, stored }.get(level, name));
            // The stack's socket is gone already.
            value.map_err(|errno| if dead && errno == Errno::EBADF { Errno::ENOTCONN } else { errno })
        }
    }
}

/// Takes a socket's pending error, on the plug and in our books.
fn take_error(core: &mut Core, end: &ProgramEnd, key: SocketKey) -> Option<Errno> {
    let native = end.fd().and_then(|theirs| rustix::net::sockopt::socket_error(theirs).ok());
    let now_native = native.and_then(Result::err);
    let record = core.sockets.get_mut(key)?;
    let (host, id) = (record.host, record.id);
    let ours: Option<Error> = match &mut record.socket {
        // A read may have met the error already: then the plug has none left.
        Socket::Dead(dead) => {
            let of_stack = dead.stays.then(|| core.world.with(host, |stack| stack.take_error(id))).flatten();
            let error = dead.error.take().or(of_stack);
            error.filter(|_| now_native.is_some() || end.fd().is_none())
        }
        Socket::Stream(_) | Socket::Netlink(_) => None,
        Socket::Listener(_) => core.world.with(host, |stack| stack.take_error(id)),
        Socket::Datagram(datagram) => {
            datagram.take_error(end).or_else(|| core.world.with(host, |stack| stack.take_error(id)))
        }
    };
    ours.map(Errno::from).or_else(|| now_native.map(|errno| Errno(errno.raw_os_error())))
}

/// When the datagram that was read last came in: with microseconds, or nanoseconds. ENOENT when there was none.
fn stamp(core: &mut Core, key: SocketKey, in_nanos: bool) -> Answer {
    let record = core.sockets.get_mut(key).ok_or(Errno::EBADF)?;
    let read_last = match &mut record.socket {
        Socket::Datagram(datagram) => datagram.read_last(),
        _ => None,
    };
    let at = core.clock.since_1970(read_last.ok_or(Errno::ENOENT)?);
    let part = if in_nanos { at.subsec_nanos() } else { at.subsec_micros() };
    Ok(Outcome::Bytes([at.as_secs(), part.into()].iter().flat_map(|word| word.to_ne_bytes()).collect()))
}

/// `ioctl`: how much is queued, and when the last datagram came.
pub(crate) fn request(core: &mut Core, key: SocketKey, request: u32) -> Answer {
    if let Some(which) = STAMP_REQUESTS.iter().position(|&stamp| stamp == request) {
        return stamp(core, key, which == 1);
    }
    let record = core.sockets.get(key).ok_or(Errno::EBADF)?;
    let unsent_only = request == UNSENT_REQUEST;
    if !unsent_only && request != libc::TIOCOUTQ as u32 {
        return Err(Errno::ENOTTY);
    }
    let (host, id, now) = (record.host, record.id, core.now);
    let count = match &record.socket {
        // What the pump has not taken yet (the first unread byte is its own), and what the stack still has.
        Socket::Stream(stream) => {
            let in_stack = core.world.with(host, |stack| {
                let unsent = || stack.tcp_info(now, id).map_or(0, |info| info.notsent_bytes as usize);
                if unsent_only { unsent() } else { stack.send_queued(id) }
            });
            let in_plug = if stream.is_connected() { stream.unread() } else { 0 };
            i32::try_from(in_plug + in_stack).unwrap_or(i32::MAX)
        }
        Socket::Listener(_) => return Err(Errno::EINVAL),
        Socket::Datagram(_) | Socket::Netlink(_) if unsent_only => return Err(Errno::ENOTTY),
        Socket::Datagram(_) | Socket::Netlink(_) | Socket::Dead(_) => 0,
    };
    Ok(Outcome::Bytes(count.to_ne_bytes().to_vec()))
}
