//! Many datagrams in one call (udp(7)): `UDP_SEGMENT` cuts what a program sends, `UDP_GRO` lets it read as one what
//! came in a row.

use crate::error::{Error, Result};
use crate::ip::route::Path;
use crate::socket::udp::skips_checksum;
use crate::socket::{Datagram, Message, SocketId};
use crate::{Counter, SockAddr, Stack};
use sockeye_packet::Payload;
use sockeye_wire::{Ipv4Header, Ipv6Header, UdpHeader};

/// Most datagrams that one message is cut into (`UDP_MAX_SEGMENTS`).
const MAX_SEGMENTS: usize = 128;
/// Most datagrams that are read as one (`UDP_GRO_CNT_MAX`), and most bytes of them.
const MAX_MERGED: usize = 64;
const MAX_BYTES: usize = 65_535 - UdpHeader::LEN - Ipv4Header::MIN_LEN;
/// More than what a datagram costs beside its data while it waits for the link.
const SEGMENT_COST: usize = 512;

impl Stack {
    /// Sends a message as datagrams of `size` bytes, the last of which may be shorter: all of them or none.
    pub(super) fn send_segments(
        &mut self,
        id: SocketId,
        path: Path,
        to: &SockAddr,
        message: &Message,
        payload: &Payload,
        size: u16,
    ) -> Result<usize> {
        let (len, size) = (payload.len(), usize::from(size));
        let socket = self.socket_ref(id)?;
        let ip_header = if to.is_v4() { socket.kind.v4_header_len() } else { Ipv6Header::LEN };
        if ip_header + UdpHeader::LEN + len.min(size) > path.mtu as usize {
            return Err(Error::MessageSize);
        }
        // As the kernel, which leaves the checksums of segments to the device.
        if len > size * MAX_SEGMENTS || skips_checksum(socket, to) {
            return Err(Error::InvalidArgument);
        }
        let count = len.div_ceil(size).max(1);
        if self.io.budget.available() < 2 * (len + count * SEGMENT_COST) {
            return Err(Error::NoBufs);
        }
        for start in (0..count).map(|number| number * size) {
            let segment = payload.slice(start, len.min(start + size));
            let packet = self.datagram_packet(id, &path, to, message, segment)?;
            if self.hear_ourselves(id, &path, &to.ip, &packet) {
                self.queue_packet(id, (path.nic, path.mtu as usize), packet)?;
            }
        }
        self.io.counters.add(Counter::UdpOutDatagrams, count as u64);
        Ok(len)
    }
}

/// Whether `next`, which came right behind `last`, may be read with it as one: it came at the same moment by the same
/// way, and all but the last are of one length.
pub(super) fn continues(last: &Datagram, next: &Datagram) -> bool {
    let len = last.payload.len();
    let size = if last.segment_size > 0 { usize::from(last.segment_size) } else { len };
    let same = last.received_at == next.received_at
        && (last.from, last.to, last.nic) == (next.from, next.to, next.nic)
        && (last.ttl, last.tos) == (next.ttl, next.tos);
    same && (1..=size).contains(&next.payload.len())
        && len.is_multiple_of(size)
        && len / size < MAX_MERGED
        && len + next.payload.len() <= MAX_BYTES
}
