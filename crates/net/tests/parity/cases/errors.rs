//! What goes wrong, and how often it is told.

use crate::api::{
    Api, Asynchronous, Blocking, BlockingStream, Listener, NOBODY, Stream, kind, listener, pair, read_some,
};
use std::io::ErrorKind;
use std::net::Shutdown;
use std::time::Duration;

/// A connection whose peer was reset by an end that closed without reading.
async fn reset<A: Api>(api: &A) -> A::Stream {
    let (mut client, server) = pair(api).await;
    client.write_all(b"never read").await.unwrap();
    server.peek(&mut [0; 1]).await.unwrap();
    drop(server);
    client
}

pub(crate) async fn a_close_with_unread_data_resets<A: Api>(api: &A) {
    let mut client = reset(api).await;
    assert_eq!(kind(client.read(&mut [0; 8]).await), ErrorKind::ConnectionReset);
}

pub(crate) async fn a_reset_is_told_once<A: Api>(api: &A) {
    let mut client = reset(api).await;
    assert_eq!(kind(client.read(&mut [0; 8]).await), ErrorKind::ConnectionReset);
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(kind(client.write(b"x").await), ErrorKind::BrokenPipe);
    assert_eq!(kind(client.write(b"x").await), ErrorKind::BrokenPipe);
}

pub(crate) async fn a_reset_connection_has_no_peer<A: Api>(api: &A) {
    let mut client = reset(api).await;
    let local = client.local_addr().unwrap();
    assert_eq!(kind(client.read(&mut [0; 8]).await), ErrorKind::ConnectionReset);
    assert_eq!(kind(client.peer_addr()), ErrorKind::NotConnected);
    assert_eq!(client.local_addr().unwrap(), local);
}

/// Tokio finds nothing wrong with it, unlike `std`.
pub(crate) async fn a_reset_connection_may_be_shut_down<A: Asynchronous>(api: &A) {
    let mut client = reset(api).await;
    assert_eq!(kind(client.read(&mut [0; 8]).await), ErrorKind::ConnectionReset);
    client.shutdown_write().await.unwrap();
}

pub(crate) async fn take_error_takes_the_reset<A: Api>(api: &A) {
    let mut client = reset(api).await;
    let mut error = None;
    for _ in 0..5000 {
        error = client.take_error().unwrap();
        if error.is_some() {
            break;
        }
        api.pause().await;
    }
    assert_eq!(error.unwrap().kind(), ErrorKind::ConnectionReset);
    assert!(client.take_error().unwrap().is_none());
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0, "what was taken is not told again");
}

pub(crate) async fn a_healthy_connection_has_no_error<A: Api>(api: &A) {
    let (client, server) = pair(api).await;
    assert!(client.take_error().unwrap().is_none());
    assert!(server.take_error().unwrap().is_none());
}

/// The peer has closed and answers data with a reset; the next write tells.
pub(crate) async fn writing_to_a_closed_peer_breaks_the_pipe<A: Api>(api: &A) {
    let (mut client, server) = pair(api).await;
    drop(server);
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    let mut writes = 0;
    let error = loop {
        match client.write(b"x").await {
            Ok(len) => assert_eq!(len, 1),
            Err(error) => break error,
        }
        writes += 1;
        assert!(writes < 5000, "nobody reads, and writing goes on");
        api.pause().await;
    };
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert!(writes >= 1, "the first write can't know it");
}

pub(crate) async fn a_reset_ends_a_read<A: Api>(api: &A) {
    let (mut client, server) = pair(api).await;
    client.write_all(b"never read").await.unwrap();
    let reading = api.spawn(async move { kind(client.read(&mut [0; 8]).await) });
    server.peek(&mut [0; 1]).await.unwrap();
    drop(server);
    assert_eq!(reading.join().await, ErrorKind::ConnectionReset);
}

pub(crate) async fn a_reset_ends_a_write<A: Api>(api: &A) {
    let (mut client, server) = pair(api).await;
    let writing = api.spawn(async move { kind(client.write_all(&vec![7; 64 << 20]).await) });
    server.peek(&mut [0; 1]).await.unwrap();
    drop(server);
    let error = writing.join().await;
    assert!(matches!(error, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error:?}");
}

pub(crate) async fn data_before_a_reset_is_read_first<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.write_all(b"never read").await.unwrap();
    server.write_all(b"read").await.unwrap();
    client.peek(&mut [0; 1]).await.unwrap();
    server.peek(&mut [0; 1]).await.unwrap();
    drop(server);
    assert_eq!(read_some(&mut client, 4).await, b"read");
    assert_eq!(kind(client.read(&mut [0; 8]).await), ErrorKind::ConnectionReset);
}

pub(crate) async fn a_refusal_leaves_no_socket<A: Api>(api: &A) {
    for _ in 0..50 {
        let result = api.connect((api.place().server, NOBODY)).await;
        assert_eq!(kind(result), ErrorKind::ConnectionRefused);
    }
    let (mut client, mut server) = pair(api).await;
    client.write_all(b"well").await.unwrap();
    assert_eq!(read_some(&mut server, 4).await, b"well");
}

pub(crate) async fn errors_say_what_happened<A: Api>(api: &A) {
    let error = api.connect((api.place().server, NOBODY)).await.unwrap_err();
    assert!(error.to_string().to_lowercase().contains("refused"), "{error}");
    let (_listener, addr) = listener(api).await;
    let error = api.listen(addr).await.unwrap_err();
    assert!(error.to_string().to_lowercase().contains("in use"), "{error}");
}

pub(crate) async fn a_failed_bind_leaves_the_address<A: Api>(api: &A) {
    let (first, addr) = listener(api).await;
    assert_eq!(kind(api.listen(addr).await), ErrorKind::AddrInUse);
    let client = api.connect(addr).await.unwrap();
    assert_eq!(first.accept().await.unwrap().1, client.local_addr().unwrap());
    drop((first, client));
    api.listen(addr).await.unwrap();
}

pub(crate) async fn both_ends_may_close_at_once<A: Api>(api: &A) {
    for _ in 0..20 {
        let (mut client, mut server) = pair(api).await;
        client.write_all(b"c").await.unwrap();
        server.write_all(b"s").await.unwrap();
        assert_eq!(read_some(&mut client, 1).await, b"s");
        assert_eq!(read_some(&mut server, 1).await, b"c");
        let closing = api.spawn(async move {
            client.shutdown_write().await.unwrap();
            client.read(&mut [0; 8]).await.unwrap()
        });
        server.shutdown_write().await.unwrap();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(closing.join().await, 0);
    }
}

pub(crate) async fn a_timed_out_read_is_would_block<A: Blocking>(api: &A) {
    let (mut client, _server) = pair(api).await;
    client.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    assert_eq!(kind(client.read(&mut [0; 8]).await), ErrorKind::WouldBlock);
    assert_eq!(kind(client.read_exact(&mut [0; 8]).await), ErrorKind::WouldBlock);
}

pub(crate) async fn shutting_down_a_reset_connection_fails<A: Blocking>(api: &A) {
    let mut client = reset(api).await;
    assert_eq!(kind(client.read(&mut [0; 8]).await), ErrorKind::ConnectionReset);
    for how in [Shutdown::Read, Shutdown::Write, Shutdown::Both] {
        assert_eq!(kind(client.shutdown(how)), ErrorKind::NotConnected, "{how:?}");
    }
}
