//! Random hosts, links and programs under virtual time: whatever happens, everything comes to its end, byte
//! for byte, and nothing stays behind.
//!
//! Programs are edge-triggered: after [`Error::WouldBlock`] they try again only when an event says so, so a
//! missing event shows as a stall, as a timer that nobody sets does. A failure names its seed:
//! `SOCKEYE_SEED` is the first one tried, `SOCKEYE_SEEDS` how many, and `SOCKEYE_TRACE` prints the packets.

use super::*;
use crate::{BufferSizes, CongestionControl, Shutdown, SocketOption, SynCookies, WakeReason};
use alloc::collections::BTreeMap;
use core::ops::RangeInclusive;
use sockeye_packet::{Checksum, Meta, Rng};

/// How long all programs together may take: the longest back-off is two minutes.
const TIME_LIMIT: Duration = Duration::from_hours(3);
/// Most turns of the simulation at one instant without a program that does something.
const TURNS: u32 = 5000;

fn between(rng: &mut Rng, range: RangeInclusive<u64>) -> u64 {
    range.start() + rng.below(range.end() - range.start() + 1)
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

/// The byte at `position` of a stream.
fn byte(flow: usize, from_client: bool, position: usize) -> u8 {
    (position * 31 + position / 251 + flow * 7 + usize::from(from_client)) as u8
}

/// What the cable does to packets.
#[derive(Debug)]
struct Link {
    loss: f64,
    duplicate: f64,
    delay: u64,
    jitter: u64,
    /// Longer packets are lost, with an ICMP error from a router in between.
    mtu: usize,
    /// SYNs have their own loss, so that handshakes are tried.
    syn_loss: f64,
}

/// How a program ends its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Sends all, shuts down, reads to the end of file, closes.
    Orderly,
    /// Closes when everything is sent, whatever comes.
    Close,
    /// Resets in the middle.
    Abort,
    /// Stops reading and sending in the middle, and closes.
    Walk,
}

/// One end of a connection.
#[derive(Debug)]
struct Program {
    host: usize,
    id: Option<SocketId>,
    client: bool,
    to_send: usize,
    sent: usize,
    received: usize,
    expected: usize,
    ending: Ending,
    /// Blocked until an event says that the socket is readable, or writable.
    read_blocked: bool,
    write_blocked: bool,
    connecting: bool,
    shut: bool,
    at_end: bool,
    error: Option<Error>,
    /// It does nothing until then.
    asleep_until: Instant,
    /// The most it reads or writes at a time.
    grain: u64,
    nap: u64,
}

impl Program {
    fn is_over(&self) -> bool {
        self.id.is_none()
    }
}

struct World {
    seed: u64,
    rng: Rng,
    hosts: [Stack; 2],
    now: Instant,
    link: Link,
    /// By time of arrival and number: where to.
    flying: BTreeMap<(Instant, u64), (usize, Packet)>,
    number: u64,
    /// Client and server of each flow.
    flows: Vec<[Program; 2]>,
    listeners: Vec<(usize, SocketId)>,
    /// Whether every flow ends in good order.
    orderly: bool,
}

fn config(rng: &mut Rng, cookies: bool, memory: usize) -> Config {
    let mut config = Config { memory, ..Config::default() };
    let tcp = &mut config.tcp;
    let sizes = |rng: &mut Rng| {
        let default = pick(rng, &[1, 100, 700, 2000, 5000, 30_000, 131_072]);
        BufferSizes { min: 1, default, max: default.max(pick(rng, &[1000, 100_000, 6 << 20])) }
    };
    tcp.recv_buffer = sizes(rng);
    tcp.send_buffer = sizes(rng);
    tcp.timestamps = rng.chance(0.7);
    tcp.sack = rng.chance(0.7);
    tcp.window_scaling = rng.chance(0.7);
    tcp.congestion = pick(rng, &[CongestionControl::Cubic, CongestionControl::Reno]);
    tcp.syn_cookies = if cookies { SynCookies::OnOverflow } else { SynCookies::Never };
    tcp.max_half_open = pick(rng, &[1, 4096]);
    // Nobody may give up: then every stall is a bug.
    (tcp.syn_retries, tcp.synack_retries, tcp.retries2, tcp.orphan_retries) = (40, 40, 250, 250);
    tcp.max_orphans = usize::MAX;
    tcp.max_rto = Duration::from_secs(pick(rng, &[2, 10, 120]));
    tcp.max_time_wait = pick(rng, &[0, 1, 65_536]);
    tcp.initial_window = pick(rng, &[1, 2, 10]);
    config
}

impl World {
    fn new(seed: u64, memory: usize) -> World {
        let mut rng = Rng::from_u64(seed);
        let cookies = rng.chance(0.3);
        // When all that answers a cookie before the FIN is lost, the FIN is reset.
        let orderly = rng.chance(0.7) && !cookies;
        let v6 = rng.chance(0.4);
        let least = if v6 { 1280 } else { 68 };
        let nic_mtu = pick(&mut rng, &[least, 1280, 1500, 9000, 65_535]).max(least);
        let narrow = rng.chance(0.2);
        let link = Link {
            loss: pick(&mut rng, &[0.0, 0.0, 0.01, 0.1, 0.25]),
            duplicate: pick(&mut rng, &[0.0, 0.0, 0.1]),
            delay: pick(&mut rng, &[0, 1_000, 1_000_000, 100_000_000]),
            jitter: pick(&mut rng, &[0, 0, 1_000_000, 300_000_000]),
            mtu: if narrow { pick(&mut rng, &[600, 1300, 1400]).max(least as usize) } else { usize::MAX },
            syn_loss: pick(&mut rng, &[0.0, 0.0, 0.5]),
        };
        let mut nic = NicConfig::memory("eth0", nic_mtu);
        if narrow || rng.chance(0.5) {
            nic.max_segment = 0;
        }
        let mut host = |number: u8| {
            let mut config = config(&mut rng, cookies, memory);
            if orderly {
                // Where TIME-WAIT is cut short the last retransmissions are reset.
                config.tcp.max_time_wait = 65_536;
            }
            let mut stack = Stack::new(config, rng.next_seed());
            stack.add_nic(nic.clone()).unwrap();
            stack.add_address(LINK, [10, 0, 0, number].into(), 24).unwrap();
            stack.add_address(LINK, [0xfd77, 0, 0, 0, 0, 0, 0, u16::from(number)].into(), 64).unwrap();
            stack
        };
        let hosts = [host(1), host(2)];
        let mut world = World {
            seed,
            rng,
            hosts,
            now: Instant::from_millis(1),
            link,
            flying: BTreeMap::new(),
            number: 0,
            flows: Vec::new(),
            listeners: Vec::new(),
            orderly,
        };
        world.open(v6, cookies);
        world
    }

    fn address(host: usize, port: u16, v6: bool) -> SockAddr {
        let text = if v6 {
            alloc::format!("[fd77::{}]:{port}", host + 1)
        } else {
            alloc::format!("10.0.0.{}:{port}", host + 1)
        };
        addr(&text)
    }

    /// One listener on each host with a small backlog, and a few clients.
    fn open(&mut self, v6: bool, cookies: bool) {
        for host in 0..2 {
            let at = World::address(host, 80, v6);
            let id = stream(&mut self.hosts[host], at);
            self.options(host, id);
            self.hosts[host].bind(id, at).unwrap();
            let backlog = self.rng.below(3) as usize;
            self.hosts[host].listen(self.now, id, backlog).unwrap();
            self.listeners.push((host, id));
        }
        let most = pick(&mut self.rng, &[20, 3000, 20_000]);
        for flow in 0..between(&mut self.rng, 1..=6) as usize {
            let from = self.rng.below(2) as usize;
            let to = if self.rng.chance(0.15) { from } else { 1 - from };
            let sizes = [self.rng.below(most) as usize + usize::from(cookies), self.rng.below(most) as usize];
            let program = |rng: &mut Rng, client: bool| Program {
                host: if client { from } else { to },
                id: None,
                client,
                to_send: sizes[usize::from(!client)],
                expected: sizes[usize::from(client)],
                sent: 0,
                received: 0,
                ending: if self.orderly {
                    Ending::Orderly
                } else {
                    pick(rng, &[Ending::Orderly, Ending::Close, Ending::Abort, Ending::Walk])
                },
                read_blocked: false,
                write_blocked: false,
                connecting: client,
                shut: false,
                at_end: false,
                error: None,
                asleep_until: Instant::ZERO,
                grain: pick(rng, &[1, 100, 3000, 100_000]),
                nap: pick(rng, &[0, 0, 1_000_000, 3_000_000_000]),
            };
            let mut rng = self.rng.clone();
            let mut ends = [program(&mut rng, true), program(&mut rng, false)];
            self.rng = rng;
            let peer = World::address(to, 80, v6);
            let id = stream(&mut self.hosts[from], peer);
            self.options(from, id);
            // The flow is told apart by the client's port.
            let local = World::address(from, 1000 + flow as u16, v6);
            self.hosts[from].bind(id, local).unwrap();
            assert_eq!(self.hosts[from].connect(self.now, id, peer), Err(Error::InProgress));
            ends[0].id = Some(id);
            self.flows.push(ends);
        }
    }

    fn options(&mut self, host: usize, id: SocketId) {
        let rng = &mut self.rng;
        let options = [
            SocketOption::NoDelay(rng.chance(0.5)),
            SocketOption::KeepAlive(rng.chance(0.3)),
            SocketOption::MaxSegment(pick(rng, &[0, 0, 88, 536])),
            SocketOption::QuickAck(rng.chance(0.5)),
            SocketOption::WindowClamp(pick(rng, &[0, 0, 0, 1, 2000])),
        ];
        for option in options {
            self.hosts[host].set_option(self.now, id, option).unwrap();
        }
    }

    fn fly(&mut self, to: usize, packet: Packet) {
        self.number += 1;
        let delay = self.link.delay + self.rng.below(self.link.jitter + 1);
        self.flying.insert((self.now + Duration::from_nanos(delay), self.number), (to, packet));
    }

    /// Takes all packets that the hosts have and puts them on the link.
    fn transmit(&mut self) -> bool {
        let mut any = false;
        for from in 0..2 {
            loop {
                let mut batch = Batch::new();
                self.hosts[from].poll_transmit(self.now, LINK, &mut batch);
                if batch.is_empty() {
                    break;
                }
                any = true;
                for packet in batch.drain() {
                    self.put(from, packet);
                }
            }
        }
        any
    }

    fn put(&mut self, from: usize, packet: Packet) {
        if std::env::var("SOCKEYE_TRACE").is_ok() {
            let line = sockeye_wire::PacketLine::from_head(&packet.head, packet.payload.len());
            std::println!("{:?} {from}> {}", self.now, line.map(|l| std::format!("{l}")).unwrap_or_default());
        }
        if packet.len() > self.link.mtu {
            let error = too_big(&packet, self.link.mtu);
            return self.fly(from, error);
        }
        let v4 = packet.head[0] >> 4 == 4;
        let transport = if v4 { 20 } else { 40 };
        let syn = packet.head.get(transport + 13).is_some_and(|flags| flags & 2 != 0);
        let loss = if syn { self.link.syn_loss.max(self.link.loss) } else { self.link.loss };
        if self.rng.chance(loss) {
            return;
        }
        if self.rng.chance(self.link.duplicate) {
            self.fly(1 - from, packet.clone());
        }
        self.fly(1 - from, packet);
    }

    /// Events of all sockets.
    fn listen_to_events(&mut self) -> bool {
        let mut any = false;
        for host in 0..2 {
            while let Some(crate::Event::Ready(id)) = self.hosts[host].poll_event() {
                any = true;
                let ready = self.hosts[host].readiness(id);
                if self.listeners.contains(&(host, id)) {
                    self.accept(host, id);
                }
                for program in self.flows.iter_mut().flatten() {
                    if program.host == host && program.id == Some(id) {
                        program.read_blocked &= !ready.intersects(Readiness::READABLE | Readiness::ERROR);
                        program.write_blocked &= !ready.intersects(Readiness::WRITABLE | Readiness::ERROR);
                    }
                }
            }
        }
        any
    }

    fn accept(&mut self, host: usize, listener: SocketId) {
        while let Ok((id, peer)) = self.hosts[host].accept(self.now, listener) {
            let flow = usize::from(peer.port - 1000);
            let program = &mut self.flows[flow][1];
            // The first one to come in is the flow's; an old SYN may bring about another.
            if program.id.is_some() || program.shut || program.at_end || program.error.is_some() {
                self.hosts[host].abort(self.now, id).unwrap();
                continue;
            }
            program.id = Some(id);
        }
    }

    fn run_programs(&mut self) -> bool {
        let mut any = false;
        for flow in 0..self.flows.len() {
            for end in 0..2 {
                let program = &mut self.flows[flow][end];
                if let Some(id) = program.id
                    && program.asleep_until <= self.now
                {
                    any |= step(&mut self.rng, &mut self.hosts[program.host], self.now, flow, program, id);
                }
            }
        }
        any
    }

    fn deliver(&mut self) -> bool {
        let mut any = false;
        while let Some(entry) = self.flying.first_entry()
            && entry.key().0 <= self.now
        {
            let (to, packet) = entry.remove();
            let mut batch = Batch::new();
            batch.push(packet);
            self.hosts[to].handle_packets(self.now, LINK, &mut batch);
            any = true;
        }
        any
    }

    fn timeouts(&mut self) -> bool {
        let mut any = false;
        for host in &mut self.hosts {
            if host.poll_timeout().is_some_and(|wake| wake.at <= self.now) {
                host.handle_timeout(self.now);
                any = true;
                let again = host.poll_timeout().filter(|wake| wake.at <= self.now);
                assert!(
                    again.is_none_or(|wake| wake.reason == WakeReason::Loopback),
                    "seed {}: what is due stays due: {again:?}",
                    self.seed
                );
            }
        }
        any
    }

    /// Runs until nothing is left to happen, or `until`.
    fn run(&mut self, until: Instant, done: impl Fn(&World) -> bool) {
        let mut turns = 0;
        while !done(self) {
            let busy = self.deliver() | self.timeouts() | self.transmit() | self.listen_to_events();
            let worked = self.run_programs();
            for host in &self.hosts {
                host.check_invariants();
            }
            turns = if worked { 0 } else { turns + 1 };
            assert!(turns < TURNS, "seed {}: no end at {:?}", self.seed, self.now);
            if busy || worked {
                continue;
            }
            turns = 0;
            let timers = self.hosts.iter().filter_map(Stack::poll_timeout).map(|wake| wake.at);
            let packets = self.flying.keys().map(|key| key.0).take(1);
            let naps = self.flows.iter().flatten().filter(|program| program.id.is_some());
            let naps = naps.map(|program| program.asleep_until).filter(|at| *at > self.now);
            match timers.chain(packets).chain(naps).min() {
                Some(at) if at <= until => self.now = self.now.max(at),
                _ => return,
            }
        }
    }

    fn check(&mut self) {
        let start = self.now;
        self.run(start + TIME_LIMIT, |world| {
            world.flows.iter().all(|[client, server]| client.is_over() && server.is_over())
        });
        let World { seed, .. } = *self;
        for (flow, ends) in self.flows.iter().enumerate() {
            for program in ends {
                // A host that forgets TIME-WAIT resets who missed its last acknowledgment.
                let forgetful = self.hosts[1 - program.host].config().tcp.max_time_wait <= 1;
                let reset = forgetful && program.shut && program.error == Some(Error::ConnectionReset);
                if self.orderly && !(reset && program.received == program.expected) {
                    assert_eq!(program.error, None, "seed {seed}, flow {flow}: {program:#?} {:?}", self.link);
                    assert!(
                        program.at_end && program.received == program.expected,
                        "seed {seed}, flow {flow}: {ends:#?} {:?} {:?}",
                        program.id.map(|id| self.hosts[program.host].tcp_info(self.now, id)),
                        self.link
                    );
                }
                assert!(program.received <= program.expected);
            }
        }
        // A reset may get lost: who only waits for more then waits for ever.
        for program in self.flows.iter_mut().flatten() {
            if let Some(id) = program.id.take() {
                self.hosts[program.host].close(self.now, id).unwrap();
            }
        }
        for (host, id) in core::mem::take(&mut self.listeners) {
            self.hosts[host].close(self.now, id).unwrap();
        }
        self.run(self.now + TIME_LIMIT, |_| false);
        for host in &self.hosts {
            let left = (
                host.sockets.len(),
                host.connections.len(),
                host.io.half_open.len(),
                host.io.time_wait.len(),
            );
            assert_eq!(left, (0, 0, 0, 0), "seed {seed}: sockets, connections, half-open, TIME-WAIT");
            assert_eq!(host.memory_used(), 0, "seed {seed}");
            assert_eq!((host.poll_timeout(), host.io.orphans), (None, 0), "seed {seed}");
        }
    }
}

/// Lets a program do one thing; says whether it did.
fn step(
    rng: &mut Rng,
    host: &mut Stack,
    now: Instant,
    flow: usize,
    program: &mut Program,
    id: SocketId,
) -> bool {
    if program.connecting {
        if program.write_blocked || !host.readiness(id).intersects(Readiness::WRITABLE | Readiness::ERROR) {
            program.write_blocked = true;
            return false;
        }
        program.connecting = false;
        if let Some(error) = host.take_error(id) {
            return give_up(host, now, program, id, error);
        }
    }
    let halfway = program.sent * 2 >= program.to_send && program.received * 2 >= program.expected;
    match program.ending {
        Ending::Abort if halfway => {
            host.abort(now, id).unwrap();
            program.id = None;
            program.shut = true;
            return true;
        }
        Ending::Walk if halfway => return close(host, now, program, id),
        Ending::Close if program.sent == program.to_send => return close(host, now, program, id),
        Ending::Orderly if program.shut && program.at_end => return close(host, now, program, id),
        _ => {}
    }
    if program.nap > 0 && rng.chance(0.1) {
        program.asleep_until = now + Duration::from_nanos(1 + rng.below(program.nap));
        return true;
    }
    let mut did = false;
    if !program.write_blocked && program.sent < program.to_send {
        did = true;
        let len = (1 + rng.below(program.grain) as usize).min(program.to_send - program.sent);
        let data: Vec<u8> =
            (program.sent..program.sent + len).map(|at| byte(flow, program.client, at)).collect();
        match send(host, now, id, &data) {
            Ok(sent) => program.sent += sent,
            Err(Error::WouldBlock) => program.write_blocked = true,
            // Nothing of its own holds memory, so nothing would tell.
            Err(Error::NoBufs) => program.asleep_until = now + Duration::from_millis(100),
            Err(error) => return give_up(host, now, program, id, error),
        }
    } else if program.sent == program.to_send && !program.shut && program.ending == Ending::Orderly {
        did = true;
        program.shut = true;
        if let Err(error) = host.shutdown(now, id, Shutdown::Write) {
            return give_up(host, now, program, id, error);
        }
    }
    if !program.read_blocked && !program.at_end {
        did = true;
        let max = 1 + rng.below(program.grain) as usize;
        match host.recv(now, id, max, RecvFlags::default()) {
            Ok(payload) => {
                program.at_end = payload.is_empty();
                for byte_in in payload.to_vec() {
                    assert_eq!(byte_in, byte(flow, !program.client, program.received), "flow {flow}");
                    program.received += 1;
                }
            }
            Err(Error::WouldBlock) => program.read_blocked = true,
            Err(error) => return give_up(host, now, program, id, error),
        }
    }
    did
}

fn close(host: &mut Stack, now: Instant, program: &mut Program, id: SocketId) -> bool {
    host.close(now, id).unwrap();
    program.id = None;
    program.shut = true;
    true
}

fn give_up(host: &mut Stack, now: Instant, program: &mut Program, id: SocketId, error: Error) -> bool {
    program.error = Some(error);
    close(host, now, program, id)
}

/// What a router says of a packet that doesn't fit.
fn too_big(packet: &Packet, mtu: usize) -> Packet {
    let quoted = packet.to_vec();
    let v4 = quoted[0] >> 4 == 4;
    let mut bytes = Vec::new();
    if v4 {
        let quoted = &quoted[..quoted.len().min(60)];
        let len = (28 + quoted.len()) as u16;
        bytes.extend([0x45, 0, (len >> 8) as u8, len as u8, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 99]);
        bytes.extend(&quoted[12..16]);
        bytes.extend([3, 4, 0, 0, 0, 0, (mtu >> 8) as u8, mtu as u8]);
        bytes.extend(quoted);
    } else {
        let quoted = &quoted[..quoted.len().min(100)];
        let len = (8 + quoted.len()) as u16;
        bytes.extend([0x60, 0, 0, 0, (len >> 8) as u8, len as u8, 58, 64]);
        bytes.extend([0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x99]);
        bytes.extend(&quoted[8..24]);
        bytes.extend([2, 0, 0, 0, 0, 0, (mtu >> 8) as u8, mtu as u8]);
        bytes.extend(quoted);
    }
    Packet::from_bytes(&Chunk::from(bytes), Meta { checksum: Checksum::Unfilled, ..Meta::default() })
}

fn seeds() -> RangeInclusive<u64> {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let first = number("SOCKEYE_SEED").unwrap_or(0);
    first..=first + number("SOCKEYE_SEEDS").unwrap_or(150) - 1
}

#[test]
fn every_flow_comes_to_its_end() {
    for seed in seeds() {
        World::new(seed, 64 << 20).check();
    }
}

/// Hosts whose memory is less than what a few connections want.
#[test]
fn every_flow_comes_to_its_end_with_little_memory() {
    for seed in seeds() {
        for memory in [20_000, 8000] {
            World::new(seed, memory).check();
        }
    }
}
