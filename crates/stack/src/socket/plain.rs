//! Datagrams that need nothing of the layers between their sockets: plain ones, which the owner of two stacks may carry
//! from one to the other itself, as long as neither stack changes, and tell both later.

use crate::address::is_link_local_v6;
use crate::counters::Counter;
use crate::demux::{Proto, Target, Tuple, scope_number};
use crate::ip::address::{Cast, is_multicast};
use crate::ip::input::{Ingress, ecn_counter};
use crate::socket::queue::ENTRY_COST;
use crate::socket::udp::{Udp, skips_checksum};
use crate::socket::{Kind, Message, SocketId, tuple_scope};
use crate::{Datagram, SockAddr, Stack};
use sockeye_packet::NicId;
use sockeye_wire::{Ipv6Header, Protocol, UdpHeader};

/// What a plain datagram has from its sender.
///
/// ```
/// use sockeye_stack::{Config, Domain, NicConfig, Owner, SocketType, Stack};
///
/// let host = |address: &str| {
///     let mut stack = Stack::new(Config::default(), [7; 32]);
///     let nic = stack.add_nic(NicConfig::memory("eth0", 1500)).unwrap();
///     stack.add_address(nic, address.parse().unwrap(), 24).unwrap();
///     (stack, nic)
/// };
/// let ((mut near, _), (mut far, nic)) = (host("10.77.0.2"), host("10.77.0.3"));
/// let ends = [(&mut near, "10.77.0.2:4000"), (&mut far, "10.77.0.3:53")].map(|(stack, address)| {
///     let socket = stack.socket(Domain::Inet, SocketType::Datagram, Owner::default()).unwrap();
///     stack.bind(socket, address.parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
///     socket
/// });
/// let to: std::net::SocketAddr = "10.77.0.3:53".parse().unwrap();
/// let way = near.plain_way(ends[0], Some(to.into())).unwrap();
/// assert_eq!(way.max_len, 1500 - 20 - 8);
/// assert_eq!(far.plain_receiver(nic, &way), Some(ends[1]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainWay {
    /// Who sends.
    pub from: SockAddr,
    /// To whom.
    pub to: SockAddr,
    /// The interface that it leaves by.
    pub nic: NicId,
    /// Its time to live (hop limit).
    pub ttl: u8,
    /// Its type of service (traffic class).
    pub tos: u8,
    /// The most bytes of data that go in one packet.
    pub max_len: usize,
}

/// The sender.
impl Stack {
    /// The way of what a socket sends next, to `to` or its peer, if that is plain: a datagram of UDP to one host, with a
    /// checksum and without options, link-local addresses, errors to be told, or anything that waits to be sent before it. It holds until
    /// something else is asked of this stack than to send such datagrams, or to receive.
    pub fn plain_way(&self, id: SocketId, to: Option<SockAddr>) -> Option<PlainWay> {
        let socket = self.socket_ref(id).ok()?;
        let Kind::Udp(udp) = &socket.kind else { return None };
        let to = match to {
            Some(to) if to.port == 0 => return None,
            Some(to) => self.destination(id, to).ok()?,
            None => socket.peer?,
        };
        if !udp.sends_plainly() || socket.local.port == 0 || skips_checksum(socket, &to) {
            return None;
        }
        if is_multicast(&to.ip) || self.io.addresses.is_broadcast(&to.ip) {
            return None;
        }
        let path = self.udp_path(id, &to, None, None).ok()?;
        // What comes from one has the receiver's scope.
        if is_link_local_v6(&to.ip) || is_link_local_v6(&path.src) {
            return None;
        }
        let nic = &self.io.nic(path.nic);
        let is_quiet = nic.dirty.is_empty() && nic.replies.is_empty();
        let is_seen = !self.io.packet_sockets.is_empty();
        if path.nic == NicId::LOOPBACK || nic.config.states_next_hop || !is_quiet || is_seen {
            return None;
        }
        let mtu = self.datagram_mtu(id, &path, &to).ok()? as usize;
        let ip = self.ip_params(id, &path, &to, Protocol::UDP, &Message::default()).ok()?;
        let headers = UdpHeader::LEN + if to.is_v4() { socket.kind.v4_header_len() } else { Ipv6Header::LEN };
        Some(PlainWay {
            from: SockAddr { ip: path.src, port: socket.local.port, scope: None },
            to,
            nic: path.nic,
            ttl: ip.ttl,
            tos: ip.tos,
            max_len: mtu.checked_sub(headers)?,
        })
    }

    /// Counts plain datagrams that were sent.
    pub fn count_plain_sent(&mut self, count: u64) {
        self.io.counters.add(Counter::UdpOutDatagrams, count);
        self.io.counters.add(Counter::IpOutRequests, count);
    }
}

/// The receiver.
impl Stack {
    /// The socket that gets what comes along a way, if it takes it as it is: the datagram is for this host and for one
    /// socket, and nobody filters or merges it or sees it pass. It holds until something else is asked of this stack than to
    /// receive, and while the socket has no pending error.
    pub fn plain_receiver(&self, nic: NicId, way: &PlainWay) -> Option<SocketId> {
        let PlainWay { from, to, ttl, tos, .. } = *way;
        let ingress = Ingress {
            nic,
            src: from.ip,
            dst: to.ip,
            v4: to.is_v4(),
            cast: self.io.addresses.cast(&to.ip),
            protocol: Protocol::UDP,
            transport: 0,
            fragment: None,
            tos_ecn: tos,
            ttl,
            own: false,
            damaged: false,
        };
        let is_seen = !self.io.packet_sockets.is_empty() || !self.io.raws.is_empty();
        if ingress.cast != Cast::Unicast || ttl == 0 || is_seen || !self.io.addresses_are_valid(&ingress) {
            return None;
        }
        let tuple = Tuple {
            local: to.ip,
            remote: from.ip,
            local_port: to.port,
            remote_port: from.port,
            scope: tuple_scope(&to.ip, &from.ip, nic),
            proto: Proto::Udp,
        };
        let demux = &self.io.demux;
        let scope = scope_number(Some(nic));
        let id = match self.target_of(&tuple) {
            Some(Target::Datagram(id)) => id,
            _ => demux.member(Proto::Udp, &to.ip, to.port, scope, || demux.flow_hash(&tuple))?,
        };
        let takes = matches!(&self.socket_ref(id).ok()?.kind, Kind::Udp(udp) if udp.receives_plainly());
        takes.then_some(id)
    }

    /// What the datagrams that wait for a socket's reader cost, and the cost from which on more of them are dropped. A datagram
    /// costs [`Stack::PLAIN_COST`] and its length.
    pub fn recv_charge(&self, id: SocketId) -> (usize, usize) {
        let queues = self.socket_ref(id).ok().and_then(|socket| socket.kind.queues());
        queues.map_or((0, 0), |queues| (queues.recv_charged, queues.recv_limit))
    }

    /// What a datagram costs that waits for its reader, beside its length.
    pub const PLAIN_COST: usize = ENTRY_COST;

    /// Sets memory aside for plain datagrams that wait outside of the stack; false when less than half of the memory would be
    /// left then.
    pub fn set_aside(&mut self, bytes: usize) -> bool {
        let budget = &mut self.io.budget;
        // So no connection ever waits for what is set aside, and none has to be told when it is given back.
        budget.available() >= budget.used().saturating_add(2 * bytes) && budget.try_charge(bytes)
    }

    /// Gives back what was [set aside](Stack::set_aside).
    pub fn give_back(&mut self, bytes: usize) {
        self.io.budget.release(bytes);
    }

    /// Queues a plain datagram for its reader.
    pub fn queue_plain(&mut self, id: SocketId, datagram: Datagram) {
        self.udp_deliver(id, datagram);
    }

    /// Counts plain datagrams along a way that came for a socket: all, those of them that its reader has got already, and those
    /// that there was no room for.
    pub fn count_plain_received(&mut self, id: SocketId, way: &PlainWay, [all, read, dropped]: [u64; 3]) {
        let counters = &mut self.io.counters;
        for counter in [Counter::IpInReceives, ecn_counter(way.tos), Counter::IpInDelivers] {
            counters.add(counter, all);
        }
        counters.add(Counter::UdpInDatagrams, read);
        counters.add(Counter::UdpRcvbufErrors, dropped);
        counters.add(Counter::UdpInErrors, dropped);
        if let Ok(queues) = self.queues(id) {
            queues.drops = queues.drops.wrapping_add(dropped as u32);
        }
    }
}

impl Udp {
    fn sends_plainly(&self) -> bool {
        let is_gathering = self.corked.is_some() || self.options.cork || self.options.segment > 0;
        self.proto == Proto::Udp && !is_gathering && self.queues.sends_plainly()
    }

    fn receives_plainly(&self) -> bool {
        self.proto == Proto::Udp && !self.options.gro && self.queues.receives_plainly()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Domain, NicConfig, Owner, SocketType};

    #[test]
    fn what_comes_from_a_link_local_address_is_not_plain() {
        for (ours, to, is_plain) in [("fd00::a", "[fd00::b]:9", true), ("fe80::a", "[fe80::b%1]:9", false)] {
            let mut stack = Stack::new(Config::default(), [7; 32]);
            let nic = stack.add_nic(NicConfig::memory("eth0", 1500)).unwrap();
            stack.add_address(nic, ours.parse().unwrap(), 64).unwrap();
            let id = stack.socket(Domain::Inet6, SocketType::Datagram, Owner::default()).unwrap();
            let local = std::net::SocketAddrV6::new(ours.parse().unwrap(), 7, 0, 2);
            stack.bind(id, std::net::SocketAddr::from(local).into()).unwrap();
            let mut to: SockAddr = to.parse::<std::net::SocketAddr>().unwrap().into();
            to.scope = (!is_plain).then_some(nic);
            assert_eq!(stack.plain_way(id, Some(to)).is_some(), is_plain, "{ours}");
        }
    }
}
