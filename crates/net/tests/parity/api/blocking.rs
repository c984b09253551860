//! `std::net`, and the text that serves all blocking implementations, for they have the same methods.

use super::{
    Addrs, Api, Blocking, BlockingListener, BlockingStream, BlockingUdp, Listener, Place, Reader, Socket,
    Stream, Task, Udp, Writer, with_addrs,
};
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

/// Runs a future that never pends.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a blocking call returned before its end"),
    }
}

pub(crate) fn spawn_thread<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Task<T> {
    Task::Thread(thread::spawn(move || run(work)))
}

/// The machine's own loopback. Each case has an address of 127.0.0.0/8 for its servers, so that no other
/// program and no other case has a port that it expects to be free.
pub(crate) fn machine() -> Place {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = (std::process::id() << 12).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
    let server = Ipv4Addr::from_bits(0x7f00_0000 | (number % 0xff_0000 + 0x1_0000));
    Place {
        server: server.into(),
        server_v6: Ipv6Addr::LOCALHOST.into(),
        client: Ipv4Addr::LOCALHOST.into(),
        client_v6: Ipv6Addr::LOCALHOST.into(),
        name: "localhost",
        broadcast: Ipv4Addr::new(127, 255, 255, 255).into(),
    }
}

/// Whether the machine has IPv6.
pub(crate) fn machine_has_ipv6() -> bool {
    std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// `std::net`.
#[derive(Clone, Debug)]
pub(crate) struct Std {
    place: Place,
}

impl Std {
    pub(crate) fn new() -> Std {
        Std { place: machine() }
    }
}

impl Api for Std {
    type Listener = std::net::TcpListener;
    type Stream = std::net::TcpStream;
    type Udp = std::net::UdpSocket;
    type Socket = Socket2;

    fn place(&self) -> &Place {
        &self.place
    }

    async fn listen_at(&self, addrs: Addrs) -> io::Result<std::net::TcpListener> {
        with_addrs!(addrs, |addr| std::net::TcpListener::bind(addr))
    }

    async fn connect_to(&self, addrs: Addrs) -> io::Result<std::net::TcpStream> {
        with_addrs!(addrs, |addr| std::net::TcpStream::connect(addr))
    }

    async fn server_udp_at(&self, addrs: Addrs) -> io::Result<std::net::UdpSocket> {
        with_addrs!(addrs, |addr| std::net::UdpSocket::bind(addr))
    }

    async fn client_udp_at(&self, addrs: Addrs) -> io::Result<std::net::UdpSocket> {
        with_addrs!(addrs, |addr| std::net::UdpSocket::bind(addr))
    }

    fn server_socket(&self, ip: IpAddr) -> io::Result<Socket2> {
        Socket2::new(ip)
    }

    fn client_socket(&self, ip: IpAddr) -> io::Result<Socket2> {
        Socket2::new(ip)
    }

    fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Task<T> {
        spawn_thread(work)
    }

    async fn pause(&self) {
        thread::sleep(Duration::from_millis(1));
    }
}

impl Blocking for Std {
    fn connect_timeout(&self, addr: SocketAddr, timeout: Duration) -> io::Result<std::net::TcpStream> {
        std::net::TcpStream::connect_timeout(&addr, timeout)
    }
}

/// A socket before its use, for which `std` has no type.
#[derive(Debug)]
pub(crate) struct Socket2(socket2::Socket);

impl Socket2 {
    fn new(ip: IpAddr) -> io::Result<Socket2> {
        socket2::Socket::new(
            socket2::Domain::for_address(SocketAddr::new(ip, 0)),
            socket2::Type::STREAM,
            None,
        )
        .map(Socket2)
    }
}

impl Socket for Socket2 {
    type Listener = std::net::TcpListener;
    type Stream = std::net::TcpStream;

    fn bind(&self, addr: SocketAddr) -> io::Result<()> {
        self.0.bind(&addr.into())
    }

    fn listen(self, backlog: u32) -> io::Result<std::net::TcpListener> {
        self.0.listen(backlog as i32)?;
        Ok(self.0.into())
    }

    async fn connect(self, addr: SocketAddr) -> io::Result<std::net::TcpStream> {
        self.0.connect(&addr.into())?;
        Ok(self.0.into())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr().map(|addr| addr.as_socket().unwrap())
    }

    fn set_reuseaddr(&self, reuse: bool) -> io::Result<()> {
        self.0.set_reuse_address(reuse)
    }

    fn reuseaddr(&self) -> io::Result<bool> {
        self.0.reuse_address()
    }

    fn set_reuseport(&self, reuse: bool) -> io::Result<()> {
        self.0.set_reuse_port(reuse)
    }

    fn reuseport(&self) -> io::Result<bool> {
        self.0.reuse_port()
    }

    fn set_keepalive(&self, keepalive: bool) -> io::Result<()> {
        self.0.set_keepalive(keepalive)
    }

    fn keepalive(&self) -> io::Result<bool> {
        self.0.keepalive()
    }

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.0.set_tcp_nodelay(nodelay)
    }

    fn nodelay(&self) -> io::Result<bool> {
        self.0.tcp_nodelay()
    }

    fn set_recv_buffer_size(&self, bytes: u32) -> io::Result<()> {
        self.0.set_recv_buffer_size(bytes as usize)
    }

    fn recv_buffer_size(&self) -> io::Result<u32> {
        self.0.recv_buffer_size().map(|bytes| bytes as u32)
    }

    fn set_send_buffer_size(&self, bytes: u32) -> io::Result<()> {
        self.0.set_send_buffer_size(bytes as usize)
    }

    fn send_buffer_size(&self) -> io::Result<u32> {
        self.0.send_buffer_size().map(|bytes| bytes as u32)
    }

    fn set_only_v6(&self, only: bool) -> io::Result<()> {
        self.0.set_only_v6(only)
    }
}

/// What `std` has no stable name for, through `socket2`.
pub(crate) trait Linger {
    fn so_linger(&self) -> io::Result<Option<Duration>>;
    fn set_so_linger(&self, linger: Option<Duration>) -> io::Result<()>;
}

impl Linger for std::net::TcpStream {
    fn so_linger(&self) -> io::Result<Option<Duration>> {
        socket2::SockRef::from(self).linger()
    }

    fn set_so_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        socket2::SockRef::from(self).set_linger(linger)
    }
}

/// Methods that only pass a call on to the inherent one of the same name.
macro_rules! forward {
    ($($name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {
        $(fn $name(&self, $($arg: $type),*) -> io::Result<$result> {
            Self::$name(self, $($arg),*)
        })*
    };
}

macro_rules! listener {
    ($listener:ty, $stream:ty) => {
        impl Listener for $listener {
            type Stream = $stream;

            async fn accept(&self) -> io::Result<($stream, SocketAddr)> {
                Self::accept(self)
            }

            forward! {
                local_addr() -> SocketAddr;
                set_ttl(ttl: u32) -> ();
                ttl() -> u32;
            }
        }

        impl BlockingListener for $listener {
            forward! {
                try_clone() -> Self;
                set_nonblocking(nonblocking: bool) -> ();
                take_error() -> Option<io::Error>;
            }

            fn incoming(&self) -> impl Iterator<Item = io::Result<$stream>> {
                Self::incoming(self)
            }
        }
    };
}

macro_rules! stream {
    ($stream:ty) => {
        impl Stream for $stream {
            type Reader = $stream;
            type Writer = $stream;

            fn halves(self) -> ($stream, $stream) {
                (Self::try_clone(&self).unwrap(), self)
            }

            async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                Read::read(self, buf)
            }

            async fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
                Read::read_exact(self, buf)
            }

            async fn read_to_end(&mut self, out: &mut Vec<u8>) -> io::Result<usize> {
                Read::read_to_end(self, out)
            }

            async fn write(&mut self, data: &[u8]) -> io::Result<usize> {
                Write::write(self, data)
            }

            async fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
                Write::write_all(self, data)
            }

            async fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
                Write::write_vectored(self, data)
            }

            async fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                Read::read_vectored(self, bufs)
            }

            async fn flush(&mut self) -> io::Result<()> {
                Write::flush(self)
            }

            async fn shutdown_write(&mut self) -> io::Result<()> {
                Self::shutdown(self, Shutdown::Write)
            }

            async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
                Self::peek(self, buf)
            }

            forward! {
                local_addr() -> SocketAddr;
                peer_addr() -> SocketAddr;
                set_nodelay(nodelay: bool) -> ();
                nodelay() -> bool;
                set_ttl(ttl: u32) -> ();
                ttl() -> u32;
                take_error() -> Option<io::Error>;
            }

            fn linger(&self) -> io::Result<Option<Duration>> {
                self.so_linger()
            }

            fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
                self.set_so_linger(linger)
            }
        }

        impl BlockingStream for $stream {
            forward! {
                try_clone() -> Self;
                set_nonblocking(nonblocking: bool) -> ();
                set_read_timeout(timeout: Option<Duration>) -> ();
                read_timeout() -> Option<Duration>;
                set_write_timeout(timeout: Option<Duration>) -> ();
                write_timeout() -> Option<Duration>;
                shutdown(how: Shutdown) -> ();
            }

            fn read_shared(mut self: &Self, buf: &mut [u8]) -> io::Result<usize> {
                Read::read(&mut self, buf)
            }

            fn write_shared(mut self: &Self, data: &[u8]) -> io::Result<usize> {
                Write::write(&mut self, data)
            }
        }

        impl Reader for $stream {
            async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                Read::read(self, buf)
            }

            async fn read_to_end(&mut self, out: &mut Vec<u8>) -> io::Result<usize> {
                Read::read_to_end(self, out)
            }
        }

        impl Writer for $stream {
            async fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
                Write::write_all(self, data)
            }

            async fn shutdown(&mut self) -> io::Result<()> {
                Self::shutdown(self, Shutdown::Write)
            }
        }
    };
}

macro_rules! udp {
    ($udp:ty) => {
        impl Udp for $udp {
            async fn connect(&self, addrs: impl Into<Addrs> + Send) -> io::Result<()> {
                with_addrs!(addrs.into(), |addr| Self::connect(self, addr))
            }

            async fn send(&self, data: &[u8]) -> io::Result<usize> {
                Self::send(self, data)
            }

            async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
                Self::recv(self, buf)
            }

            async fn send_to(&self, data: &[u8], addrs: impl Into<Addrs> + Send) -> io::Result<usize> {
                with_addrs!(addrs.into(), |addr| Self::send_to(self, data, addr))
            }

            async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
                Self::recv_from(self, buf)
            }

            async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
                Self::peek(self, buf)
            }

            async fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
                Self::peek_from(self, buf)
            }

            forward! {
                local_addr() -> SocketAddr;
                peer_addr() -> SocketAddr;
                set_broadcast(broadcast: bool) -> ();
                broadcast() -> bool;
                set_ttl(ttl: u32) -> ();
                ttl() -> u32;
                take_error() -> Option<io::Error>;
            }
        }

        impl BlockingUdp for $udp {
            forward! {
                try_clone() -> Self;
                set_nonblocking(nonblocking: bool) -> ();
                set_read_timeout(timeout: Option<Duration>) -> ();
                read_timeout() -> Option<Duration>;
                set_write_timeout(timeout: Option<Duration>) -> ();
                write_timeout() -> Option<Duration>;
            }
        }
    };
}

listener!(std::net::TcpListener, std::net::TcpStream);
stream!(std::net::TcpStream);
udp!(std::net::UdpSocket);
pub(crate) use {forward, listener, stream, udp};
