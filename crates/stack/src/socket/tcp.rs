//! Stream sockets: the calls of their users (RFC 9293 §3.9.1, tcp(7)).
//!
//! `close` ends the socket at once; its connection goes on as an orphan until both sides have closed.

use crate::SocketOption;
use crate::address::is_v4;
use crate::counters::Counter;
use crate::demux::{Binding, Hold, Proto, Target, Tuple};
use crate::error::{Error, Result};
use crate::event::Readiness;
use crate::ip::address::Cast;
use crate::ip::route::Path;
use crate::slab::Key;
use crate::socket::options::TcpSettings;
use crate::socket::stage::{Progress, Stage};
use crate::socket::tcb::{Sizes, Tcb, resources};
use crate::socket::{Kind, RecvFlags, SendFlags, Shutdown, SocketId, scoped, tuple_scope};
use crate::tcp::half_open::{HalfOpen, beyond};
use crate::tcp::listener::Listener;
use crate::tcp::{Connection, OpenParams, Resources, State};
use crate::{SockAddr, Stack};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use sockeye_packet::{Chunk, Instant, Payload};

/// Opening.
impl Stack {
    pub(crate) fn tcp_connect(&mut self, now: Instant, id: SocketId, peer: SockAddr) -> Result<()> {
        if let Some(result) = self.connect_progress(now, id) {
            return result;
        }
        let socket = self.socket_ref(id)?;
        let peer = socket.towards(peer)?;
        // A dual-stack socket that was connected over IPv6 may go over IPv4 now.
        let src = socket.local_ip().filter(|src| is_v4(src) == peer.is_v4());
        if matches!(self.io.addresses.cast(&peer.ip), Cast::Multicast | Cast::Broadcast) {
            return Err(Error::NetworkUnreachable);
        }
        let path = self.io.path(&peer.ip, src, peer.scope.or(socket.settings.nic))?;
        socket.check_source(&peer)?;
        let bound_port = socket.bound.as_ref().map(|bound| bound.0.port);
        let port = match bound_port {
            Some(port) => port,
            None => self.pick_for_connection(now, id, &path, &peer)?,
        };
        let tuple = Tuple {
            local: path.src,
            remote: peer.ip,
            local_port: port,
            remote_port: peer.port,
            scope: tuple_scope(&path.src, &peer.ip, path.nic),
            proto: Proto::Tcp,
        };
        self.open_active(now, id, tuple, &path, bound_port.is_some())?;
        Err(Error::InProgress)
    }

    fn open_active(
        &mut self,
        now: Instant,
        id: SocketId,
        tuple: Tuple,
        path: &Path,
        bound: bool,
    ) -> Result<()> {
        let mut floor = None;
        match self.target_of(&tuple) {
            None => {}
            Some(Target::TimeWait(key)) if self.io.may_reuse(now, key, bound) => {
                floor = self.io.take_time_wait(key).map(|record| record.seed.snd_nxt);
            }
            Some(_) => return Err(Error::AddrNotAvailable),
        }
        let Stack { sockets, connections, io } = self;
        let socket = sockets.get_mut(id.0).ok_or(Error::BadSocket)?;
        let Kind::Idle(settings) = &socket.kind else { return Err(Error::IsConnected) };
        let settings = settings.clone();
        let sizes = Sizes::new(is_v4(&tuple.local), path, &io.nic(path.nic).config, &settings);
        let open = OpenParams {
            config: &io.config.tcp,
            settings: &settings,
            iss: beyond(io.secrets.isn(now, &tuple), floor),
            ts_offset: io.secrets.ts_offset(&tuple),
            local_mss: sizes.local,
            path_mss: sizes.path,
            default_mss: sizes.default,
        };
        io.counters.bump(Counter::TcpActiveOpens);
        let mut connection = Connection::connect(now, &open);
        connection.begin_shut(socket.stage.read_shut, socket.stage.write_shut);
        let local = scoped(tuple.local, tuple.local_port, path.nic);
        let hold = match socket.bound.take().map(|bound| *bound) {
            Some((binding, hold)) => {
                io.demux.release(&binding, hold);
                hold
            }
            None => socket.hold(false),
        };
        let binding = socket.binding_at(local);
        socket.local = local;
        socket.peer = Some(scoped(tuple.remote, tuple.remote_port, path.nic));
        socket.stage = Stage { progress: Progress::Connecting, ..Stage::default() };
        let mut tcb = Tcb::new(connection, settings, tuple, id, path.nic, &socket.settings, io);
        tcb.bind(binding, hold, io);
        let key = connections.insert(tcb);
        socket.kind = Kind::Connection(key);
        io.demux.insert(&tuple, Target::Connection(key));
        self.after(key, Readiness::EMPTY);
        Ok(())
    }

    /// Makes the connection of a completed handshake, whose four-tuple is nobody's, for the socket `id`.
    pub(crate) fn open_passive(
        &mut self,
        now: Instant,
        id: SocketId,
        record: &HalfOpen,
        settings: Arc<TcpSettings>,
        bound: Option<(Binding, Hold)>,
    ) -> Option<Key> {
        let Stack { sockets, connections, io } = self;
        let socket = sockets.get(id.0)?;
        let tuple = record.tuple;
        let path = io.path(&tuple.remote, Some(tuple.local), socket.settings.nic).ok()?;
        let sizes = Sizes::new(is_v4(&tuple.local), &path, &io.nic(path.nic).config, &settings);
        let open = OpenParams {
            config: &io.config.tcp,
            settings: &settings,
            iss: record.iss,
            ts_offset: record.ts_offset,
            local_mss: sizes.local,
            path_mss: sizes.path,
            default_mss: sizes.default,
        };
        io.counters.bump(Counter::TcpPassiveOpens);
        let connection = Connection::from_handshake(now, &open, &record.handshake(now));
        let mut tcb = Tcb::new(connection, settings, tuple, id, path.nic, &socket.settings, io);
        if let Some((binding, hold)) = bound {
            tcb.bind(binding, hold, io);
        }
        let key = connections.insert(tcb);
        io.demux.insert(&tuple, Target::Connection(key));
        Some(key)
    }

    pub(crate) fn tcp_listen(&mut self, id: SocketId, backlog: usize) -> Result<()> {
        let backlog = backlog.min(self.io.config.somaxconn);
        match &mut self.socket_mut(id)?.kind {
            Kind::Udp(_) | Kind::Raw(_) | Kind::Packet(_) => return Err(Error::NotSupported),
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
        let (binding, hold) = socket.bound.as_deref().copied().ok_or(Error::InvalidArgument)?;
        let listening = Hold { listening: true, ..hold };
        // Sockets that share a port for later may not both listen, unless by SO_REUSEPORT.
        io.demux.release(&binding, hold);
        let free = io.demux.is_free(&binding, listening);
        io.demux.hold(binding, if free { listening } else { hold });
        if !free {
            return Err(Error::AddrInUse);
        }
        io.demux.join(binding, id);
        socket.bound = Some(Box::new((binding, listening)));
        if let Kind::Idle(settings) = &socket.kind {
            socket.kind = Kind::Listener(Box::new(Listener::new(settings.clone(), backlog)));
        }
        self.touch(id, Readiness::EMPTY);
        Ok(())
    }

    pub(crate) fn tcp_accept(&mut self, id: SocketId) -> Result<(SocketId, SockAddr)> {
        let listener = match &mut self.socket_mut(id)?.kind {
            Kind::Udp(_) | Kind::Raw(_) | Kind::Packet(_) => return Err(Error::NotSupported),
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
            Kind::Udp(_) | Kind::Raw(_) | Kind::Packet(_) => Err(Error::NotSupported),
            Kind::Idle(_) | Kind::Listener(_) => Err(idle),
        }
    }

    #[inline]
    pub(crate) fn tcp_send(
        &mut self,
        now: Instant,
        id: SocketId,
        key: Key,
        chunks: &mut VecDeque<Chunk>,
        flags: SendFlags,
    ) -> Result<usize> {
        let Stack { sockets, connections, io } = self;
        let tcb = connections.get_mut(key).ok_or(Error::BadSocket)?;
        let sent = tcb.connection.send(now, chunks, flags, &mut resources!(io, tcb));
        if tcb.connection.state() == State::Closed {
            self.after(key, Readiness::EMPTY);
        } else {
            tcb.settle(key, Readiness::EMPTY, sockets, io);
        }
        if sent == Err(Error::WouldBlock) {
            // Where memory is short a socket blocks that was called writable: it is to be called so again.
            self.socket_mut(id)?.announced.remove(Readiness::WRITABLE);
        }
        sent
    }

    #[inline]
    pub(crate) fn tcp_recv(
        &mut self,
        now: Instant,
        key: Key,
        max: usize,
        flags: RecvFlags,
    ) -> Result<Payload> {
        let Stack { sockets, connections, io } = self;
        let tcb = connections.get_mut(key).ok_or(Error::BadSocket)?;
        let received = tcb.connection.recv(now, max, flags, &mut resources!(io, tcb));
        if tcb.connection.state() == State::Closed {
            self.after(key, Readiness::EMPTY);
        } else {
            tcb.settle(key, Readiness::EMPTY, sockets, io);
        }
        received
    }

    /// Ends a direction of a connection, or both.
    pub(crate) fn shutdown_connection(&mut self, key: Key, how: Shutdown) {
        let Stack { connections, io, .. } = self;
        let Some(tcb) = connections.get_mut(key) else { return };
        tcb.connection.shutdown(how, &mut resources!(io, tcb));
        self.after(key, Readiness::EMPTY);
    }

    pub(crate) fn tcp_close(&mut self, now: Instant, id: SocketId, abort: bool) {
        let Ok(socket) = self.socket_ref(id) else { return };
        let Kind::Connection(key) = socket.kind else {
            if matches!(socket.kind, Kind::Listener(_)) {
                self.stop_listening(now, id);
            }
            self.unbind(id);
            self.remove_socket(id);
            return;
        };
        self.unbind(id);
        self.remove_socket(id);
        let Stack { connections, io, .. } = self;
        let Some(tcb) = connections.get_mut(key) else { return };
        tcb.socket = None;
        io.orphans += 1;
        let too_many = io.orphans > io.config.tcp.max_orphans;
        if abort || too_many {
            io.counters.add(Counter::TcpAbortOnMemory, too_many.into());
            self.reset(key);
        } else {
            let reset = tcb.connection.close(now, &mut resources!(io, tcb));
            if let Some(header) = reset {
                io.send_control(tcb.nic, &tcb.tuple, header, 0);
            }
        }
        self.after(key, Readiness::EMPTY);
    }

    /// Ends all sockets, and all connections with a reset, also those that go on without a socket: for a host
    /// that is taken out of its network. What is to be said of it waits in
    /// [`poll_transmit`](Stack::poll_transmit).
    pub fn abort_all(&mut self, now: Instant) {
        let sockets: Vec<SocketId> = self.sockets.iter().map(|(key, _)| SocketId(key)).collect();
        for id in sockets {
            // It is there: nothing ends another's socket.
            let _ = self.abort(now, id);
        }
        let orphans: Vec<Key> = self.connections.iter().map(|(key, _)| key).collect();
        for key in orphans {
            self.reset(key);
            self.after(key, Readiness::EMPTY);
        }
    }

    /// Ends a connection at once, with a reset if the peer knows of it.
    pub(crate) fn reset(&mut self, key: Key) {
        let Stack { connections, io, .. } = self;
        let Some(tcb) = connections.get_mut(key) else { return };
        if let Some(header) = tcb.connection.abort(&mut io.budget) {
            io.send_control(tcb.nic, &tcb.tuple, header, 0);
        }
    }

    /// Makes a listener an ordinary socket again, which is still bound. What waits in its queue is reset, what
    /// is half open forgotten.
    pub(crate) fn stop_listening(&mut self, now: Instant, id: SocketId) {
        let Stack { sockets, io, .. } = self;
        let Some(socket) = sockets.get_mut(id.0) else { return };
        let Kind::Listener(listener) = &mut socket.kind else { return };
        let queue = core::mem::take(&mut listener.queue);
        let settings = listener.settings.clone();
        socket.kind = Kind::Idle(settings);
        if let Some((binding, hold)) = socket.bound.as_deref_mut() {
            io.demux.leave(binding, id);
            let idle = Hold { listening: false, ..*hold };
            io.demux.change(*binding, *hold, idle);
            *hold = idle;
        }
        io.forget_half_open_of(id);
        for child in queue {
            self.tcp_close(now, child, true);
        }
        self.touch(id, Readiness::EMPTY);
    }

    /// The options of a stream socket have changed.
    pub(crate) fn settings_changed(&mut self, now: Instant, id: SocketId, option: SocketOption) {
        let Ok(key) = self.connection_key(id, Error::NotConnected) else { return };
        let Stack { sockets, connections, io, .. } = self;
        let (Some(socket), Some(tcb)) = (sockets.get(id.0), connections.get_mut(key)) else { return };
        tcb.follow(&socket.settings);
        tcb.connection.apply_settings(now, &mut resources!(io, tcb));
        tcb.connection.on_option(option);
        if matches!(option, SocketOption::IpOptions(_)) {
            tcb.doubt_path(io);
        }
        self.after(key, Readiness::EMPTY);
    }
}
