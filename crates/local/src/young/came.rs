//! What of a stream came by the kernel's socket.

use crate::Ancillary;
use std::collections::VecDeque;

/// Bytes that came by the socket, how many it will be in all, once the peer has said so, and those that wait here for a reader.
#[derive(Debug, Default)]
pub(super) struct Came {
    pub(super) count: u64,
    pub(super) all: Option<u64>,
    kept: VecDeque<Kept>,
}

/// Bytes that were received together.
#[derive(Debug)]
struct Kept {
    bytes: Vec<u8>,
    taken: usize,
    attached: Ancillary,
}

impl Came {
    /// Bytes that are kept, at most, before no more are looked for.
    const MOST: usize = 256 << 10;

    pub(super) fn has_kept(&self) -> bool {
        !self.kept.is_empty()
    }

    pub(super) fn may_keep(&self) -> bool {
        self.kept.iter().map(|kept| kept.bytes.len()).sum::<usize>() < Came::MOST
    }

    pub(super) fn keep(&mut self, bytes: Vec<u8>, attached: Ancillary) {
        self.kept.push_back(Kept { bytes, taken: 0, attached });
    }

    /// Takes some of what is kept, and what is attached to it.
    pub(super) fn take(&mut self, bytes: &mut [u8], attached: &mut Ancillary) -> Option<usize> {
        let count = self.peek(bytes)?;
        let first = self.kept.front_mut()?;
        let credentials = first.attached.credentials;
        *attached = std::mem::take(&mut first.attached);
        // All of it has one sender.
        first.attached.credentials = credentials;
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
