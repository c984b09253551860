//! The loop: programs' calls, plugs, the network and its timers, all in one thread and one epoll.

mod descendants;

use crate::call::Call;
use crate::core::{Core, Token, Tree, TreeId};
use crate::dns::service::Service;
use crate::dns::{Names, ResolvConf, Zone};
use crate::filter::Syscall;
use crate::launch::{LaunchError, Launched, ProgramSpec, Surroundings, launch};
use crate::sockets::{Record, Socket};
use crate::sys::{self, Response, SignalFd};
use crate::world::World;
use crate::{calls, stream};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, setrlimit, waitid};
use sockeye::{HostId, Network};
use sockeye_packet::Instant;
use sockeye_stack::{Event, SocketId};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

/// Events taken from epoll at once.
const EVENTS: usize = 256;
/// Calls taken from one listener in a row.
const CALLS: usize = 32;
/// Changes of sockets handled in one round: a socket that changes by being handled must not hold up the loop.
const CHANGES: usize = 4096;
/// Rounds of network and plugs before the loop looks at its descriptors again.
const ROUNDS: usize = 8;
/// Most bytes taken from a program's output at once.
const OUTPUT: usize = 64 * 1024;
/// Most children reaped at one signal.
const REAPED: usize = 1024;
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
}

/// Runs programs on the hosts of a network.
///
/// Whoever owns it calls [`Supervisor::turn`] again and again: nothing happens otherwise, and programs wait
/// in their calls. Dropping it kills the programs it started.
#[derive(Debug)]
pub struct Supervisor {
    core: Core,
    origin: std::time::Instant,
    programs: Vec<Program>,
    events: VecDeque<SupervisorEvent>,
    signals: SignalFd,
    open_files: Option<u64>,
    due: Option<Instant>,
    reaps_orphans: bool,
}

#[derive(Debug)]
struct Program {
    pid: Pid,
    pidfd: OwnedFd,
    output: [Option<File>; 2],
    leads_group: bool,
    status: Option<ExitStatus>,
    reported: bool,
}

impl Supervisor {
    /// A supervisor of a network made by `NetworkBuilder::build_manual`, which it turns from now on.
    ///
    /// The calling thread no longer dies of SIGINT, SIGTERM, SIGHUP and SIGQUIT: they are reported. This
    /// process becomes the parent of its programs' orphans, and its limit on open files is raised.
    pub fn new(network: Network) -> io::Result<Supervisor> {
        let world = World::new(network);
        let signals = SignalFd::new(&SIGNALS)?;
        let machine = ResolvConf::of_this_machine();
        let zone = zone_of(&world, &machine.search);
        let services = open_services(&world, &machine.servers)?;
        let core = Core::new(world, Names::new(zone), services)?;
        core.watch(&signals, Token::Signals, epoll::EventFlags::IN)?;
        rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1))?;
        let limit = getrlimit(Resource::Nofile);
        // Two descriptors a connection: the ordinary soft limit is soon reached.
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).ok();
        Ok(Supervisor {
            core,
            origin: std::time::Instant::now(),
            programs: Vec::new(),
            events: VecDeque::new(),
            signals,
            open_files: limit.current,
            due: None,
            reaps_orphans: false,
        })
    }

    /// From now on, clears away descendants of programs that outlived their parents and then ended. Every
    /// child of this process counts: only for a process that starts none but through this supervisor.
    pub fn reap_orphans(&mut self) {
        self.reaps_orphans = true;
    }

    /// From now on, asks others for names that no host of the network has: these name servers, or by default
    /// those of the machine's resolv.conf, also when that changes. Without this, such names don't exist.
    pub fn forward_names(&mut self, servers: Option<&[SocketAddr]>) -> io::Result<()> {
        let is_watched = self.core.names.fd().is_some();
        self.core.names.forward(self.now(), servers)?;
        match self.core.names.fd() {
            Some(fd) if !is_watched => self.core.watch(fd, Token::Names, epoll::EventFlags::IN),
            _ => Ok(()),
        }
    }

    /// The network.
    pub fn network(&self) -> &Network {
        self.core.world.network()
    }

    /// Starts a program.
    pub fn spawn(&mut self, spec: &ProgramSpec) -> Result<ProgramId, LaunchError> {
        if !self.core.world.has(spec.host) {
            return Err(LaunchError::System(io::Error::other("the host is of another network")));
        }
        let surroundings =
            Surroundings { signal_mask: self.signals.previous_mask(), open_files: self.open_files };
        let Launched { pid, pidfd, listener, output, leads_group } = launch(spec, surroundings)?;
        let index = self.programs.len();
        self.core.watch(&pidfd, Token::Exit(index), epoll::EventFlags::IN)?;
        for (stream, pipe) in output.iter().enumerate() {
            if let Some(pipe) = pipe {
                self.core.watch(pipe, Token::Output(index, stream as u8), epoll::EventFlags::IN)?;
            }
        }
        self.core.add_tree(Tree { listener, host: spec.host })?;
        self.programs.push(Program { pid, pidfd, output, leads_group, status: None, reported: false });
        Ok(ProgramId(index))
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

    /// Whether a program's socket serves this port of this host: it listens (TCP) or is bound (UDP).
    pub fn is_listening(&self, host: HostId, port: u16) -> bool {
        self.core.sockets.records().any(|record| {
            record.host == host
                && matches!(record.socket, Socket::Listener(_) | Socket::Datagram(_))
                && self
                    .core
                    .world
                    .with(host, |stack| stack.local_addr(record.id))
                    .is_ok_and(|addr| addr.port == port)
        })
    }

    /// Whether a program, or a descendant of one, still runs on this host.
    pub fn is_busy(&self, host: HostId) -> bool {
        self.core.trees().any(|tree| tree.host == host)
    }

    /// How many sockets the programs have.
    pub fn socket_count(&self) -> usize {
        self.core.sockets.live()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<SupervisorEvent> {
        self.events.pop_front()
    }

    /// Waits until something happens, at most for `limit`, and handles it. Errors are the supervisor's own.
    pub fn turn(&mut self, limit: Option<Duration>) -> io::Result<()> {
        let busy =
            !self.core.unfinished.is_empty() || !self.core.queries.is_empty() || !self.events.is_empty();
        let until_due = self.due.map(|due| due.saturating_since(self.now()));
        let timeout =
            if busy { Some(Duration::ZERO) } else { [limit, until_due].into_iter().flatten().min() };
        let timeout = timeout.map(|wait| Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        });
        let mut buffer = [MaybeUninit::<epoll::Event>::uninit(); EVENTS];
        let events = match epoll::wait(self.core.epoll(), &mut buffer, timeout.as_ref()) {
            Ok((events, _)) => &*events,
            Err(rustix::io::Errno::INTR) => &[],
            Err(error) => return Err(error.into()),
        };
        self.core.now = self.now();
        self.core.world.network().set_now(self.core.now);
        // Calls come last, so that each finds closed what was closed before it.
        for event in events {
            match Token::from_bits(event.data.u64()) {
                Token::Calls(_) => {}
                Token::Plug(key) => stream::on_plug(&mut self.core, key, event.flags),
                Token::Exit(program) => self.on_exit(program),
                Token::Output(program, stream) => drop(self.on_output(program, stream.into())),
                Token::Signals => self.on_signals(),
                Token::Names => self.core.names.on_ready(self.core.now),
            }
        }
        for event in events {
            if let Token::Calls(tree) = Token::from_bits(event.data.u64()) {
                self.on_calls(tree, event.flags);
            }
        }
        self.due = self.core.settle();
        Ok(())
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn on_calls(&mut self, tree: TreeId, flags: epoll::EventFlags) {
        for _ in 0..CALLS {
            let Some(Tree { listener, host }) = self.core.tree(tree) else { return };
            let host = *host;
            // Receiving blocks when there is nothing, so each is asked for first.
            let mut ready = [PollFd::new(listener, PollFlags::IN)];
            let none = Timespec { tv_sec: 0, tv_nsec: 0 };
            if poll(&mut ready, Some(&none)).is_err() || !ready[0].revents().contains(PollFlags::IN) {
                break;
            }
            // A thread that was killed meanwhile has taken its call along.
            let Ok(notification) = sys::receive_notification(listener.as_fd()) else { continue };
            let id = notification.id;
            let Some(syscall) = Syscall::from_number(notification.number) else {
                sys::send_response(listener.as_fd(), id, Response::Continue).ok();
                continue;
            };
            let call = Call {
                tree,
                host,
                id,
                tid: notification.tid,
                syscall,
                args: notification.args,
                waited_for: None,
            };
            self.core.unpark(call.tid);
            if matches!(syscall, Syscall::Bind | Syscall::Listen | Syscall::Connect) {
                self.hear_plugs();
            }
            let reply = calls::handle(&mut self.core, &call);
            tracing::trace!(tid = call.tid, ?syscall, args = ?call.args, ?reply, "call");
            self.core.finish(&call, &reply);
        }
        if flags.contains(epoll::EventFlags::HUP) {
            self.core.remove_tree(tree);
        }
    }

    /// Handles what plugs have told so far: a call on an address must find closed what the program closed
    /// before it made that call, and did so after this turn's events were fetched. Other events stay for the next turn.
    fn hear_plugs(&mut self) {
        for _ in 0..ROUNDS {
            let mut buffer = [MaybeUninit::<epoll::Event>::uninit(); EVENTS];
            let none = Timespec { tv_sec: 0, tv_nsec: 0 };
            let Ok((events, rest)) = epoll::wait(self.core.epoll(), &mut buffer, Some(&none)) else { return };
            for event in &*events {
                if let Token::Plug(key) = Token::from_bits(event.data.u64()) {
                    stream::on_plug(&mut self.core, key, event.flags);
                }
            }
            if !rest.is_empty() {
                return;
            }
        }
    }

    /// Reads what a program printed, once; says how many bytes.
    fn on_output(&mut self, index: usize, stream: usize) -> usize {
        let Some(pipe) = self.programs.get_mut(index).and_then(|program| program.output.get_mut(stream))
        else {
            return 0;
        };
        let Some(file) = pipe else { return 0 };
        let mut data = vec![0; OUTPUT];
        match file.read(&mut data) {
            Ok(0) => *pipe = None,
            Ok(read) => {
                data.truncate(read);
                data.shrink_to_fit();
                let stream = if stream == 0 { StdStream::Stdout } else { StdStream::Stderr };
                self.events.push_back(SupervisorEvent::Output { program: ProgramId(index), stream, data });
                return read;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => *pipe = None,
        }
        0
    }

    fn on_exit(&mut self, index: usize) {
        let Some(program) = self.programs.get_mut(index) else { return };
        if program.status.is_none() {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            let Ok(Some(status)) = waitid(WaitId::PidFd(program.pidfd.as_fd()), options) else { return };
            let code = status.exit_status().map(|code| code << 8);
            let raw = code.or(status.terminating_signal()).unwrap_or(0);
            program.status = Some(ExitStatus::from_raw(raw));
            epoll::delete(self.core.epoll(), &program.pidfd).ok();
        }
        // What it printed before comes first; a descendant may hold the pipe open, which isn't waited for, and
        // may print without end.
        for stream in 0..2 {
            let pipe = self.programs[index].output[stream].as_ref();
            let mut left = pipe.and_then(|pipe| rustix::io::ioctl_fionread(pipe).ok()).unwrap_or(0);
            while left > 0 {
                match self.on_output(index, stream) {
                    0 => break,
                    read => left = left.saturating_sub(read as u64),
                }
            }
        }
        let Some(program) = self.programs.get_mut(index) else { return };
        if let Some(status) = program.status
            && !std::mem::replace(&mut program.reported, true)
        {
            self.events.push_back(SupervisorEvent::Exited { program: ProgramId(index), status });
        }
    }

    fn on_signals(&mut self) {
        while let Some(info) = self.signals.read() {
            if info.signal == libc::SIGCHLD {
                self.stop_along();
                self.reap();
                continue;
            }
            self.events
                .push_back(SupervisorEvent::Signal { signal: info.signal, from_process: info.from_process });
        }
    }

    /// Stops this process when a program of its process group has stopped (itself, as editors do), so that the
    /// shell gets its prompt back; the shell's SIGCONT goes to both.
    fn stop_along(&self) {
        let group =
            || self.programs.iter().filter(|program| !program.leads_group && program.status.is_none());
        let stopped = |options| {
            let options = options | WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
            group().any(|program| {
                waitid(WaitId::PidFd(program.pidfd.as_fd()), options).is_ok_and(|s| s.is_some())
            })
        };
        if stopped(WaitIdOptions::NOWAIT) {
            // The SIGCONT that ends a stop of the whole group may have reached this process first.
            std::thread::sleep(Duration::from_millis(1));
            if stopped(WaitIdOptions::empty()) {
                rustix::process::kill_process(rustix::process::getpid(), Signal::STOP).ok();
            }
        }
    }

    fn reap(&mut self) {
        if !self.reaps_orphans {
            return;
        }
        for _ in 0..REAPED {
            let Some(pid) = sys::ended_child().and_then(Pid::from_raw) else { return };
            match self.programs.iter().position(|program| program.pid == pid && program.status.is_none()) {
                Some(index) => self.on_exit(index),
                None => drop(waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)),
            }
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        for index in 0..self.programs.len() {
            self.kill(ProgramId(index), libc::SIGKILL);
            let program = &self.programs[index];
            if program.status.is_none() {
                waitid(WaitId::PidFd(program.pidfd.as_fd()), WaitIdOptions::EXITED).ok();
            }
        }
    }
}

impl Core {
    /// Lets network and plugs work until they are at rest or have had their share; returns when to come back.
    fn settle(&mut self) -> Option<Instant> {
        let mut due = None;
        let mut names_due = None;
        for _ in 0..ROUNDS {
            for _ in 0..self.unfinished.len() {
                let Some(key) = self.unfinished.pop_front() else { break };
                if let Some(Record { socket: Socket::Stream(stream), .. }) = self.sockets.get_mut(key) {
                    stream.dequeue();
                }
                stream::on_stack(self, key);
            }
            for (host, id) in std::mem::take(&mut self.queries) {
                self.serve_names(host, id);
            }
            names_due = self.answer_late();
            due = self.world.turn(self.now);
            let mut moved = !self.queries.is_empty();
            for _ in 0..CHANGES {
                let Some((host, Event::Ready(id))) = self.world.poll_event() else { break };
                moved = true;
                match self.sockets.by_id(host, id) {
                    Some(key) => stream::on_stack(self, key),
                    None => self.serve_names(host, id),
                }
            }
            while let Some(call) = self.next_awake() {
                moved = true;
                let reply = calls::handle(self, &call);
                self.finish(&call, &reply);
            }
            if !moved {
                break;
            }
            due = Some(self.now);
        }
        [due, names_due, self.expire()].into_iter().flatten().min()
    }
}

impl Core {
    /// A socket of no program became ready: a name server's.
    fn serve_names(&mut self, host: HostId, id: SocketId) {
        let Some(service) = self.services.get_mut(&host).filter(|service| service.owns(id)) else { return };
        let (now, names) = (self.now, &mut self.names);
        if self.world.with(host, |stack| service.on_ready(stack, now, id, names)) {
            self.queries.push((host, id));
        }
    }

    /// Delivers what name servers outside have answered, or not in time; returns when to come back.
    fn answer_late(&mut self) -> Option<Instant> {
        loop {
            let due = self.names.on_timeout(self.now);
            let Some((to, answer)) = self.names.poll_answer() else { return due };
            let Some(service) = self.services.get_mut(&to.host) else { continue };
            let (now, names) = (self.now, &mut self.names);
            if self.world.with(to.host, |stack| service.deliver(stack, now, to, answer, names)) {
                self.queries.push((to.host, to.socket));
            }
        }
    }
}

/// The names of a network's hosts.
fn zone_of(world: &World, search: &[String]) -> Zone {
    let mut zone = Zone::new(search);
    for host in world.hosts() {
        zone.add(host.name(), &[IpAddr::from(host.ipv4()), host.ipv6().into()]);
    }
    for subnet in world.network().subnets() {
        zone.add_subnet(subnet);
    }
    zone
}

/// Opens the name servers: on the gateway at its own addresses and at those that the machine's
/// resolv.conf names, on each host at those of them that are loopback addresses.
fn open_services(world: &World, servers: &[IpAddr]) -> io::Result<HashMap<HostId, Service>> {
    let failed = |error: sockeye_stack::Error| {
        io::Error::other(format!("can't open the network's name server: {error}"))
    };
    let now = Instant::default();
    let (local, outside): (Vec<IpAddr>, Vec<IpAddr>) =
        servers.iter().partition(|address| address.is_loopback());
    let gateway = world.network().gateway();
    let mut addresses = vec![IpAddr::from(gateway.ipv4()), gateway.ipv6().into()];
    for address in outside {
        // One that a host of the network has is that host's.
        if world.network().add_address(&gateway, address).is_ok() {
            addresses.push(address);
        }
    }
    let mut services = HashMap::new();
    for host in world.hosts() {
        let own = if host.id() == gateway.id() { &addresses } else { &local };
        let service =
            world.with(host.id(), |stack| Service::open(stack, now, host.id(), own)).map_err(failed)?;
        services.insert(host.id(), service);
    }
    Ok(services)
}
