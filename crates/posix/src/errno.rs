//! Error numbers of Linux, and which one each error of the stack is.

use core::fmt;
use sockeye_stack::Error;

/// An error number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($name:ident)*) => {
        #[allow(missing_docs, reason = "each is the errno of its name, described in errno(3)")]
        impl Errno {
            $(pub const $name: Errno = Errno(libc::$name);)*

            /// The symbolic name, if it is one that a socket call gives.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Errno::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    EPERM ENOENT EINTR EIO ENXIO E2BIG EBADF EAGAIN ENOMEM EACCES EFAULT EBUSY EEXIST ENODEV ENOTDIR EINVAL
    ENFILE EMFILE ENOTTY ENOSPC ESPIPE EPIPE EDOM ERANGE ENOSYS EPROTO EOVERFLOW ENOTSOCK EDESTADDRREQ EMSGSIZE
    EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE
    EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN
    ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ECANCELED ENODATA
}

/// The errors of the stack beside their numbers, in both directions.
const ERRORS: [(Error, Errno); 27] = [
    (Error::WouldBlock, Errno::EAGAIN),
    (Error::InProgress, Errno::EINPROGRESS),
    (Error::Already, Errno::EALREADY),
    (Error::IsConnected, Errno::EISCONN),
    (Error::NotConnected, Errno::ENOTCONN),
    (Error::ConnectionRefused, Errno::ECONNREFUSED),
    (Error::ConnectionReset, Errno::ECONNRESET),
    (Error::ConnectionAborted, Errno::ECONNABORTED),
    (Error::TimedOut, Errno::ETIMEDOUT),
    (Error::HostUnreachable, Errno::EHOSTUNREACH),
    (Error::NetworkUnreachable, Errno::ENETUNREACH),
    (Error::AddrInUse, Errno::EADDRINUSE),
    (Error::AddrNotAvailable, Errno::EADDRNOTAVAIL),
    (Error::InvalidArgument, Errno::EINVAL),
    (Error::BrokenPipe, Errno::EPIPE),
    (Error::MessageSize, Errno::EMSGSIZE),
    (Error::PermissionDenied, Errno::EACCES),
    (Error::NotPermitted, Errno::EPERM),
    (Error::NoBufs, Errno::ENOBUFS),
    (Error::NotSupported, Errno::EOPNOTSUPP),
    (Error::ProtocolOption, Errno::ENOPROTOOPT),
    (Error::ProtocolNotSupported, Errno::EPROTONOSUPPORT),
    (Error::Protocol, Errno::EPROTO),
    (Error::AddressFamily, Errno::EAFNOSUPPORT),
    (Error::DestinationRequired, Errno::EDESTADDRREQ),
    (Error::BadSocket, Errno::EBADF),
    (Error::NoDevice, Errno::ENODEV),
];

impl Errno {
    /// The error of the stack that has this number.
    pub fn to_error(self) -> Option<Error> {
        ERRORS.iter().find(|(_, errno)| *errno == self).map(|(error, _)| *error)
    }
}

impl From<Error> for Errno {
    fn from(error: Error) -> Errno {
        // An error that has no row is a new one of the stack: EIO says "something went wrong" at least.
        ERRORS.iter().find(|(e, _)| *e == error).map_or(Errno::EIO, |(_, errno)| *errno)
    }
}

impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> std::io::Error {
        std::io::Error::from_raw_os_error(errno.0)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_number_and_comes_back_from_it() {
        for (error, errno) in ERRORS {
            assert_eq!(Errno::from(error), errno);
            assert_eq!(errno.to_error(), Some(error), "{errno} stands for two errors");
            assert!(errno.name().is_some());
        }
        assert_eq!(Errno::EDOM.to_error(), None);
    }

    #[test]
    fn numbers_read_as_names() {
        assert_eq!(Errno::from(Error::ConnectionRefused).to_string(), "ECONNREFUSED");
        assert_eq!(Errno(4000).to_string(), "errno 4000");
        assert_eq!(std::io::Error::from(Errno::ECONNRESET).kind(), std::io::ErrorKind::ConnectionReset);
    }
}
