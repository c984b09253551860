//! Stream sockets: the calls of their users, and what keeps a connection going: its timer, its turn to
//! send, the readiness of its socket, its end (RFC 9293 §3.9.1, tcp(7)).
//!
//! A connection lives in a slab of its own, because it outlives its socket: `close` ends the socket at
//! once, and the connection goes on as an orphan until both sides have closed.

use crate::address::{is_unspecified, is_v4};
use crate::demux::{Binding, Hold, Proto, Target, Tuple};
use crate::error::{Error, Result};
use crate::event::Readiness;
use crate::io::{Dirty, Token};
use crate::ip::address::Cast;
use crate::ip::icmp::Unreachable;
use crate::ip::input::Ingress;
use crate::ip::output::IpParams;
use crate::ip::route::Path;
use crate::slab::Key;
use crate::socket::options::TcpSettings;
use crate::socket::{Domain, Kind, RecvFlags, SendFlags, Shutdown, SocketId, scoped, tuple_scope};
use crate::tcp::half_open::HalfOpen;
use crate::tcp::listener::Listener;
use crate::tcp::time_wait::{TimeWait, Verdict, judge};
use crate::tcp::{Connection, OpenParams, Resources, Segment, SeqNumber, State};
use crate::wheel::TimerId;
use crate::{SockAddr, Stack};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use sockeye_packet::{Batch, Chunk, Instant, NicId, Payload};
use sockeye_wire::{Ipv4Header, Ipv6Header, TcpHeader};

/// Most segments that a connection sends before it is the next one's turn.
const QUANTUM: usize = 8;

/// A connection and what the stack knows of it.
#[derive(Debug)]
pub(crate) struct Tcb {
    pub(crate) connection: Connection,
    pub(crate) settings: Arc<TcpSettings>,
    pub(crate) tuple: Tuple,
    /// What it holds of its local port.
    bound: Option<(Binding, Hold)>,
    /// Its socket; none for an orphan.
    pub(crate) socket: Option<SocketId>,
    nic: NicId,
    ttl: Option<u8>,
    tos: u8,
    /// The state of the routes by which `nic` and the path's MTU were found.
    routes: u32,
    flow_label: u32,
    timer: Option<TimerId>,
    /// Whether it is in the dirty list of its interface.
    dirty: bool,
}

/// Segment sizes that follow from MTUs, for segments without options.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) local_mss: u16,
    pub(crate) path_mss: u16,
    pub(crate) default_mss: u16,
}

impl Sizes {
    pub(crate) fn new(v4: bool, path: &Path, mtu: u32, settings: &TcpSettings) -> Sizes {
        let (ip, default_mss) = if v4 { (Ipv4Header::MIN_LEN, 536) } else { (Ipv6Header::LEN, 1220) };
        let headers = (ip + TcpHeader::MIN_LEN) as u32;
        let mss = |mtu: u32| mtu.saturating_sub(headers).min(u32::from(u16::MAX)) as u16;
        let local_mss = mss(mtu).min(settings.max_segment.unwrap_or(u16::MAX));
        Sizes { local_mss, path_mss: mss(path.mtu), default_mss }
    }
}

/// Lends a connection what it may use. A macro, because it borrows some fields and leaves the others.
macro_rules! resources {
    ($io:expr, $tcb:expr) => {
        Resources {
            max_segment: $io.nic($tcb.nic).config.max_segment,
            budget: &mut $io.budget,
            config: &$io.config.tcp,
            settings: &$tcb.settings,
        }
    };
}

/// Opening.
impl Stack {
    pub(crate) fn tcp_connect(&mut self, now: Instant, id: SocketId, peer: SockAddr) -> Result<()> {
        match self.socket_ref(id)?.kind {
            Kind::Udp(_) => return Err(Error::NotSupported),
            Kind::Listener(_) => return Err(Error::IsConnected),
            Kind::Connection(key) => return self.connect_progress(id, key),
            Kind::Idle(_) => {}
        }
        let socket = self.socket_ref(id)?;
        let mut peer = peer;
        if is_unspecified(&peer.ip) {
            let v4 = socket.domain == Domain::Inet || is_v4(&peer.ip);
            let host = if v4 {
                core::net::Ipv4Addr::LOCALHOST.into()
            } else {
                core::net::Ipv6Addr::LOCALHOST.into()
            };
            peer = SockAddr::new(host, peer.port);
        }
        socket.check_family(&peer)?;
        let src = socket.local_ip();
        if src.is_some_and(|src| is_v4(&src) != peer.is_v4()) {
            return Err(Error::NetworkUnreachable);
        }
        if matches!(self.io.addresses.cast(&peer.ip), Cast::Multicast | Cast::Broadcast) {
            return Err(Error::NetworkUnreachable);
        }
        let path = self.io.path(&peer.ip, src, peer.scope.or(socket.settings.nic))?;
        let bound_port = socket.local.port;
        let port = if bound_port == 0 { self.pick_for_connection(id, &path, &peer)? } else { bound_port };
        let tuple = Tuple {
            local: path.src,
            remote: peer.ip,
            local_port: port,
            remote_port: peer.port,
            scope: tuple_scope(&path.src, &peer.ip, path.nic),
            proto: Proto::Tcp,
        };
        self.open_active(now, id, tuple, &path)?;
        Err(Error::InProgress)
    }

    /// connect on a socket that has a connection.
    fn connect_progress(&mut self, id: SocketId, key: Key) -> Result<()> {
        let tcb = self.connections.get_mut(key).ok_or(Error::BadSocket)?;
        let state = tcb.connection.state();
        let socket = self.sockets.get_mut(id.0).ok_or(Error::BadSocket)?;
        match state {
            State::SynSent | State::SynReceived => Err(Error::Already),
            State::Closed if socket.connecting => {
                let error = tcb.connection.take_error().unwrap_or(Error::ConnectionAborted);
                self.back_to_idle(id, key);
                Err(error)
            }
            _ if socket.connecting => {
                // As the kernel: the call that finds the connection open succeeds, later ones don't.
                socket.connecting = false;
                Ok(())
            }
            _ => Err(Error::IsConnected),
        }
    }

    fn open_active(&mut self, now: Instant, id: SocketId, tuple: Tuple, path: &Path) -> Result<()> {
        if self.io.demux.find(&tuple).is_some() {
            return Err(Error::AddrNotAvailable);
        }
        let Stack { sockets, connections, io } = self;
        let socket = sockets.get_mut(id.0).ok_or(Error::BadSocket)?;
        let Kind::Idle(settings) = &socket.kind else { return Err(Error::IsConnected) };
        let settings = settings.clone();
        let sizes = Sizes::new(is_v4(&tuple.local), path, io.nic(path.nic).config.mtu, &settings);
        let open = OpenParams {
            config: &io.config.tcp,
            settings: &settings,
            iss: io.secrets.isn(now, &tuple),
            ts_offset: io.secrets.ts_offset(&tuple),
            local_mss: sizes.local_mss,
            path_mss: sizes.path_mss,
            default_mss: sizes.default_mss,
        };
        let connection = Connection::connect(now, &open);
        let local = scoped(tuple.local, tuple.local_port, path.nic);
        let hold = match socket.bound.take() {
            Some((binding, hold)) => {
                io.demux.release(&binding, hold);
                hold
            }
            None => socket.hold(false),
        };
        let binding = Binding { dual: false, ..socket.binding_at(local) };
        io.demux.hold(binding, hold);
        socket.local = local;
        socket.peer = Some(scoped(tuple.remote, tuple.remote_port, path.nic));
        socket.connecting = true;
        let tcb = Tcb {
            connection,
            settings,
            tuple,
            bound: Some((binding, hold)),
            socket: Some(id),
            nic: path.nic,
            ttl: socket.settings.ttl,
            tos: socket.settings.tos,
            routes: io.routes.generation,
            flow_label: IpParams::of_flow(&io.demux, &tuple, 0, 0).flow_label,
            timer: None,
            dirty: false,
        };
        let key = connections.insert(tcb);
        socket.kind = Kind::Connection(key);
        io.demux.insert(tuple, Target::Connection(key));
        self.after(now, key, Readiness::EMPTY);
        Ok(())
    }

    /// Makes the connection of a completed handshake for the socket `id`.
    pub(crate) fn open_passive(
        &mut self,
        now: Instant,
        id: SocketId,
        record: &HalfOpen,
        settings: Arc<TcpSettings>,
        bound: (Binding, Hold),
    ) -> Option<Key> {
        let Stack { sockets, connections, io } = self;
        let socket = sockets.get(id.0)?;
        let tuple = record.tuple;
        let path = io.path(&tuple.remote, Some(tuple.local), socket.settings.nic).ok()?;
        let sizes = Sizes::new(is_v4(&tuple.local), &path, io.nic(path.nic).config.mtu, &settings);
        let open = OpenParams {
            config: &io.config.tcp,
            settings: &settings,
            iss: record.iss,
            ts_offset: record.ts_offset,
            local_mss: sizes.local_mss,
            path_mss: sizes.path_mss,
            default_mss: sizes.default_mss,
        };
        let connection = Connection::from_handshake(now, &open, &record.handshake(now));
        let tcb = Tcb {
            connection,
            settings,
            tuple,
            bound: Some(bound),
            socket: Some(id),
            nic: path.nic,
            ttl: socket.settings.ttl,
            tos: socket.settings.tos,
            routes: io.routes.generation,
            flow_label: IpParams::of_flow(&io.demux, &tuple, 0, 0).flow_label,
            timer: None,
            dirty: false,
        };
        let key = connections.insert(tcb);
        if !io.demux.insert(tuple, Target::Connection(key)) {
            connections.remove(key);
            return None;
        }
        io.demux.hold(bound.0, bound.1);
        Some(key)
    }

    pub(crate) fn tcp_listen(&mut self, id: SocketId, backlog: usize) -> Result<()> {
        let backlog = backlog.min(self.io.config.somaxconn);
        match &mut self.socket_mut(id)?.kind {
            Kind::Udp(_) => return Err(Error::NotSupported),
            Kind::Connection(_) => return Err(Error::InvalidArgument),
            Kind::Listener(listener) => {
                listener.backlog = backlog;
                return Ok(());
            }
            Kind::Idle(_) => {}
        }
        self.auto_bind(id)?;
        let Stack { sockets, io, .. } = self;
        let socket = sockets.get_mut(id.0).ok_or(Error::BadSocket)?;
        let (binding, hold) = socket.bound.ok_or(Error::InvalidArgument)?;
        let listening = Hold { listening: true, ..hold };
        // Sockets that share a port for later may not both listen, unless by SO_REUSEPORT.
        io.demux.release(&binding, hold);
        let free = io.demux.is_free(&binding, listening);
        io.demux.hold(binding, if free { listening } else { hold });
        if !free {
            return Err(Error::AddrInUse);
        }
        io.demux.join(binding, id);
        socket.bound = Some((binding, listening));
        if let Kind::Idle(settings) = &socket.kind {
            socket.kind = Kind::Listener(alloc::boxed::Box::new(Listener::new(settings.clone(), backlog)));
        }
        self.touch(id, Readiness::EMPTY);
        Ok(())
    }

    pub(crate) fn tcp_accept(&mut self, id: SocketId) -> Result<(SocketId, SockAddr)> {
        let listener = match &mut self.socket_mut(id)?.kind {
            Kind::Udp(_) => return Err(Error::NotSupported),
            Kind::Listener(listener) => listener,
            _ => return Err(Error::InvalidArgument),
        };
        let child = listener.queue.pop_front().ok_or(Error::WouldBlock)?;
        self.touch(id, Readiness::EMPTY);
        let ready = self.readiness_of(child);
        let socket = self.socket_mut(child)?;
        socket.parent = None;
        socket.announced = ready;
        Ok((child, socket.peer.unwrap_or_default()))
    }
}

/// Data and closing.
impl Stack {
    /// The connection of a stream socket; `idle` is the error of a socket that has none.
    fn connection_key(&self, id: SocketId, idle: Error) -> Result<Key> {
        match self.socket_ref(id)?.kind {
            Kind::Connection(key) => Ok(key),
            Kind::Udp(_) => Err(Error::NotSupported),
            Kind::Idle(_) | Kind::Listener(_) => Err(idle),
        }
    }

    pub(crate) fn tcp_send(
        &mut self,
        now: Instant,
        id: SocketId,
        chunks: &mut VecDeque<Chunk>,
        flags: SendFlags,
    ) -> Result<usize> {
        let key = self.connection_key(id, Error::BrokenPipe)?;
        let Stack { connections, io, .. } = self;
        let tcb = connections.get_mut(key).ok_or(Error::BadSocket)?;
        let sent = tcb.connection.send(now, chunks, flags, &mut resources!(io, tcb));
        self.after(now, key, Readiness::EMPTY);
        sent
    }

    pub(crate) fn tcp_recv(
        &mut self,
        now: Instant,
        id: SocketId,
        max: usize,
        flags: RecvFlags,
    ) -> Result<Payload> {
        let key = self.connection_key(id, Error::NotConnected)?;
        let Stack { connections, io, .. } = self;
        let tcb = connections.get_mut(key).ok_or(Error::BadSocket)?;
        let received = tcb.connection.recv(now, max, flags, &mut resources!(io, tcb));
        self.after(now, key, Readiness::EMPTY);
        received
    }

    pub(crate) fn tcp_shutdown(&mut self, now: Instant, id: SocketId, how: Shutdown) -> Result<()> {
        if matches!(self.socket_ref(id)?.kind, Kind::Listener(_)) {
            // As the kernel: a listener that reads no more listens no more.
            if how.read() {
                self.stop_listening(now, id);
            }
            return Ok(());
        }
        let key = self.connection_key(id, Error::NotConnected)?;
        let Stack { connections, io, .. } = self;
        let tcb = connections.get_mut(key).ok_or(Error::BadSocket)?;
        match tcb.connection.state() {
            State::Closed => return Err(Error::NotConnected),
            State::SynSent => {
                self.tcp_disconnect(now, id)?;
                return Ok(());
            }
            _ => tcb.connection.shutdown(how, &mut resources!(io, tcb)),
        }
        self.after(now, key, Readiness::EMPTY);
        Ok(())
    }

    /// connect(2) with AF_UNSPEC: resets the connection; the socket can be used again.
    pub(crate) fn tcp_disconnect(&mut self, now: Instant, id: SocketId) -> Result<()> {
        match self.socket_ref(id)?.kind {
            Kind::Listener(_) => self.stop_listening(now, id),
            Kind::Connection(key) => {
                self.reset(key);
                self.back_to_idle(id, key);
                self.touch(id, Readiness::EMPTY);
            }
            Kind::Idle(_) | Kind::Udp(_) => {}
        }
        Ok(())
    }

    pub(crate) fn tcp_close(&mut self, now: Instant, id: SocketId, abort: bool) {
        let Ok(socket) = self.socket_ref(id) else { return };
        let Kind::Connection(key) = socket.kind else {
            if matches!(socket.kind, Kind::Listener(_)) {
                self.stop_listening(now, id);
            }
            self.unbind(id);
            self.sockets.remove(id.0);
            return;
        };
        self.sockets.remove(id.0);
        let Stack { connections, io, .. } = self;
        let Some(tcb) = connections.get_mut(key) else { return };
        tcb.socket = None;
        io.orphans += 1;
        if abort || io.orphans > io.config.tcp.max_orphans {
            self.reset(key);
        } else {
            let reset = tcb.connection.close(now, &mut resources!(io, tcb));
            if let Some(header) = reset {
                io.send_control(tcb.nic, &tcb.tuple, header, 0);
            }
        }
        self.after(now, key, Readiness::EMPTY);
    }

    /// Ends a connection at once, with a reset if the peer knows of it.
    fn reset(&mut self, key: Key) {
        let Stack { connections, io, .. } = self;
        let Some(tcb) = connections.get_mut(key) else { return };
        if let Some(header) = tcb.connection.abort(&mut io.budget) {
            io.send_control(tcb.nic, &tcb.tuple, header, 0);
        }
    }

    /// Makes a listener an ordinary socket again, which is still bound. What waits in its queue is reset.
    fn stop_listening(&mut self, now: Instant, id: SocketId) {
        let Stack { sockets, io, .. } = self;
        let Some(socket) = sockets.get_mut(id.0) else { return };
        let Kind::Listener(listener) = &mut socket.kind else { return };
        let queue = core::mem::take(&mut listener.queue);
        let settings = listener.settings.clone();
        socket.kind = Kind::Idle(settings);
        if let Some((binding, hold)) = &mut socket.bound {
            io.demux.leave(binding, id);
            let idle = Hold { listening: false, ..*hold };
            io.demux.change(*binding, *hold, idle);
            *hold = idle;
        }
        for child in queue {
            self.tcp_close(now, child, true);
        }
        self.touch(id, Readiness::EMPTY);
    }

    /// Takes a connection that is over from its socket, which may then connect again.
    fn back_to_idle(&mut self, id: SocketId, key: Key) {
        let Some(tcb) = self.connections.get_mut(key) else { return };
        let settings = tcb.settings.clone();
        let bound = tcb.bound.filter(|(_, hold)| hold.explicit);
        if bound.is_some() {
            tcb.bound = None;
        }
        tcb.socket = None;
        self.io.orphans += 1;
        self.bury(key);
        let Some(socket) = self.sockets.get_mut(id.0) else { return };
        socket.kind = Kind::Idle(settings);
        socket.peer = None;
        socket.connecting = false;
        socket.bound = bound;
        if bound.is_none() {
            let unspecified = if is_v4(&socket.local.ip) && socket.domain == Domain::Inet {
                SockAddr::UNSPECIFIED_V4
            } else {
                SockAddr::UNSPECIFIED_V6
            };
            socket.local = unspecified;
        }
    }

    /// The options of a stream socket have changed.
    pub(crate) fn settings_changed(&mut self, now: Instant, id: SocketId) {
        let Ok(key) = self.connection_key(id, Error::NotConnected) else { return };
        let Stack { sockets, connections, io, .. } = self;
        let (Some(socket), Some(tcb)) = (sockets.get(id.0), connections.get_mut(key)) else { return };
        tcb.ttl = socket.settings.ttl;
        tcb.tos = socket.settings.tos;
        tcb.connection.apply_settings(now, &mut resources!(io, tcb));
        self.after(now, key, Readiness::EMPTY);
    }
}

/// Segments and time.
impl Stack {
    /// A segment for a connection.
    pub(crate) fn connection_segment(
        &mut self,
        now: Instant,
        ingress: &Ingress,
        key: Key,
        tuple: Tuple,
        segment: Segment,
    ) {
        let Stack { connections, io, .. } = self;
        let Some(tcb) = connections.get_mut(key) else { return };
        if tcb.connection.state() == State::TimeWait
            && let Some(seed) = tcb.connection.time_wait()
            && let Verdict::Reopen(floor) = judge(&seed, &segment.header, segment.payload.len())
        {
            // The socket keeps what it has read of the old connection; the tuple is free for a new one.
            io.demux.remove(&tuple, Target::Connection(key));
            return self.listener_segment(now, ingress, tuple, segment, Some(floor));
        }
        let edge = if segment.payload.is_empty() { Readiness::EMPTY } else { Readiness::READABLE };
        if let Some(header) = tcb.connection.on_segment(now, segment, &mut resources!(io, tcb)) {
            io.send_control(tcb.nic, &tcb.tuple, header, 0);
        }
        self.after(now, key, edge);
    }

    /// A timer of a connection is due.
    pub(crate) fn connection_timeout(&mut self, now: Instant, key: Key) {
        let Stack { connections, io, .. } = self;
        let Some(tcb) = connections.get_mut(key) else { return };
        tcb.timer = None;
        if let Some(header) = tcb.connection.on_timeout(now, &mut resources!(io, tcb)) {
            io.send_control(tcb.nic, &tcb.tuple, header, 0);
        }
        self.after(now, key, Readiness::EMPTY);
    }

    /// An ICMP error that quotes a segment of this connection.
    pub(crate) fn tcp_unreachable(&mut self, now: Instant, key: Key, seq: u32, told: Unreachable) {
        let Some(tcb) = self.connections.get(key) else { return };
        // RFC 5927 §4.1: who doesn't know what is in flight is not believed.
        if !tcb.connection.has_in_flight(SeqNumber(seq)) {
            return;
        }
        if told.mtu.is_some() {
            let remote = tcb.tuple.remote;
            self.note_mtu(now, remote, told);
        } else if let Some(tcb) = self.connections.get_mut(key) {
            // As the kernel: while a connection is being opened, every error ends it.
            let hard = told.hard || tcb.connection.state() == State::SynSent;
            tcb.connection.on_unreachable(hard, told.error, &mut self.io.budget);
        }
        self.after(now, key, Readiness::EMPTY);
    }

    /// What follows every call of a connection: its turn to send, its timer, its socket, its end.
    fn after(&mut self, now: Instant, key: Key, edge: Readiness) {
        let Stack { connections, io, .. } = self;
        let Some(tcb) = connections.get_mut(key) else { return };
        let _ = now;
        let socket = tcb.socket;
        if tcb.connection.state() == State::Closed {
            return self.ended(key, socket);
        }
        if !tcb.dirty {
            tcb.dirty = true;
            io.mark_dirty(tcb.nic, Dirty::Connection(key));
        }
        self.rearm(key);
        if let Some(id) = socket {
            self.touch(id, edge);
        }
    }

    /// Sets the timer of a connection to what it waits for.
    fn rearm(&mut self, key: Key) {
        let Stack { connections, io, .. } = self;
        let Some(tcb) = connections.get_mut(key) else { return };
        match (tcb.connection.poll_timeout(), tcb.timer) {
            (Some((at, _)), Some(timer)) => io.wheel.reset(timer, at),
            (Some((at, _)), None) => tcb.timer = Some(io.wheel.set(at, Token::Connection(key))),
            (None, Some(timer)) => {
                io.wheel.cancel(timer);
                tcb.timer = None;
            }
            (None, None) => {}
        }
    }

    /// A connection is over. Its socket, if it has one, keeps it to read the rest and the error.
    fn ended(&mut self, key: Key, socket: Option<SocketId>) {
        let Some(id) = socket else { return self.bury(key) };
        let Stack { connections, io, .. } = self;
        let Some(tcb) = connections.get_mut(key) else { return };
        io.demux.remove(&tcb.tuple, Target::Connection(key));
        if let Some(timer) = tcb.timer.take() {
            io.wheel.cancel(timer);
        }
        if let Some((binding, hold)) = tcb.bound.filter(|(_, hold)| !hold.explicit) {
            io.demux.release(&binding, hold);
            tcb.bound = None;
        }
        self.touch(id, Readiness::EMPTY);
    }

    /// Forgets an orphan.
    fn bury(&mut self, key: Key) {
        let Some(mut tcb) = self.connections.remove(key) else { return };
        self.io.orphans = self.io.orphans.saturating_sub(1);
        tcb.connection.release(&mut self.io.budget);
        if let Some(timer) = tcb.timer {
            self.io.wheel.cancel(timer);
        }
        self.io.demux.remove(&tcb.tuple, Target::Connection(key));
        if let Some((binding, hold)) = tcb.bound {
            self.io.demux.release(&binding, hold);
        }
    }

    /// Lets a connection of an interface's dirty list send; whether it stays in the list.
    pub(crate) fn tcp_transmit(&mut self, now: Instant, key: Key, nic: NicId, batch: &mut Batch) -> bool {
        if !self.follow_routes(key, nic) {
            return false;
        }
        let mut more = true;
        for _ in 0..QUANTUM {
            let Stack { connections, io, .. } = self;
            let Some(tcb) = connections.get_mut(key) else { return false };
            let Some(segment) = tcb.connection.poll_transmit(now, &mut resources!(io, tcb)) else {
                tcb.dirty = false;
                more = false;
                break;
            };
            let Segment { mut header, payload, ecn, gso_size } = segment;
            let Tuple { local, remote, local_port, remote_port, .. } = tcb.tuple;
            (header.src_port, header.dst_port) = (local_port, remote_port);
            let ip = IpParams {
                src: local,
                dst: remote,
                protocol: sockeye_wire::Protocol::TCP,
                ttl: tcb.ttl.unwrap_or(io.config.default_ttl),
                tos: tcb.tos & 0xfc | ecn,
                dont_fragment: true,
                flow_label: tcb.flow_label,
            };
            batch.push(io.tcp_packet(nic, &ip, &header, payload, gso_size));
            if batch.is_full() {
                break;
            }
        }
        self.rearm(key);
        if !more {
            self.retire(now, key);
        }
        more
    }

    /// Looks up the way again when routes have changed; whether the connection still leaves by `nic`.
    fn follow_routes(&mut self, key: Key, nic: NicId) -> bool {
        let Stack { connections, io, .. } = self;
        let Some(tcb) = connections.get_mut(key) else { return false };
        if tcb.routes != io.routes.generation {
            tcb.routes = io.routes.generation;
            // Without a route it stays as it is and times out, unless the route comes back.
            if let Ok(path) = io.path(&tcb.tuple.remote, Some(tcb.tuple.local), None) {
                let sizes = Sizes::new(is_v4(&tcb.tuple.local), &path, path.mtu, &tcb.settings);
                tcb.nic = path.nic;
                tcb.connection.on_path_mss(sizes.path_mss, &tcb.settings);
            }
        }
        if tcb.nic != nic {
            io.mark_dirty(tcb.nic, Dirty::Connection(key));
        }
        tcb.nic == nic
    }

    /// An orphan in TIME-WAIT that owes nothing any more becomes a small record.
    fn retire(&mut self, now: Instant, key: Key) {
        let Stack { connections, io, .. } = self;
        let Some(tcb) = connections.get_mut(key) else { return };
        if tcb.socket.is_some() {
            return;
        }
        if let Some(seed) = tcb.connection.time_wait() {
            let record =
                TimeWait { tuple: tcb.tuple, bound: tcb.bound.take(), nic: tcb.nic, seed, timer: None };
            io.add_time_wait(now, record, Target::Connection(key));
            self.bury(key);
        }
    }
}
