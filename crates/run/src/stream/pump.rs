//! The pump of a connected stream: bytes between the program's plug and the stack, both ways.
//!
//! Work per call is bounded, so that no connection starves the others; what is left over waits in
//! [`Core::unfinished`]. Toward the stack the pump stops reading when the send buffer is full, toward the
//! program it takes from the stack only what it could not yet hand over: TCP's windows do the rest.

use super::urgent::Urgent;
use super::{End, Stream, bury, carrying, close};
use crate::core::Core;
use crate::poller::Token;
use crate::sockets::{Record, Socket, SocketKey};
use crate::sys;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno as SysErrno;
use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown as SysShutdown, recv, sendmsg, shutdown,
};
use sockeye_packet::{Chunk, Instant, Pool};
use sockeye_stack::{
    Error, Readiness, RecvFlags as StackRecvFlags, SendFlags as StackSendFlags, Shutdown, SocketId, Stack,
};
use std::io::{IoSlice, IoSliceMut};

/// Most bytes taken from a plug or from the stack at once.
const PIECE: usize = 64 * 1024;
/// How many pieces each direction moves in one call.
const PIECES: usize = 4;
/// The longest burst whose last byte is kept as the sentinel: the kernel charges the program for the whole
/// block that it is in, and calls a plug writable while less than a quarter of its buffer is charged.
const KEEP_MAX: usize = 16 * 1024;
/// Most buffers of one write.
const BUFFERS: usize = 16;

/// What a direction of the pump came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Nothing more to do until an event.
    Idle,
    /// Its share is used up; more may be moved at once.
    More,
    /// The direction has ended.
    Ended,
}

/// An event of a connected plug.
pub(crate) fn on_plug(core: &mut Core, key: SocketKey, events: EventFlags) {
    let Some(Record { socket: Socket::Stream(stream), .. }) = core.sockets.get_mut(key) else { return };
    if events.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
        stream.readable = true;
    }
    if events.contains(EventFlags::OUT) {
        stream.writable = true;
    }
    let end = if events.contains(EventFlags::ERR) {
        End::Reset
    } else if events.contains(EventFlags::HUP) {
        End::Closed
    } else if events.contains(EventFlags::RDHUP) {
        End::WriteShut
    } else {
        End::Open
    };
    stream.program = stream.program.max(end);
    pump(core, key);
}

/// Moves what can be moved now.
pub(crate) fn pump(core: &mut Core, key: SocketKey) {
    let now = core.now;
    let Some(record) = core.sockets.get_mut(key) else { return };
    let (host, id) = (record.host, record.id);
    let Socket::Stream(stream) = &mut record.socket else { return };
    let pool = &mut core.pool;
    if stream.program == End::Reset {
        // What the program wrote before it closed has left a TCP by then, as far as the window lets it.
        core.world.with(host, |stack| stream.move_outward(stack, pool, now, id));
        core.world.turn(now);
        core.world.with(host, |stack| stack.abort(now, id)).ok();
        return close(core, key);
    }
    let (outward, inward) = core
        .world
        .with(host, |stack| (stream.move_outward(stack, pool, now, id), stream.move_inward(stack, now, id)));
    let more = outward == Progress::More || inward == Progress::More;
    if outward == Progress::Ended && stream.program >= End::Closed {
        // Shut down both ways by the program, or by the program and the peer, looks like closed.
        let perhaps_open = stream.shut_both || stream.eof_told;
        if !perhaps_open {
            return close(core, key);
        }
        stream.shut_both = true;
        return bury(core, key, None);
    }
    if let Some(error) = stream.failed
        && stream.to_program.is_empty()
    {
        return bury(core, key, Some(error));
    }
    let wake = !record.waiters.is_empty();
    if !stream.writable && !stream.hears_of_room {
        let events = carrying() | EventFlags::OUT;
        stream.hears_of_room = core.poller.rewatch(&stream.plug, Token::Plug(key), events).is_ok();
    }
    if more && !std::mem::replace(&mut stream.queued, true) {
        core.unfinished.push_back(key);
    }
    if wake {
        core.wake(key);
    }
}

impl Stream {
    /// Takes the plug off the list of unfinished ones.
    pub(crate) fn dequeue(&mut self) {
        self.queued = false;
    }

    /// From the program to the stack.
    fn move_outward(&mut self, stack: &mut Stack, pool: &mut Pool, now: Instant, id: SocketId) -> Progress {
        if self.fin_sent {
            return if self.program >= End::Closed { Progress::Ended } else { Progress::Idle };
        }
        for _ in 0..PIECES {
            if !self.flush(stack, now, id) || !self.readable {
                return Progress::Idle;
            }
            let space = stack.send_space(id);
            if space == 0 && self.failed.is_none() {
                return Progress::Idle;
            }
            let queued = rustix::io::ioctl_fionread(&self.plug).map_or(0, |n| n as usize);
            let fresh = queued.saturating_sub(usize::from(self.kept) + usize::from(self.tail));
            if fresh == 0 {
                return self.drained(stack, now, id);
            }
            let taken = if !self.kept && sys::is_at_mark(&self.plug) {
                self.take_urgent()
            } else {
                self.take(pool, fresh, space.clamp(1, PIECE)).map(|chunk| {
                    if !chunk.is_empty() {
                        self.to_stack.push_back(chunk);
                    }
                })
            };
            if taken.is_err() {
                return Progress::Idle;
            }
            if self.kept && self.flush(stack, now, id) {
                // A short burst, and all of it: what comes from now on is an event.
                return self.drained(stack, now, id);
            }
        }
        self.flush(stack, now, id);
        Progress::More
    }

    /// Hands the stack what was read; says whether it took everything.
    fn flush(&mut self, stack: &mut Stack, now: Instant, id: SocketId) -> bool {
        if self.to_stack.is_empty() {
            return self.flush_urgent(stack, now, id);
        }
        match stack.send(now, id, &mut self.to_stack, StackSendFlags::default()) {
            Ok(_) | Err(Error::WouldBlock) => self.to_stack.is_empty() && self.flush_urgent(stack, now, id),
            Err(_) => {
                // The connection failed: what the program wrote is lost, as in TCP's own send buffer.
                self.to_stack.clear();
                true
            }
        }
    }

    /// All is read: until the next event, or for ever.
    fn drained(&mut self, stack: &mut Stack, now: Instant, id: SocketId) -> Progress {
        self.readable = false;
        if self.program < End::WriteShut {
            return Progress::Idle;
        }
        self.fin_sent = true;
        if self.program < End::Closed {
            stack.shutdown(now, id, Shutdown::Write).ok();
            return Progress::Idle;
        }
        Progress::Ended
    }

    /// Reads at most `most` of the `fresh` bytes that wait, and leaves a sentinel if it can.
    fn take(&mut self, pool: &mut Pool, fresh: usize, most: usize) -> Result<Chunk, SysErrno> {
        let len = fresh.min(most);
        let plug = &self.plug;
        let kept = usize::from(self.kept);
        // Of a short burst taken whole, the last byte is only looked at. In a long one it may pin a block so
        // large that the program's end would never be writable again.
        let whole = fresh <= most;
        let short = self.burst + fresh <= KEEP_MAX || self.program >= End::WriteShut;
        let keep = whole && short && !self.tail;
        self.burst = if whole { 0 } else { self.burst + len };
        // A read ends before an urgent byte: that is the next one's.
        let mut chunk = pool.fill(len, |buffer| {
            let consumed = len - usize::from(keep);
            let mut done = 0;
            if kept + consumed > 0 {
                let mut old = [0_u8; 1];
                let mut parts = [IoSliceMut::new(&mut old[..kept]), IoSliceMut::new(&mut buffer[..consumed])];
                done = rustix::io::readv(plug, &mut parts)?.saturating_sub(kept);
            }
            if keep && done == consumed {
                done += recv(plug, &mut buffer[done..=done], RecvFlags::PEEK | RecvFlags::DONTWAIT)?.1;
            }
            Ok(done)
        })?;
        self.kept = keep && chunk.len() == len;
        if self.kept && sys::is_at_mark(&self.plug) {
            // What was looked at is urgent: it is not for this chunk.
            chunk = chunk.split_to(len - 1);
            self.kept = false;
        }
        Ok(chunk)
    }

    /// From the stack to the program.
    fn move_inward(&mut self, stack: &mut Stack, now: Instant, id: SocketId) -> Progress {
        for _ in 0..PIECES {
            if self.to_program.is_empty() && self.urgent_in.is_none() {
                if self.eof_told && self.failed.is_none() {
                    // What isn't read any more doesn't tell of a reset.
                    let broken = stack.readiness(id).contains(Readiness::ERROR);
                    self.failed = broken.then(|| stack.take_error(id)).flatten();
                }
                if self.eof_told || self.failed.is_some() {
                    return Progress::Idle;
                }
                let most = match self.receive_urgent(stack, now, id) {
                    Urgent::Taken => continue,
                    Urgent::Next => 1,
                    Urgent::No => PIECE * 2,
                };
                match stack.recv(now, id, most, StackRecvFlags::default()) {
                    Ok(payload) if payload.is_empty() => {
                        self.eof_told = true;
                        shutdown(&self.plug, SysShutdown::Write).ok();
                        return Progress::Idle;
                    }
                    Ok(payload) if most == 1 => self.urgent_in = Some(payload.into_chunk()),
                    Ok(payload) => self.to_program.extend(payload),
                    Err(Error::WouldBlock) => return Progress::Idle,
                    Err(error) => {
                        self.failed = Some(error);
                        return Progress::Idle;
                    }
                }
            }
            if !self.writable || !self.give() {
                return Progress::Idle;
            }
        }
        Progress::More
    }

    /// Writes what waits for the program; says whether all of it went.
    fn give(&mut self) -> bool {
        while !self.to_program.is_empty() {
            let mut parts = [IoSlice::new(&[]); BUFFERS];
            let mut count = 0;
            for (part, chunk) in parts.iter_mut().zip(&self.to_program) {
                *part = IoSlice::new(chunk);
                count += 1;
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match sendmsg(&self.plug, &parts[..count], &mut SendAncillaryBuffer::default(), flags) {
                Ok(written) => self.advance(written),
                Err(SysErrno::AGAIN) => {
                    self.writable = false;
                    return false;
                }
                Err(SysErrno::INTR) => {}
                // The program reads no more: what comes is received and forgotten.
                Err(_) => self.to_program.clear(),
            }
        }
        self.give_urgent()
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(chunk) = self.to_program.front_mut() {
            if written < chunk.len() {
                if written > 0 {
                    chunk.split_to(written);
                }
                return;
            }
            written -= chunk.len();
            self.to_program.pop_front();
        }
    }
}
