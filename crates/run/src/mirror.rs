//! Packet sockets (`AF_PACKET`) of programs, without root: the kernel's own, in a network namespace in which the
//! interfaces of the program's host are mirrored.
//!
//! libpcap reads from a ring of packets that it shares with the kernel, and nobody but the kernel can offer one. So the
//! program gets a real packet socket, of a namespace that belongs to this user and has interfaces with the names,
//! numbers and addresses of the host's. Whatever passes the host's interfaces is made to pass there; whatever the
//! program sends there, the host sends. Rings, filters, statistics, fanout and poll are the kernel's, then. Of the
//! program's calls on the socket only `socket` and requests about interfaces (`ioctl`) are answered here, and nothing is
//! known of it afterwards.
//!
//! Each interface but the loopback is one end of a pair (veth). What the host receives is sent at the far end, which lies
//! in a second namespace so that nobody sees it; what the host sends is sent at the near end, by a packet socket that
//! hears itself what others send: the programs. The loopback's frames come back by themselves, as they do on any host.
//! The kernel's IP has no addresses there: it drops what it sees, and says nothing.
//!
//! Both namespaces are made when a host's first packet socket is, and given back when the last one is gone.

mod devices;
mod neighbors;

use crate::calls::Caller;
use crate::core::Core;
use crate::netlink::{Interface, hardware_of, interfaces};
use crate::poller::Token;
use crate::proto::Notice;
use crate::sys::{self, Cut, CutKind, Namespaces};
use rustix::event::epoll::EventFlags;
use sockeye::HostId;
use sockeye::wire_format::{IpLayout, Protocol};
use sockeye_packet::{Chunk, Instant, NicId, Payload};
use sockeye_posix::Errno;
use sockeye_posix::address::{interface_index, nic_of_index};
use sockeye_stack::{
    Datagram, Direction, Domain, LinkInfo, Owner, RecvFlags, SocketId, SocketOption, SocketType,
};
use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The longest frame: the longest packet behind its Ethernet header.
const FRAME_MAX: usize = LINK_LEN + 65_535;
/// Length of an Ethernet header.
const LINK_LEN: usize = 14;
/// How many of the programs' frames are sent before others have their turn.
const SHARE: usize = 256;
/// How much of what passes waits to be shown, in bytes.
const SHOWN_BUFFER: usize = 4 << 20;
/// How often somebody looks whether a mirror is still looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Who hasn't got its packet socket yet isn't in the kernel's list: so many looks find nobody before a mirror goes.
const PATIENCE: u32 = 3;
/// `ETH_P_IPV6`.
const IPV6: u16 = 0x86dd;

/// The mirrors of all hosts that have one.
#[derive(Debug, Default)]
pub(crate) struct Mirrors {
    by_host: HashMap<HostId, Mirror>,
    /// When they are looked at.
    due: Option<Instant>,
    /// Whether somebody was told that this machine refuses namespaces.
    told: bool,
}

/// The interfaces of one host, in the kernel.
#[derive(Debug)]
struct Mirror {
    namespaces: Namespaces,
    /// The packet socket in the host's stack that sees what passes, and sends what programs send.
    tap: SocketId,
    /// How many interfaces there are.
    nics: usize,
    /// Looks in a row that found no program's socket.
    idle: u32,
}

/// A packet socket for a program, of this type (with its flags) and protocol. EPERM where this machine's users may
/// have no namespaces, as to anybody who isn't root.
pub(crate) fn open(core: &mut Core, caller: Caller, kind: i32, protocol: i32) -> Result<OwnedFd, Errno> {
    if let Err(error) = prepare(core, caller.host) {
        return Err(refused(core, caller, &error));
    }
    let mirror = core.mirrors.by_host.get(&caller.host).ok_or(Errno::EPERM)?;
    let socket = mirror.namespaces.packet_socket(kind, protocol);
    socket.map_err(|error| core.plug_errno(caller.member, &error))
}

/// Sees to it that a host's interfaces are mirrored, all that it has by now.
fn prepare(core: &mut Core, host: HostId) -> io::Result<()> {
    if !core.mirrors.by_host.contains_key(&host) {
        let mirror = Mirror::new(core, host)?;
        core.mirrors.by_host.insert(host, mirror);
    }
    let Core { mirrors, world, now, .. } = core;
    mirrors.due = Some(*now + LOOK);
    let Some(mirror) = mirrors.by_host.get_mut(&host) else { return Ok(()) };
    mirror.idle = 0;
    for interface in world.with(host, |stack| interfaces(stack)).iter().skip(mirror.nics) {
        devices::add(&mirror.namespaces, interface)?;
        mirror.nics += 1;
    }
    Ok(())
}

/// New namespaces. That a user has used up what the machine grants has the errno of a full disk.
fn new_namespaces() -> io::Result<Namespaces> {
    sys::new_namespaces().map_err(|error| match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EUSERS) => {
            io::Error::other("no more are granted (user.max_user_namespaces, user.max_net_namespaces)")
        }
        _ => error,
    })
}

/// Makes a mirror with one interface, and gives it back: an error says why this machine has none.
pub(crate) fn try_out() -> io::Result<()> {
    let namespaces = new_namespaces()?;
    devices::quiet_loopback(&namespaces)?;
    let nic = NicId(1);
    let hardware = hardware_of(Ipv4Addr::LOCALHOST.into());
    let interface = Interface { nic, name: "eth0".to_owned(), mtu: 1500, hardware, addresses: Vec::new() };
    devices::add(&namespaces, &interface)
}

/// The errno for a program without a mirror, whose user is told why, once.
fn refused(core: &mut Core, caller: Caller, error: &io::Error) -> Errno {
    if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
        return core.plug_errno(caller.member, error);
    }
    if !std::mem::replace(&mut core.mirrors.told, true) {
        let text =
            format!("programs get no packet sockets, which need namespaces: {error} (see `sockeye doctor`)");
        core.notify(caller.member, Notice::Warning(text));
    }
    Errno::EPERM
}

impl Mirror {
    fn new(core: &Core, host: HostId) -> io::Result<Mirror> {
        let namespaces = new_namespaces()?;
        devices::quiet_loopback(&namespaces)?;
        sys::with_facts(&namespaces.near.packets)?;
        sys::with_facts(&namespaces.far.packets)?;
        sys::without_queue(&namespaces.far.packets)?;
        sys::hear_others_send(&namespaces.near.packets)?;
        core.poller.watch(&namespaces.near.packets, Token::Mirror(host.index()), EventFlags::IN)?;
        let now = core.now;
        let kind = SocketType::Packet { cooked: false, ethertype: SocketType::ALL };
        let tap = core.world.with(host, |stack| {
            let tap = stack.socket(Domain::Packet, kind, Owner::default())?;
            stack.set_option(now, tap, SocketOption::RecvBuffer(SHOWN_BUFFER)).map(|()| tap)
        });
        let tap = tap.map_err(|error| io::Error::from_raw_os_error(Errno::from(error).0))?;
        // The loopback is there already.
        Ok(Mirror { namespaces, tap, nics: 1, idle: 0 })
    }

    /// Has a frame of the host pass in the mirror. One that doesn't fit is lost, to those who look on.
    fn show(&self, datagram: Datagram) {
        let Some(info) = datagram.link else { return };
        let outgoing = info.direction == Direction::Outgoing;
        let side = match datagram.nic {
            // It comes back by itself.
            NicId::LOOPBACK if !outgoing => return,
            _ if outgoing => &self.namespaces.near,
            _ => &self.namespaces.far,
        };
        let (interface, frame) = (interface_index(datagram.nic), datagram.payload.into_chunk());
        let sent = sys::send_frame(&side.packets, interface, info.ethertype, cut_of(&frame, &info), &frame);
        if let Err(error) = sent {
            tracing::debug!(%error, interface, len = frame.len(), "can't show a frame");
        }
    }

    /// Whether a program has a packet socket: the kernel's list has a line for its columns and one for our own.
    fn is_looked_at(&self) -> bool {
        let mut list = [0; 1024];
        let len = rustix::io::pread(&self.namespaces.listed, &mut list, 0);
        // A list that can't be read may have any number.
        len.map_or(true, |len| list[..len].split(|&byte| byte == b'\n').nth(3).is_some())
    }
}

/// How a super-segment is to be cut.
fn cut_of(frame: &[u8], info: &LinkInfo) -> Option<Cut> {
    if info.segment_size == 0 {
        return None;
    }
    let ip = IpLayout::parse(frame.get(LINK_LEN..)?).ok()?;
    let transport = LINK_LEN + ip.transport;
    let (kind, header) = match ip.protocol {
        Protocol::TCP => {
            let words = frame.get(transport + 12)? >> 4;
            (if ip.src.is_ipv4() { CutKind::Tcp4 } else { CutKind::Tcp6 }, 4 * usize::from(words))
        }
        _ => (CutKind::Udp, 8),
    };
    let (transport, payload) = (transport as u16, (transport + header) as u16);
    Some(Cut { kind, size: info.segment_size, transport, payload })
}

impl Mirrors {
    /// Whether a socket of a host's stack is a mirror's.
    pub(crate) fn has(&self, host: HostId, id: SocketId) -> bool {
        self.by_host.get(&host).is_some_and(|mirror| mirror.tap == id)
    }
}

/// Packets have passed the interfaces of a host with a mirror.
pub(crate) fn on_stack(core: &mut Core, host: HostId) {
    let Core { mirrors, world, now, .. } = core;
    let Some(mirror) = mirrors.by_host.get(&host) else { return };
    while let Ok(datagram) = world.with(host, |stack| stack.recv_from(*now, mirror.tap, RecvFlags::default()))
    {
        mirror.show(datagram);
    }
}

/// Programs have sent frames in the mirror of the host of this number.
pub(crate) fn on_ready(core: &mut Core, host: usize) {
    let Some(&host) = core.mirrors.by_host.keys().find(|id| id.index() == host) else { return };
    // What the host sent before is shown before what follows.
    on_stack(core, host);
    let mut buffer = vec![0; FRAME_MAX];
    for _ in 0..SHARE {
        let Some(mirror) = core.mirrors.by_host.get(&host) else { return };
        match sys::receive_frame(&mirror.namespaces.near.packets, &mut buffer) {
            Ok((interface, frame)) => send(core, host, interface, frame),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // An interface has gone down, or the like: told once.
            Err(error) => tracing::debug!(%error, "a mirror's frames"),
        }
    }
}

/// A program's frame leaves its host.
fn send(core: &mut Core, host: HostId, interface: u32, frame: &[u8]) {
    let (Some(nic), Some(mirror)) = (nic_of_index(interface), core.mirrors.by_host.get(&host)) else {
        return;
    };
    if let Some((ethertype, answer)) = neighbors::answer(core.world.network(), host, frame) {
        sys::send_frame(&mirror.namespaces.far.packets, interface, ethertype, None, &answer).ok();
        return;
    }
    let (now, tap) = (core.now, mirror.tap);
    let payload = Payload::from(Chunk::copy_from(frame));
    // What can't be sent is lost on the link, as far as its sender can see.
    core.world.with(host, |stack| stack.send_packet(now, tap, Some(nic), payload)).ok();
}

/// Gives back the mirrors that nobody looks at any more; returns when to look again.
pub(crate) fn look(core: &mut Core) -> Option<Instant> {
    let due = core.mirrors.due?;
    if due > core.now {
        return Some(due);
    }
    for mirror in core.mirrors.by_host.values_mut() {
        mirror.idle = if mirror.is_looked_at() { 0 } else { mirror.idle + 1 };
    }
    let gone: Vec<_> = core.mirrors.by_host.extract_if(|_, mirror| mirror.idle >= PATIENCE).collect();
    for (host, mirror) in gone {
        core.poller.forget(&mirror.namespaces.near.packets);
        let now = core.now;
        core.world.with(host, |stack| stack.close(now, mirror.tap)).ok();
    }
    core.mirrors.due = if core.mirrors.by_host.is_empty() { None } else { Some(core.now + LOOK) };
    core.mirrors.due
}
