//! The ring alone, over memory of this process.

use crate::lane::Lane;
use crate::ring::{Broken, Consumer, Memory, Producer};
use crate::ways::Way;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

struct Bytes {
    lane: Lane,
    content: Vec<AtomicU8>,
    claims: AtomicUsize,
}

impl Bytes {
    fn new(capacity: usize) -> Bytes {
        let content = (0..capacity).map(|_| AtomicU8::new(0)).collect();
        Bytes { lane: Lane::default(), content, claims: AtomicUsize::new(0) }
    }
}

impl Memory for Bytes {
    fn lane(&self) -> &Lane {
        &self.lane
    }

    fn capacity(&self) -> usize {
        self.content.len()
    }

    fn copy_in(&self, place: usize, bytes: &[u8]) {
        for (to, from) in self.content[place..place + bytes.len()].iter().zip(bytes) {
            to.store(*from, Ordering::Relaxed);
        }
    }

    fn claim(&self, place: usize, len: usize) {
        self.content[place..place + len].iter().for_each(|byte| byte.store(0xee, Ordering::Relaxed));
        self.claims.fetch_add(1, Ordering::Relaxed);
    }

    fn copy_out(&self, place: usize, bytes: &mut [u8]) {
        for (from, to) in self.content[place..place + bytes.len()].iter().zip(bytes) {
            *to = from.load(Ordering::Relaxed);
        }
    }
}

#[test]
fn bytes_come_out_as_they_went_in_across_the_rings_end() {
    let memory = Bytes::new(16);
    let (mut producer, mut consumer) = (Producer::default(), Consumer::default());
    let (mut written, mut read) = (0_u8, 0_u8);
    for round in 0..1000_usize {
        let bytes: Vec<u8> = (0..round % 19).map(|at| written.wrapping_add(at as u8)).collect();
        let count = producer.write(&memory, &bytes).unwrap();
        assert!(count == bytes.len() || producer.write(&memory, &[0]) == Ok(0), "there was room");
        written = written.wrapping_add(count as u8);
        let mut out = vec![0; round % 13];
        let peeked = consumer.peek(&memory, &mut out).unwrap();
        assert_eq!(consumer.read(&memory, &mut out), Ok(peeked));
        for byte in &out[..peeked] {
            assert_eq!(*byte, read);
            read = read.wrapping_add(1);
        }
    }
}

#[test]
fn what_is_claimed_for_short_writes_is_nothing_that_is_to_be_read() {
    let memory = Bytes::new(4096);
    let (mut producer, mut consumer) = (Producer::default(), Consumer::default());
    let (mut written, mut read, mut total) = (0_u8, 0_u8, 0);
    for round in 0..20_000_usize {
        let bytes: Vec<u8> = (0..round % 301).map(|at| written.wrapping_add(at as u8)).collect();
        let count = producer.write(&memory, &bytes).unwrap();
        producer.claim(&memory);
        assert!(total >= 1024 || memory.claims.load(Ordering::Relaxed) <= 1, "too early");
        (written, total) = (written.wrapping_add(count as u8), total + count);
        // Now nearly all is left unread, now nothing.
        let mut out = vec![0; if round / 100 % 2 == 0 { round % 251 } else { 700 }];
        let count = consumer.read(&memory, &mut out).unwrap();
        for byte in &out[..count] {
            assert_eq!(*byte, read);
            read = read.wrapping_add(1);
        }
    }
    assert!(memory.claims.load(Ordering::Relaxed) > total / 2048, "of {total} bytes");
}

/// A ring of 16 bytes with a wide one of 64.
struct WithWide(Bytes);

impl Memory for WithWide {
    fn lane(&self) -> &Lane {
        self.0.lane()
    }

    fn capacity(&self) -> usize {
        16
    }

    fn place(&self, position: u64, is_wide: bool) -> usize {
        if is_wide { position as usize % 64 } else { 48 + position as usize % 16 }
    }

    fn end(&self, _: bool) -> usize {
        64
    }

    fn copy_in(&self, place: usize, bytes: &[u8]) {
        self.0.copy_in(place, bytes);
    }

    fn copy_out(&self, place: usize, bytes: &mut [u8]) {
        self.0.copy_out(place, bytes);
    }
}

#[test]
fn bytes_come_out_as_they_went_in_across_turns_to_the_wide_ring_and_back() {
    let memory = WithWide(Bytes::new(64));
    let (mut producer, mut consumer) = (Producer::default(), Consumer::default());
    let (mut written, mut read) = (0_u8, 0_u8);
    let mut turns = 0;
    for round in 0..10_000_usize {
        let before = memory.lane().produced.turn.load(Ordering::Relaxed);
        let way = [Way::Usual, Way::Wide, Way::PastCaches][round / 3 % 3];
        producer.turn_to(&memory, way, false);
        turns += usize::from(memory.lane().produced.turn.load(Ordering::Relaxed) != before);
        let bytes: Vec<u8> = (0..round % 19).map(|at| written.wrapping_add(at as u8)).collect();
        written = written.wrapping_add(producer.write(&memory, &bytes).unwrap() as u8);
        let mut out = vec![0; round % 13];
        let count = consumer.read(&memory, &mut out).unwrap();
        for byte in &out[..count] {
            assert_eq!(*byte, read);
            read = read.wrapping_add(1);
        }
    }
    assert!(turns > 100, "{turns}");
}

#[test]
fn any_turn_that_a_peer_tells_is_a_place_in_the_memory() {
    for turn in [1, u64::MAX, u64::MAX - 1, 1 << 63, 7, 8, 9, 10] {
        let memory = WithWide(Bytes::new(64));
        let mut consumer = Consumer::default();
        memory.lane().produced.turn.store(turn, Ordering::Relaxed);
        for position in [5, 16, 21] {
            memory.lane().produced.position.store(position, Ordering::Relaxed);
            let before = consumer.seen();
            assert_eq!(consumer.read(&memory, &mut [0; 32]), Ok((position - before) as usize));
        }
    }
}

#[test]
fn a_full_ring_takes_nothing_and_an_empty_one_gives_nothing() {
    let memory = Bytes::new(8);
    let (mut producer, mut consumer) = (Producer::default(), Consumer::default());
    assert_eq!(consumer.read(&memory, &mut [0; 4]), Ok(0));
    assert_eq!(producer.write(&memory, &[1; 9]), Ok(8));
    assert_eq!(producer.write(&memory, &[1]), Ok(0));
    assert_eq!(consumer.read(&memory, &mut [0; 9]), Ok(8));
    assert_eq!(producer.has_room(&memory), Ok(true));
}

#[test]
fn a_writer_is_looked_for_at_each_quarter() {
    let memory = Bytes::new(16);
    let (mut producer, mut consumer) = (Producer::default(), Consumer::default());
    producer.write(&memory, &[0; 16]).unwrap();
    let mut looks = |count: usize| {
        consumer.read(&memory, &mut vec![0; count]).unwrap();
        consumer.is_to_look_for_writer(4)
    };
    assert_eq!([3, 1, 3, 6, 2, 1].map(&mut looks), [false, true, false, true, false, false]);
    assert!(!looks(1), "there was nothing to take");
    producer.write(&memory, &[0; 16]).unwrap();
    assert_eq!([1, 15].map(looks), [true, true], "of a full ring none is left without a look");
}

#[test]
fn positions_that_cannot_be_are_found() {
    for tail in [u64::MAX, 17, 1 << 63] {
        let memory = Bytes::new(16);
        memory.lane.produced.position.store(tail, Ordering::Relaxed);
        assert_eq!(Consumer::default().read(&memory, &mut [0; 32]), Err(Broken), "{tail}");
    }
    let memory = Bytes::new(16);
    let (mut producer, mut consumer) = (Producer::default(), Consumer::default());
    producer.write(&memory, &[0; 8]).unwrap();
    consumer.read(&memory, &mut [0; 4]).unwrap();
    memory.lane.produced.position.store(7, Ordering::Relaxed);
    assert_eq!(consumer.read(&memory, &mut [0; 8]), Err(Broken), "the producer went back");
    for head in [9, u64::MAX] {
        memory.lane.consumed.position.store(head, Ordering::Relaxed);
        assert_eq!(producer.write(&memory, &[0; 16]), Err(Broken), "{head}");
    }
    memory.lane.consumed.position.store(4, Ordering::Relaxed);
    assert_eq!(producer.write(&memory, &[0; 16]), Ok(12));
    memory.lane.consumed.position.store(3, Ordering::Relaxed);
    assert_eq!(producer.write(&memory, &[0; 16]), Err(Broken), "the consumer went back");
}

#[test]
fn records_come_out_whole_and_bad_ones_are_found() {
    let memory = Bytes::new(64);
    let (mut producer, mut consumer) = (Producer::default(), Consumer::default());
    for round in 0..500_usize {
        let record: Vec<u8> = (0..round % 57).map(|at| (at + round) as u8).collect();
        assert_eq!(producer.write_record(&memory, &record), Ok(true));
        let mut out = [0; 60];
        assert_eq!(consumer.read_record(&memory, &mut out, true), Ok(Some(record.len())));
        assert_eq!(consumer.read_record(&memory, &mut out, false), Ok(Some(record.len())));
        assert_eq!(out[..record.len()], record);
        assert_eq!(consumer.read_record(&memory, &mut out, false), Ok(None));
    }
    assert_eq!(producer.write_record(&memory, &[0; 20]), Ok(true));
    assert_eq!(producer.write_record(&memory, &[0; 30]), Ok(false), "no room");
    let place = consumer.seen() as usize % 64;
    for len in [25, 65, u64::MAX] {
        memory.copy_in(place, &len.to_ne_bytes());
        assert_eq!(consumer.read_record(&memory, &mut [0; 8], false), Err(Broken), "{len}");
    }
}
