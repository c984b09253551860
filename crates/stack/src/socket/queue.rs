//! What sockets that carry packets whole have in common (UDP, ping, raw and packet sockets): datagrams that wait
//! for their reader, packets that wait for the link, the pending error, and how both directions end.
//!
//! Both queues charge what they hold to the stack's budget.

use crate::bpf::{Filter, View};
use crate::error::{Error, Result};
use crate::event::Readiness;
use crate::io::Dirty;
use crate::socket::segments::continues;
use crate::socket::{Datagram, Kind, RecvFlags, Shutdown, SocketId};
use crate::{Config, Stack};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use sockeye_packet::{Budget, Instant, NicId, Packet, Payload};
use sockeye_wire::{Ipv4Header, Ipv4Options};

/// What an entry of a queue costs beside its data.
pub(crate) const ENTRY_COST: usize = 256;
/// Most entries that an empty queue keeps room for.
const KEPT_ENTRIES: usize = 8;

/// The queues of one socket.
#[derive(Debug)]
pub(crate) struct Queues {
    recv: VecDeque<Datagram>,
    pub(crate) recv_charged: usize,
    pub(crate) recv_limit: usize,
    /// Datagrams that there was no room for.
    pub(crate) drops: u32,
    /// Packets for the link, with the interface they leave by.
    send: VecDeque<Packet>,
    pub(crate) send_charged: usize,
    pub(crate) send_limit: usize,
    pub(crate) error: Option<Error>,
    /// What says how much is kept of what comes in.
    pub(crate) filter: Option<Box<Filter>>,
    pub(crate) filter_locked: bool,
    /// What every IPv4 header has (`IP_OPTIONS`).
    pub(crate) ip_options: Option<Box<Ipv4Options>>,
    pub(crate) read_shut: bool,
    pub(crate) write_shut: bool,
    /// Whether the socket is in the dirty list of the interface of its first packet.
    dirty: bool,
}

impl Queues {
    pub(crate) fn new(config: &Config) -> Queues {
        Queues {
            recv: VecDeque::new(),
            recv_charged: 0,
            recv_limit: config.udp_recv_buffer,
            drops: 0,
            send: VecDeque::new(),
            send_charged: 0,
            send_limit: config.udp_send_buffer,
            error: None,
            filter: None,
            filter_locked: false,
            ip_options: None,
            read_shut: false,
            write_shut: false,
            dirty: false,
        }
    }

    pub(crate) fn readiness(&self) -> Readiness {
        let mut ready = Readiness::EMPTY;
        ready.insert_if(Readiness::READABLE, !self.recv.is_empty() || self.read_shut);
        ready.insert_if(Readiness::READ_CLOSED, self.read_shut);
        // As the kernel: writable while less than half of the buffer is used.
        ready.insert_if(Readiness::WRITABLE, self.send_charged < self.send_limit.div_ceil(2));
        ready.insert_if(Readiness::WRITE_CLOSED, self.write_shut && self.read_shut);
        ready.insert_if(Readiness::ERROR, self.error.is_some());
        ready
    }

    /// Whether what is sent next goes at once and as it is.
    pub(crate) fn sends_plainly(&self) -> bool {
        self.send.is_empty() && !self.write_shut && self.error.is_none() && self.ip_options.is_none()
    }

    /// Whether what comes is for the reader as it is.
    pub(crate) fn receives_plainly(&self) -> bool {
        self.filter.is_none() && !self.read_shut && self.error.is_none()
    }

    /// Bytes that may be sent at once.
    pub(crate) fn send_space(&self) -> usize {
        self.send_limit.saturating_sub(self.send_charged)
    }

    /// Bytes that wait for the link.
    pub(crate) fn send_queued(&self) -> usize {
        self.send.iter().map(|packet| packet.payload.len()).sum()
    }

    /// Length of the oldest datagram.
    pub(crate) fn recv_queued(&self) -> usize {
        self.recv.front().map_or(0, |datagram| datagram.payload.len())
    }

    /// Queues a datagram for the reader; says whether there was room. As the kernel: one that was shut down for reading
    /// still gets what comes.
    pub(crate) fn push(&mut self, mut datagram: Datagram, budget: &mut Budget) -> bool {
        let cost = datagram.payload.len() + ENTRY_COST;
        // As the kernel: the last datagram may go over the limit.
        let fits = self.recv_charged < self.recv_limit && budget.try_charge(cost);
        if fits {
            self.recv_charged += cost;
            datagram.dropped = self.drops;
            self.recv.push_back(datagram);
        } else {
            self.drops = self.drops.wrapping_add(1);
        }
        fits
    }

    /// Cuts a datagram, in front of which its receiver's filter sees `header`, to what the filter keeps; says whether
    /// it keeps any. A header is kept with its datagram.
    pub(crate) fn keeps(&self, header: &[u8], datagram: &mut Datagram, random: u32) -> bool {
        let Some(filter) = &self.filter else { return true };
        let interface = u32::from(datagram.nic.0) + 1;
        let view = View { payload: Some(&datagram.payload), interface, random, ..View::of(header) };
        let keep = filter.run(&view) as usize;
        let data = datagram.payload.len().min(keep.saturating_sub(header.len()));
        datagram.payload.trim(0, data);
        keep > 0
    }

    /// Appends a datagram to the one before it, where that is to be read with it as one (`UDP_GRO`); else gives it
    /// back.
    pub(crate) fn merge(&mut self, datagram: Datagram, budget: &mut Budget) -> Option<Datagram> {
        let len = datagram.payload.len();
        let room = self.recv_charged < self.recv_limit;
        let last = self.recv.back_mut().filter(|last| room && continues(last, &datagram));
        let Some(last) = last.filter(|_| budget.try_charge(len)) else { return Some(datagram) };
        self.recv_charged += len;
        if last.segment_size == 0 {
            last.segment_size = last.payload.len() as u16;
        }
        last.payload.extend(datagram.payload);
        None
    }

    /// Takes the oldest datagram, or looks at it.
    pub(crate) fn pop(&mut self, peek: bool, budget: &mut Budget) -> Option<Datagram> {
        if peek {
            return self.recv.front().cloned();
        }
        let datagram = self.recv.pop_front()?;
        let cost = datagram.payload.len() + ENTRY_COST;
        self.recv_charged -= cost;
        budget.release(cost);
        if self.recv.is_empty() {
            // An empty queue owns little memory, but a steady flow should not allocate.
            self.recv.shrink_to(KEPT_ENTRIES);
        }
        Some(datagram)
    }
}

/// What a packet costs that waits for the link.
fn packet_cost(packet: &Packet) -> usize {
    packet.payload.len() + ENTRY_COST
}

impl Kind {
    /// The queues of a socket that carries packets whole.
    pub(crate) fn queues(&self) -> Option<&Queues> {
        match self {
            Kind::Udp(udp) => Some(&udp.queues),
            Kind::Raw(raw) => Some(&raw.queues),
            Kind::Packet(packet) => Some(&packet.queues),
            Kind::Idle(_) | Kind::Listener(_) | Kind::Connection(_) => None,
        }
    }

    /// The options that a packet over IPv4 gets.
    pub(crate) fn ip_options(&self) -> Option<&Ipv4Options> {
        self.queues()?.ip_options.as_deref()
    }

    /// The length of the header that a packet over IPv4 gets.
    pub(crate) fn v4_header_len(&self) -> usize {
        Ipv4Header::MIN_LEN + self.ip_options().map_or(0, |options| options.len())
    }

    pub(crate) fn queues_mut(&mut self) -> Option<&mut Queues> {
        match self {
            Kind::Udp(udp) => Some(&mut udp.queues),
            Kind::Raw(raw) => Some(&mut raw.queues),
            Kind::Packet(packet) => Some(&mut packet.queues),
            Kind::Idle(_) | Kind::Listener(_) | Kind::Connection(_) => None,
        }
    }
}

impl Stack {
    pub(crate) fn queues(&mut self, id: SocketId) -> Result<&mut Queues> {
        self.socket_mut(id)?.kind.queues_mut().ok_or(Error::NotSupported)
    }

    /// Takes the pending error, which every call reports before it does anything.
    pub(crate) fn report_pending(&mut self, id: SocketId) -> Result<()> {
        let error = self.queues(id)?.error.take();
        if error.is_some() {
            self.touch(id, Readiness::EMPTY);
        }
        error.map_or(Ok(()), Err)
    }

    /// Says when a packet has to wait. As the kernel: one that doesn't fit is sent while there is any room.
    pub(crate) fn check_room(&mut self, id: SocketId) -> Result<()> {
        if self.queues(id)?.send_space() == 0 { Err(Error::WouldBlock) } else { Ok(()) }
    }

    /// Queues a packet, cut to `mtu`, in its socket.
    pub(crate) fn queue_packet(
        &mut self,
        id: SocketId,
        (nic, mtu): (NicId, usize),
        packet: Packet,
    ) -> Result<()> {
        let Stack { sockets, io, .. } = self;
        let Some(queues) = sockets.get_mut(id.0).and_then(|socket| socket.kind.queues_mut()) else {
            return Err(Error::BadSocket);
        };
        // What fragments cost is not known yet; that they are few is.
        if !io.budget.try_charge(2 * packet_cost(&packet)) {
            return Err(Error::NoBufs);
        }
        io.budget.release(2 * packet_cost(&packet));
        let before = queues.send.len();
        for packet in io.fragment(packet, mtu) {
            let cost = packet_cost(&packet);
            if !io.budget.try_charge(cost) {
                // All fragments or none.
                for queued in queues.send.drain(before..) {
                    let cost = packet_cost(&queued);
                    queues.send_charged -= cost;
                    io.budget.release(cost);
                }
                return Err(Error::NoBufs);
            }
            queues.send_charged += cost;
            queues.send.push_back(packet);
        }
        if !queues.dirty {
            queues.dirty = true;
            io.mark_dirty(nic, Dirty::Datagram(id));
        }
        Ok(())
    }

    /// The next packet of a socket in an interface's dirty list; whether it stays in the list.
    pub(crate) fn transmit_queued(&mut self, id: SocketId, nic: NicId) -> (Option<Packet>, bool) {
        let Stack { sockets, io, .. } = self;
        let Some(queues) = sockets.get_mut(id.0).and_then(|socket| socket.kind.queues_mut()) else {
            return (None, false);
        };
        if queues.send.front().is_some_and(|packet| packet.meta.nic != nic) {
            // The next one leaves by another interface: the socket's turn is there.
            let other = queues.send[0].meta.nic;
            io.mark_dirty(other, Dirty::Datagram(id));
            return (None, false);
        }
        let packet = queues.send.pop_front();
        if let Some(packet) = &packet {
            let cost = packet_cost(packet);
            queues.send_charged -= cost;
            io.budget.release(cost);
        }
        queues.dirty = !queues.send.is_empty();
        let stays = queues.dirty;
        if !stays {
            queues.send.shrink_to(KEPT_ENTRIES);
        }
        self.touch(id, Readiness::EMPTY);
        (packet, stays)
    }

    pub(crate) fn recv_datagram(&mut self, now: Instant, id: SocketId, flags: RecvFlags) -> Result<Datagram> {
        if flags.oob {
            return Err(Error::NotSupported);
        }
        self.report_pending(id)?;
        let Stack { sockets, io, .. } = self;
        let socket = sockets.get_mut(id.0).ok_or(Error::BadSocket)?;
        let queues = socket.kind.queues_mut().ok_or(Error::NotSupported)?;
        if let Some(datagram) = queues.pop(flags.peek, &mut io.budget) {
            let ready = queues.readiness();
            socket.announced = socket.with_reports(ready);
            return Ok(datagram);
        }
        if !queues.read_shut {
            return Err(Error::WouldBlock);
        }
        Ok(Datagram {
            payload: Payload::EMPTY,
            from: socket.peer.unwrap_or_default(),
            to: socket.local,
            nic: NicId::LOOPBACK,
            ttl: 0,
            tos: 0,
            received_at: now,
            dropped: 0,
            segment_size: 0,
            link: None,
        })
    }

    pub(crate) fn shutdown_queues(&mut self, id: SocketId, how: Shutdown) -> Result<()> {
        let socket = self.socket_ref(id)?;
        if matches!(socket.kind, Kind::Packet(_)) {
            return Err(Error::NotSupported);
        }
        let connected = socket.peer.is_some();
        let queues = self.queues(id)?;
        queues.read_shut |= how.read();
        queues.write_shut |= how.write();
        self.touch(id, Readiness::EMPTY);
        // As the kernel: it is done all the same.
        if connected { Ok(()) } else { Err(Error::NotConnected) }
    }

    /// Ends a socket, and gives back what it holds.
    pub(crate) fn close_queues(&mut self, id: SocketId) {
        let _ = self.udp_disconnect(id);
        self.unbind(id);
        self.io.raws.retain(|raw| *raw != id);
        self.io.packet_sockets.retain(|packet| *packet != id);
        match self.remove_socket(id).map(|socket| socket.kind) {
            Some(Kind::Udp(udp)) => self.drop_queues(udp.queues),
            Some(Kind::Raw(raw)) => self.drop_queues(raw.queues),
            Some(Kind::Packet(packet)) => self.drop_queues(packet.queues),
            _ => {}
        }
    }

    fn drop_queues(&mut self, queues: Queues) {
        self.io.budget.release(queues.recv_charged);
        // Datagrams sent are sent, also when their socket is gone: the queue moves to the interface.
        self.io.budget.release(queues.send_charged);
        for packet in queues.send {
            self.io.reply(packet.meta.nic, packet);
        }
    }
}
