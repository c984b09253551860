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
        Ok((TcpStream { socket: Arc::new(socket), waiting: Waiting::new() }, peer))
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
/// arrives, as long as the network lives.
#[derive(Debug)]
pub struct TcpStream {
    socket: Arc<Socket>,
    waiting: Arc<Waiting>,
}

impl TcpStream {
    /// Opens a connection from `host`, and gives up at `deadline`.
    pub(crate) fn connect(host: &Host, addr: SocketAddr, deadline: Option<Instant>) -> io::Result<TcpStream> {
        let socket = Socket::new(host, addr, SocketType::Stream)?;
        socket.start_connect(addr)?;
        block_on(deadline, io::ErrorKind::TimedOut, |waker| socket.poll_connected(waker))?;
        Ok(TcpStream { socket: Arc::new(socket), waiting: Waiting::new() })
    }

    /// The peer's address.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }

    /// The address of this end.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Ends reading, writing or both. Whoever waits for what was ended returns.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.shutdown(how)
    }

    /// Another handle to the same connection, with the same timeouts and mode.
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        Ok(TcpStream { socket: Arc::clone(&self.socket), waiting: Arc::clone(&self.waiting) })
    }

    /// Receives without taking the data off the queue.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.recv(buf, RecvFlags { peek: true, ..RecvFlags::default() })
    }

    /// Limits how long a read waits; it then fails with [`io::ErrorKind::WouldBlock`].
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.waiting.read_timeout.set(timeout)
    }

    /// Limits how long a write waits; it then fails with [`io::ErrorKind::WouldBlock`].
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.waiting.write_timeout.set(timeout)
    }

    /// How long a read waits at most.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.waiting.read_timeout.get())
    }

    /// How long a write waits at most.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.waiting.write_timeout.get())
    }

    /// Whether small segments are sent at once (`TCP_NODELAY`).
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.socket.set_option(SocketOption::NoDelay(nodelay))
    }

    /// Whether small segments are sent at once.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(self.socket.option(OptionName::NoDelay)? == SocketOption::NoDelay(true))
    }

    /// Whether calls fail with [`io::ErrorKind::WouldBlock`] rather than wait.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.waiting.set_nonblocking(nonblocking);
        Ok(())
    }

    /// Takes the pending error.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(self.socket.take_error())
    }

    fn recv(&self, buf: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.waiting.read(|waker| self.socket.poll_recv(waker, buf, flags))
    }
}

impl Read for &TcpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.recv(buf, RecvFlags::default())
    }
}

impl Write for &TcpStream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.waiting.write(|waker| self.socket.poll_send(waker, data))
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
