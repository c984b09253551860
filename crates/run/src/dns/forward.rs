//! Asks other name servers: what to ask whom and when, without sockets or clock.
//!
//! A question that is not in the cache becomes a *flight*; who asks the same meanwhile joins it. A flight tries
//! one server after the other, twice round. What it wants done comes out of [`Forwarder::poll_step`]; what servers
//! say goes in through `on_datagram`, `on_stream` and `on_failure`; answers come out of [`Forwarder::poll_answer`].
//!
//! Servers are not trusted to be who they seem (RFC 5452): each try has a number and a socket of its own, and an
//! answer counts only with that number and that question. Its case is the server's: we add no bits to it, and some
//! servers write all names small.

use super::Transport;
use super::cache::Cache;
use super::question::{Asked, Key, same_question};
use super::response::{self, Response};
use sockeye::HostId;
use sockeye_packet::{Instant, Rng};
use sockeye_stack::{SockAddr, SocketId};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How long a server has for its answer.
const TRY: Duration = Duration::from_secs(2);
/// How often each server is asked.
const ROUNDS: usize = 2;
/// How many servers are asked, as by the C library (MAXNS).
const SERVERS_MAX: usize = 3;
/// Most askers that wait at once. A quarter is left to those who ask for less than half.
const ASKERS_MAX: usize = 512;
/// After so many datagrams that answer something else somebody is guessing (RFC 5452 §9.2): a stream can't be
/// guessed into.
const STRAYS_MAX: u32 = 16;
/// Transfers of whole zones (IXFR, AXFR), whose answers have any length.
const TRANSFERS: [u16; 2] = [251, 252];

/// Where an answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplyTo {
    /// The host that was asked.
    pub(crate) host: HostId,
    /// The name server's socket there.
    pub(crate) socket: SocketId,
    /// Who asked, if the socket doesn't say.
    pub(crate) peer: Option<SockAddr>,
    /// Whose address that is.
    pub(crate) source: IpAddr,
}

/// Names a question that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FlightId(pub(crate) u64);

/// What the forwarder wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send a query from a new socket, which replaces the flight's earlier one.
    Ask {
        /// Whose answer it will be.
        flight: FlightId,
        /// Whom to ask.
        server: SocketAddr,
        /// How.
        transport: Transport,
        /// The message.
        query: Vec<u8>,
    },
    /// Close the flight's socket.
    Close(FlightId),
}

/// The questions under way.
#[derive(Debug)]
pub(crate) struct Forwarder {
    servers: Arc<[SocketAddr]>,
    cache: Cache,
    rng: Rng,
    flights: BTreeMap<FlightId, Flight>,
    by_key: BTreeMap<Key, FlightId>,
    deadlines: BTreeSet<(Instant, FlightId)>,
    /// How many wait, in all flights, and how many of each host's address.
    askers: usize,
    askers_of: HashMap<(HostId, IpAddr), usize>,
    /// Subnets that no name of the outside may lead into: first address, and length of the prefix.
    own: Vec<(IpAddr, u8)>,
    last: u64,
    steps: VecDeque<Step>,
    answers: VecDeque<(ReplyTo, Vec<u8>)>,
}

#[derive(Debug)]
struct Flight {
    key: Key,
    /// Who waits. The first one's spelling is asked.
    askers: Vec<(ReplyTo, Asked)>,
    servers: Arc<[SocketAddr]>,
    /// How many tries were over.
    tries: usize,
    transport: Transport,
    id: u16,
    strays: u32,
    /// When this try is over, and when the last one is.
    deadline: Instant,
    end: Instant,
    /// What a server said that could not help.
    failure: Option<Response>,
}

impl Forwarder {
    /// A forwarder that asks these servers, in order. Whoever knows the seed can guess its numbers.
    pub(crate) fn new(servers: &[SocketAddr], seed: [u8; 32]) -> Forwarder {
        Forwarder {
            servers: first(servers),
            cache: Cache::default(),
            rng: Rng::new(seed),
            flights: BTreeMap::new(),
            by_key: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            askers: 0,
            askers_of: HashMap::new(),
            own: Vec::new(),
            last: 0,
            steps: VecDeque::new(),
            answers: VecDeque::new(),
        }
    }

    /// Asks other servers from now on. They may know other things, so nothing of what was known holds.
    pub(crate) fn set_servers(&mut self, servers: &[SocketAddr]) {
        let servers = first(servers);
        if servers != self.servers {
            self.servers = servers;
            self.cache.clear();
        }
    }

    /// From now on, names of the outside don't lead into these subnets: who can ask for such a name is not
    /// who owns it, and could be led to hosts of the network that trust those around them.
    pub(crate) fn set_own(&mut self, own: Vec<(IpAddr, u8)>) {
        self.own = own;
    }

    /// Asks for somebody. The answer is returned if it is clear at once, else it comes out of
    /// [`Forwarder::poll_answer`].
    pub(crate) fn ask(&mut self, now: Instant, to: ReplyTo, asked: Asked) -> Option<Vec<u8>> {
        if TRANSFERS.contains(&asked.kind()) {
            return Some(response::refusal(&asked));
        }
        let key = asked.key();
        if let Some((response, age)) = self.cache.get(now, &key) {
            return Some(response.answer(&asked, age));
        }
        let joined = self.by_key.get(&key).and_then(|id| self.flights.get_mut(id));
        // A client that asks again, as one does whose datagram may be lost, still wants one answer.
        if to.peer.is_some()
            && let Some(flight) = &joined
            && flight.askers.iter().any(|(other, earlier)| *other == to && earlier.id == asked.id)
        {
            return None;
        }
        let of_this = self.askers_of.get(&(to.host, to.source)).copied().unwrap_or(0);
        let has_room = self.askers < ASKERS_MAX - ASKERS_MAX / 4 || of_this < ASKERS_MAX / 2;
        if self.askers >= ASKERS_MAX || !has_room || self.servers.is_empty() {
            return Some(response::server_failure(&asked));
        }
        self.askers += 1;
        self.askers_of.insert((to.host, to.source), of_this + 1);
        if let Some(flight) = joined {
            flight.askers.push((to, asked));
            return None;
        }
        self.last += 1;
        let id = FlightId(self.last);
        self.by_key.insert(key.clone(), id);
        let flight = Flight {
            key,
            askers: vec![(to, asked)],
            servers: Arc::clone(&self.servers),
            tries: 0,
            transport: Transport::Udp,
            id: 0,
            strays: 0,
            deadline: now,
            end: now + TRY * (ROUNDS * self.servers.len()) as u32,
            failure: None,
        };
        self.flights.insert(id, flight);
        self.send(now, id, Transport::Udp);
        None
    }

    /// A datagram came to a flight's socket.
    pub(crate) fn on_datagram(&mut self, now: Instant, id: FlightId, message: &[u8]) {
        let Some(flight) = self.flights.get_mut(&id).filter(|flight| flight.transport == Transport::Udp)
        else {
            return;
        };
        match Response::parse(message).filter(|response| flight.is_answered_by(response)) {
            Some(response) if response.is_truncated() => self.send(now, id, Transport::Tcp),
            Some(response) => self.on_response(now, id, response),
            None if Response::is_bare_failure(message, flight.id) => self.on_failure(now, id),
            None => {
                flight.strays += 1;
                if flight.strays >= STRAYS_MAX {
                    self.send(now, id, Transport::Tcp);
                }
            }
        }
    }

    /// The message came that a flight's stream was to bring.
    pub(crate) fn on_stream(&mut self, now: Instant, id: FlightId, message: &[u8]) {
        let Some(flight) = self.flights.get_mut(&id).filter(|flight| flight.transport == Transport::Tcp)
        else {
            return;
        };
        let response = Response::parse(message).filter(|response| flight.is_answered_by(response));
        match response {
            Some(response) if !response.is_truncated() => self.on_response(now, id, response),
            _ => self.on_failure(now, id),
        }
    }

    /// A flight's server can't be asked, or not in this way.
    pub(crate) fn on_failure(&mut self, now: Instant, id: FlightId) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        flight.tries += 1;
        let first_round = flight.tries < flight.servers.len();
        let over = flight.tries >= ROUNDS * flight.servers.len() || now >= flight.end;
        // Who answers, but can't help, won't help the second time.
        if over || (!first_round && flight.failure.is_some()) {
            self.land(now, id, None);
        } else {
            self.send(now, id, Transport::Udp);
        }
    }

    fn on_response(&mut self, now: Instant, id: FlightId, mut response: Response) {
        if response.leads_into(&self.own) {
            tracing::debug!("a name of the outside leads into the network: its addresses are left out");
            response.empty();
        }
        if response.is_failure() {
            if let Some(flight) = self.flights.get_mut(&id) {
                flight.failure = Some(response);
            }
            self.on_failure(now, id);
        } else {
            self.land(now, id, Some(response));
        }
    }

    /// Gives the tries up whose time is over.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(deadline, id)) = self.deadlines.first()
            && deadline <= now
        {
            self.deadlines.pop_first();
            self.on_failure(now, id);
        }
    }

    /// When [`Forwarder::handle_timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// The next thing to be done.
    pub(crate) fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// Whether somebody who had to wait has an answer.
    pub(crate) fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// The next answer for somebody who had to wait.
    pub(crate) fn poll_answer(&mut self) -> Option<(ReplyTo, Vec<u8>)> {
        self.answers.pop_front()
    }

    /// Asks the server whose turn it is.
    fn send(&mut self, now: Instant, id: FlightId, transport: Transport) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let Some((_, asked)) = flight.askers.first() else { return };
        self.deadlines.remove(&(flight.deadline, id));
        flight.transport = transport;
        flight.id = self.rng.next_u32() as u16;
        flight.strays = 0;
        flight.deadline = (now + TRY).min(flight.end);
        self.deadlines.insert((flight.deadline, id));
        let server = flight.servers[flight.tries % flight.servers.len()];
        self.steps.push_back(Step::Ask { flight: id, server, transport, query: asked.query(flight.id) });
    }

    /// Ends a flight with an answer, or with the best there is.
    fn land(&mut self, now: Instant, id: FlightId, response: Option<Response>) {
        let Some(flight) = self.flights.remove(&id) else { return };
        self.deadlines.remove(&(flight.deadline, id));
        self.by_key.remove(&flight.key);
        self.askers -= flight.askers.len();
        self.steps.push_back(Step::Close(id));
        let response = response.or(flight.failure);
        for (to, asked) in flight.askers {
            if let Entry::Occupied(mut entry) = self.askers_of.entry((to.host, to.source)) {
                *entry.get_mut() -= 1;
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
            let answer = match &response {
                Some(response) => response.answer(&asked, Duration::ZERO),
                None => response::server_failure(&asked),
            };
            self.answers.push_back((to, answer));
        }
        // What former servers said is not what the present ones would.
        if let Some(response) = response
            && flight.servers == self.servers
        {
            self.cache.insert(now, flight.key, response);
        }
    }
}

impl Flight {
    /// RFC 5452 §9.1: the number and the question must be those of the query.
    fn is_answered_by(&self, response: &Response) -> bool {
        response.id() == self.id
            && self
                .askers
                .first()
                .is_some_and(|(_, asked)| same_question(response.question(), &asked.question))
    }
}

fn first(servers: &[SocketAddr]) -> Arc<[SocketAddr]> {
    servers.iter().copied().take(SERVERS_MAX).collect()
}

#[cfg(test)]
pub(super) mod tests;
