//! Several handles of one socket, in several threads.

use crate::api::{
    Blocking, BlockingListener, BlockingStream, Listener, Stream, assert_bytes, listener, pair, random_bytes,
    read_all, read_some,
};
use std::collections::BTreeSet;

pub(crate) async fn a_clone_is_the_same_connection<A: Blocking>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    let mut clone = client.try_clone().unwrap();
    assert_eq!(clone.local_addr().unwrap(), client.local_addr().unwrap());
    assert_eq!(clone.peer_addr().unwrap(), client.peer_addr().unwrap());
    client.write_all(b"one").await.unwrap();
    clone.write_all(b"two").await.unwrap();
    assert_eq!(read_some(&mut server, 6).await, b"onetwo");
    server.write_all(b"ab").await.unwrap();
    assert_eq!(read_some(&mut clone, 1).await, b"a");
    assert_eq!(read_some(&mut client, 1).await, b"b");
}

pub(crate) async fn the_last_clone_closes<A: Blocking>(api: &A) {
    let (client, mut server) = pair(api).await;
    let mut clone = client.try_clone().unwrap();
    drop(client);
    clone.write_all(b"open").await.unwrap();
    assert_eq!(read_some(&mut server, 4).await, b"open");
    server.write_all(b"yes").await.unwrap();
    assert_eq!(read_some(&mut clone, 3).await, b"yes");
    drop(clone);
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
}

pub(crate) async fn a_shutdown_is_every_clones<A: Blocking>(api: &A) {
    let (client, mut server) = pair(api).await;
    let mut clone = client.try_clone().unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(clone.write(b"x").await.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
}

pub(crate) async fn two_readers_share_the_bytes<A: Blocking>(api: &A) {
    let (mut client, server) = pair(api).await;
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let mut reader = server.try_clone().unwrap();
            api.spawn(async move {
                let mut numbers = Vec::new();
                let mut buf = [0; 4];
                loop {
                    // Four bytes are written at once, and readers take four at once.
                    let len = reader.read(&mut buf).await.unwrap();
                    if len == 0 {
                        return numbers;
                    }
                    assert_eq!(len, 4);
                    numbers.push(u32::from_be_bytes(buf));
                }
            })
        })
        .collect();
    client.set_nodelay(true).unwrap();
    for number in 0..2000_u32 {
        client.write_all(&number.to_be_bytes()).await.unwrap();
    }
    drop(client);
    let mut all = BTreeSet::new();
    let mut count = 0;
    for reader in readers {
        let numbers = reader.join().await;
        assert!(numbers.is_sorted(), "each reader sees them in order");
        count += numbers.len();
        all.extend(numbers);
    }
    assert_eq!((count, all.len()), (2000, 2000));
}

/// As long as there is room.
pub(crate) async fn two_writers_do_not_mix_small_writes<A: Blocking>(api: &A) {
    let (client, mut server) = pair(api).await;
    let writers: Vec<_> = (0..2_u8)
        .map(|number| {
            let mut writer = client.try_clone().unwrap();
            api.spawn(async move {
                for _ in 0..50 {
                    assert_eq!(writer.write(&[number; 100]).await.unwrap(), 100);
                }
            })
        })
        .collect();
    drop(client);
    let received = read_all(&mut server).await;
    for writer in writers {
        writer.join().await;
    }
    assert_eq!(received.len(), 10_000);
    let mut counts = [0; 2];
    for piece in received.chunks(100) {
        assert!(piece.iter().all(|byte| *byte == piece[0]), "a write was torn");
        counts[usize::from(piece[0])] += 1;
    }
    assert_eq!(counts, [50, 50]);
}

pub(crate) async fn one_clone_reads_while_another_writes<A: Blocking>(api: &A) {
    let (mut client, mut server) = pair(api).await;
    let mut writer = client.try_clone().unwrap();
    let data = random_bytes(60, 2 << 20);
    let sent = data.clone();
    let writing = api.spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let echoing = api.spawn(async move {
        let mut buf = vec![0; 1000];
        loop {
            let len = server.read(&mut buf).await.unwrap();
            if len == 0 {
                break;
            }
            server.write_all(&buf[..len]).await.unwrap();
        }
    });
    assert_bytes(&read_all(&mut client).await, &data);
    writing.join().await;
    echoing.join().await;
}

pub(crate) async fn a_cloned_listener_accepts<A: Blocking>(api: &A) {
    let (first, addr) = listener(api).await;
    let clone = first.try_clone().unwrap();
    assert_eq!(clone.local_addr().unwrap(), addr);
    let one = api.connect(addr).await.unwrap();
    let two = api.connect(addr).await.unwrap();
    assert_eq!(clone.accept().await.unwrap().1, one.local_addr().unwrap());
    assert_eq!(first.accept().await.unwrap().1, two.local_addr().unwrap());
    drop(first);
    let three = api.connect(addr).await.unwrap();
    assert_eq!(clone.accept().await.unwrap().1, three.local_addr().unwrap());
}

pub(crate) async fn peeks_of_clones_see_the_same<A: Blocking>(api: &A) {
    let (mut client, server) = pair(api).await;
    let clone = server.try_clone().unwrap();
    client.write_all(b"same").await.unwrap();
    for handle in [&server, &clone] {
        let mut buf = [0; 8];
        assert_eq!(handle.peek(&mut buf).await.unwrap(), 4);
        assert_eq!(&buf[..4], b"same");
    }
}
