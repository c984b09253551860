//! Datagram plugs: the supervisor's side of a program's UDP or ping socket.
//!
//! A plug is a pair of SEQPACKET sockets, one message a datagram; the program's close shows as hang-up. What
//! came in lies in the program's queue, where a native `recv` takes it, and its source address in a list
//! beside it, one entry per datagram. How many entries native reads have consumed is told by the memory that
//! the kernel still charges for unread ones, so the list is brought up to date before it is used.
//!
//! Back-pressure: towards the stack nothing is read from the plug while a datagram waits for room, towards
//! the program nothing is taken from the stack while one doesn't fit; the stack's queue then drops, as UDP does.
//! An error of a connected socket (refused) can't be shown on a plug: an empty datagram wakes who waits, and
//! intercepted calls tell the error. Sockets with an error queue have plugs of another kind (`loopback`).

mod calls;
mod loopback;

pub(crate) use calls::{Outgoing, SEND_MAX, receive, send as send_one, wait};
pub(crate) use loopback::{Loopbacks, look, look_now, note_user, replaced, replacement};

use crate::calls::{Answer, done};
use crate::core::Core;
use crate::end::ProgramEnd;
use crate::proto::Outcome;
use crate::sockets::{Record, Socket, SocketKey};
use crate::sys;
use loopback::{Loopback, Successor};
use rustix::event::epoll::EventFlags;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno as SysErrno;
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown as SysShutdown, SocketFlags, SocketType as SysType, recv,
    send, shutdown as sys_shutdown, socketpair,
};
use sockeye_packet::{Chunk, Instant, NicId, Payload, Pool};
use sockeye_posix::Errno;
use sockeye_stack::{
    Error, Readiness, RecvFlags as StackRecvFlags, SendFlags as StackSendFlags, Shutdown, SockAddr, SocketId,
    SocketType, Stack,
};
use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Longest message of a plug: more than any datagram.
const MESSAGE_MAX: usize = 65536;
/// Half the send buffer of the program's end: the kernel then refuses messages of more than 65,508 bytes, as
/// close to UDP's 65,507 as its rounding comes.
const PROGRAM_SEND_BUFFER: usize = 32770;
/// How many datagrams move in each direction before others have their turn.
const SHARE: usize = 64;

/// The same for a socket that was closed: more than a plug holds.
const LAST_SHARE: usize = 1024;

/// The supervisor's side of a datagram socket.
#[derive(Debug)]
pub(crate) struct Datagram {
    /// Datagram or ping.
    kind: SocketType,
    plug: OwnedFd,
    /// What lies unread in the program's queue, oldest first; native reads may have taken the first ones.
    queued: VecDeque<Queued>,
    /// Sum of the charges in `queued`.
    charged: usize,
    /// When the datagram came in that was read last.
    read_last: Option<Instant>,
    /// Found no room in the program's queue.
    held: Option<(Chunk, Source)>,
    /// Found no room in the stack.
    outgoing: Option<Payload>,
    /// The program's queue may have room.
    writable: bool,
    /// The program may have written.
    readable: bool,
    /// The program shut down sending: behind what it wrote before there is only the end.
    write_shut: bool,
    /// All descriptors of the program's end are closed.
    closed: bool,
    /// What the next intercepted call fails with.
    error: Option<Error>,
    /// Whether it waits in [`Core::unfinished`].
    unfinished: bool,
    /// Of a plug that can show an error queue, what belongs to that.
    loopback: Option<Box<Loopback>>,
    /// Takes the place of the plug when the program has its end.
    successor: Option<Successor>,
}

/// One message in the program's queue.
#[derive(Clone, Copy, Debug)]
struct Queued {
    /// The memory that the kernel charges for it, in a local plug.
    charge: usize,
    /// What tells it from others, in a plug on the loopback interface.
    mark: u16,
    /// Where it came from; none for one that only wakes the program up.
    source: Option<Source>,
}

/// What there is to know of a received datagram.
#[derive(Clone, Copy, Debug)]
struct Source {
    from: SockAddr,
    to: SockAddr,
    nic: NicId,
    ttl: u8,
    tos: u8,
    received_at: Instant,
    dropped: u32,
    segment_size: u16,
}

/// What a direction came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Idle,
    More,
    Ended,
}

/// A new datagram socket and the program's end of its plug, non-blocking if asked for.
pub(crate) fn open(kind: SocketType, nonblocking: bool) -> io::Result<(Datagram, OwnedFd)> {
    let (plug, theirs) = socketpair(AddressFamily::UNIX, SysType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    set_socket_send_buffer_size(&theirs, PROGRAM_SEND_BUFFER)?;
    rustix::io::ioctl_fionbio(&plug, true)?;
    if nonblocking {
        rustix::io::ioctl_fionbio(&theirs, true)?;
    }
    Ok((Datagram::new(kind, plug), theirs))
}

/// The events of a plug.
pub(crate) fn carrying() -> EventFlags {
    EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET
}

/// The program wrote into the plug, made room in it, or closed it (hang-up).
pub(crate) fn on_plug(core: &mut Core, key: SocketKey, events: EventFlags) {
    if let Some(datagram) = of(core, key) {
        if datagram.successor.is_some() {
            // The program may have lost this one's end already, for the other's.
            return;
        }
        datagram.readable |= events.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP);
        datagram.writable |= events.contains(EventFlags::OUT);
        datagram.write_shut |= events.contains(EventFlags::RDHUP);
        datagram.closed |= events.contains(EventFlags::HUP);
        if datagram.loopback.is_some() && events.contains(EventFlags::ERR) {
            // The program's end refuses what is sent to it.
            (datagram.closed, datagram.readable) = (true, true);
        }
    }
    pump(core, key);
}

/// The stack's socket changed: datagrams to read, room to send, an error. Also: work was left over.
pub(crate) fn on_stack(core: &mut Core, key: SocketKey) {
    if let Some(datagram) = of(core, key) {
        datagram.unfinished = false;
    }
    pump(core, key);
    loopback::show(core, key);
    core.wake(key);
}

/// `connect`; no peer dissolves the association.
pub(crate) fn connect(core: &mut Core, key: SocketKey, peer: Option<SockAddr>) -> Answer {
    // What the program wrote before goes to where it was connected before.
    pump(core, key);
    let record = core.sockets.get(key).ok_or(Errno::EBADF)?;
    let (host, id, now) = (record.host, record.id, core.now);
    done(core.world.with(host, |stack| match peer {
        Some(peer) => stack.connect(now, id, peer),
        None => stack.disconnect(now, id),
    }))
}

/// `shutdown`: of the plug, which ends what the program does natively, and of the stack's socket for
/// intercepted sends. An unconnected socket is told ENOTCONN and shut down all the same, as by Linux: so
/// programs wake their readers.
pub(crate) fn shutdown(core: &mut Core, end: &ProgramEnd, key: SocketKey, how: i32) -> Answer {
    let (native, how) = match how {
        libc::SHUT_RD => (SysShutdown::Read, None),
        libc::SHUT_WR => (SysShutdown::Write, Some(Shutdown::Write)),
        // Both at once would look like a close, and the socket keeps its port. The stack sends no more.
        libc::SHUT_RDWR => (SysShutdown::Read, Some(Shutdown::Write)),
        _ => return Err(Errno::EINVAL),
    };
    pump(core, key);
    let record = core.sockets.get(key).ok_or(Errno::EBADF)?;
    let (host, id, now) = (record.host, record.id, core.now);
    let connected = core.world.with(host, |stack| {
        let connected = stack.peer_addr(id).is_ok();
        // It says the same as `connected` does.
        how.map(|how| stack.shutdown(now, id, how).ok());
        connected
    });
    let theirs = end.fd().ok_or(Errno::EBADF)?;
    let shut = sys_shutdown(theirs, native);
    core.wake(key);
    shut.map_err(|error| Errno(error.raw_os_error()))?;
    if connected { Ok(Outcome::Value(0)) } else { Err(Errno::ENOTCONN) }
}

/// The datagram socket of a record.
fn of(core: &mut Core, key: SocketKey) -> Option<&mut Datagram> {
    match core.sockets.get_mut(key) {
        Some(Record { socket: Socket::Datagram(datagram), .. }) => Some(datagram),
        _ => None,
    }
}

/// Takes what the program has written so far: before options change, by which it is sent.
pub(crate) fn take_written(core: &mut Core, key: SocketKey) {
    for _ in 0..LAST_SHARE / SHARE {
        // The event that tells of it may not have been fetched yet.
        match of(core, key) {
            Some(datagram) => datagram.readable = true,
            None => return,
        }
        pump(core, key);
        if of(core, key).is_none_or(|datagram| !datagram.readable || datagram.outgoing.is_some()) {
            return;
        }
    }
}

/// Moves what can be moved now, a share each way.
fn pump(core: &mut Core, key: SocketKey) {
    let now = core.now;
    let Some(record) = core.sockets.get_mut(key) else { return };
    let (host, id) = (record.host, record.id);
    let Socket::Datagram(datagram) = &mut record.socket else { return };
    let before = datagram.queued.len();
    let pool = &mut core.pool;
    let (outward, inward) = core.world.with(host, |stack| {
        (datagram.move_outward(stack, pool, now, id), datagram.move_inward(stack, now, id))
    });
    if outward == Progress::Ended {
        core.wake(key);
        core.sockets.remove(key);
        core.world.with(host, |stack| stack.close(now, id)).ok();
        return;
    }
    let arrived = datagram.queued.len() > before || datagram.error.is_some();
    let more = outward == Progress::More || inward == Progress::More;
    if more && !std::mem::replace(&mut datagram.unfinished, true) {
        core.unfinished.push_back(key);
    }
    if arrived {
        core.wake(key);
    }
}

impl Datagram {
    fn new(kind: SocketType, plug: OwnedFd) -> Datagram {
        Datagram {
            kind,
            plug,
            queued: VecDeque::new(),
            charged: 0,
            read_last: None,
            held: None,
            outgoing: None,
            writable: true,
            readable: true,
            write_shut: false,
            closed: false,
            error: None,
            unfinished: false,
            loopback: None,
            successor: None,
        }
    }

    /// Its type.
    pub(crate) fn kind(&self) -> SocketType {
        self.kind
    }

    /// The supervisor's end of the plug.
    pub(crate) fn plug(&self) -> BorrowedFd<'_> {
        self.plug.as_fd()
    }

    /// Takes the pending error (`SO_ERROR`), and from the program's queue the message that woke it for that.
    pub(crate) fn take_error(&mut self, end: &ProgramEnd) -> Option<Error> {
        self.forget_read();
        if let Some(theirs) = end.fd() {
            self.drop_wake_ups(theirs);
        }
        self.error.take()
    }

    /// Reads over messages that were only to wake the program up: it learns of the error by a call.
    fn drop_wake_ups(&mut self, theirs: &OwnedFd) {
        if self.loopback.is_some() {
            return self.drop_marked_wake_ups(theirs);
        }
        while self.queued.front().is_some_and(|first| first.source.is_none()) {
            self.forget_first();
            if recv(theirs, &mut [0_u8; 1], RecvFlags::DONTWAIT).is_err() {
                return;
            }
        }
    }

    /// From the program to the stack.
    #[allow(clippy::large_stack_arrays, reason = "64 KiB of a stack of megabytes, never cleared")]
    fn move_outward(&mut self, stack: &mut Stack, pool: &mut Pool, now: Instant, id: SocketId) -> Progress {
        let mut buffer = [MaybeUninit::uninit(); MESSAGE_MAX];
        // What a closed socket left is bounded by its queue, and its port is wanted back.
        for _ in 0..if self.closed { LAST_SHARE } else { SHARE } {
            if !self.flush(stack, now, id) || !self.readable {
                return Progress::Idle;
            }
            match recv(&self.plug, &mut buffer, RecvFlags::DONTWAIT) {
                // At the end each read is empty; an empty datagram before others is told apart by those.
                Ok((_, 0)) if self.is_at_end() => {
                    self.readable = false;
                    return if self.closed { Progress::Ended } else { Progress::Idle };
                }
                Ok(((bytes, _), _)) => {
                    let mut payload = Payload::EMPTY;
                    pool.copy(bytes, |chunk| payload.push(chunk));
                    self.outgoing = Some(payload);
                }
                Err(SysErrno::AGAIN) => {
                    self.readable = false;
                    return if self.closed { Progress::Ended } else { Progress::Idle };
                }
                // The program closed with datagrams unread: that is told once.
                Err(error) => self.closed |= self.loopback.is_some() && error == SysErrno::CONNREFUSED,
            }
        }
        Progress::More
    }

    /// Whether an empty read is the end rather than an empty datagram. The event that tells of the end may
    /// not have been fetched yet, so the plug itself is asked.
    fn is_at_end(&self) -> bool {
        if self.loopback.is_some() {
            return false;
        }
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut ends = [PollFd::new(&self.plug, PollFlags::RDHUP)];
        let ended =
            self.write_shut || self.closed || poll(&mut ends, Some(&none)).is_ok_and(|ready| ready > 0);
        ended && rustix::io::ioctl_fionread(&self.plug).unwrap_or(0) == 0
    }

    /// Hands the stack what was read; says whether it is gone.
    fn flush(&mut self, stack: &mut Stack, now: Instant, id: SocketId) -> bool {
        let Some(payload) = self.outgoing.take() else { return true };
        // An error of something sent before comes first; what the program wrote meanwhile still goes out.
        for _ in 0..2 {
            match stack.send_to(now, id, payload.clone(), None, StackSendFlags::default()) {
                Err(Error::WouldBlock) if !self.closed => {
                    self.outgoing = Some(payload);
                    return false;
                }
                Err(error) if is_asynchronous(error) => self.fail(error),
                _ => break,
            }
        }
        true
    }

    /// From the stack to the program.
    fn move_inward(&mut self, stack: &mut Stack, now: Instant, id: SocketId) -> Progress {
        if stack.readiness(id).contains(Readiness::ERROR)
            && let Some(error) = stack.take_error(id)
        {
            self.fail(error);
        }
        for _ in 0..SHARE {
            if !self.writable || self.closed {
                return Progress::Idle;
            }
            let (chunk, source) = match self.held.take() {
                Some(held) => held,
                None => match stack.recv_from(now, id, StackRecvFlags::default()) {
                    Ok(datagram) => {
                        let source = Source {
                            from: datagram.from,
                            to: datagram.to,
                            nic: datagram.nic,
                            ttl: datagram.ttl,
                            tos: datagram.tos,
                            received_at: datagram.received_at,
                            dropped: datagram.dropped,
                            segment_size: datagram.segment_size,
                        };
                        (datagram.payload.into_chunk(), source)
                    }
                    Err(error) if is_asynchronous(error) => {
                        self.fail(error);
                        continue;
                    }
                    Err(_) => return Progress::Idle,
                },
            };
            if !self.put(&chunk, Some(source)) {
                self.held = Some((chunk, source));
            }
        }
        Progress::More
    }

    /// Puts a message into the program's queue; false when there is no room.
    fn put(&mut self, bytes: &[u8], source: Option<Source>) -> bool {
        if self.loopback.is_some() {
            self.put_marked(bytes, source);
            return true;
        }
        if self.queued.len() >= 4 * SHARE {
            self.forget_read();
        }
        let before = self.unread();
        match send(&self.plug, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(_) => {
                // Where the program reads at this very moment the charge comes out too small; the list is
                // right again as soon as the queue has been empty.
                let charge = self.unread().saturating_sub(before);
                self.charged += charge;
                self.queued.push_back(Queued { charge, mark: 0, source });
                true
            }
            Err(SysErrno::AGAIN) => {
                self.writable = false;
                false
            }
            // The program reads no more (shut down), or is gone.
            Err(_) => true,
        }
    }

    /// Notes an error, and wakes who waits for a datagram, at most once.
    fn fail(&mut self, error: Error) {
        self.error = Some(error);
        self.forget_read();
        if self.queued.is_empty() || self.loopback.is_some() {
            // Without room there is something to read, which wakes as well.
            self.put(&[], None);
        }
    }

    /// Forgets what native reads have taken.
    fn forget_read(&mut self) {
        if self.loopback.is_some() {
            // Native reads aren't seen there.
            return;
        }
        let unread = self.unread();
        while self.charged > unread || (unread == 0 && !self.queued.is_empty()) {
            self.forget_first();
        }
    }

    /// When the datagram came in that the program read last (`SIOCGSTAMP`).
    pub(crate) fn read_last(&mut self) -> Option<Instant> {
        self.forget_read();
        self.read_last
    }

    fn forget_first(&mut self) -> Option<Queued> {
        let first = self.queued.pop_front();
        self.read_last =
            first.and_then(|first| first.source).map(|source| source.received_at).or(self.read_last);
        self.charged = self.charged.saturating_sub(first.map_or(self.charged, |first| first.charge));
        first
    }

    /// What the program has not read, in bytes of kernel memory.
    pub(crate) fn unread(&self) -> usize {
        sys::unread_by_peer(&self.plug).unwrap_or(0)
    }
}

/// Whether an error concerns something sent before, not the call that meets it.
fn is_asynchronous(error: Error) -> bool {
    matches!(
        error,
        Error::ConnectionRefused
            | Error::HostUnreachable
            | Error::NetworkUnreachable
            | Error::Protocol
            | Error::ProtocolOption
            | Error::ConnectionReset
    )
}

#[cfg(test)]
mod tests;
