//! The short way in: a segment of the connection that the packet before it was for.
//!
//! Packets of one flow come in rows. Where one has the addresses and ports of that before it, a plain IPv4 header
//! and nothing that anybody else wants to see, all that [`input`](super::input) would find out about it is known:
//! it goes straight to its connection. Everything else goes the long way, and this is never more than a
//! shortcut: what can't be right is left for the long way to count.

use crate::Stack;
use crate::counters::Counter;
use crate::io::Io;
use crate::ip::address::Ends;
use crate::ip::input::ecn_counter;
use crate::ip::train::couple;
use crate::slab::Key;
use crate::tcp::{Segment, State};
use sockeye_packet::{Batch, Checksum, Instant, NicId, Packet};
use sockeye_wire::{Ipv4Header, Protocol, verify_checksums};

impl Stack {
    /// Takes in the first packet of a batch, and those that continue it, if the short way is open to it; says whether
    /// it was.
    #[inline]
    pub(crate) fn express(&mut self, now: Instant, nic: NicId, batch: &mut Batch) -> bool {
        let Some(packet) = batch.front() else { return false };
        let Some(key) = self.io.latest_connection(nic, packet) else { return false };
        let Some(tcb) = self.connections.get(key) else { return false };
        let Packet { head, payload, meta } = packet;
        if tcb.connection.state() != State::Established || head[8] < tcb.min_ttl {
            return false;
        }
        let mut segment = Segment::default();
        if segment.header.read(&head[Ipv4Header::MIN_LEN..]).is_err() {
            return false;
        }
        let is_unverified = meta.checksum == Checksum::Unverified;
        if is_unverified && verify_checksums(head, payload.chunks().map(AsRef::as_ref)).is_err() {
            return false;
        }
        (segment.ecn, segment.gso_size) = (head[1] & 3, meta.gso_size);
        let mut packets = 1;
        if batch.len() > 1 && tcb.connection.is_in_sequence(segment.seq()) {
            let mut rest = batch.iter_mut();
            let Some(Packet { head, payload, .. }) = rest.next() else { return false };
            segment.payload = core::mem::take(payload);
            let sum_words = self.io.config.sum_words;
            packets += couple(&mut segment, head, Ipv4Header::MIN_LEN, sum_words, rest);
            batch.drop_front(packets);
        } else {
            segment.payload = batch.pop_payload();
        }
        let ecn = ecn_counter(segment.ecn);
        for counter in [Counter::IpInReceives, ecn, Counter::IpInDelivers, Counter::TcpInSegs] {
            self.io.counters.add(counter, packets as u64);
        }
        self.deliver(now, key, &mut segment);
        true
    }
}

impl Io {
    /// The connection that the latest segment was for, if this one is for it, too.
    #[inline]
    fn latest_connection(&self, nic: NicId, packet: &Packet) -> Option<Key> {
        let head = &packet.head;
        let plain = head.len() >= Ipv4Header::MIN_LEN + 20
            // Version 4, no options; no fragment; nothing behind the packet.
            && head[0] == 0x45
            && head[6] & !0x40 | head[7] == 0
            && Protocol(head[9]) == Protocol::TCP
            && packet.states_len();
        // What the host sends to groups that it is in comes back by the loopback, marked with the link it left by.
        let own = nic == NicId::LOOPBACK && packet.meta.nic != NicId::LOOPBACK;
        if !plain || own || !self.raws.is_empty() {
            return None;
        }
        let (tuple, key) = self.demux.latest_v4(head[12..24].try_into().ok()?)?;
        let ends = Ends { src: tuple.remote, dst: tuple.local, nic, v4: true };
        self.addresses.is_latest(&ends).then_some(key)
    }
}
