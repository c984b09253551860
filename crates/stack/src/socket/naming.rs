//! Local names of sockets: bind, the port that is picked when none is named, and what holds it
//! (bind(2), ip(7), ipv6(7)).

use crate::address::{is_of_link_v6, is_unspecified, is_v4};
use crate::demux::{Binding, Hold, Proto, Speaks, Target, Tuple, port_range, scope_number};
use crate::error::{Error, Result};
use crate::ip::address::Cast;
use crate::ip::route::Path;
use crate::socket::options::IpSettings;
use crate::socket::{Domain, Kind, Socket, SocketId, local_host, tuple_scope};
use crate::{SockAddr, Stack};
use alloc::boxed::Box;
use core::ops::RangeInclusive;
use sockeye_packet::Instant;

/// Identifiers of ping sockets that name none.
const ECHO_IDS: RangeInclusive<u16> = 1..=u16::MAX;

impl Socket {
    pub(crate) fn proto(&self) -> Proto {
        match &self.kind {
            Kind::Udp(udp) => udp.proto,
            // Of one version of IP, as echo is, and without ports.
            Kind::Raw(_) | Kind::Packet(_) => Proto::echo(self.domain == Domain::Inet),
            Kind::Idle(_) | Kind::Listener(_) | Kind::Connection(_) => Proto::Tcp,
        }
    }

    /// Whether the socket does without IPv4. A ping socket's protocol is that of one version.
    fn is_v6_only(&self) -> bool {
        self.settings.v6_only || self.proto() == Proto::Icmpv6
    }

    /// What the socket would hold at `addr`.
    pub(crate) fn binding_at(&self, addr: SockAddr) -> Binding {
        Binding {
            proto: self.proto(),
            ip: addr.ip,
            port: addr.port,
            scope: scope_number(self.settings.nic.or(addr.scope)),
            speaks: match self.domain {
                Domain::Inet6 if self.is_v6_only() => Speaks::V6,
                Domain::Inet6 => Speaks::Both,
                Domain::Inet | Domain::Packet => Speaks::V4,
            },
        }
    }

    /// How the socket holds its port.
    pub(crate) fn hold(&self, explicit: bool) -> Hold {
        Hold {
            reuse_addr: self.settings.reuse_addr,
            reuse_port: self.settings.reuse_port,
            listening: matches!(self.kind, Kind::Listener(_)),
            explicit,
            named: false,
            yields: self.bound.as_ref().is_some_and(|bound| bound.1.yields),
            uid: self.owner.uid,
        }
    }

    /// Whether the socket may talk to that address at all, by family.
    pub(crate) fn check_family(&self, addr: &SockAddr) -> Result<()> {
        match (self.domain, addr.is_v4()) {
            (Domain::Packet, _) | (Domain::Inet, false) => Err(Error::AddressFamily),
            (Domain::Inet6, true) if self.is_v6_only() => Err(Error::NetworkUnreachable),
            _ => Ok(()),
        }
    }

    /// Completes where a socket of either family goes: the unspecified address is this host, in the version of IP that
    /// the socket is bound to; of IPv4, the very address that it is bound to.
    pub(crate) fn towards(&self, to: SockAddr) -> Result<SockAddr> {
        let from_v4 = is_v4(&self.local.ip);
        let to = match self.local_ip() {
            _ if !is_unspecified(&to.ip) => to,
            Some(ip) if from_v4 && to.is_v4() => SockAddr { ip, ..to },
            _ => local_host(if from_v4 { Domain::Inet } else { self.domain }, &to),
        };
        self.check_family(&to).map(|()| to)
    }

    /// Whether the address that the socket is bound to can be the source of what goes there. As the kernel: asked when
    /// there is a way to go.
    pub(crate) fn check_source(&self, to: &SockAddr) -> Result<()> {
        if is_v4(&self.local.ip) && !to.is_v4() { Err(Error::AddressFamily) } else { Ok(()) }
    }

    /// What it holds now: a connected datagram socket holds its port for one address alone.
    pub(crate) fn held(&self) -> Option<(Binding, Hold)> {
        let (mut binding, hold) = self.bound.as_deref().copied()?;
        if self.peer.is_some() && binding.proto != Proto::Tcp {
            binding = Binding { ip: self.local.ip, ..binding };
        }
        Some((binding, hold))
    }

    /// The local address, if the socket is bound to one.
    pub(crate) fn local_ip(&self) -> Option<[u8; 16]> {
        (!is_unspecified(&self.local.ip)).then_some(self.local.ip)
    }
}

impl IpSettings {
    /// The ports of which one is picked: the host's, and of those the socket's.
    pub(crate) fn ports_of(&self, host: &RangeInclusive<u16>) -> RangeInclusive<u16> {
        let (first, last) = self.local_ports;
        let bound = |port: u16, default: &u16| if host.contains(&port) { port } else { *default };
        bound(first, host.start())..=bound(last, host.end())
    }
}

impl Stack {
    pub(crate) fn socket_ref(&self, id: SocketId) -> Result<&Socket> {
        self.sockets.get(id.0).ok_or(Error::BadSocket)
    }

    pub(crate) fn socket_mut(&mut self, id: SocketId) -> Result<&mut Socket> {
        self.sockets.get_mut(id.0).ok_or(Error::BadSocket)
    }

    pub(crate) fn bind_socket(&mut self, id: SocketId, addr: SockAddr, yields: bool) -> Result<()> {
        let taken = self.socket_ref(id).map(|socket| self.is_named(socket))?;
        let Stack { sockets, io, .. } = self;
        let socket = sockets.get_mut(id.0).ok_or(Error::BadSocket)?;
        if socket.check_family(&addr).is_err() {
            // bind(2) has EINVAL for an IPv4 address on an IPv6-only socket.
            return Err(if socket.domain == Domain::Inet {
                Error::AddressFamily
            } else {
                Error::InvalidArgument
            });
        }
        let v4 = socket.domain == Domain::Inet;
        if taken && !v4 && !socket.proto().is_echo() {
            return Err(Error::InvalidArgument);
        }
        if is_of_link_v6(&addr.ip) && addr.scope.or(socket.settings.nic).is_none() {
            return Err(Error::InvalidArgument);
        }
        let proto = socket.proto();
        let may_have = is_unspecified(&addr.ip)
            || match io.addresses.cast(&addr.ip) {
                Cast::Unicast => true,
                Cast::Broadcast => !proto.is_echo(),
                Cast::Multicast => proto.is_udp() || v4 && proto == Proto::Tcp,
                Cast::Other => socket.settings.free_bind,
            };
        if !may_have {
            return Err(Error::AddrNotAvailable);
        }
        if taken {
            // As the kernel: of IPv4 and echo, what is wrong with the address is told first.
            return Err(Error::InvalidArgument);
        }
        let hold = Hold { yields, named: addr.port != 0, ..socket.hold(true) };
        // As the kernel: who is bound to one address of IPv6 speaks IPv6 only.
        let v6_alone = !addr.is_v4() && !addr.is_unspecified();
        let mut binding = socket.binding_at(addr);
        if v6_alone {
            binding.speaks = Speaks::V6;
        }
        if addr.port == 0 {
            let ports = socket.settings.ports_of(&io.config.local_ports);
            let range = if proto.is_echo() { &ECHO_IDS } else { &ports };
            binding.port = io.demux.pick_port(&binding, hold, range, &mut io.rng)?;
        } else if !io.demux.is_free(&binding, hold) {
            if proto == Proto::Tcp {
                // As the kernel: what shows of a connection of before is lost, but for the port.
                socket.local = Socket::unspecified(socket.domain).with_port(socket.local.port);
            }
            return Err(Error::AddrInUse);
        }
        io.demux.hold(binding, hold);
        socket.bound = Some(Box::new((binding, hold)));
        socket.local = addr.with_port(binding.port);
        // As the kernel: the unspecified address of IPv4 is one that is named, on an IPv6 socket.
        socket.named_ip |= addr.ip != Socket::unspecified(socket.domain).ip;
        socket.peer = socket.peer.filter(|_| proto != Proto::Tcp);
        socket.settings.v6_only |= v6_alone;
        if proto != Proto::Tcp {
            io.demux.join(binding, id);
        }
        Ok(())
    }

    /// Binds a socket that isn't bound to a random port, as the kernel does before it looks at the arguments of a
    /// datagram socket's connect or send.
    pub fn auto_bind(&mut self, id: SocketId) -> Result<()> {
        let socket = self.socket_ref(id)?;
        if self.is_named(socket) || matches!(socket.kind, Kind::Raw(_) | Kind::Packet(_)) {
            return Ok(());
        }
        let any = SockAddr { port: 0, ..socket.local };
        let named_ip = socket.named_ip;
        self.bind_socket(id, any, false)?;
        self.socket_mut(id)?.named_ip = named_ip;
        Ok(())
    }

    /// Whether the socket has a local port, as bind sees it.
    pub(crate) fn is_named(&self, socket: &Socket) -> bool {
        match socket.proto() {
            Proto::Tcp => self.holds_port(socket),
            _ => socket.local.port != 0,
        }
    }

    /// Picks a local port for a connection over `path` to `peer` (RFC 6056 §3.3.4): one that no bind call
    /// holds and from which no connection to the same peer exists.
    pub(crate) fn pick_for_connection(
        &mut self,
        now: Instant,
        id: SocketId,
        path: &Path,
        peer: &SockAddr,
    ) -> Result<u16> {
        let Stack { sockets, connections, io } = self;
        let socket = sockets.get(id.0).ok_or(Error::BadSocket)?;
        let mut tuple = Tuple {
            local: path.src,
            remote: peer.ip,
            local_port: 0,
            remote_port: peer.port,
            scope: tuple_scope(&path.src, &peer.ip, path.nic),
            proto: socket.proto(),
        };
        let (low, count) = port_range(&socket.settings.ports_of(&io.config.local_ports));
        let place = io.demux.port_place(&tuple);
        for _ in 0..count {
            tuple.local_port = low + (io.demux.next_port_offset(place) % count) as u16;
            let binding = socket.binding_at(SockAddr { ip: path.src, port: tuple.local_port, scope: None });
            let free = match io.target_of(&tuple, sockets, connections) {
                None => true,
                Some(Target::TimeWait(key)) => io.may_reuse(now, key, false),
                Some(_) => false,
            };
            if io.demux.may_pick(&binding) && free {
                return Ok(tuple.local_port);
            }
        }
        Err(Error::AddrNotAvailable)
    }

    /// Lets go of the socket's local port.
    pub(crate) fn unbind(&mut self, id: SocketId) {
        let Stack { sockets, io, .. } = self;
        let Some(socket) = sockets.get_mut(id.0) else { return };
        let held = socket.held();
        socket.bound = None;
        if let Some((binding, hold)) = held {
            io.demux.leave(&binding, id);
            io.demux.release(&binding, hold);
        }
    }
}
