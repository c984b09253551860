//! Pairs of UDP sockets on the loopback interface, whose ends can show an error queue: marks on what they carry,
//! a filter for messages that only ask, and entries in the queue.

use super::check;
use rustix::net::{RecvFlags, SocketFlags, bind, connect, getsockname, recv, socket_with};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Where both ends are: one of the addresses of the loopback interface, with ports that nobody else uses.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 83, 75, 89);
/// The type of service of messages that no end gets to see.
const UNSEEN: u8 = 0xfc;
/// Values of the time to live that are marks, 1 and up.
const TTLS: u16 = 251;
/// How many marks there are. Each is a time to live and a type of service below [`UNSEEN`].
pub(crate) const MARKS: u16 = TTLS * 16;

/// `SOF_TIMESTAMPING_TX_SOFTWARE`: of this message, the time of sending. `SOF_TIMESTAMPING_SOFTWARE |
/// SOF_TIMESTAMPING_OPT_TSONLY`: such times are reported, without the message.
const TIME_OF_SENDING: u32 = 1 << 1;
const REPORT_TIMES: libc::c_int = 1 << 4 | 1 << 11;
/// `SKF_NET_OFF`: where a filter finds the IP header.
const NETWORK_HEADER: u32 = (-0x10_0000_i32) as u32;

const HEADER: usize = size_of::<libc::cmsghdr>();
/// A control message with an int.
const CONTROL: usize = HEADER + 8;

/// Two control messages, aligned as their headers are.
#[repr(C, align(8))]
struct Controls([u8; 2 * CONTROL]);

/// Two sockets that are connected to each other; neither blocks. The second one's messages have marks, and it
/// can be shown errors.
pub(crate) fn loopback_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let make = || -> io::Result<OwnedFd> {
        let end = socket_with(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::DGRAM,
            flags,
            Some(rustix::net::ipproto::UDP),
        )?;
        attach_filter(&end)?;
        bind(&end, &SocketAddr::V4(SocketAddrV4::new(ADDRESS, 0)))?;
        Ok(end)
    };
    let (ours, theirs) = (make()?, make()?);
    connect(&ours, &getsockname(&theirs)?)?;
    connect(&theirs, &getsockname(&ours)?)?;
    for end in [&ours, &theirs] {
        // Before it was connected anybody could send to it.
        while recv(end, &mut [0_u8; 1], RecvFlags::DONTWAIT).is_ok() {}
    }
    set_int(&theirs, libc::IPPROTO_IP, libc::IP_RECVTTL, 1)?;
    set_int(&theirs, libc::IPPROTO_IP, libc::IP_RECVTOS, 1)?;
    set_int(&theirs, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, REPORT_TIMES)?;
    Ok((ours, theirs))
}

/// Whether a socket is an end of such a pair.
pub(crate) fn is_of_loopback_pair(fd: impl AsFd) -> bool {
    let local = getsockname(fd).ok().and_then(|name| SocketAddr::try_from(name).ok());
    local.is_some_and(|local| local.ip() == ADDRESS)
}

/// Sends a message with a mark.
pub(crate) fn send_marked(fd: impl AsFd, bytes: &[u8], mark: u16) -> io::Result<()> {
    let ttl = (mark % TTLS + 1).into();
    let tos = (mark / TTLS % 16 * 4).into();
    send_with(fd, bytes, [(libc::IPPROTO_IP, libc::IP_TTL, ttl), (libc::IPPROTO_IP, libc::IP_TOS, tos)])
}

/// Receives a message without waiting: its true length and its mark. Its first bytes are in `buffer` then.
pub(crate) fn receive_marked(fd: impl AsFd, buffer: &mut [u8], peek: bool) -> io::Result<(usize, u16)> {
    let mut controls = Controls([0; 2 * CONTROL]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all of its fields are numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = controls.0.as_mut_ptr().cast();
    message.msg_controllen = controls.0.len() as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC | if peek { libc::MSG_PEEK } else { 0 };
    // SAFETY: the message points to memory of this function and of `buffer`, with the lengths it states.
    let len =
        check(unsafe { libc::recvmsg(fd.as_fd().as_raw_fd(), &raw mut message, flags) } as libc::c_long)?;
    let (mut ttl, mut tos) = (1_u16, 0_u16);
    for control in controls.0.chunks_exact(CONTROL) {
        let word = |at: usize| control[at..].first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
        match (word(HEADER - 8), word(HEADER - 4)) {
            (libc::IPPROTO_IP, libc::IP_TTL) => ttl = word(HEADER) as u8 as u16,
            // One byte, unlike the message that asks for it.
            (libc::IPPROTO_IP, libc::IP_TOS) => tos = control[HEADER].into(),
            _ => {}
        }
    }
    Ok((len as usize, ttl.saturating_sub(1) + tos / 4 * TTLS))
}

/// Puts an entry in an end's error queue: the time at which a message that nobody gets was sent.
pub(crate) fn show_error(theirs: impl AsFd) -> io::Result<()> {
    let time = TIME_OF_SENDING as i32;
    let controls =
        [(libc::SOL_SOCKET, libc::SO_TIMESTAMPING, time), (libc::IPPROTO_IP, libc::IP_TOS, UNSEEN.into())];
    send_with(theirs, &[], controls)
}

/// Takes an entry out of an end's error queue; false when there was none.
pub(crate) fn hide_error(theirs: impl AsFd) -> bool {
    recv(theirs, &mut [0_u8; 1], RecvFlags::ERRQUEUE | RecvFlags::DONTWAIT).is_ok()
}

/// Whether the other end of the pair is closed. An end that is open doesn't notice that it was asked.
pub(crate) fn peer_is_closed(fd: impl AsFd) -> bool {
    let fd = fd.as_fd();
    let ttl = (libc::IPPROTO_IP, libc::IP_TTL, 1);
    let sent = send_with(fd, &[], [ttl, (libc::IPPROTO_IP, libc::IP_TOS, UNSEEN.into())]);
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    let pending = rustix::net::sockopt::socket_error(fd);
    sent.err().is_some_and(refused) || matches!(pending, Ok(Err(rustix::io::Errno::CONNREFUSED)))
}

/// Has a socket throw away what is not to be seen.
fn attach_filter(fd: &OwnedFd) -> io::Result<()> {
    let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        // The type of service is the second byte of the IP header.
        step(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, NETWORK_HEADER + 1),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, UNSEEN.into()),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let len = size_of_val(&filter) as libc::socklen_t;
    let (fd, level, name) = (fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER);
    // SAFETY: the kernel reads a struct sock_fprog of that length, and copies the program that it points to.
    let result = unsafe { libc::setsockopt(fd, level, name, (&raw const filter).cast(), len) };
    check(result.into()).map(drop)
}

fn set_int(fd: &OwnedFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the kernel reads one int at `value`.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), len) };
    check(result.into()).map(drop)
}

/// Sends a message with two control messages: level, type, value.
fn send_with(fd: impl AsFd, bytes: &[u8], with: [(i32, i32, i32); 2]) -> io::Result<()> {
    let mut controls = Controls([0; 2 * CONTROL]);
    for (control, (level, kind, value)) in controls.0.chunks_exact_mut(CONTROL).zip(with) {
        control[..size_of::<usize>()].copy_from_slice(&(HEADER + 4).to_ne_bytes());
        control[HEADER - 8..HEADER - 4].copy_from_slice(&level.to_ne_bytes());
        control[HEADER - 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
        control[HEADER..HEADER + 4].copy_from_slice(&value.to_ne_bytes());
    }
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all of its fields are numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = controls.0.as_mut_ptr().cast();
    message.msg_controllen = controls.0.len() as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the message points to memory of this function and of `bytes`, with the lengths it states, and the
    // kernel writes to none of it.
    check(unsafe { libc::sendmsg(fd.as_fd().as_raw_fd(), &raw const message, flags) } as libc::c_long)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::net::UdpSocket;

    fn shown(fd: &OwnedFd) -> PollFlags {
        let mut ready = [PollFd::new(fd, PollFlags::IN)];
        poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
        ready[0].revents()
    }

    #[test]
    fn an_end_shows_errors_and_nothing_else() {
        let (ours, theirs) = loopback_pair().unwrap();
        assert_eq!(shown(&theirs), PollFlags::empty());
        show_error(&theirs).unwrap();
        show_error(&theirs).unwrap();
        assert_eq!((shown(&theirs), shown(&ours)), (PollFlags::ERR, PollFlags::empty()));
        assert!(hide_error(&theirs) && shown(&theirs) == PollFlags::ERR);
        assert!(hide_error(&theirs) && shown(&theirs) == PollFlags::empty() && !hide_error(&theirs));
        // What a program sends leaves no time of sending.
        rustix::net::send(&theirs, b"hello", rustix::net::SendFlags::empty()).unwrap();
        assert_eq!((shown(&theirs), shown(&ours)), (PollFlags::empty(), PollFlags::IN));
    }

    #[test]
    fn every_mark_arrives_and_a_close_is_found() {
        let (ours, theirs) = loopback_pair().unwrap();
        let mut buffer = [0; 2];
        for mark in 0..MARKS {
            send_marked(&ours, b"abc", mark).unwrap();
            assert!(!peer_is_closed(&ours));
            assert_eq!(receive_marked(&theirs, &mut buffer, true).unwrap(), (3, mark));
            assert_eq!(receive_marked(&theirs, &mut buffer, false).unwrap(), (3, mark));
            assert!(receive_marked(&theirs, &mut buffer, false).is_err());
        }
        drop(theirs);
        assert!(peer_is_closed(&ours) && peer_is_closed(&ours));
    }

    #[test]
    fn nobody_else_can_send_to_an_end() {
        let (ours, theirs) = loopback_pair().unwrap();
        assert!(is_of_loopback_pair(&ours) && is_of_loopback_pair(&theirs));
        for end in [&ours, &theirs] {
            let to = SocketAddr::try_from(getsockname(end).unwrap()).unwrap();
            for from in ["127.0.0.1:0", "127.83.75.89:0", "0.0.0.0:0"] {
                UdpSocket::bind(from).unwrap().send_to(b"intruder", to).unwrap();
            }
            let taken = UdpSocket::bind(to).unwrap_err();
            assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
            assert_eq!(shown(end), PollFlags::empty());
        }
    }
}
