//! Threads that open, use, drop and break things at random, in real time: when their handles are gone, so are
//! the sockets, the memory and the driver's thread.
//!
//! The only test of its file: it counts the threads of its process.

use proptest::prelude::*;
use sockeye::poller::{Events, Interest, Mode, Poller};
use sockeye::{Host, HostConfig, Network, TcpListener, TcpStream, UdpSocket};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// As long as any call waits.
const WAIT: Duration = Duration::from_millis(3);

/// What a thread does next; the numbers pick a host, a socket, and how much.
#[derive(Clone, Debug)]
enum Step {
    Connect(usize),
    Accept(usize),
    Write(usize, usize),
    Read(usize, usize),
    Shut(usize, u8),
    Share(usize),
    Drop(usize),
    SendTo(usize, usize),
    RecvFrom(usize),
    Poll(usize, u8),
    PanicInStack(usize),
    Panic,
}

fn step() -> impl Strategy<Value = Step> {
    let (host, socket) = (0..2_usize, 0..4_usize);
    prop_oneof![
        4 => host.clone().prop_map(Step::Connect),
        4 => host.clone().prop_map(Step::Accept),
        4 => (socket.clone(), 1..200_000_usize).prop_map(|(socket, len)| Step::Write(socket, len)),
        4 => (socket.clone(), 1..100_000_usize).prop_map(|(socket, len)| Step::Read(socket, len)),
        2 => (socket.clone(), 0..3_u8).prop_map(|(socket, how)| Step::Shut(socket, how)),
        1 => socket.clone().prop_map(Step::Share),
        2 => socket.clone().prop_map(Step::Drop),
        2 => (host.clone(), 0..3000_usize).prop_map(|(host, len)| Step::SendTo(host, len)),
        1 => host.clone().prop_map(Step::RecvFrom),
        2 => (socket, 0..3_u8).prop_map(|(socket, mode)| Step::Poll(socket, mode)),
        1 => host.prop_map(Step::PanicInStack),
        1 => Just(Step::Panic),
    ]
}

/// What all threads have.
#[derive(Clone)]
struct Common {
    hosts: [Host; 2],
    listeners: Arc<[TcpListener; 2]>,
    datagrams: Arc<[UdpSocket; 2]>,
}

impl Common {
    fn new(network: &Network) -> Common {
        let hosts = ["a", "b"].map(|name| network.host(name).unwrap());
        let listeners = hosts.each_ref().map(|host| {
            let listener = host.tcp_listen((host.ipv4(), 80)).unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        });
        let datagrams = hosts.each_ref().map(|host| {
            let socket = host.udp_bind((host.ipv4(), 9)).unwrap();
            socket.set_read_timeout(Some(WAIT)).unwrap();
            socket
        });
        Common { hosts, listeners: Arc::new(listeners), datagrams: Arc::new(datagrams) }
    }
}

/// One thread: what fails because others got in the way is part of the game.
#[derive(Default)]
struct Actor {
    streams: Vec<TcpStream>,
    poller: Poller,
}

impl Actor {
    fn take(&mut self, stream: std::io::Result<TcpStream>) {
        let Ok(stream) = stream else { return };
        stream.set_read_timeout(Some(WAIT)).unwrap();
        stream.set_write_timeout(Some(WAIT)).unwrap();
        self.streams.push(stream);
    }

    fn stream(&self, number: usize) -> Option<&TcpStream> {
        self.streams.get(number % self.streams.len().max(1))
    }

    fn act(&mut self, common: &Common, step: &Step) {
        match *step {
            Step::Connect(host) => {
                let to = common.listeners[1 - host].local_addr().unwrap();
                self.take(common.hosts[host].tcp_connect_timeout(to, WAIT));
            }
            Step::Accept(host) => self.take(common.listeners[host].accept().map(|(stream, _)| stream)),
            Step::Write(socket, len) => {
                drop(self.stream(socket).map(|mut stream| stream.write(&vec![7; len])));
            }
            Step::Read(socket, len) => {
                drop(self.stream(socket).map(|mut stream| stream.read(&mut vec![0; len])));
            }
            Step::Shut(socket, how) => {
                let how = [Shutdown::Read, Shutdown::Write, Shutdown::Both][usize::from(how)];
                drop(self.stream(socket).map(|stream| stream.shutdown(how)));
            }
            Step::Share(socket) => {
                let clone = self.stream(socket).map(|stream| stream.try_clone().unwrap());
                self.streams.extend(clone);
            }
            Step::Drop(socket) => {
                if !self.streams.is_empty() {
                    self.streams.swap_remove(socket % self.streams.len());
                }
            }
            Step::SendTo(host, len) => {
                let to = common.datagrams[1 - host].local_addr().unwrap();
                drop(common.datagrams[host].send_to(&vec![0; len], to));
            }
            Step::RecvFrom(host) => drop(common.datagrams[host].recv_from(&mut [0; 64])),
            Step::Poll(socket, mode) => {
                let mode = [Mode::Level, Mode::Edge, Mode::Oneshot][usize::from(mode)];
                if let Some(stream) = self.stream(socket) {
                    drop(self.poller.add(stream, socket, Interest::READABLE, mode));
                }
                drop(self.poller.add(&common.listeners[socket % 2], socket, Interest::READABLE, mode));
                self.poller.wait(&mut Events::with_capacity(2), Some(WAIT)).unwrap();
            }
            Step::PanicInStack(host) => {
                let call = || common.hosts[host].with_stack(|_, _| panic!("{QUIET}"));
                catch_unwind(AssertUnwindSafe(call)).unwrap_or(());
            }
            Step::Panic => panic!("{QUIET}"),
        }
    }
}

/// What panics say that are part of the game: they aren't printed.
const QUIET: &str = "a panic that was asked for";

/// Where a capture goes, which the network owns: it is dropped with all that the network is made of.
struct Witness(Arc<AtomicBool>);

impl Write for Witness {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Threads of this process that drive a network.
fn drivers() -> usize {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return 0 };
    let names =
        threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    names.filter(|name| name.trim() == "sockeye").count()
}

fn play(programs: Vec<Vec<Step>>, conditions: &str) {
    let is_gone = Arc::new(AtomicBool::new(false));
    let link = || HostConfig {
        link: conditions.parse::<sockeye::NetemConfig>().unwrap().into(),
        ..HostConfig::default()
    };
    let network = Network::builder()
        .host("a", link())
        .host("b", link())
        .capture_to(Witness(Arc::clone(&is_gone)))
        .build()
        .unwrap();
    let common = Common::new(&network);
    let threads: Vec<_> = programs
        .into_iter()
        .map(|steps| {
            let common = common.clone();
            thread::spawn(move || {
                let mut actor = Actor::default();
                for step in &steps {
                    actor.act(&common, step);
                }
            })
        })
        .collect();
    let hosts = common.hosts.clone();
    drop(common);
    for thread in threads {
        if let Err(payload) = thread.join() {
            let message = payload.downcast_ref::<String>().expect("panics say something");
            assert_eq!(message, QUIET);
        }
    }
    for host in &hosts {
        assert_eq!(host.usage().sockets, 0, "{host:?} {:?}", host.usage());
    }
    drop(hosts);
    assert!(!is_gone.load(Ordering::SeqCst), "the network lives as long as a handle");
    drop(network);
    assert!(is_gone.load(Ordering::SeqCst), "something keeps the network");
    // The kernel lists a thread for a moment after it was joined.
    let deadline = Instant::now() + Duration::from_secs(10);
    while drivers() > 0 {
        assert!(Instant::now() < deadline, "a driver's thread goes on");
        thread::yield_now();
    }
}

#[test]
fn when_the_handles_are_gone_so_is_everything() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<String>().is_none_or(|message| message != QUIET) {
            hook(info);
        }
    }));
    let programs = prop::collection::vec(prop::collection::vec(step(), 1..24), 2..4);
    let conditions = prop_oneof![Just(""), Just("delay 200us"), Just("delay 100us loss 10%")];
    let config = ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner
        .run(&(programs, conditions), |(programs, conditions)| {
            play(programs, conditions);
            Ok(())
        })
        .unwrap();
}
