//! tokio, and the text that serves all async implementations, for they have the same methods.

use super::blocking::machine;
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

/// Tokio's sockets on the machine's loopback.
#[derive(Clone, Debug)]
pub(crate) struct Tokio {
    place: Place,
}

impl Tokio {
    pub(crate) fn new() -> Tokio {
        Tokio { place: machine() }
    }
}

impl Api for Tokio {
    type Listener = tokio::net::TcpListener;
    type Stream = tokio::net::TcpStream;
    type Udp = tokio::net::UdpSocket;
    type Socket = tokio::net::TcpSocket;

    fn place(&self) -> &Place {
        &self.place
    }

    async fn listen_at(&self, addrs: Addrs) -> io::Result<tokio::net::TcpListener> {
        with_addrs!(addrs, |addr| tokio::net::TcpListener::bind(addr).await)
    }

    async fn connect_to(&self, addrs: Addrs) -> io::Result<tokio::net::TcpStream> {
        with_addrs!(addrs, |addr| tokio::net::TcpStream::connect(addr).await)
    }

    async fn server_udp_at(&self, addrs: Addrs) -> io::Result<tokio::net::UdpSocket> {
        with_addrs!(addrs, |addr| tokio::net::UdpSocket::bind(addr).await)
    }

    async fn client_udp_at(&self, addrs: Addrs) -> io::Result<tokio::net::UdpSocket> {
        with_addrs!(addrs, |addr| tokio::net::UdpSocket::bind(addr).await)
    }

    fn server_socket(&self, ip: IpAddr) -> io::Result<tokio::net::TcpSocket> {
        if ip.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() }
    }

    fn client_socket(&self, ip: IpAddr) -> io::Result<tokio::net::TcpSocket> {
        self.server_socket(ip)
    }

    fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Task<T> {
        Task::Tokio(tokio::spawn(work))
    }

    async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What tokio has no name for, or one that it warns of.
pub(crate) trait Linger {
    fn so_linger(&self) -> io::Result<Option<Duration>>;
    fn set_so_linger(&self, linger: Option<Duration>) -> io::Result<()>;
}

impl Linger for tokio::net::TcpStream {
    fn so_linger(&self) -> io::Result<Option<Duration>> {
        socket2::SockRef::from(self).linger()
    }

    fn set_so_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        socket2::SockRef::from(self).set_linger(linger)
    }
}

/// The same for sockets before their use.
pub(crate) trait OnlyV6 {
    fn set_v6only(&self, only: bool) -> io::Result<()>;
}

impl OnlyV6 for tokio::net::TcpSocket {
    fn set_v6only(&self, only: bool) -> io::Result<()> {
        socket2::SockRef::from(self).set_only_v6(only)
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

/// The same for methods that wait.
macro_rules! forward_async {
    ($($name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {
        $(async fn $name(&self, $($arg: $type),*) -> io::Result<$result> {
            Self::$name(self, $($arg),*).await
        })*
    };
}

macro_rules! socket {
    ($socket:ty, $listener:ty, $stream:ty) => {
        impl Socket for $socket {
            type Listener = $listener;
            type Stream = $stream;

            fn listen(self, backlog: u32) -> io::Result<$listener> {
                Self::listen(self, backlog)
            }

            async fn connect(self, addr: SocketAddr) -> io::Result<$stream> {
                Self::connect(self, addr).await
            }

            fn set_recv_buffer_size(&self, bytes: u32) -> io::Result<()> {
                Self::set_recv_buffer_size(self, bytes as _)
            }

            fn recv_buffer_size(&self) -> io::Result<u32> {
                Self::recv_buffer_size(self).map(|bytes| bytes as u32)
            }

            fn set_send_buffer_size(&self, bytes: u32) -> io::Result<()> {
                Self::set_send_buffer_size(self, bytes as _)
            }

            fn send_buffer_size(&self) -> io::Result<u32> {
                Self::send_buffer_size(self).map(|bytes| bytes as u32)
            }

            fn set_only_v6(&self, only: bool) -> io::Result<()> {
                self.set_v6only(only)
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
            }
        }
    };
}

macro_rules! listener {
    ($listener:ty, $stream:ty) => {
        impl Listener for $listener {
            type Stream = $stream;

            forward_async! {
                accept() -> ($stream, SocketAddr);
            }

            forward! {
                local_addr() -> SocketAddr;
                set_ttl(ttl: u32) -> ();
                ttl() -> u32;
            }
        }

        impl AsyncListener for $listener {
            fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<($stream, SocketAddr)>> {
                Self::poll_accept(self, cx)
            }
        }
    };
}

macro_rules! stream {
    ($stream:ty, $($split:ident)::+) => {
        impl Stream for $stream {
            type Reader = $($split)::+::OwnedReadHalf;
            type Writer = $($split)::+::OwnedWriteHalf;

            fn halves(self) -> (Self::Reader, Self::Writer) {
                self.into_split()
            }

            async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                AsyncReadExt::read(self, buf).await
            }

            async fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
                AsyncReadExt::read_exact(self, buf).await.map(drop)
            }

            async fn read_to_end(&mut self, out: &mut Vec<u8>) -> io::Result<usize> {
                AsyncReadExt::read_to_end(self, out).await
            }

            async fn write(&mut self, data: &[u8]) -> io::Result<usize> {
                AsyncWriteExt::write(self, data).await
            }

            async fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
                AsyncWriteExt::write_all(self, data).await
            }

            async fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
                AsyncWriteExt::write_vectored(self, data).await
            }

            async fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                loop {
                    Self::readable(self).await?;
                    match Self::try_read_vectored(self, bufs) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        result => return result,
                    }
                }
            }

            async fn flush(&mut self) -> io::Result<()> {
                AsyncWriteExt::flush(self).await
            }

            async fn shutdown_write(&mut self) -> io::Result<()> {
                AsyncWriteExt::shutdown(self).await
            }

            fn linger(&self) -> io::Result<Option<Duration>> {
                self.so_linger()
            }

            fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
                self.set_so_linger(linger)
            }

            forward_async! {
                peek(buf: &mut [u8]) -> usize;
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
        }

        impl AsyncStream for $stream {
            type ReadRef<'a> = $($split)::+::ReadHalf<'a>;
            type WriteRef<'a> = $($split)::+::WriteHalf<'a>;

            fn split(&mut self) -> (Self::ReadRef<'_>, Self::WriteRef<'_>) {
                Self::split(self)
            }

            fn reunite(reader: Self::Reader, writer: Self::Writer) -> Result<Self, (Self::Reader, Self::Writer)> {
                reader.reunite(writer).map_err(|error| (error.0, error.1))
            }

            forward_async! {
                readable() -> ();
                writable() -> ();
            }

            forward! {
                try_read(buf: &mut [u8]) -> usize;
                try_write(data: &[u8]) -> usize;
                try_read_vectored(bufs: &mut [IoSliceMut<'_>]) -> usize;
                try_write_vectored(data: &[IoSlice<'_>]) -> usize;
            }
        }

        impl Reader for $($split)::+::OwnedReadHalf {
            async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                AsyncReadExt::read(self, buf).await
            }

            async fn read_to_end(&mut self, out: &mut Vec<u8>) -> io::Result<usize> {
                AsyncReadExt::read_to_end(self, out).await
            }
        }

        impl AsyncReader for $($split)::+::OwnedReadHalf {
            async fn peek(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                Self::peek(self, buf).await
            }

            forward_async! {
                readable() -> ();
            }

            forward! {
                try_read(buf: &mut [u8]) -> usize;
                local_addr() -> SocketAddr;
                peer_addr() -> SocketAddr;
            }
        }

        impl Writer for $($split)::+::OwnedWriteHalf {
            async fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
                AsyncWriteExt::write_all(self, data).await
            }

            async fn shutdown(&mut self) -> io::Result<()> {
                AsyncWriteExt::shutdown(self).await
            }
        }

        impl AsyncWriter for $($split)::+::OwnedWriteHalf {
            fn forget(self) {
                Self::forget(self);
            }

            forward_async! {
                writable() -> ();
            }

            forward! {
                try_write(data: &[u8]) -> usize;
                local_addr() -> SocketAddr;
                peer_addr() -> SocketAddr;
            }
        }
    };
}

macro_rules! udp {
    ($udp:ty) => {
        impl Udp for $udp {
            async fn connect(&self, addrs: impl Into<Addrs> + Send) -> io::Result<()> {
                with_addrs!(addrs.into(), |addr| Self::connect(self, addr).await)
            }

            async fn send_to(&self, data: &[u8], addrs: impl Into<Addrs> + Send) -> io::Result<usize> {
                with_addrs!(addrs.into(), |addr| Self::send_to(self, data, addr).await)
            }

            forward_async! {
                send(data: &[u8]) -> usize;
                recv(buf: &mut [u8]) -> usize;
                recv_from(buf: &mut [u8]) -> (usize, SocketAddr);
                peek(buf: &mut [u8]) -> usize;
                peek_from(buf: &mut [u8]) -> (usize, SocketAddr);
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

        impl AsyncUdp for $udp {
            forward_async! {
                readable() -> ();
                writable() -> ();
                peek_sender() -> SocketAddr;
            }

            forward! {
                try_send(data: &[u8]) -> usize;
                try_recv(buf: &mut [u8]) -> usize;
                try_send_to(data: &[u8], to: SocketAddr) -> usize;
                try_recv_from(buf: &mut [u8]) -> (usize, SocketAddr);
            }
        }
    };
}

socket!(tokio::net::TcpSocket, tokio::net::TcpListener, tokio::net::TcpStream);
listener!(tokio::net::TcpListener, tokio::net::TcpStream);
stream!(tokio::net::TcpStream, tokio::net::tcp);
udp!(tokio::net::UdpSocket);
#[allow(unused_imports, reason = "for the implementations that features bring")]
pub(crate) use {forward, forward_async, listener, socket, stream, udp};
