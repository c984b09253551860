//! The Berkeley calls on a [`Stack`], in C's terms: numbers and bytes in, a value or an errno out.
//!
//! Nothing here blocks: what would is EAGAIN (EINPROGRESS for a connect), and whoever wants to wait does so
//! for the bits of [`Socket::poll`]. Every call takes the stack and, where packets may move, the time.
//!
//! ```
//! use sockeye_packet::Instant;
//! use sockeye_posix::{Errno, berkeley::Socket};
//! use sockeye_stack::{Config, Owner, Stack};
//!
//! let (mut stack, now) = (Stack::new(Config::default(), [7; 32]), Instant::ZERO);
//! let socket = Socket::open(&mut stack, libc::AF_INET, libc::SOCK_DGRAM, 0, Owner::default())?;
//! assert_eq!(socket.send(&mut stack, now, b"hello", 0, &[]), Err(Errno::EDESTADDRREQ));
//! # Ok::<(), Errno>(())
//! ```

use crate::address::{AddressBytes, Reader};
use crate::flags::{MessageFlags, RecvFlags, SendFlags};
use crate::options::{self, Get, OptionValue, Set};
use crate::{Errno, SocketKind, Stored};
use sockeye_packet::{Chunk, Instant, NicId, Payload};
use sockeye_stack::{
    Domain, Error, Message, OptionName, Owner, Readiness, Shutdown, SocketId, SocketOption, SocketType, Stack,
};
use std::collections::VecDeque;

/// `SIOCATMARK`, which the libc crate has no name for.
pub const SIOCATMARK: u32 = 0x8905;

/// A socket of a stack, and what C remembers of it beside.
#[derive(Clone, Debug)]
pub struct Socket {
    id: SocketId,
    kind: SocketKind,
    stored: Stored,
}

/// What a receive took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// What goes into the buffer.
    pub data: Payload,
    /// The call's result: more than the data with `MSG_TRUNC`.
    pub value: usize,
    /// Who sent it; empty for a stream, which says it nowhere.
    pub from: Option<AddressBytes>,
    /// `msg_flags`.
    pub flags: MessageFlags,
}

/// Family and type of a socket(2) call, whose flags (`SOCK_NONBLOCK`, `SOCK_CLOEXEC`) are read over.
///
/// EAFNOSUPPORT, EINVAL, ESOCKTNOSUPPORT, EPROTONOSUPPORT; EPERM for raw sockets.
fn kind_of(domain: i32, kind: i32, protocol: i32) -> Result<SocketKind, Errno> {
    if kind & !(0xf | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    let domain = match domain {
        libc::AF_INET => Domain::Inet,
        libc::AF_INET6 => Domain::Inet6,
        _ => return Err(Errno::EAFNOSUPPORT),
    };
    let kind = match (kind & 0xf, protocol, domain) {
        (_, ..0 | 263.., _) => return Err(Errno::EINVAL),
        (libc::SOCK_STREAM, 0 | libc::IPPROTO_TCP, _) => SocketType::Stream,
        (libc::SOCK_DGRAM, 0 | libc::IPPROTO_UDP, _) => SocketType::Datagram,
        (libc::SOCK_DGRAM, libc::IPPROTO_ICMP, Domain::Inet)
        | (libc::SOCK_DGRAM, libc::IPPROTO_ICMPV6, Domain::Inet6) => SocketType::Ping,
        (libc::SOCK_RAW, ..) => return Err(Errno::EPERM),
        (libc::SOCK_STREAM | libc::SOCK_DGRAM, ..) => return Err(Errno::EPROTONOSUPPORT),
        _ => return Err(Errno::ESOCKTNOSUPPORT),
    };
    Ok(SocketKind { domain, kind })
}

/// Names and connections.
impl Socket {
    /// `socket`.
    pub fn open(
        stack: &mut Stack,
        domain: i32,
        kind: i32,
        protocol: i32,
        owner: Owner,
    ) -> Result<Socket, Errno> {
        let kind = kind_of(domain, kind, protocol)?;
        let id = stack.socket(kind.domain, kind.kind, owner)?;
        Ok(Socket { id, kind, stored: Stored::default() })
    }

    /// The stack's name for it.
    pub fn id(&self) -> SocketId {
        self.id
    }

    /// Its family and type.
    pub fn kind(&self) -> SocketKind {
        self.kind
    }

    /// What it remembers beside the stack, such as the timeouts of calls that wait.
    pub fn stored(&self) -> &Stored {
        &self.stored
    }

    /// `bind`.
    pub fn bind(&self, stack: &mut Stack, address: &[u8]) -> Result<(), Errno> {
        let address = self.reader(stack).bind(address)?;
        Ok(stack.bind(self.id, address)?)
    }

    /// `connect`; with `AF_UNSPEC`, the end of a connection.
    pub fn connect(&self, stack: &mut Stack, now: Instant, address: &[u8]) -> Result<(), Errno> {
        let result = match self.reader(stack).connect(address)? {
            Some(peer) => stack.connect(now, self.id, peer),
            None => stack.disconnect(now, self.id),
        };
        Ok(result?)
    }

    /// `listen`. A negative backlog is a large one, as for the kernel.
    pub fn listen(&self, stack: &mut Stack, now: Instant, backlog: i32) -> Result<(), Errno> {
        Ok(stack.listen(now, self.id, backlog as u32 as usize)?)
    }

    /// `accept`, with the peer's address.
    pub fn accept(&self, stack: &mut Stack, now: Instant) -> Result<(Socket, AddressBytes), Errno> {
        let (id, peer) = stack.accept(now, self.id)?;
        let accepted = Socket { id, kind: self.kind, stored: self.stored.clone() };
        Ok((accepted, AddressBytes::new(peer, self.kind.domain)))
    }

    /// `shutdown`.
    pub fn shutdown(&self, stack: &mut Stack, now: Instant, how: i32) -> Result<(), Errno> {
        let how = match how {
            libc::SHUT_RD => Shutdown::Read,
            libc::SHUT_WR => Shutdown::Write,
            libc::SHUT_RDWR => Shutdown::Both,
            _ => return Err(Errno::EINVAL),
        };
        Ok(stack.shutdown(now, self.id, how)?)
    }

    /// `close`.
    pub fn close(self, stack: &mut Stack, now: Instant) -> Result<(), Errno> {
        Ok(stack.close(now, self.id)?)
    }

    /// `getsockname`.
    pub fn local_name(&self, stack: &Stack) -> Result<AddressBytes, Errno> {
        Ok(AddressBytes::new(stack.local_addr(self.id)?, self.kind.domain))
    }

    /// `getpeername`.
    pub fn peer_name(&self, stack: &Stack) -> Result<AddressBytes, Errno> {
        Ok(AddressBytes::new(stack.peer_addr(self.id)?, self.kind.domain))
    }

    fn reader(&self, stack: &Stack) -> Reader {
        let v6_only = stack.get_option(self.id, OptionName::V6Only);
        Reader {
            domain: self.kind.domain,
            kind: self.kind.kind,
            v6_only: v6_only == Ok(SocketOption::V6Only(true)),
        }
    }

    fn is_stream(&self) -> bool {
        self.kind.kind == SocketType::Stream
    }
}

/// Data.
impl Socket {
    /// `send`, `sendto` (with an address that isn't empty): how much was taken. What doesn't fit in a stream's buffer
    /// is left, EAGAIN if that is all.
    pub fn send(
        &self,
        stack: &mut Stack,
        now: Instant,
        data: &[u8],
        flags: i32,
        to: &[u8],
    ) -> Result<usize, Errno> {
        let flags = SendFlags::parse(flags, self.kind.kind)?;
        let flags = sockeye_stack::SendFlags {
            more: flags.more,
            oob: flags.out_of_band,
            eor: flags.end_of_record,
            dont_route: flags.dont_route,
        };
        let chunk = Chunk::copy_from(data);
        if !self.is_stream() {
            let to = self.reader(stack).destination(to)?;
            let message = Message { to, ..Message::default() };
            return Ok(stack.send_msg(now, self.id, Payload::from(chunk), &message)?);
        }
        let mut chunks = VecDeque::from([chunk]);
        let mut sent = 0;
        loop {
            match stack.send(now, self.id, &mut chunks, flags) {
                Ok(0) => return Ok(sent),
                Ok(count) => sent += count,
                Err(_) if sent > 0 => return Ok(sent),
                Err(error) => return Err(error.into()),
            }
            if sent >= data.len() {
                return Ok(sent);
            }
        }
    }

    /// `recv`, `recvfrom`, `recvmsg` into a buffer of `room` bytes.
    pub fn recv(&self, stack: &mut Stack, now: Instant, room: usize, flags: i32) -> Result<Received, Errno> {
        let flags = RecvFlags::parse(flags);
        if flags.error_queue {
            // No control messages here, which a report would be told in.
            return Err(Errno::EAGAIN);
        }
        let how = sockeye_stack::RecvFlags { peek: flags.peek, oob: flags.out_of_band };
        if self.is_stream() {
            let data = stack.recv(now, self.id, room, how)?;
            let value = data.len();
            let data = if flags.truncate && !flags.out_of_band { Payload::EMPTY } else { data };
            let told =
                MessageFlags { out_of_band: flags.out_of_band && value > 0, ..MessageFlags::default() };
            return Ok(Received { data, value, from: None, flags: told });
        }
        let datagram = stack.recv_from(now, self.id, how)?;
        let (mut data, len) = (datagram.payload, 0);
        let len = data.len().max(len);
        data.trim(0, len.min(room));
        let value = if flags.truncate { len } else { data.len() };
        let told = MessageFlags { truncated: len > room, ..MessageFlags::default() };
        let from = Some(AddressBytes::new(datagram.from, self.kind.domain));
        Ok(Received { data, value, from, flags: told })
    }

    /// The bits that poll(2) would report if all were asked for.
    pub fn poll(&self, stack: &Stack) -> i16 {
        poll_bits(stack.readiness(self.id))
    }

    /// `ioctl` of the requests that tell a number: `FIONREAD`, `TIOCOUTQ`, [`SIOCATMARK`]. ENOTTY for others.
    pub fn ioctl(&self, stack: &Stack, request: u32) -> Result<i32, Errno> {
        let listens = stack.get_option(self.id, OptionName::AcceptsConnections);
        let listens = listens == Ok(SocketOption::AcceptsConnections(true));
        let value = match request {
            SIOCATMARK if self.is_stream() => usize::from(stack.at_mark(self.id)),
            request if request == libc::FIONREAD as u32 && !listens => stack.recv_queued(self.id),
            request if request == libc::TIOCOUTQ as u32 && !listens => stack.send_queued(self.id),
            request if request == libc::FIONREAD as u32 || request == libc::TIOCOUTQ as u32 => {
                return Err(Errno::EINVAL);
            }
            _ => return Err(Errno::ENOTTY),
        };
        Ok(i32::try_from(value).unwrap_or(i32::MAX))
    }
}

/// Options.
impl Socket {
    /// `setsockopt`.
    pub fn set_option(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        (level, name): (i32, i32),
        value: &[u8],
    ) -> Result<(), Errno> {
        let option = match options::set(self.kind, &mut self.stored, level, name, value)? {
            Set::Done => return Ok(()),
            Set::Stack(option) => option,
            Set::Device([]) => SocketOption::BindToNic(None),
            Set::Device(device) => {
                let named = |nic: &NicId| stack.nic(*nic).is_some_and(|nic| nic.name.as_bytes() == device);
                let mut nics = (0..=u16::MAX).map(NicId).take_while(|nic| stack.nic(*nic).is_some());
                SocketOption::BindToNic(Some(nics.find(named).ok_or(Errno::ENODEV)?))
            }
        };
        Ok(stack.set_option(now, self.id, option)?)
    }

    /// `getsockopt`; the value is cut to the room by [`OptionValue::cut_to`].
    pub fn option(
        &self,
        stack: &mut Stack,
        now: Instant,
        (level, name): (i32, i32),
    ) -> Result<OptionValue, Errno> {
        match options::get(self.kind, &self.stored, level, name)? {
            Get::Ready(value) => Ok(value),
            Get::Stack(option) => Ok(options::answer(level, stack.get_option(self.id, option)?)),
            Get::Error => {
                Ok(OptionValue::int(stack.take_error(self.id).map_or(0, |error| Errno::from(error).0)))
            }
            Get::TcpInfo => {
                let info = stack.tcp_info(now, self.id);
                Ok(info.map_or_else(|_| OptionValue::tcp_info_idle(), |info| OptionValue::tcp_info(&info)))
            }
            Get::PathMtu => {
                stack.peer_addr(self.id).map_err(|_: Error| Errno::ENOTCONN)?;
                let mtu = stack.tcp_info(now, self.id).map(|info| info.pmtu as usize);
                let nic =
                    stack.nic(NicId(1)).or(stack.nic(NicId::LOOPBACK)).map_or(0, |nic| nic.mtu as usize);
                Ok(OptionValue::int(mtu.unwrap_or(nic) as i32))
            }
            Get::Device => {
                let nic = match stack.get_option(self.id, OptionName::BindToNic)? {
                    SocketOption::BindToNic(Some(nic)) => stack.nic(nic),
                    _ => None,
                };
                Ok(OptionValue::device(nic.map_or("", |nic| nic.name.as_str())))
            }
            // The ids of sockets are never used again.
            Get::Cookie => Ok(OptionValue::cookie(self.id.as_u64())),
        }
    }
}

/// Readiness as poll's bits, which are epoll's. `POLLRDHUP` is never without `POLLIN`: a stream that was never
/// connected hangs up, and has nothing to read.
pub fn poll_bits(ready: Readiness) -> i16 {
    let over = ready.contains(Readiness::READ_CLOSED | Readiness::WRITE_CLOSED);
    let bits = [
        (ready.contains(Readiness::READABLE), libc::POLLIN | libc::POLLRDNORM),
        (ready.contains(Readiness::WRITABLE), libc::POLLOUT | libc::POLLWRNORM),
        (ready.contains(Readiness::READ_CLOSED | Readiness::READABLE), libc::POLLRDHUP),
        (ready.contains(Readiness::PRIORITY), libc::POLLPRI),
        (ready.contains(Readiness::ERROR), libc::POLLERR),
        (over, libc::POLLHUP),
    ];
    bits.into_iter().filter(|(on, _)| *on).fold(0, |all, (_, bit)| all | bit)
}
