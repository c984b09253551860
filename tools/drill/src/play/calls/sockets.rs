//! Sockets: making them, opening and ending their connections.

use super::args::Args;
use super::descriptors::{Descriptor, SocketOf};
use super::{Answer, Begun, Work, answer};
use crate::play::Player;
use crate::play::flow::Flow;
use crate::play::settings::IpVersion;
use crate::play::trace::Wrong;
use crate::script::Expr;
use core::net::SocketAddr;
use core::time::Duration;
use sockeye_packet::Instant;
use sockeye_posix::berkeley::shutdown_of;
use sockeye_posix::options::Direction;
use sockeye_posix::{Errno, SocketKind, Stored};
use sockeye_stack::{Domain, Error, OptionName, Orphan, Owner, SockAddr, SocketId, SocketOption, SocketType};

/// accept.
#[derive(Debug)]
pub(super) struct Accept {
    listener: SocketOf,
    nonblocking: bool,
    /// Whether the new socket's calls never block.
    child_nonblocking: bool,
    pub(super) deadline: Option<Instant>,
}

/// connect.
#[derive(Debug)]
pub(super) struct Connect {
    id: SocketId,
    number: i32,
    to: SockAddr,
    is_stream: bool,
    nonblocking: bool,
    begun: bool,
    pub(super) deadline: Option<Instant>,
}

/// close with `SO_LINGER`.
#[derive(Debug)]
pub(super) struct Close {
    orphan: Orphan,
    pub(super) deadline: Instant,
}

impl Player {
    /// The end of a call's patience, by `SO_RCVTIMEO` or `SO_SNDTIMEO`.
    pub(super) fn deadline(&self, socket: &SocketOf, direction: Direction) -> Option<Instant> {
        socket.stored.timeout(direction).map(|timeout| self.now + timeout)
    }

    /// Whether a call's patience has ended.
    pub(super) fn is_over(&self, deadline: Option<Instant>) -> bool {
        deadline.is_some_and(|deadline| deadline <= self.now)
    }

    pub(super) fn socket(&mut self, args: Args<'_>) -> Result<Begun, Wrong> {
        let usual = if self.settings.ip_version == IpVersion::V4 { libc::AF_INET } else { libc::AF_INET6 };
        let domain = match args.get(0)? {
            Expr::Ellipsis => usual,
            family => args.eval(family)? as i32,
        };
        let domain = match domain {
            libc::AF_INET => Domain::Inet,
            libc::AF_INET6 => Domain::Inet6,
            _ => return Ok(Answer::Error(Errno::EAFNOSUPPORT).into()),
        };
        let wanted = args.i32(1)?;
        let kind = match wanted & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) {
            libc::SOCK_STREAM => SocketType::Stream,
            libc::SOCK_DGRAM => SocketType::Datagram,
            other => return Err(Wrong::from(format!("a socket of type {other}"))),
        };
        Ok(match self.stack.socket(domain, kind, Owner::default()) {
            Ok(id) => {
                let kind = SocketKind { domain, kind };
                let nonblocking = wanted & libc::SOCK_NONBLOCK != 0;
                Answer::New(Descriptor::socket(id, kind, Stored::default(), nonblocking))
            }
            Err(error) => Answer::Error(error.into()),
        }
        .into())
    }

    pub(super) fn bind(&mut self, args: Args<'_>) -> Result<Begun, Wrong> {
        let socket = match self.socket_of(args.i32(0)?) {
            Ok(socket) => socket,
            Err(errno) => return Ok(Answer::Error(errno).into()),
        };
        let usual = SockAddr::from(SocketAddr::new(self.settings.local, self.settings.bind_port));
        let Some(addr) = args.address(1, usual)? else {
            return Ok(Answer::Error(Errno::EAFNOSUPPORT).into());
        };
        let bound = self.stack.bind(socket.id, addr);
        if bound.is_ok() {
            self.note_opened(&socket);
        }
        Ok(answer(bound).into())
    }

    fn note_opened(&mut self, socket: &SocketOf) {
        match socket.kind.kind {
            SocketType::Stream => self.program.opened = Some(socket.id),
            _ => self.program.datagram = Some(socket.id),
        }
    }

    pub(super) fn listen(&mut self, args: Args<'_>) -> Result<Begun, Wrong> {
        let number = args.i32(0)?;
        let socket = match self.socket_of(number) {
            Ok(socket) => socket,
            Err(errno) => return Ok(Answer::Error(errno).into()),
        };
        let backlog = usize::try_from(args.int(1)?).unwrap_or(usize::MAX);
        let listening = self.stack.listen(self.now, socket.id, backlog);
        if listening.is_ok() {
            // From here on, connections to it are what is tested.
            self.note_opened(&socket);
            self.program.latest = Some(number);
            self.flow = None;
        }
        Ok(answer(listening).into())
    }

    pub(super) fn accept(&mut self, args: Args<'_>, flags: i32) -> Result<Begun, Wrong> {
        let number = args.i32(0)?;
        let listener = match self.socket_of(number) {
            Ok(socket) => socket,
            Err(errno) => return Ok(Answer::Error(errno).into()),
        };
        let deadline = self.deadline(&listener, Direction::Receive);
        let nonblocking = self.program.is_nonblocking(number);
        let child_nonblocking = flags & libc::SOCK_NONBLOCK != 0;
        Ok(Begun::Work(Work::Accept(Accept { listener, nonblocking, child_nonblocking, deadline })))
    }

    pub(super) fn try_accept(&mut self, work: &Accept) -> Option<Answer> {
        match self.stack.accept(self.now, work.listener.id) {
            Ok((id, _)) => {
                let SocketOf { kind, stored, .. } = work.listener.clone();
                Some(Answer::New(Descriptor::socket(id, kind, stored, work.child_nonblocking)))
            }
            Err(Error::WouldBlock) if !work.nonblocking && !self.is_over(work.deadline) => None,
            Err(error) => Some(Answer::Error(error.into())),
        }
    }

    pub(super) fn connect(&mut self, args: Args<'_>) -> Result<Begun, Wrong> {
        let number = args.i32(0)?;
        let socket = match self.socket_of(number) {
            Ok(socket) => socket,
            Err(errno) => return Ok(Answer::Error(errno).into()),
        };
        let usual = SockAddr::from(SocketAddr::new(self.settings.remote, self.settings.connect_port));
        let Some(to) = args.address(1, usual)? else {
            return Ok(answer(self.stack.disconnect(self.now, socket.id)).into());
        };
        Ok(Begun::Work(Work::Connect(Connect {
            id: socket.id,
            number,
            to,
            is_stream: socket.kind.kind == SocketType::Stream,
            nonblocking: self.program.is_nonblocking(number),
            begun: false,
            deadline: self.deadline(&socket, Direction::Send),
        })))
    }

    pub(super) fn try_connect(&mut self, work: &mut Connect) -> Option<Answer> {
        let connected = self.stack.connect(self.now, work.id, work.to);
        if !work.begun && matches!(connected, Ok(()) | Err(Error::InProgress)) {
            self.test_connection(work);
        }
        work.begun = true;
        match connected {
            Err(Error::InProgress | Error::Already) if !work.nonblocking => {
                let over = self.is_over(work.deadline);
                over.then_some(Answer::Error(Error::InProgress.into()))
            }
            result => Some(answer(result)),
        }
    }

    /// The connection that is being opened is the one under test from now on.
    fn test_connection(&mut self, work: &Connect) {
        let Ok(local) = self.stack.local_addr(work.id) else { return };
        if !work.is_stream {
            self.program.datagram = Some(work.id);
            return;
        }
        let remote = SocketAddr::new(work.to.ip_addr(), work.to.port);
        let local = SocketAddr::new(local.ip_addr(), local.port);
        // Asking again how it goes changes nothing.
        if self.flow.as_ref().is_none_or(|flow| (flow.local, flow.remote) != (local, remote)) {
            self.flow = Some(Flow::new(local, remote));
        }
        self.program.opened = Some(work.id);
        self.program.latest = Some(work.number);
    }

    pub(super) fn shutdown(&mut self, args: Args<'_>) -> Result<Begun, Wrong> {
        let how = match shutdown_of(args.i32(1)?) {
            Ok(how) => how,
            Err(errno) => return Ok(Answer::Error(errno).into()),
        };
        Ok(match self.socket_of(args.i32(0)?) {
            Ok(socket) => answer(self.stack.shutdown(self.now, socket.id, how)),
            Err(errno) => Answer::Error(errno),
        }
        .into())
    }

    pub(super) fn close(&mut self, args: Args<'_>) -> Result<Begun, Wrong> {
        let number = args.i32(0)?;
        let Ok(socket) = self.socket_of(number) else {
            let closed = self.program.remove(number);
            let answer = closed.map_or(Answer::Error(Errno::EBADF), |_| Answer::Number(0));
            return Ok(answer.into());
        };
        self.program.remove(number);
        let linger = match self.stack.get_option(socket.id, OptionName::Linger) {
            Ok(SocketOption::Linger(linger)) => linger.unwrap_or(Duration::ZERO),
            _ => Duration::ZERO,
        };
        Ok(match self.stack.close_to_orphan(self.now, socket.id) {
            Ok(Some(orphan)) if !linger.is_zero() => {
                Begun::Work(Work::Close(Close { orphan, deadline: self.now + linger }))
            }
            closed => answer(closed.map(|_| ())).into(),
        })
    }

    pub(super) fn try_close(&mut self, work: &Close) -> Option<Answer> {
        let through = !self.stack.is_draining(work.orphan) || self.is_over(Some(work.deadline));
        through.then_some(Answer::Number(0))
    }
}
