//! Asynchronous sockets: readiness, tries, halves, packets and what is attached, by both carriers.

#![cfg(all(target_os = "linux", feature = "tokio"))]

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use sockeye_local::SMALLEST_RING;
use sockeye_local::tokio::{LocalListener, LocalPacketListener, LocalPackets, LocalStream};
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest, Ready};
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(20);

fn pairs() -> [(LocalStream, LocalStream); 2] {
    let (one, other) = sockeye_local::LocalStream::pair_with(SMALLEST_RING).unwrap();
    let (plain, plain_too) = UnixStream::pair().unwrap();
    let wrap = |stream: UnixStream| LocalStream::new(stream.into()).unwrap();
    [(LocalStream::new(one).unwrap(), LocalStream::new(other).unwrap()), (wrap(plain), wrap(plain_too))]
}

fn packet_pairs() -> [(LocalPackets, LocalPackets); 2] {
    let (one, other) = sockeye_local::LocalPackets::pair_with(SMALLEST_RING).unwrap();
    let kind = SocketType::SEQPACKET;
    let plain = rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
    let wrap = |end| LocalPackets::new(UnixStream::from(end).into()).unwrap();
    [(LocalPackets::new(one).unwrap(), LocalPackets::new(other).unwrap()), (wrap(plain.0), wrap(plain.1))]
}

fn fill(stream: &LocalStream) -> usize {
    let mut sent = 0;
    loop {
        match stream.try_write(&[7; 1000]) {
            Ok(count) => sent += count,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return sent;
            }
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn readiness_is_waited_for_and_tries_never_wait() {
    for (ours, theirs) in pairs() {
        assert!(timeout(SHORT, ours.readable()).await.is_err());
        assert_eq!(ours.try_read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        timeout(LONG, ours.writable()).await.unwrap().unwrap();
        let both = Interest::READABLE | Interest::WRITABLE;
        assert_eq!(ours.ready(both).await.unwrap(), Ready::WRITABLE);
        assert_eq!(theirs.try_write_vectored(&[IoSlice::new(b"ab"), IoSlice::new(b"cd")]).unwrap(), 4);
        timeout(LONG, ours.readable()).await.unwrap().unwrap();
        assert_eq!(ours.ready(both).await.unwrap(), Ready::READABLE | Ready::WRITABLE);
        let (mut one, mut other) = ([0; 1], [0; 8]);
        let count = ours.try_read_vectored(&mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)]);
        assert_eq!((count.unwrap(), &one, &other[..3]), (4, b"a", &b"bcd"[..]));
        let sent = fill(&ours);
        assert!(timeout(SHORT, ours.writable()).await.is_err());
        let mut all = vec![0; sent];
        let mut reading = theirs;
        reading.read_exact(&mut all).await.unwrap();
        timeout(LONG, ours.writable()).await.unwrap().unwrap();
        drop(reading);
        timeout(LONG, ours.readable()).await.unwrap().unwrap();
        assert_eq!(ours.try_read(&mut [0; 8]).unwrap(), 0);
        timeout(LONG, ours.writable()).await.unwrap().unwrap();
        assert_eq!(ours.try_write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}

/// Waiting for readiness takes nothing, also not an error.
#[tokio::test(flavor = "current_thread")]
async fn readiness_takes_no_error_away() {
    for (ours, theirs) in pairs() {
        assert_eq!(ours.try_write(b"unread").unwrap(), 6);
        drop(theirs);
        for _ in 0..3 {
            timeout(LONG, ours.readable()).await.unwrap().unwrap();
        }
        assert_eq!(ours.try_read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rounds_of_readiness_lose_no_wake_up() {
    for (ours, theirs) in pairs() {
        let total = 3_000_usize;
        let writing = tokio::spawn(async move {
            let mut sent = 0;
            while sent < total * 100 {
                ours.writable().await.unwrap();
                match ours.try_write(&vec![5; (total * 100 - sent).min(997)]) {
                    Ok(count) => sent += count,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
            ours
        });
        let mut got = 0;
        while got < total * 100 {
            timeout(LONG, theirs.readable()).await.unwrap().unwrap();
            match theirs.try_read(&mut [0; 700]) {
                Ok(count) => got += count,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        writing.await.unwrap();
    }
}

/// A bell that a task's try in one direction takes is passed on to every task that waits in the other.
#[tokio::test(flavor = "current_thread")]
async fn tasks_in_both_directions_wait_at_once() {
    for (ours, theirs) in pairs() {
        let ours = Arc::new(ours);
        let filled = fill(&ours);
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let ours = Arc::clone(&ours);
                tokio::spawn(async move { ours.readable().await })
            })
            .collect();
        tokio::time::sleep(SHORT).await;
        let mut theirs = theirs.into_inner();
        theirs.write_all(b"x").unwrap();
        // Before the runtime has looked at the descriptor.
        assert_eq!(ours.try_write(b"y").unwrap_err().kind(), ErrorKind::WouldBlock);
        for reader in readers {
            timeout(LONG, reader).await.expect("woken").unwrap().unwrap();
        }
        let writers: Vec<_> = (0..3)
            .map(|_| {
                let ours = Arc::clone(&ours);
                tokio::spawn(async move { ours.writable().await })
            })
            .collect();
        assert_eq!(ours.try_read(&mut [0; 8]).unwrap(), 1);
        tokio::time::sleep(SHORT).await;
        theirs.set_nonblocking(false).unwrap();
        theirs.read_exact(&mut vec![0; filled]).unwrap();
        assert_eq!(ours.try_read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        for writer in writers {
            timeout(LONG, writer).await.expect("woken").unwrap().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn halves_go_to_tasks_and_come_back() {
    for (ours, theirs) in pairs() {
        let (mut from, mut to) = theirs.into_split();
        let echo = tokio::spawn(async move {
            tokio::io::copy(&mut from, &mut to).await.unwrap();
            from.reunite(to).unwrap()
        });
        let (mut from, mut to) = ours.into_split();
        let sending = tokio::spawn(async move {
            for _ in 0..100 {
                to.write_all(&[3; 10_000]).await.unwrap();
            }
            // It ends the direction as it is dropped.
        });
        let mut all = vec![0; 1_000_000];
        from.read_exact(&mut all).await.unwrap();
        assert!(all.iter().all(|byte| *byte == 3));
        sending.await.unwrap();
        let mut theirs = timeout(LONG, echo).await.unwrap().unwrap();
        theirs.write_all(b"still open").await.unwrap();
        let (mut reading, writing) = theirs.split();
        assert_eq!(reading.read(&mut [0; 8]).await.unwrap(), 0);
        writing.writable().await.unwrap();
        let mut rest = [0; 10];
        assert_eq!(from.peek(&mut rest).await.unwrap(), 10);
        from.readable().await.unwrap();
        assert_eq!(from.try_read(&mut rest).unwrap(), 10);
        assert_eq!(&rest, b"still open");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_half_that_is_forgotten_leaves_its_direction_open() {
    for (ours, theirs) in pairs() {
        let (_from, to) = ours.into_split();
        to.forget();
        assert!(timeout(SHORT, theirs.readable()).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_go_both_ways_with_boundaries() {
    for (ours, theirs) in packet_pairs() {
        let echo = tokio::spawn(async move {
            let mut packet = [0; 2000];
            loop {
                match theirs.recv(&mut packet).await.unwrap() {
                    0 => return,
                    count => assert_eq!(theirs.send(&packet[..count]).await.unwrap(), count),
                }
            }
        });
        let ours = Arc::new(ours);
        let sending = {
            let ours = Arc::clone(&ours);
            tokio::spawn(async move {
                for round in 0..1000_usize {
                    ours.send(&vec![round as u8; round % 1900 + 1]).await.unwrap();
                }
            })
        };
        let mut packet = [0; 2000];
        for round in 0..1000_usize {
            let count = timeout(LONG, ours.recv(&mut packet)).await.unwrap().unwrap();
            assert_eq!(count, round % 1900 + 1);
            assert!(packet[..count].iter().all(|byte| *byte == round as u8));
        }
        sending.await.unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        timeout(LONG, echo).await.unwrap().unwrap();
    }
}

/// A try that found too little room isn't said to be worth another before there is more.
#[tokio::test(flavor = "current_thread")]
async fn a_packet_that_does_not_fit_yet_waits_for_room() {
    for (ours, theirs) in packet_pairs() {
        let mut sent = 0;
        while ours.try_send(&[1; 1100]).is_ok() {
            sent += 1;
        }
        assert!(timeout(SHORT, ours.writable()).await.is_err());
        assert_eq!(ours.try_recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let sending = async {
            let mut tries = 0;
            loop {
                ours.writable().await.unwrap();
                tries += 1;
                if ours.try_send(&[2; 1100]).is_ok() {
                    return tries;
                }
            }
        };
        let receiving = async {
            for _ in 0..sent {
                tokio::time::sleep(Duration::from_millis(1)).await;
                theirs.readable().await.unwrap();
                assert_eq!(theirs.try_recv(&mut [0; 2000]).unwrap(), 1100);
            }
        };
        let (tries, ()) = timeout(LONG, async { tokio::join!(sending, receiving) }).await.unwrap();
        assert!(tries <= sent + 1, "{tries} tries");
        assert_eq!(theirs.recv(&mut [0; 2000]).await.unwrap(), 1100);
    }
}

/// Several tasks receive from one connection: each packet goes to one, and none waits in vain.
#[tokio::test(flavor = "multi_thread")]
async fn tasks_share_what_comes() {
    for (ours, theirs) in packet_pairs() {
        let theirs = Arc::new(theirs);
        let receiving: Vec<_> = (0..4)
            .map(|_| {
                let theirs = Arc::clone(&theirs);
                tokio::spawn(async move {
                    let mut sum = 0_u32;
                    loop {
                        let mut number = [0; 4];
                        match theirs.recv(&mut number).await.unwrap() {
                            0 => return sum,
                            _ => sum += u32::from_ne_bytes(number),
                        }
                    }
                })
            })
            .collect();
        for number in 1..=2000_u32 {
            ours.send(&number.to_ne_bytes()).await.unwrap();
            if number % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
        drop(ours);
        let mut sum = 0;
        for task in receiving {
            sum += timeout(LONG, task).await.unwrap().unwrap();
        }
        assert_eq!(sum, 2000 * 2001 / 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_along() {
    for (ours, theirs) in pairs() {
        theirs.set_passrights(true).unwrap();
        theirs.set_passcred(true).unwrap();
        let (_reader, writer) = std::io::pipe().unwrap();
        let sending = tokio::spawn(async move {
            for _ in 0..500 {
                assert_eq!(ours.send_with(b"ab", &[writer.as_fd()]).await.unwrap(), 2);
            }
        });
        for _ in 0..500 {
            let (count, with) = timeout(LONG, theirs.recv_with(&mut [0; 8])).await.unwrap().unwrap();
            assert_eq!((count, with.descriptors.len()), (2, 1));
            assert_eq!(with.credentials.unwrap().pid, Some(std::process::id()));
        }
        sending.await.unwrap();
        assert_eq!(theirs.recv_with(&mut [0; 8]).await.unwrap().0, 0);
    }
    for (ours, theirs) in packet_pairs() {
        theirs.set_passrights(true).unwrap();
        ours.send_with(b"", &[std::io::stdin().as_fd()]).await.unwrap();
        let (count, with) = theirs.recv_with(&mut [0; 8]).await.unwrap();
        assert_eq!((count, with.descriptors.len()), (0, 1));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn listeners_are_polled_too() {
    let folder = tempfile::tempdir().unwrap();
    let (path, packets) = (folder.path().join("stream"), folder.path().join("packets"));
    let listener = LocalListener::bind(&path).unwrap();
    let accepting = tokio::spawn(async move {
        let (stream, _) = std::future::poll_fn(|context| listener.poll_accept(context)).await.unwrap();
        stream.writable().await.unwrap();
        stream.try_write(b"hello").unwrap()
    });
    tokio::time::sleep(SHORT).await;
    let mut client = LocalStream::connect_with(&path, SMALLEST_RING).await.unwrap();
    let mut word = [0; 5];
    timeout(LONG, client.read_exact(&mut word)).await.unwrap().unwrap();
    assert_eq!(accepting.await.unwrap(), 5);
    let listener = LocalPacketListener::bind(&packets).unwrap();
    let client = LocalPackets::connect(&packets).await.unwrap();
    client.send(b"early").await.unwrap();
    let (server, name) = listener.accept().await.unwrap();
    assert!(server.is_shared_memory() && name.is_unnamed());
    assert_eq!(server.recv(&mut [0; 8]).await.unwrap(), 5);
}
