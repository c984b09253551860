//! RFC 9293 seen from the link: one host, and frames by hand. Each test names the labels that it shows.

use super::*;
use crate::SocketOption;
use crate::counters::Counter;
use crate::fuzzing::frames;
use core::net::IpAddr;
use sockeye_packet::{Checksum, Meta, Payload};
use sockeye_wire::{IpLayout, TcpFlags, TcpHeader, TcpOptions, verify_checksums};

const OWN: [u8; 4] = [10, 0, 0, 2];
const PEER: [u8; 4] = [10, 0, 0, 1];

/// A host with 10.0.0.2 whose packets leave memory.
struct Host {
    stack: Stack,
    now: Instant,
}

impl Host {
    fn with_mtu(mtu: u32) -> Host {
        let mut stack = Stack::new(Config::default(), [9; 32]);
        let nic = NicConfig { checksums: true, max_segment: 0, ..NicConfig::memory("eth0", mtu) };
        assert_eq!(stack.add_nic(nic), Ok(LINK));
        stack.add_address(LINK, OWN.into(), 24).unwrap();
        Host { stack, now: Instant::from_millis(1) }
    }

    fn new() -> Host {
        Host::with_mtu(1500)
    }

    fn listener(&mut self, at: &str) -> SocketId {
        let id = stream(&mut self.stack, addr(at));
        self.stack.bind(id, addr(at)).unwrap();
        self.stack.listen(self.now, id, 5).unwrap();
        id
    }

    fn put(&mut self, packet: Packet) {
        let mut batch = Batch::new();
        batch.push(packet);
        self.stack.handle_packets(self.now, LINK, &mut batch);
    }

    /// A segment from `src` to `dst`, from port 1000 to port 80.
    fn put_tcp(&mut self, src: [u8; 4], dst: [u8; 4], header: &TcpHeader, data: &[u8]) {
        let header = TcpHeader { src_port: 1000, dst_port: 80, window: 60_000, ..*header };
        let ends: [IpAddr; 2] = [src.into(), dst.into()];
        self.put(frames::tcp(ends, &header, Payload::from(Chunk::copy_from(data)), 0));
    }

    fn packets(&mut self) -> Vec<Packet> {
        let mut batch = Batch::new();
        self.stack.poll_transmit(self.now, LINK, &mut batch);
        batch.drain().collect()
    }

    fn segments(&mut self) -> Vec<(IpLayout, TcpHeader, Vec<u8>)> {
        self.packets().iter().map(segment_of).collect()
    }

    /// A connection to the listener at port 80: the socket, and the SYN-ACK's header.
    fn accepted(&mut self, listener: SocketId, options: TcpOptions) -> (SocketId, TcpHeader) {
        self.put_tcp(PEER, OWN, &syn(100, options), b"");
        let (_, syn_ack, _) = self.segments().remove(0);
        self.put_tcp(PEER, OWN, &ack(101, syn_ack.seq.wrapping_add(1)), b"");
        (self.stack.accept(self.now, listener).unwrap().0, syn_ack)
    }
}

fn segment_of(packet: &Packet) -> (IpLayout, TcpHeader, Vec<u8>) {
    let layout = IpLayout::parse(&packet.head).unwrap();
    let (header, _) = TcpHeader::parse(&packet.head[layout.transport..]).unwrap();
    (layout, header, packet.payload.to_vec())
}

fn syn(seq: u32, options: TcpOptions) -> TcpHeader {
    TcpHeader { seq, flags: TcpFlags::SYN, options, ..TcpHeader::default() }
}

fn ack(seq: u32, ack: u32) -> TcpHeader {
    TcpHeader { seq, ack, flags: TcpFlags::ACK, ..TcpHeader::default() }
}

#[test]
fn every_segment_has_a_checksum() {
    // MUST-2: SYN-ACK, acknowledgment, data, reset.
    let mut host = Host::new();
    let listener = host.listener("10.0.0.2:80");
    host.put_tcp(PEER, OWN, &syn(100, TcpOptions::default()), b"");
    let mut all = host.packets();
    let (_, syn_ack, _) = segment_of(&all[0]);
    host.put_tcp(PEER, OWN, &ack(101, syn_ack.seq.wrapping_add(1)), b"data");
    let (id, _) = host.stack.accept(host.now, listener).unwrap();
    send(&mut host.stack, host.now, id, b"answer").unwrap();
    all.extend(host.packets());
    host.stack.abort(host.now, id).unwrap();
    all.extend(host.packets());
    assert!(all.len() >= 3);
    for packet in &all {
        assert_ne!(packet.meta.checksum, Checksum::Unfilled);
        let payload = packet.payload.chunks().map(|chunk| &chunk[..]);
        assert_eq!(verify_checksums(&packet.head, payload), Ok(()));
    }
}

#[test]
fn a_wrong_checksum_is_dropped_without_a_word() {
    // MUST-3
    let mut host = Host::new();
    host.listener("10.0.0.2:80");
    let ends: [IpAddr; 2] = [PEER.into(), OWN.into()];
    let header = TcpHeader { src_port: 1000, dst_port: 80, ..syn(100, TcpOptions::default()) };
    let mut packet = frames::tcp(ends, &header, Payload::EMPTY, 0);
    packet.head[36] ^= 1;
    host.put(packet);
    assert!(host.packets().is_empty());
    assert_eq!(host.stack.counters().sum(&[Counter::TcpInCsumErrors]), 1);

    host.put_tcp(PEER, OWN, &header, b"");
    assert_eq!(host.segments().len(), 1);
}

#[test]
fn the_announced_segment_size_follows_the_interface() {
    // MUST-14, MUST-67, SHLD-5, SHLD-6: in a SYN and in a SYN-ACK.
    for (mtu, mss) in [(1500, 1460), (1280, 1240), (65_535, 65_495), (576, 536)] {
        let mut host = Host::with_mtu(mtu);
        host.listener("10.0.0.2:80");
        host.put_tcp(PEER, OWN, &syn(100, TcpOptions::default()), b"");
        assert_eq!(host.segments()[0].1.options.mss, Some(mss));
        let client = stream(&mut host.stack, addr("10.0.0.1:80"));
        let _ = host.stack.connect(host.now, client, addr("10.0.0.1:80"));
        assert_eq!(host.segments()[0].1.options.mss, Some(mss));
    }
}

#[test]
fn the_segment_size_is_told_with_the_syn_only() {
    // MUST-65, MUST-14: and what the peer tells is understood.
    let mut host = Host::new();
    let listener = host.listener("10.0.0.2:80");
    let options = TcpOptions { mss: Some(700), ..TcpOptions::default() };
    let (id, _) = host.accepted(listener, options);
    send(&mut host.stack, host.now, id, &[7; 1400]).unwrap();
    host.stack.close(host.now, id).unwrap();
    let segments = host.segments();
    assert_eq!(segments.iter().map(|(_, _, data)| data.len()).max(), Some(700));
    assert!(segments.iter().all(|(_, header, _)| header.options.mss.is_none()));
}

#[test]
fn initial_sequence_numbers_follow_the_clock_and_the_four_tuple() {
    // MUST-8, SHLD-1: of both kinds of opens, in steps of 4 µs; MUST-9: and the host's secret.
    let numbers = |seed: u8, millis: u64, port: u16| {
        let mut host = Host::new();
        host.stack = Stack::new(Config::default(), [seed; 32]);
        host.stack.add_nic(NicConfig { checksums: true, ..NicConfig::memory("eth0", 1500) }).unwrap();
        host.stack.add_address(LINK, OWN.into(), 24).unwrap();
        host.now = Instant::from_millis(millis);
        host.listener("10.0.0.2:80");
        host.put_tcp(PEER, OWN, &syn(100, TcpOptions::default()), b"");
        let passive = host.segments().remove(0).1.seq;
        let client = stream(&mut host.stack, addr("10.0.0.1:80"));
        host.stack.bind(client, addr(&alloc::format!("10.0.0.2:{port}"))).unwrap();
        let _ = host.stack.connect(host.now, client, addr("10.0.0.1:80"));
        [passive, host.segments().remove(0).1.seq]
    };
    let first = numbers(1, 1000, 5000);
    assert_ne!(first[0], first[1]);
    assert_eq!(numbers(1, 1000, 5000), first);
    assert_eq!(numbers(1, 1008, 5000), first.map(|number| number.wrapping_add(2000)));
    assert_ne!(numbers(1, 1000, 5001)[1], first[1]);
    let other = numbers(2, 1000, 5000);
    assert!(other[0] != first[0] && other[1] != first[1]);
}

#[test]
fn a_reset_ends_a_passive_open_without_a_word_and_an_active_one_with_an_error() {
    // MUST-11
    let mut host = Host::new();
    let listener = host.listener("10.0.0.2:80");
    host.put_tcp(PEER, OWN, &syn(100, TcpOptions::default()), b"");
    host.segments();
    host.put_tcp(PEER, OWN, &TcpHeader { flags: TcpFlags::RST, ..syn(101, TcpOptions::default()) }, b"");
    assert_eq!((host.stack.io.half_open.len(), host.stack.take_error(listener)), (0, None));
    host.accepted(listener, TcpOptions::default());

    let client = stream(&mut host.stack, addr("10.0.0.1:1000"));
    host.stack.bind(client, addr("10.0.0.2:81")).unwrap();
    let _ = host.stack.connect(host.now, client, addr("10.0.0.1:1000"));
    host.segments();
    let ends: [IpAddr; 2] = [PEER.into(), OWN.into()];
    for (seq, flags) in [(500, TcpFlags::SYN), (501, TcpFlags::RST)] {
        let header = TcpHeader { src_port: 1000, dst_port: 81, seq, flags, ..TcpHeader::default() };
        host.put(frames::tcp(ends, &header, Payload::EMPTY, 0));
    }
    // As the kernel: reset, where the RFC says refused.
    assert_eq!(host.stack.take_error(client), Some(Error::ConnectionReset));
}

#[test]
fn listening_disturbs_nobody() {
    // MUST-41
    let mut host = Host::new();
    let first = host.listener("10.0.0.2:80");
    let (id, syn_ack) = host.accepted(first, TcpOptions::default());
    let second = host.listener("10.0.0.2:81");
    let seq = syn_ack.seq.wrapping_add(1);
    host.put_tcp(PEER, OWN, &ack(101, seq), b"still here");
    assert_eq!(recv(&mut host.stack, host.now, id).unwrap(), b"still here");
    host.stack.close(host.now, second).unwrap();
    host.put_tcp(PEER, OWN, &ack(111, seq), b"and here");
    assert_eq!(recv(&mut host.stack, host.now, id).unwrap(), b"and here");
    assert_eq!(state(&host.stack, id), TcpState::Established);
}

#[test]
fn a_port_may_be_listened_on_while_a_connection_from_it_opens() {
    // MUST-42
    let mut host = Host::new();
    let [client, listener] = [0; 2].map(|_| stream(&mut host.stack, addr("10.0.0.2:80")));
    for id in [client, listener] {
        host.stack.set_option(host.now, id, SocketOption::ReuseAddr(true)).unwrap();
        host.stack.bind(id, addr("10.0.0.2:80")).unwrap();
    }
    let _ = host.stack.connect(host.now, client, addr("10.0.0.9:7"));
    assert_eq!(state(&host.stack, client), TcpState::SynSent);
    assert_eq!(host.stack.listen(host.now, listener, 5), Ok(()));
    host.segments();
    host.accepted(listener, TcpOptions::default());
}

#[test]
fn the_local_address_is_the_users_or_the_routes_and_stays() {
    // MUST-43, MUST-44, MUST-45
    let mut host = Host::new();
    host.stack.add_address(LINK, [10, 0, 0, 77].into(), 24).unwrap();
    for (bound, source) in [(Some("10.0.0.77:0"), [10, 0, 0, 77]), (None, OWN)] {
        let id = stream(&mut host.stack, addr("10.0.0.1:80"));
        if let Some(at) = bound {
            host.stack.bind(id, addr(at)).unwrap();
        }
        let _ = host.stack.connect(host.now, id, addr("10.0.0.1:80"));
        let (layout, syn, _) = host.segments().remove(0);
        assert_eq!(layout.src, IpAddr::from(source));
        let answer = TcpHeader {
            src_port: 80,
            dst_port: syn.src_port,
            seq: 500,
            ack: syn.seq.wrapping_add(1),
            flags: TcpFlags::SYN | TcpFlags::ACK,
            window: 60_000,
            ..TcpHeader::default()
        };
        host.put(frames::tcp([PEER.into(), source.into()], &answer, Payload::EMPTY, 0));
        send(&mut host.stack, host.now, id, b"data").unwrap();
        let segments = host.segments();
        assert!(!segments.is_empty());
        assert!(segments.iter().all(|(layout, _, _)| layout.src == IpAddr::from(source)));
    }
}

#[test]
fn nobody_connects_to_many() {
    // MUST-46
    let mut host = Host::new();
    for to in ["224.0.0.1:80", "10.0.0.255:80", "255.255.255.255:80"] {
        let id = stream(&mut host.stack, addr(to));
        assert_eq!(host.stack.connect(host.now, id, addr(to)), Err(Error::NetworkUnreachable), "{to}");
    }
    assert!(host.packets().is_empty());
}

#[test]
fn a_syn_from_or_to_many_is_ignored() {
    // MUST-57, MUST-63
    let mut host = Host::new();
    host.listener("0.0.0.0:80");
    let header = syn(100, TcpOptions::default());
    for src in [[224, 0, 0, 1], [10, 0, 0, 255], [255; 4], [0; 4]] {
        host.put_tcp(src, OWN, &header, b"");
    }
    for dst in [[224, 0, 0, 1], [10, 0, 0, 255], [255; 4]] {
        host.put_tcp(PEER, dst, &header, b"");
    }
    assert!(host.packets().is_empty());
    assert_eq!(host.stack.io.half_open.len(), 0);
    host.put_tcp(PEER, OWN, &header, b"");
    assert_eq!(host.segments().len(), 1);
}

#[test]
fn time_to_live_and_service_are_the_users() {
    // MUST-48, MUST-49, SHLD-21, SHLD-22: from the first segment, and changed on the way.
    let mut host = Host::new();
    let id = stream(&mut host.stack, addr("10.0.0.1:80"));
    host.stack.set_option(host.now, id, SocketOption::Tos(0x48)).unwrap();
    host.stack.set_option(host.now, id, SocketOption::Ttl(Some(9))).unwrap();
    let _ = host.stack.connect(host.now, id, addr("10.0.0.1:80"));
    let packets = host.packets();
    assert_eq!((packets[0].head[1], packets[0].head[8]), (0x48, 9));
    host.stack.set_option(host.now, id, SocketOption::Tos(0xb8)).unwrap();
    host.stack.set_option(host.now, id, SocketOption::Ttl(None)).unwrap();
    host.now += Duration::from_secs(2);
    host.stack.handle_timeout(host.now);
    let packets = host.packets();
    assert_eq!((packets[0].head[1], packets[0].head[8]), (0xb8, 64));
}

#[test]
fn ip_options_that_nobody_knows_are_ignored() {
    // MUST-50
    let mut host = Host::new();
    host.listener("10.0.0.2:80");
    let ends: [IpAddr; 2] = [PEER.into(), OWN.into()];
    let header = TcpHeader { src_port: 1000, dst_port: 80, ..syn(100, TcpOptions::default()) };
    let plain = frames::tcp(ends, &header, Payload::EMPTY, 0).to_vec();
    // Kind 94, 4 bytes long, and 4 of padding: the header is 28 bytes.
    let mut bytes = plain[..20].to_vec();
    bytes[0] = 0x47;
    bytes[3] += 8;
    bytes.extend([94, 4, 1, 2, 1, 1, 1, 0]);
    bytes.extend(&plain[20..]);
    let meta = Meta { checksum: Checksum::Unfilled, ..Meta::default() };
    host.put(Packet::from_bytes(&Chunk::from(bytes), meta));
    assert!(host.segments()[0].1.flags.syn());
}

#[test]
fn source_quench_means_nothing() {
    // MUST-55
    let mut host = Host::new();
    let listener = host.listener("10.0.0.2:80");
    let (id, _) = host.accepted(listener, TcpOptions::default());
    send(&mut host.stack, host.now, id, &[7; 500]).unwrap();
    let quoted = frames::bytes(&host.packets()[0]);
    let before = host.stack.tcp_info(host.now, id).unwrap().snd_cwnd;
    let message = sockeye_wire::Icmpv4::Other { kind: 4, code: 0, rest: [0; 4] };
    let mut buffer = [0; 8];
    message.emit(&mut buffer);
    let ends: [IpAddr; 2] = [PEER.into(), OWN.into()];
    let quote = Payload::from(Chunk::from(quoted));
    host.put(frames::packet(ends, sockeye_wire::Protocol::ICMP, &buffer, quote, 0));
    assert_eq!(host.stack.tcp_info(host.now, id).unwrap().snd_cwnd, before);
    assert_eq!((state(&host.stack, id), host.stack.take_error(id)), (TcpState::Established, None));
    assert!(host.packets().is_empty());
}

#[test]
fn options_may_come_in_any_segment_at_any_octet() {
    // MUST-4, MUST-5, MUST-6, MUST-64, MUST-68: no-operation, an unknown option, then timestamps, end of list.
    let mut host = Host::new();
    let listener = host.listener("10.0.0.2:80");
    let stamps = |value| Some(sockeye_wire::TcpTimestamps { value, echo: 0 });
    let options = TcpOptions { timestamps: stamps(7), ..TcpOptions::default() };
    host.put_tcp(PEER, OWN, &syn(100, options), b"");
    let (_, syn_ack, _) = host.segments().remove(0);
    let ends: [IpAddr; 2] = [PEER.into(), OWN.into()];
    let header =
        TcpHeader { src_port: 1000, dst_port: 80, window: 60_000, ..ack(101, syn_ack.seq.wrapping_add(1)) };
    let mut bytes = frames::tcp(ends, &header, Payload::EMPTY, 0).to_vec();
    // 20 bytes of options: the data offset is 10 words.
    bytes[32] = 10 << 4;
    bytes.extend([1, 200, 3, 0, 1, 8, 10, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(b"data");
    bytes[3] += 24;
    let meta = Meta { checksum: Checksum::Unfilled, ..Meta::default() };
    host.put(Packet::from_bytes(&Chunk::from(bytes), meta));
    let (id, _) = host.stack.accept(host.now, listener).unwrap();
    assert_eq!(recv(&mut host.stack, host.now, id).unwrap(), b"data");
    // The timestamp that came so is what is echoed.
    send(&mut host.stack, host.now, id, b"x").unwrap();
    let (_, header, _) = host.segments().pop().unwrap();
    assert_eq!(header.options.timestamps.map(|stamps| stamps.echo), Some(8));
}

#[test]
fn the_header_is_filled_with_zeros_to_whole_words() {
    // MUST-69
    let options = TcpOptions { mss: Some(1460), window_scale: Some(7), ..TcpOptions::default() };
    let mut buffer = [0xff; TcpHeader::MAX_LEN];
    let len = syn(1, options).emit(&mut buffer);
    assert_eq!((len % 4, usize::from(buffer[12] >> 4) * 4), (0, len));
    let (again, _) = TcpHeader::parse(&buffer[..len]).unwrap();
    assert_eq!(again.options, options);
    let mut at = 20;
    while at < len {
        at += match buffer[at] {
            0 => {
                assert!(buffer[at..len].iter().all(|byte| *byte == 0));
                break;
            }
            1 => 1,
            _ => usize::from(buffer[at + 1]),
        };
    }
    assert!(at <= len);
}

#[test]
fn a_window_beyond_32767_is_one() {
    // MUST-1
    let mut host = Host::new();
    let listener = host.listener("10.0.0.2:80");
    let (id, syn_ack) = host.accepted(listener, TcpOptions { mss: Some(1460), ..TcpOptions::default() });
    let seq = syn_ack.seq.wrapping_add(1);
    send(&mut host.stack, host.now, id, &alloc::vec![7; 65_000]).unwrap();
    // Everything is acknowledged as it comes, so that `cwnd` is no limit, but for the last 40,000.
    let mut sent = 0;
    for _ in 0..20 {
        sent += host.segments().iter().map(|(_, _, data)| data.len()).sum::<usize>();
        if sent > 20_000 {
            break;
        }
        host.put_tcp(PEER, OWN, &ack(101, seq.wrapping_add(sent as u32)), b"");
    }
    host.put_tcp(PEER, OWN, &ack(101, seq.wrapping_add(sent as u32)), b"");
    let rest: usize = host.segments().iter().map(|(_, _, data)| data.len()).sum();
    assert!(rest > 32_767 || sent + rest == 65_000, "{sent}, then {rest}");
    assert_eq!(host.stack.tcp_info(host.now, id).unwrap().snd_wnd, 60_000);
}

#[test]
fn timestamps_let_a_new_connection_in_before_time_wait_is_over() {
    // SHLD-4, RFC 6191 §2: also where its sequence numbers lie below the old ones.
    let mut host = Host::new();
    let listener = host.listener("10.0.0.2:80");
    let stamped = |value| TcpOptions {
        timestamps: Some(sockeye_wire::TcpTimestamps { value, echo: 0 }),
        ..TcpOptions::default()
    };
    host.put_tcp(PEER, OWN, &syn(100, stamped(50)), b"");
    let (_, syn_ack, _) = host.segments().remove(0);
    let number = syn_ack.seq.wrapping_add(1);
    host.put_tcp(PEER, OWN, &TcpHeader { options: stamped(50), ..ack(101, number) }, b"");
    let (id, _) = host.stack.accept(host.now, listener).unwrap();
    host.stack.close(host.now, id).unwrap();
    host.segments();
    let fin = TcpHeader {
        flags: TcpFlags::FIN | TcpFlags::ACK,
        options: stamped(51),
        ..ack(101, number.wrapping_add(1))
    };
    host.put_tcp(PEER, OWN, &fin, b"");
    host.segments();
    assert_eq!(host.stack.io.time_wait.len(), 1);
    // As old as the old connection: not believed.
    host.put_tcp(PEER, OWN, &syn(50, stamped(51)), b"");
    assert!(host.segments().iter().all(|(_, header, _)| !header.flags.syn()));
    host.put_tcp(PEER, OWN, &syn(50, stamped(52)), b"");
    assert!(host.segments().iter().any(|(_, header, _)| header.flags.syn() && header.ack == 51));
}
