//! Packet sockets (packet(7)): what passes the interfaces, in both directions, and packets sent as they are.
//!
//! The links here carry IP packets without a header of their own. So that programs see the interfaces that the
//! rest of the Berkeley API shows them, every frame gets an Ethernet header: with addresses of zeros on the
//! loopback, with addresses made of the IP addresses elsewhere. A super-segment is one frame, as where a network
//! card does the cutting, or several where its IP header couldn't state its length.

use crate::address::{ip_bytes, is_v4};
use crate::bpf::{Filter, View};
use crate::error::{Error, Result};
use crate::event::Readiness;
use crate::io::Io;
use crate::ip::address::is_multicast;
use crate::ip::output::fill;
use crate::ip::train::stated_parts;
use crate::socket::queue::Queues;
use crate::socket::raw::assemble;
use crate::socket::{Datagram, Direction, Hardware, Kind, LinkInfo, SocketId, SocketType};
use crate::{Config, SockAddr, Stack};
use alloc::boxed::Box;
use sockeye_packet::{Batch, Checksum, Chunk, Instant, Meta, NicId, Packet, Payload};
use sockeye_wire::IpLayout;

/// Length of an Ethernet header.
const LINK_LEN: usize = 14;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// What a packet socket has beside what every socket has.
#[derive(Debug)]
pub(crate) struct PacketSocket {
    pub(crate) queues: Queues,
    /// Without the link's header.
    cooked: bool,
    ethertype: u16,
    /// The interface it is bound to; none is all of them.
    nic: Option<NicId>,
    /// Frames that passed the filter since somebody asked, those dropped among them.
    passed: u32,
}

impl PacketSocket {
    pub(crate) fn new(config: &Config, cooked: bool, ethertype: u16) -> PacketSocket {
        PacketSocket { queues: Queues::new(config), cooked, ethertype, nic: None, passed: 0 }
    }

    /// Its type.
    pub(crate) fn kind(&self) -> SocketType {
        SocketType::Packet { cooked: self.cooked, ethertype: self.ethertype }
    }

    /// Whether it is to see a frame. As in the kernel, what this host sends is seen by those who want all.
    fn wants(&self, frame: &Frame) -> bool {
        self.nic.is_none_or(|nic| nic == frame.nic)
            && match self.ethertype {
                SocketType::ALL => true,
                ethertype => ethertype == frame.info.ethertype && frame.info.direction != Direction::Outgoing,
            }
    }
}

/// The socket's user.
impl Stack {
    fn packet_socket(&mut self, id: SocketId) -> Result<&mut PacketSocket> {
        match &mut self.socket_mut(id)?.kind {
            Kind::Packet(packet) => Ok(packet),
            _ => Err(Error::NotSupported),
        }
    }

    /// Binds a packet socket to an interface, or to all; `ethertype` is the protocol that it receives from now on,
    /// none for that which it has. [`Error::NoDevice`] when there is no such interface.
    pub fn bind_packet(&mut self, id: SocketId, nic: Option<NicId>, ethertype: Option<u16>) -> Result<()> {
        if nic.is_some_and(|nic| self.nic(nic).is_none()) {
            return Err(Error::NoDevice);
        }
        let socket = self.packet_socket(id)?;
        socket.nic = nic;
        socket.ethertype = ethertype.unwrap_or(socket.ethertype);
        Ok(())
    }

    /// What a packet socket is bound to: its interface, if to one, and the Ethernet protocol that it receives.
    pub fn packet_name(&self, id: SocketId) -> Result<(Option<NicId>, u16)> {
        match &self.socket_ref(id)?.kind {
            Kind::Packet(packet) => Ok((packet.nic, packet.ethertype)),
            _ => Err(Error::NotSupported),
        }
    }

    /// How many frames a packet socket was to get since this was asked last, and how many of them had no room
    /// (`PACKET_STATISTICS`).
    pub fn take_packet_statistics(&mut self, id: SocketId) -> Result<(u32, u32)> {
        let socket = self.packet_socket(id)?;
        Ok((core::mem::take(&mut socket.passed), core::mem::take(&mut socket.queues.drops)))
    }

    /// Sends one frame by `nic`, or by the interface that the socket is bound to: with an Ethernet header, or
    /// without on a cooked socket. Returns its length.
    ///
    /// [`Error::NoDevice`] without an interface, [`Error::MessageSize`] when the link carries none so long,
    /// [`Error::InvalidArgument`] when it is shorter than its header. What isn't IP is dropped by the link.
    pub fn send_packet(
        &mut self,
        now: Instant,
        id: SocketId,
        nic: Option<NicId>,
        mut frame: Payload,
    ) -> Result<usize> {
        self.report_pending(id)?;
        let socket = self.packet_socket(id)?;
        let (nic, skipped) = (nic.or(socket.nic), if socket.cooked { 0 } else { LINK_LEN });
        let full = socket.queues.send_space() == 0;
        let nic = nic.filter(|nic| self.nic(*nic).is_some()).ok_or(Error::NoDevice)?;
        let sent = frame.len();
        if sent < skipped {
            return Err(Error::InvalidArgument);
        }
        frame.trim(skipped, sent);
        if frame.len() > self.io.nic(nic).config.mtu as usize {
            return Err(Error::MessageSize);
        }
        if full {
            return Err(Error::WouldBlock);
        }
        let packet = assemble(&[], frame, Meta { nic, ..Meta::default() });
        if IpLayout::parse(&packet.head).is_ok() {
            self.queue_packet(id, (nic, usize::MAX), packet)?;
        }
        self.run_loopback(now);
        Ok(sent)
    }

    /// Lets a socket keep only what `filter` says of what it receives (`SO_ATTACH_FILTER`), in place of the one it
    /// had. It sees packet sockets' frames whole, datagrams from the UDP header on, raw sockets' packets as they
    /// are received. [`Error::NotPermitted`] when it is locked, [`Error::NotSupported`] on streams.
    pub fn attach_filter(&mut self, id: SocketId, filter: Filter) -> Result<()> {
        let queues = self.queues(id)?;
        if queues.filter_locked {
            return Err(Error::NotPermitted);
        }
        queues.filter = Some(Box::new(filter));
        Ok(())
    }

    /// Takes the filter off (`SO_DETACH_FILTER`); says whether there was one. [`Error::NotPermitted`] when it is
    /// locked.
    pub fn detach_filter(&mut self, id: SocketId) -> Result<bool> {
        let queues = self.queues(id)?;
        if queues.filter_locked {
            return Err(Error::NotPermitted);
        }
        Ok(queues.filter.take().is_some())
    }

    /// Keeps the filter from being changed from now on (`SO_LOCK_FILTER`); it can't be unlocked.
    pub fn lock_filter(&mut self, id: SocketId) -> Result<()> {
        self.queues(id)?.filter_locked = true;
        Ok(())
    }

    /// The filter of a socket (`SO_GET_FILTER`), and whether it is locked.
    pub fn filter(&self, id: SocketId) -> Result<(Option<&Filter>, bool)> {
        let queues = self.socket_ref(id)?.kind.queues().ok_or(Error::NotSupported)?;
        Ok((queues.filter.as_deref(), queues.filter_locked))
    }
}

/// A packet on an interface, as packet sockets see it.
struct Frame {
    nic: NicId,
    link: [u8; LINK_LEN],
    packet: Packet,
    info: LinkInfo,
}

/// The network.
impl Stack {
    /// Shows packet sockets what comes in by `nic`.
    pub(crate) fn show_arrivals(&mut self, now: Instant, nic: NicId, batch: &Batch) {
        for packet in batch.iter() {
            self.show(now, nic, packet, false, None);
        }
    }

    /// Shows packet sockets what leaves by `nic`: the packets of `batch` behind the first `from`.
    pub(crate) fn show_departures(&mut self, now: Instant, nic: NicId, batch: &Batch, from: usize) {
        for packet in batch.iter().skip(from) {
            self.show(now, nic, packet, true, None);
        }
    }

    /// Shows packet sockets what leaves by `nic` and was sent by a packet socket, behind the packets of `batch` that
    /// leave before it, from the number `from` on. As in the kernel, the sender doesn't see it; of other sockets
    /// this does nothing. Returns how many packets have been shown when this one is in the batch.
    pub(crate) fn show_to_others(
        &mut self,
        now: Instant,
        (nic, sender): (NicId, SocketId),
        packet: &Packet,
        (batch, from): (&Batch, usize),
    ) -> usize {
        if !self.io.packet_sockets.contains(&sender) {
            return from;
        }
        self.show_departures(now, nic, batch, from);
        self.show(now, nic, packet, true, Some(sender));
        batch.len() + 1
    }

    fn show(&mut self, now: Instant, nic: NicId, packet: &Packet, leaves: bool, sender: Option<SocketId>) {
        if packet.is_beyond_stating() {
            return stated_parts(packet).for_each(|part| self.show(now, nic, &part, leaves, sender));
        }
        let Some(frame) = self.io.frame(nic, packet, leaves) else { return };
        let mut at = 0;
        while let Some(&id) = self.io.packet_sockets.get(at) {
            at += 1;
            if sender == Some(id) {
                continue;
            }
            let Stack { sockets, io, .. } = self;
            let Some(Kind::Packet(socket)) = sockets.get_mut(id.0).map(|socket| &mut socket.kind) else {
                continue;
            };
            if !socket.wants(&frame) {
                continue;
            }
            let keep = match &socket.queues.filter {
                Some(filter) => filter.run(&frame.view(socket.cooked, io.rng.next_u32())) as usize,
                None => usize::MAX,
            };
            if keep == 0 {
                continue;
            }
            socket.passed = socket.passed.wrapping_add(1);
            let datagram = frame.datagram(now, socket.cooked, keep);
            if socket.queues.push(datagram, &mut io.budget) {
                self.touch(id, Readiness::READABLE);
            }
        }
    }
}

impl Io {
    /// The frame of a packet; none of what is no IP packet.
    fn frame(&self, nic: NicId, packet: &Packet, leaves: bool) -> Option<Frame> {
        let layout = IpLayout::parse(&packet.head).ok()?;
        let (src, dst) = (ip_bytes(layout.src), ip_bytes(layout.dst));
        let ethertype = if is_v4(&src) { IPV4 } else { IPV6 };
        let is_broadcast = self.addresses.is_broadcast(&dst);
        let direction = match () {
            () if leaves => Direction::Outgoing,
            () if is_broadcast => Direction::Broadcast,
            () if is_multicast(&dst) => Direction::Multicast,
            () => Direction::Host,
        };
        let mut link = [0; LINK_LEN];
        let hardware = if nic == NicId::LOOPBACK { Hardware::Loopback } else { Hardware::Ethernet };
        if hardware == Hardware::Ethernet {
            let next = |ip: [u8; 16]| {
                let route = self.routes.find(&ip, Some(nic)).and_then(|route| route.gateway);
                hardware_address(&route.map_or(ip, ip_bytes))
            };
            let (to, from) = if leaves {
                (next(dst), self.own_hardware(nic))
            } else {
                (self.own_hardware(nic), next(src))
            };
            link[..6].copy_from_slice(&group_address(&dst, is_broadcast).unwrap_or(to));
            link[6..12].copy_from_slice(&from);
        }
        link[12..].copy_from_slice(&ethertype.to_be_bytes());
        let mut packet = packet.clone();
        if packet.meta.checksum == Checksum::Unfilled && packet.meta.gso_size == 0 {
            fill(&mut packet);
        }
        let len = packet.len() as u32;
        let source = [link[6], link[7], link[8], link[9], link[10], link[11]];
        let checksum_unfilled = packet.meta.checksum == Checksum::Unfilled;
        let segment_size = packet.meta.gso_size;
        let info = LinkInfo {
            ethertype,
            hardware,
            direction,
            source,
            len,
            network: 0,
            checksum_unfilled,
            segment_size,
        };
        Some(Frame { nic, link, packet, info })
    }

    /// The hardware address of an interface, made of its first address.
    fn own_hardware(&self, nic: NicId) -> [u8; 6] {
        let first = self.addresses.iter().find(|address| address.nic == nic);
        first.map_or([0x02, 0x42, 0, 0, 0, nic.0 as u8], |first| hardware_address(&first.ip))
    }
}

/// The hardware address that stands for whoever has an IP address: locally administered, of its last four bytes.
fn hardware_address(ip: &[u8; 16]) -> [u8; 6] {
    [0x02, 0x42, ip[12], ip[13], ip[14], ip[15]]
}

/// The hardware address of a broadcast or a group (RFC 1112 §6.4, RFC 2464 §7).
fn group_address(dst: &[u8; 16], is_broadcast: bool) -> Option<[u8; 6]> {
    if is_broadcast {
        return Some([0xff; 6]);
    }
    let v4 = [0x01, 0x00, 0x5e, dst[13] & 0x7f, dst[14], dst[15]];
    let v6 = [0x33, 0x33, dst[12], dst[13], dst[14], dst[15]];
    is_multicast(dst).then_some(if is_v4(dst) { v4 } else { v6 })
}

impl Frame {
    /// The link's header, if the socket sees it.
    fn link(&self, cooked: bool) -> &[u8] {
        if cooked { &[] } else { &self.link }
    }

    fn view(&self, cooked: bool, random: u32) -> View<'_> {
        View {
            link: self.link(cooked),
            head: &self.packet.head,
            payload: Some(&self.packet.payload),
            ethertype: self.info.ethertype,
            direction: self.info.direction.number(),
            interface: u32::from(self.nic.0) + 1,
            hardware: self.info.hardware.number(),
            hash: self.packet.meta.flow_hash,
            random,
        }
    }

    /// What the reader gets, at most `keep` bytes of it.
    fn datagram(&self, now: Instant, cooked: bool, keep: usize) -> Datagram {
        let Packet { head, payload, meta } = &self.packet;
        let link = self.link(cooked);
        let len = link.len() + head.len() + payload.len();
        let mut bytes = [0; LINK_LEN + sockeye_packet::Head::CAPACITY];
        let start = link.len() + head.len();
        bytes[..link.len()].copy_from_slice(link);
        bytes[link.len()..start].copy_from_slice(head);
        let data = payload.slice(0, payload.len().min(keep.saturating_sub(start)));
        let first = Chunk::copy_from(&bytes[..start.min(keep)]);
        Datagram {
            payload: [first].into_iter().chain(data.into_iter().map(Chunk::compact)).collect(),
            from: SockAddr::default(),
            to: SockAddr::default(),
            nic: self.nic,
            ttl: meta.ttl,
            tos: meta.tos_ecn,
            received_at: now,
            dropped: 0,
            segment_size: 0,
            link: Some(LinkInfo { len: len as u32, network: link.len() as u16, ..self.info }),
        }
    }
}
