//! Data: send, recv, sendto, recvfrom, read, write, and the same with several buffers.

use crate::answer::answer;
use crate::host::{Deadline, Host};
use crate::sys::{self, Room, SizedRoom};
use crate::table::Entry;
use sockeye_packet::{Chunk, Payload};
use sockeye_posix::Errno;
use sockeye_posix::berkeley::{Outgoing, Received};
use sockeye_posix::options::Direction;
use sockeye_stack::Readiness;
use std::collections::VecDeque;
use std::ffi::{c_int, c_void};

/// The most bytes that are copied before they are offered to a stream: they stay in the cache.
const PIECE: usize = 256 * 1024;
/// Longer datagrams are refused by the stack; there is no need to hand them over whole.
const TOO_LONG: usize = 1 << 16;

/// Copies at most `limit` bytes from the front of `data`, and takes them away there.
fn take(data: &mut &[&[u8]], first: &mut usize, limit: usize) -> VecDeque<Chunk> {
    let (mut chunks, mut left) = (VecDeque::new(), limit);
    while let Some((buffer, others)) = data.split_first().filter(|_| left > 0) {
        let part = &buffer[*first..buffer.len().min(*first + left)];
        left -= part.len();
        *first += part.len();
        if !part.is_empty() {
            chunks.push_back(Chunk::copy_from(part));
        }
        if *first == buffer.len() {
            (*data, *first) = (others, 0);
        }
    }
    chunks
}

/// `sendmsg`, with what its pointers point to.
pub(crate) fn send(
    host: &Host,
    fd: c_int,
    mut data: &[&[u8]],
    outgoing: &Outgoing<'_>,
) -> Result<usize, Errno> {
    let entry = host.entry(fd)?;
    let waits = outgoing.flags & libc::MSG_DONTWAIT == 0 && !entry.is_nonblocking();
    let deadline = entry.deadline(host, Direction::Send);
    let deadline = Some(&deadline).filter(|_| waits);
    let offer = |chunks: &mut VecDeque<Chunk>, outgoing: &Outgoing<'_>| {
        let attempt = |socket: &mut sockeye_posix::berkeley::Socket, stack: &mut _, now| {
            socket.send_chunks(stack, now, chunks, outgoing)
        };
        entry.wait(host, Direction::Send, deadline, attempt)
    };
    let mut first = 0;
    if !entry.is_stream() {
        return offer(&mut take(&mut data, &mut first, TOO_LONG), outgoing);
    }
    let mut sent = 0;
    loop {
        let mut chunks = take(&mut data, &mut first, PIECE);
        // What is said of the message's end holds for its last piece.
        let ending = libc::MSG_OOB | libc::MSG_EOR;
        let flags = if data.is_empty() { outgoing.flags } else { outgoing.flags & !ending };
        loop {
            match offer(&mut chunks, &Outgoing { flags, ..*outgoing }) {
                Ok(count) => sent += count,
                Err(_) if sent > 0 => return Ok(sent),
                Err(errno) => return Err(errno),
            }
            if chunks.is_empty() {
                break;
            }
        }
        if data.is_empty() {
            return Ok(sent);
        }
    }
}

/// Writes to buffers one after the other.
struct Scatter<'a> {
    rooms: &'a [Room<'a>],
    at: usize,
}

impl Scatter<'_> {
    fn put(&mut self, payload: &Payload) {
        for chunk in payload.chunks() {
            let mut left: &[u8] = chunk;
            while let Some((room, others)) = self.rooms.split_first().filter(|_| !left.is_empty()) {
                let count = room.write(self.at, left);
                (left, self.at) = (&left[count..], self.at + count);
                if self.at == room.len() {
                    (self.rooms, self.at) = (others, 0);
                }
            }
        }
    }
}

/// `recvmsg` into buffers, and one for control messages if it says how long that is. What is returned holds no data any
/// more.
pub(crate) fn receive(
    host: &Host,
    fd: c_int,
    rooms: &[Room<'_>],
    flags: c_int,
    control_room: Option<usize>,
) -> Result<Received, Errno> {
    let entry = host.entry(fd)?;
    // Neither urgent data nor reports are waited for.
    let never_waits = libc::MSG_DONTWAIT | libc::MSG_OOB | libc::MSG_ERRQUEUE;
    let waits = flags & never_waits == 0 && !entry.is_nonblocking();
    let deadline = entry.deadline(host, Direction::Receive);
    let deadline = Some(&deadline).filter(|_| waits);
    let room = rooms.iter().map(Room::len).sum();
    let mut scatter = Scatter { rooms, at: 0 };
    let mut received = receive_once(&entry, host, (room, flags), control_room, deadline)?;
    scatter.put(&received.data);
    let wants_all =
        waits && flags & libc::MSG_WAITALL != 0 && flags & libc::MSG_PEEK == 0 && entry.is_stream();
    while wants_all && received.value < room {
        let left = (room - received.value, flags);
        match receive_once(&entry, host, left, control_room, deadline) {
            Ok(more) if more.value > 0 => {
                scatter.put(&more.data);
                received.value += more.value;
                received.control = more.control;
            }
            // An error is told by the next call: the stack keeps those that end a connection.
            Ok(_) | Err(_) => break,
        }
    }
    received.data = Payload::EMPTY;
    Ok(received)
}

fn receive_once(
    entry: &Entry,
    host: &Host,
    (room, flags): (usize, c_int),
    control_room: Option<usize>,
    deadline: Option<&Deadline>,
) -> Result<Received, Errno> {
    let is_stream = entry.is_stream();
    entry.wait(host, Direction::Receive, deadline, |socket, stack, now| {
        match socket.recv_message(stack, now, room, flags, control_room) {
            // Who waits on a datagram socket that was shut down is told its end.
            Err(Errno::EAGAIN)
                if deadline.is_some()
                    && !is_stream
                    && stack.readiness(socket.id()).contains(Readiness::READ_CLOSED) =>
            {
                Ok(Received::default())
            }
            result => result,
        }
    })
}

/// Sends data, as send(2): sendto() without an address.
///
/// # Safety
///
/// `host` is null, or was not given back; `data` is null, or has `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_send(
    host: *const Host,
    fd: c_int,
    data: *const c_void,
    len: usize,
    flags: c_int,
) -> libc::ssize_t {
    // SAFETY: passed on.
    unsafe { sockeye_sendto(host, fd, data, len, flags, std::ptr::null(), 0) }
}

/// Sends data, as sendto(2), with flags MSG_DONTWAIT, MSG_MORE, MSG_OOB, MSG_EOR, MSG_DONTROUTE; others are read over. There is never
/// a SIGPIPE, whatever the flags: EPIPE is all.
///
/// Waits, unless the socket is O_NONBLOCK, until a stream has room for all of it or a datagram fits the socket's buffer,
/// at most as long as SO_SNDTIMEO says: then it returns what was taken, or -1 with EAGAIN if that is nothing.
///
/// # Safety
///
/// `host` is null, or was not given back; `data` and `addr` are null, or have `len` and `addrlen` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_sendto(
    host: *const Host,
    fd: c_int,
    data: *const c_void,
    len: usize,
    flags: c_int,
    addr: *const libc::sockaddr,
    addrlen: libc::socklen_t,
) -> libc::ssize_t {
    let addrlen = if addr.is_null() { 0 } else { addrlen };
    // SAFETY: passed on.
    let (host, data, to) = unsafe { (sys::handle(host), sys::bytes(data, len), sys::address(addr, addrlen)) };
    answer(|| {
        let host = host?;
        host.entry(fd)?;
        let outgoing = Outgoing { to: to?, control: &[], flags };
        Ok(send(&host, fd, &[data?], &outgoing)? as isize)
    })
}

/// Receives data, as recv(2): recvfrom() without an address.
///
/// # Safety
///
/// `host` is null, or was not given back; `buffer` is null, or has `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_recv(
    host: *const Host,
    fd: c_int,
    buffer: *mut c_void,
    len: usize,
    flags: c_int,
) -> libc::ssize_t {
    // SAFETY: passed on.
    unsafe { sockeye_recvfrom(host, fd, buffer, len, flags, std::ptr::null_mut(), std::ptr::null_mut()) }
}

/// Receives data, as recvfrom(2), with flags MSG_PEEK, MSG_WAITALL, MSG_TRUNC, MSG_DONTWAIT, MSG_OOB; others are read over.
/// `addr` may be null.
///
/// Waits, unless the socket is O_NONBLOCK, until there is something, at most as long as SO_RCVTIMEO says: then it
/// returns -1 with EAGAIN. 0 is the end of a stream.
///
/// # Safety
///
/// `host` is null, or was not given back; `buffer` is null, or has `len` bytes; `addr` is null, or has as many bytes as the number
/// says that `addrlen` points to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_recvfrom(
    host: *const Host,
    fd: c_int,
    buffer: *mut c_void,
    len: usize,
    flags: c_int,
    addr: *mut libc::sockaddr,
    addrlen: *mut libc::socklen_t,
) -> libc::ssize_t {
    // SAFETY: passed on.
    let (host, room, from) =
        unsafe { (sys::handle(host), Room::new(buffer, len), SizedRoom::maybe(addr, addrlen)) };
    answer(|| {
        let host = host?;
        host.entry(fd)?;
        let (room, from) = (room?, from?);
        let received = receive(&host, fd, &[room], flags, None)?;
        if let Some(from) = from {
            from.write(received.from.as_ref().map_or(&[], |from| from.as_slice()));
        }
        Ok(received.value as isize)
    })
}

/// Receives data, as read(2) on a socket: recv() without flags.
///
/// # Safety
///
/// As sockeye_recv().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_read(
    host: *const Host,
    fd: c_int,
    buffer: *mut c_void,
    len: usize,
) -> libc::ssize_t {
    // SAFETY: passed on.
    unsafe { sockeye_recv(host, fd, buffer, len, 0) }
}

/// Sends data, as write(2) on a socket: send() without flags.
///
/// # Safety
///
/// As sockeye_send().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_write(
    host: *const Host,
    fd: c_int,
    data: *const c_void,
    len: usize,
) -> libc::ssize_t {
    // SAFETY: passed on.
    unsafe { sockeye_send(host, fd, data, len, 0) }
}

/// As sockeye_read(), into several buffers, one after the other; EINVAL for more than 1024.
///
/// # Safety
///
/// `host` is null, or was not given back; `iov` is null, or has `count` entries that say how many bytes they point to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_readv(
    host: *const Host,
    fd: c_int,
    iov: *const libc::iovec,
    count: c_int,
) -> libc::ssize_t {
    // SAFETY: passed on.
    let (host, rooms) =
        unsafe { (sys::handle(host), sys::vector(iov, count).and_then(|vector| sys::rooms(&vector))) };
    answer(|| {
        let host = host?;
        host.entry(fd)?;
        Ok(receive(&host, fd, &rooms?, 0, None)?.value as isize)
    })
}

/// As sockeye_write(), from several buffers, one after the other; EINVAL for more than 1024.
///
/// # Safety
///
/// As sockeye_readv().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_writev(
    host: *const Host,
    fd: c_int,
    iov: *const libc::iovec,
    count: c_int,
) -> libc::ssize_t {
    // SAFETY: passed on.
    let (host, data) =
        unsafe { (sys::handle(host), sys::vector(iov, count).and_then(|vector| sys::gather(&vector))) };
    answer(|| {
        let host = host?;
        host.entry(fd)?;
        Ok(send(&host, fd, &data?, &Outgoing::default())? as isize)
    })
}
