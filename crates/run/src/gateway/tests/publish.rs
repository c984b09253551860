//! Published ports: connections and datagrams into the network.

use super::*;
use std::net::UdpSocket;

/// A published port that leads to port 80 of the host, on a port of the machine that is free.
fn published(rig: &mut Rig, protocol: PublishProtocol, v4: bool) -> Publication {
    let free = match protocol {
        PublishProtocol::Tcp => TcpListener::bind(loopback(v4)).unwrap().local_addr().unwrap(),
        PublishProtocol::Udp => UdpSocket::bind(loopback(v4)).unwrap().local_addr().unwrap(),
    };
    let publication = Publication { protocol, machine: free, host: rig.host.addresses(), port: 80 };
    rig.gateway.publish(&publication).unwrap();
    publication
}

fn at_host(rig: &Rig, v4: bool) -> SocketAddr {
    SocketAddr::new(rig.host.addresses()[usize::from(!v4)], 80)
}

fn connect(publication: &Publication) -> TcpStream {
    let stream = TcpStream::connect(publication.machine).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

#[test]
fn connections_reach_the_host_at_whichever_address_it_listens() {
    for (outside, inside) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut rig = Rig::with(GatewayConfig { outward: false, ..GatewayConfig::default() });
        let publication = published(&mut rig, PublishProtocol::Tcp, outside);
        assert_eq!(rig.gateway.publications().collect::<Vec<_>>(), [publication]);
        let listener = rig.listen(at_host(&rig, inside));
        let mut client = connect(&publication);
        client.write_all(b"GET /").unwrap();
        let server = rig.accept(listener);
        assert_eq!(rig.received(server).unwrap(), b"GET /");
        let peer = rig.on_host(|stack, _| stack.peer_addr(server)).unwrap().ip_addr();
        assert!(rig.world.network().gateway().addresses().contains(&peer));
        rig.send(server, b"200 OK").unwrap();
        rig.on_host(|stack, now| stack.close(now, server)).unwrap();
        assert_eq!(rig.read(&mut client).unwrap(), b"200 OK");
        assert_eq!(rig.read(&mut client).unwrap(), b"");
        drop(client);
        rig.until_idle();
    }
}

#[test]
fn where_nobody_listens_the_client_is_reset() {
    let mut rig = Rig::new();
    let publication = published(&mut rig, PublishProtocol::Tcp, true);
    let mut client = connect(&publication);
    assert_eq!(rig.read(&mut client).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    rig.until_idle();
}

#[test]
fn a_reset_of_the_host_reaches_the_client() {
    let mut rig = Rig::new();
    let publication = published(&mut rig, PublishProtocol::Tcp, true);
    let listener = rig.listen(at_host(&rig, true));
    let mut client = connect(&publication);
    let server = rig.accept(listener);
    rig.on_host(|stack, now| stack.abort(now, server)).unwrap();
    assert_eq!(rig.read(&mut client).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    rig.until_idle();
}

#[test]
fn a_port_in_use_is_named_and_one_closed_is_free_again() {
    let mut rig = Rig::new();
    for protocol in [PublishProtocol::Tcp, PublishProtocol::Udp] {
        let publication = published(&mut rig, protocol, true);
        let now = rig.now();
        let error = rig.gateway.publish(&publication).unwrap_err().to_string();
        assert!(error.contains(&publication.machine.to_string()) && error.contains("in use"), "{error}");
        assert!(rig.gateway.unpublish(&rig.world, now, &publication));
        assert!(!rig.gateway.unpublish(&rig.world, now, &publication));
        assert!(rig.gateway.publications().all(|open| open != publication));
        rig.gateway.publish(&publication).unwrap();
    }
    let elsewhere = Publication {
        machine: "192.0.2.1:8080".parse().unwrap(),
        ..published(&mut rig, PublishProtocol::Tcp, true)
    };
    let error = rig.gateway.publish(&elsewhere).unwrap_err().to_string();
    assert!(error.contains("192.0.2.1:8080") && error.contains("no such address"), "{error}");
}

#[test]
fn datagrams_reach_the_host_and_answers_their_client() {
    for (outside, inside) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut rig = Rig::new();
        let publication = published(&mut rig, PublishProtocol::Udp, outside);
        let at = at_host(&rig, inside);
        let server = rig.on_host(|stack, _| {
            let domain = if inside { Domain::Inet } else { Domain::Inet6 };
            let id = stack.socket(domain, SocketType::Datagram, Owner::default()).unwrap();
            stack.bind(id, at.into()).unwrap();
            id
        });
        let clients: Vec<UdpSocket> = (0..3)
            .map(|_| {
                let client = UdpSocket::bind(loopback(outside)).unwrap();
                client.connect(publication.machine).unwrap();
                client.set_nonblocking(true).unwrap();
                client
            })
            .collect();
        for _ in 0..2 {
            for (number, client) in clients.iter().enumerate() {
                let question = pattern(number * 3000);
                client.send(&question).unwrap();
                let got = rig.until("the question", |rig| {
                    rig.on_host(|stack, now| stack.recv_from(now, server, RecvFlags::default())).ok()
                });
                assert_eq!(got.payload.to_vec(), question);
                let answer = Payload::from(Chunk::copy_from(&[number as u8; 9]));
                rig.on_host(|stack, now| {
                    stack.send_to(now, server, answer, Some(got.from), SendFlags::default())
                })
                .unwrap();
                let mut buffer = [0; 100];
                let len = rig.until("the answer", |_| client.recv(&mut buffer).ok());
                assert_eq!(buffer[..len], [number as u8; 9]);
            }
        }
        assert_eq!(rig.gateway.flow_count(), 3);
        let now = rig.now();
        assert!(rig.gateway.unpublish(&rig.world, now, &publication));
        rig.until_idle();
    }
}

#[test]
fn what_time_leaves_over_is_done_without_an_event() {
    let mut rig = Rig::new();
    let publication = published(&mut rig, PublishProtocol::Udp, true);
    let inside = rig.bound(at_host(&rig, true));
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    rig.turn();
    for number in 0..100_u8 {
        client.send_to(&[number], publication.machine).unwrap();
    }
    // As if descriptors had run out: what waits is not reported again, the time brings it back.
    let mut buffer = [MaybeUninit::<epoll::Event>::uninit(); EVENTS];
    epoll::wait(&rig.gateway.epoll, &mut buffer, None).unwrap();
    let (door, now) = (rig.gateway.tasks.iter().next().unwrap().0, rig.now());
    if let Some(Task::Door(door)) = rig.gateway.tasks.get(door) {
        door.readable = true;
    }
    rig.gateway.tasks.arm(door, now);
    for number in 0..100 {
        assert_eq!(rig.received(inside).unwrap(), [number]);
    }
}

#[test]
fn clients_of_a_published_port_push_out_nobody_else() {
    let config = GatewayConfig { max_guests: [2, 4], max_datagram_flows: 2, ..GatewayConfig::default() };
    let mut rig = Rig::with(config);
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = rig.outside(server.local_addr().unwrap());
    for number in 0..2 {
        let id = rig.connect(SocketType::Datagram, to);
        rig.on_host(|stack, now| {
            let payload = Payload::from(Chunk::copy_from(&[number]));
            stack.send_to(now, id, payload, None, SendFlags::default()).unwrap();
        });
    }
    rig.until("the program's flows", |rig| (rig.gateway.flow_count() == 2).then_some(()));
    let publication = published(&mut rig, PublishProtocol::Udp, true);
    let inside = rig.bound(at_host(&rig, true));
    for number in 0..10 {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(&[number], publication.machine).unwrap();
        assert_eq!(rig.received(inside).unwrap(), [number]);
    }
    assert_eq!((rig.gateway.datagram_flows.len(), rig.gateway.guests.len()), (2, 2));
    let now = rig.now();
    rig.gateway.unpublish(&rig.world, now, &publication);
    assert_eq!(rig.gateway.flow_count(), 2);
}

#[test]
fn a_thousand_ports_are_opened_and_closed() {
    let mut rig = Rig::new();
    let open: Vec<Publication> = (20_000..21_000)
        .map(|port| Publication {
            protocol: PublishProtocol::Udp,
            machine: SocketAddr::new("127.7.7.7".parse().unwrap(), port),
            host: rig.host.addresses(),
            port,
        })
        .filter(|publication| rig.gateway.publish(publication).is_ok())
        .collect();
    assert!(rig.gateway.publications().eq(open.iter().copied()));
    let now = rig.now();
    assert!(open.iter().all(|one| rig.gateway.unpublish(&rig.world, now, one)));
    assert!(rig.gateway.publications().next().is_none() && rig.gateway.tasks.iter().next().is_none());
}

#[test]
fn answers_of_a_port_at_all_addresses_come_from_the_one_that_was_asked() {
    let mut rig = Rig::new();
    let free = UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap();
    let publication =
        Publication { protocol: PublishProtocol::Udp, machine: free, host: rig.host.addresses(), port: 80 };
    rig.gateway.publish(&publication).unwrap();
    let server = rig.bound(at_host(&rig, true));
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_nonblocking(true).unwrap();
    for address in ["127.0.0.2", "127.0.0.3"] {
        let to = SocketAddr::new(address.parse().unwrap(), free.port());
        client.send_to(b"?", to).unwrap();
        let got = rig.until("the question", |rig| {
            rig.on_host(|stack, now| stack.recv_from(now, server, RecvFlags::default())).ok()
        });
        let answer = Payload::from(Chunk::copy_from(b"!"));
        rig.on_host(|stack, now| stack.send_to(now, server, answer, Some(got.from), SendFlags::default()))
            .unwrap();
        assert_eq!(rig.until("the answer", |_| client.recv_from(&mut [0; 9]).ok()), (1, to));
    }
    assert_eq!(rig.gateway.flow_count(), 2);
}
