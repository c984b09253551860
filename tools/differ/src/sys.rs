//! The kernel's calls with the bytes that they are given, right or wrong: no safe wrapper lets those pass. All
//! `unsafe` of this tool stands here.

#![allow(unsafe_code, reason = "socket calls with arbitrary addresses and options")]
#![allow(clippy::cast_ptr_alignment, reason = "the kernel copies addresses from wherever they lie")]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_int, sockaddr, socklen_t};
use sockeye_posix::Errno;

use crate::BITS;
use crate::answer::Masks;
use crate::call::PLACES;

/// The room for an address that the kernel tells.
const ADDRESS_ROOM: usize = 128;

/// What the kernel has not written over in a buffer.
const UNTOUCHED: u8 = 0xa5;

/// What a receive took.
pub(crate) struct Received {
    pub(crate) data: Vec<u8>,
    pub(crate) value: usize,
    pub(crate) from: Vec<u8>,
    pub(crate) flags: c_int,
}

fn errno() -> Errno {
    Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

/// A result as the kernel gives it: negative for an error.
fn checked(result: isize) -> Result<usize, Errno> {
    usize::try_from(result).map_err(|_| errno())
}

pub(crate) fn socket(domain: c_int, kind: c_int, protocol: c_int) -> Result<OwnedFd, Errno> {
    // SAFETY: no memory is passed.
    let fd = unsafe { libc::socket(domain, kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, protocol) };
    checked(fd as isize)?;
    // SAFETY: the descriptor is new, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(crate) fn bind(fd: c_int, address: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel reads `len` bytes at the pointer, which is all of the slice.
    let result = unsafe { libc::bind(fd, address.as_ptr().cast::<sockaddr>(), address.len() as socklen_t) };
    checked(result as isize)
}

pub(crate) fn connect(fd: c_int, address: &[u8]) -> Result<usize, Errno> {
    // SAFETY: as in `bind`.
    let result =
        unsafe { libc::connect(fd, address.as_ptr().cast::<sockaddr>(), address.len() as socklen_t) };
    checked(result as isize)
}

pub(crate) fn listen(fd: c_int, backlog: c_int) -> Result<usize, Errno> {
    // SAFETY: no memory is passed.
    checked(unsafe { libc::listen(fd, backlog) } as isize)
}

pub(crate) fn shutdown(fd: c_int, how: c_int) -> Result<usize, Errno> {
    // SAFETY: no memory is passed.
    checked(unsafe { libc::shutdown(fd, how) } as isize)
}

/// Calls `call` with room for an address and its length, and returns the result and the address.
fn addressed(call: impl FnOnce(*mut sockaddr, *mut socklen_t) -> c_int) -> Result<(c_int, Vec<u8>), Errno> {
    let (mut address, mut len) = ([0_u8; ADDRESS_ROOM], ADDRESS_ROOM as socklen_t);
    let result = call(address.as_mut_ptr().cast(), &raw mut len);
    checked(result as isize)?;
    Ok((result, address[..(len as usize).min(ADDRESS_ROOM)].to_vec()))
}

pub(crate) fn accept(fd: c_int) -> Result<(OwnedFd, Vec<u8>), Errno> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: address and length are `addressed`'s, and writable for as much as the length says.
    let (fd, peer) = addressed(|address, len| unsafe { libc::accept4(fd, address, len, flags) })?;
    // SAFETY: the descriptor is new, and nobody else's.
    Ok((unsafe { OwnedFd::from_raw_fd(fd) }, peer))
}

pub(crate) fn local_name(fd: c_int) -> Result<Vec<u8>, Errno> {
    // SAFETY: as in `accept`.
    addressed(|address, len| unsafe { libc::getsockname(fd, address, len) }).map(|(_, name)| name)
}

pub(crate) fn peer_name(fd: c_int) -> Result<Vec<u8>, Errno> {
    // SAFETY: as in `accept`.
    addressed(|address, len| unsafe { libc::getpeername(fd, address, len) }).map(|(_, name)| name)
}

pub(crate) fn send(fd: c_int, data: &[u8], flags: c_int, to: &[u8]) -> Result<usize, Errno> {
    let address = if to.is_empty() { std::ptr::null() } else { to.as_ptr().cast::<sockaddr>() };
    let (data, len) = (data.as_ptr().cast(), data.len());
    // SAFETY: the kernel reads `len` bytes of data, and as many of the address as it has.
    let sent =
        unsafe { libc::sendto(fd, data, len, flags | libc::MSG_NOSIGNAL, address, to.len() as socklen_t) };
    checked(sent)
}

pub(crate) fn receive(fd: c_int, room: usize, flags: c_int) -> Result<Received, Errno> {
    let (mut data, mut from) = (vec![UNTOUCHED; room], [0_u8; ADDRESS_ROOM]);
    let mut buffer = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: room };
    // SAFETY: zero is a value of each of its fields, which are integers and pointers.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = from.as_mut_ptr().cast();
    message.msg_namelen = ADDRESS_ROOM as socklen_t;
    message.msg_iov = &raw mut buffer;
    message.msg_iovlen = 1;
    // SAFETY: name and buffer are writable for as many bytes as the header says, and outlive the call.
    let value = checked(unsafe { libc::recvmsg(fd, &raw mut message, flags) })?;
    data.truncate(value);
    let len = (message.msg_namelen as usize).min(ADDRESS_ROOM);
    if flags & libc::MSG_TRUNC != 0 && len == 0 && data.iter().all(|byte| *byte == UNTOUCHED) {
        // With MSG_TRUNC a stream's bytes are dropped uncopied.
        data.clear();
    }
    let known = libc::MSG_TRUNC | libc::MSG_CTRUNC | libc::MSG_OOB | libc::MSG_ERRQUEUE;
    Ok(Received { data, value, from: from[..len].to_vec(), flags: message.msg_flags & known })
}

pub(crate) fn set_option(fd: c_int, (level, name): (c_int, c_int), value: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel reads at most as many bytes as the slice has.
    let result =
        unsafe { libc::setsockopt(fd, level, name, value.as_ptr().cast(), value.len() as socklen_t) };
    checked(result as isize)
}

pub(crate) fn option(fd: c_int, (level, name): (c_int, c_int), room: usize) -> Result<Vec<u8>, Errno> {
    let (mut value, mut len) = (vec![0_u8; room], room as socklen_t);
    // SAFETY: the kernel writes at most `len` bytes, which `value` has room for.
    let result = unsafe { libc::getsockopt(fd, level, name, value.as_mut_ptr().cast(), &raw mut len) };
    checked(result as isize)?;
    value.truncate(len as usize);
    Ok(value)
}

pub(crate) fn request(fd: c_int, request: u32) -> Result<c_int, Errno> {
    let mut value: c_int = 0;
    // SAFETY: the requests that are made here write one int.
    let result = unsafe { libc::ioctl(fd, request.into(), &raw mut value) };
    checked(result as isize).map(|_| value)
}

pub(crate) fn poll(sockets: &[Option<OwnedFd>; PLACES]) -> Masks {
    let mut items: [libc::pollfd; PLACES] = std::array::from_fn(|at| libc::pollfd {
        fd: sockets[at].as_ref().map_or(-1, AsRawFd::as_raw_fd),
        events: BITS,
        revents: 0,
    });
    // SAFETY: the kernel reads and writes as many items as there are.
    let _ = unsafe { libc::poll(items.as_mut_ptr(), PLACES as libc::nfds_t, 0) };
    std::array::from_fn(|at| sockets[at].as_ref().map(|_| items[at].revents))
}

/// Brings the loopback interface of the thread's namespace up.
pub(crate) fn raise_loopback() -> Result<(), Errno> {
    let socket = socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    // SAFETY: zero is a value of each of its fields.
    let mut interface: libc::ifreq = unsafe { std::mem::zeroed() };
    interface.ifr_name[0] = b'l' as libc::c_char;
    interface.ifr_name[1] = b'o' as libc::c_char;
    interface.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the kernel reads the structure, which is the one that this request takes.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const interface) };
    checked(result as isize).map(|_| ())
}
