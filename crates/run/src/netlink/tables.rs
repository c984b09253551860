//! The files of `/proc/net` that tell of interfaces and routes, for the programs (net-tools, nmap) that read them
//! instead of asking: the machine's own would tell of a network that the program isn't on.

use super::host::{Interface, interfaces, network, v4_mask};
use crate::core::Core;
use crate::proto::{Class, Outcome, Reply, Table};
use rustix::fs::{MemfdFlags, memfd_create};
use sockeye::HostId;
use sockeye_stack::{Route, Stack};
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

/// Bits of a route's flags (`RTF_*`): it can be used, leads to a gateway, leads to one host.
const UP: u32 = 1;
const GATEWAY: u32 = 2;
const HOST: u32 = 4;
/// `IFA_F_PERMANENT`: nobody leased the address.
const PERMANENT: u32 = 0x80;
/// The length of a line of `route`, filled with spaces, without its end.
const ROUTE_LINE: usize = 127;

/// A descriptor from which a program reads a table of its host, as it is now.
pub(crate) fn open(core: &mut Core, host: HostId, table: Table) -> Reply {
    let text = core.world.with(host, |stack| text_of(stack, table));
    match file_of(&text) {
        Ok(fd) => {
            let outcome =
                Outcome::Descriptor { class: Class::Other, close_on_exec: false, address: Vec::new() };
            Reply { outcome, ticket: None, fd: Some(fd) }
        }
        Err(error) => Outcome::Error(error.raw_os_error().unwrap_or(libc::EIO)).into(),
    }
}

/// A file of this text, open for reading only, as the program asked.
fn file_of(text: &str) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("net", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).map(OwnedFd::from)
}

fn text_of(stack: &Stack, table: Table) -> String {
    let interfaces = interfaces(stack);
    let name = |route: &Route| {
        let found = interfaces.iter().find(|interface| interface.nic == route.nic);
        found.map_or("", |interface| interface.name.as_str())
    };
    let routes = stack.routes();
    match table {
        Table::Interfaces => devices(&interfaces),
        Table::AddressesV6 => interfaces.iter().map(addresses_v6).collect(),
        Table::RoutesV4 => {
            let head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT";
            let lines = routes.iter().filter_map(|route| route_v4(route, name(route)));
            let mut text = String::new();
            for line in std::iter::once(head.to_owned()).chain(lines) {
                // Writing to a String can't fail.
                writeln!(text, "{line:ROUTE_LINE$}").ok();
            }
            text
        }
        Table::RoutesV6 => routes.iter().filter_map(|route| route_v6(route, name(route))).collect(),
    }
}

/// The interfaces. Their counters are zero, as netlink tells them.
fn devices(interfaces: &[Interface]) -> String {
    let mut text = String::from(
        "Inter-|   Receive                                                |  Transmit\n face |bytes    \
         packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier \
         compressed\n",
    );
    for Interface { name, .. } in interfaces {
        // Writing to a String can't fail.
        write!(text, "{name:>6}:").ok();
        for width in [7, 7, 4, 4, 4, 5, 10, 9, 8, 7, 4, 4, 4, 5, 7, 10] {
            write!(text, " {:width$}", 0).ok();
        }
        text.push('\n');
    }
    text
}

/// The IPv6 addresses of an interface: address, number, prefix, scope, flags, name.
fn addresses_v6(interface: &Interface) -> String {
    let (index, name) = (interface.index(), &interface.name);
    let lines = interface.addresses.iter().filter_map(|&(ip, prefix)| {
        let IpAddr::V6(ip) = ip else { return None };
        let scope = match ip {
            Ipv6Addr::LOCALHOST => 0x10,
            ip if ip.is_unicast_link_local() => 0x20,
            _ => 0,
        };
        let ip = ip.to_bits();
        Some(format!("{ip:032x} {index:02x} {prefix:02x} {scope:02x} {PERMANENT:02x} {name:>8}\n"))
    });
    lines.collect()
}

fn flags(route: &Route) -> u32 {
    let whole = if route.dest.is_ipv4() { 32 } else { 128 };
    let gateway = if route.gateway.is_some() { GATEWAY } else { 0 };
    UP | gateway | if route.prefix == whole { HOST } else { 0 }
}

/// Addresses are numbers there, of the machine's byte order.
fn route_v4(route: &Route, name: &str) -> Option<String> {
    let number = |ip: Ipv4Addr| u32::from_ne_bytes(ip.octets());
    let IpAddr::V4(dest) = network(route.dest, route.prefix) else { return None };
    let gateway = match route.gateway {
        Some(IpAddr::V4(gateway)) => gateway,
        _ => Ipv4Addr::UNSPECIFIED,
    };
    let (dest, gateway, mask) = (number(dest), number(gateway), number(v4_mask(route.prefix)));
    let (flags, metric) = (flags(route), route.metric);
    Some(format!("{name}\t{dest:08X}\t{gateway:08X}\t{flags:04X}\t0\t0\t{metric}\t{mask:08X}\t0\t0\t0"))
}

/// Destination, source, next hop, metric, uses, flags, interface.
fn route_v6(route: &Route, name: &str) -> Option<String> {
    let IpAddr::V6(dest) = network(route.dest, route.prefix) else { return None };
    let hop = match route.gateway {
        Some(IpAddr::V6(gateway)) => gateway.to_bits(),
        _ => 0,
    };
    let (dest, prefix, metric, flags) = (dest.to_bits(), route.prefix, route.metric, flags(route));
    Some(format!(
        "{dest:032x} {prefix:02x} {:032x} 00 {hop:032x} {metric:08x} 00000000 00000000 {flags:08x} {name:>8}\n",
        0
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::host::tests::stack;

    #[test]
    fn a_table_is_read_from_its_start_and_never_written() {
        let mut file = File::from(file_of("Iface\n").unwrap());
        assert_eq!(io::read_to_string(&file).unwrap(), "Iface\n");
        assert_eq!(file.write(b"x").unwrap_err().raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn the_tables_are_laid_out_as_the_kernels() {
        let lines = |table| -> Vec<String> {
            text_of(&stack(), table).lines().map(|line| line.trim_end().to_owned()).collect()
        };
        let zeros = ":       0       0    0    0    0     0          0         0        0       0    0    0    0     \
                     0       0          0";
        let devices = lines(Table::Interfaces);
        assert_eq!(devices[2..], [format!("    lo{zeros}"), format!("  eth0{zeros}")]);
        assert_eq!(devices[0].find('|'), devices[1].find('|'));
        assert_eq!(
            lines(Table::AddressesV6),
            [
                "00000000000000000000000000000001 01 80 10 80       lo",
                "fd770000000000000000000000000002 02 40 00 80     eth0",
            ]
        );
        let routes = lines(Table::RoutesV4);
        let line = |dest: [u8; 4], gateway: [u8; 4], flags, mask: [u8; 4]| {
            let [dest, gateway, mask] = [dest, gateway, mask].map(u32::from_ne_bytes);
            format!("eth0\t{dest:08X}\t{gateway:08X}\t{flags}\t0\t0\t0\t{mask:08X}\t0\t0\t0")
        };
        assert!(routes.contains(&line([10, 77, 0, 0], [0; 4], "0001", [255, 255, 0, 0])), "{routes:#?}");
        assert!(routes.contains(&line([0; 4], [10, 77, 0, 1], "0003", [0; 4])), "{routes:#?}");
        let hop = "fd770000000000000000000000000001";
        let through =
            format!("{:032x} 00 {:032x} 00 {hop} 00000000 00000000 00000000 00000003     eth0", 0, 0);
        assert!(lines(Table::RoutesV6).contains(&through), "{:#?}", lines(Table::RoutesV6));
    }
}
