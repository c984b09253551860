//! Targets of what programs and links may write without any form: filters, packets of raw and packet sockets.

use sockeye_packet::{Batch, Chunk, Instant, Meta, NicId, Packet, Payload, Rng};
use sockeye_stack::bpf::{Filter, Instruction, View};
use sockeye_stack::{
    Config, Domain, NicConfig, Owner, Protocol, RecvFlags, SendFlags, SockAddr, SocketId, SocketOption,
    SocketType, Stack,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The interface to the link.
const LINK: NicId = NicId(1);

/// Takes the bytes for a filter, behind the number of its instructions, and a packet.
pub fn filter(bytes: &[u8]) {
    let (code, packet) = split_filter(bytes);
    let Ok(filter) = Filter::new(&code) else { return };
    assert_eq!(filter.instructions(), code);
    let keep = filter.run(&View::of(packet));
    // However the bytes lie, they are the same.
    let (link, rest) = packet.split_at(packet.len().min(14));
    let (head, data) = rest.split_at(rest.len().min(20));
    let payload: Payload = data.chunks(7).map(Chunk::copy_from).collect();
    let view = View { link, head, payload: Some(&payload), ..View::default() };
    let depends = code
        .iter()
        .any(|step| step.k >= 0xffe0_0000 || step.code.trailing_zeros() >= 3 && step.code & 0xe0 == 0x40);
    let pieces = filter.run(&view);
    // Offsets from the network header, and the payload's, are other bytes there.
    assert!(depends || pieces == keep, "{pieces} of pieces, {keep} of the whole");
}

/// The instructions of a target's input, and the bytes behind them.
fn split_filter(bytes: &[u8]) -> (Vec<Instruction>, &[u8]) {
    let Some((count, rest)) = bytes.split_first() else { return (Vec::new(), bytes) };
    let (code, packet) = rest.split_at(rest.len().min(8 * usize::from(*count)));
    let step = |step: &[u8]| Instruction {
        code: u16::from_le_bytes([step[0], step[1]]),
        jump_true: step[2],
        jump_false: step[3],
        k: u32::from_le_bytes([step[4], step[5], step[6], step[7]]),
    };
    (code.chunks_exact(8).map(step).collect(), packet)
}

/// Takes the bytes for what happens to a host with raw and packet sockets: packets from the link, packets that
/// programs send without any form, options. Each thing is a number, a length of two bytes and so many bytes.
pub fn raw(bytes: &[u8]) {
    let mut host = Host::new();
    let mut rest = bytes;
    while let [kind, high, low, behind @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
        let (data, next) = behind.split_at(len);
        host.step(*kind, data);
        host.stack.check_invariants();
        rest = next;
    }
    host.read();
    for id in host.sockets {
        host.stack.close(host.now, id).expect("a socket to close");
    }
    host.stack.check_invariants();
}

/// A host with a socket of each kind, and a link whose other end is nobody's.
struct Host {
    stack: Stack,
    sockets: Vec<SocketId>,
    now: Instant,
}

impl Host {
    fn new() -> Host {
        let config = Config { udp_recv_buffer: 20_000, udp_send_buffer: 20_000, ..Config::default() };
        let mut stack = Stack::new(config, [5; 32]);
        let nic = NicConfig { checksums: true, ..NicConfig::memory("eth0", 1500) };
        assert_eq!(stack.add_nic(nic), Ok(LINK));
        stack.add_address(LINK, Ipv4Addr::new(10, 0, 0, 1).into(), 24).expect("an address");
        stack.add_address(LINK, Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1).into(), 64).expect("an address");
        let all = SocketType::ALL;
        let sockets = [
            (Domain::Inet, SocketType::Raw(Protocol::RAW)),
            (Domain::Inet, SocketType::Raw(Protocol::ICMP)),
            (Domain::Inet, SocketType::Raw(Protocol::TCP)),
            (Domain::Inet6, SocketType::Raw(Protocol::ICMPV6)),
            (Domain::Inet6, SocketType::Raw(Protocol(47))),
            (Domain::Packet, SocketType::Packet { cooked: false, ethertype: all }),
            (Domain::Packet, SocketType::Packet { cooked: true, ethertype: all }),
            (Domain::Inet, SocketType::Datagram),
        ];
        let sockets =
            sockets.map(|(domain, kind)| stack.socket(domain, kind, Owner::default()).expect("a socket"));
        Host { stack, sockets: sockets.to_vec(), now: Instant::from_millis(1) }
    }

    fn step(&mut self, kind: u8, data: &[u8]) {
        self.now += std::time::Duration::from_millis(u64::from(kind));
        let id = self.sockets[usize::from(kind >> 2) % self.sockets.len()];
        match kind % 4 {
            0 => {
                let mut batch = Batch::new();
                batch.push(Packet::from_bytes(&Chunk::copy_from(data), Meta::default()));
                self.stack.handle_packets(self.now, LINK, &mut batch);
            }
            1 => self.send(id, data),
            2 => self.set(id, data),
            _ => self.read(),
        }
        let mut batch = Batch::new();
        self.stack.poll_transmit(self.now, LINK, &mut batch);
        self.stack.handle_timeout(self.now);
    }

    /// Sends it to another host, or to this one.
    fn send(&mut self, id: SocketId, data: &[u8]) {
        let last = 1 + data.first().map_or(0, |byte| byte & 1);
        let v6 = self.stack.local_addr(id).is_ok_and(|addr| !addr.is_v4());
        let ip: IpAddr = if v6 {
            Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last.into()).into()
        } else {
            Ipv4Addr::new(10, 0, 0, last).into()
        };
        let payload = Payload::from(Chunk::copy_from(data));
        if self.stack.packet_name(id).is_ok() {
            let _ = self.stack.send_packet(self.now, id, Some(NicId(u16::from(last - 1))), payload);
        } else {
            let to = Some(SockAddr::new(ip, 0));
            let _ = self.stack.send_to(self.now, id, payload, to, SendFlags::default());
        }
    }

    fn set(&mut self, id: SocketId, data: &[u8]) {
        let [first, second, rest @ ..] = data else { return };
        let (code, _) = split_filter(rest);
        let option = match first % 6 {
            0 => SocketOption::HeaderIncluded(second & 1 != 0),
            1 => SocketOption::IcmpFilter(u32::from(*second)),
            2 => SocketOption::Icmp6Filter([u32::from(*second); 8]),
            3 => SocketOption::ChecksumOffset((*second < 200).then_some(u16::from(*second))),
            4 => SocketOption::RecvBuffer(usize::from(*second) * 100),
            _ => {
                let _ = Filter::new(&code).map(|filter| self.stack.attach_filter(id, filter));
                return;
            }
        };
        let _ = self.stack.set_option(self.now, id, option);
    }

    fn read(&mut self) {
        for &id in &self.sockets {
            while self.stack.recv_from(self.now, id, RecvFlags::default()).is_ok() {}
            self.stack.take_error(id);
        }
        while self.stack.poll_event().is_some() {}
    }
}

/// A filter that passes the checks more often than not, and a packet.
pub fn filter_example(rng: &mut Rng) -> Vec<u8> {
    const CODES: [u16; 20] = [
        0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x80, 0xb1, 0x01, 0x00, 0x02, 0x60, 0x04, 0x1c, 0x54, 0x74, 0x15,
        0x25, 0x45, 0x87,
    ];
    let count = 1 + rng.below(12) as u8;
    let mut bytes = vec![count + 1];
    for left in (0..count).rev() {
        let code = CODES[rng.below(CODES.len() as u64) as usize];
        let jump = |rng: &mut Rng| rng.below(u64::from(left) + 1) as u8;
        let k = if rng.chance(0.1) { 0xffff_f000 + 4 * rng.below(16) as u32 } else { rng.below(16) as u32 };
        bytes.extend(code.to_le_bytes());
        bytes.extend([jump(rng), jump(rng)]);
        bytes.extend(k.to_le_bytes());
    }
    bytes.extend([0x16, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(crate::examples::packet(rng));
    bytes
}

/// A few things that happen to a host.
pub fn raw_example(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=rng.below(6) {
        let kind = rng.below(256) as u8;
        let data = match kind % 4 {
            2 => [vec![rng.below(256) as u8, rng.below(256) as u8], filter_example(rng)].concat(),
            // Half of the packets are for the host.
            _ => for_host(crate::examples::packet(rng)),
        };
        bytes.push(kind);
        bytes.extend((data.len() as u16).to_be_bytes());
        bytes.extend(data);
    }
    bytes
}

/// A packet to the host's address, with a checksum that is right where a header's is.
fn for_host(mut packet: Vec<u8>) -> Vec<u8> {
    if packet[0] >> 4 == 4 && packet.len() >= 20 {
        packet[12..20].copy_from_slice(&[10, 0, 0, 2, 10, 0, 0, 1]);
    } else if packet.len() >= 40 {
        let host = |last| Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last).octets();
        packet[8..24].copy_from_slice(&host(2));
        packet[24..40].copy_from_slice(&host(1));
    }
    let cut = sockeye_wire::header_len(&packet);
    let (head, payload) = packet.split_at_mut(cut);
    sockeye_wire::fill_checksums(head, std::iter::once(&*payload));
    packet
}
