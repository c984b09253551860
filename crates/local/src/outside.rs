//! What an end needs of the machine besides shared memory: its kernel socket, which brings bells and the peer's end,
//! and the futex.

use crate::Ancillary;
use crate::ancillary::Wants;
use crate::half::{BROKEN, CUT_OFF, DEAD, RUNG, State};
use crate::inbox::{Heard, Inbox};
use crate::listening::{self, Listening, milliseconds};
use crate::ring::Mark;
use crate::sync::lock;
use crate::wait::{SocketRoom, TURN, World};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::SendFlags;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A kernel socket, and what its user wants to come with bytes.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) socket: UnixStream,
    pub(crate) wants: Wants,
}

impl Kernel {
    pub(crate) fn new(socket: UnixStream) -> Kernel {
        Kernel { socket, wants: Wants::default() }
    }
}

/// The kernel's side of one end.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) state: State,
    /// Bytes of the stream itself still come at the socket, and belong to its reader, see [`crate::young`].
    has_bytes: AtomicBool,
    /// What came that is attached to bytes.
    inbox: Mutex<Inbox>,
    /// When it was last looked whether the peer lives, in milliseconds of the coarse clock.
    looked: AtomicU64,
    /// How often bells were taken from the socket.
    heard: AtomicU32,
    listening: Listening,
}

impl Outside {
    pub(crate) fn new(kernel: Arc<Kernel>) -> Outside {
        Outside {
            kernel,
            has_bytes: AtomicBool::new(false),
            state: State::default(),
            inbox: Mutex::default(),
            looked: AtomicU64::new(0),
            heard: AtomicU32::new(0),
            listening: Listening::default(),
        }
    }

    /// Has this end's own threads look again, after something about it changed.
    pub(crate) fn wake_own(&self, word: &AtomicU32) {
        listening::rouse(word);
        self.listening.call_back();
    }

    /// How often bells were taken from the socket: they are for both halves.
    #[cfg(feature = "tokio")]
    pub(crate) fn heard(&self) -> u32 {
        self.heard.load(Ordering::SeqCst)
    }

    /// Takes some of what came at the socket, and sees whether the peer is gone; says whether there may be more.
    fn hear(&self, inbox: &mut Inbox) -> bool {
        if self.has_bytes.load(Ordering::Acquire) {
            return false;
        }
        let heard = inbox.hear(self.kernel.socket.as_fd(), &self.kernel.wants);
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
}

impl Outside {
    /// Before the first byte comes by the ring.
    pub(crate) fn expect_bytes(&self, has_bytes: bool) {
        self.has_bytes.store(has_bytes, Ordering::Release);
    }

    /// Takes bells and packets that the stream's reader has found behind its last bytes.
    pub(crate) fn take_late(&self, bytes: &[u8], attached: Ancillary) {
        if lock(&self.inbox).sort(bytes, attached).is_none() {
            self.state.note(BROKEN);
        }
        self.note_heard();
    }

    /// Notes that something was taken from the socket that may be for the other half.
    pub(crate) fn note_heard(&self) {
        self.heard.fetch_add(1, Ordering::SeqCst);
    }

    /// Sees whether the peer is gone. While bytes come at the socket one of its halves may be shut there.
    pub(crate) fn look_for_peer(&self) {
        let has_bytes = self.has_bytes.load(Ordering::Acquire);
        let over = if has_bytes { PollFlags::empty() } else { PollFlags::RDHUP };
        let mut sources = [PollFd::new(&self.kernel.socket, over)];
        let result = rustix::event::poll(&mut sources, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        if matches!(result, Ok(1..)) {
            let is_cut = rustix::net::sockopt::socket_error(&self.kernel.socket) == Ok(Err(Errno::CONNRESET));
            self.state.note(if is_cut { DEAD | CUT_OFF } else { DEAD });
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
        listening::sleep(word, value, limit)
    }

    fn wake(&self, word: &AtomicU32) {
        listening::wake(word);
    }

    fn ring(&self) {
        self.state.note(RUNG);
        // Where the socket is full of bells, the peer has some to hear.
        let _ = rustix::net::send(&self.kernel.socket, &[0], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
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
        if self.has_bytes.load(Ordering::Acquire) {
            return false;
        }
        let place = (self.kernel.socket.as_fd(), PollFlags::IN | PollFlags::RDHUP);
        self.listening.listen(place, limit, is_ready, word, || self.drain())
    }

    /// At most once in [`TURN`].
    fn glance(&self) {
        let now = milliseconds();
        if now.wrapping_sub(self.looked.load(Ordering::Relaxed)) < TURN.as_millis() as u64 / 2 {
            return;
        }
        self.looked.store(now, Ordering::Relaxed);
        self.look_for_peer();
    }
}

impl SocketRoom for Outside {
    fn await_socket_room(&self, within: Duration) -> bool {
        let limit = Timespec::try_from(within).ok();
        let mut sources = [PollFd::new(&self.kernel.socket, PollFlags::OUT)];
        matches!(rustix::event::poll(&mut sources, limit.as_ref()), Ok(1..))
    }
}
