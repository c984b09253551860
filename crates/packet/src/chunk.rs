//! A refcounted slice of payload.

use bytes::Bytes;
use core::fmt;
use core::ops::{Deref, RangeBounds};

/// An immutable, refcounted slice of payload.
///
/// Cloning and slicing copy no bytes. A chunk keeps its whole block of memory alive, so it knows how
/// large that block is: a queue that would hold a small chunk of a large block copies it out
/// ([`Chunk::compact`]) instead of pinning the block.
#[derive(Clone, Default)]
pub struct Chunk {
    bytes: Bytes,
    block: u32,
}

impl Chunk {
    /// A chunk over `bytes`, which keep a block of `block` bytes alive.
    pub fn new(bytes: Bytes, block: usize) -> Chunk {
        Chunk { block: block.max(bytes.len()).min(u32::MAX as usize) as u32, bytes }
    }

    /// A chunk in a block of its own, copied from `data`.
    pub fn copy_from(data: &[u8]) -> Chunk {
        Chunk::from(Bytes::copy_from_slice(data))
    }

    /// A chunk of constant data, which pins nothing.
    pub const fn from_static(data: &'static [u8]) -> Chunk {
        Chunk { bytes: Bytes::from_static(data), block: 0 }
    }

    /// Size in bytes of the block of memory this chunk keeps alive.
    pub fn block_len(&self) -> usize {
        self.block as usize
    }

    /// The part of the chunk in `range`, sharing its memory. Panics when out of bounds.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Chunk {
        Chunk { bytes: self.bytes.slice(range), block: self.block }
    }

    /// Takes the first `len` bytes off the front. Panics when there are fewer.
    pub fn split_to(&mut self, len: usize) -> Chunk {
        Chunk { bytes: self.bytes.split_to(len), block: self.block }
    }

    /// Drops the first `len` bytes. Panics when there are fewer.
    pub fn advance(&mut self, len: usize) {
        bytes::Buf::advance(&mut self.bytes, len);
    }

    /// Keeps the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    /// Whether the chunk is less than a quarter of the block it keeps alive.
    pub fn is_wasteful(&self) -> bool {
        self.bytes.len() < self.block as usize / 4
    }

    /// Whether this chunk starts in memory where `before` ends, in one block: keeping both pins the
    /// block only once.
    pub fn follows(&self, before: &Chunk) -> bool {
        self.block == before.block && before.bytes.as_ptr_range().end == self.bytes.as_ptr()
    }

    /// A copy that pins no more than it holds, when the chunk [is wasteful](Chunk::is_wasteful).
    #[must_use]
    pub fn compact(self) -> Chunk {
        if self.is_wasteful() { Chunk::copy_from(&self.bytes) } else { self }
    }

    /// The bytes, sharing the chunk's memory.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Chunk {
        Chunk::new(bytes, 0)
    }
}

impl From<alloc::vec::Vec<u8>> for Chunk {
    fn from(data: alloc::vec::Vec<u8>) -> Chunk {
        let block = data.capacity();
        Chunk::new(Bytes::from(data), block)
    }
}

impl PartialEq for Chunk {
    fn eq(&self, other: &Chunk) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Chunk {}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} of {})", self.bytes.len(), self.block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn small_parts_of_large_blocks_are_copied_out() {
        let whole = Chunk::from(vec![7; 4096]);
        let large = whole.slice(..1024);
        let small = whole.slice(1024..1100);
        assert!(!large.is_wasteful());
        assert!(small.is_wasteful());
        assert!(small.follows(&large));
        assert!(!large.follows(&small));
        let copy = small.clone().compact();
        assert_eq!(copy, small);
        assert_eq!(copy.block_len(), 76);
        let mut rest = large.clone();
        rest.advance(1000);
        assert_eq!((rest.len(), rest.block_len()), (24, 4096));
        assert!(small.follows(&rest));
    }
}
