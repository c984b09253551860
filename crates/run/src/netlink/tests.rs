//! Turns: however much a program asks, it is bounded how much is done before others have theirs, and everything is
//! answered in order.

use super::*;
use crate::calls::{Caller, socket};
use crate::core::Outside;
use crate::poller::Poller;
use crate::proto::MemberId;
use netlink_packet_core::NLM_F_REQUEST;
use sockeye::{HostConfig, Network};
use sockeye_posix::sock_diag::BY_FAMILY;
use sockeye_stack::{Domain, Owner, SockAddr, SocketType};

/// Most turns that a test takes.
const TURNS: usize = 5000;

struct Rig {
    core: Core,
    host: HostId,
    key: SocketKey,
    theirs: OwnedFd,
}

impl Rig {
    /// A host with so many datagram sockets, and a program's netlink socket.
    fn new(protocol: i32, datagrams: usize) -> Rig {
        let network = Network::builder().host("a", HostConfig::default()).build_manual().unwrap();
        let host = network.host("a").unwrap().id();
        let mut core = Core::new(network, Poller::new().unwrap(), Outside::Closed).unwrap();
        core.world.with(host, |stack| {
            for _ in 0..datagrams {
                let id = stack.socket(Domain::Inet, SocketType::Datagram, Owner::default()).unwrap();
                stack.bind(id, SockAddr::UNSPECIFIED_V4).unwrap();
            }
        });
        let caller = Caller { member: MemberId::LOCAL, host, tid: 1, fd: -1 };
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK;
        let theirs = socket::socket(&mut core, caller, [libc::AF_NETLINK, kind, protocol]).fd.unwrap();
        let key = core.sockets.keys(|record| matches!(record.socket, Socket::Netlink(_)))[0];
        Rig { core, host, key, theirs }
    }

    fn ask(&self, bytes: &[u8]) {
        send(&self.theirs, bytes, SendFlags::empty()).unwrap();
    }

    /// Lets it have turns until nothing is left to do, reading all the while; returns kinds and sequence numbers
    /// of the answers, and how many turns it took.
    fn answers(&mut self) -> (Vec<[u32; 2]>, usize) {
        let mut answers = Vec::new();
        for turns in 1..TURNS {
            let mut work = Work::default();
            turn(&mut self.core, self.key, &mut work);
            assert!(work.done() <= Work::MOST, "{work:?} in one turn");
            let mut buffer = vec![0; REQUEST_MAX];
            while let Ok((_, len)) = recv(&self.theirs, &mut buffer[..], RecvFlags::DONTWAIT) {
                let mut rest = &buffer[..len];
                while let [a, b, c, d, e, f, _, _, g, h, i, j, ..] = *rest {
                    let kind = u32::from(u16::from_ne_bytes([e, f]));
                    answers.push([kind, u32::from_ne_bytes([g, h, i, j])]);
                    rest = &rest[(u32::from_ne_bytes([a, b, c, d]) as usize).next_multiple_of(4)..];
                }
            }
            if !work.is_over() {
                return (answers, turns);
            }
        }
        panic!("more than {TURNS} turns");
    }
}

fn sockets(flags: u16, sequence: u32, protocol: i32, filter: &[u8]) -> Vec<u8> {
    let mut body = vec![libc::AF_INET as u8, protocol as u8, 0, 0];
    body.extend([0xff; 4]);
    body.extend([0; 40]);
    body.extend([0xff; 8]);
    if !filter.is_empty() {
        body.extend((4 + filter.len() as u16).to_ne_bytes());
        body.extend([1, 0]);
        body.extend(filter);
    }
    diag::message([BY_FAMILY, flags | NLM_F_REQUEST], [sequence, 0], &body)
}

const ERROR: u32 = libc::NLMSG_ERROR as u32;
const DONE: u32 = libc::NLMSG_DONE as u32;

#[test]
fn many_lookups_have_their_turns_in_order() {
    let mut rig = Rig::new(libc::NETLINK_SOCK_DIAG, 300);
    let lookups = |from: u32| -> Vec<u8> {
        (from..from + 900).flat_map(|at| sockets(0, at, libc::IPPROTO_UDP, &[])).collect()
    };
    let mut all = Vec::new();
    for message in 0..2 {
        rig.ask(&lookups(900 * message));
        let (answers, turns) = rig.answers();
        assert!(turns > 3, "{turns}");
        all.extend(answers);
    }
    assert_eq!(all, (0..1800).map(|at| [ERROR, at]).collect::<Vec<_>>());
}

#[test]
fn a_hostile_filter_has_its_turns() {
    let mut rig = Rig::new(libc::NETLINK_SOCK_DIAG, 100);
    let jumps = [1, 4, 4, 0].repeat(15_000);
    rig.ask(&sockets(NLM_F_DUMP, 1, libc::IPPROTO_UDP, &jumps));
    rig.ask(&sockets(0, 2, libc::IPPROTO_UDP, &jumps));
    rig.ask(&sockets(NLM_F_DUMP, 3, libc::IPPROTO_TCP, &[]));
    let (answers, turns) = rig.answers();
    assert!(turns > 20, "{turns}");
    let listed = answers.iter().filter(|answer| **answer == [BY_FAMILY.into(), 1]).count();
    assert_eq!(listed, 100);
    assert_eq!(answers[listed..], [[DONE, 1], [ERROR, 2], [DONE, 3]]);
}

#[test]
fn route_requests_have_their_turns_too() {
    let mut rig = Rig::new(libc::NETLINK_ROUTE, 0);
    // A message that asks for nothing and gets no more than an acknowledgment.
    let request = |at| diag::message([libc::NLMSG_NOOP as u16, NLM_F_REQUEST], [at, 0], &[]);
    rig.ask(&(0..2000).flat_map(request).collect::<Vec<_>>());
    let links = diag::message([libc::RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP], [2000, 0], &[0; 16]);
    rig.ask(&links);
    let (answers, turns) = rig.answers();
    assert!(turns > 5, "{turns}");
    assert_eq!(answers.last(), Some(&[DONE, 2000]));
}

#[test]
fn lists_of_netlink_sockets_go_on_where_they_were() {
    let mut rig = Rig::new(libc::NETLINK_SOCK_DIAG, 0);
    let caller = Caller { member: MemberId::LOCAL, host: rig.host, tid: 1, fd: -1 };
    let what = [libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE];
    let others: Vec<_> = (0..100).map(|_| socket::socket(&mut rig.core, caller, what).fd.unwrap()).collect();
    for key in rig.core.sockets.keys(|_| true) {
        bind_anywhere(&mut rig.core, key);
    }
    let body = [&[libc::AF_NETLINK as u8, 255][..], &[0; 18]].concat();
    rig.ask(&diag::message([BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP], [1, 0], &body));
    let (answers, turns) = rig.answers();
    assert!(turns > 1, "{turns}");
    assert_eq!(answers.len(), others.len() + 2, "all, the asking one, and the end");
}
