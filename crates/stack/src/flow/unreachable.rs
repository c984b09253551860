//! ICMP errors about flows. They quote a packet as the client can have sent it: what it did send is not kept.
//!
//! What a destination says (its port is closed) comes from its address, what a router says from the host's.

use super::table::{Record, State};
use super::tcp::syn_header;
use crate::address::is_v4;
use crate::demux::{Proto, Tuple};
use crate::io::Io;
use crate::ip::complaint::ERROR_TOS;
use crate::ip::output::{IpParams, fill};
use sockeye_packet::{Chunk, Instant, NicId, Packet, Payload};
use sockeye_wire::{Icmpv4, Icmpv6, Protocol};

/// Why a destination can't be reached, and what a client's socket makes of it, as Linux has it.
///
/// A connect fails with the error. A connected UDP socket hears of it at its next call; only over IPv6 is
/// there no message that would tell it of [`Network`](Unreachability::Network) or
/// [`Host`](Unreachability::Host), as with Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unreachability {
    /// There is no way to the network: ENETUNREACH.
    Network,
    /// The host doesn't answer: EHOSTUNREACH.
    Host,
    /// It is forbidden: EHOSTUNREACH over IPv4, EACCES over IPv6.
    Prohibited,
    /// Nobody has the port: ECONNREFUSED.
    Port,
}

impl Unreachability {
    /// The code of an IPv4 destination unreachable (RFC 792, RFC 1812 §5.2.7.1).
    fn code_v4(self, proto: Proto) -> u8 {
        match (self, proto) {
            // Codes 0 and 1 may pass (RFC 1122 §3.2.2.1), so that UDP sockets don't hear of them; of "unknown"
            // they do.
            (Unreachability::Network, Proto::Udp) => 6,
            (Unreachability::Host, Proto::Udp) => 7,
            (Unreachability::Network, _) => Icmpv4::NET_UNREACHABLE,
            (Unreachability::Host, _) => Icmpv4::HOST_UNREACHABLE,
            (Unreachability::Prohibited, _) => Icmpv4::ADMIN_PROHIBITED,
            (Unreachability::Port, _) => Icmpv4::PORT_UNREACHABLE,
        }
    }

    /// The code of an IPv6 destination unreachable (RFC 4443 §3.1).
    fn code_v6(self) -> u8 {
        match self {
            Unreachability::Network => Icmpv6::NO_ROUTE,
            Unreachability::Prohibited => Icmpv6::ADMIN_PROHIBITED,
            Unreachability::Host => Icmpv6::ADDRESS_UNREACHABLE,
            Unreachability::Port => Icmpv6::PORT_UNREACHABLE,
        }
    }
}

/// A packet of a client that didn't arrive: the header that an error quotes.
pub(super) struct Undelivered {
    pub(super) nic: NicId,
    /// Who sent it.
    pub(super) src: [u8; 16],
    /// Where it was to go.
    pub(super) dst: [u8; 16],
    pub(super) proto: Proto,
}

impl Undelivered {
    fn of_flow(nic: NicId, tuple: &Tuple) -> Undelivered {
        Undelivered { nic, src: tuple.remote, dst: tuple.local, proto: tuple.proto }
    }

    /// Its IP header.
    pub(super) fn ip(&self, ttl: u8) -> IpParams {
        let Undelivered { nic: _, src, dst, proto } = *self;
        let protocol = Protocol(proto as u8);
        IpParams { src, dst, protocol, ttl, tos: 0, dont_fragment: true, flow_label: 0 }
    }
}

impl Io {
    /// Answers a flow as if nobody listened there.
    pub(super) fn reset_flow(&mut self, now: Instant, record: &Record) {
        match record.tuple.proto {
            Proto::Tcp => self.reset_syn(record),
            _ => self.refuse_datagram(now, record.nic, &record.tuple, Unreachability::Port),
        }
    }

    /// Answers a flow with an ICMP error.
    pub(super) fn tell_unreachable(&mut self, now: Instant, record: &Record, why: Unreachability) {
        let (nic, tuple) = (record.nic, &record.tuple);
        match &record.state {
            State::Syn(held) => {
                let undelivered = Undelivered::of_flow(nic, tuple);
                let ip = undelivered.ip(self.config.default_ttl);
                let quoted = self.tcp_packet(nic, &ip, &syn_header(held), Payload::EMPTY, 0);
                self.undeliverable(now, &undelivered, quoted, why);
            }
            _ => self.refuse_datagram(now, nic, tuple, why),
        }
    }

    /// Answers a datagram of a flow with an ICMP error.
    pub(super) fn refuse_datagram(&mut self, now: Instant, nic: NicId, tuple: &Tuple, why: Unreachability) {
        let undelivered = Undelivered::of_flow(nic, tuple);
        let ip = undelivered.ip(self.config.default_ttl);
        let quoted = self.udp_packet(nic, &ip, (tuple.remote_port, tuple.local_port), Payload::EMPTY);
        self.undeliverable(now, &undelivered, quoted, why);
    }

    /// Sends an ICMP error that quotes a packet, if the rate allows it.
    pub(super) fn undeliverable(
        &mut self,
        now: Instant,
        undelivered: &Undelivered,
        mut quoted: Packet,
        why: Unreachability,
    ) {
        let Undelivered { nic, src: client, dst, proto } = *undelivered;
        // The flows of a host are to many others, who would each have a limit of their own.
        if !self.may_send_any_error(now) {
            return;
        }
        fill(&mut quoted);
        let ours = self.addresses.source(&client, nic).filter(|_| why != Unreachability::Port);
        let v4 = is_v4(&client);
        let mut header = [0; 8];
        if v4 {
            header[..2].copy_from_slice(&[3, why.code_v4(proto)]);
        } else {
            header[..2].copy_from_slice(&[1, why.code_v6()]);
        }
        let ip = IpParams {
            src: ours.unwrap_or(dst),
            dst: client,
            protocol: if v4 { Protocol::ICMP } else { Protocol::ICMPV6 },
            ttl: self.config.default_ttl,
            tos: if v4 { ERROR_TOS } else { 0 },
            dont_fragment: false,
            flow_label: 0,
        };
        let quoted = Payload::from(Chunk::copy_from(&quoted.head));
        let error = self.icmp_packet(nic, &ip, header, quoted);
        self.reply(nic, error);
    }
}
