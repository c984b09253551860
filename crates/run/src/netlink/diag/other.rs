//! Packet sockets and netlink sockets in lists.

use super::super::Netlink;
use super::{Host, Next, Plugged, Wanted, attribute, inet, words};
use sockeye_posix::Errno;
use sockeye_posix::address::interface_index;
use sockeye_posix::sock_diag::{OtherRequest, netlink_message, packet_message};
use sockeye_stack::{SocketReport, SocketType};

// What is to be shown (`PACKET_SHOW_*`, `NDIAG_SHOW_*`), and the attributes that show it.
const SHOW_PACKET_INFO: u32 = 0x01;
const SHOW_PACKET_MEMORY: u32 = 0x10;
const PACKET_INFO: u16 = 0;
const PACKET_UID: u16 = 5;
const PACKET_MEMORY: u16 = 6;
const SHOW_NETLINK_MEMORY: u32 = 1;
const SHOW_NETLINK_GROUPS: u32 = 2;
const NETLINK_MEMORY: u16 = 0;
const NETLINK_GROUPS: u16 = 1;
/// `PDI_RUNNING`.
const RUNNING: u32 = 1;
/// All protocols (`NDIAG_PROTO_ALL`).
const ALL: u8 = 255;
/// Protocols of netlink from this number on don't exist (`MAX_LINKS`).
const PROTOCOLS: u8 = 32;
/// The state of all (`TCP_CLOSE`).
const CLOSED: u8 = 7;

pub(super) fn netlink_wanted(request: OtherRequest) -> Wanted {
    if request.protocol != ALL && request.protocol >= PROTOCOLS {
        return Wanted::Nothing(Errno::ENOENT);
    }
    Wanted::Netlink(request)
}

/// A packet socket.
pub(super) fn packet(host: &Host<'_>, request: &OtherRequest, report: &SocketReport) -> Next {
    let (SocketType::Packet { cooked, ethertype }, Some(id)) = (report.kind, report.socket) else {
        return Next::Other;
    };
    let plugged = host.plugged(Some(id));
    let kind = if cooked { libc::SOCK_DGRAM } else { libc::SOCK_RAW } as u8;
    let mut body = packet_message(kind, ethertype, plugged.inode, plugged.cookie).to_vec();
    if request.show & SHOW_PACKET_INFO != 0 {
        let nic = host.stack.packet_name(id).ok().and_then(|(nic, _)| nic);
        let running = if ethertype == 0 { 0 } else { RUNNING };
        words(&mut body, PACKET_INFO, &[nic.map_or(0, interface_index), 0, 0, 0, 0, running]);
        words(&mut body, PACKET_UID, &[host.stack.owner(id).map_or(0, |owner| owner.uid)]);
    }
    if request.show & SHOW_PACKET_MEMORY != 0 {
        let queues = inet::queues(report, &plugged).map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        words(&mut body, PACKET_MEMORY, &inet::limits(host, report, queues));
    }
    Next::Message(body)
}

/// A netlink socket.
pub(super) fn netlink(request: &OtherRequest, plugged: Plugged, netlink: &Netlink) -> Next {
    let protocol = netlink.protocol as u8;
    // As in the kernel: only those with a port are in the table.
    let (Some(port), true) = (netlink.port, [ALL, protocol].contains(&request.protocol)) else {
        return Next::Other;
    };
    let Plugged { inode, cookie, .. } = plugged;
    let numbers = [netlink.kind as u8, protocol, CLOSED];
    let ports = [port, netlink.peer.port, netlink.peer.groups];
    let mut body = netlink_message(numbers, ports, inode, cookie).to_vec();
    if request.show & SHOW_NETLINK_GROUPS != 0 && netlink.groups != 0 {
        attribute(&mut body, NETLINK_GROUPS, &netlink.groups.to_ne_bytes());
    }
    if request.show & SHOW_NETLINK_MEMORY != 0 {
        words(&mut body, NETLINK_MEMORY, &[0; 9]);
    }
    Next::Message(body)
}
