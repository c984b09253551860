//! Tests, most of them against `etherparse`.
use super::*;
use etherparse::Icmpv4Type as T;
use proptest::prelude::*;

#[test]
fn the_mtu_belongs_to_fragmentation_needed() {
    // RFC 1191 §4.
    let needed = [3, 4, 0, 0, 0, 0, 0x05, 0x78];
    assert_eq!(Icmpv4::parse(&needed), Ok((Icmpv4::Unreachable { code: 4, mtu: 1400 }, 8)));
    let port = [3, 3, 0, 0, 0, 0, 0x05, 0x78];
    assert_eq!(Icmpv4::parse(&port), Ok((Icmpv4::Unreachable { code: 3, mtu: 0 }, 8)));
    assert_eq!(Icmpv4::parse(&port[..7]), Err(Error::Truncated(Format::Icmpv4)));
}

#[test]
fn errors_are_told_from_queries() {
    assert!(Icmpv4::TimeExceeded { code: 0 }.is_error());
    assert!(Icmpv4::Other { kind: 5, code: 1, rest: [10, 0, 0, 1] }.is_error());
    assert!(!Icmpv4::EchoRequest { id: 1, seq: 1 }.is_error());
    assert!(!Icmpv4::Other { kind: 13, code: 0, rest: [0; 4] }.is_error());
}

proptest! {
    #[test]
    fn agrees_with_etherparse(kind in prop::sample::select(&[0u8, 3, 8, 11, 12]), code in 0u8..3, id: u16, seq: u16) {
        let [a, b] = id.to_be_bytes();
        let [c, d] = seq.to_be_bytes();
        let bytes = [kind, code, 0, 0, a, b, c, d];
        let (ours, len) = Icmpv4::parse(&bytes).unwrap();
        prop_assert_eq!(len, 8);
        let (theirs, _) = etherparse::Icmpv4Header::from_slice(&bytes).unwrap();
        match (ours, theirs.icmp_type) {
            (Icmpv4::EchoRequest { id, seq }, T::EchoRequest(echo)) | (Icmpv4::EchoReply { id, seq }, T::EchoReply(echo)) => {
                prop_assert_eq!((id, seq), (echo.id, echo.seq));
            }
            (Icmpv4::Unreachable { code, .. }, T::DestinationUnreachable(reason)) => prop_assert_eq!(code, reason.code_u8()),
            (Icmpv4::TimeExceeded { code }, T::TimeExceeded(reason)) => prop_assert_eq!(code, reason.code_u8()),
            (Icmpv4::ParameterProblem { .. }, T::ParameterProblem(_)) => {}
            // Codes that RFC 792 doesn't give to the type are kept apart there and dropped or kept here.
            (_, T::Unknown { type_u8, code_u8, .. }) => prop_assert!(type_u8 == kind && code_u8 == code && code != 0),
            (ours, theirs) => prop_assert!(false, "{ours:?} against {theirs:?}"),
        }
    }

    #[test]
    fn what_is_emitted_parses_back(bytes: [u8; 8]) {
        let (message, _) = Icmpv4::parse(&bytes).unwrap();
        let mut again = [0xee; 8];
        prop_assert_eq!(message.emit(&mut again), 8);
        prop_assert_eq!([again[2], again[3]], [0, 0]);
        prop_assert_eq!(Icmpv4::parse(&again), Ok((message, 8)));
    }
}
