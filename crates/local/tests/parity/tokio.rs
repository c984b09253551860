// Included once for each library.

use crate::{Extra as _, Queued as _};
use std::io::{ErrorKind, IoSlice};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const SHORT: Duration = Duration::from_millis(40);
const LONG: Duration = Duration::from_secs(20);

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    (folder, path)
}

async fn connected() -> (Client, Server) {
    let (_folder, path) = place();
    let listener = Listener::bind(&path).unwrap();
    let client = dial(&path).await.unwrap();
    let (server, from) = listener.accept().await.unwrap();
    assert_eq!(client.is_shared() || server.is_shared(), IS_SHARED);
    assert!(from.is_unnamed() && client.local_addr().unwrap().is_unnamed());
    assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(&*path));
    (client, server)
}

#[tokio::test]
async fn words_go_both_ways_and_end() {
    let (mut client, mut server) = connected().await;
    let own = (std::process::id(), rustix::process::getuid().as_raw());
    assert_eq!((client.peer(), server.peer()), (own, own));
    client.write_all(b"question").await.unwrap();
    let mut word = [0; 8];
    server.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"question");
    let parts = [IoSlice::new(b"an"), IoSlice::new(b"swer")];
    assert_eq!(server.write_vectored(&parts).await.unwrap(), 6);
    drop(server);
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "answer");
    assert_eq!(client.read(&mut word).await.unwrap(), 0, "again");
    assert_eq!(client.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn each_half_is_shut_alone() {
    let (mut client, mut server) = connected().await;
    client.write_all(b"last words").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(client.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    let mut heard = String::new();
    server.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "last words");
    server.write_all(b"answer").await.unwrap();
    assert_eq!(client.read(&mut [0; 16]).await.unwrap(), 6);
}

#[tokio::test]
async fn one_who_reads_waits_for_one_who_writes() {
    let (client, mut server) = connected().await;
    let (mut from, mut to) = client.into_split();
    let reading = tokio::spawn(async move {
        let mut byte = [0];
        from.read_exact(&mut byte).await.unwrap();
        (byte[0], from)
    });
    tokio::time::sleep(SHORT).await;
    assert!(!reading.is_finished());
    server.write_all(b"x").await.unwrap();
    let (byte, mut from) = timeout(LONG, reading).await.unwrap().unwrap();
    assert_eq!(byte, b'x');
    // And for the end, which a shutdown is.
    let reading = tokio::spawn(async move { from.read(&mut [0; 8]).await.unwrap() });
    tokio::time::sleep(SHORT).await;
    server.shutdown().await.unwrap();
    assert_eq!(timeout(LONG, reading).await.unwrap().unwrap(), 0);
    to.write_all(b"still").await.unwrap();
    assert_eq!(server.read(&mut [0; 16]).await.unwrap(), 5);
    // The half that writes ends its direction when it goes.
    drop(to);
    assert_eq!(timeout(LONG, server.read(&mut [0; 16])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn one_who_writes_waits_for_one_who_reads() {
    let (mut client, mut server) = connected().await;
    let writing = tokio::spawn(async move {
        for round in 0..20_u8 {
            client.write_all(&vec![round; 100_000]).await.unwrap();
        }
        client
    });
    tokio::time::sleep(SHORT).await;
    assert!(!writing.is_finished());
    for round in 0..20_u8 {
        let mut bytes = vec![0; 100_000];
        timeout(LONG, server.read_exact(&mut bytes)).await.unwrap().unwrap();
        assert!(bytes.iter().all(|byte| *byte == round));
    }
    let mut client = timeout(LONG, writing).await.unwrap().unwrap();
    // It learns that nobody reads any more.
    let writing = tokio::spawn(async move { client.write_all(&vec![0; 8 << 20]).await.unwrap_err().kind() });
    tokio::time::sleep(SHORT).await;
    drop(server);
    let error = timeout(LONG, writing).await.unwrap().unwrap();
    assert!(matches!(error, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_directions_carry_much_at_once() {
    let (mut client, server) = connected().await;
    let echo = tokio::spawn(async move {
        let (mut from, mut to) = server.into_split();
        tokio::io::copy(&mut from, &mut to).await.unwrap()
    });
    let (mut from, mut to) = client.split();
    let sending = async move {
        for round in 0..100_u32 {
            to.write_all(&vec![round as u8; 20_011]).await.unwrap();
        }
        to.shutdown().await.unwrap();
    };
    let mut heard = Vec::new();
    let receiving = async { from.read_to_end(&mut heard).await.unwrap() };
    let ((), count) = timeout(LONG, async { tokio::join!(sending, receiving) }).await.unwrap();
    assert_eq!(count, 100 * 20_011);
    assert!(heard.chunks(20_011).zip(0_u32..).all(|(part, round)| part.iter().all(|byte| *byte == round as u8)));
    assert_eq!(echo.await.unwrap(), 100 * 20_011);
}

#[tokio::test]
async fn a_wait_that_is_given_up_takes_nothing() {
    let (mut client, mut server) = connected().await;
    for round in 0..10 {
        assert!(timeout(Duration::from_millis(2), client.read(&mut [0; 8])).await.is_err());
        server.write_all(&[round]).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), round);
    }
    let (_folder, path) = place();
    let listener = Listener::bind(&path).unwrap();
    assert!(timeout(SHORT, listener.accept()).await.is_err());
    let mut client = dial(&path).await.unwrap();
    client.write_all(b"x").await.unwrap();
    let (mut server, _) = timeout(LONG, listener.accept()).await.unwrap().unwrap();
    assert_eq!(server.read_u8().await.unwrap(), b'x');
}

#[tokio::test]
async fn tries_say_that_they_would_wait_and_readiness_is_waited_for() {
    let (client, server) = connected().await;
    assert_eq!(client.try_read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let mut sent = 0;
    timeout(LONG, client.writable()).await.unwrap().unwrap();
    loop {
        match client.try_write(&[1; 4096]) {
            Ok(count) => sent += count,
            Err(error) => break assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    assert!(timeout(SHORT, client.writable()).await.is_err());
    let mut bytes = vec![0; 65_536];
    while sent > 0 {
        timeout(LONG, server.readable()).await.unwrap().unwrap();
        match server.try_read(&mut bytes) {
            Ok(count) => sent -= count,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    timeout(LONG, client.writable()).await.unwrap().unwrap();
    drop(client);
    timeout(LONG, server.readable()).await.unwrap().unwrap();
    assert_eq!(server.try_read(&mut bytes).unwrap(), 0);
}

#[tokio::test]
async fn whoever_wrote_what_was_never_read_is_told_once() {
    let (mut client, mut server) = connected().await;
    client.write_all(b"unheard").await.unwrap();
    server.write_all(b"heard").await.unwrap();
    drop(server);
    assert_eq!(client.read(&mut [0; 16]).await.unwrap(), 5);
    assert_eq!(client.read(&mut [0; 16]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(client.read(&mut [0; 16]).await.unwrap(), 0);
    let (mut client, server) = connected().await;
    client.write_all(b"unheard").await.unwrap();
    drop(server);
    assert_eq!(client.take_error().unwrap().map(|error| error.kind()), Some(ErrorKind::ConnectionReset));
    assert!(client.take_error().unwrap().is_none());
}

#[tokio::test]
async fn names_in_use_and_ones_where_nobody_listens_are_refused() {
    let (_folder, path) = place();
    assert_eq!(dial(&path).await.unwrap_err().kind(), ErrorKind::NotFound);
    let listener = Listener::bind(&path).unwrap();
    assert_eq!(Listener::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
    assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(&*path));
    let mut queued = dial(&path).await.unwrap();
    drop(listener);
    assert_eq!(queued.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(dial(&path).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let long = path.with_file_name("x".repeat(200));
    assert_eq!(dial(&long).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(Listener::bind(&long).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn connecting_takes_the_paths_permission() {
    if !rustix::process::getuid().is_root() {
        println!("not looked at: only root can become another user");
        return;
    }
    // The runtime's one thread becomes nobody, and ends as such.
    let acting = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (folder, path) = place();
            std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
            let _listener = Listener::bind(&path).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
            rustix::thread::set_thread_uid(rustix::thread::Uid::from_raw(65_534)).unwrap();
            dial(&path).await.unwrap_err().kind()
        })
    });
    assert_eq!(acting.join().unwrap(), ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn connections_outlive_the_name() {
    let (_folder, path) = place();
    let listener = Listener::bind(&path).unwrap();
    let mut early = dial(&path).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(dial(&path).await.unwrap_err().kind(), ErrorKind::NotFound);
    let next = Listener::bind(&path).unwrap();
    let mut late = dial(&path).await.unwrap();
    early.write_all(b"early").await.unwrap();
    late.write_all(b"later").await.unwrap();
    for (listener, word) in [(listener, b"early"), (next, b"later")] {
        let mut bytes = [0; 5];
        listener.accept().await.unwrap().0.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, word);
    }
}

#[tokio::test]
async fn a_full_queue_is_said() {
    let (_folder, path) = place();
    let listener = Listener::bind_queued(&path, 1);
    // The kernel's queue has room for one more than it was told.
    let mut first = Vec::new();
    for _ in 0..2 {
        first.push(dial(&path).await.unwrap());
    }
    assert_eq!(dial(&path).await.unwrap_err().kind(), ErrorKind::WouldBlock);
    for mut client in first {
        let (mut server, _) = timeout(LONG, listener.accept()).await.unwrap().unwrap();
        client.write_all(b"x").await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), b'x');
    }
    dial(&path).await.unwrap();
    timeout(LONG, listener.accept()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_pair_has_no_names() {
    let (mut one, mut other) = Client::pair().unwrap();
    one.write_all(b"x").await.unwrap();
    assert_eq!(other.read_u8().await.unwrap(), b'x');
    assert!(one.local_addr().unwrap().is_unnamed() && one.peer_addr().unwrap().is_unnamed());
}
