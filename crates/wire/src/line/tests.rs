//! Tests: the notation by example, every value through its text and back, and text that is wrong.
use super::*;
use crate::{Ipv4Header, Ipv6Header, SackBlocks, TcpTimestamps, fill_checksums};
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

/// Lines that print exactly as they are written here.
const CANONICAL: &[&str] = &[
    "10.77.0.2:40000 > 10.77.0.3:80: P. 1:1001(1000) ack 1 win 257 <nop,nop,TS val 5 ecr 6>",
    "S 0:0(0) win 65535 <mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7>",
    "S. 0:0(0) ack 1 win 65535 <mss 1460,nop,nop,sackOK,nop,wscale 7>",
    ". 1:1(0) ack 1001 win 257 <nop,nop,sack 2001:3001 4001:5001>",
    ". 4294967295:1(2) ack 1",
    "R 5:5(0) win 0",
    "- 5:5(0) win 0 urg 4",
    "FP.UEWA 1:65336(65335) ack 7 win 257 urg 0",
    "F. 1:1(0) ack 1 <...>",
    "[fd77::2]:5000 > [fd77::3]:53: udp (1000)",
    "udp (0)",
    "10.77.0.2 > 10.77.0.3: icmp echo request id 1 seq 2 (56)",
    "icmp echo reply id 1 seq 2 (56)",
    "10.77.0.3 > 10.77.0.2: icmp unreachable port [10.77.0.2:9 > 10.77.0.3:7: udp (4)]",
    "icmp unreachable frag-needed mtu 1400 [10.0.0.1:1 > 10.0.0.2:2: tcp seq 17]",
    "icmp unreachable code 9 (28)",
    "icmp time exceeded ttl [udp (4)]",
    "icmp time exceeded reassembly (28)",
    "icmp parameter problem code 0 pointer 20 (28)",
    "icmp type 5 code 1 rest 167772161 (28)",
    "fd77::3 > fd77::2: icmp6 unreachable no-route [[fd77::2]:9 > [fd77::3]:7: S 1:1(0) win 5 <mss 9>]",
    "icmp6 packet too big mtu 1280 (96)",
    "icmp6 type 135 code 0 rest 0 (24)",
    "10.0.0.1 > 10.0.0.2: fragment id 7 proto 17 offset 1480 (520) more",
    "fragment id 7 proto 17 offset 2000 (20)",
    "fd77::1 > fd77::2: proto 47 (100)",
];

#[test]
fn lines_print_as_they_were_read() {
    for text in CANONICAL {
        match text.parse::<PacketLine>() {
            Ok(line) => assert_eq!(line.to_string(), *text),
            Err(error) => panic!("{text}: {error}"),
        }
    }
}

#[test]
fn loose_spacing_and_other_padding_mean_the_same() {
    let strict: PacketLine = "S. 0:0(0) ack 1 win 9 <mss 5,nop,nop,sackOK>".parse().unwrap();
    assert_eq!("  .S  0:0(0)   ack 1 win 9  < sackOK , mss 5 , eol >".parse(), Ok(strict));
    let plain: PacketLine = "R 0:0(0)".parse().unwrap();
    assert_eq!("R 0:0(0) <>".parse(), Ok(plain));
}

#[test]
fn errors_name_the_word() {
    let cases = [
        ("", "", "TCP flags, tcp, udp"),
        ("X 1:1(0)", "X", "TCP flags out of"),
        ("S", "", "a range"),
        ("S 1:2(0)", "1:2(0)", "end is its first number plus its length"),
        ("S +1:1(0)", "+1", "decimal"),
        ("S 1:4294967296(4294967295)", "4294967296", "decimal"),
        (". 1:1(0) win 5", "win", "ack"),
        (". 1:1(0) ack", "", "decimal"),
        (". 1:1(0) ack 1 win 65536", "65536", "decimal"),
        (". 1:1(0) ack 1 wim 5", "wim", "ack, win, urg or options"),
        (". 1:1(0) ack 1 win 5 ack 1", "ack", "ack, win, urg or options"),
        ("S 1:1(0) <mss 5", "<mss", "ack, win, urg or options"),
        ("S 1:1(0) <mss 5,>", "", "a TCP option"),
        ("S 1:1(0) <mss 5 6>", "6", "the end"),
        ("S 1:1(0) <wscale 256>", "256", "decimal"),
        ("S 1:1(0) <md5 1>", "md5", "a TCP option"),
        ("S 1:1(0) <sack 1:2 3:4 5:6 7:8 9:10>", "9:10", "four"),
        ("udp 1000", "1000", "parentheses"),
        ("udp (1) (2)", "(2)", "the end"),
        ("10.0.0.1:1 > 10.0.0.2:2 udp (1)", "10.0.0.2:2", "colon"),
        ("10.0.0.1 > 10.0.0.2:2: udp (1)", "10.0.0.1", "with a port"),
        ("10.0.0.1:1 > [::1]:2: udp (1)", "[::1]:2:", "family"),
        ("[fe80::1%3]:1 > [::1]:2: udp (1)", "[fe80::1%3]:1", "scope"),
        ("10.0.0.1:1 > 10.0.0.2:2: proto 1 (1)", "10.0.0.1:1", "without a port"),
        ("::1 > ::2: icmp echo request id 1 seq 1 (1)", "::1", "IPv4"),
        ("1.1.1.1 > 1.1.1.2: icmp6 echo request id 1 seq 1 (1)", "1.1.1.1", "IPv6"),
        ("icmp ping", "ping", "an ICMP message"),
        ("icmp echo id 1", "id", "request or reply"),
        ("icmp unreachable cat (1)", "cat", "reason"),
        ("icmp echo request id 1 seq 1 [udp (1)]", "[udp", "quotes nothing"),
        ("icmp unreachable port [udp (1)", "[udp", "brackets"),
        ("icmp unreachable port [icmp unreachable port [udp (1)]]", "[udp", "no other quote"),
    ];
    for (text, word, expected) in cases {
        let error = text.parse::<PacketLine>().expect_err(text);
        assert_eq!(error.word, word, "{text}");
        assert!(error.expected.contains(expected), "{text}: {}", error.expected);
        assert!(error.to_string().contains(word));
    }
}

#[test]
fn long_nesting_is_refused_without_recursion() {
    let text = "icmp unreachable port [".repeat(100_000);
    assert!(text.parse::<PacketLine>().is_err());
}

/// Head of a TCP packet with `len` bytes of data.
fn tcp_head(tcp: &TcpHeader, len: u16) -> Vec<u8> {
    let mut head = vec![0; 20 + tcp.len()];
    let total_len = head.len() as u16 + len;
    let (src, dst) = ([10, 77, 0, 2].into(), [10, 77, 0, 3].into());
    Ipv4Header { total_len, protocol: Protocol::TCP, src, dst, ..Ipv4Header::default() }.emit(&mut head);
    tcp.emit(&mut head[20..]);
    head
}

#[test]
fn a_packet_prints_as_its_line() {
    let tcp = TcpHeader {
        src_port: 40000,
        dst_port: 80,
        seq: 1001,
        ack: 501,
        flags: TcpFlags::PSH | TcpFlags::ACK,
        window: 257,
        urgent: 0,
        options: TcpOptions {
            timestamps: Some(TcpTimestamps { value: 5, echo: 6 }),
            sack: SackBlocks::from_slice(&[SackBlock { left: 601, right: 701 }]),
            ..TcpOptions::default()
        },
    };
    let head = tcp_head(&tcp, 60_000);
    let line = PacketLine::from_head(&head, 60_000).unwrap();
    let options = "<nop,nop,TS val 5 ecr 6,nop,nop,sack 601:701>";
    let text = "10.77.0.2:40000 > 10.77.0.3:80: P. 1001:61001(60000) ack 501 win 257 ";
    assert_eq!(line.to_string(), [text, options].concat());
    let relative = line.relative_to(1000, 500).without_endpoints().to_string();
    assert_eq!(relative, "P. 1:60001(60000) ack 1 win 257 <nop,nop,TS val 5 ecr 6,nop,nop,sack 101:201>");
    // Padding behind the length that IP states isn't data, and what didn't come isn't either.
    let padded = PacketLine::from_head(&tcp_head(&tcp, 2), 6).unwrap().to_string();
    assert!(padded.contains("1001:1003(2)"), "{padded}");
    let cut = PacketLine::from_head(&head, 10).unwrap().to_string();
    assert!(cut.contains("1001:1011(10)"), "{cut}");
    // In memory a length of 0 is that of what is too long to be stated.
    let mut unstated = tcp_head(&tcp, 2);
    unstated[2..4].fill(0);
    let long = PacketLine::from_head(&unstated, 100_000).unwrap().to_string();
    assert!(long.contains("1001:101001(100000)"), "{long}");
}

#[test]
fn quotes_are_read_out_of_icmp_data() {
    let tcp = TcpHeader { src_port: 1, dst_port: 2, seq: 17, flags: TcpFlags::SYN, ..TcpHeader::default() };
    let quoted = tcp_head(&tcp, 1000);
    let mut head = vec![0; 28];
    let (src, dst) = ([10, 77, 0, 1].into(), [10, 77, 0, 2].into());
    Ipv4Header { total_len: 1000, protocol: Protocol::ICMP, src, dst, ..Ipv4Header::default() }
        .emit(&mut head);
    Icmpv4::Unreachable { code: Icmpv4::HOST_UNREACHABLE, mtu: 0 }.emit(&mut head[20..]);
    let line = PacketLine::from_head(&head, quoted.len()).unwrap();
    assert_eq!(line.to_string(), "10.77.0.1 > 10.77.0.2: icmp unreachable host (40)");
    let start = "10.77.0.1 > 10.77.0.2: icmp unreachable host [10.77.0.2:1 > 10.77.0.3:2: ";
    let whole = line.clone().quoting(&quoted).to_string();
    assert_eq!(whole, [start, "S 17:1017(1000) win 0]"].concat());
    let least = line.clone().quoting(&quoted[..28]).to_string();
    assert_eq!(least, [start, "tcp seq 17]"].concat());
    assert_eq!(line.clone().quoting(&quoted[..27]), line);
}

#[test]
fn a_line_gives_the_header_it_was_made_of() {
    let mut head = [0; 60];
    Ipv6Header { payload_len: 20, next_header: Protocol::TCP, ..Ipv6Header::default() }.emit(&mut head);
    let tcp = TcpHeader { src_port: 1, dst_port: 2, seq: 3, ack: 4, window: 5, ..TcpHeader::default() };
    tcp.emit(&mut head[40..]);
    fill_checksums(&mut head, core::iter::empty());
    let LineBody::Tcp(line) = PacketLine::from_head(&head, 0).unwrap().body else { panic!("not TCP") };
    assert_eq!(line.header(1, 2), tcp);
}

fn tcp_line() -> impl Strategy<Value = LineBody> {
    let open = any::<(bool, bool, u32)>();
    (crate::tcp::tests::header(), open).prop_map(|(header, (no_window, no_options, len))| {
        let mut line = TcpLine::new(&header, len);
        if no_window {
            line.window = None;
        }
        if no_options {
            line.options = None;
        }
        LineBody::Tcp(line)
    })
}

/// Any body but an ICMP error with a quote; those only with the addresses of their family.
fn body(v4: bool) -> impl Strategy<Value = LineBody> {
    let icmp =
        (any::<[u8; 8]>(), 0..8u8, 0..20u8, any::<u32>()).prop_map(move |(mut bytes, pick, code, len)| {
            let kinds: [u8; 8] =
                if v4 { [0, 3, 3, 5, 8, 11, 12, 13] } else { [1, 1, 2, 3, 4, 128, 129, 135] };
            (bytes[0], bytes[1]) = (kinds[usize::from(pick)], code);
            if v4 {
                LineBody::Icmpv4(Icmpv4::parse(&bytes).unwrap().0, IcmpData::Len(len))
            } else {
                LineBody::Icmpv6(Icmpv6::parse(&bytes).unwrap().0, IcmpData::Len(len))
            }
        });
    let fragment = any::<(u32, u16, bool, u8, u32)>().prop_map(|(id, offset, more, protocol, len)| {
        LineBody::Fragment { fragment: Fragment { id, offset, more }, protocol: Protocol(protocol), len }
    });
    let other = any::<(u8, u32)>().prop_map(|(protocol, len)| {
        let protocol = Protocol(protocol);
        LineBody::Other { protocol, len }
    });
    prop_oneof![
        4 => tcp_line(),
        1 => any::<u32>().prop_map(|seq| LineBody::TcpStart { seq }),
        1 => any::<u32>().prop_map(|len| LineBody::Udp { len }),
        3 => icmp,
        1 => fragment,
        1 => other,
    ]
}

fn line(v4: bool) -> impl Strategy<Value = PacketLine> {
    let endpoints = any::<Option<([u8; 16], u16, [u8; 16], u16)>>();
    (body(v4), endpoints).prop_map(move |(body, endpoints)| {
        let addr = |bytes: [u8; 16], port| {
            let [a, b, c, d, ..] = bytes;
            let ip: core::net::IpAddr = if v4 { [a, b, c, d].into() } else { bytes.into() };
            SocketAddr::new(ip, if body.has_ports() { port } else { 0 })
        };
        let endpoints = endpoints.map(|(src, src_port, dst, dst_port)| Endpoints {
            src: addr(src, src_port),
            dst: addr(dst, dst_port),
        });
        PacketLine { endpoints, body }
    })
}

fn maybe_quoting() -> impl Strategy<Value = PacketLine> {
    any::<bool>().prop_flat_map(|v4| {
        (line(v4), line(v4), any::<bool>()).prop_map(|(mut outer, quoted, quotes)| {
            let slot = match &mut outer.body {
                LineBody::Icmpv4(message, data) if message.is_error() => Some(data),
                LineBody::Icmpv6(message, data) if message.is_error() => Some(data),
                _ => None,
            };
            if let Some(data) = slot.filter(|_| quotes) {
                *data = IcmpData::Quote(Box::new(quoted));
            }
            outer
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_line_reads_back(line in maybe_quoting()) {
        let text = line.to_string();
        prop_assert_eq!(text.parse::<PacketLine>(), Ok(line), "{}", text);
    }

    #[test]
    fn relative_numbers_are_a_shift(header in crate::tcp::tests::header(), seq: u32, ack: u32) {
        let line = PacketLine { endpoints: None, body: LineBody::Tcp(TcpLine::new(&header, 5)) };
        let there = line.clone().relative_to(seq, ack);
        prop_assert_eq!(there.relative_to(seq.wrapping_neg(), ack.wrapping_neg()), line);
    }

    #[test]
    fn every_head_prints_and_reads_back(mut bytes in prop::collection::vec(any::<u8>(), 0..150), first in prop::sample::select(&[0x45u8, 0x46, 0x60]), protocol in prop::sample::select(&[6u8, 17, 1, 58, 44, 47]), whole: bool, len in 0usize..70_000) {
        for (at, value) in [(0, first), (6, protocol), (9, protocol), (40, protocol)] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        if whole && first < 0x50 && bytes.len() > 8 {
            bytes[6..8].fill(0);
        }
        if let Ok(line) = PacketLine::from_head(&bytes, len) {
            let line = line.quoting(&bytes);
            let text = line.to_string();
            prop_assert_eq!(text.parse::<PacketLine>(), Ok(line), "{}", text);
        }
    }

    #[test]
    fn arbitrary_text_is_survived(text in "[a-zFSRPUEWA .:0-9\\[\\]()<>,-]{0,80}", any_text: alloc::string::String) {
        let _ = text.parse::<PacketLine>();
        let _ = any_text.parse::<PacketLine>();
    }

    #[test]
    fn damaged_lines_are_survived(index in 0..CANONICAL.len(), at: prop::sample::Index, with in "[a-z .:0-9\\[\\]()<>,-]{0,3}") {
        let text = CANONICAL[index];
        let (start, end) = text.split_at(at.index(text.len()));
        let _ = [start, &with, end].concat().parse::<PacketLine>();
        let _ = [start, &with].concat().parse::<PacketLine>();
    }
}
