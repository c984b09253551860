//! Network namespaces of an ordinary user, and sockets out of them.
//!
//! A process that has entered a user namespace can't come back, so children do it: each makes its sockets, hands
//! them over and ends. A child of a process with threads may call nothing that allocates or locks: these make
//! system calls only. What was made keeps its namespace alive.

use super::check;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno as SysErrno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `SIOCGSKNS` of `linux/sockios.h`: the network namespace of a socket.
const SIOCGSKNS: libc::Ioctl = 0x894c;
/// Most descriptors that a child hands over.
const HANDED: usize = 5;

/// Two network namespaces, in a user namespace in which this process has all rights.
#[derive(Debug)]
pub(crate) struct Namespaces {
    /// The user namespace.
    pub(crate) user: OwnedFd,
    /// The namespace of programs' sockets.
    pub(crate) near: Namespace,
    /// That of the other ends of its links.
    pub(crate) far: Namespace,
    /// The packet sockets of the near one, as `/proc/net/packet` tells them.
    pub(crate) listed: OwnedFd,
}

/// A network namespace, with two sockets in it.
#[derive(Debug)]
pub(crate) struct Namespace {
    /// The namespace.
    pub(crate) net: OwnedFd,
    /// A packet socket that receives nothing yet, and doesn't block.
    pub(crate) packets: OwnedFd,
    /// A route socket.
    pub(crate) routes: OwnedFd,
}

/// Makes new namespaces. EPERM, ENOSPC and their like where the machine lets this user have none.
pub(crate) fn new_namespaces() -> io::Result<Namespaces> {
    let [far_packets, far_routes, packets, routes, listed] = made_by_child(|| {
        unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET)?;
        let far = both_sockets()?;
        unshare(libc::CLONE_NEWNET)?;
        let near = both_sockets()?;
        let listed = open(c"/proc/self/net/packet", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let ([far_packets, far_routes], [packets, routes]) = (far, near);
        Ok([far_packets, far_routes, packets, routes, listed])
    })?;
    let near = Namespace { net: network_of(&packets)?, packets, routes };
    let far = Namespace { net: network_of(&far_packets)?, packets: far_packets, routes: far_routes };
    let user = other_descriptor(&near.net, libc::NS_GET_USERNS)?;
    Ok(Namespaces { user, near, far, listed })
}

impl Namespaces {
    /// A new packet socket of the near namespace, of this type (with its flags) and protocol, which the kernel
    /// judges.
    pub(crate) fn packet_socket(&self, kind: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
        let [socket] = made_by_child(|| {
            enter(&self.user, libc::CLONE_NEWUSER)?;
            enter(&self.near.net, libc::CLONE_NEWNET)?;
            Ok([socket(libc::AF_PACKET, kind | libc::SOCK_CLOEXEC, protocol)?])
        })?;
        Ok(socket)
    }
}

fn both_sockets() -> Result<[OwnedFd; 2], SysErrno> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_RAW;
    Ok([
        socket(libc::AF_PACKET, flags | libc::SOCK_NONBLOCK, 0)?,
        socket(libc::AF_NETLINK, flags, libc::NETLINK_ROUTE)?,
    ])
}

/// The network namespace of a socket.
fn network_of(socket: &OwnedFd) -> io::Result<OwnedFd> {
    other_descriptor(socket, SIOCGSKNS)
}

fn other_descriptor(fd: &OwnedFd, request: libc::Ioctl) -> io::Result<OwnedFd> {
    // SAFETY: these requests touch no memory.
    let fd = check(unsafe { libc::ioctl(fd.as_raw_fd(), request) }.into())?;
    // SAFETY: the kernel has just made this descriptor (close-on-exec), and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn unshare(flags: libc::c_int) -> Result<(), SysErrno> {
    // SAFETY: no memory; only children of ours come here, which share nothing with this process.
    if unsafe { libc::unshare(flags) } == 0 { Ok(()) } else { Err(last_error()) }
}

fn enter(namespace: &OwnedFd, kind: libc::c_int) -> Result<(), SysErrno> {
    // SAFETY: as in `unshare`.
    if unsafe { libc::setns(namespace.as_raw_fd(), kind) } == 0 { Ok(()) } else { Err(last_error()) }
}

fn socket(family: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> Result<OwnedFd, SysErrno> {
    // SAFETY: no memory.
    let fd = unsafe { libc::socket(family, kind, protocol) };
    // SAFETY: the kernel has just made this descriptor, and nobody else has it.
    if fd < 0 { Err(last_error()) } else { Ok(unsafe { OwnedFd::from_raw_fd(fd) }) }
}

fn last_error() -> SysErrno {
    SysErrno::from_io_error(&io::Error::last_os_error()).unwrap_or(SysErrno::IO)
}

/// The descriptors that `make` makes in a child, which ends before this returns. It may make system calls only.
fn made_by_child<const N: usize>(
    make: impl FnOnce() -> Result<[OwnedFd; N], SysErrno>,
) -> io::Result<[OwnedFd; N]> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    // SAFETY: the child makes system calls on its own stack and ends in _exit.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        hand_over(&theirs, &make());
        // SAFETY: ends the child, without what other code wants done at the end of its process.
        unsafe { libc::_exit(0) }
    }
    check(pid.into())?;
    drop(theirs);
    let handed = take_over(&ours);
    // It ends at once. Nobody else waits for it: whoever reaps children here does so in this thread.
    // SAFETY: no memory.
    while unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) } < 0 && last_error() == SysErrno::INTR {}
    handed
}

/// Sends what a child has made, or the errno.
fn hand_over<const N: usize>(way: &OwnedFd, made: &Result<[OwnedFd; N], SysErrno>) {
    let errno = made.as_ref().map_or_else(|errno| errno.raw_os_error(), |_| 0).to_ne_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDED))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds: Option<[BorrowedFd<'_>; N]> = made.as_ref().ok().map(|fds| fds.each_ref().map(AsFd::as_fd));
    if let Some(fds) = &fds {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    sendmsg(way, &[IoSlice::new(&errno)], &mut control, SendFlags::NOSIGNAL).ok();
}

fn take_over<const N: usize>(way: &OwnedFd) -> io::Result<[OwnedFd; N]> {
    let mut errno = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDED))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        match recvmsg(way, &mut [IoSliceMut::new(&mut errno)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(SysErrno::INTR) => {}
            received => break received?,
        }
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    match i32::from_ne_bytes(errno) {
        _ if message.bytes < errno.len() => Err(io::ErrorKind::UnexpectedEof.into()),
        // Fewer when this process has no room for them.
        0 => fds.try_into().map_err(|_| SysErrno::NFILE.into()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}
