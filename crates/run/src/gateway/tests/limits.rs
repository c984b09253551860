//! Where flows may go, and what happens when something runs out.

use super::*;
use sockeye_stack::Unreachability;

#[test]
fn no_packet_reaches_the_machines_loopback_by_its_own_name() {
    let rig = Rig::new();
    for bad in [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "ff02::1",
        "fe80::1",
    ] {
        assert_eq!(rig.gateway.target_ip(bad.parse().unwrap()), Err(Unreachability::Prohibited), "{bad}");
    }
    for (good, to) in [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("10.77.255.254", "127.0.0.1"),
        ("fd77::ffff", "::1"),
    ] {
        assert_eq!(rig.gateway.target_ip(good.parse().unwrap()), Ok(to.parse().unwrap()));
    }
    let nowhere = rig.gateway.target(SockAddr::new("192.0.2.1".parse().unwrap(), 0));
    assert_eq!(nowhere, Err(Unreachability::Port));
}

#[test]
fn errors_of_the_machine_say_what_they_say_there() {
    use rustix::io::Errno;
    let cases = [
        (Errno::CONNREFUSED, Verdict::Reset),
        (Errno::TIMEDOUT, Verdict::Drop),
        (Errno::NETUNREACH, Verdict::Unreachable(Unreachability::Network)),
        (Errno::ADDRNOTAVAIL, Verdict::Unreachable(Unreachability::Network)),
        (Errno::HOSTUNREACH, Verdict::Unreachable(Unreachability::Host)),
        (Errno::ACCESS, Verdict::Unreachable(Unreachability::Prohibited)),
        (Errno::PERM, Verdict::Unreachable(Unreachability::Prohibited)),
        (Errno::MFILE, Verdict::Unreachable(Unreachability::Host)),
    ];
    for (error, verdict) in cases {
        assert_eq!(machine::verdict(error), verdict);
    }
}

#[test]
fn offline_nothing_leaves() {
    let mut rig = Rig::with(GatewayConfig { outward: false, ..GatewayConfig::default() });
    let to = "192.0.2.1:80".parse().unwrap();
    let id = rig.connect(SocketType::Stream, to);
    assert_eq!(rig.connected(id, to), Err(Error::NetworkUnreachable));
    let to = rig.outside("127.0.0.1:80".parse().unwrap());
    let id = rig.connect(SocketType::Stream, to);
    assert_eq!(rig.connected(id, to), Err(Error::HostUnreachable));
}

#[test]
fn one_connection_too_many_is_refused() {
    let mut rig = Rig::with(GatewayConfig { max_streams: 1, ..GatewayConfig::default() });
    let (first, mut stream) = rig.through(true);
    let to = rig.outside(stream.local_addr().unwrap());
    let id = rig.connect(SocketType::Stream, to);
    assert_eq!(rig.connected(id, to), Err(Error::HostUnreachable));
    rig.send(first, b"still").unwrap();
    assert_eq!(rig.read(&mut stream).unwrap(), b"still");
    assert!(rig.on_host(|stack, _| stack.readiness(first)).contains(Readiness::WRITABLE));
}

#[test]
fn a_client_that_gives_up_takes_its_connection_along() {
    let mut rig = Rig::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = rig.outside(listener.local_addr().unwrap());
    let id = rig.connect(SocketType::Stream, to);
    // The SYN is out and held, the machine connects, the program is gone.
    rig.on_host(|stack, now| stack.abort(now, id)).unwrap();
    rig.until("the machine's connection", |rig| {
        rig.turn();
        rig.gateway.tasks.iter().next().is_none().then_some(())
    });
    rig.until_idle();
}

/// Runs one of the tests below in a process of its own, for it takes all descriptors.
fn in_a_process_of_its_own(test: &str) {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--test-threads=1"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

#[test]
fn descriptors_run_out_in_good_order() {
    in_a_process_of_its_own(
        "gateway::tests::limits::without_descriptors_flows_are_refused_and_nothing_spins",
    );
}

#[test]
#[ignore = "takes all descriptors of its process: run by the test above"]
fn without_descriptors_flows_are_refused_and_nothing_spins() {
    let mut rig = Rig::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = rig.outside(listener.local_addr().unwrap());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let publication =
        Publication { protocol: PublishProtocol::Tcp, machine: free, host: rig.host.addresses(), port: 80 };
    rig.gateway.publish(&publication).unwrap();
    let inside = rig.listen(SocketAddr::new(rig.host.addresses()[0], 80));
    let client = TcpStream::connect(free).unwrap();
    let limit = rustix::process::Rlimit { current: Some(64), maximum: Some(64) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let taken: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    let id = rig.connect(SocketType::Stream, to);
    assert_eq!(rig.connected(id, to), Err(Error::HostUnreachable));
    let datagrams = rig.connect(SocketType::Datagram, to);
    rig.send(datagrams, b"?").unwrap();
    assert_eq!(rig.received(datagrams), Err(Error::HostUnreachable));
    assert!(rig.gateway.take_shortage(), "somebody is to be told");
    for _ in 0..100 {
        rig.turn();
        assert!(!rig.busy, "the loop spins");
    }
    drop(taken);
    let server = rig.accept(inside);
    rig.on_host(|stack, now| stack.close(now, server)).unwrap();
    drop(client);
    rig.until_idle();
}

/// A listener of the machine at which connects hang: its queue is full.
fn blackhole() -> (std::os::fd::OwnedFd, Vec<TcpStream>, SocketAddr) {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
    let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    bind(&listener, &any).unwrap();
    listen(&listener, 0).unwrap();
    let at = SocketAddr::try_from(getsockname(&listener).unwrap()).unwrap();
    let patience = Duration::from_millis(50);
    let waiting = std::iter::from_fn(|| TcpStream::connect_timeout(&at, patience).ok()).take(8).collect();
    (listener, waiting, at)
}

#[test]
fn who_only_connects_owes_the_machine_nothing() {
    let mut rig = Rig::new();
    let (_listener, _waiting, at) = blackhole();
    rig.connect(SocketType::Stream, rig.outside(at));
    rig.until("the attempt", |rig| (rig.gateway.flow_count() == 1).then_some(()));
    assert!(!rig.gateway.owes_the_machine(&rig.world));
}

#[test]
fn who_connects_to_nowhere_again_and_again_does_not_close_the_way_out() {
    let config = GatewayConfig { max_connecting: 4, max_streams: 16, ..GatewayConfig::default() };
    let mut rig = Rig::with(config);
    let (_listener, _waiting, at) = blackhole();
    for _ in 0..30 {
        let id = rig.connect(SocketType::Stream, rig.outside(at));
        rig.turn();
        rig.on_host(|stack, now| stack.abort(now, id)).unwrap();
    }
    assert_eq!(rig.gateway.flow_count(), 4);
    assert_eq!(rig.gateway.flows.len(), 4);
    let (id, mut stream) = rig.through(true);
    rig.send(id, b"out").unwrap();
    assert_eq!(rig.read(&mut stream).unwrap(), b"out");
}

#[test]
fn whoever_has_little_gets_in_where_somebody_has_much() {
    let mut rig = Rig::with(GatewayConfig { max_streams: 4, ..GatewayConfig::default() });
    let streams: Vec<_> = (0..3).map(|_| rig.through(true)).collect();
    let to = rig.outside(streams[0].1.local_addr().unwrap());
    let id = rig.connect(SocketType::Stream, to);
    assert_eq!(rig.connected(id, to), Err(Error::HostUnreachable));
    // A client of a published port is another.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let publication =
        Publication { protocol: PublishProtocol::Tcp, machine: free, host: rig.host.addresses(), port: 80 };
    rig.gateway.publish(&publication).unwrap();
    let inside = rig.listen(SocketAddr::new(rig.host.addresses()[0], 80));
    let _client = TcpStream::connect(free).unwrap();
    rig.accept(inside);
    assert_eq!(rig.gateway.flow_count(), 4);
}
