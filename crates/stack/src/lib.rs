//! One host as a plain struct: sockets, TCP, UDP, ICMP and IP, without I/O, clock, thread or lock.
//!
//! Whoever owns a [`Stack`] moves its packets and tells it the time. Five words drive it:
//! [`handle_packets`](Stack::handle_packets) and [`handle_timeout`](Stack::handle_timeout) put things
//! in, [`poll_transmit`](Stack::poll_transmit), [`poll_timeout`](Stack::poll_timeout) and
//! [`poll_event`](Stack::poll_event) take things out. The socket calls never block: they answer
//! [`Error::WouldBlock`], and [`Event::Ready`] says when to try again. Any order of calls is legal;
//! after calls that take `now`, packets may be waiting in `poll_transmit`.
//!
//! The same seed and the same calls give the same bytes.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod address;
mod config;
mod error;
mod event;
mod ip;
mod slab;
mod socket;
mod tcp;

pub use address::SockAddr;
pub use config::{BufferSizes, Config, CongestionControl, TcpConfig};
pub use error::{Error, Result};
pub use event::{Event, Readiness, Wake, WakeReason};
pub use ip::route::{NicConfig, Route};
pub use socket::options::{MtuDiscover, OptionName, SocketOption, TcpSettings};
pub use socket::{Datagram, Domain, Owner, RecvFlags, SendFlags, Shutdown, SocketId, SocketType};
pub use tcp::{State as TcpState, TcpInfo, congestion};

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::IpAddr;
use sockeye_packet::{Batch, Chunk, Instant, NicId, Payload};

/// One host.
#[derive(Debug)]
pub struct Stack {
    config: Config,
}

/// Set-up.
impl Stack {
    /// A host with a loopback interface and nothing else. All its randomness comes from `seed`.
    pub fn new(config: Config, seed: [u8; 32]) -> Stack {
        let _ = seed;
        Stack { config }
    }

    /// The settings it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Adds an interface.
    pub fn add_nic(&mut self, nic: NicConfig) -> Result<NicId> {
        let _ = nic;
        Err(Error::NoDevice)
    }

    /// Gives an interface an address, and a route to the addresses that share its first `prefix` bits.
    pub fn add_address(&mut self, nic: NicId, ip: IpAddr, prefix: u8) -> Result<()> {
        let _ = (nic, ip, prefix);
        Err(Error::NoDevice)
    }

    /// Takes an address away, with the route that came with it.
    pub fn remove_address(&mut self, nic: NicId, ip: IpAddr) -> Result<()> {
        let _ = (nic, ip);
        Err(Error::AddrNotAvailable)
    }

    /// Adds a route.
    pub fn add_route(&mut self, route: Route) -> Result<()> {
        let _ = route;
        Err(Error::NoDevice)
    }

    /// Removes the route that equals `route`.
    pub fn remove_route(&mut self, route: &Route) -> Result<()> {
        let _ = route;
        Err(Error::InvalidArgument)
    }

    /// The routes, in the order they are tried.
    pub fn routes(&self) -> Vec<Route> {
        Vec::new()
    }

    /// The addresses of an interface with their prefix lengths, in the order they were added.
    pub fn addresses(&self, nic: NicId) -> Vec<(IpAddr, u8)> {
        let _ = nic;
        Vec::new()
    }

    /// What an interface was added with.
    pub fn nic(&self, nic: NicId) -> Option<&NicConfig> {
        let _ = nic;
        None
    }
}

/// Packets and time.
impl Stack {
    /// Takes in packets that came from a link, and leaves `batch` empty.
    pub fn handle_packets(&mut self, now: Instant, nic: NicId, batch: &mut Batch) {
        let _ = (now, nic);
        batch.drain().for_each(drop);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// Appends packets that are to leave by `nic`, until there are none or the batch is full.
    pub fn poll_transmit(&mut self, now: Instant, nic: NicId, batch: &mut Batch) {
        let _ = (now, nic, batch);
    }

    /// Whether [`poll_transmit`](Stack::poll_transmit) may have something for `nic`.
    pub fn wants_transmit(&self, nic: NicId) -> bool {
        let _ = nic;
        false
    }

    /// When to call [`handle_timeout`](Stack::handle_timeout) next, and why.
    pub fn poll_timeout(&self) -> Option<Wake> {
        None
    }

    /// The next socket whose readiness gained something. A socket is listed at most once until it is polled.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }
}

/// The Berkeley calls.
impl Stack {
    /// Makes a socket.
    pub fn socket(&mut self, domain: Domain, kind: SocketType, owner: Owner) -> Result<SocketId> {
        let _ = (domain, kind, owner);
        Err(Error::ProtocolNotSupported)
    }

    /// Gives a socket its local address; port 0 picks one.
    pub fn bind(&mut self, id: SocketId, addr: SockAddr) -> Result<()> {
        let _ = (id, addr);
        Err(Error::BadSocket)
    }

    /// Makes a stream socket accept connections, at most `backlog` waiting ones; again, to change it.
    pub fn listen(&mut self, now: Instant, id: SocketId, backlog: usize) -> Result<()> {
        let _ = (now, id, backlog);
        Err(Error::BadSocket)
    }

    /// Begins a connection: a stream socket answers [`Error::InProgress`] and becomes writable when it
    /// is open (or has failed). A datagram socket is connected at once.
    pub fn connect(&mut self, now: Instant, id: SocketId, peer: SockAddr) -> Result<()> {
        let _ = (now, id, peer);
        Err(Error::BadSocket)
    }

    /// Dissolves a datagram socket's connection (connect(2) with AF_UNSPEC); resets a stream's.
    pub fn disconnect(&mut self, now: Instant, id: SocketId) -> Result<()> {
        let _ = (now, id);
        Err(Error::BadSocket)
    }

    /// Takes the oldest waiting connection of a listener, with its peer's address.
    pub fn accept(&mut self, now: Instant, id: SocketId) -> Result<(SocketId, SockAddr)> {
        let _ = (now, id);
        Err(Error::BadSocket)
    }

    /// Takes from the front of `chunks` what fits in the send buffer; returns how many bytes.
    pub fn send(
        &mut self,
        now: Instant,
        id: SocketId,
        chunks: &mut VecDeque<Chunk>,
        flags: SendFlags,
    ) -> Result<usize> {
        let _ = (now, id, chunks, flags);
        Err(Error::BadSocket)
    }

    /// Takes up to `max` bytes that came in; empty at end of file. Of a datagram the rest is lost.
    pub fn recv(&mut self, now: Instant, id: SocketId, max: usize, flags: RecvFlags) -> Result<Payload> {
        let _ = (now, id, max, flags);
        Err(Error::BadSocket)
    }

    /// Sends one datagram, to `to` or to the peer the socket is connected to.
    pub fn send_to(
        &mut self,
        now: Instant,
        id: SocketId,
        payload: Payload,
        to: Option<SockAddr>,
        flags: SendFlags,
    ) -> Result<usize> {
        let _ = (now, id, payload, to, flags);
        Err(Error::BadSocket)
    }

    /// Takes the oldest datagram, whole.
    pub fn recv_from(&mut self, now: Instant, id: SocketId, flags: RecvFlags) -> Result<Datagram> {
        let _ = (now, id, flags);
        Err(Error::BadSocket)
    }

    /// Ends one direction of a connection, or both.
    pub fn shutdown(&mut self, now: Instant, id: SocketId, how: Shutdown) -> Result<()> {
        let _ = (now, id, how);
        Err(Error::BadSocket)
    }

    /// Ends the socket: its id is of no use any more. A connection is closed in good order by the stack.
    pub fn close(&mut self, now: Instant, id: SocketId) -> Result<()> {
        let _ = (now, id);
        Err(Error::BadSocket)
    }

    /// Ends the socket and resets its connection.
    pub fn abort(&mut self, now: Instant, id: SocketId) -> Result<()> {
        let _ = (now, id);
        Err(Error::BadSocket)
    }

    /// Sets an option.
    pub fn set_option(&mut self, now: Instant, id: SocketId, option: SocketOption) -> Result<()> {
        let _ = (now, id, option);
        Err(Error::BadSocket)
    }

    /// Reads an option.
    pub fn get_option(&self, id: SocketId, name: OptionName) -> Result<SocketOption> {
        let _ = (id, name);
        Err(Error::BadSocket)
    }

    /// The local address: unspecified, port 0, while the socket is not bound.
    pub fn local_addr(&self, id: SocketId) -> Result<SockAddr> {
        let _ = id;
        Err(Error::BadSocket)
    }

    /// The peer's address.
    pub fn peer_addr(&self, id: SocketId) -> Result<SockAddr> {
        let _ = id;
        Err(Error::BadSocket)
    }

    /// What the socket is ready for now; empty when there is no such socket.
    pub fn readiness(&self, id: SocketId) -> Readiness {
        let _ = id;
        Readiness::EMPTY
    }

    /// Takes the pending error (SO_ERROR).
    pub fn take_error(&mut self, id: SocketId) -> Option<Error> {
        let _ = id;
        None
    }

    /// Bytes that [`send`](Stack::send) would take now.
    pub fn send_space(&self, id: SocketId) -> usize {
        let _ = id;
        0
    }

    /// Bytes that can be read now (FIONREAD); for datagrams, of the oldest.
    pub fn recv_queued(&self, id: SocketId) -> usize {
        let _ = id;
        0
    }
}
