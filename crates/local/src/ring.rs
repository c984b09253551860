//! One direction of a connection: a ring of bytes with one producer and one consumer, in memory that both may
//! scribble on.
//!
//! Positions count bytes since the start and never wrap in practice (64 bits); a place in the ring is a position
//! under a mask, from the memory's origin on. There are two masks: of the ring, and a wide one for a producer that finds
//! writing over memory it has used lately slow ([`crate::ways`]). In both, places of as many bytes as the ring holds
//! differ, also when the producer turns from one to the other, as the wide one is a multiple of the ring. Each side keeps its own position to itself and only publishes it; of the other's it takes one
//! reading at a time and checks it: a position may move forward only, the consumer's never beyond the
//! producer's, the producer's at most the ring's capacity ahead. Whoever finds otherwise has a [`Broken`] peer.
//!
//! To bytes something may be attached that isn't in the ring ([`Mark`], [`crate::inbox`]): the producer counts such
//! marks before it publishes their bytes, and a consumer that sees the count changed goes no further before it knows
//! where they are.

use crate::lane::Lane;
use crate::sync::atomic::Ordering;
use crate::ways::Way;
use std::collections::VecDeque;

/// From some position on the places are the wide ring's, or no longer, and before it the other's. There is one at a time:
/// what was written before the last but one has been read. Shared as a number, of which the lowest bit says which.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    at: u64,
    is_wide: bool,
}

impl Turn {
    fn shared(self) -> u64 {
        self.at << 1 | u64::from(self.is_wide)
    }

    fn from_shared(shared: u64) -> Turn {
        Turn { at: shared >> 1, is_wide: shared & 1 == 1 }
    }

    /// The place of a position, and how many bytes on from there have places side by side.
    fn place(self, memory: &impl Memory, position: u64) -> (usize, usize) {
        let is_before = position < self.at;
        let place = memory.place(position, self.is_wide != is_before);
        let to_end = memory.end(self.is_wide != is_before) - place;
        let to_turn = if is_before { self.at - position } else { u64::MAX };
        (place, usize::try_from(to_turn).map_or(to_end, |to_turn| to_end.min(to_turn)))
    }
}

/// Where bytes begin that are one side's to copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    position: u64,
    turn: Turn,
    /// Long copies to there go past the caches.
    is_past_caches: bool,
}

impl Start {
    fn after_head(self) -> Start {
        Start { position: self.position + RECORD_HEAD as u64, ..self }
    }

    /// Copies to the bytes from so many on.
    pub(crate) fn copy_in(self, memory: &impl Memory, offset: u64, mut bytes: &[u8]) {
        let mut position = self.position + offset;
        while !bytes.is_empty() {
            let (place, room) = self.turn.place(memory, position);
            let (part, rest) = bytes.split_at(bytes.len().min(room));
            if self.is_past_caches && part.len() >= LONG {
                memory.copy_past_caches(place, part);
            } else {
                memory.copy_in(place, part);
            }
            position += part.len() as u64;
            bytes = rest;
        }
    }

    /// Copies from the bytes from so many on.
    pub(crate) fn copy_out(self, memory: &impl Memory, offset: u64, mut bytes: &mut [u8]) {
        let mut position = self.position + offset;
        while !bytes.is_empty() {
            let (place, room) = self.turn.place(memory, position);
            let (part, rest) = bytes.split_at_mut(bytes.len().min(room));
            memory.copy_out(place, part);
            position += part.len() as u64;
            bytes = rest;
        }
    }
}

/// The memory of one direction. The bytes may change under whoever copies them.
pub(crate) trait Memory {
    fn lane(&self) -> &Lane;
    /// The lane of the other direction, if there is one.
    fn opposite(&self) -> &Lane {
        self.lane()
    }
    /// A power of two.
    fn capacity(&self) -> usize;
    /// The place of a position in the ring, or in the wide one.
    fn place(&self, position: u64, _is_wide: bool) -> usize {
        position as usize & (self.capacity() - 1)
    }
    /// Where places end.
    fn end(&self, _is_wide: bool) -> usize {
        self.capacity()
    }
    /// Copies to a place in the ring that has room for it to the ring's end.
    fn copy_in(&self, place: usize, bytes: &[u8]);
    /// The same without having its lines in this core's cache after that, where there is such a way.
    fn copy_past_caches(&self, place: usize, bytes: &[u8]) {
        self.copy_in(place, bytes);
    }
    /// Takes the lines of so many bytes from a place on for this core, and spoils the bytes.
    fn claim(&self, _place: usize, _len: usize) {}
    /// Takes memory for the wide ring, if it hasn't; says whether it has.
    fn widen(&self) -> bool {
        false
    }
    /// Gives the memory back that only the wide ring has, where nothing is in use.
    fn narrow(&self) {}
    /// The line at a place is read soon.
    fn fetch(&self, _place: usize) {}
    /// Copies from a place in the ring that has as much to the ring's end.
    fn copy_out(&self, place: usize, bytes: &mut [u8]);
}

/// Bytes that something is attached to, by their positions: from the first to behind the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// Marks that a producer has under way, at most.
pub(crate) const MARKS: usize = 64;
/// Descriptors that it has under way with them, at most: as many as one message may have.
pub(crate) const DESCRIPTORS: usize = 253;

/// The peer has broken the rules of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// The writing side's own view.
#[derive(Debug, Default)]
pub(crate) struct Producer {
    tail: u64,
    /// The consumer's position as last seen.
    head: u64,
    /// Where the consumer was when something found no room, since anything found some.
    full_at: Option<u64>,
    marks: u32,
    /// Where the marks begin that the consumer hasn't come to, as far as is known, and how many descriptors each has.
    marked: VecDeque<(u64, usize)>,
    turn: Turn,
    /// Long copies go past the caches.
    is_past_caches: bool,
    /// To there lines were claimed.
    claimed: u64,
}

/// A copy that is long enough for another way than the usual.
pub(crate) const LONG: usize = 2048;

/// So many bytes' lines are claimed at once for the short writes to come. Each is in the reader's cache too: taking it from there
/// takes as long as one message to the other core, which [`crate::wait::wake`] would wait for after each write, while many
/// are taken in the time of a few. (Fetching for writing does nothing for a line that the writer still has beside the reader.)
const AHEAD: usize = 1024;
/// What is left of those when the next are claimed.
const LEFT: u64 = 64;

impl Producer {
    /// Room as far as is known.
    fn room(&self, memory: &impl Memory) -> usize {
        memory.capacity() - (self.tail - self.head) as usize
    }

    /// Looks where the consumer is.
    fn look(&mut self, memory: &impl Memory) -> Result<(), Broken> {
        let head = memory.lane().consumed.position.load(Ordering::Acquire);
        if !(self.head..=self.tail).contains(&head) {
            return Err(Broken);
        }
        self.head = head;
        Ok(())
    }

    /// The consumer's position that a wait for room is about.
    pub(crate) fn seen(&self) -> u64 {
        self.head
    }

    /// Something found no room.
    pub(crate) fn note_full(&mut self) {
        self.full_at = Some(self.head);
    }

    /// Whether a write is worth a try: there is some room, and more than when the last one found too little.
    pub(crate) fn has_room(&mut self, memory: &impl Memory) -> Result<bool, Broken> {
        self.look(memory)?;
        Ok(self.room(memory) > 0 && self.full_at != Some(self.head))
    }

    /// Writes as much as there is room for, and says how much that was.
    pub(crate) fn write(&mut self, memory: &impl Memory, bytes: &[u8]) -> Result<usize, Broken> {
        if self.room(memory) < bytes.len() {
            self.look(memory)?;
        }
        let count = bytes.len().min(self.room(memory));
        self.put(memory, 0, &bytes[..count]);
        self.publish(memory, count);
        Ok(count)
    }

    /// Writes bytes as one record, if there is room for all of it; says whether there was.
    pub(crate) fn write_record(&mut self, memory: &impl Memory, bytes: &[u8]) -> Result<bool, Broken> {
        let whole = record_len(bytes.len());
        if self.room(memory) < whole {
            self.look(memory)?;
        }
        if self.room(memory) < whole {
            return Ok(false);
        }
        self.put(memory, 0, &(bytes.len() as u64).to_ne_bytes());
        self.put(memory, RECORD_HEAD as u64, bytes);
        self.publish(memory, whole);
        Ok(true)
    }

    /// The mark of so many bytes to come, or of those of them that there is room for; none where the ring is full, or too
    /// much is under way for so many more descriptors.
    pub(crate) fn plan_mark(
        &mut self,
        memory: &impl Memory,
        len: usize,
        descriptors: usize,
    ) -> Result<Option<Mark>, Broken> {
        self.look(memory)?;
        while self.marked.front().is_some_and(|(start, _)| *start < self.head) {
            self.marked.pop_front();
        }
        let under_way = self.marked.iter().map(|(_, descriptors)| descriptors).sum::<usize>();
        let is_much = self.marked.len() >= MARKS || under_way + descriptors > DESCRIPTORS;
        let count = len.min(self.room(memory));
        let mark = Mark { start: self.tail, end: self.tail + count as u64 };
        Ok((count > 0 && (!is_much || self.marked.is_empty())).then_some(mark))
    }

    /// Whether the consumer hasn't come to all marks yet.
    pub(crate) fn has_marks(&self) -> bool {
        !self.marked.is_empty()
    }

    /// Says that there is one more mark: its bytes are to be written next.
    pub(crate) fn announce_mark(&mut self, memory: &impl Memory, mark: Mark, descriptors: usize) {
        self.marks = self.marks.wrapping_add(1);
        self.marked.push_back((mark.start, descriptors));
        memory.lane().produced.marks.store(self.marks, Ordering::Release);
    }

    /// Turns to a way of long copies, as far as it can be taken now. The memory of the wide ring stays if it is to be kept.
    pub(crate) fn turn_to(&mut self, memory: &impl Memory, way: Way, keep: bool) {
        self.is_past_caches = way == Way::PastCaches;
        let is_wide = way == Way::Wide;
        let is_settled = self.head >= self.turn.at;
        if is_wide != self.turn.is_wide && is_settled {
            self.turn = Turn { at: self.tail, is_wide };
            memory.lane().produced.turn.store(self.turn.shared(), Ordering::Relaxed);
        } else if !is_wide && !keep && is_settled {
            memory.narrow();
        }
    }

    /// Claims lines for short writes to come, where so many bytes have come by them that more are likely.
    pub(crate) fn claim(&mut self, memory: &impl Memory) {
        if self.tail + LEFT <= self.claimed || self.tail < AHEAD as u64 {
            return;
        }
        let start = self.claimed.max(self.tail);
        let (place, to_end) = self.turn.place(memory, start);
        let len = AHEAD.min(to_end);
        // Nothing of what is to be read is spoilt.
        if start + len as u64 <= self.head + memory.capacity() as u64 {
            memory.claim(place, len);
            self.claimed = start + len as u64;
        }
    }

    /// Copies to `offset` bytes beyond what is published.
    fn put(&self, memory: &impl Memory, offset: u64, bytes: &[u8]) {
        self.start().copy_in(memory, offset, bytes);
    }

    /// Where bytes can be put that are published next, and how many there is room for.
    pub(crate) fn open(&mut self, memory: &impl Memory) -> Result<(Start, usize), Broken> {
        self.look(memory)?;
        Ok((self.start(), self.room(memory)))
    }

    fn start(&self) -> Start {
        Start { position: self.tail, turn: self.turn, is_past_caches: self.is_past_caches }
    }

    /// The same for a record of so many bytes, whose head is put there; none if there isn't as much room.
    pub(crate) fn open_record(&mut self, memory: &impl Memory, len: usize) -> Result<Option<Start>, Broken> {
        let (start, room) = self.open(memory)?;
        if room < record_len(len) {
            return Ok(None);
        }
        self.put(memory, 0, &(len as u64).to_ne_bytes());
        Ok(Some(start.after_head()))
    }

    pub(crate) fn publish(&mut self, memory: &impl Memory, count: usize) {
        if count > 0 {
            self.tail += count as u64;
            self.full_at = None;
            memory.lane().produced.position.store(self.tail, Ordering::Release);
        }
    }
}

/// The reading side's own view.
#[derive(Debug, Default)]
pub(crate) struct Consumer {
    head: u64,
    /// The producer's position as last seen.
    tail: u64,
    /// How far may be read now: to the next mark, or as far as there are bytes.
    limit: u64,
    /// The next mark, once it is known.
    mark: Option<Mark>,
    /// Marks that were known so far, and those that the producer has counted.
    known: u32,
    counted: u32,
    /// A read has passed a mark: it ends there.
    has_passed: bool,
    turn: Turn,
    /// Where this was when a waiting producer was last looked for.
    looked_at: u64,
    /// A producer may wait for the mark that was passed since.
    is_mark_due: bool,
}

impl Consumer {
    fn available(&self) -> usize {
        (self.limit - self.head) as usize
    }

    fn look(&mut self, memory: &impl Memory) -> Result<(), Broken> {
        let tail = memory.lane().produced.position.load(Ordering::Acquire);
        if tail < self.tail || tail - self.head > memory.capacity() as u64 {
            return Err(Broken);
        }
        self.tail = tail;
        // Told before the position. Where it is newer than that, what is known to be there comes before it.
        self.turn = Turn::from_shared(memory.lane().produced.turn.load(Ordering::Relaxed));
        // Not older than the position: it was counted before.
        self.counted = memory.lane().produced.marks.load(Ordering::Relaxed);
        if !self.is_held() {
            self.limit = tail;
        }
        Ok(())
    }

    /// Whether there are marks to mind: what is readable is known of what was there before only.
    pub(crate) fn is_held(&self) -> bool {
        self.counted != self.known || self.mark.is_some()
    }

    /// Whether it isn't known of any bytes that there are some.
    pub(crate) fn is_to_look(&self) -> bool {
        self.available() == 0
    }

    /// The position that a wait for bytes is about: there are some once the producer's is another.
    pub(crate) fn seen(&self) -> u64 {
        self.head
    }

    /// The place of the next byte.
    pub(crate) fn place(&self, memory: &impl Memory) -> usize {
        self.turn.place(memory, self.head).0
    }

    /// Whether there is nothing, looking again.
    pub(crate) fn is_empty(&mut self, memory: &impl Memory) -> Result<bool, Broken> {
        self.look(memory)?;
        Ok(self.head == self.tail)
    }

    /// Copies what there is, leaving it there.
    pub(crate) fn peek(&mut self, memory: &impl Memory, bytes: &mut [u8]) -> Result<usize, Broken> {
        if self.available() < bytes.len() {
            self.look(memory)?;
        }
        Ok(self.peek_known(memory, bytes))
    }

    /// The same of what is known to be there.
    pub(crate) fn peek_known(&self, memory: &impl Memory, bytes: &mut [u8]) -> usize {
        let count = bytes.len().min(self.available());
        self.get(memory, 0, &mut bytes[..count]);
        count
    }

    /// Copies from `offset` bytes on, all of which are known to be there.
    fn get(&self, memory: &impl Memory, offset: u64, bytes: &mut [u8]) {
        self.start().copy_out(memory, offset, bytes);
    }

    /// Where the bytes stand that are known to be there, looking again if there are none, and how many.
    pub(crate) fn open(&mut self, memory: &impl Memory) -> Result<(Start, usize), Broken> {
        if self.available() == 0 {
            self.look(memory)?;
        }
        Ok((self.start(), self.available()))
    }

    fn start(&self) -> Start {
        Start { position: self.head, turn: self.turn, is_past_caches: false }
    }

    /// The same of the next record; none if there is none.
    pub(crate) fn open_record(&mut self, memory: &impl Memory) -> Result<Option<(Start, usize)>, Broken> {
        let (start, available) = self.open(memory)?;
        if available == 0 {
            return Ok(None);
        }
        let mut head = [0; RECORD_HEAD];
        if available < head.len() {
            return Err(Broken);
        }
        // Read once: the peer may change it any time.
        self.get(memory, 0, &mut head);
        let len = u64::from_ne_bytes(head);
        if len > memory.capacity() as u64 || record_len(len as usize) > available {
            return Err(Broken);
        }
        Ok(Some((start.after_head(), len as usize)))
    }

    /// Takes the next record, or as much of it as fits, and drops the rest; none if there is no record. It stays
    /// there if it is to be kept.
    pub(crate) fn read_record(
        &mut self,
        memory: &impl Memory,
        bytes: &mut [u8],
        keep: bool,
    ) -> Result<Option<usize>, Broken> {
        let Some((_, len)) = self.open_record(memory)? else { return Ok(None) };
        let count = bytes.len().min(len);
        self.get(memory, RECORD_HEAD as u64, &mut bytes[..count]);
        if !keep {
            self.release(memory, record_len(len));
        }
        Ok(Some(count))
    }

    /// Takes what there is.
    pub(crate) fn read(&mut self, memory: &impl Memory, bytes: &mut [u8]) -> Result<usize, Broken> {
        let count = self.peek(memory, bytes)?;
        self.release(memory, count);
        Ok(count)
    }

    /// Takes what is known to be there.
    pub(crate) fn read_known(&mut self, memory: &impl Memory, bytes: &mut [u8]) -> usize {
        let count = self.peek_known(memory, bytes);
        self.release(memory, count);
        count
    }

    /// Lets a read go on to the next mark, which `find` tells where it isn't known yet; says whether it is there already,
    /// at bytes that can be read.
    pub(crate) fn approach(&mut self, find: impl FnOnce() -> Option<Mark>) -> Result<bool, Broken> {
        if self.mark.is_none() && self.counted != self.known {
            let mark = find().ok_or(Broken)?;
            self.known = self.known.wrapping_add(1);
            self.mark = Some(mark);
        }
        let Some(mark) = self.mark else {
            self.limit = self.tail;
            return Ok(false);
        };
        if mark.start < self.head || mark.end <= mark.start {
            return Err(Broken);
        }
        self.limit = mark.start.min(self.tail);
        Ok(mark.start == self.head && self.head < self.tail)
    }

    /// Lets a read go on to the end of the mark that it has come to, where it ends; the mark, which is to be taken now.
    pub(crate) fn pass(&mut self) -> Option<Mark> {
        let mark = self.mark.take()?;
        self.limit = mark.end.min(self.tail);
        self.has_passed = true;
        // The producer may wait until there are fewer.
        self.is_mark_due = true;
        Some(mark)
    }

    /// Lets a look go on to the end of the next mark.
    pub(crate) fn look_beyond(&mut self) {
        self.limit = self.mark.map_or(self.tail, |mark| mark.end.min(self.tail));
    }

    /// Has the next read look where it may go.
    pub(crate) fn halt(&mut self) {
        self.limit = self.head;
    }

    /// A read begins.
    pub(crate) fn begin(&mut self) {
        self.has_passed = false;
    }

    /// Whether the read since [`Consumer::begin`] has passed a mark.
    pub(crate) fn has_passed(&self) -> bool {
        self.has_passed
    }

    pub(crate) fn release(&mut self, memory: &impl Memory, count: usize) {
        if count > 0 {
            self.head += count as u64;
            memory.lane().consumed.position.store(self.head, Ordering::Release);
        }
    }

    /// Whether a producer that waits for room is to be looked for now: when `much` was taken since, so that nobody is woken
    /// for a few bytes of room. Nobody is forgotten: a producer of bytes waits only while the ring is full, of which `much` is a
    /// part that comes before nothing is left; one of records may wait for less, so that for it any record is much.
    pub(crate) fn is_to_look_for_writer(&mut self, much: usize) -> bool {
        let taken = self.head - self.looked_at;
        let is_due = self.is_mark_due || (taken > 0 && taken >= much as u64);
        if is_due {
            (self.looked_at, self.is_mark_due) = (self.head, false);
        }
        is_due
    }
}

/// What stands before a record: its length.
const RECORD_HEAD: usize = size_of::<u64>();

/// Bytes in the ring of a record of so many.
pub(crate) fn record_len(len: usize) -> usize {
    RECORD_HEAD + len.next_multiple_of(RECORD_HEAD)
}
