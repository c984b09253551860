//! Chunks in order, by their position in the stream, and what they are charged.
//!
//! Invariants: entries are contiguous and not empty (parts of one chunk that arrive in order are one entry); the memory they keep alive is at most four times
//! `charged()`; taking bytes out never raises `charged()`; an empty queue owns no memory, and one of a
//! single chunk none besides it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use sockeye_packet::{Chunk, Payload};

/// What an entry is charged besides its bytes: its place here and the allocator's overhead.
pub(crate) const ENTRY_COST: usize = 64;

/// Contiguous bytes of a stream as chunks.
#[derive(Debug, Default)]
pub(crate) struct ChunkQueue {
    first: Option<Entry>,
    /// Boxed and made on demand, for most connections have at most one chunk.
    #[allow(clippy::box_collection, reason = "8 bytes in line instead of 32")]
    rest: Option<Box<VecDeque<Entry>>>,
    start: u64,
    end: u64,
    charged: usize,
}

static NO_ENTRIES: VecDeque<Entry> = VecDeque::new();

#[derive(Debug)]
struct Entry {
    start: u64,
    chunk: Chunk,
    charge: usize,
}

impl Entry {
    fn end(&self) -> u64 {
        self.start + self.chunk.len() as u64
    }
}

impl ChunkQueue {
    pub(crate) const EMPTY: ChunkQueue = ChunkQueue { first: None, rest: None, start: 0, end: 0, charged: 0 };

    /// An empty queue whose first byte will be at `position`.
    pub(crate) fn at(position: u64) -> ChunkQueue {
        ChunkQueue { start: position, end: position, ..ChunkQueue::default() }
    }

    /// Position of the first byte.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// An empty queue begins again at the first position.
    pub(crate) fn rewind(&mut self) {
        debug_assert!(self.is_empty() && self.rest.is_none() && self.charged == 0);
        (self.start, self.end) = (0, 0);
    }

    /// Position after the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Bytes in the queue.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Number of chunks.
    pub(crate) fn count(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest().len()
    }

    /// What the memory kept alive is charged.
    #[inline]
    pub(crate) fn charged(&self) -> usize {
        self.charged
    }

    /// The first chunk.
    pub(crate) fn front(&self) -> Option<&Chunk> {
        self.first.as_ref().map(|entry| &entry.chunk)
    }

    /// The last chunk.
    pub(crate) fn back(&self) -> Option<&Chunk> {
        self.rest().back().or(self.first.as_ref()).map(|entry| &entry.chunk)
    }

    /// The entries behind the first.
    fn rest(&self) -> &VecDeque<Entry> {
        self.rest.as_deref().unwrap_or(&NO_ENTRIES)
    }

    /// What [`push_back`](ChunkQueue::push_back) would charge.
    #[inline]
    pub(crate) fn cost(&self, chunk: &Chunk) -> usize {
        match self.back() {
            Some(back) if back.joins(chunk) => chunk.len(),
            // Who follows shares a block that the first of the run is charged for.
            Some(back) if chunk.follows(back) => ENTRY_COST + chunk.len(),
            _ => ENTRY_COST + chunk.len().max(chunk.block_len() / 4),
        }
    }

    /// Appends a chunk; nothing, if it is empty. One that continues the last chunk makes no entry.
    #[inline]
    pub(crate) fn push_back(&mut self, chunk: Chunk) {
        if chunk.is_empty() {
            return;
        }
        let (start, charge) = (self.end, self.cost(&chunk));
        self.charged += charge;
        self.end += chunk.len() as u64;
        let last = self.rest.as_mut().and_then(|rest| rest.back_mut());
        let Some(back) = last.or(self.first.as_mut()) else {
            self.first = Some(Entry { start, chunk, charge });
            return;
        };
        match back.chunk.join(chunk) {
            Ok(()) => back.charge += charge,
            Err(chunk) => self.rest.get_or_insert_default().push_back(Entry { start, chunk, charge }),
        }
    }

    /// Takes the first chunk.
    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<Chunk> {
        let Entry { start: _, chunk, mut charge } = self.first.take()?;
        self.start += chunk.len() as u64;
        self.first = self.rest.as_mut().and_then(|rest| rest.pop_front());
        match &mut self.first {
            // The next one still pins the block, which only the first of the run was charged for.
            Some(next) if next.chunk.follows(&chunk) => {
                let carried = charge.saturating_sub(ENTRY_COST).min(chunk.block_len() / 4);
                next.charge += carried;
                charge -= carried;
            }
            Some(_) => {}
            None => self.rest = None,
        }
        self.charged -= charge;
        Some(chunk)
    }

    /// Takes the last chunk.
    pub(crate) fn pop_back(&mut self) -> Option<Chunk> {
        let entry = self.rest.as_mut().and_then(|rest| rest.pop_back()).or_else(|| self.first.take())?;
        if self.first.is_none() {
            self.rest = None;
        }
        self.end = entry.start;
        self.charged -= entry.charge;
        Some(entry.chunk)
    }

    /// Takes up to `max` bytes off the front.
    #[inline]
    pub(crate) fn take(&mut self, max: usize) -> Payload {
        // What is read as it arrived is moved once: moving what was just written stalls the processor.
        if self.len() <= max
            && self.rest.is_none()
            && let Some(only) = &mut self.first
        {
            let chunk = core::mem::take(&mut only.chunk);
            self.first = None;
            (self.start, self.charged) = (self.end, 0);
            return Payload::from(chunk);
        }
        self.take_parts(max)
    }

    fn take_parts(&mut self, max: usize) -> Payload {
        let mut taken = match &self.first {
            Some(first) if first.chunk.len() <= max => Payload::from(self.pop_front().unwrap_or_default()),
            _ => Payload::EMPTY,
        };
        let mut left = max - taken.len();
        while left > 0 {
            let Some(first) = &mut self.first else { break };
            if first.chunk.len() > left {
                first.start += left as u64;
                self.start = first.start;
                taken.push(first.chunk.split_to(left));
                break;
            }
            left -= first.chunk.len();
            taken.extend(self.pop_front());
        }
        taken
    }

    /// Drops `count` bytes, at most all, off the front.
    #[inline]
    pub(crate) fn skip(&mut self, mut count: usize) {
        while let Some(first) = &mut self.first
            && count > 0
        {
            if first.chunk.len() > count {
                first.start += count as u64;
                self.start = first.start;
                first.chunk.advance(count);
                break;
            }
            count -= first.chunk.len();
            self.pop_front();
        }
    }

    /// Appends all of `other`, which must start where this queue ends.
    pub(crate) fn append(&mut self, mut other: ChunkQueue) {
        debug_assert_eq!(self.end, other.start());
        if self.is_empty() {
            *self = other;
            return;
        }
        self.charged += other.charged;
        self.end = other.end;
        let rest = self.rest.get_or_insert_default();
        rest.extend(other.first.take());
        if let Some(other) = &mut other.rest {
            rest.append(other);
        }
    }

    /// Puts all of `other`, which must end where this queue starts, before it.
    pub(crate) fn prepend(&mut self, mut other: ChunkQueue) {
        debug_assert_eq!(other.end, self.start);
        self.charged += other.charged;
        self.start = other.start;
        let mut rest = other.rest.take();
        while let Some(entry) = rest.as_mut().and_then(|rest| rest.pop_back()).or_else(|| other.first.take())
        {
            if let Some(first) = self.first.replace(entry) {
                self.rest.get_or_insert_default().push_front(first);
            }
        }
    }

    /// The bytes from `start` to `end`, both positions, if the first chunk holds them all.
    #[inline]
    pub(crate) fn part_of_first(&self, start: u64, end: u64) -> Option<Chunk> {
        let first = self.first.as_ref().filter(|first| first.start <= start && end <= first.end())?;
        Some(first.chunk.slice((start - first.start) as usize..(end - first.start) as usize))
    }

    /// The parts of the chunks that hold the bytes from `start` to `end`, both positions, in order.
    pub(crate) fn range(&self, start: u64, end: u64) -> impl Iterator<Item = Chunk> {
        let in_first = self.first.iter().filter(move |entry| entry.end() > start);
        let rest = self.rest();
        let skipped = rest.partition_point(|entry| entry.end() <= start);
        in_first.chain(rest.range(skipped..)).take_while(move |entry| entry.start < end).map(move |entry| {
            let from = start.saturating_sub(entry.start) as usize;
            let to = (end - entry.start).min(entry.chunk.len() as u64) as usize;
            entry.chunk.slice(from..to)
        })
    }
}

#[cfg(test)]
mod tests;
