//! The connection states of RFC 9293 §3.3.2 and the one table of transitions between them.
//!
//! LISTEN is missing: a listener is a socket of its own, and what it has heard but not accepted is a
//! half-open record until its handshake is complete.

/// State of a connection (RFC 9293 §3.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum State {
    /// No connection: before the open, or after the end.
    #[default]
    Closed,
    /// SYN sent, nothing heard.
    SynSent,
    /// Both SYNs are out (simultaneous open), ours is not acknowledged.
    SynReceived,
    /// Data flows both ways.
    Established,
    /// We closed; our FIN is not acknowledged.
    FinWait1,
    /// We closed and the peer knows; it may still send.
    FinWait2,
    /// The peer closed; we may still send.
    CloseWait,
    /// Both closed at once; our FIN is not acknowledged.
    Closing,
    /// The peer closed, then we; our FIN is not acknowledged.
    LastAck,
    /// Both FINs are acknowledged; old duplicates are waited out.
    TimeWait,
}

/// What can change the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transition {
    /// A SYN without an acknowledgment of ours arrived.
    SynReceived,
    /// Our SYN was acknowledged (and the peer's has arrived).
    SynAcked,
    /// The user closed the sending side: a FIN is queued.
    Close,
    /// The peer's FIN arrived in order.
    FinReceived,
    /// Our FIN was acknowledged.
    FinAcked,
    /// Reset, aborted, timed out, or the 2 MSL of TIME-WAIT are over.
    Ended,
}

impl State {
    /// The state after `transition`; a transition that means nothing here changes nothing.
    pub(crate) const fn next(self, transition: Transition) -> State {
        use State::{
            CloseWait, Closed, Closing, Established, FinWait1, FinWait2, LastAck, SynReceived, SynSent,
            TimeWait,
        };
        match (self, transition) {
            (_, Transition::Ended) | (LastAck, Transition::FinAcked) => Closed,
            (SynSent, Transition::SynReceived) => SynReceived,
            (SynSent | SynReceived, Transition::SynAcked) => Established,
            (Established, Transition::Close) => FinWait1,
            (CloseWait, Transition::Close) => LastAck,
            // A FIN in SYN-RECEIVED is held back until our SYN is acknowledged, in the same segment
            // at the latest.
            (Established, Transition::FinReceived) => CloseWait,
            (FinWait1, Transition::FinReceived) => Closing,
            (FinWait1, Transition::FinAcked) => FinWait2,
            (FinWait2, Transition::FinReceived) | (Closing, Transition::FinAcked) => TimeWait,
            (state, _) => state,
        }
    }

    /// Whether both SYNs have been exchanged and acknowledged, and the connection has not ended.
    pub const fn is_synchronized(self) -> bool {
        !matches!(self, State::Closed | State::SynSent | State::SynReceived)
    }

    /// Whether the peer may still send: its FIN has not arrived.
    pub(crate) const fn can_receive(self) -> bool {
        matches!(self, State::SynReceived | State::Established | State::FinWait1 | State::FinWait2)
    }

    /// Whether we may queue more data: our FIN is not queued.
    pub(crate) const fn can_send(self) -> bool {
        matches!(self, State::Established | State::CloseWait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_close_ends_where_it_should() {
        use Transition::{Close, FinAcked, FinReceived};
        let run = |steps: &[Transition]| steps.iter().fold(State::Established, |s, t| s.next(*t));
        assert_eq!(run(&[Close, FinAcked, FinReceived]), State::TimeWait);
        assert_eq!(run(&[Close, FinReceived, FinAcked]), State::TimeWait);
        assert_eq!(run(&[FinReceived, Close, FinAcked]), State::Closed);
        assert_eq!(run(&[Close, FinReceived]), State::Closing);
        assert_eq!(run(&[FinReceived, Close]), State::LastAck);
    }

    #[test]
    fn opening_passes_through_the_handshake() {
        assert_eq!(State::SynSent.next(Transition::SynAcked), State::Established);
        assert_eq!(State::SynSent.next(Transition::SynReceived), State::SynReceived);
        assert_eq!(State::SynReceived.next(Transition::SynAcked), State::Established);
        assert_eq!(State::SynReceived.next(Transition::FinReceived), State::SynReceived);
    }
}
