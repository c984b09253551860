//! A peer that writes anything into the shared pages, at any time; and how wake-ups come over shared memory.

use super::pair::Pair;
use super::{End, LocalDatagram};
use crate::SMALLEST_RING;
use crate::end::Role;
use crate::ring::Memory;
use crate::sys::Mapping;
use crate::tests::hostile::{Numbers, scribble, sides};
use rustix::event::epoll;
use rustix::io::Errno;
use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What the peer has of the kernel's pair.
struct Socket(UnixDatagram);

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A victim, and what its peer has: the memory and the socket.
fn victim() -> (LocalDatagram, Arc<Mapping>, Socket) {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let mapping = Arc::new(Mapping::create(SMALLEST_RING).unwrap().0);
    let pair = Pair::new(ours, Arc::clone(&mapping), Role::Acceptor);
    (LocalDatagram { end: Arc::new(End::Pair(Box::new(pair))) }, mapping, Socket(theirs))
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> Option<Errno> {
    Errno::from_io_error(&result.unwrap_err())
}

#[test]
fn what_breaks_the_rules_resets_the_socket_for_good() {
    for deed in 0..4 {
        let (victim, mapping, socket) = victim();
        let [first, second] = sides(&mapping);
        match deed {
            0 => first.lane().produced.position.store(1 << 40, Ordering::Release),
            1 => second.lane().consumed.position.store(1 << 40, Ordering::Release),
            2 => second.lane().reader.gone.store(77, Ordering::Release),
            _ => {
                // A record that is longer than what is there.
                first.copy_in(first.place(0, false), &[9; 16]);
                first.lane().produced.position.store(16, Ordering::Release);
            }
        }
        let result = match deed {
            0 | 3 => victim.recv(&mut [0; 64]),
            _ => loop {
                if let Err(error) = victim.send(&[0; 900]) {
                    break Err(error);
                }
            },
        };
        assert_eq!(errno(result), Some(Errno::CONNRESET), "{deed}");
        assert_eq!(errno(victim.send(b"x")), Some(Errno::CONNRESET));
        assert_eq!(errno(victim.recv(&mut [0; 8])), Some(Errno::CONNRESET));
        assert_eq!(errno(socket.0.send(b"x")), Some(Errno::PIPE), "the peer can have it know");
    }
}

/// A victim sends and receives while its peer scribbles: every call ends, by its limit at the latest.
fn play(numbers: &mut Numbers) {
    let (victim, mapping, mut socket) = victim();
    let limit = Some(Duration::from_millis(20));
    victim.set_read_timeout(limit).unwrap();
    victim.set_write_timeout(limit).unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (victim, is_over) = (&victim, &is_over);
        let working = scope.spawn(move || {
            let mut buffer = vec![0; SMALLEST_RING];
            while !is_over.load(Ordering::Relaxed) {
                let start = Instant::now();
                let received = victim.recv(&mut buffer);
                let sent = victim.send(&buffer[..900]);
                assert!(start.elapsed() < Duration::from_secs(10), "a call was stuck");
                let is_reset =
                    |result: &io::Result<usize>| matches!(result, Err(error) if error.kind() == ErrorKind::ConnectionReset);
                if is_reset(&received) && is_reset(&sent) {
                    break;
                }
            }
        });
        for _ in 0..numbers.next() % 3000 {
            scribble(&mapping, &mut socket, numbers);
            if numbers.next().is_multiple_of(64) {
                let gone = (numbers.next() % 5) as u32;
                sides(&mapping)[1].lane().reader.gone.store(gone, Ordering::Relaxed);
            }
        }
        is_over.store(true, Ordering::Relaxed);
        working.join().unwrap();
    });
}

/// For a second, or as many as `SOCKEYE_LOCAL_FUZZ` says, from the seed `SOCKEYE_LOCAL_SEED`.
#[test]
fn scribbling_harms_nobody() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let limit = Duration::from_secs(number("SOCKEYE_LOCAL_FUZZ").unwrap_or(1));
    let mut numbers = Numbers(number("SOCKEYE_LOCAL_SEED").unwrap_or(0x5eed).max(1));
    let start = Instant::now();
    let mut games = 0;
    while start.elapsed() < limit {
        play(&mut numbers);
        games += 1;
    }
    println!("{games} games");
}

fn has_event(socket: &LocalDatagram, limit: i64) -> bool {
    let mut sources = [rustix::event::PollFd::new(socket, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: limit, tv_nsec: 0 };
    rustix::event::poll(&mut sources, Some(&limit)).unwrap() > 0
}

#[test]
fn who_waits_for_room_has_an_event_once_its_datagram_fits() {
    let (ours, theirs) = LocalDatagram::pair_with(SMALLEST_RING).unwrap();
    ours.set_nonblocking(true).unwrap();
    while ours.send(&[7; 700]).is_ok() {}
    assert!(!has_event(&ours, 0));
    // Less than a quarter of the ring.
    theirs.recv(&mut [0; 700]).unwrap();
    assert!(has_event(&ours, 10));
    assert_eq!(ours.send(&[7; 700]).unwrap(), 700);
    assert_eq!(errno(ours.send(&[0; SMALLEST_RING - 7])), Some(Errno::MSGSIZE));
    assert_eq!(errno(ours.send(&[0; SMALLEST_RING - 8])), Some(Errno::AGAIN));
}

/// An edge-triggered look at a descriptor.
struct Watch(std::os::fd::OwnedFd);

impl Watch {
    fn new(socket: &LocalDatagram) -> Watch {
        let watch = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&watch, socket, epoll::EventData::new_u64(1), flags).unwrap();
        Watch(watch)
    }

    /// Whether there is an event within so many seconds.
    fn wait(&self, seconds: i64) -> bool {
        let mut events = [std::mem::MaybeUninit::uninit(); 4];
        let limit = rustix::event::Timespec { tv_sec: seconds, tv_nsec: 0 };
        !epoll::wait(&self.0, &mut events[..], Some(&limit)).unwrap().0.is_empty()
    }
}

/// It is edge-triggered: the kernel says that there is room for another bell when the one that is there goes with its reader.
#[test]
fn who_waits_for_room_at_the_descriptor_has_an_event_when_the_peer_is_gone() {
    let (ours, mapping, theirs) = victim();
    ours.set_nonblocking(true).unwrap();
    let watch = Watch::new(&ours);
    while ours.send(&[7; 700]).is_ok() {}
    assert!(watch.wait(0), "writable at first");
    assert!(!watch.wait(0));
    drop((mapping, theirs));
    assert!(watch.wait(10));
    assert_eq!(errno(ours.send(&[7; 700])), Some(Errno::CONNREFUSED));
}

/// Each of two ends that have no room leaves the other a bell, and both come to rest.
#[test]
fn two_that_wait_for_room_let_each_other_sleep() {
    let (one, other) = LocalDatagram::pair_with(SMALLEST_RING).unwrap();
    let ends = [&one, &other];
    for end in ends {
        end.set_nonblocking(true).unwrap();
        while end.send(&[7; 700]).is_ok() {}
    }
    let watches = ends.map(Watch::new);
    let mut events = 0;
    while watches.iter().zip(ends).any(|(watch, end)| watch.wait(0) && end.send(&[7; 700]).is_err()) {
        events += 1;
        assert!(events < 100);
    }
    // Also when one has taken bells, as it does now and then.
    for _ in 0..1000 {
        assert_eq!(errno(one.send(&[7; 700])), Some(Errno::AGAIN));
    }
    while watches.iter().zip(ends).any(|(watch, end)| watch.wait(0) && end.send(&[7; 700]).is_err()) {
        events += 1;
        assert!(events < 100);
    }
    other.recv(&mut [0; 8]).unwrap();
    assert!(watches[0].wait(10));
    assert_eq!(one.send(&[7; 700]).unwrap(), 700);
}

/// Bells that a peer doesn't ask for, which tell whether it is there, don't pile up with it.
#[test]
fn who_sends_for_long_leaves_one_bell() {
    let (ours, theirs) = LocalDatagram::pair().unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(300) {
        ours.send(b"x").unwrap();
        theirs.recv(&mut [0; 8]).unwrap();
    }
    let End::Pair(pair) = &*theirs.end else { panic!("a pair") };
    let mut bells = 0;
    while rustix::net::recv(pair.socket(), &mut [0; 8], rustix::net::RecvFlags::DONTWAIT).is_ok() {
        bells += 1;
    }
    assert!(bells <= 2, "{bells}");
}

/// What comes at the kernel's socket must be bells and packets that were counted.
#[test]
fn nonsense_beside_the_rings_resets_the_socket() {
    for deed in 0..3 {
        let (victim, mapping, socket) = victim();
        let [first, _] = sides(&mapping);
        let mut record = [0; 16];
        record[0] = 8;
        first.copy_in(first.place(0, false), &record);
        first.lane().produced.marks.store(1, Ordering::Release);
        first.lane().produced.position.store(16, Ordering::Release);
        match deed {
            0 => {}
            1 => drop(socket.0.send(&[7; 17])),
            // Of bytes that end before they begin.
            _ => drop(socket.0.send(&[1, 9, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0])),
        }
        assert_eq!(errno(victim.recv_with(&mut [0; 64])), Some(Errno::CONNRESET), "{deed}");
        assert_eq!(errno(victim.send(b"x")), Some(Errno::CONNRESET));
    }
    // Empty datagrams are neither, and of no use to anybody.
    let (victim, _mapping, socket) = victim();
    for _ in 0..10 {
        socket.0.send(&[]).unwrap();
    }
    victim.set_nonblocking(true).unwrap();
    assert_eq!(errno(victim.recv(&mut [0; 64])), Some(Errno::AGAIN));
    assert!(!has_event(&victim, 0));
}

/// Another process has closed the socket after a fork, and one that has it still doesn't receive.
#[test]
fn who_waits_for_one_that_seems_gone_sleeps() {
    let (victim, mapping, socket) = victim();
    victim.set_nonblocking(true).unwrap();
    while victim.send(&[7; 700]).is_ok() {}
    let take_bells = || {
        let mut bells = 0;
        while socket.0.recv(&mut [0; 8]).is_ok() {
            bells += 1;
        }
        bells
    };
    take_bells();
    sides(&mapping)[1].lane().reader.gone.store(2, Ordering::Release);
    assert!(!victim.is_writable().unwrap());
    victim.set_nonblocking(false).unwrap();
    victim.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    assert_eq!(errno(victim.send(&[7; 700])), Some(Errno::AGAIN));
    let bells = take_bells();
    assert!((1..20).contains(&bells), "{bells}");
}
