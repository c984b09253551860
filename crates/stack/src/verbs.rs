//! The Berkeley calls, each handed to the kind of socket it is made on.

use crate::demux::Proto;
use crate::error::{Error, Result};
use crate::event::Readiness;
use crate::socket::packet::PacketSocket;
use crate::socket::tcb::Tcb;
use crate::socket::udp::Udp;
use crate::socket::{Kind, Message, Socket};
use crate::{
    Datagram, Domain, ErrorReport, OptionName, Owner, RecvFlags, SendFlags, Shutdown, SockAddr, SocketId,
    SocketOption, SocketType, Stack, TcpInfo, TcpState,
};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use sockeye_packet::{Chunk, Instant, Payload};

impl Stack {
    /// Makes a socket.
    pub fn socket(&mut self, domain: Domain, kind: SocketType, owner: Owner) -> Result<SocketId> {
        if self.sockets.len() >= self.io.config.max_sockets {
            return Err(Error::NoBufs);
        }
        let kind = match kind {
            SocketType::Packet { cooked, ethertype } if domain == Domain::Packet => {
                Kind::Packet(Box::new(PacketSocket::new(&self.io.config, cooked, ethertype)))
            }
            SocketType::Packet { .. } => return Err(Error::AddressFamily),
            SocketType::Raw(protocol) => self.open_raw(domain, protocol)?,
            _ if domain == Domain::Packet => return Err(Error::NotSupported),
            SocketType::Stream => Kind::Idle(self.io.tcp_defaults.clone()),
            SocketType::Datagram => Kind::Udp(Box::new(Udp::new(&self.io.config, Proto::Udp))),
            SocketType::DatagramLite => Kind::Udp(Box::new(Udp::new(&self.io.config, Proto::UdpLite))),
            SocketType::Ping => {
                let proto = Proto::echo(domain == Domain::Inet);
                Kind::Udp(Box::new(Udp::new(&self.io.config, proto)))
            }
        };
        // As the kernel: these may share their numbers from the beginning.
        let shares = match &kind {
            Kind::Udp(udp) => udp.proto.is_echo(),
            kind => matches!(kind, Kind::Raw(_)),
        };
        let mut socket = Socket::new(domain, owner, kind);
        socket.settings.reuse_addr = shares;
        let id = SocketId(self.sockets.insert(socket));
        self.enlist(id);
        let ready = self.readiness_of(id);
        self.socket_mut(id)?.announced = ready;
        Ok(id)
    }

    /// Gives a socket its local address; port 0 picks one. A ping socket's port is its echo identifier.
    pub fn bind(&mut self, id: SocketId, addr: SockAddr) -> Result<()> {
        match self.socket_ref(id)?.kind {
            Kind::Raw(_) => self.raw_bind(id, addr),
            Kind::Packet(_) => Err(Error::InvalidArgument),
            _ => self.bind_socket(id, addr, false),
        }
    }

    /// [`Stack::bind`], in the way of others at the same address only: they may be bound to all addresses of
    /// the port beside it, and get what isn't for this one. For services that the host's programs didn't ask for.
    pub fn bind_yielding(&mut self, id: SocketId, addr: SockAddr) -> Result<()> {
        self.bind_socket(id, addr, true)
    }

    /// Makes a stream socket accept connections, at most `backlog` waiting ones; again, to change it.
    pub fn listen(&mut self, now: Instant, id: SocketId, backlog: usize) -> Result<()> {
        let _ = now;
        self.tcp_listen(id, backlog)
    }

    /// Begins a connection: a stream socket answers [`Error::InProgress`] and becomes writable when it
    /// is open (or has failed). A datagram socket is connected at once.
    pub fn connect(&mut self, now: Instant, id: SocketId, peer: SockAddr) -> Result<()> {
        match self.socket_ref(id)?.kind {
            Kind::Udp(_) => return self.udp_connect(id, peer),
            Kind::Raw(_) => return self.raw_connect(id, peer),
            Kind::Packet(_) => return Err(Error::NotSupported),
            _ => {}
        }
        let result = self.tcp_connect(now, id, peer);
        self.run_loopback(now);
        result
    }

    /// Dissolves a datagram socket's connection (connect(2) with `AF_UNSPEC`); resets a stream's.
    pub fn disconnect(&mut self, now: Instant, id: SocketId) -> Result<()> {
        match self.socket_ref(id)?.kind {
            Kind::Udp(_) => return self.udp_disconnect(id),
            Kind::Raw(_) => return self.raw_disconnect(id),
            Kind::Packet(_) => return Err(Error::NotSupported),
            _ => {}
        }
        self.make_idle(now, id);
        self.run_loopback(now);
        Ok(())
    }

    /// Takes the oldest waiting connection of a listener, with its peer's address.
    pub fn accept(&mut self, now: Instant, id: SocketId) -> Result<(SocketId, SockAddr)> {
        let _ = now;
        self.tcp_accept(id)
    }

    /// Takes from the front of `chunks` what fits in the send buffer; returns how many bytes. On a
    /// datagram socket all of it is one datagram.
    pub fn send(
        &mut self,
        now: Instant,
        id: SocketId,
        chunks: &mut VecDeque<Chunk>,
        flags: SendFlags,
    ) -> Result<usize> {
        let key = match self.socket_ref(id)?.kind {
            Kind::Connection(key) => key,
            Kind::Idle(_) | Kind::Listener(_) => {
                return Err(self.take_error(id).unwrap_or(Error::BrokenPipe));
            }
            Kind::Udp(_) | Kind::Raw(_) | Kind::Packet(_) => {
                let sent = self.send_to(now, id, chunks.iter().cloned().collect(), None, flags);
                if sent.is_ok() {
                    chunks.clear();
                }
                return sent;
            }
        };
        let result = self.tcp_send(now, id, key, chunks, flags);
        self.run_loopback(now);
        result
    }

    /// Takes up to `max` bytes that came in; empty at end of file. Of a datagram the rest is lost.
    pub fn recv(&mut self, now: Instant, id: SocketId, max: usize, flags: RecvFlags) -> Result<Payload> {
        let key = match self.socket_ref(id)?.kind {
            Kind::Connection(key) => key,
            Kind::Idle(_) => {
                let received = self.socket_mut(id)?.stage.recv(flags);
                self.touch(id, Readiness::EMPTY);
                return received;
            }
            Kind::Listener(_) => return Err(Error::NotConnected),
            Kind::Udp(_) | Kind::Raw(_) | Kind::Packet(_) => {
                let mut payload = self.recv_datagram(now, id, flags)?.payload;
                payload.trim(0, payload.len().min(max));
                return Ok(payload);
            }
        };
        let result = self.tcp_recv(now, key, max, flags);
        self.run_loopback(now);
        result
    }

    /// [`Stack::recv`], but no further than the memory goes in which the next byte lies: what is returned is
    /// hardly ever a copy. Less than `max` is no sign that nothing more waits.
    pub fn recv_chunk(&mut self, now: Instant, id: SocketId, max: usize, flags: RecvFlags) -> Result<Chunk> {
        let front = self.connection_of(id).and_then(|tcb| tcb.connection.recv_front());
        self.recv(now, id, front.map_or(max, |front| max.min(front)), flags).map(Payload::into_chunk)
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
        if flags.oob {
            return Err(Error::NotSupported);
        }
        if !self.is_datagram(id)? {
            // As the kernel: a stream ignores the address once it is connected.
            return self.send(now, id, &mut payload.into_iter().collect(), flags);
        }
        self.send_msg(now, id, payload, &Message { to, more: flags.more, ..Message::default() })
    }

    /// Sends one datagram as `message` says.
    pub fn send_msg(
        &mut self,
        now: Instant,
        id: SocketId,
        payload: Payload,
        message: &Message,
    ) -> Result<usize> {
        let result = match self.socket_ref(id)?.kind {
            Kind::Raw(_) => self.raw_send(now, id, payload, message),
            Kind::Packet(_) => self.send_packet(now, id, message.nic, payload),
            _ => self.udp_send(now, id, payload, message),
        };
        self.run_loopback(now);
        result
    }

    /// Takes the oldest datagram, whole.
    pub fn recv_from(&mut self, now: Instant, id: SocketId, flags: RecvFlags) -> Result<Datagram> {
        let received = self.recv_datagram(now, id, flags);
        self.feed_starved();
        received
    }

    /// Takes the oldest report of the socket's error queue (recv(2) with `MSG_ERRQUEUE`), which there are when
    /// [`SocketOption::RecvErr`] or [`SocketOption::RecvErrV6`] asks for them; [`Error::WouldBlock`] without one.
    pub fn recv_error(&mut self, now: Instant, id: SocketId) -> Result<ErrorReport> {
        let _ = now;
        let report = self.take_report(id);
        self.feed_starved();
        report
    }

    /// Ends one direction of a connection, or both.
    pub fn shutdown(&mut self, now: Instant, id: SocketId, how: Shutdown) -> Result<()> {
        if self.is_datagram(id)? {
            return self.shutdown_queues(id, how);
        }
        let result = self.tcp_shutdown(now, id, how);
        self.run_loopback(now);
        result
    }

    /// Ends the socket: its id is of no use any more. A connection is closed in good order by the stack.
    pub fn close(&mut self, now: Instant, id: SocketId) -> Result<()> {
        self.end(now, id, false)
    }

    /// Ends the socket and resets its connection.
    pub fn abort(&mut self, now: Instant, id: SocketId) -> Result<()> {
        self.end(now, id, true)
    }

    fn end(&mut self, now: Instant, id: SocketId, abort: bool) -> Result<()> {
        let is_datagram = self.is_datagram(id)?;
        self.io.leave_all_groups(now, id);
        if is_datagram {
            self.close_queues(id);
            self.feed_starved();
        } else {
            self.tcp_close(now, id, abort);
        }
        self.run_loopback(now);
        Ok(())
    }

    /// Sets an option.
    pub fn set_option(&mut self, now: Instant, id: SocketId, option: SocketOption) -> Result<()> {
        let result = self.set_socket_option(now, id, option);
        self.run_loopback(now);
        result
    }

    /// Reads an option.
    pub fn get_option(&self, id: SocketId, name: OptionName) -> Result<SocketOption> {
        self.socket_option(id, name)
    }

    /// The local address: unspecified, port 0, while the socket is not bound.
    pub fn local_addr(&self, id: SocketId) -> Result<SockAddr> {
        Ok(self.socket_ref(id)?.local)
    }

    /// The peer's address.
    pub fn peer_addr(&self, id: SocketId) -> Result<SockAddr> {
        let socket = self.socket_ref(id)?;
        if let Kind::Connection(key) = socket.kind {
            // As the kernel: a connection that isn't open yet, or no more, has no peer.
            let state = self.connections.get(key).map(|tcb| tcb.connection.state());
            if matches!(state, None | Some(TcpState::SynSent | TcpState::Closed)) {
                return Err(Error::NotConnected);
            }
        }
        // As the kernel: a raw socket's peer shows only if a port was named with it.
        let shows = |peer: &SockAddr| peer.port != 0 || !matches!(socket.kind, Kind::Raw(_));
        socket.peer.filter(shows).ok_or(Error::NotConnected)
    }

    /// Whom connect named, also where [`Stack::peer_addr`] doesn't show it: a raw socket's peer without a port.
    pub fn connected_to(&self, id: SocketId) -> Option<SockAddr> {
        self.socket_ref(id).ok()?.peer
    }

    /// What the socket is ready for now; empty when there is no such socket.
    pub fn readiness(&self, id: SocketId) -> Readiness {
        self.readiness_of(id)
    }

    /// Takes the pending error (`SO_ERROR`).
    pub fn take_error(&mut self, id: SocketId) -> Option<Error> {
        let socket = self.sockets.get_mut(id.0)?;
        let error = match &mut socket.kind {
            Kind::Udp(udp) => udp.queues.error.take(),
            Kind::Raw(raw) => raw.queues.error.take(),
            Kind::Packet(packet) => packet.queues.error.take(),
            Kind::Connection(key) => self.connections.get_mut(*key)?.connection.take_error(),
            Kind::Idle(_) | Kind::Listener(_) => socket.stage.error.take(),
        };
        self.touch(id, Readiness::EMPTY);
        error
    }

    /// Bytes that [`send`](Stack::send) would take now.
    pub fn send_space(&self, id: SocketId) -> usize {
        match self.sockets.get(id.0).map(|socket| &socket.kind) {
            Some(Kind::Udp(udp)) => udp.queues.send_space(),
            Some(Kind::Raw(raw)) => raw.queues.send_space(),
            Some(Kind::Packet(packet)) => packet.queues.send_space(),
            Some(Kind::Connection(key)) => {
                let config = &self.io.config.tcp;
                self.connections.get(*key).map_or(0, |tcb| tcb.connection.send_space(&tcb.settings, config))
            }
            _ => 0,
        }
    }

    /// Bytes that can be read now; for datagrams, of the oldest.
    pub fn recv_queued(&self, id: SocketId) -> usize {
        match self.sockets.get(id.0).map(|socket| &socket.kind) {
            Some(Kind::Udp(udp)) => udp.queues.recv_queued(),
            Some(Kind::Raw(raw)) => raw.queues.recv_queued(),
            Some(Kind::Packet(packet)) => packet.queues.recv_queued(),
            Some(Kind::Connection(key)) => {
                self.connections.get(*key).map_or(0, |tcb| tcb.connection.recv_queued())
            }
            _ => 0,
        }
    }

    /// What FIONREAD tells of a stream: the bytes that can be read now, up to an urgent one; of datagrams what
    /// [`recv_queued`](Stack::recv_queued) does.
    pub fn recv_inquired(&self, id: SocketId) -> usize {
        let Some(tcb) = self.connection_of(id) else { return self.recv_queued(id) };
        tcb.connection.recv_inquired(tcb.settings.oob_inline)
    }

    /// What `TCP_INQ` tells a reader of bytes that can still be read: as the kernel, 1 when there are none and
    /// the peer sends no more, for the end of file that is to be read.
    pub fn recv_hint(&self, id: SocketId) -> usize {
        let ended = self.readiness(id).contains(Readiness::READ_CLOSED);
        self.recv_queued(id).max(usize::from(ended))
    }

    /// Bytes in the send buffer that the peer has not acknowledged (SIOCOUTQ).
    pub fn send_queued(&self, id: SocketId) -> usize {
        match self.sockets.get(id.0).map(|socket| &socket.kind) {
            Some(Kind::Udp(udp)) => udp.queues.send_queued(),
            Some(Kind::Raw(raw)) => raw.queues.send_queued(),
            Some(Kind::Packet(packet)) => packet.queues.send_queued(),
            Some(Kind::Connection(key)) => {
                self.connections.get(*key).map_or(0, |tcb| tcb.connection.send_queued())
            }
            _ => 0,
        }
    }

    /// Whether the next byte to read is the urgent one (SIOCATMARK).
    pub fn at_mark(&self, id: SocketId) -> bool {
        self.connection_of(id).is_some_and(|tcb| tcb.connection.at_mark())
    }

    /// The state of a stream socket's connection; none while it has none.
    pub fn tcp_state(&self, id: SocketId) -> Option<TcpState> {
        self.connection_of(id).map(|tcb| tcb.connection.state())
    }

    /// How a stream socket's connection, or its queue if it listens, is doing at `now`; ENOTCONN for a socket
    /// that has neither.
    pub fn tcp_info(&self, now: Instant, id: SocketId) -> Result<TcpInfo> {
        if let Kind::Listener(listener) = &self.socket_ref(id)?.kind {
            return Ok(listener.info(&self.io.config.tcp));
        }
        let tcb = self.connection_of(id).ok_or(Error::NotConnected)?;
        Ok(self.info_of(now, tcb))
    }

    pub(crate) fn info_of(&self, now: Instant, tcb: &Tcb) -> TcpInfo {
        let info = tcb.connection.info(now);
        let pacing_rate = tcb.connection.pacing_rate(&self.io.config.tcp, &tcb.settings);
        let max_pacing_rate = tcb.settings.max_pacing_rate;
        TcpInfo { pmtu: tcb.path_mtu(), pacing_rate, max_pacing_rate, ..info }
    }

    /// The longest packet, in bytes with its IP header, that reaches the peer whole, as far as is known; ENOTCONN
    /// without a peer.
    pub fn path_mtu(&self, id: SocketId) -> Result<u32> {
        let peer = self.peer_addr(id)?;
        if let Some(tcb) = self.connection_of(id) {
            return Ok(tcb.path_mtu());
        }
        let nic = peer.scope.or(self.socket_ref(id)?.settings.nic);
        Ok(self.io.path(&peer.ip, self.socket_ref(id)?.local_ip(), nic)?.mtu)
    }

    /// Who owns the socket.
    pub fn owner(&self, id: SocketId) -> Result<Owner> {
        Ok(self.socket_ref(id)?.owner)
    }

    fn connection_of(&self, id: SocketId) -> Option<&Tcb> {
        match self.sockets.get(id.0)?.kind {
            Kind::Connection(key) => self.connections.get(key),
            _ => None,
        }
    }

    fn is_datagram(&self, id: SocketId) -> Result<bool> {
        Ok(self.socket_ref(id)?.kind.queues().is_some())
    }
}
