//! A socket with a handle: what its kinds share, whichever way their callers wait.
//!
//! Every call that can wait is a poll: it tries, and stores the waker if it would block. User data is
//! copied outside the host's lock.

use crate::error::io_error;
use crate::host::Host;
use crate::lane::{LaneSender, Touch};
use crate::resolve::ToSocketAddrs;
use crate::sync::Mutex;
use crate::waiters::{Interest, Seen, Waiter, Waiters};
use bytes::{Buf, Bytes};
use sockeye_packet::{Chunk, Instant, Payload, Pool};
use sockeye_stack::{
    Domain, OptionName, Orphan, Owner, Readiness, RecvFlags, SendFlags, Shutdown, SockAddr, SocketId,
    SocketOption, SocketType, Stack,
};
use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// The most bytes that one write copies before it offers them to the stack: they stay in the cache.
const LONGEST_WRITE: usize = 256 * 1024;

/// The most bytes that one call lends to the stack.
const LONGEST_LOAN: usize = 1 << 30;

/// Longer datagrams are refused by the stack; there is no need to hand them over whole.
const TOO_LONG: usize = 1 << 16;

/// What is offered to a socket that seems to have no room.
const SHORTEST_WRITE: usize = 1024;

/// Size of a block of memory that chunks are cut from.
const POOL_BLOCK: usize = 64 * 1024;

thread_local! {
    /// Memory for what this thread's sockets send; none while it is in use.
    static POOL: Cell<Option<Pool>> = const { Cell::new(None) };
}

/// Copies slices, at most `limit` bytes of them, into memory of the thread's pool.
fn copy_in(slices: &[IoSlice<'_>], limit: usize, mut push: impl FnMut(Chunk)) {
    // A socket may be used when the thread's own memory is gone already.
    let pool = POOL.try_with(Cell::take).ok().flatten();
    let mut pool = pool.unwrap_or_else(|| Pool::new(POOL_BLOCK));
    let mut left = limit;
    for slice in slices {
        let part = &slice[..slice.len().min(left)];
        left -= part.len();
        pool.copy(part, &mut push);
    }
    let _ = POOL.try_with(|place| place.set(Some(pool)));
}

/// A socket of a host, closed when dropped.
pub(crate) struct Socket {
    host: Host,
    id: SocketId,
    domain: Domain,
    seen: Arc<Seen>,
    sender: Mutex<LaneSender>,
}

impl Socket {
    /// A new socket of the address's family.
    pub(crate) fn new(host: &Host, addr: SocketAddr, kind: SocketType) -> io::Result<Socket> {
        let domain = if addr.is_ipv4() { Domain::Inet } else { Domain::Inet6 };
        Socket::of_family(host, domain, kind)
    }

    /// A new socket.
    pub(crate) fn of_family(host: &Host, domain: Domain, kind: SocketType) -> io::Result<Socket> {
        let core = &host.shared.core;
        core.with(&host.core, |state, _, _| {
            if state.is_down {
                return Err(sockeye_stack::Error::NetworkUnreachable);
            }
            let id = state.stack.socket(domain, kind, Owner::default())?;
            Ok(Socket::from_parts(host, id, domain, state.waiters.register(id)))
        })
        .map_err(io_error)
    }

    fn from_parts(host: &Host, id: SocketId, domain: Domain, seen: Arc<Seen>) -> Socket {
        Socket { host: host.clone(), id, domain, seen, sender: Mutex::default() }
    }

    /// A stream socket that listens at an address, with as many waiting connections as the host allows.
    pub(crate) fn listen_at(host: &Host, addr: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(host, addr, SocketType::Stream)?;
        // As std does: a server that is started again must not wait for old connections to be forgotten.
        socket.set_option(SocketOption::ReuseAddr(true))?;
        socket.bind(addr)?;
        socket.listen(usize::MAX)?;
        Ok(socket)
    }

    /// A datagram socket that is bound to an address.
    pub(crate) fn bound_at(host: &Host, addr: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(host, addr, SocketType::Datagram)?;
        socket.bind(addr)?;
        Ok(socket)
    }

    /// Which of several addresses a call on this socket is about: the first of its family, or else the first of
    /// all, with which the stack can do something or say what is wrong.
    pub(crate) fn pick(&self, addrs: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        let fits = |addr: &SocketAddr| addr.is_ipv4() == (self.domain == Domain::Inet);
        let first = addrs.to_socket_addr(&self.host)?;
        if fits(&first) {
            return Ok(first);
        }
        Ok(addrs.to_socket_addrs(&self.host)?.into_iter().find(fits).unwrap_or(first))
    }

    /// Where it is.
    pub(crate) fn place(&self) -> (&Host, SocketId) {
        (&self.host, self.id)
    }

    /// Whether a call that reads would find nothing, as far as is known without the host's lock.
    pub(crate) fn is_drained(&self) -> bool {
        self.seen.is_drained()
    }

    /// Makes a call that never waits.
    pub(crate) fn call<R>(
        &self,
        call: impl FnOnce(&mut Stack, SocketId, Instant) -> sockeye_stack::Result<R>,
    ) -> io::Result<R> {
        let core = &self.host.shared.core;
        core.with(&self.host.core, |state, now, _| call(&mut state.stack, self.id, now)).map_err(io_error)
    }

    /// Makes a call that may have to wait; then the waiter is woken when it is worth another try. Without a
    /// waiter, the call fails with [`io::ErrorKind::WouldBlock`] instead.
    fn poll<R>(
        &self,
        waiter: Option<Waiter<'_>>,
        interest: Interest,
        call: impl FnOnce(&mut Stack, SocketId, Instant) -> sockeye_stack::Result<R>,
    ) -> Poll<io::Result<R>> {
        let core = &self.host.shared.core;
        let (result, dropped) = core.with(&self.host.core, |state, now, _| {
            let result = call(&mut state.stack, self.id, now);
            self.seen.note(&state.stack, self.id, interest);
            settle(&mut state.waiters, self.id, interest, waiter, result)
        });
        drop(dropped);
        result
    }

    /// Binds to an address.
    pub(crate) fn bind(&self, addr: SocketAddr) -> io::Result<()> {
        self.call(|stack, id, _| stack.bind(id, addr.into()))
    }

    /// Listens; at most `backlog` connections wait, and no more than the host allows.
    pub(crate) fn listen(&self, backlog: usize) -> io::Result<()> {
        self.call(|stack, id, now| stack.listen(now, id, backlog))
    }

    /// Begins a connection.
    pub(crate) fn start_connect(&self, addr: SocketAddr) -> io::Result<()> {
        self.call(|stack, id, now| match stack.connect(now, id, addr.into()) {
            Err(sockeye_stack::Error::InProgress) => Ok(()),
            result => result,
        })
    }

    /// Waits until a connection that was begun is open, or has failed.
    pub(crate) fn poll_connected(&self, waiter: Option<Waiter<'_>>) -> Poll<io::Result<()>> {
        self.poll(waiter, Interest::Write, |stack, id, now| stack.connect_outcome(now, id))
    }

    /// Takes a connection that waits at a listener.
    pub(crate) fn poll_accept(&self, waiter: Option<Waiter<'_>>) -> Poll<io::Result<(Socket, SocketAddr)>> {
        let core = &self.host.shared.core;
        let (result, dropped) = core.with(&self.host.core, |state, now, wakers| {
            let accepted = state.stack.accept(now, self.id).map(|(id, peer)| {
                let seen = state.waiters.register(id);
                seen.note(&state.stack, id, Interest::Write);
                (Socket::from_parts(&self.host, id, self.domain, seen), self.as_seen(peer.into()))
            });
            self.seen.note(&state.stack, self.id, Interest::Read);
            let waiter = waiter.map(Waiter::in_turn);
            let settled = settle(&mut state.waiters, self.id, Interest::Read, waiter, accepted);
            if settled.0.is_ready() {
                state.waiters.pass_on(self.id, state.stack.readiness(self.id), wakers);
            }
            settled
        });
        drop(dropped);
        result
    }

    /// Sends the front of `data`, as much as there is room for.
    pub(crate) fn poll_send(&self, waiter: Option<Waiter<'_>>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send_slices(waiter, &[IoSlice::new(data)])
    }

    /// Sends the front of what `slices` hold together, as much as there is room for.
    pub(crate) fn poll_send_slices(
        &self,
        waiter: Option<Waiter<'_>>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send_flagged(waiter, slices, SendFlags::default())
    }

    pub(crate) fn poll_send_flagged(
        &self,
        waiter: Option<Waiter<'_>>,
        slices: &[IoSlice<'_>],
        flags: SendFlags,
    ) -> Poll<io::Result<usize>> {
        let wanted = slices.iter().fold(0_usize, |sum, slice| sum.saturating_add(slice.len()));
        let offered = self.offer(wanted.min(LONGEST_WRITE));
        let mut chunks = VecDeque::with_capacity(offered / POOL_BLOCK + 2);
        copy_in(slices, offered, |chunk| chunks.push_back(chunk));
        self.poll(waiter, Interest::Write, |stack, id, now| stack.send(now, id, &mut chunks, flags))
    }

    /// Of `wanted` bytes, how many to offer to the stack.
    fn offer(&self, wanted: usize) -> usize {
        let mut space = self.seen.send_space();
        if space < wanted {
            // What was last seen may be old: acknowledgements free room without telling anybody.
            space = self.host.core.lock().stack.send_space(self.id);
        }
        // A socket without room is still asked, with little: it may have an error to tell.
        wanted.min(space.max(SHORTEST_WRITE))
    }

    /// Receives into the front of `out`; zero at end of file.
    pub(crate) fn poll_recv(
        &self,
        waiter: Option<Waiter<'_>>,
        out: &mut [u8],
        flags: RecvFlags,
    ) -> Poll<io::Result<usize>> {
        self.poll_recv_slices(waiter, &mut [IoSliceMut::new(out)], flags)
    }

    /// Receives into the front of what `slices` are together; zero at end of file.
    pub(crate) fn poll_recv_slices(
        &self,
        waiter: Option<Waiter<'_>>,
        slices: &mut [IoSliceMut<'_>],
        flags: RecvFlags,
    ) -> Poll<io::Result<usize>> {
        let max = slices.iter().fold(0_usize, |sum, slice| sum.saturating_add(slice.len()));
        self.poll_recv_payload(waiter, max, flags).map_ok(|payload| scatter(&payload, slices))
    }

    /// Receives up to `max` bytes as they lie in the queue; none at end of file.
    pub(crate) fn poll_recv_payload(
        &self,
        waiter: Option<Waiter<'_>>,
        max: usize,
        flags: RecvFlags,
    ) -> Poll<io::Result<Payload>> {
        self.poll(waiter, Interest::Read, |stack, id, now| stack.recv(now, id, max, flags))
    }

    /// Sends the front of `data`, as much as there is room for, without a copy; `data` then begins with what is
    /// left.
    pub(crate) fn poll_send_bytes(
        &self,
        waiter: Option<Waiter<'_>>,
        data: &mut Bytes,
    ) -> Poll<io::Result<usize>> {
        let offered = data.slice(..self.offer(data.len().min(LONGEST_LOAN)));
        let mut chunks = VecDeque::from([Chunk::lent(offered)]);
        let sent = self.poll(waiter, Interest::Write, |stack, id, now| {
            stack.send(now, id, &mut chunks, SendFlags::default())
        });
        sent.map_ok(|sent| {
            data.advance(sent);
            sent
        })
    }

    /// Receives at most `max` bytes without a copy, no further than the memory goes in which they lie; none at
    /// end of file.
    pub(crate) fn poll_recv_bytes(&self, waiter: Option<Waiter<'_>>, max: usize) -> Poll<io::Result<Bytes>> {
        let flags = RecvFlags::default();
        let received =
            self.poll(waiter, Interest::Read, |stack, id, now| stack.recv_chunk(now, id, max, flags));
        received.map_ok(Chunk::into_bytes)
    }

    /// Sends one datagram.
    pub(crate) fn poll_send_to(
        &self,
        waiter: Option<Waiter<'_>>,
        data: &[u8],
        to: Option<SocketAddr>,
    ) -> Poll<io::Result<usize>> {
        let mut payload = Payload::EMPTY;
        copy_in(&[IoSlice::new(data)], TOO_LONG, |chunk| payload.push(chunk));
        self.poll_send_datagram(waiter, payload, to)
    }

    /// Sends one datagram without a copy.
    pub(crate) fn poll_send_bytes_to(
        &self,
        waiter: Option<Waiter<'_>>,
        data: &Bytes,
        to: Option<SocketAddr>,
    ) -> Poll<io::Result<usize>> {
        let payload = Chunk::lent(data.slice(..data.len().min(TOO_LONG))).into();
        self.poll_send_datagram(waiter, payload, to)
    }

    fn poll_send_datagram(
        &self,
        waiter: Option<Waiter<'_>>,
        payload: Payload,
        to: Option<SocketAddr>,
    ) -> Poll<io::Result<usize>> {
        let core = &self.host.shared.core;
        let (result, dropped) = core.with_touching(&self.host.core, Touch::Sending, |state, now, _| {
            let to = to.map(SockAddr::from);
            let result = state.stack.send_to(now, self.id, payload, to, SendFlags::default());
            self.seen.note(&state.stack, self.id, Interest::Write);
            settle(&mut state.waiters, self.id, Interest::Write, waiter, result)
        });
        drop(dropped);
        result
    }

    /// Sends one datagram by a lane; false when it is to go the long way.
    pub(crate) fn send_by_lane(&self, data: &[u8], to: Option<SocketAddr>) -> bool {
        LaneSender::send(&self.sender, (&self.host, self.id), data, to)
    }

    /// Whether a lane leads here.
    #[cfg(all(test, not(sockeye_model)))]
    pub(crate) fn has_lane(&self) -> bool {
        self.seen.with_lane(|lane| (!lane.is_closed()).then_some(())).is_some()
    }

    /// The bytes that the queues of the lane that leads here have memory for.
    #[cfg(all(test, not(sockeye_model)))]
    pub(crate) fn lane_memory(&self) -> usize {
        self.seen.with_lane(|lane| Some(lane.memory())).unwrap_or_default()
    }

    /// Receives one datagram from a lane into the front of `out`, if one is there.
    pub(crate) fn recv_by_lane(&self, out: &mut [u8]) -> Option<(usize, SocketAddr)> {
        self.seen.with_lane(|lane| {
            lane.take(|data, from| {
                let len = data.len().min(out.len());
                out[..len].copy_from_slice(&data[..len]);
                (len, self.as_seen(from))
            })
        })
    }

    /// Receives one datagram into the front of `out`; what doesn't fit is lost.
    pub(crate) fn poll_recv_from(
        &self,
        waiter: Option<Waiter<'_>>,
        out: &mut [u8],
        flags: RecvFlags,
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.poll_recv_datagram(waiter, flags).map_ok(|(payload, from)| (copy_out(&payload, out), from))
    }

    /// Receives one datagram, whole, without a copy.
    pub(crate) fn poll_recv_bytes_from(
        &self,
        waiter: Option<Waiter<'_>>,
    ) -> Poll<io::Result<(Bytes, SocketAddr)>> {
        let received = self.poll_recv_datagram(waiter, RecvFlags::default());
        received.map_ok(|(payload, from)| (payload.into_chunk().into_bytes(), from))
    }

    /// Receives one datagram.
    pub(crate) fn poll_recv_datagram(
        &self,
        waiter: Option<Waiter<'_>>,
        flags: RecvFlags,
    ) -> Poll<io::Result<(Payload, SocketAddr)>> {
        let core = &self.host.shared.core;
        let touch = if flags == RecvFlags::default() { Touch::Receiving } else { Touch::All };
        let (result, dropped) = core.with_touching(&self.host.core, touch, |state, now, wakers| {
            let received = state.stack.recv_from(now, self.id, flags);
            let received = received.map(|datagram| (datagram.payload, datagram.from.into()));
            self.seen.note(&state.stack, self.id, Interest::Read);
            let received =
                self.or_by_lane(&state.stack, received, waiter.is_some_and(|waiter| waiter.stays()));
            let waiter = waiter.map(Waiter::in_turn);
            let settled = settle(&mut state.waiters, self.id, Interest::Read, waiter, received);
            if settled.0.is_ready() {
                state.waiters.pass_on(self.id, state.stack.readiness(self.id), wakers);
            }
            settled
        });
        drop(dropped);
        result.map_ok(|(payload, from)| (payload, self.as_seen(from)))
    }

    /// What the stack gave, or the next datagram of a lane when that was nothing: there if the socket's reader `waits`, it waits
    /// without a lane.
    fn or_by_lane(
        &self,
        stack: &Stack,
        received: sockeye_stack::Result<(Payload, SocketAddr)>,
        waits: bool,
    ) -> sockeye_stack::Result<(Payload, SocketAddr)> {
        let is_empty = matches!(received, Err(sockeye_stack::Error::WouldBlock));
        // A lane that is closed may hold something that came before: whoever settles it forgets it.
        let taken = self.seen.with_lane(|lane| {
            if !is_empty {
                lane.note(stack);
                return None;
            }
            lane.take_after(waits, |data, from| (Chunk::copy_from(data).into(), from))
        });
        taken.map_or(received, Ok)
    }

    /// Waits until the socket is ready in one of these ways, and says what all it is ready for.
    #[cfg(feature = "tokio")]
    pub(crate) fn poll_ready(
        &self,
        waiter: Option<Waiter<'_>>,
        interest: Interest,
        wanted: Readiness,
    ) -> Poll<io::Result<Readiness>> {
        self.poll(waiter, interest, |stack, id, _| {
            let ready = stack.readiness(id);
            if ready.intersects(wanted) { Ok(ready) } else { Err(sockeye_stack::Error::WouldBlock) }
        })
    }

    /// What it is ready for now.
    #[cfg(feature = "tokio")]
    pub(crate) fn readiness(&self) -> Readiness {
        self.host.core.lock().stack.readiness(self.id)
    }

    /// Takes back what a waiter has left.
    #[cfg(feature = "tokio")]
    pub(crate) fn stop_waiting(&self, interest: Interest, waiter: Waiter<'_>) {
        let taken = self.host.core.lock().waiters.take_back(self.id, interest, waiter);
        drop(taken);
    }

    pub(crate) fn shutdown(&self, how: std::net::Shutdown) -> io::Result<()> {
        let how = match how {
            std::net::Shutdown::Read => Shutdown::Read,
            std::net::Shutdown::Write => Shutdown::Write,
            std::net::Shutdown::Both => Shutdown::Both,
        };
        self.call(|stack, id, now| stack.shutdown(now, id, how))
    }

    /// An address as a socket of this family has it: to one of IPv6, IPv4 peers are v4-mapped (RFC 3493 §3.7).
    fn as_seen(&self, addr: SocketAddr) -> SocketAddr {
        match addr {
            SocketAddr::V4(v4) if self.domain == Domain::Inet6 => {
                SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
            }
            addr => addr,
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.host
            .core
            .lock()
            .stack
            .local_addr(self.id)
            .map(|addr| self.as_seen(addr.into()))
            .map_err(io_error)
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.host.core.lock().stack.peer_addr(self.id).map(|addr| self.as_seen(addr.into())).map_err(io_error)
    }

    /// Whether an error waits to be told.
    pub(crate) fn has_error(&self) -> bool {
        self.host.core.lock().stack.readiness(self.id).contains(Readiness::ERROR)
    }

    pub(crate) fn take_error(&self) -> Option<io::Error> {
        self.host.core.lock().stack.take_error(self.id).map(io_error)
    }

    pub(crate) fn set_option(&self, option: SocketOption) -> io::Result<()> {
        self.call(|stack, id, now| stack.set_option(now, id, option))
    }

    pub(crate) fn option(&self, name: OptionName) -> io::Result<SocketOption> {
        self.host.core.lock().stack.get_option(self.id, name).map_err(io_error)
    }
}

/// A connection without a socket, whose last bytes somebody waits for.
pub(crate) struct Drain {
    host: Host,
    orphan: Orphan,
}

impl Socket {
    /// Closes; the connection, if it goes on and anybody could wait for its end.
    pub(crate) fn close_to_drain(&self) -> Option<Drain> {
        let core = &self.host.shared.core;
        let orphan = core.with(&self.host.core, |state, now, wakers| {
            state.waiters.forget(self.id, wakers);
            state.stack.close_to_orphan(now, self.id).ok().flatten()
        });
        let orphan = orphan.filter(|_| !core.clock.is_manual())?;
        Some(Drain { host: self.host.clone(), orphan })
    }
}

impl Drain {
    /// Waits until the peer has acknowledged all, or the connection is over.
    pub(crate) fn poll(&self, waiter: Option<Waiter<'_>>) -> Poll<io::Result<()>> {
        let mut state = self.host.core.lock();
        let waker = waiter.as_ref().map(Waiter::waker);
        if state.wait_for_drain(self.orphan, waker) { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

/// Has the waiter wait if a call would block, and no longer if it would not. The waker is to be dropped
/// without the host's lock.
fn settle<R>(
    waiters: &mut Waiters,
    id: SocketId,
    interest: Interest,
    waiter: Option<Waiter<'_>>,
    result: sockeye_stack::Result<R>,
) -> (Poll<io::Result<R>>, Option<Waker>) {
    match (result, waiter) {
        (Err(sockeye_stack::Error::WouldBlock), Some(waiter)) if waiter.stays() => {
            (Poll::Pending, waiters.wait(id, interest, waiter))
        }
        (result, waiter) => {
            let stored = waiter.filter(Waiter::is_stored);
            let taken = stored.and_then(|waiter| waiters.take_back(id, interest, waiter));
            (Poll::Ready(result.map_err(io_error)), taken)
        }
    }
}

/// Copies what fits, outside the host's lock.
fn copy_out(payload: &Payload, out: &mut [u8]) -> usize {
    if payload.len() > out.len() { payload.slice(0, out.len()).copy_to(out) } else { payload.copy_to(out) }
}

/// Copies a payload, which fits, to slices one after the other, outside the host's lock.
fn scatter(payload: &Payload, slices: &mut [IoSliceMut<'_>]) -> usize {
    if let [whole] = slices {
        return payload.copy_to(whole);
    }
    let mut at = 0;
    for slice in slices {
        let end = payload.len().min(at + slice.len());
        payload.slice(at, end).copy_to(slice);
        at = end;
    }
    at
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.host.shared.core.with(&self.host.core, |state, now, wakers| {
            state.waiters.forget(self.id, wakers);
            // There is nobody to tell of an error; one that was closed to drain is known no more.
            let _ = state.stack.close(now, self.id);
        });
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {}", self.id, self.host.name())
    }
}
