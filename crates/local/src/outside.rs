//! What an end needs of the machine besides shared memory: its kernel socket, which brings bells and the peer's end,
//! and the futex.

use crate::Ancillary;
use crate::ancillary::Wants;
use crate::half::{BROKEN, CUT_OFF, DEAD, RUNG, State};
use crate::inbox::{Heard, Inbox};
use crate::ring::Mark;
use crate::sync::lock;
use crate::wait::{BELL, NUDGE, TURN, World, announce};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::thread::futex;
use rustix::time::ClockId;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

/// The kernel's side of one end.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) socket: UnixStream,
    pub(crate) state: State,
    /// What came that is attached to bytes.
    inbox: Mutex<Inbox>,
    /// Descriptors and credentials are wanted.
    pub(crate) wants: Wants,
    /// When it was last looked whether the peer lives, in milliseconds of the coarse clock.
    looked: AtomicU64,
    /// A thread of this end waits at the socket.
    is_taken: AtomicBool,
    /// How often bells were taken from the socket.
    heard: AtomicU32,
    /// Ends that thread's wait from this process: made once there is such a thread.
    own_bell: OnceLock<OwnedFd>,
}

impl Outside {
    pub(crate) fn new(socket: UnixStream) -> Outside {
        Outside {
            socket,
            state: State::default(),
            inbox: Mutex::default(),
            wants: Wants::default(),
            looked: AtomicU64::new(0),
            is_taken: AtomicBool::new(false),
            heard: AtomicU32::new(0),
            own_bell: OnceLock::new(),
        }
    }

    /// Has this end's own threads look again, after something about it changed.
    pub(crate) fn wake_own(&self, word: &AtomicU32) {
        // Another value, for who is about to sleep.
        word.fetch_add(NUDGE, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.wake(word);
        if let Some(bell) = self.own_bell.get() {
            let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
        }
    }

    /// How often bells were taken from the socket: they are for both halves.
    #[cfg(feature = "tokio")]
    pub(crate) fn heard(&self) -> u32 {
        self.heard.load(Ordering::SeqCst)
    }

    fn own_bell(&self) -> Option<&OwnedFd> {
        if self.own_bell.get().is_none() {
            let made = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
            let _ = self.own_bell.set(made);
        }
        self.own_bell.get()
    }

    /// Takes some of what came at the socket, and sees whether the peer is gone; says whether there may be more.
    fn hear(&self, inbox: &mut Inbox) -> bool {
        let heard = inbox.hear(self.socket.as_fd(), &self.wants);
        if let Heard::Some | Heard::All = heard {
            self.heard.fetch_add(1, Ordering::SeqCst);
        }
        match heard {
            Heard::Some => return true,
            Heard::All | Heard::Nothing => {}
            Heard::Reset => {
                self.state.note(DEAD | CUT_OFF);
                return true;
            }
            Heard::End => drop(self.state.note(DEAD)),
            Heard::Nonsense => drop(self.state.note(BROKEN)),
        }
        false
    }

    /// Waits for a byte, the peer's end, or this process's own bell.
    fn wait_at_socket(&self, bell: &OwnedFd, limit: Option<Duration>) {
        let mut sources =
            [PollFd::new(&self.socket, PollFlags::IN | PollFlags::RDHUP), PollFd::new(bell, PollFlags::IN)];
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
}

impl World for Outside {
    type Attached = Ancillary;

    fn next_mark(&self) -> Option<Mark> {
        let mut inbox = lock(&self.inbox);
        // It was sent before it was counted, behind no more bells than the socket holds: a peer that sends without end
        // keeps nobody here.
        for _ in 0..4096 {
            if inbox.next().is_some() || !self.hear(&mut inbox) {
                break;
            }
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

    fn ring(&self) {
        self.state.note(RUNG);
        // Where the socket is full of bells, the peer has some to hear.
        let _ = rustix::net::send(&self.socket, &[0], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }

    fn drain(&self) {
        let mut inbox = lock(&self.inbox);
        // A peer that sends without end keeps nobody here for long.
        for _ in 0..8 {
            if !self.hear(&mut inbox) {
                return;
            }
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

    /// At most once in [`TURN`].
    fn glance(&self) {
        let now = rustix::time::clock_gettime(ClockId::MonotonicCoarse);
        let now = now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000;
        if now.wrapping_sub(self.looked.load(Ordering::Relaxed)) < TURN.as_millis() as u64 / 2 {
            return;
        }
        self.looked.store(now, Ordering::Relaxed);
        let mut sources = [PollFd::new(&self.socket, PollFlags::RDHUP)];
        let result = rustix::event::poll(&mut sources, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        if matches!(result, Ok(1..)) {
            let is_cut = rustix::net::sockopt::socket_error(&self.socket) == Ok(Err(Errno::CONNRESET));
            self.state.note(if is_cut { DEAD | CUT_OFF } else { DEAD });
        }
    }
}
