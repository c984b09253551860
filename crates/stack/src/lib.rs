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
#[cfg(any(test, feature = "fuzzing"))]
extern crate std;

mod address;
pub mod bpf;
#[cfg(any(test, feature = "fuzzing"))]
mod check;
mod config;
mod counters;
mod demux;
mod error;
mod event;
mod flow;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod io;
mod ip;
mod orphan;
mod sip;
mod slab;
mod socket;
mod survey;
mod tap;
mod tcp;
#[cfg(test)]
mod tests;
mod usage;
mod verbs;
mod wheel;

pub use address::SockAddr;
pub use config::{
    BufferSizes, Config, CongestionControl, Ecn, SlowStartExit, SynCookies, TcpConfig, TimeWaitReuse,
};
pub use counters::{Counter, Counters};
pub use error::{Error, Result};
pub use event::{Event, Readiness, Wake, WakeReason};
pub use flow::{EchoRequest, Flow, FlowId, FlowProtocol, Intercept, Unreachability, Verdict};
pub use ip::multicast::filter::FilterMode;
pub use ip::route::{NicConfig, Refusal, Route};
pub use orphan::Orphan;
pub use socket::discover::MtuDiscover;
pub use socket::errors::{ErrorOrigin, ErrorReport};
pub use socket::groups::Membership;
pub use socket::options::{OptionName, SocketOption, TcpSettings};
pub use socket::plain::PlainWay;
pub use socket::{
    Datagram, Direction, Domain, Hardware, LinkInfo, Message, Owner, RecvFlags, SendFlags, Shutdown,
    SocketId, SocketType,
};
pub use sockeye_wire::{Ipv4Options, Protocol};
pub use survey::{SocketReport, SurveyPosition, SurveyQuestion, SurveyTimer, SurveyTimerKind};
pub use tcp::{CaState, State as TcpState, TcpInfo, congestion};
pub use usage::Usage;

use address::ip_bytes;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use demux::{Target, Tuple};
use io::{Dirty, Io, Token};
use ip::address::{Address, full_prefix};
use slab::Slab;
use socket::Socket;
use socket::tcb::Tcb;
use sockeye_packet::{Batch, Instant, NicId, Packet};

/// Most batches that a host takes from itself in one call; what is left is for `handle_timeout`.
const LOOPBACK_ROUNDS: usize = 64;

/// One host.
#[derive(Debug)]
pub struct Stack {
    sockets: Slab<Socket>,
    connections: Slab<Tcb>,
    io: Io,
}

/// Set-up.
impl Stack {
    /// A host with a loopback interface and nothing else. All its randomness comes from `seed`.
    pub fn new(config: Config, seed: [u8; 32]) -> Stack {
        Stack { sockets: Slab::default(), connections: Slab::default(), io: Io::new(config, seed) }
    }

    /// The host after a crash: with the same settings, interfaces, addresses and routes, and nothing else. No id of
    /// a socket of this stack is one there: what is asked about it is [`Error::BadSocket`].
    pub fn restarted(&self, seed: [u8; 32]) -> Stack {
        let mut stack = self.succeeded_by(self.io.config.clone(), seed);
        self.io.nics.iter().skip(1).for_each(|nic| stack.io.push_nic(nic.config.clone()));
        stack.io.addresses = self.io.addresses.clone();
        stack.io.routes = self.io.routes.clone();
        stack.set_loopback_tap(self.io.tap.is_some());
        stack
    }

    /// What is left of the host when it is taken out of its network: the default settings, a loopback interface, and
    /// nothing else. No id of a socket of this stack is one there.
    pub fn retired(&self) -> Stack {
        self.succeeded_by(Config::default(), [0; 32])
    }

    fn succeeded_by(&self, config: Config, seed: [u8; 32]) -> Stack {
        let mut stack = Stack::new(config, seed);
        stack.sockets = self.sockets.successor();
        stack.connections = self.connections.successor();
        stack
    }

    /// The settings it was made with.
    pub fn config(&self) -> &Config {
        &self.io.config
    }

    /// Changes the settings, for sockets that are made from now on; what is already made keeps what it took
    /// from the old ones. The budget of memory and the limit of ICMP errors stay as they are.
    pub fn set_config(&mut self, config: Config) {
        self.io.tcp_defaults = Arc::new(TcpSettings::new(&config.tcp));
        self.io.config = config;
    }

    /// Adds an interface. An MTU out of range is [`Error::InvalidArgument`].
    pub fn add_nic(&mut self, nic: NicConfig) -> Result<NicId> {
        let id = u16::try_from(self.io.nics.len()).map_err(|_| Error::NoBufs)?;
        if !(NicConfig::LEAST_MTU..=65_535).contains(&nic.mtu) || nic.max_segment > NicConfig::LARGEST_SEGMENT
        {
            return Err(Error::InvalidArgument);
        }
        self.io.push_nic(nic);
        Ok(NicId(id))
    }

    /// Gives an interface an address, and a route to the addresses that share its first `prefix` bits.
    pub fn add_address(&mut self, nic: NicId, ip: IpAddr, prefix: u8) -> Result<()> {
        self.nic(nic).ok_or(Error::NoDevice)?;
        let full = full_prefix(ip, prefix).ok_or(Error::InvalidArgument)?;
        let bytes = ip_bytes(ip);
        if ip.is_unspecified() || ip.is_multicast() {
            return Err(Error::InvalidArgument);
        }
        if self.io.addresses.iter().any(|other| other.ip == bytes && other.nic == nic) {
            return Err(Error::AddrInUse);
        }
        self.io.addresses.push(Address { nic, ip: bytes, prefix: full });
        self.io.routes.add(Route { dest: ip, prefix, gateway: None, nic, metric: 0 })
    }

    /// Takes an address away, with the route that came with it.
    pub fn remove_address(&mut self, nic: NicId, ip: IpAddr) -> Result<()> {
        let removed = self.io.addresses.remove(nic, &ip_bytes(ip)).ok_or(Error::AddrNotAvailable)?;
        let prefix = if ip.is_ipv4() { removed.prefix - 96 } else { removed.prefix };
        self.io.routes.remove(&Route { dest: ip, prefix, gateway: None, nic, metric: 0 });
        Ok(())
    }

    /// Adds a route.
    pub fn add_route(&mut self, route: Route) -> Result<()> {
        self.nic(route.nic).ok_or(Error::NoDevice)?;
        if route.gateway.is_some_and(|gateway| gateway.is_ipv4() != route.dest.is_ipv4()) {
            return Err(Error::InvalidArgument);
        }
        self.io.routes.add(route)
    }

    /// Removes the route that equals `route`.
    pub fn remove_route(&mut self, route: &Route) -> Result<()> {
        if self.io.routes.remove(route) { Ok(()) } else { Err(Error::InvalidArgument) }
    }

    /// Adds a route to a range of addresses that leads nowhere. Among routes to one range the lowest metric counts.
    pub fn refuse_route(&mut self, range: (IpAddr, u8), metric: u32, what: Refusal) -> Result<()> {
        self.io.routes.refuse(range, metric, what)
    }

    /// Removes such a route.
    pub fn allow_route(&mut self, range: (IpAddr, u8), metric: u32, what: Refusal) -> Result<()> {
        if self.io.routes.allow(range, metric, what) { Ok(()) } else { Err(Error::InvalidArgument) }
    }

    /// The routes that lead nowhere: range, metric, and what they say.
    pub fn refused_routes(&self) -> Vec<((IpAddr, u8), u32, Refusal)> {
        self.io.routes.refusals().collect()
    }

    /// The routes that lead somewhere, in the order they are tried.
    pub fn routes(&self) -> Vec<Route> {
        self.io.routes.iter().copied().collect()
    }

    /// The addresses of an interface with their prefix lengths, in the order they were added.
    pub fn addresses(&self, nic: NicId) -> Vec<(IpAddr, u8)> {
        let of_nic = self.io.addresses.iter().filter(|address| address.nic == nic);
        of_nic
            .map(|address| {
                let ip = address::ip_from_bytes(address.ip);
                (ip, if ip.is_ipv4() { address.prefix - 96 } else { address.prefix })
            })
            .collect()
    }

    /// What an interface was added with.
    pub fn nic(&self, nic: NicId) -> Option<&NicConfig> {
        self.io.nics.get(usize::from(nic.0)).map(|nic| &nic.config)
    }

    /// What was received, sent and dropped, and what happened.
    pub fn counters(&self) -> &Counters {
        &self.io.counters
    }

    /// Bytes of payload and state that all queues together hold now.
    pub fn memory_used(&self) -> usize {
        self.io.budget.used()
    }
}

/// Packets and time.
impl Stack {
    /// Takes in packets that came from a link, and leaves `batch` empty.
    ///
    /// The whole batch is processed before anything is answered (RFC 9293 §3.10.7.4, MUST-58, MUST-59):
    /// acknowledgments wait for [`poll_transmit`](Stack::poll_transmit).
    #[inline]
    pub fn handle_packets(&mut self, now: Instant, nic: NicId, batch: &mut Batch) {
        if !self.io.packet_sockets.is_empty() {
            self.show_arrivals(now, nic, batch);
        }
        while !batch.is_empty() {
            self.input(now, nic, batch);
        }
        self.run_loopback(now);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.io.pmtu.advance(now);
        while let Some(token) = self.io.wheel.pop(now) {
            match token {
                Token::Connection(key) => self.connection_timeout(now, key),
                Token::HalfOpen(key) => self.half_open_timeout(now, key),
                Token::TimeWait(key) => self.time_wait_timeout(key),
                Token::Reassembly(key) => self.io.reassembly_timeout(now, key),
                Token::Flow(key) => self.flow_timeout(key),
                Token::Groups => self.io.groups_timeout(now),
            }
        }
        // Fragments and flows that took too long have set some memory free.
        self.feed_starved();
        self.run_loopback(now);
    }

    /// Appends packets that are to leave by `nic`, until there are none or the batch is full.
    pub fn poll_transmit(&mut self, now: Instant, nic: NicId, batch: &mut Batch) {
        let before = batch.len();
        let mut shown = before;
        while !batch.is_full() {
            let Some(queues) = self.io.nics.get_mut(usize::from(nic.0)) else { return };
            if let Some(packet) = queues.replies.pop_front() {
                batch.push(packet);
                continue;
            }
            let Some(who) = queues.dirty.pop_front() else { break };
            let stays = match who {
                Dirty::Connection(key) => self.tcp_transmit(now, key, nic, batch),
                Dirty::Datagram(id) => {
                    let (packet, stays) = self.transmit_queued(id, nic);
                    if let Some(packet) = packet {
                        shown = self.show_to_others(now, (nic, id), &packet, (batch, shown));
                        batch.push(packet);
                    }
                    stays
                }
            };
            if stays {
                self.io.mark_dirty(nic, who);
            }
        }
        self.io.state_next_hops(nic, batch, before);
        if !self.io.packet_sockets.is_empty() {
            self.show_departures(now, nic, batch, shown);
        }
        self.io.counters.add(Counter::IpOutRequests, (batch.len() - before) as u64);
    }

    /// Starts or ends copying the packets that the host sends to itself, for a capture: no link sees them.
    /// They wait in [`poll_tap`](Stack::poll_tap), 32 MiB at most; what has no room is dropped from the copy,
    /// not from the traffic, and [counted](Counter::CaptureMissed). Ending forgets what waits.
    pub fn set_loopback_tap(&mut self, on: bool) {
        if !on {
            self.io.tap = None;
        } else if self.io.tap.is_none() {
            self.io.tap = Some(Box::default());
        }
    }

    /// The next copy of a loopback packet, with the time it passed in [`received_at`](sockeye_packet::Meta).
    pub fn poll_tap(&mut self) -> Option<Packet> {
        self.io.tap.as_mut()?.poll()
    }

    /// Whether [`poll_transmit`](Stack::poll_transmit) may have something for `nic`.
    #[inline]
    pub fn wants_transmit(&self, nic: NicId) -> bool {
        let queues = self.io.nics.get(usize::from(nic.0));
        queues.is_some_and(|nic| !nic.dirty.is_empty() || !nic.replies.is_empty())
    }

    /// When to call [`handle_timeout`](Stack::handle_timeout) next, and why.
    ///
    /// It is the exact nanosecond of the earliest deadline. Only when more than 256 timers fall close
    /// together, further ahead, it may be earlier, a few times at most: then nothing is due yet.
    pub fn poll_timeout(&self) -> Option<Wake> {
        if self.wants_transmit(NicId::LOOPBACK) {
            return Some(Wake { at: Instant::ZERO, reason: WakeReason::Loopback });
        }
        self.io.wheel.next().map(|(at, token)| Wake { at, reason: token.reason() })
    }

    /// What happened to a flow, else the next socket whose readiness gained something. A socket is listed at
    /// most once until it is polled.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.next_event()
    }

    /// The next socket that became ready, as in [`Stack::poll_event`], while events of flows stay where they are:
    /// for who has no room for more of those.
    pub fn poll_ready(&mut self) -> Option<SocketId> {
        self.next_ready()
    }

    /// The owner of a four-tuple.
    #[inline]
    pub(crate) fn target_of(&self, tuple: &Tuple) -> Option<Target> {
        self.io.target_of(tuple, &self.sockets, &self.connections)
    }

    /// The same for a packet, which often has the four-tuple of the one before it.
    #[inline]
    pub(crate) fn target_again(&mut self, tuple: &Tuple) -> Option<Target> {
        self.io.demux.latest(tuple).or_else(|| {
            let target = self.target_of(tuple)?;
            self.io.demux.note_latest(*tuple, target);
            Some(target)
        })
    }

    /// Moves the host's packets to itself, if there are any.
    #[inline]
    fn run_loopback(&mut self, now: Instant) {
        if self.wants_transmit(NicId::LOOPBACK) {
            self.carry_loopback(now);
        }
    }

    fn carry_loopback(&mut self, now: Instant) {
        let mut batch = core::mem::take(&mut self.io.loopback);
        for _ in 0..LOOPBACK_ROUNDS {
            self.poll_transmit(now, NicId::LOOPBACK, &mut batch);
            if batch.is_empty() {
                break;
            }
            if let Some(tap) = &mut self.io.tap {
                self.io.counters.add(Counter::CaptureMissed, tap.record(now, &batch));
            }
            if !self.io.packet_sockets.is_empty() {
                self.show_arrivals(now, NicId::LOOPBACK, &batch);
            }
            while !batch.is_empty() {
                self.input(now, NicId::LOOPBACK, &mut batch);
            }
        }
        self.io.loopback = batch;
    }
}
