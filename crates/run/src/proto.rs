//! What a supervisor and its network say to each other: a program's call with all that it points to, and
//! what is to become of it.
//!
//! The supervisor alone reaches into processes: it reads a call's arguments, once, and sends them as a
//! [`Request`]; the network alone has sockets, and answers with an [`Outcome`]. In a private network both are
//! one process and these are plain function arguments; in a named one they are the messages of the control
//! socket ([`crate::control`]), with descriptors beside them. Whoever decodes them trusts nothing in them.

use crate::sockets::SocketKey;
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A supervisor at its network. The one in the network's own process is [`MemberId::LOCAL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MemberId(pub(crate) u32);

impl MemberId {
    pub(crate) const LOCAL: MemberId = MemberId(0);
}

/// Which socket a descriptor is, however many duplicates of it there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Identity {
    /// The kernel's cookie (`SO_COOKIE`), which is never used again.
    Cookie(u64),
    /// The inode, where descriptors of another process can't be duplicated: it may be used again.
    Inode(u64),
}

/// What kind of socket an [`Identity`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Class {
    /// None of the network's.
    Other,
    /// A stream socket.
    Stream,
    /// A datagram socket.
    Datagram,
    /// A route socket.
    Netlink,
}

/// One call on one socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The calling thread, as the supervisor numbers it.
    pub(crate) tid: u32,
    /// The number of the descriptor there.
    pub(crate) fd: i32,
    /// The socket that the descriptor names; none for `socket`.
    pub(crate) identity: Option<Identity>,
    /// The socket that the call has waited for, if it has.
    pub(crate) waited_for: Option<SocketKey>,
    /// The call.
    pub(crate) op: Op,
}

/// The calls, with what their pointers point to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Op {
    /// `socket`.
    Socket { domain: i32, kind: i32, protocol: i32 },
    /// `bind`.
    Bind { address: Vec<u8> },
    /// `listen`.
    Listen { backlog: i32 },
    /// `accept` and `accept4`.
    Accept { flags: i32 },
    /// `connect`.
    Connect { address: Vec<u8> },
    /// `shutdown`.
    Shutdown { how: i32 },
    /// `getsockname`.
    LocalName,
    /// `getpeername`.
    PeerName,
    /// `setsockopt`.
    SetOption { level: i32, name: i32, value: Vec<u8> },
    /// `getsockopt` into so many bytes.
    GetOption { level: i32, name: i32, room: u32 },
    /// A send with an address or control messages, of one datagram or a piece of a stream.
    Send { flags: i32, name: Vec<u8>, control: Vec<u8>, data: Vec<u8> },
    /// A receive of one datagram with its address and control messages.
    Receive { flags: i32, room: u32, control_room: u32 },
    /// A send or receive that the kernel does on the plug, if the socket is connected; the flags of a send.
    Pass { send: Option<i32> },
    /// `ioctl`, with the structure that goes with the request.
    Ioctl { request: u32, argument: Vec<u8> },
    /// Opening a file of `/proc/net`.
    Table { table: Table },
}

/// The files of `/proc/net` that tell of interfaces and routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Table {
    /// `dev`: the interfaces.
    Interfaces,
    /// `if_inet6`: their IPv6 addresses.
    AddressesV6,
    /// `route`: the routes of IPv4.
    RoutesV4,
    /// `ipv6_route`: those of IPv6.
    RoutesV6,
}

impl Table {
    /// The longest path of one, with the zero at its end.
    pub(crate) const PATH_MAX: usize = 26;

    /// The one that this path leads to.
    pub(crate) fn at(path: &[u8]) -> Option<Table> {
        let name =
            [&b"/proc/net/"[..], b"/proc/self/net/"].iter().find_map(|folder| path.strip_prefix(*folder));
        Some(match name? {
            b"dev" => Table::Interfaces,
            b"if_inet6" => Table::AddressesV6,
            b"route" => Table::RoutesV4,
            b"ipv6_route" => Table::RoutesV6,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn tables_are_found_by_their_paths() {
        assert_eq!(Table::at(b"/proc/net/dev"), Some(Table::Interfaces));
        assert_eq!(Table::at(b"/proc/self/net/ipv6_route"), Some(Table::RoutesV6));
        for other in [&b"/proc/net/de"[..], b"/proc/net/dev/", b"/proc/1/net/dev", b"dev", b""] {
            assert_eq!(Table::at(other), None);
        }
        assert_eq!(b"/proc/self/net/ipv6_route".len() + 1, Table::PATH_MAX);
    }
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// It returns this value.
    Value(i64),
    /// It fails with this errno.
    Error(i32),
    /// It fails with EPIPE, after SIGPIPE where asked for.
    BrokenPipe { signal: bool },
    /// The kernel runs it.
    Continue,
    /// It succeeds with bytes where the call wants them: an address, an option's value, a count.
    Bytes(Vec<u8>),
    /// A datagram.
    Received(Received),
    /// It returns the descriptor beside this, a socket of this class, and the peer's address where it wants one.
    Descriptor { class: Class, close_on_exec: bool, address: Vec<u8> },
    /// The descriptor beside this takes the place of the one that the call names; then the call is made again.
    Replace,
    /// It waits for the socket, at most for this long, and then fails with `expired`.
    Wait { key: SocketKey, limit: Option<Duration>, expired: i32 },
}

/// A datagram on its way to a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Received {
    /// What fits of it.
    pub(crate) data: Vec<u8>,
    /// Where it came from; none at the end of a socket shut down for reading.
    pub(crate) name: Option<Vec<u8>>,
    /// Its control messages.
    pub(crate) control: Vec<u8>,
    /// `msg_flags`.
    pub(crate) flags: i32,
    /// What the call returns.
    pub(crate) result: u32,
}

/// Something of the network's that waits to hear whether the program saw an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ticket {
    /// The connection is open, and a connect call was told so.
    Connected(SocketKey),
    /// The connection failed, and a connect call was told so.
    Failed(SocketKey),
    /// A connection was handed over, under this number.
    Accepted(u32),
    /// The program's descriptor is the end of another plug.
    Replaced(SocketKey),
}

/// An outcome with what belongs to it.
#[derive(Debug)]
pub(crate) struct Reply {
    /// What becomes of the call.
    pub(crate) outcome: Outcome,
    /// Who waits to hear whether that was seen.
    pub(crate) ticket: Option<Ticket>,
    /// The descriptor of [`Outcome::Descriptor`] and [`Outcome::Replace`].
    pub(crate) fd: Option<OwnedFd>,
}

impl From<Outcome> for Reply {
    fn from(outcome: Outcome) -> Reply {
        Reply { outcome, ticket: None, fd: None }
    }
}

/// How a call that a [`Ticket`] came with ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// The ticket.
    pub(crate) ticket: Ticket,
    /// The thread that called.
    pub(crate) tid: u32,
    /// What the call returned to it; none when it was gone.
    pub(crate) value: Option<i32>,
}

/// What a network tells a supervisor unasked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Notice {
    /// The socket changed: a thread's call that waits for it is made again.
    Wake { tid: u32, key: SocketKey },
    /// The connection was reset and the plug can't show it: the supervisor writes a byte through this
    /// descriptor of this thread, if it is still that socket, and says so.
    Spoil { tid: u32, fd: i32, cookie: u64, key: SocketKey },
    /// Errors are queued: the supervisor puts an entry in the error queue of this descriptor of this thread, if
    /// it is still that socket.
    ShowError { tid: u32, fd: i32, cookie: u64 },
    /// Something the user should read.
    Warning(String),
    /// Somebody ended the network: programs are to end.
    End,
}
