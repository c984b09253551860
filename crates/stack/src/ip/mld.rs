//! Multicast Listener Discovery, in which IPv6 hosts tell routers of their groups: version 2 (RFC 3810), and 1
//! (RFC 2710) where a router speaks no other.

use crate::Stack;
use crate::address::is_link_local_v6;
use crate::counters::Counter;
use crate::io::Io;
use crate::ip::address::is_multicast;
use crate::ip::input::Ingress;
use crate::ip::multicast::report::{Query, Record, bodies};
use crate::ip::multicast::{ALL_NODES_V6, LinkKey};
use alloc::vec::Vec;
use core::net::Ipv6Addr;
use core::time::Duration;
use sockeye_packet::{Checksum, Chunk, Head, Instant, Meta, NicId, Packet, Payload};
use sockeye_wire::{Ipv6Header, Protocol};

/// Where version 2 reports go (RFC 3810 §5.2.14).
const ALL_MLD_V2_ROUTERS: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x16];
/// Where version 1 says that a group is left (RFC 2710 §5).
const ALL_ROUTERS: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
/// A hop-by-hop header before `ICMPv6`, with the router alert of MLD (RFC 2711) and padding.
const ROUTER_ALERT: [u8; 8] = [Protocol::ICMPV6.0, 0, 5, 2, 0, 0, 1, 0];
const HEADER_LEN: usize = 8;
/// RFC 3810 §9.12, with the default query interval of 125 s, beside the time that the querier gives for answers.
const OLDER_QUERIER: Duration = Duration::from_secs(2 * 125);
/// Most bytes of a query that are read: with 64 sources.
const LONGEST_QUERY: usize = 28 + 16 * 64;

/// The type of queries.
pub(crate) const QUERY: u8 = 130;
const REPORT_V1: u8 = 131;
const DONE_V1: u8 = 132;
const REPORT_V2: u8 = 143;

/// Reads a query; none for other messages and for what is not in order.
pub(crate) fn parse_query(message: &[u8]) -> Option<Query> {
    let (header, rest) = message.split_first_chunk::<HEADER_LEN>()?;
    let [QUERY, _, _, _, c1, c2, _, _] = *header else { return None };
    let code = u16::from_be_bytes([c1, c2]);
    let (group, rest) = rest.split_first_chunk::<16>()?;
    let group = match *group {
        [0, ..] if *group == [0; 16] => None,
        group => Some(group).filter(is_multicast).map(Some)?,
    };
    // RFC 3810 §8.1: the versions are told apart by length.
    let Some((more, sources)) = rest.split_first_chunk::<4>() else {
        let max_response = Duration::from_millis(code.into());
        return rest.is_empty().then_some(Query { version: 1, max_response, group, sources: Vec::new() });
    };
    let count = usize::from(u16::from_be_bytes([more[2], more[3]]));
    let (sources, _) = sources.as_chunks::<16>();
    // What doesn't fit in a message of ours is asked of the whole group.
    let listed = if count > sources.len() { &[][..] } else { &sources[..count] };
    Some(Query {
        version: 2,
        max_response: Duration::from_millis(decode(code)),
        group,
        sources: listed.to_vec(),
    })
}

/// RFC 3810 §5.1.3: large times are a mantissa and an exponent.
fn decode(code: u16) -> u64 {
    let (code, exponent) = (u64::from(code), u64::from(code >> 12 & 7));
    if code < 32_768 { code } else { (code & 0xfff | 0x1000) << (exponent + 3) }
}

impl Stack {
    /// Takes in a query whose checksum is right.
    pub(crate) fn mld_query(&mut self, now: Instant, ingress: &Ingress, packet: &Packet) {
        self.io.mld_query(now, ingress, packet);
    }
}

impl Io {
    fn mld_query(&mut self, now: Instant, ingress: &Ingress, packet: &Packet) {
        let Some(message) = packet.head.get(ingress.transport..) else { return };
        let mut message = message.to_vec();
        let more = LONGEST_QUERY.saturating_sub(message.len()).min(packet.payload.len());
        message.extend_from_slice(&packet.payload.slice(0, more).into_chunk());
        let Some(query) = parse_query(&message) else { return };
        // RFC 3810 §5.1.14, §6.2: from the link, with the router alert, to everybody or to the group.
        let addressed = ingress.dst == ALL_NODES_V6 || Some(ingress.dst) == query.group;
        let from_link = is_link_local_v6(&ingress.src) && ingress.ttl == 1 && !ingress.own;
        if !from_link || !addressed || !has_router_alert(&packet.head) {
            self.counters.bump(Counter::IcmpInErrors);
            return;
        }
        let link = LinkKey { nic: ingress.nic, v4: false };
        let older_for = OLDER_QUERIER + query.max_response;
        self.query_input(now, link, query, older_for);
    }

    /// Sends records as version 2 does.
    pub(crate) fn send_mld_v2(&mut self, nic: NicId, records: &[Record]) {
        let overhead = Ipv6Header::LEN + ROUTER_ALERT.len() + HEADER_LEN;
        let room = (self.nic(nic).config.mtu as usize).saturating_sub(overhead);
        for (count, body) in bodies(records, room) {
            let [high, low] = count.to_be_bytes();
            self.send_mld(nic, ALL_MLD_V2_ROUTERS, [REPORT_V2, 0, 0, 0, 0, 0, high, low], body);
        }
    }

    /// Says the same in version 1, as far as it can.
    pub(crate) fn send_mld_v1(&mut self, nic: NicId, records: &[Record]) {
        for record in records {
            let (kind, to) = match self.is_member_still(LinkKey { nic, v4: false }, record) {
                Some(true) => (REPORT_V1, record.group),
                Some(false) => (DONE_V1, ALL_ROUTERS),
                None => continue,
            };
            self.send_mld(nic, to, [kind, 0, 0, 0, 0, 0, 0, 0], record.group.to_vec());
        }
    }

    fn send_mld(&mut self, nic: NicId, to: [u8; 16], header: [u8; HEADER_LEN], body: Vec<u8>) {
        // RFC 3590 §4: from a link-local address, or from none.
        let ours = self.addresses.iter().filter(|address| address.nic == nic).map(|address| address.ip);
        let src = ours.into_iter().find(is_link_local_v6).unwrap_or_default();
        let in_front = Ipv6Header::LEN + ROUTER_ALERT.len();
        let mut head = Head::zeroed(in_front + HEADER_LEN);
        Ipv6Header {
            payload_len: (head.len() - Ipv6Header::LEN + body.len()) as u16,
            next_header: Protocol::HOP_BY_HOP,
            hop_limit: 1,
            src: Ipv6Addr::from(src),
            dst: Ipv6Addr::from(to),
            ..Ipv6Header::default()
        }
        .emit(&mut head);
        head[Ipv6Header::LEN..in_front].copy_from_slice(&ROUTER_ALERT);
        head[in_front..].copy_from_slice(&header);
        let meta = Meta { nic, checksum: Checksum::Unfilled, ttl: 1, ..Meta::default() };
        let mut packet = Packet { head, payload: Payload::from(Chunk::from(body)), meta };
        self.finish(nic, &mut packet);
        self.reply(nic, packet);
    }
}

/// Whether the packet starts with hop-by-hop options among which is the router alert.
fn has_router_alert(head: &[u8]) -> bool {
    let Some(options) = head.get(Ipv6Header::LEN..).filter(|_| head[6] == Protocol::HOP_BY_HOP.0) else {
        return false;
    };
    let Some(len) = options.get(1).map(|len| 8 + usize::from(*len) * 8) else { return false };
    let Some(mut rest) = options.get(2..len) else { return false };
    loop {
        rest = match *rest {
            [5, 2, ..] => return true,
            [0, ref rest @ ..] => rest,
            [_, len, ref rest @ ..] if usize::from(len) <= rest.len() => &rest[usize::from(len)..],
            _ => return false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn queries_are_read_by_version() {
        let group = [0xff, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34];
        let head = |code: u16, group: [u8; 16]| {
            let [c1, c2] = code.to_be_bytes();
            [&[130, 0, 0, 0, c1, c2, 0, 0][..], &group].concat()
        };
        let any = |version, millis, group| {
            Some(Query { version, max_response: Duration::from_millis(millis), group, sources: vec![] })
        };
        assert_eq!(parse_query(&head(1000, [0; 16])), any(1, 1000, None));
        assert_eq!(
            parse_query(&[&head(0xffff, group)[..], &[2, 125, 0, 0]].concat()),
            any(2, 8191 << 10, Some(group))
        );
        let source = [0xfd; 16];
        let with_source = [&head(1, group)[..], &[2, 125, 0, 1], &source].concat();
        assert_eq!(parse_query(&with_source).unwrap().sources, [source]);
        let short = [&head(1, group)[..], &[2, 125, 0, 2], &source].concat();
        assert_eq!(parse_query(&short), any(2, 1, Some(group)));
        for bad in [&[][..], &head(1, [0xfd; 16]), &head(1, group)[..23], &[130; 8]] {
            assert_eq!(parse_query(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_router_alert_is_looked_for_within_its_header() {
        let packet = |options: &[u8]| {
            let mut head = vec![0; Ipv6Header::LEN];
            head[6] = 0;
            head.extend_from_slice(options);
            head
        };
        assert!(has_router_alert(&packet(&ROUTER_ALERT)));
        assert!(has_router_alert(&packet(&[58, 0, 0, 0, 5, 2, 0, 0])));
        assert!(!has_router_alert(&packet(&[58, 0, 1, 4, 5, 2, 0, 0])));
        assert!(!has_router_alert(&packet(&[58, 0, 1, 9, 0, 0, 0, 0, 5, 2, 0, 0])));
        assert!(!has_router_alert(&packet(&[58, 1, 5, 2, 0, 0, 0, 0])));
        assert!(!has_router_alert(&packet(&[])));
    }
}
