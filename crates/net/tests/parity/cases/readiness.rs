//! Async sockets: waiting for readiness, and trying.

use crate::api::{
    AsyncListener, AsyncStream, Asynchronous, Listener, Stream, assert_bytes, kind, listener, pair,
    random_bytes, read_some,
};
use std::future::poll_fn;
use std::io::ErrorKind;
use std::task::Poll;

pub(crate) async fn a_try_without_data_would_block<A: Asynchronous>(api: &A) {
    let (client, _server) = pair(api).await;
    assert_eq!(kind(client.try_read(&mut [0; 8])), ErrorKind::WouldBlock);
}

pub(crate) async fn readable_comes_with_data<A: Asynchronous>(api: &A) {
    let (mut client, server) = pair(api).await;
    let reading = api.spawn(async move {
        let mut buf = [0; 8];
        loop {
            server.readable().await.unwrap();
            match server.try_read(&mut buf) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return buf[..result.unwrap()].to_vec(),
            }
        }
    });
    client.write_all(b"ready").await.unwrap();
    assert_eq!(reading.join().await, b"ready");
}

pub(crate) async fn readable_comes_with_the_end<A: Asynchronous>(api: &A) {
    let (client, server) = pair(api).await;
    drop(client);
    loop {
        server.readable().await.unwrap();
        match server.try_read(&mut [0; 8]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            result => break assert_eq!(result.unwrap(), 0),
        }
    }
}

pub(crate) async fn readable_comes_with_a_reset<A: Asynchronous>(api: &A) {
    let (mut client, server) = pair(api).await;
    client.write_all(b"never read").await.unwrap();
    server.peek(&mut [0; 1]).await.unwrap();
    drop(server);
    let error = loop {
        client.readable().await.unwrap();
        match client.try_read(&mut [0; 8]).unwrap_err() {
            error if error.kind() == ErrorKind::WouldBlock => {}
            error => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

pub(crate) async fn a_fresh_connection_is_writable<A: Asynchronous>(api: &A) {
    let (client, mut server) = pair(api).await;
    client.writable().await.unwrap();
    assert_eq!(client.try_write(b"room").unwrap(), 4);
    assert_eq!(read_some(&mut server, 4).await, b"room");
}

pub(crate) async fn writable_comes_with_room<A: Asynchronous>(api: &A) {
    let (client, mut server) = pair(api).await;
    let data = random_bytes(70, 1 << 20);
    let mut written = Vec::new();
    client.writable().await.unwrap();
    loop {
        match client.try_write(&data) {
            Ok(len) => written.extend_from_slice(&data[..len]),
            Err(error) => break assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(written.len() < 200 << 20, "buffers are bounded");
    }
    let more = api.spawn(async move {
        loop {
            client.writable().await.unwrap();
            match client.try_write(b"more") {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return (client, result.unwrap()),
            }
        }
    });
    assert_bytes(&read_some(&mut server, written.len()).await, &written);
    let (_client, len) = more.join().await;
    assert_eq!(read_some(&mut server, len).await, b"more"[..len]);
}

pub(crate) async fn a_try_takes_what_fits<A: Asynchronous>(api: &A) {
    let (mut client, server) = pair(api).await;
    client.write_all(b"abcdef").await.unwrap();
    assert_eq!(server.peek(&mut [0; 8]).await.unwrap(), 6);
    let mut buf = [0; 4];
    assert_eq!(server.try_read(&mut buf).unwrap(), 4);
    assert_eq!(&buf, b"abcd");
    assert_eq!(server.try_read(&mut buf).unwrap(), 2);
    assert_eq!(&buf[..2], b"ef");
}

pub(crate) async fn a_try_write_after_shutdown_breaks_the_pipe<A: Asynchronous>(api: &A) {
    let (mut client, _server) = pair(api).await;
    client.shutdown_write().await.unwrap();
    client.writable().await.unwrap();
    assert_eq!(kind(client.try_write(b"x")), ErrorKind::BrokenPipe);
}

pub(crate) async fn poll_accept_pends_until_somebody_comes<A: Asynchronous>(api: &A) {
    let (listener, addr) = listener(api).await;
    let pending = poll_fn(|cx| Poll::Ready(listener.poll_accept(cx).is_pending())).await;
    assert!(pending);
    let client = api.connect(addr).await.unwrap();
    let (_, peer) = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
}

pub(crate) async fn reading_and_writing_are_selected<A: Asynchronous>(api: &A) {
    let (mut client, server) = pair(api).await;
    client.write_all(b"go").await.unwrap();
    let (mut read, mut written) = (0, 0);
    while read < 2 || written < 2 {
        tokio::select! {
            ready = server.readable(), if read < 2 => {
                ready.unwrap();
                match server.try_read(&mut [0; 1]) {
                    Ok(len) => read += len,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
            ready = server.writable(), if written < 2 => {
                ready.unwrap();
                written += server.try_write(b"z").unwrap();
            }
        }
    }
    assert_eq!(read_some(&mut client, 2).await, b"zz");
}

pub(crate) async fn several_tasks_wait_for_one_socket<A: Asynchronous>(api: &A) {
    let (mut client, server) = pair(api).await;
    let server = std::sync::Arc::new(server);
    let waiters: Vec<_> = (0..5)
        .map(|_| {
            let server = std::sync::Arc::clone(&server);
            api.spawn(async move { server.readable().await.unwrap() })
        })
        .collect();
    client.write_all(b"!").await.unwrap();
    for waiter in waiters {
        waiter.join().await;
    }
    let mut buf = [0; 2];
    assert_eq!(server.try_read(&mut buf).unwrap(), 1);
}

pub(crate) async fn accept_is_selected_among_listeners<A: Asynchronous>(api: &A) {
    let (one, _) = listener(api).await;
    let (two, two_addr) = listener(api).await;
    let client = api.connect(two_addr).await.unwrap();
    let peer = tokio::select! {
        _ = one.accept() => panic!("nobody connected"),
        accepted = two.accept() => accepted.unwrap().1,
    };
    assert_eq!(peer, client.local_addr().unwrap());
}
