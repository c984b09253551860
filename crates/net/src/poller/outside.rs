//! Local sockets under watch: the kernel says when one is to be looked at.
//!
//! Of the threads that wait at a poller one, the leader, waits for the kernel; the others sleep until they are told. It is
//! called back when a socket of a host has something to tell, and who stops waiting has another lead.

use super::event::HANGUP;
use super::source::sealed::{Place, Sealed};
use super::{Event, Interest, Mode, Poller, Source, Watch};
use crate::sync::atomic::Ordering;
use crate::sync::{Mutex, MutexGuard, OnceLock};
use mio::unix::SourceFd;
use mio::{Interest as At, Token};
use sockeye_local::watch::{Ready, Watched};
use sockeye_local::{LocalDatagram, LocalListener, LocalPacketListener, LocalPackets, LocalStream};
use sockeye_stack::Readiness;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// The token of what calls the leader back: no descriptor has this number.
const CALL: Token = Token(usize::MAX);

/// A local socket, named by its descriptor as long as it is open.
#[derive(Debug)]
pub struct Handle {
    descriptor: RawFd,
    watch: sockeye_local::watch::Watch,
}

macro_rules! sources {
    ($($socket:ty),*) => { $(
        impl Source for $socket {}

        impl Sealed for $socket {
            fn place(&self) -> Place<'_> {
                Place::Outside(Handle { descriptor: std::os::fd::AsRawFd::as_raw_fd(self), watch: self.watch() })
            }
        }
    )* };
}

sources!(LocalDatagram, LocalListener, LocalPacketListener, LocalPackets, LocalStream);

/// A local socket under watch.
#[derive(Debug)]
pub(super) struct Subject {
    watch: sockeye_local::watch::Watch,
    how: Mutex<How>,
}

#[derive(Clone, Copy, Debug)]
struct How {
    key: usize,
    interest: Interest,
    mode: Mode,
    /// A one-shot watch that has been told of waits for `modify`.
    is_spent: bool,
}

impl Subject {
    /// Tells what the socket is ready for now, if it is; true when it is to be looked at again by the next wait.
    pub(super) fn report(&self, watch: &Watch, events: &mut Vec<Event>) -> bool {
        let mut how = lock(&self.how);
        if how.is_spent || watch.is_over.load(Ordering::Relaxed) {
            return false;
        }
        let wanted = how.interest.readiness();
        // Of what is asked for here, and isn't so, the kernel will say when it is.
        let Some(found) = self.watch.look(of_local(wanted)) else { return false };
        let found = of_stack(found);
        let always = if found.contains(HANGUP) { HANGUP.union(Readiness::ERROR) } else { Readiness::ERROR };
        let concerns = wanted.union(always);
        let readiness = found.difference(found.difference(concerns));
        if readiness.is_empty() {
            return false;
        }
        events.push(Event { key: how.key, readiness });
        how.is_spent = how.mode == Mode::Oneshot;
        how.mode == Mode::Level
    }
}

fn of_local(readiness: Readiness) -> Ready {
    let mut ready = Ready::default();
    if readiness.contains(Readiness::READABLE) {
        ready = ready | Ready::READABLE;
    }
    if readiness.contains(Readiness::WRITABLE) {
        ready = ready | Ready::WRITABLE;
    }
    ready
}

fn of_stack(ready: Ready) -> Readiness {
    let names = [
        (Ready::READABLE, Readiness::READABLE),
        (Ready::WRITABLE, Readiness::WRITABLE),
        (Ready::READ_CLOSED, Readiness::READ_CLOSED),
        (Ready::WRITE_CLOSED, Readiness::WRITE_CLOSED),
        (Ready::ERROR, Readiness::ERROR),
    ];
    let found = names.into_iter().filter(|(name, _)| ready.has(*name));
    found.fold(Readiness::EMPTY, |all, (_, readiness)| all.union(readiness))
}

/// What a poller watches by the kernel, once there is something.
#[derive(Debug, Default)]
pub(super) struct Outside(OnceLock<Kernel>);

struct Kernel {
    /// The leader's.
    poll: Mutex<(mio::Poll, mio::Events)>,
    registry: mio::Registry,
    waker: mio::Waker,
    watches: Mutex<Watches>,
}

#[derive(Debug, Default)]
struct Watches {
    by_descriptor: HashMap<RawFd, Arc<Watch>>,
    /// With this many, those that are over are dropped.
    full: usize,
}

const EVERYTHING: At = At::READABLE.add(At::WRITABLE);

fn token(descriptor: RawFd) -> Token {
    Token(descriptor.cast_unsigned() as usize)
}

/// Watches that are kept before those that are over are looked for.
const FEW: usize = 64;

impl Kernel {
    fn new() -> io::Result<Kernel> {
        let poll = mio::Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = mio::Waker::new(&registry, CALL)?;
        let poll = Mutex::new((poll, mio::Events::with_capacity(256)));
        Ok(Kernel { poll, registry, waker, watches: Mutex::default() })
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Kernel").field("watches", &self.watches).finish_non_exhaustive()
    }
}

impl Outside {
    /// Whether anything was watched by the kernel.
    pub(super) fn is_used(&self) -> bool {
        self.0.get().is_some()
    }

    /// Has the leader come back.
    pub(super) fn call_back(&self) {
        if let Some(kernel) = self.0.get() {
            // It fails for no eventfd that has few calls in it.
            let _ = kernel.waker.wake();
        }
    }

    /// Waits until the kernel has something to say, somebody calls back, or the time is over: the sockets to look at.
    pub(super) fn wait(&self, limit: Option<Duration>) -> Vec<Arc<Watch>> {
        let Some(kernel) = self.0.get() else { return Vec::new() };
        let mut poll = lock(&kernel.poll);
        let (poll, events) = &mut *poll;
        if poll.poll(events, limit).is_err() {
            // Interrupted by a signal.
            return Vec::new();
        }
        let watches = lock(&kernel.watches);
        let descriptors = events.iter().filter_map(|event| RawFd::try_from(event.token().0).ok());
        descriptors.filter_map(|descriptor| watches.by_descriptor.get(&descriptor).cloned()).collect()
    }

    fn kernel(&self) -> io::Result<&Kernel> {
        if self.0.get().is_none() {
            let new = Kernel::new()?;
            return Ok(self.0.get_or_init(|| new));
        }
        self.0.get().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Poller {
    pub(super) fn add_outside(
        &self,
        socket: &Handle,
        key: usize,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        let kernel = self.shared.outside.kernel()?;
        let mut watches = lock(&kernel.watches);
        let Watches { by_descriptor, full } = &mut *watches;
        let descriptor = socket.descriptor;
        // Another had the number before, whose descriptor is closed, so that the kernel doesn't know it any more.
        if by_descriptor.get(&descriptor).is_some_and(|watch| !is_gone(watch)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if by_descriptor.len() >= (*full).max(FEW) {
            by_descriptor.retain(|_, watch| !is_gone(watch));
            *full = by_descriptor.len() * 2;
        }
        let how = Mutex::new(How { key, interest, mode, is_spent: false });
        let watch = self.watch(super::Subject::Outside(Subject { watch: socket.watch.clone(), how }));
        kernel.registry.register(&mut SourceFd(&descriptor), token(descriptor), EVERYTHING)?;
        by_descriptor.insert(descriptor, Arc::clone(&watch));
        drop(watches);
        self.look_at(watch);
        Ok(())
    }

    pub(super) fn modify_outside(
        &self,
        socket: &Handle,
        key: usize,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        let watch = self.watches(|by_descriptor| by_descriptor.get(&socket.descriptor).cloned())?;
        if let super::Subject::Outside(Subject { how, .. }) = &watch.subject {
            *lock(how) = How { key, interest, mode, is_spent: false };
        }
        let registry = &self.shared.outside.kernel()?.registry;
        registry.reregister(&mut SourceFd(&socket.descriptor), token(socket.descriptor), EVERYTHING)?;
        self.look_at(watch);
        Ok(())
    }

    /// Has the socket looked at once, whatever the kernel has to say: it says nothing of one whose own bells nobody has
    /// taken, so that it has no room for more.
    fn look_at(&self, watch: Arc<Watch>) {
        let mut queue = self.shared.lock();
        queue.push(watch);
        self.shared.tell(queue);
    }

    pub(super) fn delete_outside(&self, socket: &Handle) -> io::Result<()> {
        let watch = self.watches(|by_descriptor| by_descriptor.remove(&socket.descriptor))?;
        watch.is_over.store(true, Ordering::Relaxed);
        self.shared.outside.kernel()?.registry.deregister(&mut SourceFd(&socket.descriptor))
    }

    /// One of the watches of sockets that are there; fails with `NotFound` if it is none.
    fn watches(
        &self,
        which: impl FnOnce(&mut HashMap<RawFd, Arc<Watch>>) -> Option<Arc<Watch>>,
    ) -> io::Result<Arc<Watch>> {
        let kernel = self.shared.outside.0.get().ok_or(io::ErrorKind::NotFound)?;
        let found = which(&mut lock(&kernel.watches).by_descriptor);
        found.filter(|watch| !is_gone(watch)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Whether the socket is gone that is watched.
fn is_gone(watch: &Watch) -> bool {
    let super::Subject::Outside(subject) = &watch.subject else { return true };
    subject.watch.is_over()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
