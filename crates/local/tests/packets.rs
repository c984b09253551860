//! Sequenced packets in the smallest ring. (What holds of the kernel's too: `packet_parity.rs`.)

#![cfg(target_os = "linux")]

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use sockeye_local::{LocalPacketListener, LocalPackets, SMALLEST_RING};
use std::io::ErrorKind;
use std::thread;
use std::time::Duration;

/// A client and a server of the library, and a server of it whose client is a plain socket's owner, which is wrapped by
/// a second connection: both carriers by the same methods.
fn connected() -> Vec<(LocalPackets, LocalPackets)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = LocalPacketListener::bind(&path).unwrap();
    let client = LocalPackets::connect_with(&path, SMALLEST_RING).unwrap();
    let (server, name) = listener.accept().unwrap();
    assert!(client.is_shared_memory() && server.is_shared_memory() && name.is_unnamed());
    drop(listener);
    std::fs::remove_file(&path).unwrap();
    let plain =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let plain = plain.unwrap();
    rustix::net::bind(&plain, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&plain, 8).unwrap();
    let plain_client = LocalPackets::connect(&path).unwrap();
    assert!(!plain_client.is_shared_memory());
    let accepted = rustix::net::accept(&plain).unwrap();
    vec![(client, server), (plain_client, LocalPackets::from(std::os::unix::net::UnixStream::from(accepted)))]
}

#[test]
fn a_full_queue_waits_and_a_packet_that_can_never_fit_is_refused() {
    for (client, server) in connected() {
        assert_eq!(client.send(&vec![0; 8 << 20]).unwrap_err().raw_os_error(), Some(libc_emsgsize()));
        client.set_write_timeout(Some(Duration::from_millis(30))).unwrap();
        let mut sent = 0_u32;
        let error = loop {
            match client.send(&[7; 700]) {
                Ok(count) => assert_eq!(count, 700),
                Err(error) => break error,
            }
            sent += 1;
        };
        assert!(error.kind() == ErrorKind::WouldBlock && sent > 4, "{error} after {sent}");
        client.set_write_timeout(None).unwrap();
        let sending = thread::spawn(move || {
            for round in 0..500_u32 {
                client.send(&vec![round as u8; round as usize % 900]).unwrap();
            }
            client
        });
        let mut packet = [0; 1024];
        for _ in 0..sent {
            assert_eq!(server.recv(&mut packet).unwrap(), 700);
        }
        for round in 0..500_u32 {
            assert_eq!(server.recv(&mut packet).unwrap(), round as usize % 900);
        }
        drop(sending.join().unwrap());
        assert_eq!(server.recv(&mut packet).unwrap(), 0, "the end");
        assert_eq!(server.send(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}

#[test]
fn who_waits_for_room_has_an_event_once_its_packet_fits() {
    let (ours, theirs) = LocalPackets::pair_with(SMALLEST_RING).unwrap();
    ours.set_nonblocking(true).unwrap();
    while ours.send(&[7; 700]).is_ok() {}
    assert!(!has_event(&ours, 0));
    // Less than a quarter of the ring.
    theirs.recv(&mut [0; 700]).unwrap();
    assert!(has_event(&ours, 10));
    assert_eq!(ours.send(&[7; 700]).unwrap(), 700);
}

fn has_event(end: &LocalPackets, limit: i64) -> bool {
    let mut ends = [rustix::event::PollFd::new(end, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: limit, tv_nsec: 0 };
    rustix::event::poll(&mut ends, Some(&limit)).unwrap() > 0
}

fn libc_emsgsize() -> i32 {
    rustix::io::Errno::MSGSIZE.raw_os_error()
}
