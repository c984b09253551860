//! What a stack tells its owner: which sockets changed, what they are ready for, when to call again.

use crate::{FlowId, SocketId};
use core::fmt;
use core::ops::{BitAnd, BitOr, BitOrAssign};
use sockeye_packet::Instant;

/// Something happened that the owner may have waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The socket's [readiness](crate::Stack::readiness) gained something.
    Ready(SocketId),
    /// Somebody opens a flow to an address that is not the host's: it waits for
    /// [`answer`](crate::Stack::answer).
    Incoming(FlowId),
    /// An accepted flow has a socket from now on.
    Opened(FlowId, SocketId),
    /// A flow is over before it had a socket: its client gave up, or it was not answered in time.
    Lost(FlowId),
    /// Echo requests to addresses that are not the host's wait in [`poll_echo`](crate::Stack::poll_echo).
    Echo,
}

/// When a stack wants [`handle_timeout`](crate::Stack::handle_timeout), and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    /// The moment; in the past or [`Instant::ZERO`] means now.
    pub at: Instant,
    /// What is due then.
    pub reason: WakeReason,
}

/// What a stack waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WakeReason {
    /// Packets of the host to itself are still queued: call again at once.
    Loopback,
    /// A timer of a TCP connection.
    Connection,
    /// A SYN-ACK to repeat or a half-open connection to drop.
    HalfOpen,
    /// A TIME-WAIT record to drop.
    TimeWait,
    /// An incomplete set of fragments to drop.
    Reassembly,
    /// A flow that nobody answered.
    Flow,
    /// A report of the groups that the host is in.
    Groups,
}

/// What a socket is ready for, as poll(2) would report it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Readiness(u8);

impl Readiness {
    /// Nothing.
    pub const EMPTY: Readiness = Readiness(0);
    /// A read returns at once: data, end of file, or an error (POLLIN).
    pub const READABLE: Readiness = Readiness(1);
    /// A connection can be accepted (POLLIN on a listener).
    pub const ACCEPT: Readiness = Readiness::READABLE;
    /// A write returns at once: room, or an error (POLLOUT).
    pub const WRITABLE: Readiness = Readiness(2);
    /// The peer sends no more, or reading is shut down (POLLRDHUP).
    pub const READ_CLOSED: Readiness = Readiness(4);
    /// Nothing can be sent any more. With [`Readiness::READ_CLOSED`], the connection is over (POLLHUP).
    pub const WRITE_CLOSED: Readiness = Readiness(8);
    /// An error waits for `SO_ERROR` (POLLERR).
    pub const ERROR: Readiness = Readiness(16);
    /// Urgent data (POLLPRI).
    pub const PRIORITY: Readiness = Readiness(32);

    const NAMES: [(Readiness, &'static str); 6] = [
        (Readiness::READABLE, "READABLE"),
        (Readiness::WRITABLE, "WRITABLE"),
        (Readiness::READ_CLOSED, "READ_CLOSED"),
        (Readiness::WRITE_CLOSED, "WRITE_CLOSED"),
        (Readiness::ERROR, "ERROR"),
        (Readiness::PRIORITY, "PRIORITY"),
    ];

    /// Whether all of `other` is set.
    pub const fn contains(self, other: Readiness) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether anything of `other` is set.
    pub const fn intersects(self, other: Readiness) -> bool {
        self.0 & other.0 != 0
    }

    /// Both together.
    #[must_use]
    pub const fn union(self, other: Readiness) -> Readiness {
        Readiness(self.0 | other.0)
    }

    /// What is set here and not in `other`.
    #[must_use]
    pub const fn difference(self, other: Readiness) -> Readiness {
        Readiness(self.0 & !other.0)
    }

    /// Sets `other`.
    pub const fn insert(&mut self, other: Readiness) {
        self.0 |= other.0;
    }

    /// Clears `other`.
    pub const fn remove(&mut self, other: Readiness) {
        self.0 &= !other.0;
    }

    /// Sets `other` if `condition` holds, and leaves it as it is otherwise.
    pub const fn insert_if(&mut self, other: Readiness, condition: bool) {
        if condition {
            self.0 |= other.0;
        }
    }

    /// Whether nothing is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set as bits, as an atomic may hold it.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set of these bits; unknown ones are dropped.
    pub const fn from_bits(bits: u8) -> Readiness {
        Readiness(bits & 63)
    }
}

impl BitOr for Readiness {
    type Output = Readiness;

    fn bitor(self, other: Readiness) -> Readiness {
        self.union(other)
    }
}

impl BitOrAssign for Readiness {
    fn bitor_assign(&mut self, other: Readiness) {
        self.insert(other);
    }
}

impl BitAnd for Readiness {
    type Output = Readiness;

    fn bitand(self, other: Readiness) -> Readiness {
        Readiness(self.0 & other.0)
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (flag, name) in Readiness::NAMES {
            if self.contains(flag) {
                write!(f, "{separator}{name}")?;
                separator = "|";
            }
        }
        if self.is_empty() { f.write_str("EMPTY") } else { Ok(()) }
    }
}
