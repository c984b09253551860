//! The invariants of the receive buffer, counted again.

use super::{Ahead, MAX_ISLANDS, RecvBuffer};

impl RecvBuffer {
    /// Panics when islands touch, overlap, are out of order or miscounted.
    pub(in crate::tcp) fn check_invariants(&self) {
        let RecvBuffer { ready: _, tail: _, run_len, ahead } = self;
        assert!(*run_len <= self.ready.len(), "a run longer than the queue");
        let Some(ahead) = ahead else { return };
        let Ahead { islands, len, charge, recent: _ } = &**ahead;
        assert!(!islands.is_empty() && islands.len() <= MAX_ISLANDS, "{} islands", islands.len());
        let mut at = self.next();
        for island in islands {
            assert!(island.start() > at, "an island at {} touches what ends at {at}", island.start());
            assert!(!island.is_empty(), "an empty island");
            at = island.end();
        }
        let total: usize = islands.iter().map(super::ChunkQueue::len).sum();
        let charges: usize = islands.iter().map(super::ChunkQueue::charged).sum();
        assert_eq!((*len, *charge), (total, charges), "sums over the islands");
    }
}
