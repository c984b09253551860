//! The supervisor's side of the intercepted calls: it reads what a call means out of the calling process,
//! asks the network, and does with the call what the network says.
//!
//! Whether the network is in this process ([`Attachment::Local`]) or another one ([`Attachment::Joined`])
//! makes no difference here but for when the answer comes.

mod attachment;
mod call;
mod gather;
mod landing;
mod processes;
mod replace;

pub(crate) use attachment::{Attachment, Joined};
pub(crate) use call::Call;

use crate::family;
use crate::filter::Syscall;
use crate::poller::{Poller, Token};
use crate::proto::{Identity, MemberId, Notice, Op, Outcome, Reply, Request, Seen, Ticket};
use crate::sockets::SocketKey;
use crate::sys::{self, Notification, Response};
use gather::{Landing, Step};
use processes::Processes;
use rustix::event::epoll::EventFlags;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SendFlags;
use sockeye::HostId;
use sockeye_packet::Instant;
use sockeye_posix::Errno;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Calls taken from one listener in a row.
const CALLS: usize = 32;

/// A program with all its descendants: one filter, one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TreeId(pub(crate) usize);

/// One filter's listener.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Where its calls arrive.
    pub(crate) listener: OwnedFd,
    /// The host it runs on, of a network in this process.
    pub(crate) host: Option<HostId>,
}

/// A call that waits for its socket.
#[derive(Debug)]
struct Parked {
    call: Call,
    deadline: Option<Instant>,
    expired: i32,
}

/// A question to a network in another process.
#[derive(Debug)]
enum Pending {
    /// What becomes of a call; of one that the kernel may do, on this stream.
    Call { call: Call, landing: Landing, passes: Option<Identity> },
    /// Whether a socket is the network's; then the call begins anew, from its message `index` on.
    Identify { call: Call, index: usize, identity: Identity },
}

/// Answers the calls of the programs that this process watches.
#[derive(Debug)]
pub(crate) struct Agent {
    /// The time of this turn.
    pub(crate) now: Instant,
    /// The way to the network.
    pub(crate) attachment: Attachment,
    processes: Processes,
    poller: Poller,
    trees: Vec<Option<Tree>>,
    /// A task waits in at most one call, so its number is the key.
    parked: HashMap<u32, Parked>,
    deadlines: BTreeSet<(Instant, u32)>,
    /// Calls to be made again, from this message on (of those with many).
    awake: VecDeque<(Call, usize)>,
    pending: HashMap<u32, Pending>,
    next_question: u32,
}

impl Agent {
    /// Asks the network behind `attachment`.
    pub(crate) fn new(poller: Poller, mut attachment: Attachment) -> Agent {
        let processes = Processes::new();
        if let Attachment::Local(core) = &mut attachment
            && !processes.can_duplicate()
        {
            core.keep_ends(MemberId::LOCAL);
        }
        Agent {
            now: Instant::default(),
            attachment,
            processes,
            poller,
            trees: Vec::new(),
            parked: HashMap::new(),
            deadlines: BTreeSet::new(),
            awake: VecDeque::new(),
            pending: HashMap::new(),
            next_question: 0,
        }
    }

    /// Adds a program's listener.
    pub(crate) fn add_tree(&mut self, tree: Tree) -> io::Result<()> {
        let id = TreeId(self.trees.len());
        self.poller.watch(&tree.listener, Token::Calls(id), EventFlags::IN)?;
        self.trees.push(Some(tree));
        Ok(())
    }

    /// Programs of which some process still runs.
    pub(crate) fn trees(&self) -> impl Iterator<Item = &Tree> {
        self.trees.iter().flatten()
    }

    fn tree(&self, id: TreeId) -> Option<&Tree> {
        self.trees.get(id.0).and_then(Option::as_ref)
    }

    /// A filter's listener has calls, or none of its processes is left.
    pub(crate) fn on_calls(&mut self, id: TreeId, flags: EventFlags) {
        for turn in 0..CALLS {
            let Some(Tree { listener, .. }) = self.tree(id) else { return };
            // Receiving blocks when there is nothing, so it is asked for first, as the event has done the first time.
            let is_known = turn == 0 && flags.contains(EventFlags::IN);
            if !is_known && !has_call(listener) {
                break;
            }
            // A thread that was killed meanwhile has taken its call along.
            let Ok(notification) = sys::receive_notification(listener.as_fd()) else { continue };
            let Notification { id: number, tid, args, .. } = notification;
            let Some(syscall) = Syscall::from_number(notification.number) else {
                sys::send_response(listener.as_fd(), number, Response::Continue).ok();
                continue;
            };
            // It has made another call than the one it waited in.
            self.unpark(tid);
            self.begin(&Call { tree: id, id: number, tid, syscall, args, waited_for: None }, 0);
        }
        if flags.contains(EventFlags::HUP)
            && let Some(tree) = self.trees.get_mut(id.0)
        {
            *tree = None;
            let of_tree = |(_, parked): &(&u32, &Parked)| parked.call.tree == id;
            let gone: Vec<u32> = self.parked.iter().filter(of_tree).map(|(&tid, _)| tid).collect();
            for tid in gone {
                self.unpark(tid);
            }
        }
    }

    /// Takes a call from its arguments to the network, from the message `index` on.
    fn begin(&mut self, call: &Call, index: usize) {
        let step = self.gather(call, index).unwrap_or_else(|errno| {
            if errno == Errno::ENFILE {
                self.attachment.out_of_descriptors();
            }
            Step::Conclude(Outcome::from(errno))
        });
        let step = if self.attachment.is_gone() { without_network(call, step) } else { step };
        match step {
            Step::Ask { request, theirs, landing } => {
                if let Attachment::Local(core) = &mut self.attachment {
                    let tree = self.trees.get(call.tree.0).and_then(Option::as_ref);
                    let Some(host) = tree.and_then(|tree| tree.host) else { return };
                    let reply = core.handle(MemberId::LOCAL, host, &request, theirs);
                    tracing::trace!(tid = call.tid, call = ?request.op, outcome = ?reply.outcome, "call");
                    self.land(call, &landing, reply);
                } else {
                    let passes = request.identity.filter(|_| matches!(request.op, Op::Pass { .. }));
                    let number = self.question(Pending::Call { call: *call, landing, passes });
                    if !self.attachment.ask(number, request, theirs) {
                        self.on_reply(number, Outcome::Error(libc::ENOBUFS).into());
                    }
                }
            }
            Step::Identify(identity) => {
                let number = self.question(Pending::Identify { call: *call, index, identity });
                self.attachment.identify(number, identity);
            }
            Step::Conclude(outcome) => {
                if let Some(key) = call.waited_for {
                    self.attachment.missed(key);
                }
                let landing =
                    if index > 0 { Landing::OneOf { index, message: None } } else { Landing::Nothing };
                self.land(call, &landing, outcome.into());
            }
        }
    }

    fn question(&mut self, pending: Pending) -> u32 {
        self.next_question = self.next_question.wrapping_add(1);
        self.pending.insert(self.next_question, pending);
        self.next_question
    }

    /// Hears the answer to a question.
    fn on_reply(&mut self, number: u32, reply: Reply) {
        if let Some(Pending::Call { call, landing, passes }) = self.pending.remove(&number) {
            tracing::trace!(tid = call.tid, syscall = ?call.syscall, outcome = ?reply.outcome, "call");
            if let (Some(stream), Outcome::Continue) = (passes, &reply.outcome) {
                self.attachment.learn_connected(stream);
            }
            self.land(&call, &landing, reply);
        }
    }

    /// Takes in what a network in another process says; false when it is gone.
    pub(crate) fn hear_network(&mut self) -> bool {
        while let Some(said) = self.attachment.hear() {
            match said {
                attachment::Said::Reply(number, reply) => self.on_reply(number, reply),
                attachment::Said::Class(number, class) => {
                    if let Some(Pending::Identify { call, index, identity }) = self.pending.remove(&number) {
                        self.attachment.learn(identity, class);
                        self.begin(&call, index);
                    }
                }
                attachment::Said::Notice(notice) => self.on_notice(notice),
                attachment::Said::Gone => {
                    self.network_is_gone();
                    return false;
                }
            }
        }
        true
    }

    /// Whoever waits for the network waits in vain.
    fn network_is_gone(&mut self) {
        for pending in std::mem::take(&mut self.pending).into_values() {
            match pending {
                Pending::Identify { call, index, .. } => self.begin(&call, index),
                Pending::Call { call, landing, passes } => {
                    let outcome = passes.map_or(Outcome::Error(libc::ENETDOWN), |_| Outcome::Continue);
                    self.land(&call, &landing, outcome.into());
                }
            }
        }
        self.deadlines.clear();
        for (_, parked) in std::mem::take(&mut self.parked) {
            self.answer(&parked.call, Response::Error(libc::ENETDOWN));
        }
        for process in family::descendants() {
            self.processes.hang_up_loopbacks(process.as_raw_nonzero().get().cast_unsigned());
        }
    }

    /// Hears what the network of this process has to tell, and makes calls again that can go on. Says
    /// whether there was anything.
    pub(crate) fn catch_up(&mut self) -> bool {
        let mut moved = false;
        while let Attachment::Local(core) = &mut self.attachment
            && let Some((_, notice)) = core.poll_notice()
        {
            moved = true;
            self.on_notice(notice);
        }
        while let Some((call, index)) = self.awake.pop_front() {
            moved = true;
            // A thread that was interrupted while it waited does something else by now: nothing is to be
            // sent or received for it.
            if let Some(key) = call.waited_for.filter(|_| !self.is_waiting(&call)) {
                self.attachment.missed(key);
                continue;
            }
            self.begin(&call, index);
        }
        moved
    }

    fn on_notice(&mut self, notice: Notice) {
        match notice {
            Notice::Wake { tid, key } => {
                let waits = self.parked.get(&tid).is_some_and(|parked| parked.call.waited_for == Some(key));
                match if waits { self.unpark(tid) } else { None } {
                    Some(call) => self.awake.push_back((call, 0)),
                    None => self.attachment.missed(key),
                }
            }
            Notice::Spoil { tid, fd, cookie, key } => {
                if let Ok(theirs) = self.processes.fetch(tid, fd)
                    && rustix::net::sockopt::socket_cookie(&theirs) == Ok(cookie)
                {
                    rustix::net::send(&theirs, &[0], SendFlags::NOSIGNAL | SendFlags::DONTWAIT).ok();
                }
                self.attachment.spoiled(key);
            }
            Notice::ShowError { tid, fd, cookie } => {
                if let Ok(theirs) = self.processes.fetch(tid, fd)
                    && rustix::net::sockopt::socket_cookie(&theirs) == Ok(cookie)
                {
                    sys::show_error(&theirs).ok();
                }
            }
            Notice::Warning(text) => eprintln!("sockeye: {text}"),
            Notice::End => self.attachment.set_ending(),
        }
    }

    /// Forgets the call that this task waits in.
    fn unpark(&mut self, tid: u32) -> Option<Call> {
        let parked = self.parked.remove(&tid)?;
        if let Some(deadline) = parked.deadline {
            self.deadlines.remove(&(deadline, tid));
        }
        Some(parked.call)
    }

    fn park(&mut self, call: &Call, key: SocketKey, deadline: Option<Instant>, expired: i32) {
        self.unpark(call.tid);
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, call.tid));
        }
        let call = Call { waited_for: Some(key), ..*call };
        self.parked.insert(call.tid, Parked { call, deadline, expired });
    }

    /// Answers the calls whose deadline has passed; returns the next deadline.
    pub(crate) fn expire(&mut self) -> Option<Instant> {
        while let Some(&(deadline, tid)) = self.deadlines.first() {
            if deadline > self.now {
                return Some(deadline);
            }
            self.deadlines.pop_first();
            if let Some(parked) = self.parked.remove(&tid) {
                self.answer(&parked.call, Response::Error(parked.expired));
            }
        }
        None
    }

    /// Whether there is something to do at once.
    pub(crate) fn is_busy(&self) -> bool {
        !self.awake.is_empty()
    }

    /// Whether the calling thread still waits for this call's answer.
    fn is_waiting(&self, call: &Call) -> bool {
        self.tree(call.tree).is_some_and(|tree| sys::notification_is_valid(tree.listener.as_fd(), call.id))
    }

    /// Answers a call now; says whether the calling thread was still there to see it.
    fn answer(&self, call: &Call, response: Response) -> bool {
        self.tree(call.tree)
            .is_some_and(|tree| sys::send_response(tree.listener.as_fd(), call.id, response).is_ok())
    }

    /// Tells whether a call's thread saw its outcome, where somebody wants to know.
    fn tell_seen(&mut self, call: &Call, ticket: Option<Ticket>, value: Option<i32>) {
        if let Some(ticket) = ticket {
            self.attachment.seen(Seen { ticket, tid: call.tid, value });
        }
    }

    /// Writes into the calling process's memory, if it still waits for this call.
    fn write(&self, call: &Call, ranges: &[(u64, usize)], bytes: &[u8]) -> Result<(), Errno> {
        if bytes.is_empty() {
            return Ok(());
        }
        if !self.is_waiting(call) {
            return Err(Errno::EINTR);
        }
        call.write_ranges(ranges, bytes)
    }
}

/// Whether a call waits at a listener. One whose thread is killed then still counts as one to receive, in vain.
fn has_call(listener: &OwnedFd) -> bool {
    let mut ready = [PollFd::new(listener, PollFlags::IN)];
    let none = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut ready, Some(&none)).is_ok() && ready[0].revents().contains(PollFlags::IN)
}

/// What becomes of a call when the network has ended: the kernel does what it can on the plugs that are left.
fn without_network(call: &Call, step: Step) -> Step {
    match step {
        Step::Ask { request: Request { op: Op::Pass { .. }, .. }, .. } => Step::Conclude(Outcome::Continue),
        Step::Ask { .. } => Step::Conclude(Outcome::Error(libc::ENETDOWN)),
        Step::Identify(_) => gather::not_ours(call).unwrap_or_else(|errno| Step::Conclude(errno.into())),
        Step::Conclude(outcome) => Step::Conclude(outcome),
    }
}

/// Whether this machine lets descriptors of other processes be duplicated.
pub(crate) fn can_duplicate() -> bool {
    Processes::new().can_duplicate()
}
