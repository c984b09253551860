//! Waiting for several sockets: poll.

use crate::answer::answer;
use crate::host::Host;
use crate::sys::{self, Place};
use crate::table::Entry;
use sockeye::StackSocket;
use sockeye::poller::Interest;
use sockeye_posix::Errno;
use sockeye_posix::berkeley::poll_bits;
use std::ffi::{c_int, c_short};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// Descriptors of one call, beyond which the kernel says EINVAL (`RLIMIT_NOFILE`, unless stated otherwise).
const MAX: u64 = 1 << 20;

/// One descriptor of a call.
struct Asked {
    /// None for a descriptor that is none.
    entry: Option<Arc<Entry>>,
    /// Negative ones are read over.
    is_there: bool,
    events: c_short,
}

impl Asked {
    fn of(host: &Host, fd: libc::pollfd) -> Asked {
        Asked { entry: host.entry(fd.fd).ok(), is_there: fd.fd >= 0, events: fd.events }
    }

    fn watched(&self) -> Option<(&StackSocket, Interest)> {
        let has = |bits| self.events & bits != 0;
        let mut interest = Interest::NONE;
        if has(libc::POLLIN | libc::POLLRDNORM | libc::POLLRDHUP) {
            interest |= Interest::READABLE;
        }
        if has(libc::POLLOUT | libc::POLLWRNORM) {
            interest |= Interest::WRITABLE;
        }
        if has(libc::POLLPRI) {
            interest |= Interest::PRIORITY;
        }
        Some((&self.entry.as_ref()?.socket, interest))
    }

    fn answer(&self, stack: &sockeye_stack::Stack) -> c_short {
        let always = libc::POLLERR | libc::POLLHUP;
        match &self.entry {
            Some(entry) if entry.check(stack).is_ok() => {
                poll_bits(stack.readiness(entry.socket.id())) & (self.events | always)
            }
            // The host was removed: its connections are reset.
            Some(entry) if entry.check(stack) == Err(Errno::ECONNRESET) => {
                libc::POLLIN & self.events | always
            }
            _ if self.is_there => libc::POLLNVAL,
            _ => 0,
        }
    }
}

/// Says which descriptors are ready; none when the time is over.
fn poll(host: &Host, fds: &[Place<'_, libc::pollfd>], limit: Option<Duration>) -> Result<c_int, Errno> {
    let asked: Vec<_> = fds.iter().map(|place| Asked::of(host, place.read())).collect();
    let mut answers = vec![0; fds.len()];
    let mut look = |stack: &mut sockeye_stack::Stack| {
        for (answer, asked) in answers.iter_mut().zip(&asked) {
            *answer = asked.answer(stack);
        }
        answers.iter().filter(|answer| **answer != 0).count()
    };
    let ready = if limit == Some(Duration::ZERO) {
        host.with_stack(|stack, _| look(stack))
    } else {
        let watched: Vec<_> = asked.iter().filter_map(Asked::watched).collect();
        let ready = host.wait(&watched, &host.deadline(limit), |stack, _| match look(stack) {
            0 => Poll::Pending,
            ready => Poll::Ready(ready),
        });
        ready?.unwrap_or(0)
    };
    for (place, revents) in fds.iter().zip(answers) {
        place.write(libc::pollfd { revents, ..place.read() });
    }
    Ok(ready as c_int)
}

/// # Safety
///
/// The pointer is null, or has `count` entries that nobody else uses.
unsafe fn places<'a>(
    fds: *mut libc::pollfd,
    count: libc::nfds_t,
) -> Result<Vec<Place<'a, libc::pollfd>>, Errno> {
    if count > MAX {
        return Err(Errno::EINVAL);
    }
    // SAFETY: passed on.
    (0..count as usize).map(|index| unsafe { Place::new(fds.wrapping_add(index)) }).collect()
}

/// Waits until one of several sockets of a host is ready, as poll(2): at most `timeout` milliseconds, for ever if that is
/// negative. Of one that is closed meanwhile it says POLLNVAL. The kernel's descriptors are none here.
///
/// Returns how many are ready, 0 when the time is over. -1 with EFAULT, or EINVAL for more than 1,048,576 descriptors.
///
/// # Safety
///
/// `host` is null, or was not given back; `fds` is null, or has `count` entries that nobody else uses meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sockeye_poll(
    host: *const Host,
    fds: *mut libc::pollfd,
    count: libc::nfds_t,
    timeout: c_int,
) -> c_int {
    // SAFETY: passed on.
    let (host, fds) = unsafe { (sys::handle(host), places(fds, count)) };
    answer(|| poll(&*host?, &fds?, u64::try_from(timeout).ok().map(Duration::from_millis)))
}
