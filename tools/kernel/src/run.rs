//! One connection: two ends, and the simulated network between them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sockeye_link::{Netem, NetemConfig};
use sockeye_packet::{Batch, Instant, Packet, Rng};
use sockeye_stack::Config;

use crate::kernel_end::KernelEnd;
use crate::namespace::KernelHost;
use crate::program::{End, Facts, Plan, Program, Socket};
use crate::record::Record;
use crate::silence::Silence;
use crate::sockeye_end::SockeyeEnd;

/// An end of the path. The right one is always the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

impl Side {
    pub(crate) const BOTH: [Side; 2] = [Side::Left, Side::Right];

    pub(crate) fn other(self) -> Side {
        if self == Side::Left { Side::Right } else { Side::Left }
    }
}

/// Which stack the left end has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Kernel,
    Sockeye,
}

/// What is to be run.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) name: String,
    /// Whether its goodput counts.
    pub(crate) is_transfer: bool,
    pub(crate) subject: Subject,
    pub(crate) is_v6: bool,
    /// Who connects.
    pub(crate) client: Side,
    /// What each side's program does.
    pub(crate) plans: [Plan; 2],
    /// The conditions of each direction.
    pub(crate) link: NetemConfig,
    /// Where all chance of the network and of the left end comes from.
    pub(crate) seed: u64,
    /// Longest time it may take.
    pub(crate) limit: Duration,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// What went wrong.
    pub(crate) error: Option<String>,
    /// From the start until each side's program had read its last byte.
    pub(crate) times: [Duration; 2],
    /// Longest silence on the wire, in retransmission timeouts then in force.
    pub(crate) silence: f64,
}

/// The addresses of the two sides, of both families.
pub(crate) fn addresses(side: Side) -> [IpAddr; 2] {
    let number = if side == Side::Left { 1 } else { 2 };
    [IpAddr::from([10, 99, 0, number]), IpAddr::from([0xfd99, 0, 0, 0, 0, 0, 0, u16::from(number)])]
}

/// Most rounds in which packets move at one time.
const ROUNDS: usize = 64;

#[derive(Debug)]
enum Host {
    Kernel(KernelEnd),
    Sockeye(Box<SockeyeEnd>),
}

/// A [`Spec`] being carried out.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) spec: Spec,
    hosts: [Host; 2],
    programs: [Program; 2],
    /// By the side that sends.
    netems: [Netem; 2],
    started: Instant,
    silence: Silence,
    pub(crate) record: Option<Record>,
}

impl Run {
    /// Sets both ends up. `port` is the server's and no other run's.
    pub(crate) fn start(spec: Spec, port: u16, kernels: &[KernelHost; 2], now: Instant) -> io::Result<Run> {
        let mut rng = Rng::from_u64(spec.seed);
        let netems = [(); 2].map(|()| Netem::new(spec.link, Rng::new(rng.next_seed())));
        let seed = rng.next_seed();
        let server = SocketAddr::new(addresses(spec.client.other())[usize::from(spec.is_v6)], port);
        let host = |side: Side| -> io::Result<Host> {
            let connects = side == spec.client;
            if side == Side::Right || spec.subject == Subject::Kernel {
                let kernel = &kernels[side as usize];
                let made = if connects { KernelEnd::connect } else { KernelEnd::listen };
                return Ok(Host::Kernel(made(kernel, server)?));
            }
            let made = if connects { SockeyeEnd::connect } else { SockeyeEnd::listen };
            Ok(Host::Sockeye(Box::new(made(Config::default(), seed, now, server)?)))
        };
        // Who listens is there first.
        let hosts = match spec.client {
            Side::Left => {
                let right = host(Side::Right)?;
                [host(Side::Left)?, right]
            }
            Side::Right => [host(Side::Left)?, host(Side::Right)?],
        };
        let programs = spec.plans.clone().map(Program::new);
        Ok(Run { spec, hosts, programs, netems, started: now, silence: Silence::new(now), record: None })
    }

    /// The kernel's end of a side, if it is one.
    pub(crate) fn kernel_end(&mut self, side: Side) -> Option<&mut KernelEnd> {
        match &mut self.hosts[side as usize] {
            Host::Kernel(end) => Some(end),
            Host::Sockeye(_) => None,
        }
    }

    /// A packet that the kernel of `from` sent.
    pub(crate) fn take(&mut self, now: Instant, from: Side, packet: Packet) {
        let lost = self.netems[from as usize].counters().lost;
        if let Some(record) = &mut self.record {
            record.sent(now, from, &packet);
        }
        self.netems[from as usize].enqueue(now, packet);
        let lost = self.netems[from as usize].counters().lost - lost;
        if let Some(record) = &mut self.record {
            record.lost(lost);
        }
        let facts = [self.facts(Side::Left), self.facts(Side::Right)];
        if let Some(record) = &mut self.record {
            record.facts(&facts[from as usize]);
        }
        let progress = self.programs.iter().map(|program| program.received).sum();
        self.silence.packet(now, facts[0].rto.max(facts[1].rto), progress);
    }

    fn facts(&mut self, side: Side) -> Facts {
        match &mut self.hosts[side as usize] {
            Host::Kernel(end) => end.facts(),
            Host::Sockeye(end) => end.facts(),
        }
    }

    /// Does all that is due, and puts what goes to the kernels in `out`.
    pub(crate) fn advance(&mut self, now: Instant, out: &mut [Batch; 2], buffer: &mut [u8]) {
        let mut sent = Batch::new();
        for _ in 0..ROUNDS {
            for from in Side::BOTH {
                self.deliver(now, from, out);
            }
            for side in Side::BOTH {
                let program = &mut self.programs[side as usize];
                match &mut self.hosts[side as usize] {
                    Host::Kernel(end) => program.step(now, end, buffer),
                    Host::Sockeye(end) => {
                        end.advance(now);
                        program.step(now, &mut **end, buffer);
                        end.transmit(now, &mut sent);
                    }
                }
            }
            if sent.is_empty() {
                break;
            }
            for packet in sent.drain().collect::<Vec<_>>() {
                self.take(now, Side::Left, packet);
            }
        }
    }

    /// Hands over what has crossed the network.
    fn deliver(&mut self, now: Instant, from: Side, out: &mut [Batch; 2]) {
        let to = from.other();
        while let Some((_, packet)) = self.netems[from as usize].dequeue(now) {
            if let Some(record) = &mut self.record {
                record.arrived(now, to, &packet);
            }
            match &mut self.hosts[to as usize] {
                Host::Kernel(_) => out[to as usize].push(packet),
                Host::Sockeye(end) => end.receive(packet),
            }
        }
    }

    /// When [`Run::advance`] is to be called again at the latest.
    pub(crate) fn poll_timeout(&self) -> Instant {
        let netems = self.netems.iter().filter_map(Netem::poll_timeout);
        let stacks = self.hosts.iter().filter_map(|host| match host {
            Host::Sockeye(end) => end.poll_timeout(),
            Host::Kernel(_) => None,
        });
        netems.chain(stacks).min().unwrap_or(Instant::FAR_FUTURE).min(self.started + self.spec.limit)
    }

    /// How it ended, once it has.
    pub(crate) fn outcome(&self, now: Instant) -> Option<Outcome> {
        let times = [0, 1].map(|side| self.programs[side].last_byte_at - self.started);
        let outcome = |error| Outcome { error, times, silence: self.silence.longest() };
        if self.programs.iter().all(|program| program.end.is_some()) {
            return Some(outcome(self.verdict().err()));
        }
        if now < self.started + self.spec.limit {
            return None;
        }
        let [left, right] =
            self.programs.each_ref().map(|program| (program.sent, program.received, program.end));
        let silent = self.silence.since(now).as_secs_f64();
        Some(outcome(Some(format!(
            "not over after {} s, silent for {silent:.1} s: sent, received and ended {left:?} on the left, {right:?} on the right",
            self.spec.limit.as_secs()
        ))))
    }

    /// Whether both programs saw what they had to.
    fn verdict(&self) -> Result<(), String> {
        let resets = self.spec.plans.iter().any(|plan| plan.reset_after.is_some());
        for side in Side::BOTH {
            let (own, peer) = (&self.programs[side as usize], &self.programs[side.other() as usize]);
            if !own.intact {
                return Err(format!("{side:?} read other bytes than were sent"));
            }
            if own.received > peer.sent {
                return Err(format!("{side:?} read {} bytes of {} sent", own.received, peer.sent));
            }
            let expected = match (resets, own.plan.reset_after.is_some()) {
                (false, _) => own.end == Some(End::Closed) && own.received == peer.sent,
                (true, true) => own.end == Some(End::Reset),
                (true, false) => matches!(
                    own.end,
                    Some(End::Failed(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe))
                ),
            };
            if !expected {
                return Err(format!(
                    "{side:?} ended with {:?} after {} bytes of {}",
                    own.end, own.received, peer.sent
                ));
            }
        }
        Ok(())
    }
}
