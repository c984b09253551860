//! Descriptions of networks: what they give, and how their faults are reported.

use sockeye::link::Cable;
use sockeye::packet::{Chunk, Payload};
use sockeye::stack::{Domain, Event, Intercept, Owner, RecvFlags, SendFlags, SockAddr, SocketType, Verdict};
use sockeye::{Error, Host, HostConfig, Instant, LinkInterface, Network, Subnet, SubnetConfig};
use std::io::{Read, Write};
use std::net::IpAddr;

fn at(ip: &str) -> HostConfig {
    HostConfig { ip: Some(ip.parse().unwrap()), ..HostConfig::default() }
}

fn addresses(network: &Network, name: &str) -> [String; 2] {
    network.host(name).unwrap().addresses().map(|address| address.to_string())
}

#[test]
fn hosts_get_the_addresses_they_state_and_the_others_the_next_free_ones() {
    let network = Network::builder()
        .host("a", HostConfig::default())
        .host("b", HostConfig::default())
        .host("c", at("10.77.0.3"))
        .host("d", at("fd77::1:2"))
        .build_manual();
    assert!(network.unwrap_err().to_string().contains("fd77::1:2"));
    let network = Network::builder()
        .host("a", HostConfig::default())
        .host("B", HostConfig::default())
        .host("c", at("10.77.0.3"))
        .host("d", at("fd77::102"))
        .build_manual()
        .unwrap();
    assert_eq!(addresses(&network, "a"), ["10.77.0.2", "fd77::2"]);
    assert_eq!(addresses(&network, "b"), ["10.77.0.4", "fd77::4"]);
    assert_eq!(addresses(&network, "C"), ["10.77.0.3", "fd77::3"]);
    assert_eq!(addresses(&network, "d"), ["10.77.1.2", "fd77::102"]);
    assert_eq!(network.gateway().addresses().map(|a| a.to_string()), ["10.77.0.1", "fd77::1"]);
    let found = network.host_by_address("fd77::3".parse().unwrap()).unwrap();
    assert_eq!(found.name(), "c");
    assert_eq!(network.host_by_address("10.77.0.1".parse().unwrap()).unwrap().name(), "gateway");
    assert!(network.host_by_address("10.77.0.99".parse().unwrap()).is_none());
    assert_eq!(network.hosts().len(), 4);
}

#[test]
fn hosts_can_be_added_later() {
    let network = Network::builder().host("a", HostConfig::default()).build_manual().unwrap();
    assert_eq!(network.add_host("b", HostConfig::default()).unwrap().ipv4().to_string(), "10.77.0.3");
    assert!(matches!(network.add_host("A", HostConfig::default()), Err(Error::DuplicateName { .. })));
    assert!(matches!(network.add_host("c", at("10.77.0.3")), Err(Error::DuplicateAddress { .. })));
    assert_eq!(network.add_host("c", HostConfig::default()).unwrap().ipv6().to_string(), "fd77::4");
}

#[test]
fn other_subnets() {
    let v4: Subnet = "192.168.7.0/28".parse().unwrap();
    let v6: Subnet = "2001:db8::/48".parse().unwrap();
    let mut builder = Network::builder().subnet(v4).subnet(v6);
    for number in 2..14 {
        builder = builder.host(format!("h{number}"), HostConfig::default());
    }
    let network = builder.build_manual().unwrap();
    assert_eq!(addresses(&network, "h13"), ["192.168.7.13", "2001:db8::d"]);
    let full = network.add_host("one-more", HostConfig::default()).unwrap_err().to_string();
    assert!(full.contains("one-more") && full.contains("192.168.7.0/28"), "{full}");
}

#[test]
fn packets_are_as_on_a_wire_where_links_take_no_super_segments() {
    for (whole, at_least, at_most) in [(true, 1, 40), (false, 140, 200)] {
        let builder = Network::builder().seed(1).super_segments(whole);
        let builder = builder.host("near", HostConfig::default()).host("far", HostConfig::default());
        let network = builder.build().unwrap();
        let (near, far) = (network.host("near").unwrap(), network.host("far").unwrap());
        let listener = far.tcp_listen((far.ipv4(), 80)).unwrap();
        let mut stream = near.tcp_connect((far.ipv4(), 80)).unwrap();
        stream.write_all(&vec![1; 200_000]).unwrap();
        drop(stream);
        let read = listener.accept().unwrap().0.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(read, 200_000);
        let sent = network.counters(&near).sent;
        assert!((at_least..at_most).contains(&sent), "{sent} packets of {whole}");
    }
}

#[test]
fn two_hosts_of_thousands_talk_without_the_others() {
    let many = (0..2000)
        .fold(Network::builder().seed(1), |builder, n| builder.host(format!("h{n}"), HostConfig::default()));
    let network = many.build_manual().unwrap();
    let (near, far) = (network.host("h7").unwrap(), network.host("h1999").unwrap());
    let address = SockAddr::new(far.ipv4().into(), 9);
    let receiver = far.with_stack(|stack, _| {
        let id = stack.socket(Domain::Inet, SocketType::Datagram, Owner::default()).unwrap();
        stack.bind(id, address).unwrap();
        id
    });
    near.with_stack(|stack, now| {
        let id = stack.socket(Domain::Inet, SocketType::Datagram, Owner::default()).unwrap();
        let payload = Payload::from(Chunk::from_static(b"hello"));
        stack.send_to(now, id, payload, Some(address), SendFlags::default()).unwrap();
    });
    assert_eq!(network.turn(Instant::from_millis(1)), None);
    assert_eq!(network.poll_event(), Some((far.id(), Event::Ready(receiver))));
    assert_eq!(network.poll_event(), None);
    let datagram = far.with_stack(|stack, now| stack.recv_from(now, receiver, RecvFlags::default())).unwrap();
    assert_eq!(datagram.payload.to_vec(), b"hello");
    assert_eq!((network.counters(&near).sent, network.counters(&far).received), (1, 1));
}

#[test]
fn errors_name_the_input() {
    let cases = [
        (vec![("web", HostConfig::default()), ("Web", HostConfig::default())], "Web"),
        (vec![("a", at("10.77.0.7")), ("b", at("fd77::7"))], "\"a\" has it"),
        (vec![("a", at("10.78.0.7"))], "10.78.0.7"),
        (vec![("a", at("10.77.0.1"))], "gateway"),
        (vec![("", HostConfig::default())], "empty"),
        (vec![("a_b", HostConfig::default())], "a_b"),
        (vec![("a.b", HostConfig::default())], "a.b"),
        (vec![("-a", HostConfig::default())], "hyphen"),
        (vec![("Gateway", HostConfig::default())], "taken"),
        (vec![("localhost", HostConfig::default())], "taken"),
        (vec![("10", HostConfig::default())], "number"),
    ];
    for (hosts, expected) in cases {
        let builder =
            hosts.into_iter().fold(Network::builder(), |builder, (name, config)| builder.host(name, config));
        let error = builder.build_manual().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains('\n'));
    }
    let error =
        Network::builder().capture("/nonexistent/capture.pcapng").build_manual().unwrap_err().to_string();
    assert!(error.contains("/nonexistent/capture.pcapng"), "{error}");
}

#[test]
fn further_addresses_come_and_go() {
    let network = Network::builder().host("a", HostConfig::default()).build_manual().unwrap();
    let (gateway, outside) = (network.gateway(), "192.0.2.53".parse::<IpAddr>().unwrap());
    network.add_address(&gateway, outside).unwrap();
    let again = network.add_address(&network.host("a").unwrap(), outside).unwrap_err().to_string();
    assert!(again.contains("192.0.2.53"), "{again}");
    network.remove_address(&gateway, outside).unwrap();
    network.add_address(&network.host("a").unwrap(), outside).unwrap();
}

/// A host and a gateway that intercepts, and a connection that the host opens.
fn connecting(to: SockAddr) -> (Network, sockeye::stack::SocketId) {
    let network = Network::builder().seed(1).host("me", HostConfig::default()).build_manual().unwrap();
    let gateway = network.gateway();
    network.set_gateway(Some(&gateway));
    network.machine_addresses().into_iter().for_each(|own| network.add_gateway_address(own).unwrap());
    gateway.with_stack(|stack, _| stack.intercept(Some(Intercept::default())));
    let domain = if to.is_v4() { Domain::Inet } else { Domain::Inet6 };
    let client = network.host("me").unwrap().with_stack(|stack, now| {
        let id = stack.socket(domain, SocketType::Stream, Owner::default()).unwrap();
        stack.connect(now, id, to).unwrap_err();
        id
    });
    network.turn(Instant::from_millis(1));
    (network, client)
}

#[test]
fn flows_out_of_the_network_are_for_the_gateway_to_answer() {
    for to in ["192.0.2.1:80", "[2001:db8::1]:80", "10.77.255.254:80", "[fd77::ffff]:80"] {
        let to = SockAddr::from(to.parse::<std::net::SocketAddr>().unwrap());
        let (network, client) = connecting(to);
        let gateway = network.gateway();
        let Some((host, Event::Incoming(flow))) = network.poll_event() else { panic!("no flow to {to}") };
        assert_eq!(host, gateway.id());
        let answered = gateway.with_stack(|stack, now| {
            assert_eq!(stack.flow(flow).map(|flow| flow.dst), Some(to));
            stack.answer(now, flow, Verdict::Accept)
        });
        answered.unwrap();
        network.turn(Instant::from_millis(2));
        let opened = std::iter::from_fn(|| network.poll_event())
            .find_map(|(host, event)| match event {
                Event::Opened(id, socket) if id == flow => Some((host, socket)),
                _ => None,
            })
            .unwrap();
        assert_eq!(opened.0, gateway.id());
        let me = network.host("me").unwrap();
        assert_eq!(me.with_stack(|stack, _| stack.peer_addr(client)), Ok(to));
        assert_eq!(gateway.with_stack(|stack, _| stack.local_addr(opened.1)), Ok(to));
    }
}

#[test]
fn events_of_flows_are_kept_beside_a_host_with_waiting_sockets() {
    let to = SockAddr::from("192.0.2.1:80".parse::<std::net::SocketAddr>().unwrap());
    let network = Network::builder().seed(1).host("me", HostConfig::default()).build_manual().unwrap();
    let gateway = network.gateway();
    // A handle on the gateway, so that its events are sorted as they come.
    let handle = gateway.udp_bind((gateway.ipv4(), 53)).unwrap();
    network.set_gateway(Some(&gateway));
    gateway.with_stack(|stack, _| stack.intercept(Some(Intercept::default())));
    network.host("me").unwrap().with_stack(|stack, now| {
        let id = stack.socket(Domain::Inet, SocketType::Stream, Owner::default()).unwrap();
        stack.connect(now, id, to).unwrap_err();
    });
    network.turn(Instant::from_millis(1));
    assert!(matches!(network.poll_event(), Some((_, Event::Incoming(_)))));
    drop(handle);
}

#[test]
fn an_address_that_a_host_has_is_not_the_gateways() {
    let network = Network::builder().host("me", at("10.77.0.9")).build_manual().unwrap();
    let error = network.add_gateway_address("10.77.0.9".parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("10.77.0.9"), "{error}");
    network.add_gateway_address(network.gateway().ipv4().into()).unwrap_err();
}

#[test]
fn the_gateway_is_no_host_that_a_name_finds() {
    let network = Network::builder().host("me", HostConfig::default()).build_manual().unwrap();
    for name in ["gateway", "Gateway"] {
        let error = network.host(name).unwrap_err();
        assert!(matches!(error, sockeye::Error::UnknownHost { .. }), "{error}");
        let error = network.add_host(name, HostConfig::default()).unwrap_err();
        assert!(matches!(error, sockeye::Error::BadName { .. }), "{error}");
    }
}

#[test]
fn the_end_of_time_is_never_reached() {
    let mut simulation = Network::builder().host("web", HostConfig::default()).simulate().unwrap();
    let web = simulation.host("web").unwrap();
    assert!(!simulation.run_until(Instant::FAR_FUTURE, |_| false));
    assert!(simulation.now() < Instant::FAR_FUTURE);
    let receiver = web.udp_bind((web.ipv4(), 9)).unwrap();
    receiver.set_nonblocking(true).unwrap();
    receiver.send_to(b"hello", (web.ipv4(), 9)).unwrap();
    let steps = (0..100).take_while(|_| simulation.step()).count();
    assert!(steps < 10, "it never comes to rest");
    assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 5);
    simulation.run_for(std::time::Duration::MAX);
}

#[test]
fn an_mtu_out_of_bounds_is_named_with_them() {
    let of_subnet = |mtu| {
        let subnet = SubnetConfig { mtu: Some(mtu), ..SubnetConfig::default() };
        Network::builder().named_subnet("lab", subnet).build_manual()
    };
    for mtu in [1279, 65_536] {
        let error = Network::builder().mtu(mtu).build().unwrap_err();
        assert!(matches!(&error, Error::BadMtu { name: None, mtu: bad, .. } if *bad == mtu), "{error}");
        let said = error.to_string();
        assert!(said.contains(&mtu.to_string()) && said.contains("1280") && said.contains("65535"), "{said}");
        assert!(of_subnet(mtu).unwrap_err().to_string().contains("\"lab\""));
    }
    for mtu in [1280, 65_535] {
        let network = Network::builder().mtu(mtu).host("a", HostConfig::default()).build_manual().unwrap();
        assert_eq!(network.interfaces(&network.host("a").unwrap())[0].mtu, mtu);
        of_subnet(mtu).unwrap();
    }
}

#[test]
fn what_would_count_for_nothing_is_refused() {
    let place: HostConfig = HostConfig { ip: Some("10.77.0.9".parse().unwrap()), ..HostConfig::default() };
    let subnet = "10.9.0.0/16".parse().unwrap();
    let descriptions = [
        Network::builder().gateway(place.clone()),
        Network::builder().gateway(HostConfig::router(["lab", "office"])),
        Network::builder().subnet(subnet).named_subnet("lab", SubnetConfig::default()),
    ];
    for description in descriptions {
        let error = description.build_manual().unwrap_err();
        assert!(matches!(error, Error::Contradiction { .. }), "{error}");
    }
    let lossy = HostConfig { link: "loss 1%".parse().unwrap(), ..HostConfig::default() };
    for config in [place, lossy] {
        let (near, _far) = Cable::default().connect();
        let refused = Host::over("a", near, &LinkInterface::new("eth0"), config).unwrap_err();
        assert!(matches!(refused, Error::Contradiction { .. }), "{refused}");
    }
    let (near, _far) = Cable::default().connect();
    let interface = LinkInterface { mtu: Some(70_000), ..LinkInterface::new("eth0") };
    let refused = Host::over("a", near, &interface, HostConfig::default()).unwrap_err();
    assert!(matches!(refused, Error::BadMtu { name: Some(name), mtu: 70_000, .. } if name == "eth0"));
}
