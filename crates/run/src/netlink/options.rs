//! Options of netlink sockets: those of every socket, and those of `SOL_NETLINK`.

use super::{Netlink, of};
use crate::calls::Answer;
use crate::core::Core;
use crate::end::ProgramEnd;
use crate::proto::Outcome;
use crate::sockets::SocketKey;
use sockeye_posix::options::{self, Fact, Get, OptionValue, Set};
use sockeye_posix::{Errno, SocketKind};
use sockeye_stack::{Domain, OptionName, SocketOption, SocketType};

/// Options that are on or off, by their numbers.
pub(super) const PKTINFO: i32 = libc::NETLINK_PKTINFO;
pub(super) const NO_ENOBUFS: i32 = libc::NETLINK_NO_ENOBUFS;
pub(super) const CAP_ACK: i32 = libc::NETLINK_CAP_ACK;
pub(super) const EXT_ACK: i32 = libc::NETLINK_EXT_ACK;
pub(super) const STRICT_CHECK: i32 = 12;
const FLAGS: [i32; 6] = [PKTINFO, libc::NETLINK_BROADCAST_ERROR, NO_ENOBUFS, CAP_ACK, EXT_ACK, STRICT_CHECK];

/// The groups of `NETLINK_ROUTE` (`RTNLGRP_MAX`), numbered from 1, and those that every protocol has.
const ROUTE_GROUPS: u32 = 38;
const GROUPS: u32 = 32;
/// Size of both buffers until a program sets them (`net.core.rmem_default`).
const BUFFER: i32 = 212_992;
/// For options of every socket: those of the internet's datagram sockets are all that Linux knows here.
const KIND: SocketKind = SocketKind { domain: Domain::Inet, kind: SocketType::Datagram };

impl Netlink {
    /// Whether an option of [`FLAGS`] is on.
    pub(super) fn has(&self, name: i32) -> bool {
        self.flags & 1 << name != 0
    }
}

/// `setsockopt`.
pub(super) fn set(core: &mut Core, key: SocketKey, (level, name): (i32, i32), value: &[u8]) -> Answer {
    match level {
        libc::SOL_SOCKET => {
            let record = core.sockets.get_mut(key).ok_or(Errno::EBADF)?;
            if let Set::Stack(option) = options::set(KIND, &mut record.stored, level, name, value)? {
                let netlink = of(core, key).ok_or(Errno::EBADF)?;
                netlink.generic.retain(|&(other, _)| other != name);
                netlink.generic.push((name, option));
            }
            // The plug needs it as well, then: the kernel sets it there.
            Ok(if options::is_native_too(level, name) { Outcome::Continue } else { Outcome::Value(0) })
        }
        libc::SOL_NETLINK => {
            let value = value.first_chunk().map_or(0, |value| u32::from_ne_bytes(*value));
            of(core, key).ok_or(Errno::EBADF)?.set(name, value)?;
            Ok(Outcome::Value(0))
        }
        _ => Err(Errno::ENOPROTOOPT),
    }
}

impl Netlink {
    fn set(&mut self, name: i32, value: u32) -> Result<(), Errno> {
        match name {
            libc::NETLINK_ADD_MEMBERSHIP | libc::NETLINK_DROP_MEMBERSHIP => {
                let groups = if self.protocol == libc::NETLINK_ROUTE { ROUTE_GROUPS } else { GROUPS };
                if !(1..=groups).contains(&value) {
                    return Err(Errno::EINVAL);
                }
                let group = 1 << (value - 1);
                let joins = name == libc::NETLINK_ADD_MEMBERSHIP;
                self.groups = if joins { self.groups | group } else { self.groups & !group };
            }
            libc::NETLINK_LISTEN_ALL_NSID => return Err(Errno::EPERM),
            name if FLAGS.contains(&name) => {
                let flag = 1 << name;
                self.flags = if value != 0 { self.flags | flag } else { self.flags & !flag };
            }
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }
}

/// `getsockopt` into `room` bytes.
pub(super) fn get(
    core: &mut Core,
    end: &ProgramEnd,
    key: SocketKey,
    (level, name): (i32, i32),
    room: usize,
) -> Answer {
    let value = match (level, name) {
        (libc::SOL_SOCKET, _) => return generic(core, end, key, name, room),
        (libc::SOL_NETLINK, libc::NETLINK_LIST_MEMBERSHIPS) => {
            let groups = of(core, key).ok_or(Errno::EBADF)?.groups.to_ne_bytes();
            return Ok(Outcome::Bytes(groups[..groups.len().min(room) & !3].to_vec()));
        }
        (libc::SOL_NETLINK, name) if FLAGS.contains(&name) => of(core, key).ok_or(Errno::EBADF)?.has(name),
        _ => return Err(Errno::ENOPROTOOPT),
    };
    if room < 4 {
        return Err(Errno::EINVAL);
    }
    Ok(Outcome::Bytes(i32::from(value).to_ne_bytes().to_vec()))
}

/// An option that every socket has.
fn generic(core: &mut Core, end: &ProgramEnd, key: SocketKey, name: i32, room: usize) -> Answer {
    let record = core.sockets.get(key).ok_or(Errno::EBADF)?;
    let cookie = record.names.cookie;
    let stored = options::get(KIND, &record.stored, libc::SOL_SOCKET, name)?;
    let netlink = of(core, key).ok_or(Errno::EBADF)?;
    let value = match (name, stored) {
        (libc::SO_DOMAIN, _) => OptionValue::int(libc::AF_NETLINK),
        (libc::SO_TYPE, _) => OptionValue::int(netlink.kind),
        (libc::SO_PROTOCOL, _) => OptionValue::int(netlink.protocol),
        (_, Get::Ready(value)) => value,
        (_, Get::Stack(option)) => netlink.generic(name, option),
        (_, Get::Fact(Fact::Error)) => OptionValue::int(take_error(netlink, end)),
        (_, Get::Fact(Fact::Cookie)) => OptionValue::cookie(cookie),
        (_, Get::Fact(Fact::PeerCredentials)) => OptionValue::no_credentials(),
        (_, Get::Device) => OptionValue::device(""),
        (_, Get::Fact(_)) => return Err(Errno::ENOPROTOOPT),
    };
    Ok(Outcome::Bytes(value.cut_to(room)?.to_vec()))
}

impl Netlink {
    /// An option that other sockets have in the stack: as it was set, or as it is on a new socket.
    fn generic(&self, number: i32, name: OptionName) -> OptionValue {
        let set = self.generic.iter().find(|&&(other, _)| other == number);
        match (set, name) {
            (Some(&(_, option)), _) => options::answer(libc::SOL_SOCKET, option),
            (None, OptionName::RecvBuffer | OptionName::SendBuffer) => OptionValue::int(BUFFER),
            (None, OptionName::RecvLowWater) => OptionValue::int(1),
            (None, OptionName::Linger) => options::answer(libc::SOL_SOCKET, SocketOption::Linger(None)),
            (None, _) => OptionValue::int(0),
        }
    }
}

/// `SO_ERROR`: that answers were lost, or what the plug has to tell.
fn take_error(netlink: &mut Netlink, end: &ProgramEnd) -> i32 {
    let silent = netlink.has(NO_ENOBUFS);
    if std::mem::take(&mut netlink.overrun) && !silent {
        return libc::ENOBUFS;
    }
    let native = end.fd().and_then(|theirs| rustix::net::sockopt::socket_error(theirs).ok());
    native.and_then(Result::err).map_or(0, rustix::io::Errno::raw_os_error)
}
