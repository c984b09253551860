//! ARP (RFC 826), as far as programs ask by it who is there: links here carry IP only, and need no such question.

use crate::netlink::hardware_of;
use sockeye::{HostId, Network};
use std::net::{IpAddr, Ipv4Addr};

/// Length of a frame with a question or an answer for IPv4 over Ethernet.
const LEN: usize = 42;
/// What all of them begin with: Ethernet, IPv4, the lengths of their addresses.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// The frame that answers a question for an address: with the hardware address that packet sockets show of whoever has
/// it. None when nobody but the one who asks has it.
pub(super) fn answer(network: &Network, asks: HostId, frame: &[u8]) -> Option<[u8; LEN]> {
    let question: &[u8; LEN] = frame.first_chunk()?;
    if question[14..20] != KIND || question[20..22] != REQUEST {
        return None;
    }
    let wanted: [u8; 4] = *question[38..].first_chunk()?;
    let has_it = network.host_by_address(IpAddr::V4(Ipv4Addr::from(wanted)))?;
    if has_it.id() == asks {
        return None;
    }
    let hardware = hardware_of(Ipv4Addr::from(wanted).into());
    let mut answer = *question;
    answer[..6].copy_from_slice(&question[22..28]);
    answer[6..12].copy_from_slice(&hardware);
    answer[20..22].copy_from_slice(&REPLY);
    answer[22..28].copy_from_slice(&hardware);
    answer[28..32].copy_from_slice(&wanted);
    answer[32..42].copy_from_slice(&question[22..32]);
    Some(answer)
}
