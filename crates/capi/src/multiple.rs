//! Several messages at once: sendmmsg and recvmmsg.

use crate::answer::answer;
use crate::host::{Deadline, Host};
use crate::messages;
use crate::sys::{self, Place};
use sockeye_posix::Errno;
use sockeye_posix::message::MMSG_MAX;
use std::ffi::{c_int, c_uint};
use std::time::{Duration, Instant};

/// The messages of a vector, as pointers into it, and what is done with each. What came before an error counts.
fn each(
    count: c_uint,
    mut call: impl FnMut(usize) -> Result<(), Errno>,
    mut is_over: impl FnMut() -> bool,
) -> Result<c_int, Errno> {
    let mut done = 0;
    for index in 0..(count as usize).min(MMSG_MAX) {
        match call(index) {
            Ok(()) => done += 1,
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno),
        }
        if is_over() {
            break;
        }
    }
    Ok(done)
}

/// Sends several messages, as sendmmsg(2): at most 1024. Returns how many were sent, and writes to each `msg_len` how much of
/// it; an error is told if it was the first's.
///
/// # Safety
///
/// `host` is null, or was not given back; `messages` is null, or has `count` messages, which are as for sockeye_sendmsg().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_sendmmsg(
    host: *const Host,
    fd: c_int,
    messages: *mut libc::mmsghdr,
    count: c_uint,
    flags: c_int,
) -> c_int {
    // SAFETY: passed on.
    let host = unsafe { sys::handle(host) };
    answer(|| {
        let host = host?;
        host.entry(fd)?;
        let send = |index| {
            let message = messages.wrapping_add(index);
            // SAFETY: passed on.
            unsafe {
                let place = Place::new(message)?;
                let sent = messages::send(&host, fd, message.cast(), flags)?;
                place.write(libc::mmsghdr { msg_len: sent as c_uint, ..place.read() });
            }
            Ok(())
        };
        each(count, send, || false)
    })
}

/// Receives several messages, as recvmmsg(2): at most 1024. Waits for all of them, or with MSG_WAITFORONE for the first only. With a
/// `timeout` it looks after each message whether the time is over, as the kernel does: one that doesn't come is
/// waited for as long as SO_RCVTIMEO says. The timeout isn't written back. Returns how many there are.
///
/// # Safety
///
/// As sockeye_sendmmsg(); `timeout` is null, or points to a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_recvmmsg(
    host: *const Host,
    fd: c_int,
    messages: *mut libc::mmsghdr,
    count: c_uint,
    flags: c_int,
    timeout: *mut libc::timespec,
) -> c_int {
    // SAFETY: passed on.
    let (host, timeout) =
        unsafe { (sys::handle(host), (!timeout.is_null()).then(|| sys::value(timeout)).transpose()) };
    answer(|| {
        let host = host?;
        host.entry(fd)?;
        let deadline = host.deadline(timeout?.map(duration).transpose()?);
        let mut flags = flags;
        let receive = |index| {
            let message = messages.wrapping_add(index);
            // SAFETY: passed on.
            unsafe {
                let place = Place::new(message)?;
                let received = messages::receive(&host, fd, message.cast(), flags)?;
                place.write(libc::mmsghdr { msg_len: received as c_uint, ..place.read() });
            }
            if flags & libc::MSG_WAITFORONE != 0 {
                flags |= libc::MSG_DONTWAIT;
            }
            Ok(())
        };
        each(count, receive, || match deadline {
            Deadline::Machine(end) => end.is_some_and(|end| end <= Instant::now()),
            Deadline::Virtual(end) => end.is_some_and(|end| end <= host.now()),
        })
    })
}

/// EINVAL for a time that is none.
fn duration(time: libc::timespec) -> Result<Duration, Errno> {
    match (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec)) {
        (Ok(seconds), Ok(nanoseconds)) if nanoseconds < 1_000_000_000 => {
            Ok(Duration::new(seconds, nanoseconds))
        }
        _ => Err(Errno::EINVAL),
    }
}
