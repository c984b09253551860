//! Lists of sockets (`NETLINK_SOCK_DIAG`, `sock_diag(7)`): what `ss` asks for.
//!
//! A program is told of all sockets of its own host, also those of other programs there, and of nothing else.
//! Local sockets are the kernel's: asked for those, the answer is that of a kernel without such a list, after which
//! `ss` reads `/proc/net/unix`. A list is made as far as there is room in the program's queue, and goes on when the
//! program has read: a [`Dump`] holds no more than one message.

mod bytecode;
mod inet;
mod other;

use super::answer::MESSAGE_LEN;
use super::request::Request;
use super::work::Work;
use crate::sockets::{Record, Socket, Sockets};
use bytecode::Bytecode;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_MULTIPART};
use sockeye::HostId;
use sockeye_packet::Instant;
use sockeye_posix::Errno;
use sockeye_posix::sock_diag::{BY_FAMILY, DESTROY, InetRequest, OtherRequest};
use sockeye_stack::{SocketId, Stack, SurveyPosition};

/// `TCPDIAG_GETSOCK`, the way to ask before Linux 3.3.
const TCPDIAG_GETSOCK: u16 = 18;
/// Families from this one on don't exist (`AF_MAX`).
const FAMILIES: u8 = 46;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;

/// A host with its sockets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host<'a> {
    pub(super) stack: &'a Stack,
    pub(super) now: Instant,
    /// Its number, and the sockets of programs, where there are programs.
    pub(super) plugs: Option<(HostId, &'a Sockets)>,
}

/// What of a socket its plug tells.
#[derive(Clone, Copy, Debug, Default)]
struct Plugged {
    inode: u32,
    cookie: u64,
    /// Bytes in the program's queue, and from the program, that were not read yet.
    waiting: [usize; 2],
}

impl Host<'_> {
    fn plugged(&self, socket: Option<SocketId>) -> Plugged {
        let record = || {
            let (host, sockets) = self.plugs?;
            sockets.get(sockets.by_id(host, socket?)?)
        };
        record().map(|record| Plugged { waiting: waiting(record), ..Plugged::of(record) }).unwrap_or_default()
    }
}

impl Plugged {
    fn of(record: &Record) -> Plugged {
        // Inodes of sockets are counted in 32 bits.
        Plugged { inode: record.names.inode as u32, cookie: record.names.cookie, waiting: [0; 2] }
    }
}

/// What lies in a plug both ways: what the program has not read, and what was not read from it.
fn waiting(record: &Record) -> [usize; 2] {
    match &record.socket {
        Socket::Stream(stream) if stream.is_connected() => {
            [stream.unread_by_program(record.names.inode), stream.unread()]
        }
        Socket::Datagram(datagram) => [datagram.unread(), 0],
        Socket::Stream(_) | Socket::Listener(_) | Socket::Netlink(_) | Socket::Dead(_) => [0; 2],
    }
}

/// What a request comes to.
#[derive(Debug)]
pub(super) enum Answer {
    /// One socket: what is behind the message's header.
    One(Vec<u8>),
    /// All that pass.
    Dump(Box<Dump>),
}

/// Which sockets a list is of.
#[derive(Debug)]
enum Wanted {
    Inet {
        request: InetRequest,
        protocol: u32,
        filter: Option<Bytecode>,
    },
    Packet(OtherRequest),
    Netlink(OtherRequest),
    /// None, which the end tells.
    Nothing(Errno),
}

/// A list that is being made.
#[derive(Debug)]
pub(super) struct Dump {
    wanted: Wanted,
    kind: u16,
    sequence: u32,
    port: u32,
    position: SurveyPosition,
    /// How many slots of the network's sockets were looked at, where those are listed.
    index: usize,
    /// A message that found no room.
    held: Vec<u8>,
    /// The end is in `held`, or was told.
    ended: bool,
}

/// How far a list has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Ended,
    /// The program's queue is full.
    Full,
    /// It had its share.
    More,
}

/// Answers a request of a program with this port.
pub(super) fn answer(
    host: &Host<'_>,
    port: u32,
    request: &Request<'_>,
    work: &mut Work,
) -> Result<Answer, Errno> {
    let wanted = match request.kind {
        BY_FAMILY | DESTROY => wanted(request, work)?,
        TCPDIAG_GETSOCK => inet::wanted_of_old(request, work)?,
        _ => return Err(Errno::EINVAL),
    };
    if request.kind == DESTROY {
        return match &wanted {
            Wanted::Inet { request, protocol, .. } => {
                inet::find(host, request, *protocol, work)?;
                Err(Errno::EPERM)
            }
            _ => Err(Errno::EOPNOTSUPP),
        };
    }
    if request.flags & NLM_F_DUMP == 0 {
        return match &wanted {
            Wanted::Inet { request, protocol, .. } => {
                let report = inet::find(host, request, *protocol, work)?;
                work.tell();
                Ok(Answer::One(inet::message(host, request, &report)))
            }
            _ => Err(Errno::EOPNOTSUPP),
        };
    }
    Ok(Answer::Dump(Box::new(Dump {
        wanted,
        kind: request.kind,
        sequence: request.sequence,
        port,
        position: SurveyPosition::default(),
        index: 0,
        held: Vec::new(),
        ended: false,
    })))
}

fn wanted(request: &Request<'_>, work: &mut Work) -> Result<Wanted, Errno> {
    let &[family, _, ..] = request.body else { return Err(Errno::EINVAL) };
    match i32::from(family) {
        _ if family >= FAMILIES => Err(Errno::EINVAL),
        libc::AF_INET | libc::AF_INET6 => inet::wanted(request, work),
        libc::AF_PACKET => {
            let asked = OtherRequest::parse(request.body).ok_or(Errno::EINVAL)?;
            if asked.protocol != 0 {
                return Err(Errno::EINVAL);
            }
            Ok(Wanted::Packet(asked))
        }
        libc::AF_NETLINK => {
            Ok(other::netlink_wanted(OtherRequest::parse(request.body).ok_or(Errno::EINVAL)?))
        }
        _ => Err(Errno::ENOENT),
    }
}

impl Dump {
    /// Goes on with the list: puts messages, many sockets in each, until one finds no room, all is told, or it is
    /// time for others.
    pub(super) fn go_on(
        &mut self,
        host: &Host<'_>,
        work: &mut Work,
        put: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Progress {
        loop {
            if !self.held.is_empty() {
                work.send();
                if !put(&self.held) {
                    return Progress::Full;
                }
                self.held.clear();
            }
            if self.ended {
                return Progress::Ended;
            }
            if work.is_over() {
                return Progress::More;
            }
            self.gather(host, work);
        }
    }

    /// Fills `held`, until it is time for others.
    fn gather(&mut self, host: &Host<'_>, work: &mut Work) {
        // The longest message of one socket is far shorter than this leaves.
        while self.held.len() + inet::MESSAGE_MAX <= MESSAGE_LEN && !work.is_over() {
            work.look(1);
            match self.next(host, work) {
                Next::Message(body) => {
                    work.tell();
                    self.held.extend(self.message(self.kind, &body));
                }
                Next::Other => {}
                Next::End => {
                    let code = if let Wanted::Nothing(errno) = &self.wanted { -errno.0 } else { 0 };
                    let done = libc::NLMSG_DONE as u16;
                    self.held.extend(self.message(done, &code.to_ne_bytes()));
                    self.ended = true;
                    return;
                }
            }
        }
    }

    fn next(&mut self, host: &Host<'_>, work: &mut Work) -> Next {
        match &self.wanted {
            Wanted::Nothing(_) => Next::End,
            Wanted::Netlink(request) => {
                let Some((id, sockets)) = host.plugs else { return Next::End };
                if self.index >= sockets.slots() {
                    return Next::End;
                }
                self.index += 1;
                match sockets.in_slot(self.index - 1) {
                    Some(record @ Record { socket: Socket::Netlink(netlink), .. }) if record.host == id => {
                        other::netlink(request, Plugged::of(record), netlink)
                    }
                    _ => Next::Other,
                }
            }
            Wanted::Packet(request) => match host.stack.survey(host.now, &mut self.position) {
                Some(report) => other::packet(host, request, &report),
                None => Next::End,
            },
            Wanted::Inet { request, protocol, filter } => {
                match host.stack.survey(host.now, &mut self.position) {
                    None => Next::End,
                    Some(report) if inet::is_wanted(request, *protocol, filter.as_ref(), &report, work) => {
                        Next::Message(inet::message(host, request, &report))
                    }
                    Some(_) => Next::Other,
                }
            }
        }
    }

    fn message(&self, kind: u16, body: &[u8]) -> Vec<u8> {
        message([kind, NLM_F_MULTIPART], [self.sequence, self.port], body)
    }
}

/// What a step along the sockets gives.
enum Next {
    Message(Vec<u8>),
    /// A socket that wasn't asked for.
    Other,
    End,
}

/// A message with its header: of a kind, with flags, in answer to a request of this number and port.
pub(super) fn message([kind, flags]: [u16; 2], [sequence, port]: [u32; 2], body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity((HEADER + body.len()).next_multiple_of(4));
    bytes.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(port.to_ne_bytes());
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Appends an attribute.
fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend((4 + value.len() as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// Appends an attribute of numbers.
fn words(body: &mut Vec<u8>, kind: u16, words: &[u32]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    attribute(body, kind, &bytes);
}

#[cfg(test)]
mod tests;
