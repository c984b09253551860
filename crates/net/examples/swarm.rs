//! A swarm in simulation: fifty peers exchange the pieces of a file, each with a few neighbours, until all of them have
//! all of it. One of them crashes on the way and begins anew.
//!
//!     cargo run -p sockeye --example swarm --features simulation [SEED [CAPTURE]]
//!
//! Only peer 0 has the file at first. Each peer asks its neighbours for the pieces that it sees least often, as
//! `BitTorrent` does (Cohen 2003, "rarest first").

use sockeye::packet::Rng;
use sockeye::simulation::{current_host, spawn};
use sockeye::tokio::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream};
use sockeye::{HostConfig, Instant, NetemConfig, Network, Simulation};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep;

const PEERS: usize = 50;
/// How many others each peer connects to.
const NEIGHBOURS: usize = 4;
const PIECES: usize = 64;
const PIECE: usize = 16 * 1024;
/// How many pieces a peer asks one neighbour for at a time.
const REQUESTS: usize = 4;
const PORT: u16 = 6881;
/// Who crashes, when, and for how long.
const UNLUCKY: usize = 7;
const CRASH_AT: Duration = Duration::from_millis(1500);
const DOWN_FOR: Duration = Duration::from_secs(2);
/// By when all must be done.
const LIMIT: Instant = Instant::from_secs(300);

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

/// What peers say to each other: a byte for the kind, the number of a piece, and the piece.
#[derive(Clone, Copy)]
enum Message {
    Have(usize),
    Request(usize),
    Piece(usize),
}

/// Another peer, as this one sees it.
struct Neighbour {
    has: [bool; PIECES],
    /// What it was asked for and hasn't sent yet.
    asked: BTreeSet<usize>,
    outbox: UnboundedSender<Message>,
}

/// One peer, while its host is up.
struct Peer {
    file: Rc<[u8]>,
    pieces: Vec<Option<Box<[u8]>>>,
    /// By the number of the connection.
    neighbours: BTreeMap<usize, Neighbour>,
    connections: usize,
    rng: Rng,
    done: Box<dyn Fn()>,
}

type Shared = Rc<RefCell<Peer>>;

impl Peer {
    /// Takes a connection in, and says what this peer has.
    fn join(&mut self) -> (usize, UnboundedReceiver<Message>) {
        let (outbox, messages) = unbounded_channel();
        for (number, piece) in self.pieces.iter().enumerate() {
            if piece.is_some() {
                let _ = outbox.send(Message::Have(number));
            }
        }
        self.connections += 1;
        let neighbour = Neighbour { has: [false; PIECES], asked: BTreeSet::new(), outbox };
        self.neighbours.insert(self.connections, neighbour);
        (self.connections, messages)
    }

    fn on_message(&mut self, from: usize, message: Message, data: &[u8]) -> io::Result<()> {
        let Some(neighbour) = self.neighbours.get_mut(&from) else { return Ok(()) };
        match message {
            Message::Have(piece) => neighbour.has[piece] = true,
            Message::Request(piece) if self.pieces[piece].is_some() => {
                let _ = neighbour.outbox.send(Message::Piece(piece));
            }
            Message::Request(_) => {}
            Message::Piece(piece) => {
                neighbour.asked.remove(&piece);
                if data != &self.file[piece * PIECE..][..PIECE] {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                if self.pieces[piece].replace(data.into()).is_none() {
                    for neighbour in self.neighbours.values() {
                        let _ = neighbour.outbox.send(Message::Have(piece));
                    }
                    if self.pieces.iter().all(Option::is_some) {
                        (self.done)();
                    }
                }
            }
        }
        self.ask();
        Ok(())
    }

    /// Asks every neighbour for what it has and this peer lacks, the rarest first.
    fn ask(&mut self) {
        let mut seen = [0; PIECES];
        for neighbour in self.neighbours.values() {
            (0..PIECES).filter(|&piece| neighbour.has[piece]).for_each(|piece| seen[piece] += 1);
        }
        let asked = self.neighbours.values().flat_map(|neighbour| neighbour.asked.iter().copied());
        let mut asked: BTreeSet<usize> = asked.collect();
        for neighbour in self.neighbours.values_mut() {
            while neighbour.asked.len() < REQUESTS {
                let wanted = (0..PIECES)
                    .filter(|&piece| neighbour.has[piece] && self.pieces[piece].is_none())
                    .filter(|piece| !asked.contains(piece))
                    .min_by_key(|&piece| (seen[piece], self.rng.next_u32()));
                let Some(piece) = wanted else { break };
                asked.insert(piece);
                neighbour.asked.insert(piece);
                let _ = neighbour.outbox.send(Message::Request(piece));
            }
        }
    }
}

/// Talks to one neighbour until one of the two goes away.
async fn talk(peer: Shared, stream: TcpStream) {
    let (reader, writer) = stream.into_split();
    let (number, messages) = peer.borrow_mut().join();
    let writing = spawn(write(Rc::clone(&peer), writer, messages));
    // The end of the connection, however it comes.
    let _ = read(&peer, number, reader).await;
    writing.abort();
    let mut peer = peer.borrow_mut();
    peer.neighbours.remove(&number);
    peer.ask();
}

async fn read(peer: &Shared, from: usize, mut reader: OwnedReadHalf) -> io::Result<()> {
    let mut data = vec![0; PIECE];
    loop {
        let kind = reader.read_u8().await?;
        let number = usize::from(reader.read_u16().await?);
        let message = match kind {
            _ if number >= PIECES => return Err(io::ErrorKind::InvalidData.into()),
            0 => Message::Have(number),
            1 => Message::Request(number),
            _ => {
                reader.read_exact(&mut data).await?;
                Message::Piece(number)
            }
        };
        peer.borrow_mut().on_message(from, message, &data)?;
    }
}

async fn write(
    peer: Shared,
    mut writer: OwnedWriteHalf,
    mut messages: UnboundedReceiver<Message>,
) -> io::Result<()> {
    while let Some(message) = messages.recv().await {
        let (kind, number, data) = match message {
            Message::Have(number) => (0, number, None),
            Message::Request(number) => (1, number, None),
            Message::Piece(number) => (2, number, peer.borrow().pieces[number].clone()),
        };
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&(number as u16).to_be_bytes());
        bytes.extend_from_slice(data.as_deref().unwrap_or_default());
        writer.write_all(&bytes).await?;
    }
    Ok(())
}

/// What a peer does: it listens, and keeps connections to some others.
async fn serve(peer: Shared, friends: Vec<SocketAddr>) -> io::Result<()> {
    let host = current_host()?;
    let listener = TcpListener::bind(&host, (IpAddr::from(host.ipv4()), PORT)).await?;
    for friend in friends {
        let (peer, host) = (Rc::clone(&peer), host.clone());
        spawn(async move {
            loop {
                if let Ok(stream) = TcpStream::connect(&host, friend).await {
                    talk(Rc::clone(&peer), stream).await;
                }
                sleep(Duration::from_secs(1)).await;
            }
        });
    }
    loop {
        let (stream, _) = listener.accept().await?;
        spawn(talk(Rc::clone(&peer), stream));
    }
}

/// Runs a swarm until every peer has the file; when each of them had it.
pub(crate) fn run(sim: &mut Simulation) -> Result<String, Box<dyn Error>> {
    let link: NetemConfig = "delay 15ms 5ms rate 20mbit loss 0.5%".parse()?;
    let mut rng = sim.rng();
    let file: Rc<[u8]> = (0..PIECES * PIECE).map(|_| rng.next_u32() as u8).collect();
    let finished = Rc::new(RefCell::new(BTreeMap::new()));
    let hosts = (0..PEERS)
        .map(|number| {
            let config = HostConfig { link: link.into(), ..HostConfig::default() };
            sim.add_host(&format!("peer-{number}"), config)
        })
        .collect::<Result<Vec<_>, _>>()?;
    for (number, host) in hosts.iter().enumerate() {
        // To those who were there before, so that all are joined.
        let known = (0..NEIGHBOURS).map(|_| rng.below(number.max(1) as u64) as usize);
        let friends: BTreeSet<usize> = known.filter(|&friend| friend != number).collect();
        let friends: Vec<SocketAddr> =
            friends.iter().map(|&friend| (hosts[friend].ipv4(), PORT).into()).collect();
        let seed = rng.next_seed();
        let (file, finished, network) = (Rc::clone(&file), Rc::clone(&finished), sim.network().clone());
        sim.program(host, move || {
            let piece = |piece: &[u8]| (number == 0).then(|| piece.into());
            let (finished, network) = (Rc::clone(&finished), network.clone());
            let peer = Peer {
                pieces: file.chunks(PIECE).map(piece).collect(),
                file: Rc::clone(&file),
                neighbours: BTreeMap::new(),
                connections: 0,
                rng: Rng::new(seed),
                done: Box::new(move || _ = finished.borrow_mut().insert(number, network.now())),
            };
            serve(Rc::new(RefCell::new(peer)), friends.clone())
        });
    }
    sim.run_for(CRASH_AT);
    sim.crash(&hosts[UNLUCKY]);
    finished.borrow_mut().remove(&UNLUCKY);
    sim.run_for(DOWN_FOR);
    sim.restart(&hosts[UNLUCKY]);
    if !sim.run_until(LIMIT, |_| finished.borrow().len() == PEERS - 1) {
        return Err(format!("{} peers are done at {}", finished.borrow().len(), sim.now()).into());
    }
    let mut report = String::new();
    let mut order: Vec<(Instant, usize)> =
        finished.borrow().iter().map(|(&number, &at)| (at, number)).collect();
    order.sort_unstable();
    for (at, number) in order {
        writeln!(report, "{:>10}  peer-{number} has the file", at.to_string())?;
    }
    Ok(report)
}
