//! Flows to addresses that are not the host's: host b is the gateway, host a the client.

use super::*;
use crate::{
    EchoRequest, Event, Flow, FlowId, FlowProtocol, Intercept, Route, Shutdown, SocketOption, Unreachability,
    Verdict,
};
use alloc::vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use sockeye_packet::{Checksum, Meta, Payload};
use sockeye_wire::{Icmpv4, Icmpv6, IpLayout};

const V4: &str = "192.0.2.7:443";
const V6: &str = "[2001:db8::7]:443";

/// A client whose way out is a gateway that intercepts.
fn gateway(how: Intercept) -> Pair {
    gateway_with(how, false)
}

fn gateway_with(how: Intercept, checksums: bool) -> Pair {
    let nic = NicConfig { checksums, ..NicConfig::memory("eth0", 1500) };
    let mut pair = Pair::with(&Config::default(), &nic);
    for (from, to) in [(true, 2), (false, 1)] {
        let host = if from { &mut pair.a } else { &mut pair.b };
        let ways: [(IpAddr, IpAddr); 2] = [
            (Ipv4Addr::UNSPECIFIED.into(), [10, 0, 0, to].into()),
            (Ipv6Addr::UNSPECIFIED.into(), [0xfd77, 0, 0, 0, 0, 0, 0, u16::from(to)].into()),
        ];
        for (dest, gateway) in ways {
            host.add_route(Route { dest, prefix: 0, gateway: Some(gateway), nic: LINK, metric: 0 }).unwrap();
        }
    }
    pair.b.intercept(Some(how));
    pair
}

/// All events of the gateway that are about flows.
fn flow_events(pair: &mut Pair) -> Vec<Event> {
    core::iter::from_fn(|| pair.b.poll_event()).filter(|event| !matches!(event, Event::Ready(_))).collect()
}

/// The one flow that has just come.
fn incoming(pair: &mut Pair) -> FlowId {
    match flow_events(pair)[..] {
        [Event::Incoming(id)] => id,
        ref other => panic!("{other:?} instead of one incoming flow"),
    }
}

/// The socket of the one flow that was just opened.
fn opened(pair: &mut Pair, flow: FlowId) -> SocketId {
    match flow_events(pair)[..] {
        [Event::Opened(id, socket)] if id == flow => socket,
        ref other => panic!("{other:?} instead of an opened flow"),
    }
}

fn connect(pair: &mut Pair, to: &str) -> SocketId {
    let client = stream(&mut pair.a, addr(to));
    assert_eq!(pair.a.connect(pair.now, client, addr(to)), Err(Error::InProgress));
    pair.cable();
    client
}

/// A connection through the gateway: the client's socket and the gateway's.
fn through(pair: &mut Pair, to: &str) -> (SocketId, SocketId) {
    let client = connect(pair, to);
    let flow = incoming(pair);
    pair.b.answer(pair.now, flow, Verdict::Accept).unwrap();
    pair.cable();
    (client, opened(pair, flow))
}

/// A connected datagram socket of the client, which has sent `data`.
fn datagrams(pair: &mut Pair, to: &str, data: &[&[u8]]) -> SocketId {
    let id = pair.a.socket(domain(addr(to)), SocketType::Datagram, Owner::default()).unwrap();
    pair.a.connect(pair.now, id, addr(to)).unwrap();
    for data in data {
        let payload = Payload::from(Chunk::copy_from(data));
        pair.a.send_to(pair.now, id, payload, None, SendFlags::default()).unwrap();
    }
    pair.cable();
    id
}

fn received(stack: &mut Stack, now: Instant, id: SocketId) -> Result<Vec<u8>, Error> {
    stack.recv_from(now, id, RecvFlags::default()).map(|datagram| datagram.payload.to_vec())
}

/// What no flow may leave behind.
fn assert_clean(pair: &Pair) {
    assert_eq!(pair.b.io.flows.len(), 0);
    assert_eq!((pair.b.memory_used(), pair.b.io.half_open.len()), (0, 0));
    assert_eq!(pair.b.poll_timeout(), None);
}

#[test]
fn a_connection_is_held_until_it_is_answered() {
    for (to, checksums) in [(V4, false), (V4, true), (V6, false), (V6, true)] {
        let mut pair = gateway_with(Intercept::default(), checksums);
        let client = connect(&mut pair, to);
        assert_eq!(state(&pair.a, client), TcpState::SynSent);
        let flow = incoming(&mut pair);
        let src = pair.a.local_addr(client).unwrap();
        let expected = Flow { protocol: FlowProtocol::Tcp, src, dst: addr(to), nic: LINK };
        assert_eq!(pair.b.flow(flow), Some(expected));
        pair.b.answer(pair.now, flow, Verdict::Accept).unwrap();
        assert_eq!(pair.b.answer(pair.now, flow, Verdict::Reset), Err(Error::Already));
        pair.cable();
        let server = opened(&mut pair, flow);
        assert_eq!(pair.b.flow(flow), None);
        assert_eq!(pair.b.answer(pair.now, flow, Verdict::Reset), Err(Error::InvalidArgument));
        assert_eq!(state(&pair.a, client), TcpState::Established);
        assert_eq!(pair.b.local_addr(server), Ok(addr(to)));
        assert_eq!(pair.b.peer_addr(server), Ok(src));
        assert_eq!(pair.a.peer_addr(client), Ok(addr(to)));
    }
}

#[test]
fn the_handshake_agrees_on_all_options() {
    let mut pair = gateway(Intercept::default());
    let (client, server) = through(&mut pair, V4);
    let (a, b) = (pair.a.tcp_info(pair.now, client).unwrap(), pair.b.tcp_info(pair.now, server).unwrap());
    for info in [a, b] {
        assert!(info.timestamps && info.sack && info.snd_wscale > 0 && info.rcv_wscale > 0, "{info:?}");
        assert_eq!(info.snd_mss, 1448);
    }
}

#[test]
fn data_crosses_both_ways_and_each_side_may_close_first() {
    for to in [V4, V6] {
        let mut pair = gateway(Intercept::default());
        let (client, server) = through(&mut pair, to);
        assert_eq!(send(&mut pair.a, pair.now, client, b"request"), Ok(7));
        pair.a.shutdown(pair.now, client, Shutdown::Write).unwrap();
        pair.cable();
        assert_eq!(recv(&mut pair.b, pair.now, server).unwrap(), b"request");
        assert_eq!(recv(&mut pair.b, pair.now, server).unwrap(), b"", "half-closed");
        let answer = vec![7; 50_000];
        assert_eq!(send(&mut pair.b, pair.now, server, &answer), Ok(50_000));
        pair.cable();
        let mut got = Vec::new();
        while got.len() < answer.len() {
            got.extend(recv(&mut pair.a, pair.now, client).unwrap());
            pair.cable();
        }
        assert_eq!(got, answer);
        pair.b.close(pair.now, server).unwrap();
        pair.cable();
        assert_eq!(recv(&mut pair.a, pair.now, client).unwrap(), b"");
        pair.a.close(pair.now, client).unwrap();
        pair.pass(Duration::from_secs(200));
        assert_clean(&pair);
        assert_eq!((pair.b.sockets.len(), pair.b.connections.len()), (0, 0));
    }
}

#[test]
fn a_reset_passes_either_way() {
    let mut pair = gateway(Intercept::default());
    let (client, server) = through(&mut pair, V4);
    pair.b.abort(pair.now, server).unwrap();
    pair.cable();
    assert_eq!(recv(&mut pair.a, pair.now, client), Err(Error::ConnectionReset));
    let (client, server) = through(&mut pair, V6);
    pair.a.abort(pair.now, client).unwrap();
    pair.cable();
    assert_eq!(recv(&mut pair.b, pair.now, server), Err(Error::ConnectionReset));
    pair.b.close(pair.now, server).unwrap();
    assert_clean(&pair);
}

#[test]
fn a_lossy_link_loses_nothing() {
    let mut pair = gateway(Intercept::default());
    pair.loses = |number, _| number % 5 == 0;
    let client = connect(&mut pair, V4);
    pair.pass(Duration::from_secs(8));
    let flow = incoming(&mut pair);
    pair.b.answer(pair.now, flow, Verdict::Accept).unwrap();
    pair.pass(Duration::from_secs(8));
    let server = opened(&mut pair, flow);
    let data: Vec<u8> = (0..60_000_u32).map(|i| (i * 31) as u8).collect();
    assert_eq!(send(&mut pair.b, pair.now, server, &data), Ok(data.len()));
    let mut got = Vec::new();
    while got.len() < data.len() {
        pair.pass(Duration::from_secs(1));
        if let Ok(more) = recv(&mut pair.a, pair.now, client) {
            got.extend(more);
        }
    }
    assert_eq!(got, data);
}

#[test]
fn syns_of_a_held_flow_are_no_news() {
    let mut pair = gateway(Intercept::default());
    let client = connect(&mut pair, V4);
    let flow = incoming(&mut pair);
    pair.pass(Duration::from_secs(10));
    assert_eq!(flow_events(&mut pair), []);
    assert_eq!(pair.b.io.flows.len(), 1);
    pair.b.answer(pair.now, flow, Verdict::Accept).unwrap();
    pair.cable();
    opened(&mut pair, flow);
    assert_eq!(state(&pair.a, client), TcpState::Established);
}

#[test]
fn a_lost_syn_ack_of_a_flow_is_sent_again() {
    let mut pair = gateway(Intercept::default());
    let client = connect(&mut pair, V4);
    let flow = incoming(&mut pair);
    pair.loses = |_, packet| packet.head[12..16] == [192, 0, 2, 7];
    pair.b.answer(pair.now, flow, Verdict::Accept).unwrap();
    pair.cable();
    pair.loses = |_, _| false;
    pair.pass(Duration::from_millis(1100));
    assert_eq!(state(&pair.a, client), TcpState::Established);
    opened(&mut pair, flow);
}

#[test]
fn a_client_that_falls_silent_loses_its_flow() {
    // Before the answer: the hold time is over.
    let mut pair = gateway(Intercept { hold: Duration::from_secs(20), ..Intercept::default() });
    let client = connect(&mut pair, V4);
    let flow = incoming(&mut pair);
    pair.a.close(pair.now, client).unwrap();
    pair.loses = |_, _| true;
    pair.pass(Duration::from_secs(19));
    assert_eq!(flow_events(&mut pair), []);
    pair.pass(Duration::from_secs(2));
    assert_eq!(flow_events(&mut pair), [Event::Lost(flow)]);
    assert_clean(&pair);
    // After it: the SYN-ACK is not acknowledged.
    pair.loses = |_, _| false;
    connect(&mut pair, V4);
    let flow = incoming(&mut pair);
    pair.loses = |_, _| true;
    pair.b.answer(pair.now, flow, Verdict::Accept).unwrap();
    pair.pass(Duration::from_secs(70));
    assert_eq!(flow_events(&mut pair), [Event::Lost(flow)]);
    assert_eq!(pair.b.io.flows.len(), 0);
}

#[test]
fn a_client_that_resets_its_handshake_loses_its_flow() {
    let mut pair = gateway(Intercept::default());
    let client = connect(&mut pair, V4);
    let flow = incoming(&mut pair);
    // The client forgets its connection in silence: our SYN-ACK meets nobody and is reset.
    pair.loses = |_, _| true;
    pair.a.abort(pair.now, client).unwrap();
    pair.cable();
    pair.loses = |_, _| false;
    pair.b.answer(pair.now, flow, Verdict::Accept).unwrap();
    pair.cable();
    assert_eq!(flow_events(&mut pair), [Event::Lost(flow)]);
    assert_clean(&pair);
}

#[test]
fn a_client_that_starts_anew_from_its_port_has_a_new_flow() {
    let mut pair = gateway(Intercept::default());
    let connect = |pair: &mut Pair| {
        let id = stream(&mut pair.a, addr(V4));
        pair.a.bind(id, addr("10.0.0.1:5000")).unwrap();
        assert_eq!(pair.a.connect(pair.now, id, addr(V4)), Err(Error::InProgress));
        pair.cable();
        id
    };
    let first = connect(&mut pair);
    let flow = incoming(&mut pair);
    pair.a.abort(pair.now, first).unwrap();
    pair.pass(Duration::from_secs(5));
    let second = connect(&mut pair);
    let events = flow_events(&mut pair);
    let [Event::Lost(lost), Event::Incoming(next)] = events[..] else { panic!("{events:?}") };
    assert_eq!(lost, flow);
    assert_ne!(next, flow);
    pair.b.answer(pair.now, next, Verdict::Accept).unwrap();
    pair.cable();
    opened(&mut pair, next);
    assert_eq!(state(&pair.a, second), TcpState::Established);
}

#[test]
fn a_connection_fails_as_the_gateway_says() {
    use Unreachability::{Host, Network, Port, Prohibited};
    let cases = [
        (Verdict::Reset, Error::ConnectionRefused, Error::ConnectionRefused),
        (Verdict::Unreachable(Network), Error::NetworkUnreachable, Error::NetworkUnreachable),
        (Verdict::Unreachable(Host), Error::HostUnreachable, Error::HostUnreachable),
        (Verdict::Unreachable(Prohibited), Error::HostUnreachable, Error::PermissionDenied),
        (Verdict::Unreachable(Port), Error::ConnectionRefused, Error::ConnectionRefused),
    ];
    for checksums in [false, true] {
        for (verdict, v4, v6) in cases {
            for (to, error) in [(V4, v4), (V6, v6)] {
                let mut pair = gateway_with(Intercept::default(), checksums);
                let client = connect(&mut pair, to);
                let flow = incoming(&mut pair);
                pair.b.answer(pair.now, flow, verdict).unwrap();
                pair.cable();
                assert_eq!(pair.a.connect(pair.now, client, addr(to)), Err(error), "{verdict:?} {to}");
                assert_eq!(flow_events(&mut pair), []);
                assert_clean(&pair);
            }
        }
    }
}

#[test]
fn a_dropped_flow_comes_again_with_the_next_syn() {
    let mut pair = gateway(Intercept::default());
    let client = connect(&mut pair, V4);
    let flow = incoming(&mut pair);
    pair.b.answer(pair.now, flow, Verdict::Drop).unwrap();
    pair.cable();
    assert_clean(&pair);
    pair.pass(Duration::from_millis(1100));
    assert_eq!(state(&pair.a, client), TcpState::SynSent);
    assert_ne!(incoming(&mut pair), flow);
}

#[test]
fn segments_of_no_flow_are_reset() {
    let mut pair = gateway(Intercept::default());
    let (client, server) = through(&mut pair, V4);
    // The gateway forgets everything, as one that was started anew.
    pair.loses = |_, _| true;
    pair.b.abort(pair.now, server).unwrap();
    pair.cable();
    pair.loses = |_, _| false;
    send(&mut pair.a, pair.now, client, b"anybody?").unwrap();
    pair.cable();
    assert_eq!(recv(&mut pair.a, pair.now, client), Err(Error::ConnectionReset));
}

#[test]
fn a_host_has_its_own_addresses_groups_and_ports_for_itself() {
    let mut pair = gateway(Intercept::default());
    // Whoever listens at all addresses does so at the host's own, and a foreign flow takes no port of the host.
    let listener = pair.listener("0.0.0.0:443", 5);
    through(&mut pair, V4);
    let bound = datagram(&mut pair.b, "0.0.0.0:53");
    let client = connect(&mut pair, "10.0.0.2:443");
    assert!(pair.b.accept(pair.now, listener).is_ok());
    assert_eq!(state(&pair.a, client), TcpState::Established);
    datagrams(&mut pair, "192.0.2.7:53", &[b"not yours"]);
    assert_eq!(received(&mut pair.b, pair.now, bound), Err(Error::WouldBlock));
    incoming(&mut pair);
    let (_, server) = through(&mut pair, "192.0.2.7:8443");
    let other = pair.listener("0.0.0.0:8443", 1);
    assert_eq!(
        pair.b.local_addr(server).map(|local| local.port),
        pair.b.local_addr(other).map(|local| local.port)
    );
    // Nor are groups, broadcasts and nowhere anybody's flows.
    for to in ["224.0.0.9:5", "255.255.255.255:5", "10.0.0.255:5", "[ff02::9]:5"] {
        let id = pair.a.socket(domain(addr(to)), SocketType::Datagram, Owner::default()).unwrap();
        pair.a.set_option(pair.now, id, SocketOption::Broadcast(true)).unwrap();
        let payload = Payload::from(Chunk::copy_from(b"all"));
        let _ = pair.a.send_to(pair.now, id, payload, Some(addr(to)), SendFlags::default());
        pair.cable();
    }
    assert_eq!(flow_events(&mut pair), []);
}

#[test]
fn without_interception_nothing_foreign_gets_in() {
    let mut pair = gateway(Intercept::default());
    let (client, server) = through(&mut pair, V4);
    let held = connect(&mut pair, V6);
    let flow = incoming(&mut pair);
    pair.b.intercept(None);
    assert_eq!(flow_events(&mut pair), [Event::Lost(flow)]);
    connect(&mut pair, V4);
    datagrams(&mut pair, V4, &[b"?"]);
    assert_eq!(flow_events(&mut pair), []);
    assert_eq!((state(&pair.a, held), pair.b.io.flows.len()), (TcpState::SynSent, 0));
    // What is open stays so.
    send(&mut pair.a, pair.now, client, b"still").unwrap();
    pair.cable();
    assert_eq!(recv(&mut pair.b, pair.now, server).unwrap(), b"still");
    let mut never = Pair::new();
    pair.a
        .routes()
        .into_iter()
        .filter(|route| route.prefix == 0)
        .for_each(|route| never.a.add_route(route).unwrap());
    datagrams(&mut never, V6, &[b"?"]);
    assert_eq!((never.b.counters()[Counter::IpInAddrErrors], never.b.poll_event()), (1, None));
}

#[test]
fn a_four_tuple_in_time_wait_can_be_opened_again() {
    let mut pair = gateway(Intercept::default());
    let connect = |pair: &mut Pair| {
        let id = stream(&mut pair.a, addr(V4));
        pair.a.set_option(pair.now, id, SocketOption::ReuseAddr(true)).unwrap();
        pair.a.bind(id, addr("10.0.0.1:5000")).unwrap();
        assert_eq!(pair.a.connect(pair.now, id, addr(V4)), Err(Error::InProgress));
        pair.cable();
        let flow = incoming(pair);
        pair.b.answer(pair.now, flow, Verdict::Accept).unwrap();
        pair.cable();
        (id, opened(pair, flow))
    };
    let (client, server) = connect(&mut pair);
    // The gateway closes first, so TIME-WAIT is its own.
    pair.b.close(pair.now, server).unwrap();
    pair.cable();
    pair.a.close(pair.now, client).unwrap();
    pair.cable();
    assert_eq!(pair.b.io.time_wait.len(), 1);
    pair.pass(Duration::from_secs(2));
    let (client, _) = connect(&mut pair);
    assert_eq!(state(&pair.a, client), TcpState::Established);
}

#[test]
fn icmp_errors_find_the_sockets_of_flows() {
    let mut pair = gateway(Intercept::default());
    let (_, server) = through(&mut pair, V4);
    send(&mut pair.b, pair.now, server, &vec![1; 20_000]).unwrap();
    let mut batch = Batch::new();
    pair.b.poll_transmit(pair.now, LINK, &mut batch);
    let packet = batch.pop().unwrap();
    // A router on the way to the client wants smaller packets.
    let mut bytes = vec![0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 192, 0, 2, 7];
    bytes.extend([3, Icmpv4::FRAGMENTATION_NEEDED, 0, 0, 0, 0, 0x04, 0]);
    bytes.extend(&packet.head[..28]);
    let meta = Meta { checksum: Checksum::Unfilled, ..Meta::default() };
    batch.drain().for_each(drop);
    batch.push(Packet::from_bytes(&Chunk::from(bytes), meta));
    pair.b.handle_packets(pair.now, LINK, &mut batch);
    let remote = crate::address::map_v4([10, 0, 0, 1]);
    assert_eq!(pair.b.io.pmtu.get(&remote), Some(1024));
}

#[test]
fn a_flood_of_syns_is_bounded() {
    let mut pair = gateway(Intercept { max_flows: 10, ..Intercept::default() });
    for _ in 0..200 {
        let id = stream(&mut pair.a, addr(V4));
        assert_eq!(pair.a.connect(pair.now, id, addr(V4)), Err(Error::InProgress));
    }
    pair.cable();
    assert_eq!(flow_events(&mut pair).len(), 10);
    assert_eq!((pair.b.io.flows.len(), pair.b.counters()[Counter::FlowsFull]), (10, 190));
    assert_eq!(pair.b.counters()[Counter::SyncookiesSent], 0);
    // Also those whose end nobody has fetched yet count.
    pair.loses = |_, _| true;
    pair.pass(Duration::from_secs(131));
    assert_eq!(pair.b.io.flows.len(), 10);
    assert_eq!(flow_events(&mut pair).len(), 10);
    assert_clean(&pair);
}

#[test]
fn datagrams_wait_for_the_answer() {
    for to in [V4, V6] {
        let mut pair = gateway(Intercept::default());
        let client = datagrams(&mut pair, to, &[b"one", b"", b"three"]);
        let flow = incoming(&mut pair);
        let src = pair.a.local_addr(client).unwrap();
        let expected = Flow { protocol: FlowProtocol::Udp, src, dst: addr(to), nic: LINK };
        assert_eq!(pair.b.flow(flow), Some(expected));
        assert!(pair.b.memory_used() > 0);
        pair.b.answer(pair.now, flow, Verdict::Accept).unwrap();
        let server = match pair.b.poll_event() {
            Some(Event::Opened(id, server)) if id == flow => server,
            other => panic!("{other:?}"),
        };
        assert_eq!(pair.b.poll_event(), Some(Event::Ready(server)));
        assert_eq!((pair.b.local_addr(server), pair.b.peer_addr(server)), (Ok(addr(to)), Ok(src)));
        for data in [&b"one"[..], b"", b"three"] {
            assert_eq!(received(&mut pair.b, pair.now, server).unwrap(), data);
        }
        assert_eq!(received(&mut pair.b, pair.now, server), Err(Error::WouldBlock));
        // The answer comes from the foreign address; a long one in fragments.
        for data in [vec![5; 9], vec![6; 4000]] {
            let payload = Payload::from(Chunk::copy_from(&data));
            pair.b.send_to(pair.now, server, payload, None, SendFlags::default()).unwrap();
            pair.cable();
            assert_eq!(received(&mut pair.a, pair.now, client).unwrap(), data);
        }
        // So does a long question.
        let payload = Payload::from(Chunk::copy_from(&[8; 5000]));
        pair.a.send_to(pair.now, client, payload, None, SendFlags::default()).unwrap();
        pair.cable();
        assert_eq!(received(&mut pair.b, pair.now, server).unwrap(), [8; 5000]);
        pair.b.close(pair.now, server).unwrap();
        assert_clean(&pair);
    }
}

#[test]
fn datagrams_are_refused_as_the_gateway_says() {
    use Unreachability::{Host, Network, Port, Prohibited};
    let cases = [
        (Verdict::Reset, Some(Error::ConnectionRefused), Some(Error::ConnectionRefused)),
        (Verdict::Unreachable(Port), Some(Error::ConnectionRefused), Some(Error::ConnectionRefused)),
        (Verdict::Unreachable(Network), Some(Error::NetworkUnreachable), None),
        (Verdict::Unreachable(Host), Some(Error::HostUnreachable), None),
        (Verdict::Unreachable(Prohibited), Some(Error::HostUnreachable), Some(Error::PermissionDenied)),
        (Verdict::Drop, None, None),
    ];
    for (verdict, v4, v6) in cases {
        for (to, error) in [(V4, v4), (V6, v6)] {
            let mut pair = gateway_with(Intercept::default(), true);
            let client = datagrams(&mut pair, to, &[b"?"]);
            let flow = incoming(&mut pair);
            pair.b.answer(pair.now, flow, verdict).unwrap();
            pair.cable();
            assert_eq!(pair.a.take_error(client), error, "{verdict:?} {to}");
            assert_clean(&pair);
            // And once it was accepted.
            datagrams(&mut pair, to, &[b"!"]);
            let flow = incoming(&mut pair);
            pair.b.answer(pair.now, flow, Verdict::Accept).unwrap();
            let server = opened(&mut pair, flow);
            if let Verdict::Unreachable(why) = verdict {
                let port = pair.b.peer_addr(server).unwrap().port;
                pair.b.refuse_datagrams(pair.now, server, why).unwrap();
                pair.cable();
                let all = pair.a.sockets.iter().map(|(key, _)| SocketId(key)).collect::<Vec<_>>();
                let asked = all.into_iter().find(|id| pair.a.local_addr(*id).unwrap().port == port);
                assert_eq!(pair.a.take_error(asked.unwrap()), error, "{verdict:?} {to}, later");
            }
        }
    }
    let mut pair = gateway(Intercept::default());
    let (unconnected, stream) = (datagram(&mut pair.b, "10.0.0.2:1"), stream(&mut pair.b, addr(V4)));
    assert_eq!(pair.b.refuse_datagrams(pair.now, unconnected, Port), Err(Error::NotConnected));
    assert_eq!(pair.b.refuse_datagrams(pair.now, stream, Port), Err(Error::NotSupported));
}

#[test]
fn held_datagrams_are_bounded() {
    let how = Intercept { max_flows: 5, max_datagrams: 3, max_datagram_bytes: 8000, ..Intercept::default() };
    let mut pair = gateway(how);
    for _ in 0..8 {
        datagrams(&mut pair, V4, &[&[1; 500][..]; 6]);
    }
    assert_eq!(pair.b.io.flows.len(), 5);
    assert!(pair.b.memory_used() <= 8000 && pair.b.memory_used() > 7000);
    assert_eq!(pair.b.counters()[Counter::FlowsFull], 48 - 10);
    let flows: Vec<Event> = flow_events(&mut pair);
    let Event::Incoming(first) = flows[0] else { panic!("{flows:?}") };
    pair.b.answer(pair.now, first, Verdict::Accept).unwrap();
    pair.pass(Duration::from_secs(131));
    let events = flow_events(&mut pair);
    assert!(matches!(events[0], Event::Opened(id, _) if id == first));
    assert_eq!(events[1..].iter().filter(|event| matches!(event, Event::Lost(_))).count(), 4);
    let Event::Opened(_, server) = events[0] else { unreachable!() };
    for _ in 0..3 {
        assert_eq!(received(&mut pair.b, pair.now, server).unwrap(), [1; 500]);
    }
    assert_clean(&pair);
}

/// An echo request from the client, with a TTL of 9.
fn ping(pair: &mut Pair, v4: bool, data: &[u8]) {
    let mut bytes = vec![];
    let len = 8 + data.len();
    if v4 {
        bytes.extend([0x45, 0, 0, 20 + len as u8, 0, 0, 0, 0, 9, 1, 0, 0, 10, 0, 0, 1, 192, 0, 2, 7]);
    } else {
        bytes.extend([0x60, 0, 0, 0, 0, len as u8, 58, 9]);
        bytes.extend(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1).octets());
        bytes.extend(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).octets());
    }
    bytes.extend([if v4 { 8 } else { 128 }, 0, 0, 0, 0x12, 0x34, 0, 5]);
    bytes.extend(data);
    let meta = Meta { checksum: Checksum::Unfilled, ..Meta::default() };
    let mut batch = Batch::new();
    batch.push(Packet::from_bytes(&Chunk::from(bytes), meta));
    pair.b.handle_packets(pair.now, LINK, &mut batch);
}

fn sent(pair: &mut Pair) -> Vec<Packet> {
    let mut batch = Batch::new();
    pair.b.poll_transmit(pair.now, LINK, &mut batch);
    batch.drain().collect()
}

#[test]
fn echo_requests_wait_and_are_answered_in_the_name_of_who_was_asked() {
    for v4 in [true, false] {
        let mut pair = gateway(Intercept::default());
        ping(&mut pair, v4, b"abc");
        ping(&mut pair, v4, b"");
        assert_eq!(flow_events(&mut pair), [Event::Echo]);
        let request = pair.b.poll_echo().unwrap();
        let EchoRequest { id, seq, ttl, nic, .. } = request;
        assert_eq!((id, seq, ttl, nic, request.payload.to_vec()), (0x1234, 5, 9, LINK, b"abc".to_vec()));
        let refused = pair.b.poll_echo().unwrap();
        assert_eq!(pair.b.poll_echo(), None);
        let (src, dst) = (request.src, request.dst);
        pair.b.reply_echo(request);
        let answers = sent(&mut pair);
        let [answer] = &answers[..] else { panic!("{answers:?}") };
        let layout = IpLayout::parse(&answer.head).unwrap();
        assert_eq!((layout.src, layout.dst, answer.payload.to_vec()), (dst, src, b"abc".to_vec()));
        let message = &answer.head[layout.transport..];
        if v4 {
            assert_eq!(Icmpv4::parse(message).unwrap().0, Icmpv4::EchoReply { id: 0x1234, seq: 5 });
        } else {
            assert_eq!(Icmpv6::parse(message).unwrap().0, Icmpv6::EchoReply { id: 0x1234, seq: 5 });
        }
        pair.b.refuse_echo(pair.now, &refused, Unreachability::Prohibited);
        let answers = sent(&mut pair);
        let [answer] = &answers[..] else { panic!("{answers:?}") };
        let layout = IpLayout::parse(&answer.head).unwrap();
        assert_eq!((layout.src == dst, layout.dst), (false, src), "a router's word");
        let quoted = IpLayout::parse(&answer.payload.to_vec()).unwrap();
        assert_eq!((quoted.src, quoted.dst), (src, dst));
    }
}

#[test]
fn echo_requests_are_bounded() {
    let mut pair = gateway(Intercept { max_echoes: 4, ..Intercept::default() });
    for _ in 0..10 {
        ping(&mut pair, true, b"flood");
    }
    assert_eq!(core::iter::from_fn(|| pair.b.poll_echo()).count(), 4);
    assert_eq!((pair.b.counters()[Counter::FlowsFull], pair.b.poll_event()), (6, None));
    ping(&mut pair, true, b"later");
    assert_eq!(pair.b.poll_event(), Some(Event::Echo));
    pair.b.intercept(None);
    assert_eq!(pair.b.poll_echo(), None);
    ping(&mut pair, true, b"off");
    assert_eq!((pair.b.poll_echo(), pair.b.poll_event()), (None, None));
}
