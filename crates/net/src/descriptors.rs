//! How a network's thread sleeps when one of its links has a descriptor of the operating system: in the
//! system's poll, which ends also when somebody wakes it.

use crate::over::RawDescriptor;
use crate::sync::{Mutex, MutexGuard};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use std::fmt;
use std::io;
use std::sync::PoisonError;
use std::time::Duration;

/// The token of the waker; links' tokens are places in the list of links.
const WAKER: Token = Token(usize::MAX);

/// The descriptors of a network's links.
pub(crate) struct Descriptors {
    poll: Mutex<(Poll, Events)>,
    registry: Registry,
    waker: Waker,
    /// Host and interface of each link, by token; none for those that are gone.
    links: Mutex<Vec<Option<(u32, usize, RawDescriptor)>>>,
}

impl fmt::Debug for Descriptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Descriptors")
    }
}

impl Descriptors {
    pub(crate) fn new() -> io::Result<Descriptors> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = Waker::new(&registry, WAKER)?;
        let links = Mutex::new(Vec::new());
        Ok(Descriptors { poll: Mutex::new((poll, Events::with_capacity(64))), registry, waker, links })
    }

    /// Watches the descriptor of a link.
    pub(crate) fn add(&self, fd: RawDescriptor, host: u32, nic: usize) -> io::Result<()> {
        let mut links = self.links();
        let place = links.iter().position(Option::is_none).unwrap_or(links.len());
        let both = Interest::READABLE | Interest::WRITABLE;
        self.registry.register(&mut SourceFd(&fd), Token(place), both)?;
        let len = links.len().max(place + 1);
        links.resize(len, None);
        links[place] = Some((host, nic, fd));
        Ok(())
    }

    /// Forgets the descriptors of a host's links, before they are closed.
    pub(crate) fn remove(&self, host: u32) {
        for link in self.links().iter_mut() {
            if let Some((_, _, fd)) = link.take_if(|(owner, ..)| *owner == host) {
                // What can't be taken out isn't there any more.
                let _ = self.registry.deregister(&mut SourceFd(&fd));
            }
        }
    }

    /// Ends the sleep of the thread.
    pub(crate) fn wake(&self) {
        // It fails only where the thread has so much to wake up for that it does.
        let _ = self.waker.wake();
    }

    /// Sleeps until a descriptor is ready, somebody wakes the thread, or the time is over. Names the links
    /// that are ready.
    pub(crate) fn sleep(&self, timeout: Option<Duration>) -> Vec<(u32, usize)> {
        let mut poll = self.poll.lock().unwrap_or_else(PoisonError::into_inner);
        let (poll, events) = &mut *poll;
        if let Err(error) = poll.poll(events, timeout)
            && error.kind() != io::ErrorKind::Interrupted
        {
            // Nothing is known of the links then, but time goes on.
            crate::sync::thread::park_timeout(timeout.unwrap_or(Duration::MAX).min(Duration::from_millis(1)));
        }
        let links = self.links();
        let ready = events.iter().filter_map(|event| *links.get(event.token().0)?);
        ready.map(|(host, nic, _)| (host, nic)).collect()
    }

    /// All links.
    pub(crate) fn all(&self) -> Vec<(u32, usize)> {
        self.links().iter().flatten().map(|&(host, nic, _)| (host, nic)).collect()
    }

    fn links(&self) -> MutexGuard<'_, Vec<Option<(u32, usize, RawDescriptor)>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
