//! TCP connections for threads.

use super::{Waiting, block_on};
use crate::Host;
use crate::options::{socket_options, tcp_options};
use crate::resolve::{ToSocketAddrs, try_each};
use crate::socket::Socket;
use crate::sync::Instant;
use crate::waiters::Waiter;
use bytes::Bytes;
use sockeye_stack::{OptionName, RecvFlags, SendFlags, SocketOption, SocketType, TcpInfo};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// One end of a TCP connection, as [`std::net::TcpStream`].
///
/// Made by [`Host::tcp_connect`], by [`TcpListener::accept`](crate::TcpListener::accept), or by
/// [`TcpSocket::connect`](crate::TcpSocket::connect) with options set before that.
///
/// [`Read`] and [`Write`] are implemented for it and for `&TcpStream`, so that one thread can read while another
/// writes. Handles to one connection ([`TcpStream::try_clone`]) share its timeouts, its mode and its options.
/// Dropping the last one closes the connection in good order: the stack sees to it that what was written still
/// arrives, as long as the network lives. Dropping doesn't wait for that, unless [`TcpStream::set_linger`] says
/// so.
///
/// ```
/// # use sockeye::{HostConfig, Network};
/// # use std::{io::Write, time::Duration};
/// # let network =
/// #     Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// # let (web, me) = (network.host("web")?, network.host("me")?);
/// # let listener = web.tcp_listen("web:80")?;
/// let mut stream = me.tcp_connect("web:80")?;
/// stream.set_linger(Some(Duration::from_secs(5)))?;
/// stream.write_all(b"the last words")?;
/// drop(stream);
/// // Now they are at the other host.
/// # let (stream, _) = listener.accept()?;
/// # stream.set_nonblocking(true)?;
/// # assert_eq!(std::io::read_to_string(&stream)?, "the last words");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// In a manual network a call that waits does so until somebody else [turns](crate::Network::turn) it; timeouts
/// are by the machine's clock. On the thread of a [`Simulation`](crate::Simulation) a call that would have to wait fails
/// with [`Unsupported`](io::ErrorKind::Unsupported).
///
/// ```
/// use sockeye::{HostConfig, Network};
/// use std::io::{Read, Write};
/// use std::net::Shutdown;
///
/// let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// let (web, me) = (network.host("web")?, network.host("me")?);
/// let listener = web.tcp_listen("web:7")?;
/// let echo = std::thread::spawn(move || -> std::io::Result<u64> {
///     let (stream, _) = listener.accept()?;
///     std::io::copy(&mut &stream, &mut &stream)
/// });
/// let mut stream = me.tcp_connect("web:7")?;
/// stream.write_all(b"to be repeated")?;
/// stream.shutdown(Shutdown::Write)?;
/// let mut back = String::new();
/// stream.read_to_string(&mut back)?;
/// assert_eq!(back, "to be repeated");
/// assert_eq!(echo.join().unwrap()?, 14);
/// # Ok::<(), std::io::Error>(())
/// ```
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

impl Shared {
    fn read<R>(
        &self,
        mut poll: impl FnMut(&Socket, Option<Waiter<'_>>) -> Poll<io::Result<R>>,
    ) -> io::Result<R> {
        self.waiting.read(&self.socket, |waiter| poll(&self.socket, waiter))
    }

    fn write<R>(
        &self,
        mut poll: impl FnMut(&Socket, Option<Waiter<'_>>) -> Poll<io::Result<R>>,
    ) -> io::Result<R> {
        self.waiting.write(&self.socket, |waiter| poll(&self.socket, waiter))
    }
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
            let _ = block_on(
                &self.socket,
                deadline,
                io::ErrorKind::TimedOut,
                || false,
                |waker| drain.poll(waker),
            );
        }
    }
}

/// Opening, and what is known of the connection.
impl TcpStream {
    pub(crate) fn socket(&self) -> &Socket {
        &self.shared.socket
    }

    /// A connection from `host`: as [`Host::tcp_connect`].
    pub fn connect(host: &Host, addr: impl ToSocketAddrs) -> io::Result<TcpStream> {
        try_each(host, addr, |addr| TcpStream::open(stream_socket(host, addr)?, addr, None))
    }

    /// A connection from `host`: as [`Host::tcp_connect_timeout`].
    pub fn connect_timeout(
        host: &Host,
        addr: impl ToSocketAddrs,
        timeout: Duration,
    ) -> io::Result<TcpStream> {
        let deadline = deadline(timeout)?;
        try_each(host, addr, |addr| TcpStream::open(stream_socket(host, addr)?, addr, deadline))
    }

    /// Connects a socket, and gives up at `deadline`.
    pub(crate) fn open(socket: Socket, addr: SocketAddr, deadline: Option<Instant>) -> io::Result<TcpStream> {
        socket.start_connect(addr)?;
        block_on(&socket, deadline, io::ErrorKind::TimedOut, || false, |waker| socket.poll_connected(waker))?;
        Ok(TcpStream::from_socket(socket))
    }

    pub(crate) fn from_socket(socket: Socket) -> TcpStream {
        TcpStream { shared: Arc::new(Shared { socket, waiting: Waiting::new() }) }
    }

    /// The peer's address; [`NotConnected`](io::ErrorKind::NotConnected) when the connection is over.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket.peer_addr()
    }

    /// How the connection is doing (`TCP_INFO`): its state, round-trip times, window, losses, rates.
    ///
    /// ```
    /// # use sockeye::{HostConfig, Network};
    /// # let network = Network::builder().host("web", HostConfig::default()).build()?;
    /// # let web = network.host("web")?;
    /// # let listener = web.tcp_listen("web:80")?;
    /// # let stream = web.tcp_connect("web:80")?;
    /// let info = stream.info()?;
    /// assert_eq!(info.state, sockeye::TcpState::Established);
    /// println!("{:?} round trip, {} segments lost, {} bytes/s", info.srtt, info.lost, info.delivery_rate);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn info(&self) -> io::Result<TcpInfo> {
        self.shared.socket.call(|stack, id, now| stack.tcp_info(now, id))
    }

    /// Another handle to the same connection, with the same timeouts and mode.
    ///
    /// ```
    /// # use sockeye::{HostConfig, Network};
    /// # use std::io::{Read, Write};
    /// # let network = Network::builder().host("web", HostConfig::default()).build()?;
    /// # let web = network.host("web")?;
    /// # let listener = web.tcp_listen("web:80")?;
    /// let mut stream = web.tcp_connect("web:80")?;
    /// let mut writer = stream.try_clone()?;
    /// let writing = std::thread::spawn(move || writer.write_all(b"from another thread"));
    /// # let (mut peer, _) = listener.accept()?;
    /// # peer.write_all(b"hello")?;
    /// stream.read_exact(&mut [0; 5])?;
    /// writing.join().unwrap()?;
    /// # peer.read_exact(&mut [0; 19])?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        Ok(TcpStream { shared: Arc::clone(&self.shared) })
    }
}

/// How its calls wait.
impl TcpStream {
    /// Limits how long a read waits; it then fails with [`WouldBlock`](io::ErrorKind::WouldBlock). None is no
    /// limit; zero is [`InvalidInput`](io::ErrorKind::InvalidInput).
    ///
    /// ```
    /// # use sockeye::{HostConfig, Network};
    /// # use std::{io::Read, time::Duration};
    /// # let network = Network::builder().host("web", HostConfig::default()).build()?;
    /// # let web = network.host("web")?;
    /// # let listener = web.tcp_listen("web:80")?;
    /// let mut stream = web.tcp_connect("web:80")?;
    /// stream.set_read_timeout(Some(Duration::from_millis(5)))?;
    /// let nothing_came = stream.read(&mut [0; 8]).unwrap_err();
    /// assert_eq!(nothing_came.kind(), std::io::ErrorKind::WouldBlock);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.shared.waiting.read_timeout.set(timeout)
    }

    /// Limits how long a write waits; it then fails with [`WouldBlock`](io::ErrorKind::WouldBlock). None is no
    /// limit; zero is [`InvalidInput`](io::ErrorKind::InvalidInput).
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.shared.waiting.write_timeout.set(timeout)
    }

    /// How long a read waits at most; none for no limit.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.shared.waiting.read_timeout.get())
    }

    /// How long a write waits at most; none for no limit.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.shared.waiting.write_timeout.get())
    }

    /// Whether calls fail with [`WouldBlock`](io::ErrorKind::WouldBlock) rather than wait, on all handles of
    /// the connection.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.shared.waiting.set_nonblocking(nonblocking);
        Ok(())
    }
}

/// Data, beside [`Read`] and [`Write`].
impl TcpStream {
    /// Ends reading, writing or both. Whoever waits for what was ended returns. The peer learns only that
    /// nothing more will be written: it reads what was written, then end of file.
    ///
    /// Fails with [`NotConnected`](io::ErrorKind::NotConnected) when the connection is over.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.shared.socket.shutdown(how)
    }

    /// Receives without taking the data off the queue: the next read gets it again. Waits as a read does.
    ///
    /// ```
    /// # use sockeye::{HostConfig, Network};
    /// # use std::io::{Read, Write};
    /// # let network = Network::builder().host("web", HostConfig::default()).build()?;
    /// # let web = network.host("web")?;
    /// # let listener = web.tcp_listen("web:80")?;
    /// # let mut client = web.tcp_connect("web:80")?;
    /// # let (mut stream, _) = listener.accept()?;
    /// client.write_all(b"GET / HTTP/1.1")?;
    /// let mut method = [0; 3];
    /// assert_eq!((stream.peek(&mut method)?, &method), (3, b"GET"));
    /// let mut line = [0; 14];
    /// stream.read_exact(&mut line)?;
    /// assert_eq!(&line, b"GET / HTTP/1.1");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.recv(&mut [IoSliceMut::new(buf)], RecvFlags { peek: true, ..RecvFlags::default() })
    }

    /// Sends the front of `data` without copying it, as much as there is room for, and takes it off `data`;
    /// returns how many bytes that were. Waits as a write does; on an error `data` is as it was.
    ///
    /// What is sent stays in memory until the peer has acknowledged it. Over a link in memory the peer even
    /// reads it where it lies, and [`recv_bytes`](TcpStream::recv_bytes) hands it out there; then all of the
    /// buffer stays while the peer holds any part of it. Worth it from 2 KiB on: what is shorter the stack copies
    /// together.
    ///
    /// ```
    /// # use sockeye::{HostConfig, Network};
    /// # let network = Network::builder().host("web", HostConfig::default()).build()?;
    /// # let web = network.host("web")?;
    /// # let listener = web.tcp_listen("web:80")?;
    /// use bytes::Bytes;
    ///
    /// let picture = Bytes::from(vec![7; 10_000]);
    /// let (client, (server, _)) = (web.tcp_connect("web:80")?, listener.accept()?);
    /// let mut left = picture.clone();
    /// while !left.is_empty() {
    ///     client.send_bytes(&mut left)?;
    /// }
    /// let part = server.recv_bytes(5000)?;
    /// assert_eq!(part.as_ptr(), picture.as_ptr(), "it is the very same memory");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send_bytes(&self, data: &mut Bytes) -> io::Result<usize> {
        self.shared.write(|socket, waker| socket.poll_send_bytes(waker, data))
    }

    /// Receives at most `max` bytes without copying them; none at end of file. Waits as a read does.
    ///
    /// What is returned ends where the memory does in which it lies, so it may be shorter than what waits. It
    /// keeps that memory alive: all of what the peer gave to [`send_bytes`](TcpStream::send_bytes), or a block of
    /// 64 KiB of what it wrote. To keep a little for long, copy it.
    pub fn recv_bytes(&self, max: usize) -> io::Result<Bytes> {
        if max == 0 {
            return Ok(Bytes::new());
        }
        self.shared.read(|socket, waker| socket.poll_recv_bytes(waker, max))
    }

    /// Sends data of which the last byte is urgent (`MSG_OOB`, RFC 9293 §3.8.5); returns how many bytes were
    /// taken. Waits as a write does.
    ///
    /// The peer is told at once that something urgent is on the way, and reads it with
    /// [`recv_out_of_band`](TcpStream::recv_out_of_band), or among the other data with
    /// [`set_out_of_band_inline`](TcpStream::set_out_of_band_inline). RFC 6093 §5 advises against it in new
    /// programs.
    ///
    /// ```
    /// # use sockeye::{HostConfig, Network};
    /// # use std::io::{Read, Write};
    /// # let network = Network::builder().host("web", HostConfig::default()).build()?;
    /// # let web = network.host("web")?;
    /// # let listener = web.tcp_listen("web:23")?;
    /// let mut client = web.tcp_connect("web:23")?;
    /// let (mut server, _) = listener.accept()?;
    /// client.write_all(b"slow")?;
    /// client.send_out_of_band(b"!")?;
    /// let mut buffer = [0; 16];
    /// assert_eq!(server.read(&mut buffer)?, 4, "a read stops before the urgent byte");
    /// assert!(server.at_mark()?);
    /// assert_eq!(server.recv_out_of_band(&mut buffer)?, 1);
    /// assert_eq!(buffer[0], b'!');
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send_out_of_band(&self, data: &[u8]) -> io::Result<usize> {
        let flags = SendFlags { oob: true, ..SendFlags::default() };
        self.shared.write(|socket, waker| socket.poll_send_flagged(waker, &[IoSlice::new(data)], flags))
    }

    /// Receives the urgent byte on its own (`MSG_OOB`). It never waits: it fails with
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when nothing is urgent, when the byte was read already or
    /// is left in line, and with [`WouldBlock`](io::ErrorKind::WouldBlock) while the byte is on the way.
    pub fn recv_out_of_band(&self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let flags = RecvFlags { oob: true, ..RecvFlags::default() };
        super::now(self.shared.socket.poll_recv(None, buf, flags))
    }

    /// Whether the next byte to read is the urgent one (`sockatmark`).
    pub fn at_mark(&self) -> io::Result<bool> {
        self.shared.socket.call(|stack, id, _| Ok(stack.at_mark(id)))
    }

    /// Sends all that `slices` hold together, unless the socket doesn't wait, or its timeout or an error comes
    /// between: then their front. Such an error is told by the next call.
    fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let wanted: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut sent = 0;
        self.shared.write(|socket, waker| {
            loop {
                let result = match sent {
                    0 => socket.poll_send_slices(waker, slices),
                    _ if socket.has_error() => return Poll::Ready(Ok(sent)),
                    _ => socket.poll_send(waker, rest(slices, sent)),
                };
                match result {
                    Poll::Ready(Ok(len)) => sent += len,
                    Poll::Ready(Err(_)) if sent > 0 => return Poll::Ready(Ok(sent)),
                    result => return result,
                }
                // Without a waker there is no waiting.
                if sent == wanted || waker.is_none() {
                    return Poll::Ready(Ok(sent));
                }
            }
        })
    }

    fn recv(&self, slices: &mut [IoSliceMut<'_>], flags: RecvFlags) -> io::Result<usize> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Ok(0);
        }
        self.shared.read(|socket, waker| socket.poll_recv_slices(waker, slices, flags))
    }
}

socket_options!(TcpStream, shared.socket);
tcp_options!(TcpStream, shared.socket);

/// A socket for a connection to `addr`.
fn stream_socket(host: &Host, addr: SocketAddr) -> io::Result<Socket> {
    Socket::new(host, addr, SocketType::Stream)
}

/// What follows the first `sent` bytes, up to the end of a slice.
fn rest<'a>(slices: &'a [IoSlice<'_>], mut sent: usize) -> &'a [u8] {
    for slice in slices {
        if sent < slice.len() {
            return &slice[sent..];
        }
        sent -= slice.len();
    }
    &[]
}

/// When a call with this timeout gives up; as std has it, zero is refused.
pub(crate) fn deadline(timeout: Duration) -> io::Result<Option<Instant>> {
    if timeout.is_zero() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a timeout of zero: nothing could be done in it",
        ));
    }
    Ok(Instant::now().checked_add(timeout))
}

impl Read for &TcpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.recv(&mut [IoSliceMut::new(buf)], RecvFlags::default())
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.recv(bufs, RecvFlags::default())
    }
}

impl Write for &TcpStream {
    /// Where it may wait it takes all of `data`, as the kernel does, unless its timeout or an error comes
    /// between; otherwise what there is room for.
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(data)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send(bufs)
    }

    /// Nothing is held back that a flush could push out.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for TcpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl Write for TcpStream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        (&*self).write(data)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}
