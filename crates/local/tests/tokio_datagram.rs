//! Asynchronous datagrams: among themselves, with plain peers, and beside threads.

#![cfg(all(target_os = "linux", feature = "tokio"))]

use sockeye_local::tokio::LocalDatagram;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn much_goes_both_ways_at_once() {
    let (one, other) = LocalDatagram::pair().unwrap();
    assert!(one.is_shared_memory() && other.is_shared_memory());
    let ends = [Arc::new(one), Arc::new(other)];
    let mut tasks = Vec::new();
    for end in ends {
        let sender = Arc::clone(&end);
        tasks.push(tokio::spawn(async move {
            for round in 0..20_000_u32 {
                let len = 4 + round as usize % 700;
                let mut datagram = vec![round as u8; len];
                datagram[..4].copy_from_slice(&round.to_ne_bytes());
                assert_eq!(sender.send(&datagram).await.unwrap(), len);
            }
        }));
        tasks.push(tokio::spawn(async move {
            let mut datagram = [0; 1024];
            for round in 0..20_000_u32 {
                let len = end.recv(&mut datagram).await.unwrap();
                assert_eq!((len, &datagram[..4]), (4 + round as usize % 700, &round.to_ne_bytes()[..]));
            }
        }));
    }
    for task in tasks {
        timeout(Duration::from_mins(1), task).await.expect("woken").unwrap();
    }
}

#[tokio::test(flavor = "current_thread")]
async fn tasks_of_one_thread_answer_each_other() {
    let (one, other) = LocalDatagram::pair().unwrap();
    let answering = tokio::spawn(async move {
        let mut datagram = [0; 8];
        for _ in 0..500 {
            let len = other.recv(&mut datagram).await.unwrap();
            other.send(&datagram[..len]).await.unwrap();
        }
    });
    for round in 0..500_u32 {
        one.send(&round.to_ne_bytes()[..round as usize % 5]).await.unwrap();
        assert_eq!(one.peek(&mut [0; 8]).await.unwrap(), round as usize % 5);
        let (len, from) = one.recv_from(&mut [0; 8]).await.unwrap();
        assert!(len == round as usize % 5 && from.is_unnamed());
    }
    answering.await.unwrap();
    assert_eq!(one.send(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(one.send(b"x").await.unwrap_err().kind(), ErrorKind::NotConnected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_given_up_loses_nothing() {
    let (one, other) = LocalDatagram::pair().unwrap();
    for _ in 0..20 {
        let waiting = timeout(Duration::from_millis(1), one.recv(&mut [0; 8])).await;
        assert!(waiting.is_err());
        assert_eq!(one.try_recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        other.send(&[7]).await.unwrap();
        timeout(Duration::from_secs(20), one.readable()).await.expect("readable").unwrap();
        assert_eq!(one.recv(&mut [0; 8]).await.unwrap(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_are_peers_too() {
    let (one, other) = sockeye_local::LocalDatagram::pair_with(sockeye_local::SMALLEST_RING).unwrap();
    let thread = std::thread::spawn(move || {
        for round in 0..3000 {
            let mut datagram = [0; 1024];
            assert_eq!(other.recv(&mut datagram).unwrap(), round % 1000);
            other.send(&datagram[..round % 1000]).unwrap();
        }
    });
    let one = Arc::new(LocalDatagram::new(one).unwrap());
    let sender = Arc::clone(&one);
    let sending = tokio::spawn(async move {
        for round in 0..3000 {
            sender.send(&vec![1; round % 1000]).await.unwrap();
        }
    });
    for round in 0..3000 {
        let received = timeout(Duration::from_secs(30), one.recv(&mut [0; 1024])).await;
        assert_eq!(received.expect("woken").unwrap(), round % 1000);
    }
    sending.await.unwrap();
    thread.join().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn who_waits_to_be_able_to_send_is_told_of_room_and_of_the_end() {
    let (one, other) = LocalDatagram::pair().unwrap();
    one.writable().await.unwrap();
    while one.try_send(&[1; 1000]).is_ok() {}
    assert!(timeout(Duration::from_millis(20), one.writable()).await.is_err());
    other.recv(&mut [0; 1000]).await.unwrap();
    timeout(Duration::from_secs(20), one.writable()).await.expect("room").unwrap();
    one.try_send(&[1; 1000]).unwrap();
    assert!(one.try_send(&[1; 1000]).is_err());
    let ending = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(other);
    });
    let sent = timeout(Duration::from_secs(20), one.send(&[1; 1000])).await.expect("the end");
    assert_eq!(sent.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    ending.await.unwrap();
}

/// The queue is full of another's datagrams: of those the kernel tells a socket that isn't connected nothing.
#[tokio::test(flavor = "current_thread")]
async fn who_sends_to_a_full_queue_is_told_of_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let receiver = LocalDatagram::bind(&path).unwrap();
    let plain = UnixDatagram::unbound().unwrap();
    plain.set_nonblocking(true).unwrap();
    let mut sent = 0;
    while plain.send_to(b"plain", &path).is_ok() {
        sent += 1;
    }
    let sender = LocalDatagram::bind(folder.path().join("sender")).unwrap();
    let (to, from) = (path.clone(), sender.local_addr().unwrap());
    let mut sending = tokio::spawn(async move {
        let sent = sender.send_to(b"ours", &to).await;
        (sender, sent)
    });
    assert!(timeout(Duration::from_millis(50), &mut sending).await.is_err());
    for _ in 0..sent {
        assert_eq!(receiver.recv(&mut [0; 8]).await.unwrap(), 5);
    }
    let (sender, sent) = timeout(Duration::from_secs(20), sending).await.expect("woken").unwrap();
    assert_eq!(sent.unwrap(), 4);
    let (len, name) = receiver.recv_from(&mut [0; 8]).await.unwrap();
    assert_eq!((len, name.as_pathname()), (4, from.as_pathname()));

    // To one that is connected to the sender only the sender's own bytes count.
    receiver.connect_addr(&from).unwrap();
    let sending = tokio::spawn(async move {
        for _ in 0..500 {
            sender.send_to(&[1; 1000], &path).await.unwrap();
        }
    });
    for _ in 0..500 {
        let received = timeout(Duration::from_secs(20), receiver.recv(&mut [0; 1000])).await;
        assert_eq!(received.expect("woken").unwrap(), 1000);
        tokio::task::yield_now().await;
    }
    sending.await.unwrap();
}
