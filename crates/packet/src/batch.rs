//! Packets handed over together.

use crate::{Head, Meta, Packet, Payload};
use alloc::collections::VecDeque;

/// Up to [`Batch::CAPACITY`] packets, in order, handed from one layer to the next in one call.
///
/// A batch keeps its memory when it is drained: reuse it.
#[derive(Debug, Default)]
pub struct Batch(VecDeque<Packet>);

impl Batch {
    /// The most packets a batch is meant to hold.
    pub const CAPACITY: usize = 64;

    /// An empty batch.
    pub fn new() -> Batch {
        Batch(VecDeque::with_capacity(Self::CAPACITY))
    }

    /// Appends a packet. It is accepted even when the batch [is full](Batch::is_full).
    pub fn push(&mut self, packet: Packet) {
        self.0.push_back(packet);
    }

    /// Appends an empty packet, to be filled where it is: packets are large to move.
    #[inline]
    pub fn push_empty(&mut self) -> &mut Packet {
        let index = self.0.len();
        self.0.push_back(Packet::default());
        &mut self.0[index]
    }

    /// Appends a packet with this head, copied to where it will be, to be changed there.
    #[inline]
    pub fn push_copy(&mut self, head: &Head, payload: Payload, meta: Meta) -> &mut Packet {
        let packet = self.push_empty();
        packet.head.clone_from(head);
        // Nothing of an empty one needs to be dropped.
        core::mem::forget(core::mem::replace(&mut packet.payload, payload));
        packet.meta = meta;
        packet
    }

    /// Drops the oldest `count` packets where they are. Panics when there are fewer.
    #[inline]
    pub fn drop_front(&mut self, count: usize) {
        // Packets of several flows don't continue each other.
        if count == 0 {
            return;
        }
        drop(self.0.drain(..count));
        if self.0.is_empty() {
            self.0.clear();
        }
    }

    /// Takes the oldest packet.
    pub fn pop(&mut self) -> Option<Packet> {
        let packet = self.0.pop_front();
        if self.0.is_empty() {
            // The next packet goes where the first one was: packets are long, and that memory is in the cache.
            self.0.clear();
        }
        packet
    }

    /// Takes the payload of the oldest packet, and drops the rest of it, which is large to move.
    #[inline]
    pub fn pop_payload(&mut self) -> Payload {
        let payload = self.0.front_mut().map(|packet| core::mem::take(&mut packet.payload));
        // Nothing that is left of it needs to be dropped.
        core::mem::forget(self.0.pop_front());
        if self.0.is_empty() {
            self.0.clear();
        }
        payload.unwrap_or_default()
    }

    /// The oldest packet.
    #[inline]
    pub fn front(&self) -> Option<&Packet> {
        self.0.front()
    }

    /// How many packets it holds.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it holds no packets.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it holds [`Batch::CAPACITY`] packets or more: whoever fills it should stop.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.0.len() >= Self::CAPACITY
    }

    /// The packets, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Packet> {
        self.0.iter()
    }

    /// The packets, oldest first, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Packet> {
        self.0.iter_mut()
    }

    /// Keeps the packets for which `keep` says so, in their order.
    pub fn retain(&mut self, keep: impl FnMut(&Packet) -> bool) {
        self.0.retain(keep);
    }

    /// Takes all packets, oldest first, and keeps the memory.
    pub fn drain(&mut self) -> impl Iterator<Item = Packet> {
        self.0.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Chunk;

    #[test]
    fn packets_are_copied_in_and_dropped_in_order() {
        let mut batch = Batch::new();
        let head = Head::from_slice(&[1, 2, 3]);
        let whole = Chunk::copy_from(b"abcdef");
        for start in 0..3 {
            let payload = Payload::from(whole.slice(2 * start..2 * start + 2));
            let meta = Meta { ttl: 7, ..Meta::default() };
            batch.push_copy(&head, payload, meta).head[0] = start as u8;
        }
        batch.drop_front(1);
        let packet = batch.front().unwrap();
        assert_eq!((&*packet.head, packet.meta.ttl), (&[1, 2, 3][..], 7));
        assert_eq!(batch.pop_payload().to_vec(), b"cd");
        let packet = batch.pop().unwrap();
        assert_eq!((&*packet.head, packet.payload.to_vec()), (&[2, 2, 3][..], b"ef".to_vec()));
        assert!(batch.is_empty());
    }
}
