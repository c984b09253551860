// Included once for each pair of libraries.

use crate::{Extra as _, errno};
use rustix::io::Errno;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

fn place() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (to, from) = (folder.path().join("receiver"), folder.path().join("sender"));
    (folder, to, from)
}

/// A receiver, and a sender that is connected to it, both with names.
fn connected() -> (Receiver, Sender, tempfile::TempDir) {
    let (folder, to, from) = place();
    let receiver = Receiver::bind(&to).unwrap();
    let sender = Sender::bind(&from).unwrap();
    sender.connect(&to).unwrap();
    (receiver, sender, folder)
}

#[test]
fn boundaries_order_and_source_names_are_kept() {
    let (receiver, sender, folder) = connected();
    let other = Sender::unbound().unwrap();
    let lengths = [1, 0, 8, 7, 100, 0, 900];
    let mut datagram = [0; 1000];
    for (at, len) in lengths.into_iter().enumerate() {
        let bytes = vec![at as u8; len];
        assert_eq!(sender.send(&bytes).unwrap(), len);
        assert_eq!(other.send_to(&bytes, folder.path().join("receiver")).unwrap(), len);
        // Not all at once: the kernel keeps ten for a receiver, mostly.
        if at % 2 == 1 {
            for at in [at - 1, at] {
                assert_eq!(receiver.look(&mut datagram).unwrap(), lengths[at]);
                let (len, from) = receiver.recv_from(&mut datagram).unwrap();
                assert_eq!((len, from.as_pathname()), (lengths[at], Some(&*folder.path().join("sender"))));
                assert!(datagram[..len].iter().all(|byte| *byte == at as u8));
                let (len, from) = receiver.recv_from(&mut datagram).unwrap();
                assert!(len == lengths[at] && from.is_unnamed(), "{len} {from:?}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_the_buffer_is_lost() {
    let (receiver, sender, _folder) = connected();
    for _ in 0..2 {
        sender.send(b"too long for that").unwrap();
    }
    sender.send(b"next").unwrap();
    let mut datagram = [0; 64];
    assert_eq!(receiver.look(&mut datagram[..2]).unwrap(), 2);
    assert_eq!(receiver.recv(&mut datagram[..3]).unwrap(), 3);
    assert_eq!(&datagram[..4], b"too\0");
    assert_eq!(receiver.recv(&mut []).unwrap(), 0);
    assert_eq!(receiver.recv(&mut datagram).unwrap(), 4);
    receiver.set_nonblocking(true).unwrap();
    assert_eq!(receiver.recv(&mut datagram).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(receiver.recv_from(&mut datagram).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(receiver.look(&mut datagram).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn datagrams_have_a_longest_one() {
    let (receiver, sender, folder) = connected();
    assert_eq!(sender.send(&vec![7; 100_000]).unwrap(), 100_000);
    let mut datagram = vec![0; 200_000];
    assert_eq!(receiver.recv(&mut datagram).unwrap(), 100_000);
    assert!(datagram[..100_000].iter().all(|byte| *byte == 7));
    let long = vec![0; 8 << 20];
    assert_eq!(errno(sender.send(&long)), Some(Errno::MSGSIZE));
    assert_eq!(errno(sender.send_to(&long, folder.path().join("receiver"))), Some(Errno::MSGSIZE));
}

#[test]
fn a_full_queue_is_said_or_waited_for() {
    let (receiver, sender, folder) = connected();
    sender.set_nonblocking(true).unwrap();
    let mut sent = 0;
    let error = loop {
        match sender.send(&[sent as u8; 700]) {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(error.kind() == ErrorKind::WouldBlock && sent > 4, "{error} after {sent}");
    let to = folder.path().join("receiver");
    assert_eq!(sender.send_to(b"x", &to).unwrap_err().kind(), ErrorKind::WouldBlock);
    sender.set_nonblocking(false).unwrap();
    let limit = Duration::from_millis(60);
    sender.set_write_timeout(Some(limit)).unwrap();
    assert_eq!(sender.write_timeout().unwrap(), Some(limit));
    let start = Instant::now();
    assert_eq!(sender.send(b"x").unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(start.elapsed() >= limit);
    sender.set_write_timeout(None).unwrap();
    let sending = thread::spawn(move || {
        for round in 0..300_u32 {
            assert_eq!(sender.send(&vec![1; round as usize]).unwrap(), round as usize);
        }
    });
    let mut datagram = [0; 1024];
    for at in 0..sent {
        assert_eq!(receiver.recv(&mut datagram).unwrap(), 700);
        assert_eq!(datagram[0], at as u8);
    }
    for round in 0..300 {
        assert_eq!(receiver.recv(&mut datagram).unwrap(), round);
    }
    sending.join().unwrap();
}

#[test]
fn waiting_has_the_limit_that_was_set() {
    let (receiver, sender, _folder) = connected();
    assert_eq!((receiver.read_timeout().unwrap(), receiver.write_timeout().unwrap()), (None, None));
    let limit = Duration::from_millis(120);
    receiver.set_read_timeout(Some(limit)).unwrap();
    assert_eq!(receiver.read_timeout().unwrap(), Some(limit));
    let start = Instant::now();
    assert_eq!(receiver.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(start.elapsed() >= limit);
    assert_eq!(receiver.set_read_timeout(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(sender.set_write_timeout(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::InvalidInput);
    receiver.set_read_timeout(None).unwrap();
    let waiting = thread::spawn(move || receiver.recv(&mut [0; 8]).unwrap());
    thread::sleep(Duration::from_millis(10));
    sender.send(b"there").unwrap();
    assert_eq!(waiting.join().unwrap(), 5);
}

#[test]
fn nobody_is_sent_to_where_nobody_is() {
    let (_folder, to, _) = place();
    let sender = Sender::unbound().unwrap();
    assert_eq!(errno(sender.send(b"x")), Some(Errno::NOTCONN));
    assert_eq!(errno(sender.peer_addr()), Some(Errno::NOTCONN));
    assert_eq!(errno(sender.send_to(b"x", &to)), Some(Errno::NOENT));
    assert_eq!(errno(sender.connect(&to)), Some(Errno::NOENT));
    drop(Receiver::bind(&to).unwrap());
    assert_eq!(errno(sender.send_to(b"x", &to)), Some(Errno::CONNREFUSED));
    assert_eq!(errno(sender.connect(&to)), Some(Errno::CONNREFUSED));
    std::fs::remove_file(&to).unwrap();
    std::fs::write(&to, b"precious").unwrap();
    assert_eq!(errno(sender.connect(&to)), Some(Errno::CONNREFUSED));
    std::fs::remove_file(&to).unwrap();
    let stream = std::os::unix::net::UnixListener::bind(&to).unwrap();
    assert_eq!(errno(sender.send_to(b"x", &to)), Some(Errno::PROTOTYPE));
    assert_eq!(errno(sender.connect(&to)), Some(Errno::PROTOTYPE));
    drop(stream);
    let long = to.with_file_name("x".repeat(200));
    assert_eq!(sender.connect(&long).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(sender.send_to(b"x", &long).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(Sender::bind(&long).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(errno(Sender::bind(to.with_file_name("folder").join("socket"))), Some(Errno::NOENT));
}

#[test]
fn a_receiver_that_is_gone_is_told_once() {
    let (receiver, sender, folder) = connected();
    receiver.connect(folder.path().join("sender")).unwrap();
    receiver.send(b"last words").unwrap();
    receiver.send(b"and more").unwrap();
    drop(receiver);
    assert_eq!(sender.recv(&mut [0; 16]).unwrap(), 10);
    assert_eq!(errno(sender.send(b"x")), Some(Errno::CONNREFUSED));
    assert_eq!(errno(sender.send(b"x")), Some(Errno::NOTCONN));
    assert_eq!(errno(sender.peer_addr()), Some(Errno::NOTCONN));
    sender.set_nonblocking(true).unwrap();
    assert_eq!(sender.recv(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock, "it went with the peer");
    assert!(sender.take_error().unwrap().is_none());
    // Another may come, as often as one likes.
    let to = folder.path().join("receiver");
    std::fs::remove_file(&to).unwrap();
    let receiver = Receiver::bind(&to).unwrap();
    sender.connect(&to).unwrap();
    sender.send(b"again").unwrap();
    assert_eq!(receiver.recv(&mut [0; 16]).unwrap(), 5);
}

#[test]
fn who_is_connected_hears_its_peer_only() {
    let (receiver, sender, folder) = connected();
    let to = folder.path().join("receiver");
    let stranger = Sender::bind(folder.path().join("stranger")).unwrap();
    stranger.connect(&to).unwrap();
    stranger.send(b"early").unwrap();
    receiver.connect(folder.path().join("sender")).unwrap();
    assert_eq!(receiver.peer_addr().unwrap().as_pathname(), Some(&*folder.path().join("sender")));
    assert_eq!(sender.peer_addr().unwrap().as_pathname(), Some(&*to));
    assert_eq!(errno(stranger.send(b"late")), Some(Errno::PERM));
    assert_eq!(errno(Sender::unbound().unwrap().send_to(b"late", &to)), Some(Errno::PERM));
    assert_eq!(errno(Sender::unbound().unwrap().connect(&to)), Some(Errno::PERM));
    sender.send(b"welcome").unwrap();
    let mut datagram = [0; 16];
    assert_eq!(receiver.recv(&mut datagram).unwrap(), 5, "from before");
    assert_eq!(receiver.recv(&mut datagram).unwrap(), 7);
    receiver.send(b"answer").unwrap();
    assert_eq!(sender.recv(&mut datagram).unwrap(), 6);
    // A connected one may still send to others.
    receiver.send_to(b"to you", folder.path().join("stranger")).unwrap();
    assert_eq!(stranger.recv(&mut datagram).unwrap(), 6);
    let listener = Sender::bind(folder.path().join("listener")).unwrap();
    receiver.send_to(b"to you", folder.path().join("listener")).unwrap();
    assert_eq!(listener.recv(&mut datagram).unwrap(), 6);
}

#[test]
fn another_connect_loses_what_was_there_and_tells_the_peer() {
    let (receiver, sender, folder) = connected();
    receiver.connect(folder.path().join("sender")).unwrap();
    sender.send(b"never read").unwrap();
    let other = Sender::bind(folder.path().join("other")).unwrap();
    receiver.connect(folder.path().join("other")).unwrap();
    receiver.set_nonblocking(true).unwrap();
    assert_eq!(receiver.recv(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(errno(sender.send(b"x")), Some(Errno::CONNRESET));
    assert_eq!(errno(sender.send(b"x")), Some(Errno::PERM));
    receiver.send(b"hello").unwrap();
    assert_eq!(other.recv(&mut [0; 16]).unwrap(), 5);
}

#[test]
fn each_half_is_shut_alone() {
    let (receiver, sender, folder) = connected();
    let to = folder.path().join("receiver");
    sender.send(b"before").unwrap();
    sender.shutdown(Shutdown::Write).unwrap();
    assert_eq!(errno(sender.send(b"x")), Some(Errno::PIPE));
    assert_eq!(errno(sender.send_to(b"x", &to)), Some(Errno::PIPE));
    assert_eq!(receiver.recv(&mut [0; 16]).unwrap(), 6);
    let other = Sender::unbound().unwrap();
    other.send_to(b"in time", &to).unwrap();
    receiver.shutdown(Shutdown::Read).unwrap();
    assert_eq!(errno(other.send_to(b"late", &to)), Some(Errno::PIPE));
    assert_eq!(receiver.recv(&mut [0; 16]).unwrap(), 7);
    assert_eq!(receiver.recv(&mut [0; 16]).unwrap(), 0);
    receiver.set_nonblocking(true).unwrap();
    assert_eq!(receiver.recv(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_shutdown_ends_a_wait() {
    let (receiver, _sender, _folder) = connected();
    let handle = receiver.try_clone().unwrap();
    let waiting = thread::spawn(move || handle.recv(&mut [0; 8]).unwrap());
    thread::sleep(Duration::from_millis(10));
    receiver.shutdown(Shutdown::Both).unwrap();
    assert_eq!(waiting.join().unwrap(), 0);
}

#[test]
fn handles_are_one_socket() {
    let (receiver, sender, _folder) = connected();
    let other = receiver.try_clone().unwrap();
    drop(receiver);
    sender.send(b"x").unwrap();
    assert_eq!(other.recv(&mut [0; 8]).unwrap(), 1);
    drop(other);
    assert_eq!(errno(sender.send(b"x")), Some(Errno::CONNREFUSED));
}

#[test]
fn a_file_appears_with_the_permissions_that_are_left() {
    let (_folder, to, _) = place();
    let receiver = Receiver::bind(&to).unwrap();
    let file = std::fs::metadata(&to).unwrap();
    assert!(file.file_type().is_socket());
    // Another thread's umask would be this one's too: it is only looked at.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap().trim();
    assert_eq!(file.permissions().mode() & 0o777, 0o777 & !u32::from_str_radix(umask, 8).unwrap());
    assert_eq!(receiver.local_addr().unwrap().as_pathname(), Some(&*to));
    drop(receiver);
    assert!(to.exists(), "it stays");
}

#[test]
fn a_name_in_use_is_refused() {
    let (_folder, to, from) = place();
    let receiver = Receiver::bind(&to).unwrap();
    assert_eq!(Sender::bind(&to).unwrap_err().kind(), ErrorKind::AddrInUse);
    assert_eq!(Receiver::bind(&to).unwrap_err().kind(), ErrorKind::AddrInUse);
    let sender = Sender::bind(&from).unwrap();
    sender.connect(&to).unwrap();
    receiver.connect(&from).unwrap();
    assert_eq!(Sender::bind(&to).unwrap_err().kind(), ErrorKind::AddrInUse, "connected to another");
    receiver.set_nonblocking(true).unwrap();
    assert_eq!(receiver.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock, "nobody sent for that");
    assert!(!receiver.has_event());
    let precious = to.with_file_name("precious");
    std::fs::write(&precious, b"precious").unwrap();
    assert_eq!(Receiver::bind(&precious).unwrap_err().kind(), ErrorKind::AddrInUse);
    assert_eq!(std::fs::read(&precious).unwrap(), b"precious");
}

#[test]
fn sending_takes_the_paths_permission() {
    let (folder, to, _) = place();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let receiver = Receiver::bind(&to).unwrap();
    let early = Sender::unbound().unwrap();
    early.connect(&to).unwrap();
    std::fs::set_permissions(&to, PermissionsExt::from_mode(0o600)).unwrap();
    let trying = thread::spawn(move || {
        // To this thread alone; as another user than root, take the permission away from oneself.
        if rustix::process::getuid().is_root() {
            rustix::thread::set_thread_uid(rustix::thread::Uid::from_raw(65_534)).unwrap();
        } else {
            std::fs::set_permissions(&to, PermissionsExt::from_mode(0o000)).unwrap();
        }
        let late = Sender::unbound().unwrap();
        assert_eq!(errno(late.connect(&to)), Some(Errno::ACCESS));
        assert_eq!(errno(late.send_to(b"x", &to)), Some(Errno::ACCESS));
        assert_eq!(errno(early.send_to(b"x", &to)), Some(Errno::ACCESS));
        assert_eq!(Receiver::bind(&to).unwrap_err().kind(), ErrorKind::AddrInUse);
        early.send(b"connected").unwrap();
    });
    trying.join().unwrap();
    assert_eq!(receiver.recv(&mut [0; 16]).unwrap(), 9);
    receiver.set_nonblocking(true).unwrap();
    assert_eq!(receiver.recv(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_socket_outlives_its_name() {
    let (early, sender, folder) = connected();
    let to = folder.path().join("receiver");
    std::fs::remove_file(&to).unwrap();
    assert_eq!(errno(Sender::unbound().unwrap().connect(&to)), Some(Errno::NOENT));
    let late = Receiver::bind(&to).unwrap();
    sender.send(b"early").unwrap();
    sender.send_to(b"to the late one", &to).unwrap();
    let mut datagram = [0; 16];
    assert_eq!(early.recv(&mut datagram).unwrap(), 5);
    assert_eq!(late.recv(&mut datagram).unwrap(), 15);
    assert_eq!(early.local_addr().unwrap().as_pathname(), Some(&*to));
}

#[test]
fn names_may_be_abstract_or_the_kernels_choice() {
    let (_folder, to, _) = place();
    let mut name = std::process::id().to_ne_bytes().to_vec();
    name.extend_from_slice(to.as_os_str().as_encoded_bytes());
    let name = SocketAddr::from_abstract_name(name).unwrap();
    let receiver = Receiver::bind_addr(&name).unwrap();
    assert_eq!(Sender::bind_addr(&name).unwrap_err().kind(), ErrorKind::AddrInUse);
    let sender = Sender::bind("").unwrap();
    let own = sender.local_addr().unwrap();
    assert_eq!(own.as_abstract_name().map(<[u8]>::len), Some(5), "{own:?}");
    sender.send_to_addr(b"one", &name).unwrap();
    sender.connect_addr(&name).unwrap();
    sender.send(b"two").unwrap();
    for _ in 0..2 {
        let (len, from) = receiver.recv_from(&mut [0; 8]).unwrap();
        assert_eq!((len, from.as_abstract_name()), (3, own.as_abstract_name()));
    }
    assert!(Sender::unbound().unwrap().local_addr().unwrap().is_unnamed());
}

#[test]
fn the_descriptor_tells_what_can_be_received() {
    let (receiver, sender, _folder) = connected();
    receiver.set_nonblocking(true).unwrap();
    assert!(!receiver.has_event());
    sender.send(b"one").unwrap();
    sender.send(b"two").unwrap();
    assert!(receiver.has_event());
    receiver.recv(&mut [0; 8]).unwrap();
    assert!(receiver.has_event());
    receiver.recv(&mut [0; 8]).unwrap();
    assert!(!receiver.has_event());
    drop(sender);
    assert!(!receiver.has_event(), "that is no news to who receives datagrams");
}

#[test]
fn many_send_to_one() {
    let (_folder, to, _) = place();
    let receiver = Receiver::bind(&to).unwrap();
    let sending: Vec<_> = (0..4_u8)
        .map(|index| {
            let to = to.clone();
            thread::spawn(move || {
                let sender = Sender::unbound().unwrap();
                sender.connect(&to).unwrap();
                for round in 0..200_u8 {
                    sender.send(&[index, round]).unwrap();
                }
            })
        })
        .collect();
    let mut next = [0; 4];
    for _ in 0..800 {
        let mut datagram = [0; 8];
        assert_eq!(receiver.recv(&mut datagram).unwrap(), 2);
        let [index, round, ..] = datagram;
        assert_eq!(next[index as usize], round, "one's datagrams keep their order");
        next[index as usize] += 1;
    }
    for thread in sending {
        thread.join().unwrap();
    }
}
