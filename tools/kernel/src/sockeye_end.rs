//! A connection's end on a Sockeye stack of its own.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use sockeye_packet::{Batch, Chunk, Instant, NicId, Packet};
use sockeye_stack::{
    Config, Domain, Error, NicConfig, Owner, RecvFlags, SendFlags, Shutdown, SocketId, SocketOption,
    SocketType, Stack,
};

use crate::namespace::MTU;
use crate::program::{Facts, Socket};
use crate::run::{Side, addresses};

/// A host with one socket.
#[derive(Debug)]
pub(crate) struct SockeyeEnd {
    pub(crate) stack: Stack,
    nic: NicId,
    /// The connection, or the listener until there is one.
    pub(crate) socket: SocketId,
    listens: bool,
    inbox: Batch,
    facts: Facts,
}

impl SockeyeEnd {
    /// A host with the left side's addresses that listens at `at`.
    pub(crate) fn listen(
        config: Config,
        seed: [u8; 32],
        now: Instant,
        at: SocketAddr,
    ) -> io::Result<SockeyeEnd> {
        let mut end = SockeyeEnd::new(config, seed, at)?;
        end.stack.set_option(now, end.socket, SocketOption::ReuseAddr(true)).map_err(as_io)?;
        end.stack.bind(end.socket, at.into()).map_err(as_io)?;
        end.stack.listen(now, end.socket, 1).map_err(as_io)?;
        end.listens = true;
        Ok(end)
    }

    /// A host with the left side's addresses that begins to connect to `to`.
    pub(crate) fn connect(
        config: Config,
        seed: [u8; 32],
        now: Instant,
        to: SocketAddr,
    ) -> io::Result<SockeyeEnd> {
        let mut end = SockeyeEnd::new(config, seed, to)?;
        match end.stack.connect(now, end.socket, to.into()) {
            Ok(()) | Err(Error::InProgress) => Ok(end),
            Err(error) => Err(as_io(error)),
        }
    }

    fn new(config: Config, seed: [u8; 32], like: SocketAddr) -> io::Result<SockeyeEnd> {
        let mut stack = Stack::new(config, seed);
        let nic = NicConfig { checksums: true, ..NicConfig::memory("tun0", MTU) };
        let nic = stack.add_nic(nic).map_err(as_io)?;
        for address in addresses(Side::Left) {
            let prefix = if address.is_ipv4() { 24 } else { 64 };
            stack.add_address(nic, address, prefix).map_err(as_io)?;
        }
        let domain = if like.is_ipv4() { Domain::Inet } else { Domain::Inet6 };
        let socket = stack.socket(domain, SocketType::Stream, Owner::default()).map_err(as_io)?;
        let (inbox, facts) = (Batch::new(), Facts::default());
        Ok(SockeyeEnd { stack, nic, socket, listens: false, inbox, facts })
    }

    /// A packet arrives. It is looked at in [`SockeyeEnd::advance`].
    pub(crate) fn receive(&mut self, packet: Packet) {
        self.inbox.push(packet);
    }

    /// Takes in what arrived and does what is due.
    pub(crate) fn advance(&mut self, now: Instant) {
        self.stack.handle_packets(now, self.nic, &mut self.inbox);
        if self.stack.poll_timeout().is_some_and(|wake| wake.at <= now) {
            self.stack.handle_timeout(now);
        }
        while self.stack.poll_event().is_some() {}
        if self.listens
            && let Ok((socket, _)) = self.stack.accept(now, self.socket)
        {
            // The listener is closed first: there is one connection.
            let _ = self.stack.close(now, self.socket);
            (self.socket, self.listens) = (socket, false);
        }
    }

    /// Appends what the host sends.
    pub(crate) fn transmit(&mut self, now: Instant, batch: &mut Batch) {
        self.stack.poll_transmit(now, self.nic, batch);
    }

    /// When it is to be called again.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.stack.poll_timeout().map(|wake| wake.at)
    }
}

impl Socket for SockeyeEnd {
    fn is_open(&mut self) -> io::Result<bool> {
        if self.listens {
            return Ok(false);
        }
        if let Some(error) = self.stack.take_error(self.socket) {
            return Err(as_io(error));
        }
        Ok(self.stack.peer_addr(self.socket).is_ok())
    }

    fn read(&mut self, now: Instant, buffer: &mut [u8]) -> io::Result<usize> {
        let payload = self.stack.recv(now, self.socket, buffer.len(), RecvFlags::default()).map_err(as_io)?;
        Ok(payload.copy_to(buffer))
    }

    fn write(&mut self, now: Instant, bytes: &[u8]) -> io::Result<usize> {
        let mut chunks = VecDeque::from([Chunk::copy_from(bytes)]);
        self.stack.send(now, self.socket, &mut chunks, SendFlags::default()).map_err(as_io)
    }

    fn shutdown_write(&mut self, now: Instant) -> io::Result<()> {
        self.stack.shutdown(now, self.socket, Shutdown::Write).map_err(as_io)
    }

    fn reset(&mut self, now: Instant) {
        self.facts();
        let _ = self.stack.abort(now, self.socket);
    }

    fn close(&mut self, now: Instant) {
        self.facts();
        let _ = self.stack.close(now, self.socket);
    }

    fn facts(&mut self) -> Facts {
        // The time counts for none of these.
        if let Ok(info) = self.stack.tcp_info(Instant::ZERO, self.socket) {
            let mss = usize::from(info.snd_mss).max(1);
            self.facts = Facts {
                rto: info.rto,
                srtt: info.srtt.unwrap_or_default(),
                cwnd: info.snd_cwnd / mss,
                ssthresh: info.snd_ssthresh / mss,
                unacked: info.unacked as usize,
                sacked: info.sacked as usize,
                lost: info.lost as usize,
                retransmitted: info.total_retrans as usize,
            };
        }
        self.facts
    }
}

/// The error as a program would see it.
fn as_io(error: Error) -> io::Error {
    let kind = match error {
        Error::WouldBlock | Error::InProgress => io::ErrorKind::WouldBlock,
        Error::ConnectionReset => io::ErrorKind::ConnectionReset,
        Error::ConnectionRefused => io::ErrorKind::ConnectionRefused,
        Error::ConnectionAborted => io::ErrorKind::ConnectionAborted,
        Error::BrokenPipe => io::ErrorKind::BrokenPipe,
        Error::TimedOut => io::ErrorKind::TimedOut,
        Error::NotConnected => io::ErrorKind::NotConnected,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
