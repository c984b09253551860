//! A segment: what input hands to a connection and a connection hands to output.

use super::seq::SeqNumber;
use sockeye_packet::Payload;
use sockeye_wire::{TcpFlags, TcpHeader};

/// A segment whose ports are somebody else's business.
#[derive(Clone, Debug, Default)]
pub(crate) struct Segment {
    /// The header. Ports and checksum are neither read nor filled here.
    pub(crate) header: TcpHeader,
    /// The data. Of a super-segment, that of all its segments.
    pub(crate) payload: Payload,
    /// The ECN bits of the IP header.
    pub(crate) ecn: u8,
    /// Bytes of payload in each segment of a super-segment; 0 for a plain segment.
    pub(crate) gso_size: u16,
}

impl Segment {
    /// A segment without data.
    pub(crate) fn control(header: TcpHeader) -> Segment {
        Segment { header, payload: Payload::EMPTY, ecn: 0, gso_size: 0 }
    }

    /// Sequence number of the first octet, or of the SYN.
    pub(crate) fn seq(&self) -> SeqNumber {
        SeqNumber(self.header.seq)
    }
}

/// SEG.LEN of a segment with this header and `payload_len` bytes of data: octets of sequence space,
/// counting SYN and FIN (RFC 9293 §3.4).
pub(crate) fn seq_len(header: &TcpHeader, payload_len: usize) -> u32 {
    payload_len as u32 + u32::from(header.flags.syn()) + u32::from(header.flags.fin())
}

/// The reset that answers a segment for which there is no connection (RFC 9293 §3.10.7.1), or none when
/// that segment is itself a reset. Its ports are those of `header`, swapped.
pub(crate) fn reset_for(header: &TcpHeader, payload_len: usize) -> Option<TcpHeader> {
    if header.flags.rst() {
        return None;
    }
    let mut reset =
        TcpHeader { src_port: header.dst_port, dst_port: header.src_port, ..TcpHeader::default() };
    if header.flags.ack() {
        reset.seq = header.ack;
        reset.flags = TcpFlags::RST;
    } else {
        reset.ack = header.seq.wrapping_add(seq_len(header, payload_len));
        reset.flags = TcpFlags::RST | TcpFlags::ACK;
    }
    Some(reset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_fits_what_it_answers() {
        let syn =
            TcpHeader { seq: 7, flags: TcpFlags::SYN, src_port: 1, dst_port: 2, ..TcpHeader::default() };
        let reset = reset_for(&syn, 10).unwrap();
        assert_eq!((reset.src_port, reset.dst_port, reset.seq, reset.ack), (2, 1, 0, 18));
        assert_eq!(reset.flags, TcpFlags::RST | TcpFlags::ACK);
        let data = TcpHeader { seq: 7, ack: 99, flags: TcpFlags::ACK, ..TcpHeader::default() };
        let reset = reset_for(&data, 10).unwrap();
        assert_eq!((reset.seq, reset.flags), (99, TcpFlags::RST));
        assert!(reset_for(&reset, 0).is_none());
    }
}
