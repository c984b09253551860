//! What every handler works on: the network, the sockets, the programs' listeners, parked calls and epoll.

use crate::call::{Call, Reply};
use crate::dns::Names;
use crate::dns::service::Service;
use crate::sockets::{SocketKey, Sockets};
use crate::sys::{self, Response};
use crate::world::World;
use rustix::event::epoll;
use rustix::io::Errno as SysErrno;
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
use sockeye::HostId;
use sockeye_packet::{Instant, Pool};
use sockeye_posix::Errno;
use sockeye_stack::SocketId;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How many tasks' descriptors are kept for the next call.
const TASKS_KEPT: usize = 256;

/// A program with all its descendants: one filter, one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TreeId(pub(crate) usize);

/// One filter's listener.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Where its calls arrive.
    pub(crate) listener: OwnedFd,
    /// The host it runs on.
    pub(crate) host: HostId,
}

/// What an epoll event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A filter's listener has a call.
    Calls(TreeId),
    /// The supervisor's end of a plug.
    Plug(SocketKey),
    /// A direct child ended.
    Exit(usize),
    /// A direct child printed something: program, and 1 or 2.
    Output(usize, u8),
    /// A signal arrived.
    Signals,
    /// Name servers outside have answered.
    Names,
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
            Token::Names => (5, 0),
        };
        kind << Self::KIND_SHIFT | value
    }

    /// The token of an event.
    pub(crate) fn from_bits(bits: u64) -> Token {
        let value = bits & ((1 << Self::KIND_SHIFT) - 1);
        match bits >> Self::KIND_SHIFT {
            0 => Token::Calls(TreeId(value as usize)),
            1 => Token::Plug(SocketKey::from_bits(value)),
            2 => Token::Exit(value as usize),
            3 => Token::Output((value >> 8) as usize, value as u8),
            4 => Token::Signals,
            _ => Token::Names,
        }
    }
}

/// A call that waits for its socket.
#[derive(Debug)]
struct Parked {
    call: Call,
    deadline: Option<Instant>,
    expired: Errno,
}

/// The shared state.
#[derive(Debug)]
pub(crate) struct Core {
    /// The time of this turn.
    pub(crate) now: Instant,
    /// The hosts.
    pub(crate) world: World,
    /// The programs' sockets.
    pub(crate) sockets: Sockets,
    /// Memory for what programs send.
    pub(crate) pool: Pool,
    /// What the network's name server answers from.
    pub(crate) names: Names,
    /// The name servers, by host.
    pub(crate) services: HashMap<HostId, Service>,
    /// Sockets of name servers with work left over.
    pub(crate) queries: Vec<(HostId, SocketId)>,
    /// Plugs with work left over after their share of a turn.
    pub(crate) unfinished: VecDeque<SocketKey>,
    epoll: OwnedFd,
    trees: Vec<Option<Tree>>,
    /// A task waits in at most one call, so its number is the key.
    parked: HashMap<u32, Parked>,
    deadlines: BTreeSet<(Instant, u32)>,
    /// Calls to be handled again.
    awake: VecDeque<Call>,
    tasks: HashMap<u32, OwnedFd>,
}

/// A descriptor that a call names.
#[derive(Debug)]
pub(crate) enum Named {
    /// A socket of ours, and a duplicate of the program's end of its plug. While the duplicate is open,
    /// the program's close can't be seen: drop it with the call.
    Ours(SocketKey, OwnedFd),
    /// Anything else, which is the kernel's business.
    Other,
}

impl Core {
    /// A core over `world`, without programs.
    pub(crate) fn new(world: World, names: Names, services: HashMap<HostId, Service>) -> io::Result<Core> {
        Ok(Core {
            now: Instant::default(),
            world,
            sockets: Sockets::default(),
            pool: Pool::default(),
            names,
            services,
            queries: Vec::new(),
            unfinished: VecDeque::new(),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            trees: Vec::new(),
            parked: HashMap::new(),
            deadlines: BTreeSet::new(),
            awake: VecDeque::new(),
            tasks: HashMap::new(),
        })
    }

    /// The epoll descriptor of the loop.
    pub(crate) fn epoll(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Watches a descriptor.
    pub(crate) fn watch(&self, fd: impl AsFd, token: Token, events: epoll::EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token.to_bits()), events)?)
    }

    /// Watches a descriptor, which is watched already, for other events; reports anew what holds now.
    pub(crate) fn rewatch(&self, fd: impl AsFd, token: Token, events: epoll::EventFlags) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(token.to_bits()), events)?)
    }

    /// Adds a program's listener.
    pub(crate) fn add_tree(&mut self, tree: Tree) -> io::Result<TreeId> {
        let id = TreeId(self.trees.len());
        self.watch(&tree.listener, Token::Calls(id), epoll::EventFlags::IN)?;
        self.trees.push(Some(tree));
        Ok(id)
    }

    /// Forgets a program of which no process is left.
    pub(crate) fn remove_tree(&mut self, id: TreeId) {
        if let Some(tree) = self.trees.get_mut(id.0) {
            *tree = None;
        }
        self.parked.retain(|_, parked| parked.call.tree != id);
    }

    /// Programs of which some process still runs.
    pub(crate) fn trees(&self) -> impl Iterator<Item = &Tree> {
        self.trees.iter().flatten()
    }

    /// A program's tree.
    pub(crate) fn tree(&self, id: TreeId) -> Option<&Tree> {
        self.trees.get(id.0).and_then(Option::as_ref)
    }

    /// The listener of a program.
    pub(crate) fn listener(&self, id: TreeId) -> Option<&OwnedFd> {
        self.tree(id).map(|tree| &tree.listener)
    }

    /// The descriptor that a call's first argument names. Fails when this process has no room for a
    /// duplicate: the kernel must not do to a plug what was meant for a socket.
    pub(crate) fn named(&mut self, call: &Call) -> Result<Named, Errno> {
        let fd = match self.fetch(call.tid, call.int(0)) {
            Ok(fd) => fd,
            Err(SysErrno::MFILE | SysErrno::NFILE | SysErrno::NOMEM) => return Err(Errno(libc::ENFILE)),
            Err(_) => return Ok(Named::Other),
        };
        let key =
            rustix::net::sockopt::socket_cookie(&fd).ok().and_then(|cookie| self.sockets.by_cookie(cookie));
        Ok(key.map_or(Named::Other, |key| Named::Ours(key, fd)))
    }

    /// A duplicate of a task's descriptor.
    pub(crate) fn fetch(&mut self, tid: u32, fd: i32) -> Result<OwnedFd, SysErrno> {
        for _ in 0..2 {
            if !self.tasks.contains_key(&tid) {
                if self.tasks.len() >= TASKS_KEPT {
                    self.tasks.clear();
                }
                let task = sys::open_task(tid);
                let task = task.map_err(|error| SysErrno::from_io_error(&error).unwrap_or(SysErrno::SRCH))?;
                self.tasks.insert(tid, task);
            }
            let task = self.tasks.get(&tid).ok_or(SysErrno::SRCH)?;
            match pidfd_getfd(task, fd, PidfdGetfdFlags::empty()) {
                // The number was another task's, which has ended.
                Err(SysErrno::SRCH) => drop(self.tasks.remove(&tid)),
                result => return result,
            }
        }
        Err(SysErrno::SRCH)
    }

    /// Does with a call what its handler said.
    pub(crate) fn finish(&mut self, call: &Call, reply: &Reply) {
        match *reply {
            Reply::Value(value) => drop(self.answer(call, Response::Value(value))),
            Reply::Error(errno) => drop(self.answer(call, Response::Error(errno.0))),
            Reply::Continue => drop(self.answer(call, Response::Continue)),
            Reply::Park { key, deadline, expired } => self.park(*call, key, deadline, expired),
            Reply::Done => {}
        }
    }

    fn park(&mut self, mut call: Call, key: SocketKey, deadline: Option<Instant>, expired: Errno) {
        let Some(record) = self.sockets.get_mut(key) else {
            self.answer(&call, Response::Error(Errno::EBADF.0));
            return;
        };
        if !record.waiters.contains(&call.tid) {
            record.waiters.push_back(call.tid);
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, call.tid));
        }
        call.waited_for = Some(key);
        self.parked.insert(call.tid, Parked { call, deadline, expired });
    }

    /// Forgets the call that this task waited in: it has made another one.
    pub(crate) fn unpark(&mut self, tid: u32) -> Option<Call> {
        let parked = self.parked.remove(&tid)?;
        if let Some(deadline) = parked.deadline {
            self.deadlines.remove(&(deadline, tid));
        }
        Some(parked.call)
    }

    /// As [`Core::unpark`], if the task's call waits for this socket.
    pub(crate) fn unpark_from(&mut self, tid: u32, key: SocketKey) -> Option<Call> {
        self.parked.get(&tid).filter(|parked| parked.call.waited_for == Some(key))?;
        self.unpark(tid)
    }

    /// Handles again the calls that wait for this socket.
    pub(crate) fn wake(&mut self, key: SocketKey) {
        let waiters = self.sockets.get_mut(key).map(|record| std::mem::take(&mut record.waiters));
        for tid in waiters.unwrap_or_default() {
            if let Some(call) = self.unpark_from(tid, key) {
                self.awake.push_back(call);
            }
        }
    }

    /// The next call to be handled again.
    pub(crate) fn next_awake(&mut self) -> Option<Call> {
        self.awake.pop_front()
    }

    /// Answers the calls whose deadline has passed; returns the next deadline.
    pub(crate) fn expire(&mut self) -> Option<Instant> {
        while let Some(&(deadline, tid)) = self.deadlines.first() {
            if deadline > self.now {
                return Some(deadline);
            }
            self.deadlines.pop_first();
            if let Some(parked) = self.parked.remove(&tid) {
                self.answer(&parked.call, Response::Error(parked.expired.0));
            }
        }
        None
    }
}
