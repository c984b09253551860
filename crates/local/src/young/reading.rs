//! Reading, from the socket as long as something of the stream comes there.

use super::came::Came;
use super::{Young, up_to, wanted};
use crate::Ancillary;
use crate::end::Half;
use crate::half::{CUT_OFF, DEAD, READ_SHUT};
use crate::in_place::{self, SharedSlice};
use crate::sync::lock;
use crate::sys::messages::receive;
use crate::wait::{TURN, Wait};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};

impl Young {
    pub(crate) fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        if let Some(end) = self.reading_end() {
            return end.read(bytes);
        }
        match self.by_socket(Half::Reads, || self.receive(bytes, None))? {
            Some(count) => Ok(count),
            None => self.reading_end().map_or(Ok(0), |end| end.read(bytes)),
        }
    }

    /// By the socket no more than one of its calls brings.
    pub(crate) fn read_vectored(&self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if let Some(end) = self.reading_end() {
            return end.read_vectored(parts);
        }
        let mut room = in_place::room_to_read();
        let most = parts.iter().map(|part| part.len()).sum::<usize>().min(room.len());
        let count = self.read(&mut room[..most])?;
        let mut rest = &room[..count];
        for part in parts {
            let (bytes, others) = rest.split_at(rest.len().min(part.len()));
            part[..bytes.len()].copy_from_slice(bytes);
            rest = others;
        }
        Ok(count)
    }

    /// Reads what is attached to the bytes too.
    pub(crate) fn read_with(&self, bytes: &mut [u8]) -> io::Result<(usize, Ancillary)> {
        if let Some(end) = self.reading_end() {
            return end.read_with(bytes);
        }
        let mut attached = Ancillary::default();
        match self.by_socket(Half::Reads, || self.receive(bytes, Some(&mut attached)))? {
            Some(count) => Ok((count, attached.without_nobody(count == 0 && !bytes.is_empty()))),
            None => self.reading_end().map_or(Ok((0, attached)), |end| end.read_with(bytes)),
        }
    }

    pub(crate) fn peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        if let Some(end) = self.reading_end() {
            return end.peek(bytes);
        }
        match self.by_socket(Half::Reads, || self.peek_at_socket(bytes))? {
            Some(count) => Ok(count),
            None => self.reading_end().map_or(Ok(0), |end| end.peek(bytes)),
        }
    }

    pub(crate) fn read_in_place(&self, with: impl FnOnce(&SharedSlice<'_>) -> usize) -> io::Result<usize> {
        if let Some(end) = self.reading_end() {
            return end.read_in_place(with);
        }
        let mut bytes = in_place::room_to_read();
        match self.by_socket(Half::Reads, || self.peek_at_socket(&mut bytes))? {
            Some(count) => in_place::take_copied(&mut bytes[..count], with, |bytes| {
                self.receive(bytes, None).unwrap_or(Err(Errno::AGAIN.into()))
            }),
            None => self.reading_end().map_or(Ok(0), |end| end.read_in_place(with)),
        }
    }

    /// Tries what is to be done at the socket until it is done; none once that is the ring's.
    pub(super) fn by_socket<T>(
        &self,
        half: Half,
        mut attempt: impl FnMut() -> Option<io::Result<T>>,
    ) -> io::Result<Option<T>> {
        let (mut wait, mut is_long) = (Wait::new(self.limits.of(half)), false);
        loop {
            self.advance();
            match attempt() {
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(half, &mut wait, is_long)?;
                    is_long = true;
                }
                result => return result.transpose(),
            }
        }
    }

    /// Waits at the socket for a while; a reader to whom nothing came for a turn waits until something does, or the
    /// end over shared memory is there. A writer isn't woken when its half is shut, here or there.
    fn wait(&self, half: Half, wait: &mut Wait, is_long: bool) -> io::Result<()> {
        if !wait.may_wait() {
            return Err(Errno::AGAIN.into());
        }
        let bell = if is_long && half == Half::Reads { self.over_bell() } else { None };
        let left = wait.left()?;
        let limit = if bell.is_some() { left } else { Some(left.map_or(TURN, |left| left.min(TURN))) };
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let socket = PollFd::new(&self.kernel.socket, wanted(half));
        let result = match bell {
            Some(bell) => poll(&mut [socket, PollFd::new(bell, PollFlags::IN)], limit.as_ref()),
            None => poll(&mut [socket], limit.as_ref()),
        };
        match result {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The bell for the end over shared memory, while that isn't there.
    fn over_bell(&self) -> Option<&OwnedFd> {
        if self.over_bell.get().is_none() {
            let made = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
            let _ = self.over_bell.set(made);
        }
        fence(Ordering::SeqCst);
        self.over_bell.get().filter(|_| self.end().is_none())
    }

    /// Takes what was kept, or receives once, without waiting; none if it is the ring's turn.
    pub(crate) fn receive(
        &self,
        bytes: &mut [u8],
        mut attached: Option<&mut Ancillary>,
    ) -> Option<io::Result<usize>> {
        let result = {
            let mut came = lock(&self.came);
            match came.take(bytes, attached.as_deref_mut()) {
                Some(count) => return Some(Ok(count)),
                None => self.pull(&mut came, bytes, attached.unwrap_or(&mut Ancillary::default())),
            }
        };
        if let Some(Ok(count)) = result {
            self.carry(count);
        }
        result
    }

    /// Receives once, without waiting; none if nothing more of the stream comes by the socket.
    pub(super) fn pull(
        &self,
        came: &mut Came,
        bytes: &mut [u8],
        attached: &mut Ancillary,
    ) -> Option<io::Result<usize>> {
        loop {
            if self.read_out(came).is_some() || self.is_received.load(Ordering::Acquire) {
                return None;
            }
            let most = up_to(self.left(came), bytes.len());
            let (socket, wants) = (self.kernel.socket.as_fd(), &self.kernel.wants);
            match receive(socket, &mut bytes[..most], RecvFlags::DONTWAIT, wants, attached) {
                end @ (Ok(0) | Err(Errno::CONNRESET)) if most > 0 || end.is_err() => {
                    if let Some(result) = self.at_end(end) {
                        return Some(result);
                    }
                }
                Err(Errno::AGAIN) if self.is_shut_for_reading() => return Some(Ok(0)),
                Err(error) => return Some(Err(error.into())),
                Ok(count) => {
                    // How many are the stream's may have been said since.
                    self.advance();
                    let own = up_to(self.left(came), count);
                    came.count += own as u64;
                    if let (Some(end), true) = (self.end(), own < count) {
                        let late = std::mem::take(attached);
                        attached.credentials = late.credentials.filter(|_| own > 0);
                        end.outside.take_late(&bytes[own..count], late);
                    }
                    if own > 0 || count == 0 {
                        return Some(Ok(own));
                    }
                }
            }
        }
    }

    pub(super) fn is_shut_for_reading(&self) -> bool {
        self.end().is_some_and(|end| end.outside.state.has(READ_SHUT))
    }

    /// Where nothing comes any more: the end over shared memory knows more of it, if the peer is gone and isn't only shut.
    fn at_end(&self, result: Result<usize, Errno>) -> Option<io::Result<usize>> {
        self.advance();
        if let Some(end) = self.end() {
            match result {
                Err(_) => drop(end.outside.state.note(DEAD | CUT_OFF)),
                Ok(_) => end.outside.look_for_peer(),
            }
            if end.outside.state.has(DEAD) {
                self.set_received(end);
                return None;
            }
        }
        Some(result.map_err(io::Error::from))
    }

    pub(crate) fn peek_at_socket(&self, bytes: &mut [u8]) -> Option<io::Result<usize>> {
        let mut came = lock(&self.came);
        loop {
            if let Some(count) = came.peek(bytes) {
                return Some(Ok(count));
            }
            if self.read_out(&mut came).is_some() {
                return None;
            }
            match rustix::net::recv(&self.kernel.socket, &mut *bytes, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
                Ok((count, _)) if count > 0 => {
                    self.advance();
                    let own = up_to(self.left(&mut came), count);
                    if own > 0 {
                        return Some(Ok(own));
                    }
                }
                Ok(_) if bytes.is_empty() => return Some(Ok(0)),
                // A receiving call says why; it also takes an urgent byte, which a look leaves there to wake us again.
                _ => {
                    let (mut byte, mut attached) = ([0], Ancillary::default());
                    match self.pull(&mut came, &mut byte, &mut attached) {
                        Some(Ok(1)) => came.keep(&byte, attached),
                        result => return result,
                    }
                }
            }
        }
    }
}
