//! Ping sockets (icmp(7)): datagram sockets whose datagrams are ICMP echo messages, from the ICMP header on
//! (RFC 792, RFC 4443 §4).
//!
//! The echo identifier is what UDP's port is elsewhere: bind sets or picks it, the stack writes it into each
//! request, and a reply is for the socket that has its identifier. A connected socket hears only its peer,
//! which Linux leaves to the program. Ports of remote addresses mean nothing; replies come from port 0.

use crate::Stack;
use crate::counters::Counter;
use crate::demux::{Proto, Target, Tuple, scope_number};
use crate::error::{Error, Result};
use crate::io::Io;
use crate::ip::address::Cast;
use crate::ip::input::Ingress;
use crate::ip::output::{IpParams, fill};
use crate::socket::tuple_scope;
use crate::socket::udp::received;
use sockeye_packet::{Checksum, Chunk, Instant, NicId, Packet, Payload};

/// Length of an echo message's header.
const HEADER_LEN: usize = 8;

/// Whether a user's message is a whole echo request; anything else is [`Error::InvalidArgument`].
pub(super) fn check_request(proto: Proto, message: &Payload) -> Result<()> {
    let kind = if proto == Proto::Icmp { 8 } else { 128 };
    let is_request = message.len() >= HEADER_LEN && header_of(message)[..2] == [kind, 0];
    if is_request { Ok(()) } else { Err(Error::InvalidArgument) }
}

/// The header of a message; zeros for what is missing.
fn header_of(message: &Payload) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    message.slice(0, message.len().min(HEADER_LEN)).copy_to(&mut header);
    header
}

impl Io {
    /// A user's echo request as a packet, with its identifier and without what the user took for its checksum.
    pub(super) fn echo_request_packet(
        &mut self,
        nic: NicId,
        ip: &IpParams,
        id: u16,
        mut message: Payload,
    ) -> Packet {
        let mut header = header_of(&message);
        header[2..4].fill(0);
        header[4..6].copy_from_slice(&id.to_be_bytes());
        message.trim(message.len().min(HEADER_LEN), message.len());
        self.icmp_packet(nic, ip, header, message)
    }
}

impl Stack {
    /// Takes in an echo reply whose checksum is right.
    pub(crate) fn echo_reply(&mut self, now: Instant, ingress: &Ingress, id: u16, mut packet: Packet) {
        let tuple = Tuple {
            local: ingress.dst,
            remote: ingress.src,
            local_port: id,
            remote_port: 0,
            scope: tuple_scope(&ingress.dst, &ingress.src, ingress.nic),
            proto: Proto::echo(ingress.v4),
        };
        self.io.counters.bump(Counter::IcmpInEchoReps);
        let scope = scope_number(Some(ingress.nic));
        let demux = &self.io.demux;
        let target = match self.target_of(&tuple) {
            _ if ingress.cast != Cast::Unicast => None,
            Some(Target::Datagram(socket)) => Some(socket),
            _ => demux.member(tuple.proto, &ingress.dst, id, scope, || demux.flow_hash(&tuple)),
        };
        let Some(socket) = target else {
            // RFC 1122 §3.2.2: nobody is told of a reply that nobody waits for.
            self.io.counters.bump(Counter::NoSocket);
            return;
        };
        if packet.meta.checksum == Checksum::Unfilled {
            // The reader sees it, and some readers verify it.
            fill(&mut packet);
        }
        let header = packet.head.get(ingress.transport..).unwrap_or_default();
        let message = [Chunk::copy_from(header)].into_iter().chain(packet.payload).collect();
        self.udp_deliver(socket, received(now, ingress, [0, id], message));
    }
}
