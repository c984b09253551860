//! The kernel's pair of datagram sockets beside the rings: bells, what is attached to datagrams (see [`crate::inbox`]), and
//! whether the peer is there.

use crate::Ancillary;
use crate::ancillary::{Attached, Wants};
use crate::half::{BROKEN, DEAD, State};
use crate::inbox::{self, Heard, Inbox};
use crate::listening::{self, Listening, milliseconds};
use crate::ring::Mark;
use crate::sync::lock;
use crate::sys::is_heard;
use crate::wait::{TURN, World};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::SendFlags;
use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, TryLockError};
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
    /// How often bells were taken from the socket.
    heard: AtomicU32,
    listening: Listening,
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
            heard: AtomicU32::new(0),
            listening: Listening::default(),
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
        listening::rouse(word);
        self.listening.call_back();
    }

    /// Sees to it that a bell is with the peer. When it is heard, or goes with the peer, the kernel has news of this socket
    /// for whoever waits at it, and the next bell is refused.
    pub(super) fn leave_one(&self) {
        self.looked.store(milliseconds(), Ordering::Relaxed);
        if self.has_others.load(Ordering::Relaxed) || is_heard(self.socket.as_fd()) {
            self.ring();
        }
    }

    /// The same, at most once in half a [`TURN`].
    pub(super) fn look(&self) {
        if milliseconds().wrapping_sub(self.looked.load(Ordering::Relaxed)) >= TURN.as_millis() as u64 / 2 {
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

/// Whether the kernel says that there is no peer any more.
fn is_refused(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::CONNREFUSED | Errno::NOTCONN))
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
        listening::sleep(word, value, limit)
    }

    fn wake(&self, word: &AtomicU32) {
        listening::wake(word);
    }

    /// Notes whether there is no peer any more, which the kernel tells who sends.
    fn ring(&self) {
        let _inbox = lock(&self.inbox);
        if self.state.has(MOVED) {
            return;
        }
        self.looked.store(milliseconds(), Ordering::Relaxed);
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
        let place = (self.socket.as_fd(), PollFlags::IN);
        self.listening.listen(place, limit, is_ready, word, || self.drain())
    }

    fn glance(&self) {}
}
