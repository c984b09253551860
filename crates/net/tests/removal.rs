//! Hosts that are removed, and networks whose last handle goes.

use sockeye::stack::{Domain, Owner, SockAddr, SocketType, TcpState};
use sockeye::{Direction, Error, HostConfig, Network, SubnetConfig, Verdict};
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

fn network() -> Network {
    Network::builder()
        .host("stays", HostConfig::default())
        .host("goes", HostConfig::default())
        .build()
        .unwrap()
}

#[test]
fn a_removed_hosts_connections_are_reset_and_its_waiters_woken() {
    let network = network();
    let (stays, goes) = (network.host("stays").unwrap(), network.host("goes").unwrap());
    let listener = stays.tcp_listen((stays.ipv4(), 80)).unwrap();
    let near = goes.tcp_connect((stays.ipv4(), 80)).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    let own_listener = goes.tcp_listen((goes.ipv4(), 81)).unwrap();
    let datagrams = goes.udp_bind((goes.ipv4(), 82)).unwrap();
    // All of them wait, or soon will: either way they end.
    let waiting = [
        thread::spawn({
            let near = near.try_clone().unwrap();
            move || (&near).read(&mut [0; 8]).map(drop)
        }),
        thread::spawn(move || own_listener.accept().map(drop)),
        thread::spawn(move || datagrams.recv_from(&mut [0; 8]).map(drop)),
        thread::spawn(move || far.read(&mut [0; 8]).map(drop)),
    ];
    network.remove_host(&goes);
    for thread in waiting {
        assert_eq!(thread.join().unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    assert_eq!((&near).write(b"x").unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(goes.udp_bind((goes.ipv4(), 0)).unwrap_err().kind(), ErrorKind::NetworkUnreachable);
    // Once more does nothing.
    network.remove_host(&goes);
    drop(near);
}

#[test]
fn a_removed_hosts_name_and_addresses_are_free_and_its_number_is_not() {
    let network = network();
    let goes = network.host("goes").unwrap();
    let (id, address) = (goes.id(), goes.addresses()[0]);
    let last = network.add_host("last", HostConfig::default()).unwrap();
    network.remove_host(&goes);
    assert!(network.host("goes").is_err() && network.host_by_id(id).is_none());
    assert!(network.host_by_address(address).is_none());
    assert_eq!(
        network.hosts().iter().map(|host| host.name().to_owned()).collect::<Vec<_>>(),
        ["stays", "last"]
    );
    assert_eq!(network.host_by_id(last.id()).unwrap().name(), "last");
    let again = network.add_host("goes", HostConfig::default()).unwrap();
    assert_eq!(again.addresses()[0], address);
    assert_eq!(again.id().index(), last.id().index() + 1);
    // What is asked of the old handle doesn't touch the new host.
    network.set_link(&goes, Direction::Up, "loss 100%".parse().unwrap());
    assert!(network.link(&again, Direction::Up).0.is_clear());
    network.remove_host(&goes);
    let listener = again.tcp_listen((again.ipv4(), 80)).unwrap();
    network.host("stays").unwrap().tcp_connect((again.ipv4(), 80)).unwrap();
    listener.accept().unwrap();
    // The gateway stays.
    network.remove_host(&network.gateway());
    assert_eq!(network.gateway().name(), "gateway");
}

#[test]
fn peers_hear_of_a_removal_over_the_links_as_they_are() {
    let far = HostConfig { link: "delay 30ms".parse().unwrap(), ..HostConfig::default() };
    let mut simulation =
        Network::builder().seed(1).host("a", HostConfig::default()).host("b", far).simulate().unwrap();
    let [a, b] = ["a", "b"].map(|name| simulation.host(name).unwrap());
    let address = SockAddr::new(a.ipv4().into(), 80);
    let listener = a.with_stack(|stack, now| {
        let id = stack.socket(Domain::Inet, SocketType::Stream, Owner::default()).unwrap();
        stack.bind(id, address).unwrap();
        stack.listen(now, id, 1).unwrap();
        id
    });
    b.with_stack(|stack, now| {
        let id = stack.socket(Domain::Inet, SocketType::Stream, Owner::default()).unwrap();
        let _ = stack.connect(now, id, address);
    });
    simulation.run_for(std::time::Duration::from_secs(1));
    let (server, _) = a.with_stack(|stack, now| stack.accept(now, listener)).unwrap();
    let state = || a.with_stack(|stack, _| stack.tcp_state(server));
    let removed_at = simulation.now();
    simulation.network().remove_host(&b);
    assert_eq!(state(), Some(TcpState::Established));
    let limit = removed_at + std::time::Duration::from_secs(1);
    assert!(simulation.run_until(limit, |_| state() != Some(TcpState::Established)));
    assert_eq!(simulation.now(), removed_at + std::time::Duration::from_millis(30));
}

#[test]
fn who_missed_a_removal_is_told_that_nobody_is_there() {
    let two = Network::builder().seed(1).host("a", HostConfig::default()).host("b", HostConfig::default());
    let mut simulation = two.simulate().unwrap();
    let [a, b] = ["a", "b"].map(|name| simulation.host(name).unwrap());
    let listener = b.tcp_listen((&b, 80)).unwrap();
    let connecting = thread::spawn({
        let (a, address) = (a.clone(), (b.ipv4(), 80));
        move || a.tcp_connect(address).unwrap()
    });
    while !connecting.is_finished() {
        simulation.run_for(Duration::from_millis(1));
    }
    let (mut stream, _) = (connecting.join().unwrap(), listener.accept().unwrap());
    // The resets are lost.
    simulation.network().set_link(&b, Direction::Up, "loss 100%".parse().unwrap());
    simulation.network().remove_host(&b);
    simulation.run_for(Duration::from_secs(1));
    assert_eq!(stream.info().unwrap().state, TcpState::Established);
    // What is sent is answered, but that ends no connection (RFC 9293 §3.9.2.2, MUST-56): its timers do.
    stream.write_all(b"anybody?").unwrap();
    simulation.run_for(Duration::from_mins(5));
    assert_eq!(stream.info().unwrap().state, TcpState::Established);
    simulation.run_for(Duration::from_mins(30));
    assert_eq!(stream.write(b"x").unwrap_err().kind(), ErrorKind::HostUnreachable);
}

#[test]
fn taps_see_what_passes_and_go_with_their_host() {
    let network = network();
    let (stays, goes) = (network.host("stays").unwrap(), network.host("goes").unwrap());
    let (seen, other) = (Arc::new(std::sync::Mutex::new(Vec::new())), Arc::new(()));
    let log = Arc::clone(&seen);
    let tap = network.tap(&goes, Direction::Down, move |_, packet| {
        log.lock().unwrap().push(packet.len());
        Verdict::Pass
    });
    let (handle, kept) = (goes.clone(), Arc::clone(&other));
    network.tap(&goes, Direction::Down, move |_, packet| {
        let _ = &kept;
        // A tap may use the network, and this host too.
        let answer = handle.udp_bind((handle.ipv4(), 0)).unwrap();
        answer.send_to(b"seen", (stays.ipv4(), 7)).unwrap();
        if packet.len() > 100 { Verdict::Drop } else { Verdict::Pass }
    });
    let stays = network.host("stays").unwrap();
    let log = stays.udp_bind((stays.ipv4(), 7)).unwrap();
    let receiver = goes.udp_bind((goes.ipv4(), 9)).unwrap();
    let sender = stays.udp_bind((stays.ipv4(), 0)).unwrap();
    for len in [200, 10, 300, 20] {
        sender.send_to(&vec![0; len], (goes.ipv4(), 9)).unwrap();
    }
    let mut buffer = [0; 512];
    assert_eq!([(); 2].map(|()| receiver.recv_from(&mut buffer).unwrap().0), [10, 20]);
    for _ in 0..4 {
        assert_eq!(log.recv_from(&mut buffer).unwrap().0, 4);
    }
    assert_eq!(*seen.lock().unwrap(), [228, 38, 328, 48]);
    assert!(network.remove_tap(&goes, tap) && !network.remove_tap(&goes, tap));
    assert_eq!(Arc::strong_count(&seen), 1);
    assert_eq!(Arc::strong_count(&other), 2);
    network.remove_host(&goes);
    assert_eq!(Arc::strong_count(&other), 1, "a removed host's taps are gone");
}

#[test]
fn a_tap_may_remove_its_own_host() {
    let network = network();
    let (stays, goes) = (network.host("stays").unwrap(), network.host("goes").unwrap());
    let listener = stays.tcp_listen("stays:80").unwrap();
    let mut near = goes.tcp_connect("stays:80").unwrap();
    let (mut far, _) = listener.accept().unwrap();
    let (handle, host) = (network.clone(), goes.clone());
    // The resets that the removal sends come by the tap which is running.
    network.tap(&goes, Direction::Up, move |_, _| {
        handle.remove_host(&host);
        Verdict::Pass
    });
    // Its acknowledgment passes the tap.
    far.write_all(b"the last straw").unwrap();
    assert_eq!(far.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(network.host("goes").is_err());
    assert_eq!(near.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn what_is_held_for_a_removed_host_does_not_wait_for_who_gets_its_address() {
    let mut simulation = Network::builder()
        .named_subnet("near", SubnetConfig::default())
        .named_subnet("far", SubnetConfig::default())
        .router("router", ["near", "far"])
        .host("stays", HostConfig::in_subnet("near"))
        .host("goes", HostConfig::in_subnet("far"))
        .simulate()
        .unwrap();
    let [stays, goes] = ["stays", "goes"].map(|name| simulation.host(name).unwrap());
    simulation.hold(&stays, &goes);
    simulation.network().remove_host(&goes);
    let next = simulation.add_host("next", HostConfig::in_subnet("far")).unwrap();
    assert_eq!(next.addresses(), goes.addresses());
    let receiver = next.udp_bind((next.ipv4(), 9)).unwrap();
    receiver.set_nonblocking(true).unwrap();
    stays.udp_bind((stays.ipv4(), 0)).unwrap().send_to(b"hello", (next.ipv4(), 9)).unwrap();
    simulation.run_for(Duration::from_secs(1));
    assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 5);
}

#[test]
fn what_was_a_sockets_number_before_a_removal_or_crash_is_nobodys() {
    let mut simulation = Network::builder().seed(1).host("goes", HostConfig::default()).simulate().unwrap();
    let goes = simulation.host("goes").unwrap();
    let stale =
        |goes: &sockeye::Host| -> Vec<_> { (0..3).map(|_| goes.udp_bind((goes, 0)).unwrap()).collect() };
    let make = |stack: &mut sockeye::stack::Stack| {
        (0..3).map(|_| stack.socket(Domain::Inet, SocketType::Datagram, Owner::default()).unwrap()).collect()
    };
    let mut seen = Vec::new();
    for removed in [false, true] {
        let old = stale(&goes);
        if removed {
            simulation.network().remove_host(&goes);
        } else {
            simulation.restart(&goes);
        }
        let new: Vec<_> = goes.with_stack(|stack, _| make(stack));
        assert!(
            old.iter().all(|socket| socket.local_addr().unwrap_err().kind() == ErrorKind::ConnectionReset)
        );
        drop(old);
        goes.with_stack(|stack, _| assert!(new.iter().all(|&id| stack.owner(id).is_ok()), "{removed}"));
        assert!(new.iter().all(|id| !seen.contains(id)));
        seen.extend(new);
    }
}

#[test]
fn another_networks_host_is_none_of_this_one() {
    let network = network();
    // Its second host has the number of this network's.
    let other = Network::builder()
        .named_subnet("first", SubnetConfig::default())
        .named_subnet("second", SubnetConfig::default())
        .host("foreign", HostConfig::default())
        .host("stranger", HostConfig::in_subnet("second"))
        .build_manual()
        .unwrap();
    let (stays, goes) = (network.host("stays").unwrap(), network.host("goes").unwrap());
    let stranger = other.host("stranger").unwrap();
    assert_eq!(stranger.id(), goes.id());

    network.set_link(&stranger, Direction::Up, "loss 100%".parse().unwrap());
    assert!(network.link(&goes, Direction::Up).0.is_clear());
    network.partition(&stays, &stranger);
    network.hold(&stays, &stranger);
    let receiver = goes.udp_bind((goes.ipv4(), 9)).unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stays.udp_bind((stays.ipv4(), 0)).unwrap().send_to(b"hello", (goes.ipv4(), 9)).unwrap();
    assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 5);
    assert_eq!(network.counters(&stranger).sent, 0);
    assert_eq!(network.interfaces(&stranger)[0].subnet.as_deref(), Some("second"));
    let unknown = |result| matches!(result, Err(Error::UnknownHost { .. }));
    assert!(unknown(network.add_address(&stranger, "10.77.9.9".parse().unwrap())));
    assert!(unknown(network.remove_address(&stranger, goes.ipv4().into())));
    assert!(unknown(network.capture_host(&stranger, "/nonexistent/capture.pcapng")));
}
