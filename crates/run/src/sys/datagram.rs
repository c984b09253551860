//! Datagrams of sockets that are bound to all addresses of the machine: where each was sent to, and where an
//! answer comes from (`IP_PKTINFO`, RFC 3542 §6).

use super::check;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};

/// Length of a control message's header: its length, level and type.
const HEADER: usize = size_of::<libc::cmsghdr>();
/// Room for a control message with the longer of the two structures.
const CONTROL: usize = HEADER + 24;
/// Length of an IPv4 and of an IPv6 socket address.
const NAME_V4: usize = size_of::<libc::sockaddr_in>();
const NAME_V6: usize = size_of::<libc::sockaddr_in6>();

/// Control messages, aligned as their headers are.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// A datagram that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) len: usize,
    pub(crate) from: SocketAddr,
    /// The machine's address that it was sent to, if the socket tells.
    pub(crate) to: Option<IpAddr>,
}

/// From now on a socket tells where its datagrams were sent to.
pub(crate) fn tell_destinations(fd: impl AsFd, v4: bool) -> io::Result<()> {
    let (level, name) =
        if v4 { (libc::IPPROTO_IP, libc::IP_PKTINFO) } else { (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO) };
    let on: libc::c_int = 1;
    let len = size_of_val(&on) as libc::socklen_t;
    // SAFETY: the kernel reads one int at `on`.
    let result =
        unsafe { libc::setsockopt(fd.as_fd().as_raw_fd(), level, name, (&raw const on).cast(), len) };
    check(result.into()).map(drop)
}

/// Receives a datagram without waiting; its first `len` bytes are in `buffer` then. None for one of a family that
/// is no IP.
pub(crate) fn receive_datagram(
    fd: impl AsFd,
    buffer: &mut [MaybeUninit<u8>],
) -> io::Result<Option<(&[u8], Received)>> {
    let mut name = [0; NAME_V6];
    let mut control = Control([0; CONTROL]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all of its fields are numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = name.as_mut_ptr().cast();
    message.msg_namelen = NAME_V6 as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL as _;
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: the message points to memory of this function with the lengths it states.
    let len =
        check(unsafe { libc::recvmsg(fd.as_fd().as_raw_fd(), &raw mut message, flags) } as libc::c_long)?;
    let len = len as usize;
    let to = destination(&control.0[..CONTROL.min(message.msg_controllen as _)]);
    let Some(from) = decode(&name) else { return Ok(None) };
    // SAFETY: the kernel has written that many bytes, no more than there is room for: MSG_TRUNC is not asked for.
    let bytes = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast(), len) };
    Ok(Some((bytes, Received { len, from, to })))
}

/// Sends a datagram without waiting, in the name of one of the machine's addresses.
pub(crate) fn send_datagram(
    fd: impl AsFd,
    bytes: &[u8],
    to: SocketAddr,
    from: Option<IpAddr>,
) -> io::Result<()> {
    let (mut name, name_len) = encode(to);
    let mut control = Control([0; CONTROL]);
    let control_len = from.map_or(0, |from| source(&mut control.0, from));
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all of its fields are numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = name.as_mut_ptr().cast();
    message.msg_namelen = name_len as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if control_len > 0 {
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = control_len as _;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the message points to memory of this function with the lengths it states, and the kernel writes to
    // none of it.
    check(unsafe { libc::sendmsg(fd.as_fd().as_raw_fd(), &raw const message, flags) } as libc::c_long)
        .map(drop)
}

/// The local address in the first control message, if that is what it tells.
fn destination(control: &[u8]) -> Option<IpAddr> {
    let (header, data) = control.split_first_chunk::<HEADER>()?;
    let word = |at: usize| header[at..].first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
    let address: IpAddr = match (word(HEADER - 8)?, word(HEADER - 4)?) {
        // Interface, then our address, then the header's, which may be a broadcast one.
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => IpAddr::from(*data.get(4..)?.first_chunk::<4>()?),
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => IpAddr::from(*data.first_chunk::<16>()?),
        _ => return None,
    };
    Some(address).filter(|address| !address.is_multicast() && !address.is_unspecified())
}

/// Writes the control message that states a source address; returns its length.
fn source(control: &mut [u8; CONTROL], from: IpAddr) -> usize {
    let (level, kind, len) = match from {
        IpAddr::V4(v4) => {
            control[HEADER + 4..HEADER + 8].copy_from_slice(&v4.octets());
            (libc::IPPROTO_IP, libc::IP_PKTINFO, size_of::<libc::in_pktinfo>())
        }
        IpAddr::V6(v6) => {
            control[HEADER..HEADER + 16].copy_from_slice(&v6.octets());
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, size_of::<libc::in6_pktinfo>())
        }
    };
    control[..size_of::<usize>()].copy_from_slice(&(HEADER + len).to_ne_bytes());
    control[HEADER - 8..HEADER - 4].copy_from_slice(&level.to_ne_bytes());
    control[HEADER - 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
    HEADER + len.next_multiple_of(size_of::<usize>())
}

fn decode(name: &[u8; NAME_V6]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes([name[2], name[3]]);
    match i32::from(u16::from_ne_bytes([name[0], name[1]])) {
        libc::AF_INET => Some((Ipv4Addr::from(*name[4..].first_chunk::<4>()?), port).into()),
        libc::AF_INET6 => {
            let address = Ipv6Addr::from(*name[8..].first_chunk::<16>()?);
            let scope = u32::from_ne_bytes(*name[24..].first_chunk::<4>()?);
            Some(SocketAddrV6::new(address, port, 0, scope).into())
        }
        _ => None,
    }
}

fn encode(addr: SocketAddr) -> ([u8; NAME_V6], usize) {
    let mut name = [0; NAME_V6];
    let family = if addr.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    name[..2].copy_from_slice(&(family as u16).to_ne_bytes());
    name[2..4].copy_from_slice(&addr.port().to_be_bytes());
    match addr {
        SocketAddr::V4(v4) => {
            name[4..8].copy_from_slice(&v4.ip().octets());
            (name, NAME_V4)
        }
        SocketAddr::V6(v6) => {
            name[8..24].copy_from_slice(&v6.ip().octets());
            name[24..].copy_from_slice(&v6.scope_id().to_ne_bytes());
            (name, NAME_V6)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn an_answer_comes_from_where_the_question_went() {
        let cases: [(&str, &[&str]); 2] =
            [("0.0.0.0:0", &["127.0.0.1", "127.0.0.2", "127.9.9.9"]), ("[::]:0", &["::1"])];
        for (any, addresses) in cases {
            let server = UdpSocket::bind(any).unwrap();
            let port = server.local_addr().unwrap().port();
            tell_destinations(&server, any.starts_with('0')).unwrap();
            for address in addresses {
                let address: IpAddr = address.parse().unwrap();
                let local = if address.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
                let client = UdpSocket::bind(local).unwrap();
                client.send_to(b"question", (address, port)).unwrap();
                let mut buffer = [MaybeUninit::uninit(); 100];
                let (bytes, received) = receive_datagram(&server, &mut buffer).unwrap().unwrap();
                assert_eq!(bytes, b"question");
                let from = client.local_addr().unwrap();
                assert_eq!(received, Received { len: 8, from, to: Some(address) });
                send_datagram(&server, b"answer", received.from, received.to).unwrap();
                let (len, from) = client.recv_from(&mut [0; 100]).unwrap();
                assert_eq!((len, from), (6, (address, port).into()));
            }
            let mut buffer = [MaybeUninit::uninit(); 9];
            let error = receive_datagram(&server, &mut buffer).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
    }
}
