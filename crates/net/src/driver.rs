//! What makes hosts go: one host after the other takes in its packets, does what is due, and gives out
//! its packets, until nothing moves.
//!
//! The same code serves whoever turns a manual network, the driver thread of a threaded one, and every
//! thread that makes a socket call there: it does the protocol work of its own host, of the peer that its
//! packets reach and of the answers, without waking anybody who isn't parked. What keeps that safe:
//!
//! - A host's lock is a leaf: the wire and wakers are called with no host's lock held.
//! - A host's `busy` flag is the token of the one thread that moves its packets, so they keep their order.
//!   Others set `work` and leave; the holder looks at `work` again after it has put the token back.
//! - A thread that waits for nobody may hold several tokens: a second is only tried, and left where it is taken. Opening a
//!   lane holds those of both its ends; all else holds one at a time.

use crate::clock::Clock;
use crate::host::{HostCore, HostState, Token};
use crate::lane::Touch;
use crate::nic::nic_id;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::thread::{self, Thread};
use crate::sync::{Mutex, MutexGuard, OnceLock, RwLock, ThreadId};
use crate::wire::Wire;
use sockeye_link::fabric::Direction;
use sockeye_link::pcapng::PacketDirection;
use sockeye_packet::{Batch, Instant, Packet};
use sockeye_stack::Stack;
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::task::Waker;

mod attend;
mod guard;
mod hosts;
mod lanes;
mod links;

pub(crate) use attend::Attendance;
pub(crate) use guard::DriverGuard;

/// Why a call fails that would have to wait for the thread that makes it.
const WAITS_FOR_ITSELF: &str = "a blocking call would wait forever for its own thread, which turns the simulation: \
    use the async sockets of sockeye::tokio in a simulation";

/// Visits that a socket call makes before it leaves the rest to the driver thread.
const VISITS_PER_CALL: usize = 256;
/// Visits of one turn: then the caller is to call again at once.
const VISITS_PER_TURN: usize = 4096;
/// How often what is due at once is done in one visit.
const TIMEOUTS_PER_VISIT: usize = 16;

/// Everything a network consists of, shared by its handles and its driver.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) clock: Clock,
    pub(crate) wire: Wire,
    hosts: RwLock<Arc<Hosts>>,
    schedule: Mutex<Schedule>,
    thread: DriverThread,
    /// The thread that a simulation belongs to, which alone turns it.
    simulator: OnceLock<ThreadId>,
}

/// The hosts by number; none for those that were removed.
pub(crate) type Hosts = Vec<Option<Arc<HostCore>>>;

/// Which hosts are to be visited, and when.
#[derive(Debug, Default)]
struct Schedule {
    /// Deadlines, at least the earliest of each host; the host's own `deadline` says which still hold.
    deadlines: BinaryHeap<Reverse<(Instant, u32)>>,
    /// Hosts that were touched since they were last visited.
    dirty: VecDeque<u32>,
    /// Hosts that may have events for who polls them.
    eventful: VecDeque<u32>,
}

/// The thread that does what no caller does: timers, and delayed packets.
#[derive(Debug, Default)]
struct DriverThread {
    handle: OnceLock<Thread>,
    /// When it wakes by itself, in nanoseconds; 0 while it runs.
    parked_until: AtomicU64,
    stopped: AtomicBool,
    /// The links with a descriptor, once there is one: then the thread sleeps there.
    #[cfg(unix)]
    descriptors: OnceLock<crate::descriptors::Descriptors>,
}

/// What a turn did.
#[derive(Debug)]
pub(crate) struct Turn {
    /// When the network wants to be turned next.
    pub(crate) next: Option<Instant>,
    /// There was somebody to visit.
    #[cfg_attr(not(feature = "simulation"), expect(dead_code, reason = "programs ask"))]
    pub(crate) did_something: bool,
    /// How many wakers were called.
    #[cfg_attr(not(feature = "simulation"), expect(dead_code, reason = "programs ask"))]
    pub(crate) woken: usize,
}

/// Memory for one drive, kept by the thread.
#[derive(Default)]
struct Scratch {
    queue: VecDeque<u32>,
    batch: Batch,
    wakers: Vec<Waker>,
    /// Packets a host sent to itself, for captures.
    tapped: Vec<Packet>,
}

thread_local! {
    static SCRATCH: Cell<Option<Scratch>> = const { Cell::new(None) };
}

impl Scratch {
    /// The thread's scratch memory, or new one while that is in use (a waker that makes socket calls).
    fn take() -> Scratch {
        // A socket may be dropped when the thread's own memory is gone already.
        SCRATCH.try_with(Cell::take).ok().flatten().unwrap_or_default()
    }

    /// Wakes who is to be woken, keeps the memory, and says how many that were. No lock is held here.
    fn finish(mut self) -> usize {
        let mut wakers = std::mem::take(&mut self.wakers);
        let woken = wakers.len();
        wake_all(wakers.drain(..));
        self.wakers = wakers;
        let _ = SCRATCH.try_with(|scratch| scratch.set(Some(self)));
        woken
    }
}

/// Wakes who is to be woken. To be called with no lock held.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        // One that panics has said so by the panic hook. It is no failure of this thread, which may be the
        // driver's, nor of those that are still to be woken.
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}

impl Core {
    pub(crate) fn new(clock: Clock, wire: Wire) -> Core {
        Core {
            clock,
            wire,
            hosts: RwLock::default(),
            schedule: Mutex::default(),
            thread: DriverThread::default(),
            simulator: OnceLock::new(),
        }
    }

    /// The network is a simulation's from now on, and this thread the one that turns it.
    pub(crate) fn is_simulated_here(&self) {
        // Nobody else makes a simulation of it.
        let _ = self.simulator.set(thread::current().id());
    }

    /// The thread that turns it, of a simulation.
    pub(crate) fn simulator(&self) -> Option<ThreadId> {
        self.simulator.get().copied()
    }

    /// Runs `call` on a host's state. What it started is carried out: at once by this thread, or at the
    /// next turn of a manual network.
    pub(crate) fn with<R>(
        &self,
        host: &HostCore,
        call: impl FnOnce(&mut HostState, Instant, &mut Vec<Waker>) -> R,
    ) -> R {
        self.with_touching(host, Touch::All, call)
    }

    /// [`Core::with`] for a call that touches no more of datagrams than this.
    pub(crate) fn with_touching<R>(
        &self,
        host: &HostCore,
        touch: Touch,
        call: impl FnOnce(&mut HostState, Instant, &mut Vec<Waker>) -> R,
    ) -> R {
        let now = self.clock.now();
        let mut scratch = Scratch::take();
        if self.clock.is_manual() {
            let mut state = host.lock_for(touch);
            let now = state.not_before(now);
            let result = call(&mut state, now, &mut scratch.wakers);
            // Many calls may be made before the next turn: what a capture wants doesn't wait for it. Who
            // has the token takes it otherwise.
            let token = if host.is_captured() { host.try_token() } else { None };
            match &token {
                Some(token) => self.capture_loopback(host, token, state, &mut scratch.tapped),
                None => drop(state),
            }
            // After the token is back: a turn that found it taken has passed this host over.
            drop(token);
            self.mark_dirty(host);
            scratch.finish();
            return result;
        }
        // Taken before the lock, so that who sends to this host meanwhile leaves the packets to this thread.
        let token = host.try_token();
        let mut state = host.lock_for(touch);
        let now = state.not_before(now);
        let result = call(&mut state, now, &mut scratch.wakers);
        match token {
            Some(token) if has_work(host, &state, now) => {
                // Nothing is fetched here: a note about packets that arrived stays for the visits below.
                let has_more = self.advance(now, host, 0, &token, state, &mut scratch);
                self.end_visit(host, token, has_more, &mut scratch);
            }
            token => {
                let has_work = token.is_none() && has_work(host, &state, now);
                // Who waits for what the call did need not wait for another thread.
                state.collect_events(false, &mut scratch.wakers);
                drop(state);
                drop(token);
                if has_work || host.work.load(Ordering::SeqCst) {
                    scratch.queue.push_back(host.index);
                }
            }
        }
        self.finish(now, scratch);
        result
    }

    /// Visits the hosts in the scratch queue as far as a call does, and wakes who is to be woken.
    fn finish(&self, now: Instant, mut scratch: Scratch) {
        if !self.drive(now, &mut scratch, VISITS_PER_CALL) {
            self.put_off(&mut scratch);
            self.thread.wake();
        }
        scratch.finish();
    }

    /// Does all that is due, and says when something will be.
    pub(crate) fn turn(&self, now: Instant) -> Option<Instant> {
        self.turn_once(now).next
    }

    /// As [`Core::turn`], and says what it did.
    pub(crate) fn turn_once(&self, now: Instant) -> Turn {
        let now = self.clock.advance(now);
        let mut scratch = Scratch::take();
        self.collect_due(now, &mut scratch.queue);
        let did_something = !scratch.queue.is_empty();
        let is_idle = self.drive(now, &mut scratch, VISITS_PER_TURN);
        if !is_idle {
            self.put_off(&mut scratch);
        }
        let woken = scratch.finish();
        Turn { next: if is_idle { self.next_deadline() } else { Some(now) }, did_something, woken }
    }

    /// Has a host visited at the next turn.
    pub(crate) fn mark_dirty(&self, host: &HostCore) {
        if !host.dirty.swap(true, Ordering::SeqCst) {
            self.lock_schedule().dirty.push_back(host.index);
        }
    }

    /// Sends on what was held between two hosts, with the next turn.
    pub(crate) fn release(&self, a: u32, b: u32) {
        let mut scratch = Scratch::take();
        self.wire.release(self.clock.now(), a, b, &mut scratch.queue);
        self.put_off(&mut scratch);
        self.thread.wake();
        scratch.finish();
    }

    /// The next host that may have events, which is then off the list until it is visited again.
    pub(crate) fn next_eventful(&self) -> Option<Arc<HostCore>> {
        loop {
            let index = self.lock_schedule().eventful.pop_front()?;
            if let Some(host) = self.host(index) {
                host.eventful.store(false, Ordering::SeqCst);
                return Some(host);
            }
        }
    }

    /// Puts a host back to the front of the list of those that may have events.
    pub(crate) fn mark_eventful(&self, host: &HostCore) {
        if !host.eventful.swap(true, Ordering::SeqCst) {
            self.lock_schedule().eventful.push_front(host.index);
        }
    }

    /// Moves hosts with something to do at `now` to `queue`.
    fn collect_due(&self, now: Instant, queue: &mut VecDeque<u32>) {
        if self.wire.next_deadline() <= now {
            self.wire.handle_timeout(now, queue);
        }
        if self.clock.is_manual() {
            self.try_descriptors();
        }
        let mut schedule = self.lock_schedule();
        // Under the schedule's lock, so that no host is in it that isn't here.
        let hosts = self.hosts();
        let host_at = |index: u32| hosts.get(index as usize).and_then(Option::as_ref);
        while let Some(index) = schedule.dirty.pop_front() {
            let Some(host) = host_at(index) else { continue };
            host.dirty.store(false, Ordering::SeqCst);
            queue.push_back(index);
        }
        while let Some(&Reverse((at, index))) = schedule.deadlines.peek()
            && at <= now
        {
            schedule.deadlines.pop();
            let Some(host) = host_at(index) else { continue };
            if host.armed.load(Ordering::SeqCst) == at.as_nanos() {
                host.armed.store(u64::MAX, Ordering::SeqCst);
                queue.push_back(index);
            }
        }
    }

    /// The earliest deadline of all. Those that no longer hold are corrected on the way.
    fn next_deadline(&self) -> Option<Instant> {
        let wire = self.wire.next_deadline();
        let mut schedule = self.lock_schedule();
        let hosts = self.hosts();
        if !schedule.dirty.is_empty() {
            return Some(self.clock.now());
        }
        while let Some(&Reverse((at, index))) = schedule.deadlines.peek() {
            let Some(host) = hosts.get(index as usize).and_then(Option::as_ref) else {
                schedule.deadlines.pop();
                continue;
            };
            let is_armed = host.armed.load(Ordering::SeqCst) == at.as_nanos();
            let deadline = Instant::from_nanos(host.deadline.load(Ordering::SeqCst));
            if is_armed && deadline <= at {
                return Some(at.min(wire));
            }
            schedule.deadlines.pop();
            if is_armed {
                host.armed.store(deadline.as_nanos(), Ordering::SeqCst);
                // A visit may have stored an earlier deadline and still seen the old value of `armed`.
                let latest = host.deadline.load(Ordering::SeqCst).min(deadline.as_nanos());
                host.armed.store(latest, Ordering::SeqCst);
                if latest < u64::MAX {
                    schedule.deadlines.push(Reverse((Instant::from_nanos(latest), index)));
                }
            }
        }
        (wire < Instant::FAR_FUTURE).then_some(wire)
    }

    /// Visits the hosts in the scratch queue, and those that their packets reach, until there are none.
    /// False when `visits` were not enough.
    fn drive(&self, now: Instant, scratch: &mut Scratch, visits: usize) -> bool {
        if scratch.queue.is_empty() {
            return true;
        }
        let mut hosts = self.hosts();
        for _ in 0..visits {
            let Some(index) = scratch.queue.pop_front() else { return true };
            if hosts.len() <= index as usize {
                hosts = self.hosts();
            }
            let Some(host) = hosts.get(index as usize).and_then(Option::as_ref) else { continue };
            let Some(token) = host.token_for_visit() else { continue };
            let (mut has_arrived, mut has_more) = (false, false);
            for place in 0..host.nics.len() {
                self.receive(now, host, place, &mut scratch.batch);
                has_arrived |= scratch.batch.is_full();
                let mut state = host.lock_beside_lanes();
                let now = state.not_before(now);
                // What one interface had to send may have gone by now: the last answer counts.
                has_more = self.advance(now, host, place, &token, state, scratch);
            }
            self.end_visit(host, token, has_arrived || has_more, scratch);
        }
        scratch.queue.is_empty()
    }

    /// One round of one interface of a host: takes in the packets of the batch, does what is due, and sends
    /// what that gives there. Says whether the host has more to do.
    fn advance(
        &self,
        now: Instant,
        host: &HostCore,
        place: usize,
        token: &Token<'_>,
        mut state: MutexGuard<'_, HostState>,
        scratch: &mut Scratch,
    ) -> bool {
        let batch = &mut scratch.batch;
        let nic = nic_id(place);
        let meets_lanes = state.lanes_meet(now, batch);
        let now = state.not_before(now);
        let HostState { stack, is_down, .. } = &mut *state;
        if *is_down {
            batch.drain().for_each(drop);
        }
        if !batch.is_empty() {
            stack.handle_packets(now, nic, batch);
        }
        let mut deadline = deadline_of(stack);
        for _ in 0..TIMEOUTS_PER_VISIT {
            if deadline > now {
                break;
            }
            stack.handle_timeout(now);
            deadline = deadline_of(stack);
        }
        if meets_lanes {
            state.lanes.note(&state.stack);
        }
        let HostState { stack, is_down, .. } = &mut *state;
        if !host.is_blocked(place) {
            stack.poll_transmit(now, nic, batch);
        }
        if *is_down {
            batch.drain().for_each(drop);
        }
        // Sending may have set a timer.
        deadline = deadline_of(stack);
        let has_more =
            (0..host.nics.len()).any(|at| stack.wants_transmit(nic_id(at)) && !host.is_blocked(at));
        state.collect_events(self.clock.is_manual(), &mut scratch.wakers);
        // Under the lock, so that a call after this visit is compared with it.
        host.deadline.store(deadline.min(host.link_deadline()).as_nanos(), Ordering::SeqCst);
        self.capture_loopback(host, token, state, &mut scratch.tapped);
        if !scratch.batch.is_empty() {
            self.send(now, host, place, scratch);
            self.thread.wake_by(self.wire.next_deadline());
        }
        deadline = deadline.min(host.link_deadline());
        host.deadline.fetch_min(deadline.as_nanos(), Ordering::SeqCst);
        has_more || deadline <= now
    }

    /// Ends a visit: the token goes back, and who has more to do is put in the queue.
    fn end_visit(&self, host: &HostCore, token: Token<'_>, has_more: bool, scratch: &mut Scratch) {
        self.arm(host);
        if self.clock.is_manual() && !host.eventful.swap(true, Ordering::SeqCst) {
            self.lock_schedule().eventful.push_back(host.index);
        }
        drop(token);
        if has_more || host.work.load(Ordering::SeqCst) {
            scratch.queue.push_back(host.index);
        }
    }

    /// Fetches what has arrived at an interface.
    fn receive(&self, now: Instant, host: &HostCore, place: usize, batch: &mut Batch) {
        match &host.nics[place].link {
            None => self.wire.receive(now, host.index, place, batch),
            Some(link) => {
                link.receive(now, batch);
                self.wire.record(now, host.index, place, PacketDirection::Inbound, batch);
            }
        }
        host.taps.see(now, Direction::Down, batch);
    }

    /// Hands what leaves by an interface to its link.
    fn send(&self, now: Instant, host: &HostCore, place: usize, scratch: &mut Scratch) {
        let Scratch { batch, queue, .. } = scratch;
        host.taps.see(now, Direction::Up, batch);
        match &host.nics[place].link {
            None => self.wire.send(now, host.index, place, batch, queue),
            Some(link) => {
                self.wire.record(now, host.index, place, PacketDirection::Outbound, batch);
                link.send(now, batch);
            }
        }
    }

    /// Unlocks a host, and captures what it sent to itself, in order: the caller has the token.
    fn capture_loopback(
        &self,
        host: &HostCore,
        _token: &Token<'_>,
        mut state: MutexGuard<'_, HostState>,
        tapped: &mut Vec<Packet>,
    ) {
        if host.is_captured() {
            tapped.extend(std::iter::from_fn(|| state.stack.poll_tap()));
        }
        drop(state);
        if !tapped.is_empty() {
            self.wire.capture_loopback(host.index, tapped);
            self.thread.wake_by(self.wire.next_deadline());
        }
    }

    /// Makes sure that a host is visited at its deadline.
    fn arm(&self, host: &HostCore) {
        let deadline = host.deadline.load(Ordering::SeqCst);
        if deadline >= host.armed.load(Ordering::SeqCst) {
            return;
        }
        let mut schedule = self.lock_schedule();
        if deadline < host.armed.load(Ordering::SeqCst) {
            host.armed.store(deadline, Ordering::SeqCst);
            schedule.deadlines.push(Reverse((Instant::from_nanos(deadline), host.index)));
            drop(schedule);
            self.thread.wake_by(Instant::from_nanos(deadline));
        }
    }

    /// Leaves the hosts of the queue to the next turn.
    fn put_off(&self, scratch: &mut Scratch) {
        for index in scratch.queue.drain(..) {
            if let Some(host) = self.host(index) {
                self.mark_dirty(&host);
            }
        }
    }

    fn lock_schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fails where a wait would never end: on the thread that turns the simulation which is waited for.
pub(crate) fn check_may_wait(simulator: Option<ThreadId>) -> io::Result<()> {
    if simulator.is_some_and(|simulator| simulator == thread::current().id()) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, WAITS_FOR_ITSELF));
    }
    Ok(())
}

/// Whether a call has left something to a visit: packets to send, or a deadline that nobody knows of yet. Many calls that
/// read leave nothing.
fn has_work(host: &HostCore, state: &HostState, now: Instant) -> bool {
    let stack = &state.stack;
    // The schedule looks at the stored deadline at the latest then, and goes by it.
    let is_news =
        |deadline: Instant| deadline <= now || deadline.as_nanos() < host.deadline.load(Ordering::SeqCst);
    // Of the loopback, the deadline tells.
    (0..host.nics.len()).any(|place| stack.wants_transmit(nic_id(place)))
        || host.is_captured()
        || is_news(deadline_of(stack))
}

fn deadline_of(stack: &Stack) -> Instant {
    stack.poll_timeout().map_or(Instant::FAR_FUTURE, |wake| wake.at)
}

impl DriverThread {
    /// Wakes the thread, if it is parked.
    fn wake(&self) {
        self.wake_by(Instant::ZERO);
    }

    /// Wakes the thread if it would sleep beyond `deadline`.
    fn wake_by(&self, deadline: Instant) {
        if deadline.as_nanos() < self.parked_until.load(Ordering::SeqCst)
            && let Some(thread) = self.handle.get()
        {
            thread.unpark();
            #[cfg(unix)]
            self.descriptors.get().into_iter().for_each(crate::descriptors::Descriptors::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::atomic::AtomicU8;
    use crate::{HostConfig, Network};
    use sockeye_stack::{Domain, Owner, SockAddr, SocketType};
    use std::net::Ipv4Addr;
    use std::task::Wake;

    #[derive(Default)]
    struct Count {
        wakes: AtomicU8,
        panics: bool,
    }

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.wakes.fetch_add(1, Ordering::SeqCst);
            assert!(!self.panics, "a waker that panics");
        }
    }

    #[test]
    fn a_waker_that_panics_harms_nobody() {
        let [bad, good] = [true, false].map(|panics| Arc::new(Count { wakes: AtomicU8::new(0), panics }));
        let mut scratch = Scratch::take();
        scratch.wakers.extend([Waker::from(bad), Waker::from(Arc::clone(&good))]);
        assert_eq!(scratch.finish(), 2);
        assert_eq!(good.wakes.load(Ordering::SeqCst), 1);
        assert_eq!(Arc::strong_count(&good), 1);
    }

    /// The schedule holds a deadline that no longer holds, and will be put right by the one that the latest visit stored.
    #[test]
    fn a_deadline_before_the_stored_one_is_work_also_if_the_schedule_looks_sooner() {
        let network = Network::builder().host("web", HostConfig::default()).build_manual().unwrap();
        let host = network.host("web").unwrap().core;
        let mut state = host.lock();
        let now = Instant::from_millis(1);
        let socket = state.stack.socket(Domain::Inet, SocketType::Stream, Owner::default()).unwrap();
        let peer = SockAddr::new(Ipv4Addr::from(u32::from(host.v4) + 1).into(), 80);
        let _ = state.stack.connect(now, socket, peer);
        state.stack.poll_transmit(now, nic_id(0), &mut Batch::new());
        // The SYN is out, and its timer is all there is.
        let due = deadline_of(&state.stack);
        assert!(due > now && due < Instant::FAR_FUTURE);
        host.armed.store(due.as_nanos() - 1, Ordering::SeqCst);
        for (stored, has) in
            [(due.as_nanos() + 1, true), (due.as_nanos(), false), (due.as_nanos() - 1, false)]
        {
            host.deadline.store(stored, Ordering::SeqCst);
            assert_eq!(has_work(&host, &state, now), has, "{stored} is stored, it is due at {due:?}");
        }
    }
}
