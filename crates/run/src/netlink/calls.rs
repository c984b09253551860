//! The intercepted calls on route sockets.

use super::work::Work;
use super::{ASKED_MAX, Asked, Netlink, ask, bind_anywhere, come_back, of, options, ports, serve};
use crate::calls::{Answer, Caller};
use crate::core::Core;
use crate::datagram::wait;
use crate::end::ProgramEnd;
use crate::proto::{Op, Outcome, Received};
use crate::sockets::SocketKey;
use rustix::buffer::spare_capacity;
use rustix::io::Errno as SysErrno;
use rustix::net::sockopt::Timeout;
use rustix::net::{RecvFlags as SysRecvFlags, recv};
use sockeye_posix::Errno;
use sockeye_posix::cmsg::ControlWriter;
use sockeye_posix::flags::{MessageFlags, RecvFlags};
use sockeye_posix::interface::NetlinkAddress;

/// The longest answer: an error that repeats the longest request.
const ANSWER_MAX: usize = 128 * 1024;

/// Answers a call on a route socket.
pub(crate) fn handle(core: &mut Core, caller: Caller, end: &ProgramEnd, key: SocketKey, op: &Op) -> Answer {
    // What the program wrote natively goes first.
    serve(core, key);
    match op {
        Op::Bind { address } => bind(core, caller, key, address),
        Op::Connect { address } => connect(core, key, address),
        Op::LocalName => name(core, key, |netlink| NetlinkAddress {
            port: netlink.port.unwrap_or_default(),
            groups: netlink.groups as u32,
        }),
        Op::PeerName => name(core, key, |netlink| netlink.peer),
        Op::SetOption { level, name, value } => options::set(core, key, (*level, *name), value),
        Op::GetOption { level, name, room } => options::get(core, end, key, (*level, *name), *room as usize),
        Op::Send { flags, name, control: _, data } => send(core, key, *flags, name, data),
        Op::Receive { flags, room, control_room } => {
            receive(core, end, key, *flags, [*room as usize, *control_room as usize])
        }
        Op::Listen { .. } | Op::Accept { .. } | Op::Shutdown { .. } => Err(Errno::EOPNOTSUPP),
        Op::Ioctl { .. } => Err(Errno::ENOTTY),
        Op::Socket { .. } | Op::Pass { .. } | Op::Table { .. } => Ok(Outcome::Continue),
    }
}

fn netlink(core: &mut Core, key: SocketKey) -> Result<&mut Netlink, Errno> {
    of(core, key).ok_or(Errno::EBADF)
}

/// `bind`: to a port, or to any when it is 0. Binding again to the same one joins other groups.
fn bind(core: &mut Core, caller: Caller, key: SocketKey, address: &[u8]) -> Answer {
    let address = NetlinkAddress::parse(address)?;
    let (bound, protocol) = (netlink(core, key)?.port, netlink(core, key)?.protocol);
    match bound {
        Some(port) if port != address.port => return Err(Errno::EINVAL),
        Some(_) => {}
        None if address.port == 0 => {
            bind_anywhere(core, key);
        }
        None if ports(core, caller.host, protocol).contains(&address.port) => return Err(Errno::EADDRINUSE),
        None => netlink(core, key)?.port = Some(address.port),
    }
    let netlink = netlink(core, key)?;
    netlink.groups = netlink.groups & !u64::from(u32::MAX) | u64::from(address.groups);
    Ok(Outcome::Value(0))
}

/// `connect`: to the kernel, the only one whom everybody may address.
fn connect(core: &mut Core, key: SocketKey, address: &[u8]) -> Answer {
    if sockeye_posix::address::family(address) != Some(libc::AF_UNSPEC) {
        only_the_kernel(NetlinkAddress::parse(address)?)?;
        bind_anywhere(core, key);
    }
    netlink(core, key)?.peer = NetlinkAddress::default();
    Ok(Outcome::Value(0))
}

fn only_the_kernel(address: NetlinkAddress) -> Result<(), Errno> {
    if address == NetlinkAddress::default() { Ok(()) } else { Err(Errno::EPERM) }
}

fn name(core: &mut Core, key: SocketKey, which: impl Fn(&Netlink) -> NetlinkAddress) -> Answer {
    Ok(Outcome::Bytes(which(netlink(core, key)?).to_bytes().to_vec()))
}

/// `sendto`, `sendmsg` or one message of `sendmmsg`.
fn send(core: &mut Core, key: SocketKey, flags: i32, name: &[u8], data: &[u8]) -> Answer {
    if flags & libc::MSG_OOB != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if !name.is_empty() {
        only_the_kernel(NetlinkAddress::parse(name)?)?;
    }
    if data.is_empty() {
        return Err(Errno(libc::ENODATA));
    }
    let asked = &mut netlink(core, key)?.asked;
    if asked.is_empty() {
        let mut work = Work::default();
        ask(core, key, data, &mut work);
        if work.is_over() {
            come_back(core, key);
        }
    } else if asked.iter().map(|asked| asked.bytes.len()).sum::<usize>() + data.len() > ASKED_MAX {
        return Err(Errno::ENOBUFS);
    } else {
        // In its turn.
        asked.push_back(Asked { bytes: data.to_vec(), answered: 0 });
    }
    Ok(Outcome::Value(data.len() as i64))
}

/// `recvfrom`, `recvmsg` or one message of `recvmmsg`, with room for so many bytes of data and of control
/// messages.
fn receive(
    core: &mut Core,
    end: &ProgramEnd,
    key: SocketKey,
    flags: i32,
    [room, control_room]: [usize; 2],
) -> Answer {
    let flags = RecvFlags::parse(flags);
    if flags.out_of_band {
        return Err(Errno::EOPNOTSUPP);
    }
    let netlink = netlink(core, key)?;
    let silent = netlink.has(options::NO_ENOBUFS);
    if std::mem::take(&mut netlink.overrun) && !silent {
        return Err(Errno::ENOBUFS);
    }
    let theirs = end.fd().ok_or(Errno::EBADF)?;
    let room = room.min(ANSWER_MAX);
    let mut bytes = Vec::with_capacity(room.max(1));
    let peek = if flags.peek { SysRecvFlags::PEEK } else { SysRecvFlags::empty() };
    let len =
        match recv(theirs, spare_capacity(&mut bytes), SysRecvFlags::DONTWAIT | SysRecvFlags::TRUNC | peek) {
            Ok((_, len)) => len,
            Err(SysErrno::AGAIN) => return wait(end, key, flags.dont_wait, Timeout::Recv),
            Err(error) => return Err(Errno(error.raw_os_error())),
        };
    // There may be more capacity than was asked for.
    bytes.truncate(room);
    let close_on_exec = flags.close_on_exec;
    let mut out = MessageFlags { truncated: len > bytes.len(), close_on_exec, ..MessageFlags::default() };
    let mut controls = ControlWriter::new(control_room);
    if netlink.has(options::PKTINFO) {
        // No group: the answer is for this socket alone.
        controls.put_int(libc::SOL_NETLINK, libc::NETLINK_PKTINFO, 0);
    }
    let record = core.sockets.get(key).ok_or(Errno::EBADF)?;
    if record.stored.is_on(libc::SOL_SOCKET, libc::SO_PASSCRED) {
        // The kernel's: process, user and group 0.
        controls.put(libc::SOL_SOCKET, libc::SCM_CREDENTIALS, &[0; 12]);
    }
    let control = controls.finish(&mut out);
    let result = if flags.truncate { len } else { bytes.len() } as u32;
    let name = Some(NetlinkAddress::default().to_bytes().to_vec());
    Ok(Outcome::Received(Received { data: bytes, name, control, flags: out.bits(), result }))
}
