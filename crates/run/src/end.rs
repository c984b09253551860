//! The program's end of a plug, as far as it is at hand while a call is answered.

use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_timeout};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// A duplicate of the program's end. Where descriptors of other processes can't be duplicated, connected
/// streams have none: then the call makes do without.
#[derive(Clone, Debug)]
pub(crate) struct ProgramEnd(Option<Arc<OwnedFd>>);

impl ProgramEnd {
    /// What the call brought along, else what was kept.
    pub(crate) fn new(brought: Option<OwnedFd>, kept: Option<&Arc<OwnedFd>>) -> ProgramEnd {
        ProgramEnd(brought.map(Arc::new).or_else(|| kept.cloned()))
    }

    /// The end, if it is there.
    pub(crate) fn fd(&self) -> Option<&OwnedFd> {
        self.0.as_deref()
    }

    /// Whether the program's descriptor is non-blocking.
    pub(crate) fn is_nonblocking(&self) -> bool {
        let flags = self.fd().and_then(|fd| rustix::fs::fcntl_getfl(fd).ok());
        flags.is_some_and(|flags| flags.contains(rustix::fs::OFlags::NONBLOCK))
    }

    /// How long a blocking call on it waits (`SO_RCVTIMEO`, `SO_SNDTIMEO`); none for ever.
    pub(crate) fn timeout(&self, which: Timeout) -> Option<Duration> {
        self.fd().and_then(|fd| socket_timeout(fd, which).ok().flatten())
    }

    /// Gives another descriptor what the program has set on this one and the kernel keeps: whether it blocks, and how long.
    pub(crate) fn copy_settings(&self, to: &OwnedFd) -> io::Result<()> {
        rustix::io::ioctl_fionbio(to, self.is_nonblocking())?;
        for which in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(to, which, self.timeout(which))?;
        }
        Ok(())
    }
}
