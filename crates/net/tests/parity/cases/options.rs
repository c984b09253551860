//! Options: defaults, what is set, what is refused, what is inherited.

use crate::api::{
    Api, Blocking, BlockingListener, BlockingStream, Listener, Socket, Stream, Udp, kind, listener, pair,
    udp_pair,
};
use std::io::ErrorKind;
use std::time::Duration;

pub(crate) async fn nodelay_is_off_until_set<A: Api>(api: &A) {
    let (client, server) = pair(api).await;
    assert!(!client.nodelay().unwrap());
    assert!(!server.nodelay().unwrap());
    client.set_nodelay(true).unwrap();
    assert!(client.nodelay().unwrap());
    assert!(!server.nodelay().unwrap(), "it is each end's own");
    client.set_nodelay(false).unwrap();
    assert!(!client.nodelay().unwrap());
}

pub(crate) async fn ttl_of_a_stream<A: Api>(api: &A) {
    let (client, _server) = pair(api).await;
    assert_eq!(client.ttl().unwrap(), 64);
    for ttl in [1, 100, 255] {
        client.set_ttl(ttl).unwrap();
        assert_eq!(client.ttl().unwrap(), ttl);
    }
}

pub(crate) async fn a_ttl_out_of_range_is_invalid<A: Api>(api: &A) {
    let (client, _server) = pair(api).await;
    client.set_ttl(100).unwrap();
    for ttl in [0, 256, 1000] {
        assert_eq!(kind(client.set_ttl(ttl)), ErrorKind::InvalidInput, "{ttl}");
    }
    assert_eq!(client.ttl().unwrap(), 100);
}

pub(crate) async fn ttl_of_a_listener<A: Api>(api: &A) {
    let (listener, _) = listener(api).await;
    assert_eq!(listener.ttl().unwrap(), 64);
    listener.set_ttl(17).unwrap();
    assert_eq!(listener.ttl().unwrap(), 17);
    assert_eq!(kind(listener.set_ttl(0)), ErrorKind::InvalidInput);
}

pub(crate) async fn ttl_of_a_udp_socket<A: Api>(api: &A) {
    let ((client, _), _) = udp_pair(api).await;
    assert_eq!(client.ttl().unwrap(), 64);
    client.set_ttl(3).unwrap();
    assert_eq!(client.ttl().unwrap(), 3);
    assert_eq!(kind(client.set_ttl(256)), ErrorKind::InvalidInput);
}

pub(crate) async fn linger_is_off_until_set<A: Api>(api: &A) {
    let (client, _server) = pair(api).await;
    assert_eq!(client.linger().unwrap(), None);
    client.set_linger(Some(Duration::from_secs(3))).unwrap();
    assert_eq!(client.linger().unwrap(), Some(Duration::from_secs(3)));
    client.set_linger(Some(Duration::ZERO)).unwrap();
    assert_eq!(client.linger().unwrap(), Some(Duration::ZERO));
    client.set_linger(None).unwrap();
    assert_eq!(client.linger().unwrap(), None);
}

pub(crate) async fn broadcast_is_off_until_set<A: Api>(api: &A) {
    let ((client, _), _) = udp_pair(api).await;
    assert!(!client.broadcast().unwrap());
    client.set_broadcast(true).unwrap();
    assert!(client.broadcast().unwrap());
    client.set_broadcast(false).unwrap();
    assert!(!client.broadcast().unwrap());
}

pub(crate) async fn keepalive_is_off_until_set<A: Api>(api: &A) {
    let socket = api.client_socket(api.place().client).unwrap();
    assert!(!socket.keepalive().unwrap());
    socket.set_keepalive(true).unwrap();
    assert!(socket.keepalive().unwrap());
    socket.set_keepalive(false).unwrap();
    assert!(!socket.keepalive().unwrap());
}

pub(crate) async fn reuse_is_off_until_set<A: Api>(api: &A) {
    let socket = api.client_socket(api.place().client).unwrap();
    assert!(!socket.reuseaddr().unwrap());
    assert!(!socket.reuseport().unwrap());
    socket.set_reuseaddr(true).unwrap();
    assert!(socket.reuseaddr().unwrap());
    assert!(!socket.reuseport().unwrap());
    socket.set_reuseport(true).unwrap();
    assert!(socket.reuseport().unwrap());
}

/// The kernel keeps twice of what is asked for, and says so.
pub(crate) async fn buffer_sizes_are_doubled<A: Api>(api: &A) {
    let socket = api.client_socket(api.place().client).unwrap();
    socket.set_recv_buffer_size(40_000).unwrap();
    assert_eq!(socket.recv_buffer_size().unwrap(), 80_000);
    socket.set_send_buffer_size(50_000).unwrap();
    assert_eq!(socket.send_buffer_size().unwrap(), 100_000);
}

pub(crate) async fn tiny_buffer_sizes_are_raised<A: Api>(api: &A) {
    let socket = api.client_socket(api.place().client).unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    assert_eq!(socket.recv_buffer_size().unwrap(), 2304);
    socket.set_send_buffer_size(1).unwrap();
    assert_eq!(socket.send_buffer_size().unwrap(), 4608);
}

pub(crate) async fn options_last_from_socket_to_stream<A: Api>(api: &A) {
    let (listener, addr) = listener(api).await;
    let socket = api.client_socket(addr.ip()).unwrap();
    assert!(!socket.nodelay().unwrap());
    socket.set_nodelay(true).unwrap();
    assert!(socket.nodelay().unwrap());
    let client = socket.connect(addr).await.unwrap();
    assert!(client.nodelay().unwrap());
    let (server, _) = listener.accept().await.unwrap();
    assert!(!server.nodelay().unwrap());
}

pub(crate) async fn accepted_streams_inherit_nodelay<A: Api>(api: &A) {
    let socket = api.server_socket(api.place().server).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.bind((api.place().server, 0).into()).unwrap();
    let listener = socket.listen(8).unwrap();
    let client = api.connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    assert!(server.nodelay().unwrap());
    assert!(!client.nodelay().unwrap());
}

pub(crate) async fn accepted_streams_inherit_the_ttl<A: Api>(api: &A) {
    let (listener, addr) = listener(api).await;
    listener.set_ttl(33).unwrap();
    let _client = api.connect(addr).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    assert_eq!(server.ttl().unwrap(), 33);
}

pub(crate) async fn a_listener_has_no_error<A: Blocking>(api: &A) {
    let (listener, _) = listener(api).await;
    assert!(listener.take_error().unwrap().is_none());
}

pub(crate) async fn clones_share_options<A: Blocking>(api: &A) {
    let (client, _server) = pair(api).await;
    let clone = client.try_clone().unwrap();
    client.set_nodelay(true).unwrap();
    clone.set_ttl(9).unwrap();
    assert!(clone.nodelay().unwrap());
    assert_eq!(client.ttl().unwrap(), 9);
}
