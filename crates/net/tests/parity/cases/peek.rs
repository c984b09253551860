//! Looking at data without taking it.

use crate::api::{Api, Blocking, BlockingStream, Stream, Udp, kind, pair, read_some, receive, udp_pair};
use std::io::ErrorKind;
use std::time::Duration;

pub(crate) async fn peeked_data_stays<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.write_all(b"abc").await.unwrap();
    for _ in 0..2 {
        let mut buf = [0; 8];
        assert_eq!(server.peek(&mut buf).await.unwrap(), 3);
        assert_eq!(&buf[..3], b"abc");
    }
    assert_eq!(read_some(&mut server, 3).await, b"abc");
}

pub(crate) async fn a_short_peek_sees_the_front<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.write_all(b"abc").await.unwrap();
    let mut buf = [0; 2];
    assert_eq!(server.peek(&mut buf).await.unwrap(), 2);
    assert_eq!(&buf, b"ab");
    assert_eq!(read_some(&mut server, 1).await, b"a");
    assert_eq!(server.peek(&mut buf).await.unwrap(), 2);
    assert_eq!(&buf, b"bc");
}

pub(crate) async fn peek_sees_the_end<A: Api>(api: &A) {
    let (client, mut server) = pair(api).await;
    drop(client);
    assert_eq!(server.peek(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
}

pub(crate) async fn peek_waits_for_data<A: Api>(api: &A) {
    let (mut client, server) = pair(api).await;
    let peeking = api.spawn(async move {
        let mut buf = [0; 8];
        let len = server.peek(&mut buf).await.unwrap();
        buf[..len].to_vec()
    });
    client.write_all(b"z").await.unwrap();
    assert_eq!(peeking.join().await, b"z");
}

pub(crate) async fn peek_tells_a_reset<A: Api>(api: &A) {
    let (mut client, server) = pair(api).await;
    client.write_all(b"never read").await.unwrap();
    server.peek(&mut [0; 1]).await.unwrap();
    drop(server);
    assert_eq!(kind(client.peek(&mut [0; 8]).await), ErrorKind::ConnectionReset);
}

pub(crate) async fn peeked_datagrams_stay<A: Api>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    client.send_to(b"first", server_addr).await.unwrap();
    client.send_to(b"second", server_addr).await.unwrap();
    let mut buf = [0; 16];
    for _ in 0..2 {
        assert_eq!(server.peek_from(&mut buf).await.unwrap(), (5, client_addr));
        assert_eq!(&buf[..5], b"first");
    }
    assert_eq!(receive(&server).await, (b"first".to_vec(), client_addr));
    assert_eq!(receive(&server).await, (b"second".to_vec(), client_addr));
}

pub(crate) async fn a_short_peek_leaves_the_datagram_whole<A: Api>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    client.send_to(b"whole", server_addr).await.unwrap();
    let mut buf = [0; 2];
    assert_eq!(server.peek_from(&mut buf).await.unwrap(), (2, client_addr));
    assert_eq!(&buf, b"wh");
    assert_eq!(receive(&server).await, (b"whole".to_vec(), client_addr));
}

pub(crate) async fn connected_udp_peeks<A: Api>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    server.connect(client_addr).await.unwrap();
    client.send_to(b"abc", server_addr).await.unwrap();
    let mut buf = [0; 8];
    assert_eq!(server.peek(&mut buf).await.unwrap(), 3);
    assert_eq!(server.recv(&mut buf).await.unwrap(), 3);
    assert_eq!(&buf[..3], b"abc");
}

pub(crate) async fn peek_obeys_the_read_timeout<A: Blocking>(api: &A) {
    let (client, _server) = pair(api).await;
    client.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    assert_eq!(kind(client.peek(&mut [0; 8]).await), ErrorKind::WouldBlock);
}
