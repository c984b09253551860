//! Waiting in tokio's runtime, for whatever socket.

use crate::end::Half;
use crate::sync::lock;
use crate::sys::{Steady, watch};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};

/// A connection for threads that tasks can wait for. Its calls are non-blocking.
pub(super) trait Connection: Steady {
    fn set_nonblocking(&self) -> io::Result<()>;
    fn may_have_bells(&self) -> bool;
    /// How often a call has taken bells, which may have been for a call of the other half.
    fn heard(&self) -> u32;
    fn is_ready(&self, half: Half) -> io::Result<bool>;
}

impl Connection for crate::LocalStream {
    fn set_nonblocking(&self) -> io::Result<()> {
        self.set_nonblocking(true)
    }

    fn may_have_bells(&self) -> bool {
        self.may_have_bells()
    }

    fn heard(&self) -> u32 {
        self.heard()
    }

    fn is_ready(&self, half: Half) -> io::Result<bool> {
        self.is_ready(half)
    }
}

impl Connection for crate::LocalPackets {
    fn set_nonblocking(&self) -> io::Result<()> {
        self.set_nonblocking(true)
    }

    fn may_have_bells(&self) -> bool {
        self.is_shared_memory()
    }

    fn heard(&self) -> u32 {
        self.as_stream().heard()
    }

    fn is_ready(&self, half: Half) -> io::Result<bool> {
        self.as_stream().is_ready(half)
    }
}

impl Connection for crate::LocalDatagram {
    fn set_nonblocking(&self) -> io::Result<()> {
        self.set_nonblocking(true)
    }

    fn may_have_bells(&self) -> bool {
        self.is_shared_memory()
    }

    fn heard(&self) -> u32 {
        self.heard()
    }

    fn is_ready(&self, half: Half) -> io::Result<bool> {
        self.is_ready(half)
    }
}

/// A connection, and who waits for it.
///
/// A call that would block takes the bells that came, also those for the other half, of which the runtime then sees
/// no event. So whoever has taken some wakes the tasks of the other half.
#[derive(Debug)]
pub(super) struct Socket<T: Connection> {
    descriptor: AsyncFd<T>,
    waiting: [Mutex<Waiting>; 2],
}

/// Who waits for one half.
#[derive(Debug, Default)]
struct Waiting {
    /// How often the other half has taken bells.
    robbed: u32,
    /// Tasks that are woken by the next time.
    wakers: Vec<(u64, Waker)>,
    next: u64,
}

/// The one of those that wait by tokio's traits.
const POLLING: u64 = u64::MAX;

impl Waiting {
    fn leave(&mut self, number: u64, waker: &Waker) {
        match self.wakers.iter_mut().find(|(other, _)| *other == number) {
            Some((_, left)) => left.clone_from(waker),
            None => self.wakers.push((number, waker.clone())),
        }
    }
}

impl<T: Connection> Socket<T> {
    pub(super) fn new(connection: T) -> io::Result<Socket<T>> {
        connection.set_nonblocking()?;
        Ok(Socket { descriptor: watch(connection)?, waiting: Default::default() })
    }

    pub(super) fn get_ref(&self) -> &T {
        self.descriptor.get_ref()
    }

    pub(super) fn into_inner(self) -> T {
        self.descriptor.into_inner()
    }

    /// Calls once.
    pub(super) fn try_call<R>(&self, half: Half, call: impl FnOnce(&T) -> io::Result<R>) -> io::Result<R> {
        let connection = self.get_ref();
        let heard = connection.heard();
        let result = call(connection);
        // Only a byte that came has the halves wake each other, so that they don't go on with it.
        if connection.heard() != heard {
            let mut other = lock(&self.waiting[1 - half as usize]);
            other.robbed = other.robbed.wrapping_add(1);
            let wakers = std::mem::take(&mut other.wakers);
            drop(other);
            for (_, waker) in wakers {
                waker.wake();
            }
        }
        result
    }

    /// Calls once the kernel's socket has room to write; none if it would block still.
    pub(super) async fn write_once<R>(
        &self,
        call: impl FnOnce(&T) -> io::Result<R>,
    ) -> io::Result<Option<R>> {
        let mut guard = self.descriptor.writable().await?;
        guard.try_io(|connection| call(connection.get_ref())).map_or(Ok(None), |result| result.map(Some))
    }

    fn robbed(&self, half: Half) -> u32 {
        lock(&self.waiting[half as usize]).robbed
    }

    /// Calls until it doesn't fail with `WouldBlock`: first, so that the connection knows that somebody waits.
    pub(super) async fn call<R>(
        &self,
        half: Half,
        mut call: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        loop {
            let robbed = self.robbed(half);
            match self.try_call(half, &mut call) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.event(half, robbed).await?,
                result => return result,
            }
        }
    }

    /// Waits until something has happened at the descriptor, or the other half has taken bells since it had so often.
    async fn event(&self, half: Half, robbed: u32) -> io::Result<()> {
        let mut event = pin!(async {
            // Every event is one of both kinds: a kernel socket that has a byte to read has room to write.
            match half {
                Half::Reads => self.descriptor.readable().await?.clear_ready(),
                Half::Writes => self.descriptor.writable().await?.clear_ready(),
            }
            Ok(())
        });
        if !self.get_ref().may_have_bells() {
            return event.await;
        }
        let mut place = Place { waiting: &self.waiting[half as usize], number: None };
        poll_fn(|context| {
            if place.is_robbed(robbed, context.waker()) {
                Poll::Ready(Ok(()))
            } else {
                event.as_mut().poll(context)
            }
        })
        .await
    }

    /// As [`Socket::call`], for one task of each half.
    pub(super) fn poll_call<R>(
        &self,
        context: &mut Context<'_>,
        half: Half,
        mut call: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            let robbed = self.robbed(half);
            match self.try_call(half, &mut call) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
            if self.get_ref().may_have_bells() {
                let mut waiting = lock(&self.waiting[half as usize]);
                if waiting.robbed != robbed {
                    continue;
                }
                waiting.leave(POLLING, context.waker());
            }
            match half {
                Half::Reads => ready!(self.descriptor.poll_read_ready(context))?.clear_ready(),
                Half::Writes => ready!(self.descriptor.poll_write_ready(context))?.clear_ready(),
            }
        }
    }

    /// Waits until a call of this half is worth a try.
    pub(super) async fn ready_half(&self, half: Half) -> io::Result<()> {
        self.call(half, |connection| would_block_unless(connection.is_ready(half)?)).await
    }

    pub(super) fn poll_ready_half(&self, context: &mut Context<'_>, half: Half) -> Poll<io::Result<()>> {
        self.poll_call(context, half, |connection| would_block_unless(connection.is_ready(half)?))
    }

    /// Waits until one of the halves is worth a try, and says which.
    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        let mut reads = pin!(self.ready_half(Half::Reads));
        let mut writes = pin!(self.ready_half(Half::Writes));
        poll_fn(|context| {
            let mut ready = Ready::EMPTY;
            if interest.is_readable() && reads.as_mut().poll(context)?.is_ready() {
                ready |= Ready::READABLE;
            }
            if interest.is_writable() && writes.as_mut().poll(context)?.is_ready() {
                ready |= Ready::WRITABLE;
            }
            if ready.is_empty() { Poll::Pending } else { Poll::Ready(Ok(ready)) }
        })
        .await
    }
}

fn would_block_unless(is_ready: bool) -> io::Result<()> {
    if is_ready { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) }
}

/// A task's place among those that wait, left when it waits no longer.
struct Place<'a> {
    waiting: &'a Mutex<Waiting>,
    number: Option<u64>,
}

impl Place<'_> {
    /// Whether bells were taken since; leaves the waker otherwise.
    fn is_robbed(&mut self, robbed: u32, waker: &Waker) -> bool {
        let mut waiting = lock(self.waiting);
        if waiting.robbed != robbed {
            return true;
        }
        let number = *self.number.get_or_insert_with(|| {
            waiting.next += 1;
            waiting.next
        });
        waiting.leave(number, waker);
        false
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            lock(self.waiting).wakers.retain(|(other, _)| *other != number);
        }
    }
}
