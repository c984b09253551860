//! Pings out of the network: an echo socket of the machine for each host, destination and identifier.
//!
//! A ping socket of the kernel needs no privilege, but a range of group ids that allows it; a raw socket needs
//! one. Where this process may have neither, pings are refused as prohibited.

use super::machine::PingKind;
use super::tasks::Token;
use super::{Gateway, Source, Task, machine};
use crate::world::World;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use sockeye_packet::{Chunk, Instant, Payload};
use sockeye_stack::{EchoRequest, Unreachability};
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How long a ping waits for more requests and for late replies.
const IDLE: Duration = Duration::from_secs(30);
/// Requests or replies that move in one step.
const SHARE: usize = 64;
/// Longest message, with its IP header.
const LONGEST: usize = 65_536;
/// Length of an echo message's header.
const HEADER: usize = 8;

/// Who pings whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PingKey {
    src: IpAddr,
    dst: IpAddr,
    id: u16,
}

/// A host that pings a destination.
#[derive(Debug)]
pub(super) struct Ping {
    pub(super) key: PingKey,
    fd: OwnedFd,
    kind: PingKind,
    /// The identifier on the machine's side, where the kernel doesn't choose it.
    outer_id: u16,
    /// The latest request, without its data.
    latest: EchoRequest,
    last: Instant,
    pub(super) readable: bool,
}

impl Gateway {
    /// Echo requests wait in the stack, as many as it keeps.
    pub(super) fn pinged(&mut self, world: &World, now: Instant) {
        while let Some(request) = self.with(world, sockeye_stack::Stack::poll_echo) {
            match self.ping(world, now, &request) {
                Ok(()) => {}
                // This process may not ask, but a machine's loopback always answers.
                Err(Unreachability::Prohibited) if self.machine.contains(&request.dst) => {
                    self.with(world, |stack| stack.reply_echo(request));
                }
                Err(why) => self.with(world, |stack| stack.refuse_echo(now, &request, why)),
            }
        }
    }

    fn ping(&mut self, world: &World, now: Instant, request: &EchoRequest) -> Result<(), Unreachability> {
        let key = PingKey { src: request.src, dst: request.dst, id: request.id };
        let token = match self.pings.get(&key) {
            Some(&token) => token,
            None => self.open_ping(world, now, key, request)?,
        };
        let Some(Task::Ping(ping)) = self.tasks.get(token) else { return Ok(()) };
        self.pingers.touch(now, token, false);
        (ping.last, ping.latest) = (now, EchoRequest { payload: Payload::EMPTY, ..request.clone() });
        let sent = ping.send(request);
        self.tasks.arm(token, now + IDLE);
        sent.map_err(machine::unreachability)
    }

    fn open_ping(
        &mut self,
        world: &World,
        now: Instant,
        key: PingKey,
        request: &EchoRequest,
    ) -> Result<Token, Unreachability> {
        let target = self.target_ip(key.dst)?;
        let opened = machine::connect_ping(target);
        let (fd, kind) = opened.map_err(|error| machine::unreachability(self.note_error(error)))?;
        let latest = EchoRequest { payload: Payload::EMPTY, ..request.clone() };
        let outer_id = self.outer_id(key);
        let make = |fd| Task::Ping(Ping { key, fd, kind, outer_id, latest, last: now, readable: true });
        let token = self.watch(fd, make).map_err(|_| Unreachability::Host)?;
        let source = Source::of(world, key.src);
        if self.pings.len() >= self.config.max_pings
            && let Some(victim) = self.pingers.victim(source)
        {
            self.end(world, now, victim);
        }
        self.pings.insert(key, token);
        self.pingers.add(now, token, source);
        Ok(token)
    }

    /// An identifier on the machine's side that no other ping to the destination has. Those of other programs
    /// of the machine are unlikely to have it.
    fn outer_id(&mut self, key: PingKey) -> u16 {
        let alike: Vec<Token> =
            self.pings.iter().filter(|(other, _)| other.dst == key.dst).map(|(_, token)| *token).collect();
        let id_of = |token| match self.tasks.get(token) {
            Some(Task::Ping(ping)) => Some(ping.outer_id),
            _ => None,
        };
        let taken: Vec<u16> = alike.into_iter().filter_map(id_of).collect();
        free_id(key.id ^ std::process::id() as u16, &taken)
    }

    #[allow(clippy::large_stack_arrays, reason = "64 KiB of a stack of megabytes, never cleared")]
    pub(super) fn step_ping(&mut self, world: &World, now: Instant, token: Token) {
        let mut buffer = [MaybeUninit::uninit(); LONGEST];
        let Some(Task::Ping(ping)) = self.tasks.get(token) else { return };
        if now >= ping.last + IDLE {
            return self.end(world, now, token);
        }
        let mut more = ping.readable;
        for _ in 0..SHARE {
            if !ping.readable {
                more = false;
                break;
            }
            match recv(&ping.fd, &mut buffer, RecvFlags::DONTWAIT) {
                Ok(((bytes, _), _)) => {
                    if let Some(reply) = ping.reply(bytes) {
                        world.with(self.host, |stack| stack.reply_echo(reply));
                    }
                }
                Err(Errno::AGAIN) => ping.readable = false,
                Err(Errno::INTR) => {}
                Err(error) => {
                    let why = machine::unreachability(error);
                    world.with(self.host, |stack| stack.refuse_echo(now, &ping.latest, why));
                }
            }
        }
        let expires = ping.last + IDLE;
        self.tasks.arm(token, expires);
        if more {
            self.tasks.enqueue(token);
        }
    }
}

impl Ping {
    fn send(&self, request: &EchoRequest) -> Result<(), Errno> {
        let v4 = self.key.dst.is_ipv4();
        let mut message = vec![0; HEADER + request.payload.len()];
        message[0] = if v4 { 8 } else { 128 };
        message[4..6].copy_from_slice(&self.outer_id.to_be_bytes());
        message[6..8].copy_from_slice(&request.seq.to_be_bytes());
        request.payload.copy_to(&mut message[HEADER..]);
        if self.kind == PingKind::Raw && v4 {
            let checksum = checksum(&message);
            message[2..4].copy_from_slice(&checksum.to_be_bytes());
        }
        match send(&self.fd, &message, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            // Full, or too long: lost, as on any link.
            Ok(_) | Err(Errno::AGAIN | Errno::MSGSIZE | Errno::NOBUFS | Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The reply in a message of the machine's socket, as the host is to get it; none if it is another message.
    fn reply(&self, bytes: &[u8]) -> Option<EchoRequest> {
        let v4 = self.key.dst.is_ipv4();
        let raw = self.kind == PingKind::Raw;
        let message = if raw && v4 { bytes.get(usize::from(bytes.first()? & 15) * 4..)? } else { bytes };
        let (header, data) = message.split_first_chunk::<HEADER>()?;
        let [kind, code, _, _, a, b, c, d] = *header;
        let ours = !raw || u16::from_be_bytes([a, b]) == self.outer_id;
        let is_reply = kind == if v4 { 0 } else { 129 } && code == 0;
        (is_reply && ours).then(|| EchoRequest {
            seq: u16::from_be_bytes([c, d]),
            payload: Payload::from(Chunk::copy_from(data)),
            ..self.latest.clone()
        })
    }
}

/// The first number from `first` on that is not taken.
fn free_id(first: u16, taken: &[u16]) -> u16 {
    let mut ids = (0..=u16::MAX).map(|more| first.wrapping_add(more));
    ids.find(|id| !taken.contains(id)).unwrap_or(first)
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_one_that_no_other_ping_has() {
        assert_eq!(free_id(7, &[]), 7);
        assert_eq!(free_id(u16::MAX, &[u16::MAX, 1, 0]), 2);
    }
}
