//! Leader election under partitions, in simulation: the election part of Raft (Ongaro and Ousterhout 2014, §5.2)
//! on five hosts, while links are cut, packets held, and hosts crashed and restarted.
//!
//!     cargo run -p sockeye --example election --features simulation [SEED [CAPTURE]]
//!
//! Prints who led when. Fails if a term ever has two leaders, or if nobody leads once all is well again.

use sockeye::packet::Rng;
use sockeye::simulation::current_host;
use sockeye::tokio::UdpSocket;
use sockeye::{Host, HostConfig, Instant, NetemConfig, Network, Simulation};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant as Moment, timeout_at};

const NODES: usize = 5;
const PORT: u16 = 7000;
/// How often a leader tells the others that it leads.
const HEARTBEAT: Duration = Duration::from_millis(50);
/// A follower that hears of no leader for this long, and up to as long again, stands for election.
const PATIENCE: Duration = Duration::from_millis(150);
/// How many troubles there are, and how long each lasts.
const TROUBLES: usize = 20;
const TROUBLE: Duration = Duration::from_secs(2);

#[allow(dead_code, reason = "a test includes this file")]
fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let seed = args.next().map_or(Ok(1), |seed| seed.parse())?;
    let mut builder = Network::builder().seed(seed);
    if let Some(path) = args.next() {
        builder = builder.capture(path);
    }
    print!("{}", run(&mut builder.simulate()?)?);
    Ok(())
}

/// What a node must not forget in a crash.
#[derive(Clone, Copy, Default)]
struct Disk {
    term: u64,
    voted_for: Option<u8>,
}

/// What one node says to another, with its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    /// Vote for me.
    RequestVote,
    /// You have my vote.
    Vote,
    /// I lead this term.
    Heartbeat,
}

impl Message {
    fn encode(self, term: u64, from: u8) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[0] = self as u8;
        bytes[1] = from;
        bytes[2..].copy_from_slice(&term.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<(Message, u64, u8)> {
        let (&[kind, from], term) = bytes.split_first_chunk()?;
        let message = [Message::RequestVote, Message::Vote, Message::Heartbeat]
            .into_iter()
            .find(|&message| message as u8 == kind)?;
        Some((message, u64::from_be_bytes(term.try_into().ok()?), from))
    }
}

#[derive(Clone, PartialEq, Eq)]
enum Role {
    Follower,
    Candidate { votes: BTreeSet<u8> },
    Leader,
}

/// What all nodes share, outside of the network: the observer's notebook.
#[derive(Default)]
struct Notes {
    disks: [Disk; NODES],
    /// Who has led each term, and since when.
    leaders: BTreeMap<u64, (u8, Instant)>,
    /// Terms that two nodes led.
    broken: Vec<u64>,
}

/// One node, while its host is up.
struct Node {
    me: u8,
    socket: UdpSocket,
    peers: Rc<[SocketAddr]>,
    notes: Rc<RefCell<Notes>>,
    clock: Network,
    rng: Rng,
    role: Role,
    /// When a follower's patience ends, or the next heartbeat is due.
    deadline: Moment,
}

impl Node {
    async fn run(mut self) -> io::Result<()> {
        self.wait_for_a_leader();
        loop {
            let mut buf = [0; 64];
            match timeout_at(self.deadline, self.socket.recv_from(&mut buf)).await {
                Err(_) => self.on_timeout().await?,
                Ok(received) => {
                    let (len, _) = received?;
                    if let Some((message, term, from)) = Message::decode(&buf[..len]) {
                        self.on_message(message, term, from).await?;
                    }
                }
            }
        }
    }

    async fn on_timeout(&mut self) -> io::Result<()> {
        if self.role == Role::Leader {
            self.deadline = Moment::now() + HEARTBEAT;
            return self.tell_all(Message::Heartbeat).await;
        }
        let (term, me) = (self.disk().term + 1, self.me);
        self.save(Disk { term, voted_for: Some(me) });
        self.role = Role::Candidate { votes: BTreeSet::from([me]) };
        self.wait_for_a_leader();
        self.tell_all(Message::RequestVote).await
    }

    async fn on_message(&mut self, message: Message, term: u64, from: u8) -> io::Result<()> {
        if term > self.disk().term {
            self.save(Disk { term, voted_for: None });
            if self.role != Role::Follower {
                self.role = Role::Follower;
                self.wait_for_a_leader();
            }
        }
        let disk = self.disk();
        if term < disk.term {
            return Ok(());
        }
        match message {
            Message::RequestVote if disk.voted_for.is_none_or(|to| to == from) => {
                self.save(Disk { voted_for: Some(from), ..disk });
                self.wait_for_a_leader();
                self.tell(from, Message::Vote).await
            }
            Message::Vote => {
                let Role::Candidate { votes } = &mut self.role else { return Ok(()) };
                votes.insert(from);
                if votes.len() <= NODES / 2 {
                    return Ok(());
                }
                self.role = Role::Leader;
                self.note_victory(term);
                self.deadline = Moment::now() + HEARTBEAT;
                self.tell_all(Message::Heartbeat).await
            }
            Message::Heartbeat => {
                self.role = Role::Follower;
                self.wait_for_a_leader();
                Ok(())
            }
            Message::RequestVote => Ok(()),
        }
    }

    fn note_victory(&self, term: u64) {
        let mut notes = self.notes.borrow_mut();
        let before = notes.leaders.insert(term, (self.me, self.clock.now()));
        if before.is_some_and(|(leader, _)| leader != self.me) {
            notes.broken.push(term);
        }
    }

    async fn tell_all(&self, message: Message) -> io::Result<()> {
        for to in (0..NODES as u8).filter(|&to| to != self.me) {
            self.tell(to, message).await?;
        }
        Ok(())
    }

    async fn tell(&self, to: u8, message: Message) -> io::Result<()> {
        let datagram = message.encode(self.disk().term, self.me);
        self.socket.send_to(&datagram, self.peers[usize::from(to)]).await.map(drop)
    }

    fn wait_for_a_leader(&mut self) {
        let patience = PATIENCE.mul_f64(1.0 + self.rng.fraction());
        self.deadline = Moment::now() + patience;
    }

    fn disk(&self) -> Disk {
        self.notes.borrow().disks[usize::from(self.me)]
    }

    fn save(&self, disk: Disk) {
        self.notes.borrow_mut().disks[usize::from(self.me)] = disk;
    }
}

/// What happens to the hosts for a while.
#[derive(Debug)]
enum Trouble {
    /// These can't reach the others.
    Partition(BTreeSet<usize>),
    /// What passes between these two waits.
    Hold(usize, usize),
    /// This one is down.
    Crash(usize),
}

impl Trouble {
    fn draw(rng: &mut Rng) -> Trouble {
        let mut node = || rng.below(NODES as u64) as usize;
        let (a, b, kind) = (node(), node(), node());
        match kind {
            0 | 1 => Trouble::Partition(BTreeSet::from([a, b])),
            2 if a != b => Trouble::Hold(a, b),
            _ => Trouble::Crash(a),
        }
    }

    fn begin(&self, sim: &mut Simulation, hosts: &[Host]) {
        match self {
            Trouble::Partition(few) => pairs(few).for_each(|(a, b)| sim.partition(&hosts[a], &hosts[b])),
            Trouble::Hold(a, b) => sim.hold(&hosts[*a], &hosts[*b]),
            Trouble::Crash(a) => sim.crash(&hosts[*a]),
        }
    }

    fn end(&self, sim: &mut Simulation, hosts: &[Host]) {
        match self {
            Trouble::Partition(few) => pairs(few).for_each(|(a, b)| sim.heal(&hosts[a], &hosts[b])),
            Trouble::Hold(a, b) => sim.release(&hosts[*a], &hosts[*b]),
            Trouble::Crash(a) => sim.restart(&hosts[*a]),
        }
    }
}

/// Each of the few with each of the others.
fn pairs(few: &BTreeSet<usize>) -> impl Iterator<Item = (usize, usize)> {
    few.iter().flat_map(|&a| (0..NODES).filter(|b| !few.contains(b)).map(move |b| (a, b)))
}

/// Runs an election through all troubles; what it was like.
pub(crate) fn run(sim: &mut Simulation) -> Result<String, Box<dyn Error>> {
    let link: NetemConfig = "delay 5ms 2ms loss 2%".parse()?;
    let mut hosts = Vec::new();
    for number in 0..NODES {
        hosts.push(sim.add_host(
            &format!("node-{number}"),
            HostConfig { link: link.into(), ..HostConfig::default() },
        )?);
    }
    let peers: Rc<[SocketAddr]> = hosts.iter().map(|host| (host.ipv4(), PORT).into()).collect();
    let notes = Rc::new(RefCell::new(Notes::default()));
    for (number, host) in hosts.iter().enumerate() {
        let (peers, notes, clock) = (Rc::clone(&peers), Rc::clone(&notes), sim.network().clone());
        let seeds = Rc::new(RefCell::new(sim.rng()));
        sim.program(host, move || {
            let (peers, notes, clock) = (Rc::clone(&peers), Rc::clone(&notes), clock.clone());
            let seeds = Rc::clone(&seeds);
            async move {
                let host = current_host()?;
                let socket = UdpSocket::bind(&host, (IpAddr::from(host.ipv4()), PORT)).await?;
                let rng = Rng::new(seeds.borrow_mut().next_seed());
                let deadline = Moment::now();
                let (me, role) = (number as u8, Role::Follower);
                Node { me, socket, peers, notes, clock, rng, role, deadline }.run().await
            }
        });
    }

    let mut report = String::new();
    let mut rng = sim.rng();
    for _ in 0..TROUBLES {
        let trouble = Trouble::draw(&mut rng);
        writeln!(report, "{:>10}  {trouble:?}", sim.now().to_string())?;
        trouble.begin(sim, &hosts);
        sim.run_for(TROUBLE);
        trouble.end(sim, &hosts);
        sim.run_for(TROUBLE);
        let notes = notes.borrow();
        if let Some(term) = notes.broken.first() {
            return Err(format!("term {term} has two leaders").into());
        }
        let (term, (leader, since)) = notes.leaders.last_key_value().ok_or("nobody was ever elected")?;
        let followers = notes.disks.iter().filter(|disk| disk.term == *term).count();
        if followers <= NODES / 2 {
            return Err(format!("at {} only {followers} nodes know of term {term}", sim.now()).into());
        }
        writeln!(report, "{:>10}  node-{leader} leads term {term} since {since}", sim.now().to_string())?;
    }
    Ok(report)
}
