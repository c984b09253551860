//! How much work requests may make before others have their turn. It is counted, not timed, in steps of some
//! nanoseconds: a filter's operations are one each.

/// What a turn may take; what is begun is ended, at most one message, one lookup or one run of a filter more.
const TURN: usize = 1 << 16;
/// What it takes to look at a socket.
const LOOK: usize = 16;
/// To read a request and to send its answer.
const REQUEST: usize = 256;
/// To tell a socket: what waits in its plug is asked of the kernel.
const TOLD: usize = 1024;

/// The work of a turn.
#[derive(Debug, Default)]
pub(super) struct Work {
    done: usize,
}

impl Work {
    /// Whether it is time for others.
    pub(super) fn is_over(&self) -> bool {
        self.done >= TURN
    }

    /// A request of so many bytes is read: its attributes are walked along.
    pub(super) fn read(&mut self, len: usize) {
        self.done += REQUEST + len / 4;
    }

    /// So many sockets are looked at.
    pub(super) fn look(&mut self, sockets: usize) {
        self.done += LOOK * sockets;
    }

    /// A socket is told.
    pub(super) fn tell(&mut self) {
        self.done += TOLD;
    }

    /// A message is sent.
    pub(super) fn send(&mut self) {
        self.done += REQUEST;
    }

    /// One operation of a filter is checked or done.
    pub(super) fn step(&mut self) {
        self.done += 1;
    }

    /// How much was done.
    #[cfg(test)]
    pub(super) fn done(&self) -> usize {
        self.done
    }

    /// The most that a turn comes to, with what was begun.
    #[cfg(test)]
    pub(super) const MOST: usize = TURN + TOLD + REQUEST + 2 * super::REQUEST_MAX;
}
