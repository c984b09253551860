//! Tests.
use super::*;
use proptest::prelude::*;

#[test]
fn a_length_below_the_headers_is_an_error() {
    let bytes = [0, 1, 0, 2, 0, 7, 0, 0];
    assert_eq!(UdpHeader::parse(&bytes), Err(Error::Length(Format::Udp)));
    assert_eq!(UdpHeader::parse(&bytes[..7]), Err(Error::Truncated(Format::Udp)));
}

proptest! {
    #[test]
    fn etherparse_reads_what_we_emit(src_port: u16, dst_port: u16, len in 8u16..) {
        let header = UdpHeader { src_port, dst_port, len };
        let mut bytes = [0xee; 8];
        prop_assert_eq!(header.emit(&mut bytes), 8);
        let (theirs, _) = etherparse::UdpHeader::from_slice(&bytes).unwrap();
        prop_assert_eq!((theirs.source_port, theirs.destination_port), (src_port, dst_port));
        prop_assert_eq!((theirs.length, theirs.checksum), (len, 0));
        prop_assert_eq!(UdpHeader::parse(&bytes), Ok((header, 8)));
    }
}
