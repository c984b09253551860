//! The intercepted calls on datagram sockets: those that carry an address or a `msghdr`.
//!
//! A receive takes the message from the program's own queue, through a duplicate of its end, so that native
//! and intercepted reads see one order. A send goes to the stack, after what the program wrote natively.

use super::{MESSAGE_MAX, Source, of, pump};
use crate::call::{Call, Reply};
use crate::calls::address_reader;
use crate::core::Core;
use crate::sockets::SocketKey;
use crate::stream::{deadline, is_nonblocking};
use rustix::buffer::spare_capacity;
use rustix::io::Errno as SysErrno;
use rustix::net::sockopt::Timeout;
use rustix::net::{RecvFlags as SysRecvFlags, recv};
use sockeye_packet::{Instant, Payload};
use sockeye_posix::address::AddressBytes;
use sockeye_posix::cmsg::{self, ControlWriter, Received, SendControls};
use sockeye_posix::flags::{MessageFlags, RecvFlags, SendFlags};
use sockeye_posix::message::{CONTROL_MAX, IoVec, MMSG_MAX, MessageHeader};
use sockeye_posix::{Errno, SocketKind};
use sockeye_stack::{Message, SocketType};
use std::os::fd::OwnedFd;

/// The longest datagram of which a program may ask the stack to send; longer ones are EMSGSIZE at once.
const SEND_MAX: usize = 65535;

/// `sendto` with an address.
pub(crate) fn send_to(core: &mut Core, call: &Call, theirs: &OwnedFd, key: SocketKey) -> Reply {
    let flags = call.int(3);
    let len = usize::try_from(call.word(2)).unwrap_or(usize::MAX);
    let sent = call.read_address(call.word(4), call.int(5)).and_then(|name| {
        let message = Outgoing { name, ranges: vec![(call.word(1), len)], controls: SendControls::default() };
        message.send(core, call, theirs, key, flags)
    });
    outcome(core, theirs, key, flags, sent)
}

/// `sendmsg`.
pub(crate) fn send_message(core: &mut Core, call: &Call, theirs: &OwnedFd, key: SocketKey) -> Reply {
    let flags = call.int(2);
    let sent = Outgoing::read(core, call, key, call.word(1))
        .and_then(|message| message.send(core, call, theirs, key, flags));
    outcome(core, theirs, key, flags, sent)
}

/// `sendmmsg`: as many as go, until the first that fails.
pub(crate) fn send_messages(core: &mut Core, call: &Call, theirs: &OwnedFd, key: SocketKey) -> Reply {
    let flags = call.int(3);
    let count = (call.word(2) as u32 as usize).min(MMSG_MAX);
    for index in 0..count {
        let header = call.word(1).wrapping_add((index * MessageHeader::MULTIPLE_SIZE) as u64);
        let sent = Outgoing::read(core, call, key, header)
            .and_then(|message| message.send(core, call, theirs, key, flags))
            .and_then(|sent| {
                let address = header.wrapping_add(MessageHeader::MESSAGE_LEN_OFFSET as u64);
                core.write(call, address, &(sent as u32).to_ne_bytes())
            });
        match sent {
            Ok(()) => {}
            Err(errno) if index == 0 => return outcome(core, theirs, key, flags, Err(errno)),
            Err(_) => return Reply::Value(index as i64),
        }
    }
    Reply::Value(count as i64)
}

/// The answer to a send, or a place among those who wait for room.
fn outcome(core: &Core, theirs: &OwnedFd, key: SocketKey, flags: i32, sent: Result<usize, Errno>) -> Reply {
    match sent {
        Ok(sent) => Reply::Value(sent as i64),
        Err(Errno::EAGAIN) => wait(core, theirs, key, flags & libc::MSG_DONTWAIT != 0, Timeout::Send),
        Err(errno) => Reply::Error(errno),
    }
}

/// EAGAIN for who doesn't wait; the others are handled again when the socket changes.
fn wait(core: &Core, theirs: &OwnedFd, key: SocketKey, dont_wait: bool, which: Timeout) -> Reply {
    if dont_wait || is_nonblocking(theirs) {
        return Reply::Error(Errno::EAGAIN);
    }
    Reply::Park { key, deadline: deadline(core.now, theirs, which), expired: Errno::EAGAIN }
}

/// A datagram that a program wants to send.
struct Outgoing {
    name: Vec<u8>,
    ranges: Vec<(u64, usize)>,
    controls: SendControls,
}

impl Outgoing {
    /// Reads a `struct msghdr` and what it points to, but not the data.
    fn read(core: &Core, call: &Call, key: SocketKey, address: u64) -> Result<Outgoing, Errno> {
        let header = read_header(call, address)?;
        let domain = core.sockets.get(key).ok_or(Errno::EBADF)?.domain;
        if header.control_len > CONTROL_MAX {
            return Err(Errno::ENOBUFS);
        }
        let control = call.read_vec(header.control, header.control_len)?;
        Ok(Outgoing {
            name: call.read_vec(header.name, header.name_len)?,
            ranges: read_ranges(call, &header)?,
            controls: cmsg::parse_send(&control, domain)?,
        })
    }

    /// Sends it; returns its length. EAGAIN when the stack has no room.
    fn send(
        &self,
        core: &mut Core,
        call: &Call,
        theirs: &OwnedFd,
        key: SocketKey,
        flags: i32,
    ) -> Result<usize, Errno> {
        let len = self.ranges.iter().map(|&(_, len)| len).fold(0_usize, usize::saturating_add);
        if len > SEND_MAX {
            return Err(Errno::EMSGSIZE);
        }
        // `MSG_DONTROUTE` and `MSG_MORE` change nothing that a program could see.
        SendFlags::parse(flags, SocketType::Datagram)?;
        let to = match self.name.as_slice() {
            [] => None,
            name => address_reader(core, key)?.destination(name)?,
        };
        let mut bytes = vec![0; len];
        call.read_ranges(&self.ranges, &mut bytes)?;
        // What the program wrote natively goes first.
        pump(core, key);
        let datagram = of(core, key).ok_or(Errno::EBADF)?;
        if let Some(error) = datagram.take_error(theirs) {
            return Err(error.into());
        }
        if datagram.outgoing.is_some() {
            return Err(Errno::EAGAIN);
        }
        let mut payload = Payload::EMPTY;
        core.pool.copy(&bytes, |chunk| payload.push(chunk));
        let record = core.sockets.get(key).ok_or(Errno::EBADF)?;
        let (id, now) = (record.id, core.now);
        // The interface needs no choice: a host has one link.
        let SendControls { source, nic: _, ttl, tos } = self.controls;
        let message = Message { to, source, ttl, tos };
        core.world.with(record.host, |stack| stack.send_msg(now, id, payload, &message))?;
        Ok(len)
    }
}

/// `recvfrom` that wants the address.
pub(crate) fn recv_from(core: &mut Core, call: &Call, theirs: &OwnedFd, key: SocketKey) -> Reply {
    let flags = RecvFlags::parse(call.int(3));
    let room = usize::try_from(call.word(2)).unwrap_or(usize::MAX);
    let taken = take(core, call, theirs, key, room, flags);
    let result = taken.and_then(|taken| {
        core.write(call, call.word(1), &taken.bytes)?;
        if let Some(name) = name_of(core, key, taken.source) {
            core.write_address(call, call.word(4), call.word(5), name.as_slice())?;
        } else {
            core.write(call, call.word(5), &0_i32.to_ne_bytes())?;
        }
        Ok(taken.result(flags))
    });
    received(core, theirs, key, flags, result)
}

/// `recvmsg`.
pub(crate) fn recv_message(core: &mut Core, call: &Call, theirs: &OwnedFd, key: SocketKey) -> Reply {
    let flags = RecvFlags::parse(call.int(2));
    let result = receive_into(core, call, theirs, key, call.word(1), flags);
    received(core, theirs, key, flags, result)
}

/// `recvmmsg`: what is there, at least one. It doesn't wait for the vector to be full, which a program must
/// expect anyway.
pub(crate) fn recv_messages(core: &mut Core, call: &Call, theirs: &OwnedFd, key: SocketKey) -> Reply {
    let flags = RecvFlags::parse(call.int(3));
    let count = (call.word(2) as u32 as usize).min(MMSG_MAX);
    for index in 0..count {
        let header = call.word(1).wrapping_add((index * MessageHeader::MULTIPLE_SIZE) as u64);
        let result = receive_into(core, call, theirs, key, header, flags).and_then(|len| {
            let address = header.wrapping_add(MessageHeader::MESSAGE_LEN_OFFSET as u64);
            core.write(call, address, &(len as u32).to_ne_bytes())
        });
        match result {
            Ok(()) => {}
            Err(errno) if index == 0 => return received(core, theirs, key, flags, Err(errno)),
            Err(_) => return Reply::Value(index as i64),
        }
    }
    Reply::Value(count as i64)
}

/// The answer to a receive, or a place among those who wait.
fn received(
    core: &Core,
    theirs: &OwnedFd,
    key: SocketKey,
    flags: RecvFlags,
    result: Result<usize, Errno>,
) -> Reply {
    match result {
        Ok(len) => Reply::Value(len as i64),
        Err(Errno::EAGAIN) => wait(core, theirs, key, flags.dont_wait || flags.error_queue, Timeout::Recv),
        Err(errno) => Reply::Error(errno),
    }
}

/// Receives one message into the buffers of a `struct msghdr`, with address, control messages and flags.
fn receive_into(
    core: &mut Core,
    call: &Call,
    theirs: &OwnedFd,
    key: SocketKey,
    address: u64,
    flags: RecvFlags,
) -> Result<usize, Errno> {
    let header = read_header(call, address)?;
    let ranges = read_ranges(call, &header)?;
    let room = ranges.iter().map(|&(_, len)| len).sum();
    let taken = take(core, call, theirs, key, room, flags)?;
    core.write_ranges(call, &ranges, &taken.bytes)?;
    let at = |offset: usize| address.wrapping_add(offset as u64);
    if header.name != 0 {
        let name = name_of(core, key, taken.source);
        let name = name.as_ref();
        core.write(call, header.name, name.map_or(&[], |name| name.cut_to(header.name_len)))?;
        let len = name.map_or(0, |name| name.as_slice().len()) as i32;
        core.write(call, at(MessageHeader::NAME_LEN_OFFSET), &len.to_ne_bytes())?;
    }
    let mut out = MessageFlags { truncated: taken.len > taken.bytes.len(), ..MessageFlags::default() };
    let control = control_of(core, key, taken.source, header.control_len, &mut out);
    core.write(call, header.control, &control)?;
    core.write(call, at(MessageHeader::CONTROL_LEN_OFFSET), &(control.len() as u64).to_ne_bytes())?;
    core.write(call, at(MessageHeader::FLAGS_OFFSET), &out.bits().to_ne_bytes())?;
    Ok(taken.result(flags))
}

/// A message out of the program's queue.
struct Taken {
    bytes: Vec<u8>,
    /// Its true length.
    len: usize,
    /// None at the end of a socket shut down for reading.
    source: Option<Source>,
}

impl Taken {
    /// What the call returns.
    fn result(&self, flags: RecvFlags) -> usize {
        if flags.truncate { self.len } else { self.bytes.len() }
    }
}

/// Takes the oldest message, or EAGAIN.
fn take(
    core: &mut Core,
    call: &Call,
    theirs: &OwnedFd,
    key: SocketKey,
    room: usize,
    flags: RecvFlags,
) -> Result<Taken, Errno> {
    if flags.error_queue {
        return Err(Errno::EAGAIN);
    }
    // Nothing is taken for a thread that has been interrupted meanwhile.
    if !core.is_waiting(call) {
        return Err(Errno::EINTR);
    }
    pump(core, key);
    let datagram = of(core, key).ok_or(Errno::EBADF)?;
    if let Some(error) = datagram.take_error(theirs) {
        return Err(error.into());
    }
    let room = room.min(MESSAGE_MAX);
    let mut bytes = Vec::with_capacity(room.max(1));
    let peek = if flags.peek { SysRecvFlags::PEEK } else { SysRecvFlags::empty() };
    let sys_flags = SysRecvFlags::DONTWAIT | SysRecvFlags::TRUNC | peek;
    match recv(theirs, spare_capacity(&mut bytes), sys_flags) {
        Ok((_, len)) => {
            // There may be more capacity than was asked for.
            bytes.truncate(room);
            let first = if flags.peek { datagram.queued.front().copied() } else { datagram.forget_first() };
            Ok(Taken { bytes, len, source: first.and_then(|first| first.source) })
        }
        Err(SysErrno::AGAIN) => Err(Errno::EAGAIN),
        Err(error) => Err(Errno(error.raw_os_error())),
    }
}

/// The source's address in the form of the socket's family.
fn name_of(core: &Core, key: SocketKey, source: Option<Source>) -> Option<AddressBytes> {
    let domain = core.sockets.get(key)?.domain;
    source.map(|source| AddressBytes::new(source.from, domain))
}

/// The control messages that the socket's options ask for.
fn control_of(
    core: &Core,
    key: SocketKey,
    source: Option<Source>,
    room: usize,
    flags: &mut MessageFlags,
) -> Vec<u8> {
    let (Some(record), Some(Source { to, nic, ttl, tos, received_at, from: _ })) =
        (core.sockets.get(key), source)
    else {
        return Vec::new();
    };
    let mut writer = ControlWriter::new(room);
    let wall = core.world.with(record.host, |stack| stack.config().wall_offset);
    let at = wall + received_at.saturating_since(Instant::ZERO);
    let kind = SocketKind { domain: record.domain, kind: SocketType::Datagram };
    cmsg::write_received(&mut writer, &record.stored, kind, &Received { to, nic, ttl, tos, at });
    writer.finish(flags)
}

fn read_header(call: &Call, address: u64) -> Result<MessageHeader, Errno> {
    let mut bytes = [0; MessageHeader::SIZE];
    call.read(address, &mut bytes)?;
    MessageHeader::parse(&bytes)
}

fn read_ranges(call: &Call, header: &MessageHeader) -> Result<Vec<(u64, usize)>, Errno> {
    let bytes = call.read_vec(header.iov, header.iov_len * IoVec::SIZE)?;
    Ok(IoVec::parse_all(&bytes)?.into_iter().map(|part| (part.base, part.len)).collect())
}
