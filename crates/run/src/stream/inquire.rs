//! `recvmsg` on a connection with `TCP_INQ`: what was read, and how many bytes can be read behind it.
//!
//! The bytes lie in the program's queue, as for native reads; what doesn't fit there waits in the stack. A call that
//! has to wait is left to the kernel, which tells no number: programs that ask for one wait by `epoll`.

use super::Phase;
use crate::calls::Answer;
use crate::core::Core;
use crate::end::ProgramEnd;
use crate::proto::{Outcome, Received};
use crate::sockets::{Record, Socket, SocketKey};
use rustix::io::Errno as SysErrno;
use rustix::net::{RecvFlags as SysRecvFlags, recv};
use sockeye_posix::cmsg::ControlWriter;
use sockeye_posix::flags::MessageFlags;
use sockeye_posix::{Errno, Stored};
use sockeye_stack::Readiness;

/// Most bytes that one call reads.
const READ_MAX: usize = 256 * 1024;
/// Flags with which the kernel's answer would be no other.
const PLAIN: i32 = libc::MSG_DONTWAIT | libc::MSG_PEEK | libc::MSG_NOSIGNAL | libc::MSG_CMSG_CLOEXEC;

/// Whether reads of the socket come with the number of bytes behind them.
pub(crate) fn is_wanted(stored: &Stored) -> bool {
    stored.is_on(libc::IPPROTO_TCP, libc::TCP_INQ)
}

/// The read, with room for so many bytes of data and of control messages.
pub(crate) fn receive(
    core: &mut Core,
    end: &ProgramEnd,
    key: SocketKey,
    flags: i32,
    [room, control_room]: [usize; 2],
) -> Answer {
    let record = core.sockets.get(key).ok_or(Errno::EBADF)?;
    let (Some(theirs), true) = (end.fd(), flags & !PLAIN == 0 && room > 0 && is_carrying(record)) else {
        return crate::calls::pass(core, key, None);
    };
    let peek = if flags & libc::MSG_PEEK != 0 { SysRecvFlags::PEEK } else { SysRecvFlags::empty() };
    let mut data = vec![0; room.min(READ_MAX)];
    match recv(theirs, &mut data[..], SysRecvFlags::DONTWAIT | peek) {
        Ok((len, _)) => data.truncate(len),
        Err(SysErrno::AGAIN) if flags & libc::MSG_DONTWAIT != 0 || end.is_nonblocking() => {
            return Err(Errno::EAGAIN);
        }
        Err(SysErrno::AGAIN) => return Ok(Outcome::Continue),
        Err(error) => return Err(Errno(error.raw_os_error())),
    }
    let unread = rustix::io::ioctl_fionread(theirs).unwrap_or(0);
    let (host, id) = (record.host, record.id);
    let (queued, ended) = core.world.with(host, |stack| {
        (stack.recv_queued(id) as u64, stack.readiness(id).contains(Readiness::READ_CLOSED))
    });
    // As the kernel: the end counts as one byte, once all others are read.
    let behind = (unread + queued).max(u64::from(ended));
    let mut writer = ControlWriter::new(control_room);
    writer.put_int(libc::IPPROTO_TCP, libc::TCP_INQ, i32::try_from(behind).unwrap_or(i32::MAX));
    let mut out = MessageFlags::default();
    let control = writer.finish(&mut out);
    let result = data.len() as u32;
    Ok(Outcome::Received(Received { data, name: None, control, flags: out.bits(), result }))
}

fn is_carrying(record: &Record) -> bool {
    matches!(&record.socket, Socket::Stream(stream) if matches!(stream.phase, Phase::Connected { .. }))
}
