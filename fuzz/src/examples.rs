//! Makes random valid inputs.

use sockeye_packet::Rng;
use sockeye_wire::{
    Icmpv4, Icmpv6, Ipv4Header, Ipv6Header, PacketLine, Protocol, SackBlock, TcpFlags, TcpHeader, TcpOptions,
    TcpTimestamps, UdpHeader, fill_checksums, header_len,
};
use std::iter::once;

/// An IP packet with right checksums.
pub fn packet(rng: &mut Rng) -> Vec<u8> {
    let v4 = rng.chance(0.5);
    let mut protocol = [Protocol::TCP, Protocol::UDP, Protocol::ICMP, Protocol(47)][rng.below(4) as usize];
    if protocol == Protocol::ICMP && !v4 {
        protocol = Protocol::ICMPV6;
    }
    let quote = if rng.chance(0.2) { plain_packet(rng, v4, Protocol::TCP, &[]) } else { bytes(rng, 64) };
    plain_packet(rng, v4, protocol, &quote)
}

/// A transport header, its kind in front: see [`headers`](crate::headers).
pub fn transport(rng: &mut Rng) -> Vec<u8> {
    let kind = rng.below(5) as u8;
    let protocols = [Protocol::TCP, Protocol::UDP, Protocol::ICMP, Protocol::ICMPV6, Protocol::TCP];
    let data = bytes(rng, 64);
    let mut all = vec![kind];
    let header = transport_header(rng, protocols[usize::from(kind)], data.len());
    // The last kind is a list of TCP options, without the header in front of it.
    let options_only = if kind == 4 { TcpHeader::MIN_LEN } else { 0 };
    all.extend_from_slice(&header[options_only..]);
    all.extend(data);
    all
}

/// A packet line.
pub fn line(rng: &mut Rng) -> Vec<u8> {
    let packet = packet(rng);
    let (head, payload) = packet.split_at(header_len(&packet));
    let line = PacketLine::from_head(head, payload.len()).expect("a valid packet").quoting(payload);
    if rng.chance(0.5) { line.without_endpoints().to_string() } else { line.to_string() }.into_bytes()
}

/// A message of a control socket.
pub fn control(rng: &mut Rng) -> Vec<u8> {
    let to_network = rng.chance(0.5);
    sockeye_run::fuzz_example(&mut || u64::from(rng.next_u32()) << 32 | u64::from(rng.next_u32()), to_network)
}

/// Requests of a netlink socket or of `ioctl`, what they are in front.
pub fn netlink(rng: &mut Rng) -> Vec<u8> {
    sockeye_run::fuzz_netlink_example(&mut || u64::from(rng.next_u32()))
}

/// Control messages of a datagram, the socket's kind in front.
pub fn cmsgs(rng: &mut Rng) -> Vec<u8> {
    /// Levels, numbers and lengths that mean something.
    const KNOWN: [(i32, i32, usize); 10] = [
        (0, 8, 12),
        (0, 2, 4),
        (0, 1, 1),
        (0, 1, 4),
        (41, 50, 20),
        (41, 52, 4),
        (41, 67, 4),
        (41, 62, 4),
        (1, 37, 4),
        (1, 12, 4),
    ];
    let mut all = vec![rng.next_u32() as u8];
    for _ in 0..rng.below(4) {
        let (level, kind, len) = KNOWN[rng.below(KNOWN.len() as u64) as usize];
        all.extend((16 + len as u64).to_ne_bytes());
        all.extend([level, kind].map(i32::to_ne_bytes).concat());
        // Most numbers are small ones.
        all.extend((0..len).map(|at| if at == 0 { rng.below(4) as u8 } else { 0 }));
        all.resize(1 + (all.len() - 1).next_multiple_of(8), 0);
    }
    all
}

/// A socket address of either family, how it is read in front.
pub fn sockaddrs(rng: &mut Rng) -> Vec<u8> {
    let mut all = vec![rng.next_u32() as u8];
    let (family, len) = [(2_u16, 16), (10, 28), (0, 16), (10, 24)][rng.below(4) as usize];
    all.extend(family.to_ne_bytes());
    all.extend((2..len).map(|_| rng.next_u32() as u8));
    if family == 10 && rng.chance(0.5) {
        // Mapped, or of the link.
        let start = [&[0; 10][..], &[255, 255]].concat();
        let start = if rng.chance(0.5) { start } else { vec![0xfe, 0x80] };
        all[9..9 + start.len()].copy_from_slice(&start);
    }
    all
}

/// An option's value; the socket, the option and the reader's room in front.
pub fn sockopts(rng: &mut Rng) -> Vec<u8> {
    let mut all: Vec<u8> = (0..3).map(|_| rng.next_u32() as u8).collect();
    let value = [0, 1, -1, 255, 1500, rng.next_u32().cast_signed()][rng.below(6) as usize];
    all.extend(value.to_ne_bytes());
    all.extend((0..rng.below(20)).map(|_| rng.next_u32() as u8));
    all
}

/// A story: any bytes are one.
pub fn story(rng: &mut Rng) -> Vec<u8> {
    let len = rng.below(4) * rng.below(400) + 40;
    (0..len).map(|_| rng.next_u32() as u8).collect()
}

fn plain_packet(rng: &mut Rng, v4: bool, protocol: Protocol, data: &[u8]) -> Vec<u8> {
    let transport = transport_header(rng, protocol, data.len());
    let extensions = if v4 { Vec::new() } else { extension_headers(rng, protocol) };
    let carried = (extensions.len() + transport.len() + data.len()) as u16;
    let mut head = vec![0; 60];
    let len = if v4 {
        let header = Ipv4Header {
            id: rng.next_u32() as u16,
            dont_fragment: rng.chance(0.5),
            more_fragments: rng.chance(0.1),
            fragment_offset: if rng.chance(0.1) { rng.below(64) as u16 * 8 } else { 0 },
            protocol,
            src: rng.next_u32().into(),
            dst: rng.next_u32().into(),
            options: bytes(rng, 3).iter().flat_map(|_| [1; 4]).collect(),
            ..Ipv4Header::default()
        };
        Ipv4Header { total_len: header.len() as u16 + carried, ..header }.emit(&mut head)
    } else {
        let next_header = if extensions.is_empty() { protocol } else { Protocol::DESTINATION_OPTIONS };
        let [src, dst] = [rng.next_u32(), rng.next_u32()].map(|low| (0xfd77 << 112 | u128::from(low)).into());
        Ipv6Header { payload_len: carried, next_header, src, dst, ..Ipv6Header::default() }.emit(&mut head)
    };
    head.truncate(len);
    head.extend(extensions);
    head.extend(transport);
    fill_checksums(&mut head, once(data));
    head.extend_from_slice(data);
    head
}

/// A chain that starts with destination options and ends before `protocol`, or nothing.
fn extension_headers(rng: &mut Rng, protocol: Protocol) -> Vec<u8> {
    let mut all = Vec::new();
    for left in (0..rng.below(4)).rev() {
        let next = if left == 0 { protocol.0 } else { [43, 44, 60][rng.below(3) as usize] };
        // Pad-N over the whole: as a routing header it is one of type 1 with 4 segments left, as a fragment
        // header a first fragment.
        all.extend(match all.len().checked_sub(8).map(|last| all[last]) {
            Some(44) => [next, 0, 0, u8::from(rng.chance(0.5)), 1, 2, 3, 4],
            _ => [next, 0, 1, 4, 0, 0, 0, 0],
        });
    }
    all
}

fn transport_header(rng: &mut Rng, protocol: Protocol, data_len: usize) -> Vec<u8> {
    let (first, second) = (rng.next_u32() as u16, rng.next_u32() as u16);
    let mut buffer = vec![0; 60];
    let len = match protocol {
        Protocol::TCP => tcp_header(rng).emit(&mut buffer),
        Protocol::UDP => {
            UdpHeader { src_port: first, dst_port: second, len: 8 + data_len as u16 }.emit(&mut buffer)
        }
        Protocol::ICMP => match rng.below(4) {
            0 => Icmpv4::EchoRequest { id: first, seq: second },
            1 => Icmpv4::Unreachable { code: 3, mtu: 0 },
            2 => Icmpv4::Unreachable { code: 4, mtu: second },
            _ => Icmpv4::TimeExceeded { code: 0 },
        }
        .emit(&mut buffer),
        Protocol::ICMPV6 => match rng.below(3) {
            0 => Icmpv6::EchoRequest { id: first, seq: second },
            1 => Icmpv6::Unreachable { code: 4 },
            _ => Icmpv6::PacketTooBig { mtu: second.into() },
        }
        .emit(&mut buffer),
        _ => 0,
    };
    buffer.truncate(len);
    buffer
}

fn tcp_header(rng: &mut Rng) -> TcpHeader {
    let timestamps = TcpTimestamps { value: rng.next_u32(), echo: rng.next_u32() };
    let block = |rng: &mut Rng| SackBlock { left: rng.next_u32(), right: rng.next_u32() };
    TcpHeader {
        src_port: rng.next_u32() as u16,
        dst_port: rng.next_u32() as u16,
        seq: rng.next_u32(),
        ack: rng.next_u32(),
        flags: TcpFlags::from_bits(rng.next_u32() as u16),
        window: rng.next_u32() as u16,
        urgent: if rng.chance(0.1) { 7 } else { 0 },
        options: TcpOptions {
            mss: rng.chance(0.3).then_some(1460),
            window_scale: rng.chance(0.3).then_some(7),
            sack_permitted: rng.chance(0.3),
            timestamps: rng.chance(0.7).then_some(timestamps),
            sack: (0..rng.below(4)).map(|_| block(rng)).collect(),
        },
    }
}

/// Up to `max` random bytes.
fn bytes(rng: &mut Rng, max: u64) -> Vec<u8> {
    (0..rng.below(max + 1)).map(|_| rng.next_u32() as u8).collect()
}
