//! Sockeye's stack: two of them in one thread, joined by a batch of packets.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant as Clock};

use sockeye_packet::{Batch, Checksum, Chunk, Instant, NicId, Pool};
use sockeye_stack::{
    Config, Domain, Error, NicConfig, Owner, Readiness, RecvFlags, SendFlags, SockAddr, SocketId,
    SocketOption, SocketType, Stack,
};

/// The link between the stacks.
pub(crate) struct Link {
    pub(crate) mtu: u32,
    pub(crate) checksums: bool,
    pub(crate) super_segments: bool,
}

impl Link {
    /// One that takes super-segments, without checksums.
    pub(crate) const MEMORY: Link = Link { mtu: 1500, checksums: false, super_segments: true };
}

/// Bytes of one call of the application.
pub(crate) const WRITE: usize = 64 * 1024;

/// Connections to one port of the server: fewer than the client has ports.
const PER_PORT: usize = 50_000;
/// Requests of active flows that are under way at once.
const GROUP: usize = 10;
const REQUEST: [u8; 1024] = [0x55; 1024];

/// Two stacks with one connection between them, and perhaps idle ones.
pub(crate) struct Pair {
    client: End,
    server: End,
    /// The latest listener, and its port.
    listener: (SocketId, u16),
    connections: usize,
    packets: Batch,
    /// Whether the packets' checksums are to be filled in and verified, as on a link that leaves memory.
    checksums: bool,
    time: Time,
}

/// What the stacks take for the time.
enum Time {
    Real(Clock),
    /// A microsecond more at each look, so that every run does the same.
    Steps(Cell<u64>),
}

struct End {
    stack: Stack,
    nic: NicId,
    socket: SocketId,
    chunks: VecDeque<Chunk>,
    pool: Pool,
}

impl Pair {
    pub(crate) fn connected(link: &Link) -> Pair {
        Pair::among(link, 0)
    }

    /// A connected pair, each end holding `others` more connections that are idle.
    pub(crate) fn among(link: &Link, others: usize) -> Pair {
        let mut pair = Pair::new(link, Time::Real(Clock::now()));
        for _ in 0..=others {
            pair.connect();
        }
        pair
    }

    /// A connected pair by a clock that goes on at each look.
    pub(crate) fn by_steps(link: &Link) -> Pair {
        let mut pair = Pair::new(link, Time::Steps(Cell::new(0)));
        pair.connect();
        pair
    }

    /// Lets a second pass in which nobody writes anything, of a pair by steps.
    pub(crate) fn rest(&mut self) {
        for _ in 0..1_000 {
            if let Time::Steps(steps) = &self.time {
                steps.set(steps.get() + 1_000_000);
            }
            self.reach_server(self.now());
            self.reach_client(self.now());
        }
    }

    fn new(link: &Link, time: Time) -> Pair {
        let (client, mut server) = (End::new(link, 1), End::new(link, 2));
        let listener = (server.listen(address(2).port), address(2).port);
        Pair {
            client,
            server,
            listener,
            connections: 0,
            packets: Batch::new(),
            checksums: link.checksums,
            time,
        }
    }

    /// Sends `bytes` from the client to the server and returns how long it took.
    pub(crate) fn transfer(&mut self, bytes: usize) -> Duration {
        let data = vec![0x55; WRITE];
        let mut sink = vec![0; WRITE];
        let (mut sent, mut received) = (0, 0);
        let start = Clock::now();
        while received < bytes {
            // As little as can be, as in a round trip: what was written leaves, what was read is acknowledged.
            let now = self.now();
            sent += self.client.write(now, &data[..WRITE.min(bytes - sent)]);
            self.reach_server(now);
            let now = self.now();
            received += self.server.read(now, &mut sink);
            self.reach_client(now);
        }
        start.elapsed()
    }

    /// As [`Pair::transfer`], of memory that nobody copies: the reader gets what the writer handed over.
    pub(crate) fn transfer_shared(&mut self, bytes: usize) -> Duration {
        let data = Chunk::from(vec![0x55; WRITE]);
        let (mut sent, mut received) = (0, 0);
        let start = Clock::now();
        while received < bytes {
            // As little as can be, as in a round trip: what was written leaves, what was read is acknowledged.
            let now = self.now();
            sent += self.client.write_shared(now, &data, bytes - sent);
            self.reach_server(now);
            let now = self.now();
            received += self.server.read_shared(now);
            self.reach_client(now);
        }
        start.elapsed()
    }

    /// One byte there and back, `rounds` times.
    pub(crate) fn round_trips(&mut self, rounds: u32) -> Duration {
        let start = Clock::now();
        for _ in 0..rounds {
            // As little as can be: each sends what was written, or takes in what has arrived.
            let now = self.now();
            assert_eq!(self.client.write(now, b"x"), 1);
            self.reach_server(now);
            let now = self.now();
            assert_eq!(self.server.read(now, &mut [0; 1]), 1);
            assert_eq!(self.server.write(now, b"x"), 1);
            self.reach_client(now);
            assert_eq!(self.client.read(self.now(), &mut [0; 1]), 1);
        }
        start.elapsed()
    }

    /// Opens a connection and closes it, the client first, `count` times.
    pub(crate) fn connections(&mut self, count: u32) -> Duration {
        let start = Clock::now();
        for _ in 0..count {
            let (client, server) = self.open();
            let now = self.now();
            self.client.stack.close(now, client).expect("an open socket");
            self.reach_server(self.now());
            self.server.stack.close(self.now(), server).expect("an open socket");
            // Its acknowledgment of the client's FIN is its own FIN's; the client acknowledges that.
            self.reach_client(self.now());
            self.reach_server(self.now());
        }
        start.elapsed()
    }

    /// Requests on `flows` connections in turn, as many of each, that the server answers with as much, some of them
    /// under way at once. Returns the time of all `count`.
    pub(crate) fn requests(&mut self, flows: &[(SocketId, SocketId)], count: usize) -> Duration {
        let mut sink = [0; REQUEST.len()];
        let start = Clock::now();
        for group in flows.chunks(GROUP).cycle().take(count / GROUP) {
            for &(client, _) in group {
                self.client.socket = client;
                assert_eq!(self.client.write(self.now(), &REQUEST), REQUEST.len());
            }
            self.reach_server(self.now());
            for &(_, server) in group {
                self.server.socket = server;
                assert_eq!(self.server.read(self.now(), &mut sink), REQUEST.len());
                assert_eq!(self.server.write(self.now(), &REQUEST), REQUEST.len());
            }
            self.reach_client(self.now());
            for &(client, _) in group {
                self.client.socket = client;
                assert_eq!(self.client.read(self.now(), &mut sink), REQUEST.len());
            }
        }
        start.elapsed()
    }

    /// One more connection with nothing set, that carries a byte each way.
    pub(crate) fn add_idle(&mut self) {
        (self.client.socket, self.server.socket) = self.open();
        self.round_trips(1);
    }

    /// As many more connections, for [`Pair::requests`].
    pub(crate) fn flows(&mut self, count: usize) -> Vec<(SocketId, SocketId)> {
        (0..count).map(|_| self.connect()).collect()
    }

    /// Makes a connection the one that is used.
    fn connect(&mut self) -> (SocketId, SocketId) {
        let (client, server) = self.open();
        (self.client.socket, self.server.socket) = (client, server);
        let now = self.now();
        for end in [&mut self.client, &mut self.server] {
            end.stack.set_option(now, end.socket, SocketOption::NoDelay(true)).expect("a stream socket");
        }
        (client, server)
    }

    fn open(&mut self) -> (SocketId, SocketId) {
        self.connections += 1;
        if self.connections.is_multiple_of(PER_PORT) {
            let port = self.listener.1 + 1;
            self.listener = (self.server.listen(port), port);
        }
        let (listener, port) = self.listener;
        let now = self.now();
        let client = self.client.stream();
        let to = SockAddr::new(address(2).ip_addr(), port);
        assert_eq!(self.client.stack.connect(now, client, to), Err(Error::InProgress));
        self.reach_server(self.now());
        self.reach_client(self.now());
        self.reach_server(self.now());
        assert!(self.client.stack.readiness(client).contains(Readiness::WRITABLE), "the connection is open");
        let (server, _) = self.server.stack.accept(self.now(), listener).expect("a waiting connection");
        (client, server)
    }

    /// Brings what the client sends to the server.
    fn reach_server(&mut self, now: Instant) {
        loop {
            self.client.stack.poll_transmit(now, self.client.nic, &mut self.packets);
            self.carry();
            let was_full = self.packets.is_full();
            self.server.take_in(now, &mut self.packets);
            if !was_full {
                return;
            }
        }
    }

    /// Brings what the server sends to the client.
    fn reach_client(&mut self, now: Instant) {
        loop {
            self.server.stack.poll_transmit(now, self.server.nic, &mut self.packets);
            self.carry();
            let was_full = self.packets.is_full();
            self.client.take_in(now, &mut self.packets);
            if !was_full {
                return;
            }
        }
    }

    /// What arrives is as wrong as it may be, where there are checksums: whoever gets it has to verify it.
    fn carry(&mut self) {
        if self.checksums {
            self.packets.iter_mut().for_each(|packet| packet.meta.checksum = Checksum::Unverified);
        }
    }

    fn now(&self) -> Instant {
        let nanoseconds = match &self.time {
            Time::Real(clock) => clock.elapsed().as_nanos() as u64,
            Time::Steps(steps) => steps.replace(steps.get() + 1_000),
        };
        Instant::from_nanos(nanoseconds)
    }
}

impl End {
    fn new(link: &Link, host: u8) -> End {
        let sum_words = sockeye_link::fastest_sum();
        let config = Config { memory: 4 << 30, local_ports: 1024..=65535, sum_words, ..Config::default() };
        let mut stack = Stack::new(config, [host; 32]);
        let max_segment = if link.super_segments { NicConfig::LARGEST_SEGMENT } else { 0 };
        let memory = NicConfig::memory("cable", link.mtu);
        let nic = NicConfig { checksums: link.checksums, max_segment, ..memory };
        let nic = stack.add_nic(nic).expect("room for an interface");
        stack.add_address(nic, address(host).ip_addr(), 24).expect("a new address");
        let socket =
            stack.socket(Domain::Inet, SocketType::Stream, Owner::default()).expect("room for a socket");
        End { stack, nic, socket, chunks: VecDeque::new(), pool: Pool::default() }
    }

    fn stream(&mut self) -> SocketId {
        self.stack.socket(Domain::Inet, SocketType::Stream, Owner::default()).expect("room for a socket")
    }

    fn listen(&mut self, port: u16) -> SocketId {
        let listener = self.stream();
        self.stack.bind(listener, SockAddr::new(address(2).ip_addr(), port)).expect("a free port");
        self.stack.listen(Instant::ZERO, listener, 16).expect("a bound socket");
        listener
    }

    /// Takes in what has arrived, and does what is due.
    fn take_in(&mut self, now: Instant, packets: &mut Batch) {
        self.stack.handle_packets(now, self.nic, packets);
        if self.stack.poll_timeout().is_some_and(|wake| wake.at <= now) {
            self.stack.handle_timeout(now);
        }
    }

    /// Writes as an application that copies from its own memory; what the socket doesn't take waits for the next
    /// write, which takes nothing more before that. Returns how many bytes of `data` are copied.
    fn write(&mut self, now: Instant, data: &[u8]) -> usize {
        let mut copied = 0;
        if self.chunks.is_empty() {
            self.pool.copy(data, |chunk| self.chunks.push_back(chunk));
            copied = data.len();
        }
        self.send(now);
        copied
    }

    /// Writes memory that the socket may keep, as [`End::write`] does.
    fn write_shared(&mut self, now: Instant, data: &Chunk, most: usize) -> usize {
        let mut taken = 0;
        if self.chunks.is_empty() && most > 0 {
            taken = data.len().min(most);
            self.chunks.push_back(data.slice(..taken));
        }
        self.send(now);
        taken
    }

    fn send(&mut self, now: Instant) {
        if self.chunks.is_empty() {
            return;
        }
        match self.stack.send(now, self.socket, &mut self.chunks, SendFlags::default()) {
            Ok(_) | Err(Error::WouldBlock) => {}
            Err(error) => panic!("the connection is open: {error}"),
        }
    }

    /// Reads all there is into the application's memory, in pieces of its length.
    fn read(&mut self, now: Instant, sink: &mut [u8]) -> usize {
        let mut received = 0;
        while self.stack.recv_queued(self.socket) > 0 {
            let payload = self.stack.recv(now, self.socket, sink.len(), RecvFlags::default());
            received += payload.map_or(0, |payload| payload.copy_to(sink));
        }
        received
    }

    /// Reads all there is, and only looks at it.
    fn read_shared(&mut self, now: Instant) -> usize {
        let mut received = 0;
        while self.stack.recv_queued(self.socket) > 0 {
            let payload = self.stack.recv(now, self.socket, WRITE, RecvFlags::default()).unwrap_or_default();
            assert!(payload.chunks().all(|chunk| chunk.first() == Some(&0x55)));
            received += payload.len();
        }
        received
    }
}

fn address(host: u8) -> SockAddr {
    SockAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, host)), 999)
}
