//! What always holds of a stack, for the fuzzer and the tests: any call may be followed by
//! [`Stack::check_invariants`].

use crate::demux::Target;
use crate::event::Readiness;
use crate::io::Dirty;
use crate::slab::Key;
use crate::socket::tcb::Tcb;
use crate::socket::{Kind, Socket, SocketId};
use crate::tcp::State;
use crate::tcp::check::View;
use crate::tcp::half_open::Opener;
use crate::{Stack, io::Io};
use sockeye_packet::Instant;

impl Stack {
    /// Panics when something is not as it must be between any two calls.
    pub fn check_invariants(&self) {
        self.check_memory();
        let Stack { sockets, connections, io } = self;
        for (key, tcb) in connections.iter() {
            self.check_connection(key, tcb);
        }
        let orphans = connections.iter().filter(|(_, tcb)| tcb.socket.is_none()).count();
        assert_eq!(io.orphans, orphans, "orphans");
        for (key, socket) in sockets.iter() {
            self.check_socket(SocketId(key), socket);
        }
        for (key, record) in io.half_open.iter() {
            let timer = record.timer.expect("a half-open connection has a timer");
            assert_ne!(io.wheel.deadline(timer), Instant::FAR_FUTURE, "half-open");
            assert_eq!(self.target_of(&record.tuple), Some(Target::HalfOpen(key)), "half-open");
        }
        for (key, record) in io.time_wait.iter() {
            assert!(record.timer.is_some(), "a TIME-WAIT record has a timer");
            assert_eq!(self.target_of(&record.tuple), Some(Target::TimeWait(key)), "TIME-WAIT");
        }
        let listed = sockets.iter().filter(|(_, socket)| socket.listed).count();
        let waiting = io.ready.iter().filter(|id| sockets.get(id.0).is_some()).count();
        assert_eq!(listed, waiting, "sockets in the ready list");
    }

    /// What is to be known of a socket's connection, and the sequence number of what it sends next.
    pub(crate) fn view_of(&self, now: Instant, id: SocketId) -> Option<(View, u32)> {
        let Kind::Connection(key) = self.sockets.get(id.0)?.kind else { return None };
        let connection = &self.connections.get(key)?.connection;
        Some((connection.view(now), connection.next_seq()))
    }

    /// All memory that is charged is somebody's, and no more than there is.
    fn check_memory(&self) {
        let Stack { sockets, connections, io } = self;
        let streams: usize = connections.iter().map(|(_, tcb)| tcb.connection.charged()).sum();
        let datagrams: usize = sockets
            .iter()
            .map(|(_, socket)| {
                let reports = socket.errors.as_ref().map_or(0, |queue| queue.charged);
                let queues = socket.kind.queues();
                reports + queues.map_or(0, |queues| queues.recv_charged + queues.send_charged)
            })
            .sum();
        let others = io.reassembly.recount() + io.flows.datagram_bytes;
        assert_eq!(
            io.budget.used(),
            streams + datagrams + others,
            "charged: {streams}, {datagrams}, {others}"
        );
        assert!(io.budget.used() <= io.config.memory, "more memory than there is");
    }

    fn check_connection(&self, key: Key, tcb: &Tcb) {
        let Stack { sockets, io, .. } = self;
        tcb.connection.check_invariants();
        let state = tcb.connection.state();
        if let Some(id) = tcb.socket {
            let socket = sockets.get(id.0).expect("the connection's socket");
            assert!(
                matches!(socket.kind, Kind::Connection(other) if other == key),
                "whose connection is it?"
            );
        } else {
            assert_ne!(state, State::Closed, "an orphan that is over");
        }
        let owned = self.target_of(&tcb.tuple) == Some(Target::Connection(key));
        // One in TIME-WAIT gives its four-tuple away to a new one (RFC 6191).
        assert!(
            owned || matches!(state, State::Closed | State::TimeWait),
            "a connection in {state:?} gets no segments"
        );
        let timer = tcb.timer.map(|timer| io.wheel.deadline(timer));
        assert_eq!(timer, tcb.connection.poll_timeout().map(|(at, _)| at), "the timer in {state:?}");
        let turns = count_turns(io, Dirty::Connection(key));
        assert!(turns <= 1 && (tcb.dirty || turns == 0), "listed {turns} times to send");
        assert!(turns == 1 || !tcb.dirty || state == State::Closed, "its turn to send never comes");
    }

    fn check_socket(&self, id: SocketId, socket: &Socket) {
        let Stack { sockets, connections, io } = self;
        match &socket.kind {
            Kind::Connection(key) => {
                let tcb = connections.get(*key).expect("the socket's connection");
                assert_eq!(tcb.socket, Some(id), "the connection's socket");
            }
            Kind::Listener(listener) => {
                let opener = Opener::Listener(id);
                let half_open = io.half_open.iter().filter(|(_, record)| record.opener == opener).count();
                assert_eq!(listener.half_open, half_open, "half-open connections of {id:?}");
                for child in &listener.queue {
                    assert_eq!(sockets.get(child.0).and_then(|child| child.parent), Some(id), "a queued one");
                }
            }
            Kind::Packet(_) => assert!(io.packet_sockets.contains(&id), "a packet socket that sees nothing"),
            Kind::Raw(_) => assert!(io.raws.contains(&id), "a raw socket that hears nothing"),
            Kind::Udp(_) | Kind::Idle(_) => {}
        }
        if let Some(parent) = socket.parent {
            let queued = matches!(&sockets.get(parent.0).expect("the listener").kind,
                Kind::Listener(listener) if listener.queue.contains(&id));
            assert!(queued, "{id:?} waits for a listener that doesn't know");
            return;
        }
        // Whoever waits has been told, or will be: but for memory, which a send may find short.
        let untold = self.readiness_of(id).difference(socket.announced).difference(Readiness::WRITABLE);
        assert!(untold.is_empty(), "{id:?} is {untold:?}, and nobody says so");
    }
}

fn count_turns(io: &Io, who: Dirty) -> usize {
    io.nics.iter().map(|nic| nic.dirty.iter().filter(|other| **other == who).count()).sum()
}
