//! What a socket call can fail with, as the Berkeley API names it.

use core::fmt;

/// Why a socket call failed. Each stands for exactly one errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Error {
    /// EAGAIN: nothing to read, no room to write, no connection to accept.
    WouldBlock,
    /// EINPROGRESS: the connection is being opened.
    InProgress,
    /// EALREADY: a connection is already being opened.
    Already,
    /// EISCONN: the socket is connected.
    IsConnected,
    /// ENOTCONN: the socket is not connected.
    NotConnected,
    /// ECONNREFUSED: nobody listens there.
    ConnectionRefused,
    /// ECONNRESET: the peer reset the connection.
    ConnectionReset,
    /// ECONNABORTED: the connection was given up on this side.
    ConnectionAborted,
    /// ETIMEDOUT: the peer did not answer.
    TimedOut,
    /// EHOSTUNREACH: no way to the host.
    HostUnreachable,
    /// ENETUNREACH: no route to the network.
    NetworkUnreachable,
    /// EADDRINUSE: address and port are taken.
    AddrInUse,
    /// EADDRNOTAVAIL: not an address of this host, or no free port.
    AddrNotAvailable,
    /// EINVAL: the argument or the socket's state does not allow the call.
    InvalidArgument,
    /// EPIPE: the sending direction is shut down.
    BrokenPipe,
    /// EMSGSIZE: the datagram is too long.
    MessageSize,
    /// EACCES: not permitted without an option (broadcast).
    PermissionDenied,
    /// EPERM: not permitted to this owner.
    NotPermitted,
    /// ENOBUFS: no memory left in the stack's budget.
    NoBufs,
    /// EOPNOTSUPP: the socket's type does not know this call.
    NotSupported,
    /// ENOPROTOOPT: the socket's protocol does not know this option.
    ProtocolOption,
    /// EPROTONOSUPPORT: the protocol is not there.
    ProtocolNotSupported,
    /// EPROTO: the peer broke the protocol, or an ICMP error says so.
    Protocol,
    /// EAFNOSUPPORT: an address of another family.
    AddressFamily,
    /// EDESTADDRREQ: no destination was given.
    DestinationRequired,
    /// EBADF: no such socket (any more).
    BadSocket,
    /// ENODEV: no such interface.
    NoDevice,
}

/// The result of a socket call.
pub type Result<T> = core::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::WouldBlock => "the call would block",
            Error::InProgress => "the connection is being opened",
            Error::Already => "a connection is already being opened",
            Error::IsConnected => "the socket is connected",
            Error::NotConnected => "the socket is not connected",
            Error::ConnectionRefused => "connection refused: nobody listens there",
            Error::ConnectionReset => "connection reset by the peer",
            Error::ConnectionAborted => "connection aborted",
            Error::TimedOut => "timed out: the peer did not answer",
            Error::HostUnreachable => "no way to the host",
            Error::NetworkUnreachable => "no route to the network",
            Error::AddrInUse => "address and port are in use",
            Error::AddrNotAvailable => "not an address of this host, or no free port",
            Error::InvalidArgument => "invalid argument for the socket's state",
            Error::BrokenPipe => "broken pipe: the sending direction is shut down",
            Error::MessageSize => "the message is too long",
            Error::PermissionDenied => "permission denied: set the option that allows it",
            Error::NotPermitted => "operation not permitted",
            Error::NoBufs => "no buffer memory left: raise the stack's memory limit",
            Error::NotSupported => "operation not supported by this type of socket",
            Error::ProtocolOption => "no such option for this socket",
            Error::ProtocolNotSupported => "protocol not supported",
            Error::Protocol => "protocol error",
            Error::AddressFamily => "address family not supported by this socket",
            Error::DestinationRequired => "a destination address is required",
            Error::BadSocket => "no such socket",
            Error::NoDevice => "no such interface",
        })
    }
}

impl core::error::Error for Error {}
