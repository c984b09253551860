//! The driver thread: how it begins and ends, and what it does.

use super::Core;
use crate::sync::atomic::Ordering;
use crate::sync::thread::{self, JoinHandle};
use sockeye_packet::Instant;
use std::io;
use std::sync::Arc;

/// Runs the driver thread of a network until the last handle is gone.
#[derive(Debug)]
pub(crate) struct DriverGuard {
    core: Arc<Core>,
    thread: Option<JoinHandle<()>>,
}

impl DriverGuard {
    /// Starts the thread.
    pub(crate) fn start(core: &Arc<Core>) -> io::Result<DriverGuard> {
        let driven = Arc::clone(core);
        let thread = thread::Builder::new().name("sockeye".into()).spawn(move || driven.run())?;
        Ok(DriverGuard { core: Arc::clone(core), thread: Some(thread) })
    }
}

impl Drop for DriverGuard {
    fn drop(&mut self) {
        self.core.thread.stopped.store(true, Ordering::SeqCst);
        let Some(thread) = self.thread.take() else { return };
        thread.thread().unpark();
        #[cfg(unix)]
        self.core.thread.descriptors.get().into_iter().for_each(crate::descriptors::Descriptors::wake);
        // The last handle may be dropped by a waker on the driver's own thread.
        if thread.thread().id() != thread::current().id() {
            drop(thread.join());
        }
    }
}

impl Core {
    /// The driver thread: does what is due, sleeps until something will be.
    fn run(&self) {
        let driver = &self.thread;
        drop(driver.handle.set(thread::current()));
        while !driver.stopped.load(Ordering::SeqCst) {
            let until = self.turn(self.clock.now()).unwrap_or(Instant::FAR_FUTURE);
            driver.parked_until.store(until.as_nanos().max(1), Ordering::SeqCst);
            // Whoever set an earlier deadline before this store didn't see it; whoever does after, unparks.
            let until = self.next_deadline().unwrap_or(Instant::FAR_FUTURE).min(until);
            if !driver.stopped.load(Ordering::SeqCst) {
                let time = self.clock.until(until);
                self.sleep(if until == Instant::FAR_FUTURE { None } else { Some(time) });
            }
            driver.parked_until.store(0, Ordering::SeqCst);
        }
    }
}
