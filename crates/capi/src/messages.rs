//! Messages: sendmsg and recvmsg.

use crate::answer::answer;
use crate::data;
use crate::host::Host;
use crate::sys::{self, Message, Room};
use sockeye_posix::Errno;
use sockeye_posix::berkeley::Outgoing;
use sockeye_posix::message::CONTROL_MAX;
use std::ffi::c_int;

/// What a `struct msghdr` that is sent points to.
struct Sent<'a> {
    data: Vec<&'a [u8]>,
    to: &'a [u8],
    control: &'a [u8],
}

impl Sent<'_> {
    /// ENOBUFS for more control messages than the kernel takes.
    ///
    /// # Safety
    ///
    /// All pointers of the message are null, or point to as much as is said beside them.
    unsafe fn of(message: &Message<'_>) -> Result<Self, Errno> {
        let header = &message.header;
        if header.control_len > CONTROL_MAX {
            return Err(Errno::ENOBUFS);
        }
        // SAFETY: passed on.
        unsafe {
            Ok(Sent {
                data: sys::gather(&message.vector()?)?,
                to: sys::bytes(sys::pointer(header.name), header.name_len)?,
                control: sys::bytes(sys::pointer(header.control), header.control_len)?,
            })
        }
    }
}

/// Where a `struct msghdr` that is received points to.
struct Places<'a> {
    data: Vec<Room<'a>>,
    name: Room<'a>,
    control: Room<'a>,
}

impl Places<'_> {
    /// # Safety
    ///
    /// As [`Sent::of`].
    unsafe fn of(message: &Message<'_>) -> Result<Self, Errno> {
        let header = &message.header;
        // SAFETY: passed on.
        unsafe {
            Ok(Places {
                data: sys::rooms(&message.vector()?)?,
                name: Room::new(sys::pointer(header.name).cast_mut(), header.name_len)?,
                control: Room::new(sys::pointer(header.control).cast_mut(), header.control_len)?,
            })
        }
    }
}

/// `sendmsg`.
///
/// # Safety
///
/// The pointer is null or points to a message; all pointers of that are null, or point to as much as is said beside them.
pub(crate) unsafe fn send(
    host: &Host,
    fd: c_int,
    message: *const libc::msghdr,
    flags: c_int,
) -> Result<usize, Errno> {
    host.entry(fd)?;
    // SAFETY: passed on; it isn't written to.
    let sent = unsafe { Sent::of(&Message::new(message.cast_mut())?) }?;
    data::send(host, fd, &sent.data, &Outgoing { to: sent.to, control: sent.control, flags })
}

/// `recvmsg`.
///
/// # Safety
///
/// As [`send`], with nobody else using that memory.
pub(crate) unsafe fn receive(
    host: &Host,
    fd: c_int,
    message: *mut libc::msghdr,
    flags: c_int,
) -> Result<usize, Errno> {
    host.entry(fd)?;
    // SAFETY: passed on.
    let message = unsafe { Message::new(message) }?;
    // SAFETY: passed on.
    let places = unsafe { Places::of(&message) }?;
    let received = data::receive(host, fd, &places.data, flags, Some(places.control.len()))?;
    let name = received.from.as_ref().map_or(&[][..], |from| from.as_slice());
    places.name.write(0, name);
    places.control.write(0, &received.control);
    let name_len = if places.name.len() > 0 { name.len() } else { 0 };
    message.write_back(name_len, received.control.len(), received.flags.bits());
    Ok(received.value)
}

/// Sends a message, as sendmsg(2), with the control messages IP_PKTINFO, IPV6_PKTINFO, IP_TTL, IPV6_HOPLIMIT, IP_TOS, IPV6_TCLASS
/// and UDP_SEGMENT. Flags and waiting are those of sockeye_sendto().
///
/// # Safety
///
/// `host` is null, or was not given back; `message` is null, or what it points to has the lengths that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_sendmsg(
    host: *const Host,
    fd: c_int,
    message: *const libc::msghdr,
    flags: c_int,
) -> libc::ssize_t {
    // SAFETY: passed on.
    let host = unsafe { sys::handle(host) };
    // SAFETY: passed on.
    answer(|| unsafe { send(&*host?, fd, message, flags) }.map(|sent| sent as isize))
}

/// Receives a message, as recvmsg(2), with the control messages that the socket's options ask for (IP_PKTINFO, IP_RECVTTL,
/// IP_RECVTOS, IPV6_RECVPKTINFO, SO_TIMESTAMPNS, SO_RXQ_OVFL, UDP_GRO, …); with MSG_ERRQUEUE a report of the error queue (IP_RECVERR). Other
/// flags and waiting are those of sockeye_recvfrom().
///
/// # Safety
///
/// As sockeye_sendmsg(), and nobody else uses that memory meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_recvmsg(
    host: *const Host,
    fd: c_int,
    message: *mut libc::msghdr,
    flags: c_int,
) -> libc::ssize_t {
    // SAFETY: passed on.
    let host = unsafe { sys::handle(host) };
    // SAFETY: passed on.
    answer(|| unsafe { receive(&*host?, fd, message, flags) }.map(|received| received as isize))
}
