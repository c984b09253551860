//! UDP and pings out of the network.

use super::*;
use sockeye_packet::{Batch, Checksum, Meta, Packet};
use std::net::UdpSocket;

fn send_datagram(rig: &Rig, id: SocketId, data: &[u8]) {
    let payload = Payload::from(Chunk::copy_from(data));
    // An error of one sent before is told instead.
    let _ = rig.on_host(|stack, now| stack.send_to(now, id, payload, None, SendFlags::default()));
}

fn read_datagram(rig: &mut Rig, socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    socket.set_nonblocking(true).unwrap();
    rig.until("a datagram", |_| {
        let mut buffer = vec![0; 65536];
        let (len, from) = socket.recv_from(&mut buffer).ok()?;
        Some((buffer[..len].to_vec(), from))
    })
}

#[test]
fn datagrams_cross_both_ways_whole_and_empty_ones_too() {
    for v4 in [true, false] {
        let mut rig = Rig::new();
        let server = UdpSocket::bind(loopback(v4)).unwrap();
        let to = rig.outside(server.local_addr().unwrap());
        let id = rig.connect(SocketType::Datagram, to);
        for data in [b"hello".to_vec(), Vec::new(), pattern(60_000)] {
            send_datagram(&rig, id, &data);
            let (got, from) = read_datagram(&mut rig, &server);
            assert_eq!(got, data);
            server.send_to(&data, from).unwrap();
            assert_eq!(rig.received(id).unwrap(), data);
        }
        assert_eq!(rig.gateway.flow_count(), 1);
        // A minute is too short once something came back, three are not.
        rig.skipped += Duration::from_secs(100);
        rig.turn();
        assert_eq!(rig.gateway.flow_count(), 1);
        rig.skipped += Duration::from_secs(100);
        rig.until_idle();
    }
}

#[test]
fn a_flow_that_nothing_answers_ends_after_a_minute() {
    let mut rig = Rig::new();
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let id = rig.connect(SocketType::Datagram, rig.outside(server.local_addr().unwrap()));
    send_datagram(&rig, id, b"?");
    read_datagram(&mut rig, &server);
    rig.skipped += Duration::from_secs(61);
    rig.until_idle();
    // The next datagram opens another.
    send_datagram(&rig, id, b"again");
    assert_eq!(read_datagram(&mut rig, &server).0, b"again");
}

#[test]
fn a_closed_port_refuses_datagrams() {
    for v4 in [true, false] {
        let mut rig = Rig::new();
        let unused = UdpSocket::bind(loopback(v4)).unwrap().local_addr().unwrap();
        let id = rig.connect(SocketType::Datagram, rig.outside(unused));
        send_datagram(&rig, id, b"?");
        assert_eq!(rig.received(id), Err(Error::ConnectionRefused));
    }
}

#[test]
fn one_flow_too_many_ends_the_one_that_is_idle_for_longest() {
    let mut rig = Rig::with(GatewayConfig { max_datagram_flows: 3, ..GatewayConfig::default() });
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = rig.outside(server.local_addr().unwrap());
    let ids: Vec<SocketId> = (0..4)
        .map(|number: u8| {
            let id = rig.connect(SocketType::Datagram, to);
            send_datagram(&rig, id, &[number]);
            assert_eq!(read_datagram(&mut rig, &server).0, [number]);
            id
        })
        .collect();
    assert_eq!(rig.gateway.flow_count(), 3);
    assert_eq!(rig.gateway.sockets.len(), 3);
    send_datagram(&rig, ids[3], b"latest");
    let (_, latest) = read_datagram(&mut rig, &server);
    server.send_to(b"still open", latest).unwrap();
    assert_eq!(rig.received(ids[3]).unwrap(), b"still open");
}

/// The host's echo request to `dst`, as it arrives at the gateway.
fn ping(rig: &mut Rig, dst: IpAddr) {
    let data = b"ping data";
    let mut bytes = match (rig.host.ipv4(), rig.host.ipv6(), dst) {
        (src, _, IpAddr::V4(dst)) => {
            let mut head = vec![0x45, 0, 0, 28 + data.len() as u8, 0, 0, 0, 0, 64, 1, 0, 0];
            head.extend(src.octets().into_iter().chain(dst.octets()));
            head.extend([8, 0]);
            head
        }
        (_, src, IpAddr::V6(dst)) => {
            let mut head = vec![0x60, 0, 0, 0, 0, 8 + data.len() as u8, 58, 64];
            head.extend(src.octets().into_iter().chain(dst.octets()));
            head.extend([128, 0]);
            head
        }
    };
    bytes.extend([0, 0, 0x12, 0x34, 0, 7]);
    bytes.extend(data);
    let meta = Meta { checksum: Checksum::Unfilled, ..Meta::default() };
    let gateway = rig.world.network().gateway();
    gateway.with_stack(|stack, now| {
        let mut batch = Batch::new();
        batch.push(Packet::from_bytes(&Chunk::from(bytes), meta));
        stack.handle_packets(now, gateway.nic(), &mut batch);
    });
}

#[test]
fn a_ping_of_the_machine_is_answered_or_refused() {
    for machine in Rig::new().world.network().machine_addresses() {
        let mut rig = Rig::new();
        let received = |rig: &Rig| rig.world.network().counters(&rig.host).received;
        let before = received(&rig);
        ping(&mut rig, machine);
        rig.until("an answer", |rig| (received(rig) == before + 1).then_some(()));
        let pings = rig.gateway.flow_count();
        if pings == 0 {
            eprintln!("skipped: this process may not ping");
        }
        // The same ping goes on by the same socket.
        ping(&mut rig, machine);
        rig.until("another answer", |rig| (received(rig) == before + 2).then_some(()));
        assert_eq!(rig.gateway.flow_count(), pings);
        rig.skipped += Duration::from_secs(31);
        rig.until_idle();
    }
}

#[test]
fn replies_of_the_machine_reach_the_socket_that_asked() {
    for machine in Rig::new().world.network().machine_addresses() {
        let mut rig = Rig::new();
        let ids = [(); 2].map(|()| rig.connect(SocketType::Ping, SocketAddr::new(machine, 0)));
        let kind = if machine.is_ipv4() { 8 } else { 128 };
        for seq in [7, 8] {
            for (id, data) in ids.into_iter().zip(["one", "two"]) {
                send_datagram(&rig, id, &[&[kind, 0, 0, 0, 0, 0, 0, seq], data.as_bytes()].concat());
            }
            for (id, data) in ids.into_iter().zip(["one", "two"]) {
                let got = rig.until("an answer", |rig| {
                    match rig.on_host(|stack, now| stack.recv_from(now, id, RecvFlags::default())) {
                        Err(Error::WouldBlock) => None,
                        answer => Some(answer),
                    }
                });
                let Ok(got) = got else {
                    eprintln!("skipped: this process may not ping");
                    return;
                };
                let [high, low] = got.to.port.to_be_bytes();
                let message = got.payload.to_vec();
                assert_eq!(message[..2], [if kind == 8 { 0 } else { 129 }, 0]);
                assert_eq!((&message[4..8], &message[8..]), (&[high, low, 0, seq][..], data.as_bytes()));
                assert_eq!((got.from.ip_addr(), got.from.port, got.ttl), (machine, 0, 64));
                assert_eq!(rig.on_host(|stack, _| stack.local_addr(id)).unwrap().port, got.to.port);
            }
        }
        assert_eq!(rig.gateway.flow_count(), 2);
    }
}

#[test]
fn pings_are_bounded_and_go_nowhere_that_flows_do_not() {
    let mut rig = Rig::with(GatewayConfig { max_pings: 0, ..GatewayConfig::default() });
    let before = rig.world.network().counters(&rig.host).received;
    ping(&mut rig, "127.0.0.1".parse().unwrap());
    ping(&mut rig, "240.0.0.1".parse().unwrap());
    rig.until("a refusal", |rig| (rig.world.network().counters(&rig.host).received > before).then_some(()));
    assert!(rig.gateway.flow_count() <= 1);
}
