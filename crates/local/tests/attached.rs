//! Descriptors and credentials that go with bytes: the same cases by the kernel's sockets, by ours over shared memory, and
//! by ours with a plain peer.

#![cfg(target_os = "linux")]

use rustix::io::FdFlags;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use sockeye_local::{
    Ancillary, Attached, Credentials, LocalListener, LocalPackets, LocalStream, SMALLEST_RING,
};
use std::io::{self, ErrorKind, IoSliceMut, PipeReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

mod kernel;

/// An end of a stream, of either library.
trait Stream: Read + Write + AsFd + Send {
    fn send_with(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize>;
    fn recv_with(&self, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>, Option<u32>)>;
    fn want_credentials(&self);
    fn set_nonblocking(&self);
    fn peek(&self, bytes: &mut [u8]) -> usize;
}

impl Stream for UnixStream {
    fn send_with(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        kernel::send_with(self, bytes, descriptors)
    }

    fn recv_with(&self, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>, Option<u32>)> {
        kernel::recv_with(self, bytes)
    }

    fn want_credentials(&self) {
        rustix::net::sockopt::set_socket_passcred(self, true).unwrap();
    }

    fn set_nonblocking(&self) {
        self.set_nonblocking(true).unwrap();
    }

    fn peek(&self, bytes: &mut [u8]) -> usize {
        rustix::net::recv(self, bytes, RecvFlags::PEEK).unwrap().0
    }
}

impl Stream for LocalStream {
    fn send_with(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        LocalStream::send_with(self, bytes, descriptors)
    }

    fn recv_with(&self, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>, Option<u32>)> {
        let (count, Ancillary { descriptors, credentials, is_truncated }) =
            LocalStream::recv_with(self, bytes)?;
        assert!(!is_truncated);
        Ok((count, descriptors, credentials.and_then(|credentials| credentials.pid)))
    }

    fn want_credentials(&self) {
        self.set_passcred(true).unwrap();
        assert!(self.passcred().unwrap());
    }

    fn set_nonblocking(&self) {
        self.set_nonblocking(true).unwrap();
    }

    fn peek(&self, bytes: &mut [u8]) -> usize {
        LocalStream::peek(self, bytes).unwrap()
    }
}

type Pair = (Box<dyn Stream>, Box<dyn Stream>);

/// Who sends, and who receives.
fn pairs() -> Vec<Pair> {
    let plain = || UnixStream::pair().unwrap();
    let wanting = |stream: LocalStream| {
        stream.set_passrights(true).unwrap();
        Box::new(stream)
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = LocalListener::bind(&path).unwrap();
    let client = LocalStream::connect_with(&path, SMALLEST_RING).unwrap();
    let (server, _) = listener.accept().unwrap();
    assert!(client.is_shared_memory() && server.is_shared_memory());
    let back = LocalStream::connect_with(&path, SMALLEST_RING).unwrap();
    let (forth, _) = listener.accept().unwrap();
    let mut pairs: Vec<Pair> = vec![(Box::new(client), wanting(server)), (Box::new(forth), wanting(back))];
    let young = LocalStream::connect(&path).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    pairs.push((Box::new(accepted), wanting(young)));
    let (one, other) = plain();
    pairs.push((Box::new(one), Box::new(other)));
    let (one, other) = plain();
    pairs.push((Box::new(one), wanting(LocalStream::from(other))));
    let (one, other) = plain();
    pairs.push((Box::new(LocalStream::from(one)), Box::new(other)));
    pairs
}

/// A pipe whose writing end was sent: its reader sees the end once nobody has that any more.
fn send_pipe(sender: &dyn Stream, bytes: &[u8]) -> PipeReader {
    let (reader, writer) = io::pipe().unwrap();
    assert_eq!(sender.send_with(bytes, &[writer.as_fd()]).unwrap(), bytes.len());
    reader
}

fn is_over(mut reader: PipeReader) {
    assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn files_arrive_with_their_bytes_and_are_closed_on_exec() {
    for (sender, receiver) in pairs() {
        let mut reader = send_pipe(&*sender, b"pipe");
        let mut bytes = [0; 64];
        let (count, mut descriptors, _) = receiver.recv_with(&mut bytes).unwrap();
        assert_eq!((&bytes[..count], descriptors.len()), (&b"pipe"[..], 1));
        let mut writer = std::fs::File::from(descriptors.remove(0));
        assert!(rustix::io::fcntl_getfd(&writer).unwrap().contains(FdFlags::CLOEXEC));
        writer.write_all(b"through it").unwrap();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through it");
    }
}

#[test]
fn a_read_goes_on_to_the_end_of_the_first_message_with_files_and_no_further() {
    for (mut sender, mut receiver) in pairs() {
        sender.write_all(b"1234").unwrap();
        let first = send_pipe(&*sender, b"56");
        let second = send_pipe(&*sender, b"7");
        sender.write_all(b"89").unwrap();
        let mut bytes = [0; 20];
        assert_eq!(receiver.read(&mut bytes[..1]).unwrap(), 1);
        let (count, descriptors, _) = receiver.recv_with(&mut bytes).unwrap();
        assert_eq!((&bytes[..count], descriptors.len()), (&b"23456"[..], 1));
        drop(descriptors);
        is_over(first);
        let (count, descriptors, _) = receiver.recv_with(&mut bytes).unwrap();
        assert_eq!((&bytes[..count], descriptors.len()), (&b"7"[..], 1));
        drop(descriptors);
        is_over(second);
        let (count, descriptors, _) = receiver.recv_with(&mut bytes).unwrap();
        assert_eq!((&bytes[..count], descriptors.len()), (&b"89"[..], 0));
    }
}

#[test]
fn files_come_with_the_first_byte_of_their_message() {
    for (sender, mut receiver) in pairs() {
        let reader = send_pipe(&*sender, b"long enough");
        let mut bytes = [0; 20];
        assert_eq!(receiver.recv_with(&mut bytes[..1]).unwrap().1.len(), 1);
        is_over(reader);
        // Nothing holds the rest together any more.
        let (count, descriptors, _) = receiver.recv_with(&mut bytes[..3]).unwrap();
        assert_eq!((count, descriptors.len()), (3, 0));
        sender.send_with(b"!", &[]).unwrap();
        let count = receiver.read(&mut bytes).unwrap();
        assert!((7..=8).contains(&count), "{count}");
    }
}

#[test]
fn files_are_closed_that_nobody_asks_for() {
    for (mut sender, mut receiver) in pairs() {
        let readers: Vec<_> = (0..3).map(|_| send_pipe(&*sender, b"abc")).collect();
        sender.write_all(b"d").unwrap();
        let mut bytes = [0; 20];
        for _ in 0..2 {
            assert_eq!(receiver.read(&mut bytes).unwrap(), 3);
        }
        let mut parts = [0; 20];
        let (one, other) = parts.split_at_mut(2);
        let count = receiver.read_vectored(&mut [IoSliceMut::new(one), IoSliceMut::new(other)]).unwrap();
        assert!((2..=3).contains(&count), "{count}");
        readers.into_iter().for_each(is_over);
        let mut rest = vec![0; 4 - count];
        receiver.read_exact(&mut rest).unwrap();
        assert_eq!(rest.last(), Some(&b'd'));
    }
}

#[test]
fn files_under_way_are_closed_with_the_connection_and_outlive_their_sender() {
    for is_sender_first in [true, false] {
        for (sender, mut receiver) in pairs() {
            let reader = send_pipe(&*sender, b"abc");
            let other = send_pipe(&*sender, b"def");
            if is_sender_first {
                drop(sender);
                assert_eq!(receiver.recv_with(&mut [0; 8]).unwrap().1.len(), 1);
                assert_eq!(receiver.read(&mut [0; 8]).unwrap(), 3);
                assert_eq!(receiver.read(&mut [0; 8]).unwrap(), 0);
            } else {
                drop(receiver);
                let sent = sender.send_with(b"x", &[io::stdin().as_fd()]);
                assert_eq!(sent.unwrap_err().kind(), ErrorKind::BrokenPipe);
            }
            is_over(reader);
            is_over(other);
        }
    }
}

#[test]
fn a_look_leaves_everything_where_it_is() {
    for (mut sender, receiver) in pairs() {
        sender.write_all(b"ab").unwrap();
        let reader = send_pipe(&*sender, b"cd");
        let mut bytes = [0; 20];
        for _ in 0..3 {
            assert!(receiver.peek(&mut bytes) >= 2);
            assert_eq!(&bytes[..2], b"ab");
        }
        let (count, descriptors, _) = receiver.recv_with(&mut bytes).unwrap();
        assert_eq!((count, descriptors.len()), (4, 1));
        drop(descriptors);
        is_over(reader);
    }
}

#[test]
fn as_many_go_with_a_message_as_the_kernel_takes() {
    for (sender, receiver) in pairs() {
        let (_reader, writer) = io::pipe().unwrap();
        let all = [writer.as_fd(); 254];
        assert_eq!(sender.send_with(b"x", &all).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(sender.send_with(b"x", &all[..253]).unwrap(), 1);
        assert_eq!(receiver.recv_with(&mut [0; 8]).unwrap().1.len(), 253);
    }
}

#[test]
fn who_sends_faster_than_is_received_waits() {
    for (sender, receiver) in pairs() {
        sender.set_nonblocking();
        let (_reader, writer) = io::pipe().unwrap();
        let mut sent = 0;
        let error = loop {
            match sender.send_with(b"x", &[writer.as_fd()]) {
                Ok(_) => sent += 1,
                Err(error) => break error,
            }
            assert!(sent < 100_000);
        };
        assert!(error.kind() == ErrorKind::WouldBlock && sent >= 64, "{error} after {sent}");
        for _ in 0..sent {
            assert_eq!(receiver.recv_with(&mut [0; 8]).unwrap().1.len(), 1);
        }
        assert_eq!(sender.send_with(b"x", &[writer.as_fd()]).unwrap(), 1);
    }
}

#[test]
fn many_arrive_in_order_among_bytes_in_bulk() {
    for (mut sender, receiver) in pairs() {
        let total = 400_usize;
        let sending = thread::spawn(move || {
            let pipes: Vec<_> = (0..8).map(|_| io::pipe().unwrap()).collect();
            for round in 0..total {
                sender.write_all(&vec![0; round % 97 * 20]).unwrap();
                let (_, writer) = &pipes[round % pipes.len()];
                // The round's pipe so often, as each can be told from the others.
                let same = vec![writer.as_fd(); round % 5 + 1];
                assert_eq!(sender.send_with(&[1, 2], &same).unwrap(), 2);
            }
            let numbers = pipes.iter().map(|(_, writer)| rustix::fs::fstat(writer).unwrap().st_ino);
            (numbers.collect::<Vec<_>>(), pipes)
        });
        let (mut at, mut rounds) = (0, Vec::new());
        let mut bytes = [0; 1500];
        loop {
            let (count, descriptors, _) = receiver.recv_with(&mut bytes).unwrap();
            if count == 0 {
                break;
            }
            at += count;
            if !descriptors.is_empty() {
                let inode = rustix::fs::fstat(&descriptors[0]).unwrap().st_ino;
                let round = rounds.len();
                assert_eq!(descriptors.len(), round % 5 + 1);
                let before: usize = (0..=round).map(|round| round % 97 * 20 + 2).sum();
                // To its end, or to its first byte where the buffer was full.
                assert!(at == before || at == before - 1, "{at} {before}");
                rounds.push(inode);
            }
        }
        let (numbers, _pipes) = sending.join().unwrap();
        assert_eq!(rounds.len(), total);
        assert!(rounds.iter().enumerate().all(|(round, inode)| *inode == numbers[round % numbers.len()]));
    }
}

#[test]
fn the_kernel_says_who_sends() {
    let me = std::process::id();
    for (mut sender, receiver) in pairs() {
        assert_eq!(receiver.recv_with_one_byte(&*sender).2, None, "nobody has asked");
        receiver.want_credentials();
        assert_eq!(receiver.recv_with_one_byte(&*sender).2, Some(me));
        sender.write_all(b"plain").unwrap();
        assert_eq!(receiver.recv_with(&mut [0; 8]).unwrap().2, Some(me));
    }
}

impl dyn Stream {
    fn recv_with_one_byte(&self, sender: &dyn Stream) -> (usize, Vec<OwnedFd>, Option<u32>) {
        sender.send_with(b"x", &[]).unwrap();
        self.recv_with(&mut [0; 8]).unwrap()
    }
}

/// Only the process itself may be said to send, unless one is the superuser.
#[test]
fn nobody_speaks_for_others() {
    let (plain, _plain_too) = UnixStream::pair().unwrap();
    let (shared, other) = LocalStream::pair().unwrap();
    other.set_passcred(true).unwrap();
    let sending = move || {
        if rustix::process::getuid().is_root() {
            rustix::thread::set_thread_uid(rustix::thread::Uid::from_raw(65_534)).unwrap();
        }
        let uid = rustix::process::getuid().as_raw();
        let gid = rustix::process::getgid().as_raw();
        let me = Credentials { pid: Some(std::process::id()), uid, gid };
        let init = Credentials { pid: Some(1), uid: 0, gid: 0 };
        for stream in [LocalStream::from(plain), shared] {
            let attached = Attached { credentials: Some(init), ..Attached::default() };
            let error = stream.send_with(b"it's init", attached).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            let attached = Attached { credentials: Some(me), ..Attached::default() };
            stream.send_with(b"me", attached).unwrap();
            let nobody = Credentials { pid: None, ..me };
            let attached = Attached { credentials: Some(nobody), ..Attached::default() };
            assert_eq!(stream.send_with(b"?", attached).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        me
    };
    let me = thread::spawn(sending).join().unwrap();
    let mut bytes = [0; 64];
    let (count, with) = other.recv_with(&mut bytes).unwrap();
    assert_eq!((&bytes[..count], with.credentials), (&b"me"[..], Some(me)), "nothing of what was refused");
}

#[test]
fn files_that_were_not_asked_for_never_come() {
    let (plain, plain_too) = UnixStream::pair().unwrap();
    let pairs = [LocalStream::pair().unwrap(), (LocalStream::from(plain), LocalStream::from(plain_too))];
    for (sender, receiver) in pairs {
        for wants_credentials in [false, true] {
            receiver.set_passcred(wants_credentials).unwrap();
            let (reader, writer) = io::pipe().unwrap();
            sender.send_with(b"x", &[writer.as_fd()]).unwrap();
            drop(writer);
            let (count, with) = receiver.recv_with(&mut [0; 8]).unwrap();
            assert!(count == 1 && with.is_truncated && with.descriptors.is_empty());
            assert_eq!(with.credentials.is_some(), wants_credentials);
            is_over(reader);
        }
        receiver.set_passrights(true).unwrap();
        assert!(receiver.passrights().unwrap());
        sender.send_with(b"x", &[io::stdin().as_fd()]).unwrap();
        assert_eq!(receiver.recv_with(&mut [0; 8]).unwrap().1.descriptors.len(), 1);
        assert_eq!(
            sender.send_with(b"", &[io::stdin().as_fd()]).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    }
}

fn packet_pairs() -> [(LocalPackets, LocalPackets); 2] {
    let plain =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let plain = plain.unwrap();
    let wrap = |end| LocalPackets::from(UnixStream::from(end));
    [LocalPackets::pair_with(SMALLEST_RING).unwrap(), (wrap(plain.0), wrap(plain.1))]
}

#[test]
fn packets_have_files_of_their_own() {
    for (sender, receiver) in packet_pairs() {
        receiver.set_passrights(true).unwrap();
        receiver.set_passcred(true).unwrap();
        let (_reader, writer) = io::pipe().unwrap();
        for round in 0..600 {
            sender.send(b"plain").unwrap();
            sender.send_with(&vec![7; round % 9], &vec![writer.as_fd(); round % 4]).unwrap();
            sender.send_with(b"dropped", &[writer.as_fd()]).unwrap();
            let mut packet = [0; 64];
            assert_eq!(receiver.peek(&mut packet).unwrap(), 5);
            let (count, with) = receiver.recv_with(&mut packet).unwrap();
            assert!(&packet[..count] == b"plain" && with.descriptors.is_empty() && !with.is_truncated);
            assert_eq!(receiver.peek(&mut packet).unwrap(), round % 9);
            let (count, with) = receiver.recv_with(&mut packet).unwrap();
            assert_eq!((count, with.descriptors.len()), (round % 9, round % 4));
            assert_eq!(with.credentials.unwrap().pid, Some(std::process::id()));
            assert_eq!(receiver.recv(&mut packet[..4]).unwrap(), 4);
        }
        let all = vec![0; 8 << 20];
        let error = sender.send_with(&all, &[writer.as_fd()]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::MSGSIZE.raw_os_error()));
        drop(sender);
        let (count, with) = receiver.recv_with(&mut [0; 8]).unwrap();
        assert!(count == 0 && with.credentials.is_none() && with.descriptors.is_empty());
    }
}

#[test]
fn a_packet_with_files_waits_for_room() {
    for (sender, receiver) in packet_pairs() {
        receiver.set_passrights(true).unwrap();
        let (_reader, writer) = io::pipe().unwrap();
        sender.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut sent = 0;
        while sender.send_with(&[0; 1500], &[writer.as_fd()]).is_ok() {
            sent += 1;
        }
        assert!(sent >= 2);
        sender.set_write_timeout(None).unwrap();
        let sending = thread::spawn(move || {
            for _ in 0..200 {
                sender.send_with(&[0; 1500], &[writer.as_fd()]).unwrap();
            }
        });
        for _ in 0..sent + 200 {
            let (count, with) = receiver.recv_with(&mut [0; 2000]).unwrap();
            assert_eq!((count, with.descriptors.len()), (1500, 1));
        }
        sending.join().unwrap();
    }
}
