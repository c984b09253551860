//! Sockets: what they are called, what kinds there are, what goes in and out.

pub(crate) mod cork;
pub(crate) mod discover;
pub(crate) mod errors;
pub(crate) mod groups;
pub(crate) mod naming;
pub(crate) mod options;
pub(crate) mod packet;
pub(crate) mod ping;
pub(crate) mod plain;
pub(crate) mod queue;
pub(crate) mod raw;
pub(crate) mod readiness;
pub(crate) mod segments;
pub(crate) mod stage;
pub(crate) mod tcb;
pub(crate) mod tcp;
pub(crate) mod udp;
mod udp_lite;
pub(crate) mod udp_options;

use crate::SockAddr;
use crate::address::is_link_local_v6;
use crate::demux::{Binding, Hold, Tuple, scope_number};
use crate::event::Readiness;
use crate::slab::Key;
use crate::tcp::listener::Listener;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use errors::ErrorQueue;
use options::{IpSettings, TcpSettings};
use packet::PacketSocket;
use raw::Raw;
use sockeye_packet::{Instant, NicId, Payload};
use sockeye_wire::Protocol;
use stage::Stage;
use udp::Udp;

/// A socket of one stack. The id of a closed socket is never used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub(crate) Key);

impl SocketId {
    /// The id as a number, to be kept outside the stack (an epoll token, a table).
    pub fn as_u64(self) -> u64 {
        self.0.as_u64()
    }

    /// The id of a number that [`SocketId::as_u64`] gave. Other numbers are ids of no socket.
    pub fn from_u64(number: u64) -> SocketId {
        SocketId(Key::from_u64(number))
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.as_u64();
        write!(f, "SocketId({}.{})", number as u32, number >> 32)
    }
}

/// The address family of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Domain {
    /// IPv4 (`AF_INET`).
    Inet,
    /// IPv6 (`AF_INET6`); without [`V6Only`](crate::SocketOption::V6Only) it speaks IPv4 too.
    Inet6,
    /// The link layer (`AF_PACKET`): packets as they are on an interface.
    Packet,
}

/// What a socket carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketType {
    /// A TCP stream (`SOCK_STREAM`).
    Stream,
    /// UDP datagrams (`SOCK_DGRAM`).
    Datagram,
    /// UDP-Lite datagrams (`SOCK_DGRAM` with `IPPROTO_UDPLITE`, RFC 3828): their checksum may cover less than all.
    DatagramLite,
    /// ICMP echo messages of the socket's family (`SOCK_DGRAM` with `IPPROTO_ICMP` or `IPPROTO_ICMPV6`): sends
    /// requests, whole from the ICMP header on, and receives the replies to them.
    Ping,
    /// Packets of one protocol over IP (`SOCK_RAW`, raw(7)). 255 only sends, and with a header of the program's.
    Raw(Protocol),
    /// All packets of the interfaces (packet(7)), in [`Domain::Packet`].
    Packet {
        /// `SOCK_DGRAM`: without the link's header.
        cooked: bool,
        /// The Ethernet protocol to receive, [`ALL`](SocketType::ALL) of them, or 0 for none until it is bound.
        ethertype: u16,
    },
}

impl SocketType {
    /// All Ethernet protocols, also what the host itself sends (`ETH_P_ALL`).
    pub const ALL: u16 = 3;
}

/// Who owns a socket: for the same-user rule of `SO_REUSEPORT` and for tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Process id.
    pub pid: u32,
    /// A number that the owner of the stack chooses.
    pub cookie: u64,
}

/// Which direction to shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shutdown {
    /// Nothing more is received.
    Read,
    /// Nothing more is sent: the peer sees end of file.
    Write,
    /// Both.
    Both,
}

impl Shutdown {
    /// Whether receiving ends.
    pub const fn read(self) -> bool {
        matches!(self, Shutdown::Read | Shutdown::Both)
    }

    /// Whether sending ends.
    pub const fn write(self) -> bool {
        matches!(self, Shutdown::Write | Shutdown::Both)
    }
}

/// How to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendFlags {
    /// `MSG_MORE`: more follows, don't send a small segment yet; of a datagram, its rest.
    pub more: bool,
    /// `MSG_OOB`: the last byte is urgent.
    pub oob: bool,
    /// `MSG_EOR`: the last byte ends a record; what follows is in other segments.
    pub eor: bool,
    /// `MSG_DONTROUTE`: only to hosts on an attached network.
    pub dont_route: bool,
}

/// Where one datagram goes and how, as sendmsg(2) says it with control messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The destination; none for the peer the socket is connected to.
    pub to: Option<SockAddr>,
    /// The address of this host to send from (`IP_PKTINFO`); none for the socket's, or the route's.
    pub source: Option<IpAddr>,
    /// The interface to send by (`IP_PKTINFO`); none for the socket's, or the route's. That of a scoped address
    /// goes before it.
    pub nic: Option<NicId>,
    /// The time to live (hop limit); none for the socket's.
    pub ttl: Option<u8>,
    /// The type of service (traffic class); none for the socket's.
    pub tos: Option<u8>,
    /// Bytes of each datagram that the message is cut into (`UDP_SEGMENT`), 0 for one whole; none for the socket's.
    pub segment_size: Option<u16>,
    /// `MSG_MORE`: the rest of the datagram follows in other messages, which all go where this one goes.
    pub more: bool,
}

/// How to receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecvFlags {
    /// `MSG_PEEK`: leave it in the queue.
    pub peek: bool,
    /// `MSG_OOB`: the urgent byte.
    pub oob: bool,
}

/// One datagram as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// What it carries, whole.
    pub payload: Payload,
    /// Who sent it.
    pub from: SockAddr,
    /// Where it was sent to: an address of this host, a group or a broadcast address.
    pub to: SockAddr,
    /// The interface it came in by.
    pub nic: NicId,
    /// Its time to live (hop limit).
    pub ttl: u8,
    /// Its type of service (traffic class).
    pub tos: u8,
    /// When it came in.
    pub received_at: Instant,
    /// Datagrams that the socket had no room for, up to the arrival of this one; the count wraps around
    /// (`SO_RXQ_OVFL`).
    pub dropped: u32,
    /// Of several datagrams that are read as one (`UDP_GRO`): the bytes of each, the last of which may be shorter.
    /// 0 for a datagram as it came.
    pub segment_size: u16,
    /// What the link layer says of it; only on packet sockets.
    pub link: Option<LinkInfo>,
}

/// What the link layer says of a packet (`struct sockaddr_ll`, `struct tpacket_auxdata`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// The Ethernet protocol (`sll_protocol`), in host order.
    pub ethertype: u16,
    /// The type of the interface (`sll_hatype`).
    pub hardware: Hardware,
    /// Whom the packet is for (`sll_pkttype`).
    pub direction: Direction,
    /// The hardware address that it comes from (`sll_addr`).
    pub source: [u8; 6],
    /// Length of the packet before it was cut by a filter, in bytes.
    pub len: u32,
    /// Where the network header starts in the datagram.
    pub network: u16,
    /// Whether the transport's checksum is not in the packet: it never leaves memory.
    pub checksum_unfilled: bool,
    /// Of a super-segment, the bytes of payload of each segment that it is cut into further on; else 0.
    pub segment_size: u16,
}

/// What interfaces there are, as packet sockets see them (`ARPHRD_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hardware {
    /// The loopback: 14 bytes of Ethernet header before each packet, with addresses of zeros.
    Loopback,
    /// All others: Ethernet, as far as programs can see.
    Ethernet,
}

impl Hardware {
    /// The number that Linux has for it.
    pub const fn number(self) -> u16 {
        match self {
            Hardware::Loopback => 772,
            Hardware::Ethernet => 1,
        }
    }
}

/// Whom a packet is for, seen from the link (`PACKET_*` in packet(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// This host.
    Host,
    /// All hosts of the link.
    Broadcast,
    /// A group.
    Multicast,
    /// Another host.
    OtherHost,
    /// Another host, and sent by this one.
    Outgoing,
}

impl Direction {
    /// The number that Linux has for it.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// What every socket has, and what its kind adds.
///
/// Laid out as it stands here, without gaps: what every segment of a connection looks at comes first and lies together,
/// for among many sockets each cache line is one more to wait for.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Socket {
    pub(crate) kind: Kind,
    /// Reports of errors, while there are any.
    pub(crate) errors: Option<Box<ErrorQueue>>,
    /// The listener in whose queue this socket waits to be accepted.
    pub(crate) parent: Option<SocketId>,
    /// The readiness that was last looked at: what it gains is an event.
    pub(crate) announced: Readiness,
    /// Whether the socket is in the ready list.
    pub(crate) listed: bool,
    pub(crate) domain: Domain,
    /// The local address was named by its user (or is that of a connection to a socket where it was), who keeps it
    /// beyond a connection.
    pub(crate) named_ip: bool,
    /// Of a stream socket: what its user has done with it, and what it keeps without a connection.
    pub(crate) stage: Stage,
    pub(crate) local: SockAddr,
    pub(crate) peer: Option<SockAddr>,
    pub(crate) settings: IpSettings,
    pub(crate) owner: Owner,
    /// What it holds of its local port. A connection holds for itself: it outlives its socket.
    /// Boxed, for most sockets have a connection.
    pub(crate) bound: Option<Box<(Binding, Hold)>>,
}

/// What a socket is at the moment.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A datagram socket: of UDP, or a ping socket.
    Udp(Box<Udp>),
    /// A raw socket.
    Raw(Box<Raw>),
    /// A packet socket.
    Packet(Box<PacketSocket>),
    /// A stream socket that neither listens nor connects.
    Idle(Arc<TcpSettings>),
    /// A stream socket that accepts connections.
    Listener(Box<Listener>),
    /// A stream socket with a connection, in whatever state.
    Connection(Key),
}

impl Kind {
    /// The four-tuple whose datagrams the socket gets.
    pub(crate) fn tuple(&self) -> Option<&Tuple> {
        match self {
            Kind::Udp(udp) => udp.tuple.as_ref(),
            _ => None,
        }
    }
}

impl Socket {
    /// The local address of a socket that has none.
    pub(crate) fn unspecified(domain: Domain) -> SockAddr {
        match domain {
            Domain::Inet | Domain::Packet => SockAddr::UNSPECIFIED_V4,
            Domain::Inet6 => SockAddr::UNSPECIFIED_V6,
        }
    }

    pub(crate) fn new(domain: Domain, owner: Owner, kind: Kind) -> Socket {
        Socket {
            owner,
            domain,
            local: Socket::unspecified(domain),
            peer: None,
            bound: None,
            settings: IpSettings::default(),
            parent: None,
            announced: Readiness::EMPTY,
            listed: false,
            stage: Stage::default(),
            named_ip: false,
            errors: None,
            kind,
        }
    }
}

/// The scope that the four-tuple of a flow on `nic` has: link-local addresses belong to their link.
pub(crate) fn tuple_scope(local: &[u8; 16], remote: &[u8; 16], nic: NicId) -> u16 {
    let needs_scope = is_link_local_v6(remote) || is_link_local_v6(local);
    if needs_scope { scope_number(Some(nic)) } else { 0 }
}

/// An address as a socket's user sees it: link-local ones with their link.
pub(crate) fn scoped(ip: [u8; 16], port: u16, nic: NicId) -> SockAddr {
    SockAddr { ip, port, scope: is_link_local_v6(&ip).then_some(nic) }
}

/// Where packets to the unspecified address go: to this host, as in the kernel.
pub(crate) fn local_host(domain: Domain, addr: &SockAddr) -> SockAddr {
    let v4 = domain == Domain::Inet || addr.is_v4();
    let host: IpAddr = if v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    SockAddr::new(host, addr.port)
}
