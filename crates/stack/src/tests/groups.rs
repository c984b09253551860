//! Datagrams to groups and to everybody: who hears them.

use super::*;
use crate::{FilterMode, Membership, OptionName, SocketOption};
use alloc::vec;
use core::net::{IpAddr, Ipv4Addr};
use sockeye_packet::Payload;

fn of(group: &str) -> Membership {
    Membership { nic: Some(LINK), ..Membership::of(ip(group)) }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn send_to(stack: &mut Stack, now: Instant, id: SocketId, data: &[u8], to: &str) -> Result<usize, Error> {
    let payload = Payload::from(Chunk::copy_from(data));
    stack.send_to(now, id, payload, Some(addr(to)), SendFlags::default())
}

/// A datagram socket that shares `at` with others.
fn shared(stack: &mut Stack, now: Instant, at: &str) -> SocketId {
    let id = stack.socket(domain(addr(at)), SocketType::Datagram, Owner::default()).unwrap();
    stack.set_option(now, id, SocketOption::ReuseAddr(true)).unwrap();
    stack.bind(id, addr(at)).unwrap();
    id
}

/// What a socket has heard since the last look.
fn heard(stack: &mut Stack, now: Instant, id: SocketId) -> Vec<Vec<u8>> {
    core::iter::from_fn(|| stack.recv_from(now, id, RecvFlags::default()).ok())
        .map(|datagram| datagram.payload.to_vec())
        .collect()
}

const GROUPS: [(&str, &str, &str, &str); 2] = [
    ("10.0.0.1:0", "0.0.0.0:5000", "239.7.7.7", "239.7.7.7:5000"),
    ("[fd77::1]:0", "[::]:5000", "ff05::7", "[ff05::7]:5000"),
];

#[test]
fn all_sockets_in_a_group_hear_it_and_hosts_outside_do_not() {
    for (from, at, group, to) in GROUPS {
        let mut pair = Pair::new();
        let now = pair.now;
        let sender = datagram(&mut pair.a, from);
        let hearers = [(); 3].map(|()| shared(&mut pair.b, now, at));
        send_to(&mut pair.a, now, sender, b"early", to).unwrap();
        pair.cable();
        for id in &hearers[..2] {
            pair.b.join_group(now, *id, &of(group)).unwrap();
        }
        // IP_MULTICAST_ALL: by default a socket hears what its host is in.
        send_to(&mut pair.a, now, sender, b"one", to).unwrap();
        pair.cable();
        for id in hearers {
            assert_eq!(heard(&mut pair.b, now, id), [b"one"]);
        }
        let all = if group.contains(':') { SocketOption::MulticastAllV6 } else { SocketOption::MulticastAll };
        pair.b.set_option(now, hearers[2], all(false)).unwrap();
        send_to(&mut pair.a, now, sender, b"two", to).unwrap();
        pair.cable();
        assert_eq!(heard(&mut pair.b, now, hearers[1]), [b"two"]);
        assert_eq!(heard(&mut pair.b, now, hearers[2]), Vec::<Vec<u8>>::new());
        for id in hearers {
            pair.b.close(now, id).unwrap();
        }
        pair.pass(Duration::from_secs(10));
        assert!(pair.b.io.multicast.is_idle() && pair.b.io.group_settings.is_empty());
        assert_eq!(pair.b.memory_used(), 0);
    }
}

#[test]
fn a_socket_bound_to_the_group_hears_nothing_else() {
    let mut pair = Pair::new();
    let now = pair.now;
    let sender = datagram(&mut pair.a, "10.0.0.1:0");
    let id = shared(&mut pair.b, now, "239.7.7.7:5000");
    let any = shared(&mut pair.b, now, "0.0.0.0:5000");
    for group in ["239.7.7.7", "239.7.7.8"] {
        pair.b.join_group(now, any, &of(group)).unwrap();
    }
    pair.b.join_group(now, id, &of("239.7.7.7")).unwrap();
    for (data, to) in [(b"7", "239.7.7.7:5000"), (b"8", "239.7.7.8:5000"), (b"u", "10.0.0.2:5000")] {
        send_to(&mut pair.a, now, sender, data, to).unwrap();
    }
    pair.cable();
    assert_eq!(heard(&mut pair.b, now, id), [b"7"]);
    assert_eq!(heard(&mut pair.b, now, any), [b"7", b"8", b"u"]);
    // Connected, it hears its peer alone, and keeps its name.
    let other = datagram(&mut pair.a, "10.0.0.1:0");
    let peer = pair.a.local_addr(other).unwrap();
    pair.b.connect(now, id, peer).unwrap();
    assert_eq!(pair.b.local_addr(id), Ok(addr("239.7.7.7:5000")));
    send_to(&mut pair.a, now, sender, b"stranger", "239.7.7.7:5000").unwrap();
    send_to(&mut pair.a, now, other, b"peer", "239.7.7.7:5000").unwrap();
    pair.cable();
    assert_eq!(heard(&mut pair.b, now, id), [b"peer"]);
    assert_eq!(heard(&mut pair.b, now, any), [b"stranger".to_vec(), b"peer".to_vec()]);
    // What it sends comes from an address of the host.
    assert_eq!(send(&mut pair.b, now, id, b"back"), Ok(4));
    pair.cable();
    let got = pair.a.recv_from(now, other, RecvFlags::default()).unwrap();
    assert_eq!(got.from, addr("10.0.0.2:5000"));
}

#[test]
fn sources_are_chosen_per_socket() {
    for (from, at, group, to) in GROUPS {
        let mut pair = Pair::new();
        let now = pair.now;
        let sender = datagram(&mut pair.a, from);
        let source = pair.a.local_addr(sender).unwrap().ip_addr();
        let stranger = if source.is_ipv4() { ip("10.0.0.9") } else { ip("fd77::9") };
        let [only, not, any, other] = [(); 4].map(|()| shared(&mut pair.b, now, at));
        pair.b.join_source(now, only, &of(group), source).unwrap();
        pair.b.join_group(now, not, &of(group)).unwrap();
        pair.b.block_source(now, not, &of(group), source).unwrap();
        pair.b.join_group(now, any, &of(group)).unwrap();
        pair.b.join_source(now, other, &of(group), stranger).unwrap();
        let hears = |pair: &mut Pair, expected: [bool; 4]| {
            send_to(&mut pair.a, now, sender, b"!", to).unwrap();
            pair.cable();
            let found = [only, not, any, other].map(|id| !heard(&mut pair.b, now, id).is_empty());
            assert_eq!(found, expected);
        };
        hears(&mut pair, [true, false, true, false]);
        pair.b.unblock_source(now, not, &of(group), source).unwrap();
        pair.b.set_source_filter(now, other, &of(group), FilterMode::Exclude, &[stranger]).unwrap();
        pair.b.set_source_filter(now, any, &of(group), FilterMode::Exclude, &[source]).unwrap();
        hears(&mut pair, [true, true, false, true]);
        assert_eq!(pair.b.source_filter(other, &of(group)), Ok((FilterMode::Exclude, vec![stranger])));
        // The last source of a list of those that are heard ends the membership.
        pair.b.leave_source(now, only, &of(group), source).unwrap();
        assert_eq!(pair.b.source_filter(only, &of(group)), Err(Error::AddrNotAvailable));
        assert_eq!(pair.b.leave_group(now, only, &of(group)), Err(Error::AddrNotAvailable));
    }
}

/// The errors of Linux's net/ipv4/igmp.c.
#[test]
fn calls_that_make_no_sense_are_refused() {
    let mut pair = Pair::new();
    let now = pair.now;
    let id = datagram(&mut pair.b, "0.0.0.0:1");
    let group = of("239.7.7.7");
    let source = ip("10.0.0.1");
    let tcp = stream(&mut pair.b, addr("10.0.0.2:1"));
    assert_eq!(pair.b.join_group(now, tcp, &group), Err(Error::Protocol));
    assert_eq!(pair.b.join_group(now, id, &of("10.0.0.7")), Err(Error::InvalidArgument));
    assert_eq!(pair.b.join_group(now, id, &of("ff05::7")), Err(Error::InvalidArgument));
    let elsewhere = Membership { nic: Some(NicId(9)), ..group };
    assert_eq!(pair.b.join_group(now, id, &elsewhere), Err(Error::NoDevice));
    let by_address = Membership { nic: None, address: Some(ip("10.0.0.7")), ..group };
    assert_eq!(pair.b.join_group(now, id, &by_address), Err(Error::NoDevice));
    assert_eq!(pair.b.block_source(now, id, &group, source), Err(Error::InvalidArgument));
    assert_eq!(pair.b.leave_group(now, id, &group), Err(Error::AddrNotAvailable));
    let by_address = Membership { nic: None, address: Some(ip("10.0.0.2")), ..group };
    assert_eq!(pair.b.join_group(now, id, &by_address), Ok(()));
    assert_eq!(pair.b.join_group(now, id, &group), Err(Error::AddrInUse));
    assert_eq!(pair.b.unblock_source(now, id, &group, source), Err(Error::AddrNotAvailable));
    assert_eq!(pair.b.block_source(now, id, &group, source), Ok(()));
    assert_eq!(pair.b.block_source(now, id, &group, source), Err(Error::AddrNotAvailable));
    assert_eq!(pair.b.join_source(now, id, &group, source), Err(Error::InvalidArgument));
    let sources: Vec<IpAddr> = (0..11).map(|last| IpAddr::from([10, 0, 1, last])).collect();
    let set = |pair: &mut Pair, count| {
        pair.b.set_source_filter(now, id, &group, FilterMode::Exclude, &sources[..count])
    };
    assert_eq!(set(&mut pair, 11), Err(Error::NoBufs));
    assert_eq!(set(&mut pair, 10), Ok(()));
    assert_eq!(pair.b.block_source(now, id, &group, source), Err(Error::NoBufs));
    for last in 1..20 {
        pair.b.join_group(now, id, &of(&alloc::format!("239.7.8.{last}"))).unwrap();
    }
    assert_eq!(pair.b.join_group(now, id, &of("239.7.8.20")), Err(Error::NoBufs));
    assert_eq!(pair.b.leave_group(now, id, &Membership::of(ip("239.7.7.7"))), Ok(()));
}

#[test]
fn a_host_hears_itself_in_groups_unless_it_does_not_want_to() {
    for (from, at, group, to) in GROUPS {
        let mut pair = Pair::new();
        let now = pair.now;
        let (sender, id) = (datagram(&mut pair.a, from), shared(&mut pair.a, now, at));
        send_to(&mut pair.a, now, sender, b"not in it", to).unwrap();
        pair.a.join_group(now, id, &of(group)).unwrap();
        send_to(&mut pair.a, now, sender, &[7; 5000], to).unwrap();
        let got = pair.a.recv_from(now, id, RecvFlags::default()).unwrap();
        assert_eq!((got.payload.len(), got.nic, got.ttl), (5000, LINK, 1));
        assert_eq!(got.from, pair.a.local_addr(sender).unwrap());
        let v6 = group.contains(':');
        let quiet = if v6 { SocketOption::MulticastLoopV6 } else { SocketOption::MulticastLoop };
        pair.a.set_option(now, sender, quiet(false)).unwrap();
        send_to(&mut pair.a, now, sender, b"quiet", to).unwrap();
        assert_eq!(heard(&mut pair.a, now, id), Vec::<Vec<u8>>::new());
        // A time to live of 0 keeps a datagram on the host.
        pair.cable();
        let ttl = if v6 { SocketOption::MulticastHops } else { SocketOption::MulticastTtl };
        pair.a.set_option(now, sender, quiet(true)).unwrap();
        pair.a.set_option(now, sender, ttl(Some(0))).unwrap();
        send_to(&mut pair.a, now, sender, b"here", to).unwrap();
        assert_eq!(heard(&mut pair.a, now, id), [b"here"]);
        let mut batch = Batch::new();
        pair.a.poll_transmit(now, LINK, &mut batch);
        assert!(batch.is_empty());
        pair.a.set_option(now, sender, ttl(Some(9))).unwrap();
        send_to(&mut pair.a, now, sender, b"far", to).unwrap();
        pair.a.poll_transmit(now, LINK, &mut batch);
        let far = batch.pop().unwrap();
        assert_eq!(far.head[if v6 { 7 } else { 8 }], 9);
    }
}

#[test]
fn the_interface_is_the_sockets_choice() {
    let mut stack = lonely();
    let now = Instant::ZERO;
    for (last, name) in [(1, "eth0"), (2, "eth1")] {
        let nic = stack.add_nic(NicConfig::memory(name, 1500)).unwrap();
        stack.add_address(nic, [10, 0, last, 1].into(), 24).unwrap();
        stack.add_address(nic, [0xfd77, 0, 0, u16::from(last), 0, 0, 0, 1].into(), 64).unwrap();
    }
    let id = stack.socket(Domain::Inet6, SocketType::Datagram, Owner::default()).unwrap();
    let leaves_by = |stack: &mut Stack, to: &str| {
        send_to(stack, now, id, b"?", to).unwrap();
        let mut found = Vec::new();
        for nic in [NicId(1), NicId(2)] {
            let mut batch = Batch::new();
            stack.poll_transmit(now, nic, &mut batch);
            found.extend(batch.drain().map(|packet| {
                let layout = sockeye_wire::IpLayout::parse(&packet.head).unwrap();
                (nic.0, alloc::string::ToString::to_string(&layout.src))
            }));
        }
        found
    };
    let nic = |nic, address| SocketOption::MulticastNic { nic, address };
    let of = |number: u16, text: &str| vec![(number, alloc::string::String::from(text))];
    assert_eq!(leaves_by(&mut stack, "239.1.1.1:9"), of(1, "10.0.1.1"));
    stack.set_option(now, id, nic(None, Ipv4Addr::new(10, 0, 2, 1))).unwrap();
    assert_eq!(leaves_by(&mut stack, "239.1.1.1:9"), of(2, "10.0.2.1"));
    let chosen = SocketOption::MulticastNic { nic: Some(NicId(2)), address: Ipv4Addr::new(10, 0, 2, 1) };
    assert_eq!(stack.get_option(id, OptionName::MulticastNic), Ok(chosen));
    stack.set_option(now, id, nic(Some(NicId(2)), Ipv4Addr::UNSPECIFIED)).unwrap();
    assert_eq!(leaves_by(&mut stack, "239.1.1.1:9"), of(2, "10.0.2.1"));
    stack.set_option(now, id, nic(None, Ipv4Addr::UNSPECIFIED)).unwrap();
    assert_eq!(leaves_by(&mut stack, "239.1.1.1:9"), of(1, "10.0.1.1"));
    let unknown = nic(None, Ipv4Addr::new(10, 0, 3, 1));
    assert_eq!(stack.set_option(now, id, unknown), Err(Error::AddrNotAvailable));
    assert_eq!(leaves_by(&mut stack, "[ff05::1]:9"), of(1, "fd77:0:0:1::1"));
    stack.set_option(now, id, SocketOption::MulticastNicV6(Some(NicId(2)))).unwrap();
    assert_eq!(leaves_by(&mut stack, "[ff05::1]:9"), of(2, "fd77:0:0:2::1"));
    // A scope says more than the option.
    assert_eq!(leaves_by(&mut stack, "[ff02::1%2]:9"), of(1, "fd77:0:0:1::1"));
    let none = SocketOption::MulticastNicV6(Some(NicId(9)));
    assert_eq!(stack.set_option(now, id, none), Err(Error::NoDevice));
}

#[test]
fn the_loopback_interface_carries_groups_too() {
    let mut stack = lonely();
    let now = Instant::ZERO;
    let (sender, id) = (datagram(&mut stack, "0.0.0.0:0"), datagram(&mut stack, "0.0.0.0:5000"));
    assert_eq!(send_to(&mut stack, now, sender, b"?", "239.1.1.1:5000"), Err(Error::NetworkUnreachable));
    let by = Membership { address: Some(ip("127.0.0.1")), ..Membership::of(ip("239.1.1.1")) };
    stack.join_group(now, id, &by).unwrap();
    let nic = SocketOption::MulticastNic { nic: None, address: Ipv4Addr::LOCALHOST };
    stack.set_option(now, sender, nic).unwrap();
    send_to(&mut stack, now, sender, b"here", "239.1.1.1:5000").unwrap();
    let got = stack.recv_from(now, id, RecvFlags::default()).unwrap();
    assert_eq!((got.from.ip_addr(), got.nic), (ip("127.0.0.1"), NicId::LOOPBACK));
    assert_eq!(stack.groups().collect::<Vec<_>>(), [(NicId::LOOPBACK, ip("239.1.1.1"), 1)]);
}

#[test]
fn a_group_is_reached_by_the_interface_of_the_source_address() {
    let mut pair = Pair::new();
    let (now, stack) = (pair.now, &mut pair.a);
    let route = crate::Route { dest: ip("0.0.0.0"), prefix: 0, gateway: None, nic: LINK, metric: 0 };
    stack.add_route(route).unwrap();
    let id = shared(stack, now, "0.0.0.0:5000");
    let by = Membership { address: Some(ip("127.1.0.1")), ..Membership::of(ip("239.1.1.1")) };
    stack.join_group(now, id, &by).unwrap();
    let sender = datagram(stack, "127.1.0.1:0");
    send_to(stack, now, sender, b"here", "239.1.1.1:5000").unwrap();
    let got = stack.recv_from(now, id, RecvFlags::default()).unwrap();
    assert_eq!((got.from.ip_addr(), got.nic), (ip("127.1.0.1"), NicId::LOOPBACK));
}

#[test]
fn broadcasts_are_for_every_socket_of_the_port_here_too() {
    for to in ["255.255.255.255:5000", "10.0.0.255:5000"] {
        let mut pair = Pair::new();
        let now = pair.now;
        let route = crate::Route { dest: ip("0.0.0.0"), prefix: 0, gateway: None, nic: LINK, metric: 0 };
        pair.a.add_route(route).unwrap();
        let sender = datagram(&mut pair.a, "10.0.0.1:0");
        assert_eq!(send_to(&mut pair.a, now, sender, b"?", to), Err(Error::PermissionDenied));
        pair.a.set_option(now, sender, SocketOption::Broadcast(true)).unwrap();
        let here = shared(&mut pair.a, now, "0.0.0.0:5000");
        let there = [(); 3].map(|()| shared(&mut pair.b, now, "0.0.0.0:5000"));
        let exact = shared(&mut pair.b, now, "10.0.0.2:5000");
        send_to(&mut pair.a, now, sender, b"all", to).unwrap();
        pair.cable();
        assert_eq!(heard(&mut pair.a, now, here), [b"all"]);
        for id in there {
            assert_eq!(heard(&mut pair.b, now, id), [b"all"]);
        }
        assert!(heard(&mut pair.b, now, exact).is_empty());
    }
}

#[test]
fn no_connection_goes_to_a_group() {
    let mut pair = Pair::new();
    let now = pair.now;
    let id = datagram(&mut pair.b, "0.0.0.0:1");
    pair.b.join_group(now, id, &of("239.7.7.7")).unwrap();
    let listener = pair.listener("0.0.0.0:80", 5);
    let client = stream(&mut pair.a, addr("10.0.0.1:1"));
    assert!(pair.a.connect(now, client, addr("239.7.7.7:80")).is_err());
    // A SYN that goes there all the same.
    let probe = stream(&mut pair.a, addr("10.0.0.1:1"));
    let _ = pair.a.connect(now, probe, addr("10.0.0.2:80"));
    let mut batch = Batch::new();
    pair.a.poll_transmit(now, LINK, &mut batch);
    for packet in batch.iter_mut() {
        packet.head[16..20].copy_from_slice(&[239, 7, 7, 7]);
    }
    pair.b.handle_packets(now, LINK, &mut batch);
    assert_eq!(pair.b.accept(now, listener).err(), Some(Error::WouldBlock));
    assert_eq!(pair.b.io.half_open.len(), 0);
    pair.b.poll_transmit(now, LINK, &mut batch);
    assert!(batch.iter().all(|packet| packet.head[9] != 6));
}

#[test]
fn all_nodes_of_a_link_answer_echo_requests_over_ipv6() {
    let mut pair = Pair::new();
    let now = pair.now;
    let ping = pair.a.socket(Domain::Inet6, SocketType::Ping, Owner::default()).unwrap();
    let data = Payload::from(Chunk::copy_from(&[128, 0, 0, 0, 0, 0, 0, 1, 42]));
    pair.a.send_to(now, ping, data, Some(addr("[ff02::1%2]:0")), SendFlags::default()).unwrap();
    pair.cable();
    let got = pair.a.recv_from(now, ping, RecvFlags::default()).unwrap();
    assert_eq!((got.from.ip_addr(), got.payload.to_vec()[8]), (ip("fd77::2"), 42));
}
