//! Flows to addresses that are not the host's: held until the owner of the stack says what becomes of them.
//!
//! For a gateway that first connects outward and only then answers, so that a refusal out there is a refusal
//! in here. A SYN, or the first datagram of a four-tuple, makes a [`Flow`] and [`Event::Incoming`](crate::Event);
//! [`Stack::answer`] ends it, or goes on to a socket whose local address is the foreign one.
//!
//! Nobody can make this hold much: flows, their datagrams and echo requests are bounded in number and bytes,
//! and forgotten in time.

mod echo;
mod table;
mod tcp;
mod udp;
mod unreachable;

pub use echo::EchoRequest;
pub(crate) use table::Flows;
pub use unreachable::Unreachability;

use crate::demux::{Proto, Target};
use crate::error::{Error, Result};
use crate::slab::Key;
use crate::socket::scoped;
use crate::{Owner, SockAddr, Stack};
use core::fmt;
use core::time::Duration;
use sockeye_packet::{Instant, NicId};
use table::State;

/// A flow that waits for an answer, or for its handshake to complete. The id of a flow that is over is never
/// used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub(crate) Key);

impl FlowId {
    /// The id as a number, to be kept outside the stack.
    pub fn as_u64(self) -> u64 {
        self.0.as_u64()
    }

    /// The id of a number that [`FlowId::as_u64`] gave. Other numbers are ids of no flow.
    pub fn from_u64(number: u64) -> FlowId {
        FlowId(Key::from_u64(number))
    }
}

impl fmt::Debug for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.as_u64();
        write!(f, "FlowId({}.{})", number as u32, number >> 32)
    }
}

/// What a flow carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FlowProtocol {
    /// A TCP connection.
    Tcp,
    /// UDP datagrams.
    Udp,
}

/// Somebody wants to reach an address that is not the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// What it carries.
    pub protocol: FlowProtocol,
    /// Who opened it.
    pub src: SockAddr,
    /// What it wants to reach.
    pub dst: SockAddr,
    /// The interface it came in by.
    pub nic: NicId,
}

/// What becomes of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It goes on: TCP's handshake is continued, UDP gets its socket at once.
    Accept,
    /// Nobody listens there: a TCP reset, an ICMP port unreachable for UDP.
    Reset,
    /// There is no way there: an ICMP error.
    Unreachable(Unreachability),
    /// No answer. What the client sends again is a new flow.
    Drop,
}

/// How to intercept, and the bounds of what is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intercept {
    /// Most flows at once that wait for an answer or for their handshake; more are dropped and
    /// [counted](crate::Counter::FlowsFull).
    pub max_flows: usize,
    /// How long a flow waits for its answer. Linux gives up a connect after 127 seconds.
    pub hold: Duration,
    /// Most datagrams that a UDP flow holds while it waits.
    pub max_datagrams: usize,
    /// Most bytes that all UDP flows together hold while they wait, counted with 256 for each datagram.
    pub max_datagram_bytes: usize,
    /// Most echo requests that wait for [`Stack::poll_echo`].
    pub max_echoes: usize,
    /// Who owns the sockets that flows become.
    pub owner: Owner,
}

impl Default for Intercept {
    fn default() -> Intercept {
        Intercept {
            max_flows: 4096,
            hold: Duration::from_secs(130),
            max_datagrams: 32,
            max_datagram_bytes: 4 << 20,
            max_echoes: 128,
            owner: Owner::default(),
        }
    }
}

/// Gateways.
impl Stack {
    /// Intercepts flows to unicast addresses that are not this host's, or no more of them.
    ///
    /// What waits for an answer when interception ends is [lost](crate::Event::Lost); sockets of flows stay.
    pub fn intercept(&mut self, how: Option<Intercept>) {
        let ends = how.is_none();
        self.io.flows.set_config(how);
        if ends {
            for key in self.io.flows.unanswered() {
                self.io.lose_flow(key);
            }
        }
    }

    /// The flow, until it is opened, lost or answered otherwise.
    pub fn flow(&self, id: FlowId) -> Option<Flow> {
        let record = self.io.flows.get(id.0)?;
        let tuple = record.tuple;
        Some(Flow {
            protocol: match tuple.proto {
                Proto::Tcp => FlowProtocol::Tcp,
                // Neither echo requests nor UDP-Lite are flows.
                Proto::Udp | Proto::UdpLite | Proto::Icmp | Proto::Icmpv6 => FlowProtocol::Udp,
            },
            src: scoped(tuple.remote, tuple.remote_port, record.nic),
            dst: scoped(tuple.local, tuple.local_port, record.nic),
            nic: record.nic,
        })
    }

    /// Says what becomes of a flow. Once accepted it ends in [`Event::Opened`](crate::Event::Opened) or
    /// [`Event::Lost`](crate::Event::Lost); after another verdict no more is heard of it.
    ///
    /// A flow that is over is [`Error::InvalidArgument`], one that was answered before [`Error::Already`].
    /// No memory or socket left to accept it with is [`Error::NoBufs`]: it still waits.
    pub fn answer(&mut self, now: Instant, id: FlowId, verdict: Verdict) -> Result<()> {
        let record = self.io.flows.get(id.0).ok_or(Error::InvalidArgument)?;
        match (&record.state, verdict) {
            (State::Handshake | State::Opened(_), _) => Err(Error::Already),
            (State::Lost, _) => Err(Error::InvalidArgument),
            (State::Syn(_), Verdict::Accept) => {
                self.io.accept_syn(now, id.0);
                Ok(())
            }
            (State::Datagrams(_), Verdict::Accept) => self.accept_datagrams(id.0),
            (_, verdict) => {
                self.io.refuse_flow(now, id.0, verdict);
                Ok(())
            }
        }
    }

    /// A flow has waited too long.
    pub(crate) fn flow_timeout(&mut self, key: Key) {
        if let Some(record) = self.io.flows.get_mut(key) {
            record.timer = None;
            self.io.lose_flow(key);
        }
    }
}

impl crate::io::Io {
    /// Ends a flow that its client or the time ended: the owner hears of it.
    pub(crate) fn lose_flow(&mut self, key: Key) {
        self.let_go(key);
        self.flows.finish(key, State::Lost);
    }

    /// Frees what a flow holds beside its record: its timer, its four-tuple, its datagrams.
    fn let_go(&mut self, key: Key) {
        let Some(record) = self.flows.get_mut(key) else { return };
        let (tuple, timer) = (record.tuple, record.timer.take());
        if let Some(timer) = timer {
            self.wheel.cancel(timer);
        }
        self.demux.remove(&tuple, Target::Flow(key));
        let released = self.flows.drop_datagrams(key);
        self.budget.release(released);
    }

    /// Ends a flow as its owner says.
    fn refuse_flow(&mut self, now: Instant, key: Key, verdict: Verdict) {
        self.let_go(key);
        let Some(record) = self.flows.remove(key) else { return };
        match verdict {
            Verdict::Accept | Verdict::Drop => {}
            Verdict::Reset => self.reset_flow(now, &record),
            Verdict::Unreachable(why) => self.tell_unreachable(now, &record, why),
        }
    }
}
