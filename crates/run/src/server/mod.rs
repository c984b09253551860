//! A named network: the process that has its stacks, and that supervisors join.
//!
//! It answers what supervisors ask about their programs' calls, pumps the plugs, and ends when the last
//! supervisor has left and the connections that programs closed have carried their last bytes. Whoever speaks
//! to it is of the same user and not itself supervised; all the same, nothing in what they say is trusted.

mod admission;
mod conversation;
mod publishing;
mod status;

use crate::control::Channel;
use crate::control::place::{Ownership, Place, PlaceError};
use crate::core::{Core, Outside};
use crate::gateway::PublishSpec;
use crate::poller::{Poller, Token};
use crate::proto::{MemberId, Notice};
use crate::supervisor::CLOSING;
use rustix::event::epoll::EventFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sockeye::{HostId, Network};
use sockeye_packet::Instant;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::Duration;

/// How long a network waits for its first supervisor.
const FIRST: Duration = Duration::from_secs(5);
/// How long the programs may take to end when the network is to end.
const ENDING: Duration = Duration::from_secs(6);
/// How often the end of connections is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// How a network is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerOptions {
    /// Whether it has a way out.
    pub outside: Outside,
    /// The seed of every random choice; unpredictable unless given.
    pub seed: Option<u64>,
}

/// Why a network could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerError {
    /// Its files can't be used.
    Place(PlaceError),
    /// The network could not be made.
    Network(sockeye::Error),
    /// Something else failed.
    System(io::Error),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerError::Place(error) => error.fmt(f),
            ServerError::Network(error) => error.fmt(f),
            ServerError::System(error) => write!(f, "can't open the network: {error}"),
        }
    }
}

impl std::error::Error for ServerError {}

impl From<io::Error> for ServerError {
    fn from(error: io::Error) -> ServerError {
        ServerError::System(error)
    }
}

/// A named network.
#[derive(Debug)]
pub struct NetworkServer {
    core: Core,
    poller: Poller,
    ownership: Ownership,
    options: ServerOptions,
    peers: BTreeMap<MemberId, Peer>,
    next_peer: u32,
    /// When it ends for want of supervisors; earlier if no connection keeps it.
    alone_until: Option<Instant>,
    /// Whether a supervisor has been here.
    has_served: bool,
    /// Until when nobody is let in, for want of descriptors.
    closed_until: Option<Instant>,
    /// When it ends at the latest, since it was told to end.
    ending: Option<Instant>,
}

/// Somebody at the control socket.
#[derive(Debug)]
struct Peer {
    channel: Channel,
    /// Since when.
    since: Instant,
    stage: Stage,
    /// What the loop waits for.
    interest: EventFlags,
}

/// How far a conversation has come.
#[derive(Debug)]
enum Stage {
    /// The greeting is to come.
    Fresh,
    /// Anything may be asked.
    Greeted,
    /// It is a supervisor.
    Member(Membership),
}

/// A supervisor that has joined.
#[derive(Clone, Debug)]
struct Membership {
    host: HostId,
    command: Vec<String>,
    program: Option<u32>,
    /// Ports of the machine that lead to its host while it is here.
    published: Vec<PublishSpec>,
    /// Whether it has its host captured.
    captures: bool,
    linger: Duration,
    leaving: Option<Leaving>,
}

/// A supervisor whose programs have ended.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    since: Instant,
    deadline: Instant,
    told: bool,
}

impl NetworkServer {
    /// Becomes the network of this place; none when another process is.
    pub fn open(place: &Place, options: ServerOptions) -> Result<Option<NetworkServer>, ServerError> {
        let Some(ownership) = place.own().map_err(ServerError::Place)? else { return Ok(None) };
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).ok();
        let since_epoch = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let mut builder = Network::builder().wall_offset(since_epoch);
        if let Some(seed) = options.seed {
            builder = builder.seed(seed);
        }
        let network = builder.build_manual().map_err(ServerError::Network)?;
        let poller = Poller::new()?;
        poller.watch(&ownership.listener, Token::Control, EventFlags::IN)?;
        let core = Core::new(network, poller.share()?, options.outside)?;
        Ok(Some(NetworkServer {
            core,
            poller,
            ownership,
            options,
            peers: BTreeMap::new(),
            next_peer: MemberId::LOCAL.0,
            alone_until: Some(Instant::ZERO + FIRST),
            has_served: false,
            closed_until: None,
            ending: None,
        }))
    }

    /// Serves until the network ends. Errors are this process's own.
    pub fn run(&mut self) -> io::Result<()> {
        let mut due = None;
        while !self.is_over() {
            due = self.turn(due)?;
        }
        self.core.world.network().flush_captures().map_err(|error| tracing::warn!(%error, "capture")).ok();
        Ok(())
    }

    fn turn(&mut self, due: Option<Instant>) -> io::Result<Option<Instant>> {
        let until_due = due.map(|due| due.saturating_since(self.core.clock.now()));
        let look = self.is_looking_for_ends().then_some(LOOK);
        let limit = if self.core.is_busy() {
            Some(Duration::ZERO)
        } else {
            [until_due, look].into_iter().flatten().min()
        };
        let events = self.poller.wait(limit)?;
        self.core.tick();
        // Questions come last, so that each finds closed what was closed before it was asked.
        for event in &events {
            match event.token {
                Token::Member(_) => {}
                Token::Control => self.admit(),
                token => self.core.on_event(token, event.flags),
            }
        }
        for event in &events {
            if let Token::Member(id) = event.token {
                self.hear(id, event.flags);
            }
        }
        let due = self.core.settle();
        self.spread_notices();
        self.look_for_ends();
        Ok(due)
    }

    fn spread_notices(&mut self) {
        while let Some((member, notice)) = self.core.poll_notice() {
            if !self.peers.contains_key(&member) {
                // A supervisor that has left can't; another program has the socket from its program.
                match notice {
                    Notice::Spoil { key, .. } => self.core.spoiled(key),
                    Notice::Wake { key, .. } => self.core.missed(key),
                    Notice::ShowError { .. } | Notice::Warning(_) | Notice::End => {}
                }
                continue;
            }
            self.tell(member, &crate::control::FromNetwork::Notice(notice), None);
        }
    }

    /// Whether something ends soon that no descriptor tells of.
    fn is_looking_for_ends(&self) -> bool {
        self.alone_until.is_some()
            || self.ending.is_some()
            || self.closed_until.is_some()
            || self.peers.values().any(|peer| match &peer.stage {
                Stage::Member(membership) => membership.leaving.is_some_and(|leaving| !leaving.told),
                Stage::Fresh | Stage::Greeted => true,
            })
    }

    /// Tells supervisors that leave when their connections have ended, and drops who never said what it wants.
    fn look_for_ends(&mut self) {
        let now = self.core.now;
        if self.closed_until.is_some_and(|until| now >= until) {
            self.reopen();
        }
        let mut silent = Vec::new();
        let mut drained = Vec::new();
        for (&id, peer) in &mut self.peers {
            match &mut peer.stage {
                Stage::Member(Membership { leaving: Some(leaving), .. }) if !leaving.told => {
                    let passed_on = now > leaving.since + CLOSING;
                    leaving.told = now >= leaving.deadline || !self.core.is_draining(id, passed_on);
                    drained.extend(leaving.told.then_some(id));
                }
                Stage::Fresh | Stage::Greeted if now > peer.since + admission::PATIENCE => silent.push(id),
                _ => {}
            }
        }
        for id in drained {
            if let Some(Peer { stage: Stage::Member(membership), .. }) = self.peers.get_mut(&id) {
                let membership =
                    Membership { captures: std::mem::take(&mut membership.captures), ..membership.clone() };
                self.end_capture(&membership);
            }
            self.tell(id, &crate::control::FromNetwork::Drained, None);
        }
        for id in silent {
            self.part_with(id);
        }
    }

    fn has_members(&self) -> bool {
        self.peers.values().any(|peer| matches!(peer.stage, Stage::Member(_)))
    }

    /// Notes when the network will end, if nobody joins it.
    fn member_left(&mut self, linger: Duration) {
        if !self.has_members() {
            self.alone_until = Some(self.core.now + linger);
        }
    }

    fn is_over(&mut self) -> bool {
        if self.has_members() {
            return self.ending.is_some_and(|deadline| self.core.now >= deadline);
        }
        if self.ending.is_some() {
            return true;
        }
        let Some(until) = self.alone_until else { return false };
        // Who is here may be about to join.
        let idle = self.has_served && self.peers.is_empty() && !self.core.is_any_draining();
        idle || self.core.now >= until
    }

    /// Has all programs end, and then the network.
    fn end(&mut self) {
        if self.ending.is_none() {
            self.ending = Some(self.core.now + ENDING);
            for (&id, _) in self.peers.iter().filter(|(_, peer)| matches!(peer.stage, Stage::Member(_))) {
                self.core.notify(id, Notice::End);
            }
        }
    }
}
