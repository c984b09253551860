//! Waiting where whoever waits turns the clock.

use sockeye::{Instant, Network};
use sockeye_posix::Errno;
use std::time::Duration;

/// Does what is due at the present; what wants to be done next, and when.
fn settle(network: &Network) -> Option<Instant> {
    loop {
        let now = network.now();
        match network.turn(now) {
            // There was too much to do for one turn.
            Some(next) if next <= now => {}
            next => return next,
        }
    }
}

/// Has time pass.
pub(crate) fn pass(network: &Network, span: Duration) {
    let end = network.now() + span;
    while let Some(next) = settle(network).filter(|next| *next <= end) {
        network.set_now(next);
    }
    network.set_now(end);
    settle(network);
}

/// Tries a call again after everything that happens, until it has a result; none when the time is over. EDEADLK when
/// nothing will ever happen.
pub(crate) fn wait<R>(
    network: &Network,
    deadline: Option<Instant>,
    mut attempt: impl FnMut() -> Option<R>,
) -> Result<Option<R>, Errno> {
    loop {
        if let Some(result) = attempt() {
            return Ok(Some(result));
        }
        let next = settle(network);
        if let Some(result) = attempt() {
            return Ok(Some(result));
        }
        let now = network.now();
        match (next, deadline) {
            (_, Some(deadline)) if deadline <= now => return Ok(None),
            (Some(next), Some(deadline)) => network.set_now(next.min(deadline)),
            (Some(time), None) | (None, Some(time)) => network.set_now(time),
            (None, None) => return Err(Errno(libc::EDEADLK)),
        }
        settle(network);
    }
}
