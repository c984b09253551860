//! Descriptors and credentials that go with bytes: the kernel's `SCM_RIGHTS` and `SCM_CREDENTIALS`.

use crate::Credentials;
use crate::sys::messages::MOST;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, UCred, sockopt};
use rustix::process::{Gid, Pid, Uid};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// What came with bytes, see [`LocalStream::recv_with`](crate::LocalStream::recv_with).
///
/// ```
/// use sockeye_local::{Ancillary, LocalPackets};
/// use std::os::fd::AsFd;
///
/// let (ours, theirs) = LocalPackets::pair()?;
/// theirs.set_passrights(true)?;
/// theirs.set_passcred(true)?;
/// ours.send_with(b"mine", &[std::io::stdin().as_fd()])?;
/// let (_, Ancillary { descriptors, credentials, .. }) = theirs.recv_with(&mut [0; 64])?;
/// assert_eq!(descriptors.len(), 1);
/// assert_eq!(credentials.unwrap().pid, Some(std::process::id()));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Ancillary {
    /// Descriptors, in the order in which they were sent, where they were asked for
    /// ([`set_passrights`](crate::LocalStream::set_passrights)). They are closed on exec.
    pub descriptors: Vec<OwnedFd>,
    /// Who sent them, where that was asked for ([`set_passcred`](crate::LocalStream::set_passcred)).
    pub credentials: Option<Credentials>,
    /// There were more descriptors: they weren't asked for, or this process couldn't have as many (`RLIMIT_NOFILE`).
    pub is_truncated: bool,
}

impl Ancillary {
    /// At the end of a stream the kernel speaks of a process 0 of the superuser.
    pub(crate) fn without_nobody(mut self, is_at_end: bool) -> Ancillary {
        if is_at_end && self.descriptors.is_empty() {
            self.credentials = self.credentials.filter(|credentials| credentials.pid.is_some());
        }
        self
    }
}

/// What the user of an end wants of what may come with bytes.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    pub(crate) descriptors: AtomicBool,
    pub(crate) credentials: AtomicBool,
}

impl Wants {
    /// Has the kernel say who sends at this socket, or not any more.
    pub(crate) fn set_credentials(&self, socket: BorrowedFd<'_>, wants: bool) -> io::Result<()> {
        // It is wanted only while the kernel says it.
        if !wants {
            self.credentials.store(false, Ordering::Release);
        }
        sockopt::set_socket_passcred(socket, wants)?;
        self.credentials.store(wants, Ordering::Release);
        Ok(())
    }
}

/// What is sent with bytes, see [`LocalStream::send_with`](crate::LocalStream::send_with): an array of descriptors is one.
///
/// ```
/// use sockeye_local::{Attached, Credentials, LocalStream};
///
/// let (ours, theirs) = LocalStream::pair()?;
/// theirs.set_passcred(true)?;
/// // Nothing but who sends it, as the kernel knows.
/// ours.send_with(b"it's me", Attached::default())?;
/// let (_, with) = theirs.recv_with(&mut [0; 64])?;
/// assert_eq!(with.credentials.unwrap().pid, Some(std::process::id()));
/// // And as the sender says: the kernel refuses to send what isn't so, but for the superuser.
/// let me = Credentials { pid: Some(std::process::id()), ..with.credentials.unwrap() };
/// ours.send_with(b"me again", Attached { credentials: Some(me), ..Attached::default() })?;
/// assert_eq!(theirs.recv_with(&mut [0; 64])?.1.credentials, Some(me));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Attached<'a> {
    /// Descriptors, 253 at most. The other process gets its own for the same files.
    pub descriptors: &'a [BorrowedFd<'a>],
    /// Other credentials than the process and its real user and group, which is what the kernel says by itself.
    pub credentials: Option<Credentials>,
}

impl<'a> From<&'a [BorrowedFd<'a>]> for Attached<'a> {
    fn from(descriptors: &'a [BorrowedFd<'a>]) -> Attached<'a> {
        Attached { descriptors, credentials: None }
    }
}

impl<'a> From<&'a Vec<BorrowedFd<'a>>> for Attached<'a> {
    fn from(descriptors: &'a Vec<BorrowedFd<'a>>) -> Attached<'a> {
        Attached { descriptors, credentials: None }
    }
}

impl<'a, const N: usize> From<&'a [BorrowedFd<'a>; N]> for Attached<'a> {
    fn from(descriptors: &'a [BorrowedFd<'a>; N]) -> Attached<'a> {
        Attached { descriptors, credentials: None }
    }
}

/// Sends a message by a kernel socket.
pub(crate) fn send_message(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    flags: SendFlags,
    attached: Attached<'_>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST), ScmCredentials(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if attached.descriptors.len() > MOST {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "more than 253 descriptors in one message"));
    }
    if !attached.descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(attached.descriptors));
    }
    if let Some(credentials) = attached.credentials {
        control.push(SendAncillaryMessage::ScmCredentials(of_kernel(&credentials)?));
    }
    let flags = flags | SendFlags::NOSIGNAL;
    loop {
        match rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags) {
            Ok(count) => return Ok(count),
            Err(Errno::INTR) if flags.contains(SendFlags::DONTWAIT) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn of_kernel(credentials: &Credentials) -> io::Result<UCred> {
    let pid = credentials.pid.and_then(|pid| Pid::from_raw(pid.cast_signed()));
    let pid =
        pid.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "credentials without a process"))?;
    Ok(UCred { pid, uid: Uid::from_raw(credentials.uid), gid: Gid::from_raw(credentials.gid) })
}
