//! ICMP errors that this host sends about packets that it took in (RFC 1122 §3.2.2, RFC 1812 §4.3, RFC 4443 §2.4):
//! which packets may be answered with one, what it says, how much it quotes.

use crate::address::{is_unspecified, is_v4};
use crate::counters::Counter;
use crate::io::Io;
use crate::ip::address::{Cast, is_multicast};
use crate::ip::input::Ingress;
use crate::ip::output::IpParams;
use sockeye_packet::{Chunk, Instant, Packet, Payload};
use sockeye_wire::{Icmpv4, Icmpv6, Ipv4Fixed, Ipv6Fixed, Ipv6Header, Protocol};

/// RFC 1812 §4.3.2.3: an IPv4 error is at most this long.
const ERROR_V4: usize = 576;
/// RFC 4443 §2.4 (c): an IPv6 error is at most this long.
const ERROR_V6: usize = 1280;

/// RFC 1812 §4.3.2.5: the precedence of IPv4 errors, "internetwork control".
pub(crate) const ERROR_TOS: u8 = 0xc0;
/// What they take over of the packet that they are about: its type of service without precedence and ECN bits.
const TOS_MASK: u8 = 0x1c;
/// The highest type of an IPv4 message that is known not to be an error, as Linux has it.
const HIGHEST_TYPE_V4: u8 = 18;

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Complaint {
    /// Nobody speaks this protocol here.
    Protocol,
    /// Nobody has this port here.
    Port,
    /// A header field or option that can't be processed, and where it stands in the packet.
    Parameter { code: u8, pointer: u32 },
    /// Not all of its fragments came in time (RFC 792, RFC 4443 §3.3).
    Incomplete,
    /// A router: its time to live is over (RFC 792, RFC 4443 §3.3).
    Expired,
    /// A router: no route leads there.
    NoRoute,
    /// A router: its route says that the host can't be reached.
    NoHost,
    /// A router: its route says that it isn't permitted.
    Prohibited,
    /// A router: it is too long for the next link, whose MTU this is, and must not be cut.
    TooBig { mtu: u32 },
}

impl Complaint {
    /// Whether it is about a packet that is for somebody else.
    const fn is_of_router(self) -> bool {
        matches!(
            self,
            Complaint::Expired
                | Complaint::NoRoute
                | Complaint::NoHost
                | Complaint::Prohibited
                | Complaint::TooBig { .. }
        )
    }

    /// RFC 4443 §2.4 (e.3): whether it is told of packets to groups, too. Of an option that says so, it is.
    fn is_about_groups(self, packet: &Packet) -> bool {
        let Complaint::Parameter { code: 2, pointer } = self else { return false };
        packet.head[0] >> 4 == 6 && packet.head.get(pointer as usize).is_some_and(|kind| kind >> 6 == 2)
    }

    /// What counts the messages.
    fn counter(self, v4: bool) -> Counter {
        match self {
            Complaint::Expired | Complaint::Incomplete => Counter::IcmpOutTimeExcds,
            Complaint::Parameter { .. } => Counter::IcmpOutParmProbs,
            Complaint::Protocol if !v4 => Counter::IcmpOutParmProbs,
            _ => Counter::IcmpOutDestUnreachs,
        }
    }

    /// The message for an IPv4 packet.
    fn message_v4(self) -> Icmpv4 {
        let unreachable = |code, mtu| Icmpv4::Unreachable { code, mtu };
        match self {
            Complaint::Protocol => unreachable(Icmpv4::PROTOCOL_UNREACHABLE, 0),
            Complaint::Port => unreachable(Icmpv4::PORT_UNREACHABLE, 0),
            Complaint::NoRoute => unreachable(Icmpv4::NET_UNREACHABLE, 0),
            Complaint::NoHost => unreachable(Icmpv4::HOST_UNREACHABLE, 0),
            Complaint::Prohibited => unreachable(Icmpv4::ADMIN_PROHIBITED, 0),
            // RFC 1191 §4. No MTU is longer than 16 bits can say.
            Complaint::TooBig { mtu } => unreachable(Icmpv4::FRAGMENTATION_NEEDED, mtu as u16),
            Complaint::Expired => Icmpv4::TimeExceeded { code: 0 },
            Complaint::Incomplete => Icmpv4::TimeExceeded { code: 1 },
            Complaint::Parameter { code, pointer } => {
                Icmpv4::ParameterProblem { code, pointer: pointer as u8 }
            }
        }
    }

    /// The message for an IPv6 packet.
    fn message_v6(self, packet: &Packet) -> Icmpv6 {
        match self {
            Complaint::Protocol => Icmpv6::ParameterProblem { code: 1, pointer: next_header_at(packet) },
            Complaint::Port => Icmpv6::Unreachable { code: Icmpv6::PORT_UNREACHABLE },
            // As Linux: of a host that can't be reached there is no route.
            Complaint::NoRoute | Complaint::NoHost => Icmpv6::Unreachable { code: Icmpv6::NO_ROUTE },
            // RFC 4443 §3.1: communication administratively prohibited.
            Complaint::Prohibited => Icmpv6::Unreachable { code: 1 },
            Complaint::TooBig { mtu } => Icmpv6::PacketTooBig { mtu },
            Complaint::Expired => Icmpv6::TimeExceeded { code: 0 },
            Complaint::Incomplete => Icmpv6::TimeExceeded { code: 1 },
            Complaint::Parameter { code, pointer } => Icmpv6::ParameterProblem { code, pointer },
        }
    }
}

impl Io {
    /// Answers a packet with an ICMP error, where that is allowed.
    pub(crate) fn complain(&mut self, now: Instant, ingress: &Ingress, packet: &Packet, what: Complaint) {
        let may_be_told = match ingress.cast {
            Cast::Unicast => true,
            Cast::Other => what.is_of_router() || self.flows.config().is_some(),
            Cast::Broadcast => false,
            Cast::Multicast => what.is_about_groups(packet),
        };
        // IPv6 has no such rule, and RFC 8200 §4.5 tells of a later fragment that can be part of no packet.
        let later_fragment = ingress.v4 && ingress.fragment.is_some_and(|fragment| fragment.offset != 0);
        let from_one = is_one_host(&ingress.src) && !self.addresses.is_broadcast(&ingress.src);
        // RFC 1122 §3.2.2, RFC 4443 §2.4 (e).
        if !may_be_told || later_fragment || !from_one || may_be_error(ingress, packet) {
            return;
        }
        let Some(ip) = self.complaint_params(ingress, what) else { return };
        let mut header = [0; 8];
        if ingress.v4 {
            what.message_v4().emit(&mut header);
        } else {
            what.message_v6(packet).emit(&mut header);
        }
        if !self.may_send_error(now, ingress.nic, &ingress.src, ingress.v4, (header[0], header[1])) {
            return;
        }
        let room = if ingress.v4 { ERROR_V4 } else { ERROR_V6 } - ip.header_len() - header.len();
        let quoted = quote(packet, room);
        self.counters.bump(Counter::IcmpOutMsgs);
        self.counters.bump(what.counter(ingress.v4));
        let answer = self.icmp_packet(ingress.nic, &ip, header, quoted);
        self.reply(ingress.nic, answer);
    }

    /// The header of an error: from the address that the packet went to, or where that is not only this host's, an
    /// own one on the way back (RFC 1812 §4.3.2.4, RFC 4443 §2.2). The precedence says that it is about the network
    /// (RFC 1812 §4.3.2.5).
    fn complaint_params(&self, ingress: &Ingress, what: Complaint) -> Option<IpParams> {
        let tos = if ingress.v4 { ERROR_TOS | ingress.tos_ecn & TOS_MASK } else { 0 };
        let ip = self.answer_params(ingress, tos);
        if !what.is_of_router() && ingress.cast != Cast::Multicast {
            return Some(ip);
        }
        Some(IpParams { src: self.addresses.source(&ingress.src, ingress.nic)?, ..ip })
    }

    /// The header of an answer: back to where the packet came from.
    pub(super) fn answer_params(&self, ingress: &Ingress, tos: u8) -> IpParams {
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

/// RFC 1122 §3.2.2, RFC 4443 §2.4 (e.6): whether an address can be that of a single host. (What else is wrong with
/// one has been found out before.)
fn is_one_host(ip: &[u8; 16]) -> bool {
    let nobody = is_v4(ip) && matches!(ip[12], 0 | 240..=255);
    !(nobody || is_unspecified(ip) || is_multicast(ip))
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

/// Whether the packet is itself an ICMP error, or might be one: of a type that isn't known, or cut off.
fn may_be_error(ingress: &Ingress, packet: &Packet) -> bool {
    let message = &packet.head[ingress.transport.min(packet.head.len())..];
    match (ingress.protocol, ingress.v4) {
        (Protocol::ICMP, true) => match Icmpv4::parse(message) {
            Ok((icmp, _)) => icmp.is_error() || icmp.parts().0 > HIGHEST_TYPE_V4,
            Err(_) => true,
        },
        (Protocol::ICMPV6, false) => Icmpv6::parse(message).map_or(true, |(icmp, _)| icmp.is_error()),
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
