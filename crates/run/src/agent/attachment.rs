//! The supervisor's way to its network: in this process, or behind the control socket.

use crate::control::{Channel, FromNetwork, ToNetwork};
use crate::core::Core;
use crate::proto::{Class, Identity, MemberId, Notice, Reply, Request, Seen};
use crate::sockets::SocketKey;
use crate::stream;
use std::collections::HashMap;
use std::os::fd::OwnedFd;

/// How many sockets are known by their identity.
const KNOWN_MAX: usize = 16 * 1024;

/// Where the network is.
#[derive(Debug)]
pub(crate) enum Attachment {
    /// Here.
    Local(Box<Core>),
    /// In another process.
    Joined(Box<Joined>),
}

/// A network in another process.
#[derive(Debug)]
pub(crate) struct Joined {
    channel: Channel,
    /// What was learnt of sockets that programs used: whose they are never changes.
    known: HashMap<Identity, Known>,
    gone: bool,
    ending: bool,
    drained: bool,
    /// Whether the user knows that descriptors ran out here.
    warned: bool,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    class: Class,
    /// A connected stream's sends and receives are the kernel's.
    connected: bool,
    /// Its reads come with the number of bytes behind them (`TCP_INQ`).
    inquires: bool,
}

/// What a network said.
#[derive(Debug)]
pub(crate) enum Said {
    /// The answer to a question about a call.
    Reply(u32, Reply),
    /// The answer to a question about a socket.
    Class(u32, Class),
    /// Something unasked.
    Notice(Notice),
    /// The network has ended.
    Gone,
}

impl Joined {
    /// Speaks through a channel on which the network has said welcome.
    pub(crate) fn new(channel: Channel) -> Joined {
        Joined { channel, known: HashMap::new(), gone: false, ending: false, drained: false, warned: false }
    }

    /// The channel.
    pub(crate) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Whether the network has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Whether all connections that the programs closed have carried their last bytes.
    pub(crate) fn is_drained(&self) -> bool {
        self.drained || self.gone
    }

    /// Sends a message; a network that doesn't take it is gone, which its end of file tells.
    pub(crate) fn tell(&mut self, message: &ToNetwork) {
        self.try_tell(message, None);
    }

    fn try_tell(&mut self, message: &ToNetwork, fd: Option<OwnedFd>) -> bool {
        let sent = self.channel.send(message, fd);
        sent.map_err(|error| tracing::debug!(%error, "the network doesn't listen")).is_ok()
    }

    /// Sends what waits for room.
    pub(crate) fn flush(&mut self) {
        self.channel.flush().ok();
    }

    fn know(&mut self, identity: Identity, known: Known) {
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(identity, known);
    }

    fn hear(&mut self) -> Option<Said> {
        loop {
            let (message, fd) = match self.channel.receive::<FromNetwork>() {
                Ok(Some(said)) => said,
                Ok(None) => return None,
                Err(error) => {
                    tracing::debug!(%error, "the network is gone");
                    let news = !std::mem::replace(&mut self.gone, true);
                    return news.then_some(Said::Gone);
                }
            };
            match message {
                FromNetwork::Reply { number, outcome, ticket } => {
                    return Some(Said::Reply(number, Reply { outcome, ticket, fd }));
                }
                FromNetwork::Class { number, class } => return Some(Said::Class(number, class)),
                FromNetwork::Notice(notice) => return Some(Said::Notice(notice)),
                FromNetwork::Drained => self.drained = true,
                FromNetwork::Refused(text) | FromNetwork::Misused(text) => {
                    return Some(Said::Notice(Notice::Warning(text)));
                }
                FromNetwork::Joined(_) | FromNetwork::Status(_) | FromNetwork::Done(_) => {}
            }
        }
    }
}

impl Attachment {
    /// What kind of socket this is; none while that isn't known here.
    pub(super) fn class_of(&self, identity: Identity) -> Option<Class> {
        match self {
            Attachment::Local(core) => Some(core.classify(identity)),
            Attachment::Joined(joined) => joined.known.get(&identity).map(|known| known.class),
        }
    }

    /// Whether sends and receives on this stream are known to be the kernel's.
    pub(super) fn is_known_connected(&self, identity: Identity) -> bool {
        match self {
            Attachment::Local(_) => false,
            Attachment::Joined(joined) => joined.known.get(&identity).is_some_and(|known| known.connected),
        }
    }

    /// Whether what is known of sockets is of use: a network here is asked for nothing.
    pub(super) fn remembers(&self) -> bool {
        matches!(self, Attachment::Joined(_))
    }

    /// Remembers what kind of socket this is.
    pub(super) fn learn(&mut self, identity: Identity, class: Class) {
        if let Attachment::Joined(joined) = self {
            joined.know(identity, Known { class, connected: false, inquires: false });
        }
    }

    /// Remembers that a stream is connected: the kernel was left to do what only works then.
    pub(super) fn learn_connected(&mut self, identity: Identity) {
        if let Attachment::Joined(joined) = self {
            let inquires = joined.known.get(&identity).is_some_and(|known| known.inquires);
            joined.know(identity, Known { class: Class::Stream, connected: true, inquires });
        }
    }

    /// Whether reads of this stream come with the number of bytes behind them.
    pub(super) fn inquires(&self, identity: Identity) -> bool {
        match self {
            Attachment::Local(core) => {
                let record = core.sockets.by_identity(identity).and_then(|key| core.sockets.get(key));
                record.is_some_and(|record| stream::inquire::is_wanted(&record.stored))
            }
            Attachment::Joined(joined) => joined.known.get(&identity).is_some_and(|known| known.inquires),
        }
    }

    /// Remembers whether they do.
    pub(super) fn learn_inquires(&mut self, identity: Identity, inquires: bool) {
        if let Attachment::Joined(joined) = self {
            let connected = joined.known.get(&identity).is_some_and(|known| known.connected);
            joined.know(identity, Known { class: Class::Stream, connected, inquires });
        }
    }

    /// Asks a network in another process what becomes of a call; says whether it could be asked.
    pub(super) fn ask(&mut self, number: u32, request: Request, theirs: Option<OwnedFd>) -> bool {
        match self {
            Attachment::Local(_) => false,
            Attachment::Joined(joined) => joined.try_tell(&ToNetwork::Ask { number, request }, theirs),
        }
    }

    /// Asks a network in another process what a socket is.
    pub(super) fn identify(&mut self, number: u32, identity: Identity) {
        if let Attachment::Joined(joined) = self {
            joined.tell(&ToNetwork::Identify { number, identity });
        }
    }

    /// Tells how a call ended.
    pub(super) fn seen(&mut self, seen: Seen) {
        match self {
            Attachment::Local(core) => core.seen(MemberId::LOCAL, seen),
            Attachment::Joined(joined) => joined.tell(&ToNetwork::Seen(seen)),
        }
    }

    /// Tells that a thread waits no more for a socket.
    pub(super) fn missed(&mut self, key: SocketKey) {
        match self {
            Attachment::Local(core) => core.missed(key),
            Attachment::Joined(joined) => joined.tell(&ToNetwork::Missed(key)),
        }
    }

    /// Tells that a plug ends as a reset does.
    pub(super) fn spoiled(&mut self, key: SocketKey) {
        match self {
            Attachment::Local(core) => core.spoiled(key),
            Attachment::Joined(joined) => joined.tell(&ToNetwork::Spoiled(key)),
        }
    }

    /// This process had no room for a duplicate of a program's descriptor: says so, once.
    pub(super) fn out_of_descriptors(&mut self) {
        match self {
            Attachment::Local(core) => core.out_of_descriptors(MemberId::LOCAL),
            Attachment::Joined(joined) => {
                if !std::mem::replace(&mut joined.warned, true) {
                    let remedy = "raise the hard limit (ulimit -Hn)";
                    eprintln!("sockeye: this supervisor has no descriptors left: {remedy}");
                }
            }
        }
    }

    /// Notes that programs are to end.
    pub(super) fn set_ending(&mut self) {
        if let Attachment::Joined(joined) = self {
            joined.ending = true;
        }
    }

    /// What a network in another process said next.
    pub(super) fn hear(&mut self) -> Option<Said> {
        match self {
            Attachment::Local(_) => None,
            Attachment::Joined(joined) => joined.hear(),
        }
    }

    /// Whether the network has ended.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Attachment::Joined(joined) if joined.is_gone())
    }

    /// Whether the network is about to end.
    pub(crate) fn is_ending(&self) -> bool {
        matches!(self, Attachment::Joined(joined) if joined.ending)
    }
}
