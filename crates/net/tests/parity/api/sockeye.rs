//! Sockeye's sockets: for threads and for tasks, between two hosts or over one host's loopback.

use super::blocking::{Linger, forward, listener, machine, spawn_thread, stream, udp};
use super::{
    Addrs, Api, Blocking, BlockingListener, BlockingStream, BlockingUdp, Listener, Place, Reader, Socket,
    Stream, Task, Udp, Writer, with_addrs,
};
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::thread;
use std::time::Duration;

/// That of the networks' usual subnet.
const BROADCAST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 255, 255));

/// Two hosts, which may be one, and where servers and clients are.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    pub server: sockeye::Host,
    pub client: sockeye::Host,
    pub place: Place,
}

/// The description of a network with a host for servers and one for clients.
pub(crate) fn network() -> sockeye::NetworkBuilder {
    sockeye::Network::builder()
        .host("server", sockeye::HostConfig::default())
        .host("client", sockeye::HostConfig::default())
}

impl Hosts {
    /// Servers on one host, clients on another.
    pub(crate) fn two(network: &sockeye::Network) -> Hosts {
        let (server, client) = (network.host("server").unwrap(), network.host("client").unwrap());
        let place = Place {
            server: server.ipv4().into(),
            server_v6: server.ipv6().into(),
            client: client.ipv4().into(),
            client_v6: client.ipv6().into(),
            name: "server",
            broadcast: BROADCAST,
        };
        Hosts { server, client, place }
    }

    /// All on one host, as on the machine.
    pub(crate) fn one(network: &sockeye::Network) -> Hosts {
        let host = network.host("server").unwrap();
        Hosts { server: host.clone(), client: host, place: Place { broadcast: BROADCAST, ..machine() } }
    }
}

/// Sockeye's sockets for threads.
#[derive(Clone, Debug)]
pub(crate) struct SockeyeBlocking(pub Hosts);

impl Api for SockeyeBlocking {
    type Listener = sockeye::TcpListener;
    type Stream = sockeye::TcpStream;
    type Udp = sockeye::UdpSocket;
    type Socket = sockeye::TcpSocket;

    fn place(&self) -> &Place {
        &self.0.place
    }

    async fn listen_at(&self, addrs: Addrs) -> io::Result<sockeye::TcpListener> {
        with_addrs!(addrs, |addr| self.0.server.tcp_listen(addr))
    }

    async fn connect_to(&self, addrs: Addrs) -> io::Result<sockeye::TcpStream> {
        with_addrs!(addrs, |addr| self.0.client.tcp_connect(addr))
    }

    async fn server_udp_at(&self, addrs: Addrs) -> io::Result<sockeye::UdpSocket> {
        with_addrs!(addrs, |addr| self.0.server.udp_bind(addr))
    }

    async fn client_udp_at(&self, addrs: Addrs) -> io::Result<sockeye::UdpSocket> {
        with_addrs!(addrs, |addr| self.0.client.udp_bind(addr))
    }

    fn server_socket(&self, ip: IpAddr) -> io::Result<sockeye::TcpSocket> {
        if ip.is_ipv4() { self.0.server.tcp_socket_v4() } else { self.0.server.tcp_socket_v6() }
    }

    fn client_socket(&self, ip: IpAddr) -> io::Result<sockeye::TcpSocket> {
        if ip.is_ipv4() { self.0.client.tcp_socket_v4() } else { self.0.client.tcp_socket_v6() }
    }

    fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Task<T> {
        spawn_thread(work)
    }

    async fn pause(&self) {
        thread::sleep(Duration::from_millis(1));
    }
}

impl Blocking for SockeyeBlocking {
    fn connect_timeout(&self, addr: SocketAddr, timeout: Duration) -> io::Result<sockeye::TcpStream> {
        self.0.client.tcp_connect_timeout(addr, timeout)
    }
}

impl Linger for sockeye::TcpStream {
    fn so_linger(&self) -> io::Result<Option<Duration>> {
        self.linger()
    }

    fn set_so_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.set_linger(linger)
    }
}

impl Socket for sockeye::TcpSocket {
    type Listener = sockeye::TcpListener;
    type Stream = sockeye::TcpStream;

    fn listen(self, backlog: u32) -> io::Result<sockeye::TcpListener> {
        Self::listen(self, backlog)
    }

    async fn connect(self, addr: SocketAddr) -> io::Result<sockeye::TcpStream> {
        Self::connect(self, addr)
    }

    fn set_recv_buffer_size(&self, bytes: u32) -> io::Result<()> {
        Self::set_recv_buffer_size(self, bytes as usize)
    }

    fn recv_buffer_size(&self) -> io::Result<u32> {
        Self::recv_buffer_size(self).map(|bytes| bytes as u32)
    }

    fn set_send_buffer_size(&self, bytes: u32) -> io::Result<()> {
        Self::set_send_buffer_size(self, bytes as usize)
    }

    fn send_buffer_size(&self) -> io::Result<u32> {
        Self::send_buffer_size(self).map(|bytes| bytes as u32)
    }

    forward! {
        bind(addr: SocketAddr) -> ();
        local_addr() -> SocketAddr;
        set_reuseaddr(reuse: bool) -> ();
        reuseaddr() -> bool;
        set_reuseport(reuse: bool) -> ();
        reuseport() -> bool;
        set_keepalive(keepalive: bool) -> ();
        keepalive() -> bool;
        set_nodelay(nodelay: bool) -> ();
        nodelay() -> bool;
        set_only_v6(only: bool) -> ();
    }
}

listener!(sockeye::TcpListener, sockeye::TcpStream);
stream!(sockeye::TcpStream);
udp!(sockeye::UdpSocket);
