//! What a network does with what it is told.

use super::{Leaving, Membership, NetworkServer, Peer, Stage};
use crate::control::{FromNetwork, GREETING, Join, ToNetwork, Welcome};
use crate::core::Outside;
use crate::poller::Token;
use crate::proto::{MemberId, Outcome, Reply};
use rustix::event::epoll::EventFlags;
use rustix::fs::OFlags;
use sockeye::{Direction, Host, HostConfig, LinkConfig, NetemConfig};
use std::os::fd::{AsRawFd, OwnedFd};

/// Messages taken from one peer in a row.
const TURN_MAX: usize = 64;
/// While so many answers wait for a peer to read them, it is not asked for more.
const UNREAD_MAX: usize = 256;
/// The longest command line that is kept for tables, in bytes.
const COMMAND_MAX: usize = 4096;

/// Why a network won't do what it is asked.
pub(super) enum Refusal {
    /// What the user wrote is wrong.
    Misused(String),
    /// It can't, or not now.
    Failed(String),
}

impl From<sockeye::Error> for Refusal {
    fn from(error: sockeye::Error) -> Refusal {
        use sockeye::Error::{Capture, SubnetFull, UnknownHost};
        match error {
            Capture { .. } | SubnetFull { .. } | UnknownHost { .. } => Refusal::Failed(error.to_string()),
            error => Refusal::Misused(error.to_string()),
        }
    }
}

impl NetworkServer {
    /// A peer said something, has room again, or is gone.
    pub(super) fn hear(&mut self, id: MemberId, flags: EventFlags) {
        if flags.contains(EventFlags::OUT)
            && let Some(peer) = self.peers.get_mut(&id)
            && peer.channel.flush().is_err()
        {
            return self.part_with(id);
        }
        for _ in 0..TURN_MAX {
            let Some(peer) = self.peers.get_mut(&id) else { return };
            if peer.channel.waiting() > UNREAD_MAX {
                break;
            }
            let heard = match peer.stage {
                Stage::Fresh => self.hear_greeting(id),
                Stage::Greeted | Stage::Member(_) => self.hear_message(id),
            };
            match heard {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::debug!(%error, ?id, "a peer is gone");
                    return self.part_with(id);
                }
            }
        }
        self.update_interest(id);
    }

    fn hear_message(&mut self, id: MemberId) -> std::io::Result<bool> {
        let Some(peer) = self.peers.get_mut(&id) else { return Ok(false) };
        let Some((message, fd)) = peer.channel.receive::<ToNetwork>()? else { return Ok(false) };
        match message {
            // The program's end was beside it, and this process has no room for it.
            ToNetwork::Ask { number, .. } if peer.channel.lost_descriptor() => {
                self.core.out_of_descriptors(id);
                let outcome = Outcome::Error(libc::ENFILE);
                self.tell(id, &FromNetwork::Reply { number, outcome, ticket: None }, None);
            }
            message => self.on_message(id, message, fd),
        }
        Ok(true)
    }

    fn hear_greeting(&mut self, id: MemberId) -> std::io::Result<bool> {
        let Some(peer) = self.peers.get_mut(&id) else { return Ok(false) };
        let Some(greeting) = peer.channel.receive_greeting()? else { return Ok(false) };
        if greeting != GREETING {
            let version = String::from_utf8_lossy(GREETING);
            let why = format!("this network speaks {}: use the same version", version.trim());
            peer.channel.send(&FromNetwork::Refused(why), None)?;
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        peer.stage = Stage::Greeted;
        Ok(true)
    }

    /// Says something to a peer.
    pub(super) fn tell(&mut self, id: MemberId, message: &FromNetwork, fd: Option<OwnedFd>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if let Err(error) = peer.channel.send(message, fd) {
            tracing::debug!(%error, ?id, "a peer doesn't listen");
            return self.part_with(id);
        }
        self.update_interest(id);
    }

    /// Waits for room to send exactly while something waits to be sent, and for questions unless too many
    /// answers do.
    fn update_interest(&mut self, id: MemberId) {
        let Some(Peer { channel, interest, .. }) = self.peers.get_mut(&id) else { return };
        let mut wanted = EventFlags::empty();
        wanted.set(EventFlags::OUT, channel.is_blocked());
        wanted.set(EventFlags::IN, channel.waiting() <= UNREAD_MAX);
        if wanted != *interest {
            *interest = wanted;
            self.poller.rewatch(&*channel, Token::Member(id), wanted).ok();
        }
    }

    /// Ends a conversation.
    pub(super) fn part_with(&mut self, id: MemberId) {
        let Some(peer) = self.peers.remove(&id) else { return };
        self.poller.forget(&peer.channel);
        if let Stage::Member(membership) = peer.stage {
            self.core.remove_member(id, membership.leaving.is_some());
            for ports in &membership.published {
                self.core.unpublish(membership.host, *ports);
            }
            self.end_capture(&membership);
            self.member_left(membership.linger);
        }
    }

    /// Ends the capture that a supervisor has begun.
    pub(super) fn end_capture(&mut self, membership: &Membership) {
        let network = self.core.world.network();
        if membership.captures
            && let Some(host) = network.host_by_id(membership.host)
        {
            network.end_capture(&host).map_err(|error| tracing::warn!(%error, "capture")).ok();
        }
    }

    fn on_message(&mut self, id: MemberId, message: ToNetwork, fd: Option<OwnedFd>) {
        let host = match self.peers.get(&id).map(|peer| &peer.stage) {
            Some(Stage::Member(membership)) => Some(membership.host),
            _ => None,
        };
        match (message, host) {
            (ToNetwork::Join { join, keeps_ends }, None) => self.join(id, join, keeps_ends, fd.as_ref()),
            (ToNetwork::Ask { number, request }, Some(host)) => {
                let Reply { outcome, ticket, fd } = self.core.handle(id, host, &request, fd);
                self.tell(id, &FromNetwork::Reply { number, outcome, ticket }, fd);
            }
            (ToNetwork::Identify { number, identity }, Some(_)) => {
                let class = self.core.classify(identity);
                self.tell(id, &FromNetwork::Class { number, class }, None);
            }
            (ToNetwork::Seen(seen), Some(_)) => self.core.seen(id, seen),
            (ToNetwork::Missed(key), Some(_)) => self.core.missed(key),
            (ToNetwork::Spoiled(key), Some(_)) => self.core.spoiled(key),
            (ToNetwork::Started { pid }, Some(_)) => {
                self.with_membership(id, |membership| membership.program = Some(pid));
            }
            (ToNetwork::Ended, Some(_)) => {
                self.with_membership(id, |membership| membership.program = None);
            }
            (ToNetwork::Leaving, Some(_)) => {
                self.core.sweep_after(id);
                let now = self.core.now;
                self.with_membership(id, |membership| {
                    let deadline = now + membership.linger;
                    membership.leaving = Some(Leaving { since: now, deadline, told: false });
                });
            }
            (ToNetwork::Status, _) => {
                let status = self.status();
                self.tell(id, &FromNetwork::Status(status), None);
            }
            (ToNetwork::Down, _) => {
                self.end();
                self.tell(id, &FromNetwork::Done(String::new()), None);
            }
            (ToNetwork::Publish { host, ports }, _) => {
                let done = self.publish(host.as_deref(), &ports);
                self.conclude(id, done);
            }
            (ToNetwork::Unpublish { host, ports }, _) => {
                let done = self.unpublish(host.as_deref(), &ports);
                self.conclude(id, done);
            }
            (_, None) => self.refuse(id, Refusal::Failed("join first".to_owned())),
            (ToNetwork::Join { .. }, Some(_)) => {
                self.refuse(id, Refusal::Failed("joined already".to_owned()));
            }
        }
    }

    fn with_membership(&mut self, id: MemberId, change: impl FnOnce(&mut Membership)) {
        if let Some(Peer { stage: Stage::Member(membership), .. }) = self.peers.get_mut(&id) {
            change(membership);
        }
    }

    fn conclude(&mut self, id: MemberId, done: Result<String, Refusal>) {
        match done {
            Ok(text) => self.tell(id, &FromNetwork::Done(text), None),
            Err(why) => self.refuse(id, why),
        }
    }

    fn refuse(&mut self, id: MemberId, why: Refusal) {
        let answer = match why {
            Refusal::Misused(why) => FromNetwork::Misused(why),
            Refusal::Failed(why) => FromNetwork::Refused(why),
        };
        self.tell(id, &answer, None);
    }

    fn join(&mut self, id: MemberId, join: Join, keeps_ends: bool, capture: Option<&OwnedFd>) {
        if self.ending.is_some() {
            // It finds nobody here, tries again, and starts another network.
            return self.part_with(id);
        }
        // Whoever came, came: without others the network doesn't wait any longer.
        self.has_served = true;
        let placed = self.place_on_host(&join).and_then(|(host, is_new_host)| {
            let published = self.publish_all(&host, &join.publish)?;
            if let Err(error) = self.capture(&host, capture) {
                for &spec in &published {
                    self.core.unpublish(host.id(), spec);
                }
                return Err(error);
            }
            Ok((host, is_new_host, published))
        });
        let (host, is_new_host, published) = match placed {
            Ok(placed) => placed,
            Err(why) => return self.refuse(id, why),
        };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.stage = Stage::Member(Membership {
            host: host.id(),
            command: shorten(join.program),
            program: None,
            published,
            captures: capture.is_some(),
            linger: join.linger,
            leaving: None,
        });
        self.alone_until = None;
        if keeps_ends {
            self.core.keep_ends(id);
        }
        let welcome = Welcome { addresses: host.addresses(), is_new_host };
        self.tell(id, &FromNetwork::Joined(welcome), None);
    }

    /// Finds or makes the host that a supervisor wants, and gives it the link that it asks for.
    fn place_on_host(&mut self, join: &Join) -> Result<(Host, bool), Refusal> {
        if join.offline && self.options.outside == Outside::Open {
            return Err(Refusal::Failed(
                "the network has a way out; whether it has is decided by who starts it \
                 (sockeye down ends it)"
                    .to_owned(),
            ));
        }
        if let Some(seed) = join.seed
            && self.options.seed != Some(seed)
        {
            let own = self.options.seed.map_or("a fresh seed".to_owned(), |own| format!("the seed {own}"));
            return Err(Refusal::Failed(format!(
                "the network has {own}, not {seed}; which it has is decided by who starts it: leave --seed out \
                 (sockeye down ends the network)"
            )));
        }
        let link: Option<NetemConfig> = match &join.link {
            Some(text) => Some(
                text.parse().map_err(|error| Refusal::Misused(format!("bad --link {text:?}: {error}")))?,
            ),
            None => None,
        };
        let network = self.core.world.network().clone();
        let Ok(host) = network.host(&join.host) else {
            let link = LinkConfig::from(link.unwrap_or_default());
            let mut config = HostConfig { ip: join.ip, link, ..HostConfig::default() };
            config.stack.wall_offset = network.gateway().with_stack(|stack, _| stack.config().wall_offset);
            let id = self.core.add_host(&join.host, config)?;
            return match network.host_by_id(id) {
                Some(host) => Ok((host, true)),
                None => Err(Refusal::Failed("the host is gone".to_owned())),
            };
        };
        if let Some(ip) = join.ip
            && !host.addresses().contains(&ip)
        {
            let [v4, v6] = host.addresses();
            return Err(Refusal::Misused(format!(
                "host {} has the addresses {v4} and {v6}, not {ip}: leave --ip out",
                join.host
            )));
        }
        if let Some(link) = link {
            network.set_link(&host, Direction::Up, link);
            network.set_link(&host, Direction::Down, link);
        }
        Ok((host, false))
    }

    /// Captures a host's packets to a file that a supervisor has open.
    fn capture(&self, host: &Host, file: Option<&OwnedFd>) -> Result<(), Refusal> {
        let Some(file) = file else { return Ok(()) };
        // Opening a pipe that nobody reads would hold up everything; who has it open for writing had a reader.
        let is_open = rustix::fs::fcntl_getfl(file).is_ok_and(|flags| {
            !flags.contains(OFlags::PATH) && flags.intersects(OFlags::WRONLY | OFlags::RDWR)
        });
        if !is_open {
            return Err(Refusal::Failed("the file for the capture isn't open for writing".to_owned()));
        }
        // It is opened anew: what can't be opened is no file to write to.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        self.core.world.network().capture_host(host, &path).map_err(|error| match error {
            sockeye::Error::Capture { error, .. } => {
                let path = std::fs::read_link(&path).unwrap_or_default();
                Refusal::Failed(format!("can't write the capture {}: {error}", path.display()))
            }
            error => error.into(),
        })
    }
}

/// A command line that isn't too long for a table.
fn shorten(words: Vec<String>) -> Vec<String> {
    let mut room = COMMAND_MAX;
    words
        .into_iter()
        .take_while(|word| {
            let fits = word.len() < room;
            room = room.saturating_sub(word.len() + 1);
            fits
        })
        .collect()
}
