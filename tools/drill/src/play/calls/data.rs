//! Sending and receiving.

use super::args::Args;
use super::descriptors::{Object, SocketOf};
use super::message::Expected;
use super::{Answer, Begun, Work};
use crate::play::Player;
use crate::play::trace::Wrong;
use crate::script::Expr;
use core::cell::Cell;
use sockeye_packet::{Chunk, Instant};
use sockeye_posix::options::Direction;
use sockeye_posix::{Errno, flags};
use sockeye_stack::{
    Error, OptionName, Readiness, RecvFlags, SendFlags, SockAddr, SocketId, SocketOption, SocketType,
    TcpState,
};
use std::collections::VecDeque;
use std::rc::Rc;

/// Bytes that are written in one go by calls that move data without a buffer of the program's.
const PORTION: usize = 64 * 1024;

/// write and its kin.
#[derive(Debug)]
pub(super) struct Send {
    id: SocketId,
    is_stream: bool,
    to: Option<SockAddr>,
    chunks: VecDeque<Chunk>,
    /// The buffer is a null pointer.
    null: bool,
    sent: usize,
    /// It was tried before.
    blocked: bool,
    flags: SendFlags,
    nonblocking: bool,
    pub(super) deadline: Option<Instant>,
}

/// read and its kin.
#[derive(Debug)]
pub(super) struct Recv {
    pub(super) socket: SocketOf,
    max: usize,
    null: bool,
    /// It returns once it has as much.
    enough: usize,
    got: usize,
    flags: RecvFlags,
    nonblocking: bool,
    pub(super) deadline: Option<Instant>,
    /// What the script expects around the data.
    pub(super) expected: Option<Expected>,
}

/// splice from or to a pipe.
#[derive(Debug)]
pub(super) struct Splice {
    from: End,
    to: End,
    len: usize,
    nonblocking: bool,
}

#[derive(Clone, Debug)]
enum End {
    Socket(SocketId),
    Pipe(Rc<Cell<usize>>),
    File,
}

/// Sending.
impl Player {
    pub(super) fn send(&mut self, args: Args<'_>, name: &str) -> Result<Begun, Wrong> {
        let number = args.i32(0)?;
        let (len, null, bits, to) = match name {
            "write" => (args.len(2)?, args.is_null(1), 0, None),
            "writev" => (args.buffers(args.get(1)?)?.iter().sum(), false, 0, None),
            "sendmsg" => {
                let buffers = super::args::field(args.get(1)?, "msg_iov");
                let len = buffers.map_or(Ok(0), |list| Ok::<_, Wrong>(args.buffers(list)?.iter().sum()))?;
                (len, false, args.i32(2)?, None)
            }
            "send" => (args.len(2)?, args.is_null(1), args.i32(3)?, None),
            _ => (args.len(2)?, args.is_null(1), args.i32(3)?, self.destination(args)?),
        };
        if let Some(Object::Pipe(held)) = self.program.get(number).map(|descriptor| &descriptor.object) {
            held.set(held.get() + len);
            return Ok(Answer::Number(len as i64).into());
        }
        let socket = match self.socket_of(number) {
            Ok(socket) => socket,
            Err(errno) => return Ok(Answer::Error(errno).into()),
        };
        let parsed = match flags::SendFlags::parse(bits, socket.kind.kind) {
            Ok(parsed) => parsed,
            Err(errno) => return Ok(Answer::Error(errno).into()),
        };
        let flags = SendFlags {
            more: parsed.more,
            oob: parsed.out_of_band,
            eor: parsed.end_of_record,
            dont_route: parsed.dont_route,
        };
        Ok(Begun::Work(Work::Send(Send {
            id: socket.id,
            is_stream: socket.kind.kind == SocketType::Stream,
            to,
            chunks: [Chunk::from(vec![0; len])].into(),
            null,
            sent: 0,
            blocked: false,
            flags,
            nonblocking: parsed.dont_wait || self.program.is_nonblocking(number),
            deadline: self.deadline(&socket, Direction::Send),
        })))
    }

    /// Where a datagram goes: the address of sendto, where the socket has no peer.
    fn destination(&self, args: Args<'_>) -> Result<Option<SockAddr>, Wrong> {
        let Ok(socket) = self.socket_of(args.i32(0)?) else { return Ok(None) };
        if self.stack.peer_addr(socket.id).is_ok() || args.is_null(4) {
            return Ok(None);
        }
        let usual = core::net::SocketAddr::new(self.settings.remote, self.settings.connect_port);
        args.address(4, usual.into())
    }

    pub(super) fn try_send(&mut self, work: &mut Send) -> Option<Answer> {
        if work.null && self.is_open(work.id) {
            return Some(Answer::Error(Errno::EFAULT));
        }
        // As the kernel: who waits for room is woken when there is a good deal of it.
        let woken = Readiness::WRITABLE | Readiness::ERROR | Readiness::WRITE_CLOSED;
        let blocks = work.blocked && !self.stack.readiness(work.id).intersects(woken);
        if blocks && !self.is_over(work.deadline) {
            return None;
        }
        loop {
            let result = if work.is_stream {
                self.stack.send(self.now, work.id, &mut work.chunks, work.flags)
            } else {
                let payload = work.chunks.drain(..).collect();
                self.stack.send_to(self.now, work.id, payload, work.to, work.flags)
            };
            match result {
                Ok(sent) => {
                    work.sent += sent;
                    if !work.is_stream || sent == 0 || work.chunks.iter().all(sockeye_packet::Chunk::is_empty)
                    {
                        return Some(Answer::Number(work.sent as i64));
                    }
                }
                Err(Error::WouldBlock) if !work.nonblocking && !self.is_over(work.deadline) => {
                    work.blocked = true;
                    return None;
                }
                Err(_) if work.sent > 0 => return Some(Answer::Number(work.sent as i64)),
                Err(error) => return Some(Answer::Error(error.into())),
            }
        }
    }

    /// Whether data can be given to the socket: then the kernel looks at the buffer.
    fn is_open(&self, id: SocketId) -> bool {
        matches!(self.stack.tcp_state(id), Some(TcpState::Established | TcpState::CloseWait))
            && self.stack.send_space(id) > 0
    }

    pub(super) fn sendfile(&mut self, args: Args<'_>) -> Result<Begun, Wrong> {
        let number = args.i32(0)?;
        let socket = match self.socket_of(number) {
            Ok(socket) => socket,
            Err(errno) => return Ok(Answer::Error(errno).into()),
        };
        Ok(Begun::Work(Work::Send(Send {
            id: socket.id,
            is_stream: true,
            to: None,
            chunks: [Chunk::from(vec![0; args.len(3)?])].into(),
            null: false,
            sent: 0,
            blocked: false,
            flags: SendFlags::default(),
            nonblocking: self.program.is_nonblocking(number),
            deadline: self.deadline(&socket, Direction::Send),
        })))
    }
}

/// Receiving.
impl Player {
    pub(super) fn receive(&mut self, args: Args<'_>, name: &str) -> Result<Begun, Wrong> {
        let number = args.i32(0)?;
        let (max, bits, expected) = match name {
            "read" => (args.len(2)?, 0, None),
            "readv" => (args.buffers(args.get(1)?)?.iter().sum(), 0, None),
            "recvmsg" => {
                let message = args.get(1)?;
                let buffers = super::args::field(message, "msg_iov");
                let len = buffers.map_or(Ok(0), |list| Ok::<_, Wrong>(args.buffers(list)?.iter().sum()))?;
                (len, args.i32(2)?, Some(Expected::new(message, args)?))
            }
            _ => (args.len(2)?, args.i32(3)?, None),
        };
        if let Some(Object::Pipe(held)) = self.program.get(number).map(|descriptor| &descriptor.object) {
            let got = held.get().min(max);
            held.set(held.get() - got);
            return Ok(Answer::Number(got as i64).into());
        }
        let socket = match self.socket_of(number) {
            Ok(socket) => socket,
            Err(errno) => return Ok(Answer::Error(errno).into()),
        };
        let parsed = flags::RecvFlags::parse(bits);
        if parsed.error_queue {
            return Ok(Answer::Error(Errno::EAGAIN).into());
        }
        let low_water = match self.stack.get_option(socket.id, OptionName::RecvLowWater) {
            Ok(SocketOption::RecvLowWater(low_water)) => low_water as usize,
            _ => 1,
        };
        let enough = if parsed.wait_all { max } else { low_water.min(max).max(1) };
        let deadline = self.deadline(&socket, Direction::Receive);
        Ok(Begun::Work(Work::Recv(Recv {
            socket,
            max,
            null: matches!(args.get(1)?, Expr::Name(name) if name == "NULL"),
            enough,
            got: 0,
            flags: RecvFlags { peek: parsed.peek, oob: parsed.out_of_band },
            nonblocking: parsed.dont_wait || self.program.is_nonblocking(number),
            deadline,
            expected,
        })))
    }

    pub(super) fn try_receive(&mut self, work: &mut Recv) -> Result<Option<Answer>, Wrong> {
        if work.null && !work.flags.oob && self.stack.recv_queued(work.socket.id) > 0 {
            return Ok(Some(Answer::Error(Errno::EFAULT)));
        }
        loop {
            let room = work.max - work.got;
            match self.stack.recv(self.now, work.socket.id, room, work.flags) {
                Ok(payload) => {
                    work.got += payload.len();
                    let over = payload.is_empty() || work.flags.peek || work.flags.oob;
                    if over || work.got >= work.enough || work.socket.kind.kind != SocketType::Stream {
                        break;
                    }
                }
                Err(Error::WouldBlock) if !work.nonblocking && !self.is_over(work.deadline) => {
                    return Ok(None);
                }
                Err(_) if work.got > 0 => break,
                Err(error) => return Ok(Some(Answer::Error(error.into()))),
            }
        }
        self.check_message(work)?;
        Ok(Some(Answer::Number(work.got as i64)))
    }

    pub(super) fn splice(&mut self, args: Args<'_>) -> Result<Begun, Wrong> {
        let (from, to) = (args.i32(0)?, args.i32(2)?);
        let flags = args.int(5)?;
        let (Some(from_end), Some(to_end)) = (self.end(from), self.end(to)) else {
            return Ok(Answer::Error(Errno::EBADF).into());
        };
        let nonblocking = flags & i64::from(libc::SPLICE_F_NONBLOCK) != 0
            || [from, to].iter().any(|number| self.program.is_nonblocking(*number));
        let splice = Splice { from: from_end, to: to_end, len: args.len(4)?, nonblocking };
        Ok(Begun::Work(Work::Splice(splice)))
    }

    fn end(&self, number: i32) -> Option<End> {
        Some(match &self.program.get(number)?.object {
            Object::Socket(socket) => End::Socket(socket.id),
            Object::Pipe(held) => End::Pipe(held.clone()),
            Object::File => End::File,
            Object::Epoll(_) => return None,
        })
    }

    pub(super) fn try_splice(&mut self, work: &Splice) -> Option<Answer> {
        let moved = match (&work.from, &work.to) {
            (End::Socket(id), End::Pipe(held)) => {
                let max = work.len.min(PORTION - held.get().min(PORTION));
                let got = self.stack.recv(self.now, *id, max, RecvFlags::default());
                got.map(|payload| {
                    held.set(held.get() + payload.len());
                    payload.len()
                })
            }
            (End::Pipe(held), End::Socket(id)) => {
                let mut chunks = [Chunk::from(vec![0; held.get().min(work.len)])].into();
                let sent = self.stack.send(self.now, *id, &mut chunks, SendFlags::default());
                sent.inspect(|sent| held.set(held.get() - sent))
            }
            (End::File, End::Pipe(held)) => {
                let len = work.len.min(PORTION - held.get().min(PORTION));
                held.set(held.get() + len);
                Ok(len)
            }
            _ => Err(Error::InvalidArgument),
        };
        match moved {
            Ok(len) => Some(Answer::Number(len as i64)),
            Err(Error::WouldBlock) if !work.nonblocking => None,
            Err(error) => Some(Answer::Error(error.into())),
        }
    }
}
