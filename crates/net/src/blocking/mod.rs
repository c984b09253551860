//! Sockets for threads: what `std::net` has, over the stack.
//!
//! Blocking is the asynchronous way of waiting plus a parked thread: the waker of a thread ends its
//! sleep. Before it sleeps, the thread watches for a little while whether that is needed at all: who reads from a
//! socket that was empty at the last look does so before it makes its call, without any lock, and who finds out by
//! its call does so after that. Who has just had to wake another thread knows that the answer will take longer.

pub(crate) mod listener;
pub(crate) mod stream;
pub(crate) mod udp;

use crate::Host;
use crate::driver::{Attendance, check_may_wait};
use crate::socket::Socket;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use crate::sync::thread::{self, Thread};
use crate::sync::{Instant, LOOKS};
use crate::waiters::Waiter;
use std::io;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

/// For how many nanoseconds a thread may watch for nothing in each wait, on average.
const SPIN: u64 = 2_000;
/// What it can save up, for one wait. So two that ask and answer in turns find out when they could stay awake.
const MOST_SPIN: u64 = 8 * SPIN;

/// A thread that waits for a socket.
#[derive(Debug)]
struct Parker {
    thread: Thread,
    state: AtomicU8,
    /// For how many nanoseconds it may watch for nothing; only the thread itself keeps account.
    allowance: AtomicU64,
    /// It has woken a thread that slept since it last waited itself.
    has_woken: AtomicBool,
}

/// The thread runs.
const RUNNING: u8 = 0;
/// The thread sleeps, or is about to.
const PARKED: u8 = 1;
/// The thread was woken since it last looked.
const NOTIFIED: u8 = 2;

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Only who sleeps costs a system call.
        if self.state.swap(NOTIFIED, Ordering::AcqRel) == PARKED {
            let _ = PARKER.try_with(|(own, _)| own.has_woken.store(true, Ordering::Relaxed));
            self.thread.unpark();
        }
    }
}

impl Parker {
    /// Watches for a little while whether the wait `is_over`.
    fn watch(&self, host: Option<&Host>, is_over: impl Fn() -> bool) {
        let mut allowance = (self.allowance.load(Ordering::Relaxed) + SPIN).min(MOST_SPIN);
        if !self.has_woken.swap(false, Ordering::Relaxed) || allowance == MOST_SPIN {
            allowance = if spin(host, allowance, is_over) { allowance } else { 0 };
        }
        self.allowance.store(allowance, Ordering::Relaxed);
    }

    /// Sleeps until woken or the deadline; false for the latter.
    fn park(&self, deadline: Option<Instant>) -> bool {
        if self.state.compare_exchange(RUNNING, PARKED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            while self.state.load(Ordering::Acquire) == PARKED {
                match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                    None => thread::park(),
                    Some(Duration::ZERO) => break,
                    Some(time) => thread::park_timeout(time),
                }
            }
        }
        self.state.swap(RUNNING, Ordering::AcqRel) == NOTIFIED
    }
}

/// Looks after the host until the wait `is_over`, or for so many nanoseconds; whether it was the former.
fn spin(host: Option<&Host>, limit: u64, is_over: impl Fn() -> bool) -> bool {
    let mut attendance = host.map(|host| host.shared.core.attend(&host.core));
    let started = Instant::now();
    loop {
        for _ in 0..LOOKS {
            if is_over() {
                return true;
            }
            attendance.iter_mut().for_each(Attendance::look);
            std::hint::spin_loop();
        }
        if started.elapsed() >= Duration::from_nanos(limit) {
            return false;
        }
    }
}

crate::sync::thread_local! {
    static PARKER: (Arc<Parker>, Waker) = new_parker();
}

fn new_parker() -> (Arc<Parker>, Waker) {
    let parker = Arc::new(Parker {
        thread: thread::current(),
        state: AtomicU8::new(RUNNING),
        allowance: AtomicU64::new(0),
        has_woken: AtomicBool::new(false),
    });
    (Arc::clone(&parker), Waker::from(parker))
}

/// Makes a call on a socket, and waits for its result until `deadline`; then it fails with `timed_out`. While `is_idle`
/// the call would find nothing. On the thread that would have to turn the socket's simulation meanwhile, it fails at
/// once if it would have to wait.
fn block_on<R>(
    socket: &Socket,
    deadline: Option<Instant>,
    timed_out: io::ErrorKind,
    is_idle: impl Fn() -> bool,
    mut poll: impl FnMut(Option<Waiter<'_>>) -> Poll<io::Result<R>>,
) -> io::Result<R> {
    let (host, _) = socket.place();
    match check_may_wait(host.shared.core.simulator()) {
        Ok(()) => park_until(Some(host), deadline, timed_out, is_idle, poll),
        // Nobody is to be woken.
        Err(refusal) => match poll(Some(Waiter::thread(Waker::noop()).leaving())) {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Err(refusal),
            Poll::Ready(result) => result,
            Poll::Pending => Err(refusal),
        },
    }
}

/// Polls until there is a result, at first when it isn't known to be for nothing, as it is while `is_idle`. Sleeps in
/// between, at most until `deadline`, and then fails with `timed_out`. While it is about to sleep the thread looks after
/// `host`.
pub(crate) fn park_until<R>(
    host: Option<&Host>,
    deadline: Option<Instant>,
    timed_out: io::ErrorKind,
    is_idle: impl Fn() -> bool,
    mut poll: impl FnMut(Option<Waiter<'_>>) -> Poll<io::Result<R>>,
) -> io::Result<R> {
    let parker = PARKER.try_with(|(parker, waker)| (Arc::clone(parker), waker.clone()));
    // A socket may be used when the thread's own memory is gone already.
    let (parker, waker) = parker.unwrap_or_else(|_| new_parker());
    let mut has_watched = is_idle();
    if has_watched {
        parker.watch(host, || !is_idle());
    }
    let mut waiter = Waiter::thread(&waker).beginning();
    loop {
        if let Poll::Ready(result) = poll(Some(waiter)) {
            return result;
        }
        waiter = Waiter::thread(&waker);
        if !std::mem::take(&mut has_watched) {
            parker.watch(host, || parker.state.load(Ordering::Acquire) == NOTIFIED);
        }
        if parker.park(deadline) {
            continue;
        }
        // What came with the deadline still counts.
        return match poll(Some(waiter.leaving())) {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Err(timed_out.into()),
            Poll::Ready(result) => result,
            Poll::Pending => Err(timed_out.into()),
        };
    }
}

/// The result of a call that is made without a waker, and so never waits.
fn now<R>(poll: Poll<io::Result<R>>) -> io::Result<R> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// How the clones of a socket wait.
#[derive(Debug)]
struct Waiting {
    nonblocking: AtomicBool,
    read_timeout: Timeout,
    write_timeout: Timeout,
}

/// A time in nanoseconds; 0 for no limit.
#[derive(Debug, Default)]
struct Timeout(AtomicU64);

impl Timeout {
    /// As std has it, a timeout of zero is refused.
    fn set(&self, timeout: Option<Duration>) -> io::Result<()> {
        let nanos = match timeout {
            None => 0,
            Some(Duration::ZERO) => return Err(io::ErrorKind::InvalidInput.into()),
            Some(timeout) => u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX),
        };
        self.0.store(nanos, Ordering::Relaxed);
        Ok(())
    }

    fn get(&self) -> Option<Duration> {
        Some(Duration::from_nanos(self.0.load(Ordering::Relaxed))).filter(|timeout| !timeout.is_zero())
    }
}

impl Waiting {
    fn new() -> Arc<Waiting> {
        Arc::new(Waiting {
            nonblocking: AtomicBool::new(false),
            read_timeout: Timeout::default(),
            write_timeout: Timeout::default(),
        })
    }

    fn set_nonblocking(&self, nonblocking: bool) {
        self.nonblocking.store(nonblocking, Ordering::Relaxed);
    }

    fn is_nonblocking(&self) -> bool {
        self.nonblocking.load(Ordering::Relaxed)
    }

    /// Makes a call in the way the socket is set to.
    fn wait<R>(
        &self,
        socket: &Socket,
        timeout: &Timeout,
        is_idle: impl Fn() -> bool,
        mut poll: impl FnMut(Option<Waiter<'_>>) -> Poll<io::Result<R>>,
    ) -> io::Result<R> {
        if self.is_nonblocking() {
            return now(poll(None));
        }
        let deadline = timeout.get().and_then(|timeout| Instant::now().checked_add(timeout));
        block_on(socket, deadline, io::ErrorKind::WouldBlock, is_idle, poll)
    }

    fn read<R>(
        &self,
        socket: &Socket,
        poll: impl FnMut(Option<Waiter<'_>>) -> Poll<io::Result<R>>,
    ) -> io::Result<R> {
        self.wait(socket, &self.read_timeout, || socket.is_drained(), poll)
    }

    fn write<R>(
        &self,
        socket: &Socket,
        poll: impl FnMut(Option<Waiter<'_>>) -> Poll<io::Result<R>>,
    ) -> io::Result<R> {
        self.wait(socket, &self.write_timeout, || false, poll)
    }
}

#[cfg(all(test, not(sockeye_model)))]
mod tests {
    use super::*;
    use crate::{HostConfig, Network};
    use std::cell::Cell;

    #[test]
    fn a_wake_before_the_sleep_is_not_lost() {
        let mut polls = 0;
        let result = park_until(
            None,
            None,
            io::ErrorKind::TimedOut,
            || false,
            |waker| {
                polls += 1;
                if polls == 3 {
                    return Poll::Ready(Ok(polls));
                }
                waker.unwrap().waker().wake_by_ref();
                Poll::Pending
            },
        );
        assert_eq!(result.unwrap(), 3);
    }

    #[test]
    fn another_thread_ends_the_sleep() {
        let (sender, receiver) = std::sync::mpsc::channel::<Waker>();
        let done = Arc::new(AtomicBool::new(false));
        let waking = thread::spawn({
            let done = Arc::clone(&done);
            move || {
                let waker = receiver.recv().unwrap();
                done.store(true, Ordering::SeqCst);
                waker.wake();
            }
        });
        let result = park_until(
            None,
            None,
            io::ErrorKind::TimedOut,
            || false,
            |waker| {
                if done.load(Ordering::SeqCst) {
                    return Poll::Ready(Ok(()));
                }
                // The other thread may have ended between the look and this.
                let _ = sender.send(waker.unwrap().waker().clone());
                Poll::Pending
            },
        );
        assert!(result.is_ok());
        waking.join().unwrap();
    }

    #[test]
    fn the_deadline_ends_the_sleep_and_asks_once_more() {
        let deadline = Some(Instant::now());
        let late = park_until(
            None,
            deadline,
            io::ErrorKind::TimedOut,
            || false,
            |waiter| match waiter {
                Some(waiter) if waiter.stays() => Poll::Pending,
                _ => Poll::Ready(Ok(())),
            },
        );
        assert!(late.is_ok());
        let never = park_until::<()>(None, deadline, io::ErrorKind::TimedOut, || false, |_| Poll::Pending);
        assert_eq!(never.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn watching_for_nothing_is_limited() {
        let looks = Cell::new(0);
        let watch = |parker: &Parker, is_over: bool| {
            looks.set(0);
            parker.watch(None, || {
                looks.set(looks.get() + 1);
                is_over
            });
            (looks.get() > 0, parker.allowance.load(Ordering::Relaxed))
        };
        let (parker, _) = new_parker();
        assert_eq!(watch(&parker, false), (true, 0));
        assert_eq!(watch(&parker, true), (true, SPIN), "what was worth it costs nothing");
        for wait in 2..MOST_SPIN / SPIN {
            parker.has_woken.store(true, Ordering::Relaxed);
            assert_eq!(watch(&parker, false), (false, wait * SPIN), "who sleeps doesn't answer soon");
        }
        parker.has_woken.store(true, Ordering::Relaxed);
        assert_eq!(watch(&parker, true), (true, MOST_SPIN), "but now and then that is tried");
        assert_eq!(watch(&parker, false), (true, 0));
    }

    #[test]
    fn a_socket_is_drained_until_something_comes() {
        let network = Network::builder().host("web", HostConfig::default()).build().unwrap();
        let web = network.host("web").unwrap();
        let socket = web.udp_bind((web.ipv4(), 9)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let send = || socket.send_to(b"?", (web.ipv4(), 9)).unwrap();
        let receive = || socket.recv(&mut [0; 8]).map_err(|error| error.kind());
        let is_drained = || socket.socket().is_drained();
        assert!(!is_drained(), "nobody has looked yet");
        assert_eq!(receive(), Err(io::ErrorKind::WouldBlock));
        assert!(is_drained());
        send();
        send();
        assert!(!is_drained());
        assert_eq!((receive(), is_drained()), (Ok(1), false), "there is one more");
        assert_eq!((receive(), is_drained()), (Ok(1), true));
    }

    #[test]
    fn who_has_waited_long_enough_leaves_no_waker() {
        let network = Network::builder().host("web", HostConfig::default()).build().unwrap();
        let web = network.host("web").unwrap();
        let socket = web.udp_bind((web.ipv4(), 9)).unwrap();
        socket.set_read_timeout(Some(Duration::from_micros(10))).unwrap();
        assert_eq!(socket.recv(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(web.core.lock().waiters.wakers(), 0);
    }
}
