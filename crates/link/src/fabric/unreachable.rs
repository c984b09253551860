//! The ICMP errors that the fabric sends in the gateway's name, and their bound.

use super::FabricConfig;
use super::route::Unreachable;
use crate::segmentation::{self, Segments};
use sockeye_packet::{Checksum, Chunk, Head, Instant, Meta, Packet, Payload};
use sockeye_wire::{Icmpv4, Icmpv6, IpLayout, Ipv4Header, Ipv6Header, Protocol};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Hop limit of the errors.
const TTL: u8 = 64;

/// Precedence "internetwork control", which routers give to ICMP errors (RFC 1812 §4.3.2.5).
const TOS: u8 = 0xc0;

/// The longest IPv4 error (RFC 1812 §4.3.2.3).
const LONGEST_V4: usize = 576;

/// The longest IPv6 error: the least MTU there is (RFC 4443 §2.4 (c)).
const LONGEST_V6: usize = 1280;

/// The sender of `packet`, if it may be told of an error (RFC 1122 §3.2.2, RFC 4443 §2.4 (e)).
pub(super) fn may_be_told(packet: &Packet) -> Option<IpAddr> {
    let ip = IpLayout::parse(&packet.head).ok()?;
    may_be_reported(&ip, &packet.head).then_some(ip.src)
}

/// The error about `packet`, for its `sender`.
pub(super) fn report(config: &FabricConfig, sender: IpAddr, packet: &Packet, why: Unreachable) -> Packet {
    match sender {
        IpAddr::V4(sender) => report_v4(config.gateway_v4, sender, packet, why),
        IpAddr::V6(sender) => report_v6(config.gateway_v6, sender, packet, why),
    }
}

fn may_be_reported(ip: &IpLayout, head: &[u8]) -> bool {
    let src_is_host = !ip.src.is_unspecified()
        && !ip.src.is_multicast()
        && !ip.src.is_loopback()
        && ip.src != IpAddr::V4(Ipv4Addr::BROADCAST);
    let first_fragment = ip.fragment.is_none_or(|fragment| fragment.offset == 0);
    let transport = head.get(ip.transport..).unwrap_or_default();
    // What can't be read might be an error.
    let no_error = match ip.protocol {
        Protocol::ICMP => Icmpv4::parse(transport).is_ok_and(|(message, _)| !message.is_error()),
        Protocol::ICMPV6 => Icmpv6::parse(transport).is_ok_and(|(message, _)| !message.is_error()),
        _ => true,
    };
    src_is_host && first_fragment && no_error
}

fn report_v4(gateway: Ipv4Addr, sender: Ipv4Addr, packet: &Packet, why: Unreachable) -> Packet {
    let quote = quote(packet, LONGEST_V4 - Ipv4Header::MIN_LEN - Icmpv4::LEN);
    let code = match why {
        Unreachable::Host => Icmpv4::HOST_UNREACHABLE,
        Unreachable::Net => Icmpv4::NET_UNREACHABLE,
    };
    let mut head = Head::zeroed(Ipv4Header::MIN_LEN + Icmpv4::LEN);
    let ip = Ipv4Header {
        src: gateway,
        dst: sender,
        protocol: Protocol::ICMP,
        ttl: TTL,
        tos_ecn: TOS,
        total_len: (head.len() + quote.len()) as u16,
        ..Ipv4Header::default()
    };
    let ip_len = ip.emit(&mut head);
    Icmpv4::Unreachable { code, mtu: 0 }.emit(&mut head[ip_len..]);
    error(head, quote, TOS)
}

fn report_v6(gateway: Ipv6Addr, sender: Ipv6Addr, packet: &Packet, why: Unreachable) -> Packet {
    let quote = quote(packet, LONGEST_V6 - Ipv6Header::LEN - Icmpv6::LEN);
    let code = match why {
        Unreachable::Host => Icmpv6::ADDRESS_UNREACHABLE,
        Unreachable::Net => Icmpv6::NO_ROUTE,
    };
    let mut head = Head::zeroed(Ipv6Header::LEN + Icmpv6::LEN);
    let ip = Ipv6Header {
        src: gateway,
        dst: sender,
        next_header: Protocol::ICMPV6,
        hop_limit: TTL,
        payload_len: (Icmpv6::LEN + quote.len()) as u16,
        ..Ipv6Header::default()
    };
    let ip_len = ip.emit(&mut head);
    Icmpv6::Unreachable { code }.emit(&mut head[ip_len..]);
    error(head, quote, 0)
}

fn error(head: Head, quote: Chunk, tos_ecn: u8) -> Packet {
    let meta = Meta { checksum: Checksum::Unfilled, ttl: TTL, tos_ecn, ..Meta::default() };
    Packet { head, payload: Payload::from(quote), meta }
}

/// The start of the packet as it would have crossed a wire, at most `limit` bytes.
fn quote(packet: &Packet, limit: usize) -> Chunk {
    let mut first = Segments::of(packet).slice(0..1);
    segmentation::fill_checksums(&mut first);
    let mut bytes = first.to_vec();
    bytes.truncate(limit);
    Chunk::from(bytes)
}

/// A bound on errors (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)): a burst, refilled at a steady rate.
#[derive(Debug)]
pub(super) struct TokenBucket {
    tokens: u64,
    /// Up to when refilling is accounted for.
    refilled_at: Instant,
}

impl TokenBucket {
    /// The most errors at once.
    const BURST: u64 = 64;
    /// Nanoseconds per error in the long run: a thousand a second.
    const INTERVAL: u64 = 1_000_000;

    /// Takes a token if there is one; says whether there was.
    pub(super) fn try_take(&mut self, now: Instant) -> bool {
        let earned = now.as_nanos().saturating_sub(self.refilled_at.as_nanos()) / Self::INTERVAL;
        if self.tokens + earned >= Self::BURST {
            (self.tokens, self.refilled_at) = (Self::BURST, now.max(self.refilled_at));
        } else {
            self.tokens += earned;
            self.refilled_at = Instant::from_nanos(self.refilled_at.as_nanos() + earned * Self::INTERVAL);
        }
        let taken = self.tokens > 0;
        self.tokens -= u64::from(taken);
        taken
    }
}

impl Default for TokenBucket {
    fn default() -> TokenBucket {
        TokenBucket { tokens: Self::BURST, refilled_at: Instant::ZERO }
    }
}
