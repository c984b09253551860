//! Packets for somebody else, passed on as a router does (RFC 1812 §5, RFC 8200).
//!
//! Super-segments pass whole: the link that can't carry one cuts it. What is judged here is the length that
//! their segments have. IPv6 hop-by-hop options are left alone, as RFC 8200 §4.3 allows, and IPv4 options
//! are carried along.

use crate::address::{is_link_local_v6, is_unspecified, v4_bytes};
use crate::counters::Counter;
use crate::io::Io;
use crate::ip::address::is_multicast;
use crate::ip::complaint::Complaint;
use crate::ip::input::Ingress;
use crate::ip::route::Refusal;
use sockeye_packet::{Batch, Checksum, Instant, NicId, Packet};
use sockeye_wire::{IpLayout, Ipv4Header, incremental_update};

impl Io {
    /// Passes a packet on to where its destination address points, or tells its sender why not.
    pub(crate) fn forward(&mut self, now: Instant, ingress: &Ingress, mut packet: Packet) {
        // RFC 1812 §5.2.2: only the header is verified, the rest is the destination's affair.
        let unverified = ingress.v4 && packet.meta.checksum == Checksum::Unverified;
        if unverified && !Ipv4Header::verify(&packet.head) {
            self.counters.bump(Counter::IpInHdrErrors);
            return;
        }
        if !self.addresses_are_valid(ingress) {
            self.counters.bump(Counter::Martians);
            return;
        }
        if ingress.v4
            && ingress.transport > Ipv4Header::MIN_LEN
            && !self.options_are_fine(now, ingress, &packet)
        {
            return;
        }
        if ingress.nic == NicId::LOOPBACK || is_link_scoped(&ingress.src) || is_link_scoped(&ingress.dst) {
            self.counters.bump(Counter::IpInAddrErrors);
            return;
        }
        // RFC 1812 §5.3.1, RFC 8200 §3.
        if ingress.ttl <= 1 {
            self.counters.bump(Counter::IpInHdrErrors);
            return self.complain(now, ingress, &packet, Complaint::Expired);
        }
        let nic = match self.routes.look_up(&ingress.dst, None) {
            Ok(Some(route)) => route.nic,
            no_way => {
                self.counters.bump(Counter::IpOutNoRoutes);
                // RFC 1812 §5.2.7.1.
                let what = match no_way {
                    Err(Refusal::Blackhole) => return,
                    Err(Refusal::Unreachable) => Complaint::NoHost,
                    Err(Refusal::Prohibit) => Complaint::Prohibited,
                    Ok(_) => Complaint::NoRoute,
                };
                return self.complain(now, ingress, &packet, what);
            }
        };
        let mtu = self.nic(nic).config.mtu;
        if longest_segment(&packet) <= mtu as usize {
            count_down(&mut packet);
            return self.pass_on(nic, packet);
        }
        match may_be_cut(&packet) {
            Cuttable::Yes => {
                count_down(&mut packet);
                for piece in Io::fragment_again(packet, mtu as usize) {
                    self.pass_on(nic, piece);
                }
            }
            Cuttable::Forbidden => {
                self.counters.bump(Counter::IpFragFails);
                self.complain(now, ingress, &packet, Complaint::TooBig { mtu });
            }
            Cuttable::No => self.counters.bump(Counter::IpFragFails),
        }
    }

    fn pass_on(&mut self, nic: NicId, mut packet: Packet) {
        self.counters.bump(Counter::IpForwDatagrams);
        packet.meta.nic = nic;
        // What it says was about the link that it came by.
        packet.meta.next_hop = None;
        if packet.meta.checksum == Checksum::Unfilled {
            self.finish(nic, &mut packet);
        }
        self.reply(nic, packet);
    }

    /// Writes the next hop into the packets of `batch` behind the first `from`, where `nic` asks for it.
    #[inline]
    pub(crate) fn state_next_hops(&self, nic: NicId, batch: &mut Batch, from: usize) {
        if !self.nic(nic).config.states_next_hop {
            return;
        }
        for packet in batch.iter_mut().skip(from) {
            let dst = IpLayout::parse(&packet.head).map(|ip| crate::address::ip_bytes(ip.dst));
            // Groups and everybody are on the link, whatever the default route is.
            let one = |dst: &[u8; 16]| !is_multicast(dst) && !self.addresses.is_broadcast(dst);
            let route = dst.ok().filter(one).and_then(|dst| self.routes.find(&dst, Some(nic)));
            packet.meta.next_hop = route.and_then(|route| route.gateway);
        }
    }
}

/// Whether a router may cut a packet that is too long.
enum Cuttable {
    Yes,
    /// RFC 1191 §3, RFC 8200 §5: the sender is to be told.
    Forbidden,
    /// It could be, but isn't here: options, which only some of the fragments would carry (RFC 791 §3.1), and
    /// super-segments. Or it is a fragment that can be part of no packet, for it ends beyond 65,535 bytes.
    No,
}

fn may_be_cut(packet: &Packet) -> Cuttable {
    match Ipv4Header::parse(&packet.head) {
        Ok((header, _)) if header.dont_fragment => Cuttable::Forbidden,
        Ok((header, len)) => {
            let end = usize::from(header.fragment_offset) + packet.len();
            let plain = len == Ipv4Header::MIN_LEN && packet.meta.gso_size == 0;
            if plain && u16::try_from(end).is_ok() { Cuttable::Yes } else { Cuttable::No }
        }
        Err(_) => Cuttable::Forbidden,
    }
}

/// The length of the longest packet that this one is on a wire.
fn longest_segment(packet: &Packet) -> usize {
    let payload = packet.payload.len();
    let gso_size = usize::from(packet.meta.gso_size);
    packet.head.len() + if gso_size > 0 { payload.min(gso_size) } else { payload }
}

/// Addresses that mean something on one link only (RFC 3927 §7, RFC 4291 §2.5.6), or nowhere.
fn is_link_scoped(address: &[u8; 16]) -> bool {
    match v4_bytes(address) {
        Some([169, 254, ..] | [0 | 240..=255, ..]) => true,
        Some(_) => false,
        None => is_link_local_v6(address) || is_unspecified(address),
    }
}

/// Takes one off the time to live.
fn count_down(packet: &mut Packet) {
    let Packet { head, meta, .. } = packet;
    meta.ttl -= 1;
    if head[0] >> 4 == 6 {
        head[7] = meta.ttl;
        return;
    }
    let protocol = head[9];
    let before = u16::from_be_bytes([head[8], protocol]);
    head[8] = meta.ttl;
    if meta.checksum != Checksum::Unfilled {
        let sum = u16::from_be_bytes([head[10], head[11]]);
        let sum = incremental_update(sum, before, u16::from_be_bytes([meta.ttl, protocol]));
        head[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}
