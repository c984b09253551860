//! What all ends wait by: the futex, and one thread of an end at its kernel socket, whom its own process can call back.

use crate::wait::{BELL, NUDGE, announce};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::thread::futex;
use rustix::time::ClockId;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::time::Duration;

/// The place at an end's kernel socket, for one thread.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    is_taken: AtomicBool,
    /// Ends that thread's wait from this process: made once there is such a thread.
    own_bell: OnceLock<OwnedFd>,
}

impl Listening {
    /// Waits for these events at the socket, or to be called back, unless it `is_ready`; then `drain`s what came. Says
    /// whether it did, and no other thread has the place.
    pub(crate) fn listen(
        &self,
        (socket, events): (BorrowedFd<'_>, PollFlags),
        limit: Option<Duration>,
        is_ready: &dyn Fn() -> bool,
        word: &AtomicU32,
        drain: impl FnOnce(),
    ) -> bool {
        let Some(bell) = self.own_bell() else { return false };
        if self.is_taken.swap(true, Ordering::AcqRel) {
            return false;
        }
        announce(word, BELL);
        if !is_ready() && wait(socket, events, bell, limit) {
            drain();
        }
        self.is_taken.store(false, Ordering::Release);
        true
    }

    /// Has the thread that waits look again.
    pub(crate) fn call_back(&self) {
        if let Some(bell) = self.own_bell.get() {
            let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
        }
    }

    fn own_bell(&self) -> Option<&OwnedFd> {
        if self.own_bell.get().is_none() {
            let made = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
            let _ = self.own_bell.set(made);
        }
        self.own_bell.get()
    }
}

/// Says whether something is at the socket.
fn wait(socket: BorrowedFd<'_>, events: PollFlags, bell: &OwnedFd, limit: Option<Duration>) -> bool {
    let mut sources = [PollFd::from_borrowed_fd(socket, events), PollFd::new(bell, PollFlags::IN)];
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    let _ = rustix::event::poll(&mut sources, limit.as_ref());
    let (at_socket, own) = (sources[0].revents(), sources[1].revents());
    if !own.is_empty() {
        let _ = rustix::io::read(bell, &mut [0; 8]);
    }
    !at_socket.is_empty()
}

/// Sleeps while the word has this value, at most so long; says whether the time ran out.
pub(crate) fn sleep(word: &AtomicU32, value: u32, limit: Duration) -> bool {
    let limit = Timespec::try_from(limit).ok();
    // Not a private one: the peer's process wakes it.
    futex::wait(word, futex::Flags::empty(), value, limit.as_ref()) == Err(Errno::TIMEDOUT)
}

/// Ends the sleep of all who sleep on the word.
pub(crate) fn wake(word: &AtomicU32) {
    let _ = futex::wake(word, futex::Flags::empty(), i32::MAX as u32);
}

/// Has all who sleep on the word, or are about to, look again.
pub(crate) fn rouse(word: &AtomicU32) {
    // Another value, for who is about to sleep.
    word.fetch_add(NUDGE, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    wake(word);
}

/// The coarse clock, in milliseconds.
pub(crate) fn milliseconds() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}
