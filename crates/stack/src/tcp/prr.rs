//! Proportional rate reduction (RFC 6937, RFC 9937): during recovery, and after a sign of congestion,
//! `cwnd` falls with what arrives, in proportion, so that it ends at `ssthresh`.

/// The state of one reduction; counts are segments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prr {
    /// `RecoverFS`. As the kernel: `cwnd` when the reduction began.
    prior_cwnd: u32,
    /// `prr_delivered`.
    delivered: u32,
    /// `prr_out`.
    out: u32,
    /// What could have gone out before the reduction began, and still may: see [`Prr::defer`].
    deferred: u32,
}

/// What an acknowledgment says to a reduction; counts are segments.
#[derive(Clone, Copy, Debug)]
pub(super) struct PrrAck {
    /// `DeliveredData`.
    pub(super) delivered: u32,
    /// Found lost by this acknowledgment.
    pub(super) newly_lost: u32,
    /// It moved SND.UNA on.
    pub(super) advanced: bool,
    pub(super) in_flight: u32,
    pub(super) ssthresh: u32,
}

impl Prr {
    pub(super) const fn new(prior_cwnd: u32) -> Prr {
        Prr { prior_cwnd, delivered: 0, out: 0, deferred: 0 }
    }

    /// Whether nothing has been delivered or sent since the reduction began.
    pub(super) const fn is_fresh(&self) -> bool {
        self.delivered == 0 && self.out == 0
    }

    /// `prior_in_flight` segments were in flight before the acknowledgment that begins the reduction. A batch is
    /// answered as a whole: earlier acknowledgments in it may have made room that nobody has used yet. Of that, so
    /// much as `most` counts as if it were on its way.
    pub(super) fn defer(&mut self, prior_in_flight: u32, most: u32) {
        self.deferred = self.prior_cwnd.saturating_sub(prior_in_flight).min(most);
    }

    /// So many segments go out.
    pub(super) fn on_sent(&mut self, segments: u32) {
        let deferred = self.deferred.min(segments);
        self.deferred -= deferred;
        self.out += segments - deferred;
    }

    /// Nothing more goes out now: the batch is answered.
    pub(super) const fn on_answered(&mut self) {
        self.deferred = 0;
    }

    /// How many segments may be sent now, besides those in flight.
    pub(super) fn on_ack(&mut self, ack: &PrrAck) -> u32 {
        self.delivered = self.delivered.saturating_add(ack.delivered);
        let in_flight = ack.in_flight + self.deferred;
        let allowed = if in_flight > ack.ssthresh {
            let share = u64::from(ack.ssthresh) * u64::from(self.delivered);
            let due = share.div_ceil(u64::from(self.prior_cwnd.max(1)));
            u32::try_from(due).unwrap_or(u32::MAX).saturating_sub(self.out)
        } else {
            // Up to ssthresh: as slow start (PRR-SSRB) while nothing more is lost and SND.UNA moves on,
            // else as much as arrives (PRR-CRB).
            let mut allowed = self.delivered.saturating_sub(self.out).max(ack.delivered);
            if ack.advanced && ack.newly_lost == 0 {
                allowed += 1;
            }
            allowed.min(ack.ssthresh - in_flight)
        };
        // The first retransmission goes out at once.
        self.deferred + allowed.max(u32::from(self.out == 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// A window of 20 of which the first segment is lost: every second acknowledgment clocks out one.
    #[test]
    fn the_window_falls_in_proportion() {
        let mut prr = Prr::new(20);
        let mut in_flight = 17_u32;
        let sent: Vec<u32> = (0..16)
            .map(|_| {
                in_flight -= 1;
                let sent = prr.on_ack(&PrrAck {
                    delivered: 1,
                    newly_lost: 0,
                    advanced: false,
                    in_flight,
                    ssthresh: 10,
                });
                prr.on_sent(sent);
                in_flight += sent;
                sent
            })
            .collect();
        assert_eq!(sent, [1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1, 1]);
    }

    #[test]
    fn below_ssthresh_it_grows_only_when_all_is_well() {
        let mut prr = Prr::new(20);
        prr.on_sent(1);
        let ack = PrrAck { delivered: 1, newly_lost: 0, advanced: true, in_flight: 4, ssthresh: 10 };
        assert_eq!(prr.on_ack(&ack), 2);
        prr.on_sent(2);
        assert_eq!(prr.on_ack(&PrrAck { newly_lost: 1, ..ack }), 1);
        prr.on_sent(1);
        assert_eq!(prr.on_ack(&PrrAck { delivered: 30, ..ack }), 6);
    }
}
