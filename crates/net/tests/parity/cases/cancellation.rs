//! Futures that are dropped before they are done: nothing is lost, nothing is done twice.

use crate::api::{
    AsyncStream, AsyncUdp, Asynchronous, Listener, Stream, Task, Udp, assert_bytes, cancel, kind, listener,
    pair, random_bytes, read_all, read_some, receive, udp_pair,
};
use std::io::ErrorKind;
use std::net::SocketAddr;

pub(crate) async fn a_cancelled_read_loses_nothing<A: Asynchronous>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    assert_eq!(cancel(server.read(&mut [0; 8])).await.map(Result::unwrap), None);
    client.write_all(b"whole").await.unwrap();
    assert_eq!(read_some(&mut server, 5).await, b"whole");
}

pub(crate) async fn reads_may_be_cancelled_again_and_again<A: Asynchronous>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    let data = random_bytes(90, 300_000);
    let sent = data.clone();
    let writing = api.spawn(async move { client.write_all(&sent).await.unwrap() });
    let mut received = Vec::new();
    let mut buf = [0; 1000];
    while received.len() < data.len() {
        let polled = cancel(server.read(&mut buf)).await;
        let len = match polled {
            Some(len) => len.unwrap(),
            None => server.read(&mut buf).await.unwrap(),
        };
        assert_ne!(len, 0);
        received.extend_from_slice(&buf[..len]);
    }
    assert_bytes(&received, &data);
    writing.join().await;
}

pub(crate) async fn a_cancelled_write_wrote_nothing<A: Asynchronous>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    let data = random_bytes(91, 1 << 20);
    let mut written = Vec::new();
    while let Some(len) = cancel(client.write(&data)).await {
        written.extend_from_slice(&data[..len.unwrap()]);
        assert!(written.len() < 200 << 20, "buffers are bounded");
    }
    let reading = api.spawn(async move { read_all(&mut server).await });
    client.write_all(b"end").await.unwrap();
    drop(client);
    let received = reading.join().await;
    written.extend_from_slice(b"end");
    assert_bytes(&received, &written);
}

pub(crate) async fn a_cancelled_accept_loses_no_connection<A: Asynchronous>(api: &A) {
    let (listener, addr) = listener(api).await;
    for _ in 0..10 {
        assert!(cancel(listener.accept()).await.is_none());
    }
    let client = api.connect(addr).await.unwrap();
    assert_eq!(listener.accept().await.unwrap().1, client.local_addr().unwrap());
}

pub(crate) async fn a_cancelled_receive_loses_no_datagram<A: Asynchronous>(api: &A) {
    let ((client, client_addr), (server, server_addr)) = udp_pair(api).await;
    assert!(cancel(server.recv_from(&mut [0; 8])).await.is_none());
    assert!(cancel(server.peek_from(&mut [0; 8])).await.is_none());
    assert!(cancel(server.peek_sender()).await.is_none());
    client.send_to(b"kept", server_addr).await.unwrap();
    assert_eq!(receive(&server).await, (b"kept".to_vec(), client_addr));
}

pub(crate) async fn a_cancelled_connect_leaves_the_listener<A: Asynchronous>(api: &A) {
    let (listener, addr) = listener(api).await;
    drop(cancel(api.connect(addr)).await);
    let mut client = api.connect(addr).await.unwrap();
    client.write_all(b"mine").await.unwrap();
    let local = client.local_addr().unwrap();
    let (mut server, peer) = listener.accept().await.unwrap();
    if peer != local {
        // The one that was given up had got through; it ends at once.
        assert!(matches!(server.read(&mut [0; 8]).await, Ok(0) | Err(_)));
        let accepted = listener.accept().await.unwrap();
        assert_eq!(accepted.1, local);
        server = accepted.0;
    }
    assert_eq!(read_some(&mut server, 4).await, b"mine");
}

pub(crate) async fn a_cancelled_wait_takes_no_wake_away<A: Asynchronous>(api: &A) {
    let (mut client, server) = pair(api).await;
    let server = std::sync::Arc::new(server);
    let other = std::sync::Arc::clone(&server);
    let waiting = api.spawn(async move { other.readable().await.unwrap() });
    // Readiness may be a false alarm until a try has failed.
    assert_eq!(kind(server.try_read(&mut [0; 8])), ErrorKind::WouldBlock);
    for _ in 0..10 {
        assert!(cancel(server.readable()).await.is_none());
    }
    client.write_all(b"!").await.unwrap();
    waiting.join().await;
    assert_eq!(server.peek(&mut [0; 1]).await.unwrap(), 1);
}

pub(crate) async fn the_loser_of_a_select_loses_nothing<A: Asynchronous>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    let (mut other_client, mut other_server) = pair(api).await;
    other_client.write_all(b"other").await.unwrap();
    let mut buf = [0; 8];
    let mut other = [0; 8];
    tokio::select! {
        _ = server.read(&mut buf) => panic!("nothing was sent"),
        len = other_server.read(&mut other) => assert_eq!(&other[..len.unwrap()], b"other"),
    }
    client.write_all(b"first").await.unwrap();
    assert_eq!(read_some(&mut server, 5).await, b"first");
}

pub(crate) async fn an_aborted_task_closes_its_socket<A: Asynchronous>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let task = api.spawn(async move {
        sender.send(()).unwrap();
        server.read(&mut [0; 8]).await.unwrap();
    });
    receiver.await.unwrap();
    let Task::Tokio(task) = task else { panic!("async tasks are tokio's") };
    task.abort();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
}

pub(crate) async fn an_aborted_listener_refuses<A: Asynchronous>(api: &A) {
    let (listener, addr): (_, SocketAddr) = listener(api).await;
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let task = api.spawn(async move {
        sender.send(()).unwrap();
        listener.accept().await.unwrap();
    });
    receiver.await.unwrap();
    let Task::Tokio(task) = task else { panic!("async tasks are tokio's") };
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(api.connect(addr).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

pub(crate) async fn a_panic_closes_the_socket<A: Asynchronous>(api: &A) {
    let (mut client, server) = pair(api).await;
    let Task::Tokio(task) = api.spawn(async move {
        let _server = server;
        // Without the message of a panic.
        std::panic::resume_unwind(Box::new("a program's bug"));
    }) else {
        panic!("async tasks are tokio's")
    };
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
}
