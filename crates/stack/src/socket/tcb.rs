//! What keeps a connection going: its segments, its timer, its turn to send, the readiness of its socket,
//! its end.
//!
//! A connection lives in a slab of its own, because it outlives its socket. After every call of its
//! machine [`Stack::after`] looks at it, so that nobody has to remember what may have changed.

use crate::Stack;
use crate::address::is_v4;
use crate::counters::Counter;
use crate::demux::{Binding, Hold, Proto, Speaks, Target, Tuple};
use crate::event::Readiness;
use crate::io::{Dirty, Io, Token};
use crate::ip::icmp::Unreachable;
use crate::ip::input::Ingress;
use crate::ip::output::IpParams;
use crate::ip::route::{NicConfig, Path};
use crate::ip::sent_options::insert;
use crate::slab::{Key, Slab};
use crate::socket::options::{IpSettings, TcpSettings};
use crate::socket::{Socket, SocketId};
use crate::tcp::time_wait::{TimeWait, Verdict, judge};
use crate::tcp::{Connection, MIN_MSS, Resources, Segment, SeqNumber, State};
use crate::wheel::TimerId;
use alloc::boxed::Box;
use alloc::sync::Arc;
use sockeye_packet::{Batch, Instant, NicId};
use sockeye_wire::{Ipv4Header, Ipv6Header, Protocol, TcpHeader};

/// Most segments (super-segments, where the interface takes them) that a connection sends before it is
/// the next one's turn.
const QUANTUM: usize = 8;

/// So many connections may be gone and still be in the list of those that wait for memory, besides as many as
/// there are: then it is looked through, which costs each of them little.
const STARVED_GONE: usize = 16;

/// Lends a connection what it may use. A macro, because it borrows some fields and leaves the others. Who lets it
/// send says how large super-segments may be.
macro_rules! resources {
    ($io:expr, $tcb:expr) => {
        Resources {
            max_segment: 0,
            budget: &mut $io.budget,
            spares: &mut $io.spares,
            counters: &mut $io.counters,
            config: &$io.config.tcp,
            settings: &$tcb.settings,
        }
    };
}
pub(crate) use resources;

/// A connection and what the stack knows of it.
#[derive(Debug)]
pub(crate) struct Tcb {
    pub(crate) connection: Connection,
    pub(crate) settings: Arc<TcpSettings>,
    pub(crate) tuple: Tuple,
    /// How it holds its local port, while it does, on which interface (plus one, or 0), and what its socket speaks.
    pub(crate) hold: Option<Hold>,
    bound_scope: u16,
    speaks: Speaks,
    /// Its socket; none for an orphan.
    pub(crate) socket: Option<SocketId>,
    pub(crate) nic: NicId,
    ttl: Option<u8>,
    /// What has come further than this leaves is dropped.
    pub(crate) min_ttl: u8,
    tos: u8,
    /// The state of the routes by which `nic` and the path's MTU were found.
    routes: u32,
    flow_label: u32,
    pub(crate) timer: Option<TimerId>,
    /// Whether it is in the dirty list of its interface.
    pub(crate) dirty: bool,
    /// Whether it is in the list of those that wait for memory.
    starved: bool,
}

impl Tcb {
    /// What is around a new connection; its four-tuple and port are taken by the caller.
    pub(crate) fn new(
        connection: Connection,
        settings: Arc<TcpSettings>,
        tuple: Tuple,
        socket: SocketId,
        nic: NicId,
        ip: &IpSettings,
        io: &Io,
    ) -> Tcb {
        let ip = ip.of(is_v4(&tuple.remote));
        Tcb {
            connection,
            settings,
            tuple,
            hold: None,
            bound_scope: 0,
            speaks: Speaks::default(),
            socket: Some(socket),
            nic,
            ttl: ip.ttl,
            min_ttl: ip.min_ttl,
            tos: ip.tos,
            routes: io.routes.generation,
            flow_label: IpParams::of_flow(&io.demux, &tuple, 0, 0).flow_label,
            timer: None,
            dirty: false,
            starved: false,
        }
    }

    /// The path's MTU, as the segment size shows it.
    pub(crate) fn path_mtu(&self) -> u32 {
        let ip = if is_v4(&self.tuple.local) { Ipv4Header::MIN_LEN } else { Ipv6Header::LEN };
        let options = ip_options_len(is_v4(&self.tuple.local), &self.settings);
        u32::from(self.connection.path_mss()) + (ip + TcpHeader::MIN_LEN) as u32 + options
    }

    /// Takes hold of the local port.
    pub(crate) fn bind(&mut self, binding: Binding, hold: Hold, io: &mut Io) {
        (self.bound_scope, self.speaks) = (binding.scope, binding.speaks);
        self.hold = Some(hold);
        io.demux.hold(self.binding(), hold);
    }

    /// What it holds, if it does.
    pub(crate) fn binding(&self) -> Binding {
        let Tuple { local, local_port, .. } = self.tuple;
        let Tcb { bound_scope: scope, speaks, .. } = *self;
        Binding { proto: Proto::Tcp, ip: local, port: local_port, scope, speaks }
    }

    /// Hands over how the port is held.
    pub(crate) fn take_bound(&mut self) -> Option<(Binding, Hold)> {
        self.hold.take().map(|hold| (self.binding(), hold))
    }

    /// What it is ready for. Without memory nothing can be written; what is in flight sets some free when it is
    /// acknowledged, and that is told.
    #[inline]
    pub(crate) fn readiness(&self, io: &Io) -> Readiness {
        let mut ready = self.connection.readiness(&self.settings, &io.config.tcp);
        let waits = io.budget.available() == 0 && self.connection.send_queued() > 0;
        if waits && !ready.intersects(Readiness::WRITE_CLOSED | Readiness::ERROR) {
            ready.remove(Readiness::WRITABLE);
        }
        ready
    }

    /// Sets its timer to what it waits for, if it isn't yet: after most calls it is.
    #[inline]
    fn rearm(&mut self, key: Key, io: &mut Io) {
        let at = self.connection.deadline();
        let armed = self.timer.map_or(Instant::FAR_FUTURE, |timer| io.wheel.deadline(timer));
        if at != armed {
            self.set_timer(key, at, io);
        }
    }

    fn set_timer(&mut self, key: Key, at: Instant, io: &mut Io) {
        match self.timer {
            Some(timer) if at == Instant::FAR_FUTURE => {
                io.wheel.cancel(timer);
                self.timer = None;
            }
            Some(timer) => io.wheel.reset(timer, at),
            None => self.timer = Some(io.wheel.set(at, Token::Connection(key))),
        }
    }

    /// What follows every call of a connection that is not over.
    #[inline]
    pub(crate) fn settle(&mut self, key: Key, edge: Readiness, sockets: &mut Slab<Socket>, io: &mut Io) {
        if !self.dirty {
            self.dirty = true;
            io.mark_dirty(self.nic, Dirty::Connection(key));
        }
        if self.connection.is_starved() && !self.starved {
            self.starved = true;
            io.starved.push_back(key);
        }
        self.rearm(key, io);
        if let Some(id) = self.socket
            && let Some(socket) = sockets.get_mut(id.0)
        {
            socket.announce(id, self.readiness(io), edge, io);
        }
    }

    /// Appends what there is to send, until it is the next connection's turn or the batch is full; whether
    /// there may be more.
    #[inline]
    fn transmit(&mut self, now: Instant, io: &mut Io, batch: &mut Batch) -> bool {
        let nic = self.nic;
        for _ in 0..QUANTUM {
            let device = io.nic(nic);
            let mss = usize::from(self.connection.max_segment());
            let mut max_segment = device.config.max_segment;
            // Nobody else cuts what has options of IPv4.
            let cut = max_segment <= mss || self.settings.ip_options.is_some();
            if cut {
                let room = Batch::CAPACITY - batch.len();
                let segments = if device.dirty.is_empty() { room } else { room.min(QUANTUM) };
                // One decision is for as much as the kernel's (GSO_LEGACY_MAX_SIZE), where packets are seen.
                max_segment = (segments * mss).min(usize::from(u16::MAX));
            }
            let mut resources = Resources { max_segment, ..resources!(io, self) };
            // It stays where it is until its parts are written into the packet.
            let mut segment = self.connection.poll_transmit(now, &mut resources);
            let Some(Segment { header, payload, ecn, gso_size }) = &mut segment else { return false };
            let (ecn, gso_size) = (*ecn, *gso_size);
            let segments = if gso_size > 0 { payload.len().div_ceil(gso_size.into()) as u64 } else { 1 };
            io.counters.add(Counter::TcpOutSegs, segments);
            let Tuple { local, remote, local_port, remote_port, .. } = self.tuple;
            (header.src_port, header.dst_port) = (local_port, remote_port);
            let ip = IpParams {
                src: local,
                dst: remote,
                protocol: Protocol::TCP,
                ttl: self.ttl.unwrap_or(io.config.default_ttl),
                tos: self.tos & 0xfc | ecn,
                dont_fragment: true,
                flow_label: self.flow_label,
            };
            let before = batch.len();
            let train = cut && gso_size > 0;
            if train {
                io.push_train(nic, &ip, header, payload, gso_size.into(), batch);
            } else {
                let payload = core::mem::take(payload);
                io.fill_tcp_packet(batch.push_empty(), nic, &ip, header, payload, gso_size);
            }
            if let Some(options) = &self.settings.ip_options {
                batch.iter_mut().skip(before).for_each(|packet| insert(packet, options));
            }
            if train || batch.is_full() {
                break;
            }
        }
        true
    }

    /// Routes have changed: looks up the way again.
    fn follow_routes(&mut self, io: &Io) {
        self.routes = io.routes.generation;
        let scope = self.bound_scope.max(self.tuple.scope);
        let bound_nic = scope.checked_sub(1).map(NicId);
        // Without a route it stays as it is and times out, unless the route comes back.
        if let Ok(path) = io.path(&self.tuple.remote, Some(self.tuple.local), bound_nic) {
            let sizes = Sizes::new(is_v4(&self.tuple.local), &path, &io.nic(path.nic).config, &self.settings);
            self.nic = path.nic;
            self.connection.on_path_mss(sizes.path, &self.settings);
        }
    }

    /// The way and what it carries are looked up before the next segment.
    pub(crate) fn doubt_path(&mut self, io: &Io) {
        self.routes = io.routes.generation.wrapping_sub(1);
    }

    /// The options that the IP header follows have changed.
    pub(crate) fn follow(&mut self, ip: &IpSettings) {
        let ip = ip.of(is_v4(&self.tuple.remote));
        (self.ttl, self.min_ttl, self.tos) = (ip.ttl, ip.min_ttl, ip.tos);
    }
}

/// Segment sizes that follow from MTUs, for segments without options.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// What we advertise.
    pub(crate) local: u16,
    /// What the path carries.
    pub(crate) path: u16,
    /// What a peer takes that advertises nothing.
    pub(crate) default: u16,
}

impl Sizes {
    pub(crate) fn new(v4: bool, path: &Path, nic: &NicConfig, settings: &TcpSettings) -> Sizes {
        let (ip, default) = if v4 { (Ipv4Header::MIN_LEN, 536) } else { (Ipv6Header::LEN, 1220) };
        let headers = (ip + TcpHeader::MIN_LEN) as u32;
        let mss = |mtu: u32| mtu.saturating_sub(headers).min(u32::from(u16::MAX)) as u16;
        let clamp = if nic.mss_clamp == 0 { u16::MAX } else { nic.mss_clamp.max(MIN_MSS) };
        let local = mss(nic.mtu).min(settings.max_segment.unwrap_or(u16::MAX)).min(clamp);
        let path_mtu = path.mtu.saturating_sub(ip_options_len(v4, settings));
        Sizes { local, path: mss(path_mtu).min(clamp), default }
    }
}

/// How many bytes of each packet are options of IPv4.
fn ip_options_len(v4: bool, settings: &TcpSettings) -> u32 {
    settings.ip_options.as_ref().filter(|_| v4).map_or(0, |options| options.len() as u32)
}

/// Segments and time.
impl Stack {
    /// A segment for a connection.
    pub(crate) fn connection_segment(
        &mut self,
        now: Instant,
        ingress: &Ingress,
        key: Key,
        tuple: &Tuple,
        segment: &mut Segment,
    ) {
        let Stack { connections, io, .. } = self;
        let Some(tcb) = connections.get_mut(key) else { return };
        if tcb.connection.state() == State::TimeWait
            && let Some(seed) = tcb.connection.time_wait()
            && let Verdict::Reopen(floor) = judge(&seed, &segment.header, segment.payload.len())
            && io.opens_passively(ingress, tuple)
        {
            // The socket keeps what it has read of the old connection; the tuple is free for a new one.
            io.demux.remove(tuple, Target::Connection(key));
            return self.listener_segment(now, ingress, *tuple, core::mem::take(segment), Some(floor));
        }
        self.deliver(now, key, segment);
    }

    /// The same, for a connection that no other can take the place of.
    #[inline]
    pub(crate) fn deliver(&mut self, now: Instant, key: Key, segment: &mut Segment) {
        let Stack { sockets, connections, io } = self;
        let Some(tcb) = connections.get_mut(key) else { return };
        let edge = if segment.payload.is_empty() { Readiness::EMPTY } else { Readiness::READABLE };
        if let Some(header) = tcb.connection.on_segment(now, segment, &mut resources!(io, tcb)) {
            io.send_control(tcb.nic, &tcb.tuple, header, 0);
        }
        if tcb.connection.state() == State::Closed {
            self.after(key, edge);
        } else {
            tcb.settle(key, edge, sockets, io);
            if !io.starved.is_empty() {
                self.feed_starved();
            }
        }
    }

    /// A timer of a connection is due.
    pub(crate) fn connection_timeout(&mut self, now: Instant, key: Key) {
        let Stack { connections, io, .. } = self;
        let Some(tcb) = connections.get_mut(key) else { return };
        tcb.timer = None;
        if tcb.socket.is_none()
            && tcb.connection.is_orphan_unaffordable(now, io.orphans, &resources!(io, tcb))
        {
            io.counters.bump(Counter::TcpAbortOnMemory);
            self.reset(key);
            return self.after(key, Readiness::EMPTY);
        }
        if let Some(header) = tcb.connection.on_timeout(now, &mut resources!(io, tcb)) {
            io.send_control(tcb.nic, &tcb.tuple, header, 0);
        }
        if tcb.connection.take_path_doubt() {
            // What was looked up counts no more, nor a path's MTU that has been forgotten since.
            tcb.doubt_path(io);
        }
        self.after(key, Readiness::EMPTY);
    }

    /// An ICMP error that quotes a segment of this connection; answers its socket if it was being opened.
    pub(crate) fn tcp_unreachable(
        &mut self,
        now: Instant,
        key: Key,
        seq: u32,
        told: Unreachable,
    ) -> Option<SocketId> {
        let tcb = self.connections.get(key)?;
        // RFC 5927 §4.1: who doesn't know what is in flight is not believed.
        let seq = SeqNumber(seq);
        if !tcb.connection.has_in_flight(seq) && (told.mtu.is_some() || !tcb.connection.is_next(seq)) {
            return None;
        }
        let mut opener = None;
        if told.mtu.is_some() {
            let remote = tcb.tuple.remote;
            self.note_mtu(now, remote, told);
        } else if let Some(tcb) = self.connections.get_mut(key) {
            // As the kernel: while a connection is being opened, every error ends it.
            let opening = matches!(tcb.connection.state(), State::SynSent | State::SynReceived);
            let hard = told.hard || opening;
            tcb.connection.on_unreachable(hard, told.error, &mut self.io.budget);
            opener = tcb.socket.filter(|_| opening);
        }
        self.after(key, Readiness::EMPTY);
        opener
    }

    /// What follows every call of a connection: its turn to send, its timer, its socket, its end; and others' that
    /// wait for memory, if it has set some free.
    pub(crate) fn after(&mut self, key: Key, edge: Readiness) {
        self.settle_or_end(key, edge);
        self.feed_starved();
    }

    /// Connections that refused data for want of memory tell their peers when there is some, one after the other.
    pub(crate) fn feed_starved(&mut self) {
        let Stack { connections, io, .. } = self;
        while let Some(&key) = io.starved.front() {
            if let Some(tcb) = connections.get_mut(key) {
                if !tcb.connection.feed(&io.budget) {
                    return;
                }
                tcb.starved = false;
                if !tcb.dirty {
                    tcb.dirty = true;
                    io.mark_dirty(tcb.nic, Dirty::Connection(key));
                }
            }
            io.starved.pop_front();
        }
    }

    /// A connection is gone, and perhaps waits for memory no more: most of the list is of those that do.
    fn trim_starved(&mut self) {
        let Stack { connections, io, .. } = self;
        if io.starved.len() > 2 * connections.len() + STARVED_GONE {
            io.starved.retain(|key| connections.get(*key).is_some());
        }
    }

    fn settle_or_end(&mut self, key: Key, edge: Readiness) {
        let Stack { sockets, connections, io } = self;
        let Some(tcb) = connections.get_mut(key) else { return };
        if tcb.connection.state() == State::Closed {
            let socket = tcb.socket;
            return self.ended(key, socket);
        }
        tcb.settle(key, edge, sockets, io);
    }

    /// A connection is over. Its socket, if it has one, keeps it to read the rest and the error.
    fn ended(&mut self, key: Key, socket: Option<SocketId>) {
        let Some(id) = socket else { return self.bury(key) };
        let Stack { sockets, connections, io } = self;
        let Some(tcb) = connections.get_mut(key) else { return };
        io.demux.remove(&tcb.tuple, Target::Connection(key));
        if let Some(timer) = tcb.timer.take() {
            io.wheel.cancel(timer);
        }
        // As the kernel: a port that was named stays its socket's, any other is free.
        if let Some((binding, hold)) = tcb.take_bound() {
            match sockets.get_mut(id.0) {
                Some(socket) if hold.named => socket.bound = Some(Box::new((binding, hold))),
                _ => io.demux.release(&binding, hold),
            }
        }
        self.touch(id, Readiness::EMPTY);
    }

    /// Forgets an orphan.
    pub(crate) fn bury(&mut self, key: Key) {
        let Some(mut tcb) = self.connections.remove(key) else { return };
        self.io.orphans = self.io.orphans.saturating_sub(1);
        tcb.connection.release(&mut self.io.budget);
        if let Some(timer) = tcb.timer {
            self.io.wheel.cancel(timer);
        }
        self.io.demux.remove(&tcb.tuple, Target::Connection(key));
        if let Some((binding, hold)) = tcb.take_bound() {
            self.io.demux.release(&binding, hold);
        }
        self.trim_starved();
    }

    /// Lets a connection of an interface's dirty list send; whether it stays in the list.
    #[inline]
    pub(crate) fn tcp_transmit(&mut self, now: Instant, key: Key, nic: NicId, batch: &mut Batch) -> bool {
        let Stack { sockets, connections, io } = self;
        let Some(tcb) = connections.get_mut(key) else { return false };
        if tcb.routes != io.routes.generation {
            tcb.follow_routes(io);
        }
        if tcb.nic != nic {
            io.mark_dirty(tcb.nic, Dirty::Connection(key));
            return false;
        }
        let more = tcb.transmit(now, io, batch);
        tcb.dirty = more;
        tcb.rearm(key, io);
        // What is sent in several segments counts for more than what waited in one: a socket that was
        // called writable may be so no more, and is to be called so again.
        if !tcb.connection.has_send_room()
            && let Some(socket) = tcb.socket.and_then(|id| sockets.get_mut(id.0))
        {
            socket.announced.remove(Readiness::WRITABLE);
        }
        if !more && tcb.connection.state() == State::TimeWait {
            self.retire(now, key);
        }
        more
    }

    /// A connection in TIME-WAIT that owes nothing any more becomes a small record. As in the kernel its
    /// socket, if it still has one, is that of a closed connection from then on.
    fn retire(&mut self, now: Instant, key: Key) {
        let Stack { connections, io, .. } = self;
        let Some(tcb) = connections.get_mut(key) else { return };
        let Some(seed) = tcb.connection.time_wait() else { return };
        if tcb.socket.is_some() && !io.has_room_in_time_wait() {
            return; // It can stay as it is: it is there anyway.
        }
        let answer_limit = tcb.connection.answer_limit();
        let bound = tcb.hold.map(|hold| (tcb.binding(), hold));
        match bound {
            // The socket keeps it, too.
            Some((binding, hold)) if hold.named && tcb.socket.is_some() => io.demux.hold(binding, hold),
            _ => tcb.hold = None,
        }
        let record =
            TimeWait { tuple: tcb.tuple, bound, nic: tcb.nic, seed, answer_limit, since: now, timer: None };
        io.add_time_wait(now, record, Target::Connection(key));
        tcb.connection.end(&mut io.budget);
        self.after(key, Readiness::EMPTY);
    }
}
