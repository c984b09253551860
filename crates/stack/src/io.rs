//! All of a host but its sockets: interfaces, routes, timers, tables, queues, memory and randomness.
//!
//! Helpers take `&mut Io` next to the socket they work on, so that nothing borrows the whole stack.
//! Everything here holds ids of sockets and connections, never the things themselves.

use crate::counters::{Counter, Counters};
use crate::demux::{Demux, Place, Target, Tuple};
use crate::event::WakeReason;
use crate::flow::Flows;
use crate::ip::address::Addresses;
use crate::ip::error_limit::ErrorLimit;
use crate::ip::multicast::Groups;
use crate::ip::pmtu::PathMtus;
use crate::ip::reassembly::Reassembly;
use crate::ip::route::{NicConfig, Routes};
use crate::sip::sip;
use crate::slab::{Key, Slab};
use crate::socket::Socket;
use crate::socket::groups::GroupSettings;
use crate::socket::options::TcpSettings;
use crate::socket::options::shared::SharedSettings;
use crate::socket::tcb::Tcb;
use crate::tap::Tap;
use crate::tcp::Spares;
use crate::tcp::half_open::HalfOpen;
use crate::tcp::isn::Secrets;
use crate::tcp::time_wait::TimeWait;
use crate::wheel::Wheel;
use crate::{Config, SocketId};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use sockeye_packet::{Batch, Budget, NicId, Packet, Rng};

/// Most packets that wait in an interface's queue of replies; more are dropped, as a full device does.
const REPLIES: usize = 1024;

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Connection(Key),
    HalfOpen(Key),
    TimeWait(Key),
    Reassembly(Key),
    Flow(Key),
    /// Reports of groups.
    Groups,
}

impl Token {
    pub(crate) fn reason(self) -> WakeReason {
        match self {
            Token::Connection(_) => WakeReason::Connection,
            Token::HalfOpen(_) => WakeReason::HalfOpen,
            Token::TimeWait(_) => WakeReason::TimeWait,
            Token::Reassembly(_) => WakeReason::Reassembly,
            Token::Flow(_) => WakeReason::Flow,
            Token::Groups => WakeReason::Groups,
        }
    }
}

/// Who has something to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dirty {
    Connection(Key),
    Datagram(SocketId),
}

/// One interface.
#[derive(Debug)]
pub(crate) struct Nic {
    pub(crate) config: NicConfig,
    /// Who has something to send by it, in turn; nobody is listed twice.
    pub(crate) dirty: VecDeque<Dirty>,
    /// Packets that belong to no socket: resets, SYN-ACKs, ICMP.
    pub(crate) replies: VecDeque<Packet>,
}

/// All of a host but its sockets.
#[derive(Debug)]
pub(crate) struct Io {
    pub(crate) config: Config,
    /// What new stream sockets start with.
    pub(crate) tcp_defaults: Arc<TcpSettings>,
    /// What stream sockets were set to.
    pub(crate) shared_settings: SharedSettings,
    pub(crate) nics: Vec<Nic>,
    pub(crate) addresses: Addresses,
    pub(crate) routes: Routes,
    pub(crate) pmtu: PathMtus,
    pub(crate) reassembly: Reassembly,
    /// Groups that sockets are in.
    pub(crate) multicast: Groups,
    /// Sockets that said something of groups.
    pub(crate) group_settings: BTreeMap<SocketId, GroupSettings>,
    /// The sockets that a datagram to several is for: empty between datagrams.
    pub(crate) hearers: Vec<SocketId>,
    pub(crate) wheel: Wheel<Token>,
    pub(crate) demux: Demux,
    /// Sockets whose readiness gained something and that nobody asked about yet.
    pub(crate) ready: VecDeque<SocketId>,
    pub(crate) budget: Budget,
    pub(crate) spares: Spares,
    pub(crate) rng: Rng,
    pub(crate) secrets: Secrets,
    pub(crate) half_open: Slab<HalfOpen>,
    pub(crate) time_wait: Slab<TimeWait>,
    pub(crate) flows: Flows,
    /// All raw sockets: each gets its copy.
    pub(crate) raws: Vec<SocketId>,
    /// All packet sockets.
    pub(crate) packet_sockets: Vec<SocketId>,
    pub(crate) error_limit: ErrorLimit,
    pub(crate) orphans: usize,
    /// Connections that have refused data for want of memory, the longest waiting first.
    pub(crate) starved: VecDeque<Key>,
    /// The batch in which packets to the host itself move.
    pub(crate) loopback: Batch,
    /// Copies of them, when somebody wants to see them.
    pub(crate) tap: Option<Box<Tap>>,
    pub(crate) counters: Counters,
}

impl Io {
    pub(crate) fn new(config: Config, seed: [u8; 32]) -> Io {
        let mut rng = Rng::new(seed);
        let max_segment = NicConfig::LARGEST_STATED_SEGMENT;
        let loopback = NicConfig { max_segment, ..NicConfig::memory("lo", 65_535) };
        let keys = [rng.next_u64(), rng.next_u64()];
        let error_limit = ErrorLimit::new(keys, config.icmp_rate, config.icmp_burst);
        let mut io = Io {
            tcp_defaults: Arc::new(TcpSettings::new(&config.tcp)),
            shared_settings: SharedSettings::default(),
            nics: Vec::new(),
            addresses: Addresses::default(),
            routes: Routes::default(),
            pmtu: PathMtus::new(rng.next_u64()),
            reassembly: Reassembly::new(&mut rng),
            multicast: Groups::default(),
            group_settings: BTreeMap::new(),
            hearers: Vec::new(),
            wheel: Wheel::new(),
            demux: Demux::new(&mut rng),
            ready: VecDeque::new(),
            budget: Budget::new(config.memory),
            spares: Spares::default(),
            secrets: Secrets::new(&mut rng),
            rng,
            half_open: Slab::default(),
            time_wait: Slab::default(),
            flows: Flows::default(),
            raws: Vec::new(),
            packet_sockets: Vec::new(),
            error_limit,
            orphans: 0,
            starved: VecDeque::new(),
            loopback: Batch::default(),
            tap: None,
            counters: Counters::default(),
            config,
        };
        io.push_nic(loopback);
        io
    }

    pub(crate) fn push_nic(&mut self, config: NicConfig) {
        self.nics.push(Nic { config, dirty: VecDeque::new(), replies: VecDeque::new() });
    }

    #[inline]
    pub(crate) fn nic(&self, nic: NicId) -> &Nic {
        // An id that was never given out stands for the loopback, where its packets go nowhere.
        self.nics.get(usize::from(nic.0)).unwrap_or(&self.nics[0])
    }

    /// The owner of a four-tuple.
    #[inline]
    pub(crate) fn target_of(
        &self,
        tuple: &Tuple,
        sockets: &Slab<Socket>,
        connections: &Slab<Tcb>,
    ) -> Option<Target> {
        self.demux.find(tuple, |place| match place {
            Place::Connection(index) => {
                connections.at(index).map(|(key, tcb)| (Target::Connection(key), &tcb.tuple))
            }
            Place::HalfOpen(index) => {
                self.half_open.at(index).map(|(key, record)| (Target::HalfOpen(key), &record.tuple))
            }
            Place::TimeWait(index) => {
                self.time_wait.at(index).map(|(key, record)| (Target::TimeWait(key), &record.tuple))
            }
            Place::Datagram(index) => {
                let (key, socket) = sockets.at(index)?;
                socket.kind.tuple().map(|tuple| (Target::Datagram(SocketId(key)), tuple))
            }
            Place::Flow(index) => {
                self.flows.at(index).map(|(key, record)| (Target::Flow(key), &record.tuple))
            }
        })
    }

    /// Queues a packet that belongs to no socket.
    pub(crate) fn reply(&mut self, nic: NicId, packet: Packet) {
        let Some(nic) = self.nics.get_mut(usize::from(nic.0)) else { return };
        if nic.replies.len() < REPLIES {
            nic.replies.push_back(packet);
        } else {
            self.counters.bump(Counter::QueueFull);
        }
    }

    /// Notes that somebody has something to send. The caller sees to it that nobody is noted twice.
    #[inline]
    pub(crate) fn mark_dirty(&mut self, nic: NicId, who: Dirty) {
        if let Some(nic) = self.nics.get_mut(usize::from(nic.0)) {
            nic.dirty.push_back(who);
        }
    }

    /// A keyed hash of a flow, for links with several queues.
    pub(crate) fn label(&self, bytes: &[u8; 16]) -> u64 {
        sip(self.secrets.flow, bytes)
    }
}
