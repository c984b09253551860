//! For fuzzers and tests that play a wrong peer: messages, valid ones and any bytes.

use super::channel::decode;
use super::{
    FromNetwork, GREETING, HostStatus, Join, ProgramStatus, SocketStatus, Status, ToNetwork, Welcome,
};
use crate::proto::{Class, Identity, Notice, Op, Outcome, Received, Request, Seen, Ticket};
use crate::sockets::SocketKey;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Reads a message as a network and as a supervisor does. What is a message must stay one when it is sent on.
///
/// # Panics
/// When that has a bug.
#[doc(hidden)]
pub fn fuzz_decode(bytes: &[u8]) {
    survives::<ToNetwork>(bytes);
    survives::<FromNetwork>(bytes);
}

fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(message) = decode::<T>(bytes) else { return };
    let again = postcard::to_allocvec(&message).expect("a message that was read can be written");
    assert_eq!(decode::<T>(&again).expect("and read"), message);
}

/// What a peer says first.
#[doc(hidden)]
pub fn fuzz_greeting() -> &'static [u8] {
    GREETING
}

/// A valid message of a supervisor's to its network (`to_network`), or of the network's. `next` gives random
/// numbers.
///
/// # Panics
/// Never: every message can be written.
#[doc(hidden)]
pub fn fuzz_example(next: &mut impl FnMut() -> u64, to_network: bool) -> Vec<u8> {
    let mut some = Random { next };
    let bytes = if to_network {
        postcard::to_allocvec(&some.supervisors_message())
    } else {
        postcard::to_allocvec(&some.networks_message())
    };
    bytes.expect("a message")
}

/// Makes random values.
struct Random<'a, F> {
    next: &'a mut F,
}

impl<F: FnMut() -> u64> Random<'_, F> {
    fn below(&mut self, bound: u64) -> u64 {
        (self.next)() % bound
    }

    fn chance(&mut self) -> bool {
        self.below(2) == 0
    }

    /// Small more often than not, so that it may name something that is there.
    fn number(&mut self) -> u32 {
        if self.chance() { self.below(8) as u32 } else { (self.next)() as u32 }
    }

    fn int(&mut self) -> i32 {
        self.number() as i32
    }

    fn bytes(&mut self) -> Vec<u8> {
        let len = if self.below(16) == 0 { 2000 } else { self.below(40) };
        (0..len).map(|_| (self.next)() as u8).collect()
    }

    fn text(&mut self) -> String {
        let words = ["", "web", "a", "8080:80", "delay 10ms", "\u{e4}\0\n", "5353:53/udp", "-"];
        words[self.below(words.len() as u64) as usize].to_owned()
    }

    fn texts(&mut self) -> Vec<String> {
        (0..self.below(4)).map(|_| self.text()).collect()
    }

    fn address(&mut self) -> IpAddr {
        let low = self.number();
        if self.chance() { Ipv4Addr::from(low).into() } else { Ipv6Addr::from(u128::from(low)).into() }
    }

    fn key(&mut self) -> SocketKey {
        SocketKey::from_bits(u64::from(self.number()) << 32 | u64::from(self.number()))
    }

    fn identity(&mut self) -> Identity {
        let number = self.number().into();
        if self.chance() { Identity::Cookie(number) } else { Identity::Inode(number) }
    }

    fn ticket(&mut self) -> Ticket {
        match self.below(4) {
            0 => Ticket::Connected(self.key()),
            1 => Ticket::Failed(self.key()),
            2 => Ticket::Replaced(self.key()),
            _ => Ticket::Accepted(self.number()),
        }
    }

    fn op(&mut self) -> Op {
        match self.below(14) {
            0 => Op::Socket { domain: self.int(), kind: self.int(), protocol: self.int() },
            1 => Op::Bind { address: self.bytes() },
            2 => Op::Listen { backlog: self.int() },
            3 => Op::Accept { flags: self.int() },
            4 => Op::Connect { address: self.bytes() },
            5 => Op::Shutdown { how: self.int() },
            6 => Op::LocalName,
            7 => Op::PeerName,
            8 => Op::SetOption { level: self.int(), name: self.int(), value: self.bytes() },
            9 => Op::GetOption { level: self.int(), name: self.int(), room: self.number() },
            10 => {
                let (name, control) = (self.bytes(), self.bytes());
                Op::Send { flags: self.int(), name, control, data: self.bytes() }
            }
            11 => Op::Receive { flags: self.int(), room: self.number(), control_room: self.number() },
            12 => Op::Pass { send: self.chance().then(|| self.int()) },
            _ => Op::Ioctl { request: self.number(), argument: self.bytes() },
        }
    }

    fn join(&mut self) -> Join {
        Join {
            host: self.text(),
            ip: self.chance().then(|| self.address()),
            link: self.chance().then(|| self.text()),
            offline: self.chance(),
            seed: self.chance().then(|| u64::from(self.number())),
            publish: self.texts(),
            linger: Duration::new((self.next)(), 7),
            program: self.texts(),
        }
    }

    fn supervisors_message(&mut self) -> ToNetwork {
        match self.below(16) {
            0 => ToNetwork::Join { join: self.join(), keeps_ends: self.chance() },
            1 => ToNetwork::Identify { number: self.number(), identity: self.identity() },
            2 => {
                let value = self.chance().then(|| self.int());
                ToNetwork::Seen(Seen { ticket: self.ticket(), tid: self.number(), value })
            }
            3 => ToNetwork::Missed(self.key()),
            4 => ToNetwork::Spoiled(self.key()),
            5 => ToNetwork::Started { pid: self.number() },
            6 => ToNetwork::Ended,
            7 => ToNetwork::Leaving,
            8 => ToNetwork::Status,
            9 => ToNetwork::Publish { host: self.chance().then(|| self.text()), ports: self.texts() },
            10 => ToNetwork::Unpublish { host: self.chance().then(|| self.text()), ports: self.texts() },
            11 if self.below(8) == 0 => ToNetwork::Down,
            _ => {
                let identity = self.chance().then(|| self.identity());
                let waited_for = self.chance().then(|| self.key());
                let (tid, fd, op) = (self.number(), self.int(), self.op());
                ToNetwork::Ask {
                    number: self.number(),
                    request: Request { tid, fd, identity, waited_for, op },
                }
            }
        }
    }

    fn class(&mut self) -> Class {
        [Class::Other, Class::Stream, Class::Datagram, Class::Netlink][self.below(4) as usize]
    }

    fn outcome(&mut self) -> Outcome {
        match self.below(9) {
            0 => Outcome::Value((self.next)() as i64),
            1 => Outcome::Error(self.int()),
            2 => Outcome::BrokenPipe { signal: self.chance() },
            3 => Outcome::Continue,
            4 => Outcome::Bytes(self.bytes()),
            5 => {
                let name = self.chance().then(|| self.bytes());
                let (data, control) = (self.bytes(), self.bytes());
                Outcome::Received(Received { data, name, control, flags: self.int(), result: self.number() })
            }
            6 => {
                let (class, close_on_exec) = (self.class(), self.chance());
                Outcome::Descriptor { class, close_on_exec, address: self.bytes() }
            }
            7 => Outcome::Replace,
            _ => {
                let limit = self.chance().then(|| Duration::new((self.next)(), 9));
                Outcome::Wait { key: self.key(), limit, expired: self.int() }
            }
        }
    }

    fn notice(&mut self) -> Notice {
        match self.below(5) {
            0 => Notice::Wake { tid: self.number(), key: self.key() },
            1 => {
                let (tid, fd, cookie) = (self.number(), self.int(), (self.next)());
                Notice::Spoil { tid, fd, cookie, key: self.key() }
            }
            2 => Notice::Warning(self.text()),
            3 => Notice::ShowError { tid: self.number(), fd: self.int(), cookie: (self.next)() },
            _ => Notice::End,
        }
    }

    fn host_status(&mut self) -> HostStatus {
        let program = ProgramStatus { pid: self.chance().then(|| self.number()), command: self.texts() };
        let socket = SocketStatus {
            protocol: self.text(),
            state: self.text(),
            local: self.text(),
            peer: self.text(),
            pid: self.number(),
        };
        HostStatus {
            name: self.text(),
            addresses: [self.address(), self.address()],
            link: self.text(),
            published: self.texts(),
            programs: vec![program],
            sockets: vec![socket],
        }
    }

    fn networks_message(&mut self) -> FromNetwork {
        match self.below(8) {
            0 => FromNetwork::Refused(self.text()),
            1 => {
                let addresses = [self.address(), self.address()];
                FromNetwork::Joined(Welcome { addresses, is_new_host: self.chance() })
            }
            2 => {
                let (number, outcome) = (self.number(), self.outcome());
                FromNetwork::Reply { number, outcome, ticket: self.chance().then(|| self.ticket()) }
            }
            3 => {
                let class = self.class();
                FromNetwork::Class { number: self.number(), class }
            }
            4 => FromNetwork::Notice(self.notice()),
            5 => FromNetwork::Drained,
            6 => FromNetwork::Status(Status {
                name: self.text(),
                offline: self.chance(),
                pid: self.number(),
                hosts: (0..self.below(3)).map(|_| self.host_status()).collect(),
                flows: self.number() as usize,
                left_out: self.number() as usize,
            }),
            _ => FromNetwork::Done(self.text()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_messages() {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 17
        };
        for _ in 0..2000 {
            decode::<ToNetwork>(&fuzz_example(&mut next, true)).unwrap();
            decode::<FromNetwork>(&fuzz_example(&mut next, false)).unwrap();
        }
    }

    #[test]
    fn a_cut_message_and_one_with_more_behind_it_are_errors() {
        let mut next = || 3;
        let whole = fuzz_example(&mut next, true);
        assert!(decode::<ToNetwork>(&whole[..whole.len() - 1]).is_err());
        assert!(decode::<ToNetwork>(&[&whole[..], &[0]].concat()).is_err());
        assert!(decode::<ToNetwork>(&[]).is_err());
    }
}
