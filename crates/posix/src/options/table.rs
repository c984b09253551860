//! What a row of the [table of options](super::TABLE) says, and the reading of numbers by its rules.

use super::{Direction, Fact, FilterCall, GroupCall, GroupForm};
use crate::Errno;
use crate::kind::OfKind;
use sockeye_stack::{OptionName, SocketType};

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// `SOL_SOCKET`, `IPPROTO_TCP`, …
    pub level: i32,
    /// Its number at that level.
    pub name: i32,
    /// Its name in C.
    pub label: &'static str,
    /// Which sockets have it.
    pub on: On,
    /// The fewest bytes that set it; with fewer it is EINVAL.
    pub least: usize,
    /// Its C type.
    pub value: Type,
    /// What is done about it.
    pub treatment: Treatment,
    /// What else there is to know, for its users.
    pub note: &'static str,
}

/// Which types of socket have an option. (Those of `IPPROTO_IPV6` only exist on INET6 sockets.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// All.
    All,
    /// Stream sockets.
    Stream,
    /// All but stream sockets.
    NotStream,
    /// Datagram sockets, also ping sockets.
    Datagram,
    /// Raw sockets.
    Raw,
    /// UDP sockets.
    Udp,
    /// UDP-Lite sockets.
    UdpLite,
}

impl On {
    /// Whether sockets of this type are among them.
    pub fn includes(self, kind: SocketType) -> bool {
        match self {
            On::All => true,
            On::Stream => kind == SocketType::Stream,
            On::NotStream => kind != SocketType::Stream,
            On::Datagram => {
                matches!(kind, SocketType::Datagram | SocketType::DatagramLite | SocketType::Ping)
            }
            On::Raw => matches!(kind, SocketType::Raw(_)),
            On::Udp => kind == SocketType::Datagram,
            On::UdpLite => kind == SocketType::DatagramLite,
        }
    }
}

/// The C type of an option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// An `int` that is on or off: anything but 0 reads back as 1.
    Flag,
    /// An `int` in a range; EINVAL outside.
    Int(i32, i32),
    /// An `int` in a range, or -1, which gives the default back; EINVAL for others.
    OrDefault(i32, i32),
    /// A structure or text, read by its treatment.
    Field,
}

impl Row {
    /// The number in `value`; none for the default. Too short a value is EINVAL, except that `IPPROTO_IP` takes
    /// one byte for a number, and some options no bytes for 0.
    pub(super) fn read_int(&self, value: &[u8]) -> Result<Option<i32>, Errno> {
        if value.len() < self.least {
            return Err(Errno::EINVAL);
        }
        let number = match (value.first_chunk(), value) {
            (Some(bytes), _) => i32::from_ne_bytes(*bytes),
            (None, [byte, ..]) if self.level == libc::IPPROTO_IP => (*byte).into(),
            (None, _) => 0,
        };
        match self.value {
            Type::Flag => Ok(Some((number != 0).into())),
            Type::OrDefault(..) if number == -1 => Ok(None),
            Type::Int(min, max) | Type::OrDefault(min, max) if !(min..=max).contains(&number) => {
                Err(Errno::EINVAL)
            }
            Type::Int(..) | Type::OrDefault(..) | Type::Field => Ok(Some(number)),
        }
    }
}

/// What is done about an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// The stack acts on it.
    Honoured(OptionName),
    /// Kept here, and acted on by who carries messages between stack and program: it asks for control messages.
    Asks,
    /// Kept and given back; nothing else comes of it.
    Stored {
        /// What it reads as before it is set.
        default: i32,
    },
    /// Setting succeeds, and changes nothing.
    Ignored(Reads),
    /// Setting is ENOPROTOOPT.
    ReadOnly(Reads),
    /// Follows from the kind of socket; setting is ENOPROTOOPT.
    OfKind(OfKind),
    /// Asked of the socket; setting is ENOPROTOOPT.
    Fact(Fact),
    /// `SO_RCVTIMEO`, `SO_SNDTIMEO`.
    Timeout(Direction),
    /// `SO_TIMESTAMP` and its like: one of them at a time.
    Timestamp,
    /// `SO_TIMESTAMPING`: flags that say which times to tell.
    Timestamping,
    /// `SO_BINDTODEVICE`.
    Device,
    /// `SO_PRIORITY`: kept; above 6 needs a capability (EPERM).
    Priority,
    /// `SO_MAX_PACING_RATE` of sockets that aren't paced: kept.
    Rate,
    /// `SO_LINGER` of sockets that have nothing to wait for: kept.
    Linger,
    /// `SO_RCVLOWAT` of datagram sockets: kept.
    LowWater,
    /// `TCP_FASTOPEN`: kept, up to the limit of backlogs.
    Backlog,
    /// `IPV6_MTU`: sets the longest packet of datagrams, reads the MTU towards the peer.
    Mtu,
    /// `IPV6_ADDR_PREFERENCES`: which of a host's addresses is preferred.
    AddressPreferences,
    /// `SO_TXTIME`: a clock and flags.
    TransmitTime,
    /// `IPV6_PKTINFO`: source address and interface of what is sent.
    StickyPacketInfo,
    /// `IPV6_RTHDR` and its like: none, and only none can be set (else this errno).
    OnlyNone(Errno),
    /// Can't be had: this errno unless it switches off what is off.
    Forbidden(Errno, Reads),
    /// What becomes of the socket's filter.
    Filter(FilterCall),
    /// A change of groups, said in this form; getting is ENOPROTOOPT.
    Groups(GroupCall, GroupForm),
    /// Setting answers this errno.
    Refused(Errno, Reads),
}

/// What reading gives where there is nothing to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// This number.
    Int(i32),
    /// A value without any bytes.
    Nothing,
    /// Nothing, but this errno.
    Errno(Errno),
}

/// The fewest bytes that set an option of this level, where its row doesn't say another number.
pub(super) const fn least(level: i32) -> usize {
    if level == libc::IPPROTO_IP { 0 } else { size_of::<i32>() }
}
