//! What the calls do when all is well, and their errors.

use super::*;
use crate::host::*;
use crate::messages::{sockeye_recvmsg, sockeye_sendmsg};
use crate::multiple::*;
use crate::names::*;
use crate::network::*;
use crate::options::*;
use std::mem::zeroed;

#[test]
fn a_stream_carries_bytes_both_ways_and_ends() {
    let lab = Lab::new("", "");
    let (near, far) = lab.connected();
    assert_eq!(send(lab.me, near, b"hello, ", 0), Ok(7));
    assert_eq!(send(lab.me, near, b"world", 0), Ok(5));
    assert_eq!(recv(lab.web, far, 12, libc::MSG_WAITALL | libc::MSG_PEEK).unwrap(), b"hello, world");
    assert_eq!(recv(lab.web, far, 12, libc::MSG_WAITALL).unwrap(), b"hello, world");
    let mut waiting: c_int = -1;
    assert_eq!(send(lab.web, far, b"four", 0), Ok(4));
    // SAFETY: it points to an int.
    ok(unsafe { sockeye_ioctl(lab.me, near, libc::FIONREAD, (&raw mut waiting).cast()) });
    assert_eq!(waiting, 4);
    // SAFETY: the host is there.
    ok(unsafe { sockeye_shutdown(lab.me, near, libc::SHUT_WR) });
    assert_eq!(recv(lab.web, far, 9, 0).unwrap(), b"");
    assert_eq!(send(lab.me, near, b"x", 0), Err(Errno::EPIPE), "and no SIGPIPE");
    assert_eq!(poll(lab.web, far, libc::POLLIN | libc::POLLRDHUP, -1), (1, libc::POLLIN | libc::POLLRDHUP));
}

#[test]
fn more_than_any_buffer_holds_is_sent_by_one_call() {
    let lab = Lab::new("", "");
    let (near, far) = lab.connected();
    let data: Vec<u8> = (0..20_000_000_u32).map(|at| (at * 7) as u8).collect();
    std::thread::scope(|scope| {
        let (lab, data) = (&lab, &data);
        scope.spawn(move || {
            let halves = data.split_at(7_000_001);
            let parts = [halves.0, halves.1]
                .map(|half| libc::iovec { iov_base: half.as_ptr().cast_mut().cast(), iov_len: half.len() });
            // SAFETY: the buffers are as long as they say.
            let sent = unsafe { crate::data::sockeye_writev(lab.me, near, parts.as_ptr(), 2) };
            assert_eq!(sent, 20_000_000);
        });
        assert!(recv(lab.web, far, 20_000_000, libc::MSG_WAITALL).unwrap() == *data);
    });
}

#[test]
fn stale_and_foreign_descriptors_are_none() {
    let lab = Lab::new("", "");
    let fd = socket(lab.me, libc::SOCK_DGRAM);
    assert!(fd >= 1 << 20, "the kernel has no such descriptor");
    assert_eq!(send(lab.web, fd, b"x", 0), Err(Errno::EBADF), "that of another host");
    // SAFETY: the host is there.
    let close = || result(unsafe { sockeye_close(lab.me, fd) });
    assert_eq!((close(), close()), (Ok(0), Err(Errno::EBADF)));
    let other = socket(lab.me, libc::SOCK_DGRAM);
    assert!(other != fd && recv(lab.me, fd, 1, libc::MSG_DONTWAIT) == Err(Errno::EBADF));
    assert_eq!(recv(lab.me, 0, 1, 0), Err(Errno::EBADF));
    assert_eq!(poll(lab.me, fd, libc::POLLIN, -1), (1, libc::POLLNVAL));
    assert_eq!(poll(lab.me, -1, libc::POLLIN, 0), (0, 0));
}

#[test]
fn addresses_and_options_are_as_long_as_their_room() {
    let lab = Lab::new("subnet 192.0.2.0/24", "");
    let (near, _far) = lab.connected();
    let mut peer = blank();
    let mut len = 6;
    // SAFETY: there is more room than that.
    ok(unsafe { sockeye_getpeername(lab.me, near, (&raw mut peer).cast(), &raw mut len) });
    assert_eq!((len, peer.sin_port.to_be(), peer.sin_addr.s_addr & 0xffff), (16, 80, 0xc0));
    let mut kind: c_int = 0;
    let mut len = 4;
    let option = (libc::SOL_SOCKET, libc::SO_TYPE);
    // SAFETY: the room is an int's.
    let read =
        unsafe { sockeye_getsockopt(lab.me, near, option.0, option.1, (&raw mut kind).cast(), &raw mut len) };
    assert_eq!((read, kind, len), (0, libc::SOCK_STREAM, 4));
    assert_eq!(set(lab.me, near, libc::SOL_SOCKET, 9999, &[0; 4]), Err(Errno::ENOPROTOOPT));
    assert_eq!(set(lab.me, near, libc::SOL_SOCKET, libc::SO_KEEPALIVE, &[0; 2]), Err(Errno::EINVAL));
}

#[test]
fn a_message_has_an_address_and_control_messages() {
    let lab = Lab::new("", "");
    let (server, client) = (socket(lab.web, libc::SOCK_DGRAM), socket(lab.me, libc::SOCK_DGRAM));
    let to = address(lab.web, 53);
    let mut any = blank();
    (any.sin_family, any.sin_port) = (libc::AF_INET as u16, to.sin_port);
    bind(lab.web, server, &any).unwrap();
    set(lab.web, server, libc::IPPROTO_IP, libc::IP_PKTINFO, &1_i32.to_ne_bytes()).unwrap();
    let data = *b"where is ftp?";
    // SAFETY: plain numbers and pointers, all of which may be zero.
    let mut message: libc::msghdr = unsafe { zeroed() };
    let mut part = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    (message.msg_name, message.msg_namelen) = ((&raw const to).cast_mut().cast(), 16);
    // SAFETY: everything is as long as it says.
    assert_eq!(unsafe { sockeye_sendmsg(lab.me, client, &raw const message, 0) }, 13);
    let (mut buffer, mut control, mut from) = ([0_u8; 5], [0_u8; 64], blank());
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: 5 };
    message.msg_iov = &raw mut part;
    message.msg_name = (&raw mut from).cast();
    (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), 64);
    // SAFETY: everything is as long as it says.
    assert_eq!(unsafe { sockeye_recvmsg(lab.web, server, &raw mut message, 0) }, 5);
    assert_eq!((&buffer, message.msg_flags), (b"where", libc::MSG_TRUNC));
    assert_eq!(from.sin_addr.s_addr, address(lab.me, 0).sin_addr.s_addr);
    assert_eq!(message.msg_controllen, 32);
    assert_eq!(control[8..16], [libc::IPPROTO_IP, libc::IP_PKTINFO].map(i32::to_ne_bytes).concat());
    assert_eq!(control[24..28], to.sin_addr.s_addr.to_ne_bytes());
    message.msg_control = null_mut();
    // SAFETY: as before.
    let none = unsafe { sockeye_recvmsg(lab.web, server, &raw mut message, libc::MSG_DONTWAIT) };
    assert_eq!(result(none), Err(Errno::EAGAIN));
}

#[test]
fn several_messages_go_by_one_call() {
    let lab = Lab::new("", "");
    let (server, client) = (socket(lab.web, libc::SOCK_DGRAM), socket(lab.me, libc::SOCK_DGRAM));
    bind(lab.web, server, &address(lab.web, 53)).unwrap();
    connect(lab.me, client, &address(lab.web, 53)).unwrap();
    let mut buffers = [*b"one", *b"two"];
    let mut parts =
        buffers.each_mut().map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: 3 });
    let mut messages = parts.each_mut().map(|part| {
        // SAFETY: plain numbers and pointers, all of which may be zero.
        let mut message: libc::mmsghdr = unsafe { zeroed() };
        (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (&raw mut *part, 1);
        message
    });
    // SAFETY: everything is as long as it says.
    assert_eq!(unsafe { sockeye_sendmmsg(lab.me, client, messages.as_mut_ptr(), 2, 0) }, 2);
    assert_eq!(messages.map(|message| message.msg_len), [3, 3]);
    let flags = libc::MSG_WAITFORONE;
    // SAFETY: as before.
    let received = unsafe { sockeye_recvmmsg(lab.web, server, messages.as_mut_ptr(), 2, flags, null_mut()) };
    assert_eq!((received, buffers), (2, [*b"one", *b"two"]));
    // SAFETY: as before.
    let received = unsafe {
        sockeye_recvmmsg(lab.web, server, messages.as_mut_ptr(), 2, libc::MSG_DONTWAIT, null_mut())
    };
    assert_eq!(result(received), Err(Errno::EAGAIN));
}

#[test]
fn names_are_the_networks() {
    let lab = Lab::new("", "");
    let find = |node: &CStr, service: &CStr, family| {
        // SAFETY: plain numbers and pointers, all of which may be zero.
        let mut hints: libc::addrinfo = unsafe { zeroed() };
        (hints.ai_family, hints.ai_socktype) = (family, libc::SOCK_STREAM);
        hints.ai_flags = libc::AI_CANONNAME;
        let mut list = null_mut();
        // SAFETY: strings that end with a zero, and places for structures.
        let failed = unsafe {
            sockeye_getaddrinfo(lab.me, node.as_ptr(), service.as_ptr(), &raw const hints, &raw mut list)
        };
        (failed, list)
    };
    let (failed, list) = find(c"web", c"7", libc::AF_UNSPEC);
    assert_eq!(failed, 0);
    // SAFETY: the list is there until it is freed, and the first address is one of IPv4.
    unsafe {
        let (first, second) = (*list, *(*list).ai_next);
        let address: libc::sockaddr_in = first.ai_addr.cast::<libc::sockaddr_in>().read_unaligned();
        assert_eq!(address.sin_addr.s_addr, super::address(lab.web, 0).sin_addr.s_addr);
        assert_eq!((address.sin_port.to_be(), first.ai_protocol), (7, libc::IPPROTO_TCP));
        assert_eq!(CStr::from_ptr(first.ai_canonname), c"web");
        assert_eq!((second.ai_family, second.ai_next.is_null()), (libc::AF_INET6, true));
        sockeye_freeaddrinfo(list);
        sockeye_freeaddrinfo(null_mut());
    }
    assert_eq!(find(c"nobody", c"7", libc::AF_UNSPEC).0, libc::EAI_NONAME);
    assert_eq!(find(c"web", c"no-such-service", libc::AF_UNSPEC).0, libc::EAI_SERVICE);
    assert_eq!(find(c"web", c"7", libc::AF_UNIX).0, libc::EAI_FAMILY);
    let mut name = [0_u8; 4];
    // SAFETY: the buffer is as long as it says.
    unsafe {
        assert_eq!(sockeye_gethostname(lab.web, name.as_mut_ptr().cast(), 4), 0);
        assert_eq!(&name, b"web\0");
        assert_eq!(
            result(sockeye_gethostname(lab.web, name.as_mut_ptr().cast(), 3)),
            Err(Errno(libc::ENAMETOOLONG))
        );
    }
}

#[test]
fn what_is_wrong_with_a_description_is_said() {
    let lab = Lab::new("", "");
    let network = |settings: &CStr| {
        // SAFETY: a string that ends with a zero.
        let made = unsafe { sockeye_network_new(settings.as_ptr()) };
        assert!(made.is_null());
        (errno(), last_error())
    };
    assert_eq!(network(c"mtu 9").0, Errno::EINVAL);
    assert!(network(c"mtu").1.contains("\"mtu\" needs a value"));
    assert!(network(c"seed x").1.contains("\"x\" is no value for \"seed\""));
    assert!(network(c"colour blue").1.contains("\"colour\""));
    assert!(network(c"subnet 10.0.0.0").1.contains("10.0.0.0"));
    let host = |name: &CStr, address: &CStr, link: &CStr| {
        // SAFETY: strings that end with a zero.
        let made = unsafe { sockeye_host_new(lab.network, name.as_ptr(), address.as_ptr(), link.as_ptr()) };
        assert!(made.is_null());
        (errno(), last_error())
    };
    assert_eq!(host(c"WEB", c"", c"").0, Errno::EEXIST);
    assert_eq!(host(c"x", c"1.2.3", c"").1, "\"1.2.3\" is no IP address");
    assert!(host(c"x", c"", c"delay soon").1.starts_with("bad link \"delay soon\""));
    assert_eq!(host(c"x", c"192.0.2.1", c"").0, Errno::EINVAL);
    // SAFETY: the host is there, and the string ends with a zero.
    let link = unsafe { sockeye_host_set_link(lab.me, null(), c"loss 200%".as_ptr()) };
    assert_eq!(result(link), Err(Errno::EINVAL));
}

#[test]
fn anybody_has_raw_sockets() {
    let lab = Lab::new("", "");
    // SAFETY: the host is there.
    let raw = ok(unsafe { sockeye_socket(lab.me, libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP) });
    // SAFETY: the host is there.
    let packets = unsafe { sockeye_socket(lab.me, libc::AF_PACKET, libc::SOCK_RAW, 0) };
    assert_eq!(result(packets), Err(Errno::EAFNOSUPPORT));
    connect(lab.me, raw, &address(lab.web, 0)).unwrap();
    // An echo request, with its checksum.
    let request = [8, 0, 0xf7, 0xfd, 0, 1, 0, 1];
    assert_eq!(send(lab.me, raw, &request, 0), Ok(8));
    let packet = recv(lab.me, raw, 100, 0).unwrap();
    assert_eq!((packet.len(), packet[20], &packet[24..]), (28, 0, &request[4..]));
}

#[test]
fn a_filter_is_attached_from_where_it_lies() {
    let lab = Lab::new("", "");
    let (server, client) = (socket(lab.web, libc::SOCK_DGRAM), socket(lab.me, libc::SOCK_DGRAM));
    bind(lab.web, server, &address(lab.web, 53)).unwrap();
    connect(lab.me, client, &address(lab.web, 53)).unwrap();
    // Keeps the UDP header and two bytes.
    let steps = [libc::sock_filter { code: 6, jt: 0, jf: 0, k: 10 }];
    let program = libc::sock_fprog { len: 1, filter: steps.as_ptr().cast_mut() };
    let attach = |len| {
        let value = (&raw const program).cast();
        // SAFETY: it is as long as it says, and has as many steps.
        result(unsafe {
            sockeye_setsockopt(lab.web, server, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, value, len)
        })
    };
    assert_eq!((attach(16), attach(4)), (Ok(0), Err(Errno::EINVAL)));
    assert_eq!(send(lab.me, client, b"hello", 0), Ok(5));
    assert_eq!(recv(lab.web, server, 9, 0).unwrap(), b"he");
}

#[test]
fn a_removed_host_is_gone_for_its_peers() {
    let lab = Lab::new("", "");
    let (near, far) = lab.connected();
    // SAFETY: the host is there.
    assert_eq!(unsafe { sockeye_host_remove(lab.web) }, 0);
    assert_eq!(recv(lab.me, near, 1, 0), Err(Errno::ECONNRESET));
    assert_eq!(recv(lab.web, far, 1, 0), Err(Errno::ECONNRESET));
    assert_eq!(poll(lab.web, far, libc::POLLIN, -1).0, 1);
    // SAFETY: the host is there.
    let none = unsafe { sockeye_socket(lab.web, libc::AF_INET, libc::SOCK_STREAM, 0) };
    assert_eq!(result(none), Err(Errno::ENETUNREACH));
}
