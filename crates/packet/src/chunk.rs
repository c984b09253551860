//! A refcounted slice of payload.

use bytes::Bytes;
use core::fmt;
use core::ops::{Bound, Deref, RangeBounds};

/// An immutable, refcounted slice of payload.
///
/// Cloning and slicing copy no bytes. A chunk keeps its whole block of memory alive, so it knows how
/// large that block is: a queue that would hold a small chunk of a large block copies it out
/// ([`Chunk::compact`]) instead of pinning the block. Parts of one chunk that follow each other can be
/// joined again ([`Chunk::join`]).
#[derive(Clone, Default)]
pub struct Chunk {
    /// What the first chunk of this memory was made of: all its parts share this view.
    whole: Bytes,
    /// Which part of `whole` this is.
    start: u32,
    end: u32,
    block: u32,
}

impl Chunk {
    /// A copy of so many bytes at most ([`Chunk::copy_from`]) is a single allocation.
    pub const FEW: usize = Small::CAPACITY;

    /// A chunk over `bytes`, which keep a block of `block` bytes alive. Panics at 4 GiB.
    pub fn new(bytes: Bytes, block: usize) -> Chunk {
        let end = u32::try_from(bytes.len()).expect("a chunk of less than 4 GiB");
        Chunk { block: block.clamp(bytes.len(), u32::MAX as usize) as u32, whole: bytes, start: 0, end }
    }

    /// A chunk over `bytes` that somebody else keeps account of, such as the program they belong to: to queues it
    /// pins nothing, so they never copy it out. Panics at 4 GiB.
    pub fn lent(bytes: Bytes) -> Chunk {
        Chunk { block: 0, ..Chunk::new(bytes, 0) }
    }

    /// A chunk in a block of its own, copied from `data`.
    #[inline]
    pub fn copy_from(data: &[u8]) -> Chunk {
        Chunk::from(match Small::copy_from(data) {
            Some(small) => Bytes::from_owner(small),
            None => Bytes::copy_from_slice(data),
        })
    }

    /// A chunk of constant data, which pins nothing.
    pub const fn from_static(data: &'static [u8]) -> Chunk {
        Chunk { whole: Bytes::from_static(data), start: 0, end: data.len() as u32, block: 0 }
    }

    /// Length in bytes.
    #[inline]
    pub const fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether there are no bytes.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Size in bytes of the block of memory this chunk keeps alive.
    pub fn block_len(&self) -> usize {
        self.block as usize
    }

    /// The part of the chunk in `range`, sharing its memory. Panics when out of bounds.
    #[must_use]
    #[inline]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Chunk {
        let from = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&start) => start + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(&end) => end + 1,
            Bound::Excluded(&end) => end,
            Bound::Unbounded => self.len(),
        };
        assert!(from <= to && to <= self.len(), "slice {from}..{to} of a chunk of {}", self.len());
        let (start, end) = (self.start + from as u32, self.start + to as u32);
        Chunk { whole: self.whole.clone(), start, end, block: self.block }
    }

    /// Takes the first `len` bytes off the front. Panics when there are fewer.
    #[inline]
    pub fn split_to(&mut self, len: usize) -> Chunk {
        let front = self.slice(0..len);
        self.start = front.end;
        front
    }

    /// Drops the first `len` bytes. Panics when there are fewer.
    #[inline]
    pub fn advance(&mut self, len: usize) {
        assert!(len <= self.len(), "advance by {len} of {}", self.len());
        self.start += len as u32;
    }

    /// Keeps the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.start + self.len().min(len) as u32;
    }

    /// Whether [`join`](Chunk::join) would append `next`.
    #[inline]
    pub fn joins(&self, next: &Chunk) -> bool {
        self.end == next.start
            && self.whole.as_ptr() == next.whole.as_ptr()
            && self.whole.len() == next.whole.len()
            && !self.is_empty()
            && !next.is_empty()
    }

    /// Appends `next` without copying, if both are parts of one chunk and it follows; hands it back if not.
    #[inline]
    pub fn join(&mut self, next: Chunk) -> Result<(), Chunk> {
        if self.extend_over(&next) { Ok(()) } else { Err(next) }
    }

    /// The same of a chunk that stays where it is; says whether it was appended.
    #[inline]
    pub fn extend_over(&mut self, next: &Chunk) -> bool {
        let joins = self.joins(next);
        if joins {
            self.end = next.end;
        }
        joins
    }

    /// Whether the chunk is less than a quarter of the block it keeps alive.
    #[inline]
    pub fn is_wasteful(&self) -> bool {
        self.len() < self.block as usize / 4
    }

    /// Whether this chunk starts in memory where `before` ends, in one block: keeping both pins the
    /// block only once.
    #[inline]
    pub fn follows(&self, before: &Chunk) -> bool {
        let at = |chunk: &Chunk, offset: u32| chunk.whole.as_ptr().wrapping_add(offset as usize);
        self.block == before.block && at(before, before.end) == at(self, self.start)
    }

    /// A copy that pins no more than it holds, when the chunk [is wasteful](Chunk::is_wasteful).
    #[must_use]
    #[inline]
    pub fn compact(self) -> Chunk {
        if self.is_wasteful() { Chunk::copy_from(&self) } else { self }
    }

    /// The bytes, sharing the chunk's memory.
    pub fn into_bytes(self) -> Bytes {
        self.whole.slice(self.start as usize..self.end as usize)
    }
}

/// A few bytes that lie beside their reference count: one allocation, where a vector would take two.
struct Small {
    len: u8,
    bytes: [u8; Small::CAPACITY],
}

impl Small {
    const CAPACITY: usize = 55;

    #[inline]
    fn copy_from(data: &[u8]) -> Option<Small> {
        let mut small = Small { len: data.len() as u8, bytes: [0; Small::CAPACITY] };
        small.bytes.get_mut(..data.len())?.copy_from_slice(data);
        Some(small)
    }
}

impl AsRef<[u8]> for Small {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl Deref for Chunk {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.whole[self.start as usize..self.end as usize]
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Bytes> for Chunk {
    #[inline]
    fn from(bytes: Bytes) -> Chunk {
        Chunk::new(bytes, 0)
    }
}

impl From<alloc::vec::Vec<u8>> for Chunk {
    #[inline]
    fn from(data: alloc::vec::Vec<u8>) -> Chunk {
        let block = data.capacity();
        Chunk::new(Bytes::from(data), block)
    }
}

impl PartialEq for Chunk {
    fn eq(&self, other: &Chunk) -> bool {
        **self == **other
    }
}

impl Eq for Chunk {}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} of {})", self.len(), self.block)
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

    #[test]
    fn lent_memory_is_never_copied_out() {
        let bytes = Bytes::from(vec![7; 4096]);
        let part = Chunk::lent(bytes.clone()).slice(4000..4010);
        assert_eq!(part.block_len(), 0);
        assert_eq!(part.compact().as_ptr(), bytes[4000..].as_ptr());
    }

    #[test]
    fn parts_of_one_chunk_join_again() {
        let whole = Chunk::from(vec![7; 100]);
        let mut front = whole.slice(0..40);
        assert!(front.join(whole.slice(50..100)).is_err());
        assert!(front.join(Chunk::from(vec![7; 100]).slice(40..50)).is_err());
        front.join(whole.slice(40..100)).unwrap();
        assert_eq!(front, whole);
        assert_eq!(front.split_to(99).into_bytes().len(), 99);
        assert_eq!(front.len(), 1);
    }
}
