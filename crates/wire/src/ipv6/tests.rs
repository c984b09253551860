//! Tests, most of them against `etherparse`.
use super::*;
use alloc::vec::Vec;
use proptest::prelude::*;

pub(crate) fn header() -> impl Strategy<Value = Ipv6Header> {
    let addrs = any::<([u8; 16], [u8; 16])>();
    (any::<(u8, u16, u8, u8)>(), 0u32..1 << 20, addrs).prop_map(|(fields, flow_label, (src, dst))| {
        let (traffic_class, payload_len, next_header, hop_limit) = fields;
        Ipv6Header {
            traffic_class,
            flow_label,
            payload_len,
            next_header: Protocol(next_header),
            hop_limit,
            src: src.into(),
            dst: dst.into(),
        }
    })
}

/// An options header of 8 bytes with one option that pads it.
const PADDED: [u8; 8] = [6, 0, 1, 4, 0, 0, 0, 0];

/// Concatenates headers and writes into each what follows it; the last is followed by TCP.
fn chain(headers: &[(Protocol, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, (_, header)) in headers.iter().enumerate() {
        let at = bytes.len();
        bytes.extend_from_slice(header);
        bytes[at] = headers.get(index + 1).map_or(Protocol::TCP, |(next, _)| *next).0;
    }
    bytes
}

#[test]
fn the_walk_finds_what_the_packet_carries() {
    let fragment = [0, 0, 0, 1, 0xaa, 0xbb, 0xcc, 0xdd];
    let routing = [0, 0, 43, 2, 0, 0, 0, 0];
    let bytes = chain(&[
        (Protocol::HOP_BY_HOP, &PADDED),
        (Protocol::ROUTING, &routing),
        (Protocol::FRAGMENT, &fragment),
        (Protocol::DESTINATION_OPTIONS, &PADDED),
    ]);
    let found = Extensions::parse(Protocol::HOP_BY_HOP, &bytes).unwrap();
    let expected = Extensions {
        protocol: Protocol::TCP,
        len: 32,
        fragment: Some(Fragment { id: 0xaabb_ccdd, offset: 0, more: true }),
        unfragmentable: 16,
        routing: Some(Routing { kind: 43, segments_left: 2, offset: 8 }),
        unknown_option: None,
    };
    assert_eq!(found, expected);
    assert_eq!(Extensions::parse(Protocol::TCP, &[]).unwrap().len, 0);
}

#[test]
fn nothing_is_read_behind_a_later_fragment() {
    let bytes = [60, 0, 0x05, 0xc8, 0, 0, 0, 1];
    let found = Extensions::parse(Protocol::FRAGMENT, &bytes).unwrap();
    assert_eq!(found.protocol, Protocol::DESTINATION_OPTIONS);
    assert_eq!(found.fragment, Some(Fragment { id: 1, offset: 1480, more: false }));
    assert_eq!((found.len, found.unfragmentable), (8, 0));
}

#[test]
fn options_that_demand_it_are_reported() {
    // RFC 8200 §4.2: the upper bits of a type say what to do when it isn't known.
    let skip = [6, 0, 0x1e, 4, 0, 0, 0, 0];
    let reject = [6, 0, 0, 0x9e, 3, 0, 0, 0];
    let bytes = chain(&[(Protocol::HOP_BY_HOP, &skip), (Protocol::DESTINATION_OPTIONS, &reject)]);
    let found = Extensions::parse(Protocol::HOP_BY_HOP, &bytes).unwrap();
    assert_eq!(found.unknown_option, Some(UnknownOption { kind: 0x9e, offset: 11 }));
    let overlong = [6, 0, 1, 5, 0, 0, 0, 0];
    let error = Err(Error::Length(Format::Ipv6Extension));
    assert_eq!(Extensions::parse(Protocol::HOP_BY_HOP, &overlong), error);
}

#[test]
fn the_walk_is_bounded() {
    let headers = [(Protocol::DESTINATION_OPTIONS, &PADDED[..]); Extensions::MAX_HEADERS + 1];
    let most = chain(&headers[1..]);
    assert_eq!(Extensions::parse(Protocol::DESTINATION_OPTIONS, &most).unwrap().protocol, Protocol::TCP);
    let more = chain(&headers);
    assert_eq!(Extensions::parse(Protocol::DESTINATION_OPTIONS, &more), Err(Error::TooManyExtensions));
    let cut = Extensions::parse(Protocol::DESTINATION_OPTIONS, &more[..20]);
    assert_eq!(cut, Err(Error::Truncated(Format::Ipv6Extension)));
}

#[test]
fn hop_by_hop_options_stand_first_or_nowhere() {
    let bytes = chain(&[(Protocol::DESTINATION_OPTIONS, &PADDED), (Protocol::HOP_BY_HOP, &PADDED)]);
    let found = Extensions::parse(Protocol::DESTINATION_OPTIONS, &bytes).unwrap();
    assert_eq!((found.protocol, found.len), (Protocol::HOP_BY_HOP, 8));
}

proptest! {
    #[test]
    fn etherparse_reads_what_we_emit(header in header()) {
        let mut bytes = [0xee; 40];
        prop_assert_eq!(header.emit(&mut bytes), 40);
        let (theirs, _) = etherparse::Ipv6Header::from_slice(&bytes).unwrap();
        prop_assert_eq!(theirs.traffic_class, header.traffic_class);
        prop_assert_eq!(theirs.flow_label.value(), header.flow_label);
        prop_assert_eq!(theirs.payload_length, header.payload_len);
        prop_assert_eq!(theirs.next_header.0, header.next_header.0);
        prop_assert_eq!(theirs.hop_limit, header.hop_limit);
        prop_assert_eq!(theirs.source, header.src.octets());
        prop_assert_eq!(theirs.destination, header.dst.octets());
        prop_assert_eq!(Ipv6Header::parse(&bytes), Ok((header, 40)));
    }

    #[test]
    fn arbitrary_extensions_are_survived(kind: u8, kinds in prop::collection::vec(any::<u8>(), 12), mut bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let known = [0, 43, 44, 60];
        for (slot, kind) in bytes.iter_mut().step_by(8).zip(kinds) {
            *slot = known[usize::from(kind) % 4];
        }
        for first in [kind, known[usize::from(kind) % 4]] {
            if let Ok(found) = Extensions::parse(Protocol(first), &bytes) {
                prop_assert!(found.len <= bytes.len());
                prop_assert!(found.unfragmentable <= found.len);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = Ipv6Header::parse(&bytes);
    }
}
