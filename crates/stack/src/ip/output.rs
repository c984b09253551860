//! Packets on their way out: the IP header around a transport header and its data.

use crate::address::v4_bytes;
use crate::demux::{Demux, Tuple};
use crate::io::Io;
use core::net::{Ipv4Addr, Ipv6Addr};
use sockeye_packet::{Checksum, Meta, NicId, Packet, Payload};
use sockeye_wire::{Ipv4Header, Ipv6Header, Protocol, TcpHeader, UdpHeader, fill_checksums};

/// What an IP header says, in either version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IpParams {
    pub(crate) src: [u8; 16],
    pub(crate) dst: [u8; 16],
    pub(crate) protocol: Protocol,
    pub(crate) ttl: u8,
    /// Type of service or traffic class with the ECN bits.
    pub(crate) tos: u8,
    /// IPv4 only: routers may not fragment it.
    pub(crate) dont_fragment: bool,
    /// IPv6 only.
    pub(crate) flow_label: u32,
}

impl IpParams {
    /// The params of packets of a flow: sent by its local end. The flow label is a hash (RFC 6437 §3).
    pub(crate) fn of_flow(demux: &Demux, tuple: &Tuple, ttl: u8, tos: u8) -> IpParams {
        let Tuple { local, remote, proto, .. } = *tuple;
        let flow_label =
            if v4_bytes(&local).is_some() { 0 } else { demux.flow_hash(tuple) as u32 & 0xf_ffff };
        IpParams {
            src: local,
            dst: remote,
            protocol: Protocol(proto as u8),
            ttl,
            tos,
            dont_fragment: true,
            flow_label,
        }
    }

    /// Length of the IP header.
    #[inline]
    pub(crate) fn header_len(&self) -> usize {
        if v4_bytes(&self.dst).is_some() { Ipv4Header::MIN_LEN } else { Ipv6Header::LEN }
    }

    /// Writes the IP header in front of `behind` bytes.
    #[inline]
    pub(crate) fn emit(&self, head: &mut [u8], behind: usize, id: u16) -> usize {
        let IpParams { src, dst, protocol, ttl, tos, dont_fragment, flow_label } = *self;
        match (v4_bytes(&src), v4_bytes(&dst)) {
            (Some(src), Some(dst)) => Ipv4Header {
                tos_ecn: tos,
                total_len: Packet::stated_len(Ipv4Header::MIN_LEN + behind, 0),
                // RFC 6864 §4.1: the id of a packet that can't be fragmented means nothing.
                id: if dont_fragment { 0 } else { id },
                dont_fragment,
                ttl,
                protocol,
                src: Ipv4Addr::from(src),
                dst: Ipv4Addr::from(dst),
                ..Ipv4Header::default()
            }
            .emit(head),
            _ => Ipv6Header {
                traffic_class: tos,
                flow_label,
                payload_len: Packet::stated_len(Ipv6Header::LEN + behind, Ipv6Header::LEN),
                next_header: protocol,
                hop_limit: ttl,
                src: Ipv6Addr::from(src),
                dst: Ipv6Addr::from(dst),
            }
            .emit(head),
        }
    }
}

impl Io {
    /// A packet for `nic`. `emit` writes the transport header, with its checksum zero.
    fn packet(
        &mut self,
        nic: NicId,
        ip: &IpParams,
        transport_len: usize,
        payload: Payload,
        emit: impl FnOnce(&mut [u8]),
    ) -> Packet {
        let mut packet = Packet::default();
        self.fill_packet(&mut packet, nic, ip, transport_len, payload, emit);
        packet
    }

    /// The same in place, for hot paths: `packet` is an empty one.
    #[inline]
    fn fill_packet(
        &mut self,
        packet: &mut Packet,
        nic: NicId,
        ip: &IpParams,
        transport_len: usize,
        payload: Payload,
        emit: impl FnOnce(&mut [u8]),
    ) {
        let header_len = ip.header_len();
        let id = if ip.dont_fragment { 0 } else { self.rng.next_u32() as u16 };
        let behind = transport_len + payload.len();
        packet.payload = payload;
        packet.meta = Meta {
            nic,
            checksum: Checksum::Unfilled,
            tos_ecn: ip.tos,
            ttl: ip.ttl,
            flow_label: ip.flow_label,
            ..Meta::default()
        };
        packet.head.lengthen(header_len + transport_len);
        ip.emit(&mut packet.head, behind, id);
        emit(&mut packet.head[header_len..]);
    }

    /// Fills the checksums of a packet if its link wants them.
    #[inline]
    pub(crate) fn finish(&self, nic: NicId, packet: &mut Packet) {
        // A super-segment's checksums are filled where it is cut.
        if self.nic(nic).config.checksums && packet.meta.gso_size == 0 {
            fill(packet);
        }
    }

    /// A TCP segment. `gso_size` is that of a super-segment, or 0.
    pub(crate) fn tcp_packet(
        &mut self,
        nic: NicId,
        ip: &IpParams,
        header: &TcpHeader,
        payload: Payload,
        gso_size: u16,
    ) -> Packet {
        let mut packet = Packet::default();
        self.fill_tcp_packet(&mut packet, nic, ip, header, payload, gso_size);
        packet
    }

    /// The same in place: `packet` is an empty one.
    #[inline]
    pub(crate) fn fill_tcp_packet(
        &mut self,
        packet: &mut Packet,
        nic: NicId,
        ip: &IpParams,
        header: &TcpHeader,
        payload: Payload,
        gso_size: u16,
    ) {
        self.fill_packet(packet, nic, ip, header.len(), payload, |out| {
            header.emit(out);
        });
        packet.meta.gso_size = gso_size;
        self.finish(nic, packet);
    }

    /// A UDP datagram, whole: it may be longer than the MTU.
    pub(crate) fn udp_packet(
        &mut self,
        nic: NicId,
        ip: &IpParams,
        ports: (u16, u16),
        payload: Payload,
    ) -> Packet {
        let len = (UdpHeader::LEN + payload.len()) as u16;
        self.udp_lite_packet(nic, ip, ports, len, payload)
    }

    /// A UDP-Lite datagram whose checksum covers `len` bytes of it (0 for all); of a UDP datagram that is its length.
    pub(crate) fn udp_lite_packet(
        &mut self,
        nic: NicId,
        ip: &IpParams,
        ports: (u16, u16),
        len: u16,
        payload: Payload,
    ) -> Packet {
        let mut packet = self.unfinished_udp_packet(nic, ip, ports, len, payload);
        self.finish(nic, &mut packet);
        packet
    }

    /// A UDP datagram without a checksum.
    pub(crate) fn unchecked_udp_packet(
        &mut self,
        nic: NicId,
        ip: &IpParams,
        ports: (u16, u16),
        payload: Payload,
    ) -> Packet {
        let len = (UdpHeader::LEN + payload.len()) as u16;
        let mut packet = self.unfinished_udp_packet(nic, ip, ports, len, payload);
        // Nobody is to fill it in on the way.
        packet.meta.checksum = Checksum::Verified;
        packet
    }

    /// A UDP datagram with this in its length field, of whose checksum nothing is said yet.
    fn unfinished_udp_packet(
        &mut self,
        nic: NicId,
        ip: &IpParams,
        (src_port, dst_port): (u16, u16),
        len: u16,
        payload: Payload,
    ) -> Packet {
        self.packet(nic, ip, UdpHeader::LEN, payload, |out| {
            UdpHeader { src_port, dst_port, len }.emit(out);
        })
    }

    /// An ICMP message with an eight-byte header.
    pub(crate) fn icmp_packet(
        &mut self,
        nic: NicId,
        ip: &IpParams,
        header: [u8; 8],
        payload: Payload,
    ) -> Packet {
        let mut packet = self.packet(nic, ip, header.len(), payload, |out| out.copy_from_slice(&header));
        self.finish(nic, &mut packet);
        packet
    }
}

/// Fills a packet's checksums now.
pub(crate) fn fill(packet: &mut Packet) {
    let Packet { head, payload, meta } = packet;
    fill_checksums(head, payload.chunks().map(AsRef::as_ref));
    meta.checksum = Checksum::Verified;
}
