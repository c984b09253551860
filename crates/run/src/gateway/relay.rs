//! The relay of a connection: bytes between a stream of the machine and one of the stack, both ways.
//!
//! Work per step is bounded. Toward the stack nothing is read while its send buffer is full, toward the machine
//! nothing is taken from the stack while the machine's is: the windows of both TCPs do the rest. An end of file
//! passes as one. A failure passes as a reset, once the bytes before it have arrived, or time is up: also while the
//! other side takes nothing.
//!
//! Until the machine was told the end of what the network's side sends, its stream is one that is reset when it is
//! closed ([`machine::carry`]), however this process ends: what breaks off must not look complete.

use super::tasks::Token;
use super::{Gateway, Task, machine};
use crate::sys;
use crate::world::World;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, Shutdown as SysShutdown, sendmsg, shutdown};
use sockeye_packet::{Chunk, Instant, Pool};
use sockeye_stack::{
    Error, Readiness, RecvFlags as StackRecvFlags, SendFlags as StackSendFlags, Shutdown, SocketId,
    SocketOption, Stack,
};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Most bytes taken from the machine at once; from the stack, twice as many.
const PIECE: usize = 64 * 1024;
/// Fewest bytes asked of the machine at once. Memory is set aside for all that is asked for, so a connection
/// that says little is asked for little.
const LEAST: usize = 4 * 1024;
/// How many pieces each direction moves in one step.
const PIECES: usize = 4;
/// Most buffers of one write.
const BUFFERS: usize = 16;
/// How long the bytes before a failure may stand still, and how long they may take in all.
const STANDSTILL: Duration = Duration::from_secs(5);
const LAST_BYTES: Duration = Duration::from_mins(1);
/// How long to wait for memory, and before the first look whether the last bytes have arrived, of which nobody
/// tells; each further look takes twice as long, up to the longest.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
const LOOK_LATER: Duration = Duration::from_millis(320);
/// A client that has vanished is noticed after this long, and so many unanswered questions at this distance.
const KEEP_IDLE: Duration = Duration::from_mins(1);
const KEEP_INTERVAL: Duration = Duration::from_secs(15);
const KEEP_COUNT: u32 = 4;

/// A connection of the machine and one of the stack.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) fd: OwnedFd,
    pub(super) id: SocketId,
    /// The machine's stream may have something to read; cleared when it had nothing.
    readable: bool,
    /// The machine's stream told of its end, a failure or urgent data: then a read that is short of what was
    /// asked for doesn't mean that nothing is left.
    reads_on: bool,
    /// How many bytes the next read asks for.
    expected: usize,
    /// The machine's stream may have room; cleared when it had none.
    writable: bool,
    /// Bytes of the machine that the stack had no room for.
    to_stack: VecDeque<Chunk>,
    /// Bytes of the stack that the machine had no room for.
    to_machine: VecDeque<Chunk>,
    /// The machine's peer sends no more, and the stack was told so.
    machine_ended: bool,
    /// The stack's peer sends no more, and the machine was told so.
    pub(super) stack_ended: bool,
    /// Writing to the machine failed: what can still be read comes first.
    machine_failed: bool,
    /// Writing to the stack failed: what can still be read comes first.
    stack_failed: bool,
    /// epoll has reported an error of the machine's stream: what it has received may still be to be read.
    machine_broken: bool,
    /// One side has failed and all it sent before is handed on; the other is reset when that has arrived.
    dying: Option<Failure>,
    /// Since one side is known to have failed: how its last bytes get on.
    pub(super) last: Option<LastBytes>,
}

/// How the bytes before a failure get on.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastBytes {
    since: Instant,
    /// How many are left, and since when it is no less.
    left: usize,
    moved: Instant,
    /// When to look again.
    look: Instant,
    pause: Duration,
}

impl LastBytes {
    fn new(now: Instant) -> LastBytes {
        LastBytes { since: now, left: usize::MAX, moved: now, look: now, pause: LOOK_AGAIN }
    }

    /// So many are left; returns when to look again, or none when time is up.
    fn look(&mut self, now: Instant, left: usize) -> Option<Instant> {
        if left < self.left {
            (self.left, self.moved) = (left, now);
        }
        let until = (self.moved + STANDSTILL).min(self.since + LAST_BYTES);
        if now >= self.look {
            self.look = now + self.pause;
            self.pause = (self.pause * 2).min(LOOK_LATER);
        }
        (now < until).then(|| self.look.min(until))
    }
}

/// Which side of a relay failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Machine,
    Stack,
}

/// What a direction came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Nothing to do until an event.
    Idle,
    /// Its share is used up.
    More,
    /// The stack has no memory left: to be tried again in a while.
    Starved,
    /// The side that it reads from has failed.
    Failed,
}

impl Gateway {
    /// Turns a task with a connected machine stream into a relay.
    pub(super) fn begin_relay(&mut self, world: &World, now: Instant, token: Token, id: SocketId) {
        self.tasks.replace(token, |task| match task {
            Task::Accepted(accepted) => Task::Relay(Relay::new(accepted.fd, id)),
            Task::Entering(entering) => Task::Relay(Relay::new(entering.fd, id)),
            other => other,
        });
        self.with(world, |stack| {
            for option in [
                SocketOption::NoDelay(true),
                SocketOption::KeepIdle(KEEP_IDLE),
                SocketOption::KeepInterval(KEEP_INTERVAL),
                SocketOption::KeepCount(KEEP_COUNT),
                SocketOption::KeepAlive(true),
            ] {
                // Without them a relay works as well.
                stack.set_option(now, id, option).ok();
            }
        });
        self.step_relay(world, now, token);
    }

    pub(super) fn step_relay(&mut self, world: &World, now: Instant, token: Token) {
        let Some(Task::Relay(relay)) = self.tasks.get(token) else { return };
        let pool = &mut self.pool;
        let outcome = world.with(self.host, |stack| relay.step(stack, pool, now));
        match outcome {
            Outcome::Wait => {}
            Outcome::More => self.tasks.enqueue(token),
            Outcome::LookAgain(at) => self.tasks.arm(token, at),
            Outcome::Ended => {
                let Some(Task::Relay(Relay { id, .. })) = self.tasks.remove(token) else { return };
                self.streams.remove(token);
                self.sockets.remove(&id);
                // Both sides have said all and were told all: what is on its way still arrives.
                self.with(world, |stack| stack.close(now, id)).ok();
            }
            Outcome::Failed => self.end(world, now, token),
        }
    }
}

/// What a step of a relay came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Wait,
    More,
    LookAgain(Instant),
    Ended,
    Failed,
}

impl Relay {
    fn new(fd: OwnedFd, id: SocketId) -> Relay {
        Relay {
            fd,
            id,
            readable: true,
            reads_on: false,
            expected: LEAST,
            writable: true,
            to_stack: VecDeque::new(),
            to_machine: VecDeque::new(),
            machine_ended: false,
            stack_ended: false,
            machine_failed: false,
            stack_failed: false,
            machine_broken: false,
            dying: None,
            last: None,
        }
    }

    /// Notes what epoll reported.
    pub(super) fn note(&mut self, flags: EventFlags) {
        let failed = flags.contains(EventFlags::ERR);
        self.reads_on |=
            flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR | EventFlags::PRI);
        self.readable |= self.reads_on || flags.contains(EventFlags::IN);
        self.writable |= flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR);
        self.machine_broken |= failed;
        // Behind an end of file nothing is read any more that would show it.
        self.machine_failed |= failed && self.machine_ended;
    }

    /// Whether the machine's stream is still to get something that the stack's has received, or its failure.
    pub(super) fn owes_the_machine(&self, stack: &Stack) -> bool {
        match self.failure(stack) {
            Some(Failure::Machine) => false,
            Some(Failure::Stack) => true,
            None => {
                let untold_end =
                    !self.stack_ended && stack.readiness(self.id).contains(Readiness::READ_CLOSED);
                !self.to_machine.is_empty() || untold_end || stack.recv_queued(self.id) > 0
            }
        }
    }

    /// Which side has failed, though perhaps not all it sent before is handed on.
    fn failure(&self, stack: &Stack) -> Option<Failure> {
        if self.dying.is_some() {
            self.dying
        } else if self.machine_failed || self.machine_broken {
            Some(Failure::Machine)
        } else if self.stack_failed || stack.readiness(self.id).contains(Readiness::ERROR) {
            Some(Failure::Stack)
        } else {
            None
        }
    }

    /// How many bytes the side that did not fail is still to get.
    fn left(&self, stack: &Stack, failure: Failure) -> usize {
        let sum = |chunks: &VecDeque<Chunk>| chunks.iter().map(sockeye_packet::Chunk::len).sum::<usize>();
        match failure {
            Failure::Machine if self.dying.is_some() => stack.send_queued(self.id),
            Failure::Machine => {
                let unread = rustix::io::ioctl_fionread(&self.fd).unwrap_or(0);
                sum(&self.to_stack) + stack.send_queued(self.id) + usize::try_from(unread).unwrap_or(0)
            }
            Failure::Stack => {
                // Of a stream that has failed meanwhile nobody gets anything.
                let untaken = sys::unread_by_peer(&self.fd).unwrap_or(0);
                let unread = if self.dying.is_some() { 0 } else { stack.recv_queued(self.id) };
                sum(&self.to_machine) + unread + untaken
            }
        }
    }

    fn step(&mut self, stack: &mut Stack, pool: &mut Pool, now: Instant) -> Outcome {
        let mut outcome = Outcome::Wait;
        if self.dying.is_none() {
            let had_failed = self.machine_failed;
            let into_stack = self.move_in(stack, pool, now);
            let into_machine = self.move_out(stack, now);
            if into_stack == Progress::Failed {
                self.dying = Some(Failure::Machine);
            } else if into_machine == Progress::Failed {
                self.dying = Some(Failure::Stack);
            } else if self.machine_ended && self.stack_ended {
                return Outcome::Ended;
            }
            let just_failed = self.machine_failed && !had_failed;
            outcome = match (into_stack, into_machine) {
                _ if just_failed => Outcome::More,
                (Progress::More, _) | (_, Progress::More) => Outcome::More,
                (Progress::Starved, _) => Outcome::LookAgain(now + LOOK_AGAIN),
                _ => Outcome::Wait,
            };
        }
        let Some(failure) = self.failure(stack) else { return outcome };
        let left = self.left(stack, failure);
        let both = self.dying == Some(Failure::Stack) && self.machine_broken;
        if self.dying.is_some() && (left == 0 || both) {
            return Outcome::Failed;
        }
        match self.last.get_or_insert_with(|| LastBytes::new(now)).look(now, left) {
            None => Outcome::Failed,
            Some(_) if outcome == Outcome::More && self.dying.is_none() => outcome,
            Some(at) => Outcome::LookAgain(at),
        }
    }

    /// From the machine to the stack.
    fn move_in(&mut self, stack: &mut Stack, pool: &mut Pool, now: Instant) -> Progress {
        for _ in 0..PIECES {
            match self.flush(stack, now) {
                Ok(()) => {}
                Err(Error::WouldBlock) => return Progress::Idle,
                Err(Error::NoBufs) => return Progress::Starved,
                Err(_) => {
                    // What the stack's side has received comes before its failure.
                    self.to_stack.clear();
                    self.stack_failed = true;
                }
            }
            if self.machine_ended && self.machine_failed {
                return Progress::Failed;
            }
            if self.machine_ended || self.stack_failed || !self.readable {
                return Progress::Idle;
            }
            let asked = stack.send_space(self.id).min(self.expected);
            if asked == 0 {
                return Progress::Idle;
            }
            match pool.fill(asked, |buffer| rustix::io::read(&self.fd, buffer)) {
                Ok(chunk) if chunk.is_empty() && self.machine_failed => return Progress::Failed,
                Ok(chunk) if chunk.is_empty() => {
                    self.machine_ended = true;
                    stack.shutdown(now, self.id, Shutdown::Write).ok();
                    return Progress::Idle;
                }
                Ok(chunk) => {
                    self.learn(asked, chunk.len());
                    self.to_stack.push_back(chunk);
                }
                Err(Errno::AGAIN) => {
                    self.readable = false;
                    return if self.machine_failed { Progress::Failed } else { Progress::Idle };
                }
                Err(Errno::INTR) => {}
                Err(_) => return Progress::Failed,
            }
        }
        Progress::More
    }

    /// Draws conclusions from how many bytes came of those that were asked for.
    fn learn(&mut self, asked: usize, came: usize) {
        if came == asked {
            self.expected = (self.expected * 2).min(PIECE);
        } else if came < LEAST {
            // What comes from now on is an event. (While much comes, to look again at once makes larger pieces.)
            self.readable = self.reads_on;
            self.expected = (self.expected / 2).max(LEAST);
        }
    }

    /// Hands the stack what was read.
    fn flush(&mut self, stack: &mut Stack, now: Instant) -> Result<(), Error> {
        while !self.to_stack.is_empty() {
            stack.send(now, self.id, &mut self.to_stack, StackSendFlags::default())?;
        }
        Ok(())
    }

    /// From the stack to the machine.
    fn move_out(&mut self, stack: &mut Stack, now: Instant) -> Progress {
        for _ in 0..PIECES {
            if !self.give() {
                return Progress::Idle;
            }
            if self.stack_ended {
                // Behind an end of file nothing is received any more that would show it.
                let failed = self.stack_failed || stack.readiness(self.id).contains(Readiness::ERROR);
                return if failed { Progress::Failed } else { Progress::Idle };
            }
            match stack.recv(now, self.id, PIECE * 2, StackRecvFlags::default()) {
                Ok(payload) if payload.is_empty() && self.stack_failed => return Progress::Failed,
                Ok(payload) if payload.is_empty() => {
                    self.stack_ended = true;
                    shutdown(&self.fd, SysShutdown::Write).ok();
                    machine::complete(&self.fd);
                    return Progress::Idle;
                }
                Ok(payload) => self.to_machine.extend(payload),
                Err(Error::WouldBlock) if !self.stack_failed => return Progress::Idle,
                Err(_) => return Progress::Failed,
            }
        }
        Progress::More
    }

    /// Writes what waits for the machine; says whether all of it went.
    fn give(&mut self) -> bool {
        while !self.to_machine.is_empty() && self.writable {
            let mut parts = [IoSlice::new(&[]); BUFFERS];
            let mut count = 0;
            for (part, chunk) in parts.iter_mut().zip(&self.to_machine) {
                *part = IoSlice::new(chunk);
                count += 1;
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match sendmsg(&self.fd, &parts[..count], &mut SendAncillaryBuffer::default(), flags) {
                Ok(written) => self.advance(written),
                Err(Errno::AGAIN) => self.writable = false,
                Err(Errno::INTR) => {}
                Err(_) => {
                    // What the machine's side has received comes before its failure.
                    self.to_machine.clear();
                    self.machine_failed = true;
                    (self.readable, self.reads_on) = (true, true);
                }
            }
        }
        self.to_machine.is_empty()
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(chunk) = self.to_machine.front_mut() {
            if written < chunk.len() {
                chunk.advance(written);
                return;
            }
            written -= chunk.len();
            self.to_machine.pop_front();
        }
    }
}
