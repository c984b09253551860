//! Sockets whose owner speaks to the stack itself, as a C program's calls do, and waits for them here.

use crate::Host;
use crate::blocking::park_until;
use crate::driver::check_may_wait;
use crate::poller::Interest;
use crate::sync::Instant as Clock;
use crate::waiters::{Interest as Direction, Waiter};
use sockeye_packet::Instant;
use sockeye_stack::{Readiness, SocketId, Stack};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::{Poll, Waker};
use std::time::Duration;

/// A socket made on the stack itself, for who brings calls of their own, as a library for another language does.
///
/// The calls are made by [`Host::with_stack`], which never wait; [`Host::wait_for`] waits for any number of such
/// sockets. Closed when dropped, or by [`StackSocket::close`] while others still have it.
///
/// ```
/// use sockeye::poller::Interest;
/// use sockeye::stack::{Domain, Owner, RecvFlags, SocketType};
/// use sockeye::{HostConfig, Network};
/// use std::task::Poll;
/// use std::time::Duration;
///
/// let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// let (web, me) = (network.host("web")?, network.host("me")?);
/// let id = web.with_stack(|stack, _| {
///     let id = stack.socket(Domain::Inet, SocketType::Datagram, Owner::default())?;
///     stack.bind(id, std::net::SocketAddr::from(([0, 0, 0, 0], 53)).into())?;
///     Ok::<_, sockeye::stack::Error>(id)
/// });
/// let socket = web.adopt(id.unwrap());
/// let mut receive = || {
///     let limit = Some(Duration::from_millis(200));
///     web.wait_for(&[(&socket, Interest::READABLE)], limit, |stack, now| {
///         stack.recv(now, socket.id(), 100, RecvFlags::default()).map_or(Poll::Pending, Poll::Ready)
///     })
/// };
/// me.udp_bind("me:0")?.send_to(b"where is ftp?", "web:53")?;
/// assert_eq!(receive()?.unwrap().to_vec(), b"where is ftp?");
/// assert!(receive()?.is_none(), "the time is over");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct StackSocket {
    host: Host,
    id: SocketId,
}

impl StackSocket {
    /// The stack's name for it.
    pub fn id(&self) -> SocketId {
        self.id
    }

    /// The host it is on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Closes it now. Whoever waits for it is woken, and finds that the stack doesn't know it any more.
    pub fn close(&self) {
        self.host.shared.core.with(&self.host.core, |state, now, wakers| {
            state.waiters.forget(self.id, wakers);
            // It may be closed already.
            let _ = state.stack.close(now, self.id);
        });
    }

    pub(crate) fn place(&self) -> (&Host, SocketId) {
        (&self.host, self.id)
    }
}

impl Drop for StackSocket {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for StackSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {}", self.id, self.host.name())
    }
}

impl Host {
    /// Takes over a socket that was made by [`Host::with_stack`], or accepted there.
    pub fn adopt(&self, id: SocketId) -> StackSocket {
        self.core.lock().waiters.register(id);
        StackSocket { host: self.clone(), id }
    }

    /// Makes `call` until it is [`Poll::Ready`]. In between the thread sleeps until one of the sockets, all of them
    /// this host's, is ready for what is stated beside it, has an error, or is closed; other threads' calls may come
    /// first, so it may be made for nothing. None when `limit` is over, after one more try; without one there is no
    /// such end.
    ///
    /// `call` is made under the host's lock, as that of [`Host::with_stack`], and has to be ready when a socket that it
    /// would wait for is closed: nobody would tell.
    ///
    /// A network that is turned by hand has to be turned by another thread meanwhile. On the thread of a simulation it
    /// fails with [`Unsupported`](io::ErrorKind::Unsupported) rather than wait.
    pub fn wait_for<R>(
        &self,
        sockets: &[(&StackSocket, Interest)],
        limit: Option<Duration>,
        mut call: impl FnMut(&mut Stack, Instant) -> Poll<R>,
    ) -> io::Result<Option<R>> {
        let refusal = check_may_wait(self.shared.core.simulator()).err();
        let deadline = limit.and_then(|limit| Clock::now().checked_add(limit));
        let mut has_waited = false;
        let polled = park_until(
            Some(self),
            deadline,
            io::ErrorKind::WouldBlock,
            || false,
            |waiter| {
                let waiter = waiter.filter(|_| refusal.is_none());
                let result = self.attempt(sockets, waiter, has_waited, &mut call);
                has_waited = true;
                match (result, &refusal) {
                    (Poll::Pending, Some(refusal)) => {
                        Poll::Ready(Err(io::Error::new(refusal.kind(), refusal.to_string())))
                    }
                    (result, _) => result.map(Ok),
                }
            },
        );
        match polled {
            Ok(result) => Ok(Some(result)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// [`Host::wait_for`] for who waits in a way of their own, for something else as well: makes `call` once, and if that is
    /// pending, `waker` is woken once when it is worth another try. Then, or when it isn't waited for any more
    /// ([`Host::stop_polling`]), the waker is forgotten. Wakers are told apart by [`Waker::will_wake`].
    pub fn poll_for<R>(
        &self,
        sockets: &[(&StackSocket, Interest)],
        waker: &Waker,
        mut call: impl FnMut(&mut Stack, Instant) -> Poll<R>,
    ) -> Poll<R> {
        self.attempt(sockets, Some(Waiter::thread(waker)), true, &mut call)
    }

    /// Forgets a waker that [`Host::poll_for`] was given with these sockets.
    pub fn stop_polling(&self, sockets: &[(&StackSocket, Interest)], waker: &Waker) {
        let leaving = Waiter::thread(waker).leaving();
        let _: Poll<()> = self.attempt(sockets, Some(leaving), true, &mut |_, _| Poll::Pending);
    }

    /// Makes `call`, and has the waiter wait for the sockets if it is pending; else, if it may have waited before, no
    /// longer.
    fn attempt<R>(
        &self,
        sockets: &[(&StackSocket, Interest)],
        waiter: Option<Waiter<'_>>,
        has_waited: bool,
        call: &mut impl FnMut(&mut Stack, Instant) -> Poll<R>,
    ) -> Poll<R> {
        // Wakers may be the last handles to something with sockets: they are dropped without the lock.
        let mut dropped = Vec::new();
        let result = self.shared.core.with(&self.core, |state, now, _| {
            let result = catch_unwind(AssertUnwindSafe(|| call(&mut state.stack, now)));
            let Some(waiter) = waiter else { return result };
            let stays = matches!(result, Ok(Poll::Pending)) && waiter.stays();
            if !stays && !has_waited {
                return result;
            }
            for (socket, interest) in sockets {
                for direction in directions(*interest) {
                    dropped.extend(if stays {
                        state.waiters.wait(socket.id, *direction, waiter)
                    } else {
                        state.waiters.take_back(socket.id, *direction, waiter)
                    });
                }
            }
            result
        });
        drop(dropped);
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }
}

/// Whose events end a wait. Errors and the end of a connection are told to both.
fn directions(interest: Interest) -> &'static [Direction] {
    let wanted = interest.readiness();
    match (
        wanted.contains(Readiness::WRITABLE),
        wanted.intersects(Readiness::READABLE.union(Readiness::PRIORITY)),
    ) {
        (true, true) => &[Direction::Read, Direction::Write],
        (true, false) => &[Direction::Write],
        (false, _) => &[Direction::Read],
    }
}

#[cfg(all(test, not(sockeye_model)))]
mod tests {
    use super::*;
    use crate::{HostConfig, Network};
    use sockeye_stack::{Domain, Error, Owner, RecvFlags, SocketType};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    fn open(host: &Host, port: u16) -> StackSocket {
        let address = std::net::SocketAddr::from((host.ipv4(), port));
        let id = host.with_stack(|stack, _| {
            let id = stack.socket(Domain::Inet, SocketType::Datagram, Owner::default())?;
            stack.bind(id, address.into()).map(|()| id)
        });
        host.adopt(id.unwrap())
    }

    /// Receives from either socket.
    fn receive(sockets: [&StackSocket; 2], limit: Option<Duration>) -> Option<Result<Vec<u8>, Error>> {
        let watched = sockets.map(|socket| (socket, Interest::READABLE | Interest::WRITABLE));
        let received = sockets[0].host().wait_for(&watched, limit, |stack, now| {
            for socket in sockets {
                match stack.recv(now, socket.id(), 100, RecvFlags::default()) {
                    Err(Error::WouldBlock) => {}
                    result => return Poll::Ready(result.map(|payload| payload.to_vec())),
                }
            }
            Poll::Pending
        });
        received.unwrap()
    }

    #[test]
    fn waits_for_several_sockets_and_leaves_no_waker() {
        let network = Network::builder().host("web", HostConfig::default()).build().unwrap();
        let web = network.host("web").unwrap();
        let (first, second) = (open(&web, 1), open(&web, 2));
        assert_eq!(receive([&first, &second], Some(Duration::from_millis(1))), None);
        assert_eq!(web.core.lock().waiters.wakers(), 0, "left by who has waited long enough");
        let sender = web.udp_bind("web:0").unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| receive([&first, &second], None));
            while !waiting.is_finished() {
                if web.core.lock().waiters.wakers() == 4 {
                    sender.send_to(b"x", "web:2").unwrap();
                }
                std::thread::yield_now();
            }
            assert_eq!(waiting.join().unwrap(), Some(Ok(b"x".to_vec())));
        });
        assert_eq!(web.core.lock().waiters.wakers(), 0);
    }

    #[test]
    fn a_close_ends_the_wait_of_others() {
        let network = Network::builder().host("web", HostConfig::default()).build().unwrap();
        let web = network.host("web").unwrap();
        let (first, second) = (open(&web, 1), open(&web, 2));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| receive([&first, &second], None));
            while web.core.lock().waiters.wakers() < 4 {
                std::thread::yield_now();
            }
            second.close();
            assert_eq!(waiting.join().unwrap(), Some(Err(Error::BadSocket)));
        });
        drop(second);
        assert_eq!(web.usage().sockets, 1);
    }

    #[test]
    fn a_waker_is_called_once_and_can_be_taken_back() {
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let network = Network::builder().host("web", HostConfig::default()).build().unwrap();
        let web = network.host("web").unwrap();
        let socket = open(&web, 1);
        let sockets = [(&socket, Interest::READABLE)];
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let poll = || web.poll_for(&sockets, &waker, |_, _| Poll::<()>::Pending);
        let sender = web.udp_bind("web:0").unwrap();
        for woken in [1, 2] {
            assert!(poll().is_pending() && poll().is_pending());
            sender.send_to(b"x", "web:1").unwrap();
            sender.send_to(b"x", "web:1").unwrap();
            assert_eq!(count.0.load(Ordering::SeqCst), woken);
        }
        assert!(poll().is_pending());
        web.stop_polling(&sockets, &waker);
        assert_eq!(web.core.lock().waiters.wakers(), 0);
    }

    #[test]
    fn the_thread_of_a_simulation_does_not_wait_for_itself() {
        let simulation = Network::builder().host("web", HostConfig::default()).simulate().unwrap();
        let socket = open(&simulation.host("web").unwrap(), 1);
        let sockets = [(&socket, Interest::READABLE)];
        let refused = socket.host().wait_for(&sockets, None, |_, _| Poll::<()>::Pending);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::Unsupported);
        assert_eq!(socket.host().wait_for(&sockets, None, |_, _| Poll::Ready(7)).unwrap(), Some(7));
    }
}
