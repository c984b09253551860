//! Calls that carry an address: `bind`, `connect`, `getsockname`, `getpeername`.

use super::{Answer, Caller, done};
use crate::core::Core;
use crate::end::ProgramEnd;
use crate::proto::{Outcome, Reply};
use crate::sockets::{Record, Socket, SocketKey};
use crate::{datagram, stream};
use sockeye_posix::address::{AddressBytes, Reader, family};
use sockeye_posix::{Errno, SocketKind};
use sockeye_stack::{Domain, Error, SockAddr, SocketType};

/// `bind`.
pub(crate) fn bind(core: &mut Core, key: SocketKey, address: &[u8]) -> Answer {
    let addr = reader(core, key)?.bind(address)?;
    let record = core.sockets.get(key).ok_or(Errno::EBADF)?;
    let (host, id) = (record.host, record.id);
    if record.is_lost() {
        return Err(Errno::EINVAL);
    }
    let mut bound = core.world.with(host, |stack| stack.bind(id, addr));
    // Whoever has the address may have closed it, unseen.
    if bound == Err(Error::AddrInUse) && core.sweep_for_address() {
        bound = core.world.with(host, |stack| stack.bind(id, addr));
    }
    done(bound)
}

/// `connect`.
pub(crate) fn connect(
    core: &mut Core,
    caller: Caller,
    end: &ProgramEnd,
    key: SocketKey,
    address: &[u8],
) -> Reply {
    let peer = reader(core, key).and_then(|reader| {
        if reader.connect_binds(address)
            && let Some(record) = core.sockets.get(key)
        {
            core.world.with(record.host, |stack| stack.auto_bind(record.id))?;
        }
        reader.connect(address)
    });
    match (peer, core.sockets.get(key).map(Record::kind)) {
        // As the kernel: what a stream is comes before what its address is.
        (Err(_), Some(SocketType::Stream)) if family(address).is_some() && stream::has_begun(core, key) => {
            stream::connect(core, caller, end, key, Some(SockAddr::default()))
        }
        (Err(errno), _) => Err(errno).into(),
        (Ok(peer), Some(SocketType::Stream)) => stream::connect(core, caller, end, key, peer),
        (Ok(peer), _) => datagram::connect(core, key, peer).into(),
    }
}

/// How this socket reads addresses.
pub(crate) fn reader(core: &mut Core, key: SocketKey) -> Result<Reader, Errno> {
    let record = core.sockets.get(key).ok_or(Errno::EBADF)?;
    let kind = SocketKind { domain: record.domain, kind: record.kind() };
    Ok(core.world.with(record.host, |stack| Reader::of(stack, record.id, kind)))
}

/// `getsockname`.
pub(crate) fn local(core: &mut Core, key: SocketKey) -> Answer {
    let record = core.sockets.get(key).ok_or(Errno::EBADF)?;
    let (host, id, domain) = (record.host, record.id, record.domain);
    let addr = match &record.socket {
        Socket::Dead(dead) if !dead.stays => dead.local,
        _ => core.world.with(host, |stack| stack.local_addr(id)).ok(),
    };
    let unbound = match domain {
        Domain::Inet | Domain::Packet => SockAddr::UNSPECIFIED_V4,
        Domain::Inet6 => SockAddr::UNSPECIFIED_V6,
    };
    Ok(address(addr.unwrap_or(unbound), domain))
}

/// `getpeername`.
pub(crate) fn peer(core: &mut Core, key: SocketKey) -> Answer {
    let record = core.sockets.get(key).ok_or(Errno::EBADF)?;
    let (host, id, domain) = (record.host, record.id, record.domain);
    let may_have_one = match &record.socket {
        Socket::Stream(stream) => matches!(stream.phase, stream::Phase::Connected { .. }),
        Socket::Datagram(_) => true,
        Socket::Listener(_) | Socket::Netlink(_) | Socket::Dead(_) => false,
    };
    let peer = if may_have_one { core.world.with(host, |stack| stack.peer_addr(id)).ok() } else { None };
    peer.map(|peer| address(peer, domain)).ok_or(Errno::ENOTCONN)
}

fn address(addr: SockAddr, domain: Domain) -> Outcome {
    Outcome::Bytes(AddressBytes::new(addr, domain).as_slice().to_vec())
}
