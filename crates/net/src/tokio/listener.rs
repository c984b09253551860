//! Listeners for tasks.

use super::{TcpStream, place};
use crate::Host;
use crate::options::{socket_options, tcp_options};
use crate::resolve::{ToSocketAddrs, try_each};
use crate::socket::Socket;
use crate::waiters::{Interest as Direction, Waiter};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Waits for TCP connections at an address of a host, as `tokio::net::TcpListener`.
///
/// ```
/// # use sockeye::{HostConfig, Network};
/// use sockeye::tokio::{TcpListener, TcpStream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// # let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// # let (web, me) = (network.host("web")?, network.host("me")?);
/// let listener = TcpListener::bind(&web, "web:80").await?;
/// let (stream, accepted) = tokio::join!(TcpStream::connect(&me, "web:80"), listener.accept());
/// assert_eq!(accepted?.1, stream?.local_addr()?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TcpListener {
    socket: Arc<Socket>,
}

impl TcpListener {
    /// Listens at an address of `host`, the first of several that can be used; port 0 picks one. As tokio does, with
    /// `SO_REUSEADDR`, so that a server that is started again doesn't have to wait until old connections are
    /// forgotten.
    #[expect(clippy::unused_async, reason = "as tokio has it")]
    pub async fn bind(host: &Host, addr: impl ToSocketAddrs) -> io::Result<TcpListener> {
        try_each(host, addr, |addr| Socket::listen_at(host, addr).map(TcpListener::from_socket))
    }

    pub(super) fn from_socket(socket: Socket) -> TcpListener {
        TcpListener { socket: Arc::new(socket) }
    }

    /// Waits for a connection and returns it with its peer's address. Cancellation-safe.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let accept = place::wait(&self.socket, Direction::Read, |waiter| self.socket.poll_accept(waiter));
        accept.await.map(|(socket, peer)| (TcpStream::from_socket(socket), peer))
    }

    /// Polls for a connection. Only the task that polled last is woken.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let accepted = self.socket.poll_accept(Some(Waiter::latest(cx.waker())));
        accepted.map_ok(|(socket, peer)| (TcpStream::from_socket(socket), peer))
    }
}

socket_options!(TcpListener, socket);
tcp_options!(TcpListener, socket);
