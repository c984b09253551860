use super::*;
use crate::{Shutdown, SocketOption};
use alloc::vec;

#[test]
fn streams_open_carry_data_and_close_in_both_families() {
    for to in ["10.0.0.2:80", "[fd77::2]:80"] {
        for checksums in [false, true] {
            let nic = NicConfig { checksums, ..NicConfig::memory("eth0", 1500) };
            let mut pair = Pair::with(&Config::default(), &nic);
            let (client, listener, server) = pair.connected(to);
            assert_eq!(events(&mut pair.a), [client]);
            assert_eq!(pair.a.readiness(client), Readiness::WRITABLE);
            assert_eq!(pair.a.connect(pair.now, client, addr(to)), Ok(()), "told once");
            assert_eq!(pair.a.connect(pair.now, client, addr(to)), Err(Error::IsConnected));
            assert_eq!(pair.a.local_addr(client), pair.b.peer_addr(server));
            assert_eq!(pair.a.peer_addr(client), pair.b.local_addr(server));
            assert_eq!(pair.b.accept(pair.now, listener), Err(Error::WouldBlock));
            assert_eq!(send(&mut pair.a, pair.now, client, b"request"), Ok(7));
            pair.cable();
            assert_eq!(recv(&mut pair.b, pair.now, server).unwrap(), b"request");
            pair.a.shutdown(pair.now, client, Shutdown::Write).unwrap();
            pair.cable();
            assert_eq!(recv(&mut pair.b, pair.now, server), Ok(Vec::new()));
            assert!(pair.b.readiness(server).contains(Readiness::READ_CLOSED));
            assert_eq!((pair.a.recv_hint(client), pair.b.recv_hint(server)), (0, 1));
            assert_eq!(send(&mut pair.b, pair.now, server, b"answer"), Ok(6), "half closed");
            pair.b.close(pair.now, server).unwrap();
            pair.cable();
            assert_eq!(recv(&mut pair.a, pair.now, client).unwrap(), b"answer");
            assert_eq!(recv(&mut pair.a, pair.now, client), Ok(Vec::new()));
            // TIME-WAIT is nothing of the socket's any more.
            assert_eq!((state(&pair.a, client), pair.a.io.time_wait.len()), (TcpState::Closed, 1));
            assert_eq!(pair.a.shutdown(pair.now, client, Shutdown::Write), Err(Error::NotConnected));
            pair.a.close(pair.now, client).unwrap();
            pair.cable();
            assert_eq!((pair.a.connections.len(), pair.a.io.time_wait.len()), (0, 1));
            assert_eq!((pair.b.connections.len(), pair.b.io.time_wait.len()), (0, 0));
            pair.pass(Duration::from_secs(61));
            assert_eq!(pair.a.io.time_wait.len(), 0);
            assert_eq!((pair.a.memory_used(), pair.b.memory_used()), (0, 0));
            assert_eq!((pair.a.poll_timeout(), pair.b.poll_timeout()), (None, None));
        }
    }
}

#[test]
fn what_is_sent_and_delivered_is_counted() {
    let mut pair = Pair::with(&Config::default(), &NicConfig::memory("eth0", 1500));
    let (client, _, _) = pair.connected("10.0.0.2:80");
    let [before, there] = [&pair.a, &pair.b].map(|stack| *stack.counters());
    // Five whole segments with timestamps, and a short one.
    assert_eq!(send(&mut pair.a, pair.now, client, &[1; 5 * 1448 + 10]), Ok(5 * 1448 + 10));
    pair.cable();
    pair.pass(Duration::from_millis(300));
    let since = |counter| pair.a.counters()[counter] - before[counter];
    assert_eq!((since(Counter::TcpOrigDataSent), since(Counter::TcpDelivered)), (6, 6));
    assert_eq!((since(Counter::TcpDeliveredCe), since(Counter::TcpRetransSegs)), (0, 0));
    assert_eq!(since(Counter::TcpPureAcks), since(Counter::TcpInSegs));
    let taken_in = |counter| pair.b.counters()[counter] - there[counter];
    assert_eq!(taken_in(Counter::IpInNoEctPkts), taken_in(Counter::IpInReceives));
}

#[test]
fn much_data_crosses_both_ways_at_once() {
    for max_segment in [0, NicConfig::LARGEST_SEGMENT] {
        let nic = NicConfig { max_segment, ..NicConfig::memory("eth0", 1500) };
        let mut pair = Pair::with(&Config::default(), &nic);
        let (client, _, server) = pair.connected("10.0.0.2:80");
        let data: Vec<u8> = (0..1_000_000_usize).map(|i| (i * 31 / 7) as u8).collect();
        let (mut up, mut down) = (Vec::new(), Vec::new());
        let (mut up_sent, mut down_sent) = (0, 0);
        for _ in 0..10_000 {
            if let Ok(n) = send(&mut pair.a, pair.now, client, &data[up_sent..]) {
                up_sent += n;
            }
            if let Ok(n) = send(&mut pair.b, pair.now, server, &data[down_sent..]) {
                down_sent += n;
            }
            pair.cable();
            up.extend(recv(&mut pair.b, pair.now, server).unwrap_or_default());
            down.extend(recv(&mut pair.a, pair.now, client).unwrap_or_default());
            if up.len() == data.len() && down.len() == data.len() {
                break;
            }
            pair.pass(Duration::from_millis(1));
        }
        assert!(up == data && down == data, "{} and {} of {}", up.len(), down.len(), data.len());
    }
}

#[test]
fn a_chunk_is_read_where_it_lies_and_no_further() {
    let mut pair = Pair::new();
    let (client, _, server) = pair.connected("10.0.0.2:80");
    let lent = [4000, 3000].map(|len| Chunk::lent(vec![7; len].into()));
    let mut chunks = lent.iter().cloned().collect();
    assert_eq!(pair.a.send(pair.now, client, &mut chunks, SendFlags::default()), Ok(7000));
    pair.cable();
    let (now, peek) = (pair.now, RecvFlags { peek: true, ..RecvFlags::default() });
    let mut part = |max, flags| pair.b.recv_chunk(now, server, max, flags).unwrap();
    let first = part(100, RecvFlags::default());
    assert_eq!((first.as_ptr(), first.len()), (lent[0].as_ptr(), 100));
    let peeked = part(usize::MAX, peek);
    let rest = part(usize::MAX, RecvFlags::default());
    assert_eq!((rest.as_ptr(), rest.len()), (lent[0][100..].as_ptr(), 3900));
    assert_eq!(peeked, rest);
    let second = part(usize::MAX, RecvFlags::default());
    assert_eq!((second.as_ptr(), second.len()), (lent[1].as_ptr(), 3000));
    // As the kernel: also who wants nothing waits for something.
    for max in [0, usize::MAX] {
        let nothing = pair.b.recv_chunk(now, server, max, RecvFlags::default());
        assert_eq!(nothing, Err(Error::WouldBlock));
    }
}

#[test]
fn streams_work_over_the_loopback() {
    for text in ["127.0.0.1:80", "[::1]:80"] {
        let (mut stack, now) = (lonely(), Instant::from_millis(5));
        let listener = stream(&mut stack, addr(text));
        stack.bind(listener, addr(text)).unwrap();
        stack.listen(now, listener, 1).unwrap();
        let client = stream(&mut stack, addr(text));
        assert_eq!(stack.connect(now, client, addr(text)), Err(Error::InProgress));
        let (server, peer) = stack.accept(now, listener).unwrap();
        assert_eq!(Ok(peer), stack.local_addr(client));
        let data = vec![9; 300_000];
        let sent = send(&mut stack, now, client, &data).unwrap();
        let mut received = 0;
        while let Ok(data) = recv(&mut stack, now, server) {
            received += data.len();
        }
        assert_eq!(received, sent);
        stack.close(now, client).unwrap();
        assert_eq!(recv(&mut stack, now, server), Ok(Vec::new()));
        stack.close(now, server).unwrap();
        assert_eq!((stack.connections.len(), stack.io.time_wait.len()), (0, 1));
        assert_eq!(stack.memory_used(), 0);
    }
}

#[test]
fn a_closed_port_refuses() {
    for to in ["10.0.0.2:81", "[fd77::2]:81"] {
        let mut pair = Pair::new();
        let client = stream(&mut pair.a, addr(to));
        assert_eq!(pair.a.connect(pair.now, client, addr(to)), Err(Error::InProgress));
        assert_eq!(pair.a.connect(pair.now, client, addr(to)), Err(Error::Already));
        pair.cable();
        let ready = pair.a.readiness(client);
        assert!(
            ready.contains(Readiness::ERROR | Readiness::WRITABLE | Readiness::READABLE | HANGUP),
            "{ready:?}"
        );
        assert_eq!(events(&mut pair.a), [client]);
        assert_eq!(pair.a.take_error(client), Some(Error::ConnectionRefused));
        assert_eq!(pair.a.take_error(client), None);
        // The socket can be used again.
        pair.listener(to, 1);
        assert_eq!(pair.a.connect(pair.now, client, addr(to)), Err(Error::ConnectionAborted));
        assert_eq!(pair.a.connect(pair.now, client, addr(to)), Err(Error::InProgress));
        pair.cable();
        assert_eq!(pair.a.connect(pair.now, client, addr(to)), Ok(()));
    }
}

#[test]
fn silence_times_out() {
    let mut pair = Pair::new();
    let client = stream(&mut pair.a, addr("10.0.0.2:80"));
    pair.a.set_option(pair.now, client, SocketOption::SynCount(2)).unwrap();
    pair.loses = |_, _| true;
    let _ = pair.a.connect(pair.now, client, addr("10.0.0.2:80"));
    pair.pass(Duration::from_secs(6));
    assert_eq!(state(&pair.a, client), TcpState::SynSent);
    pair.pass(Duration::from_secs(2));
    // At 0 to 5 seconds, by `syn_linear_timeouts`; two retries would have taken as long without.
    assert_eq!(pair.crossed, 6);
    assert_eq!(pair.a.take_error(client), Some(Error::TimedOut));
    pair.a.close(pair.now, client).unwrap();
    assert_eq!((pair.a.connections.len(), pair.a.poll_timeout()), (0, None));
}

#[test]
fn no_route_is_an_error_at_once() {
    let mut pair = Pair::new();
    let client = stream(&mut pair.a, addr("0.0.0.0:0"));
    let to = addr("192.168.7.7:80");
    assert_eq!(pair.a.connect(pair.now, client, to), Err(Error::NetworkUnreachable));
    assert_eq!(pair.a.connect(pair.now, client, addr("[fd77::2]:80")), Err(Error::AddressFamily));
    assert_eq!(send(&mut pair.a, pair.now, client, b"x"), Err(Error::BrokenPipe));
    assert_eq!(recv(&mut pair.a, pair.now, client), Err(Error::NotConnected));
    assert_eq!(pair.a.shutdown(pair.now, client, Shutdown::Both), Err(Error::NotConnected));
    assert_eq!(pair.a.accept(pair.now, client), Err(Error::InvalidArgument));
}

#[test]
fn both_sides_may_open_at_once() {
    let mut pair = Pair::new();
    let (a, b) = (stream(&mut pair.a, addr("10.0.0.1:5")), stream(&mut pair.b, addr("10.0.0.2:6")));
    pair.a.bind(a, addr("10.0.0.1:5")).unwrap();
    pair.b.bind(b, addr("10.0.0.2:6")).unwrap();
    let _ = pair.a.connect(pair.now, a, addr("10.0.0.2:6"));
    let _ = pair.b.connect(pair.now, b, addr("10.0.0.1:5"));
    let (mut from_a, mut from_b) = (Batch::new(), Batch::new());
    pair.a.poll_transmit(pair.now, LINK, &mut from_a);
    pair.b.poll_transmit(pair.now, LINK, &mut from_b);
    pair.a.handle_packets(pair.now, LINK, &mut from_b);
    pair.b.handle_packets(pair.now, LINK, &mut from_a);
    pair.cable();
    assert_eq!((state(&pair.a, a), state(&pair.b, b)), (TcpState::Established, TcpState::Established));
    send(&mut pair.a, pair.now, a, b"hi").unwrap();
    pair.cable();
    assert_eq!(recv(&mut pair.b, pair.now, b).unwrap(), b"hi");
    // And close at once.
    pair.a.close(pair.now, a).unwrap();
    pair.b.close(pair.now, b).unwrap();
    pair.cable();
    assert_eq!((pair.a.connections.len(), pair.b.connections.len()), (0, 0));
}

#[test]
fn a_reset_ends_both_sides() {
    let mut pair = Pair::new();
    let (client, _, server) = pair.connected("10.0.0.2:80");
    pair.a.abort(pair.now, client).unwrap();
    pair.cable();
    assert!(pair.b.readiness(server).contains(Readiness::ERROR | HANGUP));
    assert_eq!(recv(&mut pair.b, pair.now, server), Err(Error::ConnectionReset));
    assert_eq!(recv(&mut pair.b, pair.now, server), Ok(Vec::new()));
    assert_eq!(send(&mut pair.b, pair.now, server, b"x"), Err(Error::BrokenPipe));
    assert_eq!(pair.b.peer_addr(server), Err(Error::NotConnected));
    pair.b.close(pair.now, server).unwrap();
    assert_eq!((pair.a.connections.len(), pair.b.connections.len()), (0, 0));
}

#[test]
fn closing_with_unread_data_resets() {
    let mut pair = Pair::new();
    let (client, _, server) = pair.connected("10.0.0.2:80");
    send(&mut pair.a, pair.now, client, b"unread").unwrap();
    pair.cable();
    pair.b.close(pair.now, server).unwrap();
    pair.cable();
    assert_eq!(recv(&mut pair.a, pair.now, client), Err(Error::ConnectionReset));
}

#[test]
fn host_unreachable_ends_an_opening_connection_only_when_hard() {
    // MUST-54
    // An ICMP error quoting the SYN, from a router.
    let mut pair = Pair::new();
    let client = stream(&mut pair.a, addr("10.0.0.2:80"));
    let _ = pair.a.connect(pair.now, client, addr("10.0.0.2:80"));
    let mut batch = Batch::new();
    pair.a.poll_transmit(pair.now, LINK, &mut batch);
    let syn = batch.pop().unwrap().to_vec();
    let mut icmp = |code: u8, seq_offset: u8| {
        let mut bytes = vec![0; 28];
        let ip = sockeye_wire::Ipv4Header {
            total_len: (28 + syn.len()) as u16,
            protocol: sockeye_wire::Protocol::ICMP,
            src: [10, 0, 0, 254].into(),
            dst: [10, 0, 0, 1].into(),
            ..sockeye_wire::Ipv4Header::default()
        };
        ip.emit(&mut bytes);
        bytes[20..22].copy_from_slice(&[3, code]);
        bytes.extend(&syn);
        bytes[28 + 27] = bytes[28 + 27].wrapping_add(seq_offset);
        let meta =
            sockeye_packet::Meta { checksum: sockeye_packet::Checksum::Unfilled, ..Default::default() };
        batch.push(Packet::from_bytes(&Chunk::from(bytes), meta));
        pair.a.handle_packets(Instant::from_millis(2), LINK, &mut batch);
        pair.a.take_error(client)
    };
    assert_eq!(icmp(3, 9), None, "quotes a number that is not in flight");
    assert_eq!(icmp(1, 0), Some(Error::HostUnreachable));
}

#[test]
fn a_batch_is_taken_in_whole_before_it_is_acknowledged() {
    // RFC 9293 §3.10.7.4, MUST-58, MUST-59.
    let nic = NicConfig { max_segment: 0, ..NicConfig::memory("eth0", 1500) };
    let mut pair = Pair::with(&Config::default(), &nic);
    let (client, _, server) = pair.connected("10.0.0.2:80");
    send(&mut pair.a, pair.now, client, &[1; 10 * 1448]).unwrap();
    let mut batch = Batch::new();
    pair.a.poll_transmit(pair.now, LINK, &mut batch);
    assert_eq!(batch.len(), 10);
    pair.b.handle_packets(pair.now, LINK, &mut batch);
    assert_eq!(pair.b.recv_queued(server), 10 * 1448);
    pair.b.poll_transmit(pair.now, LINK, &mut batch);
    assert_eq!(batch.len(), 1, "one acknowledgment for all of them");
}

#[test]
fn nobody_has_to_wait_for_a_busy_neighbour() {
    let nic = NicConfig { max_segment: 0, ..NicConfig::memory("eth0", 1500) };
    let mut pair = Pair::with(&Config::default(), &nic);
    let (first, ..) = pair.connected("10.0.0.2:80");
    let second = stream(&mut pair.a, addr("10.0.0.2:80"));
    let _ = pair.a.connect(pair.now, second, addr("10.0.0.2:80"));
    pair.cable();
    for id in [first, second] {
        send(&mut pair.a, pair.now, id, &vec![1; 40 * 1448]).unwrap();
    }
    let mut batch = Batch::new();
    pair.a.poll_transmit(pair.now, LINK, &mut batch);
    let port = pair.a.local_addr(second).unwrap().port.to_be_bytes();
    let waited = batch.iter().position(|packet| packet.head[20..22] == port).unwrap();
    assert!(waited <= 8, "{waited} packets");
}

/// The clamp counts on both sides of a connection: for what the peer sends, and for what is sent to it.
#[test]
fn an_interface_clamps_the_mss() {
    for (to, mtu_mss) in [("10.0.0.2:80", 1460), ("[fd77::2]:80", 1440)] {
        for (clamp, mss) in [(0, mtu_mss), (1200, 1200), (9000, mtu_mss), (1, 48)] {
            let nic = NicConfig { max_segment: 0, mss_clamp: clamp, ..NicConfig::memory("eth0", 1500) };
            let mut pair = Pair::with(&Config::default(), &nic);
            let (client, _, server) = pair.connected(to);
            for (stack, id) in [(&pair.a, client), (&pair.b, server)] {
                let info = stack.tcp_info(pair.now, id).unwrap();
                assert_eq!((info.advmss, info.snd_mss), (mss, (mss - 12).max(36)), "{to} {clamp}");
            }
        }
    }
}

/// A peer who knows of no clamp is sent no more than it allows, and sends no more.
#[test]
fn a_clamp_at_one_end_is_enough() {
    let nic = NicConfig { max_segment: 0, ..NicConfig::memory("eth0", 1500) };
    let mut pair = Pair::with(&Config::default(), &nic);
    pair.a.io.nics[usize::from(LINK.0)].config.mss_clamp = 1000;
    let (client, _, server) = pair.connected("10.0.0.2:80");
    let mss = |stack: &Stack, id| stack.tcp_info(pair.now, id).unwrap().snd_mss;
    assert_eq!((mss(&pair.a, client), mss(&pair.b, server)), (988, 988));
}

/// What a router on a's side of the path says of a packet that was longer than `mtu`.
fn too_long(lost: &[u8], mtu: u16) -> Packet {
    let mut bytes = vec![0; 28];
    let ip = sockeye_wire::Ipv4Header {
        total_len: 28 + 28,
        protocol: sockeye_wire::Protocol::ICMP,
        src: [10, 0, 0, 254].into(),
        dst: [10, 0, 0, 1].into(),
        ..sockeye_wire::Ipv4Header::default()
    };
    ip.emit(&mut bytes);
    let [high, low] = mtu.to_be_bytes();
    bytes[20..28].copy_from_slice(&[3, 4, 0, 0, 0, 0, high, low]);
    bytes.extend(&lost[..28]);
    let meta = sockeye_packet::Meta { checksum: sockeye_packet::Checksum::Unfilled, ..Default::default() };
    Packet::from_bytes(&Chunk::from(bytes), meta)
}

/// A connection that has just learnt, by the loss of what it sent, that the path carries no more than 1000 bytes; and
/// the first packet that was lost.
fn on_a_path_of_1000() -> (Pair, SocketId, Vec<u8>) {
    let nic = NicConfig { max_segment: 0, ..NicConfig::memory("eth0", 1500) };
    let mut pair = Pair::with(&Config::default(), &nic);
    let (client, ..) = pair.connected("10.0.0.2:80");
    send(&mut pair.a, pair.now, client, &[1; 5000]).unwrap();
    let mut batch = Batch::new();
    pair.a.poll_transmit(pair.now, LINK, &mut batch);
    let lost = batch.pop().unwrap().to_vec();
    batch.drain().for_each(drop);
    batch.push(too_long(&lost, 1000));
    pair.a.handle_packets(pair.now, LINK, &mut batch);
    (pair, client, lost)
}

#[test]
fn a_path_is_looked_up_again_when_retransmissions_go_unanswered() {
    // MUST-20, SHLD-10: R1 (RFC 1122 §4.2.3.5)
    let (mut pair, client, _) = on_a_path_of_1000();
    // The path's MTU is forgotten after ten minutes, but who has found it keeps to it while all is well.
    pair.pass(Duration::from_secs(601));
    let mtu = |pair: &Pair| pair.a.tcp_info(pair.now, client).unwrap().pmtu;
    send(&mut pair.a, pair.now, client, &[1; 5000]).unwrap();
    pair.pass(Duration::from_secs(1));
    assert_eq!(mtu(&pair), 1000);
    pair.loses = |_, _| true;
    send(&mut pair.a, pair.now, client, &[1; 5000]).unwrap();
    // Three retransmissions, from 200 ms on.
    pair.pass(Duration::from_millis(2900));
    assert_eq!(mtu(&pair), 1000);
    pair.pass(Duration::from_secs(4));
    assert_eq!(mtu(&pair), 1500);
}

#[test]
fn a_smaller_path_is_learnt_from_those_who_quote_what_is_in_flight() {
    let (mut pair, client, lost) = on_a_path_of_1000();
    let mut batch = Batch::new();
    pair.pass(Duration::from_secs(2));
    assert_eq!(pair.a.tcp_info(pair.now, client).unwrap().snd_mss, 1000 - 52);
    // One that asks for next to nothing gets the least there is.
    send(&mut pair.a, pair.now, client, &[1; 100]).unwrap();
    pair.a.poll_transmit(pair.now, LINK, &mut batch);
    let quoted = batch.pop().unwrap().to_vec();
    let mut forged = too_long(&lost, 60).to_vec();
    forged[28..56].copy_from_slice(&quoted[..28]);
    let meta = sockeye_packet::Meta { checksum: sockeye_packet::Checksum::Unfilled, ..Default::default() };
    batch.push(Packet::from_bytes(&Chunk::from(forged), meta));
    pair.a.handle_packets(pair.now, LINK, &mut batch);
    pair.pass(Duration::from_secs(2));
    assert_eq!(pair.a.tcp_info(pair.now, client).unwrap().snd_mss, 552 - 52);
}

#[test]
fn who_blocks_for_want_of_memory_is_told_when_there_is_some() {
    let config = Config { memory: 120_000, ..Config::default() };
    let mut pair = Pair::with(&config, &NicConfig::memory("eth0", 1500));
    let listener = pair.listener("10.0.0.2:80", 5);
    let clients: Vec<SocketId> = (0..2).map(|_| stream(&mut pair.a, addr("10.0.0.2:80"))).collect();
    for id in &clients {
        assert_eq!(pair.a.connect(pair.now, *id, addr("10.0.0.2:80")), Err(Error::InProgress));
    }
    pair.cable();
    let servers: Vec<SocketId> = (0..2).map(|_| pair.b.accept(pair.now, listener).unwrap().0).collect();
    send(&mut pair.a, pair.now, clients[0], &alloc::vec![0; 80_000]).unwrap();
    let (mut sent, mut tries) = (0, 0);
    while let Ok(len) = send(&mut pair.a, pair.now, clients[1], &[0; 5_000]) {
        (sent, tries) = (sent + len, tries + 1);
        assert!(tries < 100);
    }
    assert!(pair.a.send_space(clients[1]) > 40_000, "there is room in its own buffer");
    events(&mut pair.a);
    pair.cable();
    assert!(events(&mut pair.a).contains(&clients[1]), "{sent} bytes were sent");
    let _ = servers;
}

#[test]
fn a_connection_stays_with_its_link_when_routes_change() {
    // Link-local addresses are the same on every link.
    let mut pair = Pair::new();
    for host in [&mut pair.a, &mut pair.b] {
        host.add_nic(NicConfig::memory("eth1", 1500)).unwrap();
    }
    let second = NicId(2);
    for (nic, prefix) in [(LINK, 64), (second, 64)] {
        pair.a.add_address(nic, "fe80::1".parse().unwrap(), prefix).unwrap();
        pair.b.add_address(nic, "fe80::2".parse().unwrap(), prefix).unwrap();
    }
    let to = SockAddr { scope: Some(second), ..addr("[fe80::2]:80") };
    let client = stream(&mut pair.a, to);
    assert_eq!(pair.a.connect(pair.now, client, to), Err(Error::InProgress));
    pair.a
        .add_route(crate::Route {
            dest: "2001:db8::".parse().unwrap(),
            prefix: 32,
            gateway: None,
            nic: LINK,
            metric: 0,
        })
        .unwrap();
    let mut batch = Batch::new();
    pair.a.poll_transmit(pair.now, LINK, &mut batch);
    assert_eq!(batch.len(), 0);
    pair.a.poll_transmit(pair.now, second, &mut batch);
    assert_eq!(batch.len(), 1);
}

#[test]
fn orphans_whose_peers_are_silent_count_for_more() {
    let mut config = Config::default();
    config.tcp.max_orphans = 3;
    let mut pair = Pair::with(&config, &NicConfig::memory("eth0", 1500));
    let listener = pair.listener("10.0.0.2:80", 5);
    let clients: Vec<SocketId> = (0..2).map(|_| stream(&mut pair.a, addr("10.0.0.2:80"))).collect();
    for id in &clients {
        assert_eq!(pair.a.connect(pair.now, *id, addr("10.0.0.2:80")), Err(Error::InProgress));
    }
    pair.cable();
    while pair.b.accept(pair.now, listener).is_ok() {}
    pair.loses = |_, _| true;
    for id in &clients {
        send(&mut pair.a, pair.now, *id, b"unheard").unwrap();
        pair.a.close(pair.now, *id).unwrap();
    }
    pair.pass(Duration::from_secs(5));
    assert_eq!((pair.a.io.orphans, pair.a.counters()[Counter::TcpAbortOnMemory]), (2, 0));
    let keys: Vec<_> = pair.a.connections.iter().map(|(key, _)| key).collect();
    for key in keys {
        let tcb = pair.a.connections.get_mut(key).unwrap();
        tcb.connection.on_unreachable(false, Error::HostUnreachable, &mut pair.a.io.budget);
    }
    // Each counts twice: the first to send again goes, which leaves room for the other.
    pair.pass(Duration::from_secs(10));
    assert_eq!((pair.a.io.orphans, pair.a.counters()[Counter::TcpAbortOnMemory]), (1, 1));
}

#[test]
fn orphans_that_hold_much_go_when_memory_is_short() {
    for (memory, max_orphans, gone) in [(60_000, 100, 1), (60_000, usize::MAX, 0), (1 << 20, 100, 0)] {
        let mut config = Config { memory, ..Config::default() };
        config.tcp.max_orphans = max_orphans;
        let mut pair = Pair::with(&config, &NicConfig::memory("eth0", 1500));
        let (client, ..) = pair.connected("10.0.0.2:80");
        pair.loses = |_, _| true;
        while send(&mut pair.a, pair.now, client, &[1; 3000]).is_ok() {}
        pair.a.close(pair.now, client).unwrap();
        pair.pass(Duration::from_secs(5));
        assert_eq!(pair.a.counters()[Counter::TcpAbortOnMemory], gone, "{memory} {max_orphans}");
        assert_eq!(pair.a.io.orphans, 1 - gone as usize);
    }
}

#[test]
fn who_refused_data_for_want_of_memory_says_when_there_is_some() {
    for (by_reading, by_closing) in [(true, false), (false, false), (false, true)] {
        let config = Config { memory: 60_000, ..Config::default() };
        let mut pair = Pair::with(&config, &NicConfig { max_segment: 0, ..NicConfig::memory("eth0", 1500) });
        let (client, _, server) = pair.connected("10.0.0.2:80");
        // Datagrams that nobody reads take what memory b has.
        let (from, to) = (datagram(&mut pair.a, "10.0.0.1:5"), datagram(&mut pair.b, "10.0.0.2:5"));
        for _ in 0..50 {
            let payload = sockeye_packet::Payload::from(Chunk::from(vec![0; 1400]));
            pair.a.send_to(pair.now, from, payload, Some(addr("10.0.0.2:5")), SendFlags::default()).unwrap();
            pair.cable();
        }
        assert_eq!(send(&mut pair.a, pair.now, client, &alloc::vec![7; 20_000]), Ok(20_000));
        // The sender has backed off far, and goes on at once all the same.
        pair.pass(Duration::from_secs(40));
        let mut got = 0;
        if by_reading {
            got += recv(&mut pair.b, pair.now, server).unwrap().len();
            assert!(got < 20_000);
        } else if by_closing {
            pair.b.close(pair.now, to).unwrap();
        } else {
            while pair.b.recv_from(pair.now, to, RecvFlags::default()).is_ok() {}
        }
        pair.pass(Duration::from_millis(300));
        if !by_reading {
            got += recv(&mut pair.b, pair.now, server).unwrap().len();
            assert_eq!(got, 20_000);
        }
        while let Ok(data) = recv(&mut pair.b, pair.now, server) {
            got += data.len();
            pair.pass(Duration::from_millis(300));
        }
        assert_eq!(got, 20_000, "{by_reading}");
    }
}

#[test]
fn who_waits_for_memory_no_more_is_forgotten() {
    let config = Config { memory: 60_000, ..Config::default() };
    let mut pair = Pair::with(&config, &NicConfig { max_segment: 0, ..NicConfig::memory("eth0", 1500) });
    pair.a.io.budget = sockeye_packet::Budget::new(1 << 20);
    let (client, listener, _) = pair.connected("10.0.0.2:80");
    assert!(send(&mut pair.a, pair.now, client, &alloc::vec![7; 70_000]).is_ok());
    pair.pass(Duration::from_secs(1));
    assert_eq!(pair.b.io.starved.len(), 1, "nobody reads");
    for _ in 0..100 {
        let next = stream(&mut pair.a, addr("10.0.0.2:80"));
        assert_eq!(pair.a.connect(pair.now, next, addr("10.0.0.2:80")), Err(Error::InProgress));
        pair.cable();
        let (accepted, _) = pair.b.accept(pair.now, listener).unwrap();
        // The first is taken, as all that come in order where nothing waits; the second finds no memory.
        for _ in 0..2 {
            assert_eq!(send(&mut pair.a, pair.now, next, &[7; 1400]), Ok(1400));
            pair.cable();
        }
        pair.a.abort(pair.now, next).unwrap();
        pair.cable();
        pair.b.close(pair.now, accepted).unwrap();
    }
    assert_eq!(pair.b.connections.len(), 1);
    let waiting = pair.b.io.starved.len();
    assert!(waiting < 20, "{waiting} wait");
}

/// A counter that starts over after 65,536 connections would look among the ports of the latest thousands.
#[test]
fn ports_of_connections_to_a_peer_follow_each_other() {
    let mut pair = Pair::new();
    let mut last: Option<u16> = None;
    for _ in 0..66_000 {
        let client = stream(&mut pair.a, addr("10.0.0.2:80"));
        assert_eq!(pair.a.connect(pair.now, client, addr("10.0.0.2:80")), Err(Error::InProgress));
        let port = pair.a.local_addr(client).unwrap().port;
        if let Some(last) = last {
            assert_eq!(port, if last == 60_999 { 32_768 } else { last + 1 });
        }
        last = Some(port);
        pair.a.close(pair.now, client).unwrap();
    }
}
