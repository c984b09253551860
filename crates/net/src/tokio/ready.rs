//! What a socket can be asked to be ready for, and what it is ready for. tokio's own types of these
//! names need its feature `net`, and with it the system's sockets.

use crate::socket::Socket;
use crate::waiters::Interest as Direction;
use sockeye_stack::Readiness;
use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Sub};

const READ: Readiness = Readiness::READABLE.union(Readiness::READ_CLOSED);
const WRITE: Readiness = Readiness::WRITABLE.union(Readiness::WRITE_CLOSED);

/// What to wait for, as `tokio::io::Interest`.
///
/// ```
/// use sockeye::tokio::Interest;
///
/// let both = Interest::READABLE | Interest::WRITABLE;
/// assert!(both.is_readable() && both.is_writable());
/// assert_eq!(both.remove(Interest::WRITABLE), Some(Interest::READABLE));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Interest(Readiness);

impl Interest {
    /// Data, end of file, a connection to accept, or an error.
    pub const READABLE: Interest = Interest(READ);
    /// Room to send, or an error.
    pub const WRITABLE: Interest = Interest(WRITE);
    /// Urgent data.
    pub const PRIORITY: Interest = Interest(Readiness::PRIORITY);
    /// An error.
    pub const ERROR: Interest = Interest(Readiness::ERROR);

    /// Whether it includes reading.
    pub const fn is_readable(self) -> bool {
        self.0.contains(Readiness::READABLE)
    }

    /// Whether it includes writing.
    pub const fn is_writable(self) -> bool {
        self.0.contains(Readiness::WRITABLE)
    }

    /// Whether it includes urgent data.
    pub const fn is_priority(self) -> bool {
        self.0.contains(Readiness::PRIORITY)
    }

    /// Whether it includes errors.
    pub const fn is_error(self) -> bool {
        self.0.contains(Readiness::ERROR)
    }

    /// Both together.
    #[must_use]
    pub const fn add(self, other: Interest) -> Interest {
        Interest(self.0.union(other.0))
    }

    /// What is left of it without `other`; none when that is nothing.
    #[must_use]
    pub fn remove(self, other: Interest) -> Option<Interest> {
        Some(Interest(self.0.difference(other.0))).filter(|left| left.0 != Readiness::EMPTY)
    }

    /// What of a socket's readiness ends a wait in one direction; none when it isn't waited for there. Errors and urgent
    /// data are waited for as readers do.
    pub(super) fn readiness(self, direction: Direction) -> Option<Readiness> {
        let wanted = match direction {
            Direction::Read => self.0.difference(WRITE),
            Direction::Write => self.0.difference(READ.union(Readiness::PRIORITY).union(Readiness::ERROR)),
        };
        (wanted != Readiness::EMPTY).then(|| wanted.union(Readiness::ERROR))
    }

    /// What of it a socket is ready for.
    pub(super) fn ready_now(self, socket: &Socket) -> Ready {
        Ready::new(socket.readiness(), self)
    }
}

impl BitOr for Interest {
    type Output = Interest;

    fn bitor(self, other: Interest) -> Interest {
        self.add(other)
    }
}

impl BitOrAssign for Interest {
    fn bitor_assign(&mut self, other: Interest) {
        *self = self.add(other);
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (self.is_readable(), "READABLE"),
            (self.is_writable(), "WRITABLE"),
            (self.is_priority(), "PRIORITY"),
            (self.is_error(), "ERROR"),
        ];
        let set: Vec<&str> = names.into_iter().filter_map(|(is_set, name)| is_set.then_some(name)).collect();
        f.write_str(&set.join(" | "))
    }
}

/// What a socket is ready for, as `tokio::io::Ready`.
///
/// ```
/// use sockeye::tokio::Ready;
///
/// assert!(Ready::READ_CLOSED.is_readable() && !Ready::READ_CLOSED.is_writable());
/// assert!((Ready::READABLE | Ready::WRITABLE) - Ready::READABLE == Ready::WRITABLE);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ready(Readiness);

impl Ready {
    /// Nothing.
    pub const EMPTY: Ready = Ready(Readiness::EMPTY);
    /// A read returns at once: data, or an error.
    pub const READABLE: Ready = Ready(Readiness::READABLE);
    /// A write returns at once: room, or an error.
    pub const WRITABLE: Ready = Ready(Readiness::WRITABLE);
    /// Nothing more will come.
    pub const READ_CLOSED: Ready = Ready(Readiness::READ_CLOSED);
    /// Nothing can be sent any more.
    pub const WRITE_CLOSED: Ready = Ready(Readiness::WRITE_CLOSED);
    /// Urgent data.
    pub const PRIORITY: Ready = Ready(Readiness::PRIORITY);
    /// An error waits.
    pub const ERROR: Ready = Ready(Readiness::ERROR);
    /// All of these.
    pub const ALL: Ready = Ready(READ.union(WRITE).union(Readiness::PRIORITY).union(Readiness::ERROR));

    /// What of `interest` there is. An error makes the next read or write return at once, so it counts as readiness
    /// for what was asked.
    pub(super) fn new(readiness: Readiness, interest: Interest) -> Ready {
        let mut ready = readiness;
        if readiness.contains(Readiness::ERROR) {
            ready = ready.union(Readiness::READABLE).union(Readiness::WRITABLE);
        }
        Ready(ready) & Ready(interest.0)
    }

    /// Whether it is nothing.
    pub fn is_empty(self) -> bool {
        self == Ready::EMPTY
    }

    /// Whether it includes reading, or its end.
    pub const fn is_readable(self) -> bool {
        self.0.intersects(READ)
    }

    /// Whether it includes writing, or its end.
    pub const fn is_writable(self) -> bool {
        self.0.intersects(WRITE)
    }

    /// Whether it includes the end of reading.
    pub const fn is_read_closed(self) -> bool {
        self.0.contains(Readiness::READ_CLOSED)
    }

    /// Whether it includes the end of writing.
    pub const fn is_write_closed(self) -> bool {
        self.0.contains(Readiness::WRITE_CLOSED)
    }

    /// Whether it includes urgent data.
    pub const fn is_priority(self) -> bool {
        self.0.contains(Readiness::PRIORITY)
    }

    /// Whether it includes an error.
    pub const fn is_error(self) -> bool {
        self.0.contains(Readiness::ERROR)
    }
}

impl BitOr for Ready {
    type Output = Ready;

    fn bitor(self, other: Ready) -> Ready {
        Ready(self.0.union(other.0))
    }
}

impl BitOrAssign for Ready {
    fn bitor_assign(&mut self, other: Ready) {
        *self = *self | other;
    }
}

impl BitAnd for Ready {
    type Output = Ready;

    fn bitand(self, other: Ready) -> Ready {
        Ready(self.0.difference(Ready::ALL.0.difference(other.0)))
    }
}

impl Sub for Ready {
    type Output = Ready;

    fn sub(self, other: Ready) -> Ready {
        Ready(self.0.difference(other.0))
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
