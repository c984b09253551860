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
    open: BytesMut,
    /// Blocks that were full when they left, oldest first: the empty tails keep their memory.
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
        Pool { block_len: block_len.max(1), open: BytesMut::new(), used: VecDeque::new() }
    }

    /// Size of a block in bytes: the longest chunk that [`Pool::fill`] makes.
    pub fn block_len(&self) -> usize {
        self.block_len
    }

    /// Copies `data` into one or more chunks, which `push` receives in order.
    pub fn copy(&mut self, mut data: &[u8], mut push: impl FnMut(Chunk)) {
        while !data.is_empty() {
            self.ensure(1);
            let room = data.len().min(self.open.len());
            self.open[..room].copy_from_slice(&data[..room]);
            push(self.cut(room));
            data = &data[room..];
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
        self.ensure(len);
        let written = write(&mut self.open[..len])?.min(len);
        Ok(self.cut(written))
    }

    fn cut(&mut self, len: usize) -> Chunk {
        Chunk::new(self.open.split_to(len).freeze(), self.block_len)
    }

    /// Makes the open block hold at least `len` writable bytes.
    fn ensure(&mut self, len: usize) {
        if self.open.len() >= len {
            return;
        }
        let mut spent = core::mem::take(&mut self.open);
        spent.clear();
        if spent.capacity() > 0 || !self.used.is_empty() {
            self.used.push_back(spent);
        }
        let reusable = self.used.front_mut().is_some_and(|block| block.try_reclaim(self.block_len));
        let mut block = if reusable { self.used.pop_front() } else { None }
            .unwrap_or_else(|| BytesMut::with_capacity(self.block_len));
        if !reusable && self.used.len() > KEPT_BLOCKS {
            self.used.pop_front();
        }
        block.resize(self.block_len, 0);
        self.open = block;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn copies_across_blocks() {
        let mut pool = Pool::new(10);
        let data: Vec<u8> = (0..35).collect();
        let mut chunks = Vec::new();
        pool.copy(&data, |chunk| chunks.push(chunk));
        assert_eq!(chunks.iter().map(|c| c.len()).collect::<Vec<_>>(), [10, 10, 10, 5]);
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
        let mut pool = Pool::new(1024);
        let mut addresses = Vec::new();
        for _ in 0..100 {
            let chunk = pool.fill(1024, |out| Ok::<_, ()>(out.len())).unwrap();
            addresses.push(chunk.as_ptr() as usize);
        }
        addresses.sort_unstable();
        addresses.dedup();
        assert!(addresses.len() < 5, "{} blocks for one chunk at a time", addresses.len());
    }
}
