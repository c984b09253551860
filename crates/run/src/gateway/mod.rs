//! The gateway: flows between the network and the machine's own sockets, both ways.
//!
//! *Out*: the gateway's stack intercepts what leaves the network. A machine socket connects to where the flow
//! wants to go, and only its success accepts the flow: a refusal out there is a refusal in here. The address
//! `host.sockeye` stands for the machine's loopback address; no packet reaches that otherwise.
//! *In*: a [`Publication`] is a port of the machine whose connections and datagrams go on to a host.
//!
//! Every flow is a [`Task`] with a number of its own, which is also its epoll token. Whatever happens (an event
//! of its descriptor or of its socket in the stack, the time), its task is *stepped*: it does what can be done
//! now, at most its share, and may be stepped at any time. The gateway has an epoll instance of its own, so
//! that the loop outside watches one descriptor only.

mod datagrams;
mod echo;
mod entry;
mod machine;
mod outward;
mod publish;
mod relay;
mod tasks;
mod unpublish;

pub use publish::{Publication, PublishError, PublishProtocol, PublishSpec, PublishSpecError};
pub(crate) use unpublish::UnpublishSpec;

use crate::shares::Shares;
use crate::world::World;
use datagrams::{Datagrams, Door};
use echo::{Ping, PingKey};
use entry::{Entering, Listener};
use outward::{Accepted, Connecting};
use relay::Relay;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use sockeye::HostId;
use sockeye_packet::{Instant, Pool};
use sockeye_stack::{Event, FlowId, Intercept, SocketId, Stack};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tasks::{Tasks, Token};

/// Events taken from epoll at once.
const EVENTS: usize = 64;
/// Tasks with work left over that are stepped in one call.
const UNFINISHED: usize = 64;
/// Tasks whose time has come that are stepped in one call.
const DUE: usize = 256;

/// What a gateway does, and how much of it at once.
#[derive(Clone, Debug)]
pub(crate) struct GatewayConfig {
    /// Whether flows may leave the network. Without, there are only publications.
    pub(crate) outward: bool,
    /// Most TCP connections at once, in both directions; a quarter is left to those who have little.
    pub(crate) max_streams: usize,
    /// Most of them that wait for an answer out there: for one more, one of whoever has most is given up. Less
    /// than what the stack holds, so that nobody who wants in is turned away there.
    pub(crate) max_connecting: usize,
    /// Most UDP flows at once out of the network: for one more, one of whoever has most ends.
    pub(crate) max_datagram_flows: usize,
    /// Most clients at once of one published UDP port, and of all.
    pub(crate) max_guests: [usize; 2],
    /// Most pings at once, by host, destination and identifier: for one more, one of whoever has most ends.
    pub(crate) max_pings: usize,
}

impl Default for GatewayConfig {
    fn default() -> GatewayConfig {
        GatewayConfig {
            outward: true,
            max_streams: 8192,
            max_connecting: 3072,
            max_datagram_flows: 1024,
            max_guests: [256, 1024],
            max_pings: 128,
        }
    }
}

/// Whose a flow is, where several share what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Source {
    /// A host of the network, by either of its addresses.
    Host(HostId),
    /// An address that no host was given.
    Address(IpAddr),
    /// Clients of published TCP ports.
    Machine,
}

impl Source {
    /// Whose an address of the network is.
    fn of(world: &World, address: IpAddr) -> Source {
        let host = world.network().host_by_address(address);
        host.map_or(Source::Address(address), |host| Source::Host(host.id()))
    }
}

/// One thing that goes on.
#[derive(Debug)]
enum Task {
    /// Out: a machine socket connects.
    Connecting(Connecting),
    /// Out: it has connected, the network's side of the handshake runs.
    Accepted(Accepted),
    /// In: a connection of the machine waits for the host's answer.
    Entering(Entering),
    /// Bytes both ways.
    Relay(Relay),
    /// Datagrams both ways.
    Datagrams(Datagrams),
    /// Echo requests out, replies in.
    Ping(Ping),
    /// A published TCP port.
    Listener(Listener),
    /// A published UDP port.
    Door(Door),
}

impl Task {
    /// Notes what epoll reported of its descriptor.
    fn note(&mut self, flags: epoll::EventFlags) {
        let failed = flags.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP);
        let readable = failed || flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::RDHUP);
        let writable = failed || flags.contains(epoll::EventFlags::OUT);
        match self {
            Task::Connecting(connecting) => connecting.ready |= writable,
            Task::Entering(entering) => entering.gone |= failed,
            Task::Relay(relay) => relay.note(flags),
            Task::Datagrams(datagrams) => datagrams.note(readable),
            Task::Ping(ping) => ping.readable |= readable,
            Task::Listener(listener) => listener.readable |= readable,
            Task::Door(door) => door.readable |= readable,
            // Its bytes and its end are found by the relay that it becomes.
            Task::Accepted(_) => {}
        }
    }
}

/// The gateway of a network.
#[derive(Debug)]
pub(crate) struct Gateway {
    config: GatewayConfig,
    host: HostId,
    /// The addresses that stand for the machine's loopback ones.
    machine: [IpAddr; 2],
    epoll: OwnedFd,
    pool: Pool,
    tasks: Tasks,
    flows: HashMap<FlowId, Token>,
    sockets: HashMap<SocketId, Token>,
    pings: HashMap<PingKey, Token>,
    /// The ports that are open.
    ports: BTreeMap<Publication, Token>,
    streams: Shares<Token, Source>,
    /// Those of them that wait for an answer out there.
    connecting: Shares<Token, Source>,
    datagram_flows: Shares<Token, Source>,
    /// Clients of published UDP ports, by port.
    guests: Shares<Token, Token>,
    pingers: Shares<Token, Source>,
    /// Something failed because this process has no descriptors left.
    shortage: bool,
}

/// The loop's side.
impl Gateway {
    /// The gateway of `world`'s network. What gets to it is intercepted from now on, and if flows may leave the
    /// network, they are routed there.
    pub(crate) fn new(world: &World, config: GatewayConfig) -> io::Result<Gateway> {
        let network = world.network();
        let host = network.gateway();
        let machine = network.machine_addresses();
        if config.outward {
            for address in machine {
                network.add_gateway_address(address).map_err(io::Error::other)?;
            }
            network.set_gateway(Some(&host));
        }
        // Also of a network that nothing leaves: flows to the machine's name servers are answered in there.
        host.with_stack(|stack, _| stack.intercept(Some(Intercept::default())));
        Ok(Gateway {
            config,
            host: host.id(),
            machine,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            pool: Pool::default(),
            tasks: Tasks::default(),
            flows: HashMap::new(),
            sockets: HashMap::new(),
            pings: HashMap::new(),
            ports: BTreeMap::new(),
            streams: Shares::default(),
            connecting: Shares::default(),
            datagram_flows: Shares::default(),
            guests: Shares::default(),
            pingers: Shares::default(),
            shortage: false,
        })
    }

    /// Readable while [`Gateway::on_ready`] has something to do.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// How many flows there are, pings counted.
    pub(crate) fn flow_count(&self) -> usize {
        self.streams.len() + self.datagram_flows.len() + self.guests.len() + self.pings.len()
    }

    /// Whether something has failed since the last call because this process has no descriptors left.
    pub(crate) fn take_shortage(&mut self) -> bool {
        std::mem::take(&mut self.shortage)
    }

    /// Whether the machine is still to get something that the network's hosts have sent it.
    pub(crate) fn owes_the_machine(&self, world: &World) -> bool {
        self.with(world, |stack| {
            self.tasks.iter().any(|(_, task)| match task {
                Task::Relay(relay) => relay.owes_the_machine(stack),
                // Who connects has said nothing yet.
                Task::Accepted(_) => true,
                _ => false,
            })
        })
    }

    /// Its descriptor is readable, or there was more to do. True when there is more to do at once.
    pub(crate) fn on_ready(&mut self, world: &World, now: Instant) -> bool {
        let mut buffer = [MaybeUninit::<epoll::Event>::uninit(); EVENTS];
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let (events, full) = match epoll::wait(&self.epoll, &mut buffer, Some(&none)) {
            Ok((events, rest)) => (&*events, rest.is_empty()),
            Err(_) => (&[][..], false),
        };
        for event in events {
            let token = Token(event.data.u64());
            if let Some(task) = self.tasks.get(token) {
                task.note(event.flags);
                self.step(world, now, token);
            }
        }
        for _ in 0..UNFINISHED.min(self.tasks.unfinished()) {
            let Some(token) = self.tasks.next_unfinished() else { break };
            self.step(world, now, token);
        }
        full || self.tasks.unfinished() > 0
    }

    /// An event of the gateway host. True when there is more to do at once, by [`Gateway::on_ready`].
    pub(crate) fn on_event(&mut self, world: &World, now: Instant, event: Event) -> bool {
        match event {
            Event::Ready(id) => {
                if let Some(&token) = self.sockets.get(&id) {
                    self.step(world, now, token);
                }
            }
            Event::Incoming(flow) => self.incoming(world, now, flow),
            Event::Opened(flow, socket) => self.opened(world, now, flow, socket),
            Event::Lost(flow) => {
                if let Some(&token) = self.flows.get(&flow) {
                    self.end(world, now, token);
                }
            }
            Event::Echo => self.pinged(world, now),
            _ => {}
        }
        self.tasks.unfinished() > 0
    }

    /// Does what is due; says when something will be. What that leaves over makes it [busy](Gateway::is_busy).
    pub(crate) fn on_timeout(&mut self, world: &World, now: Instant) -> Option<Instant> {
        for _ in 0..DUE {
            let Some(token) = self.tasks.pop_due(now) else { break };
            self.step(world, now, token);
        }
        self.tasks.next_deadline()
    }

    /// Whether there is more to do at once, by [`Gateway::on_ready`].
    pub(crate) fn is_busy(&self) -> bool {
        self.tasks.unfinished() > 0
    }
}

/// What the kinds of tasks share.
impl Gateway {
    /// Lets a task do what it can do now.
    fn step(&mut self, world: &World, now: Instant, token: Token) {
        match self.tasks.get(token) {
            Some(Task::Connecting(_)) => self.step_connecting(world, now, token),
            Some(Task::Entering(_)) => self.step_entering(world, now, token),
            Some(Task::Relay(_)) => self.step_relay(world, now, token),
            Some(Task::Datagrams(_)) => self.step_datagrams(world, now, token),
            Some(Task::Ping(_)) => self.step_ping(world, now, token),
            Some(Task::Listener(_)) => self.step_listener(world, now, token),
            Some(Task::Door(_)) => self.step_door(world, now, token),
            Some(Task::Accepted(_)) | None => {}
        }
    }

    /// A call on the gateway's stack.
    fn with<R>(&self, world: &World, call: impl FnOnce(&mut Stack) -> R) -> R {
        world.with(self.host, call)
    }

    /// Watches a descriptor and keeps the task that `make` makes of it.
    fn watch<F: AsFd>(&mut self, fd: F, make: impl FnOnce(F) -> Task) -> io::Result<Token> {
        let token = self.tasks.reserve();
        let input = epoll::EventFlags::IN | epoll::EventFlags::PRI | epoll::EventFlags::RDHUP;
        let flags = input | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&self.epoll, &fd, epoll::EventData::new_u64(token.0), flags)?;
        self.tasks.insert(token, make(fd));
        Ok(token)
    }

    /// Notes an error of the machine that may be a shortage of ours.
    fn note_error(&mut self, error: Errno) -> Errno {
        self.shortage |= matches!(error, Errno::MFILE | Errno::NFILE);
        error
    }

    /// Ends a task, whatever it does, and closes what it has; a stream of the machine is reset.
    fn end(&mut self, world: &World, now: Instant, token: Token) {
        let Some(task) = self.tasks.remove(token) else { return };
        match task {
            Task::Connecting(Connecting { fd, flow, .. }) | Task::Accepted(Accepted { fd, flow }) => {
                self.streams.remove(token);
                self.connecting.remove(token);
                self.flows.remove(&flow);
                machine::reset(fd);
            }
            Task::Entering(Entering { fd, id, .. }) | Task::Relay(Relay { fd, id, .. }) => {
                self.streams.remove(token);
                self.sockets.remove(&id);
                self.with(world, |stack| stack.abort(now, id)).ok();
                machine::reset(fd);
            }
            Task::Datagrams(datagrams) => self.forget_datagrams(world, now, token, &datagrams),
            Task::Ping(ping) => {
                self.pings.remove(&ping.key);
                self.pingers.remove(token);
            }
            Task::Listener(Listener { publication, .. }) => drop(self.ports.remove(&publication)),
            Task::Door(door) => drop(self.ports.remove(&door.publication)),
        }
    }
}

#[cfg(test)]
mod tests;
