//! Names of sockets, as the kernel gives and refuses them (bind(2), connect(2), ip(7), ipv6(7)): what
//! `tools/differ` has found.

use super::*;
use crate::{OptionName, Shutdown, SocketOption};
use sockeye_packet::Payload;

fn host() -> Stack {
    Stack::new(Config::default(), [5; 32])
}

fn open(stack: &mut Stack, domain: Domain, kind: SocketType) -> SocketId {
    stack.socket(domain, kind, Owner::default()).unwrap()
}

#[test]
fn of_ipv4_a_wrong_address_is_told_before_a_second_bind() {
    let mut stack = host();
    let v4 = open(&mut stack, Domain::Inet, SocketType::Datagram);
    stack.bind(v4, addr("127.0.0.1:7")).unwrap();
    assert_eq!(stack.bind(v4, addr("192.0.2.1:7")), Err(Error::AddrNotAvailable));
    assert_eq!(stack.bind(v4, addr("127.0.0.1:8")), Err(Error::InvalidArgument));
    let v6 = open(&mut stack, Domain::Inet6, SocketType::Datagram);
    stack.bind(v6, addr("[::1]:7")).unwrap();
    assert_eq!(stack.bind(v6, addr("[2001:db8::1]:7")), Err(Error::InvalidArgument));
}

#[test]
fn who_is_bound_to_one_address_of_ipv6_speaks_ipv6_only() {
    let mut stack = host();
    let id = open(&mut stack, Domain::Inet6, SocketType::Datagram);
    stack.bind(id, addr("[::1]:7")).unwrap();
    assert_eq!(stack.get_option(id, OptionName::V6Only), Ok(SocketOption::V6Only(true)));
    assert_eq!(stack.connect(Instant::ZERO, id, addr("127.0.0.1:9")), Err(Error::NetworkUnreachable));
}

#[test]
fn from_an_ipv4_address_there_is_no_way_to_ipv6() {
    for kind in [SocketType::Datagram, SocketType::Stream] {
        let mut stack = host();
        let id = open(&mut stack, Domain::Inet6, kind);
        stack.bind(id, addr("127.0.0.1:7")).unwrap();
        assert_eq!(stack.connect(Instant::ZERO, id, addr("[::1]:9")), Err(Error::AddressFamily));
        // That there is no route is told first.
        let nowhere = stack.connect(Instant::ZERO, id, addr("[2001:db8::1]:9"));
        assert_eq!(nowhere, Err(Error::NetworkUnreachable));
        // The unspecified address is this host, as far as it can be reached from there.
        let begun = stack.connect(Instant::ZERO, id, addr("[::]:9"));
        assert!(matches!(begun, Ok(()) | Err(Error::InProgress)), "{begun:?}");
    }
}

#[test]
fn a_connected_datagram_socket_holds_its_port_for_one_address() {
    let mut stack = host();
    let wide = open(&mut stack, Domain::Inet, SocketType::Datagram);
    stack.bind(wide, addr("0.0.0.0:7")).unwrap();
    let other = open(&mut stack, Domain::Inet, SocketType::Datagram);
    assert_eq!(stack.bind(other, addr("127.0.0.2:7")), Err(Error::AddrInUse));
    stack.connect(Instant::ZERO, wide, addr("127.0.0.1:9")).unwrap();
    stack.bind(other, addr("127.0.0.2:7")).unwrap();
    stack.close(Instant::ZERO, other).unwrap();
    // Without a peer it has all addresses again.
    stack.disconnect(Instant::ZERO, wide).unwrap();
    let other = open(&mut stack, Domain::Inet, SocketType::Datagram);
    assert_eq!(stack.bind(other, addr("127.0.0.2:7")), Err(Error::AddrInUse));
    stack.close(Instant::ZERO, wide).unwrap();
    stack.bind(other, addr("127.0.0.2:7")).unwrap();
}

#[test]
fn the_unspecified_address_of_ipv4_is_the_one_that_the_socket_is_bound_to() {
    for kind in [SocketType::Datagram, SocketType::Stream] {
        for domain in [Domain::Inet, Domain::Inet6] {
            let mut stack = host();
            let id = open(&mut stack, domain, kind);
            stack.bind(id, addr("127.0.0.2:7")).unwrap();
            let begun = stack.connect(Instant::ZERO, id, addr("0.0.0.0:9"));
            assert!(matches!(begun, Ok(()) | Err(Error::InProgress)), "{begun:?}");
            assert_eq!(stack.sockets.get(id.0).unwrap().peer, Some(addr("127.0.0.2:9")));
        }
    }
}

#[test]
fn a_datagram_socket_keeps_its_address_from_peer_to_peer_and_its_peer_when_a_connect_fails() {
    let mut stack = host();
    let id = open(&mut stack, Domain::Inet6, SocketType::Datagram);
    stack.connect(Instant::ZERO, id, addr("[::1]:7")).unwrap();
    let other = open(&mut stack, Domain::Inet, SocketType::Datagram);
    let port = stack.local_addr(id).unwrap().port;
    assert_eq!(stack.bind(other, addr("0.0.0.0:0").with_port(port)), Err(Error::AddrInUse));
    assert_eq!(stack.connect(Instant::ZERO, id, addr("[2001:db8::1]:9")), Err(Error::NetworkUnreachable));
    assert_eq!(stack.peer_addr(id), Ok(addr("[::1]:7")));
    // Over IPv4 it sends, and hears nothing: its address is one of IPv6.
    stack.connect(Instant::ZERO, id, addr("0.0.0.0:0").with_port(port)).unwrap();
    assert_eq!(stack.local_addr(id), Ok(addr("[::1]:0").with_port(port)));
    let one = Payload::from(sockeye_packet::Chunk::copy_from(b"x"));
    assert_eq!(stack.send_to(Instant::ZERO, id, one, None, SendFlags::default()), Ok(1));
    assert!(!stack.readiness(id).contains(crate::Readiness::READABLE));
    stack.connect(Instant::ZERO, id, addr("[::1]:9")).unwrap();
    stack.disconnect(Instant::ZERO, id).unwrap();
    assert_eq!(stack.local_addr(id), Ok(addr("[::]:0")));
}

#[test]
fn what_was_bound_to_all_of_ipv4_by_a_socket_of_ipv6_stays_at_one_address() {
    let mut stack = host();
    let id = open(&mut stack, Domain::Inet6, SocketType::Datagram);
    stack.bind(id, addr("0.0.0.0:7")).unwrap();
    stack.connect(Instant::ZERO, id, addr("127.0.0.1:9")).unwrap();
    stack.disconnect(Instant::ZERO, id).unwrap();
    assert_eq!(stack.local_addr(id), Ok(addr("127.0.0.1:7")));
    let other = open(&mut stack, Domain::Inet, SocketType::Datagram);
    stack.bind(other, addr("127.0.0.2:7")).unwrap();
    stack.close(Instant::ZERO, id).unwrap();
    let third = open(&mut stack, Domain::Inet, SocketType::Datagram);
    stack.bind(third, addr("127.0.0.1:7")).unwrap();
}

#[test]
fn a_disconnect_lets_go_of_the_interface() {
    let mut stack = host();
    for kind in [SocketType::Datagram, SocketType::Raw(sockeye_wire::Protocol::UDP)] {
        let id = open(&mut stack, Domain::Inet, kind);
        let option = SocketOption::BindToNic(Some(sockeye_packet::NicId::LOOPBACK));
        stack.set_option(Instant::ZERO, id, option).unwrap();
        stack.connect(Instant::ZERO, id, addr("127.0.0.1:7")).unwrap();
        stack.disconnect(Instant::ZERO, id).unwrap();
        assert_eq!(stack.get_option(id, OptionName::BindToNic), Ok(SocketOption::BindToNic(None)));
    }
}

#[test]
fn a_connect_that_fails_leaves_a_port_and_a_disconnect_takes_it() {
    let mut stack = host();
    let id = open(&mut stack, Domain::Inet, SocketType::Datagram);
    assert_eq!(stack.connect(Instant::ZERO, id, addr("192.0.2.1:9")), Err(Error::NetworkUnreachable));
    assert_ne!(stack.local_addr(id).unwrap().port, 0);
    assert_eq!(stack.bind(id, addr("127.0.0.1:7")), Err(Error::InvalidArgument));
    stack.disconnect(Instant::ZERO, id).unwrap();
    stack.bind(id, addr("127.0.0.1:7")).unwrap();
}

#[test]
fn what_is_wrong_with_a_send_is_told_before_what_is_wrong_with_the_socket() {
    let mut stack = host();
    let id = open(&mut stack, Domain::Inet, SocketType::Datagram);
    assert_eq!(stack.shutdown(Instant::ZERO, id, Shutdown::Both), Err(Error::NotConnected));
    let send =
        |stack: &mut Stack, to| stack.send_to(Instant::ZERO, id, Payload::EMPTY, to, SendFlags::default());
    assert_eq!(send(&mut stack, None), Err(Error::DestinationRequired));
    assert_eq!(send(&mut stack, Some(addr("192.0.2.1:9"))), Err(Error::NetworkUnreachable));
    assert_eq!(send(&mut stack, Some(addr("127.0.0.1:9"))), Err(Error::BrokenPipe));
}

#[test]
fn a_source_of_the_other_family_is_none_also_where_any_may_be_one() {
    let mut stack = host();
    let id = open(&mut stack, Domain::Inet6, SocketType::Datagram);
    stack.set_option(Instant::ZERO, id, SocketOption::FreeBind(true)).unwrap();
    stack.connect(Instant::ZERO, id, addr("[::1]:9")).unwrap();
    let hearer = datagram(&mut stack, "127.0.0.1:9");
    let to = Some(addr("127.0.0.1:9"));
    stack.send_to(Instant::ZERO, id, Payload::EMPTY, to, SendFlags::default()).unwrap();
    let heard = stack.recv_from(Instant::ZERO, hearer, RecvFlags::default()).unwrap();
    assert_eq!(heard.from.ip_addr(), addr("127.0.0.1:0").ip_addr());
}
