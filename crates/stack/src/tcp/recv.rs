//! Bytes that have arrived: in order for the reader, and ahead of a hole (RFC 9293 §3.4, RFC 2018).
//!
//! Offsets count from RCV.NXT. What arrived first stays: bytes that arrive again are reported as duplicate
//! and dropped. Invariants: islands (contiguous bytes behind a hole) are sorted, don't touch each other and
//! lie beyond RCV.NXT; memory kept alive is at most four times `charged()`; one insert moves at most its own
//! chunks and those of islands that it joins, each of which ends there.

use super::queue::{ChunkQueue, ENTRY_COST};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use core::ops::Range;
use sockeye_packet::{Chunk, Payload};

/// Blocks that fit in a SACK option (RFC 2018 §3).
pub(crate) const MAX_SACK_RANGES: usize = 4;
/// More holes than this are not kept track of: what would make one more is dropped, and sent again.
const MAX_ISLANDS: usize = 512;
/// What an island is charged besides its chunks.
const ISLAND_COST: usize = 256;
/// Shorter chunks are copied behind one another when they would pin much more than themselves.
const SMALL_LEN: usize = 512;
/// So are these, when the reader leaves many chunks unread anyway.
const TINY_LEN: usize = 128;
/// How many "many" is.
const MANY_CHUNKS: usize = 8;
/// The open tail is closed rather than grown beyond this.
const TAIL_LEN: usize = 16 * 1024;

/// The receive queue of one connection.
#[derive(Debug, Default)]
pub(crate) struct RecvBuffer {
    /// In order, unread. Positions count from the first byte of the stream.
    ready: ChunkQueue,
    /// Small chunks in order behind `ready`, copied.
    tail: Vec<u8>,
    /// How many bytes at the end of `ready` follow each other in one block, and have not been weighed yet.
    run_len: usize,
    /// Boxed, for most connections have no holes.
    ahead: Option<Box<Ahead>>,
}

/// What has arrived behind holes.
#[derive(Debug, Default)]
struct Ahead {
    islands: VecDeque<ChunkQueue>,
    /// Sums over `islands`.
    len: usize,
    charge: usize,
    /// A position inside each of the latest islands, most recent first.
    recent: ArrayVec<u64, MAX_SACK_RANGES>,
}

/// What [`RecvBuffer::insert`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inserted {
    /// By how much RCV.NXT moves.
    pub(crate) advanced: u32,
    /// The first run of bytes that had arrived before, relative to RCV.NXT before the insert (RFC 2883).
    pub(crate) duplicate: Option<Range<u32>>,
    /// Whether some bytes were dropped because of a limit: they must not be acknowledged.
    pub(crate) dropped: bool,
}

impl RecvBuffer {
    pub(super) const EMPTY: RecvBuffer =
        RecvBuffer { ready: ChunkQueue::EMPTY, tail: Vec::new(), run_len: 0, ahead: None };

    /// Bytes in order that wait for the reader.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.ready.len() + self.tail.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An empty buffer is as good as a new one from here on.
    pub(super) fn rewind(&mut self) {
        self.ready.rewind();
        self.tail = Vec::new();
        self.run_len = 0;
        self.ahead = None;
    }

    /// How many of them lie together at the front; none when there are none.
    pub(crate) fn front_len(&self) -> Option<usize> {
        let tail = (!self.tail.is_empty()).then_some(self.tail.len());
        self.ready.front().map(Chunk::len).or(tail)
    }

    /// Bytes that wait for a hole before them to be filled.
    #[inline]
    pub(crate) fn out_of_order_len(&self) -> usize {
        self.ahead.as_ref().map_or(0, |ahead| ahead.len)
    }

    /// What the memory kept alive is charged: at least a quarter of it. Reading never raises it.
    #[inline]
    pub(crate) fn charged(&self) -> usize {
        self.charged_in_order() + self.ahead.as_ref().map_or(0, |ahead| ahead.charged())
    }

    #[inline]
    fn charged_in_order(&self) -> usize {
        // The tail is charged what its chunk will be.
        let tail = if self.tail.is_empty() { 0 } else { self.tail.len() + ENTRY_COST };
        self.ready.charged() + tail
    }

    /// Takes in bytes that start `offset` after RCV.NXT and lie in the window, unless that would raise
    /// [`charged`](RecvBuffer::charged) beyond `limit`.
    ///
    /// Bytes in order displace those behind holes (RFC 2018 §8 allows that), and an empty buffer takes them
    /// whatever the limit, so that the stream always proceeds.
    #[inline]
    pub(crate) fn insert(&mut self, offset: u32, payload: &mut Payload, limit: usize) -> Inserted {
        if offset == 0
            && self.ahead.is_none()
            && let Some(chunk) = payload.take_single()
        {
            // By far the most: the next bytes, in one piece.
            let len = chunk.len() as u32;
            let fits = self.append(chunk, limit);
            return Inserted { advanced: if fits { len } else { 0 }, duplicate: None, dropped: !fits };
        }
        self.insert_any(offset, core::mem::take(payload), limit)
    }

    fn insert_any(&mut self, offset: u32, payload: Payload, limit: usize) -> Inserted {
        let mut inserted = Inserted::default();
        if payload.is_empty() {
            return inserted;
        }
        let next = self.next();
        if offset == 0 && self.ahead.is_none() {
            self.append_all(payload, limit, &mut inserted);
            inserted.advanced = (self.next() - next) as u32;
        } else if offset == 0 {
            let gap = self.first_island().map_or(u64::MAX, |island| island.start() - next);
            let fresh = gap.min(payload.len() as u64) as usize;
            if fresh == payload.len() {
                self.append_all(payload, limit, &mut inserted);
            } else {
                self.append_all(payload.slice(0, fresh), limit, &mut inserted);
                if !inserted.dropped {
                    let rest = payload.slice(fresh, payload.len());
                    self.insert_ahead(next, next + fresh as u64, &rest, limit, &mut inserted);
                }
            }
            self.join_ready();
            inserted.advanced = (self.next() - next) as u32;
        } else {
            self.insert_ahead(next, next + u64::from(offset), &payload, limit, &mut inserted);
        }
        inserted
    }

    /// Takes up to `max` bytes off the front.
    #[inline]
    pub(crate) fn read(&mut self, max: usize) -> Payload {
        if max > self.ready.len() {
            self.close_tail();
        }
        let payload = self.ready.take(max);
        self.run_len = self.run_len.min(self.ready.len());
        payload
    }

    /// The first bytes, up to `max`, which stay.
    pub(crate) fn peek(&mut self, max: usize) -> Payload {
        if max > self.ready.len() {
            self.close_tail();
        }
        let start = self.ready.start();
        self.ready.range(start, start.saturating_add(max as u64)).collect()
    }

    /// The islands to report, relative to RCV.NXT: that of the latest segment first, then those reported
    /// most recently (RFC 2018 §4).
    pub(crate) fn sack_ranges(&self) -> ArrayVec<Range<u32>, MAX_SACK_RANGES> {
        let next = self.next();
        let mut ranges = ArrayVec::<Range<u32>, MAX_SACK_RANGES>::new();
        let Some(ahead) = &self.ahead else { return ranges };
        for island in ahead.recent.iter().filter_map(|&position| ahead.island_at(position)) {
            let range = (island.start() - next) as u32..(island.end() - next) as u32;
            if !ranges.contains(&range) {
                ranges.push(range);
            }
        }
        ranges
    }

    /// Position of RCV.NXT.
    fn next(&self) -> u64 {
        self.ready.end() + self.tail.len() as u64
    }
}

/// In order.
impl RecvBuffer {
    fn append_all(&mut self, payload: Payload, limit: usize, inserted: &mut Inserted) {
        let (first, rest) = payload.into_parts();
        inserted.dropped =
            !self.append(first, limit) || !rest.into_iter().all(|chunk| self.append(chunk, limit));
    }

    /// Appends a chunk at RCV.NXT; says whether it fitted.
    #[inline]
    fn append(&mut self, mut chunk: Chunk, limit: usize) -> bool {
        if self.charged() + self.ready.cost(&chunk) > limit {
            self.weigh_run();
            chunk = chunk.compact();
            if !self.make_room(chunk.len() + ENTRY_COST, limit) {
                return false;
            }
        }
        if self.tail.is_empty() && self.ready.back().is_some_and(|back| chunk.follows(back)) {
            self.run_len += chunk.len();
            self.ready.push_back(chunk);
            return true;
        }
        self.weigh_run();
        let small = chunk.len() < SMALL_LEN && chunk.is_wasteful();
        let tiny = chunk.len() < TINY_LEN && self.ready.count() >= MANY_CHUNKS;
        if small || tiny {
            if self.tail.len() + chunk.len() > TAIL_LEN {
                self.close_tail();
            }
            self.tail.extend_from_slice(&chunk);
        } else {
            self.close_tail();
            self.run_len = chunk.len();
            self.ready.push_back(chunk);
        }
        true
    }

    /// A run of chunks in one block is over: copies it out if it is less than a quarter of the block.
    ///
    /// Until then it is only charged for the quarter, since usually the reader comes, or the next chunk
    /// follows in memory, before a copy is worth making.
    fn weigh_run(&mut self) {
        let len = core::mem::take(&mut self.run_len);
        let block = self.ready.back().map_or(0, Chunk::block_len);
        if len == 0 || len >= block / 4 {
            return;
        }
        let (start, mut run) = (self.ready.end() - len as u64, Vec::new());
        while self.ready.end() > start {
            run.extend(self.ready.pop_back());
        }
        let mut copy = Vec::with_capacity(len);
        run.iter().rev().for_each(|chunk| copy.extend_from_slice(chunk));
        self.ready.push_back(Chunk::from(copy));
    }

    /// Drops islands, the farthest first, until `cost` fits; says whether it does, or must.
    fn make_room(&mut self, cost: usize, limit: usize) -> bool {
        while self.charged() + cost > limit {
            let Some(ahead) = &mut self.ahead else { break };
            let Some(island) = ahead.islands.pop_back() else { break };
            ahead.forget(&island);
        }
        self.charged() + cost <= limit || self.is_empty()
    }

    fn close_tail(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        // Growing by doubling, its capacity is less than twice its length: as good as a block of its own.
        let tail = core::mem::take(&mut self.tail);
        self.ready.push_back(Chunk::new(tail.into(), 0));
        self.run_len = 0;
    }

    /// Moves the islands that RCV.NXT has reached to the reader.
    fn join_ready(&mut self) {
        while self.first_island().is_some_and(|island| island.start() == self.next()) {
            let Some(ahead) = &mut self.ahead else { return };
            let Some(island) = ahead.islands.pop_front() else { return };
            ahead.forget(&island);
            self.weigh_run();
            self.close_tail();
            self.ready.append(island);
        }
        if self.first_island().is_none() {
            self.ahead = None;
        }
    }

    fn first_island(&self) -> Option<&ChunkQueue> {
        self.ahead.as_ref()?.islands.front()
    }

    /// Puts what is new of `payload`, which starts at position `start`, behind the holes. `base` is what
    /// `inserted` is relative to.
    fn insert_ahead(
        &mut self,
        base: u64,
        start: u64,
        payload: &Payload,
        limit: usize,
        inserted: &mut Inserted,
    ) {
        let limit = limit.saturating_sub(self.charged_in_order());
        let ahead = self.ahead.get_or_insert_default();
        ahead.insert(base, start, payload, limit, inserted);
        if ahead.islands.is_empty() {
            self.ahead = None;
        }
    }
}

/// Behind a hole. Limits are on [`Ahead::charged`].
impl Ahead {
    #[inline]
    fn charged(&self) -> usize {
        self.charge + self.islands.len() * ISLAND_COST
    }

    fn forget(&mut self, island: &ChunkQueue) {
        self.len -= island.len();
        self.charge -= island.charged();
    }

    /// Puts what is new of `payload`, which starts at position `start`, between the islands. `base` is what
    /// `inserted` is relative to.
    fn insert(&mut self, base: u64, start: u64, payload: &Payload, limit: usize, inserted: &mut Inserted) {
        let end = start + payload.len() as u64;
        let part = |from: u64, to: u64| payload.slice((from - start) as usize, (to - start) as usize);
        // The first island that reaches `start`, if only to touch it.
        let at = self.islands.partition_point(|island| island.end() < start);
        let mut position = start;
        while position < end {
            let island = self.islands.get(at).map(|island| island.start()..island.end());
            match island {
                Some(island) if island.start <= position => {
                    let known = island.end.min(end);
                    if known > position {
                        let range = (position - base) as u32..(known - base) as u32;
                        inserted.duplicate.get_or_insert(range);
                        position = known;
                    }
                    let stop = self.islands.get(at + 1).map_or(end, |after| after.start().min(end));
                    if position < stop && !self.extend(at, part(position, stop), limit) {
                        inserted.dropped = true;
                        break;
                    }
                    position = position.max(stop);
                    self.merge_after(at);
                }
                island => {
                    let stop = island.map_or(end, |island| island.start.min(end));
                    if !self.insert_island(at, position, part(position, stop), limit) {
                        inserted.dropped = true;
                        break;
                    }
                    position = stop;
                    self.merge_after(at);
                }
            }
        }
        self.note_recent(start);
    }

    /// Appends to an island, in copies where its chunks would be wasteful; says whether all fitted.
    fn extend(&mut self, at: usize, payload: Payload, limit: usize) -> bool {
        for chunk in payload {
            let charged = self.charged();
            let island = &mut self.islands[at];
            let follows = island.back().is_some_and(|back| chunk.follows(back));
            let chunk = if follows { chunk } else { chunk.compact() };
            let cost = island.cost(&chunk);
            if charged + cost > limit {
                return false;
            }
            self.len += chunk.len();
            self.charge += cost;
            island.push_back(chunk);
        }
        true
    }

    /// Makes an island of `payload` before the one at `at`, to which it is joined if they touch.
    fn insert_island(&mut self, at: usize, position: u64, payload: Payload, limit: usize) -> bool {
        let end = position + payload.len() as u64;
        let touches = self.islands.get(at).is_some_and(|island| island.start() == end);
        let full = self.islands.len() >= MAX_ISLANDS && !touches;
        if full || self.charged() + ISLAND_COST > limit {
            return false;
        }
        self.islands.insert(at, ChunkQueue::at(position));
        let complete = self.extend(at, payload, limit);
        if self.islands[at].is_empty() {
            self.islands.remove(at);
        }
        complete
    }

    /// Joins an island and the next if they touch, moving the one of fewer chunks.
    fn merge_after(&mut self, at: usize) {
        let touch = match (self.islands.get(at), self.islands.get(at + 1)) {
            (Some(left), Some(right)) => left.end() == right.start(),
            _ => false,
        };
        if !touch {
            return;
        }
        let Some(right) = self.islands.remove(at + 1) else { return };
        let left = &mut self.islands[at];
        if left.count() >= right.count() {
            left.append(right);
        } else {
            let left = core::mem::replace(left, right);
            self.islands[at].prepend(left);
        }
    }

    /// The island of the latest segment is to be reported first.
    fn note_recent(&mut self, position: u64) {
        let Some(island) = self.island_at(position).map(|island| island.start()..island.end()) else {
            return;
        };
        let mut others = core::mem::take(&mut self.recent);
        others.retain(|other| !island.contains(other) && self.island_at(*other).is_some());
        others.truncate(MAX_SACK_RANGES - 1);
        others.insert(0, position);
        self.recent = others;
    }

    fn island_at(&self, position: u64) -> Option<&ChunkQueue> {
        let at = self.islands.partition_point(|island| island.end() <= position);
        self.islands.get(at).filter(|island| island.start() <= position)
    }
}

#[cfg(any(test, feature = "fuzzing"))]
mod check;
#[cfg(test)]
mod tests;
