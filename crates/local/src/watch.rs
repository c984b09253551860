//! What the poller of the crate `sockeye` needs of these sockets.
//!
//! Hidden: it is between the two crates.

use crate::{LocalDatagram, LocalListener, LocalPacketListener, LocalPackets, LocalStream};
use rustix::event::{PollFd, PollFlags, Timespec};
use std::fmt;
use std::ops::BitOr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Weak;

/// What a socket is ready for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready(u8);

impl Ready {
    /// A read would do something.
    pub const READABLE: Ready = Ready(1);
    /// A write would.
    pub const WRITABLE: Ready = Ready(2);
    /// The peer sends no more, or nothing is read here any more.
    pub const READ_CLOSED: Ready = Ready(4);
    /// Nothing can be sent any more.
    pub const WRITE_CLOSED: Ready = Ready(8);
    /// An error waits to be told.
    pub const ERROR: Ready = Ready(16);

    /// Whether any of those is among it.
    pub fn has(self, some: Ready) -> bool {
        self.0 & some.0 != 0
    }

    /// What of it is among those.
    pub(crate) fn only(self, some: Ready) -> Ready {
        Ready(self.0 & some.0)
    }

    /// This if so, or nothing.
    pub(crate) fn only_if(self, is_so: bool) -> Ready {
        if is_so { self } else { Ready::default() }
    }
}

impl BitOr for Ready {
    type Output = Ready;

    fn bitor(self, other: Ready) -> Ready {
        Ready(self.0 | other.0)
    }
}

/// Looks at a socket.
pub(crate) trait Look: Send + Sync {
    /// What it is ready for. Where that isn't what is wanted, its descriptor has an event once it may be.
    fn look(&self, wanted: Ready) -> Ready;
}

/// A socket that is looked at as long as somebody else has a handle to it.
#[derive(Clone)]
pub struct Watch(Weak<dyn Look>);

impl Watch {
    /// What the socket is ready for, of what is wanted, and whether it has ended; none if it is gone. Where it is ready for
    /// nothing that is wanted, the descriptor has an event once it may be, edge-triggered and for reading and writing.
    pub fn look(&self, wanted: Ready) -> Option<Ready> {
        Some(self.0.upgrade()?.look(wanted))
    }

    /// Whether it is gone.
    pub fn is_over(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Watch").field("is_over", &self.is_over()).finish()
    }
}

/// A socket that can be watched.
pub trait Watched: AsRawFd {
    /// It, for whom to look at.
    fn watch(&self) -> Watch;
}

impl Watched for LocalStream {
    fn watch(&self) -> Watch {
        Watch(self.look())
    }
}

impl Watched for LocalPackets {
    fn watch(&self) -> Watch {
        Watch(self.as_stream().look())
    }
}

impl Watched for LocalDatagram {
    fn watch(&self) -> Watch {
        Watch(self.look())
    }
}

impl Watched for LocalListener {
    fn watch(&self) -> Watch {
        Watch(self.look())
    }
}

impl Watched for LocalPacketListener {
    fn watch(&self) -> Watch {
        Watch(self.as_listener().look())
    }
}

/// What the kernel says of a socket.
pub(crate) fn look_at_socket(socket: BorrowedFd<'_>) -> Ready {
    let wanted = PollFlags::IN | PollFlags::OUT | PollFlags::RDHUP;
    let mut sources = [PollFd::from_borrowed_fd(socket, wanted)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    if rustix::event::poll(&mut sources, Some(&now)).is_err() {
        return Ready::default();
    }
    let found = sources[0].revents();
    let has = |flags| found.intersects(flags);
    Ready::READABLE.only_if(has(PollFlags::IN | PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR))
        | Ready::WRITABLE.only_if(has(PollFlags::OUT | PollFlags::HUP | PollFlags::ERR))
        | Ready::READ_CLOSED.only_if(has(PollFlags::RDHUP | PollFlags::HUP))
        | Ready::WRITE_CLOSED.only_if(has(PollFlags::HUP))
        | Ready::ERROR.only_if(has(PollFlags::ERR))
}
