//! Tests, most of them against `etherparse`.
use super::*;
use etherparse::Icmpv6Type as T;
use proptest::prelude::*;

#[test]
fn errors_are_told_from_the_rest() {
    assert!(Icmpv6::PacketTooBig { mtu: 1280 }.is_error());
    assert!(Icmpv6::Other { kind: 100, code: 0, rest: [0; 4] }.is_error());
    assert!(!Icmpv6::EchoReply { id: 1, seq: 1 }.is_error());
    assert!(!Icmpv6::Other { kind: 135, code: 0, rest: [0; 4] }.is_error());
    assert_eq!(Icmpv6::parse(&[1; 7]), Err(Error::Truncated(Format::Icmpv6)));
}

proptest! {
    #[test]
    fn agrees_with_etherparse(kind in prop::sample::select(&[1u8, 2, 3, 4, 128, 129]), code in 0u8..3, rest: u32) {
        let [a, b, c, d] = rest.to_be_bytes();
        let bytes = [kind, code, 0, 0, a, b, c, d];
        let (ours, _) = Icmpv6::parse(&bytes).unwrap();
        let (theirs, _) = etherparse::Icmpv6Header::from_slice(&bytes).unwrap();
        match (ours, theirs.icmp_type) {
            (Icmpv6::EchoRequest { id, seq }, T::EchoRequest(echo)) | (Icmpv6::EchoReply { id, seq }, T::EchoReply(echo)) => {
                prop_assert_eq!((id, seq), (echo.id, echo.seq));
            }
            (Icmpv6::Unreachable { code }, T::DestinationUnreachable(reason)) => prop_assert_eq!(code, reason.code_u8()),
            (Icmpv6::PacketTooBig { mtu }, T::PacketTooBig { mtu: theirs }) => prop_assert_eq!(mtu, theirs),
            (Icmpv6::TimeExceeded { code }, T::TimeExceeded(reason)) => prop_assert_eq!(code, reason.code_u8()),
            (Icmpv6::ParameterProblem { code, pointer }, T::ParameterProblem(problem)) => {
                prop_assert_eq!((code, pointer), (problem.code.code_u8(), problem.pointer));
            }
            (_, T::Unknown { type_u8, code_u8, .. }) => prop_assert!(type_u8 == kind && code_u8 == code && code != 0),
            (ours, theirs) => prop_assert!(false, "{ours:?} against {theirs:?}"),
        }
    }

    #[test]
    fn what_is_emitted_parses_back(bytes: [u8; 8]) {
        let (message, _) = Icmpv6::parse(&bytes).unwrap();
        let mut again = [0xee; 8];
        prop_assert_eq!(message.emit(&mut again), 8);
        prop_assert_eq!(Icmpv6::parse(&again), Ok((message, 8)));
    }
}
