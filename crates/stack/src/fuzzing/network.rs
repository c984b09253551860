//! A host between packets of any kind below the transports: IP with options and extension headers, fragments, ICMP,
//! IGMP and MLD. What it sends must be in order, and nothing may stay.

use super::source::Source;
use super::{LINK, Seen, play, show, take_in, trace};
use crate::{
    Config, Counter, Domain, Membership, NicConfig, Owner, RecvFlags, SockAddr, SocketId, SocketType, Stack,
};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;
use sockeye_packet::{Batch, Checksum, Chunk, Instant, Meta, Packet};
use sockeye_wire::{IpLayout, fill_checksums, verify_checksums};

const STEPS: usize = 400;
/// Most packets that one step may lead to: fragments of an echo reply, and reports of all groups.
const BURST: usize = 400;

/// What a story is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Ip,
    Icmp,
    Groups,
    Fragments,
}

struct World {
    stack: Stack,
    now: Instant,
    mtu: u32,
    about: About,
    sockets: Vec<SocketId>,
}

/// Packets of any kind, with options and extension headers.
pub fn ip(bytes: &[u8]) -> Seen {
    run(About::Ip, bytes)
}

/// ICMP of both versions, errors that quote anything among it.
pub fn icmp(bytes: &[u8]) -> Seen {
    run(About::Icmp, bytes)
}

/// IGMP and MLD, while programs join and leave.
pub fn groups(bytes: &[u8]) -> Seen {
    run(About::Groups, bytes)
}

/// Fragments of both versions.
pub fn fragments(bytes: &[u8]) -> Seen {
    run(About::Fragments, bytes)
}

fn run(about: About, bytes: &[u8]) -> Seen {
    let world = play(bytes, STEPS, |source| World::new(about, source), World::step);
    world.finish()
}

fn parse(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

impl World {
    fn new(about: About, source: &mut Source<'_>) -> World {
        let memory = source.pick(&[64 << 20, 100_000, 5000]);
        let forwarding = source.chance(60);
        let config = Config { memory, forwarding, max_sockets: 32, ..Config::default() };
        let mut stack = Stack::new(config, [5; 32]);
        let mtu = source.pick(&[1500, 1280, 576]);
        stack.add_nic(NicConfig { checksums: true, ..NicConfig::memory("eth0", mtu) }).expect("an interface");
        for (ip, prefix) in [("10.0.0.1", 24), ("fd77::1", 64), ("fe80::1", 64)] {
            stack.add_address(LINK, parse(ip), prefix).expect("an address");
        }
        let mut world = World { stack, now: Instant::from_millis(1), mtu, about, sockets: Vec::new() };
        for (at, kind) in [
            ("[::]:53", SocketType::Datagram),
            ("10.0.0.1:7", SocketType::Ping),
            ("[fd77::1]:7", SocketType::Ping),
        ] {
            let at = SockAddr::from(at.parse::<core::net::SocketAddr>().expect("an address"));
            let domain = if at.is_v4() { Domain::Inet } else { Domain::Inet6 };
            let id = world.stack.socket(domain, kind, Owner::default()).expect("a socket");
            world.stack.bind(id, at).expect("a free port");
            world.sockets.push(id);
        }
        world.member(0, true, 0);
        world.member(0, true, 2);
        world
    }

    /// Joins or leaves a group, whatever comes of it.
    fn member(&mut self, socket: usize, joins: bool, group: usize) {
        let group = parse(["239.0.0.1", "239.0.0.2", "ff05::1", "ff02::2", "224.0.0.1"][group % 5]);
        let membership = Membership { nic: Some(LINK), ..Membership::of(group) };
        let (now, id) = (self.now, self.sockets[socket % self.sockets.len()]);
        let _ = if joins {
            self.stack.join_group(now, id, &membership)
        } else {
            self.stack.leave_group(now, id, &membership)
        };
    }

    fn step(&mut self, source: &mut Source<'_>) {
        match source.byte() {
            0..=199 => self.take_in(source),
            200..=229 => {
                self.now += Duration::from_millis(source.pick(&[1, 100, 1000, 31_000, 300_000]));
                self.stack.handle_timeout(self.now);
            }
            230..=239 if self.about == About::Groups => self.program(source),
            _ => self.read(),
        }
        self.stack.check_invariants();
        self.transmit();
    }

    fn program(&mut self, source: &mut Source<'_>) {
        let (socket, joins, group) = (source.below(3), source.chance(150), source.below(5));
        if source.chance(128) {
            return self.member(socket, joins, group);
        }
        let group = parse(source.pick(&["239.0.0.1", "239.0.0.2"]));
        let membership = Membership { nic: Some(LINK), ..Membership::of(group) };
        let peer = IpAddr::from([10, 0, 0, 2 + source.below(4) as u8]);
        let (now, id) = (self.now, self.sockets[socket]);
        let _ = match source.below(4) {
            0 => self.stack.join_source(now, id, &membership, peer),
            1 => self.stack.leave_source(now, id, &membership, peer),
            2 => self.stack.block_source(now, id, &membership, peer),
            _ => self.stack.unblock_source(now, id, &membership, peer),
        };
    }

    fn read(&mut self) {
        for &id in &self.sockets {
            while self.stack.recv_from(self.now, id, RecvFlags::default()).is_ok() {}
            let _ = self.stack.take_error(id);
        }
    }

    fn take_in(&mut self, source: &mut Source<'_>) {
        let v4 = source.chance(128);
        let mut bytes = match self.about {
            About::Ip => packet(source, v4, None),
            About::Icmp => {
                let message = icmp_message(source, v4);
                packet(source, v4, Some((if v4 { 1 } else { 58 }, message)))
            }
            About::Groups => query(source, v4),
            About::Fragments => fragment(source, v4),
        };
        if source.chance(245) {
            fill_checksums(&mut bytes, core::iter::empty());
        }
        let checksum = source.pick(&[Checksum::Unverified, Checksum::Unfilled, Checksum::Verified]);
        let packet = Packet::from_bytes(&Chunk::from(bytes), Meta { checksum, ..Meta::default() });
        take_in(&mut self.stack, self.now, packet);
    }

    /// Takes all packets that the stack has for the link, and judges them.
    fn transmit(&mut self) {
        let mut batch = Batch::new();
        for count in 0.. {
            self.stack.poll_transmit(self.now, LINK, &mut batch);
            if batch.is_empty() {
                return;
            }
            assert!(count < BURST, "packets without end");
            for packet in batch.drain() {
                trace(|| format!("{:?} > {}", self.now, show(&packet)));
                let ip = IpLayout::parse(&packet.head).expect("an IP packet");
                assert_eq!(ip.total_len, packet.len(), "the length that it states");
                // IPv6 works on no link with less than 1280 bytes (RFC 8200 §5).
                let mtu = if ip.src.is_ipv4() { self.mtu } else { self.mtu.max(1280) };
                assert!(packet.len() <= mtu as usize, "{} bytes: {}", packet.len(), show(&packet));
                let own = [parse("10.0.0.1"), parse("fd77::1"), parse("fe80::1")].contains(&ip.src);
                assert!(own || self.stack.config().forwarding, "from {}", ip.src);
                if own && ip.fragment.is_none() {
                    let payload = packet.payload.chunks().map(AsRef::as_ref);
                    assert_eq!(verify_checksums(&packet.head, payload), Ok(()), "of {}", show(&packet));
                }
            }
        }
    }

    /// All is over: nothing is left.
    fn finish(mut self) -> Seen {
        for id in core::mem::take(&mut self.sockets) {
            self.stack.close(self.now, id).expect("a socket");
        }
        for _ in 0..10_000 {
            self.transmit();
            let Some(wake) = self.stack.poll_timeout() else { break };
            self.now = self.now.max(wake.at);
            self.stack.handle_timeout(self.now);
        }
        self.stack.check_invariants();
        assert_eq!(self.stack.poll_timeout(), None, "a timer is left");
        assert_eq!(self.stack.memory_used(), 0, "memory is left");
        assert!(self.stack.io.multicast.is_idle(), "groups are left");
        let counters = self.stack.counters();
        let met = Counter::ALL.iter().enumerate().filter(|(_, counter)| counters[**counter] > 0);
        met.map(|(number, counter)| number as u64 * 64 + u64::from(counters[*counter].ilog2().min(4)))
            .collect()
    }
}

/// A packet's IP header, in front of what it carries.
fn header(source: &mut Source<'_>, v4: bool, protocol: u8, options: &[u8], carried: usize) -> Vec<u8> {
    let from = source.pick(if v4 {
        &[
            "10.0.0.2",
            "10.0.0.3",
            "192.0.2.1",
            "0.0.0.0",
            "224.0.0.1",
            "10.0.0.1",
            "255.255.255.255",
            "127.0.0.1",
        ]
    } else {
        &["fe80::2", "fd77::2", "2001:db8::1", "::", "ff02::1", "fd77::1", "::ffff:10.0.0.2", "::1"]
    });
    let to = source.pick(if v4 {
        &[
            "10.0.0.1",
            "10.0.0.1",
            "224.0.0.1",
            "239.0.0.1",
            "10.0.0.255",
            "255.255.255.255",
            "10.0.0.9",
            "0.0.0.0",
        ]
    } else {
        &["fd77::1", "fe80::1", "ff02::1", "ff05::1", "fd77::1", "fd77::9", "ff02::2", "::"]
    });
    let ttl = source.pick(&[1, 64, 0, 255]);
    let extra = if source.chance(20) { source.below(512) as u16 } else { 0 };
    let mut head = if v4 {
        let len = ((20 + options.len() + carried) as u16).wrapping_add(extra);
        let [l1, l2] = len.to_be_bytes();
        vec![0x45 + (options.len() / 4) as u8, 0, l1, l2, 0, 1, 0, 0, ttl, protocol, 0, 0]
    } else {
        let [l1, l2] = (carried as u16).wrapping_add(extra).to_be_bytes();
        vec![0x60, 0, 0, 0, l1, l2, protocol, ttl]
    };
    head.extend(octets(parse(from)));
    head.extend(octets(parse(to)));
    head.extend(options);
    head
}

/// A packet, which carries a message of a protocol or anything.
fn packet(source: &mut Source<'_>, v4: bool, carries: Option<(u8, Vec<u8>)>) -> Vec<u8> {
    let (protocol, message) = carries.unwrap_or_else(|| {
        let protocol = source.pick(&[17, 6, 1, 58, 2, 4, 41, 0, 43, 44, 60, 59, 255]);
        let len = source.below(80);
        let mut message = vec![3, 232, 0, 53, 0, 8 + len as u8, 0, 0];
        message.extend(source.take(len));
        (protocol, message)
    });
    if v4 {
        let words = if source.chance(128) { source.below(11) } else { 0 };
        let mut options = source.take(words * 4).to_vec();
        options.resize(words * 4, 1);
        let mut bytes = header(source, v4, protocol, &options, message.len());
        if source.chance(20) {
            bytes[0] = source.byte();
        }
        return [bytes, message].concat();
    }
    let (mut behind, mut next) = (message, protocol);
    for _ in 0..source.below(4) {
        let kind = source.pick(&[60, 43, 0, 44]);
        let mut extension = vec![next, source.pick(&[0, 0, 0, 1, 255])];
        extension.extend(source.take(6));
        extension.resize(8, 0);
        behind = [extension, behind].concat();
        next = kind;
    }
    let head = header(source, v4, next, &[], behind.len());
    [head, behind].concat()
}

/// An ICMP message: an error that quotes a packet of the host's, cut anywhere, or anything.
fn icmp_message(source: &mut Source<'_>, v4: bool) -> Vec<u8> {
    let kinds: &[u8] = if v4 { &[3, 11, 12, 8, 0, 13, 4, 5] } else { &[1, 2, 3, 4, 128, 129, 130, 131, 143] };
    let mut message = vec![source.pick(kinds), source.below(16) as u8, 0, 0];
    message.extend(source.word().to_be_bytes());
    let (from, to) = if v4 { ("10.0.0.1", "10.0.0.2") } else { ("fd77::1", "fd77::2") };
    let protocol = source.pick(if v4 { &[17, 1, 6, 0] } else { &[17, 58, 44, 60] });
    let mut quoted = if v4 {
        vec![0x45, 0, 0, 60, 0, 0, 0, 0, 64, protocol, 0, 0]
    } else {
        vec![0x60, 0, 0, 0, 0, 40, protocol, 64]
    };
    quoted.extend(octets(parse(from)));
    quoted.extend(octets(parse(to)));
    quoted.extend([0, 53, 3, 232, 0, 20, 0, 0]);
    quoted.extend(source.take(40));
    if source.chance(40) {
        let at = source.below(quoted.len());
        quoted[at] = source.byte();
    }
    quoted.truncate(source.below(quoted.len() + 1));
    [message, quoted].concat()
}

/// A router's query, or what looks like one.
fn query(source: &mut Source<'_>, v4: bool) -> Vec<u8> {
    let group = source.pick(if v4 {
        &["0.0.0.0", "239.0.0.1", "239.0.0.2", "10.0.0.1"]
    } else {
        &["::", "ff05::1", "ff02::2", "fd77::1"]
    });
    let sources = source.below(4);
    let newest = source.chance(160);
    let width = if v4 { 4 } else { 16 };
    let mut message = if v4 {
        vec![source.pick(&[0x11, 0x11, 0x11, 0x16, 0x22]), source.byte(), 0, 0]
    } else {
        vec![source.pick(&[130, 130, 130, 131, 143]), 0, 0, 0, source.byte(), source.byte(), 0, 0]
    };
    message.extend(octets(parse(group)));
    if newest {
        let stated = if source.chance(30) { source.byte() } else { sources as u8 };
        message.extend([source.byte(), source.byte(), 0, stated]);
        for _ in 0..sources {
            let mut address = octets(parse(if v4 { "10.0.0.2" } else { "fd77::2" }));
            address[width - 1] = source.below(8) as u8;
            message.extend(address);
        }
    }
    let everybody = if v4 { "224.0.0.1" } else { "ff02::1" };
    let to = if source.chance(40) || group.starts_with(['0', ':']) { everybody } else { group };
    let from = if v4 { "10.0.0.254" } else { "fe80::fe" };
    let mut bytes = if v4 {
        let sum = sockeye_wire::Checksum::new().with(&message).finish();
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        vec![0x46, 0xc0, 0, (24 + message.len()) as u8, 0, 0, 0, 0, 1, 2, 0, 0]
    } else {
        vec![0x60, 0, 0, 0, 0, (8 + message.len()) as u8, 0, 1]
    };
    bytes.extend(octets(parse(from)));
    bytes.extend(octets(parse(to)));
    bytes.extend(if v4 { &[148, 4, 0, 0][..] } else { &[58, 0, 5, 2, 0, 0, 1, 0] });
    bytes.extend(message);
    if source.chance(20) {
        let at = source.below(bytes.len());
        bytes[at] = source.byte();
    }
    bytes
}

/// A fragment of one of a few packets.
fn fragment(source: &mut Source<'_>, v4: bool) -> Vec<u8> {
    let number = source.below(3) as u8;
    let offset = source.pick(&[0, 1, 2, 3, 4, 5, 8, 180, 8000, 8191_u16]);
    let len = source.pick(&[8, 16, 24, 32, 0, 7, 1400, 40]);
    let more = source.chance(150);
    let protocol = source.pick(if v4 { &[17, 17, 1, 6, 4] } else { &[17, 17, 58, 6, 60] });
    let mut data = vec![3, 232, 0, 53, 0, 32, 0, 0];
    data.resize(len, number);
    if v4 {
        let options = [1; 8];
        let options = if source.chance(30) { &options[..] } else { &[] };
        let mut bytes = header(source, v4, protocol, options, data.len());
        let flags = u16::from(more) << 13 | offset;
        bytes[5] = number;
        bytes[6..8].copy_from_slice(&flags.to_be_bytes());
        return [bytes, data].concat();
    }
    let [o1, o2] = (offset << 3 | u16::from(more)).to_be_bytes();
    let mut behind = vec![protocol, 0, o1, o2, 0, 0, 0, number];
    behind.extend(data);
    let mut next = 44;
    if source.chance(40) {
        behind = [&[44, 0, 1, 4, 0, 0, 0, 0][..], &behind].concat();
        next = 60;
    }
    let head = header(source, v4, next, &[], behind.len());
    [head, behind].concat()
}
