//! Descriptors and credentials that go with datagrams: the same cases by the kernel's sockets, by ours over shared memory,
//! and by ours with a plain peer.

#![cfg(target_os = "linux")]

use rustix::io::Errno;
use sockeye_local::{Ancillary, Attached, Credentials, LocalDatagram};
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::Duration;

mod kernel;

/// A socket of either library.
trait Socket: AsFd + Send {
    fn send(&self, bytes: &[u8]) -> io::Result<usize>;
    fn recv(&self, bytes: &mut [u8]) -> io::Result<usize>;
    fn send_with(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize>;
    fn recv_with(&self, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>, Option<u32>)>;
    fn want_credentials(&self);
    fn set_nonblocking(&self, nonblocking: bool);
}

impl Socket for UnixDatagram {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        UnixDatagram::send(self, bytes)
    }

    fn recv(&self, bytes: &mut [u8]) -> io::Result<usize> {
        UnixDatagram::recv(self, bytes)
    }

    fn send_with(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        kernel::send_with(self, bytes, descriptors)
    }

    fn recv_with(&self, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>, Option<u32>)> {
        kernel::recv_with(self, bytes)
    }

    fn want_credentials(&self) {
        rustix::net::sockopt::set_socket_passcred(self, true).unwrap();
    }

    fn set_nonblocking(&self, nonblocking: bool) {
        UnixDatagram::set_nonblocking(self, nonblocking).unwrap();
    }
}

impl Socket for LocalDatagram {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        LocalDatagram::send(self, bytes)
    }

    fn recv(&self, bytes: &mut [u8]) -> io::Result<usize> {
        LocalDatagram::recv(self, bytes)
    }

    fn send_with(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        LocalDatagram::send_with(self, bytes, descriptors)
    }

    fn recv_with(&self, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>, Option<u32>)> {
        let (count, Ancillary { descriptors, credentials, is_truncated }) =
            LocalDatagram::recv_with(self, bytes)?;
        assert!(!is_truncated);
        Ok((count, descriptors, credentials.and_then(|credentials| credentials.pid)))
    }

    fn want_credentials(&self) {
        self.set_passcred(true).unwrap();
        assert!(self.passcred().unwrap());
    }

    fn set_nonblocking(&self, nonblocking: bool) {
        LocalDatagram::set_nonblocking(self, nonblocking).unwrap();
    }
}

type Pair = (Box<dyn Socket>, Box<dyn Socket>);

/// Who sends, and who receives.
fn pairs() -> Vec<Pair> {
    let plain = || UnixDatagram::pair().unwrap();
    let wanting = |socket: LocalDatagram| {
        assert!(!socket.passrights().unwrap());
        socket.set_passrights(true).unwrap();
        Box::new(socket)
    };
    let (one, other) = LocalDatagram::pair().unwrap();
    assert!(one.is_shared_memory() && other.is_shared_memory());
    let mut pairs: Vec<Pair> = vec![(Box::new(one), wanting(other))];
    let (one, other) = LocalDatagram::pair().unwrap();
    pairs.push((Box::new(other), wanting(one)));
    let (one, other) = plain();
    pairs.push((Box::new(one), Box::new(other)));
    let (one, other) = plain();
    pairs.push((Box::new(one), wanting(LocalDatagram::from(other))));
    let (one, other) = plain();
    pairs.push((Box::new(LocalDatagram::from(one)), Box::new(other)));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let receiver = LocalDatagram::bind(&path).unwrap();
    let sender = LocalDatagram::unbound().unwrap();
    sender.connect(&path).unwrap();
    pairs.push((Box::new(sender), wanting(receiver)));
    pairs
}

/// A pipe whose writing end was sent: its reader sees the end once nobody has that any more.
fn send_pipe(sender: &dyn Socket, bytes: &[u8]) -> PipeReader {
    let (reader, writer) = io::pipe().unwrap();
    assert_eq!(sender.send_with(bytes, &[writer.as_fd()]).unwrap(), bytes.len());
    reader
}

fn is_over(mut reader: PipeReader) {
    assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0);
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> Option<Errno> {
    Errno::from_io_error(&result.unwrap_err())
}

#[test]
fn each_comes_with_its_datagram() {
    for (sender, receiver) in pairs() {
        let mut bytes = [0; 64];
        for round in 0..100 {
            sender.send(b"before").unwrap();
            let first = send_pipe(&*sender, b"");
            sender.send(b"").unwrap();
            let second = send_pipe(&*sender, b"second");
            let third = send_pipe(&*sender, b"third");
            sender.send(b"after").unwrap();
            assert!(matches!(receiver.recv_with(&mut bytes), Ok((6, none, None)) if none.is_empty()));
            let (len, descriptors, _) = receiver.recv_with(&mut bytes).unwrap();
            assert_eq!((len, descriptors.len()), (0, 1), "{round}");
            drop(descriptors);
            is_over(first);
            assert!(matches!(receiver.recv_with(&mut bytes), Ok((0, none, None)) if none.is_empty()));
            let (len, descriptors, _) = receiver.recv_with(&mut bytes[..3]).unwrap();
            assert_eq!((len, descriptors.len()), (3, 1));
            drop(descriptors);
            is_over(second);
            assert_eq!(receiver.recv(&mut bytes).unwrap(), 5);
            is_over(third);
            assert_eq!(receiver.recv(&mut bytes).unwrap(), 5);
        }
    }
}

#[test]
fn so_many_are_under_way_and_who_waits_goes_on() {
    for (sender, receiver) in pairs() {
        sender.set_nonblocking(true);
        let mut sent = 0;
        let error = loop {
            match sender.send_with(&[sent as u8; 8], &[io::stdin().as_fd()]) {
                Ok(_) => sent += 1,
                Err(error) => break error,
            }
        };
        assert!(error.kind() == io::ErrorKind::WouldBlock && sent > 4, "{error} after {sent}");
        sender.set_nonblocking(false);
        let sending = thread::spawn(move || {
            for round in 0..200 {
                assert_eq!(sender.send_with(&[1; 8], &[io::stdin().as_fd()]).unwrap(), 8, "{round}");
            }
        });
        for round in 0..sent + 200 {
            let (len, descriptors, _) = receiver.recv_with(&mut [0; 64]).unwrap();
            assert_eq!((len, descriptors.len()), (8, 1), "{round}");
        }
        sending.join().unwrap();
    }
}

#[test]
fn the_kernel_says_who_sends() {
    for (sender, receiver) in pairs() {
        receiver.want_credentials();
        sender.send(b"plain").unwrap();
        drop(send_pipe(&*sender, b"with"));
        for count in [0, 1] {
            let (_, descriptors, pid) = receiver.recv_with(&mut [0; 64]).unwrap();
            assert_eq!((descriptors.len(), pid), (count, Some(std::process::id())));
        }
    }
}

#[test]
fn others_credentials_are_refused() {
    let (sender, receiver) = LocalDatagram::pair().unwrap();
    receiver.set_passcred(true).unwrap();
    sender.send(b"x").unwrap();
    let me = receiver.recv_with(&mut [0; 8]).unwrap().1.credentials.unwrap();
    let attached = |pid| Attached { credentials: Some(Credentials { pid, ..me }), ..Attached::default() };
    sender.send_with(b"me", attached(me.pid)).unwrap();
    assert_eq!(receiver.recv_with(&mut [0; 8]).unwrap().1.credentials, Some(me));
    let refused = sender.send_with(b"nobody", attached(None)).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    sender.send(b"next").unwrap();
    assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 4, "nothing of what was refused");
}

#[test]
fn what_is_not_wanted_is_closed_and_told() {
    let (sender, receiver) = LocalDatagram::pair().unwrap();
    let reader = send_pipe(&sender, b"unwanted");
    let (len, with) = receiver.recv_with(&mut [0; 64]).unwrap();
    assert!(len == 8 && with.descriptors.is_empty() && with.is_truncated);
    is_over(reader);
}

#[test]
fn what_was_never_received_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let receiver = LocalDatagram::bind(&path).unwrap();
    receiver.set_passrights(true).unwrap();
    for deed in 0..3 {
        let (sender, left) = LocalDatagram::pair().unwrap();
        left.set_passrights(true).unwrap();
        left.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let readers = [send_pipe(&sender, b"one"), send_pipe(&sender, b"two")];
        if deed == 1 {
            // It has taken notice of them.
            let mut left = [rustix::event::PollFd::new(&left, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut left, None).unwrap();
        }
        if deed == 2 {
            left.connect(&path).unwrap();
            assert_eq!(errno(sender.send_with(b"x", &[io::stdin().as_fd()])), Some(Errno::CONNRESET));
            assert_eq!(errno(sender.send_with(b"x", &[io::stdin().as_fd()])), Some(Errno::PERM));
            left.send_with(b"mine", &[io::stdin().as_fd()]).unwrap();
            assert_eq!(receiver.recv_with(&mut [0; 8]).unwrap().1.descriptors.len(), 1);
        } else {
            drop(left);
            assert_eq!(errno(sender.send_with(b"x", &[io::stdin().as_fd()])), Some(Errno::CONNREFUSED));
            assert_eq!(errno(sender.send_with(b"x", &[io::stdin().as_fd()])), Some(Errno::NOTCONN));
        }
        readers.into_iter().for_each(is_over);
    }
}
