//! Two ends in memory: what is sent at one is received at the other, whole and in order.
//!
//! Packets are moved, never copied or looked at. Each direction is a bounded queue of its own, and the
//! lock of a queue is held for one batch.

use crate::{Capabilities, Link};
use sockeye_packet::{Batch, Instant, Packet};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Makes cables.
#[derive(Clone, Copy, Debug)]
pub struct Cable {
    /// The MTU that both ends report. Super-segments pass as they are.
    pub mtu: u32,
    /// How many packets may wait in each direction; a send beyond that leaves them with the sender.
    pub queue_limit: usize,
}

impl Default for Cable {
    fn default() -> Cable {
        Cable { mtu: 1500, queue_limit: 1024 }
    }
}

impl Cable {
    /// The two ends of a new cable. When one is dropped, what the other sends is lost.
    pub fn connect(self) -> (CableEnd, CableEnd) {
        let (there, back) = (Arc::new(Mutex::default()), Arc::new(Mutex::default()));
        let near = CableEnd { config: self, outgoing: Arc::clone(&there), incoming: Arc::clone(&back) };
        let far = CableEnd { config: self, outgoing: back, incoming: there };
        (near, far)
    }
}

/// One end of a [`Cable`].
#[derive(Debug)]
pub struct CableEnd {
    config: Cable,
    outgoing: Arc<Mutex<Direction>>,
    incoming: Arc<Mutex<Direction>>,
}

/// The packets on their way to one end.
#[derive(Debug, Default)]
struct Direction {
    queue: VecDeque<Packet>,
    /// A send found no room since the last receive.
    refused: bool,
    /// One of the ends is gone.
    closed: bool,
    sender: Option<Waker>,
    receiver: Option<Waker>,
}

impl Link for CableEnd {
    fn capabilities(&self) -> Capabilities {
        Capabilities::memory(self.config.mtu)
    }

    fn send(&mut self, _now: Instant, batch: &mut Batch) -> io::Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut direction = lock(&self.outgoing);
        if direction.closed {
            batch.drain().for_each(drop);
            return Ok(());
        }
        let was_empty = direction.queue.is_empty();
        while direction.queue.len() < self.config.queue_limit {
            let Some(packet) = batch.pop() else { break };
            direction.queue.push_back(packet);
        }
        direction.refused |= !batch.is_empty();
        let waker = if was_empty { direction.receiver.clone() } else { None };
        wake_unlocked(direction, waker);
        Ok(())
    }

    fn receive(&mut self, _now: Instant, batch: &mut Batch) -> io::Result<()> {
        let mut direction = lock(&self.incoming);
        while !batch.is_full() {
            let Some(packet) = direction.queue.pop_front() else { break };
            batch.push(packet);
        }
        let has_room = direction.queue.len() < self.config.queue_limit;
        let waker =
            if has_room && std::mem::take(&mut direction.refused) { direction.sender.clone() } else { None };
        wake_unlocked(direction, waker);
        Ok(())
    }

    fn set_waker(&mut self, waker: &Waker) {
        lock(&self.outgoing).sender = Some(waker.clone());
        let mut incoming = lock(&self.incoming);
        incoming.receiver = Some(waker.clone());
        let waiting = !incoming.queue.is_empty();
        // What came before the waker did must not wait for what comes next.
        wake_unlocked(incoming, waiting.then(|| waker.clone()));
    }
}

impl Drop for CableEnd {
    fn drop(&mut self) {
        let mut incoming = lock(&self.incoming);
        incoming.closed = true;
        incoming.queue.clear();
        let refused = std::mem::take(&mut incoming.refused);
        let sender = incoming.sender.take().filter(|_| refused);
        wake_unlocked(incoming, sender);
        let mut outgoing = lock(&self.outgoing);
        outgoing.sender = None;
    }
}

/// A queue stays usable whatever panicked elsewhere: nothing is left half done under its lock.
fn lock(direction: &Mutex<Direction>) -> MutexGuard<'_, Direction> {
    direction.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes with no lock held.
fn wake_unlocked(direction: MutexGuard<'_, Direction>, waker: Option<Waker>) {
    drop(direction);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests;
