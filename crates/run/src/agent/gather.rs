//! From a call to a question: which socket it is about, and what its pointers point to.

use super::processes::Named;
use super::{Agent, Call};
use crate::datagram::SEND_MAX;
use crate::filter::Syscall;
use crate::proto::{Class, Identity, Op, Outcome, Request, Table};
use crate::sys;
use sockeye_posix::Errno;
use sockeye_posix::interface::{self, InterfaceList, InterfaceRequest, NeighbourRequest};
use sockeye_posix::message::{CONTROL_MAX, IOV_MAX, IoVec, MMSG_MAX, MessageHeader};
use sockeye_stack::bpf::Filter;
use std::os::fd::OwnedFd;

/// Longest value of an option read from a program; longer ones are cut, as no option is that long.
const VALUE_MAX: usize = 4096;
/// Bytes of the longest filter of a socket.
const FILTER_MAX: usize = 8 * Filter::LONGEST;
/// Most bytes of a stream taken from a program's memory at once.
const PIECE_MAX: usize = 64 * 1024;

/// Local sockets of services that would answer for the machine's network instead of ours, and the errno
/// that makes programs ask by DNS.
const REFUSED_SERVICES: [(&[u8], i32); 4] = [
    (b"/run/nscd/socket", libc::ENOENT),
    (b"/var/run/nscd/socket", libc::ENOENT),
    (b"/run/systemd/resolve/io.systemd.Resolve", libc::ECONNREFUSED),
    (b"/var/run/systemd/resolve/io.systemd.Resolve", libc::ECONNREFUSED),
];

/// Where an outcome's bytes go in the calling process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Landing {
    /// Nowhere.
    Nothing,
    /// Nowhere; should the socket get another descriptor, it takes the place of this one.
    Place(Identity),
    /// An address and its length, as for `getsockname`; null for who wants none.
    Name { address: u64, len: u64 },
    /// An option's value and its length.
    Option { address: u64, len: u64 },
    /// A value by itself.
    Value { address: u64 },
    /// A list of interfaces, by the `struct ifconf` at this address.
    Interfaces { at: u64, list: InterfaceList },
    /// A datagram's data, and its source's address.
    Buffer { data: u64, address: u64, len: u64 },
    /// A datagram, by a `struct msghdr`.
    Message(MessageLanding),
    /// One message of a `sendmmsg` or `recvmmsg`.
    OneOf { index: usize, message: Option<MessageLanding> },
}

/// A `struct msghdr` that is received into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MessageLanding {
    /// Where it lies.
    pub(super) at: u64,
    pub(super) header: MessageHeader,
    /// The buffers.
    pub(super) ranges: Vec<(u64, usize)>,
}

/// What comes next for a call.
#[derive(Debug)]
pub(super) enum Step {
    /// The network is asked.
    Ask { request: Request, theirs: Option<OwnedFd>, landing: Landing },
    /// The network is asked whether this is one of its sockets; then the call begins anew.
    Identify(Identity),
    /// It is decided here.
    Conclude(Outcome),
}

impl Agent {
    /// Reads a call; `index` is the message's that is next, of a call with many.
    pub(super) fn gather(&mut self, call: &Call, index: usize) -> Result<Step, Errno> {
        if call.syscall == Syscall::Socket {
            let op = Op::Socket { domain: call.int(0), kind: call.int(1), protocol: call.int(2) };
            return Ok(ask(call, None, None, (op, Landing::Nothing)));
        }
        if call.syscall == Syscall::OpenAt {
            let table =
                path_of(call).filter(|_| !self.attachment.is_gone()).and_then(|path| Table::at(&path));
            let ask = table.map(|table| ask(call, None, None, (Op::Table { table }, Landing::Nothing)));
            return Ok(ask.unwrap_or(Step::Conclude(Outcome::Continue)));
        }
        let (identity, theirs) = match self.processes.named(call.tid, call.int(0))? {
            Named::Socket(identity, theirs) => (identity, theirs),
            Named::Other => return not_ours(call),
        };
        if self.attachment.is_gone() && theirs.as_ref().is_some_and(sys::is_of_loopback_pair) {
            // The kernel's own UDP socket: it must not lead out of the network that has ended.
            return Err(Errno(libc::ENETDOWN));
        }
        if call.syscall == Syscall::Ioctl && interface::is_about_interfaces(call.word(1) as u32) {
            // Whose socket it is doesn't matter: C libraries ask through local ones.
            return Ok(ask(call, Some(identity), None, interface_op(call)?));
        }
        let Some(class) = self.attachment.class_of(identity) else { return Ok(Step::Identify(identity)) };
        let (op, landing) = match class {
            Class::Other => return not_ours(call),
            Class::Stream if call.syscall == Syscall::RecvMsg && self.attachment.inquires(identity) => {
                let (op, landing) = receive_message(call, call.word(1), call.int(2))?;
                (op, Landing::Message(landing))
            }
            Class::Stream => match stream_op(call)? {
                (Op::SetOption { level: libc::IPPROTO_TCP, name: libc::TCP_INQ, value }, landing) => {
                    self.attachment.learn_inquires(identity, value.first() == Some(&1));
                    (Op::SetOption { level: libc::IPPROTO_TCP, name: libc::TCP_INQ, value }, landing)
                }
                (Op::Pass { .. }, _) if self.attachment.is_known_connected(identity) => {
                    return Ok(Step::Conclude(Outcome::Continue));
                }
                op => op,
            },
            Class::Datagram | Class::Netlink => match datagram_op(call, index)? {
                Some(op) => op,
                // A vector of no messages.
                None => return Ok(Step::Conclude(Outcome::Value(0))),
            },
        };
        let landing = if landing == Landing::Nothing { Landing::Place(identity) } else { landing };
        Ok(ask(call, Some(identity), theirs, (op, landing)))
    }
}

fn ask(
    call: &Call,
    identity: Option<Identity>,
    theirs: Option<OwnedFd>,
    (op, landing): (Op, Landing),
) -> Step {
    let request = Request { tid: call.tid, fd: call.int(0), identity, waited_for: call.waited_for, op };
    Step::Ask { request, theirs, landing }
}

/// The path that a file is opened by; none when it can't be read, or is longer than any of the tables'.
fn path_of(call: &Call) -> Option<Vec<u8>> {
    /// Shorter than any page: memory may end behind the path.
    const STEP: u64 = 4096;
    let address = call.word(1);
    let here = (STEP - address % STEP).min(Table::PATH_MAX as u64) as usize;
    let ranges = [(address, here), (address.wrapping_add(here as u64), Table::PATH_MAX - here)];
    let mut path = vec![0; Table::PATH_MAX];
    let len = sys::read_memory(call.tid, &ranges, &mut path).ok()?;
    path.truncate(len);
    let end = path.iter().position(|&byte| byte == 0)?;
    path.truncate(end);
    Some(path)
}

/// A call on something that isn't the network's socket.
pub(super) fn not_ours(call: &Call) -> Result<Step, Errno> {
    if call.waited_for.is_some() {
        // Another thread closed what this one waits for; the number may be another file's now.
        return Err(Errno::EBADF);
    }
    let refused = match call.syscall {
        Syscall::Connect => refused_service(call),
        Syscall::SetSockOpt => refused_option(call),
        _ => None,
    };
    Ok(Step::Conclude(refused.map_or(Outcome::Continue, Outcome::Error)))
}

/// Buffers beyond the machine's limit, on sockets of the kernel: whoever has a packet socket has the rights for
/// them in its namespace, which nobody gave.
fn refused_option(call: &Call) -> Option<i32> {
    let forced = [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE];
    (call.int(1) == libc::SOL_SOCKET && forced.contains(&call.int(2))).then_some(libc::EPERM)
}

/// `connect` on a local socket: the kernel's, but for services that would leak names past the network.
fn refused_service(call: &Call) -> Option<i32> {
    let address = call.read_address(call.word(1), call.int(2)).ok()?;
    if sockeye_posix::address::family(&address) != Some(libc::AF_UNIX) {
        return None;
    }
    let path = address.get(2..).unwrap_or_default();
    let path = path.split(|&byte| byte == 0).next().unwrap_or_default();
    REFUSED_SERVICES.iter().find(|(service, _)| *service == path).map(|&(_, errno)| errno)
}

/// The calls that are the same on all sockets.
fn common_op(call: &Call) -> Result<(Op, Landing), Errno> {
    let name = Landing::Name { address: call.word(1), len: call.word(2) };
    Ok(match call.syscall {
        Syscall::Bind => {
            (Op::Bind { address: call.read_address(call.word(1), call.int(2))? }, Landing::Nothing)
        }
        Syscall::Connect => {
            (Op::Connect { address: call.read_address(call.word(1), call.int(2))? }, Landing::Nothing)
        }
        Syscall::Listen => (Op::Listen { backlog: call.int(1) }, Landing::Nothing),
        Syscall::Accept => (Op::Accept { flags: 0 }, name),
        Syscall::Accept4 => (Op::Accept { flags: call.int(3) }, name),
        Syscall::GetSockName => (Op::LocalName, name),
        Syscall::GetPeerName => (Op::PeerName, name),
        Syscall::Shutdown => (Op::Shutdown { how: call.int(1) }, Landing::Nothing),
        Syscall::SetSockOpt => {
            let len = usize::try_from(call.int(4)).map_err(|_| Errno::EINVAL)?;
            let mut value = call.read_vec(call.word(3), len.min(VALUE_MAX))?;
            if (call.int(1), call.int(2)) == (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER) {
                value = filter_of(call, &value)?;
            }
            (Op::SetOption { level: call.int(1), name: call.int(2), value }, Landing::Nothing)
        }
        Syscall::GetSockOpt => {
            let room = u32::try_from(call.read_int(call.word(4))?).map_err(|_| Errno::EINVAL)?;
            let landing = Landing::Option { address: call.word(3), len: call.word(4) };
            (Op::GetOption { level: call.int(1), name: call.int(2), room }, landing)
        }
        Syscall::Ioctl => {
            let op = Op::Ioctl { request: call.word(1) as u32, argument: Vec::new() };
            (op, Landing::Value { address: call.word(2) })
        }
        // Sends and receives depend on the kind of socket; the filter answers the rest itself.
        _ => (Op::Pass { send: None }, Landing::Nothing),
    })
}

/// An `ioctl` about interfaces.
fn interface_op(call: &Call) -> Result<(Op, Landing), Errno> {
    let (request, address) = (call.word(1) as u32, call.word(2));
    if request == interface::LIST_REQUEST {
        let mut bytes = [0; InterfaceList::SIZE];
        call.read(address, &mut bytes)?;
        let landing = Landing::Interfaces { at: address, list: InterfaceList::parse(&bytes) };
        return Ok((Op::Ioctl { request, argument: Vec::new() }, landing));
    }
    if interface::NEIGHBOUR_REQUESTS.contains(&request) {
        let argument = call.read_vec(address, NeighbourRequest::SIZE)?;
        return Ok((Op::Ioctl { request, argument }, Landing::Value { address }));
    }
    let mut argument = call.read_vec(address, InterfaceRequest::SIZE)?;
    if request != interface::ETHTOOL_REQUEST {
        return Ok((Op::Ioctl { request, argument }, Landing::Value { address }));
    }
    // What is asked for, behind the request; it may be less than a structure.
    let address = InterfaceRequest::parse(&argument)?.pointer();
    let command = call.read_vec(address, 4)?;
    let whole = call.read_vec(address, interface::ETHTOOL_LEN);
    argument.extend(whole.unwrap_or(command));
    Ok((Op::Ioctl { request, argument }, Landing::Value { address }))
}

fn stream_op(call: &Call) -> Result<(Op, Landing), Errno> {
    let pass = |send| Ok((Op::Pass { send }, Landing::Nothing));
    let ranges = match call.syscall {
        Syscall::SendTo if call.word(4) == 0 => return pass(Some(call.int(3))),
        Syscall::SendTo => vec![(call.word(1), call.size(2))],
        Syscall::SendMsg => {
            let mut header = [0; MessageHeader::SIZE];
            let header = call.read(call.word(1), &mut header).and_then(|()| MessageHeader::parse(&header));
            match header {
                Ok(header) if header.name != 0 => read_ranges(call, &header)?,
                // A plug gives no address, as TCP; what is wrong with the header the kernel says.
                _ => return pass(Some(call.int(2))),
            }
        }
        Syscall::SendMMsg => return pass(Some(call.int(3))),
        // A local stream would read its data.
        Syscall::RecvMsg if call.int(2) & libc::MSG_ERRQUEUE != 0 => return Err(Errno::EAGAIN),
        Syscall::RecvFrom | Syscall::RecvMsg | Syscall::RecvMMsg => return pass(None),
        _ => return common_op(call),
    };
    let flags = call.int(if call.syscall == Syscall::SendMsg { 2 } else { 3 });
    let data = read_data(call, &ranges, PIECE_MAX)?;
    Ok((Op::Send { flags, name: Vec::new(), control: Vec::new(), data }, Landing::Nothing))
}

/// None when a vector of messages has no message of this index.
fn datagram_op(call: &Call, index: usize) -> Result<Option<(Op, Landing)>, Errno> {
    let count = (call.word(2) as u32 as usize).min(MMSG_MAX);
    let at = call.word(1).wrapping_add((index * MessageHeader::MULTIPLE_SIZE) as u64);
    Ok(Some(match call.syscall {
        Syscall::SendTo => {
            let ranges = [(call.word(1), call.size(2))];
            let name = match call.word(4) {
                0 => Vec::new(),
                address => call.read_address(address, call.int(5))?,
            };
            let data = datagram_data(call, &ranges)?;
            (Op::Send { flags: call.int(3), name, control: Vec::new(), data }, Landing::Nothing)
        }
        Syscall::SendMsg => (send_message(call, call.word(1), call.int(2))?, Landing::Nothing),
        Syscall::RecvFrom => {
            let landing = Landing::Buffer { data: call.word(1), address: call.word(4), len: call.word(5) };
            let room = room(call.size(2));
            (Op::Receive { flags: call.int(3), room, control_room: 0 }, landing)
        }
        Syscall::RecvMsg => {
            let (op, landing) = receive_message(call, call.word(1), call.int(2))?;
            (op, Landing::Message(landing))
        }
        Syscall::SendMMsg | Syscall::RecvMMsg if index >= count => return Ok(None),
        Syscall::SendMMsg => (send_message(call, at, call.int(3))?, Landing::OneOf { index, message: None }),
        Syscall::RecvMMsg => {
            check_timeout(call)?;
            // It returns what is there: only the first message is waited for, and after the first the time is
            // looked at, as by Linux. Messages taken by a call that a signal interrupts would be lost.
            let dont_wait = if index > 0 { libc::MSG_DONTWAIT } else { 0 };
            let (op, landing) = receive_message(call, at, call.int(3) | dont_wait)?;
            (op, Landing::OneOf { index, message: Some(landing) })
        }
        _ => common_op(call)?,
    }))
}

/// The timeout of a `recvmmsg`: EINVAL for one that is no time.
fn check_timeout(call: &Call) -> Result<(), Errno> {
    if call.word(4) == 0 {
        return Ok(());
    }
    let mut timeout = [0; 16];
    call.read(call.word(4), &mut timeout)?;
    let [seconds, nanoseconds] =
        [0, 8].map(|at| timeout[at..].first_chunk().map_or(0, |b| i64::from_ne_bytes(*b)));
    if seconds >= 0 && (0..1_000_000_000).contains(&nanoseconds) { Ok(()) } else { Err(Errno::EINVAL) }
}

/// Reads a `struct msghdr` and what it points to.
fn send_message(call: &Call, at: u64, flags: i32) -> Result<Op, Errno> {
    let header = read_header(call, at)?;
    if header.control_len > CONTROL_MAX {
        return Err(Errno::ENOBUFS);
    }
    let name = call.read_vec(header.name, header.name_len)?;
    let control = call.read_vec(header.control, header.control_len)?;
    let data = datagram_data(call, &read_ranges(call, &header)?)?;
    Ok(Op::Send { flags, name, control, data })
}

fn receive_message(call: &Call, at: u64, flags: i32) -> Result<(Op, MessageLanding), Errno> {
    let header = read_header(call, at)?;
    let ranges = read_ranges(call, &header)?;
    let total = ranges.iter().map(|&(_, len)| len).fold(0, usize::saturating_add);
    let control_room = header.control_len.min(CONTROL_MAX) as u32;
    let op = Op::Receive { flags, room: room(total), control_room };
    Ok((op, MessageLanding { at, header, ranges }))
}

fn room(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// The data of a datagram. Of one that is too long for any there is a byte too many, so that whoever sends it
/// says so.
fn datagram_data(call: &Call, ranges: &[(u64, usize)]) -> Result<Vec<u8>, Errno> {
    read_data(call, ranges, SEND_MAX + 1)
}

/// Reads at most `most` bytes out of the ranges.
fn read_data(call: &Call, ranges: &[(u64, usize)], most: usize) -> Result<Vec<u8>, Errno> {
    let mut room = most;
    let cut: Vec<_> = ranges
        .iter()
        .map(|&(base, len)| {
            let len = len.min(room);
            room -= len;
            (base, len)
        })
        .filter(|&(_, len)| len > 0)
        .collect();
    let mut data = vec![0; most - room];
    call.read_ranges(&cut, &mut data)?;
    Ok(data)
}

fn read_header(call: &Call, at: u64) -> Result<MessageHeader, Errno> {
    let mut bytes = [0; MessageHeader::SIZE];
    call.read(at, &mut bytes)?;
    MessageHeader::parse(&bytes)
}

fn read_ranges(call: &Call, header: &MessageHeader) -> Result<Vec<(u64, usize)>, Errno> {
    let bytes = call.read_vec(header.iov, header.iov_len.min(IOV_MAX) * IoVec::SIZE)?;
    Ok(IoVec::parse_all(&bytes)?.into_iter().map(|part| (part.base, part.len)).collect())
}

/// The instructions that a `struct sock_fprog` points to.
fn filter_of(call: &Call, program: &[u8]) -> Result<Vec<u8>, Errno> {
    let (Some(len), Some(at)) = (program.first_chunk(), program.get(8..16).and_then(<[u8]>::first_chunk))
    else {
        return Err(Errno::EINVAL);
    };
    let bytes = usize::from(u16::from_ne_bytes(*len)) * 8;
    call.read_vec(u64::from_ne_bytes(*at), bytes.min(FILTER_MAX + 8))
}
