//! Tests: what routers are told, and when.
use super::report::{Record, RecordKind, bodies};
use super::*;
use crate::address::{ip_bytes, ip_from_bytes};
use crate::{Config, Domain, FilterMode, Membership, NicConfig, Owner, SocketType, Stack};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use core::fmt::Write;
use core::net::IpAddr;
use sockeye_packet::{Batch, Checksum, Chunk, Meta, Packet};
use sockeye_wire::{IpLayout, Protocol, fill_checksums, verify_checksums};

const LINK: NicId = NicId(1);

/// A host on one link that leaves memory, and its clock.
struct Host {
    stack: Stack,
    now: Instant,
}

impl Host {
    fn new() -> Host {
        let mut stack = Stack::new(Config::default(), [3; 32]);
        let nic = NicConfig { checksums: true, ..NicConfig::memory("eth0", 576) };
        stack.add_nic(nic).unwrap();
        for (ip, prefix) in [("10.0.0.1", 24), ("fd77::1", 64), ("fe80::1", 64)] {
            stack.add_address(LINK, ip.parse().unwrap(), prefix).unwrap();
        }
        for all in ["0.0.0.0", "::"] {
            let route =
                crate::Route { dest: all.parse().unwrap(), prefix: 0, gateway: None, nic: LINK, metric: 0 };
            stack.add_route(route).unwrap();
        }
        Host { stack, now: Instant::from_millis(5) }
    }

    fn socket(&mut self) -> SocketId {
        self.stack.socket(Domain::Inet6, SocketType::Datagram, Owner::default()).unwrap()
    }

    fn join(&mut self, id: SocketId, group: &str) {
        self.stack.join_group(self.now, id, &of(group)).unwrap();
    }

    fn leave(&mut self, id: SocketId, group: &str) {
        self.stack.leave_group(self.now, id, &of(group)).unwrap();
    }

    fn set(&mut self, id: SocketId, group: &str, mode: FilterMode, sources: &[&str]) {
        let sources: Vec<IpAddr> = sources.iter().map(|text| text.parse().unwrap()).collect();
        self.stack.set_source_filter(self.now, id, &of(group), mode, &sources).unwrap();
    }

    /// What was sent since the last call, a line a message.
    fn told(&mut self) -> Vec<String> {
        let mut batch = Batch::new();
        self.stack.poll_transmit(self.now, LINK, &mut batch);
        batch.drain().map(|packet| describe(&packet)).collect()
    }

    /// What is sent within a time, with the time since its beginning in milliseconds.
    fn later(&mut self, time: Duration) -> Vec<(u64, String)> {
        let (begin, mut told) = (self.now, Vec::new());
        while let Some(wake) = self.stack.poll_timeout().filter(|wake| wake.at <= begin + time) {
            self.now = self.now.max(wake.at);
            self.stack.handle_timeout(self.now);
            let millis = self.now.saturating_since(begin).as_millis() as u64;
            told.extend(self.told().into_iter().map(|line| (millis, line)));
        }
        self.now = begin + time;
        told
    }

    fn arrives(&mut self, packet: Packet) {
        let mut batch = Batch::new();
        batch.push(packet);
        self.stack.handle_packets(self.now, LINK, &mut batch);
    }

    /// A router's IGMP query.
    fn igmp(&mut self, to: &str, message: &[u8]) {
        self.arrives(igmp_packet("10.0.0.254", to, 1, message));
    }

    /// A router's MLD query.
    fn mld(&mut self, to: &str, message: &[u8]) {
        self.arrives(mld_packet("fe80::ff", to, 1, &[58, 0, 5, 2, 0, 0, 1, 0], message));
    }
}

fn of(group: &str) -> Membership {
    Membership::of(group.parse().unwrap())
}

fn packet(mut bytes: Vec<u8>) -> Packet {
    fill_checksums(&mut bytes, core::iter::empty());
    Packet::from_bytes(&Chunk::from(bytes), Meta { checksum: Checksum::Unverified, ..Meta::default() })
}

fn igmp_packet(from: &str, to: &str, ttl: u8, message: &[u8]) -> Packet {
    let ip = |text: &str| crate::address::v4_bytes(&ip_bytes(text.parse().unwrap())).unwrap();
    let mut message = message.to_vec();
    let sum = sockeye_wire::Checksum::new().with(&message).finish();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let len = (24 + message.len()) as u8;
    let head = [0x46, 0xc0, 0, len, 0, 0, 0, 0, ttl, 2, 0, 0];
    packet([&head[..], &ip(from), &ip(to), &[148, 4, 0, 0], &message].concat())
}

fn mld_packet(from: &str, to: &str, hops: u8, options: &[u8], message: &[u8]) -> Packet {
    let ip = |text: &str| ip_bytes(text.parse().unwrap());
    let len = (options.len() + message.len()) as u16;
    let head = [0x60, 0, 0, 0, (len >> 8) as u8, len as u8, if options.is_empty() { 58 } else { 0 }, hops];
    packet([&head[..], &ip(from), &ip(to), options, message].concat())
}

/// A report as text: `to: KIND group [sources], …`.
fn describe(packet: &Packet) -> String {
    let bytes = packet.to_vec();
    let ip = IpLayout::parse(&bytes).unwrap();
    assert_eq!(verify_checksums(&bytes, core::iter::empty()), Ok(()));
    let message = &bytes[ip.transport..];
    let v4 = ip.dst.is_ipv4();
    if v4 {
        assert_eq!((ip.protocol, bytes[8], &bytes[20..24]), (Protocol::IGMP, 1, &[148, 4, 0, 0][..]));
        assert_eq!(sockeye_wire::Checksum::new().with(message).finish(), 0);
        assert_eq!(ip.src.to_string(), "10.0.0.1");
    } else {
        assert_eq!(
            (ip.protocol, bytes[7], &bytes[40..48]),
            (Protocol::ICMPV6, 1, &[58, 0, 5, 2, 0, 0, 1, 0][..])
        );
        assert_eq!(ip.src.to_string(), "fe80::1");
    }
    let width = if v4 { 4 } else { 16 };
    let address = |bytes: &[u8]| {
        let mut ip = [0; 16];
        ip[..width].copy_from_slice(bytes);
        if v4 { ip_from_bytes(map_v4([ip[0], ip[1], ip[2], ip[3]])) } else { ip_from_bytes(ip) }
    };
    let mut text = format!("{}:", ip.dst);
    let records = match message[0] {
        0x12 | 0x16 | 0x17 => return format!("{text} {:#x} {}", message[0], address(&message[4..8])),
        131 | 132 => return format!("{text} {} {}", message[0], address(&message[8..24])),
        0x22 | 143 => u16::from_be_bytes([message[6], message[7]]),
        other => panic!("a message of type {other}"),
    };
    let mut rest = &message[8..];
    for _ in 0..records {
        let kind = ["?", "IS_IN", "IS_EX", "TO_IN", "TO_EX", "ALLOW", "BLOCK"][usize::from(rest[0])];
        let count = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        write!(text, " {kind} {}", address(&rest[4..4 + width])).unwrap();
        rest = &rest[4 + width..];
        for source in rest[..count * width].chunks(width) {
            write!(text, " {}", address(source)).unwrap();
        }
        rest = &rest[count * width..];
    }
    assert!(rest.is_empty());
    text
}

#[test]
fn joining_and_leaving_is_told_twice_each() {
    for (group, routers) in [("239.1.2.3", "224.0.0.22"), ("ff05::1234", "ff02::16")] {
        let mut host = Host::new();
        let (one, two) = (host.socket(), host.socket());
        host.join(one, group);
        let joined = format!("{routers}: TO_EX {group}");
        assert_eq!(host.told(), core::slice::from_ref(&joined));
        let later = host.later(Duration::from_secs(100));
        assert!(later.len() == 1 && later[0].0 <= 1000 && later[0].1 == joined, "{later:?}");
        // The second socket changes nothing, nor does it when the first goes.
        host.join(two, group);
        host.leave(one, group);
        assert_eq!((host.told(), host.later(Duration::from_secs(100))), (vec![], vec![]));
        host.stack.close(host.now, two).unwrap();
        let left = format!("{routers}: TO_IN {group}");
        assert_eq!(host.told(), core::slice::from_ref(&left));
        let later = host.later(Duration::from_secs(100));
        assert!(later.len() == 1 && later[0].1 == left, "{later:?}");
        assert!(host.stack.io.multicast.is_idle());
        assert_eq!(host.stack.poll_timeout(), None);
    }
}

#[test]
fn sources_are_told_as_they_change() {
    use FilterMode::{Exclude, Include};
    let mut host = Host::new();
    let (id, other) = (host.socket(), host.socket());
    let source = |text: &str| text.parse::<IpAddr>().unwrap();
    let tells = |host: &mut Host, line: &str| {
        let line = format!("224.0.0.22: {line}");
        assert_eq!(host.told(), core::slice::from_ref(&line));
        let again: Vec<String> =
            host.later(Duration::from_secs(2)).into_iter().map(|(_, line)| line).collect();
        assert_eq!(again, [line]);
    };
    let (now, group) = (host.now, of("239.0.0.7"));
    host.stack.join_source(now, id, &group, source("10.0.0.8")).unwrap();
    tells(&mut host, "ALLOW 239.0.0.7 10.0.0.8");
    host.set(id, "239.0.0.7", Include, &["10.0.0.9", "10.0.0.8"]);
    tells(&mut host, "ALLOW 239.0.0.7 10.0.0.9");
    host.set(id, "239.0.0.7", Include, &["10.0.0.9", "10.0.0.7"]);
    tells(&mut host, "ALLOW 239.0.0.7 10.0.0.7 BLOCK 239.0.0.7 10.0.0.8");
    host.join(other, "239.0.0.7");
    host.set(other, "239.0.0.7", Exclude, &["10.0.0.6", "10.0.0.7"]);
    // The first change of the mode is still being told; what is told is how it is by now.
    assert_eq!(host.told(), ["224.0.0.22: TO_EX 239.0.0.7", "224.0.0.22: TO_EX 239.0.0.7 10.0.0.6"]);
    host.later(Duration::from_secs(3));
    host.leave(id, "239.0.0.7");
    tells(&mut host, "BLOCK 239.0.0.7 10.0.0.7");
    host.leave(other, "239.0.0.7");
    tells(&mut host, "TO_IN 239.0.0.7");
}

#[test]
fn groups_that_everybody_is_in_are_told_to_nobody() {
    let mut host = Host::new();
    let id = host.socket();
    for group in ["224.0.0.1", "ff02::1", "ff01::99"] {
        host.join(id, group);
        host.leave(id, group);
    }
    let on_loopback = Membership { nic: Some(NicId::LOOPBACK), ..of("239.1.1.1") };
    host.stack.join_group(host.now, id, &on_loopback).unwrap();
    host.stack.leave_group(host.now, id, &on_loopback).unwrap();
    assert!(host.told().is_empty());
    assert!(host.stack.io.multicast.is_idle());
}

#[test]
fn queries_are_answered_within_their_time() {
    let mut host = Host::new();
    let id = host.socket();
    for group in ["239.0.0.1", "239.0.0.2", "ff05::1", "ff05::2"] {
        host.join(id, group);
    }
    host.set(id, "239.0.0.2", FilterMode::Exclude, &["10.0.0.9"]);
    host.later(Duration::from_secs(10));
    // General: 0.5 s.
    host.igmp("224.0.0.1", &[0x11, 5, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0]);
    assert!(host.told().is_empty());
    let told = host.later(Duration::from_millis(500));
    let all = "224.0.0.22: IS_EX 239.0.0.1 IS_EX 239.0.0.2 10.0.0.9";
    assert!(told.len() == 1 && told[0].1 == all, "{told:?}");
    let general = [&[130, 0, 0, 0, 1, 244, 0, 0][..], &[0; 16], &[2, 125, 0, 0]].concat();
    host.mld("ff02::1", &general);
    let told = host.later(Duration::from_millis(500));
    assert!(told.len() == 1 && told[0].1 == "ff02::16: IS_EX ff05::1 IS_EX ff05::2", "{told:?}");
    // One group, and some sources of one; others are asked for in vain.
    host.igmp("239.0.0.1", &[0x11, 5, 0, 0, 239, 0, 0, 1, 2, 125, 0, 0]);
    host.igmp("239.0.0.2", &[0x11, 5, 0, 0, 239, 0, 0, 2, 2, 125, 0, 2, 10, 0, 0, 9, 10, 0, 0, 8]);
    host.igmp("239.0.0.3", &[0x11, 5, 0, 0, 239, 0, 0, 3, 2, 125, 0, 0]);
    let mut told: Vec<String> =
        host.later(Duration::from_millis(500)).into_iter().map(|(_, line)| line).collect();
    let told = told.drain(..).map(|line| line.replace("224.0.0.22: ", "")).collect::<Vec<_>>().join(" ");
    assert_eq!(told, "IS_EX 239.0.0.1 IS_IN 239.0.0.2 10.0.0.8");
    assert_eq!(host.later(Duration::from_mins(5)), []);
}

#[test]
fn an_older_querier_is_spoken_to_in_its_version() {
    let mut host = Host::new();
    let id = host.socket();
    host.join(id, "239.0.0.1");
    host.join(id, "ff05::1");
    host.later(Duration::from_secs(10));
    host.told();
    host.igmp("224.0.0.1", &[0x11, 5, 0, 0, 0, 0, 0, 0]);
    host.mld("ff02::1", &[&[130, 0, 0, 0, 1, 244, 0, 0][..], &[0; 16]].concat());
    let mut told: Vec<String> =
        host.later(Duration::from_millis(500)).into_iter().map(|(_, line)| line).collect();
    told.sort();
    assert_eq!(told, ["239.0.0.1: 0x16 239.0.0.1", "ff05::1: 131 ff05::1"]);
    host.join(id, "239.0.0.2");
    assert_eq!(host.told(), ["239.0.0.2: 0x16 239.0.0.2"]);
    host.later(Duration::from_secs(2));
    host.leave(id, "239.0.0.1");
    host.leave(id, "ff05::1");
    assert_eq!(host.told(), ["224.0.0.2: 0x17 239.0.0.1", "ff02::2: 132 ff05::1"]);
    host.later(Duration::from_secs(2));
    // Version 1 knows no leaving.
    host.igmp("224.0.0.1", &[0x11, 0, 0, 0, 0, 0, 0, 0]);
    let told = host.later(Duration::from_secs(10));
    assert!(told.len() == 1 && told[0].1 == "239.0.0.2: 0x12 239.0.0.2", "{told:?}");
    host.leave(id, "239.0.0.2");
    assert!(host.told().is_empty());
    // The old querier is forgotten in time.
    host.later(Duration::from_mins(5));
    host.join(id, "239.0.0.3");
    assert_eq!(host.told(), ["224.0.0.22: TO_EX 239.0.0.3"]);
}

/// RFC 3376 §4, RFC 3810 §5.1.14 and §6.2: only a router of the link is answered.
#[test]
fn queries_from_elsewhere_are_ignored() {
    let mut host = Host::new();
    let id = host.socket();
    host.join(id, "239.0.0.1");
    host.join(id, "ff05::1");
    host.later(Duration::from_secs(10));
    let igmp = [0x11, 5, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0];
    host.arrives(igmp_packet("10.0.0.254", "224.0.0.1", 2, &igmp));
    host.arrives(igmp_packet("10.0.0.254", "10.0.0.1", 1, &igmp));
    host.arrives(igmp_packet("224.0.0.9", "224.0.0.1", 1, &igmp));
    let mut wrong = igmp_packet("10.0.0.254", "224.0.0.1", 1, &igmp).to_vec();
    wrong[24 + 2] ^= 1;
    host.arrives(packet(wrong));
    let mld = [&[130, 0, 0, 0, 1, 244, 0, 0][..], &[0; 16], &[2, 125, 0, 0]].concat();
    let alert = [58, 0, 5, 2, 0, 0, 1, 0];
    host.arrives(mld_packet("fd77::9", "ff02::1", 1, &alert, &mld));
    host.arrives(mld_packet("fe80::9", "ff02::1", 64, &alert, &mld));
    host.arrives(mld_packet("fe80::9", "ff02::1", 1, &[], &mld));
    host.arrives(mld_packet("fe80::9", "fe80::1", 1, &alert, &mld));
    assert_eq!(host.later(Duration::from_mins(5)), []);
}

#[test]
fn what_is_asked_is_bounded() {
    let mut host = Host::new();
    let id = host.socket();
    host.join(id, "239.0.0.1");
    host.later(Duration::from_secs(10));
    for round in 0..200_u8 {
        let sources = [0x11, 100, 0, 0, 239, 0, 0, 1, 2, 125, 0, 2, 10, 1, round, 1, 10, 1, round, 2];
        host.igmp("239.0.0.1", &sources);
    }
    let link = LinkKey { nic: LINK, v4: true };
    let key = GroupKey { nic: LINK, group: map_v4([239, 0, 0, 1]) };
    assert_eq!(host.stack.io.multicast.table[&key].asked, Some(Asked::Whole));
    assert!(host.stack.io.multicast.links.contains_key(&link));
    let told = host.later(Duration::from_mins(5));
    assert!(told.len() == 1 && told[0].1 == "224.0.0.22: IS_EX 239.0.0.1", "{told:?}");
}

#[test]
fn long_records_are_cut_to_the_mtu() {
    let source = |number: u32| map_v4(number.to_be_bytes());
    let group = map_v4([239, 1, 1, 1]);
    let record = |kind, count: u32| Record { kind, group, sources: (1..=count).map(source).collect() };
    let sizes = |records: &[Record]| {
        bodies(records, 100).iter().map(|(count, body)| (*count, body.len())).collect::<Vec<_>>()
    };
    assert_eq!(sizes(&[record(RecordKind::ToExclude, 0)]), [(1, 8)]);
    // 23 sources fit in 100 bytes.
    assert_eq!(sizes(&[record(RecordKind::Allow, 50)]), [(1, 100), (1, 100), (1, 24)]);
    assert_eq!(sizes(&[record(RecordKind::ToExclude, 50)]), [(1, 100)]);
    assert_eq!(
        sizes(&[record(RecordKind::Allow, 10), record(RecordKind::Block, 10), record(RecordKind::Block, 1)]),
        [(2, 96), (1, 12)]
    );
}
