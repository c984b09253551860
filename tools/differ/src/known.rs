//! Differences that are known and told in docs/compatibility.md: a sequence ends at one.

use std::net::IpAddr;

use libc::{AF_INET, AF_INET6, AF_UNSPEC, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM};

use crate::call::{Address, Call, Place};

/// A difference that stays.
pub(crate) struct Row {
    /// What docs/compatibility.md says of it, word for word.
    pub(crate) told: &'static str,
    /// Whether it may show at the last of these calls.
    shows: fn(&[Call]) -> bool,
}

/// All of them.
pub(crate) const ROWS: [Row; 6] = [
    Row {
        told: "An IPv6 datagram socket that was connected over IPv4 and disconnected hears everybody over IPv6",
        shows: |calls| {
            // What it doesn't hear may be missed only when it is to be read.
            let seen = matches!(calls, [.., Call::Send { .. } | Call::Receive { .. } | Call::Request { .. }]);
            seen && places(calls, AF_INET6).any(|at| hears_its_former_peer_alone(life(calls, at)))
        },
    },
    Row {
        told: "A datagram socket whose second `connect` finds no way sends on to its first peer",
        shows: |calls| {
            let [before @ .., Call::Send { at, to: None, .. }] = calls else { return false };
            let datagram = [AF_INET, AF_INET6].into_iter().any(|family| is_datagram(before, *at, family));
            let mut peers = life(before, *at).into_iter().filter_map(peer);
            datagram && peers.next().is_some() && peers.any(|peer| is_nobody(&peer))
        },
    },
    Row {
        told: "An IPv6 ping or raw socket can't be connected to an IPv4 address",
        shows: |calls| {
            let [before @ .., last @ Call::Connect { at, .. }] = calls else { return false };
            let of_packets = match socket(before, *at) {
                Some([AF_INET6, SOCK_RAW, _]) => true,
                Some([AF_INET6, SOCK_DGRAM, protocol]) => protocol == libc::IPPROTO_ICMPV6,
                _ => false,
            };
            of_packets && peer(last).is_some_and(|peer| is_v4(&peer))
        },
    },
    Row {
        told: "IPv4 and IPv6 share identifiers",
        shows: |calls| {
            let [before @ .., Call::Bind { at, .. }] = calls else { return false };
            let ping = |at| match socket(before, at) {
                Some([family, SOCK_DGRAM, libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6]) => Some(family),
                _ => None,
            };
            let own = ping(*at);
            own.is_some() && (0..crate::call::PLACES).filter_map(ping).any(|family| Some(family) != own)
        },
    },
    Row {
        told: "An IPv6 stream socket that was connected over IPv4 can be connected over IPv6 later",
        shows: |calls| {
            let [before @ .., last @ Call::Connect { at, .. }] = calls else { return false };
            let listens = |at| life(before, at).iter().any(|call| matches!(call, Call::Listen { .. }));
            let mut listeners = (0..crate::call::PLACES).filter(|&at| listens(at));
            let spoke_v4 = spoke_v4(before, *at) || listeners.any(|at| spoke_v4(before, at));
            spoke_v4 && peer(last).is_some_and(|peer| !is_v4(&peer))
        },
    },
    Row {
        told: "Raw sockets don't hear UDP datagrams that state a wrong length",
        shows: |calls| {
            let is_wrong = |(count, call): (usize, &Call)| match call {
                Call::Send { at, .. } => {
                    matches!(socket(&calls[..count], *at), Some([_, SOCK_RAW, libc::IPPROTO_UDP]))
                }
                _ => false,
            };
            let seen = matches!(calls, [.., Call::Send { .. } | Call::Receive { .. } | Call::Request { .. }]);
            seen && calls.iter().enumerate().any(is_wrong)
        },
    },
];

/// What docs/compatibility.md says of a difference that shows at the last of these calls.
pub(crate) fn reason(calls: &[Call]) -> Option<&'static str> {
    ROWS.iter().find(|row| (row.shows)(calls)).map(|row| row.told)
}

/// The places of datagram sockets of a family.
fn places(calls: &[Call], family: i32) -> impl Iterator<Item = Place> {
    (0..crate::call::PLACES).filter(move |at| is_datagram(calls, *at, family))
}

fn is_datagram(calls: &[Call], at: Place, family: i32) -> bool {
    matches!(socket(calls, at), Some([domain, SOCK_DGRAM, _]) if domain == family)
}

/// Domain, type and protocol of the place's latest socket.
pub(crate) fn socket(calls: &[Call], place: Place) -> Option<[i32; 3]> {
    calls.iter().rev().find_map(|call| match *call {
        Call::Socket { at, domain, kind, protocol } if at == place => Some([domain, kind, protocol]),
        _ => None,
    })
}

/// Whether the place's latest socket is a connection that was accepted.
fn was_accepted(calls: &[Call], place: Place) -> bool {
    let latest = calls.iter().rfind(|call| match **call {
        Call::Accept { into, .. } => into == place,
        Call::Socket { at, .. } => at == place,
        _ => false,
    });
    matches!(latest, Some(Call::Accept { .. }))
}

/// Whether the place's latest socket is an IPv6 stream that was connected over IPv4.
fn spoke_v4(calls: &[Call], at: Place) -> bool {
    let accepted = was_accepted(calls, at);
    let stream = accepted || matches!(socket(calls, at), Some([AF_INET6, SOCK_STREAM, _]));
    // Whose connection was accepted isn't told here: anybody's who went over IPv4.
    let calls = if accepted { calls.iter().collect() } else { life(calls, at) };
    stream && calls.into_iter().filter_map(peer).any(|peer| is_v4(&peer))
}

/// The calls on the place's latest socket.
fn life(calls: &[Call], at: Place) -> Vec<&Call> {
    let made = calls.iter().rposition(|call| matches!(call, Call::Socket { .. }) && call.at() == at);
    calls[made.unwrap_or(0)..].iter().filter(|call| call.at() == at).collect()
}

/// Whether a connect over IPv4 was followed by a disconnect.
fn hears_its_former_peer_alone(life: Vec<&Call>) -> bool {
    let mut over_v4 = life.into_iter().skip_while(|call| !peer(call).is_some_and(|peer| is_v4(&peer)));
    over_v4.any(|call| matches!(call, Call::Connect { address, .. } if address.family == AF_UNSPEC))
}

/// Whom a call connects to.
fn peer(call: &Call) -> Option<Address> {
    match call {
        Call::Connect { address, .. } if address.family != AF_UNSPEC => Some(*address),
        _ => None,
    }
}

fn is_v4(address: &Address) -> bool {
    address.family == AF_INET || address.ip.to_canonical().is_ipv4()
}

/// Whether it is the address of IPv4 to which there is no way.
fn is_nobody(address: &Address) -> bool {
    matches!(address.ip.to_canonical(), IpAddr::V4(ip) if ip.is_documentation())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Port;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn each_is_told() {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let told = words(include_str!("../../../docs/compatibility.md"));
        for Row { told: row, .. } in ROWS {
            assert!(told.contains(row), "docs/compatibility.md doesn't say: {row}");
        }
    }

    fn connect(family: i32, ip: impl Into<IpAddr>) -> Call {
        Call::Connect { at: 1, address: Address { family, ip: ip.into(), port: Port::Fixed(0), len: None } }
    }

    #[test]
    fn a_row_covers_its_own_calls_only() {
        let socket = |domain| Call::Socket { at: 1, domain, kind: SOCK_DGRAM, protocol: 0 };
        let send = Call::Send { at: 1, len: 1, first: 0, flags: 0, to: None };
        let v4 = connect(AF_INET6, Ipv4Addr::LOCALHOST.to_ipv6_mapped());
        let disconnect = connect(AF_UNSPEC, Ipv6Addr::LOCALHOST);
        let nowhere = connect(AF_INET, Ipv4Addr::new(192, 0, 2, 1));
        let of = |calls: &[&Call]| reason(&calls.iter().map(|call| (*call).clone()).collect::<Vec<_>>());
        let v6 = socket(AF_INET6);
        assert_eq!(of(&[&v6, &v4, &disconnect, &send]), Some(ROWS[0].told));
        assert_eq!(of(&[&v6, &disconnect, &v4, &send]), None);
        assert_eq!(of(&[&v6, &v4, &disconnect, &v6, &send]), None);
        assert_eq!(of(&[&socket(AF_INET), &v4, &disconnect, &send]), None);
        assert_eq!(of(&[&v6, &v4, &nowhere, &send]), Some(ROWS[1].told));
        assert_eq!(of(&[&v6, &nowhere, &v4, &send]), None);
        assert_eq!(of(&[&v6, &v4, &nowhere]), None);
        let [stream, stream_v4] = [AF_INET6, AF_INET].map(|domain| {
            let kind = SOCK_STREAM;
            Call::Socket { at: 1, domain, kind, protocol: 0 }
        });
        let over_v6 = connect(AF_INET6, Ipv6Addr::LOCALHOST);
        assert_eq!(of(&[&stream, &v4, &v4, &over_v6]), Some(ROWS[4].told));
        assert_eq!(of(&[&stream, &over_v6, &v4]), None);
        assert_eq!(of(&[&stream_v4, &v4, &v4, &over_v6]), None);
        let listen = Call::Listen { at: 1, backlog: 1 };
        let of_another = Call::Connect { at: 3, address: peer(&over_v6).unwrap() };
        assert_eq!(of(&[&stream, &v4, &listen, &of_another]), Some(ROWS[4].told));
        assert_eq!(of(&[&stream, &v4, &of_another]), None);
        assert_eq!(of(&[&stream, &over_v6, &listen, &of_another]), None);
        let accept = Call::Accept { at: 2, into: 1 };
        assert_eq!(of(&[&v4, &accept, &over_v6]), Some(ROWS[4].told));
        assert_eq!(of(&[&over_v6, &accept, &over_v6]), None);
        let other = |at, domain, kind, protocol| Call::Socket { at, domain, kind, protocol };
        let ping = other(1, AF_INET6, SOCK_DGRAM, libc::IPPROTO_ICMPV6);
        assert_eq!(of(&[&ping, &v4]), Some(ROWS[2].told));
        assert_eq!(of(&[&v6, &v4]), None);
        let address =
            Address { family: AF_INET6, ip: Ipv6Addr::LOCALHOST.into(), port: Port::Fixed(0), len: None };
        let bind = Call::Bind { at: 1, address };
        let ping4 = other(2, AF_INET, SOCK_DGRAM, libc::IPPROTO_ICMP);
        assert_eq!(of(&[&ping, &ping4, &bind]), Some(ROWS[3].told));
        assert_eq!(of(&[&ping, &bind]), None);
        let raw = |protocol| other(1, AF_INET, SOCK_RAW, protocol);
        assert_eq!(of(&[&raw(17), &send]), Some(ROWS[5].told));
        assert_eq!(of(&[&raw(253), &send]), None);
    }
}
