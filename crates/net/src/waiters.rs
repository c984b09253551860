//! Who waits for which socket: the one waiting mechanism, under async tasks and parked threads alike.
//!
//! A waiter stores its waker in the same critical section in which the stack answered
//! [`WouldBlock`](sockeye_stack::Error::WouldBlock), so no event can pass between the two. Wakers are
//! collected under the host's lock and called without it.

use crate::poller::Watched;
use sockeye_stack::{Readiness, SocketId};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

/// What a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Data, end of file, a connection to accept, or an error.
    Read,
    /// Room, an opened connection, or an error.
    Write,
}

impl Interest {
    /// The readiness that ends the wait.
    const fn wakes_on(self) -> Readiness {
        match self {
            Interest::Read => Readiness::READABLE.union(Readiness::READ_CLOSED).union(Readiness::ERROR),
            Interest::Write => Readiness::WRITABLE.union(Readiness::WRITE_CLOSED).union(Readiness::ERROR),
        }
    }
}

/// The sockets of one host that have a handle, and who waits for them. Guarded by the host's lock.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    sockets: HashMap<SocketId, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    readers: Vec<Waker>,
    writers: Vec<Waker>,
    send_space: Arc<AtomicUsize>,
    watches: Vec<Watched>,
}

impl Waiters {
    /// Whether no socket has a handle.
    pub(crate) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Takes a socket in; what is returned holds the latest published size of its free send buffer.
    pub(crate) fn register(&mut self, id: SocketId) -> Arc<AtomicUsize> {
        let send_space = Arc::new(AtomicUsize::new(0));
        let waiting = Waiting {
            readers: Vec::new(),
            writers: Vec::new(),
            send_space: Arc::clone(&send_space),
            watches: Vec::new(),
        };
        self.sockets.insert(id, waiting);
        send_space
    }

    /// Forgets a socket; whoever waited for it is to be woken.
    pub(crate) fn forget(&mut self, id: SocketId, wakers: &mut Vec<Waker>) {
        if let Some(Waiting { readers, writers, send_space: _, watches: _ }) = self.sockets.remove(&id) {
            wakers.extend(readers);
            wakers.extend(writers);
        }
    }

    /// Moves all who wait to `wakers`, in the order of their sockets.
    pub(crate) fn wake_all(&mut self, wakers: &mut Vec<Waker>) {
        let mut sockets: Vec<_> = self.sockets.iter_mut().collect();
        sockets.sort_unstable_by_key(|(id, _)| id.as_u64());
        for (_, Waiting { readers, writers, send_space: _, watches }) in sockets {
            wakers.append(readers);
            wakers.append(writers);
            wakers.extend(watches.iter().filter_map(|watched| watched.on_event(Watched::GONE)));
        }
    }

    /// Stores whom to wake when the socket gains what `interest` says.
    pub(crate) fn wait(&mut self, id: SocketId, interest: Interest, waker: &Waker) {
        let Some(waiting) = self.sockets.get_mut(&id) else { return };
        let list = match interest {
            Interest::Read => &mut waiting.readers,
            Interest::Write => &mut waiting.writers,
        };
        if !list.iter().any(|known| known.will_wake(waker)) {
            list.push(waker.clone());
        }
    }

    /// Moves those whom an event of the socket concerns to `wakers`. False when the socket has no handle.
    pub(crate) fn on_event(
        &mut self,
        id: SocketId,
        readiness: Readiness,
        send_space: usize,
        wakers: &mut Vec<Waker>,
    ) -> bool {
        let Some(waiting) = self.sockets.get_mut(&id) else { return false };
        waiting.send_space.store(send_space, Ordering::Relaxed);
        for (interest, list) in
            [(Interest::Read, &mut waiting.readers), (Interest::Write, &mut waiting.writers)]
        {
            if readiness.intersects(interest.wakes_on()) {
                wakers.append(list);
            }
        }
        wakers.extend(waiting.watches.iter().filter_map(|watched| watched.on_event(readiness)));
        true
    }

    /// Who watches a socket; none when it has no handle.
    pub(crate) fn watches(&mut self, id: SocketId) -> Option<&mut Vec<Watched>> {
        Some(&mut self.sockets.get_mut(&id)?.watches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn events_wake_whom_they_concern_once() {
        let (id, other) = (SocketId::from_u64(1), SocketId::from_u64(2));
        let (mut waiters, mut woken) = (Waiters::default(), Vec::new());
        let space = waiters.register(id);
        let reader = Waker::from(Arc::new(Count::default()));
        let writer = Waker::from(Arc::new(Count::default()));
        waiters.wait(id, Interest::Read, &reader);
        waiters.wait(id, Interest::Read, &reader);
        waiters.wait(id, Interest::Write, &writer);
        assert!(!waiters.on_event(other, Readiness::READABLE, 0, &mut woken));
        assert!(waiters.on_event(id, Readiness::READABLE, 7, &mut woken));
        assert_eq!(space.load(Ordering::Relaxed), 7);
        assert!(woken.len() == 1 && woken[0].will_wake(&reader));
        assert!(waiters.on_event(id, Readiness::READABLE, 7, &mut woken));
        assert_eq!(woken.len(), 1, "a waker is stored for one event");
        waiters.on_event(id, Readiness::ERROR, 0, &mut woken);
        assert!(woken.len() == 2 && woken[1].will_wake(&writer), "an error concerns all");
    }

    #[test]
    fn a_forgotten_socket_wakes_its_waiters() {
        let id = SocketId::from_u64(1);
        let (mut waiters, mut woken) = (Waiters::default(), Vec::new());
        waiters.register(id);
        waiters.wait(id, Interest::Write, Waker::noop());
        waiters.forget(id, &mut woken);
        assert_eq!(woken.len(), 1);
        assert!(waiters.is_empty());
        waiters.wait(id, Interest::Write, Waker::noop());
        waiters.forget(id, &mut woken);
        assert_eq!(woken.len(), 1);
    }
}
