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
//! What all heads of a train have in common is written, compared and summed once.

use crate::io::Io;
use crate::ip::output::IpParams;
use crate::tcp::Segment;
use sockeye_packet::{Batch, Checksum, Head, Meta, NicId, Packet, Payload};
use sockeye_wire::{
    Checksum as Sum, IpLayout, Ipv4Header, Ipv6Header, Protocol, SumWords, TcpFixed, TcpFlags, TcpHeader,
};

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
        let transport = ip.header_len();
        let mut meta = first.meta;
        meta.gso_size = 0;
        let sums = self.nic(nic).config.checksums.then(|| {
            meta.checksum = Checksum::Verified;
            Sums::new(&first.head, transport, self.config.sum_words)
        });
        let mut start = 0;
        while start < payload.len() {
            let end = payload.len().min(start + size);
            let flags = flags_between(header.flags, start, end == payload.len());
            let packet = batch.push_copy(&first.head, payload.slice(start, end), meta);
            patch(&mut packet.head, transport, end - start, header.seq.wrapping_add(start as u32), flags);
            if let Some(sums) = &sums {
                sums.fill(packet);
            }
            start = end;
        }
    }
}

/// Writes what differs from segment to segment, but for checksums.
#[inline]
fn patch(head: &mut Head, transport: usize, data: usize, seq: u32, flags: TcpFlags) {
    head.state_len(head.len() + data);
    if let Some(fixed) = TcpFixed::at_mut(&mut head[transport..]) {
        fixed.seq = seq.into();
        fixed.set_flags(flags);
    }
}

/// The super-segments that one of TCP is cut into whose header doesn't state its length, so that each header does: what
/// programs are shown.
pub(crate) fn stated_parts(packet: &Packet) -> impl Iterator<Item = Packet> {
    let Packet { head, payload, meta } = packet;
    let transport = IpLayout::parse(head).map_or(0, |ip| ip.transport);
    let header = head.get(transport..).and_then(|header| TcpHeader::parse(header).ok());
    let header = header.map(|(header, _)| header).unwrap_or_default();
    let size = usize::from(meta.gso_size).max(1);
    let most = ((Packet::LONGEST_STATED - head.len()) / size).max(1) * size;
    (0..payload.len()).step_by(most).map(move |start| {
        let end = payload.len().min(start + most);
        let flags = flags_between(header.flags, start, end == payload.len());
        let gso_size = if end - start > size { meta.gso_size } else { 0 };
        let meta = Meta { gso_size, checksum: Checksum::Unfilled, ..*meta };
        let mut part = Packet { head: head.clone(), payload: payload.slice(start, end), meta };
        patch(&mut part.head, transport, end - start, header.seq.wrapping_add(start as u32), flags);
        part
    })
}

/// The control bits of what begins at byte `start` of a train's data.
#[inline]
fn flags_between(mut flags: TcpFlags, start: usize, is_last: bool) -> TcpFlags {
    if !is_last {
        flags = flags & !(TcpFlags::FIN | TcpFlags::PSH);
    }
    if start > 0 {
        // RFC 3168 §6.1.2: once.
        flags = flags & !TcpFlags::CWR;
    }
    flags
}

#[inline]
fn is_v4(head: &Head) -> bool {
    head[0] >> 4 == 4
}

/// Appends the data of the packets that continue `segment`, which came in a packet with this head, to it, and
/// answers how many those are. Of what is left of them nothing is to be looked at any more.
#[inline]
pub(crate) fn couple<'a>(
    segment: &mut Segment,
    head: &Head,
    transport: usize,
    sum_words: SumWords,
    packets: impl Iterator<Item = &'a mut Packet>,
) -> usize {
    let mut coupled = 0;
    if segment.header.flags & !TcpFlags::PSH != TcpFlags::ACK || segment.payload.is_empty() {
        return coupled;
    }
    let own;
    let mask = match (is_v4(head), transport) {
        (true, Ipv4Header::MIN_LEN) => &V4,
        (false, Ipv6Header::LEN) => &V6,
        (v4, transport) => {
            own = mask(v4, transport);
            &own
        }
    };
    let (seq, len) = (segment.header.seq, segment.payload.len());
    let size = if segment.gso_size > 0 { usize::from(segment.gso_size) } else { len };
    let mut train = Train { head, transport, seq, size, len, mask, sum_words, sums: None };
    // They stay where they are until all are dropped: packets are large to move.
    for next in packets {
        if !train.continues_with(next) {
            break;
        }
        train.len += next.payload.len();
        segment.payload.append_from(&mut next.payload);
        segment.gso_size = size as u16;
        coupled += 1;
    }
    coupled
}

/// What has been put together.
struct Train<'a> {
    head: &'a Head,
    transport: usize,
    seq: u32,
    size: usize,
    len: usize,
    mask: &'a Head,
    sum_words: SumWords,
    /// Made when there is something to verify.
    sums: Option<Sums>,
}

impl Train<'_> {
    /// Whether `next` has the same headers but for what differs from segment to segment, starts where the
    /// train ends and is right.
    #[inline]
    fn continues_with(&mut self, next: &Packet) -> bool {
        let Train { head, transport, seq, size, len, mask, sum_words, .. } = *self;
        let data = next.payload.len();
        // Whole segments, the last of which may be short.
        let fits = len % size == 0
            && if next.meta.gso_size > 0 { usize::from(next.meta.gso_size) == size } else { data <= size };
        if !fits || data == 0 || next.head.len() != head.len() {
            return false;
        }
        let seq = seq.wrapping_add(len as u32);
        next.head[transport + 4..transport + 8] == seq.to_be_bytes()
            && next.states_len()
            && next.head.is_same_under(head, mask)
            && (next.meta.checksum != Checksum::Unverified
                || self.sums.get_or_insert_with(|| Sums::new(head, transport, sum_words)).are_right(next))
    }
}

/// The masks of headers without options and extensions.
static V4: Head = mask(true, Ipv4Header::MIN_LEN);
static V6: Head = mask(false, Ipv6Header::LEN);

/// Ones where the heads of those that arrive must be the same: not in length, IPv4 identification and checksum,
/// sequence number, PSH and checksum.
const fn mask(v4: bool, transport: usize) -> Head {
    let mut mask = [0xff; Head::CAPACITY];
    let fields: &[usize] = if v4 { &[2, 3, 4, 5, 10, 11] } else { &[4, 5] };
    let mut i = 0;
    while i < fields.len() {
        mask[fields[i]] = 0;
        i += 1;
    }
    let fields = [4, 5, 6, 7, 16, 17];
    i = 0;
    while i < fields.len() {
        mask[transport + fields[i]] = 0;
        i += 1;
    }
    mask[transport + 13] = !(TcpFlags::PSH.bits() as u8);
    Head::from_array(mask)
}

/// The sums of what the heads of a train have in common: all but lengths, IPv4 identification, sequence number,
/// control bits and checksums.
struct Sums {
    transport: usize,
    /// Of the IPv4 header.
    ip: Sum,
    /// Of the pseudo header and the transport's.
    tcp: Sum,
    sum_words: SumWords,
}

impl Sums {
    fn new(head: &Head, transport: usize, sum_words: SumWords) -> Sums {
        let at = transport;
        let (mut ip, mut tcp) = (Sum::new(), Sum::new());
        if is_v4(head) {
            ip = ip.with(&head[..2]).with(&head[6..10]).with(&head[12..at]);
            tcp.add(&head[12..20]);
        } else {
            tcp.add(&head[8..40]);
        }
        tcp.add_u16(Protocol::TCP.0.into());
        let tcp = tcp.with(&head[at..at + 4]).with(&head[at + 8..at + 12]).with(&head[at + 14..at + 16]);
        Sums { transport, ip, tcp: tcp.with(&head[at + 18..]), sum_words }
    }

    /// Fills in the checksums of a packet.
    #[inline]
    fn fill(&self, packet: &mut Packet) {
        let (ip, tcp) = self.of(packet);
        let (head, at) = (&mut packet.head, self.transport + 16);
        if is_v4(head) {
            head[10..12].copy_from_slice(&ip.finish().to_be_bytes());
        }
        head[at..at + 2].copy_from_slice(&tcp.finish().to_be_bytes());
    }

    /// Whether the checksums of a packet are right whose head is the same where it must be.
    #[inline]
    fn are_right(&self, packet: &Packet) -> bool {
        let (mut ip, mut tcp) = self.of(packet);
        let (head, at) = (&packet.head, self.transport + 16);
        ip.add_u16(u16::from_be_bytes([head[10], head[11]]));
        tcp.add_u16(u16::from_be_bytes([head[at], head[at + 1]]));
        (!is_v4(head) || ip.finish() == 0) && tcp.finish() == 0
    }

    /// The sums of all but the checksums.
    #[inline]
    fn of(&self, packet: &Packet) -> (Sum, Sum) {
        let Packet { head, payload, .. } = packet;
        let (mut ip, mut tcp) = (self.ip, self.tcp);
        let own = &head[self.transport..];
        // Both are there in a packet that comes here.
        if let (Some(ip_own), Some(tcp_own)) = (head.first_chunk::<6>(), own.first_chunk::<14>()) {
            let word = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            ip.add_u16(word(ip_own, 2));
            ip.add_u16(word(ip_own, 4));
            tcp.add_u16(word(tcp_own, 4));
            tcp.add_u16(word(tcp_own, 6));
            tcp.add_u16(word(tcp_own, 12));
        }
        tcp.add_u16((own.len() + payload.len()) as u16);
        match payload.single() {
            Some(chunk) => tcp.add_by(self.sum_words, chunk),
            None => payload.chunks().for_each(|chunk| tcp.add_by(self.sum_words, chunk)),
        }
        (ip, tcp)
    }
}
