//! What a side answers to a call, in terms that can be compared: ports that a host picked are numbered in the
//! order in which they are seen.

use std::fmt;
use std::net::Ipv6Addr;

use sockeye_posix::Errno;

use crate::call::{PLACES, PORTS};
use crate::names;

/// What one call gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The value or error.
    pub(crate) result: Option<Result<usize, Errno>>,
    /// Data received, or an option's value.
    pub(crate) bytes: Vec<u8>,
    /// An address that was told.
    pub(crate) address: Option<String>,
    /// `msg_flags`.
    pub(crate) flags: i32,
}

impl Answer {
    pub(crate) fn of(result: Result<usize, Errno>) -> Answer {
        Answer { result: Some(result), ..Answer::default() }
    }

    /// The result alone, for sorting.
    pub(crate) fn result(&self) -> String {
        match self.result {
            None => "nothing".into(),
            Some(Ok(_)) => "ok".into(),
            Some(Err(errno)) => errno.to_string(),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.result {
            None => return f.write_str("no socket there"),
            Some(Ok(value)) => write!(f, "{value}")?,
            Some(Err(errno)) => return write!(f, "{errno}"),
        }
        if let Some(address) = &self.address {
            write!(f, ", {address}")?;
        }
        if self.flags != 0 {
            write!(f, ", flags {}", names::flags(self.flags))?;
        }
        match self.bytes.len() {
            0 => Ok(()),
            1..=32 => write!(f, ", {:?}", self.bytes),
            len => write!(f, ", {len} bytes, first {:?}", &self.bytes[..16]),
        }
    }
}

/// What poll says of each place; none where there is no socket.
pub(crate) type Masks = [Option<i16>; PLACES];

/// The ports of one side's run.
#[derive(Debug)]
pub(crate) struct Ports {
    /// The number of the sequence's port 0.
    pub(crate) first: u16,
    picked: Vec<u16>,
}

/// Ports from here on are picked by the host.
pub(crate) const PICKED: u16 = 40_000;

impl Ports {
    pub(crate) fn new(first: u16) -> Ports {
        Ports { first, picked: Vec::new() }
    }

    /// A port that no socket has.
    pub(crate) fn nobody(&self) -> u16 {
        self.first + PORTS
    }

    fn name(&mut self, port: u16) -> String {
        match port {
            0 => "0".into(),
            port if (self.first..=self.nobody()).contains(&port) => format!("P{}", port - self.first),
            // Picked by the host, or no port at all.
            port => {
                let at = self.picked.iter().position(|known| *known == port).unwrap_or_else(|| {
                    self.picked.push(port);
                    self.picked.len() - 1
                });
                format!("picked {at}")
            }
        }
    }

    /// A `struct sockaddr` as text.
    pub(crate) fn address(&mut self, bytes: &[u8]) -> String {
        let Some(family) = bytes.first_chunk().map(|bytes| i32::from(u16::from_ne_bytes(*bytes))) else {
            return format!("{} bytes", bytes.len());
        };
        let port = bytes.get(2..4).map_or(0, |port| u16::from_be_bytes([port[0], port[1]]));
        let ip = match (family, bytes.len()) {
            (libc::AF_INET, 16) => format!("{}.{}.{}.{}", bytes[4], bytes[5], bytes[6], bytes[7]),
            (libc::AF_INET6, 28) => {
                let ip: [u8; 16] = bytes[8..24].try_into().unwrap_or_default();
                format!("[{}]", Ipv6Addr::from(ip))
            }
            _ => format!("{} with {} bytes", names::family(family), bytes.len()),
        };
        format!("{ip}:{}", self.name(port))
    }
}
