//! The flows that wait, and what their owner is to hear of them.
//!
//! A record stays until its last event was fetched and counts until then, so that the events are bounded by
//! the same number as the flows.

use super::echo::Echoes;
use super::{FlowId, Intercept};
use crate::demux::Tuple;
use crate::event::Event;
use crate::slab::{Key, Slab};
use crate::socket::{Datagram, SocketId};
use crate::tcp::half_open::HalfOpen;
use crate::wheel::TimerId;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use sockeye_packet::NicId;

/// What a held datagram costs beside its data.
const DATAGRAM_COST: usize = 256;

/// One flow.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) tuple: Tuple,
    pub(crate) nic: NicId,
    /// When it has waited too long for an answer.
    pub(crate) timer: Option<TimerId>,
    pub(crate) state: State,
    /// Whether it waits in the list of those that the owner is to hear of.
    listed: bool,
    /// Whether the owner was told of it.
    announced: bool,
}

/// How far a flow is.
#[derive(Debug)]
pub(crate) enum State {
    /// A SYN waits for an answer: what it said.
    Syn(Box<HalfOpen>),
    /// The SYN-ACK is out: a half-open connection has the four-tuple.
    Handshake,
    /// Datagrams wait for an answer.
    Datagrams(VecDeque<Datagram>),
    /// It has a socket, which the owner doesn't know yet.
    Opened(SocketId),
    /// It is over, which the owner doesn't know yet.
    Lost,
}

/// All flows, and the echo requests to addresses that are not the host's.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    config: Option<Intercept>,
    /// Whether there may be sockets of flows: their packets must get in.
    used: bool,
    records: Slab<Record>,
    /// Flows that the owner is to hear of, in order; each at most once.
    news: VecDeque<Key>,
    /// Bytes that datagrams hold, as charged to the budget.
    pub(crate) datagram_bytes: usize,
    pub(super) echoes: Echoes,
}

impl Flows {
    /// How flows are intercepted, if they are.
    pub(crate) fn config(&self) -> Option<&Intercept> {
        self.config.as_ref()
    }

    /// Whether packets for addresses that are not the host's may be for a flow.
    pub(crate) fn are_used(&self) -> bool {
        self.used
    }

    pub(super) fn set_config(&mut self, config: Option<Intercept>) {
        self.used |= config.is_some();
        if config.is_none() {
            self.echoes.clear();
        }
        self.config = config;
    }

    pub(crate) fn get(&self, key: Key) -> Option<&Record> {
        self.records.get(key)
    }

    /// The flow in a slot of the table, with its key.
    pub(crate) fn at(&self, index: u32) -> Option<(Key, &Record)> {
        self.records.at(index)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Record> {
        self.records.get_mut(key)
    }

    /// Whether one more flow may wait.
    pub(super) fn has_room(&self) -> bool {
        self.config.as_ref().is_some_and(|config| self.records.len() < config.max_flows)
    }

    /// A new flow, of which the owner is to hear.
    pub(super) fn add(&mut self, tuple: Tuple, nic: NicId, state: State) -> Key {
        let record = Record { tuple, nic, timer: None, state, listed: true, announced: false };
        let key = self.records.insert(record);
        self.news.push_back(key);
        key
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Record> {
        self.records.remove(key)
    }

    /// Flows that wait for an answer, in no order that matters outside.
    pub(super) fn unanswered(&self) -> Vec<Key> {
        let waits = |state: &State| matches!(state, State::Syn(_) | State::Datagrams(_));
        self.records.iter().filter(|(_, record)| waits(&record.state)).map(|(key, _)| key).collect()
    }

    /// Notes how a flow ended, for its owner.
    pub(super) fn finish(&mut self, key: Key, state: State) {
        let Some(record) = self.records.get_mut(key) else { return };
        record.state = state;
        if !record.listed {
            record.listed = true;
            self.news.push_back(key);
        }
    }

    /// Adds a datagram to those of a flow that waits, if `charge` allows what it costs; says whether it did.
    pub(super) fn push(&mut self, key: Key, datagram: Datagram, charge: impl FnOnce(usize) -> bool) -> bool {
        let Some(config) = &self.config else { return false };
        let Some(record) = self.records.get_mut(key) else { return false };
        let State::Datagrams(queue) = &mut record.state else { return false };
        let cost = datagram.payload.len() + DATAGRAM_COST;
        let fits = queue.len() < config.max_datagrams
            && self.datagram_bytes + cost <= config.max_datagram_bytes
            && charge(cost);
        if fits {
            self.datagram_bytes += cost;
            queue.push_back(datagram);
        }
        fits
    }

    /// Takes the datagrams of a flow, with what they were charged.
    pub(super) fn take_datagrams(&mut self, key: Key) -> (VecDeque<Datagram>, usize) {
        let Some(record) = self.records.get_mut(key) else { return Default::default() };
        let State::Datagrams(queue) = &mut record.state else { return Default::default() };
        let queue = core::mem::take(queue);
        let charged = queue.iter().map(|datagram| datagram.payload.len() + DATAGRAM_COST).sum();
        self.datagram_bytes -= charged;
        (queue, charged)
    }

    /// Drops the datagrams of a flow; answers what they were charged.
    pub(super) fn drop_datagrams(&mut self, key: Key) -> usize {
        self.take_datagrams(key).1
    }

    /// The next thing that the owner is to hear.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        while let Some(key) = self.news.pop_front() {
            let Some(record) = self.records.get_mut(key) else { continue };
            record.listed = false;
            let known = core::mem::replace(&mut record.announced, true);
            match record.state {
                State::Syn(_) | State::Datagrams(_) | State::Handshake => {
                    return Some(Event::Incoming(FlowId(key)));
                }
                State::Opened(id) => {
                    self.records.remove(key);
                    return Some(Event::Opened(FlowId(key), id));
                }
                State::Lost => {
                    self.records.remove(key);
                    // Who never heard of a flow need not hear that it is gone.
                    if known {
                        return Some(Event::Lost(FlowId(key)));
                    }
                }
            }
        }
        self.echoes.take_news().then_some(Event::Echo)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }
}
