//! Descriptors, and how calls on what they name wait.

use crate::host::{Deadline, Host};
use sockeye::StackSocket;
use sockeye::poller::Interest;
use sockeye_packet::Instant;
use sockeye_posix::berkeley::Socket;
use sockeye_posix::options::Direction;
use sockeye_posix::{Errno, SocketKind};
use sockeye_stack::{SocketType, Stack};
use std::collections::HashMap;
use std::collections::hash_map::Entry::Vacant;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::Poll;

/// The first descriptor. The kernel's are below (`fs.nr_open`, unless somebody has raised it), so that one that is
/// given to the wrong library is EBADF there, and nobody else's file.
pub(crate) const FIRST: c_int = 1 << 20;

/// The next descriptor of any host: none comes a second time before two thousand million others.
static NEXT: AtomicI32 = AtomicI32::new(FIRST);

/// The descriptors of a host; none any more once its handle was given back.
#[derive(Debug)]
pub(crate) struct Table(RwLock<Option<HashMap<c_int, Arc<Entry>>>>);

/// What a descriptor names.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) socket: StackSocket,
    kind: SocketKind,
    /// Taken within the host's lock, or for a moment without it.
    posix: Mutex<Socket>,
    nonblocking: AtomicBool,
    is_closed: AtomicBool,
}

impl Table {
    pub(crate) fn new() -> Table {
        Table(RwLock::new(Some(HashMap::new())))
    }

    /// What a descriptor names. EBADF for none.
    pub(crate) fn get(&self, fd: c_int) -> Result<Arc<Entry>, Errno> {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        entries.as_ref().and_then(|entries| entries.get(&fd)).cloned().ok_or(Errno::EBADF)
    }

    /// A new descriptor.
    pub(crate) fn insert(&self, entry: Entry) -> Result<c_int, Errno> {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let entries = entries.as_mut().ok_or(Errno::EBADF)?;
        loop {
            let fd = NEXT.fetch_add(1, Ordering::Relaxed);
            if fd < FIRST {
                // All were had once. What others count meanwhile is skipped, too.
                NEXT.store(FIRST, Ordering::Relaxed);
            } else if let Vacant(place) = entries.entry(fd) {
                place.insert(Arc::new(entry));
                return Ok(fd);
            }
        }
    }

    /// Takes a descriptor away.
    pub(crate) fn remove(&self, fd: c_int) -> Result<Arc<Entry>, Errno> {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        entries.as_mut().and_then(|entries| entries.remove(&fd)).ok_or(Errno::EBADF)
    }

    /// Takes all away, for good.
    pub(crate) fn end(&self) -> Vec<Arc<Entry>> {
        let entries = self.0.write().unwrap_or_else(PoisonError::into_inner).take();
        entries.into_iter().flatten().map(|(_, entry)| entry).collect()
    }
}

impl Entry {
    pub(crate) fn new(socket: StackSocket, posix: Socket, nonblocking: bool) -> Entry {
        let [nonblocking, is_closed] = [nonblocking, false].map(AtomicBool::new);
        Entry { socket, kind: posix.kind(), posix: Mutex::new(posix), nonblocking, is_closed }
    }

    fn posix(&self) -> MutexGuard<'_, Socket> {
        self.posix.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.kind.kind == SocketType::Stream
    }

    pub(crate) fn is_nonblocking(&self) -> bool {
        self.nonblocking.load(Ordering::Relaxed)
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) {
        self.nonblocking.store(nonblocking, Ordering::Relaxed);
    }

    /// Closes the socket; whoever waits for it gets EBADF.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.socket.close();
    }

    /// What is wrong, if the stack doesn't know the socket any more: it was closed, or its host was removed.
    pub(crate) fn check(&self, stack: &Stack) -> Result<(), Errno> {
        let gone = || if self.is_closed.load(Ordering::SeqCst) { Errno::EBADF } else { Errno::ECONNRESET };
        stack.owner(self.socket.id()).map(drop).map_err(|_| gone())
    }

    /// Makes a call that never waits.
    pub(crate) fn call<R>(
        &self,
        call: impl FnOnce(&mut Socket, &mut Stack, Instant) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        self.socket.host().with_stack(|stack, now| {
            self.check(stack)?;
            call(&mut self.posix(), stack, now)
        })
    }

    /// How long a call may wait that begins now.
    pub(crate) fn deadline(&self, host: &Host, direction: Direction) -> Deadline {
        host.deadline(self.posix().stored().timeout(direction))
    }

    /// Makes a call that is EAGAIN while it has to wait, and waits unless `deadline` is none; EAGAIN when the time is
    /// over.
    pub(crate) fn wait<R>(
        &self,
        host: &Host,
        direction: Direction,
        deadline: Option<&Deadline>,
        mut call: impl FnMut(&mut Socket, &mut Stack, Instant) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let Some(deadline) = deadline else { return self.call(call) };
        let interest = match direction {
            Direction::Receive => Interest::READABLE,
            Direction::Send => Interest::WRITABLE,
        };
        let result = host.wait(&[(&self.socket, interest)], deadline, |stack, now| {
            match self.check(stack).and_then(|()| call(&mut self.posix(), stack, now)) {
                Err(Errno::EAGAIN) => Poll::Pending,
                result => Poll::Ready(result),
            }
        });
        result?.unwrap_or(Err(Errno::EAGAIN))
    }
}
