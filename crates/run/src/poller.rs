//! The epoll instance of the loop, and what its events are about.
//!
//! The supervisor's and the network's part share one instance where both are one process: each holds a
//! descriptor of it.

use crate::agent::TreeId;
use crate::proto::MemberId;
use crate::sockets::SocketKey;
use rustix::event::{Timespec, epoll};
use rustix::io::{Errno as SysErrno, fcntl_dupfd_cloexec};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Events taken at once.
const EVENTS: usize = 256;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A filter's listener has a call.
    Calls(TreeId),
    /// The network's end of a plug.
    Plug(SocketKey),
    /// A direct child ended.
    Exit(usize),
    /// A direct child printed something: program, and 1 or 2.
    Output(usize, u8),
    /// A signal arrived.
    Signals,
    /// The network that a supervisor has joined said something.
    Network,
    /// Somebody wants to speak to a named network.
    Control,
    /// A peer of a named network said something.
    Member(MemberId),
    /// A socket of the gateway.
    Gateway,
    /// A socket of the resolver.
    Resolver,
    /// The process that outlives this one has ended.
    Guard,
    /// Programs on the host of this number sent frames.
    Mirror(usize),
}

impl Token {
    const KIND_SHIFT: u32 = 56;

    fn to_bits(self) -> u64 {
        let (kind, value) = match self {
            Token::Calls(tree) => (0, tree.0 as u64),
            Token::Plug(key) => (1, key.to_bits()),
            Token::Exit(program) => (2, program as u64),
            Token::Output(program, stream) => (3, (program as u64) << 8 | u64::from(stream)),
            Token::Signals => (4, 0),
            Token::Network => (5, 0),
            Token::Control => (6, 0),
            Token::Member(member) => (7, u64::from(member.0)),
            Token::Gateway => (8, 0),
            Token::Resolver => (9, 0),
            Token::Guard => (10, 0),
            Token::Mirror(host) => (11, host as u64),
        };
        kind << Self::KIND_SHIFT | value
    }

    fn from_bits(bits: u64) -> Token {
        let value = bits & ((1 << Self::KIND_SHIFT) - 1);
        match bits >> Self::KIND_SHIFT {
            0 => Token::Calls(TreeId(value as usize)),
            1 => Token::Plug(SocketKey::from_bits(value)),
            2 => Token::Exit(value as usize),
            3 => Token::Output((value >> 8) as usize, value as u8),
            4 => Token::Signals,
            5 => Token::Network,
            6 => Token::Control,
            7 => Token::Member(MemberId(value as u32)),
            8 => Token::Gateway,
            9 => Token::Resolver,
            10 => Token::Guard,
            _ => Token::Mirror(value as usize),
        }
    }
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PollEvent {
    pub(crate) token: Token,
    pub(crate) flags: epoll::EventFlags,
}

/// A descriptor of the loop's epoll instance.
#[derive(Debug)]
pub(crate) struct Poller(OwnedFd);

impl Poller {
    pub(crate) fn new() -> io::Result<Poller> {
        Ok(Poller(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// Another descriptor of the same instance.
    pub(crate) fn share(&self) -> io::Result<Poller> {
        Ok(Poller(fcntl_dupfd_cloexec(&self.0, 0)?))
    }

    /// Watches a descriptor.
    pub(crate) fn watch(&self, fd: impl AsFd, token: Token, events: epoll::EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.0, fd, epoll::EventData::new_u64(token.to_bits()), events)?)
    }

    /// Watches a descriptor, which is watched already, for other events; reports anew what holds now.
    pub(crate) fn rewatch(&self, fd: impl AsFd, token: Token, events: epoll::EventFlags) -> io::Result<()> {
        Ok(epoll::modify(&self.0, fd, epoll::EventData::new_u64(token.to_bits()), events)?)
    }

    /// Watches a descriptor no more.
    pub(crate) fn forget(&self, fd: impl AsFd) {
        epoll::delete(&self.0, fd).ok();
    }

    /// Waits for events, at most for `limit` (for ever if there is none). An interrupted wait has none.
    pub(crate) fn wait(&self, limit: Option<Duration>) -> io::Result<Vec<PollEvent>> {
        let limit = limit.map(|wait| Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        });
        let mut buffer = [MaybeUninit::<epoll::Event>::uninit(); EVENTS];
        match epoll::wait(&self.0, &mut buffer, limit.as_ref()) {
            Ok((events, _)) => Ok(events
                .iter()
                .map(|event| PollEvent { token: Token::from_bits(event.data.u64()), flags: event.flags })
                .collect()),
            Err(SysErrno::INTR) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether an answer of [`Poller::wait`] may have left events behind.
    pub(crate) fn is_full(events: &[PollEvent]) -> bool {
        events.len() >= EVENTS
    }
}
