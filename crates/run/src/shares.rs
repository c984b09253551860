//! Who has how much of a table that many share, and whose entry goes first when one more wants in.
//!
//! Nobody can push others out by wanting much: the source with the most entries gives one up, and of its entries
//! first one that has not proved its use, then the one that was idle for longest. All calls take logarithmic time.

use sockeye_packet::Instant;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// The entries `K` of a table, by the source `S` that each belongs to.
#[derive(Debug)]
pub(crate) struct Shares<K, S> {
    entries: HashMap<K, Entry<S>>,
    /// Each source's entries in the order they are given up.
    sources: HashMap<S, BTreeSet<(bool, Instant, K)>>,
    sizes: BTreeSet<(usize, S)>,
    ages: BTreeSet<(Instant, K)>,
}

#[derive(Clone, Copy, Debug)]
struct Entry<S> {
    source: S,
    proved: bool,
    last: Instant,
}

impl<K, S> Default for Shares<K, S> {
    fn default() -> Shares<K, S> {
        Shares {
            entries: HashMap::new(),
            sources: HashMap::new(),
            sizes: BTreeSet::new(),
            ages: BTreeSet::new(),
        }
    }
}

impl<K: Copy + Ord + Hash, S: Copy + Ord + Hash> Shares<K, S> {
    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many of them a source has.
    pub(crate) fn count_of(&self, source: S) -> usize {
        self.sources.get(&source).map_or(0, BTreeSet::len)
    }

    /// Whether a source may have one more where nothing is given up for it: a quarter of `max` is left to those
    /// that have less than half.
    pub(crate) fn admit(&self, source: S, max: usize) -> bool {
        let len = self.len();
        len < max && (len < max - max / 4 || self.count_of(source) < max.div_ceil(2))
    }

    /// The entry that is given up for one more of a source.
    pub(crate) fn victim(&self, newcomer: S) -> Option<K> {
        let &(most, source) = self.sizes.last()?;
        let source = if self.count_of(newcomer) >= most { newcomer } else { source };
        self.first_of(source)
    }

    /// The entry that a source gives up first.
    pub(crate) fn first_of(&self, source: S) -> Option<K> {
        self.sources.get(&source)?.first().map(|&(_, _, key)| key)
    }

    /// The entry that was idle for longest, and since when.
    pub(crate) fn oldest(&self) -> Option<(Instant, K)> {
        self.ages.first().copied()
    }

    pub(crate) fn add(&mut self, now: Instant, key: K, source: S) {
        self.remove(key);
        self.put(key, Entry { source, proved: false, last: now });
    }

    /// An entry is used, and has proved its use perhaps.
    pub(crate) fn touch(&mut self, now: Instant, key: K, proved: bool) {
        if let Some(entry) = self.entries.get(&key).copied()
            && (entry.last, entry.proved) != (now, entry.proved || proved)
        {
            self.remove(key);
            self.put(key, Entry { proved: entry.proved || proved, last: now, ..entry });
        }
    }

    pub(crate) fn remove(&mut self, key: K) {
        let Some(Entry { source, proved, last }) = self.entries.remove(&key) else { return };
        self.ages.remove(&(last, key));
        let Some(own) = self.sources.get_mut(&source) else { return };
        self.sizes.remove(&(own.len(), source));
        own.remove(&(proved, last, key));
        if own.is_empty() {
            self.sources.remove(&source);
        } else {
            self.sizes.insert((own.len(), source));
        }
    }

    fn put(&mut self, key: K, entry: Entry<S>) {
        let Entry { source, proved, last } = entry;
        let own = self.sources.entry(source).or_default();
        self.sizes.remove(&(own.len(), source));
        own.insert((proved, last, key));
        self.sizes.insert((own.len(), source));
        self.ages.insert((last, key));
        self.entries.insert(key, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Instant = Instant::from_millis;

    #[test]
    fn who_has_most_gives_up_what_is_idle_and_unproved() {
        let mut shares = Shares::default();
        for key in 0..4 {
            shares.add(AT(key), key, 'a');
        }
        shares.add(AT(9), 9, 'b');
        assert_eq!(shares.victim('b'), Some(0));
        assert_eq!(shares.victim('a'), Some(0));
        shares.touch(AT(10), 0, false);
        assert_eq!(shares.victim('b'), Some(1));
        shares.touch(AT(1), 1, true);
        assert_eq!(shares.victim('b'), Some(2), "what has proved its use stays longer");
        assert_eq!(shares.oldest(), Some((AT(1), 1)));
        for key in [0, 2, 3] {
            shares.remove(key);
        }
        assert_eq!((shares.len(), shares.count_of('a')), (2, 1));
        assert_eq!(shares.victim('b'), Some(9), "of equals, who wants more");
        shares.remove(1);
        shares.remove(9);
        assert_eq!((shares.victim('b'), shares.oldest()), (None, None));
        assert!(shares.sizes.is_empty() && shares.sources.is_empty());
    }

    #[test]
    fn a_quarter_is_left_to_who_has_little() {
        let mut shares = Shares::default();
        for key in 0..100 {
            if shares.admit('a', 16) {
                shares.add(AT(0), key, 'a');
            }
        }
        assert_eq!(shares.len(), 12);
        for key in 100..200 {
            if shares.admit('b', 16) {
                shares.add(AT(0), key, 'b');
            }
        }
        assert_eq!(shares.len(), 16);
        assert!(Shares::<u8, char>::default().admit('a', 1) && !Shares::<u8, char>::default().admit('a', 0));
    }
}
