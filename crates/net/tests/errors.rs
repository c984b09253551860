//! What goes wrong between hosts, and how connect and the sockets say so, under virtual time.

use sockeye::packet::{Chunk, Payload};
use sockeye::stack::{
    Config, Domain, Error, Owner, Readiness, RecvFlags, SendFlags, SockAddr, SocketId, SocketType, TcpConfig,
};
use sockeye::{Direction, Host, HostConfig, Instant, NetemConfig, Network, Simulation};
use std::net::IpAddr;
use std::time::Duration;

fn simulation() -> Simulation {
    let impatient = Config {
        tcp: TcpConfig { syn_retries: 2, syn_linear_timeouts: 0, ..TcpConfig::default() },
        ..Config::default()
    };
    Network::builder()
        .seed(1)
        .host("here", HostConfig { stack: impatient, ..HostConfig::default() })
        .host("there", HostConfig::default())
        .simulate()
        .unwrap()
}

fn socket(host: &Host, address: IpAddr, kind: SocketType) -> SocketId {
    let domain = if address.is_ipv4() { Domain::Inet } else { Domain::Inet6 };
    host.with_stack(|stack, _| stack.socket(domain, kind, Owner::default()).unwrap())
}

/// Connects and returns the pending error, and when it came.
fn connect(simulation: &mut Simulation, host: &Host, address: IpAddr) -> (Option<Error>, Duration) {
    let begin = simulation.now();
    let id = socket(host, address, SocketType::Stream);
    let started = host.with_stack(|stack, now| stack.connect(now, id, SockAddr::new(address, 80)));
    assert_eq!(started, Err(Error::InProgress));
    let ready = Readiness::WRITABLE.union(Readiness::ERROR);
    let limit = begin + Duration::from_hours(1);
    let done =
        simulation.run_until(limit, |_| host.with_stack(|stack, _| stack.readiness(id).intersects(ready)));
    assert!(done, "neither connected nor failed");
    let error = host.with_stack(|stack, now| {
        let error = stack.take_error(id);
        stack.close(now, id).unwrap();
        error
    });
    (error, simulation.now() - begin)
}

#[test]
fn addresses_that_nobody_has_are_unreachable() {
    let mut simulation = simulation();
    let here = simulation.network().host("here").unwrap();
    for address in ["10.77.9.9", "fd77::9"] {
        let (error, took) = connect(&mut simulation, &here, address.parse().unwrap());
        assert_eq!(error, Some(Error::HostUnreachable), "{address}");
        assert!(took < Duration::from_millis(1), "{address} took {took:?}");
    }
}

#[test]
fn addresses_outside_the_network_are_unreachable_without_a_gateway() {
    let mut simulation = simulation();
    let here = simulation.network().host("here").unwrap();
    for address in ["192.0.2.1", "2001:db8::1"] {
        let (error, _) = connect(&mut simulation, &here, address.parse().unwrap());
        assert_eq!(error, Some(Error::NetworkUnreachable), "{address}");
    }
}

#[test]
fn a_port_without_a_listener_refuses() {
    let mut simulation = simulation();
    let (here, there) =
        (simulation.network().host("here").unwrap(), simulation.network().host("there").unwrap());
    for address in there.addresses() {
        assert_eq!(connect(&mut simulation, &here, address).0, Some(Error::ConnectionRefused), "{address}");
    }
}

#[test]
fn a_link_that_loses_everything_times_out_after_the_configured_retries() {
    let mut simulation = simulation();
    let network = simulation.network().clone();
    let (here, there) = (network.host("here").unwrap(), network.host("there").unwrap());
    network.set_link(&here, Direction::Up, NetemConfig { loss: 100.0, ..NetemConfig::default() });
    let (error, took) = connect(&mut simulation, &here, there.ipv4().into());
    assert_eq!(error, Some(Error::TimedOut));
    // The SYN and two repetitions: 1 s, 2 s and 4 s.
    assert_eq!(took.as_millis(), 7000);
}

#[test]
fn partitions_are_silent_until_they_heal() {
    let mut simulation = simulation();
    let network = simulation.network().clone();
    let (here, there) = (network.host("here").unwrap(), network.host("there").unwrap());
    network.partition(&here, &there);
    assert_eq!(connect(&mut simulation, &here, there.ipv4().into()).0, Some(Error::TimedOut));
    network.heal(&here, &there);
    assert_eq!(connect(&mut simulation, &here, there.ipv4().into()).0, Some(Error::ConnectionRefused));
}

#[test]
fn a_connected_udp_socket_learns_that_its_peer_is_not_there() {
    let mut simulation = simulation();
    let network = simulation.network().clone();
    let (here, there) = (network.host("here").unwrap(), network.host("there").unwrap());
    let cases =
        [(there.ipv4().into(), Error::ConnectionRefused), (there.ipv6().into(), Error::ConnectionRefused)];
    for (address, expected) in cases {
        let id = socket(&here, address, SocketType::Datagram);
        here.with_stack(|stack, now| {
            stack.connect(now, id, SockAddr::new(address, 9)).unwrap();
            let payload = Payload::from(Chunk::from_static(b"?"));
            stack.send_to(now, id, payload, None, SendFlags::default()).unwrap();
        });
        let limit = simulation.now() + Duration::from_secs(1);
        assert!(simulation.run_until(limit, |_| {
            here.with_stack(|stack, _| stack.readiness(id).contains(Readiness::ERROR))
        }));
        let result = here.with_stack(|stack, now| stack.recv_from(now, id, RecvFlags::default()));
        assert_eq!(result.map(|_| ()), Err(expected), "{address}");
    }
}

#[test]
fn an_idle_network_has_nothing_to_do() {
    let simulation = simulation();
    assert_eq!(simulation.network().turn(Instant::from_millis(1)), None);
    assert_eq!(simulation.network().poll_event(), None);
}
