//! Blocking sockets that don't wait.

use crate::api::{
    Blocking, BlockingListener, BlockingStream, Listener, Stream, assert_bytes, kind, listener, pair,
    random_bytes, read_some,
};
use std::io::ErrorKind;
use std::time::Duration;

pub(crate) async fn reads_would_block<A: Blocking>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.set_nonblocking(true).unwrap();
    assert_eq!(kind(client.read(&mut [0; 8]).await), ErrorKind::WouldBlock);
    assert_eq!(kind(client.peek(&mut [0; 8]).await), ErrorKind::WouldBlock);
    client.set_nonblocking(false).unwrap();
    server.write_all(b"data").await.unwrap();
    assert_eq!(client.peek(&mut [0; 8]).await.unwrap(), 4);
    client.set_nonblocking(true).unwrap();
    let mut buf = [0; 8];
    assert_eq!(client.read(&mut buf).await.unwrap(), 4);
    assert_eq!(&buf[..4], b"data");
    assert_eq!(kind(client.read(&mut buf).await), ErrorKind::WouldBlock);
}

pub(crate) async fn the_end_of_file_does_not_block<A: Blocking>(api: &A) {
    let (mut client, server) = pair(api).await;
    drop(server);
    assert_eq!(client.peek(&mut [0; 8]).await.unwrap(), 0);
    client.set_nonblocking(true).unwrap();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
}

pub(crate) async fn writes_would_block<A: Blocking>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.set_nonblocking(true).unwrap();
    let data = random_bytes(50, 1 << 20);
    let mut written = Vec::new();
    let error = loop {
        match client.write(&data).await {
            Ok(len) => written.extend_from_slice(&data[..len]),
            Err(error) => break error,
        }
        assert!(written.len() < 200 << 20, "buffers are bounded");
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_bytes(&read_some(&mut server, written.len()).await, &written);
    client.set_nonblocking(false).unwrap();
    client.write_all(b"room again").await.unwrap();
    assert_eq!(read_some(&mut server, 10).await, b"room again");
}

pub(crate) async fn accepts_would_block<A: Blocking>(api: &A) {
    let (listener, addr) = listener(api).await;
    listener.set_nonblocking(true).unwrap();
    assert_eq!(kind(listener.accept().await), ErrorKind::WouldBlock);
    let client = api.connect(addr).await.unwrap();
    let mut tries = 0;
    let (_, peer) = loop {
        match listener.accept().await {
            Err(error) if error.kind() == ErrorKind::WouldBlock && tries < 5000 => tries += 1,
            result => break result.unwrap(),
        }
        api.pause().await;
    };
    assert_eq!(peer, client.local_addr().unwrap());
    assert_eq!(kind(listener.accept().await), ErrorKind::WouldBlock);
}

pub(crate) async fn accepted_streams_block<A: Blocking>(api: &A) {
    let (listener, addr) = listener(api).await;
    let mut client = api.connect(addr).await.unwrap();
    let clone = listener.try_clone().unwrap();
    // The connection is there: connect returned, and the last ACK is on its way at most.
    let (mut server, _) = loop {
        clone.set_nonblocking(true).unwrap();
        match listener.accept().await {
            Err(error) if error.kind() == ErrorKind::WouldBlock => api.pause().await,
            result => break result.unwrap(),
        }
    };
    server.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let reading = api.spawn(async move { read_some(&mut server, 2).await });
    client.write_all(b"ok").await.unwrap();
    assert_eq!(reading.join().await, b"ok");
}

pub(crate) async fn clones_share_the_mode<A: Blocking>(api: &A) {
    let (client, _server) = pair(api).await;
    let mut clone = client.try_clone().unwrap();
    client.set_nonblocking(true).unwrap();
    assert_eq!(kind(clone.read(&mut [0; 8]).await), ErrorKind::WouldBlock);
}

pub(crate) async fn resets_are_told<A: Blocking>(api: &A) {
    let (mut client, server) = pair(api).await;
    client.write_all(b"never read").await.unwrap();
    server.peek(&mut [0; 1]).await.unwrap();
    client.set_nonblocking(true).unwrap();
    drop(server);
    let mut tries = 0;
    let error = loop {
        let error = client.read(&mut [0; 8]).await.unwrap_err();
        if error.kind() != ErrorKind::WouldBlock || tries == 5000 {
            break error;
        }
        tries += 1;
        api.pause().await;
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}
