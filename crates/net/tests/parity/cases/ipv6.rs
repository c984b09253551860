//! IPv6, and sockets of both families.

use crate::api::{
    Api, Listener, NOBODY, Socket, Stream, Udp, assert_bytes, kind, listener, listener_at, pair_at,
    random_bytes, read_all, read_some, receive,
};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const ANY: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// An IPv4 address as sockets of both families see it.
fn mapped(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().into(),
        IpAddr::V6(_) => ip,
    }
}

pub(crate) async fn both_ends_agree_on_addresses<A: Api>(api: &A) {
    let (listener, addr) = listener_at(api, api.place().server_v6).await;
    assert!(addr.is_ipv6());
    let client = api.connect(addr).await.unwrap();
    let (server, peer) = listener.accept().await.unwrap();
    assert_eq!(client.peer_addr().unwrap(), addr);
    assert_eq!(server.local_addr().unwrap(), addr);
    assert_eq!(client.local_addr().unwrap(), peer);
    assert_eq!(server.peer_addr().unwrap(), peer);
    assert_eq!(peer.ip(), api.place().client_v6);
}

pub(crate) async fn megabytes_arrive<A: Api>(api: &A) {
    let (mut client, mut server) = pair_at(api, api.place().server_v6).await;
    let data = random_bytes(20, 3 << 20);
    let sent = data.clone();
    let sending = api.spawn(async move { client.write_all(&sent).await.unwrap() });
    assert_bytes(&read_all(&mut server).await, &data);
    sending.join().await;
}

pub(crate) async fn nobody_listens_is_refused<A: Api>(api: &A) {
    assert_eq!(kind(api.connect((api.place().server_v6, NOBODY)).await), ErrorKind::ConnectionRefused);
}

pub(crate) async fn listeners_of_both_families_share_a_port<A: Api>(api: &A) {
    let (v4, addr) = listener(api).await;
    let v6 = api.listen((api.place().server_v6, addr.port())).await.unwrap();
    let to_v4 = api.connect(addr).await.unwrap();
    let to_v6 = api.connect((api.place().server_v6, addr.port())).await.unwrap();
    assert_eq!(v4.accept().await.unwrap().1, to_v4.local_addr().unwrap());
    assert_eq!(v6.accept().await.unwrap().1, to_v6.local_addr().unwrap());
}

pub(crate) async fn an_address_of_one_family_is_not_the_others<A: Api>(api: &A) {
    let (_listener, addr) = listener_at(api, api.place().server_v6).await;
    assert_eq!(kind(api.connect((api.place().server, addr.port())).await), ErrorKind::ConnectionRefused);
}

pub(crate) async fn a_dual_listener_accepts_both<A: Api>(api: &A) {
    let listener = api.listen((ANY, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(listener.local_addr().unwrap().ip(), ANY);
    let v6 = api.connect((api.place().server_v6, port)).await.unwrap();
    assert_eq!(listener.accept().await.unwrap().1, v6.local_addr().unwrap());
    let mut v4 = api.connect((api.place().server, port)).await.unwrap();
    let (mut server, peer) = listener.accept().await.unwrap();
    assert_eq!(peer, SocketAddr::new(mapped(api.place().client), v4.local_addr().unwrap().port()));
    assert_eq!(server.local_addr().unwrap(), SocketAddr::new(mapped(api.place().server), port));
    assert_eq!(server.peer_addr().unwrap(), peer);
    v4.write_all(b"mapped").await.unwrap();
    assert_eq!(read_some(&mut server, 6).await, b"mapped");
}

pub(crate) async fn a_dual_listener_takes_the_port_of_both<A: Api>(api: &A) {
    let listener = api.listen((ANY, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let any_v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    assert_eq!(kind(api.listen((any_v4, port)).await), ErrorKind::AddrInUse);
    assert_eq!(kind(api.listen((api.place().server, port)).await), ErrorKind::AddrInUse);
}

pub(crate) async fn only_v6_leaves_the_other_family<A: Api>(api: &A) {
    let socket = api.server_socket(ANY).unwrap();
    socket.set_only_v6(true).unwrap();
    socket.bind(SocketAddr::new(ANY, 0)).unwrap();
    let v6 = socket.listen(8).unwrap();
    let port = v6.local_addr().unwrap().port();
    assert_eq!(kind(api.connect((api.place().server, port)).await), ErrorKind::ConnectionRefused);
    let v4 = api.listen((api.place().server, port)).await.unwrap();
    let to_v4 = api.connect((api.place().server, port)).await.unwrap();
    let to_v6 = api.connect((api.place().server_v6, port)).await.unwrap();
    assert_eq!(v4.accept().await.unwrap().1, to_v4.local_addr().unwrap());
    assert_eq!(v6.accept().await.unwrap().1, to_v6.local_addr().unwrap());
}

pub(crate) async fn a_mapped_address_connects_to_ipv4<A: Api>(api: &A) {
    let (listener, addr) = listener(api).await;
    let to = SocketAddr::new(mapped(addr.ip()), addr.port());
    let client = api.connect(to).await.unwrap();
    assert_eq!(client.peer_addr().unwrap(), to);
    assert_eq!(client.local_addr().unwrap().ip(), mapped(api.place().client));
    let (server, peer) = listener.accept().await.unwrap();
    assert_eq!(peer.ip(), api.place().client);
    assert_eq!(server.local_addr().unwrap(), addr);
}

pub(crate) async fn datagrams_arrive<A: Api>(api: &A) {
    let server = api.server_udp((api.place().server_v6, 0)).await.unwrap();
    let client = api.client_udp((api.place().client_v6, 0)).await.unwrap();
    let data = random_bytes(21, 1452);
    client.send_to(&data, server.local_addr().unwrap()).await.unwrap();
    let (received, from) = receive(&server).await;
    assert_bytes(&received, &data);
    assert_eq!(from, client.local_addr().unwrap());
    server.send_to(b"back", from).await.unwrap();
    assert_eq!(receive(&client).await, (b"back".to_vec(), server.local_addr().unwrap()));
}

pub(crate) async fn a_large_datagram_arrives<A: Api>(api: &A) {
    let server = api.server_udp((api.place().server_v6, 0)).await.unwrap();
    let client = api.client_udp((api.place().client_v6, 0)).await.unwrap();
    // IPv6 counts its header apart: 20 bytes more than over IPv4.
    let data = random_bytes(22, 65_527);
    assert_eq!(client.send_to(&data, server.local_addr().unwrap()).await.unwrap(), data.len());
    assert_bytes(&receive(&server).await.0, &data);
    assert!(client.send_to(&vec![0; 65_528], server.local_addr().unwrap()).await.is_err());
}

pub(crate) async fn a_dual_udp_socket_talks_to_both<A: Api>(api: &A) {
    let server = api.server_udp((ANY, 0)).await.unwrap();
    let port = server.local_addr().unwrap().port();
    let v4 = api.client_udp((api.place().client, 0)).await.unwrap();
    v4.send_to(b"four", (api.place().server, port)).await.unwrap();
    let (data, from) = receive(&server).await;
    assert_eq!(data, b"four");
    assert_eq!(from, SocketAddr::new(mapped(api.place().client), v4.local_addr().unwrap().port()));
    server.send_to(b"back", from).await.unwrap();
    let (data, from) = receive(&v4).await;
    // Of the host's addresses, its routes choose.
    assert_eq!((&data[..], from.is_ipv4(), from.port()), (&b"back"[..], true, port));
    let v6 = api.client_udp((api.place().client_v6, 0)).await.unwrap();
    v6.send_to(b"six", (api.place().server_v6, port)).await.unwrap();
    assert_eq!(receive(&server).await, (b"six".to_vec(), v6.local_addr().unwrap()));
}

pub(crate) async fn nobody_there_is_told<A: Api>(api: &A) {
    let client = api.client_udp((api.place().client_v6, 0)).await.unwrap();
    client.connect((api.place().server_v6, NOBODY)).await.unwrap();
    client.send(b"anybody?").await.unwrap();
    assert_eq!(kind(client.recv(&mut [0; 8]).await), ErrorKind::ConnectionRefused);
}

/// `EAFNOSUPPORT`, for which `std` has no kind.
pub(crate) async fn an_ipv4_socket_has_no_way_to_ipv6<A: Api>(api: &A) {
    let client = api.client_udp((api.place().client, 0)).await.unwrap();
    let server = api.server_udp((api.place().server_v6, 0)).await.unwrap();
    assert!(client.send_to(b"x", server.local_addr().unwrap()).await.is_err());
    assert!(client.connect(server.local_addr().unwrap()).await.is_err());
}

pub(crate) async fn ttl_is_the_hop_limit_of_mapped_peers<A: Api>(api: &A) {
    let (client, _server) = pair_at(api, api.place().server_v6).await;
    assert_eq!(client.ttl().unwrap(), 64);
    client.set_ttl(5).unwrap();
    assert_eq!(client.ttl().unwrap(), 5);
}

pub(crate) async fn addresses_have_no_scope<A: Api>(api: &A) {
    let (client, server) = pair_at(api, api.place().server_v6).await;
    for addr in [client.local_addr(), client.peer_addr(), server.local_addr(), server.peer_addr()] {
        let SocketAddr::V6(addr) = addr.unwrap() else { panic!("an IPv4 address") };
        assert_eq!((addr.scope_id(), addr.flowinfo()), (0, 0));
    }
}
