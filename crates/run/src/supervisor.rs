//! The loop: programs' calls, plugs, the network and its timers, all in one thread and one epoll.

mod descendants;
mod programs;

use crate::agent::{Agent, Attachment, Joined, Tree};
use crate::clock::Clock;
use crate::control::ToNetwork;
use crate::control::client::Membership;
use crate::core::{Core, Outside};
use crate::gateway::{PublishError, PublishSpec};
use crate::launch::{LaunchError, Launched, ProgramSpec, Surroundings, launch};
use crate::poller::{PollEvent, Poller, Token};
use crate::proto::MemberId;
use crate::sockets::Socket;
use crate::sys::{self, SignalFd};
use programs::Program;
use rustix::event::epoll::EventFlags;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use sockeye::{HostId, Network};
use sockeye_packet::Instant;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::time::Duration;

/// How often the end of connections is looked for.
const DRAIN_LOOK: Duration = Duration::from_millis(5);
/// How long the last of the programs' processes may take to close their sockets; who has one open then is
/// none of them.
pub(crate) const CLOSING: Duration = Duration::from_millis(200);
/// Rounds of network, plugs and calls before the loop looks at its descriptors again.
const ROUNDS: usize = 8;
/// The signals that are reported instead of ending the supervisor, and the one that tells of children.
const SIGNALS: [i32; 5] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGCHLD];

/// Names a program that was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProgramId(usize);

/// One of the two streams that a program prints to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StdStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum SupervisorEvent {
    /// A program printed something.
    Output {
        /// Which program.
        program: ProgramId,
        /// Where to.
        stream: StdStream,
        /// What, in pieces as they came.
        data: Vec<u8>,
    },
    /// A program ended, and all it printed was reported. Its descendants may still run.
    Exited {
        /// Which program.
        program: ProgramId,
        /// How it ended.
        status: ExitStatus,
    },
    /// The supervisor got a signal that is meant to end or interrupt it.
    Signal {
        /// Its number.
        signal: i32,
        /// Whether a process sent it. The kernel sends a terminal's to the whole process group, so
        /// programs that share it have got it already.
        from_process: bool,
    },
    /// The network in another process is about to end: the programs are to end.
    NetworkEnding,
    /// The network in another process has ended: socket calls fail from now on.
    NetworkGone,
    /// The process that would end what this one leaves behind has ended: the programs are to be killed.
    GuardGone,
}

/// Runs programs on the hosts of a network.
///
/// Whoever owns it calls [`Supervisor::turn`] again and again: nothing happens otherwise, and programs wait
/// in their calls. Dropping it kills the programs it started.
#[derive(Debug)]
pub struct Supervisor {
    agent: Agent,
    poller: Poller,
    clock: Clock,
    programs: Vec<Program>,
    events: VecDeque<SupervisorEvent>,
    signals: SignalFd,
    open_files: Option<u64>,
    due: Option<Instant>,
    reaps_orphans: bool,
    /// The process that the shell waits for, if it isn't this one.
    front: Option<OwnedFd>,
    /// A process at whose end the programs are to end.
    guard: Option<OwnedFd>,
    /// Whether that one has ended.
    is_unguarded: bool,
    /// Whether the loop waits for room to send to a network in another process.
    awaits_room: bool,
}

impl Supervisor {
    /// A supervisor of a network made by `NetworkBuilder::build_manual`, which it turns from now on.
    ///
    /// The calling thread no longer dies of SIGINT, SIGTERM, SIGHUP and SIGQUIT: they are reported. This
    /// process becomes the parent of its programs' orphans, and its limit on open files is raised.
    pub fn new(network: Network, outside: Outside) -> io::Result<Supervisor> {
        let poller = Poller::new()?;
        let core = Core::new(network, poller.share()?, outside)?;
        Supervisor::attached(poller, Attachment::Local(Box::new(core)))
    }

    /// A supervisor of programs on a host of a network in another process.
    ///
    /// What [`Supervisor::new`] says of signals, orphans and open files holds here too.
    pub fn join(membership: Membership) -> io::Result<Supervisor> {
        let poller = Poller::new()?;
        let joined = Joined::new(membership.channel);
        poller.watch(joined.channel(), Token::Network, EventFlags::IN)?;
        Supervisor::attached(poller, Attachment::Joined(Box::new(joined)))
    }

    /// From now on, this process isn't stopped when the program stops: the process in front is, and this
    /// one answers on. A terminal's stop doesn't stop it either.
    pub fn set_front(&mut self, front: OwnedFd) {
        self.front = Some(front);
        sys::block_signals(&[libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU]);
    }

    /// From now on, tells when this process has ended.
    pub fn set_guard(&mut self, guard: OwnedFd) -> io::Result<()> {
        self.poller.watch(&guard, Token::Guard, EventFlags::IN)?;
        self.guard = Some(guard);
        Ok(())
    }

    fn attached(poller: Poller, attachment: Attachment) -> io::Result<Supervisor> {
        let clock = match &attachment {
            Attachment::Local(core) => core.clock,
            Attachment::Joined(_) => Clock::start(),
        };
        let signals = SignalFd::new(&SIGNALS)?;
        poller.watch(&signals, Token::Signals, EventFlags::IN)?;
        rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1))?;
        let limit = getrlimit(Resource::Nofile);
        // Two descriptors a connection: the ordinary soft limit is soon reached.
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).ok();
        Ok(Supervisor {
            agent: Agent::new(poller.share()?, attachment),
            poller,
            clock,
            programs: Vec::new(),
            events: VecDeque::new(),
            signals,
            open_files: limit.current,
            due: None,
            reaps_orphans: false,
            front: None,
            guard: None,
            is_unguarded: false,
            awaits_room: false,
        })
    }

    /// From now on, clears away descendants of programs that outlived their parents and then ended. Every
    /// child of this process counts: only for a process that starts none but through this supervisor.
    pub fn reap_orphans(&mut self) {
        self.reaps_orphans = true;
    }

    /// From now on, asks others for names that no host of the network has: these name servers, or by default
    /// those of the machine's resolv.conf, also when that changes. Without this, such names don't exist.
    ///
    /// Only of a network in this process.
    pub fn forward_names(&mut self, servers: Option<&[SocketAddr]>) -> io::Result<()> {
        let Attachment::Local(core) = &mut self.agent.attachment else { return Ok(()) };
        core.tick();
        core.forward_names(servers)
    }

    /// Has ports of the machine lead to a host of this process's network.
    pub fn publish(&mut self, host: HostId, ports: PublishSpec) -> Result<(), PublishError> {
        let Attachment::Local(core) = &mut self.agent.attachment else { return Ok(()) };
        core.publish(host, ports)
    }

    /// The network, if it is this process's own.
    pub fn network(&self) -> Option<&Network> {
        self.core().map(|core| core.world.network())
    }

    fn core(&self) -> Option<&Core> {
        match &self.agent.attachment {
            Attachment::Local(core) => Some(core),
            Attachment::Joined(_) => None,
        }
    }

    /// Starts a program.
    pub fn spawn(&mut self, spec: &ProgramSpec) -> Result<ProgramId, LaunchError> {
        let has = |core: &Core| spec.host.is_some_and(|host| core.world.has(host));
        if self.core().is_some_and(|core| !has(core)) {
            return Err(LaunchError::System(io::Error::other("the host is of another network")));
        }
        let surroundings =
            Surroundings { signal_mask: self.signals.previous_mask(), open_files: self.open_files };
        let Launched { pid, pidfd, listener, output, leads_group } = launch(spec, surroundings)?;
        let index = self.programs.len();
        self.poller.watch(&pidfd, Token::Exit(index), EventFlags::IN)?;
        for (stream, pipe) in output.iter().enumerate() {
            if let Some(pipe) = pipe {
                self.poller.watch(pipe, Token::Output(index, stream as u8), EventFlags::IN)?;
            }
        }
        self.agent.add_tree(Tree { listener, host: spec.host })?;
        self.programs.push(Program { pid, pidfd, output, leads_group, status: None, reported: false });
        self.tell_network(&ToNetwork::Started { pid: pid.as_raw_nonzero().get() as u32 });
        Ok(ProgramId(index))
    }

    fn tell_network(&mut self, message: &ToNetwork) {
        if let Attachment::Joined(joined) = &mut self.agent.attachment {
            joined.tell(message);
        }
    }

    /// Waits until the connections that the programs closed have carried their last bytes, at most for
    /// `linger`, or until a signal comes. To be called when no program runs any more, if for the last time.
    pub fn drain(&mut self, linger: Duration) -> io::Result<()> {
        self.tell_network(&ToNetwork::Leaving);
        if let Attachment::Local(core) = &mut self.agent.attachment {
            core.sweep_after(MemberId::LOCAL);
        }
        let start = std::time::Instant::now();
        let deadline = start + linger;
        let known = self.events.len();
        while !self.is_drained(start.elapsed() > CLOSING) && std::time::Instant::now() < deadline {
            self.turn(Some(DRAIN_LOOK))?;
            if self.events.iter().skip(known).any(|event| matches!(event, SupervisorEvent::Signal { .. })) {
                break;
            }
        }
        Ok(())
    }

    fn is_drained(&mut self, passed_on: bool) -> bool {
        match &mut self.agent.attachment {
            Attachment::Local(core) => {
                !core.is_draining(MemberId::LOCAL, passed_on) && !core.is_any_draining()
            }
            Attachment::Joined(joined) => joined.is_drained(),
        }
    }

    /// Whether the network has ended, or is about to.
    pub fn is_without_network(&self) -> bool {
        self.agent.attachment.is_ending()
            || matches!(&self.agent.attachment, Attachment::Joined(joined) if joined.is_gone())
    }

    /// Tells the network that the program has ended and that descendants of it go on.
    pub fn program_ended(&mut self) {
        self.tell_network(&ToNetwork::Ended);
    }

    /// Sends a signal to a program that still runs, and to its process group if it leads one.
    pub fn kill(&self, program: ProgramId, signal: i32) {
        let Some(program) = self.programs.get(program.0).filter(|program| program.status.is_none()) else {
            return;
        };
        // It is our child and not reaped, so its number is still its own.
        if let Some(signal) = Signal::from_named_raw(signal) {
            if program.leads_group {
                rustix::process::kill_process_group(program.pid, signal).ok();
            } else {
                rustix::process::pidfd_send_signal(&program.pidfd, signal).ok();
            }
        }
    }

    /// Whether a program's socket serves this port of this host: it listens (TCP) or is bound (UDP). Only of
    /// a network in this process.
    pub fn is_listening(&self, host: HostId, port: u16) -> bool {
        self.core().is_some_and(|core| {
            core.sockets.records().any(|record| {
                record.host == host
                    && matches!(record.socket, Socket::Listener(_) | Socket::Datagram(_))
                    && core
                        .world
                        .with(host, |stack| stack.local_addr(record.id))
                        .is_ok_and(|addr| addr.port == port)
            })
        })
    }

    /// Whether a program, or a descendant of one, still runs on this host.
    pub fn is_busy(&self, host: HostId) -> bool {
        self.agent.trees().any(|tree| tree.host == Some(host))
    }

    /// Whether a program, or a descendant of one, still runs.
    pub fn has_programs(&self) -> bool {
        self.agent.trees().next().is_some()
    }

    /// How many sockets the programs have, in a network of this process.
    pub fn socket_count(&self) -> usize {
        self.core().map_or(0, |core| core.sockets.live())
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<SupervisorEvent> {
        self.events.pop_front()
    }

    /// Waits until something happens, at most for `limit`, and handles it. Errors are the supervisor's own.
    pub fn turn(&mut self, limit: Option<Duration>) -> io::Result<()> {
        let busy = self.core().is_some_and(Core::is_busy) || self.agent.is_busy();
        let until_due = self.due.map(|due| due.saturating_since(self.clock.now()));
        let limit = if busy { Some(Duration::ZERO) } else { [limit, until_due].into_iter().flatten().min() };
        let events = self.poller.wait(limit)?;
        self.agent.now = self.clock.now();
        if let Attachment::Local(core) = &mut self.agent.attachment {
            core.tick();
        }
        // Calls come last, so that each finds closed what was closed before it.
        for event in &events {
            self.on_event(*event);
        }
        for event in &events {
            if let Token::Calls(tree) = event.token {
                self.agent.on_calls(tree, event.flags);
            }
        }
        self.due = self.settle();
        self.update_interest();
        Ok(())
    }

    fn on_event(&mut self, PollEvent { token, flags }: PollEvent) {
        match token {
            Token::Calls(_) => {}
            Token::Exit(program) => self.on_exit(program),
            Token::Output(program, stream) => drop(self.on_output(program, stream.into())),
            Token::Signals => self.on_signals(),
            Token::Guard => {
                if let Some(guard) = self.guard.take() {
                    self.poller.forget(&guard);
                    self.is_unguarded = true;
                    self.events.push_back(SupervisorEvent::GuardGone);
                }
            }
            Token::Network => self.on_network(flags),
            token => {
                if let Attachment::Local(core) = &mut self.agent.attachment {
                    core.on_event(token, flags);
                }
            }
        }
    }

    /// A network in another process said something, or takes more.
    fn on_network(&mut self, flags: EventFlags) {
        if let Attachment::Joined(joined) = &mut self.agent.attachment
            && flags.contains(EventFlags::OUT)
        {
            joined.flush();
        }
        let was_ending = self.agent.attachment.is_ending();
        if !self.agent.hear_network() {
            if let Attachment::Joined(joined) = &self.agent.attachment {
                self.poller.forget(joined.channel());
            }
            self.events.push_back(SupervisorEvent::NetworkGone);
        } else if !was_ending && self.agent.attachment.is_ending() {
            self.events.push_back(SupervisorEvent::NetworkEnding);
        }
    }

    /// Waits for room to send to the network exactly while something waits to be sent.
    fn update_interest(&mut self) {
        let Attachment::Joined(joined) = &self.agent.attachment else { return };
        if joined.channel().is_blocked() != self.awaits_room && !joined.is_gone() {
            self.awaits_room = joined.channel().is_blocked();
            let room = if self.awaits_room { EventFlags::OUT } else { EventFlags::empty() };
            self.poller.rewatch(joined.channel(), Token::Network, EventFlags::IN | room).ok();
        }
    }

    /// Lets network, plugs and calls go on until they are at rest or have had their share; returns when to
    /// come back.
    fn settle(&mut self) -> Option<Instant> {
        let mut due = None;
        for _ in 0..ROUNDS {
            if let Attachment::Local(core) = &mut self.agent.attachment {
                due = core.settle();
            }
            if !self.agent.catch_up() {
                break;
            }
            due = Some(self.agent.now);
        }
        [due, self.agent.expire()].into_iter().flatten().min()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        for index in 0..self.programs.len() {
            self.kill(ProgramId(index), libc::SIGKILL);
            self.programs[index].wait();
        }
    }
}
