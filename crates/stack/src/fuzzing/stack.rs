//! A stack between programs that make any call and an adversary on its link who knows all that it knows.

mod adversary;
mod programs;

use super::source::Source;
use super::{LINK, Seen, first_wrong, frames, play, show, take_in, trace};
use crate::tcp::check::View;
use crate::{Config, NicConfig, SocketId, Stack, SynCookies};
use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;
use sockeye_packet::{Batch, Checksum, Instant, Packet};
use sockeye_wire::{IpLayout, Protocol, TcpHeader, verify_checksums};

/// Most things that happen in one story.
const STEPS: usize = 500;
/// Most packets that a stack may send without anything happening in between.
const BURST: usize = 40_000;
/// Packets that the adversary remembers.
const REMEMBERED: usize = 16;

struct World {
    stack: Stack,
    now: Instant,
    mtu: u32,
    v6: bool,
    /// All sockets that programs have, and some that they had.
    sockets: Vec<SocketId>,
    /// The last packets that the stack has sent.
    sent: VecDeque<Packet>,
    seen: Seen,
}

/// Plays the story that `bytes` tell.
pub fn stack(bytes: &[u8]) -> Seen {
    let mut world = play(bytes, STEPS, World::new, World::step);
    world.finish();
    world.seen
}

fn config(source: &mut Source<'_>) -> Config {
    let mut tcp = super::connection::config(source);
    tcp.max_half_open = source.pick(&[4096, 1, 0]);
    tcp.max_time_wait = source.pick(&[65_536, 1, 0]);
    tcp.max_orphans = source.pick(&[65_536, 1, 0]);
    tcp.syn_cookies = source.pick(&[SynCookies::OnOverflow, SynCookies::Never, SynCookies::Always]);
    let memory = source.pick(&[64 << 20, 200_000, 20_000]);
    Config { tcp, memory, somaxconn: 16, max_sockets: 64, ..Config::default() }
}

impl World {
    fn new(source: &mut Source<'_>) -> World {
        let mut stack = Stack::new(config(source), [7; 32]);
        let v6 = source.chance(80);
        let mtu = source.pick(&[1500, 1280, 9000]);
        let max_segment = source.pick(&[0, NicConfig::LARGEST_SEGMENT, NicConfig::LARGEST_STATED_SEGMENT]);
        let nic = NicConfig { checksums: true, max_segment, ..NicConfig::memory("eth0", mtu) };
        stack.add_nic(nic).expect("an interface");
        stack.add_address(LINK, [10, 0, 0, 1].into(), 24).expect("an address");
        stack.add_address(LINK, [0xfd77, 0, 0, 0, 0, 0, 0, 1].into(), 64).expect("an address");
        let now = Instant::from_millis(1);
        let mut world =
            World { stack, now, mtu, v6, sockets: Vec::new(), sent: VecDeque::new(), seen: Seen::new() };
        world.start();
        world
    }

    /// One of the adversary's addresses, and the port.
    fn foreign(&self, host: u8) -> IpAddr {
        if self.v6 {
            [0xfd77, 0, 0, 0, 0, 0, 0, u16::from(host) + 2].into()
        } else {
            [10, 0, 0, host + 2].into()
        }
    }

    fn own(&self) -> IpAddr {
        if self.v6 { [0xfd77, 0, 0, 0, 0, 0, 0, 1].into() } else { [10, 0, 0, 1].into() }
    }

    fn step(&mut self, source: &mut Source<'_>) {
        match source.byte() {
            0..=139 => self.attack(source),
            140..=219 => self.program(source),
            220..=251 => self.pass(source),
            // Nothing is sent meanwhile.
            _ => return self.settle(),
        }
        self.settle();
        self.transmit();
        self.listen(source);
    }

    fn settle(&mut self) {
        self.stack.check_invariants();
    }

    fn take_in(&mut self, packet: Packet) {
        take_in(&mut self.stack, self.now, packet);
    }

    /// Takes all packets that the stack has for the link, and judges them.
    fn transmit(&mut self) {
        let mut count = 0;
        loop {
            let mut batch = Batch::new();
            self.stack.poll_transmit(self.now, LINK, &mut batch);
            if batch.is_empty() {
                break;
            }
            count += batch.len();
            assert!(count < BURST, "the stack does not stop sending");
            for packet in batch.drain() {
                self.judge(packet);
            }
        }
        assert!(!self.stack.wants_transmit(LINK), "it wants to send and doesn't");
        self.stack.check_invariants();
        for (_, tcb) in self.stack.connections.iter() {
            if tcb.nic == LINK {
                tcb.connection.check_settled();
            }
            self.seen.insert(tcb.connection.signature());
        }
        let counts = [self.stack.io.half_open.len(), self.stack.io.time_wait.len(), self.stack.sockets.len()];
        let digits = counts.iter().fold(0, |number, count| number << 3 | (*count).min(7) as u64);
        self.seen.insert(1 << 60 | digits);
    }

    /// What every packet that leaves has to be.
    fn judge(&mut self, packet: Packet) {
        trace(|| format!("{:?} > {}", self.now, show(&packet)));
        if packet.meta.checksum != Checksum::Unfilled {
            let payload = packet.payload.chunks().map(|chunk| &chunk[..]);
            assert_eq!(verify_checksums(&packet.head, payload), Ok(()), "a checksum");
        }
        let layout = IpLayout::parse(&packet.head).expect("an IP header");
        let gso = packet.meta.gso_size > 0;
        assert!(packet.states_len(), "the length {} of {} bytes", layout.total_len, packet.len());
        assert!(gso || packet.len() <= self.mtu as usize, "{} bytes on a link of {}", packet.len(), self.mtu);
        if layout.protocol == Protocol::TCP && layout.fragment.is_none() {
            let (header, _) = TcpHeader::parse(&packet.head[layout.transport..]).expect("a TCP header");
            let first = header.seq.wrapping_add(u32::from(header.flags.syn()));
            assert_eq!(first_wrong(first, &packet.payload.to_vec()), None, "data sent at {first}");
        }
        self.sent.push_front(packet);
        self.sent.truncate(REMEMBERED);
    }

    /// Who was told looks: what is told is true.
    fn listen(&mut self, source: &mut Source<'_>) {
        for count in 0.. {
            assert!(count < 10_000, "events without end");
            let Some(event) = self.stack.poll_event() else { break };
            match event {
                crate::Event::Incoming(flow) if source.chance(128) => {
                    let verdict =
                        source.pick(&[crate::Verdict::Accept, crate::Verdict::Reset, crate::Verdict::Drop]);
                    let _ = self.stack.answer(self.now, flow, verdict);
                }
                crate::Event::Opened(_, id) => self.sockets.push(id),
                _ => {}
            }
        }
        self.stack.check_invariants();
    }

    fn pass(&mut self, source: &mut Source<'_>) {
        let next = self.stack.poll_timeout().map_or(self.now, |wake| wake.at.max(self.now));
        let until = match source.byte() {
            0..=129 => next,
            130..=169 => self.now + Duration::from_millis(source.below(50) as u64),
            170..=209 => self.now + Duration::from_micros(source.below(2000) as u64),
            210..=239 => self.now + Duration::from_millis(source.below(5000) as u64),
            240..=249 => self.now + Duration::from_secs(source.below(300) as u64),
            _ => self.now + Duration::from_hours(24 * source.below(60) as u64),
        };
        self.pass_until(until);
    }

    fn pass_until(&mut self, until: Instant) {
        for _ in 0..300 {
            let Some(wake) = self.stack.poll_timeout().filter(|wake| wake.at <= until) else { break };
            self.now = self.now.max(wake.at);
            for call in 0.. {
                assert!(call < 100, "what is due stays due: {:?}", self.stack.poll_timeout());
                self.stack.handle_timeout(self.now);
                self.stack.check_invariants();
                self.transmit();
                if self.stack.poll_timeout().is_none_or(|wake| wake.at > self.now) {
                    break;
                }
            }
        }
        self.now = self.now.max(until);
    }

    /// All programs end and the link is dead: nothing may stay behind.
    fn finish(&mut self) {
        for id in core::mem::take(&mut self.sockets) {
            let _ = self.stack.close(self.now, id);
        }
        self.stack.intercept(None);
        self.transmit();
        while self.stack.poll_event().is_some() {}
        for _ in 0..20_000 {
            let Some(wake) = self.stack.poll_timeout() else { break };
            self.pass_until(self.now.max(wake.at));
        }
        assert_eq!(self.stack.poll_timeout(), None, "timers for ever");
        let Stack { sockets, connections, io } = &self.stack;
        let left =
            [sockets.len(), connections.len(), io.half_open.len(), io.time_wait.len(), io.budget.used()];
        assert_eq!(left, [0; 5], "sockets, connections, half-open ones, TIME-WAIT, memory");
    }

    /// What is to be known of a connection, with the addresses and ports of its segments towards the stack.
    fn target(&self, source: &mut Source<'_>) -> Option<(View, [IpAddr; 2], [u16; 2])> {
        let count = self.stack.connections.len();
        let (_, tcb) = self.stack.connections.iter().nth(source.below(count.max(1)))?;
        let ends = [tcb.tuple.remote, tcb.tuple.local].map(crate::address::ip_from_bytes);
        Some((tcb.connection.view(self.now), ends, [tcb.tuple.remote_port, tcb.tuple.local_port]))
    }

    fn send_tcp(
        &mut self,
        ends: [IpAddr; 2],
        ports: [u16; 2],
        segment: (TcpHeader, sockeye_packet::Payload),
        ecn: u8,
    ) {
        let (header, payload) = segment;
        let [src_port, dst_port] = ports;
        let packet = frames::tcp(ends, &TcpHeader { src_port, dst_port, ..header }, payload, ecn);
        self.take_in(packet);
    }
}
