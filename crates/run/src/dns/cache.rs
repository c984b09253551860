//! Answers of the outside that still hold.
//!
//! Bounded in entries and in bytes. When it is full, what would end soonest goes first: that includes whatever
//! has ended already, so nothing else has to clear it away.

use super::question::Key;
use super::response::Response;
use sockeye_packet::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Most answers kept.
const ENTRIES_MAX: usize = 2048;
/// Most bytes kept, with what an entry costs beside its bytes.
const BYTES_MAX: usize = 2 * 1024 * 1024;
const ENTRY_COST: usize = 256;
/// The longest answer kept: one alone must not push many out.
const ANSWER_MAX: usize = BYTES_MAX / 32;

/// The answers.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: BTreeMap<Key, Entry>,
    by_end: BTreeSet<(Instant, Key)>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    response: Response,
    since: Instant,
    end: Instant,
}

impl Cache {
    /// The answer to a question, if one is known that holds, and how old it is.
    pub(crate) fn get(&self, now: Instant, key: &Key) -> Option<(&Response, Duration)> {
        let entry = self.entries.get(key).filter(|entry| now < entry.end)?;
        Some((&entry.response, now.saturating_since(entry.since)))
    }

    /// Keeps an answer for as long as it says.
    pub(crate) fn insert(&mut self, now: Instant, key: Key, response: Response) {
        self.remove(&key);
        if response.lifetime().is_zero() || response.size() > ANSWER_MAX {
            return;
        }
        let end = now + response.lifetime();
        self.bytes += cost(&key, &response);
        self.by_end.insert((end, key.clone()));
        self.entries.insert(key, Entry { response, since: now, end });
        while self.entries.len() > ENTRIES_MAX || self.bytes > BYTES_MAX {
            let Some((_, key)) = self.by_end.first().cloned() else { break };
            self.remove(&key);
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Cache::default();
    }

    fn remove(&mut self, key: &Key) {
        if let Some((key, entry)) = self.entries.remove_entry(key) {
            self.bytes -= cost(&key, &entry.response);
            self.by_end.remove(&(entry.end, key));
        }
    }
}

/// What an entry takes; its key is there twice.
fn cost(key: &Key, response: &Response) -> usize {
    2 * key.size() + response.size() + ENTRY_COST
}

#[cfg(test)]
mod tests;
