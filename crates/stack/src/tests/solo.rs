//! One host, and a peer that a test plays segment by segment, in the packet notation.
//!
//! The host is 10.0.0.2, the peer 10.0.0.1 unless a test says otherwise. Sequence numbers of the peer are as
//! they are written; those of the host count from its SYN once it has sent one.

use super::*;
use alloc::string::{String, ToString};
use core::net::Ipv4Addr;
use sockeye_packet::{Checksum, Meta};
use sockeye_wire::{IpLayout, Ipv4Header, LineBody, PacketLine, Protocol, TcpHeader, TcpLine};

pub(super) struct Solo {
    pub(super) stack: Stack,
    pub(super) now: Instant,
    pub(super) peer: Ipv4Addr,
    pub(super) peer_port: u16,
    pub(super) port: u16,
    /// The host's initial sequence number towards this peer, once known.
    pub(super) iss: Option<u32>,
}

impl Solo {
    pub(super) fn new(change: impl FnOnce(&mut Config)) -> Solo {
        let mut config = Config::default();
        change(&mut config);
        let mut stack = Stack::new(config, [2; 32]);
        stack.add_nic(NicConfig::memory("eth0", 1500)).unwrap();
        stack.add_address(LINK, [10, 0, 0, 2].into(), 24).unwrap();
        let (now, peer) = (Instant::from_millis(1000), Ipv4Addr::new(10, 0, 0, 1));
        Solo { stack, now, peer, peer_port: 1000, port: 80, iss: None }
    }

    /// With a listener at port 80.
    pub(super) fn listening(backlog: usize, change: impl FnOnce(&mut Config)) -> (Solo, SocketId) {
        let mut solo = Solo::new(change);
        let listener = stream(&mut solo.stack, addr("10.0.0.2:80"));
        solo.stack.bind(listener, addr("10.0.0.2:80")).unwrap();
        solo.stack.listen(solo.now, listener, backlog).unwrap();
        (solo, listener)
    }

    /// With an accepted connection; the peer's segment size is 1000, its window 50,000, it knows SACK.
    pub(super) fn accepted(change: impl FnOnce(&mut Config)) -> (Solo, SocketId) {
        let (mut solo, listener) = Solo::listening(5, change);
        solo.inject("S 0:0(0) win 50000 <mss 1000,nop,nop,sackOK>");
        solo.inject(". 1:1(0) ack 1 win 50000");
        let (server, _) = solo.stack.accept(solo.now, listener).unwrap();
        (solo, server)
    }

    /// The peer says something; what the host answers at once.
    pub(super) fn inject(&mut self, line: &str) -> Vec<String> {
        let Ok(PacketLine { body: LineBody::Tcp(line), .. }) = line.parse::<PacketLine>() else {
            panic!("{line}");
        };
        let mut header = line.header(self.peer_port, self.port);
        if header.flags.ack() {
            header.ack = header.ack.wrapping_add(self.iss.unwrap_or(0));
        }
        self.send_segment(&header, line.len as usize)
    }

    pub(super) fn send_segment(&mut self, header: &TcpHeader, len: usize) -> Vec<String> {
        let mut bytes = alloc::vec![0; 20 + header.len()];
        let ip = Ipv4Header {
            total_len: (bytes.len() + len) as u16,
            ttl: 64,
            protocol: Protocol::TCP,
            src: self.peer,
            dst: Ipv4Addr::new(10, 0, 0, 2),
            ..Ipv4Header::default()
        };
        ip.emit(&mut bytes);
        header.emit(&mut bytes[20..]);
        bytes.extend((0..len).map(|i| i as u8));
        self.deliver(bytes)
    }

    /// Bytes from the wire.
    pub(super) fn deliver(&mut self, bytes: Vec<u8>) -> Vec<String> {
        let meta = Meta { checksum: Checksum::Unfilled, ..Meta::default() };
        let mut batch = Batch::new();
        batch.push(Packet::from_bytes(&Chunk::from(bytes), meta));
        self.stack.handle_packets(self.now, LINK, &mut batch);
        self.sent()
    }

    /// What the host has sent.
    pub(super) fn sent(&mut self) -> Vec<String> {
        self.packets().iter().filter_map(|packet| self.show(packet)).collect()
    }

    pub(super) fn packets(&mut self) -> Vec<Packet> {
        let (mut batch, mut packets) = (Batch::new(), Vec::new());
        loop {
            self.stack.poll_transmit(self.now, LINK, &mut batch);
            if batch.is_empty() {
                return packets;
            }
            packets.extend(batch.drain());
        }
    }

    fn show(&mut self, packet: &Packet) -> Option<String> {
        let layout = IpLayout::parse(&packet.head).ok()?;
        let (mut header, _) = TcpHeader::parse(&packet.head[layout.transport..]).ok()?;
        if header.flags.syn() {
            self.iss = Some(header.seq);
        }
        header.seq = header.seq.wrapping_sub(self.iss.unwrap_or(0));
        let body = LineBody::Tcp(TcpLine::new(&header, packet.payload.len() as u32));
        Some(PacketLine { endpoints: None, body }.to_string())
    }

    /// Lets time pass, timer by timer; what the host sends meanwhile.
    pub(super) fn pass(&mut self, time: Duration) -> Vec<String> {
        let (until, mut sent) = (self.now + time, Vec::new());
        for _ in 0..ROUNDS {
            match self.stack.poll_timeout().map(|wake| wake.at) {
                Some(at) if at <= until => self.now = self.now.max(at),
                _ => {
                    self.now = until;
                    return sent;
                }
            }
            self.stack.handle_timeout(self.now);
            sent.extend(self.sent());
        }
        panic!("timers fire without end");
    }

    pub(super) fn send(&mut self, id: SocketId, data: &[u8]) -> Vec<String> {
        send(&mut self.stack, self.now, id, data).unwrap();
        self.sent()
    }

    pub(super) fn close(&mut self, id: SocketId) -> Vec<String> {
        self.stack.close(self.now, id).unwrap();
        self.sent()
    }
}
