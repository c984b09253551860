//! Without local sockets there is nothing to wait for but sockets of hosts.

use super::{Event, Interest, Mode, Poller, Watch};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// There is none.
#[derive(Debug)]
pub enum Handle {}

/// There is none.
#[derive(Debug)]
pub(super) enum Subject {}

impl Subject {
    pub(super) fn report(&self, _: &Watch, _: &mut Vec<Event>) -> bool {
        match *self {}
    }
}

/// Nothing.
#[derive(Debug, Default)]
pub(super) struct Outside;

#[expect(clippy::unused_self, reason = "as where there are some")]
impl Outside {
    pub(super) fn is_used(&self) -> bool {
        false
    }

    pub(super) fn call_back(&self) {}

    pub(super) fn wait(&self, _: Option<Duration>) -> Vec<Arc<Watch>> {
        Vec::new()
    }
}

#[expect(clippy::unused_self, reason = "as where there are some")]
impl Poller {
    pub(super) fn add_outside(&self, socket: &Handle, _: usize, _: Interest, _: Mode) -> io::Result<()> {
        match *socket {}
    }

    pub(super) fn modify_outside(&self, socket: &Handle, _: usize, _: Interest, _: Mode) -> io::Result<()> {
        match *socket {}
    }

    pub(super) fn delete_outside(&self, socket: &Handle) -> io::Result<()> {
        match *socket {}
    }
}
