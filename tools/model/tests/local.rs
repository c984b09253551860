//! Local sockets' ring, with its sleeping and waking, in orders of threads that shuttle picks: no wake-up is lost, and no
//! byte is read before it is written or after it is written over.
//!
//! The very files of `crates/local`. A wake-up that is lost leaves all threads asleep, which shuttle reports: sleeps have no
//! limit here.

#![allow(dead_code, unreachable_pub, reason = "of the files some parts are for what isn't modelled")]

mod common;

#[path = "../../../crates/local/src/half.rs"]
mod half;
#[path = "../../../crates/local/src/lane.rs"]
mod lane;
#[path = "../../../crates/local/src/pace.rs"]
mod pace;
#[path = "../../../crates/local/src/ring.rs"]
mod ring;
#[path = "../../../crates/local/src/sync.rs"]
mod sync;
#[path = "../../../crates/local/src/wait.rs"]
mod wait;
#[path = "../../../crates/local/src/ways.rs"]
mod ways;

use common::check;
use half::{Kind, READ_SHUT, ReadHalf, State, Take, WRITE_SHUT, WriteHalf};
use lane::{Lane, SHUT};
use ring::{Consumer, Mark, Memory, Producer};
use shuttle::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;
use wait::{Limit, SocketRoom, World, wake};
use ways::Way;

/// A ring so small that every write fills it and every read empties it.
const CAPACITY: usize = 4;

#[derive(Clone)]
struct Side(Arc<(Lane, Vec<AtomicU8>)>);

impl Memory for Side {
    fn lane(&self) -> &Lane {
        &self.0.0
    }

    fn capacity(&self) -> usize {
        self.0.1.len()
    }

    fn copy_in(&self, place: usize, bytes: &[u8]) {
        bytes.iter().zip(place..).for_each(|(byte, place)| self.0.1[place].store(*byte, Ordering::SeqCst));
    }

    fn copy_out(&self, place: usize, bytes: &mut [u8]) {
        bytes
            .iter_mut()
            .zip(place..)
            .for_each(|(byte, place)| *byte = self.0.1[place].load(Ordering::SeqCst));
    }
}

/// The futexes of both ends, and the bytes that came on each end's kernel socket.
#[derive(Default)]
struct Kernel {
    state: Mutex<[u32; 2]>,
    changed: Condvar,
    /// What is attached to bytes, with their marks, for the reader.
    marks: Mutex<VecDeque<(Mark, u8)>>,
    room: Mutex<Room>,
    room_changed: Condvar,
}

/// Of the writer's kernel socket.
#[derive(Default)]
struct Room {
    /// It is full of bytes that the reader hasn't received.
    is_full: bool,
    /// Somebody who polls the socket has an event for it.
    has_event: bool,
}

/// One end's view.
#[derive(Clone)]
struct End {
    kernel: Arc<Kernel>,
    index: usize,
}

impl World for End {
    type Attached = Vec<u8>;

    fn next_mark(&self) -> Option<Mark> {
        self.kernel.marks.lock().unwrap().front().map(|(mark, _)| *mark)
    }

    fn take_mark(&self, mark: Mark, into: Option<&mut Vec<u8>>) -> bool {
        let (next, attached) = self.kernel.marks.lock().unwrap().pop_front().unwrap();
        into.unwrap().push(attached);
        next == mark
    }

    fn sleep(&self, word: &AtomicU32, value: u32, _: Duration) -> bool {
        let state = self.kernel.state.lock().unwrap();
        if word.load(Ordering::SeqCst) == value {
            drop(self.kernel.changed.wait(state).unwrap());
        }
        false
    }

    fn wake(&self, _: &AtomicU32) {
        let _state = self.kernel.state.lock().unwrap();
        self.kernel.changed.notify_all();
    }

    fn ring(&self) {
        self.kernel.state.lock().unwrap()[1 - self.index] += 1;
        self.kernel.changed.notify_all();
    }

    fn drain(&self) {
        self.kernel.state.lock().unwrap()[self.index] = 0;
    }

    fn listen(&self, _: Option<Duration>, _: &dyn Fn() -> bool, _: &AtomicU32) -> bool {
        false
    }

    fn glance(&self) {}
}

impl SocketRoom for End {
    fn await_socket_room(&self, within: Duration) -> bool {
        let mut room = self.kernel.room.lock().unwrap();
        while room.is_full && !within.is_zero() {
            room = self.kernel.room_changed.wait(room).unwrap();
        }
        !room.is_full
    }
}

impl End {
    /// What a program does that polls the descriptor.
    fn poll(&self) {
        let mut state = self.kernel.state.lock().unwrap();
        while state[self.index] == 0 && !self.has_room_event() {
            state = self.kernel.changed.wait(state).unwrap();
        }
    }

    /// The event is there once.
    fn has_room_event(&self) -> bool {
        self.index == 0 && std::mem::take(&mut self.kernel.room.lock().unwrap().has_event)
    }

    /// Receives what fills the peer's socket.
    fn make_room(&self) {
        let _state = self.kernel.state.lock().unwrap();
        *self.kernel.room.lock().unwrap() = Room { is_full: false, has_event: true };
        self.kernel.room_changed.notify_all();
        self.kernel.changed.notify_all();
    }
}

struct Pair {
    writer: WriteHalf<Side>,
    reader: ReadHalf<Side>,
    ends: [End; 2],
    states: [State; 2],
}

fn pair() -> Arc<Pair> {
    pair_of(Kind::Bytes, CAPACITY)
}

fn pair_of(kind: Kind, capacity: usize) -> Arc<Pair> {
    let lane = Side(Arc::new((Lane::default(), (0..capacity).map(|_| AtomicU8::new(0)).collect())));
    let kernel = Arc::new(Kernel::default());
    Arc::new(Pair {
        writer: WriteHalf::new(lane.clone(), kind),
        reader: ReadHalf::new(lane, kind),
        ends: [0, 1].map(|index| End { kernel: Arc::clone(&kernel), index }),
        states: [State::default(), State::default()],
    })
}

impl Pair {
    fn write(&self, nonblocking: bool, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(&self.ends[0], &self.states[0], Limit { nonblocking, timeout: None }, bytes)
    }

    fn read(&self, nonblocking: bool, bytes: &mut [u8]) -> io::Result<usize> {
        self.read_with(nonblocking, bytes, &mut Vec::new())
    }

    fn read_with(&self, nonblocking: bool, bytes: &mut [u8], attached: &mut Vec<u8>) -> io::Result<usize> {
        let limit = Limit { nonblocking, timeout: None };
        self.reader.read(&self.ends[1], &self.states[1], limit, bytes, Take::All(attached), || false)
    }

    /// Writes bytes with the first of them attached to it once more.
    fn write_marked(&self, nonblocking: bool, bytes: &[u8]) -> io::Result<usize> {
        let limit = Limit { nonblocking, timeout: None };
        let kernel = &self.ends[0].kernel;
        self.writer.write_marked(&self.ends[0], &self.states[0], limit, bytes, 1, |mark| {
            let has_room = !kernel.room.lock().unwrap().is_full;
            if has_room {
                kernel.marks.lock().unwrap().push_back((mark, bytes[0]));
            }
            Ok(has_room)
        })
    }

    /// As an end does that is shut for writing.
    fn shut_writer(&self) {
        self.states[0].note(WRITE_SHUT);
        let lane = self.writer.memory().lane();
        lane.produced.end.store(SHUT, Ordering::Release);
        wake(&self.ends[0], &lane.reader.waits);
    }

    /// As an end does that is shut for reading.
    fn shut_reader(&self) {
        self.states[1].note(READ_SHUT);
        let lane = self.reader.memory().lane();
        lane.reader.gone.store(1, Ordering::Release);
        wake(&self.ends[1], &lane.writer.waits);
    }

    /// Calls until it doesn't say that it would wait, polling in between.
    fn patiently(end: &End, mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
        loop {
            match call() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => end.poll(),
                result => return result,
            }
        }
    }

    /// Everything there is, until the end.
    fn read_all(&self, nonblocking: bool, at_once: usize) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let mut bytes = vec![0; at_once];
            let count = Pair::patiently(&self.ends[1], || self.read(nonblocking, &mut bytes)).unwrap();
            if count == 0 {
                return all;
            }
            all.extend(&bytes[..count]);
        }
    }
}

/// So many bytes come out of reads of one size as they went into writes of another, whichever side polls.
fn bytes_arrive(
    pair: &Arc<Pair>,
    most: u8,
    (writer_polls, written): (bool, usize),
    (reader_polls, read): (bool, usize),
) {
    let reading = {
        let pair = Arc::clone(pair);
        thread::spawn(move || pair.read_all(reader_polls, read))
    };
    let bytes: Vec<u8> = (1..=most).collect();
    for mut part in bytes.chunks(written) {
        while !part.is_empty() {
            let count = Pair::patiently(&pair.ends[0], || pair.write(writer_polls, part)).unwrap();
            part = &part[count..];
        }
    }
    pair.shut_writer();
    assert_eq!(reading.join().unwrap(), bytes);
}

/// Bytes in writes of one size come out of reads of another, whichever side blocks and whichever polls.
#[test]
fn bytes_arrive_and_nobody_oversleeps() {
    for (writer_polls, reader_polls) in [(false, false), (false, true), (true, false), (true, true)] {
        for (written, read) in [(1, 4), (3, 1), (6, 5)] {
            check(400, move || {
                bytes_arrive(&pair(), 9, (writer_polls, written), (reader_polls, read));
            });
        }
    }
}

/// The same in a ring of which a quarter, after which a writer that waits for room is looked for, is more than a read takes.
#[test]
fn whoever_empties_a_ring_that_was_full_wakes_its_writer() {
    for (writer_polls, reader_polls) in [(false, false), (false, true), (true, false), (true, true)] {
        for (written, read) in [(16, 3), (5, 3), (7, 2), (21, 1), (30, 16)] {
            check(300, move || {
                bytes_arrive(&pair_of(Kind::Bytes, 16), 60, (writer_polls, written), (reader_polls, read));
            });
        }
    }
}

/// What is attached comes with its byte, whichever side blocks and whichever polls.
#[test]
fn what_is_attached_arrives_with_its_byte() {
    for (writer_polls, reader_polls) in [(false, false), (false, true), (true, false), (true, true)] {
        check(400, move || {
            let pair = pair();
            let reading = {
                let pair = Arc::clone(&pair);
                thread::spawn(move || {
                    let (mut all, mut marked) = (Vec::new(), Vec::new());
                    loop {
                        let (mut bytes, mut attached) = ([0; 3], Vec::new());
                        let read = || pair.read_with(reader_polls, &mut bytes, &mut attached);
                        let count = Pair::patiently(&pair.ends[1], read).unwrap();
                        assert!(
                            attached.len() <= 1 && attached.iter().all(|byte| bytes[..count].contains(byte))
                        );
                        if count == 0 {
                            return (all, marked);
                        }
                        all.extend(&bytes[..count]);
                        marked.extend(attached);
                    }
                })
            };
            let bytes: Vec<u8> = (1..=9).collect();
            for (round, mut part) in bytes.chunks(3).enumerate() {
                if round % 2 == 0 {
                    let write = || pair.write_marked(writer_polls, part);
                    part = &part[Pair::patiently(&pair.ends[0], write).unwrap()..];
                }
                while !part.is_empty() {
                    let count = Pair::patiently(&pair.ends[0], || pair.write(writer_polls, part)).unwrap();
                    part = &part[count..];
                }
            }
            pair.shut_writer();
            assert_eq!(reading.join().unwrap(), (bytes, vec![1, 7]));
        });
    }
}

/// The reader receives what fills the kernel's socket whenever it likes, before it reads the ring. A writer that polls also asks
/// whether a write is worth a try.
#[test]
fn what_is_attached_waits_for_room_at_the_socket() {
    for (writer_polls, asks) in [(false, false), (true, false), (true, true)] {
        check(1_000, move || {
            let pair = pair();
            let ends = pair.ends.clone();
            ends[0].kernel.room.lock().unwrap().is_full = true;
            let reading = {
                let pair = Arc::clone(&pair);
                thread::spawn(move || {
                    pair.ends[1].make_room();
                    let (mut bytes, mut attached) = ([0; 3], Vec::new());
                    let count = pair.read_with(false, &mut bytes, &mut attached).unwrap();
                    (bytes[..count].to_vec(), attached)
                })
            };
            let is_ready = || pair.writer.is_ready(&ends[0], &pair.states[0]);
            let mut tries = 0;
            let written = Pair::patiently(&ends[0], || {
                while asks && !is_ready() {
                    ends[0].poll();
                }
                tries += 1;
                assert!(tries <= 3, "each follows an event");
                pair.write_marked(writer_polls, &[7])
            });
            assert_eq!(written.unwrap(), 1);
            assert_eq!(reading.join().unwrap(), (vec![7], vec![7]));
        });
    }
}

/// Nobody makes room there any more.
#[test]
fn who_polls_for_room_at_the_socket_learns_that_nobody_reads_any_more() {
    check(1_000, || {
        let pair = pair();
        pair.ends[0].kernel.room.lock().unwrap().is_full = true;
        let shutting = {
            let pair = Arc::clone(&pair);
            thread::spawn(move || pair.shut_reader())
        };
        let written = Pair::patiently(&pair.ends[0], || pair.write_marked(true, &[7]));
        assert_eq!(written.unwrap_err().kind(), ErrorKind::BrokenPipe);
        shutting.join().unwrap();
    });
}

impl Pair {
    /// So many records, each as long as its first byte says.
    fn read_records(&self, nonblocking: bool, count: usize) -> Vec<Vec<u8>> {
        let read = |_| {
            let mut record = [0; 40];
            let count =
                Pair::patiently(&self.ends[1], || self.read(nonblocking, &mut record)).expect("a record");
            record[..count].to_vec()
        };
        (0..count).map(read).collect()
    }

    fn write_records(&self, nonblocking: bool, records: &[Vec<u8>]) {
        for record in records {
            let written = Pair::patiently(&self.ends[0], || self.write(nonblocking, record)).unwrap();
            assert_eq!(written, record.len());
        }
    }
}

/// Records of these lengths, which name their writer and number.
fn records(writer: u8, lengths: &[usize]) -> Vec<Vec<u8>> {
    lengths.iter().zip(0..).map(|(len, number)| vec![writer * 16 + number; *len]).collect()
}

/// Records come out whole, in a ring that holds one or a few, whichever side blocks and whichever polls.
#[test]
fn records_arrive_whole_and_nobody_oversleeps() {
    for (writer_polls, reader_polls) in [(false, false), (false, true), (true, false), (true, true)] {
        for (capacity, lengths) in [(16, &[1, 8, 0, 3, 5][..]), (32, &[0, 20, 1, 9, 0, 24])] {
            check(400, move || {
                let pair = pair_of(Kind::Records, capacity);
                let reading = {
                    let pair = Arc::clone(&pair);
                    thread::spawn(move || {
                        let read = pair.read_records(reader_polls, lengths.len());
                        let end = Pair::patiently(&pair.ends[1], || pair.read(reader_polls, &mut [0; 40]));
                        assert_eq!(end.unwrap(), 0);
                        read
                    })
                };
                pair.write_records(writer_polls, &records(1, lengths));
                pair.shut_writer();
                assert_eq!(reading.join().unwrap(), records(1, lengths));
            });
        }
    }
}

#[test]
fn two_who_send_and_two_who_receive_share_no_record() {
    check(800, || {
        let pair = pair_of(Kind::Records, 32);
        let lengths = [9, 1, 17];
        let writing = [1, 2].map(|writer| {
            let pair = Arc::clone(&pair);
            thread::spawn(move || pair.write_records(false, &records(writer, &lengths)))
        });
        let reading = [(); 2].map(|()| {
            let pair = Arc::clone(&pair);
            thread::spawn(move || pair.read_records(false, 3))
        });
        for thread in writing {
            thread.join().unwrap();
        }
        let mut all = reading.map(|thread| thread.join().unwrap()).concat();
        all.sort_by_key(|record| record[0]);
        assert_eq!(all, [records(1, &lengths), records(2, &lengths)].concat());
    });
}

#[test]
fn who_waits_to_send_learns_that_nobody_receives_any_more() {
    check(1_000, || {
        let pair = pair_of(Kind::Records, 32);
        let writing = {
            let pair = Arc::clone(&pair);
            thread::spawn(move || while pair.write(false, &[1; 9]).is_ok() {})
        };
        assert_eq!(pair.read(false, &mut [0; 40]).unwrap(), 9);
        pair.shut_reader();
        writing.join().unwrap();
    });
}

#[test]
fn two_who_read_share_what_comes() {
    check(1_000, || {
        let pair = pair();
        let reading = [2, 3].map(|at_once| {
            let pair = Arc::clone(&pair);
            thread::spawn(move || pair.read_all(false, at_once))
        });
        assert_eq!(pair.write(false, &[1, 2, 3, 4, 5, 6, 7]).unwrap(), 7);
        pair.shut_writer();
        let mut all = reading.map(|thread| thread.join().unwrap()).concat();
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3, 4, 5, 6, 7]);
    });
}

#[test]
fn who_waits_for_room_learns_that_nobody_reads_any_more() {
    check(1_000, || {
        let pair = pair();
        let writing = {
            let pair = Arc::clone(&pair);
            thread::spawn(move || while pair.write(false, &[1, 2, 3]).is_ok() {})
        };
        assert!(pair.read(false, &mut [0; 2]).unwrap() > 0);
        pair.shut_reader();
        writing.join().unwrap();
    });
}

/// The same with a wide ring, whose last places are the ring's.
#[derive(Clone)]
struct WithWide(Side);

const WIDE: usize = 4 * CAPACITY;

impl Memory for WithWide {
    fn lane(&self) -> &Lane {
        self.0.lane()
    }

    fn capacity(&self) -> usize {
        CAPACITY
    }

    fn place(&self, position: u64, is_wide: bool) -> usize {
        let position = position as usize;
        if is_wide { position % WIDE } else { WIDE - CAPACITY + position % CAPACITY }
    }

    fn end(&self, _: bool) -> usize {
        WIDE
    }

    fn copy_in(&self, place: usize, bytes: &[u8]) {
        self.0.copy_in(place, bytes);
    }

    fn copy_out(&self, place: usize, bytes: &mut [u8]) {
        self.0.copy_out(place, bytes);
    }
}

#[test]
fn bytes_are_read_where_they_were_written_whenever_the_writer_turns_to_another_ring() {
    check(2_000, || {
        let memory =
            WithWide(Side(Arc::new((Lane::default(), (0..WIDE).map(|_| AtomicU8::new(0)).collect()))));
        let writing = {
            let memory = memory.clone();
            thread::spawn(move || {
                let mut producer = Producer::default();
                let bytes: Vec<u8> = (1..=30).collect();
                let (mut done, mut round) = (0, 0);
                while done < bytes.len() {
                    let way = if round % 2 == 0 { Way::Wide } else { Way::Usual };
                    producer.turn_to(&memory, way, true);
                    let count = producer.write(&memory, &bytes[done..bytes.len().min(done + 3)]).unwrap();
                    if count == 0 {
                        thread::yield_now();
                    }
                    (done, round) = (done + count, round + 1);
                }
            })
        };
        let mut consumer = Consumer::default();
        let mut all = Vec::new();
        while all.len() < 30 {
            let mut part = [0; 3];
            let count = consumer.read(&memory, &mut part).unwrap();
            if count == 0 {
                thread::yield_now();
            }
            all.extend_from_slice(&part[..count]);
        }
        writing.join().unwrap();
        assert_eq!(all, (1..=30).collect::<Vec<u8>>());
    });
}
