//! What comes at the kernel socket of a connection over shared memory: bells, and what is attached to bytes.
//!
//! - A message with something attached is announced at the kernel socket first: a packet with the positions of its bytes
//!   in the ring, the [`Mark`], to which the kernel attaches the descriptors and the sender's credentials. Only then its
//!   sender counts it in the lane, and only then it publishes the bytes.
//! - A reader that sees the count changed takes what came at the socket up to the next mark. It reads up to its
//!   bytes, and takes what is attached when it reads the first of them; that read ends at the last.
//! - Bells and packets come in one queue, and who drains bells keeps the packets here. So descriptors come to this
//!   process before they are asked for, which a peer could use: it could fill the table, or pass one of a file system of its
//!   own, where closing takes as long as it likes. Hence the kernel drops them all unless the end's user has
//!   said that it wants some, and otherwise they are bounded.
//! - An honest sender has [`MARKS`] and [`DESCRIPTORS`] under way at most, and then waits as it does for room.
//!   Where the kernel socket is full, and nothing in the ring leads the peer there, as it is full of bytes from before the stream
//!   went over, the sender waits at the kernel socket itself ([`crate::wait::SocketRoom`]).
//! - Broken is a peer that has more under way, or counts a mark without a packet, or sends what is no packet, or one for
//!   bytes that were read already. A packet that is never counted, or for bytes that never come, lies here until the end.

use crate::Ancillary;
use crate::ancillary::{Attached, Wants, send_message};
use crate::ring::{DESCRIPTORS, MARKS, Mark};
use crate::sys::messages;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::BorrowedFd;

/// A byte by itself, a bell, says that there is something to look for.
const BELL: u8 = 0;
/// The first byte of a packet, before its mark.
const MARK: u8 = 1;
const PACKET: usize = 1 + 2 * size_of::<u64>();

/// What was received and not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    marks: VecDeque<(Mark, Ancillary)>,
    /// Descriptors among it.
    descriptors: usize,
    /// A packet whose rest is to come, as its bytes come as a stream.
    begun: Vec<u8>,
    attached: Ancillary,
}

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// And there may be more.
    Some,
    All,
    Nothing,
    /// The peer's end; [`Heard::Reset`] comes before it.
    End,
    Reset,
    Nonsense,
}

impl Inbox {
    /// Where the next mark is.
    pub(crate) fn next(&self) -> Option<Mark> {
        self.marks.front().map(|(mark, _)| *mark)
    }

    /// Takes what is attached to this mark's bytes, or drops it; says whether it was the next.
    pub(crate) fn take(&mut self, mark: Mark, into: Option<&mut Ancillary>) -> bool {
        let Some((next, attached)) = self.marks.pop_front() else { return false };
        self.descriptors -= attached.descriptors.len();
        if let Some(into) = into {
            *into = attached;
        }
        next == mark
    }

    /// Receives once, without waiting.
    pub(crate) fn hear(&mut self, socket: BorrowedFd<'_>, wants: &Wants) -> Heard {
        let mut bytes = [0; 64];
        let mut attached = Ancillary::default();
        match messages::receive(socket, &mut bytes, RecvFlags::DONTWAIT, wants, &mut attached) {
            Ok(0) | Err(Errno::PIPE) => Heard::End,
            Ok(count) => {
                // What comes behind a descriptor is received by itself.
                let may_be_more = count == bytes.len() || !attached.descriptors.is_empty();
                match self.sort(&bytes[..count], attached) {
                    None => Heard::Nonsense,
                    Some(()) if may_be_more => Heard::Some,
                    Some(()) => Heard::All,
                }
            }
            Err(Errno::INTR) => Heard::Some,
            Err(Errno::AGAIN) => Heard::Nothing,
            Err(Errno::CONNRESET) => Heard::Reset,
            Err(_) => Heard::End,
        }
    }

    /// Takes the packets from among the bells; none if these bytes are nonsense, or too many packets.
    pub(crate) fn sort(&mut self, mut bytes: &[u8], attached: Ancillary) -> Option<()> {
        let mut has_begun = false;
        while let Some(first) = bytes.first() {
            if self.begun.is_empty() {
                match *first {
                    BELL => {
                        bytes = &bytes[1..];
                        continue;
                    }
                    MARK => {
                        let credentials = attached.credentials;
                        self.attached = Ancillary { credentials, ..Ancillary::default() };
                        has_begun = true;
                    }
                    _ => return None,
                }
            }
            let (more, rest) = bytes.split_at(bytes.len().min(PACKET - self.begun.len()));
            self.begun.extend_from_slice(more);
            bytes = rest;
            if self.begun.len() == PACKET {
                self.finish()?;
            }
        }
        let Ancillary { descriptors, is_truncated, .. } = attached;
        if descriptors.is_empty() && !is_truncated {
            return Some(());
        }
        // They came with the last packet that began, as nothing is received together with what comes after them.
        let last = if self.begun.is_empty() { &mut self.marks.back_mut()?.1 } else { &mut self.attached };
        self.descriptors += descriptors.len();
        (last.descriptors, last.is_truncated) = (descriptors, is_truncated);
        (has_begun && self.descriptors <= DESCRIPTORS).then_some(())
    }

    /// Keeps a packet that is whole.
    fn finish(&mut self) -> Option<()> {
        let (start, end) = self.begun[1..].split_first_chunk()?;
        let end = u64::from_ne_bytes(end.try_into().ok()?);
        let mark = Mark { start: u64::from_ne_bytes(*start), end };
        self.begun.clear();
        self.marks.push_back((mark, mem::take(&mut self.attached)));
        (self.marks.len() <= MARKS).then_some(())
    }
}

/// Announces a mark with what is attached to its bytes; says whether there was room.
pub(crate) fn send(socket: BorrowedFd<'_>, mark: Mark, attached: Attached<'_>) -> io::Result<bool> {
    let mut packet = [MARK; PACKET];
    packet[1..9].copy_from_slice(&mark.start.to_ne_bytes());
    packet[9..].copy_from_slice(&mark.end.to_ne_bytes());
    match send_message(socket, &packet, SendFlags::DONTWAIT, attached) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}
