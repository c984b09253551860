//! All sockets and connections of a host, one after the other, for tables as those of `ss`.
//!
//! Besides sockets there are connections without one: half-open ones, orphans, those in TIME-WAIT. A list is taken
//! in parts: where it goes on is two numbers, and what comes or goes between two parts may or may not be in it.

use crate::address::is_v4;
use crate::demux::{Proto, Target, Tuple, scope_number};
use crate::slab::{Key, Slab};
use crate::socket::tcb::Tcb;
use crate::socket::{Domain, Kind, Socket, SocketId, SocketType, scoped, tuple_scope};
use crate::tcp::half_open::{HalfOpen, Opener};
use crate::tcp::time_wait::TimeWait;
use crate::{SockAddr, Stack, TcpInfo, TcpState};
use core::time::Duration;
use sockeye_packet::{Instant, NicId};

/// Where a list goes on; one that begins is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SurveyPosition {
    part: Part,
    /// In its table.
    index: u32,
}

/// The tables, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Sockets,
    HalfOpen,
    Orphans,
    TimeWait,
    End,
}

/// A socket, or a connection without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketReport {
    /// The socket; none of a connection that has none.
    pub socket: Option<SocketId>,
    /// The family. A connection without a socket has that of its addresses.
    pub domain: Domain,
    /// The type.
    pub kind: SocketType,
    /// What TCP is at. Of other sockets: Established if they have a peer, Closed otherwise.
    pub state: TcpState,
    /// It is a listener, whose state is Closed.
    pub listening: bool,
    /// It waits in a listener's queue.
    pub in_backlog: bool,
    /// Its address on this host, unspecified while it has none.
    pub local: SockAddr,
    /// The peer's address, whether the connection is open or not.
    pub peer: Option<SockAddr>,
    /// The interface it is bound to.
    pub nic: Option<NicId>,
    /// Whether its port was named by its user.
    pub port_named: bool,
    /// Bytes that wait for their reader; of a listener connections.
    pub recv_queued: usize,
    /// Bytes that were not acknowledged, or not sent; of a listener the most connections that may wait.
    pub send_queued: usize,
    /// Datagrams that there was no room for.
    pub drops: u32,
    /// What a connection waits for.
    pub timer: Option<SurveyTimer>,
    /// Its connection, for [`Stack::report_info`].
    connection: Option<Key>,
}

/// What a connection waits for, as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SurveyTimer {
    /// For what.
    pub kind: SurveyTimerKind,
    /// How long still.
    pub left: Duration,
    /// How often it was waited for already without success.
    pub tries: u8,
}

/// Kinds of timers (`idiag_timer`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SurveyTimerKind {
    /// Something is sent again.
    Retransmit = 1,
    /// A silent peer is probed, or an orphan given up.
    KeepAlive = 2,
    /// TIME-WAIT ends.
    TimeWait = 3,
    /// A closed window is probed.
    Probe = 4,
}

/// Which socket somebody asks for: the one that would get packets between two addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SurveyQuestion {
    /// The type of the socket. Those for echo and for packets are not found.
    pub kind: SocketType,
    /// The family, which matters to raw sockets alone.
    pub domain: Domain,
    /// The address on this host. Ports mean nothing to raw sockets.
    pub local: SockAddr,
    /// The peer's address.
    pub peer: SockAddr,
    /// The interface of the packets.
    pub nic: Option<NicId>,
}

/// What one step along the tables finds.
enum Step {
    Found(SocketReport),
    /// An entry that is none of the list's.
    Other,
    /// The table has no more.
    End,
}

impl Stack {
    /// The next socket or connection of the list; none when it is at its end. Sockets come first.
    pub fn survey(&self, now: Instant, position: &mut SurveyPosition) -> Option<SocketReport> {
        loop {
            let (step, next) = match position.part {
                Part::Sockets => (self.next_socket(now, &mut position.index), Part::HalfOpen),
                Part::HalfOpen => (self.next_half_open(now, &mut position.index), Part::Orphans),
                Part::Orphans => (self.next_orphan(now, &mut position.index), Part::TimeWait),
                Part::TimeWait => (self.next_time_wait(now, &mut position.index), Part::End),
                Part::End => return None,
            };
            match step {
                Step::Found(report) => return Some(report),
                Step::Other => {}
                Step::End => *position = SurveyPosition { part: next, index: 0 },
            }
        }
    }

    /// How the connection or the listener of a report is doing, if it is there still.
    pub fn report_info(&self, now: Instant, report: &SocketReport) -> Option<TcpInfo> {
        match (report.socket, report.connection) {
            (Some(id), _) => self.tcp_info(now, id).ok(),
            (None, key) => self.connections.get(key?).map(|tcb| self.info_of(now, tcb)),
        }
    }

    /// The one socket or connection that packets would be for, looked up as for these. `looked` grows by how many
    /// entries that takes: the addresses that the port is bound to, or all raw sockets.
    pub fn survey_one(
        &self,
        now: Instant,
        question: &SurveyQuestion,
        looked: &mut usize,
    ) -> Option<SocketReport> {
        let proto = match question.kind {
            SocketType::Stream => Proto::Tcp,
            SocketType::Datagram => Proto::Udp,
            SocketType::DatagramLite => Proto::UdpLite,
            SocketType::Raw(_) => return self.survey_raw(now, question, looked),
            SocketType::Ping | SocketType::Packet { .. } => return None,
        };
        let SurveyQuestion { local, peer, nic, .. } = *question;
        let tuple = Tuple {
            local: local.ip,
            remote: peer.ip,
            local_port: local.port,
            remote_port: peer.port,
            scope: nic.map_or(0, |nic| tuple_scope(&local.ip, &peer.ip, nic)),
            proto,
        };
        let demux = &self.io.demux;
        *looked += 1 + demux.bindings(proto, local.port);
        match self.target_of(&tuple) {
            Some(Target::Datagram(id)) => self.survey_socket(now, id),
            Some(Target::Connection(key)) => {
                let tcb = self.connections.get(key)?;
                tcb.socket.map_or_else(|| Some(orphan(now, key, tcb)), |id| self.survey_socket(now, id))
            }
            Some(Target::HalfOpen(key)) => self.half_open(now, self.io.half_open.get(key)?),
            Some(Target::TimeWait(key)) => Some(self.time_wait(now, self.io.time_wait.get(key)?)),
            // A flow is no program's.
            Some(Target::Flow(_)) => None,
            None => {
                let flow = || demux.flow_hash(&tuple);
                let id = demux.member(proto, &local.ip, local.port, scope_number(nic), flow)?;
                self.survey_socket(now, id)
            }
        }
    }

    /// The raw socket that names its packets most closely.
    fn survey_raw(
        &self,
        now: Instant,
        question: &SurveyQuestion,
        looked: &mut usize,
    ) -> Option<SocketReport> {
        *looked += self.io.raws.len();
        let mut best = None;
        for &id in &self.io.raws {
            let Ok(socket) = self.socket_ref(id) else { continue };
            let is_of =
                matches!(&socket.kind, Kind::Raw(raw) if SocketType::Raw(raw.protocol) == question.kind);
            let closeness = match socket.peer {
                _ if !is_of || socket.domain != question.domain => 0,
                Some(peer) if peer.ip == question.peer.ip && socket.local.ip == question.local.ip => 3,
                None if socket.local.ip == question.local.ip => 2,
                None if socket.local.is_unspecified() => 1,
                Some(_) | None => 0,
            };
            if closeness > best.map_or(0, |(best, _)| best) {
                best = Some((closeness, id));
            }
        }
        best.and_then(|(_, id)| self.survey_socket(now, id))
    }

    /// The report of a socket.
    fn survey_socket(&self, now: Instant, id: SocketId) -> Option<SocketReport> {
        let socket = self.socket_ref(id).ok()?;
        let mut report = SocketReport::of_socket(id, socket);
        if let Kind::Connection(key) = socket.kind
            && let Some(tcb) = self.connections.get(key)
        {
            report.connect(now, key, tcb);
        }
        Some(report)
    }

    fn next_socket(&self, now: Instant, index: &mut u32) -> Step {
        let Some((key, _)) = step(&self.sockets, index) else { return Step::End };
        self.survey_socket(now, SocketId(key)).map_or(Step::Other, Step::Found)
    }

    fn next_half_open(&self, now: Instant, index: &mut u32) -> Step {
        let Some((_, record)) = step(&self.io.half_open, index) else { return Step::End };
        self.half_open(now, record).map_or(Step::Other, Step::Found)
    }

    /// The report of a half-open connection; none where others than a listener opened it, as that is no program's.
    fn half_open(&self, now: Instant, record: &HalfOpen) -> Option<SocketReport> {
        let Opener::Listener(listener) = record.opener else { return None };
        let mut report = SocketReport::of_tuple(&record.tuple, record.nic, TcpState::SynReceived);
        if let Ok(listener) = self.socket_ref(listener) {
            report.domain = listener.domain;
        }
        let left = record.timer.map(|timer| self.io.wheel.deadline(timer).saturating_since(now));
        let kind = SurveyTimerKind::Retransmit;
        report.timer = left.map(|left| SurveyTimer { kind, left, tries: record.retries });
        Some(report)
    }

    fn next_orphan(&self, now: Instant, index: &mut u32) -> Step {
        let Some((key, tcb)) = step(&self.connections, index) else { return Step::End };
        if tcb.socket.is_some() {
            return Step::Other;
        }
        Step::Found(orphan(now, key, tcb))
    }

    fn next_time_wait(&self, now: Instant, index: &mut u32) -> Step {
        let Some((_, record)) = step(&self.io.time_wait, index) else { return Step::End };
        Step::Found(self.time_wait(now, record))
    }

    /// The report of a connection in TIME-WAIT.
    fn time_wait(&self, now: Instant, record: &TimeWait) -> SocketReport {
        let mut report = SocketReport::of_tuple(&record.tuple, record.nic, TcpState::TimeWait);
        let left = record.timer.map(|timer| self.io.wheel.deadline(timer).saturating_since(now));
        report.timer = left.map(|left| SurveyTimer { kind: SurveyTimerKind::TimeWait, left, tries: 0 });
        report
    }
}

/// The report of a connection without a socket.
fn orphan(now: Instant, key: Key, tcb: &Tcb) -> SocketReport {
    let mut report = SocketReport::of_tuple(&tcb.tuple, tcb.nic, tcb.connection.state());
    report.connect(now, key, tcb);
    report
}

/// The entry of a table at `index` or behind it; the index goes past it.
fn step<'a, T>(slab: &'a Slab<T>, index: &mut u32) -> Option<(Key, &'a T)> {
    let (at, found) = slab.at_or_after(*index)?;
    *index = at + 1;
    Some(found)
}

impl SocketReport {
    fn of_socket(id: SocketId, socket: &Socket) -> SocketReport {
        let (kind, listening) = match &socket.kind {
            Kind::Udp(udp) if udp.proto == Proto::UdpLite => (SocketType::DatagramLite, None),
            Kind::Udp(udp) if udp.proto.is_echo() => (SocketType::Ping, None),
            Kind::Udp(_) => (SocketType::Datagram, None),
            Kind::Raw(raw) => (SocketType::Raw(raw.protocol), None),
            Kind::Packet(packet) => (packet.kind(), None),
            Kind::Listener(listener) => (SocketType::Stream, Some((listener.queue.len(), listener.backlog))),
            Kind::Idle(_) | Kind::Connection(_) => (SocketType::Stream, None),
        };
        let connected = socket.peer.is_some() && socket.kind.queues().is_some();
        let (mut recv_queued, mut send_queued) = listening.unwrap_or_default();
        let mut drops = 0;
        if let Some(queues) = socket.kind.queues() {
            (recv_queued, send_queued, drops) = (queues.recv_charged, queues.send_charged, queues.drops);
        }
        SocketReport {
            socket: Some(id),
            domain: socket.domain,
            kind,
            state: if connected { TcpState::Established } else { TcpState::Closed },
            listening: listening.is_some(),
            in_backlog: socket.parent.is_some(),
            local: socket.local,
            peer: socket.peer,
            nic: socket.settings.nic,
            port_named: socket.bound.as_ref().is_some_and(|bound| bound.1.named),
            recv_queued,
            send_queued,
            drops,
            timer: None,
            connection: None,
        }
    }

    /// A connection without a socket.
    fn of_tuple(tuple: &Tuple, nic: NicId, state: TcpState) -> SocketReport {
        let domain = if is_v4(&tuple.local) { Domain::Inet } else { Domain::Inet6 };
        SocketReport {
            socket: None,
            domain,
            kind: SocketType::Stream,
            state,
            listening: false,
            in_backlog: false,
            local: scoped(tuple.local, tuple.local_port, nic),
            peer: Some(scoped(tuple.remote, tuple.remote_port, nic)),
            nic: None,
            port_named: false,
            recv_queued: 0,
            send_queued: 0,
            drops: 0,
            timer: None,
            connection: None,
        }
    }

    /// Adds what its connection says.
    fn connect(&mut self, now: Instant, key: Key, tcb: &Tcb) {
        let connection = &tcb.connection;
        self.state = connection.state();
        self.recv_queued = connection.recv_queued();
        self.send_queued = connection.send_queued();
        self.port_named |= tcb.hold.is_some_and(|hold| hold.named);
        self.timer = connection.awaited(now);
        self.connection = Some(key);
    }
}
