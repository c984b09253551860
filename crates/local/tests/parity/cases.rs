// Included once for each library.

use crate::Extra as _;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    (folder, path)
}

fn connected() -> (Client, Server) {
    let (_folder, path) = place();
    let listener = Listener::bind(&path).unwrap();
    let client = Client::connect(&path).unwrap();
    let (server, _) = listener.accept().unwrap();
    assert_eq!(client.is_shared() || server.is_shared(), IS_SHARED);
    (client, server)
}

#[test]
fn words_go_both_ways_and_end() {
    let (mut client, mut server) = connected();
    client.write_all(b"question").unwrap();
    let mut word = [0; 8];
    server.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"question");
    server.write_all(b"answer").unwrap();
    drop(server);
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "answer");
    assert_eq!(client.read(&mut word).unwrap(), 0, "again");
    assert_eq!(client.write(b"more").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_reader_waits_for_a_writer_and_a_writer_for_a_reader() {
    let (mut client, mut server) = connected();
    let reading = thread::spawn(move || {
        let mut total = 0;
        let mut buffer = vec![0; 60_000];
        loop {
            match client.read(&mut buffer).unwrap() {
                0 => return total,
                count => total += count,
            }
        }
    });
    for _ in 0..50 {
        server.write_all(&vec![3; 100_000]).unwrap();
    }
    drop(server);
    assert_eq!(reading.join().unwrap(), 5_000_000);
}

#[test]
fn writing_nothing_is_done_at_once() {
    let (mut client, mut server) = connected();
    assert_eq!(server.write(&[]).unwrap(), 0);
    client.set_nonblocking(true).unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn calls_that_would_wait_say_so_where_they_may_not() {
    let (mut client, mut server) = connected();
    client.set_nonblocking(true).unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let mut sent = 0;
    let error = loop {
        match client.write(&[1; 10_000]) {
            Ok(count) => sent += count,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(sent > 50_000, "{sent}");
    let mut all = vec![0; sent];
    server.read_exact(&mut all).unwrap();
    assert!(client.write(&[1; 10]).unwrap() == 10);
    client.set_nonblocking(false).unwrap();
    server.write_all(b"x").unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 1);
}

#[test]
fn waiting_has_the_limit_that_was_set() {
    let (mut client, mut server) = connected();
    assert_eq!((client.read_timeout().unwrap(), client.write_timeout().unwrap()), (None, None));
    let limit = Duration::from_millis(120);
    client.set_read_timeout(Some(limit)).unwrap();
    client.set_write_timeout(Some(limit)).unwrap();
    assert_eq!((client.read_timeout().unwrap(), client.write_timeout().unwrap()), (Some(limit), Some(limit)));
    let start = Instant::now();
    assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(start.elapsed() >= limit);
    let start = Instant::now();
    let mut sent = 0;
    let error = loop {
        match client.write(&vec![1; 100_000]) {
            Ok(count) => sent += count,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(start.elapsed() >= limit);
    server.read_exact(&mut vec![0; sent]).unwrap();
    assert_eq!(client.set_read_timeout(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::InvalidInput);
    client.set_read_timeout(None).unwrap();
    server.write_all(b"x").unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 1);
}

#[test]
fn each_half_is_shut_alone() {
    let (mut client, mut server) = connected();
    client.write_all(b"last words").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    let mut heard = String::new();
    server.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "last words");
    server.write_all(b"answer").unwrap();
    assert_eq!(client.read(&mut [0; 16]).unwrap(), 6);

    let (mut client, mut server) = connected();
    server.write_all(b"in time").unwrap();
    client.shutdown(Shutdown::Read).unwrap();
    assert_eq!(server.write(b"too late").unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_eq!(client.read(&mut [0; 16]).unwrap(), 7);
    assert_eq!(client.read(&mut [0; 16]).unwrap(), 0);
    client.write_all(b"still").unwrap();
    assert_eq!(server.read(&mut [0; 16]).unwrap(), 5);

    let (mut client, mut server) = connected();
    client.shutdown(Shutdown::Both).unwrap();
    assert_eq!(client.read(&mut [0; 16]).unwrap(), 0);
    assert_eq!(server.read(&mut [0; 16]).unwrap(), 0);
    assert_eq!(server.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_shutdown_ends_a_wait() {
    let (client, server) = connected();
    let handle = client.try_clone().unwrap();
    let waiting = thread::spawn(move || (&handle).read(&mut [0; 8]).unwrap());
    thread::sleep(Duration::from_millis(10));
    client.shutdown(Shutdown::Both).unwrap();
    assert_eq!(waiting.join().unwrap(), 0);
    let handle = server.try_clone().unwrap();
    let (other, server) = (server, handle);
    drop((other, client));
    assert_eq!((&server).read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn whoever_wrote_what_was_never_read_is_told_once() {
    let (mut client, mut server) = connected();
    client.write_all(b"unheard").unwrap();
    server.write_all(b"heard").unwrap();
    drop(server);
    assert_eq!(client.read(&mut [0; 16]).unwrap(), 5);
    assert_eq!(client.read(&mut [0; 16]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(client.read(&mut [0; 16]).unwrap(), 0);
    assert_eq!(client.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_look_leaves_things_there() {
    let (client, mut server) = connected();
    server.write_all(b"abc").unwrap();
    let mut bytes = [0; 8];
    assert_eq!(client.look(&mut bytes[..2]).unwrap(), 2);
    assert_eq!(client.look(&mut bytes).unwrap(), 3);
    assert_eq!((&client).read(&mut bytes).unwrap(), 3);
    assert_eq!(&bytes[..3], b"abc");
    client.set_nonblocking(true).unwrap();
    assert_eq!(client.look(&mut bytes).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(server);
    assert_eq!(client.look(&mut bytes).unwrap(), 0);
}

#[test]
fn parts_are_gathered_and_scattered() {
    let (mut client, mut server) = connected();
    let parts = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
    assert_eq!(client.write_vectored(&parts).unwrap(), 5);
    let (mut first, mut second) = ([0; 3], [0; 8]);
    let mut parts = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    assert_eq!(server.read_vectored(&mut parts).unwrap(), 5);
    assert_eq!((&first, &second[..2]), (b"abc", &b"de"[..]));
}

#[test]
fn handles_are_one_end() {
    let (client, mut server) = connected();
    let other = client.try_clone().unwrap();
    drop(client);
    server.write_all(b"x").unwrap();
    assert_eq!((&other).read(&mut [0; 8]).unwrap(), 1);
    drop(other);
    assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn names_and_credentials_are_told() {
    let (_folder, path) = place();
    let listener = Listener::bind(&path).unwrap();
    assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(&*path));
    let client = Client::connect(&path).unwrap();
    let (server, from) = listener.accept().unwrap();
    assert!(from.is_unnamed());
    assert!(client.local_addr().unwrap().is_unnamed() && server.peer_addr().unwrap().is_unnamed());
    assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(&*path));
    assert_eq!(server.local_addr().unwrap().as_pathname(), Some(&*path));
    assert_eq!((client.peer_pid(), server.peer_pid()), (std::process::id(), std::process::id()));
    assert!(client.take_error().unwrap().is_none());
}

#[test]
fn a_pair_has_no_names() {
    let (mut one, mut other) = Client::pair().unwrap();
    one.write_all(b"x").unwrap();
    assert_eq!(other.read(&mut [0; 2]).unwrap(), 1);
    assert!(one.local_addr().unwrap().is_unnamed() && one.peer_addr().unwrap().is_unnamed());
    assert_eq!(one.peer_pid(), std::process::id());
}

#[test]
fn a_file_appears_with_the_permissions_that_are_left() {
    let (_folder, path) = place();
    let _listener = Listener::bind(&path).unwrap();
    let file = std::fs::metadata(&path).unwrap();
    assert!(file.file_type().is_socket());
    // Another thread's umask would be this one's too: it is only looked at.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap().trim();
    assert_eq!(file.permissions().mode() & 0o777, 0o777 & !u32::from_str_radix(umask, 8).unwrap());
}

#[test]
fn a_name_in_use_is_refused() {
    let (_folder, path) = place();
    let listener = Listener::bind(&path).unwrap();
    assert_eq!(Listener::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nobody connected for that");
    let (_folder, path) = place();
    std::fs::write(&path, b"precious").unwrap();
    assert_eq!(Listener::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    assert_eq!(Client::connect(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn nobody_connects_where_nobody_listens() {
    let (_folder, path) = place();
    assert_eq!(Client::connect(&path).unwrap_err().kind(), ErrorKind::NotFound);
    drop(Listener::bind(&path).unwrap());
    assert_eq!(Client::connect(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let long = path.with_file_name("x".repeat(200));
    assert_eq!(Client::connect(&long).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(Listener::bind(&long).unwrap_err().kind(), ErrorKind::InvalidInput);
    let missing = path.with_file_name("folder").join("socket");
    assert_eq!(Listener::bind(missing).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn connecting_takes_the_paths_permission() {
    let (folder, path) = place();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let listener = Listener::bind(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let trying = thread::spawn(move || {
        // To this thread alone; as another user than root, take the permission away from oneself.
        if rustix::process::getuid().is_root() {
            rustix::thread::set_thread_uid(rustix::thread::Uid::from_raw(65_534)).unwrap();
        } else {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
        }
        Client::connect(&path).unwrap_err().kind()
    });
    assert_eq!(trying.join().unwrap(), ErrorKind::PermissionDenied);
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn connections_outlive_the_name() {
    let (_folder, path) = place();
    let listener = Listener::bind(&path).unwrap();
    let mut early = Client::connect(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(Client::connect(&path).unwrap_err().kind(), ErrorKind::NotFound);
    let next = Listener::bind(&path).unwrap();
    let mut late = Client::connect(&path).unwrap();
    early.write_all(b"early").unwrap();
    late.write_all(b"late").unwrap();
    for (listener, word) in [(listener, "early"), (next, "late")] {
        let mut bytes = [0; 8];
        let count = listener.accept().unwrap().0.read(&mut bytes).unwrap();
        assert_eq!(&bytes[..count], word.as_bytes());
    }
}

#[test]
fn what_was_written_before_it_was_accepted_is_there() {
    let (_folder, path) = place();
    let listener = Listener::bind(&path).unwrap();
    let mut client = Client::connect(&path).unwrap();
    client.write_all(b"hasty").unwrap();
    drop(client);
    let mut heard = String::new();
    listener.incoming().next().unwrap().unwrap().read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "hasty");
}

#[test]
fn a_listener_that_goes_takes_its_queue_along() {
    let (_folder, path) = place();
    let listener = Listener::bind(&path).unwrap();
    let mut client = Client::connect(&path).unwrap();
    drop(listener);
    assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(client.write(&[0; 8]).unwrap_err().kind(), ErrorKind::BrokenPipe);
}
