use super::*;
use core::time::Duration;
use libc::{IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP, SOL_SOCKET};
use proptest::prelude::*;
use sockeye_packet::{Instant, NicId};
use sockeye_stack::{Config, CongestionControl, Owner, Protocol, Stack};

const TCP4: SocketKind = SocketKind { domain: Domain::Inet, kind: SocketType::Stream };
const TCP6: SocketKind = SocketKind { domain: Domain::Inet6, kind: SocketType::Stream };
const PING4: SocketKind = SocketKind { domain: Domain::Inet, kind: SocketType::Ping };
const PING6: SocketKind = SocketKind { domain: Domain::Inet6, kind: SocketType::Ping };
const UDP6: SocketKind = SocketKind { domain: Domain::Inet6, kind: SocketType::Datagram };
const UDP4: SocketKind = SocketKind { domain: Domain::Inet, kind: SocketType::Datagram };

fn set_int(kind: SocketKind, level: i32, name: i32, value: i32) -> Result<SocketOption, Errno> {
    match set(kind, &mut Stored::default(), level, name, &value.to_ne_bytes())? {
        Set::Stack(option) => Ok(option),
        other => panic!("not the stack's: {other:?}"),
    }
}

/// What a program reads back into `room` bytes after setting `value`.
fn round_trip(kind: SocketKind, level: i32, name: i32, value: &[u8], room: usize) -> Result<Vec<u8>, Errno> {
    let mut stored = Stored::default();
    let done = set(kind, &mut stored, level, name, value)?;
    let value = match (get(kind, &stored, level, name)?, done) {
        (Get::Ready(value), _) => value,
        (Get::Stack(_), Set::Stack(option)) => answer(level, option),
        other => panic!("no value: {other:?}"),
    };
    Ok(value.cut_to(room)?.to_vec())
}

#[test]
fn each_socket_has_one_row_for_an_option() {
    for (i, row) in TABLE.iter().enumerate() {
        for kind in [SocketType::Stream, SocketType::Datagram, SocketType::Ping] {
            let same = |other: &&Row| {
                (other.level, other.name) == (row.level, row.name)
                    && other.on.includes(kind)
                    && row.on.includes(kind)
            };
            assert_eq!(TABLE[..i].iter().find(same), None, "{} is there twice", row.label);
        }
    }
}

#[test]
fn each_number_for_the_stack_reads_back_in_range() {
    for row in TABLE {
        let Treatment::Honoured(name) = row.treatment else { continue };
        if row.value == Type::Field || name == OptionName::AcceptsConnections {
            continue;
        }
        let of_datagrams = matches!(row.on, On::Datagram | On::Udp) || name == OptionName::MulticastTtl;
        let kind = match row.on {
            On::UdpLite => SocketKind { domain: Domain::Inet6, kind: SocketType::DatagramLite },
            On::Raw => {
                let domain = if row.level == IPPROTO_IP { Domain::Inet } else { Domain::Inet6 };
                SocketKind { domain, kind: SocketType::Raw(Protocol(253)) }
            }
            _ if of_datagrams => UDP6,
            _ => TCP6,
        };
        let least = if name == OptionName::MaxRto { 1000_i32 } else { 1 };
        let read = round_trip(kind, row.level, row.name, &least.to_ne_bytes(), 4).unwrap();
        let read = i32::from_ne_bytes(read.try_into().unwrap());
        let expected = match name {
            OptionName::MaxRto => 1000,
            OptionName::RecvBuffer => 2304,
            OptionName::SendBuffer => 4608,
            OptionName::WindowClamp => 1152,
            _ => 1,
        };
        assert_eq!(read, expected, "{}", row.label);
    }
}

#[test]
fn ping_sockets_have_the_options_of_datagrams_but_udps() {
    let stored = Stored::default();
    let read = |kind, name| match get(kind, &stored, SOL_SOCKET, name) {
        Ok(Get::Ready(value)) => value.cut_to(4).unwrap().to_vec(),
        other => panic!("{other:?}"),
    };
    for (kind, protocol) in [(PING4, libc::IPPROTO_ICMP), (PING6, libc::IPPROTO_ICMPV6)] {
        assert_eq!(read(kind, libc::SO_PROTOCOL), protocol.to_ne_bytes());
        assert_eq!(read(kind, libc::SO_TYPE), libc::SOCK_DGRAM.to_ne_bytes());
        assert_eq!(set_int(kind, IPPROTO_IP, libc::IP_TTL, 9), Ok(SocketOption::Ttl(Some(9))));
        assert_eq!(set_int(kind, SOL_SOCKET, libc::SO_RCVBUF, 5000), Ok(SocketOption::RecvBuffer(10_000)));
        assert_eq!(set_int(kind, IPPROTO_IP, libc::IP_RECVERR, 1), Ok(SocketOption::RecvErr(true)));
        let ttl = set_int(kind, IPPROTO_IP, libc::IP_MULTICAST_TTL, 1);
        assert_eq!(ttl, Ok(SocketOption::MulticastTtl(Some(1))));
        for (level, name) in [
            (IPPROTO_UDP, libc::UDP_CORK),
            (IPPROTO_TCP, libc::TCP_NODELAY),
            (libc::SOL_RAW, 1),        // ICMP_FILTER
            (libc::SOL_RAW, 7),        // IPV6_CHECKSUM
            (libc::IPPROTO_ICMPV6, 1), // ICMP6_FILTER
        ] {
            assert_eq!(set_int(kind, level, name, 1), Err(Errno::ENOPROTOOPT), "{level} {name}");
            assert!(get(kind, &stored, level, name).is_err(), "{level} {name}");
        }
    }
    let hops = |kind| set_int(kind, IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, 9);
    assert_eq!(hops(PING6), Ok(SocketOption::HopLimit(Some(9))));
    assert_eq!(hops(PING4), Err(Errno::ENOPROTOOPT));
    assert_eq!(find(UDP4, IPPROTO_UDP, libc::UDP_CORK).map(|row| row.on), Some(On::Udp));
}

#[test]
fn buffers_double_within_the_kernels_bounds() {
    for (asked, given) in [(100_000, 200_000), (0, 2304), (1 << 30, 425_984), (-1, 425_984)] {
        assert_eq!(set_int(TCP4, SOL_SOCKET, libc::SO_RCVBUF, asked), Ok(SocketOption::RecvBuffer(given)));
    }
    assert_eq!(set_int(UDP4, SOL_SOCKET, libc::SO_SNDBUF, 1), Ok(SocketOption::SendBuffer(4608)));
    assert_eq!(set_int(TCP4, SOL_SOCKET, libc::SO_RCVBUFFORCE, 1), Err(Errno::EPERM));
}

#[test]
fn short_values_are_invalid_except_bytes_at_ip_level() {
    let short = |level, name| round_trip(TCP6, level, name, &[1, 0, 0], 4);
    assert_eq!(short(SOL_SOCKET, libc::SO_KEEPALIVE), Err(Errno::EINVAL));
    assert_eq!(short(IPPROTO_TCP, libc::TCP_NODELAY), Err(Errno::EINVAL));
    assert_eq!(short(IPPROTO_IPV6, libc::IPV6_V6ONLY), Err(Errno::EINVAL));
    assert_eq!(round_trip(TCP4, IPPROTO_IP, libc::IP_TOS, &[0x10], 4), Ok(vec![0x10, 0, 0, 0]));
    assert_eq!(round_trip(TCP4, IPPROTO_IP, libc::IP_TOS, &[0x10], 1), Ok(vec![0x10]));
    assert_eq!(round_trip(TCP4, IPPROTO_IP, libc::IP_TOS, &[0x10], 3), Ok(vec![0x10]));
    assert_eq!(round_trip(TCP4, IPPROTO_IP, libc::IP_TOS, &[0x10], 0), Ok(vec![]));
    assert_eq!(round_trip(TCP4, SOL_SOCKET, libc::SO_KEEPALIVE, &[9, 0, 0, 0, 9], 2), Ok(vec![1, 0]));
}

#[test]
fn values_out_of_range_are_invalid() {
    let invalid = [
        (IPPROTO_TCP, libc::TCP_KEEPIDLE, 0),
        (IPPROTO_TCP, libc::TCP_KEEPIDLE, 32768),
        (IPPROTO_TCP, libc::TCP_KEEPCNT, 128),
        (IPPROTO_TCP, libc::TCP_SYNCNT, 0),
        (IPPROTO_TCP, libc::TCP_MAXSEG, 32768),
        (IPPROTO_TCP, libc::TCP_USER_TIMEOUT, -1),
        (IPPROTO_IP, libc::IP_TTL, 256),
        (IPPROTO_IP, libc::IP_MTU_DISCOVER, 6),
        (IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, -2),
        (IPPROTO_IPV6, libc::IPV6_TCLASS, 256),
        (SOL_SOCKET, libc::SO_BINDTOIFINDEX, 70_000),
    ];
    for (level, name, value) in invalid {
        assert_eq!(set_int(TCP6, level, name, value), Err(Errno::EINVAL), "{level} {name} {value}");
    }
    assert_eq!(set_int(TCP4, IPPROTO_IP, libc::IP_TTL, -1), Ok(SocketOption::Ttl(None)));
    assert_eq!(
        set_int(TCP4, SOL_SOCKET, libc::SO_BINDTOIFINDEX, 2),
        Ok(SocketOption::BindToNic(Some(NicId(1))))
    );
}

#[test]
fn options_belong_to_families_and_types() {
    let unknown = [
        (UDP4, IPPROTO_TCP, libc::TCP_NODELAY),
        (TCP4, IPPROTO_UDP, libc::UDP_CORK),
        (TCP4, IPPROTO_IPV6, libc::IPV6_V6ONLY),
        (TCP4, SOL_SOCKET, 9999),
        (TCP4, 263, 8),
    ];
    for (kind, level, name) in unknown {
        assert_eq!(set_int(kind, level, name, 1), Err(Errno::ENOPROTOOPT), "{level} {name}");
        // As Linux: IPv4 names the level that it doesn't know.
        let unread = if level == SOL_SOCKET { Errno::ENOPROTOOPT } else { Errno::EOPNOTSUPP };
        assert_eq!(get(kind, &Stored::default(), level, name), Err(unread), "{level} {name}");
    }
    // Options of IPv4 exist on IPv6 sockets.
    assert_eq!(set_int(TCP6, IPPROTO_IP, libc::IP_TOS, 8), Ok(SocketOption::Tos(8)));
}

#[test]
fn read_only_options_tell_and_are_not_set() {
    let stored = Stored::default();
    let expected = [
        (libc::SO_TYPE, libc::SOCK_STREAM),
        (libc::SO_DOMAIN, libc::AF_INET6),
        (libc::SO_PROTOCOL, IPPROTO_TCP),
        (libc::SO_SNDLOWAT, 1),
    ];
    for (name, value) in expected {
        assert_eq!(get(TCP6, &stored, SOL_SOCKET, name), Ok(Get::Ready(OptionValue::int(value))));
        assert_eq!(set_int(TCP6, SOL_SOCKET, name, 1), Err(Errno::ENOPROTOOPT));
    }
    assert_eq!(get(TCP4, &stored, SOL_SOCKET, libc::SO_ERROR), Ok(Get::Fact(Fact::Error)));
    assert_eq!(get(TCP4, &stored, IPPROTO_TCP, libc::TCP_INFO), Ok(Get::Fact(Fact::TcpInfo)));
    assert_eq!(get(TCP4, &stored, IPPROTO_IP, libc::IP_MTU), Ok(Get::Fact(Fact::PathMtu)));
}

#[test]
fn what_needs_rights_may_be_switched_off_only() {
    assert_eq!(set_int(TCP4, SOL_SOCKET, libc::SO_DEBUG, 1), Err(Errno::EACCES));
    assert_eq!(set_int(TCP4, SOL_SOCKET, libc::SO_MARK, 1), Err(Errno::EPERM));
    let mut stored = Stored::default();
    assert_eq!(set(TCP4, &mut stored, SOL_SOCKET, libc::SO_DEBUG, &[0; 4]), Ok(Set::Done));
    assert_eq!(set(TCP6, &mut stored, libc::IPPROTO_IPV6, libc::IPV6_RTHDR, &[]), Ok(Set::Done));
    assert_eq!(set(TCP6, &mut stored, libc::IPPROTO_IPV6, libc::IPV6_RTHDR, &[0; 8]), Err(Errno::EINVAL));
    assert_eq!(set_int(UDP4, SOL_SOCKET, libc::SO_PRIORITY, 7), Err(Errno::EPERM));
}

#[test]
fn linger_congestion_and_device_have_their_forms() {
    let linger = |on: i32, seconds: i32| [on.to_ne_bytes(), seconds.to_ne_bytes()].concat();
    let mut stored = Stored::default();
    let mut honoured =
        |value: &[u8]| set(TCP4, &mut stored, SOL_SOCKET, libc::SO_LINGER, value).map(|s| format!("{s:?}"));
    assert_eq!(honoured(&linger(1, 3)).unwrap(), "Stack(Linger(Some(3s)))");
    assert_eq!(honoured(&linger(0, 3)).unwrap(), "Stack(Linger(None))");
    assert_eq!(honoured(&[1, 0, 0, 0, 1, 0, 0]), Err(Errno::EINVAL));
    assert_eq!(
        answer(SOL_SOCKET, SocketOption::Linger(Some(Duration::from_secs(3)))).cut_to(8).unwrap(),
        linger(1, 3)
    );

    let congestion =
        |name: &[u8]| set(TCP4, &mut Stored::default(), IPPROTO_TCP, libc::TCP_CONGESTION, name).err();
    assert_eq!(congestion(b"reno"), None);
    assert_eq!(congestion(b"cubic\0junk"), None);
    assert_eq!(congestion(b"vegas"), Some(Errno::ENOENT));
    assert_eq!(congestion(b""), Some(Errno::EINVAL));
    let cubic = answer(IPPROTO_TCP, SocketOption::Congestion(CongestionControl::Cubic));
    assert_eq!(cubic.cut_to(100).unwrap(), b"cubic\0\0\0\0\0\0\0\0\0\0\0");

    let device = set(UDP4, &mut stored, SOL_SOCKET, libc::SO_BINDTODEVICE, b"eth0\0\0\0");
    assert_eq!(device, Ok(Set::Device(b"eth0")));
    assert_eq!(OptionValue::device("eth0").cut_to(16).unwrap(), b"eth0\0");
    assert_eq!(OptionValue::device("").cut_to(16).unwrap(), b"");
}

#[test]
fn timeouts_are_kept_under_both_names() {
    let timeval = |seconds: i64, micros: i64| [seconds.to_ne_bytes(), micros.to_ne_bytes()].concat();
    let mut stored = Stored::default();
    let mut timeout = |name, value: &[u8]| {
        set(TCP4, &mut stored, SOL_SOCKET, name, value).map(|_| stored.timeout(Direction::Receive))
    };
    assert_eq!(timeout(libc::SO_RCVTIMEO, &timeval(1, 500_000)), Ok(Some(Duration::from_millis(1500))));
    assert_eq!(timeout(SO_RCVTIMEO_NEW, &timeval(2, 0)), Ok(Some(Duration::from_secs(2))));
    assert_eq!(timeout(libc::SO_RCVTIMEO, &timeval(0, 1_000_000)), Err(Errno::EDOM));
    assert_eq!(timeout(libc::SO_RCVTIMEO, &timeval(0, -1)), Err(Errno::EDOM));
    assert_eq!(timeout(libc::SO_RCVTIMEO, &[0; 15]), Err(Errno::EINVAL));
    let read = get(TCP4, &stored, SOL_SOCKET, libc::SO_RCVTIMEO);
    assert_eq!(read, Ok(Get::Ready(OptionValue::timeval(Duration::from_secs(2)))));
    let mut timeout = |name, value: &[u8]| {
        set(TCP4, &mut stored, SOL_SOCKET, name, value).map(|_| stored.timeout(Direction::Receive))
    };
    assert_eq!(timeout(libc::SO_RCVTIMEO, &timeval(-1, 0)), Ok(None));
    assert_eq!(timeout(libc::SO_RCVTIMEO, &timeval(0, 0)), Ok(None));
    assert!(is_native_too(SOL_SOCKET, libc::SO_RCVTIMEO) && !is_native_too(IPPROTO_TCP, libc::TCP_NODELAY));
}

/// As the kernel: an `unsigned long` for who has room for one.
#[test]
fn pacing_rates_are_wide_or_narrow() {
    let (level, name) = (libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE);
    let rate = |bytes: &[u8]| match set(TCP4, &mut Stored::default(), level, name, bytes)? {
        Set::Stack(option) => Ok(option),
        other => panic!("not the stack's: {other:?}"),
    };
    let stack = |rate| Ok(SocketOption::MaxPacingRate(rate));
    let wide = 5_000_000_000_u64;
    assert_eq!(rate(&wide.to_ne_bytes()), stack(wide));
    assert_eq!(rate(&u64::from(u32::MAX).to_ne_bytes()), stack(u64::from(u32::MAX)));
    assert_eq!(rate(&u64::MAX.to_ne_bytes()), stack(u64::MAX));
    assert_eq!(rate(&3_000_000_000_u32.to_ne_bytes()), stack(3_000_000_000));
    assert_eq!(rate(&[&100_u32.to_ne_bytes()[..], &[1, 2, 3]].concat()), stack(100));
    assert_eq!(rate(&u32::MAX.to_ne_bytes()), stack(u64::MAX));
    assert_eq!(rate(&[1, 2, 3]), Err(Errno::EINVAL));
    let told = answer(level, SocketOption::MaxPacingRate(wide));
    assert_eq!(told.cut_to(8).unwrap(), wide.to_ne_bytes());
    assert_eq!(told.cut_to(100).unwrap(), wide.to_ne_bytes());
    assert_eq!(told.cut_to(7).unwrap(), u32::MAX.to_ne_bytes());
    assert_eq!(told.cut_to(4).unwrap(), u32::MAX.to_ne_bytes());
    assert_eq!(answer(level, SocketOption::MaxPacingRate(7)).cut_to(2).unwrap(), &7_u32.to_ne_bytes()[..2]);
}

#[test]
fn deferred_accepts_round_up_to_retransmissions() {
    let seconds = [(0, 0), (1, 1), (2, 3), (3, 3), (4, 7), (10, 15), (-5, 0)];
    for (asked, given) in seconds {
        assert_eq!(numbers::defer_accept(asked), Duration::from_secs(given), "{asked}");
    }
    assert!(numbers::defer_accept(i32::MAX) < Duration::from_mins(510));
}

#[test]
fn options_of_control_messages_are_stored() {
    let mut stored = Stored::default();
    assert!(!stored.is_on(IPPROTO_IP, libc::IP_PKTINFO));
    assert_eq!(set(UDP4, &mut stored, IPPROTO_IP, libc::IP_PKTINFO, &[5, 0, 0, 0]), Ok(Set::Done));
    assert_eq!(stored.get(IPPROTO_IP, libc::IP_PKTINFO), Some(1));
    assert_eq!(set(UDP4, &mut stored, IPPROTO_IP, libc::IP_PKTINFO, &[0; 4]), Ok(Set::Done));
    assert!(!stored.is_on(IPPROTO_IP, libc::IP_PKTINFO));
}

proptest! {
    #[test]
    fn any_value_of_any_option_is_handled(
        row in 0..TABLE.len(), value in proptest::collection::vec(any::<u8>(), 0..40), room in 0..300_usize,
    ) {
        let row = &TABLE[row];
        for kind in [TCP4, TCP6, UDP4] {
            let mut stored = Stored::default();
            if let Ok(Set::Stack(option)) = set(kind, &mut stored, row.level, row.name, &value) {
                prop_assert!(answer(row.level, option).cut_to(room).unwrap_or_default().len() <= room);
            }
            if let Ok(Get::Ready(value)) = get(kind, &stored, row.level, row.name) {
                prop_assert!(value.cut_to(room).unwrap_or_default().len() <= room);
            }
        }
    }

    #[test]
    fn any_number_of_an_option_is_handled(level in -1..300_i32, name in -1..300_i32, value in any::<i32>()) {
        let _ = set(TCP6, &mut Stored::default(), level, name, &value.to_ne_bytes());
        let _ = get(TCP6, &Stored::default(), level, name);
    }
}

#[test]
fn raw_sockets_have_headers_filters_and_checksums() {
    let raw = |domain, protocol| SocketKind { domain, kind: SocketType::Raw(Protocol(protocol)) };
    let (icmp, six) = (raw(Domain::Inet, 1), raw(Domain::Inet6, 58));
    assert_eq!(set_int(icmp, IPPROTO_IP, libc::IP_HDRINCL, 5), Ok(SocketOption::HeaderIncluded(true)));
    assert_eq!(set_int(UDP4, IPPROTO_IP, libc::IP_HDRINCL, 1), Err(Errno::ENOPROTOOPT));
    // Nothing of IPv4's.
    assert_eq!(set_int(six, IPPROTO_IP, libc::IP_FREEBIND, 1), Err(Errno::ENOPROTOOPT));
    assert_eq!(set_int(icmp, libc::SOL_RAW, 1, 0x101), Ok(SocketOption::IcmpFilter(0x101)));
    assert_eq!(set_int(six, libc::SOL_RAW, 1, 1), Err(Errno::ENOPROTOOPT));
    assert_eq!(set_int(six, IPPROTO_IPV6, 7, 4), Ok(SocketOption::ChecksumOffset(Some(4))));
    assert_eq!(set_int(six, libc::SOL_RAW, 7, -1), Ok(SocketOption::ChecksumOffset(None)));
    let filter = SocketOption::Icmp6Filter([5, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(set_int(six, libc::IPPROTO_ICMPV6, 1, 5), Ok(filter));
    assert_eq!(answer(libc::IPPROTO_ICMPV6, filter).cut_to(6).unwrap(), [5, 0, 0, 0, 0, 0]);
    assert_eq!(set_int(icmp, libc::IPPROTO_ICMPV6, 1, 5), Err(Errno::ENOPROTOOPT));
}

#[test]
fn filters_are_attached_detached_and_locked() {
    use sockeye_stack::{Config, Owner, Stack};
    let mut stack = Stack::new(Config::default(), [1; 32]);
    let id = stack.socket(Domain::Inet, SocketType::Datagram, Owner::default()).unwrap();
    let mut stored = Stored::default();
    let now = sockeye_packet::Instant::ZERO;
    let mut target = Target { stack: &mut stack, now, id, kind: UDP4, stored: &mut stored };
    let attach =
        |target: &mut Target<'_>, value: &[u8]| target.set(SOL_SOCKET, libc::SO_ATTACH_FILTER, value);
    let detach = |target: &mut Target<'_>| target.set(SOL_SOCKET, libc::SO_DETACH_FILTER, &[0; 4]);
    // `ret #0`, as a `struct sock_filter`.
    let mut none = [0_u8; 8];
    none[..2].copy_from_slice(&6_u16.to_ne_bytes());
    assert_eq!(detach(&mut target), Err(Errno::ENOENT));
    assert_eq!(attach(&mut target, &[0; 8]), Err(Errno::EINVAL), "it doesn't end");
    assert_eq!(attach(&mut target, &none), Ok(()));
    assert_eq!(detach(&mut target), Ok(()));
    assert_eq!(attach(&mut target, &none), Ok(()));
    assert_eq!(target.set(SOL_SOCKET, libc::SO_LOCK_FILTER, &1_i32.to_ne_bytes()), Ok(()));
    assert_eq!(target.get(SOL_SOCKET, libc::SO_LOCK_FILTER).unwrap().cut_to(4).unwrap(), 1_i32.to_ne_bytes());
    assert_eq!(detach(&mut target), Err(Errno::EPERM));
    assert_eq!(attach(&mut target, &none), Err(Errno::EPERM));
    assert_eq!(target.set(SOL_SOCKET, libc::SO_LOCK_FILTER, &0_i32.to_ne_bytes()), Err(Errno::EPERM));
}

#[test]
fn an_ipv6_socket_keeps_the_options_of_its_ipv4_packets_apart() {
    let mut stack = Stack::new(Config::default(), [7; 32]);
    let id = stack.socket(Domain::Inet6, SocketType::Datagram, Owner::default()).unwrap();
    let mut stored = Stored::default();
    let mut target = Target { stack: &mut stack, now: Instant::ZERO, id, kind: UDP6, stored: &mut stored };
    let pairs = [
        (libc::IP_TTL, libc::IPV6_UNICAST_HOPS, 64),
        (libc::IP_TOS, libc::IPV6_TCLASS, 0),
        (libc::IP_MTU_DISCOVER, libc::IPV6_MTU_DISCOVER, 1),
        (libc::IP_MINTTL, 73, 0), // IPV6_MINHOPCOUNT
    ];
    let read = |target: &mut Target<'_>, level, name| {
        let value = target.get(level, name).unwrap();
        i32::from_ne_bytes(value.cut_to(4).unwrap().try_into().unwrap())
    };
    for (v4, v6, default) in pairs {
        target.set(IPPROTO_IP, v4, &3_i32.to_ne_bytes()).unwrap();
        assert_eq!(read(&mut target, IPPROTO_IPV6, v6), default, "{v6}");
        target.set(IPPROTO_IPV6, v6, &2_i32.to_ne_bytes()).unwrap();
        assert_eq!(read(&mut target, IPPROTO_IP, v4), 3, "{v4}");
    }
}
