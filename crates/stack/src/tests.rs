//! Whole stacks: hosts joined by cables under virtual time.

mod checksums;
mod complaints;
mod corks;
mod cost;
mod datagrams;
mod errors;
mod express;
mod flows;
mod forwarding;
mod fuzzed;
mod groups;
mod hostile;
mod ip_options;
mod lite;
mod long_packets;
mod names;
mod packets;
mod passive;
mod pings;
mod raw;
mod segments;
mod simulation;
mod solo;
mod stages;
mod standard;
mod streams;
mod survey;
mod tap;
mod trains;

use crate::{
    Config, Counter, Domain, Error, NicConfig, Owner, Readiness, RecvFlags, SendFlags, SockAddr, SocketId,
    SocketType, Stack, TcpState,
};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;
use sockeye_packet::{Batch, Chunk, Instant, NicId, Packet};

/// The interface that joins the two hosts.
const LINK: NicId = NicId(1);
/// Most rounds until two hosts must have nothing more to say.
const ROUNDS: usize = 10_000;

/// Two hosts and the cable between them.
struct Pair {
    a: Stack,
    b: Stack,
    now: Instant,
    /// Which packets get lost: asked with a running number and the packet.
    loses: fn(u64, &Packet) -> bool,
    crossed: u64,
}

impl Pair {
    /// Host a has 10.0.0.1 and `fd77::1`, host b has 10.0.0.2 and `fd77::2`.
    fn new() -> Pair {
        Pair::with(&Config::default(), &NicConfig::memory("eth0", 1500))
    }

    fn with(config: &Config, nic: &NicConfig) -> Pair {
        let host = |number: u8| {
            let mut stack = Stack::new(config.clone(), [number; 32]);
            assert_eq!(stack.add_nic(nic.clone()), Ok(LINK));
            stack.add_address(LINK, [10, 0, 0, number].into(), 24).unwrap();
            stack.add_address(LINK, [0xfd77, 0, 0, 0, 0, 0, 0, u16::from(number)].into(), 64).unwrap();
            stack
        };
        Pair { a: host(1), b: host(2), now: Instant::from_millis(1), loses: |_, _| false, crossed: 0 }
    }

    /// Moves packets both ways until neither host has any.
    fn cable(&mut self) {
        let mut batch = Batch::new();
        for _ in 0..ROUNDS {
            let mut idle = true;
            for from_a in [true, false] {
                let (from, to) = if from_a { (&mut self.a, &mut self.b) } else { (&mut self.b, &mut self.a) };
                from.poll_transmit(self.now, LINK, &mut batch);
                idle &= batch.is_empty();
                let mut arrived = Batch::new();
                for packet in batch.drain() {
                    self.crossed += 1;
                    if !(self.loses)(self.crossed, &packet) {
                        arrived.push(packet);
                    }
                }
                to.handle_packets(self.now, LINK, &mut arrived);
            }
            if idle {
                return;
            }
        }
        panic!("the hosts never fall silent");
    }

    /// Lets time pass, timer by timer.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..ROUNDS {
            self.cable();
            let next =
                [&self.a, &self.b].into_iter().filter_map(super::Stack::poll_timeout).map(|w| w.at).min();
            match next {
                Some(at) if at <= until => self.now = self.now.max(at),
                _ => {
                    self.now = until;
                    return;
                }
            }
            self.a.handle_timeout(self.now);
            self.b.handle_timeout(self.now);
        }
        panic!("timers fire without end");
    }

    /// A connection from a to a listener of b: the client, the listener, the accepted socket.
    fn connected(&mut self, to: &str) -> (SocketId, SocketId, SocketId) {
        let listener = self.listener(to, 5);
        let client = stream(&mut self.a, addr(to));
        assert_eq!(self.a.connect(self.now, client, addr(to)), Err(Error::InProgress));
        self.cable();
        let (server, _) = self.b.accept(self.now, listener).unwrap();
        (client, listener, server)
    }

    /// A listener of b.
    fn listener(&mut self, at: &str, backlog: usize) -> SocketId {
        let listener = stream(&mut self.b, addr(at));
        self.b.bind(listener, addr(at)).unwrap();
        self.b.listen(self.now, listener, backlog).unwrap();
        listener
    }
}

/// A second host to talk to over the loopback: the same one.
fn lonely() -> Stack {
    Stack::new(Config::default(), [7; 32])
}

fn addr(text: &str) -> SockAddr {
    text.parse::<core::net::SocketAddr>().unwrap().into()
}

fn domain(addr: SockAddr) -> Domain {
    if addr.is_v4() { Domain::Inet } else { Domain::Inet6 }
}

/// A stream socket of the family of `like`.
fn stream(stack: &mut Stack, like: SockAddr) -> SocketId {
    stack.socket(domain(like), SocketType::Stream, Owner::default()).unwrap()
}

/// A datagram socket bound to `at`.
fn datagram(stack: &mut Stack, at: &str) -> SocketId {
    let id = stack.socket(domain(addr(at)), SocketType::Datagram, Owner::default()).unwrap();
    stack.bind(id, addr(at)).unwrap();
    id
}

fn send(stack: &mut Stack, now: Instant, id: SocketId, data: &[u8]) -> Result<usize, Error> {
    let mut chunks: VecDeque<Chunk> = [Chunk::copy_from(data)].into();
    stack.send(now, id, &mut chunks, SendFlags::default())
}

fn recv(stack: &mut Stack, now: Instant, id: SocketId) -> Result<Vec<u8>, Error> {
    stack.recv(now, id, usize::MAX, RecvFlags::default()).map(|payload| payload.to_vec())
}

fn state(stack: &Stack, id: SocketId) -> TcpState {
    stack.tcp_state(id).unwrap()
}

/// All sockets that became ready.
fn events(stack: &mut Stack) -> Vec<SocketId> {
    core::iter::from_fn(|| stack.poll_event())
        .filter_map(|event| if let crate::Event::Ready(id) = event { Some(id) } else { None })
        .collect()
}

const HANGUP: Readiness = Readiness::READ_CLOSED.union(Readiness::WRITE_CLOSED);
