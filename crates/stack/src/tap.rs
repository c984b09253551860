//! A look at the packets that a host sends to itself: they reach no link, so only the stack sees them pass.
//!
//! Off unless somebody asked, and then bounded: a copy shares the packet's payload, and would keep it from
//! being freed.

use alloc::collections::VecDeque;
use sockeye_packet::{Batch, Instant, NicId, Packet};

/// Copies of loopback packets that nobody has fetched yet.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    packets: VecDeque<Packet>,
    /// What `packets` cost together.
    cost: usize,
}

impl Tap {
    /// The most bytes that copies may cost; more are dropped.
    pub(crate) const LIMIT: usize = 32 << 20;

    /// Copies packets that are on their way at `now`; returns how many there was no room for.
    pub(crate) fn record(&mut self, now: Instant, batch: &Batch) -> u64 {
        let mut dropped = 0;
        // What the host hears of what it sends to others has been on their link: that is where it is seen.
        for packet in batch.iter().filter(|packet| packet.meta.nic == NicId::LOOPBACK) {
            let cost = cost(packet);
            if self.cost + cost > Self::LIMIT {
                dropped += 1;
                continue;
            }
            self.cost += cost;
            let mut copy = packet.clone();
            copy.meta.nic = NicId::LOOPBACK;
            copy.meta.received_at = now;
            self.packets.push_back(copy);
        }
        dropped
    }

    /// The oldest copy.
    pub(crate) fn poll(&mut self) -> Option<Packet> {
        let packet = self.packets.pop_front()?;
        self.cost -= cost(&packet);
        Some(packet)
    }
}

/// What a queued copy costs: itself and its payload.
fn cost(packet: &Packet) -> usize {
    size_of::<Packet>() + packet.payload.len()
}
