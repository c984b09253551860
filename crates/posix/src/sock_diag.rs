//! The memory layout of the messages by which programs ask for a list of sockets (`NETLINK_SOCK_DIAG`, `sock_diag(7)`;
//! `linux/inet_diag.h`, `linux/packet_diag.h`, `linux/netlink_diag.h`). The bytes come from a program and are never
//! trusted.

use crate::address::interface_index;
use core::net::{Ipv4Addr, Ipv6Addr};
use sockeye_stack::{Domain, SockAddr, TcpState};

/// `SOCK_DIAG_BY_FAMILY`: asks for one socket, or all.
pub const BY_FAMILY: u16 = 20;
/// `SOCK_DESTROY`: ends one.
pub const DESTROY: u16 = 21;

/// `TCP_LISTEN`.
pub const LISTEN: u8 = 10;
/// `TCP_BOUND_INACTIVE`: asks for sockets that have a port and nothing else.
pub const BOUND_INACTIVE: u8 = 13;

/// Attributes of a request about TCP and UDP sockets (`INET_DIAG_REQ_*`).
pub mod request {
    /// The filter.
    pub const BYTECODE: u16 = 1;
    /// The protocol, where it has more than 8 bits.
    pub const PROTOCOL: u16 = 3;
}

/// Attributes of an answer (`INET_DIAG_*`). Those up to 8 are asked for by a bit each: number 1 by the lowest.
#[allow(missing_docs, reason = "they are named as in C")]
pub mod attribute {
    pub const MEMINFO: u16 = 1;
    pub const INFO: u16 = 2;
    pub const CONG: u16 = 4;
    pub const TOS: u16 = 5;
    pub const TCLASS: u16 = 6;
    pub const SKMEMINFO: u16 = 7;
    pub const SHUTDOWN: u16 = 8;
    pub const PROTOCOL: u16 = 10;
    pub const SKV6ONLY: u16 = 11;
    pub const CLASS_ID: u16 = 17;
    pub const SOCKOPT: u16 = 22;
}

/// The number of a state, as `idiag_state` and `tcpi_state` have it.
pub fn state_number(state: TcpState) -> u8 {
    match state {
        TcpState::Established => 1,
        TcpState::SynSent => 2,
        TcpState::SynReceived => 3,
        TcpState::FinWait1 => 4,
        TcpState::FinWait2 => 5,
        TcpState::TimeWait => 6,
        TcpState::Closed => 7,
        TcpState::CloseWait => 8,
        TcpState::LastAck => 9,
        TcpState::Closing => 11,
    }
}

/// A `struct inet_diag_sockid`: both ends of a socket, its interface and its cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketIdentity {
    /// The local port.
    pub local_port: u16,
    /// The peer's port.
    pub peer_port: u16,
    /// The local address: an IPv4 address is in the first four bytes.
    pub local: [u8; 16],
    /// The peer's address.
    pub peer: [u8; 16],
    /// The interface it is bound to, or 0.
    pub interface: u32,
    /// What tells it from others with the same addresses.
    pub cookie: u64,
}

impl SocketIdentity {
    /// Size of the structure in bytes.
    const SIZE: usize = 48;
    /// The cookie of a request that doesn't care for it (`INET_DIAG_NOCOOKIE`).
    pub const ANY_COOKIE: u64 = u64::MAX;

    /// That of a socket of this family.
    pub fn new(domain: Domain, local: SockAddr, peer: Option<SockAddr>) -> SocketIdentity {
        let peer = peer.unwrap_or(SockAddr { ip: [0; 16], ..SockAddr::UNSPECIFIED_V6 });
        let address = |addr: SockAddr| match domain {
            Domain::Inet6 => addr.ip,
            Domain::Inet | Domain::Packet => {
                let mut bytes = [0; 16];
                bytes[..4].copy_from_slice(&addr.ip[12..]);
                bytes
            }
        };
        SocketIdentity {
            local_port: local.port,
            peer_port: peer.port,
            local: address(local),
            peer: address(peer),
            interface: local.scope.map_or(0, interface_index),
            cookie: 0,
        }
    }

    fn parse(bytes: &[u8; Self::SIZE]) -> SocketIdentity {
        let array = |at: usize| bytes[at..].first_chunk().copied().unwrap_or_default();
        SocketIdentity {
            local_port: u16::from_be_bytes([bytes[0], bytes[1]]),
            peer_port: u16::from_be_bytes([bytes[2], bytes[3]]),
            local: array(4),
            peer: array(20),
            interface: word(bytes, 36),
            cookie: u64::from(word(bytes, 40)) | u64::from(word(bytes, 44)) << 32,
        }
    }

    fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..2].copy_from_slice(&self.local_port.to_be_bytes());
        bytes[2..4].copy_from_slice(&self.peer_port.to_be_bytes());
        bytes[4..20].copy_from_slice(&self.local);
        bytes[20..36].copy_from_slice(&self.peer);
        bytes[36..40].copy_from_slice(&self.interface.to_ne_bytes());
        bytes[40..44].copy_from_slice(&(self.cookie as u32).to_ne_bytes());
        bytes[44..].copy_from_slice(&((self.cookie >> 32) as u32).to_ne_bytes());
        bytes
    }

    /// The addresses, of this family, as those of a stack's sockets.
    pub fn addresses(&self, domain: Domain) -> [SockAddr; 2] {
        let address = |ip: &[u8; 16], port| match domain {
            Domain::Inet6 => SockAddr::new(Ipv6Addr::from(*ip).into(), port),
            Domain::Inet | Domain::Packet => {
                SockAddr::new(Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3]).into(), port)
            }
        };
        [address(&self.local, self.local_port), address(&self.peer, self.peer_port)]
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_ne_bytes(*word))
}

/// A `struct inet_diag_req_v2`: which sockets somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InetRequest {
    /// `AF_INET` or `AF_INET6`.
    pub family: u8,
    /// The protocol.
    pub protocol: u8,
    /// Attributes that are wanted, a bit each.
    pub wanted: u8,
    /// The protocol of a raw socket that is asked for alone.
    pub raw_protocol: u8,
    /// States that are wanted, a bit each.
    pub states: u32,
    /// The socket, or ports that all have.
    pub id: SocketIdentity,
}

impl InetRequest {
    /// Size of the structure in bytes; attributes follow it.
    pub const SIZE: usize = 56;

    /// Reads the structure; none when there is less of it.
    pub fn parse(bytes: &[u8]) -> Option<InetRequest> {
        let bytes: &[u8; Self::SIZE] = bytes.first_chunk()?;
        let id = SocketIdentity::parse(bytes[8..].first_chunk()?);
        let [family, protocol, wanted, raw_protocol, ..] = *bytes;
        Some(InetRequest { family, protocol, wanted, raw_protocol, states: word(bytes, 4), id })
    }

    /// Whether an attribute is wanted.
    pub fn wants(&self, attribute: u16) -> bool {
        self.wanted & 1 << (attribute - 1) != 0
    }
}

/// A `struct inet_diag_msg`: a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InetMessage {
    /// `AF_INET` or `AF_INET6`.
    pub family: u8,
    /// Its state, [`LISTEN`] or a [`state_number`].
    pub state: u8,
    /// What it waits for; 0 for nothing.
    pub timer: u8,
    /// How often it did so in vain.
    pub tries: u8,
    /// Who it is.
    pub id: SocketIdentity,
    /// When the timer is due, in milliseconds.
    pub expires: u32,
    /// Bytes to be read, or connections to be accepted.
    pub recv_queue: u32,
    /// Bytes to be sent, or the most connections that may wait.
    pub send_queue: u32,
    /// The user who made it.
    pub uid: u32,
    /// Its number in `/proc/PID/fd`; 0 for one that no process has.
    pub inode: u32,
}

impl InetMessage {
    /// Size of the structure in bytes; attributes follow it.
    pub const SIZE: usize = 72;

    /// The structure as it lies in memory.
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&[self.family, self.state, self.timer, self.tries]);
        bytes[4..52].copy_from_slice(&self.id.to_bytes());
        let words = [self.expires, self.recv_queue, self.send_queue, self.uid, self.inode];
        for (place, word) in bytes[52..].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }
}

/// A `struct packet_diag_req`, and a `struct netlink_diag_req`, which has the same fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherRequest {
    /// The protocol; 255 is all of a netlink request, a packet request must have 0.
    pub protocol: u8,
    /// The inode of the socket that is asked for alone.
    pub inode: u32,
    /// What is to be shown, a bit each.
    pub show: u32,
    /// Its cookie.
    pub cookie: u64,
}

impl OtherRequest {
    /// Size of the structure in bytes.
    pub const SIZE: usize = 20;

    /// Reads the structure; none when there is less of it.
    pub fn parse(bytes: &[u8]) -> Option<OtherRequest> {
        let bytes: &[u8; Self::SIZE] = bytes.first_chunk()?;
        let cookie = u64::from(word(bytes, 12)) | u64::from(word(bytes, 16)) << 32;
        Some(OtherRequest { protocol: bytes[1], inode: word(bytes, 4), show: word(bytes, 8), cookie })
    }
}

/// A `struct packet_diag_msg`: a packet socket.
pub fn packet_message(kind: u8, ethertype: u16, inode: u32, cookie: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&[libc::AF_PACKET as u8, kind]);
    bytes[2..4].copy_from_slice(&ethertype.to_ne_bytes());
    bytes[4..8].copy_from_slice(&inode.to_ne_bytes());
    bytes[8..].copy_from_slice(&cookie.to_ne_bytes());
    bytes
}

/// A `struct netlink_diag_msg`: a netlink socket, at its port and what it is connected to.
pub fn netlink_message(
    [kind, protocol, state]: [u8; 3],
    [port, peer_port, peer_groups]: [u32; 3],
    inode: u32,
    cookie: u64,
) -> [u8; 28] {
    let mut bytes = [0; 28];
    bytes[..4].copy_from_slice(&[libc::AF_NETLINK as u8, kind, protocol, state]);
    for (place, word) in bytes[4..20].chunks_exact_mut(4).zip([port, peer_port, peer_groups, inode]) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    bytes[20..].copy_from_slice(&cookie.to_ne_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_they_lie_in_memory() {
        let mut bytes = [0; 56];
        bytes[..8].copy_from_slice(&[2, 6, 0b10, 0, 0xff, 0x0f, 0, 0]);
        bytes[8..12].copy_from_slice(&[0, 80, 1, 187]);
        bytes[12..16].copy_from_slice(&[10, 0, 0, 1]);
        bytes[28..32].copy_from_slice(&[10, 0, 0, 2]);
        bytes[44..].copy_from_slice(&[2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        let request = InetRequest::parse(&bytes).unwrap();
        assert_eq!((request.family, request.protocol, request.states), (2, 6, 0xfff));
        assert!(request.wants(attribute::INFO) && !request.wants(attribute::MEMINFO));
        let [local, peer] = request.id.addresses(Domain::Inet);
        assert_eq!((local.to_string(), peer.to_string()), ("10.0.0.1:80".into(), "10.0.0.2:443".into()));
        assert_eq!((request.id.interface, request.id.cookie), (2, SocketIdentity::ANY_COOKIE));
        assert_eq!(request.id.to_bytes()[..], bytes[8..]);
        assert_eq!(InetRequest::parse(&bytes[..55]), None);
    }

    #[test]
    fn an_identity_has_addresses_of_its_family() {
        let addr = |text: &str| text.parse::<core::net::SocketAddr>().unwrap().into();
        let v4 = SocketIdentity::new(Domain::Inet, addr("1.2.3.4:5"), None);
        assert_eq!((v4.local[..5].to_vec(), v4.peer, v4.peer_port), (vec![1, 2, 3, 4, 0], [0; 16], 0));
        let mapped = SocketIdentity::new(Domain::Inet6, addr("1.2.3.4:5"), Some(addr("[::1]:6")));
        assert_eq!(mapped.local[10..], [0xff, 0xff, 1, 2, 3, 4]);
        assert_eq!(mapped.addresses(Domain::Inet6), [addr("1.2.3.4:5"), addr("[::1]:6")]);
    }

    #[test]
    fn messages_lie_as_in_linux() {
        let message =
            InetMessage { state: 10, expires: 1, recv_queue: 2, inode: 9, ..InetMessage::default() };
        let bytes = message.to_bytes();
        assert_eq!((bytes[1], bytes[52], bytes[56], bytes[68]), (10, 1, 2, 9));
        assert_eq!(packet_message(3, 0x0800, 7, 0)[..8], [17, 3, 0, 8, 7, 0, 0, 0]);
        assert_eq!(netlink_message([3, 4, 1], [5, 0, 0], 6, 0)[..8], [16, 3, 4, 1, 5, 0, 0, 0]);
        assert_eq!(netlink_message([3, 4, 1], [5, 0, 0], 6, 0)[16], 6);
        let mut request = [0; 20];
        (request[1], request[4], request[8]) = (255, 3, 1);
        let request = OtherRequest::parse(&request).unwrap();
        assert_eq!((request.protocol, request.inode, request.show, request.cookie), (255, 3, 1, 0));
    }
}
