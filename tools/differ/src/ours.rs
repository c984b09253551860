//! The calls on Sockeye: one host with a loopback interface, under virtual time.

use std::time::Duration;

use sockeye_packet::{Instant, Rng};
use sockeye_posix::berkeley::Socket;
use sockeye_posix::{Errno, Privilege};
use sockeye_stack::{Config, Owner, Stack};

use crate::answer::{Answer, Masks, PICKED, Ports};
use crate::call::{Address, Call, PLACES, Place, Port};
use crate::{BITS, Side};

/// How long a call takes.
const CALL_TIME: Duration = Duration::from_micros(20);

pub(crate) struct Ours {
    stack: Stack,
    now: Instant,
    sockets: [Option<Socket>; PLACES],
    ports: Ports,
}

impl Ours {
    pub(crate) fn new(seed: u64, first_port: u16) -> Ours {
        let config = Config { local_ports: PICKED..=60_999, icmp_rate: u32::MAX, ..Config::default() };
        let stack = Stack::new(config, Rng::from_u64(seed).next_seed());
        Ours {
            stack,
            now: Instant::from_millis(1000),
            sockets: [const { None }; PLACES],
            ports: Ports::new(first_port),
        }
    }

    fn address(&self, address: &Address) -> Vec<u8> {
        let port = match address.port {
            Port::Zero => 0,
            Port::Fixed(number) => self.ports.first + number,
            Port::Of(place) => {
                let name =
                    self.sockets[place].as_ref().and_then(|socket| socket.local_name(&self.stack).ok());
                name.map(|name| u16::from_be_bytes([name.as_slice()[2], name.as_slice()[3]]))
                    .filter(|port| *port != 0)
                    .unwrap_or(self.ports.nobody())
            }
        };
        address.bytes(port)
    }

    fn close(&mut self, at: Place) -> Option<Result<usize, Errno>> {
        let socket = self.sockets[at].take()?;
        Some(socket.close(&mut self.stack, self.now).map(|()| 0))
    }

    fn call(&mut self, call: &Call) -> Answer {
        match call {
            Call::Socket { at, domain, kind, protocol } => {
                self.close(*at);
                let what = [*domain, *kind, *protocol];
                let socket = Socket::open(&mut self.stack, what, Privilege::NetRaw, Owner::default());
                return Answer::of(socket.map(|socket| {
                    self.sockets[*at] = Some(socket);
                    0
                }));
            }
            Call::Close { at } => return Answer { result: self.close(*at), ..Answer::default() },
            Call::Accept { at, into } => {
                if at != into {
                    self.close(*into);
                }
                return self.accept(*at, *into);
            }
            _ => {}
        }
        let address = match call {
            Call::Bind { address, .. }
            | Call::Connect { address, .. }
            | Call::Send { to: Some(address), .. } => self.address(address),
            _ => Vec::new(),
        };
        let Ours { stack, now, sockets, ports, .. } = self;
        let now = *now;
        let Some(socket) = &mut sockets[call.at()] else { return Answer::default() };
        let unit = |result: Result<(), Errno>| Answer::of(result.map(|()| 0));
        match call {
            Call::Bind { .. } => unit(socket.bind(stack, &address)),
            Call::Connect { .. } => unit(socket.connect(stack, now, &address)),
            Call::Listen { backlog, .. } => unit(socket.listen(stack, now, *backlog)),
            Call::Send { len, first, flags, .. } => {
                Answer::of(socket.send(stack, now, &crate::pattern(*len, *first), *flags, &address))
            }
            Call::Receive { room, flags, .. } => match socket.recv(stack, now, *room, *flags) {
                Err(errno) => Answer::of(Err(errno)),
                Ok(received) => Answer {
                    bytes: received.data.to_vec(),
                    address: received.from.map(|from| ports.address(from.as_slice())),
                    flags: received.flags.bits(),
                    ..Answer::of(Ok(received.value))
                },
            },
            Call::Shutdown { how, .. } => unit(socket.shutdown(stack, now, *how)),
            Call::LocalName { .. } | Call::PeerName { .. } => {
                let is_local = matches!(call, Call::LocalName { .. });
                match if is_local { socket.local_name(stack) } else { socket.peer_name(stack) } {
                    Ok(name) => Answer { address: Some(ports.address(name.as_slice())), ..Answer::of(Ok(0)) },
                    Err(errno) => Answer::of(Err(errno)),
                }
            }
            Call::Set { option, value, .. } => unit(socket.set_option(stack, now, *option, value)),
            Call::Get { option, room, .. } => {
                let value = socket.option(stack, now, *option);
                match value.and_then(|value| value.cut_to(*room).map(<[u8]>::to_vec)) {
                    Ok(bytes) => Answer { bytes, ..Answer::of(Ok(0)) },
                    Err(errno) => Answer::of(Err(errno)),
                }
            }
            Call::Request { request, .. } => {
                Answer::of(socket.ioctl(stack, *request).map(|value| value as usize))
            }
            Call::Socket { .. } | Call::Close { .. } | Call::Accept { .. } => Answer::default(),
        }
    }

    fn accept(&mut self, at: Place, into: Place) -> Answer {
        let Some(socket) = &self.sockets[at] else { return Answer::default() };
        match socket.accept(&mut self.stack, self.now) {
            Err(errno) => Answer::of(Err(errno)),
            Ok((accepted, peer)) => {
                self.close(into);
                self.sockets[into] = Some(accepted);
                Answer { address: Some(self.ports.address(peer.as_slice())), ..Answer::of(Ok(0)) }
            }
        }
    }
}

impl Side for Ours {
    fn answer(&mut self, call: &Call) -> Answer {
        let answer = self.call(call);
        self.now += CALL_TIME;
        while self.stack.poll_timeout().is_some_and(|wake| wake.at <= self.now) {
            self.stack.handle_timeout(self.now);
        }
        while self.stack.poll_event().is_some() {}
        answer
    }

    fn masks(&mut self) -> Masks {
        std::array::from_fn(|at| self.sockets[at].as_ref().map(|socket| socket.poll(&self.stack) & BITS))
    }
}
