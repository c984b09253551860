//! Tests, most of them against `etherparse`.
use super::*;
use proptest::prelude::*;

pub(crate) fn header() -> impl Strategy<Value = TcpHeader> {
    (any::<(u16, u16, u32, u32, u16, u16, u16)>(), options::tests::options()).prop_map(|(fields, options)| {
        let (src_port, dst_port, seq, ack, flags, window, urgent) = fields;
        let flags = TcpFlags::from_bits(flags);
        TcpHeader { src_port, dst_port, seq, ack, flags, window, urgent, options }
    })
}

#[test]
fn flags_print_as_in_packet_lines() {
    use alloc::string::ToString;
    assert_eq!((TcpFlags::SYN | TcpFlags::ACK).to_string(), "S.");
    assert_eq!(TcpFlags::ALL.to_string(), "FSRP.UEWA");
    assert_eq!(TcpFlags::NONE.to_string(), "-");
    assert_eq!(!TcpFlags::ALL, TcpFlags::NONE);
}

#[test]
fn a_data_offset_that_lies_is_an_error() {
    let mut bytes = [0; 24];
    bytes[12] = 4 << 4;
    assert_eq!(TcpHeader::parse(&bytes), Err(Error::Length(Format::Tcp)));
    bytes[12] = 7 << 4;
    assert_eq!(TcpHeader::parse(&bytes), Err(Error::Truncated(Format::Tcp)));
    assert_eq!(TcpHeader::parse(&bytes[..19]), Err(Error::Truncated(Format::Tcp)));
}

#[test]
fn the_view_edits_in_place() {
    let mut bytes = [0; 20];
    TcpHeader { flags: TcpFlags::PSH | TcpFlags::FIN, ..TcpHeader::default() }.emit(&mut bytes);
    let view = TcpFixed::at_mut(&mut bytes).unwrap();
    view.seq = 1460.into();
    view.set_flags(view.flags() & !(TcpFlags::PSH | TcpFlags::FIN) | TcpFlags::ACK);
    let (header, len) = TcpHeader::parse(&bytes).unwrap();
    assert_eq!((header.seq, header.flags, len), (1460, TcpFlags::ACK, 20));
}

proptest! {
    #[test]
    fn etherparse_reads_what_we_emit(header in header(), before in header(), data in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut bytes = [0; 60];
        let len = header.emit(&mut bytes);
        prop_assert_eq!(len, header.len());
        let (theirs, rest) = etherparse::TcpHeader::from_slice(&bytes[..len]).unwrap();
        prop_assert!(rest.is_empty());
        prop_assert_eq!(theirs.source_port, header.src_port);
        prop_assert_eq!(theirs.destination_port, header.dst_port);
        prop_assert_eq!(theirs.sequence_number, header.seq);
        prop_assert_eq!(theirs.acknowledgment_number, header.ack);
        prop_assert_eq!(theirs.window_size, header.window);
        prop_assert_eq!(theirs.urgent_pointer, header.urgent);
        let bits = [theirs.fin, theirs.syn, theirs.rst, theirs.psh, theirs.ack, theirs.urg, theirs.ece, theirs.cwr, theirs.ns];
        for (index, bit) in bits.into_iter().enumerate() {
            prop_assert_eq!(bit, header.flags.bits() >> index & 1 == 1);
        }
        let mut found = TcpOptions::default();
        for option in theirs.options_iterator() {
            use etherparse::TcpOptionElement::{MaximumSegmentSize, Noop, SelectiveAcknowledgement, SelectiveAcknowledgementPermitted, Timestamp, WindowScale};
            match option.unwrap() {
                Noop => {}
                MaximumSegmentSize(mss) => found.mss = Some(mss),
                WindowScale(shift) => found.window_scale = Some(shift),
                SelectiveAcknowledgementPermitted => found.sack_permitted = true,
                SelectiveAcknowledgement(first, more) => {
                    found.sack = core::iter::once(first).chain(more.into_iter().flatten())
                        .map(|(left, right)| SackBlock { left, right }).collect();
                }
                Timestamp(value, echo) => found.timestamps = Some(TcpTimestamps { value, echo }),
            }
        }
        prop_assert_eq!(found, header.options);
        prop_assert_eq!(TcpHeader::parse(&bytes[..len]), Ok((header, len)));
        let mut reused = before;
        prop_assert_eq!(reused.read(&bytes[..len]), Ok(len));
        prop_assert_eq!(reused, header);
        prop_assert_eq!(TcpHeader::parse(&[&bytes[..len], &data[..]].concat()), Ok((header, len)));
    }

    #[test]
    fn arbitrary_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut untouched = TcpHeader { seq: 7, ..TcpHeader::default() };
        if untouched.read(&bytes).is_err() {
            prop_assert_eq!(untouched, TcpHeader { seq: 7, ..TcpHeader::default() });
        }
        if let Ok((header, len)) = TcpHeader::parse(&bytes) {
            prop_assert!(len <= bytes.len());
            prop_assert!(header.emit(&mut [0; 60]) <= 60);
        }
    }
}
