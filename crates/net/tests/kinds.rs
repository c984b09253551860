//! Errors have the kinds that std's have: the same calls are made on the machine's sockets and on a host's, each
//! on its loopback addresses, and must end the same way.

use sockeye::{Host, HostConfig, Network};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

/// The machine's own sockets, made as a host's are.
struct Machine;

#[allow(clippy::unused_self, reason = "a host's methods have one")]
impl Machine {
    fn tcp_listen(&self, addr: impl std::net::ToSocketAddrs) -> io::Result<std::net::TcpListener> {
        std::net::TcpListener::bind(addr)
    }

    fn tcp_connect(&self, addr: impl std::net::ToSocketAddrs) -> io::Result<std::net::TcpStream> {
        std::net::TcpStream::connect(addr)
    }

    fn tcp_connect_timeout(
        &self,
        addr: std::net::SocketAddr,
        timeout: Duration,
    ) -> io::Result<std::net::TcpStream> {
        std::net::TcpStream::connect_timeout(&addr, timeout)
    }

    fn udp_bind(&self, addr: impl std::net::ToSocketAddrs) -> io::Result<std::net::UdpSocket> {
        std::net::UdpSocket::bind(addr)
    }
}

/// How a call ended: well, or with an error of this kind. Kinds that std keeps to itself count as others.
fn ending<R>(result: io::Result<R>) -> String {
    match result.map_err(|error| error.kind()) {
        Ok(_) => "well".to_owned(),
        Err(kind) => format!("{kind:?}").replace("Uncategorized", "Other"),
    }
}

/// A host, for its sockets; its network lives as long.
fn host() -> Host {
    Network::builder().host("only", HostConfig::default()).build().unwrap().host("only").unwrap()
}

/// Runs a body, which returns how its calls ended, on the machine and on a host.
macro_rules! same_endings {
    ($($name:ident: |$door:ident| $body:block)*) => {$(
        #[test]
        fn $name() {
            let machines = { let $door = Machine; $body };
            let hosts = { let $door = host(); $body };
            let machines: Vec<String> = machines.into();
            assert_eq!(hosts.to_vec(), machines);
            assert!(machines.iter().any(|ending| ending != "well"), "nothing failed");
        }
    )*};
}

/// A connected pair.
macro_rules! pair {
    ($door:ident) => {{
        let listener = $door.tcp_listen("127.0.0.1:0").unwrap();
        let near = $door.tcp_connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }};
}

/// A port where nobody listens.
macro_rules! closed_port {
    ($door:ident) => {
        $door.tcp_listen("127.0.0.1:0").unwrap().local_addr().unwrap()
    };
}

same_endings! {
    connecting: |door| {
        let closed = closed_port!(door);
        let second = Duration::from_secs(1);
        [
            ending(door.tcp_connect(closed)),
            ending(door.tcp_connect_timeout(closed, second)),
            ending(door.tcp_connect_timeout(closed, Duration::ZERO)),
            ending(door.tcp_connect("255.255.255.255:9")),
            ending(door.tcp_connect("127.0.0.1:0")),
            ending(door.tcp_connect("127.0.0.1")),
            ending(door.tcp_connect("127.0.0.1:http")),
            ending(door.tcp_connect(&[] as &[std::net::SocketAddr])),
            ending(door.tcp_connect(&[closed, closed][..])),
        ]
    }

    binding: |door| {
        let listener = door.tcp_listen("127.0.0.1:0").unwrap();
        let taken = listener.local_addr().unwrap();
        let udp = door.udp_bind("127.0.0.1:0").unwrap();
        let udp_taken = udp.local_addr().unwrap();
        [
            ending(door.tcp_listen(taken)),
            ending(door.tcp_listen(("0.0.0.0", taken.port()))),
            ending(door.tcp_listen("192.0.2.1:0")),
            ending(door.tcp_listen("[2001:db8::1]:0")),
            ending(door.tcp_listen(&[] as &[std::net::SocketAddr])),
            ending(door.udp_bind(udp_taken)),
            ending(door.udp_bind("192.0.2.1:0")),
            // Another protocol's ports are others.
            ending(door.udp_bind(taken)),
            // The second serves when the first is taken.
            ending(door.tcp_listen(&[taken, "127.0.0.1:0".parse().unwrap()][..])),
        ]
    }

    a_connection_that_was_reset: |door| {
        let (mut near, far) = pair!(door);
        near.write_all(b"never read").unwrap();
        drop(far);
        let mut buffer = [0; 8];
        [
            ending(near.read(&mut buffer)),
            // The error was told; from now on it is over.
            ending(near.read(&mut buffer)),
            ending(near.peer_addr()),
            ending(near.write(b"more")),
            ending(near.write(b"more")),
            ending(near.shutdown(Shutdown::Both)),
            ending(near.shutdown(Shutdown::Write)),
            ending(near.local_addr()),
            ending(near.take_error()),
        ]
    }

    a_direction_that_was_shut_down: |door| {
        let (mut near, mut far) = pair!(door);
        let mut buffer = [0; 8];
        near.shutdown(Shutdown::Write).unwrap();
        [
            ending(near.write(b"more")),
            ending(near.shutdown(Shutdown::Write)),
            ending(far.read(&mut buffer)),
            ending(far.write(b"answer")),
            ending(near.read(&mut buffer)),
            ending(near.shutdown(Shutdown::Read)),
            ending(near.read(&mut buffer)),
            ending(far.shutdown(Shutdown::Both)),
            ending(far.write(b"answer")),
            ending(far.read(&mut buffer)),
        ]
    }

    calls_that_would_wait: |door| {
        let listener = door.tcp_listen("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (mut near, mut far) = pair!(door);
        near.set_nonblocking(true).unwrap();
        far.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        let udp = door.udp_bind("127.0.0.1:0").unwrap();
        udp.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        let mut buffer = [0; 8];
        let much = vec![0; 1 << 20];
        let full = (0..1000).find_map(|_| near.write(&much).err()).expect("buffers are bounded");
        let timed_out = udp.recv_from(&mut buffer);
        udp.set_nonblocking(true).unwrap();
        [
            ending(listener.accept()),
            ending(near.read(&mut buffer)),
            ending(near.peek(&mut buffer)),
            ending(Err::<(), _>(full)),
            ending(far.read_exact(&mut vec![0; 1 << 25])),
            ending(timed_out),
            ending(udp.recv(&mut buffer)),
            ending(udp.peek_from(&mut buffer)),
        ]
    }

    values_that_options_refuse: |door| {
        let (near, _far) = pair!(door);
        let udp = door.udp_bind("127.0.0.1:0").unwrap();
        [
            ending(near.set_read_timeout(Some(Duration::ZERO))),
            ending(near.set_write_timeout(Some(Duration::ZERO))),
            ending(near.set_ttl(0)),
            ending(near.set_ttl(256)),
            ending(near.set_ttl(255)),
            ending(udp.set_read_timeout(Some(Duration::ZERO))),
            ending(udp.set_ttl(0)),
            ending(udp.set_ttl(1)),
        ]
    }

    datagrams: |door| {
        let udp = door.udp_bind("127.0.0.1:0").unwrap();
        let nobody = door.udp_bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut buffer = [0; 8];
        [
            ending(udp.peer_addr()),
            ending(udp.send(b"to nobody")),
            ending(udp.send_to(b"", "127.0.0.1:0")),
            ending(udp.send_to(&vec![0; 65_508], nobody)),
            ending(udp.send_to(&vec![0; 65_507], nobody)),
            ending(udp.send_to(b"another family", "[::1]:9")),
            ending(udp.send_to(b"nobody", &[] as &[std::net::SocketAddr])),
            ending(udp.connect(nobody)),
            ending(udp.connect(nobody)),
            ending(udp.send(b"anybody?")),
            ending(udp.recv(&mut buffer)),
            ending(udp.send(b"anybody?")),
            ending(udp.send(b"anybody?")),
            ending(udp.peer_addr()),
        ]
    }

    a_connection_that_was_thrown_away: |door| {
        let (near, mut far) = pair!(door);
        far.write_all(b"unread").unwrap();
        drop(near);
        let mut buffer = [0; 8];
        [
            ending(far.read(&mut buffer)),
            ending(far.read(&mut buffer)),
            ending(far.shutdown(Shutdown::Write)),
        ]
    }
}

#[test]
fn broadcasts_are_to_be_allowed_first() {
    let host = host();
    let udp = host.udp_bind("0.0.0.0:0").unwrap();
    for everybody in ["10.77.255.255:9", "255.255.255.255:9"] {
        assert_eq!(udp.send_to(b"?", everybody).unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(udp.connect(everybody).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
    udp.set_broadcast(true).unwrap();
    assert_eq!(udp.send_to(b"?", "10.77.255.255:9").unwrap(), 1);
}

#[test]
fn nobody_answers() {
    let lost: sockeye::NetemConfig = "loss 100%".parse().unwrap();
    let network = Network::builder()
        .host("gone", HostConfig { link: lost.into(), ..HostConfig::default() })
        .host("me", HostConfig::default())
        .build()
        .unwrap();
    let me = network.host("me").unwrap();
    let short = Duration::from_millis(5);
    let late = me.tcp_connect_timeout("gone:80", short).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    assert_eq!(me.tcp_connect("10.77.200.200:80").unwrap_err().kind(), ErrorKind::HostUnreachable);
    assert_eq!(me.tcp_connect("nobody:80").unwrap_err().kind(), ErrorKind::NotFound);
    let socket = me.tcp_socket_v4().unwrap();
    assert_eq!(socket.connect_timeout("gone:80", short).unwrap_err().kind(), ErrorKind::TimedOut);
    let socket = me.tcp_socket_v4().unwrap();
    assert_eq!(
        socket.connect_timeout("gone:80", Duration::ZERO).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}
