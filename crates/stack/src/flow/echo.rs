//! Echo requests to addresses that are not the host's (RFC 792, RFC 4443 §4.1). The stack keeps no state of
//! them: who answers one hands it back with the answer's data.

use super::unreachable::{Undelivered, Unreachability};
use crate::Stack;
use crate::address::{ip_bytes, ip_from_bytes};
use crate::counters::Counter;
use crate::demux::Proto;
use crate::io::Io;
use crate::ip::input::Ingress;
use crate::ip::output::IpParams;
use alloc::collections::VecDeque;
use core::net::IpAddr;
use sockeye_packet::{Chunk, Instant, NicId, Packet, Payload};
use sockeye_wire::Protocol;

/// Most bytes of data that all waiting requests together may have.
const MAX_BYTES: usize = 256 * 1024;
/// What a waiting request costs beside its data.
const ENTRY_COST: usize = 256;

/// Somebody pings an address that is not the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EchoRequest {
    /// Who asks.
    pub src: IpAddr,
    /// Who is asked.
    pub dst: IpAddr,
    /// The interface it came in by.
    pub nic: NicId,
    /// Identifier.
    pub id: u16,
    /// Sequence number.
    pub seq: u16,
    /// Time to live (hop limit), as it came in.
    pub ttl: u8,
    /// The data, which an answer carries again.
    pub payload: Payload,
}

/// The requests that wait for their owner.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    queue: VecDeque<EchoRequest>,
    bytes: usize,
    /// Whether the owner is to hear that something came.
    news: bool,
}

impl Echoes {
    pub(super) fn clear(&mut self) {
        *self = Echoes::default();
    }

    pub(super) fn take_news(&mut self) -> bool {
        core::mem::take(&mut self.news) && !self.queue.is_empty()
    }

    /// Queues a request; says whether there was room.
    fn push(&mut self, request: EchoRequest, max: usize) -> bool {
        let cost = request.payload.len() + ENTRY_COST;
        let fits = self.queue.len() < max && self.bytes + cost <= MAX_BYTES;
        if fits {
            self.bytes += cost;
            self.queue.push_back(request);
            self.news = true;
        }
        fits
    }

    fn pop(&mut self) -> Option<EchoRequest> {
        let request = self.queue.pop_front()?;
        self.bytes -= request.payload.len() + ENTRY_COST;
        Some(request)
    }
}

impl Io {
    /// Takes in an echo request for an address that is not the host's.
    pub(crate) fn foreign_echo(&mut self, ingress: &Ingress, [id, seq]: [u16; 2], packet: Packet) {
        let Some(max) = self.flows.config().map(|config| config.max_echoes) else { return };
        let request = EchoRequest {
            src: ip_from_bytes(ingress.src),
            dst: ip_from_bytes(ingress.dst),
            nic: ingress.nic,
            id,
            seq,
            ttl: ingress.ttl,
            payload: packet.payload.into_iter().map(Chunk::compact).collect(),
        };
        if !self.flows.echoes.push(request, max) {
            self.counters.bump(Counter::FlowsFull);
        }
    }
}

/// Pings through a gateway.
impl Stack {
    /// The next echo request to an address that is not this host's. [`Event::Echo`](crate::Event::Echo) says
    /// that there are some: fetch all.
    pub fn poll_echo(&mut self) -> Option<EchoRequest> {
        self.io.flows.echoes.pop()
    }

    /// Sends the answer to an echo request, with its payload, in the name of who was asked.
    pub fn reply_echo(&mut self, request: EchoRequest) {
        let EchoRequest { src, dst, nic, id, seq, ttl: _, payload } = request;
        let v4 = src.is_ipv4();
        // More doesn't fit in an IP packet, and requests never have more.
        if payload.len() > 65_535 - 28 || dst.is_ipv4() != v4 || self.nic(nic).is_none() {
            return;
        }
        let ip = IpParams {
            src: ip_bytes(dst),
            dst: ip_bytes(src),
            protocol: if v4 { Protocol::ICMP } else { Protocol::ICMPV6 },
            ttl: self.io.config.default_ttl,
            tos: 0,
            dont_fragment: false,
            flow_label: 0,
        };
        let header = echo_header(if v4 { 0 } else { 129 }, id, seq);
        let reply = self.io.icmp_packet(nic, &ip, header, payload);
        let mtu = self.io.nic(nic).config.mtu as usize;
        for packet in self.io.fragment(reply, mtu) {
            self.io.reply(nic, packet);
        }
    }

    /// Answers an echo request with an ICMP error. At most [`icmp_rate`](crate::Config::icmp_rate) errors a
    /// second leave the host.
    pub fn refuse_echo(&mut self, now: Instant, request: &EchoRequest, why: Unreachability) {
        let EchoRequest { src, dst, nic, id, seq, ttl, payload: _ } = *request;
        if src.is_ipv4() != dst.is_ipv4() || self.nic(nic).is_none() {
            return;
        }
        let proto = Proto::echo(src.is_ipv4());
        let undelivered = Undelivered { nic, src: ip_bytes(src), dst: ip_bytes(dst), proto };
        let header = echo_header(if src.is_ipv4() { 8 } else { 128 }, id, seq);
        let quoted = self.io.icmp_packet(nic, &undelivered.ip(ttl), header, Payload::EMPTY);
        self.io.undeliverable(now, &undelivered, quoted, why);
    }
}

fn echo_header(kind: u8, id: u16, seq: u16) -> [u8; 8] {
    let ([a, b], [c, d]) = (id.to_be_bytes(), seq.to_be_bytes());
    [kind, 0, 0, 0, a, b, c, d]
}
