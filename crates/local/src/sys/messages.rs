//! Messages of the kernel's sockets with what is attached to them. (rustix's types have no place for a process that
//! this one can't see, whose number is 0.)

use crate::ancillary::Wants;
use crate::{Ancillary, Credentials};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::Ordering;

/// Descriptors of one message, at most: the kernel's `SCM_MAX_FD`.
pub(crate) const MOST: usize = 253;

/// Words of control data with so many bytes in it: it is aligned.
const fn words(bytes: usize) -> usize {
    // SAFETY: it only calculates.
    let space = unsafe { libc::CMSG_SPACE(bytes as u32) as usize };
    space.div_ceil(size_of::<u64>())
}

const CREDENTIALS: usize = words(size_of::<libc::ucred>());

/// Bytes of control data in which nothing fits, but the head of credentials says that there were some.
// SAFETY: it only calculates.
const HEAD: usize = unsafe { libc::CMSG_LEN(0) as usize };

/// Receives a message with what is attached to it. What isn't wanted the kernel drops.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    flags: RecvFlags,
    wants: &Wants,
    into: &mut Ancillary,
) -> Result<usize, Errno> {
    let wants_credentials = wants.credentials.load(Ordering::Acquire);
    if wants.descriptors.load(Ordering::Relaxed) {
        let mut control = [0; CREDENTIALS + words(MOST * size_of::<libc::c_int>())];
        let len = size_of_val(&control);
        receive_in(socket, bytes, flags, (&mut control, len), into)
    } else {
        // Credentials come first, so that no descriptor finds room. They come unasked too, while another thread turns them on or
        // off.
        let mut control = [0; CREDENTIALS];
        let len = if wants_credentials { size_of_val(&control) } else { HEAD };
        receive_in(socket, bytes, flags, (&mut control, len), into)
    }
}

fn receive_in(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    flags: RecvFlags,
    (control, len): (&mut [u64], usize),
    into: &mut Ancillary,
) -> Result<usize, Errno> {
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: all zero is a value of it: null pointers and lengths of 0.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = len.min(size_of_val(control)) as _;
    let flags = (flags | RecvFlags::CMSG_CLOEXEC).bits().cast_signed();
    // SAFETY: the kernel writes into the bytes and the control data only, both of which are borrowed mutably.
    let count = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let Ok(count) = usize::try_from(count) else {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
    };
    // SAFETY: the kernel has filled the message and its control data.
    let has_all_credentials = unsafe { take_control(&message, into) };
    into.is_truncated = has_all_credentials && message.msg_flags & libc::MSG_CTRUNC != 0;
    Ok(count)
}

/// Takes what came in a message's control data; says whether there was room for credentials, if there were some.
///
/// # Safety
///
/// The kernel has filled the message, and nobody has taken its descriptors.
#[expect(clippy::cast_ptr_alignment, reason = "it is read as what isn't aligned")]
#[allow(clippy::unnecessary_cast, reason = "the length has another type in other C libraries")]
unsafe fn take_control(message: &libc::msghdr, into: &mut Ancillary) -> bool {
    let mut has_all_credentials = true;
    // SAFETY: as the caller says; the headers and lengths that are followed are the kernel's, and descriptors that it has
    // just made are nobody else's.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while let Some(entry) = header.as_ref() {
            let data = libc::CMSG_DATA(header);
            let len = entry.cmsg_len as usize - libc::CMSG_LEN(0) as usize;
            match (entry.cmsg_level, entry.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    for at in 0..len / size_of::<libc::c_int>() {
                        let number = data.cast::<libc::c_int>().add(at).read_unaligned();
                        into.descriptors.push(OwnedFd::from_raw_fd(number));
                    }
                }
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if len >= size_of::<libc::ucred>() => {
                    let libc::ucred { pid, uid, gid } = data.cast::<libc::ucred>().read_unaligned();
                    let pid = u32::try_from(pid).ok().filter(|&pid| pid != 0);
                    into.credentials = Some(Credentials { pid, uid, gid });
                }
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => has_all_credentials = false,
                _ => {}
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    has_all_credentials
}
