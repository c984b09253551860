//! TCP sockets for threads.

use super::{Waiting, block_on};
use crate::host::Host;
use crate::socket::Socket;
use crate::sync::Instant;
use sockeye_stack::{OptionName, RecvFlags, SocketOption, SocketType};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Waits for TCP connections at an address of a host, as [`std::net::TcpListener`].
#[derive(Debug)]
pub struct TcpListener {
    socket: Arc<Socket>,
    waiting: Arc<Waiting>,
}

impl TcpListener {
    pub(crate) fn bind(host: &Host, addr: SocketAddr) -> io::Result<TcpListener> {
        let socket = Socket::new(host, addr, SocketType::Stream)?;
        // As std does: a server that is started again must not wait for old connections to be forgotten.
        socket.set_option(SocketOption::ReuseAddr(true))?;
        socket.bind(addr)?;
        let backlog = socket.somaxconn();
        socket.call(|stack, id, now| stack.listen(now, id, backlog))?;
        Ok(TcpListener { socket: Arc::new(socket), waiting: Waiting::new() })
    }

    /// Waits for a connection and returns it with its peer's address.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, peer) = self.waiting.read(|waker| self.socket.poll_accept(waker))?;
        Ok((TcpStream::new(socket), peer))
    }

    /// Accepts one connection after the other, without end.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// The address it listens at.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Another handle to the same listener.
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        Ok(TcpListener { socket: Arc::clone(&self.socket), waiting: Arc::clone(&self.waiting) })
    }

    /// Whether [`TcpListener::accept`] fails with [`io::ErrorKind::WouldBlock`] rather than wait.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.waiting.set_nonblocking(nonblocking);
        Ok(())
    }

    /// Takes the pending error.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(self.socket.take_error())
    }
}

/// The connections of a [`TcpListener`], without end.
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

/// One end of a TCP connection, as [`std::net::TcpStream`].
///
/// Dropping the last handle closes the connection; the stack sees to it that what was written still
/// arrives, as long as the network lives. Dropping doesn't wait for that, unless [`TcpStream::set_linger`]
/// says so.
#[derive(Debug)]
pub struct TcpStream {
    shared: Arc<Shared>,
}

/// What the handles of a connection share.
#[derive(Debug)]
struct Shared {
    socket: Socket,
    waiting: Arc<Waiting>,
}

impl Drop for Shared {
    /// As the kernel: a blocking close waits for the peer's acknowledgment of all, if a linger time is set.
    fn drop(&mut self) {
        if let Ok(SocketOption::Linger(Some(time))) = self.socket.option(OptionName::Linger)
            && !time.is_zero()
            && !self.waiting.is_nonblocking()
            && let Some(drain) = self.socket.close_to_drain()
        {
            let deadline = Instant::now().checked_add(time);
            // When the time is over the connection goes on without anybody waiting.
            let _ = block_on(deadline, io::ErrorKind::TimedOut, |waker| drain.poll(waker));
        }
    }
}

impl TcpStream {
    fn new(socket: Socket) -> TcpStream {
        TcpStream { shared: Arc::new(Shared { socket, waiting: Waiting::new() }) }
    }

    /// Opens a connection from `host`, and gives up at `deadline`.
    pub(crate) fn connect(host: &Host, addr: SocketAddr, deadline: Option<Instant>) -> io::Result<TcpStream> {
        let socket = Socket::new(host, addr, SocketType::Stream)?;
        socket.start_connect(addr)?;
        block_on(deadline, io::ErrorKind::TimedOut, |waker| socket.poll_connected(waker))?;
        Ok(TcpStream::new(socket))
    }

    /// The peer's address.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket.peer_addr()
    }

    /// The address of this end.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket.local_addr()
    }

    /// Ends reading, writing or both. Whoever waits for what was ended returns.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.shared.socket.shutdown(how)
    }

    /// Another handle to the same connection, with the same timeouts and mode.
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        Ok(TcpStream { shared: Arc::clone(&self.shared) })
    }

    /// Receives without taking the data off the queue.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.recv(buf, RecvFlags { peek: true, ..RecvFlags::default() })
    }

    /// Limits how long a read waits; it then fails with [`io::ErrorKind::WouldBlock`].
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.shared.waiting.read_timeout.set(timeout)
    }

    /// Limits how long a write waits; it then fails with [`io::ErrorKind::WouldBlock`].
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.shared.waiting.write_timeout.set(timeout)
    }

    /// How long a read waits at most.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.shared.waiting.read_timeout.get())
    }

    /// How long a write waits at most.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.shared.waiting.write_timeout.get())
    }

    /// Whether small segments are sent at once (`TCP_NODELAY`).
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.shared.socket.set_option(SocketOption::NoDelay(nodelay))
    }

    /// Whether small segments are sent at once.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(self.shared.socket.option(OptionName::NoDelay)? == SocketOption::NoDelay(true))
    }

    /// What closing does with what the peer has not acknowledged (`SO_LINGER`): with none, which is the default,
    /// it is sent while nobody waits; with zero, it is thrown away and the peer gets a reset; otherwise dropping
    /// the last handle blocks until all of it has arrived, at most so long. It doesn't on a stream that is
    /// [not blocking](TcpStream::set_nonblocking), nor in a manual network, where only
    /// [`turn`](crate::Network::turn) moves anything.
    ///
    /// ```
    /// # use sockeye::{HostConfig, Network};
    /// # use std::{io::Write, time::Duration};
    /// # let network =
    /// #     Network::builder().host("a", HostConfig::default()).host("b", HostConfig::default()).build()?;
    /// # let (server, client) = (network.host("a")?, network.host("b")?);
    /// # let listener = server.tcp_listen((server.ipv4(), 80))?;
    /// let mut stream = client.tcp_connect((server.ipv4(), 80))?;
    /// stream.set_linger(Some(Duration::from_secs(5)))?;
    /// stream.write_all(b"the last words")?;
    /// drop(stream);
    /// // Now they are at the other host.
    /// # let (stream, _) = listener.accept()?;
    /// # stream.set_nonblocking(true)?;
    /// # assert_eq!(std::io::read_to_string(&stream)?, "the last words");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.shared.socket.set_option(SocketOption::Linger(linger))
    }

    /// What closing does with what the peer has not acknowledged.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        match self.shared.socket.option(OptionName::Linger)? {
            SocketOption::Linger(linger) => Ok(linger),
            _ => Ok(None),
        }
    }

    /// Whether calls fail with [`io::ErrorKind::WouldBlock`] rather than wait.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.shared.waiting.set_nonblocking(nonblocking);
        Ok(())
    }

    /// Takes the pending error.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(self.shared.socket.take_error())
    }

    fn recv(&self, buf: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.shared.waiting.read(|waker| self.shared.socket.poll_recv(waker, buf, flags))
    }
}

impl Read for &TcpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.recv(buf, RecvFlags::default())
    }
}

impl Write for &TcpStream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.shared.waiting.write(|waker| self.shared.socket.poll_send(waker, data))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for TcpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
}

impl Write for TcpStream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        (&*self).write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
