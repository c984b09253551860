//! Which sockets became ready: what the ready list gets, and what readiness means for each kind of socket.

use crate::Stack;
use crate::event::{Event, Readiness};
use crate::io::Io;
use crate::socket::{Kind, Socket, SocketId};

impl Socket {
    /// The socket, which has this id, is `ready` now. It gets in the ready list when it gained something,
    /// or is ready for what `edge` says has just come (again).
    #[inline]
    pub(crate) fn announce(&mut self, id: SocketId, ready: Readiness, edge: Readiness, io: &mut Io) {
        let ready = self.with_reports(ready);
        let news = !ready.difference(self.announced).is_empty() || ready.intersects(edge);
        self.announced = ready;
        if news && !self.listed && self.parent.is_none() {
            self.listed = true;
            io.ready.push_back(id);
        }
    }
}

impl Stack {
    /// What poll(2) would report now.
    pub(crate) fn readiness_of(&self, id: SocketId) -> Readiness {
        let Some(socket) = self.sockets.get(id.0) else { return Readiness::EMPTY };
        let ready = match &socket.kind {
            Kind::Udp(udp) => udp.queues.readiness(),
            Kind::Raw(raw) => raw.queues.readiness(),
            Kind::Packet(packet) => packet.queues.readiness(),
            Kind::Idle(_) => socket.stage.readiness(),
            Kind::Listener(listener) => listener.readiness(),
            Kind::Connection(key) => {
                self.connections.get(*key).map_or(Readiness::EMPTY, |tcb| tcb.readiness(&self.io))
            }
        };
        socket.with_reports(ready)
    }

    /// Looks at a socket again.
    pub(crate) fn touch(&mut self, id: SocketId, edge: Readiness) {
        let ready = self.readiness_of(id);
        let Some(socket) = self.sockets.get_mut(id.0) else { return };
        socket.announce(id, ready, edge, &mut self.io);
    }

    /// The next event of a flow, else the next socket of the ready list that is still there: who opened is
    /// told before what it is ready for.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        if let Some(event) = self.io.flows.next_event() {
            return Some(event);
        }
        self.next_ready().map(Event::Ready)
    }

    /// The next socket that became ready.
    pub(crate) fn next_ready(&mut self) -> Option<SocketId> {
        while let Some(id) = self.io.ready.pop_front() {
            // Others may have taken the memory that it was ready for: then that is told once more, later.
            let short = self.io.budget.available() == 0;
            let gone = short && !self.readiness_of(id).contains(Readiness::WRITABLE);
            if let Some(socket) = self.sockets.get_mut(id.0) {
                socket.listed = false;
                if gone {
                    socket.announced.remove(Readiness::WRITABLE);
                }
                return Some(id);
            }
        }
        None
    }
}
