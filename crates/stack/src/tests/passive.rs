use super::solo::Solo;
use super::*;
use crate::{Counter, SocketOption, SynCookies};

fn clients(pair: &mut Pair, count: usize, to: &str) -> Vec<SocketId> {
    let ids: Vec<SocketId> = (0..count).map(|_| stream(&mut pair.a, addr(to))).collect();
    for id in &ids {
        assert_eq!(pair.a.connect(pair.now, *id, addr(to)), Err(Error::InProgress));
    }
    pair.cable();
    ids
}

#[test]
fn the_accept_queue_holds_one_more_than_the_backlog() {
    let mut pair = Pair::new();
    let listener = pair.listener("10.0.0.2:80", 2);
    let ids = clients(&mut pair, 5, "10.0.0.2:80");
    let mut accepted = 0;
    while let Ok((id, _)) = pair.b.accept(pair.now, listener) {
        assert_eq!(state(&pair.b, id), TcpState::Established);
        accepted += 1;
    }
    assert_eq!(accepted, 3);
    // The rest came by SYN cookies, of which nothing was kept: they get in with their first data.
    for id in &ids {
        send(&mut pair.a, pair.now, *id, b"data").unwrap();
    }
    pair.cable();
    while pair.b.accept(pair.now, listener).is_ok() {
        accepted += 1;
    }
    assert_eq!(accepted, 5);
    assert!(ids.iter().all(|id| state(&pair.a, *id) == TcpState::Established));
    assert_eq!(pair.b.io.half_open.len(), 0);
}

#[test]
fn a_flood_of_syns_is_answered_with_cookies() {
    let mut pair = Pair::new();
    let listener = pair.listener("10.0.0.2:80", 4);
    // SYNs of hosts that don't exist, by hand: nobody answers their SYN-ACKs.
    let lost = clients_without_answers(&mut pair, 50);
    assert!(pair.b.counters()[Counter::SyncookiesSent] >= 40);
    assert!(pair.b.io.half_open.len() <= 5);
    pair.loses = |_, _| false;
    for id in lost {
        pair.a.abort(pair.now, id).unwrap();
    }
    pair.cable();
    // A real client gets in, through a cookie.
    let cookies = pair.b.counters()[Counter::SyncookiesSent];
    pair.b.io.half_open.len();
    let client = clients(&mut pair, 1, "10.0.0.2:80")[0];
    let (server, _) = pair.b.accept(pair.now, listener).unwrap();
    assert!(pair.b.counters()[Counter::SyncookiesSent] >= cookies);
    send(&mut pair.a, pair.now, client, b"through").unwrap();
    pair.cable();
    assert_eq!(recv(&mut pair.b, pair.now, server).unwrap(), b"through");
    send(&mut pair.b, pair.now, server, &[1; 5000]).unwrap();
    pair.cable();
    assert_eq!(recv(&mut pair.a, pair.now, client).unwrap().len(), 5000);
}

/// Clients of a whose handshakes stay half-open, because SYN-ACKs get lost.
fn clients_without_answers(pair: &mut Pair, count: usize) -> Vec<SocketId> {
    pair.loses = |_, packet| packet.head[12..16] == [10, 0, 0, 2];
    let ids: Vec<SocketId> = (0..count).map(|_| stream(&mut pair.a, addr("10.0.0.2:80"))).collect();
    for id in &ids {
        let _ = pair.a.connect(pair.now, *id, addr("10.0.0.2:80"));
    }
    pair.cable();
    ids
}

/// Window scale and SACK survive a cookie when the peer uses timestamps, which hold them.
#[test]
fn a_cookie_keeps_the_options_in_its_timestamp() {
    for timestamps in [true, false] {
        let mut config = Config::default();
        config.tcp.syn_cookies = SynCookies::Always;
        config.tcp.timestamps = timestamps;
        let mut pair = Pair::with(&config, &NicConfig::memory("eth0", 1500));
        pair.now = Instant::from_millis(123_456);
        let (client, _, server) = pair.connected("10.0.0.2:80");
        assert_eq!((pair.b.counters()[Counter::SyncookiesSent], pair.b.io.half_open.len()), (1, 0));
        let info = pair.b.tcp_info(pair.now, server).unwrap();
        let shift = if timestamps { 7 } else { 0 };
        assert_eq!((info.timestamps, info.sack), (timestamps, timestamps));
        assert_eq!((info.snd_wscale, info.rcv_wscale), (shift, shift));
        assert_eq!(info.snd_mss, if timestamps { 1448 } else { 1460 });
        assert_eq!(pair.a.tcp_info(pair.now, client).unwrap().snd_wscale, shift);
        send(&mut pair.a, pair.now, client, &alloc::vec![7; 100_000]).unwrap();
        pair.cable();
        assert!(!recv(&mut pair.b, pair.now, server).unwrap().is_empty());
    }
}

#[test]
fn without_cookies_a_full_listener_drops_syns() {
    let mut config = Config::default();
    config.tcp.syn_cookies = SynCookies::Never;
    let mut pair = Pair::with(&config, &NicConfig::memory("eth0", 1500));
    pair.listener("10.0.0.2:80", 3);
    clients_without_answers(&mut pair, 20);
    assert_eq!((pair.b.io.half_open.len(), pair.b.counters()[Counter::SyncookiesSent]), (4, 0));
}

/// `TCP_DEFER_ACCEPT`: a bare acknowledgment opens nothing; data does, or the reminder at the end of the time.
#[test]
fn a_listener_may_wait_for_data() {
    let mut pair = Pair::new();
    let listener = pair.listener("10.0.0.2:80", 5);
    let wait = SocketOption::DeferAccept(Duration::from_secs(7));
    pair.b.set_option(pair.now, listener, wait).unwrap();
    let ids = clients(&mut pair, 2, "10.0.0.2:80");
    assert!(ids.iter().all(|id| state(&pair.a, *id) == TcpState::Established));
    assert_eq!(pair.b.accept(pair.now, listener), Err(Error::WouldBlock));
    send(&mut pair.a, pair.now, ids[0], b"hello").unwrap();
    pair.cable();
    let (server, _) = pair.b.accept(pair.now, listener).unwrap();
    assert_eq!(recv(&mut pair.b, pair.now, server).unwrap(), b"hello");
    // The other is silent: one SYN-ACK when the time is nearly over, whose acknowledgment is taken.
    let before = pair.crossed;
    pair.pass(Duration::from_millis(6_900));
    assert_eq!((pair.crossed - before, pair.b.io.half_open.len()), (0, 1));
    assert_eq!(pair.b.accept(pair.now, listener), Err(Error::WouldBlock));
    pair.pass(Duration::from_secs(1));
    assert!(pair.b.accept(pair.now, listener).is_ok());
}

/// As the kernel: half the room is for the young; those whose SYN-ACK was repeated give way.
#[test]
fn old_half_open_connections_give_way() {
    let mut pair = Pair::new();
    pair.listener("10.0.0.2:80", 9);
    clients_without_answers(&mut pair, 10);
    pair.loses = |_, _| true;
    pair.pass(Duration::from_millis(6_900));
    assert_eq!(pair.b.io.half_open.len(), 10);
    // The third timeout; as soon as half the room is free the usual number counts.
    pair.pass(Duration::from_secs(1));
    assert_eq!(pair.b.io.half_open.len(), 4);
}

/// What is no proper beginning of a connection changes nothing, and is answered as RFC 9293 §3.10.7.2 says.
#[test]
fn odd_segments_for_a_listener() {
    let (mut solo, _) = Solo::listening(5, |_| {});
    for (line, answer) in [
        (". 17:17(0) ack 34 win 100", Some("R 34:34(0) win 0")),
        ("F. 17:20(3) ack 34 win 100", Some("R 34:34(0) win 0")),
        ("S. 17:17(0) ack 34 win 100", Some("R 34:34(0) win 0")),
        ("R. 17:20(3) ack 34 win 100", None),
        ("R 17:17(0) win 100", None),
        ("F 17:20(3) win 100", None),
        ("SF 17:17(0) win 100", None),
        ("- 17:20(3) win 100", None),
    ] {
        assert_eq!(solo.inject(line), Vec::from_iter(answer), "{line}");
        assert_eq!(solo.stack.io.half_open.len(), 0, "{line}");
    }
}

#[test]
fn half_open_connections_are_repeated_and_dropped() {
    let mut pair = Pair::new();
    pair.listener("10.0.0.2:80", 4);
    let ids = clients_without_answers(&mut pair, 1);
    pair.a.close(pair.now, ids[0]).unwrap();
    assert_eq!(pair.b.io.half_open.len(), 1);
    let before = pair.crossed;
    pair.pass(Duration::from_secs(70));
    assert_eq!(pair.crossed - before, 5, "SYN-ACKs sent again");
    assert_eq!((pair.b.io.half_open.len(), pair.b.poll_timeout()), (0, None));
}

#[test]
fn a_lost_syn_ack_is_sent_again() {
    let mut pair = Pair::new();
    let listener = pair.listener("10.0.0.2:80", 4);
    let ids = clients_without_answers(&mut pair, 1);
    pair.loses = |_, _| false;
    pair.pass(Duration::from_millis(1100));
    assert_eq!(state(&pair.a, ids[0]), TcpState::Established);
    assert!(pair.b.accept(pair.now, listener).is_ok());
}

#[test]
fn closing_a_listener_resets_what_waits() {
    let mut pair = Pair::new();
    let listener = pair.listener("10.0.0.2:80", 4);
    let ids = clients(&mut pair, 2, "10.0.0.2:80");
    pair.b.close(pair.now, listener).unwrap();
    pair.cable();
    for id in ids {
        assert_eq!(pair.a.take_error(id), Some(Error::ConnectionReset));
    }
    assert_eq!((pair.b.connections.len(), pair.b.sockets.len(), pair.b.memory_used()), (0, 0, 0));
    // The port is free again.
    pair.listener("10.0.0.2:80", 4);
}

#[test]
fn a_port_stays_taken_while_its_connections_live() {
    let mut pair = Pair::new();
    let (client, listener, server) = pair.connected("10.0.0.2:80");
    pair.b.close(pair.now, listener).unwrap();
    let bind = |pair: &mut Pair, reuse| {
        let id = stream(&mut pair.b, addr("10.0.0.2:80"));
        pair.b.set_option(pair.now, id, SocketOption::ReuseAddr(reuse)).unwrap();
        let result = pair.b.bind(id, addr("10.0.0.2:80"));
        pair.b.close(pair.now, id).unwrap();
        result
    };
    assert_eq!(bind(&mut pair, false), Err(Error::AddrInUse));
    pair.b.close(pair.now, server).unwrap();
    pair.cable();
    pair.a.close(pair.now, client).unwrap();
    pair.cable();
    assert_eq!(pair.b.io.time_wait.len(), 1);
    assert_eq!(bind(&mut pair, true), Err(Error::AddrInUse), "the listener had not allowed it");
    pair.pass(Duration::from_secs(61));
    assert_eq!(bind(&mut pair, false), Ok(()));
}

#[test]
fn who_yields_does_so_whatever_is_said_of_sharing_later() {
    let mut pair = Pair::new();
    pair.listener("10.0.0.2:80", 4);
    let service = stream(&mut pair.a, addr("10.0.0.1:53"));
    pair.a.bind_yielding(service, addr("10.0.0.1:53")).unwrap();
    assert_eq!(pair.a.connect(pair.now, service, addr("10.0.0.2:80")), Err(Error::InProgress));
    pair.cable();
    pair.a.set_option(pair.now, service, SocketOption::ReuseAddr(false)).unwrap();
    let other = stream(&mut pair.a, addr("0.0.0.0:53"));
    assert_eq!(pair.a.bind(other, addr("10.0.0.1:53")), Err(Error::AddrInUse));
    assert_eq!(pair.a.bind(other, addr("0.0.0.0:53")), Ok(()));
}

#[test]
fn time_wait_answers_a_late_fin_and_lets_a_new_connection_in() {
    let mut pair = Pair::new();
    let (client, listener, server) = pair.connected("10.0.0.2:80");
    let local = pair.a.local_addr(client).unwrap();
    pair.b.close(pair.now, server).unwrap();
    pair.cable();
    // The last ACK is lost: the FIN comes again and is acknowledged again.
    pair.a.close(pair.now, client).unwrap();
    pair.loses = |_, packet| packet.head[12..16] == [10, 0, 0, 2];
    pair.cable();
    assert_eq!((pair.a.connections.len(), pair.b.io.time_wait.len()), (1, 1));
    pair.loses = |_, _| false;
    pair.pass(Duration::from_secs(5));
    assert_eq!((pair.a.connections.len(), pair.b.io.time_wait.len()), (0, 1));
    // The same four-tuple, again.
    let again = stream(&mut pair.a, local);
    pair.a.bind(again, local).unwrap();
    let _ = pair.a.connect(pair.now, again, addr("10.0.0.2:80"));
    pair.cable();
    assert_eq!(state(&pair.a, again), TcpState::Established);
    assert!(pair.b.accept(pair.now, listener).is_ok());
    assert_eq!(pair.b.io.time_wait.len(), 0);
}

#[test]
fn listeners_that_share_a_port_share_its_connections() {
    let mut pair = Pair::new();
    let mut listeners = Vec::new();
    for _ in 0..2 {
        let id = stream(&mut pair.b, addr("10.0.0.2:80"));
        pair.b.set_option(pair.now, id, SocketOption::ReusePort(true)).unwrap();
        pair.b.bind(id, addr("10.0.0.2:80")).unwrap();
        pair.b.listen(pair.now, id, 100).unwrap();
        listeners.push(id);
    }
    clients(&mut pair, 40, "10.0.0.2:80");
    let counts: Vec<usize> = listeners
        .iter()
        .map(|id| (0..100).take_while(|_| pair.b.accept(pair.now, *id).is_ok()).count())
        .collect();
    assert_eq!(counts.iter().sum::<usize>(), 40);
    assert!(counts.iter().all(|count| *count > 5), "{counts:?}");
}

#[test]
fn listening_on_a_shared_port_conflicts() {
    let mut pair = Pair::new();
    let mut bound = Vec::new();
    for _ in 0..2 {
        let id = stream(&mut pair.b, addr("10.0.0.2:80"));
        pair.b.set_option(pair.now, id, SocketOption::ReuseAddr(true)).unwrap();
        pair.b.bind(id, addr("10.0.0.2:80")).unwrap();
        bound.push(id);
    }
    assert_eq!(pair.b.listen(pair.now, bound[0], 1), Ok(()));
    assert_eq!(pair.b.listen(pair.now, bound[1], 1), Err(Error::AddrInUse));
    assert_eq!(pair.b.connect(pair.now, bound[0], addr("10.0.0.1:1")), Err(Error::IsConnected));
}

#[test]
fn a_dual_stack_listener_accepts_both_families() {
    let mut pair = Pair::new();
    let listener = pair.listener("[::]:80", 5);
    for to in ["10.0.0.2:80", "[fd77::2]:80"] {
        let client = stream(&mut pair.a, addr(to));
        let _ = pair.a.connect(pair.now, client, addr(to));
        pair.cable();
        let (server, peer) = pair.b.accept(pair.now, listener).unwrap();
        assert_eq!(Ok(peer), pair.a.local_addr(client));
        assert_eq!(pair.b.local_addr(server), Ok(addr(to)));
    }
}

#[test]
fn every_new_connection_is_an_event_of_its_listener() {
    let mut pair = Pair::new();
    let listener = pair.listener("10.0.0.2:80", 5);
    for _ in 0..2 {
        clients(&mut pair, 1, "10.0.0.2:80");
        assert_eq!(events(&mut pair.b), [listener]);
    }
    pair.b.accept(pair.now, listener).unwrap();
    assert!(pair.b.readiness(listener).contains(Readiness::ACCEPT));
    pair.b.accept(pair.now, listener).unwrap();
    assert!(!pair.b.readiness(listener).contains(Readiness::ACCEPT));
}

#[test]
fn who_stops_listening_forgets_what_is_half_open() {
    let mut pair = Pair::new();
    let listener = pair.listener("10.0.0.2:80", 5);
    let client = stream(&mut pair.a, addr("10.0.0.2:80"));
    let _ = pair.a.connect(pair.now, client, addr("10.0.0.2:80"));
    // The SYN-ACK gets lost.
    pair.loses = |number, _| number == 2;
    pair.cable();
    assert_eq!(pair.b.io.half_open.len(), 1);
    pair.b.shutdown(pair.now, listener, crate::Shutdown::Read).unwrap();
    assert_eq!((pair.b.io.half_open.len(), pair.b.poll_timeout()), (0, None));
    // Who listens again begins anew, and the client's next SYN gets in.
    pair.b.listen(pair.now, listener, 5).unwrap();
    pair.pass(Duration::from_secs(2));
    assert!(pair.b.accept(pair.now, listener).is_ok());
    pair.b.check_invariants();
}

#[test]
fn datagram_buffers_have_a_least_size_whatever_tcp_may_have() {
    let mut config = Config::default();
    config.tcp.recv_buffer = crate::BufferSizes { min: 1, default: 1000, max: 1000 };
    let mut stack = Stack::new(config, [7; 32]);
    let id = datagram(&mut stack, "127.0.0.1:53");
    assert_eq!(stack.set_option(Instant::ZERO, id, SocketOption::RecvBuffer(1)), Ok(()));
    assert_eq!(stack.get_option(id, crate::OptionName::RecvBuffer), Ok(SocketOption::RecvBuffer(2304)));
    assert_eq!(stack.set_option(Instant::ZERO, id, SocketOption::SendBuffer(1)), Ok(()));
    assert_eq!(stack.get_option(id, crate::OptionName::SendBuffer), Ok(SocketOption::SendBuffer(4608)));
}

/// `IP_MINTTL`: RFC 5082's peers are neighbours, whose packets no router has touched.
#[test]
fn segments_from_too_far_are_not_heard() {
    let mut pair = Pair::new();
    let listener = pair.listener("10.0.0.2:179", 5);
    pair.b.set_option(pair.now, listener, SocketOption::MinTtl(255)).unwrap();
    let dial = |pair: &mut Pair, ttl| {
        let client = stream(&mut pair.a, addr("10.0.0.2:179"));
        pair.a.set_option(pair.now, client, SocketOption::Ttl(Some(ttl))).unwrap();
        assert_eq!(pair.a.connect(pair.now, client, addr("10.0.0.2:179")), Err(Error::InProgress));
        pair.cable();
        client
    };
    let far = dial(&mut pair, 254);
    assert_eq!(pair.a.tcp_state(far), Some(TcpState::SynSent), "neither accepted nor refused");
    let near = dial(&mut pair, 255);
    assert_eq!(pair.a.tcp_state(near), Some(TcpState::Established));
    // The accepted socket has it, too.
    let (server, _) = pair.b.accept(pair.now, listener).unwrap();
    pair.a.set_option(pair.now, near, SocketOption::Ttl(Some(64))).unwrap();
    send(&mut pair.a, pair.now, near, b"from afar").unwrap();
    pair.cable();
    assert_eq!(recv(&mut pair.b, pair.now, server), Err(Error::WouldBlock));
    pair.a.set_option(pair.now, near, SocketOption::Ttl(Some(255))).unwrap();
    pair.pass(Duration::from_secs(2));
    assert_eq!(recv(&mut pair.b, pair.now, server).unwrap(), b"from afar");
}

/// `IP_LOCAL_PORT_RANGE` within the host's ports, and `IP_FREEBIND`.
#[test]
fn a_socket_says_which_ports_are_picked_and_that_any_address_will_do() {
    let mut pair = Pair::new();
    pair.listener("10.0.0.2:80", 5);
    for port in [40_000, 40_001] {
        let client = stream(&mut pair.a, addr("10.0.0.2:80"));
        pair.a.set_option(pair.now, client, SocketOption::LocalPorts(40_000, 40_001)).unwrap();
        let _ = pair.a.connect(pair.now, client, addr("10.0.0.2:80"));
        let picked = pair.a.local_addr(client).unwrap().port;
        assert!((40_000..=40_001).contains(&picked), "{port}: {picked}");
    }
    let third = stream(&mut pair.a, addr("10.0.0.2:80"));
    pair.a.set_option(pair.now, third, SocketOption::LocalPorts(40_000, 40_001)).unwrap();
    assert_eq!(pair.a.connect(pair.now, third, addr("10.0.0.2:80")), Err(Error::AddrNotAvailable));
    let empty = pair.a.set_option(pair.now, third, SocketOption::LocalPorts(2, 1));
    assert_eq!(empty, Err(Error::InvalidArgument));
    // Beyond the host's bounds a number stands for the bound.
    let datagrams = pair.a.socket(Domain::Inet, SocketType::Datagram, Owner::default()).unwrap();
    pair.a.set_option(pair.now, datagrams, SocketOption::LocalPorts(60_999, 65_535)).unwrap();
    pair.a.bind(datagrams, addr("10.0.0.1:0")).unwrap();
    assert_eq!(pair.a.local_addr(datagrams).unwrap().port, 60_999);
    let foreign = pair.a.socket(Domain::Inet, SocketType::Datagram, Owner::default()).unwrap();
    assert_eq!(pair.a.bind(foreign, addr("192.0.2.1:9")), Err(Error::AddrNotAvailable));
    pair.a.set_option(pair.now, foreign, SocketOption::FreeBind(true)).unwrap();
    assert_eq!(pair.a.bind(foreign, addr("192.0.2.1:9")), Ok(()));
}
