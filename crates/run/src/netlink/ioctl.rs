//! The requests of `ioctl` about interfaces, answered for the host of the program, on whatever socket they
//! are made: C libraries take local ones for them.

use super::describe::flags_of;
use super::ethtool;
use super::host::{Interface, interfaces, v4_mask};
use crate::calls::Answer;
use crate::core::Core;
use crate::proto::Outcome;
use sockeye::HostId;
use sockeye_posix::Errno;
use sockeye_posix::interface::{self, InterfaceRequest, LIST_REQUEST, NeighbourRequest};
use sockeye_stack::Stack;
use std::net::Ipv4Addr;

/// The hardware types `ARPHRD_ETHER` and `ARPHRD_LOOPBACK`.
const ETHERNET: u16 = 1;
const LOOPBACK: u16 = 772;
/// The length of the queue that Linux gives an interface.
const QUEUE_LEN: i32 = 1000;

/// The longest answer: a list of addresses, 40 bytes each, of which nobody has more than thousands.
pub(super) const ANSWER_MAX: usize = 1 << 20;

/// Requests that libc doesn't name.
const SIOCGIFMEM: u32 = 0x891f;
const SIOCSIFMEM: u32 = 0x8920;
const SIOCGIFENCAP: u32 = 0x8925;
const SIOCSIFENCAP: u32 = 0x8926;
const SIOCGIFSLAVE: u32 = 0x8929;
const SIOCGIFCOUNT: u32 = 0x8938;

/// A request with its `struct ifreq`, which goes back with the answer; of that for a list nothing, and all of
/// the list goes back.
pub(crate) fn interface_request(core: &Core, host: HostId, request: u32, argument: &[u8]) -> Answer {
    core.world.with(host, |stack| answer(stack, request, argument)).map(Outcome::Bytes)
}

pub(super) fn answer(stack: &Stack, request: u32, argument: &[u8]) -> Result<Vec<u8>, Errno> {
    if request == LIST_REQUEST {
        return Ok(list(&interfaces(stack)));
    }
    if let Some(errno) = refused(request) {
        return Err(errno);
    }
    if interface::NEIGHBOUR_REQUESTS.contains(&request) {
        return Err(neighbour(&interfaces(stack), &NeighbourRequest::parse(argument)?));
    }
    let mut asked = InterfaceRequest::parse(argument)?;
    let interfaces = interfaces(stack);
    if request == libc::SIOCGIFNAME as u32 {
        let found = interfaces.iter().find(|interface| interface.index() as i32 == asked.int());
        asked.set_name(&found.ok_or(Errno::ENODEV)?.name);
    } else {
        let found = interfaces.iter().find(|interface| interface.name.as_bytes() == asked.name());
        if request == interface::ETHTOOL_REQUEST {
            let asked = argument.get(InterfaceRequest::SIZE..).unwrap_or_default();
            return ethtool::answer(found.ok_or(Errno::ENODEV)?, asked);
        }
        about(found.ok_or(Errno::ENODEV)?, request, &mut asked)?;
    }
    Ok(asked.as_bytes().to_vec())
}

/// The errno of requests that need no interface to be refused: those that change something, and those that
/// Linux doesn't know.
fn refused(request: u32) -> Option<Errno> {
    Some(match request {
        // The last are from before Linux 2.2.
        SIOCGIFMEM | SIOCSIFMEM | SIOCGIFENCAP | SIOCSIFENCAP | 0x8950..=0x8952 => Errno::ENOTTY,
        SIOCGIFCOUNT => Errno::EINVAL,
        // `SIOCSIFFLAGS` to `SIOCSIFMTU`: the even ones set.
        0x8914..=0x8922 if request.is_multiple_of(2) => Errno::EPERM,
        // `SIOCSIFLINK`, names, hardware addresses, slaves, multicast addresses; the queue's length, the
        // MII's registers, the network namespace.
        0x8911
        | 0x8923
        | 0x8924
        | 0x8930..=0x8932
        | 0x8934
        | 0x8936
        | 0x8937
        | 0x8943
        | 0x8947..=0x8949
        // `SIOCDARP`, `SIOCSARP`.
        | 0x8953
        | 0x8955
        | 0x894c => Errno::EPERM,
        _ => return None,
    })
}

/// `SIOCGARP`, the errno that says that there is no such neighbour: hosts find each other without ARP.
fn neighbour(interfaces: &[Interface], asked: &NeighbourRequest) -> Errno {
    /// `ATF_PUBL`; `ATF_NETMASK` and `ATF_DONTPUB`.
    const PUBLISHED: u32 = 0x08;
    const OF_PUBLISHED: u32 = 0x60;
    let is_there = || interfaces.iter().any(|interface| interface.name.as_bytes() == asked.name());
    if i32::from(asked.family) != libc::AF_INET {
        Errno::EPFNOSUPPORT
    } else if asked.flags & PUBLISHED == 0 && asked.flags & OF_PUBLISHED != 0 {
        Errno::EINVAL
    } else if is_there() {
        Errno::ENXIO
    } else {
        Errno::ENODEV
    }
}

/// The IPv4 addresses of all interfaces, each a `struct ifreq`.
fn list(interfaces: &[Interface]) -> Vec<u8> {
    let mut list = Vec::new();
    for interface in interfaces {
        for (ip, _) in interface.v4_addresses() {
            let mut entry = InterfaceRequest::named(&interface.name);
            entry.set_v4(ip);
            list.extend_from_slice(entry.as_bytes());
        }
    }
    list
}

/// What a request asks of an interface that is there.
fn about(interface: &Interface, request: u32, asked: &mut InterfaceRequest) -> Result<(), Errno> {
    match u64::from(request) {
        // The low half, as for everybody who asks this way.
        libc::SIOCGIFFLAGS => asked.set_short(flags_of(interface).bits() as u16),
        libc::SIOCGIFMETRIC => asked.set_int(0),
        libc::SIOCGIFMTU => asked.set_int(interface.mtu as i32),
        libc::SIOCGIFINDEX => asked.set_int(interface.index() as i32),
        libc::SIOCGIFTXQLEN => asked.set_int(QUEUE_LEN),
        libc::SIOCGIFHWADDR => {
            let kind = if interface.is_loopback() { LOOPBACK } else { ETHERNET };
            asked.set_hardware(kind, interface.hardware);
        }
        libc::SIOCGIFADDR | libc::SIOCGIFDSTADDR | libc::SIOCGIFBRDADDR | libc::SIOCGIFNETMASK => {
            // Of several addresses a program may name the one it means.
            let meant = asked.v4().and_then(|ip| interface.v4_addresses().find(|&(own, _)| own == ip));
            let (ip, prefix) =
                meant.or_else(|| interface.v4_addresses().next()).ok_or(Errno::EADDRNOTAVAIL)?;
            asked.set_v4(match u64::from(request) {
                libc::SIOCGIFBRDADDR => interface.broadcast(ip, prefix).unwrap_or(Ipv4Addr::UNSPECIFIED),
                libc::SIOCGIFNETMASK => v4_mask(prefix),
                // It is its own peer unless the link has but two ends.
                _ => ip,
            });
        }
        _ if request == SIOCGIFSLAVE => return Err(Errno::EINVAL),
        _ => return Err(Errno::ENOTTY),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::host::tests::stack;
    use proptest::prelude::*;

    fn ask(request: u64, name: &str) -> Result<InterfaceRequest, Errno> {
        let asked = InterfaceRequest::named(name);
        answer(&stack(), request as u32, asked.as_bytes())
            .map(|bytes| InterfaceRequest::parse(&bytes).unwrap())
    }

    #[test]
    fn interfaces_are_described() {
        let int = |request, name| ask(request, name).map(|answer| answer.int());
        assert_eq!(int(libc::SIOCGIFINDEX, "lo"), Ok(1));
        assert_eq!(int(libc::SIOCGIFINDEX, "eth0"), Ok(2));
        assert_eq!(int(libc::SIOCGIFINDEX, "eth0:7"), Ok(2));
        assert_eq!(int(libc::SIOCGIFINDEX, "eth1"), Err(Errno::ENODEV));
        assert_eq!(int(libc::SIOCGIFMTU, "lo"), Ok(65_536));
        assert_eq!(int(libc::SIOCGIFMTU, "eth0"), Ok(1500));
        assert_eq!(int(libc::SIOCGIFFLAGS, "lo"), Ok(libc::IFF_UP | libc::IFF_LOOPBACK | libc::IFF_RUNNING));
        let flags = libc::IFF_UP | libc::IFF_BROADCAST | libc::IFF_RUNNING | libc::IFF_MULTICAST;
        assert_eq!(int(libc::SIOCGIFFLAGS, "eth0"), Ok(flags));
        let v4 = |request| ask(request, "eth0").unwrap().v4().unwrap().to_string();
        assert_eq!(v4(libc::SIOCGIFADDR), "10.77.0.2");
        assert_eq!(v4(libc::SIOCGIFDSTADDR), "10.77.0.2");
        assert_eq!(v4(libc::SIOCGIFBRDADDR), "10.77.255.255");
        assert_eq!(v4(libc::SIOCGIFNETMASK), "255.255.0.0");
        let hardware = ask(libc::SIOCGIFHWADDR, "eth0").unwrap();
        assert_eq!(hardware.as_bytes()[16..24], [1, 0, 0x02, 0x42, 10, 77, 0, 2]);
    }

    #[test]
    fn there_are_no_neighbours() {
        let asked = |family: i32, flags: u8, name: &str| {
            let mut bytes = [0; 68];
            (bytes[0], bytes[32]) = (family as u8, flags);
            bytes[52..][..name.len()].copy_from_slice(name.as_bytes());
            answer(&stack(), libc::SIOCGARP as u32, &bytes)
        };
        assert_eq!(asked(libc::AF_INET, 0, "eth0"), Err(Errno::ENXIO));
        assert_eq!(asked(libc::AF_INET, 0x20, "eth0"), Err(Errno::EINVAL));
        assert_eq!(asked(libc::AF_INET, 0x28, "eth0"), Err(Errno::ENXIO));
        assert_eq!(asked(libc::AF_INET, 0, "eth1"), Err(Errno::ENODEV));
        assert_eq!(asked(libc::AF_INET, 0, ""), Err(Errno::ENODEV));
        assert_eq!(asked(libc::AF_INET6, 0, "eth0"), Err(Errno::EPFNOSUPPORT));
        assert_eq!(answer(&stack(), libc::SIOCGARP as u32, &[0; 67]), Err(Errno::EFAULT));
        assert_eq!(answer(&stack(), libc::SIOCSARP as u32, &[0; 68]), Err(Errno::EPERM));
    }

    #[test]
    fn names_are_found_by_number() {
        let name = |index| {
            let mut asked = InterfaceRequest::named("");
            asked.set_int(index);
            let answer = answer(&stack(), libc::SIOCGIFNAME as u32, asked.as_bytes())?;
            Ok(String::from_utf8(InterfaceRequest::parse(&answer)?.name().to_vec()).unwrap())
        };
        assert_eq!(name(1), Ok("lo".to_owned()));
        assert_eq!(name(2), Ok("eth0".to_owned()));
        for unknown in [0, 3, -1] {
            assert_eq!(name(unknown), Err(Errno::ENODEV));
        }
    }

    #[test]
    fn the_list_has_the_addresses_of_ipv4() {
        let list = answer(&stack(), LIST_REQUEST, &[]).unwrap();
        let told: Vec<_> = list
            .chunks(40)
            .map(|entry| {
                let entry = InterfaceRequest::parse(entry).unwrap();
                format!("{} {}", String::from_utf8_lossy(entry.name()), entry.v4().unwrap())
            })
            .collect();
        assert_eq!(told, ["lo 127.0.0.1", "eth0 10.77.0.2"]);
    }

    #[test]
    fn what_is_refused_is_refused_as_by_linux() {
        for set in [libc::SIOCSIFADDR, libc::SIOCSIFFLAGS, libc::SIOCSIFMTU, libc::SIOCSIFHWADDR] {
            assert_eq!(ask(set, "eth0"), Err(Errno::EPERM));
            assert_eq!(ask(set, "eth1"), Err(Errno::EPERM), "whether it is there or not");
        }
        assert_eq!(ask(libc::SIOCETHTOOL, "eth0"), Err(Errno::EFAULT), "what it wants isn't there");
        assert_eq!(ask(libc::SIOCETHTOOL, "eth1"), Err(Errno::ENODEV));
        assert_eq!(ask(SIOCGIFCOUNT.into(), ""), Err(Errno::EINVAL));
        assert_eq!(ask(SIOCGIFENCAP.into(), "eth0"), Err(Errno::ENOTTY));
        assert_eq!(ask(0x894b, "eth0"), Err(Errno::ENOTTY));
    }

    proptest! {
        #[test]
        fn any_request_is_answered(request in 0x8900_u32..0x8960, argument in any::<[u8; 24]>(), len in 0_usize..96) {
            let mut bytes = argument.to_vec();
            bytes.resize(len, 0);
            if let Ok(answer) = answer(&stack(), request, &bytes) {
                prop_assert!(answer.len() <= 256);
            }
        }
    }
}
