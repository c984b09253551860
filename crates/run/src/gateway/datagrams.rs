//! UDP flows, both ways: a socket of the stack for each, and a socket of the machine, or a published port's and
//! the client there.
//!
//! As everywhere with UDP, what finds no room is dropped, never waited for. A flow ends when it has been idle for
//! a while, shorter as long as nothing has come back.

use super::publish::Publication;
use super::tasks::Token;
use super::{Gateway, Source, Task, machine};
use crate::sys;
use crate::world::World;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use sockeye_packet::{Instant, Payload, Pool};
use sockeye_stack::{
    Domain, Error, Flow, FlowId, Owner, RecvFlags as StackRecvFlags, Result, SendFlags as StackSendFlags,
    SockAddr, SocketId, SocketType, Stack, Unreachability, Verdict,
};
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// Longest datagram.
const LONGEST: usize = 65_536;
/// How many datagrams move in each direction in one step.
const SHARE: usize = 64;
/// How long a flow may be idle before something has come back.
const IDLE_ONE_WAY: Duration = Duration::from_mins(1);
/// When to try again after something had run out.
const SHORTAGE: Duration = Duration::from_millis(200);
/// How long a flow may be idle after something has come back.
const IDLE: Duration = Duration::from_mins(3);

/// A UDP flow.
#[derive(Debug)]
pub(super) struct Datagrams {
    end: End,
    /// The stack's socket; none until the flow is opened.
    pub(super) id: Option<SocketId>,
    /// The last time something passed.
    last: Instant,
    /// Whether something has come back.
    answered: bool,
    readable: bool,
}

/// The machine's end of a UDP flow.
#[derive(Debug)]
enum End {
    /// Out of the network: a connected socket of its own.
    Own { fd: OwnedFd, flow: FlowId },
    /// In from a published port: the port's socket, and who sent something to it.
    Guest {
        fd: Arc<OwnedFd>,
        door: Token,
        client: Client,
        /// The host's address of the other family, and the last datagram: for when nobody is at the first.
        other: Option<(SockAddr, Payload)>,
    },
}

/// A published UDP port.
#[derive(Debug)]
pub(super) struct Door {
    fd: Arc<OwnedFd>,
    pub(super) publication: Publication,
    pub(super) readable: bool,
    guests: HashMap<Client, Token>,
}

/// Who sends to a published port, and to which of the machine's addresses, if the port has several.
type Client = (SocketAddr, Option<IpAddr>);

impl Door {
    pub(super) fn new(fd: Arc<OwnedFd>, publication: Publication) -> Door {
        Door { fd, publication, readable: true, guests: HashMap::new() }
    }

    /// The flows of its clients.
    pub(super) fn guests(&self) -> Vec<Token> {
        self.guests.values().copied().collect()
    }
}

impl Datagrams {
    fn new(end: End, id: Option<SocketId>, now: Instant) -> Datagrams {
        Datagrams { end, id, last: now, answered: false, readable: true }
    }

    /// Notes what epoll reported.
    pub(super) fn note(&mut self, readable: bool) {
        self.readable |= readable;
    }

    fn expires(&self) -> Instant {
        self.last + if self.answered { IDLE } else { IDLE_ONE_WAY }
    }
}

/// Flows of both directions.
impl Gateway {
    /// Makes room for one more flow of a host: one of whoever has most ends.
    fn make_room(&mut self, world: &World, now: Instant, source: Source) {
        if self.datagram_flows.len() >= self.config.max_datagram_flows
            && let Some(token) = self.datagram_flows.victim(source)
        {
            self.end(world, now, token);
        }
    }

    /// Makes room for one more client of a published port. Anybody can make up clients, so they push out
    /// nobody but clients: of the same port, or of the one that has most.
    fn make_room_for_guest(&mut self, world: &World, now: Instant, door: Token) {
        let [of_one, of_all] = self.config.max_guests;
        let victim = if self.guests.count_of(door) >= of_one {
            self.guests.first_of(door)
        } else if self.guests.len() >= of_all {
            self.guests.victim(door)
        } else {
            None
        };
        if let Some(token) = victim {
            self.end(world, now, token);
        }
    }

    /// Cleans up after a flow that is no task any more.
    pub(super) fn forget_datagrams(
        &mut self,
        world: &World,
        now: Instant,
        token: Token,
        datagrams: &Datagrams,
    ) {
        self.datagram_flows.remove(token);
        self.guests.remove(token);
        if let Some(id) = datagrams.id {
            self.sockets.remove(&id);
            self.with(world, |stack| stack.close(now, id)).ok();
        }
        match &datagrams.end {
            End::Own { flow, .. } => drop(self.flows.remove(flow)),
            End::Guest { door, client, .. } => {
                if let Some(Task::Door(door)) = self.tasks.get(*door) {
                    door.guests.remove(client);
                }
            }
        }
    }

    pub(super) fn step_datagrams(&mut self, world: &World, now: Instant, token: Token) {
        let Some(Task::Datagrams(datagrams)) = self.tasks.get(token) else { return };
        let pool = &mut self.pool;
        let more = world.with(self.host, |stack| datagrams.step(stack, pool, now));
        let (expires, last, answered) = (datagrams.expires(), datagrams.last, datagrams.answered);
        self.datagram_flows.touch(last, token, answered);
        self.guests.touch(last, token, answered);
        if now >= expires {
            return self.end(world, now, token);
        }
        self.tasks.arm(token, expires);
        match more {
            Step::Done => {}
            Step::More => self.tasks.enqueue(token),
            Step::Nobody => self.try_other_family(world, now, token),
        }
    }
}

/// Out of the network.
impl Gateway {
    /// Accepts a flow for which the machine has a socket and a way.
    pub(super) fn accept_datagrams(
        &mut self,
        world: &World,
        now: Instant,
        id: FlowId,
        (flow, target): (&Flow, &SocketAddr),
    ) -> std::result::Result<(), Verdict> {
        let nothing_left = Verdict::Unreachable(Unreachability::Host);
        let fd = machine::connect_datagrams(target)
            .map_err(|error| Verdict::Unreachable(machine::unreachability(self.note_error(error))))?;
        let make = |fd| Task::Datagrams(Datagrams::new(End::Own { fd, flow: id }, None, now));
        let token = self.watch(fd, make).map_err(|_| nothing_left)?;
        let source = Source::of(world, flow.src.ip_addr());
        self.make_room(world, now, source);
        self.datagram_flows.add(now, token, source);
        self.flows.insert(id, token);
        self.tasks.arm(token, now + IDLE_ONE_WAY);
        if self.with(world, |stack| stack.answer(now, id, Verdict::Accept)).is_err() {
            self.end(world, now, token);
            return Err(nothing_left);
        }
        Ok(())
    }
}

/// Into the network.
impl Gateway {
    #[allow(clippy::large_stack_arrays, reason = "64 KiB of a stack of megabytes, never cleared")]
    pub(super) fn step_door(&mut self, world: &World, now: Instant, token: Token) {
        let mut buffer = [MaybeUninit::uninit(); LONGEST];
        for _ in 0..SHARE {
            let Some(Task::Door(door)) = self.tasks.get(token) else { return };
            if !door.readable {
                return;
            }
            let received = sys::receive_datagram(&door.fd, &mut buffer);
            match received.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)) {
                Ok(None) | Err(Errno::INTR) => {}
                Ok(Some((bytes, received))) => {
                    let client = (received.from, received.to);
                    let mut payload = Payload::EMPTY;
                    self.pool.copy(bytes, |chunk| payload.push(chunk));
                    self.let_in(world, now, token, client, &payload);
                }
                Err(Errno::AGAIN) => {
                    door.readable = false;
                    return;
                }
                // Out of memory, perhaps: asking at once would only spin.
                Err(_) => return self.tasks.arm(token, now + SHORTAGE),
            }
        }
        self.tasks.enqueue(token);
    }

    /// A datagram of a client of a published port.
    fn let_in(&mut self, world: &World, now: Instant, door: Token, client: Client, payload: &Payload) {
        let Some(Task::Door(open)) = self.tasks.get(door) else { return };
        let (fd, publication) = (Arc::clone(&open.fd), open.publication);
        let known = open.guests.get(&client).copied();
        let Some(guest) = known.or_else(|| self.add_guest(world, now, door, client, (fd, publication)))
        else {
            return;
        };
        let Some(Task::Datagrams(datagrams)) = self.tasks.get(guest) else { return };
        let Some(id) = datagrams.id else { return };
        datagrams.last = now;
        self.guests.touch(now, guest, false);
        if let End::Guest { other: Some((_, last)), .. } = &mut datagrams.end {
            last.clone_from(payload);
        }
        let sent = world.with(self.host, |stack| send_on(stack, now, id, payload));
        if sent == Err(Error::ConnectionRefused) {
            // What the first family has answered nevertheless comes first.
            self.step_datagrams(world, now, guest);
            self.try_other_family(world, now, guest);
        }
    }

    fn add_guest(
        &mut self,
        world: &World,
        now: Instant,
        door: Token,
        client: Client,
        (fd, publication): (Arc<OwnedFd>, Publication),
    ) -> Option<Token> {
        let [first, second] = publication.targets();
        let id = self.with(world, |stack| connected(stack, now, first)).ok()?;
        self.make_room_for_guest(world, now, door);
        let end = End::Guest { fd, door, client, other: Some((second, Payload::EMPTY)) };
        let token = self.tasks.reserve();
        self.tasks.insert(token, Task::Datagrams(Datagrams::new(end, Some(id), now)));
        self.guests.add(now, token, door);
        self.sockets.insert(id, token);
        self.tasks.arm(token, now + IDLE_ONE_WAY);
        if let Some(Task::Door(door)) = self.tasks.get(door) {
            door.guests.insert(client, token);
        }
        Some(token)
    }

    /// Nobody is at the host's address of one family: what was sent last goes to the other, once.
    fn try_other_family(&mut self, world: &World, now: Instant, token: Token) {
        let Some(Task::Datagrams(datagrams)) = self.tasks.get(token) else { return };
        let End::Guest { other, .. } = &mut datagrams.end else { return };
        let Some((target, last)) = other.take().filter(|_| !datagrams.answered) else { return };
        let old = datagrams.id;
        let made = world.with(self.host, |stack| {
            let id = connected(stack, now, target)?;
            if let Some(old) = old {
                stack.close(now, old)?;
            }
            send_on(stack, now, id, &last).ok();
            Ok::<_, Error>(id)
        });
        let Ok(id) = made else { return };
        datagrams.id = Some(id);
        old.map(|old| self.sockets.remove(&old));
        self.sockets.insert(id, token);
    }
}

/// A datagram socket that is connected to `peer`.
fn connected(stack: &mut Stack, now: Instant, peer: SockAddr) -> Result<SocketId> {
    let domain = if peer.is_v4() { Domain::Inet } else { Domain::Inet6 };
    let id = stack.socket(domain, SocketType::Datagram, Owner::default())?;
    if let Err(error) = stack.connect(now, id, peer) {
        stack.close(now, id)?;
        return Err(error);
    }
    Ok(id)
}

/// Sends a datagram into the network. An error of one sent before is told, and this one sent all the same.
fn send_on(stack: &mut Stack, now: Instant, id: SocketId, payload: &Payload) -> Result<()> {
    let flags = StackSendFlags::default();
    match stack.send_to(now, id, payload.clone(), None, flags) {
        // Full, or too long: dropped, as on any link.
        Ok(_) | Err(Error::WouldBlock | Error::NoBufs | Error::MessageSize) => Ok(()),
        Err(error) => {
            stack.send_to(now, id, payload.clone(), None, flags).ok();
            Err(error)
        }
    }
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Done,
    More,
    /// The host says that nobody is there.
    Nobody,
}

impl Datagrams {
    /// Moves what can be moved now.
    fn step(&mut self, stack: &mut Stack, pool: &mut Pool, now: Instant) -> Step {
        let Some(id) = self.id else { return Step::Done };
        let outward = self.move_out(stack, now, id);
        let more_to_read = self.move_in(stack, pool, now, id);
        if outward == Step::Done && more_to_read { Step::More } else { outward }
    }

    /// From the stack to the machine.
    fn move_out(&mut self, stack: &mut Stack, now: Instant, id: SocketId) -> Step {
        let mut refused = false;
        for _ in 0..SHARE {
            match stack.recv_from(now, id, StackRecvFlags::default()) {
                Ok(datagram) => {
                    self.last = now;
                    let chunk = datagram.payload.into_chunk();
                    self.give(stack, now, id, &chunk);
                }
                Err(Error::ConnectionRefused) if matches!(self.end, End::Guest { .. }) => {
                    // What has come before that is handed on all the same.
                    refused = true;
                }
                Err(Error::WouldBlock | Error::BadSocket | Error::NotSupported) => {
                    return if refused { Step::Nobody } else { Step::Done };
                }
                // An error of something sent before, told once.
                Err(_) => {}
            }
        }
        Step::More
    }

    /// Sends a datagram to the machine's side.
    fn give(&mut self, stack: &mut Stack, now: Instant, id: SocketId, bytes: &[u8]) {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match &mut self.end {
            End::Own { fd, .. } => {
                // An error of one sent before is told instead of sending: then it is sent again.
                for _ in 0..2 {
                    match send(&*fd, bytes, flags) {
                        Ok(_) | Err(Errno::AGAIN | Errno::MSGSIZE | Errno::NOBUFS) => return,
                        Err(error) => refuse(stack, now, id, error),
                    }
                }
            }
            End::Guest { fd, client, other, .. } => {
                self.answered = true;
                *other = None;
                let (client, local) = *client;
                sys::send_datagram(&*fd, bytes, client, local).ok();
            }
        }
    }

    /// From the machine to the stack; says whether there may be more.
    #[allow(clippy::large_stack_arrays, reason = "64 KiB of a stack of megabytes, never cleared")]
    fn move_in(&mut self, stack: &mut Stack, pool: &mut Pool, now: Instant, id: SocketId) -> bool {
        let End::Own { fd, .. } = &self.end else { return false };
        if !self.readable {
            return false;
        }
        let mut buffer = [MaybeUninit::uninit(); LONGEST];
        for _ in 0..SHARE {
            match recv(fd, &mut buffer, RecvFlags::DONTWAIT) {
                Ok(((bytes, _), _)) => {
                    (self.last, self.answered) = (now, true);
                    let mut payload = Payload::EMPTY;
                    pool.copy(bytes, |chunk| payload.push(chunk));
                    // An error is of the client, which is gone perhaps: then the flow falls idle.
                    send_on(stack, now, id, &payload).ok();
                }
                Err(Errno::AGAIN) => {
                    self.readable = false;
                    return false;
                }
                Err(error) => refuse(stack, now, id, error),
            }
        }
        true
    }
}

/// Tells the client of an error that the machine's socket reports.
fn refuse(stack: &mut Stack, now: Instant, id: SocketId, error: Errno) {
    if error != Errno::INTR {
        stack.refuse_datagrams(now, id, machine::unreachability(error)).ok();
    }
}
