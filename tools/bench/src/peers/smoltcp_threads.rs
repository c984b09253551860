//! smoltcp on two threads: each has an interface, and packets are handed over in batches.
//!
//! The threads never sleep, which is what serves smoltcp best.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::smoltcp::{End, Link, Packet, Pair, Queue, WRITE, since};
use crate::cores::{Cores, Processors};
use crate::row::Figure;
use crate::streams::{SPAN, WARM_UP};

/// How many buffers an end keeps.
const SURPLUS: usize = 64;

/// What one thread has for the other: packets, and buffers that come back.
#[derive(Default)]
struct Way {
    packets: Mutex<VecDeque<Packet>>,
    has_packets: AtomicBool,
    spare: Mutex<Vec<Box<[u8]>>>,
}

/// Gigabits per second of payload from one thread to the other.
pub(crate) fn gigabits_per_second(link: Link) -> Figure {
    let processors = Processors::find(Cores::Two)?;
    let Pair { mut client, mut server, .. } = Pair::connected(link);
    let (there, back) = (Way::default(), Way::default());
    let (origin, is_over) = (Instant::now(), AtomicBool::new(false));
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            Processors::take(processors.second);
            let mut sink = vec![0; WRITE];
            let mut read_for = |span| {
                let (start, mut total) = (Instant::now(), 0);
                while start.elapsed() < span {
                    exchange(&mut server, origin, &back, &there);
                    total += server.read(&mut sink);
                }
                total as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e9
            };
            read_for(WARM_UP);
            let figure = read_for(SPAN);
            is_over.store(true, Ordering::Relaxed);
            figure
        });
        Processors::take(processors.first);
        let data = vec![0x55; WRITE];
        while !is_over.load(Ordering::Relaxed) {
            client.write(&data);
            exchange(&mut client, origin, &there, &back);
        }
        reading.join().map_err(|_| "the reader failed".to_string())
    })
}

/// Lets one end work, hands over what it sends, and takes what the other has sent.
fn exchange(end: &mut End, origin: Instant, to: &Way, from: &Way) {
    end.poll(since(origin));
    let Queue { incoming, outgoing, spare, .. } = &mut end.device;
    if !outgoing.is_empty() {
        lock(&to.packets).append(outgoing);
        to.has_packets.store(true, Ordering::Release);
    }
    if from.has_packets.load(Ordering::Acquire) {
        let mut packets = lock(&from.packets);
        from.has_packets.store(false, Ordering::Relaxed);
        incoming.append(&mut packets);
    } else {
        std::hint::spin_loop();
    }
    // Most packets go one way: their buffers go back.
    let spare = spare.get_mut();
    if spare.is_empty() {
        std::mem::swap(spare, &mut *lock(&from.spare));
    } else if spare.len() > SURPLUS {
        lock(&to.spare).append(spare);
    }
}

fn lock<T>(what: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
