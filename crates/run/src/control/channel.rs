//! One conversation on a control socket: whole messages, each with at most one descriptor.

use rustix::io::Errno as SysErrno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The longest message: a datagram with the longest control messages, and their frame.
pub(crate) const MESSAGE_MAX: usize = 208 * 1024;
/// The longest greeting of any version.
const GREETING_MAX: usize = 256;
/// Messages that may wait for a peer that doesn't read; each of its threads waits for one at a time, so a peer
/// for whom more of them wait is broken.
const WAITING_MAX: usize = 16 * 1024;

/// A connected control socket.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
    waiting: VecDeque<(Vec<u8>, Option<OwnedFd>)>,
    /// For one message; made when the first comes, and its pages when they are used.
    buffer: Vec<u8>,
    /// Whether the latest message came without the descriptor that was beside it.
    lost_descriptor: bool,
}

impl Channel {
    /// Takes a connected SEQPACKET socket over.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Channel> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        // The kernel doubles this, for its own bookkeeping.
        rustix::net::sockopt::set_socket_send_buffer_size(&socket, MESSAGE_MAX)?;
        Ok(Channel { socket, waiting: VecDeque::new(), buffer: Vec::new(), lost_descriptor: false })
    }

    /// Whether messages wait for the peer to read.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether the latest message came without the descriptor that was beside it: this process has no room.
    pub(crate) fn lost_descriptor(&self) -> bool {
        self.lost_descriptor
    }

    /// How many messages wait for the peer to read.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Sends a message, now or when there is room.
    pub(crate) fn send<T: Serialize>(&mut self, message: &T, fd: Option<OwnedFd>) -> io::Result<()> {
        let bytes = postcard::to_allocvec(message).map_err(io::Error::other)?;
        self.send_bytes(bytes, fd)
    }

    /// Sends bytes as one message, now or when there is room.
    pub(crate) fn send_bytes(&mut self, bytes: Vec<u8>, fd: Option<OwnedFd>) -> io::Result<()> {
        if bytes.len() > MESSAGE_MAX {
            return Err(SysErrno::MSGSIZE.into());
        }
        if self.waiting.len() >= WAITING_MAX {
            return Err(SysErrno::NOBUFS.into());
        }
        self.waiting.push_back((bytes, fd));
        self.flush()
    }

    /// Sends what waits, as far as there is room.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while let Some((bytes, fd)) = self.waiting.front() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let rights = fd.as_ref().map(|fd| [fd.as_fd()]);
            if let Some(rights) = &rights {
                control.push(SendAncillaryMessage::ScmRights(rights));
            }
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, flags) {
                Ok(_) => drop(self.waiting.pop_front()),
                Err(SysErrno::AGAIN) => return Ok(()),
                Err(SysErrno::INTR) => {}
                Err(error) => {
                    // What can't be sent must not hold up the rest.
                    self.waiting.pop_front();
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    /// The next message that has come; none when there is none now. An error ends the conversation: the peer
    /// is gone ([`io::ErrorKind::UnexpectedEof`]) or says what can't be understood.
    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Option<OwnedFd>)>> {
        match self.receive_bytes(MESSAGE_MAX)? {
            Some((len, fd)) => Ok(Some((decode(&self.buffer[..len])?, fd))),
            None => Ok(None),
        }
    }

    /// As [`Channel::receive`]: the message as it came, of at most `room` bytes, which lies in `buffer`.
    fn receive_bytes(&mut self, room: usize) -> io::Result<Option<(usize, Option<OwnedFd>)>> {
        if self.buffer.len() < room {
            self.buffer = vec![0; room];
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut self.buffer[..room])];
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let mut was_reset = false;
        let message = loop {
            match recvmsg(&self.socket, &mut parts, &mut control, flags) {
                Ok(message) => break message,
                Err(SysErrno::AGAIN) => return Ok(None),
                Err(SysErrno::INTR) => {}
                // The peer has closed without reading all: what it said before comes behind that error.
                Err(SysErrno::CONNRESET) if !was_reset => was_reset = true,
                Err(error) => return Err(error.into()),
            }
        };
        let mut fds = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let fd = fds.next();
        if message.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let cut = message.flags.contains(ReturnFlags::CTRUNC);
        self.lost_descriptor = cut && fd.is_none();
        if message.flags.contains(ReturnFlags::TRUNC) || cut && fd.is_some() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message was too long"));
        }
        Ok(Some((message.bytes, fd)))
    }

    /// The first message as bytes, from somebody of whom nothing is known yet.
    pub(crate) fn receive_greeting(&mut self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.receive_bytes(GREETING_MAX)?.map(|(len, _)| self.buffer[..len].to_vec()))
    }

    /// A descriptor of the process at the other end; none before Linux 6.5, and an error when it has ended.
    pub(crate) fn peer_process(&self) -> io::Result<Option<OwnedFd>> {
        crate::sys::peer_process(&self.socket)
    }

    /// The process at the other end, and its user.
    pub(crate) fn peer(&self) -> io::Result<(u32, u32)> {
        let peer = rustix::net::sockopt::socket_peercred(&self.socket)?;
        Ok((peer.pid.as_raw_nonzero().get() as u32, peer.uid.as_raw()))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Reads a whole message and nothing but that.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    let bad = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        Ok(_) => Err(bad("a message has bytes behind its end")),
        Err(_) => Err(bad("a message can't be understood")),
    }
}
