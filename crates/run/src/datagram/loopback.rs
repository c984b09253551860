//! Plugs that can show an error queue (`IP_RECVERR`): POLLERR while reports wait.
//!
//! A local socket can't, so a socket that asks for reports gets another plug: a pair of the kernel's UDP sockets on
//! the loopback interface. Each report puts an entry in the error queue of the program's end, through a duplicate
//! that the supervisor fetches; a read of the queue is intercepted, answered with the report, and takes the
//! entry out again. Such a pair differs from a local one in three ways:
//!
//! - Nothing tells that the program closed its end. A message that an open end throws away is refused by a closed
//!   one, so that is asked now and then, and where an address is wanted.
//! - Nothing tells what native reads have taken, so each message has a mark, which an intercepted read sees.
//! - What finds no room is lost, as UDP's datagrams are.
//!
//! Where there is no such pair (no loopback interface), or the program's end can't be fetched, the local one stays.

use super::{Datagram, Queued, of, pump};
use crate::calls::{Answer, Caller};
use crate::core::Core;
use crate::end::ProgramEnd;
use crate::poller::Token;
use crate::proto::{Notice, Outcome, Received, Reply, Ticket};
use crate::sockets::{PlugNames, Socket, SocketKey};
use crate::sys;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};
use sockeye_packet::Instant;
use sockeye_posix::address::AddressBytes;
use sockeye_posix::cmsg::{self, ControlWriter};
use sockeye_posix::flags::{MessageFlags, RecvFlags as CallFlags};
use sockeye_posix::{Errno, SocketKind};
use sockeye_stack::{Error, Readiness};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Most entries that a program's end shows at once: more would say no more.
const SHOWN_MAX: u32 = 32;
/// Most sources that are remembered: more than there is room for messages.
pub(super) const QUEUED_MAX: usize = 1024;
/// How often is asked whether a program has closed its end, and how often when there are [`MANY`].
const LOOK: Duration = Duration::from_millis(100);
const LOOK_AT_MANY: Duration = Duration::from_secs(1);
const MANY: usize = 64;

/// What such a plug needs beside its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loopback {
    /// Who has used the program's end last: a way to it.
    user: Caller,
    /// The next message's mark.
    mark: u16,
    /// Entries in the error queue of the program's end.
    shown: u32,
}

/// A plug that takes the place of another one when the program has got its end.
#[derive(Debug)]
pub(super) struct Successor {
    plug: OwnedFd,
    names: PlugNames,
    loopback: Loopback,
}

/// The plugs of this kind, and when is looked at them next.
#[derive(Debug, Default)]
pub(crate) struct Loopbacks {
    keys: Vec<SocketKey>,
    due: Option<Instant>,
    /// Whether this machine has them; unknown until the first one.
    available: Option<bool>,
}

impl Loopbacks {
    /// Makes one, and the first time finds out whether it does what it is for.
    fn make(&mut self) -> Option<(OwnedFd, OwnedFd)> {
        if self.available == Some(false) {
            return None;
        }
        let made = sys::loopback_pair().ok();
        let works = || made.as_ref().is_some_and(|(ours, theirs)| works(ours, theirs));
        if !*self.available.get_or_insert_with(works) {
            tracing::warn!("no loopback interface: error queues are not shown by poll");
            return None;
        }
        made
    }
}

/// Whether a pair carries messages and shows errors.
fn works(ours: &OwnedFd, theirs: &OwnedFd) -> bool {
    let mut ready = [PollFd::new(theirs, PollFlags::IN)];
    let none = Timespec { tv_sec: 0, tv_nsec: 0 };
    let carries =
        sys::send_marked(ours, &[], 0).is_ok() && recv(theirs, &mut [0_u8; 1], RecvFlags::DONTWAIT).is_ok();
    let shows = sys::show_error(theirs).is_ok() && poll(&mut ready, Some(&none)) == Ok(1);
    carries && shows && ready[0].revents() == PollFlags::ERR && sys::hide_error(theirs)
}

/// Before `setsockopt` of `IP_RECVERR` or `IPV6_RECVERR`: a plug that can show errors, for the supervisor to put in
/// the place of the old one, unless it is one already or there is none.
pub(crate) fn replacement(
    core: &mut Core,
    caller: Caller,
    end: &ProgramEnd,
    key: SocketKey,
) -> Option<Reply> {
    if core.keeps_ends(caller.member) || of(core, key)?.loopback.is_some() {
        return None;
    }
    let old = end.fd()?;
    // What the program wrote before.
    pump(core, key);
    let (ours, theirs) = core.loopbacks.make()?;
    end.copy_settings(&theirs).ok()?;
    let names = PlugNames::of(&theirs).ok()?;
    let datagram = of(core, key)?;
    // What it has not read goes along; the sources are already in line.
    let mut bytes = vec![0; super::MESSAGE_MAX];
    let mut loopback = Loopback { user: caller, mark: 0, shown: 0 };
    datagram.forget_read();
    for queued in &mut datagram.queued {
        let Ok((len, _)) = recv(old, &mut bytes[..], RecvFlags::DONTWAIT) else { break };
        queued.mark = loopback.next_mark();
        sys::send_marked(&ours, &bytes[..len], queued.mark).ok();
    }
    datagram.successor = Some(Successor { plug: ours, names, loopback });
    Some(Reply { outcome: Outcome::Replace, ticket: Some(Ticket::Replaced(key)), fd: Some(theirs) })
}

/// The program has got the new end; or not, then it still has the old one.
pub(crate) fn replaced(core: &mut Core, key: SocketKey, done: bool) {
    let Some(datagram) = of(core, key) else { return };
    let Some(Successor { plug, names, loopback }) = datagram.successor.take().filter(|_| done) else {
        // What was not heard meanwhile is looked for.
        (datagram.readable, datagram.writable) = (true, true);
        datagram.closed |= datagram.is_at_end();
        return pump(core, key);
    };
    let old = std::mem::replace(&mut datagram.plug, plug);
    datagram.loopback = Some(Box::new(loopback));
    (datagram.readable, datagram.writable) = (true, true);
    core.poller.forget(&old);
    let Some(record) = core.sockets.get(key) else { return };
    let id = record.id;
    if let Socket::Datagram(datagram) = &record.socket
        && let Err(error) = core.poller.watch(&datagram.plug, Token::Plug(key), super::carrying())
    {
        tracing::warn!(%error, "can't watch a socket");
    }
    core.sockets.rename(key, names, id);
    let now = core.now;
    core.loopbacks.keys.push(key);
    core.loopbacks.due.get_or_insert(now + LOOK);
    pump(core, key);
}

/// A thread uses the program's end.
pub(crate) fn note_user(core: &mut Core, key: SocketKey, caller: Caller) {
    if let Some(loopback) = of(core, key).and_then(|datagram| datagram.loopback.as_mut()) {
        loopback.user = caller;
    }
}

/// Asks, when it is time to, which plugs of this kind their programs have closed; answers when it will be again.
pub(crate) fn look(core: &mut Core) -> Option<Instant> {
    let due = core.loopbacks.due?;
    if due > core.now {
        return Some(due);
    }
    look_now(core);
    let now = core.now;
    let Loopbacks { keys, due, .. } = &mut core.loopbacks;
    let pause = if keys.len() < MANY { LOOK } else { LOOK_AT_MANY };
    *due = (!keys.is_empty()).then(|| now + pause);
    *due
}

/// Asks at once; says whether any was closed.
pub(crate) fn look_now(core: &mut Core) -> bool {
    let before = core.loopbacks.keys.len();
    for key in std::mem::take(&mut core.loopbacks.keys) {
        if let Some(datagram) = of(core, key) {
            if datagram.is_closed() {
                (datagram.closed, datagram.readable) = (true, true);
            }
            pump(core, key);
        }
        if core.sockets.get(key).is_some() {
            core.loopbacks.keys.push(key);
        }
    }
    core.loopbacks.keys.len() < before
}

/// The stack has news of a socket: shows the program that there are reports.
pub(super) fn show(core: &mut Core, key: SocketKey) {
    let Some(record) = core.sockets.get_mut(key) else { return };
    let (host, id, cookie) = (record.host, record.id, record.names.cookie);
    let Socket::Datagram(Datagram { loopback: Some(loopback), .. }) = &mut record.socket else { return };
    let waits = core.world.with(host, |stack| stack.readiness(id)).contains(Readiness::ERROR);
    if waits && loopback.shown < SHOWN_MAX {
        loopback.shown += 1;
        let Caller { member, tid, fd, .. } = loopback.user;
        core.notify(member, Notice::ShowError { tid, fd, cookie });
    }
}

/// A receive from the error queue, which never waits.
pub(super) fn receive(
    core: &mut Core,
    end: &ProgramEnd,
    key: SocketKey,
    flags: CallFlags,
    [room, control_room]: [usize; 2],
) -> Answer {
    pump(core, key);
    let record = core.sockets.get_mut(key).ok_or(Errno::EBADF)?;
    let (host, id, domain, now) = (record.host, record.id, record.domain, core.now);
    let kind = SocketKind { domain, kind: record.kind() };
    let Socket::Datagram(datagram) = &mut record.socket else { return Err(Errno::EAGAIN) };
    let (report, more) = core.world.with(host, |stack| {
        let report = stack.recv_error(now, id);
        (report, stack.readiness(id).contains(Readiness::ERROR))
    });
    if !matches!(report, Err(Error::WouldBlock)) {
        // The pending error is that of the next report from now on, which the pump fetches.
        datagram.take_error(end);
    }
    datagram.hide(end, more);
    pump(core, key);
    let report = report?;
    let mut data = Vec::with_capacity(report.payload.len());
    report.payload.chunks().for_each(|chunk| data.extend_from_slice(chunk));
    let len = data.len();
    data.truncate(room);
    let mut out = MessageFlags {
        truncated: len > room,
        error_queue: true,
        close_on_exec: flags.close_on_exec,
        ..MessageFlags::default()
    };
    let mut controls = ControlWriter::new(control_room);
    let at = core.clock.since_1970(report.received_at);
    let record = core.sockets.get(key).ok_or(Errno::EBADF)?;
    cmsg::write_error(&mut controls, &record.stored, kind, &report, at);
    let control = controls.finish(&mut out);
    let result = if flags.truncate { len } else { data.len() } as u32;
    let name = Some(AddressBytes::new(report.to, domain).as_slice().to_vec());
    Ok(Outcome::Received(Received { data, name, control, flags: out.bits(), result }))
}

impl Loopback {
    /// The mark of the next message.
    pub(super) fn next_mark(&mut self) -> u16 {
        let mark = self.mark;
        self.mark = (mark + 1) % sys::MARKS;
        mark
    }
}

impl Datagram {
    /// Whether the program has closed its end, of a plug of this kind.
    pub(crate) fn is_closed(&self) -> bool {
        self.loopback.is_some() && sys::peer_is_closed(&self.plug)
    }

    /// Takes the entry of a report out of the error queue of the program's end, or all that are there.
    fn hide(&mut self, end: &ProgramEnd, more: bool) {
        let (Some(loopback), Some(theirs)) = (&mut self.loopback, end.fd()) else { return };
        let leave = u32::from(more);
        while loopback.shown > leave && sys::hide_error(theirs) {
            loopback.shown -= 1;
        }
        if !more {
            loopback.shown = 0;
        }
    }

    /// Sends the program a message; it is lost where there is no room.
    pub(super) fn put_marked(&mut self, bytes: &[u8], source: Option<super::Source>) {
        let Some(loopback) = &mut self.loopback else { return };
        let mark = loopback.next_mark();
        match sys::send_marked(&self.plug, bytes, mark) {
            Ok(()) => {
                if self.queued.len() >= QUEUED_MAX {
                    self.queued.pop_front();
                }
                self.queued.push_back(Queued { charge: 0, mark, source });
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                (self.closed, self.readable) = (true, true);
            }
            Err(_) => {}
        }
    }

    /// Takes the first message of the program's queue, or only looks at it: its true length and its source.
    pub(super) fn take_marked(
        &mut self,
        theirs: &OwnedFd,
        bytes: &mut [u8],
        peek: bool,
    ) -> io::Result<(usize, Option<super::Source>)> {
        let (len, mark) = sys::receive_marked(theirs, bytes, peek)?;
        let known = self.queued.iter().position(|queued| queued.mark == mark);
        self.queued.drain(..known.unwrap_or(0));
        let first = if peek { self.queued.front().copied() } else { self.queued.pop_front() };
        Ok((len, first.filter(|_| known.is_some()).and_then(|first| first.source)))
    }

    /// Reads over messages that were only to wake the program up.
    pub(super) fn drop_marked_wake_ups(&mut self, theirs: &OwnedFd) {
        while let Ok((_, mark)) = sys::receive_marked(theirs, &mut [], true)
            && let Some(at) = self.queued.iter().position(|queued| queued.mark == mark)
            && self.queued[at].source.is_none()
        {
            self.queued.drain(..=at);
            if recv(theirs, &mut [0_u8; 1], RecvFlags::DONTWAIT).is_err() {
                return;
            }
        }
    }
}
