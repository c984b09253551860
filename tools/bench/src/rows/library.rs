//! The library's blocking sockets in two threads, on two hosts of a network in memory, beside the kernel's loopback.

use std::io;
use std::net::{self, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sockeye::{Host, HostConfig, Network};

use crate::cores::{Cores, Processors};
use crate::peers::{smoltcp, smoltcp_threads};
use crate::row::{Figure, Row};
use crate::streams::{End, SPAN, Thinking, WARM_UP, gigabits_per_second, round_trip};

const KERNEL: &str = "kernel loopback";

/// Connections of one run: fewer than there are ports.
const CONNECTIONS: u32 = 4_000;
/// How far who connects may be ahead of who accepts: less than a backlog.
const AHEAD: u32 = 100;

pub(super) fn rows() -> Vec<Row> {
    let throughput = |name, size, goal| {
        row(
            name,
            "Gbit/s",
            KERNEL,
            goal,
            move || gigabits_per_second(ours(&network(true)?)?, size),
            move || gigabits_per_second(kernel()?, size),
        )
    };
    let times = |name, thinking, goal| Row {
        smaller: true,
        ..row(
            name,
            "µs",
            KERNEL,
            goal,
            move || round_trip(ours(&network(true)?)?, thinking),
            move || round_trip(if thinking == Thinking::Not { awake_kernel()? } else { kernel()? }, thinking),
        )
    };
    let datagrams = |name, size, goal| {
        row(name, "/s", KERNEL, goal, move || our_datagrams(size), move || kernel_datagrams(size))
    };
    vec![
        throughput("library, 64 KiB writes", 64 << 10, 1.2),
        throughput("library, 256 KiB writes", 256 << 10, 1.2),
        row(
            "library, 64 KiB writes, MTU 1500",
            "Gbit/s",
            "smoltcp on two threads",
            3.0,
            || gigabits_per_second(ours(&network(false)?)?, 64 << 10),
            || smoltcp_threads::gigabits_per_second(smoltcp::Link { mtu: 1500, checksums: false }),
        ),
        times("library, round trip parked", Thinking::Long, 1.0),
        times("library, round trip awake", Thinking::Not, 1.3),
        row("library, connect, accept, close", "/s", KERNEL, 2.0, our_connections, kernel_connections),
        datagrams("library, UDP 64 B", 64, 4.0),
        datagrams("library, UDP 1400 B", 1400, 4.0),
    ]
}

fn row(
    name: &'static str,
    unit: &'static str,
    peer: &'static str,
    goal: f64,
    ours: impl FnMut() -> Figure + 'static,
    theirs: impl FnMut() -> Figure + 'static,
) -> Row {
    Row { name, unit, peer, goal, smaller: false, ours: Box::new(ours), theirs: Box::new(theirs) }
}

/// Two hosts in memory.
struct Hosts {
    near: Host,
    far: Host,
}

/// With super-segments between them, as hosts have unless told otherwise, or packets as on a wire.
fn network(super_segments: bool) -> Result<Hosts, String> {
    let builder = Network::builder().super_segments(super_segments);
    let builder = builder.host("near", HostConfig::default()).host("far", HostConfig::default());
    let hosts = builder.build().and_then(|network| Ok((network.host("near")?, network.host("far")?)));
    let (near, far) = hosts.map_err(|error| error.to_string())?;
    Ok(Hosts { near, far })
}

fn ours(Hosts { near, far }: &Hosts) -> Result<(End, End), String> {
    let connected = || {
        let listener = far.tcp_listen((far.ipv4(), 80))?;
        let one = near.tcp_connect((far.ipv4(), 80))?;
        let (other, _) = listener.accept()?;
        one.set_nodelay(true)?;
        other.set_nodelay(true)?;
        let end = |stream: sockeye::TcpStream| {
            io::Result::Ok(End { from: Box::new(stream.try_clone()?), to: Box::new(stream) })
        };
        Ok((end(one)?, end(other)?))
    };
    connected().map_err(|error: io::Error| error.to_string())
}

fn kernel() -> Result<(End, End), String> {
    kernel_by(|stream| Ok(End { from: Box::new(stream.try_clone()?), to: Box::new(stream) }))
}

/// The same, and who reads from it never sleeps: it tries again until something is there.
fn awake_kernel() -> Result<(End, End), String> {
    kernel_by(|stream| {
        stream.set_nonblocking(true)?;
        Ok(End { from: Box::new(Awake(stream.try_clone()?)), to: Box::new(stream) })
    })
}

fn kernel_by(end: impl Fn(net::TcpStream) -> io::Result<End>) -> Result<(End, End), String> {
    let connected = || {
        let listener = net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let one = net::TcpStream::connect(listener.local_addr()?)?;
        let (other, _) = listener.accept()?;
        one.set_nodelay(true)?;
        other.set_nodelay(true)?;
        Ok((end(one)?, end(other)?))
    };
    connected().map_err(|error: io::Error| error.to_string())
}

/// Reads without sleeping.
struct Awake(net::TcpStream);

impl io::Read for Awake {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::hint::spin_loop(),
                read => return read,
            }
        }
    }
}

fn our_connections() -> Figure {
    let Hosts { near, far } = network(true)?;
    let address = (far.ipv4(), 80);
    let listener = far.tcp_listen(address).map_err(|error| error.to_string())?;
    connections_per_second(|| near.tcp_connect(address).map(drop), || listener.accept().map(drop))
}

fn kernel_connections() -> Figure {
    let listener = net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    connections_per_second(|| net::TcpStream::connect(address).map(drop), || listener.accept().map(drop))
}

/// One thread connects and closes, another accepts and closes.
fn connections_per_second(
    connect: impl Fn() -> io::Result<()>,
    accept: impl Fn() -> io::Result<()> + Sync,
) -> Figure {
    let processors = Processors::find(Cores::Two)?;
    let accepted = AtomicU32::new(0);
    thread::scope(|scope| {
        let accepting = scope.spawn(|| {
            Processors::take(processors.second);
            (0..CONNECTIONS).try_for_each(|_| {
                accept()?;
                accepted.fetch_add(1, Ordering::Release);
                io::Result::Ok(())
            })
        });
        Processors::take(processors.first);
        let start = Instant::now();
        for made in 0..CONNECTIONS {
            while made - accepted.load(Ordering::Acquire).min(made) > AHEAD && !accepting.is_finished() {
                thread::yield_now();
            }
            connect().map_err(|error| error.to_string())?;
        }
        accepting.join().map_err(|_| "who accepts failed")?.map_err(|error| error.to_string())?;
        Ok(f64::from(CONNECTIONS) / start.elapsed().as_secs_f64())
    })
}

/// A receiver to whom nobody sends any more gives up.
const PATIENCE: Duration = Duration::from_secs(5);

fn our_datagrams(size: usize) -> Figure {
    let Hosts { near, far } = network(true)?;
    let sockets = || {
        let receiver = far.udp_bind((far.ipv4(), 9))?;
        receiver.set_read_timeout(Some(PATIENCE))?;
        let sender = near.udp_bind((near.ipv4(), 0))?;
        sender.connect((far.ipv4(), 9))?;
        Ok((sender, receiver))
    };
    let (sender, receiver) = sockets().map_err(|error: io::Error| error.to_string())?;
    datagrams_per_second(|data| sender.send(data), |buffer| receiver.recv(buffer), size)
}

fn kernel_datagrams(size: usize) -> Figure {
    let sockets = || {
        let receiver = net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        receiver.set_read_timeout(Some(PATIENCE))?;
        let sender = net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        sender.connect(receiver.local_addr()?)?;
        Ok((sender, receiver))
    };
    let (sender, receiver) = sockets().map_err(|error: io::Error| error.to_string())?;
    datagrams_per_second(|data| sender.send(data), |buffer| receiver.recv(buffer), size)
}

/// Datagrams that one thread receives while another sends as many as it can: what finds the receiver's queue full is
/// lost, and doesn't count.
fn datagrams_per_second(
    send: impl Fn(&[u8]) -> io::Result<usize>,
    receive: impl Fn(&mut [u8]) -> io::Result<usize> + Sync,
    size: usize,
) -> Figure {
    let processors = Processors::find(Cores::Two)?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            Processors::take(processors.second);
            let figure = receive_for(&receive, size);
            is_over.store(true, Ordering::Relaxed);
            figure
        });
        Processors::take(processors.first);
        let data = vec![0x55; size];
        while !is_over.load(Ordering::Relaxed) {
            send(&data).map_err(|error| error.to_string())?;
        }
        receiving.join().map_err(|_| "the receiver failed")?.map_err(|error| error.to_string())
    })
}

fn receive_for(receive: impl Fn(&mut [u8]) -> io::Result<usize>, size: usize) -> io::Result<f64> {
    let mut buffer = vec![0; size + 1];
    let mut receive_one = || match receive(&mut buffer)? {
        length if length == size => Ok(()),
        _ => Err(io::Error::other("a datagram of another size was received")),
    };
    let started = Instant::now();
    while started.elapsed() < WARM_UP {
        receive_one()?;
    }
    let (counted, mut count) = (Instant::now(), 0_u32);
    while counted.elapsed() < SPAN {
        receive_one()?;
        count += 1;
    }
    Ok(f64::from(count) / counted.elapsed().as_secs_f64())
}
