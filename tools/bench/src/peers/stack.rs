//! Sockeye's stack: two of them in one thread, joined by a batch of packets.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant as Clock};

use sockeye_packet::{Batch, Chunk, Instant, NicId, Pool};
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

/// Bytes of one call of the application.
const WRITE: usize = 64 * 1024;

/// Two stacks with one connection between them, and perhaps idle ones.
pub(crate) struct Pair {
    client: End,
    server: End,
    listener: SocketId,
    packets: Batch,
    clock: Clock,
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
        let mut server = End::new(link, 2);
        let listener = server.socket;
        server.stack.bind(listener, address(2)).expect("a free port");
        server.stack.listen(Instant::ZERO, listener, 16).expect("a bound socket");
        let client = End::new(link, 1);
        let mut pair = Pair { client, server, listener, packets: Batch::new(), clock: Clock::now() };
        for _ in 0..=others {
            pair.connect();
        }
        pair
    }

    /// Sends `bytes` from the client to the server and returns how long it took.
    pub(crate) fn transfer(&mut self, bytes: usize) -> Duration {
        let data = vec![0x55; WRITE];
        let mut sink = vec![0; WRITE];
        let (mut sent, mut received) = (0, 0);
        let start = Clock::now();
        while received < bytes {
            let now = self.now();
            sent += self.client.write(now, &data[..WRITE.min(bytes - sent)]);
            self.exchange();
            received += self.server.read(now, &mut sink);
            self.exchange();
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
            self.client.stack.poll_transmit(now, self.client.nic, &mut self.packets);
            let now = self.now();
            self.server.take_in(now, &mut self.packets);
            assert_eq!(self.server.read(now, &mut [0; 1]), 1);
            assert_eq!(self.server.write(now, b"x"), 1);
            self.server.stack.poll_transmit(now, self.server.nic, &mut self.packets);
            let now = self.now();
            self.client.take_in(now, &mut self.packets);
            assert_eq!(self.client.read(now, &mut [0; 1]), 1);
        }
        start.elapsed()
    }

    fn connect(&mut self) {
        let now = self.now();
        let stack = &mut self.client.stack;
        let socket =
            stack.socket(Domain::Inet, SocketType::Stream, Owner::default()).expect("room for a socket");
        assert_eq!(stack.connect(now, socket, address(2)), Err(Error::InProgress));
        self.client.socket = socket;
        self.exchange();
        assert!(self.client.stack.readiness(socket).contains(Readiness::WRITABLE), "the connection is open");
        (self.server.socket, _) = self.server.stack.accept(now, self.listener).expect("a waiting connection");
        for end in [&mut self.client, &mut self.server] {
            end.stack.set_option(now, end.socket, SocketOption::NoDelay(true)).expect("a stream socket");
        }
    }

    /// Lets both ends work until neither has anything for the other.
    fn exchange(&mut self) {
        loop {
            let now = self.now();
            let (client, server) = (&mut self.client, &mut self.server);
            client.stack.poll_transmit(now, client.nic, &mut self.packets);
            let quiet = self.packets.is_empty();
            server.take_in(now, &mut self.packets);
            server.stack.poll_transmit(now, server.nic, &mut self.packets);
            if quiet && self.packets.is_empty() {
                return;
            }
            client.take_in(now, &mut self.packets);
        }
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.clock.elapsed().as_nanos() as u64)
    }
}

impl End {
    fn new(link: &Link, host: u8) -> End {
        let config = Config { memory: 4 << 30, local_ports: 1024..=65535, ..Config::default() };
        let mut stack = Stack::new(config, [host; 32]);
        let max_segment = if link.super_segments { 65_535 - 120 } else { 0 };
        let memory = NicConfig::memory("cable", link.mtu);
        let nic = NicConfig { checksums: link.checksums, max_segment, ..memory };
        let nic = stack.add_nic(nic).expect("room for an interface");
        stack.add_address(nic, address(host).ip_addr(), 24).expect("a new address");
        let socket =
            stack.socket(Domain::Inet, SocketType::Stream, Owner::default()).expect("room for a socket");
        End { stack, nic, socket, chunks: VecDeque::new(), pool: Pool::default() }
    }

    /// Takes in what has arrived, and does what is due.
    fn take_in(&mut self, now: Instant, packets: &mut Batch) {
        self.stack.handle_packets(now, self.nic, packets);
        if self.stack.poll_timeout().is_some_and(|wake| wake.at <= now) {
            self.stack.handle_timeout(now);
        }
    }

    /// Writes what the socket takes, as an application that copies from its own memory.
    fn write(&mut self, now: Instant, data: &[u8]) -> usize {
        let space = self.stack.send_space(self.socket).min(data.len());
        self.pool.copy(&data[..space], |chunk| self.chunks.push_back(chunk));
        if self.chunks.is_empty() {
            return 0;
        }
        let sent = self.stack.send(now, self.socket, &mut self.chunks, SendFlags::default()).unwrap_or(0);
        self.chunks.clear();
        sent
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
}

fn address(host: u8) -> SockAddr {
    SockAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, host)), 999)
}
