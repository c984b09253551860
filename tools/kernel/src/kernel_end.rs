//! A connection's end on the kernel's sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, ipproto, sockopt};
use sockeye_packet::Instant;

use crate::namespace::KernelHost;
use crate::program::{Facts, Socket};
use crate::sys;

/// A socket in the namespace of a [`KernelHost`].
#[derive(Debug)]
pub(crate) struct KernelEnd {
    /// None once it is closed.
    pub(crate) socket: Option<OwnedFd>,
    listens: bool,
    facts: Facts,
}

impl KernelEnd {
    /// Listens at `at`.
    pub(crate) fn listen(host: &KernelHost, at: SocketAddr) -> io::Result<KernelEnd> {
        let socket = host.within(|| {
            let socket = stream(at)?;
            sockopt::set_socket_reuseaddr(&socket, true)?;
            rustix::net::bind(&socket, &at)?;
            rustix::net::listen(&socket, 1)?;
            Ok(socket)
        })?;
        Ok(KernelEnd { socket: Some(socket), listens: true, facts: Facts::default() })
    }

    /// Begins to connect to `to`.
    pub(crate) fn connect(host: &KernelHost, to: SocketAddr) -> io::Result<KernelEnd> {
        KernelEnd::connect_from(host, None, to)
    }

    /// Begins to connect to `to` from an address of this end's choice.
    pub(crate) fn connect_from(
        host: &KernelHost,
        from: Option<SocketAddr>,
        to: SocketAddr,
    ) -> io::Result<KernelEnd> {
        let socket = host.within(|| {
            let socket = stream(to)?;
            if let Some(from) = from {
                sockopt::set_socket_reuseaddr(&socket, true)?;
                rustix::net::bind(&socket, &from)?;
            }
            Ok(socket)
        })?;
        match rustix::net::connect(&socket, &to) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {
                Ok(KernelEnd { socket: Some(socket), listens: false, facts: Facts::default() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The descriptor to wait for, which is another one once a connection is accepted.
    pub(crate) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// Accepts a connection if it waits for one and there is one; says whether there was.
    pub(crate) fn accept(&mut self) -> io::Result<bool> {
        let Some(listener) = self.socket.as_ref().filter(|_| self.listens) else { return Ok(false) };
        match rustix::net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(socket) => {
                (self.socket, self.listens) = (Some(socket), false);
                Ok(true)
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn socket(&self) -> io::Result<&OwnedFd> {
        self.socket.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Socket for KernelEnd {
    fn is_open(&mut self) -> io::Result<bool> {
        if self.listens {
            return Ok(false);
        }
        let socket = self.socket()?;
        sockopt::socket_error(socket)??;
        Ok(rustix::net::getpeername(socket).is_ok())
    }

    fn read(&mut self, _now: Instant, buffer: &mut [u8]) -> io::Result<usize> {
        let (len, _) = rustix::net::recv(self.socket()?, buffer, RecvFlags::empty())?;
        Ok(len)
    }

    fn write(&mut self, _now: Instant, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(self.socket()?, bytes, SendFlags::NOSIGNAL)?)
    }

    fn shutdown_write(&mut self, _now: Instant) -> io::Result<()> {
        Ok(rustix::net::shutdown(self.socket()?, Shutdown::Write)?)
    }

    fn reset(&mut self, _now: Instant) {
        if let Some(socket) = self.socket.take() {
            // The only failure is a wrong descriptor.
            let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
        }
    }

    fn close(&mut self, _now: Instant) {
        self.facts();
        self.socket = None;
    }

    fn facts(&mut self) -> Facts {
        let socket = self.socket.as_ref().filter(|_| !self.listens);
        if let Some(info) = socket.and_then(|socket| sys::tcp_info(socket).ok()) {
            let micros = |value| Duration::from_micros(u64::from(value));
            self.facts = Facts {
                rto: micros(info.tcpi_rto),
                srtt: micros(info.tcpi_rtt),
                cwnd: info.tcpi_snd_cwnd as usize,
                ssthresh: info.tcpi_snd_ssthresh as usize,
                unacked: info.tcpi_unacked as usize,
                sacked: info.tcpi_sacked as usize,
                lost: info.tcpi_lost as usize,
                retransmitted: info.tcpi_retrans as usize,
            };
        }
        self.facts
    }
}

fn stream(like: SocketAddr) -> io::Result<OwnedFd> {
    let family = if like.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?)
}
