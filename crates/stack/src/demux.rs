//! Who a packet is for: connections by their four-tuple, listeners and datagram sockets by their port.
//!
//! Both tables are keyed by SipHash-1-3 with a key from the stack's seed, so that a peer can't choose
//! packets that collide. The table of four-tuples holds 8 bytes for each: where its owner is, which keeps the four-tuple
//! itself and is needed next anyway. A local port is held by everything that uses it (sockets,
//! connections without a socket, TIME-WAIT records), counted per local address, so that bind's conflict
//! rules (socket(7), ip(7), ipv6(7)) cost nothing per connection. Ports are picked as RFC 6056 §3.3.4 says.

mod entry;
mod ports;

pub(crate) use entry::Place;
pub(crate) use ports::{Binding, Hold, Speaks, port_range};

use crate::SocketId;
use crate::address::is_v4;
use crate::sip::sip;
use crate::slab::Key;
use entry::{Entry, Short};
use hashbrown::HashTable;
use ports::Port;
use sockeye_packet::{NicId, Rng};

/// A transport protocol with ports, or echo, whose identifiers are kept as local ports are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Proto {
    Icmp = 1,
    Tcp = 6,
    Udp = 17,
    Icmpv6 = 58,
    UdpLite = 136,
}

impl Proto {
    /// That of echo requests in one version of IP.
    pub(crate) fn echo(v4: bool) -> Proto {
        if v4 { Proto::Icmp } else { Proto::Icmpv6 }
    }

    /// Whether its sockets are UDP's, but for the checksum.
    pub(crate) fn is_udp(self) -> bool {
        matches!(self, Proto::Udp | Proto::UdpLite)
    }

    /// Whether it is one of the two that have echo identifiers.
    pub(crate) fn is_echo(self) -> bool {
        matches!(self, Proto::Icmp | Proto::Icmpv6)
    }
}

/// Both ends of a connection. Of echo the remote port is 0. `scope` is that of link-local addresses: interface number plus one, or 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tuple {
    pub(crate) local: [u8; 16],
    pub(crate) remote: [u8; 16],
    pub(crate) local_port: u16,
    pub(crate) remote_port: u16,
    pub(crate) scope: u16,
    pub(crate) proto: Proto,
}

/// Who owns a four-tuple, and has it as its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Connection(Key),
    HalfOpen(Key),
    TimeWait(Key),
    Datagram(SocketId),
    /// To an address that is not the host's, and waits for an answer.
    Flow(Key),
}

/// The number that stands for an interface in keys; 0 stands for any.
pub(crate) fn scope_number(nic: Option<NicId>) -> u16 {
    nic.map_or(0, |nic| nic.0.saturating_add(1))
}

/// The tables.
#[derive(Debug)]
pub(crate) struct Demux {
    key: [u64; 2],
    tuples: HashTable<Entry>,
    /// What was found last, while it is true.
    latest: Option<(Tuple, Target)>,
    ports: HashTable<Port>,
    /// Counters of RFC 6056's algorithm 4, so that consecutive connections take different ports.
    next_port: [u32; 64],
}

impl Demux {
    /// Bytes that one four-tuple takes, when the table is two thirds full: half way between the fill after
    /// it grew (7/16) and that before it grows (7/8).
    #[cfg(test)]
    pub(crate) const TUPLE_BYTES: usize = (size_of::<Entry>() + 1) * 3 / 2;

    pub(crate) fn new(rng: &mut Rng) -> Demux {
        Demux {
            key: [rng.next_u64(), rng.next_u64()],
            tuples: HashTable::new(),
            latest: None,
            ports: HashTable::new(),
            next_port: core::array::from_fn(|_| rng.next_u32()),
        }
    }

    /// The owner of a four-tuple. `keeps` says who is at a place, and which four-tuple it has.
    #[inline]
    pub(crate) fn find<'a>(
        &self,
        tuple: &Tuple,
        keeps: impl Fn(Place) -> Option<(Target, &'a Tuple)>,
    ) -> Option<Target> {
        let looked_for = Entry::of(Short::new(self.key, tuple));
        let mut found = None;
        self.tuples.find(looked_for.hash(), |entry| {
            let owner = if entry.may_be(looked_for) { keeps(entry.place()) } else { None };
            found = owner.filter(|(_, kept)| *kept == tuple).map(|(target, _)| target);
            found.is_some()
        });
        found
    }

    /// The owner of a packet's four-tuple, if it is that of the packet before it: packets of one flow come in rows.
    #[inline]
    pub(crate) fn latest(&self, tuple: &Tuple) -> Option<Target> {
        self.latest.as_ref().filter(|(latest, _)| latest == tuple).map(|(_, target)| *target)
    }

    /// Remembers whom a packet is for.
    #[inline]
    pub(crate) fn note_latest(&mut self, tuple: Tuple, target: Target) {
        self.latest = Some((tuple, target));
    }

    /// The connection whose segment was looked up last, if an IPv4 packet with these addresses and ports (source and
    /// destination, as they lie in the packet) is for it.
    #[inline]
    pub(crate) fn latest_v4(&self, fields: &[u8; 12]) -> Option<(&Tuple, Key)> {
        let Some((tuple, Target::Connection(key))) = &self.latest else { return None };
        let Tuple { local, remote, local_port, remote_port, proto, .. } = tuple;
        let is_it = fields[..4] == remote[12..]
            && fields[4..8] == local[12..]
            && fields[8..10] == remote_port.to_be_bytes()
            && fields[10..] == local_port.to_be_bytes()
            && *proto == Proto::Tcp
            && is_v4(local);
        is_it.then_some((tuple, *key))
    }

    /// Gives a four-tuple that nobody owns an owner, which keeps it as long as it owns it.
    pub(crate) fn insert(&mut self, tuple: &Tuple, target: Target) {
        let entry = Entry::new(Short::new(self.key, tuple), target);
        self.tuples.insert_unique(entry.hash(), entry, |entry| entry.hash());
    }

    /// Hands a four-tuple from one owner to another; nothing happens when `from` doesn't own it.
    pub(crate) fn replace(&mut self, tuple: &Tuple, from: Target, to: Target) {
        self.latest = None;
        let short = Short::new(self.key, tuple);
        let before = Entry::new(short, from);
        if let Some(entry) = self.tuples.find_mut(before.hash(), |entry| *entry == before) {
            *entry = Entry::new(short, to);
        }
    }

    /// Frees a four-tuple if `target` owns it.
    pub(crate) fn remove(&mut self, tuple: &Tuple, target: Target) {
        self.latest = None;
        let owned = Entry::new(Short::new(self.key, tuple), target);
        if let Ok(entry) = self.tuples.find_entry(owned.hash(), |entry| *entry == owned) {
            entry.remove();
        }
    }

    /// A hash of a flow that peers can't predict.
    pub(crate) fn flow_hash(&self, tuple: &Tuple) -> u64 {
        hash_tuple(self.key, tuple)
    }

    /// The place of RFC 6056's algorithm 4 for connections to `tuple`'s remote end. The tuple's own port doesn't count.
    pub(crate) fn port_place(&self, tuple: &Tuple) -> PortPlace {
        let hash = hash_tuple(self.key, &Tuple { local_port: 0, ..*tuple });
        PortPlace { offset: hash & 0xffff_ffff, index: (hash >> 58) as usize }
    }

    /// The next port to try there, counted from the lowest: each look moves on, so that the next connection doesn't
    /// look at the same ports again.
    pub(crate) fn next_port_offset(&mut self, place: PortPlace) -> u64 {
        let counter = &mut self.next_port[place.index];
        *counter = counter.wrapping_add(1);
        place.offset + u64::from(*counter)
    }
}

/// Where the ports for one remote end are looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PortPlace {
    offset: u64,
    index: usize,
}

fn hash_tuple(key: [u64; 2], tuple: &Tuple) -> u64 {
    let mut bytes = [0; 40];
    bytes[..16].copy_from_slice(&tuple.local);
    bytes[16..32].copy_from_slice(&tuple.remote);
    bytes[32..34].copy_from_slice(&tuple.local_port.to_le_bytes());
    bytes[34..36].copy_from_slice(&tuple.remote_port.to_le_bytes());
    bytes[36..38].copy_from_slice(&tuple.scope.to_le_bytes());
    bytes[38] = tuple.proto as u8;
    sip(key, &bytes)
}

#[cfg(test)]
mod tests;
