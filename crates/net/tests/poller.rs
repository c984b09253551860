//! The poller reports what epoll reports: the same bodies run with the kernel's sockets and epoll, and with
//! ours.

#![cfg(target_os = "linux")]

use sockeye::poller::{Events, Interest, Mode, Poller};
use std::io;
use std::net::{Shutdown, SocketAddr};

/// What an event says, in epoll's words.
type Told = Vec<(usize, String)>;

/// Sockets on two hosts and somebody who watches those of the second.
trait Side: Sized {
    type Listener;
    type Stream;
    type Datagrams;

    fn new() -> Self;
    fn listen(&self) -> Self::Listener;
    /// A client of the listener, connected.
    fn connect(&self, to: &Self::Listener) -> Self::Stream;
    fn accept(&self, listener: &Self::Listener) -> Self::Stream;
    fn datagrams(&self) -> [Self::Datagrams; 2];
    fn write(&self, stream: &Self::Stream, data: &[u8]) -> io::Result<usize>;
    fn read(&self, stream: &Self::Stream, max: usize) -> io::Result<usize>;
    fn shutdown(&self, stream: &Self::Stream, how: Shutdown);
    fn send(&self, from: &Self::Datagrams, to: &Self::Datagrams);
    fn recv(&self, socket: &Self::Datagrams);
    fn watch(&self, socket: Watched<'_, Self>, what: Change) -> io::Result<()>;
    /// What is ready, when `expected` events had their time to come.
    fn wait(&self, room: usize, expected: usize) -> Told;

    fn pair(&self) -> [Self::Stream; 2] {
        let listener = self.listen();
        let client = self.connect(&listener);
        [client, self.accept(&listener)]
    }

    fn add(&self, socket: Watched<'_, Self>, key: usize, interest: Interest, mode: Mode) {
        self.watch(socket, Change::Add(key, interest, mode)).unwrap();
    }

    /// Panics unless just these events are told, in any order.
    #[track_caller]
    fn expect(&self, expected: &[(usize, &str)]) {
        let mut told = self.wait(16, expected.len());
        told.sort();
        // A hang-up says that reading is over, too; epoll adds that only for who asked.
        for (_, words) in &mut told {
            if words.ends_with(" HUP") {
                *words = words.replace("RDHUP ", "");
            }
        }
        let expected: Told = expected.iter().map(|&(key, words)| (key, words.to_owned())).collect();
        assert_eq!(told, expected);
    }
}

enum Watched<'a, S: Side> {
    Listener(&'a S::Listener),
    Stream(&'a S::Stream),
    Datagrams(&'a S::Datagrams),
}

#[derive(Clone, Copy)]
enum Change {
    Add(usize, Interest, Mode),
    Modify(usize, Interest, Mode),
    Delete,
}

use Watched::{Datagrams, Listener, Stream};

const BOTH: [Interest; 2] = [Interest::READABLE, Interest::WRITABLE];

fn level<S: Side>() {
    let side = S::new();
    let [client, server] = side.pair();
    side.add(Stream(&server), 7, Interest::READABLE, Mode::Level);
    side.expect(&[]);
    side.write(&client, b"abc").unwrap();
    side.expect(&[(7, "IN")]);
    side.expect(&[(7, "IN")]);
    side.read(&server, 1).unwrap();
    side.expect(&[(7, "IN")]);
    side.read(&server, 8).unwrap();
    side.expect(&[]);
}

fn edge<S: Side>() {
    let side = S::new();
    let [client, server] = side.pair();
    side.write(&client, b"abc").unwrap();
    side.add(Stream(&server), 7, Interest::READABLE, Mode::Edge);
    side.expect(&[(7, "IN")]);
    side.expect(&[]);
    side.read(&server, 1).unwrap();
    side.expect(&[]);
    side.write(&client, b"d").unwrap();
    side.expect(&[(7, "IN")]);
    side.read(&server, 8).unwrap();
    side.write(&client, b"e").unwrap();
    side.read(&server, 8).unwrap();
    side.expect(&[]);
    side.write(&client, b"f").unwrap();
    side.watch(Stream(&server), Change::Modify(8, Interest::READABLE, Mode::Edge)).unwrap();
    side.expect(&[(8, "IN")]);
    side.expect(&[]);
}

fn edge_of_both<S: Side>() {
    let side = S::new();
    let [client, server] = side.pair();
    side.add(Stream(&server), 1, BOTH[0] | BOTH[1], Mode::Edge);
    side.expect(&[(1, "OUT")]);
    side.expect(&[]);
    side.write(&client, b"abc").unwrap();
    side.expect(&[(1, "IN OUT")]);
    side.expect(&[]);
}

fn room<S: Side>() {
    let side = S::new();
    let [client, server] = side.pair();
    side.add(Stream(&server), 1, Interest::WRITABLE, Mode::Edge);
    side.expect(&[(1, "OUT")]);
    let block = vec![0; 1 << 20];
    let mut written = 0;
    loop {
        match side.write(&server, &block) {
            Ok(len) => written += len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                side.wait(16, 0);
                // The kernel's buffers may have grown meanwhile.
                match side.write(&server, &block) {
                    Ok(len) => written += len,
                    Err(_) => break,
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
    side.wait(16, 0);
    while written > 0 {
        match side.read(&client, 1 << 20) {
            Ok(len) => written -= len,
            // On its way.
            Err(_) => assert!(side.wait(16, 0).len() <= 1),
        }
    }
    side.watch(Stream(&server), Change::Modify(1, Interest::WRITABLE, Mode::Oneshot)).unwrap();
    side.expect(&[(1, "OUT")]);
}

fn oneshot<S: Side>() {
    let side = S::new();
    let [client, server] = side.pair();
    side.add(Stream(&server), 1, Interest::READABLE, Mode::Oneshot);
    side.write(&client, b"abc").unwrap();
    side.expect(&[(1, "IN")]);
    side.expect(&[]);
    side.write(&client, b"abc").unwrap();
    side.expect(&[]);
    side.watch(Stream(&server), Change::Modify(2, Interest::READABLE, Mode::Oneshot)).unwrap();
    side.expect(&[(2, "IN")]);
    side.shutdown(&client, Shutdown::Both);
    side.expect(&[]);
}

fn ends<S: Side>() {
    let side = S::new();
    let ([client, server], [other, quiet]) = (side.pair(), side.pair());
    side.add(Stream(&server), 1, BOTH[0] | BOTH[1], Mode::Level);
    side.add(Stream(&quiet), 2, Interest::NONE, Mode::Level);
    side.shutdown(&client, Shutdown::Write);
    side.shutdown(&other, Shutdown::Write);
    side.expect(&[(1, "IN OUT RDHUP")]);
    side.shutdown(&server, Shutdown::Write);
    side.shutdown(&quiet, Shutdown::Write);
    side.expect(&[(1, "IN OUT HUP"), (2, "HUP")]);
}

fn resets<S: Side>() {
    let side = S::new();
    let [client, server] = side.pair();
    side.add(Stream(&server), 1, Interest::NONE, Mode::Level);
    side.write(&server, b"never read").unwrap();
    side.wait(16, 0);
    drop(client);
    side.expect(&[(1, "ERR HUP")]);
    side.watch(Stream(&server), Change::Modify(1, BOTH[0] | BOTH[1], Mode::Level)).unwrap();
    side.expect(&[(1, "IN OUT ERR HUP")]);
}

fn listeners<S: Side>() {
    let side = S::new();
    let listener = side.listen();
    side.add(Listener(&listener), 1, Interest::READABLE, Mode::Edge);
    side.expect(&[]);
    let _first = side.connect(&listener);
    side.expect(&[(1, "IN")]);
    side.expect(&[]);
    let _second = side.connect(&listener);
    side.expect(&[(1, "IN")]);
    side.watch(Listener(&listener), Change::Modify(1, Interest::READABLE, Mode::Level)).unwrap();
    side.expect(&[(1, "IN")]);
    let _accepted = side.accept(&listener);
    side.expect(&[(1, "IN")]);
    let _accepted = side.accept(&listener);
    side.expect(&[]);
}

fn datagrams<S: Side>() {
    let side = S::new();
    let [from, to] = side.datagrams();
    side.add(Datagrams(&to), 1, Interest::READABLE, Mode::Edge);
    side.add(Datagrams(&from), 2, Interest::WRITABLE, Mode::Edge);
    side.expect(&[(2, "OUT")]);
    side.send(&from, &to);
    side.wait(16, 1);
    side.send(&from, &to);
    side.wait(16, 1);
    side.watch(Datagrams(&from), Change::Delete).unwrap();
    side.watch(Datagrams(&to), Change::Modify(1, Interest::READABLE, Mode::Level)).unwrap();
    side.expect(&[(1, "IN")]);
    side.recv(&to);
    side.expect(&[(1, "IN")]);
    side.recv(&to);
    side.expect(&[]);
}

fn refusals<S: Side>() {
    let side = S::new();
    let [_client, server] = side.pair();
    let kind = |change| side.watch(Stream(&server), change).map_err(|error| error.kind());
    let (key, interest, mode) = (1, Interest::READABLE, Mode::Level);
    assert_eq!(kind(Change::Modify(key, interest, mode)), Err(io::ErrorKind::NotFound));
    assert_eq!(kind(Change::Delete), Err(io::ErrorKind::NotFound));
    assert_eq!(kind(Change::Add(key, interest, mode)), Ok(()));
    assert_eq!(kind(Change::Add(key, interest, mode)), Err(io::ErrorKind::AlreadyExists));
    assert_eq!(kind(Change::Delete), Ok(()));
    assert_eq!(kind(Change::Delete), Err(io::ErrorKind::NotFound));
    assert_eq!(kind(Change::Add(key, interest, mode)), Ok(()));
}

fn closing<S: Side>() {
    let side = S::new();
    let ([client, server], [other, stays]) = (side.pair(), side.pair());
    side.add(Stream(&server), 1, Interest::READABLE, Mode::Level);
    side.add(Stream(&stays), 2, Interest::READABLE, Mode::Level);
    side.write(&client, b"abc").unwrap();
    side.write(&other, b"abc").unwrap();
    side.expect(&[(1, "IN"), (2, "IN")]);
    drop(server);
    side.expect(&[(2, "IN")]);
    side.watch(Stream(&stays), Change::Delete).unwrap();
    side.expect(&[]);
}

fn little_room<S: Side>() {
    let side = S::new();
    let pairs: Vec<[S::Stream; 2]> = (0..3).map(|_| side.pair()).collect();
    for (key, [client, server]) in pairs.iter().enumerate() {
        side.write(client, b"abc").unwrap();
        side.add(Stream(server), key, Interest::READABLE, Mode::Level);
    }
    let told: Vec<usize> = (0..3).flat_map(|_| side.wait(2, 2)).map(|(key, _)| key).collect();
    assert_eq!(told, [0, 1, 2, 0, 1, 2], "each has its turn");
}

/// The kernel's sockets on the loopback interface.
mod kernel {
    use super::*;
    use rustix::event::epoll;
    use rustix::net::{RecvFlags, SendFlags};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::time::Duration;

    pub(super) struct Kernel(OwnedFd);

    const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    fn flags(interest: Interest, mode: Mode) -> epoll::EventFlags {
        let mut flags = match mode {
            Mode::Level => epoll::EventFlags::empty(),
            Mode::Edge => epoll::EventFlags::ET,
            Mode::Oneshot => epoll::EventFlags::ONESHOT,
        };
        if interest | Interest::READABLE == interest {
            flags |= epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
        }
        if interest | Interest::WRITABLE == interest {
            flags |= epoll::EventFlags::OUT;
        }
        flags
    }

    impl Side for Kernel {
        type Listener = TcpListener;
        type Stream = TcpStream;
        type Datagrams = UdpSocket;

        fn new() -> Kernel {
            Kernel(epoll::create(epoll::CreateFlags::CLOEXEC).unwrap())
        }

        fn listen(&self) -> TcpListener {
            TcpListener::bind(HERE).unwrap()
        }

        fn connect(&self, to: &TcpListener) -> TcpStream {
            let stream = TcpStream::connect(to.local_addr().unwrap()).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        }

        fn accept(&self, listener: &TcpListener) -> TcpStream {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        }

        fn datagrams(&self) -> [UdpSocket; 2] {
            [HERE, HERE].map(|here| UdpSocket::bind(here).unwrap())
        }

        fn write(&self, stream: &TcpStream, data: &[u8]) -> io::Result<usize> {
            Ok(rustix::net::send(stream, data, SendFlags::NOSIGNAL)?)
        }

        fn read(&self, stream: &TcpStream, max: usize) -> io::Result<usize> {
            Ok(rustix::net::recv(stream, &mut vec![0; max][..], RecvFlags::empty())?.0)
        }

        fn shutdown(&self, stream: &TcpStream, how: Shutdown) {
            stream.shutdown(how).unwrap();
        }

        fn send(&self, from: &UdpSocket, to: &UdpSocket) {
            from.send_to(b"datagram", to.local_addr().unwrap()).unwrap();
        }

        fn recv(&self, socket: &UdpSocket) {
            socket.recv(&mut [0; 16]).unwrap();
        }

        fn watch(&self, socket: Watched<'_, Self>, what: Change) -> io::Result<()> {
            let fd: BorrowedFd<'_> = match socket {
                Listener(socket) => socket.as_fd(),
                Stream(socket) => socket.as_fd(),
                Datagrams(socket) => socket.as_fd(),
            };
            let data = |key| epoll::EventData::new_u64(key as u64);
            Ok(match what {
                Change::Add(key, interest, mode) => epoll::add(&self.0, fd, data(key), flags(interest, mode)),
                Change::Modify(key, interest, mode) => {
                    epoll::modify(&self.0, fd, data(key), flags(interest, mode))
                }
                Change::Delete => epoll::delete(&self.0, fd),
            }?)
        }

        fn wait(&self, room: usize, expected: usize) -> Told {
            let limit = if expected == 0 { Duration::ZERO } else { Duration::from_secs(5) };
            let mut events = Vec::with_capacity(room);
            epoll::wait(
                &self.0,
                rustix::buffer::spare_capacity(&mut events),
                Some(&limit.try_into().unwrap()),
            )
            .unwrap();
            let words = [
                (epoll::EventFlags::IN, "IN"),
                (epoll::EventFlags::OUT, "OUT"),
                (epoll::EventFlags::RDHUP, "RDHUP"),
                (epoll::EventFlags::ERR, "ERR"),
                (epoll::EventFlags::HUP, "HUP"),
            ];
            let told = |event: &epoll::Event| {
                let flags = event.flags;
                let said: Vec<&str> =
                    words.iter().filter(|(flag, _)| flags.contains(*flag)).map(|word| word.1).collect();
                (event.data.u64() as usize, said.join(" "))
            };
            events.iter().map(told).collect()
        }
    }
}

/// Ours, on two hosts that are turned by hand.
mod ours {
    use super::*;
    use sockeye::stack::Readiness;
    use sockeye::{Host, HostConfig, Network, TcpListener, TcpStream, UdpSocket};
    use std::cell::RefCell;
    use std::io::{Read, Write};

    pub(super) struct Ours {
        network: Network,
        simulation: RefCell<sockeye::Simulation>,
        hosts: [Host; 2],
        poller: Poller,
    }

    impl Ours {
        fn settle(&self) {
            let mut simulation = self.simulation.borrow_mut();
            let until = simulation.now() + std::time::Duration::from_millis(1);
            simulation.run_until(until, |_| false);
        }
    }

    impl Side for Ours {
        type Listener = TcpListener;
        type Stream = TcpStream;
        type Datagrams = UdpSocket;

        fn new() -> Ours {
            let builder = Network::builder().seed(1);
            let builder = builder.host("a", HostConfig::default()).host("b", HostConfig::default());
            let simulation = builder.simulate().unwrap();
            let network = simulation.network().clone();
            let hosts = ["a", "b"].map(|name| network.host(name).unwrap());
            Ours { network, simulation: RefCell::new(simulation), hosts, poller: Poller::new() }
        }

        fn listen(&self) -> TcpListener {
            let listener = self.hosts[1].tcp_listen((self.hosts[1].ipv4(), 0)).unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        }

        fn connect(&self, to: &TcpListener) -> TcpStream {
            let (host, to) = (self.hosts[0].clone(), to.local_addr().unwrap());
            // A blocking connect needs somebody who turns the network.
            let connecting = std::thread::spawn(move || host.tcp_connect(to).unwrap());
            while !connecting.is_finished() {
                self.network.turn(self.network.now());
                std::thread::yield_now();
            }
            let stream = connecting.join().unwrap();
            stream.set_nonblocking(true).unwrap();
            self.settle();
            stream
        }

        fn accept(&self, listener: &TcpListener) -> TcpStream {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        }

        fn datagrams(&self) -> [UdpSocket; 2] {
            self.hosts.each_ref().map(|host| host.udp_bind((host.ipv4(), 0)).unwrap())
        }

        fn write(&self, mut stream: &TcpStream, data: &[u8]) -> io::Result<usize> {
            let written = stream.write(data);
            self.settle();
            written
        }

        fn read(&self, mut stream: &TcpStream, max: usize) -> io::Result<usize> {
            let read = stream.read(&mut vec![0; max]);
            self.settle();
            read
        }

        fn shutdown(&self, stream: &TcpStream, how: Shutdown) {
            stream.shutdown(how).unwrap();
        }

        fn send(&self, from: &UdpSocket, to: &UdpSocket) {
            from.send_to(b"datagram", to.local_addr().unwrap()).unwrap();
        }

        fn recv(&self, socket: &UdpSocket) {
            socket.recv(&mut [0; 16]).unwrap();
        }

        fn watch(&self, socket: Watched<'_, Self>, what: Change) -> io::Result<()> {
            macro_rules! each {
                ($socket:ident => $call:expr) => {
                    match socket {
                        Listener($socket) => $call,
                        Stream($socket) => $call,
                        Datagrams($socket) => $call,
                    }
                };
            }
            match what {
                Change::Add(key, interest, mode) => {
                    each!(socket => self.poller.add(socket, key, interest, mode))
                }
                Change::Modify(key, interest, mode) => {
                    each!(socket => self.poller.modify(socket, key, interest, mode))
                }
                Change::Delete => each!(socket => self.poller.delete(socket)),
            }
        }

        fn wait(&self, room: usize, _: usize) -> Told {
            self.settle();
            let mut events = Events::with_capacity(room);
            self.poller.wait(&mut events, Some(std::time::Duration::ZERO)).unwrap();
            let told = |event: &sockeye::poller::Event| {
                let words = [
                    (event.is_readable(), "IN"),
                    (event.is_writable(), "OUT"),
                    (event.is_read_closed(), "RDHUP"),
                    (event.is_error(), "ERR"),
                    (event.is_hangup(), "HUP"),
                ];
                let said: Vec<&str> = words.iter().filter(|word| word.0).map(|word| word.1).collect();
                (event.key, said.join(" "))
            };
            let told = events.iter().map(told).collect();
            assert!(events.iter().all(|event| event.readiness != Readiness::EMPTY));
            told
        }
    }
}

macro_rules! both {
    ($($body:ident),* $(,)?) => {
        mod as_epoll { $( #[test] fn $body() { super::$body::<super::kernel::Kernel>(); } )* }
        mod as_sockeye { $( #[test] fn $body() { super::$body::<super::ours::Ours>(); } )* }
    };
}

both!(
    level,
    edge,
    edge_of_both,
    room,
    oneshot,
    ends,
    resets,
    listeners,
    datagrams,
    refusals,
    closing,
    little_room,
);
