//! The machine's sockets: made non-blocking, and what their errors mean to a flow.

use crate::sys;
use rustix::io::Errno;
use rustix::net::sockopt::{
    set_ipv6_v6only, set_socket_keepalive, set_socket_linger, set_socket_reuseaddr, set_tcp_nodelay,
};
use rustix::net::{
    AddressFamily, Protocol, SocketFlags, SocketType, bind, connect, getpeername, getsockname, ipproto,
    listen, socket_with,
};
use sockeye_stack::{Unreachability, Verdict};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Connections that the machine accepts before we do.
const BACKLOG: i32 = 1024;

fn open(addr: &SocketAddr, kind: SocketType, protocol: Option<Protocol>) -> Result<OwnedFd, Errno> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, protocol)
}

/// A stream socket that connects.
pub(super) fn connect_stream(to: &SocketAddr) -> Result<OwnedFd, Errno> {
    let fd = open(to, SocketType::STREAM, None)?;
    carry(&fd);
    match connect(&fd, to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(fd),
        Err(error) => Err(error),
    }
}

/// Settings of a stream that is relayed: segments are the sender's to shape, a peer that vanished is found
/// out in the end, and until it is [complete] a close is a reset, also that of a process which ends.
pub(super) fn carry(fd: &OwnedFd) {
    // Without them a relay works as well.
    set_tcp_nodelay(fd, true).ok();
    set_socket_keepalive(fd, true).ok();
    set_socket_linger(fd, Some(Duration::ZERO)).ok();
}

/// All was said to a stream, its end too: what is on its way arrives although the stream is closed.
pub(super) fn complete(fd: &OwnedFd) {
    set_socket_linger(fd, None).ok();
}

/// A connected datagram socket.
pub(super) fn connect_datagrams(to: &SocketAddr) -> Result<OwnedFd, Errno> {
    let fd = open(to, SocketType::DGRAM, None)?;
    connect(&fd, to)?;
    if talks_to_itself(&fd) { Err(Errno::CONNREFUSED) } else { Ok(fd) }
}

/// Whether a connected socket has become its own peer: of the machine's own address, a free port can be the one
/// that the kernel chooses for the socket itself. Nobody serves there.
pub(super) fn talks_to_itself(fd: &OwnedFd) -> bool {
    match (getsockname(fd), getpeername(fd)) {
        (Ok(own), Ok(Some(peer))) => own == peer,
        _ => false,
    }
}

/// A listening stream socket.
pub(super) fn listen_at(addr: &SocketAddr) -> Result<OwnedFd, Errno> {
    let fd = bound(addr, SocketType::STREAM)?;
    listen(&fd, BACKLOG)?;
    Ok(fd)
}

/// A bound datagram socket.
pub(super) fn receive_at(addr: &SocketAddr) -> Result<OwnedFd, Errno> {
    let fd = bound(addr, SocketType::DGRAM)?;
    if addr.ip().is_unspecified() {
        // Answers are to come from the address that was asked.
        sys::tell_destinations(&fd, addr.is_ipv4())
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::NOBUFS))?;
    }
    Ok(fd)
}

fn bound(addr: &SocketAddr, kind: SocketType) -> Result<OwnedFd, Errno> {
    let fd = open(addr, kind, None)?;
    if kind == SocketType::STREAM {
        // Connections of a run before may still be in TIME-WAIT. With datagrams it would share the port.
        set_socket_reuseaddr(&fd, true)?;
    }
    if addr.is_ipv6() {
        set_ipv6_v6only(&fd, true)?;
    }
    bind(&fd, addr)?;
    Ok(fd)
}

/// A socket for echo requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PingKind {
    /// The kernel fills identifier and checksum, and hands over replies to this socket only.
    Datagram,
    /// The kernel hands over all messages from there, over IPv4 with their IP header.
    Raw,
}

/// A connected socket for echo requests, of the kind that this process may have.
pub(super) fn connect_ping(to: IpAddr) -> Result<(OwnedFd, PingKind), Errno> {
    let to = SocketAddr::new(to, 0);
    let protocol = if to.is_ipv4() { ipproto::ICMP } else { ipproto::ICMPV6 };
    let (fd, kind) = match open(&to, SocketType::DGRAM, Some(protocol)) {
        Ok(fd) => (fd, PingKind::Datagram),
        Err(Errno::ACCESS | Errno::PERM | Errno::PROTONOSUPPORT) => {
            (open(&to, SocketType::RAW, Some(protocol))?, PingKind::Raw)
        }
        Err(error) => return Err(error),
    };
    connect(&fd, &to)?;
    Ok((fd, kind))
}

/// Closes a stream so that its peer sees a reset.
pub(super) fn reset(fd: OwnedFd) {
    set_socket_linger(&fd, Some(Duration::ZERO)).ok();
    drop(fd);
}

/// What the failure of a connect means to the flow that asked for it.
pub(super) fn verdict(error: Errno) -> Verdict {
    match error {
        Errno::CONNREFUSED | Errno::CONNRESET => Verdict::Reset,
        Errno::TIMEDOUT => Verdict::Drop,
        error => Verdict::Unreachable(unreachability(error)),
    }
}

/// What an error means to who wants to get there. What this process lacks looks like a host that doesn't
/// answer.
pub(super) fn unreachability(error: Errno) -> Unreachability {
    match error {
        Errno::CONNREFUSED => Unreachability::Port,
        Errno::NETUNREACH | Errno::NETDOWN | Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT => {
            Unreachability::Network
        }
        Errno::ACCESS | Errno::PERM => Unreachability::Prohibited,
        _ => Unreachability::Host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn a_socket_that_is_its_own_peer_is_known() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let any: SocketAddr = any.parse().unwrap();
            let itself = open(&any, SocketType::STREAM, None).unwrap();
            bind(&itself, &any).unwrap();
            let at = SocketAddr::try_from(getsockname(&itself).unwrap()).unwrap();
            assert!(!talks_to_itself(&itself));
            // Both ends open at once: it connects.
            assert!(matches!(connect(&itself, &at), Ok(()) | Err(Errno::INPROGRESS)));
            assert!(talks_to_itself(&itself));
            let server = UdpSocket::bind(any).unwrap();
            assert!(!talks_to_itself(&connect_datagrams(&server.local_addr().unwrap()).unwrap()));
        }
    }
}
