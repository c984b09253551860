//! The relay of a connection: bytes between a stream of the machine and one of the stack, both ways.
//!
//! Work per step is bounded. Toward the stack nothing is read while its send buffer is full, toward the machine
//! nothing is taken from the stack while the machine's is: the windows of both TCPs do the rest. An end of file
//! passes as one. A failure passes as a reset, once the bytes before it have arrived, or time is up.

use super::tasks::Token;
use super::{Gateway, Task};
use crate::sys;
use crate::world::World;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, Shutdown as SysShutdown, sendmsg, shutdown};
use sockeye_packet::{Chunk, Instant, Pool};
use sockeye_stack::{
    Error, Readiness, RecvFlags as StackRecvFlags, SendFlags as StackSendFlags, Shutdown, SocketId, Stack,
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
/// How long the bytes before a failure may take.
const LAST_BYTES: Duration = Duration::from_secs(5);
/// How often it is looked whether they have arrived, and whether there is memory again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

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
    stack_ended: bool,
    /// Writing to the machine failed: what can still be read comes first.
    machine_failed: bool,
    /// Writing to the stack failed: what can still be read comes first.
    stack_failed: bool,
    /// One side has failed, and the other is reset when its last bytes have arrived, at the latest then.
    dying: Option<(Failure, Instant)>,
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
        self.step_relay(world, now, token);
    }

    pub(super) fn step_relay(&mut self, world: &World, now: Instant, token: Token) {
        let Some(Task::Relay(relay)) = self.tasks.get(token) else { return };
        let pool = &mut self.pool;
        let outcome = world.with(self.host, |stack| relay.step(stack, pool, now));
        match outcome {
            Outcome::Wait => {}
            Outcome::More => self.tasks.enqueue(token),
            Outcome::LookAgain => self.tasks.arm(token, now + LOOK_AGAIN),
            Outcome::Ended => {
                let Some(Task::Relay(Relay { id, .. })) = self.tasks.remove(token) else { return };
                self.streams -= 1;
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
    LookAgain,
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
            dying: None,
        }
    }

    /// Notes what epoll reported.
    pub(super) fn note(&mut self, flags: EventFlags) {
        let failed = flags.contains(EventFlags::ERR);
        self.reads_on |=
            flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR | EventFlags::PRI);
        self.readable |= self.reads_on || flags.contains(EventFlags::IN);
        self.writable |= flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR);
        // Behind an end of file nothing is read any more that would show it.
        self.machine_failed |= failed && self.machine_ended;
    }

    /// Whether the machine's stream is still to get something that the stack's has received.
    pub(super) fn owes_the_machine(&self, stack: &Stack) -> bool {
        let unread = stack.recv_queued(self.id) > 0;
        let untold_end = !self.stack_ended && stack.readiness(self.id).contains(Readiness::READ_CLOSED);
        !self.to_machine.is_empty() || (unread || untold_end) && self.dying.is_none()
    }

    fn step(&mut self, stack: &mut Stack, pool: &mut Pool, now: Instant) -> Outcome {
        if let Some((failure, until)) = self.dying {
            let arrived = match failure {
                Failure::Machine => stack.send_queued(self.id) == 0,
                Failure::Stack => sys::unread_by_peer(&self.fd).is_ok_and(|left| left == 0),
            };
            return if arrived || now >= until { Outcome::Failed } else { Outcome::LookAgain };
        }
        let had_failed = self.machine_failed;
        let into_stack = self.move_in(stack, pool, now);
        let into_machine = self.move_out(stack, now);
        let failure = if into_stack == Progress::Failed {
            Some(Failure::Machine)
        } else if into_machine == Progress::Failed {
            Some(Failure::Stack)
        } else {
            None
        };
        if let Some(failure) = failure {
            self.dying = Some((failure, now + LAST_BYTES));
            return self.step(stack, pool, now);
        }
        if self.machine_ended && self.stack_ended {
            return Outcome::Ended;
        }
        let just_failed = self.machine_failed && !had_failed;
        match (into_stack, into_machine) {
            _ if just_failed => Outcome::More,
            (Progress::More, _) | (_, Progress::More) => Outcome::More,
            (Progress::Starved, _) => Outcome::LookAgain,
            _ => Outcome::Wait,
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
