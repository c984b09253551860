//! Packets put together again from their fragments (RFC 791 §3.2, RFC 8200 §4.5, RFC 5722).
//!
//! Nobody can make this hold much: sets and bytes are few, of one source fewer, parts of a set are few, all is
//! charged to the budget and dropped after 30 seconds. Where there is no room, the oldest makes it. A fragment that
//! overlaps another drops the whole set.

use crate::counters::Counter;
use crate::io::{Io, Token};
use crate::ip::complaint::Complaint;
use crate::ip::input::Ingress;
use crate::sip::sip;
use crate::slab::{Key, Slab};
use crate::wheel::TimerId;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;
use hashbrown::HashTable;
use sockeye_packet::{Checksum, Head, Instant, Packet, Payload, Rng};
use sockeye_wire::{Extensions, Fragment, Ipv4Fixed, Ipv6Header, Protocol};

/// How long a set may take, from its first fragment.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Most incomplete sets at once.
const MAX_SETS: usize = 256;
/// Most incomplete sets of one source.
const MAX_SETS_OF_SOURCE: usize = 64;
/// Most bytes in incomplete sets (`ipfrag_high_thresh`), and of one source.
const MAX_BYTES: usize = 4 << 20;
const MAX_BYTES_OF_SOURCE: usize = 1 << 20;
/// Most fragments of a set: 64 KiB in packets of 576 bytes take 119.
const MAX_PARTS: usize = 128;
/// What an entry costs beside its data.
const PART_COST: usize = 128;

/// What fragments of one packet share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SetId {
    src: [u8; 16],
    dst: [u8; 16],
    id: u32,
    /// IPv4 only: IPv6 fragments are told apart without it.
    protocol: u8,
}

#[derive(Debug)]
struct Part {
    offset: usize,
    /// Bytes behind the IP header; of the first fragment, more than the data: the transport header too.
    len: usize,
    data: Payload,
}

impl Part {
    fn end(&self) -> usize {
        self.offset + self.len
    }
}

/// The fragments of one packet so far.
#[derive(Debug)]
struct Set {
    id: SetId,
    /// By offset; they don't overlap.
    parts: Vec<Part>,
    received: usize,
    /// Length of the whole, once the last fragment is there.
    total: Option<usize>,
    /// The first fragment's headers, once it is there, and what was found out about it.
    first: Option<(Packet, Ingress)>,
    unverified: bool,
    charged: usize,
    timer: Option<TimerId>,
}

/// All incomplete sets.
#[derive(Debug)]
pub(crate) struct Reassembly {
    key: [u64; 2],
    index: HashTable<(SetId, Key)>,
    sets: Slab<Set>,
    /// Oldest first; keys of sets that are gone are skipped, and taken out now and then.
    order: VecDeque<Key>,
}

impl Reassembly {
    pub(crate) fn new(rng: &mut Rng) -> Reassembly {
        let key = [rng.next_u64(), rng.next_u64()];
        Reassembly { key, index: HashTable::new(), sets: Slab::default(), order: VecDeque::new() }
    }

    /// What all sets together are charged, counted again.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn recount(&self) -> usize {
        self.sets.iter().map(|(_, set)| set.charged).sum()
    }

    fn hash(key: [u64; 2], id: &SetId) -> u64 {
        let mut bytes = [0; 37];
        bytes[..16].copy_from_slice(&id.src);
        bytes[16..32].copy_from_slice(&id.dst);
        bytes[32..36].copy_from_slice(&id.id.to_le_bytes());
        bytes[36] = id.protocol;
        sip(key, &bytes)
    }
}

impl Io {
    /// Takes in a fragment; the whole packet if this completes it.
    pub(crate) fn reassemble(
        &mut self,
        now: Instant,
        ingress: &Ingress,
        fragment: Fragment,
        packet: Packet,
    ) -> Option<Packet> {
        let protocol = if ingress.v4 { ingress.protocol.0 } else { 0 };
        let id = SetId { src: ingress.src, dst: ingress.dst, id: fragment.id, protocol };
        self.counters.bump(Counter::IpReasmReqds);
        if !ingress.v4 && fragment.offset == 0 && !fragment.more {
            return self.atomic_fragment(ingress, packet);
        }
        if let Some(pointer) = wrong_length(ingress, fragment, &packet) {
            self.counters.bump(Counter::IpInHdrErrors);
            self.complain(now, ingress, &packet, Complaint::Parameter { code: 0, pointer });
            return None;
        }
        let key = self.fragment_set(now, id);
        match self.add_part(key, ingress, fragment, packet) {
            Ok(false) => None,
            Ok(true) => {
                self.counters.bump(Counter::IpReasmOks);
                self.take_set(key).and_then(|set| self.whole(set, ingress.v4))
            }
            Err(()) => {
                self.counters.bump(Counter::IpReasmFails);
                self.take_set(key);
                None
            }
        }
    }

    /// RFC 6946 §4: a fragment that is a whole packet is of no set, lest others of its id spoil it.
    fn atomic_fragment(&mut self, ingress: &Ingress, mut packet: Packet) -> Option<Packet> {
        let transport = packet.head.len().checked_sub(ingress.transport)?;
        let whole = without_fragment_header(&packet.head, transport + packet.payload.len());
        self.counters.bump(if whole.is_some() { Counter::IpReasmOks } else { Counter::IpReasmFails });
        packet.head = whole?;
        packet.meta.checksum = verified_later(packet.meta.checksum);
        Some(packet)
    }

    /// A set took too long. Its sender is told, if the first fragment says who that is (RFC 1122 §3.3.2, RFC 8200
    /// §4.5).
    pub(crate) fn reassembly_timeout(&mut self, now: Instant, key: Key) {
        if let Some(set) = self.reassembly.sets.get_mut(key) {
            set.timer = None;
            self.counters.bump(Counter::IpReasmTimeout);
            self.counters.bump(Counter::IpReasmFails);
            if let Some(Set { first: Some((first, ingress)), parts, .. }) = self.take_set(key) {
                let head = Head::from_slice(&first.payload.into_chunk());
                let payload = parts.into_iter().next().map_or(Payload::EMPTY, |part| part.data);
                let packet = Packet { head, payload, meta: first.meta };
                self.complain(now, &ingress, &packet, Complaint::Incomplete);
            }
        }
    }

    /// Drops the oldest sets of `src`, or of everybody, until one more fragment of this cost has room beside the set
    /// that it is for; says whether it has.
    fn make_room(&mut self, keep: Key, src: &[u8; 16], cost: usize) -> bool {
        loop {
            let (mut all, mut of_source) = (cost, cost);
            for (_, set) in self.reassembly.sets.iter() {
                all += set.charged;
                of_source += if set.id.src == *src { set.charged } else { 0 };
            }
            let too_much_of_source = of_source > MAX_BYTES_OF_SOURCE;
            if !too_much_of_source && all <= MAX_BYTES {
                return true;
            }
            if !self.drop_oldest(Some(keep), too_much_of_source.then_some(src)) {
                return false;
            }
        }
    }

    /// Drops the oldest set, of a source or of all, but not `keep`; says whether there was one.
    fn drop_oldest(&mut self, keep: Option<Key>, src: Option<&[u8; 16]>) -> bool {
        let Reassembly { sets, order, .. } = &self.reassembly;
        let fits = |key: &&Key| {
            Some(**key) != keep && sets.get(**key).is_some_and(|set| src.is_none_or(|src| set.id.src == *src))
        };
        let Some(oldest) = order.iter().find(fits).copied() else { return false };
        self.take_set(oldest);
        self.counters.bump(Counter::IpReasmFails);
        true
    }

    fn fragment_set(&mut self, now: Instant, id: SetId) -> Key {
        let sip_key = self.reassembly.key;
        let hash = Reassembly::hash(sip_key, &id);
        if let Some((_, key)) = self.reassembly.index.find(hash, |(other, _)| *other == id) {
            return *key;
        }
        let sets = &self.reassembly.sets;
        if sets.iter().filter(|(_, set)| set.id.src == id.src).count() >= MAX_SETS_OF_SOURCE {
            self.drop_oldest(None, Some(&id.src));
        }
        while self.reassembly.sets.len() >= MAX_SETS && self.drop_oldest(None, None) {}
        let Reassembly { sets, order, .. } = &mut self.reassembly;
        if order.len() >= 4 * MAX_SETS {
            order.retain(|key| sets.get(*key).is_some());
        }
        let set = Set {
            id,
            parts: Vec::new(),
            received: 0,
            total: None,
            first: None,
            unverified: false,
            charged: 0,
            timer: None,
        };
        let key = self.reassembly.sets.insert(set);
        let timer = self.wheel.set(now + TIMEOUT, Token::Reassembly(key));
        if let Some(set) = self.reassembly.sets.get_mut(key) {
            set.timer = Some(timer);
        }
        self.reassembly.index.insert_unique(hash, (id, key), |(id, _)| Reassembly::hash(sip_key, id));
        self.reassembly.order.push_back(key);
        key
    }

    /// Adds a fragment to its set; says whether the set is complete, or an error if it has to go.
    fn add_part(
        &mut self,
        key: Key,
        ingress: &Ingress,
        fragment: Fragment,
        packet: Packet,
    ) -> core::result::Result<bool, ()> {
        if !self.make_room(key, &ingress.src, packet.len() + PART_COST) {
            return Err(());
        }
        let set = self.reassembly.sets.get_mut(key).ok_or(())?;
        // What follows the IP header: of the first fragment, the transport header lies in the head.
        let transport = packet.head.get(ingress.transport..).ok_or(())?.len();
        let (start, len) = (usize::from(fragment.offset), transport + packet.payload.len());
        let end = start + len;
        if end > 65_535 || len == 0 || fragment.more && len % 8 != 0 || set.parts.len() >= MAX_PARTS {
            return Err(());
        }
        let at = set.parts.partition_point(|part| part.offset < start);
        if let Some(same) = set.parts.get(at).filter(|part| part.offset == start) {
            // RFC 8200 §4.5 allows to drop exact duplicates alone.
            return if same.len == len { Ok(false) } else { Err(()) };
        }
        let before_overlaps = at.checked_sub(1).is_some_and(|before| set.parts[before].end() > start);
        let after_overlaps = set.parts.get(at).is_some_and(|part| part.offset < end);
        let beyond_end = set.total.is_some_and(|total| end > total || !fragment.more);
        if before_overlaps || after_overlaps {
            self.counters.bump(Counter::IpReasmOverlaps);
            return Err(());
        }
        if beyond_end {
            return Err(());
        }
        if !fragment.more {
            if set.parts.len() > at {
                return Err(());
            }
            set.total = Some(end);
        }
        let mut data = Payload::EMPTY;
        data.extend(packet.payload.clone().into_iter().map(sockeye_packet::Chunk::compact));
        if !self.budget.try_charge(len + PART_COST) {
            return Err(());
        }
        set.charged += len + PART_COST;
        set.received += len;
        set.unverified |= packet.meta.checksum == Checksum::Unverified;
        if start == 0 {
            let mut first = packet;
            // Kept beside the data: the IP header as a whole, and the transport header alone as the head.
            first.payload = Payload::from(sockeye_packet::Chunk::copy_from(&first.head));
            first.head = Head::from_slice(&first.head[ingress.transport..]);
            set.first = Some((first, *ingress));
        } else if transport > 0 {
            return Err(());
        }
        set.parts.insert(at, Part { offset: start, len, data });
        Ok(set.total == Some(set.received))
    }

    fn take_set(&mut self, key: Key) -> Option<Set> {
        let set = self.reassembly.sets.remove(key)?;
        let hash = Reassembly::hash(self.reassembly.key, &set.id);
        if let Ok(entry) = self.reassembly.index.find_entry(hash, |(_, other)| *other == key) {
            entry.remove();
        }
        if let Some(timer) = set.timer {
            self.wheel.cancel(timer);
        }
        self.budget.release(set.charged);
        Some(set)
    }

    /// The packet of a complete set.
    fn whole(&self, set: Set, v4: bool) -> Option<Packet> {
        let _ = self;
        let Set { parts, total, first, unverified, .. } = set;
        let (Packet { head: transport, payload: headers, meta }, _) = first?;
        let headers = headers.into_chunk();
        let ip_len = headers.len() - transport.len();
        let total = total?;
        let mut head = Head::from_slice(&headers);
        if v4 {
            let fixed = Ipv4Fixed::at_mut(&mut head)?;
            fixed.total_len = u16::try_from(ip_len + total).ok()?.into();
            fixed.flags_offset = 0.into();
            fixed.checksum = 0.into();
            let checksum = sockeye_wire::Checksum::new().with(&head[..ip_len]).finish();
            head[10..12].copy_from_slice(&checksum.to_be_bytes());
        } else {
            head = without_fragment_header(&head, total)?;
        }
        let mut payload = Payload::EMPTY;
        for part in parts {
            payload.extend(part.data);
        }
        let mut packet = Packet { head, payload, meta };
        packet.meta.checksum = if unverified { Checksum::Unverified } else { verified_later(meta.checksum) };
        Some(packet)
    }
}

/// RFC 8200 §4.5: where in an IPv6 fragment the length stands that makes it part of no packet, if one does.
fn wrong_length(ingress: &Ingress, fragment: Fragment, packet: &Packet) -> Option<u32> {
    let len = packet.len().checked_sub(ingress.transport)?;
    if ingress.v4 {
        return None;
    }
    if fragment.more && len % 8 != 0 {
        return Some(4);
    }
    let extensions = Extensions::parse(Protocol(packet.head[6]), packet.head.get(Ipv6Header::LEN..)?).ok()?;
    // As much as the unfragmentable part is long, the whole is longer.
    let whole = extensions.unfragmentable + usize::from(fragment.offset) + len;
    let offset_at = Ipv6Header::LEN + extensions.unfragmentable + 2;
    (whole > usize::from(u16::MAX)).then_some(offset_at as u32)
}

/// The state of the transport's checksum, which covers the whole: only of that can it be verified.
fn verified_later(checksum: Checksum) -> Checksum {
    if checksum == Checksum::Verified { Checksum::Unverified } else { checksum }
}

/// The headers of an IPv6 packet with the fragment header cut out, for `total` bytes behind it.
fn without_fragment_header(head: &Head, total: usize) -> Option<Head> {
    let extensions = Extensions::parse(Protocol(*head.get(6)?), head.get(Ipv6Header::LEN..)?).ok()?;
    let at = Ipv6Header::LEN + extensions.unfragmentable;
    let mut bytes = head.to_vec();
    let next = *bytes.get(at)?;
    // The header in front of it names what follows it.
    let (mut field, mut kind, mut start) = (6, bytes[6], Ipv6Header::LEN);
    while start < at {
        (field, kind) = (start, *bytes.get(start)?);
        start += 8 + usize::from(*bytes.get(start + 1)?) * 8;
    }
    if kind != Protocol::FRAGMENT.0 {
        return None;
    }
    *bytes.get_mut(field)? = next;
    bytes.drain(at..at + 8);
    let payload_len = u16::try_from(at - Ipv6Header::LEN + total).ok()?;
    bytes[4..6].copy_from_slice(&payload_len.to_be_bytes());
    Some(Head::from_slice(&bytes))
}
