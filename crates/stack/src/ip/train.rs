//! Trains: segments of one connection that follow each other, handled as one.
//!
//! A connection decides, records and acknowledges once per train, not once per segment: on the way out a
//! super-segment is cut here for an interface that takes none, on the way in the segments of a batch that
//! continue each other are put together. Nobody outside can tell: the packets are the same, and a batch was
//! always taken in whole before it is acknowledged (RFC 9293 §3.10.7.4, MUST-58).
//!
//! Only what arrives in sequence is put together, since each segment out of order is owed an
//! acknowledgment of its own (RFC 5681 §4.2).
//!
//! What all heads of a train have in common is written, compared and summed once ([`Pattern`]).

use crate::io::Io;
use crate::ip::output::IpParams;
use crate::tcp::Segment;
use sockeye_packet::{Batch, Checksum, Head, NicId, Packet, Payload};
use sockeye_wire::{Checksum as Sum, Protocol, TcpFixed, TcpFlags, TcpHeader};

impl Io {
    /// Appends the segments of `size` bytes that `payload` is cut into.
    pub(crate) fn push_train(
        &mut self,
        nic: NicId,
        ip: &IpParams,
        header: &TcpHeader,
        payload: &Payload,
        size: usize,
        batch: &mut Batch,
    ) {
        let first = self.tcp_packet(nic, ip, header, Payload::EMPTY, size as u16);
        let pattern = Pattern::new(&first.head, ip.header_len());
        let mut meta = first.meta;
        meta.gso_size = 0;
        let checksums = self.nic(nic).config.checksums;
        if checksums {
            meta.checksum = Checksum::Verified;
        }
        let mut start = 0;
        while start < payload.len() {
            let end = payload.len().min(start + size);
            let mut flags = header.flags;
            if end < payload.len() {
                flags = flags & !(TcpFlags::FIN | TcpFlags::PSH);
            }
            if start > 0 {
                // RFC 3168 §6.1.2: once.
                flags = flags & !TcpFlags::CWR;
            }
            let packet = batch.push_copy(&first.head, payload.slice(start, end), meta);
            pattern.patch(&mut packet.head, end - start, header.seq.wrapping_add(start as u32), flags);
            if checksums {
                pattern.fill(packet);
            }
            start = end;
        }
    }
}

/// Takes the packets off `batch` that continue `segment`, which came in a packet with this head, and
/// appends their data to it; answers how many.
pub(crate) fn couple(segment: &mut Segment, head: &Head, transport: usize, batch: &mut Batch) -> u64 {
    let mut coupled = 0;
    if segment.header.flags & !TcpFlags::PSH != TcpFlags::ACK || segment.payload.is_empty() {
        return 0;
    }
    let size = if segment.gso_size > 0 { usize::from(segment.gso_size) } else { segment.payload.len() };
    let mut train = Train { seq: segment.header.seq, size, len: segment.payload.len(), pattern: None };
    // They stay where they are until all are dropped: packets are large to move.
    for next in batch.iter_mut() {
        if !train.continues_with(next, head, transport) {
            break;
        }
        train.len += next.payload.len();
        segment.payload.append_from(&mut next.payload);
        coupled += 1;
    }
    if coupled > 0 {
        segment.gso_size = size as u16;
        batch.drop_front(coupled);
    }
    coupled as u64
}

/// What has been put together.
struct Train {
    seq: u32,
    size: usize,
    len: usize,
    /// Made when there is something to compare with it.
    pattern: Option<Pattern>,
}

impl Train {
    /// Whether `next` has the same headers as the first, which is at `head`, but for what differs from segment to
    /// segment, starts where the train ends and is right.
    #[inline]
    fn continues_with(&mut self, next: &Packet, head: &Head, transport: usize) -> bool {
        let Train { seq, size, len, ref mut pattern } = *self;
        let data = next.payload.len();
        // Whole segments, the last of which may be short.
        let fits = len % size == 0
            && if next.meta.gso_size > 0 { usize::from(next.meta.gso_size) == size } else { data <= size };
        if !fits || data == 0 || next.head.len() != head.len() {
            return false;
        }
        let seq = seq.wrapping_add(len as u32);
        let pattern = pattern.get_or_insert_with(|| Pattern::new(head, transport));
        next.head[transport + 4..transport + 8] == seq.to_be_bytes()
            && pattern.states_len(next)
            && next.head.is_same_under(head, &pattern.mask)
            && (next.meta.checksum != Checksum::Unverified || pattern.verifies(next))
    }
}

/// What the heads of a train have in common.
///
/// They differ in length, in IPv4 identification and checksum, in sequence number, control bits and checksum.
struct Pattern {
    transport: usize,
    v4: bool,
    /// Ones where the heads of those that arrive must be the same: control bits but for PSH, too.
    mask: Head,
    /// The sums of what is the same in all, with the pseudo header, and in IPv4 of the IP header's.
    sum: Sum,
    ip_sum: Sum,
}

impl Pattern {
    fn new(head: &Head, transport: usize) -> Pattern {
        let v4 = head[0] >> 4 == 4;
        let mut mask = Head::zeroed(head.len());
        mask.fill(0xff);
        // Length and identification, checksum; the length.
        let (own, addresses) = if v4 { ([2..6, 10..12], 12..20) } else { ([4..6, 4..6], 8..40) };
        let at = transport;
        // Sequence number, checksum; the low control bits.
        let [low, high] = own;
        for fields in [low, high, at + 4..at + 8, at + 16..at + 18] {
            mask[fields].fill(0);
        }
        mask[at + 13] = !(TcpFlags::PSH.bits() as u8);
        let mut sum = Sum::new().with(&head[addresses]);
        sum.add_u16(Protocol::TCP.0.into());
        sum.add(&head[at..at + 4]);
        sum.add(&head[at + 8..at + 12]);
        sum.add(&head[at + 14..at + 16]);
        sum.add(&head[at + 18..]);
        let ip_sum =
            if v4 { Sum::new().with(&head[..2]).with(&head[6..10]).with(&head[12..at]) } else { Sum::new() };
        Pattern { transport, v4, mask, sum, ip_sum }
    }

    /// Writes what differs from segment to segment, checksums zero.
    #[inline]
    fn patch(&self, head: &mut Head, data: usize, seq: u32, flags: TcpFlags) {
        let (at, len) = (self.transport, head.len() + data);
        if self.v4 {
            head[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        } else {
            head[4..6].copy_from_slice(&((len - at) as u16).to_be_bytes());
        }
        if let Some(fixed) = TcpFixed::at_mut(&mut head[at..]) {
            fixed.seq = seq.into();
            fixed.set_flags(flags);
        }
    }

    /// Whether the IP header states the packet's length.
    #[inline]
    fn states_len(&self, packet: &Packet) -> bool {
        let (head, data) = (&packet.head, packet.payload.len());
        if self.v4 {
            usize::from(u16::from_be_bytes([head[2], head[3]])) == head.len() + data
        } else {
            usize::from(u16::from_be_bytes([head[4], head[5]])) + 40 == head.len() + data
        }
    }

    /// Fills in the checksums of a packet.
    #[inline]
    fn fill(&self, packet: &mut Packet) {
        let (ip, transport) = self.sums(packet);
        if self.v4 {
            packet.head[10..12].copy_from_slice(&ip.finish().to_be_bytes());
        }
        packet.head[self.transport + 16..self.transport + 18]
            .copy_from_slice(&transport.finish().to_be_bytes());
    }

    /// Whether the checksums of a packet with such a head are right.
    #[inline]
    fn verifies(&self, packet: &Packet) -> bool {
        let (mut ip, mut transport) = self.sums(packet);
        let (head, at) = (&packet.head, self.transport);
        ip.add_u16(u16::from_be_bytes([head[10], head[11]]));
        transport.add_u16(u16::from_be_bytes([head[at + 16], head[at + 17]]));
        (!self.v4 || ip.finish() == 0) && transport.finish() == 0
    }

    /// The sums of all but the checksums.
    #[inline]
    fn sums(&self, packet: &Packet) -> (Sum, Sum) {
        let Packet { head, payload, .. } = packet;
        let (mut ip, mut transport) = (self.ip_sum, self.sum);
        let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        if self.v4 {
            ip.add_u16(word(2));
            ip.add_u16(word(4));
        }
        let at = self.transport;
        for value in [word(at + 4), word(at + 6), word(at + 12), (head.len() - at + payload.len()) as u16] {
            transport.add_u16(value);
        }
        payload.chunks().for_each(|chunk| transport.add(chunk));
        (ip, transport)
    }
}
