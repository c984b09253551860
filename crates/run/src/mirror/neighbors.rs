//! Neighbour discovery, as far as programs ask by it who is there (ARP, RFC 826; neighbour solicitations, RFC 4861
//! §4.3): links here carry packets by their IP addresses, and hosts need no such question.

use super::{IPV6, LINK_LEN};
use crate::netlink::hardware_of;
use sockeye::wire_format::fill_checksums;
use sockeye::{HostId, Network};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `ETH_P_ARP`.
const ARP: u16 = 0x0806;
/// Length of a frame with a question or an answer of ARP.
const ARP_LEN: usize = 42;
/// What all of them begin with: Ethernet, IPv4, the lengths of their addresses.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// Where `ICMPv6` starts in a frame without extension headers, and its types.
const ICMP: usize = LINK_LEN + 40;
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Flags of an advertisement: it was asked for, and counts more than what was known before.
const SOLICITED_OVERRIDE: u8 = 0x60;
/// The option with the hardware address, in units of 8 bytes.
const TARGET_HARDWARE: [u8; 2] = [2, 1];
/// Length of an advertisement with that option.
const ADVERTISEMENT_LEN: usize = 32;

/// The frame that answers a program's question for an address, with its protocol: with the hardware address that packet
/// sockets show of whoever has it. None of what is no question, or when nobody but the one who asks has the address.
pub(super) fn answer(network: &Network, asks: HostId, frame: &[u8]) -> Option<(u16, Vec<u8>)> {
    let has = |ip: IpAddr| network.host_by_address(ip).is_some_and(|host| host.id() != asks);
    match u16::from_be_bytes(*frame.get(12..LINK_LEN)?.first_chunk()?) {
        ARP => answer_arp(has, frame).map(|answer| (ARP, answer)),
        IPV6 => answer_solicitation(has, frame).map(|answer| (IPV6, answer)),
        _ => None,
    }
}

fn answer_arp(has: impl Fn(IpAddr) -> bool, frame: &[u8]) -> Option<Vec<u8>> {
    let question: &[u8; ARP_LEN] = frame.first_chunk()?;
    if question[14..20] != KIND || question[20..22] != REQUEST {
        return None;
    }
    let wanted: [u8; 4] = *question[38..].first_chunk()?;
    let ip = IpAddr::V4(Ipv4Addr::from(wanted));
    if !has(ip) {
        return None;
    }
    let hardware = hardware_of(ip);
    let mut answer = question.to_vec();
    answer[..6].copy_from_slice(&question[22..28]);
    answer[6..12].copy_from_slice(&hardware);
    answer[20..22].copy_from_slice(&REPLY);
    answer[22..28].copy_from_slice(&hardware);
    answer[28..32].copy_from_slice(&wanted);
    answer[32..42].copy_from_slice(&question[22..32]);
    Some(answer)
}

fn answer_solicitation(has: impl Fn(IpAddr) -> bool, frame: &[u8]) -> Option<Vec<u8>> {
    let source: [u8; 16] = *frame.get(LINK_LEN + 8..)?.first_chunk()?;
    let wanted: [u8; 16] = *frame.get(ICMP + 8..)?.first_chunk()?;
    let ip = IpAddr::V6(Ipv6Addr::from(wanted));
    // Who has no address yet only wants to know that nobody has it.
    let asks = frame[LINK_LEN + 6] == ICMPV6 && frame[ICMP] == SOLICITATION && source != [0; 16];
    if !asks || !has(ip) {
        return None;
    }
    let hardware = hardware_of(ip);
    let mut answer = frame[..ICMP].to_vec();
    answer[..6].copy_from_slice(&frame[6..12]);
    answer[6..12].copy_from_slice(&hardware);
    answer[LINK_LEN + 4..LINK_LEN + 6].copy_from_slice(&(ADVERTISEMENT_LEN as u16).to_be_bytes());
    answer[LINK_LEN + 8..LINK_LEN + 24].copy_from_slice(&wanted);
    answer[LINK_LEN + 24..ICMP].copy_from_slice(&source);
    answer.extend([ADVERTISEMENT, 0, 0, 0, SOLICITED_OVERRIDE, 0, 0, 0]);
    answer.extend(wanted);
    answer.extend(TARGET_HARDWARE);
    answer.extend(hardware);
    fill_checksums(&mut answer[LINK_LEN..], std::iter::empty());
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sockeye::wire_format::verify_checksums;

    const ASKS: [u8; 6] = [2, 0x42, 10, 77, 0, 3];

    fn is_there(ip: IpAddr) -> bool {
        ["10.77.0.2", "fd77::2"].iter().any(|other| other.parse() == Ok(ip))
    }

    #[test]
    fn a_question_by_arp_is_answered_for_whoever_is_there() {
        let question = |wanted: [u8; 4]| {
            let link = [&[0xff; 6][..], &ASKS, &[8, 6]].concat();
            [&link[..], &KIND, &REQUEST, &ASKS, &[10, 77, 0, 3], &[0; 6], &wanted, &[0; 18]].concat()
        };
        let theirs = [2, 0x42, 10, 77, 0, 2];
        let link = [&ASKS[..], &theirs, &[8, 6]].concat();
        let answer = [&link[..], &KIND, &REPLY, &theirs, &[10, 77, 0, 2], &ASKS, &[10, 77, 0, 3]].concat();
        let question_for_them = question([10, 77, 0, 2]);
        assert_eq!(answer_arp(is_there, &question_for_them), Some(answer.clone()));
        assert_eq!(answer_arp(is_there, &question([10, 77, 0, 9])), None);
        assert_eq!(answer_arp(is_there, &answer), None, "no question");
        for len in 0..ARP_LEN {
            assert_eq!(answer_arp(is_there, &question_for_them[..len]), None);
        }
    }

    #[test]
    fn a_solicitation_is_answered_for_whoever_is_there() {
        let ip = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        let question = |source: &str, wanted: &str| {
            let link = [&[0x33, 0x33, 0xff, 0, 0, 2][..], &ASKS, &[0x86, 0xdd]].concat();
            let header = [0x60, 0, 0, 0, 0, 24, ICMPV6, 255];
            let icmp = [SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
            [&link[..], &header, &ip(source), &ip("ff02::1:ff00:2"), &icmp, &ip(wanted)].concat()
        };
        let asked = question("fd77::3", "fd77::2");
        let answer = answer_solicitation(is_there, &asked).unwrap();
        assert_eq!((&answer[..6], answer.len()), (&ASKS[..], ICMP + ADVERTISEMENT_LEN));
        assert_eq!((&answer[22..38], &answer[38..54]), (&ip("fd77::2")[..], &ip("fd77::3")[..]));
        assert_eq!((answer[ICMP], &answer[ICMP + 8..ICMP + 24]), (ADVERTISEMENT, &ip("fd77::2")[..]));
        assert_eq!(answer[ICMP + 24..], [2, 1, 2, 0x42, 0, 0, 0, 2]);
        verify_checksums(&answer[LINK_LEN..], std::iter::empty()).unwrap();
        for other in [question("fd77::3", "fd77::9"), question("::", "fd77::2"), answer] {
            assert_eq!(answer_solicitation(is_there, &other), None);
        }
        for len in 0..ICMP + 24 {
            assert_eq!(answer_solicitation(is_there, &asked[..len]), None);
        }
    }
}
