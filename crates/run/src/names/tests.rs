//! Name servers of a network under virtual time, with a resolv.conf of the test's own.

use super::*;
use crate::gateway::{Gateway, GatewayConfig};
use sockeye::{HostConfig, Network};
use sockeye_packet::{Chunk, Payload};
use sockeye_stack::{Domain, Error, Owner, RecvFlags, SendFlags, SockAddr, SocketType, Stack};
use std::collections::VecDeque;
use std::path::PathBuf;

/// A query for the address of the host `a`, type A.
const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";

struct Rig {
    world: World,
    names: NameServers,
    gateway: Gateway,
    host: Host,
    path: PathBuf,
    now: Instant,
}

impl Rig {
    /// A network that nothing leaves, whose programs read this resolv.conf.
    fn new(name: &str, conf: &str) -> Rig {
        let path = std::env::temp_dir().join(format!("sockeye-names-{name}-{}", std::process::id()));
        std::fs::write(&path, conf).unwrap();
        let network = Network::builder().seed(1).host("a", HostConfig::default()).build_manual().unwrap();
        let host = network.host("a").unwrap();
        let world = World::new(network);
        let now = Instant::ZERO;
        let (file, conf) = ResolvFile::open(&path, now);
        let names = NameServers::open_at(&world, file, &conf).unwrap();
        let config = GatewayConfig { outward: false, ..GatewayConfig::default() };
        let gateway = Gateway::new(&world, config).unwrap();
        Rig { world, names, gateway, host, path, now }
    }

    fn on_host<R>(&self, call: impl FnOnce(&mut Stack) -> R) -> R {
        self.world.with(self.host.id(), call)
    }

    fn settle(&mut self) {
        self.world.network().set_now(self.now);
        for _ in 0..20 {
            self.names.catch_up(&self.world, self.now);
            self.world.turn(self.now);
            while let Some((host, event)) = self.world.poll_event() {
                if let Event::Ready(id) = event
                    && self.names.on_stack(&self.world, self.now, host, id)
                {
                    continue;
                }
                if host == self.names.gateway && !self.names.on_flow(&self.world, self.now, event) {
                    self.gateway.on_event(&self.world, self.now, event);
                }
            }
        }
    }

    /// What a server answers over UDP: the last byte of the address.
    fn ask(&mut self, server: &str) -> Result<u8, Error> {
        let (id, to) = self.connect(SocketType::Datagram, server, PORT)?;
        let now = self.now;
        let query = Payload::from(Chunk::copy_from(QUERY));
        self.on_host(|stack| stack.send_to(now, id, query, None, SendFlags::default()))?;
        self.settle();
        let answer = self.on_host(|stack| stack.recv_from(now, id, RecvFlags::default()))?;
        assert_eq!(answer.from, to, "the answer comes from who was asked");
        Ok(*answer.payload.to_vec().last().unwrap())
    }

    /// The same over TCP.
    fn ask_stream(&mut self, server: &str) -> Result<u8, Error> {
        let (id, to) = self.connect(SocketType::Stream, server, PORT)?;
        self.settle();
        let now = self.now;
        self.on_host(|stack| stack.connect(now, id, to))?;
        let query = [&(QUERY.len() as u16).to_be_bytes()[..], QUERY].concat();
        let mut chunks = VecDeque::from([Chunk::from(query)]);
        self.on_host(|stack| stack.send(now, id, &mut chunks, SendFlags::default()))?;
        self.settle();
        let answer = self.on_host(|stack| stack.recv(now, id, 4096, RecvFlags::default()))?;
        Ok(*answer.to_vec().last().unwrap())
    }

    fn connect(&self, kind: SocketType, to: &str, port: u16) -> Result<(SocketId, SockAddr), Error> {
        let to = SockAddr::new(to.parse().unwrap(), port);
        let domain = if to.is_v4() { Domain::Inet } else { Domain::Inet6 };
        let id = self.on_host(|stack| stack.socket(domain, kind, Owner::default()))?;
        match self.on_host(|stack| stack.connect(self.now, id, to)) {
            Ok(()) | Err(Error::InProgress) => Ok((id, to)),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).ok();
    }
}

const LAST: u8 = 2;

#[test]
fn of_a_name_servers_ports_only_its_own_is_answered_here() {
    let mut rig = Rig::new("ports", "nameserver 192.0.2.53\nnameserver 2001:db8::53");
    for server in ["192.0.2.53", "2001:db8::53", "10.77.0.1"] {
        assert_eq!((server, rig.ask(server)), (server, Ok(LAST)));
        assert_eq!((server, rig.ask_stream(server)), (server, Ok(LAST)));
    }
    // Everything else goes out, where nothing leads in this network.
    let (id, to) = rig.connect(SocketType::Stream, "192.0.2.53", 80).unwrap();
    rig.settle();
    let now = rig.now;
    assert_eq!(rig.on_host(|stack| stack.connect(now, id, to)), Err(Error::NetworkUnreachable));
    assert_eq!(rig.gateway.flow_count(), 0);
    assert!(rig.names.flows.is_empty());
}

#[test]
fn where_names_are_asked_changes_with_the_machines_resolv_conf() {
    let mut rig = Rig::new("change", "nameserver 192.0.2.53");
    assert_eq!(rig.ask("192.0.2.53"), Ok(LAST));
    assert_eq!(rig.ask("127.0.0.53"), Err(Error::ConnectionRefused));
    std::fs::write(&rig.path, "nameserver 192.0.2.54\nnameserver 127.0.0.53").unwrap();
    rig.now = Instant::from_millis(1500);
    rig.settle();
    for server in ["192.0.2.54", "127.0.0.53"] {
        assert_eq!((server, rig.ask(server)), (server, Ok(LAST)));
        assert_eq!((server, rig.ask_stream(server)), (server, Ok(LAST)));
    }
    assert_eq!(rig.ask_stream("192.0.2.53"), Err(Error::NetworkUnreachable));
}

#[test]
fn clients_that_are_idle_are_forgotten() {
    let mut rig = Rig::new("idle", "nameserver 192.0.2.53");
    let sockets = |rig: &Rig| rig.names.services[&rig.names.gateway].socket_count();
    let before = sockets(&rig);
    assert_eq!(rig.ask("192.0.2.53"), Ok(LAST));
    assert_eq!(rig.ask_stream("192.0.2.53"), Ok(LAST));
    assert_eq!(sockets(&rig), before + 2);
    rig.now += IDLE;
    rig.settle();
    assert_eq!(sockets(&rig), before);
}

#[test]
fn who_asks_again_as_it_is_given_up_for_another_is_answered() {
    let mut rig = Rig::new("given-up", "nameserver 192.0.2.53");
    let sockets = |rig: &Rig| rig.names.services[&rig.names.gateway].socket_count();
    let send = |rig: &mut Rig, id| {
        let query = Payload::from(Chunk::copy_from(QUERY));
        rig.on_host(|stack| stack.send_to(rig.now, id, query, None, SendFlags::default())).unwrap();
    };
    let has_answer =
        |rig: &Rig, id| rig.on_host(|stack| stack.recv_from(rig.now, id, RecvFlags::default())).is_ok();
    let mut clients = VecDeque::new();
    let mut before = 0;
    while sockets(&rig) > before || before == 0 {
        before = sockets(&rig);
        rig.now += std::time::Duration::from_millis(1);
        let (id, _) = rig.connect(SocketType::Datagram, "192.0.2.53", PORT).unwrap();
        send(&mut rig, id);
        rig.settle();
        assert!(has_answer(&rig, id));
        clients.push_back(id);
    }
    // The first one was given up for the last; the next will be for a newcomer.
    clients.pop_front();
    for newcomer_first in [true, false] {
        let (newcomer, _) = rig.connect(SocketType::Datagram, "192.0.2.53", PORT).unwrap();
        let oldest = clients.pop_front().unwrap();
        let order = if newcomer_first { [newcomer, oldest] } else { [oldest, newcomer] };
        for id in order {
            send(&mut rig, id);
        }
        rig.settle();
        assert_eq!(order.map(|id| has_answer(&rig, id)), [true, true], "newcomer first: {newcomer_first}");
    }
}
