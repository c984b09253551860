//! What goes wrong on purpose: ways that are cut or held, hosts that crash.

use crate::{Host, Network};

impl Network {
    /// Parts two hosts: nothing passes between them, also not by routers, in silence, until [`Network::heal`].
    pub fn partition(&self, a: &Host, b: &Host) {
        self.shared.core.wire.set_parted(self.number(a), self.number(b), true);
    }

    /// Ends a partition.
    pub fn heal(&self, a: &Host, b: &Host) {
        self.shared.core.wire.set_parted(self.number(a), self.number(b), false);
    }

    /// Has what passes between two hosts wait, as if the way were very long, until [`Network::release`] or the end of one of them: nothing
    /// is lost by it, unless more than 65,536 packets wait.
    pub fn hold(&self, a: &Host, b: &Host) {
        self.shared.core.wire.hold(self.number(a), self.number(b));
    }

    /// Sends on what was [held](Network::hold) between two hosts, in order; nothing waits from now on.
    pub fn release(&self, a: &Host, b: &Host) {
        self.shared.core.release(self.number(a), self.number(b));
    }

    /// Takes a host down, or up again: it loses all its sockets, in silence.
    pub(crate) fn replace_stack(&self, host: &Host, is_down: bool) {
        if !self.has(host) {
            return;
        }
        let seed = self.next_seed();
        self.shared.core.with(&host.core, |state, _, wakers| {
            state.is_down = is_down;
            state.replace_stack(seed, wakers);
        });
    }
}
