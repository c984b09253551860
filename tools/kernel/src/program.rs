//! What the program at each end of a connection does, whichever stack it runs on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sockeye_packet::{Instant, Rng};

/// What an end does with its connection: sends and reads at the same time, as fast as it can.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How many bytes it sends; [`ENDLESS`] for as many as the peer takes.
    pub(crate) send: u64,
    /// The bytes it sends, and those it must read.
    pub(crate) data: Arc<Pattern>,
    pub(crate) expected: Arc<Pattern>,
    /// Whether it ends its direction only after the peer has ended the other.
    pub(crate) ends_last: bool,
    /// Resets the connection after so many bytes, sent and read together, of which it has read one at least.
    pub(crate) reset_after: Option<u64>,
}

/// To send until the connection is reset.
pub(crate) const ENDLESS: u64 = u64::MAX;

/// Bytes that tell their position: a random block of prime length, again and again.
#[derive(Debug)]
pub(crate) struct Pattern(Vec<u8>);

impl Pattern {
    const LEN: usize = 65_521;

    pub(crate) fn new(seed: u64) -> Arc<Pattern> {
        let mut rng = Rng::from_u64(seed);
        Arc::new(Pattern((0..Pattern::LEN).map(|_| rng.next_u32() as u8).collect()))
    }

    /// The bytes from `position` on, up to the end of the block.
    fn from(&self, position: u64) -> &[u8] {
        &self.0[(position % Pattern::LEN as u64) as usize..]
    }

    /// Whether `bytes` are those at `position`.
    fn matches(&self, mut position: u64, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let expected = self.from(position);
            let len = bytes.len().min(expected.len());
            if bytes[..len] != expected[..len] {
                return false;
            }
            (position, bytes) = (position + len as u64, &bytes[len..]);
        }
        true
    }
}

/// A connection as its program sees it. No call blocks.
pub(crate) trait Socket {
    /// Whether the connection is open (or was); an error if it could not be opened.
    fn is_open(&mut self) -> io::Result<bool>;
    /// Reads; no bytes at the end of the stream.
    fn read(&mut self, now: Instant, buffer: &mut [u8]) -> io::Result<usize>;
    fn write(&mut self, now: Instant, bytes: &[u8]) -> io::Result<usize>;
    fn shutdown_write(&mut self, now: Instant) -> io::Result<()>;
    /// Resets the connection.
    fn reset(&mut self, now: Instant);
    /// Closes it.
    fn close(&mut self, now: Instant);
    /// How it is doing, or did when that was last known.
    fn facts(&mut self) -> Facts;
}

/// How a connection is doing at one end. Windows and amounts are in segments.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    /// The retransmission timeout in force; zero before there is one.
    pub(crate) rto: Duration,
    pub(crate) srtt: Duration,
    pub(crate) cwnd: usize,
    pub(crate) ssthresh: usize,
    pub(crate) unacked: usize,
    pub(crate) sacked: usize,
    pub(crate) lost: usize,
    /// Retransmitted and not acknowledged (the kernel's end), or retransmitted in all (Sockeye's).
    pub(crate) retransmitted: usize,
}

/// How a program's connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Both directions ended in good order.
    Closed,
    /// This end reset it.
    Reset,
    /// A call failed.
    Failed(io::ErrorKind),
}

/// A [`Plan`] being carried out.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) plan: Plan,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Whether every byte was the expected one.
    pub(crate) intact: bool,
    /// When the last byte was read.
    pub(crate) last_byte_at: Instant,
    is_open: bool,
    has_shut_down: bool,
    at_end: bool,
    pub(crate) end: Option<End>,
}

impl Program {
    pub(crate) fn new(plan: Plan) -> Program {
        Program {
            plan,
            sent: 0,
            received: 0,
            intact: true,
            last_byte_at: Instant::ZERO,
            is_open: false,
            has_shut_down: false,
            at_end: false,
            end: None,
        }
    }

    /// Does all that is possible now.
    pub(crate) fn step(&mut self, now: Instant, socket: &mut impl Socket, buffer: &mut [u8]) {
        if self.end.is_some() {
            return;
        }
        match self.try_step(now, socket, buffer) {
            Ok(None) => {}
            Ok(Some(End::Reset)) => {
                socket.reset(now);
                self.end = Some(End::Reset);
            }
            Ok(Some(end)) => {
                socket.close(now);
                self.end = Some(end);
            }
            Err(error) => {
                socket.close(now);
                self.end = Some(End::Failed(error.kind()));
            }
        }
    }

    fn try_step(
        &mut self,
        now: Instant,
        socket: &mut impl Socket,
        buffer: &mut [u8],
    ) -> io::Result<Option<End>> {
        self.is_open = self.is_open || socket.is_open()?;
        if !self.is_open {
            return Ok(None);
        }
        // Turns, so that an endless writer reads too.
        loop {
            let read = self.read(now, socket, buffer)?;
            if self.is_to_reset() {
                return Ok(Some(End::Reset));
            }
            let written = self.write(now, socket)?;
            if self.is_to_reset() {
                return Ok(Some(End::Reset));
            }
            if !read && !written {
                break;
            }
        }
        let is_last = !self.plan.ends_last || self.at_end;
        if !self.has_shut_down && self.sent == self.plan.send && is_last {
            socket.shutdown_write(now)?;
            self.has_shut_down = true;
        }
        Ok((self.at_end && self.has_shut_down).then_some(End::Closed))
    }

    fn is_to_reset(&self) -> bool {
        // A peer that has not accepted yet would not hear of it.
        self.received > 0 && self.plan.reset_after.is_some_and(|limit| self.sent + self.received >= limit)
    }

    /// Reads once; says whether there may be more.
    fn read(&mut self, now: Instant, socket: &mut impl Socket, buffer: &mut [u8]) -> io::Result<bool> {
        if self.at_end {
            return Ok(false);
        }
        let Some(len) = unless_blocked(socket.read(now, buffer))? else { return Ok(false) };
        if len == 0 {
            self.at_end = true;
            return Ok(false);
        }
        self.intact &= self.plan.expected.matches(self.received, &buffer[..len]);
        self.received += len as u64;
        self.last_byte_at = now;
        Ok(true)
    }

    /// Writes once; says whether more may fit.
    fn write(&mut self, now: Instant, socket: &mut impl Socket) -> io::Result<bool> {
        let left = self.plan.send - self.sent;
        if left == 0 || self.has_shut_down {
            return Ok(false);
        }
        let block = self.plan.data.from(self.sent);
        let len = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let Some(len) = unless_blocked(socket.write(now, &block[..len]))? else { return Ok(false) };
        self.sent += len as u64;
        Ok(true)
    }
}

/// None for a call that would block.
fn unless_blocked<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
