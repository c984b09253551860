//! The sockets of all programs: one record each, found by its plug's cookie, its stack's id or its key.
//!
//! A *plug* is a connected pair of local sockets: the program holds one end as its socket, the supervisor
//! the other. A record lives until the last descriptor of the program's end is closed, which shows as
//! hang-up on the supervisor's end at once. Where the supervisor had to close its own end first (a reset),
//! what is left to tell is kept as [`Socket::Dead`], for the last few thousand such sockets only.

use crate::datagram::Datagram;
use crate::stream::{Listener, Stream};
use sockeye::HostId;
use sockeye_posix::Stored;
use sockeye_stack::{Domain, Error, SockAddr, SocketId, SocketType};
use std::collections::{HashMap, VecDeque};

/// How many dead sockets are remembered.
const DEAD_KEPT: usize = 4096;

/// Names a record; a stale one finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SocketKey {
    index: u32,
    generation: u32,
}

impl SocketKey {
    /// Bits of the generation that fit beside the index into an epoll token.
    const GENERATION_BITS: u32 = 24;

    /// The key as a number below 2^56.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The key of such a number.
    pub(crate) fn from_bits(bits: u64) -> SocketKey {
        SocketKey { index: bits as u32, generation: (bits >> 32) as u32 & ((1 << Self::GENERATION_BITS) - 1) }
    }
}

/// What is known of a program's socket.
#[derive(Debug)]
pub(crate) struct Record {
    /// The kernel's cookie of the program's end of the plug.
    pub(crate) cookie: u64,
    /// The host whose stack the socket belongs to.
    pub(crate) host: HostId,
    /// The socket in that stack. A dead record's is closed.
    pub(crate) id: SocketId,
    /// Its family.
    pub(crate) domain: Domain,
    /// Options that concern only the API.
    pub(crate) stored: Stored,
    /// The plug and what it is used for.
    pub(crate) socket: Socket,
    /// Threads that wait in a call on this socket, oldest first.
    pub(crate) waiters: VecDeque<u32>,
}

impl Record {
    /// Its type.
    pub(crate) fn kind(&self) -> SocketType {
        match &self.socket {
            Socket::Stream(_) | Socket::Listener(_) | Socket::Dead(_) => SocketType::Stream,
            Socket::Datagram(_) => SocketType::Datagram,
        }
    }
}

/// The uses of a plug.
#[derive(Debug)]
pub(crate) enum Socket {
    /// A stream socket that isn't listening.
    Stream(Stream),
    /// A listening stream socket.
    Listener(Listener),
    /// A datagram socket.
    Datagram(Datagram),
    /// A stream whose connection failed or was reset: the plug is gone, the program's descriptor may not be.
    Dead(Dead),
}

/// What outlives a failed connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dead {
    /// What `SO_ERROR` answers, once.
    pub(crate) error: Option<Error>,
    /// The local address it had.
    pub(crate) local: Option<SockAddr>,
}

/// The table of records.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_cookie: HashMap<u64, SocketKey>,
    by_id: HashMap<(HostId, SocketId), SocketKey>,
    dead: VecDeque<SocketKey>,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    record: Option<Record>,
}

impl Sockets {
    /// Adds a record.
    pub(crate) fn insert(&mut self, record: Record) -> SocketKey {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        let key = SocketKey { index, generation: slot.generation };
        self.by_cookie.insert(record.cookie, key);
        self.by_id.insert((record.host, record.id), key);
        slot.record = Some(record);
        key
    }

    /// Takes a record out.
    pub(crate) fn remove(&mut self, key: SocketKey) -> Option<Record> {
        let slot = self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)?;
        let record = slot.record.take()?;
        slot.generation = (slot.generation + 1) & ((1 << SocketKey::GENERATION_BITS) - 1);
        self.free.push(key.index);
        self.by_cookie.remove(&record.cookie);
        if self.by_id.get(&(record.host, record.id)) == Some(&key) {
            self.by_id.remove(&(record.host, record.id));
        }
        Some(record)
    }

    /// The record of a key.
    pub(crate) fn get(&self, key: SocketKey) -> Option<&Record> {
        let slot = self.slots.get(key.index as usize)?;
        slot.record.as_ref().filter(|_| slot.generation == key.generation)
    }

    /// The record of a key.
    pub(crate) fn get_mut(&mut self, key: SocketKey) -> Option<&mut Record> {
        let slot = self.slots.get_mut(key.index as usize)?;
        slot.record.as_mut().filter(|_| slot.generation == key.generation)
    }

    /// The record whose plug's program end has this cookie.
    pub(crate) fn by_cookie(&self, cookie: u64) -> Option<SocketKey> {
        self.by_cookie.get(&cookie).copied()
    }

    /// The record of a stack's socket.
    pub(crate) fn by_id(&self, host: HostId, id: SocketId) -> Option<SocketKey> {
        self.by_id.get(&(host, id)).copied()
    }

    /// Gives a record's socket another cookie and stack id: after a plug was replaced.
    pub(crate) fn rename(&mut self, key: SocketKey, cookie: u64, id: SocketId) {
        let Some(record) = self.slots.get_mut(key.index as usize).and_then(|slot| slot.record.as_mut())
        else {
            return;
        };
        self.by_cookie.remove(&record.cookie);
        self.by_id.remove(&(record.host, record.id));
        (record.cookie, record.id) = (cookie, id);
        self.by_cookie.insert(cookie, key);
        self.by_id.insert((record.host, id), key);
    }

    /// Marks a stream as dead, and forgets the oldest dead one when there are too many. The stack's
    /// socket must have been closed. Returns what the record was used for, which owns the plug.
    pub(crate) fn bury(&mut self, key: SocketKey, dead: Dead) -> Option<Socket> {
        let record = self.get_mut(key)?;
        let (host, id) = (record.host, record.id);
        let socket = std::mem::replace(&mut record.socket, Socket::Dead(dead));
        self.by_id.remove(&(host, id));
        self.dead.push_back(key);
        if self.dead.len() > DEAD_KEPT {
            let oldest = self.dead.pop_front();
            if let Some(oldest) = oldest.filter(|&oldest| self.is_dead(oldest)) {
                self.remove(oldest);
            }
        }
        Some(socket)
    }

    fn is_dead(&self, key: SocketKey) -> bool {
        matches!(self.get(key), Some(Record { socket: Socket::Dead(_), .. }))
    }

    /// How many sockets are alive.
    pub(crate) fn live(&self) -> usize {
        self.records().filter(|record| !matches!(record.socket, Socket::Dead(_))).count()
    }

    /// All records.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.slots.iter().filter_map(|slot| slot.record.as_ref())
    }
}
