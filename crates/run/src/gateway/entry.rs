//! Published TCP ports: connections of the machine that go on to a host.

use super::publish::Publication;
use super::tasks::Token;
use super::{Gateway, Source, Task, machine};
use crate::world::World;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use sockeye_packet::Instant;
use sockeye_stack::{Domain, Error, Owner, SockAddr, SocketId, SocketOption, SocketType};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Connections accepted in one step.
const SHARE: usize = 32;
/// When to try again after descriptors had run out.
const SHORTAGE: Duration = Duration::from_millis(200);

/// A published port.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) fd: OwnedFd,
    pub(super) publication: Publication,
    pub(super) readable: bool,
}

/// A connection of the machine, while one of the stack is being opened for it.
#[derive(Debug)]
pub(super) struct Entering {
    pub(super) fd: OwnedFd,
    pub(super) id: SocketId,
    peer: SockAddr,
    /// Where to try when nobody listens there: the host's address of the other family.
    next: Option<SockAddr>,
    /// The machine's side has failed.
    pub(super) gone: bool,
}

impl Gateway {
    pub(super) fn step_listener(&mut self, world: &World, now: Instant, token: Token) {
        for _ in 0..SHARE {
            let Some(Task::Listener(listener)) = self.tasks.get(token) else { return };
            if !listener.readable {
                return;
            }
            let publication = listener.publication;
            match accept_with(&listener.fd, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(fd) => self.enter(world, now, fd, &publication),
                Err(Errno::AGAIN) => {
                    listener.readable = false;
                    return;
                }
                // The connection failed before it was accepted.
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                // Descriptors or memory have run out: what waits is not reported again, and asking at once
                // would only spin.
                Err(error) => {
                    self.note_error(error);
                    return self.tasks.arm(token, now + SHORTAGE);
                }
            }
        }
        self.tasks.enqueue(token);
    }

    fn enter(&mut self, world: &World, now: Instant, fd: OwnedFd, publication: &Publication) {
        if !self.streams.admit(Source::Machine, self.config.max_streams) {
            return machine::reset(fd);
        }
        machine::carry(&fd);
        let [first, second] = publication.targets();
        let Some((id, peer, next)) = self.connect_in(world, now, first, Some(second)) else {
            return machine::reset(fd);
        };
        let make = |fd| Task::Entering(Entering { fd, id, peer, next, gone: false });
        match self.watch(fd, make) {
            Ok(token) => {
                self.streams.add(now, token, Source::Machine);
                self.sockets.insert(id, token);
            }
            // The descriptor is closed by now, and the machine's client sees the end.
            Err(_) => drop(self.with(world, |stack| stack.abort(now, id))),
        }
    }

    /// Begins a connection to one of two addresses: the socket, its peer, and what is left to try.
    fn connect_in(
        &self,
        world: &World,
        now: Instant,
        peer: SockAddr,
        next: Option<SockAddr>,
    ) -> Option<(SocketId, SockAddr, Option<SockAddr>)> {
        let (mut peer, mut next) = (peer, next);
        loop {
            let begun = self.with(world, |stack| {
                let domain = if peer.is_v4() { Domain::Inet } else { Domain::Inet6 };
                let id = stack.socket(domain, SocketType::Stream, Owner::default())?;
                stack.set_option(now, id, SocketOption::NoDelay(true))?;
                match stack.connect(now, id, peer) {
                    Ok(()) | Err(Error::InProgress) => Ok(id),
                    Err(error) => {
                        stack.close(now, id)?;
                        Err(error)
                    }
                }
            });
            match (begun, next.take()) {
                (Ok(id), next) => return Some((id, peer, next)),
                (Err(_), Some(other)) => peer = other,
                (Err(_), None) => return None,
            }
        }
    }

    pub(super) fn step_entering(&mut self, world: &World, now: Instant, token: Token) {
        let Some(Task::Entering(entering)) = self.tasks.get(token) else { return };
        let (id, peer, next) = (entering.id, entering.peer, entering.next);
        if entering.gone {
            return self.end(world, now, token);
        }
        match self.with(world, |stack| stack.connect(now, id, peer)) {
            Ok(()) => self.begin_relay(world, now, token, id),
            Err(Error::Already | Error::InProgress) => {}
            Err(error) => {
                tracing::debug!(%peer, %error, "a published port leads nowhere");
                let next = next.and_then(|next| self.connect_in(world, now, next, None));
                let Some((other, peer, next)) = next else { return self.end(world, now, token) };
                self.sockets.remove(&id);
                self.sockets.insert(other, token);
                self.with(world, |stack| stack.close(now, id)).ok();
                if let Some(Task::Entering(entering)) = self.tasks.get(token) {
                    (entering.id, entering.peer, entering.next) = (other, peer, next);
                }
            }
        }
    }
}
