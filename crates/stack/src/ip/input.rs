//! Packets on their way in: what is checked before a transport sees them (RFC 1122 §3.2.1, RFC 8200).

use crate::Stack;
use crate::address::{ip_bytes, is_unspecified, is_v4};
use crate::counters::Counter;
use crate::io::Io;
use crate::ip::address::{Cast, Ends, is_loopback, is_multicast};
use crate::ip::complaint::Complaint;
use sockeye_packet::{Batch, Checksum, Instant, NicId, Packet};
use sockeye_wire::{
    BadChecksum, Extensions, Fragment, IpLayout, Ipv4Header, Ipv6Header, Protocol, TcpHeader,
    verify_checksums,
};

/// What the internet layer found out about a packet for this host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ingress {
    pub(crate) nic: NicId,
    pub(crate) src: [u8; 16],
    pub(crate) dst: [u8; 16],
    pub(crate) v4: bool,
    pub(crate) cast: Cast,
    pub(crate) protocol: Protocol,
    /// Where the transport header starts in the head.
    pub(crate) transport: usize,
    pub(crate) fragment: Option<Fragment>,
    pub(crate) tos_ecn: u8,
    pub(crate) ttl: u8,
    /// This host sent it, to a group or everybody, and hears it itself.
    pub(crate) own: bool,
    /// Its transport checksum is wrong: only raw sockets get it.
    pub(crate) damaged: bool,
}

impl Ingress {
    fn ends(&self) -> Ends {
        let Ingress { src, dst, nic, v4, .. } = *self;
        Ends { src, dst, nic, v4 }
    }
}

/// What counts packets with these ECN bits (RFC 3168 §5).
pub(crate) fn ecn_counter(tos_ecn: u8) -> Counter {
    match tos_ecn & 3 {
        0 => Counter::IpInNoEctPkts,
        1 => Counter::IpInEct1Pkts,
        2 => Counter::IpInEct0Pkts,
        _ => Counter::IpInCePkts,
    }
}

impl Stack {
    /// Takes in the first packet of a batch, which starts with an IP header, and those that continue it.
    pub(crate) fn input(&mut self, now: Instant, nic: NicId, batch: &mut Batch) {
        if self.express(now, nic, batch) {
            return;
        }
        let Some(mut packet) = batch.pop() else { return };
        self.io.counters.bump(Counter::IpInReceives);
        // What the host sends to groups that it is in comes back here, still marked with the link that it left by.
        let own = nic == NicId::LOOPBACK && packet.meta.nic != NicId::LOOPBACK;
        let nic = if own { packet.meta.nic } else { nic };
        packet.meta.nic = nic;
        packet.meta.received_at = now;
        let Some(ingress) = self.io.check(now, nic, own, &mut packet) else { return };
        self.io.counters.bump(ecn_counter(ingress.tos_ecn));
        let Some(fragment) = ingress.fragment else {
            return self.dispatch(now, &ingress, &mut packet, batch);
        };
        if let Some(mut whole) = self.io.reassemble(now, &ingress, fragment, packet)
            && let Some(ingress) = self.io.check(now, nic, own, &mut whole)
            && ingress.fragment.is_none()
        {
            self.dispatch(now, &ingress, &mut whole, batch);
        }
    }

    fn dispatch(&mut self, now: Instant, ingress: &Ingress, packet: &mut Packet, batch: &mut Batch) {
        self.io.counters.bump(Counter::IpInDelivers);
        let heard = !self.io.raws.is_empty() && self.raw_input(now, ingress, packet);
        if ingress.damaged {
            return self.io.count_bad_checksum(ingress.protocol);
        }
        match ingress.protocol {
            // Each segment is to be heard: none may be coupled with this one.
            Protocol::TCP if !self.io.raws.is_empty() => {
                self.tcp_input(now, ingress, packet, &mut Batch::default());
            }
            Protocol::TCP => self.tcp_input(now, ingress, packet, batch),
            Protocol::UDP | Protocol::UDP_LITE => self.udp_input(now, ingress, core::mem::take(packet)),
            Protocol::ICMP if ingress.v4 => self.icmp_input(now, ingress, core::mem::take(packet)),
            Protocol::ICMPV6 if !ingress.v4 => self.icmp_input(now, ingress, core::mem::take(packet)),
            Protocol::IGMP if ingress.v4 => self.igmp_input(now, ingress, packet),
            Protocol::NO_NEXT_HEADER if !ingress.v4 => {}
            _ if heard => {}
            _ => {
                self.io.counters.bump(Counter::IpInUnknownProtos);
                self.io.complain(now, ingress, packet, Complaint::Protocol);
            }
        }
    }
}

impl Io {
    /// Checks a packet, trims it to the length that it states, and says what it is; `None` drops it.
    fn check(&mut self, now: Instant, nic: NicId, own: bool, packet: &mut Packet) -> Option<Ingress> {
        let Some(ingress) = parse(nic, packet) else {
            self.counters.bump(Counter::IpInHdrErrors);
            return None;
        };
        let known = self.addresses.is_latest(&ingress.ends());
        let cast = if known { Cast::Unicast } else { self.addresses.cast(&ingress.dst) };
        let mut ingress = Ingress { cast, own, ..ingress };
        if cast == Cast::Other && self.config.forwarding && !self.is_interceptable(&ingress) {
            self.forward(now, &ingress, core::mem::take(packet));
            return None;
        }
        // Whether that will do is up to the socket.
        if packet.meta.checksum == Checksum::Unverified && !is_unchecked(&ingress, packet) {
            let payload = packet.payload.chunks().map(AsRef::as_ref);
            match verify_checksums(&packet.head, payload) {
                Ok(()) => packet.meta.checksum = Checksum::Verified,
                // As the kernel: raw sockets get it before anybody looks.
                Err(BadChecksum::Transport(_)) if !self.raws.is_empty() => ingress.damaged = true,
                Err(_) => {
                    self.count_bad_checksum(ingress.protocol);
                    return None;
                }
            }
        }
        if !known && !self.is_for_us(&ingress) {
            return None;
        }
        if ingress.v4
            && ingress.transport > Ipv4Header::MIN_LEN
            && !self.options_are_fine(now, &ingress, packet)
        {
            return None;
        }
        if !ingress.v4 && ingress.transport > Ipv6Header::LEN {
            self.check_extensions(now, &ingress, packet)?;
        }
        Some(ingress)
    }

    /// Whether a packet may be on this wire and is for this host, or for whom flows are held; counts it if not.
    fn is_for_us(&mut self, ingress: &Ingress) -> bool {
        if !self.addresses_are_valid(ingress) {
            self.counters.bump(Counter::Martians);
            return false;
        }
        let for_us = match ingress.cast {
            Cast::Unicast | Cast::Broadcast => true,
            Cast::Multicast => self.multicast.hears(ingress.nic, &ingress.dst),
            Cast::Other => self.is_interceptable(ingress),
        };
        if !for_us {
            self.counters.bump(Counter::IpInAddrErrors);
        } else if ingress.cast == Cast::Unicast {
            self.addresses.set_latest(ingress.ends());
        }
        for_us
    }

    pub(crate) fn count_bad_checksum(&mut self, protocol: Protocol) {
        let (counter, errors) = match protocol {
            Protocol::TCP => (Counter::TcpInCsumErrors, Some(Counter::TcpInErrs)),
            Protocol::UDP | Protocol::UDP_LITE => (Counter::UdpInCsumErrors, Some(Counter::UdpInErrors)),
            Protocol::ICMP | Protocol::ICMPV6 => (Counter::IcmpInCsumErrors, Some(Counter::IcmpInErrors)),
            _ => (Counter::IpInCsumErrors, None),
        };
        self.counters.bump(counter);
        if let Some(errors) = errors {
            self.counters.bump(errors);
        }
    }

    /// Whether a packet for somebody else may belong to a flow.
    fn is_interceptable(&self, ingress: &Ingress) -> bool {
        let Ingress { nic, dst, v4, .. } = ingress;
        // RFC 1122 §3.2.1.3: 0.0.0.0/8 and `::` are no destinations.
        let nowhere = is_unspecified(dst) || *v4 && dst[12] == 0;
        self.flows.are_used() && *nic != NicId::LOOPBACK && !nowhere
    }

    /// RFC 1122 §3.2.1.3, RFC 4291 §2.5–2.7, RFC 6890: addresses that may be on this wire.
    pub(crate) fn addresses_are_valid(&self, ingress: &Ingress) -> bool {
        let Ingress { nic, src, dst, v4, cast, .. } = ingress;
        if is_multicast(src) || self.addresses.is_broadcast(src) || is_v4(src) != *v4 || is_v4(dst) != *v4 {
            return false; // The last two: v4-mapped addresses in an IPv6 packet.
        }
        if *nic == NicId::LOOPBACK || ingress.own {
            return true;
        }
        // Nobody else has our addresses, and loopback addresses don't leave a host.
        if is_loopback(src) || is_loopback(dst) || self.addresses.is_local(src) {
            return false;
        }
        // 0.0.0.0/8 only asks for an address, `::` only whether one is free: neither is for a socket's peer.
        let nobody = is_unspecified(src) || *v4 && src[12] == 0;
        !nobody || *cast == Cast::Broadcast
    }

    /// RFC 8200 §4.2 and §4.4: unknown options that forbid to go on, routes that go on.
    fn check_extensions(&mut self, now: Instant, ingress: &Ingress, packet: &Packet) -> Option<()> {
        let next_header = Protocol(packet.head[6]);
        let extensions = Extensions::parse(next_header, &packet.head[Ipv6Header::LEN..]).ok()?;
        if let Some(routing) = extensions.routing.filter(|routing| routing.segments_left > 0) {
            let pointer = (Ipv6Header::LEN + routing.offset + 2) as u32;
            self.counters.bump(Counter::IpInHdrErrors);
            self.complain(now, ingress, packet, Complaint::Parameter { code: 0, pointer });
            return None;
        }
        if let Some(option) = extensions.unknown_option.filter(|option| option.kind >> 6 != 0) {
            self.counters.bump(Counter::IpInHdrErrors);
            if option.kind >> 6 != 1 {
                let pointer = (Ipv6Header::LEN + option.offset) as u32;
                self.complain(now, ingress, packet, Complaint::Parameter { code: 2, pointer });
            }
            return None;
        }
        self.check_first_fragment(now, ingress, packet)
    }

    /// RFC 7112 §5: the first fragment has all headers, up to that of the transport.
    fn check_first_fragment(&mut self, now: Instant, ingress: &Ingress, packet: &Packet) -> Option<()> {
        let is_first = ingress.fragment.is_some_and(|fragment| fragment.offset == 0 && fragment.more);
        let needed = match ingress.protocol {
            Protocol::TCP => TcpHeader::MIN_LEN,
            Protocol::UDP | Protocol::ICMPV6 => 8,
            _ => 0,
        };
        if is_first && packet.len() < ingress.transport + needed {
            self.counters.bump(Counter::IpInHdrErrors);
            self.complain(now, ingress, packet, Complaint::Parameter { code: 3, pointer: 0 });
            return None;
        }
        Some(())
    }
}

/// Whether a packet is UDP over IPv6 without a checksum, which over IPv4 needs no permission.
pub(crate) fn is_unchecked(ingress: &Ingress, packet: &Packet) -> bool {
    let field = ingress.transport + 6..ingress.transport + 8;
    !ingress.v4
        && ingress.protocol == Protocol::UDP
        && ingress.fragment.is_none()
        && packet.meta.checksum != Checksum::Unfilled
        && packet.head.get(field) == Some(&[0, 0])
}

/// Reads the headers and trims the packet to the length that they state.
fn parse(nic: NicId, packet: &mut Packet) -> Option<Ingress> {
    let layout = IpLayout::parse(&packet.head).ok()?;
    let IpLayout { src, dst, protocol, transport, total_len, fragment } = layout;
    let total_len = if packet.is_beyond_stating() { packet.len() } else { total_len };
    let data = total_len.checked_sub(packet.head.len())?;
    if data > packet.payload.len() {
        return None;
    }
    packet.payload.trim(0, data);
    // Both versions have at least 20 bytes, or they would not have parsed.
    let v4 = packet.head[0] >> 4 == 4;
    let (tos_ecn, ttl) = if v4 {
        (packet.head[1], packet.head[8])
    } else {
        (packet.head[0] << 4 | packet.head[1] >> 4, packet.head[7])
    };
    packet.meta.tos_ecn = tos_ecn;
    packet.meta.ttl = ttl;
    Some(Ingress {
        nic,
        src: ip_bytes(src),
        dst: ip_bytes(dst),
        v4,
        cast: Cast::Other,
        protocol,
        transport,
        fragment,
        tos_ecn,
        ttl,
        own: false,
        damaged: false,
    })
}
