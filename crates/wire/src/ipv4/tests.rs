//! Tests, most of them against `etherparse`.
use super::*;
use proptest::prelude::*;

pub(crate) fn header() -> impl Strategy<Value = Ipv4Header> {
    let options = prop::collection::vec(any::<u32>(), 0..=10);
    let fields = any::<(u8, u16, bool, bool, u16, u8, u8)>();
    (fields, options, any::<u32>(), any::<u32>(), 60u16..).prop_map(
        |(fields, options, src, dst, total_len)| {
            let (tos_ecn, id, dont_fragment, more_fragments, offset, ttl, protocol) = fields;
            Ipv4Header {
                tos_ecn,
                total_len,
                id,
                dont_fragment,
                more_fragments,
                fragment_offset: (offset % 0x2000) * 8,
                ttl,
                protocol: Protocol(protocol),
                src: src.into(),
                dst: dst.into(),
                options: options.into_iter().flat_map(u32::to_be_bytes).collect(),
            }
        },
    )
}

#[test]
fn lengths_that_contradict_each_other_are_errors() {
    let mut bytes = [0; 24];
    Ipv4Header { total_len: 20, ..Ipv4Header::default() }.emit(&mut bytes);
    assert!(Ipv4Header::parse(&bytes).is_ok());
    assert_eq!(Ipv4Header::parse(&bytes[..19]), Err(Error::Truncated(Format::Ipv4)));
    bytes[3] = 19;
    assert_eq!(Ipv4Header::parse(&bytes), Err(Error::Length(Format::Ipv4)));
    bytes[0] = 0x44;
    assert_eq!(Ipv4Header::parse(&bytes), Err(Error::Length(Format::Ipv4)));
    (bytes[0], bytes[3]) = (0x47, 60);
    assert_eq!(Ipv4Header::parse(&bytes), Err(Error::Truncated(Format::Ipv4)));
    bytes[0] = 0x65;
    assert_eq!(Ipv4Header::parse(&bytes), Err(Error::Version(Format::Ipv4)));
}

#[test]
fn options_are_padded_with_zeros() {
    let options = Ipv4Options::from_slice(&[1, 7, 3, 4, 0xff]);
    let header = Ipv4Header { total_len: 28, options, ..Ipv4Header::default() };
    let mut bytes = [0xee; 28];
    assert_eq!(header.emit(&mut bytes), 28);
    assert_eq!(bytes[20..], [1, 7, 3, 4, 0xff, 0, 0, 0]);
    assert!(Ipv4Header::verify(&bytes));
}

proptest! {
    #[test]
    fn etherparse_reads_what_we_emit(header in header()) {
        let mut bytes = [0xee; 60];
        let len = header.emit(&mut bytes);
        prop_assert_eq!(len, header.len());
        let (theirs, _) = etherparse::Ipv4Header::from_slice(&bytes[..len]).unwrap();
        prop_assert_eq!(theirs.calc_header_checksum(), theirs.header_checksum);
        prop_assert_eq!(theirs.dscp.value() << 2 | theirs.ecn.value(), header.tos_ecn);
        prop_assert_eq!(theirs.total_len, header.total_len);
        prop_assert_eq!(theirs.identification, header.id);
        prop_assert_eq!(theirs.dont_fragment, header.dont_fragment);
        prop_assert_eq!(theirs.more_fragments, header.more_fragments);
        prop_assert_eq!(u32::from(theirs.fragment_offset.value()) * 8, u32::from(header.fragment_offset));
        prop_assert_eq!(theirs.time_to_live, header.ttl);
        prop_assert_eq!(theirs.protocol.0, header.protocol.0);
        prop_assert_eq!(theirs.source, header.src.octets());
        prop_assert_eq!(theirs.destination, header.dst.octets());
        prop_assert_eq!(theirs.options.as_slice(), &header.options[..]);
        prop_assert!(Ipv4Header::verify(&bytes));
        prop_assert_eq!(Ipv4Header::parse(&bytes[..len]), Ok((header, len)));
    }

    #[test]
    fn a_damaged_header_does_not_verify(header in header(), at in 1usize..20, bit in 0u8..8) {
        let mut bytes = [0; 60];
        header.emit(&mut bytes);
        bytes[at] ^= 1 << bit;
        prop_assert!(!Ipv4Header::verify(&bytes));
    }

    #[test]
    fn arbitrary_bytes_are_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Some(first) = bytes.first_mut() {
            *first = *first & 0xf | 0x40;
        }
        Ipv4Header::verify(&bytes);
        if let Ok((header, len)) = Ipv4Header::parse(&bytes) {
            let mut again = [0; 60];
            prop_assert_eq!(header.emit(&mut again), len);
            prop_assert_eq!(&again[12..len], &bytes[12..len]);
        }
    }
}
