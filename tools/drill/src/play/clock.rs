//! Virtual time: from one deadline of the stack to the next, with what it sends on the way.

use super::trace::{Wrong, seconds};
use super::{Player, wire};
use core::time::Duration;
use sockeye_packet::{Batch, Instant};

/// Most deadlines that the stack may have without time passing.
const SPINS: usize = 1000;
/// Most deadlines between two events of a script.
const STEPS: usize = 1_000_000;

impl Player {
    /// Lets time pass until `until`; not at all if it is past.
    pub(super) fn advance(&mut self, until: Instant) -> Result<(), Wrong> {
        self.advance_until(until, |_| false)
    }

    /// Lets time pass until `until`, or until `enough`, which is asked after whatever happens.
    pub(super) fn advance_until(
        &mut self,
        until: Instant,
        mut enough: impl FnMut(&Player) -> bool,
    ) -> Result<(), Wrong> {
        let mut spins = 0;
        for _ in 0..STEPS {
            self.settle()?;
            if enough(self) {
                return Ok(());
            }
            let next = self.next_deadline();
            if next > until {
                self.now = self.now.max(until);
                return Ok(());
            }
            spins = if next > self.now { 0 } else { spins + 1 };
            if spins > SPINS {
                break;
            }
            self.now = self.now.max(next);
            self.stack.handle_timeout(self.now);
        }
        Err(Wrong::new("time that passes", format!("deadlines without end at {}", seconds(self.elapsed()))))
    }

    /// When something happens next by itself.
    pub(super) fn next_deadline(&self) -> Instant {
        let wake = self.stack.poll_timeout().map_or(Instant::FAR_FUTURE, |wake| wake.at);
        let blocked = self.blocked.as_ref().and_then(super::calls::Blocked::deadline);
        wake.min(blocked.unwrap_or(Instant::FAR_FUTURE))
    }

    /// Fetches what the stack has to send, and lets the blocked call see what changed, until nothing does.
    pub(super) fn settle(&mut self) -> Result<(), Wrong> {
        loop {
            self.fetch()?;
            self.watch();
            if !self.retry_blocked()? {
                return Ok(());
            }
        }
    }

    fn fetch(&mut self) -> Result<(), Wrong> {
        let mut batch = Batch::new();
        let full_segment = self.flow.as_ref().map_or(0, |flow| flow.full_segment(self.settings.mtu));
        loop {
            self.stack.poll_transmit(self.now, self.nic, &mut batch);
            if batch.is_empty() {
                return Ok(());
            }
            for packet in batch.drain() {
                let mut packet = wire::read(&packet, self.now)?;
                if let wire::Outbound::Tcp(sent) = &mut packet
                    && sent.mss == 0
                {
                    sent.mss = full_segment;
                }
                self.sent.push_back(packet);
            }
        }
    }
}

/// Longest time that is waited for something that a script leaves without a time.
pub(super) const PATIENCE: Duration = Duration::from_hours(1);
