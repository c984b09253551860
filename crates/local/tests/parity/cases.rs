// Included once for each library.

use crate::{Extra as _, Queued as _};
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    (folder, path)
}

fn own() -> (u32, u32, u32) {
    (std::process::id(), rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
}

/// Acts as a user to whom none of these files belongs: as nobody, in a thread of its own, if root may become that. None if
/// this is an ordinary user's test, which can become nobody else.
fn as_nobody<R: Send + 'static>(act: impl FnOnce() -> R + Send + 'static) -> Option<R> {
    if !rustix::process::getuid().is_root() {
        println!("not looked at: only root can become another user");
        return None;
    }
    let acting = thread::spawn(move || {
        // Of this thread alone.
        rustix::thread::set_thread_uid(rustix::thread::Uid::from_raw(65_534)).unwrap();
        act()
    });
    Some(acting.join().unwrap())
}

/// Of the folder at whose path others may look for a socket.
fn open_to_all(folder: &Path) {
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
}

fn connected() -> (Client, Server) {
    let (_folder, path) = place();
    let listener = Listener::bind(&path).unwrap();
    let client = dial(&path).unwrap();
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
    let client = dial(&path).unwrap();
    let (server, from) = listener.accept().unwrap();
    assert!(from.is_unnamed());
    assert!(client.local_addr().unwrap().is_unnamed() && server.peer_addr().unwrap().is_unnamed());
    assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(&*path));
    assert_eq!(server.local_addr().unwrap().as_pathname(), Some(&*path));
    assert_eq!((client.peer(), server.peer()), (own(), own()));
    assert!(client.take_error().unwrap().is_none());
}

#[test]
fn a_pair_has_no_names() {
    let (mut one, mut other) = Client::pair().unwrap();
    one.write_all(b"x").unwrap();
    assert_eq!(other.read(&mut [0; 2]).unwrap(), 1);
    assert!(one.local_addr().unwrap().is_unnamed() && one.peer_addr().unwrap().is_unnamed());
    assert_eq!(one.peer(), own());
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
    assert_eq!(dial(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn nobody_connects_where_nobody_listens() {
    let (_folder, path) = place();
    assert_eq!(dial(&path).unwrap_err().kind(), ErrorKind::NotFound);
    drop(Listener::bind(&path).unwrap());
    assert_eq!(dial(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let long = path.with_file_name("x".repeat(200));
    assert_eq!(dial(&long).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(Listener::bind(&long).unwrap_err().kind(), ErrorKind::InvalidInput);
    let missing = path.with_file_name("folder").join("socket");
    assert_eq!(Listener::bind(missing).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn connecting_takes_the_paths_permission() {
    let (folder, path) = place();
    open_to_all(folder.path());
    let listener = Listener::bind(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let connect = {
        let path = path.clone();
        move || dial(&path).map(drop).map_err(|error| error.kind())
    };
    // From oneself it can be taken away too, but from root.
    let refused = as_nobody(connect.clone()).unwrap_or_else(|| {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
        connect()
    });
    assert_eq!(refused, Err(ErrorKind::PermissionDenied));
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn connecting_and_listening_take_the_folders_permission() {
    let (folder, path) = place();
    let _listener = Listener::bind(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
    let try_both = {
        let other = path.with_file_name("other");
        move || {
            let bound = Listener::bind(&other).map(drop).map_err(|error| error.kind());
            (dial(&path).map(drop).map_err(|error| error.kind()), bound)
        }
    };
    let denied = Err(ErrorKind::PermissionDenied);
    // (Mode of the folder for others, what they can do there.)
    for (mode, connected) in [(0, denied), (5, Ok(()))] {
        let mode = 0o700 | mode | mode << 3;
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(mode)).unwrap();
        let Some(tried) = as_nobody(try_both.clone()) else { return };
        assert_eq!(tried, (connected, denied), "{mode:o}");
    }
}

#[test]
fn credentials_are_those_of_who_connected() {
    let (folder, path) = place();
    open_to_all(folder.path());
    let listener = Listener::bind(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
    let connect = move || dial(&path).unwrap();
    let Some(client) = as_nobody(connect) else { return };
    let (server, _) = listener.accept().unwrap();
    assert_eq!(client.is_shared() || server.is_shared(), IS_SHARED);
    let (process, user, group) = own();
    assert_eq!((client.peer(), server.peer()), ((process, user, group), (process, 65_534, group)));
}

#[test]
fn connections_outlive_the_name() {
    let (_folder, path) = place();
    let listener = Listener::bind(&path).unwrap();
    let mut early = dial(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(dial(&path).unwrap_err().kind(), ErrorKind::NotFound);
    let next = Listener::bind(&path).unwrap();
    let mut late = dial(&path).unwrap();
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
    let mut client = dial(&path).unwrap();
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
    let mut client = dial(&path).unwrap();
    drop(listener);
    assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(client.write(&[0; 8]).unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_full_queue_has_those_who_connect_wait() {
    let (_folder, path) = place();
    let listener = Listener::bind_queued(&path, 1).unwrap();
    // The kernel's queue has room for one more than it was told.
    let mut first: Vec<_> = (0..2).map(|_| dial(&path).unwrap()).collect();
    let (connected, is_connected) = mpsc::channel();
    let connecting = thread::spawn(move || {
        let mut last = dial(&path).unwrap();
        connected.send(()).unwrap();
        last.write_all(b"c").unwrap();
        last
    });
    assert!(is_connected.recv_timeout(Duration::from_millis(100)).is_err());
    first.iter_mut().zip([b"a", b"b"]).for_each(|(client, word)| client.write_all(word).unwrap());
    for word in *b"abc" {
        let mut byte = [0];
        listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [word]);
    }
    is_connected.recv_timeout(Duration::from_secs(10)).unwrap();
    connecting.join().unwrap();
}

#[test]
fn who_waits_in_vain_to_connect_is_refused() {
    let (_folder, path) = place();
    let listener = Listener::bind_queued(&path, 1).unwrap();
    let first: Vec<_> = (0..2).map(|_| dial(&path).unwrap()).collect();
    let connecting = thread::spawn(move || dial(&path).unwrap_err().kind());
    thread::sleep(Duration::from_millis(50));
    drop(listener);
    assert_eq!(connecting.join().unwrap(), ErrorKind::ConnectionRefused);
    for mut client in first {
        assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn a_listener_that_may_not_wait_accepts_what_there_is() {
    let (_folder, path) = place();
    let listener = Listener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    let mut client = dial(&path).unwrap();
    let (mut server, _) = listener.try_clone().unwrap().accept().unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    // That is about the listener: what it accepts waits.
    let reading = thread::spawn(move || server.read(&mut [0; 8]).unwrap());
    thread::sleep(Duration::from_millis(20));
    client.write_all(b"x").unwrap();
    assert_eq!(reading.join().unwrap(), 1);
    assert!(listener.take_error().unwrap().is_none());
}

#[test]
fn other_names_of_the_file_are_the_same_listeners() {
    let (_folder, path) = place();
    let listener = Listener::bind(&path).unwrap();
    let [linked, symbolic, moved] = ["linked", "symbolic", "moved"].map(|name| path.with_file_name(name));
    std::fs::hard_link(&path, &linked).unwrap();
    std::fs::rename(&path, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &symbolic).unwrap();
    for name in [linked, symbolic, moved] {
        let mut client = dial(&name).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        assert_eq!(client.is_shared() || server.is_shared(), IS_SHARED, "{}", name.display());
        client.write_all(b"x").unwrap();
        assert_eq!(server.read(&mut [0; 8]).unwrap(), 1);
    }
    assert_eq!(dial(&path).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn names_are_as_long_as_an_address() {
    let (folder, _) = place();
    let name = |len: usize| folder.path().join("x".repeat(len - folder.path().as_os_str().len() - 1));
    let listener = Listener::bind(name(107)).unwrap();
    let _client = dial(name(107)).unwrap();
    listener.accept().unwrap();
    for bad in [name(108), folder.path().join("a\0b")] {
        assert_eq!(dial(&bad).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(Listener::bind(&bad).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn sockets_of_other_types_are_told_from_ones_that_are_none() {
    let (folder, path) = place();
    let _letters = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let error = dial(&path).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::PROTOTYPE.raw_os_error()));
    assert_eq!(dial(folder.path()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(Listener::bind(folder.path()).unwrap_err().kind(), ErrorKind::AddrInUse);
}

#[test]
fn settings_are_those_of_all_handles() {
    let (mut client, server) = connected();
    let other = client.try_clone().unwrap();
    other.set_read_timeout(Some(Duration::from_millis(40))).unwrap();
    assert_eq!(client.read_timeout().unwrap(), Some(Duration::from_millis(40)));
    assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    other.set_read_timeout(Some(Duration::from_hours(24 * 365))).unwrap();
    let writing = thread::spawn(move || {
        thread::sleep(Duration::from_millis(60));
        (&server).write_all(b"x").unwrap();
        server
    });
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 1);
    other.set_nonblocking(true).unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    writing.join().unwrap();
}

#[test]
fn a_limit_is_of_each_call_and_leaves_what_was_written() {
    let (mut client, mut server) = connected();
    client.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
    let much = vec![1; 8 << 20];
    let written = client.write(&much).unwrap();
    assert!(written > 0 && written < much.len(), "{written}");
    assert_eq!(client.write(b"x").unwrap_err().kind(), ErrorKind::WouldBlock);
    server.read_exact(&mut vec![0; written]).unwrap();
    assert_eq!(client.write(b"x").unwrap(), 1);
    assert_eq!(client.set_write_timeout(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::InvalidInput);
    server.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let dripping = thread::spawn(move || {
        for _ in 0..14 {
            thread::sleep(Duration::from_millis(80));
            client.write_all(b"x").unwrap();
        }
    });
    server.read_exact(&mut [0; 15]).unwrap();
    dripping.join().unwrap();
    assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn the_peers_shutdown_ends_a_wait() {
    let (client, server) = connected();
    let reading = thread::spawn(move || (&client).read(&mut [0; 8]).map(|count| (client, count)).unwrap());
    thread::sleep(Duration::from_millis(60));
    server.shutdown(Shutdown::Write).unwrap();
    let (client, count) = reading.join().unwrap();
    assert_eq!(count, 0);
    let writing = thread::spawn(move || (&client).write_all(&vec![0; 8 << 20]).unwrap_err().kind());
    thread::sleep(Duration::from_millis(60));
    server.shutdown(Shutdown::Read).unwrap();
    assert_eq!(writing.join().unwrap(), ErrorKind::BrokenPipe);
}

#[test]
fn a_look_waits_as_a_read_does() {
    let (client, mut server) = connected();
    client.set_read_timeout(Some(Duration::from_millis(40))).unwrap();
    assert_eq!(client.look(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    client.set_read_timeout(None).unwrap();
    let looking = thread::spawn(move || {
        let count = client.look(&mut [0; 8]).unwrap();
        (client, count)
    });
    thread::sleep(Duration::from_millis(60));
    server.write_all(b"ab").unwrap();
    let (client, count) = looking.join().unwrap();
    assert_eq!(count, 2);
    // What comes after it doesn't change what was looked at.
    server.write_all(b"cd").unwrap();
    let mut bytes = [0; 8];
    assert_eq!(client.look(&mut bytes).unwrap(), 4);
    assert_eq!((&client).read(&mut bytes[..3]).unwrap(), 3);
    assert_eq!(client.look(&mut bytes).unwrap(), 1);
    assert_eq!(bytes[0], b'd');
}

#[test]
fn a_reset_is_told_after_a_write_that_failed() {
    let (mut client, server) = connected();
    client.write_all(b"unheard").unwrap();
    drop(server);
    assert_eq!(client.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_eq!(client.read(&mut [0; 16]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(client.read(&mut [0; 16]).unwrap(), 0);
}

#[test]
fn a_reset_can_be_asked_for() {
    let (mut client, server) = connected();
    client.write_all(b"unheard").unwrap();
    drop(server);
    assert_eq!(client.take_error().unwrap().map(|error| error.kind()), Some(ErrorKind::ConnectionReset));
    assert!(client.take_error().unwrap().is_none());
    assert_eq!(client.read(&mut [0; 16]).unwrap(), 0);
}

#[test]
fn threads_share_an_end() {
    let (client, server) = connected();
    let reading = [(); 3].map(|()| {
        let server = server.try_clone().unwrap();
        thread::spawn(move || {
            let mut sum = [0_u64; 3];
            let mut buffer = vec![0; 5_000];
            loop {
                match (&server).read(&mut buffer).unwrap() {
                    0 => return sum,
                    count => buffer[..count].iter().for_each(|byte| sum[usize::from(*byte)] += 1),
                }
            }
        })
    });
    let writing = [0_u8, 1, 2].map(|byte| {
        let client = client.try_clone().unwrap();
        thread::spawn(move || (0..100).for_each(|_| (&client).write_all(&[byte; 7_001]).unwrap()))
    });
    for thread in writing {
        thread.join().unwrap();
    }
    drop(client);
    let sums = reading.map(|thread| thread.join().unwrap());
    assert_eq!([0, 1, 2].map(|byte| sums.iter().map(|sum| sum[byte]).sum::<u64>()), [700_100; 3]);
}
