//! ICMP and `ICMPv6` (RFC 792, RFC 1122 §3.2.2, RFC 4443): echo, errors sent, errors taken in.
//!
//! An error that comes in is believed only as far as it quotes a packet that a socket of ours can have
//! sent (RFC 5927). Errors that go out are limited in rate and never answer an error or a broadcast.

use crate::Stack;
use crate::address::{ip_bytes, v4_bytes};
use crate::counters::Counter;
use crate::demux::{Proto, Target, Tuple, scope_number};
use crate::error::Error;
use crate::io::Io;
use crate::ip::address::Cast;
use crate::ip::input::Ingress;
use crate::ip::output::IpParams;
use crate::ip::pmtu::{LEAST_V4, LEAST_V6};
use crate::socket::errors::ErrorReport;
use crate::socket::{scoped, tuple_scope};
use sockeye_packet::{Chunk, Instant, Packet, Payload};
use sockeye_wire::{Icmpv4, Icmpv6, IpLayout, Ipv4Fixed, Ipv6Fixed, Ipv6Header, Protocol, Quoted};

/// RFC 1812 §4.3.2.3: an IPv4 error is at most this long.
const ERROR_V4: usize = 576;
/// RFC 4443 §2.4 (c): an IPv6 error is at most this long.
const ERROR_V6: usize = 1280;

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Complaint {
    /// Nobody speaks this protocol here.
    Protocol,
    /// Nobody has this port here.
    Port,
    /// IPv6: a header field or option that can't be processed.
    Parameter { code: u8, pointer: u32 },
    /// A router: its time to live is over (RFC 792, RFC 4443 §3.3).
    Expired,
    /// A router: no route leads there.
    NoRoute,
    /// A router: it is too long for the next link, whose MTU this is, and must not be cut.
    TooBig { mtu: u32 },
}

impl Complaint {
    /// Whether it is about a packet that is for somebody else.
    const fn is_of_router(self) -> bool {
        matches!(self, Complaint::Expired | Complaint::NoRoute | Complaint::TooBig { .. })
    }

    /// The message for an IPv4 packet; IPv6's parameter problems have none.
    fn message_v4(self) -> Option<Icmpv4> {
        let unreachable = |code, mtu| Some(Icmpv4::Unreachable { code, mtu });
        match self {
            Complaint::Protocol => unreachable(Icmpv4::PROTOCOL_UNREACHABLE, 0),
            Complaint::Port => unreachable(Icmpv4::PORT_UNREACHABLE, 0),
            Complaint::NoRoute => unreachable(Icmpv4::NET_UNREACHABLE, 0),
            // RFC 1191 §4. No MTU is longer than 16 bits can say.
            Complaint::TooBig { mtu } => unreachable(Icmpv4::FRAGMENTATION_NEEDED, mtu as u16),
            Complaint::Expired => Some(Icmpv4::TimeExceeded { code: 0 }),
            Complaint::Parameter { .. } => None,
        }
    }

    /// The message for an IPv6 packet.
    fn message_v6(self, packet: &Packet) -> Icmpv6 {
        match self {
            Complaint::Protocol => Icmpv6::ParameterProblem { code: 1, pointer: next_header_at(packet) },
            Complaint::Port => Icmpv6::Unreachable { code: Icmpv6::PORT_UNREACHABLE },
            Complaint::NoRoute => Icmpv6::Unreachable { code: Icmpv6::NO_ROUTE },
            Complaint::TooBig { mtu } => Icmpv6::PacketTooBig { mtu },
            Complaint::Expired => Icmpv6::TimeExceeded { code: 0 },
            Complaint::Parameter { code, pointer } => Icmpv6::ParameterProblem { code, pointer },
        }
    }
}

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

impl Io {
    /// Answers a packet with an ICMP error, where that is allowed.
    pub(crate) fn complain(&mut self, now: Instant, ingress: &Ingress, packet: &Packet, what: Complaint) {
        // RFC 1122 §3.2.2, RFC 4443 §2.4 (e).
        let later_fragment = ingress.fragment.is_some_and(|fragment| fragment.offset != 0);
        let is_unicast = match ingress.cast {
            Cast::Unicast => true,
            Cast::Other => what.is_of_router() || self.flows.config().is_some(),
            Cast::Broadcast | Cast::Multicast => false,
        };
        if !is_unicast || later_fragment || is_icmp_error(ingress, packet) {
            return;
        }
        let Some(ip) = self.complaint_params(ingress, what) else { return };
        if !self.icmp_limit.take(now) {
            self.counters.bump(Counter::IcmpOutRateLimitGlobal);
            return;
        }
        let mut header = [0; 8];
        if ingress.v4 {
            let Some(message) = what.message_v4() else { return };
            message.emit(&mut header);
        } else {
            what.message_v6(packet).emit(&mut header);
        }
        let room = if ingress.v4 { ERROR_V4 } else { ERROR_V6 } - ip.header_len() - header.len();
        let quoted = quote(packet, room);
        let expired = what == Complaint::Expired;
        self.counters.bump(Counter::IcmpOutMsgs);
        self.counters.bump(if expired { Counter::IcmpOutTimeExcds } else { Counter::IcmpOutDestUnreachs });
        let answer = self.icmp_packet(ingress.nic, &ip, header, quoted);
        self.reply(ingress.nic, answer);
    }

    /// The header of an error: from the address that the packet went to, or a router's own address on the way
    /// back (RFC 1812 §4.3.2.4).
    fn complaint_params(&self, ingress: &Ingress, what: Complaint) -> Option<IpParams> {
        let ip = self.answer_params(ingress, 0);
        if !what.is_of_router() {
            return Some(ip);
        }
        Some(IpParams { src: self.addresses.source(&ingress.src, ingress.nic)?, ..ip })
    }

    /// The header of an answer: back to where the packet came from.
    fn answer_params(&self, ingress: &Ingress, tos: u8) -> IpParams {
        let protocol = if ingress.v4 { Protocol::ICMP } else { Protocol::ICMPV6 };
        IpParams {
            src: ingress.dst,
            dst: ingress.src,
            protocol,
            ttl: self.config.default_ttl,
            tos,
            dont_fragment: false,
            flow_label: 0,
        }
    }
}

/// The start of a packet, at most `room` bytes; of a super-segment, as its first segment would begin.
fn quote(packet: &Packet, room: usize) -> Payload {
    let Packet { head, payload, meta } = packet;
    let mut head = head.clone();
    let mut len = payload.len();
    if meta.gso_size > 0 && len > usize::from(meta.gso_size) {
        len = usize::from(meta.gso_size);
        let total = (head.len() + len) as u16;
        if let Some(ip) = Ipv4Fixed::at_mut(&mut head).filter(|_| packet.head[0] >> 4 == 4) {
            ip.total_len = total.into();
        } else if let Some(ip) = Ipv6Fixed::at_mut(&mut head) {
            ip.payload_len = (total - Ipv6Header::LEN as u16).into();
        }
    }
    let mut quoted = Payload::from(Chunk::copy_from(&head));
    quoted.extend(payload.slice(0, len.min(room.saturating_sub(quoted.len()))));
    quoted
}

/// Whether the packet is itself an ICMP error, or might be one.
fn is_icmp_error(ingress: &Ingress, packet: &Packet) -> bool {
    let message = &packet.head[ingress.transport.min(packet.head.len())..];
    match (ingress.protocol, ingress.v4) {
        (Protocol::ICMP, true) => Icmpv4::parse(message).is_ok_and(|(icmp, _)| icmp.is_error()),
        (Protocol::ICMPV6, false) => Icmpv6::parse(message).is_ok_and(|(icmp, _)| icmp.is_error()),
        _ => false,
    }
}

/// Where the number of the protocol that nobody speaks stands in an IPv6 packet.
fn next_header_at(packet: &Packet) -> u32 {
    let (mut at, mut next, mut start) = (6_usize, packet.head[6], 40_usize);
    while matches!(next, 0 | 43 | 44 | 60) {
        let Some([following, len]) = packet.head.get(start..start + 2) else { break };
        let skip = if next == 44 { 8 } else { 8 + usize::from(*len) * 8 };
        (at, next, start) = (start, *following, start + skip);
    }
    at as u32
}

impl Stack {
    /// Takes in an ICMP message whose checksum is right.
    pub(crate) fn icmp_input(&mut self, now: Instant, ingress: &Ingress, packet: Packet) {
        self.io.counters.bump(Counter::IcmpInMsgs);
        let message = &packet.head[ingress.transport..];
        let told = if ingress.v4 {
            match Icmpv4::parse(message) {
                Ok((Icmpv4::EchoRequest { id, seq }, _)) => {
                    return self.echo(ingress, [0, id, seq], packet);
                }
                Ok((Icmpv4::EchoReply { id, .. }, _)) => return self.echo_reply(now, ingress, id, packet),
                Ok((icmp, _)) => told_v4(icmp),
                Err(_) => None,
            }
        } else {
            match Icmpv6::parse(message) {
                Ok((Icmpv6::EchoRequest { id, seq }, _)) => {
                    return self.echo(ingress, [129, id, seq], packet);
                }
                Ok((Icmpv6::EchoReply { id, .. }, _)) => return self.echo_reply(now, ingress, id, packet),
                Ok((icmp, _)) => told_v6(icmp),
                Err(_) => None,
            }
        };
        let Some(told) = told else { return };
        self.io.counters.bump(Counter::IcmpInDestUnreachs);
        // What is quoted may lie in several chunks; its headers are all that matter.
        let quoted = packet.payload.slice(0, packet.payload.len().min(256)).into_chunk();
        if let (Ok(quoted), Ok(layout)) = (Quoted::parse(&quoted), IpLayout::parse(&quoted)) {
            let transport = packet.payload.slice(layout.transport, packet.payload.len());
            self.deliver_error(now, ingress, &quoted, told, &transport);
        }
    }

    /// RFC 1122 §3.2.2.6, RFC 4443 §4.2: the answer carries all data of the request.
    fn echo(&mut self, ingress: &Ingress, [kind, id, seq]: [u16; 3], packet: Packet) {
        self.io.counters.bump(Counter::IcmpInEchos);
        if ingress.cast == Cast::Other {
            return self.io.foreign_echo(ingress, [id, seq], packet);
        }
        if ingress.cast != Cast::Unicast || !self.io.config.answer_echo {
            return;
        }
        let mut header = [0; 8];
        header[0] = kind as u8;
        header[4..6].copy_from_slice(&id.to_be_bytes());
        header[6..8].copy_from_slice(&seq.to_be_bytes());
        let ip = self.io.answer_params(ingress, ingress.tos_ecn & 0xfc);
        let Packet { payload, .. } = packet;
        self.io.counters.bump(Counter::IcmpOutMsgs);
        self.io.counters.bump(Counter::IcmpOutEchoReps);
        let reply = self.io.icmp_packet(ingress.nic, &ip, header, payload);
        let mtu = self.io.nic(ingress.nic).config.mtu as usize;
        for packet in self.io.fragment(reply, mtu) {
            self.io.reply(ingress.nic, packet);
        }
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
        let target = demux.find(&tuple).or_else(|| {
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
        _ => None,
    }
}
