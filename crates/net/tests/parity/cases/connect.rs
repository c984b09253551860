//! Connecting, listening, and the addresses of both.

use crate::api::{Api, Blocking, Listener, NOBODY, Stream, kind, listener, pair, read_all, read_some};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::mpsc::channel;
use std::time::Duration;

pub(crate) async fn both_ends_agree_on_addresses<A: Api>(api: &A) {
    let (listener, addr) = listener(api).await;
    let client = api.connect(addr).await.unwrap();
    let (server, peer) = listener.accept().await.unwrap();
    assert_eq!(addr.ip(), api.place().server);
    assert_eq!(client.peer_addr().unwrap(), addr);
    assert_eq!(server.local_addr().unwrap(), addr);
    assert_eq!(client.local_addr().unwrap(), peer);
    assert_eq!(server.peer_addr().unwrap(), peer);
    assert_eq!(peer.ip(), api.place().client);
}

pub(crate) async fn port_zero_picks_ports<A: Api>(api: &A) {
    let (_first, one) = listener(api).await;
    let (_second, two) = listener(api).await;
    assert_ne!(one.port(), 0);
    assert_ne!(two.port(), 0);
    assert_ne!(one, two);
}

pub(crate) async fn nobody_listens_is_refused<A: Api>(api: &A) {
    assert_eq!(kind(api.connect((api.place().server, NOBODY)).await), ErrorKind::ConnectionRefused);
}

pub(crate) async fn port_zero_is_refused<A: Api>(api: &A) {
    assert_eq!(kind(api.connect((api.place().server, 0)).await), ErrorKind::ConnectionRefused);
}

pub(crate) async fn the_first_address_that_answers_is_taken<A: Api>(api: &A) {
    let (listener, addr) = listener(api).await;
    let addrs = vec![SocketAddr::new(addr.ip(), NOBODY), addr, SocketAddr::new(addr.ip(), NOBODY)];
    let client = api.connect(addrs).await.unwrap();
    assert_eq!(client.peer_addr().unwrap(), addr);
    assert_eq!(listener.accept().await.unwrap().1, client.local_addr().unwrap());
}

pub(crate) async fn no_address_is_invalid_input<A: Api>(api: &A) {
    assert_eq!(kind(api.connect(vec![]).await), ErrorKind::InvalidInput);
    assert_eq!(kind(api.listen(vec![]).await), ErrorKind::InvalidInput);
    assert_eq!(kind(api.client_udp(vec![]).await), ErrorKind::InvalidInput);
}

pub(crate) async fn the_last_error_is_told<A: Api>(api: &A) {
    let server = api.place().server;
    let foreign = SocketAddr::from(([192, 0, 2, 1], 0));
    let (_listener, taken) = listener(api).await;
    assert_eq!(kind(api.listen(vec![taken, foreign]).await), ErrorKind::AddrNotAvailable);
    assert_eq!(kind(api.listen(vec![foreign, taken]).await), ErrorKind::AddrInUse);
    let nobody = vec![SocketAddr::new(server, NOBODY); 2];
    assert_eq!(kind(api.connect(nobody).await), ErrorKind::ConnectionRefused);
}

pub(crate) async fn an_address_in_use_is_told<A: Api>(api: &A) {
    let (_listener, addr) = listener(api).await;
    assert_eq!(kind(api.listen(addr).await), ErrorKind::AddrInUse);
}

pub(crate) async fn a_foreign_address_is_told<A: Api>(api: &A) {
    let foreign = SocketAddr::from(([192, 0, 2, 1], 0));
    assert_eq!(kind(api.listen(foreign).await), ErrorKind::AddrNotAvailable);
    assert_eq!(kind(api.server_udp(foreign).await), ErrorKind::AddrNotAvailable);
}

/// A server that is started again need not wait until old connections are forgotten.
pub(crate) async fn an_address_is_free_after_close<A: Api>(api: &A) {
    let (listener, addr) = listener(api).await;
    let mut client = api.connect(addr).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    // The server's end closes first and is remembered in TIME-WAIT.
    drop(server);
    assert_eq!(read_all(&mut client).await, b"");
    drop((client, listener));
    let again = api.listen(addr).await.unwrap();
    let client = api.connect(addr).await.unwrap();
    assert_eq!(again.accept().await.unwrap().1, client.local_addr().unwrap());
}

pub(crate) async fn the_unspecified_address_listens_everywhere<A: Api>(api: &A) {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let listener = api.listen((any, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    assert_eq!(addr.ip(), any);
    let client = api.connect((api.place().server, addr.port())).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    assert_eq!(server.local_addr().unwrap(), client.peer_addr().unwrap());
    assert_eq!(server.local_addr().unwrap(), SocketAddr::new(api.place().server, addr.port()));
}

pub(crate) async fn connections_have_ports_of_their_own<A: Api>(api: &A) {
    let (_listener, addr) = listener(api).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(api.connect(addr).await.unwrap());
    }
    let ports: BTreeSet<u16> = clients.iter().map(|client| client.local_addr().unwrap().port()).collect();
    assert_eq!(ports.len(), 20);
    assert!(!ports.contains(&0));
}

pub(crate) async fn connections_are_accepted_in_order<A: Api>(api: &A) {
    let (listener, addr) = listener(api).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(api.connect(addr).await.unwrap());
    }
    for client in &clients {
        assert_eq!(listener.accept().await.unwrap().1, client.local_addr().unwrap());
    }
}

pub(crate) async fn data_waits_with_its_connection<A: Api>(api: &A) {
    let (listener, addr) = listener(api).await;
    let mut client = api.connect(addr).await.unwrap();
    client.write_all(b"before anybody accepts").await.unwrap();
    drop(client);
    let (mut server, _) = listener.accept().await.unwrap();
    assert_eq!(read_all(&mut server).await, b"before anybody accepts");
}

pub(crate) async fn a_closed_listener_refuses<A: Api>(api: &A) {
    let (listener, addr) = listener(api).await;
    drop(listener);
    assert_eq!(kind(api.connect(addr).await), ErrorKind::ConnectionRefused);
}

pub(crate) async fn a_closed_listener_resets_who_waits<A: Api>(api: &A) {
    let (listener, addr) = listener(api).await;
    let mut client = api.connect(addr).await.unwrap();
    drop(listener);
    assert_eq!(kind(client.read(&mut [0; 8]).await), ErrorKind::ConnectionReset);
}

pub(crate) async fn accepted_connections_outlive_their_listener<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.write_all(b"still").await.unwrap();
    assert_eq!(read_some(&mut server, 5).await, b"still");
    server.write_all(b"here").await.unwrap();
    assert_eq!(read_some(&mut client, 4).await, b"here");
}

pub(crate) async fn multicast_is_unreachable<A: Api>(api: &A) {
    let all_hosts = SocketAddr::from(([224, 0, 0, 1], 80));
    assert_eq!(kind(api.connect(all_hosts).await), ErrorKind::NetworkUnreachable);
}

pub(crate) async fn accept_waits_for_a_connection<A: Api>(api: &A) {
    let (listener, addr) = listener(api).await;
    let accepting = api.spawn(async move { listener.accept().await.unwrap().1 });
    let client = api.connect(addr).await.unwrap();
    assert_eq!(accepting.join().await, client.local_addr().unwrap());
}

pub(crate) async fn connect_timeout_connects<A: Blocking>(api: &A) {
    let (listener, addr) = listener(api).await;
    let client = api.connect_timeout(addr, Duration::from_mins(1)).unwrap();
    assert_eq!(listener.accept().await.unwrap().1, client.local_addr().unwrap());
}

pub(crate) async fn connect_timeout_of_zero_is_invalid<A: Blocking>(api: &A) {
    let (_listener, addr) = listener(api).await;
    assert_eq!(kind(api.connect_timeout(addr, Duration::ZERO)), ErrorKind::InvalidInput);
}

pub(crate) async fn connect_timeout_is_refused<A: Blocking>(api: &A) {
    let nobody = SocketAddr::new(api.place().server, NOBODY);
    assert_eq!(kind(api.connect_timeout(nobody, Duration::from_mins(1))), ErrorKind::ConnectionRefused);
}

pub(crate) async fn incoming_yields_connections<A: Blocking>(api: &A) {
    use crate::api::BlockingListener;
    let (listener, addr) = listener(api).await;
    let (sender, receiver) = channel();
    let serving = api.spawn(async move {
        for stream in listener.incoming().take(3) {
            sender.send(stream.unwrap().peer_addr().unwrap()).unwrap();
        }
    });
    for _ in 0..3 {
        let client = api.connect(addr).await.unwrap();
        assert_eq!(receiver.recv().unwrap(), client.local_addr().unwrap());
    }
    serving.join().await;
}
