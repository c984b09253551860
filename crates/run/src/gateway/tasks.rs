//! The tasks by their tokens: those with work left over, those that wait for a time.

use super::Task;
use sockeye_packet::Instant;
use std::collections::{BTreeSet, HashMap, VecDeque};

/// Names a task; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Token(pub(super) u64);

#[derive(Debug)]
struct Slot {
    task: Task,
    /// When it is to be stepped, if it waits for a time.
    armed: Option<Instant>,
    /// Whether it is in the list of those with work left over.
    queued: bool,
}

/// All tasks.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    next: u64,
    slots: HashMap<Token, Slot>,
    deadlines: BTreeSet<(Instant, Token)>,
    unfinished: VecDeque<Token>,
}

impl Tasks {
    /// A token for a task that comes.
    pub(super) fn reserve(&mut self) -> Token {
        self.next += 1;
        Token(self.next)
    }

    pub(super) fn insert(&mut self, token: Token, task: Task) {
        self.slots.insert(token, Slot { task, armed: None, queued: false });
    }

    pub(super) fn get(&mut self, token: Token) -> Option<&mut Task> {
        self.slots.get_mut(&token).map(|slot| &mut slot.task)
    }

    /// Puts another task in the place of one, with its token and its turn.
    pub(super) fn replace(&mut self, token: Token, with: impl FnOnce(Task) -> Task) {
        let Some(Slot { task, armed, queued }) = self.slots.remove(&token) else { return };
        self.slots.insert(token, Slot { task: with(task), armed, queued });
    }

    pub(super) fn remove(&mut self, token: Token) -> Option<Task> {
        let slot = self.slots.remove(&token)?;
        if let Some(armed) = slot.armed {
            self.deadlines.remove(&(armed, token));
        }
        Some(slot.task)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Token, &Task)> {
        self.slots.iter().map(|(token, slot)| (*token, &slot.task))
    }

    /// Has a task stepped at `at` or before.
    pub(super) fn arm(&mut self, token: Token, at: Instant) {
        let Some(slot) = self.slots.get_mut(&token) else { return };
        if slot.armed.is_some_and(|armed| armed <= at) {
            return;
        }
        if let Some(later) = slot.armed.replace(at) {
            self.deadlines.remove(&(later, token));
        }
        self.deadlines.insert((at, token));
    }

    /// A task whose time has come.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Token> {
        let &(at, token) = self.deadlines.first().filter(|(at, _)| *at <= now)?;
        self.deadlines.remove(&(at, token));
        if let Some(slot) = self.slots.get_mut(&token) {
            slot.armed = None;
        }
        Some(token)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Has a task stepped again soon, after others.
    pub(super) fn enqueue(&mut self, token: Token) {
        let Some(slot) = self.slots.get_mut(&token) else { return };
        if !std::mem::replace(&mut slot.queued, true) {
            self.unfinished.push_back(token);
        }
    }

    pub(super) fn unfinished(&self) -> usize {
        self.unfinished.len()
    }

    /// The next task with work left over.
    pub(super) fn next_unfinished(&mut self) -> Option<Token> {
        let token = self.unfinished.pop_front()?;
        if let Some(slot) = self.slots.get_mut(&token) {
            slot.queued = false;
        }
        Some(token)
    }
}
