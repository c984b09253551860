//! A hierarchical timer wheel: setting and cancelling a timer takes constant time.
//!
//! Level 0 has slots of 65 µs, and each of the seven levels above has slots 64 times as long, which covers
//! all of time. An entry stands in the level of the highest bit in which its
//! deadline differs from the wheel's clock, so everything in a lower level is due before everything in a
//! higher one, and the earliest deadline is in the first used slot of the lowest used level. When the
//! clock reaches a slot, its entries move down. Timers fire in the order of their deadlines, those of one
//! deadline in the order they were set. The wheel holds ids only; entries are linked lists in one vector.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use sockeye_packet::Instant;

/// Bits of time within a slot of level 0.
const GRAIN_BITS: u32 = 16;
/// Bits of time that one level resolves.
const LEVEL_BITS: u32 = 6;
const SLOTS: usize = 1 << LEVEL_BITS;
const LEVELS: usize = 8;
/// The list of entries that are due and not taken yet.
const DUE: u16 = (LEVELS * SLOTS) as u16;
const FREE: u16 = DUE + 1;
const NONE: u32 = u32::MAX;
/// The most entries of a slot ahead among which the earliest is looked for.
const EXACT: usize = 256;
/// What [`List::least`] says of a list whose deadlines are in order: it is the head.
const IN_ORDER: u32 = NONE - 1;
/// What it says when the entry that was it has left, until somebody asks.
const UNKNOWN: u32 = NONE;
/// What it says when there were too many to look at, until the slot is reached.
const CROWDED: u32 = NONE - 2;

/// A timer that is set. Its owner drops the id when the timer fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerId(u32);

#[derive(Debug)]
struct Entry<T> {
    deadline: u64,
    token: T,
    next: u32,
    previous: u32,
    list: u16,
}

#[derive(Debug)]
struct List {
    head: u32,
    tail: u32,
    /// An entry with the earliest deadline. Most lists are in order, since most timers of one length are set one
    /// after the other. Atomic because asking remembers the answer, and changes nothing that others can see.
    least: AtomicU32,
}

impl List {
    fn new() -> List {
        List { head: NONE, tail: NONE, least: AtomicU32::new(IN_ORDER) }
    }
}

/// Timers, each with a token that says what it is for.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    /// Everything due before or at this time has been moved to the due list.
    clock: u64,
    entries: Vec<Entry<T>>,
    free: u32,
    lists: Vec<List>,
    used: [u64; LEVELS],
    sorting: Vec<(u64, u32)>,
    /// How many entries were looked at to find the earliest.
    #[cfg(test)]
    looks: AtomicU32,
}

impl<T: Copy> Wheel<T> {
    /// Bytes that one timer takes.
    #[cfg(test)]
    pub(crate) const ENTRY: usize = size_of::<Entry<T>>();

    pub(crate) fn new() -> Wheel<T> {
        Wheel {
            clock: 0,
            entries: Vec::new(),
            free: NONE,
            lists: (0..=DUE).map(|_| List::new()).collect(),
            used: [0; LEVELS],
            sorting: Vec::new(),
            #[cfg(test)]
            looks: AtomicU32::new(0),
        }
    }

    /// Sets a timer.
    pub(crate) fn set(&mut self, at: Instant, token: T) -> TimerId {
        let deadline = at.as_nanos();
        let entry = Entry { deadline, token, next: NONE, previous: NONE, list: FREE };
        let index = if self.free == NONE {
            self.entries.push(entry);
            (self.entries.len() - 1) as u32
        } else {
            let index = self.free;
            self.free = self.entries[index as usize].next;
            self.entries[index as usize] = entry;
            index
        };
        self.place(index);
        TimerId(index)
    }

    /// Cancels a timer that has not fired.
    pub(crate) fn cancel(&mut self, id: TimerId) {
        let index = id.0;
        debug_assert!(self.entries[index as usize].list != FREE, "a timer is cancelled twice");
        self.unlink(index);
        self.release(index);
    }

    /// Moves a timer that has not fired.
    #[inline]
    pub(crate) fn reset(&mut self, id: TimerId, at: Instant) {
        let entry = &mut self.entries[id.0 as usize];
        if entry.deadline != at.as_nanos() {
            entry.deadline = at.as_nanos();
            self.unlink(id.0);
            self.place(id.0);
        }
    }

    /// The deadline of a timer that has not fired.
    #[inline]
    pub(crate) fn deadline(&self, id: TimerId) -> Instant {
        Instant::from_nanos(self.entries[id.0 as usize].deadline)
    }

    /// Takes one timer that is due at `now`, the one due first.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<T> {
        if self.lists[usize::from(DUE)].head == NONE {
            self.advance(now.as_nanos());
        }
        let index = self.lists[usize::from(DUE)].head;
        if index == NONE {
            return None;
        }
        let token = self.entries[index as usize].token;
        self.unlink(index);
        self.release(index);
        Some(token)
    }

    /// When [`Wheel::pop`] next has something, and what.
    ///
    /// The deadline is exact unless more than 256 timers have shared the first used slot, and the clock is not there
    /// yet: then it may be early, by less than that slot; `pop` then finds nothing, but moves them down.
    #[inline]
    pub(crate) fn next(&self) -> Option<(Instant, T)> {
        let due = self.lists[usize::from(DUE)].head;
        let (index, at) = if due == NONE {
            let (list, start) = self.first_list()?;
            self.least(list, start).unwrap_or_else(|early| (early, start))
        } else {
            (due, self.entries[due as usize].deadline)
        };
        Some((Instant::from_nanos(at), self.entries[index as usize].token))
    }

    /// The list in which the earliest deadline is, and the time at which it starts.
    #[inline]
    fn first_list(&self) -> Option<(usize, u64)> {
        let level = self.used.iter().position(|used| *used != 0)?;
        let slot = self.first_slot(level);
        Some((level * SLOTS + slot, self.slot_start(level, slot)))
    }

    /// The earliest entry of a list that is not empty, with its deadline; or else some entry, where there are too many
    /// to look at.
    #[inline]
    fn least(&self, list: usize, start: u64) -> core::result::Result<(u32, u64), u32> {
        let List { head, ref least, .. } = self.lists[list];
        let known = match least.load(Ordering::Relaxed) {
            IN_ORDER => head,
            CROWDED if start > self.clock => return Err(head),
            CROWDED | UNKNOWN => {
                // A slot that the clock has reached, which is one of level 0, is looked at whole: there is no later
                // time to give as an early one.
                let found = self.search(head, if start > self.clock { EXACT } else { usize::MAX });
                least.store(found.unwrap_or(CROWDED), Ordering::Relaxed);
                found.ok_or(head)?
            }
            known => known,
        };
        Ok((known, self.entries[known as usize].deadline))
    }

    /// The earliest entry of the list that begins with `head`, unless there are more than `most`; of several, the one
    /// that was set first.
    fn search(&self, head: u32, most: usize) -> Option<u32> {
        let (mut index, mut best) = (head, head);
        for _ in 0..most {
            #[cfg(test)]
            self.looks.fetch_add(1, Ordering::Relaxed);
            let entry = &self.entries[index as usize];
            if entry.deadline < self.entries[best as usize].deadline {
                best = index;
            }
            index = entry.next;
            if index == NONE {
                return Some(best);
            }
        }
        None
    }

    /// The first used slot of a level, in the order in which the clock reaches them.
    fn first_slot(&self, level: usize) -> usize {
        self.used[level].trailing_zeros() as usize
    }

    fn slot_start(&self, level: usize, slot: usize) -> u64 {
        let shift = shift(level);
        let above = self.clock >> shift >> LEVEL_BITS;
        (above << LEVEL_BITS | slot as u64) << shift
    }

    /// Puts an entry in the list where its deadline belongs now.
    #[inline]
    fn place(&mut self, index: u32) {
        let deadline = self.entries[index as usize].deadline;
        // What is overdue goes where the clock looks next.
        let at = deadline.max(self.clock);
        let difference = (at ^ self.clock) >> GRAIN_BITS;
        let level = match difference {
            0 => 0,
            _ => (difference.ilog2() / LEVEL_BITS) as usize,
        };
        let slot = (at >> shift(level)) as usize % SLOTS;
        self.used[level] |= 1 << slot;
        self.link(index, (level * SLOTS + slot) as u16);
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "each segment moves a timer")]
    fn link(&mut self, index: u32, list: u16) {
        let List { head, tail, least } = &mut self.lists[usize::from(list)];
        let (previous, least) = (*tail, least.get_mut());
        *tail = index;
        let entry = &mut self.entries[index as usize];
        (entry.previous, entry.next, entry.list) = (previous, NONE, list);
        if previous == NONE {
            (*head, *least) = (index, IN_ORDER);
            return;
        }
        let deadline = entry.deadline;
        let last = &mut self.entries[previous as usize];
        last.next = index;
        if *least == IN_ORDER {
            if deadline >= last.deadline {
                return;
            }
            *least = *head;
        }
        if *least < CROWDED && deadline < self.entries[*least as usize].deadline {
            *least = index;
        }
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "each segment moves a timer")]
    fn unlink(&mut self, index: u32) {
        let Entry { next, previous, list, .. } = self.entries[index as usize];
        let ends = &mut self.lists[usize::from(list)];
        if *ends.least.get_mut() == index {
            *ends.least.get_mut() = UNKNOWN;
        }
        if previous == NONE {
            ends.head = next;
        } else {
            self.entries[previous as usize].next = next;
        }
        if next == NONE {
            ends.tail = previous;
        } else {
            self.entries[next as usize].previous = previous;
        }
        if ends.head == NONE && list < DUE {
            self.used[usize::from(list) / SLOTS] &= !(1 << (usize::from(list) % SLOTS));
        }
    }

    fn release(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        (entry.list, entry.next) = (FREE, self.free);
        self.free = index;
    }

    /// Moves the clock to `now`, and everything due by then to the due list.
    fn advance(&mut self, now: u64) {
        while let Some(level) = self.used.iter().position(|used| *used != 0) {
            let slot = self.first_slot(level);
            if level > 0 {
                let start = self.slot_start(level, slot);
                if start > now {
                    break;
                }
                self.clock = self.clock.max(start);
                self.move_down(level * SLOTS + slot);
                continue;
            }
            if self.slot_start(0, slot) > now {
                break;
            }
            self.collect(slot, now);
            if self.used[0] & (1 << slot) != 0 {
                break; // What is left in the slot is due later than now.
            }
        }
        self.set_clock(now);
    }

    /// Takes the due entries of a slot of level 0, in order.
    fn collect(&mut self, slot: usize, now: u64) {
        let mut due = core::mem::take(&mut self.sorting);
        let mut index = self.lists[slot].head;
        while index != NONE {
            let entry = &self.entries[index as usize];
            if entry.deadline <= now {
                due.push((entry.deadline, index));
            }
            index = entry.next;
        }
        due.sort_by_key(|(deadline, _)| *deadline);
        for (_, index) in due.drain(..) {
            self.unlink(index);
            self.link(index, DUE);
        }
        self.sorting = due;
    }

    fn move_down(&mut self, list: usize) {
        let mut index = self.lists[list].head;
        self.lists[list] = List::new();
        self.used[list / SLOTS] &= !(1 << (list % SLOTS));
        while index != NONE {
            let next = self.entries[index as usize].next;
            self.place(index);
            index = next;
        }
    }

    /// Moves the clock where nothing is due in between, keeping every entry in its right level.
    fn set_clock(&mut self, now: u64) {
        if now <= self.clock {
            return;
        }
        self.clock = now;
        for level in 1..LEVELS {
            let slot = (now >> shift(level)) as usize % SLOTS;
            if self.used[level] & (1 << slot) != 0 {
                self.move_down(level * SLOTS + slot);
            }
        }
    }
}

/// How many bits of time lie below a level's slot number.
fn shift(level: usize) -> u32 {
    GRAIN_BITS + LEVEL_BITS * level as u32
}

#[cfg(test)]
mod tests;
