//! The classes of what user-space stacks were attacked with before (CVE-2020-11896 and its kin, CVE-2018-6922,
//! CVE-2019-11477, …): one test each, named for the class.

use super::super::solo::Solo;
use super::super::*;
use crate::{Counter, SocketOption};
use alloc::string::String;
use alloc::vec;
use core::net::Ipv4Addr;
use proptest::prelude::*;
use sockeye_packet::{Checksum, Meta};
use sockeye_wire::{SackBlock, SackBlocks, TcpFlags, TcpHeader, TcpOptions, fill_checksums};

const PEER: [u8; 4] = [10, 0, 0, 1];
const HOST: [u8; 4] = [10, 0, 0, 2];

/// A host that hears UDP port 53 in both families, at a link that says nothing of checksums.
struct Target {
    stack: Stack,
    now: Instant,
    socket: SocketId,
}

impl Target {
    fn new() -> Target {
        let mut pair = Pair::new();
        let socket = datagram(&mut pair.b, "[::]:53");
        Target { stack: pair.b, now: pair.now, socket }
    }

    /// Takes in a packet whose checksums are filled if they can be; what the host has sent then.
    fn take(&mut self, mut bytes: Vec<u8>) -> Vec<Packet> {
        fill_checksums(&mut bytes, core::iter::empty());
        self.take_as_is(bytes)
    }

    fn take_as_is(&mut self, bytes: Vec<u8>) -> Vec<Packet> {
        let meta = Meta { checksum: Checksum::Unverified, ..Meta::default() };
        let mut batch = Batch::new();
        batch.push(Packet::from_bytes(&Chunk::from(bytes), meta));
        self.stack.handle_packets(self.now, LINK, &mut batch);
        self.stack.poll_transmit(self.now, LINK, &mut batch);
        batch.drain().collect()
    }

    /// What its socket has heard.
    fn heard(&mut self) -> Vec<Vec<u8>> {
        let stack = &mut self.stack;
        core::iter::from_fn(|| stack.recv_from(self.now, self.socket, RecvFlags::default()).ok())
            .map(|datagram| datagram.payload.to_vec())
            .collect()
    }

    fn count(&self, counter: Counter) -> u64 {
        self.stack.counters()[counter]
    }
}

/// A UDP datagram to port 53.
fn udp(data: &[u8]) -> Vec<u8> {
    let len = (8 + data.len()) as u8;
    [&[4, 0, 0, 53, 0, len, 0, 0][..], data].concat()
}

fn v4(from: [u8; 4], protocol: u8, fragment: u16, options: &[u8], behind: &[u8]) -> Vec<u8> {
    let len = (20 + options.len() + behind.len()) as u16;
    let first = 0x45 + (options.len() / 4) as u8;
    let ([l1, l2], [f1, f2]) = (len.to_be_bytes(), fragment.to_be_bytes());
    let head = [first, 0, l1, l2, 0, 7, f1, f2, 64, protocol, 0, 0];
    [&head[..], &from, &HOST, options, behind].concat()
}

fn v6(next_header: u8, behind: &[u8]) -> Vec<u8> {
    let [l1, l2] = (behind.len() as u16).to_be_bytes();
    let mut bytes = vec![0x60, 0, 0, 0, l1, l2, next_header, 64];
    for last in [1, 2] {
        bytes.extend([0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    [&bytes[..], behind].concat()
}

/// Type and code of an ICMP message.
fn icmp(packet: &Packet) -> [u8; 2] {
    let at = if packet.head[0] >> 4 == 4 { 20 } else { 40 };
    [packet.head[at], packet.head[at + 1]]
}

#[test]
fn extension_header_length_wrap() {
    for kind in [0, 43, 60] {
        for len in 0..=255_u8 {
            let mut target = Target::new();
            // The header states `len`; eight bytes of it are there, and a datagram.
            let header = [17, len, 1, 0, 0, 0, 0, 0];
            target.take(v6(kind, &[&header[..], &udp(b"in")].concat()));
            assert_eq!(target.heard().len(), usize::from(len == 0), "{kind} {len}");
            assert_eq!(target.stack.memory_used(), 0);
        }
    }
    // More headers than are walked over, and a chain that never ends.
    let mut target = Target::new();
    let chain = [60, 0, 1, 4, 0, 0, 0, 0].repeat(100);
    target.take(v6(60, &chain));
    let last = [&[60, 0, 1, 4, 0, 0, 0, 0].repeat(8)[..], &[17, 0, 1, 4, 0, 0, 0, 0], &udp(b"9")].concat();
    target.take(v6(60, &last));
    assert_eq!(target.count(Counter::IpInHdrErrors), 2);
    assert!(target.heard().is_empty());
}

#[test]
fn option_length_0_1_and_over() {
    // IPv4: refused, and told where.
    for (options, pointer) in
        [([130, 0, 0, 0], 20), ([130, 1, 0, 0], 20), ([1, 130, 4, 0], 21), ([1, 1, 1, 130], 23)]
    {
        let mut target = Target::new();
        let sent = target.take(v4(PEER, 17, 0, &options, &udp(b"x")));
        assert!(target.heard().is_empty(), "{options:?}");
        assert_eq!((sent.len(), icmp(&sent[0]), sent[0].head[24]), (1, [12, 0], pointer));
    }
    // Routes that senders choose lead nowhere, in silence.
    let mut target = Target::new();
    assert!(target.take(v4(PEER, 17, 0, &[131, 7, 4, 10, 0, 0, 9, 0], &udp(b"x"))).is_empty());
    assert!(target.heard().is_empty());
    target.take(v4(PEER, 17, 0, &[1, 148, 4, 0, 0, 0, 0, 0], &udp(b"fine")));
    assert_eq!(target.heard(), [b"fine"]);
    // IPv6: an option beyond its header.
    for options in [[5, 0, 1, 4], [5, 200, 0, 0]] {
        let mut target = Target::new();
        let header = [&[17, 0][..], &options, &[5, 9]].concat();
        target.take(v6(60, &[&header[..], &udp(b"x")].concat()));
        assert!(target.heard().is_empty(), "{options:?}");
    }
    // TCP: what follows is not looked at; the connection opens without it.
    for option in [[2, 0], [2, 1], [2, 200], [3, 255], [5, 1], [8, 0], [254, 0]] {
        let (mut solo, _) = Solo::listening(5, |_| {});
        let header = TcpHeader {
            src_port: 1000,
            dst_port: 80,
            seq: 0,
            ack: 0,
            flags: TcpFlags::SYN,
            window: 1000,
            urgent: 0,
            options: TcpOptions::default(),
        };
        let mut bytes = vec![0; 20];
        header.emit(&mut bytes);
        bytes[12] = 6 << 4;
        bytes.extend([1, 1]);
        bytes.extend(option);
        let sent = solo.deliver(v4(PEER, 6, 0, &[], &bytes));
        assert!(sent.len() == 1 && sent[0].starts_with("S. "), "{option:?} {sent:?}");
        assert!(sent[0].contains("<mss 1460>"), "{sent:?}");
    }
}

#[test]
fn ip_total_length_against_link_length() {
    for fill in [true, false] {
        for stated in [0, 19, 20, 27, 28, 30, 31, 40, 65_535_u16] {
            let mut target = Target::new();
            let mut bytes = v4(PEER, 17, 0, &[], &udp(b"ab"));
            bytes[2..4].copy_from_slice(&stated.to_be_bytes());
            // UDP's own length says 10 bytes: nothing else may be delivered.
            let padded = [&bytes[..], b"padding"].concat();
            if fill {
                target.take(padded)
            } else {
                target.take_as_is(padded)
            };
            let heard = target.heard();
            assert!(heard.iter().all(|data| data == b"ab"), "{stated} {heard:?}");
            assert!(heard.is_empty() || stated >= 30, "{stated}");
            assert_eq!(target.stack.memory_used(), 0);
        }
    }
    for stated in [0, 7, 8, 10, 11, 100, 65_535_u16] {
        let mut target = Target::new();
        let mut bytes = v6(17, &udp(b"ab"));
        bytes[4..6].copy_from_slice(&stated.to_be_bytes());
        target.take([&bytes[..], b"padding"].concat());
        assert_eq!(target.heard().len(), usize::from((10..=17).contains(&stated)), "{stated}");
    }
}

/// A fragment of an IPv6 packet.
fn fragment_v6(offset: u16, more: bool, next: u8, behind: &[u8]) -> Vec<u8> {
    let [o1, o2] = (offset | u16::from(more)).to_be_bytes();
    v6(44, &[&[next, 0, o1, o2, 0, 0, 0, 9][..], behind].concat())
}

#[test]
fn overlapping_fragments() {
    // Each a list of offset and length in units of 8 bytes; none may lead to a datagram.
    let cases: [&[(u16, usize)]; 5] = [
        &[(0, 3), (1, 3), (4, 2)],
        &[(0, 3), (2, 1), (3, 1)],
        &[(1, 3), (0, 2), (4, 1)],
        &[(0, 2), (2, 2), (1, 2), (4, 1)],
        &[(2, 2), (1, 8), (0, 1)],
    ];
    for parts in cases {
        for is_v4 in [true, false] {
            let mut target = Target::new();
            let data = udp(&[7; 100]);
            for (number, &(offset, len)) in parts.iter().enumerate() {
                let more = number + 1 < parts.len();
                let piece = &data[usize::from(offset) * 8..][..len * 8];
                target.take(if is_v4 {
                    v4(PEER, 17, u16::from(more) << 13 | offset, &[], piece)
                } else {
                    fragment_v6(offset * 8, more, 17, piece)
                });
            }
            assert!(target.heard().is_empty(), "{parts:?}");
            assert!(target.count(Counter::IpReasmOverlaps) > 0, "{parts:?}");
            target.stack.handle_timeout(target.now + Duration::from_secs(31));
            assert_eq!(target.stack.memory_used(), 0);
        }
    }
}

#[test]
fn tiny_fragments() {
    // RFC 1858: TCP's ports in the first, its flags in the second.
    let (mut solo, listener) = Solo::listening(5, |_| {});
    let mut segment = vec![3, 232, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0];
    segment.extend([0; 4]);
    assert!(solo.deliver(v4(PEER, 6, 1 << 13, &[], &segment[..8])).is_empty());
    assert!(solo.deliver(v4(PEER, 6, 1, &[], &segment[8..])).is_empty());
    assert_eq!(solo.stack.accept(solo.now, listener).err(), Some(Error::WouldBlock));
    assert_eq!((solo.stack.io.half_open.len(), solo.stack.memory_used()), (0, 0));
    // RFC 7112: over IPv6 the sender is told.
    let mut target = Target::new();
    let sent = target.take(fragment_v6(0, true, 6, &segment[..16]));
    assert_eq!((sent.len(), icmp(&sent[0])), (1, [4, 3]));
    // A chain of headers that goes on in the second fragment.
    assert!(target.take(fragment_v6(0, true, 60, &[17, 1, 1, 4, 0, 0, 0, 0])).is_empty());
    assert_eq!((target.stack.memory_used(), target.stack.poll_timeout()), (0, None));
    // Nothing at all, in as many fragments as there can be.
    for offset in (0..8000).step_by(8) {
        target.take(fragment_v6(offset, true, 17, &[0; 8]));
    }
    assert!(target.stack.memory_used() < 40_000, "{}", target.stack.memory_used());
}

/// CVE-2020-11896: the inner packet of a fragmented tunnel is nobody's business here.
#[test]
fn ip_in_ip_fragments() {
    for (protocol, inner) in [(4, v4(PEER, 17, 0, &[], &udp(&[7; 40]))), (41, v6(17, &udp(&[7; 40])))] {
        let mut target = Target::new();
        assert!(target.take(v4(PEER, protocol, 1 << 13, &[], &inner[..32])).is_empty());
        let sent = target.take(v4(PEER, protocol, 4, &[], &inner[32..]));
        assert!(target.heard().is_empty());
        assert_eq!((sent.len(), icmp(&sent[0])), (1, [3, 2]));
        assert_eq!(target.stack.memory_used(), 0);
        let mut target = Target::new();
        target.take(fragment_v6(0, true, protocol, &inner[..32]));
        let sent = target.take(fragment_v6(32, false, protocol, &inner[32..]));
        assert!(target.heard().is_empty());
        assert_eq!((sent.len(), icmp(&sent[0])), (1, [4, 1]));
    }
}

#[test]
fn urgent_pointer_past_the_window() {
    for (urgent, data) in [(65_535, 10), (1, 0), (65_535, 0), (0, 10), (11, 10)] {
        let (mut solo, server) = Solo::accepted(|_| {});
        let header = TcpHeader {
            src_port: 1000,
            dst_port: 80,
            seq: 1,
            ack: solo.iss.unwrap() + 1,
            flags: TcpFlags::ACK | TcpFlags::URG,
            window: 50_000,
            urgent,
            options: TcpOptions::default(),
        };
        solo.send_segment(&header, data);
        assert!(!solo.stack.at_mark(server) || urgent <= 1);
        let oob = solo.stack.recv(solo.now, server, 1, RecvFlags { oob: true, peek: false });
        assert!(oob.is_err() || data > 0);
        // The stream goes on: nothing but an urgent byte is missing from it.
        let mut got = recv(&mut solo.stack, solo.now, server).map_or(0, |data| data.len());
        let next = TcpHeader { seq: 1 + data as u32, flags: TcpFlags::ACK, urgent: 0, ..header };
        solo.send_segment(&next, 20);
        while let Ok(more) = recv(&mut solo.stack, solo.now, server) {
            got += more.len();
        }
        assert!((data + 19..=data + 20).contains(&got), "{urgent} {data} {got}");
    }
}

#[test]
fn short_inner_header_in_icmp() {
    let inner_v4 = v4(HOST, 17, 0, &[], &udp(b"x"));
    let inner_v6 = v6(17, &udp(b"x"));
    for len in 0..28 {
        let mut target = Target::new();
        let message = [&[3, 3, 0, 0, 0, 0, 0, 0][..], &inner_v4[..len]].concat();
        assert!(target.take(v4(PEER, 1, 0, &[], &message)).is_empty());
    }
    for len in 0..48 {
        let mut target = Target::new();
        let message = [&[1, 4, 0, 0, 0, 0, 0, 0][..], &inner_v6[..len]].concat();
        assert!(target.take(v6(58, &message)).is_empty());
    }
    // Headers that say they are longer than what is quoted, or shorter than a header.
    for first in 0x40..=0x4f_u8 {
        let mut target = Target::new();
        let mut inner = inner_v4.clone();
        inner[0] = first;
        let message = [&[3, 4, 0, 0, 0, 0, 0, 0][..], &inner].concat();
        assert!(target.take(v4(PEER, 1, 0, &[], &message)).is_empty());
    }
    // Messages that end within their own header.
    for len in 0..8 {
        let mut target = Target::new();
        assert!(target.take(v4(PEER, 1, 0, &[], &[3, 3, 0, 0, 0, 0, 0, 0][..len])).is_empty());
        assert!(target.take(v6(58, &[1, 4, 0, 0, 0, 0, 0, 0][..len])).is_empty());
    }
}

#[test]
fn source_address_0_0_0_0_or_multicast() {
    let sources = [
        [0, 0, 0, 0],
        [0, 1, 2, 3],
        [224, 0, 0, 1],
        [239, 1, 1, 1],
        [255, 255, 255, 255],
        [10, 0, 0, 255],
        HOST,
        [127, 0, 0, 1],
    ];
    for source in sources {
        let mut target = Target::new();
        let socket = stream(&mut target.stack, addr("10.0.0.2:80"));
        target.stack.bind(socket, addr("10.0.0.2:80")).unwrap();
        target.stack.listen(target.now, socket, 5).unwrap();
        let syn = [3, 232, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0];
        for (protocol, message) in [
            (17, udp(b"x")),
            (6, syn.to_vec()),
            (1, vec![8, 0, 0, 0, 0, 1, 0, 1]),
            (17, {
                let mut closed = udp(b"x");
                closed[3] = 54;
                closed
            }),
        ] {
            assert!(target.take(v4(source, protocol, 0, &[], &message)).is_empty(), "{source:?} {protocol}");
        }
        assert!(target.heard().is_empty(), "{source:?}");
        assert_eq!(target.stack.io.half_open.len(), 0);
        assert_eq!(target.count(Counter::Martians), 4, "{source:?}");
    }
    for source in ["ff02::1", "::", "::1", "fd77::2", "::ffff:10.0.0.1"] {
        let mut target = Target::new();
        let mut bytes = v6(17, &udp(b"x"));
        bytes[8..24].copy_from_slice(&source.parse::<core::net::Ipv6Addr>().unwrap().octets());
        assert!(target.take(bytes).is_empty());
        assert!(target.heard().is_empty(), "{source}");
    }
}

#[test]
fn ihl_below_5() {
    for first in 0x40..0x45_u8 {
        for fill in [true, false] {
            let mut target = Target::new();
            let mut bytes = v4(PEER, 17, 0, &[], &udp(b"x"));
            bytes[0] = first;
            let sent = if fill { target.take(bytes) } else { target.take_as_is(bytes) };
            assert!(sent.is_empty() && target.heard().is_empty());
            assert_eq!(target.count(Counter::IpInHdrErrors), 1);
        }
    }
}

#[test]
fn shrunk_window() {
    let (mut solo, server) = Solo::accepted(|_| {});
    assert!(!solo.send(server, &[7; 5000]).is_empty());
    // What is under way is beyond the window now: it is neither sent again at once nor forgotten.
    for window in [10, 0, 1] {
        let line = alloc::format!(". 1:1(0) ack 1001 win {window}");
        assert_eq!(solo.inject(&line), Vec::<String>::new());
    }
    assert_eq!(solo.send(server, &[8; 1000]), Vec::<String>::new());
    // Probes of the window alone, as long as it is shut.
    let probes = solo.pass(Duration::from_secs(5));
    assert!(!probes.is_empty() && probes.len() < 20, "{probes:?}");
    let again = solo.inject(". 1:1(0) ack 5001 win 50000");
    assert!(again.iter().any(|line| line.contains("5001:6001(1000)")), "{again:?}");
    solo.inject(". 1:1(0) ack 6001 win 50000");
    assert_eq!(solo.stack.tcp_info(solo.now, server).unwrap().unacked, 0);
}

#[test]
fn sack_of_unsent_data() {
    for block in ["5001:6001", "1001:2000000", "3001:9001", "4294960000:100", "9:9", "2001:1001", "1:1001"] {
        let (mut solo, server) = Solo::accepted(|_| {});
        assert!(!solo.send(server, &[7; 3000]).is_empty());
        // Written as the peer would: relative to the host's first number.
        let (left, right) = block.split_once(':').unwrap();
        let iss = solo.iss.unwrap();
        let number = |text: &str| text.parse::<u32>().unwrap().wrapping_add(iss);
        let block_of = SackBlock { left: number(left), right: number(right) };
        let options = TcpOptions { sack: SackBlocks::from_slice(&[block_of]), ..TcpOptions::default() };
        let header = TcpHeader {
            src_port: 1000,
            dst_port: 80,
            seq: 1,
            ack: iss.wrapping_add(1),
            flags: TcpFlags::ACK,
            window: 50_000,
            urgent: 0,
            options,
        };
        for _ in 0..4 {
            solo.send_segment(&header, 0);
        }
        let info = solo.stack.tcp_info(solo.now, server).unwrap();
        assert_eq!((info.sacked, info.unacked), (0, 3), "{block}");
        solo.inject(". 1:1(0) ack 3001 win 50000");
        assert_eq!(solo.stack.tcp_info(solo.now, server).unwrap().unacked, 0);
    }
}

/// CVE-2018-5391: a source's fragments are bounded, and no reason to drop those of others.
#[test]
fn fragments_that_never_end() {
    let mut target = Target::new();
    let friend = [10, 0, 0, 9];
    let data = udp(&[7; 40]);
    target.take(v4(friend, 17, 1 << 13, &[], &data[..24]));
    for number in 0..4000_u16 {
        let mut bytes = v4(PEER, 17, 1 << 13, &[], &[1; 1400]);
        bytes[4..6].copy_from_slice(&number.to_be_bytes());
        target.take(bytes);
    }
    assert!(target.stack.memory_used() < 1 << 20, "{}", target.stack.memory_used());
    target.take(v4(friend, 17, 3, &[], &data[24..]));
    assert_eq!(target.heard(), [[7; 40]]);
    // Those that are left end in time, and the sender hears of it, within the limits of such errors.
    target.now += Duration::from_secs(31);
    target.stack.handle_timeout(target.now);
    assert_eq!((target.stack.memory_used(), target.stack.poll_timeout()), (0, None));
    let mut batch = Batch::new();
    target.stack.poll_transmit(target.now, LINK, &mut batch);
    let told: Vec<Packet> = batch.drain().collect();
    assert!(!told.is_empty() && told.iter().all(|packet| icmp(packet) == [11, 1]));
}

#[test]
fn fragments_end_in_time_and_the_sender_is_told() {
    for is_v4 in [true, false] {
        // Without the first nobody is told: who sent it would not know what it was about.
        for first_too in [false, true] {
            let mut target = Target::new();
            let data = udp(&[7; 100]);
            let piece = |offset: usize| {
                let bytes = &data[offset..offset + 24];
                if is_v4 {
                    v4(PEER, 17, 1 << 13 | (offset / 8) as u16, &[], bytes)
                } else {
                    fragment_v6(offset as u16, true, 17, bytes)
                }
            };
            target.take(piece(48));
            if first_too {
                target.take(piece(0));
            }
            target.now += Duration::from_secs(30);
            target.stack.handle_timeout(target.now);
            let mut batch = Batch::new();
            target.stack.poll_transmit(target.now, LINK, &mut batch);
            let told: Vec<Packet> = batch.drain().collect();
            assert_eq!(told.len(), usize::from(first_too));
            if let [told] = &told[..] {
                assert_eq!(icmp(told), if is_v4 { [11, 1] } else { [3, 1] });
                let quoted = told.payload.to_vec();
                let at = if is_v4 { 20 } else { 48 };
                assert_eq!(quoted[at..], data[..24]);
            }
            assert_eq!(target.stack.memory_used(), 0);
        }
    }
}

/// RFC 8200 §4.5: a fragment that can be part of no packet.
#[test]
fn fragments_of_impossible_lengths() {
    let mut target = Target::new();
    let sent = target.take(fragment_v6(0, true, 17, &[0; 13]));
    assert_eq!((sent.len(), icmp(&sent[0]), &sent[0].head[44..48]), (1, [4, 0], &[0, 0, 0, 4][..]));
    let sent = target.take(fragment_v6(65_528, false, 17, &[0; 16]));
    assert_eq!((sent.len(), icmp(&sent[0]), &sent[0].head[44..48]), (1, [4, 0], &[0, 0, 0, 42][..]));
    assert!(target.take(v4(PEER, 17, 8191, &[], &[0; 16])).is_empty());
    assert_eq!((target.stack.memory_used(), target.stack.poll_timeout()), (0, None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Fragments of any kind, in any order: what comes out is what one sender put in, and nothing stays.
    #[test]
    fn any_fragments_are_survived(
        parts in proptest::collection::vec((0..20_u16, 0..40_usize, any::<bool>(), any::<bool>(), 0..3_u8), 1..60),
    ) {
        let mut target = Target::new();
        target.stack.set_option(target.now, target.socket, SocketOption::RecvBuffer(100_000)).unwrap();
        for (offset, len, more, is_v4, id) in parts {
            let bytes = if is_v4 {
                let mut bytes = v4(PEER, 17, u16::from(more) << 13 | offset, &[], &vec![1; len]);
                bytes[5] = id;
                bytes
            } else {
                fragment_v6(offset * 8, more, 17, &vec![1; len])
            };
            target.take_as_is(bytes);
        }
        target.stack.handle_timeout(target.now + Duration::from_secs(40));
        target.heard();
        prop_assert_eq!((target.stack.memory_used(), target.stack.poll_timeout()), (0, None));
    }
}

#[test]
fn a_source_of_many_addresses_is_one_of_few() {
    // All sets together are bounded, whoever sends.
    let mut target = Target::new();
    for number in 0..5000_u32 {
        let peer = Ipv4Addr::from(0x0b00_0000 + number).octets();
        target.take(v4(peer, 17, 1 << 13, &[], &[1; 1400]));
    }
    assert!(target.stack.memory_used() <= 4 << 20, "{}", target.stack.memory_used());
}
