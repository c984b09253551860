//! What becomes of a connection that is closed with data on its way.

use crate::api::{Api, Stream, assert_bytes, kind, pair, random_bytes, read_all, read_some};
use std::io::ErrorKind;
use std::time::Duration;

pub(crate) async fn zero_linger_resets<A: Api>(api: &A) {
    let (client, mut server) = pair(api).await;
    client.set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    assert_eq!(kind(server.read(&mut [0; 8]).await), ErrorKind::ConnectionReset);
}

pub(crate) async fn what_arrived_before_a_reset_is_read<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.set_linger(Some(Duration::ZERO)).unwrap();
    client.write_all(b"arrived").await.unwrap();
    assert_eq!(server.peek(&mut [0; 8]).await.unwrap(), 7);
    drop(client);
    assert_eq!(read_some(&mut server, 7).await, b"arrived");
    assert_eq!(kind(server.read(&mut [0; 8]).await), ErrorKind::ConnectionReset);
}

pub(crate) async fn a_zero_linger_of_the_server_resets<A: Api>(api: &A) {
    let (mut client, server) = pair(api).await;
    server.set_linger(Some(Duration::ZERO)).unwrap();
    drop(server);
    assert_eq!(kind(client.read(&mut [0; 8]).await), ErrorKind::ConnectionReset);
    assert_eq!(kind(client.write(b"x").await), ErrorKind::BrokenPipe);
}

/// Closing doesn't take back what was written.
pub(crate) async fn closing_delivers_what_was_written<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    let data = random_bytes(40, 1 << 20);
    let sent = data.clone();
    let writing = api.spawn(async move {
        client.write_all(&sent).await.unwrap();
        drop(client);
    });
    assert_bytes(&read_all(&mut server).await, &data);
    writing.join().await;
}

pub(crate) async fn closing_delivers_to_a_late_reader<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    let data = random_bytes(41, 60_000);
    client.write_all(&data).await.unwrap();
    drop(client);
    assert_bytes(&read_all(&mut server).await, &data);
}

pub(crate) async fn a_linger_time_delivers_too<A: Api>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.set_linger(Some(Duration::from_secs(20))).unwrap();
    let data = random_bytes(42, 20_000);
    client.write_all(&data).await.unwrap();
    drop(client);
    assert_bytes(&read_all(&mut server).await, &data);
}
