//! Locks, atomics, threads and the machine's clock, for everything in this crate that threads share.
//!
//! The package `sockeye-model` (`tools/model`) compiles this crate's files a second time, with a scheduler
//! below that tries out orders in which threads can run. So what is modelled is the code itself.

#[cfg(not(sockeye_model))]
mod machine {
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, RwLock};
    pub(crate) use std::thread;
    pub(crate) use std::thread::ThreadId;
    pub(crate) use std::time::Instant;

    pub(crate) mod atomic {
        pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
    }

    pub(crate) use std::thread_local;

    /// How often a thread that watches looks before it asks the clock.
    pub(crate) const LOOKS: u32 = 16;

    /// How many datagrams in a row go to one receiver before a lane is tried.
    pub(crate) const BEFORE_LANE: u32 = 8;
}

#[cfg(sockeye_model)]
mod machine {
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard, RwLock};
    pub(crate) use shuttle::thread::ThreadId;
    pub(crate) use shuttle::thread_local;
    use std::cell::{Cell, RefCell};
    pub(crate) use std::sync::OnceLock;
    use std::time::Duration;

    pub(crate) mod atomic {
        pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
    }

    pub(crate) const LOOKS: u32 = 1;
    pub(crate) const BEFORE_LANE: u32 = 2;

    /// Threads whose sleep has a limit that counts: see [`let_time_pass`].
    pub(crate) mod thread {
        pub(crate) use shuttle::thread::{Builder, JoinHandle, Thread, current, park};
        use std::time::Duration;

        pub(crate) fn park_timeout(limit: Duration) {
            let me = current().id();
            let until = super::Instant::now().checked_add(limit);
            super::SLEEPERS.with_borrow_mut(|all| all.extend(until.map(|until| (until, current()))));
            park();
            super::SLEEPERS.with_borrow_mut(|all| all.retain(|(_, thread)| thread.id() != me));
        }
    }

    /// A clock that moves on by a microsecond whenever somebody looks at it, so that the same order of threads
    /// gives the same times, and otherwise when it is told to: who isn't woken in time sleeps for ever, and is
    /// found.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) struct Instant(Duration);

    // All threads of a model are one of the machine's, and other tests' models are others.
    std::thread_local! {
        static MICROS: Cell<u64> = const { Cell::new(0) };
        static SLEEPERS: RefCell<Vec<(Instant, thread::Thread)>> = const { RefCell::new(Vec::new()) };
    }

    /// Moves the clock on, and ends the sleeps that are over then.
    pub fn let_time_pass(span: Duration) {
        MICROS.set(MICROS.get() + span.as_micros() as u64);
        let now = Instant::now();
        let over: Vec<_> =
            SLEEPERS.with_borrow(|all| all.iter().filter(|sleeper| sleeper.0 <= now).cloned().collect());
        over.iter().for_each(|(_, thread)| thread.unpark());
    }

    impl Instant {
        pub(crate) fn now() -> Instant {
            let micros = MICROS.get();
            MICROS.set(micros + 1);
            Instant(Duration::from_micros(micros))
        }

        pub(crate) fn elapsed(&self) -> Duration {
            Instant::now().0.saturating_sub(self.0)
        }

        pub(crate) fn checked_add(&self, span: Duration) -> Option<Instant> {
            self.0.checked_add(span).map(Instant)
        }

        pub(crate) fn saturating_duration_since(&self, earlier: Instant) -> Duration {
            self.0.saturating_sub(earlier.0)
        }
    }
}

#[cfg(sockeye_model)]
pub use machine::let_time_pass;
pub(crate) use machine::*;
