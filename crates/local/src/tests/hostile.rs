//! A peer that writes anything into the shared pages, at any time.

use crate::carrier::Carrier;
use crate::end::{End, Role};
use crate::half::Kind;
use crate::lane::Lane;
use crate::outside::Kernel;
use crate::ring::Memory;
use crate::sys::{Mapping, Side};
use crate::young::Young;
use crate::{LocalStream, SMALLEST_RING};
use std::io::{self, ErrorKind, IoSliceMut, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A victim, and what its peer has: the memory and the socket.
pub(super) fn victim() -> (LocalStream, Arc<Mapping>, UnixStream) {
    victim_of(Kind::Bytes, SMALLEST_RING)
}

fn victim_of(kind: Kind, ring: usize) -> (LocalStream, Arc<Mapping>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mapping = Arc::new(Mapping::create(ring).unwrap().0);
    (stream_of(ours, &mapping, Role::Acceptor, kind), mapping, theirs)
}

fn stream_of(socket: UnixStream, mapping: &Arc<Mapping>, role: Role, kind: Kind) -> LocalStream {
    let end = End::new(Arc::new(Kernel::new(socket)), Arc::clone(mapping), role, kind, None);
    LocalStream::new(Carrier::Ring(Box::new(end)))
}

fn lane(side: &Side) -> &Lane {
    side.lane()
}

/// Sides as the peer, a connector, has them: it writes the first ring and reads the second.
pub(crate) fn sides(mapping: &Arc<Mapping>) -> [Side; 2] {
    [0, 1].map(|index| Side::new(Arc::clone(mapping), index))
}

#[test]
fn positions_beyond_the_ring_reset_the_connection_for_both() {
    for is_reader in [true, false] {
        let (mut victim, mapping, mut socket) = victim();
        let [first, second] = sides(&mapping);
        if is_reader {
            lane(&first).produced.position.store(1 << 40, Ordering::Release);
            assert_eq!(victim.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        } else {
            lane(&second).consumed.position.store(1 << 40, Ordering::Release);
            let error = victim.write_all(&vec![0; 2 * SMALLEST_RING]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        assert_eq!(victim.write(&[0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(victim.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(socket.read(&mut [0]).unwrap(), 0, "the socket ended");
    }
}

#[test]
fn memory_that_could_be_taken_away_is_refused() {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
    use std::os::fd::AsFd;
    let size = 4096 + 2 * SMALLEST_RING as u64;
    let memory = memfd_create("m", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&memory, size).unwrap();
    fcntl_add_seals(&memory, SealFlags::GROW).unwrap();
    assert!(Mapping::adopt(memory.as_fd(), SMALLEST_RING).is_err(), "not sealed against shrinking");
    fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::SEAL).unwrap();
    assert!(Mapping::adopt(memory.as_fd(), SMALLEST_RING).is_ok());
    assert!(Mapping::adopt(memory.as_fd(), 2 * SMALLEST_RING).is_err(), "shorter than it was said to be");
    let file = tempfile::tempfile().unwrap();
    file.set_len(size).unwrap();
    assert!(Mapping::adopt(file.as_fd(), SMALLEST_RING).is_err(), "a file of a disk");
    let (socket, _) = UnixStream::pair().unwrap();
    assert!(Mapping::adopt(socket.as_fd(), SMALLEST_RING).is_err());
}

/// A small generator of seeded numbers.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Scribbles for a while: words that were there with a bit turned, small numbers, any numbers, bells.
pub(crate) fn scribble(mapping: &Arc<Mapping>, socket: &mut impl Write, numbers: &mut Numbers) {
    for side in sides(mapping) {
        let lane = side.lane();
        let value = numbers.next();
        let small = value % (2 * SMALLEST_RING as u64);
        match numbers.next() % 16 {
            0 => lane.produced.position.store(value, Ordering::Relaxed),
            1 => lane.consumed.position.store(value, Ordering::Relaxed),
            2 | 3 => drop(lane.produced.position.fetch_add(small, Ordering::Relaxed)),
            4 | 5 => drop(lane.consumed.position.fetch_add(small / 4, Ordering::Relaxed)),
            6 => drop(lane.produced.position.fetch_xor(1 << (value % 64), Ordering::Relaxed)),
            7 => lane.produced.end.store((value % 4 * (value >> 32 & 1)) as u32, Ordering::Relaxed),
            8 => lane.reader.gone.store(value.is_multiple_of(16).into(), Ordering::Relaxed),
            9 => lane.reader.waits.store(value as u32, Ordering::Relaxed),
            10 => lane.writer.waits.store(value as u32 % 4, Ordering::Relaxed),
            12 => drop(lane.produced.marks.fetch_add(1, Ordering::Relaxed)),
            13 => {
                // As if something were attached to bytes near those that come next.
                let start = lane.consumed.position.load(Ordering::Relaxed).wrapping_add(value % 16);
                let end = start.wrapping_add(numbers.next() % 16);
                let packet = [&[1][..], &start.to_ne_bytes(), &end.to_ne_bytes()].concat();
                let _ = socket.write(&packet[..packet.len() - (value >> 60) as usize / 15]);
                lane.produced.marks.fetch_add(1, Ordering::Relaxed);
            }
            14 => {
                lane.writer.begun.store(value >> (numbers.next() % 64), Ordering::Relaxed);
                let _ = socket.write(&[1; 100][..value as usize % 100]);
            }
            11 => lane.produced.turn.store(value >> (numbers.next() % 64), Ordering::Relaxed),
            _ => {
                let bytes = value.to_ne_bytes().repeat(8);
                side.copy_in(value as usize % (SMALLEST_RING - bytes.len()), &bytes);
            }
        }
    }
    if numbers.next().is_multiple_of(64) {
        let _ = socket.write(&[0; 3]);
    }
}

/// Of records, puts lengths that could be some before them.
fn miscount(mapping: &Arc<Mapping>, ring: usize, numbers: &mut Numbers) {
    let [side, _] = sides(mapping);
    let position = numbers.next() as usize % ring / 8 * 8;
    let len = numbers.next() % (2 << (numbers.next() % 14));
    side.copy_in(position, &len.to_ne_bytes());
}

/// A victim reads and writes while its peer scribbles: every call ends, by its limit at the latest. In half of the games the peer
/// plays along between its scribbles.
fn play(numbers: &mut Numbers) {
    // The larger has a wide one.
    let ring = [SMALLEST_RING, 64 << 10][numbers.next() as usize % 2];
    let kind = [Kind::Bytes, Kind::Records][numbers.next() as usize % 2];
    let (mut victim, mapping, mut socket) = victim_of(kind, ring);
    if kind == Kind::Bytes && numbers.next().is_multiple_of(2) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let young = Young::with(ours, Arc::clone(&mapping));
        (victim, socket) = (LocalStream::new(Carrier::Young(Box::new(young))), theirs);
    }
    let peer = stream_of(socket.try_clone().unwrap(), &mapping, Role::Connector, kind);
    peer.set_nonblocking(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    let limit = Some(Duration::from_micros([100, 20_000][usize::from(numbers.next().is_multiple_of(16))]));
    victim.set_read_timeout(limit).unwrap();
    victim.set_write_timeout(limit).unwrap();
    let is_over = AtomicBool::new(false);
    let honest = [0, 30][numbers.next() as usize % 2];
    thread::scope(|scope| {
        let working = scope.spawn(|| work(&victim, kind, ring, &is_over));
        for _ in 0..numbers.next() % 3000 {
            if numbers.next() % 32 < honest {
                let len = numbers.next() as usize % (ring / 2);
                let _ = (&peer).write(&vec![1; len]);
                let _ = (&peer).read(&mut vec![0; len]);
                continue;
            }
            miscount(&mapping, ring, numbers);
            if honest == 0 || numbers.next().is_multiple_of(8) {
                scribble(&mapping, &mut socket, numbers);
            }
        }
        is_over.store(true, Ordering::Relaxed);
        working.join().unwrap();
    });
}

/// The victim's part, until it is told of a reset by all calls.
fn work(victim: &LocalStream, kind: Kind, ring: usize, is_over: &AtomicBool) {
    // Of a record all must fit.
    let most = if kind == Kind::Records { ring - 16 } else { 3 * ring };
    let (mut buffer, mut round) = (vec![0; most], 0);
    let is_reset =
        |result: io::Result<usize>| result.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
    while !is_over.load(Ordering::Relaxed) {
        let start = Instant::now();
        round += 1;
        let len = [most, round * 71 % most, round % 50][round % 3];
        let read = match round % 4 {
            0 => victim.peek(&mut buffer[..len]),
            1 => {
                let (first, second) = buffer[..len].split_at_mut(len / 3);
                (&mut &*victim).read_vectored(&mut [IoSliceMut::new(first), IoSliceMut::new(second)])
            }
            2 => victim.read_in_place(|bytes| {
                let count = bytes.len().min(len);
                bytes.copy_to(bytes.len() - count, &mut buffer[..count]);
                count
            }),
            _ => victim.recv_with(&mut buffer[..len]).map(|(count, _)| count),
        };
        let written = (&mut &*victim).write(&buffer[..len]);
        let _ = victim.take_error();
        assert!(start.elapsed() < Duration::from_secs(10), "a call was stuck");
        if is_reset(read) && is_reset(written) {
            break;
        }
    }
}

/// For a second, or as many as `SOCKEYE_LOCAL_FUZZ` says, from the seed `SOCKEYE_LOCAL_SEED`.
#[test]
fn scribbling_harms_nobody() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let limit = Duration::from_secs(number("SOCKEYE_LOCAL_FUZZ").unwrap_or(1));
    let seed = number("SOCKEYE_LOCAL_SEED").unwrap_or(0x5eed).max(1);
    let start = Instant::now();
    let play_on = |seed| {
        let (mut numbers, mut games) = (Numbers(seed), 0);
        while start.elapsed() < limit {
            play(&mut numbers);
            games += 1;
        }
        games
    };
    // Several at once, as each waits now and then.
    let games: u32 = thread::scope(|scope| {
        let players = [0, 1, 2, 3].map(|number| scope.spawn(move || play_on(seed << 2 | number)));
        players.into_iter().map(|player| player.join().unwrap()).sum()
    });
    println!("{games} games");
}

/// Who reads or writes in place is called with what was checked only.
#[test]
fn in_place_nobody_is_led_outside() {
    let (victim, mapping, _socket) = victim();
    let [first, second] = sides(&mapping);
    lane(&first).produced.position.store(SMALLEST_RING as u64 + 1, Ordering::Release);
    let error = victim.read_in_place(|_| panic!("there is no such much")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let (victim, mapping, _socket) = self::victim();
    lane(&sides(&mapping)[1]).consumed.position.store(1, Ordering::Release);
    let error = victim.write_in_place(|_| panic!("nothing was read, as nothing was written")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    drop(second);
}
