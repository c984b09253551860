//! A peer that lies about what it attaches.

use super::hostile::victim;
use crate::ancillary::{Attached, send_message};
use crate::carrier::Carrier;
use crate::end::{End, Role};
use crate::half::Kind;
use crate::inbox;
use crate::outside::Kernel;
use crate::ring::{DESCRIPTORS, MARKS, Mark, Memory};
use crate::sys::{Mapping, Side};
use crate::{LocalPackets, LocalStream, SMALLEST_RING};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};
use std::io::{self, ErrorKind, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A peer: its side of the ring that it writes, and its socket.
struct Peer {
    side: Side,
    socket: UnixStream,
    _mapping: Arc<Mapping>,
}

fn played() -> (LocalStream, Peer) {
    let (victim, mapping, socket) = victim();
    victim.set_passrights(true).unwrap();
    victim.set_nonblocking(true).unwrap();
    (victim, Peer { side: Side::new(Arc::clone(&mapping), 0), socket, _mapping: mapping })
}

impl Peer {
    /// Sends a mark with the writing end of a pipe, whose reading end ends once nobody has that.
    fn attach(&self, start: u64, end: u64) -> PipeReader {
        let (reader, writer) = io::pipe().unwrap();
        assert!(inbox::send(self.socket.as_fd(), Mark { start, end }, (&[writer.as_fd()]).into()).unwrap());
        reader
    }

    fn publish(&self, marks: u32, position: u64) {
        self.side.lane().produced.marks.store(marks, Ordering::Relaxed);
        self.side.lane().produced.position.store(position, Ordering::Release);
    }
}

fn is_over(mut reader: PipeReader) {
    assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0);
}

fn is_reset(victim: &LocalStream) {
    for _ in 0..2 {
        assert_eq!(victim.recv_with(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!((&mut &*victim).write(b"x").unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn marks_that_lie_reset_the_connection() {
    let lies = [
        ("none", vec![], 1),
        ("one of two", vec![(0, 2)], 3),
        ("no bytes", vec![(0, 0)], 1),
        ("ends before it begins", vec![(3, 2)], 1),
        ("backwards", vec![(3, 4), (1, 2)], 2),
        ("so many, less than none", vec![(0, 2), (u64::MAX, 3)], 2),
    ];
    for (what, marks, count) in lies {
        let (victim, peer) = played();
        let readers: Vec<_> = marks.iter().map(|&(start, end)| peer.attach(start, end)).collect();
        peer.publish(count, 8);
        let mut bytes = [0; 8];
        let mut reads = 0;
        let error = loop {
            match victim.recv_with(&mut bytes) {
                Ok((count, _)) => assert!(count > 0 && reads < 8, "{what}"),
                Err(error) => break error,
            }
            reads += 1;
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{what}");
        is_reset(&victim);
        drop(victim);
        readers.into_iter().for_each(is_over);
    }
}

#[test]
fn packets_without_a_count_or_bytes_are_kept_and_closed() {
    let (victim, peer) = played();
    let early = peer.attach(2, 3);
    peer.publish(0, 4);
    assert_eq!(victim.recv_with(&mut [0; 8]).unwrap().0, 4, "it isn't counted");
    let late = peer.attach(1 << 60, 1 << 61);
    assert_eq!(victim.recv_with(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    peer.publish(1, 5);
    assert_eq!(
        victim.recv_with(&mut [0; 8]).unwrap_err().kind(),
        ErrorKind::ConnectionReset,
        "a mark of before"
    );
    drop(victim);
    is_over(early);
    is_over(late);

    let (victim, peer) = played();
    let late = peer.attach(1 << 60, 1 << 61);
    peer.publish(1, 4);
    assert_eq!(victim.recv_with(&mut [0; 8]).unwrap().0, 4, "before the mark");
    assert_eq!(victim.recv_with(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(victim);
    is_over(late);
}

#[test]
fn floods_are_bounded() {
    for each in [1, DESCRIPTORS] {
        let (victim, peer) = played();
        let most = if each == 1 { MARKS } else { 1 };
        let (reader, writer) = io::pipe().unwrap();
        let all = vec![writer.as_fd(); each];
        for at in 0..=most as u64 {
            let mark = Mark { start: at, end: at + 1 };
            assert!(inbox::send(peer.socket.as_fd(), mark, (&all).into()).unwrap());
        }
        drop(all);
        drop(writer);
        let error = (0..most + 2).find_map(|_| victim.recv_with(&mut [0; 8]).err().filter(is_no_wait));
        assert_eq!(error.unwrap().kind(), ErrorKind::ConnectionReset);
        drop(victim);
        is_over(reader);
    }
}

fn is_no_wait(error: &io::Error) -> bool {
    error.kind() != ErrorKind::WouldBlock
}

#[test]
fn what_is_no_packet_is_refused_and_never_leaks() {
    let nonsense: [&[u8]; 4] = [&[2; 40], &[0], &[0, 0, 7], &[0, 1, 2]];
    for bytes in nonsense {
        let (victim, peer) = played();
        let (reader, writer) = io::pipe().unwrap();
        send_message(peer.socket.as_fd(), bytes, SendFlags::empty(), (&[writer.as_fd()]).into()).unwrap();
        drop(writer);
        let heard = victim.recv_with(&mut [0; 8]).unwrap_err();
        let is_partial = bytes == [0, 1, 2];
        if is_partial {
            // The rest may come yet.
            assert_eq!(heard.kind(), ErrorKind::WouldBlock);
            peer.publish(1, 4);
        }
        is_reset(&victim);
        drop(victim);
        is_over(reader);
    }
}

#[test]
fn packets_may_come_in_parts_among_bells() {
    let (victim, peer) = played();
    let send = |bytes: &[u8], attached: Attached<'_>| {
        send_message(peer.socket.as_fd(), bytes, SendFlags::empty(), attached).unwrap();
        assert_eq!(victim.recv_with(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    };
    let packet = [&[1][..], &2_u64.to_ne_bytes(), &5_u64.to_ne_bytes()].concat();
    let (reader, writer) = io::pipe().unwrap();
    send(&[0; 70], Attached::default());
    send(&[&[0; 60], &packet[..6]].concat(), (&[writer.as_fd()]).into());
    send(&packet[6..12], Attached::default());
    send(&[&packet[12..], &[0; 3]].concat(), Attached::default());
    drop(writer);
    peer.publish(1, 8);
    let (count, with) = victim.recv_with(&mut [0; 20]).unwrap();
    assert_eq!((count, with.descriptors.len()), (5, 1));
    drop(with);
    is_over(reader);
    assert_eq!(victim.recv_with(&mut [0; 20]).unwrap().0, 3);
}

/// A record with a mark that begins in its middle is passed by, which the next read finds.
#[test]
fn marks_between_the_boundaries_of_packets_reset_the_connection() {
    let plain =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let (ours, theirs) = plain.unwrap();
    let mapping = Arc::new(Mapping::create(SMALLEST_RING).unwrap().0);
    let end = End::new(
        Arc::new(Kernel::new(ours.into())),
        Arc::clone(&mapping),
        Role::Acceptor,
        Kind::Records,
        None,
    );
    let victim = LocalPackets::of(LocalStream::new(Carrier::Ring(Box::new(end))));
    victim.set_nonblocking(true).unwrap();
    let peer = Peer { side: Side::new(Arc::clone(&mapping), 0), socket: theirs.into(), _mapping: mapping };
    let _reader = peer.attach(4, 8);
    peer.publish(1, 16);
    // Two records of no bytes stand there.
    assert_eq!(victim.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// Whatever fills the socket: here bells that the peer hasn't heard.
#[test]
fn what_is_attached_waits_for_room_at_the_socket() {
    for is_stream in [true, false] {
        let (ours, theirs) = if is_stream {
            LocalStream::pair().unwrap()
        } else {
            LocalStream::pair_of(Kind::Records, SMALLEST_RING).unwrap()
        };
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        theirs.set_passrights(true).unwrap();
        while rustix::net::send(&ours, &[0; 64], SendFlags::DONTWAIT).is_ok() {}
        for _ in 0..2 {
            let error = ours.send_with(b"with it", &[ours.as_fd()]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            assert!(!ours.is_writable().unwrap());
        }
        let mut heard = 0;
        while !ours.is_writable().unwrap() {
            assert_eq!(theirs.recv_with(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
            heard += 1;
            assert!(heard < 10_000);
        }
        assert_eq!(ours.send_with(b"with it", &[ours.as_fd()]).unwrap(), 7);
        let (count, attached) = theirs.recv_with(&mut [0; 8]).unwrap();
        assert_eq!((count, attached.descriptors.len()), (7, 1));
    }
}

/// As it is for a moment where another thread turns credentials on or off: the kernel says who sends, and nobody has asked it to.
#[test]
fn credentials_that_nobody_wants_yet_are_no_descriptors() {
    let (victim, mut peer) = played();
    victim.set_passrights(false).unwrap();
    rustix::net::sockopt::set_socket_passcred(&victim, true).unwrap();
    peer.socket.write_all(&[0]).unwrap();
    assert_eq!(victim.recv_with(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(inbox::send(peer.socket.as_fd(), Mark { start: 0, end: 2 }, Attached::default()).unwrap());
    peer.publish(1, 2);
    let (count, with) = victim.recv_with(&mut [0; 8]).unwrap();
    assert_eq!((count, with.descriptors.len(), with.is_truncated), (2, 0, false));
    assert!(with.credentials.is_none());
    // Descriptors find no room all the same.
    drop(peer.attach(2, 4));
    peer.publish(2, 4);
    let (count, with) = victim.recv_with(&mut [0; 8]).unwrap();
    assert_eq!((count, with.descriptors.len()), (2, 0));
    rustix::net::sockopt::set_socket_passcred(&victim, false).unwrap();
    drop(peer.attach(4, 6));
    peer.publish(3, 6);
    let (count, with) = victim.recv_with(&mut [0; 8]).unwrap();
    assert_eq!((count, with.descriptors.len(), with.is_truncated), (2, 0, true));
}

#[test]
fn credentials_can_be_asked_for_at_any_moment() {
    let (ours, theirs) = LocalStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for at in 0_u32.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                theirs.set_passcred(at.is_multiple_of(2)).unwrap();
            }
        });
        let wrong = (0..20_000).find_map(|at| {
            // Each is asked for, and heard by the next look.
            let is_readable = theirs.is_readable().unwrap();
            let sent =
                if at % 2 == 0 { (&ours).write(b"x") } else { ours.send_with(b"x", Attached::default()) };
            let heard = theirs.recv_with(&mut [0; 8]).map(|(count, with)| (count, with.is_truncated));
            let is_right = !is_readable && matches!((&sent, &heard), (Ok(1), Ok((1, false))));
            (!is_right).then(|| format!("{at}: {is_readable}, {sent:?}, {heard:?}"))
        });
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(wrong, None);
    });
}
