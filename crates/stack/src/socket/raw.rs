//! Raw sockets (raw(7)): packets of one protocol as they are, over either version of IP.
//!
//! Over IPv4 what is received starts with the IP header, and what is sent does so if the program brings its own
//! (`IP_HDRINCL`); over IPv6 both start behind it. Every raw socket of a protocol gets a copy of each packet,
//! beside whoever else it is for. The local port is the protocol's number, as getsockname(2) shows it in Linux.

use crate::address::{is_unspecified, is_v4, v4_bytes};
use crate::counters::Counter;
use crate::error::{Error, Result};
use crate::event::Readiness;
use crate::ip::address::Cast;
use crate::ip::icmp::Unreachable;
use crate::ip::input::Ingress;
use crate::ip::output::fill;
use crate::ip::route::Path;
use crate::ip::sent_options::insert;
use crate::ip::train::stated_parts;
use crate::socket::cork::Corked;
use crate::socket::discover::MtuDiscover;
use crate::socket::errors::ErrorReport;
use crate::socket::options::SocketOption;
use crate::socket::queue::Queues;
use crate::socket::udp::received;
use crate::socket::{Domain, Kind, Message, Socket, SocketId, scoped};
use crate::{Config, OptionName, SockAddr, Stack};
use alloc::boxed::Box;
use alloc::vec::Vec;
use sockeye_packet::{Checksum as Known, Chunk, Head, Instant, Meta, NicId, Packet, Payload};
use sockeye_wire::{Checksum, Ipv4Header, Ipv6Header, Protocol, Quoted, header_len};

/// The length of an IPv4 header without options.
const V4_LEN: usize = Ipv4Header::MIN_LEN;

/// What a raw socket has beside what every socket has.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) protocol: Protocol,
    pub(crate) queues: Queues,
    /// The packet that it gathers.
    pub(super) corked: Option<Box<Corked>>,
    header_included: bool,
    /// ICMP types that are not wanted (`ICMP_FILTER`), a bit each.
    icmp_filter: u32,
    /// The same of `ICMPv6`.
    icmp6_filter: [u32; 8],
    /// Where IPv6 packets have their checksum, from the transport header on, if they have one.
    checksum_at: Option<u16>,
}

impl Raw {
    pub(crate) fn new(config: &Config, domain: Domain, protocol: Protocol) -> Raw {
        let v6 = domain == Domain::Inet6;
        Raw {
            protocol,
            queues: Queues::new(config),
            corked: None,
            // raw(7): IPPROTO_RAW implies it.
            header_included: protocol == Protocol::RAW,
            icmp_filter: 0,
            icmp6_filter: [0; 8],
            // RFC 3542 §3.1: of ICMPv6 always.
            checksum_at: (v6 && protocol == Protocol::ICMPV6).then_some(2),
        }
    }

    /// Whether the socket doesn't want messages of this ICMP type.
    fn blocks(&self, v4: bool, kind: u8) -> bool {
        match (v4, self.protocol) {
            (true, Protocol::ICMP) => kind < 32 && self.icmp_filter >> kind & 1 != 0,
            (false, Protocol::ICMPV6) => self.icmp6_filter[usize::from(kind >> 5)] >> (kind & 31) & 1 != 0,
            _ => false,
        }
    }
}

/// The socket's user.
impl Stack {
    pub(crate) fn open_raw(&mut self, domain: Domain, protocol: Protocol) -> Result<Kind> {
        // raw(7): the protocol must be said.
        if domain == Domain::Packet || protocol == Protocol(0) {
            return Err(Error::ProtocolNotSupported);
        }
        Ok(Kind::Raw(Box::new(Raw::new(&self.io.config, domain, protocol))))
    }

    /// A new raw socket's port is its protocol. It hears, or a packet socket sees, from now on.
    pub(crate) fn enlist(&mut self, id: SocketId) {
        let Stack { sockets, io, .. } = self;
        let Some(socket) = sockets.get_mut(id.0) else { return };
        if let Kind::Raw(raw) = &socket.kind {
            socket.local.port = raw.protocol.0.into();
            io.raws.push(id);
        } else if let Kind::Packet(_) = &socket.kind {
            io.packet_sockets.push(id);
        }
    }

    fn raw(&mut self, id: SocketId) -> Result<&mut Raw> {
        match &mut self.socket_mut(id)?.kind {
            Kind::Raw(raw) => Ok(raw),
            _ => Err(Error::NotSupported),
        }
    }

    /// Binds to an address; the port means nothing. Unlike others it may be bound again.
    pub(crate) fn raw_bind(&mut self, id: SocketId, addr: SockAddr) -> Result<()> {
        let Stack { sockets, io, .. } = self;
        let socket = sockets.get_mut(id.0).ok_or(Error::BadSocket)?;
        let own = if is_unspecified(&addr.ip) { Cast::Unicast } else { io.addresses.cast(&addr.ip) };
        if socket.peer.is_some() {
            return Err(Error::InvalidArgument);
        }
        if is_v4(&addr.ip) != (socket.domain == Domain::Inet) || own == Cast::Other {
            return Err(Error::AddrNotAvailable);
        }
        if crate::address::is_link_local_v6(&addr.ip) && addr.scope.or(socket.settings.nic).is_none() {
            return Err(Error::InvalidArgument);
        }
        socket.local = addr.with_port(socket.local.port);
        Ok(())
    }

    pub(crate) fn raw_connect(&mut self, id: SocketId, peer: SockAddr) -> Result<()> {
        let peer = self.destination(id, peer)?;
        let path = self.udp_path(id, &peer, None, None)?;
        let socket = self.socket_mut(id)?;
        socket.peer = Some(scoped(peer.ip, peer.port, path.nic));
        if socket.local_ip().is_none() {
            socket.local = scoped(path.src, socket.local.port, path.nic);
        }
        Ok(())
    }

    pub(crate) fn raw_disconnect(&mut self, id: SocketId) -> Result<()> {
        // As the kernel: it has no address any more, and hears nothing.
        let Stack { sockets, io, .. } = self;
        let socket = sockets.get_mut(id.0).ok_or(Error::BadSocket)?;
        socket.settings.nic = None;
        socket.peer = None;
        socket.local = Socket::unspecified(socket.domain);
        io.raws.retain(|raw| *raw != id);
        Ok(())
    }

    pub(crate) fn raw_send(
        &mut self,
        now: Instant,
        id: SocketId,
        payload: Payload,
        message: &Message,
    ) -> Result<usize> {
        let included = self.raw(id)?.header_included;
        if payload.len() > usize::from(u16::MAX) {
            return Err(Error::MessageSize);
        }
        let to = match message.to {
            Some(to) => self.destination(id, to)?,
            None => self.socket_ref(id)?.peer.ok_or(Error::DestinationRequired)?,
        };
        let path = self.udp_path(id, &to, message.source, message.nic)?;
        let sent = payload.len();
        if included {
            if self.socket_ref(id)?.kind.ip_options().is_some() {
                // As the kernel: nothing is put into a header that is the program's.
                return Err(Error::InvalidArgument);
            }
            // As the kernel: only who brings a header is told of what went before.
            self.report_pending(id)?;
            if self.raw(id)?.queues.write_shut {
                return Err(Error::BrokenPipe);
            }
            let packet = self.packet_with_own_header(now, id, &path, &to, payload)?;
            self.check_room(id)?;
            let whole = Path { mtu: u32::MAX, ..path };
            return self.send_raw(id, &whole, &to, packet).map(|()| sent);
        }
        if self.is_corked(id)? {
            return self.append(now, id, &payload, message.more);
        }
        if let Some(mtu) = self.too_long_for_raw(id, &path, &to, sent)? {
            self.report_too_long(now, id, to, mtu);
            return Err(Error::MessageSize);
        }
        self.check_room(id)?;
        if message.more {
            let corked = Corked { path, to, message: *message, segment_size: 0, data: Vec::new() };
            return self.cork(id, corked, &payload);
        }
        let packet = self.raw_packet(id, (&path, &to), message, payload)?;
        self.send_raw(id, &path, &to, packet).map(|()| sent)
    }

    /// Sends a packet, cut to the path's MTU.
    pub(super) fn send_raw(
        &mut self,
        id: SocketId,
        path: &Path,
        to: &SockAddr,
        packet: Packet,
    ) -> Result<()> {
        if self.hear_ourselves(id, path, &to.ip, &packet) {
            self.queue_packet(id, (path.nic, path.mtu as usize), packet)?;
        }
        Ok(())
    }

    /// The MTU when it forbids a packet with `len` bytes of data, or when no packet is so long.
    pub(super) fn too_long_for_raw(
        &self,
        id: SocketId,
        path: &Path,
        to: &SockAddr,
        len: usize,
    ) -> Result<Option<u32>> {
        let v4 = to.is_v4();
        let socket = self.socket_ref(id)?;
        let discover = socket.settings.of(v4).mtu_discover;
        let mtu = if discover == MtuDiscover::Probe { self.io.nic(path.nic).config.mtu } else { path.mtu };
        let whole = matches!(discover, MtuDiscover::Do | MtuDiscover::Probe);
        let v4_len = socket.kind.v4_header_len();
        let (header_len, counted) = if v4 { (v4_len, v4_len) } else { (Ipv6Header::LEN, 0) };
        let too_long = len + counted > usize::from(u16::MAX) || whole && header_len + len > mtu as usize;
        Ok(too_long.then_some(mtu))
    }

    /// A packet with an IP header from here.
    pub(super) fn raw_packet(
        &mut self,
        id: SocketId,
        (path, to): (&Path, &SockAddr),
        message: &Message,
        payload: Payload,
    ) -> Result<Packet> {
        let raw = self.raw(id)?;
        let (protocol, checksum_at) = (raw.protocol, raw.checksum_at);
        let ip = self.ip_params(id, path, to, protocol, message)?;
        let mut header = [0; Ipv6Header::LEN];
        let identification = if ip.dont_fragment { 0 } else { self.io.rng.next_u32() as u16 };
        let header = &mut header[..ip.header_len()];
        ip.emit(header, payload.len(), identification);
        let sum = checksum_at.map(|at| {
            let (src, dst) = (SockAddr { ip: path.src, ..*to }.ip_addr(), to.ip_addr());
            (usize::from(at), Checksum::pseudo_header(src, dst, protocol, payload.len()))
        });
        let payload = match sum {
            Some((at, sum)) if !to.is_v4() => with_checksum(&payload, at, sum, protocol)?,
            _ => payload,
        };
        let meta = Meta {
            nic: path.nic,
            tos_ecn: ip.tos,
            ttl: ip.ttl,
            flow_label: ip.flow_label,
            ..Meta::default()
        };
        let mut packet = assemble(header, payload, meta);
        if let Some(options) = self.socket_ref(id)?.kind.ip_options() {
            insert(&mut packet, options);
        }
        Ok(packet)
    }

    /// A packet with the program's IP header, of which the kernel fills in some fields (raw(7)).
    fn packet_with_own_header(
        &mut self,
        now: Instant,
        id: SocketId,
        path: &Path,
        to: &SockAddr,
        payload: Payload,
    ) -> Result<Packet> {
        let mtu = self.io.nic(path.nic).config.mtu;
        if payload.len() > mtu as usize {
            self.report_too_long(now, id, *to, mtu);
            return Err(Error::MessageSize);
        }
        let v4 = to.is_v4();
        if payload.len() < if v4 { V4_LEN } else { Ipv6Header::LEN } {
            return Err(Error::InvalidArgument);
        }
        let total = payload.len() as u16;
        let mut packet = assemble(&[], payload, Meta { nic: path.nic, ..Meta::default() });
        let head = &mut packet.head;
        if !v4 {
            return Ok(packet);
        }
        let header_len = usize::from(head.first().copied().unwrap_or(0) & 0xf) * 4;
        if header_len > usize::from(total) {
            return Err(Error::InvalidArgument);
        }
        if (V4_LEN..=head.len()).contains(&header_len) {
            head[2..4].copy_from_slice(&total.to_be_bytes());
            if head[4..6] == [0, 0] {
                let identification = self.io.rng.next_u32() as u16;
                head[4..6].copy_from_slice(&identification.to_be_bytes());
            }
            if let (true, Some(src)) = (head[12..16] == [0; 4], v4_bytes(&path.src)) {
                head[12..16].copy_from_slice(&src);
            }
            head[10..12].fill(0);
            let sum = Checksum::new().with(&head[..header_len]).finish();
            head[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        Ok(packet)
    }

    /// Options that only raw sockets have.
    pub(crate) fn set_raw_option(&mut self, id: SocketId, option: SocketOption) -> Result<()> {
        let domain = self.socket_ref(id)?.domain;
        let raw = self.raw(id).map_err(|_| Error::ProtocolOption)?;
        match option {
            SocketOption::HeaderIncluded(on) => raw.header_included = on,
            SocketOption::IcmpFilter(filter) if raw.protocol == Protocol::ICMP => raw.icmp_filter = filter,
            SocketOption::IcmpFilter(_) => return Err(Error::NotSupported),
            SocketOption::Icmp6Filter(_) if raw.protocol != Protocol::ICMPV6 => {
                return Err(Error::NotSupported);
            }
            SocketOption::Icmp6Filter(filter) => raw.icmp6_filter = filter,
            // RFC 3542 §3.1: that of ICMPv6 is where it is, and none starts in the middle of a word.
            SocketOption::ChecksumOffset(_) if domain == Domain::Inet => return Err(Error::ProtocolOption),
            SocketOption::ChecksumOffset(Some(at)) if at % 2 != 0 => return Err(Error::InvalidArgument),
            SocketOption::ChecksumOffset(_) if raw.protocol == Protocol::ICMPV6 => {
                return Err(Error::InvalidArgument);
            }
            SocketOption::ChecksumOffset(at) => raw.checksum_at = at,
            _ => return Err(Error::ProtocolOption),
        }
        Ok(())
    }
}

impl Socket {
    pub(crate) fn raw_option(&self, name: OptionName) -> Result<SocketOption> {
        let Kind::Raw(raw) = &self.kind else { return Err(Error::ProtocolOption) };
        Ok(match name {
            OptionName::HeaderIncluded => SocketOption::HeaderIncluded(raw.header_included),
            OptionName::IcmpFilter if raw.protocol == Protocol::ICMP => {
                SocketOption::IcmpFilter(raw.icmp_filter)
            }
            OptionName::IcmpFilter => return Err(Error::NotSupported),
            OptionName::Icmp6Filter => SocketOption::Icmp6Filter(raw.icmp6_filter),
            OptionName::ChecksumOffset => SocketOption::ChecksumOffset(raw.checksum_at),
            _ => return Err(Error::ProtocolOption),
        })
    }
}

/// The network.
impl Stack {
    /// Gives a packet for this host to all raw sockets that want it; says whether there were any.
    pub(crate) fn raw_input(&mut self, now: Instant, ingress: &Ingress, packet: &Packet) -> bool {
        if ingress.cast == Cast::Other {
            return false;
        }
        let (mut copy, mut at, mut heard) = (None, 0, false);
        if packet.is_beyond_stating() {
            stated_parts(packet).for_each(|part| heard |= self.raw_input(now, ingress, &part));
            return heard;
        }
        while let Some(&id) = self.io.raws.get(at) {
            at += 1;
            let wanted = self.sockets.get(id.0).is_some_and(|socket| socket.wants_raw(ingress, packet));
            if !wanted || !self.io.socket_hears(id, ingress) {
                continue;
            }
            heard = true;
            let copy = copy.get_or_insert_with(|| raw_copy(ingress, packet));
            self.raw_deliver(now, id, ingress, copy);
        }
        heard
    }

    fn raw_deliver(&mut self, now: Instant, id: SocketId, ingress: &Ingress, packet: &Packet) {
        let Stack { sockets, io, .. } = self;
        let Some(Kind::Raw(raw)) = sockets.get_mut(id.0).map(|socket| &mut socket.kind) else { return };
        let start = if ingress.v4 { 0 } else { ingress.transport };
        let head = packet.head.get(start..).unwrap_or_default();
        if raw.checksum_at.is_some_and(|at| !is_right(ingress, usize::from(at), head, &packet.payload)) {
            // What is damaged is counted by its protocol.
            io.counters.add(Counter::IpInCsumErrors, u64::from(!ingress.damaged));
            return;
        }
        let message = [Chunk::copy_from(head)].into_iter().chain(packet.payload.clone()).collect();
        let mut datagram = received(now, ingress, [0, 0], message);
        let random = if raw.queues.filter.is_some() { io.rng.next_u32() } else { 0 };
        if raw.queues.keeps(&[], &mut datagram, random) && raw.queues.push(datagram, &mut io.budget) {
            self.touch(id, Readiness::READABLE);
        }
    }

    /// Tells raw sockets of an ICMP error about a packet that one of them may have sent; of that packet `data` is
    /// there from the transport header on.
    pub(crate) fn raw_unreachable(
        &mut self,
        now: Instant,
        ingress: &Ingress,
        quoted: &Quoted,
        told: &Unreachable,
        data: &Payload,
    ) {
        let [src, dst] = [quoted.src, quoted.dst].map(crate::address::ip_bytes);
        let mut at = 0;
        while let Some(&id) = self.io.raws.get(at) {
            at += 1;
            let Some(socket) = self.sockets.get_mut(id.0) else { continue };
            let concerns = socket.is_raw_end(ingress.v4, quoted.protocol, [src, dst], ingress.nic);
            let (reports, connected) = (socket.wants_errors(ingress.v4), socket.peer.is_some());
            let discover = socket.settings.of(ingress.v4).mtu_discover;
            let ignored = told.mtu.is_some() && discover == MtuDiscover::Dont;
            // As the kernel: who isn't connected and asks for no reports hears nothing.
            if !concerns || !reports && (!connected || !told.hard || ignored) {
                continue;
            }
            let Kind::Raw(raw) = &mut socket.kind else { continue };
            raw.queues.error = Some(told.error);
            if reports {
                let to = scoped(dst, 0, ingress.nic);
                self.report(id, ErrorReport::icmp(now, ingress, told, to, data.clone()));
            }
            self.touch(id, Readiness::ERROR);
        }
    }
}

impl Socket {
    /// Whether packets of this version, protocol and addresses (ours, the other's) are this raw socket's.
    fn is_raw_end(&self, v4: bool, protocol: Protocol, [local, remote]: [[u8; 16]; 2], nic: NicId) -> bool {
        let Kind::Raw(raw) = &self.kind else { return false };
        (self.domain == Domain::Inet) == v4
            && raw.protocol == protocol
            && self.local_ip().is_none_or(|ip| ip == local)
            && self.peer.is_none_or(|peer| peer.ip == remote)
            && self.settings.nic.or(self.local.scope).is_none_or(|own| own == nic)
    }

    fn wants_raw(&self, ingress: &Ingress, packet: &Packet) -> bool {
        let Kind::Raw(raw) = &self.kind else { return false };
        let ends = [ingress.dst, ingress.src];
        let kind = packet.head.get(ingress.transport).copied();
        self.is_raw_end(ingress.v4, ingress.protocol, ends, ingress.nic)
            && !kind.is_some_and(|kind| raw.blocks(ingress.v4, kind))
    }
}

/// A packet as raw sockets see it: with its checksums, also where memory does without.
fn raw_copy(ingress: &Ingress, packet: &Packet) -> Packet {
    let mut copy = packet.clone();
    if copy.meta.checksum == Known::Unfilled {
        fill(&mut copy);
    }
    debug_assert!(ingress.transport <= copy.head.len());
    copy
}

/// Whether the checksum of an IPv6 packet's data is right; those of protocols that are known here have been verified.
fn is_right(ingress: &Ingress, at: usize, head: &[u8], payload: &Payload) -> bool {
    let len = head.len() + payload.len();
    let known = matches!(ingress.protocol, Protocol::TCP | Protocol::UDP | Protocol::ICMPV6);
    if known || ingress.v4 {
        return !ingress.damaged;
    }
    let ends = [ingress.src, ingress.dst].map(crate::address::ip_from_bytes);
    let mut sum = Checksum::pseudo_header(ends[0], ends[1], ingress.protocol, len).with(head);
    payload.chunks().for_each(|chunk| sum.add(chunk));
    at + 2 <= len && sum.finish() == 0
}

/// The data with its checksum written at `at`; EINVAL where it has no room.
fn with_checksum(payload: &Payload, at: usize, mut sum: Checksum, protocol: Protocol) -> Result<Payload> {
    let mut bytes = payload.to_vec();
    let field = bytes.get_mut(at..at + 2).ok_or(Error::InvalidArgument)?;
    field.fill(0);
    sum.add(&bytes);
    let sum = if protocol == Protocol::UDP { sum.finish_udp() } else { sum.finish() };
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    Ok(Payload::from(Chunk::from(bytes)))
}

/// A packet of an IP header and what follows, or of what a program wrote with an IP header of its own.
pub(super) fn assemble(header: &[u8], mut payload: Payload, meta: Meta) -> Packet {
    let mut probe = [0; Head::CAPACITY];
    let start = header.len();
    let len = payload.len().min(probe.len() - start);
    probe[..start].copy_from_slice(header);
    payload.slice(0, len).copy_to(&mut probe[start..]);
    // A header that is none stays in the payload, and the packet is dropped where it is parsed.
    let cut = header_len(&probe[..start + len]).max(start);
    payload.trim(cut - start, payload.len());
    Packet { head: Head::from_slice(&probe[..cut]), payload, meta }
}
