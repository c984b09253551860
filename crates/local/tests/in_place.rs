//! Reading and writing in place: the same by both carriers.

#![cfg(target_os = "linux")]

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use sockeye_local::{LocalPackets, LocalStream, SMALLEST_RING, SharedSlice};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

fn pairs() -> [(LocalStream, LocalStream); 2] {
    let (one, other) = UnixStream::pair().unwrap();
    [LocalStream::pair_with(SMALLEST_RING).unwrap(), (LocalStream::from(one), LocalStream::from(other))]
}

fn packet_pairs() -> [(LocalPackets, LocalPackets); 2] {
    let kind = SocketType::SEQPACKET;
    let plain = rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
    let wrap = |end| LocalPackets::from(UnixStream::from(end));
    [LocalPackets::pair_with(SMALLEST_RING).unwrap(), (wrap(plain.0), wrap(plain.1))]
}

/// Sends all numbers below `total` in pieces of many lengths, which the other end takes in pieces of others.
#[test]
fn everything_arrives_in_order_however_much_is_taken_at_once() {
    for (ours, theirs) in pairs() {
        let total = 200_000_u32;
        let sending = thread::spawn(move || {
            let mut next = 0;
            while next < total {
                let mut bytes = Vec::new();
                let sent = ours.write_in_place(|room| {
                    let most = (next as usize % 1237 + 1).min(room.len());
                    bytes = (0..most as u32).map(|at| ((next + at) % 251) as u8).collect();
                    bytes.truncate((total - next) as usize);
                    let (one, other) = bytes.split_at(bytes.len() / 3);
                    room.copy_from(one.len(), other);
                    room.copy_from(0, one);
                    bytes.len()
                });
                next += sent.unwrap() as u32;
            }
        });
        let mut next = 0;
        loop {
            let mut is_end = false;
            let taken = theirs.read_in_place(|bytes| {
                is_end = bytes.is_empty();
                let most = (next as usize * 7 % 2011 + 1).min(bytes.len());
                let all = bytes.to_vec();
                assert!(all.iter().zip(next..).all(|(byte, at)| *byte == (at % 251) as u8));
                let mut last = [0];
                if most > 0 {
                    bytes.copy_to(most - 1, &mut last);
                    assert_eq!(last[0], all[most - 1]);
                }
                most
            });
            next += taken.unwrap() as u32;
            if is_end {
                break;
            }
        }
        assert_eq!(next, total);
        sending.join().unwrap();
    }
}

#[test]
fn a_look_takes_nothing_and_a_byte_is_found() {
    for (mut ours, mut theirs) in pairs() {
        let mut text = vec![b'a'; 1000];
        text[700] = b'\n';
        ours.write_all(&text).unwrap();
        for _ in 0..2 {
            let mut found = None;
            let look = theirs.read_in_place(|bytes| {
                found = bytes.position(b'\n');
                assert_eq!(bytes.position(b'b'), None);
                0
            });
            assert_eq!((look.unwrap(), found), (0, Some(700)));
        }
        assert_eq!(theirs.read_in_place(|bytes| bytes.len() + 1).unwrap(), 1000, "no more than there is");
        theirs.set_nonblocking(true).unwrap();
        let error = theirs.read_in_place(|_| panic!("there is nothing")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert_eq!(ours.write_in_place(|_| 0).unwrap(), 0);
        assert_eq!(theirs.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

#[test]
fn limits_and_ends_are_as_for_other_calls() {
    for (ours, theirs) in pairs() {
        ours.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        let error = loop {
            if let Err(error) = ours.write_in_place(|room| room.len()) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        theirs.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let error = loop {
            if let Err(error) = theirs.read_in_place(all) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        ours.shutdown(Shutdown::Write).unwrap();
        assert_eq!(ours.write_in_place(|room| room.len()).unwrap_err().kind(), ErrorKind::BrokenPipe);
        let mut is_end = false;
        assert_eq!(
            theirs
                .read_in_place(|bytes| usize::from(!std::mem::replace(&mut is_end, bytes.is_empty())))
                .unwrap(),
            0
        );
        assert!(is_end);
        drop(ours);
        let error = (0..2).find_map(|_| theirs.write_in_place(|_| 1).err()).unwrap();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}

#[test]
#[should_panic(expected = "3 bytes from 2 on, of 4")]
fn nothing_outside_is_read() {
    let (mut ours, theirs) = LocalStream::pair().unwrap();
    ours.write_all(b"abcd").unwrap();
    let _ = theirs.read_in_place(|bytes| {
        bytes.copy_to(2, &mut [0; 3]);
        4
    });
}

#[test]
#[should_panic(expected = "bytes from 18446744073709551615 on")]
fn nothing_outside_is_written() {
    let (ours, _theirs) = LocalStream::pair().unwrap();
    let _ = ours.write_in_place(|room| {
        room.copy_from(usize::MAX, b"abc");
        3
    });
}

/// Who panics while it looks has taken nothing, and the connection goes on.
#[test]
fn a_panic_takes_nothing() {
    let (mut ours, mut theirs) = LocalStream::pair().unwrap();
    ours.write_all(b"abcd").unwrap();
    for end in [&ours, &theirs] {
        thread::scope(|scope| {
            scope.spawn(|| end.write_in_place(|_| panic!("on purpose"))).join().unwrap_err();
            if std::ptr::eq(end, &raw const theirs) {
                scope.spawn(|| end.read_in_place(|_| panic!("on purpose"))).join().unwrap_err();
            }
        });
    }
    let mut word = [0; 4];
    theirs.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"abcd");
    theirs.write_all(b"efgh").unwrap();
    ours.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"efgh");
}

#[test]
fn bytes_with_files_are_read_by_themselves() {
    let (mut ours, theirs) = LocalStream::pair().unwrap();
    theirs.set_passrights(true).unwrap();
    let (mut reader, writer) = io::pipe().unwrap();
    ours.write_all(b"12").unwrap();
    ours.send_with(b"345", &[writer.as_fd()]).unwrap();
    ours.write_all(b"6789").unwrap();
    drop(writer);
    assert_eq!(theirs.read_in_place(all).unwrap(), 2);
    for _ in 0..2 {
        assert_eq!(theirs.read_in_place(|bytes| bytes.len() - bytes.len()).unwrap(), 0, "only looked at");
    }
    let mut two = [0; 2];
    let (count, with) = theirs.recv_with(&mut two).unwrap();
    assert!(count == 2 && &two == b"34" && with.descriptors.len() == 1, "not dropped by looks");
    drop(with);
    assert_eq!(reader.read(&mut two).unwrap(), 0);
    let (mut reader, writer) = io::pipe().unwrap();
    ours.send_with(b"ab", &[writer.as_fd()]).unwrap();
    drop(writer);
    let mut all = Vec::new();
    while all.len() < 7 {
        theirs
            .read_in_place(|bytes| {
                all.extend(bytes.to_vec());
                bytes.len()
            })
            .unwrap();
    }
    assert_eq!(all, b"56789ab");
    assert_eq!(reader.read(&mut two).unwrap(), 0);
}

#[test]
fn packets_are_whole() {
    for (ours, theirs) in packet_pairs() {
        let lengths = [3, 0, 1000, 1, 2000, 8];
        for round in 0..50 {
            for len in lengths {
                let bytes = vec![(round + len) as u8; len];
                assert_eq!(ours.send_in_place(len, |packet| packet.copy_from(0, &bytes)).unwrap(), len);
                if len == 1000 {
                    ours.send_with(b"with", &[io::stdin().as_fd()]).unwrap();
                }
                let mut packet = vec![];
                assert_eq!(theirs.recv_in_place(|bytes| packet = bytes.to_vec()).unwrap(), len);
                assert_eq!(packet, bytes);
                if len == 1000 {
                    assert_eq!(
                        theirs.recv_in_place(|packet| assert_eq!(packet.to_vec(), b"with")).unwrap(),
                        4
                    );
                }
            }
        }
        for len in [8 << 20, usize::MAX] {
            if theirs.is_shared_memory() {
                let error = ours.send_in_place(len, |_| panic!("it never fits")).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::MSGSIZE.raw_os_error()));
            }
        }
        drop(ours);
        assert_eq!(theirs.recv_in_place(|packet| assert!(packet.is_empty())).unwrap(), 0);
    }
}

fn all(bytes: &SharedSlice<'_>) -> usize {
    bytes.len()
}
