//! The options that a socket remembers and the stack does not act on.

use crate::Errno;
use crate::address::nic_of_index;
use core::net::IpAddr;
use core::time::Duration;
use sockeye_packet::NicId;

/// Reading or writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// `SO_RCVTIMEO`.
    Receive,
    /// `SO_SNDTIMEO`.
    Send,
}

/// What the program set, by level and name. A socket on which nothing was set owns no memory; the table
/// of options bounds how much one can hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    values: Vec<(i32, i32, i64)>,
    receive_timeout: Option<Duration>,
    send_timeout: Option<Duration>,
    packet_info: Option<Box<PacketInfo>>,
}

/// Where what is sent comes from (`IPV6_PKTINFO`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketInfo {
    /// The source address, when it isn't the unspecified one.
    pub source: Option<IpAddr>,
    /// The interface to leave by.
    pub nic: Option<NicId>,
}

impl PacketInfo {
    /// Reads a `struct in6_pktinfo`; EINVAL for a short one. An interface that can't be is none.
    fn parse(value: &[u8]) -> Result<PacketInfo, Errno> {
        let (address, index) = value.split_first_chunk::<16>().ok_or(Errno::EINVAL)?;
        let nic = nic_of_index(u32::from_ne_bytes(*index.first_chunk().ok_or(Errno::EINVAL)?));
        let source = (*address != [0; 16]).then(|| IpAddr::from(*address).to_canonical());
        Ok(PacketInfo { source, nic })
    }
}

/// Where the one of the four options of timestamps that is on is kept.
const TIMESTAMP: (i32, i32) = (libc::SOL_SOCKET, libc::SO_TIMESTAMP);
/// Where the flags of both options of timestamping are kept, and whether the newer one was set.
const TIMESTAMPING: (i32, i32) = (libc::SOL_SOCKET, libc::SO_TIMESTAMPING);
const TIMESTAMPING_NEW: (i32, i32) = (libc::SOL_SOCKET, 65);

impl Stored {
    /// The value set for an option.
    pub fn get(&self, level: i32, name: i32) -> Option<i32> {
        self.wide(level, name).map(|value| value as i32)
    }

    /// Whether the option was set to anything but 0.
    pub fn is_on(&self, level: i32, name: i32) -> bool {
        self.wide(level, name).is_some_and(|value| value != 0)
    }

    /// Remembers a value.
    pub fn set(&mut self, level: i32, name: i32, value: i32) {
        self.set_wide(level, name, value.into());
    }

    /// Forgets a value: the default is back.
    pub(super) fn unset(&mut self, level: i32, name: i32) {
        self.values.retain(|(l, n, _)| (*l, *n) != (level, name));
    }

    /// The value of an option that has more than 32 bits.
    pub(super) fn wide(&self, level: i32, name: i32) -> Option<i64> {
        self.values.iter().find(|(l, n, _)| (*l, *n) == (level, name)).map(|(.., value)| *value)
    }

    pub(super) fn set_wide(&mut self, level: i32, name: i32, value: i64) {
        match self.values.iter_mut().find(|(l, n, _)| (*l, *n) == (level, name)) {
            Some(entry) => entry.2 = value,
            None => self.values.push((level, name, value)),
        }
    }

    /// How long a call may block; `None` is for ever.
    pub fn timeout(&self, direction: Direction) -> Option<Duration> {
        match direction {
            Direction::Receive => self.receive_timeout,
            Direction::Send => self.send_timeout,
        }
    }

    pub(super) fn set_timeout(&mut self, direction: Direction, timeout: Option<Duration>) {
        match direction {
            Direction::Receive => self.receive_timeout = timeout,
            Direction::Send => self.send_timeout = timeout,
        }
    }

    /// Which of the options of timestamps is on: `SO_TIMESTAMP`, `SO_TIMESTAMPNS`, or a newer one.
    pub fn timestamp(&self) -> Option<i32> {
        self.get(TIMESTAMP.0, TIMESTAMP.1).filter(|&name| name != 0)
    }

    /// Switching one on replaces another, switching any off leaves none.
    pub(super) fn set_timestamp(&mut self, name: i32, on: bool) {
        self.set(TIMESTAMP.0, TIMESTAMP.1, if on { name } else { 0 });
    }

    /// The flags of `SO_TIMESTAMPING` (`SOF_TIMESTAMPING_…`), and the number of the control messages they ask for.
    pub fn timestamping(&self) -> (u32, i32) {
        let flags = self.get(TIMESTAMPING.0, TIMESTAMPING.1).unwrap_or(0) as u32;
        let is_new = self.is_on(TIMESTAMPING_NEW.0, TIMESTAMPING_NEW.1);
        (flags, if is_new { TIMESTAMPING_NEW.1 } else { TIMESTAMPING.1 })
    }

    /// The flags as one of the two options reads: the newer one only when it was set last.
    pub(super) fn timestamping_at(&self, old: bool) -> u32 {
        let (flags, name) = self.timestamping();
        if old || name == TIMESTAMPING_NEW.1 { flags } else { 0 }
    }

    pub(super) fn set_timestamping(&mut self, flags: u32, is_new: bool) {
        self.set(TIMESTAMPING.0, TIMESTAMPING.1, flags as i32);
        self.set(TIMESTAMPING_NEW.0, TIMESTAMPING_NEW.1, is_new.into());
    }

    /// Whether `SO_TXTIME` was set: then messages may say when they are to leave.
    pub fn has_transmit_time(&self) -> bool {
        self.wide(libc::SOL_SOCKET, 61).is_some()
    }

    /// Source address and interface of messages that don't say theirs.
    pub fn packet_info(&self) -> PacketInfo {
        self.packet_info.as_deref().copied().unwrap_or_default()
    }

    pub(super) fn set_packet_info(&mut self, value: &[u8]) -> Result<(), Errno> {
        let info = PacketInfo::parse(value)?;
        self.packet_info = (info != PacketInfo::default()).then(|| Box::new(info));
        Ok(())
    }
}
