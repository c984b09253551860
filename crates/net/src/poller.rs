//! Readiness of many sockets, for a thread that serves them all: what epoll(7) is to the kernel's sockets.
//!
//! ```
//! use sockeye::poller::{Events, Interest, Mode, Poller};
//! use sockeye::{HostConfig, Network};
//!
//! let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
//! let (web, me) = (network.host("web")?, network.host("me")?);
//! let (questions, news) = (web.udp_bind((web.ipv4(), 53))?, web.udp_bind((web.ipv4(), 119))?);
//!
//! let poller = Poller::new();
//! poller.add(&questions, 0, Interest::READABLE, Mode::Level)?;
//! poller.add(&news, 1, Interest::READABLE, Mode::Level)?;
//! me.udp_bind((me.ipv4(), 0))?.send_to(b"where is ftp?", (web.ipv4(), 53))?;
//!
//! let mut events = Events::new();
//! assert_eq!(poller.wait(&mut events, None)?, 1);
//! assert!(events.iter().all(|event| event.key == 0 && event.is_readable()));
//! let mut question = [0; 64];
//! assert_eq!(questions.recv(&mut question)?, 13);
//! # Ok::<(), std::io::Error>(())
//! ```

mod event;
#[cfg(all(feature = "local", target_os = "linux"))]
mod outside;
#[cfg(not(all(feature = "local", target_os = "linux")))]
#[path = "poller/no_outside.rs"]
mod outside;
#[cfg(unix)]
mod signal;
mod source;

pub use event::{Event, Interest, Mode};
pub use source::Source;

use crate::driver::{check_may_wait, wake_all};
use crate::host::{Host, HostCore};
use crate::sync::{Condvar, Instant, Mutex, MutexGuard, ThreadId};
use event::HANGUP;
use sockeye_stack::{Readiness, SocketId, Stack};
use source::sealed::Place;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::task::{Wake, Waker};
use std::time::Duration;

/// Watches that wait in the queue before those that are over are looked for.
const FEW: usize = 64;

/// Memory for the events of one [`Poller::wait`].
///
/// ```
/// use sockeye::poller::{Events, Interest, Mode, Poller};
/// use sockeye::{HostConfig, Network};
///
/// let network = Network::builder().host("web", HostConfig::default()).build()?;
/// let web = network.host("web")?;
/// let poller = Poller::new();
/// let sockets = (0..3).map(|_| web.udp_bind("web:0")).collect::<Result<Vec<_>, _>>()?;
/// for (key, socket) in sockets.iter().enumerate() {
///     poller.add(socket, key, Interest::WRITABLE, Mode::Oneshot)?;
/// }
/// let mut events = Events::with_capacity(2); // What doesn't fit is told by the next wait.
/// let mut keys = Vec::new();
/// while keys.len() < sockets.len() {
///     poller.wait(&mut events, None)?;
///     assert!((1..=2).contains(&events.len()));
///     keys.extend(events.iter().map(|event| event.key));
/// }
/// keys.sort_unstable();
/// assert_eq!(keys, [0, 1, 2]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Events {
    list: Vec<Event>,
    capacity: usize,
    /// The watches of one wait.
    taken: Vec<Arc<Watch>>,
}

impl Events {
    /// Room for 1,024 events.
    pub fn new() -> Events {
        Events::with_capacity(1024)
    }

    /// Room for so many events, at least one. What doesn't fit is told by the next wait.
    pub fn with_capacity(capacity: usize) -> Events {
        Events { list: Vec::new(), capacity: capacity.max(1), taken: Vec::new() }
    }

    /// The events of the last wait.
    pub fn iter(&self) -> std::slice::Iter<'_, Event> {
        self.list.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl Default for Events {
    fn default() -> Events {
        Events::new()
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = &'a Event;
    type IntoIter = std::slice::Iter<'a, Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Watches sockets, of any hosts and networks, and says which are ready: what epoll(7) is to the kernel's.
///
/// A socket is watched from [`Poller::add`] to [`Poller::delete`], or until its last handle is dropped. All
/// handles that `try_clone` gives are one socket. What a wait costs depends on how many sockets are ready,
/// not on how many are watched. Threads may share a poller; each event goes to one of them.
///
/// Local sockets (feature `local`) are watched beside those of hosts, whether they are carried by shared memory or by
/// the kernel:
///
/// ```
/// # #[cfg(all(feature = "local", target_os = "linux"))]
/// # fn main() -> std::io::Result<()> {
/// use sockeye::local::LocalStream;
/// use sockeye::poller::{Events, Interest, Mode, Poller};
/// use sockeye::{HostConfig, Network};
/// use std::io::Write;
///
/// let network = Network::builder().host("web", HostConfig::default()).build()?;
/// let web = network.host("web")?;
/// let listener = web.tcp_listen("web:80")?;
/// let (mut worker, ours) = LocalStream::pair()?;
/// let (poller, mut events) = (Poller::new(), Events::new());
/// poller.add(&listener, 0, Interest::READABLE, Mode::Level)?;
/// poller.add(&ours, 1, Interest::READABLE, Mode::Level)?;
///
/// let working = std::thread::spawn(move || worker.write_all(b"done"));
/// assert_eq!(poller.wait(&mut events, None)?, 1);
/// assert_eq!(events.iter().next().unwrap().key, 1);
/// let _client = web.tcp_connect("web:80")?;
/// poller.wait(&mut events, None)?;
/// assert!(events.iter().any(|event| event.key == 0));
/// # working.join().unwrap()
/// # }
/// # #[cfg(not(all(feature = "local", target_os = "linux")))]
/// # fn main() {}
/// ```
///
/// Of a network that is [turned by hand](crate::Network::turn), events come with the turns: a thread that both
/// turns and waits does so with a timeout of zero.
///
/// ```
/// use sockeye::poller::{Events, Interest, Mode, Poller};
/// use sockeye::{HostConfig, Network};
/// use std::time::Duration;
///
/// let network = Network::builder().host("web", HostConfig::default()).build()?;
/// let web = network.host("web")?;
/// let (poller, mut events) = (Poller::new(), Events::new());
/// let listener = web.tcp_listen("web:80")?;
/// poller.add(&listener, 80, Interest::READABLE, Mode::Edge)?;
/// assert_eq!(poller.wait(&mut events, Some(Duration::ZERO))?, 0);
/// let client = web.tcp_connect("web:80")?;
/// poller.wait(&mut events, None)?;
/// assert_eq!(events.iter().next().unwrap().key, 80);
/// # drop(client);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Poller {
    shared: Arc<Shared>,
}

/// What a poller shares with what it watches.
#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Ends the sleep of a thread that waits.
    awake: Condvar,
    /// Sockets that are the kernel's to wait for.
    outside: outside::Outside,
    #[cfg(unix)]
    signal: signal::Signal,
}

/// What there is to tell. No other lock is taken while this one is held.
#[derive(Debug, Default)]
struct Queue {
    /// Watches whose sockets may be ready, each once.
    ready: VecDeque<Arc<Watch>>,
    /// With this many, those that are over are dropped.
    full: usize,
    /// A wait is to end without an event.
    notified: bool,
    /// Threads that sleep until they are told.
    sleepers: usize,
    /// A thread waits for the kernel, or looks at what it has to say, instead of sleeping.
    has_leader: bool,
    /// It was told to come back.
    is_leader_told: bool,
    /// The thread that turns the simulation of which it watches sockets.
    simulator: Option<ThreadId>,
    /// The descriptor says that there is something to tell.
    #[cfg(unix)]
    is_signalled: bool,
}

/// One socket under watch: what its events wake.
#[derive(Debug)]
pub(crate) struct Watch {
    poller: Weak<Shared>,
    subject: Subject,
    /// It is in the poller's queue, whose lock guards this.
    queued: AtomicBool,
    /// The socket is gone or watched no longer.
    is_over: AtomicBool,
}

/// What is watched.
#[derive(Debug)]
enum Subject {
    Stack(Weak<HostCore>, SocketId),
    #[cfg_attr(
        not(all(feature = "local", target_os = "linux")),
        expect(dead_code, reason = "there is nothing outside then")
    )]
    Outside(outside::Subject),
}

/// How a socket of a host is watched: kept with the socket's waiters, under its host's lock.
#[derive(Debug)]
pub(crate) struct Watched {
    watch: Arc<Watch>,
    key: usize,
    interest: Interest,
    mode: Mode,
    /// A one-shot watch that has been told of waits for `modify`.
    is_spent: bool,
}

impl Watched {
    /// What a socket is ready for whose stack is gone, as its host crashed: every call returns at once.
    pub(crate) const GONE: Readiness =
        HANGUP.union(Readiness::ERROR).union(Readiness::READABLE).union(Readiness::WRITABLE);

    /// What of `readiness` is to be told.
    fn concerns(&self, readiness: Readiness) -> Readiness {
        if self.is_spent {
            return Readiness::EMPTY;
        }
        let mut always = Readiness::ERROR;
        if readiness.contains(HANGUP) {
            always = always.union(HANGUP);
        }
        readiness.difference(readiness.difference(self.interest.0.union(always)))
    }

    /// The waker to call after an event that left the socket with this readiness.
    pub(crate) fn on_event(&self, readiness: Readiness) -> Option<Waker> {
        (!self.concerns(readiness).is_empty()).then(|| Waker::from(Arc::clone(&self.watch)))
    }

    /// Whether there is somebody to tell.
    pub(crate) fn has_poller(&self) -> bool {
        self.watch.poller.strong_count() > 0
    }

    fn is_of(&self, poller: &Arc<Shared>) -> bool {
        std::ptr::eq(self.watch.poller.as_ptr(), Arc::as_ptr(poller))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watch.is_over.store(true, Ordering::Relaxed);
    }
}

impl Wake for Watch {
    fn wake(self: Arc<Self>) {
        if let Some(poller) = self.poller.upgrade() {
            let mut queue = poller.lock();
            queue.push(self);
            poller.tell(queue);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets who waits know whether there is something to tell.
    fn tell(&self, mut queue: MutexGuard<'_, Queue>) {
        #[cfg(unix)]
        self.signal.follow(&mut queue);
        let has_news = queue.has_news();
        if has_news && queue.has_leader && !queue.is_leader_told {
            queue.is_leader_told = true;
            self.outside.call_back();
        }
        let is_to_lead = self.outside.is_used() && !queue.has_leader;
        if queue.sleepers > 0 && (has_news || is_to_lead) {
            drop(queue);
            self.awake.notify_one();
        }
    }

    /// Waits for the kernel until there is something, or the time is over, if sockets of its are watched and no other thread
    /// does; puts in the queue what it has to say.
    fn lead<'a>(
        &'a self,
        mut queue: MutexGuard<'a, Queue>,
        limit: Option<Duration>,
    ) -> MutexGuard<'a, Queue> {
        if !self.outside.is_used() || queue.has_leader {
            return queue;
        }
        queue.has_leader = true;
        drop(queue);
        let watches = self.outside.wait(limit);
        let mut queue = self.lock();
        (queue.has_leader, queue.is_leader_told) = (false, false);
        for watch in watches {
            queue.push(watch);
        }
        queue
    }
}

impl Queue {
    fn push(&mut self, watch: Arc<Watch>) {
        if watch.queued.swap(true, Ordering::Relaxed) {
            return;
        }
        if self.ready.len() >= self.full.max(FEW) {
            // They were in the queue when they ended, and perhaps nobody waits.
            self.ready.retain(|watch| !watch.is_over.load(Ordering::Relaxed));
            self.full = self.ready.len() * 2;
        }
        self.ready.push_back(watch);
    }

    fn has_news(&self) -> bool {
        self.notified || !self.ready.is_empty()
    }
}

impl Poller {
    /// A poller that watches nothing yet.
    pub fn new() -> Poller {
        Poller::default()
    }

    /// Watches a socket; its events will carry `key`. What it is ready for already is told too. A socket that
    /// this poller watches already is [`io::ErrorKind::AlreadyExists`].
    pub fn add(&self, socket: &impl Source, key: usize, interest: Interest, mode: Mode) -> io::Result<()> {
        let (host, id) = match socket.place() {
            Place::Stack(host, id) => (host, id),
            Place::Outside(socket) => return self.add_outside(&socket, key, interest, mode),
        };
        let watch = self.watch(Subject::Stack(Arc::downgrade(&host.core), id));
        let watched = Watched { watch, key, interest, mode, is_spent: false };
        self.change(host, id, |list| {
            if list.iter().any(|other| other.is_of(&self.shared)) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            // Those of pollers that are gone.
            list.retain(Watched::has_poller);
            list.push(watched);
            Ok(())
        })?;
        if let Some(simulator) = host.shared.core.simulator() {
            self.shared.lock().simulator = Some(simulator);
        }
        Ok(())
    }

    fn watch(&self, subject: Subject) -> Arc<Watch> {
        let poller = Arc::downgrade(&self.shared);
        Arc::new(Watch { poller, subject, queued: AtomicBool::new(false), is_over: AtomicBool::new(false) })
    }

    /// Watches a socket for something else from now on, or arms a one-shot watch again. What it is ready
    /// for already is told too. A socket that isn't watched is [`io::ErrorKind::NotFound`].
    pub fn modify(&self, socket: &impl Source, key: usize, interest: Interest, mode: Mode) -> io::Result<()> {
        let (host, id) = match socket.place() {
            Place::Stack(host, id) => (host, id),
            Place::Outside(socket) => return self.modify_outside(&socket, key, interest, mode),
        };
        self.change(host, id, |list| {
            let watched = list.iter_mut().find(|watched| watched.is_of(&self.shared));
            let watched = watched.ok_or(io::ErrorKind::NotFound)?;
            (watched.key, watched.interest, watched.mode) = (key, interest, mode);
            watched.is_spent = false;
            Ok(())
        })
    }

    /// Watches a socket no longer. One that isn't watched is [`io::ErrorKind::NotFound`].
    pub fn delete(&self, socket: &impl Source) -> io::Result<()> {
        let (host, id) = match socket.place() {
            Place::Stack(host, id) => (host, id),
            Place::Outside(socket) => return self.delete_outside(&socket),
        };
        self.change(host, id, |list| {
            let place = list.iter().position(|watched| watched.is_of(&self.shared));
            list.swap_remove(place.ok_or(io::ErrorKind::NotFound)?);
            Ok(())
        })
    }

    /// Changes who watches a socket, and puts this poller's watch in the queue if the socket is ready.
    fn change(
        &self,
        host: &Host,
        id: SocketId,
        change: impl FnOnce(&mut Vec<Watched>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut wakers = Vec::new();
        let mut state = host.core.lock();
        // Events of before are not told to who comes now: what they left is looked at below.
        state.collect_events(host.shared.core.clock.is_manual(), &mut wakers);
        let readiness = readiness(&state.stack, id);
        let list = state.waiters.watches(id).ok_or(io::ErrorKind::NotFound)?;
        let result = change(list);
        let this = list.iter().find(|watched| result.is_ok() && watched.is_of(&self.shared));
        wakers.extend(this.and_then(|watched| watched.on_event(readiness)));
        drop(state);
        wake_all(wakers);
        result
    }

    /// Waits until a watched socket is ready, [`Poller::notify`] is called, or `timeout` is over, and puts in
    /// `events`, instead of what it held, which sockets are ready. Without a timeout it waits for ever.
    /// Returns how many events there are.
    ///
    /// A poller that watches sockets of a [simulation](crate::Simulation) never waits on the simulation's own thread,
    /// where nothing would happen meanwhile: it fails with [`Unsupported`](io::ErrorKind::Unsupported) if there is
    /// nothing to tell, unless `timeout` is zero.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<usize> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        events.list.clear();
        loop {
            let Some(notified) = self.take(events, deadline)? else { return Ok(0) };
            let Events { list, capacity: _, taken } = events;
            // What is still ready under level triggering goes back to the end of the queue, as in epoll: so each has
            // its turn when there is more than fits.
            taken.retain(|watch| watch.report(list));
            let mut queue = self.shared.lock();
            taken.drain(..).for_each(|watch| queue.push(watch));
            self.shared.tell(queue);
            if notified || !list.is_empty() {
                return Ok(list.len());
            }
        }
    }

    /// Takes from the queue what fits in `events`, once there is something; returns whether that is a
    /// notification. None when the time is over.
    fn take(&self, events: &mut Events, deadline: Option<Instant>) -> io::Result<Option<bool>> {
        // So that the kernel's sockets have their turn, also if there is always something else.
        let mut queue = self.shared.lead(self.shared.lock(), Some(Duration::ZERO));
        while !queue.has_news() {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                // Another thread may have to wait for the kernel from now on.
                self.shared.tell(queue);
                return Ok(None);
            }
            if let Err(error) = check_may_wait(queue.simulator) {
                self.shared.tell(queue);
                return Err(error);
            }
            if self.shared.outside.is_used() && !queue.has_leader {
                queue = self.shared.lead(queue, left);
                continue;
            }
            queue.sleepers += 1;
            queue = match left {
                None => self.shared.awake.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    let woken = self.shared.awake.wait_timeout(queue, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            queue.sleepers -= 1;
        }
        let count = queue.ready.len().min(events.capacity);
        events.taken.extend(queue.ready.drain(..count));
        events.taken.iter().for_each(|watch| watch.queued.store(false, Ordering::Relaxed));
        Ok(Some(std::mem::take(&mut queue.notified)))
    }

    /// Ends one [`Poller::wait`], now or the next, also when there is no event.
    pub fn notify(&self) {
        let mut queue = self.shared.lock();
        queue.notified = true;
        self.shared.tell(queue);
    }
}

impl Watch {
    /// Tells what the socket is ready for now, if it is; true when it is to be looked at again by the next wait.
    fn report(&self, events: &mut Vec<Event>) -> bool {
        let (host, socket) = match &self.subject {
            Subject::Stack(host, socket) => (host.upgrade(), *socket),
            Subject::Outside(subject) => return subject.report(self, events),
        };
        let Some(host) = host else { return false };
        let mut state = host.lock();
        let readiness = readiness(&state.stack, socket);
        let list = state.waiters.watches(socket);
        let mut watches = list.into_iter().flatten();
        let Some(watched) = watches.find(|watched| std::ptr::eq(Arc::as_ptr(&watched.watch), self)) else {
            return false;
        };
        let readiness = watched.concerns(readiness);
        if readiness.is_empty() {
            return false;
        }
        events.push(Event { key: watched.key, readiness });
        watched.is_spent = watched.mode == Mode::Oneshot;
        watched.mode == Mode::Level
    }
}

/// What a socket with a handle is ready for.
fn readiness(stack: &Stack, id: SocketId) -> Readiness {
    if stack.owner(id).is_ok() { stack.readiness(id) } else { Watched::GONE }
}

#[cfg(all(test, not(sockeye_model)))]
mod tests;
