//! What every handler of the network works on: the stacks, the sockets, the plugs, the names.

use crate::clock::Clock;
use crate::datagram::Loopbacks;
use crate::gateway::{Gateway, GatewayConfig, Publication, PublishError, PublishSpec};
use crate::mirror::{self, Mirrors};
use crate::names::NameServers;
use crate::poller::{Poller, Token};
use crate::proto::{Class, Identity, MemberId, Notice, Outcome, Reply, Request, Seen, Ticket};
use crate::sockets::{Record, Socket, SocketKey, Sockets};
use crate::stream::Offer;
use crate::sweep::Sweep;
use crate::world::World;
use crate::{calls, datagram, stream};
use rustix::event::epoll::EventFlags;
use sockeye::{HostConfig, HostId, Network};
use sockeye_packet::{Instant, Pool};
use sockeye_posix::Errno;
use sockeye_stack::{Event, Orphan};
use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Changes of sockets handled in one round: a socket that changes by being handled must not hold up the loop.
const CHANGES: usize = 4096;
/// From so many lingering connections on, those that have ended are looked for.
const LINGERING_LOOK: usize = 64;
/// Most threads that wait for one socket.
const WAITERS_MAX: usize = 8 * 1024;
/// Rounds of network and plugs before the loop looks at its descriptors again.
const ROUNDS: usize = 8;

/// Whether a network has a way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outside {
    /// Flows to other addresses leave it through the machine's sockets, and names are asked outside.
    Open,
    /// Nothing leaves it.
    #[default]
    Closed,
}

/// The network's side of everything.
#[derive(Debug)]
pub(crate) struct Core {
    /// The time of this turn, or of its latest call.
    pub(crate) now: Instant,
    /// Where it comes from.
    pub(crate) clock: Clock,
    /// The hosts.
    pub(crate) world: World,
    /// The programs' sockets.
    pub(crate) sockets: Sockets,
    /// Memory for what programs send.
    pub(crate) pool: Pool,
    /// The names of the hosts, and who tells them.
    pub(crate) names: NameServers,
    /// Flows between the network and the machine.
    pub(crate) gateway: Gateway,
    /// Whether the gateway has more to do at once.
    gateway_is_busy: bool,
    /// Plugs with work left over after their share of a turn.
    pub(crate) unfinished: VecDeque<SocketKey>,
    /// Where plugs are watched.
    pub(crate) poller: Poller,
    notices: VecDeque<(MemberId, Notice)>,
    /// Plugs of reset connections that wait for [`Core::spoiled`].
    spoiling: HashMap<SocketKey, (MemberId, OwnedFd)>,
    /// Connections handed over by accept calls whose end is not known yet.
    offers: HashMap<u32, Offer>,
    next_offer: u32,
    /// Connections that went on when their sockets were closed.
    lingering: HashMap<MemberId, Vec<(HostId, Orphan)>>,
    /// Members whose calls can't bring the program's end of a plug along.
    keepers: HashSet<MemberId>,
    /// Members whose user knows that descriptors ran out.
    warned: HashSet<MemberId>,
    /// Who looks after what is kept for them.
    pub(crate) sweep: Sweep,
    /// Datagram plugs that show error queues.
    pub(crate) loopbacks: Loopbacks,
    /// Hosts whose interfaces programs look at.
    pub(crate) mirrors: Mirrors,
}

impl Core {
    /// A core over a network, without programs.
    pub(crate) fn new(network: Network, poller: Poller, outside: Outside) -> io::Result<Core> {
        let world = World::new(network);
        let mut names = NameServers::open(&world)?;
        names.add_name("host.sockeye", &world.network().machine_addresses());
        let outward = outside == Outside::Open;
        let gateway = Gateway::new(&world, GatewayConfig { outward, ..GatewayConfig::default() })?;
        poller.watch(gateway.fd(), Token::Gateway, EventFlags::IN)?;
        let mut core = Core {
            now: Instant::default(),
            clock: Clock::start(),
            world,
            sockets: Sockets::default(),
            pool: Pool::default(),
            names,
            gateway,
            gateway_is_busy: false,
            unfinished: VecDeque::new(),
            poller,
            notices: VecDeque::new(),
            spoiling: HashMap::new(),
            offers: HashMap::new(),
            next_offer: 0,
            lingering: HashMap::new(),
            keepers: HashSet::new(),
            warned: HashSet::new(),
            sweep: Sweep::default(),
            loopbacks: Loopbacks::default(),
            mirrors: Mirrors::default(),
        };
        if outward {
            core.forward_names(None)?;
        }
        Ok(core)
    }

    /// Looks at the clock.
    pub(crate) fn tick(&mut self) {
        self.now = self.clock.now();
        self.world.network().set_now(self.now);
    }

    /// What kind of socket this is.
    pub(crate) fn classify(&self, identity: Identity) -> Class {
        let record = self.sockets.by_identity(identity).and_then(|key| self.sockets.get(key));
        let is_offered = || self.offers.values().any(|offer| offer.names.are(identity));
        match record {
            Some(record) => record.class(),
            // A thread has it already, though the accept call that gave it is not known to have ended.
            None if is_offered() => Class::Stream,
            None => Class::Other,
        }
    }

    /// Adds a host to the network, with its name and its name server.
    pub(crate) fn add_host(&mut self, name: &str, config: HostConfig) -> Result<HostId, sockeye::Error> {
        let host = self.world.network().add_host(name, config)?;
        self.world.add(host.clone());
        // Without a name server it still has its addresses.
        self.names.add_host(&self.world, &host).map_err(|error| tracing::warn!(%error, name)).ok();
        Ok(host.id())
    }

    /// A member is gone. Unless it `left` in good order, when its programs had ended, its sockets are
    /// reset: nobody answers for them any more.
    pub(crate) fn remove_member(&mut self, member: MemberId, left: bool) {
        self.keepers.remove(&member);
        self.warned.remove(&member);
        self.spoiling.retain(|_, (of, _)| *of != member);
        if !left {
            self.abort_sockets(member);
        }
        let gone: Vec<_> = self.offers.extract_if(|_, offer| offer.member == member).collect();
        for (_, offer) in &gone {
            stream::withdraw(self, offer);
        }
    }

    fn abort_sockets(&mut self, member: MemberId) {
        let now = self.now;
        for key in self.sockets.keys(|record| record.member == member) {
            self.wake(key);
            stream::end_returned(self, key);
            if let Some(record) = self.sockets.remove(key) {
                self.world.with(record.host, |stack| stack.abort(now, record.id)).ok();
            }
        }
        self.lingering.remove(&member);
    }

    /// Closes the socket of a record whose program has closed it.
    pub(crate) fn close_socket(&mut self, record: &Record) {
        let now = self.now;
        let closed = self.world.with(record.host, |stack| stack.close_to_orphan(now, record.id));
        if let Ok(Some(orphan)) = closed {
            let list = self.lingering.entry(record.member).or_default();
            if list.len() >= LINGERING_LOOK && list.len().is_power_of_two() {
                let world = &self.world;
                list.retain(|&(host, orphan)| world.with(host, |stack| stack.is_draining(orphan)));
            }
            list.push((record.host, orphan));
        }
    }

    /// Whether connections that a member's programs have closed still carry bytes. A socket that is open still
    /// counts as one that is about to be closed, unless it was `passed_on` to another member's program.
    pub(crate) fn is_draining(&mut self, member: MemberId, passed_on: bool) -> bool {
        let counts = |record: &&Record| record.is_alive() && (!passed_on || record.is_closed());
        self.is_lingering(member)
            // What a program left in its plug.
            || self.sockets.records().filter(|record| record.member == member).any(|record| counts(&record))
    }

    /// Whether connections without a socket still carry a member's bytes.
    fn is_lingering(&mut self, member: MemberId) -> bool {
        let Some(list) = self.lingering.get_mut(&member) else { return false };
        let world = &self.world;
        list.retain(|&(host, orphan)| world.with(host, |stack| stack.is_draining(orphan)));
        let drained = list.is_empty();
        if drained {
            self.lingering.remove(&member);
        }
        !drained
    }

    /// Whether any connection without a program still carries bytes, here or out of the network.
    pub(crate) fn is_any_draining(&mut self) -> bool {
        if self.gateway.owes_the_machine(&self.world) {
            return true;
        }
        let members: Vec<_> = self.lingering.keys().copied().collect();
        members.into_iter().any(|member| self.is_lingering(member))
            || self.sockets.records().any(|record| record.is_alive() && record.is_closed())
    }

    /// Answers a call of a member's program on `host`. `theirs` is a duplicate of the program's end of the
    /// plug: while it is open the program's close can't be seen, so it goes with this call.
    pub(crate) fn handle(
        &mut self,
        member: MemberId,
        host: HostId,
        request: &Request,
        theirs: Option<OwnedFd>,
    ) -> Reply {
        // A turn may serve many calls, and what a program sends must not arrive before it was sent.
        self.tick();
        let reply = calls::handle(self, member, host, request, theirs);
        if let Outcome::Wait { key, .. } = reply.outcome
            && let Some(record) = self.sockets.get_mut(key)
            && !record.waiters.contains(&(member, request.tid))
        {
            if record.waiters.len() >= WAITERS_MAX {
                return Outcome::from(Errno::ENOBUFS).into();
            }
            record.waiters.push_back((member, request.tid));
        }
        reply
    }

    /// Hears how a call ended.
    pub(crate) fn seen(&mut self, member: MemberId, seen: Seen) {
        match seen.ticket {
            Ticket::Connected(key) => stream::connect_seen(self, key, seen.value.is_some()),
            Ticket::Failed(key) => stream::failure_seen(self, key, seen.value.is_some()),
            Ticket::Replaced(key) => datagram::replaced(self, key, seen.value.is_some()),
            Ticket::Accepted(number) => {
                if self.offers.get(&number).is_some_and(|offer| offer.member == member)
                    && let Some(offer) = self.offers.remove(&number)
                {
                    stream::accept_seen(self, offer, seen);
                }
            }
        }
    }

    /// Remembers a connection until [`Core::seen`] tells whether the program has got it.
    pub(crate) fn add_offer(&mut self, offer: Offer) -> u32 {
        self.next_offer = self.next_offer.wrapping_add(1);
        self.offers.insert(self.next_offer, offer);
        self.next_offer
    }

    /// Says that a member's calls can't bring the program's end of a plug along.
    pub(crate) fn keep_ends(&mut self, member: MemberId) {
        self.keepers.insert(member);
    }

    /// Whether the program's ends of a member's new plugs are kept.
    pub(crate) fn keeps_ends(&self, member: MemberId) -> bool {
        self.keepers.contains(&member)
    }

    /// A thread that was woken for this socket waits for it no more.
    pub(crate) fn missed(&mut self, key: SocketKey) {
        stream::failure_seen(self, key, false);
    }

    /// Has the calls that wait for this socket made again.
    pub(crate) fn wake(&mut self, key: SocketKey) {
        let Some(record) = self.sockets.get_mut(key) else { return };
        for (member, tid) in std::mem::take(&mut record.waiters) {
            self.notices.push_back((member, Notice::Wake { tid, key }));
        }
    }

    /// The errno of a plug that could not be made, for the program of a member that wanted it. That the
    /// network has no descriptors left is not the program's doing, so its user is told, once.
    pub(crate) fn plug_errno(&mut self, member: MemberId, error: &io::Error) -> Errno {
        if !matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
            return stream::errno_of(error);
        }
        self.out_of_descriptors(member);
        Errno::ENFILE
    }

    /// Tells the user of a member, once, that this process has no descriptors left.
    pub(crate) fn out_of_descriptors(&mut self, member: MemberId) {
        if !self.warned.insert(member) {
            return;
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let limit = limit.map_or_else(String::new, |limit| format!(" ({limit})"));
        let text = format!(
            "the network has no descriptors left{limit}, so sockets fail until some are closed; \
             each connection takes two: raise the hard limit (ulimit -Hn)"
        );
        self.notify(member, Notice::Warning(text));
    }

    /// The same for all members with sockets: what failed was not for one of them alone.
    fn warn_members(&mut self) {
        let members: HashSet<MemberId> = self.sockets.records().map(|record| record.member).collect();
        for member in members {
            self.out_of_descriptors(member);
        }
    }

    /// Tells a member something.
    pub(crate) fn notify(&mut self, member: MemberId, notice: Notice) {
        self.notices.push_back((member, notice));
    }

    /// The next thing for a member to hear.
    pub(crate) fn poll_notice(&mut self) -> Option<(MemberId, Notice)> {
        self.notices.pop_front()
    }

    /// Keeps the plug of a connection that was reset until the member has put a byte in it, which makes
    /// its end a reset.
    pub(crate) fn spoil(&mut self, key: SocketKey, plug: OwnedFd, member: MemberId, notice: Notice) {
        self.poller.forget(&plug);
        self.spoiling.insert(key, (member, plug));
        self.notify(member, notice);
    }

    /// The byte is in the plug, or can't be had there.
    pub(crate) fn spoiled(&mut self, key: SocketKey) {
        self.spoiling.remove(&key);
    }

    /// Handles what plugs have told so far: a call on an address must find closed what the program closed
    /// before it made that call. Other events stay for the next turn.
    pub(crate) fn hear_plugs(&mut self) {
        for _ in 0..ROUNDS {
            let Ok(events) = self.poller.wait(Some(Duration::ZERO)) else { return };
            for event in &events {
                if let Token::Plug(key) = event.token {
                    stream::on_plug(self, key, event.flags);
                }
            }
            if !Poller::is_full(&events) {
                return;
            }
        }
    }

    /// Whether there is something to do at once.
    pub(crate) fn is_busy(&self) -> bool {
        !self.unfinished.is_empty()
            || self.gateway_is_busy
            || self.names.is_busy()
            || !self.notices.is_empty()
    }

    /// Lets network and plugs work until they are at rest or have had their share; returns when to come back.
    pub(crate) fn settle(&mut self) -> Option<Instant> {
        let (mut due, mut names_due) = (None, None);
        let sweep_due = [self.sweep(), datagram::look(self), mirror::look(self)].into_iter().flatten().min();
        for _ in 0..ROUNDS {
            for _ in 0..self.unfinished.len() {
                let Some(key) = self.unfinished.pop_front() else { break };
                match self.sockets.get_mut(key).map(|record| &mut record.socket) {
                    Some(Socket::Stream(stream)) => stream.dequeue(),
                    Some(Socket::Netlink(netlink)) => netlink.dequeue(),
                    _ => {}
                }
                stream::on_stack(self, key);
            }
            names_due = self.names.catch_up(&self.world, self.now);
            if std::mem::take(&mut self.gateway_is_busy) {
                self.gateway_is_busy = self.gateway.on_ready(&self.world, self.now);
            }
            let gateway_due = self.gateway.on_timeout(&self.world, self.now);
            self.gateway_is_busy |= self.gateway.is_busy();
            if self.gateway.take_shortage() {
                self.warn_members();
            }
            due = [self.world.turn(self.now), gateway_due].into_iter().flatten().min();
            let mut moved = self.names.is_busy();
            for _ in 0..CHANGES {
                let Some((host, event)) = self.world.poll_event() else { break };
                moved = true;
                self.on_stack_event(host, event);
            }
            if !moved {
                break;
            }
            due = Some(self.now);
        }
        [due, names_due, sweep_due].into_iter().flatten().min()
    }

    /// An event of the loop that is about the network's descriptors.
    pub(crate) fn on_event(&mut self, token: Token, flags: EventFlags) {
        match token {
            Token::Plug(key) => stream::on_plug(self, key, flags),
            Token::Resolver => self.names.on_ready(self.now),
            Token::Gateway => self.gateway_is_busy = true,
            Token::Mirror(host) => mirror::on_ready(self, host),
            _ => {}
        }
    }

    /// An event of a host's stack: a program's socket, a name server's, or the gateway's business.
    fn on_stack_event(&mut self, host: HostId, event: Event) {
        if let Event::Ready(id) = event {
            if let Some(key) = self.sockets.by_id(host, id) {
                return stream::on_stack(self, key);
            }
            if self.mirrors.has(host, id) {
                return mirror::on_stack(self, host);
            }
            if self.names.on_stack(&self.world, self.now, host, id) {
                return;
            }
        }
        if host == self.world.network().gateway().id() && !self.names.on_flow(&self.world, self.now, event) {
            self.gateway_is_busy |= self.gateway.on_event(&self.world, self.now, event);
        }
    }

    /// Has ports of the machine lead to a host: all that are named, or none.
    pub(crate) fn publish(&mut self, host: HostId, ports: PublishSpec) -> Result<(), PublishError> {
        let Some(host) = self.world.network().host_by_id(host) else { return Ok(()) };
        let mut done = Vec::new();
        for publication in ports.publications(host.addresses()) {
            if let Err(error) = self.gateway.publish(&publication) {
                for publication in &done {
                    self.gateway.unpublish(&self.world, self.now, publication);
                }
                return Err(self.explain(&publication, error));
            }
            done.push(publication);
        }
        Ok(())
    }

    /// The error, with the host that has the port already.
    fn explain(&self, wanted: &Publication, error: PublishError) -> PublishError {
        if !error.is_in_use() {
            return error;
        }
        let host = self.gateway.in_the_way_of(wanted);
        let host = host.and_then(|one| self.world.network().host_by_address(one.host[0]));
        error.published_for(host.map(|host| host.name().to_owned()))
    }

    /// Has ports of the machine lead to a host no more; answers how many of them did.
    pub(crate) fn unpublish(&mut self, host: HostId, ports: PublishSpec) -> usize {
        let Some(host) = self.world.network().host_by_id(host) else { return 0 };
        let of_host = ports.publications(host.addresses());
        of_host.filter(|publication| self.gateway.unpublish(&self.world, self.now, publication)).count()
    }

    /// Closes one port of the machine.
    pub(crate) fn close_port(&mut self, publication: &Publication) {
        self.gateway.unpublish(&self.world, self.now, publication);
    }

    /// From now on, asks these servers (or the machine's) for names of the outside.
    pub(crate) fn forward_names(&mut self, servers: Option<&[SocketAddr]>) -> io::Result<()> {
        let is_watched = self.names.fd().is_some();
        self.names.forward(self.now, servers)?;
        match self.names.fd() {
            Some(fd) if !is_watched => self.poller.watch(fd, Token::Resolver, EventFlags::IN),
            _ => Ok(()),
        }
    }
}
