//! Locks, atomics and the clock of everything here that threads or processes share.
//!
//! The package `sockeye-model` (`tools/model`) compiles the ring and its waiting a second time, with a scheduler
//! below that tries out orders in which threads can run. So what is modelled is the code itself.

#[cfg(not(sockeye_model))]
mod machine {
    pub(crate) use std::sync::{Mutex, MutexGuard};

    pub(crate) mod atomic {
        pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
    }

    pub(crate) const SPINS: bool = true;

    /// On which core this thread is, from 1 on; 0 if that isn't known.
    pub(crate) fn core() -> u32 {
        u32::try_from(rustix::thread::sched_getcpu()).map_or(0, |core| core.wrapping_add(1))
    }
}

#[cfg(sockeye_model)]
mod machine {
    pub(crate) use shuttle::sync::{Mutex, MutexGuard};

    pub(crate) mod atomic {
        pub(crate) use shuttle::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
    }

    /// Spinning shows a scheduler nothing.
    pub(crate) const SPINS: bool = false;

    pub(crate) fn core() -> u32 {
        0
    }
}

pub(crate) use machine::*;

/// The lock's content: nothing of ours panics while it is held, and what it guards is whole at any moment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
