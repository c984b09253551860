//! The name server's sockets on one host: UDP and TCP at port 53 of each address it is asked at.
//!
//! Each address has sockets of its own, so that an answer comes from the address that was asked. A stream's
//! answers wait in a queue, and nothing is read while one waits, so a peer that doesn't read can't make it
//! grow; the number of connections is bounded by closing an idle one of whoever has most. What others are asked is
//! answered when they have answered, in any order (RFC 7766 §7): [`Service::deliver`]. Of such queries a connection
//! has a bounded number.
//!
//! On the gateway, flows to the machine's name servers are the service's too ([`Service::adopt`]): connections as
//! others, and for each client of a server's UDP port a connected socket, which is closed when it falls idle.

use super::{Names, PORT, Reply, ReplyTo, Transport};
use crate::shares::Shares;
use sockeye::HostId;
use sockeye_packet::{Chunk, Instant, Payload};
use sockeye_stack::{
    Domain, Error, FlowProtocol, Owner, RecvFlags, Result, SendFlags, SockAddr, SocketId, SocketOption,
    SocketType, Stack,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// Connections open at once on one host.
const CONNECTIONS_MAX: usize = 128;
/// Clients of UDP flows at once.
const GUESTS_MAX: usize = 1024;
/// How long a connection or a client may be idle (RFC 7766 §6.2.3); longer than others take for their answers.
pub(crate) const IDLE: Duration = Duration::from_secs(30);
/// Queries of one connection that wait for others' answers.
const PENDING_MAX: usize = 16;
/// Datagrams, connections or reads that are handled before others have their turn.
pub(crate) const TURN_MAX: usize = 64;
/// How much of a stream is read at once.
const READ_LEN: usize = 16 * 1024;

/// The name server on one host.
#[derive(Debug)]
pub(crate) struct Service {
    host: HostId,
    sockets: BTreeMap<SocketId, Role>,
    /// Where it listens.
    addresses: BTreeSet<IpAddr>,
    /// The connections, and who has them.
    connections: Shares<SocketId, IpAddr>,
    /// The sockets of UDP flows, and who has them.
    guests: Shares<SocketId, IpAddr>,
}

#[derive(Debug)]
enum Role {
    Datagrams,
    Guest,
    Listener,
    Connection(Connection),
}

#[derive(Debug)]
struct Connection {
    /// Who asks.
    source: IpAddr,
    /// What was read and is no whole query yet: at most a query and a read.
    input: Vec<u8>,
    /// Answers on their way out.
    output: VecDeque<Chunk>,
    /// How many answers are still to come.
    pending: usize,
    /// The peer asks no more.
    ended: bool,
}

impl Service {
    /// Listens at port 53 of these addresses, which the host must have.
    pub(crate) fn open(
        stack: &mut Stack,
        now: Instant,
        host: HostId,
        addresses: &[IpAddr],
    ) -> Result<Service> {
        let mut service = Service {
            host,
            sockets: BTreeMap::new(),
            addresses: BTreeSet::new(),
            connections: Shares::default(),
            guests: Shares::default(),
        };
        for &address in addresses {
            service.listen(stack, now, address)?;
        }
        Ok(service)
    }

    /// Listens at port 53 of one more address, unless it does already.
    pub(crate) fn listen(&mut self, stack: &mut Stack, now: Instant, address: IpAddr) -> Result<()> {
        if self.addresses.contains(&address) {
            return Ok(());
        }
        let (datagrams, listener) = open_at(stack, now, SockAddr::new(address, PORT))?;
        self.sockets.insert(datagrams, Role::Datagrams);
        self.sockets.insert(listener, Role::Listener);
        self.addresses.insert(address);
        Ok(())
    }

    /// Takes over the socket of a flow to a name server of the machine. Says the same as [`Service::on_ready`].
    pub(crate) fn adopt(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        id: SocketId,
        protocol: FlowProtocol,
        names: &mut Names,
    ) -> bool {
        if protocol == FlowProtocol::Tcp {
            return self.admit(stack, now, id, names);
        }
        let Ok(peer) = stack.peer_addr(id) else { return false };
        if self.guests.len() >= GUESTS_MAX {
            self.give_up_guest(stack, now, peer.ip_addr(), names);
        }
        self.guests.add(now, id, peer.ip_addr());
        self.sockets.insert(id, Role::Guest);
        self.on_ready(stack, now, id, names)
    }

    /// Closes a client's socket for another one's. A client that has the same port again may have asked just now, and this
    /// is not known yet: it is heard, and another is given up, or it would wait for seconds until it asks again.
    fn give_up_guest(&mut self, stack: &mut Stack, now: Instant, newcomer: IpAddr, names: &mut Names) {
        for tries in 0..TURN_MAX {
            let Some(victim) = self.guests.victim(newcomer) else { return };
            if stack.recv_queued(victim) == 0 || tries + 1 == TURN_MAX {
                return self.drop_socket(stack, now, victim);
            }
            self.on_ready(stack, now, victim, names);
        }
    }

    /// Closes what was idle for too long; says when to come back.
    pub(crate) fn on_timeout(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        names: &mut Names,
    ) -> Option<Instant> {
        for _ in 0..TURN_MAX {
            let due = self.next_expiry()?;
            let idle = [self.connections.oldest(), self.guests.oldest()].into_iter().flatten().min();
            match idle {
                Some((_, id)) if due <= now => {
                    let asks =
                        matches!(self.sockets.get(&id), Some(Role::Guest)) && stack.recv_queued(id) > 0;
                    if asks {
                        self.on_ready(stack, now, id, names);
                    } else {
                        self.drop_socket(stack, now, id);
                    }
                }
                _ => break,
            }
        }
        self.next_expiry()
    }

    fn next_expiry(&self) -> Option<Instant> {
        let oldest = [self.connections.oldest(), self.guests.oldest()].into_iter().flatten().min();
        oldest.map(|(last, _)| last + IDLE)
    }

    /// How many sockets it has.
    #[cfg(test)]
    pub(crate) fn socket_count(&self) -> usize {
        self.sockets.len()
    }

    /// Whether a socket is the service's, so that its events are for [`Service::on_ready`].
    pub(crate) fn owns(&self, id: SocketId) -> bool {
        self.sockets.contains_key(&id)
    }

    /// A socket of the service became ready. Says whether there is more to do: then it wants to be called
    /// again for this socket, after others.
    pub(crate) fn on_ready(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        id: SocketId,
        names: &mut Names,
    ) -> bool {
        let host = self.host;
        self.connections.touch(now, id, false);
        self.guests.touch(now, id, false);
        match self.sockets.get_mut(&id) {
            None => false,
            Some(Role::Datagrams | Role::Guest) => answer_datagrams(stack, now, host, id, names),
            Some(Role::Listener) => self.accept(stack, now, id, names),
            Some(Role::Connection(connection)) => {
                let progress = connection.advance(stack, now, host, id, names);
                if matches!(progress, Ok(Progress::Over) | Err(_)) {
                    self.forget(id);
                    // An id that is dead already needs no closing.
                    stack.close(now, id).ok();
                }
                matches!(progress, Ok(Progress::More))
            }
        }
    }

    /// An answer came that somebody at this host waits for; whose connection is closed waits no more. Says the
    /// same as [`Service::on_ready`].
    pub(crate) fn deliver(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        to: ReplyTo,
        answer: Vec<u8>,
        names: &mut Names,
    ) -> bool {
        match self.sockets.get_mut(&to.socket) {
            Some(Role::Datagrams | Role::Guest) => {
                send_datagram(stack, now, to.socket, answer, to.peer);
                false
            }
            Some(Role::Connection(connection)) => {
                connection.pending = connection.pending.saturating_sub(1);
                connection.output.push_back(framed(&answer));
                self.on_ready(stack, now, to.socket, names)
            }
            Some(Role::Listener) | None => false,
        }
    }

    fn accept(&mut self, stack: &mut Stack, now: Instant, listener: SocketId, names: &mut Names) -> bool {
        for _ in 0..TURN_MAX {
            let Ok((id, _)) = stack.accept(now, listener) else { return false };
            self.admit(stack, now, id, names);
        }
        true
    }

    /// A connection that is open. Another one is given up for it if there are too many.
    fn admit(&mut self, stack: &mut Stack, now: Instant, id: SocketId, names: &mut Names) -> bool {
        let Ok(peer) = stack.peer_addr(id) else {
            stack.close(now, id).ok();
            return false;
        };
        if self.connections.len() >= CONNECTIONS_MAX
            && let Some(victim) = self.connections.victim(peer.ip_addr())
        {
            self.drop_socket(stack, now, victim);
        }
        self.connections.add(now, id, peer.ip_addr());
        self.sockets.insert(id, Role::Connection(Connection::new(peer.ip_addr())));
        // What came with the handshake raises no event of its own.
        self.on_ready(stack, now, id, names)
    }

    /// Closes a connection or a client's socket in the middle of whatever it does.
    fn drop_socket(&mut self, stack: &mut Stack, now: Instant, id: SocketId) {
        match self.sockets.get(&id) {
            Some(Role::Connection(connection)) if connection.is_quiet() => stack.close(now, id).ok(),
            Some(Role::Connection(_)) => stack.abort(now, id).ok(),
            _ => stack.close(now, id).ok(),
        };
        self.forget(id);
    }

    fn forget(&mut self, id: SocketId) {
        self.sockets.remove(&id);
        self.connections.remove(id);
        self.guests.remove(id);
    }
}

fn open_at(stack: &mut Stack, now: Instant, addr: SockAddr) -> Result<(SocketId, SocketId)> {
    let domain = if addr.is_v4() { Domain::Inet } else { Domain::Inet6 };
    let owner = Owner::default();
    let datagrams = stack.socket(domain, SocketType::Datagram, owner)?;
    // A program's server may have all other addresses.
    stack.bind_yielding(datagrams, addr)?;
    let listener = stack.socket(domain, SocketType::Stream, owner)?;
    stack.set_option(now, listener, SocketOption::ReuseAddr(true))?;
    stack.bind_yielding(listener, addr)?;
    stack.listen(now, listener, CONNECTIONS_MAX)?;
    Ok((datagrams, listener))
}

fn answer_datagrams(stack: &mut Stack, now: Instant, host: HostId, id: SocketId, names: &mut Names) -> bool {
    for _ in 0..TURN_MAX {
        match stack.recv_from(now, id, RecvFlags::default()) {
            Ok(query) => {
                let to = ReplyTo { host, socket: id, peer: Some(query.from), source: query.from.ip_addr() };
                if let Reply::Now(answer) = names.answer(now, &query.payload.into_chunk(), Transport::Udp, to)
                {
                    send_datagram(stack, now, id, answer, to.peer);
                }
            }
            Err(Error::WouldBlock) => return false,
            // An error of an earlier answer (nobody waits for it any more): the next call goes on.
            Err(_) => {}
        }
    }
    true
}

fn send_datagram(stack: &mut Stack, now: Instant, id: SocketId, answer: Vec<u8>, to: Option<SockAddr>) {
    // An answer that can't be sent is lost, as datagrams may be: the resolver asks again.
    stack.send_to(now, id, Payload::from(Chunk::from(answer)), to, SendFlags::default()).ok();
}

/// RFC 1035 §4.2.2: in a stream each message follows its length.
fn framed(answer: &[u8]) -> Chunk {
    let mut framed = Vec::with_capacity(2 + answer.len());
    framed.extend_from_slice(&(answer.len() as u16).to_be_bytes());
    framed.extend_from_slice(answer);
    Chunk::from(framed)
}

/// Where a connection stands after its turn.
enum Progress {
    /// It waits for an event.
    Waiting,
    /// It could go on at once.
    More,
    /// All is said.
    Over,
}

impl Connection {
    fn new(source: IpAddr) -> Connection {
        Connection { source, input: Vec::new(), output: VecDeque::new(), pending: 0, ended: false }
    }

    /// Whether nothing is under way: an end is then no loss to anybody.
    fn is_quiet(&self) -> bool {
        self.input.is_empty() && self.output.is_empty() && self.pending == 0
    }

    fn advance(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        host: HostId,
        id: SocketId,
        names: &mut Names,
    ) -> Result<Progress> {
        for _ in 0..TURN_MAX {
            while !self.output.is_empty() {
                match stack.send(now, id, &mut self.output, SendFlags::default()) {
                    Ok(_) => {}
                    Err(Error::WouldBlock) => return Ok(Progress::Waiting),
                    Err(error) => return Err(error),
                }
            }
            if self.pending >= PENDING_MAX {
                return Ok(Progress::Waiting);
            }
            if let Some(query) = next_query(&mut self.input) {
                let to = ReplyTo { host, socket: id, peer: None, source: self.source };
                match names.answer(now, &query, Transport::Tcp, to) {
                    Reply::Now(answer) => self.output.push_back(framed(&answer)),
                    Reply::Later => self.pending += 1,
                    Reply::Nothing => {}
                }
                continue;
            }
            if self.ended {
                return Ok(if self.pending == 0 { Progress::Over } else { Progress::Waiting });
            }
            match stack.recv(now, id, READ_LEN, RecvFlags::default()) {
                Ok(read) if read.is_empty() => self.ended = true,
                Ok(read) => read.chunks().for_each(|chunk| self.input.extend_from_slice(chunk)),
                Err(Error::WouldBlock) => return Ok(Progress::Waiting),
                Err(error) => return Err(error),
            }
        }
        Ok(Progress::More)
    }
}

/// Takes the first whole query off what was read.
fn next_query(input: &mut Vec<u8>) -> Option<Vec<u8>> {
    let (len, rest) = input.split_first_chunk::<2>()?;
    let len = usize::from(u16::from_be_bytes(*len));
    let query = rest.get(..len)?.to_vec();
    input.drain(..2 + len);
    Some(query)
}

#[cfg(test)]
mod tests;
