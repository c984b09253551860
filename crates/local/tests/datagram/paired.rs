// Included once for each library.

use crate::{Extra as _, errno};
use rustix::io::Errno;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

fn pair() -> (Socket, Socket) {
    let (one, other) = Socket::pair().unwrap();
    assert_eq!((one.is_shared(), other.is_shared()), (IS_SHARED, IS_SHARED));
    (one, other)
}

#[test]
fn boundaries_and_order_are_kept_both_ways() {
    let (one, other) = pair();
    let lengths = [1, 0, 8, 7, 100, 0, 900];
    let mut datagram = [0; 1000];
    for (from, to) in [(&one, &other), (&other, &one)] {
        for len in lengths {
            assert_eq!(from.send(&vec![len as u8; len]).unwrap(), len);
        }
        for len in lengths {
            assert_eq!(to.look(&mut datagram).unwrap(), len);
            let (received, name) = to.recv_from(&mut datagram).unwrap();
            assert!(received == len && name.is_unnamed());
            assert!(datagram[..len].iter().all(|byte| *byte == len as u8));
        }
    }
    assert!(one.local_addr().unwrap().is_unnamed() && one.peer_addr().unwrap().is_unnamed());
}

#[test]
fn what_does_not_fit_the_buffer_is_lost() {
    let (one, other) = pair();
    one.send(b"too long for that").unwrap();
    one.send(b"nor for that").unwrap();
    one.send(b"next").unwrap();
    let mut datagram = [0; 64];
    assert_eq!(other.look(&mut datagram[..2]).unwrap(), 2);
    assert_eq!(other.recv(&mut datagram[..3]).unwrap(), 3);
    assert_eq!(&datagram[..4], b"too\0");
    assert_eq!(other.recv(&mut []).unwrap(), 0);
    assert_eq!(other.recv(&mut datagram).unwrap(), 4);
    other.set_nonblocking(true).unwrap();
    assert_eq!(other.recv(&mut datagram).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(other.recv_from(&mut datagram).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(other.look(&mut datagram).unwrap_err().kind(), ErrorKind::WouldBlock);
    other.set_nonblocking(false).unwrap();
    let waiting = thread::spawn(move || other.recv(&mut [0; 8]).unwrap());
    thread::sleep(Duration::from_millis(100));
    one.send(b"there").unwrap();
    assert_eq!(waiting.join().unwrap(), 5);
}

#[test]
fn datagrams_have_a_longest_one() {
    let (one, other) = pair();
    assert_eq!(one.send(&vec![7; 200_000]).unwrap(), 200_000);
    let mut datagram = vec![0; 300_000];
    assert_eq!(other.recv(&mut datagram).unwrap(), 200_000);
    assert!(datagram[..200_000].iter().all(|byte| *byte == 7));
    assert_eq!(errno(one.send(&vec![0; 8 << 20])), Some(Errno::MSGSIZE));
}

#[test]
fn a_full_queue_is_said_or_waited_for() {
    let (one, other) = pair();
    one.set_nonblocking(true).unwrap();
    let mut sent = 0;
    let error = loop {
        match one.send(&[sent as u8; 700]) {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(error.kind() == ErrorKind::WouldBlock && sent > 4, "{error} after {sent}");
    assert!(!one.can_send());
    one.set_nonblocking(false).unwrap();
    let limit = Duration::from_millis(120);
    one.set_write_timeout(Some(limit)).unwrap();
    assert_eq!((one.read_timeout().unwrap(), one.write_timeout().unwrap()), (None, Some(limit)));
    let start = Instant::now();
    assert_eq!(one.send(&[0; 700]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(start.elapsed() >= limit);
    one.set_write_timeout(None).unwrap();
    let sending = thread::spawn(move || {
        for round in 0..2000_u32 {
            assert_eq!(one.send(&vec![1; round as usize % 900]).unwrap(), round as usize % 900);
        }
        one
    });
    thread::sleep(Duration::from_millis(100));
    let mut datagram = [0; 1024];
    for at in 0..sent {
        assert_eq!(other.recv(&mut datagram).unwrap(), 700);
        assert_eq!(datagram[0], at as u8);
    }
    for round in 0..2000 {
        assert_eq!(other.recv(&mut datagram).unwrap(), round % 900);
    }
    sending.join().unwrap();
}

#[test]
fn waiting_has_the_limit_that_was_set() {
    let (one, _other) = pair();
    let limit = Duration::from_millis(120);
    one.set_read_timeout(Some(limit)).unwrap();
    assert_eq!(one.read_timeout().unwrap(), Some(limit));
    let start = Instant::now();
    assert_eq!(one.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(start.elapsed() >= limit);
    assert_eq!(one.set_read_timeout(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(one.set_write_timeout(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_peer_that_is_gone_is_told_once() {
    let (one, other) = pair();
    other.send(b"last words").unwrap();
    other.send(b"and more").unwrap();
    drop(other);
    assert_eq!(one.recv(&mut [0; 16]).unwrap(), 10);
    assert_eq!(errno(one.send(b"x")), Some(Errno::CONNREFUSED));
    assert_eq!(errno(one.send(b"x")), Some(Errno::NOTCONN));
    assert_eq!(errno(one.peer_addr()), Some(Errno::NOTCONN));
    assert!(one.take_error().unwrap().is_none());
    one.set_nonblocking(true).unwrap();
    assert_eq!(one.recv(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock, "it went with the peer");
}

#[test]
fn who_receives_waits_for_a_peer_that_is_gone() {
    let (one, other) = pair();
    other.send(b"last").unwrap();
    drop(other);
    assert_eq!(one.recv(&mut [0; 16]).unwrap(), 4);
    assert!(!one.has_event() || IS_SHARED);
    let limit = Duration::from_millis(200);
    one.set_read_timeout(Some(limit)).unwrap();
    let (start, handle) = (Instant::now(), one.try_clone().unwrap());
    assert_eq!(handle.recv(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(start.elapsed() >= limit);
    assert!(!one.has_event());
}

#[test]
fn a_sender_that_waits_learns_that_its_peer_is_gone() {
    let (one, other) = pair();
    one.set_nonblocking(true).unwrap();
    while one.send(&[0; 700]).is_ok() {}
    one.set_nonblocking(false).unwrap();
    let sending = thread::spawn(move || one.send(&[0; 700]));
    thread::sleep(Duration::from_millis(100));
    drop(other);
    assert_eq!(errno(sending.join().unwrap()), Some(Errno::CONNREFUSED));
}

#[test]
fn each_half_is_shut_alone() {
    let (one, other) = pair();
    one.send(b"before").unwrap();
    one.shutdown(Shutdown::Write).unwrap();
    assert_eq!(errno(one.send(b"x")), Some(Errno::PIPE));
    assert_eq!(other.recv(&mut [0; 16]).unwrap(), 6);
    other.set_nonblocking(true).unwrap();
    assert_eq!(other.recv(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock, "no end is told");
    other.send(b"answer").unwrap();
    assert_eq!(one.recv(&mut [0; 16]).unwrap(), 6);

    other.send(b"in time").unwrap();
    one.shutdown(Shutdown::Read).unwrap();
    assert_eq!(errno(other.send(b"late")), Some(Errno::PIPE));
    assert_eq!(one.recv(&mut [0; 16]).unwrap(), 7);
    assert_eq!(one.recv(&mut [0; 16]).unwrap(), 0);
    one.set_nonblocking(true).unwrap();
    assert_eq!(one.recv(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(one.has_event() || IS_SHARED);
}

#[test]
fn a_shutdown_ends_a_wait() {
    let (one, other) = pair();
    let handle = one.try_clone().unwrap();
    let waiting = thread::spawn(move || handle.recv(&mut [0; 8]).unwrap());
    thread::sleep(Duration::from_millis(100));
    one.shutdown(Shutdown::Both).unwrap();
    assert_eq!(waiting.join().unwrap(), 0);
    other.set_nonblocking(true).unwrap();
    assert_eq!(errno(other.send(b"x")), Some(Errno::PIPE));
    while other.send(b"x").is_ok() {}
}

#[test]
fn handles_are_one_end() {
    let (one, other) = pair();
    let handle = one.try_clone().unwrap();
    drop(one);
    other.send(b"x").unwrap();
    assert_eq!(handle.recv(&mut [0; 8]).unwrap(), 1);
    drop(handle);
    assert_eq!(errno(other.send(b"x")), Some(Errno::CONNREFUSED));
}

#[test]
fn a_pair_may_send_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("receiver");
    let receiver = Socket::bind(&to).unwrap();
    let (one, other) = pair();
    one.send(b"to the peer").unwrap();
    one.send_to(b"to you", &to).unwrap();
    let (len, from) = receiver.recv_from(&mut [0; 16]).unwrap();
    assert!(len == 6 && from.is_unnamed());
    assert_eq!(other.recv(&mut [0; 16]).unwrap(), 11);
    one.shutdown(Shutdown::Write).unwrap();
    assert_eq!(errno(one.send_to(b"late", &to)), Some(Errno::PIPE));
}

#[test]
fn who_connects_to_another_leaves_its_pair() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("receiver");
    for is_unread in [false, true] {
        let (one, other) = pair();
        assert_eq!(errno(one.connect(&to)), Some(Errno::NOENT));
        if is_unread {
            other.send(b"never read").unwrap();
        }
        one.send(b"farewell").unwrap();
        let receiver = Socket::bind(&to).unwrap();
        one.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let waiting = (!is_unread).then(|| {
            let handle = one.try_clone().unwrap();
            thread::spawn(move || handle.recv(&mut [0; 16]))
        });
        thread::sleep(Duration::from_millis(if is_unread { 0 } else { 100 }));
        one.connect(&to).unwrap();
        one.send(b"hello").unwrap();
        let mut datagram = [0; 16];
        assert_eq!(receiver.recv(&mut datagram).unwrap(), 5);
        assert_eq!(one.peer_addr().unwrap().as_pathname(), Some(&*to));
        if is_unread {
            assert_eq!(errno(other.recv(&mut datagram)), Some(Errno::CONNRESET));
        }
        assert_eq!(other.recv(&mut datagram).unwrap(), 8);
        assert_eq!(errno(other.send(b"x")), Some(Errno::PERM));
        drop(receiver);
        std::fs::remove_file(&to).unwrap();
        assert_eq!(errno(one.send(b"x")), Some(Errno::CONNREFUSED));
        one.shutdown(Shutdown::Both).unwrap();
        if let Some(waiting) = waiting {
            assert_eq!(waiting.join().unwrap().unwrap(), 0);
        }
        drop(one);
        assert_eq!(errno(other.send(b"x")), Some(Errno::CONNREFUSED));
    }
}

#[test]
fn the_descriptor_tells_what_can_be_received() {
    let (one, other) = pair();
    other.set_nonblocking(true).unwrap();
    assert!(!other.has_event());
    one.send(b"one").unwrap();
    one.send(b"two").unwrap();
    assert!(other.has_event());
    assert!(other.can_receive());
    other.recv(&mut [0; 8]).unwrap();
    assert!(other.has_event() && other.can_receive());
    other.recv(&mut [0; 8]).unwrap();
    assert!(!other.can_receive() && other.can_send());
    assert_eq!(other.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(!other.has_event());
    one.send(b"three").unwrap();
    assert!(other.has_event());
    other.recv(&mut [0; 8]).unwrap();
    drop(one);
    assert_eq!(other.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(!other.has_event(), "that is no news to who receives datagrams");
}
