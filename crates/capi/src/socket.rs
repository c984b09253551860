//! Names and connections: socket, bind, listen, accept, connect, shutdown, close, getsockname, getpeername.

use crate::answer::answer;
use crate::host::Host;
use crate::sys::{self, SizedRoom};
use sockeye_posix::berkeley::Socket;
use sockeye_posix::options::Direction;
use sockeye_posix::{Errno, Privilege, SocketKind};
use sockeye_stack::{Domain, Owner};
use std::ffi::c_int;

const FLAGS: c_int = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;

/// Makes a socket on a host, as socket(2) with `domain` AF_INET or AF_INET6, `type` SOCK_STREAM (TCP), SOCK_DGRAM (UDP;
/// IPPROTO_UDPLITE; IPPROTO_ICMP and IPPROTO_ICMPV6 for pings) or SOCK_RAW with a protocol, which needs no rights here, and
/// SOCK_NONBLOCK if it shall not wait.
///
/// Returns a descriptor, which this library's calls know for this host, and nobody else; no number is used again for
/// long. -1 with the errno of socket(2) when it fails, and ENETUNREACH on a host that was removed.
///
/// # Safety
///
/// `host` is null, or was not given back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_socket(
    host: *const Host,
    domain: c_int,
    r#type: c_int,
    protocol: c_int,
) -> c_int {
    // SAFETY: passed on.
    let host = unsafe { sys::handle(host) };
    answer(|| {
        let host = host?;
        host.check_is_there()?;
        let kind = SocketKind::of_call(domain, r#type, protocol, Privilege::NetRaw)?;
        if kind.domain == Domain::Packet {
            return Err(Errno::EAFNOSUPPORT);
        }
        let what = [domain, r#type, protocol];
        let opened =
            host.with_stack(|stack, _| Socket::open(stack, what, Privilege::NetRaw, Owner::default()))?;
        host.enter(opened, r#type & libc::SOCK_NONBLOCK != 0)
    })
}

/// Binds a socket to a local address, as bind(2).
///
/// # Safety
///
/// `host` is null, or was not given back; `addr` is null, or has `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_bind(
    host: *const Host,
    fd: c_int,
    addr: *const libc::sockaddr,
    len: libc::socklen_t,
) -> c_int {
    // SAFETY: passed on.
    let (host, address) = unsafe { (sys::handle(host), sys::address(addr, len)) };
    answer(|| {
        let entry = host?.entry(fd)?;
        let address = address?;
        entry.call(|socket, stack, _| socket.bind(stack, address)).map(|()| 0)
    })
}

/// Has a stream socket accept connections, as listen(2). A socket that isn't bound listens at a port that is picked.
///
/// # Safety
///
/// `host` is null, or was not given back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_listen(host: *const Host, fd: c_int, backlog: c_int) -> c_int {
    // SAFETY: passed on.
    let host = unsafe { sys::handle(host) };
    answer(|| {
        let entry = host?.entry(fd)?;
        entry.call(|socket, stack, now| socket.listen(stack, now, backlog)).map(|()| 0)
    })
}

/// Takes a connection that waits at a listener, as accept(2). Waits for one, at most as long as SO_RCVTIMEO says, unless
/// the listener is O_NONBLOCK; the new socket is not. `addr` may be null.
///
/// # Safety
///
/// As sockeye_accept4().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_accept(
    host: *const Host,
    fd: c_int,
    addr: *mut libc::sockaddr,
    len: *mut libc::socklen_t,
) -> c_int {
    // SAFETY: passed on.
    unsafe { sockeye_accept4(host, fd, addr, len, 0) }
}

/// As sockeye_accept(); with SOCK_NONBLOCK in `flags` the new socket is O_NONBLOCK.
///
/// # Safety
///
/// `host` is null, or was not given back; `addr` is null, or has as many bytes as the number says that `len` points to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_accept4(
    host: *const Host,
    fd: c_int,
    addr: *mut libc::sockaddr,
    len: *mut libc::socklen_t,
    flags: c_int,
) -> c_int {
    // SAFETY: passed on.
    let (host, room) = unsafe { (sys::handle(host), SizedRoom::maybe(addr, len)) };
    answer(|| {
        let host = host?;
        let entry = host.entry(fd)?;
        if flags & !FLAGS != 0 {
            return Err(Errno::EINVAL);
        }
        let room = room?;
        let deadline = entry.deadline(&host, Direction::Receive);
        let deadline = Some(&deadline).filter(|_| !entry.is_nonblocking());
        let (accepted, peer) = entry
            .wait(&host, Direction::Receive, deadline, |socket, stack, now| socket.accept(stack, now))?;
        let accepted = host.enter(accepted, flags & libc::SOCK_NONBLOCK != 0)?;
        if let Some(room) = room {
            room.write(peer.as_slice());
        }
        Ok(accepted)
    })
}

/// Connects a socket, as connect(2): of TCP it waits until the connection is open or has failed, at most as long as
/// SO_SNDTIMEO says (then it goes on by itself: EINPROGRESS); on an O_NONBLOCK socket it returns -1 with EINPROGRESS at once,
/// and the socket becomes writable when it is over (sockeye_poll; SO_ERROR says how).
///
/// # Safety
///
/// `host` is null, or was not given back; `addr` is null, or has `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_connect(
    host: *const Host,
    fd: c_int,
    addr: *const libc::sockaddr,
    len: libc::socklen_t,
) -> c_int {
    // SAFETY: passed on.
    let (host, address) = unsafe { (sys::handle(host), sys::address(addr, len)) };
    answer(|| {
        let host = host?;
        let entry = host.entry(fd)?;
        let address = address?;
        let begun = entry.call(|socket, stack, now| socket.connect(stack, now, address));
        let pending = match begun {
            Err(errno @ (Errno::EINPROGRESS | Errno::EALREADY)) if !entry.is_nonblocking() => errno,
            result => return result.map(|()| 0),
        };
        let deadline = entry.deadline(&host, Direction::Send);
        let over = entry
            .wait(&host, Direction::Send, Some(&deadline), |socket, stack, now| socket.connected(stack, now));
        over.map(|()| 0).map_err(|errno| if errno == Errno::EAGAIN { pending } else { errno })
    })
}

/// Ends one direction of a connection, or both, as shutdown(2).
///
/// # Safety
///
/// `host` is null, or was not given back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_shutdown(host: *const Host, fd: c_int, how: c_int) -> c_int {
    // SAFETY: passed on.
    let host = unsafe { sys::handle(host) };
    answer(|| {
        let entry = host?.entry(fd)?;
        entry.call(|socket, stack, now| socket.shutdown(stack, now, how)).map(|()| 0)
    })
}

/// Closes a socket, as close(2). A connection's last data is still sent; this never waits for that, SO_LINGER or not
/// (with a time of 0 the connection is reset). Calls of other threads that wait for the socket fail with EBADF.
///
/// # Safety
///
/// `host` is null, or was not given back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_close(host: *const Host, fd: c_int) -> c_int {
    // SAFETY: passed on.
    let host = unsafe { sys::handle(host) };
    answer(|| {
        host?.table.remove(fd)?.close();
        Ok(0)
    })
}

/// Writes a socket's own address, as getsockname(2).
///
/// # Safety
///
/// `host` is null, or was not given back; `addr` is null, or has as many bytes as the number says that `len` points to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_getsockname(
    host: *const Host,
    fd: c_int,
    addr: *mut libc::sockaddr,
    len: *mut libc::socklen_t,
) -> c_int {
    // SAFETY: passed on.
    let (host, room) = unsafe { (sys::handle(host), SizedRoom::new(addr.cast(), len)) };
    answer(|| {
        let entry = host?.entry(fd)?;
        let room = room?;
        room.write(entry.call(|socket, stack, _| socket.local_name(stack))?.as_slice());
        Ok(0)
    })
}

/// Writes the address of a socket's peer, as getpeername(2).
///
/// # Safety
///
/// As sockeye_getsockname().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_getpeername(
    host: *const Host,
    fd: c_int,
    addr: *mut libc::sockaddr,
    len: *mut libc::socklen_t,
) -> c_int {
    // SAFETY: passed on.
    let (host, room) = unsafe { (sys::handle(host), SizedRoom::new(addr.cast(), len)) };
    answer(|| {
        let entry = host?.entry(fd)?;
        let room = room?;
        room.write(entry.call(|socket, stack, _| socket.peer_name(stack))?.as_slice());
        Ok(0)
    })
}
