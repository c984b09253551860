//! Locks, atomics, threads and the machine's clock, for everything in this crate that threads share.
//!
//! The package `sockeye-model` (`tools/model`) compiles this crate's files a second time, with a scheduler
//! below that tries out orders in which threads can run. So what is modelled is the code itself.

#[cfg(not(sockeye_model))]
mod machine {
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard};
    pub(crate) use std::thread;
    pub(crate) use std::time::Instant;

    pub(crate) mod atomic {
        pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
    }

    pub(crate) use std::thread_local;
}

#[cfg(sockeye_model)]
mod machine {
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard};
    pub(crate) use shuttle::{thread, thread_local};
    pub(crate) use std::sync::OnceLock;
    use std::time::Duration;

    pub(crate) mod atomic {
        pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
    }

    /// A clock that moves on by a microsecond whenever somebody looks at it, so that the same order of threads
    /// gives the same times. Nobody's sleep ends by it: who isn't woken sleeps for ever, and is found.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) struct Instant(Duration);

    static MICROS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

    impl Instant {
        pub(crate) fn now() -> Instant {
            Instant(Duration::from_micros(MICROS.fetch_add(1, std::sync::atomic::Ordering::Relaxed)))
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

pub(crate) use machine::*;
