//! Datagram sockets: UDP over both versions of IP (RFC 768, RFC 8200 §8.1, udp(7)), and what ping sockets have
//! in common with it. What they don't is [`ping`]'s.

use crate::address::{ip_bytes, is_v4};
use crate::counters::Counter;
use crate::demux::{Proto, Target, Tuple, scope_number};
use crate::error::{Error, Result};
use crate::event::Readiness;
use crate::ip::address::{Cast, is_multicast};
use crate::ip::complaint::Complaint;
use crate::ip::icmp::Unreachable;
use crate::ip::input::{Ingress, is_unchecked};
use crate::ip::output::IpParams;
use crate::ip::route::Path;
use crate::ip::sent_options::insert;
use crate::socket::cork::Corked;
use crate::socket::discover::MtuDiscover;
use crate::socket::errors::ErrorReport;
use crate::socket::options::IpSettings;
use crate::socket::queue::Queues;
use crate::socket::udp_lite::Coverage;
use crate::socket::udp_options::UdpOptions;
use crate::socket::{Datagram, Domain, Kind, Message, Socket, SocketId, ping, scoped, tuple_scope, udp_lite};
use crate::{Config, SockAddr, Stack};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;
use sockeye_packet::{Chunk, Instant, NicId, Packet, Payload};
use sockeye_wire::{Ipv6Header, Protocol, UdpHeader};

/// What a datagram socket has beside what every socket has.
#[derive(Debug)]
pub(crate) struct Udp {
    /// UDP, or ICMP of the socket's family.
    pub(crate) proto: Proto,
    pub(crate) options: UdpOptions,
    pub(crate) queues: Queues,
    /// The datagram that it gathers.
    pub(super) corked: Option<Box<Corked>>,
    /// The four-tuple it owns while it is connected.
    pub(super) tuple: Option<Tuple>,
    /// Its local address is not the host's: it was a flow.
    foreign: bool,
    /// Of UDP-Lite: how much of a datagram is to be right.
    pub(crate) coverage: Coverage,
}

impl Udp {
    pub(crate) fn new(config: &Config, proto: Proto) -> Udp {
        Udp {
            proto,
            options: UdpOptions::default(),
            queues: Queues::new(config),
            corked: None,
            tuple: None,
            foreign: false,
            coverage: Coverage::default(),
        }
    }

    /// A socket for a flow to an address that is not the host's.
    pub(crate) fn foreign(config: &Config, tuple: Tuple) -> Udp {
        Udp { tuple: Some(tuple), foreign: true, ..Udp::new(config, tuple.proto) }
    }
}

impl Udp {
    /// Cuts a datagram to what the socket's filter keeps; says whether it keeps any. As in the kernel the filter
    /// sees the transport's header, and an echo message has its own.
    fn filter_keeps(&self, datagram: &mut Datagram, random: u32) -> bool {
        if self.proto.is_echo() {
            return self.queues.keeps(&[], datagram, random);
        }
        let mut header = [0; UdpHeader::LEN];
        let len = (UdpHeader::LEN + datagram.payload.len()) as u16;
        UdpHeader { src_port: datagram.from.port, dst_port: datagram.to.port, len }.emit(&mut header);
        self.queues.keeps(&header, datagram, random)
    }
}

/// The socket's user.
impl Stack {
    pub(crate) fn udp(&mut self, id: SocketId) -> Result<&mut Udp> {
        match &mut self.socket_mut(id)?.kind {
            Kind::Udp(udp) => Ok(udp),
            _ => Err(Error::NotSupported),
        }
    }

    pub(crate) fn udp_connect(&mut self, id: SocketId, peer: SockAddr) -> Result<()> {
        // As the kernel: it has a port whatever becomes of this.
        self.auto_bind(id)?;
        let peer = self.destination(id, peer)?;
        let path = self.udp_path(id, &peer, None, None)?;
        let Stack { sockets, connections, io } = self;
        let socket = sockets.get_mut(id.0).ok_or(Error::BadSocket)?;
        // As the kernel: who is bound to a group goes on hearing what is sent to it, now by the peer alone; and the
        // address that the first peer was reached from stays until the socket is disconnected.
        let local = socket.local_ip().unwrap_or(path.src);
        let tuple = Tuple {
            local,
            remote: peer.ip,
            local_port: socket.local.port,
            remote_port: if socket.proto().is_echo() { 0 } else { peer.port },
            scope: tuple_scope(&path.src, &peer.ip, path.nic),
            proto: socket.proto(),
        };
        let held = socket.held();
        socket.peer = Some(scoped(peer.ip, peer.port, path.nic));
        socket.local = scoped(local, socket.local.port, path.nic);
        if let Kind::Udp(udp) = &mut socket.kind
            && let Some(before) = udp.tuple.take()
        {
            io.demux.remove(&before, Target::Datagram(id));
        }
        // As the kernel: who was connected over IPv6 sends over IPv4, and hears nobody. Two sockets that share a
        // port may have one peer; the first gets its datagrams.
        let hears = is_v4(&local) == peer.is_v4() && io.target_of(&tuple, sockets, connections).is_none();
        let socket = sockets.get_mut(id.0).ok_or(Error::BadSocket)?;
        if let Kind::Udp(udp) = &mut socket.kind
            && hears
        {
            udp.tuple = Some(tuple);
            io.demux.insert(&tuple, Target::Datagram(id));
        }
        if let (Some((before, hold)), Some((now, _))) = (held, socket.held()) {
            io.demux.leave(&before, id);
            io.demux.release(&before, hold);
            io.demux.hold(now, hold);
        }
        Ok(())
    }

    /// Dissolves the connection (connect(2)): a port that was bound stays, one that was picked goes, and so does the
    /// interface.
    pub(crate) fn udp_disconnect(&mut self, id: SocketId) -> Result<()> {
        self.forget_peer(id)?;
        let socket = self.socket_mut(id)?;
        socket.settings.nic = None;
        if socket.bound.as_ref().is_some_and(|bound| !bound.1.named) {
            socket.local.port = 0;
            self.unbind(id);
        }
        Ok(())
    }

    fn forget_peer(&mut self, id: SocketId) -> Result<()> {
        let Stack { sockets, io, .. } = self;
        let socket = sockets.get_mut(id.0).ok_or(Error::BadSocket)?;
        let Kind::Udp(udp) = &mut socket.kind else { return Err(Error::NotSupported) };
        if let Some(tuple) = udp.tuple.take() {
            io.demux.remove(&tuple, Target::Datagram(id));
        }
        let held = socket.held();
        if socket.peer.take().is_some()
            && let (Some((narrow, hold)), Some((binding, _))) = (held, socket.bound.as_deref().copied())
        {
            io.demux.release(&narrow, hold);
            // As the kernel: a name in IPv6's form is one that was asked for, also if it names no address.
            let stays = is_v4(&binding.ip) && socket.domain == Domain::Inet6;
            let binding = if stays { narrow } else { binding };
            socket.bound = Some(Box::new((binding, hold)));
            io.demux.hold(binding, hold);
            socket.local = SockAddr { ip: binding.ip, port: binding.port, scope: None };
            io.demux.join(binding, id);
        }
        Ok(())
    }

    /// Checks a destination and completes it.
    pub(super) fn destination(&self, id: SocketId, to: SockAddr) -> Result<SockAddr> {
        let socket = self.socket_ref(id)?;
        let to = socket.towards(to)?;
        if self.io.addresses.is_broadcast(&to.ip) && !socket.settings.broadcast {
            return Err(Error::PermissionDenied);
        }
        Ok(to)
    }

    /// The way to a destination, from the socket's address or, for one message, from `source` by `nic`.
    pub(super) fn udp_path(
        &self,
        id: SocketId,
        to: &SockAddr,
        source: Option<IpAddr>,
        nic: Option<NicId>,
    ) -> Result<Path> {
        let socket = self.socket_ref(id)?;
        let foreign = socket.settings.free_bind || matches!(&socket.kind, Kind::Udp(udp) if udp.foreign);
        let is_ours = |ip: &[u8; 16]| self.io.addresses.cast(ip) == Cast::Unicast;
        let src = match source.map(ip_bytes) {
            Some(source) if !is_ours(&source) || is_v4(&source) != to.is_v4() => {
                return Err(Error::InvalidArgument);
            }
            Some(source) => Some(source),
            // As the kernel: who was connected over IPv6 may still send over IPv4, from any address.
            None => socket.local_ip().filter(|ip| is_v4(ip) == to.is_v4() && (foreign || is_ours(ip))),
        };
        let nic = to.scope.or(nic).or(socket.settings.nic);
        let path = if is_multicast(&to.ip) {
            let (group_nic, group_source) = self.group_way(id, to);
            self.io.path(&to.ip, src.or(group_source), nic.or(group_nic))?
        } else {
            self.io.path(&to.ip, src, nic.or(socket.settings.of(to.is_v4()).unicast_nic))?
        };
        if source.is_none() {
            socket.check_source(to)?;
        }
        Ok(path)
    }

    pub(crate) fn udp_send(
        &mut self,
        now: Instant,
        id: SocketId,
        payload: Payload,
        message: &Message,
    ) -> Result<usize> {
        let Message { to, source, nic, segment_size, .. } = *message;
        if nic.is_some_and(|nic| self.nic(nic).is_none()) {
            return Err(Error::NoDevice);
        }
        // As the kernel: it has a port whatever becomes of this.
        self.auto_bind(id)?;
        let udp = self.udp(id)?;
        let proto = udp.proto;
        let more = !proto.is_echo() && (message.more || udp.options.cork);
        if udp.corked.is_some() {
            return self.append(now, id, &payload, more);
        }
        if proto.is_echo() {
            ping::check_request(proto, &payload)?;
        }
        let to = match to {
            Some(to) if to.port == 0 && !proto.is_echo() => return Err(Error::InvalidArgument),
            Some(to) => self.destination(id, to)?,
            None => self.socket_ref(id)?.peer.ok_or(Error::DestinationRequired)?,
        };
        // As the kernel: over IPv4 this isn't reported.
        if to.is_v4() && payload.len() > usize::from(u16::MAX) {
            return Err(Error::MessageSize);
        }
        let mut path = self.udp_path(id, &to, source, nic)?;
        path.mtu = self.datagram_mtu(id, &path, &to)?;
        let sent = payload.len();
        let size = segment_size.unwrap_or(self.udp(id)?.options.segment);
        if let Some(mtu) = self.too_long_for(id, &path, &to, sent, size > 0)? {
            self.report_too_long(now, id, to, mtu);
            return Err(Error::MessageSize);
        }
        // As the kernel: what is wrong with the call is told first.
        self.report_pending(id)?;
        if self.udp(id)?.queues.write_shut {
            return Err(Error::BrokenPipe);
        }
        self.check_room(id)?;
        if more {
            let (message, data) = (*message, Vec::new());
            return self.cork(id, Corked { path, to, message, segment_size: size, data }, &payload);
        }
        self.send_along(id, path, &to, message, payload, size)
    }

    /// Sends a datagram, or those of `size` bytes that it is cut into, by a path.
    pub(super) fn send_along(
        &mut self,
        id: SocketId,
        path: Path,
        to: &SockAddr,
        message: &Message,
        payload: Payload,
        size: u16,
    ) -> Result<usize> {
        if size > 0 {
            return self.send_segments(id, path, to, message, &payload, size);
        }
        let sent = payload.len();
        let proto = self.socket_ref(id)?.proto();
        let packet = self.datagram_packet(id, &path, to, message, payload)?;
        if self.hear_ourselves(id, &path, &to.ip, &packet) {
            self.queue_packet(id, (path.nic, path.mtu as usize), packet)?;
        }
        self.io.counters.add(Counter::UdpOutDatagrams, u64::from(!proto.is_echo()));
        Ok(sent)
    }

    /// The MTU of the path when it forbids a datagram with `len` bytes of data, or when no packet is so long. What is
    /// `cut` into segments is whole only on paper.
    pub(super) fn too_long_for(
        &self,
        id: SocketId,
        path: &Path,
        to: &SockAddr,
        len: usize,
        cut: bool,
    ) -> Result<Option<u32>> {
        let socket = self.socket_ref(id)?;
        let IpSettings { dont_fragment, .. } = socket.settings;
        let mtu_discover = socket.settings.of(to.is_v4()).mtu_discover;
        // IPv6's length field doesn't count its header.
        let v4_len = socket.kind.v4_header_len();
        let (header_len, counted) = if to.is_v4() { (v4_len, v4_len) } else { (Ipv6Header::LEN, 0) };
        let len = header_added(socket.proto()) + len;
        let whole = !cut && (!mtu_discover.fragments() || dont_fragment && !to.is_v4());
        let too_long = len + counted > usize::from(u16::MAX) || whole && len + header_len > path.mtu as usize;
        Ok(too_long.then_some(path.mtu))
    }

    /// The longest packet that the socket sends by a path.
    pub(super) fn datagram_mtu(&self, id: SocketId, path: &Path, to: &SockAddr) -> Result<u32> {
        let settings = &self.socket_ref(id)?.settings;
        let believed = settings.of(to.is_v4()).mtu_discover.believes_path();
        let mtu = if believed { path.mtu } else { self.io.nic(path.nic).config.mtu };
        let limit = if to.is_v4() { None } else { settings.mtu };
        Ok(limit.map_or(mtu, |limit| mtu.min(limit.get().into())))
    }

    /// The IP header of a message: as the socket's options say, or the message itself.
    pub(super) fn ip_params(
        &self,
        id: SocketId,
        path: &Path,
        to: &SockAddr,
        protocol: Protocol,
        message: &Message,
    ) -> Result<IpParams> {
        let Stack { sockets, io, .. } = self;
        let socket = sockets.get(id.0).ok_or(Error::BadSocket)?;
        let settings = socket.settings.of(to.is_v4());
        let mut ip = IpParams {
            src: path.src,
            dst: to.ip,
            protocol,
            ttl: settings.ttl.unwrap_or(io.config.default_ttl),
            tos: message.tos.unwrap_or(settings.tos),
            dont_fragment: settings.mtu_discover.forbids_fragments(),
            flow_label: 0,
        };
        if is_multicast(&to.ip) {
            ip.ttl = io.group_sending(id, to.is_v4()).ttl;
        }
        ip.ttl = message.ttl.unwrap_or(ip.ttl);
        if !to.is_v4() {
            ip.flow_label = io.label(&to.ip) as u32 & 0xf_ffff;
        }
        Ok(ip)
    }

    pub(super) fn datagram_packet(
        &mut self,
        id: SocketId,
        path: &Path,
        to: &SockAddr,
        message: &Message,
        payload: Payload,
    ) -> Result<Packet> {
        let proto = self.socket_ref(id)?.proto();
        let ip = self.ip_params(id, path, to, Protocol(proto as u8), message)?;
        let Stack { sockets, io, .. } = self;
        let socket = sockets.get(id.0).ok_or(Error::BadSocket)?;
        let ports = (socket.local.port, to.port);
        let mut packet = match &socket.kind {
            Kind::Udp(udp) if proto == Proto::UdpLite => {
                let coverage = udp.coverage.stated(UdpHeader::LEN + payload.len());
                io.udp_lite_packet(path.nic, &ip, ports, coverage, payload)
            }
            _ if proto.is_echo() => io.echo_request_packet(path.nic, &ip, ports.0, payload),
            _ if skips_checksum(socket, to) => io.unchecked_udp_packet(path.nic, &ip, ports, payload),
            _ => io.udp_packet(path.nic, &ip, ports, payload),
        };
        if let Some(options) = socket.kind.ip_options() {
            insert(&mut packet, options);
        }
        Ok(packet)
    }

    /// Lets this host hear what it sends to everybody, or to a group that it is in; says whether others are to hear
    /// it, too (RFC 1112 §6.1, ip(7) `IP_MULTICAST_LOOP`).
    pub(super) fn hear_ourselves(
        &mut self,
        id: SocketId,
        path: &Path,
        to: &[u8; 16],
        packet: &Packet,
    ) -> bool {
        let is_group = is_multicast(to);
        if path.nic == NicId::LOOPBACK || !is_group && !self.io.addresses.is_broadcast(to) {
            return true;
        }
        // As the kernel: of the socket's own family, whatever it sends.
        let of_v4 = self.socket_ref(id).is_ok_and(|socket| socket.domain == Domain::Inet);
        if !is_group || self.io.group_sending(id, of_v4).loops && self.io.multicast.hears(path.nic, to) {
            self.io.reply(NicId::LOOPBACK, packet.clone());
        }
        // A time to live of 0 and a scope of this host keep it here (RFC 1112 §6.1, RFC 4291 §2.7).
        packet.meta.ttl > 0 && !(is_group && to[0] == 0xff && to[1] & 0xf <= 1)
    }
}

/// The network.
impl Stack {
    /// Takes in a datagram whose checksum is right.
    pub(crate) fn udp_input(&mut self, now: Instant, ingress: &Ingress, mut packet: Packet) {
        let lite = ingress.protocol == Protocol::UDP_LITE;
        let proto = if lite { Proto::UdpLite } else { Proto::Udp };
        let Some((src_port, dst_port, covered)) = trim(ingress, &mut packet) else {
            self.io.counters.bump(Counter::UdpInErrors);
            return;
        };
        let tuple = Tuple {
            local: ingress.dst,
            remote: ingress.src,
            local_port: dst_port,
            remote_port: src_port,
            scope: tuple_scope(&ingress.dst, &ingress.src, ingress.nic),
            proto,
        };
        let scope = scope_number(Some(ingress.nic));
        if matches!(ingress.cast, Cast::Broadcast | Cast::Multicast) {
            return self.udp_input_to_all(now, ingress, &tuple, &packet, covered);
        }
        let unchecked = is_unchecked(ingress, &packet);
        let demux = &self.io.demux;
        let target = match self.target_of(&tuple) {
            Some(Target::Datagram(id)) => Some(id),
            _ if ingress.cast == Cast::Other && (lite || unchecked) => return,
            _ if ingress.cast == Cast::Other => {
                let datagram = received(now, ingress, [src_port, dst_port], packet.payload);
                return self.foreign_datagram(now, tuple, ingress, datagram);
            }
            _ => demux.member(proto, &ingress.dst, dst_port, scope, || demux.flow_hash(&tuple)),
        };
        // RFC 8200 §8.1, RFC 6936 §5: only who says so gets what may be for somebody else.
        if unchecked && !target.is_some_and(|id| self.takes_unchecked(id)) {
            self.io.count_bad_checksum(ingress.protocol);
        } else if let Some(id) = target {
            if !self.covers_enough(id, covered, &packet.payload) {
                self.io.counters.bump(Counter::UdpInErrors);
                return;
            }
            self.udp_deliver(id, received(now, ingress, [src_port, dst_port], packet.payload));
        } else {
            self.io.counters.bump(Counter::UdpNoPorts);
            self.io.complain(now, ingress, &packet, Complaint::Port);
        }
    }

    /// A datagram to everybody, or to a group: each socket that hears it gets it.
    fn udp_input_to_all(
        &mut self,
        now: Instant,
        ingress: &Ingress,
        tuple: &Tuple,
        packet: &Packet,
        covered: usize,
    ) {
        let (payload, unchecked) = (&packet.payload, is_unchecked(ingress, packet));
        let mut hearers = core::mem::take(&mut self.io.hearers);
        let demux = &self.io.demux;
        let scope = scope_number(Some(ingress.nic));
        hearers.extend(demux.members(tuple.proto, &ingress.dst, tuple.local_port, scope));
        if let Some(Target::Datagram(connected)) = self.target_of(tuple) {
            hearers.push(connected);
        }
        hearers.retain(|id| self.io.socket_hears(*id, ingress));
        hearers.retain(|id| self.covers_enough(*id, covered, payload));
        hearers.retain(|id| !unchecked || self.takes_unchecked(*id));
        for id in hearers.drain(..) {
            let ports = [tuple.remote_port, tuple.local_port];
            self.udp_deliver(id, received(now, ingress, ports, payload.clone()));
        }
        self.io.hearers = hearers;
    }

    /// Whether a socket takes datagrams over IPv6 that have no checksum.
    fn takes_unchecked(&self, id: SocketId) -> bool {
        match self.sockets.get(id.0).map(|socket| &socket.kind) {
            Some(Kind::Udp(udp)) => udp.options.no_check6_rx,
            _ => false,
        }
    }

    /// Queues a datagram for a socket's reader, and tells them.
    pub(super) fn udp_deliver(&mut self, id: SocketId, datagram: Datagram) {
        if self.udp_queue_in(id, datagram) {
            self.touch(id, Readiness::READABLE);
        }
    }

    /// Queues a datagram for a socket's reader, who is told by the caller; says whether there was room.
    pub(crate) fn udp_queue_in(&mut self, id: SocketId, mut datagram: Datagram) -> bool {
        let Stack { sockets, io, .. } = self;
        let Some(Kind::Udp(udp)) = sockets.get_mut(id.0).map(|socket| &mut socket.kind) else { return false };
        if udp.queues.filter.is_some() && !udp.filter_keeps(&mut datagram, io.rng.next_u32()) {
            return false;
        }
        let datagram =
            if udp.options.gro { udp.queues.merge(datagram, &mut io.budget) } else { Some(datagram) };
        let fits = datagram.is_none_or(|datagram| udp.queues.push(datagram, &mut io.budget));
        if fits {
            io.counters.bump(Counter::UdpInDatagrams);
        } else {
            io.counters.bump(Counter::UdpRcvbufErrors);
            io.counters.bump(Counter::UdpInErrors);
        }
        fits
    }

    /// An ICMP error about a datagram of a socket (udp(7), icmp(7)). A hard one is the pending error of a connected
    /// socket; any is that of a socket that wants reports (RFC 1122 §4.1.3.3), and reported.
    pub(crate) fn udp_unreachable(
        &mut self,
        now: Instant,
        id: SocketId,
        ingress: &Ingress,
        told: &Unreachable,
        to: SockAddr,
        quoted: &Payload,
    ) {
        let Ok(socket) = self.socket_mut(id) else { return };
        let (v4, reports) = (to.is_v4(), socket.wants_errors(to.is_v4()));
        let ignored = told.mtu.is_some() && socket.settings.of(v4).mtu_discover == MtuDiscover::Dont;
        let hard = told.hard && !ignored && socket.peer.is_some();
        // As the kernel: who doesn't ask for IPv6's MTUs gets reports of them all the same.
        if !hard && (!reports || ignored && v4) {
            return;
        }
        let Kind::Udp(udp) = &mut socket.kind else { return };
        udp.queues.error = Some(told.error);
        let skipped = header_added(udp.proto).min(quoted.len());
        if reports {
            let data = quoted.slice(skipped, quoted.len());
            self.report(id, ErrorReport::icmp(now, ingress, told, to, data));
        }
        self.touch(id, Readiness::ERROR);
    }
}

/// Whether datagrams to `to` go without a checksum (RFC 768, RFC 6935 §5).
pub(super) fn skips_checksum(socket: &Socket, to: &SockAddr) -> bool {
    match &socket.kind {
        Kind::Udp(udp) if !to.is_v4() => udp.options.no_check6_tx,
        _ => socket.settings.no_check,
    }
}

/// Length of the header that a user's datagram gets: an echo request has one already.
fn header_added(proto: Proto) -> usize {
    if proto.is_echo() { 0 } else { UdpHeader::LEN }
}

/// Cuts a datagram to the length that it states; answers its ports and how much of it the checksum covers, or
/// `None` to drop it.
fn trim(ingress: &Ingress, packet: &mut Packet) -> Option<(u16, u16, usize)> {
    let transport = packet.head.get(ingress.transport..)?;
    let (src_port, dst_port, covered) = if ingress.protocol == Protocol::UDP_LITE {
        udp_lite::parse(transport, packet.payload.len())?
    } else {
        let (UdpHeader { src_port, dst_port, len }, _) = UdpHeader::parse(transport).ok()?;
        let len = usize::from(len);
        if len > UdpHeader::LEN + packet.payload.len() {
            return None;
        }
        packet.payload.trim(0, len - UdpHeader::LEN);
        (src_port, dst_port, len)
    };
    Some((src_port, dst_port, covered))
}

/// A datagram as its reader gets it, from this port to that one.
pub(super) fn received(
    now: Instant,
    ingress: &Ingress,
    [remote_port, local_port]: [u16; 2],
    payload: Payload,
) -> Datagram {
    Datagram {
        payload: payload.into_iter().map(Chunk::compact).collect(),
        from: scoped(ingress.src, remote_port, ingress.nic),
        to: scoped(ingress.dst, local_port, ingress.nic),
        nic: ingress.nic,
        ttl: ingress.ttl,
        tos: ingress.tos_ecn,
        received_at: now,
        dropped: 0,
        segment_size: 0,
        link: None,
    }
}
