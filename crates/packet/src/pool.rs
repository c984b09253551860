//! Memory for payload, in recycled blocks.

use crate::Chunk;
use alloc::collections::VecDeque;
use bytes::BytesMut;

/// How many blocks in use a pool keeps an eye on for reuse.
const KEPT_BLOCKS: usize = 64;

/// A ring of blocks from which [`Chunk`]s are cut.
///
/// A block returns to use when the last chunk cut from it is dropped, so that a steady flow of data
/// allocates nothing.
#[derive(Debug)]
pub struct Pool {
    block_len: usize,
    /// What is left of the block in use: its capacity. What lies below its length was written to before.
    open: Option<BytesMut>,
    /// Blocks that were full when they left, oldest first: the tails, even if empty, keep their memory.
    used: VecDeque<BytesMut>,
}

impl Default for Pool {
    fn default() -> Pool {
        Pool::new(64 * 1024)
    }
}

impl Pool {
    /// A pool of blocks of `block_len` bytes. It owns no memory until it is used.
    pub fn new(block_len: usize) -> Pool {
        Pool { block_len: block_len.max(1), open: None, used: VecDeque::new() }
    }

    /// Size of a block in bytes: the longest chunk that [`Pool::fill`] makes.
    pub fn block_len(&self) -> usize {
        self.block_len
    }

    /// Copies `data` into one or more chunks, which `push` receives in order.
    #[inline]
    pub fn copy(&mut self, mut data: &[u8], mut push: impl FnMut(Chunk)) {
        while !data.is_empty() {
            let (block_len, open) = (self.block_len, self.open(1));
            let (fitting, rest) = data.split_at(data.len().min(open.capacity()));
            open.clear();
            open.extend_from_slice(fitting);
            push(Chunk::new(open.split().freeze(), block_len));
            data = rest;
        }
    }

    /// Lets `write` fill up to `len` bytes (at most a block) and returns what it says it wrote.
    ///
    /// `write` gets exactly `min(len, block_len)` bytes of undefined old content. Its error is handed
    /// back and nothing is used.
    pub fn fill<E>(
        &mut self,
        len: usize,
        write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Chunk, E> {
        let len = len.clamp(1, self.block_len);
        let (block_len, open) = (self.block_len, self.open(len));
        if open.len() < len {
            open.resize(len, 0);
        }
        let written = write(&mut open[..len])?.min(len);
        Ok(Chunk::new(open.split_to(written).freeze(), block_len))
    }

    /// The block in use, or the next one if less than `len` bytes of it are left.
    #[inline]
    fn open(&mut self, len: usize) -> &mut BytesMut {
        if self.open.as_ref().is_some_and(|open| open.capacity() < len) {
            self.used.extend(self.open.take());
        }
        self.open.get_or_insert_with(|| next_block(&mut self.used, self.block_len))
    }
}

/// The block that has been in use for longest, if nobody refers to it any more, or a new one; it is empty.
fn next_block(used: &mut VecDeque<BytesMut>, block_len: usize) -> BytesMut {
    let reusable = used.front_mut().is_some_and(|block| {
        block.clear();
        block.try_reclaim(block_len)
    });
    if !reusable && used.len() <= KEPT_BLOCKS {
        return BytesMut::with_capacity(block_len);
    }
    match used.pop_front() {
        Some(block) if reusable => block,
        _ => BytesMut::with_capacity(block_len),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn copies_across_blocks() {
        let mut pool = Pool::new(10);
        let data: Vec<u8> = (0..35).collect();
        let mut chunks = Vec::new();
        pool.copy(&data, |chunk| chunks.push(chunk));
        assert_eq!(chunks.iter().map(super::super::chunk::Chunk::len).collect::<Vec<_>>(), [10, 10, 10, 5]);
        assert_eq!(chunks.iter().flat_map(|c| c.iter().copied()).collect::<Vec<_>>(), data);
    }

    #[test]
    fn fill_uses_only_what_was_written_and_nothing_on_error() {
        let mut pool = Pool::new(16);
        let chunk = pool
            .fill(8, |out| {
                Ok::<_, ()>({
                    out[..3].copy_from_slice(b"abc");
                    3
                })
            })
            .unwrap();
        assert_eq!(&*chunk, b"abc");
        assert_eq!(pool.fill(8, |_| Err::<usize, _>("no")), Err("no"));
        let next = pool.fill(100, |out| Ok::<_, ()>(out.len())).unwrap();
        assert_eq!(next.len(), 16);
    }

    #[test]
    fn blocks_are_reused_once_their_chunks_are_gone() {
        // Used to the last byte, or with a rest that was too short for the next chunk.
        for len in [1024, 700] {
            let mut pool = Pool::new(1024);
            let mut fill = || pool.fill(len, |out| Ok::<_, ()>(out.len())).unwrap();
            let (first, second) = (fill(), fill());
            let address = first.as_ptr();
            drop(first);
            // The allocator would give the block to the first who asks, if the pool had let it go.
            let other = vec![1_u8; 1024];
            assert_eq!(fill().as_ptr(), address, "{len}");
            drop((second, other));
        }
    }

    #[test]
    fn copies_and_fills_share_a_block() {
        let mut pool = Pool::new(64);
        let fill = |pool: &mut Pool, byte, len| {
            pool.fill(len, |out| {
                out.fill(byte);
                Ok::<_, ()>(out.len().min(5))
            })
        };
        let mut chunks = Vec::new();
        for byte in 0..9 {
            chunks.push(fill(&mut pool, byte, 20).unwrap());
            pool.copy(&[byte; 3], |chunk| chunks.push(chunk));
        }
        let all: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.iter().copied()).collect();
        let expected: Vec<u8> = (0..9).flat_map(|byte| [byte; 8]).collect();
        assert_eq!(all, expected);
        assert!(chunks[1].follows(&chunks[0]));
    }
}
