//! The intercepted calls: whose socket a call is about, and which handler takes it.

mod address;
mod options;
mod socket;

pub(crate) use address::reader as address_reader;

use crate::call::{Call, Reply};
use crate::core::{Core, Named};
use crate::filter::Syscall;
use crate::sockets::{Socket, SocketKey};
use crate::{datagram, stream};
use rustix::net::Shutdown as SysShutdown;
use sockeye_posix::Errno;
use sockeye_stack::SocketType;
use std::os::fd::OwnedFd;

/// Local sockets of services that would answer for the machine's network instead of ours, and the errno
/// that makes programs ask by DNS.
const REFUSED_SERVICES: [(&[u8], i32); 4] = [
    (b"/run/nscd/socket", libc::ENOENT),
    (b"/var/run/nscd/socket", libc::ENOENT),
    (b"/run/systemd/resolve/io.systemd.Resolve", libc::ECONNREFUSED),
    (b"/var/run/systemd/resolve/io.systemd.Resolve", libc::ECONNREFUSED),
];

/// Handles a call; it may have been handled before and have waited since.
pub(crate) fn handle(core: &mut Core, call: &Call) -> Reply {
    if call.syscall == Syscall::Socket {
        return socket::socket(core, call);
    }
    let named = match core.named(call) {
        Ok(named) => named,
        Err(errno) => return Reply::Error(errno),
    };
    match (named, call.waited_for) {
        // Another thread closed what this one waits for; the number may be another socket's now.
        (Named::Other, Some(_)) => Reply::Error(Errno::EBADF),
        (Named::Ours(key, _), Some(waited_for)) if key != waited_for => Reply::Error(Errno::EBADF),
        (Named::Ours(key, theirs), _) => on_ours(core, call, &theirs, key),
        (Named::Other, None) if call.syscall == Syscall::Connect => connect_elsewhere(call),
        (Named::Other, None) => Reply::Continue,
    }
}

fn on_ours(core: &mut Core, call: &Call, theirs: &OwnedFd, key: SocketKey) -> Reply {
    let Some(record) = core.sockets.get(key) else { return Reply::Continue };
    let is_stream = record.kind() == SocketType::Stream;
    let is_fresh = match &record.socket {
        Socket::Stream(stream) => stream.phase == stream::Phase::Fresh,
        Socket::Listener(_) => true,
        Socket::Datagram(_) | Socket::Dead(_) => false,
    };
    match call.syscall {
        Syscall::Bind => address::bind(core, call, key),
        Syscall::Listen => stream::listen(core, call, theirs, key),
        Syscall::Accept | Syscall::Accept4 => stream::accept(core, call, theirs, key),
        Syscall::Connect => address::connect(core, call, theirs, key),
        Syscall::GetSockName => address::local(core, call, key),
        Syscall::GetPeerName => address::peer(core, call, key),
        Syscall::Shutdown if is_stream => shutdown(core, call, theirs, key),
        Syscall::Shutdown => datagram::shutdown(core, call, theirs, key),
        Syscall::SetSockOpt => options::set(core, call, key),
        Syscall::GetSockOpt => options::get(core, call, theirs, key),
        // On a plug these would work or wait, though there is no peer.
        Syscall::SendTo | Syscall::SendMsg if is_fresh => socket::broken_pipe(call),
        Syscall::RecvFrom | Syscall::RecvMsg if is_fresh => Reply::Error(Errno::ENOTCONN),
        Syscall::SendTo if is_stream => socket::send_with_address(core, call, theirs, key),
        Syscall::SendMsg if is_stream => socket::send_message(core, call, theirs, key),
        // A plug gives no address, as TCP; control messages there are none.
        Syscall::RecvFrom | Syscall::RecvMsg | Syscall::RecvMMsg | Syscall::SendMMsg if is_stream => {
            Reply::Continue
        }
        Syscall::SendTo => datagram::send_to(core, call, theirs, key),
        Syscall::RecvFrom => datagram::recv_from(core, call, theirs, key),
        Syscall::SendMsg => datagram::send_message(core, call, theirs, key),
        Syscall::RecvMsg => datagram::recv_message(core, call, theirs, key),
        Syscall::SendMMsg => datagram::send_messages(core, call, theirs, key),
        Syscall::RecvMMsg => datagram::recv_messages(core, call, theirs, key),
        Syscall::Ioctl => options::request(core, call, key),
        Syscall::Socket | Syscall::IoUringSetup | Syscall::Prctl => Reply::Continue,
    }
}

/// `shutdown` of a stream socket: of the plug, whose other end then tells the pump.
fn shutdown(core: &mut Core, call: &Call, theirs: &OwnedFd, key: SocketKey) -> Reply {
    let Some(record) = core.sockets.get_mut(key) else { return Reply::Continue };
    let how = call.int(1);
    if !(libc::SHUT_RD..=libc::SHUT_RDWR).contains(&how) {
        return Reply::Error(Errno::EINVAL);
    }
    match &mut record.socket {
        Socket::Listener(_) if how == libc::SHUT_WR => Reply::Error(Errno::ENOTCONN),
        Socket::Listener(_) => {
            stream::shut_listener(core, key);
            Reply::Value(0)
        }
        Socket::Stream(stream) if matches!(stream.phase, stream::Phase::Connected { .. }) => {
            let how = match how {
                libc::SHUT_RD => return Reply::Continue,
                libc::SHUT_WR => SysShutdown::Write,
                _ => SysShutdown::Both,
            };
            Reply::from_result(stream.shut(theirs, how))
        }
        Socket::Stream(_) | Socket::Dead(_) | Socket::Datagram(_) => Reply::Error(Errno::ENOTCONN),
    }
}

/// `connect` on a local socket: the kernel's, but for services that would leak names past the network.
fn connect_elsewhere(call: &Call) -> Reply {
    let Ok(address) = call.read_address(call.word(1), call.int(2)) else { return Reply::Continue };
    if sockeye_posix::address::family(&address) != Some(libc::AF_UNIX) {
        return Reply::Continue;
    }
    let path = address.get(2..).unwrap_or_default();
    let path = path.split(|&byte| byte == 0).next().unwrap_or_default();
    let refused = REFUSED_SERVICES.iter().find(|(service, _)| *service == path);
    refused.map_or(Reply::Continue, |&(_, errno)| Reply::Error(Errno(errno)))
}
