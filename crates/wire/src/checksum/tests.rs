//! Tests.
use super::*;
use crate::{Ipv4Header, Ipv6Header, TcpHeader, UdpHeader};
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

/// RFC 1071 §1 as it is written there: network order, one word at a time.
fn plain(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[test]
fn example_of_rfc_1071() {
    let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(Checksum::new().with(&bytes).finish(), !0xddf2);
    // The same cut at odd places (RFC 1071 §2 (A) speaks of parts in parallel).
    assert_eq!(Checksum::new().with(&bytes[..3]).with(&[]).with(&bytes[3..]).finish(), !0xddf2);
}

#[test]
fn the_worst_case_does_not_overflow() {
    for len in [0, 1, 63, 64, 65, 65535, BLOCK, BLOCK + 65, 3 * BLOCK + 1] {
        let ones = vec![0xff; len];
        assert_eq!(Checksum::new().with(&ones).finish(), plain(&ones), "{len} bytes");
    }
}

#[test]
fn fields_are_bytes_in_network_order() {
    let mut fields = Checksum::new();
    fields.add(&[1]);
    fields.add_u16(0x0203);
    fields.add_u32(0x0405_0607);
    assert_eq!(fields.finish(), plain(&[1, 2, 3, 4, 5, 6, 7]));
}

#[test]
fn udp_never_sends_zero() {
    assert_eq!(Checksum::new().with(&[0xff, 0xff]).finish(), 0);
    assert_eq!(Checksum::new().with(&[0xff, 0xff]).finish_udp(), 0xffff);
}

fn slices(parts: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> {
    parts.iter().map(Vec::as_slice)
}

/// Head of a packet with `len` bytes of data, its checksum fields full of rubbish.
fn head(v4: bool, protocol: Protocol, len: usize) -> Vec<u8> {
    let mut transport = vec![0; 8];
    match protocol {
        Protocol::TCP => {
            transport = vec![0; 20];
            TcpHeader { src_port: 1, dst_port: 2, seq: 3, ..TcpHeader::default() }.emit(&mut transport);
        }
        Protocol::UDP => {
            UdpHeader { src_port: 1, dst_port: 2, len: 8 + len as u16 }.emit(&mut transport);
        }
        _ => transport[0] = 8,
    }
    let carried = (transport.len() + len) as u16;
    let mut ip = vec![0; if v4 { 20 } else { 40 }];
    if v4 {
        let (src, dst) = ([10, 77, 0, 2].into(), [10, 77, 0, 3].into());
        Ipv4Header { total_len: 20 + carried, protocol, src, dst, ..Ipv4Header::default() }.emit(&mut ip);
        ip[10] ^= 0x55;
    } else {
        let (src, dst) = ("fd77::2".parse().unwrap(), "fd77::3".parse().unwrap());
        Ipv6Header { payload_len: carried, next_header: protocol, src, dst, ..Ipv6Header::default() }
            .emit(&mut ip);
    }
    ip.extend(transport);
    ip
}

proptest! {
    #[test]
    fn equals_the_plain_sum(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..6)) {
        let mut sum = Checksum::new();
        for part in &parts {
            sum.add(part);
        }
        prop_assert_eq!(sum.finish(), plain(&parts.concat()));
    }

    #[test]
    fn incremental_updates_equal_a_new_sum(mut bytes in prop::collection::vec(any::<u8>(), 8..40), new: u16) {
        // All-zero data is the one case where the two zeros of one's complement differ.
        bytes[4] |= 1;
        let before = plain(&bytes);
        let old = u16::from_be_bytes([bytes[2], bytes[3]]);
        bytes[2..4].copy_from_slice(&new.to_be_bytes());
        prop_assert_eq!(incremental_update(before, old, new), plain(&bytes));
    }

    #[test]
    fn filled_packets_verify_and_damaged_ones_do_not(
        v4: bool,
        kind in 0usize..3,
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..4),
        at: prop::sample::Index,
        bit in 0u8..8,
    ) {
        let icmp = if v4 { Protocol::ICMP } else { Protocol::ICMPV6 };
        let protocol = [Protocol::TCP, Protocol::UDP, icmp][kind];
        let mut head = head(v4, protocol, parts.concat().len());
        fill_checksums(&mut head, slices(&parts));
        prop_assert_eq!(verify_checksums(&head, slices(&parts)), Ok(()));
        // Bytes behind the length that IP states are padding.
        let padding = [0xaa; 7];
        prop_assert_eq!(verify_checksums(&head, slices(&parts).chain([&padding[..]])), Ok(()));

        // Any bit of ports, sequence numbers or data: lengths and versions are for the parsers to refuse.
        let transport = if v4 { 20 } else { 40 };
        let mut damaged = parts.clone();
        let total: usize = parts.iter().map(Vec::len).sum();
        let at = at.index(total + 2);
        if at < 2 {
            head[transport + at] ^= 1 << bit;
        } else {
            let flat = damaged.concat();
            damaged = vec![flat];
            damaged[0][at - 2] ^= 1 << bit;
        }
        prop_assert_eq!(verify_checksums(&head, slices(&damaged)), Err(BadChecksum::Transport(protocol)));
    }

    #[test]
    fn arbitrary_bytes_are_survived(mut head in prop::collection::vec(any::<u8>(), 0..130), version: bool, payload: Vec<u8>) {
        if let Some(first) = head.first_mut() {
            *first = if version { 0x45 } else { 0x60 };
        }
        let _ = verify_checksums(&head, core::iter::once(&payload[..]));
        fill_checksums(&mut head, core::iter::once(&payload[..]));
    }
}

#[test]
fn special_cases_of_udp() {
    let mut v4 = head(true, Protocol::UDP, 0);
    fill_checksums(&mut v4, core::iter::empty());
    v4[26..28].fill(0);
    assert_eq!(verify_checksums(&v4, core::iter::empty()), Ok(()), "RFC 768: 0 is no checksum");
    let mut v6 = head(false, Protocol::UDP, 0);
    fill_checksums(&mut v6, core::iter::empty());
    assert_eq!(verify_checksums(&v6, core::iter::empty()), Ok(()));
    v6[46..48].fill(0);
    let bad = Err(BadChecksum::Transport(Protocol::UDP));
    assert_eq!(verify_checksums(&v6, core::iter::empty()), bad, "RFC 8200 §8.1 demands one");
}

#[test]
fn missing_bytes_and_bad_ipv4_headers_are_told_apart() {
    let mut packet = head(true, Protocol::TCP, 10);
    fill_checksums(&mut packet, core::iter::once(&[0; 10][..]));
    assert_eq!(verify_checksums(&packet, core::iter::once(&[0; 9][..])), Err(BadChecksum::Truncated));
    packet[3] = 39; // the stated length ends inside the TCP header
    fill_checksums(&mut packet, core::iter::once(&[0; 10][..]));
    assert_eq!(verify_checksums(&packet, core::iter::once(&[0; 10][..])), Err(BadChecksum::Truncated));
    packet[8] ^= 1;
    assert_eq!(verify_checksums(&packet, core::iter::once(&[0; 10][..])), Err(BadChecksum::Ipv4Header));
}

#[test]
fn fragments_get_the_header_checksum_only() {
    let mut packet = head(true, Protocol::UDP, 4);
    packet[6] = 0x20; // more fragments
    let before = packet.clone();
    fill_checksums(&mut packet, core::iter::empty());
    assert_eq!(packet[20..], before[20..]);
    assert_eq!(verify_checksums(&packet, core::iter::empty()), Ok(()));
}
