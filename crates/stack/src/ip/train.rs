//! Trains: segments of one connection that follow each other, handled as one.
//!
//! A connection decides, records and acknowledges once per train, not once per segment: on the way out a
//! super-segment is cut here for an interface that takes none, on the way in the segments of a batch that
//! continue each other are put together. Nobody outside can tell: the packets are the same, and a batch was
//! always taken in whole before it is acknowledged (RFC 9293 §3.10.7.4, MUST-58).
//!
//! Only what arrives in sequence is put together, since each segment out of order is owed an
//! acknowledgment of its own (RFC 5681 §4.2).

use crate::io::Io;
use crate::ip::output::{IpParams, fill};
use crate::tcp::Segment;
use sockeye_packet::{Batch, Checksum, Head, NicId, Packet, Payload};
use sockeye_wire::{Ipv4Fixed, Ipv6Fixed, TcpFixed, TcpFlags, TcpHeader, verify_checksums};

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
        // What all have in common is written once.
        let first = self.tcp_packet(nic, ip, header, Payload::EMPTY, size as u16);
        let checksums = self.nic(nic).config.checksums;
        let mut start = 0;
        while start < payload.len() {
            let end = payload.len().min(start + size);
            let mut packet =
                Packet { head: first.head.clone(), payload: payload.slice(start, end), meta: first.meta };
            packet.meta.gso_size = 0;
            let mut flags = header.flags;
            if end < payload.len() {
                flags = flags & !(TcpFlags::FIN | TcpFlags::PSH);
            }
            if start > 0 {
                // RFC 3168 §6.1.2: once.
                flags = flags & !TcpFlags::CWR;
            }
            patch(
                &mut packet.head,
                ip.header_len(),
                end - start,
                header.seq.wrapping_add(start as u32),
                flags,
            );
            if checksums {
                fill(&mut packet);
            }
            batch.push(packet);
            start = end;
        }
    }
}

/// Writes what differs from segment to segment.
fn patch(head: &mut Head, transport: usize, data: usize, seq: u32, flags: TcpFlags) {
    let len = head.len() + data;
    if head[0] >> 4 == 4 {
        if let Some(fixed) = Ipv4Fixed::at_mut(head) {
            fixed.total_len = (len as u16).into();
        }
    } else if let Some(fixed) = Ipv6Fixed::at_mut(head) {
        fixed.payload_len = ((len - transport) as u16).into();
    }
    if let Some(fixed) = TcpFixed::at_mut(&mut head[transport..]) {
        fixed.seq = seq.into();
        fixed.set_flags(flags);
    }
}

/// Takes the packets off `batch` that continue `segment`, which came in a packet with this head, and
/// appends their data to it; answers how many.
pub(crate) fn couple(segment: &mut Segment, head: &Head, transport: usize, batch: &mut Batch) -> u64 {
    let mut coupled = 0;
    if segment.header.flags & !TcpFlags::PSH != TcpFlags::ACK || segment.payload.is_empty() {
        return coupled;
    }
    let size = if segment.gso_size > 0 { usize::from(segment.gso_size) } else { segment.payload.len() };
    let mut train = Train { head, transport, seq: segment.header.seq, size, len: segment.payload.len() };
    while batch.front().is_some_and(|next| train.continues_with(next)) {
        let Some(next) = batch.pop() else { break };
        train.len += next.payload.len();
        segment.payload.extend(next.payload);
        segment.gso_size = size as u16;
        coupled += 1;
    }
    coupled
}

struct Train<'a> {
    head: &'a Head,
    transport: usize,
    seq: u32,
    size: usize,
    len: usize,
}

impl Train<'_> {
    /// Whether `next` has the same headers but for what differs from segment to segment, starts where the
    /// train ends and is right.
    fn continues_with(&self, next: &Packet) -> bool {
        let Train { head, transport, seq, size, len } = *self;
        let (at, data) = (transport, next.payload.len());
        // Whole segments, the last of which may be short.
        let fits = len % size == 0
            && if next.meta.gso_size > 0 { usize::from(next.meta.gso_size) == size } else { data <= size };
        if !fits || data == 0 || next.head.len() != head.len() {
            return false;
        }
        let other = &next.head;
        let same_ip = if head[0] >> 4 == 4 {
            // All but length, identification and checksum.
            let stated = usize::from(u16::from_be_bytes([other[2], other[3]]));
            stated == other.len() + data
                && head[..2] == other[..2]
                && head[6..10] == other[6..10]
                && head[12..at] == other[12..at]
        } else {
            let stated = usize::from(u16::from_be_bytes([other[4], other[5]]));
            stated + 40 == other.len() + data && head[..4] == other[..4] && head[6..at] == other[6..at]
        };
        // All but sequence number, PSH and checksum.
        let (push, seq_field) = (TcpFlags::PSH.bits() as u8, &other[at + 4..at + 8]);
        same_ip
            && head[at..at + 4] == other[at..at + 4]
            && *seq_field == seq.wrapping_add(len as u32).to_be_bytes()
            && head[at + 8..at + 13] == other[at + 8..at + 13]
            && (head[at + 13] ^ other[at + 13]) & !push == 0
            && head[at + 14..at + 16] == other[at + 14..at + 16]
            && head[at + 18..] == other[at + 18..]
            && (next.meta.checksum != Checksum::Unverified
                || verify_checksums(other, next.payload.chunks().map(AsRef::as_ref)).is_ok())
    }
}
