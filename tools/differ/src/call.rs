//! What is called: one call of a sequence, in terms that mean the same on both sides.

use std::fmt;
use std::net::IpAddr;

use crate::names;

/// Sockets at a time; a call names one by its place.
pub(crate) const PLACES: usize = 6;
/// Fixed ports of a sequence, counted from the sequence's first.
pub(crate) const PORTS: u16 = 3;

/// A socket's place.
pub(crate) type Place = usize;

/// A port of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// 0: the host picks one.
    Zero,
    /// One of the sequence's own.
    Fixed(u16),
    /// The one that the socket in this place has.
    Of(Place),
}

/// A `struct sockaddr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) family: i32,
    pub(crate) ip: IpAddr,
    pub(crate) port: Port,
    /// The length that is passed, when it isn't the structure's.
    pub(crate) len: Option<usize>,
}

impl Address {
    /// The bytes, with the port that was found for it.
    pub(crate) fn bytes(&self, port: u16) -> Vec<u8> {
        let mut bytes = (self.family as u16).to_ne_bytes().to_vec();
        bytes.extend(port.to_be_bytes());
        match self.ip {
            IpAddr::V4(ip) => {
                bytes.extend(ip.octets());
                bytes.extend([0; 8]);
            }
            IpAddr::V6(ip) => {
                bytes.extend([0; 4]);
                bytes.extend(ip.octets());
                bytes.extend([0; 4]);
            }
        }
        if let Some(len) = self.len {
            bytes.resize(len, 0);
        }
        bytes
    }
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// A socket that doesn't block; what was in the place is closed.
    Socket {
        at: Place,
        domain: i32,
        kind: i32,
        protocol: i32,
    },
    Bind {
        at: Place,
        address: Address,
    },
    Connect {
        at: Place,
        address: Address,
    },
    Listen {
        at: Place,
        backlog: i32,
    },
    /// What was in `into` is closed first.
    Accept {
        at: Place,
        into: Place,
    },
    Send {
        at: Place,
        len: usize,
        /// The first byte.
        first: u8,
        flags: i32,
        to: Option<Address>,
    },
    Receive {
        at: Place,
        room: usize,
        flags: i32,
    },
    Shutdown {
        at: Place,
        how: i32,
    },
    Close {
        at: Place,
    },
    LocalName {
        at: Place,
    },
    PeerName {
        at: Place,
    },
    Set {
        at: Place,
        option: (i32, i32),
        value: Vec<u8>,
    },
    Get {
        at: Place,
        option: (i32, i32),
        room: usize,
    },
    Request {
        at: Place,
        request: u32,
    },
}

impl Call {
    /// The socket that is called upon.
    pub(crate) fn at(&self) -> Place {
        match *self {
            Call::Socket { at, .. }
            | Call::Bind { at, .. }
            | Call::Connect { at, .. }
            | Call::Listen { at, .. }
            | Call::Accept { at, .. }
            | Call::Send { at, .. }
            | Call::Receive { at, .. }
            | Call::Shutdown { at, .. }
            | Call::Close { at }
            | Call::LocalName { at }
            | Call::PeerName { at }
            | Call::Set { at, .. }
            | Call::Get { at, .. }
            | Call::Request { at, .. } => at,
        }
    }

    /// The call's name, with the option's where it is about one: what differences are sorted by.
    pub(crate) fn name(&self) -> String {
        match self {
            Call::Socket { .. } => "socket".into(),
            Call::Bind { .. } => "bind".into(),
            Call::Connect { address, .. } if address.family == libc::AF_UNSPEC => "disconnect".into(),
            Call::Connect { .. } => "connect".into(),
            Call::Listen { .. } => "listen".into(),
            Call::Accept { .. } => "accept".into(),
            Call::Send { to: None, .. } => "send".into(),
            Call::Send { .. } => "sendto".into(),
            Call::Receive { .. } => "recv".into(),
            Call::Shutdown { how, .. } => format!("shutdown({how})"),
            Call::Close { .. } => "close".into(),
            Call::LocalName { .. } => "getsockname".into(),
            Call::PeerName { .. } => "getpeername".into(),
            Call::Set { option, .. } => format!("setsockopt({})", names::option(*option)),
            Call::Get { option, .. } => format!("getsockopt({})", names::option(*option)),
            Call::Request { request, .. } => format!("ioctl({request:#x})"),
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Port::Zero => f.write_str("0"),
            Port::Fixed(number) => write!(f, "P{number}"),
            Port::Of(place) => write!(f, "port of {place}"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]:{}", names::family(self.family), self.ip, self.port)?;
        self.len.map_or(Ok(()), |len| write!(f, " ({len} bytes)"))
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, at) = (self.name(), self.at());
        match self {
            Call::Socket { domain, kind, protocol, .. } => {
                let (domain, kind) = (names::family(*domain), names::kind(*kind));
                write!(f, "{at} = socket({domain}, {kind}, {protocol})")
            }
            Call::Bind { address, .. } | Call::Connect { address, .. } => {
                write!(f, "{name}({at}, {address})")
            }
            Call::Listen { backlog, .. } => write!(f, "listen({at}, {backlog})"),
            Call::Accept { into, .. } => write!(f, "{into} = accept({at})"),
            Call::Send { len, flags, to, .. } => {
                write!(f, "{name}({at}, {len} bytes, {}", names::flags(*flags))?;
                to.map_or(Ok(()), |to| write!(f, ", {to}"))?;
                f.write_str(")")
            }
            Call::Receive { room, flags, .. } => {
                write!(f, "recv({at}, {room} bytes, {})", names::flags(*flags))
            }
            Call::Shutdown { how, .. } => write!(f, "shutdown({at}, {how})"),
            Call::Set { option, value, .. } => {
                write!(f, "setsockopt({at}, {}, {value:?})", names::option(*option))
            }
            Call::Get { option, room, .. } => {
                write!(f, "getsockopt({at}, {}, {room} bytes)", names::option(*option))
            }
            Call::Request { request, .. } => write!(f, "ioctl({at}, {request:#x})"),
            Call::Close { .. } | Call::LocalName { .. } | Call::PeerName { .. } => write!(f, "{name}({at})"),
        }
    }
}
