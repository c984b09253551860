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
use crate::cmsg::{self, ControlWriter, SendControls};
use crate::flags::{MessageFlags, RecvFlags, SendFlags};
use crate::message::ADDRESS_MAX;
use crate::options::{OptionValue, Target};
use crate::{Errno, Privilege, SocketKind, Stored};
use sockeye_packet::{Chunk, Instant, Payload};
use sockeye_stack::{
    Datagram, Message, OptionName, Owner, Readiness, Shutdown, SocketId, SocketOption, SocketType, Stack,
};
use std::collections::VecDeque;
use std::time::Duration;

/// `SIOCATMARK`, which the libc crate has no name for.
pub const SIOCATMARK: u32 = 0x8905;

/// Whether what is left to read is told beside what is read, and the control message that does.
const TCP_INQ: i32 = 36;

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
    /// The control messages, if there was a buffer for them.
    pub control: Vec<u8>,
}

/// What a send says beside its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// The destination as a socket address; empty for the peer.
    pub to: &'a [u8],
    /// Control messages. A stream reads over them.
    pub control: &'a [u8],
    /// `MSG_…`.
    pub flags: i32,
}

/// What the second argument of `shutdown` ends. EINVAL for a number that means nothing.
pub fn shutdown_of(how: i32) -> Result<Shutdown, Errno> {
    match how {
        libc::SHUT_RD => Ok(Shutdown::Read),
        libc::SHUT_WR => Ok(Shutdown::Write),
        libc::SHUT_RDWR => Ok(Shutdown::Both),
        _ => Err(Errno::EINVAL),
    }
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
        let peer = reader.connect(address);
        let names_family = (2..=ADDRESS_MAX).contains(&address.len());
        if names_family && peer != Ok(None) {
            // As the kernel: what a stream is comes before what its address is.
            if let Some(result) = stack.connect_again(now, self.id) {
                return Ok(result?);
            }
        }
        let result = match peer? {
            Some(peer) => stack.connect(now, self.id, peer),
            None => stack.disconnect(now, self.id),
        };
        Ok(result?)
    }

    /// `connect` once more, for who waits for what it has begun (EINPROGRESS, EALREADY): EAGAIN while there is nothing to
    /// tell. What is told here is told by no later `connect`.
    pub fn connected(&self, stack: &mut Stack, now: Instant) -> Result<(), Errno> {
        Ok(stack.connect_outcome(now, self.id)?)
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
        Ok(stack.shutdown(now, self.id, shutdown_of(how)?)?)
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
        let mut chunks = VecDeque::from([Chunk::copy_from(data)]);
        self.send_chunks(stack, now, &mut chunks, &Outgoing { to, flags, control: &[] })
    }

    /// `sendmsg`: how much was taken, which is gone from the front of `chunks`. A datagram is sent whole or not at all,
    /// and left there.
    pub fn send_chunks(
        &self,
        stack: &mut Stack,
        now: Instant,
        chunks: &mut VecDeque<Chunk>,
        outgoing: &Outgoing<'_>,
    ) -> Result<usize, Errno> {
        if !self.is_stream() {
            return self.send_datagram(stack, now, chunks.iter().cloned().collect(), outgoing);
        }
        let flags = SendFlags::parse(outgoing.flags, self.kind.kind)?;
        let flags = sockeye_stack::SendFlags {
            more: flags.more,
            oob: flags.out_of_band,
            eor: flags.end_of_record,
            dont_route: flags.dont_route,
        };
        let (mut sent, len) = (0, chunks.iter().map(Chunk::len).sum());
        loop {
            match stack.send(now, self.id, chunks, flags) {
                Ok(0) => return Ok(sent),
                Ok(count) => sent += count,
                Err(_) if sent > 0 => return Ok(sent),
                Err(error) => return Err(error.into()),
            }
            if sent >= len {
                return Ok(sent);
            }
        }
    }

    fn send_datagram(
        &self,
        stack: &mut Stack,
        now: Instant,
        payload: Payload,
        Outgoing { to, control, flags }: &Outgoing<'_>,
    ) -> Result<usize, Errno> {
        // As the kernel: it gets a port before anything is looked at.
        stack.auto_bind(self.id)?;
        let urgent = flags & libc::MSG_OOB != 0;
        let (mut head, len) = ([0; 2], payload.len());
        payload.slice(0, len.min(head.len())).copy_to(&mut head);
        let to = self.reader(stack).message(to, &head, len, urgent)?;
        let controls = cmsg::parse_send(control, self.kind.domain, &self.stored)?;
        let SendControls { source, nic, ttl, tos, segment_size } = controls;
        let more = flags & libc::MSG_MORE != 0;
        let message = Message { to, source, nic, ttl, tos, segment_size, more };
        Ok(stack.send_msg(now, self.id, payload, &message)?)
    }

    /// `recv`, `recvfrom` into a buffer of `room` bytes.
    pub fn recv(&self, stack: &mut Stack, now: Instant, room: usize, flags: i32) -> Result<Received, Errno> {
        self.recv_message(stack, now, room, flags, None)
    }

    /// `recvmsg` into buffers of `room` bytes, and one for control messages if it says how long that is. Reports of
    /// the error queue are told nowhere else.
    pub fn recv_message(
        &self,
        stack: &mut Stack,
        now: Instant,
        room: usize,
        flags: i32,
        control_room: Option<usize>,
    ) -> Result<Received, Errno> {
        let flags = RecvFlags::parse(flags);
        let mut writer = control_room.map(ControlWriter::new);
        let mut received = if flags.error_queue {
            self.recv_error(stack, now, room, writer.as_mut())?
        } else if self.is_stream() {
            self.recv_stream(stack, now, room, flags, writer.as_mut())?
        } else {
            self.recv_datagram(stack, now, room, flags, writer.as_mut())?
        };
        received.flags.close_on_exec = flags.close_on_exec;
        received.control = writer.map(|writer| writer.finish(&mut received.flags)).unwrap_or_default();
        Ok(received)
    }

    fn recv_stream(
        &self,
        stack: &mut Stack,
        now: Instant,
        room: usize,
        flags: RecvFlags,
        control: Option<&mut ControlWriter>,
    ) -> Result<Received, Errno> {
        let how = sockeye_stack::RecvFlags { peek: flags.peek, oob: flags.out_of_band };
        let mut data = stack.recv(now, self.id, room, how)?;
        let urgent = flags.out_of_band && !data.is_empty();
        // As the kernel: an urgent byte is taken also by who has no room for it.
        let told =
            MessageFlags { out_of_band: urgent, truncated: urgent && room == 0, ..MessageFlags::default() };
        data.trim(0, data.len().min(room));
        let value = data.len();
        let data = if flags.truncate { Payload::EMPTY } else { data };
        if let Some(control) = control.filter(|_| self.stored.is_on(libc::IPPROTO_TCP, TCP_INQ)) {
            let left = i32::try_from(stack.recv_queued(self.id)).unwrap_or(i32::MAX);
            control.put_int(libc::IPPROTO_TCP, TCP_INQ, left);
        }
        Ok(Received { data, value, flags: told, ..Received::default() })
    }

    fn recv_datagram(
        &self,
        stack: &mut Stack,
        now: Instant,
        room: usize,
        flags: RecvFlags,
        control: Option<&mut ControlWriter>,
    ) -> Result<Received, Errno> {
        // Nothing is urgent about a datagram: UDP reads over it, others refuse it.
        let is_udp = matches!(self.kind.kind, SocketType::Datagram | SocketType::DatagramLite);
        let how = sockeye_stack::RecvFlags { peek: flags.peek, oob: flags.out_of_band && !is_udp };
        let datagram = stack.recv_from(now, self.id, how)?;
        let ended = stack.readiness(self.id).contains(Readiness::READ_CLOSED);
        if ended && datagram.payload.is_empty() && datagram.ttl == 0 {
            // Only who waits is told the end of a socket that was shut down.
            return Err(Errno::EAGAIN);
        }
        let Datagram {
            payload: mut data, from, to, nic, ttl, tos, received_at, dropped, segment_size, ..
        } = datagram;
        if let Some(control) = control {
            let at = since_1970(stack, received_at);
            let arrival = cmsg::Received { to, nic, ttl, tos, at, dropped, segment_size };
            cmsg::write_received(control, &self.stored, self.kind, &arrival);
        }
        let len = data.len();
        data.trim(0, len.min(room));
        let value = if flags.truncate { len } else { data.len() };
        let told = MessageFlags { truncated: len > room, ..MessageFlags::default() };
        let from = Some(AddressBytes::new(from, self.kind.domain));
        Ok(Received { data, value, from, flags: told, control: Vec::new() })
    }

    /// A report of the error queue; without a buffer for control messages, which would tell it, there is none.
    fn recv_error(
        &self,
        stack: &mut Stack,
        now: Instant,
        room: usize,
        control: Option<&mut ControlWriter>,
    ) -> Result<Received, Errno> {
        let control = control.ok_or(Errno::EAGAIN)?;
        let report = stack.recv_error(now, self.id)?;
        cmsg::write_error(control, &self.stored, self.kind, &report, since_1970(stack, report.received_at));
        let mut data = report.payload;
        let len = data.len();
        data.trim(0, len.min(room));
        let flags = MessageFlags { truncated: len > room, error_queue: true, ..MessageFlags::default() };
        let from = Some(AddressBytes::new(report.to, self.kind.domain));
        Ok(Received { value: data.len(), data, from, flags, control: Vec::new() })
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
            _ if self.kind.kind == SocketType::Ping => return Err(Errno::ENOTTY),
            request if request == libc::FIONREAD as u32 && !listens => stack.recv_inquired(self.id),
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

/// The wall-clock time, since 1970, of a moment of a stack.
fn since_1970(stack: &Stack, at: Instant) -> Duration {
    stack.config().wall_offset.saturating_add(Duration::from_nanos(at.as_nanos()))
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
    fn control_messages_go_both_ways() {
        let (mut stack, mut socket) = open(libc::SOCK_DGRAM);
        let now = Instant::from_millis(5);
        let set = |socket: &mut Socket, stack: &mut Stack, option| {
            socket.set_option(stack, now, option, &1_i32.to_ne_bytes()).unwrap();
        };
        set(&mut socket, &mut stack, (libc::IPPROTO_IP, libc::IP_PKTINFO));
        set(&mut socket, &mut stack, (libc::IPPROTO_IP, libc::IP_RECVTTL));
        let mut control = ControlWriter::new(100);
        control.put_int(libc::IPPROTO_IP, libc::IP_TTL, 7);
        let control = control.finish(&mut MessageFlags::default());
        let mut address = [0; 16];
        address[0] = libc::AF_INET as u8;
        address[4..8].copy_from_slice(&[127, 0, 0, 1]);
        socket.bind(&mut stack, &address).unwrap();
        let to = socket.local_name(&stack).unwrap();
        let outgoing = Outgoing { to: to.as_slice(), control: &control, flags: 0 };
        let mut data = VecDeque::from([Chunk::copy_from(b"hello")]);
        for _ in 0..2 {
            assert_eq!(socket.send_chunks(&mut stack, now, &mut data, &outgoing), Ok(5));
        }
        let flags = libc::MSG_TRUNC | libc::MSG_CMSG_CLOEXEC;
        let received = socket.recv_message(&mut stack, now, 3, flags, Some(100)).unwrap();
        assert_eq!((received.data.to_vec(), received.value), (b"hel".to_vec(), 5));
        // As in Linux, the flags say of CLOEXEC what the call said.
        let told = MessageFlags { truncated: true, close_on_exec: true, ..MessageFlags::default() };
        assert_eq!(received.flags, told);
        let messages: Vec<_> = cmsg::parse(&received.control).map(|message| message.unwrap()).collect();
        assert_eq!(messages[0].kind, libc::IP_PKTINFO);
        assert_eq!(messages[0].data[8..], [127, 0, 0, 1]);
        assert_eq!((messages[1].kind, messages[1].data), (libc::IP_TTL, &7_i32.to_ne_bytes()[..]));
        let cut = socket.recv_message(&mut stack, now, 5, 0, Some(0)).unwrap();
        assert!(cut.flags.control_truncated && cut.control.is_empty());
    }

    #[test]
    fn the_error_queue_is_told_by_a_control_message() {
        let (mut stack, mut socket) = open(libc::SOCK_DGRAM);
        let now = Instant::from_millis(5);
        let on = 1_i32.to_ne_bytes();
        socket.set_option(&mut stack, now, (libc::IPPROTO_IP, libc::IP_RECVERR), &on).unwrap();
        let mut nobody = [0; 16];
        nobody[0] = libc::AF_INET as u8;
        nobody[2..8].copy_from_slice(&[0, 9, 127, 0, 0, 1]);
        assert_eq!(socket.send(&mut stack, now, b"lost", 0, &nobody), Ok(4));
        assert_ne!(socket.poll(&stack) & libc::POLLERR, 0);
        assert_eq!(
            socket.recv(&mut stack, now, 9, libc::MSG_ERRQUEUE),
            Err(Errno::EAGAIN),
            "it would be lost"
        );
        let report = socket.recv_message(&mut stack, now, 9, libc::MSG_ERRQUEUE, Some(200)).unwrap();
        assert_eq!((report.data.to_vec(), report.flags.bits()), (b"lost".to_vec(), libc::MSG_ERRQUEUE));
        assert_eq!(report.from.unwrap().as_slice(), nobody);
        let message = cmsg::parse(&report.control).next().unwrap().unwrap();
        assert_eq!((message.level, message.kind), (libc::IPPROTO_IP, libc::IP_RECVERR));
        assert_eq!(message.data[..4], Errno::ECONNREFUSED.0.to_ne_bytes());
    }

    #[test]
    fn a_send_that_fails_has_bound_its_socket() {
        let (mut stack, socket) = open(libc::SOCK_DGRAM);
        assert_eq!(socket.send(&mut stack, Instant::ZERO, b"x", libc::MSG_OOB, &[]), Err(Errno::EOPNOTSUPP));
        assert_ne!(socket.local_name(&stack).unwrap().as_slice()[2..4], [0, 0]);
    }
}
