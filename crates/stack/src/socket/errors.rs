//! The error queue of a socket (`IP_RECVERR` in ip(7), `IPV6_RECVERR` in ipv6(7)): errors with all that is known
//! of them, beside the one pending error that every call reports.
//!
//! A report is charged as a datagram is, and the queue is as long as the socket's receive buffer allows; what
//! doesn't fit is not reported, the pending error is all the same. As Linux has it, TCP queues the errors that
//! end the opening of a connection only.

use crate::error::{Error, Result};
use crate::event::Readiness;
use crate::ip::icmp::Unreachable;
use crate::ip::input::Ingress;
use crate::socket::{Domain, Kind, Socket, SocketId, scoped};
use crate::{SockAddr, Stack};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use sockeye_packet::{Chunk, Instant, NicId, Payload};

/// What a report costs beside the data it quotes.
const REPORT_COST: usize = 256;

/// Who found an error (`ee_origin`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorOrigin {
    /// This host: a datagram was not sent (`SO_EE_ORIGIN_LOCAL`).
    Local,
    /// An ICMP message said so (`SO_EE_ORIGIN_ICMP`).
    Icmp,
    /// An `ICMPv6` message said so (`SO_EE_ORIGIN_ICMP6`).
    Icmp6,
}

/// One entry of a socket's error queue: what a `sock_extended_err` says, and what comes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReport {
    /// The error.
    pub error: Error,
    /// Who found it.
    pub origin: ErrorOrigin,
    /// The type of the ICMP message; 0 for local errors.
    pub kind: u8,
    /// The code of the ICMP message; 0 for local errors.
    pub code: u8,
    /// The MTU in bytes for [`Error::MessageSize`], what a parameter problem points at, else 0.
    pub info: u32,
    /// Who sent the ICMP message, port 0; none for local errors.
    pub offender: Option<SockAddr>,
    /// Where the datagram that caused the error was sent to.
    pub to: SockAddr,
    /// The address of this host that the ICMP message was sent to; unspecified for local errors.
    pub local: SockAddr,
    /// What the ICMP message quotes of the datagram: its data, for ping sockets from the ICMP header on, for
    /// streams from the TCP header on. Empty for local errors.
    pub payload: Payload,
    /// The interface that the ICMP message came in by.
    pub nic: NicId,
    /// The time to live (hop limit) of the ICMP message.
    pub ttl: u8,
    /// The type of service (traffic class) of the ICMP message.
    pub tos: u8,
    /// When it came in, or the error was found.
    pub received_at: Instant,
}

impl ErrorReport {
    /// A message to `to` that this host did not send.
    fn local(now: Instant, error: Error, to: SockAddr, info: u32) -> ErrorReport {
        let local = if to.is_v4() { SockAddr::UNSPECIFIED_V4 } else { SockAddr::UNSPECIFIED_V6 };
        ErrorReport {
            error,
            origin: ErrorOrigin::Local,
            kind: 0,
            code: 0,
            info,
            offender: None,
            to,
            local,
            payload: Payload::EMPTY,
            nic: NicId::LOOPBACK,
            ttl: 0,
            tos: 0,
            received_at: now,
        }
    }

    /// What an ICMP error says of a datagram to `to`, of which it quotes `payload`.
    pub(crate) fn icmp(
        now: Instant,
        ingress: &Ingress,
        told: &Unreachable,
        to: SockAddr,
        payload: Payload,
    ) -> ErrorReport {
        ErrorReport {
            error: told.error,
            origin: if ingress.v4 { ErrorOrigin::Icmp } else { ErrorOrigin::Icmp6 },
            kind: told.kind,
            code: told.code,
            info: told.info,
            offender: Some(scoped(ingress.src, 0, ingress.nic)),
            to,
            local: scoped(ingress.dst, 0, ingress.nic),
            payload: payload.into_iter().map(Chunk::compact).collect(),
            nic: ingress.nic,
            ttl: ingress.ttl,
            tos: ingress.tos_ecn,
            received_at: now,
        }
    }

    fn cost(&self) -> usize {
        REPORT_COST + self.payload.len()
    }
}

/// The queue of a socket that has had something to report.
#[derive(Debug, Default)]
pub(crate) struct ErrorQueue {
    reports: VecDeque<ErrorReport>,
    pub(crate) charged: usize,
}

impl Socket {
    /// Whether an error that concerns packets of one version of IP is to be queued.
    pub(crate) fn wants_errors(&self, v4: bool) -> bool {
        if v4 { self.settings.recv_err } else { self.settings.recv_err_v6 }
    }

    /// Whether reports wait to be read.
    fn has_reports(&self) -> bool {
        self.errors.as_ref().is_some_and(|queue| !queue.reports.is_empty())
    }

    /// Readiness with what the error queue adds to it.
    pub(crate) fn with_reports(&self, mut ready: Readiness) -> Readiness {
        ready.insert_if(Readiness::ERROR, self.has_reports());
        ready
    }

    /// The room that is left in the receive buffer for reports.
    fn report_room(&self, default: usize) -> usize {
        let used = self.errors.as_ref().map_or(0, |queue| queue.charged);
        let queues = self.kind.queues();
        let room = queues.map_or(default, |queues| queues.recv_limit.saturating_sub(queues.recv_charged));
        room.saturating_sub(used)
    }
}

impl Stack {
    /// Queues a report, if the socket wants reports and there is room.
    pub(crate) fn report(&mut self, id: SocketId, report: ErrorReport) {
        let Stack { sockets, io, .. } = self;
        let Some(socket) = sockets.get_mut(id.0) else { return };
        if !socket.wants_errors(report.to.is_v4()) {
            return;
        }
        let cost = report.cost();
        if cost > socket.report_room(io.config.udp_recv_buffer) || !io.budget.try_charge(cost) {
            return;
        }
        let queue = socket.errors.get_or_insert_with(Box::default);
        queue.charged += cost;
        queue.reports.push_back(report);
        self.touch(id, Readiness::ERROR);
    }

    /// Reports that a datagram to `to` is too long, for which `mtu` is the limit.
    pub(crate) fn report_too_long(&mut self, now: Instant, id: SocketId, to: SockAddr, mtu: u32) {
        let Ok(socket) = self.socket_ref(id) else { return };
        // As the kernel: over IPv4 the port is that of the peer, if there is one.
        let port = if to.is_v4() { socket.peer.map_or(0, |peer| peer.port) } else { to.port };
        self.report(id, ErrorReport::local(now, Error::MessageSize, to.with_port(port), mtu));
    }

    /// Takes the oldest report. The pending error of the socket becomes that of the next one, as in the kernel.
    pub(crate) fn take_report(&mut self, id: SocketId) -> Result<ErrorReport> {
        let Stack { sockets, io, .. } = self;
        let socket = sockets.get_mut(id.0).ok_or(Error::BadSocket)?;
        let queue = socket.errors.as_mut().ok_or(Error::WouldBlock)?;
        let Some(report) = queue.reports.pop_front() else { return Err(Error::WouldBlock) };
        io.budget.release(report.cost());
        queue.charged -= report.cost();
        let next = queue.reports.front().map(|next| (next.origin, next.error));
        if next.is_none() {
            socket.errors = None;
        }
        let pending = next.filter(|(origin, _)| *origin != ErrorOrigin::Local).map(|(_, error)| error);
        if pending.is_some() || report.origin != ErrorOrigin::Local {
            self.set_pending(id, pending);
        }
        self.touch(id, if next.is_some() { Readiness::ERROR } else { Readiness::EMPTY });
        Ok(report)
    }

    fn set_pending(&mut self, id: SocketId, error: Option<Error>) {
        let Some(socket) = self.sockets.get_mut(id.0) else { return };
        if let Some(queues) = socket.kind.queues_mut() {
            queues.error = error;
        } else if let (Kind::Connection(key), None) = (&socket.kind, error) {
            let connection = self.connections.get_mut(*key).map(|tcb| &mut tcb.connection);
            connection.and_then(crate::tcp::Connection::take_error);
        }
    }

    /// `IP_RECVERR`, `IPV6_RECVERR`: switched off, it empties the queue.
    pub(crate) fn set_reporting(&mut self, id: SocketId, v4: bool, on: bool) -> Result<()> {
        let socket = self.socket_mut(id)?;
        if !v4 && socket.domain == Domain::Inet {
            return Err(Error::ProtocolOption);
        }
        *if v4 { &mut socket.settings.recv_err } else { &mut socket.settings.recv_err_v6 } = on;
        if !on && let Some(queue) = socket.errors.take() {
            self.io.budget.release(queue.charged);
        }
        Ok(())
    }

    /// Removes a socket with its reports.
    pub(crate) fn remove_socket(&mut self, id: SocketId) -> Option<Socket> {
        let mut socket = self.sockets.remove(id.0)?;
        if let Some(queue) = socket.errors.take() {
            self.io.budget.release(queue.charged);
        }
        Some(socket)
    }
}
