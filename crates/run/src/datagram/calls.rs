//! The calls on datagram sockets that carry an address or a `msghdr`.
//!
//! A receive takes the message from the program's own queue, through a duplicate of its end, so that native
//! and intercepted reads see one order. A send goes to the stack, after what the program wrote natively.

use super::{MESSAGE_MAX, Source, loopback, of, pump};
use crate::calls::{Answer, address_reader};
use crate::core::Core;
use crate::end::ProgramEnd;
use crate::proto::{Outcome, Received};
use crate::sockets::SocketKey;
use rustix::buffer::spare_capacity;
use rustix::io::Errno as SysErrno;
use rustix::net::sockopt::Timeout;
use rustix::net::{RecvFlags as SysRecvFlags, recv};
use sockeye_packet::Payload;
use sockeye_posix::address::AddressBytes;
use sockeye_posix::cmsg::{self, ControlWriter, Received as Arrival, SendControls};
use sockeye_posix::flags::{MessageFlags, RecvFlags};
use sockeye_posix::{Errno, SocketKind};
use sockeye_stack::Message;

/// The longest datagram that any socket sends: the stack says EMSGSIZE to longer ones, which may be cut.
pub(crate) const SEND_MAX: usize = 65535;

/// A datagram that a program wants to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'a> {
    /// Its destination as a socket address; empty for the peer.
    pub(crate) name: &'a [u8],
    /// Its control messages.
    pub(crate) control: &'a [u8],
    /// What it carries.
    pub(crate) data: &'a [u8],
}

/// `sendto`, `sendmsg` or one message of `sendmmsg`.
pub(crate) fn send(
    core: &mut Core,
    end: &ProgramEnd,
    key: SocketKey,
    flags: i32,
    outgoing: &Outgoing<'_>,
) -> Answer {
    match outgoing.send(core, end, key, flags) {
        Ok(sent) => Ok(Outcome::Value(sent as i64)),
        Err(Errno::EAGAIN) => wait(end, key, flags & libc::MSG_DONTWAIT != 0, Timeout::Send),
        Err(errno) => Err(errno),
    }
}

/// EAGAIN for who doesn't wait; the others are handled again when the socket changes.
pub(crate) fn wait(end: &ProgramEnd, key: SocketKey, dont_wait: bool, which: Timeout) -> Answer {
    if dont_wait || end.is_nonblocking() {
        return Err(Errno::EAGAIN);
    }
    Ok(Outcome::Wait { key, limit: end.timeout(which), expired: libc::EAGAIN })
}

impl Outgoing<'_> {
    /// Sends it; returns its length. EAGAIN when the stack has no room.
    fn send(&self, core: &mut Core, end: &ProgramEnd, key: SocketKey, flags: i32) -> Result<usize, Errno> {
        let record = core.sockets.get(key).ok_or(Errno::EBADF)?;
        let controls = cmsg::parse_send(self.control, record.domain, &record.stored)?;
        // `MSG_DONTROUTE` changes nothing that a program could see.
        let more = flags & libc::MSG_MORE != 0;
        let urgent = flags & libc::MSG_OOB != 0;
        let to = address_reader(core, key)?.message(self.name, self.data, self.data.len(), urgent)?;
        // What the program wrote natively goes first.
        pump(core, key);
        let datagram = of(core, key).ok_or(Errno::EBADF)?;
        if let Some(error) = datagram.take_error(end) {
            return Err(error.into());
        }
        if datagram.outgoing.is_some() {
            return Err(Errno::EAGAIN);
        }
        let mut payload = Payload::EMPTY;
        core.pool.copy(self.data, |chunk| payload.push(chunk));
        let record = core.sockets.get(key).ok_or(Errno::EBADF)?;
        let (id, now) = (record.id, core.now);
        let SendControls { source, nic, ttl, tos, segment_size } = controls;
        let message = Message { to, source, nic, ttl, tos, segment_size, more };
        core.world.with(record.host, |stack| stack.send_msg(now, id, payload, &message))?;
        Ok(self.data.len())
    }
}

/// `recvfrom`, `recvmsg` or one message of `recvmmsg`, with room for so many bytes of data and of control
/// messages.
pub(crate) fn receive(
    core: &mut Core,
    end: &ProgramEnd,
    key: SocketKey,
    flags: i32,
    [room, control_room]: [usize; 2],
) -> Answer {
    let flags = RecvFlags::parse(flags);
    if flags.error_queue {
        return loopback::receive(core, end, key, flags, [room, control_room]);
    }
    let taken = match take(core, end, key, room, flags) {
        Ok(taken) => taken,
        Err(Errno::EAGAIN) => {
            return wait(end, key, flags.dont_wait, Timeout::Recv);
        }
        Err(errno) => return Err(errno),
    };
    let result = if flags.truncate { taken.len } else { taken.bytes.len() } as u32;
    let mut out = MessageFlags {
        truncated: taken.len > taken.bytes.len(),
        close_on_exec: flags.close_on_exec,
        ..MessageFlags::default()
    };
    let control = control_of(core, key, taken.source, control_room, &mut out);
    let name = name_of(core, key, taken.source).map(|name| name.as_slice().to_vec());
    Ok(Outcome::Received(Received { data: taken.bytes, name, control, flags: out.bits(), result }))
}

/// A message out of the program's queue.
struct Taken {
    bytes: Vec<u8>,
    /// Its true length.
    len: usize,
    /// None at the end of a socket shut down for reading.
    source: Option<Source>,
}

/// Takes the oldest message, or EAGAIN.
fn take(
    core: &mut Core,
    end: &ProgramEnd,
    key: SocketKey,
    room: usize,
    flags: RecvFlags,
) -> Result<Taken, Errno> {
    pump(core, key);
    let datagram = of(core, key).ok_or(Errno::EBADF)?;
    if let Some(error) = datagram.take_error(end) {
        return Err(error.into());
    }
    let theirs = end.fd().ok_or(Errno::EBADF)?;
    let room = room.min(MESSAGE_MAX);
    if datagram.loopback.is_some() {
        let mut bytes = vec![0; room];
        let (len, source) = datagram
            .take_marked(theirs, &mut bytes, flags.peek)
            .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno))?;
        bytes.truncate(len);
        return Ok(Taken { bytes, len, source });
    }
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
    let (Some(record), Some(Source { to, nic, ttl, tos, received_at, dropped, segment_size, from: _ })) =
        (core.sockets.get(key), source)
    else {
        return Vec::new();
    };
    let mut writer = ControlWriter::new(room);
    let at = core.clock.since_1970(received_at);
    let kind = SocketKind { domain: record.domain, kind: record.kind() };
    cmsg::write_received(
        &mut writer,
        &record.stored,
        kind,
        &Arrival { to, nic, ttl, tos, at, dropped, segment_size },
    );
    writer.finish(flags)
}
