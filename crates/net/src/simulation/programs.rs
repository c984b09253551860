//! Programs on the hosts of a simulation: the runtime that polls them.

use super::Simulation;
use super::clockwork::{Clockwork, Verdict};
use super::seeds::Outcome;
use super::task::{Failure, Tasks};
use crate::Host;
use sockeye_packet::Instant;
use std::fmt;
use std::panic::resume_unwind;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle, LocalSet};

/// Nothing will ever happen again, and the future that was waited for isn't done.
///
/// ```
/// use sockeye::{Instant, Network};
/// use std::time::Duration;
///
/// let mut sim = Network::builder().seed(1).simulate()?;
/// sim.run_for(Duration::from_secs(3));
/// let stalled = sim.block_on(std::future::pending::<()>()).unwrap_err();
/// assert_eq!(stalled.at, Instant::from_secs(3));
/// # Ok::<(), sockeye::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stalled {
    /// The time at which everything came to rest.
    pub at: Instant,
}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "since {} everybody waits and nothing will ever happen again", self.at)
    }
}

impl std::error::Error for Stalled {}

/// What begins a program, now and after each restart of its host.
type Start = Box<dyn Fn(&Rc<Tasks>, &Host)>;

/// The programs of a simulation and what runs them.
pub(super) struct Programs {
    /// What the tasks run on; dropped before the runtime whose timers they hold.
    local: LocalSet,
    runtime: Runtime,
    clockwork: Arc<Clockwork>,
    tasks: Rc<Tasks>,
    /// With the numbers of their hosts, in the order in which they were made.
    starts: Vec<(u32, Start)>,
}

impl Simulation {
    /// Has a future run on a host, until it is done or the host crashes or is removed; on one that is down it ends
    /// before it begins.
    ///
    /// What is made here begins with the next step. A panic in it ends the run with that panic.
    /// The handle gives what the future returns, or a `JoinError` (is cancelled) when the host crashed before; so
    /// `block_on(handle)` is a `Result` (of [`Stalled`]) of that `Result`, and of a third one if the future returns one.
    ///
    /// ```
    /// use sockeye::{HostConfig, Network};
    /// use std::time::Duration;
    ///
    /// let mut sim = Network::builder().seed(1).host("sleeper", HostConfig::default()).simulate()?;
    /// let host = sim.host("sleeper")?;
    /// let sleeping = sim.spawn(&host, async {
    ///     tokio::time::sleep(Duration::from_hours(8)).await;
    ///     "rested"
    /// });
    /// assert_eq!(sim.block_on(sleeping)??, "rested");
    /// assert_eq!(sim.now(), sockeye::Instant::from_secs(8 * 3600));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// When the operating system refuses tokio its runtime.
    pub fn spawn<F>(&mut self, host: &Host, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
    {
        let programs = self.programs();
        let _within = (programs.runtime.enter(), programs.local.enter());
        programs.tasks.spawn(host, future)
    }

    /// Has a program run on a host: what `program` makes begins now, unless the host is down, and again whenever it
    /// has been [restarted](Simulation::restart).
    ///
    /// A program that fails, by a panic or with an error, ends the run with a panic.
    ///
    /// # Panics
    ///
    /// When the operating system refuses tokio its runtime.
    pub fn program<P, F>(&mut self, host: &Host, program: P)
    where
        P: Fn() -> F + 'static,
        F: Future<Output: Outcome> + 'static,
    {
        let program = Rc::new(program);
        let start: Start = Box::new(move |tasks, host| {
            let (program, failing) = (Rc::clone(&program), Rc::clone(tasks));
            let name = host.name().to_owned();
            tasks.spawn(host, async move {
                // Here, not outside: it may want to know its host.
                if let Err(error) = program().await.into_result() {
                    failing.fail(Failure::Error(format!("the program of host {name:?} failed: {error}")));
                }
            });
        });
        let programs = self.programs();
        programs.start(host, &start);
        programs.starts.push((host.core.index, start));
    }

    /// Runs until `future` is done, which belongs to no host.
    ///
    /// Fails when nothing will ever happen again: no packet is under way, no timer runs, and no program sleeps.
    ///
    /// ```
    /// use sockeye::tokio::UdpSocket;
    /// use sockeye::{HostConfig, Network};
    ///
    /// let mut sim = Network::builder().seed(1).host("lonely", HostConfig::default()).simulate()?;
    /// let host = sim.host("lonely")?;
    /// let stalled = sim.block_on(async {
    ///     let socket = UdpSocket::bind(&host, (host.ipv4(), 9)).await?;
    ///     socket.recv(&mut [0; 16]).await
    /// });
    /// assert!(stalled.is_err(), "nobody sends anything");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// When a program fails, and when the operating system refuses tokio its runtime.
    pub fn block_on<F: Future>(&mut self, future: F) -> Result<F::Output, Stalled> {
        let result = self.programs().run(Instant::FAR_FUTURE, false, future);
        result.map_err(|_| Stalled { at: self.now() })
    }

    /// What runs programs, made when it is first needed.
    fn programs(&mut self) -> &mut Programs {
        let core = &self.network.shared.core;
        self.programs
            .get_or_insert_with(|| Box::new(Programs::new(Arc::new(Clockwork::new(Arc::clone(core))))))
    }

    /// Begins the programs of a host.
    pub(super) fn begin_programs(&self, host: &Host) {
        let Some(programs) = &self.programs else { return };
        let of_host = programs.starts.iter().filter(|(index, _)| *index == host.core.index);
        of_host.for_each(|(_, start)| programs.start(host, start));
    }
}

impl Programs {
    fn new(clockwork: Arc<Clockwork>) -> Programs {
        let (idle, unpark) = (Arc::clone(&clockwork), Arc::clone(&clockwork));
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .on_thread_park(move || idle.on_idle())
            .on_thread_unpark(move || unpark.on_unpark())
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => panic!("can't make a runtime for programs: {error}"),
        };
        let tasks = Rc::new(Tasks::new(Arc::clone(&clockwork)));
        Programs { local: LocalSet::new(), runtime, clockwork, tasks, starts: Vec::new() }
    }

    /// Steps once, not beyond `limit`; false when there is nothing to do before it.
    pub(super) fn step_until(&self, limit: Instant) -> bool {
        self.run(limit, true, std::future::pending::<()>()) == Err(Verdict::Stepped)
    }

    /// Runs until `limit`.
    pub(super) fn run_until(&self, limit: Instant) {
        let _ = self.run(limit, false, std::future::pending::<()>());
    }

    fn start(&self, host: &Host, start: &Start) {
        let _within = (self.runtime.enter(), self.local.enter());
        start(&self.tasks, host);
    }

    fn run<F: Future>(&self, limit: Instant, is_step: bool, future: F) -> Result<F::Output, Verdict> {
        let clockwork = &self.clockwork;
        let ending = Ending(clockwork);
        let mut future = pin!(future);
        let waking = Arc::new(MainWaker { is_woken: AtomicBool::new(true), run: OnceLock::new() });
        let waker = Waker::from(Arc::clone(&waking));
        let main = std::future::poll_fn(|cx| {
            if let Some(verdict) = clockwork.verdict(cx.waker()) {
                return Poll::Ready(Err(verdict));
            }
            waking.run.get_or_init(|| cx.waker().clone());
            if !waking.is_woken.swap(false, Ordering::AcqRel) {
                return Poll::Pending;
            }
            clockwork.note_poll();
            future.as_mut().poll(&mut Context::from_waker(&waker)).map(Ok)
        });
        let result = self.runtime.block_on(async {
            clockwork.begin(limit, is_step);
            self.local.run_until(main).await
        });
        drop(ending);
        match self.tasks.take_failure() {
            Some(Failure::Panic(payload)) => resume_unwind(payload),
            Some(Failure::Error(error)) => panic!("{error}"),
            None => result,
        }
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        self.clockwork.stop();
    }
}

/// Ends a run, also one that panics.
struct Ending<'a>(&'a Clockwork);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Notes that the future which a run waits for was woken: the run is polled more often than that.
struct MainWaker {
    is_woken: AtomicBool,
    run: OnceLock<Waker>,
}

impl Wake for MainWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        if let Some(run) = self.run.get() {
            run.wake_by_ref();
        }
    }
}
