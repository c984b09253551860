//! The calls on the kernel's own sockets.

use std::os::fd::{AsRawFd, OwnedFd};

use sockeye_posix::Errno;

use crate::answer::{Answer, Masks, Ports};
use crate::call::{Address, Call, PLACES, Place, Port};
use crate::{Side, namespace, sys};

pub(crate) struct Kernel {
    sockets: [Option<OwnedFd>; PLACES],
    ports: Ports,
}

impl Kernel {
    pub(crate) fn new(first_port: u16) -> Kernel {
        Kernel { sockets: [const { None }; PLACES], ports: Ports::new(first_port) }
    }

    fn address(&self, address: &Address) -> Vec<u8> {
        let port = match address.port {
            Port::Zero => 0,
            Port::Fixed(number) => self.ports.first + number,
            Port::Of(place) => {
                let name = self.sockets[place].as_ref().and_then(|fd| sys::local_name(fd.as_raw_fd()).ok());
                name.and_then(|name| name.get(2..4).map(|port| u16::from_be_bytes([port[0], port[1]])))
                    .filter(|port| *port != 0)
                    .unwrap_or(self.ports.nobody())
            }
        };
        address.bytes(port)
    }

    fn close(&mut self, at: Place) -> Option<Result<usize, Errno>> {
        self.sockets[at].take().map(|_| Ok(0))
    }

    fn accept(&mut self, at: Place, into: Place) -> Answer {
        let Some(fd) = &self.sockets[at] else { return Answer::default() };
        match sys::accept(fd.as_raw_fd()) {
            Err(errno) => Answer::of(Err(errno)),
            Ok((accepted, peer)) => {
                self.sockets[into] = Some(accepted);
                Answer { address: Some(self.ports.address(&peer)), ..Answer::of(Ok(0)) }
            }
        }
    }
}

impl Side for Kernel {
    fn answer(&mut self, call: &Call) -> Answer {
        match call {
            Call::Socket { at, domain, kind, protocol } => {
                self.close(*at);
                let open = || sys::socket(*domain, *kind, *protocol);
                // Here, and only here, raw sockets are anybody's.
                let opened = if *kind == libc::SOCK_RAW { namespace::with_rights(open) } else { open() };
                return Answer::of(opened.map(|socket| {
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
        let Some(fd) = self.sockets[call.at()].as_ref().map(AsRawFd::as_raw_fd) else {
            return Answer::default();
        };
        match call {
            Call::Bind { address, .. } => Answer::of(sys::bind(fd, &self.address(address))),
            Call::Connect { address, .. } => Answer::of(sys::connect(fd, &self.address(address))),
            Call::Listen { backlog, .. } => Answer::of(sys::listen(fd, *backlog)),
            Call::Send { len, first, flags, to, .. } => {
                let to = to.map_or_else(Vec::new, |to| self.address(&to));
                Answer::of(sys::send(fd, &crate::pattern(*len, *first), *flags, &to))
            }
            Call::Receive { room, flags, .. } => match sys::receive(fd, *room, *flags) {
                Err(errno) => Answer::of(Err(errno)),
                Ok(received) => Answer {
                    bytes: received.data,
                    address: (!received.from.is_empty()).then(|| self.ports.address(&received.from)),
                    flags: received.flags,
                    ..Answer::of(Ok(received.value))
                },
            },
            Call::Shutdown { how, .. } => Answer::of(sys::shutdown(fd, *how)),
            Call::LocalName { .. } | Call::PeerName { .. } => {
                let is_local = matches!(call, Call::LocalName { .. });
                match if is_local { sys::local_name(fd) } else { sys::peer_name(fd) } {
                    Ok(name) => Answer { address: Some(self.ports.address(&name)), ..Answer::of(Ok(0)) },
                    Err(errno) => Answer::of(Err(errno)),
                }
            }
            Call::Set { option, value, .. } => Answer::of(sys::set_option(fd, *option, value)),
            Call::Get { option, room, .. } => match sys::option(fd, *option, *room) {
                Ok(bytes) => Answer { bytes, ..Answer::of(Ok(0)) },
                Err(errno) => Answer::of(Err(errno)),
            },
            Call::Request { request, .. } => {
                Answer::of(sys::request(fd, *request).map(|value| value as usize))
            }
            Call::Socket { .. } | Call::Close { .. } | Call::Accept { .. } => Answer::default(),
        }
    }

    fn masks(&mut self) -> Masks {
        sys::poll(&self.sockets)
    }
}
