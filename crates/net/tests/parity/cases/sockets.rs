//! Sockets whose options are set before they listen or connect.

use crate::api::{Api, Listener, NOBODY, Socket, Stream, kind, listener, read_some};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub(crate) async fn a_socket_listens<A: Api>(api: &A) {
    let socket = api.server_socket(api.place().server).unwrap();
    socket.bind((api.place().server, 0).into()).unwrap();
    let addr = socket.local_addr().unwrap();
    assert_ne!(addr.port(), 0);
    let listener = socket.listen(16).unwrap();
    assert_eq!(listener.local_addr().unwrap(), addr);
    let mut client = api.connect(addr).await.unwrap();
    let (mut server, peer) = listener.accept().await.unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    client.write_all(b"works").await.unwrap();
    assert_eq!(read_some(&mut server, 5).await, b"works");
}

pub(crate) async fn a_socket_connects<A: Api>(api: &A) {
    let (listener, addr) = listener(api).await;
    let mut client = api.client_socket(addr.ip()).unwrap().connect(addr).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    server.write_all(b"works").await.unwrap();
    assert_eq!(read_some(&mut client, 5).await, b"works");
}

pub(crate) async fn a_client_may_choose_its_port<A: Api>(api: &A) {
    let (listener, addr) = listener(api).await;
    let socket = api.client_socket(addr.ip()).unwrap();
    socket.bind((api.place().client, 0).into()).unwrap();
    let local = socket.local_addr().unwrap();
    let client = socket.connect(addr).await.unwrap();
    assert_eq!(client.local_addr().unwrap(), local);
    assert_eq!(listener.accept().await.unwrap().1, local);
}

pub(crate) async fn a_fresh_socket_has_no_address<A: Api>(api: &A) {
    let socket = api.client_socket(api.place().client).unwrap();
    assert_eq!(socket.local_addr().unwrap(), SocketAddr::from(([0, 0, 0, 0], 0)));
}

/// A bound socket that doesn't listen has its port, and refuses.
pub(crate) async fn a_bound_socket_refuses<A: Api>(api: &A) {
    let socket = api.server_socket(api.place().server).unwrap();
    socket.bind((api.place().server, 0).into()).unwrap();
    let addr = socket.local_addr().unwrap();
    assert_eq!(kind(api.connect(addr).await), ErrorKind::ConnectionRefused);
    let listener = socket.listen(1).unwrap();
    let client = api.connect(addr).await.unwrap();
    assert_eq!(listener.accept().await.unwrap().1, client.local_addr().unwrap());
}

pub(crate) async fn a_socket_binds_once<A: Api>(api: &A) {
    let socket = api.server_socket(api.place().server).unwrap();
    socket.bind((api.place().server, 0).into()).unwrap();
    assert_eq!(kind(socket.bind((api.place().server, 0).into())), ErrorKind::InvalidInput);
}

pub(crate) async fn a_bound_address_is_in_use<A: Api>(api: &A) {
    let first = api.server_socket(api.place().server).unwrap();
    first.bind((api.place().server, 0).into()).unwrap();
    let second = api.server_socket(api.place().server).unwrap();
    assert_eq!(kind(second.bind(first.local_addr().unwrap())), ErrorKind::AddrInUse);
    // Unlike many other failures, this one leaves the socket as it was.
    second.bind((api.place().server, 0).into()).unwrap();
    assert_ne!(second.local_addr().unwrap(), first.local_addr().unwrap());
}

pub(crate) async fn reuseaddr_shares_until_one_listens<A: Api>(api: &A) {
    let [first, second] = [(); 2].map(|()| {
        let socket = api.server_socket(api.place().server).unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket
    });
    first.bind((api.place().server, 0).into()).unwrap();
    second.bind(first.local_addr().unwrap()).unwrap();
    let _listener = first.listen(1).unwrap();
    assert_eq!(kind(second.listen(1)), ErrorKind::AddrInUse);
}

pub(crate) async fn reuseport_shares_a_port<A: Api>(api: &A) {
    let [first, second] = [(); 2].map(|()| {
        let socket = api.server_socket(api.place().server).unwrap();
        socket.set_reuseport(true).unwrap();
        socket
    });
    first.bind((api.place().server, 0).into()).unwrap();
    let addr = first.local_addr().unwrap();
    second.bind(addr).unwrap();
    let (_first, second) = (first.listen(1).unwrap(), second.listen(1).unwrap());
    assert_eq!(second.local_addr().unwrap(), addr);
    let stranger = api.server_socket(api.place().server).unwrap();
    assert_eq!(kind(stranger.bind(addr)), ErrorKind::AddrInUse, "all must want it");
}

pub(crate) async fn without_reuseaddr_time_wait_keeps_the_address<A: Api>(api: &A) {
    let (listener, addr) = listener(api).await;
    let mut client = api.connect(addr).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    drop(server);
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    drop((client, listener));
    let again = api.server_socket(addr.ip()).unwrap();
    assert_eq!(kind(again.bind(addr)), ErrorKind::AddrInUse);
    again.set_reuseaddr(true).unwrap();
    again.bind(addr).unwrap();
}

pub(crate) async fn an_unbound_socket_listens_anywhere<A: Api>(api: &A) {
    let listener = api.server_socket(api.place().server).unwrap().listen(4).unwrap();
    let addr = listener.local_addr().unwrap();
    assert_eq!(addr.ip(), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    assert_ne!(addr.port(), 0);
    let client = api.connect((api.place().server, addr.port())).await.unwrap();
    assert_eq!(listener.accept().await.unwrap().1, client.local_addr().unwrap());
}

pub(crate) async fn a_refused_socket_is_told<A: Api>(api: &A) {
    let socket = api.client_socket(api.place().client).unwrap();
    let nobody = SocketAddr::new(api.place().server, NOBODY);
    assert_eq!(kind(socket.connect(nobody).await), ErrorKind::ConnectionRefused);
}

/// Two ends of one socket: the SYN that it sends to itself opens it (RFC 9293 §3.5, simultaneous open).
pub(crate) async fn a_socket_connects_to_itself<A: Api>(api: &A) {
    let socket = api.client_socket(api.place().client).unwrap();
    socket.bind((api.place().client, 0).into()).unwrap();
    let addr = socket.local_addr().unwrap();
    let mut stream = socket.connect(addr).await.unwrap();
    assert_eq!((stream.local_addr().unwrap(), stream.peer_addr().unwrap()), (addr, addr));
    stream.write_all(b"soliloquy").await.unwrap();
    assert_eq!(read_some(&mut stream, 9).await, b"soliloquy");
}

pub(crate) async fn a_connected_port_is_in_use_by_its_pair_only<A: Api>(api: &A) {
    let (one, one_addr) = listener(api).await;
    let (two, two_addr) = listener(api).await;
    let local = {
        let socket = api.client_socket(one_addr.ip()).unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind((api.place().client, 0).into()).unwrap();
        socket
    };
    let local_addr = local.local_addr().unwrap();
    let _first = local.connect(one_addr).await.unwrap();
    let socket = api.client_socket(one_addr.ip()).unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(local_addr).unwrap();
    let second = socket.connect(two_addr).await.unwrap();
    assert_eq!(second.local_addr().unwrap(), local_addr);
    assert_eq!(one.accept().await.unwrap().1, local_addr);
    assert_eq!(two.accept().await.unwrap().1, local_addr);
    let third = api.client_socket(one_addr.ip()).unwrap();
    third.set_reuseaddr(true).unwrap();
    third.bind(local_addr).unwrap();
    assert_eq!(kind(third.connect(two_addr).await), ErrorKind::AddrNotAvailable);
}
