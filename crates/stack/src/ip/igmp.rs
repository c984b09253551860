//! IGMP, in which IPv4 hosts tell routers of their groups: version 3 (RFC 3376), and 1 and 2 (RFC 1112, RFC 2236)
//! where a router speaks no other.

use crate::Stack;
use crate::address::{map_v4, v4_bytes};
use crate::counters::Counter;
use crate::io::Io;
use crate::ip::address::is_multicast;
use crate::ip::input::Ingress;
use crate::ip::multicast::report::{Query, Record, bodies};
use crate::ip::multicast::{ALL_HOSTS_V4, LinkKey};
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;
use sockeye_packet::{Checksum, Chunk, Head, Instant, Meta, NicId, Packet, Payload};
use sockeye_wire::{Ipv4Header, Ipv4Options, Protocol};

/// Where version 3 reports go (RFC 3376 §4.2.14).
const ALL_IGMP_V3_ROUTERS: [u8; 4] = [224, 0, 0, 22];
/// Where version 2 leaves go (RFC 2236 §3).
const ALL_ROUTERS: [u8; 4] = [224, 0, 0, 2];
/// RFC 2113: routers look at the packet.
const ROUTER_ALERT: [u8; 4] = [148, 4, 0, 0];
/// Of every version 3 message, and of every other.
const HEADER_LEN: usize = 8;
/// RFC 3376 §8.12, with the default query interval of 125 s: how long an older querier is believed to be there,
/// beside the time that it gives for answers.
const OLDER_QUERIER: Duration = Duration::from_secs(2 * 125);
/// Most bytes of a query that are read: with 64 sources.
const LONGEST_QUERY: usize = 12 + 4 * 64;

const QUERY: u8 = 0x11;
const REPORT_V1: u8 = 0x12;
const REPORT_V2: u8 = 0x16;
const LEAVE_V2: u8 = 0x17;
const REPORT_V3: u8 = 0x22;

/// Reads a query; none for other messages and for what is not in order.
pub(crate) fn parse_query(message: &[u8]) -> Option<Query> {
    let (header, rest) = message.split_first_chunk::<HEADER_LEN>()?;
    let [QUERY, code, _, _, group @ ..] = *header else { return None };
    let group = match group {
        [0, 0, 0, 0] => None,
        group => Some(map_v4(group)).filter(is_multicast).map(Some)?,
    };
    let tenths = |count: u32| Duration::from_millis(u64::from(count) * 100);
    // RFC 3376 §7.1: the versions are told apart by length and code.
    let Some((more, sources)) = rest.split_first_chunk::<4>() else {
        let (version, time) = if code == 0 { (1, 100) } else { (2, code.into()) };
        return rest.is_empty().then_some(Query {
            version,
            max_response: tenths(time),
            group,
            sources: Vec::new(),
        });
    };
    let count = usize::from(u16::from_be_bytes([more[2], more[3]]));
    let (sources, _) = sources.as_chunks::<4>();
    // What doesn't fit in a message of ours is asked of the whole group.
    let listed = if count > sources.len() { &[][..] } else { &sources[..count] };
    Some(Query {
        version: 3,
        max_response: tenths(decode(code)),
        group,
        sources: listed.iter().map(|source| map_v4(*source)).collect(),
    })
}

/// RFC 3376 §4.1.1: large times are a mantissa and an exponent.
fn decode(code: u8) -> u32 {
    let (code, exponent) = (u32::from(code), u32::from(code >> 4 & 7));
    if code < 128 { code } else { (code & 0xf | 0x10) << (exponent + 3) }
}

impl Stack {
    /// Takes in an IGMP message.
    pub(crate) fn igmp_input(&mut self, now: Instant, ingress: &Ingress, packet: &Packet) {
        self.io.igmp_input(now, ingress, packet);
    }
}

impl Io {
    fn igmp_input(&mut self, now: Instant, ingress: &Ingress, packet: &Packet) {
        let Some(message) = message_of(packet, ingress.transport) else {
            self.counters.bump(Counter::IpInCsumErrors);
            return;
        };
        let Some(query) = parse_query(&message) else { return };
        // RFC 3376 §4 and §4.1.12: from the link, to everybody or to the group that it is about.
        let addressed = ingress.dst == ALL_HOSTS_V4 || Some(ingress.dst) == query.group;
        if ingress.ttl != 1 || ingress.own || !addressed {
            self.counters.bump(Counter::IpInHdrErrors);
            return;
        }
        let link = LinkKey { nic: ingress.nic, v4: true };
        let older_for = OLDER_QUERIER + query.max_response;
        self.query_input(now, link, query, older_for);
    }

    /// Sends records as version 3 does.
    pub(crate) fn send_igmp_v3(&mut self, nic: NicId, records: &[Record]) {
        let overhead = Ipv4Header::MIN_LEN + ROUTER_ALERT.len() + HEADER_LEN;
        let room = (self.nic(nic).config.mtu as usize).saturating_sub(overhead);
        for (count, body) in bodies(records, room) {
            let [high, low] = count.to_be_bytes();
            self.send_igmp(nic, ALL_IGMP_V3_ROUTERS, [REPORT_V3, 0, 0, 0, 0, 0, high, low], body);
        }
    }

    /// Says the same in version 1 or 2, as far as they can.
    pub(crate) fn send_igmp_older(&mut self, nic: NicId, version: u8, records: &[Record]) {
        for record in records {
            let Some(group) = v4_bytes(&record.group) else { continue };
            let [a, b, c, d] = group;
            let kind = if version == 1 { REPORT_V1 } else { REPORT_V2 };
            match self.is_member_still(LinkKey { nic, v4: true }, record) {
                Some(true) => self.send_igmp(nic, group, [kind, 0, 0, 0, a, b, c, d], Vec::new()),
                // RFC 2236 §4: version 1 knows no leaving.
                Some(false) if version > 1 => {
                    self.send_igmp(nic, ALL_ROUTERS, [LEAVE_V2, 0, 0, 0, a, b, c, d], Vec::new());
                }
                Some(false) | None => {}
            }
        }
    }

    fn send_igmp(&mut self, nic: NicId, to: [u8; 4], mut header: [u8; HEADER_LEN], body: Vec<u8>) {
        let sum = sockeye_wire::Checksum::new().with(&header).with(&body).finish();
        header[2..4].copy_from_slice(&sum.to_be_bytes());
        let src = self.addresses.iter().filter(|address| address.nic == nic).find_map(|a| v4_bytes(&a.ip));
        let ip_len = Ipv4Header::MIN_LEN + ROUTER_ALERT.len();
        let mut head = Head::zeroed(ip_len + HEADER_LEN);
        // RFC 3376 §4: TTL 1, internetwork control, router alert.
        Ipv4Header {
            tos_ecn: 0xc0,
            total_len: (head.len() + body.len()) as u16,
            dont_fragment: true,
            ttl: 1,
            protocol: Protocol::IGMP,
            src: src.map_or(Ipv4Addr::UNSPECIFIED, Ipv4Addr::from),
            dst: Ipv4Addr::from(to),
            options: Ipv4Options::from_slice(&ROUTER_ALERT),
            ..Ipv4Header::default()
        }
        .emit(&mut head);
        head[ip_len..].copy_from_slice(&header);
        let payload = if body.is_empty() { Payload::EMPTY } else { Payload::from(Chunk::from(body)) };
        let meta = Meta { nic, checksum: Checksum::Verified, tos_ecn: 0xc0, ttl: 1, ..Meta::default() };
        self.reply(nic, Packet { head, payload, meta });
    }
}

/// An IGMP message, of a query as much as is read; none when its checksum is wrong.
fn message_of(packet: &Packet, transport: usize) -> Option<Vec<u8>> {
    let mut sum = sockeye_wire::Checksum::new();
    let in_head = packet.head.get(transport..)?;
    sum.add(in_head);
    packet.payload.chunks().for_each(|chunk| sum.add(chunk));
    if sum.finish() != 0 {
        return None;
    }
    let mut message = in_head.to_vec();
    let more = LONGEST_QUERY.saturating_sub(message.len()).min(packet.payload.len());
    message.extend_from_slice(&packet.payload.slice(0, more).into_chunk());
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn queries_are_read_by_version() {
        let group = map_v4([239, 1, 2, 3]);
        let any = |version, tenths: u64, group| {
            let max_response = Duration::from_millis(tenths * 100);
            Some(Query { version, max_response, group, sources: vec![] })
        };
        assert_eq!(parse_query(&[0x11, 0, 0, 0, 0, 0, 0, 0]), any(1, 100, None));
        assert_eq!(parse_query(&[0x11, 25, 0, 0, 239, 1, 2, 3]), any(2, 25, Some(group)));
        assert_eq!(parse_query(&[0x11, 100, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0]), any(3, 100, None));
        // RFC 3376 §4.1.1: 0xff is 31 << 10.
        assert_eq!(parse_query(&[0x11, 0xff, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0]), any(3, 31_744, None));
        let with_source = [0x11, 10, 0, 0, 239, 1, 2, 3, 2, 125, 0, 1, 10, 0, 0, 9];
        assert_eq!(parse_query(&with_source).unwrap().sources, [map_v4([10, 0, 0, 9])]);
        // More sources than there are: the whole group is asked about.
        let short = [0x11, 10, 0, 0, 239, 1, 2, 3, 2, 125, 0xff, 0xff, 10, 0, 0, 9];
        assert_eq!(parse_query(&short), any(3, 10, Some(group)));
        for bad in
            [&[][..], &[0x11; 7], &[0x11, 0, 0, 0, 10, 0, 0, 1], &[0x22; 8], &[0x11, 1, 0, 0, 0, 0, 0, 0, 0]]
        {
            assert_eq!(parse_query(bad), None, "{bad:?}");
        }
    }
}
