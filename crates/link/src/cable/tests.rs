use super::*;
use crate::testing::{batch, tcp, udp};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wakes {
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn numbered(range: std::ops::Range<u8>) -> Batch {
    batch(range.map(|number| udp("10.77.0.2", "10.77.0.3", &[number])))
}

fn receive(end: &mut CableEnd) -> Vec<u8> {
    let mut batch = Batch::new();
    end.receive(Instant::ZERO, &mut batch).unwrap();
    batch.iter().map(|packet| packet.payload.to_vec()[0]).collect()
}

#[test]
fn packets_arrive_in_order_in_both_directions() {
    let (mut a, mut b) = Cable::default().connect();
    a.send(Instant::ZERO, &mut numbered(0..3)).unwrap();
    b.send(Instant::ZERO, &mut numbered(7..9)).unwrap();
    a.send(Instant::ZERO, &mut numbered(3..5)).unwrap();
    assert_eq!(receive(&mut b), [0, 1, 2, 3, 4]);
    assert_eq!(receive(&mut a), [7, 8]);
    assert!(receive(&mut a).is_empty());
}

#[test]
fn super_segments_stay_whole_and_nothing_is_copied() {
    let (mut a, mut b) = Cable::default().connect();
    let sent = tcp("fd77::2", "fd77::3", &vec![1; 60_000], 1440);
    let pointer = sent.payload.chunks().next().unwrap().as_ptr();
    a.send(Instant::ZERO, &mut batch([sent])).unwrap();
    let mut received = Batch::new();
    b.receive(Instant::ZERO, &mut received).unwrap();
    let packet = received.pop().unwrap();
    assert_eq!((packet.payload.len(), packet.meta.gso_size), (60_000, 1440));
    assert_eq!(packet.payload.chunks().next().unwrap().as_ptr(), pointer);
    assert_eq!(a.capabilities(), Capabilities::memory(1500));
}

#[test]
fn what_finds_no_room_stays_with_the_sender() {
    let (mut a, mut b) = Cable { queue_limit: 3, ..Cable::default() }.connect();
    let wakes = Arc::new(Wakes::default());
    a.set_waker(&Waker::from(Arc::clone(&wakes)));
    let mut left = numbered(0..5);
    a.send(Instant::ZERO, &mut left).unwrap();
    assert_eq!((left.len(), wakes.take()), (2, 0));
    assert_eq!(receive(&mut b), [0, 1, 2]);
    assert_eq!(wakes.take(), 1, "there is room again");
    a.send(Instant::ZERO, &mut left).unwrap();
    assert_eq!(receive(&mut b), [3, 4]);
    assert_eq!(wakes.take(), 0, "nothing was refused");
}

#[test]
fn the_receiver_is_woken_once_for_what_waits() {
    let (mut a, mut b) = Cable::default().connect();
    let wakes = Arc::new(Wakes::default());
    a.send(Instant::ZERO, &mut numbered(0..1)).unwrap();
    b.set_waker(&Waker::from(Arc::clone(&wakes)));
    assert_eq!(wakes.take(), 1, "it came before the waker");
    a.send(Instant::ZERO, &mut numbered(1..2)).unwrap();
    assert_eq!(wakes.take(), 0, "it knows already");
    assert_eq!(receive(&mut b), [0, 1]);
    a.send(Instant::ZERO, &mut Batch::new()).unwrap();
    assert_eq!(wakes.take(), 0);
    a.send(Instant::ZERO, &mut numbered(2..3)).unwrap();
    assert_eq!(wakes.take(), 1);
}

#[test]
fn a_sender_is_not_held_up_by_an_end_that_is_gone() {
    let (mut a, b) = Cable { queue_limit: 1, ..Cable::default() }.connect();
    let wakes = Arc::new(Wakes::default());
    a.set_waker(&Waker::from(Arc::clone(&wakes)));
    let mut left = numbered(0..2);
    a.send(Instant::ZERO, &mut left).unwrap();
    drop(b);
    assert_eq!(wakes.take(), 1);
    a.send(Instant::ZERO, &mut left).unwrap();
    assert!(left.is_empty());
}
