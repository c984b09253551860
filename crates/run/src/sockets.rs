//! The sockets of all programs: one record each, found by its plug's cookie, its stack's id or its key.
//!
//! A *plug* is a connected pair of local sockets: the program holds one end as its socket, the supervisor
//! the other. A record lives until the last descriptor of the program's end is closed, which shows as
//! hang-up on the supervisor's end at once. Where the supervisor had to close its own end first (a reset),
//! what is left to tell is kept as [`Socket::Dead`], for the last few thousand such sockets only.

use crate::datagram::Datagram;
use crate::netlink::Netlink;
use crate::proto::{Class, Identity, MemberId};
use crate::stream::{Listener, Stream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};
use sockeye::HostId;
use sockeye_posix::Stored;
use sockeye_stack::{Domain, Error, SockAddr, SocketId, SocketType};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// How many dead sockets are remembered.
const DEAD_KEPT: usize = 4096;

/// Names a record; a stale one finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// The supervisor whose program made it.
    pub(crate) member: MemberId,
    /// How the program's end of the plug is recognized.
    pub(crate) names: PlugNames,
    /// The host whose stack the socket belongs to.
    pub(crate) host: HostId,
    /// The socket in that stack. A dead record's is closed unless it stays, a route socket's is none.
    pub(crate) id: SocketId,
    /// Its family; of a route socket it means nothing.
    pub(crate) domain: Domain,
    /// Options that concern only the API.
    pub(crate) stored: Stored,
    /// The plug and what it is used for.
    pub(crate) socket: Socket,
    /// Threads that wait in a call on this socket, oldest first.
    pub(crate) waiters: VecDeque<(MemberId, u32)>,
    /// The program's end, while it is kept because calls can't bring it along.
    pub(crate) kept: Option<Arc<OwnedFd>>,
}

impl Record {
    /// Its type.
    pub(crate) fn kind(&self) -> SocketType {
        match &self.socket {
            Socket::Stream(_) | Socket::Listener(_) | Socket::Dead(_) => SocketType::Stream,
            Socket::Datagram(datagram) => datagram.kind(),
            Socket::Netlink(_) => SocketType::Datagram,
        }
    }

    /// Whether its plug is still there.
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.socket, Socket::Dead(_))
    }

    /// Whether the stack has no socket any more that a call could be about.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.socket, Socket::Dead(Dead { stays: false, .. }))
    }

    /// Whether the stack has its socket still, and the plug is gone.
    pub(crate) fn is_unplugged(&self) -> bool {
        matches!(self.socket, Socket::Dead(Dead { stays: true, .. }))
    }

    /// Whether the program has closed its end of the plug.
    pub(crate) fn is_closed(&self) -> bool {
        let plug = match &self.socket {
            Socket::Stream(stream) => stream.plug.as_fd(),
            Socket::Listener(listener) => listener.plug.as_fd(),
            Socket::Datagram(datagram) if datagram.is_closed() => return true,
            Socket::Datagram(datagram) => datagram.plug(),
            Socket::Netlink(netlink) => netlink.plug(),
            Socket::Dead(_) => return true,
        };
        let mut ready = [PollFd::from_borrowed_fd(plug, PollFlags::empty())];
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut ready, Some(&none)).is_ok() && ready[0].revents().contains(PollFlags::HUP)
    }

    /// Its type, for those who have sockets of other makers too.
    pub(crate) fn class(&self) -> Class {
        match &self.socket {
            Socket::Stream(_) | Socket::Listener(_) | Socket::Dead(_) => Class::Stream,
            Socket::Datagram(_) => Class::Datagram,
            Socket::Netlink(_) => Class::Netlink,
        }
    }
}

/// What tells the program's end of a plug from all other sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlugNames {
    /// The kernel's cookie.
    pub(crate) cookie: u64,
    /// The number in `/proc/PID/fd`.
    pub(crate) inode: u64,
}

impl PlugNames {
    /// Whether they are this one's.
    pub(crate) fn are(&self, identity: Identity) -> bool {
        match identity {
            Identity::Cookie(cookie) => cookie == self.cookie,
            Identity::Inode(inode) => inode == self.inode,
        }
    }

    /// Those of this socket.
    pub(crate) fn of(theirs: &OwnedFd) -> io::Result<PlugNames> {
        let cookie = rustix::net::sockopt::socket_cookie(theirs)?;
        Ok(PlugNames { cookie, inode: rustix::fs::fstat(theirs)?.st_ino })
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
    /// A route socket.
    Netlink(Netlink),
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
    /// Whether the stack still has its socket, with all that calls ask of it: it failed to connect or was
    /// disconnected, so it can be used again.
    pub(crate) stays: bool,
}

/// The table of records.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_cookie: HashMap<u64, SocketKey>,
    by_inode: HashMap<u64, SocketKey>,
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
        self.by_id.insert((record.host, record.id), key);
        let names = record.names;
        slot.record = Some(record);
        self.index(key, names);
        key
    }

    fn index(&mut self, key: SocketKey, names: PlugNames) {
        self.by_cookie.insert(names.cookie, key);
        self.by_inode.insert(names.inode, key);
    }

    fn unindex(&mut self, key: SocketKey, names: PlugNames) {
        self.by_cookie.remove(&names.cookie);
        // A dead socket's inode may be another socket's by now.
        if self.by_inode.get(&names.inode) == Some(&key) {
            self.by_inode.remove(&names.inode);
        }
    }

    /// Takes a record out.
    pub(crate) fn remove(&mut self, key: SocketKey) -> Option<Record> {
        let slot = self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)?;
        let record = slot.record.take()?;
        slot.generation = (slot.generation + 1) & ((1 << SocketKey::GENERATION_BITS) - 1);
        self.free.push(key.index);
        self.unindex(key, record.names);
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

    /// The record of the socket that a descriptor is.
    pub(crate) fn by_identity(&self, identity: Identity) -> Option<SocketKey> {
        match identity {
            Identity::Cookie(cookie) => self.by_cookie.get(&cookie).copied(),
            Identity::Inode(inode) => self.by_inode.get(&inode).copied(),
        }
    }

    /// The record of a stack's socket.
    pub(crate) fn by_id(&self, host: HostId, id: SocketId) -> Option<SocketKey> {
        self.by_id.get(&(host, id)).copied()
    }

    /// Gives a record's socket another plug and stack id.
    pub(crate) fn rename(&mut self, key: SocketKey, names: PlugNames, id: SocketId) {
        let Some(record) = self.get_mut(key) else { return };
        let (host, old_id, old_names) = (record.host, record.id, record.names);
        (record.names, record.id) = (names, id);
        self.unindex(key, old_names);
        self.by_id.remove(&(host, old_id));
        self.index(key, names);
        self.by_id.insert((host, id), key);
    }

    /// Marks a stream as dead. The stack's socket must have been closed unless it stays. Returns what the record
    /// was used for, which owns the plug.
    pub(crate) fn bury(&mut self, key: SocketKey, dead: Dead) -> Option<Socket> {
        let record = self.get_mut(key)?;
        let (host, id) = (record.host, record.id);
        record.kept = None;
        let socket = std::mem::replace(&mut record.socket, Socket::Dead(dead));
        if !dead.stays {
            self.by_id.remove(&(host, id));
        }
        self.dead.push_back(key);
        Some(socket)
    }

    /// Forgets the oldest dead stream if there are too many.
    pub(crate) fn forget_oldest_dead(&mut self) -> Option<Record> {
        let oldest = if self.dead.len() > DEAD_KEPT { self.dead.pop_front() } else { None };
        oldest.filter(|&oldest| self.is_dead(oldest)).and_then(|oldest| self.remove(oldest))
    }

    fn is_dead(&self, key: SocketKey) -> bool {
        matches!(self.get(key), Some(Record { socket: Socket::Dead(_), .. }))
    }

    /// How many sockets are alive.
    pub(crate) fn live(&self) -> usize {
        self.records().filter(|record| record.is_alive()).count()
    }

    /// All records.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.slots.iter().filter_map(|slot| slot.record.as_ref())
    }

    /// How many slots there are for records.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The record in a slot, counted from 0.
    pub(crate) fn in_slot(&self, index: usize) -> Option<&Record> {
        self.slots.get(index)?.record.as_ref()
    }

    /// The keys of all records for which `wanted` holds.
    pub(crate) fn keys(&self, wanted: impl Fn(&Record) -> bool) -> Vec<SocketKey> {
        let key = |(index, slot): (usize, &Slot)| {
            let key = SocketKey { index: index as u32, generation: slot.generation };
            slot.record.as_ref().is_some_and(&wanted).then_some(key)
        };
        self.slots.iter().enumerate().filter_map(key).collect()
    }
}
