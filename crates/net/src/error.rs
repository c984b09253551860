//! What can be wrong with a network's description, said with the input and what to do about it; and
//! the stack's errors as `std::io` knows them.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::Subnet;
use sockeye_link::fabric::FabricError;

/// Why a network, a host or a simulation could not be made.
///
/// ```
/// use sockeye::{Error, HostConfig, Network};
///
/// let twice = Network::builder().host("web", HostConfig::default()).host("WEB", HostConfig::default());
/// match twice.build() {
///     Err(Error::DuplicateName { name }) => assert_eq!(name, "WEB"),
///     other => panic!("{other:?}"),
/// }
/// // What it says has the remedy, and `?` makes it an `io::Error` where one is wanted.
/// let error: std::io::Error = Network::builder().mtu(576).build().unwrap_err().into();
/// assert_eq!(error.to_string(), "bad MTU 576 of the network's links: state at least 1280 and at most 65535 bytes");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A host's name is not a DNS label.
    BadName {
        /// The name as given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Two hosts have the same name (names ignore case), or a host and a name that was added.
    DuplicateName {
        /// The name.
        name: String,
    },
    /// Two hosts have the same address.
    DuplicateAddress {
        /// The host that asked for it second.
        name: String,
        /// The address.
        address: IpAddr,
        /// The host that has it.
        owner: String,
    },
    /// A host's address is not in the network's subnet, or is one of those set aside there.
    BadAddress {
        /// The host.
        name: String,
        /// The address.
        address: IpAddr,
        /// The subnet of the address's family.
        subnet: Subnet,
        /// The last address there that a host can have.
        last: IpAddr,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A subnet doesn't parse, or can't hold a network.
    BadSubnet {
        /// The subnet as given.
        subnet: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An MTU that links can't have.
    BadMtu {
        /// The subnet's or the interface's name; none for all links of the network.
        name: Option<String>,
        /// The MTU as given, in bytes.
        mtu: u32,
        /// The least and the largest that can be.
        bounds: RangeInclusive<u32>,
    },
    /// Two statements of a description exclude each other: one would count for nothing.
    Contradiction {
        /// What is in the way of what, and what to do.
        reason: &'static str,
    },
    /// All addresses of the subnet are in use.
    SubnetFull {
        /// The host for which none was left.
        name: String,
        /// The subnet.
        subnet: Subnet,
    },
    /// A host is to be in a subnet that the network doesn't have, or in one twice.
    UnknownSubnet {
        /// The host.
        name: String,
        /// The subnet's name.
        subnet: String,
    },
    /// A link can't be an interface of a host.
    Link {
        /// The host.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The system refused to watch a link's descriptor.
    Descriptor {
        /// The host.
        name: String,
        /// What the system said.
        error: io::Error,
    },
    /// No host has this name.
    UnknownHost {
        /// The name.
        name: String,
    },
    /// The wire refused a host's address.
    Fabric {
        /// The host.
        name: String,
        /// What is wrong.
        error: FabricError,
    },
    /// A host's stack refused an address or a setting.
    Stack {
        /// The host.
        name: String,
        /// What is wrong.
        error: sockeye_stack::Error,
    },
    /// The capture can't be written.
    Capture {
        /// The file, when it is one.
        path: Option<PathBuf>,
        /// What the system said.
        error: io::Error,
    },
    /// A host's packets are captured to another file.
    CapturedAlready {
        /// The host.
        name: String,
    },
    /// The driver's thread could not be started.
    Thread {
        /// What the system said.
        error: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::BadName { name, reason } => {
                write!(
                    f,
                    "bad host name {name:?}: {reason}; use letters, digits and hyphens, as in \"web-1\""
                )
            }
            Error::DuplicateName { name } => {
                write!(f, "the name {name:?} is taken: give each host a name of its own (case doesn't count)")
            }
            Error::DuplicateAddress { name, address, owner } => {
                write!(
                    f,
                    "host {name:?} can't have the address {address}: {owner:?} has it; use another or none"
                )
            }
            Error::BadAddress { name, address, subnet, last, reason } => {
                write!(
                    f,
                    "host {name:?} can't have the address {address}: it {reason}; use another of {subnet}, up to {last}"
                )
            }
            Error::BadSubnet { subnet, reason } => {
                write!(f, "bad subnet {subnet:?}: {reason}; write it as \"10.77.0.0/16\" or \"fd77::/64\"")
            }
            Error::BadMtu { name, mtu, bounds } => {
                let name = name.as_ref().map_or("the network's links".into(), |name| format!("{name:?}"));
                let (least, most) = (bounds.start(), bounds.end());
                write!(f, "bad MTU {mtu} of {name}: state at least {least} and at most {most} bytes")
            }
            Error::Contradiction { reason } => f.write_str(reason),
            Error::SubnetFull { name, subnet } => {
                write!(f, "no address of {subnet} is left for host {name:?}: use a larger subnet")
            }
            Error::UnknownSubnet { name, subnet } => write!(
                f,
                "host {name:?} can't be in the subnet {subnet:?}: name each of the network's subnets at most once"
            ),
            Error::Link { name, reason } => write!(f, "host {name:?} can't have this link: {reason}"),
            Error::Descriptor { name, error } => {
                write!(f, "can't watch the link of host {name:?}: {error}")
            }
            Error::UnknownHost { name } => write!(f, "no host is named {name:?}"),
            Error::Fabric { name, error } => write!(f, "host {name:?}: {error}"),
            Error::Stack { name, error } => write!(f, "host {name:?}: {error}"),
            Error::Capture { path: Some(path), error } => {
                write!(f, "can't write the capture {}: {error}", path.display())
            }
            Error::Capture { path: None, error } => write!(f, "can't write the capture: {error}"),
            Error::CapturedAlready { name } => {
                write!(f, "host {name:?} is being captured already: leave the capture out")
            }
            Error::Thread { error } => write!(f, "can't start the network's thread: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Capture { error, .. } | Error::Thread { error } | Error::Descriptor { error, .. } => {
                Some(error)
            }
            Error::Stack { error, .. } => Some(error),
            Error::Fabric { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match &error {
            Error::UnknownHost { .. } => io::ErrorKind::NotFound,
            Error::Capture { error, .. } | Error::Thread { error } | Error::Descriptor { error, .. } => {
                error.kind()
            }
            _ => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}

/// A socket call's error as `std::io` knows it; the source is the stack's own error.
pub(crate) fn io_error(error: sockeye_stack::Error) -> io::Error {
    use io::ErrorKind;
    use sockeye_stack::Error as E;
    let kind = match error {
        E::WouldBlock => return ErrorKind::WouldBlock.into(),
        E::NotConnected => ErrorKind::NotConnected,
        E::ConnectionRefused => ErrorKind::ConnectionRefused,
        // A handle keeps its socket, so only a crash of the host takes that away.
        E::ConnectionReset | E::BadSocket => ErrorKind::ConnectionReset,
        E::ConnectionAborted => ErrorKind::ConnectionAborted,
        E::TimedOut => ErrorKind::TimedOut,
        E::HostUnreachable => ErrorKind::HostUnreachable,
        E::NetworkUnreachable => ErrorKind::NetworkUnreachable,
        E::AddrInUse => ErrorKind::AddrInUse,
        E::AddrNotAvailable => ErrorKind::AddrNotAvailable,
        E::InvalidArgument => ErrorKind::InvalidInput,
        E::BrokenPipe => ErrorKind::BrokenPipe,
        E::PermissionDenied | E::NotPermitted => ErrorKind::PermissionDenied,
        E::NotSupported => ErrorKind::Unsupported,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use sockeye_stack::Error as E;

    /// The errno that each of the stack's errors stands for, as Linux numbers them on most machines. `BadSocket` is
    /// what a crash leaves, which the machine's sockets don't know.
    const NUMBERS: [(E, i32); 25] = [
        (E::WouldBlock, 11),
        (E::Already, 114),
        (E::IsConnected, 106),
        (E::NotConnected, 107),
        (E::ConnectionRefused, 111),
        (E::ConnectionReset, 104),
        (E::ConnectionAborted, 103),
        (E::TimedOut, 110),
        (E::HostUnreachable, 113),
        (E::NetworkUnreachable, 101),
        (E::AddrInUse, 98),
        (E::AddrNotAvailable, 99),
        (E::InvalidArgument, 22),
        (E::BrokenPipe, 32),
        (E::MessageSize, 90),
        (E::PermissionDenied, 13),
        (E::NotPermitted, 1),
        (E::NoBufs, 105),
        (E::NotSupported, 95),
        (E::ProtocolOption, 92),
        (E::ProtocolNotSupported, 93),
        (E::Protocol, 71),
        (E::AddressFamily, 97),
        (E::DestinationRequired, 89),
        (E::NoDevice, 19),
    ];

    #[test]
    fn kinds_are_those_of_std_for_the_errno() {
        for (error, number) in NUMBERS {
            let std = format!("{:?}", io::Error::from_raw_os_error(number).kind());
            // That kind is std's own: nobody can match it or make it.
            let std = std.replace("Uncategorized", "Other");
            assert_eq!(format!("{:?}", io_error(error).kind()), std, "{error:?}");
        }
    }

    #[test]
    fn what_the_stack_said_can_be_got_out() {
        let source = io_error(E::MessageSize).into_inner().unwrap();
        assert_eq!(source.downcast_ref::<E>(), Some(&E::MessageSize));
    }
}
