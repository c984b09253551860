//! Interfaces and routes as their owner describes them.

use alloc::string::String;
use core::net::IpAddr;
use sockeye_packet::NicId;

/// What a stack must know of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NicConfig {
    /// Its name, as programs see it.
    pub name: String,
    /// The longest IP packet its link carries, in bytes: 68 to 65,535 (1280 at least for IPv6).
    pub mtu: u32,
    /// Whether packets leave memory: then checksums are filled and verified. Without, they are marked
    /// [`Unfilled`](sockeye_packet::Checksum::Unfilled).
    pub checksums: bool,
    /// The most payload of a TCP super-segment that the link takes; 0 when it takes none.
    pub max_segment: usize,
}

impl NicConfig {
    /// An interface in memory: checksums are skipped, super-segments are as long as can be.
    pub fn memory(name: impl Into<String>, mtu: u32) -> NicConfig {
        NicConfig { name: name.into(), mtu, checksums: false, max_segment: NicConfig::LARGEST_SEGMENT }
    }

    /// The most payload of a super-segment: an IP packet with all headers at their longest.
    pub const LARGEST_SEGMENT: usize = 65_535 - 120;
}

/// A way to a range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The range: addresses whose first `prefix` bits are these.
    pub dest: IpAddr,
    /// How many bits count.
    pub prefix: u8,
    /// The router, or none when the addresses are on the link.
    pub gateway: Option<IpAddr>,
    /// The interface.
    pub nic: NicId,
    /// Among routes to the same range the lowest is taken.
    pub metric: u32,
}
