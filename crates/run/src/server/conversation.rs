//! What a network does with what it is told.

use super::{Leaving, Membership, NetworkServer, Peer, Stage};
use crate::control::{FromNetwork, GREETING, Join, ToNetwork, Welcome};
use crate::core::Outside;
use crate::gateway::{PublishSpec, PublishSpecError};
use crate::poller::Token;
use crate::proto::{MemberId, Reply};
use rustix::event::epoll::EventFlags;
use rustix::fs::OFlags;
use sockeye::{Direction, Host, HostConfig, HostId, LinkConfig, NetemConfig};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

/// Messages taken from one peer in a row.
const TURN_MAX: usize = 64;
/// While so many answers wait for a peer to read them, it is not asked for more.
const UNREAD_MAX: usize = 256;
/// The longest command line that is kept for tables, in bytes.
const COMMAND_MAX: usize = 4096;

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
                Stage::Greeted | Stage::Member(_) => match peer.channel.receive::<ToNetwork>() {
                    Ok(Some((message, fd))) => {
                        self.on_message(id, message, fd);
                        Ok(true)
                    }
                    Ok(None) => Ok(false),
                    Err(error) => Err(error),
                },
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

    /// Waits for room to send exactly while something waits to be sent.
    fn update_interest(&mut self, id: MemberId) {
        let Some(Peer { channel, waits_for_room, .. }) = self.peers.get_mut(&id) else { return };
        if channel.is_blocked() != *waits_for_room {
            *waits_for_room = channel.is_blocked();
            let room = if *waits_for_room { EventFlags::OUT } else { EventFlags::empty() };
            let input = if channel.waiting() > UNREAD_MAX { EventFlags::empty() } else { EventFlags::IN };
            self.poller.rewatch(&*channel, Token::Member(id), input | room).ok();
        }
    }

    /// Ends a conversation.
    pub(super) fn part_with(&mut self, id: MemberId) {
        let Some(peer) = self.peers.remove(&id) else { return };
        self.poller.forget(&peer.channel);
        if let Stage::Member(membership) = peer.stage {
            self.core.remove_member(id, membership.leaving.is_some());
            self.member_left(membership.linger);
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
            (_, None) => self.refuse(id, "join first".to_owned()),
            (ToNetwork::Join { .. }, Some(_)) => self.refuse(id, "joined already".to_owned()),
        }
    }

    fn with_membership(&mut self, id: MemberId, change: impl FnOnce(&mut Membership)) {
        if let Some(Peer { stage: Stage::Member(membership), .. }) = self.peers.get_mut(&id) {
            change(membership);
        }
    }

    fn conclude(&mut self, id: MemberId, done: Result<String, String>) {
        match done {
            Ok(text) => self.tell(id, &FromNetwork::Done(text), None),
            Err(why) => self.refuse(id, why),
        }
    }

    fn refuse(&mut self, id: MemberId, why: String) {
        self.tell(id, &FromNetwork::Refused(why), None);
    }

    fn join(&mut self, id: MemberId, join: Join, keeps_ends: bool, capture: Option<&OwnedFd>) {
        match self.place_on_host(&join, capture) {
            Ok((host, is_new_host)) => {
                if keeps_ends {
                    self.core.keep_ends(id);
                }
                let published = self.publish_for(host, &join.publish);
                if let Err(why) = published {
                    return self.refuse(id, why);
                }
                let Some(peer) = self.peers.get_mut(&id) else { return };
                peer.stage = Stage::Member(Membership {
                    host,
                    command: shorten(join.program),
                    program: None,
                    linger: join.linger,
                    leaving: None,
                });
                self.alone_until = None;
                self.has_served = true;
                let addresses = self.core.world.network().host_by_id(host).map(|host| host.addresses());
                if let Some(addresses) = addresses {
                    self.tell(id, &FromNetwork::Joined(Welcome { addresses, is_new_host }), None);
                }
            }
            Err(why) => self.refuse(id, why),
        }
    }

    /// Finds or makes the host that a supervisor wants, and gives it the link and capture that it asks for.
    fn place_on_host(&mut self, join: &Join, capture: Option<&OwnedFd>) -> Result<(HostId, bool), String> {
        if self.ending.is_some() {
            return Err("the network is about to end: try again".to_owned());
        }
        if join.offline && self.options.outside == Outside::Open {
            return Err("the network has a way out; whether it has is decided by who starts it \
                        (sockeye down ends it)"
                .to_owned());
        }
        // Opening a pipe that nobody reads would hold up everything; who has it open for writing had a reader.
        let is_open = |fd: &OwnedFd| {
            rustix::fs::fcntl_getfl(fd).is_ok_and(|flags| {
                !flags.contains(OFlags::PATH) && flags.intersects(OFlags::WRONLY | OFlags::RDWR)
            })
        };
        if capture.is_some_and(|fd| !is_open(fd)) {
            return Err("the file for the capture isn't open for writing".to_owned());
        }
        let said = |error: sockeye::Error| error.to_string();
        let link: Option<NetemConfig> = match &join.link {
            Some(text) => Some(text.parse().map_err(|error| format!("bad --link {text:?}: {error}"))?),
            None => None,
        };
        // The file is opened anew: what can't be opened is no file to write to.
        let capture_path = capture.map(|fd| PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd())));
        let network = self.core.world.network().clone();
        let Ok(host) = network.host(&join.host) else {
            let link = LinkConfig::from(link.unwrap_or_default());
            let mut config = HostConfig { ip: join.ip, link, capture: capture_path, ..HostConfig::default() };
            config.stack.wall_offset = network.gateway().with_stack(|stack, _| stack.config().wall_offset);
            return Ok((self.core.add_host(&join.host, config).map_err(said)?, true));
        };
        if let Some(ip) = join.ip
            && !host.addresses().contains(&ip)
        {
            let [v4, v6] = host.addresses();
            return Err(format!(
                "host {} has the addresses {v4} and {v6}, not {ip}: leave --ip out",
                join.host
            ));
        }
        if let Some(link) = link {
            network.set_link(&host, Direction::Up, link);
            network.set_link(&host, Direction::Down, link);
        }
        if let Some(path) = capture_path {
            network.capture_host(&host, path).map_err(said)?;
        }
        Ok((host.id(), false))
    }

    fn publish_for(&mut self, host: HostId, specs: &[String]) -> Result<(), String> {
        let parse = |spec: &String| spec.parse().map_err(|error: PublishSpecError| error.to_string());
        let specs: Vec<PublishSpec> = specs.iter().map(parse).collect::<Result<_, _>>()?;
        for (index, &ports) in specs.iter().enumerate() {
            if let Err(error) = self.core.publish(host, ports) {
                // All of them, or none.
                if let Some(host) = self.core.world.network().host_by_id(host) {
                    for &ports in &specs[..index] {
                        self.core.unpublish(&host, ports);
                    }
                }
                return Err(error.to_string());
            }
        }
        Ok(())
    }

    /// The host of this name, or the only one.
    fn host_to_publish(&self, name: Option<&str>) -> Result<Host, String> {
        let network = self.core.world.network();
        match name {
            Some(name) => network.host(name).map_err(|error| error.to_string()),
            None => match <[Host; 1]>::try_from(network.hosts()) {
                Ok([only]) => Ok(only),
                Err(hosts) => {
                    let names: Vec<_> = hosts.iter().map(Host::name).collect();
                    Err(format!(
                        "the network has several hosts: name one of {} with --host",
                        names.join(", ")
                    ))
                }
            },
        }
    }

    fn publish(&mut self, host: Option<&str>, ports: &str) -> Result<String, String> {
        let host = self.host_to_publish(host)?;
        self.publish_for(host.id(), &[ports.to_owned()])?;
        Ok(String::new())
    }

    fn unpublish(&mut self, host: Option<&str>, ports: &str) -> Result<String, String> {
        let host = self.host_to_publish(host)?;
        let spec: PublishSpec = ports.parse().map_err(|error: PublishSpecError| error.to_string())?;
        match self.core.unpublish(&host, spec) {
            0 => Err(format!("{ports} is not published for host {}: sockeye ps lists what is", host.name())),
            _ => Ok(String::new()),
        }
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
