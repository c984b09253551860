//! Hosts over links of their own, and networks with an uplink.

use sockeye::link::{Cable, CableEnd, Capabilities, Link, Medium};
use sockeye::packet::{Batch, Chunk, Instant, Meta, Packet};
use sockeye::wire_format::{Icmpv4, IpLayout, Ipv4Header, Protocol, fill_checksums};
use sockeye::{Error, Host, HostConfig, LinkInterface, Network, TcpListener, TcpStream};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::thread;

fn at(address: &str) -> LinkInterface {
    LinkInterface::new("eth0").address(address.parse().unwrap(), 24)
}

fn over(name: &str, link: impl Link + 'static, interface: &LinkInterface) -> Host {
    Host::over(name, link, interface, HostConfig::default()).unwrap()
}

/// What another thread may still be about to do.
fn soon<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let limit = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while std::time::Instant::now() < limit {
        if let Some(found) = look() {
            return found;
        }
        thread::yield_now();
    }
    panic!("it doesn't happen");
}

/// Moves megabytes each way at once.
fn exchange(listener: &TcpListener, stream: &TcpStream) {
    let data: Vec<u8> = (0..2_000_000_u32).map(|n| (n % 251) as u8).collect();
    let data = &data;
    let (other, _) = listener.accept().unwrap();
    thread::scope(|scope| {
        for stream in [stream, &other] {
            scope.spawn(move || {
                let mut stream = stream;
                stream.write_all(data).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
            });
            scope.spawn(move || {
                let mut got = Vec::new();
                let mut stream = stream;
                stream.read_to_end(&mut got).unwrap();
                assert!(got == *data, "{} bytes", got.len());
            });
        }
    });
}

#[test]
fn two_hosts_on_a_cable_that_is_always_full() {
    for queue_limit in [4, 1024] {
        let (near, far) = Cable { queue_limit, ..Cable::default() }.connect();
        let (a, b) = (over("a", near, &at("192.0.2.1")), over("b", far, &at("192.0.2.2")));
        let listener = a.tcp_listen((a.ipv4(), 80)).unwrap();
        exchange(&listener, &b.tcp_connect((a.ipv4(), 80)).unwrap());
        assert!(a.take_link_error().is_none());
    }
}

/// IP in UDP over the machine's loopback.
struct Tunnel(UdpSocket);

impl Link for Tunnel {
    fn capabilities(&self) -> Capabilities {
        Capabilities { medium: Medium::Ip, mtu: 1400, max_packet: 1400, in_memory: false }
    }

    fn send(&mut self, _now: Instant, batch: &mut Batch) -> io::Result<()> {
        while let Some(packet) = batch.front() {
            assert!(packet.len() <= 1400, "cut before it comes here");
            match self.0.send(&packet.to_vec()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                _ => drop(batch.pop()),
            }
        }
        Ok(())
    }

    fn receive(&mut self, _now: Instant, batch: &mut Batch) -> io::Result<()> {
        let mut buffer = [0; 2048];
        while !batch.is_full()
            && let Ok(len) = self.0.recv(&mut buffer)
        {
            batch.push(Packet::from_bytes(&Chunk::copy_from(&buffer[..len]), Meta::default()));
        }
        Ok(())
    }

    fn as_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        Some(std::os::fd::AsFd::as_fd(&self.0))
    }
}

fn tunnel() -> (Tunnel, Tunnel) {
    let [a, b] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    a.connect(b.local_addr().unwrap()).unwrap();
    b.connect(a.local_addr().unwrap()).unwrap();
    for socket in [&a, &b] {
        socket.set_nonblocking(true).unwrap();
    }
    (Tunnel(a), Tunnel(b))
}

#[test]
fn a_link_with_a_descriptor_is_driven_by_it() {
    let (near, far) = tunnel();
    let (a, b) = (over("a", near, &at("192.0.2.1")), over("b", far, &at("192.0.2.2")));
    let listener = a.tcp_listen((a.ipv4(), 80)).unwrap();
    exchange(&listener, &b.tcp_connect((a.ipv4(), 80)).unwrap());
}

#[test]
fn a_network_reaches_the_outside_by_its_uplink() {
    let (near, far) = tunnel();
    let network = Network::builder()
        .host("web", HostConfig::default())
        .uplink(near, at("192.0.2.1").gateway("192.0.2.2".parse().unwrap()))
        .build()
        .unwrap();
    let web = network.host("web").unwrap();
    let outside = over("outside", far, &at("192.0.2.2").gateway("192.0.2.1".parse().unwrap()));
    let listener = web.tcp_listen((web.ipv4(), 80)).unwrap();
    exchange(&listener, &outside.tcp_connect((web.ipv4(), 80)).unwrap());
    let listener = outside.tcp_listen((outside.ipv4(), 80)).unwrap();
    let stream = web.tcp_connect((outside.ipv4(), 80)).unwrap();
    exchange(&listener, &stream);
    let interfaces = network.interfaces(&network.gateway());
    assert_eq!(
        interfaces.iter().map(|nic| (&*nic.name, nic.mtu)).collect::<Vec<_>>(),
        [("eth0", 1500), ("eth0", 1400)]
    );
}

/// An echo request from the outside.
fn ping(ttl: u8) -> Packet {
    let mut bytes = vec![0; 28];
    let header = Ipv4Header {
        src: Ipv4Addr::new(192, 0, 2, 2),
        dst: Ipv4Addr::new(10, 77, 0, 2),
        protocol: Protocol::ICMP,
        ttl,
        total_len: 28,
        ..Ipv4Header::default()
    };
    header.emit(&mut bytes);
    Icmpv4::EchoRequest { id: 7, seq: 1 }.emit(&mut bytes[20..]);
    fill_checksums(&mut bytes, std::iter::empty());
    Packet::from_bytes(&Chunk::from(bytes), Meta::default())
}

fn messages(link: &mut CableEnd, now: Instant) -> Vec<(u8, Icmpv4)> {
    let mut batch = Batch::new();
    link.receive(now, &mut batch).unwrap();
    let parse = |packet: Packet| {
        let ip = IpLayout::parse(&packet.head).unwrap();
        (packet.head[8], Icmpv4::parse(&packet.head[ip.transport..]).unwrap().0)
    };
    batch.drain().map(parse).collect()
}

#[test]
fn a_simulation_has_uplinks_too() {
    let (near, mut far) = Cable::default().connect();
    let delayed = HostConfig { link: "delay 5ms".parse().unwrap(), ..HostConfig::default() };
    let builder = Network::builder().seed(1).host("web", delayed).uplink(near, at("192.0.2.1"));
    let mut simulation = builder.simulate().unwrap();
    let mut batch = Batch::new();
    batch.push(ping(64));
    batch.push(ping(1));
    far.send(simulation.now(), &mut batch).unwrap();
    let limit = Instant::from_millis(100);
    let mut got = Vec::new();
    assert!(simulation.run_until(limit, |simulation| {
        got.extend(messages(&mut far, simulation.now()));
        got.len() == 2
    }));
    // Once through the gateway there and once back.
    let expected = [(64, Icmpv4::TimeExceeded { code: 0 }), (63, Icmpv4::EchoReply { id: 7, seq: 1 })];
    assert_eq!((got.as_slice(), simulation.now()), (&expected[..], Instant::from_millis(10)));
}

/// A link that breaks, and one of another medium.
struct Odd(Medium);

impl Link for Odd {
    fn capabilities(&self) -> Capabilities {
        Capabilities { medium: self.0, ..Capabilities::memory(1500) }
    }

    fn send(&mut self, _now: Instant, _batch: &mut Batch) -> io::Result<()> {
        Err(io::Error::other("cut"))
    }

    fn receive(&mut self, _now: Instant, _batch: &mut Batch) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn broken_and_foreign_links_are_told() {
    let ethernet = Medium::Ethernet { address: [2; 6] };
    let refused = Host::over("a", Odd(ethernet), &at("192.0.2.1"), HostConfig::default());
    assert!(matches!(refused, Err(Error::Link { .. })));
    let a = over("a", Odd(Medium::Ip), &at("192.0.2.1"));
    let socket = a.udp_bind((a.ipv4(), 0)).unwrap();
    socket.send_to(b"lost", ("192.0.2.2".parse::<Ipv4Addr>().unwrap(), 9)).unwrap();
    assert_eq!(soon(|| a.take_link_error()).to_string(), "cut");
    assert!(a.take_link_error().is_none());
}

#[test]
fn a_host_on_its_own_ends_with_its_last_handle() {
    let (near, mut far) = Cable::default().connect();
    let a = over("a", near, &at("192.0.2.1"));
    let socket = a.udp_bind((a.ipv4(), 0)).unwrap();
    drop(a);
    socket.send_to(b"alive", ("192.0.2.2".parse::<Ipv4Addr>().unwrap(), 9)).unwrap();
    let mut batch = Batch::new();
    soon(|| {
        far.receive(Instant::ZERO, &mut batch).unwrap();
        batch.pop()
    });
    drop(socket);
    // The other end of the cable is gone: what is sent there vanishes at once, however full the queue.
    for _ in 0..3000 {
        batch.push(ping(64));
    }
    far.send(Instant::ZERO, &mut batch).unwrap();
    assert!(batch.is_empty());
}
