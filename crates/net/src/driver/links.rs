//! Links of hosts' own: how they are connected, what wakes their hosts, and how the network's thread sleeps
//! when some of them have descriptors of the operating system.

use super::Core;
#[cfg(unix)]
use crate::descriptors::Descriptors;
use crate::host::HostCore;
use crate::over::{LinkPort, LinkWaker};
use crate::sync::thread::{self, Thread};
use std::sync::Arc;
use std::time::Duration;

impl Core {
    /// Sleeps until it is woken, a link with a descriptor is ready, or the time is over.
    pub(super) fn sleep(&self, time: Option<Duration>) {
        #[cfg(unix)]
        if let Some(descriptors) = self.thread.descriptors.get() {
            for (host, place) in descriptors.sleep(time) {
                self.mark_link(host, place);
            }
            return;
        }
        match time {
            Some(Duration::ZERO) => {}
            None => thread::park(),
            Some(time) => thread::park_timeout(time),
        }
    }

    /// Connects the links of a new host: from now on they are driven.
    pub(crate) fn connect_links(self: &Arc<Self>, host: &HostCore) -> std::io::Result<()> {
        for (place, nic) in host.nics.iter().enumerate() {
            let Some(link) = &nic.link else { continue };
            let fd = link.connect(&LinkWaker::of(self, host.index, place));
            #[cfg(unix)]
            if let Some(fd) = fd {
                self.descriptors()?.add(fd, host.index, place)?;
            }
            #[cfg(not(unix))]
            let _ = fd;
            self.link_is_ready(host.index, place);
        }
        Ok(())
    }

    /// Takes the links of a host that is removed out of their places.
    pub(crate) fn disconnect_links(&self, host: &HostCore) {
        #[cfg(unix)]
        if let Some(descriptors) = self.thread.descriptors.get() {
            descriptors.remove(host.index);
        }
        host.nics.iter().filter_map(|nic| nic.link.as_ref()).for_each(LinkPort::unplug);
    }

    /// Has a host visited whose link has something for it.
    pub(crate) fn link_is_ready(&self, host: u32, place: usize) {
        self.mark_link(host, place);
        self.thread.wake();
    }

    fn mark_link(&self, host: u32, place: usize) {
        let Some(host) = self.host(host) else { return };
        if let Some(link) = host.nics.get(place).and_then(|nic| nic.link.as_ref()) {
            link.mark_ready();
            self.mark_dirty(&host);
        }
    }

    /// Nobody sleeps for a manual network: each turn looks at what the system may have.
    pub(super) fn try_descriptors(&self) {
        #[cfg(unix)]
        for (host, place) in self.thread.descriptors.get().into_iter().flat_map(Descriptors::all) {
            self.mark_link(host, place);
        }
    }

    #[cfg(unix)]
    fn descriptors(&self) -> std::io::Result<&Descriptors> {
        if self.thread.descriptors.get().is_none() {
            let made = Descriptors::new()?;
            // Somebody else's are as good.
            let _ = self.thread.descriptors.set(made);
            // The thread may sleep elsewhere, where no descriptor wakes it.
            self.thread.handle.get().into_iter().for_each(Thread::unpark);
        }
        self.thread.descriptors.get().ok_or_else(|| std::io::ErrorKind::Other.into())
    }
}
