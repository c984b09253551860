//! What of a stream came by the kernel's socket.

use crate::Ancillary;
use crate::ring::DESCRIPTORS;
use std::collections::VecDeque;

/// Bytes that came by the socket, how many it will be in all, once the peer has said so, and those that wait here for a reader.
#[derive(Debug, Default)]
pub(super) struct Came {
    pub(super) count: u64,
    pub(super) all: Option<u64>,
    kept: VecDeque<Kept>,
}

/// Bytes that were received together, with what was attached to the last of them.
#[derive(Debug)]
struct Kept {
    bytes: Vec<u8>,
    taken: usize,
    attached: Ancillary,
}

impl Came {
    /// Bytes that are kept, at most, before no more are looked for.
    const MOST: usize = 256 << 10;
    /// What those that were received together take besides.
    const EACH: usize = 1 << 10;

    pub(super) fn has_kept(&self) -> bool {
        !self.kept.is_empty()
    }

    pub(super) fn may_keep(&self) -> bool {
        let bytes = self.kept.iter().map(|kept| kept.bytes.len() + Came::EACH).sum::<usize>();
        let descriptors = self.kept.iter().map(|kept| kept.attached.descriptors.len()).sum::<usize>();
        bytes < Came::MOST && descriptors < DESCRIPTORS
    }

    pub(super) fn keep(&mut self, bytes: &[u8], attached: Ancillary) {
        self.kept.push_back(Kept { bytes: bytes.to_vec(), taken: 0, attached });
    }

    /// Takes some of what is kept, and what is attached to it if that is wanted: else it goes with the last byte.
    pub(super) fn take(&mut self, bytes: &mut [u8], attached: Option<&mut Ancillary>) -> Option<usize> {
        let count = self.peek(bytes)?;
        let first = self.kept.front_mut()?;
        if let Some(attached) = attached {
            let credentials = first.attached.credentials;
            *attached = std::mem::take(&mut first.attached);
            // All of it has one sender.
            first.attached.credentials = credentials;
        }
        first.taken += count;
        if first.taken == first.bytes.len() {
            self.kept.pop_front();
        }
        Some(count)
    }

    /// Copies some of it.
    pub(super) fn peek(&self, bytes: &mut [u8]) -> Option<usize> {
        let Kept { bytes: kept, taken, .. } = self.kept.front()?;
        let count = bytes.len().min(kept.len() - taken);
        bytes[..count].copy_from_slice(&kept[*taken..*taken + count]);
        Some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_are_bounded_too() {
        let mut came = Came::default();
        while came.may_keep() {
            came.keep(b"x", Ancillary::default());
        }
        assert!(came.kept.len() <= 256);
        let mut taken = 0;
        while let Some(count) = came.take(&mut [0; 8], None) {
            taken += count;
        }
        assert!(taken > 200 && !came.has_kept());
    }
}
