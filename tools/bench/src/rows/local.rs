//! Local sockets beside the kernel's `AF_UNIX` sockets, pipes and TCP loopback: two threads on two cores, or on one.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sockeye_local::{LocalDatagram, LocalPackets, LocalStream};

use crate::cores::{Cores, Processors};
use crate::row::{Figure, Row, Size};

pub(crate) use many::hold_clients;

mod connects;
mod many;

/// How long one figure of throughput takes.
const SPAN: Duration = Duration::from_millis(150);
const ROUNDS: u32 = 5_000;
const PARKED_ROUNDS: u32 = 300;
/// What a thread does between two parked rounds: so long that the other one sleeps.
const THINKING: Duration = Duration::from_micros(100);

/// Two ends of a connection, each with a reading and a writing handle.
struct Pair {
    ours: (Box<dyn Read + Send>, Box<dyn Write + Send>),
    theirs: (Box<dyn Read + Send>, Box<dyn Write + Send>),
}

type Connect = fn() -> Result<Pair, std::io::Error>;
type Rounds = fn(Connect, Cores) -> Figure;

fn local() -> Result<Pair, std::io::Error> {
    let (one, other) = LocalStream::pair()?;
    Ok(Pair {
        ours: (Box::new(one.try_clone()?), Box::new(one)),
        theirs: (Box::new(other.try_clone()?), Box::new(other)),
    })
}

fn unix() -> Result<Pair, std::io::Error> {
    let (one, other) = UnixStream::pair()?;
    Ok(Pair {
        ours: (Box::new(one.try_clone()?), Box::new(one)),
        theirs: (Box::new(other.try_clone()?), Box::new(other)),
    })
}

fn pipe() -> Result<Pair, std::io::Error> {
    let ((from_ours, to_theirs), (from_theirs, to_ours)) = (std::io::pipe()?, std::io::pipe()?);
    Ok(Pair {
        ours: (Box::new(from_theirs), Box::new(to_theirs)),
        theirs: (Box::new(from_ours), Box::new(to_ours)),
    })
}

fn tcp() -> Result<Pair, std::io::Error> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let one = TcpStream::connect(listener.local_addr()?)?;
    let (other, _) = listener.accept()?;
    one.set_nodelay(true)?;
    other.set_nodelay(true)?;
    Ok(Pair {
        ours: (Box::new(one.try_clone()?), Box::new(one)),
        theirs: (Box::new(other.try_clone()?), Box::new(other)),
    })
}

const PEERS: [(&str, Connect); 3] = [("AF_UNIX", unix), ("pipe", pipe), ("TCP loopback", tcp)];

/// In the short mode beside `AF_UNIX` only: ours is the same beside each.
pub(super) fn rows(size: Size) -> Vec<Row> {
    let peers = if size == Size::Short { &PEERS[..1] } else { &PEERS[..] };
    let sizes = [
        (64, 10.0, ["local, 64 B writes", "local, 64 B writes, one core"]),
        (1 << 10, 1.0, ["local, 1 KiB writes", "local, 1 KiB writes, one core"]),
        (16 << 10, 1.0, ["local, 16 KiB writes", "local, 16 KiB writes, one core"]),
        (64 << 10, 4.0, ["local, 64 KiB writes", "local, 64 KiB writes, one core"]),
        (1 << 20, 1.0, ["local, 1 MiB writes", "local, 1 MiB writes, one core"]),
    ];
    let mut rows = Vec::new();
    for (size, goal, names) in sizes {
        for (name, cores) in names.into_iter().zip([Cores::Two, Cores::One]) {
            for &(peer, connect) in peers {
                let goal = if peer == "AF_UNIX" { goal } else { 1.0 };
                rows.push(throughput(name, peer, connect, size, cores, goal));
            }
        }
    }
    rows.push(round_trip("local, round trip awake", "0.3 µs", |_| Ok(0.3), Cores::Two, awake));
    let round_trips: [(&str, Cores, Rounds); 4] = [
        ("local, round trip busy", Cores::Two, awake),
        ("local, round trip busy, one core", Cores::One, awake),
        ("local, round trip parked", Cores::Two, parked),
        ("local, round trip parked, one core", Cores::One, parked),
    ];
    for (name, cores, rounds) in round_trips {
        for &(peer, connect) in peers {
            rows.push(round_trip(name, peer, move |cores| rounds(connect, cores), cores, rounds));
        }
    }
    rows.push(messages("local, messages of 64 B", Cores::Two));
    rows.push(messages("local, messages of 64 B, one core", Cores::One));
    rows.push(datagrams());
    rows.extend(connects::rows());
    rows.extend(many::rows());
    rows
}

fn throughput(
    name: &'static str,
    peer: &'static str,
    connect: Connect,
    size: usize,
    cores: Cores,
    goal: f64,
) -> Row {
    Row {
        name,
        unit: "Gbit/s",
        peer,
        goal,
        smaller: false,
        ours: Box::new(move || bits_per_second(local, size, cores)),
        theirs: Box::new(move || bits_per_second(connect, size, cores)),
    }
}

/// Writes of a size in one thread, reads of what there is in another.
fn bits_per_second(connect: Connect, size: usize, cores: Cores) -> Figure {
    let processors = Processors::find(cores)?;
    let Pair { ours: (_, mut to), theirs: (mut from, _) } = connect().map_err(|error| error.to_string())?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            Processors::take(processors.second);
            let mut buffer = vec![0; size.max(64 << 10)];
            let (mut total, start) = (0_u64, Instant::now());
            while start.elapsed() < SPAN {
                total += from.read(&mut buffer)? as u64;
            }
            is_over.store(true, Ordering::Relaxed);
            let spent = start.elapsed();
            // What the writer is still at.
            while from.read(&mut buffer)? > 0 {}
            Ok(total as f64 * 8.0 / spent.as_secs_f64() / 1e9)
        });
        Processors::take(processors.first);
        let bytes = vec![1; size];
        while !is_over.load(Ordering::Relaxed) {
            to.write_all(&bytes).map_err(|error| error.to_string())?;
        }
        drop(to);
        let figure: std::io::Result<f64> = reading.join().map_err(|_| "the reader failed")?;
        figure.map_err(|error| error.to_string())
    })
}

fn round_trip(
    name: &'static str,
    peer: &'static str,
    theirs: impl Fn(Cores) -> Figure + 'static,
    cores: Cores,
    rounds: Rounds,
) -> Row {
    Row {
        name,
        unit: "µs",
        peer,
        goal: 1.0,
        smaller: true,
        ours: Box::new(move || rounds(local, cores)),
        theirs: Box::new(move || theirs(cores)),
    }
}

/// One byte there and back again and again.
fn awake(connect: Connect, cores: Cores) -> Figure {
    round_trips(connect, cores, ROUNDS, Thinking::Not)
}

/// One byte there and back to a thread that sleeps by then.
fn parked(connect: Connect, cores: Cores) -> Figure {
    round_trips(connect, cores, PARKED_ROUNDS, Thinking::Long)
}

/// What the asking thread does before a round.
#[derive(Clone, Copy, PartialEq)]
enum Thinking {
    /// Nothing; but now and then it asks much at once, so that both threads are awake.
    Not,
    /// It sleeps so long that the other does too.
    Long,
}

/// The median time of a round in microseconds.
fn round_trips(connect: Connect, cores: Cores, rounds: u32, thinking: Thinking) -> Figure {
    let processors = Processors::find(cores)?;
    let Pair { ours: (mut from, mut to), theirs: (mut there, mut back) } =
        connect().map_err(|error| error.to_string())?;
    thread::scope(|scope| {
        scope.spawn(|| {
            Processors::take(processors.second);
            let mut byte = [0];
            while there.read(&mut byte).is_ok_and(|count| count == 1) && back.write_all(&byte).is_ok() {}
        });
        Processors::take(processors.first);
        let mut ask = |count: usize| {
            let asked = (0..count).try_for_each(|_| to.write_all(&[1]));
            asked.and_then(|()| from.read_exact(&mut vec![0; count])).map_err(|error| error.to_string())
        };
        let mut times = Vec::new();
        for round in 0..rounds {
            match thinking {
                Thinking::Long => thread::sleep(THINKING),
                Thinking::Not if round.is_multiple_of(100) => ask(500)?,
                Thinking::Not => {}
            }
            let asked = Instant::now();
            ask(1)?;
            times.push(asked.elapsed().as_secs_f64() * 1e6);
        }
        drop((to, from));
        Ok(crate::row::median(&times))
    })
}

/// Packets of 64 bytes, one way.
fn messages(name: &'static str, cores: Cores) -> Row {
    Row {
        name,
        unit: "/s",
        peer: "AF_UNIX seqpacket",
        goal: 1.0,
        smaller: false,
        ours: Box::new(move || {
            messages_per_second(LocalPackets::pair().map_err(|error| error.to_string())?, cores)
        }),
        theirs: Box::new(move || {
            let kind = rustix::net::SocketType::SEQPACKET;
            let family = rustix::net::AddressFamily::UNIX;
            let pair = rustix::net::socketpair(family, kind, rustix::net::SocketFlags::CLOEXEC, None);
            let (one, other) = pair.map_err(|error| error.to_string())?;
            let wrapped = |socket| LocalPackets::from(UnixStream::from(socket));
            messages_per_second((wrapped(one), wrapped(other)), cores)
        }),
    }
}

fn messages_per_second((to, from): (LocalPackets, LocalPackets), cores: Cores) -> Figure {
    let processors = Processors::find(cores)?;
    thread::scope(|scope| {
        let sending = scope.spawn(move || {
            Processors::take(processors.second);
            let start = Instant::now();
            while start.elapsed() < SPAN {
                for _ in 0..16 {
                    to.send(&[1; 64])?;
                }
            }
            std::io::Result::Ok(())
        });
        Processors::take(processors.first);
        let (start, mut count, mut packet) = (Instant::now(), 0_u32, [0; 64]);
        while from.recv(&mut packet).map_err(|error| error.to_string())? > 0 {
            count += 1;
        }
        let spent = start.elapsed();
        sending.join().map_err(|_| "the sender failed")?.map_err(|error| error.to_string())?;
        Ok(f64::from(count) / spent.as_secs_f64())
    })
}

/// Datagrams of 64 bytes, one way across two cores.
fn datagrams() -> Row {
    Row {
        name: "local, datagrams of 64 B",
        unit: "/s",
        peer: "AF_UNIX dgram",
        goal: 1.0,
        smaller: false,
        ours: Box::new(|| datagrams_per_second(LocalDatagram::pair().map_err(|error| error.to_string())?)),
        theirs: Box::new(|| {
            let (one, other) = UnixDatagram::pair().map_err(|error| error.to_string())?;
            datagrams_per_second((LocalDatagram::from(one), LocalDatagram::from(other)))
        }),
    }
}

fn datagrams_per_second((to, from): (LocalDatagram, LocalDatagram)) -> Figure {
    let processors = Processors::find(Cores::Two)?;
    thread::scope(|scope| {
        let sending = scope.spawn(move || {
            Processors::take(processors.second);
            let start = Instant::now();
            while start.elapsed() < SPAN {
                for _ in 0..16 {
                    to.send(&[1; 64])?;
                }
            }
            // Nobody is told of an end: an empty one says it.
            to.send(&[])
        });
        Processors::take(processors.first);
        let (start, mut count, mut datagram) = (Instant::now(), 0_u32, [0; 64]);
        while from.recv(&mut datagram).map_err(|error| error.to_string())? > 0 {
            count += 1;
        }
        let spent = start.elapsed();
        sending.join().map_err(|_| "the sender failed")?.map_err(|error| error.to_string())?;
        Ok(f64::from(count) / spent.as_secs_f64())
    })
}
