//! The memory layout of `struct ifreq`, `struct ifconf` and `struct sockaddr_nl` on 64-bit Linux, and which
//! requests of `ioctl` carry which.
//!
//! As with messages, the bytes come from a program's memory and are never trusted.

use crate::Errno;
use core::net::Ipv4Addr;

/// The requests about interfaces and their neighbours: `SIOCGIFNAME` to `SIOCSARP`.
pub const REQUESTS: core::ops::RangeInclusive<u32> = 0x8910..=0x8955;

/// `SIOCADDRT`, `SIOCDELRT`, `SIOCRTMSG`: they change the machine's routes.
pub const ROUTE_REQUESTS: core::ops::RangeInclusive<u32> = 0x890b..=0x890d;

/// Requests about the machine's devices that no host has: RARP, device maps, VLANs, bonds, bridges, time stamps of
/// hardware.
pub const DEVICE_REQUESTS: core::ops::RangeInclusive<u32> = 0x8956..=0x89df;

/// `SIOCDEVPRIVATE` and the fifteen behind it: what a device's driver alone knows.
pub const PRIVATE_REQUESTS: core::ops::RangeInclusive<u32> = 0x89f0..=0x89ff;

/// Requests about wireless interfaces, `SIOCSIWCOMMIT` to the last of their private ones.
pub const WIRELESS_REQUESTS: core::ops::RangeInclusive<u32> = 0x8b00..=0x8bff;

/// Whether a request is about interfaces rather than the socket it is made on.
pub fn is_about_interfaces(request: u32) -> bool {
    REQUESTS.contains(&request) && request != UNSENT_REQUEST
}

/// `SIOCDARP`, `SIOCGARP`, `SIOCSARP`: they carry a `struct arpreq`.
pub const NEIGHBOUR_REQUESTS: core::ops::RangeInclusive<u32> = 0x8953..=0x8955;

/// `SIOCETHTOOL`: what it asks for lies where the value of its `struct ifreq` points.
pub const ETHTOOL_REQUEST: u32 = 0x8946;

/// How much of that is read: the length of `struct ethtool_link_settings`.
pub const ETHTOOL_LEN: usize = 48;

/// `SIOCOUTQNSD`, which stands among them and is about a stream socket: bytes that were not sent yet.
pub const UNSENT_REQUEST: u32 = 0x894b;

/// `SIOCGSTAMP` and `SIOCGSTAMPNS`: when the datagram read last came in.
pub const STAMP_REQUESTS: [u32; 2] = [0x8906, 0x8907];

/// `SIOCGIFCONF`: the IPv4 addresses of all interfaces.
pub const LIST_REQUEST: u32 = 0x8912;

/// A `struct ifreq`: an interface's name, and something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceRequest {
    bytes: [u8; Self::SIZE],
}

impl InterfaceRequest {
    /// Size of the structure in bytes.
    pub const SIZE: usize = 40;
    /// Size of its name, and offset of what follows it.
    const NAME_LEN: usize = 16;

    /// A request about the interface of this name, otherwise zero.
    pub fn named(name: &str) -> InterfaceRequest {
        let mut request = InterfaceRequest { bytes: [0; Self::SIZE] };
        request.set_name(name);
        request
    }

    /// Reads the structure; EFAULT when there is less of it.
    pub fn parse(bytes: &[u8]) -> Result<InterfaceRequest, Errno> {
        bytes.first_chunk().map(|&bytes| InterfaceRequest { bytes }).ok_or(Errno::EFAULT)
    }

    /// The interface's name; that of an alias (`eth0:1`) up to the colon.
    pub fn name(&self) -> &[u8] {
        // The kernel ends it for programs that don't.
        let name = &self.bytes[..Self::NAME_LEN - 1];
        name.split(|&byte| matches!(byte, 0 | b':')).next().unwrap_or_default()
    }

    /// Puts a name there, cut to its room.
    pub fn set_name(&mut self, name: &str) {
        let len = name.len().min(Self::NAME_LEN - 1);
        self.bytes[..Self::NAME_LEN].fill(0);
        self.bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
    }

    /// The value as an `int`.
    pub fn int(&self) -> i32 {
        self.bytes[Self::NAME_LEN..].first_chunk().map_or(0, |int| i32::from_ne_bytes(*int))
    }

    /// The value as an address in the program's memory.
    pub fn pointer(&self) -> u64 {
        self.bytes[Self::NAME_LEN..].first_chunk().map_or(0, |pointer| u64::from_ne_bytes(*pointer))
    }

    /// The value as an IPv4 address, if it says that it is one.
    pub fn v4(&self) -> Option<Ipv4Addr> {
        let value = &self.bytes[Self::NAME_LEN..];
        let is_v4 = value[..2] == (libc::AF_INET as u16).to_ne_bytes();
        is_v4.then(|| Ipv4Addr::new(value[4], value[5], value[6], value[7]))
    }

    /// Puts an `int` there.
    pub fn set_int(&mut self, value: i32) {
        self.bytes[Self::NAME_LEN..][..4].copy_from_slice(&value.to_ne_bytes());
    }

    /// Puts a `short` there: the flags.
    pub fn set_short(&mut self, value: u16) {
        self.bytes[Self::NAME_LEN..][..2].copy_from_slice(&value.to_ne_bytes());
    }

    /// Puts a `struct sockaddr_in` there.
    pub fn set_v4(&mut self, address: Ipv4Addr) {
        self.set_address(libc::AF_INET as u16, 2, &address.octets());
    }

    /// Puts a hardware address of this type there.
    pub fn set_hardware(&mut self, kind: u16, address: [u8; 6]) {
        self.set_address(kind, 0, &address);
    }

    fn set_address(&mut self, family: u16, offset: usize, data: &[u8]) {
        let value = &mut self.bytes[Self::NAME_LEN..][..16];
        value.fill(0);
        value[..2].copy_from_slice(&family.to_ne_bytes());
        value[2 + offset..][..data.len()].copy_from_slice(data);
    }

    /// The structure as it lies in memory.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A `struct arpreq`: a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourRequest {
    /// The family of its address, 0 for one that is cut.
    pub family: u16,
    /// `ATF_*`.
    pub flags: u32,
    /// The interface's name.
    name: [u8; 16],
}

impl NeighbourRequest {
    /// Size of the structure in bytes.
    pub const SIZE: usize = 68;

    /// Reads the structure; EFAULT when there is less of it.
    pub fn parse(bytes: &[u8]) -> Result<NeighbourRequest, Errno> {
        let bytes: &[u8; Self::SIZE] = bytes.first_chunk().ok_or(Errno::EFAULT)?;
        Ok(NeighbourRequest {
            family: u16::from_ne_bytes([bytes[0], bytes[1]]),
            flags: bytes[32..].first_chunk().map_or(0, |flags| u32::from_ne_bytes(*flags)),
            name: bytes[52..].first_chunk().copied().unwrap_or_default(),
        })
    }

    /// The interface's name, up to its end.
    pub fn name(&self) -> &[u8] {
        self.name[..15].split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

/// A `struct ifconf`: room for a list of `struct ifreq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceList {
    /// Address of the first, 0 to ask how much room they take.
    pub buffer: u64,
    /// Room in bytes.
    pub room: usize,
}

impl InterfaceList {
    /// Size of the structure in bytes. Its length, an `int`, stands first and is written back.
    pub const SIZE: usize = 16;

    /// Reads the structure.
    pub fn parse(bytes: &[u8; Self::SIZE]) -> InterfaceList {
        let [len, _padding, low, high] = [0, 4, 8, 12].map(|at| {
            let int = bytes[at..].first_chunk::<4>();
            int.map_or(0, |int| u32::from_ne_bytes(*int))
        });
        let buffer = u64::from(low) | u64::from(high) << 32;
        InterfaceList { buffer, room: usize::try_from(len as i32).unwrap_or(0) }
    }
}

/// A `struct sockaddr_nl`: who speaks on a netlink socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetlinkAddress {
    /// The port number; the kernel is 0.
    pub port: u32,
    /// Multicast groups 1 to 32, a bit each.
    pub groups: u32,
}

impl NetlinkAddress {
    /// Size of the structure in bytes.
    pub const SIZE: usize = 12;

    /// Reads an address; EINVAL when short or of another family.
    pub fn parse(bytes: &[u8]) -> Result<NetlinkAddress, Errno> {
        let bytes: &[u8; Self::SIZE] = bytes.first_chunk().ok_or(Errno::EINVAL)?;
        if crate::address::family(bytes) != Some(libc::AF_NETLINK) {
            return Err(Errno::EINVAL);
        }
        let word = |at: usize| bytes[at..].first_chunk().map_or(0, |word| u32::from_ne_bytes(*word));
        Ok(NetlinkAddress { port: word(4), groups: word(8) })
    }

    /// The address as the program reads it.
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..2].copy_from_slice(&(libc::AF_NETLINK as u16).to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.port.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.groups.to_ne_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_those_of_libc() {
        assert_eq!(size_of::<libc::ifreq>(), InterfaceRequest::SIZE);
        assert_eq!(std::mem::offset_of!(libc::ifreq, ifr_ifru), InterfaceRequest::NAME_LEN);
        assert_eq!(size_of::<libc::ifconf>(), InterfaceList::SIZE);
        assert_eq!(std::mem::offset_of!(libc::ifconf, ifc_ifcu), 8);
        assert_eq!(size_of::<libc::sockaddr_nl>(), NetlinkAddress::SIZE);
        assert_eq!(libc::SIOCGIFCONF as u32, LIST_REQUEST);
        assert_eq!(libc::SIOCETHTOOL as u32, ETHTOOL_REQUEST);
        assert_eq!([libc::SIOCDARP as u32, libc::SIOCSARP as u32], [0x8953, 0x8955]);
        assert_eq!(size_of::<libc::arpreq>(), NeighbourRequest::SIZE);
        assert_eq!(std::mem::offset_of!(libc::arpreq, arp_flags), 32);
        assert_eq!(std::mem::offset_of!(libc::arpreq, arp_dev), 52);
        assert!(REQUESTS.contains(&(libc::SIOCGIFNAME as u32)));
    }

    #[test]
    fn names_end_where_the_kernel_ends_them() {
        let name = |bytes: &[u8]| {
            let mut all = [b'x'; 40];
            all[..bytes.len()].copy_from_slice(bytes);
            InterfaceRequest::parse(&all).unwrap().name().to_vec()
        };
        assert_eq!(name(b"eth0\0"), b"eth0");
        assert_eq!(name(b"eth0:1\0"), b"eth0");
        assert_eq!(name(b""), [b'x'; 15]);
        assert_eq!(InterfaceRequest::parse(&[0; 39]), Err(Errno::EFAULT));
        assert_eq!(InterfaceRequest::named("a-name-of-twenty-chr").name(), b"a-name-of-twent");
    }

    #[test]
    fn values_are_read_as_they_were_put() {
        let mut request = InterfaceRequest::named("lo");
        request.set_v4(Ipv4Addr::LOCALHOST);
        assert_eq!((request.v4(), request.name()), (Some(Ipv4Addr::LOCALHOST), &b"lo"[..]));
        request.set_int(-5);
        assert_eq!((request.v4(), request.int()), (None, -5));
    }

    #[test]
    fn lists_have_a_room_and_a_place() {
        let mut bytes = [0xff; 16];
        assert_eq!(InterfaceList::parse(&bytes), InterfaceList { buffer: u64::MAX, room: 0 });
        bytes[..4].copy_from_slice(&80_i32.to_ne_bytes());
        bytes[8..].copy_from_slice(&0x1_2345_6789_u64.to_ne_bytes());
        assert_eq!(InterfaceList::parse(&bytes), InterfaceList { buffer: 0x1_2345_6789, room: 80 });
    }

    #[test]
    fn netlink_addresses_are_whole_and_of_their_family() {
        let address = NetlinkAddress { port: 7, groups: 0x11 };
        assert_eq!(NetlinkAddress::parse(&address.to_bytes()), Ok(address));
        assert_eq!(NetlinkAddress::parse(&address.to_bytes()[..11]), Err(Errno::EINVAL));
        assert_eq!(NetlinkAddress::parse(&[0; 12]), Err(Errno::EINVAL));
    }
}
