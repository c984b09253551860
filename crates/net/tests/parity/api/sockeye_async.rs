//! Sockeye's sockets for tasks, in real time and in simulations.

use super::asynchronous::{Linger, OnlyV6, forward, forward_async, listener, socket, stream, udp};
use super::sockeye::Hosts;
use super::{
    Addrs, Api, AsyncListener, AsyncReader, AsyncStream, AsyncUdp, AsyncWriter, Listener, Place, Reader,
    Socket, Stream, Task, Udp, Writer, with_addrs,
};
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Sockeye's sockets for tasks of tokio's runtime.
#[derive(Clone, Debug)]
pub(crate) struct SockeyeAsync(pub Hosts);

impl Api for SockeyeAsync {
    type Listener = sockeye::tokio::TcpListener;
    type Stream = sockeye::tokio::TcpStream;
    type Udp = sockeye::tokio::UdpSocket;
    type Socket = sockeye::tokio::TcpSocket;

    fn place(&self) -> &Place {
        &self.0.place
    }

    async fn listen_at(&self, addrs: Addrs) -> io::Result<sockeye::tokio::TcpListener> {
        with_addrs!(addrs, |addr| sockeye::tokio::TcpListener::bind(&self.0.server, addr).await)
    }

    async fn connect_to(&self, addrs: Addrs) -> io::Result<sockeye::tokio::TcpStream> {
        with_addrs!(addrs, |addr| sockeye::tokio::TcpStream::connect(&self.0.client, addr).await)
    }

    async fn server_udp_at(&self, addrs: Addrs) -> io::Result<sockeye::tokio::UdpSocket> {
        with_addrs!(addrs, |addr| sockeye::tokio::UdpSocket::bind(&self.0.server, addr).await)
    }

    async fn client_udp_at(&self, addrs: Addrs) -> io::Result<sockeye::tokio::UdpSocket> {
        with_addrs!(addrs, |addr| sockeye::tokio::UdpSocket::bind(&self.0.client, addr).await)
    }

    fn server_socket(&self, ip: IpAddr) -> io::Result<sockeye::tokio::TcpSocket> {
        tcp_socket(&self.0.server, ip)
    }

    fn client_socket(&self, ip: IpAddr) -> io::Result<sockeye::tokio::TcpSocket> {
        tcp_socket(&self.0.client, ip)
    }

    fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Task<T> {
        Task::Tokio(tokio::spawn(work))
    }

    /// In a simulation, virtual time.
    async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn tcp_socket(host: &sockeye::Host, ip: IpAddr) -> io::Result<sockeye::tokio::TcpSocket> {
    if ip.is_ipv4() {
        sockeye::tokio::TcpSocket::new_v4(host)
    } else {
        sockeye::tokio::TcpSocket::new_v6(host)
    }
}

impl Linger for sockeye::tokio::TcpStream {
    fn so_linger(&self) -> io::Result<Option<Duration>> {
        self.linger()
    }

    fn set_so_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.set_linger(linger)
    }
}

impl OnlyV6 for sockeye::tokio::TcpSocket {
    fn set_v6only(&self, only: bool) -> io::Result<()> {
        self.set_only_v6(only)
    }
}

socket!(sockeye::tokio::TcpSocket, sockeye::tokio::TcpListener, sockeye::tokio::TcpStream);
listener!(sockeye::tokio::TcpListener, sockeye::tokio::TcpStream);
stream!(sockeye::tokio::TcpStream, sockeye::tokio);
udp!(sockeye::tokio::UdpSocket);
