//! TCP flows: a SYN that is held, the handshake once it is accepted, the socket once that is complete.

use super::table::{Record, State};
use crate::counters::Counter;
use crate::demux::{Target, Tuple};
use crate::io::{Io, Token};
use crate::ip::input::Ingress;
use crate::slab::Key;
use crate::socket::stage::Stage;
use crate::socket::{Domain, Kind, Socket, SocketId, scoped};
use crate::tcp::half_open::{HalfOpen, Opener, Syn};
use crate::tcp::{Segment, SeqNumber, reset_for};
use crate::{Owner, Stack};
use alloc::boxed::Box;
use core::time::Duration;
use sockeye_packet::Instant;
use sockeye_wire::{TcpFlags, TcpHeader};

impl Io {
    /// Holds a SYN for an address that is not the host's.
    pub(crate) fn hold_syn(&mut self, now: Instant, ingress: &Ingress, syn: &Syn<'_>) {
        if !self.flows.has_room() {
            self.counters.bump(Counter::FlowsFull);
            return;
        }
        let Ok(path) = self.path(&syn.tuple.remote, Some(syn.tuple.local), None) else { return };
        let settings = self.tcp_defaults.clone();
        // The half-open record names the flow, so the flow comes first.
        let key = self.flows.add(syn.tuple, ingress.nic, State::Lost);
        let held = self.half_open_of(now, syn, &path, &settings, Opener::Flow(key), 0);
        if let Some(record) = self.flows.get_mut(key) {
            record.state = State::Syn(Box::new(held));
        }
        self.wait_for_answer(now, key, &syn.tuple);
    }

    /// Gives a new flow its four-tuple, which is nobody's, and its time.
    pub(super) fn wait_for_answer(&mut self, now: Instant, key: Key, tuple: &Tuple) {
        self.demux.insert(tuple, Target::Flow(key));
        let hold = self.flows.config().map_or(Duration::ZERO, |config| config.hold);
        let timer = self.wheel.set(now + hold, Token::Flow(key));
        if let Some(record) = self.flows.get_mut(key) {
            record.timer = Some(timer);
        }
    }

    /// Sends the SYN-ACK of a held SYN.
    pub(super) fn accept_syn(&mut self, now: Instant, key: Key) {
        let Some(record) = self.flows.get(key) else { return };
        let State::Syn(held) = &record.state else { return };
        let half_open = HalfOpen { sent_at: now, ..**held };
        self.let_go(key);
        // Its four-tuple was the flow's until now, so it is free.
        self.add_half_open(now, half_open);
        if let Some(record) = self.flows.get_mut(key) {
            record.state = State::Handshake;
        }
    }

    /// RFC 9293 §3.10.7.1: as if nobody listened there.
    pub(super) fn reset_syn(&mut self, record: &Record) {
        let State::Syn(held) = &record.state else { return };
        if let Some(reset) = reset_for(&syn_header(held), 0) {
            self.send_control(record.nic, &record.tuple, reset, 0);
        }
    }
}

/// The SYN of a flow, as far as it matters to whoever is told of it again.
pub(super) fn syn_header(held: &HalfOpen) -> TcpHeader {
    TcpHeader {
        src_port: held.tuple.remote_port,
        dst_port: held.tuple.local_port,
        seq: held.irs.0,
        flags: TcpFlags::SYN,
        ..TcpHeader::default()
    }
}

impl Stack {
    /// A segment for an address that is not the host's and for no flow.
    pub(crate) fn foreign_segment(
        &mut self,
        now: Instant,
        ingress: &Ingress,
        tuple: Tuple,
        segment: &Segment,
        floor: Option<SeqNumber>,
    ) {
        if self.io.flows.config().is_none() {
            self.io.counters.bump(Counter::IpInAddrErrors);
            return;
        }
        let flags = segment.header.flags;
        if flags.syn() && !flags.ack() && !flags.rst() {
            self.io.hold_syn(now, ingress, &Syn { tuple, header: &segment.header, floor, ecn: segment.ecn });
        } else {
            self.io.counters.bump(Counter::NoSocket);
            self.refuse(ingress, &tuple, segment);
        }
    }

    /// A segment for a flow that waits for an answer.
    pub(crate) fn flow_segment(&mut self, now: Instant, ingress: &Ingress, key: Key, segment: &Segment) {
        let Some(record) = self.io.flows.get_mut(key) else { return };
        let (tuple, flags) = (record.tuple, segment.header.flags);
        let State::Syn(held) = &mut record.state else { return };
        if flags.rst() {
            if segment.seq() == held.irs + 1 {
                self.io.lose_flow(key);
            }
        } else if flags.syn() && !flags.ack() {
            if segment.seq() == held.irs {
                // The same again: it has its answer in time, which echoes the latest timestamp.
                let stamps = segment.header.options.timestamps.filter(|_| held.ts_recent.is_some());
                held.ts_recent = stamps.map(|stamps| stamps.value).or(held.ts_recent);
            } else {
                // The client has given up and starts anew from the same port.
                self.io.lose_flow(key);
                self.foreign_segment(now, ingress, tuple, segment, None);
            }
        }
    }

    /// The handshake of a flow is complete: makes its socket.
    pub(crate) fn complete_flow(
        &mut self,
        now: Instant,
        ingress: &Ingress,
        key: Key,
        record: &HalfOpen,
        mut segment: Segment,
    ) {
        let tuple = record.tuple;
        let Some(id) = self.flow_socket(now, record) else {
            self.io.counters.bump(Counter::SocketsFull);
            self.io.lose_flow(key);
            return self.refuse(ingress, &tuple, &segment);
        };
        self.io.flows.finish(key, State::Opened(id));
        if let Some(Kind::Connection(connection)) = self.sockets.get(id.0).map(|socket| &socket.kind) {
            self.connection_segment(now, ingress, *connection, &tuple, &mut segment);
        }
    }

    fn flow_socket(&mut self, now: Instant, record: &HalfOpen) -> Option<SocketId> {
        if self.sockets.len() >= self.io.config.max_sockets {
            return None;
        }
        let HalfOpen { tuple, nic, .. } = *record;
        let settings = self.io.tcp_defaults.clone();
        let id = SocketId(self.sockets.insert(Socket {
            local: scoped(tuple.local, tuple.local_port, nic),
            peer: Some(scoped(tuple.remote, tuple.remote_port, nic)),
            stage: Stage::CONNECTED,
            ..Socket::new(domain_of(&tuple), self.io.flow_owner(), Kind::Idle(settings.clone()))
        }));
        // The port is the foreign address's: no bind call of this host can be in its way.
        let Some(key) = self.open_passive(now, id, record, settings, None) else {
            self.sockets.remove(id.0);
            return None;
        };
        if let Some(socket) = self.sockets.get_mut(id.0) {
            socket.kind = Kind::Connection(key);
        }
        Some(id)
    }
}

impl Io {
    /// Who owns sockets of flows.
    pub(super) fn flow_owner(&self) -> Owner {
        self.flows.config().map_or(Owner::default(), |config| config.owner)
    }
}

/// The family of a flow's socket.
pub(super) fn domain_of(tuple: &Tuple) -> Domain {
    if crate::address::is_v4(&tuple.local) { Domain::Inet } else { Domain::Inet6 }
}
