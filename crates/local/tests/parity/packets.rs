// Included once for each library.

use crate::Extra as _;
#[allow(unused_imports, reason = "the kernel's has it by itself")]
use crate::Queued as _;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::path::PathBuf;
use std::sync::mpsc;
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
fn each_is_received_as_it_was_sent() {
    let (client, server) = connected();
    let lengths = [1, 0, 8, 7, 100, 0, 9, 4096];
    for len in lengths {
        assert_eq!(client.send(&vec![len as u8; len]).unwrap(), len);
    }
    let mut packet = [0; 5000];
    for len in lengths {
        packet.fill(0xff);
        assert_eq!(server.peek(&mut packet).unwrap(), len);
        assert_eq!(server.recv(&mut packet).unwrap(), len);
        assert!(packet[..len].iter().all(|byte| *byte == len as u8) && packet[len] == 0xff);
    }
    server.send(b"answer").unwrap();
    assert_eq!(client.recv(&mut packet).unwrap(), 6);
    assert_eq!((client.peer_pid(), server.peer_pid()), (std::process::id(), std::process::id()));
}

#[test]
fn what_does_not_fit_is_lost() {
    let (client, server) = connected();
    for word in [&b"too long"[..], b"longer", b"next"] {
        client.send(word).unwrap();
    }
    let mut packet = [0; 8];
    assert_eq!(server.peek(&mut packet[..3]).unwrap(), 3);
    assert_eq!(server.recv(&mut packet[..3]).unwrap(), 3);
    assert_eq!(server.recv(&mut []).unwrap(), 0);
    assert_eq!(server.recv(&mut packet).unwrap(), 4);
    server.set_nonblocking(true).unwrap();
    assert_eq!(server.recv(&mut packet).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(server.peek(&mut packet).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn one_that_can_never_fit_is_refused() {
    let (client, server) = connected();
    let error = client.send(&vec![0; 8 << 20]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::MSGSIZE.raw_os_error()));
    client.send(b"small").unwrap();
    assert_eq!(server.recv(&mut [0; 8]).unwrap(), 5);
}

#[test]
fn none_is_sent_in_parts_where_there_is_no_room() {
    let (client, server) = connected();
    client.set_nonblocking(true).unwrap();
    let mut sent = 0_u32;
    let error = loop {
        match client.send(&[7; 3_000]) {
            Ok(count) => assert_eq!(count, 3_000),
            Err(error) => break error,
        }
        sent += 1;
    };
    assert!(error.kind() == ErrorKind::WouldBlock && sent > 4, "{error} after {sent}");
    let mut packet = [0; 4096];
    for _ in 0..sent {
        assert_eq!(server.recv(&mut packet).unwrap(), 3_000);
    }
    assert_eq!(client.send(&[8; 3_000]).unwrap(), 3_000);
    assert_eq!(server.recv(&mut packet).unwrap(), 3_000);
    assert_eq!(packet[2_999], 8);
}

#[test]
fn waiting_has_the_limit_that_was_set() {
    let (client, server) = connected();
    let limit = Duration::from_millis(80);
    client.set_read_timeout(Some(limit)).unwrap();
    client.set_write_timeout(Some(limit)).unwrap();
    let start = Instant::now();
    assert_eq!(client.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(client.peek(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(start.elapsed() >= 2 * limit);
    let start = Instant::now();
    let mut sent = 0_u32;
    while client.send(&[1; 2_000]).is_ok() {
        sent += 1;
    }
    assert!(start.elapsed() >= limit);
    for _ in 0..sent {
        assert_eq!(server.recv(&mut [0; 2_000]).unwrap(), 2_000);
    }
    for refused in [client.set_read_timeout(Some(Duration::ZERO)), client.set_write_timeout(Some(Duration::ZERO))] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_receiver_waits_for_a_sender_and_a_sender_for_a_receiver() {
    let (client, server) = connected();
    let sending = thread::spawn(move || {
        thread::sleep(Duration::from_millis(60));
        for round in 0..3_000_u32 {
            let len = round as usize % 1_777;
            assert_eq!(client.send(&vec![round as u8; len]).unwrap(), len);
        }
    });
    let mut packet = [0; 2_000];
    for round in 0..3_000_u32 {
        if round == 100 {
            thread::sleep(Duration::from_millis(60));
        }
        let len = round as usize % 1_777;
        assert_eq!(server.recv(&mut packet).unwrap(), len);
        assert!(packet[..len].iter().all(|byte| *byte == round as u8));
    }
    sending.join().unwrap();
    assert_eq!(server.recv(&mut packet).unwrap(), 0, "the end");
    assert_eq!(server.recv(&mut packet).unwrap(), 0, "again");
    assert_eq!(server.send(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn each_half_is_shut_alone() {
    let (client, server) = connected();
    let mut packet = [0; 16];
    client.send(b"last").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.send(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_eq!(server.recv(&mut packet).unwrap(), 4);
    assert_eq!(server.recv(&mut packet).unwrap(), 0);
    server.send(b"answer").unwrap();
    assert_eq!(client.recv(&mut packet).unwrap(), 6);

    let (client, server) = connected();
    server.send(b"in time").unwrap();
    client.shutdown(Shutdown::Read).unwrap();
    assert_eq!(server.send(b"too late").unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_eq!(client.recv(&mut packet).unwrap(), 7);
    assert_eq!(client.recv(&mut packet).unwrap(), 0);
    client.send(b"still").unwrap();
    assert_eq!(server.recv(&mut packet).unwrap(), 5);
}

#[test]
fn the_peers_shutdown_ends_a_wait() {
    let (client, server) = connected();
    let receiving = thread::spawn(move || (client.recv(&mut [0; 8]).unwrap(), client));
    thread::sleep(Duration::from_millis(60));
    server.shutdown(Shutdown::Write).unwrap();
    let (count, client) = receiving.join().unwrap();
    assert_eq!(count, 0);
    let sending = thread::spawn(move || {
        loop {
            if let Err(error) = client.send(&[0; 1_000]) {
                return error.kind();
            }
        }
    });
    thread::sleep(Duration::from_millis(60));
    server.shutdown(Shutdown::Read).unwrap();
    assert_eq!(sending.join().unwrap(), ErrorKind::BrokenPipe);
}

#[test]
fn whoever_sent_what_was_never_received_is_told_once() {
    let (client, server) = connected();
    client.send(b"unheard").unwrap();
    drop(server);
    assert_eq!(client.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(client.recv(&mut [0; 8]).unwrap(), 0);
    assert_eq!(client.send(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn handles_are_one_end() {
    let (client, server) = connected();
    let other = client.try_clone().unwrap();
    drop(client);
    server.send(b"x").unwrap();
    assert_eq!(other.recv(&mut [0; 8]).unwrap(), 1);
    drop(other);
    assert_eq!(server.recv(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn names_in_use_and_of_other_types_are_refused() {
    let (_folder, path) = place();
    let listener = Listener::bind(&path).unwrap();
    assert_eq!(Listener::bind(&path).map(drop).unwrap_err().kind(), ErrorKind::AddrInUse);
    let other_type = Some(rustix::io::Errno::PROTOTYPE.raw_os_error());
    assert_eq!(sockeye_local::LocalStream::connect(&path).unwrap_err().raw_os_error(), other_type);
    assert_eq!(std::os::unix::net::UnixStream::connect(&path).unwrap_err().raw_os_error(), other_type);
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().map(drop).unwrap_err().kind(), ErrorKind::WouldBlock);
    let streams = path.with_file_name("streams");
    let _bytes = sockeye_local::LocalListener::bind(&streams).unwrap();
    assert_eq!(Client::connect(&streams).map(drop).unwrap_err().raw_os_error(), other_type);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(Client::connect(&path).map(drop).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn connections_outlive_the_name_and_go_with_the_queue() {
    let (_folder, path) = place();
    let listener = Listener::bind(&path).unwrap();
    let early = Client::connect(&path).unwrap();
    let late = Client::connect(&path).unwrap();
    early.send(b"early").unwrap();
    std::fs::remove_file(&path).unwrap();
    let next = Listener::bind(&path).unwrap();
    let (server, _) = listener.accept().unwrap();
    drop(listener);
    assert_eq!(late.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(server.recv(&mut [0; 8]).unwrap(), 5);
    next.set_nonblocking(true).unwrap();
    assert_eq!(next.accept().map(drop).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_full_queue_has_those_who_connect_wait() {
    let (_folder, path) = place();
    let listener = Listener::bind_queued(&path, 1).unwrap();
    // The kernel's queue has room for one more than it was told.
    let first: Vec<_> = (0..2).map(|_| Client::connect(&path).unwrap()).collect();
    let (connected, is_connected) = mpsc::channel();
    let connecting = thread::spawn(move || {
        let last = Client::connect(&path).unwrap();
        connected.send(()).unwrap();
        last.send(b"c").unwrap();
        last
    });
    assert!(is_connected.recv_timeout(Duration::from_millis(100)).is_err());
    for (client, word) in first.iter().zip([b"a", b"b"]) {
        client.send(word).unwrap();
    }
    for word in *b"abc" {
        let mut byte = [0];
        assert_eq!(listener.accept().unwrap().0.recv(&mut byte).unwrap(), 1);
        assert_eq!(byte, [word]);
    }
    drop((is_connected.recv_timeout(Duration::from_secs(10)).unwrap(), connecting.join().unwrap()));
}
