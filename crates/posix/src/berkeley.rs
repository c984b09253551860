//! The Berkeley calls on a [`Stack`], in C's terms: numbers and bytes in, a value or an errno out.
//!
//! Nothing here blocks: what would is EAGAIN (EINPROGRESS for a connect), and whoever wants to wait does so
//! for the bits of [`Socket::poll`]. Every call takes the stack and, where packets may move, the time.
//!
//! ```
//! use sockeye_packet::Instant;
//! use sockeye_posix::{Errno, Privilege, berkeley::Socket};
//! use sockeye_stack::{Config, Owner, Stack};
//!
//! let (mut stack, now) = (Stack::new(Config::default(), [7; 32]), Instant::ZERO);
//! let socket = Socket::open(&mut stack, [libc::AF_INET, libc::SOCK_DGRAM, 0], Privilege::None, Owner::default())?;
//! assert_eq!(socket.send(&mut stack, now, b"hello", 0, &[]), Err(Errno::EDESTADDRREQ));
//! # Ok::<(), Errno>(())
//! ```

use crate::address::{AddressBytes, Reader};
use crate::flags::{MessageFlags, RecvFlags, SendFlags};
use crate::options::{OptionValue, Target};
use crate::{Errno, Privilege, SocketKind, Stored};
use sockeye_packet::{Chunk, Instant, Payload};
use sockeye_stack::{
    Message, OptionName, Owner, Readiness, Shutdown, SocketId, SocketOption, SocketType, Stack,
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

/// Names and connections.
impl Socket {
    /// `socket`, for a program of this privilege.
    pub fn open(
        stack: &mut Stack,
        [domain, kind, protocol]: [i32; 3],
        privilege: Privilege,
        owner: Owner,
    ) -> Result<Socket, Errno> {
        let kind = SocketKind::of_call(domain, kind, protocol, privilege)?;
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
        let reader = self.reader(stack);
        if reader.connect_binds(address) {
            stack.auto_bind(self.id)?;
        }
        let result = match reader.connect(address)? {
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
        Reader::of(stack, self.id, self.kind)
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
        if !self.is_stream() {
            return self.send_datagram(stack, now, data, flags, to);
        }
        let flags = SendFlags::parse(flags, self.kind.kind)?;
        let flags = sockeye_stack::SendFlags {
            more: flags.more,
            oob: flags.out_of_band,
            eor: flags.end_of_record,
            dont_route: flags.dont_route,
        };
        let mut chunks = VecDeque::from([Chunk::copy_from(data)]);
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

    fn send_datagram(
        &self,
        stack: &mut Stack,
        now: Instant,
        data: &[u8],
        flags: i32,
        to: &[u8],
    ) -> Result<usize, Errno> {
        // As the kernel: it gets a port before anything is looked at.
        stack.auto_bind(self.id)?;
        let urgent = flags & libc::MSG_OOB != 0;
        let to = self.reader(stack).destination(to, urgent)?;
        let message = Message { to, ..Message::default() };
        Ok(stack.send_msg(now, self.id, Payload::from(Chunk::copy_from(data)), &message)?)
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
        // Nothing is urgent about a datagram: the kernel reads over it.
        let how = sockeye_stack::RecvFlags { oob: false, ..how };
        let datagram = stack.recv_from(now, self.id, how)?;
        let ended = stack.readiness(self.id).contains(Readiness::READ_CLOSED);
        let mut data = datagram.payload;
        if ended && data.is_empty() && datagram.ttl == 0 {
            // Only who waits is told the end of a socket that was shut down.
            return Err(Errno::EAGAIN);
        }
        let len = data.len();
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
        self.target(stack, now).set(level, name, value)
    }

    /// `getsockopt`; the value is cut to the room by [`OptionValue::cut_to`].
    pub fn option(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        (level, name): (i32, i32),
    ) -> Result<OptionValue, Errno> {
        self.target(stack, now).get(level, name)
    }

    fn target<'a>(&'a mut self, stack: &'a mut Stack, now: Instant) -> Target<'a> {
        Target { stack, now, id: self.id, kind: self.kind, stored: &mut self.stored }
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

#[cfg(test)]
mod tests {
    use super::*;
    use sockeye_stack::Config;

    fn open(kind: i32) -> (Stack, Socket) {
        let mut stack = Stack::new(Config::default(), [3; 32]);
        let socket =
            Socket::open(&mut stack, [libc::AF_INET, kind, 0], Privilege::None, Owner::default()).unwrap();
        (stack, socket)
    }

    #[test]
    fn a_stream_that_was_never_connected_hangs_up_and_has_nothing_to_read() {
        let (stack, socket) = open(libc::SOCK_STREAM);
        let asked = libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP | libc::POLLHUP;
        assert_eq!(socket.poll(&stack) & asked, libc::POLLOUT | libc::POLLHUP);
    }

    #[test]
    fn only_who_waits_is_told_the_end_of_a_datagram_socket() {
        let (mut stack, socket) = open(libc::SOCK_DGRAM);
        let now = Instant::ZERO;
        assert_eq!(socket.shutdown(&mut stack, now, libc::SHUT_RD), Err(Errno::ENOTCONN));
        assert_eq!(socket.recv(&mut stack, now, 100, 0), Err(Errno::EAGAIN));
        assert_eq!(socket.recv(&mut stack, now, 100, libc::MSG_OOB), Err(Errno::EAGAIN));
    }

    #[test]
    fn a_datagram_connect_to_another_family_has_bound_its_socket() {
        let (mut stack, socket) = open(libc::SOCK_DGRAM);
        let v6 = [[libc::AF_INET6 as u8, 0].as_slice(), &[0; 26]].concat();
        assert_eq!(socket.connect(&mut stack, Instant::ZERO, &v6[..1]), Err(Errno::EINVAL));
        assert_eq!(socket.local_name(&stack).unwrap().as_slice()[2..4], [0, 0]);
        assert_eq!(socket.connect(&mut stack, Instant::ZERO, &v6), Err(Errno::EAFNOSUPPORT));
        assert_ne!(socket.local_name(&stack).unwrap().as_slice()[2..4], [0, 0]);
    }

    #[test]
    fn a_datagram_socket_that_was_shut_down_for_reading_gets_what_comes() {
        let (mut stack, reader) = open(libc::SOCK_DGRAM);
        let (now, here) =
            (Instant::ZERO, [libc::AF_INET as u8, 0, 0, 7, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        reader.bind(&mut stack, &here).unwrap();
        assert_eq!(reader.shutdown(&mut stack, now, libc::SHUT_RD), Err(Errno::ENOTCONN));
        let what = [libc::AF_INET, libc::SOCK_DGRAM, 0];
        let sender = Socket::open(&mut stack, what, Privilege::None, Owner::default()).unwrap();
        assert_eq!(sender.send(&mut stack, now, b"late", 0, &here), Ok(4));
        assert_eq!(reader.recv(&mut stack, now, 100, 0).unwrap().value, 4);
        assert_eq!(reader.recv(&mut stack, now, 100, 0), Err(Errno::EAGAIN));
    }

    #[test]
    fn urgent_datagrams_are_refused_over_ipv4_also_from_a_socket_of_ipv6() {
        let mut stack = Stack::new(Config::default(), [3; 32]);
        let what = [libc::AF_INET6, libc::SOCK_DGRAM, 0];
        let socket = Socket::open(&mut stack, what, Privilege::None, Owner::default()).unwrap();
        let now = Instant::ZERO;
        let any = [[libc::AF_INET6 as u8, 0, 0, 7].as_slice(), &[0; 24]].concat();
        assert_eq!(socket.send(&mut stack, now, b"x", libc::MSG_OOB, &any), Ok(1));
        let v4 = [libc::AF_INET as u8, 0, 0, 7, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        socket.connect(&mut stack, now, &v4).unwrap();
        // From an IPv4 address this is the IPv4 host.
        assert_eq!(socket.send(&mut stack, now, b"x", libc::MSG_OOB, &any), Err(Errno::EOPNOTSUPP));
    }

    #[test]
    fn a_send_that_fails_has_bound_its_socket() {
        let (mut stack, socket) = open(libc::SOCK_DGRAM);
        assert_eq!(socket.send(&mut stack, Instant::ZERO, b"x", libc::MSG_OOB, &[]), Err(Errno::EOPNOTSUPP));
        assert_ne!(socket.local_name(&stack).unwrap().as_slice()[2..4], [0, 0]);
    }
}
