//! ICMP and `ICMPv6` taken in (RFC 792, RFC 1122 §3.2.2, RFC 4443): echo, timestamps, errors.
//!
//! An error that comes in is believed only as far as it quotes a packet that a socket of ours can have
//! sent (RFC 5927). What goes out is in [`complaint`](super::complaint).

use crate::Stack;
use crate::address::{ip_bytes, v4_bytes};
use crate::counters::Counter;
use crate::demux::{Proto, Target, Tuple, scope_number};
use crate::error::Error;
use crate::ip::address::Cast;
use crate::ip::input::Ingress;
use crate::ip::mld;
use crate::ip::pmtu::{LEAST_V4, LEAST_V6};
use crate::socket::errors::ErrorReport;
use crate::socket::{scoped, tuple_scope};
use sockeye_packet::{Chunk, Instant, Packet, Payload};
use sockeye_wire::{Icmpv4, Icmpv6, IpLayout, Protocol, Quoted};

/// The type of a timestamp request; the reply's is one more.
const TIMESTAMP: u8 = 13;
const MILLIS_OF_DAY: u128 = 86_400_000;

/// What an ICMP error says to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreachable {
    pub(crate) error: Error,
    /// Trying again is no use.
    pub(crate) hard: bool,
    /// The packet was too big for a link with this MTU (0: not said).
    pub(crate) mtu: Option<u32>,
    /// Type, code and what the message says besides, for reports.
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) info: u32,
}

impl Unreachable {
    /// What counts such messages.
    fn counter(&self, v4: bool) -> Counter {
        match (self.kind, v4) {
            (11, true) | (3, false) => Counter::IcmpInTimeExcds,
            (12, true) | (4, false) => Counter::IcmpInParmProbs,
            _ => Counter::IcmpInDestUnreachs,
        }
    }
}

impl Stack {
    /// Takes in an ICMP message whose checksum is right.
    pub(crate) fn icmp_input(&mut self, now: Instant, ingress: &Ingress, packet: Packet) {
        self.io.counters.bump(Counter::IcmpInMsgs);
        let message = &packet.head[ingress.transport..];
        // RFC 1122 §3.2.2.6: questions to everybody are not answered; and nobody's error goes to everybody.
        if ingress.v4 && matches!(ingress.cast, Cast::Broadcast | Cast::Multicast) {
            return;
        }
        let told = if ingress.v4 {
            match Icmpv4::parse(message) {
                Ok((Icmpv4::EchoRequest { id, seq }, _)) => {
                    return self.echo(ingress, [0, id, seq], packet);
                }
                Ok((Icmpv4::EchoReply { id, .. }, _)) => return self.echo_reply(now, ingress, id, packet),
                Ok((Icmpv4::Other { kind: TIMESTAMP, code: 0, rest }, _)) => {
                    return self.timestamp(now, ingress, rest, &packet);
                }
                Ok((icmp, _)) => told_v4(icmp),
                Err(_) => None,
            }
        } else {
            match Icmpv6::parse(message) {
                Ok((Icmpv6::EchoRequest { id, seq }, _)) => {
                    return self.echo(ingress, [129, id, seq], packet);
                }
                Ok((Icmpv6::EchoReply { id, .. }, _)) => return self.echo_reply(now, ingress, id, packet),
                Ok((Icmpv6::Other { kind: mld::QUERY, .. }, _)) => {
                    return self.mld_query(now, ingress, &packet);
                }
                Ok((icmp, _)) => told_v6(icmp),
                Err(_) => None,
            }
        };
        let Some(told) = told else { return };
        self.io.counters.bump(told.counter(ingress.v4));
        // What is quoted may lie in several chunks; its headers are all that matter.
        let quoted = packet.payload.slice(0, packet.payload.len().min(256)).into_chunk();
        if let (Ok(quoted), Ok(layout)) = (Quoted::parse(&quoted), IpLayout::parse(&quoted)) {
            let transport = packet.payload.slice(layout.transport, packet.payload.len());
            if !self.io.raws.is_empty() {
                self.raw_unreachable(now, ingress, &quoted, &told, &transport);
            }
            self.deliver_error(now, ingress, &quoted, told, &transport);
        }
    }

    /// RFC 1122 §3.2.2.6, RFC 4443 §4.2: the answer carries all data of the request.
    fn echo(&mut self, ingress: &Ingress, [kind, id, seq]: [u16; 3], packet: Packet) {
        self.io.counters.bump(Counter::IcmpInEchos);
        if ingress.cast == Cast::Other {
            return self.io.foreign_echo(ingress, [id, seq], packet);
        }
        // RFC 1122 §3.2.2.6: as Linux, who asks all of an IPv4 network or group isn't answered.
        let is_asked = ingress.cast == Cast::Unicast || !ingress.v4;
        if !is_asked || !self.io.config.answer_echo {
            return;
        }
        let mut header = [0; 8];
        header[0] = kind as u8;
        header[4..6].copy_from_slice(&id.to_be_bytes());
        header[6..8].copy_from_slice(&seq.to_be_bytes());
        let mut ip = self.io.answer_params(ingress, ingress.tos_ecn & 0xfc);
        if ingress.cast != Cast::Unicast {
            // RFC 4443 §4.2: a group is answered from an own address.
            let Some(src) = self.io.addresses.source(&ingress.src, ingress.nic) else { return };
            ip.src = src;
        }
        let Packet { payload, .. } = packet;
        self.io.counters.bump(Counter::IcmpOutMsgs);
        self.io.counters.bump(Counter::IcmpOutEchoReps);
        let reply = self.io.icmp_packet(ingress.nic, &ip, header, payload);
        let mtu = self.io.nic(ingress.nic).config.mtu as usize;
        for packet in self.io.fragment(reply, mtu) {
            self.io.reply(ingress.nic, packet);
        }
    }

    /// RFC 1122 §3.2.2.8: what time it is, in milliseconds since midnight.
    fn timestamp(&mut self, now: Instant, ingress: &Ingress, rest: [u8; 4], packet: &Packet) {
        self.io.counters.bump(Counter::IcmpInTimestamps);
        if ingress.cast != Cast::Unicast || packet.payload.len() < 4 {
            return;
        }
        let since_epoch = now.saturating_since(Instant::ZERO) + self.io.config.wall_offset;
        let today = (since_epoch.as_millis() % MILLIS_OF_DAY) as u32;
        let mut times = [0; 12];
        packet.payload.slice(0, 4).copy_to(&mut times);
        times[4..8].copy_from_slice(&today.to_be_bytes());
        times[8..].copy_from_slice(&today.to_be_bytes());
        let [a, b, c, d] = rest;
        let ip = self.io.answer_params(ingress, ingress.tos_ecn & 0xfc);
        let times = Payload::from(Chunk::copy_from(&times));
        let reply = self.io.icmp_packet(ingress.nic, &ip, [TIMESTAMP + 1, 0, 0, 0, a, b, c, d], times);
        self.io.counters.bump(Counter::IcmpOutMsgs);
        self.io.counters.bump(Counter::IcmpOutTimestampReps);
        self.io.reply(ingress.nic, reply);
    }

    /// Tells an error to the socket whose packet it quotes; of that packet `transport` is there from the transport
    /// header on.
    fn deliver_error(
        &mut self,
        now: Instant,
        ingress: &Ingress,
        quoted: &Quoted,
        told: Unreachable,
        transport: &Payload,
    ) {
        let ports = (quoted.src_port(), quoted.dst_port());
        let (proto, (local_port, remote_port)) = match (quoted.protocol, quoted.transport) {
            (Protocol::TCP, _) => (Proto::Tcp, ports),
            (Protocol::UDP, _) => (Proto::Udp, ports),
            (Protocol::UDP_LITE, _) => (Proto::UdpLite, ports),
            (Protocol::ICMP, [8, 0, ..]) => (Proto::Icmp, (quoted.echo_id(), 0)),
            (Protocol::ICMPV6, [128, 0, ..]) => (Proto::Icmpv6, (quoted.echo_id(), 0)),
            _ => return,
        };
        let (local, remote) = (ip_bytes(quoted.src), ip_bytes(quoted.dst));
        let tuple = Tuple {
            local,
            remote,
            local_port,
            remote_port,
            scope: tuple_scope(&local, &remote, ingress.nic),
            proto,
        };
        let mtu = told.mtu.map(|mtu| if mtu == 0 { below(quoted.total_len) } else { mtu });
        let told = Unreachable { mtu: mtu.map(|mtu| believable_mtu(&remote, mtu)), ..told };
        let to = scoped(remote, remote_port, ingress.nic);
        let demux = &self.io.demux;
        let target = self.target_of(&tuple).or_else(|| {
            // Whoever would get an answer to the datagram is told.
            let scope = scope_number(Some(ingress.nic));
            let member = || demux.member(proto, &local, local_port, scope, || demux.flow_hash(&tuple));
            if proto == Proto::Tcp { None } else { member().map(Target::Datagram) }
        });
        match target {
            Some(Target::Connection(key)) => {
                let seq = quoted.tcp_seq();
                if let Some(id) = self.tcp_unreachable(now, key, seq, told) {
                    self.report(id, ErrorReport::icmp(now, ingress, &told, to, transport.clone()));
                }
            }
            Some(Target::Datagram(id)) => {
                self.note_mtu(now, remote, told);
                self.udp_unreachable(now, id, ingress, &told, to, transport);
            }
            Some(Target::HalfOpen(key)) => self.half_open_unreachable(key, quoted.tcp_seq(), told),
            Some(Target::TimeWait(_) | Target::Flow(_)) | None => {
                self.io.counters.bump(Counter::IcmpInErrors);
            }
        }
    }

    /// Remembers a path's MTU.
    pub(crate) fn note_mtu(&mut self, now: Instant, remote: [u8; 16], told: Unreachable) {
        let Some(mtu) = told.mtu else { return };
        let known = self.io.path(&remote, None, None).map_or(u32::MAX, |path| path.mtu);
        if mtu > known {
            return; // RFC 8201 §4: such a message never increases the estimate.
        }
        self.io.pmtu.set(now, remote, mtu);
        if mtu < known {
            self.io.routes.generation = self.io.routes.generation.wrapping_add(1);
        }
    }
}

/// The MTU to try when a router doesn't say what it carries: the next of RFC 1191 §7.1's plateaus below the
/// length of the packet that was too long.
fn below(len: usize) -> u32 {
    const PLATEAUS: [u32; 9] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296];
    PLATEAUS.into_iter().find(|plateau| (*plateau as usize) < len).unwrap_or(68)
}

/// An MTU below the least there can be is a mistake or an attack.
fn believable_mtu(remote: &[u8; 16], mtu: u32) -> u32 {
    mtu.max(if v4_bytes(remote).is_some() { LEAST_V4 } else { LEAST_V6 })
}

/// RFC 1122 §4.2.3.9 and icmp(7): what an IPv4 error means to a socket, as Linux has it.
fn told_v4(icmp: Icmpv4) -> Option<Unreachable> {
    let (kind, code, _) = icmp.parts();
    let plain = |error, hard| Some(Unreachable { error, hard, mtu: None, kind, code, info: 0 });
    match icmp {
        Icmpv4::Unreachable { code: Icmpv4::FRAGMENTATION_NEEDED, mtu } => {
            let mtu = u32::from(mtu);
            let error = Error::MessageSize;
            Some(Unreachable { error, hard: true, mtu: Some(mtu), kind, code, info: mtu })
        }
        Icmpv4::Unreachable { code, .. } => match code {
            0 | 11 => plain(Error::NetworkUnreachable, false),
            1 | 12 => plain(Error::HostUnreachable, false),
            2 => plain(Error::ProtocolOption, true),
            3 => plain(Error::ConnectionRefused, true),
            5 => plain(Error::NotSupported, false),
            6 | 9 => plain(Error::NetworkUnreachable, true),
            7 | 8 | 10 | 13..=15 => plain(Error::HostUnreachable, true),
            _ => None,
        },
        // As the kernel: of fragments that were not put together nobody hears.
        Icmpv4::TimeExceeded { code: 0 } => plain(Error::HostUnreachable, false),
        Icmpv4::ParameterProblem { pointer, .. } => {
            let info = u32::from(pointer);
            Some(Unreachable { error: Error::Protocol, hard: true, mtu: None, kind, code, info })
        }
        _ => None,
    }
}

/// What an IPv6 error means to a socket, as Linux has it.
fn told_v6(icmp: Icmpv6) -> Option<Unreachable> {
    let (kind, code, rest) = icmp.parts();
    let info = u32::from_be_bytes(rest);
    let plain = |error, hard| Some(Unreachable { error, hard, mtu: None, kind, code, info });
    match icmp {
        Icmpv6::PacketTooBig { mtu } => {
            let error = Error::MessageSize;
            Some(Unreachable { error, hard: true, mtu: Some(mtu), kind, code, info })
        }
        Icmpv6::Unreachable { code } => match code {
            0 => plain(Error::NetworkUnreachable, false),
            2 | 3 => plain(Error::HostUnreachable, false),
            4 => plain(Error::ConnectionRefused, true),
            1 | 5 | 6 => plain(Error::PermissionDenied, true),
            _ => plain(Error::Protocol, true),
        },
        Icmpv6::TimeExceeded { .. } => plain(Error::HostUnreachable, false),
        Icmpv6::ParameterProblem { .. } => plain(Error::Protocol, true),
        // RFC 4443 §2.4 (a)
        Icmpv6::Other { kind: ..128, .. } => plain(Error::Protocol, false),
        _ => None,
    }
}
