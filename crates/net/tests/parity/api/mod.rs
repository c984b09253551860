//! What the cases are written against: the calls that all implementations have, those that only blocking
//! ones have, and those that only async ones have.
//!
//! A case is an `async fn` that knows no implementation. Of a blocking one, the futures never pend: they
//! make the blocking call when they are polled, so a thread runs a case by polling it once.

pub(crate) mod asynchronous;
pub(crate) mod blocking;
pub(crate) mod sockeye;
#[cfg(feature = "tokio")]
pub(crate) mod sockeye_async;

use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// An address as the user of a library writes it.
#[derive(Clone, Debug)]
pub(crate) enum Addrs {
    /// `SocketAddr`.
    One(SocketAddr),
    /// `&[SocketAddr]`.
    Many(Vec<SocketAddr>),
    /// `(IpAddr, u16)`.
    Pair(IpAddr, u16),
    /// `(&str, u16)`.
    Named(String, u16),
    /// `&str`, with the port in it.
    Text(String),
}

impl From<SocketAddr> for Addrs {
    fn from(addr: SocketAddr) -> Addrs {
        Addrs::One(addr)
    }
}

impl From<Vec<SocketAddr>> for Addrs {
    fn from(addrs: Vec<SocketAddr>) -> Addrs {
        Addrs::Many(addrs)
    }
}

impl From<(IpAddr, u16)> for Addrs {
    fn from((ip, port): (IpAddr, u16)) -> Addrs {
        Addrs::Pair(ip, port)
    }
}

impl From<(&str, u16)> for Addrs {
    fn from((name, port): (&str, u16)) -> Addrs {
        Addrs::Named(name.to_owned(), port)
    }
}

impl From<&str> for Addrs {
    fn from(text: &str) -> Addrs {
        Addrs::Text(text.to_owned())
    }
}

/// Calls a function with an address in the type that its user would write.
macro_rules! with_addrs {
    ($addrs:expr, |$addr:ident| $call:expr) => {
        match $addrs {
            $crate::api::Addrs::One($addr) => $call,
            $crate::api::Addrs::Many(addrs) => {
                let $addr = &addrs[..];
                $call
            }
            $crate::api::Addrs::Pair(ip, port) => {
                let $addr = (ip, port);
                $call
            }
            $crate::api::Addrs::Named(name, port) => {
                let $addr = (&name[..], port);
                $call
            }
            $crate::api::Addrs::Text(text) => {
                let $addr = &text[..];
                $call
            }
        }
    };
}
pub(crate) use with_addrs;

/// Where a case takes place. Servers and clients may be on one host or on two.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// An address of the servers' host, by which clients reach it.
    pub server: IpAddr,
    /// The same in IPv6.
    pub server_v6: IpAddr,
    /// The address that clients have when they talk to `server`.
    pub client: IpAddr,
    /// The same in IPv6.
    pub client_v6: IpAddr,
    /// A name of the servers' host, the same for clients and servers.
    pub name: &'static str,
    /// The broadcast address of the network that both are in.
    pub broadcast: IpAddr,
}

/// An implementation of sockets.
pub(crate) trait Api: Clone + Send + Sync + 'static {
    type Listener: Listener<Stream = Self::Stream>;
    type Stream: Stream;
    type Udp: Udp;
    type Socket: Socket<Listener = Self::Listener, Stream = Self::Stream>;

    fn place(&self) -> &Place;

    /// A listener on the servers' host.
    fn listen_at(&self, addrs: Addrs) -> impl Future<Output = io::Result<Self::Listener>> + Send;

    /// A connection from the clients' host.
    fn connect_to(&self, addrs: Addrs) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// A UDP socket on the servers' host.
    fn server_udp_at(&self, addrs: Addrs) -> impl Future<Output = io::Result<Self::Udp>> + Send;

    /// A UDP socket on the clients' host.
    fn client_udp_at(&self, addrs: Addrs) -> impl Future<Output = io::Result<Self::Udp>> + Send;

    /// A TCP socket on the servers' host that is neither bound nor connected, of the family of `ip`.
    fn server_socket(&self, ip: IpAddr) -> io::Result<Self::Socket>;

    /// The same on the clients' host.
    fn client_socket(&self, ip: IpAddr) -> io::Result<Self::Socket>;

    /// Runs work at the same time: in a thread, or in a task.
    fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Task<T>;

    /// Lets time pass, between two looks at what nothing tells of.
    fn pause(&self) -> impl Future<Output = ()> + Send;

    fn listen(&self, addrs: impl Into<Addrs>) -> impl Future<Output = io::Result<Self::Listener>> + Send {
        self.listen_at(addrs.into())
    }

    fn connect(&self, addrs: impl Into<Addrs>) -> impl Future<Output = io::Result<Self::Stream>> + Send {
        self.connect_to(addrs.into())
    }

    fn server_udp(&self, addrs: impl Into<Addrs>) -> impl Future<Output = io::Result<Self::Udp>> + Send {
        self.server_udp_at(addrs.into())
    }

    fn client_udp(&self, addrs: impl Into<Addrs>) -> impl Future<Output = io::Result<Self::Udp>> + Send {
        self.client_udp_at(addrs.into())
    }
}

/// Work that goes on at the same time.
pub(crate) enum Task<T> {
    Thread(std::thread::JoinHandle<T>),
    Tokio(tokio::task::JoinHandle<T>),
}

impl<T> Task<T> {
    /// Waits for its end; passes a panic on.
    pub(crate) async fn join(self) -> T {
        match self {
            Task::Thread(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Task::Tokio(task) => match task.await {
                Ok(value) => value,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
        }
    }
}

/// A TCP socket whose options are set before it is used.
pub(crate) trait Socket: Debug + Send + Sync + Sized + 'static {
    type Listener: Listener<Stream = Self::Stream>;
    type Stream: Stream;

    fn bind(&self, addr: SocketAddr) -> io::Result<()>;
    fn listen(self, backlog: u32) -> io::Result<Self::Listener>;
    fn connect(self, addr: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;
    fn local_addr(&self) -> io::Result<SocketAddr>;
    fn set_reuseaddr(&self, reuse: bool) -> io::Result<()>;
    fn reuseaddr(&self) -> io::Result<bool>;
    fn set_reuseport(&self, reuse: bool) -> io::Result<()>;
    fn reuseport(&self) -> io::Result<bool>;
    fn set_keepalive(&self, keepalive: bool) -> io::Result<()>;
    fn keepalive(&self) -> io::Result<bool>;
    fn set_nodelay(&self, nodelay: bool) -> io::Result<()>;
    fn nodelay(&self) -> io::Result<bool>;
    fn set_recv_buffer_size(&self, bytes: u32) -> io::Result<()>;
    fn recv_buffer_size(&self) -> io::Result<u32>;
    fn set_send_buffer_size(&self, bytes: u32) -> io::Result<()>;
    fn send_buffer_size(&self) -> io::Result<u32>;
    fn set_only_v6(&self, only: bool) -> io::Result<()>;
}

pub(crate) trait Listener: Debug + Send + Sync + Sized + 'static {
    type Stream: Stream;

    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
    fn local_addr(&self) -> io::Result<SocketAddr>;
    fn set_ttl(&self, ttl: u32) -> io::Result<()>;
    fn ttl(&self) -> io::Result<u32>;
}

pub(crate) trait Stream: Debug + Send + Sync + Sized + 'static {
    type Reader: Reader;
    type Writer: Writer;

    /// Two handles, for two threads or tasks.
    fn halves(self) -> (Self::Reader, Self::Writer);

    fn read(&mut self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
    fn read_exact(&mut self, buf: &mut [u8]) -> impl Future<Output = io::Result<()>> + Send;
    fn read_to_end(&mut self, out: &mut Vec<u8>) -> impl Future<Output = io::Result<usize>> + Send;
    fn write(&mut self, data: &[u8]) -> impl Future<Output = io::Result<usize>> + Send;
    fn write_all(&mut self, data: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> impl Future<Output = io::Result<usize>> + Send;
    fn read_vectored(
        &mut self,
        bufs: &mut [IoSliceMut<'_>],
    ) -> impl Future<Output = io::Result<usize>> + Send;
    fn flush(&mut self) -> impl Future<Output = io::Result<()>> + Send;
    fn shutdown_write(&mut self) -> impl Future<Output = io::Result<()>> + Send;
    fn peek(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;

    fn local_addr(&self) -> io::Result<SocketAddr>;
    fn peer_addr(&self) -> io::Result<SocketAddr>;
    fn set_nodelay(&self, nodelay: bool) -> io::Result<()>;
    fn nodelay(&self) -> io::Result<bool>;
    fn set_ttl(&self, ttl: u32) -> io::Result<()>;
    fn ttl(&self) -> io::Result<u32>;
    fn take_error(&self) -> io::Result<Option<io::Error>>;
    fn set_linger(&self, linger: Option<Duration>) -> io::Result<()>;
    fn linger(&self) -> io::Result<Option<Duration>>;
}

pub(crate) trait Reader: Send + 'static {
    fn read(&mut self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
    fn read_to_end(&mut self, out: &mut Vec<u8>) -> impl Future<Output = io::Result<usize>> + Send;
}

pub(crate) trait Writer: Send + 'static {
    fn write_all(&mut self, data: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

pub(crate) trait Udp: Debug + Send + Sync + Sized + 'static {
    fn connect(&self, addrs: impl Into<Addrs> + Send) -> impl Future<Output = io::Result<()>> + Send;
    fn send(&self, data: &[u8]) -> impl Future<Output = io::Result<usize>> + Send;
    fn recv(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
    fn send_to(
        &self,
        data: &[u8],
        addrs: impl Into<Addrs> + Send,
    ) -> impl Future<Output = io::Result<usize>> + Send;
    fn recv_from(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<(usize, SocketAddr)>> + Send;
    fn peek(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
    fn peek_from(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<(usize, SocketAddr)>> + Send;

    fn local_addr(&self) -> io::Result<SocketAddr>;
    fn peer_addr(&self) -> io::Result<SocketAddr>;
    fn set_broadcast(&self, broadcast: bool) -> io::Result<()>;
    fn broadcast(&self) -> io::Result<bool>;
    fn set_ttl(&self, ttl: u32) -> io::Result<()>;
    fn ttl(&self) -> io::Result<u32>;
    fn take_error(&self) -> io::Result<Option<io::Error>>;
}

/// What only blocking implementations have.
pub(crate) trait Blocking:
    Api<Listener: BlockingListener, Stream: BlockingStream, Udp: BlockingUdp>
{
    fn connect_timeout(&self, addr: SocketAddr, timeout: Duration) -> io::Result<Self::Stream>;
}

pub(crate) trait BlockingListener: Listener {
    fn try_clone(&self) -> io::Result<Self>;
    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()>;
    fn take_error(&self) -> io::Result<Option<io::Error>>;
    fn incoming(&self) -> impl Iterator<Item = io::Result<Self::Stream>>;
}

pub(crate) trait BlockingStream: Stream {
    fn try_clone(&self) -> io::Result<Self>;
    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()>;
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;
    fn read_timeout(&self) -> io::Result<Option<Duration>>;
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;
    fn write_timeout(&self) -> io::Result<Option<Duration>>;
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
    /// Through `Read` for `&TcpStream`.
    fn read_shared(&self, buf: &mut [u8]) -> io::Result<usize>;
    /// Through `Write` for `&TcpStream`.
    fn write_shared(&self, data: &[u8]) -> io::Result<usize>;
}

pub(crate) trait BlockingUdp: Udp {
    fn try_clone(&self) -> io::Result<Self>;
    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()>;
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;
    fn read_timeout(&self) -> io::Result<Option<Duration>>;
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;
    fn write_timeout(&self) -> io::Result<Option<Duration>>;
}

/// What only async implementations have.
pub(crate) trait Asynchronous:
    Api<Listener: AsyncListener, Stream: AsyncStream, Udp: AsyncUdp>
{
}

impl<A: Api<Listener: AsyncListener, Stream: AsyncStream, Udp: AsyncUdp>> Asynchronous for A {}

pub(crate) trait AsyncListener: Listener {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Stream, SocketAddr)>>;
}

pub(crate) trait AsyncStream:
    Stream<Reader: AsyncReader, Writer: AsyncWriter> + AsyncRead + AsyncWrite + Unpin
{
    type ReadRef<'a>: AsyncRead + Unpin + Send
    where
        Self: 'a;
    type WriteRef<'a>: AsyncWrite + Unpin + Send
    where
        Self: 'a;

    fn split(&mut self) -> (Self::ReadRef<'_>, Self::WriteRef<'_>);
    /// The connection of two halves, or the halves, if they are of two connections.
    fn reunite(reader: Self::Reader, writer: Self::Writer) -> Result<Self, (Self::Reader, Self::Writer)>;
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send;
    fn writable(&self) -> impl Future<Output = io::Result<()>> + Send;
    fn try_read(&self, buf: &mut [u8]) -> io::Result<usize>;
    fn try_write(&self, data: &[u8]) -> io::Result<usize>;
    fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize>;
    fn try_write_vectored(&self, data: &[IoSlice<'_>]) -> io::Result<usize>;
}

pub(crate) trait AsyncReader: Reader + AsyncRead + Unpin {
    fn peek(&mut self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send;
    fn try_read(&self, buf: &mut [u8]) -> io::Result<usize>;
    fn local_addr(&self) -> io::Result<SocketAddr>;
    fn peer_addr(&self) -> io::Result<SocketAddr>;
}

pub(crate) trait AsyncWriter: Writer + AsyncWrite + Unpin {
    fn writable(&self) -> impl Future<Output = io::Result<()>> + Send;
    fn try_write(&self, data: &[u8]) -> io::Result<usize>;
    fn forget(self);
    fn local_addr(&self) -> io::Result<SocketAddr>;
    fn peer_addr(&self) -> io::Result<SocketAddr>;
}

pub(crate) trait AsyncUdp: Udp {
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send;
    fn writable(&self) -> impl Future<Output = io::Result<()>> + Send;
    fn try_send(&self, data: &[u8]) -> io::Result<usize>;
    fn try_recv(&self, buf: &mut [u8]) -> io::Result<usize>;
    fn try_send_to(&self, data: &[u8], to: SocketAddr) -> io::Result<usize>;
    fn try_recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)>;
    fn peek_sender(&self) -> impl Future<Output = io::Result<SocketAddr>> + Send;
}

/// Polls a future once and drops it: as `select!` does with the one that loses.
pub(crate) async fn cancel<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// A connection: the client's end, then the server's.
pub(crate) async fn pair<A: Api>(api: &A) -> (A::Stream, A::Stream) {
    pair_at(api, api.place().server).await
}

/// A connection to an address of the servers' host.
pub(crate) async fn pair_at<A: Api>(api: &A, ip: IpAddr) -> (A::Stream, A::Stream) {
    let (listener, addr) = listener_at(api, ip).await;
    let client = api.connect(addr).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (client, server)
}

/// A listener and its address.
pub(crate) async fn listener<A: Api>(api: &A) -> (A::Listener, SocketAddr) {
    listener_at(api, api.place().server).await
}

/// A listener at an address of the servers' host.
pub(crate) async fn listener_at<A: Api>(api: &A, ip: IpAddr) -> (A::Listener, SocketAddr) {
    let listener = api.listen((ip, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Two UDP sockets that are not connected: the client's, then the server's, each with its address.
pub(crate) async fn udp_pair<A: Api>(api: &A) -> ((A::Udp, SocketAddr), (A::Udp, SocketAddr)) {
    let client = api.client_udp((api.place().client, 0)).await.unwrap();
    let server = api.server_udp((api.place().server, 0)).await.unwrap();
    let (client_addr, server_addr) = (client.local_addr().unwrap(), server.local_addr().unwrap());
    ((client, client_addr), (server, server_addr))
}

/// A port of TCP and UDP that nobody listens at: programs get ports from 32768 on, or name them.
pub(crate) const NOBODY: u16 = 1;

/// The kind of the error that a call must have failed with.
#[track_caller]
pub(crate) fn kind<T: Debug>(result: io::Result<T>) -> ErrorKind {
    result.expect_err("the call must fail").kind()
}

/// Bytes without a pattern, different for each seed.
pub(crate) fn random_bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Fails without printing megabytes.
#[track_caller]
pub(crate) fn assert_bytes(got: &[u8], expected: &[u8]) {
    assert_eq!(got.len(), expected.len(), "number of bytes");
    if got != expected
        && let Some(at) = (0..got.len()).find(|&at| got[at] != expected[at])
    {
        panic!("byte {at} of {} is {:#04x} instead of {:#04x}", got.len(), got[at], expected[at]);
    }
}

/// All bytes until the end of file.
pub(crate) async fn read_all<S: Stream>(stream: &mut S) -> Vec<u8> {
    let mut bytes = Vec::new();
    let len = stream.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(len, bytes.len());
    bytes
}

/// Exactly this many bytes.
pub(crate) async fn read_some<S: Stream>(stream: &mut S, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

/// What a datagram says, and whose it is.
pub(crate) async fn receive<U: Udp>(socket: &U) -> (Vec<u8>, SocketAddr) {
    let mut buf = vec![0; 70_000];
    let (len, from) = socket.recv_from(&mut buf).await.unwrap();
    buf.truncate(len);
    (buf, from)
}
