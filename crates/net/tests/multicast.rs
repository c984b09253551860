//! Groups of UDP sockets, on a network of several hosts.

use sockeye::{Host, HostConfig, Network, Simulation, UdpSocket};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 1, 3);

fn three_hosts() -> (Simulation, [Host; 3]) {
    let names = ["a", "b", "c"];
    let hosts =
        names.iter().fold(Network::builder().seed(1), |all, name| all.host(*name, HostConfig::default()));
    let simulation = hosts.simulate().unwrap();
    let hosts = names.map(|name| simulation.host(name).unwrap());
    (simulation, hosts)
}

/// What each socket has received, after a while.
fn heard(simulation: &mut Simulation, sockets: &[UdpSocket]) -> Vec<usize> {
    simulation.run_for(Duration::from_secs(1));
    let count = |socket: &UdpSocket| {
        socket.set_nonblocking(true).unwrap();
        std::iter::from_fn(|| socket.recv(&mut [0; 16]).ok()).count()
    };
    sockets.iter().map(count).collect()
}

#[test]
fn who_is_in_a_group_hears_what_is_sent_there() {
    let (mut simulation, hosts) = three_hosts();
    let sockets = hosts.each_ref().map(|host| host.udp_bind((ANY, 9)).unwrap());
    let sender = hosts[0].udp_bind((ANY, 0)).unwrap();
    sockets[0].join_multicast_v4(&GROUP, &ANY).unwrap();
    sockets[1].join_multicast_v4(&GROUP, &hosts[1].ipv4()).unwrap();
    assert_eq!(sockets[1].join_multicast_v4(&GROUP, &ANY).unwrap_err().kind(), ErrorKind::AddrInUse);
    sender.send_to(b"all", (GROUP, 9)).unwrap();
    assert_eq!(heard(&mut simulation, &sockets), [1, 1, 0]);
    sender.set_multicast_loop_v4(false).unwrap();
    sender.send_to(b"others", (GROUP, 9)).unwrap();
    assert_eq!(heard(&mut simulation, &sockets), [0, 1, 0]);
    sockets[1].leave_multicast_v4(&GROUP, &ANY).unwrap();
    sender.send_to(b"nobody", (GROUP, 9)).unwrap();
    assert_eq!(heard(&mut simulation, &sockets), [0, 0, 0]);
    let gone = sockets[1].leave_multicast_v4(&GROUP, &ANY).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::AddrNotAvailable);
    assert_eq!(sockets[1].join_multicast_v4(&ANY, &ANY).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn groups_of_ipv6_have_their_interface_by_number() {
    let (mut simulation, hosts) = three_hosts();
    let sockets = hosts.each_ref().map(|host| host.udp_bind((Ipv6Addr::UNSPECIFIED, 9)).unwrap());
    sockets[1].join_multicast_v6(&GROUP_V6, 0).unwrap();
    sockets[2].join_multicast_v6(&GROUP_V6, hosts[2].nic().0.into()).unwrap();
    assert!(sockets[0].join_multicast_v6(&GROUP_V6, 7).is_err());
    sockets[0].send_to(b"all", (GROUP_V6, 9)).unwrap();
    assert_eq!(heard(&mut simulation, &sockets), [0, 1, 1]);
    sockets[2].leave_multicast_v6(&GROUP_V6, 0).unwrap();
    sockets[0].set_multicast_if_v6(hosts[0].nic().0.into()).unwrap();
    sockets[0].send_to(b"one", (GROUP_V6, 9)).unwrap();
    assert_eq!(heard(&mut simulation, &sockets), [0, 1, 0]);
}

#[test]
fn of_a_group_one_source_can_be_heard() {
    let (mut simulation, hosts) = three_hosts();
    let sockets = hosts.each_ref().map(|host| host.udp_bind((ANY, 9)).unwrap());
    sockets[2].join_ssm_v4(&hosts[0].ipv4(), &GROUP, &ANY).unwrap();
    for sender in &sockets[..2] {
        sender.send_to(b"one of two", (GROUP, 9)).unwrap();
    }
    assert_eq!(heard(&mut simulation, &sockets), [0, 0, 1]);
    sockets[2].leave_ssm_v4(&hosts[0].ipv4(), &GROUP, &ANY).unwrap();
    sockets[0].send_to(b"none", (GROUP, 9)).unwrap();
    assert_eq!(heard(&mut simulation, &sockets), [0, 0, 0]);
}

#[test]
fn options_of_groups_are_what_was_set() {
    let (mut simulation, hosts) = three_hosts();
    let sockets = hosts.each_ref().map(|host| host.udp_bind((ANY, 9)).unwrap());
    let socket = &sockets[0];
    assert_eq!((socket.multicast_ttl_v4().unwrap(), socket.multicast_loop_v4().unwrap()), (1, true));
    assert_eq!(socket.set_multicast_ttl_v4(256).unwrap_err().kind(), ErrorKind::InvalidInput);
    for socket in &sockets {
        socket.join_multicast_v4(&GROUP, &ANY).unwrap();
    }
    socket.set_multicast_ttl_v4(0).unwrap();
    assert_eq!(socket.multicast_ttl_v4().unwrap(), 0);
    socket.send_to(b"nobody but me", (GROUP, 9)).unwrap();
    assert_eq!(heard(&mut simulation, &sockets), [1, 0, 0]);
    let socket = hosts[0].udp_bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    socket.set_multicast_hops_v6(3).unwrap();
    socket.set_multicast_loop_v6(false).unwrap();
    assert_eq!((socket.multicast_hops_v6().unwrap(), socket.multicast_loop_v6().unwrap()), (3, false));
    socket.set_multicast_if_v4(&hosts[0].ipv4()).unwrap();
    assert!(socket.set_multicast_if_v4(&Ipv4Addr::new(192, 0, 2, 1)).is_err());
}

#[test]
fn broadcasts_reach_every_host() {
    let (mut simulation, hosts) = three_hosts();
    let sockets = hosts.each_ref().map(|host| host.udp_bind((ANY, 9)).unwrap());
    let sender = hosts[0].udp_bind((ANY, 0)).unwrap();
    sender.set_broadcast(true).unwrap();
    for everybody in ["10.77.255.255", "255.255.255.255"] {
        sender.send_to(b"all", (everybody.parse::<IpAddr>().unwrap(), 9)).unwrap();
    }
    assert_eq!(heard(&mut simulation, &sockets)[1..], [2, 2]);
}

#[cfg(feature = "simulation")]
#[test]
fn tasks_have_groups_too() {
    let (mut simulation, [a, b, _]) = three_hosts();
    let member = sockeye::tokio::UdpSocket::from(b.udp_bind((ANY, 9)).unwrap());
    member.join_multicast_v4(GROUP, ANY).unwrap();
    let len = simulation.block_on(async move {
        let sender = sockeye::tokio::UdpSocket::bind(&a, (ANY, 0)).await?;
        sender.send_to(b"all", (GROUP, 9)).await?;
        member.recv(&mut [0; 8]).await
    });
    assert_eq!(len.unwrap().unwrap(), 3);
}
