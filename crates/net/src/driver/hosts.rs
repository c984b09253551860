//! Which hosts there are: they come with the next number, and go for good.

use super::{Core, Hosts, Scratch};
use crate::host::HostCore;
use crate::nic::nic_id;
use std::sync::{Arc, PoisonError};

impl Core {
    /// The hosts that there are now.
    pub(crate) fn hosts(&self) -> Arc<Hosts> {
        Arc::clone(&self.hosts.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The host with this number.
    pub(crate) fn host(&self, index: u32) -> Option<Arc<HostCore>> {
        self.hosts.read().unwrap_or_else(PoisonError::into_inner).get(index as usize)?.clone()
    }

    /// Adds the host whose number comes next.
    pub(crate) fn add_host(&self, host: Arc<HostCore>) {
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        debug_assert_eq!(hosts.len(), host.index as usize);
        Arc::make_mut(&mut hosts).push(Some(host));
    }

    /// Takes a host out, whose number is not used again; says whether it was there.
    fn take_host(&self, index: u32) -> bool {
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut hosts).get_mut(index as usize).and_then(Option::take).is_some()
    }

    /// Removes a host: resets its connections, says so to their peers, and forgets it. Who waits is woken.
    /// False when it was removed before.
    pub(crate) fn retire(&self, host: &HostCore) -> bool {
        if !self.take_host(host.index) {
            return false;
        }
        let now = self.clock.now();
        let mut scratch = Scratch::take();
        for place in 0..host.nics.len() {
            let mut state = host.lock();
            let now = state.not_before(now);
            if place == 0 {
                state.stack.abort_all(now);
            }
            loop {
                state.stack.poll_transmit(now, nic_id(place), &mut scratch.batch);
                if scratch.batch.is_empty() {
                    break;
                }
                drop(state);
                self.send(now, host, place, &mut scratch);
                state = host.lock();
            }
        }
        host.lock().retire(&mut scratch.wakers);
        #[cfg(feature = "simulation")]
        host.tasks.abort();
        self.disconnect_links(host);
        self.wire.detach(now, host.index, &mut scratch.queue);
        // Peers hear of it at the next turn: this one was not asked to do their work.
        self.put_off(&mut scratch);
        self.thread.wake();
        scratch.finish();
        true
    }
}
