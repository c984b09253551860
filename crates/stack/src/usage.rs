//! What a stack holds at the moment.

use crate::Stack;

/// How many of each a [`Stack`] holds now, and how much memory they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Sockets that are not closed, those that wait to be accepted among them.
    pub sockets: usize,
    /// TCP connections, of sockets and of those that were closed and still send or wait for the peer's end.
    pub connections: usize,
    /// Connections that peers have begun to open.
    pub half_open: usize,
    /// Records of connections in TIME-WAIT.
    pub time_wait: usize,
    /// Bytes of payload and state that all queues together hold, as [`Stack::memory_used`].
    pub bytes: usize,
}

impl Stack {
    /// What it holds now.
    pub fn usage(&self) -> Usage {
        Usage {
            sockets: self.sockets.len(),
            connections: self.connections.len(),
            half_open: self.io.half_open.len(),
            time_wait: self.io.time_wait.len(),
            bytes: self.memory_used(),
        }
    }
}
