//! Neighbour discovery, as far as programs ask by it who is there (ARP, RFC 826; neighbour solicitations, RFC 4861
//! §4.3): links here carry packets by their IP addresses, and hosts need no such question.

use super::{IPV6, LINK_LEN};
use crate::netlink::interfaces;
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

/// The frame that answers a program's question for an address, with its protocol: with the hardware address of the
/// interface that has it, as its own host's programs see it. None of what is no question, or when nobody but the one who asks has the address.
pub(super) fn answer(network: &Network, asks: HostId, frame: &[u8]) -> Option<(u16, Vec<u8>)> {
    let hardware_of = |ip: IpAddr| {
        let host = network.host_by_address(ip).filter(|host| host.id() != asks)?;
        let interfaces = host.with_stack(|stack, _| interfaces(stack));
        interfaces.into_iter().find(|interface| interface.has(ip)).map(|interface| interface.hardware)
    };
    match u16::from_be_bytes(*frame.get(12..LINK_LEN)?.first_chunk()?) {
        ARP => answer_arp(hardware_of, frame).map(|answer| (ARP, answer)),
        IPV6 => answer_solicitation(hardware_of, frame).map(|answer| (IPV6, answer)),
        _ => None,
    }
}

fn answer_arp(hardware_of: impl Fn(IpAddr) -> Option<[u8; 6]>, frame: &[u8]) -> Option<Vec<u8>> {
    let question: &[u8; ARP_LEN] = frame.first_chunk()?;
    if question[14..20] != KIND || question[20..22] != REQUEST {
        return None;
    }
    let wanted: [u8; 4] = *question[38..].first_chunk()?;
    let hardware = hardware_of(Ipv4Addr::from(wanted).into())?;
    let mut answer = question.to_vec();
    answer[..6].copy_from_slice(&question[22..28]);
    answer[6..12].copy_from_slice(&hardware);
    answer[20..22].copy_from_slice(&REPLY);
    answer[22..28].copy_from_slice(&hardware);
    answer[28..32].copy_from_slice(&wanted);
    answer[32..42].copy_from_slice(&question[22..32]);
    Some(answer)
}

fn answer_solicitation(hardware_of: impl Fn(IpAddr) -> Option<[u8; 6]>, frame: &[u8]) -> Option<Vec<u8>> {
    let source: [u8; 16] = *frame.get(LINK_LEN + 8..)?.first_chunk()?;
    let wanted: [u8; 16] = *frame.get(ICMP + 8..)?.first_chunk()?;
    // Who has no address yet only wants to know that nobody has it.
    let asks = frame[LINK_LEN + 6] == ICMPV6 && frame[ICMP] == SOLICITATION && source != [0; 16];
    if !asks {
        return None;
    }
    let hardware = hardware_of(Ipv6Addr::from(wanted).into())?;
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
    use sockeye::HostConfig;
    use sockeye::wire_format::verify_checksums;

    const ASKS: [u8; 6] = [2, 0x42, 10, 77, 0, 3];

    const THEIRS: [u8; 6] = [2, 0x42, 10, 77, 0, 2];

    fn hardware_of(ip: IpAddr) -> Option<[u8; 6]> {
        ["10.77.0.2", "fd77::2"].iter().any(|other| other.parse() == Ok(ip)).then_some(THEIRS)
    }

    /// A question for an IPv6 address.
    fn solicitation(source: &str, wanted: &str) -> Vec<u8> {
        let ip = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        let link = [&[0x33, 0x33, 0xff, 0, 0, 2][..], &ASKS, &[0x86, 0xdd]].concat();
        let header = [0x60, 0, 0, 0, 0, 24, ICMPV6, 255];
        let icmp = [SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
        [&link[..], &header, &ip(source), &ip("ff02::1:ff00:2"), &icmp, &ip(wanted)].concat()
    }

    #[test]
    fn an_interface_has_one_hardware_address_for_all_its_addresses() {
        let network = Network::builder()
            .host("a", HostConfig::default())
            .host("b", HostConfig::default())
            .build_manual()
            .unwrap();
        let [a, b] = ["a", "b"].map(|name| network.host(name).unwrap());
        let own = b.with_stack(|stack, _| interfaces(stack)[1].hardware);
        for ip in b.addresses().into_iter().filter(IpAddr::is_ipv6) {
            let question = solicitation("fd77::9", &ip.to_string());
            let (ethertype, answer) = super::answer(&network, a.id(), &question).unwrap();
            assert_eq!((ethertype, &answer[6..12], &answer[answer.len() - 6..]), (IPV6, &own[..], &own[..]));
            assert!(super::answer(&network, b.id(), &question).is_none());
        }
    }

    #[test]
    fn a_question_by_arp_is_answered_for_whoever_hardware_of() {
        let question = |wanted: [u8; 4]| {
            let link = [&[0xff; 6][..], &ASKS, &[8, 6]].concat();
            [&link[..], &KIND, &REQUEST, &ASKS, &[10, 77, 0, 3], &[0; 6], &wanted, &[0; 18]].concat()
        };
        let link = [&ASKS[..], &THEIRS, &[8, 6]].concat();
        let answer = [&link[..], &KIND, &REPLY, &THEIRS, &[10, 77, 0, 2], &ASKS, &[10, 77, 0, 3]].concat();
        let question_for_them = question([10, 77, 0, 2]);
        assert_eq!(answer_arp(hardware_of, &question_for_them), Some(answer.clone()));
        assert_eq!(answer_arp(hardware_of, &question([10, 77, 0, 9])), None);
        assert_eq!(answer_arp(hardware_of, &answer), None, "no question");
        for len in 0..ARP_LEN {
            assert_eq!(answer_arp(hardware_of, &question_for_them[..len]), None);
        }
    }

    #[test]
    fn a_solicitation_is_answered_for_whoever_hardware_of() {
        let ip = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        let asked = solicitation("fd77::3", "fd77::2");
        let answer = answer_solicitation(hardware_of, &asked).unwrap();
        assert_eq!((&answer[..6], answer.len()), (&ASKS[..], ICMP + ADVERTISEMENT_LEN));
        assert_eq!((&answer[22..38], &answer[38..54]), (&ip("fd77::2")[..], &ip("fd77::3")[..]));
        assert_eq!((answer[ICMP], &answer[ICMP + 8..ICMP + 24]), (ADVERTISEMENT, &ip("fd77::2")[..]));
        assert_eq!(answer[ICMP + 24..], [2, 1, 2, 0x42, 10, 77, 0, 2]);
        verify_checksums(&answer[LINK_LEN..], std::iter::empty()).unwrap();
        for other in [solicitation("fd77::3", "fd77::9"), solicitation("::", "fd77::2"), answer] {
            assert_eq!(answer_solicitation(hardware_of, &other), None);
        }
        for len in 0..ICMP + 24 {
            assert_eq!(answer_solicitation(hardware_of, &asked[..len]), None);
        }
    }
}
