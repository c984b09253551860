//! Waiting for several sockets, and descriptors of the kernel beside them: poll.

use crate::answer::answer;
use crate::host::Host;
use crate::sys::{self, Place};
use crate::table::{Entry, FIRST};
use sockeye::poller::Interest;
use sockeye_posix::Errno;
use sockeye_posix::berkeley::poll_bits;
use std::ffi::{c_int, c_short};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Descriptors of one call, beyond which the kernel says EINVAL (`RLIMIT_NOFILE`, unless stated otherwise).
const MAX: u64 = 1 << 20;

/// One descriptor of a call.
struct Asked {
    /// None for a descriptor that is none.
    entry: Option<Arc<Entry>>,
    /// Negative ones are read over.
    is_there: bool,
    /// The kernel says what it is ready for.
    is_kernels: bool,
    events: c_short,
}

impl Asked {
    fn of(host: &Host, fd: libc::pollfd) -> Asked {
        // What time it is in a virtual network means nothing to the kernel.
        let is_kernels = (0..FIRST).contains(&fd.fd) && !host.is_virtual();
        Asked { entry: host.entry(fd.fd).ok(), is_there: fd.fd >= 0, is_kernels, events: fd.events }
    }

    fn watched(&self) -> Option<(Arc<Entry>, Interest)> {
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
        Some((self.entry.clone()?, interest))
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
            _ if self.is_there && !self.is_kernels => libc::POLLNVAL,
            _ => 0,
        }
    }
}

/// The descriptors of one call, and what is known of them.
struct Call<'a> {
    host: &'a Host,
    asked: Vec<Asked>,
    answers: Vec<c_short>,
}

impl Call<'_> {
    /// Looks at the sockets; how many are ready.
    fn look(&mut self, stack: &sockeye_stack::Stack) -> Poll<usize> {
        for (answer, asked) in self.answers.iter_mut().zip(&self.asked) {
            *answer = asked.answer(stack);
        }
        match self.answers.iter().filter(|answer| **answer != 0).count() {
            0 => Poll::Pending,
            ready => Poll::Ready(ready),
        }
    }

    fn look_once(&mut self) -> usize {
        let host = self.host;
        match host.with_stack(|stack, _| self.look(stack)) {
            Poll::Ready(ready) => ready,
            Poll::Pending => 0,
        }
    }

    /// Waits for sockets.
    fn wait(&mut self, limit: Option<Duration>) -> Result<usize, Errno> {
        if limit == Some(Duration::ZERO) {
            return Ok(self.look_once());
        }
        let (host, entries) = (self.host, self.entries());
        let watched: Vec<_> = entries.iter().map(|(entry, interest)| (&entry.socket, *interest)).collect();
        let ready = host.wait(&watched, &host.deadline(limit), |stack, _| self.look(stack));
        Ok(ready?.unwrap_or(0))
    }

    /// Waits for sockets and descriptors of the kernel.
    fn wait_with_kernel(
        &mut self,
        fds: &[Place<'_, libc::pollfd>],
        limit: Option<Duration>,
    ) -> Result<usize, Errno> {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let asked = fds.iter().zip(&self.asked).map(|(place, asked)| {
            let fd = if asked.is_kernels { place.read().fd } else { -1 };
            libc::pollfd { fd, events: asked.events, revents: 0 }
        });
        let mut kernels: Vec<_> = asked.collect();
        let mut ready = self.look_once() + sys::poll_kernel(&mut kernels, 0)?;
        if ready == 0 && limit != Some(Duration::ZERO) {
            let (bell, fd) = Bell::new().map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno))?;
            kernels.push(libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
            ready = self.wait_at(&bell, &mut kernels, deadline)?;
        }
        for ((answer, asked), kernels) in self.answers.iter_mut().zip(&self.asked).zip(kernels) {
            if asked.is_kernels {
                *answer = kernels.revents;
            }
        }
        Ok(ready)
    }

    /// Waits in the kernel's `poll`, the last of whose descriptors is that of a bell which the sockets ring.
    fn wait_at(
        &mut self,
        bell: &Arc<Bell>,
        kernels: &mut [libc::pollfd],
        deadline: Option<Instant>,
    ) -> Result<usize, Errno> {
        let (host, entries, waker) = (self.host, self.entries(), Waker::from(Arc::clone(bell)));
        let watched: Vec<_> = entries.iter().map(|(entry, interest)| (&entry.socket, *interest)).collect();
        let result = loop {
            let own = match host.poll_for(&watched, &waker, |stack, _| self.look(stack)) {
                Poll::Ready(ready) => ready,
                Poll::Pending => 0,
            };
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let timeout = if own > 0 { 0 } else { left.map_or(-1, milliseconds) };
            let mut theirs = match sys::poll_kernel(kernels, timeout) {
                Ok(theirs) => theirs,
                Err(errno) => break Err(errno),
            };
            if kernels.last().is_some_and(|bell| bell.revents != 0) {
                theirs -= 1;
                bell.hear();
            }
            if own + theirs > 0 || left == Some(Duration::ZERO) {
                break Ok(own + theirs);
            }
        };
        host.stop_polling(&watched, &waker);
        result
    }

    /// What is watched, and for what.
    fn entries(&self) -> Vec<(Arc<Entry>, Interest)> {
        self.asked.iter().filter_map(Asked::watched).collect()
    }
}

/// As long at least: who waits too short would ask again at once.
fn milliseconds(time: Duration) -> c_int {
    time.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(c_int::MAX)
}

/// What wakes a thread that waits in the kernel: a pipe with a byte in it.
struct Bell {
    reader: PipeReader,
    writer: PipeWriter,
    has_rung: AtomicBool,
}

impl Bell {
    /// A bell, and the descriptor that is readable when it has rung.
    fn new() -> io::Result<(Arc<Bell>, c_int)> {
        let (reader, writer) = io::pipe()?;
        let fd = reader.as_raw_fd();
        Ok((Arc::new(Bell { reader, writer, has_rung: AtomicBool::new(false) }), fd))
    }

    /// Takes the byte. If it rings meanwhile there is another one: nothing is missed.
    fn hear(&self) {
        self.has_rung.store(false, Ordering::SeqCst);
        let _ = (&self.reader).read(&mut [0]);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.has_rung.swap(true, Ordering::SeqCst) {
            // There is room for a byte: at most one is there.
            let _ = (&self.writer).write(&[1]);
        }
    }
}

/// Says which descriptors are ready; none when the time is over.
fn poll(host: &Host, fds: &[Place<'_, libc::pollfd>], limit: Option<Duration>) -> Result<c_int, Errno> {
    let asked: Vec<_> = fds.iter().map(|place| Asked::of(host, place.read())).collect();
    let mut call = Call { host, asked, answers: vec![0; fds.len()] };
    let ready = if call.asked.iter().any(|asked| asked.is_kernels) {
        call.wait_with_kernel(fds, limit)?
    } else {
        call.wait(limit)?
    };
    for (place, revents) in fds.iter().zip(call.answers) {
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
/// negative. Of one that is closed meanwhile it says POLLNVAL. Descriptors of the kernel may stand among them, for a
/// program that waits for both, unless time is virtual; then a signal may end the wait (EINTR).
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
