//! `socket`, and the calls on stream sockets that name an address for nothing.

use crate::call::{Call, Reply};
use crate::core::{Core, Token};
use crate::filter::Syscall;
use crate::sockets::{Record, Socket, SocketKey};
use crate::stream::{self, Phase, Stream, deadline, errno_of, is_nonblocking};
use crate::{datagram, sys};
use rustix::net::SendFlags;
use rustix::net::sockopt::Timeout;
use sockeye_posix::message::{IOV_MAX, IoVec, MessageHeader};
use sockeye_posix::{Errno, Stored};
use sockeye_stack::{Domain, Owner, SocketType};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

/// Most bytes taken from a program's memory for one such send.
const SEND_MAX: usize = 64 * 1024;

/// `socket`.
pub(crate) fn socket(core: &mut Core, call: &Call) -> Reply {
    open(core, call).map_or_else(Reply::Error, |()| Reply::Done)
}

fn open(core: &mut Core, call: &Call) -> Result<(), Errno> {
    let (domain, kind) = kind_of(call.int(0), call.int(1), call.int(2))?;
    let nonblocking = call.int(1) & libc::SOCK_NONBLOCK != 0;
    let owner = Owner { uid: rustix::process::getuid().as_raw(), pid: call.tid, ..Owner::default() };
    let id = core.world.with(call.host, |stack| stack.socket(domain, kind, owner))?;
    let opened = match kind {
        SocketType::Stream => stream::new_plug(nonblocking)
            .map(|plug| (Socket::Stream(Stream::new(plug.ours, Phase::Fresh, None)), plug.theirs)),
        SocketType::Datagram => {
            datagram::open(nonblocking).map(|(datagram, theirs)| (Socket::Datagram(datagram), theirs))
        }
    };
    let given = opened.and_then(|(socket, theirs)| give(core, call, &theirs).map(|cookie| (socket, cookie)));
    match given {
        Ok((socket, cookie)) => {
            let record = Record {
                cookie,
                host: call.host,
                id,
                domain,
                stored: Stored::default(),
                socket,
                waiters: VecDeque::new(),
            };
            let key = core.sockets.insert(record);
            let watched = match core.sockets.get(key).map(|record| &record.socket) {
                Some(Socket::Stream(stream)) => core.watch(&stream.plug, Token::Plug(key), stream::idle()),
                Some(Socket::Datagram(datagram)) => {
                    core.watch(datagram.plug(), Token::Plug(key), stream::carrying())
                }
                _ => Ok(()),
            };
            // Only for want of memory: the socket works, but its close is not seen before the program's end.
            watched.map_err(|error| tracing::warn!(%error, "can't watch a socket")).ok();
            Ok(())
        }
        Err(error) => {
            let now = core.now;
            core.world.with(call.host, |stack| stack.close(now, id)).ok();
            Err(errno_of(&error))
        }
    }
}

/// Answers with the program's end of a plug; returns its cookie.
fn give(core: &Core, call: &Call, theirs: &OwnedFd) -> io::Result<u64> {
    let cookie = rustix::net::sockopt::socket_cookie(theirs)?;
    core.answer_descriptor(call, theirs, call.int(1) & libc::SOCK_CLOEXEC != 0)?;
    Ok(cookie)
}

/// Family and type, or the errno for what there is none of.
fn kind_of(domain: i32, kind: i32, protocol: i32) -> Result<(Domain, SocketType), Errno> {
    let domain = match domain {
        libc::AF_INET => Domain::Inet,
        libc::AF_INET6 => Domain::Inet6,
        _ => return Err(Errno::EAFNOSUPPORT),
    };
    if kind & !(0xf | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    match (kind & 0xf, protocol) {
        (libc::SOCK_STREAM, 0 | libc::IPPROTO_TCP) => Ok((domain, SocketType::Stream)),
        (libc::SOCK_DGRAM, 0 | libc::IPPROTO_UDP) => Ok((domain, SocketType::Datagram)),
        // Ping and raw sockets, as a kernel answers somebody who may not have them.
        (libc::SOCK_DGRAM, libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6) => Err(Errno::EACCES),
        (libc::SOCK_RAW, _) => Err(Errno::EPERM),
        (libc::SOCK_STREAM | libc::SOCK_DGRAM, _) => Err(Errno::EPROTONOSUPPORT),
        _ => Err(Errno(libc::ESOCKTNOSUPPORT)),
    }
}

/// `sendto` with an address on a stream socket, which TCP reads over and a plug would refuse: the bytes are
/// sent from here.
pub(crate) fn send_with_address(core: &Core, call: &Call, theirs: &OwnedFd, key: SocketKey) -> Reply {
    let len = usize::try_from(call.word(2)).unwrap_or(usize::MAX).min(SEND_MAX);
    send_ranges(core, call, theirs, key, &[(call.word(1), len)], call.int(3))
}

/// `sendmsg` on a stream socket: as it is, unless it names an address.
pub(crate) fn send_message(core: &Core, call: &Call, theirs: &OwnedFd, key: SocketKey) -> Reply {
    let mut header = [0; MessageHeader::SIZE];
    let Ok(()) = call.read(call.word(1), &mut header) else { return Reply::Continue };
    match MessageHeader::parse(&header) {
        Ok(header) if header.name != 0 && header.iov_len <= IOV_MAX => {
            let parts = call
                .read_vec(header.iov, header.iov_len * IoVec::SIZE)
                .and_then(|bytes| IoVec::parse_all(&bytes));
            let parts = match parts {
                Ok(parts) => parts,
                Err(errno) => return Reply::Error(errno),
            };
            let mut room = SEND_MAX;
            let mut ranges = Vec::with_capacity(parts.len());
            for part in parts {
                let len = part.len.min(room);
                room -= len;
                ranges.push((part.base, len));
            }
            send_ranges(core, call, theirs, key, &ranges, call.int(2))
        }
        _ => Reply::Continue,
    }
}

fn send_ranges(
    core: &Core,
    call: &Call,
    theirs: &OwnedFd,
    key: SocketKey,
    ranges: &[(u64, usize)],
    flags: i32,
) -> Reply {
    let mut bytes = vec![0; ranges.iter().map(|&(_, len)| len).sum()];
    if let Err(errno) = call.read_ranges(ranges, &mut bytes) {
        return Reply::Error(errno);
    }
    let out_of_band = if flags & libc::MSG_OOB != 0 { SendFlags::OOB } else { SendFlags::empty() };
    match rustix::net::send(theirs, &bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL | out_of_band) {
        Ok(sent) => Reply::Value(sent as i64),
        Err(rustix::io::Errno::PIPE) => broken_pipe(call),
        Err(rustix::io::Errno::AGAIN) if flags & libc::MSG_DONTWAIT == 0 && !is_nonblocking(theirs) => {
            Reply::Park { key, deadline: deadline(core.now, theirs, Timeout::Send), expired: Errno::EAGAIN }
        }
        Err(error) => Reply::Error(Errno(error.raw_os_error())),
    }
}

/// A send on a stream socket that isn't connected.
pub(crate) fn broken_pipe(call: &Call) -> Reply {
    let flags = call.int(if call.syscall == Syscall::SendMsg { 2 } else { 3 });
    if flags & libc::MSG_FASTOPEN != 0 {
        // As where the sysctl doesn't allow it: programs connect first, then.
        return Reply::Error(Errno::EOPNOTSUPP);
    }
    if flags & libc::MSG_NOSIGNAL == 0 {
        sys::send_signal(call.tid, libc::SIGPIPE);
    }
    Reply::Error(Errno::EPIPE)
}
