//! Addresses as users write them.

use crate::api::{Api, Listener, Stream, Udp, kind, listener, receive};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub(crate) async fn a_name_is_connected_to<A: Api>(api: &A) {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let listener = api.listen((any, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = api.connect((api.place().name, port)).await.unwrap();
    assert_eq!(listener.accept().await.unwrap().1, client.local_addr().unwrap());
}

pub(crate) async fn a_name_and_port_in_one_text<A: Api>(api: &A) {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let listener = api.listen((any, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = api.connect(&*format!("{}:{port}", api.place().name)).await.unwrap();
    assert_eq!(client.peer_addr().unwrap().port(), port);
    assert_eq!(listener.accept().await.unwrap().1, client.local_addr().unwrap());
}

pub(crate) async fn names_ignore_case<A: Api>(api: &A) {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let listener = api.listen((any, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = api.connect((&*api.place().name.to_uppercase(), port)).await.unwrap();
    assert_eq!(listener.accept().await.unwrap().1, client.local_addr().unwrap());
}

pub(crate) async fn localhost_is_bound_to<A: Api>(api: &A) {
    let listener = api.listen("localhost:0").await.unwrap();
    assert!(listener.local_addr().unwrap().ip().is_loopback());
    let socket = api.server_udp(("localhost", 0)).await.unwrap();
    assert!(socket.local_addr().unwrap().ip().is_loopback());
}

pub(crate) async fn addresses_are_written_as_text<A: Api>(api: &A) {
    let (listener, addr) = listener(api).await;
    let client = api.connect(&*addr.to_string()).await.unwrap();
    assert_eq!(client.peer_addr().unwrap(), addr);
    let client = api.connect((&*addr.ip().to_string(), addr.port())).await.unwrap();
    assert_eq!(client.peer_addr().unwrap(), addr);
    assert_eq!(listener.accept().await.unwrap().0.local_addr().unwrap(), addr);
}

pub(crate) async fn ipv6_addresses_stand_in_brackets<A: Api>(api: &A) {
    let listener = api.listen(&*format!("[{}]:0", api.place().server_v6)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    assert_eq!(addr.ip(), api.place().server_v6);
    let client = api.connect(&*addr.to_string()).await.unwrap();
    assert_eq!(client.peer_addr().unwrap(), addr);
}

pub(crate) async fn a_text_without_port_is_invalid<A: Api>(api: &A) {
    for text in ["localhost", "127.0.0.1", ""] {
        assert_eq!(kind(api.connect(text).await), ErrorKind::InvalidInput, "{text:?}");
        assert_eq!(kind(api.listen(text).await), ErrorKind::InvalidInput, "{text:?}");
    }
}

pub(crate) async fn a_port_that_is_no_number_is_invalid<A: Api>(api: &A) {
    for text in ["localhost:http", "127.0.0.1:65536", "localhost:", "localhost:-1"] {
        assert_eq!(kind(api.connect(text).await), ErrorKind::InvalidInput, "{text:?}");
    }
}

pub(crate) async fn datagrams_are_sent_to_names<A: Api>(api: &A) {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let server = api.server_udp((any, 0)).await.unwrap();
    let port = server.local_addr().unwrap().port();
    let client = api.client_udp((any, 0)).await.unwrap();
    assert_eq!(client.send_to(b"to a name", (api.place().name, port)).await.unwrap(), 9);
    assert_eq!(receive(&server).await.0, b"to a name");
    client.connect(&*format!("{}:{port}", api.place().name)).await.unwrap();
    assert_eq!(client.send(b"connected").await.unwrap(), 9);
    assert_eq!(receive(&server).await.0, b"connected");
}

/// Only the first of several addresses is sent to.
pub(crate) async fn a_datagram_goes_to_the_first_address<A: Api>(api: &A) {
    let first = api.server_udp((api.place().server, 0)).await.unwrap();
    let second = api.server_udp((api.place().server, 0)).await.unwrap();
    let client = api.client_udp((api.place().client, 0)).await.unwrap();
    let addrs: Vec<SocketAddr> = vec![first.local_addr().unwrap(), second.local_addr().unwrap()];
    client.send_to(b"one", addrs).await.unwrap();
    client.send_to(b"two", second.local_addr().unwrap()).await.unwrap();
    assert_eq!(receive(&first).await.0, b"one");
    assert_eq!(receive(&second).await.0, b"two");
    assert_eq!(kind(client.send_to(b"nobody", vec![]).await), ErrorKind::InvalidInput);
}
