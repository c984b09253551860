//! Descriptions of networks: what they give, and how their faults are reported.

use sockeye::packet::{Chunk, Payload};
use sockeye::stack::{Domain, Event, Owner, RecvFlags, SendFlags, SockAddr, SocketType};
use sockeye::{Error, HostConfig, Instant, Network, Simulation, Subnet};
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
fn a_simulation_refuses_a_network_that_runs_by_itself() {
    let network = Network::builder().build().unwrap();
    assert!(matches!(Simulation::new(network), Err(Error::NotManual)));
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
