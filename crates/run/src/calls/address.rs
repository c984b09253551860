//! Calls that carry an address: `bind`, `connect`, `getsockname`, `getpeername`.

use crate::call::{Call, Reply};
use crate::core::Core;
use crate::sockets::{Record, Socket, SocketKey};
use crate::{datagram, stream};
use sockeye_posix::Errno;
use sockeye_posix::address::{AddressBytes, Reader};
use sockeye_stack::{Domain, OptionName, SockAddr, SocketOption, SocketType};
use std::os::fd::OwnedFd;

/// `bind`.
pub(crate) fn bind(core: &mut Core, call: &Call, key: SocketKey) -> Reply {
    let result = call.read_address(call.word(1), call.int(2)).and_then(|bytes| {
        let addr = reader(core, key)?.bind(&bytes)?;
        let record = core.sockets.get(key).ok_or(Errno::EBADF)?;
        let (host, id) = (record.host, record.id);
        if let Socket::Dead(_) = record.socket {
            return Err(Errno::EINVAL);
        }
        core.world.with(host, |stack| stack.bind(id, addr)).map_err(Errno::from)
    });
    Reply::from_result(result)
}

/// `connect`.
pub(crate) fn connect(core: &mut Core, call: &Call, theirs: &OwnedFd, key: SocketKey) -> Reply {
    let peer =
        call.read_address(call.word(1), call.int(2)).and_then(|bytes| reader(core, key)?.connect(&bytes));
    match (peer, core.sockets.get(key).map(Record::kind)) {
        (Err(errno), _) => Reply::Error(errno),
        (Ok(peer), Some(SocketType::Stream)) => stream::connect(core, call, theirs, key, peer),
        (Ok(peer), _) => datagram::connect(core, call, theirs, key, peer),
    }
}

/// How this socket reads addresses.
pub(crate) fn reader(core: &mut Core, key: SocketKey) -> Result<Reader, Errno> {
    let record = core.sockets.get(key).ok_or(Errno::EBADF)?;
    let (host, id, domain, kind) = (record.host, record.id, record.domain, record.kind());
    let v6_only = domain == Domain::Inet6
        && core.world.with(host, |stack| stack.get_option(id, OptionName::V6Only))
            == Ok(SocketOption::V6Only(true));
    Ok(Reader { domain, kind, v6_only })
}

/// `getsockname`.
pub(crate) fn local(core: &mut Core, call: &Call, key: SocketKey) -> Reply {
    let Some(record) = core.sockets.get(key) else { return Reply::Error(Errno::EBADF) };
    let (host, id, domain) = (record.host, record.id, record.domain);
    let addr = match &record.socket {
        Socket::Dead(dead) => dead.local,
        _ => core.world.with(host, |stack| stack.local_addr(id)).ok(),
    };
    let unbound = match domain {
        Domain::Inet => SockAddr::UNSPECIFIED_V4,
        Domain::Inet6 => SockAddr::UNSPECIFIED_V6,
    };
    tell(core, call, domain, addr.unwrap_or(unbound))
}

/// `getpeername`.
pub(crate) fn peer(core: &mut Core, call: &Call, key: SocketKey) -> Reply {
    let Some(record) = core.sockets.get(key) else { return Reply::Error(Errno::EBADF) };
    let (host, id, domain) = (record.host, record.id, record.domain);
    let may_have_one = match &record.socket {
        Socket::Stream(stream) => matches!(stream.phase, stream::Phase::Connected { .. }),
        Socket::Datagram(_) => true,
        Socket::Listener(_) | Socket::Dead(_) => false,
    };
    let peer = if may_have_one { core.world.with(host, |stack| stack.peer_addr(id)).ok() } else { None };
    match peer {
        Some(peer) => tell(core, call, domain, peer),
        None => Reply::Error(Errno::ENOTCONN),
    }
}

fn tell(core: &Core, call: &Call, domain: Domain, addr: SockAddr) -> Reply {
    let bytes = AddressBytes::new(addr, domain);
    Reply::from_result(core.write_address(call, call.word(1), call.word(2), bytes.as_slice()))
}
