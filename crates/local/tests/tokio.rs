//! Asynchronous sockets: among themselves, with plain peers, and beside threads.

#![cfg(all(target_os = "linux", feature = "tokio"))]

use sockeye_local::DEFAULT_RING;
use sockeye_local::tokio::{LocalListener, LocalStream};
use std::io::{ErrorKind, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

async fn connected() -> (LocalStream, LocalStream) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = LocalListener::bind(&path).unwrap();
    let client = LocalStream::connect_with(&path, DEFAULT_RING).await.unwrap();
    let (server, name) = listener.accept().await.unwrap();
    assert!(client.is_shared_memory() && server.is_shared_memory() && name.is_unnamed());
    assert_eq!(client.peer_cred().unwrap().pid, Some(std::process::id()));
    (client, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_goes_both_ways_at_once() {
    let (client, server) = connected().await;
    let echo = tokio::spawn(async move {
        let (mut from, mut to) = tokio::io::split(server);
        tokio::io::copy(&mut from, &mut to).await.unwrap();
        to.shutdown().await.unwrap();
    });
    let (mut from, mut to) = tokio::io::split(client);
    let sending = tokio::spawn(async move {
        for round in 0..400_u32 {
            to.write_all(&vec![round as u8; 20_011]).await.unwrap();
        }
        to.shutdown().await.unwrap();
    });
    let mut heard = Vec::new();
    from.read_to_end(&mut heard).await.unwrap();
    assert!(heard.len() == 400 * 20_011);
    assert!(
        heard.chunks(20_011).enumerate().all(|(round, part)| part.iter().all(|byte| *byte == round as u8))
    );
    sending.await.unwrap();
    echo.await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn tasks_of_one_thread_answer_each_other() {
    let (mut client, mut server) = connected().await;
    let answering = tokio::spawn(async move {
        let mut byte = [0];
        while server.read_exact(&mut byte).await.is_ok() {
            server.write_all(&byte).await.unwrap();
        }
    });
    for round in 0..500_u32 {
        client.write_all(&[round as u8]).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), round as u8);
    }
    drop(client);
    answering.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_given_up_loses_nothing() {
    let (mut client, mut server) = connected().await;
    for _ in 0..20 {
        let waiting = tokio::time::timeout(Duration::from_millis(1), client.read_u8());
        assert!(waiting.await.is_err());
        server.write_all(&[7]).await.unwrap();
        assert_eq!(client.peek(&mut [0; 4]).await.unwrap(), 1);
        assert_eq!(client.read_u8().await.unwrap(), 7);
    }
    drop(server);
    assert_eq!(client.read_u8().await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(client.write_all(&[1]).await.unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_and_plain_programs_are_peers_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = LocalListener::bind(&path).unwrap();
    for is_plain in [false, true] {
        let path = path.clone();
        let thread = std::thread::spawn(move || {
            let talk = |stream: &mut dyn ReadWrite| {
                let mut bytes = vec![0; 700_000];
                stream.write_all(&bytes).unwrap();
                stream.read_exact(&mut bytes).unwrap();
                assert!(bytes.iter().all(|byte| *byte == 5));
            };
            if is_plain {
                talk(&mut std::os::unix::net::UnixStream::connect(path).unwrap());
            } else {
                talk(&mut sockeye_local::LocalStream::connect(path).unwrap());
            }
        });
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = vec![0; 700_000];
        stream.read_exact(&mut bytes).await.unwrap();
        bytes.fill(5);
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(stream.is_shared_memory(), !is_plain, "by then it has carried enough");
        thread.join().unwrap();
    }
}

/// Calls once, as a task does that is polled.
async fn once<R>(mut call: impl FnMut(&mut Context<'_>) -> Poll<R>) -> Poll<R> {
    std::future::poll_fn(|context| Poll::Ready(call(context))).await
}

/// The bells at the socket are for both halves: one that takes them wakes the other.
#[tokio::test(flavor = "current_thread")]
async fn a_half_that_tries_in_vain_leaves_the_other_its_wake_up() {
    for writer_tries in [true, false] {
        let (ours, theirs) = sockeye_local::LocalStream::pair_with(sockeye_local::SMALLEST_RING).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let (mut from, mut to) = tokio::io::split(LocalStream::new(ours).unwrap());
        while once(|context| Pin::new(&mut to).poll_write(context, &[1; 4096])).await.is_ready() {}
        if writer_tries {
            let reading = tokio::spawn(async move { from.read_u8().await });
            tokio::time::sleep(Duration::from_millis(20)).await;
            (&theirs).write_all(&[7]).unwrap();
            // Before the runtime has looked at the descriptor.
            assert!(once(|context| Pin::new(&mut to).poll_write(context, &[1])).await.is_pending());
            let read = tokio::time::timeout(Duration::from_secs(5), reading).await;
            assert_eq!(read.expect("woken").unwrap().unwrap(), 7);
        } else {
            let writing = tokio::spawn(async move { to.write_all(&[1]).await });
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert_eq!((&theirs).read(&mut [0; 4096]).unwrap(), 4096);
            let mut byte = [0];
            let read = once(|context| Pin::new(&mut from).poll_read(context, &mut ReadBuf::new(&mut byte)));
            assert!(read.await.is_pending());
            tokio::time::timeout(Duration::from_secs(5), writing).await.expect("woken").unwrap().unwrap();
        }
    }
}

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

#[tokio::test(flavor = "current_thread")]
async fn a_full_queue_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let config = sockeye_local::ListenerConfig { backlog: 2, ..Default::default() };
    let listener = LocalListener::bind_with(&path, &config).unwrap();
    let mut queued = Vec::new();
    let error = loop {
        match LocalStream::connect(&path).await {
            Ok(stream) => queued.push(stream),
            Err(error) => break error,
        }
        assert!(queued.len() < 20);
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    for _ in 0..queued.len() {
        listener.accept().await.unwrap();
    }
    LocalStream::connect(&path).await.unwrap();
}
