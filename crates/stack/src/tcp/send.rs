//! Bytes that the user has sent and the peer has not acknowledged, from SND.UNA on.
//!
//! Large chunks are kept as they are. Small ones are copied behind one another into an open tail, so that
//! one-byte writes don't make chunks; the tail is closed when a segment is to refer to its bytes.
//! Invariant: the tail's bytes come after all chunks.

use super::queue::{ChunkQueue, ENTRY_COST};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use sockeye_packet::{Chunk, Payload};

/// From this length on a chunk is kept instead of copied.
const KEPT_LEN: usize = 2048;
/// The open tail is closed rather than grown beyond this.
const TAIL_LEN: usize = 16 * 1024;
/// A slice of more parts than this is copied into one, if they are small on average.
const MAX_PARTS: usize = 16;
/// What counts as small for this.
const SMALL_PART: usize = 512;

/// The send queue of one connection. Offsets count from SND.UNA.
#[derive(Debug, Default)]
pub(crate) struct SendBuffer {
    queue: ChunkQueue,
    tail: Vec<u8>,
    /// Where records end (`MSG_EOR`): positions behind their last bytes, in order, all after SND.UNA. Made on
    /// demand.
    #[allow(clippy::box_collection, reason = "8 bytes in line instead of 32")]
    record_ends: Option<Box<VecDeque<u64>>>,
    /// Where the segment begins that the last bytes were gathered into.
    last_segment: u64,
}

/// What the end of a record is charged: its place in a list that grows by doubling.
const RECORD_COST: usize = 16;

impl SendBuffer {
    pub(super) const EMPTY: SendBuffer =
        SendBuffer { queue: ChunkQueue::EMPTY, tail: Vec::new(), record_ends: None, last_segment: 0 };

    /// Bytes held.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.queue.len() + self.tail.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An empty buffer is as good as a new one from here on.
    pub(super) fn rewind(&mut self) {
        self.queue.rewind();
        self.tail = Vec::new();
        self.record_ends = None;
        self.last_segment = 0;
    }

    /// What the memory kept alive is charged: at least a quarter of it. Changed by
    /// [`push`](SendBuffer::push), [`end_record`](SendBuffer::end_record) and
    /// [`advance`](SendBuffer::advance) only.
    #[inline]
    pub(crate) fn charged(&self) -> usize {
        // The tail is charged what its chunk will be.
        let tail = if self.tail.is_empty() { 0 } else { self.tail.len() + ENTRY_COST };
        let ends = self.record_ends.as_ref().map_or(0, |ends| ends.len() * RECORD_COST);
        self.queue.charged() + tail + ends
    }

    /// The last byte ends a record.
    pub(crate) fn end_record(&mut self) {
        let end = self.queue.start() + self.len() as u64;
        self.last_segment = end;
        let ends = self.record_ends.get_or_insert_default();
        if ends.back() != Some(&end) {
            ends.push_back(end);
        }
    }

    /// The bytes from `offset` to the end of the record that holds it; none if that record is still open.
    pub(crate) fn left_of_record(&self, offset: usize) -> Option<usize> {
        let ends = self.record_ends.as_deref()?;
        let at = self.queue.start() + offset as u64;
        let next = ends.partition_point(|end| *end <= at);
        ends.get(next).map(|end| (end - at) as usize)
    }

    /// Whether a record ends anywhere in it.
    #[inline]
    pub(crate) fn has_records(&self) -> bool {
        self.record_ends.is_some()
    }

    /// How many records end behind `offset`.
    pub(crate) fn records_from(&self, offset: usize) -> usize {
        let at = self.queue.start() + offset as u64;
        self.record_ends.as_deref().map_or(0, |ends| ends.len() - ends.partition_point(|end| *end <= at))
    }

    /// Where the segment begins that the last bytes were gathered into, at most the end: then nothing is to
    /// be added to it.
    pub(crate) fn last_segment(&self) -> usize {
        (self.last_segment.saturating_sub(self.queue.start()) as usize).min(self.len())
    }

    /// The last bytes are gathered into a segment that begins at `offset`.
    #[inline]
    pub(crate) fn set_last_segment(&mut self, offset: usize) {
        self.last_segment = self.queue.start() + offset.min(self.len()) as u64;
    }

    /// Whether a record ends before `offset`.
    pub(crate) fn is_record_end(&self, offset: usize) -> bool {
        let at = self.queue.start() + offset as u64;
        self.record_ends.as_deref().is_some_and(|ends| ends.binary_search(&at).is_ok())
    }

    /// Takes bytes off the front of `chunks` until `limit` bytes are held; returns how many it took.
    #[inline]
    pub(crate) fn push(&mut self, chunks: &mut VecDeque<Chunk>, limit: usize) -> usize {
        let before = self.len();
        while let Some(front) = chunks.front_mut() {
            let room = limit.saturating_sub(self.len());
            if front.len() > room {
                if room > 0 {
                    let part = front.split_to(room);
                    self.append(part);
                }
                break;
            }
            if let Some(chunk) = chunks.pop_front() {
                self.append(chunk);
            }
        }
        self.len() - before
    }

    /// `len` bytes from `offset` on, or as many as there are, to be sent or sent again.
    #[inline]
    pub(crate) fn slice(&mut self, offset: usize, len: usize) -> Payload {
        let end = offset.saturating_add(len).min(self.len());
        if end <= offset {
            return Payload::EMPTY;
        }
        if end > self.queue.len() {
            self.close_tail();
        }
        let base = self.queue.start();
        let (start, end) = (base + offset as u64, base + end as u64);
        if let Some(part) = self.queue.part_of_first(start, end) {
            return part.into();
        }
        let mut payload = Payload::EMPTY;
        for (parts, part) in self.queue.range(start, end).enumerate() {
            if parts == MAX_PARTS && payload.len() < MAX_PARTS * SMALL_PART {
                return self.copy_out(start, end).into();
            }
            payload.push(part);
        }
        payload
    }

    /// Frees the first `count` bytes, which the peer has acknowledged.
    #[inline]
    pub(crate) fn advance(&mut self, count: usize) {
        if count > self.queue.len() {
            self.close_tail();
        }
        self.queue.skip(count);
        if let Some(ends) = &mut self.record_ends {
            let start = self.queue.start();
            while ends.pop_front_if(|end| *end <= start).is_some() {}
            if ends.is_empty() {
                self.record_ends = None;
            }
        }
    }

    #[inline]
    fn append(&mut self, chunk: Chunk) {
        if chunk.len() >= KEPT_LEN {
            self.close_tail();
            self.queue.push_back(chunk);
            return;
        }
        // The only chunk may be small, for most messages are sent before the next; but it pins no large block. A copy
        // is made in the tail, where the processor needn't have it before it goes on: moving a chunk whose bytes go to
        // memory that is in no cache would wait for them.
        if self.is_empty() && (chunk.len() <= Chunk::FEW || !chunk.is_wasteful()) {
            self.queue.push_back(chunk.compact());
            return;
        }
        if self.tail.is_empty() {
            self.tail = chunk.to_vec();
            return;
        }
        if self.tail.len() + chunk.len() > TAIL_LEN {
            self.close_tail();
        }
        self.tail.extend_from_slice(&chunk);
    }

    /// Makes a chunk of the tail, without changing what is charged.
    fn close_tail(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        // Growing by doubling, its capacity is less than twice its length: as good as a block of its own.
        let tail = core::mem::take(&mut self.tail);
        self.queue.push_back(Chunk::new(tail.into(), 0));
    }

    fn copy_out(&self, start: u64, end: u64) -> Chunk {
        let mut bytes = Vec::with_capacity((end - start) as usize);
        self.queue.range(start, end).for_each(|part| bytes.extend_from_slice(&part));
        Chunk::from(bytes)
    }
}

#[cfg(test)]
mod tests;
