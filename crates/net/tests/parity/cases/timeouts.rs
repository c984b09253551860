//! How long blocking calls wait.

use crate::api::{Blocking, BlockingStream, Stream, kind, pair, read_some};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(20);

pub(crate) async fn there_is_no_timeout_until_set<A: Blocking>(api: &A) {
    let (client, _server) = pair(api).await;
    assert_eq!(client.read_timeout().unwrap(), None);
    assert_eq!(client.write_timeout().unwrap(), None);
    client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    client.set_write_timeout(Some(Duration::from_secs(3))).unwrap();
    assert_eq!(client.read_timeout().unwrap(), Some(Duration::from_secs(2)));
    assert_eq!(client.write_timeout().unwrap(), Some(Duration::from_secs(3)));
    client.set_read_timeout(None).unwrap();
    client.set_write_timeout(None).unwrap();
    assert_eq!(client.read_timeout().unwrap(), None);
    assert_eq!(client.write_timeout().unwrap(), None);
}

pub(crate) async fn a_timeout_of_zero_is_invalid<A: Blocking>(api: &A) {
    let (client, _server) = pair(api).await;
    client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    assert_eq!(kind(client.set_read_timeout(Some(Duration::ZERO))), ErrorKind::InvalidInput);
    assert_eq!(kind(client.set_write_timeout(Some(Duration::ZERO))), ErrorKind::InvalidInput);
    assert_eq!(client.read_timeout().unwrap(), Some(Duration::from_secs(2)));
}

pub(crate) async fn a_read_waits_its_timeout<A: Blocking>(api: &A) {
    let (mut client, _server) = pair(api).await;
    client.set_read_timeout(Some(SHORT)).unwrap();
    let start = Instant::now();
    assert_eq!(kind(client.read(&mut [0; 8]).await), ErrorKind::WouldBlock);
    assert!(start.elapsed() >= SHORT);
}

pub(crate) async fn a_timeout_can_be_shorter_than_a_microsecond<A: Blocking>(api: &A) {
    let (mut client, _server) = pair(api).await;
    client.set_read_timeout(Some(Duration::from_nanos(1))).unwrap();
    assert!(client.read_timeout().unwrap().is_some());
    assert_eq!(kind(client.read(&mut [0; 8]).await), ErrorKind::WouldBlock);
}

pub(crate) async fn a_timed_out_connection_lives<A: Blocking>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.set_read_timeout(Some(SHORT)).unwrap();
    assert_eq!(kind(client.read(&mut [0; 8]).await), ErrorKind::WouldBlock);
    server.write_all(b"late").await.unwrap();
    client.set_read_timeout(None).unwrap();
    assert_eq!(read_some(&mut client, 4).await, b"late");
    client.write_all(b"fine").await.unwrap();
    assert_eq!(read_some(&mut server, 4).await, b"fine");
}

pub(crate) async fn data_in_time_is_read<A: Blocking>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let reading = api.spawn(async move { read_some(&mut client, 2).await });
    server.write_all(b"ok").await.unwrap();
    assert_eq!(reading.join().await, b"ok");
}

pub(crate) async fn a_write_waits_its_timeout<A: Blocking>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    client.set_write_timeout(Some(SHORT)).unwrap();
    let data = vec![7; 1 << 20];
    let mut written = 0;
    let error = loop {
        match client.write(&data).await {
            Ok(len) => written += len,
            Err(error) => break error,
        }
        assert!(written < 200 << 20, "buffers are bounded");
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    drop(client);
    let mut received = Vec::new();
    server.read_to_end(&mut received).await.unwrap();
    assert_eq!(received.len(), written, "what a write did not take is not sent");
}

pub(crate) async fn clones_share_timeouts<A: Blocking>(api: &A) {
    let (client, _server) = pair(api).await;
    let mut clone = client.try_clone().unwrap();
    client.set_read_timeout(Some(SHORT)).unwrap();
    assert!(clone.read_timeout().unwrap().is_some());
    assert_eq!(kind(clone.read(&mut [0; 8]).await), ErrorKind::WouldBlock);
}
