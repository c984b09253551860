//! A generational slab: entries found by number, which never move.
//!
//! Entries live in pages of [`PAGE`], so growing to a million of them copies none. A key carries the
//! generation of its slot: the key of a removed entry finds nothing, also after the slot is used again.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// Slots per page.
const PAGE: usize = 32;
/// The end of the list of free slots.
const NONE: u32 = u32::MAX;

/// Where an entry of a [`Slab`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The key as one number, for people and tables outside.
    pub(crate) fn as_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The number of its slot.
    pub(crate) fn index(self) -> u32 {
        self.index
    }

    /// The key of a number that [`Key::as_u64`] gave.
    pub(crate) fn from_u64(number: u64) -> Key {
        Key { index: number as u32, generation: (number >> 32) as u32 }
    }
}

/// Laid out as it stands here: beside the generation is what a value has first.
#[derive(Debug)]
#[repr(C)]
struct Slot<T> {
    generation: u32,
    /// The next free slot, while this one is free.
    next_free: u32,
    value: Option<T>,
}

/// Entries of one type, found by [`Key`] in constant time.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    pages: Vec<Box<[Slot<T>]>>,
    first_free: u32,
    len: usize,
    /// The generation that new slots start with.
    first_generation: u32,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab { pages: Vec::new(), first_free: NONE, len: 0, first_generation: 0 }
    }
}

impl<T> Slab<T> {
    /// Bytes that one entry takes.
    #[cfg(test)]
    pub(crate) const ENTRY: usize = size_of::<Slot<T>>();

    /// An empty slab in which no key of this one finds anything.
    pub(crate) fn successor(&self) -> Slab<T> {
        let generations = self.pages.iter().flat_map(|page| page.iter()).map(|slot| slot.generation);
        let first_generation = generations.fold(self.first_generation, u32::max).wrapping_add(1);
        Slab { first_generation, ..Slab::default() }
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Puts `value` in a slot of its own.
    pub(crate) fn insert(&mut self, value: T) -> Key {
        if self.first_free == NONE {
            self.grow();
        }
        let index = self.first_free;
        let slot = &mut self.pages[index as usize / PAGE][index as usize % PAGE];
        self.first_free = slot.next_free;
        slot.value = Some(value);
        self.len += 1;
        Key { index, generation: slot.generation }
    }

    /// Takes the entry out; its key finds nothing from now on.
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let first_free = self.first_free;
        let slot = self.slot_mut(key)?;
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        slot.next_free = first_free;
        self.first_free = key.index;
        self.len -= 1;
        Some(value)
    }

    /// The entry, if it is still there.
    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let slot = self.pages.get(key.index as usize / PAGE)?.get(key.index as usize % PAGE)?;
        if slot.generation == key.generation { slot.value.as_ref() } else { None }
    }

    /// The entry, if it is still there.
    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slot_mut(key)?.value.as_mut()
    }

    /// The entry in a slot, whatever its generation, with its key.
    #[inline]
    pub(crate) fn at(&self, index: u32) -> Option<(Key, &T)> {
        let slot = self.pages.get(index as usize / PAGE)?.get(index as usize % PAGE)?;
        slot.value.as_ref().map(|value| (Key { index, generation: slot.generation }, value))
    }

    /// All entries with their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        let slots = self.pages.iter().flat_map(|page| page.iter()).enumerate();
        slots.filter_map(|(index, slot)| {
            let key = Key { index: index as u32, generation: slot.generation };
            slot.value.as_ref().map(|value| (key, value))
        })
    }

    /// The first entry from a place in the table on, and its place.
    pub(crate) fn at_or_after(&self, index: u32) -> Option<(u32, (Key, &T))> {
        let slot = |at: u32| self.pages.get(at as usize / PAGE).map(|page| &page[at as usize % PAGE]);
        (index..=u32::MAX).map_while(|at| slot(at).map(|slot| (at, slot))).find_map(|(index, slot)| {
            let key = Key { index, generation: slot.generation };
            slot.value.as_ref().map(|value| (index, (key, value)))
        })
    }

    #[inline]
    fn slot_mut(&mut self, key: Key) -> Option<&mut Slot<T>> {
        let page = self.pages.get_mut(key.index as usize / PAGE)?;
        page.get_mut(key.index as usize % PAGE).filter(|slot| slot.generation == key.generation)
    }

    fn grow(&mut self) {
        let start = (self.pages.len() * PAGE) as u32;
        let end = start + PAGE as u32;
        let page = (start..end).map(|index| Slot {
            generation: self.first_generation,
            next_free: if index + 1 == end { NONE } else { index + 1 },
            value: None,
        });
        self.pages.push(page.collect());
        self.first_free = start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_successor_knows_no_key_of_those_before() {
        let mut slab = Slab::default();
        let old = [slab.insert('a'), slab.insert('b')];
        slab.remove(old[0]);
        let reused = slab.insert('c');
        let mut next = slab.successor();
        next.insert('d');
        let mut last = next.successor();
        last.insert('e');
        last.insert('f');
        for key in [old[0], old[1], reused] {
            assert_eq!([next.get(key), last.get(key)], [None, None]);
        }
    }

    #[test]
    fn a_reused_slot_has_another_key() {
        let mut slab = Slab::default();
        let first = slab.insert('a');
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b');
        assert_ne!(first, second);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.at(first.index()), Some((second, &'b')));
        assert_eq!([slab.at(1), slab.at(PAGE as u32)], [None, None]);
        assert_eq!(slab.get(second), Some(&'b'));
        assert_eq!(Key::from_u64(second.as_u64()), second);
    }

    #[test]
    fn entries_never_move() {
        let mut slab = Slab::default();
        let key = slab.insert(7_u64);
        let before = core::ptr::from_ref(slab.get(key).unwrap());
        for number in 0..10_000 {
            slab.insert(number);
        }
        assert_eq!(core::ptr::from_ref(slab.get(key).unwrap()), before);
    }

    #[test]
    fn entries_are_found_in_the_order_of_their_places() {
        let mut slab = Slab::default();
        let keys: Vec<_> = (0..100).map(|number| slab.insert(number)).collect();
        for key in &keys[10..90] {
            slab.remove(*key);
        }
        let found = |index| slab.at_or_after(index).map(|(at, (key, value))| (at, key, *value));
        assert_eq!(found(0), Some((0, keys[0], 0)));
        assert_eq!(found(10), Some((90, keys[90], 90)));
        assert_eq!(found(99), Some((99, keys[99], 99)));
        assert_eq!([found(100), found(1_000), found(u32::MAX)], [None; 3]);
    }

    proptest! {
        #[test]
        fn behaves_as_a_map(operations in proptest::collection::vec((any::<bool>(), any::<usize>()), 0..300)) {
            let (mut slab, mut live) = (Slab::default(), Vec::new());
            for (insert, pick) in operations {
                if insert || live.is_empty() {
                    live.push((slab.insert(pick), pick));
                } else {
                    let (key, value) = live.swap_remove(pick % live.len());
                    prop_assert_eq!(slab.remove(key), Some(value));
                    prop_assert_eq!(slab.get(key), None);
                }
                prop_assert_eq!(slab.len(), live.len());
            }
            for (key, value) in live {
                prop_assert_eq!(slab.get(key), Some(&value));
            }
        }
    }
}
