//! Shutting down: one direction, the other, both, again.

use crate::api::{Api, Blocking, BlockingStream, Stream, kind, pair, read_all, read_some};
use std::io::ErrorKind;
use std::net::Shutdown;

pub(crate) async fn shutting_down_twice_is_fine<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.shutdown_write().await.unwrap();
    client.shutdown_write().await.unwrap();
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
    server.write_all(b"open").await.unwrap();
    assert_eq!(read_some(&mut client, 4).await, b"open");
}

pub(crate) async fn shutting_down_after_the_peer_ends_both<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    server.shutdown_write().await.unwrap();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    client.shutdown_write().await.unwrap();
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(kind(client.write(b"x").await), ErrorKind::BrokenPipe);
    assert_eq!(kind(server.write(b"x").await), ErrorKind::BrokenPipe);
}

pub(crate) async fn what_was_written_goes_before_the_end<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.write_all(b"one").await.unwrap();
    client.write_all(b"two").await.unwrap();
    client.shutdown_write().await.unwrap();
    assert_eq!(read_all(&mut server).await, b"onetwo");
}

pub(crate) async fn both_ends_both_directions<A: Blocking>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.shutdown(Shutdown::Both).unwrap();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(kind(client.write(b"x").await), ErrorKind::BrokenPipe);
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
}

pub(crate) async fn a_read_that_was_shut_down_ends<A: Blocking>(api: &A) {
    let (mut client, _server) = pair(api).await;
    client.shutdown(Shutdown::Read).unwrap();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    client.write_all(b"still").await.unwrap();
}

/// As Linux does it: a direction that was shut down still delivers.
pub(crate) async fn data_passes_a_read_that_was_shut_down<A: Blocking>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    server.write_all(b"before").await.unwrap();
    assert_eq!(client.peek(&mut [0; 8]).await.unwrap(), 6);
    client.shutdown(Shutdown::Read).unwrap();
    assert_eq!(read_some(&mut client, 6).await, b"before");
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
}

pub(crate) async fn a_shutdown_ends_a_read_in_another_thread<A: Blocking>(api: &A) {
    for how in [Shutdown::Read, Shutdown::Both] {
        let (client, _server) = pair(api).await;
        let mut clone = client.try_clone().unwrap();
        let reading = api.spawn(async move { clone.read(&mut [0; 8]).await.unwrap() });
        client.shutdown(how).unwrap();
        assert_eq!(reading.join().await, 0);
    }
}

pub(crate) async fn a_shutdown_ends_a_write_in_another_thread<A: Blocking>(api: &A) {
    let (client, server) = pair(api).await;
    let mut clone = client.try_clone().unwrap();
    let writing = api.spawn(async move { kind(clone.write_all(&vec![1; 64 << 20]).await) });
    server.peek(&mut [0; 1]).await.unwrap();
    client.shutdown(Shutdown::Both).unwrap();
    assert_eq!(writing.join().await, ErrorKind::BrokenPipe);
}

pub(crate) async fn directions_are_shut_down_one_by_one<A: Blocking>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
    server.write_all(b"x").await.unwrap();
    assert_eq!(read_some(&mut client, 1).await, b"x");
    client.shutdown(Shutdown::Read).unwrap();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    client.shutdown(Shutdown::Both).unwrap();
}

pub(crate) async fn after_both_ends_nothing_is_connected<A: Blocking>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
    // The one that ended second waits for the last ACK only.
    let mut result = Ok(());
    for _ in 0..5000 {
        result = client.shutdown(Shutdown::Write);
        if result.is_err() {
            break;
        }
        api.pause().await;
    }
    assert_eq!(kind(result), ErrorKind::NotConnected);
    assert_eq!(kind(client.peer_addr()), ErrorKind::NotConnected);
}
