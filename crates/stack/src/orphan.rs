//! Connections that go on after their sockets were closed, for who wants to know when they are through.

use crate::error::Result;
use crate::slab::Key;
use crate::socket::Kind;
use crate::tcp::State;
use crate::{SocketId, Stack};
use sockeye_packet::Instant;

/// A connection without a socket. It names nothing any more once the connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Orphan(Key);

impl Stack {
    /// As [`close`](Stack::close); answers the connection that goes on, if one does.
    pub fn close_to_orphan(&mut self, now: Instant, id: SocketId) -> Result<Option<Orphan>> {
        let key = match self.socket_ref(id)?.kind {
            Kind::Connection(key) => Some(key),
            Kind::Udp(_) | Kind::Raw(_) | Kind::Packet(_) | Kind::Idle(_) | Kind::Listener(_) => None,
        };
        self.close(now, id)?;
        Ok(key.map(Orphan).filter(|&orphan| self.is_draining(orphan)))
    }

    /// Whether a connection still has bytes, or its FIN, that its peer has not acknowledged.
    pub fn is_draining(&self, orphan: Orphan) -> bool {
        self.connections.get(orphan.0).is_some_and(|tcb| match tcb.connection.state() {
            State::SynSent
            | State::SynReceived
            | State::Established
            | State::FinWait1
            | State::CloseWait
            | State::Closing
            | State::LastAck => true,
            State::Closed | State::FinWait2 | State::TimeWait => false,
        })
    }
}
