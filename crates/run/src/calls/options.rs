//! `setsockopt`, `getsockopt`, and the few requests of `ioctl` that concern sockets.

use crate::call::{Call, Reply};
use crate::core::Core;
use crate::sockets::{Record, Socket, SocketKey};
use sockeye_packet::NicId;
use sockeye_posix::options::{self, Get, OptionValue, Set};
use sockeye_posix::{Errno, SocketKind};
use sockeye_stack::{Error, Owner, SocketOption, SocketType};
use std::os::fd::OwnedFd;

/// Longest value read from a program; longer ones are cut, as no option is that long.
const VALUE_MAX: usize = 4096;

fn kind(record: &Record) -> SocketKind {
    SocketKind { domain: record.domain, kind: record.kind() }
}

/// `setsockopt`.
pub(crate) fn set(core: &mut Core, call: &Call, key: SocketKey) -> Reply {
    let (level, name) = (call.int(1), call.int(2));
    let value = match usize::try_from(call.int(4)) {
        Ok(len) => call.read_vec(call.word(3), len.min(VALUE_MAX)),
        Err(_) => Err(Errno::EINVAL),
    };
    let result = value.and_then(|value| apply(core, key, level, name, &value));
    match result {
        // The plug needs it as well: the kernel sets it there.
        Ok(()) if options::is_native_too(level, name) => Reply::Continue,
        result => Reply::from_result(result),
    }
}

fn apply(core: &mut Core, key: SocketKey, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
    let now = core.now;
    let record = core.sockets.get_mut(key).ok_or(Errno::EBADF)?;
    let (host, id, kind) = (record.host, record.id, kind(record));
    let set = options::set(kind, &mut record.stored, level, name, value)?;
    if let Socket::Dead(_) = record.socket {
        // As on a connection that was reset: it succeeds, and changes nothing any more.
        return Ok(());
    }
    core.world.with(host, |stack| {
        let option = match set {
            Set::Done => return Ok(()),
            Set::Stack(option) => option,
            Set::Device([]) => SocketOption::BindToNic(None),
            Set::Device(device) => {
                let nics =
                    (0..=u16::MAX).map(NicId).map_while(|nic| stack.nic(nic).map(|config| (nic, config)));
                let found = nics.into_iter().find(|(_, config)| config.name.as_bytes() == device);
                SocketOption::BindToNic(Some(found.map(|(nic, _)| nic).ok_or(Errno::ENODEV)?))
            }
        };
        stack.set_option(now, id, option).map_err(Errno::from)
    })
}

/// `getsockopt`.
pub(crate) fn get(core: &mut Core, call: &Call, theirs: &OwnedFd, key: SocketKey) -> Reply {
    Reply::from_result(value(core, call, theirs, key).and_then(|value| {
        let room = usize::try_from(call.read_int(call.word(4))?).map_err(|_| Errno::EINVAL)?;
        let bytes = value.cut_to(room);
        core.write(call, call.word(3), bytes)?;
        core.write(call, call.word(4), &(bytes.len() as i32).to_ne_bytes())
    }))
}

fn value(core: &mut Core, call: &Call, theirs: &OwnedFd, key: SocketKey) -> Result<OptionValue, Errno> {
    let (level, name) = (call.int(1), call.int(2));
    let record = core.sockets.get(key).ok_or(Errno::EBADF)?;
    let (host, id, cookie) = (record.host, record.id, record.cookie);
    match options::get(kind(record), &record.stored, level, name)? {
        Get::Ready(value) => Ok(value),
        Get::Error => Ok(OptionValue::int(take_error(core, theirs, key).map_or(0, |errno| errno.0))),
        Get::Cookie => Ok(OptionValue::cookie(cookie)),
        Get::Stack(option) if matches!(record.socket, Socket::Dead(_)) => {
            let (domain, now) = (record.domain, core.now);
            let option = core.world.with(host, |stack| {
                let fresh = stack.socket(domain, SocketType::Stream, Owner::default())?;
                let option = stack.get_option(fresh, option);
                stack.close(now, fresh).ok();
                option
            })?;
            Ok(options::answer(level, option))
        }
        Get::Stack(option) => {
            let option = core.world.with(host, |stack| stack.get_option(id, option))?;
            Ok(options::answer(level, option))
        }
        Get::TcpInfo => {
            let listening = matches!(record.socket, Socket::Listener(_));
            let info = core.world.with(host, |stack| stack.tcp_info(id));
            Ok(info
                .map_or_else(|_| OptionValue::tcp_info_idle(listening), |info| OptionValue::tcp_info(&info)))
        }
        Get::PathMtu => {
            let connected = core.world.with(host, |stack| stack.peer_addr(id)).is_ok();
            let mtu = core.world.with(host, |stack| {
                stack.nic(NicId(1)).map(|nic| i32::try_from(nic.mtu).unwrap_or(i32::MAX))
            });
            if connected { Ok(OptionValue::int(mtu.unwrap_or(65536))) } else { Err(Errno::ENOTCONN) }
        }
        Get::Device => {
            let bound =
                core.world.with(host, |stack| stack.get_option(id, sockeye_stack::OptionName::BindToNic))?;
            let SocketOption::BindToNic(Some(nic)) = bound else { return Ok(OptionValue::device("")) };
            let name = core.world.with(host, |stack| stack.nic(nic).map(|config| config.name.clone()));
            Ok(OptionValue::device(&name.unwrap_or_default()))
        }
    }
}

/// Takes a socket's pending error, on the plug and in our books.
pub(crate) fn take_error(core: &mut Core, theirs: &OwnedFd, key: SocketKey) -> Option<Errno> {
    let now_native = rustix::net::sockopt::socket_error(theirs).ok().and_then(Result::err);
    let record = core.sockets.get_mut(key)?;
    let (host, id) = (record.host, record.id);
    let ours: Option<Error> = match &mut record.socket {
        // A read may have met the error already: then the plug has none left.
        Socket::Dead(dead) => dead.error.take().filter(|_| now_native.is_some()),
        Socket::Stream(_) => None,
        Socket::Listener(_) => core.world.with(host, |stack| stack.take_error(id)),
        Socket::Datagram(datagram) => {
            datagram.take_error(theirs).or_else(|| core.world.with(host, |stack| stack.take_error(id)))
        }
    };
    ours.map(Errno::from).or_else(|| now_native.map(|errno| Errno(errno.raw_os_error())))
}

/// `ioctl` on a socket of ours.
pub(crate) fn request(core: &mut Core, call: &Call, key: SocketKey) -> Reply {
    let Some(record) = core.sockets.get(key) else { return Reply::Continue };
    if call.word(1) as u32 != libc::TIOCOUTQ as u32 {
        // The machine's interfaces are not the host's.
        return Reply::Error(Errno::ENODEV);
    }
    match &record.socket {
        // What the pump has not taken yet; the first unread byte is its own.
        Socket::Stream(stream) => {
            let count = i32::try_from(stream.unread()).unwrap_or(i32::MAX);
            Reply::from_result(core.write(call, call.word(2), &count.to_ne_bytes()))
        }
        Socket::Listener(_) => Reply::Error(Errno::EINVAL),
        Socket::Datagram(_) | Socket::Dead(_) => {
            Reply::from_result(core.write(call, call.word(2), &0_i32.to_ne_bytes()))
        }
    }
}
