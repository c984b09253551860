//! A router between two hosts: what it passes on, and what it says about the rest.

use super::*;
use crate::{MtuDiscover, Route, SocketOption};
use alloc::vec;
use core::net::IpAddr;
use sockeye_packet::{Checksum, Meta, Payload};
use sockeye_wire::{Icmpv4, IpLayout, Ipv4Header, Ipv6Header, Protocol};

/// The router's interface to b.
const FAR: NicId = NicId(2);
const A: [&str; 2] = ["10.0.1.2", "fd77:1::2"];
const B: [&str; 2] = ["10.0.2.2", "fd77:2::2"];
const R: [[&str; 2]; 2] = [["10.0.1.1", "fd77:1::1"], ["10.0.2.1", "fd77:2::1"]];

/// a, a router, b.
struct Chain {
    a: Stack,
    router: Stack,
    b: Stack,
    now: Instant,
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

impl Chain {
    /// `far` is the router's interface to b; the hosts' are as `near` is.
    fn new(near: &NicConfig, far: &NicConfig) -> Chain {
        let config = Config { forwarding: true, ..Config::default() };
        let mut router = Stack::new(config, [9; 32]);
        for (nic, addresses) in [near, far].into_iter().zip(R) {
            let nic = router.add_nic(nic.clone()).unwrap();
            for address in addresses {
                router.add_address(nic, ip(address), prefix(address)).unwrap();
            }
        }
        let host = |number: u8, nic: &NicConfig, own: [&str; 2], gateways: [&str; 2]| {
            let mut stack = Stack::new(Config::default(), [number; 32]);
            assert_eq!(stack.add_nic(nic.clone()), Ok(LINK));
            for (address, gateway) in own.into_iter().zip(gateways) {
                stack.add_address(LINK, ip(address), prefix(address)).unwrap();
                let dest = if ip(address).is_ipv4() { ip("0.0.0.0") } else { ip("::") };
                let route = Route { dest, prefix: 0, gateway: Some(ip(gateway)), nic: LINK, metric: 0 };
                stack.add_route(route).unwrap();
            }
            stack
        };
        let (a, b) = (host(1, near, A, R[0]), host(2, near, B, R[1]));
        Chain { a, router, b, now: Instant::from_millis(1) }
    }

    /// Moves packets until none is left; `seen` sees what reaches b.
    fn cable(&mut self, mut seen: impl FnMut(&Packet)) {
        let mut batch = Batch::new();
        for _ in 0..ROUNDS {
            let mut idle = true;
            let Chain { a, router, b, now } = self;
            a.poll_transmit(*now, LINK, &mut batch);
            idle &= batch.is_empty();
            router.handle_packets(*now, LINK, &mut batch);
            b.poll_transmit(*now, LINK, &mut batch);
            idle &= batch.is_empty();
            router.handle_packets(*now, FAR, &mut batch);
            router.poll_transmit(*now, LINK, &mut batch);
            idle &= batch.is_empty();
            a.handle_packets(*now, LINK, &mut batch);
            router.poll_transmit(*now, FAR, &mut batch);
            idle &= batch.is_empty();
            batch.iter().for_each(&mut seen);
            b.handle_packets(*now, LINK, &mut batch);
            if idle {
                return;
            }
        }
        panic!("the hosts never fall silent");
    }

    /// Lets a send `data` by TCP to b, and answers what b got, with the greatest length that arrived.
    fn transfer(&mut self, family: usize, data: &[u8]) -> (Vec<u8>, usize) {
        let server = at(B[family], 80);
        let listener = stream(&mut self.b, server);
        self.b.bind(listener, server).unwrap();
        self.b.listen(self.now, listener, 5).unwrap();
        let client = stream(&mut self.a, server);
        assert_eq!(self.a.connect(self.now, client, server), Err(Error::InProgress));
        let mut longest = 0;
        let mut note = |packet: &Packet| {
            let gso = usize::from(packet.meta.gso_size);
            let payload = packet.payload.len();
            longest = longest.max(packet.head.len() + if gso > 0 { payload.min(gso) } else { payload });
        };
        self.cable(&mut note);
        let (server, from) = self.b.accept(self.now, listener).unwrap();
        assert_eq!(core::net::SocketAddr::from(from).ip(), ip(A[family]));
        let (mut sent, mut got) = (0, Vec::new());
        for _ in 0..ROUNDS {
            if sent < data.len() {
                sent += send(&mut self.a, self.now, client, &data[sent..]).unwrap_or(0);
            }
            self.cable(&mut note);
            got.extend(recv(&mut self.b, self.now, server).unwrap_or_default());
            if got.len() >= data.len() {
                break;
            }
            let stacks = [&self.a, &self.router, &self.b];
            let next = stacks.into_iter().filter_map(Stack::poll_timeout).map(|wake| wake.at).min();
            self.now = self.now.max(next.unwrap_or(self.now));
            let stacks = [&mut self.a, &mut self.router, &mut self.b];
            for stack in stacks {
                stack.handle_timeout(self.now);
            }
        }
        (got, longest)
    }

    /// Hands the router one packet from a's side.
    fn inject(&mut self, bytes: &[u8], checksum: Checksum) {
        let mut batch = Batch::new();
        batch.push(Packet::from_bytes(&Chunk::copy_from(bytes), Meta { checksum, ..Meta::default() }));
        self.router.handle_packets(self.now, LINK, &mut batch);
    }

    fn sent_by_router(&mut self, nic: NicId) -> Vec<Packet> {
        let mut batch = Batch::new();
        self.router.poll_transmit(self.now, nic, &mut batch);
        batch.drain().collect()
    }
}

fn at(address: &str, port: u16) -> SockAddr {
    core::net::SocketAddr::from((ip(address), port)).into()
}

fn prefix(address: &str) -> u8 {
    if ip(address).is_ipv4() { 24 } else { 64 }
}

fn nic(mtu: u32, checksums: bool) -> NicConfig {
    NicConfig { checksums, ..NicConfig::memory("eth0", mtu) }
}

fn udp(src: &str, dst: &str, ttl: u8) -> Vec<u8> {
    let mut bytes = vec![0; 28 + 4];
    let header = Ipv4Header {
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        protocol: Protocol::UDP,
        ttl,
        total_len: 32,
        ..Ipv4Header::default()
    };
    header.emit(&mut bytes);
    bytes[20..28].copy_from_slice(&[0, 7, 0, 9, 0, 12, 0, 0]);
    bytes
}

#[test]
fn a_router_carries_streams_of_both_families() {
    let data: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
    for checksums in [false, true] {
        for family in [0, 1] {
            let mut chain = Chain::new(&nic(1500, checksums), &nic(1500, checksums));
            let (got, longest) = chain.transfer(family, &data);
            assert!(got == data && longest == 1500, "{} bytes, up to {longest}", got.len());
            assert!(chain.router.counters()[Counter::IpForwDatagrams] > 3);
        }
    }
}

#[test]
fn path_mtu_is_found_across_a_router() {
    let data = vec![7; 100_000];
    for family in [0, 1] {
        let mut chain = Chain::new(&nic(9000, false), &nic(1400, true));
        let (got, longest) = chain.transfer(family, &data);
        assert!(got == data && longest == 1400, "{} bytes, up to {longest}", got.len());
        // At most the first window was too long, which is two super-segments.
        let told = chain.router.counters()[Counter::IpFragFails];
        assert!((1..=2).contains(&told), "{told}");
    }
}

#[test]
fn a_super_segment_is_quoted_as_its_first_segment() {
    let mut chain = Chain::new(&nic(1500, false), &nic(1400, false));
    let mut bytes = vec![0; 40 + 4000];
    let header = Ipv4Header {
        src: A[0].parse().unwrap(),
        dst: B[0].parse().unwrap(),
        protocol: Protocol::TCP,
        ttl: 64,
        total_len: 4040,
        dont_fragment: true,
        ..Ipv4Header::default()
    };
    header.emit(&mut bytes);
    bytes[32] = 0x50;
    let meta = Meta { gso_size: 1460, checksum: Checksum::Unfilled, ..Meta::default() };
    let mut batch = Batch::new();
    batch.push(Packet::from_bytes(&Chunk::from(bytes), meta));
    chain.router.handle_packets(chain.now, LINK, &mut batch);
    let error = chain.sent_by_router(LINK).pop().unwrap();
    let (message, _) = Icmpv4::parse(&error.head[20..]).unwrap();
    assert_eq!(message, Icmpv4::Unreachable { code: Icmpv4::FRAGMENTATION_NEEDED, mtu: 1400 });
    let (quoted, _) = Ipv4Header::parse(&error.payload.to_vec()).unwrap();
    assert_eq!((quoted.total_len, error.len()), (1500, 576));
}

#[test]
fn times_to_live_are_counted_down_and_end() {
    for checksum in [Checksum::Unverified, Checksum::Verified] {
        let mut chain = Chain::new(&nic(1500, false), &nic(1500, false));
        chain.inject(&udp(A[0], B[0], 5), checksum);
        let passed = chain.sent_by_router(FAR);
        assert_eq!((passed.len(), passed[0].head[8]), (1, 4));
        assert!(Ipv4Header::verify(&passed[0].head), "the header's checksum follows");
        assert_eq!(passed[0].meta.checksum, checksum, "the router vouches for nothing");
    }
    let mut chain = Chain::new(&nic(1500, false), &nic(1500, false));
    chain.inject(&udp(A[0], B[0], 1), Checksum::Unverified);
    assert!(chain.sent_by_router(FAR).is_empty());
    let errors = chain.sent_by_router(LINK);
    let layout = IpLayout::parse(&errors[0].head).unwrap();
    assert_eq!((layout.src, layout.dst), (ip(R[0][0]), ip(A[0])), "in the router's own name");
    let (message, _) = Icmpv4::parse(&errors[0].head[layout.transport..]).unwrap();
    assert_eq!(message, Icmpv4::TimeExceeded { code: 0 });
    assert_eq!(chain.router.counters()[Counter::IcmpOutTimeExcds], 1);
}

#[test]
fn senders_hear_why_a_router_gives_up() {
    for (family, nowhere) in [(0, "192.0.2.1"), (1, "2001:db8::1")] {
        let mut chain = Chain::new(&nic(1500, true), &nic(1400, true));
        let local = at(A[family], 1000);
        let id = chain.a.socket(domain(local), SocketType::Datagram, Owner::default()).unwrap();
        chain.a.bind(id, local).unwrap();
        let ask = |chain: &mut Chain, to: &str, len: usize| {
            chain.a.connect(chain.now, id, at(to, 9)).unwrap();
            let data = Payload::from(Chunk::from(vec![0; len]));
            let sent = chain.a.send_to(chain.now, id, data, None, SendFlags::default());
            chain.cable(|_| {});
            sent.err().or_else(|| chain.a.take_error(id))
        };
        assert_eq!(ask(&mut chain, nowhere, 4), None, "no route now may be one later: a soft error");
        assert_eq!(chain.router.counters()[Counter::IpOutNoRoutes], 1);
        assert_eq!(chain.a.counters()[Counter::IcmpInDestUnreachs], 1);
        assert_eq!(ask(&mut chain, B[family], 4), Some(Error::ConnectionRefused), "b's own answer");
        super::datagrams::discover(&mut chain.a, id, MtuDiscover::Do);
        assert_eq!(ask(&mut chain, B[family], 1420), Some(Error::MessageSize), "the router's");
        assert_eq!(ask(&mut chain, B[family], 1420), Some(Error::MessageSize), "the path's, as known now");
        assert_eq!(chain.router.counters()[Counter::IpFragFails], 1);
    }
}

#[test]
fn fragments_are_cut_again() {
    for checksums in [false, true] {
        let mut chain = Chain::new(&nic(1500, checksums), &nic(600, checksums));
        let id = datagram(&mut chain.a, "10.0.1.2:1000");
        chain.a.set_option(chain.now, id, SocketOption::MtuDiscover(MtuDiscover::Dont)).unwrap();
        let receiver = datagram(&mut chain.b, "10.0.2.2:9");
        let data: Vec<u8> = (0..3000_u32).map(|n| n as u8).collect();
        for len in [1000, 3000] {
            let payload = Payload::from(Chunk::copy_from(&data[..len]));
            let to = Some(addr("10.0.2.2:9"));
            chain.a.send_to(chain.now, id, payload, to, SendFlags::default()).unwrap();
            let mut lens = Vec::new();
            chain.cable(|packet| lens.push(packet.len()));
            assert!(lens.len() > len / 600 && lens.iter().all(|&len| len <= 600), "{lens:?}");
            let got = chain.b.recv_from(chain.now, receiver, RecvFlags::default()).unwrap();
            assert_eq!(got.payload.to_vec(), data[..len]);
        }
    }
}

#[test]
fn routes_that_lead_nowhere_say_so() {
    use crate::Refusal;
    let cases = [
        (Refusal::Blackhole, None, Error::InvalidArgument),
        (Refusal::Unreachable, Some([3, 1]), Error::HostUnreachable),
        (Refusal::Prohibit, Some([3, 13]), Error::PermissionDenied),
    ];
    for (what, told, error) in cases {
        let mut chain = Chain::new(&nic(1500, false), &nic(1500, false));
        chain.router.refuse_route((ip(B[0]), 32), 0, what).unwrap();
        chain.inject(&udp(A[0], B[0], 64), Checksum::Unverified);
        let back = chain.sent_by_router(LINK);
        assert!(chain.sent_by_router(FAR).is_empty());
        assert_eq!(back.first().map(|packet| [packet.head[20], packet.head[21]]), told, "{what:?}");
        let id = chain.router.socket(Domain::Inet, SocketType::Datagram, Owner::default()).unwrap();
        let sent =
            chain.router.send_to(chain.now, id, Payload::EMPTY, Some(at(B[0], 9)), SendFlags::default());
        assert_eq!(sent, Err(error));
        chain.router.allow_route((ip(B[0]), 32), 0, what).unwrap();
        chain.inject(&udp(A[0], B[0], 64), Checksum::Unverified);
        assert_eq!(chain.sent_by_router(FAR).len(), 1);
    }
}

#[test]
fn what_must_not_be_passed_on_is_dropped() {
    let mut bad_header = udp(A[0], B[0], 64);
    bad_header[10] ^= 1;
    let dropped = [
        (bad_header, Counter::IpInHdrErrors),
        (udp(R[0][0], B[0], 64), Counter::Martians),
        (udp("127.0.0.1", B[0], 64), Counter::Martians),
        (udp("169.254.1.1", B[0], 64), Counter::IpInAddrErrors),
        (udp(A[0], "169.254.1.1", 64), Counter::IpInAddrErrors),
        (udp(A[0], "240.0.0.1", 64), Counter::IpInAddrErrors),
        (udp(A[0], "239.0.0.9", 64), Counter::IpInAddrErrors),
    ];
    for (packet, counter) in dropped {
        let mut chain = Chain::new(&nic(1500, false), &nic(1500, false));
        chain.inject(&packet, Checksum::Unverified);
        assert!(chain.sent_by_router(FAR).is_empty() && chain.sent_by_router(LINK).is_empty());
        assert_eq!(chain.router.counters()[counter], 1, "{counter:?}");
    }
    let mut host = Stack::new(Config::default(), [1; 32]);
    host.add_nic(nic(1500, false)).unwrap();
    let mut batch = Batch::new();
    batch.push(Packet::from_bytes(&Chunk::from(udp(A[0], B[0], 64)), Meta::default()));
    host.handle_packets(Instant::ZERO, LINK, &mut batch);
    assert_eq!(host.counters()[Counter::IpInAddrErrors], 1, "a host is no router");
    assert_eq!(host.counters()[Counter::IpForwDatagrams], 0);
}

#[test]
fn what_would_not_end_in_65_535_bytes_is_not_cut() {
    let mut chain = Chain::new(&nic(1500, false), &nic(600, false));
    for (fragment_offset, passed) in [(64_000, 3), (65_528, 0)] {
        let mut bytes = vec![0; 1400];
        let header = Ipv4Header {
            src: A[0].parse().unwrap(),
            dst: B[0].parse().unwrap(),
            protocol: Protocol::UDP,
            ttl: 64,
            total_len: 1400,
            fragment_offset,
            ..Ipv4Header::default()
        };
        header.emit(&mut bytes);
        chain.inject(&bytes, Checksum::Unverified);
        assert_eq!(chain.sent_by_router(FAR).len(), passed, "{fragment_offset}");
    }
    assert_eq!(chain.router.counters()[Counter::IpFragFails], 1);
}

#[test]
fn the_unspecified_address_is_no_destination() {
    for (dst, passed) in [("2001:db8::1", 1), ("::", 0)] {
        let mut chain = Chain::new(&nic(1500, false), &nic(1500, false));
        let all = Route { dest: ip("::"), prefix: 0, gateway: Some(ip(B[1])), nic: FAR, metric: 0 };
        chain.router.add_route(all).unwrap();
        let mut bytes = vec![0; 40];
        let header = Ipv6Header {
            src: A[1].parse().unwrap(),
            dst: dst.parse().unwrap(),
            next_header: Protocol::NO_NEXT_HEADER,
            hop_limit: 64,
            ..Ipv6Header::default()
        };
        header.emit(&mut bytes);
        chain.inject(&bytes, Checksum::Verified);
        assert_eq!(chain.sent_by_router(FAR).len(), passed, "{dst}");
    }
}

#[test]
fn a_router_states_its_own_next_hop_or_none() {
    let mut chain = Chain::new(&nic(1500, false), &nic(1500, false));
    let mut batch = Batch::new();
    let meta = Meta { next_hop: Some(ip(R[0][0])), ..Meta::default() };
    batch.push(Packet::from_bytes(&Chunk::from(udp(A[0], B[0], 64)), meta));
    chain.router.handle_packets(chain.now, LINK, &mut batch);
    assert_eq!(chain.sent_by_router(FAR)[0].meta.next_hop, None);
}

#[test]
fn packets_state_their_router_where_there_are_several() {
    let stating = NicConfig { states_next_hop: true, ..nic(1500, false) };
    let mut chain = Chain::new(&stating, &stating);
    let id = datagram(&mut chain.a, "10.0.1.2:1000");
    for (to, hop) in [(B[0], Some(ip(R[0][0]))), ("10.0.1.77", None)] {
        let to = Some(at(to, 9));
        chain.a.send_to(chain.now, id, Payload::EMPTY, to, SendFlags::default()).unwrap();
        let mut batch = Batch::new();
        chain.a.poll_transmit(chain.now, LINK, &mut batch);
        assert_eq!(batch.pop().unwrap().meta.next_hop, hop);
    }
}
