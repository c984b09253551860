use super::*;
use proptest::prelude::*;
use sockeye_packet::{Instant, Payload};
use sockeye_stack::{Error, SocketType};

fn build(messages: &[(i32, i32, &[u8])]) -> Vec<u8> {
    let mut writer = ControlWriter::new(usize::MAX);
    for (level, kind, data) in messages {
        writer.put(*level, *kind, data);
    }
    writer.finish(&mut MessageFlags::default())
}

#[test]
fn writes_what_it_reads_with_padding_between() {
    let bytes = build(&[(1, 2, &[1, 2, 3]), (3, 4, &[])]);
    assert_eq!(bytes.len(), 24 + 16);
    let parsed: Vec<_> = parse(&bytes).map(Result::unwrap).collect();
    assert_eq!(parsed[0], Control { level: 1, kind: 2, data: &[1, 2, 3] });
    assert_eq!(parsed[1], Control { level: 3, kind: 4, data: &[] });
    assert_eq!(parsed.len(), 2);
}

#[test]
fn a_length_that_lies_is_invalid_and_ends_the_buffer() {
    for len in [0_u64, 15, 41, u64::MAX] {
        let mut bytes = build(&[(1, 2, &[0; 8]), (1, 2, &[])]);
        bytes[..8].copy_from_slice(&len.to_ne_bytes());
        let parsed: Vec<_> = parse(&bytes).collect();
        assert_eq!(parsed, [Err(Errno::EINVAL)], "length {len}");
    }
    assert_eq!(parse(&[0; 15]).count(), 0);
}

#[test]
fn pktinfo_ttl_and_tos_of_a_sent_datagram() {
    let mut info = [0; 12];
    info[..4].copy_from_slice(&2_u32.to_ne_bytes());
    info[4..8].copy_from_slice(&[10, 77, 0, 2]);
    let bytes = build(&[
        (libc::IPPROTO_IP, libc::IP_PKTINFO, &info),
        (libc::IPPROTO_IP, libc::IP_TTL, &9_i32.to_ne_bytes()),
        (libc::IPPROTO_IP, libc::IP_TOS, &[0x10]),
        (libc::IPPROTO_UDP, libc::UDP_SEGMENT, &1400_u16.to_ne_bytes()),
        (libc::SOL_SOCKET, libc::SCM_RIGHTS, &[0; 4]),
    ]);
    let expected = SendControls {
        source: Some(IpAddr::from([10, 77, 0, 2])),
        nic: Some(NicId(1)),
        ttl: Some(9),
        tos: Some(0x10),
        segment_size: Some(1400),
    };
    assert_eq!(parse_send(&bytes, Domain::Inet, &Stored::default()), Ok(expected));
    assert!(is_local(&bytes));
}

#[test]
fn values_out_of_range_and_unknown_messages_are_refused() {
    let refused = [
        (libc::IPPROTO_IP, libc::IP_TTL, 0),
        (libc::IPPROTO_IP, libc::IP_TTL, 256),
        (libc::IPPROTO_IP, libc::IP_TOS, -1),
        (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, 256),
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS, -2),
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, 0),
        (libc::IPPROTO_IP, 200, 0),
        (libc::IPPROTO_UDP, libc::UDP_SEGMENT, 1400), // an int, where a short is due
        (libc::IPPROTO_UDP, libc::UDP_GRO, 1),
        (libc::SOL_SOCKET, 200, 0),
    ];
    for (level, kind, value) in refused {
        let bytes = build(&[(level, kind, &i32::to_ne_bytes(value))]);
        assert_eq!(
            parse_send(&bytes, Domain::Inet6, &Stored::default()),
            Err(Errno::EINVAL),
            "{level} {kind} {value}"
        );
    }
    let default = build(&[(libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, &(-1_i32).to_ne_bytes())]);
    assert_eq!(parse_send(&default, Domain::Inet6, &Stored::default()), Ok(SendControls::default()));
}

#[test]
fn a_received_datagram_tells_what_was_asked_for() {
    let received = Received {
        to: SockAddr::new(IpAddr::from([10, 77, 0, 3]), 53),
        nic: NicId(1),
        ttl: 61,
        tos: 4,
        at: Duration::new(7, 2_000),
        dropped: 3,
        segment_size: 1400,
    };
    let kind = SocketKind { domain: Domain::Inet, kind: SocketType::Datagram };
    let mut stored = Stored::default();
    let mut nothing = ControlWriter::new(64);
    write_received(&mut nothing, &stored, kind, &Received { segment_size: 0, ..received });
    assert!(nothing.finish(&mut MessageFlags::default()).is_empty());

    crate::options::set(
        SocketKind { domain: Domain::Inet, kind: SocketType::Datagram },
        &mut stored,
        libc::SOL_SOCKET,
        libc::SO_TIMESTAMP,
        &[1, 0, 0, 0],
    )
    .unwrap();
    stored.set(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1);
    stored.set(libc::IPPROTO_IP, libc::IP_PKTINFO, 1);
    stored.set(libc::IPPROTO_IP, libc::IP_RECVTTL, 1);
    let mut writer = ControlWriter::new(512);
    write_received(&mut writer, &stored, kind, &received);
    let mut flags = MessageFlags::default();
    let bytes = writer.finish(&mut flags);
    assert!(!flags.control_truncated);
    let parsed: Vec<_> = parse(&bytes).map(Result::unwrap).collect();
    assert_eq!(parsed[0].kind, libc::SCM_TIMESTAMP);
    assert_eq!(parsed[0].data[8], 2);
    assert_eq!((parsed[1].kind, parsed[1].data), (libc::SO_RXQ_OVFL, &[3, 0, 0, 0][..]));
    assert_eq!((parsed[2].kind, parsed[2].data), (libc::UDP_GRO, &1400_i32.to_ne_bytes()[..]));
    assert_eq!(parsed[3].data, [2, 0, 0, 0, 10, 77, 0, 3, 10, 77, 0, 3]);
    assert_eq!(parsed[4].data, [61, 0, 0, 0]);
}

fn report(to: IpAddr, offender: Option<IpAddr>) -> ErrorReport {
    ErrorReport {
        error: Error::ConnectionRefused,
        origin: if offender.is_some() { ErrorOrigin::Icmp } else { ErrorOrigin::Local },
        kind: 3,
        code: 2,
        info: 1400,
        offender: offender.map(|ip| SockAddr::new(ip, 0)),
        to: SockAddr::new(to, 53),
        local: SockAddr::new(IpAddr::from([10, 77, 0, 9]), 0),
        payload: Payload::default(),
        nic: NicId(1),
        ttl: 62,
        tos: 0,
        received_at: Instant::ZERO,
    }
}

#[test]
fn a_report_is_an_extended_error_with_its_offender() {
    let (to, router) = (IpAddr::from([10, 77, 0, 3]), IpAddr::from([10, 77, 0, 1]));
    let written = |domain, report: &ErrorReport| {
        let mut stored = Stored::default();
        let kind = SocketKind { domain, kind: SocketType::Datagram };
        stored.set(libc::IPPROTO_IP, libc::IP_RECVTTL, 1);
        let mut set = |level, name| crate::options::set(kind, &mut stored, level, name, &[1, 0, 0, 0]);
        set(libc::SOL_SOCKET, libc::SO_TIMESTAMP).unwrap();
        let mut writer = ControlWriter::new(512);
        write_error(&mut writer, &stored, kind, report, Duration::from_secs(7));
        writer.finish(&mut MessageFlags::default())
    };
    let bytes = written(Domain::Inet, &report(to, Some(router)));
    let parsed: Vec<_> = parse(&bytes).map(Result::unwrap).collect();
    let kinds: Vec<_> = parsed.iter().map(|control| (control.level, control.kind)).collect();
    let last = (libc::IPPROTO_IP, libc::IP_RECVERR);
    assert_eq!(kinds, [(libc::SOL_SOCKET, libc::SCM_TIMESTAMP), (libc::IPPROTO_IP, libc::IP_TTL), last]);
    let [111, 0, 0, 0, 2, 3, 2, 0, info @ .., 0, 0, 0, 0] = &parsed[2].data[..16] else {
        panic!("{parsed:?}");
    };
    assert_eq!(info, 1400_u32.to_ne_bytes());
    assert_eq!(parsed[2].data[16..], [2, 0, 0, 0, 10, 77, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);

    // A local error has nobody's address, and what came in with no message is not told.
    let bytes = written(Domain::Inet, &report(to, None));
    let parsed: Vec<_> = parse(&bytes).map(Result::unwrap).collect();
    assert_eq!((parsed.len(), parsed[1].data[4], &parsed[1].data[16..]), (2, 1, &[0; 16][..]));

    // An IPv6 socket has the addresses of its family.
    let bytes = written(Domain::Inet6, &report(to, Some(router)));
    let parsed: Vec<_> = parse(&bytes).map(Result::unwrap).collect();
    let control = parsed[2];
    assert_eq!((control.level, control.kind), (libc::IPPROTO_IPV6, libc::IPV6_RECVERR));
    assert_eq!(
        (control.data.len(), control.data[16], &control.data[34..40]),
        (44, 10, &[255, 255, 10, 77, 0, 1][..])
    );
}

#[test]
fn too_little_room_cuts_and_says_so() {
    let mut writer = ControlWriter::new(18);
    writer.put(1, 2, &[1, 2, 3, 4]);
    writer.put(1, 2, &[1]);
    let mut flags = MessageFlags::default();
    let bytes = writer.finish(&mut flags);
    assert_eq!(bytes.len(), 18);
    assert!(flags.control_truncated);
    assert_eq!(parse(&bytes).next(), Some(Ok(Control { level: 1, kind: 2, data: &[1, 2] })));
}

proptest! {
    #[test]
    fn any_buffer_is_read_without_panic_and_within_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(parse(&bytes).count() <= bytes.len() / HEADER + 1);
        let _ = parse_send(&bytes, Domain::Inet6, &Stored::default());
        let _ = is_local(&bytes);
    }

    /// Plausible lengths reach deeper than random bytes do.
    #[test]
    fn plausible_buffers_are_read_without_panic(
        messages in proptest::collection::vec((0_u64..40, prop_oneof![Just(0), Just(1), Just(41)], 0..60_i32, any::<[u8; 24]>()), 0..6),
    ) {
        let mut bytes = Vec::new();
        for (len, level, kind, data) in messages {
            bytes.extend_from_slice(&len.to_ne_bytes());
            bytes.extend_from_slice(&i32::to_ne_bytes(level));
            bytes.extend_from_slice(&kind.to_ne_bytes());
            bytes.extend_from_slice(&data);
        }
        let _ = parse_send(&bytes, Domain::Inet6, &Stored::default());
    }

    #[test]
    fn the_writer_never_exceeds_its_room(room in 0_usize..80, parts in proptest::collection::vec(0_usize..30, 0..5)) {
        let mut writer = ControlWriter::new(room);
        for len in parts {
            writer.put(1, 2, &vec![0; len]);
        }
        prop_assert!(writer.finish(&mut MessageFlags::default()).len() <= room);
    }
}

#[test]
fn arrival_is_told_by_all_options_that_ask_for_it() {
    let (v4, v6) = (SockAddr::new([10, 77, 0, 2].into(), 53), SockAddr::new("fd77::2".parse().unwrap(), 53));
    let told = |domain, to, options: &[(i32, i32, i32)]| {
        let kind = SocketKind { domain, kind: SocketType::Datagram };
        let mut stored = Stored::default();
        for (level, name, value) in options {
            crate::options::set(kind, &mut stored, *level, *name, &value.to_ne_bytes()).unwrap();
        }
        let at = Duration::new(9, 1_002_003);
        let received = Received { to, nic: NicId(1), ttl: 63, tos: 0, at, dropped: 0, segment_size: 0 };
        let mut writer = ControlWriter::new(512);
        write_received(&mut writer, &stored, kind, &received);
        let bytes = writer.finish(&mut MessageFlags::default());
        parse(&bytes).map(|c| c.map(|c| (c.level, c.kind, c.data.to_vec())).unwrap()).collect::<Vec<_>>()
    };
    let (ip, ip6, socket) = (libc::IPPROTO_IP, libc::IPPROTO_IPV6, libc::SOL_SOCKET);
    let inet = [2, 0, 0, 53, 10, 77, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
    assert_eq!(told(Domain::Inet, v4, &[(ip, 20, 1)]), [(ip, 20, inet)]);
    let original = told(Domain::Inet6, v6, &[(ip6, 74, 1), (ip6, 8, 1)]);
    assert_eq!(original[0], (ip6, 8, 63_i32.to_ne_bytes().to_vec()));
    assert_eq!((original[1].1, original[1].2.len(), &original[1].2[..4]), (74, 28, &[10, 0, 0, 53][..]));
    // Times are told to who has them taken, and wants them.
    let times = told(Domain::Inet, v4, &[(socket, libc::SO_TIMESTAMPING, 0x18)]);
    let mut expected = [9_i64.to_ne_bytes(), 1_002_003_i64.to_ne_bytes()].concat();
    expected.resize(48, 0);
    assert_eq!(times, [(socket, libc::SO_TIMESTAMPING, expected)]);
    assert_eq!(told(Domain::Inet, v4, &[(socket, libc::SO_TIMESTAMPING, 0x10)]), []);
    assert_eq!(told(Domain::Inet, v4, &[(socket, 75, 1)]), [(socket, libc::SO_MARK, vec![0; 4])]);
}

#[test]
fn what_a_message_leaves_open_the_socket_says() {
    let kind = SocketKind { domain: Domain::Inet6, kind: SocketType::Datagram };
    let mut stored = Stored::default();
    let source: core::net::Ipv6Addr = "fd77::2".parse().unwrap();
    let info = [&source.octets()[..], &2_u32.to_ne_bytes()].concat();
    crate::options::set(kind, &mut stored, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info).unwrap();
    let sticky = parse_send(&[], Domain::Inet6, &stored).unwrap();
    assert_eq!((sticky.source, sticky.nic), (Some(source.into()), Some(NicId(1))));
    let bytes = build(&[(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &[0; 20])]);
    let own = parse_send(&bytes, Domain::Inet6, &stored).unwrap();
    assert_eq!((own.source, own.nic), (None, None));
}

#[test]
fn messages_of_every_socket_are_checked() {
    let read = |kind, data: &[u8]| {
        let bytes = build(&[(libc::SOL_SOCKET, kind, data)]);
        parse_send(&bytes, Domain::Inet, &Stored::default()).map(drop)
    };
    assert_eq!(read(libc::SO_MARK, &[1, 0, 0, 0]), Err(Errno::EPERM));
    assert_eq!(read(libc::SO_TIMESTAMPING, &[2, 0, 0, 0]), Ok(()));
    assert_eq!(read(libc::SO_TIMESTAMPING, &[16, 0, 0, 0]), Err(Errno::EINVAL));
    assert_eq!(read(SO_TXTIME, &[0; 8]), Err(Errno::EINVAL), "SO_TXTIME is not set");
    assert_eq!(read(libc::SO_PRIORITY, &[6, 0, 0, 0]), Ok(()));
    assert_eq!(read(libc::SO_PRIORITY, &[7, 0, 0, 0]), Err(Errno::EPERM));
    let hops = build(&[(libc::IPPROTO_IPV6, IPV6_HOPOPTS, &[0; 8])]);
    assert_eq!(parse_send(&hops, Domain::Inet6, &Stored::default()).err(), Some(Errno::EPERM));
}
