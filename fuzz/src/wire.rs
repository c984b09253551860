//! Targets of the packet formats.

use sockeye_wire::{
    Checksum, Icmpv4, Icmpv6, IpLayout, Ipv4Header, Ipv6Header, PacketLine, Protocol, Quoted, TcpHeader,
    TcpOptions, UdpHeader, fill_checksums, header_len, verify_checksums,
};
use std::iter::once;

/// Takes the bytes for an IP packet, as a link receives it.
pub fn packet(bytes: &[u8]) {
    let cut = header_len(bytes);
    assert!(cut <= bytes.len());
    let (head, payload) = bytes.split_at(cut);
    let _ = Quoted::parse(bytes);
    let layout = IpLayout::parse(head);
    // A walk that fails over extension headers cuts behind the IPv6 header: the whole fails the same way or
    // for want of a byte that isn't there.
    if let Ok(layout) = layout {
        assert_eq!(IpLayout::parse(bytes), Ok(layout));
        assert!(layout.transport <= cut);
    }

    if let Ok((header, len)) = Ipv4Header::parse(bytes) {
        let mut again = [0; Ipv4Header::MAX_LEN];
        assert_eq!(header.emit(&mut again), len);
        assert_eq!(Ipv4Header::parse(&again[..len]), Ok((header, len)));
        assert!(Ipv4Header::verify(&again));
    }
    if let Ok((header, len)) = Ipv6Header::parse(bytes) {
        let mut again = [0; Ipv6Header::LEN];
        assert_eq!(header.emit(&mut again), len);
        assert_eq!(again, bytes[..len]);
    }

    check_filling(head, payload);

    if let Ok(line) = PacketLine::from_head(head, payload.len()) {
        let line = line.quoting(payload);
        let text = line.to_string();
        assert_eq!(text.parse(), Ok(line), "{text}");
    }
}

/// What was filled verifies, however the payload is cut, unless bytes are missing.
fn check_filling(head: &[u8], payload: &[u8]) {
    let mut filled = head.to_vec();
    fill_checksums(&mut filled, once(payload));
    let verdict = verify_checksums(&filled, once(payload));
    let (first, second) = payload.split_at(payload.len() / 3);
    assert_eq!(verify_checksums(&filled, [first, second].into_iter()), verdict);
    if let Ok(layout) = IpLayout::parse(head)
        && !is_short(&layout, head, payload)
    {
        assert_eq!(verdict, Ok(()));
    }
}

/// Whether the lengths in the headers promise more than there is.
fn is_short(layout: &IpLayout, head: &[u8], payload: &[u8]) -> bool {
    let IpLayout { transport, total_len, protocol, .. } = *layout;
    let min_len = match protocol {
        Protocol::TCP => 20,
        Protocol::UDP | Protocol::UDP_LITE | Protocol::ICMP | Protocol::ICMPV6 => 8,
        _ => 0,
    };
    // UDP's length, or how much UDP-Lite's checksum covers, where 0 is all.
    let stated =
        head.get(transport + 4..transport + 6).map_or(0, |field| u16::from_be_bytes([field[0], field[1]]));
    let udp_len = match protocol {
        Protocol::UDP => stated.into(),
        Protocol::UDP_LITE if stated > 0 => stated.into(),
        _ => min_len,
    };
    let there = total_len.min(head.len() + payload.len());
    total_len > there || there < transport + min_len || udp_len < min_len || there < transport + udp_len
}

/// Takes the bytes for a transport header; the first says which.
pub fn headers(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let mut again = [0; TcpHeader::MAX_LEN];
    match kind % 5 {
        0 => {
            if let Ok((header, len)) = TcpHeader::parse(bytes) {
                assert!(len <= bytes.len());
                let len = header.emit(&mut again);
                assert_eq!(len, header.len());
                let (mut emitted, emitted_len) = TcpHeader::parse(&again[..len]).expect("what we emitted");
                assert_eq!(emitted_len, len);
                // Packed options may hold more SACK blocks than aligned ones have room for.
                assert!(header.options.sack.starts_with(&emitted.options.sack));
                emitted.options.sack = header.options.sack;
                assert_eq!(emitted, header);
            }
        }
        1 => {
            if let Ok((header, len)) = UdpHeader::parse(bytes) {
                assert_eq!(header.emit(&mut again), len);
                assert_eq!(again[..6], bytes[..6]);
            }
        }
        2 => {
            if let Ok((message, len)) = Icmpv4::parse(bytes) {
                message.emit(&mut again);
                assert_eq!(Icmpv4::parse(&again), Ok((message, len)));
            }
        }
        3 => {
            if let Ok((message, len)) = Icmpv6::parse(bytes) {
                message.emit(&mut again);
                assert_eq!(Icmpv6::parse(&again), Ok((message, len)));
            }
        }
        _ => {
            let options = TcpOptions::parse(bytes);
            assert!(options.len() <= TcpOptions::MAX_LEN);
            assert_eq!(options.emit(&mut again), options.len());
            let whole = Checksum::new().with(bytes).finish();
            let (first, second) = bytes.split_at(bytes.len() / 2);
            assert_eq!(Checksum::new().with(first).with(second).finish(), whole);
        }
    }
}

/// Takes the bytes for a packet line.
pub fn line(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(line) = text.parse::<PacketLine>() {
        let printed = line.to_string();
        assert_eq!(printed.parse(), Ok(line), "{printed}");
    }
}
