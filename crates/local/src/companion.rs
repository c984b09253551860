//! What a listener does with the offers of its clients.
//!
//! A companion's name has no permissions: every process of the network namespace may leave offers with it, also who
//! may not connect to the path. So nobody is waited for, and what is kept is bounded. An honest client's offer is there
//! before its connection to the path is made: who has said nothing by the time that others are heard is hung up on, and
//! dials again ([`crate::rendezvous`]). Offers that are kept take at most an eighth of the process's descriptors; if
//! there are more, the oldest of the user goes who has left most, so that a flood drives out nobody but itself. Its client
//! is told so.

use crate::Credentials;
use crate::end::Place;
use crate::rendezvous::{File, MAGIC, Nonce, OFFER_LEN, When, socket};
use crate::sync::lock;
use crate::sys::{Mapping, peer_credentials};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, Shutdown, SocketFlags,
    SocketType,
};
use rustix::process::{Resource, getrlimit};
use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

/// What a listener needs to make connections over shared memory, and those it has accepted.
#[derive(Debug)]
pub(crate) struct Host {
    companion: Mutex<Companion>,
    connections: Arc<AtomicUsize>,
    most_connections: usize,
    largest_ring: usize,
    /// The process that has the offers.
    process: u32,
}

impl Host {
    /// Of so many connections that may yet bring an offer, one has the companion's callers heard.
    const SWEEP: u64 = 16;

    pub(crate) fn new(companion: Companion, most_connections: usize, largest_ring: usize) -> Host {
        Host {
            companion: Mutex::new(companion),
            connections: Arc::default(),
            most_connections,
            largest_ring,
            process: std::process::id(),
        }
    }

    pub(crate) fn is_here(&self) -> bool {
        self.process == std::process::id()
    }

    /// Notes that a connection was accepted, whose offer is there or comes later, or that has none.
    pub(crate) fn note_accepted(&self, offer: Option<When>) {
        let mut companion = lock(&self.companion);
        companion.accepted += 1;
        match offer {
            Some(When::AtOnce) => {}
            Some(When::Later) if !companion.accepted.is_multiple_of(Host::SWEEP) => {}
            _ => companion.sweep(),
        }
    }

    /// The memory that was offered under this nonce by the one who has connected, and a place for the connection.
    pub(crate) fn claim(&self, nonce: &Nonce, client: &Credentials) -> Option<(Mapping, Place)> {
        let mut companion = lock(&self.companion);
        // It was left before its connection was made, so that it is among as many as the queue holds.
        let most = companion.backlog + 1;
        let mapping = companion.claim(nonce, client, self.largest_ring, most)?;
        Some((mapping, Place::take(&self.connections, self.most_connections)?))
    }

    /// The same of a connection that carries bytes meanwhile: it can be tried again, and takes no longer for a flood of callers.
    pub(crate) fn claim_later(&self, nonce: &Nonce, client: &Credentials) -> Option<(Mapping, Place)> {
        if !self.is_here() {
            return None;
        }
        let mut companion = self.companion.try_lock().ok()?;
        let mapping = companion.claim(nonce, client, self.largest_ring, Companion::SWEPT)?;
        Some((mapping, Place::take(&self.connections, self.most_connections)?))
    }
}

/// A listener's companion, and the offers that were left with it.
#[derive(Debug)]
pub(crate) struct Companion {
    socket: OwnedFd,
    backlog: usize,
    /// By user, the oldest first.
    offers: HashMap<u32, VecDeque<Left>>,
    /// Offers that are kept.
    count: usize,
    /// After so many more, those that are over are looked for.
    until_look: usize,
    /// Connections that were accepted so far.
    accepted: u64,
}

/// An offer that was left.
#[derive(Debug)]
struct Left {
    nonce: Nonce,
    ring: u64,
    memory: OwnedFd,
    caller: OwnedFd,
    credentials: Credentials,
    /// Once the caller has hung up: its connection is in the listener's queue by then, or never comes.
    until: Option<u64>,
}

impl Companion {
    /// So many offers are kept in any case.
    const FEW: usize = 8;
    /// And never more.
    const MANY: usize = 4096;
    /// For an offer that is kept there are so many more descriptors that the process may have: it has two itself.
    const SHARE: usize = 16;
    /// Callers that are heard where no offer is looked for.
    const SWEPT: usize = 64;

    /// The companion of the listener whose file this is; none if its name is taken.
    pub(crate) fn new(file: &File, backlog: u32) -> Option<Companion> {
        let socket = socket(SocketType::SEQPACKET, SocketFlags::NONBLOCK).ok()?;
        rustix::net::bind(&socket, &file.companion_name().ok()?).ok()?;
        rustix::net::listen(&socket, backlog as i32).ok()?;
        Some(Companion {
            socket,
            backlog: backlog as usize,
            offers: HashMap::new(),
            count: 0,
            until_look: Companion::FEW,
            accepted: 0,
        })
    }

    /// The memory that was offered under this nonce by the one who has now connected, if its rings are no larger than
    /// allowed. So many callers are heard for it.
    fn claim(&mut self, nonce: &Nonce, client: &Credentials, largest: usize, most: usize) -> Option<Mapping> {
        let left = self.take(nonce, client).or_else(|| self.hear_out(nonce, client, most))?;
        let ring = usize::try_from(left.ring).ok()?;
        let is_good = ring.is_power_of_two() && (crate::SMALLEST_RING..=largest).contains(&ring);
        if !is_good {
            return None;
        }
        Mapping::adopt(left.memory.as_fd(), ring).ok()
    }

    /// Hears callers when clients have connected who left no offer: so nobody can have the queue full for ever.
    fn sweep(&mut self) {
        for _ in 0..Companion::SWEPT {
            let Some(left) = self.hear_next() else { return };
            self.keep(left);
        }
    }

    fn take(&mut self, nonce: &Nonce, client: &Credentials) -> Option<Left> {
        let offers = self.offers.get_mut(&client.uid)?;
        let at = offers.iter().position(|left| left.nonce == *nonce && left.credentials == *client)?;
        let left = offers.remove(at);
        if offers.is_empty() {
            self.offers.remove(&client.uid);
        }
        self.count -= 1;
        left
    }

    /// Takes what so many callers have left, up to this offer.
    fn hear_out(&mut self, nonce: &Nonce, client: &Credentials, most: usize) -> Option<Left> {
        for _ in 0..most {
            let left = self.hear_next()?;
            if left.as_ref().is_some_and(|left| left.nonce == *nonce && left.credentials == *client) {
                return left;
            }
            self.keep(left);
        }
        None
    }

    /// The next caller's offer, if it has left one; none if there is no caller. Room for its descriptors is made.
    #[expect(clippy::option_option, reason = "a caller, and what it has left")]
    fn hear_next(&mut self) -> Option<Option<Left>> {
        let caller = loop {
            match rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC) {
                Ok(caller) => break caller,
                Err(Errno::MFILE | Errno::NFILE) if self.drop_one() => {}
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(_) => return None,
            }
        };
        let offer = loop {
            match receive_offer(&caller) {
                Ok(Heard::Offer(nonce, ring, memory)) => break Some((nonce, ring, memory)),
                Ok(Heard::NoRoom) if self.drop_one() => {}
                Ok(_) | Err(_) => break None,
            }
        };
        Some(offer.and_then(|(nonce, ring, memory)| {
            let credentials = peer_credentials(caller.as_fd()).ok()?;
            Some(Left { nonce, ring, memory, caller, credentials, until: None })
        }))
    }

    fn keep(&mut self, left: Option<Left>) {
        let Some(left) = left else { return };
        self.offers.entry(left.credentials.uid).or_default().push_back(left);
        self.count += 1;
        self.until_look -= 1;
        if self.until_look == 0 {
            self.forget();
            // So rarely that a flood makes it look at each offer a few times at most.
            self.until_look = self.count.max(Companion::FEW);
        }
        while self.count > Companion::FEW && self.count > self.most() && self.drop_one() {}
    }

    /// Drops the offers whose connections won't come any more.
    fn forget(&mut self) {
        let (accepted, last) = (self.accepted, self.accepted + self.backlog as u64 + 1);
        for left in self.offers.values_mut().flatten().filter(|left| left.until.is_none()) {
            left.until = has_hung_up(&left.caller).then_some(last);
        }
        self.offers.retain(|_, offers| {
            offers.retain(|left| left.until.is_none_or(|until| accepted <= until));
            !offers.is_empty()
        });
        self.count = self.offers.values().map(VecDeque::len).sum();
    }

    /// The most offers to keep.
    fn most(&self) -> usize {
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let share = usize::try_from(descriptors).unwrap_or(usize::MAX) / Companion::SHARE;
        share.min(2 * self.backlog).clamp(Companion::FEW, Companion::MANY)
    }

    /// Drops the oldest offer of the user who has left most; says whether there was one.
    fn drop_one(&mut self) -> bool {
        let Some((&user, offers)) = self.offers.iter_mut().max_by_key(|(_, offers)| offers.len()) else {
            return false;
        };
        if let Some(left) = offers.pop_front() {
            // Its client may wait for room in the listener's queue: it connects without an offer then.
            let _ = rustix::net::send(&left.caller, &[0], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
        if offers.is_empty() {
            self.offers.remove(&user);
        }
        self.count -= 1;
        true
    }
}

fn has_hung_up(caller: &OwnedFd) -> bool {
    let mut sources = [PollFd::new(caller, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut sources, Some(&now)).is_ok_and(|count| count > 0)
}

/// What a caller has said.
enum Heard {
    Offer(Nonce, u64, OwnedFd),
    /// What is none.
    Nonsense,
    /// The process can't have its descriptor: it is to be heard again.
    NoRoom,
}

/// The offer that a caller has sent: it can send none any more after this, if there was none.
fn receive_offer(caller: &OwnedFd) -> io::Result<Heard> {
    match peek_offer(caller) {
        Err(Errno::AGAIN) => {
            // A send either comes before this, and is seen now, or fails.
            rustix::net::shutdown(caller, Shutdown::Both)?;
            Ok(peek_offer(caller)?)
        }
        heard => Ok(heard?),
    }
}

fn peek_offer(caller: &OwnedFd) -> Result<Heard, Errno> {
    let mut offer = [0; OFFER_LEN + 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    // It stays there, for where the process has no descriptor free.
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC | RecvFlags::PEEK;
    let received = rustix::net::recvmsg(caller, &mut [IoSliceMut::new(&mut offer)], &mut control, flags)?;
    let is_cut = received.flags.contains(ReturnFlags::CTRUNC);
    let mut descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let memory = descriptors.next().and_then(|mut descriptors| descriptors.next());
    let (magic, rest) = offer[..OFFER_LEN].split_at(MAGIC.len());
    let (nonce, ring) = rest.split_at(size_of::<Nonce>());
    let is_offer = received.bytes == OFFER_LEN && magic == MAGIC;
    match (memory, nonce.try_into(), ring.try_into()) {
        (Some(memory), Ok(nonce), Ok(ring)) if is_offer => {
            Ok(Heard::Offer(nonce, u64::from_le_bytes(ring), memory))
        }
        (None, ..) if is_offer && is_cut => Ok(Heard::NoRoom),
        _ => Ok(Heard::Nonsense),
    }
}
