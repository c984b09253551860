//! Options that name groups and sources (ip(7), ipv6(7), RFC 3678): which structure each takes, and what of the
//! stack it calls.

use crate::Errno;
use crate::address::nic_of_index;
use core::net::{IpAddr, Ipv4Addr};
use sockeye_packet::{Instant, NicId};
use sockeye_stack::{FilterMode, Membership, SocketId, SocketOption, Stack};

/// Bytes of `struct sockaddr_storage`.
const STORAGE_LEN: usize = 128;
/// `struct group_req`: interface, padding, group.
const GROUP_REQ_LEN: usize = 8 + STORAGE_LEN;
/// `struct group_source_req`: the same, and the source.
const GROUP_SOURCE_REQ_LEN: usize = GROUP_REQ_LEN + STORAGE_LEN;
/// `struct group_filter` without a source.
const GROUP_FILTER_LEN: usize = GROUP_REQ_LEN + 8;
/// `struct ip_msfilter` without a source.
const MSFILTER_LEN: usize = 16;
/// Most sources that either filter can have: more are ENOBUFS before any of them is looked at.
const MAX_SOURCES: usize = 64;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupCall {
    /// `IP_ADD_MEMBERSHIP`, `IPV6_JOIN_GROUP`, `MCAST_JOIN_GROUP`.
    Join,
    /// `IP_DROP_MEMBERSHIP`, `IPV6_LEAVE_GROUP`, `MCAST_LEAVE_GROUP`.
    Leave,
    /// `IP_ADD_SOURCE_MEMBERSHIP`, `MCAST_JOIN_SOURCE_GROUP`.
    JoinSource,
    /// `IP_DROP_SOURCE_MEMBERSHIP`, `MCAST_LEAVE_SOURCE_GROUP`.
    LeaveSource,
    /// `IP_BLOCK_SOURCE`, `MCAST_BLOCK_SOURCE`.
    Block,
    /// `IP_UNBLOCK_SOURCE`, `MCAST_UNBLOCK_SOURCE`.
    Unblock,
    /// `IP_MSFILTER`, `MCAST_MSFILTER`.
    Filter,
}

/// The structure in which it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupForm {
    /// `struct ip_mreq`, `ip_mreqn`, `ip_mreq_source`, `ip_msfilter`.
    Ip,
    /// `struct ipv6_mreq`.
    Ipv6,
    /// `struct group_req`, `group_source_req`, `group_filter`, of either family.
    Any,
}

/// A change of a socket's groups, for the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupChange {
    call: GroupCall,
    membership: Membership,
    sources: Vec<IpAddr>,
    mode: FilterMode,
}

impl GroupChange {
    /// Has the stack carry it out.
    pub fn apply(&self, stack: &mut Stack, now: Instant, id: SocketId) -> sockeye_stack::Result<()> {
        let GroupChange { call, membership, sources, mode } = self;
        let source = sources.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        match call {
            GroupCall::Join => stack.join_group(now, id, membership),
            GroupCall::Leave => stack.leave_group(now, id, membership),
            GroupCall::JoinSource => stack.join_source(now, id, membership, source),
            GroupCall::LeaveSource => stack.leave_source(now, id, membership, source),
            GroupCall::Block => stack.block_source(now, id, membership, source),
            GroupCall::Unblock => stack.unblock_source(now, id, membership, source),
            GroupCall::Filter => stack.set_source_filter(now, id, membership, *mode, sources),
        }
    }

    /// Reads the value of an option at `level`.
    ///
    /// EINVAL when it is too short or says what makes no sense, EADDRNOTAVAIL for an address of another family,
    /// ENODEV for an interface that can't be, ENOBUFS for too many sources.
    pub fn parse(call: GroupCall, form: GroupForm, level: i32, value: &[u8]) -> Result<GroupChange, Errno> {
        let change =
            |membership, sources| GroupChange { call, membership, sources, mode: FilterMode::Include };
        match (form, call) {
            (GroupForm::Ip, GroupCall::Join | GroupCall::Leave) => {
                Ok(change(ip_mreq(value)?.membership()?, Vec::new()))
            }
            (GroupForm::Ip, GroupCall::Filter) => msfilter(value),
            (GroupForm::Ip, _) => {
                // struct ip_mreq_source: group, interface, source.
                let [group, address, source] =
                    words(value).filter(|_| value.len() == 12).ok_or(Errno::EINVAL)?;
                let membership = IpMreq { group, address, index: 0 }.membership()?;
                Ok(change(membership, vec![source.into()]))
            }
            (GroupForm::Ipv6, _) => {
                let group: [u8; 16] = *value.first_chunk().ok_or(Errno::EINVAL)?;
                let membership = Membership::of(IpAddr::from(group));
                Ok(change(Membership { nic: interface(int_at(value, 16)?)?, ..membership }, Vec::new()))
            }
            (GroupForm::Any, GroupCall::Join | GroupCall::Leave) => {
                let wrong_family =
                    if level == libc::IPPROTO_IP { Errno::EINVAL } else { Errno::EADDRNOTAVAIL };
                let group = address_in(storage_at(value, 8)?, level).ok_or(wrong_family)?;
                Ok(change(group_of(value, group)?, Vec::new()))
            }
            (GroupForm::Any, GroupCall::Filter) => group_filter(level, value),
            (GroupForm::Any, _) => {
                if value.len() < GROUP_SOURCE_REQ_LEN {
                    return Err(Errno::EINVAL);
                }
                let address = |at| address_in(storage_at(value, at)?, level).ok_or(Errno::EADDRNOTAVAIL);
                let (group, source) = (address(8)?, address(GROUP_REQ_LEN)?);
                Ok(change(group_of(value, group)?, vec![source]))
            }
        }
    }
}

/// `IP_MULTICAST_IF`: a `struct ip_mreqn`, an `ip_mreq`, or an address.
pub(super) fn multicast_interface(value: &[u8]) -> Result<SocketOption, Errno> {
    let IpMreq { address, index, .. } = if value.len() >= 8 {
        ip_mreq(value)?
    } else {
        let [address] = words(value).ok_or(Errno::EINVAL)?;
        IpMreq { group: [0; 4], address, index: 0 }
    };
    let nic = match index {
        0 => None,
        // As the kernel: here a number that nothing has is not an address.
        index => Some(nic_of_index(index).ok_or(Errno::EADDRNOTAVAIL)?),
    };
    Ok(SocketOption::MulticastNic { nic, address: Ipv4Addr::from(address) })
}

struct IpMreq {
    group: [u8; 4],
    address: [u8; 4],
    index: u32,
}

impl IpMreq {
    fn membership(&self) -> Result<Membership, Errno> {
        Ok(Membership {
            group: self.group.into(),
            nic: interface(self.index)?,
            address: Some(self.address.into()),
        })
    }
}

/// A `struct ip_mreqn`, or an `ip_mreq`, which is its beginning.
fn ip_mreq(value: &[u8]) -> Result<IpMreq, Errno> {
    let [group, address] = words(value).ok_or(Errno::EINVAL)?;
    let index = int_at(value, 8).unwrap_or(0);
    Ok(IpMreq { group, address, index })
}

fn msfilter(value: &[u8]) -> Result<GroupChange, Errno> {
    if value.len() < MSFILTER_LEN {
        return Err(Errno::EINVAL);
    }
    let [group, address] = words(value).ok_or(Errno::EINVAL)?;
    let count = count_at(value, 12)?;
    let listed = value.get(MSFILTER_LEN..MSFILTER_LEN + 4 * count).ok_or(Errno::EINVAL)?;
    Ok(GroupChange {
        call: GroupCall::Filter,
        membership: IpMreq { group, address, index: 0 }.membership()?,
        sources: listed.as_chunks::<4>().0.iter().map(|source| IpAddr::from(*source)).collect(),
        mode: mode(int_at(value, 8)?)?,
    })
}

fn group_filter(level: i32, value: &[u8]) -> Result<GroupChange, Errno> {
    if value.len() < GROUP_FILTER_LEN {
        return Err(Errno::EINVAL);
    }
    let count = count_at(value, GROUP_REQ_LEN + 4)?;
    if value.len() < GROUP_FILTER_LEN + count * STORAGE_LEN {
        return Err(Errno::EINVAL);
    }
    let address = |at| address_in(storage_at(value, at)?, level).ok_or(Errno::EADDRNOTAVAIL);
    let sources = (0..count).map(|place| address(GROUP_FILTER_LEN + place * STORAGE_LEN));
    Ok(GroupChange {
        call: GroupCall::Filter,
        membership: group_of(value, address(8)?)?,
        sources: sources.collect::<Result<_, _>>()?,
        mode: mode(int_at(value, GROUP_REQ_LEN)?)?,
    })
}

fn group_of(value: &[u8], group: IpAddr) -> Result<Membership, Errno> {
    Ok(Membership { nic: interface(int_at(value, 0)?)?, ..Membership::of(group) })
}

/// The `struct sockaddr_storage` at a place, if there is room for one.
fn storage_at(value: &[u8], at: usize) -> Result<&[u8], Errno> {
    value.get(at..at + STORAGE_LEN).ok_or(Errno::EINVAL)
}

/// The address in it, if it is of the level's family.
fn address_in(storage: &[u8], level: i32) -> Option<IpAddr> {
    let family = i32::from(u16::from_ne_bytes(*storage.first_chunk()?));
    match (level, family) {
        (libc::IPPROTO_IP, libc::AF_INET) => storage[4..].first_chunk::<4>().map(|ip| IpAddr::from(*ip)),
        (libc::IPPROTO_IPV6, libc::AF_INET6) => storage[8..].first_chunk::<16>().map(|ip| IpAddr::from(*ip)),
        _ => None,
    }
}

fn interface(index: u32) -> Result<Option<NicId>, Errno> {
    match index {
        0 => Ok(None),
        index => nic_of_index(index).map(Some).ok_or(Errno::ENODEV),
    }
}

/// `MCAST_EXCLUDE` is 0, `MCAST_INCLUDE` 1.
fn mode(number: u32) -> Result<FilterMode, Errno> {
    match number {
        0 => Ok(FilterMode::Exclude),
        1 => Ok(FilterMode::Include),
        _ => Err(Errno::EINVAL),
    }
}

fn count_at(value: &[u8], at: usize) -> Result<usize, Errno> {
    let count = int_at(value, at)? as usize;
    if count > MAX_SOURCES { Err(Errno::ENOBUFS) } else { Ok(count) }
}

fn int_at(value: &[u8], at: usize) -> Result<u32, Errno> {
    let bytes = value.get(at..).and_then(|rest| rest.first_chunk()).ok_or(Errno::EINVAL)?;
    Ok(u32::from_ne_bytes(*bytes))
}

/// The first words of four bytes.
fn words<const N: usize>(value: &[u8]) -> Option<[[u8; 4]; N]> {
    value.as_chunks::<4>().0.first_chunk::<N>().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SocketKind;
    use crate::options::{Set, Stored, set};
    use sockeye_stack::{Domain, SocketType};

    const UDP4: SocketKind = SocketKind { domain: Domain::Inet, kind: SocketType::Datagram };
    const UDP6: SocketKind = SocketKind { domain: Domain::Inet6, kind: SocketType::Datagram };

    fn parsed(kind: SocketKind, level: i32, name: i32, value: &[u8]) -> Result<GroupChange, Errno> {
        match set(kind, &mut Stored::default(), level, name, value)? {
            Set::Groups(change) => Ok(change),
            other => panic!("{other:?}"),
        }
    }

    fn storage(ip: &str) -> Vec<u8> {
        let mut bytes = vec![0; STORAGE_LEN];
        match ip.parse().unwrap() {
            IpAddr::V4(v4) => {
                bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                bytes[4..8].copy_from_slice(&v4.octets());
            }
            IpAddr::V6(v6) => {
                bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                bytes[8..24].copy_from_slice(&v6.octets());
            }
        }
        bytes
    }

    fn in_group(group: &str) -> Membership {
        Membership::of(group.parse().unwrap())
    }

    #[test]
    fn ipv4_memberships_have_two_forms() {
        let mreq = [[239, 1, 2, 3], [10, 0, 0, 2]].concat();
        let mreqn = [&mreq[..], &2_i32.to_ne_bytes()].concat();
        let by_address = Membership { address: Some([10, 0, 0, 2].into()), ..in_group("239.1.2.3") };
        let by_number = Membership { nic: Some(NicId(1)), ..by_address };
        for (value, membership) in [(&mreq, by_address), (&mreqn, by_number)] {
            let change = parsed(UDP4, libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, value).unwrap();
            assert_eq!((change.call, change.membership), (GroupCall::Join, membership));
        }
        let short = parsed(UDP4, libc::IPPROTO_IP, libc::IP_DROP_MEMBERSHIP, &mreq[..7]);
        assert_eq!(short, Err(Errno::EINVAL));
        let nowhere = [&mreq[..], &70_000_i32.to_ne_bytes()].concat();
        assert_eq!(parsed(UDP4, libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, &nowhere), Err(Errno::ENODEV));
    }

    #[test]
    fn ipv6_memberships_say_a_number() {
        let group = "ff02::99".parse::<core::net::Ipv6Addr>().unwrap().octets();
        let value = [&group[..], &1_i32.to_ne_bytes()].concat();
        let change = parsed(UDP6, libc::IPPROTO_IPV6, 20, &value).unwrap();
        assert_eq!(change.membership, Membership { nic: Some(NicId(0)), ..in_group("ff02::99") });
        assert_eq!(parsed(UDP6, libc::IPPROTO_IPV6, 21, &value[..19]), Err(Errno::EINVAL));
        assert_eq!(parsed(UDP4, libc::IPPROTO_IPV6, 20, &value), Err(Errno::ENOPROTOOPT));
    }

    #[test]
    fn sources_and_filters_are_read_in_both_forms() {
        let old = [[239, 1, 2, 3], [0, 0, 0, 0], [10, 0, 0, 9]].concat();
        let new = [&[2, 0, 0, 0, 0, 0, 0, 0][..], &storage("239.1.2.3"), &storage("10.0.0.9")].concat();
        let (ip, v6) = (libc::IPPROTO_IP, libc::IPPROTO_IPV6);
        let change = parsed(UDP4, ip, libc::IP_BLOCK_SOURCE, &old).unwrap();
        assert_eq!((change.call, &change.sources[..]), (GroupCall::Block, &[[10, 0, 0, 9].into()][..]));
        let change = parsed(UDP4, ip, 46, &new).unwrap();
        assert_eq!(change.membership, Membership { nic: Some(NicId(1)), ..in_group("239.1.2.3") });
        assert_eq!((change.call, &change.sources[..]), (GroupCall::JoinSource, &[[10, 0, 0, 9].into()][..]));
        assert_eq!(parsed(UDP4, ip, 46, &new[..200]), Err(Errno::EINVAL));
        assert_eq!(parsed(UDP6, v6, 46, &new), Err(Errno::EADDRNOTAVAIL));

        let filter =
            [&old[..8], &0_u32.to_ne_bytes(), &2_u32.to_ne_bytes(), &[10, 0, 0, 8, 10, 0, 0, 9]].concat();
        let change = parsed(UDP4, ip, libc::IP_MSFILTER, &filter).unwrap();
        assert_eq!((change.mode, change.sources.len()), (FilterMode::Exclude, 2));
        assert_eq!(parsed(UDP4, ip, libc::IP_MSFILTER, &filter[..20]), Err(Errno::EINVAL));
        let many = [&old[..8], &0_u32.to_ne_bytes(), &u32::MAX.to_ne_bytes()].concat();
        assert_eq!(parsed(UDP4, ip, libc::IP_MSFILTER, &many), Err(Errno::ENOBUFS));
        let head = [&[0; 8][..], &storage("ff05::7"), &1_u32.to_ne_bytes(), &1_u32.to_ne_bytes()].concat();
        let change = parsed(UDP6, v6, 48, &[&head[..], &storage("fd77::9")].concat()).unwrap();
        assert_eq!((change.mode, change.sources), (FilterMode::Include, vec!["fd77::9".parse().unwrap()]));
        assert_eq!(parsed(UDP6, v6, 48, &head), Err(Errno::EINVAL));
    }

    #[test]
    fn the_interface_of_ipv4_has_three_forms() {
        let set = |value: &[u8]| match set(
            UDP4,
            &mut Stored::default(),
            libc::IPPROTO_IP,
            libc::IP_MULTICAST_IF,
            value,
        )? {
            Set::Stack(SocketOption::MulticastNic { nic, address }) => Ok((nic, address.octets())),
            other => panic!("{other:?}"),
        };
        assert_eq!(set(&[10, 0, 0, 1]), Ok((None, [10, 0, 0, 1])));
        assert_eq!(set(&[239, 0, 0, 1, 10, 0, 0, 1]), Ok((None, [10, 0, 0, 1])));
        assert_eq!(set(&[0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]), Ok((Some(NicId(1)), [0; 4])));
        assert_eq!(set(&[0, 0, 0]), Err(Errno::EINVAL));
    }
}
