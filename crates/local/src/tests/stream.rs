//! What only these sockets have: their carriers, their limits, and sleeping and waking over shared memory.

use crate::{DEFAULT_RING, ListenerConfig, LocalListener, LocalStream, SMALLEST_RING};
use rustix::event::epoll;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

/// A listener and a connection to it.
fn connected(ring: usize) -> (LocalListener, LocalStream, LocalStream, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = LocalListener::bind(&path).unwrap();
    let client = LocalStream::connect_with(&path, ring).unwrap();
    let (server, _) = listener.accept().unwrap();
    (listener, client, server, folder)
}

#[test]
fn both_ends_of_ours_share_memory_and_others_do_not() {
    let (listener, client, server, folder) = connected(DEFAULT_RING);
    assert!(client.is_shared_memory() && server.is_shared_memory());
    let path = folder.path().join("socket");
    let plain = UnixStream::connect(&path).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    assert!(!accepted.is_shared_memory());
    drop((plain, listener));
    std::fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    assert!(!LocalStream::connect(&path).unwrap().is_shared_memory());
    let (_, name) = other.accept().unwrap();
    assert!(name.is_unnamed(), "a plain server sees nothing unusual");
}

#[test]
fn clients_of_several_kinds_are_told_apart_in_a_queue() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = LocalListener::bind(&path).unwrap();
    let mut ours: Vec<_> = (0..5).map(|_| LocalStream::connect(&path).unwrap()).collect();
    let mut plain: Vec<_> = (0..5).map(|_| UnixStream::connect(&path).unwrap()).collect();
    ours.extend((0..5).map(|_| LocalStream::connect(&path).unwrap()));
    for (at, stream) in ours.iter_mut().enumerate() {
        stream.write_all(&[at as u8]).unwrap();
    }
    for stream in &mut plain {
        stream.write_all(&[100]).unwrap();
    }
    let mut heard = Vec::new();
    for _ in 0..15 {
        let mut byte = [0];
        listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
        heard.push(byte[0]);
    }
    assert_eq!(heard, [0, 1, 2, 3, 4, 100, 100, 100, 100, 100, 5, 6, 7, 8, 9]);
}

#[test]
fn an_offer_that_was_left_by_somebody_who_is_gone_is_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = LocalListener::bind(&path).unwrap();
    for _ in 0..200 {
        drop(crate::rendezvous::Offer::leave(&path, SMALLEST_RING).unwrap());
    }
    let mut client = LocalStream::connect_with(&path, SMALLEST_RING).unwrap();
    client.write_all(b"x").unwrap();
    let (mut server, name) = listener.accept().unwrap();
    assert!(server.is_shared_memory() && name.is_unnamed());
    server.read_exact(&mut [0]).unwrap();
    assert!(client.local_addr().unwrap().is_unnamed() && server.peer_addr().unwrap().is_unnamed());
    assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(&*path));
}

#[test]
fn a_listener_keeps_to_its_limits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let config = ListenerConfig { connections: 1, largest_ring: 1 << 16, ..ListenerConfig::default() };
    let listener = LocalListener::bind_with(&path, &config).unwrap();
    let too_large = LocalStream::connect_with(&path, 1 << 17).unwrap();
    let fits = LocalStream::connect_with(&path, 1 << 16).unwrap();
    let first = listener.accept().unwrap();
    let one_too_many = LocalStream::connect_with(&path, 1 << 16).unwrap();
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    for mut refused in [too_large, one_too_many] {
        assert_eq!(refused.read(&mut [0; 8]).unwrap(), 0);
        assert_eq!(refused.write(&[0; 8]).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
    drop((first, fits));
    let _another = LocalStream::connect_with(&path, 1 << 16).unwrap();
    listener.accept().unwrap();
}

#[test]
fn bulk_goes_both_ways_through_a_small_ring() {
    let (_listener, client, server, _folder) = connected(SMALLEST_RING);
    let total = 3_000_000_usize;
    let echo = thread::spawn(move || {
        let mut buffer = [0; 7000];
        loop {
            match (&server).read(&mut buffer).unwrap() {
                0 => break,
                count => (&server).write_all(&buffer[..count]).unwrap(),
            }
        }
    });
    let sender = client.try_clone().unwrap();
    let sending = thread::spawn(move || {
        let bytes: Vec<u8> = (0..total).map(|at| (at % 251) as u8).collect();
        bytes.chunks(9999).for_each(|part| (&sender).write_all(part).unwrap());
        sender.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut heard = Vec::new();
    (&client).read_to_end(&mut heard).unwrap();
    assert!(heard.len() == total && heard.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));
    sending.join().unwrap();
    echo.join().unwrap();
}

/// Waits at the descriptor as `epoll` users do; says whether an event came.
fn poll_edge(epoll: impl AsFd, limit: i64) -> bool {
    let limit = rustix::event::Timespec { tv_sec: limit, tv_nsec: 0 };
    let mut events = Vec::with_capacity(4);
    rustix::event::epoll::wait(epoll, rustix::buffer::spare_capacity(&mut events), Some(&limit)).unwrap() > 0
}

#[test]
fn a_call_that_would_block_has_an_event_when_it_would_not() {
    use rustix::event::epoll::{CreateFlags, EventData, EventFlags, add, create};
    let (_listener, client, server, _folder) = connected(SMALLEST_RING);
    client.set_nonblocking(true).unwrap();
    let epoll = create(CreateFlags::CLOEXEC).unwrap();
    let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
    add(&epoll, &client, EventData::new_u64(0), flags).unwrap();
    assert!(poll_edge(&epoll, 0), "the first event is about the socket itself");
    for round in 0..100 {
        assert_eq!((&client).read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(!poll_edge(&epoll, 0), "round {round}");
        (&server).write_all(b"x").unwrap();
        assert!(poll_edge(&epoll, 10), "round {round}");
        assert_eq!((&client).read(&mut [0; 8]).unwrap(), 1);
    }
    let mut sent = 0;
    let error = loop {
        match (&client).write(&[7; 1000]) {
            Ok(count) => sent += count,
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), sent), (ErrorKind::WouldBlock, SMALLEST_RING));
    assert!(!poll_edge(&epoll, 0));
    (&server).read_exact(&mut vec![0; SMALLEST_RING]).unwrap();
    assert!(poll_edge(&epoll, 10));
    assert_eq!((&client).write(&[7; 10]).unwrap(), 10);
    assert_eq!((&client).read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(server);
    assert!(poll_edge(&epoll, 10), "the end is an event");
}

#[test]
fn a_thread_that_has_waited_long_is_woken_too() {
    for is_peer in [true, false] {
        let (_listener, client, server, _folder) = connected(SMALLEST_RING);
        let reader = client.try_clone().unwrap();
        let waiting = thread::spawn(move || (&reader).read(&mut [0; 8]).unwrap());
        // Longer than a sleep on the futex: it waits at the socket by now.
        thread::sleep(3 * crate::wait::TURN);
        let start = Instant::now();
        if is_peer {
            (&server).write_all(b"abc").unwrap();
        } else {
            client.shutdown(std::net::Shutdown::Read).unwrap();
        }
        assert_eq!(waiting.join().unwrap(), if is_peer { 3 } else { 0 });
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn who_polls_learns_that_its_own_end_was_shut() {
    for halves in [&[Shutdown::Both][..], &[Shutdown::Read, Shutdown::Write]] {
        let (_listener, mut client, mut server, _folder) = connected(SMALLEST_RING);
        client.set_nonblocking(true).unwrap();
        assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        client.write_all(b"last").unwrap();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&epoll, &client, epoll::EventData::new_u64(0), flags).unwrap();
        assert!(poll_edge(&epoll, 0) && !poll_edge(&epoll, 0));
        let other = client.try_clone().unwrap();
        for &how in halves {
            other.shutdown(how).unwrap();
        }
        assert!(poll_edge(&epoll, 0));
        // That their socket has ended is no news about what was written: nobody is reset.
        thread::sleep(2 * crate::wait::TURN);
        assert_eq!(client.write(&[0]).unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
        assert_eq!(server.write(&[0]).unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!((server.read(&mut [0; 8]).unwrap(), server.read(&mut [0; 8]).unwrap()), (4, 0));
    }
}

#[test]
fn both_directions_of_an_end_can_wait_long() {
    let (_listener, client, server, _folder) = connected(SMALLEST_RING);
    let (reader, writer) = (client.try_clone().unwrap(), client.try_clone().unwrap());
    let reading = thread::spawn(move || (&reader).read(&mut [0; 8]).unwrap());
    let writing = thread::spawn(move || (&writer).write_all(&[1; 3 * SMALLEST_RING]).unwrap());
    thread::sleep(3 * crate::wait::TURN);
    let mut bytes = vec![0; 3 * SMALLEST_RING];
    (&server).read_exact(&mut bytes).unwrap();
    writing.join().unwrap();
    (&server).write_all(b"x").unwrap();
    assert_eq!(reading.join().unwrap(), 1);
}

#[test]
fn a_stale_file_is_replaced_and_one_in_use_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    for _ in 0..3 {
        let listener = LocalListener::bind(&path).unwrap();
        LocalStream::connect(&path).unwrap();
        drop(listener);
    }
    let stream = std::os::unix::net::UnixDatagram::bind(folder.path().join("letters")).unwrap();
    for taken in [folder.path().join("letters"), folder.path().to_owned()] {
        assert_eq!(LocalListener::bind(taken).unwrap_err().kind(), ErrorKind::AddrInUse);
    }
    drop(stream);
    std::os::unix::fs::symlink(&path, folder.path().join("link")).unwrap();
    assert_eq!(LocalListener::bind(folder.path().join("link")).unwrap_err().kind(), ErrorKind::AddrInUse);
    // Of several that find it stale at once, one has it in the end.
    let racing: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            thread::spawn(move || LocalListener::bind(path))
        })
        .collect();
    let bound: Vec<_> = racing.into_iter().filter_map(|thread| thread.join().unwrap().ok()).collect();
    assert_eq!(bound.len(), 1);
    let _client = LocalStream::connect_with(&path, SMALLEST_RING).unwrap();
    assert!(bound[0].accept().unwrap().0.is_shared_memory());
    // No lock stays behind.
    let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().contains("stale")));
}

#[test]
fn one_removes_a_stale_file_while_others_leave_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    drop(LocalListener::bind(&path).unwrap());
    let file = crate::rendezvous::File::at(&path).unwrap();
    let lock = std::fs::File::create(folder.path().join(file.lock_name())).unwrap();
    lock.lock().unwrap();
    assert_eq!(LocalListener::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
    assert_eq!(crate::rendezvous::File::at(&path), Some(file));
    // One that was killed has it no more.
    drop(lock);
    LocalListener::bind(&path).unwrap();
}
