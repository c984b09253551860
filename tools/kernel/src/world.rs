//! The loop that carries out runs, many at a time, in real time: two kernels' hosts, the packets between them, and
//! whatever Sockeye hosts stand in for the left one.
//!
//! All is in one thread. Packets of a run are known by the server's port, which is its own.

use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use sockeye_link::Link;
use sockeye_packet::{Batch, Instant, Packet};
use sockeye_wire::{IpLayout, Protocol};

use crate::kernel_end::KernelEnd;
use crate::namespace::KernelHost;
use crate::record::Record;
use crate::run::{Outcome, Run, Side, Spec, addresses};

/// The first run's port; below those that the kernel chooses for clients.
const FIRST_PORT: u16 = 2_000;
const LAST_PORT: u16 = 32_000;
/// Longest wait without looking whether to stop.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// How exactly timers are kept.
const TIMER_SLACK: u64 = 1_000;
const PRIORITY: i32 = -15;
const BUFFER_LEN: usize = 256 * 1024;

/// An event's token of the left TUN, and of the right one; what follows are ends of runs.
const TOKENS: u64 = 2;

/// The hosts and the runs under way.
#[derive(Debug)]
pub(crate) struct World {
    kernels: [KernelHost; 2],
    poller: OwnedFd,
    origin: std::time::Instant,
    /// Runs under way with their index in the list of all, by port.
    runs: Vec<Slot>,
    next_port: u16,
    out: [Batch; 2],
    buffer: Vec<u8>,
    /// Where to record the runs.
    record: Option<PathBuf>,
    /// The most that a packet left the network later than it should have.
    pub(crate) lateness: Duration,
}

#[derive(Debug)]
struct Slot {
    index: usize,
    port: u16,
    run: Run,
    due: Instant,
}

impl World {
    pub(crate) fn new(record: Option<PathBuf>) -> Result<World, Box<dyn Error>> {
        rustix::thread::set_current_timer_slack(NonZeroU64::new(TIMER_SLACK))?;
        // Whatever else the machine does, packets should leave in time.
        rustix::process::setpriority_process(None, PRIORITY)?;
        let [left, right] = Side::BOTH.map(|side| KernelHost::new(&addresses(side), false));
        let kernels = [left?, right?];
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (token, kernel) in (0..).zip(&kernels) {
            let fd = kernel.tun.as_fd().ok_or("a TUN device has a descriptor")?;
            epoll::add(&poller, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?;
        }
        Ok(World {
            kernels,
            poller,
            origin: std::time::Instant::now(),
            runs: Vec::new(),
            next_port: FIRST_PORT,
            out: [Batch::new(), Batch::new()],
            buffer: vec![0; BUFFER_LEN],
            record,
            lateness: Duration::ZERO,
        })
    }

    /// Carries out all of `specs`, at most `parallel` at a time, and answers their outcomes in the same order.
    /// `done` hears of each as it ends.
    pub(crate) fn run(
        &mut self,
        specs: Vec<Spec>,
        parallel: usize,
        mut done: impl FnMut(&Spec, &Outcome),
    ) -> Result<Vec<Outcome>, Box<dyn Error>> {
        let mut outcomes: Vec<Option<Outcome>> = specs.iter().map(|_| None).collect();
        let mut waiting: VecDeque<(usize, Spec)> = specs.into_iter().enumerate().collect();
        while !waiting.is_empty() || !self.runs.is_empty() {
            // One at a time: what is set up must not wait for the rest.
            if self.runs.len() < parallel
                && let Some((index, spec)) = waiting.pop_front()
            {
                self.start(index, spec)?;
            }
            let may_start = self.runs.len() < parallel && !waiting.is_empty();
            self.turn(if may_start { Duration::ZERO } else { LONGEST_WAIT })?;
            for (slot, outcome) in self.take_finished() {
                done(&slot.run.spec, &outcome);
                self.finish_record(slot.run, &outcome)?;
                outcomes[slot.index] = Some(outcome);
            }
        }
        Ok(outcomes.into_iter().flatten().collect())
    }

    fn now(&self) -> Instant {
        Instant::from_millis(1) + self.origin.elapsed()
    }

    fn start(&mut self, index: usize, spec: Spec) -> Result<(), Box<dyn Error>> {
        let port = self.next_port;
        self.next_port = if port == LAST_PORT { FIRST_PORT } else { port + 1 };
        let now = self.now();
        let name = spec.name.clone();
        let mut run =
            Run::start(spec, port, &self.kernels, now).map_err(|error| format!("{name}: {error}"))?;
        if let Some(folder) = &self.record {
            run.record = Some(Record::new(folder, &name, now)?);
        }
        self.runs.push(Slot { index, port, run, due: now });
        for side in Side::BOTH {
            self.watch(port, side)?;
        }
        Ok(())
    }

    /// Waits for the descriptor of a kernel's end, if it is one.
    fn watch(&mut self, port: u16, side: Side) -> io::Result<()> {
        let Some(slot) = self.runs.iter_mut().find(|slot| slot.port == port) else { return Ok(()) };
        let Some(fd) = slot.run.kernel_end(side).and_then(|end| end.as_fd()) else { return Ok(()) };
        let token = TOKENS + u64::from(port) * 2 + side as u64;
        // Told once of each change: a program goes on until it would block.
        let events =
            epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        Ok(epoll::add(&self.poller, fd, epoll::EventData::new_u64(token), events)?)
    }

    /// Waits, at most `longest`, until something is due or arrives, and does it.
    fn turn(&mut self, longest: Duration) -> Result<(), Box<dyn Error>> {
        let now = self.now();
        let due = self.runs.iter().map(|slot| slot.due).min().unwrap_or(now + longest);
        let wait = (due - now).min(longest);
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        // Unlike a wait for events, this one is not rounded to milliseconds.
        poll(&mut [PollFd::new(&self.poller, PollFlags::IN)], Some(&timeout))?;
        let now = self.now();
        if due < now && wait < longest {
            self.lateness = self.lateness.max(now - due);
        }
        let mut events = Vec::with_capacity(128);
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&self.poller, rustix::buffer::spare_capacity(&mut events), Some(&none))?;
        for event in events {
            match event.data.u64() {
                0 => self.receive(now, Side::Left)?,
                1 => self.receive(now, Side::Right)?,
                token => self.ready(now, token)?,
            }
        }
        self.advance(now)
    }

    /// Takes in what a kernel sent.
    fn receive(&mut self, now: Instant, from: Side) -> io::Result<()> {
        let mut batch = Batch::new();
        self.kernels[from as usize].tun.receive(now, &mut batch)?;
        for packet in batch.drain() {
            let Some(ports) = ports(&packet) else { continue };
            // What no run knows belongs to one that is over.
            if let Some(slot) = self.runs.iter_mut().find(|slot| ports.contains(&slot.port)) {
                slot.run.take(now, from, packet);
                slot.due = slot.due.min(slot.run.poll_timeout());
            }
        }
        Ok(())
    }

    /// A kernel's socket is ready for something.
    fn ready(&mut self, now: Instant, token: u64) -> io::Result<()> {
        let (port, side) = ((token - TOKENS) / 2, Side::BOTH[(token % 2) as usize]);
        let Some(slot) = self.runs.iter_mut().find(|slot| u64::from(slot.port) == port) else {
            return Ok(());
        };
        slot.due = now;
        let port = slot.port;
        let accepted = slot.run.kernel_end(side).map_or(Ok(false), KernelEnd::accept)?;
        if accepted { self.watch(port, side) } else { Ok(()) }
    }

    /// Lets all runs do what is due.
    fn advance(&mut self, now: Instant) -> Result<(), Box<dyn Error>> {
        for slot in self.runs.iter_mut().filter(|slot| slot.due <= now) {
            slot.run.advance(now, &mut self.out, &mut self.buffer);
            slot.due = slot.run.poll_timeout();
        }
        for (kernel, batch) in self.kernels.iter_mut().zip(&mut self.out) {
            kernel.tun.send(now, batch)?;
        }
        Ok(())
    }

    fn take_finished(&mut self) -> Vec<(Slot, Outcome)> {
        let now = self.now();
        let mut finished = Vec::new();
        let mut at = 0;
        while at < self.runs.len() {
            match self.runs[at].run.outcome(now) {
                Some(outcome) => finished.push((self.runs.swap_remove(at), outcome)),
                None => at += 1,
            }
        }
        finished
    }

    fn finish_record(&self, mut run: Run, outcome: &Outcome) -> io::Result<()> {
        let (Some(folder), Some(record)) = (&self.record, run.record.take()) else { return Ok(()) };
        let [left, right] = outcome.times;
        let error = outcome.error.as_deref().unwrap_or("good");
        let verdict = format!(
            "{error}; last bytes at {left:?} and {right:?}; silent for {:.2} timeouts",
            outcome.silence
        );
        record.finish(folder, &run.spec.name, &verdict)
    }
}

/// The ports of a TCP packet.
fn ports(packet: &Packet) -> Option<[u16; 2]> {
    let ip = IpLayout::parse(&packet.head).ok().filter(|ip| ip.protocol == Protocol::TCP)?;
    let &[a, b, c, d] = packet.head.get(ip.transport..)?.first_chunk()?;
    Some([u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])])
}
