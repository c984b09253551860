use super::*;
use crate::script::TcpOptionSpec;

fn ends(v6: bool) -> Ends {
    let (src, dst) =
        if v6 { ("[2001:db8::2]:5000", "[2001:db8::1]:80") } else { ("192.0.2.1:5000", "192.168.0.1:80") };
    Ends { src: src.parse().unwrap(), dst: dst.parse().unwrap() }
}

fn verified(packet: &Packet) -> bool {
    sockeye_wire::verify_checksums(&packet.head, packet.payload.chunks().map(|chunk| &**chunk)).is_ok()
}

#[test]
fn segments_read_as_they_were_built() {
    let spec = TcpSpec {
        ip: IpSpec { ecn: Some(EcnSpec::Ce), tos: Some(3), ttl: Some(9), flow_label: Some(0) },
        flags: TcpFlags::PSH | TcpFlags::ACK | TcpFlags::URG,
        seq: 7,
        len: 3000,
        ack: Some(9),
        window: Some(257),
        urgent: Some(2),
        options: Some(vec![
            TcpOptionSpec::Nop,
            TcpOptionSpec::Nop,
            TcpOptionSpec::Timestamps { value: 1, echo: 2 },
        ]),
        ..TcpSpec::default()
    };
    for v6 in [false, true] {
        let packet = segment(ends(v6), &spec, &[0; 3000], Some(1000), Instant::ZERO).unwrap();
        assert!(verified(&packet), "{v6}");
        assert_eq!(packet.meta.gso_size, 1000);
        let Ok(Outbound::Tcp(sent)) = read(&packet, Instant::ZERO) else { panic!("no segment") };
        assert_eq!((sent.src, sent.dst, sent.mss), (ends(v6).src, ends(v6).dst, 1000));
        assert_eq!(sent.spec, spec);
        let whole = segment(ends(v6), &spec, &[0; 3000], None, Instant::ZERO).unwrap();
        assert_eq!(whole.meta.gso_size, 0);
    }
}

#[test]
fn checksums_are_spoilt_on_demand() {
    let spec = TcpSpec { bad_checksum: true, ..TcpSpec::default() };
    assert!(!verified(&segment(ends(false), &spec, &[], None, Instant::ZERO).unwrap()));
}

#[test]
fn the_ace_field_lies_above_the_other_bits() {
    let spec = TcpSpec { ace: Some(5), flags: TcpFlags::ACK, ..TcpSpec::default() };
    let packet = segment(ends(false), &spec, &[], None, Instant::ZERO).unwrap();
    let Ok(Outbound::Tcp(sent)) = read(&packet, Instant::ZERO) else { panic!("no segment") };
    assert_eq!(sent.spec.flags, TcpFlags::ACK | TcpFlags::AE | TcpFlags::ECE);
}

#[test]
fn icmp_errors_quote_a_segment_of_the_stack() {
    let spec = |kind: &str, code: &str| IcmpSpec {
        kind: kind.into(),
        code: code.into(),
        mtu: Some(1200),
        quoted: Some((1, 1000)),
        ip: IpSpec::default(),
    };
    for v6 in [false, true] {
        let error = spec("unreachable", "frag_needed");
        let packet = icmp(ends(v6), &error, 77, Instant::ZERO).unwrap();
        assert!(verified(&packet));
        let bytes = packet.to_vec();
        let at = if v6 { 40 } else { 20 };
        let quoted = sockeye_wire::Quoted::parse(&bytes[at + 8..]).unwrap();
        assert_eq!((quoted.src, quoted.src_port()), (ends(v6).dst.ip(), ends(v6).dst.port()));
        assert_eq!((quoted.dst, quoted.tcp_seq()), (ends(v6).src.ip(), 77));
        let (kind, code) = (bytes[at], bytes[at + 1]);
        assert_eq!((kind, code), if v6 { (2, 0) } else { (3, 4) });
        assert_eq!(bytes[at + 6..at + 8], 1200_u16.to_be_bytes());
        assert!(icmp(ends(v6), &spec("unreachable", "bogus"), 0, Instant::ZERO).is_err());
    }
    assert!(icmp(ends(true), &spec("packet_too_big", ""), 0, Instant::ZERO).is_ok());
}

#[test]
fn datagrams_read_as_they_were_built() {
    let packet = udp(ends(true), IpSpec::default(), 100, Instant::ZERO).unwrap();
    assert!(verified(&packet));
    assert!(matches!(read(&packet, Instant::ZERO), Ok(Outbound::Udp { len: 100, .. })));
}
