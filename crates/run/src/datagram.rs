//! Datagram plugs: the supervisor's side of a program's UDP socket.

use crate::call::{Call, Reply};
use crate::core::Core;
use crate::sockets::SocketKey;
use rustix::event::epoll::EventFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType as SysType, socketpair};
use sockeye_posix::Errno;
use sockeye_stack::SockAddr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The supervisor's side of a datagram socket.
#[derive(Debug)]
pub(crate) struct Datagram {
    plug: OwnedFd,
}

impl Datagram {
    /// The supervisor's end of the plug.
    pub(crate) fn plug(&self) -> BorrowedFd<'_> {
        self.plug.as_fd()
    }
}

/// A new datagram socket and the program's end of its plug, non-blocking if asked for.
pub(crate) fn open(nonblocking: bool) -> io::Result<(Datagram, OwnedFd)> {
    let (plug, theirs) = socketpair(AddressFamily::UNIX, SysType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&plug, true)?;
    if nonblocking {
        rustix::io::ioctl_fionbio(&theirs, true)?;
    }
    Ok((Datagram { plug }, theirs))
}

/// The program wrote into the plug, made room in it, or closed it (hang-up).
pub(crate) fn on_plug(core: &mut Core, key: SocketKey, events: EventFlags) {
    if events.contains(EventFlags::HUP)
        && let Some(record) = core.sockets.remove(key)
    {
        let now = core.now;
        core.world.with(record.host, |stack| stack.close(now, record.id)).ok();
    }
}

/// The stack's socket changed: datagrams to read, room to send, an error.
pub(crate) fn on_stack(_core: &mut Core, _key: SocketKey) {}

/// `connect`; no peer dissolves the association.
pub(crate) fn connect(_: &mut Core, _: &Call, _: &OwnedFd, _: SocketKey, _peer: Option<SockAddr>) -> Reply {
    Reply::Error(Errno::ENETUNREACH)
}

/// `shutdown`.
pub(crate) fn shutdown(_: &mut Core, _: &Call, _: &OwnedFd, _: SocketKey) -> Reply {
    Reply::Error(Errno::ENOTCONN)
}

/// `sendto` with an address.
pub(crate) fn send_to(_: &mut Core, _: &Call, _: &OwnedFd, _: SocketKey) -> Reply {
    Reply::Error(Errno::ENETUNREACH)
}

/// `recvfrom` that wants the address.
pub(crate) fn recv_from(_: &mut Core, _: &Call, _: &OwnedFd, _: SocketKey) -> Reply {
    Reply::Error(Errno::EAGAIN)
}

/// `sendmsg`.
pub(crate) fn send_message(_: &mut Core, _: &Call, _: &OwnedFd, _: SocketKey) -> Reply {
    Reply::Error(Errno::ENETUNREACH)
}

/// `recvmsg`.
pub(crate) fn recv_message(_: &mut Core, _: &Call, _: &OwnedFd, _: SocketKey) -> Reply {
    Reply::Error(Errno::EAGAIN)
}

/// `sendmmsg`.
pub(crate) fn send_messages(_: &mut Core, _: &Call, _: &OwnedFd, _: SocketKey) -> Reply {
    Reply::Error(Errno::ENETUNREACH)
}

/// `recvmmsg`.
pub(crate) fn recv_messages(_: &mut Core, _: &Call, _: &OwnedFd, _: SocketKey) -> Reply {
    Reply::Error(Errno::EAGAIN)
}
