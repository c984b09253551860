//! What programs at both ends do: send all, shut down, read to the end, close.

use crate::fuzzing::source::Source;
use crate::{
    Domain, Error, Owner, Readiness, RecvFlags, SendFlags, Shutdown, SockAddr, SocketId, SocketType, Stack,
};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;
use sockeye_packet::{Chunk, Instant};

/// How far a program is with its socket.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// A server's, before it was accepted.
    Nowhere,
    Connecting(SocketId),
    Open(SocketId),
    Over,
}

impl End {
    pub(super) fn id(&self) -> Option<SocketId> {
        match *self {
            End::Connecting(id) | End::Open(id) => Some(id),
            End::Nowhere | End::Over => None,
        }
    }
}

/// One end of a stream.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) host: usize,
    flow: usize,
    pub(super) is_client: bool,
    pub(super) end: End,
    pub(super) to_send: usize,
    pub(super) expected: usize,
    sent: usize,
    received: usize,
    /// Until an event says otherwise.
    pub(super) read_blocked: bool,
    pub(super) write_blocked: bool,
    /// Where nothing of its own holds memory, nothing tells that there is some again.
    pub(super) asleep_until: Option<Instant>,
    shut: bool,
    at_end: bool,
    /// The most that it reads or writes at a time.
    grain: usize,
}

impl Program {
    pub(super) fn new(host: usize, flow: usize, source: &mut Source<'_>) -> Program {
        Program {
            host,
            flow,
            is_client: false,
            end: End::Nowhere,
            to_send: 0,
            expected: 0,
            sent: 0,
            received: 0,
            read_blocked: false,
            write_blocked: false,
            asleep_until: None,
            shut: false,
            at_end: false,
            grain: source.pick(&[3000, 100_000, 500, 60]),
        }
    }

    /// The byte at `position` of the stream from this end, or to it.
    fn byte(&self, outward: bool, position: usize) -> u8 {
        let from_client = self.is_client == outward;
        (position * 31 + position / 251 + self.flow * 7 + usize::from(from_client)) as u8
    }

    /// Does what it can; whether that was anything.
    pub(super) fn act(&mut self, host: &mut Stack, now: Instant) -> bool {
        if self.asleep_until.is_some_and(|until| until > now) {
            return false;
        }
        self.asleep_until = None;
        let id = match self.end {
            End::Connecting(id) => {
                if self.write_blocked
                    || !host.readiness(id).intersects(Readiness::WRITABLE | Readiness::ERROR)
                {
                    self.write_blocked = true;
                    return false;
                }
                assert_eq!(host.take_error(id), None, "{self:?}");
                self.end = End::Open(id);
                return true;
            }
            End::Open(id) => id,
            End::Nowhere | End::Over => return false,
        };
        let wrote = !self.write_blocked && self.write(host, now, id);
        let read = !self.read_blocked && !self.at_end && self.read(host, now, id);
        if self.shut && self.at_end {
            assert_eq!(self.received, self.expected, "{self:?}");
            host.close(now, id).expect("a socket");
            self.end = End::Over;
            return true;
        }
        wrote || read
    }

    fn write(&mut self, host: &mut Stack, now: Instant, id: SocketId) -> bool {
        if self.sent == self.to_send {
            let first = !self.shut;
            if first {
                self.shut = true;
                assert_eq!(host.shutdown(now, id, Shutdown::Write), Ok(()), "{self:?}");
            }
            return first;
        }
        let until = self.to_send.min(self.sent + self.grain);
        let data: Vec<u8> = (self.sent..until).map(|at| self.byte(true, at)).collect();
        let mut chunks = VecDeque::from([Chunk::from(data)]);
        match host.send(now, id, &mut chunks, SendFlags::default()) {
            Ok(sent) => self.sent += sent,
            Err(Error::WouldBlock) => self.write_blocked = true,
            Err(Error::NoBufs) => self.asleep_until = Some(now + Duration::from_millis(100)),
            Err(error) => panic!("{error:?} on sending: {self:?}"),
        }
        true
    }

    fn read(&mut self, host: &mut Stack, now: Instant, id: SocketId) -> bool {
        match host.recv(now, id, self.grain, RecvFlags::default()) {
            Ok(payload) => {
                self.at_end = payload.is_empty();
                for byte in payload.to_vec() {
                    assert!(self.received < self.expected, "more than was sent: {self:?}");
                    assert_eq!(byte, self.byte(false, self.received), "{self:?}");
                    self.received += 1;
                }
            }
            Err(Error::WouldBlock) => self.read_blocked = true,
            Err(error) => panic!("{error:?} on reading: {self:?}"),
        }
        true
    }
}

pub(super) fn listener(host: &mut Stack, now: Instant, at: SockAddr, backlog: usize) -> SocketId {
    let id = stream(host, at);
    host.bind(id, at).expect("a free port");
    host.listen(now, id, backlog).expect("a free port");
    id
}

pub(super) fn client(host: &mut Stack, now: Instant, local: SockAddr, peer: SockAddr) -> SocketId {
    let id = stream(host, peer);
    host.bind(id, local).expect("a free port");
    assert_eq!(host.connect(now, id, peer), Err(Error::InProgress));
    id
}

fn stream(host: &mut Stack, like: SockAddr) -> SocketId {
    let domain = if like.is_v4() { Domain::Inet } else { Domain::Inet6 };
    host.socket(domain, SocketType::Stream, Owner::default()).expect("a socket")
}
