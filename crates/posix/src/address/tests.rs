use super::*;
use proptest::prelude::*;

const V4: Reader =
    Reader { domain: Domain::Inet, kind: SocketType::Stream, v6_only: false, local_is_v4: true, peer: None };
const V6: Reader = Reader { domain: Domain::Inet6, local_is_v4: false, ..V4 };
const ONLY: Reader = Reader { v6_only: true, ..V6 };
const PING4: Reader = Reader { kind: SocketType::Ping, ..V4 };
const PING6: Reader = Reader { kind: SocketType::Ping, ..ONLY };
const UDP6: Reader = Reader { kind: SocketType::Datagram, ..V6 };

fn addr(text: &str) -> SockAddr {
    text.parse::<core::net::SocketAddr>().unwrap().into()
}

fn bytes(text: &str, domain: Domain) -> Vec<u8> {
    AddressBytes::new(addr(text), domain).as_slice().to_vec()
}

#[test]
fn layouts_are_those_of_libc() {
    assert_eq!(size_of::<libc::sockaddr_in>(), INET_LEN);
    assert_eq!(size_of::<libc::sockaddr_in6>(), INET6_LEN);
    assert_eq!(size_of::<libc::sockaddr_storage>(), ADDRESS_MAX);
    assert_eq!(std::mem::offset_of!(libc::sockaddr_in6, sin6_scope_id), INET6_LEN_MIN);
    assert_eq!(bytes("10.77.0.2:80", Domain::Inet), [2, 0, 0, 80, 10, 77, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mapped = bytes("10.77.0.2:80", Domain::Inet6);
    assert_eq!(mapped[..4], [10, 0, 0, 80]);
    assert_eq!(mapped[18..24], [0xff, 0xff, 10, 77, 0, 2]);
}

#[test]
fn addresses_of_each_family_are_read() {
    for text in ["10.77.0.2:80", "0.0.0.0:0"] {
        assert_eq!(V4.bind(&bytes(text, Domain::Inet)), Ok(addr(text)));
        assert_eq!(V6.bind(&bytes(text, Domain::Inet6)), Ok(addr(text)));
    }
    assert_eq!(V6.connect(&bytes("[fe80::1%3]:9", Domain::Inet6)), Ok(Some(addr("[fe80::1%3]:9"))));
    // A scope means something on link-local addresses only.
    let mut global = bytes("[fd77::2]:9", Domain::Inet6);
    global[24] = 7;
    assert_eq!(V6.connect(&global), Ok(Some(addr("[fd77::2]:9"))));
    // The scope is optional.
    assert_eq!(V6.connect(&global[..24]), Ok(Some(addr("[fd77::2]:9"))));
}

#[test]
fn what_is_urgent_is_refused_over_ipv4_where_it_is_seen_to_go_there() {
    let (v4, any) = (bytes("10.0.0.1:0", Domain::Inet), bytes("[::]:7", Domain::Inet6));
    let udp4 = Reader { kind: SocketType::Datagram, ..V4 };
    assert_eq!(udp4.destination(&v4[..3], true), Err(Errno::EOPNOTSUPP));
    assert_eq!(UDP6.destination(&v4[..3], true), Err(Errno::EOPNOTSUPP));
    assert_eq!(UDP6.destination(&any[..20], true), Err(Errno::EINVAL));
    assert_eq!(UDP6.destination(&any, true), Ok(Some(addr("[::]:7"))));
    assert_eq!(UDP6.destination(&[], true), Ok(None));
    let only = Reader { v6_only: true, ..UDP6 };
    assert_eq!(only.destination(&v4, true), Err(Errno::ENETUNREACH));
    let bound = Reader { local_is_v4: true, peer: Some(addr("10.0.0.1:7")), ..UDP6 };
    assert_eq!(bound.destination(&any, true), Err(Errno::EOPNOTSUPP));
    assert_eq!(bound.destination(&[], true), Err(Errno::EOPNOTSUPP));
    assert_eq!(PING6.destination(&[], true), Err(Errno::EOPNOTSUPP));
}

/// Tried on Linux 6.18.
#[test]
fn raw_and_ping_sockets_read_addresses_their_own_way() {
    let (v4, v6) = (bytes("10.0.0.1:0", Domain::Inet), bytes("[fd77::2]:0", Domain::Inet6));
    let mapped = bytes("10.0.0.1:0", Domain::Inet6);
    let raw4 = Reader { kind: SocketType::Raw(Protocol::ICMP), ..V4 };
    let raw6 = Reader { kind: SocketType::Raw(Protocol::ICMPV6), ..V6 };
    assert_eq!(raw4.bind(&v6), Ok(addr("0.0.0.0:0")));
    assert_eq!(raw6.bind(&v4), Err(Errno::EINVAL));
    assert_eq!(raw6.bind(&mapped), Err(Errno::EADDRNOTAVAIL));
    assert_eq!(PING6.bind(&v6[..27]), Err(Errno::EINVAL));
    assert_eq!(raw6.connect(&v4), Err(Errno::EAFNOSUPPORT));
    assert_eq!(PING6.connect(&v4[..3]), Err(Errno::EAFNOSUPPORT));
    assert_eq!(raw6.destination(&v4, false), Err(Errno::EINVAL));
    assert_eq!(PING6.destination(&mapped, false), Err(Errno::EINVAL));
}

#[test]
fn what_is_sent_is_looked_at_before_or_behind_the_address() {
    let (v4, request) = (bytes("10.0.0.1:0", Domain::Inet), [8, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(PING4.message(&v4, &request, 8, false), Ok(Some(addr("10.0.0.1:0"))));
    assert_eq!(PING4.message(&v4, &request, 8, true), Err(Errno::EOPNOTSUPP));
    assert_eq!(PING4.message(&v4, &request[..7], 7, true), Err(Errno::EINVAL));
    assert_eq!(PING4.message(&v4[..3], &[0; 8], 8, false), Err(Errno::EINVAL));
    let raw = Reader { kind: SocketType::Raw(Protocol::ICMP), ..V4 };
    assert_eq!(raw.message(&v4, &[8], 1, false), Err(Errno::EFAULT));
    assert_eq!(raw.message(&v4, &request, 8, false), Ok(Some(addr("10.0.0.1:0"))));
    // That nobody is named is the stack's to tell.
    assert_eq!(raw.message(&[], &[8], 1, false), Ok(None));
}

#[test]
fn ping_sockets_know_one_family_and_no_ports() {
    let (v4, v6) = (bytes("10.0.0.1:0", Domain::Inet), bytes("[fd77::2]:0", Domain::Inet6));
    assert_eq!(PING4.destination(&v4, false), Ok(Some(addr("10.0.0.1:0"))));
    assert_eq!(PING6.destination(&v6, false), Ok(Some(addr("[fd77::2]:0"))));
    assert_eq!(PING4.destination(&[], false), Ok(None));
    assert_eq!(PING4.destination(&v6, false), Err(Errno::EAFNOSUPPORT));
    assert_eq!(PING6.destination(&v4, false), Err(Errno::EINVAL));
    assert_eq!(PING4.destination(&[0; 16], false), Err(Errno::EAFNOSUPPORT));
    assert_eq!(PING4.destination(&v4[..15], false), Err(Errno::EINVAL));
    assert_eq!(PING6.connect(&v6), Ok(Some(addr("[fd77::2]:0"))));
    let mut padded = v4.clone();
    padded.resize(28, 0);
    assert_eq!(PING6.destination(&padded, false), Err(Errno::EAFNOSUPPORT));
    assert_eq!(PING6.connect(&padded), Err(Errno::EAFNOSUPPORT));
    assert_eq!(PING6.bind(&bytes("10.0.0.1:0", Domain::Inet6)), Err(Errno::EINVAL));
}

#[test]
fn short_addresses_and_other_families_get_the_kernels_errno() {
    let (v4, v6) = (bytes("10.0.0.1:1", Domain::Inet), bytes("[fd77::2]:1", Domain::Inet6));
    assert_eq!(V4.bind(&v4[..15]), Err(Errno::EINVAL));
    assert_eq!(V6.bind(&v6[..23]), Err(Errno::EINVAL));
    assert_eq!(V4.bind(&v6), Err(Errno::EAFNOSUPPORT));
    assert_eq!(V6.bind(&v4), Err(Errno::EINVAL), "sixteen bytes are short of an IPv6 address");
    let mut padded = v4.clone();
    padded.resize(28, 0);
    assert_eq!(V6.bind(&padded), Err(Errno::EAFNOSUPPORT));
    assert_eq!(V4.connect(&v6), Err(Errno::EAFNOSUPPORT));
    assert_eq!(V4.connect(&[2]), Err(Errno::EINVAL));
    assert_eq!(V4.destination(&v6, false), Err(Errno::EAFNOSUPPORT));
    assert_eq!(UDP6.destination(&[1, 0, 0, 0], false), Err(Errno::EINVAL));
    assert_eq!(V4.bind(&[0; 129]), Err(Errno::EINVAL));
}

#[test]
fn an_unspecified_family_means_what_the_call_makes_of_it() {
    let mut unset = bytes("0.0.0.0:80", Domain::Inet);
    unset[0] = 0;
    assert_eq!(V4.bind(&unset), Ok(addr("0.0.0.0:80")));
    assert_eq!(V4.connect(&unset[..2]), Ok(None));
    assert_eq!(V6.connect(&unset[..2]), Ok(None));
    unset[4] = 10;
    assert_eq!(V4.bind(&unset), Err(Errno::EAFNOSUPPORT));
    assert_eq!(V4.destination(&unset, false), Ok(Some(addr("10.0.0.0:80"))));
    assert_eq!(UDP6.destination(&unset, false), Ok(None));
    assert_eq!(V4.destination(&[], false), Ok(None));
}

#[test]
fn ipv4_on_ipv6_sockets() {
    let (plain, mapped) = (bytes("10.0.0.1:1", Domain::Inet), bytes("10.0.0.1:1", Domain::Inet6));
    assert_eq!(UDP6.connect(&plain), Ok(Some(addr("10.0.0.1:1"))));
    assert_eq!(UDP6.destination(&plain, false), Ok(Some(addr("10.0.0.1:1"))));
    assert_eq!(V6.connect(&plain), Err(Errno::EINVAL));
    assert_eq!(ONLY.bind(&mapped), Err(Errno::EINVAL));
    assert_eq!(ONLY.connect(&mapped), Err(Errno::ENETUNREACH));
    assert_eq!(ONLY.destination(&mapped, false), Err(Errno::ENETUNREACH));
    // Whether the socket speaks IPv4 is looked at before the length.
    let only = Reader { v6_only: true, ..UDP6 };
    assert_eq!(only.connect(&plain[..15]), Err(Errno::EAFNOSUPPORT));
}

#[test]
fn what_can_not_be_reached_is_refused() {
    assert_eq!(V4.destination(&bytes("10.0.0.1:0", Domain::Inet), false), Err(Errno::EINVAL));
    assert_eq!(V6.connect(&bytes("[fe80::1]:9", Domain::Inet6)), Err(Errno::EINVAL));
    let mut scoped = bytes("[fe80::1]:9", Domain::Inet6);
    scoped[27] = 1;
    assert_eq!(V6.connect(&scoped), Err(Errno::ENODEV), "no interface has so high a number");
}

#[test]
fn answers_are_cut_and_tell_their_length() {
    let answer = AddressBytes::new(addr("10.0.0.1:1"), Domain::Inet);
    assert_eq!(answer.cut_to(3), [2, 0, 0]);
    assert_eq!(answer.cut_to(100).len(), 16);
    assert_eq!(answer.as_slice().len(), 16);
    assert_eq!(AddressBytes::new(SockAddr::UNSPECIFIED_V6, Domain::Inet).as_slice()[4..8], [0; 4]);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..140), family in prop_oneof![Just(0), Just(2), Just(10), any::<u8>()],
    ) {
        if let [low, high, ..] = &mut bytes[..] {
            (*low, *high) = (family, 0);
        }
        for reader in [V4, V6, ONLY, UDP6] {
            let _ = (reader.bind(&bytes), reader.connect(&bytes), reader.destination(&bytes, false));
        }
    }

    #[test]
    fn what_is_written_reads_back(ip in any::<[u8; 16]>(), port in 1..=u16::MAX, nic in 0..100_u16) {
        let ip = Ipv6Addr::from(ip);
        let scope = is_link_local(ip).then_some(NicId(nic));
        let addr = SockAddr { scope, ..SockAddr::new(ip.into(), port) };
        let written = AddressBytes::new(addr, Domain::Inet6);
        prop_assert_eq!(V6.bind(written.as_slice()), Ok(addr));
        prop_assert_eq!(V6.destination(written.as_slice(), false), Ok(Some(addr)));
    }
}
