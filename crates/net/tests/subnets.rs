//! Networks of several subnets, with routers between them.

mod common;

use common::{Memory, exchange_from, random_bytes};
use sockeye::packet::{Chunk, Payload};
use sockeye::stack::{Counter, Domain, Owner, RecvFlags, SendFlags, SockAddr, SocketType};
use sockeye::{Direction, Error, Host, HostConfig, Network, NetworkBuilder, Simulation, SubnetConfig};
use std::net::IpAddr;
use std::time::Duration;

/// Three subnets in a row: `left`, `middle`, `right`, with the routers `r1` and `r2`.
fn row(mtu_of_middle: u32) -> NetworkBuilder {
    Network::builder()
        .seed(1)
        .named_subnet("left", SubnetConfig::default())
        .named_subnet("middle", SubnetConfig { mtu: Some(mtu_of_middle), ..SubnetConfig::default() })
        .named_subnet("right", SubnetConfig::default())
        .router("r1", ["left", "middle"])
        .router("r2", ["middle", "right"])
}

/// Sends a datagram, waits a second of virtual time, and answers what time to live it arrived with.
fn probe(simulation: &mut Simulation, from: &Host, to: &Host, at: IpAddr) -> Option<u8> {
    let domain = if at.is_ipv4() { Domain::Inet } else { Domain::Inet6 };
    let receiver = to.with_stack(|stack, _| {
        let id = stack.socket(domain, SocketType::Datagram, Owner::default()).unwrap();
        stack.bind(id, SockAddr::new(at, 9)).unwrap();
        id
    });
    let sender = from.with_stack(|stack, now| {
        let id = stack.socket(domain, SocketType::Datagram, Owner::default()).unwrap();
        let data = Payload::from(Chunk::copy_from(b"?"));
        // Where no route leads, nothing is sent.
        let _ = stack.send_to(now, id, data, Some(SockAddr::new(at, 9)), SendFlags::default());
        id
    });
    simulation.run_for(Duration::from_secs(1));
    from.with_stack(|stack, now| stack.close(now, sender).unwrap());
    to.with_stack(|stack, now| {
        let got = stack.recv_from(now, receiver, RecvFlags::default());
        stack.close(now, receiver).unwrap();
        got.ok().map(|datagram| datagram.ttl)
    })
}

#[test]
fn packets_cross_the_fewest_routers_both_ways_in_both_families() {
    let builder = row(1500)
        .router("detour", ["right", "left2"])
        .named_subnet("left2", SubnetConfig::default())
        .host("a", HostConfig::in_subnet("left"))
        .host("c", HostConfig::in_subnet("right"));
    let mut simulation = builder.simulate().unwrap();
    let [a, c, r1] = ["a", "c", "r1"].map(|name| simulation.host(name).unwrap());
    assert_eq!(a.addresses().map(|ip| ip.to_string()), ["10.77.0.3", "fd77::3"]);
    assert_eq!(c.addresses().map(|ip| ip.to_string()), ["10.79.0.4", "fd77:0:0:2::4"]);
    for ip in c.addresses() {
        assert_eq!(probe(&mut simulation, &a, &c, ip), Some(62), "{ip}");
    }
    for ip in a.addresses() {
        assert_eq!(probe(&mut simulation, &c, &a, ip), Some(62), "{ip}");
    }
    let far_side = simulation.network().interfaces(&r1)[1].clone();
    assert_eq!((far_side.name.as_str(), far_side.subnet.as_deref()), ("eth1", Some("middle")));
    assert_eq!(probe(&mut simulation, &a, &r1, far_side.addresses[0].0), Some(64), "it is the router's own");
    assert_eq!(probe(&mut simulation, &r1, &c, c.addresses()[0]), Some(63));
    // The gateway is in the first subnet, and reached from all.
    let gateway = simulation.network().gateway();
    assert_eq!(probe(&mut simulation, &c, &gateway, gateway.addresses()[1]), Some(62));
    assert_eq!(probe(&mut simulation, &gateway, &c, c.addresses()[0]), Some(62));
    assert_eq!(simulation.network().host_by_address(c.addresses()[1]).unwrap().name(), "c");
}

#[test]
fn streams_find_the_mtu_of_a_link_in_the_middle() {
    let data = Chunk::from(random_bytes(1, 300_000));
    let bad_link = "delay 5ms loss 1%".parse().unwrap();
    for name in ["right", "middle"] {
        let client = HostConfig { link: bad_link, ..HostConfig::in_subnet(name) };
        let builder = row(1280);
        let outcome = exchange_from(builder, client, [&data, &data], Duration::from_mins(10)).unwrap();
        let cut = |name: &str| {
            let router = outcome.simulation.host(name).unwrap();
            router.with_stack(|stack, _| stack.counters()[Counter::IpFragFails])
        };
        let from_outside = u64::from(name == "right");
        assert!(cut("r2") >= from_outside && (cut("r2") > 0) == (name == "right"), "{}", cut("r2"));
        assert_eq!(
            cut("r1") > 0,
            name == "right",
            "the server's link tells it all, unless both have longer ones"
        );
    }
}

#[test]
fn a_capture_has_an_interface_for_each_of_a_hosts() {
    let capture = Memory::default();
    let builder = row(1500)
        .capture_to(capture.clone())
        .host("a", HostConfig::in_subnet("left"))
        .host("c", HostConfig::in_subnet("right"));
    let mut simulation = builder.simulate().unwrap();
    let (a, c) = (simulation.host("a").unwrap(), simulation.host("c").unwrap());
    assert!(probe(&mut simulation, &a, &c, c.addresses()[0]).is_some());
    simulation.network().flush_captures().unwrap();
    let bytes = capture.bytes();
    let has = |name: &str| bytes.windows(name.len()).any(|part| part == name.as_bytes());
    assert!(["r1:left", "r1:middle", "r2:middle", "r2:right"].into_iter().all(has));
    // Each sent packet once: by a, r1 and r2. Enhanced packet blocks have type 6.
    let packets = bytes.windows(4).filter(|word| *word == 6_u32.to_le_bytes()).count();
    assert!(packets >= 3, "{packets}");
}

#[test]
fn partitions_hold_across_routers() {
    let builder = row(1500)
        .host("a", HostConfig::in_subnet("left"))
        .host("b", HostConfig::in_subnet("left"))
        .host("c", HostConfig::in_subnet("right"));
    let mut simulation = builder.simulate().unwrap();
    let [a, b, c, r1] = ["a", "b", "c", "r1"].map(|name| simulation.host(name).unwrap());
    let [ip_a, ip_b, ip_c] = [&a, &b, &c].map(|host| host.addresses()[0]);
    simulation.network().partition(&a, &c);
    assert_eq!(probe(&mut simulation, &a, &c, ip_c), None);
    assert_eq!(probe(&mut simulation, &c, &a, ip_a), None);
    assert_eq!(simulation.network().counters(&a).partitioned, 1);
    assert_eq!(probe(&mut simulation, &b, &c, ip_c), Some(62));
    assert_eq!(probe(&mut simulation, &a, &b, ip_b), Some(64));
    // An address given meanwhile is parted too, also when it was another's before.
    let more: IpAddr = "10.79.7.7".parse().unwrap();
    simulation.network().add_address(&c, more).unwrap();
    assert_eq!(probe(&mut simulation, &a, &c, more), None);
    simulation.network().remove_address(&c, more).unwrap();
    let d =
        simulation.add_host("d", HostConfig { ip: Some(more), ..HostConfig::in_subnet("right") }).unwrap();
    assert_eq!(probe(&mut simulation, &a, &d, more), Some(62));
    simulation.network().heal(&c, &a);
    assert_eq!(probe(&mut simulation, &a, &c, ip_c), Some(62));
    simulation.network().hold(&a, &c);
    assert_eq!(
        probe(&mut simulation, &a, &c, ip_c),
        None,
        "it waits, and its receiver is gone when it comes"
    );
    assert_eq!(probe(&mut simulation, &a, &b, ip_b), Some(64));
    simulation.network().release(&a, &c);
    assert_eq!(probe(&mut simulation, &a, &c, ip_c), Some(62));
    simulation.network().partition(&a, &r1);
    assert_eq!(probe(&mut simulation, &a, &c, ip_c), None, "its router is out of reach");
}

#[test]
fn routers_come_and_go() {
    let builder = Network::builder()
        .named_subnet("left", SubnetConfig::default())
        .named_subnet("right", SubnetConfig::default())
        .host("a", HostConfig::in_subnet("left"))
        .host("c", HostConfig::in_subnet("right"));
    let mut simulation = builder.seed(3).simulate().unwrap();
    let [a, c] = ["a", "c"].map(|name| simulation.host(name).unwrap());
    let ip = c.addresses()[1];
    assert_eq!(probe(&mut simulation, &a, &c, ip), None);
    let first = simulation.add_host("first", HostConfig::router(["left", "right"])).unwrap();
    let second = simulation.add_host("second", HostConfig::router(["right", "left"])).unwrap();
    let passed = |router: &Host| router.with_stack(|stack, _| stack.counters()[Counter::IpForwDatagrams]);
    assert_eq!(probe(&mut simulation, &a, &c, ip), Some(63));
    assert_eq!((passed(&first), passed(&second)), (1, 0));
    simulation.crash(&first);
    assert_eq!(probe(&mut simulation, &a, &c, ip), None, "nobody tells a of it");
    simulation.restart(&first);
    assert_eq!(probe(&mut simulation, &a, &c, ip), Some(63));
    simulation.network().remove_host(&first);
    assert_eq!(probe(&mut simulation, &a, &c, ip), Some(63));
    assert_eq!(passed(&second), 1);
    simulation.network().remove_host(&second);
    assert_eq!(probe(&mut simulation, &a, &c, ip), None);
    // A router may have the first address of a subnet that has no gateway.
    let first = InterfaceAt("10.78.0.1").router();
    simulation.add_host("third", first).unwrap();
    assert_eq!(probe(&mut simulation, &a, &c, ip), Some(63));
    assert_eq!(probe(&mut simulation, &c, &a, a.addresses()[0]), Some(63));
}

/// A router between `right`, where it has this address, and `left`.
struct InterfaceAt(&'static str);

impl InterfaceAt {
    fn router(&self) -> HostConfig {
        HostConfig { ip: Some(self.0.parse().unwrap()), ..HostConfig::router(["right", "left"]) }
    }
}

#[test]
fn links_have_conditions_by_subnet_and_by_interface() {
    let slow = SubnetConfig { link: "delay 10ms".parse().unwrap(), ..SubnetConfig::default() };
    let builder = Network::builder()
        .named_subnet("fast", SubnetConfig::default())
        .named_subnet("slow", slow)
        .router("r", ["fast", "slow"])
        .host("a", HostConfig::default())
        .host("b", HostConfig::in_subnet("slow"));
    let simulation = builder.simulate().unwrap();
    let network = simulation.network();
    let (r, b) = (simulation.host("r").unwrap(), simulation.host("b").unwrap());
    let delayed = |host: &Host, subnet: &str, way| !network.link_to(host, subnet, way).unwrap().0.is_clear();
    assert!(delayed(&b, "slow", Direction::Up) && delayed(&r, "SLOW", Direction::Down));
    assert!(!delayed(&r, "fast", Direction::Up));
    network.set_link_to(&r, "fast", Direction::Up, "loss 1%".parse().unwrap()).unwrap();
    network.set_link_to(&r, "slow", Direction::Down, "".parse().unwrap()).unwrap();
    assert!(delayed(&r, "fast", Direction::Up) && !delayed(&r, "slow", Direction::Down));
    assert!(matches!(
        network.set_link_to(&b, "fast", Direction::Up, "".parse().unwrap()),
        Err(Error::UnknownSubnet { .. })
    ));
}

#[test]
fn wrong_descriptions_are_told() {
    let two = || {
        let named = |v4: &str| SubnetConfig { v4: Some(v4.parse().unwrap()), ..SubnetConfig::default() };
        Network::builder().named_subnet("a", named("10.0.0.0/8")).named_subnet("b", named("172.16.0.0/16"))
    };
    let cases = [
        (two().host("x", HostConfig::in_subnet("c")), "\"c\""),
        (two().host("x", HostConfig::in_subnet("a").and_subnet("A")), "at most once"),
        (two().named_subnet("B", SubnetConfig::default()), "name of its own"),
        (
            two().named_subnet(
                "c",
                SubnetConfig { v4: Some("10.9.0.0/16".parse().unwrap()), ..SubnetConfig::default() },
            ),
            "10.9.0.0/16",
        ),
        (
            two().named_subnet(
                "c",
                SubnetConfig { v4: Some("fd00::/64".parse().unwrap()), ..SubnetConfig::default() },
            ),
            "IPv6",
        ),
        (
            two().host("x", HostConfig { ip: Some("172.16.0.9".parse().unwrap()), ..HostConfig::default() }),
            "10.0.0.0/8",
        ),
    ];
    for (builder, expected) in cases {
        let error = builder.build_manual().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    // What a host that could not be added had taken is free again.
    let network = two().build_manual().unwrap();
    let taken = HostConfig { ip: Some("10.0.0.9".parse().unwrap()), ..HostConfig::default().and_subnet("c") };
    assert!(network.add_host("x", taken).is_err());
    let free = HostConfig { ip: Some("10.0.0.9".parse().unwrap()), ..HostConfig::default() };
    assert_eq!(network.add_host("y", free).unwrap().ipv4().to_string(), "10.0.0.9");
}
