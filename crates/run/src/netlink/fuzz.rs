//! For fuzzers: requests of netlink sockets and of `ioctl`, valid ones and any bytes.

use super::answer::{Asker, MESSAGE_LEN, respond};
use super::diag::{self, Host, Progress};
use super::host::network;
use super::work::Work;
use super::{ioctl, request};
use sockeye_packet::Instant;
use sockeye_stack::{
    Config, Domain, NicConfig, Owner, Protocol, Route, SendFlags, SockAddr, SocketType, Stack,
};
use std::net::IpAddr;

/// Length of a message's header, and of the errno behind it.
const HEADER: usize = 16;
const ERRNO: usize = 4;
/// Most messages that one request comes to here.
const MESSAGES: usize = 64;

/// A host with an interface and a few sockets. The same every time.
fn stack() -> Option<Stack> {
    let mut stack = Stack::new(Config::default(), [7; 32]);
    let nic = stack.add_nic(NicConfig::memory("eth0", 1500)).ok()?;
    for (address, prefix) in [([10, 77, 0, 2].into(), 16), ([0xfd77, 0, 0, 0, 0, 0, 0, 2].into(), 64)] {
        stack.add_address(nic, address, prefix).ok()?;
        let gateway = None;
        stack.add_route(Route { dest: network(address, 0), prefix: 0, gateway, nic, metric: 9 }).ok()?;
    }
    let (now, owner) = (Instant::default(), Owner::default());
    let local: IpAddr = [127, 0, 0, 1].into();
    let listener = stack.socket(Domain::Inet, SocketType::Stream, owner).ok()?;
    stack.bind(listener, SockAddr::new(local, 80)).ok()?;
    stack.listen(now, listener, 4).ok()?;
    for _ in 0..3 {
        let client = stack.socket(Domain::Inet, SocketType::Stream, owner).ok()?;
        stack.connect(now, client, SockAddr::new(local, 80)).ok();
        stack
            .send(now, client, &mut [sockeye_packet::Chunk::copy_from(b"?")].into(), SendFlags::default())
            .ok();
    }
    for (domain, kind) in [
        (Domain::Inet6, SocketType::Datagram),
        (Domain::Inet, SocketType::Raw(Protocol::ICMP)),
        (Domain::Packet, SocketType::Packet { cooked: false, ethertype: SocketType::ALL }),
    ] {
        stack.socket(domain, kind, owner).ok()?;
    }
    Some(stack)
}

/// Answers requests: those of a route socket, of a socket for lists of sockets, or of `ioctl`, as the first byte
/// says. What comes back must be whole messages that answer them, and lists must not take more memory than one.
///
/// # Panics
/// When that has a bug.
#[doc(hidden)]
pub fn fuzz_netlink(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let mut stack = stack().expect("a host can be made");
    match kind % 3 {
        0 => {
            let asker =
                Asker { port: 7, capped: kind & 4 != 0, strict: kind & 8 != 0, explained: kind & 16 != 0 };
            let mut room = MESSAGES;
            respond(&mut stack, asker, bytes, &mut |answer| {
                check(answer, bytes.len());
                room -= 1;
                room > 0
            });
        }
        1 => list(&stack, bytes),
        _ => {
            let (request, argument) = bytes.split_first_chunk().unwrap_or((&[0; 4], bytes));
            if let Ok(answer) = ioctl::answer(&stack, u32::from_ne_bytes(*request), argument) {
                assert!(answer.len() <= ioctl::ANSWER_MAX, "an answer of {} bytes", answer.len());
            }
        }
    }
}

fn list(stack: &Stack, bytes: &[u8]) {
    let host = Host { stack, now: Instant::default(), plugs: None };
    for request in request::requests(bytes).filter(request::Request::asks) {
        match diag::answer(&host, 7, &request, &mut Work::default()) {
            Ok(diag::Answer::One(body)) => {
                check(&diag::message([request.kind, 0], [request.sequence, 7], &body), 0);
            }
            Ok(diag::Answer::Dump(mut dump)) => {
                // The reader takes one message at a time.
                let mut turns = 0;
                let mut has_room = false;
                loop {
                    has_room = !has_room;
                    turns += 1;
                    let progress = dump.go_on(&host, &mut Work::default(), &mut |answer| {
                        check(answer, 0);
                        std::mem::take(&mut has_room)
                    });
                    if progress == Progress::Ended {
                        break;
                    }
                    assert!(turns < MESSAGES, "a list without end");
                }
            }
            Err(_) => {}
        }
    }
}

/// Whole messages, one behind the other, not longer together than a message may be; an error may repeat its request.
fn check(answer: &[u8], request: usize) {
    assert!(answer.len() <= MESSAGE_LEN.max(HEADER + ERRNO + request.next_multiple_of(4)));
    let mut rest = answer;
    while !rest.is_empty() {
        let len = rest.first_chunk().map_or(0, |len| u32::from_ne_bytes(*len) as usize);
        assert!((HEADER..=rest.len()).contains(&len), "a message of {len} bytes in {}", rest.len());
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
}

/// Requests as programs make them, with the byte in front that says where. `next` gives random numbers.
#[doc(hidden)]
pub fn fuzz_netlink_example(next: &mut dyn FnMut() -> u64) -> Vec<u8> {
    let mut below = |limit: u64| next() % limit;
    let kind = below(16) as u8;
    let mut bytes = vec![kind];
    if kind % 3 == 2 {
        let request = 0x8900 + below(0x60) as u32;
        bytes.extend(request.to_ne_bytes());
        let mut argument = if below(2) == 0 { b"eth0".to_vec() } else { b"lo".to_vec() };
        argument.resize(16, 0);
        argument.extend((0..56).map(|_| below(20) as u8));
        bytes.extend(argument);
        return bytes;
    }
    for _ in 0..=below(3) {
        let (number, body) =
            if kind.is_multiple_of(3) { route_request(&mut below) } else { list_request(&mut below) };
        let flags = 1 | [0, 0x300, 4, 0x304][below(4) as usize];
        bytes.extend(diag::message([number, flags], [below(9) as u32, 0], &body));
    }
    bytes
}

fn route_request(below: &mut dyn FnMut(u64) -> u64) -> (u16, Vec<u8>) {
    let kinds =
        [libc::RTM_GETLINK, libc::RTM_GETADDR, libc::RTM_GETROUTE, libc::RTM_GETRULE, libc::RTM_GETNEIGH];
    let kind = kinds[below(5) as usize];
    let family = [0, libc::AF_INET, libc::AF_INET6][below(3) as usize];
    let header = if kind == libc::RTM_GETLINK { 16 } else { 12 };
    let mut body = vec![family as u8];
    body.resize(header, 0);
    for _ in 0..below(3) {
        let len = [0, 4, 5, 16][below(4) as usize];
        let value: Vec<u8> = (0..len).map(|_| below(256) as u8).collect();
        attribute(&mut body, below(32) as u16, &value);
    }
    (kind, body)
}

fn list_request(below: &mut dyn FnMut(u64) -> u64) -> (u16, Vec<u8>) {
    let kind = [20, 20, 20, 21, 18][below(5) as usize];
    let families = [libc::AF_INET, libc::AF_INET6, libc::AF_PACKET, libc::AF_NETLINK];
    let protocols = [libc::IPPROTO_TCP, libc::IPPROTO_UDP, libc::IPPROTO_RAW, 0];
    let mut body = vec![families[below(4) as usize] as u8, protocols[below(4) as usize] as u8, 0xff, 0];
    body.extend((below(1 << 14) as u32).to_ne_bytes());
    body.extend((0..40).map(|_| if below(8) == 0 { below(256) as u8 } else { 0 }));
    body.extend([0xff; 8]);
    if below(2) == 0 {
        let mut program = Vec::new();
        for _ in 0..below(4) {
            program.extend([below(14) as u8, 8, 12, 0, 2, 0, 80, 0]);
        }
        attribute(&mut body, 1, &program);
    }
    (kind, body)
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend((4 + value.len() as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use sockeye_packet::Rng;

    #[test]
    fn requests_valid_and_damaged_are_survived() {
        let mut rng = Rng::from_u64(3);
        let mut answered = 0;
        for _ in 0..500 {
            let mut bytes = fuzz_netlink_example(&mut || rng.next_u64());
            fuzz_netlink(&bytes);
            let valid = request::requests(&bytes[1..]).count();
            answered += u32::from(bytes[0] % 3 != 2 && valid > 0);
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.next_u64() as u8;
            fuzz_netlink(&bytes);
        }
        assert!(answered > 200, "{answered} of 500 hold a request");
    }
}
