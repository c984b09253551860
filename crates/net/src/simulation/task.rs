//! A task on a host of a simulation: it knows its host, ends when that crashes, and a panic in it ends the
//! run.

use super::clockwork::Clockwork;
use crate::Host;
use std::any::Any;
use std::cell::RefCell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::task::{AbortHandle, JoinHandle};

/// Handles that are kept before those of tasks that have ended are dropped.
const FEW: usize = 32;

/// The tasks of a simulation.
#[derive(Debug)]
pub(super) struct Tasks {
    clockwork: Arc<Clockwork>,
    failure: RefCell<Option<Failure>>,
}

/// The tasks of one host.
#[derive(Debug, Default)]
pub(crate) struct HostTasks(Mutex<Handles>);

impl HostTasks {
    fn add(&self, task: AbortHandle) {
        let mut handles = self.lock();
        if handles.tasks.len() >= handles.full.max(FEW) {
            handles.tasks.retain(|task| !task.is_finished());
            handles.full = handles.tasks.len() * 2;
        }
        handles.tasks.push(task);
    }

    /// Ends them.
    pub(crate) fn abort(&self) {
        let handles = std::mem::take(&mut *self.lock());
        handles.tasks.iter().for_each(AbortHandle::abort);
    }

    fn lock(&self) -> MutexGuard<'_, Handles> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a program failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// It panicked, which was printed then.
    Panic(Box<dyn Any + Send>),
    /// It ended with an error.
    Error(String),
}

#[derive(Debug, Default)]
struct Handles {
    tasks: Vec<AbortHandle>,
    /// With this many, those that have ended are dropped.
    full: usize,
}

/// Whose task is being polled.
struct Current {
    host: Host,
    tasks: Rc<Tasks>,
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// The host whose program is running, also in what it has [spawned](spawn). Outside of programs, and in tasks that were
/// spawned in another way, that is [`NotFound`](io::ErrorKind::NotFound).
///
/// ```
/// use sockeye::simulation::current_host;
/// use sockeye::{HostConfig, Network};
///
/// let mut sim = Network::builder().seed(1).host("web", HostConfig::default()).simulate()?;
/// let web = sim.host("web")?;
/// let name = sim.spawn(&web, async { current_host().map(|host| host.name().to_owned()) });
/// assert_eq!(sim.block_on(name)???, "web");
/// assert!(current_host().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn current_host() -> io::Result<Host> {
    let unknown = || io::Error::new(io::ErrorKind::NotFound, "no program of a simulation's host runs here");
    CURRENT.with_borrow(|current| current.as_ref().map(|c| c.host.clone()).ok_or_else(unknown))
}

/// Has a future run on the host whose program this is, beside it: it ends when the host crashes, and a panic in it
/// ends the run.
///
/// ```
/// use sockeye::simulation::spawn;
/// use sockeye::{HostConfig, Network};
/// use std::time::Duration;
///
/// let mut sim = Network::builder().seed(1).host("web", HostConfig::default()).simulate()?;
/// let web = sim.host("web")?;
/// sim.program(&web, || async {
///     // It beats until the host crashes.
///     spawn(async {
///         loop {
///             tokio::time::sleep(Duration::from_secs(1)).await;
///         }
///     });
/// });
/// sim.run_for(Duration::from_secs(60));
/// sim.crash(&web);
/// assert!(sim.block_on(std::future::pending::<()>()).is_err(), "nothing beats any more");
/// # Ok::<(), sockeye::Error>(())
/// ```
///
/// # Panics
///
/// Outside of a program.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    let current =
        CURRENT.with_borrow(|current| current.as_ref().map(|c| (c.host.clone(), Rc::clone(&c.tasks))));
    let Some((host, tasks)) = current else {
        panic!("sockeye::simulation::spawn was called outside of a program; use Simulation::spawn");
    };
    tasks.spawn(&host, future)
}

impl Tasks {
    pub(super) fn new(clockwork: Arc<Clockwork>) -> Tasks {
        Tasks { clockwork, failure: RefCell::default() }
    }

    /// Has a future run on a host. Called where a local set is entered.
    pub(super) fn spawn<F>(self: &Rc<Self>, host: &Host, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
    {
        let current = Current { host: host.clone(), tasks: Rc::clone(self) };
        let task = Task { current: Some(current), future: Box::pin(future), tasks: Rc::clone(self) };
        let handle = tokio::task::spawn_local(task);
        host.core.tasks.add(handle.abort_handle());
        // Nothing runs on a host that is down, and nobody would end it on one that was removed.
        if host.core.lock().is_down {
            host.core.tasks.abort();
        }
        handle
    }

    /// Ends the run with a panic.
    pub(super) fn fail(&self, failure: Failure) {
        self.failure.borrow_mut().get_or_insert(failure);
        self.clockwork.fail();
    }

    /// How the first task that failed did.
    pub(super) fn take_failure(&self) -> Option<Failure> {
        self.failure.take()
    }
}

/// A future on a host.
struct Task<F> {
    /// Somewhere else while it is polled.
    current: Option<Current>,
    future: Pin<Box<F>>,
    tasks: Rc<Tasks>,
}

impl<F: Future> Future for Task<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Task { current, future, tasks } = self.get_mut();
        tasks.clockwork.note_poll();
        let outer = CURRENT.replace(current.take());
        let result = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        *current = CURRENT.replace(outer);
        result.unwrap_or_else(|payload| {
            tasks.fail(Failure::Panic(payload));
            Poll::Pending
        })
    }
}
