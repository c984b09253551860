//! The program's descriptors, by the numbers that the script gives them.

use super::wait::EpollSet;
use crate::play::Player;
use crate::play::trace::Wrong;
use sockeye_posix::{Errno, SocketKind, Stored};
use sockeye_stack::{Event, SockAddr, SocketId, SocketType, Stack};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The program under test.
#[derive(Default)]
pub(in crate::play) struct Program {
    table: BTreeMap<i32, Descriptor>,
    /// The stream socket that was bound, connected or listened last: connections from outside go there.
    pub(super) opened: Option<SocketId>,
    /// The datagram socket that was bound or connected last.
    pub(super) datagram: Option<SocketId>,
    /// The socket whose state `%{ }%` asks for: of the connection under test, or its listener.
    pub(in crate::play) latest: Option<i32>,
}

/// What a number stands for.
#[derive(Debug)]
pub(super) struct Descriptor {
    pub(super) object: Object,
    pub(super) nonblocking: bool,
}

#[derive(Debug)]
pub(super) enum Object {
    Socket(SocketOf),
    Epoll(EpollSet),
    /// A file of zeros without an end.
    File,
    /// One end of a pipe, with the number of bytes in it.
    Pipe(Rc<Cell<usize>>),
}

/// A socket, and what the API remembers of it.
#[derive(Clone, Debug)]
pub(super) struct SocketOf {
    pub(super) id: SocketId,
    pub(super) kind: SocketKind,
    pub(super) stored: Stored,
}

impl Descriptor {
    pub(super) fn socket(id: SocketId, kind: SocketKind, stored: Stored, nonblocking: bool) -> Descriptor {
        Descriptor { object: Object::Socket(SocketOf { id, kind, stored }), nonblocking }
    }

    pub(super) fn epoll() -> Descriptor {
        Descriptor { object: Object::Epoll(EpollSet::default()), nonblocking: false }
    }

    pub(super) fn file() -> Descriptor {
        Descriptor { object: Object::File, nonblocking: false }
    }

    pub(super) fn pipe(held: Rc<Cell<usize>>) -> Descriptor {
        Descriptor { object: Object::Pipe(held), nonblocking: false }
    }
}

impl Program {
    pub(super) fn insert(&mut self, number: i32, descriptor: Descriptor) {
        if matches!(descriptor.object, Object::Socket(_)) {
            self.latest = Some(number);
        }
        self.table.insert(number, descriptor);
    }

    pub(super) fn get(&self, number: i32) -> Option<&Descriptor> {
        self.table.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: i32) -> Option<&mut Descriptor> {
        self.table.get_mut(&number)
    }

    pub(super) fn remove(&mut self, number: i32) -> Option<Descriptor> {
        self.table.remove(&number)
    }

    /// The socket of a number; the error is what a call on anything else answers.
    pub(super) fn socket(&self, number: i32) -> Result<&SocketOf, Errno> {
        match self.table.get(&number).map(|descriptor| &descriptor.object) {
            Some(Object::Socket(socket)) => Ok(socket),
            Some(_) => Err(Errno(libc::ENOTSOCK)),
            None => Err(Errno::EBADF),
        }
    }

    /// Whether calls on it never block.
    pub(super) fn is_nonblocking(&self, number: i32) -> bool {
        self.table.get(&number).is_some_and(|descriptor| descriptor.nonblocking)
    }

    /// The number of a socket.
    pub(super) fn number_of(&self, id: SocketId) -> Option<i32> {
        let is =
            |descriptor: &Descriptor| matches!(&descriptor.object, Object::Socket(socket) if socket.id == id);
        self.table.iter().find(|(_, descriptor)| is(descriptor)).map(|(number, _)| *number)
    }

    fn epolls(&mut self) -> impl Iterator<Item = &mut EpollSet> {
        self.table.values_mut().filter_map(|descriptor| match &mut descriptor.object {
            Object::Epoll(set) => Some(set),
            _ => None,
        })
    }

    /// The local address that connections from outside go to.
    pub(in crate::play) fn open_to(&self, stack: &Stack) -> Option<SockAddr> {
        stack.local_addr(self.opened?).ok().filter(|local| local.port != 0)
    }

    /// The local address that datagrams from outside go to.
    pub(in crate::play) fn latest_datagram(&self, stack: &Stack) -> Option<SockAddr> {
        stack.local_addr(self.datagram?).ok().filter(|local| local.port != 0)
    }

    /// The stream socket that `%{ }%` asks about.
    pub(in crate::play) fn latest_stream(&self) -> Option<SocketId> {
        let socket = self.socket(self.latest?).ok()?;
        (socket.kind.kind == SocketType::Stream).then_some(socket.id)
    }
}

impl Player {
    /// Notes which sockets gained something, for those who wait for edges.
    pub(in crate::play) fn watch(&mut self) {
        while let Some(event) = self.stack.poll_event() {
            if let Event::Ready(id) = event
                && let Some(number) = self.program.number_of(id)
            {
                self.program.epolls().for_each(|set| set.signal(number));
            }
        }
    }

    /// Closes what the program left open.
    pub(in crate::play) fn close_all(&mut self) {
        for descriptor in core::mem::take(&mut self.program.table).into_values() {
            if let Object::Socket(socket) = descriptor.object {
                // What it answers interests nobody any more.
                let _ = self.stack.close(self.now, socket.id);
            }
        }
    }

    /// The socket of the first argument: an answer where there is none.
    pub(super) fn socket_of(&self, number: i32) -> Result<SocketOf, Errno> {
        self.program.socket(number).cloned()
    }

    pub(super) fn pipe(&mut self, args: super::args::Args<'_>) -> Result<super::Begun, Wrong> {
        let crate::script::Expr::List(ends) = args.get(0)? else {
            return Err(Wrong::from("pipe() takes two numbers".to_owned()));
        };
        let held = Rc::new(Cell::new(0));
        for end in ends {
            let number = args.eval(end)? as i32;
            self.program.insert(number, Descriptor::pipe(held.clone()));
        }
        Ok(super::Answer::Number(0).into())
    }
}
