//! A host, the gateway and real sockets of the machine, in real time; every test ends by itself.

mod datagrams;
mod limits;
mod publish;
mod streams;

use super::*;
use rustix::event::{PollFd, PollFlags, poll};
use sockeye::{Host, HostConfig, Network};
use sockeye_packet::{Chunk, Payload};
use sockeye_stack::{
    Domain, Error, Owner, Readiness, RecvFlags, SendFlags, Shutdown, SockAddr, SocketType, Verdict,
};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// How long a test may take.
const PATIENCE: Duration = Duration::from_secs(20);

struct Rig {
    world: World,
    gateway: Gateway,
    host: Host,
    origin: std::time::Instant,
    /// There was more to do.
    busy: bool,
    /// Time that has passed beside the real one.
    skipped: Duration,
}

impl Rig {
    fn new() -> Rig {
        Rig::with(GatewayConfig::default())
    }

    fn with(config: GatewayConfig) -> Rig {
        let network = Network::builder().seed(1).host("a", HostConfig::default()).build_manual().unwrap();
        let host = network.host("a").unwrap();
        let world = World::new(network);
        let gateway = Gateway::new(&world, config).unwrap();
        let origin = std::time::Instant::now();
        Rig { world, gateway, host, origin, busy: false, skipped: Duration::ZERO }
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.origin.elapsed() + self.skipped
    }

    /// One round of what the supervisor's loop does; waits at most a millisecond.
    fn turn(&mut self) {
        let wait = Timespec { tv_sec: 0, tv_nsec: if self.busy { 0 } else { 1_000_000 } };
        let ready = poll(&mut [PollFd::new(&self.gateway.fd(), PollFlags::IN)], Some(&wait)).unwrap() > 0;
        let now = self.now();
        self.world.network().set_now(now);
        // Only when it has asked for it, as the loop does.
        self.busy = (ready || self.busy) && self.gateway.on_ready(&self.world, now);
        for _ in 0..8 {
            self.world.turn(now);
            while let Some((host, event)) = self.world.poll_event() {
                if host == self.world.network().gateway().id() {
                    self.busy |= self.gateway.on_event(&self.world, now, event);
                }
            }
        }
        self.gateway.on_timeout(&self.world, now);
        self.busy |= self.gateway.is_busy();
    }

    fn until<R>(&mut self, what: &str, mut done: impl FnMut(&mut Rig) -> Option<R>) -> R {
        let start = std::time::Instant::now();
        loop {
            if let Some(result) = done(self) {
                return result;
            }
            assert!(start.elapsed() < PATIENCE, "{what} did not happen: {:#?}", self.gateway);
            self.turn();
        }
    }

    /// A call on the host's stack.
    fn on_host<R>(&self, call: impl FnOnce(&mut Stack, Instant) -> R) -> R {
        let now = self.now();
        self.world.network().set_now(now);
        self.world.with(self.host.id(), |stack| call(stack, now))
    }

    /// A socket of the host that connects to `to`.
    fn connect(&self, kind: SocketType, to: SocketAddr) -> SocketId {
        self.on_host(|stack, now| {
            let domain = if to.is_ipv4() { Domain::Inet } else { Domain::Inet6 };
            let id = stack.socket(domain, kind, Owner::default()).unwrap();
            let result = stack.connect(now, id, to.into());
            assert!(matches!(result, Ok(()) | Err(Error::InProgress)), "{result:?}");
            id
        })
    }

    /// A datagram socket of the host that is bound there.
    fn bound(&self, at: SocketAddr) -> SocketId {
        self.on_host(|stack, _| {
            let domain = if at.is_ipv4() { Domain::Inet } else { Domain::Inet6 };
            let id = stack.socket(domain, SocketType::Datagram, Owner::default()).unwrap();
            stack.bind(id, at.into()).unwrap();
            id
        })
    }

    /// How a connect ends.
    fn connected(&mut self, id: SocketId, to: SocketAddr) -> Result<(), Error> {
        self.until("the end of a connect", |rig| {
            match rig.on_host(|stack, now| stack.connect(now, id, to.into())) {
                Err(Error::Already) => None,
                result => Some(result),
            }
        })
    }

    /// A connection through the gateway to a listener of the machine, and the machine's end of it.
    fn through(&mut self, v4: bool) -> (SocketId, TcpStream) {
        let listener = TcpListener::bind(loopback(v4)).unwrap();
        let to = self.outside(listener.local_addr().unwrap());
        let id = self.connect(SocketType::Stream, to);
        self.connected(id, to).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        (id, stream)
    }

    /// What a host connects to for a port of the machine's loopback address.
    fn outside(&self, machine: SocketAddr) -> SocketAddr {
        let [v4, v6] = self.world.network().machine_addresses();
        SocketAddr::new(if machine.is_ipv4() { v4 } else { v6 }, machine.port())
    }

    fn send(&self, id: SocketId, data: &[u8]) -> Result<usize, Error> {
        let mut chunks: VecDeque<Chunk> = [Chunk::copy_from(data)].into();
        self.on_host(|stack, now| stack.send(now, id, &mut chunks, SendFlags::default()))
    }

    fn recv(&self, id: SocketId) -> Result<Vec<u8>, Error> {
        self.on_host(|stack, now| {
            stack.recv(now, id, usize::MAX, RecvFlags::default()).map(|data| data.to_vec())
        })
    }

    /// What the host's socket receives next, or how it fails.
    fn received(&mut self, id: SocketId) -> Result<Vec<u8>, Error> {
        self.until("receiving", |rig| match rig.recv(id) {
            Err(Error::WouldBlock) => None,
            result => Some(result),
        })
    }

    /// What the machine's stream reads next, or how it fails.
    fn read(&mut self, stream: &mut TcpStream) -> io::Result<Vec<u8>> {
        self.until("reading", |_| {
            let mut buffer = vec![0; 65536];
            match stream.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                result => Some(result.map(|len| buffer[..len].to_vec())),
            }
        })
    }

    /// A listener of the host that takes any connection.
    fn listen(&self, addr: SocketAddr) -> SocketId {
        self.on_host(|stack, now| {
            let domain = if addr.is_ipv4() { Domain::Inet } else { Domain::Inet6 };
            let id = stack.socket(domain, SocketType::Stream, Owner::default()).unwrap();
            stack.bind(id, addr.into()).unwrap();
            stack.listen(now, id, 1000).unwrap();
            id
        })
    }

    fn accept(&mut self, listener: SocketId) -> SocketId {
        self.until("accepting", |rig| rig.on_host(|stack, now| stack.accept(now, listener)).ok()).0
    }

    fn until_idle(&mut self) {
        self.until("the end of all flows", |rig| (rig.gateway.flow_count() == 0).then_some(()));
        assert!(rig_is_clean(&self.gateway), "{:#?}", self.gateway);
    }
}

fn rig_is_clean(gateway: &Gateway) -> bool {
    gateway.flows.is_empty() && gateway.sockets.is_empty() && gateway.pings.is_empty()
}

fn loopback(v4: bool) -> SocketAddr {
    if v4 { "127.0.0.1:0" } else { "[::1]:0" }.parse().unwrap()
}

/// Bytes that show where they belong.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}
