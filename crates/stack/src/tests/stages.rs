//! What a stream socket is to its user beside its connection, as the kernel has it (connect(2), shutdown(2)): what
//! `tools/differ` has found.

use super::*;
use crate::{OptionName, Shutdown, SocketOption};

const NOW: Instant = Instant::ZERO;

/// A host to itself, and a stream socket there that was refused over the loopback and has not been told.
fn refused(local: Option<&str>) -> (Stack, SocketId) {
    let mut stack = lonely();
    let id = stream(&mut stack, addr("127.0.0.1:81"));
    if let Some(local) = local {
        stack.bind(id, addr(local)).unwrap();
    }
    assert_eq!(stack.connect(NOW, id, addr("127.0.0.1:81")), Err(Error::InProgress));
    (stack, id)
}

/// Another, with a listener at port 80 and a connection to it whose socket has not been told either.
fn open() -> (Stack, SocketId, SocketId) {
    let mut stack = lonely();
    let listener = stream(&mut stack, addr("0.0.0.0:80"));
    stack.bind(listener, addr("0.0.0.0:80")).unwrap();
    stack.listen(NOW, listener, 5).unwrap();
    let client = stream(&mut stack, addr("127.0.0.1:80"));
    assert_eq!(stack.connect(NOW, client, addr("127.0.0.1:80")), Err(Error::InProgress));
    (stack, listener, client)
}

#[test]
fn connect_looks_at_the_socket_before_the_address() {
    let (mut stack, listener, client) = open();
    assert_eq!(stack.connect_again(NOW, listener), Some(Err(Error::IsConnected)));
    assert_eq!(stack.connect_again(NOW, client), Some(Ok(())));
    assert_eq!(stack.connect(NOW, client, addr("[::1]:80")), Err(Error::IsConnected));
    let (mut stack, id) = refused(None);
    assert_eq!(stack.connect(NOW, id, addr("[::1]:80")), Err(Error::ConnectionRefused));
    assert_eq!(stack.connect_again(NOW, id), None);
    assert_eq!(stack.connect(NOW, id, addr("[::1]:80")), Err(Error::AddressFamily));
}

#[test]
fn after_a_failure_that_was_told_elsewhere_connect_says_that_it_was_given_up() {
    let (mut stack, id) = refused(None);
    assert_eq!(send(&mut stack, NOW, id, b"x"), Err(Error::ConnectionRefused));
    assert_eq!(send(&mut stack, NOW, id, b"x"), Err(Error::BrokenPipe));
    assert_eq!(recv(&mut stack, NOW, id), Ok(Vec::new()), "the end of a stream");
    assert_eq!(stack.connect(NOW, id, addr("127.0.0.1:81")), Err(Error::ConnectionAborted));
    assert_eq!(recv(&mut stack, NOW, id), Err(Error::NotConnected));
}

#[test]
fn who_waits_takes_what_connect_has_to_say() {
    let (mut stack, listener, client) = open();
    assert_eq!(stack.connect_outcome(NOW, client), Ok(()));
    assert_eq!(stack.connect_outcome(NOW, client), Ok(()), "for another that waits");
    assert_eq!(stack.connect(NOW, client, addr("127.0.0.1:80")), Err(Error::IsConnected));
    for (peer, result) in [("127.0.0.1:80", Ok(())), ("127.0.0.1:81", Err(Error::ConnectionRefused))] {
        let id = stream(&mut stack, addr(peer));
        assert_eq!(stack.connect(NOW, id, addr("127.0.0.1:81")), Err(Error::InProgress));
        assert_eq!(stack.connect_outcome(NOW, id), Err(Error::ConnectionRefused));
        assert_eq!(stack.connect_outcome(NOW, id), Err(Error::ConnectionAborted), "for another that waits");
        assert_eq!(stack.connect(NOW, id, addr(peer)), Err(Error::InProgress));
        assert_eq!(stack.connect_outcome(NOW, id), result);
    }
    stack.close(NOW, listener).unwrap();
    assert_eq!(stack.connect_outcome(NOW, listener), Err(Error::BadSocket));
}

#[test]
fn who_waits_hears_of_a_shutdown() {
    let (mut stack, id) = refused(None);
    assert_eq!(stack.shutdown(NOW, id, Shutdown::Write), Err(Error::NotConnected));
    assert_eq!(stack.connect_outcome(NOW, id), Err(Error::ConnectionRefused));
    assert_eq!(stack.connect(NOW, id, addr("127.0.0.1:81")), Err(Error::InProgress));
    let mut pair = Pair::new();
    let near = stream(&mut pair.a, addr("10.0.0.2:80"));
    assert_eq!(pair.a.connect(pair.now, near, addr("10.0.0.2:80")), Err(Error::InProgress));
    assert_eq!(pair.a.connect_outcome(pair.now, near), Err(Error::WouldBlock));
    pair.a.shutdown(pair.now, near, Shutdown::Both).unwrap();
    assert_eq!(pair.a.connect_outcome(pair.now, near), Err(Error::ConnectionReset));
}

#[test]
fn who_shuts_down_has_been_told_that_it_is_open() {
    let (mut stack, _, client) = open();
    stack.shutdown(NOW, client, Shutdown::Write).unwrap();
    assert_eq!(stack.connect(NOW, client, addr("127.0.0.1:80")), Err(Error::IsConnected));
}

#[test]
fn who_shuts_down_what_was_refused_never_hears_of_it() {
    let (mut stack, id) = refused(None);
    assert_eq!(stack.shutdown(NOW, id, Shutdown::Write), Err(Error::NotConnected));
    assert_eq!(stack.connect(NOW, id, addr("127.0.0.1:81")), Err(Error::InvalidArgument));
    stack.disconnect(NOW, id).unwrap();
    assert_eq!(stack.take_error(id), Some(Error::ConnectionRefused), "still pending");
    assert_eq!(stack.connect(NOW, id, addr("127.0.0.1:81")), Err(Error::InProgress));
}

#[test]
fn a_socket_that_is_shut_down_first_connects_so() {
    let (mut stack, listener, _) = open();
    let id = stream(&mut stack, addr("127.0.0.1:80"));
    let idle = Readiness::WRITABLE | HANGUP;
    assert_eq!(stack.readiness(id), idle);
    assert_eq!(stack.shutdown(NOW, id, Shutdown::Write), Err(Error::NotConnected));
    assert_eq!(stack.readiness(id), idle);
    assert_eq!(stack.shutdown(NOW, id, Shutdown::Read), Err(Error::NotConnected));
    assert_eq!(stack.readiness(id), idle | Readiness::READABLE);
    assert_eq!(recv(&mut stack, NOW, id), Ok(Vec::new()));
    assert_eq!(stack.connect(NOW, id, addr("127.0.0.1:80")), Err(Error::InProgress));
    assert_eq!(stack.readiness(id), idle | Readiness::READABLE);
    assert_eq!(send(&mut stack, NOW, id, b"x"), Err(Error::BrokenPipe));
    assert_eq!(recv(&mut stack, NOW, id), Ok(Vec::new()));
    // The peer hears of it when it is said again.
    stack.accept(NOW, listener).unwrap();
    let (server, _) = stack.accept(NOW, listener).unwrap();
    assert_eq!(recv(&mut stack, NOW, server), Err(Error::WouldBlock));
    stack.shutdown(NOW, id, Shutdown::Write).unwrap();
    assert_eq!(recv(&mut stack, NOW, server), Ok(Vec::new()));
    // A disconnect forgets it.
    stack.disconnect(NOW, id).unwrap();
    assert_eq!(stack.take_error(id), Some(Error::ConnectionReset));
    assert_eq!(stack.readiness(id), idle);
}

#[test]
fn a_connection_to_itself_hears_that_it_was_shut_down_before() {
    let mut stack = lonely();
    let id = stream(&mut stack, addr("127.0.0.1:9"));
    stack.bind(id, addr("127.0.0.1:9")).unwrap();
    assert_eq!(stack.shutdown(NOW, id, Shutdown::Write), Err(Error::NotConnected));
    assert_eq!(stack.connect(NOW, id, addr("127.0.0.1:9")), Err(Error::InProgress));
    assert_eq!(recv(&mut stack, NOW, id), Ok(Vec::new()));
}

#[test]
fn a_disconnect_leaves_an_error() {
    let (mut stack, id) = refused(None);
    stack.disconnect(NOW, id).unwrap();
    assert!(stack.readiness(id).contains(Readiness::ERROR));
    assert_eq!(recv(&mut stack, NOW, id), Err(Error::ConnectionRefused));
    assert_eq!(recv(&mut stack, NOW, id), Err(Error::NotConnected));
    let (mut stack, _, client) = open();
    stack.disconnect(NOW, client).unwrap();
    assert_eq!(stack.take_error(client), Some(Error::ConnectionReset));
    // A listener had no connection, and what is begun anew forgets.
    let (mut stack, listener, client) = open();
    stack.disconnect(NOW, listener).unwrap();
    assert_eq!(stack.take_error(listener), None);
    stack.disconnect(NOW, client).unwrap();
    stack.listen(NOW, listener, 1).unwrap();
    assert_eq!(stack.connect(NOW, client, addr("127.0.0.1:80")), Err(Error::InProgress));
    assert_eq!(stack.readiness(client), Readiness::WRITABLE);
}

#[test]
fn a_port_that_was_picked_shows_after_a_refusal_and_is_held_no_more() {
    let (mut stack, id) = refused(None);
    let told = stack.local_addr(id).unwrap();
    assert_eq!(told.ip_addr(), addr("127.0.0.1:0").ip_addr());
    assert_eq!(stack.connect(NOW, id, addr("127.0.0.1:81")), Err(Error::ConnectionRefused));
    assert_eq!(stack.local_addr(id), Ok(SockAddr::UNSPECIFIED_V4.with_port(told.port)));
    let other = stream(&mut stack, told);
    stack.bind(other, told).unwrap();
    stack.bind(id, addr("127.0.0.1:7")).unwrap();
    assert_eq!(stack.local_addr(id), Ok(addr("127.0.0.1:7")));
}

#[test]
fn a_socket_can_be_bound_before_it_is_told_of_a_refusal() {
    let (mut stack, id) = refused(None);
    stack.bind(id, addr("127.0.0.1:7")).unwrap();
    assert_eq!(stack.bind(id, addr("127.0.0.1:8")), Err(Error::InvalidArgument));
    assert_eq!(stack.connect(NOW, id, addr("127.0.0.1:81")), Err(Error::ConnectionRefused));
    assert_eq!(stack.local_addr(id), Ok(addr("127.0.0.1:7")));
    let other = stream(&mut stack, addr("127.0.0.1:7"));
    assert_eq!(stack.bind(other, addr("127.0.0.1:7")), Err(Error::AddrInUse));
    stack.close(NOW, id).unwrap();
    stack.bind(other, addr("127.0.0.1:7")).unwrap();
}

#[test]
fn what_was_named_stays() {
    // The port: held for one address while it is a connection's, for all when it is none.
    let (mut stack, id) = refused(Some("0.0.0.0:7"));
    assert_eq!(stack.bind(id, addr("127.0.0.1:8")), Err(Error::InvalidArgument));
    let other = stream(&mut stack, addr("127.0.0.2:7"));
    stack.disconnect(NOW, id).unwrap();
    assert_eq!(stack.local_addr(id), Ok(addr("0.0.0.0:7")));
    assert_eq!(stack.bind(other, addr("127.0.0.2:7")), Err(Error::AddrInUse));
    // The address.
    let (mut stack, id) = refused(Some("127.0.0.2:0"));
    let port = stack.local_addr(id).unwrap().port;
    stack.disconnect(NOW, id).unwrap();
    assert_eq!(stack.local_addr(id), Ok(addr("127.0.0.2:0").with_port(port)));
    stack.bind(id, addr("127.0.0.1:8")).unwrap();
    // That of IPv4, on an IPv6 socket.
    let mut stack = lonely();
    let id = stream(&mut stack, addr("[::1]:7"));
    stack.bind(id, addr("0.0.0.0:7")).unwrap();
    stack.disconnect(NOW, id).unwrap();
    assert_eq!(stack.local_addr(id), Ok(addr("0.0.0.0:7")));
    // What was picked for a socket that has done nothing since, or that listened.
    let mut stack = lonely();
    let id = stream(&mut stack, addr("0.0.0.0:0"));
    stack.bind(id, addr("0.0.0.0:0")).unwrap();
    stack.disconnect(NOW, id).unwrap();
    assert_eq!(stack.bind(id, addr("0.0.0.0:8")), Err(Error::InvalidArgument));
    stack.listen(NOW, id, 1).unwrap();
    stack.disconnect(NOW, id).unwrap();
    stack.bind(id, addr("0.0.0.0:8")).unwrap();
}

#[test]
fn a_socket_whose_connection_is_over_may_become_ipv6_only() {
    let mut stack = lonely();
    let id = stream(&mut stack, addr("[::1]:81"));
    let only = SocketOption::V6Only(true);
    assert_eq!(stack.connect(NOW, id, addr("[::1]:81")), Err(Error::InProgress));
    stack.set_option(NOW, id, only).unwrap();
    assert_eq!(stack.get_option(id, OptionName::V6Only), Ok(only));
    stack.bind(id, addr("[::1]:7")).unwrap();
    assert_eq!(stack.set_option(NOW, id, only), Err(Error::InvalidArgument));
}

#[test]
fn a_port_that_was_named_is_its_sockets_beyond_time_wait() {
    let mut pair = Pair::new();
    pair.listener("10.0.0.2:80", 5);
    let client = stream(&mut pair.a, addr("10.0.0.1:7"));
    pair.a.bind(client, addr("10.0.0.1:7")).unwrap();
    let _ = pair.a.connect(pair.now, client, addr("10.0.0.2:80"));
    pair.cable();
    let server = pair.b.sockets.iter().map(|(key, _)| SocketId(key)).last().unwrap();
    pair.a.shutdown(pair.now, client, Shutdown::Write).unwrap();
    pair.cable();
    pair.b.shutdown(pair.now, server, Shutdown::Write).unwrap();
    pair.cable();
    assert_eq!((state(&pair.a, client), pair.a.io.time_wait.len()), (TcpState::Closed, 1));
    pair.pass(Duration::from_secs(61));
    assert_eq!(pair.a.io.time_wait.len(), 0);
    let other = stream(&mut pair.a, addr("10.0.0.1:7"));
    assert_eq!(pair.a.bind(other, addr("10.0.0.1:7")), Err(Error::AddrInUse));
    pair.a.close(pair.now, client).unwrap();
    pair.a.bind(other, addr("10.0.0.1:7")).unwrap();
}

#[test]
fn a_connection_shares_its_port_as_its_socket_says_now() {
    let (mut stack, _, client) = open();
    let local = stack.local_addr(client).unwrap();
    let other = stream(&mut stack, local);
    for id in [client, other] {
        assert_eq!(stack.bind(other, local), Err(Error::AddrInUse));
        stack.set_option(NOW, id, SocketOption::ReuseAddr(true)).unwrap();
    }
    stack.bind(other, local).unwrap();
}

#[test]
fn a_listener_that_was_shut_down_before_accepts_what_is_shut_down() {
    let mut stack = lonely();
    let listener = stream(&mut stack, addr("127.0.0.1:80"));
    stack.bind(listener, addr("127.0.0.1:80")).unwrap();
    assert_eq!(stack.shutdown(NOW, listener, Shutdown::Both), Err(Error::NotConnected));
    stack.listen(NOW, listener, 5).unwrap();
    let client = stream(&mut stack, addr("127.0.0.1:80"));
    assert_eq!(stack.connect(NOW, client, addr("127.0.0.1:80")), Err(Error::InProgress));
    assert_eq!(recv(&mut stack, NOW, client), Ok(Vec::new()));
    let (server, _) = stack.accept(NOW, listener).unwrap();
    assert_eq!(send(&mut stack, NOW, server, b"x"), Err(Error::BrokenPipe));
    assert_eq!(recv(&mut stack, NOW, server), Ok(Vec::new()));
}

#[test]
fn an_inquiry_counts_to_the_urgent_byte() {
    let (mut stack, listener, client) = open();
    let (server, _) = stack.accept(NOW, listener).unwrap();
    let mut chunks = [Chunk::copy_from(b"abc")].into();
    stack.send(NOW, server, &mut chunks, SendFlags { oob: true, ..SendFlags::default() }).unwrap();
    send(&mut stack, NOW, server, b"d").unwrap();
    assert_eq!((stack.recv_inquired(client), stack.recv_queued(client)), (2, 4));
    assert_eq!(recv(&mut stack, NOW, client).unwrap(), b"ab");
    assert_eq!(stack.recv_inquired(client), 0);
    stack.set_option(NOW, client, SocketOption::OobInline(true)).unwrap();
    assert_eq!(stack.recv_inquired(client), 2);
}

#[test]
fn nothing_urgent_is_said_before_not_connected() {
    let urgent = RecvFlags { oob: true, ..RecvFlags::default() };
    let mut stack = lonely();
    let id = stream(&mut stack, addr("127.0.0.1:81"));
    assert_eq!(stack.recv(NOW, id, 1, urgent), Err(Error::InvalidArgument));
    let (mut stack, listener, _) = open();
    assert_eq!(stack.recv(NOW, listener, 1, urgent), Err(Error::NotConnected));
}

#[test]
fn who_wants_no_bytes_is_told_why_there_are_none() {
    let (mut stack, listener, client) = open();
    let nothing = |stack: &mut Stack, id| stack.recv(NOW, id, 0, RecvFlags::default());
    assert_eq!(nothing(&mut stack, client), Err(Error::WouldBlock));
    let (server, _) = stack.accept(NOW, listener).unwrap();
    send(&mut stack, NOW, server, b"x").unwrap();
    assert!(nothing(&mut stack, client).unwrap().is_empty());
    let (mut stack, id) = refused(None);
    assert_eq!(nothing(&mut stack, id), Err(Error::ConnectionRefused));
}

#[test]
fn of_ipv4_the_unspecified_address_is_the_one_a_socket_is_bound_to() {
    let mut stack = lonely();
    for kind in [SocketType::Stream, SocketType::Datagram] {
        let id = stack.socket(Domain::Inet, kind, Owner::default()).unwrap();
        stack.bind(id, addr("127.0.0.2:7")).unwrap();
        let _ = stack.connect(NOW, id, addr("0.0.0.0:7"));
        assert_eq!(stack.peer_addr(id), Ok(addr("127.0.0.2:7")), "{kind:?}");
    }
}
