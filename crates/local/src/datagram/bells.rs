//! The kernel's pair of datagram sockets beside the rings: bells, what is attached to datagrams (see [`crate::inbox`]), and
//! whether the peer is there.

use crate::Ancillary;
use crate::ancillary::{Attached, Wants};
use crate::half::{BROKEN, DEAD, State};
use crate::inbox::{self, Heard, Inbox};
use crate::ring::Mark;
use crate::sync::lock;
use crate::sys::is_heard;
use crate::wait::{BELL, NUDGE, TURN, World, announce};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::thread::futex;
use rustix::time::ClockId;
use std::io;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Mutex, OnceLock, TryLockError};
use std::time::Duration;

/// The socket has left its pair: everything is the kernel's from then on.
pub(super) const MOVED: u32 = 1 << 8;

/// The kernel's side of one end of a pair.
#[derive(Debug)]
pub(super) struct Bells {
    pub(super) socket: UnixDatagram,
    pub(super) state: State,
    /// What came that is attached to datagrams. Held also by who rings, and by who has the socket leave its pair: what comes
    /// and goes there afterwards is nothing of this.
    inbox: Mutex<Inbox>,
    /// Descriptors and credentials are wanted.
    pub(super) wants: Wants,
    /// When it was last looked whether the peer is there, in milliseconds of the coarse clock.
    looked: AtomicU64,
    /// Datagrams were sent to others: what wasn't heard may be theirs.
    pub(super) has_others: AtomicBool,
    /// A thread of this end waits at the socket.
    is_taken: AtomicBool,
    /// How often bells were taken from the socket.
    heard: AtomicU32,
    /// Ends that thread's wait from this process: made once there is such a thread.
    own_bell: OnceLock<OwnedFd>,
}

impl Bells {
    pub(super) fn new(socket: UnixDatagram) -> Bells {
        Bells {
            socket,
            state: State::default(),
            inbox: Mutex::default(),
            wants: Wants::default(),
            looked: AtomicU64::new(0),
            has_others: AtomicBool::new(false),
            is_taken: AtomicBool::new(false),
            heard: AtomicU32::new(0),
            own_bell: OnceLock::new(),
        }
    }

    /// Before this is dropped: a thread that had the lock when this process was forked isn't here, and who knows what it was
    /// about to change.
    pub(super) fn free(&mut self) {
        if matches!(self.inbox.try_lock(), Err(TryLockError::WouldBlock)) {
            mem::forget(mem::take(&mut self.inbox));
        }
    }

    /// Has the socket leave its pair, by this call on the kernel's socket.
    pub(super) fn leave(&self, call: impl FnOnce(&UnixDatagram) -> io::Result<()>) -> io::Result<()> {
        let mut inbox = lock(&self.inbox);
        if !self.state.has(MOVED) {
            // Bells that nobody heard: to the kernel they are what makes the peer be told of a loss.
            self.hear_all(&mut inbox);
            *inbox = Inbox::default();
        }
        let result = call(&self.socket);
        self.state.note(MOVED);
        result
    }

    /// Has this end's own threads look again, after something about it changed.
    pub(super) fn wake_own(&self, word: &AtomicU32) {
        wake_all(word);
        if let Some(bell) = self.own_bell.get() {
            let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
        }
    }

    /// Sees to it that a bell is with the peer. When it is heard, or goes with the peer, the kernel has news of this socket
    /// for whoever waits at it, and the next bell is refused.
    pub(super) fn leave_one(&self) {
        self.looked.store(now(), Ordering::Relaxed);
        if self.has_others.load(Ordering::Relaxed) || is_heard(self.socket.as_fd()) {
            self.ring();
        }
    }

    /// The same, at most once in half a [`TURN`].
    pub(super) fn look(&self) {
        if now().wrapping_sub(self.looked.load(Ordering::Relaxed)) >= TURN.as_millis() as u64 / 2 {
            self.leave_one();
        }
    }

    /// Announces what is attached to a datagram; says whether there was room.
    pub(super) fn announce(&self, mark: Mark, attached: Attached<'_>) -> io::Result<bool> {
        let _inbox = lock(&self.inbox);
        if self.state.has(MOVED) {
            return Ok(false);
        }
        let sent = inbox::send(self.socket.as_fd(), mark, attached);
        if sent.as_ref().is_err_and(is_refused) {
            self.state.note(DEAD);
        }
        sent
    }

    /// How often bells were taken from the socket: they are for both halves.
    #[cfg(feature = "tokio")]
    pub(super) fn heard(&self) -> u32 {
        self.heard.load(Ordering::SeqCst)
    }

    fn own_bell(&self) -> Option<&OwnedFd> {
        if self.own_bell.get().is_none() {
            let made = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
            let _ = self.own_bell.set(made);
        }
        self.own_bell.get()
    }

    fn wait_at_socket(&self, bell: &OwnedFd, limit: Option<Duration>) {
        let mut sources = [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(bell, PollFlags::IN)];
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let _ = rustix::event::poll(&mut sources, limit.as_ref());
        let (at_socket, own) = (sources[0].revents(), sources[1].revents());
        if !own.is_empty() {
            let _ = rustix::io::read(bell, &mut [0; 8]);
        }
        if !at_socket.is_empty() {
            self.drain();
        }
    }

    fn hear_all(&self, inbox: &mut Inbox) {
        // A peer that sends without end keeps nobody here for long.
        for _ in 0..4096 {
            match inbox.hear(self.socket.as_fd(), &self.wants) {
                Heard::Nothing => return,
                Heard::Nonsense => {
                    self.state.note(BROKEN);
                    return;
                }
                Heard::Some | Heard::All => drop(self.heard.fetch_add(1, Ordering::SeqCst)),
                // What else the kernel has to tell is of bells that were lost.
                Heard::End | Heard::Reset => {}
            }
        }
    }
}

/// Has all who sleep on a word look again.
pub(super) fn wake_all(word: &AtomicU32) {
    // Another value, for who is about to sleep.
    word.fetch_add(NUDGE, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    let _ = futex::wake(word, futex::Flags::empty(), i32::MAX as u32);
}

/// Whether the kernel says that there is no peer any more.
fn is_refused(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::CONNREFUSED | Errno::NOTCONN))
}

fn now() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// As who receives sees it: nothing is to be told of a peer that is gone.
impl World for Bells {
    type Attached = Ancillary;

    fn next_mark(&self) -> Option<Mark> {
        let mut inbox = lock(&self.inbox);
        // It was sent before it was counted.
        if inbox.next().is_none() && !self.state.has(MOVED) {
            self.hear_all(&mut inbox);
        }
        inbox.next()
    }

    fn take_mark(&self, mark: Mark, into: Option<&mut Ancillary>) -> bool {
        lock(&self.inbox).take(mark, into)
    }

    fn sleep(&self, word: &AtomicU32, value: u32, limit: Duration) -> bool {
        let limit = Timespec::try_from(limit).ok();
        // Not a private one: the peer's process wakes it.
        futex::wait(word, futex::Flags::empty(), value, limit.as_ref()) == Err(Errno::TIMEDOUT)
    }

    fn wake(&self, word: &AtomicU32) {
        let _ = futex::wake(word, futex::Flags::empty(), i32::MAX as u32);
    }

    /// Notes whether there is no peer any more, which the kernel tells who sends.
    fn ring(&self) {
        let _inbox = lock(&self.inbox);
        if self.state.has(MOVED) {
            return;
        }
        self.looked.store(now(), Ordering::Relaxed);
        let sent = rustix::net::send(&self.socket, &[0], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        if sent.map_err(io::Error::from).as_ref().is_err_and(is_refused) {
            self.state.note(DEAD);
        }
    }

    fn drain(&self) {
        let mut inbox = lock(&self.inbox);
        if !self.state.has(MOVED) {
            self.hear_all(&mut inbox);
        }
    }

    fn listen(&self, limit: Option<Duration>, is_ready: &dyn Fn() -> bool, word: &AtomicU32) -> bool {
        let Some(bell) = self.own_bell() else { return false };
        if self.is_taken.swap(true, Ordering::AcqRel) {
            return false;
        }
        announce(word, BELL);
        if !is_ready() {
            self.wait_at_socket(bell, limit);
        }
        self.is_taken.store(false, Ordering::Release);
        true
    }

    fn glance(&self) {}
}
