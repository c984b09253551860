//! Stream plugs: the supervisor's side of a program's TCP socket.
//!
//! A plug is a pair of local stream sockets from the beginning, also while the socket is fresh or listens:
//! so the program's close is always seen at once, as hang-up, and no name in any file system is needed.
//!
//! The *sentinel*: as a rule the supervisor's end holds at least one unread byte. Closing it then gives the
//! program ECONNRESET, whatever the program did before; a clean end is `shutdown` instead. So the last byte
//! delivered is only peeked at and stays ([`Stream::kept`]), and a program that shuts down its sending
//! direction leaves a byte of junk behind ([`Stream::tail`]). After a long burst there is none (see the
//! pump); then a reset puts one there through the program's own descriptor.

mod connect;
pub(crate) mod inquire;
mod listen;
mod pump;
mod urgent;

pub(crate) use connect::{
    connect, connect_seen, failure_seen, has_begun, on_plug as on_connecting_plug, progress,
};
pub(crate) use listen::{
    Listener, Offer, accept, accept_seen, announce, end_returned, listen, on_plug as on_listener_plug,
    shut as shut_listener, withdraw,
};
pub(crate) use pump::{on_plug as on_connected_plug, pump};

use crate::calls::Caller;
use crate::core::Core;
use crate::end::ProgramEnd;
use crate::poller::{Poller, Token};
use crate::proto::Notice;
use crate::sockets::{Dead, Socket, SocketKey};
use rustix::event::epoll::EventFlags;
use rustix::net::sockopt::set_socket_oobinline;
use rustix::net::{
    AddressFamily, SendFlags, Shutdown as SysShutdown, SocketFlags, SocketType as SysType, send, shutdown,
    socketpair,
};
use sockeye_packet::Chunk;
use sockeye_posix::Errno;
use sockeye_stack::Error;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Where a stream socket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Neither connected nor connecting; bound perhaps.
    Fresh,
    /// The handshake runs; the program's end is stuffed with junk, so it isn't writable.
    Connecting,
    /// The handshake failed, and a blocking call is to be told; the program's end is still stuffed.
    Failed(Error),
    /// Connected; bytes are pumped.
    Connected {
        /// Whether a connect call has told so: the next one fails with EISCONN.
        told: bool,
    },
}

/// The supervisor's side of a stream socket.
#[derive(Debug)]
pub(crate) struct Stream {
    /// The supervisor's end.
    pub(crate) plug: OwnedFd,
    /// Where it stands.
    pub(crate) phase: Phase,
    /// Whether the first unread byte on the supervisor's end has been delivered (or is junk).
    kept: bool,
    /// Junk bytes that make the program's end unwritable while it connects.
    junk: usize,
    /// Whether the last unread byte is junk, put there when the program shut down sending.
    tail: bool,
    /// A thread and its descriptor of this socket, when it was connected: a way to the program's end.
    owner: Option<Caller>,
    /// Bytes read since nothing was left to read.
    burst: usize,
    /// Whether there may be bytes to read; cleared when there were none.
    readable: bool,
    /// Whether the program's queue may have room; cleared when it was full.
    writable: bool,
    /// Whether room in the program's queue is an event: from the first time on that there was none. A program
    /// that reads makes room each time.
    hears_of_room: bool,
    /// Bytes from the program that the stack had no room for.
    to_stack: VecDeque<Chunk>,
    /// Bytes for the program that found no room yet.
    to_program: VecDeque<Chunk>,
    /// An urgent byte from the program, behind `to_stack`.
    urgent_out: Option<Chunk>,
    /// An urgent byte for the program, behind `to_program`.
    urgent_in: Option<Chunk>,
    /// What the program did at its end.
    program: End,
    /// Whether the stack was told that the program sends no more.
    fin_sent: bool,
    /// Whether the program was told that the peer sends no more.
    eof_told: bool,
    /// The connection's error: the program is told after the bytes before it.
    failed: Option<Error>,
    /// Whether the program shut down both directions itself, which looks like a close.
    pub(crate) shut_both: bool,
    /// Whether it waits in [`Core::unfinished`].
    queued: bool,
}

/// What the program did at its end of a plug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// It may still write.
    Open,
    /// It writes no more.
    WriteShut,
    /// The last descriptor is closed.
    Closed,
    /// Closed with bytes unread, which TCP answers with a reset.
    Reset,
}

impl Stream {
    /// A plug's supervisor end.
    pub(crate) fn new(plug: OwnedFd, phase: Phase, owner: Option<Caller>) -> Stream {
        Stream {
            plug,
            phase,
            kept: true,
            junk: 0,
            tail: false,
            burst: 0,
            owner,
            // The first event of a plug that is watched tells.
            readable: false,
            writable: true,
            hears_of_room: false,
            to_stack: VecDeque::new(),
            to_program: VecDeque::new(),
            urgent_out: None,
            urgent_in: None,
            program: End::Open,
            fin_sent: false,
            eof_told: false,
            failed: None,
            shut_both: false,
            queued: false,
        }
    }

    /// Whether bytes are pumped.
    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected { .. })
    }

    /// How many bytes from the program wait to be read.
    pub(crate) fn unread(&self) -> usize {
        let queued = rustix::io::ioctl_fionread(&self.plug).map_or(0, |n| n as usize);
        queued.saturating_sub(usize::from(self.kept) + usize::from(self.tail))
    }

    /// `shutdown` of the program's end, for sending or for both directions: done here, at once, so that another
    /// thread has no time to write behind the tail.
    pub(crate) fn shut(&mut self, end: &ProgramEnd, how: SysShutdown) -> Result<(), Errno> {
        let done = if let Some(theirs) = end.fd() {
            // Where something is unread, its last byte will be the sentinel.
            if !self.tail && !self.has_sentinel() {
                self.tail = send(theirs, &[0], SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_ok();
            }
            shutdown(theirs, how)
        } else {
            // The kernel mirrors a local socket's shutdown at its peer.
            let mirrored = if how == SysShutdown::Write { SysShutdown::Read } else { how };
            shutdown(&self.plug, mirrored)
        };
        done.map_err(|error| Errno(error.raw_os_error()))?;
        self.shut_both |= how == SysShutdown::Both;
        // All it wrote is in the queue.
        self.program = self.program.max(End::WriteShut);
        Ok(())
    }

    /// How many bytes the program, whose end has this inode, has not read. Where the kernel doesn't say: how much
    /// memory they take.
    pub(crate) fn unread_by_program(&self, inode: u64) -> usize {
        match crate::sys::unread_by_peer(&self.plug).unwrap_or(0) {
            0 => 0,
            memory => crate::sys::unread_of(inode).unwrap_or(memory),
        }
    }

    /// Whether closing the plug now shows as a reset.
    fn has_sentinel(&self) -> bool {
        rustix::io::ioctl_fionread(&self.plug).is_ok_and(|queued| queued > 0)
    }
}

/// The two ends of a new plug.
#[derive(Debug)]
pub(crate) struct Plug {
    /// The supervisor's end, which never blocks and holds the first sentinel.
    pub(crate) ours: OwnedFd,
    /// The program's end.
    pub(crate) theirs: OwnedFd,
}

/// A new stream plug.
pub(crate) fn new_plug(nonblocking: bool) -> io::Result<Plug> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SysType::STREAM, flags, None)?;
    send(&theirs, &[0], SendFlags::NOSIGNAL)?;
    // The pump finds the program's urgent bytes among the others.
    set_socket_oobinline(&ours, true)?;
    if !nonblocking {
        rustix::io::ioctl_fionbio(&theirs, false)?;
    }
    Ok(Plug { ours, theirs })
}

/// Makes a program's end unwritable: junk beyond a quarter of its send buffer, as `unix_writable` counts.
/// Answers how many bytes that took.
fn stuff(theirs: impl AsFd) -> io::Result<usize> {
    let buffer = rustix::net::sockopt::socket_send_buffer_size(theirs.as_fd())?;
    let junk = vec![0_u8; (buffer / 4 + 16 * 1024).clamp(4096, 1 << 20)];
    let mut stuffed = 0;
    // The last byte stands alone, so that it pins no large block when it stays as the sentinel.
    for bytes in [&junk[..], &junk[..1]] {
        match send(theirs.as_fd(), bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(sent) => stuffed += sent,
            Err(rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(stuffed)
}

/// Junk enough for a program's end that may stay writable: when it is taken back that end becomes writable anew, which
/// whoever polls it by edges waits for. None is needed where the program has filled it already.
fn mark(theirs: impl AsFd) -> io::Result<usize> {
    match send(theirs.as_fd(), &[0], SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
        Err(rustix::io::Errno::AGAIN) => Ok(0),
        sent => Ok(sent?),
    }
}

/// Takes back the sentinel and `junk`, up to its last byte, the new sentinel. The program's end is writable
/// again from the first bytes on: what the program writes meanwhile stands behind the junk and stays.
fn unstuff(ours: &OwnedFd, mut junk: usize) -> io::Result<()> {
    let mut trash = [0_u8; 16 * 1024];
    while junk > 0 {
        let take = junk.min(trash.len());
        match rustix::io::read(ours, &mut trash[..take])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => junk -= read,
        }
    }
    Ok(())
}

/// The events of a stream's plug that carries bytes, until it has no room.
pub(crate) fn carrying() -> EventFlags {
    EventFlags::IN | EventFlags::RDHUP | EventFlags::ET
}

/// The events of a plug of which only the end matters.
pub(crate) fn idle() -> EventFlags {
    EventFlags::RDHUP | EventFlags::ET
}

/// A plug's event: what the program did, or room for more bytes.
pub(crate) fn on_plug(core: &mut Core, key: SocketKey, events: EventFlags) {
    match core.sockets.get(key).map(|record| &record.socket) {
        Some(Socket::Stream(stream)) => match stream.phase {
            Phase::Connected { .. } => on_connected_plug(core, key, events),
            Phase::Fresh | Phase::Connecting | Phase::Failed(_) => on_connecting_plug(core, key, events),
        },
        Some(Socket::Listener(_)) => on_listener_plug(core, key, events),
        Some(Socket::Datagram(_)) => crate::datagram::on_plug(core, key, events),
        Some(Socket::Netlink(_)) => crate::netlink::on_plug(core, key, events),
        Some(Socket::Dead(_)) | None => {}
    }
}

/// The stack says that a socket changed.
pub(crate) fn on_stack(core: &mut Core, key: SocketKey) {
    match core.sockets.get(key).map(|record| &record.socket) {
        Some(Socket::Stream(stream)) => match stream.phase {
            Phase::Connected { .. } => pump(core, key),
            Phase::Connecting => progress(core, key, false),
            Phase::Fresh | Phase::Failed(_) => {}
        },
        Some(Socket::Listener(_)) => announce(core, key),
        Some(Socket::Datagram(_)) => crate::datagram::on_stack(core, key),
        // It has no socket in the stack: this is work left over.
        Some(Socket::Netlink(_)) => crate::netlink::on_plug(core, key, EventFlags::empty()),
        Some(Socket::Dead(_)) | None => {}
    }
}

/// The program closed its socket: the stack closes its own, and the record goes.
fn close(core: &mut Core, key: SocketKey) {
    core.wake(key);
    if let Some(record) = core.sockets.remove(key) {
        core.close_socket(&record);
    }
}

/// The connection failed: the program sees a reset, and `error` where calls are intercepted.
fn bury(core: &mut Core, key: SocketKey, error: Option<Error>) {
    let Some(record) = core.sockets.get(key) else { return };
    let (host, id, now) = (record.host, record.id, core.now);
    let local = core.world.with(host, |stack| {
        let local = stack.local_addr(id).ok();
        stack.close(now, id).ok();
        local
    });
    take_plug(core, key, Dead { error, local, stays: false });
}

/// There is no connection, but the socket stays what it was told to be: the program sees a reset until it connects or
/// listens again, and `error`, or the stack's, where calls are intercepted.
fn unplug(core: &mut Core, key: SocketKey, error: Option<Error>) {
    take_plug(core, key, Dead { error, local: None, stays: true });
}

fn take_plug(core: &mut Core, key: SocketKey, dead: Dead) {
    core.wake(key);
    let names = core.sockets.get(key).map(|record| record.names);
    let Some(Socket::Stream(stream)) = core.sockets.bury(key, dead) else { return };
    if let Some(forgotten) = core.sockets.forget_oldest_dead()
        && forgotten.is_unplugged()
    {
        core.close_socket(&forgotten);
    }
    if stream.shut_both {
        // The program asked for the end of both directions: for it, this is no reset.
        while matches!(rustix::io::read(&stream.plug, &mut [0_u8; 16 * 1024]), Ok(1..)) {}
    } else if !stream.has_sentinel()
        && let (Some(Caller { member, tid, fd, .. }), Some(names)) = (stream.owner, names)
    {
        core.spoil(key, stream.plug, member, Notice::Spoil { tid, fd, cookie: names.cookie, key });
    }
}

/// Watches a plug that begins to carry bytes.
fn carry(poller: &Poller, key: SocketKey, plug: &OwnedFd) -> Result<(), Errno> {
    poller.rewatch(plug, Token::Plug(key), carrying()).map_err(|error| errno_of(&error))
}

/// The errno of a failed system call of ours, for the program whose call needed it.
pub(crate) fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_writes_while_the_junk_is_taken_back_stays() {
        let plug = new_plug(true).unwrap();
        let junk = stuff(&plug.theirs).unwrap();
        send(&plug.theirs, b"early", SendFlags::DONTWAIT).unwrap();
        unstuff(&plug.ours, junk).unwrap();
        let mut left = [0; 64];
        let read = rustix::io::read(&plug.ours, &mut left[..]).unwrap();
        assert_eq!(&left[..read], b"\0early", "the sentinel and the program's bytes");
    }
}
