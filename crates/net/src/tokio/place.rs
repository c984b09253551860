//! How a future waits for a socket, and what it leaves when it is dropped: nothing.

use super::{Interest, Ready};
use crate::socket::Socket;
use crate::waiters::{Interest as Direction, Waiter};
use std::future::poll_fn;
use std::io;
use std::ptr;
use std::task::{Poll, Waker};

/// A future's place among those who wait for one direction of a socket. Its address, which is pinned with the future, is what it
/// is known by.
#[derive(Debug)]
struct Place<'a> {
    socket: &'a Socket,
    direction: Direction,
    is_stored: bool,
}

impl<'a> Place<'a> {
    fn new(socket: &'a Socket, direction: Direction) -> Place<'a> {
        Place { socket, direction, is_stored: false }
    }

    fn waiter<'w>(&self, waker: &'w Waker) -> Waiter<'w> {
        Waiter::place(waker, ptr::from_ref(self).addr(), self.is_stored)
    }

    /// Polls as the future that this place belongs to.
    fn poll<R>(&mut self, waker: &Waker, poll: impl FnOnce(Option<Waiter<'_>>) -> Poll<R>) -> Poll<R> {
        let result = poll(Some(self.waiter(waker)));
        self.is_stored = result.is_pending();
        result
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.is_stored {
            self.socket.stop_waiting(self.direction, self.waiter(Waker::noop()));
        }
    }
}

/// Polls until there is a result.
pub(super) async fn wait<R>(
    socket: &Socket,
    direction: Direction,
    mut poll: impl FnMut(Option<Waiter<'_>>) -> Poll<io::Result<R>>,
) -> io::Result<R> {
    let mut place = Place::new(socket, direction);
    poll_fn(|context| place.poll(context.waker(), &mut poll)).await
}

/// Waits until a socket is ready for something of `interest`.
pub(super) async fn ready(socket: &Socket, interest: Interest) -> io::Result<Ready> {
    let mut places = [Direction::Read, Direction::Write].map(|direction| Place::new(socket, direction));
    poll_fn(|context| {
        for place in &mut places {
            let Some(wanted) = interest.readiness(place.direction) else { continue };
            let direction = place.direction;
            if let Poll::Ready(ready) =
                place.poll(context.waker(), |waiter| socket.poll_ready(waiter, direction, wanted))
            {
                return Poll::Ready(ready.map(|ready| Ready::new(ready, interest)));
            }
        }
        Poll::Pending
    })
    .await
}

/// Polls one direction for the task that polls it.
pub(super) fn poll_ready(
    socket: &Socket,
    waker: &Waker,
    interest: Interest,
    direction: Direction,
) -> Poll<io::Result<()>> {
    let wanted = interest.readiness(direction).unwrap_or_default();
    socket.poll_ready(Some(Waiter::latest(waker)), direction, wanted).map_ok(|_| ())
}

/// Makes a call that doesn't wait.
pub(super) fn now<R>(poll: Poll<io::Result<R>>) -> io::Result<R> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Calls `call` if the socket is ready for something of `interest`.
pub(super) fn try_io<R>(
    socket: &Socket,
    interest: Interest,
    call: impl FnOnce() -> io::Result<R>,
) -> io::Result<R> {
    if interest.ready_now(socket).is_empty() {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    call()
}

/// Calls `call` when the socket is ready for something of `interest`, until that doesn't fail with
/// [`io::ErrorKind::WouldBlock`].
pub(super) async fn async_io<R>(
    socket: &Socket,
    interest: Interest,
    mut call: impl FnMut() -> io::Result<R>,
) -> io::Result<R> {
    loop {
        ready(socket, interest).await?;
        match call() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
        // Another task may have been first; or the call sees it differently than the socket, and others are
        // let run before it is asked again.
        let mut has_yielded = false;
        poll_fn(|context| {
            if std::mem::replace(&mut has_yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}
