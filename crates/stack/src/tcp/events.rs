//! What happens in loss recovery, to be counted by the names that Linux has.

use super::acknowledge::AckInfo;
use super::connection::Connection;
use super::info::{CaState, Totals};
use crate::counters::{Counter, Counters};

/// The counters of loss recovery, in the order of their bits.
const COUNTED: [Counter; 16] = [
    Counter::TcpRenoRecovery,
    Counter::TcpSackRecovery,
    Counter::TcpSackReneging,
    Counter::TcpSackReorder,
    Counter::TcpRenoReorder,
    Counter::TcpTsReorder,
    Counter::TcpFullUndo,
    Counter::TcpPartialUndo,
    Counter::TcpDsackUndo,
    Counter::TcpLossUndo,
    Counter::TcpLostRetransmit,
    Counter::TcpLossProbes,
    Counter::TcpLossProbeRecovery,
    Counter::TcpDsackRecv,
    Counter::TcpDsackOfoRecv,
    Counter::TcpSpuriousRtos,
];

/// What has happened since it was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Events(u32);

impl Events {
    pub(super) const NONE: Events = Events(0);

    /// This happened.
    pub(super) fn note(&mut self, counter: Counter) {
        if let Some(bit) = COUNTED.iter().position(|&other| other == counter) {
            self.0 |= 1 << bit;
        }
    }

    fn iter(self) -> impl Iterator<Item = Counter> {
        COUNTED
            .into_iter()
            .enumerate()
            .filter(move |(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, counter)| counter)
    }
}

impl Connection {
    /// Counts what has happened since the last call.
    pub(super) fn count_events(&mut self, counters: &mut Counters) {
        if self.recovery.events != Events::NONE {
            core::mem::take(&mut self.recovery.events).iter().for_each(|counter| counters.bump(counter));
        }
    }

    /// A timeout is the first since there was progress: what recovery did not achieve.
    pub(super) fn count_failure(&self, counters: &mut Counters) {
        let sack = self.options.sack;
        match self.recovery.state {
            CaState::Loss => counters.bump(Counter::TcpLossFailures),
            CaState::Disorder if sack => counters.bump(Counter::TcpSackFailures),
            CaState::Disorder => counters.bump(Counter::TcpRenoFailures),
            _ => {}
        }
    }

    /// An acknowledgment is dealt with.
    pub(super) fn count_acknowledgment(&self, info: &AckInfo, counters: &mut Counters) {
        let Totals { delivered, delivered_ce, .. } = self.totals;
        counters.add(Counter::TcpDelivered, delivered.wrapping_sub(info.prior_delivered).into());
        counters.add(Counter::TcpDeliveredCe, delivered_ce.wrapping_sub(info.prior_delivered_ce).into());
        counters.add(Counter::TcpPureAcks, (!info.data).into());
    }

    /// So many segments are sent again because they are lost.
    pub(super) fn count_retransmission(&self, segments: u32, counters: &mut Counters) {
        let slow_start = self.recovery.state == CaState::Loss;
        let counter = if slow_start { Counter::TcpSlowStartRetrans } else { Counter::TcpFastRetrans };
        counters.add(counter, segments.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_once() {
        let mut events = Events::NONE;
        for counter in COUNTED {
            events.note(counter);
        }
        events.note(Counter::TcpSackRecovery);
        assert!(events.iter().eq(COUNTED));
    }
}
