//! One host: a stack behind one lock, and the handle that programs hold.

use crate::driver::wake_all;
use crate::lane::{Lanes, Touch};
use crate::network::Shared;
use crate::nic::{HostNic, first_addresses, nic_id};
use crate::over::LinkPort;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::tap::Taps;
use crate::waiters::Waiters;
use crate::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use sockeye_packet::{Instant, NicId};
use sockeye_stack::{Event, Orphan, Route, SocketId, Stack, Usage};
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, PoisonError};
use std::task::Waker;
use std::time::Duration;

/// Most events of flows that are kept for who polls them.
const MAX_OTHERS: usize = 65_536;

/// The number of a host in its network: the gateway's is 0, the others count up as they are added.
///
/// ```
/// use sockeye::{HostConfig, Network};
///
/// let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// let web = network.host("web")?.id();
/// assert_eq!((network.gateway().id().index(), web.index()), (0, 1));
/// assert_eq!(network.host_by_id(web).unwrap().name(), "web");
/// # Ok::<(), sockeye::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub(crate) u32);

impl HostId {
    /// The number, for tables.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A host of a [`Network`](crate::Network): a cheap handle to it, for any thread.
///
/// The network lives as long as there is a handle to it, to one of its hosts or to one of their sockets.
///
/// ```
/// use sockeye::{HostConfig, Network};
///
/// let network = Network::builder().host("web", HostConfig::default()).host("me", HostConfig::default()).build()?;
/// let (web, me) = (network.host("web")?, network.host("me")?);
/// let listener = web.tcp_listen((&web, 80))?;
/// let client = std::thread::spawn(move || me.tcp_connect("web:80"));
/// let (_stream, peer) = listener.accept()?;
/// assert_eq!(network.host_by_address(peer.ip()).unwrap().name(), "me");
/// # client.join().unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Host {
    pub(crate) shared: Arc<Shared>,
    pub(crate) core: Arc<HostCore>,
}

/// What a host is made of.
#[derive(Debug)]
pub(crate) struct HostCore {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
    /// Its interfaces; the first is number 1 in its stack.
    pub(crate) nics: Box<[HostNic]>,
    /// The routes that the network gave it.
    pub(crate) routes: Mutex<Vec<Route>>,
    pub(crate) taps: Taps,
    /// What runs on it in a simulation.
    #[cfg(feature = "simulation")]
    pub(crate) tasks: crate::simulation::HostTasks,
    /// A capture wants what it sends to itself.
    pub(crate) is_captured: AtomicBool,
    state: Mutex<HostState>,
    /// A thread moves this host's packets now.
    busy: AtomicBool,
    /// Another thread found it busy: there is more to do.
    pub(crate) work: AtomicBool,
    /// It is in the list of hosts to visit.
    pub(crate) dirty: AtomicBool,
    /// It is in the list of hosts that may have events.
    pub(crate) eventful: AtomicBool,
    /// The stack's deadline, in nanoseconds, as of its latest visit.
    pub(crate) deadline: AtomicU64,
    /// The earliest deadline that the schedule holds for it, in nanoseconds.
    pub(crate) armed: AtomicU64,
}

/// What a host's lock guards.
#[derive(Debug)]
pub(crate) struct HostState {
    pub(crate) stack: Stack,
    /// It has crashed and was not restarted yet.
    pub(crate) is_down: bool,
    /// The latest time that the stack was told.
    pub(crate) latest: Instant,
    pub(crate) waiters: Waiters,
    pub(crate) lanes: Lanes,
    /// Who waits until connections without sockets have sent all.
    draining: Vec<(Orphan, Waker)>,
    /// Sockets without a handle that became ready, for who polls events.
    unclaimed: BTreeSet<SocketId>,
    /// What else happened, in order, for who polls events.
    others: VecDeque<Event>,
}

/// The right to move a host's packets; given back when dropped.
#[derive(Debug)]
pub(crate) struct Token<'a>(&'a AtomicBool);

impl Drop for Token<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl HostCore {
    pub(crate) fn new(
        index: u32,
        name: &str,
        nics: Vec<HostNic>,
        routes: Vec<Route>,
        is_captured: bool,
        mut stack: Stack,
    ) -> HostCore {
        stack.set_loopback_tap(is_captured);
        let (v4, v6) = first_addresses(&nics);
        HostCore {
            index,
            name: name.to_owned(),
            v4,
            v6,
            nics: nics.into(),
            routes: Mutex::new(routes),
            taps: Taps::default(),
            #[cfg(feature = "simulation")]
            tasks: crate::simulation::HostTasks::default(),
            is_captured: AtomicBool::new(is_captured),
            state: Mutex::new(HostState {
                stack,
                is_down: false,
                latest: Instant::ZERO,
                waiters: Waiters::default(),
                lanes: Lanes::default(),
                draining: Vec::new(),
                unclaimed: BTreeSet::new(),
                others: VecDeque::new(),
            }),
            busy: AtomicBool::new(false),
            work: AtomicBool::new(false),
            dirty: AtomicBool::new(false),
            eventful: AtomicBool::new(false),
            deadline: AtomicU64::new(u64::MAX),
            armed: AtomicU64::new(u64::MAX),
        }
    }

    /// Whether an interface's link has no room for more.
    pub(crate) fn is_blocked(&self, place: usize) -> bool {
        self.nics[place].link.as_ref().is_some_and(LinkPort::is_blocked)
    }

    /// When its links want to be called.
    pub(crate) fn link_deadline(&self) -> Instant {
        let links = self.nics.iter().filter_map(|nic| nic.link.as_ref());
        links.map(LinkPort::deadline).min().unwrap_or(Instant::FAR_FUTURE)
    }

    /// The place of its interface in a subnet.
    pub(crate) fn place_in(&self, subnet: usize) -> Option<usize> {
        self.nics.iter().position(|nic| nic.subnet == Some(subnet))
    }

    /// Whether a capture wants what it sends to itself.
    pub(crate) fn is_captured(&self) -> bool {
        self.is_captured.load(Ordering::Relaxed)
    }

    /// The state, even if a user's closure panicked with it: the stack keeps its own invariants. Lanes are closed.
    pub(crate) fn lock(&self) -> MutexGuard<'_, HostState> {
        self.lock_for(Touch::All)
    }

    /// The same for a call that touches no more of datagrams than this.
    pub(crate) fn lock_for(&self, touch: Touch) -> MutexGuard<'_, HostState> {
        let mut state = self.lock_beside_lanes();
        state.prepare_lanes(touch);
        state
    }

    /// The state, to which what is in lanes has not come yet.
    pub(crate) fn lock_beside_lanes(&self) -> MutexGuard<'_, HostState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token, unless another thread has it.
    pub(crate) fn try_token(&self) -> Option<Token<'_>> {
        // A look first: who finds it taken leaves the line to the processor that has it. And lazily: a token made for
        // nothing would give back, when dropped, the one that another thread has.
        let is_taken = self.busy.load(Ordering::SeqCst) || self.busy.swap(true, Ordering::SeqCst);
        (!is_taken).then(|| Token(&self.busy))
    }

    /// The token, for a visit that fetches all there is, or a note to its holder that there is more to do.
    pub(crate) fn token_for_visit(&self) -> Option<Token<'_>> {
        let token = self.try_token().or_else(|| {
            set(&self.work, true);
            // The holder may have looked just before the note was left.
            self.try_token()
        });
        if token.is_some() {
            set(&self.work, false);
        }
        token
    }
}

/// Stores what isn't there yet: a store takes the line away from the processors that look at it.
fn set(flag: &AtomicBool, value: bool) {
    if flag.load(Ordering::SeqCst) != value {
        flag.store(value, Ordering::SeqCst);
    }
}

impl HostState {
    /// What the stack is told when a thread comes that read the clock before it got the lock: another may
    /// have been here since then with a later time, and time must not run backwards, or segments carry
    /// timestamps that the peer takes for old ones.
    pub(crate) fn not_before(&mut self, now: Instant) -> Instant {
        self.latest = self.latest.max(now);
        self.latest
    }

    /// Hands the stack's events to who waits for them. Those of sockets without a handle stay with the
    /// stack, or are `kept` for who polls them.
    pub(crate) fn collect_events(&mut self, kept: bool, wakers: &mut Vec<Waker>) {
        for (_, waker) in self.draining.extract_if(.., |(orphan, _)| !self.stack.is_draining(*orphan)) {
            wakers.push(waker);
        }
        if self.waiters.is_empty() && kept {
            return;
        }
        loop {
            // What there is no room for stays with the stack, which bounds it: who doesn't hear how a flow ended
            // would keep what belongs to it.
            let has_room = !kept || self.others.len() < MAX_OTHERS;
            let event =
                if has_room { self.stack.poll_event() } else { self.stack.poll_ready().map(Event::Ready) };
            let id = match event {
                None => break,
                Some(Event::Ready(id)) => id,
                Some(event) => {
                    if kept {
                        self.others.push_back(event);
                    }
                    continue;
                }
            };
            let (readiness, space) = (self.stack.readiness(id), self.stack.send_space(id));
            if !self.waiters.on_event(id, readiness, space, wakers) && kept {
                self.unclaimed.insert(id);
            }
        }
    }

    /// Whether a connection is still draining; then `waker` is woken when it is not any more. Without a waker,
    /// nobody waits for it any more.
    pub(crate) fn wait_for_drain(&mut self, orphan: Orphan, waker: Option<&Waker>) -> bool {
        self.draining.retain(|(other, _)| *other != orphan);
        let is_draining = self.stack.is_draining(orphan);
        if let Some(waker) = waker.filter(|_| is_draining) {
            self.draining.push((orphan, waker.clone()));
        }
        is_draining
    }

    /// Puts the stack of the host after a crash in the place of this one: whoever waits is woken, and every
    /// socket that has a handle is dead.
    pub(crate) fn replace_stack(&mut self, seed: [u8; 32], wakers: &mut Vec<Waker>) {
        self.put_in_place(self.stack.restarted(seed), wakers);
    }

    fn put_in_place(&mut self, stack: Stack, wakers: &mut Vec<Waker>) {
        // They may have been opened for the stack of before.
        self.prepare_lanes(Touch::All);
        self.stack = stack;
        self.waiters.wake_all(wakers);
        wakers.extend(self.draining.drain(..).map(|(_, waker)| waker));
        self.unclaimed.clear();
        self.others.clear();
    }

    /// Ends it for good: as after a crash, with nothing left of its stack.
    pub(crate) fn retire(&mut self, wakers: &mut Vec<Waker>) {
        self.put_in_place(self.stack.retired(), wakers);
        self.is_down = true;
    }

    /// The next event of a flow, or of a socket without a handle.
    pub(crate) fn poll_event(&mut self, wakers: &mut Vec<Waker>) -> Option<Event> {
        if !self.waiters.is_empty() {
            self.collect_events(true, wakers);
        }
        // A flow's socket is named before what it is ready for.
        let kept = self.others.pop_front().or_else(|| self.unclaimed.pop_first().map(Event::Ready));
        kept.or_else(|| self.stack.poll_event())
    }
}

impl Host {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.core.name
    }

    /// Its number in the network.
    pub fn id(&self) -> HostId {
        HostId(self.core.index)
    }

    /// Its first interface's addresses: the IPv4 one, then the IPv6 one. All are in
    /// [`Network::interfaces`](crate::Network::interfaces).
    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.core.v4.into(), self.core.v6.into()]
    }

    /// Its first IPv4 address.
    pub fn ipv4(&self) -> Ipv4Addr {
        self.core.v4
    }

    /// Its first IPv6 address.
    pub fn ipv6(&self) -> Ipv6Addr {
        self.core.v6
    }

    /// Its first interface.
    pub fn nic(&self) -> NicId {
        nic_id(0)
    }

    /// Works on the stack itself, with the time that holds now. What that starts is carried out before
    /// this returns, or at the next [turn](crate::Network::turn) of a manual network.
    ///
    /// Other threads that use this host wait meanwhile. Don't use this network, its hosts or their sockets inside
    /// `call`: it could wait for itself.
    ///
    /// When `call` panics, what it did until then is carried out all the same.
    pub fn with_stack<R>(&self, call: impl FnOnce(&mut Stack, Instant) -> R) -> R {
        // Unwinding from here would skip what other threads left to this one: the packets that have arrived for
        // the host while it was busy, and who was to be woken.
        let result = self
            .shared
            .core
            .with(&self.core, |state, now, _| catch_unwind(AssertUnwindSafe(|| call(&mut state.stack, now))));
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// What its stack holds: sockets, connections, memory. All zero some minutes after the last socket was
    /// dropped, when the connections have come to their ends.
    ///
    /// ```
    /// use sockeye::{HostConfig, Network};
    ///
    /// let network = Network::builder().host("web", HostConfig::default()).build()?;
    /// let web = network.host("web")?;
    /// let socket = web.udp_bind((web.ipv4(), 53))?;
    /// assert_eq!(web.usage().sockets, 1);
    /// drop(socket);
    /// assert_eq!(web.usage(), sockeye::stack::Usage::default());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn usage(&self) -> Usage {
        self.core.lock().stack.usage()
    }

    /// The next event of a flow (see [`Stack::intercept`]), or of a socket made by [`Host::with_stack`] or
    /// by a flow, in a manual network. A socket is named once until it is polled. Threaded networks keep no such events.
    pub fn poll_event(&self) -> Option<Event> {
        let mut wakers = Vec::new();
        let event = self.core.lock().poll_event(&mut wakers);
        wake_all(wakers);
        event
    }

    /// A listener for TCP connections on this host; port 0 picks one. Of several addresses the first that it
    /// can be bound to counts.
    ///
    /// Fails with [`AddrInUse`](io::ErrorKind::AddrInUse) when another socket has the address, and with
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) when it is not this host's. At `"[::]:80"` it
    /// listens at all addresses of both families. Options that count before that: [`Host::tcp_socket_v4`].
    pub fn tcp_listen(&self, addr: impl ToSocketAddrs) -> io::Result<TcpListener> {
        TcpListener::bind(self, addr)
    }

    /// Opens a TCP connection from this host; blocks until that is done or has failed. Several addresses are
    /// tried one after the other, and the last one's error is reported.
    ///
    /// Fails with [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) when nobody listens there, with
    /// [`HostUnreachable`](io::ErrorKind::HostUnreachable) when nobody has the address, and with
    /// [`TimedOut`](io::ErrorKind::TimedOut) when no answer comes, which takes two minutes unless the stack
    /// is configured otherwise.
    pub fn tcp_connect(&self, addr: impl ToSocketAddrs) -> io::Result<TcpStream> {
        TcpStream::connect(self, addr)
    }

    /// As [`Host::tcp_connect`], but fails with [`TimedOut`](io::ErrorKind::TimedOut) after `timeout`, which
    /// is for all addresses together; zero is [`InvalidInput`](io::ErrorKind::InvalidInput).
    ///
    /// ```
    /// use sockeye::{HostConfig, NetemConfig, Network};
    /// use std::time::Duration;
    ///
    /// let dead: NetemConfig = "loss 100%".parse().unwrap();
    /// let network = Network::builder()
    ///     .host("web", HostConfig { link: dead.into(), ..HostConfig::default() })
    ///     .host("me", HostConfig::default())
    ///     .build()?;
    /// let late = network.host("me")?.tcp_connect_timeout("web:80", Duration::from_millis(5));
    /// assert_eq!(late.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn tcp_connect_timeout(&self, addr: impl ToSocketAddrs, timeout: Duration) -> io::Result<TcpStream> {
        TcpStream::connect_timeout(self, addr, timeout)
    }

    /// A UDP socket on this host; port 0 picks one. Of several addresses the first that it can be bound to
    /// counts. Fails as [`Host::tcp_listen`] does.
    pub fn udp_bind(&self, addr: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        UdpSocket::bind(self, addr)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({} {} {})", self.core.name, self.core.v4, self.core.v6)
    }
}

#[cfg(test)]
mod tests {
    use crate::poller::{Interest, Mode, Poller};
    use crate::socket::Socket;
    use crate::sync::atomic::Ordering;
    use crate::waiters::{Interest as Direction, Waiter};
    use crate::{HostConfig, Instant, Network, UdpSocket};
    use sockeye_packet::Payload;
    use sockeye_stack::{SendFlags, SocketType};
    use std::sync::Arc;
    use std::task::{Poll, Wake, Waker};
    use std::time::Duration;

    #[test]
    fn only_its_holder_gives_a_token_back() {
        let network = Network::builder().host("web", HostConfig::default()).build_manual().unwrap();
        let host = network.host("web").unwrap().core;
        let token = host.try_token().unwrap();
        assert!(host.try_token().is_none());
        assert!(host.token_for_visit().is_none(), "the attempt before gave the token back");
        assert!(host.work.load(Ordering::SeqCst), "the holder is told that there is more to do");
        drop(token);
        assert!(host.token_for_visit().is_some());
        assert!(!host.work.load(Ordering::SeqCst));
    }

    #[test]
    fn a_late_thread_does_not_turn_back_the_time() {
        let network = Network::builder().host("web", HostConfig::default()).build_manual().unwrap();
        let host = network.host("web").unwrap().core;
        let mut state = host.lock();
        let [early, late] = [1, 2].map(Instant::from_millis);
        assert_eq!([late, early, late].map(|now| state.not_before(now)), [late; 3]);
    }

    /// A waker that panics.
    struct Broken;

    impl Wake for Broken {
        fn wake(self: Arc<Self>) {
            panic!("a waker that panics");
        }
    }

    #[test]
    fn a_waker_that_panics_is_no_failure_of_who_polls_events() {
        let network = Network::builder().host("web", HostConfig::default()).build_manual().unwrap();
        let web = network.host("web").unwrap();
        let calls: [fn(&Network, &UdpSocket); 3] = [
            |network, _| assert!(network.poll_event().is_none()),
            |network, _| assert!(network.host("web").unwrap().poll_event().is_none()),
            |_, socket| Poller::new().add(socket, 0, Interest::NONE, Mode::Edge).unwrap(),
        ];
        for call in calls {
            network.turn(network.now());
            let socket = web.udp_bind((web.ipv4(), 9)).unwrap();
            network.turn(network.now());
            let wakers = [(); 2].map(|()| Waker::from(Arc::new(Broken)));
            let (id, to) = (socket.socket().place().1, socket.local_addr().unwrap());
            let mut state = web.core.lock();
            for waker in &wakers {
                assert!(state.waiters.wait(id, Direction::Read, Waiter::thread(waker)).is_none());
            }
            assert_eq!(state.waiters.wakers(), 2);
            let sent =
                state.stack.send_to(network.now(), id, Payload::EMPTY, Some(to.into()), SendFlags::default());
            assert_eq!(sent, Ok(0));
            drop(state);
            call(&network, &socket);
            assert_eq!(web.core.lock().waiters.wakers(), 0, "they were not called");
        }
    }

    #[test]
    fn sockets_that_are_gone_leave_no_events() {
        let network = Network::builder().host("web", HostConfig::default()).build_manual().unwrap();
        let web = network.host("web").unwrap();
        let mut now = network.now();
        let mut turn = || {
            for _ in 0..5 {
                now += Duration::from_millis(1);
                network.turn(now);
            }
        };
        for _ in 0..50 {
            let listener = web.tcp_listen((web.ipv4(), 80)).unwrap();
            let to = listener.local_addr().unwrap();
            let [near, unheard] = [(); 2].map(|()| Socket::new(&web, to, SocketType::Stream).unwrap());
            near.start_connect(to).unwrap();
            turn();
            let Poll::Ready(Ok((far, _))) = listener.socket().poll_accept(None) else {
                panic!("nobody waits")
            };
            assert!(far.poll_send(None, b"unread").is_ready());
            unheard.start_connect(to).unwrap();
            drop((near, far, unheard, listener));
            turn();
        }
        let state = web.core.lock();
        assert_eq!((state.unclaimed.len(), state.others.len(), state.draining.len()), (0, 0, 0));
    }
}
