//! Two hosts over a link that an adversary rules: it loses, doubles, delays, reorders, damages, cuts and joins
//! packets and changes the path's MTU. It forges nothing.
//!
//! Programs wait for events as the edge-triggered do: after [`Error::WouldBlock`] they try again only when told.
//! In the end the link becomes fair: then every byte arrives in bounded time, both sides come to their end, and
//! nothing stays behind.

mod link;
mod program;

use super::source::Source;
use super::{LINK, Seen, play, show, trace};
use crate::{Config, Error, Event, NicConfig, Readiness, SockAddr, SocketId, Stack, SynCookies};
use alloc::format;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;
use link::Link;
use program::{End, Program};
use sockeye_packet::{Batch, Instant};

/// Most things that happen in one story, and most of them that let time pass: nobody may give up.
const STEPS: usize = 400;
const PASSES: usize = 120;
/// Most packets that a host may send without anything happening in between.
const BURST: usize = 20_000;
/// How long all streams may take over a fair link: the longest back-off is two minutes.
const PATIENCE: Duration = Duration::from_hours(2);
/// Bytes that a host may hold where memory is scarce.
const TINY_MEMORY: usize = 20_000;
const PORT: u16 = 80;
/// Room for everybody, and for the ghosts of old SYNs, which nobody answers.
const BACKLOG: usize = 16;

struct World {
    hosts: [Stack; 2],
    now: Instant,
    v6: bool,
    link: Link,
    listeners: [SocketId; 2],
    /// Client and server of each flow.
    flows: Vec<[Program; 2]>,
    passes: usize,
    seen: Seen,
}

/// Plays the story that `bytes` tell.
pub fn pair(bytes: &[u8]) -> Seen {
    let mut world = play(bytes, STEPS, World::new, |world, source| {
        world.step(source);
        world.settle();
    });
    world.finish();
    world.seen
}

fn config(source: &mut Source<'_>) -> Config {
    let mut tcp = super::connection::config(source);
    // Nobody may give up: then every stall is a bug.
    (tcp.syn_retries, tcp.synack_retries, tcp.retries2, tcp.orphan_retries) = (200, 60, 250, 250);
    tcp.max_orphans = usize::MAX;
    tcp.max_rto = Duration::from_secs(source.pick(&[120, 10, 2]));
    tcp.max_time_wait = source.pick(&[65_536, 1, 0]);
    // Without what answers a cookie, a server doesn't know of its client.
    tcp.syn_cookies = SynCookies::Never;
    Config { tcp, ..Config::default() }
}

impl World {
    fn new(source: &mut Source<'_>) -> World {
        let now = Instant::from_millis(1);
        let v6 = source.chance(80);
        let mtu = source.pick(&[1500, 1280, 9000, 65_535]);
        let mut nic = NicConfig::memory("eth0", mtu);
        // One draw for both: kept inputs mean what they meant.
        let draw = source.byte();
        if draw >= 156 {
            nic.max_segment = 0;
        }
        let memory = if (1..=20).contains(&draw) { TINY_MEMORY } else { Config::default().memory };
        let mut host = |number: u16| {
            let config = Config { memory, ..config(source) };
            let mut stack = Stack::new(config, [number as u8; 32]);
            stack.add_nic(nic.clone()).expect("an interface");
            stack.add_address(LINK, address(number - 1, false), 24).expect("an address");
            stack.add_address(LINK, address(number - 1, true), 64).expect("an address");
            stack
        };
        let mut hosts = [host(1), host(2)];
        let listeners = [0, 1].map(|number| {
            let at = SockAddr::new(address(number, v6), PORT);
            program::listener(&mut hosts[usize::from(number)], now, at, BACKLOG)
        });
        let flows = Vec::new();
        let tiny = hosts.iter().any(|host| {
            let tcp = &host.config().tcp;
            tcp.recv_buffer.default.min(tcp.send_buffer.default) < 1000
        });
        let mut world =
            World { hosts, now, v6, link: Link::new(source), listeners, flows, passes: 0, seen: Seen::new() };
        for flow in 0..=source.below(3) {
            world.open(source, flow, tiny);
        }
        world.settle();
        world
    }

    fn open(&mut self, source: &mut Source<'_>, flow: usize, tiny: bool) {
        let from = source.below(2);
        let to = if source.chance(20) { from } else { 1 - from };
        // Byte by byte it takes its time.
        let most = if tiny { 200 } else { source.pick(&[3000, 60_000, 200]) };
        let sizes = [source.below(most), source.below(most)];
        let (client, peer) = (address(from as u16, self.v6), address(to as u16, self.v6));
        // The flow is told apart by the client's port.
        let local = SockAddr::new(client, 1000 + flow as u16);
        let id = program::client(&mut self.hosts[from], self.now, local, SockAddr::new(peer, PORT));
        let mut ends = [from, to].map(|host| Program::new(host, flow, source));
        for side in 0..2 {
            ends[side].to_send = sizes[side];
            ends[side].expected = sizes[1 - side];
        }
        ends[0].end = End::Connecting(id);
        ends[0].is_client = true;
        self.flows.push(ends);
    }

    fn step(&mut self, source: &mut Source<'_>) {
        match source.byte() {
            0..=99 => self.meddle(source),
            100..=149 if self.passes < PASSES => {
                self.passes += 1;
                match source.byte() {
                    0..=127 => self.pass(self.now + Duration::from_millis(source.below(300) as u64), true),
                    128..=191 => self.pass(self.now + Duration::from_millis(source.below(30) as u64), false),
                    _ => {
                        let next =
                            self.hosts.iter().filter_map(Stack::poll_timeout).map(|wake| wake.at).min();
                        self.pass(next.unwrap_or(self.now).max(self.now), false);
                    }
                }
            }
            150..=179 => {
                self.storm(source);
            }
            180..=189 => self.link.change(source, self.v6),
            190..=199 => self.option(source),
            _ => {
                self.run_programs(Some(source.below(256)));
            }
        }
    }

    /// Whatever can be sent now goes on the link; programs are told what is new.
    fn settle(&mut self) {
        for from in 0..2 {
            let mut count = 0;
            loop {
                let mut batch = Batch::new();
                self.hosts[from].poll_transmit(self.now, LINK, &mut batch);
                if batch.is_empty() {
                    break;
                }
                count += batch.len();
                assert!(count < BURST, "a host does not stop sending");
                for packet in batch.drain() {
                    self.link.put(self.now, from, packet);
                }
            }
            self.hosts[from].check_invariants();
            for (_, tcb) in self.hosts[from].connections.iter() {
                if tcb.nic == LINK {
                    tcb.connection.check_settled();
                }
                self.seen.insert(tcb.connection.signature());
            }
        }
        self.listen();
    }

    fn listen(&mut self) {
        for host in 0..2 {
            while let Some(Event::Ready(id)) = self.hosts[host].poll_event() {
                let ready = self.hosts[host].readiness(id);
                if id == self.listeners[host] {
                    self.accept(host);
                }
                for program in self.flows.iter_mut().flatten() {
                    if program.host == host && program.end.id() == Some(id) {
                        program.read_blocked &= !ready.intersects(Readiness::READABLE | Readiness::ERROR);
                        program.write_blocked &= !ready.intersects(Readiness::WRITABLE | Readiness::ERROR);
                    }
                }
            }
        }
    }

    fn accept(&mut self, host: usize) {
        loop {
            match self.hosts[host].accept(self.now, self.listeners[host]) {
                Ok((id, peer)) => {
                    let server = &mut self.flows[usize::from(peer.port - 1000)][1];
                    // The first one to come in is the flow's; an old SYN may bring about another.
                    if matches!(server.end, End::Nowhere) {
                        server.end = End::Open(id);
                    } else {
                        self.hosts[host].abort(self.now, id).expect("a socket");
                    }
                }
                Err(error) => {
                    assert_eq!(error, Error::WouldBlock);
                    break;
                }
            }
        }
    }

    /// Programs that can, act; only some of them, if a mask says which. Whether any did.
    fn run_programs(&mut self, mask: Option<usize>) -> bool {
        let mut any = false;
        for (number, program) in self.flows.iter_mut().flatten().enumerate() {
            if mask.is_none_or(|mask| mask >> (number % 6) & 1 == 1) {
                any |= program.act(&mut self.hosts[program.host], self.now);
            }
        }
        any
    }

    /// Time passes until then, with what is on the link arriving, or not.
    fn pass(&mut self, until: Instant, arrives: bool) {
        for turn in 0.. {
            assert!(turn < 20_000, "no end of what happens");
            let timers = self.hosts.iter().filter_map(Stack::poll_timeout).map(|wake| wake.at);
            let packets = self.link.next().filter(|_| arrives);
            let Some(next) = timers.chain(packets).min().filter(|at| *at <= until) else { break };
            self.now = self.now.max(next);
            self.happen(arrives);
            self.settle();
        }
        self.now = self.now.max(until);
    }

    /// What is due now happens.
    fn happen(&mut self, arrives: bool) {
        while arrives && let Some(flight) = self.link.take_due(self.now) {
            self.arrive(flight);
        }
        for host in &mut self.hosts {
            for call in 0.. {
                if host.poll_timeout().is_none_or(|wake| wake.at > self.now) {
                    break;
                }
                assert!(call < 100, "what is due stays due: {:?}", host.poll_timeout());
                host.handle_timeout(self.now);
            }
        }
    }

    fn arrive(&mut self, flight: link::Flight) {
        trace(|| format!("{:?} >{} {}", self.now, flight.to, show(&flight.packet)));
        let mut batch = Batch::new();
        batch.push(flight.packet);
        self.hosts[flight.to].handle_packets(self.now, LINK, &mut batch);
    }

    /// The link is fair from now on.
    fn finish(&mut self) {
        self.link.become_fair();
        let end = self.now + PATIENCE;
        self.run_until(end, |world| {
            world.flows.iter().flatten().all(|program| matches!(program.end, End::Over))
        });
        for (flow, programs) in self.flows.iter().enumerate() {
            for program in programs {
                assert!(matches!(program.end, End::Over), "flow {flow} hangs: {:#?}", self.describe(program));
            }
        }
        for host in 0..2 {
            self.hosts[host].close(self.now, self.listeners[host]).expect("a listener");
        }
        self.run_until(self.now + PATIENCE, |_| false);
        for host in &self.hosts {
            let Stack { sockets, connections, io } = host;
            let left =
                [sockets.len(), connections.len(), io.half_open.len(), io.time_wait.len(), io.budget.used()];
            assert_eq!(left, [0; 5], "sockets, connections, half-open ones, TIME-WAIT, memory");
            assert_eq!(host.poll_timeout(), None, "a timer is left");
        }
    }

    fn run_until(&mut self, end: Instant, done: impl Fn(&World) -> bool) {
        let mut idle = 0;
        for _ in 0..1_000_000 {
            self.settle();
            let acted = self.run_programs(None);
            if done(self) {
                return;
            }
            if acted {
                continue;
            }
            let timers = self.hosts.iter().filter_map(Stack::poll_timeout).map(|wake| wake.at);
            let naps = self.flows.iter().flatten().filter_map(|program| program.asleep_until);
            let Some(next) = timers.chain(self.link.next()).chain(naps).min() else { return };
            if next > end {
                return;
            }
            idle = if next > self.now { 0 } else { idle + 1 };
            assert!(idle < 5000, "time stands still");
            self.now = self.now.max(next);
            self.happen(true);
        }
        panic!("no end");
    }

    fn describe(&self, program: &Program) -> alloc::string::String {
        let host = &self.hosts[program.host];
        let info =
            program.end.id().map(|id| (host.tcp_info(self.now, id), host.readiness(id), host.memory_used()));
        format!("{program:?} {info:?} at {:?}", self.now)
    }
}

fn address(host: u16, v6: bool) -> IpAddr {
    if v6 { [0xfd77, 0, 0, 0, 0, 0, 0, host + 1].into() } else { [10, 0, 0, host as u8 + 1].into() }
}
